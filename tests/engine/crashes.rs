//! The operator dies after every single write, and ends up where it would have without that.

use std::collections::BTreeMap;

use microservice_operator::api::{MicroserviceStatus, annotations};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::Edge;
use serde_json::{Value, json};

use super::cluster::Behaviour;
use super::scenarios::routes::{gateway, nginx, routed};
use super::world::{World, spec_with};

/// What is left in the end, without times and numbers of rollouts that a crash may add to.
#[derive(Debug, PartialEq)]
struct Outcome {
    objects: BTreeMap<(ChildKind, String), Value>,
    phase: String,
    message: Option<String>,
    rollout: Value,
    conditions: Vec<(String, String, String)>,
    history: Vec<(String, String)>,
}

fn outcome(world: &World) -> Outcome {
    let MicroserviceStatus {
        phase,
        message,
        rollout,
        conditions,
        history,
        ..
    } = world.status();
    let mut rollout = serde_json::to_value(rollout).unwrap();
    for time in ["startedAt", "stepStartedAt", "progressAt", "retryAt", "deadline"] {
        rollout.as_object_mut().unwrap().remove(time);
    }
    let objects = world.api.objects.iter().map(|(key, stored)| {
        let mut object = serde_json::Value::clone(&stored.object);
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.remove("uid");
        metadata.remove("generation");
        object.as_object_mut().unwrap().remove("status");
        (key.clone(), object)
    });
    Outcome {
        objects: objects.collect(),
        phase: format!("{phase:?}"),
        message,
        rollout,
        conditions: conditions
            .into_iter()
            .map(|c| (c.type_, c.status, c.reason))
            .collect(),
        history: history.into_iter().map(|h| (h.revision, h.outcome)).collect(),
    }
}

/// What happens to the service from outside, and when.
type Life = fn(&mut World);

const UPDATE: Life = |world| {
    world.image("b");
    world.run(60);
};

const CRASH_BEFORE_TRAFFIC: Life = |world| {
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(60);
};

const CRASH_WHILE_BAKING: Life = |world| {
    world.script("b", Behaviour::CrashAfter(15));
    world.image("b");
    world.run(60);
};

const OVERTAKEN: Life = |world| {
    world.script("b", Behaviour::Good(10));
    world.image("b");
    world.run(25);
    world.image("c");
    world.run(80);
};

const ROLLBACK: Life = |world| {
    world.image("b");
    world.run(60);
    world.rollback("b", "a");
    world.run(60);
};

const RETRY: Life = |world| {
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(40);
    world.script("b", Behaviour::Good(2));
    world.retry("b", 1);
    world.run(60);
};

const RESTART: Life = |world| {
    let name = world.name("a");
    world.annotate(annotations::RESTART, &name);
    world.run(60);
};

const FLIP: Life = |world| {
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.run(60);
};

const BROKEN: Life = |world| {
    world.script("a", Behaviour::CrashLoop);
    world.run(5);
    world.image("b");
    world.run(60);
};

fn crash_everywhere(start: &World, life: Life) {
    let mut world = start.clone();
    let first = world.writes;
    life(&mut world);
    let expected = outcome(&world);
    assert!(world.writes > first + 3);
    for write in first + 1..=world.writes {
        for lost_reply in [false, true] {
            let mut crashed = start.clone();
            if lost_reply {
                crashed.faults.lost_reply = Some(write);
            } else {
                crashed.faults.crash_after = Some(write);
            }
            life(&mut crashed);
            crashed.run(40);
            let found = outcome(&crashed);
            assert!(
                found == expected,
                "after write {write}: {found:#?}\nand not {expected:#?}\n{}",
                crashed.story()
            );
        }
    }
}

fn serving() -> World {
    World::serving_spec(spec_with("a", 3, json!({"strategy": {"bakeSeconds": 15}})))
}

fn recreated() -> World {
    World::serving_spec(spec_with(
        "a",
        2,
        json!({"strategy": {"type": "Recreate", "bakeSeconds": 15}}),
    ))
}

#[test]
fn first_deploy() {
    let start = World::new(spec_with("a", 2, json!({"config": {"env": {"A": "1"}}})));
    crash_everywhere(&start, |world| world.run(30));
}

#[test]
fn update() {
    crash_everywhere(&serving(), UPDATE);
}

#[test]
fn update_by_recreate() {
    crash_everywhere(&recreated(), UPDATE);
}

#[test]
fn crash_before_traffic() {
    crash_everywhere(&serving(), CRASH_BEFORE_TRAFFIC);
    crash_everywhere(&recreated(), CRASH_BEFORE_TRAFFIC);
}

#[test]
fn crash_while_baking() {
    crash_everywhere(&serving(), CRASH_WHILE_BAKING);
}

#[test]
fn overtaken() {
    crash_everywhere(&serving(), OVERTAKEN);
}

#[test]
fn rollback() {
    crash_everywhere(&serving(), ROLLBACK);
}

#[test]
fn retry() {
    crash_everywhere(&serving(), RETRY);
}

#[test]
fn restart() {
    crash_everywhere(&serving(), RESTART);
}

#[test]
fn flip() {
    crash_everywhere(&serving(), FLIP);
}

#[test]
fn broken_stable() {
    crash_everywhere(&serving(), BROKEN);
}

const STEPS: Life = |world| {
    world.image("b");
    world.run(120);
};

const ABORT: Life = |world| {
    world.image("b");
    world.run(30);
    world.command(annotations::ABORT, "b", 1);
    world.run(60);
};

/// The ways of releasing in steps: by a Gateway, by two Ingresses, by pods, and all at once.
fn stepped() -> [World; 4] {
    let canary = json!({
        "type": "Canary", "bakeSeconds": 15, "coarseWeights": "Allow",
        "canary": {"steps": [{"weight": 30, "durationSeconds": 15}, {"weight": 60, "durationSeconds": 15}]},
    });
    let colours = json!({"type": "BlueGreen", "blueGreen": {"previewSeconds": 15}, "bakeSeconds": 15});
    [
        routed(3, gateway(), canary.clone()),
        routed(3, nginx(), canary.clone()),
        routed(3, json!([]), canary),
        routed(3, gateway(), colours),
    ]
}

#[test]
fn steps() {
    for start in stepped() {
        crash_everywhere(&start, STEPS);
    }
}

#[test]
fn aborted_steps() {
    for start in stepped() {
        crash_everywhere(&start, ABORT);
    }
}

#[test]
fn a_verdict_survives_a_crash_and_another_spec() {
    for write in 1..12 {
        let mut world = serving();
        world.faults.crash_after = Some(world.writes + write);
        world.script("b", Behaviour::CrashLoop);
        world.image("b");
        // Up to the very write that says so, and not one further.
        while !world.edges().contains(&Edge::Reject) {
            world.work();
            world.pass();
        }
        world.image("a");
        world.run(30);
        world.image("b");
        world.run(60);
        let trials = world.edges().iter().filter(|edge| **edge == Edge::Roll).count();
        assert_eq!(trials, 1, "after write {write}\n{}", world.story());
        world.assert_steady("a");
    }
}
