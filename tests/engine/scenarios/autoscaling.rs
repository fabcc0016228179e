//! Who decides on the number of pods under autoscaling.

use microservice_operator::api::{Phase, ReplicasSource, RolloutState};
use microservice_operator::rollout::ReplicasHolder;
use serde_json::{Value, json};

use super::routes::gateway;
use crate::world::{World, spec, spec_with};

const CONDITION: &str = "ReplicasManagedByGit";

fn bounds() -> Value {
    json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 50}})
}

/// A service whose manifest says 3 and whose autoscaler has raised it to 6.
fn raised() -> World {
    let mut world = World::serving_spec(spec_with("a", 3, bounds()));
    assert_eq!((world.ready("a"), world.condition(CONDITION)), (3, None));
    world.scale(6);
    world.run(10);
    assert_eq!(world.ready("a"), 6);
    assert_eq!(world.status().replicas_from, Some(ReplicasSource::Scale));
    world.journal.clear();
    world
}

fn replicas(world: &World) -> i32 {
    world.api.service.spec.operation.replicas
}

fn reason(world: &World) -> Option<String> {
    world.condition(CONDITION).map(|(_, reason, _)| reason)
}

fn writes_back(world: &World) -> usize {
    world
        .journal
        .iter()
        .filter(|line| line.starts_with("scale "))
        .count()
}

#[test]
fn a_three_left_in_git_costs_no_pod_and_is_written_back_once() {
    let mut world = raised();
    world.set("replicas", json!(3));
    world.run(10);
    assert_eq!(
        (world.ready("a"), world.asked("a"), replicas(&world)),
        (6, 6, 6),
        "{}",
        world.story()
    );
    assert_eq!(reason(&world).as_deref(), Some("WrittenBack"));
    world.assert_order(&["status Steady a", "scale 6"]);
    // The tool puts it back: no fight.
    for _ in 0..3 {
        world.set("replicas", json!(3));
        world.run(10);
        assert_eq!(
            (world.ready("a"), replicas(&world), writes_back(&world)),
            (6, 3, 1),
            "{}",
            world.story()
        );
    }
    let (_, reason_now, message) = world.condition(CONDITION).unwrap();
    assert_eq!(reason_now, "PutBack");
    assert!(
        message.contains("kubectl set spec.replicas to 3") && message.contains("ignoreDifferences"),
        "{message}"
    );
    // The autoscaler's word ends it, and pods follow it down too.
    world.scale(4);
    world.run(30);
    assert_eq!((world.ready("a"), world.condition(CONDITION)), (4, None));
}

#[test]
fn the_autoscalers_bound_is_not_taken_for_its_decision() {
    let mut world = raised();
    for _ in 0..3 {
        // Written back once; then the tool puts it back, and the autoscaler lifts that to its bound.
        world.set("replicas", json!(1));
        world.run(2);
        world.set("replicas", json!(1));
        world.run(2);
        assert_eq!(reason(&world).as_deref(), Some("PutBack"));
        world.scale(2);
        world.run(10);
        assert_eq!((world.ready("a"), world.asked("a")), (6, 6), "{}", world.story());
    }
    world.scale(2);
    world.run(30);
    assert_eq!(world.ready("a"), 2, "what it decides on what is there counts");
}

#[test]
fn a_field_that_is_taken_out_costs_no_pod() {
    let mut world = World::serving_spec(spec_with("a", 6, bounds()));
    world.api.drop_replicas();
    assert_eq!(
        (replicas(&world), &world.api.holder),
        (1, &ReplicasHolder::Nobody)
    );
    world.run(10);
    assert_eq!(
        (world.ready("a"), replicas(&world), writes_back(&world)),
        (6, 6, 1),
        "{}",
        world.story()
    );
    assert_eq!(
        world.condition(CONDITION),
        None,
        "nothing is left to be done by a person"
    );
    // What the autoscaler writes now is on nobody's record, and is its word all the same, also the default.
    world.set("autoscaling.minReplicas", json!(1));
    for number in [8, 1, 5] {
        world.scale(number);
        world.run(30);
        assert_eq!(
            (world.ready("a"), writes_back(&world)),
            (number, 1),
            "{}",
            world.story()
        );
    }
}

#[test]
fn autoscaling_takes_over_what_runs() {
    let mut world = World::serving_spec(spec("a", 6));
    world.set("autoscaling", bounds()["autoscaling"].clone());
    world.api.drop_replicas();
    world.run(10);
    assert_eq!((world.ready("a"), replicas(&world)), (6, 6), "{}", world.story());
}

#[test]
fn a_manifest_can_raise_and_the_bounds_hold() {
    let mut world = raised();
    world.set("replicas", json!(8));
    world.run(10);
    assert_eq!((world.ready("a"), world.condition(CONDITION)), (8, None));
    world.set("autoscaling.maxReplicas", json!(5));
    world.run(10);
    assert_eq!(world.ready("a"), 5);
}

#[test]
fn a_stop_stops_and_a_start_starts_with_the_manifest() {
    let mut world = raised();
    world.set("replicas", json!(0));
    world.run(30);
    assert!(world.cluster.pods.is_empty());
    assert_eq!((writes_back(&world), world.condition(CONDITION)), (0, None));
    world.set("replicas", json!(3));
    world.run(30);
    assert_eq!(
        (world.ready("a"), world.condition(CONDITION)),
        (3, None),
        "{}",
        world.story()
    );
}

#[test]
fn a_lost_status_costs_no_pod() {
    let mut world = raised();
    world.without_operator(1);
    world.lose_status();
    world.set("replicas", json!(3));
    world.run(30);
    assert_eq!((world.ready("a"), replicas(&world)), (6, 6), "{}", world.story());
}

#[test]
fn without_the_right_to_write_it_is_held_and_said() {
    let mut world = raised();
    world.api.scale_refused = true;
    world.set("replicas", json!(3));
    world.run(30);
    assert_eq!((world.ready("a"), replicas(&world)), (6, 3));
    let (_, reason, message) = world.condition(CONDITION).unwrap();
    assert!(reason == "Held" && message.contains("no rights"), "{message}");
    world.api.scale_refused = false;
    world.run(60);
    assert_eq!(replicas(&world), 6);
}

#[test]
fn a_rollout_and_a_crash_at_any_write_change_nothing_of_it() {
    for write in 0..12 {
        let mut world = raised();
        world.faults.crash_after = Some(world.writes + write);
        world.image("b");
        world.set("replicas", json!(3));
        for _ in 0..120 {
            world.run(1);
            assert!(world.asked("a") + world.asked("b") >= 6, "{}", world.story());
        }
        world.assert_steady("b");
        assert_eq!((world.ready("b"), replicas(&world)), (6, 6), "{}", world.story());
    }
}

/// A canary behind a gateway in its last step, at half of the traffic: 4 pods and 2 of the candidate carry it.
fn in_the_last_step() -> World {
    let world = stepped(json!([{"weight": 50, "pause": "Manual"}]));
    assert_eq!((world.asked("a"), world.asked("b")), (4, 2));
    world
}

/// A canary of 4 pods behind a gateway that waits for a person in a step of these.
fn stepped(steps: Value) -> World {
    let mut world = World::serving_spec(spec_with(
        "a",
        4,
        json!({
            "routes": gateway(), "autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 50},
            "strategy": {"type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 20},
        }),
    ));
    world.scale(4);
    world.image("b");
    world.until(60, "a person to be waited for", |world| {
        world.phase() == Some(Phase::Paused)
    });
    world.journal.clear();
    world
}

#[test]
fn a_promotion_lands_on_what_carried_the_traffic() {
    let mut world = in_the_last_step();
    world.promote("b", 1, 1);
    world.until_state(RolloutState::Baking);
    assert_eq!((world.ready("b"), replicas(&world)), (6, 6), "{}", world.story());
    assert_eq!(writes_back(&world), 1);
    assert_eq!(world.status().replicas_from, Some(ReplicasSource::Scale));
    assert_eq!(reason(&world), None);
    // Of the stable revision none is made before all can be returned to it.
    let until_baking = world.journal.iter().take_while(|line| !line.contains("Baking"));
    let made: Vec<_> = until_baking
        .filter(|line| line.starts_with("apply Deployment a"))
        .collect();
    assert!(made.is_empty(), "{made:?}: {}", world.story());
    world.run(60);
    world.assert_steady("b");
    // The autoscaler goes on from there.
    world.scale(4);
    world.run(10);
    assert_eq!((world.asked("b"), writes_back(&world)), (4, 1));
}

#[test]
fn it_lands_within_the_bounds() {
    let mut world = in_the_last_step();
    world.set(
        "autoscaling",
        json!({"minReplicas": 2, "maxReplicas": 5, "cpu": 50}),
    );
    world.promote("b", 1, 1);
    world.run(60);
    world.assert_steady("b");
    assert_eq!((world.ready("b"), replicas(&world)), (5, 5));
}

#[test]
fn without_an_autoscaler_it_lands_on_what_the_spec_says() {
    let mut world = in_the_last_step();
    world.set("autoscaling", json!(null));
    world.promote("b", 1, 1);
    world.run(60);
    world.assert_steady("b");
    assert_eq!((world.ready("b"), writes_back(&world)), (4, 0));
}

#[test]
fn a_landing_that_is_refused_holds_nothing_up() {
    let mut world = in_the_last_step();
    world.api.scale_refused = true;
    world.promote("b", 1, 1);
    world.run(60);
    world.assert_steady("b");
    assert_eq!((world.ready("b"), replicas(&world)), (6, 4), "{}", world.story());
}

#[test]
fn a_landing_that_is_refused_is_said() {
    let mut world = in_the_last_step();
    world.api.scale_refused = true;
    world.promote("b", 1, 1);
    world.run(60);
    world.assert_steady("b");
    // The autoscaler's lower word cannot be told from the number that could not be written.
    world.scale(3);
    world.run(30);
    assert_eq!((world.ready("b"), replicas(&world)), (6, 3));
    let (_, reason, message) = world.condition(CONDITION).unwrap();
    assert!(reason == "Held" && message.contains("no rights"), "{message}");
    world.api.scale_refused = false;
    world.run(400);
    assert_eq!(
        (replicas(&world), world.condition(CONDITION)),
        (6, None),
        "{}",
        world.story()
    );
    world.scale(3);
    world.run(30);
    assert_eq!(world.ready("b"), 3);
}

#[test]
fn pods_that_carried_next_to_nothing_are_not_landed_on() {
    for (steps, landed) in [
        (json!([{"weight": 1, "replicas": 5, "pause": "Manual"}]), 5),
        (
            json!([{"mirrorPercent": 50, "replicas": 4, "pause": "Manual"}]),
            4,
        ),
    ] {
        let mut world = stepped(steps);
        world.promote("b", 1, 1);
        world.run(60);
        world.assert_steady("b");
        assert_eq!(
            (world.ready("b"), replicas(&world)),
            (landed, landed),
            "{}",
            world.story()
        );
    }
}
