//! How Prometheus finds the service's metrics, and what it makes of them.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How Prometheus finds the service's metrics, and what it makes of them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.alertLabels) || self.alertLabels.all(k, !(k in ['alertname', 'namespace', 'microservice', 'objective', 'severity', 'window']))")
    .message("alertLabels must not hold alertname, namespace, microservice, objective, severity or window: the operator sets these"))]
#[x_kube(validation = Rule::new("!has(self.runbookUrl) || self.runbookUrl.matches('^https?://([^{} ]|[{][{](namespace|service|alert)[}][}])+$')")
    .message("runbookUrl is an http or https address in which only {{namespace}}, {{service}} and {{alert}} are replaced: write no other braces and no spaces"))]
#[x_kube(validation = Rule::new("!has(self.intervalSeconds) || self.intervalSeconds <= 120 || (!has(self.alerts) && !has(self.dashboard))")
    .message("alerts and dashboards are made from rates over five minutes: set intervalSeconds to at most 120"))]
pub struct Monitoring {
    /// Auto: a ServiceMonitor where the service has a Service, else a PodMonitor. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MonitoringKind>,
    /// The name of the port with the metrics. Default: the one named metrics, else http, else the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// The path of the metrics. Default: /metrics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// Seconds between two scrapes. Default: Prometheus' own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub interval_seconds: Option<i32>,
    /// Labels of the ServiceMonitor or PodMonitor and of the PrometheusRule, by which many installations of Prometheus select them (for example release).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
    /// Enabled: alerts tell when the error budget of an objective burns too fast, by several windows (docs/alerts.md). Default: Enabled; Disabled with kind None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective_alerts: Option<ObjectiveAlerts>,
    /// Alerts of one line each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub alerts: Vec<Alert>,
    /// Labels of all alerts, by which they find those whom they concern (for example team). Characters that Prometheus does not allow in a name become underscores.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "additionalProperties" = {"type": "string", "maxLength": 200, "pattern": "^[^{}]*$"}))]
    pub alert_labels: BTreeMap<String, String>,
    /// Where it is written what to do about an alert; {{namespace}}, {{service}} and {{alert}} (its name) are replaced. Default: alerts name no runbook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 1024))]
    pub runbook_url: Option<String>,
    /// A dashboard for Grafana, in a ConfigMap. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dashboard: Option<Dashboard>,
}

/// Whether objectives have alerts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum ObjectiveAlerts {
    /// They have.
    #[default]
    Enabled,
    /// They have none.
    Disabled,
}

/// An alert: too many errors, or too slow.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.errorsAbovePercent) != has(self.latencyAboveMilliseconds)").message("an alert is exactly one of errorsAbovePercent or latencyAboveMilliseconds"))]
#[x_kube(validation = Rule::new("!has(self.percentile) || has(self.latencyAboveMilliseconds)").message("percentile goes with latencyAboveMilliseconds: leave it out, or set that"))]
#[x_kube(validation = Rule::new("!has(self.percentile) || double(self.percentile) > 0.0").message("percentile must be more than 0, for example \"99\""))]
pub struct Alert {
    /// The name of the alert.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-zA-Z]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$")
    )]
    pub name: String,
    /// More than this percentage of requests fails by the server's fault, as a decimal number in quotes: "1". They are told as the first objective of kind errors tells them, else by the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9), regex(pattern = r"^[0-9]{1,2}(\.[0-9]{1,6})?$"))]
    pub errors_above_percent: Option<String>,
    /// Requests take longer than this. They are told as the first objective of kind latency tells them, else by the usual names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600000))]
    pub latency_above_milliseconds: Option<i32>,
    /// Of so many in a hundred requests the slowest counts, as a decimal number in quotes. Default: "99".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 6), regex(pattern = r"^[0-9]{1,2}(\.[0-9]{1,3})?$"))]
    pub percentile: Option<String>,
    /// Seconds for which that holds before the alert fires. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub for_seconds: Option<i32>,
    /// Its label severity. Default: page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-zA-Z0-9]([a-zA-Z0-9_-]*[a-zA-Z0-9])?$")
    )]
    pub severity: Option<String>,
}

impl Alert {
    /// Seconds for which it holds before the alert fires.
    pub fn for_seconds(&self) -> i32 {
        self.for_seconds.unwrap_or(300)
    }

    /// Its label severity.
    pub fn severity(&self) -> &str {
        self.severity.as_deref().unwrap_or("page")
    }
}

/// A dashboard for Grafana, in a ConfigMap as Grafana's sidecar collects them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dashboard {
    /// Labels of the ConfigMap, by which the sidecar finds it. Default: grafana_dashboard: "1".
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub labels: BTreeMap<String, String>,
    /// The folder that it is put in, as annotation grafana_folder. Default: the sidecar's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 200))]
    pub folder: Option<String>,
}

/// Which object tells Prometheus.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum MonitoringKind {
    /// A ServiceMonitor where there is a Service, else a PodMonitor.
    #[default]
    Auto,
    /// A ServiceMonitor.
    ServiceMonitor,
    /// A PodMonitor.
    PodMonitor,
    /// None.
    None,
}

impl Monitoring {
    /// Whether objectives have alerts.
    pub fn objective_alerts(&self) -> ObjectiveAlerts {
        // Who lets nothing be scraped often names only the port that rollouts are judged by.
        self.objective_alerts
            .unwrap_or(match self.kind.unwrap_or_default() {
                MonitoringKind::None => ObjectiveAlerts::Disabled,
                MonitoringKind::Auto | MonitoringKind::ServiceMonitor | MonitoringKind::PodMonitor => {
                    ObjectiveAlerts::Enabled
                }
            })
    }
}
