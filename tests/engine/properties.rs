//! Random lives: whatever people, pods and processes do, the laws hold at every write, and in the end the service is
//! where its spec wants it, or says why not.

use std::panic::{AssertUnwindSafe, catch_unwind};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::api::{
    Blame, CoarseWeights, CommandStatus, MicroserviceStatus, Phase, ReturnCause, RolloutCourse, RolloutState,
    RolloutStatus, StableHealth, annotations,
};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{FailureClass, Slot, Worth, plan};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

use super::api_server::Refusal;
use super::cluster::Behaviour;
use super::gateway::Taking;
use super::operator::Part;
use super::world::{NAME, World, spec, spec_with};

/// Something that happens.
#[derive(Clone, Debug)]
enum Event {
    Image(u8),
    Env(u8),
    Ports(u8),
    Strategy(u8),
    Replicas(i32),
    Behave(u8, Behaviour),
    Rollback(u8, u8),
    Retry(u8, i32),
    Restart(u8),
    Suspend(bool),
    Pass(i64),
    Away(i64),
    CrashIn(usize),
    LoseReplyIn(usize),
    Freeze(Vec<Part>, i64),
    LoseStatus,
    LoseRecords,
    Remove(usize),
    Scale(i32),
    Autoscale(Option<(i32, i32)>),
    ScaleTo(i32),
    DropReplicas,
    RefuseScale(bool),
    Unselect,
    Refuse(u8, i64),
    Room(usize),
    Steps(u8),
    Command(u8, u8),
    Withdraw(u8),
    Routes(u8),
    Taking(u8, i64),
    Slow(i64),
    Served(bool, i64),
    Slot(bool),
}

fn tag(number: u8) -> String {
    char::from(b'a' + number % 4).to_string()
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    prop_oneof![
        4 => (0..15_i64).prop_map(Behaviour::Good),
        1 => Just(Behaviour::NeverReady),
        2 => Just(Behaviour::CrashLoop),
        2 => (0..90_i64).prop_map(Behaviour::CrashAfter),
        1 => Just(Behaviour::ImageAbsent),
        1 => Just(Behaviour::PullBackOff),
        1 => Just(Behaviour::Unschedulable),
    ]
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let all = vec![Part::Service, Part::Objects, Part::Pods, Part::Endpoints];
    proptest::sample::subsequence(all, 1..=4)
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => any::<u8>().prop_map(Event::Image),
        1 => (0..3_u8).prop_map(Event::Env),
        2 => (0..4_u8).prop_map(Event::Ports),
        1 => (0..5_u8).prop_map(Event::Strategy),
        2 => (0..9_i32).prop_map(Event::Replicas),
        4 => (any::<u8>(), behaviour()).prop_map(|(n, b)| Event::Behave(n, b)),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Event::Rollback(a, b)),
        2 => (any::<u8>(), 0..4_i32).prop_map(|(n, t)| Event::Retry(n, t)),
        1 => any::<u8>().prop_map(Event::Restart),
        1 => any::<bool>().prop_map(Event::Suspend),
        10 => (1..80_i64).prop_map(Event::Pass),
        1 => (1..2000_i64).prop_map(Event::Away),
        2 => (1..8_usize).prop_map(Event::CrashIn),
        1 => (1..8_usize).prop_map(Event::LoseReplyIn),
        2 => (parts(), 1..20_i64).prop_map(|(p, s)| Event::Freeze(p, s)),
        1 => Just(Event::LoseStatus),
        1 => Just(Event::LoseRecords),
        2 => (0..20_usize).prop_map(Event::Remove),
        1 => (0..9_i32).prop_map(Event::Scale),
        2 => proptest::option::weighted(0.8, (1..4_i32, 0..6_i32)).prop_map(Event::Autoscale),
        2 => (0..9_i32).prop_map(Event::ScaleTo),
        1 => Just(Event::DropReplicas),
        1 => any::<bool>().prop_map(Event::RefuseScale),
        1 => Just(Event::Unselect),
        2 => (0..4_u8, 1..60_i64).prop_map(|(k, s)| Event::Refuse(k, s)),
        1 => (2..12_usize).prop_map(Event::Room),
    ]
}

/// What happens to progressive rollouts.
fn progressive() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => any::<u8>().prop_map(Event::Image),
        12 => (1..60_i64).prop_map(Event::Pass),
        3 => (0..12_u8).prop_map(Event::Steps),
        5 => (0..8_u8, any::<u8>()).prop_map(|(c, n)| Event::Command(c, n)),
        2 => (0..8_u8).prop_map(Event::Withdraw),
        1 => (0..5_u8).prop_map(Event::Routes),
        3 => (0..4_u8, 1..90_i64).prop_map(|(t, s)| Event::Taking(t, s)),
        2 => (0..40_i64).prop_map(Event::Slow),
        1 => (any::<bool>(), 1..60_i64).prop_map(|(served, s)| Event::Served(served, s)),
        1 => any::<bool>().prop_map(Event::Slot),
        2 => (1..9_i32).prop_map(Event::Replicas),
        2 => (any::<u8>(), behaviour()).prop_map(|(n, b)| Event::Behave(n, b)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| Event::Rollback(a, b)),
        1 => (0..5_u8).prop_map(Event::Strategy),
        1 => any::<bool>().prop_map(Event::Suspend),
        1 => (1..300_i64).prop_map(Event::Away),
        2 => (1..8_usize).prop_map(Event::CrashIn),
        1 => (1..8_usize).prop_map(Event::LoseReplyIn),
        1 => Just(Event::LoseStatus),
    ]
}

/// Strategies with steps.
fn steps(number: u8) -> Value {
    let canary = |steps: Value, more: Value| {
        let mut all = json!({"type": "Canary", "canary": {"steps": steps}, "bakeSeconds": 15, "coarseWeights": "Allow"});
        all.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        all
    };
    let surge = |surge: i32| json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": 0}});
    match number {
        0 => canary(
            json!([{"weight": 10, "durationSeconds": 20}, {"weight": 50, "durationSeconds": 20}]),
            surge(1),
        ),
        1 => canary(
            json!([{"weight": 50, "durationSeconds": 10}]),
            json!({"keepPrevious": "Cold"}),
        ),
        2 => canary(
            json!([{"weight": 30}, {"weight": 80, "durationSeconds": 15}, {"weight": 20, "durationSeconds": 10}]),
            json!({"stableScale": "Follow"}),
        ),
        3 => canary(
            json!([{"match": [{"headers": [{"name": "x", "value": "y"}]}], "durationSeconds": 10}, {"weight": 50}]),
            json!({"drainSeconds": 0}),
        ),
        4 => canary(
            json!([{"replicas": 2, "durationSeconds": 10}, {"weight": 100, "durationSeconds": 10}]),
            surge(2),
        ),
        5 => canary(
            json!([{"weight": 0, "durationSeconds": 5}, {"weight": 25}, {"weight": 75}]),
            json!({"drainSeconds": 20}),
        ),
        6 => canary(
            json!([{"weight": 40, "durationSeconds": 20}]),
            json!({"bakeSeconds": 0, "progressDeadlineSeconds": 60}),
        ),
        7 => canary(
            json!([{"weight": 60}, {"weight": 0, "durationSeconds": 5}, {"weight": 60}]),
            json!({"stableScale": "Follow"}),
        ),
        8 => canary(
            json!([{"weight": 50, "durationSeconds": 30}]),
            json!({"router": "Service"}),
        ),
        9 => json!({"type": "BlueGreen", "bakeSeconds": 15, "keepPrevious": "Cold"}),
        10 => json!({"type": "BlueGreen", "bakeSeconds": 5, "blueGreen": {"previewSeconds": 20}}),
        _ => canary(
            json!([{"weight": 10, "durationSeconds": 5}]),
            json!({"coarseWeights": "Pause"}),
        ),
    }
}

fn routes(number: u8) -> Value {
    match number {
        0 => json!([]),
        1 => json!([{"name": "public", "hosts": ["shop.example"], "istio": {"gateways": ["gw"]}}]),
        2 => json!([{"name": "public", "hosts": ["shop.example"], "ingress": {"className": "nginx"}}]),
        _ => {
            json!([{"name": "public", "hosts": ["shop.example"], "gateway": {"parentRefs": [{"name": "gw"}]}}])
        }
    }
}

const COMMANDS: [&str; 8] = [
    annotations::PROMOTE,
    annotations::PROMOTE,
    annotations::PROMOTE_FULL,
    annotations::ABORT,
    annotations::PAUSE,
    annotations::FREEZE,
    annotations::EXPEDITE,
    annotations::PROMOTE,
];

/// The value of a command: mostly one that names what goes on; the others come too early, or too late.
fn command(world: &World, command: &str, n: u8) -> String {
    let rollout = world.status().rollout;
    let candidate = rollout.as_ref().and_then(|rollout| rollout.candidate.clone());
    let (trial, step) = rollout.map_or((1, 1), |rollout| (rollout.trial, rollout.step.unwrap_or(1)));
    let (step, trial) = match n % 8 {
        0 => (step + 1, trial),
        1 => (step, trial + 1),
        2 => (step - 1, trial),
        3 => (step, trial - 1),
        _ => (step, trial),
    };
    let revision = candidate.unwrap_or_else(|| nth_record(world, n));
    match command {
        annotations::PROMOTE => format!("{revision}/{trial}/{step}"),
        annotations::EXPEDITE => revision,
        _ => format!("{revision}/{trial}"),
    }
}

fn ports(number: u8) -> Value {
    match number {
        0 => json!([]),
        1 => json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
        2 => {
            json!([{"name": "http", "containerPort": 8080, "servicePort": 80}, {"name": "admin", "containerPort": 9}])
        }
        _ => json!([{"name": "http", "containerPort": 8080, "servicePort": 80}]),
    }
}

fn strategy(number: u8) -> Value {
    match number {
        0 => json!({"type": "Recreate", "bakeSeconds": 10}),
        1 => json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}, "bakeSeconds": 5}),
        2 => {
            json!({"rollingUpdate": {"maxSurge": "100%", "maxUnavailable": "50%"}, "progressDeadlineSeconds": 60})
        }
        3 => json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        _ => json!({}),
    }
}

/// Bounds from a fewest number and how many more the most is.
fn autoscaling(bounds: Option<(i32, i32)>) -> Value {
    bounds.map_or(
        Value::Null,
        |(fewest, more)| json!({"minReplicas": fewest, "maxReplicas": fewest + more, "cpu": 50}),
    )
}

fn happen(world: &mut World, event: &Event) {
    match event {
        Event::Image(n) => world.image(&tag(*n)),
        Event::Env(n) => world.set("env", json!([{"name": "A", "value": n.to_string()}])),
        Event::Ports(n) => world.set("ports", ports(*n)),
        Event::Strategy(n) => world.set("strategy", strategy(*n)),
        Event::Replicas(n) => world.set("replicas", json!(n)),
        Event::Behave(n, behaviour) => world.script(&tag(*n), *behaviour),
        Event::Rollback(from, to) => {
            let (from, to) = (nth_record(world, *from), nth_record(world, *to));
            world.annotate(annotations::ROLLBACK, &format!("{from}/{to}"));
        }
        Event::Retry(n, trial) => {
            let name = nth_record(world, *n);
            world.annotate(annotations::RETRY, &format!("{name}/{trial}"));
        }
        Event::Restart(n) => {
            let name = nth_record(world, *n);
            world.annotate(annotations::RESTART, &name);
        }
        Event::Suspend(suspend) => world.suspend(*suspend),
        Event::Pass(seconds) => world.run(*seconds),
        Event::Away(seconds) => world.without_operator(*seconds),
        Event::CrashIn(writes) => world.faults.crash_after = Some(world.writes + writes),
        Event::LoseReplyIn(writes) => world.faults.lost_reply = Some(world.writes + writes),
        Event::Freeze(parts, seconds) => {
            world.freeze(parts);
            world.run(*seconds);
            world.thaw();
        }
        Event::LoseStatus => {
            // Nobody remembers who had traffic a moment ago.
            world.disturb_for(20);
            world.lose_status();
        }
        Event::LoseRecords => world
            .api
            .objects
            .retain(|key, _| key.0 != ChildKind::ControllerRevision),
        Event::Remove(n) => {
            world.disturb();
            if let Some(key) = world.api.objects.keys().nth(*n).cloned() {
                world.api.objects.remove(&key);
            }
        }
        Event::Scale(replicas) => {
            world.disturb();
            let first = world
                .api
                .objects
                .iter_mut()
                .find(|(key, _)| key.0 == ChildKind::Deployment);
            if let Some((_, deployment)) = first {
                deployment.object["spec"]["replicas"] = json!(replicas);
            }
        }
        Event::Autoscale(bounds) => world.set("autoscaling", autoscaling(*bounds)),
        Event::ScaleTo(replicas) => world.scale(*replicas),
        Event::DropReplicas => world.api.drop_replicas(),
        Event::RefuseScale(refused) => world.api.scale_refused = *refused,
        Event::Unselect => {
            world.disturb();
            if let Some(service) = world.api.objects.get_mut(&(ChildKind::Service, NAME.to_owned())) {
                service.object["spec"]["selector"]["microservice.dev/revision"] = json!("nobody");
            }
        }
        Event::Refuse(kind, seconds) => {
            let (kind, class) = match kind {
                0 => (ChildKind::Deployment, FailureClass::Transient),
                1 => (ChildKind::Deployment, FailureClass::Forbidden),
                2 => (ChildKind::Service, FailureClass::Forbidden),
                _ => (ChildKind::ControllerRevision, FailureClass::Transient),
            };
            world.refuse(Refusal {
                kind,
                containing: String::new(),
                class,
                message: "no".to_owned(),
            });
            world.run(*seconds);
            world.api.refusals.clear();
        }
        Event::Room(room) => world.cluster.room = *room,
        Event::Steps(n) => world.set("strategy", steps(*n)),
        Event::Command(n, value) => {
            let annotation = COMMANDS[usize::from(*n)];
            let value = command(world, annotation, *value);
            world.annotate(annotation, &value);
        }
        Event::Withdraw(n) => world.withdraw(COMMANDS[usize::from(*n)]),
        Event::Routes(n) => world.set("routes", routes(*n)),
        Event::Taking(n, seconds) => {
            world.gateway.taking = match n {
                0 => Taking::Silent,
                1 => Taking::Refuses("no".to_owned()),
                2 => Taking::Loses,
                _ => Taking::Accepts,
            };
            world.run(*seconds);
            world.gateway.taking = Taking::Accepts;
        }
        Event::Slow(seconds) => world.gateway.seconds = *seconds,
        Event::Served(served, seconds) => {
            if !served {
                world.served.remove(&ChildKind::HttpRoute);
                world.memory.forget_seen();
                world.run(*seconds);
            }
            world.served.insert(ChildKind::HttpRoute);
            world.memory.forget_seen();
        }
        Event::Slot(free) => {
            world.slot = if *free {
                Slot::Free
            } else {
                Slot::Taken { ahead: 1 }
            };
            world.memory.forget_seen();
        }
    }
}

/// The name of a revision, known or not.
fn nth_record(world: &World, n: u8) -> String {
    let records: Vec<&String> = world
        .api
        .objects
        .keys()
        .filter(|(kind, _)| *kind == ChildKind::ControllerRevision)
        .map(|(_, name)| name)
        .collect();
    let found = records.get(usize::from(n) % records.len().max(1));
    found.map_or("shop-nobody".to_owned(), |name| (*name).clone())
}

/// The scripts stop and pods behave: the service settles.
fn settle(world: &mut World) {
    world.faults = super::operator::Faults::default();
    world.thaw();
    world.cluster.scripts.clear();
    world.cluster.room = usize::MAX;
    world.gateway.taking = Taking::Accepts;
    world.served = ChildKind::ALL.into_iter().collect();
    world.slot = Slot::Free;
    world.memory.forget_seen();
    for command in [annotations::PAUSE, annotations::FREEZE] {
        world.withdraw(command);
    }
    world.api.scale_refused = false;
    world.suspend(false);
    if world.api.service.spec.operation.replicas == 0 {
        world.set("replicas", json!(2));
    }
    let settled = |world: &World| {
        let status = world.status();
        let rollout = status.rollout.as_ref();
        let steady = rollout.is_some_and(|r| r.state == RolloutState::Steady && r.retry_at.is_none());
        steady
            && matches!(status.phase, Some(Phase::Healthy | Phase::Degraded))
            && world.memory.failures.is_empty()
            && world.memory.scale_failure.is_none()
    };
    // A pause after an environment fault may be ten minutes, and so may be the back-off of the process.
    world.until(2500, "the service settles", settled);
    world.run(120);
    let status = world.status();
    let rollout = world.rollout();
    assert!(settled(world), "it stays settled\n{}", world.story());
    let plan = plan(&world.observed(), world.now);
    assert!(
        plan.steps.is_empty() && plan.worth == Worth::Nothing,
        "{plan:#?}\n{}",
        world.story()
    );
    if status.phase == Some(Phase::Degraded) {
        let blame = rollout.cause.as_ref().map(|cause| cause.blame);
        assert!(
            matches!(blame, Some(Blame::Candidate | Blame::Person)),
            "held by a verdict\n{}",
            world.story()
        );
    } else {
        let image = world.api.service.spec.revision.image.clone();
        let stable = status
            .revisions
            .iter()
            .find(|r| Some(&r.name) == rollout.stable.as_ref())
            .unwrap();
        assert_eq!(stable.image, image, "{}", world.story());
    }
    let replicas = world.observed().wanted_replicas();
    assert_eq!(
        world.cluster.ready(rollout.stable.as_ref().unwrap()),
        replicas,
        "{}",
        world.story()
    );
    let deployments = world
        .api
        .objects
        .keys()
        .filter(|key| key.0 == ChildKind::Deployment)
        .count();
    assert_eq!(deployments, 1, "{}", world.story());
}

/// A life behind these routes, with a strategy of steps.
fn live_by_steps(replicas: i32, number: u8, way: u8, lag: usize, events: &[Event]) {
    let mut world = World::new(spec_with(
        "a",
        replicas,
        json!({"strategy": steps(number), "routes": routes(way)}),
    ));
    world.cluster.lag = lag;
    world.run(15);
    for event in events {
        happen(&mut world, event);
        world.run(1);
    }
    // A person who is waited for comes.
    if world.api.service.spec.operation.strategy().coarse_weights() == CoarseWeights::Pause {
        world.set("strategy.coarseWeights", json!("Allow"));
    }
    settle(&mut world);
}

fn live(replicas: i32, events: &[Event]) {
    let mut world = World::new(spec("a", replicas));
    for event in events {
        happen(&mut world, event);
        world.run(1);
    }
    settle(&mut world);
}

/// The same lives in each run of the suite; `PROPTEST_CASES=500 cargo test --test engine every_life` goes looking for
/// others.
fn config() -> ProptestConfig {
    let sought = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: sought.unwrap_or(48),
        rng_seed: match sought {
            Some(_) => RngSeed::Random,
            None => RngSeed::Fixed(2026),
        },
        max_shrink_iters: 150,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_life_keeps_the_laws_and_settles(
        replicas in 1..6_i32,
        events in proptest::collection::vec(event(), 1..24),
    ) {
        live(replicas, &events);
    }

    #[test]
    fn every_life_by_steps_keeps_the_laws_and_settles(
        replicas in 1..7_i32,
        (number, way, lag) in (0..12_u8, 0..4_u8, 0..3_usize),
        events in proptest::collection::vec(progressive(), 1..24),
    ) {
        live_by_steps(replicas, number, way, lag, &events);
    }

    #[test]
    fn no_status_makes_a_plan_panic(rollout in garbage(), commands in commands(), ahead in -100..1_000_000_i64, kept in 0..3_usize) {
        let mut world = World::serving(2);
        world.image("b");
        world.run(4);
        if kept > 0 {
            world.api.objects.retain(|key, _| key.0 != ChildKind::ControllerRevision || kept == 2);
        }
        let names: Vec<String> =
            world.api.objects.keys().filter(|(k, _)| *k == ChildKind::Deployment).map(|(_, n)| n.clone()).collect();
        let mut rollout = rollout;
        for (field, at) in [(&mut rollout.stable, 0), (&mut rollout.candidate, 1), (&mut rollout.previous, 0)] {
            if field.as_deref() == Some("known") {
                *field = names.get(at).cloned();
            }
        }
        world.api.edit(|service| {
            service.status = Some(MicroserviceStatus { rollout: Some(rollout), commands, ..MicroserviceStatus::default() });
        });
        world.now += SignedDuration::from_secs(ahead);
        let observed = world.observed();
        let outcome = catch_unwind(AssertUnwindSafe(|| plan(&observed, world.now)));
        prop_assert!(outcome.is_ok());
    }
}

fn name() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        1 => Just(None),
        3 => Just(Some("known".to_owned())),
        1 => "\\PC{0,12}".prop_map(Some),
    ]
}

fn time() -> impl Strategy<Value = Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>> {
    let seconds = prop_oneof![
        1_767_200_000_i64..1_767_300_000,
        -300_000_000_000_i64..250_000_000_000
    ];
    proptest::option::of(seconds.prop_map(|s| {
        k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::from_second(s).unwrap())
    }))
}

fn edge_numbers() -> impl Strategy<Value = i64> {
    prop_oneof![Just(i64::MAX), Just(i64::MIN), -3..20_i64]
}

fn commands() -> impl Strategy<Value = Vec<CommandStatus>> {
    let one = ("\\PC{0,9}", "\\PC{0,9}").prop_map(|(verb, value)| CommandStatus {
        verb,
        value,
        outcome: None,
    });
    proptest::collection::vec(one, 0..3)
}

prop_compose! {
    fn garbage()(
        state in proptest::sample::select(vec![
            RolloutState::Starting, RolloutState::Steady, RolloutState::Rolling,
            RolloutState::Promoting, RolloutState::Baking, RolloutState::Returning,
        ]),
        (stable, candidate, previous) in (name(), name(), name()),
        (seq, trial, ready_high) in (edge_numbers(), edge_numbers(), edge_numbers()),
        (started_at, step_started_at, progress_at, retry_at) in (time(), time(), time(), time()),
        stable_health in proptest::option::of(proptest::sample::select(vec![StableHealth::Healthy, StableHealth::Broken])),
        blame in proptest::option::of(proptest::sample::select(vec![
            Blame::Candidate, Blame::Environment, Blame::Person, Blame::Superseded,
        ])),
        words in "\\PC{0,3000}",
    ) -> RolloutStatus {
        let small = |number: i64| i32::try_from(number).unwrap_or(if number > 0 { i32::MAX } else { i32::MIN });
        RolloutStatus {
            checks: Vec::new(),
            seq, trial: small(trial), state, stable, candidate, previous, step: Some(small(seq)), of: None, promote: None,
            weight: small(trial), effective_weight: 0, started_at, step_started_at, progress_at,
            ready_high: small(ready_high), deadline: None, waiting_for: Some(words.clone()), stable_health,
            cause: blame.map(|blame| ReturnCause { blame, reason: String::new(), message: words.clone() }),
            course: [None, Some(RolloutCourse::Exchange), Some(RolloutCourse::FullSize), Some(RolloutCourse::Steps)]
                [usize::try_from(seq.rem_euclid(4)).unwrap()],
            step_digest: (trial % 2 == 0).then(|| words.chars().take(10).collect()),
            in_force_at: retry_at.clone(), wavering_since: None, hooks_passed_at: None, waiting_since: None,
            failed_at: retry_at.clone(), retry_at,
        }
    }
}

#[test]
fn lives_that_once_broke_a_law() {
    use Event::{
        Behave, CrashIn, Env, Freeze, Image, LoseStatus, Pass, Ports, Refuse, Replicas, Rollback, Unselect,
    };
    // A key that is added to a selector.
    live(1, &[Pass(2), Image(1), Unselect]);
    // Nobody who is live has a port; the spec has.
    live(1, &[Ports(0), Image(17), Pass(1), Image(2), Ports(1)]);
    // Room for what cannot be pulled.
    live(
        1,
        &[
            Behave(4, Behaviour::PullBackOff),
            Image(5),
            Ports(1),
            Refuse(0, 1),
            Rollback(78, 2),
        ],
    );
    // A first revision that serves when it is overtaken.
    live(2, &[Image(2), Image(67), CrashIn(1), Ports(0)]);
    // A hold that no event ends.
    let behave = Behave(201, Behaviour::CrashAfter(1));
    let events = [
        LoseStatus,
        Image(89),
        Replicas(2),
        Image(0),
        Image(5),
        Env(0),
        Freeze(vec![Part::Pods], 2),
        behave,
    ];
    live(1, &events);
}

#[test]
fn lives_by_steps_that_once_broke_a_law() {
    use Event::{
        Away, Behave, Command, CrashIn, Image, LoseStatus, Pass, Replicas, Rollback, Routes, Served, Slow,
        Steps, Strategy, Suspend, Taking,
    };
    // Steps are edited while nothing may go on.
    live_by_steps(
        1,
        0,
        1,
        0,
        &[Image(57), Served(false, 5), Suspend(true), Steps(6)],
    );
    // An operator that was away does not know since when routes have rested, and no event tells it.
    let events = [
        Image(29),
        Pass(24),
        Pass(37),
        Steps(0),
        Away(1),
        Rollback(1, 56),
        Image(108),
    ];
    live_by_steps(1, 0, 1, 0, &events);
    // A step of all traffic by pods.
    live_by_steps(1, 0, 0, 0, &[Replicas(3), Image(9), Steps(4)]);
    // The routes go, and the change with them.
    live_by_steps(1, 0, 1, 0, &[Image(1), Routes(0), Away(2), Image(92)]);
    // More pods are wanted on the way back.
    live_by_steps(1, 0, 1, 0, &[Image(22), Taking(0, 3), Image(39), Replicas(2)]);
    // Nobody remembers who had a share.
    live_by_steps(1, 0, 3, 0, &[Image(121), Taking(0, 3), Image(18), LoseStatus]);
    // What is returned to is lost on the way.
    let lost = Behave(188, Behaviour::NeverReady);
    live_by_steps(2, 2, 1, 1, &[Image(9), Pass(2), Image(185), Image(192), lost]);
    // The strategy has no steps any more when a person goes back.
    let events = [Image(13), Replicas(2), Rollback(47, 216), Strategy(1), Image(22)];
    live_by_steps(1, 0, 1, 0, &events);
    // A step of no traffic after one of some.
    let events = [
        Slow(13),
        Image(237),
        Strategy(0),
        Steps(0),
        Image(117),
        CrashIn(2),
        Image(0),
        Steps(7),
        Image(1),
        Pass(42),
        Command(3, 7),
    ];
    live_by_steps(1, 0, 3, 0, &events);
    // Another router on the way back, to which what was sent by the one before still is on its way.
    live_by_steps(1, 0, 1, 0, &[Image(1), Pass(3), Image(2), Steps(8)]);
    // A status that is lost gives a candidate nothing.
    let events = [
        Routes(1),
        Image(85),
        Taking(0, 3),
        Suspend(true),
        Replicas(2),
        LoseStatus,
    ];
    live_by_steps(1, 0, 0, 0, &events);
    // A coarse step in place of one that had traffic.
    live_by_steps(2, 8, 0, 0, &[Image(1), Pass(2), Steps(11)]);
    // A route that is refused while its Service is about to go.
    let events = [Image(1), Strategy(0), LoseStatus, Taking(1, 18)];
    live_by_steps(1, 0, 3, 0, &events);
}
