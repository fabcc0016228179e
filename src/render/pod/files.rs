//! Volumes and mounts. Users name paths and sources, never volumes: the names are made from what is mounted.

use serde_json::{Value, json};

use super::Copies;
use crate::api::{FileSource, RawObject, RevisionSpec, Track};
use crate::render::{config, prune::to_json};
use crate::revision::{SourceKind, canonical_json, short_digest};

/// The volume with the files of `config`. Users who name volumes of their own call them `config` often.
const CONFIG_VOLUME: &str = "microservice-config";

/// What a pod mounts.
pub(super) struct Storage {
    /// The pod's volumes.
    pub volumes: Vec<Value>,
    /// The mounts of the main container that `config` and `files` ask for.
    pub mounts: Vec<Value>,
}

/// The volumes of a revision: its own configuration, its files, and those that the user names.
pub(super) fn storage(spec: &RevisionSpec, copies: &Copies<'_>) -> Storage {
    let mut storage = Storage {
        volumes: Vec::new(),
        mounts: Vec::new(),
    };
    if let Some((name, path)) = config::files_name(copies.revision, spec) {
        storage
            .volumes
            .push(json!({"name": CONFIG_VOLUME, "configMap": {"name": name}}));
        storage
            .mounts
            .push(json!({"name": CONFIG_VOLUME, "mountPath": path, "readOnly": true}));
    }
    for file in &spec.files {
        let Some(source) = Source::of(file, copies) else {
            continue;
        };
        let name = source.volume_name();
        let volume = json!({"name": name, source.field: source.rewritten});
        if !storage.volumes.contains(&volume) {
            storage.volumes.push(volume);
        }
        storage.mounts.push(json!({
            "name": name,
            "mountPath": file.mount_path,
            "subPath": file.sub_path,
            "readOnly": source.access.read_only(),
        }));
    }
    storage
        .volumes
        .extend(spec.volumes.iter().map(RawObject::to_value));
    storage
}

/// Whether the container may write to a mount.
#[derive(Clone, Copy)]
enum Access {
    ReadOnly,
    AsTheSourceSays,
}

impl Access {
    fn read_only(self) -> Option<bool> {
        match self {
            Self::ReadOnly => Some(true),
            Self::AsTheSourceSays => None,
        }
    }
}

/// The source of a mount, as the user wrote it and as the pods refer to it.
struct Source {
    field: &'static str,
    /// What the volume is known by: sources that agree in it share one.
    written: Value,
    rewritten: Value,
    access: Access,
}

impl Source {
    /// The source of `file`. There is exactly one, the CRD sees to that.
    fn of(file: &FileSource, copies: &Copies<'_>) -> Option<Self> {
        let source = if let Some(live) = &file.config_map {
            let tracked = file.track.unwrap_or(Track::Snapshot);
            let mut source = live.clone();
            if tracked == Track::Snapshot {
                source.name = copies.name(SourceKind::ConfigMap, &live.name);
            }
            Self::read_only("configMap", json!([live, tracked]), to_json(&source))
        } else if let Some(live) = &file.secret {
            let tracked = file.track.unwrap_or(Track::None);
            let mut source = live.clone();
            if tracked == Track::Snapshot {
                source.secret_name = live
                    .secret_name
                    .as_ref()
                    .map(|name| copies.name(SourceKind::Secret, name));
            }
            Self::read_only("secret", json!([live, tracked]), to_json(&source))
        } else if let Some(projected) = &file.projected {
            Self::read_only("projected", to_json(projected), to_json(projected))
        } else if let Some(claim) = &file.persistent_volume_claim {
            Self::writable("persistentVolumeClaim", to_json(claim), to_json(claim))
        } else if let Some(directory) = &file.empty_dir {
            // Two empty directories are two, however alike.
            Self::writable(
                "emptyDir",
                json!([directory, file.mount_path]),
                to_json(directory),
            )
        } else {
            return None;
        };
        Some(source)
    }

    fn read_only(field: &'static str, written: Value, rewritten: Value) -> Self {
        Self {
            field,
            written,
            rewritten,
            access: Access::ReadOnly,
        }
    }

    fn writable(field: &'static str, written: Value, rewritten: Value) -> Self {
        Self {
            field,
            written,
            rewritten,
            access: Access::AsTheSourceSays,
        }
    }

    /// A name that stays the same from revision to revision while the source does.
    fn volume_name(&self) -> String {
        format!(
            "files-{}",
            short_digest(&canonical_json(&json!({self.field: self.written})), 8)
        )
    }
}
