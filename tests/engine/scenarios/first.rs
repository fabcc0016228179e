//! The first revision.

use microservice_operator::api::{Phase, RolloutState};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{Edge, plan};
use serde_json::json;

use crate::cluster::Behaviour;
use crate::world::{World, spec, spec_with};

pub fn first_deploy() -> World {
    let mut world = World::new(spec("a", 3));
    world.run(30);
    world.assert_steady("a");
    world.assert_order(&[
        "status Starting - a",
        "apply ControllerRevision a",
        "apply Deployment a 3",
        "apply Service shop a",
        "status Steady a -",
    ]);
    assert_eq!(world.edges(), [Edge::Start, Edge::Started]);
    assert_eq!(world.phase(), Some(Phase::Healthy));
    assert_eq!((world.ready("a"), world.selected()), (3, Some("a".to_owned())));
    // Its children, the two decisions, and at most one more word about counts.
    let words = world
        .journal
        .iter()
        .filter(|line| line.starts_with("status"))
        .count();
    assert!(words <= 3, "{}", world.story());
    world
}

pub fn a_first_revision_that_is_never_healthy_waits_for_another() -> World {
    let mut world = World::new(spec("a", 2));
    world.script("a", Behaviour::NeverReady);
    world.run(10);
    world.assert_state(RolloutState::Starting);
    assert_eq!(
        world.summary(),
        ["Unknown Starting", "True Starting", "-", "False NoReadyPod"]
    );
    world.run(600);
    assert_eq!(world.phase(), Some(Phase::Degraded));
    assert_eq!(
        world.summary()[2],
        "True ProgressDeadlineExceeded",
        "by a wake of its own"
    );
    assert_eq!(world.asked("a"), 2, "nothing is deleted");
    world.image("b");
    world.run(30);
    world.assert_steady("b");
    assert!(world.deployment("a").is_none());
    world.assert_order(&[
        "status Starting - b",
        "apply Deployment b 2",
        "delete Deployment a",
        "status Steady b -",
    ]);
    world
}

#[test]
fn a_first_revision_that_crashes_says_so_and_recovers() {
    let mut world = World::new(spec("a", 2));
    world.script("a", Behaviour::CrashLoop);
    world.run(10);
    world.assert_state(RolloutState::Starting);
    assert_eq!(world.summary()[2], "True CrashLoopBackOff");
    assert!(
        world.status().message.unwrap().contains("no database"),
        "the container's own words"
    );
    world.script("a", Behaviour::Good(2));
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.summary(), ["True Healthy", "-", "-", "True Serving"]);
}

#[test]
fn a_first_revision_that_serves_some_is_not_thrown_away() {
    let mut world = World::new(spec("a", 4));
    world.cluster.room = 3;
    world.run(10);
    world.assert_state(RolloutState::Starting);
    assert_eq!(world.ready("a"), 3);
    world.image("b");
    world.cluster.room = 8;
    world.script("b", Behaviour::Good(5));
    for _ in 0..120 {
        world.run(1);
        assert!(world.ready("a") + world.ready("b") >= 3, "{}", world.story());
    }
    world.assert_steady("b");
}

#[test]
fn a_suspended_service_does_not_start() {
    let mut world = World::new(spec_with("a", 2, json!({"suspend": true})));
    world.run(10);
    assert!(world.api.objects.is_empty(), "{}", world.story());
    assert_eq!(world.phase(), Some(Phase::Suspended));
    world.suspend(false);
    world.run(20);
    world.assert_steady("a");
}

#[test]
fn a_first_revision_of_no_pods_is_steady_and_stopped() {
    let mut world = World::new(spec("a", 0));
    world.run(5);
    world.assert_steady("a");
    assert_eq!(world.summary(), ["True Stopped", "-", "-", "False Stopped"]);
    world.set("replicas", json!(2));
    world.run(10);
    assert_eq!(world.ready("a"), 2);
    assert_eq!(world.phase(), Some(Phase::Healthy));
}

#[test]
fn recreate_waits_for_the_pods_of_what_was_started_over() {
    let mut world = World::new(spec_with("a", 1, json!({"strategy": {"type": "Recreate"}})));
    world.cluster.grace = 20;
    world.script("a", Behaviour::NeverReady);
    world.run(10);
    world.image("b");
    for _ in 0..60 {
        world.run(1);
        let of = |tag: &str| {
            let name = world
                .api
                .objects
                .keys()
                .find(|(kind, _)| *kind == ChildKind::Deployment)
                .map(|(_, n)| n.clone());
            name.map_or(0, |_| {
                world
                    .cluster
                    .pods
                    .iter()
                    .filter(|pod| pod.image.ends_with(tag))
                    .count()
            })
        };
        assert!(
            of(":a") == 0 || of(":b") == 0,
            "both at a time\n{}",
            world.story()
        );
    }
    world.assert_steady("b");
}

#[test]
fn what_is_being_collected_with_an_earlier_service_is_no_revision_of_this_one() {
    let mut earlier = World::serving(2);
    let mut world = World::new(spec("b", 2));
    // The same name, applied again right after it was deleted: the garbage collector is still at work.
    for stored in earlier.api.objects.values_mut() {
        stored.deleting = microservice_operator::rollout::Deleting::Yes;
        stored.object["metadata"]["ownerReferences"][0]["uid"] = json!("uid-earlier");
        stored.uid.push_str("-earlier");
    }
    world.api.objects = earlier.api.objects.clone();
    let planned = plan(&world.observed(), world.now);
    assert_eq!(planned.edges, [Edge::Start]);
    world.run(5);
    world
        .api
        .objects
        .retain(|_, stored| stored.deleting == microservice_operator::rollout::Deleting::No);
    world.run(20);
    world.assert_steady("b");
}
