//! How Prometheus finds the metrics: a ServiceMonitor or a PodMonitor of the prometheus-operator.

use serde_json::{Value, json};

use super::{Child, ChildKind, ContainerPortName, Exposure, Identity, identity::Metadata, prune::fields};
use crate::api::{Monitoring, MonitoringKind, labels};

/// The path that is usual for metrics.
const PATH: &str = "/metrics";

/// The monitor of the service; `None` where none is wanted or no port could have metrics.
pub fn monitor(identity: &Identity<'_>, monitoring: &Monitoring, exposure: &Exposure) -> Option<Child> {
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
    let spec = json!({
        "selector": {"matchLabels": identity.selector()},
        "podTargetLabels": [labels::REVISION],
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
