//! What the API server refuses, and what fails beside it.

use microservice_operator::api::{Phase, RolloutState};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{Edge, FailureClass};
use serde_json::json;

use crate::api_server::Refusal;
use crate::cluster::Behaviour;
use crate::world::{World, spec, spec_with};

fn refusal(kind: ChildKind, containing: &str, class: FailureClass, message: &str) -> Refusal {
    Refusal {
        kind,
        containing: containing.to_owned(),
        class,
        message: message.to_owned(),
    }
}

#[test]
fn an_invalid_pod_template_is_rejected_with_the_servers_words() {
    let mut world = World::serving(3);
    let words = "spec.template.spec.containers[0].foo: field not declared in schema";
    world.refuse(refusal(
        ChildKind::Deployment,
        "app:b",
        FailureClass::Invalid,
        words,
    ));
    world.image("b");
    world.run(60);
    world.assert_steady("a");
    assert!(world.status().message.unwrap().contains(words));
    assert_eq!(world.rollout().cause.unwrap().reason, "InvalidPodTemplate");
    assert_eq!(
        world.edges().iter().filter(|e| **e == Edge::Roll).count(),
        1,
        "not tried again"
    );
    assert_eq!(world.ready("a"), 3);
    assert!(
        world.memory.failures.is_empty(),
        "what is not wanted any more is no failure"
    );
}

#[test]
fn a_refused_piece_of_configuration_is_the_revisions_fault() {
    let config = json!({"files": {"a.txt": "a"}, "env": {"A": "1"}, "mountPath": "/etc/app"});
    let mut world = World::serving_spec(spec_with("a", 2, json!({"config": config})));
    world.refuse(refusal(
        ChildKind::ConfigMap,
        "LARGE",
        FailureClass::Invalid,
        "too large",
    ));
    world.set("config.env", json!({"A": "LARGE"}));
    world.image("b");
    world.run(60);
    world.assert_steady("a");
    assert_eq!(
        world.rollout().cause.map(|c| c.message.contains("too large")),
        Some(true),
        "{}",
        world.story()
    );
}

#[test]
fn a_first_revision_that_is_invalid_says_so() {
    let mut world = World::new(spec("a", 2));
    world.refuse(refusal(
        ChildKind::Deployment,
        "app:a",
        FailureClass::Invalid,
        "no such field",
    ));
    world.run(20);
    world.assert_state(RolloutState::Starting);
    assert_eq!(world.summary()[2], "True InvalidPodTemplate");
    assert!(world.selected().is_some(), "the others go on");
    world.image("b");
    world.run(20);
    world.assert_steady("b");
}

#[test]
fn a_failing_child_does_not_stop_the_others() {
    let mut world = World::serving_spec(spec_with("a", 3, json!({"commonLabels": {"team": "one"}})));
    world.refuse(refusal(
        ChildKind::PodDisruptionBudget,
        "",
        FailureClass::Forbidden,
        "no rights",
    ));
    world.image("b");
    world.run(10);
    assert!(world.asked("b") > 0);
    assert_eq!(
        world.condition("ChildrenApplied").map(|c| c.1),
        Some("ChildForbidden".to_owned())
    );
    world.run(120);
    world.assert_steady("b");
    assert_eq!(world.summary()[2], "True ChildForbidden");
    world.api.refusals.clear();
    world.run(400);
    assert_eq!(world.phase(), Some(Phase::Healthy));
    assert_eq!(world.condition("ChildrenApplied"), None);
}

#[test]
fn forbidden_is_the_environments_fault() {
    let mut world = World::serving(3);
    world.refuse(refusal(
        ChildKind::Deployment,
        "app:b",
        FailureClass::Forbidden,
        "denied by policy",
    ));
    world.image("b");
    world.run(10);
    assert_eq!(world.summary()[2], "True Forbidden", "{}", world.story());
    world.api.refusals.clear();
    world.run(300);
    world.assert_steady("b");
}

#[test]
fn a_service_that_cannot_be_written_costs_no_pods() {
    // From one revision to the next, and back.
    for class in [
        FailureClass::Transient,
        FailureClass::Forbidden,
        FailureClass::Invalid,
    ] {
        let mut world = World::serving(3);
        world.refuse(refusal(ChildKind::Service, "", class, "no"));
        world.image("b");
        for _ in 0..100 {
            world.run(1);
            assert!(
                world.cluster.endpoints.ready.values().sum::<i32>() >= 3,
                "{class:?}\n{}",
                world.story()
            );
        }
        world.api.refusals.clear();
        world.run(500);
        world.assert_steady("b");
        world.refuse(refusal(ChildKind::Service, "", class, "no"));
        world.rollback("b", "a");
        for _ in 0..100 {
            world.run(1);
            assert!(
                world.cluster.endpoints.ready.values().sum::<i32>() >= 3,
                "{class:?}\n{}",
                world.story()
            );
        }
        world.api.refusals.clear();
        world.run(500);
        world.assert_steady("a");
    }
}

#[test]
fn somebody_elses_object_is_left_alone_and_named() {
    let mut world = World::serving(2);
    let key = (ChildKind::Service, "shop".to_owned());
    let service = world.api.objects.get_mut(&key).unwrap();
    service.object["metadata"]["ownerReferences"][0]["uid"] = json!("uid-somebody");
    let before = service.object.clone();
    world.run(5);
    assert_eq!(world.api.objects[&key].object, before);
    assert_eq!(world.summary()[2], "True NameTaken", "{}", world.story());
}

#[test]
fn an_unreadable_record_is_named_and_left_alone() {
    let mut world = World::serving(2);
    let a = world.name("a");
    let key = (ChildKind::ControllerRevision, a);
    world.api.objects.get_mut(&key).unwrap().object["data"] = json!({"x": 1});
    let pods = world.cluster.pods.clone();
    world.refuse(refusal(
        ChildKind::PodDisruptionBudget,
        "",
        FailureClass::Forbidden,
        "no rights",
    ));
    world.set("replicas", json!(2));
    world.set("commonLabels", json!({"team": "two"}));
    world.run(60);
    assert_eq!(world.cluster.pods, pods);
    assert_eq!(world.api.objects[&key].object["data"], json!({"x": 1}));
    let (_, reason, message) = world.condition("ChildrenApplied").unwrap();
    assert!(
        reason == "RecordUnreadable" || message.contains("cannot be read"),
        "{reason} {message}"
    );
}

#[test]
fn a_retry_after_a_refusal_is_a_real_try() {
    let mut world = World::serving(2);
    world.refuse(refusal(
        ChildKind::Deployment,
        "app:b",
        FailureClass::Invalid,
        "no",
    ));
    world.image("b");
    world.until(30, "held", |world| {
        world.rollout().cause.is_some() && world.state() == Some(RolloutState::Steady)
    });
    world.api.refusals.clear();
    world.retry("b", 1);
    world.run(120);
    world.assert_steady("b");
}

#[test]
fn a_missing_source_is_waited_for_with_patience_that_ends() {
    let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "a"}}}]);
    let mut world = World::serving(2);
    world.set("env", env);
    world.run(10);
    world.assert_steady("a");
    assert_eq!(
        world.summary(),
        ["False SourceMissing", "True SourceMissing", "-", "True Serving"]
    );
    assert_eq!(world.phase(), Some(Phase::Progressing));
    world.run(700);
    assert_eq!(
        world.phase(),
        Some(Phase::Degraded),
        "by a wake of its own\n{}",
        world.story()
    );
}

#[test]
fn pods_that_are_lost_in_peace_are_told_and_end_in_degraded() {
    let mut world = World::serving(3);
    world.script("a", Behaviour::NeverReady);
    world.run(5);
    assert_eq!(
        world.summary(),
        ["False PodsNotReady", "True PodsNotReady", "-", "False NoReadyPod"]
    );
    world.run(700);
    assert_eq!(world.phase(), Some(Phase::Degraded), "{}", world.story());
    world.assert_steady("a");
}
