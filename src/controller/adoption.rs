//! Looks for what is to be adopted: objects that no watch shows, because they are not the operator's yet, and pods that
//! have not been told their revision.

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DynamicObject, ListParams};
use kube::{Api, Error, ResourceExt};
use serde_json::Value;

use super::cache::ServiceKey;
use super::entry::ChildEntry;
use super::reconcile::Context;
use super::request::bounded;
use super::streams::api_resource;
use crate::api::{annotations, labels};
use crate::health;
use crate::render::ChildKind;
use crate::rollout::{Observed, Ownership, UnclaimedPod, sought, sought_deployment};

/// Adds what was found to what is observed. Costs nothing where no annotation asks for it, or where all of it is adopted.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn look(context: &Context, key: &ServiceKey, observed: &mut Observed) -> Result<(), Error> {
    if let Some(wish) = observed.annotation(annotations::ADOPT).map(str::to_owned)
        && context.memory.of(key).adopted.as_ref() != Some(&wish)
    {
        objects(context, key, observed).await?;
        if observed.found.is_empty() && !observed.records.is_empty() {
            context.memory.change(key, |memory| memory.adopted = Some(wish));
        }
    }
    pods(context, key, observed).await
}

async fn objects(context: &Context, key: &ServiceKey, observed: &mut Observed) -> Result<(), Error> {
    for (kind, name) in sought(observed) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(context.client.clone(), &key.namespace, &api_resource(kind));
        match bounded(api.get_opt(&name)).await {
            Ok(Some(object)) => note(observed, key, kind, object),
            Ok(None) => {}
            // A kind that this installation has no rights for can neither be adopted nor be in its way.
            Err(Error::Api(status)) if status.code == 403 && !is_required(kind) => {}
            Err(error) => return Err(error),
        }
    }
    let Some(deployment) = sought_deployment(observed) else {
        return Ok(());
    };
    let kind = ChildKind::HorizontalPodAutoscaler;
    let api: Api<DynamicObject> =
        Api::namespaced_with(context.client.clone(), &key.namespace, &api_resource(kind));
    let scales = |object: &DynamicObject| {
        let target = object.data.pointer("/spec/scaleTargetRef");
        let field = |field: &str| {
            target
                .and_then(|target| target.get(field))
                .and_then(Value::as_str)
        };
        field("kind") == Some("Deployment") && field("name") == Some(deployment.as_str())
    };
    match bounded(api.list(&ListParams::default())).await {
        Ok(list) => {
            for object in list.into_iter().filter(scales) {
                note(observed, key, kind, object);
            }
            Ok(())
        }
        Err(Error::Api(status)) if status.code == 403 => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether a revision cannot be adopted without knowing of this kind.
fn is_required(kind: ChildKind) -> bool {
    matches!(kind, ChildKind::Deployment | ChildKind::Service)
}

/// Notes an object that is somebody else's, or nobody's.
fn note(observed: &mut Observed, key: &ServiceKey, kind: ChildKind, object: DynamicObject) {
    let name = object.name_any();
    let live = ChildEntry::new(kind, object).live(observed.uid(), &key.name);
    match live.ownership {
        Ownership::Foreign => drop(observed.found.insert((kind, name), live)),
        Ownership::Ours | Ownership::Orphan => {}
    }
}

/// Adds the pods of adopted Deployments that have not been told their revision. They are asked for where a Deployment has
/// more pods than are known.
async fn pods(context: &Context, key: &ServiceKey, observed: &mut Observed) -> Result<(), Error> {
    let mut unclaimed = Vec::new();
    for (name, deployment) in observed.lasting_deployments() {
        let record = observed.records.get(&deployment.revision);
        let adopted = record.is_some_and(|record| record.data.adopted.is_some());
        let known = health::readiness(observed.pods_of(&deployment.revision)).live;
        if adopted && known < deployment.pods {
            unclaimed.push((name.clone(), deployment.clone()));
        }
    }
    for (name, deployment) in unclaimed {
        let selector: Vec<String> = deployment
            .selector
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let wanted = ListParams::default().labels(&format!("{},!{}", selector.join(","), labels::REVISION));
        let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
        let found = bounded(api.list(&wanted)).await?;
        let mine = found.into_iter().filter(|pod| is_of(pod, &name));
        let mine: Vec<UnclaimedPod> = mine
            .map(|pod| UnclaimedPod {
                name: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
            })
            .collect();
        observed.unclaimed.insert(deployment.revision, mine);
    }
    Ok(())
}

/// Whether a pod is of a Deployment: its ReplicaSet is called like both.
fn is_of(pod: &Pod, deployment: &str) -> bool {
    let Some(hash) = pod.labels().get("pod-template-hash") else {
        return false;
    };
    pod.metadata.deletion_timestamp.is_none()
        && pod.owner_references().iter().any(|owner| {
            owner.controller == Some(true)
                && owner.kind == "ReplicaSet"
                && owner.name == format!("{deployment}-{hash}")
        })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_of_the_deployment_whose_name_its_replica_set_has() {
        let pod = |replica_set: &str, hash: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": "p", "labels": {"pod-template-hash": hash},
                "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": replica_set, "uid": "u",
                    "controller": true}]}}))
            .unwrap()
        };
        assert!(is_of(&pod("orders-5b", "5b"), "orders"));
        // Of a Deployment whose name begins like it.
        assert!(!is_of(&pod("orders-next-5b", "5b"), "orders"));
        assert!(!is_of(&pod("orders-5b", "6c"), "orders"));
    }
}
