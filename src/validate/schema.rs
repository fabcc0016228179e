//! The CRD's schema as a JSON Schema, and its verdicts in words.

use jsonschema::{
    JsonType, ValidationError,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Map, Value, json};

use super::{
    Violation,
    path::{join, of_pointer},
};
use crate::api::crd;

/// The schema of the stored version, as it is in the CRD.
pub(super) fn open_api() -> Value {
    let crd = crd();
    let version = crd.spec.versions.iter().find(|version| version.storage);
    let schema = version
        .and_then(|version| version.schema.as_ref())
        .and_then(|s| s.open_api_v3_schema.as_ref());
    schema
        .and_then(|schema| serde_json::to_value(schema).ok())
        .unwrap_or_default()
}

/// What in `document` the schema does not allow.
pub(super) fn violations(open_api: &Value, document: &Value) -> Vec<Violation> {
    let mut schema = json_schema(open_api);
    // The head of every object; its fields are the API server's own.
    if let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        fields.extend(["apiVersion", "kind", "metadata"].map(|field| (field.to_owned(), json!({}))));
    }
    match jsonschema::draft7::new(&schema) {
        Ok(validator) => validator
            .iter_errors(document)
            .flat_map(|error| in_words(&error, open_api))
            .collect(),
        Err(error) => vec![Violation::new(
            "",
            format!("the CRD's own schema is broken, please report this: {error}"),
        )],
    }
}

/// The same schema in the words of JSON Schema. What is not described is not allowed, as under strict
/// validation.
fn json_schema(open_api: &Value) -> Value {
    let Some(fields) = open_api.as_object() else {
        return open_api.clone();
    };
    let mut schema = Map::new();
    for (keyword, value) in fields {
        match keyword.as_str() {
            "properties" => {
                let properties = value.as_object().into_iter().flatten();
                schema.insert(
                    keyword.clone(),
                    properties
                        .map(|(name, s)| (name.clone(), json_schema(s)))
                        .collect(),
                );
            }
            "items" | "additionalProperties" => {
                schema.insert(keyword.clone(), json_schema(value));
            }
            "x-kubernetes-int-or-string" => {
                schema.insert("type".to_owned(), json!(["integer", "string"]));
            }
            "type" | "enum" | "pattern" | "required" | "minimum" | "maximum" | "minLength" | "maxLength"
            | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                schema.insert(keyword.clone(), value.clone());
            }
            _ => {}
        }
    }
    let open = fields.contains_key("x-kubernetes-preserve-unknown-fields")
        || fields.contains_key("additionalProperties");
    if schema.get("type") == Some(&json!("object")) && !open {
        schema.insert("additionalProperties".to_owned(), json!(false));
    }
    // A null where there is a default is replaced by the default.
    if fields.get("nullable") == Some(&json!(true)) || fields.contains_key("default") {
        admit_null(&mut schema);
    }
    Value::Object(schema)
}

/// Not where there is an enum: the API server takes a null for none of its values.
fn admit_null(schema: &mut Map<String, Value>) {
    match schema.get_mut("type") {
        Some(Value::Array(types)) => types.push(json!("null")),
        Some(only) => *only = json!([only, "null"]),
        None => {}
    }
}

fn in_words(error: &ValidationError<'_>, open_api: &Value) -> Vec<Violation> {
    let pointer = error.instance_path().to_string();
    let path = of_pointer(&pointer);
    let one = |message: String| vec![Violation::new(path.as_str(), message)];
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            vec![Violation::new(
                join(&path, property.as_str().unwrap_or_default()),
                "is required",
            )]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            let known = known_fields(open_api, &pointer);
            unexpected
                .iter()
                .map(|field| Violation::new(join(&path, field), unknown_field(field, &known)))
                .collect()
        }
        ValidationErrorKind::Enum { options } => one(format!(
            "must be {}, not {}",
            alternatives(options),
            error.instance()
        )),
        ValidationErrorKind::Type { kind } => one(format!(
            "must be of type {}, not {}",
            types(kind),
            error.instance()
        )),
        ValidationErrorKind::Pattern { pattern } => one(format!("{} must match {pattern}", error.instance())),
        ValidationErrorKind::Minimum { limit } => one(format!(
            "must be at least {}, not {}",
            whole(limit),
            error.instance()
        )),
        ValidationErrorKind::Maximum { limit } => one(format!(
            "must be at most {}, not {}",
            whole(limit),
            error.instance()
        )),
        ValidationErrorKind::MinLength { .. } | ValidationErrorKind::MinItems { .. } => {
            one("must not be empty".to_owned())
        }
        ValidationErrorKind::MaxLength { limit } => one(format!("must have at most {limit} characters")),
        ValidationErrorKind::MaxItems { limit } => one(format!("must have at most {limit} items")),
        ValidationErrorKind::MaxProperties { limit } => one(format!("must have at most {limit} entries")),
        _ => one(error.to_string()),
    }
}

fn alternatives(options: &Value) -> String {
    let names: Vec<String> = options
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    one_of(&names)
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(only) => only.to_string(),
        TypeKind::Multiple(several) => {
            let named = several.iter().filter(|kind| *kind != JsonType::Null);
            one_of(&named.map(|kind| kind.to_string()).collect::<Vec<_>>())
        }
    }
}

fn one_of(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}

/// A limit as it was written: the schema holds them all as fractions.
fn whole(limit: &Value) -> String {
    let text = limit.to_string();
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// The fields that the schema knows where `pointer` leads.
fn known_fields(open_api: &Value, pointer: &str) -> Vec<String> {
    let schema = pointer.split('/').skip(1).try_fold(open_api, |schema, segment| {
        let named = schema
            .get("properties")
            .and_then(|properties| properties.get(segment));
        named
            .or_else(|| schema.get("items"))
            .or_else(|| schema.get("additionalProperties"))
    });
    let fields = schema
        .and_then(|schema| schema.get("properties"))
        .and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

fn unknown_field(field: &str, known: &[String]) -> String {
    let near = known.iter().map(|name| (distance(field, name), name)).min();
    match near {
        Some((distance, name)) if distance <= 1 + field.len() / 5 => {
            format!("unknown field, did you mean {name}?")
        }
        Some(_) | None => "unknown field".to_owned(),
    }
}

/// How many characters have to be put in, taken out, replaced or swapped with their neighbour to make `a`
/// into `b`; without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (
        a.to_ascii_lowercase().into_bytes(),
        b.to_ascii_lowercase().into_bytes(),
    );
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let replaced = rows[i][j] + usize::from(a[i] != b[j]);
            let mut best = replaced.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                best = best.min(rows[i - 1][j - 1] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows.last()
        .and_then(|row| row.last())
        .copied()
        .unwrap_or_default()
}
