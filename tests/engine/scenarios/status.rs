//! The status: the design's table, the caps, and what is worth a write.

use microservice_operator::api::{Phase, RolloutState};
use microservice_operator::rollout::{Worth, plan};
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::scenarios::back::crash_before_traffic;
use crate::scenarios::update::rolling_update;
use crate::world::{World, spec_with};

/// Phase, Ready, Reconciling and Stalled (status only), Available.
fn row(world: &World) -> (Option<Phase>, [String; 4]) {
    let word = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
    (world.phase(), world.summary().map(word))
}

fn words(row: [&str; 4]) -> [String; 4] {
    row.map(str::to_owned)
}

#[test]
fn the_conditions_are_those_of_the_design() {
    let mut world = World::serving(3);
    assert_eq!(
        row(&world),
        (Some(Phase::Healthy), words(["True", "-", "-", "True"])),
        "done"
    );
    world.script("b", Behaviour::Good(20));
    world.image("b");
    world.run(2);
    let under_way = (Some(Phase::Progressing), words(["Unknown", "True", "-", "True"]));
    assert_eq!(row(&world), under_way, "rolling out");
    world.until_state(RolloutState::Baking);
    assert_eq!(row(&world), under_way, "baking");
    world.rollback("b", "a");
    world.run(1);
    world.assert_state(RolloutState::Returning);
    assert_eq!(row(&world), under_way, "returning");
    world.run(60);
    let back = (Some(Phase::Degraded), words(["False", "-", "True", "True"]));
    assert_eq!(row(&world), back, "rolled back, the old one serves");
    world.suspend(true);
    world.run(2);
    assert_eq!(world.phase(), Some(Phase::Suspended));
}

#[test]
fn conditions_carry_the_generation_and_keep_their_time() {
    let mut world = rolling_update();
    let before = world.status().conditions;
    world.run(50);
    assert_eq!(world.status().conditions, before);
    let generation = world.api.service.metadata.generation;
    assert!(before.iter().all(|c| c.observed_generation == generation));
    assert_eq!(Some(world.status().observed_generation), generation);
}

#[test]
fn a_settled_service_is_worth_no_write() {
    for mut world in [rolling_update(), crash_before_traffic()] {
        world.run(20);
        let plan = plan(&world.observed(), world.now);
        assert_eq!(
            (plan.worth, plan.steps.len(), plan.wake),
            (Worth::Nothing, 0, None),
            "{}",
            world.story()
        );
    }
}

#[test]
fn counts_alone_are_told_a_little_later() {
    let mut world = World::serving(6);
    world.script("b", Behaviour::Good(3));
    world.image("b");
    world.until(60, "some", |world| world.ready("b") > 0);
    let observed = world.observed();
    let seen = plan(&observed, world.now);
    assert_eq!(seen.worth, Worth::Counts, "pods that come are counts");
    world.script("b", Behaviour::CrashLoop);
    world.run(30);
    assert_eq!(world.phase(), Some(Phase::Degraded));
}

#[test]
fn a_status_of_large_parts_fits() {
    let hosts: Vec<Value> = (0..16)
        .map(|i| json!(format!("host-{i}.{}.example.com", "x".repeat(60))))
        .collect();
    let routes: Vec<Value> = (0..16)
        .map(|i| json!({"name": format!("r{i}"), "hosts": hosts, "ingress": {"className": "nginx"}}))
        .collect();
    let more = json!({"routes": routes, "strategy": {"bakeSeconds": 0}});
    let mut world = World::serving_spec(spec_with("a", 1, more));
    for round in 0..14 {
        let env: Vec<Value> = (0..8)
            .map(|i| json!({"name": format!("VARIABLE_{i}_{}", "Y".repeat(200)), "value": format!("{round}-{i}")}))
            .collect();
        world.set("env", json!(env));
        world.image(&format!("{}-{round}", "z".repeat(900)));
        world.run(15);
    }
    let status = world.status();
    assert!(serde_json::to_vec(&status).unwrap().len() <= 16 * 1024);
    assert!(status.urls.len() <= 16 && !status.urls.is_empty());
    assert!(status.rollout.is_some() && !status.history.is_empty() && !status.conditions.is_empty());
}

#[test]
fn evidence_of_any_length_is_cut_between_characters() {
    let mut world = World::serving(2);
    world.refuse(crate::api_server::Refusal {
        kind: microservice_operator::render::ChildKind::Deployment,
        containing: "app:b".to_owned(),
        class: microservice_operator::rollout::FailureClass::Invalid,
        message: "数据库连接失败".repeat(9000),
    });
    world.image("b");
    world.run(30);
    world.assert_steady("a");
    let message = world.status().message.unwrap();
    assert!(message.len() <= 1024 && message.contains("数据库"));
    let record = world
        .object(
            microservice_operator::render::ChildKind::ControllerRevision,
            &world.name("b"),
        )
        .unwrap();
    assert!(
        record.record().unwrap().notes.rejected.unwrap().message.len() <= 1024,
        "the record is no log either"
    );
}
