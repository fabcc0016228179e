//! The test bed itself: Istio shares requests out as it is told, without the operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use e2e::environment::say;
use e2e::istio::Ingress;
use e2e::{Scenario, eventually, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

/// A Deployment of podinfo whose pods are the subset `subset` of the Service `web`.
async fn run(s: &Scenario, subset: &str, version: &str) {
    let labels = json!({"app": "web", "subset": subset});
    let name = format!("web-{subset}");
    s.create::<Deployment>(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {
                "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [{
                    "name": "web", "image": format!("registry.local/podinfo:{version}"),
                    "ports": [{"name": "http", "containerPort": 9898}],
                    "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                    "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
                }],
            },
        }},
    }))
    .await;
    s.until::<Deployment>(&name, "to be available", |found| {
        found.status.as_ref().and_then(|status| status.available_replicas) == Some(1)
    })
    .await;
}

#[test]
fn istio_shares_requests_out_by_weight() {
    scenario("testbed-istio").real_pods().without_operator().run(async |s| {
        let ingress = Ingress::open(s).await;
        run(s, "a", "1.0.0").await;
        run(s, "b", "2.0.0").await;
        s.create::<Service>(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }))
        .await;
        ingress.subsets("web", "subset", &["a", "b"]).await;
        ingress.share("web", &[("a", 90), ("b", 10)]).await;
        ingress.in_force("web", &[("a", 90), ("b", 10)]).await;
        ingress.answers("web").await;

        let before = ingress.counter("web", 80, "b", "upstream_rq_total").await;
        let tally = ingress.requests("web").at_most(300).run().await;
        tally.assert_spotless();
        assert_eq!(tally.sent(), 300);
        tally.assert_share("2.0.0", 0.1);
        let after = ingress.counter("web", 80, "b", "upstream_rq_total").await;
        assert_eq!(after - before, tally.of("2.0.0"), "Envoy counts by subset");

        let began = Instant::now();
        ingress.share("web", &[("a", 0), ("b", 100)]).await;
        eventually("only the other subset to answer", async || {
            let tally = ingress.requests("web").clients(1).at_most(5).run().await;
            if tally.versions() == ["2.0.0"] && tally.failures.is_empty() {
                Ok(())
            } else {
                Err(format!("{:?} {:?}", tally.answered, tally.failures))
            }
        })
        .await;
        let served = began.elapsed();
        ingress.in_force("web", &[("b", 100)]).await;
        let tally = ingress.requests("web").at_most(100).run().await;
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["2.0.0"]);
        say(&format!(
            "measured: testbed-istio: a change of weights served after {:.3} s",
            served.as_secs_f64()
        ));
    });
}
