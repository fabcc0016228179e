//! The security profile: filled in where nothing was said, in every container of the pod.

use serde_json::{Map, Value, json};

use crate::api::{Security, SecurityProfile};

/// The lists of a pod that hold containers.
const CONTAINER_LISTS: [&str; 2] = ["containers", "initContainers"];

/// What the user says about the pod as a whole.
pub(super) fn pod(security: &Security) -> Option<Value> {
    let said: Map<String, Value> = [
        ("runAsUser", security.run_as_user),
        ("runAsGroup", security.run_as_group),
        ("fsGroup", security.fs_group),
    ]
    .into_iter()
    .filter_map(|(field, id)| Some((field.to_owned(), json!(id?))))
    .collect();
    (!said.is_empty()).then_some(Value::Object(said))
}

/// Fills in what the profile asks for and nobody said, also in what an overlay added.
pub(super) fn complete(template: &mut Value, security: &Security) {
    let (pod, container) = match security.profile.unwrap_or_default() {
        SecurityProfile::Restricted => (
            json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
        ),
        SecurityProfile::Baseline => (
            json!({"seccompProfile": {"type": "RuntimeDefault"}}),
            json!({"allowPrivilegeEscalation": false}),
        ),
        SecurityProfile::Custom => return,
    };
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    for list in CONTAINER_LISTS {
        for item in spec
            .get_mut(list)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            if let Some(fields) = item.as_object_mut() {
                fill_context(fields, &container);
            }
        }
    }
    fill_context(spec, &pod);
}

fn fill_context(holder: &mut Map<String, Value>, defaults: &Value) {
    fill(holder.entry("securityContext").or_insert(Value::Null), defaults);
}

/// Sets what is absent; whole where the API knows alternatives, such as the types of a seccompProfile.
fn fill(present: &mut Value, defaults: &Value) {
    if present.is_null() {
        *present = defaults.clone();
        return;
    }
    let (Some(present), Some(defaults)) = (present.as_object_mut(), defaults.as_object()) else {
        return;
    };
    for (field, value) in defaults {
        let entry = present.entry(field.clone()).or_insert(Value::Null);
        match field.as_str() {
            "capabilities" => fill(entry, value),
            _ if entry.is_null() => *entry = value.clone(),
            _ => {}
        }
    }
}
