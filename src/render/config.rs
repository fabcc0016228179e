//! The ConfigMaps and Secrets of a revision, all immutable: what the spec says itself, and copies of what it
//! tracks.
//!
//! Files and environment variables of `config` sit in two ConfigMaps: with one, every file would also be set
//! as a variable, and a variable and a file of the same name could not stand side by side.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Map, Value, json};

use super::{
    Child, ChildKind, Identity,
    identity::Metadata,
    prune::{fields, to_json},
};
use crate::api::RevisionSpec;
use crate::revision::{Record, SnapshotSource, SourceKind, secret_data};

/// On a copy: the name of the ConfigMap or Secret that it was made from.
pub const COPY_OF: &str = "microservice.dev/copy-of";

/// The name of the ConfigMap with the files of `config`, and where they are mounted; `None` without files.
pub(super) fn files_name(revision: &str, spec: &RevisionSpec) -> Option<(String, String)> {
    let config = spec.config.as_ref().filter(|config| !config.files.is_empty())?;
    Some((revision.to_owned(), config.mount_path.clone()?))
}

/// The name of the ConfigMap with the environment variables of `config`; `None` without any.
pub(super) fn env_name(revision: &str, spec: &RevisionSpec) -> Option<String> {
    let config = spec.config.as_ref().filter(|config| !config.env.is_empty())?;
    let alone = config.files.is_empty();
    Some(if alone {
        revision.to_owned()
    } else {
        format!("{revision}-env")
    })
}

/// The ConfigMaps that the pods of a revision use.
pub fn config_maps(identity: &Identity<'_>, record: &Record) -> Vec<Child> {
    let spec = &record.data.input.spec;
    let config = spec.config.clone().unwrap_or_default();
    let config_map = |name: String, copy_of: Option<&str>, data: Map<String, Value>| {
        immutable(identity, record, ChildKind::ConfigMap, name, copy_of, data)
    };
    let files = files_name(&record.name, spec).map(|(name, _)| config_map(name, None, text(&config.files)));
    let env = env_name(&record.name, spec).map(|name| config_map(name, None, text(&config.env)));
    let copies =
        record
            .data
            .snapshots
            .iter()
            .filter_map(|snapshot| match (snapshot.source.kind, &snapshot.content) {
                (SourceKind::ConfigMap, Some(content)) => {
                    let data = json!({"data": content.data, "binaryData": content.binary_data});
                    Some(config_map(
                        snapshot.source.copy_name(&record.name),
                        Some(&snapshot.source.name),
                        fields(data),
                    ))
                }
                (SourceKind::ConfigMap, None) | (SourceKind::Secret, Some(_) | None) => None,
            });
    files.into_iter().chain(env).chain(copies).collect()
}

/// The copy of `secret` that the pods of a revision use. Its content is never in the record.
///
/// Its type is always Opaque: to pods it makes no difference, and some types (tokens of service accounts)
/// come with controllers that would delete the copy.
pub fn secret_copy(
    identity: &Identity<'_>,
    record: &Record,
    source: &SnapshotSource,
    secret: &Secret,
) -> Child {
    let data = json!({"type": "Opaque", "data": to_json(&secret_data(secret))});
    let name = source.copy_name(&record.name);
    immutable(
        identity,
        record,
        ChildKind::Secret,
        name,
        Some(&source.name),
        fields(data),
    )
}

fn text(data: &BTreeMap<String, String>) -> Map<String, Value> {
    fields(json!({"data": data}))
}

fn immutable(
    identity: &Identity<'_>,
    record: &Record,
    kind: ChildKind,
    name: String,
    copy_of: Option<&str>,
    mut data: Map<String, Value>,
) -> Child {
    let metadata = Metadata {
        revision: Some(&record.name),
        annotations: copy_of
            .map(|source| (COPY_OF.to_owned(), source.to_owned()))
            .into_iter()
            .collect(),
        ..Metadata::named(name)
    };
    data.insert("immutable".to_owned(), json!(true));
    identity.child(kind, metadata, data)
}
