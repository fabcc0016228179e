//! How long a gateway takes to serve weights that were written: from the API server's answer to the write (by its audit log)
//! to the first request after the last one that the weights before sent elsewhere.
//!
//! The operator makes the route, and is killed before it is measured: the weights are written by the test, in the object that
//! the operator wrote, many times at moments of chance. All requests go to one revision and then to the other, so that each
//! answer tells which weights sent it there, and no share has to be guessed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::say;
use e2e::gateway::{Gateway, apply, object};
use e2e::istio::Ingress;
use e2e::load::{Connections, Requests};
use e2e::measure::{Delays, served_after};
use e2e::random::Random;
use e2e::release::{ROUTE_OBJECT, by_gateway, by_hand, by_istio, canary, in_force, served_by};
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, eventually, podinfo, scenario};
use jiff::Timestamp;
use serde_json::{Value, json};

/// A kind of route: how its object gives everything to one of its Services.
struct Route {
    version: &'static str,
    kind: &'static str,
    /// As the audit log calls it.
    resource: &'static str,
    /// The field that is written, of a spec in which `service` gets everything.
    all_to: fn(&Value, &str) -> Value,
}

const HTTP_ROUTE: Route = Route {
    version: "gateway.networking.k8s.io/v1",
    kind: "HTTPRoute",
    resource: "httproutes",
    all_to: |spec, service| {
        let mut rules = spec["rules"].clone();
        for backend in rules[0]["backendRefs"].as_array_mut().unwrap() {
            backend["weight"] = weight(&backend["name"], service);
        }
        json!({"rules": rules})
    },
};

const VIRTUAL_SERVICE: Route = Route {
    version: "networking.istio.io/v1",
    kind: "VirtualService",
    resource: "virtualservices",
    all_to: |spec, service| {
        let mut http = spec["http"].clone();
        for route in http[0]["route"].as_array_mut().unwrap() {
            route["weight"] = weight(&route["destination"]["host"], service);
        }
        json!({"http": http})
    },
};

fn weight(of: &Value, service: &str) -> Value {
    json!(if of == service { 100 } else { 0 })
}

/// Brings a release to half of the traffic, kills the operator, and measures so many changes of the weights.
async fn measured(
    s: &Scenario,
    first: &Manifest,
    requests: Requests,
    route: &Route,
    changes: usize,
) -> Delays {
    let stable = s.deploy(first).await.stable().unwrap();
    served_by(&requests, "1.0.0").await;
    s.apply(&first.clone().version("1.1.0")).await;
    let candidate = in_force(s, "web", 1).await.candidate().unwrap();
    s.kill_operator().await;
    let live = object(s, route.version, route.kind, ROUTE_OBJECT).await.unwrap();

    let load = requests
        .connections(Connections::KeptAlive)
        .rate(400.0)
        .at_most(200_000)
        .traced()
        .start();
    let mut random = Random::new();
    let mut settled = Vec::new();
    for change in 0..changes {
        let (service, version) = [(&candidate, "1.1.0"), (&stable, "1.0.0")][change % 2];
        let spec = (route.all_to)(&live.data["spec"], service);
        apply(
            s,
            json!({"apiVersion": route.version, "kind": route.kind, "metadata": {"name": ROUTE_OBJECT}, "spec": spec}),
        )
        .await;
        eventually(&format!("{version} alone to answer"), async || {
            let tally = load.seen_since(load.mark(), 60).await;
            if tally.versions() == [version] {
                Ok(())
            } else {
                Err(format!("{:?}", tally.answered))
            }
        })
        .await;
        settled.push((version, Timestamp::now()));
        // A gateway that collects changes for a while is not to be met at the same moment each time.
        load.seen_since(load.mark(), random.below(200)).await;
    }
    let trace = load.trace();
    load.stop().assert_spotless();

    let writes = eventually("the log of all writes", async || {
        // The agent of the tests is that of any client: who wrote is told by the field manager.
        let mut all = s.audit.requests("");
        all.retain(|request| {
            request.verb == "patch"
                && request.resource == route.resource
                && request.subresource.is_empty()
                && request.uri.contains("fieldManager=e2e")
        });
        if all.len() == changes {
            Ok(all)
        } else {
            Err(format!("{} writes", all.len()))
        }
    })
    .await;
    writes
        .iter()
        .zip(settled)
        .map(|(write, (version, settled))| {
            assert!(write.accepted() && write.answered < settled, "{}", write.brief());
            served_after(&trace, version, write.answered, settled).expect("it was served")
        })
        .collect()
}

#[test]
fn a_gateway_serves_weights_within_a_second_of_their_write() {
    const CHANGES: usize = 40;
    scenario("latency-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])));
        let took = measured(s, &first, gateway.requests("web"), &HTTP_ROUTE, CHANGES).await;
        say(&format!(
            "measured: {}: from the accepted write of weights to Traefik serving nothing else, {took}",
            s.name
        ));
        assert!(took.longest() < 1.0, "{took:?}");
    });
}

#[test]
fn istio_serves_weights_within_two_seconds_of_their_write() {
    const CHANGES: usize = 12;
    scenario("latency-istio").real_pods().run(async |s| {
        let ingress = Ingress::open(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(by_istio(&ingress, "web"))
            .spec(canary(by_hand(&[50])));
        let took = measured(s, &first, ingress.requests("web"), &VIRTUAL_SERVICE, CHANGES).await;
        say(&format!(
            "measured: {}: from the accepted write of weights to Envoy serving nothing else, {took}",
            s.name
        ));
        // Istio collects changes for 100 ms, and those of other tests with them.
        assert!(took.longest() < 2.0, "{took:?}");
    });
}
