//! The way back while not all pods of the stable revision are ready: it takes what it can carry, and the candidate gets
//! no more than it has.

use microservice_operator::api::{RolloutState, annotations};
use microservice_operator::render::ChildKind;
use serde_json::{Value, json};

use super::routes::{canary, gateway, istio, nginx, routed, shares};
use crate::cluster::Behaviour;
use crate::world::{NAME, World, spec_with};

fn ways() -> [Value; 3] {
    [gateway(), istio(), nginx()]
}

/// So many pods of the stable revision are lost, and find no node any more.
fn lose(world: &mut World, pods: usize) {
    let stable = world.name("a");
    for _ in 0..pods {
        let at = world.cluster.pods.iter().position(|pod| pod.revision == stable);
        world.cluster.pods.remove(at.unwrap());
    }
    world.cluster.room = world.cluster.pods.len();
}

/// Runs, and tells the most that the routes gave the candidate, and whether the root Service led to it.
fn watched(world: &mut World, seconds: i64) -> (i32, bool) {
    let candidate = world.name("b");
    let (mut most, mut rooted) = (0, false);
    for _ in 0..seconds {
        world.run(1);
        most = most.max(world.gateway.most(&candidate));
        rooted |= world.selected().is_some_and(|only| only == "all" || only == "b");
    }
    (most, rooted)
}

#[test]
fn a_preview_that_is_given_up_gets_no_traffic_on_its_way() {
    for routes in [json!([]), gateway()] {
        let strategy = json!({"type": "BlueGreen", "blueGreen": {"switch": "Manual"}, "bakeSeconds": 20});
        let mut world = routed(4, routes, strategy);
        world.image("b");
        world.until(60, "the preview", |world| world.ready("b") == 4);
        world.run(5);
        lose(&mut world, 1);
        world.run(1);
        world.command(annotations::ABORT, "b", 1);
        assert_eq!(watched(&mut world, 60), (0, false), "{}", world.story());
        assert_eq!(world.asked("b"), 0);
    }
}

#[test]
fn a_step_for_testers_alone_is_left_without_sending_anybody_else_there() {
    let steps = json!([
        {"match": [{"headers": [{"name": "x-tester", "value": "yes"}]}], "pause": "Manual"},
    ]);
    for routes in ways() {
        let mut world = canary(4, routes, steps.clone());
        world.image("b");
        world.until_step(1);
        lose(&mut world, 2);
        world.run(1);
        world.command(annotations::ABORT, "b", 1);
        world.until_state(RolloutState::Returning);
        // What the gateway still has from before may lead testers there.
        world.run(5);
        assert_eq!(watched(&mut world, 60), (0, false), "{}", world.story());
    }
}

#[test]
fn a_promotion_that_is_given_up_before_its_routes_moved_raises_nothing() {
    for routes in ways() {
        let mut world = canary(4, routes, json!([{"weight": 50, "pause": "Manual"}]));
        world.image("b");
        world.until_step(1);
        world.run(5);
        world.script("b", Behaviour::Good(15));
        world.promote("b", 1, 1);
        world.run(8);
        lose(&mut world, 1);
        world.run(1);
        world.command(annotations::ABORT, "b", 1);
        let (most, rooted) = watched(&mut world, 60);
        assert!(most <= 50 && !rooted, "{most} {rooted}\n{}", world.story());
        assert_eq!(shares(&world), "a 100");
    }
}

#[test]
fn one_lost_pod_of_many_keeps_no_traffic_at_a_failed_candidate() {
    for routes in ways() {
        let mut world = canary(10, routes, json!([{"weight": 50, "pause": "Manual"}]));
        world.image("b");
        world.until_step(1);
        world.run(5);
        lose(&mut world, 1);
        world.run(1);
        world.command(annotations::ABORT, "b", 1);
        world.run(3);
        assert!(shares(&world).starts_with("a 100"), "{}", world.story());
        world.run(60);
        assert_eq!(world.asked("b"), 0, "{}", world.story());
    }
}

#[test]
fn with_few_pods_home_takes_their_share_and_the_rest_when_they_are_back() {
    for routes in ways() {
        let mut world = canary(10, routes, json!([{"weight": 90, "pause": "Manual"}]));
        world.image("b");
        world.until_step(1);
        world.run(5);
        lose(&mut world, 6);
        world.run(1);
        world.command(annotations::ABORT, "b", 1);
        world.run(4);
        let candidate = world.name("b");
        assert_eq!(world.gateway.most(&candidate), 60, "{}", world.story());
        world.cluster.room = usize::MAX;
        world.run(60);
        world.assert_steady("a");
    }
}

#[test]
fn room_is_made_where_routes_split_the_traffic() {
    let strategy = json!({
        "type": "Canary", "keepPrevious": "Cold", "bakeSeconds": 100,
        "canary": {"steps": [{"weight": 50, "durationSeconds": 5}]},
    });
    let mut world = routed(4, gateway(), strategy);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.until(60, "the old pods to end", |world| {
        world.ready("a") == 0 && world.cluster.pods.len() == 4
    });
    world.cluster.room = 4;
    world.rollback("b", "a");
    for _ in 0..150 {
        world.run(1);
        assert!(world.ready("a") + world.ready("b") >= 2, "{}", world.story());
    }
    world.assert_steady("a");
}

#[test]
fn a_moment_without_the_stable_revision_costs_none_of_its_pods() {
    for routes in [json!([]), gateway()] {
        let strategy = json!({
            "type": "Canary", "canary": {"steps": [{"weight": 10, "pause": "Manual"}]}, "bakeSeconds": 20,
            "coarseWeights": "Allow",
        });
        let mut world = routed(10, routes, strategy);
        world.image("b");
        world.until_step(1);
        world.run(5);
        let before = world.asked("a");
        world.script("a", Behaviour::NeverReady);
        world.run(1);
        world.script("a", Behaviour::Good(0));
        for _ in 0..30 {
            world.run(1);
            assert_eq!(world.asked("a"), before, "{}", world.story());
        }
        world.assert_state(RolloutState::Rolling);
        let share = if world.gateway.splits(NAME) {
            "a 90 b 10"
        } else {
            ""
        };
        assert_eq!(shares(&world), share, "{}", world.story());
    }
}

#[test]
fn without_a_service_the_previous_pods_end_after_the_drain() {
    let strategy = json!({
        "type": "Canary", "canary": {"steps": [{"replicas": 1, "durationSeconds": 5}]}, "bakeSeconds": 200,
    });
    let mut world = World::serving_spec(spec_with("a", 3, json!({"ports": [], "strategy": strategy})));
    assert!(world.object(ChildKind::Service, "shop").is_none());
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(30);
    world.assert_state(RolloutState::Baking);
    assert_eq!((world.asked("a"), world.asked("b")), (0, 3), "{}", world.story());
}
