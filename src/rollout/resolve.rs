//! Which revision the spec asks for.

use std::collections::BTreeMap;

use serde_json::json;

use super::commands::{Again, again};
use super::likeness::main_container;
use super::observed::{DeploymentView, Observed, Source};
use crate::api::{MicroserviceSpec, labels};
use crate::render::{Identity, new_record};
use crate::revision::{
    Adopted, ContainerPort, Presence, Record, RecordNotes, RecordedSnapshot, RevisionDigest, RevisionInput,
    SnapshotSource, sources,
};

/// What the spec asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// A revision that is on record, or that could be made: then its record has no uid yet.
    Revision(Box<Record>),
    /// It cannot be said yet.
    Unresolved(Unresolved),
}

/// Why it cannot be said which revision the spec asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// CamelCase reason.
    pub reason: &'static str,
    /// What is missing.
    pub message: String,
}

/// Finds the record that the spec asks for, or makes one.
pub fn resolve(observed: &Observed) -> Resolution {
    let input = RevisionInput::of(observed.spec());
    let snapshots = match snapshots(observed.spec(), &observed.sources) {
        Ok(snapshots) => snapshots,
        Err(unresolved) => return Resolution::Unresolved(unresolved),
    };
    let tracked: Vec<(String, String)> = snapshots.iter().map(tracked).collect();
    let base = RevisionDigest::of(&input, &tracked, 0).hex();
    // Restarts of one spec share its base; the latest of them is what the spec asks for.
    let latest = observed
        .lasting_records()
        .filter(|r| r.data.base == base)
        .max_by_key(|r| r.data.epoch);
    let epoch = match latest {
        None => 0,
        Some(record) => match again(observed, &record.name) {
            None => return Resolution::Revision(Box::new(record.clone())),
            Some(Again::Restart) => {
                return Resolution::Revision(Box::new(restarted(observed, record, &input, &tracked)));
            }
            Some(Again::Refresh) => record.data.epoch.saturating_add(1),
        },
    };
    Resolution::Revision(Box::new(fresh(observed, input, snapshots, epoch)))
}

fn identity(observed: &Observed) -> Identity<'_> {
    Identity::of(&observed.service, observed.namespace())
}

fn next_number(observed: &Observed) -> i64 {
    observed
        .records
        .values()
        .map(|r| r.number)
        .max()
        .unwrap_or(0)
        .saturating_add(1)
}

fn fresh(observed: &Observed, input: RevisionInput, snapshots: Vec<RecordedSnapshot>, epoch: i64) -> Record {
    let make = |collisions| {
        new_record(
            &identity(observed),
            input.clone(),
            snapshots.clone(),
            epoch,
            next_number(observed),
            collisions,
        )
    };
    let mut record = make(0);
    // A name that other content has: as good as impossible, and still no reason to overwrite a record.
    let mut collisions = 0;
    while observed
        .records
        .get(&record.name)
        .is_some_and(|r| r.data.digest != record.data.digest)
    {
        collisions += 1;
        record = make(collisions);
    }
    if let Some(deployment) = observed.deployment_of(&record.name) {
        take_over(&mut record, observed, deployment);
    }
    record.notes = RecordNotes {
        exposure: Some(observed.spec().exposure.clone()),
        ..RecordNotes::default()
    };
    record
}

/// Where the record was lost but its pods run, they are the record: nothing restarts for it.
fn take_over(record: &mut Record, observed: &Observed, deployment: &DeploymentView) {
    let name = observed
        .deployments
        .iter()
        .find(|(_, d)| *d == deployment)
        .map(|(name, _)| name.clone());
    record.data.deployment = name.unwrap_or_else(|| record.name.clone());
    record.data.template = deployment.template.clone();
    record.data.selector = deployment.selector.clone();
    record.data.adopted = adopted(deployment);
}

/// A Deployment that does not select by a revision was not made by the operator.
fn adopted(deployment: &DeploymentView) -> Option<Adopted> {
    let made = deployment.selector.contains_key(labels::REVISION);
    (!made).then(Adopted::default)
}

/// The same template once more, under another name.
fn restarted(
    observed: &Observed,
    of: &Record,
    input: &RevisionInput,
    tracked: &[(String, String)],
) -> Record {
    let epoch = of.data.epoch.saturating_add(1);
    let digest = RevisionDigest::of(input, tracked, epoch);
    let name = digest.revision_name(observed.name(), 0);
    let mut record = Record {
        name: name.clone(),
        number: next_number(observed),
        data: of.data.clone(),
        notes: RecordNotes {
            exposure: Some(observed.spec().exposure.clone()),
            ..RecordNotes::default()
        },
        uid: None,
    };
    record.data.digest = digest.hex();
    record.data.epoch = epoch;
    record.data.deployment.clone_from(&name);
    for value in record.data.selector.values_mut() {
        rename(value, &of.name, &name);
    }
    rename_all(&mut record.data.template, &of.name, &name);
    record
}

/// Objects of a revision are called like it, or like it with a suffix.
fn rename(text: &mut String, old: &str, new: &str) {
    match text.strip_prefix(old) {
        Some("") => new.clone_into(text),
        Some(suffix) if suffix.starts_with('-') => *text = format!("{new}{suffix}"),
        Some(_) | None => {}
    }
}

fn rename_all(value: &mut serde_json::Value, old: &str, new: &str) {
    match value {
        serde_json::Value::String(text) => rename(text, old, new),
        serde_json::Value::Array(items) => items.iter_mut().for_each(|item| rename_all(item, old, new)),
        serde_json::Value::Object(fields) => {
            fields.values_mut().for_each(|field| rename_all(field, old, new))
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

fn tracked(snapshot: &RecordedSnapshot) -> (String, String) {
    let digest = snapshot
        .content
        .as_ref()
        .map_or_else(String::new, |c| c.digest.clone());
    (
        format!("{:?}/{}", snapshot.source.kind, snapshot.source.name),
        digest,
    )
}

fn snapshots(
    spec: &MicroserviceSpec,
    observed: &BTreeMap<SnapshotSource, Source>,
) -> Result<Vec<RecordedSnapshot>, Unresolved> {
    sources(&spec.revision)
        .into_iter()
        .map(|(source, presence)| {
            let named = format!("{:?} {}", source.kind, source.name);
            match (observed.get(&source), presence) {
                (Some(Source::Present(content)), _) => Ok(RecordedSnapshot {
                    source,
                    content: Some(content.clone()),
                }),
                (Some(Source::Absent) | None, Presence::Optional) => Ok(RecordedSnapshot {
                    source,
                    content: None,
                }),
                (Some(Source::Absent) | None, Presence::Required) => Err(Unresolved {
                    reason: "SourceMissing",
                    message: format!("{named} does not exist yet; the change goes out when it does"),
                }),
                (Some(Source::Forbidden), _) => Err(Unresolved {
                    reason: "SecretTrackingDisabled",
                    message: format!(
                        "{named} has track: Snapshot, which this operator was not allowed: start it with \
                         --track-secrets and its rights, or use track: None"
                    ),
                }),
            }
        })
        .collect()
}

/// The record of a revision whose record was lost while its Deployment runs.
pub fn record_of_deployment(observed: &Observed, name: &str, deployment: &DeploymentView) -> Record {
    let mut record = unknown_record(observed, &deployment.template, format!("unknown:{name}"));
    record.name.clone_from(&deployment.revision);
    name.clone_into(&mut record.data.deployment);
    record.data.selector = deployment.selector.clone();
    record.data.adopted = adopted(deployment);
    record
}

/// The record of a pod template that no spec was rendered to.
pub fn record_of_template(observed: &Observed, template: &serde_json::Value) -> Record {
    let digest = RevisionDigest::of_value(&json!({"adopted": template}));
    let mut record = unknown_record(observed, template, format!("adopted:{}", digest.hex()));
    record.name = digest.revision_name(observed.name(), 0);
    record
}

/// A record whose content is not known but for its template, so that no spec resolves to it.
fn unknown_record(observed: &Observed, template: &serde_json::Value, digest: String) -> Record {
    let identity = identity(observed);
    let input = RevisionInput::of(observed.spec());
    let mut record = new_record(&identity, input, Vec::new(), 0, next_number(observed), 0);
    record.data.base.clone_from(&digest);
    record.data.digest = digest;
    record.data.template = template.clone();
    record.data.input.ports = ports_of(template);
    let main = template
        .get("spec")
        .and_then(|spec| spec.pointer(&format!("/containers/{}", main_container(spec, observed.name())?)));
    let image = main
        .and_then(|main| main.get("image"))
        .and_then(serde_json::Value::as_str);
    image
        .unwrap_or_default()
        .clone_into(&mut record.data.input.spec.image);
    // How it was reached is not what the spec says by now: see Draft::exposure_of.
    record.notes = RecordNotes::default();
    record
}

/// The ports that the containers of a pod template listen on.
fn ports_of(template: &serde_json::Value) -> Vec<ContainerPort> {
    let containers = template
        .pointer("/spec/containers")
        .and_then(serde_json::Value::as_array);
    let ports = containers
        .into_iter()
        .flatten()
        .filter_map(|container| container.get("ports")?.as_array())
        .flatten();
    ports
        .filter_map(|port| serde_json::from_value(port.clone()).ok())
        .collect()
}
