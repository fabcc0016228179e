//! The record of a revision: a `ControllerRevision` that holds all that is needed to make it again, for ever.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use kube::ResourceExt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{RevisionInput, SnapshotContent, SnapshotSource};
use crate::api::{ExposureSpec, annotations, labels};

/// All that is needed to make a revision again. Immutable, but for the notes, which live in annotations.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The revision's name, also the ControllerRevision's.
    pub name: String,
    /// Counts up by one with each new revision of the service.
    pub number: i64,
    /// What never changes.
    pub data: RecordData,
    /// What was found about it.
    pub notes: RecordNotes,
    /// The uid of the ControllerRevision; absent while it has not been written.
    pub uid: Option<String>,
}

/// The immutable content of a record.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RecordData {
    /// The full digest, in hex: tells a collision of names.
    pub digest: String,
    /// The digest at epoch 0: the same for all restarts of one spec.
    pub base: String,
    /// How often this spec has been restarted or refreshed.
    #[serde(default)]
    pub epoch: i64,
    /// The user's part.
    pub input: RevisionInput,
    /// The tracked sources with what was in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub snapshots: Vec<RecordedSnapshot>,
    /// The pod template as it was rendered; applied for this revision ever after.
    pub template: Value,
    /// The Deployment's name. Nothing derives it from the hash.
    pub deployment: String,
    /// The Deployment's selector.
    pub selector: BTreeMap<String, String>,
    /// The version of the operator that rendered the template.
    pub rendered_by: String,
    /// Of what ran before the Microservice did; absent where the operator made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopted: Option<Adopted>,
}

/// What a revision keeps that was not made by the operator: its template, selector and Deployment as they were, and this.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Adopted {
    /// What the Service selected. It goes on to, until another revision is to go out.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_selector: BTreeMap<String, String>,
    /// What its disruption budget is called; absent: like the revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
}

/// A tracked source and what was in it. `None`: it was absent, and may be.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
pub struct RecordedSnapshot {
    /// Which source.
    pub source: SnapshotSource,
    /// Its content.
    pub content: Option<SnapshotContent>,
}

/// The mutable notes of a record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RecordNotes {
    /// Why it was rejected.
    pub rejected: Option<VerdictNote>,
    /// The number of the rollout that promoted it last.
    pub promoted: Option<i64>,
    /// The fields of scope A that were last in force for it.
    pub exposure: Option<ExposureSpec>,
    /// Whether the Jobs before its first pod have succeeded.
    pub pre_deployed: PreDeployed,
    /// The highest number that a trial of it has had, however it ended; 0 before the first one.
    pub trial: i32,
}

/// Whether the Jobs before a revision's first pod have succeeded. They run once per revision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PreDeployed {
    /// Not yet, or there are none.
    #[default]
    No,
    /// All of them have.
    Succeeded,
}

impl PreDeployed {
    /// The annotation's value where they have.
    const SUCCEEDED: &'static str = "Succeeded";

    /// Reads the annotation. Any other value is no evidence of a success.
    fn read(value: Option<&String>) -> Self {
        match value.map(String::as_str) {
            Some(Self::SUCCEEDED) => Self::Succeeded,
            Some(_) | None => Self::No,
        }
    }
}

/// Why a revision was rejected; survives the loss of the status.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct VerdictNote {
    /// The rollout that found it.
    pub seq: i64,
    /// Which trial it was: a `retry` names it.
    pub trial: i32,
    /// CamelCase reason.
    pub reason: String,
    /// The evidence.
    pub message: String,
}

/// Why a ControllerRevision cannot be read as a record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// There is no data in it.
    #[error(
        "ControllerRevision {0} holds no data: delete it, the running Deployment is then taken as the revision"
    )]
    Empty(String),
    /// The data is not ours.
    #[error("ControllerRevision {name} cannot be read at {path}: {source}")]
    Unreadable {
        /// The object.
        name: String,
        /// The field.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

impl Record {
    /// Reads a record.
    ///
    /// # Errors
    /// When the data is missing or of another shape. Unreadable notes count as absent: they are opinions, not content.
    pub fn read(object: &ControllerRevision) -> Result<Self, RecordError> {
        let name = object.name_any();
        let Some(RawExtension(data)) = &object.data else {
            return Err(RecordError::Empty(name));
        };
        let data: RecordData =
            serde_path_to_error::deserialize(data).map_err(|error| RecordError::Unreadable {
                name: name.clone(),
                path: error.path().to_string(),
                source: error.into_inner(),
            })?;
        let note = |key: &str| object.annotations().get(key);
        let notes = RecordNotes {
            rejected: note(annotations::VERDICT).and_then(|v| serde_json::from_str(v).ok()),
            promoted: note(annotations::PROMOTED).and_then(|v| v.parse().ok()),
            exposure: note(annotations::EXPOSURE).and_then(|v| serde_json::from_str(v).ok()),
            pre_deployed: PreDeployed::read(note(annotations::PRE_DEPLOYED)),
            trial: note(annotations::TRIAL)
                .and_then(|v| v.parse().ok())
                .map_or(0, |trial: i32| trial.max(0)),
        };
        Ok(Self {
            name,
            number: object.revision,
            data,
            notes,
            uid: object.metadata.uid.clone(),
        })
    }

    /// The labels that every pod of the revision gets, besides those of its template. None where the template has them.
    ///
    /// A pod may lose no label that its Deployment selects by: where these are taken for something else, the pods carry
    /// the revision alone.
    pub fn pod_labels(&self, service: &str) -> BTreeMap<String, String> {
        if self.data.adopted.is_none() {
            return BTreeMap::new();
        }
        let mut all: BTreeMap<String, String> = [(labels::REVISION, self.name.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        if self.shares_selector(service) {
            all.extend([labels::NAME, labels::INSTANCE].map(|key| (key.to_owned(), service.to_owned())));
        }
        all
    }

    /// Whether its pods carry the labels that select the pods of all revisions of `service`, or can.
    pub fn shares_selector(&self, service: &str) -> bool {
        let free = |key: &str| self.data.selector.get(key).is_none_or(|value| value == service);
        self.data.adopted.is_none() || (free(labels::NAME) && free(labels::INSTANCE))
    }

    /// What selects the pods of this revision and no other.
    pub fn pod_selector(&self, service: &str) -> BTreeMap<String, String> {
        let mut selector: BTreeMap<String, String> =
            [(labels::REVISION.to_owned(), self.name.clone())].into();
        if self.data.adopted.is_none() {
            selector.extend([labels::NAME, labels::INSTANCE].map(|key| (key.to_owned(), service.to_owned())));
        }
        selector
    }

    /// The image that the revision asks for.
    pub fn image(&self) -> &str {
        &self.data.input.spec.image
    }
}

impl RecordNotes {
    /// The annotations that hold these notes.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        let json = |value: Result<String, serde_json::Error>| value.unwrap_or_default();
        let mut notes = BTreeMap::new();
        if let Some(verdict) = &self.rejected {
            notes.insert(
                annotations::VERDICT.to_owned(),
                json(serde_json::to_string(verdict)),
            );
        }
        if let Some(seq) = self.promoted {
            notes.insert(annotations::PROMOTED.to_owned(), seq.to_string());
        }
        if let Some(exposure) = &self.exposure {
            notes.insert(
                annotations::EXPOSURE.to_owned(),
                json(serde_json::to_string(exposure)),
            );
        }
        match self.pre_deployed {
            PreDeployed::Succeeded => {
                notes.insert(
                    annotations::PRE_DEPLOYED.to_owned(),
                    PreDeployed::SUCCEEDED.to_owned(),
                );
            }
            PreDeployed::No => {}
        }
        if self.trial > 0 {
            notes.insert(annotations::TRIAL.to_owned(), self.trial.to_string());
        }
        notes
    }
}
