//! The API server goes away and comes back. These tests disturb everything else, so they are a file of their own and
//! run one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::environment::cluster;
use e2e::kubectl::kubectl;
use e2e::scenario::{is_ready, revision_of};
use e2e::status::StatusExt;
use e2e::wait::{eventually, patience, within};
use e2e::{Manifest, Scenario, misbehave, podinfo, scenario};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use microservice_operator::api::{Blame, RolloutState};
use serde_json::json;

/// One at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until the API server answers and the others know it.
async fn answering() {
    eventually("the API server to answer", async || {
        let said = kubectl(&["get", "--raw", "/readyz"], None);
        if said.succeeded { Ok(()) } else { Err(said.err) }
    })
    .await;
    // After a few outages in a row their watches come back a minute late: long enough that they take a node for lost
    // whose leases they have not seen, send requests to pods that are gone, and start no pod. The operator is to be
    // tested, not their back-off.
    for component in ["controller-manager", "scheduler", "proxy", "kubelet"] {
        cluster(&[component, "restart"]);
    }
}

/// Waits until the node is ready, whatever the test before this one has done to it.
async fn node_ready(s: &Scenario) {
    let nodes: Api<Node> = Api::all(s.client.clone());
    within(Duration::from_secs(120), "the node to be ready", async || {
        let list = nodes
            .list(&ListParams::default())
            .await
            .map_err(|error| error.to_string())?;
        let conditions = list.items.iter().flat_map(|node| {
            node.status
                .iter()
                .flat_map(|status| status.conditions.iter().flatten())
        });
        let ready = conditions
            .into_iter()
            .find(|condition| condition.type_ == "Ready")
            .map(|c| c.status.clone());
        if ready.as_deref() == Some("True") {
            Ok(())
        } else {
            Err(format!("{ready:?}"))
        }
    })
    .await;
}

/// An API server that is not there. It comes back with the end of the value.
struct Away(&'static str);

impl Away {
    /// Takes it away: with `stop` it is killed, with `pause` it keeps its connections and says nothing.
    fn by(command: &'static str) -> Self {
        cluster(&["apiserver", command]);
        Self(if command == "stop" { "start" } else { "resume" })
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        cluster(&["apiserver", self.0]);
    }
}

/// Takes the API server away for as long as `period`.
async fn away(command: &'static str, period: Duration) {
    let gone = Away::by(command);
    tokio::time::sleep(period).await;
    drop(gone);
    answering().await;
}

/// Waits for the first ready pod of the candidate: the middle of a rollout.
async fn in_the_middle(s: &Scenario, candidate: &str) {
    eventually("a ready pod of the candidate", async || {
        if s.pods_of(candidate).await.iter().any(is_ready) {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await;
}

/// Disturbs the API server in the middle of a rollout of `manifest` to 1.1.0, and sees that all goes well.
async fn assert_outlived(s: &Scenario, manifest: Manifest, disturb: impl AsyncFnOnce()) {
    node_ready(s).await;
    let stable = s.deploy(&manifest).await.stable().unwrap();
    let load = s.load("web").await;
    s.apply(&manifest.version("1.1.0")).await;
    let candidate = s.candidate("web").await;
    in_the_middle(s, &candidate).await;
    let began = Instant::now();
    disturb().await;
    let back = Instant::now();
    let after = s
        .wait_for("web", "to have the new revision", |found| {
            found.is_healthy() && found.stable().as_deref() != Some(stable.as_str())
        })
        .await;
    println!(
        "measured: {}: away for {:.1} s, the rollout ended {:.1} s later",
        s.name,
        back.duration_since(began).as_secs_f64(),
        back.elapsed().as_secs_f64()
    );
    assert_eq!(after.stable().unwrap(), candidate);
    let outcomes: Vec<String> = after
        .said()
        .history
        .into_iter()
        .map(|entry| entry.outcome)
        .collect();
    assert_eq!(outcomes, ["Promoted", "Promoted"]);
    assert_eq!(after.said().rollout.unwrap().seq, 2);
    s.assert_served_by("web", "1.1.0").await;
    let tally = load.stop();
    tally.assert_spotless();
    println!("measured: {}: {} requests, none failed", s.name, tally.sent());
    assert_eq!(s.notes("RolledBack").await, [""; 0]);
    s.ready_pods(&candidate, 4).await;
}

/// Four pods that serve on for longer than the API server is away: kube-proxy cannot be told that a pod goes.
fn four() -> Manifest {
    podinfo("web", "1.0.0").spec(json!({
        "replicas": 4,
        "terminationGracePeriodSeconds": 30,
        "lifecycle": {"preStop": {"sleep": {"seconds": 25}}},
    }))
}

#[test]
fn a_rollout_outlives_a_killed_api_server() {
    let _alone = alone();
    scenario("api-killed").real_pods().run(async |s| {
        assert_outlived(s, four(), async || {
            cluster(&["apiserver", "restart"]);
            answering().await;
        })
        .await;
    });
}

#[test]
fn a_rollout_outlives_an_absent_api_server() {
    let _alone = alone();
    scenario("api-absent").real_pods().run(async |s| {
        // What is under way, and an operator that starts while there is nobody to ask.
        assert_outlived(s, four(), async || {
            let gone = Away::by("stop");
            s.bounce_operator().await;
            tokio::time::sleep(Duration::from_secs(6)).await;
            drop(gone);
            answering().await;
        })
        .await;
        s.operator_ready().await;
    });
}

#[test]
fn a_rollout_outlives_an_api_server_that_does_not_answer() {
    let _alone = alone();
    // For longer than the operator waits for an answer to a write.
    scenario("api-paused").real_pods().run(async |s| {
        assert_outlived(s, four(), async || away("pause", Duration::from_secs(17)).await).await;
    });
}

#[test]
fn a_settled_service_does_not_notice() {
    let _alone = alone();
    scenario("api-settled").real_pods().run(async |s| {
        node_ready(s).await;
        let before = s
            .deploy(&podinfo("web", "1.0.0").spec(json!({"replicas": 2})))
            .await;
        let stable = before.stable().unwrap();
        let uids = async || {
            s.pods_of(&stable)
                .await
                .iter()
                .filter_map(ResourceExt::uid)
                .collect::<BTreeSet<_>>()
        };
        let pods = uids().await;
        let load = s.load("web").await;
        away("stop", Duration::from_secs(3)).await;
        away("pause", Duration::from_secs(3)).await;
        node_ready(s).await;
        // It works: the change of something that needs no rollout arrives.
        let after = s
            .deploy(&podinfo("web", "1.0.0").spec(json!({"replicas": 3})))
            .await;
        assert_eq!(after.stable().unwrap(), stable);
        s.ready_pods(&stable, 3).await;
        load.stop().assert_spotless();
        assert!(uids().await.is_superset(&pods));
        assert_eq!(after.said().rollout.unwrap().seq, 1);
    });
}

#[test]
fn a_broken_candidate_is_taken_back_all_the_same() {
    let _alone = alone();
    scenario("api-broken").real_pods().run(async |s| {
        node_ready(s).await;
        let good = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 3, "strategy": {"bakeSeconds": 60, "maxCrashes": 0}}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let load = s.load("web").await;
        let pods = s.record::<Pod>();
        s.apply(
            &good
                .version("2.0.0")
                .env("EXIT_AFTER_SECONDS", "0")
                .env("EXIT_MESSAGE", "fatal: cannot open the ledger"),
        )
        .await;
        let candidate = s.candidate("web").await;
        pods.first("a pod of the candidate", |pod| revision_of(pod) == candidate)
            .await;
        // It crashes while nobody can write down that it does.
        away("stop", Duration::from_secs(5)).await;
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        let cause = after.said().rollout.unwrap().cause.unwrap();
        assert_eq!(cause.blame, Blame::Candidate);
        // What the kubelet could write down first when the API server was back: that the container waits to be started
        // again, or that it has failed so often.
        assert!(
            ["CrashLoopBackOff", "TooManyCrashes"].contains(&cause.reason.as_str()),
            "{cause:?}"
        );
        assert!(
            cause.message.contains("fatal: cannot open the ledger"),
            "{}",
            cause.message
        );
        s.ready_pods(&stable, 3).await;
        assert_eq!(s.pods_of(&candidate).await.len(), 0);
        s.assert_served_by("web", "1.0.0").await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0"]);
    });
}

/// Lets the node take pods again, whatever happens.
struct Cordoned(String);

impl Drop for Cordoned {
    fn drop(&mut self) {
        let _ = kubectl(&["uncordon", &self.0], None);
    }
}

#[test]
fn a_drain_is_not_held_against_the_candidate() {
    let _alone = alone();
    scenario("drain").real_pods().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "replicas": 3,
            "disruptionBudget": {"mode": "Disabled"},
            "strategy": {"bakeSeconds": 12, "maxCrashes": 0},
        }));
        node_ready(s).await;
        s.deploy(&manifest).await;
        s.apply(&manifest.version("1.1.0")).await;
        let found = s
            .wait_for("web", "to bake", |found| {
                found.is_current() && found.state() == Some(RolloutState::Baking)
            })
            .await;
        let candidate = found.candidate().unwrap();
        let nodes: Api<Node> = Api::all(s.client.clone());
        let node = nodes
            .list(&Default::default())
            .await
            .unwrap()
            .items
            .remove(0)
            .name_any();
        let before: Vec<Pod> = s.pods_of(&candidate).await;
        {
            let _cordoned = Cordoned(node.clone());
            let selector = format!("--pod-selector=microservice.dev/revision={candidate}");
            let timeout = format!("--timeout={}s", patience().as_secs());
            s.kubectl(&["drain", &node, &selector, &timeout]).ok();
        }
        s.ready_pods(&candidate, 3).await;
        let after: Vec<Pod> = s.pods_of(&candidate).await;
        assert!(
            after
                .iter()
                .all(|pod| before.iter().all(|old| old.uid() != pod.uid())),
            "all pods are new"
        );
        assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
    });
}
