//! What was lost: the status, records, children; and what is found instead.

use microservice_operator::api::{Phase, RolloutState};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::Edge;
use serde_json::json;

use crate::cluster::Behaviour;
use crate::operator::Part;
use crate::world::{World, spec, spec_with};

pub fn the_status_is_lost_in_peace() -> World {
    let mut world = World::serving(3);
    world.lose_status();
    let pods = world.cluster.pods.clone();
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy));
    assert_eq!(world.cluster.pods, pods, "nothing restarts");
    world
}

#[test]
fn the_status_is_lost_at_any_time_of_a_rollout() {
    for seconds in 0..40 {
        let mut world = World::serving_spec(spec_with("a", 3, json!({"strategy": {"bakeSeconds": 20}})));
        world.image("b");
        world.run(seconds);
        world.lose_status();
        world.run(80);
        world.assert_steady("b");
    }
}

#[test]
fn the_status_is_lost_on_the_way_back() {
    for seconds in 0..20 {
        let mut world = World::serving(3);
        world.image("b");
        world.until_state(RolloutState::Baking);
        world.run(20);
        world.script("a", Behaviour::Good(8));
        world.rollback("b", "a");
        world.run(1 + seconds);
        world.lose_status();
        for _ in 0..60 {
            world.run(1);
            assert!(
                world.ready("a") + world.ready("b") >= 3,
                "after {seconds} s\n{}",
                world.story()
            );
        }
        world.assert_steady("a");
    }
}

#[test]
fn the_status_is_lost_when_a_third_one_is_asked_for() {
    let mut world = World::serving(3);
    world.image("b");
    world.until_state(RolloutState::Baking);
    world.run(20);
    world.lose_status();
    world.script("c", Behaviour::Good(8));
    world.image("c");
    for _ in 0..150 {
        world.run(1);
        let ready = world.cluster.pods.iter().filter(|pod| pod.is_ready()).count();
        assert!(ready >= 3, "{}", world.story());
    }
    world.assert_steady("c");
}

pub fn the_status_is_impossible() -> World {
    let mut world = World::serving(3);
    world.image("b");
    world.run(100);
    world.assert_steady("b");
    let seq = world.rollout().seq;
    world.api.edit(|service| {
        let rollout = service.status.as_mut().unwrap().rollout.as_mut().unwrap();
        rollout.state = RolloutState::Rolling;
        rollout.seq += 10;
    });
    world.run(10);
    world.assert_steady("b");
    assert!(world.rollout().seq >= seq + 10, "it only grows");
    world
}

#[test]
fn a_revision_that_replaces_itself_is_impossible() {
    let mut world = World::serving(3);
    let a = world.name("a");
    world.api.edit(|service| {
        let rollout = service.status.as_mut().unwrap().rollout.as_mut().unwrap();
        rollout.state = RolloutState::Returning;
        rollout.candidate = Some(a);
        rollout.cause =
            serde_json::from_value(json!({"blame": "Candidate", "reason": "X", "message": ""})).unwrap();
    });
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy));
}

pub fn the_record_of_stable_is_lost() -> World {
    let mut world = World::serving(3);
    world.image("b");
    world.script("b", Behaviour::CrashLoop);
    world.run(40);
    world.assert_steady("a");
    let a = world.name("a");
    let pods = world.cluster.pods.clone();
    world.remove(ChildKind::ControllerRevision, &a);
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.cluster.pods, pods, "nothing restarts");
    assert!(world.object(ChildKind::ControllerRevision, &a).is_some());
    assert_eq!(world.summary()[2], "True RolledBack");
    world
}

#[test]
fn the_record_of_a_stable_that_the_spec_asks_for_is_made_again() {
    let mut world = World::serving(3);
    let a = world.name("a");
    let pods = world.cluster.pods.clone();
    let before = world.remove(ChildKind::ControllerRevision, &a);
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.cluster.pods, pods, "nothing restarts");
    let after = world.object(ChildKind::ControllerRevision, &a).unwrap();
    assert_eq!(
        before.record().unwrap().notes.promoted,
        after.record().unwrap().notes.promoted
    );
    assert_eq!(world.phase(), Some(Phase::Healthy));
}

#[test]
fn all_records_can_be_lost_at_any_time_of_a_rollout() {
    for seconds in 0..90 {
        let mut world = World::serving(3);
        world.image("b");
        world.run(seconds);
        world
            .api
            .objects
            .retain(|key, _| key.0 != ChildKind::ControllerRevision);
        for _ in 0..150 {
            world.run(1);
            let ready = world.cluster.pods.iter().filter(|pod| pod.is_ready()).count();
            assert!(ready >= 3, "after {seconds} s\n{}", world.story());
        }
        world.assert_steady("b");
    }
}

#[test]
fn all_records_can_be_lost_on_the_way_back() {
    for seconds in 0..20 {
        let mut world = World::serving(3);
        world.image("b");
        world.until_state(RolloutState::Baking);
        world.run(20);
        world.script("a", Behaviour::Good(8));
        world.rollback("b", "a");
        world.run(1 + seconds);
        world
            .api
            .objects
            .retain(|key, _| key.0 != ChildKind::ControllerRevision);
        for _ in 0..60 {
            world.run(1);
            assert!(
                world.ready("a") + world.ready("b") >= 3,
                "after {seconds} s\n{}",
                world.story()
            );
        }
        world.assert_steady("a");
    }
}

#[test]
fn a_first_revision_whose_record_is_lost_goes_on() {
    let mut world = World::new(spec("a", 3));
    world.script("a", Behaviour::Good(20));
    world.run(5);
    let a = world.name("a");
    world.remove(ChildKind::ControllerRevision, &a);
    world.run(30);
    world.assert_steady("a");
}

#[test]
fn status_and_records_lost_leave_the_running_deployment() {
    for tag in ["a", "b"] {
        let mut world = World::serving(3);
        let pods = world.cluster.pods.clone();
        world.lose_status();
        world.api.objects.retain(|key, _| key.0 == ChildKind::Deployment);
        world.image(tag);
        world.run(5);
        if tag == "a" {
            assert_eq!(world.cluster.pods, pods, "nothing restarts");
        }
        world.run(150);
        world.assert_steady(tag);
    }
}

#[test]
fn orphans_are_taken_in_and_orphans_are_made() {
    let mut world = World::serving_spec(spec_with("a", 2, json!({"deletionPolicy": "Orphan"})));
    assert!(
        world
            .api
            .objects
            .values()
            .all(|o| o.object.pointer("/metadata/ownerReferences").is_none())
    );
    let pods = world.cluster.pods.clone();
    // The Microservice is deleted and made again, with another uid and no status.
    world.api.edit(|service| {
        service.status = None;
        service.metadata.uid = Some("uid-service-2".to_owned());
        service.spec.operation.deletion_policy = None;
    });
    world.restart();
    world.run(10);
    world.assert_steady("a");
    assert_eq!(world.cluster.pods, pods);
    let owner = |stored: &crate::api_server::Stored| {
        stored.object.pointer("/metadata/ownerReferences/0/uid").cloned()
    };
    assert!(
        world
            .api
            .objects
            .values()
            .all(|o| owner(o) == Some(json!("uid-service-2"))),
        "{}",
        world.story()
    );
}

#[test]
fn what_people_delete_or_change_comes_back() {
    let mut world = World::serving(3);
    let a = world.name("a");
    let service = (ChildKind::Service, "shop".to_owned());
    world.api.objects.remove(&service);
    world.run(3);
    assert_eq!(world.selected().as_deref(), Some("a"));
    world.api.objects.get_mut(&service).unwrap().object["spec"]["selector"]["microservice.dev/revision"] =
        json!("x");
    world.run(3);
    assert_eq!(world.selected().as_deref(), Some("a"));
    world
        .api
        .objects
        .get_mut(&(ChildKind::Deployment, a.clone()))
        .unwrap()
        .object["spec"]["replicas"] = json!(9);
    world.run(10);
    assert_eq!(world.asked("a"), 3);
    world.remove(ChildKind::Deployment, &a);
    world.run(20);
    assert_eq!(world.ready("a"), 3);
    world.assert_steady("a");
    assert_eq!(world.phase(), Some(Phase::Healthy));
}

#[test]
fn a_stale_status_decides_nothing() {
    let mut world = World::serving(3);
    world.script("b", Behaviour::CrashLoop);
    world.image("b");
    world.run(2);
    world.freeze(&[Part::Service]);
    let (stale, _) = world.memory.frozen.clone().unwrap();
    // Another process has taken it back meanwhile.
    world.memory.frozen = None;
    world.run(30);
    world.assert_steady("a");
    let taken = world.taken.len();
    let writes = world
        .journal
        .iter()
        .filter(|line| line.starts_with("status"))
        .count();
    world.memory.frozen = Some((stale, [Part::Service].into()));
    world.cluster.scripts.clear();
    world.reconcile();
    world.thaw();
    world.run(60);
    world.assert_steady("a");
    let statuses = world
        .journal
        .iter()
        .filter(|line| line.starts_with("status"))
        .count();
    assert!(statuses <= writes + 1, "{}", world.story());
    assert!(
        world.taken[taken..]
            .iter()
            .all(|t| !t.edges.contains(&Edge::Finish)),
        "{}",
        world.story()
    );
}
