//! Leaves out what the API server would drop, so that what is sent can be compared with what is stored.

use serde::Serialize;
use serde_json::{Map, Value};

/// Fields that are maps in the API's types: without entries they are not stored. Other empty objects carry a
/// meaning (`emptyDir: {}`, `podSelector: {}`) and stay.
const MAPS: [&str; 13] = [
    "annotations",
    "binaryData",
    "data",
    "labels",
    "limits",
    "matchLabels",
    "nodeSelector",
    "options",
    "overhead",
    "parameters",
    "requests",
    "stringData",
    "volumeAttributes",
];

/// `value` without nulls, empty lists and empty maps.
pub(crate) fn pruned(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (key, pruned(value)))
                .filter(|(key, value)| !is_dropped(key, value))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(pruned).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

fn is_dropped(key: &str, value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty() && MAPS.contains(&key),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// `value` without fields that mean the same as their absence to the hash of a revision: nulls and empty
/// lists.
pub(super) fn without_absent(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .filter(|(_, value)| {
                    !value.is_null() && value.as_array().is_none_or(|items| !items.is_empty())
                })
                .map(|(key, value)| (key, without_absent(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(without_absent).collect()),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

/// Any of the API's types as JSON.
pub(crate) fn to_json<T: Serialize>(value: &T) -> Value {
    // They all have string keys, which is the only thing that could fail.
    serde_json::to_value(value).unwrap_or_default()
}

/// The fields of a JSON object; none for anything else.
pub(crate) fn fields(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nulls_and_empty_lists_and_maps_go_and_empty_structures_stay() {
        let value = json!({
            "metadata": {"labels": {}, "annotations": {"a": ""}},
            "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}], "tolerations": [], "priority": null,
                "replicas": 0},
        });
        assert_eq!(
            pruned(value),
            json!({
                "metadata": {"annotations": {"a": ""}},
                "spec": {"volumes": [{"name": "tmp", "emptyDir": {}}], "replicas": 0},
            })
        );
    }
}
