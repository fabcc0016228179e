//! What Prometheus and Grafana are given: at once, without a rollout, and where their kinds are there.

use microservice_operator::render::ChildKind;
use serde_json::{Value, json};

use crate::world::NAME;
use crate::world::{World, spec_with};

fn world() -> World {
    World::serving_spec(spec_with(
        "a",
        2,
        json!({
            "monitoring": {"dashboard": {}},
            "objectives": [{"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}}],
        }),
    ))
}

fn alerts(world: &World) -> Vec<Value> {
    let rule = world.object(ChildKind::PrometheusRule, NAME);
    let rules = rule.map(|stored| stored.object["spec"]["groups"][0]["rules"].clone());
    let rules = rules.iter().flat_map(|rules| rules.as_array().unwrap());
    rules.filter(|rule| rule["alert"].is_string()).cloned().collect()
}

#[test]
fn an_edit_applies_at_once_and_what_is_not_wanted_goes() {
    let mut world = world();
    assert_eq!(alerts(&world).len(), 4);
    let dashboard = format!("{NAME}-dashboard");
    assert!(world.object(ChildKind::ConfigMap, &dashboard).is_some());
    world.set(
        "monitoring",
        json!({"alerts": [{"name": "Errors", "errorsAbovePercent": "2"}]}),
    );
    world.run(2);
    assert_eq!(alerts(&world).len(), 5);
    assert!(world.object(ChildKind::ConfigMap, &dashboard).is_none());
    world.set("monitoring", json!({"objectiveAlerts": "Disabled"}));
    world.run(2);
    assert!(world.object(ChildKind::PrometheusRule, NAME).is_none());
    world.assert_steady("a");
    assert_eq!(world.status().revisions.len(), 1);
}

#[test]
fn a_kind_that_is_not_served_is_said_and_waited_for() {
    let mut world = world();
    assert_eq!(world.condition("MonitoringReady"), None);
    world.served.remove(&ChildKind::PrometheusRule);
    world.memory.forget_seen();
    world.run(5);
    let expected = "this cluster does not serve PrometheusRule: install the Prometheus operator's CRDs, or set \
                    monitoring.objectiveAlerts to Disabled and leave out monitoring.alerts and monitoring.dashboard";
    assert_eq!(
        world.condition("MonitoringReady"),
        Some(("False".to_owned(), "KindMissing".to_owned(), expected.to_owned()))
    );
    world.served.remove(&ChildKind::ServiceMonitor);
    world.memory.forget_seen();
    world.run(5);
    let (_, _, message) = world.condition("MonitoringReady").unwrap();
    let monitor = "this cluster does not serve ServiceMonitor: install the Prometheus operator's CRDs, or set \
                   monitoring.kind";
    assert_eq!(message, format!("{monitor}; {expected}"));
    world.assert_steady("a");
    world
        .served
        .extend([ChildKind::PrometheusRule, ChildKind::ServiceMonitor]);
    world.memory.forget_seen();
    world.run(5);
    assert_eq!(world.condition("MonitoringReady"), None);
    assert_eq!(alerts(&world).len(), 4);
}
