//! The API server goes away and comes back. These tests disturb everything else, so they are a file of their own and
//! run one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::environment::cluster;
use e2e::status::StatusExt;
use e2e::{Scenario, podinfo, scenario};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::{Api, ResourceExt};
use microservice_operator::api::RolloutState;
use serde_json::json;

/// One at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Disturbs the API server in the middle of a rollout.
async fn amid_a_rollout(s: &Scenario, disturb: impl AsyncFnOnce()) {
    let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 4}));
    let first = s.deploy(&manifest).await.stable().unwrap();
    let load = s.load("web").await;
    s.apply(&manifest.version("1.1.0")).await;
    s.candidate("web").await;
    disturb().await;
    let after = s
        .wait_for("web", "to have the new revision", |found| {
            found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
        })
        .await;
    load.stop().assert_spotless();
    assert_eq!(after.said().rollout.unwrap().seq, 2);
    assert_eq!(s.notes("RolledBack").await, [""; 0]);
}

#[test]
fn a_rollout_survives_a_restart_of_the_api_server() {
    let _alone = alone();
    scenario("api-restart").real_pods().run(async |s| {
        amid_a_rollout(s, async || {
            cluster(&["apiserver", "restart"]);
        })
        .await;
    });
}

/// Lets the API server go on, whatever happens.
struct Paused;

impl Drop for Paused {
    fn drop(&mut self) {
        cluster(&["apiserver", "resume"]);
    }
}

#[test]
fn a_rollout_survives_an_api_server_that_does_not_answer() {
    let _alone = alone();
    scenario("api-pause").real_pods().run(async |s| {
        amid_a_rollout(s, async || {
            cluster(&["apiserver", "pause"]);
            let _paused = Paused;
            // For longer than the operator waits for an answer.
            tokio::time::sleep(Duration::from_secs(17)).await;
        })
        .await;
    });
}

/// Lets the node take pods again, whatever happens.
struct Cordoned(String);

impl Drop for Cordoned {
    fn drop(&mut self) {
        let _ = e2e::kubectl::kubectl(&["uncordon", &self.0], None);
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
        s.deploy(&manifest).await;
        s.apply(&manifest.version("1.1.0")).await;
        let found = s
            .wait_for("web", "to bake", |found| found.is_current() && found.state() == Some(RolloutState::Baking))
            .await;
        let candidate = found.candidate().unwrap();
        let nodes: Api<Node> = Api::all(s.client.clone());
        let node = nodes.list(&Default::default()).await.unwrap().items.remove(0).name_any();
        let before: Vec<Pod> = s.pods_of(&candidate).await;
        {
            let _cordoned = Cordoned(node.clone());
            let selector = format!("--pod-selector=microservice.dev/revision={candidate}");
            s.kubectl(&["drain", &node, &selector, "--timeout=60s"]).ok();
        }
        s.ready_pods(&candidate, 3).await;
        let after: Vec<Pod> = s.pods_of(&candidate).await;
        assert!(after.iter().all(|pod| before.iter().all(|old| old.uid() != pod.uid())), "all pods are new");
        assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
    });
}
