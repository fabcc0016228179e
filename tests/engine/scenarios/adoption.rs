//! What ran before the Microservice did: it is its first revision, as it is, and the next one goes out on top of it.

use microservice_operator::api::{Phase, RolloutState, annotations, labels};
use microservice_operator::render::ChildKind;
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::world::{NAME, World};

/// A spec that is rendered to what [`template`] says.
fn spec(tag: &str) -> Value {
    json!({
        "image": format!("app:{tag}"), "replicas": 3,
        "ports": [{"name": "http", "containerPort": 8080, "servicePort": 80}],
        "podLabels": {"app": "shop"},
        "probes": {}, "lifecycle": {}, "security": {"profile": "Custom"}, "scheduling": {"spread": "None"},
        "serviceAccount": {"token": "Mount"},
    })
}

fn spec_with(tag: &str, more: Value) -> Value {
    let mut all = spec(tag);
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    all
}

fn deployment(labels: &Value) -> Value {
    json!({
        "metadata": {},
        "spec": {"replicas": 3, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "main", "image": "app:a", "imagePullPolicy": "IfNotPresent",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}]}]},
        }},
    })
}

fn service(labels: &Value) -> Value {
    json!({"metadata": {}, "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": "http"}]}})
}

/// What somebody else made serves, and this spec is about to be applied.
fn before(spec: Value, labels: &Value, adopt: &str) -> World {
    let mut world = World::new(spec);
    world.api.put(ChildKind::Deployment, NAME, deployment(labels));
    world.api.put(ChildKind::Service, NAME, service(labels));
    for _ in 0..5 {
        world.pass();
    }
    assert_eq!(world.cluster.reached(&world.api), 3);
    world.annotate(annotations::ADOPT, adopt);
    world
}

fn plain(spec: Value) -> World {
    before(spec, &json!({"app": "shop"}), "Deployment,Service")
}

/// Labels that a chart gives, which the Deployment selects by.
fn chart() -> Value {
    json!({"app": "shop", "app.kubernetes.io/name": "chart", "app.kubernetes.io/instance": "release"})
}

/// Seconds go by, in each of which callers get to three pods at least.
#[track_caller]
fn served(world: &mut World, seconds: i64) {
    for _ in 0..seconds {
        world.run(1);
        assert!(world.cluster.reached(&world.api) >= 3, "{}", world.story());
    }
}

fn adopted(world: &World) -> Option<(String, String)> {
    world
        .condition("Adopted")
        .map(|(status, reason, _)| (status, reason))
}

fn yes() -> Option<(String, String)> {
    Some(("True".to_owned(), "Adopted".to_owned()))
}

fn selector(world: &World) -> Value {
    world.object(ChildKind::Service, NAME).unwrap().object["spec"]["selector"].clone()
}

fn pods(world: &World) -> Vec<String> {
    world.cluster.pods.iter().map(|pod| pod.name.clone()).collect()
}

pub fn a_deployment_is_the_first_revision() -> World {
    let mut world = plain(spec("a"));
    let before = pods(&world);
    served(&mut world, 20);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy), "{}", world.story());
    assert_eq!(pods(&world), before);
    assert_eq!(adopted(&world), yes(), "{}", world.story());
    world
}

#[test]
fn nothing_of_what_callers_use_changes() {
    let world = a_deployment_is_the_first_revision();
    assert_eq!(selector(&world), json!({"app": "shop"}));
    let service = world.object(ChildKind::Service, NAME).unwrap();
    // A port that gets a name has no endpoints until they get it, too.
    assert_eq!(service.object["spec"]["ports"][0].get("name"), None);
    let deployments = world
        .api
        .objects
        .keys()
        .filter(|key| key.0 == ChildKind::Deployment);
    assert_eq!(deployments.count(), 1);
    for kind in [ChildKind::Deployment, ChildKind::Service] {
        let owner = &world.object(kind, NAME).unwrap().object["metadata"]["ownerReferences"][0];
        assert_eq!(owner["uid"], "uid-service", "{kind:?}");
    }
    assert_eq!(world.status().ready_replicas, 3);
}

#[test]
fn a_release_on_top() {
    let mut world = a_deployment_is_the_first_revision();
    world.image("b");
    world.journal.clear();
    served(&mut world, 120);
    world.assert_steady("b");
    assert_eq!(world.phase(), Some(Phase::Healthy), "{}", world.story());
    // Nobody gets to the new pods by the old selector, which they fit as well.
    let first = |line: &str| {
        let at = world.journal.iter().position(|found| found.starts_with(line));
        at.unwrap_or_else(|| panic!("no {line}\n{}", world.story()))
    };
    // With the spaces before its time: not "all".
    assert!(
        first("apply Service shop a  ") < first("status Rolling a b"),
        "{}",
        world.story()
    );
    assert!(
        first("status Rolling a b") < first("apply Deployment b"),
        "{}",
        world.story()
    );
    assert!(
        world.object(ChildKind::Deployment, NAME).is_none(),
        "{}",
        world.story()
    );
    assert_eq!(adopted(&world), Some(("True".to_owned(), "Replaced".to_owned())));
}

#[test]
fn a_release_on_top_that_fails() {
    let mut world = a_deployment_is_the_first_revision();
    let before = pods(&world);
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    served(&mut world, 120);
    world.assert_steady("a");
    assert_eq!(pods(&world), before);
    world.image("a");
    served(&mut world, 20);
    assert_eq!(world.phase(), Some(Phase::Healthy));
    assert_eq!(selector(&world), json!({"app": "shop"}), "it rests as before");
}

#[test]
fn back_to_what_was_adopted_while_baking_and_later() {
    for seconds in [2, 200] {
        let mut world = a_deployment_is_the_first_revision();
        world.set("strategy", json!({"type": "BlueGreen", "bakeSeconds": 60}));
        world.image("b");
        world.until_state(RolloutState::Baking);
        served(&mut world, seconds);
        world.rollback("b", "a");
        served(&mut world, 200);
        world.assert_steady("a");
        assert_eq!(world.ready("a"), 3, "{}", world.story());
        let deployment = world.object(ChildKind::Deployment, NAME).unwrap();
        assert_eq!(
            deployment.object["spec"]["selector"]["matchLabels"],
            json!({"app": "shop"})
        );
    }
}

fn canary() -> Value {
    json!({"strategy": {"type": "Canary", "bakeSeconds": 5,
        "canary": {"steps": [{"weight": 25, "durationSeconds": 10}, {"weight": 50, "durationSeconds": 10}]}}})
}

#[test]
fn a_canary_by_pods_on_top() {
    let mut world = plain(spec_with("a", canary()));
    served(&mut world, 10);
    world.image("b");
    world.until_step(1);
    assert_eq!(world.selected().as_deref(), Some("all"), "{}", world.story());
    served(&mut world, 200);
    world.assert_steady("b");
}

#[test]
fn a_canary_by_routes_on_top_and_back() {
    let steps = json!([{"weight": 20, "durationSeconds": 10}]);
    let strategy = json!({"type": "Canary", "bakeSeconds": 5, "canary": {"steps": steps}});
    let more = json!({"routes": super::routes::gateway(), "strategy": strategy});
    // Routes split the traffic also where the pods keep other labels.
    for labels in [json!({"app": "shop"}), chart()] {
        let mut world = before(spec_with("a", more.clone()), &labels, "Deployment,Service");
        served(&mut world, 20);
        world.assert_steady("a");
        world.image("b");
        world.until_step(1);
        served(&mut world, 6);
        let a = world.name("a");
        assert_eq!(world.gateway.most(&world.name("b")), 20, "{}", world.story());
        assert_eq!(selector(&world)[labels::REVISION], a.as_str());
        served(&mut world, 60);
        world.assert_steady("b");
        world.rollback("b", "a");
        served(&mut world, 120);
        world.assert_steady("a");
    }
}

#[test]
fn weights_by_pods_are_refused_where_the_pods_keep_other_labels() {
    let mut world = before(spec_with("a", canary()), &chart(), "Deployment,Service");
    served(&mut world, 10);
    world.assert_steady("a");
    assert_eq!(
        world.status().selector.unwrap(),
        format!("microservice.dev/revision={}", world.name("a"))
    );
    world.image("b");
    served(&mut world, 10);
    world.assert_steady("a");
    let (_, reason, message) = world.condition("Stalled").unwrap();
    assert_eq!(reason, "WeightsRefused");
    assert!(
        message.contains("kubectl microservice expedite shop"),
        "{message}"
    );
    world.annotate(annotations::EXPEDITE, "app:b");
    served(&mut world, 100);
    world.assert_steady("b");
    // The next one has weights.
    world.image("c");
    world.until_step(1);
    assert_eq!(world.selected().as_deref(), Some("all"));
}

#[test]
fn a_rolling_release_on_top_of_pods_that_keep_other_labels_flips() {
    let mut world = before(spec("a"), &chart(), "Deployment,Service");
    served(&mut world, 10);
    world.image("b");
    served(&mut world, 120);
    world.assert_steady("b");
    world.rollback("b", "a");
    served(&mut world, 120);
    world.assert_steady("a");
}

#[test]
fn a_spec_that_asks_for_something_else_goes_out_as_the_first_release() {
    let mut world = plain(spec("b"));
    served(&mut world, 10);
    assert!(
        world
            .edges()
            .contains(&microservice_operator::rollout::Edge::Roll)
    );
    let (_, _, message) = world.condition("Adopted").unwrap();
    assert!(message.contains(".spec.containers[].image"), "{message}");
    served(&mut world, 120);
    world.assert_steady("b");
}

#[test]
fn what_does_not_fit_is_refused_and_nothing_is_touched() {
    type Fix = fn(&mut World);
    let owned = |world: &mut World| {
        let mut object = deployment(&json!({"app": "shop"}));
        object["metadata"]["ownerReferences"] =
            json!([{"kind": "Canary", "name": "shop", "uid": "c", "controller": true}]);
        world.api.put(ChildKind::Deployment, NAME, object);
    };
    let mismatched = |world: &mut World| {
        world
            .api
            .put(ChildKind::Service, NAME, service(&json!({"app": "other"})));
    };
    let scaled = |world: &mut World| {
        let target = json!({"kind": "Deployment", "name": NAME});
        let object = json!({"metadata": {}, "spec": {"scaleTargetRef": target}});
        world
            .api
            .put(ChildKind::HorizontalPodAutoscaler, "other-name", object);
    };
    let under_way = |world: &mut World| {
        let mut object = deployment(&json!({"app": "shop"}));
        object["status"] = json!({"replicas": 4, "updatedReplicas": 2});
        world.api.put(ChildKind::Deployment, NAME, object);
    };
    let cases: [(&str, &str, Fix); 6] = [
        ("Deployment,Service", "OwnedByOther", owned),
        ("Deployment", "NotListed", |_| {}),
        ("Deployment,Service", "SelectorMismatch", mismatched),
        ("Deployment,Service", "AutoscalerMismatch", scaled),
        ("Deployment,Service", "RolloutUnderWay", under_way),
        ("Deployment,Secret", "WrongAnnotation", |_| {}),
    ];
    for (adopt, reason, change) in cases {
        let mut world = before(spec("a"), &json!({"app": "shop"}), adopt);
        change(&mut world);
        let objects = world.api.objects.clone();
        world.run(40);
        assert_eq!(world.api.objects, objects, "{reason}\n{}", world.story());
        let (status, found, message) = world.condition("Adopted").unwrap();
        assert_eq!(found, reason, "{message}");
        assert_ne!(status, "True");
        assert_ne!(world.phase(), Some(Phase::Healthy));
        // The way out leads out.
        let healthy = plain(spec("a"));
        world.api.objects = healthy.api.objects;
        world.annotate(annotations::ADOPT, "Deployment,Service");
        world.run(30);
        assert_eq!(adopted(&world), yes(), "{reason}\n{}", world.story());
    }
}

#[test]
fn nothing_to_adopt_is_no_obstacle() {
    let mut world = World::new(spec("a"));
    world.annotate(annotations::ADOPT, "Deployment,Service");
    world.run(30);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy));
    assert_eq!(
        adopted(&world),
        Some(("False".to_owned(), "NothingFound".to_owned()))
    );
}

#[test]
fn a_process_that_dies_in_between_loses_nothing() {
    for write in 1..12 {
        let mut world = plain(spec("a"));
        let before = pods(&world);
        world.faults.crash_after = Some(write);
        served(&mut world, 20);
        world.assert_steady("a");
        assert_eq!(pods(&world), before, "after write {write}\n{}", world.story());
        assert_eq!(adopted(&world), yes(), "after write {write}\n{}", world.story());
        assert_eq!(selector(&world), json!({"app": "shop"}), "after write {write}");
    }
}

#[test]
fn pods_that_come_later_are_told_their_revision() {
    let mut world = a_deployment_is_the_first_revision();
    world.set("replicas", json!(5));
    served(&mut world, 10);
    assert_eq!(world.status().ready_replicas, 5, "{}", world.story());
    assert_eq!(world.ready("a"), 5);
}

#[test]
fn an_autoscaler_is_taken_over_with_what_it_wanted() {
    let more = json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 10, "cpu": 70}});
    let mut spec = spec_with("a", more);
    spec.as_object_mut().unwrap().remove("replicas");
    let mut world = before(
        spec,
        &json!({"app": "shop"}),
        "Deployment,Service,HorizontalPodAutoscaler",
    );
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME});
    let autoscaler =
        json!({"metadata": {}, "spec": {"scaleTargetRef": target, "minReplicas": 2, "maxReplicas": 10}});
    world
        .api
        .put(ChildKind::HorizontalPodAutoscaler, NAME, autoscaler);
    served(&mut world, 20);
    assert_eq!(world.ready("a"), 3, "{}", world.story());
    assert_eq!(adopted(&world), yes());
    // The autoscaler goes on from what it had, and no manifest is blamed.
    assert_eq!(world.api.service.spec.operation.replicas, 3);
    assert_eq!(world.condition("ReplicasManagedByGit"), None);
    let autoscaler = world.object(ChildKind::HorizontalPodAutoscaler, NAME).unwrap();
    assert_eq!(
        autoscaler.object["spec"]["scaleTargetRef"]["kind"],
        "Microservice"
    );
}

#[test]
fn a_budget_is_taken_over_under_its_name_and_goes_with_its_revision() {
    let adopt = "Deployment,Service,PodDisruptionBudget/shop-pdb";
    let mut world = before(spec("a"), &json!({"app": "shop"}), adopt);
    let budget =
        json!({"metadata": {}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "shop"}}}});
    world.api.put(ChildKind::PodDisruptionBudget, "shop-pdb", budget);
    served(&mut world, 20);
    assert_eq!(adopted(&world), yes(), "{}", world.story());
    let a = world.name("a");
    let budget = world.object(ChildKind::PodDisruptionBudget, "shop-pdb").unwrap();
    assert_eq!(
        budget.object["spec"]["selector"]["matchLabels"],
        json!({"microservice.dev/revision": a})
    );
    assert!(world.object(ChildKind::PodDisruptionBudget, &a).is_none());
    world.image("b");
    served(&mut world, 120);
    assert!(world.object(ChildKind::PodDisruptionBudget, "shop-pdb").is_none());
    assert!(
        world
            .object(ChildKind::PodDisruptionBudget, &world.name("b"))
            .is_some()
    );
}

#[test]
fn an_ingress_is_taken_over_under_its_name() {
    let route = json!({"routes": [{"name": "web", "hosts": ["shop.example"], "ingress": {"name": NAME}}]});
    let mut world = before(
        spec_with("a", route),
        &json!({"app": "shop"}),
        "Deployment,Service,Ingress",
    );
    world.api.put(
        ChildKind::Ingress,
        NAME,
        json!({"metadata": {}, "spec": {"rules": []}}),
    );
    served(&mut world, 20);
    assert_eq!(adopted(&world), yes(), "{}", world.story());
    let ingress = world.object(ChildKind::Ingress, NAME).unwrap();
    assert_eq!(ingress.object["spec"]["rules"][0]["host"], "shop.example");
    assert!(world.object(ChildKind::Ingress, "shop-web").is_none());
}
