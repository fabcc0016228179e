//! Checks a Microservice without a cluster, by the rules of its own CRD: unknown fields, types, limits,
//! double keys and CEL. What passes here the API server takes; what it would refuse is refused here, all of
//! it at once.

mod lists;
mod path;
mod schema;

use std::fmt;

use kube::core::cel::{RootContext, Validator};
use serde_json::Value;

use crate::api::Microservice;
use path::join;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violation {
    /// The field; empty where the message names it.
    pub path: String,
    /// What is wrong with it, and what to write instead.
    pub message: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

impl Violation {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            message: message.into(),
        }
    }
}

/// Reads a Microservice from `document`.
///
/// # Errors With all violations, sorted by field. The CEL rules are asked only where the schema holds, as
/// they rely on it.
pub fn microservice(document: &Value) -> Result<Microservice, Vec<Violation>> {
    let schema = schema::open_api();
    let mut found = header(document);
    found.extend(schema::violations(&schema, document));
    found.extend(lists::doubles(&schema, document));
    // Where the schema lets a null stand, it is the absence of the field.
    let document = without_nulls(document);
    if found.is_empty() {
        found = broken_rules(&schema, &document);
    }
    if found.is_empty() {
        return serde_path_to_error::deserialize(&document).map_err(|error| {
            vec![Violation::new(
                error.path().to_string(),
                error.inner().to_string(),
            )]
        });
    }
    found.sort();
    found.dedup();
    Err(found)
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// What the API server knows without the schema.
fn header(document: &Value) -> Vec<Violation> {
    let version = <Microservice as kube::Resource>::api_version(&());
    let mut found = Vec::new();
    if document.get("apiVersion").and_then(Value::as_str) != Some(version.as_ref()) {
        found.push(Violation::new("apiVersion", format!("must be {version}")));
    }
    match document.pointer("/metadata/name") {
        Some(Value::String(_)) => {}
        Some(_) => found.push(Violation::new("metadata.name", "must be a string")),
        None => found.push(Violation::new("metadata.name", "is required")),
    }
    found
}

fn broken_rules(schema: &Value, document: &Value) -> Vec<Violation> {
    let root = RootContext {
        api_version: <Microservice as kube::Resource>::api_version(&()).into_owned(),
        api_group: <Microservice as kube::Resource>::group(&()).into_owned(),
        kind: <Microservice as kube::Resource>::kind(&()).into_owned(),
    };
    match Validator::new().validate_with_context(schema, document, None, Some(&root)) {
        Ok(()) => Vec::new(),
        Err(errors) => errors
            .into_iter()
            .map(|error| Violation::new(join("", &error.field_path), error.message))
            .collect(),
    }
}

#[cfg(test)]
mod tests;
