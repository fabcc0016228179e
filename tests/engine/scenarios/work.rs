//! Jobs before a revision's pods, and hooks before a step's traffic.

use microservice_operator::api::{Blame, Phase, RolloutState};
use microservice_operator::health::{Fault, JobOutcome};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{CallOutcome, Edge};
use serde_json::{Value, json};

use super::routes::{canary, gateway};
use crate::world::{World, spec_with};

fn migrating(more: &Value) -> World {
    let mut spec = spec_with("a", 2, json!({}));
    spec.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    let mut world = World::serving_spec(spec);
    world.set(
        "preDeploy",
        json!([{"name": "schema", "command": ["migrate"]}, {"name": "data", "command": ["fill"]}]),
    );
    world
}

fn failed(words: &str) -> JobOutcome {
    JobOutcome::Failed(Fault {
        blame: Blame::Candidate,
        reason: "JobFailed".to_owned(),
        message: words.to_owned(),
    })
}

fn jobs(world: &World) -> Vec<String> {
    let jobs = world
        .api
        .objects
        .iter()
        .filter(|(key, _)| key.0 == ChildKind::Job);
    let mut tags: Vec<String> = jobs.map(|(_, job)| world.job_tag(job)).collect();
    tags.sort();
    tags
}

pub fn jobs_come_before_pods() -> World {
    let mut world = migrating(&json!({}));
    world.image("b");
    world.run(2000);
    // As long as they take: the deadline is for pods.
    assert_eq!(world.state(), Some(RolloutState::Rolling));
    assert_eq!((world.asked("a"), world.asked("b")), (2, 0));
    assert_eq!(jobs(&world), ["migrate"]);
    assert!(world.status().message.unwrap().ends_with("Job schema to succeed"));
    world.job_ends("migrate", JobOutcome::Succeeded);
    world.run(5);
    assert_eq!(jobs(&world), ["fill", "migrate"]);
    assert_eq!(world.asked("b"), 0);
    world.job_ends("fill", JobOutcome::Succeeded);
    world.until_state(RolloutState::Baking);
    world.run(100);
    world.assert_steady("b");
    assert_eq!(jobs(&world), [""; 0]);
    // They never run again for it, whatever happens to the status.
    world.lose_status();
    world.set("replicas", json!(3));
    world.run(100);
    world.assert_steady("b");
    assert_eq!(jobs(&world), [""; 0]);
    world
}

#[test]
fn a_job_that_fails_takes_the_revision_back_before_it_has_pods() {
    let mut world = migrating(&json!({}));
    world.job_ends("migrate", failed("exit code 3: table orders is locked"));
    world.image("b");
    world.run(20);
    world.assert_steady("a");
    let cause = world.rollout().cause.unwrap();
    assert_eq!(cause.reason, "PreDeployFailed");
    assert_eq!(cause.message, "Job schema: exit code 3: table orders is locked");
    // What it said can be read as long as the revision is held back.
    assert_eq!(jobs(&world), ["migrate"]);
    world.job_ends("migrate", JobOutcome::Succeeded);
    world.job_ends("fill", JobOutcome::Succeeded);
    world.retry("b", 1);
    world.run(200);
    world.assert_steady("b");
}

#[test]
fn the_first_revision_waits_for_its_jobs_too() {
    let mut world = World::new(spec_with(
        "a",
        1,
        json!({"preDeploy": [{"name": "schema", "command": ["migrate"]}]}),
    ));
    world.job_ends("migrate", failed("exit code 3"));
    world.run(100);
    assert_eq!(world.phase(), Some(Phase::Degraded));
    assert_eq!(world.asked("a"), 0);
    world.retry("a", 1);
    world.job_ends("migrate", JobOutcome::Succeeded);
    world.run(100);
    world.assert_steady("a");
}

fn hooked() -> World {
    let mut world = World::serving_spec(spec_with(
        "a",
        4,
        json!({"strategy": {"type": "Canary", "canary": {"steps": [
            {"weight": 25, "durationSeconds": 10, "hooks": [
                {"name": "smoke", "job": {"command": ["smoke"]}},
                {"name": "tell", "webhook": {"url": "http://tell/"}},
            ]},
            {"weight": 50, "durationSeconds": 10, "hooks": [{"name": "load", "webhook": {"url": "http://load/"}}]},
        ]}}}),
    ));
    world.image("b");
    world
}

#[test]
fn hooks_come_before_the_traffic_of_their_step() {
    let mut world = hooked();
    world.run(100);
    assert_eq!((world.asked("b"), world.selected().as_deref()), (1, Some("a")));
    assert_eq!(jobs(&world), ["smoke"]);
    assert!(world.calls.is_empty());
    world.job_ends("smoke", JobOutcome::Succeeded);
    world.run(100);
    assert_eq!(world.selected().as_deref(), Some("a"));
    assert_eq!(world.calls.len(), 1);
    world.call_ends("tell", &CallOutcome::Succeeded);
    world.until(30, "step 2", |world| world.rollout().step == Some(2));
    world.run(100);
    // The next one waits at what the first one had.
    assert_eq!((world.asked("a"), world.asked("b")), (4, 1));
    world.call_ends("load", &CallOutcome::Succeeded);
    world.until_state(RolloutState::Baking);
    assert!(world.calls.is_empty(), "{:?}", world.calls);
    assert_eq!(
        world
            .edges()
            .iter()
            .filter(|edge| **edge == Edge::InForce)
            .count(),
        2
    );
}

#[test]
fn a_hook_that_fails_takes_the_revision_back() {
    let mut world = hooked();
    world.job_ends("smoke", JobOutcome::Succeeded);
    world.call_ends("tell", &CallOutcome::Failed("tell answered 500".to_owned()));
    world.until_state(RolloutState::Returning);
    world.run(20);
    world.assert_steady("a");
    let cause = world.rollout().cause.unwrap();
    assert_eq!(
        (cause.reason.as_str(), cause.message.as_str()),
        ("HookFailed", "webhook tell: tell answered 500")
    );
}

#[test]
fn a_hook_that_has_passed_is_not_asked_again_after_a_restart() {
    let mut world = hooked();
    world.job_ends("smoke", JobOutcome::Succeeded);
    world.call_ends("tell", &CallOutcome::Succeeded);
    world.until(60, "the hooks to have passed", |world| {
        world.rollout().hooks_passed_at.is_some()
    });
    world.hooks.clear();
    world.calls.clear();
    world.restart();
    world.until(30, "step 2", |world| world.rollout().step == Some(2));
    assert!(
        world.calls.keys().all(|key| key.ends_with("/load")),
        "{:?}",
        world.calls
    );
}

#[test]
fn a_hook_that_takes_long_leaves_its_step_the_whole_deadline() {
    for routes in [json!([]), gateway()] {
        let steps = json!([{"weight": 25, "durationSeconds": 10, "hooks": [
            {"name": "smoke", "job": {"command": ["smoke"]}},
        ]}]);
        let mut world = canary(4, routes, steps);
        world.image("b");
        // Longer than the deadline of 600 s: hooks have limits of their own.
        world.run(700);
        world.assert_state(RolloutState::Rolling);
        world.job_ends("smoke", JobOutcome::Succeeded);
        world.until_state(RolloutState::Baking);
        assert!(!world.edges().contains(&Edge::Reject), "{}", world.story());
    }
}

#[test]
fn a_step_that_is_edited_has_its_hooks_to_itself() {
    let mut world = hooked();
    world.job_ends("smoke", JobOutcome::Succeeded);
    world.call_ends("tell", &CallOutcome::Succeeded);
    world.until_step(1);
    // The same number and the same hooks, for twice the traffic.
    world.hooks.clear();
    let mut edited = json!(world.api.service.spec)["strategy"]["canary"]["steps"].clone();
    edited[0]["weight"] = json!(50);
    world.set("strategy.canary.steps", edited);
    world.run(60);
    assert_eq!(jobs(&world), ["smoke", "smoke"], "{}", world.story());
    assert!(
        world.calls.len() == 1 && world.calls.values().all(|call| *call == CallOutcome::Running),
        "{:?}",
        world.calls
    );
    assert_eq!(
        (world.rollout().step, world.rollout().in_force_at),
        (Some(1), None),
        "{}",
        world.story()
    );
    world.call_ends("tell", &CallOutcome::Succeeded);
    world.until_step(1);
}
