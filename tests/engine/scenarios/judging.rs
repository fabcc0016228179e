//! Objectives: what the requests of a candidate do to its rollout.

use microservice_operator::api::{Blame, CheckVerdict, RolloutState, annotations};
use serde_json::{Value, json};

use crate::world::{World, spec_with};

/// A service with an objective and steps of a minute, by pods.
fn service(analysis: Value) -> World {
    let mut world = World::serving_spec(spec_with(
        "a",
        10,
        json!({
            "objectives": [{"name": "availability", "goodPercent": "99", "indicator": {"errors": {}}}],
            "strategy": {
                "type": "Canary", "analysis": analysis, "bakeSeconds": 20, "progressDeadlineSeconds": 300,
                "canary": {"steps": [{"weight": 10, "durationSeconds": 60}, {"weight": 50, "durationSeconds": 60}]},
            },
        }),
    ));
    world.requests("a", 180, 0);
    world
}

fn in_force(world: &mut World, step: i32) {
    world.until(90, "the step to be in force", |world| {
        world.rollout().step == Some(step) && world.rollout().in_force_at.is_some()
    });
}

fn reason(world: &World) -> String {
    let checks = world.rollout().checks;
    checks
        .first()
        .map(|check| check.reason.clone())
        .unwrap_or_default()
}

#[test]
fn one_that_is_worse_goes_back_at_once() {
    let mut world = service(json!({}));
    world.image("b");
    in_force(&mut world, 1);
    assert_eq!(reason(&world), "NotRead");
    world.requests("b", 20, 20);
    world.until(5, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
    let cause = world.rollout().cause.unwrap();
    assert_eq!(
        (cause.blame, cause.reason.as_str()),
        (Blame::Candidate, "WorseThanStable")
    );
    let b = world.name("b");
    assert!(
        cause.message.starts_with(&format!(
            "availability: 100 % of 40 requests of {b} were bad; 0 % of "
        )),
        "{}",
        cause.message
    );
    world.run(60);
    world.assert_steady("a");
    // What was found is told once, and stays with the cause.
    let check = world.rollout().checks.remove(0);
    assert_eq!(
        (check.name.as_str(), check.verdict, check.reason.as_str()),
        ("availability", CheckVerdict::Failing, "WorseThanStable")
    );
    assert_eq!(
        (check.value.as_deref(), check.baseline.as_deref(), check.samples),
        (Some("100"), Some("0"), 40)
    );
    assert_eq!(
        told(&world),
        [format!(
            "CheckFailing: availability fails (WorseThanStable): 100 % of 40 requests of {b} were bad, 0 % of the stable \
             revision's"
        )]
    );
    // Neither is it tried again, nor does the evidence weigh on the next one.
    world.requests("c", 20, 0);
    world.image("c");
    in_force(&mut world, 1);
    assert_eq!(world.rollout().checks[0].verdict, CheckVerdict::Inconclusive);
    world.run(300);
    world.assert_steady("c");
    assert!(world.rollout().checks.is_empty());
    assert_eq!(told(&world).len(), 1);
}

/// What was told of checks.
fn told(world: &World) -> Vec<String> {
    let events = world.events.iter();
    let of_checks = events.filter(|event| event.reason.starts_with("Check"));
    of_checks
        .map(|event| format!("{}: {}", event.reason, event.note))
        .collect()
}

#[test]
fn one_that_is_as_good_goes_through() {
    let mut world = service(json!({}));
    world.requests("b", 20, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.run(10);
    let check = world.rollout().checks.remove(0);
    assert_eq!(
        (check.name.as_str(), check.verdict),
        ("availability", CheckVerdict::Inconclusive)
    );
    assert_eq!(check.reason, "NothingFound");
    world.run(300);
    world.assert_steady("b");
    assert!(world.rollout().checks.is_empty());
}

#[test]
fn a_trouble_of_both_holds_it_until_it_is_over() {
    let mut world = service(json!({}));
    world.image("b");
    in_force(&mut world, 1);
    world.requests("a", 180, 20);
    world.requests("b", 20, 2);
    world.run(200);
    assert_eq!(world.rollout().step, Some(1), "{}", world.story());
    assert_eq!(reason(&world), "SharedWithStable");
    let waiting = world.rollout().waiting_for.unwrap();
    assert!(
        waiting.contains("the stable revision to recover as well"),
        "{waiting}"
    );
    let shared = |told: &[String]| {
        let words = "CheckInconclusive: availability is open (SharedWithStable)";
        told.iter().filter(|told| told.starts_with(words)).count()
    };
    assert_eq!(shared(&told(&world)), 1, "{:?}", told(&world));
    world.requests("a", 180, 0);
    world.requests("b", 20, 0);
    world.run(600);
    world.assert_steady("b");
    let all = told(&world);
    assert_eq!(
        (shared(&all), all.len()),
        (1, 2),
        "that it is over is told too: {all:?}"
    );
}

#[test]
fn one_that_is_found_out_in_the_bake_goes_back_too() {
    let mut world = service(json!({}));
    world.requests("b", 20, 0);
    world.image("b");
    world.until_state(RolloutState::Baking);
    // All the traffic is its own now: there is nobody to compare it with.
    world.requests("a", 0, 0);
    world.requests("b", 200, 40);
    world.until(15, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
    assert_eq!(world.rollout().cause.unwrap().reason, "ObjectiveMissed");
    world.run(60);
    world.assert_steady("a");
}

#[test]
fn without_requests_it_goes_on() {
    let mut world = service(json!({}));
    world.requests("b", 0, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.run(3);
    assert_eq!(reason(&world), "NoRequests");
    world.run(300);
    world.assert_steady("b");
}

#[test]
fn it_waits_for_requests_where_it_is_to_and_the_deadline_ends_that() {
    let mut world = service(json!({"noData": "Wait", "minimumRequests": 50}));
    world.requests("b", 0, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.run(200);
    assert_eq!(
        (world.rollout().step, world.state()),
        (Some(1), Some(RolloutState::Rolling))
    );
    let b = world.name("b");
    let waiting = world.rollout().waiting_for.unwrap();
    assert!(
        waiting.ends_with(&format!("availability: 0 of 50 requests of {b} seen")),
        "{waiting}"
    );
    world.until(200, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
    let cause = world.rollout().cause.unwrap();
    assert_eq!(
        (cause.blame, cause.reason.as_str()),
        (Blame::Environment, "NoData")
    );
    // It is tried again by itself, and this time somebody asks.
    world.requests("b", 20, 0);
    world.run(600);
    world.assert_steady("b");
}

#[test]
fn a_person_need_not_wait_for_requests() {
    let mut world = service(json!({"noData": "Wait"}));
    world.requests("b", 0, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.run(100);
    world.promote("b", 1, 1);
    world.run(2);
    assert_eq!(world.rollout().step, Some(2));
}

#[test]
fn one_that_is_cleared_does_not_wait_for_the_end_of_its_steps() {
    let mut world = service(json!({"clearEarlyFactor": "3"}));
    world.set("strategy/canary/steps/0/durationSeconds", json!(86400));
    world.requests("b", 200, 0);
    world.requests("a", 1800, 18);
    world.image("b");
    world.until(300, "the bake", |world| {
        world.state() == Some(RolloutState::Baking)
    });
}

#[test]
fn a_restarted_operator_gathers_the_evidence_anew() {
    let mut world = service(json!({}));
    world.image("b");
    in_force(&mut world, 1);
    world.requests("b", 20, 1);
    world.run(3);
    world.memory = Default::default();
    world.requests("b", 20, 20);
    world.until(6, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
}

#[test]
fn where_nothing_is_to_be_judged_nothing_is() {
    let mut world = service(json!({"source": "None"}));
    world.requests("b", 20, 20);
    world.image("b");
    in_force(&mut world, 1);
    assert!(world.rollout().checks.is_empty());
    world.run(300);
    world.assert_steady("b");
}

const OUTAGE: &str = "prometheus:9090: Prometheus answered: 503";

fn by_prometheus() -> World {
    service(json!({"source": "Prometheus", "prometheus": {"address": "http://prometheus:9090"}}))
}

#[test]
fn by_prometheus_it_is_judged_as_by_the_pods() {
    for (bad, steady) in [(0, "b"), (20, "a")] {
        let mut world = by_prometheus();
        world.requests("b", 20, bad);
        world.image("b");
        world.run(400);
        world.assert_steady(steady);
    }
}

#[test]
fn while_prometheus_is_down_nothing_is_promoted_or_taken_back() {
    let mut world = by_prometheus();
    world.requests("b", 20, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.run(10);
    world.source(Some(OUTAGE));
    // Far beyond the step and the deadline.
    world.run(1000);
    assert_eq!(
        (world.state(), world.rollout().step),
        (Some(RolloutState::Rolling), Some(1))
    );
    let (status, reason, message) = world.condition("AnalysisReady").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "SourceUnavailable"));
    assert!(message.starts_with(OUTAGE), "{message}");
    world.source(None);
    world.until_step(2);
    assert_eq!(world.condition("AnalysisReady"), None);
    world.source(Some(OUTAGE));
    world.run(1000);
    assert_eq!(world.rollout().step, Some(2));
    world.source(None);
    world.until_state(RolloutState::Baking);
    world.source(Some(OUTAGE));
    world.run(1000);
    world.assert_state(RolloutState::Baking);
    world.source(None);
    world.run(30);
    world.assert_steady("b");
}

#[test]
fn while_prometheus_is_down_pods_still_take_a_revision_back() {
    let mut world = by_prometheus();
    world.requests("b", 20, 0);
    world.image("b");
    in_force(&mut world, 1);
    world.source(Some(OUTAGE));
    world.run(100);
    world.script("b", crate::cluster::Behaviour::CrashLoop);
    world.run(60);
    world.assert_steady("a");
}

#[test]
fn while_prometheus_is_down_a_person_can_bring_a_fix_out() {
    let mut world = by_prometheus();
    world.source(Some(OUTAGE));
    world.image("b");
    in_force(&mut world, 1);
    world.run(200);
    assert_eq!(world.rollout().step, Some(1));
    world.annotate(annotations::EXPEDITE, "app:b");
    world.run(200);
    world.assert_steady("b");
}

#[test]
fn objectives_that_queries_tell_are_not_judged_by_pods() {
    let queries = |name: &str| json!({"name": name, "goodPercent": "99", "indicator": {"queries": {"good": "a", "total": "b"}}});
    let errors = json!({"name": "availability", "goodPercent": "99", "indicator": {"errors": {}}});
    for (objectives, analysis, judged) in [
        (json!([queries("sold")]), Value::Null, vec![]),
        // As without objectives: compared with the stable revision.
        (json!([queries("sold")]), json!({}), vec!["errors"]),
        (
            json!([queries("sold"), errors]),
            Value::Null,
            vec!["availability"],
        ),
    ] {
        let mut world = World::serving_spec(spec_with(
            "a",
            10,
            json!({
                "objectives": objectives,
                "strategy": {"type": "Canary", "analysis": analysis,
                    "canary": {"steps": [{"weight": 10, "durationSeconds": 60}]}},
            }),
        ));
        world.image("b");
        in_force(&mut world, 1);
        let checks = world.rollout().checks;
        let names: Vec<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        assert_eq!(names, judged);
    }
}
