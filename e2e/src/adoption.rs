//! What runs before a Microservice takes it over: a Deployment with all that people put around it, written by hand.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use microservice_operator::api::{Microservice, Phase};
use serde_json::{Value, json};

use crate::environment;
use crate::http_client;
use crate::load::Load;
use crate::manifest::podinfo;
use crate::scenario::Scenario;
use crate::status::StatusExt;
use crate::wait::eventually;

/// What podinfo's manifests of tests have, as a Deployment of somebody else.
fn template(labels: &Value) -> Value {
    let podinfo: Value = serde_saphyr::from_str(&podinfo("web", "1.0.0").text()).unwrap();
    let spec = &podinfo["spec"];
    let mut container = json!({
        "name": "podinfod", "image": spec["image"], "command": spec["command"], "args": spec["args"], "env": spec["env"],
        "ports": [{"name": "http", "containerPort": 9898}],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
        "resources": {"requests": {"cpu": "10m"}},
        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
    });
    container
        .as_object_mut()
        .unwrap()
        .retain(|_, value| !value.is_null());
    let context =
        json!({"runAsNonRoot": true, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}});
    json!({"metadata": {"labels": labels}, "spec": {"containers": [container], "securityContext": context}})
}

/// A Deployment with all that belongs to it.
pub fn objects(labels: &Value, port: &Value) -> Vec<Value> {
    let metadata = |name: &str| json!({"name": name, "labels": {"team": "shop"}});
    vec![
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("web"), "spec": {
            "replicas": 3, "selector": {"matchLabels": labels}, "template": template(labels)}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("web"),
            "spec": {"selector": labels, "ports": [port]}}),
        json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata("web-pdb"),
            "spec": {"minAvailable": 1, "selector": {"matchLabels": labels}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("web"), "spec": {
            "rules": [{"host": "web.example", "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": "web", "port": {"number": 9898}}}}]}}]}}),
    ]
}

/// An autoscaler of that Deployment.
pub fn autoscaler() -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}, "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "minReplicas": 3, "maxReplicas": 5,
        "metrics": [{"type": "Resource", "resource": {"name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": 90}}}]}})
}

/// Documents for kubectl or Helm; JSON is YAML, too.
pub fn documents(objects: &[Value]) -> String {
    objects.iter().map(|object| format!("---\n{object}\n")).collect()
}

/// Waits until the Deployment has rolled out.
pub async fn rolled_out(s: &Scenario) {
    s.until::<Deployment>("web", "three pods", |deployment| {
        deployment
            .status
            .as_ref()
            .is_some_and(|status| status.available_replicas == Some(3))
    })
    .await;
}

/// The uids of the pods that are not ending.
pub async fn pods(s: &Scenario) -> BTreeSet<String> {
    let all = s.list::<Pod>().await;
    let live = all.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    live.filter_map(Pod::uid).collect()
}

/// Requests to the Service, whatever its port is called.
pub async fn load(s: &Scenario) -> Load {
    let service = s.get::<Service>("web").await;
    let address = service.spec.unwrap().cluster_ip.unwrap();
    let address = SocketAddr::new(address.parse().unwrap(), 9898);
    eventually("the Service to answer", async || {
        http_client::get(address, "/").await
    })
    .await;
    Load::start(address)
}

/// What the plugin makes of the Deployment, and what it says.
pub async fn imported(s: &Scenario) -> (Value, String) {
    let mut command = Command::new(environment::operator_binary().with_file_name("kubectl-microservice"));
    command
        .args(["-n", &s.namespace, "import", "deployment/web", "-o", "json"])
        .stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output().expect("the plugin can be run"));
    let output = output.await.unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    let mut manifest: Value = serde_json::from_slice(&output.stdout).unwrap();
    // So that the test need not wait for a minute.
    manifest["spec"]["strategy"]["bakeSeconds"] = json!(2);
    (manifest, words)
}

/// Applies manifests as people do.
pub fn kubectl_apply(s: &Scenario, text: &str) {
    s.kubectl_with(&["apply", "-f", "-"], Some(text)).ok();
}

/// Waits for condition Adopted as people do.
pub async fn adopted(s: &Scenario) -> Microservice {
    let is = |service: &Microservice| {
        let status = service.status.as_ref();
        let conditions = status.into_iter().flat_map(|status| &status.conditions);
        let mut all = conditions.filter(|c| c.type_ == "Adopted");
        all.any(|c| c.status == "True" && c.reason == "Adopted")
    };
    s.wait_for("web", "Adopted", |service| {
        is(service) && service.said().phase == Some(Phase::Healthy)
    })
    .await
}

/// The release on top: another version.
pub async fn release(s: &Scenario, manifest: &Value, image: &str) -> Microservice {
    let mut next = manifest.clone();
    next["spec"]["image"] = json!(image);
    kubectl_apply(s, &next.to_string());
    let wanted = image.to_owned();
    s.wait_for("web", "the release to be healthy", move |service| {
        let status = service.said();
        status.phase == Some(Phase::Healthy)
            && status.revisions.iter().any(|revision| {
                revision.image == wanted && Some(&revision.name) == status.stable_revision.as_ref()
            })
    })
    .await
}

/// Waits until a version alone answers.
pub async fn served_alone(load: &Load, version: &str) {
    eventually(&format!("{version} to serve alone"), async || {
        let mark = load.mark();
        let tally = load.seen_since(mark, 20).await;
        let alone = tally.versions() == [version];
        alone
            .then_some(())
            .ok_or_else(|| format!("{:?}", tally.versions()))
    })
    .await;
}

/// What the release on top is of.
pub fn next_image() -> String {
    let podinfo: Value = serde_saphyr::from_str(&podinfo("web", "1.1.0").text()).unwrap();
    podinfo["spec"]["image"].as_str().unwrap().to_owned()
}

/// The kind of an object's controller.
pub fn owner(object: &impl ResourceExt) -> Option<String> {
    object
        .owner_references()
        .iter()
        .find(|o| o.controller == Some(true))
        .map(|o| o.kind.clone())
}
