//! What the pods of a service get when the spec says nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::api::{PortProtocol, RevisionSpec, Spread};
use crate::revision::ContainerPort;

/// Seconds that Kubernetes gives a pod to end by itself.
const GRACE_SECONDS: i64 = 30;
/// Seconds in which routers everywhere learn that a pod is gone.
const PRE_STOP_SECONDS: i64 = 5;
/// Seconds between two tries of the default readiness probe: the kubelet's own 10 would hold up every step of
/// a rollout.
const READINESS_PERIOD_SECONDS: i32 = 5;

/// Readiness by a TCP connection, where it is plain which port is meant: the only one, or the one named http.
pub(super) fn readiness(ports: &[ContainerPort]) -> Option<Value> {
    let meant = match ports {
        [only] => Some(only),
        several => several.iter().find(|port| port.name == "http"),
    };
    meant.filter(|port| port.protocol == PortProtocol::Tcp).map(
        |port| json!({"tcpSocket": {"port": port.container_port}, "periodSeconds": READINESS_PERIOD_SECONDS}),
    )
}

/// A sleep before the container is told to end, so that no request is sent to a pod that is gone.
pub(super) fn pre_stop(spec: &RevisionSpec) -> Option<Value> {
    let seconds = PRE_STOP_SECONDS.min(grace_seconds(spec) - 1);
    (seconds >= 1).then(|| json!({"preStop": {"sleep": {"seconds": seconds}}}))
}

/// The grace period that will apply: the overlay has the last word, and a sleep beyond it would be refused.
fn grace_seconds(spec: &RevisionSpec) -> i64 {
    let overlay = spec.pod_template.as_ref().map(crate::api::RawObject::to_value);
    let overlaid = overlay
        .as_ref()
        .and_then(|o| o.pointer("/spec/terminationGracePeriodSeconds")?.as_i64());
    overlaid
        .or(spec.termination_grace_period_seconds)
        .unwrap_or(GRACE_SECONDS)
}

/// The pods of one revision over zones and hosts.
pub(super) fn spread(spread: Spread, selector: &BTreeMap<String, String>) -> Vec<Value> {
    let unsatisfiable = match spread {
        Spread::Soft => "ScheduleAnyway",
        Spread::Hard => "DoNotSchedule",
        Spread::None => return Vec::new(),
    };
    let constraint = |key: &str| {
        json!({
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": unsatisfiable,
            "labelSelector": {"matchLabels": selector},
        })
    };
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(constraint)
        .into()
}
