//! How Prometheus finds the service's metrics.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How Prometheus finds the service's metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
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
    /// Labels of the monitor object, by which many installations of Prometheus select it (for example release).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
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
