//! A canary goes out in steps, proven on the requests that real gateways and Services carry meanwhile.
//!
//! The share of a step is tested on at least 2,000 requests that were sent while it was in force, by the exact
//! two-sided test of a binomial proportion at the level 1 - 10^-6 (`e2e::load::within_chance`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::audit::OPERATOR;
use e2e::environment::say;
use e2e::gateway::{Gateway, route_accepted};
use e2e::load::{Connections, Load, Requests};
use e2e::release::{ROUTE_OBJECT, by_gateway, canary, in_force, rollout, served_by, timed};
use e2e::status::StatusExt;
use e2e::{podinfo, scenario};
use serde_json::json;

/// Requests of which shares are taken.
const MANY: u64 = 2_000;

/// Watches a step that is in force: its share must be what chance allows, and it must last for as long as the requests do.
async fn assert_step(s: &e2e::Scenario, load: &Load, step: i32, weight: i32) {
    in_force(s, "web", step).await;
    let tally = load.seen_since(load.mark(), MANY).await;
    let after = rollout(&s.service("web").await);
    assert_eq!(
        after.step,
        Some(step),
        "the step was over before {MANY} requests were sent"
    );
    tally.assert_share("1.1.0", f64::from(weight) / 100.0);
    say(&format!(
        "measured: {}: step {step} ({weight} %): {:?} of {}, 99 % within {:.4} s",
        s.name,
        tally.answered,
        tally.sent(),
        tally.latency(0.99).as_secs_f64()
    ));
}

#[test]
fn each_step_by_a_gateway_gets_its_share_and_no_request_fails() {
    const STEPS: [i32; 4] = [5, 25, 50, 100];
    scenario("canary-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 3}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&STEPS, 5)));
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        let root = s.address("web", "http").await;
        // kube-proxy follows the EndpointSlices a moment later.
        served_by(&Requests::to(root), "1.0.0").await;

        let kept = requests
            .clone()
            .connections(Connections::KeptAlive)
            .rate(900.0)
            .start();
        let fresh = requests.clone().rate(100.0).start();
        let http2 = requests.connections(Connections::Http2).rate(100.0).start();
        let inside = Requests::to(root).rate(200.0).start();

        s.apply(&first.version("1.1.0")).await;
        for (step, weight) in (1..).zip(STEPS) {
            assert_step(s, &kept, step, weight).await;
            // Callers in the cluster know nothing of it.
            assert_eq!(inside.seen().versions(), ["1.0.0"]);
        }
        let after = s.healthy("web").await;
        assert_ne!(after.stable().unwrap(), stable);
        let mark = inside.mark();
        assert_eq!(inside.seen_since(mark, 100).await.versions(), ["1.1.0"]);

        let inside = inside.stop();
        let flip = s.audit.requests(OPERATOR).into_iter().find(|request| {
            request.resource == "services"
                && request.name == "web"
                && request.received.as_second() >= rollout(&after).started_at.unwrap().0.as_second()
        });
        let flip = flip.expect("the Service was turned").received;
        assert!(
            inside.first["1.1.0"] > flip,
            "{} answered a caller in the cluster before {flip}",
            inside.first["1.1.0"]
        );
        let mut sum = inside.sent();
        inside.assert_spotless();
        for (name, load) in [("kept", kept), ("fresh", fresh), ("HTTP/2", http2)] {
            let tally = load.stop();
            tally.assert_spotless();
            sum += tally.sent();
            say(&format!(
                "measured: {}: {name}: {:?}, none failed",
                s.name, tally.answered
            ));
        }
        say(&format!(
            "measured: {}: {sum} requests over the release, none failed",
            s.name
        ));
    });
}
