//! Fields of scope A: additive while two revisions live.

use microservice_operator::api::RolloutState;
use microservice_operator::render::ChildKind;
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::world::{World, spec_with};

fn egress(world: &World) -> String {
    world
        .object(ChildKind::NetworkPolicy, "shop")
        .map(|o| o.object["spec"]["egress"].to_string())
        .unwrap_or_default()
}

fn policy(cidrs: &[&str]) -> Value {
    let rules: Vec<Value> = cidrs
        .iter()
        .map(|cidr| json!({"to": [{"ipBlock": {"cidr": cidr}}]}))
        .collect();
    json!({"mode": "IngressAndEgress", "ingress": [{}], "egress": rules})
}

#[test]
fn a_change_that_fails_leaves_the_old_served_throughout() {
    let mut world = World::serving_spec(spec_with(
        "a",
        3,
        json!({"networkPolicy": policy(&["10.1.0.0/16", "10.2.0.0/16"])}),
    ));
    // The port is renamed and one rule goes; it crashes while it bakes.
    world.script("b", Behaviour::CrashAfter(40));
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 8080, "servicePort": 80}]),
    );
    world.set("networkPolicy", policy(&["10.2.0.0/16", "10.3.0.0/16"]));
    world.image("b");
    let mut both = false;
    for _ in 0..200 {
        world.run(1);
        let reached = world.cluster.reached(&world.api);
        assert_eq!(
            world.cluster.answering(&world.api, 80),
            reached,
            "{}",
            world.story()
        );
        assert!(
            egress(&world).contains("10.1.0.0/16"),
            "the old one's rule\n{}",
            world.story()
        );
        both |= egress(&world).contains("10.3.0.0/16");
    }
    assert!(both, "the new one's rule was there too");
    world.assert_steady("a");
    assert_eq!(world.cluster.answering(&world.api, 80), 3);
    assert!(!egress(&world).contains("10.3.0.0/16"), "and is gone with it");
    let service = world.object(ChildKind::Service, "shop").unwrap();
    assert_eq!(service.object["spec"]["ports"][0]["name"], json!("http"));
}

#[test]
fn what_is_removed_goes_when_the_change_is_promoted() {
    let mut world = World::serving_spec(spec_with(
        "a",
        2,
        json!({"networkPolicy": policy(&["10.1.0.0/16"])}),
    ));
    world.set("networkPolicy", policy(&["10.3.0.0/16"]));
    world.image("b");
    world.until_state(RolloutState::Baking);
    assert!(egress(&world).contains("10.1.0.0/16"));
    world.run(80);
    world.assert_steady("b");
    assert!(!egress(&world).contains("10.1.0.0/16"), "{}", egress(&world));
}

#[test]
fn a_change_of_scope_a_alone_is_no_rollout() {
    let mut world = World::serving(2);
    let edges = world.taken.len();
    world.set(
        "ports",
        json!([{"name": "http", "containerPort": 8080, "servicePort": 8888}]),
    );
    world.run(10);
    let service = world.object(ChildKind::Service, "shop").unwrap();
    assert_eq!(service.object["spec"]["ports"][0]["port"], json!(8888));
    assert_eq!(world.taken.len(), edges);
}

#[test]
fn the_old_ports_stay_although_the_note_of_them_was_lost() {
    let mut world = World::serving(2);
    let a = world.name("a");
    world.script("b", Behaviour::CrashLoop);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.image("b");
    world.run(30);
    world.assert_steady("a");
    let record = world
        .api
        .objects
        .get_mut(&(ChildKind::ControllerRevision, a))
        .unwrap();
    record.object["metadata"]["annotations"]
        .as_object_mut()
        .unwrap()
        .remove("microservice.dev/exposure");
    world.run(10);
    let service = world.object(ChildKind::Service, "shop").unwrap();
    assert_eq!(
        service.object["spec"]["ports"][0]["targetPort"],
        json!(8080),
        "{}",
        *service.object
    );
}

#[test]
fn an_incompatible_edit_in_mid_rollout_is_seen() {
    // The port number of the Service is scope A: an edit of it does not start over, and still may not mislead callers.
    let mut world = World::serving_spec(spec_with(
        "a",
        3,
        json!({"ports": [{"name": "http", "containerPort": 8080, "servicePort": 80}]}),
    ));
    world.script("b", Behaviour::Good(10));
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 81}]),
    );
    world.image("b");
    world.until(60, "one", |world| world.ready("b") == 1);
    world.set(
        "ports",
        json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
    );
    world.run(150);
    world.assert_steady("b");
    assert_eq!(world.cluster.answering(&world.api, 80), 3);
}
