//! What the API server fills in of a pod template, taken away again: so that one that was stored can be compared with one
//! that was written, and be printed as people would write it.

use serde_json::{Map, Value, json};

use super::prune::pruned;

/// The lists of a pod that hold containers.
const CONTAINERS: [&str; 2] = ["containers", "initContainers"];
/// The probes of a container.
const PROBES: [&str; 3] = ["startupProbe", "livenessProbe", "readinessProbe"];
/// The volumes whose files have a mode.
const WITH_MODE: [&str; 4] = ["configMap", "secret", "projected", "downwardAPI"];

/// A pod template without the defaults of the API server, nulls and what is empty.
pub fn without_defaults(template: &Value) -> Value {
    let mut template = pruned(template.clone());
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    if let Some(spec) = template.get_mut("spec").and_then(Value::as_object_mut) {
        pod(spec);
    }
    pruned(template)
}

/// Removes a field where it says no more than its absence.
fn drop_default(fields: &mut Map<String, Value>, field: &str, default: &Value) {
    if fields.get(field) == Some(default) {
        fields.remove(field);
    }
}

fn drop_defaults(fields: &mut Map<String, Value>, defaults: &Value) {
    for (field, default) in defaults.as_object().into_iter().flatten() {
        drop_default(fields, field, default);
    }
}

fn items<'a>(
    fields: &'a mut Map<String, Value>,
    list: &str,
) -> impl Iterator<Item = &'a mut Map<String, Value>> {
    let items = fields.get_mut(list).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn pod(spec: &mut Map<String, Value>) {
    // Another name of serviceAccountName, which the API server keeps in step.
    spec.remove("serviceAccount");
    drop_defaults(
        spec,
        &json!({
            "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
            "terminationGracePeriodSeconds": 30, "securityContext": {}, "serviceAccountName": "default",
            "enableServiceLinks": true, "automountServiceAccountToken": true, "affinity": {},
            "hostNetwork": false, "hostPID": false, "hostIPC": false,
        }),
    );
    for list in CONTAINERS {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
}

fn container(container: &mut Map<String, Value>) {
    drop_defaults(
        container,
        &json!({
            "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
            "securityContext": {}, "lifecycle": {}, "stdin": false, "stdinOnce": false, "tty": false,
        }),
    );
    let image = container.get("image").and_then(Value::as_str).unwrap_or_default();
    let policy = default_pull_policy(image);
    drop_default(container, "imagePullPolicy", &json!(policy));
    for probe in PROBES {
        if let Some(probe) = container.get_mut(probe).and_then(Value::as_object_mut) {
            drop_defaults(
                probe,
                &json!({"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3,
                    "initialDelaySeconds": 0}),
            );
            action(probe);
        }
    }
    let hooks = container.get_mut("lifecycle").and_then(Value::as_object_mut);
    for hook in hooks.into_iter().flat_map(|hooks| hooks.values_mut()) {
        if let Some(hook) = hook.as_object_mut() {
            action(hook);
        }
    }
    items(container, "ports").for_each(|port| {
        drop_defaults(port, &json!({"protocol": "TCP", "hostPort": 0}));
    });
    items(container, "env").for_each(variable);
    items(container, "volumeMounts").for_each(|mount| {
        drop_defaults(mount, &json!({"readOnly": false, "subPath": ""}));
    });
}

/// IfNotPresent, but Always for an image that may be another one tomorrow.
fn default_pull_policy(image: &str) -> &'static str {
    let name = image.rsplit('/').next().unwrap_or(image);
    let moves = !name.contains('@') && (!name.contains(':') || name.ends_with(":latest"));
    if moves { "Always" } else { "IfNotPresent" }
}

fn action(fields: &mut Map<String, Value>) {
    if let Some(get) = fields.get_mut("httpGet").and_then(Value::as_object_mut) {
        drop_default(get, "scheme", &json!("HTTP"));
        drop_default(get, "path", &json!("/"));
    }
    if let Some(grpc) = fields.get_mut("grpc").and_then(Value::as_object_mut) {
        drop_default(grpc, "service", &json!(""));
    }
}

fn variable(variable: &mut Map<String, Value>) {
    drop_default(variable, "value", &json!(""));
    let Some(from) = variable.get_mut("valueFrom").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(field) = from.get_mut("fieldRef").and_then(Value::as_object_mut) {
        drop_default(field, "apiVersion", &json!("v1"));
    }
    if let Some(resource) = from.get_mut("resourceFieldRef").and_then(Value::as_object_mut) {
        drop_default(resource, "divisor", &json!("0"));
    }
}

fn volume(volume: &mut Map<String, Value>) {
    for source in WITH_MODE {
        if let Some(source) = volume.get_mut(source).and_then(Value::as_object_mut) {
            drop_default(source, "defaultMode", &json!(0o644));
            items(source, "items").for_each(file);
            for inner in items(source, "sources") {
                if let Some(token) = inner
                    .get_mut("serviceAccountToken")
                    .and_then(Value::as_object_mut)
                {
                    drop_default(token, "expirationSeconds", &json!(3600));
                }
                if let Some(api) = inner.get_mut("downwardAPI").and_then(Value::as_object_mut) {
                    items(api, "items").for_each(file);
                }
            }
        }
    }
    if let Some(path) = volume.get_mut("hostPath").and_then(Value::as_object_mut) {
        drop_default(path, "type", &json!(""));
    }
}

fn file(item: &mut Map<String, Value>) {
    if let Some(field) = item.get_mut("fieldRef").and_then(Value::as_object_mut) {
        drop_default(field, "apiVersion", &json!("v1"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_api_server_adds_goes_and_what_was_said_stays() {
        let stored = json!({
            "metadata": {"creationTimestamp": null, "labels": {"app": "a"}},
            "spec": {
                "restartPolicy": "Always", "dnsPolicy": "None", "schedulerName": "default-scheduler",
                "securityContext": {}, "terminationGracePeriodSeconds": 30, "serviceAccount": "a",
                "serviceAccountName": "a",
                "containers": [{
                    "name": "a", "image": "registry.example:5000/a", "imagePullPolicy": "Always", "resources": {},
                    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                    "ports": [{"containerPort": 1, "protocol": "TCP"}, {"containerPort": 2, "protocol": "UDP"}],
                    "env": [{"name": "E", "value": ""}, {"name": "P", "valueFrom": {"fieldRef": {
                        "apiVersion": "v1", "fieldPath": "status.podIP"}}}],
                    "readinessProbe": {"httpGet": {"path": "/ready", "port": 1, "scheme": "HTTP"}, "timeoutSeconds": 1,
                        "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 3},
                }, {"name": "b", "image": "b:1", "imagePullPolicy": "Always"}],
                "volumes": [{"name": "c", "configMap": {"name": "c", "defaultMode": 420}},
                    {"name": "d", "secret": {"secretName": "d", "defaultMode": 256}}],
            },
        });
        assert_eq!(
            without_defaults(&stored),
            json!({
                "metadata": {"labels": {"app": "a"}},
                "spec": {
                    "dnsPolicy": "None", "serviceAccountName": "a",
                    "containers": [{
                        "name": "a", "image": "registry.example:5000/a",
                        "ports": [{"containerPort": 1}, {"containerPort": 2, "protocol": "UDP"}],
                        "env": [{"name": "E"}, {"name": "P", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 1}, "periodSeconds": 5},
                    }, {"name": "b", "image": "b:1", "imagePullPolicy": "Always"}],
                    "volumes": [{"name": "c", "configMap": {"name": "c"}},
                        {"name": "d", "secret": {"secretName": "d", "defaultMode": 256}}],
                },
            })
        );
    }
}
