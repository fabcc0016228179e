//! Who is told what becomes of rollouts: once, in order, whatever happens to the operator.

use std::collections::BTreeMap;

use microservice_operator::api::{NotificationEvent, Phase, RolloutState, annotations};
use microservice_operator::rollout::{DeliveryOutcome, Edge, Step};
use serde_json::{Value, json};

use crate::cluster::Behaviour;
use crate::world::{World, spec, spec_with};

fn key(key: &str) -> Value {
    json!({"name": "chat", "key": key})
}

fn chat(name: &str, events: &[&str]) -> Value {
    json!({"name": name, "events": events, "slack": {"urlFrom": key("url")}})
}

fn alerts(name: &str) -> Value {
    json!({"name": name, "alertmanager": {"url": "http://alertmanager.monitoring:9093"}})
}

fn canary() -> Value {
    json!({"type": "Canary", "bakeSeconds": 10, "canary": {"steps": [{"weight": 50, "pause": "Manual"}]}})
}

fn start(notifications: Value) -> World {
    let spec = spec_with(
        "a",
        2,
        json!({"strategy": canary(), "notifications": notifications}),
    );
    let mut world = World::new(spec);
    world.run(30);
    world.assert_state(RolloutState::Steady);
    world
}

/// A canary that a person lets go on and that is promoted, and one that crashes and is taken back.
fn life(world: &mut World) {
    world.image("b");
    world.run(40);
    world.promote("b", 1, 1);
    world.run(60);
    world.script("c", Behaviour::CrashLoop);
    world.image("c");
    world.run(60);
}

/// What both of them come to.
const STORY: [&str; 7] = [
    "Started a",
    "Promoted a",
    "Started b",
    "Waiting b",
    "Promoted b",
    "Started c",
    "RolledBack c",
];

#[test]
fn each_transition_is_told_once_and_in_order() {
    let mut world = start(json!([
        chat("team", &[]),
        chat("bosses", &["Promoted", "RolledBack"]),
        alerts("alerts")
    ]));
    life(&mut world);
    assert_eq!(world.told("team"), STORY, "{}", world.story());
    assert_eq!(world.told("alerts"), STORY);
    assert_eq!(world.told("bosses"), ["Promoted a", "Promoted b", "RolledBack c"]);
    assert!(world.status().notifications.is_empty());
    assert_eq!(world.complaints(), [""; 0]);
    let sent: Vec<_> = world
        .sent
        .iter()
        .filter(|sent| sent.notification.name == "team")
        .collect();
    let notice = &sent[6].notice;
    assert_eq!(notice.id, format!("3/1/{}/RolledBack", world.name("c")));
    assert_eq!(
        (notice.image.as_str(), &notice.stable),
        ("app:c", &world.name("b"))
    );
    assert!(notice.message.contains("CrashLoopBackOff"), "{}", notice.message);
    assert_eq!(sent[3].notice.id, format!("2/1/{}/Waiting/1", world.name("b")));
    assert!(
        sent[3].notice.message.contains("person"),
        "{}",
        sent[3].notice.message
    );
}

#[test]
fn a_revision_that_cannot_be_helped_is_told_once() {
    let mut world = World::new(spec_with("a", 1, json!({"notifications": [chat("team", &[])]})));
    world.script("a", Behaviour::CrashLoop);
    world.run(300);
    assert_eq!(world.told("team"), ["Started a", "Failed a"], "{}", world.story());
    world.restart();
    world.run(60);
    world.image("b");
    world.run(60);
    assert_eq!(
        world.told("team"),
        ["Started a", "Failed a", "Started b", "Promoted b"],
        "{}",
        world.story()
    );
    let failed = &world.sent[1].notice;
    assert_eq!(
        (failed.event, failed.stable.as_str()),
        (NotificationEvent::Failed, "")
    );
    assert_eq!(world.rollout().failed_at, None);
}

#[test]
fn a_step_that_wavers_while_it_waits_is_told_once() {
    let mut world = start(json!([chat("team", &["Waiting"])]));
    world.image("b");
    world.until_step(1);
    world.run(10);
    assert_eq!(world.told("team"), ["Waiting b"]);
    let name = world.name("b");
    world.disturb();
    world.cluster.pods.retain(|pod| pod.revision != name);
    world.until(30, "it to waver", |world| world.phase() != Some(Phase::Paused));
    world.until(60, "it to wait again", |world| {
        world.phase() == Some(Phase::Paused)
    });
    world.run(10);
    assert_eq!(world.told("team"), ["Waiting b"], "{}", world.story());
    // A person who pauses knows it.
    world.annotate(annotations::PAUSE, &format!("{name}/1"));
    world.run(10);
    world.withdraw(annotations::PAUSE);
    world.run(10);
    assert_eq!(world.told("team"), ["Waiting b"]);
}

#[test]
fn what_the_environment_stops_again_and_again_is_told_once() {
    let mut world = World::serving_spec(spec_with("a", 2, json!({"notifications": [chat("team", &[])]})));
    world.sent.clear();
    world.script("b", Behaviour::PullBackOff);
    world.image("b");
    world.run(400);
    let trials = world.edges().iter().filter(|edge| **edge == Edge::Roll).count();
    assert!(trials > 2, "{}", world.story());
    assert_eq!(
        world.told("team"),
        ["Started b", "RolledBack b"],
        "{}",
        world.story()
    );
    world.script("b", Behaviour::Good(2));
    world.run(900);
    assert_eq!(world.told("team"), ["Started b", "RolledBack b", "Promoted b"]);
}

/// How often each receiver was sent each notice.
fn times(world: &World) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for sent in &world.sent {
        *times.entry(sent.key.clone()).or_default() += 1;
    }
    times
}

#[test]
fn nobody_is_told_twice_whenever_the_operator_dies() {
    let start = World::new(spec_with(
        "a",
        2,
        json!({"strategy": canary(), "notifications": [chat("team", &[]), alerts("alerts")]}),
    ));
    let whole = |world: &mut World| {
        world.run(30);
        life(world);
    };
    let mut world = start.clone();
    whole(&mut world);
    assert_eq!(world.told("team"), STORY);
    let all = times(&world);
    let mut lost = 0;
    for write in 1..=world.writes {
        for lost_reply in [false, true] {
            let mut crashed = start.clone();
            if lost_reply {
                crashed.faults.lost_reply = Some(write);
            } else {
                crashed.faults.crash_after = Some(write);
            }
            whole(&mut crashed);
            crashed.run(40);
            let found = times(&crashed);
            assert!(
                found.keys().eq(all.keys()) || found.len() + 1 == all.len(),
                "{write}: {found:?}"
            );
            let twice = |key: &str| found.get(key).copied().unwrap_or(0) > 1;
            assert!(
                !found.keys().any(|key| key.ends_with("/team") && twice(key)),
                "after write {write}: {found:?}\n{}",
                crashed.story()
            );
            // Where a repetition changes nothing, nothing is ever lost.
            let missing = all.keys().find(|key| !found.contains_key(*key));
            if let Some(key) = missing {
                assert!(key.ends_with("/team"), "after write {write}: {key} was lost");
                assert!(
                    crashed.complaints().contains(&"NotificationLost"),
                    "after write {write}: {key} was lost without a word\n{}",
                    crashed.story()
                );
                lost += 1;
            }
            assert!(crashed.status().notifications.is_empty(), "after write {write}");
        }
    }
    // Between the write that says so and the sending, and nowhere else: after each of the claims, and where its answer
    // was lost.
    assert_eq!(lost, 2 * STORY.len());
}

#[test]
fn what_another_process_was_sending_is_not_sent_again() {
    let mut world = start(json!([chat("team", &[]), alerts("alerts")]));
    world.sent.clear();
    world.receiver("team", &DeliveryOutcome::Running);
    world.receiver("alerts", &DeliveryOutcome::Running);
    world.image("b");
    world.run(3);
    assert_eq!((world.told("team").len(), world.told("alerts").len()), (1, 1));
    let entry = &world.status().notifications[0];
    assert_eq!(
        (entry.pending.clone(), entry.sending.clone()),
        (vec!["alerts".to_owned()], vec!["team".to_owned()])
    );
    world.restart();
    world.receivers.clear();
    world.run(60);
    assert_eq!(
        world.told("team"),
        ["Started b", "Waiting b"],
        "{}",
        world.story()
    );
    assert_eq!(world.told("alerts"), ["Started b", "Started b", "Waiting b"]);
    assert_eq!(world.complaints(), ["NotificationLost"]);
}

#[test]
fn what_does_not_arrive_is_said_and_holds_up_nobody_else() {
    let mut world = start(json!([chat("team", &[]), chat("deaf", &[])]));
    world.sent.clear();
    world.receiver("deaf", &DeliveryOutcome::Running);
    life(&mut world);
    // The rollouts went on, the other one heard of all, and this one is told one thing after the other.
    assert_eq!(world.told("team"), STORY[2..]);
    assert_eq!(world.told("deaf"), ["Started b"]);
    let failed = DeliveryOutcome::Failed("chat.example: the answer was 404".to_owned());
    world.receiver("deaf", &failed);
    world.run(10);
    world.receivers.clear();
    world.run(10);
    assert!(world.told("deaf").len() > 1);
    assert!(world.status().notifications.is_empty());
    let notes = world
        .events
        .iter()
        .filter(|event| event.reason == "NotificationFailed");
    let notes: Vec<&str> = notes.map(|event| event.note.as_str()).collect();
    let name = world.name("b");
    assert_eq!(
        notes[0],
        format!("deaf was not told that {name} goes out: chat.example: the answer was 404")
    );
}

#[test]
fn too_many_notices_drop_the_oldest_and_say_so() {
    let mut world = start(json!([chat("deaf", &[])]));
    world.sent.clear();
    world.receiver("deaf", &DeliveryOutcome::Running);
    for number in 0..7 {
        world.image(&format!("r{number}"));
        world.run(40);
        world.promote(&format!("r{number}"), 1, 1);
        world.run(40);
    }
    assert_eq!(world.status().notifications.len(), 10);
    assert!(
        world
            .complaints()
            .iter()
            .all(|reason| *reason == "NotificationDropped")
    );
    assert_eq!(world.complaints().len(), 7 * 3 - 10);
}

#[test]
fn who_leaves_the_spec_is_told_nothing_more() {
    let mut world = start(json!([chat("team", &[])]));
    world.sent.clear();
    world.receiver("team", &DeliveryOutcome::Running);
    world.image("b");
    world.run(40);
    assert_eq!(world.told("team"), ["Started b"]);
    world.set("notifications", json!([]));
    world.receiver("team", &DeliveryOutcome::Delivered);
    world.run(40);
    assert_eq!(world.told("team"), ["Started b"]);
    assert!(world.status().notifications.is_empty());
}

#[test]
fn notifications_are_no_part_of_a_revision() {
    let mut world = World::serving_spec(spec("a", 2));
    let before = world.rollout();
    world.set("notifications", json!([chat("team", &[])]));
    world.run(60);
    assert_eq!(world.rollout(), before);
    assert!(world.sent.is_empty());
}

/// Status writes of the same life.
fn status_writes(notifications: Value) -> usize {
    let mut world = start(notifications);
    world.journal.clear();
    life(&mut world);
    world
        .journal
        .iter()
        .filter(|line| line.starts_with("status"))
        .count()
}

#[test]
fn what_it_costs_is_known() {
    let without = status_writes(json!([]));
    let with = status_writes(json!([
        chat("team", &[]),
        chat("bosses", &[]),
        chat("others", &[])
    ]));
    let alerting = status_writes(json!([alerts("alerts")]));
    // One write before a message and one after it, however many are told; five transitions.
    assert!(with <= without + 10, "{without} {with}");
    assert!(alerting <= without + 5, "{without} {alerting}");
    println!("status writes: {without} without, {with} with chats, {alerting} with an Alertmanager");
}

#[test]
fn a_claim_waits_for_what_the_rollout_needs() {
    let mut world = start(json!([chat("team", &[])]));
    world.journal.clear();
    world.image("b");
    world.run(3);
    let lines: Vec<&String> = world.journal.iter().collect();
    let position = |start: &str| lines.iter().position(|line| line.starts_with(start));
    let (pods, sent) = (position("apply Deployment b"), position("send"));
    assert!(pods.is_some() && pods < sent, "{lines:?}");
    // Nothing comes between the write that claims it and the sending.
    assert!(lines[sent.unwrap() - 1].starts_with("status"), "{lines:?}");
    let plan = microservice_operator::rollout::plan(&world.observed(), world.now);
    assert!(!plan.steps.iter().any(|step| matches!(step, Step::Send(_))));
}
