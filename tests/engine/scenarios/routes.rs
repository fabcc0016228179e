//! Canary and blue/green, where routes split the traffic between Services of the revisions.

use microservice_operator::api::{Blame, Phase, RolloutState, annotations};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{Edge, Slot};
use serde_json::{Value, json};

use crate::cluster::Behaviour;
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

fn all_ways() -> [Value; 3] {
    [gateway(), istio(), nginx()]
}

fn held_step() -> Value {
    json!([{"weight": 25, "pause": "Manual"}, {"weight": 50, "durationSeconds": 20}])
}

#[test]
fn blue_green_by_routes_moves_all_at_once() {
    for routes in all_ways() {
        let strategy = json!({"type": "BlueGreen", "bakeSeconds": 30, "blueGreen": {"switch": "Manual"}});
        let mut world = routed(3, routes.clone(), strategy);
        world.image("b");
        world.until_step(1);
        world.run(50);
        assert_eq!(world.phase(), Some(Phase::Paused), "{}", world.story());
        assert_eq!((world.asked("a"), world.asked("b")), (3, 3));
        assert_eq!(shares(&world), "a 100");
        world.promote("b", 1, 1);
        world.until_state(RolloutState::Baking);
        let kind = if routes == gateway() { "HTTPRoute" } else { "" };
        world.assert_order(&[
            "status Promoting a b",
            &format!("apply {kind}"),
            "apply Service shop b",
            "status Baking",
        ]);
        world.run(50);
        world.assert_steady("b");
    }
}

#[test]
fn a_new_change_goes_against_the_same_stable_revision() {
    for routes in all_ways() {
        for state in [
            RolloutState::Rolling,
            RolloutState::Promoting,
            RolloutState::Baking,
        ] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.image("b");
            world.until_state(state);
            if state == RolloutState::Rolling {
                world.until_step(2);
            }
            world.image("c");
            world.until(60, "c goes out", |world| {
                world.state() == Some(RolloutState::Rolling) && world.deployment("c").is_some()
            });
            assert_eq!(world.rollout().stable, Some(world.name("a")), "{}", world.story());
            assert!(!world.gateway.leads_to(&world.name("b")), "{}", world.story());
            world.run(200);
            world.assert_steady("c");
        }
    }
}

#[test]
fn the_stable_spec_ends_it_at_once() {
    for routes in all_ways() {
        for state in [
            RolloutState::Rolling,
            RolloutState::Promoting,
            RolloutState::Baking,
        ] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.image("b");
            world.until_state(state);
            if state == RolloutState::Rolling {
                world.until_step(2);
            }
            world.image("a");
            world.run(1);
            world.assert_state(RolloutState::Returning);
            assert_eq!(shares(&world), "a 100", "{state:?} {}", world.story());
            world.run(40);
            world.assert_steady("a");
            assert_eq!(world.phase(), Some(Phase::Healthy), "nothing is held");
        }
    }
}

#[test]
fn scaling_by_hand_in_mid_step_scales_both_and_restarts_nothing() {
    let mut world = canary(
        4,
        gateway(),
        json!([{"weight": 50, "durationSeconds": 100}, {"pause": "Manual"}]),
    );
    world.image("b");
    world.until_step(1);
    let since = world.rollout().in_force_at;
    world.run(20);
    for (replicas, candidate) in [(8, 4), (2, 1), (6, 3)] {
        world.set("replicas", json!(replicas));
        world.run(10);
        assert_eq!(
            (world.asked("a"), world.asked("b")),
            (replicas, candidate),
            "{}",
            world.story()
        );
        assert_eq!(
            (world.rollout().step, world.rollout().in_force_at),
            (Some(1), since.clone())
        );
    }
    world.until_step(2);
    let began = since.unwrap().0;
    assert!(
        world.now.duration_since(began).as_secs() < 110,
        "{}",
        world.story()
    );
}

#[test]
fn template_and_replicas_in_one_patch() {
    for routes in all_ways() {
        for replicas in [2, 9] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.set("replicas", json!(replicas));
            world.image("b");
            world.run(200);
            world.assert_steady("b");
            assert_eq!(world.ready("b"), replicas);
        }
    }
}

#[test]
fn an_abort_takes_it_back_in_each_state() {
    for routes in all_ways() {
        for state in [
            RolloutState::Rolling,
            RolloutState::Promoting,
            RolloutState::Baking,
        ] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.image("b");
            world.until_state(state);
            if state == RolloutState::Rolling {
                world.until_step(2);
            }
            world.command(annotations::ABORT, "b", 1);
            world.run(60);
            world.assert_steady("a");
            assert_eq!(world.summary()[2], "True RolledBack", "{state:?}");
            world.run(1000);
            world.assert_steady("a");
            assert_eq!(
                world.edges().iter().filter(|edge| **edge == Edge::Roll).count(),
                1
            );
        }
    }
}

#[test]
fn an_abort_with_nothing_under_way_changes_nothing() {
    let mut world = canary(2, gateway(), two_steps());
    world.run(10);
    let (taken, journal) = (world.taken.len(), world.journal.len());
    world.command(annotations::ABORT, "a", 1);
    world.run(20);
    assert_eq!(world.taken.len(), taken);
    // That it was ignored is said, once.
    assert_eq!(world.journal.len(), journal + 1, "{}", world.story());
    assert_eq!(
        world
            .events
            .iter()
            .filter(|event| event.reason == "CommandIgnored")
            .count(),
        1
    );
    world.assert_steady("a");
}

#[test]
fn a_persons_rollback_stays() {
    for routes in all_ways() {
        let mut world = canary(3, routes.clone(), two_steps());
        world.image("b");
        world.run(150);
        world.assert_steady("b");
        world.rollback("b", "a");
        world.run(100);
        world.assert_steady("a");
        assert_eq!(shares(&world), "a 100");
        world.run(1000);
        world.assert_steady("a");
        assert_eq!(world.summary()[2], "True RolledBack");
    }
}

#[test]
fn a_stable_revision_without_endpoints_lets_a_healthy_candidate_through() {
    for routes in all_ways() {
        let mut world = canary(3, routes, json!([{"weight": 25, "pause": "Manual"}]));
        world.image("b");
        world.until_step(1);
        world.script("a", Behaviour::CrashLoop);
        world.run(3);
        assert_eq!(shares(&world), "b 100", "{}", world.story());
        world.run(60);
        world.assert_steady("b");
        assert!(world.edges().contains(&Edge::PromoteAtOnce));
    }
}

#[test]
fn with_follow_the_stable_revision_keeps_what_its_share_needs() {
    for routes in all_ways() {
        let mut world = canary(
            10,
            routes,
            json!([{"weight": 30, "durationSeconds": 30}, {"weight": 80, "pause": "Manual"}]),
        );
        world.set("strategy.stableScale", json!("Follow"));
        world.image("b");
        world.until_step(1);
        world.run(3);
        assert_eq!((world.asked("a"), world.asked("b")), (7, 3), "{}", world.story());
        world.until_step(2);
        world.run(3);
        assert_eq!((world.asked("a"), world.asked("b")), (2, 8), "{}", world.story());
        // Pods first, then weight.
        world.journal.clear();
        world.command(annotations::ABORT, "b", 1);
        world.run(60);
        world.assert_steady("a");
        world.assert_order(&[
            "status Returning a b",
            "apply Deployment a 10",
            "apply",
            "apply Deployment b 0",
        ]);
        assert_eq!(world.ready("a"), 10);
    }
}

#[test]
fn what_becomes_of_the_previous_one() {
    for routes in all_ways() {
        for (keep, left) in [("Warm", 4), ("Cold", 0)] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.set("strategy.keepPrevious", json!(keep));
            world.set("strategy.bakeSeconds", json!(60));
            world.image("b");
            world.until_state(RolloutState::Baking);
            world.run(2);
            assert_eq!(world.asked("a"), 4, "drains");
            world.run(30);
            world.assert_state(RolloutState::Baking);
            assert_eq!(world.asked("a"), left, "{}", world.story());
            world.command(annotations::ABORT, "b", 1);
            world.run(60);
            world.assert_steady("a");
        }
    }
}

#[test]
fn a_step_by_match_alone() {
    for routes in [gateway(), istio(), nginx()] {
        let steps = json!([
            {"match": [{"headers": [{"name": "x-tester", "value": "yes"}]}], "durationSeconds": 20},
            {"weight": 50, "durationSeconds": 20},
        ]);
        let mut world = canary(4, routes, steps);
        world.image("b");
        world.until_step(1);
        assert!(world.gateway.leads_to(&world.name("b")));
        assert_eq!((world.gateway.most(&world.name("b")), world.asked("b")), (0, 1));
        world.until_step(2);
        world.run(100);
        world.assert_steady("b");
        // And back from there.
        let mut world = canary(
            4,
            gateway(),
            json!([{"match": [{"headers": [{"name": "x", "value": "y"}]}], "pause": "Manual"}]),
        );
        world.image("b");
        world.until_step(1);
        world.image("a");
        world.run(60);
        world.assert_steady("a");
    }
}

#[test]
fn weight_may_go_down_between_steps() {
    for routes in all_ways() {
        let steps = json!([
            {"weight": 50, "durationSeconds": 20}, {"weight": 20, "durationSeconds": 20}, {"weight": 0, "durationSeconds": 20},
            {"weight": 100, "durationSeconds": 20},
        ]);
        let mut world = canary(10, routes, steps);
        world.image("b");
        world.until_step(1);
        assert_eq!(world.asked("b"), 5);
        world.until_step(2);
        world.run(3);
        assert_eq!(
            (world.asked("b"), world.gateway.most(&world.name("b"))),
            (2, 20),
            "{}",
            world.story()
        );
        world.until_step(3);
        assert!(!world.gateway.leads_to(&world.name("b")), "{}", world.story());
        world.until_step(4);
        world.run(100);
        world.assert_steady("b");
    }
}

#[test]
fn a_kind_that_is_not_served_waits_and_goes_on_when_it_is() {
    let mut world = canary(4, gateway(), two_steps());
    world.served.remove(&ChildKind::HttpRoute);
    world.image("b");
    world.run(60);
    assert_eq!(world.rollout().step, Some(1));
    assert_eq!(world.rollout().in_force_at, None, "{}", world.story());
    let (_, reason, _) = world.condition("RoutesReady").unwrap();
    assert_eq!(reason, "KindMissing");
    world.served.insert(ChildKind::HttpRoute);
    world.memory.forget_seen();
    world.run(150);
    world.assert_steady("b");
}

#[test]
fn a_kind_that_is_never_served_is_the_environments_fault() {
    let mut world = canary(4, gateway(), two_steps());
    world.set("strategy.progressDeadlineSeconds", json!(60));
    world.served.remove(&ChildKind::HttpRoute);
    world.image("b");
    world.until_state(RolloutState::Returning);
    let cause = world.rollout().cause.unwrap();
    assert_eq!(cause.blame, Blame::Environment);
    assert!(cause.message.contains("does not serve"), "{}", cause.message);
}

#[test]
fn the_strategy_changes_with_the_image() {
    for routes in all_ways() {
        let mut world = canary(4, routes.clone(), two_steps());
        world.set("strategy", json!({"type": "RollingUpdate", "bakeSeconds": 20}));
        world.image("b");
        world.run(100);
        world.assert_steady("b");
        assert_eq!(shares(&world), "shop 100", "{}", world.story());
        // And back again.
        world.set(
            "strategy",
            json!({"type": "Canary", "canary": {"steps": two_steps()}, "bakeSeconds": 20}),
        );
        world.image("c");
        world.until_step(1);
        world.run(150);
        world.assert_steady("c");
        assert_eq!(shares(&world), "c 100", "{}", world.story());
        world.set("strategy", json!({"type": "BlueGreen", "bakeSeconds": 20}));
        world.image("d");
        world.run(150);
        world.assert_steady("d");
        world.set("strategy", json!({"type": "Recreate", "bakeSeconds": 20}));
        world.image("e");
        world.run(150);
        world.assert_steady("e");
    }
}

#[test]
fn a_slow_gateway_is_waited_for_when_the_strategy_changes_with_the_image() {
    let mut world = canary(4, gateway(), two_steps());
    world.gateway.seconds = 60;
    world.set("strategy", json!({"type": "RollingUpdate", "bakeSeconds": 20}));
    world.image("b");
    world.run(300);
    world.assert_steady("b");
}

#[test]
fn a_rollout_keeps_the_course_that_it_began_with() {
    for routes in all_ways() {
        for strategy in [
            json!({"type": "RollingUpdate", "bakeSeconds": 20}),
            json!({"type": "Recreate", "bakeSeconds": 20}),
            json!({"type": "BlueGreen", "bakeSeconds": 20}),
        ] {
            for state in [
                RolloutState::Rolling,
                RolloutState::Promoting,
                RolloutState::Baking,
            ] {
                let mut world = canary(4, routes.clone(), two_steps());
                world.image("b");
                world.until_state(state);
                if state == RolloutState::Rolling {
                    world.until_step(2);
                }
                world.set("strategy", strategy.clone());
                world.run(150);
                world.assert_steady("b");
            }
        }
        let mut world = routed(4, routes.clone(), json!({"bakeSeconds": 20}));
        world.script("b", Behaviour::Good(20));
        world.image("b");
        world.until(60, "one", |world| world.ready("b") == 1);
        world.set(
            "strategy",
            json!({"type": "Canary", "canary": {"steps": two_steps()}, "bakeSeconds": 20}),
        );
        world.run(300);
        world.assert_steady("b");
        assert!(!world.edges().contains(&Edge::InForce));
    }
}

#[test]
fn the_operator_restarts_in_every_state() {
    for routes in all_ways() {
        for moment in (0..130).step_by(5) {
            let mut world = canary(4, routes.clone(), two_steps());
            world.image("b");
            world.run(moment);
            world.without_operator(30);
            world.run(150);
            world.assert_steady("b");
        }
    }
}

#[test]
fn promote_early_late_twice_and_for_something_else() {
    let mut world = canary(4, gateway(), held_step());
    world.image("b");
    world.run(1);
    // Early: before the step is in force. It counts when it is.
    world.promote("b", 1, 1);
    world.until_step(2);
    // Late: that step is over.
    world.promote("b", 1, 1);
    world.run(3);
    assert_eq!(world.rollout().step, Some(2));
    world.promote("b", 2, 2);
    world.run(3);
    world.promote("b", 1, 7);
    world.run(3);
    assert_eq!(
        (world.rollout().step, world.state()),
        (Some(2), Some(RolloutState::Rolling))
    );
    let ignored: Vec<&str> = world
        .events
        .iter()
        .filter(|e| e.reason == "CommandIgnored")
        .map(|e| e.note.as_str())
        .collect();
    assert_eq!(ignored.len(), 2, "{ignored:?}");
    // A step that has a time is ended by it as well.
    world.promote("b", 1, 2);
    world.run(1);
    assert_ne!(world.rollout().step_digest.as_deref(), None);
    world.until_state(RolloutState::Baking);
    world.promote("b", 1, 2);
    world.run(60);
    world.assert_steady("b");
}

#[test]
fn pause_and_resume_in_each_state() {
    for routes in all_ways() {
        for state in [
            RolloutState::Rolling,
            RolloutState::Promoting,
            RolloutState::Baking,
        ] {
            let mut world = canary(4, routes.clone(), two_steps());
            world.image("b");
            world.until_state(state);
            if state == RolloutState::Rolling {
                world.until_step(2);
            }
            world.command(annotations::PAUSE, "b", 1);
            world.run(1000);
            world.assert_state(state);
            assert_eq!(world.phase(), Some(Phase::Paused), "{}", world.story());
            world.withdraw(annotations::PAUSE);
            world.run(150);
            world.assert_steady("b");
        }
    }
}

#[test]
fn a_crash_is_taken_back_while_it_is_paused() {
    let mut world = canary(4, gateway(), two_steps());
    world.script("b", Behaviour::CrashAfter(100));
    world.image("b");
    world.until_step(1);
    world.command(annotations::PAUSE, "b", 1);
    world.run(150);
    world.assert_steady("a");
}

#[test]
fn a_freeze_stops_what_comes_and_not_what_goes_on() {
    let mut world = canary(4, gateway(), two_steps());
    world.image("b");
    world.until_step(1);
    world.annotate(annotations::FREEZE, "the sale");
    world.run(150);
    world.assert_steady("b");
    world.image("c");
    world.run(100);
    world.assert_steady("b");
    assert_eq!(world.phase(), Some(Phase::Paused));
    world.withdraw(annotations::FREEZE);
    world.run(150);
    world.assert_steady("c");
}

#[test]
fn expedite_in_mid_rollout_skips_what_is_left() {
    for routes in all_ways() {
        let mut world = canary(4, routes, held_step());
        world.image("b");
        world.until_step(1);
        world.annotate(annotations::EXPEDITE, "app:b");
        world.until_state(RolloutState::Baking);
        assert!(world.edges().contains(&Edge::Skip));
        world.run(60);
        world.assert_steady("b");
    }
}

#[test]
fn a_rollout_waits_for_a_slot() {
    let mut world = canary(4, gateway(), two_steps());
    world.slot = Slot::Taken { ahead: 2 };
    world.image("b");
    world.run(100);
    world.assert_steady("a");
    assert_eq!(world.summary()[1], "True Queued");
    world.slot = Slot::Free;
    world.memory.forget_seen();
    world.run(150);
    world.assert_steady("b");
    // What is expedited does not wait.
    world.slot = Slot::Taken { ahead: 2 };
    world.annotate(annotations::EXPEDITE, "app:c");
    world.image("c");
    world.run(100);
    world.assert_steady("c");
}
