//! Scaling, in peace and in the middle of a change.

use microservice_operator::api::RolloutState;
use microservice_operator::rollout::Edge;
use serde_json::json;

use crate::cluster::Behaviour;
use crate::world::World;

#[test]
fn scaling_is_no_rollout() {
    let mut world = World::serving(2);
    let edges = world.taken.len();
    world.set("replicas", json!(5));
    world.run(10);
    assert_eq!((world.ready("a"), world.taken.len()), (5, edges));
}

#[test]
fn a_rollout_does_not_stop_scaling_and_keeps_its_bounds() {
    for (from, to) in [(4, 10), (10, 4), (1, 20), (20, 1), (3, 0)] {
        for moment in (0..24).step_by(2) {
            let mut world = World::serving(from);
            world.script("b", Behaviour::Good(4));
            world.image("b");
            world.run(moment);
            world.set("replicas", json!(to));
            world.run(160);
            if to > 0 {
                world.assert_steady("b");
                assert_eq!(world.ready("b"), to);
            } else {
                assert!(world.cluster.pods.is_empty(), "{}", world.story());
            }
        }
    }
}

#[test]
fn a_change_that_flips_has_all_pods_that_are_wanted() {
    let mut world = World::serving(2);
    world.script("b", Behaviour::Good(60));
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.run(5);
    world.set("replicas", json!(6));
    world.run(10);
    assert_eq!(world.ready("a"), 6, "who carries all traffic\n{}", world.story());
}

#[test]
fn a_rollout_that_is_stopped_by_scale_is_not_blamed() {
    let mut world = World::serving(4);
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.until(60, "one", |world| world.ready("b") == 1);
    world.set("replicas", json!(0));
    world.run(3600);
    world.assert_state(RolloutState::Rolling);
    world.set("replicas", json!(4));
    world.run(200);
    world.assert_steady("b");
    assert!(!world.edges().contains(&Edge::Reject));
}

#[test]
fn fewer_pods_can_make_progress_again() {
    let mut world = World::serving(10);
    world.script("b", Behaviour::Good(100));
    world.set("strategy", json!({"progressDeadlineSeconds": 150}));
    world.image("b");
    world.until(900, "six", |world| world.ready("b") >= 6);
    // Its pods are lost with their nodes and come again slowly.
    world.cluster.pods.retain(|pod| !pod.image.ends_with(":b"));
    world.set("replicas", json!(4));
    world.run(500);
    world.assert_steady("b");
}
