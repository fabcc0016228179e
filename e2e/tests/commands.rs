//! What people and pipelines say by annotation while a release goes on, as the API server carries it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::release::{
    by_hand, canary, in_force, in_state, is_in_force, promote, rollout, step_value, timed, trial_value,
};
use e2e::scenario::is_ready;
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use microservice_operator::api::{CommandOutcome, Microservice, Phase, RolloutState};
use serde_json::{Value, json};

/// A service whose traffic its pods divide.
fn service(steps: Value) -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 3}))
        .spec(canary(steps))
        .spec(json!({"strategy": {"bakeSeconds": 1, "drainSeconds": 1}}))
}

/// What became of a command.
fn outcome(found: &Microservice, verb: &str) -> Option<(String, CommandOutcome)> {
    let all = found.said().commands;
    let command = all.into_iter().find(|command| command.verb == verb)?;
    Some((command.value, command.outcome.unwrap_or(CommandOutcome::Done)))
}

/// Panics where the state of the rollout is not what it was throughout a second or two.
async fn assert_stays(s: &Scenario, what: &str, is: impl Fn(&Microservice) -> bool) {
    throughout(Duration::from_secs(3), what, async || {
        let found = s.service("web").await;
        if is(&found) {
            Ok(())
        } else {
            Err(format!("{:?}", found.said().message))
        }
    })
    .await;
}

async fn unannotate(s: &Scenario, verb: &str) {
    let patch = json!({"metadata": {"annotations": {format!("microservice.dev/{verb}"): null}}});
    s.patch::<Microservice>("web", "e2e-annotate", patch).await;
}

#[test]
fn promote_ends_the_step_that_it_names_and_what_is_stale_is_told_once() {
    scenario("command-promote").run(async |s| {
        // Long enough to say something in; then the next one comes, whatever has been said.
        let steps = json!([{"weight": 25, "durationSeconds": 20}, {"weight": 50, "pause": "Manual"}]);
        let first = service(steps);
        s.deploy(&first).await;
        s.apply(&first.version("1.1.0")).await;
        let one = in_force(s, "web", 1).await;
        // A step that is not there yet: it must hit nothing when it comes.
        let early = format!("{}/2", trial_value(&one));
        s.annotate("web", "microservice.dev/promote", &early).await;
        s.event("CommandIgnored", &early).await;
        let found = s
            .wait_for("web", "to note the command", |found| {
                outcome(found, "promote").is_some()
            })
            .await;
        assert_eq!(
            outcome(&found, "promote"),
            Some((early.clone(), CommandOutcome::Ignored))
        );
        let two = in_force(s, "web", 2).await;
        assert_eq!(step_value(&two), early);
        assert_stays(s, "step 2", |found| is_in_force(found, 2)).await;
        assert_eq!(s.notes("CommandIgnored").await.len(), 1);
        let other = "web-other/1/2";
        s.annotate("web", "microservice.dev/promote", other).await;
        s.event("CommandIgnored", other).await;
        assert_stays(s, "step 2", |found| is_in_force(found, 2)).await;
        s.restart_operator().await;
        assert_stays(s, "step 2", |found| is_in_force(found, 2)).await;
        assert_eq!(s.notes("CommandIgnored").await.len(), 2);
        // The same value, said again after another one: now it is for the step that has come.
        promote(s, &two).await;
        let after = s.healthy("web").await;
        assert_eq!(after.stable(), rollout(&two).candidate);
        assert_eq!(
            outcome(&after, "promote"),
            Some((step_value(&two), CommandOutcome::Done))
        );
        // What was carried out is not stale.
        assert_eq!(s.notes("CommandIgnored").await.len(), 2);
    });
}

#[test]
fn promote_full_skips_the_steps_and_not_the_pods() {
    scenario("command-full").run(async |s| {
        let first = service(by_hand(&[25, 50]));
        s.deploy(&first).await;
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        let value = trial_value(&found);
        let candidate = found.candidate().unwrap();
        s.annotate("web", "microservice.dev/promote-full", &value).await;
        let promoting = in_state(s, "web", RolloutState::Promoting).await;
        // The pods themselves: a Deployment's own count comes after them.
        let pods = s.pods_of(&candidate).await;
        assert_eq!(pods.iter().filter(|pod| is_ready(pod)).count(), 3);
        assert_eq!(
            outcome(&promoting, "promote-full"),
            Some((value, CommandOutcome::Done))
        );
        let after = s.healthy("web").await;
        assert_eq!(after.stable(), Some(candidate));
        assert_eq!(s.notes("CommandIgnored").await.len(), 0);
    });
}

#[test]
fn pause_holds_a_step_until_it_is_taken_away() {
    scenario("command-pause").run(async |s| {
        // Long enough to say so in.
        let first = service(timed(&[25, 50], 10));
        s.deploy(&first).await;
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        s.annotate("web", "microservice.dev/pause", &trial_value(&found))
            .await;
        s.wait_for("web", "to be paused", |found| {
            found.said().phase == Some(Phase::Paused)
        })
        .await;
        // Longer than the step lasts.
        throughout(Duration::from_secs(12), "step 1", async || {
            let found = s.service("web").await;
            let is = is_in_force(&found, 1) && found.said().phase == Some(Phase::Paused);
            if is {
                Ok(())
            } else {
                Err(format!("{:?}", found.said().message))
            }
        })
        .await;
        unannotate(s, "pause").await;
        in_force(s, "web", 2).await;
        let after = s.healthy("web").await;
        assert_eq!(after.stable(), found.candidate());
    });
}

#[test]
fn a_freeze_lets_no_revision_begin_and_says_so() {
    scenario("command-freeze").run(async |s| {
        let first = service(timed(&[50], 0));
        let stable = s.deploy(&first).await.stable();
        s.annotate("web", "microservice.dev/freeze", "end of year").await;
        s.apply(&first.version("1.1.0")).await;
        let frozen = s
            .wait_for("web", "to be frozen", |found| {
                found.is_current() && found.said().phase == Some(Phase::Paused)
            })
            .await;
        let message = frozen.said().message.unwrap();
        assert!(message.contains("end of year"), "{message}");
        assert_stays(s, "the freeze", |found| {
            found.state() == Some(RolloutState::Steady) && found.stable() == stable
        })
        .await;
        assert_eq!(s.list::<Deployment>().await.len(), 1);
        unannotate(s, "freeze").await;
        let after = s.healthy("web").await;
        assert_ne!(after.stable(), stable);
    });
}

#[test]
fn expedite_goes_out_in_full_size_without_steps() {
    scenario("command-expedite").run(async |s| {
        let first = service(by_hand(&[25, 50]));
        s.deploy(&first).await;
        let urgent = first
            .version("1.1.0")
            .metadata(json!({"annotations": {"microservice.dev/expedite": "registry.local/podinfo:1.1.0"}}));
        let record = s.record::<Microservice>();
        s.apply(&urgent).await;
        let after = s
            .wait_for("web", "to be healthy", |found| {
                found.is_healthy() && found.metadata.generation == Some(2)
            })
            .await;
        let courses: BTreeSet<_> = record
            .all()
            .into_iter()
            .filter_map(|sighting| sighting.object.said().rollout?.course)
            .map(|course| format!("{course:?}"))
            .collect();
        assert_eq!(courses, ["FullSize".to_owned()].into());
        assert_eq!(after.said().history[0].outcome, "Promoted");
        // The next one takes its steps: the word was for that image.
        s.apply(&urgent.version("2.0.0")).await;
        in_force(s, "web", 1).await;
    });
}

#[test]
fn a_rollback_out_of_a_step_is_a_persons_word_that_is_kept() {
    scenario("command-rollback").run(async |s| {
        let first = service(by_hand(&[50]));
        let stable = s.deploy(&first).await.stable().unwrap();
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        let candidate = found.candidate().unwrap();
        s.annotate(
            "web",
            "microservice.dev/rollback",
            &format!("{candidate}/{stable}"),
        )
        .await;
        let after = s.taken_back("web").await;
        assert_eq!(after.stable(), Some(stable));
        assert_eq!(rollout(&after).cause.unwrap().reason, "RollbackRequested");
        assert!(after.revision(&candidate).unwrap().rejected.is_some());
        // Until a person asks for another trial.
        s.annotate("web", "microservice.dev/retry", &format!("{candidate}/1"))
            .await;
        let again = in_force(s, "web", 1).await;
        assert_eq!(trial_value(&again), format!("{candidate}/2"));
    });
}
