//! Kinds that come with CRDs of others: they may be absent, come, and go. Their tests change the whole cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::cluster;
use e2e::status::StatusExt;
use e2e::wait::eventually;
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};

/// A family of optional kinds, as a test needs it.
struct Optional {
    /// What the cluster's runner calls their CRDs.
    crds: &'static str,
    /// The plural and group of the kind.
    resource: &'static str,
    /// The condition that speaks of it.
    condition: &'static str,
    /// What it says while the kind is absent.
    absent: &'static str,
    /// What asks for it.
    overlay: Value,
    /// The name of the object.
    object: &'static str,
}

/// Removes the CRDs, also where a test has failed before.
struct Installed(String);

impl Drop for Installed {
    fn drop(&mut self) {
        let _ = e2e::kubectl::kubectl(&["delete", "--ignore-not-found", "-f", "-"], Some(&self.0));
    }
}

async fn assert_reported(s: &Scenario, optional: &Optional) {
    let found = s
        .wait_for("web", "to say that the kind is missing", |found| {
            found.reason(optional.condition, "False").as_deref() == Some("KindMissing")
        })
        .await;
    assert_eq!(found.condition(optional.condition).unwrap().message, optional.absent);
    // Everything else is there.
    s.get::<Service>("web").await;
}

async fn comes_and_goes(s: &Scenario, optional: Optional) {
    let manifest: Manifest = podinfo("web", "1.0.0").spec(optional.overlay.clone());
    s.apply(&manifest).await;
    assert_reported(s, &optional).await;
    s.wait_for("web", "to serve all the same", |found| found.reason("Available", "True").is_some()).await;

    let crds = cluster(&["crds", optional.crds]);
    let installed = Installed(crds.clone());
    s.kubectl_with(&["apply", "--server-side", "-f", "-"], Some(&crds)).ok();
    s.wait_for("web", "to be content", |found| found.is_current() && found.condition(optional.condition).is_none()).await;
    eventually("the object", async || {
        let said = s.kubectl(&["get", optional.resource, optional.object, "-o", "json"]);
        if !said.succeeded {
            return Err(said.err);
        }
        let object: Value = serde_json::from_str(&said.out).unwrap();
        let owner = object.pointer("/metadata/ownerReferences/0/kind").and_then(Value::as_str);
        if owner == Some("Microservice") { Ok(()) } else { Err(format!("{owner:?}")) }
    })
    .await;
    s.healthy("web").await;

    drop(installed);
    assert_reported(s, &optional).await;
    let metrics = s.page("/livez").await;
    assert!(!metrics.is_empty());
}

#[test]
fn gateway_routes_come_and_go() {
    scenario("gateway").run(async |s| {
        comes_and_goes(s, Optional {
            crds: "gateway-api",
            resource: "httproutes.gateway.networking.k8s.io",
            condition: "RoutesReady",
            absent: "this cluster does not serve HTTPRoute: install the Gateway API's CRDs",
            overlay: json!({"routes": [{"name": "public", "gateway": {"parentRefs": [{"name": "edge"}]}}]}),
            object: "web-public",
        })
        .await;
    });
}

#[test]
fn monitors_come_and_go() {
    scenario("monitor").run(async |s| {
        comes_and_goes(s, Optional {
            crds: "prometheus-operator",
            resource: "servicemonitors.monitoring.coreos.com",
            condition: "MonitoringReady",
            absent: "this cluster does not serve ServiceMonitor: install the Prometheus operator's CRDs, or set monitoring.kind",
            overlay: json!({"monitoring": {}}),
            object: "web",
        })
        .await;
    });
}
