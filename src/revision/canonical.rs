//! Canonical JSON: one text for all ways to write the same thing.

use serde_json::Value;

/// `value` as JSON with sorted keys, no white space, and without nulls and empty lists, which mean the same as absence.
///
/// Empty objects stay: `emptyDir: {}` is not the same as no `emptyDir`.
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn means_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut keys: Vec<&String> = fields
                .iter()
                .filter(|(_, v)| !means_absent(v))
                .map(|(k, _)| k)
                .collect();
            keys.sort();
            out.push('{');
            for (i, key) in keys.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                out.push_str(&Value::String((*key).clone()).to_string());
                out.push(':');
                write(&fields[key.as_str()], out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            out.push_str(&value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn order_nulls_and_empty_lists_do_not_matter_but_empty_objects_do() {
        let text = canonical_json(&json!({"b": [1, null, "x\"y"], "a": {"z": null, "y": []}, "c": {}}));
        assert_eq!(text, r#"{"a":{},"b":[1,null,"x\"y"],"c":{}}"#);
    }

    #[test]
    fn text_in_any_script_stays_as_it_is() {
        assert_eq!(
            canonical_json(&json!({"name": "用户服务"})),
            r#"{"name":"用户服务"}"#
        );
    }
}
