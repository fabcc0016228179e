//! The overlay of a pod template: maps by key, keyed lists by key, all other lists replaced.

use serde_json::{Map, Value};

use super::{
    lists::{item_key, list_keys},
    prune::without_absent,
};

/// `base` with `overlay` over it. Nulls and empty lists in the overlay mean absence, as they do to the hash
/// of a revision: they take nothing away.
pub(super) fn overlaid(mut base: Value, overlay: &Value) -> Value {
    merge_value("", &mut base, without_absent(overlay.clone()));
    base
}

fn merge_value(field: &str, base: &mut Value, overlay: Value) {
    match (base, overlay) {
        (Value::Object(base), Value::Object(overlay)) => merge_fields(base, overlay),
        (Value::Array(base), Value::Array(overlay)) => merge_list(field, base, overlay),
        // Merged into nothing rather than put in its place, so that doubles within a list of the overlay
        // meet.
        (base, overlay @ Value::Object(_)) => {
            *base = Value::Object(Map::new());
            merge_value(field, base, overlay);
        }
        (base, overlay @ Value::Array(_)) => {
            *base = Value::Array(Vec::new());
            merge_value(field, base, overlay);
        }
        (base, scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
            *base = scalar;
        }
    }
}

fn merge_fields(base: &mut Map<String, Value>, overlay: Map<String, Value>) {
    for (key, value) in overlay {
        merge_value(&key, base.entry(key.clone()).or_insert(Value::Null), value);
    }
}

fn merge_list(field: &str, base: &mut Vec<Value>, overlay: Vec<Value>) {
    let Some(keys) = list_keys(field, &overlay) else {
        *base = overlay;
        return;
    };
    if list_keys(field, base) != Some(keys) {
        base.clear();
    }
    for item in overlay {
        let key = item_key(&item, keys);
        match base.iter_mut().find(|present| item_key(present, keys) == key) {
            Some(present) => merge_value("", present, item),
            None => {
                let mut fresh = Value::Null;
                merge_value("", &mut fresh, item);
                base.push(fresh);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn named_things_merge_by_name_and_other_lists_are_replaced() {
        let base = json!({"spec": {
            "containers": [{"name": "app", "image": "a:1", "args": ["x"], "ports": [{"name": "http",
                "containerPort": 80, "protocol": "TCP"}]}],
            "tolerations": [{"key": "a"}],
        }});
        let overlay = json!({"spec": {
            "containers": [
                {"name": "proxy", "image": "p:1"},
                {"name": "app", "args": ["y", "z"], "ports": [{"containerPort": 80, "hostPort": 8080},
                 {"containerPort": 80, "protocol": "UDP"}]},
            ],
            "tolerations": [{"key": "b"}],
            "hostNetwork": true,
        }});
        assert_eq!(
            overlaid(base, &overlay),
            json!({"spec": {
                "containers": [
                    {"name": "app", "image": "a:1", "args": ["y", "z"], "ports": [
                        {"name": "http", "containerPort": 80, "protocol": "TCP", "hostPort": 8080},
                        {"containerPort": 80, "protocol": "UDP"},
                    ]},
                    {"name": "proxy", "image": "p:1"},
                ],
                "tolerations": [{"key": "b"}],
                "hostNetwork": true,
            }})
        );
    }

    #[test]
    fn a_list_that_cannot_be_merged_is_replaced() {
        let named = json!({"env": [{"name": "A", "value": "1"}]});
        let nameless = json!({"env": [{"value": "2"}]});
        assert_eq!(overlaid(nameless.clone(), &named), named);
        assert_eq!(overlaid(named, &nameless), nameless);
    }

    #[test]
    fn nulls_and_empty_lists_take_nothing_away() {
        let base = json!({"spec": {"tolerations": [{"key": "a"}], "hostname": "h"}});
        assert_eq!(
            overlaid(
                base.clone(),
                &json!({"spec": {"tolerations": [], "hostname": null}})
            ),
            base
        );
    }

    /// JSON in which the names of keyed lists come up often, with items that have their keys and such that
    /// lack them.
    fn documents() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (0..4_i64).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 48, 5, |inner| {
            let field = prop_oneof![
                Just("containers"),
                Just("env"),
                Just("ports"),
                Just("volumeMounts"),
                Just("tolerations"),
                Just("name"),
                Just("mountPath"),
                Just("containerPort"),
                Just("a"),
            ];
            let named = ("[a-c]", "[a-c]", inner.clone())
                .prop_map(|(name, field, value)| json!({"name": name, "mountPath": name, field: value}));
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::vec(named, 0..4).prop_map(Value::from),
                prop::collection::btree_map(field.prop_map(str::to_owned), inner, 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_laid_over_changes_nothing(base in documents().prop_map(|base| json!({"spec": base}))) {
            prop_assert_eq!(overlaid(base.clone(), &json!({})), base);
        }

        #[test]
        fn an_overlay_laid_over_twice_is_laid_over_once(base in documents(), overlay in documents()) {
            let once = overlaid(base, &overlay);
            prop_assert_eq!(overlaid(once.clone(), &overlay), once);
        }
    }
}
