//! Carries out the steps of a plan, in their order. Decides nothing: what a failed write means is for the next plan.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, Preconditions, ValidationDirective};
use kube::{Api, Error, ResourceExt};
use serde_json::{Value, json};

use super::cache::{Cached, Put, ServiceKey};
use super::entry::{ChildEntry, now};
use super::error::{WriteError, classify};
use super::reconcile::Context;
use super::request::bounded;
use super::streams::api_resource;
use crate::api::{Microservice, MicroserviceStatus, labels};
use crate::render::ChildKind;
use crate::rollout::{Apply, ApplyReason, Delete, Failure, FailureClass, Observed, Step, Turn, WriteBack};
use crate::telemetry::{WriteResult, WriteVerb};

/// Carries out `writes`. What is refused is remembered, and the others are done; where what was planned on is not what
/// is, it ends: the next plan knows better.
pub async fn execute(context: &Context, key: &ServiceKey, observed: &Observed, writes: &[Step]) {
    let mut refused = false;
    for step in writes {
        // What takes capacity away must not run ahead of something that failed before it.
        let takes_away = match step {
            Step::Apply(apply) => apply.turn == Turn::Shrinking,
            Step::Delete(_) => true,
            Step::Checkpoint(_)
            | Step::Scale(_)
            | Step::Label(_)
            | Step::Claim(_)
            | Step::Call(_)
            | Step::ForgetCall(_)
            | Step::Send(_) => false,
        };
        if takes_away && refused {
            continue;
        }
        let result = match step {
            Step::Checkpoint(status) => write_status(context, key, observed, status).await,
            Step::Apply(apply) => apply_child(context, key, observed, apply).await,
            Step::Scale(write_back) => scale(context, key, observed, *write_back).await,
            Step::Label(label) => {
                let labels = [(labels::ROLE.to_owned(), label.role.as_str().to_owned())].into();
                label_pod(context, key, &label.pod, &label.uid, &labels).await
            }
            Step::Claim(claim) => label_pod(context, key, &claim.pod, &claim.uid, &claim.labels).await,
            Step::Delete(delete) => delete_child(context, key, delete).await,
            Step::Call(call) => {
                context.calls.begin(key, observed.uid(), call);
                Ok(())
            }
            Step::ForgetCall(call) => {
                context.calls.forget(key, call);
                Ok(())
            }
            Step::Send(delivery) => {
                context.deliveries.begin(key, observed.uid(), delivery);
                Ok(())
            }
        };
        match result {
            Ok(()) => {}
            Err(WriteError::Conflict) => return,
            Err(WriteError::Refused(class, message)) => {
                refused = true;
                remember(context, key, step, class, message);
            }
        }
    }
}

/// A refused delete is remembered too, so that the look counts as failed and is taken again with back-off.
fn remember(context: &Context, key: &ServiceKey, step: &Step, class: FailureClass, message: String) {
    let (child, digest) = match step {
        Step::Apply(apply) => ((apply.child.kind, apply.child.name.clone()), apply.digest.clone()),
        Step::Delete(delete) => ((delete.kind, delete.name.clone()), String::new()),
        Step::Scale(write_back) => {
            tracing::warn!(service = %key, replicas = write_back.replicas, %message, "replicas could not be written back");
            let failure = Failure {
                digest: write_back.replicas.to_string(),
                class,
                message,
            };
            context
                .memory
                .change(key, |memory| memory.scale_failure = Some(failure));
            return;
        }
        Step::Label(label) => {
            tracing::warn!(service = %key, pod = %label.pod, %message, "a pod could not be told its role");
            return;
        }
        Step::Claim(claim) => {
            tracing::warn!(service = %key, pod = %claim.pod, %message, "a pod could not be told its revision");
            return;
        }
        Step::Checkpoint(_) | Step::Call(_) | Step::ForgetCall(_) | Step::Send(_) => return,
    };
    tracing::warn!(
        service = %key, kind = child.0.kind(), child = %child.1, %message,
        "the API server refused a write; the others go on"
    );
    context.memory.change(key, |memory| {
        memory.failures.insert(
            child,
            Failure {
                digest,
                class,
                message,
            },
        );
    });
}

/// Writes the status, if the Microservice still is the one that was planned on.
pub async fn write_status(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    status: &MicroserviceStatus,
) -> Result<(), WriteError> {
    let api: Api<Microservice> = Api::namespaced(context.client.clone(), &key.namespace);
    let object = json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {
            "name": key.name,
            "uid": observed.uid(),
            "resourceVersion": observed.service.metadata.resource_version,
        },
        "status": status,
    });
    let params = PatchParams::apply(labels::MANAGER).force();
    let result = bounded(api.patch_status(&key.name, &params, &Patch::Apply(&object))).await;
    context
        .metrics
        .wrote("Microservice", WriteVerb::Apply, outcome_of(&result));
    match result {
        Ok(service) => {
            context.caches.services.put(service.into());
            context
                .memory
                .change(key, |memory| memory.last_status_write = Some(now()));
            Ok(())
        }
        Err(error) => {
            let meaning = classify(&error);
            if meaning == WriteError::Conflict {
                refresh_service(context, key, &api).await;
            }
            Err(meaning)
        }
    }
}

/// Writes replicas back through /scale, if the spec still is the one that was planned on. A merge patch: the API server
/// knows no server-side apply of the /scale of a custom resource.
async fn scale(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    write_back: WriteBack,
) -> Result<(), WriteError> {
    // The version that was planned on may be followed by the one with the status that says what is done here.
    let known = context.caches.services.get(&key.namespace, &key.name);
    let known = known.filter(|known| {
        let metadata = &known.service.metadata;
        metadata.uid == observed.service.metadata.uid
            && metadata.generation == observed.service.metadata.generation
    });
    let Some(known) = known else {
        return Err(WriteError::Conflict);
    };
    let WriteBack { replicas } = write_back;
    let patch = json!({
        "metadata": {"uid": observed.uid(), "resourceVersion": known.service.metadata.resource_version},
        "spec": {"replicas": replicas},
    });
    let params = PatchParams {
        field_manager: Some(labels::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let api: Api<Microservice> = Api::namespaced(context.client.clone(), &key.namespace);
    let result = bounded(api.patch_scale(&key.name, &params, &Patch::Merge(&patch))).await;
    context
        .metrics
        .wrote("Scale", WriteVerb::Patch, outcome_of(&result));
    match result {
        Ok(written) => {
            tracing::info!(service = %key, replicas, "replicas, which a manifest had set to fewer, was written back");
            let after = known.scaled(replicas, written.metadata.resource_version);
            context.caches.services.put(after);
            context.memory.change(key, |memory| memory.scale_failure = None);
            Ok(())
        }
        Err(error) => {
            let meaning = classify(&error);
            if meaning == WriteError::Conflict {
                refresh_service(context, key, &api).await;
            }
            Err(meaning)
        }
    }
}

/// After a conflict the cache is behind: looks once, so that the next plan is made on what is.
async fn refresh_service(context: &Context, key: &ServiceKey, api: &Api<Microservice>) {
    match bounded(api.get_opt(&key.name)).await {
        Ok(Some(service)) => {
            context.caches.services.put(service.into());
        }
        Ok(None) => {
            if let Some(known) = context.caches.services.get(&key.namespace, &key.name) {
                context
                    .caches
                    .services
                    .deleted(&key.namespace, &key.name, known.object_uid());
            }
        }
        Err(error) => tracing::warn!(service = %key, %error, "the Microservice cannot be read"),
    }
}

fn api(context: &Context, kind: ChildKind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(context.client.clone(), namespace, &api_resource(kind))
}

async fn apply_child(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    apply: &Apply,
) -> Result<(), WriteError> {
    let kind = apply.child.kind;
    let mut object = apply.child.object.clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        match &apply.uid {
            // A namesake that was made meanwhile is left alone.
            Some(uid) => metadata.insert("uid".to_owned(), json!(uid)),
            // An apply with a version creates where there is nothing, and conflicts where there is something.
            None => metadata.insert("resourceVersion".to_owned(), json!("1")),
        };
    }
    let params = PatchParams {
        field_manager: Some(labels::MANAGER.to_owned()),
        force: true,
        field_validation: Some(ValidationDirective::Strict),
        ..PatchParams::default()
    };
    let api = api(context, kind, &key.namespace);
    let _permit = context.writes.acquire().await;
    let result = bounded(api.patch(&apply.child.name, &params, &Patch::Apply(&object))).await;
    context
        .metrics
        .wrote(kind.kind(), WriteVerb::Apply, outcome_of(&result));
    match result {
        Ok(stored) => {
            note_applied(context, key, observed, apply);
            if let Some(cache) = context.caches.children.get(&kind) {
                cache.put(ChildEntry::new(kind, stored));
            }
            Ok(())
        }
        Err(error) => match classify(&error) {
            WriteError::Conflict => look(context, key, observed, apply, &api).await,
            refused @ WriteError::Refused(..) => Err(refused),
        },
    }
}

fn note_applied(context: &Context, key: &ServiceKey, observed: &Observed, apply: &Apply) {
    let child = (apply.child.kind, apply.child.name.clone());
    tracing::debug!(service = %key, kind = child.0.kind(), child = %child.1, reason = ?apply.reason, "applied");
    // What it was refused for in another shape counts no longer.
    context.memory.change(key, |memory| {
        memory.failures.remove(&child);
    });
    if let ApplyReason::Drifted(path) = &apply.reason {
        let manager = observed
            .children
            .get(&child)
            .and_then(|live| live.last_foreign_manager.clone());
        tracing::info!(
            service = %key, kind = child.0.kind(), child = %child.1, field = %path, manager = manager.as_deref(),
            "a field of ours was changed by somebody else and put back"
        );
        context
            .memory
            .change(key, |memory| memory.repaired(child, manager, now()));
    }
}

/// After a conflict: what is there really? Ours or an orphan of ours: plan again with it. Somebody else's: say so.
async fn look(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    apply: &Apply,
    api: &Api<DynamicObject>,
) -> Result<(), WriteError> {
    let kind = apply.child.kind;
    let cache = context.caches.children.get(&kind);
    match bounded(api.get_opt(&apply.child.name)).await {
        Ok(Some(found)) => {
            let owner = found
                .owner_references()
                .iter()
                .find(|o| o.controller == Some(true));
            let owner = owner.map(|o| format!("{} {}", o.kind, o.name));
            let entry = ChildEntry::new(kind, found);
            let live = entry.live(observed.uid(), &key.name);
            if live.ownership == crate::rollout::Ownership::Foreign {
                let whose = owner.map_or_else(String::new, |owner| format!(" It belongs to {owner}."));
                let message = format!(
                    "an object of that name exists, is not ours and is left alone.{whose} Delete or rename it, or give \
                     the Microservice another name"
                );
                return Err(WriteError::Refused(FailureClass::Foreign, message));
            }
            if matches!(cache.map(|cache| cache.put(entry)), Some(Put::Stale)) {
                tracing::debug!(service = %key, kind = kind.kind(), "a conflict with what is known already");
            }
            Err(WriteError::Conflict)
        }
        Ok(None) => {
            if let (Some(cache), Some(uid)) = (cache, &apply.uid) {
                cache.deleted(&key.namespace, &apply.child.name, uid);
            }
            Err(WriteError::Conflict)
        }
        Err(error) => Err(WriteError::Refused(
            FailureClass::Transient,
            super::error::words(&error),
        )),
    }
}

/// A merge patch: the labels are the only fields of the pod that are ours, and the kubelet writes the rest.
async fn label_pod(
    context: &Context,
    key: &ServiceKey,
    pod: &str,
    uid: &str,
    labels: &BTreeMap<String, String>,
) -> Result<(), WriteError> {
    let api: Api<Pod> = Api::namespaced(context.client.clone(), &key.namespace);
    let patch = json!({"metadata": {"uid": uid, "labels": labels}});
    let params = PatchParams {
        field_manager: Some(labels::MANAGER.to_owned()),
        ..PatchParams::default()
    };
    let result = bounded(api.patch(pod, &params, &Patch::Merge(&patch))).await;
    context
        .metrics
        .wrote("Pod", WriteVerb::Patch, outcome_of(&result));
    match result {
        Ok(pod) => {
            context.caches.put_pod(pod);
            Ok(())
        }
        // It is gone or another one by now: there is nobody to tell.
        Err(Error::Api(status)) if status.code == 404 || status.code == 409 => {
            context.caches.pods.deleted(&key.namespace, pod, uid);
            Ok(())
        }
        Err(error) => Err(classify(&error)),
    }
}

async fn delete_child(context: &Context, key: &ServiceKey, delete: &Delete) -> Result<(), WriteError> {
    let params = DeleteParams::background().preconditions(Preconditions {
        uid: Some(delete.uid.clone()),
        resource_version: None,
    });
    let api = api(context, delete.kind, &key.namespace);
    let _permit = context.writes.acquire().await;
    let result = bounded(api.delete(&delete.name, &params)).await;
    context
        .metrics
        .wrote(delete.kind.kind(), WriteVerb::Delete, outcome_of(&result));
    match result {
        Ok(_) => {}
        Err(Error::Api(status)) if status.code == 404 || status.code == 409 => {}
        Err(error) => match classify(&error) {
            WriteError::Conflict => {}
            refused @ WriteError::Refused(..) => return Err(refused),
        },
    }
    // It is gone, or another one by now.
    if let Some(cache) = context.caches.children.get(&delete.kind) {
        tracing::debug!(service = %key, kind = delete.kind.kind(), child = %delete.name, "deleted");
        cache.deleted(&key.namespace, &delete.name, &delete.uid);
    }
    Ok(())
}

fn outcome_of<T>(result: &Result<T, Error>) -> WriteResult {
    match result {
        Ok(_) => WriteResult::Accepted,
        Err(Error::Api(status)) => WriteResult::of_status(Some(status.code)),
        Err(_) => WriteResult::of_status(None),
    }
}
