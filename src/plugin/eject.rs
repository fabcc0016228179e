//! `eject`: the children of a service as plain manifests that need no operator.

use serde_json::{Value, json};

use super::reading::{self, Standing};
use crate::api::{InventoryEntry, Microservice, labels};
use crate::render::ChildKind;

/// The children that become plain manifests, in the order in which they are applied. Records and Jobs are the
/// operator's, and are left.
///
/// # Errors
/// Where the service is not at rest: of two revisions only one could stay.
pub fn children(service: &Microservice) -> Result<Vec<(ChildKind, String)>, String> {
    let name = reading::name(service);
    let status = reading::status(service);
    let message = status.message.as_deref().unwrap_or("no operator has seen it yet");
    match reading::standing(service) {
        Standing::Settled(_) | Standing::Held(..) => {}
        Standing::Unknown | Standing::Starting(_) | Standing::UnderWay(..) | Standing::Returning(_) => {
            return Err(format!(
                "{name} can be ejected when nothing is under way: finish or abort the rollout first: {message}"
            ));
        }
    }
    let mut found: Vec<(ChildKind, String)> = status
        .inventory
        .iter()
        .filter_map(|entry| Some((kind(entry)?, entry.name.clone())))
        .collect();
    found.sort();
    found.dedup();
    Ok(found)
}

fn kind(entry: &InventoryEntry) -> Option<ChildKind> {
    ChildKind::ALL
        .into_iter()
        .find(|kind| kind.kind() == entry.kind && kind.group() == entry.group)
        .filter(|kind| !matches!(kind, ChildKind::ControllerRevision | ChildKind::Job))
}

/// Fields of metadata that the server sets, or that only mean something to an owner.
const NOT_PLAIN: [&str; 8] = [
    "managedFields",
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "selfLink",
    "ownerReferences",
    "finalizers",
];

/// The manifest of a child without what the operator and the server put there. Selectors and the labels of pods stay as
/// they are, so that applying it restarts nothing. An autoscaler is turned from the Microservice to the Deployment.
pub fn plain(live: &Value, deployment: &str) -> Value {
    let mut object = live.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in NOT_PLAIN {
            metadata.remove(field);
        }
        if let Some(all) = metadata.get_mut("labels").and_then(Value::as_object_mut) {
            all.remove(labels::MANAGED_BY);
        }
        if let Some(all) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            all.retain(|key, _| {
                !key.starts_with(labels::PREFIX) && !key.starts_with("deployment.kubernetes.io/")
            });
            if all.is_empty() {
                metadata.remove("annotations");
            }
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && live.get("kind").and_then(Value::as_str) == Some("Service")
    {
        for field in ["clusterIP", "clusterIPs"] {
            // Headless stays headless.
            if spec
                .get(field)
                .is_some_and(|value| *value != json!("None") && *value != json!(["None"]))
            {
                spec.remove(field);
            }
        }
    }
    if let Some(target) = object.pointer_mut("/spec/scaleTargetRef") {
        *target = scale_target(deployment);
    }
    object
}

/// What an autoscaler is turned to.
pub fn scale_target(deployment: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment})
}

/// The name of a manifest's file.
pub fn file_name(kind: ChildKind, name: &str) -> String {
    format!("{}-{name}.yaml", kind.kind().to_lowercase())
}
