//! A canary over Istio, proven on the requests that Istio's gateway carries meanwhile.
//!
//! Istio writes no status, so that what is in force is told by answers alone. Shares are tested as in canary.rs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::say;
use e2e::gateway::record;
use e2e::istio::Ingress;
use e2e::load::{Connections, Load, Requests};
use e2e::release::{
    ROUTE, ROUTE_OBJECT, abort, by_hand, by_istio, canary, in_force, promote, rollout, served_by,
};
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, podinfo, scenario};
use jiff::Timestamp;
use microservice_operator::api::{Blame, Microservice};
use serde_json::json;

const WEIGHTS: [i32; 3] = [10, 50, 100];
/// Requests of which shares are taken.
const MANY: u64 = 2_000;

/// Watches a step that is in force, which a person is to end: its share must be what chance allows.
async fn assert_step(s: &Scenario, load: &Load, step: i32, weight: i32) -> Microservice {
    let found = in_force(s, "web", step).await;
    let tally = load.seen_since(load.mark(), MANY).await;
    tally.assert_share("1.1.0", f64::from(weight) / 100.0);
    say(&format!(
        "measured: {}: step {step} ({weight} %): {:?} of {}, 99 % within {:.4} s",
        s.name,
        tally.answered,
        tally.sent(),
        tally.latency(0.99).as_secs_f64()
    ));
    found
}

/// Callers of the route: over connections that last, one of them of HTTP/2, and over new ones.
struct Callers {
    kept: Load,
    http2: Load,
    fresh: Load,
}

impl Callers {
    fn start(requests: &Requests) -> Self {
        let kept = requests.clone().connections(Connections::KeptAlive);
        let http2 = requests.clone().connections(Connections::Http2);
        Self {
            kept: kept.rate(800.0).start(),
            http2: http2.rate(100.0).start(),
            fresh: requests.clone().rate(100.0).start(),
        }
    }

    fn all(&self) -> [&Load; 3] {
        [&self.kept, &self.http2, &self.fresh]
    }

    /// Panics where one request failed.
    fn assert_spotless(self, s: &Scenario) {
        for (name, load) in [("kept", self.kept), ("HTTP/2", self.http2), ("fresh", self.fresh)] {
            let tally = load.stop();
            tally.assert_spotless();
            say(&format!(
                "measured: {}: {name}: {:?}, none failed",
                s.name, tally.answered
            ));
        }
    }
}

/// All steps, each promoted when its share was measured.
async fn assert_release(s: &Scenario, first: &Manifest, requests: &Requests) {
    let stable = s.deploy(first).await.stable().unwrap();
    served_by(requests, "1.0.0").await;
    let root = s.address("web", "http").await;
    // kube-proxy follows the EndpointSlices a moment later.
    served_by(&Requests::to(root), "1.0.0").await;
    let callers = Callers::start(requests);
    let inside = Requests::to(root).rate(100.0).start();
    s.apply(&first.clone().version("1.1.0")).await;
    for (step, weight) in (1..).zip(WEIGHTS) {
        let found = assert_step(s, &callers.kept, step, weight).await;
        // Callers in the cluster know nothing of it.
        assert_eq!(inside.seen().versions(), ["1.0.0"]);
        promote(s, &found).await;
    }
    let after = s.healthy("web").await;
    assert_ne!(after.stable().unwrap(), stable);
    served_by(requests, "1.1.0").await;
    inside.stop().assert_spotless();
    callers.assert_spotless(s);
}

/// To half of the traffic, and back by a person's word.
async fn assert_way_back(s: &Scenario, first: &Manifest, requests: &Requests) {
    let stable = s.deploy(first).await.stable().unwrap();
    served_by(requests, "1.0.0").await;
    let callers = Callers::start(requests);
    s.apply(&first.clone().version("1.1.0")).await;
    let found = in_force(s, "web", 1).await;
    promote(s, &found).await;
    let found = assert_step(s, &callers.kept, 2, 50).await;
    abort(s, &found).await;
    let said = Timestamp::now();
    let after = s.taken_back("web").await;
    assert_eq!(after.stable().unwrap(), stable);
    assert_eq!(
        rollout(&after).cause.map(|cause| (cause.blame, cause.reason)),
        Some((Blame::Person, "Aborted".to_owned()))
    );
    assert_eq!(s.pods_of(&after.candidate().unwrap()).await.len(), 0);
    for load in callers.all() {
        let tally = load.seen_since(load.mark(), 200).await;
        assert_eq!(tally.versions(), ["1.0.0"]);
    }
    let latest = callers.all().map(|load| load.seen().latest["1.1.0"]);
    say(&format!(
        "measured: {}: the candidate's last answer {:.3} s after the abort",
        s.name,
        latest
            .into_iter()
            .max()
            .unwrap()
            .duration_since(said)
            .as_secs_f64()
    ));
    callers.assert_spotless(s);
}

fn service(ingress: &Ingress<'_>) -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 2}))
        .spec(by_istio(ingress, "web"))
        .spec(canary(by_hand(&WEIGHTS)))
        // Longer than the two seconds that Istio may take, which tells nobody what is in force.
        .spec(json!({"strategy": {"settleSeconds": 3}}))
}

/// A service whose route has no hosts of its own, and the VirtualService of others that delegates to it.
async fn delegated(s: &Scenario, ingress: &Ingress<'_>) -> Manifest {
    let spec = json!({
        "hosts": [ingress.host("web")], "gateways": [ingress.gateway()],
        "http": [{"match": [{"uri": {"prefix": "/"}}], "delegate": {"name": ROUTE_OBJECT, "namespace": s.namespace}}],
    });
    ingress.apply("VirtualService", "front", spec).await;
    service(ingress).spec(json!({"routes": [{"name": ROUTE, "istio": {"mode": "Delegate"}}]}))
}

#[test]
fn each_step_by_istio_gets_its_share_and_no_request_fails() {
    scenario("mesh-canary").real_pods().run(async |s| {
        let ingress = Ingress::open(s).await;
        let routes = record(s, "networking.istio.io/v1", "VirtualService");
        assert_release(s, &service(&ingress), &ingress.requests("web")).await;
        // The rest and the share, always the whole.
        for route in routes.all() {
            let weights: Vec<i64> = route.object.data["spec"]["http"][0]["route"]
                .as_array()
                .unwrap()
                .iter()
                .map(|destination| destination["weight"].as_i64().unwrap())
                .collect();
            assert_eq!(weights.iter().sum::<i64>(), 100, "{weights:?}");
        }
    });
}

#[test]
fn back_from_half_by_istio_no_request_fails() {
    scenario("mesh-back").real_pods().run(async |s| {
        let ingress = Ingress::open(s).await;
        assert_way_back(s, &service(&ingress), &ingress.requests("web")).await;
    });
}

#[test]
fn each_step_by_a_delegate_gets_its_share_and_no_request_fails() {
    scenario("mesh-delegate").real_pods().run(async |s| {
        let ingress = Ingress::open(s).await;
        let first = delegated(s, &ingress).await;
        assert_release(s, &first, &ingress.requests("web")).await;
    });
}

#[test]
fn back_from_half_by_a_delegate_no_request_fails() {
    scenario("mesh-delegate-back").real_pods().run(async |s| {
        let ingress = Ingress::open(s).await;
        let first = delegated(s, &ingress).await;
        assert_way_back(s, &first, &ingress.requests("web")).await;
    });
}
