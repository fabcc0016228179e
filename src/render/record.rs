//! The record of a revision: made once, written as a ControllerRevision.

use serde_json::{Map, json};

use super::{
    Child, ChildKind, Identity,
    identity::Metadata,
    pod_template,
    prune::{to_json, without_absent},
};
use crate::revision::{
    Record, RecordData, RecordNotes, RecordedSnapshot, RevisionDigest, RevisionInput, SourceKind,
};

/// The digest of a revision: the user's part, what it tracks, and the epoch.
pub fn revision_digest(input: &RevisionInput, snapshots: &[RecordedSnapshot], epoch: i64) -> RevisionDigest {
    let tracked: Vec<(String, String)> = snapshots
        .iter()
        .map(|snapshot| {
            let content = snapshot
                .content
                .as_ref()
                .map_or("", |content| content.digest.as_str());
            let kind = match snapshot.source.kind {
                SourceKind::ConfigMap => "ConfigMap",
                SourceKind::Secret => "Secret",
            };
            (format!("{kind}/{}", snapshot.source.name), content.to_owned())
        })
        .collect();
    RevisionDigest::of(input, &tracked, epoch)
}

/// Makes the record of a new revision with what this version of the operator renders.
///
/// `collisions` counts records of other content that already bear the shorter name.
pub fn new_record(
    identity: &Identity<'_>,
    input: RevisionInput,
    snapshots: Vec<RecordedSnapshot>,
    epoch: i64,
    number: i64,
    collisions: u32,
) -> Record {
    let digest = revision_digest(&input, &snapshots, epoch);
    let name = digest.revision_name(identity.name, collisions);
    let data = RecordData {
        digest: digest.hex(),
        base: revision_digest(&input, &snapshots, 0).hex(),
        epoch,
        template: pod_template(identity, &name, &input, &snapshots),
        deployment: name.clone(),
        selector: identity.revision_selector(&name),
        rendered_by: env!("CARGO_PKG_VERSION").to_owned(),
        input,
        snapshots,
        adopted: None,
    };
    Record {
        name,
        number,
        data,
        notes: RecordNotes::default(),
        uid: None,
    }
}

/// The ControllerRevision that holds a record.
pub fn record(identity: &Identity<'_>, record: &Record) -> Child {
    let metadata = Metadata {
        revision: Some(&record.name),
        annotations: record.notes.annotations(),
        ..Metadata::named(&record.name)
    };
    let mut child = identity.child(ChildKind::ControllerRevision, metadata, Map::new());
    if let Some(object) = child.object.as_object_mut() {
        object.insert("revision".to_owned(), json!(record.number));
        // Past the pruning: the API server keeps the data of a record as it is, and so do we.
        object.insert("data".to_owned(), without_absent(to_json(&record.data)));
    }
    child
}
