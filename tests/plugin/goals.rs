//! When a pipeline may go on.

use microservice_operator::plugin::goal::{Ending, Goal, Look, Wait};
use serde_json::{Value, json};

use crate::fixtures::{annotated, changed, service};

fn wait(goals: &[Goal]) -> Wait {
    Wait::new(goals.to_vec(), None)
}

#[track_caller]
fn assert_goes_on(look: &Look, words: &str) {
    match look {
        Look::Progress(said) => assert!(said.contains(words), "{said}"),
        other => panic!("it should go on: {other:?}"),
    }
}

#[track_caller]
fn assert_reached(look: &Look) {
    assert!(matches!(look, Look::End(Ending::Reached(_))), "{look:?}");
}

#[track_caller]
fn assert_failed(look: &Look) {
    assert!(matches!(look, Look::End(Ending::Failed(_))), "{look:?}");
}

#[test]
fn goals_are_read() {
    let read = |text: &str| text.parse::<Goal>().ok();
    assert_eq!(read("promoted"), Some(Goal::Promoted));
    assert_eq!(read("healthy"), Some(Goal::Healthy));
    assert_eq!(read("rolled-back"), Some(Goal::RolledBack));
    assert_eq!(read("paused"), Some(Goal::Paused));
    assert_eq!(read("step=3"), Some(Goal::Step(3)));
    for wrong in [
        "", "Promoted", "step", "step=", "step=0", "step=-1", "step=x", "step=2 ", "done",
    ] {
        let error = wrong.parse::<Goal>().unwrap_err();
        assert!(error.contains("step=N"), "{wrong}: {error}");
    }
}

#[test]
fn a_whole_rollout_is_followed_to_its_end() {
    let mut wait = wait(&[Goal::Promoted]);
    assert_goes_on(&wait.see(Some(&service("unseen"))), "has not seen generation 5");
    assert_eq!(wait.see(Some(&service("unseen"))), Look::Same);
    assert_goes_on(
        &wait.see(Some(&service("rolling"))),
        "step 2 of 5, 25 % asked for, 20 % in force",
    );
    assert_goes_on(&wait.see(Some(&service("paused"))), "Paused");
    assert_reached(&wait.see(Some(&service("healthy"))));
}

#[test]
fn a_rollback_and_a_degraded_service_are_failures_unless_asked_for() {
    assert_failed(&wait(&[Goal::Promoted]).see(Some(&service("rolled-back"))));
    assert_failed(&wait(&[Goal::Step(2)]).see(Some(&service("rolled-back"))));
    assert_failed(&wait(&[Goal::Healthy]).see(Some(&service("degraded"))));
    assert_failed(&wait(&[Goal::Promoted]).see(Some(&service("invalid"))));
    assert_reached(&wait(&[Goal::RolledBack]).see(Some(&service("rolled-back"))));
    assert_failed(&wait(&[Goal::RolledBack]).see(Some(&service("invalid"))));
    // What the spec asks for was promoted, and pods were lost later.
    assert_reached(&wait(&[Goal::Promoted]).see(Some(&service("degraded"))));
}

#[test]
fn an_unseen_generation_is_no_success_and_no_failure() {
    for goal in [
        Goal::Promoted,
        Goal::Healthy,
        Goal::RolledBack,
        Goal::Paused,
        Goal::Step(1),
    ] {
        for fixture in ["healthy", "rolled-back", "paused", "rolling"] {
            let applied = changed(fixture, &[("/metadata/generation", json!(5))]);
            assert_goes_on(&wait(&[goal]).see(Some(&applied)), "has not seen generation 5");
        }
        assert_goes_on(
            &wait(&[goal]).see(Some(&service("new"))),
            "no operator has seen it yet",
        );
    }
}

#[test]
fn a_condition_of_an_older_generation_does_not_count() {
    let conditions = json!([{
        "type": "RolledOut", "status": "True", "reason": "Promoted", "message": "", "observedGeneration": 3,
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let old = changed("healthy", &[("/status/conditions", conditions)]);
    assert_goes_on(&wait(&[Goal::Promoted]).see(Some(&old)), "Healthy");
}

#[test]
fn a_command_that_was_not_acted_on_makes_the_status_old() {
    for (fixture, verb, value, goal) in [
        ("rolled-back", "retry", "web-bbb/1", Goal::Promoted),
        ("rolled-back", "restart", "web-bbb", Goal::Promoted),
        ("healthy", "restart", "web-aaa", Goal::Healthy),
        ("healthy", "refresh", "web-aaa", Goal::Healthy),
        ("healthy", "rollback", "web-aaa/web-000", Goal::Promoted),
        ("paused", "promote", "web-bbb/1/3", Goal::Paused),
        ("paused", "abort", "web-bbb/1", Goal::Paused),
    ] {
        let said = annotated(fixture, verb, value);
        assert_goes_on(
            &wait(&[goal]).see(Some(&said)),
            &format!("has not acted on {verb}"),
        );
    }
    // Left over, or for something else.
    for (fixture, verb, value, goal) in [
        ("rolled-back", "retry", "web-bbb/7", Goal::RolledBack),
        ("healthy", "restart", "web-000", Goal::Healthy),
        ("healthy", "rollback", "web-aaa/web-gone", Goal::Healthy),
        ("paused", "promote", "web-bbb/1/2", Goal::Paused),
    ] {
        assert_reached(&wait(&[goal]).see(Some(&annotated(fixture, verb, value))));
    }
}

#[test]
fn a_restart_that_waits_behind_a_freeze_was_heard() {
    let frozen = json!([{
        "type": "RolledOut", "status": "False", "reason": "Pending", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let mut said = annotated("healthy", "restart", "web-aaa");
    let status = said.status.as_mut().unwrap();
    status.phase = Some(microservice_operator::api::Phase::Paused);
    status.conditions = serde_json::from_value(frozen).unwrap();
    assert_reached(&wait(&[Goal::Paused]).see(Some(&said)));
}

#[test]
fn a_step_is_reached_when_it_is_in_force() {
    let see = |goal: i32, changes: &[(&str, Value)]| {
        wait(&[Goal::Step(goal)]).see(Some(&changed("rolling", changes)))
    };
    assert_reached(&see(2, &[]));
    assert_reached(&see(1, &[]));
    assert_goes_on(&see(3, &[]), "step 2");
    assert_goes_on(&see(2, &[("/status/rollout/inForceAt", Value::Null)]), "step 2");
    assert_goes_on(
        &see(
            2,
            &[("/status/rollout/waveringSince", json!("2026-01-01T00:00:00Z"))],
        ),
        "step 2",
    );
    assert_reached(&see(5, &[("/status/rollout/state", json!("Baking"))]));
}

#[test]
fn nothing_counts_before_the_spec_asks_for_the_image() {
    let mut wait = Wait::new(
        vec![Goal::Promoted],
        Some("registry.example/web:1.5.0".to_owned()),
    );
    assert_goes_on(
        &wait.see(Some(&service("healthy"))),
        "and not for registry.example/web:1.5.0",
    );
    let applied = changed("healthy", &[("/spec/image", json!("registry.example/web:1.5.0"))]);
    assert_reached(&wait.see(Some(&applied)));
}

#[test]
fn a_service_that_goes_ends_the_wait() {
    assert!(matches!(
        wait(&[Goal::Promoted]).see(None),
        Look::End(Ending::Gone(_))
    ));
    let going = changed(
        "healthy",
        &[("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"))],
    );
    assert!(matches!(
        wait(&[Goal::Promoted]).see(Some(&going)),
        Look::End(Ending::Gone(_))
    ));
}
