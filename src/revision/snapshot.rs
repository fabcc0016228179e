//! ConfigMaps and Secrets whose content is part of a revision: which they are, and what was in them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{RevisionDigest, short_digest};
use crate::api::{RevisionSpec, Track, names};

/// What a source is.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret; tracked only where the user and the installation ask for it.
    Secret,
}

/// A ConfigMap or Secret that a revision's content comes from.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
pub struct SnapshotSource {
    /// What it is.
    pub kind: SourceKind,
    /// Its name, in the namespace of the Microservice.
    pub name: String,
}

impl SnapshotSource {
    /// The name of the immutable copy that the pods of `revision` use.
    pub fn copy_name(&self, revision: &str) -> String {
        let kind = match self.kind {
            SourceKind::ConfigMap => "c",
            SourceKind::Secret => "s",
        };
        names::snapshot(revision, &short_digest(&format!("{kind}/{}", self.name), 5))
    }
}

/// What was in a source when the revision was made. Secrets are known by their digest only.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct SnapshotContent {
    /// SHA-256 over the canonical JSON of data and binaryData, in hex.
    pub digest: String,
    /// Text by key; empty for a Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// Base64 by key; empty for a Secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub binary_data: BTreeMap<String, String>,
}

impl SnapshotContent {
    /// What is in a ConfigMap.
    pub fn of_config_map(source: &ConfigMap) -> Self {
        let data = source.data.clone().unwrap_or_default();
        let binary: BTreeMap<String, ByteString> = source.binary_data.clone().unwrap_or_default();
        Self {
            digest: digest(&data, &binary),
            data,
            binary_data: binary
                .iter()
                .map(|(key, bytes)| (key.clone(), base64(bytes)))
                .collect(),
        }
    }

    /// What is known of a Secret: its digest.
    pub fn of_secret(source: &Secret) -> Self {
        let digest = digest(&BTreeMap::new(), &secret_data(source));
        Self {
            digest,
            data: BTreeMap::new(),
            binary_data: BTreeMap::new(),
        }
    }
}

/// What a Secret holds once it is stored: `stringData`, which is for writing only, over `data`.
pub fn secret_data(secret: &Secret) -> BTreeMap<String, ByteString> {
    let mut data = secret.data.clone().unwrap_or_default();
    let text = secret.string_data.iter().flatten();
    data.extend(text.map(|(key, text)| (key.clone(), ByteString(text.as_bytes().to_vec()))));
    data
}

fn digest(data: &BTreeMap<String, String>, binary_data: &BTreeMap<String, ByteString>) -> String {
    RevisionDigest::of_value(&json!({"data": data, "binaryData": binary_data})).hex()
}

fn base64(bytes: &ByteString) -> String {
    // The one text form of bytes that the API knows; a string of bytes is always written as a string.
    serde_json::to_value(bytes)
        .ok()
        .and_then(|text| text.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// The sources whose content is part of a revision of `spec`, each once, and whether it may be absent.
///
/// ConfigMaps are tracked wherever they are referred to (files, env, envFrom) unless `track: None` says
/// otherwise; Secrets only with `track: Snapshot`.
pub fn sources(spec: &RevisionSpec) -> BTreeMap<SnapshotSource, Presence> {
    let mut found: BTreeMap<SnapshotSource, Presence> = BTreeMap::new();
    let mut note = |kind, name: &str, optional: Option<bool>| {
        let presence = if optional == Some(true) {
            Presence::Optional
        } else {
            Presence::Required
        };
        let entry = found
            .entry(SnapshotSource {
                kind,
                name: name.to_owned(),
            })
            .or_insert(presence);
        *entry = (*entry).min(presence);
    };
    for file in &spec.files {
        if let Some(source) = &file.config_map
            && file.track != Some(Track::None)
        {
            note(SourceKind::ConfigMap, &source.name, source.optional);
        }
        if let Some(source) = &file.secret
            && file.track == Some(Track::Snapshot)
            && let Some(name) = &source.secret_name
        {
            note(SourceKind::Secret, name, source.optional);
        }
    }
    for from in &spec.env_from {
        if let Some(source) = &from.config_map_ref {
            note(SourceKind::ConfigMap, &source.name, source.optional);
        }
    }
    for variable in &spec.env {
        if let Some(key) = variable
            .value_from
            .as_ref()
            .and_then(|v| v.config_map_key_ref.as_ref())
        {
            note(SourceKind::ConfigMap, &key.name, key.optional);
        }
    }
    found
}

/// Whether a source has to exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// The revision cannot be made without it.
    Required,
    /// Its absence is part of the revision.
    Optional,
}
