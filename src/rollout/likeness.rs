//! Whether what a spec would be rendered to is what runs already: then nothing has to be restarted for it.
//!
//! Not compared is what makes no other pod of it: our own labels, the name of the main container, the links to Services
//! in its environment, and where its last words are taken from.

use serde_json::{Map, Value};

use super::drift;
use crate::api::labels;
use crate::render::without_defaults;

/// Labels that other tools put on pods or that say no more than the name of the template.
const FOREIGN_LABELS: [&str; 1] = ["pod-template-hash"];
/// What `kubectl rollout restart` and Flagger leave behind: it was done.
const FOREIGN_ANNOTATIONS: [&str; 2] = ["kubectl.kubernetes.io/restartedAt", "flagger-id"];

/// The path of the first field in which the template `rendered` for `service` is not what `live` says.
pub fn unlike(rendered: &Value, live: &Value, service: &str) -> Option<String> {
    let (mut rendered, mut live) = (comparable(rendered, service), comparable(live, service));
    // To name a port of a container, or to list one more, makes no other container.
    let (listed, listening) = (take_ports(&mut rendered), take_ports(&mut live));
    if listening.iter().any(|port| !listed.contains(port)) {
        return Some(".spec.containers[].ports".to_owned());
    }
    drift::difference(&rendered, &live).or_else(|| drift::difference(&live, &rendered))
}

/// Takes number and protocol of the main container's ports out of a comparable template.
fn take_ports(template: &mut Value) -> Vec<(i64, String)> {
    let containers = template
        .pointer_mut("/spec/containers")
        .and_then(Value::as_array_mut);
    let main = containers.into_iter().flatten().filter_map(Value::as_object_mut);
    let mut main = main.filter(|container| container.get("name") == Some(&Value::String(String::new())));
    let ports = main.next().and_then(|container| container.remove("ports"));
    let read = |port: &Value| {
        let protocol = port.get("protocol").and_then(Value::as_str).unwrap_or("TCP");
        Some((port.get("containerPort")?.as_i64()?, protocol.to_owned()))
    };
    ports
        .iter()
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(read)
        .collect()
}

/// Says the numbers of ports that probes name.
fn number_probes(container: &mut Map<String, Value>) {
    let ports = container.get("ports").cloned().unwrap_or_default();
    let number = |name: &str| {
        let mut all = ports.as_array().into_iter().flatten();
        let named = all.find(|port| port.get("name").and_then(Value::as_str) == Some(name))?;
        named.get("containerPort").cloned()
    };
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        for action in ["httpGet", "tcpSocket"] {
            let port = container
                .get_mut(probe)
                .and_then(|probe| probe.get_mut(action)?.get_mut("port"));
            if let Some(port) = port
                && let Some(found) = port.as_str().and_then(number)
            {
                *port = found;
            }
        }
    }
}

/// A template with just what is compared.
fn comparable(template: &Value, service: &str) -> Value {
    let mut template = without_defaults(template);
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|field, _| ["labels", "annotations"].contains(&field.as_str()));
        retain(metadata, "labels", |key| {
            !key.starts_with(labels::PREFIX)
                && ![labels::NAME, labels::INSTANCE, labels::MANAGED_BY].contains(&key)
                && !FOREIGN_LABELS.contains(&key)
        });
        retain(metadata, "annotations", |key| {
            !key.starts_with(labels::PREFIX) && !FOREIGN_ANNOTATIONS.contains(&key)
        });
    }
    let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) else {
        return template;
    };
    spec.remove("enableServiceLinks");
    for list in ["containers", "initContainers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten().filter_map(Value::as_object_mut) {
            container.remove("terminationMessagePolicy");
        }
    }
    let main = main_container(&Value::Object(spec.clone()), service);
    if let Some(main) = main
        && let Some(container) = spec.get_mut("containers").and_then(|all| all.get_mut(main))
        && let Some(container) = container.as_object_mut()
    {
        container.insert("name".to_owned(), Value::String(String::new()));
        number_probes(container);
    }
    template
}

/// The index of the main container in a pod spec: the one called like the service, else the first one.
pub fn main_container(spec: &Value, service: &str) -> Option<usize> {
    let containers = spec.get("containers")?.as_array()?;
    let named = containers
        .iter()
        .position(|container| container.get("name").and_then(Value::as_str) == Some(service));
    named.or((!containers.is_empty()).then_some(0))
}

fn retain(metadata: &mut Map<String, Value>, field: &str, keep: impl Fn(&str) -> bool) {
    if let Some(map) = metadata.get_mut(field).and_then(Value::as_object_mut) {
        map.retain(|key, _| keep(key));
        if map.is_empty() {
            metadata.remove(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::unlike;

    #[test]
    fn our_own_part_and_the_name_of_the_main_container_do_not_count() {
        let rendered = json!({
            "metadata": {"labels": {"app": "a", "app.kubernetes.io/name": "orders", "microservice.dev/revision": "x"}},
            "spec": {"enableServiceLinks": false, "containers": [
                {"name": "orders", "image": "a:1", "terminationMessagePolicy": "FallbackToLogsOnError",
                    "resources": {"requests": {"cpu": "0.1"}}}]},
        });
        let live = json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "a", "app.kubernetes.io/name": "chart"}},
            "spec": {"restartPolicy": "Always", "containers": [
                {"name": "main", "image": "a:1", "imagePullPolicy": "IfNotPresent", "terminationMessagePolicy": "File",
                    "resources": {"requests": {"cpu": "100m"}}}]},
        });
        assert_eq!(unlike(&rendered, &live, "orders"), None);
        let mut other = live.clone();
        other["spec"]["containers"][0]["image"] = json!("a:2");
        assert_eq!(
            unlike(&rendered, &other, "orders").as_deref(),
            Some(".spec.containers[].image")
        );
        // What the spec does not say and runs is a difference, too.
        let mut more = live.clone();
        more["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "1"}]);
        assert!(unlike(&rendered, &more, "orders").is_some());
        let mut labelled = live;
        labelled["metadata"]["labels"]["tier"] = json!("backend");
        assert!(unlike(&rendered, &labelled, "orders").is_some());
    }
}
