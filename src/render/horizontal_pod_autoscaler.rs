//! How many pods there are: the autoscaler.

use serde_json::{Value, json};

use super::{
    Child, ChildKind, Identity,
    identity::Metadata,
    prune::{fields, to_json},
};
use crate::api::{Autoscaling, Microservice};

/// The autoscaler. It scales the Microservice, never a Deployment: which revision has how many pods is the
/// rollout's.
pub fn horizontal_pod_autoscaler(identity: &Identity<'_>, autoscaling: &Autoscaling) -> Child {
    let resources = [("cpu", autoscaling.cpu), ("memory", autoscaling.memory)];
    let metrics: Vec<Value> = resources
        .into_iter()
        .filter_map(|(name, percent)| Some(utilization(name, percent?)))
        .chain(autoscaling.metrics.iter().map(to_json))
        .collect();
    let spec = json!({
        "scaleTargetRef": {
            "apiVersion": <Microservice as kube::Resource>::api_version(&()),
            "kind": <Microservice as kube::Resource>::kind(&()),
            "name": identity.name,
        },
        "minReplicas": autoscaling.min_replicas,
        "maxReplicas": autoscaling.max_replicas,
        "metrics": metrics,
        "behavior": autoscaling.behavior.as_ref().map(to_json),
    });
    let metadata = Metadata::named(identity.name);
    identity.child(
        ChildKind::HorizontalPodAutoscaler,
        metadata,
        fields(json!({"spec": spec})),
    )
}

fn utilization(resource: &str, percent: i32) -> Value {
    let target = json!({"type": "Utilization", "averageUtilization": percent});
    json!({"type": "Resource", "resource": {"name": resource, "target": target}})
}
