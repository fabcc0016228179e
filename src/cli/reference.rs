//! `api-reference`: the fields of a Microservice as a page of Markdown, from the schema of its CRD.

use std::fmt::Write;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Fields whose shape is Kubernetes' own: `kubectl explain` and its documentation say what is within them.
const KUBERNETES: [&str; 17] = [
    "affinity",
    "behavior",
    "conditions",
    "configMap",
    "egress",
    "emptyDir",
    "envFrom",
    "lifecycle",
    "liveness",
    "metrics",
    "persistentVolumeClaim",
    "projected",
    "readiness",
    "resources",
    "secret",
    "startup",
    "tolerations",
];

/// Fields that are Kubernetes' own in one place and ours in another, as they are in the first.
const KUBERNETES_PLACES: [&str; 6] = [
    "spec.env",
    "spec.networkPolicy.ingress",
    "spec.preDeploy[].env",
    "spec.strategy.analysis.checks[].job.env",
    "spec.strategy.blueGreen.hooks[].job.env",
    "spec.strategy.canary.steps[].hooks[].job.env",
];

const HEAD: &str = "\
<!-- Made from the CRD: microservice-operator api-reference > docs/reference.md -->
# Reference: every field of a Microservice

This is what `kubectl explain microservice --recursive` says, on one page. `manifests/examples/full.yaml` shows every field of the
spec with a value. **Scope** says when a change of the field applies: `revision` makes a new revision, which goes out as a
rollout; `additive` applies at once, and what it drops goes when the rollout is over; `immediate` applies at once and restarts
nothing.
";

/// The page.
pub fn reference(crd: &CustomResourceDefinition) -> String {
    let mut page = HEAD.to_owned();
    for version in &crd.spec.versions {
        let parts = version
            .schema
            .as_ref()
            .and_then(|schema| schema.open_api_v3_schema.as_ref())
            .and_then(|root| root.properties.as_ref());
        for (name, schema) in parts.into_iter().flatten() {
            if matches!(name.as_str(), "spec" | "status") {
                section(&mut page, name, schema);
            }
        }
    }
    page
}

/// A table of the object's fields, and then one of each object within it.
fn section(page: &mut String, path: &str, schema: &JSONSchemaProps) {
    let Some(fields) = schema.properties.as_ref() else {
        return;
    };
    let level = if path.contains('.') { "###" } else { "##" };
    // Writing to a String cannot fail.
    let _ = write!(page, "\n{level} {path}\n\n| field | type | |\n|---|---|---|\n");
    let required = schema.required.as_deref().unwrap_or_default();
    for (name, field) in fields {
        let need = if required.contains(name) {
            "**Required.** "
        } else {
            ""
        };
        let words = cell(field.description.as_deref().unwrap_or_default());
        let _ = writeln!(page, "| `{name}` | {} | {need}{words} |", kind(field));
    }
    for (name, field) in fields {
        let (path, inner) = within(&format!("{path}.{name}"), field);
        let theirs =
            KUBERNETES.contains(&name.as_str()) || KUBERNETES_PLACES.contains(&path.trim_end_matches("[]"));
        if !theirs {
            section(page, &path, inner);
        }
    }
}

/// The schema of what a field holds: itself, or the items of a list.
fn within<'a>(path: &str, field: &'a JSONSchemaProps) -> (String, &'a JSONSchemaProps) {
    match field.items.as_ref() {
        Some(JSONSchemaPropsOrArray::Schema(item)) => within(&format!("{path}[]"), item),
        Some(JSONSchemaPropsOrArray::Schemas(_)) | None => (path.to_owned(), field),
    }
}

/// The type of a field, with what limits its values.
fn kind(field: &JSONSchemaProps) -> String {
    if field.x_kubernetes_int_or_string == Some(true) {
        return "number or percentage".to_owned();
    }
    match field.items.as_ref() {
        Some(JSONSchemaPropsOrArray::Schema(item)) => return format!("list of {}", kind(item)),
        Some(JSONSchemaPropsOrArray::Schemas(_)) => return "list".to_owned(),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(value)) = field.additional_properties.as_ref() {
        return format!("map to {}", kind(value));
    }
    let mut words = match &field.enum_ {
        Some(values) => values
            .iter()
            .filter_map(|value| value.0.as_str())
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", "),
        None => field.type_.clone().unwrap_or_else(|| "any".to_owned()),
    };
    match (field.minimum, field.maximum) {
        (Some(least), Some(most)) => _ = write!(words, ", {least} to {most}"),
        (Some(least), None) => _ = write!(words, ", at least {least}"),
        (None, Some(most)) => _ = write!(words, ", at most {most}"),
        (None, None) => {}
    }
    words
}

/// Words as a cell of a table holds them: nothing in them ends the cell or becomes markup of HTML.
fn cell(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "\\|").replace('<', "&lt;").replace('>', "&gt;")
}
