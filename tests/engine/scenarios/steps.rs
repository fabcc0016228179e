//! Canary and blue/green, where the Service splits the traffic by numbers of pods.

use microservice_operator::api::{Phase, RolloutState, annotations};
use microservice_operator::rollout::Edge;
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::world::{World, spec_with};

/// A service with these steps, of 10 pods and a surge of one.
fn canary(replicas: i32, steps: Value) -> World {
    World::serving_spec(spec_with(
        "a",
        replicas,
        json!({"strategy": {
            "type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 20,
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }}),
    ))
}

fn step(world: &World) -> (i32, i32) {
    let rollout = world.rollout();
    (rollout.step.unwrap_or_default(), rollout.weight)
}

pub fn canary_by_pods() -> World {
    let steps = json!([
        {"weight": 10, "durationSeconds": 30}, {"weight": 50, "durationSeconds": 30}, {"pause": "Manual"},
    ]);
    let mut world = canary(10, steps);
    world.image("b");
    world.until(60, "step 1 to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    // Eleven pods, of which one is as near to 10 % as it gets.
    assert_eq!((world.asked("a"), world.asked("b")), (10, 1));
    assert_eq!(world.selected().as_deref(), Some("all"));
    assert_eq!(step(&world), (1, 10));
    assert_eq!(world.rollout().effective_weight, 9);
    world.until(60, "step 2", |world| step(world).0 == 2);
    world.until(120, "step 2 to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    assert_eq!((world.asked("a"), world.asked("b")), (5, 6));
    assert_eq!(world.rollout().effective_weight, 55);
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    assert_eq!(step(&world), (3, 50));
    assert_eq!(
        world.summary(),
        ["Unknown Paused", "True Paused", "-", "True Serving"]
    );
    world.run(2000);
    assert_eq!(step(&world), (3, 50));
    let value = format!("{}/1/3", world.name("b"));
    world.annotate(annotations::PROMOTE, &value);
    world.until_state(RolloutState::Baking);
    assert_eq!(world.selected().as_deref(), Some("b"));
    world.run(5);
    // The old one is warm while the new one is watched.
    assert_eq!((world.asked("a"), world.asked("b")), (10, 10));
    world.run(30);
    world.assert_steady("b");
    assert!(world.deployment("a").is_none());
    world
}

pub fn a_person_aborts() -> World {
    let mut world = canary(4, json!([{"weight": 25, "pause": "Manual"}]));
    world.image("b");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    let value = format!("{}/1", world.name("b"));
    world.annotate(annotations::ABORT, &value);
    world.run(30);
    world.assert_steady("a");
    assert_eq!(world.summary()[2], "True RolledBack");
    // It stays: neither time nor the left-over annotation tries it again or hits another one.
    world.run(1000);
    world.assert_steady("a");
    world.image("c");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    assert_eq!(world.rollout().candidate, Some(world.name("c")));
    world
}

pub fn a_person_skips_the_steps() -> World {
    let mut world = canary(
        4,
        json!([{"weight": 25, "pause": "Manual"}, {"weight": 50, "durationSeconds": 3000}]),
    );
    world.image("b");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    let value = format!("{}/1", world.name("b"));
    world.annotate(annotations::PROMOTE_FULL, &value);
    world.until_state(RolloutState::Baking);
    world.run(30);
    world.assert_steady("b");
    world
}

pub fn the_steps_are_edited() -> World {
    let steps = json!([{"weight": 25, "durationSeconds": 3000}, {"weight": 50, "durationSeconds": 3000}]);
    let mut world = canary(8, steps);
    world.image("b");
    world.until(60, "step 1 to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    let since = world.rollout().in_force_at;
    // Another one before it: the same step under another number, and its time goes on.
    let edited = json!([{"weight": 10, "durationSeconds": 3000}, {"weight": 25, "durationSeconds": 3000}, {"weight": 50}]);
    world.set("strategy.canary.steps", edited);
    world.run(5);
    assert_eq!(step(&world), (2, 25));
    assert_eq!(world.rollout().in_force_at, since);
    // It is gone: on at the first one with at least its weight.
    world.set(
        "strategy.canary.steps",
        json!([{"weight": 10}, {"weight": 40, "pause": "Manual"}]),
    );
    world.run(5);
    assert_eq!(step(&world), (2, 40));
    // All are smaller: at the last one.
    world.set(
        "strategy.canary.steps",
        json!([{"weight": 5}, {"weight": 12, "pause": "Manual"}]),
    );
    world.run(60);
    assert_eq!(step(&world), (2, 12));
    assert_eq!(world.phase(), Some(Phase::Paused));
    world
}

#[test]
fn blue_green_flips_once() {
    let mut world = World::serving_spec(spec_with(
        "a",
        3,
        json!({"strategy": {"type": "BlueGreen", "bakeSeconds": 30, "blueGreen": {"switch": "Manual"}}}),
    ));
    world.image("b");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    assert_eq!((world.asked("a"), world.asked("b")), (3, 3));
    assert_eq!(world.selected().as_deref(), Some("a"));
    let value = format!("{}/1/1", world.name("b"));
    world.annotate(annotations::PROMOTE, &value);
    world.until_state(RolloutState::Baking);
    world.assert_order(&[
        "status Promoting a b",
        "apply Service shop b",
        "status Baking a b",
    ]);
    world.run(40);
    world.assert_steady("b");
    assert_eq!(
        world.edges()[2..],
        [
            Edge::Roll,
            Edge::InForce,
            Edge::Advance,
            Edge::Promote,
            Edge::Bake,
            Edge::Finish
        ]
    );
}

#[test]
fn a_candidate_that_crashes_in_a_step_is_taken_back_at_once() {
    let mut world = canary(
        10,
        json!([{"weight": 10, "durationSeconds": 30}, {"weight": 50, "durationSeconds": 300}]),
    );
    world.script("b", Behaviour::CrashAfter(60));
    world.image("b");
    world.until_state(RolloutState::Returning);
    world.run(30);
    world.assert_steady("a");
    assert_eq!(
        world.rollout().cause.map(|cause| cause.reason).as_deref(),
        Some("CrashLoopBackOff")
    );
}

#[test]
fn pods_that_are_too_few_wait_for_a_person() {
    let mut world = canary(1, json!([{"weight": 5, "durationSeconds": 30}]));
    world.image("b");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    assert_eq!(world.selected().as_deref(), Some("a"));
    let value = format!("{}/1/1", world.name("b"));
    world.annotate(annotations::PROMOTE, &value);
    world.until_state(RolloutState::Baking);
    world.run(40);
    world.assert_steady("b");
}

#[test]
fn pods_that_are_too_few_can_be_a_reason_to_refuse() {
    let mut world = canary(1, json!([{"weight": 5, "durationSeconds": 30}]));
    world.set("strategy.coarseWeights", json!("Refuse"));
    world.image("b");
    world.until_state(RolloutState::Returning);
    world.run(20);
    world.assert_state(RolloutState::Steady);
    assert_eq!(world.summary()[2], "True CoarseWeight");
}

#[test]
fn a_rollout_that_is_paused_stands_still() {
    let mut world = canary(4, json!([{"weight": 25, "durationSeconds": 30}]));
    world.image("b");
    world.until(60, "step 1 to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    let value = format!("{}/1", world.name("b"));
    world.annotate(annotations::PAUSE, &value);
    world.run(1000);
    assert_eq!(world.phase(), Some(Phase::Paused));
    assert_eq!(step(&world), (1, 25));
    world.annotate(annotations::PAUSE, "");
    world.until_state(RolloutState::Baking);
}

#[test]
fn nothing_goes_out_while_the_service_is_frozen() {
    let mut world = canary(2, json!([{"weight": 50}]));
    world.annotate(annotations::FREEZE, "the big sale");
    world.image("b");
    world.run(100);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Paused));
    assert!(world.status().message.unwrap().ends_with("the big sale"));
}

#[test]
fn a_revision_that_is_expedited_takes_no_steps() {
    let mut world = canary(2, json!([{"weight": 50, "pause": "Manual"}]));
    world.annotate(annotations::EXPEDITE, "app:b");
    world.image("b");
    world.until_state(RolloutState::Baking);
    assert!(!world.edges().contains(&Edge::InForce));
}

#[test]
fn a_command_for_something_else_hits_nothing() {
    let mut world = canary(4, json!([{"weight": 25, "durationSeconds": 300}]));
    world.image("b");
    world.until(60, "step 1 to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    world.annotate(annotations::PROMOTE, "shop-other/1/1");
    world.annotate(annotations::ABORT, "shop-other/1");
    world.run(20);
    assert_eq!(step(&world), (1, 25));
    let ignored = world
        .events
        .iter()
        .filter(|event| event.reason == "CommandIgnored")
        .count();
    assert_eq!(ignored, 2);
}

#[test]
fn a_command_that_was_carried_out_hits_no_later_trial() {
    let paused = |world: &World| world.phase() == Some(Phase::Paused);
    // The spec goes back while b is still watched, or much later: another two have been promoted since.
    for others in [vec!["a"], vec!["c", "d"]] {
        let mut world = canary(4, json!([{"weight": 25, "pause": "Manual"}]));
        world.image("b");
        world.until(60, "a person to be waited for", paused);
        world.command(annotations::PROMOTE_FULL, "b", 1);
        world.until_state(RolloutState::Baking);
        for tag in others {
            world.image(tag);
            if tag != "a" {
                world.until(90, "a person to be waited for", paused);
                world.promote(tag, 1, 1);
            }
            world.run(90);
            world.assert_steady(tag);
        }
        world.image("b");
        world.until(60, "a person to be waited for", paused);
        world.run(100);
        assert_eq!(
            (step(&world), world.rollout().trial),
            ((1, 25), 2),
            "{}",
            world.story()
        );
    }
}

#[test]
fn a_command_for_a_step_to_come_does_not_end_it_when_it_comes() {
    let steps = json!([{"weight": 25, "durationSeconds": 30}, {"weight": 50, "durationSeconds": 300}]);
    let mut world = canary(4, steps);
    world.image("b");
    world.until_step(1);
    world.promote("b", 1, 2);
    world.until_step(2);
    world.run(100);
    assert_eq!(step(&world), (2, 50), "{}", world.story());
    // Said again it is for the step that has come.
    world.withdraw(annotations::PROMOTE);
    world.run(2);
    world.promote("b", 1, 2);
    world.until_state(RolloutState::Baking);
    let ignored = world
        .events
        .iter()
        .filter(|event| event.reason == "CommandIgnored")
        .count();
    assert_eq!(ignored, 1);
}

#[test]
fn the_word_that_begins_a_coarse_step_does_not_end_its_pause() {
    let mut world = canary(1, json!([{"weight": 5, "pause": "Manual"}]));
    let paused = |world: &World| world.phase() == Some(Phase::Paused);
    world.image("b");
    world.until(60, "a person to be waited for", paused);
    let value = format!("{}/1/1/coarse", world.name("b"));
    assert!(world.status().message.unwrap().contains(&value));
    assert_eq!(world.rollout().promote.as_deref(), Some(value.as_str()));
    // Longer than the deadline: nobody's fault.
    world.run(700);
    world.annotate(annotations::PROMOTE, &value);
    world.until_step(1);
    world.until(60, "a person to be waited for", paused);
    world.run(700);
    assert_eq!(step(&world), (1, 5), "{}", world.story());
    assert_eq!(world.rollout().promote, Some(format!("{}/1/1", world.name("b"))));
    world.promote("b", 1, 1);
    world.until_state(RolloutState::Baking);
    assert_eq!(world.rollout().promote, None);
}
