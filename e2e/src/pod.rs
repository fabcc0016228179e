//! The operator as users run it: a pod of the chart, with the image and just the rights that the chart gives it.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::helm::{Helm, REPOSITORY, TAG, load_operator_image};
use crate::http_client::get;
use crate::kubectl::kubectl;
use crate::wait::{patience, within_blocking};

/// Where the chart's pods serve /metrics.
const METRICS_PORT: u16 = 8080;

/// A release of the chart with one replica, in a namespace of its own. Both go with the value.
#[derive(Debug)]
pub struct Release {
    namespace: String,
}

impl Release {
    /// Installs the chart for these namespaces, without waiting.
    pub fn install(served: &[String], flags: &[String]) -> Self {
        load_operator_image();
        // The name of a release is that of cluster-wide objects too.
        let namespace = format!("op-{}", served.first().expect("it serves a namespace"));
        make_namespace(&namespace);
        let release = Self { namespace };
        let values = json!({
            "fullnameOverride": release.namespace,
            "image": {"repository": REPOSITORY, "tag": TAG, "pullPolicy": "Never"},
            "replicaCount": 1,
            // The next pod after one that was killed waits for its Lease.
            "leaderElection": {"leaseDurationSeconds": 6, "renewDeadlineSeconds": 4, "retrySeconds": 1},
            "watchNamespaces": served,
            "features": {"trackSecrets": flags.iter().any(|flag| flag == "--track-secrets")},
            "extraArgs": flags.iter().filter(|flag| *flag != "--track-secrets").collect::<Vec<_>>(),
            // Of the whole cluster, where tests run side by side.
            "crds": {"enabled": false}, "commandPolicy": {"enabled": false}, "rbac": {"userRoles": false},
        });
        let name = release.namespace.as_str();
        let chart = "charts/microservice-operator";
        let said = Helm::Four.run(
            &["install", name, chart, "--namespace", name, "--values=-"],
            Some(&values.to_string()),
        );
        said.ok();
        release
    }

    fn kubectl(&self, arguments: &[&str]) -> crate::kubectl::Said {
        let all: Vec<&str> = ["-n", &self.namespace]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        kubectl(&all, None)
    }

    fn pods(&self) -> Vec<Value> {
        let listed = self.kubectl(&["get", "pods", "-o", "json"]).ok();
        let listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
        listed["items"].as_array().cloned().unwrap_or_default()
    }

    fn address(&self) -> Result<SocketAddr, String> {
        let pods = self.pods();
        let pod = pods
            .iter()
            .find(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .ok_or("there is no pod")?;
        let address = pod["status"]["podIP"]
            .as_str()
            .ok_or_else(|| pod["status"].to_string())?;
        let address = address.parse().map_err(|error| format!("{address}: {error}"))?;
        Ok(SocketAddr::new(address, METRICS_PORT))
    }

    /// Whether its caches are warm and it acts.
    pub async fn acts(&self) -> Result<(), String> {
        let address = self.address()?;
        let ready = get(address, "/readyz").await?;
        if ready.code != 200 {
            return Err(ready.body);
        }
        let page = get(address, "/metrics").await?.body;
        if page.contains("\nmicroservice_operator_leader 1\n") {
            Ok(())
        } else {
            Err("it is not the leader".to_owned())
        }
    }

    /// A page of it.
    pub async fn page(&self, path: &str) -> Result<String, String> {
        Ok(get(self.address()?, path).await?.body)
    }

    /// Takes its pod away, either with SIGKILL at once or with SIGTERM and its time, and waits until it is gone.
    pub fn stop(&self, end: End) {
        let deployment = format!("deployment/{}", self.namespace);
        self.kubectl(&["scale", &deployment, "--replicas=0"]).ok();
        if end == End::Killed {
            self.kubectl(&["delete", "pods", "--all", "--force", "--grace-period=0"])
                .ok();
        }
        within_blocking(patience(), "the operator's pod to be gone", || {
            match self.pods().len() {
                0 => Ok(()),
                count => Err(format!("{count} pods")),
            }
        });
    }

    /// Gives it a pod again, without waiting.
    pub fn start(&self) {
        let deployment = format!("deployment/{}", self.namespace);
        self.kubectl(&["scale", &deployment, "--replicas=1"]).ok();
    }

    /// What the log says, of the container that ended last too.
    pub fn log(&self) -> String {
        let selector = format!("app.kubernetes.io/instance={}", self.namespace);
        let present = ["logs", "-l", &selector, "--tail=-1"];
        let before = [&present[..], &["--previous"]].concat();
        self.kubectl(&before).out + &self.kubectl(&present).out
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        let name = self.namespace.as_str();
        // Nobody is left to read where this fails.
        let _ = Helm::Four.run(&["uninstall", name, "--namespace", name], None);
        let _ = kubectl(&["delete", "namespace", name, "--wait=false"], None);
    }
}

/// How a pod is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It cannot prepare.
    Killed,
    /// It is told, and has its time.
    Told,
}

/// Makes a namespace that takes only what Pod Security calls restricted.
pub fn make_namespace(name: &str) {
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    kubectl(&["create", "-f", "-"], Some(&object.to_string())).ok();
}
