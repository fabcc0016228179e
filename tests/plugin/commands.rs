//! Which annotation a verb stands for, and when the operator has answered.

use microservice_operator::plugin::command::{Answer, Verb, order};
use serde_json::{Value, json};

use crate::fixtures::{annotated, changed, service};

fn annotation(fixture: &str, verb: &Verb) -> (String, Value) {
    let order = order(&service(fixture), verb).unwrap_or_else(|error| panic!("{fixture} {verb:?}: {error}"));
    let patch = order.patch();
    assert_eq!(
        patch["metadata"]["uid"], "u-web",
        "the patch must hold for this one only"
    );
    let all = patch["metadata"]["annotations"].as_object().unwrap();
    let (key, value) = all.iter().next().unwrap();
    (
        key.trim_start_matches("microservice.dev/").to_owned(),
        value.clone(),
    )
}

fn refusal(fixture: &str, verb: &Verb) -> String {
    order(&service(fixture), verb).expect_err("nothing is meant")
}

#[test]
fn values_name_revision_trial_and_step_as_documented() {
    let said = |fixture: &str, verb: Verb| annotation(fixture, &verb);
    let is = |verb: &str, value: &str| (verb.to_owned(), json!(value));
    assert_eq!(said("rolling", Verb::Promote), is("promote", "web-bbb/1/2"));
    assert_eq!(
        said("rolling", Verb::PromoteFull),
        is("promote-full", "web-bbb/1")
    );
    assert_eq!(said("rolling", Verb::Abort), is("abort", "web-bbb/1"));
    assert_eq!(said("rolling", Verb::Pause), is("pause", "web-bbb/1"));
    assert_eq!(said("rolled-back", Verb::Retry), is("retry", "web-bbb/1"));
    assert_eq!(said("healthy", Verb::Restart), is("restart", "web-aaa"));
    assert_eq!(said("rolled-back", Verb::Restart), is("restart", "web-bbb"));
    assert_eq!(said("healthy", Verb::Refresh), is("refresh", "web-aaa"));
    assert_eq!(
        said("rolling", Verb::Rollback(None)),
        is("rollback", "web-bbb/web-aaa")
    );
    assert_eq!(
        said("healthy", Verb::Rollback(Some("000".to_owned()))),
        is("rollback", "web-aaa/web-000")
    );
    assert_eq!(
        said("healthy", Verb::Freeze("holidays".to_owned())),
        is("freeze", "holidays")
    );
    assert_eq!(
        said("rolling", Verb::Expedite(None)),
        is("expedite", "registry.example/web:1.5.0")
    );
    for (verb, key) in [(Verb::Resume, "pause"), (Verb::Unfreeze, "freeze")] {
        let order = order(&annotated("rolling", key, "x"), &verb).unwrap();
        assert_eq!(
            order.patch()["metadata"]["annotations"],
            json!({format!("microservice.dev/{key}"): null})
        );
    }
}

fn expedite(what: &str) -> Verb {
    Verb::Expedite(Some(what.to_owned()))
}

#[test]
fn what_is_to_go_out_can_be_expedited() {
    let is = |value: &str| ("expedite".to_owned(), json!(value));
    for (fixture, what, value) in [
        ("rolling", "web-bbb", "web-bbb"),
        ("rolling", "bbb", "web-bbb"),
        ("rolled-back", "web-bbb", "web-bbb"),
        (
            "rolled-back",
            "registry.example/web:1.5.0",
            "registry.example/web:1.5.0",
        ),
        // The operator has not seen this spec, or none.
        (
            "unseen",
            "registry.example/web:1.5.0",
            "registry.example/web:1.5.0",
        ),
        ("new", "registry.example/web:1.4.2", "registry.example/web:1.4.2"),
    ] {
        assert_eq!(
            annotation(fixture, &expedite(what)),
            is(value),
            "{fixture} {what}"
        );
    }
    let pending = json!([{
        "type": "RolledOut", "status": "False", "reason": "Pending", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let frozen = changed("healthy", &[("/status/conditions", pending)]);
    assert!(order(&frozen, &Verb::Expedite(None)).is_ok());
    let refused = order(&frozen, &expedite("web-aaa")).unwrap_err();
    assert!(refused.contains("not what is to go out"), "{refused}");
}

#[test]
fn a_first_revision_is_tried_again_where_its_job_failed() {
    let starting = |conditions: Value| {
        let changes = [
            (
                "/status/rollout",
                json!({"state": "Starting", "seq": 1, "trial": 1, "candidate": "web-aaa"}),
            ),
            ("/status/conditions", conditions),
        ];
        changed("healthy", &changes)
    };
    let refused = order(&starting(json!([])), &Verb::Retry).unwrap_err();
    assert!(refused.contains("nothing was taken back"), "{refused}");
    let refused = order(&starting(json!([])), &Verb::Expedite(None)).unwrap_err();
    assert!(refused.contains("nothing is to go out"), "{refused}");
    let failed = json!([{
        "type": "Stalled", "status": "True", "reason": "PreDeployFailed", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let order = order(&starting(failed), &Verb::Retry).unwrap();
    assert_eq!(order.value.as_deref(), Some("web-aaa/1"));
}

#[test]
fn what_would_mean_nothing_is_refused_with_a_way_out() {
    for (fixture, verb, words) in [
        ("healthy", Verb::Promote, "there is no rollout to promote"),
        ("healthy", Verb::Abort, "there is no rollout to abort"),
        ("healthy", Verb::Retry, "nothing was taken back"),
        ("healthy", Verb::Unfreeze, "not frozen"),
        ("paused", Verb::Resume, "kubectl microservice promote web"),
        ("new", Verb::Restart, "no operator has seen it"),
        (
            "healthy",
            Verb::Rollback(Some("web-gone".to_owned())),
            "no revision web-gone any more",
        ),
        (
            "healthy",
            Verb::Rollback(Some("web-aaa".to_owned())),
            "is what serves now",
        ),
        ("healthy", Verb::Rollback(None), "no revision before web-aaa"),
        ("healthy", Verb::Expedite(None), "nothing is to go out: "),
        (
            "healthy",
            expedite("registry.example/web:1.4.2"),
            "nothing is to go out: ",
        ),
        (
            "healthy",
            expedite("web-aaa"),
            "web-aaa is not what is to go out: ",
        ),
        (
            "rolling",
            expedite("web-aaa"),
            "web-aaa is not what is to go out: ",
        ),
        ("rolling", expedite("web-gone"), "no revision web-gone any more"),
        ("unseen", expedite("web-gone"), "no revision web-gone any more"),
        (
            "rolling",
            expedite("registry.example/web:1.3.0"),
            "kubectl microservice set image web registry.example/web:1.3.0 comes first",
        ),
    ] {
        let refused = refusal(fixture, &verb);
        assert!(refused.contains(words), "{fixture} {verb:?}: {refused}");
    }
}

#[test]
fn an_answer_is_what_the_status_says_of_this_value() {
    let order = order(&service("rolling"), &Verb::Promote).unwrap();
    let noted = |value: &str, outcome: Value| {
        let mut command = json!({"verb": "promote", "value": value});
        if !outcome.is_null() {
            command["outcome"] = outcome;
        }
        order.answer(&changed("rolling", &[("/status/commands", json!([command]))]))
    };
    assert!(matches!(order.answer(&service("rolling")), Answer::Awaited(_)));
    assert!(matches!(noted("web-bbb/1/1", Value::Null), Answer::Awaited(_)));
    assert!(matches!(noted("web-bbb/1/2", Value::Null), Answer::Heard(_)));
    assert!(matches!(
        noted("web-bbb/1/2", json!("Ignored")),
        Answer::Ignored(_)
    ));
}

#[test]
fn a_value_that_was_handled_before_is_taken_away_and_said_again() {
    for (verb, name, value, outcome) in [
        (Verb::Promote, "promote", "web-bbb/1/2", "Ignored"),
        (Verb::Rollback(None), "rollback", "web-bbb/web-aaa", "Done"),
    ] {
        let commands = json!([{"verb": name, "value": value, "outcome": outcome}]);
        let found = changed("rolling", &[("/status/commands", commands)]);
        let said = order(&found, &verb).unwrap();
        let first = said.withdrawal(&found).expect("it is spent");
        let taken_away = json!({format!("microservice.dev/{name}"): null});
        assert_eq!(first.patch()["metadata"]["annotations"], taken_away);
        assert!(matches!(first.answer(&found), Answer::Awaited(_)));
        let forgotten = service("rolling");
        assert!(matches!(first.answer(&forgotten), Answer::Heard(_)));
        assert_eq!(said.withdrawal(&forgotten), None);
    }
    // Another value of the same verb is in nobody's way.
    let other = json!([{"verb": "promote", "value": "web-bbb/1/1"}]);
    let found = changed("rolling", &[("/status/commands", other)]);
    assert_eq!(order(&found, &Verb::Promote).unwrap().withdrawal(&found), None);
}

#[test]
fn a_step_that_waits_for_its_coarse_weight_is_begun_by_another_word() {
    let begins = |word: &str| {
        let found = changed("rolling", &[("/status/rollout/promote", json!(word))]);
        order(&found, &Verb::Promote).unwrap().words()
    };
    assert_eq!(begins("web-bbb/1/2/coarse"), "promote web-bbb/1/2/coarse");
    // Where it ends by time, the word is the usual one.
    assert_eq!(begins("web-bbb/1/2"), "promote web-bbb/1/2");
}

#[test]
fn a_restart_is_heard_when_another_revision_is_asked_for() {
    let order = order(&service("healthy"), &Verb::Restart).unwrap();
    assert!(matches!(order.answer(&service("healthy")), Answer::Awaited(_)));
    let began = changed("healthy", &[("/status/rollout/seq", json!(3))]);
    assert!(matches!(order.answer(&began), Answer::Heard(_)));
    let waits = json!([{
        "type": "RolledOut", "status": "False", "reason": "Pending", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let frozen = changed("healthy", &[("/status/conditions", waits)]);
    assert!(matches!(order.answer(&frozen), Answer::Heard(_)));
}

#[test]
fn a_pause_is_heard_when_the_message_says_so() {
    let order = order(&service("paused"), &Verb::Pause).unwrap();
    // Paused as it is, by its step.
    assert!(matches!(order.answer(&service("paused")), Answer::Awaited(_)));
    let message = json!("paused by a person, until the annotation microservice.dev/pause is taken away");
    let said = changed("paused", &[("/status/message", message)]);
    assert!(matches!(order.answer(&said), Answer::Heard(_)));
}
