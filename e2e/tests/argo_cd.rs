//! A service that is delivered by Argo CD: its real application controller and repo server, with the health check and the
//! actions of contrib/argo-cd, against a git repository.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::argo_cd::{Application, Standing};
use e2e::environment::say;
use e2e::release::canary;
use e2e::status::StatusExt;
use e2e::{Manifest, eventually, podinfo, scenario};
use k8s_openapi::api::core::v1::ConfigMap;
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
        let first = [
            ("web", service(podinfo("web", "1.0.0"))),
            ("follower", follower("1")),
        ];
        let app = Application::create(s, &first).await;
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
        let second = app.commit(&[
            ("web", service(podinfo("web", "1.1.0"))),
            ("follower", follower("2")),
        ]);
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
            (
                "web",
                service(podinfo("web", "2.0.0").spec(json!({"args": ["--no-such-flag"]}))),
            ),
            ("follower", follower("3")),
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
        let fourth = app.commit(&[
            ("web", service(podinfo("web", "1.1.0"))),
            ("follower", follower("4")),
        ]);
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
