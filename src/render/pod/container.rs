//! The main container, from the fields of the spec.

use serde_json::{Value, json};

use super::{Copies, defaults, files::Storage};
use crate::api::{RawObject, RevisionSpec};
use crate::render::{Identity, config, prune::to_json};
use crate::revision::{RevisionInput, SourceKind};

/// The main container; named like the service.
pub(super) fn main(
    identity: &Identity<'_>,
    input: &RevisionInput,
    storage: &Storage,
    copies: &Copies<'_>,
) -> Value {
    let spec = &input.spec;
    let probes = spec.probes.as_ref();
    let readiness = match probes {
        Some(probes) => probes.readiness.as_ref().map(to_json),
        None => defaults::readiness(&input.ports),
    };
    json!({
        "name": identity.name,
        "image": spec.image,
        "imagePullPolicy": spec.image_pull_policy,
        "command": spec.command,
        "args": spec.args,
        "workingDir": spec.working_dir,
        "ports": input.ports.iter().map(to_json).collect::<Vec<_>>(),
        "env": env(spec, copies),
        "envFrom": env_from(spec, copies),
        "resources": spec.resources.as_ref().map(to_json),
        "lifecycle": lifecycle(input),
        "startupProbe": probes.and_then(|p| p.startup.as_ref()).map(to_json),
        "livenessProbe": probes.and_then(|p| p.liveness.as_ref()).map(to_json),
        "readinessProbe": readiness,
        "volumeMounts": mounts(spec, storage),
        // So that a verdict can quote the container's last words, also of those that leave no termination message.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    })
}

fn mounts(spec: &RevisionSpec, storage: &Storage) -> Vec<Value> {
    storage
        .mounts
        .iter()
        .cloned()
        .chain(spec.volume_mounts.iter().map(RawObject::to_value))
        .collect()
}

fn env(spec: &RevisionSpec, copies: &Copies<'_>) -> Vec<Value> {
    let rewritten = spec.env.iter().cloned().map(|mut variable| {
        if let Some(key) = variable
            .value_from
            .as_mut()
            .and_then(|from| from.config_map_key_ref.as_mut())
        {
            key.name = copies.name(SourceKind::ConfigMap, &key.name);
        }
        to_json(&variable)
    });
    rewritten.collect()
}

/// The revision's own configuration comes last: of two values of one name the later one counts, and what is
/// written in the Microservice itself is the more particular.
fn env_from(spec: &RevisionSpec, copies: &Copies<'_>) -> Vec<Value> {
    let rewritten = spec.env_from.iter().cloned().map(|mut from| {
        if let Some(source) = from.config_map_ref.as_mut() {
            source.name = copies.name(SourceKind::ConfigMap, &source.name);
        }
        to_json(&from)
    });
    let own = config::env_name(copies.revision, spec).map(|name| json!({"configMapRef": {"name": name}}));
    rewritten.chain(own).collect()
}

/// `lifecycle: {}` is a word too: no hook.
fn lifecycle(input: &RevisionInput) -> Option<Value> {
    match &input.spec.lifecycle {
        Some(given) => {
            Some(to_json(given)).filter(|hooks| hooks.as_object().is_some_and(|hooks| !hooks.is_empty()))
        }
        None => input.served.then(|| defaults::pre_stop(&input.spec)).flatten(),
    }
}
