//! Which lists of the API are maps in truth, and by which fields their items are known.
//!
//! The same table serves the overlay of a pod template and the comparison of what is with what should be. It
//! is that of server-side apply: in a keyed list the items of others survive, any other list belongs to its
//! owner as a whole.

use serde_json::Value;

/// The fields that tell the items of the list `field` apart; `None` for a list that is a whole.
///
/// `items` is the list: the name `ports` alone does not tell those of a container or a Service, which are
/// keyed, from those of a NetworkPolicy, which are not. A list with an item that lacks its key is a whole.
pub fn list_keys(field: &str, items: &[Value]) -> Option<&'static [&'static str]> {
    let keys: &[&str] = match field {
        "containers"
        | "initContainers"
        | "ephemeralContainers"
        | "env"
        | "volumes"
        | "imagePullSecrets"
        | "resourceClaims"
        | "claims"
        | "schedulingGates" => &["name"],
        "volumeMounts" => &["mountPath"],
        "volumeDevices" => &["devicePath"],
        "hostAliases" => &["ip"],
        "topologySpreadConstraints" => &["topologyKey", "whenUnsatisfiable"],
        "ownerReferences" => &["uid"],
        "ports" if items.iter().all(|port| port.get("containerPort").is_some()) => {
            &["containerPort", "protocol"]
        }
        // Every port of a Service has a targetPort; none of a NetworkPolicy has.
        "ports" if items.iter().all(|port| port.get("targetPort").is_some()) => &["port", "protocol"],
        _ => return None,
    };
    items
        .iter()
        .all(|item| keys.iter().all(|key| key_value(item, key).is_some()))
        .then_some(keys)
}

/// What `item` is known by in a list with these keys.
pub fn item_key(item: &Value, keys: &[&str]) -> Vec<String> {
    keys.iter().filter_map(|key| key_value(item, key)).collect()
}

fn key_value(item: &Value, key: &str) -> Option<String> {
    match item.get(key) {
        Some(Value::String(text)) => Some(text.clone()),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Some(value.to_string()),
        None | Some(Value::Null) => (key == "protocol").then(|| "TCP".to_owned()),
        Some(Value::Array(_) | Value::Object(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn keys(field: &str, items: &Value) -> Option<&'static [&'static str]> {
        list_keys(field, items.as_array().map_or(&[], Vec::as_slice))
    }

    #[test]
    fn ports_are_keyed_by_what_kind_of_port_they_are() {
        let container = json!([{"containerPort": 80}, {"containerPort": 53, "protocol": "UDP"}]);
        let service = json!([{"port": 80, "targetPort": 8080}]);
        assert_eq!(
            keys("ports", &container),
            Some(["containerPort", "protocol"].as_slice())
        );
        assert_eq!(keys("ports", &service), Some(["port", "protocol"].as_slice()));
        assert_eq!(
            keys("ports", &json!([{"port": 80, "protocol": "TCP"}])),
            None,
            "of a NetworkPolicy"
        );
        assert_eq!(
            item_key(&container[0], &["containerPort", "protocol"]),
            ["80", "TCP"]
        );
        assert_eq!(
            item_key(&container[1], &["containerPort", "protocol"]),
            ["53", "UDP"]
        );
    }

    #[test]
    fn a_list_with_a_nameless_item_is_a_whole() {
        assert_eq!(
            keys("env", &json!([{"name": "A"}, {"name": "B"}])),
            Some(["name"].as_slice())
        );
        assert_eq!(keys("env", &json!([{"name": "A"}, {"value": "b"}])), None);
        assert_eq!(keys("tolerations", &json!([{"key": "a"}])), None);
    }
}
