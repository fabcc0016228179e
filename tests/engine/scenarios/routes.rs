//! Canary and blue/green, where routes split the traffic between Services of the revisions.

use microservice_operator::api::{Blame, Phase, RolloutState};
use microservice_operator::rollout::Edge;
use serde_json::{Value, json};

use crate::gateway::Taking;
use crate::world::{World, spec_with};

pub fn gateway() -> Value {
    json!([{"name": "public", "hosts": ["shop.example"], "gateway": {"parentRefs": [{"name": "gw"}]}}])
}

pub fn istio() -> Value {
    json!([{"name": "public", "hosts": ["shop.example"], "istio": {"gateways": ["gw"]}}])
}

pub fn nginx() -> Value {
    json!([{"name": "public", "hosts": ["shop.example"], "ingress": {"className": "nginx"}}])
}

/// A service behind these routes, with this strategy.
pub fn routed(replicas: i32, routes: Value, strategy: Value) -> World {
    let spec = spec_with("a", replicas, json!({"routes": routes, "strategy": strategy}));
    let mut world = World::new(spec);
    world.cluster.lag = 1;
    world.run(40);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy), "{}", world.story());
    world.journal.clear();
    world
}

/// A canary behind these routes, with these steps.
pub fn canary(replicas: i32, routes: Value, steps: Value) -> World {
    let strategy = json!({"type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 20});
    routed(replicas, routes, strategy)
}

pub fn two_steps() -> Value {
    json!([{"weight": 10, "durationSeconds": 20}, {"weight": 50, "durationSeconds": 20}])
}

/// What the route was last told.
pub fn shares(world: &World) -> String {
    let is_main = |name: &str| name == "shop-public";
    let routes = world
        .api
        .objects
        .keys()
        .filter(|key| microservice_operator::rollout::is_route(key.0));
    let main = routes
        .filter(|key| is_main(&key.1))
        .map(|key| world.shares(key))
        .collect::<Vec<_>>();
    main.join(", ")
}

pub fn a_canary_by_routes() -> World {
    let mut world = canary(4, gateway(), two_steps());
    world.image("b");
    world.run(150);
    world.assert_steady("b");
    world.assert_order(&[
        "status Rolling a b",
        "apply ControllerRevision b",
        "apply Service b",
        "apply Deployment b 1",
        "apply HTTPRoute shop-public a 90 b 10",
        "status Rolling a b",
        "apply Deployment b 2",
        "apply HTTPRoute shop-public a 50 b 50",
        "status Rolling a b",
        "apply Deployment b 4",
        "status Promoting a b",
        "apply HTTPRoute shop-public b 100",
        "apply Service shop b",
        "status Baking a b",
        "status Steady b -",
        "delete Deployment a",
        "delete Service a",
    ]);
    let applied = |what: &str| world.journal.iter().filter(|line| line.starts_with(what)).count();
    assert_eq!(applied("apply HTTPRoute"), 3, "{}", world.story());
    assert_eq!(applied("apply Service shop"), 1, "{}", world.story());
    assert_eq!(
        applied("apply Deployment a"),
        0,
        "who is warm is not touched\n{}",
        world.story()
    );
    assert_eq!(
        world.edges()[2..],
        [
            Edge::Roll,
            Edge::InForce,
            Edge::Advance,
            Edge::InForce,
            Edge::Advance,
            Edge::Promote,
            Edge::Bake,
            Edge::Finish
        ]
    );
    world
}

#[test]
fn a_canary_goes_through_all_steps_by_any_route() {
    a_canary_by_routes();
    for routes in [istio(), nginx()] {
        let mut world = canary(4, routes, two_steps());
        world.image("b");
        world.until(60, "step 2", |world| world.rollout().step == Some(2));
        world.until(60, "step 2 in force", |world| {
            world.rollout().in_force_at.is_some()
        });
        assert_eq!(world.gateway.most(&world.name("b")), 50);
        world.run(100);
        world.assert_steady("b");
        assert_eq!(shares(&world), "b 100");
    }
}

#[test]
fn a_route_that_is_never_accepted_is_the_environments_fault() {
    let mut world = canary(4, gateway(), two_steps());
    world.set("strategy.progressDeadlineSeconds", json!(60));
    world.gateway.taking = Taking::Silent;
    world.image("b");
    world.until_state(RolloutState::Returning);
    let cause = world.rollout().cause.unwrap();
    assert_eq!(
        (cause.blame, cause.reason.as_str()),
        (Blame::Environment, "RouteNotInForce")
    );
    assert!(
        cause.message.contains("Gateway town/gw has not taken it yet"),
        "{}",
        cause.message
    );
    world.gateway.taking = Taking::Accepts;
    world.run(60);
    // It is tried again by itself.
    world.until(200, "b", |world| world.rollout().stable == Some(world.name("b")));
}

#[test]
fn a_route_that_is_refused_brings_the_parents_words() {
    let mut world = canary(4, gateway(), two_steps());
    world.set("strategy.progressDeadlineSeconds", json!(60));
    world.image("b");
    world.until(60, "step 1 in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    world.gateway.taking = Taking::Refuses("no listener for shop.example".to_owned());
    world.until_state(RolloutState::Returning);
    let cause = world.rollout().cause.unwrap();
    assert_eq!(
        (cause.blame, cause.reason.as_str()),
        (Blame::Environment, "RouteNotInForce")
    );
    assert!(
        cause.message.contains("no listener for shop.example"),
        "{}",
        cause.message
    );
    let (_, reason, message) = world.condition("RoutesReady").unwrap();
    assert_eq!(reason, "NotAccepted");
    assert!(message.contains("no listener"), "{message}");
    world.gateway.taking = Taking::Accepts;
    world.until(30, "a", |world| world.state() == Some(RolloutState::Steady));
    world.assert_steady("a");
}

#[test]
fn a_parent_that_is_lost_for_a_while_costs_no_step() {
    let mut world = canary(4, gateway(), json!([{"weight": 10, "durationSeconds": 60}]));
    world.image("b");
    world.until(60, "step 1 in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    let since = world.rollout().in_force_at;
    world.gateway.taking = Taking::Loses;
    world.run(20);
    assert_eq!(
        (world.rollout().in_force_at, world.rollout().step),
        (since.clone(), Some(1))
    );
    world.gateway.taking = Taking::Accepts;
    world.run(10);
    assert_eq!(
        (world.rollout().in_force_at, world.rollout().step),
        (since, Some(1))
    );
    world.until_state(RolloutState::Baking);
}
