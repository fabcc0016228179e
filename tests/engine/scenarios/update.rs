//! From one revision to the next.

use microservice_operator::api::{Phase, RolloutState};
use microservice_operator::rollout::Edge;
use serde_json::json;

use crate::cluster::Behaviour;
use crate::world::{World, spec, spec_with};

pub fn rolling_update() -> World {
    let mut world = World::serving(4);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.assert_order(&[
        "status Rolling a b",
        "apply ControllerRevision b",
        "apply Deployment b 1",
        "apply Service shop all",
        "apply Deployment a 3",
        "apply Deployment b 2",
        "apply Deployment a 0",
        "status Promoting a b",
        "apply Service shop b",
        "status Baking a b",
    ]);
    assert_eq!(
        world.summary(),
        ["Unknown Baking", "True Baking", "-", "True Serving"]
    );
    world.run(75);
    world.assert_steady("b");
    assert!(world.deployment("a").is_none());
    assert_eq!(world.rollout().previous, Some(world.name("a")));
    assert_eq!(
        world.edges()[2..],
        [Edge::Roll, Edge::Promote, Edge::Bake, Edge::Finish]
    );
    assert_eq!(world.summary(), ["True Healthy", "-", "-", "True Serving"]);
    let history: Vec<String> = world.status().history.into_iter().map(|h| h.outcome).collect();
    assert_eq!(history, ["Promoted", "Promoted"]);
    world
}

pub fn recreate() -> World {
    let mut world = World::serving_spec(spec_with("a", 3, json!({"strategy": {"type": "Recreate"}})));
    world.cluster.grace = 15;
    world.image("b");
    for _ in 0..120 {
        world.run(1);
        let some = |tag: &str| world.cluster.pods.iter().any(|pod| pod.image.ends_with(tag));
        assert!(!some(":a") || !some(":b"), "both at a time\n{}", world.story());
    }
    world.assert_steady("b");
    world.assert_order(&[
        "status Rolling a b",
        "apply Deployment a 0",
        "apply Deployment b 3",
        "status Baking a b",
    ]);
    world
}

#[test]
fn recreate_returns_by_the_same_barrier() {
    let mut world = World::serving_spec(spec_with("a", 3, json!({"strategy": {"type": "Recreate"}})));
    world.cluster.grace = 15;
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    for _ in 0..120 {
        world.run(1);
        let some = |tag: &str| world.cluster.pods.iter().any(|pod| pod.image.ends_with(tag));
        assert!(!some(":a") || !some(":b"), "both at a time\n{}", world.story());
    }
    world.assert_steady("a");
    assert_eq!(
        world.summary(),
        ["False RolledBack", "-", "True RolledBack", "True Serving"]
    );
}

pub fn an_incompatible_port_flips() -> World {
    let mut world = World::serving(3);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    // Callers reach somebody who listens, at every moment.
    for _ in 0..120 {
        world.run(1);
        assert!(world.cluster.answering(&world.api, 80) >= 3, "{}", world.story());
    }
    world.assert_steady("b");
    world.assert_order(&[
        "status Rolling a b",
        "apply Deployment b 3",
        "status Promoting a b",
        "apply Service shop b",
        "status Baking a b",
        "apply Deployment a 0",
    ]);
    assert!(
        !world
            .journal
            .iter()
            .any(|line| line.starts_with("apply Service shop all")),
        "{}",
        world.story()
    );
    world
}

#[test]
fn an_incompatible_port_flips_back() {
    let mut world = World::serving(3);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    // One of three crashes again and again; the others serve until a can.
    world.script("b", Behaviour::Good(2));
    world.rollback("b", "a");
    for _ in 0..60 {
        world.run(1);
        assert!(world.cluster.answering(&world.api, 80) >= 3, "{}", world.story());
    }
    world.assert_steady("a");
}

#[test]
fn the_last_port_can_go_and_the_first_one_can_come() {
    let mut world = World::serving(2);
    world.set("ports", json!([]));
    world.image("b");
    world.run(200);
    world.assert_steady("b");
    assert_eq!(world.selected(), None, "no port, no Service");
    world.set("ports", json!([{"name": "http", "containerPort": 8080}]));
    world.image("c");
    world.run(200);
    world.assert_steady("c");
    assert_eq!(world.selected().as_deref(), Some("c"));
}

#[test]
fn the_first_port_can_be_returned_from() {
    let mut world = World::new(spec_with("a", 2, json!({"ports": []})));
    world.run(20);
    world.assert_steady("a");
    world.script("b", Behaviour::CrashAfter(20));
    world.set("ports", json!([{"name": "http", "containerPort": 8080}]));
    world.image("b");
    world.run(300);
    world.assert_steady("a");
    assert_eq!(world.summary()[2], "True RolledBack");
}

pub fn back_to_stable_in_mid_rollout() -> World {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(20));
    world.image("b");
    world.until(200, "half of it", |world| world.ready("b") == 2);
    world.image("a");
    world.run(60);
    world.assert_steady("a");
    world.assert_order(&["status Rolling a b", "status Returning a b", "status Steady a -"]);
    assert_eq!(world.phase(), Some(Phase::Healthy), "nothing is held");
    assert!(world.deployment("b").is_none());
    // b was not rejected: it goes out when it is asked for.
    world.image("b");
    world.run(300);
    world.assert_steady("b");
    world
}

pub fn a_third_revision_in_mid_rollout() -> World {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(20));
    world.image("b");
    world.until(200, "half of it", |world| world.ready("b") == 2);
    world.image("c");
    world.run(200);
    world.assert_steady("c");
    world.assert_order(&[
        "status Rolling a b",
        "status Returning a b",
        "status Rolling a c",
        "status Steady c -",
    ]);
    assert_eq!(world.rollout().previous, Some(world.name("a")));
    world
}

pub fn a_third_revision_while_baking() -> World {
    let mut world = World::serving(4);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.image("c");
    world.run(300);
    world.assert_steady("c");
    world.assert_order(&[
        "status Baking a b",
        "status Returning a b",
        "status Rolling a c",
        "status Steady c -",
    ]);
    world
}

#[test]
fn going_back_to_the_one_before_is_one_step_of_full_size() {
    let mut world = rolling_update();
    world.image("a");
    world.journal.clear();
    world.run(120);
    world.assert_steady("a");
    world.assert_order(&[
        "status Rolling b a",
        "apply Deployment a 4",
        "apply Service shop a",
        "status Baking b a",
    ]);
}

#[test]
fn no_surge_takes_one_away_first() {
    let strategy =
        json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}, "bakeSeconds": 0}});
    let mut world = World::serving_spec(spec_with("a", 3, strategy));
    world.image("b");
    world.run(60);
    world.assert_steady("b");
    world.assert_order(&["apply Deployment a 2", "apply Deployment b 1"]);
}

#[test]
fn a_surge_beyond_all_numbers_is_no_trouble() {
    let strategy = json!({"strategy": {"rollingUpdate": {"maxSurge": i32::MAX, "maxUnavailable": i32::MAX}}});
    let mut world = World::serving_spec(spec_with("a", 3, strategy));
    world.image("b");
    world.run(100);
    world.assert_steady("b");
}

#[test]
fn an_operator_that_was_away_for_long_does_not_blame_the_candidate() {
    for seconds in [3, 5, 8, 12, 14, 16] {
        let mut world = World::serving(4);
        world.image("b");
        world.run(seconds);
        world.without_operator(3600);
        world.run(200);
        world.assert_steady("b");
        assert!(
            !world.edges().contains(&Edge::Reject),
            "away after {seconds} s\n{}",
            world.story()
        );
    }
}

#[test]
fn a_service_without_pods_is_changed_when_it_is_started() {
    let mut world = World::serving(2);
    world.set("replicas", json!(0));
    world.run(10);
    world.image("b");
    world.run(700);
    world.assert_steady("a");
    assert_eq!(world.asked("a"), 0);
    world.set("replicas", json!(2));
    world.run(120);
    world.assert_steady("b");
}

#[test]
fn the_history_limit_keeps_what_is_needed() {
    let mut world = World::serving_spec(spec_with(
        "a",
        1,
        json!({"revisionHistoryLimit": 0, "strategy": {"bakeSeconds": 0}}),
    ));
    for tag in ["b", "c", "d"] {
        world.image(tag);
        world.run(30);
        world.assert_steady(tag);
    }
    let records = world
        .api
        .objects
        .keys()
        .filter(|key| key.0.kind() == "ControllerRevision")
        .count();
    assert_eq!(records, 2, "the stable one and the one before");
    world.set("revisionHistoryLimit", json!(2));
    for tag in ["e", "f", "g", "h"] {
        world.image(tag);
        world.run(30);
    }
    let records = world
        .api
        .objects
        .keys()
        .filter(|key| key.0.kind() == "ControllerRevision")
        .count();
    assert_eq!(records, 4);
}

#[test]
fn an_operator_that_starts_anew_writes_nothing_in_peace() {
    let mut world = rolling_update();
    let writes = world.writes;
    world.restart();
    world.run(100);
    assert_eq!(world.writes, writes, "{}", world.story());
    let mut world = World::new(spec("a", 2));
    world.run(40);
    let writes = world.writes;
    world.restart();
    world.run(100);
    assert_eq!(world.writes, writes, "{}", world.story());
}

#[test]
fn a_tag_that_was_moved_is_said_and_costs_the_trust() {
    let mut world = rolling_update();
    // Back to the revision before, whose image is what it was: one step of full size.
    let mut moved = world.clone();
    world.image("a");
    world.run(5);
    world.assert_order(&["status Rolling b a", "apply Deployment a 4"]);

    // The same, after pods of b were seen with another digest under the same name.
    moved.cluster.pods[0].image = "somewhere-else".to_owned();
    moved.run(10);
    let condition = moved
        .status()
        .conditions
        .into_iter()
        .find(|c| c.type_ == "ImageMutated")
        .unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_str()),
        ("True", "TagMoved")
    );
    moved.image("c");
    moved.run(90);
    moved.assert_steady("c");
    moved.image("b");
    moved.run(5);
    moved.assert_order(&["status Rolling c b", "apply Deployment b 1"]);
}

#[test]
fn a_new_revision_with_a_rejected_image_is_said_loudly() {
    let mut world = World::serving(2);
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(30);
    assert!(!world.events.iter().any(|event| event.reason == "RejectedImage"));
    world.set("env", json!([{"name": "A", "value": "1"}]));
    world.run(5);
    let said = world.events.iter().find(|event| event.reason == "RejectedImage");
    let expected = "carries app:b again, with which";
    assert!(
        said.is_some_and(|event| event.note.contains(expected)),
        "{}",
        world.story()
    );
}

#[test]
fn the_deadline_blames_nobody_while_stable_is_silent_too() {
    let mut world = World::serving_spec(spec_with(
        "a",
        2,
        json!({"strategy": {"progressDeadlineSeconds": 60}}),
    ));
    world.script("b", Behaviour::NeverReady);
    world.image("b");
    world.run(5);
    world.script("a", Behaviour::NeverReady);
    world.run(120);
    assert_eq!(world.state(), Some(RolloutState::Rolling), "{}", world.story());
}
