//! What people ask for: commands, suspension, and the same manifest again.

use microservice_operator::api::{Phase, Role, RolloutState, annotations};
use microservice_operator::rollout::Edge;
use serde_json::json;

use crate::cluster::Behaviour;
use crate::scenarios::back::crash_before_traffic;
use crate::scenarios::update::rolling_update;
use crate::world::{World, spec_with};

pub fn a_rejected_spec_that_is_applied_again_stays() -> World {
    let mut world = crash_before_traffic();
    world.image("a");
    world.run(5);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy), "nothing is held");
    world.image("b");
    world.run(5);
    world.assert_steady("a");
    assert_eq!(
        world.summary(),
        ["False RolledBack", "-", "True RolledBack", "True Serving"]
    );
    // Neither another process nor a change that is not of the pods tries it again.
    world.restart();
    world.set("replicas", json!(5));
    world.run(1000);
    world.assert_steady("a");
    assert_eq!(world.ready("a"), 5);
    assert_eq!(
        world.edges().iter().filter(|edge| **edge == Edge::Roll).count(),
        1,
        "{}",
        world.story()
    );
    world
}

pub fn the_old_spec_releases_what_was_held() -> World {
    let mut world = crash_before_traffic();
    world.image("a");
    world.run(5);
    assert_eq!(world.rollout().candidate, None);
    assert_eq!(world.summary(), ["True Healthy", "-", "-", "True Serving"]);
    world
}

#[test]
fn a_retry_is_one_trial() {
    let mut world = crash_before_traffic();
    world.retry("b", 7);
    world.run(20);
    assert_eq!(world.rollout().trial, 1, "it names another trial");
    world.retry("b", 1);
    world.run(60);
    world.assert_steady("a");
    assert_eq!(world.rollout().trial, 2);
    world.run(1000);
    assert_eq!(world.rollout().trial, 2, "the annotation stays and hits nothing");
    world.script("b", Behaviour::Good(2));
    world.retry("b", 2);
    world.run(120);
    world.assert_steady("b");
}

#[test]
fn a_left_over_retry_does_not_hit_a_later_trial() {
    let mut world = crash_before_traffic();
    world.script("b", Behaviour::Good(2));
    world.retry("b", 1);
    world.run(120);
    world.assert_steady("b");
    world.image("a");
    world.run(120);
    world.assert_steady("a");
    // It goes bad, and comes again with the manifest; nobody has asked for a retry since.
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(300);
    world.assert_steady("a");
    let trials = world.edges().iter().filter(|edge| **edge == Edge::Reject).count();
    assert_eq!(trials, 2, "{}", world.story());
}

#[test]
fn garbage_in_annotations_hits_nothing() {
    for value in [
        "",
        "/",
        "b",
        "//",
        "b/",
        "/1",
        "b/x",
        "b/99999999999999999999",
        "shop-zzz/shop-yyy",
        "日本/語",
    ] {
        let mut world = crash_before_traffic();
        let edges = world.taken.len();
        for key in [
            annotations::RETRY,
            annotations::ROLLBACK,
            annotations::RESTART,
            annotations::REFRESH,
        ] {
            world.annotate(key, value);
        }
        world.run(60);
        assert_eq!(world.taken.len(), edges, "{value}\n{}", world.story());
    }
}

#[test]
fn a_retry_of_an_environment_fault_does_not_wait() {
    let mut world = World::serving(3);
    world.script("b", Behaviour::PullBackOff);
    world.image("b");
    for trial in 1..=3 {
        world.until(100, "held", |world| {
            world.rollout().retry_at.is_some() && world.rollout().trial == trial
        });
    }
    world.script("b", Behaviour::Good(2));
    world.retry("b", 3);
    world.run(2);
    world.assert_state(RolloutState::Rolling);
    assert_eq!(world.rollout().trial, 4);
}

pub fn rollback_in_peace() -> World {
    let mut world = rolling_update();
    world.rollback("b", "a");
    world.run(60);
    world.assert_steady("a");
    world.assert_order(&[
        "status Returning a b",
        "apply Deployment a 4",
        "status Steady a b",
    ]);
    assert_eq!(
        world.summary(),
        ["False RolledBack", "-", "True RolledBack", "True Serving"]
    );
    // It stays: for another process, and after the loss of the status.
    world.restart();
    world.run(100);
    world.assert_steady("a");
    world.lose_status();
    world.run(100);
    world.assert_steady("a");
    assert_eq!(
        world.summary(),
        ["False RolledBack", "-", "True RolledBack", "True Serving"]
    );
    world
}

#[test]
fn a_left_over_rollback_hits_nothing() {
    let mut world = rollback_in_peace();
    let trial = world.rollout().trial;
    world.retry("b", trial);
    world.run(120);
    world.assert_steady("b");
    world.run(60);
    world.assert_steady("b");
    world.lose_status();
    world.run(120);
    world.assert_steady("b");
}

pub fn rollback_while_baking() -> World {
    let mut world = World::serving(4);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.rollback("b", "a");
    world.run(60);
    world.assert_steady("a");
    world
}

pub fn rollback_while_rolling() -> World {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(20));
    world.image("b");
    world.until(200, "half of it", |world| world.ready("b") == 2);
    world.rollback("b", "a");
    world.run(60);
    world.assert_steady("a");
    world.assert_order(&["status Rolling a b", "status Returning a b", "status Steady a b"]);
    world
}

#[test]
fn a_rollback_to_a_third_one_keeps_what_serves() {
    for state in [RolloutState::Rolling, RolloutState::Baking] {
        let mut world = World::serving(4);
        world.image("b");
        world.run(100);
        world.assert_steady("b");
        world.script("c", Behaviour::Good(10));
        world.image("c");
        world.until_state(state);
        world.run(15);
        world.rollback("c", "a");
        for _ in 0..150 {
            world.run(1);
            let ready = ["a", "b", "c"].map(|tag| world.ready(tag)).iter().sum::<i32>();
            assert!(ready >= 4, "{state:?} {ready}\n{}", world.story());
        }
        world.assert_steady("a");
        world.run(500);
        world.assert_steady("a");
    }
}

#[test]
fn a_restart_makes_the_same_pods_anew_once() {
    let mut world = World::serving(3);
    world.annotate(annotations::RESTART, "shop-other");
    world.run(30);
    assert_eq!(world.edges().len(), 2, "{}", world.story());
    let name = world.name("a");
    world.annotate(annotations::RESTART, &name);
    world.run(120);
    world.assert_steady("a'");
    let image = world
        .deployment("a'")
        .unwrap()
        .object
        .pointer("/spec/template/spec/containers/0/image")
        .cloned();
    assert_eq!(image, Some(json!("app:a")));
    world.run(500);
    world.assert_steady("a'");
    let name = world.name("a'");
    world.annotate(annotations::RESTART, &name);
    world.run(120);
    world.assert_steady("a''");
}

#[test]
fn pods_that_read_their_role_are_told() {
    let role = json!([{"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['microservice.dev/role']"}}}]);
    let mut world = World::serving_spec(spec_with("a", 2, json!({"env": role})));
    let roles = |world: &World, tag: &str| -> Vec<Option<Role>> {
        let name = world.name(tag);
        world
            .cluster
            .pods
            .iter()
            .filter(|pod| pod.revision == name)
            .map(|pod| pod.role)
            .collect()
    };
    assert_eq!(roles(&world, "a"), [Some(Role::Stable); 2]);
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.run(5);
    assert_eq!(roles(&world, "b"), [Some(Role::Candidate)]);
    world.run(120);
    world.assert_steady("b");
    assert_eq!(roles(&world, "b"), [Some(Role::Stable); 2]);
}

#[test]
fn a_refresh_is_a_change_like_any() {
    let mut world = World::serving(3);
    let name = world.name("a");
    world.annotate(annotations::REFRESH, &name);
    world.run(120);
    world.assert_steady("a'");
    world.run(500);
    world.assert_steady("a'");
}

#[test]
fn a_suspended_rollout_stands_still_and_has_all_its_time_afterwards() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.until(100, "two", |world| world.ready("b") == 2);
    world.suspend(true);
    let (a, b) = (world.asked("a"), world.asked("b"));
    world.run(3600);
    assert_eq!((world.asked("a"), world.asked("b")), (a, b), "{}", world.story());
    assert_eq!(world.phase(), Some(Phase::Suspended));
    world.suspend(false);
    world.run(200);
    world.assert_steady("b");
}

#[test]
fn a_suspended_service_is_still_scaled_and_taken_back() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.until(100, "two", |world| world.ready("b") == 2);
    world.suspend(true);
    world.run(5);
    world.set("replicas", json!(8));
    world.run(30);
    let ready = world.ready("a") + world.ready("b");
    assert!((8..=10).contains(&ready), "{ready}\n{}", world.story());
    world.set("replicas", json!(2));
    world.run(30);
    let ready = world.ready("a") + world.ready("b");
    assert!((2..=3).contains(&ready), "{ready}\n{}", world.story());
    world.script("b", Behaviour::CrashLoop);
    world.run(60);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Suspended));
}

#[test]
fn suspension_in_a_recreate_does_not_leave_the_service_without_pods() {
    for seconds in 0..25 {
        let mut world = World::serving_spec(spec_with("a", 2, json!({"strategy": {"type": "Recreate"}})));
        world.cluster.grace = 5;
        world.image("b");
        world.run(seconds);
        world.suspend(true);
        world.run(60);
        assert!(
            world.cluster.endpoints.ready.values().sum::<i32>() == 2,
            "after {seconds} s\n{}",
            world.story()
        );
    }
}

#[test]
fn what_is_asked_for_while_suspended_goes_out_afterwards() {
    let mut world = World::serving(2);
    world.suspend(true);
    world.image("b");
    world.run(100);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Suspended));
    world.suspend(false);
    world.run(120);
    world.assert_steady("b");
}

#[test]
fn suspension_while_baking_still_ends_the_old_pods() {
    let mut world = World::serving(3);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.suspend(true);
    world.run(30);
    assert_eq!(world.asked("a"), 0, "{}", world.story());
    world.run(600);
    world.assert_state(RolloutState::Baking);
    world.suspend(false);
    world.run(5);
    world.assert_steady("b");
}

#[test]
fn a_rollback_that_hit_nothing_is_told_and_hits_nothing_later() {
    let mut world = crash_before_traffic();
    world.rollback("b", "a");
    world.run(20);
    let told = |world: &World| {
        let ignored = world
            .events
            .iter()
            .filter(|event| event.reason == "CommandIgnored");
        ignored.count()
    };
    assert_eq!(told(&world), 1, "{}", world.story());
    world.script("b", Behaviour::Good(2));
    world.retry("b", 1);
    world.run(120);
    world.assert_steady("b");
    assert_eq!(told(&world), 1, "{}", world.story());
    // Taken away and said again it is for what serves now.
    world.withdraw(annotations::ROLLBACK);
    world.run(5);
    world.assert_steady("b");
    world.rollback("b", "a");
    world.run(60);
    world.assert_steady("a");
}

#[test]
fn a_rollback_does_not_make_an_old_retry_fresh() {
    let mut world = crash_before_traffic();
    world.script("b", Behaviour::Good(2));
    world.retry("b", 1);
    world.run(120);
    world.assert_steady("b");
    world.rollback("b", "a");
    world.run(200);
    world.assert_steady("a");
}
