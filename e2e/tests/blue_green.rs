//! Blue/green: the new revision stands in full size beside the old one, is seen at the preview, and all traffic flips.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::say;
use e2e::gateway::Gateway;
use e2e::load::{Connections, Load, Requests};
use e2e::release::{
    abort, blue_green, by_gateway, in_force, in_state, promote, rollout, served_by, step_value,
};
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, eventually, podinfo, scenario};
use microservice_operator::api::{Phase, RolloutState};
use serde_json::json;

const REPLICAS: usize = 2;

fn service() -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": REPLICAS}))
        .spec(blue_green(json!({"switch": "Manual"})))
}

fn start(requests: &Requests) -> Vec<Load> {
    [Connections::PerRequest, Connections::KeptAlive]
        .into_iter()
        .map(|connections| requests.clone().connections(connections).rate(200.0).start())
        .collect()
}

/// Waits until only `version` answers. A connection that is kept follows when its pod has ended.
async fn only(loads: &[Load], version: &str) {
    for load in loads {
        eventually(&format!("only {version} to answer"), async || {
            let tally = load.seen_since(load.mark(), 100).await;
            if tally.versions() == [version] {
                Ok(())
            } else {
                Err(format!("{:?}", tally.answered))
            }
        })
        .await;
    }
}

/// A release until all traffic has flipped by a person's word, a way back from the bake, and one that stays.
async fn assert_flips(s: &Scenario, first: &Manifest, requests: &Requests) {
    let stable = s.deploy(first).await.stable().unwrap();
    let preview = Requests::to(s.address("web-preview", "http").await).at_most(100);
    let root = Requests::to(s.address("web", "http").await);
    for place in [requests, &root, &preview] {
        served_by(place, "1.0.0").await;
    }
    let mut loads = start(requests);
    loads.extend(start(&root.clone().repeating()));

    // The new one is seen at the preview alone.
    // Long enough for a way back in time.
    let bake = json!({"strategy": {"bakeSeconds": 120}});
    s.apply(&first.clone().spec(bake).version("1.1.0")).await;
    let found = in_force(s, "web", 1).await;
    let candidate = found.candidate().unwrap();
    s.ready_pods(&candidate, REPLICAS).await;
    s.ready_pods(&stable, REPLICAS).await;
    served_by(&preview, "1.1.0").await;
    let found = s
        .wait_for("web", "to wait for a person", |found| {
            found.said().phase == Some(Phase::Paused)
        })
        .await;
    assert!(found.said().message.unwrap().contains(&step_value(&found)));
    for load in &loads {
        load.seen_since(load.mark(), 100).await;
        assert_eq!(load.seen().versions(), ["1.0.0"]);
    }

    // The switch, and the way back from the bake.
    promote(s, &found).await;
    let baking = in_state(s, "web", RolloutState::Baking).await;
    // New connections follow at once, and the old revision stands by.
    served_by(requests, "1.1.0").await;
    served_by(&root, "1.1.0").await;
    s.ready_pods(&stable, REPLICAS).await;
    abort(s, &baking).await;
    let after = s.taken_back("web").await;
    assert_eq!(after.stable(), Some(stable.clone()));
    assert_eq!(rollout(&after).cause.unwrap().reason, "Aborted");
    only(&loads, "1.0.0").await;
    assert_eq!(s.pods_of(&candidate).await.len(), 0);
    served_by(&preview, "1.0.0").await;

    // Another one stays.
    s.apply(&first.clone().version("2.0.0")).await;
    let found = in_force(s, "web", 1).await;
    promote(s, &found).await;
    let after = s.healthy("web").await;
    assert_ne!(after.stable(), Some(stable.clone()));
    only(&loads, "2.0.0").await;
    s.ready_pods(&stable, 0).await;
    let (mut sum, mut repeated) = (0, 0);
    for load in loads {
        let tally = load.stop();
        // By the Gateway nothing is sent a second time; by the Service the pods that were taken back ended, and the old ones.
        tally.assert_spotless_but_for(2 * REPLICAS as u64);
        sum += tally.sent();
        repeated += tally.repeated;
    }
    say(&format!(
        "measured: {}: {sum} requests over a flip, a way back and a flip, none failed; {repeated} were sent a second time, on \
         connections that ended with their pod",
        s.name
    ));
}

#[test]
fn by_a_gateway_all_traffic_flips_and_comes_back_and_no_request_fails() {
    scenario("flip-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service().spec(by_gateway(&gateway, "web"));
        Box::pin(assert_flips(s, &first, &gateway.requests("web"))).await;
    });
}

#[test]
fn by_the_service_all_traffic_flips_and_comes_back_and_no_request_fails() {
    scenario("flip-service").real_pods().run(async |s| {
        let first = service();
        // Its address is known when it is made.
        s.deploy(&first).await;
        let requests = Requests::to(s.address("web", "http").await).repeating();
        Box::pin(assert_flips(s, &first, &requests)).await;
    });
}
