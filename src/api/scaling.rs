//! Autoscaling and disruption budgets.

use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscalerBehavior, MetricSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A HorizontalPodAutoscaler that targets the Microservice's /scale.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.minReplicas <= self.maxReplicas").message("autoscaling.minReplicas must not exceed maxReplicas"))]
#[x_kube(validation = Rule::new("has(self.cpu) || has(self.memory) || (has(self.metrics) && size(self.metrics) > 0)").message("autoscaling needs at least one of cpu, memory or metrics"))]
#[x_kube(validation = Rule::new("!has(self.metrics) || self.metrics.all(m, !(has(m.object) && m.object.target.type == 'Value') && !(has(m.external) && m.external.target.type == 'Value'))").message("Object and External metrics of target type Value grow without bound while two revisions run: use AverageValue"))]
pub struct Autoscaling {
    /// The fewest pods.
    #[schemars(range(min = 1, max = 10000))]
    pub min_replicas: i32,
    /// The most pods.
    #[schemars(range(min = 1, max = 10000))]
    pub max_replicas: i32,
    /// Mean CPU use in percent of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub cpu: Option<i32>,
    /// Mean memory use in percent of the requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub memory: Option<i32>,
    /// Further metrics, as in a HorizontalPodAutoscaler v2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub metrics: Vec<MetricSpec>,
    /// How fast it scales, as in a HorizontalPodAutoscaler v2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub behavior: Option<HorizontalPodAutoscalerBehavior>,
}

impl Autoscaling {
    /// A number of pods brought within the bounds.
    pub fn bounded(&self, replicas: i32) -> i32 {
        replicas.min(self.max_replicas).max(self.min_replicas)
    }
}

/// How many pods a drain of nodes may take at a time.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.maxUnavailable) && has(self.minAvailable))").message("disruptionBudget takes maxUnavailable or minAvailable, not both"))]
#[x_kube(validation = Rule::new("!(has(self.mode) && self.mode == 'Disabled' && (has(self.maxUnavailable) || has(self.minAvailable)))").message("disruptionBudget.mode Disabled takes no maxUnavailable and no minAvailable"))]
#[x_kube(validation = Rule::new("!has(self.maxUnavailable) || string(self.maxUnavailable).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("disruptionBudget.maxUnavailable is a number of pods or a percentage from 0% to 100%"))]
#[x_kube(validation = Rule::new("!has(self.minAvailable) || string(self.minAvailable).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("disruptionBudget.minAvailable is a number of pods or a percentage from 0% to 100%"))]
pub struct DisruptionBudget {
    /// Auto: a budget where two or more pods are wanted. Disabled: none. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<DisruptionBudgetMode>,
    /// How many pods may be missing: a number or a percentage. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
    /// How many pods must be there: a number or a percentage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_available: Option<IntOrString>,
}

/// Whether there is a disruption budget.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum DisruptionBudgetMode {
    /// Where two or more pods are wanted.
    #[default]
    Auto,
    /// Never.
    Disabled,
}
