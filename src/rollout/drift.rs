//! Whether a live object still is what we want: every field that we send is there, with our value.
//!
//! Fields that we do not send belong to others (or are defaults) and never count. That a field which we no longer send
//! has to go is seen by the digest of what was last applied, not here.

use serde_json::Value;

use super::quantity;
use crate::render::{item_key, list_keys};

/// The path of the first field in which `live` is not what `wanted` says; `None` where it is all there.
pub fn difference(wanted: &Value, live: &Value) -> Option<String> {
    compare("", wanted, Some(live))
}

fn compare(path: &str, wanted: &Value, live: Option<&Value>) -> Option<String> {
    match (wanted, live) {
        (Value::Null, _) => None,
        (Value::Array(items), None) if items.is_empty() => None,
        (Value::Object(fields), None) if fields.is_empty() => None,
        (wanted, None) => (!stored_as_absence(path, wanted)).then(|| path.to_owned()),
        (Value::Object(fields), Some(Value::Object(live))) => {
            let differs =
                |(key, value): (&String, &Value)| compare(&format!("{path}.{key}"), value, live.get(key));
            fields.iter().find_map(differs).or_else(|| {
                let more = live.keys().find(|key| !fields.contains_key(*key));
                more.filter(|_| is_whole(path)).map(|key| format!("{path}.{key}"))
            })
        }
        (Value::Array(items), Some(Value::Array(live))) => compare_lists(path, items, live),
        (Value::String(a), Some(Value::String(b))) => {
            let equal = a == b || (holds_quantities(path) && same_quantity(a, b));
            (!equal).then(|| path.to_owned())
        }
        (Value::Number(a), Some(Value::String(b))) if holds_quantities(path) => {
            (!same_quantity(&a.to_string(), b)).then(|| path.to_owned())
        }
        (wanted, Some(live)) => (wanted != live).then(|| path.to_owned()),
    }
}

/// Maps that belong to their owner as a whole: a key that somebody adds to a selector makes it select something else.
fn is_whole(path: &str) -> bool {
    let field = path.rsplit('.').next().unwrap_or(path);
    [
        "selector",
        "matchLabels",
        "podSelector",
        "namespaceSelector",
        "nodeSelector",
        "labelSelector",
    ]
    .contains(&field)
}

/// Zero values of fields that are no pointers in Kubernetes' Go types are not stored.
fn stored_as_absence(path: &str, wanted: &Value) -> bool {
    match wanted {
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        Value::Bool(value) => {
            let field = path.rsplit('.').next().unwrap_or(path);
            !value
                && [
                    "readOnly",
                    "hostNetwork",
                    "hostPID",
                    "hostIPC",
                    "stdin",
                    "stdinOnce",
                    "tty",
                ]
                .contains(&field)
        }
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn compare_lists(path: &str, wanted: &[Value], live: &[Value]) -> Option<String> {
    let field = path.rsplit('.').next().unwrap_or(path);
    match list_keys(field, wanted) {
        // Others may have added items of their own.
        Some(keys) => wanted.iter().find_map(|item| {
            let key = item_key(item, keys);
            let found = live.iter().find(|other| item_key(other, keys) == key);
            compare(&format!("{path}[{}]", key.join("/")), item, found)
        }),
        None if wanted.len() != live.len() => Some(path.to_owned()),
        None => wanted
            .iter()
            .zip(live)
            .enumerate()
            .find_map(|(i, (wanted, live))| compare(&format!("{path}[{i}]"), wanted, Some(live))),
    }
}

fn holds_quantities(path: &str) -> bool {
    [".requests.", ".limits."].iter().any(|part| path.contains(part))
        || [".sizeLimit", ".storage", ".averageValue", ".divisor", ".value"]
            .iter()
            .any(|end| path.ends_with(end))
            && !path.contains(".env[")
}

fn same_quantity(a: &str, b: &str) -> bool {
    matches!((quantity::nanos(a), quantity::nanos(b)), (Some(a), Some(b)) if a == b)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::difference;

    #[test]
    fn what_others_add_is_no_difference() {
        let wanted = json!({"spec": {"containers": [{"name": "a", "image": "x", "env": [{"name": "K", "value": "1"}]}]}});
        let live = json!({"spec": {"containers": [
            {"name": "injected", "image": "y"},
            {"name": "a", "image": "x", "imagePullPolicy": "Always", "env": [{"name": "L"}, {"name": "K", "value": "1"}]},
        ], "restartPolicy": "Always"}, "status": {}});
        assert_eq!(difference(&wanted, &live), None);
    }

    #[test]
    fn what_others_change_or_take_is_named() {
        let wanted = json!({"spec": {"replicas": 3, "selector": {"a": "b"}, "rules": [{"host": "x"}]}});
        assert_eq!(
            difference(
                &wanted,
                &json!({"spec": {"replicas": 5, "selector": {"a": "b"}, "rules": [{"host": "x"}]}})
            ),
            Some(".spec.replicas".to_owned())
        );
        assert_eq!(
            difference(
                &wanted,
                &json!({"spec": {"replicas": 3, "rules": [{"host": "x"}]}})
            ),
            Some(".spec.selector".to_owned())
        );
        assert_eq!(
            difference(
                &wanted,
                &json!({"spec": {"replicas": 3, "selector": {"a": "b"}, "rules": [{"host": "x"}, {}]}})
            ),
            Some(".spec.rules".to_owned())
        );
    }

    #[test]
    fn a_key_that_is_added_to_a_selector_is_a_difference() {
        let wanted =
            json!({"spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}}}}});
        let live = json!({"spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b", "c": "d"}}}}});
        assert_eq!(difference(&wanted, &live), None);
        let live = json!({"spec": {"selector": {"a": "b", "c": "d"}, "template": {"metadata": {"labels": {"a": "b"}}}}});
        assert_eq!(difference(&wanted, &live), Some(".spec.selector.c".to_owned()));
    }

    #[test]
    fn quantities_are_compared_by_value_and_environment_by_text() {
        let wanted =
            json!({"resources": {"requests": {"cpu": "0.5"}}, "env": [{"name": "CPU", "value": "1000m"}]});
        let live =
            json!({"resources": {"requests": {"cpu": "500m"}}, "env": [{"name": "CPU", "value": "1000m"}]});
        assert_eq!(difference(&wanted, &live), None);
        let live =
            json!({"resources": {"requests": {"cpu": "500m"}}, "env": [{"name": "CPU", "value": "1"}]});
        assert_eq!(difference(&wanted, &live), Some(".env[CPU].value".to_owned()));
    }
}
