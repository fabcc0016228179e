//! Lists that are maps or sets: no key and no item may come twice.

use serde_json::Value;

use super::{
    Violation,
    path::{item, join},
};

/// The items of `document` whose key another one has already.
pub(super) fn doubles(schema: &Value, document: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    visit("", schema, document, &mut found);
    found
}

fn visit(path: &str, schema: &Value, value: &Value, found: &mut Vec<Violation>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let schema = schema
                    .get("properties")
                    .and_then(|p| p.get(name))
                    .or(schema.get("additionalProperties"));
                if let Some(schema) = schema {
                    visit(&join(path, name), schema, value, found);
                }
            }
        }
        Value::Array(items) => {
            found.extend(doubles_of(path, schema, items));
            if let Some(schema) = schema.get("items") {
                for (index, value) in items.iter().enumerate() {
                    visit(&item(path, index), schema, value, found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn doubles_of(path: &str, schema: &Value, items: &[Value]) -> Vec<Violation> {
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let identity = |value: &Value| match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("map") => Some(
            keys.iter()
                .map(|key| value.get(key).cloned().unwrap_or_default())
                .collect::<Vec<_>>(),
        ),
        Some("set") => Some(vec![value.clone()]),
        _ => None,
    };
    let identities: Vec<_> = items.iter().map(identity).collect();
    (1..items.len())
        .filter_map(|index| {
            let own = identities[index].as_ref()?;
            let first = identities[..index]
                .iter()
                .position(|other| other.as_ref() == Some(own))?;
            let of = if keys.is_empty() {
                "value".to_owned()
            } else {
                keys.join(", ")
            };
            Some(Violation::new(
                item(path, index),
                format!("has the same {of} as {}", item(path, first)),
            ))
        })
        .collect()
}
