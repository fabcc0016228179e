//! Several services go out at once: by the same Gateway, and where only so many may.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::say;
use e2e::gateway::Gateway;
use e2e::load::Connections;
use e2e::release::{abort, by_gateway, by_hand, canary, in_force, promote, served_by, timed};
use e2e::status::StatusExt;
use e2e::{Manifest, podinfo, scenario};
use microservice_operator::api::RolloutState;
use serde_json::json;

/// Requests of which shares are taken.
const MANY: u64 = 2_000;

#[test]
fn two_services_behind_one_gateway_go_their_own_ways() {
    scenario("side-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let service = |name: &str| {
            podinfo(name, "1.0.0")
                .spec(json!({"replicas": 2}))
                .spec(by_gateway(&gateway, name))
                .spec(canary(by_hand(&[20, 70])))
        };
        let all = ["orders", "carts"].map(service);
        for manifest in &all {
            s.apply(manifest).await;
        }
        let mut loads = Vec::new();
        for manifest in &all {
            s.healthy(manifest.name()).await;
            let requests = gateway.requests(manifest.name());
            served_by(&requests, "1.0.0").await;
            loads.push(requests.connections(Connections::KeptAlive).rate(500.0).start());
        }
        for (manifest, version) in all.iter().zip(["1.1.0", "2.0.0"]) {
            s.apply(&manifest.clone().version(version)).await;
        }
        in_force(s, "orders", 1).await;
        let carts = in_force(s, "carts", 1).await;
        promote(s, &carts).await;
        let carts = in_force(s, "carts", 2).await;
        let (one, two) = (loads[0].mark(), loads[1].mark());
        loads[0].seen_since(one, MANY).await.assert_share("1.1.0", 0.2);
        loads[1].seen_since(two, MANY).await.assert_share("2.0.0", 0.7);
        // One goes back and the other one goes on.
        let orders = s.service("orders").await;
        abort(s, &orders).await;
        promote(s, &carts).await;
        s.taken_back("orders").await;
        s.healthy("carts").await;
        let mut sum = 0;
        for (load, (versions, last)) in loads
            .into_iter()
            .zip([(["1.0.0", "1.1.0"], "1.0.0"), (["1.0.0", "2.0.0"], "2.0.0")])
        {
            let mark = load.mark();
            assert_eq!(load.seen_since(mark, 300).await.versions(), [last]);
            let tally = load.stop();
            tally.assert_spotless();
            assert_eq!(tally.versions(), versions);
            sum += tally.sent();
        }
        say(&format!(
            "measured: {}: {sum} requests to two services, one going back and one going on, none failed",
            s.name
        ));
    });
}

fn queued(name: &str) -> Manifest {
    podinfo(name, "1.0.0").spec(canary(timed(&[50], 4)))
}

#[test]
fn only_as_many_rollouts_go_on_as_are_allowed_and_the_others_follow() {
    scenario("side-queue")
        .flags(&["--max-rollouts", "1"])
        .run(async |s| {
            let names = ["orders", "carts"];
            for name in names {
                s.apply(&queued(name)).await;
            }
            for name in names {
                s.healthy(name).await;
            }
            s.apply(&queued("orders").version("1.1.0")).await;
            s.wait_for("orders", "to roll", |found| {
                found.state() == Some(RolloutState::Rolling)
            })
            .await;
            s.apply(&queued("carts").version("1.1.0")).await;
            let waiting = s
                .wait_for("carts", "to wait for its turn", |found| {
                    found.reason("Reconciling", "True").as_deref() == Some("Queued")
                })
                .await;
            assert_eq!(waiting.state(), Some(RolloutState::Steady));
            let message = waiting.said().message.unwrap();
            assert!(message.contains("rollout slot"), "{message}");
            // Whichever state it is in: the two are never under way at the same time.
            let began = s
                .wait_for("carts", "to roll", |found| {
                    found.state() == Some(RolloutState::Rolling)
                })
                .await;
            let orders = s.service("orders").await;
            assert!(
                matches!(orders.state(), Some(RolloutState::Baking | RolloutState::Steady)),
                "{:?} while {:?}",
                orders.state(),
                began.state()
            );
            for name in names {
                let after = s.healthy(name).await;
                assert_eq!(after.said().history[0].outcome, "Promoted");
                assert_eq!(after.said().history.len(), 2);
            }
        });
}
