//! How a change goes out, and when it is taken back.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a change goes out, and when it is taken back.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.rollingUpdate) || !has(self.type) || self.type == 'RollingUpdate'").message("strategy.rollingUpdate is for type RollingUpdate only"))]
pub struct Strategy {
    /// RollingUpdate: new pods replace old ones a few at a time. Recreate: all old pods end before the first new one starts. Default: RollingUpdate.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<StrategyType>,
    /// The pace of RollingUpdate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
    /// Seconds for which a promoted revision is still watched, and taken back when it fails. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604800))]
    pub bake_seconds: Option<i32>,
    /// Seconds without progress after which a rollout is taken back. Each pod that becomes ready is progress. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: Option<i32>,
    /// How many times containers of the new revision may fail while they carry traffic. Default: 1, or 2 % of its pods where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub max_crashes: Option<i32>,
    /// Seconds for which a pod of the new revision may wait for a node. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub unschedulable_seconds: Option<i32>,
}

impl Strategy {
    /// The kind of rollout.
    pub fn strategy_type(&self) -> StrategyType {
        self.type_.unwrap_or_default()
    }
    /// Seconds for which a promoted revision is still watched.
    pub fn bake_seconds(&self) -> i64 {
        i64::from(self.bake_seconds.unwrap_or(60))
    }
    /// Seconds without progress after which a rollout is taken back.
    pub fn progress_deadline_seconds(&self) -> i64 {
        i64::from(self.progress_deadline_seconds.unwrap_or(600))
    }
    /// Seconds for which a pod may wait for a node.
    pub fn unschedulable_seconds(&self) -> i64 {
        i64::from(self.unschedulable_seconds.unwrap_or(300))
    }
}

/// How a change goes out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum StrategyType {
    /// New pods replace old ones a few at a time.
    #[default]
    RollingUpdate,
    /// All old pods end before the first new one starts.
    Recreate,
}

/// The pace of a RollingUpdate. Numbers or percentages of replicas.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.maxSurge) && has(self.maxUnavailable) && string(self.maxSurge).matches('^0+%?$') && string(self.maxUnavailable).matches('^0+%?$'))").message("maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced"))]
#[x_kube(validation = Rule::new("!(has(self.maxSurge) && !has(self.maxUnavailable) && string(self.maxSurge).matches('^0+%?$'))").message("with maxSurge 0 set maxUnavailable to at least 1: no pod could ever be replaced"))]
#[x_kube(validation = Rule::new("!has(self.maxSurge) || string(self.maxSurge).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("rollingUpdate.maxSurge is a number of pods or a percentage from 0% to 100%"))]
#[x_kube(validation = Rule::new("!has(self.maxUnavailable) || string(self.maxUnavailable).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("rollingUpdate.maxUnavailable is a number of pods or a percentage from 0% to 100%"))]
pub struct RollingUpdate {
    /// How many pods there may be above replicas; rounded up. Default: 25%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
    /// How many pods may be missing below replicas; rounded down. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}
