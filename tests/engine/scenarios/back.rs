//! What takes a revision back, and where to.

use jiff::SignedDuration;
use microservice_operator::api::{Blame, Phase, RolloutState};
use microservice_operator::rollout::Edge;
use serde_json::json;

use crate::cluster::Behaviour;
use crate::world::{World, spec_with};

pub fn crash_before_traffic() -> World {
    let mut world = World::serving(4);
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(30);
    world.assert_steady("a");
    world.assert_order(&[
        "status Rolling a b",
        "status Returning a b",
        "apply Deployment b 0",
        "status Steady a b",
    ]);
    assert_eq!(
        world.summary(),
        ["False RolledBack", "-", "True RolledBack", "True Serving"]
    );
    assert_eq!(world.phase(), Some(Phase::Degraded));
    assert!(world.status().message.unwrap().contains("CrashLoopBackOff"));
    assert_eq!((world.asked("a"), world.deployment("b")), (4, None));
    let entry = world.status().history[0].clone();
    assert_eq!(
        (entry.outcome.as_str(), entry.reason.as_deref()),
        ("RolledBack", Some("CrashLoopBackOff"))
    );
    world
}

pub fn crash_while_baking() -> World {
    let mut world = World::serving(4);
    world.script("b", Behaviour::CrashAfter(40));
    world.image("b");
    world.until_state(RolloutState::Returning);
    assert!(world.edges().contains(&Edge::Bake), "{}", world.story());
    world.run(40);
    world.assert_steady("a");
    world.assert_order(&[
        "status Baking a b",
        "status Returning a b",
        "apply Deployment a 4",
        "status Steady a b",
    ]);
    assert_eq!(world.ready("a"), 4);
    world.run(2000);
    world.assert_steady("a");
    world
}

pub fn the_deadline() -> World {
    let mut world = World::serving(3);
    world.script("b", Behaviour::NeverReady);
    world.image("b");
    world.run(590);
    world.assert_state(RolloutState::Rolling);
    assert_eq!(
        world.summary(),
        ["Unknown RollingOut", "True RollingOut", "-", "True Serving"]
    );
    world.run(30);
    world.assert_steady("a");
    assert!(
        world
            .status()
            .message
            .unwrap()
            .contains("ProgressDeadlineExceeded")
    );
    world
}

pub fn an_environment_fault_retries() -> World {
    let mut world = World::serving(3);
    world.script("b", Behaviour::PullBackOff);
    world.image("b");
    world.until_state(RolloutState::Returning);
    world.until_state(RolloutState::Steady);
    world.assert_steady("a");
    assert_eq!(
        world.summary(),
        [
            "False ImagePullBackOff",
            "-",
            "True ImagePullBackOff",
            "True Serving"
        ]
    );
    let pause = |world: &World| {
        let at = world.rollout().retry_at.unwrap().0;
        at.duration_since(world.now)
    };
    let first = pause(&world);
    assert!(first <= SignedDuration::from_secs(15), "{first:?}");
    world.until(30, "the second trial", |world| world.rollout().trial == 2);
    world.until(30, "back", |world| world.state() == Some(RolloutState::Steady));
    let second = pause(&world);
    assert!(
        second > first && second <= SignedDuration::from_secs(30),
        "{second:?}"
    );
    // What was wrong passes: it goes on by itself.
    world.script("b", Behaviour::Good(2));
    world.run(300);
    world.assert_steady("b");
    world
}

#[test]
fn an_image_that_does_not_exist_is_the_candidates_fault() {
    let mut world = World::serving(3);
    world.script("b", Behaviour::ImageAbsent);
    world.image("b");
    world.run(1000);
    world.assert_steady("a");
    assert_eq!(world.rollout().trial, 1, "not tried again");
    assert_eq!(world.rollout().cause.unwrap().blame, Blame::Candidate);
}

#[test]
fn a_quota_is_the_environments_fault() {
    let mut world = World::serving(3);
    world.image("b");
    world.run(1);
    let b = world.name("b");
    world.quota.insert(b, "exceeded quota: pods".to_owned());
    world.memory.wake = Some(world.now);
    world.run(3);
    assert_eq!(
        world.rollout().cause.as_ref().map(|c| c.blame),
        Some(Blame::Environment),
        "{}",
        world.story()
    );
    world.quota.clear();
    world.run(300);
    world.assert_steady("b");
}

pub fn a_broken_stable_is_replaced_at_once() -> World {
    let mut world = World::serving(4);
    world.script("a", Behaviour::NeverReady);
    world.run(5);
    world.image("b");
    world.run(8);
    world.assert_order(&[
        "status Rolling a b",
        "status Promoting a b",
        "apply Deployment b 4",
    ]);
    world.run(100);
    world.assert_steady("b");
    world
}

#[test]
fn a_blip_of_stable_does_not_cost_its_pods() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.until(60, "the first", |world| world.ready("b") == 1);
    world.run(2);
    world.script("a", Behaviour::NeverReady);
    world.run(2);
    world.script("a", Behaviour::Good(2));
    world.run(2);
    assert!(world.ready("a") >= 2, "{}", world.story());
    world.run(200);
    world.assert_steady("b");
}

pub fn fix_forward_when_stable_is_broken() -> World {
    let mut world = World::serving(3);
    world.script("a", Behaviour::CrashLoop);
    world.run(10);
    world.script("b", Behaviour::NeverReady);
    world.image("b");
    world.run(30);
    world.assert_state(RolloutState::Rolling);
    world.run(700);
    assert_eq!(world.summary()[2], "True NoHealthyTarget", "{}", world.story());
    world.image("c");
    world.run(150);
    world.assert_steady("c");
    world
}

pub fn fix_forward_when_stable_is_broken_and_the_candidate_serves() -> World {
    let mut world = World::serving(3);
    world.script("a", Behaviour::NeverReady);
    world.run(10);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.image("c");
    world.run(5);
    // b serves and nothing else does: it is finished first, and c goes out against it.
    world.assert_order(&["status Baking a b", "status Rolling b c"]);
    world.run(150);
    world.assert_steady("c");
    world
}

pub fn fix_forward_when_nothing_can_be_returned_to() -> World {
    let mut world = World::serving(3);
    world.script("b", Behaviour::CrashAfter(60));
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    // a cannot come up again.
    world.script("a", Behaviour::CrashLoop);
    world.until_state(RolloutState::Returning);
    world.run(20);
    assert_eq!(world.summary()[2], "True NoHealthyTarget", "{}", world.story());
    world.image("c");
    world.run(200);
    world.assert_steady("c");
    world
}

#[test]
fn a_candidate_that_recovers_goes_on_where_there_is_nothing_to_return_to() {
    let mut world = World::serving(3);
    world.script("a", Behaviour::CrashLoop);
    world.run(10);
    world.script("b", Behaviour::CrashAfter(10));
    world.image("b");
    world.run(60);
    assert_eq!(world.summary()[2], "True NoHealthyTarget", "{}", world.story());
    world.script("b", Behaviour::Good(2));
    world.run(100);
    world.assert_steady("b");
}

#[test]
fn a_rejected_revision_is_no_fix() {
    let mut world = World::serving(3);
    world.script("x", Behaviour::CrashLoop);
    world.image("x");
    world.run(30);
    world.assert_steady("a");
    world.script("b", Behaviour::CrashAfter(60));
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.script("a", Behaviour::CrashLoop);
    world.until_state(RolloutState::Returning);
    world.image("x");
    world.run(700);
    assert!(!world.edges().contains(&Edge::FixForward), "{}", world.story());
}

#[test]
fn what_still_serves_is_kept_until_home_can() {
    let mut world = World::serving(4);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.script("a", Behaviour::Good(15));
    world.rollback("b", "a");
    for _ in 0..60 {
        world.run(1);
        assert!(world.ready("a") + world.ready("b") >= 4, "{}", world.story());
    }
    world.assert_steady("a");
}

#[test]
fn room_is_made_where_home_cannot_be_scheduled() {
    let mut world = World::serving_spec(spec_with(
        "a",
        4,
        json!({"strategy": {"rollingUpdate": {"maxSurge": 1}}}),
    ));
    world.cluster.room = 5;
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.rollback("b", "a");
    world.until(120, "home", |world| world.state() == Some(RolloutState::Steady));
    world.assert_steady("a");
    world.assert_order(&[
        "status Returning a b",
        "apply Deployment b 3",
        "apply Deployment b 2",
        "status Steady a b",
    ]);
}

#[test]
fn a_return_that_is_never_complete_lets_the_next_change_out() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::NeverReady);
    world.image("b");
    world.run(5);
    // One pod of a is lost and finds no node any more.
    world.cluster.pods.remove(0);
    world.cluster.room = 3;
    world.script("b", Behaviour::CrashLoop);
    world.until_state(RolloutState::Returning);
    world.run(30);
    assert_eq!(world.ready("a"), 3);
    world.assert_state(RolloutState::Returning);
    world.run(700);
    world.assert_steady("a");
    assert_eq!(world.ready("a"), 3);
    world.cluster.room = 5;
    world.image("c");
    world.run(200);
    world.assert_steady("c");
}

#[test]
fn what_serves_does_not_make_room_in_vain() {
    for (behaviour, replicas) in [
        (Behaviour::Unschedulable, 4),
        (Behaviour::Unschedulable, 1),
        (Behaviour::PullBackOff, 4),
    ] {
        let mut world = World::serving(replicas);
        world.image("b");
        world.until_state(RolloutState::Baking);
        world.run(20);
        // The nodes of a are gone, or its image is.
        world.script("a", behaviour);
        world.rollback("b", "a");
        world.run(1000);
        world.assert_state(RolloutState::Returning);
        assert!(
            world.ready("b") >= (replicas - 1).max(1),
            "{behaviour:?}\n{}",
            world.story()
        );
        assert_eq!(world.phase(), Some(Phase::Degraded));
    }
}

#[test]
fn a_candidate_that_is_not_ready_at_the_end_is_not_promoted() {
    let mut world = World::serving(1);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(50);
    world.script("b", Behaviour::NeverReady);
    world.run(20);
    world.assert_state(RolloutState::Baking);
    world.script("b", Behaviour::Good(2));
    world.run(2);
    world.assert_steady("b");
    let mut world = World::serving(1);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(50);
    world.script("b", Behaviour::NeverReady);
    world.run(100);
    world.assert_steady("a");
    assert_eq!(world.ready("a"), 1);
}

#[test]
fn a_candidate_without_ready_pods_has_no_traffic_while_the_old_ones_stand() {
    let mut world = World::serving(3);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.script("b", Behaviour::NeverReady);
    world.run(3);
    assert_eq!(world.selected().as_deref(), Some("a"), "{}", world.story());
    assert_eq!(world.cluster.answering(&world.api, 80), 3);
}

#[test]
fn a_shared_trouble_is_held_and_goes_on_without_blame() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(5));
    world.image("b");
    world.until(60, "two", |world| world.ready("b") == 2);
    // A dependency of both is down.
    world.script("a", Behaviour::CrashLoop);
    world.script("b", Behaviour::CrashLoop);
    world.run(700);
    world.assert_state(RolloutState::Rolling);
    assert_eq!(world.summary()[1], "True Hold", "{}", world.story());
    world.script("a", Behaviour::Good(0));
    world.script("b", Behaviour::Good(0));
    world.run(1);
    assert_ne!(world.summary()[1], "True Hold", "{}", world.story());
}

#[test]
fn back_to_pods_that_are_about_to_end() {
    for routes in [json!([]), super::routes::gateway()] {
        let strategy = json!({"type": "BlueGreen", "bakeSeconds": 5});
        let mut world =
            World::serving_spec(spec_with("a", 3, json!({"routes": routes, "strategy": strategy})));
        world.image("b");
        world.until_state(RolloutState::Baking);
        // Their Deployment is gone, and nobody has told them yet.
        while world.deployment("a").is_some() {
            world.pass();
            world.run(0);
        }
        assert_eq!(world.ready("a"), 3, "{}", world.story());
        world.rollback("b", "a");
        for _ in 0..120 {
            world.run(1);
            assert!(world.cluster.reached(&world.api) >= 3, "{}", world.story());
        }
        world.assert_steady("a");
        assert_eq!(world.ready("a"), 3);
    }
}
