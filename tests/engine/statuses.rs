//! Microservices in all phases as the engine leaves them, for the tools that read their status: the tests of Argo CD's
//! scripts and of kstatus begin with these files.

use std::path::{Path, PathBuf};

use microservice_operator::api::{Phase, RolloutState, annotations};
use microservice_operator::rollout::Slot;
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::scenarios::back::crash_before_traffic;
use crate::world::{World, spec, spec_with};

const DIRECTORY: &str = "contrib/argo-cd/microservice.dev/Microservice/testdata";
const UPDATE: &str = "UPDATE_DOCS=1 cargo test --test engine statuses";

fn canary(replicas: i32, steps: Value) -> World {
    let mut world = World::serving_spec(spec_with(
        "a",
        replicas,
        json!({"strategy": {
            "type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 20,
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        }}),
    ));
    world.image("b");
    world
}

fn paused(world: &World) -> bool {
    world.phase() == Some(Phase::Paused)
}

fn unseen() -> World {
    World::new(spec("a", 2))
}

fn starting() -> World {
    let mut world = World::new(spec("a", 2));
    world.script("a", Behaviour::Good(20));
    world.run(3);
    world
}

fn starting_fails() -> World {
    let mut world = World::new(spec("a", 2));
    world.script("a", Behaviour::CrashLoop);
    world.until(900, "Degraded", |world| world.phase() == Some(Phase::Degraded));
    world
}

fn healthy() -> World {
    World::serving(2)
}

fn stopped() -> World {
    let mut world = World::serving(2);
    world.set("replicas", json!(0));
    world.run(30);
    world
}

fn rolling() -> World {
    let mut world = canary(
        4,
        json!([{"weight": 25, "durationSeconds": 60}, {"weight": 50, "pause": "Manual"}]),
    );
    world.until_step(1);
    world
}

/// The same, of which the operator has not seen the newest spec.
fn unobserved() -> World {
    let mut world = healthy();
    world.image("b");
    world
}

fn waiting_for_a_person() -> World {
    let mut world = rolling();
    world.until(200, "a person to be waited for", paused);
    world
}

fn waiting_for_a_coarse_weight() -> World {
    let mut world = canary(1, json!([{"weight": 5, "pause": "Manual"}]));
    world.until(60, "a person to be waited for", paused);
    world
}

fn paused_by_a_person() -> World {
    let mut world = rolling();
    world.command(annotations::PAUSE, "b", 1);
    world.run(5);
    world
}

fn promoted_by_a_person() -> World {
    let mut world = waiting_for_a_person();
    world.promote("b", 1, 2);
    world
}

fn baking() -> World {
    let mut world = promoted_by_a_person();
    world.until_state(RolloutState::Baking);
    world
}

fn returning() -> World {
    let mut world = World::serving(3);
    world.script("b", Behaviour::Good(20));
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.rollback("b", "a");
    world.run(1);
    world.assert_state(RolloutState::Returning);
    world
}

fn held_by_the_environment() -> World {
    let mut world = World::serving(3);
    world.script("b", Behaviour::PullBackOff);
    world.image("b");
    world.until_state(RolloutState::Returning);
    world.until_state(RolloutState::Steady);
    world
}

fn retried() -> World {
    let mut world = crash_before_traffic();
    world.annotate(annotations::FREEZE, "the big sale");
    world.run(3);
    world.retry("b", 1);
    world
}

fn frozen() -> World {
    let mut world = healthy();
    world.annotate(annotations::FREEZE, "the big sale");
    world.image("b");
    world.run(3);
    world
}

fn queued() -> World {
    let mut world = healthy();
    world.slot = Slot::Taken { ahead: 2 };
    world.image("b");
    world.run(3);
    world
}

fn suspended() -> World {
    let mut world = healthy();
    world.suspend(true);
    world.run(3);
    world
}

/// A ConfigMap that the next revision reads is not there.
fn dependency_missing() -> World {
    let mut world = healthy();
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}]);
    world.set("env", env);
    world.run(10);
    world
}

fn dependency_missing_for_long() -> World {
    let mut world = dependency_missing();
    world.run(700);
    world
}

/// The object as the API server would give it.
fn object(world: &World) -> Value {
    let mut object = serde_json::to_value(&world.api.service).unwrap();
    if world.api.service.status.is_none() {
        // The default of the schema.
        object["status"] = json!({"observedGeneration": -1});
    }
    let revisions = object["status"]["revisions"].as_array_mut();
    for revision in revisions.into_iter().flatten() {
        // A new version of the operator is no news.
        revision["renderedBy"] = json!("0.0.0");
    }
    object
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(DIRECTORY)
        .join(format!("{name}.yaml"))
}

#[test]
fn the_files_for_other_tools_are_what_the_engine_writes() {
    let all: [(&str, World, Option<Phase>); 21] = [
        ("unseen", unseen(), None),
        ("unobserved", unobserved(), Some(Phase::Healthy)),
        ("starting", starting(), Some(Phase::Progressing)),
        ("starting-fails", starting_fails(), Some(Phase::Degraded)),
        ("healthy", healthy(), Some(Phase::Healthy)),
        ("stopped", stopped(), Some(Phase::Healthy)),
        ("rolling", rolling(), Some(Phase::Progressing)),
        (
            "waiting-for-a-person",
            waiting_for_a_person(),
            Some(Phase::Paused),
        ),
        (
            "waiting-for-a-coarse-weight",
            waiting_for_a_coarse_weight(),
            Some(Phase::Paused),
        ),
        (
            "promoted-by-a-person",
            promoted_by_a_person(),
            Some(Phase::Paused),
        ),
        ("paused-by-a-person", paused_by_a_person(), Some(Phase::Paused)),
        ("baking", baking(), Some(Phase::Progressing)),
        ("returning", returning(), Some(Phase::Progressing)),
        ("rolled-back", crash_before_traffic(), Some(Phase::Degraded)),
        ("retried", retried(), Some(Phase::Degraded)),
        (
            "held-by-the-environment",
            held_by_the_environment(),
            Some(Phase::Degraded),
        ),
        ("frozen", frozen(), Some(Phase::Paused)),
        ("queued", queued(), Some(Phase::Progressing)),
        ("suspended", suspended(), Some(Phase::Suspended)),
        (
            "dependency-missing",
            dependency_missing(),
            Some(Phase::Progressing),
        ),
        (
            "dependency-missing-for-long",
            dependency_missing_for_long(),
            Some(Phase::Degraded),
        ),
    ];
    let mut stale = Vec::new();
    for (name, world, phase) in &all {
        if world.phase() != *phase {
            stale.push(format!(
                "{name} is {:?} and not {phase:?}\n{}",
                world.phase(),
                world.story()
            ));
        }
        let text = serde_saphyr::to_string(&object(world)).unwrap();
        let path = file(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        }
        if std::fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push((*name).to_owned());
        }
    }
    assert!(
        stale.is_empty(),
        "{DIRECTORY}: {stale:?} are not what the engine writes: {UPDATE}"
    );
}
