//! Kinds that come with CRDs of others: they may be absent, come, and go. Their tests change the whole cluster, so they
//! are a file of their own and run one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::audit::{AuditLog, OPERATOR};
use e2e::environment::cluster;
use e2e::kubectl::{established, kubectl};
use e2e::rights::{Reach, Rights, shipped};
use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout, within};
use e2e::{Scenario, podinfo, scenario};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::Ingress;
use kube::ResourceExt;
use serde_json::{Value, json};

/// How soon after its CRD an object has to be there.
const SOON: Duration = Duration::from_secs(10);

/// One at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A family of CRDs of others, which goes with the value.
struct Family {
    text: String,
    names: Vec<String>,
}

impl Family {
    /// One that the cluster's runner knows. Waits until an earlier test's is gone.
    async fn absent(name: &str) -> Self {
        let text = cluster(&["crds", name]);
        let names = kubectl(
            &["apply", "--dry-run=client", "-o", "name", "-f", "-"],
            Some(&text),
        )
        .ok();
        let family = Self {
            text,
            names: names.lines().map(str::to_owned).collect(),
        };
        family.remove().await;
        family
    }

    /// Installs it, and waits until its kinds are served.
    fn install(&self) {
        kubectl(&["apply", "--server-side", "-f", "-"], Some(&self.text)).ok();
        let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
        established(&names);
    }

    /// Begins to remove it.
    fn delete(&self) {
        let _ = kubectl(
            &["delete", "--ignore-not-found", "--wait=false", "-f", "-"],
            Some(&self.text),
        );
    }

    /// Removes it, and waits until it is gone.
    async fn remove(&self) {
        self.delete();
        // The API server takes its time over objects that may be left.
        within(Duration::from_secs(240), "the CRDs to be gone", async || {
            let left = kubectl(&["get", "crd", "-o", "name"], None).ok();
            let left: Vec<&str> = left
                .lines()
                .filter(|line| self.names.iter().any(|name| name == line))
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .await;
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.delete();
    }
}

/// An object of a kind that comes with a CRD.
async fn object(s: &Scenario, resource: &str, name: &str) -> Value {
    eventually(&format!("{resource} {name}"), async || {
        let said = s.kubectl(&["get", resource, name, "-o", "json"]);
        if said.succeeded {
            Ok(serde_json::from_str(&said.out).unwrap())
        } else {
            Err(said.err)
        }
    })
    .await
}

/// Waits until a condition says that a kind is missing.
async fn missing(s: &Scenario, condition: &str, message: &str) {
    s.wait_for("web", &format!("to say {message:?}"), |found| {
        let said = found
            .condition(condition)
            .filter(|said| said.status == "False" && said.reason == "KindMissing");
        // Of several kinds that go one after another each is said.
        found.is_current() && said.is_some_and(|said| said.message == message)
    })
    .await;
}

/// Waits until a condition is gone.
async fn content(s: &Scenario, condition: &str) {
    s.wait_for("web", "to be content", |found| {
        found.is_healthy() && found.condition(condition).is_none()
    })
    .await;
}

/// No request speaks of a kind that is gone: not one a second, and not one a minute.
async fn silence(s: &Scenario, kind: &str, plural: &str) {
    let asked = || {
        s.audit
            .requests(OPERATOR)
            .iter()
            .filter(|request| request.resource == plural)
            .count()
    };
    // What was on its way when the kind went may still come.
    let line = format!("{plural} to be let go of");
    s.log_line(&line, |line| {
        line["message"] == "this kind is not served any more" && line["kind"] == kind
    })
    .await;
    let before = asked();
    throughout(
        Duration::from_secs(5),
        "the silence about a kind that is gone",
        async || {
            let more = asked() - before;
            if more <= 1 {
                Ok(())
            } else {
                Err(format!("{more} requests for {plural}"))
            }
        },
    )
    .await;
}

/// The uids of the pods of a revision.
async fn uids(s: &Scenario, revision: &str) -> Vec<String> {
    let mut uids: Vec<String> = s
        .pods_of(revision)
        .await
        .iter()
        .filter_map(ResourceExt::uid)
        .collect();
    uids.sort();
    uids
}

const NO_HTTP_ROUTE: &str = "this cluster does not serve HTTPRoute: install the Gateway API's CRDs";
const NO_SERVICE_MONITOR: &str = "this cluster does not serve ServiceMonitor: install the Prometheus operator's CRDs, or set monitoring.kind";

const HTTP_ROUTES: &str = "httproutes.gateway.networking.k8s.io";
const GRPC_ROUTES: &str = "grpcroutes.gateway.networking.k8s.io";
const SERVICE_MONITORS: &str = "servicemonitors.monitoring.coreos.com";

/// Routes of all three kinds.
fn routes() -> Value {
    json!({"routes": [
        {
            "name": "public",
            "hosts": ["web.example"],
            "gateway": {"parentRefs": [{"name": "edge", "namespace": "gateways", "sectionName": "https"}]},
            "rules": [
                {"path": "/shop", "headers": [{"name": "x-tester", "value": "yes"}]},
                {"path": "/api", "pathType": "Exact", "service": "other", "servicePort": 8080},
            ],
        },
        {"name": "rpc", "gateway": {"kind": "GRPCRoute", "parentRefs": [{"name": "mesh"}]}, "rules": [{"path": "/shop.v1.Cart/Add"}]},
        {"name": "old", "hosts": ["old.example"], "ingress": {}},
    ]})
}

fn expected_http_route() -> Value {
    let backend = |name: &str, port: i32| json!([{"group": "", "kind": "Service", "name": name, "port": port, "weight": 1}]);
    json!({
        "parentRefs": [
            {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "namespace": "gateways", "sectionName": "https"},
        ],
        "hostnames": ["web.example"],
        "rules": [
            {
                "matches": [{
                    "path": {"type": "PathPrefix", "value": "/shop"},
                    "headers": [{"type": "Exact", "name": "x-tester", "value": "yes"}],
                }],
                "backendRefs": backend("web", 9898),
            },
            {"matches": [{"path": {"type": "Exact", "value": "/api"}}], "backendRefs": backend("other", 8080)},
        ],
    })
}

fn expected_grpc_route() -> Value {
    json!({
        "parentRefs": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "mesh"}],
        "rules": [{
            "matches": [{"method": {"type": "Exact", "service": "shop.v1.Cart", "method": "Add"}}],
            "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 9898, "weight": 1}],
        }],
    })
}

/// What a gateway's controller writes about a route.
fn judge_route(s: &Scenario, name: &str, status: &str, reason: &str, message: &str) {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| {
        json!({
            "type": type_, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    let patch = json!({"status": {"parents": [{
        "parentRef": {"name": "edge", "namespace": "gateways", "sectionName": "https"},
        "controllerName": "example.com/gateway",
        "conditions": [
            condition("Accepted", status, reason, message),
            condition("ResolvedRefs", "True", "ResolvedRefs", ""),
        ],
    }]}});
    s.kubectl(&[
        "patch",
        HTTP_ROUTES,
        name,
        "--subresource=status",
        "--type=merge",
        "-p",
        &patch.to_string(),
    ])
    .ok();
}

#[test]
fn gateway_routes_come_are_refused_and_go() {
    let _alone = alone();
    // With the shipped rights: they have to reach as far as these kinds.
    scenario("gateway").without_operator().run(async |s| {
        let gateway = Family::absent("gateway-api").await;
        let rights = Rights::new(Reach::Cluster, &shipped());
        let audit = AuditLog::of_user(&rights.user);
        s.start_operator_as(rights.kubeconfig()).await;
        s.operator_ready().await;

        // Absent: everything else is served.
        let manifest = podinfo("web", "1.0.0").spec(routes());
        let stable = s.deploy(&manifest).await.stable().unwrap();
        missing(s, "RoutesReady", NO_HTTP_ROUTE).await;
        s.get::<Ingress>("web-old").await;
        s.get::<Service>("web").await;
        let pods = uids(s, &stable).await;
        assert_eq!(pods.len(), 1);

        // There: the routes are made, by the same process.
        gateway.install();
        let established = Instant::now();
        let route = object(s, HTTP_ROUTES, "web-public").await;
        let took = established.elapsed();
        println!(
            "measured: gateway: {:.1} s from the CRD to the HTTPRoute",
            took.as_secs_f64()
        );
        assert!(took < SOON, "{took:?}");
        assert_eq!(route["spec"], expected_http_route());
        assert_eq!(route["metadata"]["ownerReferences"][0]["kind"], "Microservice");
        assert_eq!(
            object(s, GRPC_ROUTES, "web-rpc").await["spec"],
            expected_grpc_route()
        );
        content(s, "RoutesReady").await;

        // Refused by the gateway: said with its name and its words.
        judge_route(
            s,
            "web-public",
            "False",
            "NotAllowedByListeners",
            "no listener admits web.example",
        );
        let refused = s
            .wait_for("web", "to say who refuses", |found| {
                found.reason("RoutesReady", "False").as_deref() == Some("NotAccepted")
            })
            .await;
        assert_eq!(
            refused.condition("RoutesReady").unwrap().message,
            "edge does not take route web-public: NotAllowedByListeners: no listener admits web.example"
        );
        judge_route(s, "web-public", "True", "Accepted", "");
        content(s, "RoutesReady").await;

        // A new process finds all of it as it is.
        let restarted = AuditLog::of_user(&rights.user);
        s.restart_operator().await;
        content(s, "RoutesReady").await;
        let written: Vec<String> = restarted
            .requests("")
            .iter()
            .filter(|r| r.writes())
            .map(|r| r.brief())
            .collect();
        assert_eq!(written, [""; 0]);
        assert_eq!(uids(s, &stable).await, pods);

        // Up to here: what is on its way out with its CRD, the API server itself forbids to make.
        let refused: Vec<String> = audit
            .requests("")
            .iter()
            .filter(|r| r.code == 403)
            .map(|r| r.brief())
            .collect();
        assert_eq!(refused, [""; 0]);

        // Gone: said again, and nothing else is disturbed.
        gateway.delete();
        missing(s, "RoutesReady", NO_HTTP_ROUTE).await;
        silence(s, "HTTPRoute", "httproutes").await;
        assert_eq!(uids(s, &stable).await, pods);
        s.get::<Ingress>("web-old").await;
        let promoted = s.deploy(&manifest.version("1.1.0")).await.stable().unwrap();
        assert_ne!(promoted, stable);

        // And back.
        gateway.remove().await;
        let watches = || {
            let all = audit.requests("");
            all.iter()
                .filter(|request| request.verb == "watch" && request.resource == "httproutes")
                .count()
        };
        let before = watches();
        gateway.install();
        assert_eq!(
            object(s, HTTP_ROUTES, "web-public").await["spec"],
            expected_http_route()
        );
        content(s, "RoutesReady").await;
        eventually("its watch", async || {
            if watches() > before {
                Ok(())
            } else {
                Err("none".to_owned())
            }
        })
        .await;
        assert_eq!(watches() - before, 1, "watches of HTTPRoutes");
    });
}

#[test]
fn monitors_come_and_go() {
    let _alone = alone();
    scenario("monitor").run(async |s| {
        let prometheus = Family::absent("prometheus-operator").await;
        let manifest = podinfo("web", "1.0.0")
            .spec(json!({"monitoring": {"path": "/stats", "intervalSeconds": 15, "labels": {"release": "prometheus"}}}));
        let stable = s.deploy(&manifest).await.stable().unwrap();
        missing(s, "MonitoringReady", NO_SERVICE_MONITOR).await;
        let pods = uids(s, &stable).await;

        // It comes while nobody looks.
        s.kill_operator().await;
        prometheus.install();
        s.restart_operator().await;
        content(s, "MonitoringReady").await;
        let monitor = object(s, SERVICE_MONITORS, "web").await;
        assert_eq!(
            monitor["spec"],
            json!({
                // The root Service, and not those of single revisions: each pod is scraped once.
                "selector": {
                    "matchLabels": {"app.kubernetes.io/name": "web", "app.kubernetes.io/instance": "web"},
                    "matchExpressions": [{"key": "microservice.dev/service", "operator": "DoesNotExist"}],
                },
                "podTargetLabels": ["app.kubernetes.io/instance", "microservice.dev/revision", "microservice.dev/role"],
                "endpoints": [{"port": "http", "path": "/stats", "interval": "15s"}],
            })
        );
        assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
        // The Service has what the monitor looks for.
        let service: Service = s.get("web").await;
        assert_eq!(service.labels()["app.kubernetes.io/instance"], "web");

        // Not wanted any more: gone.
        s.deploy(&manifest.clone().spec(json!({"monitoring": null}))).await;
        eventually("no ServiceMonitor", async || {
            let said = s.kubectl(&["get", SERVICE_MONITORS, "-o", "name"]).ok();
            if said.is_empty() { Ok(()) } else { Err(said) }
        })
        .await;
        s.deploy(&manifest).await;
        object(s, SERVICE_MONITORS, "web").await;

        // It goes while nobody looks.
        s.kill_operator().await;
        prometheus.remove().await;
        s.restart_operator().await;
        missing(s, "MonitoringReady", NO_SERVICE_MONITOR).await;
        assert_eq!(s.healthy("web").await.stable().unwrap(), stable);
        assert_eq!(uids(s, &stable).await, pods);

        // And while somebody does.
        prometheus.install();
        let established = Instant::now();
        object(s, SERVICE_MONITORS, "web").await;
        let took = established.elapsed();
        println!("measured: monitor: {:.1} s from the CRD to the ServiceMonitor", took.as_secs_f64());
        assert!(took < SOON, "{took:?}");
        prometheus.delete();
        missing(s, "MonitoringReady", NO_SERVICE_MONITOR).await;
        silence(s, "ServiceMonitor", "servicemonitors").await;
        assert_eq!(uids(s, &stable).await, pods);
    });
}
