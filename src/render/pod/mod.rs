//! The pod template of a revision: defaults first, the user's fields, the overlay, and at last the security
//! profile where nothing else was said.

mod container;
mod defaults;
mod files;
mod security;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{
    Identity,
    merge::overlaid,
    prune::{pruned, to_json},
};
use crate::api::{RawObject, RevisionSpec, ServiceAccountToken, labels};
use crate::revision::{RecordedSnapshot, RevisionInput, SnapshotSource, SourceKind};

/// The pod template of the revision called `revision`: metadata and spec.
///
/// References to ConfigMaps and Secrets whose content is in `snapshots` lead to the revision's immutable
/// copies.
pub fn pod_template(
    identity: &Identity<'_>,
    revision: &str,
    input: &RevisionInput,
    snapshots: &[RecordedSnapshot],
) -> Value {
    let copies = Copies { revision, snapshots };
    let base = json!({
        "metadata": {
            "labels": pod_labels(identity, revision, &input.spec),
            "annotations": pod_annotations(&input.spec),
        },
        "spec": pod_spec(identity, input, &copies),
    });
    let mut template = match &input.spec.pod_template {
        Some(overlay) => overlaid(base, &overlay.to_value()),
        None => base,
    };
    security::complete(&mut template, &input.spec.security.clone().unwrap_or_default());
    restore_labels(&mut template, identity, revision);
    pruned(template)
}

/// Where the references of a revision lead.
struct Copies<'a> {
    revision: &'a str,
    snapshots: &'a [RecordedSnapshot],
}

impl Copies<'_> {
    /// The name of the copy of a tracked ConfigMap or Secret, or its own where there was nothing to copy.
    fn name(&self, kind: SourceKind, name: &str) -> String {
        let source = SnapshotSource {
            kind,
            name: name.to_owned(),
        };
        let copied = self
            .snapshots
            .iter()
            .any(|s| s.source == source && s.content.is_some());
        if copied {
            source.copy_name(self.revision)
        } else {
            source.name
        }
    }
}

/// The pods carry the selector's labels and the user's. Not `managed-by`: they are the ReplicaSet's, and what
/// prunes by that label must never meet them.
fn pod_labels(identity: &Identity<'_>, revision: &str, spec: &RevisionSpec) -> BTreeMap<String, String> {
    let mut all = spec.pod_labels.clone();
    all.retain(|key, _| is_users_label(key));
    all.extend(identity.revision_selector(revision));
    all
}

fn pod_annotations(spec: &RevisionSpec) -> BTreeMap<String, String> {
    let mut all = spec.pod_annotations.clone();
    all.retain(|key, _| !key.starts_with(labels::PREFIX));
    all
}

fn is_users_label(key: &str) -> bool {
    !key.starts_with(labels::PREFIX) && ![labels::NAME, labels::INSTANCE, labels::MANAGED_BY].contains(&key)
}

/// No overlay may take a pod out of its revision, or into another.
fn restore_labels(template: &mut Value, identity: &Identity<'_>, revision: &str) {
    let Some(template) = template.as_object_mut() else {
        return;
    };
    let metadata = template.entry("metadata").or_insert_with(|| json!({}));
    if !metadata.is_object() {
        *metadata = json!({});
    }
    let Some(present) = metadata
        .as_object_mut()
        .map(|m| m.entry("labels").or_insert_with(|| json!({})))
    else {
        return;
    };
    let mut all: Map<String, Value> = present
        .as_object()
        .into_iter()
        .flatten()
        .filter(|(key, _)| is_users_label(key))
        .map(own)
        .collect();
    all.extend(
        identity
            .revision_selector(revision)
            .into_iter()
            .map(|(key, value)| (key, Value::String(value))),
    );
    *present = Value::Object(all);
}

fn own((key, value): (&String, &Value)) -> (String, Value) {
    (key.clone(), value.clone())
}

fn pod_spec(identity: &Identity<'_>, input: &RevisionInput, copies: &Copies<'_>) -> Value {
    let spec = &input.spec;
    let storage = files::storage(spec, copies);
    let account = spec.service_account.clone().unwrap_or_default();
    let scheduling = spec.scheduling.clone().unwrap_or_default();
    json!({
        "containers": [container::main(identity, input, &storage, copies)],
        "initContainers": init_containers(spec),
        "volumes": storage.volumes,
        "imagePullSecrets": to_json(&spec.image_pull_secrets),
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "serviceAccountName": super::service_account::name(identity, &account),
        "automountServiceAccountToken": account.token.unwrap_or_default() == ServiceAccountToken::Mount,
        "enableServiceLinks": false,
        "nodeSelector": scheduling.node_selector,
        "affinity": scheduling.affinity.as_ref().map(to_json),
        "tolerations": to_json(&scheduling.tolerations),
        "priorityClassName": scheduling.priority_class_name,
        "topologySpreadConstraints":
            defaults::spread(scheduling.spread.unwrap_or_default(),
                &identity.revision_selector(copies.revision)),
        "securityContext": security::pod(&spec.security.clone().unwrap_or_default()),
    })
}

/// Init containers come before sidecars, so that a sidecar finds what they prepare. Who needs it the other
/// way round lists the sidecar among the initContainers, with restartPolicy Always.
fn init_containers(spec: &RevisionSpec) -> Vec<Value> {
    let sidecar = |raw: &RawObject| {
        let mut container = raw.0.clone();
        container.insert("restartPolicy".to_owned(), json!("Always"));
        Value::Object(container)
    };
    spec.init_containers
        .iter()
        .map(RawObject::to_value)
        .chain(spec.sidecars.iter().map(sidecar))
        .collect()
}

#[cfg(test)]
mod tests;
