//! A service that is delivered by Argo CD: its real application controller and repo server, with the health check and the
//! actions of contrib/argo-cd, against a git repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::adoption;
use e2e::argo_cd::{Application, SelfHeal, Standing};
use e2e::environment::say;
use e2e::release::canary;
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, eventually, podinfo, scenario};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::{Value, json};

/// The service, in the first wave.
fn service(manifest: Manifest) -> Value {
    let steps = json!([{"weight": 50, "durationSeconds": 5}, {"weight": 50, "pause": "Manual"}]);
    manifest
        .spec(json!({"replicas": 2}))
        .spec(canary(steps))
        .metadata(json!({"annotations": {"argocd.argoproj.io/sync-wave": "0"}}))
        .0
}

/// What comes after it.
fn follower(version: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "follower", "annotations": {"argocd.argoproj.io/sync-wave": "1"}},
        "data": {"version": version},
    })
}

fn position(said: &[Standing], what: &str, is: impl Fn(&Standing) -> bool) -> usize {
    said.iter()
        .position(is)
        .unwrap_or_else(|| panic!("it was never {what}: {said:#?}"))
}

/// Once what a commit says was applied, it is never found to differ.
fn assert_stays_synced(said: &[Standing]) {
    let synced = position(said, "Synced", |standing| standing.sync == "Synced");
    assert!(
        said[synced..].iter().all(|standing| standing.sync == "Synced"),
        "it was OutOfSync again: {said:#?}"
    );
}

#[test]
fn a_canary_by_argo_cd_waits_is_promoted_and_is_taken_back_without_a_difference_to_git() {
    scenario("argo-cd").real_pods().run(async |s| {
        let app = Application::create(s, &[service(podinfo("web", "1.0.0")), follower("1")]).await;
        let record = app.record();
        let first = app.head();
        app.until("to be synced and healthy", |now| {
            now.commit == first
                && now.sync == "Synced"
                && now.health == "Healthy"
                && now.operation == "Succeeded"
        })
        .await;
        let stable = s.healthy("web").await.stable().unwrap();
        let version = async || {
            let follower: ConfigMap = s.get("follower").await;
            follower.data.unwrap()["version"].clone()
        };
        assert_eq!(version().await, "1");

        // A new version: a canary, which waits for a person, and holds what comes after it.
        let second = app.commit(&[service(podinfo("web", "1.1.0")), follower("2")]);
        app.refresh().await;
        app.until("to wait for a person", |now| {
            now.commit == second && now.health == "Suspended"
        })
        .await;
        assert_eq!(version().await, "1", "the next wave waits for the canary");
        assert_eq!(app.standing().await.operation, "Running");
        let said = app.said(&record, &second);
        let progressing = position(&said, "Progressing", |now| now.health == "Progressing");
        let suspended = position(&said, "Suspended", |now| now.health == "Suspended");
        assert!(progressing < suspended, "{said:#?}");

        // What makes no sense is not offered; what makes sense ends the wait.
        let refused = app.act("web", "retry").await.expect_err("nothing was taken back");
        assert!(refused.contains("disabled"), "{refused}");
        app.act("web", "promote").await.unwrap();
        app.until("to be healthy with the second version", |now| {
            now.commit == second
                && now.sync == "Synced"
                && now.health == "Healthy"
                && now.operation == "Succeeded"
        })
        .await;
        assert_eq!(version().await, "2");
        let promoted = s.healthy("web").await.stable().unwrap();
        assert_ne!(promoted, stable);
        assert_stays_synced(&app.said(&record, &second));

        // A bad version is taken back: Degraded, and its sync has failed.
        let third = app.commit(&[
            service(podinfo("web", "2.0.0").spec(json!({"args": ["--no-such-flag"]}))),
            follower("3"),
        ]);
        app.refresh().await;
        app.until("to be degraded", |now| {
            now.commit == third && now.health == "Degraded" && now.operation == "Failed"
        })
        .await;
        let back = s.taken_back("web").await;
        assert_eq!(back.stable().as_deref(), Some(promoted.as_str()));
        assert_eq!(version().await, "2", "what was to come after it has not come");
        let seq = back.said().rollout.unwrap().seq;

        // The same commit again, as often as one likes, is no retry.
        for _ in 0..2 {
            let before = app.object().await.data["status"]["operationState"]["startedAt"].clone();
            app.sync(&third).await;
            eventually("another sync to end", async || {
                let object = app.object().await;
                let state = &object.data["status"]["operationState"];
                let ended = state["startedAt"] != before && state["phase"] != "Running";
                if ended { Ok(()) } else { Err(state.to_string()) }
            })
            .await;
        }
        let again = s.service("web").await;
        assert_eq!(again.said().rollout.unwrap().seq, seq, "nobody asked for a retry");
        assert_eq!(again.stable().as_deref(), Some(promoted.as_str()));
        assert!(
            app.act("web", "promote").await.is_err(),
            "there is nothing to promote"
        );

        // The next commit clears it.
        let fourth = app.commit(&[service(podinfo("web", "1.1.0")), follower("4")]);
        app.refresh().await;
        app.until("to be healthy again", |now| {
            now.commit == fourth
                && now.sync == "Synced"
                && now.health == "Healthy"
                && now.operation == "Succeeded"
        })
        .await;
        assert_eq!(version().await, "4");
        assert_stays_synced(&app.said(&record, &fourth));
        for commit in [&first, &second, &third, &fourth] {
            let said = app.said(&record, commit);
            let words: Vec<String> = said
                .iter()
                .map(|now| format!("{} {} {}", now.sync, now.health, now.operation))
                .collect();
            say(&format!("measured: argo-cd: {words:?}"));
        }
        app.remove().await;
    });
}

/// When what an Application has of old leaves git.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// When it is adopted. Until then nothing may put back what the operator writes on it.
    WhenAdopted,
    /// With the commit that brings the Microservice.
    WithTheMicroservice,
}

/// All that is adopted, by its uids.
async fn uids(s: &Scenario) -> [Option<String>; 4] {
    [
        s.get::<Deployment>("web").await.uid(),
        s.get::<Service>("web").await.uid(),
        s.get::<PodDisruptionBudget>("web-pdb").await.uid(),
        s.get::<HorizontalPodAutoscaler>("web").await.uid(),
    ]
}

/// What Argo CD wrote since then on what is adopted.
fn written_by_argo_cd(s: &Scenario, since: Timestamp) -> Vec<String> {
    let old = [
        "deployments",
        "services",
        "poddisruptionbudgets",
        "horizontalpodautoscalers",
    ];
    let all = s.audit.requests("argocd").into_iter();
    all.filter(|request| {
        request.writes() && request.received > since && old.contains(&request.resource.as_str())
    })
    .map(|request| request.brief())
    .collect()
}

async fn is_adopted_and_released_on_top_of(s: &Scenario, leaves: Leaves) {
    let labels = json!({"app": "web"});
    let port = json!({"port": 9898, "targetPort": "http"});
    let mut old = adoption::objects(&labels, &port);
    // Argo CD waits for the address of an Ingress, which nobody gives here.
    old.retain(|object| object["kind"] != "Ingress");
    old.push(adoption::autoscaler());
    let app = Application::create(s, &old).await;
    let record = app.record();
    let first = app.head();
    app.until("to be synced", |now| now.commit == first && now.sync == "Synced")
        .await;
    adoption::rolled_out(s).await;
    let (pods, objects) = (adoption::pods(s).await, uids(s).await);
    assert_eq!(pods.len(), 3);
    let load = adoption::load(s).await;
    let (manifest, _) = adoption::imported(s).await;

    // The old objects are to stay when they leave git.
    for object in &mut old {
        object["metadata"]["annotations"] = json!({"argocd.argoproj.io/sync-options": "Prune=false"});
    }
    let alone = vec![manifest.clone()];
    match leaves {
        Leaves::WhenAdopted => {
            app.heal(SelfHeal::Off).await;
            app.commit(&[old, alone.clone()].concat());
            app.refresh().await;
        }
        Leaves::WithTheMicroservice => {
            let kept = app.commit(&old);
            app.refresh().await;
            app.until("to keep the old objects", |now| {
                now.commit == kept && now.sync == "Synced"
            })
            .await;
            app.commit(&alone);
            app.refresh().await;
        }
    }
    adoption::adopted(s).await;
    let adopted = Timestamp::now();
    let requests = load.sent();
    let third = match leaves {
        Leaves::WhenAdopted => app.commit(&alone),
        Leaves::WithTheMicroservice => app.head(),
    };
    app.refresh().await;
    app.until("to be the Microservice alone", |now| {
        now.commit == third && now.sync == "Synced" && now.health == "Healthy"
    })
    .await;
    app.heal(SelfHeal::On).await;
    assert_eq!(uids(s).await, objects, "nothing was pruned");
    assert_eq!(adoption::pods(s).await, pods, "no pod is another one");
    assert_eq!(
        adoption::owner(&s.get::<Deployment>("web").await).as_deref(),
        Some("Microservice")
    );

    let mut next = manifest;
    next["spec"]["image"] = json!(adoption::next_image());
    let fourth = app.commit(&[next]);
    app.refresh().await;
    app.until("to be released", |now| {
        now.commit == fourth
            && now.sync == "Synced"
            && now.health == "Healthy"
            && now.operation == "Succeeded"
    })
    .await;
    adoption::served_alone(&load, "1.1.0").await;
    let tally = load.stop();
    tally.assert_spotless();
    assert_eq!(tally.versions(), ["1.0.0", "1.1.0"]);
    s.gone::<Deployment>("web").await;
    assert_eq!(
        written_by_argo_cd(s, adopted),
        [""; 0],
        "nobody writes against the operator"
    );
    for commit in [&third, &fourth] {
        assert_stays_synced(&app.said(&record, commit));
    }
    say(&format!(
        "measured: argo-cd: adopted by {leaves:?}: {requests} requests until then, {} with the release, none failed",
        tally.sent()
    ));
    app.remove().await;
}

#[test]
fn what_leaves_git_when_it_is_adopted_is_not_pruned() {
    scenario("argo-cd-adopt").real_pods().run(async |s| {
        is_adopted_and_released_on_top_of(s, Leaves::WhenAdopted).await;
    });
}

#[test]
fn what_leaves_git_with_the_adopting_commit_is_not_healed() {
    scenario("argo-cd-heal").real_pods().run(async |s| {
        is_adopted_and_released_on_top_of(s, Leaves::WithTheMicroservice).await;
    });
}
