//! Checks with limits of their own: what measurements do to a rollout.

use microservice_operator::analysis::threshold::Outcome;
use microservice_operator::api::{Blame, CheckVerdict, RolloutState, annotations};
use microservice_operator::health::{Fault, JobOutcome};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::Question;
use serde_json::{Value, json};

use crate::world::{World, spec_with};

fn query(more: Value) -> Value {
    let mut check = json!({
        "name": "p99", "intervalSeconds": 10,
        "prometheus": {"query": "latency{pod=~\"{{revisionPods}}\"}", "max": "0.5"},
    });
    check
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    check
}

fn job(more: Value) -> Value {
    let mut check = json!({"name": "suite", "job": {"command": ["suite"]}});
    check
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    check
}

/// A service with checks and two steps, of a minute each where nothing else is said.
fn service(checks: Value, steps: Value) -> World {
    let steps = if steps.is_null() {
        json!([{"weight": 10, "durationSeconds": 60}, {"weight": 50, "durationSeconds": 60}])
    } else {
        steps
    };
    World::serving_spec(spec_with(
        "a",
        10,
        json!({"strategy": {
            "type": "Canary", "bakeSeconds": 20, "progressDeadlineSeconds": 300, "canary": {"steps": steps},
            "analysis": {"source": "None", "prometheus": {"address": "http://prometheus:9090"}, "checks": checks},
        }}),
    ))
}

fn in_step(world: &mut World, step: i32) {
    world.until(200, "the step to be in force", |world| {
        world.rollout().step == Some(step) && world.rollout().in_force_at.is_some()
    });
}

fn cause(world: &World) -> (Blame, String, String) {
    let cause = world.rollout().cause.unwrap();
    (cause.blame, cause.reason, cause.message)
}

fn returning(world: &mut World) {
    world.until(60, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
}

fn said(world: &World) -> (CheckVerdict, String) {
    let check = world.rollout().checks.remove(0);
    (check.verdict, check.reason)
}

#[test]
fn a_good_measurement_stands_in_the_way_of_nothing() {
    let mut world = service(json!([query(json!({}))]), Value::Null);
    world.check_finds("p99", Outcome::Good);
    world.image("b");
    in_step(&mut world, 1);
    world.run(15);
    let check = world.rollout().checks.remove(0);
    assert_eq!(
        (
            check.name.as_str(),
            check.verdict,
            check.reason.as_str(),
            check.value.as_deref(),
            check.samples
        ),
        ("p99", CheckVerdict::Passing, "Good", Some("7"), 2)
    );
    world.run(200);
    world.assert_steady("b");
}

#[test]
fn what_is_asked_names_the_revisions_pods() {
    let mut world = service(json!([query(json!({}))]), Value::Null);
    world.check_finds("p99", Outcome::Good);
    world.image("b");
    in_step(&mut world, 1);
    let b = world.name("b").replace('-', "\\\\-");
    let asked = world.questions();
    let Question::Prometheus { server, text, .. } = &asked[0] else {
        panic!("{asked:?}")
    };
    assert_eq!(server.address, "http://prometheus:9090");
    assert_eq!(*text, format!("latency{{pod=~\"{b}-[a-z0-9]+-[a-z0-9]+\"}}"));
    world.run(300);
    assert_eq!(world.questions(), [], "nothing is asked in peace");
}

#[test]
fn more_bad_measurements_than_are_tolerated_take_it_back() {
    for (limit, seconds) in [(0, 0), (2, 20)] {
        let mut world = service(json!([query(json!({"failureLimit": limit}))]), Value::Null);
        world.check_finds("p99", Outcome::Bad);
        world.image("b");
        in_step(&mut world, 1);
        let began = world.now;
        returning(&mut world);
        let took = world.now.duration_since(began).as_secs();
        assert!((seconds..=seconds + 3).contains(&took), "{took}");
        assert_eq!(
            cause(&world),
            (
                Blame::Candidate,
                "CheckFailed".to_owned(),
                format!(
                    "p99: {} bad measurements, {limit} are tolerated: p99 finds Bad",
                    limit + 1
                )
            )
        );
        world.run(100);
        world.assert_steady("a");
        assert_eq!(world.status().history.first().unwrap().outcome, "RolledBack");
    }
}

#[test]
fn while_nobody_answers_no_step_ends_and_nobody_is_to_blame() {
    let mut world = service(json!([query(json!({}))]), Value::Null);
    world.check_finds("p99", Outcome::Error);
    world.image("b");
    in_step(&mut world, 1);
    world.run(1000);
    assert_eq!(
        (world.state(), world.rollout().step),
        (Some(RolloutState::Rolling), Some(1))
    );
    assert_eq!(
        said(&world),
        (CheckVerdict::Inconclusive, "Unavailable".to_owned())
    );
    let (status, reason, message) = world.condition("AnalysisReady").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "SourceUnavailable"));
    assert!(message.contains("p99 finds Error"), "{message}");
    world.check_finds("p99", Outcome::Good);
    world.run(200);
    world.assert_steady("b");
    assert_eq!(world.condition("AnalysisReady"), None);
}

#[test]
fn too_many_errors_go_back_and_are_tried_again() {
    let mut world = service(json!([query(json!({"errorLimit": 2}))]), Value::Null);
    world.check_finds("p99", Outcome::Error);
    world.image("b");
    in_step(&mut world, 1);
    returning(&mut world);
    let (blame, reason, _) = cause(&world);
    assert_eq!((blame, reason.as_str()), (Blame::Environment, "CheckError"));
    world.check_finds("p99", Outcome::Good);
    // By itself.
    world.run(400);
    world.assert_steady("b");
}

#[test]
fn no_data_follows_the_policy() {
    let pass = || {
        let mut world = service(json!([query(json!({}))]), Value::Null);
        world.check_finds("p99", Outcome::NoData);
        world
    };
    let mut world = pass();
    world.image("b");
    world.run(400);
    world.assert_steady("b");

    let mut world = service(json!([query(json!({"noData": "Wait"}))]), Value::Null);
    world.check_finds("p99", Outcome::NoData);
    world.image("b");
    in_step(&mut world, 1);
    world.run(200);
    assert_eq!(world.rollout().step, Some(1));
    assert!(world.status().message.unwrap().contains("p99: a value"));
    // At most until the progress deadline; then nobody is to blame.
    world.until(250, "the way back", |world| {
        world.state() == Some(RolloutState::Returning)
    });
    assert_eq!(cause(&world).0, Blame::Environment);

    let mut world = service(json!([query(json!({"noDataLimit": 1}))]), Value::Null);
    world.check_finds("p99", Outcome::NoData);
    world.image("b");
    in_step(&mut world, 1);
    returning(&mut world);
    assert_eq!(cause(&world).1, "CheckWithoutData");
}

#[test]
fn a_dry_run_is_shown_and_does_nothing() {
    for outcome in [Outcome::Bad, Outcome::Error, Outcome::NoData] {
        let mut world = service(
            json!([query(json!({"mode": "DryRun", "noData": "Wait"}))]),
            Value::Null,
        );
        world.check_finds("p99", outcome);
        world.image("b");
        in_step(&mut world, 1);
        world.run(5);
        assert!(said(&world).1.starts_with("DryRun"), "{:?}", said(&world));
        assert_eq!(world.condition("AnalysisReady"), None);
        world.run(300);
        world.assert_steady("b");
    }
}

#[test]
fn an_objective_with_queries_judges_where_prometheus_is_asked() {
    let queries = |pods: &str| json!({"good": format!("sum(rate(done{{{pods}}}[5m]))"), "total": format!("sum(rate(orders{{{pods}}}[5m]))")});
    let service = |pods: &str, source: &str| {
        World::serving_spec(spec_with(
            "a",
            10,
            json!({
                "objectives": [{"name": "done", "goodPercent": "99.5", "indicator": {"queries": queries(pods)}}],
                "strategy": {
                    "type": "Canary", "canary": {"steps": [{"weight": 10, "durationSeconds": 300}]},
                    "analysis": {"source": source, "prometheus": {"address": "http://prometheus:9090"}, "compareWithStable": "Disabled"},
                },
            }),
        ))
    };
    let mut world = service("pod=~\"{{revisionPods}}\"", "Prometheus");
    world.check_finds("done", Outcome::Bad);
    world.image("b");
    world.until(200, "the step to be in force", |world| {
        world.rollout().in_force_at.is_some()
    });
    let asked = world.questions();
    let Question::Prometheus { text, query, .. } = &asked[0] else {
        panic!("{asked:?}")
    };
    let pods = format!(
        "pod=~\"{}-[a-z0-9]+-[a-z0-9]+\"",
        world.name("b").replace('-', "\\\\-")
    );
    assert_eq!(
        *text,
        format!(
            "100 * (sum(\nsum(rate(done{{{pods}}}[5m]))\n) or vector(0)) / (sum(\nsum(rate(orders{{{pods}}}[5m]))\n) > 0)"
        )
    );
    assert_eq!((query.min.as_deref(), query.max.as_deref()), (Some("99.5"), None));
    world.run(100);
    world.assert_steady("a");
    let mut world = service("pod=~\"{{revisionPods}}\"", "Prometheus");
    world.check_finds("done", Outcome::Good);
    world.image("b");
    world.run(500);
    world.assert_steady("b");
    for (pods, source) in [
        ("job=\"web\"", "Prometheus"),
        ("pod=~\"{{revisionPods}}\"", "Auto"),
    ] {
        let mut world = service(pods, source);
        world.image("b");
        world.until(200, "the step to be in force", |world| {
            world.rollout().in_force_at.is_some()
        });
        assert_eq!(world.questions(), [], "{pods} {source}");
    }
}

#[test]
fn it_is_measured_from_its_step_on() {
    let mut world = service(json!([query(json!({"fromStep": 2}))]), Value::Null);
    world.check_finds("p99", Outcome::Bad);
    world.image("b");
    in_step(&mut world, 1);
    world.run(50);
    assert_eq!((world.questions(), world.rollout().checks), (vec![], vec![]));
    in_step(&mut world, 2);
    returning(&mut world);
}

#[test]
fn it_is_measured_while_baking() {
    let mut world = service(json!([query(json!({}))]), Value::Null);
    world.check_finds("p99", Outcome::Good);
    world.image("b");
    world.until(300, "to bake", |world| {
        world.state() == Some(RolloutState::Baking)
    });
    world.check_finds("p99", Outcome::Bad);
    returning(&mut world);
    world.run(100);
    world.assert_steady("a");
}

#[test]
fn a_step_of_its_own_ends_with_its_good_measurements() {
    let steps = json!([{"weight": 10, "checks": ["p99"]}, {"weight": 50, "durationSeconds": 30}]);
    let mut world = service(json!([query(json!({"count": 3}))]), steps);
    world.check_finds("p99", Outcome::NoData);
    world.image("b");
    in_step(&mut world, 1);
    world.run(100);
    // Not by a step that was made for it.
    assert_eq!(world.rollout().step, Some(1));
    world.check_finds("p99", Outcome::Good);
    world.run(15);
    assert_eq!(world.rollout().step, Some(1));
    assert!(
        world
            .status()
            .message
            .unwrap()
            .contains("p99: 2 of 3 good measurements")
    );
    world.run(10);
    assert_eq!(world.rollout().step, Some(2));
    assert_eq!(world.questions(), [], "in its step alone");
    world.check_finds("p99", Outcome::Bad);
    world.run(100);
    world.assert_steady("b");
}

#[test]
fn a_person_can_go_on_without_it() {
    let steps = json!([{"weight": 10, "checks": ["p99"]}, {"weight": 50, "durationSeconds": 30}]);
    let mut world = service(json!([query(json!({}))]), steps);
    world.check_finds("p99", Outcome::Error);
    world.image("b");
    in_step(&mut world, 1);
    world.run(30);
    let value = format!("{}/1/1", world.name("b"));
    world.annotate(annotations::PROMOTE, &value);
    world.run(5);
    assert_eq!(world.rollout().step, Some(2));
}

#[test]
fn without_steps_it_is_measured_once_there_is_a_pod() {
    let mut world = World::serving_spec(spec_with(
        "a",
        2,
        json!({"strategy": {"analysis": {
            "source": "None", "prometheus": {"address": "http://prometheus:9090"}, "checks": [query(json!({}))],
        }}}),
    ));
    world.check_finds("p99", Outcome::Bad);
    world.script("b", crate::cluster::Behaviour::Good(100));
    world.image("b");
    world.run(60);
    assert_eq!(world.questions(), []);
    assert_eq!(world.state(), Some(RolloutState::Rolling));
    world.run(100);
    world.assert_steady("a");
    assert_eq!(cause(&world).1, "CheckFailed");
}

#[test]
fn after_a_restart_it_is_measured_anew_before_the_step_ends() {
    let mut world = service(json!([query(json!({"initialDelaySeconds": 30}))]), Value::Null);
    world.check_finds("p99", Outcome::Good);
    world.image("b");
    in_step(&mut world, 1);
    world.run(40);
    world.restart();
    world.findings.clear();
    world.run(200);
    assert_eq!(world.rollout().step, Some(1), "the delay was over before");
    world.check_finds("p99", Outcome::Good);
    world.run(200);
    world.assert_steady("b");
}

#[test]
fn what_was_measured_in_an_earlier_step_ends_no_later_one() {
    let steps = json!([{"weight": 10, "durationSeconds": 10}, {"weight": 50, "durationSeconds": 10}]);
    let mut world = service(json!([query(json!({"intervalSeconds": 100}))]), steps);
    world.check_finds("p99", Outcome::Good);
    world.image("b");
    in_step(&mut world, 2);
    world.run(50);
    assert!(
        world
            .status()
            .message
            .unwrap()
            .contains("p99: a measurement in this step")
    );
    world.run(300);
    world.assert_steady("b");
}

#[test]
fn what_another_query_found_accuses_nobody() {
    let mut world = service(json!([query(json!({"mode": "DryRun"}))]), Value::Null);
    world.check_finds("p99", Outcome::Bad);
    world.image("b");
    in_step(&mut world, 1);
    world.run(20);
    world.check_finds("p99", Outcome::Good);
    let mended = query(json!({"prometheus": {"query": "mended", "max": "0.5"}}));
    world.set("strategy.analysis.checks", json!([mended]));
    world.run(300);
    world.assert_steady("b");
}

#[test]
fn an_outage_does_not_count_as_time_without_data() {
    let mut world = service(json!([query(json!({"noData": "Wait"}))]), Value::Null);
    world.check_finds("p99", Outcome::Error);
    world.image("b");
    in_step(&mut world, 1);
    world.run(1000);
    world.check_finds("p99", Outcome::NoData);
    world.run(100);
    assert_eq!(world.state(), Some(RolloutState::Rolling));
    world.check_finds("p99", Outcome::Good);
    world.run(300);
    world.assert_steady("b");
}

fn jobs(world: &World) -> usize {
    world
        .api
        .objects
        .keys()
        .filter(|key| key.0 == ChildKind::Job)
        .count()
}

fn failed(blame: Blame) -> JobOutcome {
    JobOutcome::Failed(Fault {
        blame,
        reason: "JobFailed".to_owned(),
        message: "exit code 3: 2 of 40 cases failed".to_owned(),
    })
}

#[test]
fn a_job_runs_in_each_step_and_its_end_is_awaited() {
    let mut world = service(json!([job(json!({}))]), Value::Null);
    world.image("b");
    in_step(&mut world, 1);
    world.run(200);
    assert_eq!((world.rollout().step, jobs(&world)), (Some(1), 1));
    assert!(world.status().message.unwrap().contains("suite: its Job to end"));
    world.job_ends("suite", JobOutcome::Succeeded);
    in_step(&mut world, 2);
    world.run(5);
    assert_eq!(jobs(&world), 1, "another one, and the first one is gone");
    world.run(200);
    world.assert_steady("b");
    assert_eq!(jobs(&world), 0);
}

#[test]
fn a_job_that_fails_takes_it_back() {
    for (blame, reason) in [
        (Blame::Candidate, "CheckFailed"),
        (Blame::Environment, "CheckError"),
    ] {
        let mut world = service(json!([job(json!({}))]), Value::Null);
        world.job_ends("suite", failed(blame));
        world.image("b");
        returning(&mut world);
        let (blamed, said, message) = cause(&world);
        assert_eq!((blamed, said.as_str()), (blame, reason));
        assert!(
            message.ends_with("exit code 3: 2 of 40 cases failed"),
            "{message}"
        );
    }
}

#[test]
fn a_job_with_an_interval_runs_again_and_never_twice_at_a_time() {
    let mut world = service(
        json!([job(json!({"intervalSeconds": 20, "failureLimit": 1}))]),
        json!([{"weight": 10, "durationSeconds": 200}]),
    );
    world.image("b");
    in_step(&mut world, 1);
    world.run(50);
    assert_eq!(jobs(&world), 1);
    world.job_ends("suite", JobOutcome::Succeeded);
    world.run(20);
    assert_eq!(
        jobs(&world),
        4,
        "two were due while the first one ran, and one after it"
    );
    world.job_ends("suite", failed(Blame::Candidate));
    world.run(60);
    world.assert_steady("a");
    assert_eq!(cause(&world).1, "CheckFailed");
}
