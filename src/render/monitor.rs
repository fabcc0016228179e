//! How Prometheus finds the metrics: a ServiceMonitor or a PodMonitor of the prometheus-operator.

use serde_json::{Value, json};

use super::identity::{Metadata, Purpose};
use super::{Child, ChildKind, ContainerPortName, Exposure, Identity, prune::fields};
use crate::api::{Monitoring, MonitoringKind, labels};

/// The path that is usual for metrics.
const PATH: &str = "/metrics";

/// Labels of pods that become labels of their series: by them rules and dashboards find the service and its revisions. Most
/// pods have no role as a label (see [`labels::ROLE`]).
const TARGET_LABELS: [&str; 3] = [labels::INSTANCE, labels::REVISION, labels::ROLE];

/// By which Services the pods are found. Each pod stands behind several, and is to be counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scraped {
    /// By the root Service: all pods that get traffic stand behind it.
    Root,
    /// By the Services of the revisions: routes lead to these, and the root Service to one of them only.
    Revisions,
}

/// The monitor of the service; `None` where none is wanted or no port could have metrics.
pub fn monitor(
    identity: &Identity<'_>,
    monitoring: &Monitoring,
    exposure: &Exposure,
    scraped: Scraped,
) -> Option<Child> {
    let port = port(monitoring, exposure)?;
    let kind = match monitoring.kind.unwrap_or_default() {
        MonitoringKind::None => return None,
        MonitoringKind::ServiceMonitor => ChildKind::ServiceMonitor,
        MonitoringKind::PodMonitor => ChildKind::PodMonitor,
        // A port that the Service does not have is found at the pods only.
        MonitoringKind::Auto if port.service_port.is_some() => ChildKind::ServiceMonitor,
        MonitoringKind::Auto => ChildKind::PodMonitor,
    };
    let (endpoints, port) = match (kind, &port.service_port) {
        (ChildKind::PodMonitor, _) => ("podMetricsEndpoints", json!({"port": port.name})),
        (_, Some(name)) => ("endpoints", json!({"port": name})),
        (_, None) => ("endpoints", json!({"targetPort": port.name})),
    };
    let other_services = match (kind, scraped) {
        (ChildKind::PodMonitor, _) => None,
        (_, Scraped::Root) => Some(json!([{"key": labels::SERVICE, "operator": "DoesNotExist"}])),
        (_, Scraped::Revisions) => Some(json!([
            {"key": labels::SERVICE, "operator": "In", "values": [Purpose::Revision.as_str()]},
        ])),
    };
    let spec = json!({
        "selector": {"matchLabels": identity.selector(), "matchExpressions": other_services},
        "podTargetLabels": TARGET_LABELS,
        endpoints: [endpoint(monitoring, port)],
    });
    let metadata = Metadata {
        labels: monitoring.labels.clone(),
        ..Metadata::named(identity.name)
    };
    Some(identity.child(kind, metadata, fields(json!({"spec": spec}))))
}

/// The port that is named, else the one called metrics, else http, else the first.
fn port<'a>(monitoring: &Monitoring, exposure: &'a Exposure) -> Option<&'a ContainerPortName> {
    let ports = &exposure.container_ports;
    let named = |name: &str| ports.iter().find(|port| port.name == name);
    match &monitoring.port {
        Some(name) => named(name),
        None => named("metrics")
            .or_else(|| named("http"))
            .or_else(|| ports.first()),
    }
}

fn endpoint(monitoring: &Monitoring, port: Value) -> Value {
    let mut endpoint = fields(port);
    endpoint.insert(
        "path".to_owned(),
        json!(monitoring.path.as_deref().unwrap_or(PATH)),
    );
    if let Some(seconds) = monitoring.interval_seconds {
        endpoint.insert("interval".to_owned(), json!(format!("{seconds}s")));
    }
    Value::Object(endpoint)
}
