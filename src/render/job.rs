//! Jobs: what must succeed before a revision gets pods, or before a step of its rollout.
//!
//! The pod of a Job is made from the pod template in the revision's record, so that it finds the same image,
//! configuration, account and rights as the revision's own pods, also after an upgrade of the operator. It is not one
//! of them: it serves nobody, and no Service, budget, network policy or autoscaler of the service selects it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use super::{
    Child, ChildKind, Identity,
    identity::Metadata,
    prune::{fields, to_json},
};
use crate::api::{JobTemplate, labels};
use crate::revision::{Record, SnapshotSource, SourceKind, canonical_json, short_digest};

/// How many characters of a digest tell the Jobs of one revision apart. Names of revisions have at most 56 characters,
/// and a Job's name becomes the value of a label of its pods, which ends at 63.
const NAME_CHARACTERS: usize = 6;

/// What a Job is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum JobPurpose<'a> {
    /// It must succeed before the revision gets its first pod.
    PreDeploy {
        /// Which trial of the revision it is: another one runs it again.
        trial: i32,
    },
    /// It must succeed before a step.
    Hook {
        /// Which trial of the revision it is.
        trial: i32,
        /// The step that waits for it, counted as in the status.
        step: i32,
        /// The digest of what that step does: after an edit another one may have its number.
        goal: &'a str,
        /// The revision that the service rests on.
        stable: &'a str,
    },
    /// It measures a check.
    Check {
        /// Which trial of the revision it is.
        trial: i32,
        /// The step in which it runs; the bake is the number behind the last one.
        step: i32,
        /// The digest of what that step does.
        goal: &'a str,
        /// The revision that the service rests on.
        stable: &'a str,
        /// Which run in this step it is, from 0.
        run: i64,
    },
}

/// The name of a Job: `<revision>-<6 characters of a digest of purpose and name>`, at most 63 characters.
///
/// What runs is no part of it: a Job that has begun is the Job, also where it is edited meanwhile. What the step of a hook
/// does is: a step that is edited to do something else is another step.
pub fn job_name(revision: &str, name: &str, purpose: JobPurpose<'_>) -> String {
    let content = json!([to_json(&purpose), name]);
    format!(
        "{revision}-{}",
        short_digest(&canonical_json(&content), NAME_CHARACTERS)
    )
}

/// The Job called `name` in the spec, for the revision of `record`.
///
/// It has one container, like the revision's main one but for what the template says otherwise, and without ports,
/// probes, hooks and companions. Its command and arguments are its own alone: the revision's would start the service.
/// It is never cleaned up by a clock (no ttlSecondsAfterFinished): the operator, who knows when its outcome is not
/// wanted any more, deletes it.
pub fn job(
    identity: &Identity<'_>,
    record: &Record,
    name: &str,
    template: &JobTemplate,
    purpose: JobPurpose<'_>,
) -> Child {
    let metadata = Metadata {
        revision: Some(&record.name),
        ..Metadata::named(job_name(&record.name, name, purpose))
    };
    let spec = json!({
        "backoffLimit": template.retries.unwrap_or(0),
        "activeDeadlineSeconds": template.timeout_seconds(),
        // A pod that was evicted, preempted or lost with its node says nothing about the work.
        "podFailurePolicy": {"rules": [
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        ]},
        "template": pod_template(identity, record, name, template, purpose),
    });
    identity.child(ChildKind::Job, metadata, fields(json!({"spec": spec})))
}

fn pod_template(
    identity: &Identity<'_>,
    record: &Record,
    name: &str,
    template: &JobTemplate,
    purpose: JobPurpose<'_>,
) -> Value {
    let recorded = &record.data.template;
    let mut spec = pod_spec(recorded);
    let container = container(identity, record, name, template, purpose);
    let volumes = mounted_volumes(recorded, &container);
    spec.insert("volumes".to_owned(), volumes);
    spec.insert("containers".to_owned(), json!([container]));
    spec.insert("restartPolicy".to_owned(), json!("Never"));
    json!({
        "metadata": {
            // Nothing of the recorded labels. They are what Services, budgets and policies select by, the user's own
            // among them: a pod that gets requests it does not serve is worse than one that lacks a label. Policies
            // can select by these.
            "labels": labels_of(identity, record, name, purpose),
            "annotations": recorded.pointer("/metadata/annotations"),
        },
        "spec": spec,
    })
}

fn labels_of(identity: &Identity<'_>, record: &Record, name: &str, purpose: JobPurpose<'_>) -> Value {
    let mut all = json!({labels::JOB: identity.name, labels::JOB_OF: record.name});
    match purpose {
        JobPurpose::Check { .. } => all[labels::CHECK] = json!(name),
        JobPurpose::PreDeploy { .. } | JobPurpose::Hook { .. } => {}
    }
    all
}

/// Fields of a pod's spec that are about its containers together, or about its place among its likes.
const NOT_OF_JOBS: [&str; 13] = [
    "activeDeadlineSeconds",
    "containers",
    "ephemeralContainers",
    "hostname",
    "initContainers",
    "readinessGates",
    "resources",
    "restartPolicy",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "subdomain",
    "topologySpreadConstraints",
    "volumes",
];

/// The revision's pod spec without [`NOT_OF_JOBS`]. Of its affinity what is about nodes stays: the rest keeps the
/// pods of a service together or apart, and this is none of them.
fn pod_spec(recorded: &Value) -> Map<String, Value> {
    let mut spec = fields(recorded.get("spec").cloned().unwrap_or_default());
    spec.retain(|field, _| !NOT_OF_JOBS.contains(&field.as_str()));
    let nodes = spec
        .remove("affinity")
        .and_then(|affinity| affinity.get("nodeAffinity").cloned());
    if let Some(nodes) = nodes.filter(|nodes| !nodes.is_null()) {
        spec.insert("affinity".to_owned(), json!({"nodeAffinity": nodes}));
    }
    spec
}

/// The revision's main container: the one that is named like the service, else the first.
fn main_container<'a>(identity: &Identity<'_>, recorded: &'a Value) -> Option<&'a Value> {
    let containers = recorded.pointer("/spec/containers")?.as_array()?;
    let named = containers
        .iter()
        .find(|container| container.get("name").and_then(Value::as_str) == Some(identity.name));
    named.or_else(|| containers.first())
}

fn container(
    identity: &Identity<'_>,
    record: &Record,
    name: &str,
    template: &JobTemplate,
    purpose: JobPurpose<'_>,
) -> Value {
    let main = main_container(identity, &record.data.template);
    let inherited = |field: &str| main.and_then(|main| main.get(field)).cloned();
    // What is said about the revision's image means nothing for another one.
    let of_image = |field: &str| match &template.image {
        Some(_) => None,
        None => inherited(field),
    };
    json!({
        "name": name,
        "image": template.image.clone().map(Value::String).or_else(|| inherited("image")),
        "imagePullPolicy": of_image("imagePullPolicy"),
        "workingDir": of_image("workingDir"),
        "command": template.command,
        "args": template.args,
        "env": env(identity, record, template, purpose, inherited("env")),
        "envFrom": env_from(record, template, inherited("envFrom")),
        "resources": template.resources.as_ref().map(to_json).or_else(|| inherited("resources")),
        "volumeMounts": inherited("volumeMounts"),
        "volumeDevices": inherited("volumeDevices"),
        "securityContext": inherited("securityContext"),
        // So that the reason of a failure is in the pod's status, without the right to read logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

/// What the Job is told about itself, the revision's variables, and its own. Of two with one name the Job's own takes
/// the place of the revision's, because others may refer to it where it stands; what it is told is always true.
fn env(
    identity: &Identity<'_>,
    record: &Record,
    template: &JobTemplate,
    purpose: JobPurpose<'_>,
    revisions: Option<Value>,
) -> Vec<Value> {
    let told = told(identity, record, purpose);
    let known = told.len();
    let mut all = told;
    let revisions = revisions
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let own = template.env.iter().cloned().map(|mut variable| {
        if let Some(key) = variable
            .value_from
            .as_mut()
            .and_then(|from| from.config_map_key_ref.as_mut())
        {
            key.name = config_map_name(record, &key.name);
        }
        to_json(&variable)
    });
    for variable in revisions.into_iter().chain(own) {
        match all
            .iter()
            .position(|other| other.get("name") == variable.get("name"))
        {
            Some(place) if place < known => {}
            Some(place) => all[place] = variable,
            None => all.push(variable),
        }
    }
    all
}

/// What a Job is told about itself.
fn told(identity: &Identity<'_>, record: &Record, purpose: JobPurpose<'_>) -> Vec<Value> {
    let (stable, step) = match purpose {
        JobPurpose::PreDeploy { .. } => (None, None),
        JobPurpose::Hook { stable, step, .. } | JobPurpose::Check { stable, step, .. } => {
            (Some(stable.to_owned()), Some(step.to_string()))
        }
    };
    [
        ("MICROSERVICE_NAME", Some(identity.name.to_owned())),
        ("MICROSERVICE_NAMESPACE", Some(identity.namespace.to_owned())),
        ("MICROSERVICE_REVISION", Some(record.name.clone())),
        ("MICROSERVICE_STABLE", stable),
        ("MICROSERVICE_STEP", step),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some(json!({"name": name, "value": value?})))
    .collect()
}

/// The revision's, then the Job's own: of two values of one name the later one counts.
fn env_from(record: &Record, template: &JobTemplate, revisions: Option<Value>) -> Vec<Value> {
    let own = template.env_from.iter().cloned().map(|mut from| {
        if let Some(source) = from.config_map_ref.as_mut() {
            source.name = config_map_name(record, &source.name);
        }
        to_json(&from)
    });
    let revisions = revisions
        .as_ref()
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    revisions.into_iter().chain(own).collect()
}

/// The revision's copy of a ConfigMap that it tracks: the Job sees what the revision's pods see. Others are read live.
fn config_map_name(record: &Record, name: &str) -> String {
    let source = SnapshotSource {
        kind: SourceKind::ConfigMap,
        name: name.to_owned(),
    };
    let copied = record
        .data
        .snapshots
        .iter()
        .any(|snapshot| snapshot.source == source && snapshot.content.is_some());
    if copied {
        source.copy_name(&record.name)
    } else {
        source.name
    }
}

/// The volumes that the container mounts. Those of companions alone could keep the pod from starting.
fn mounted_volumes(recorded: &Value, container: &Value) -> Value {
    let mounted: Vec<&Value> = ["volumeMounts", "volumeDevices"]
        .iter()
        .filter_map(|field| container.get(*field)?.as_array())
        .flatten()
        .filter_map(|mount| mount.get("name"))
        .collect();
    let volumes = recorded.pointer("/spec/volumes").and_then(Value::as_array);
    let wanted = |volume: &&Value| volume.get("name").is_some_and(|name| mounted.contains(&name));
    Value::Array(volumes.into_iter().flatten().filter(wanted).cloned().collect())
}
