//! Pods for tests, as a kubelet of Kubernetes 1.35 over containerd writes them.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{ExitLedger, NodeReadiness, PodSnapshot};

/// So many seconds after the tests' beginning of time, at which all pods are made.
pub fn at(seconds: i64) -> Timestamp {
    "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

/// A pod under construction.
#[derive(Clone, Debug)]
pub struct PodFixture(Value);

impl PodFixture {
    /// A pod of revision orders-b that runs and has been ready since second 5.
    pub fn ready(name: &str) -> Self {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "creationTimestamp": at(0),
                "labels": {"app.kubernetes.io/instance": "orders", "microservice.dev/revision": "orders-b", "microservice.dev/role": "Candidate"},
            },
            "spec": {
                "nodeName": "node-1",
                "containers": [{"name": "orders", "readinessProbe": {"failureThreshold": 3, "periodSeconds": 2, "tcpSocket": {"port": 8080}}}],
            },
            "status": {
                "phase": "Running", "startTime": at(1),
                "conditions": [],
                "containerStatuses": [{
                    "name": "orders", "image": "orders:2", "imageID": "orders@sha256:22", "ready": true,
                    "containerID": "containerd://c0", "restartCount": 0, "state": {"running": {"startedAt": at(2)}},
                }],
            },
        });
        Self(pod)
            .condition("PodScheduled", "True", at(0))
            .condition("PodReadyToStartContainers", "True", at(2))
            .condition("ContainersReady", "True", at(5))
            .condition("Ready", "True", at(5))
    }

    /// A pod that was never ready; its container's state is to be given.
    pub fn starting(name: &str) -> Self {
        Self::ready(name).unready(1)
    }

    /// Sets a condition.
    pub fn condition(mut self, type_: &str, status: &str, changed: Timestamp) -> Self {
        let conditions = self.0["status"]["conditions"].as_array_mut().unwrap();
        conditions.retain(|c| c["type"] != type_);
        conditions.push(json!({"type": type_, "status": status, "lastTransitionTime": changed}));
        self
    }

    /// Not ready since then, as the kubelet says it.
    pub fn unready(mut self, since: i64) -> Self {
        self = self
            .condition("ContainersReady", "False", at(since))
            .condition("Ready", "False", at(since));
        let conditions = self.0["status"]["conditions"].as_array_mut().unwrap();
        for condition in conditions.iter_mut().filter(|c| c["type"] == "Ready") {
            condition["reason"] = json!("ContainersNotReady");
            condition["message"] = json!("containers with unready status: [orders]");
        }
        self.0["status"]["containerStatuses"][0]["ready"] = json!(false);
        self
    }

    /// Ready since then.
    pub fn ready_since(mut self, since: i64) -> Self {
        self = self
            .condition("ContainersReady", "True", at(since))
            .condition("Ready", "True", at(since));
        self.0["status"]["containerStatuses"][0]["ready"] = json!(true);
        self
    }

    /// Sets any field by its JSON pointer.
    pub fn with(mut self, pointer: &str, value: Value) -> Self {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[key] = value;
        self
    }

    fn container(self, key: &str, value: Value) -> Self {
        self.with(&format!("/status/containerStatuses/0/{key}"), value)
    }

    /// The container waits.
    pub fn waiting(self, reason: &str, message: &str) -> Self {
        self.container(
            "state",
            json!({"waiting": {"reason": reason, "message": message}}),
        )
    }

    /// The container's `restarts`th instance runs; the one before ended so.
    pub fn restarted(self, restarts: i32, end: Value) -> Self {
        let id = format!("containerd://c{restarts}");
        self.container("restartCount", json!(restarts))
            .container("containerID", json!(id))
            .container("state", json!({"running": {"startedAt": at(100)}}))
            .container("lastState", terminated(end))
    }

    /// The container's `restarts`th instance has ended so, and is not restarted yet.
    pub fn ended(self, restarts: i32, end: Value) -> Self {
        self.container("restartCount", json!(restarts))
            .container("containerID", json!(format!("containerd://c{restarts}")))
            .container("state", terminated(end))
    }

    /// The container's `restarts`th instance has ended so, and the kubelet holds it back.
    pub fn crash_loop(self, restarts: i32, mut end: Value) -> Self {
        let id = json!(format!("containerd://c{restarts}"));
        end["containerID"] = id.clone();
        self.waiting(
            "CrashLoopBackOff",
            "back-off 10s restarting failed container=orders pod=orders-b-1_shop(uid)",
        )
        .container("restartCount", json!(restarts))
        .container("containerID", id)
        .container("lastState", terminated(end))
    }

    /// The core Pod.
    pub fn pod(&self) -> Pod {
        serde_json::from_value(self.0.clone()).unwrap()
    }

    /// What it says at first sight, on a ready node.
    pub fn snapshot(&self) -> PodSnapshot {
        ExitLedger::default().snapshot(&self.pod(), NodeReadiness::Ready)
    }
}

fn terminated(end: Value) -> Value {
    Value::Object([("terminated".to_owned(), end)].into_iter().collect())
}

/// A container's end: exit code, reason, message and second.
pub fn end(code: i32, reason: &str, message: &str, finished: i64) -> Value {
    json!({
        "exitCode": code, "reason": reason, "message": message, "containerID": "containerd://before",
        "startedAt": at(finished - 1), "finishedAt": at(finished),
    })
}

/// An ordinary failure at a second.
pub fn failure(finished: i64) -> Value {
    end(1, "Error", "panic: no database", finished)
}
