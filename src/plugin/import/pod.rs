//! The pod template: each field where the spec has one, all others in the overlay.

use serde_json::{Map, Value, json};

use super::{Translation, fields, items, text};
use crate::api::{MicroserviceSpec, labels};
use crate::render::{Identity, pod_template, without_defaults};
use crate::revision::RevisionInput;
use crate::rollout::{main_container, unlike};

/// Fields of the main container that the spec has under the same name.
const SAME: [&str; 8] = [
    "image",
    "imagePullPolicy",
    "command",
    "args",
    "workingDir",
    "env",
    "envFrom",
    "resources",
];
/// The others of its fields that are translated.
const TRANSLATED: [&str; 7] = [
    "name",
    "ports",
    "lifecycle",
    "startupProbe",
    "livenessProbe",
    "readinessProbe",
    "volumeMounts",
];
/// Fields of the pod that are translated.
const OF_THE_POD: [&str; 13] = [
    "containers",
    "initContainers",
    "volumes",
    "imagePullSecrets",
    "terminationGracePeriodSeconds",
    "serviceAccountName",
    "automountServiceAccountToken",
    "nodeSelector",
    "affinity",
    "tolerations",
    "priorityClassName",
    "securityContext",
    "enableServiceLinks",
];

/// Translates a template; `ports` are those of the spec.
pub(super) fn translate(template: &Value, ports: &[Value], translation: &mut Translation) {
    let template = without_defaults(template);
    let pod = template.get("spec").cloned().unwrap_or_default();
    let main = main_container(&pod, &translation.name);
    let containers: Vec<Value> = items(&pod, "/containers").cloned().collect();
    let mut overlay = Vec::new();
    for (index, container) in containers.iter().enumerate() {
        if Some(index) == main {
            let rest = container_fields(container, translation);
            if !rest.is_empty() {
                let mut fields = Map::from_iter([("name".to_owned(), json!(translation.name))]);
                fields.extend(rest);
                overlay.insert(0, Value::Object(fields));
            }
        } else {
            overlay.push(container.clone());
        }
    }
    translation.set("ports", Value::Array(ports.to_vec()));
    metadata(&template, translation);
    for field in [
        "initContainers",
        "volumes",
        "imagePullSecrets",
        "terminationGracePeriodSeconds",
    ] {
        translation.set(field, pod.get(field).cloned().unwrap_or_default());
    }
    service_account(&pod, translation);
    let mut scheduling = Map::from_iter([("spread".to_owned(), json!("None"))]);
    for field in ["nodeSelector", "affinity", "tolerations", "priorityClassName"] {
        scheduling.extend(pod.get(field).map(|value| (field.to_owned(), value.clone())));
    }
    translation.set("scheduling", Value::Object(scheduling));
    let mut rest: Map<String, Value> = fields(Some(&pod))
        .filter(|(field, _)| !OF_THE_POD.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    let context = security(&pod, translation);
    if !context.is_empty() {
        rest.insert("securityContext".to_owned(), Value::Object(context));
    }
    if !overlay.is_empty() {
        rest.insert("containers".to_owned(), Value::Array(overlay));
    }
    if !rest.is_empty() {
        translation.set("podTemplate", json!({"spec": rest}));
    }
}

fn container_fields(container: &Value, translation: &mut Translation) -> Map<String, Value> {
    let name = text(container, "/name");
    if name != translation.name {
        let line = format!(
            "container {name} is called {} from the first release on: change what asks for logs or metrics by the \
             container's name",
            translation.name
        );
        translation.note(line);
    }
    for field in SAME {
        translation.set(field, container.get(field).cloned().unwrap_or_default());
    }
    // Without a word there would be a sleep before the end, and a probe of the port.
    translation.set(
        "lifecycle",
        container.get("lifecycle").cloned().unwrap_or(json!({})),
    );
    let mut probes = Map::new();
    for (field, kind) in [
        ("startupProbe", "startup"),
        ("livenessProbe", "liveness"),
        ("readinessProbe", "readiness"),
    ] {
        if let Some(probe) = container.get(field) {
            probes.insert(kind.to_owned(), numbered(probe, container));
        }
    }
    if !probes.contains_key("readiness") {
        translation.note(
            "there is no readiness probe: pods count as ready as soon as they run, so that a rollout learns nothing from \
             them. Add probes.readiness",
        );
    }
    translation.set("probes", Value::Object(probes));
    translation.set(
        "volumeMounts",
        container.get("volumeMounts").cloned().unwrap_or_default(),
    );
    fields(Some(container))
        .filter(|(field, _)| !SAME.contains(&field.as_str()) && !TRANSLATED.contains(&field.as_str()))
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect()
}

/// A probe with the number of its port: the name of the port may be another one.
fn numbered(probe: &Value, container: &Value) -> Value {
    let mut probe = probe.clone();
    for action in ["httpGet", "tcpSocket"] {
        let port = probe.pointer(&format!("/{action}/port")).and_then(Value::as_str);
        let number = port.and_then(|name| {
            let named = items(container, "/ports").find(|port| text(port, "/name") == name)?;
            named.get("containerPort").cloned()
        });
        if let Some(number) = number {
            probe[action]["port"] = number;
        }
    }
    probe
}

fn metadata(template: &Value, translation: &mut Translation) {
    let reserved = [labels::NAME, labels::INSTANCE, labels::MANAGED_BY];
    let mut kept = Map::new();
    for (key, value) in fields(template.pointer("/metadata/labels")) {
        if key == "pod-template-hash" || key.starts_with(labels::PREFIX) {
            continue;
        }
        if reserved.contains(&key.as_str()) {
            if value.as_str() != Some(translation.name.as_str()) {
                let line = format!(
                    "pods that are labelled {key}={} today are labelled otherwise from the first release on: change what \
                     selects them by it (dashboards, network policies, logs)",
                    value.as_str().unwrap_or_default()
                );
                translation.note(line);
            }
            continue;
        }
        kept.insert(key.clone(), value.clone());
    }
    translation.set("podLabels", Value::Object(kept));
    let annotations: Map<String, Value> = fields(template.pointer("/metadata/annotations"))
        .filter(|(key, _)| {
            key.as_str() != "kubectl.kubernetes.io/restartedAt" && !key.starts_with(labels::PREFIX)
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for key in annotations.keys().filter(|key| key.starts_with("checksum/")) {
        let line = format!(
            "annotation {key} of the pods is kept; it is not needed any more, because a change of a ConfigMap that the \
             spec refers to is a rollout"
        );
        translation.notes.push(line);
    }
    translation.set("podAnnotations", Value::Object(annotations));
}

fn service_account(pod: &Value, translation: &mut Translation) {
    let mut account = Map::new();
    if let Some(name) = pod.get("serviceAccountName") {
        account.insert("name".to_owned(), name.clone());
    }
    // What is absent here is true.
    if pod.get("automountServiceAccountToken") != Some(&json!(false)) {
        account.insert("token".to_owned(), json!("Mount"));
        if pod.get("serviceAccountName").is_none() {
            translation.note(
                "the token of the default ServiceAccount is mounted, as it is today: take out serviceAccount.token if the \
                 pods do not talk to the API server",
            );
        }
    }
    translation.set("serviceAccount", Value::Object(account));
}

/// The parts of the pod's security context that the spec has fields for. Answers the others.
fn security(pod: &Value, translation: &mut Translation) -> Map<String, Value> {
    let mut rest = Map::new();
    let mut said = Map::new();
    for (field, value) in fields(pod.get("securityContext")) {
        match field.as_str() {
            "runAsUser" | "runAsGroup" | "fsGroup" => said.insert(field.clone(), value.clone()),
            _ => rest.insert(field.clone(), value.clone()),
        };
    }
    translation.set("security", Value::Object(said));
    rest
}

/// The strictest profile that changes nothing.
pub(super) fn choose_profile(template: &Value, translation: &mut Translation) {
    for profile in ["Restricted", "Baseline", "Custom"] {
        translation.part("security")["profile"] = json!(profile);
        if difference(template, translation).is_none() {
            break;
        }
    }
    if translation.spec["security"]["profile"] == json!("Custom") {
        translation.note(
            "security.profile is Custom, because the pods do not keep to Pod Security \"restricted\" or \"baseline\" as \
             they are",
        );
    }
    if let Some(path) = difference(template, translation) {
        translation.note(format!(
            "the Microservice would not be rendered to the pods as they are (first at {path}): applied, it makes them anew \
             by a rollout. Please report what the Deployment has there"
        ));
    }
}

/// Where what the spec is rendered to is not what runs.
fn difference(template: &Value, translation: &Translation) -> Option<String> {
    let spec: MicroserviceSpec = serde_json::from_value(Value::Object(translation.spec.clone())).ok()?;
    let none = std::collections::BTreeMap::new();
    let identity = Identity {
        name: &translation.name,
        namespace: "",
        common_labels: &none,
    };
    let rendered = pod_template(&identity, "import", &RevisionInput::of(&spec), &[]);
    unlike(&rendered, template, &translation.name)
}
