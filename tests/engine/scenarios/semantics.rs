//! What every way of releasing in steps has in common: a canary and a blue/green rollout, by each kind of route and by
//! the Service alone.

use microservice_operator::api::{Phase, RolloutState, annotations};
use microservice_operator::rollout::Edge;
use serde_json::{Value, json};

use super::routes::{gateway, istio, nginx, routed};
use crate::cluster::Behaviour;
use crate::world::World;

/// A way of releasing.
#[derive(Clone, Debug)]
struct Way {
    routes: Value,
    strategy: Value,
}

const STATES: [RolloutState; 3] = [
    RolloutState::Rolling,
    RolloutState::Promoting,
    RolloutState::Baking,
];

fn ways() -> Vec<Way> {
    let steps = json!([{"weight": 25, "durationSeconds": 20}, {"weight": 50, "durationSeconds": 20}]);
    let canary =
        json!({"type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 20, "coarseWeights": "Allow"});
    let colours = json!({"type": "BlueGreen", "blueGreen": {"previewSeconds": 20}, "bakeSeconds": 20});
    let mut ways = Vec::new();
    for routes in [json!([]), gateway(), istio(), nginx()] {
        for strategy in [&canary, &colours] {
            ways.push(Way {
                routes: routes.clone(),
                strategy: strategy.clone(),
            });
        }
    }
    ways
}

impl Way {
    fn serving(&self, replicas: i32) -> World {
        routed(replicas, self.routes.clone(), self.strategy.clone())
    }

    /// Revision b has come to a state.
    fn come_to(&self, state: RolloutState) -> World {
        let mut world = self.serving(4);
        world.image("b");
        world.until_state(state);
        if state == RolloutState::Rolling {
            world.until_step(1);
        }
        world
    }
}

/// Whether a caller can get to a revision.
fn gets_requests(world: &World, tag: &str) -> bool {
    let rooted = matches!(world.selected(), Some(only) if only == "all" || only == tag);
    world.ready(tag) > 0 && (rooted || world.gateway.leads_to(&world.name(tag)))
}

#[test]
fn a_new_change_goes_against_the_stable_revision_and_the_one_between_loses_its_traffic() {
    for way in ways() {
        for state in STATES {
            let mut world = way.come_to(state);
            world.image("c");
            world.until(90, "c goes out", |world| {
                world.state() == Some(RolloutState::Rolling) && world.deployment("c").is_some()
            });
            let rollout = world.rollout();
            assert_eq!(
                (rollout.stable, rollout.candidate),
                (Some(world.name("a")), Some(world.name("c"))),
                "{way:?} {state:?} {}",
                world.story()
            );
            assert!(!gets_requests(&world, "b"), "{way:?} {state:?} {}", world.story());
            world.run(200);
            world.assert_steady("c");
            assert!(world.deployment("b").is_none());
        }
    }
}

#[test]
fn returning_to_the_stable_spec_ends_it_at_once() {
    for way in ways() {
        for state in STATES {
            let mut world = way.come_to(state);
            world.image("a");
            world.run(1);
            // By pods of one Service it is over by now.
            assert!(world.edges().contains(&Edge::Supersede), "{way:?} {state:?}");
            world.until(20, "b has no traffic", |world| !gets_requests(world, "b"));
            world.run(60);
            world.assert_steady("a");
            assert_eq!(
                world.phase(),
                Some(Phase::Healthy),
                "nothing is held: {way:?} {state:?}"
            );
        }
    }
}

#[test]
fn scaling_in_mid_step_scales_both_in_proportion_and_restarts_nothing() {
    for way in ways() {
        for autoscaled in [false, true] {
            let mut world = way.serving(4);
            if autoscaled {
                world.set(
                    "autoscaling",
                    json!({"minReplicas": 2, "maxReplicas": 20, "cpu": 50}),
                );
                world.run(5);
            }
            world.image("b");
            world.until_step(1);
            let before = world.rollout();
            for replicas in [8, 4] {
                if autoscaled {
                    world.scale(replicas);
                } else {
                    world.set("replicas", json!(replicas));
                }
                world.run(7);
                let rollout = world.rollout();
                let (old, new) = (world.asked("a"), world.asked("b"));
                let words = format!("{way:?} {replicas}: {old} and {new} {}", world.story());
                assert_eq!(
                    (rollout.step, rollout.in_force_at),
                    (before.step, before.in_force_at.clone()),
                    "{words}"
                );
                if way.strategy["type"] == "BlueGreen" {
                    assert_eq!((old, new), (replicas, replicas), "{words}");
                } else if way.routes == json!([]) {
                    // A quarter of the pods, of which there are a quarter more.
                    assert_eq!(old + new, replicas + replicas / 4, "{words}");
                    assert!((20..=30).contains(&(100 * new / (old + new))), "{words}");
                } else {
                    assert_eq!((old, new), (replicas, replicas / 4), "{words}");
                }
            }
            world.run(150);
            world.assert_steady("b");
            let shared_by_routes = way.strategy["type"] == "Canary" && way.routes != json!([]);
            let landed = if autoscaled && shared_by_routes {
                // The half of the last step came on top, and all of them carried the traffic.
                6
            } else {
                4
            };
            assert_eq!(world.ready("b"), landed, "{way:?}");
        }
    }
}

#[test]
fn template_and_replicas_in_one_patch() {
    for way in ways() {
        for replicas in [2, 9] {
            let mut world = way.serving(4);
            world.set("replicas", json!(replicas));
            world.image("b");
            world.run(200);
            world.assert_steady("b");
            assert_eq!(world.ready("b"), replicas, "{way:?}");
        }
    }
}

#[test]
fn an_abort_is_done_in_each_state_and_changes_nothing_in_peace() {
    for way in ways() {
        for state in STATES {
            let mut world = way.come_to(state);
            world.command(annotations::ABORT, "b", 1);
            world.run(80);
            world.assert_steady("a");
            assert_eq!(world.summary()[2], "True RolledBack", "{way:?} {state:?}");
            // It is still there, and is not done again to the next trial.
            world.retry("b", 1);
            world.run(200);
            world.assert_steady("b");
        }
        let mut world = way.serving(2);
        let taken = world.taken.len();
        world.command(annotations::ABORT, "a", 1);
        world.run(20);
        assert_eq!(world.taken.len(), taken, "{way:?}");
        world.assert_steady("a");
    }
}

#[test]
fn a_persons_rollback_stays() {
    for way in ways() {
        let mut world = way.serving(3);
        world.image("b");
        world.run(150);
        world.assert_steady("b");
        world.rollback("b", "a");
        world.run(1000);
        world.assert_steady("a");
        assert_eq!(world.summary()[2], "True RolledBack", "{way:?}");
    }
}

#[test]
fn a_stable_revision_without_endpoints_lets_a_healthy_candidate_through_at_once() {
    for way in ways() {
        let mut world = way.come_to(RolloutState::Rolling);
        world.script("a", Behaviour::NeverReady);
        // Traffic goes there at once, where it can; for good when it was no mere moment.
        world.run(3);
        if way.routes != json!([]) {
            let candidate = world.name("b");
            assert_eq!(world.gateway.most(&candidate), 100, "{way:?} {}", world.story());
        }
        world.run(5);
        assert!(
            world.edges().contains(&Edge::PromoteAtOnce),
            "{way:?} {}",
            world.story()
        );
        world.run(80);
        world.assert_steady("b");
    }
}

#[test]
fn an_edit_of_the_steps_takes_no_traffic_away() {
    for routes in [gateway(), istio(), nginx()] {
        for paused in [false, true] {
            let steps = json!([{"weight": 50, "durationSeconds": 300}]);
            let mut world = super::routes::canary(4, routes.clone(), steps);
            world.image("b");
            world.until_step(1);
            world.run(3);
            if paused {
                world.suspend(true);
                world.run(2);
            }
            world.set(
                "strategy.canary.steps",
                json!([{"weight": 5}, {"weight": 80, "pause": "Manual"}]),
            );
            for _ in 0..20 {
                world.run(1);
                let most = world.gateway.most(&world.name("b"));
                assert!(
                    most >= 50 && (!paused || most == 50),
                    "{paused} {most} {}",
                    world.story()
                );
            }
            world.suspend(false);
            world.until_step(2);
        }
    }
}

#[test]
fn a_way_back_that_has_begun_is_not_undone_by_scaling() {
    for routes in [gateway(), istio(), nginx()] {
        let mut world = super::routes::canary(2, routes, json!([{"weight": 50, "pause": "Manual"}]));
        world.image("b");
        world.until_step(1);
        world.image("a");
        world.run(1);
        world.script("a", Behaviour::Good(20));
        world.set("replicas", json!(6));
        for _ in 0..15 {
            world.run(1);
            assert_eq!(super::routes::shares(&world), "a 100", "{}", world.story());
        }
        world.run(60);
        world.assert_steady("a");
    }
}

#[test]
fn pods_that_nobody_remembers_answer_what_is_on_its_way_to_them() {
    let mut world = super::routes::canary(2, gateway(), json!([{"weight": 50, "pause": "Manual"}]));
    world.image("b");
    world.until_step(1);
    world.image("c");
    world.run(1);
    assert_eq!(super::routes::shares(&world), "a 100");
    world.lose_status();
    for _ in 0..8 {
        world.run(1);
        assert!(world.ready("b") > 0, "{}", world.story());
    }
    world.run(60);
    assert!(world.deployment("b").is_none(), "{}", world.story());
}
