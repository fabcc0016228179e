//! A change that hurts is taken back, by what the pods of a real kubelet show.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::Ipv4Addr;

use axum::Router;
use axum::http::StatusCode;
use e2e::measure::assert_reaction;
use e2e::recorder::{Recorder, Sighting};
use e2e::scenario::{is_ready, revision_of};
use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout};
use e2e::{Manifest, Scenario, misbehave, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ContainerStatus, Node, Pod, Secret};
use kube::api::{EvictParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use microservice_operator::api::{Blame, Microservice, Phase, RolloutState};
use serde_json::json;
use std::time::Duration;

// --- what every rollback must show

/// What a rollback is expected to say.
struct Expected<'a> {
    reason: &'a str,
    /// Words of the container, the kubelet or the scheduler.
    words: &'a str,
    blame: Blame,
}

fn candidate_fault<'a>(reason: &'a str, words: &'a str) -> Expected<'a> {
    Expected {
        reason,
        words,
        blame: Blame::Candidate,
    }
}

fn environment_fault<'a>(reason: &'a str, words: &'a str) -> Expected<'a> {
    Expected {
        reason,
        words,
        blame: Blame::Environment,
    }
}

/// Waits for the end of the rollback of `name` and checks all that it has to leave: status, event, log line, traffic
/// and replicas.
async fn assert_taken_back(s: &Scenario, before: &Microservice, expected: Expected<'_>) -> Microservice {
    let name = before.name_any();
    let Expected { reason, words, blame } = expected;
    let stable = before.stable().unwrap();
    let after = s.taken_back(&name).await;
    let status = after.said();
    let candidate = after.candidate().unwrap();

    assert_eq!(status.phase, Some(Phase::Degraded));
    assert_eq!(after.stable().unwrap(), stable);
    let outer = if blame == Blame::Environment {
        reason
    } else {
        "RolledBack"
    };
    assert_eq!(after.reason("Ready", "False").as_deref(), Some(outer));
    assert_eq!(after.reason("Stalled", "True").as_deref(), Some(outer));
    assert_eq!(after.reason("RolledOut", "False").as_deref(), Some("RolledBack"));
    assert_eq!(after.reason("Available", "True").as_deref(), Some("Serving"));
    assert!(after.condition("Reconciling").is_none());
    assert!(
        status
            .conditions
            .iter()
            .all(|c| c.observed_generation == after.metadata.generation)
    );
    let message = status.message.unwrap();
    assert!(message.contains(reason) && message.contains(words), "{message}");
    let cause = status.rollout.unwrap().cause.unwrap();
    assert_eq!((cause.blame, cause.reason.as_str()), (blame, reason));
    assert!(cause.message.contains(words), "{}", cause.message);
    assert_eq!(status.history[0].outcome, "RolledBack");
    assert_eq!(status.history[0].reason.as_deref(), Some(reason));
    assert_eq!(status.history[0].revision, candidate);
    let rejected = status
        .revisions
        .iter()
        .find(|r| r.name == candidate)
        .unwrap()
        .rejected
        .as_ref();
    assert_eq!(
        rejected.map(|verdict| verdict.reason.as_str()),
        (blame == Blame::Candidate).then_some(reason)
    );

    let note = s.event("RolledBack", words).await;
    assert!(
        note.contains(&candidate) && note.contains(&stable) && note.contains(reason),
        "{note}"
    );
    let line = s
        .log_line("the decision", |line| line["reason"] == "Reject")
        .await;
    assert!(line["message"].as_str().unwrap().contains(words), "{line}");
    assert_eq!(line["level"], "WARN");

    let wanted = usize::try_from(before.spec.operation.replicas).unwrap();
    s.ready_pods(&stable, wanted).await;
    assert_eq!(s.pods_of(&candidate).await.len(), 0);
    assert_eq!(s.selected(&name).await.as_deref(), Some(stable.as_str()));
    assert_eq!(
        status.ready.as_deref(),
        Some(format!("{wanted}/{wanted}").as_str())
    );
    after
}

// --- what pods say

fn containers(pod: &Pod) -> Vec<ContainerStatus> {
    pod.status
        .clone()
        .and_then(|status| status.container_statuses)
        .unwrap_or_default()
}

fn waits_for(pod: &Pod, reason: &str) -> bool {
    containers(pod).iter().any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| waiting.reason.as_deref() == Some(reason))
    })
}

/// How often the containers of a pod have ended.
fn exits(pod: &Pod) -> i32 {
    let ended = |container: &ContainerStatus| {
        container
            .state
            .as_ref()
            .is_some_and(|state| state.terminated.is_some())
    };
    containers(pod)
        .iter()
        .map(|container| container.restart_count + i32::from(ended(container)))
        .sum()
}

/// The state of a pod with which all pods that are no `stable` one's have ended `times`.
async fn sighted_exits(pods: &Recorder<Pod>, stable: &str, times: i32) -> Sighting<Pod> {
    eventually(&format!("{times} exits"), async || {
        let mut counts = std::collections::BTreeMap::new();
        for sighting in pods.all() {
            if revision_of(&sighting.object) != stable {
                counts.insert(sighting.object.name_any(), exits(&sighting.object));
                if counts.values().sum::<i32>() >= times {
                    return Ok(sighting);
                }
            }
        }
        Err(format!("{counts:?}"))
    })
    .await
}

/// Waits until the candidate serves alone and is only watched.
async fn baking(s: &Scenario, name: &str) -> String {
    let found = s
        .wait_for(name, "to bake", |found| {
            found.is_current() && found.state() == Some(RolloutState::Baking)
        })
        .await;
    found.candidate().unwrap()
}

// --- candidate faults

#[test]
fn a_crash_loop_is_taken_back_and_no_request_fails() {
    scenario("crash-loop").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0").spec(json!({"replicas": 3}));
        let before = s.deploy(&good).await;
        s.assert_served_by("web", "1.0.0").await;
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        let bad = good
            .version("2.0.0")
            .env("EXIT_AFTER_SECONDS", "0")
            .env("START_SECONDS", "60");
        s.apply(&bad.env("EXIT_MESSAGE", "fatal: cannot open the ledger"))
            .await;
        assert_taken_back(
            s,
            &before,
            candidate_fault("CrashLoopBackOff", "fatal: cannot open the ledger"),
        )
        .await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0"]);
        let evidence = pods
            .first("a crash loop", |pod| waits_for(pod, "CrashLoopBackOff"))
            .await;
        assert_reaction(s, "web", &before.stable().unwrap(), &evidence).await;
    });
}

#[test]
fn crashes_under_traffic_are_taken_back() {
    scenario("crash-serving").real_pods().run(async |s| {
        // Two pods come at a time, so that the second exit is another pod's and not the second of one, which would be a
        // crash loop; and they live long enough to be ready first, also where that takes seconds. Who is promoted before
        // they exit bakes still.
        let good = misbehave("web", "1.0.0").spec(json!({
            "replicas": 4, "strategy": {"bakeSeconds": 60, "rollingUpdate": {"maxSurge": 2}},
        }));
        let before = s.deploy(&good).await;
        let pods = s.record::<Pod>();
        let bad = good
            .version("2.0.0")
            .env("EXIT_AFTER_SECONDS", "8")
            .env("EXIT_CODE", "7");
        s.apply(&bad.env("EXIT_MESSAGE", "fatal: lost the database"))
            .await;
        let after = assert_taken_back(
            s,
            &before,
            candidate_fault("TooManyCrashes", "fatal: lost the database"),
        )
        .await;
        let message = after.said().message.unwrap();
        assert!(
            message.contains("failed exits while carrying traffic (1 allowed)"),
            "{message}"
        );
        assert!(message.contains("last exit code 7"), "{message}");
        s.assert_served_by("web", "1.0.0").await;
        let stable = before.stable().unwrap();
        let evidence = sighted_exits(&pods, &stable, 2).await;
        assert_reaction(s, "web", &stable, &evidence).await;
    });
}

#[test]
fn a_crash_while_it_bakes_is_taken_back() {
    scenario("crash-baking").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 2, "strategy": {"bakeSeconds": 120, "maxCrashes": 0}}));
        let before = s.deploy(&good).await;
        s.apply(
            &good
                .version("2.0.0")
                .env("EXIT_MESSAGE", "fatal: cache is corrupt"),
        )
        .await;
        let candidate = baking(s, "web").await;
        s.assert_served_by("web", "2.0.0").await;
        let pods = s.record::<Pod>();
        let victim = s.pods_of(&candidate).await.remove(0);
        s.tell(&victim, "/exit?code=3").await;
        assert_taken_back(
            s,
            &before,
            candidate_fault("TooManyCrashes", "fatal: cache is corrupt"),
        )
        .await;
        s.assert_served_by("web", "1.0.0").await;
        let stable = before.stable().unwrap();
        let evidence = sighted_exits(&pods, &stable, 1).await;
        assert_reaction(s, "web", &stable, &evidence).await;
    });
}

#[test]
fn a_container_killed_for_its_memory_is_taken_back() {
    scenario("oom").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0").spec(json!({
            "replicas": 2,
            "resources": {"limits": {"memory": "64Mi"}},
            "strategy": {"bakeSeconds": 120, "maxCrashes": 0},
        }));
        let before = s.deploy(&good).await;
        s.apply(&good.version("2.0.0")).await;
        let candidate = baking(s, "web").await;
        let pods = s.record::<Pod>();
        let victim = s.pods_of(&candidate).await.remove(0);
        s.tell(&victim, "/allocate?mib=200").await;
        assert_taken_back(s, &before, candidate_fault("TooManyCrashes", "OOMKilled")).await;
        s.assert_served_by("web", "1.0.0").await;
        let stable = before.stable().unwrap();
        let evidence = sighted_exits(&pods, &stable, 1).await;
        assert_reaction(s, "web", &stable, &evidence).await;
    });
}

#[test]
fn readiness_lost_by_half_is_taken_back() {
    scenario("unready-half").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0").spec(json!({"replicas": 4, "strategy": {"bakeSeconds": 120}}));
        let before = s.deploy(&good).await;
        s.apply(&good.version("2.0.0")).await;
        let candidate = baking(s, "web").await;
        for pod in s.pods_of(&candidate).await.iter().take(2) {
            s.tell(pod, "/ready?value=false").await;
        }
        assert_taken_back(s, &before, candidate_fault("ReadinessLost", "by 2 of 4 pods")).await;
        s.assert_served_by("web", "1.0.0").await;
    });
}

#[test]
fn readiness_lost_by_one_of_four_is_not() {
    scenario("unready-one").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0").spec(json!({"replicas": 4, "strategy": {"bakeSeconds": 8}}));
        s.deploy(&good).await;
        s.apply(&good.version("2.0.0")).await;
        let candidate = baking(s, "web").await;
        let victim = s.pods_of(&candidate).await.remove(0);
        s.tell(&victim, "/ready?value=false").await;
        // It is promoted all the same, and the status says what is wrong.
        let after = s
            .wait_for("web", "to be promoted with a pod that is not ready", |found| {
                found.stable().as_deref() == Some(candidate.as_str())
                    && found.reason("Ready", "False").as_deref() == Some("PodsNotReady")
            })
            .await;
        assert_eq!(
            after.said().message.unwrap(),
            format!("3 of 4 pods of {candidate} are ready")
        );
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
        s.tell(&victim, "/ready?value=true").await;
        assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
    });
}

#[test]
fn probes_that_never_succeed_are_taken_back_at_the_deadline() {
    scenario("deadline").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 2, "strategy": {"progressDeadlineSeconds": 5}}));
        let before = s.deploy(&good).await;
        let load = s.load("web").await;
        s.apply(&good.version("2.0.0").env("READY", "false")).await;
        let words = "became ready within 5 s: 0 of 2 are";
        assert_taken_back(s, &before, candidate_fault("ProgressDeadlineExceeded", words)).await;
        load.stop().assert_spotless();
    });
}

/// A registry that has no image at all.
async fn empty_registry() -> u16 {
    let router = Router::new().fallback(async |request: axum::extract::Request| {
        if request.uri().path() == "/v2/" {
            return (StatusCode::OK, "{}".to_owned());
        }
        let error = json!({"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown"}]});
        (StatusCode::NOT_FOUND, error.to_string())
    });
    // The container runtime speaks plain HTTP to loopback addresses only.
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await });
    port
}

#[test]
fn an_image_that_the_registry_does_not_have_is_rejected() {
    scenario("image-missing").real_pods().run(async |s| {
        let port = empty_registry().await;
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let before = s.deploy(&good).await;
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        let image = format!("127.0.0.1:{port}/shop/web:2.0.0");
        s.apply(&good.spec(json!({"image": image}))).await;
        assert_taken_back(s, &before, candidate_fault("ImageNotFound", &image)).await;
        load.stop().assert_spotless();
        // A kubelet that was busy says how it goes on only.
        let evidence = pods
            .first("a failed pull", |pod| {
                waits_for(pod, "ErrImagePull") || waits_for(pod, "ImagePullBackOff")
            })
            .await;
        assert_reaction(s, "web", &before.stable().unwrap(), &evidence).await;
    });
}

#[test]
fn an_image_without_a_valid_name_is_rejected() {
    scenario("image-name").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        let before = s.deploy(&good).await;
        s.apply(&good.spec(json!({"image": "registry.local/Podinfo:2.0.0"})))
            .await;
        assert_taken_back(
            s,
            &before,
            candidate_fault("InvalidImageName", "registry.local/Podinfo:2.0.0"),
        )
        .await;
    });
}

#[test]
fn a_missing_key_of_a_secret_that_exists_is_rejected() {
    scenario("secret-key").real_pods().run(async |s| {
        s.create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"old": "1"}}))
            .await;
        let good = podinfo("web", "1.0.0");
        let before = s.deploy(&good).await;
        let key = json!({"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "new"}}});
        s.apply(&good.spec(json!({"env": [key]}))).await;
        let words = "couldn't find key new in Secret";
        assert_taken_back(s, &before, candidate_fault("CreateContainerConfigError", words)).await;
    });
}

#[test]
fn a_command_that_does_not_exist_is_rejected() {
    scenario("no-command").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        let before = s.deploy(&good).await;
        s.apply(&good.spec(json!({"command": ["/nowhere"]}))).await;
        let after = s.taken_back("web").await;
        assert_eq!(after.stable(), before.stable());
        let message = after.said().message.unwrap();
        assert!(message.contains("/nowhere"), "{message}");
    });
}

// --- environment faults

#[test]
fn an_image_that_cannot_be_pulled_is_tried_again() {
    scenario("image-unreachable").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        let before = s.deploy(&good).await;
        // Nothing listens there.
        s.apply(&good.spec(json!({"image": "127.0.0.1:1/shop/web:2.0.0"})))
            .await;
        let after = assert_taken_back(s, &before, environment_fault("ImagePullBackOff", "127.0.0.1:1")).await;
        let again = after
            .said()
            .rollout
            .unwrap()
            .retry_at
            .expect("it is tried again")
            .0;
        assert!(after.said().message.unwrap().contains("it is tried again at "));
        let ended = after.said().history[0].ended_at.clone().expect("it has ended").0;
        let pause = again.duration_since(ended).as_secs();
        assert!((1..=15).contains(&pause), "in {pause} s");
        let second = s
            .wait_for("web", "to be tried again", |found| {
                found
                    .said()
                    .rollout
                    .is_some_and(|rollout| rollout.state == RolloutState::Rolling && rollout.trial == 2)
            })
            .await;
        assert_eq!(second.candidate(), after.candidate());
    });
}

async fn make_secret(s: &Scenario) {
    s.create::<Secret>(json!({"metadata": {"name": "late"}, "stringData": {"KEY": "1"}}))
        .await;
}

fn with_secret(manifest: &Manifest) -> Manifest {
    manifest
        .clone()
        .version("2.0.0")
        .spec(json!({"envFrom": [{"secretRef": {"name": "late"}}]}))
}

#[test]
fn a_missing_secret_that_comes_soon_is_waited_for() {
    scenario("secret-soon").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        s.deploy(&good).await;
        let pods = s.record::<Pod>();
        s.apply(&with_secret(&good)).await;
        pods.first("a pod without its Secret", |pod| {
            waits_for(pod, "CreateContainerConfigError")
        })
        .await;
        make_secret(s).await;
        s.healthy("web").await;
        s.assert_served_by("web", "2.0.0").await;
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
    });
}

#[test]
fn a_missing_secret_that_comes_late_is_tried_again_with_it() {
    scenario("secret-late").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        let before = s.deploy(&good).await;
        s.apply(&with_secret(&good)).await;
        assert_taken_back(
            s,
            &before,
            environment_fault("SecretNotFound", "secret \"late\" not found"),
        )
        .await;
        make_secret(s).await;
        s.healthy("web").await;
        s.assert_served_by("web", "2.0.0").await;
    });
}

async fn label_node(s: &Scenario, label: &str, value: Option<&str>) {
    let nodes: Api<Node> = Api::all(s.client.clone());
    let node = nodes
        .list(&Default::default())
        .await
        .unwrap()
        .items
        .remove(0)
        .name_any();
    let patch = json!({"metadata": {"labels": {label: value}}});
    nodes
        .patch(&node, &PatchParams::default(), &Patch::Merge(&patch))
        .await
        .unwrap();
}

#[test]
fn a_pod_without_a_node_goes_on_when_one_comes() {
    scenario("node-soon").real_pods().run(async |s| {
        let label = format!("e2e/{}", s.namespace);
        let good = podinfo("web", "1.0.0");
        s.deploy(&good).await;
        s.apply(
            &good
                .version("2.0.0")
                .spec(json!({"scheduling": {"nodeSelector": {&label: "yes"}}})),
        )
        .await;
        let candidate = s.candidate("web").await;
        eventually("an unschedulable pod", async || {
            let pods = s.pods_of(&candidate).await;
            let conditions = pods.iter().flat_map(|pod| {
                pod.status
                    .iter()
                    .flat_map(|status| status.conditions.iter().flatten())
            });
            let reasons: Vec<_> = conditions.filter_map(|c| c.reason.clone()).collect();
            if reasons.iter().any(|r| r == "Unschedulable") {
                Ok(())
            } else {
                Err(format!("{reasons:?}"))
            }
        })
        .await;
        label_node(s, &label, Some("yes")).await;
        s.healthy("web").await;
        s.assert_served_by("web", "2.0.0").await;
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
        label_node(s, &label, None).await;
    });
}

#[test]
fn a_pod_without_a_node_for_long_is_tried_again_when_one_has_come() {
    scenario("node-late").real_pods().run(async |s| {
        let label = format!("e2e/{}", s.namespace);
        let good = podinfo("web", "1.0.0").spec(json!({"strategy": {"unschedulableSeconds": 2}}));
        let before = s.deploy(&good).await;
        let selector = json!({"scheduling": {"nodeSelector": {&label: "yes"}}});
        s.apply(&good.version("2.0.0").spec(selector)).await;
        let words = "didn't match Pod's node affinity/selector";
        assert_taken_back(s, &before, environment_fault("Unschedulable", words)).await;
        label_node(s, &label, Some("yes")).await;
        s.healthy("web").await;
        s.assert_served_by("web", "2.0.0").await;
        label_node(s, &label, None).await;
    });
}

// --- what is never held against a revision

#[test]
fn evictions_are_not_held_against_it() {
    scenario("eviction").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2, "strategy": {"bakeSeconds": 20, "maxCrashes": 0}}));
        s.deploy(&good).await;
        s.apply(&good.version("2.0.0")).await;
        let candidate = baking(s, "web").await;
        let api: Api<Pod> = s.api();
        for _ in 0..2 {
            let pods = s.ready_pods(&candidate, 2).await;
            let name = pods[0].name_any();
            // The budget's own count follows the pods a moment later.
            eventually("the eviction to be allowed", async || {
                api.evict(&name, &EvictParams::default())
                    .await
                    .map_err(|error| error.to_string())
            })
            .await;
            s.gone::<Pod>(&name).await;
        }
        assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
    });
}

/// A rollout in its middle: two ready pods of each revision, and nothing more for some seconds. Answers the candidate
/// and the pods.
async fn half_way(s: &Scenario) -> (String, Vec<Pod>, Vec<Pod>) {
    let good = misbehave("web", "1.0.0")
        .spec(json!({"replicas": 4, "strategy": {"rollingUpdate": {"maxSurge": 2}}}));
    let stable = s.deploy(&good).await.stable().unwrap();
    // Two pods come at a time and take 8 s each, which is time enough to break both revisions.
    s.apply(&good.version("2.0.0").env("START_SECONDS", "8")).await;
    let candidate = s.candidate("web").await;
    let first = eventually("two ready pods of the candidate", async || {
        let mut pods = s.pods_of(&candidate).await;
        pods.retain(is_ready);
        if pods.len() == 2 {
            Ok(pods)
        } else {
            Err(format!("{}", pods.len()))
        }
    })
    .await;
    let old = s.ready_pods(&stable, 2).await;
    (candidate, first, old)
}

async fn assert_held_and_released(s: &Scenario, candidate: &str, broken: &[Pod]) {
    for pod in broken {
        s.tell(pod, "/ready?value=false").await;
    }
    let held = s
        .wait_for("web", "to hold", |found| {
            found.reason("Reconciling", "True").as_deref() == Some("Hold")
        })
        .await;
    assert_eq!(held.candidate().as_deref(), Some(candidate));
    assert_eq!(held.said().phase, Some(Phase::Progressing));
    for pod in broken {
        s.tell(pod, "/ready?value=true").await;
    }
    assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
    assert_eq!(s.notes("RolledBack").await, [""; 0]);
    s.assert_served_by("web", "2.0.0").await;
}

#[test]
fn what_stable_shows_too_is_held_and_goes_on_when_it_is_over() {
    scenario("hold").real_pods().run(async |s| {
        let (candidate, first, old) = half_way(s).await;
        // The stable one's first: the candidate's alone would be its own fault.
        let broken: Vec<Pod> = old.into_iter().take(1).chain(first).collect();
        assert_held_and_released(s, &candidate, &broken).await;
    });
}

#[test]
fn an_outage_of_everything_is_held() {
    scenario("outage").real_pods().run(async |s| {
        let (candidate, first, old) = half_way(s).await;
        let broken: Vec<Pod> = old.into_iter().chain(first).collect();
        assert_held_and_released(s, &candidate, &broken).await;
    });
}

// --- nothing to return to

#[test]
fn a_fix_goes_out_while_stable_is_broken() {
    scenario("fix-forward").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0");
        let before = s.deploy(&good).await;
        let pod = s.pods_of(&before.stable().unwrap()).await.remove(0);
        s.tell(&pod, "/ready?value=false").await;
        s.wait_for("web", "to notice", |found| {
            found.reason("Available", "False").is_some()
        })
        .await;
        // A change that does not help.
        s.apply(&good.clone().version("1.1.0").env("READY", "false"))
            .await;
        let candidate = s.candidate("web").await;
        eventually("its pod to run", async || {
            let pods = s.pods_of(&candidate).await;
            let phase = pods.first().and_then(|pod| pod.status.as_ref()?.phase.clone());
            if phase.as_deref() == Some("Running") {
                Ok(())
            } else {
                Err(format!("{phase:?}"))
            }
        })
        .await;
        // The one that does.
        let after = s.deploy(&good.version("2.0.0")).await;
        s.assert_served_by("web", "2.0.0").await;
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
        assert_eq!(after.said().history[0].outcome, "Promoted");
    });
}

#[test]
fn a_first_deployment_that_never_gets_healthy_says_why_and_starts_over() {
    scenario("first").real_pods().run(async |s| {
        let bad = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .env("EXIT_AFTER_SECONDS", "0");
        s.apply(
            &bad.env("START_SECONDS", "60")
                .env("EXIT_MESSAGE", "fatal: no licence"),
        )
        .await;
        let stuck = s
            .wait_for("web", "to say why", |found| {
                found.is_current() && found.reason("Stalled", "True").as_deref() == Some("CrashLoopBackOff")
            })
            .await;
        let status = stuck.said();
        assert_eq!(status.phase, Some(Phase::Degraded));
        assert_eq!(
            stuck.reason("Ready", "False").as_deref(),
            Some("CrashLoopBackOff")
        );
        assert!(
            status.message.as_ref().unwrap().contains("fatal: no licence"),
            "{:?}",
            status.message
        );
        assert_eq!(stuck.state(), Some(RolloutState::Starting));
        let candidate = stuck.candidate().unwrap();
        throughout(Duration::from_secs(2), "what was made", async || {
            let deployment = s
                .find::<Deployment>(&candidate)
                .await
                .ok_or("the Deployment is gone")?;
            match deployment.spec.unwrap().replicas {
                Some(2) => Ok(()),
                other => Err(format!("{other:?} replicas")),
            }
        })
        .await;
        let after = s
            .deploy(&misbehave("web", "1.1.0").spec(json!({"replicas": 2})))
            .await;
        s.assert_served_by("web", "1.1.0").await;
        s.gone::<Deployment>(&candidate).await;
        assert_ne!(after.stable().unwrap(), candidate);
    });
}
