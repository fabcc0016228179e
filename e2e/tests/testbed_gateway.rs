//! The test bed itself: a gateway and an Ingress controller that divide real traffic, without the operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use e2e::environment::say;
use e2e::gateway::{Gateway, INGRESS_CLASS, IngressController, apply, route_accepted};
use e2e::load::{Connections, Failure, Requests, Tally};
use e2e::wait::{eventually, patience, throughout};
use e2e::{Scenario, scenario};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Requests of which shares are taken.
const MANY: u64 = 2_000;

/// podinfo in two versions, each behind a Service of its own. Returns when both serve.
async fn two_versions(s: &Scenario) {
    for (name, version) in [("one", "1.0.0"), ("two", "2.0.0")] {
        apply(
            s,
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"selector": {"matchLabels": {"app": name}}, "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "containers": [{
                            "name": "podinfo",
                            "image": format!("registry.local/podinfo:{version}"),
                            "ports": [{"containerPort": 9898}],
                            "readinessProbe": {"httpGet": {"path": "/readyz", "port": 9898}, "periodSeconds": 1},
                            "securityContext": {
                                "allowPrivilegeEscalation": false, "runAsNonRoot": true,
                                "capabilities": {"drop": ["ALL"]}, "seccompProfile": {"type": "RuntimeDefault"},
                            },
                        }],
                    },
                }},
            }),
        )
        .await;
        apply(
            s,
            json!({
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 9898}]},
            }),
        )
        .await;
    }
    s.kubectl(&[
        "wait",
        "--for=condition=Available",
        &format!("--timeout={}s", patience().as_secs()),
        "deployment/one",
        "deployment/two",
    ])
    .ok();
}

fn route(gateway: &Gateway, weights: [i64; 2]) -> Value {
    let backends = json!([
        {"name": "one", "port": 80, "weight": weights[0]},
        {"name": "two", "port": 80, "weight": weights[1]},
    ]);
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [gateway.parent()], "hostnames": [gateway.host("web")], "rules": [
            {
                "matches": [{"headers": [{"name": "x-canary", "value": "always"}]}],
                "backendRefs": [{"name": "two", "port": 80}],
            },
            {"backendRefs": backends},
        ]},
    })
}

fn ingress(controller: &IngressController, service: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": service, "annotations": annotations},
        "spec": {"ingressClassName": INGRESS_CLASS, "rules": [{"host": controller.host("web"), "http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": 80}}}},
        ]}}]},
    })
}

fn canary(weight: u32) -> Value {
    json!({
        "nginx.ingress.kubernetes.io/canary": "true",
        "nginx.ingress.kubernetes.io/canary-weight": weight.to_string(),
        "nginx.ingress.kubernetes.io/canary-by-header": "x-canary",
        "nginx.ingress.kubernetes.io/canary-by-cookie": "canary",
    })
}

/// Waits until requests are answered by `version` alone.
async fn served_by(requests: &Requests, version: &str) {
    eventually(&format!("only {version} to answer"), async || {
        let tally = requests.clone().clients(1).at_most(10).run().await;
        if tally.of(version) == 10 {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", tally.answered, tally.failures.first()))
        }
    })
    .await;
}

/// Measures how long it takes from the API server's answer to a change to the first answer of `version`, on kept
/// connections.
async fn until_served(requests: &Requests, version: &str, change: impl AsyncFnOnce()) -> f64 {
    let load = requests
        .clone()
        .connections(Connections::KeptAlive)
        .rate(1_000.0)
        .start();
    load.seen_since(load.mark(), 20).await;
    assert_eq!(load.seen().of(version), 0);
    change().await;
    let changed = Timestamp::now();
    let first = eventually(&format!("an answer of {version}"), async || {
        let tally = load.seen();
        tally
            .first
            .get(version)
            .copied()
            .ok_or_else(|| format!("{:?}", tally.answered))
    })
    .await;
    load.stop().assert_spotless();
    first.duration_since(changed).as_secs_f64()
}

fn assert_all_from(tally: &Tally, version: &str) {
    tally.assert_spotless();
    assert_eq!(tally.versions(), [version]);
}

#[test]
fn a_gateway_divides_traffic_by_weight_and_by_header() {
    scenario("gateway-bed").real_pods().without_operator().run(async |s| {
        let gateway = Gateway::start(s).await;
        two_versions(s).await;
        apply(s, route(&gateway, [100, 0])).await;
        route_accepted(s, "HTTPRoute", "web").await;
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;

        // A change of weights is served on connections that live.
        let took = until_served(&requests, "2.0.0", async || {
            apply(s, route(&gateway, [90, 10])).await;
        })
        .await;
        say(&format!("measured: gateway-bed: weights served after {:.3} s", took));
        route_accepted(s, "HTTPRoute", "web").await;

        for connections in [Connections::PerRequest, Connections::KeptAlive, Connections::Http2] {
            let tally = requests.clone().connections(connections).at_most(MANY).run().await;
            tally.assert_spotless();
            assert_eq!(tally.good(), MANY);
            tally.assert_share("2.0.0", 0.1);
            say(&format!(
                "measured: gateway-bed: {connections:?}: {:?}, half of them within {:.4} s, 99 % within {:.4} s",
                tally.answered,
                tally.latency(0.5).as_secs_f64(),
                tally.latency(0.99).as_secs_f64(),
            ));
        }
        let chosen = requests.clone().header("x-canary", "always").at_most(100).run().await;
        assert_all_from(&chosen, "2.0.0");

        // What was sent after a mark tells of one step alone.
        let load = requests.clone().connections(Connections::KeptAlive).rate(500.0).start();
        let before = load.mark();
        load.seen_since(before, 200).await.assert_share("2.0.0", 0.1);
        apply(s, route(&gateway, [0, 100])).await;
        served_by(&requests, "2.0.0").await;
        let after = load.mark();
        assert_all_from(&load.seen_since(after, 200).await, "2.0.0");
        assert_eq!(load.stop().failed.len(), 0);
    });
}

#[test]
fn a_gateway_says_what_it_cannot_reach() {
    scenario("gateway-void")
        .real_pods()
        .without_operator()
        .run(async |s| {
            let gateway = Gateway::start(s).await;
            let requests = gateway
                .requests("web")
                .connections(Connections::KeptAlive)
                .at_most(50);
            let unknown = requests.clone().run().await;
            assert_eq!(unknown.failed, [(Failure::Status(404), 50)].into());
            two_versions(s).await;
            apply(s, route(&gateway, [50, 50])).await;
            eventually("both to answer", async || {
                let tally = requests.clone().run().await;
                if tally.good() == 50 {
                    Ok(())
                } else {
                    Err(format!("{:?}", tally.failed))
                }
            })
            .await;
            s.kubectl(&["scale", "deployment/two", "--replicas=0"]).ok();
            // Half of the weight has nobody to serve it, and is not given to the other half.
            eventually("a half without endpoints", async || {
                let tally = requests.clone().run().await;
                if tally.of("1.0.0") == 25 && tally.failed == [(Failure::Status(503), 25)].into() {
                    Ok(())
                } else {
                    Err(format!("{:?} {:?}", tally.answered, tally.failed))
                }
            })
            .await;
            route_accepted(s, "HTTPRoute", "web").await;
        });
}

#[test]
fn an_ingress_controller_divides_traffic_by_annotations() {
    scenario("ingress-bed")
        .real_pods()
        .without_operator()
        .run(async |s| {
            let controller = IngressController::start(s).await;
            two_versions(s).await;
            let requests = controller.requests("web");
            apply(s, ingress(&controller, "one", json!({}))).await;
            served_by(&requests, "1.0.0").await;
            apply(s, ingress(&controller, "two", canary(0))).await;
            served_by(&requests.clone().header("x-canary", "always"), "2.0.0").await;
            served_by(&requests.clone().cookie("canary", "always"), "2.0.0").await;
            let quiet = requests.clone().connections(Connections::KeptAlive);
            assert_all_from(&quiet.clone().at_most(200).run().await, "1.0.0");

            let took = until_served(&requests, "2.0.0", async || {
                apply(s, ingress(&controller, "two", canary(10))).await;
            })
            .await;
            say(&format!(
                "measured: ingress-bed: weight served after {:.3} s",
                took
            ));
            let tally = quiet.clone().at_most(MANY).run().await;
            tally.assert_spotless();
            tally.assert_share("2.0.0", 0.1);
            let never = quiet.clone().header("x-canary", "never").at_most(100).run().await;
            assert_all_from(&never, "1.0.0");

            s.kubectl(&["delete", "ingress/two"]).ok();
            served_by(&requests, "1.0.0").await;
            let one = requests.connections(Connections::KeptAlive).at_most(100);
            throughout(Duration::from_millis(300), "1.0.0 alone", async || {
                let tally = one.clone().run().await;
                if tally.versions() == ["1.0.0"] {
                    Ok(())
                } else {
                    Err(format!("{:?}", tally.answered))
                }
            })
            .await;
        });
}
