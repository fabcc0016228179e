//! What must hold at every plan and every write, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::api::{
    Blame, MicroserviceStatus, RolloutCourse, RolloutState, RolloutStatus, Router, StableHealth,
    StrategyType, annotations, labels,
};
use microservice_operator::health::{Counts, Scheduling, readiness};
use microservice_operator::render::ChildKind;
use microservice_operator::rollout::{
    ChildKey, EDGES, Edge, Observed, Plan, ReplicasHolder, Step, Surge, is_route,
};
use microservice_operator::simulation::View;
use microservice_operator::traffic::leads_to;
use serde_json::Value;

use super::api_server::Stored;
use super::world::{NAME, World};

/// What the laws remember of the past.
#[derive(Clone, Debug, Default)]
pub struct Laws {
    /// Revisions that were rejected for good, and have not been asked for again.
    rejected: BTreeSet<String>,
    /// When a pod of a revision was last seen in trouble of its own.
    troubled: BTreeMap<String, Timestamp>,
    /// Until when what is lost is somebody else's doing: objects that were deleted or changed by hand.
    pub disturbed: Option<Timestamp>,
}

fn broken(world: &World, law: &str, words: &str) -> ! {
    panic!("{law}: {}\n{}", world.alias(words), world.story())
}

/// The revisions that have Deployments in a state.
fn live(rollout: &RolloutStatus) -> Vec<&str> {
    match rollout.state {
        RolloutState::Steady => rollout.stable.iter().map(String::as_str).collect(),
        RolloutState::Starting => rollout.candidate.iter().map(String::as_str).collect(),
        RolloutState::Rolling | RolloutState::Promoting | RolloutState::Baking | RolloutState::Returning => {
            rollout
                .stable
                .iter()
                .chain(&rollout.candidate)
                .map(String::as_str)
                .collect()
        }
    }
}

/// Whether routes split the traffic of what is under way.
fn by_routes(world: &World, rollout: &RolloutStatus) -> bool {
    let course = rollout.course.unwrap_or_default();
    let own = |revision: &str| world.object(ChildKind::Service, revision).is_some();
    course != RolloutCourse::Exchange && (world.gateway.splits(NAME) || live(rollout).into_iter().any(own))
}

fn disturbed(world: &World) -> bool {
    world.laws.disturbed.is_some_and(|until| world.now <= until)
}

/// At every second, and after every write.
pub fn moment(world: &mut World) {
    let troubled = world.cluster.pods.iter().filter(|pod| pod.is_troubled());
    let troubled: Vec<String> = troubled.map(|pod| pod.revision.clone()).collect();
    let now = world.now;
    // It lasts until one of its pods is ready again, also where those in trouble are gone by then.
    let mut known = std::mem::take(&mut world.laws.troubled);
    for (revision, last) in &mut known {
        if world.cluster.ready(revision) == 0 {
            *last = now;
        }
    }
    world.laws.troubled = known;
    world
        .laws
        .troubled
        .extend(troubled.into_iter().map(|revision| (revision, now)));
    if disturbed(world) {
        return;
    }
    answered(world);
    wide(world);
}

/// Ready endpoints that are listed for a Service, and the revision that it leads to; none: to all.
fn listed(world: &World, service: &str) -> (i32, Option<String>) {
    if service != NAME {
        let ready = world.cluster.services.get(service).copied().unwrap_or(0);
        return (ready, Some(service.to_owned()));
    }
    let root = world.api.objects.get(&(ChildKind::Service, NAME.to_owned()));
    let only = root.and_then(|root| selector(&root.object)).flatten();
    let endpoints = &world.cluster.endpoints;
    let ready = endpoints.ready.values().sum::<i32>() + endpoints.unknown;
    (ready, only.map(str::to_owned))
}

/// Whether a revision lost pods by its own doing, and that only just.
fn troubled(world: &World, revision: &str) -> bool {
    // Endpoints come back later than pods.
    let while_ago = SignedDuration::from_secs(i64::try_from(world.cluster.lag).unwrap() + 1);
    let last = world.laws.troubled.get(revision);
    last.is_some_and(|last| world.now.duration_since(*last) <= while_ago)
}

/// No request of a route gets to a Service without endpoints while another revision has some.
fn answered(world: &World) {
    let services: BTreeSet<String> = world
        .gateway
        .possible()
        .flat_map(|config| config.keys().cloned())
        .filter(|service| service.starts_with(NAME))
        .collect();
    if services.is_empty() {
        return;
    }
    for service in services {
        let (ready, revision) = listed(world, &service);
        let Some(revision) = revision.filter(|_| ready == 0) else {
            continue;
        };
        let others = world
            .cluster
            .pods
            .iter()
            .any(|pod| pod.revision != revision && pod.is_ready());
        if others && !troubled(world, &revision) {
            broken(
                world,
                "requests are answered",
                &format!("{service} has no endpoint"),
            );
        }
    }
}

/// The root Service leads to all pods only while these are of two revisions at most.
fn wide(world: &World) {
    let root = world.api.objects.get(&(ChildKind::Service, NAME.to_owned()));
    if root.is_none_or(|root| selector(&root.object) != Some(None)) {
        return;
    }
    let ready = world.cluster.pods.iter().filter(|pod| pod.is_ready());
    let revisions: BTreeSet<&str> = ready.map(|pod| pod.revision.as_str()).collect();
    if revisions.len() > 2 {
        broken(
            world,
            "wide while there are two revisions at most",
            &format!("{revisions:?}"),
        );
    }
}

/// What decisions claim of the traffic of routes is so.
fn claims(world: &World, observed: &Observed, plan: &Plan) {
    let Some(rollout) = plan.status.rollout.as_ref() else {
        return;
    };
    let (Some(stable), Some(before)) = (
        &rollout.stable,
        observed.service.status.as_ref().and_then(|s| s.rollout.as_ref()),
    ) else {
        return;
    };
    // Whoever names another router in the middle has pods share the traffic from then on.
    let by_pods = observed.spec().operation.strategy().router() == Router::Service;
    if !by_routes(world, before) || by_pods || disturbed(world) {
        return;
    }
    let ours = |service: &String| service.starts_with(NAME) && service != NAME;
    for edge in &plan.edges {
        let (law, wrong) = match edge {
            Edge::Returned => (
                "nothing leads to what was left",
                before
                    .candidate
                    .clone()
                    .filter(|left| world.gateway.leads_to(left)),
            ),
            Edge::Bake => (
                "what bakes has all traffic",
                world
                    .gateway
                    .possible()
                    .flat_map(|config| config.keys())
                    .find(|service| ours(service) && Some(*service) != rollout.candidate.as_ref())
                    .cloned(),
            ),
            Edge::InForce if plan.edges == [Edge::InForce] && world.cluster.ready(stable) > 0 => {
                let candidate = rollout.candidate.clone().unwrap_or_default();
                let splits = world
                    .gateway
                    .possible()
                    .filter(|config| config.keys().any(ours) && !config.contains_key(stable));
                let other = splits
                    .map(|config| config.get(&candidate).copied().unwrap_or(0))
                    .chain([world.gateway.most(&candidate)])
                    .find(|weight| *weight != rollout.weight);
                (
                    "a step in force is what it says",
                    other.map(|weight| format!("{weight} %, not {} %", rollout.weight)),
                )
            }
            _ => continue,
        };
        if let Some(wrong) = wrong {
            broken(world, law, &wrong);
        }
    }
}

/// At every write that moves traffic of routes.
fn routed(world: &World, observed: &Observed, plan: &Plan, key: &ChildKey, before: &View) {
    let Some(rollout) = plan.status.rollout.as_ref() else {
        return;
    };
    let object = &world.api.objects[key].object;
    let config = leads_to(key.0, object);
    let earlier = before
        .objects
        .get(key)
        .map(|stored| leads_to(key.0, &stored.object));
    sums(world, object);
    if let Some(earlier) = &earlier
        && !disturbed(world)
    {
        for service in config.keys().filter(|service| !earlier.contains_key(*service)) {
            let (ready, revision) = listed(world, service);
            let others = world
                .cluster
                .pods
                .iter()
                .any(|pod| pod.is_ready() && Some(&pod.revision) != revision.as_ref());
            if service.starts_with(NAME) && ready == 0 && others && world.memory.frozen.is_none() {
                broken(world, "endpoints before weight", service);
            }
        }
    }
    let (Some(stable), Some(candidate)) = (&rollout.stable, &rollout.candidate) else {
        return;
    };
    let weight = config.get(candidate).copied().unwrap_or(0);
    let had = earlier.map_or(0, |earlier| earlier.get(candidate).copied().unwrap_or(0));
    let most = match rollout.state {
        RolloutState::Rolling if readiness(observed.pods_of(stable)).ready > 0 => rollout.weight,
        RolloutState::Returning if readiness(observed.pods_of(stable)).ready > 0 => had,
        _ => 100,
    };
    if weight > most && rollout.course.unwrap_or_default() != RolloutCourse::Exchange {
        broken(
            world,
            "no more than the weight of the step",
            &format!("{weight} %, at most {most} %"),
        );
    }
}

/// Weights of one rule come to 100, or there is one alone.
fn sums(world: &World, object: &Value) {
    for rule in object["spec"]["rules"].as_array().into_iter().flatten() {
        let backends = rule["backendRefs"].as_array().cloned().unwrap_or_default();
        let sum: i64 = backends
            .iter()
            .map(|backend| backend["weight"].as_i64().unwrap())
            .sum();
        if backends.len() > 1 && sum != 100 {
            broken(world, "weights come to 100", &rule.to_string());
        }
    }
}

/// What is in use is not deleted.
fn kept(world: &World, name: &str) {
    if !disturbed(world) && world.gateway.leads_to(name) {
        broken(world, "a Service that is in use stays", name);
    }
}

/// The root Service follows when the routes lead to the candidate alone.
fn flipped(world: &World, observed: &Observed, rollout: &RolloutStatus, before: &View) {
    let (Some(stable), Some(candidate)) = (&rollout.stable, &rollout.candidate) else {
        return;
    };
    let key = (ChildKind::Service, NAME.to_owned());
    let of = |objects: &BTreeMap<ChildKey, Stored>| {
        let only = objects
            .get(&key)
            .and_then(|root| selector(&root.object).flatten());
        only == Some(candidate.as_str())
    };
    if !by_routes(world, rollout)
        || disturbed(world)
        || of(&before.objects)
        || !of(&world.api.objects)
        || readiness(observed.pods_of(stable)).ready == 0
        || rollout.state == RolloutState::Returning
    {
        return;
    }
    if world.gateway.leads_to(stable) {
        broken(
            world,
            "the root Service follows the routes",
            &format!("{stable} still has traffic"),
        );
    }
}

/// On the way back the root Service does not come to lead to the candidate where it has left it, or never led there.
fn narrowed(world: &World, observed: &Observed, rollout: &RolloutStatus, before: &View) {
    let Some(stable) = &rollout.stable else {
        return;
    };
    let key = (ChildKind::Service, NAME.to_owned());
    let home_alone = |objects: &BTreeMap<ChildKey, Stored>| {
        let only = objects
            .get(&key)
            .and_then(|root| selector(&root.object).flatten());
        only == Some(stable.as_str())
    };
    if rollout.state == RolloutState::Returning
        && home_alone(&before.objects)
        && !home_alone(&world.api.objects)
        && readiness(observed.pods_of(stable)).ready > 0
        && !disturbed(world)
    {
        broken(world, "a way back raises nothing", stable);
    }
}

/// Ready pods end by our doing only where their traffic has left them, and was done with.
fn drained(world: &World, observed: &Observed, plan: &Plan, revision: &str, before: &View) {
    let (was, is) = (
        asked(&before.objects, revision),
        asked(&world.api.objects, revision),
    );
    let ready = world.cluster.ready(revision);
    let (Some(rollout), false) = (plan.status.rollout.as_ref(), disturbed(world)) else {
        return;
    };
    let cramped = observed.deployments.values().any(|d| d.failure.is_some())
        || observed
            .pods
            .values()
            .flatten()
            .any(|pod| matches!(pod.scheduling, Scheduling::Unschedulable { .. }));
    let others = world
        .cluster
        .pods
        .iter()
        .any(|pod| pod.is_ready() && pod.revision != revision);
    let given_up = plan.edges.contains(&Edge::FixForward) || cramped || observed.wanted_replicas() == 0;
    if is >= was || is >= ready || !others || given_up || world.memory.frozen.is_some() {
        return;
    }
    if is > 0 {
        let share = world.gateway.most(revision);
        let needed = (share * observed.wanted_replicas() + 99) / 100;
        if world.gateway.leads_to(revision) && is < needed.max(1) {
            broken(
                world,
                "who has traffic has pods for it",
                &format!("{revision}: {ready} ready -> {is}, at least {needed}"),
            );
        }
        return;
    }
    let drain = SignedDuration::from_secs(observed.spec().operation.strategy().drain_seconds());
    let recent = |last: Option<Timestamp>| last.is_some_and(|last| world.now < last + drain);
    let rooted = by_routes(world, rollout) && recent(world.gateway.last_rooted(revision));
    if recent(world.gateway.last_used(revision)) || rooted {
        broken(
            world,
            "pods end when their traffic is done",
            &format!(
                "{revision}: by route {:?}, by the root Service {:?}, now {}",
                world.gateway.last_used(revision),
                world.gateway.last_rooted(revision),
                world.now
            ),
        );
    }
}

/// At every plan.
pub fn planned(world: &mut World, observed: &Observed, plan: &Plan) {
    if plan.wake.is_some_and(|at| at <= world.now) {
        broken(world, "a wake lies ahead", &format!("{:?}", plan.wake));
    }
    limits(world, &plan.status);
    chain(world, observed, plan);
    targets(world, observed, plan);
    autoscaled(world, observed, plan);
    claims(world, observed, plan);
    spent(world, observed, plan);
    if !plan.edges.is_empty() && !matches!(plan.steps.first(), Some(Step::Checkpoint(_))) {
        broken(
            world,
            "a decision is durable before it acts",
            &format!("{:?}", plan.edges),
        );
    }
}

/// A command that was carried out or ignored acts never again: without it the same is decided.
fn spent(world: &World, observed: &Observed, plan: &Plan) {
    let noted = observed.status().commands;
    let mut without = observed.clone();
    let said = without.service.metadata.annotations.get_or_insert_default();
    let before = said.len();
    for command in noted.iter().filter(|command| command.verb != "retry") {
        let annotation = format!("microservice.dev/{}", command.verb);
        if said.get(&annotation) == Some(&command.value) {
            said.remove(&annotation);
        }
    }
    if said.len() == before {
        return;
    }
    let other = microservice_operator::rollout::plan(&without, world.now);
    if other.edges != plan.edges {
        broken(
            world,
            "a command that was ignored or carried out acts never",
            &format!("{noted:?}: {:?} instead of {:?}", plan.edges, other.edges),
        );
    }
}

/// What the schema of the status allows, and what the design promises.
fn limits(world: &World, status: &MicroserviceStatus) {
    let size = serde_json::to_vec(status).unwrap().len();
    let unique = |names: Vec<String>| names.iter().collect::<BTreeSet<_>>().len() == names.len();
    let conditions: Vec<String> = status.conditions.iter().map(|c| c.type_.clone()).collect();
    let seqs: Vec<String> = status.history.iter().map(|h| h.seq.to_string()).collect();
    let revisions: Vec<String> = status.revisions.iter().map(|r| r.name.clone()).collect();
    let verbs: Vec<String> = status.commands.iter().map(|c| c.verb.clone()).collect();
    for (what, fine) in [
        ("16 KiB", size <= 16 * 1024),
        (
            "conditions are unique",
            unique(conditions) && status.conditions.len() <= 24,
        ),
        ("history is unique", unique(seqs) && status.history.len() <= 10),
        (
            "revisions are unique",
            unique(revisions) && status.revisions.len() <= 20,
        ),
        (
            "commands are unique",
            unique(verbs) && status.commands.len() <= 16,
        ),
        ("inventory", status.inventory.len() <= 100),
        ("urls", status.urls.len() <= 16),
        (
            "messages",
            status
                .conditions
                .iter()
                .all(|c| c.message.len() <= 1024 && !c.reason.is_empty()),
        ),
    ] {
        if !fine {
            broken(
                world,
                "the status can be written",
                &format!("{what}: {size} bytes"),
            );
        }
    }
}

/// The decisions of a plan follow each other as the table says.
fn chain(world: &World, observed: &Observed, plan: &Plan) {
    if plan.edges.is_empty() {
        return;
    }
    let state =
        |status: Option<&MicroserviceStatus>| status.and_then(|s| s.rollout.as_ref()).map(|r| r.state);
    let mut states: BTreeSet<Option<RolloutState>> = [state(observed.service.status.as_ref())].into();
    for edge in &plan.edges {
        let row = EDGES.iter().find(|row| row.edge == *edge).unwrap();
        let leaves = |state: &Option<RolloutState>| match state {
            Some(state) => row.from.contains(state),
            None => matches!(edge, Edge::Start | Edge::Adopt | Edge::Repair),
        };
        states = if states.iter().any(leaves) {
            row.to.iter().copied().map(Some).collect()
        } else {
            BTreeSet::new()
        };
    }
    if !states.contains(&state(Some(&plan.status))) {
        let from = state(observed.service.status.as_ref());
        let to = state(Some(&plan.status));
        broken(
            world,
            "the table has every decision",
            &format!("{from:?} {:?} {to:?}", plan.edges),
        );
    }
}

/// What is returned to was good when the change began, or a person named it.
fn targets(world: &World, observed: &Observed, plan: &Plan) {
    let before = observed.service.status.as_ref().and_then(|s| s.rollout.as_ref());
    let (Some(before), Some(after)) = (before, plan.status.rollout.as_ref()) else {
        return;
    };
    if plan.edges.first() == Some(&Edge::Reject)
        && (before.stable != after.stable || before.stable_health != Some(StableHealth::Healthy))
    {
        broken(
            world,
            "a verdict returns to what was good before",
            &format!("{before:?} {after:?}"),
        );
    }
    if plan.edges.first() == Some(&Edge::Rollback) {
        let asked = observed.annotation(annotations::ROLLBACK).unwrap_or_default();
        let named = asked.split('/').nth(1);
        if after.state == RolloutState::Returning
            && after.stable.as_deref() != named
            && after.stable != before.stable
        {
            broken(
                world,
                "a person's word is followed",
                &format!("{asked} {after:?}"),
            );
        }
    }
    if after.seq < before.seq {
        broken(world, "seq only grows", &format!("{} {}", before.seq, after.seq));
    }
}

/// Under autoscaling no manifest takes pods away, but for the bounds and for a stop.
fn autoscaled(world: &World, observed: &Observed, plan: &Plan) {
    let operation = &observed.spec().operation;
    let manifest = matches!(observed.replicas_holder, ReplicasHolder::Manifest { .. });
    if let (Some(bounds), Some(before)) = (&operation.autoscaling, &observed.service.status)
        && manifest
        && operation.replicas > 0
        && plan.status.desired_replicas < before.desired_replicas.min(bounds.max_replicas)
    {
        let words = format!("{} -> {}", before.desired_replicas, plan.status.desired_replicas);
        broken(world, "a manifest is a floor at most", &words);
    }
}

fn strategy_type(observed: &Observed) -> StrategyType {
    observed.spec().operation.strategy().strategy_type()
}

fn selector(service: &Value) -> Option<Option<&str>> {
    let selector = service.pointer("/spec/selector")?;
    Some(selector.get(labels::REVISION).and_then(Value::as_str))
}

/// Who has no ready pod gets no traffic that another live revision could take.
fn traffic(world: &World, observed: &Observed, rollout: &RolloutStatus, service: &Value) {
    let Some(Some(only)) = selector(service) else {
        return;
    };
    let ready = |revision: &str| readiness(observed.pods_of(revision)).ready;
    let other = live(rollout).into_iter().find(|other| {
        *other != only && ready(other) > 0 && observed.deployment_of(other).is_some_and(|d| d.replicas > 0)
    });
    if let Some(other) = other
        && ready(only) == 0
        && strategy_type(observed) != StrategyType::Recreate
    {
        broken(
            world,
            "traffic goes to ready pods",
            &format!("only {only}, while {other} has ready pods"),
        );
    }
}

/// At every write, after it was done.
pub fn written(world: &mut World, observed: &Observed, plan: &Plan, step: &Step, before: &View) {
    if let Some((name, old, new)) = world.api.restarts.first().cloned() {
        broken(
            world,
            "pods are never restarted",
            &format!("{name}\n{old}\n{new}"),
        );
    }
    let Some(rollout) = plan.status.rollout.as_ref() else {
        return;
    };
    match step {
        Step::Checkpoint(status) => remember(world, observed, before, status),
        Step::Apply(apply) if apply.child.kind == ChildKind::Service && apply.child.name == NAME => {
            traffic(world, observed, rollout, &apply.child.object);
            flipped(world, observed, rollout, before);
            narrowed(world, observed, rollout, before);
        }
        Step::Apply(apply) if apply.child.kind == ChildKind::Deployment => {
            sizes(world, observed, rollout, before);
            capacity(world, observed, plan, rollout, before);
            drained(world, observed, plan, &apply.child.name, before);
        }
        Step::Apply(apply) if is_route(apply.child.kind) => {
            let key = (apply.child.kind, apply.child.name.clone());
            routed(world, observed, plan, &key, before);
        }
        Step::Delete(delete) if delete.kind == ChildKind::Deployment => {
            capacity(world, observed, plan, rollout, before);
            drained(world, observed, plan, &delete.name, before);
        }
        Step::Delete(delete) if delete.kind == ChildKind::Service => kept(world, &delete.name),
        Step::Apply(_)
        | Step::Scale(_)
        | Step::Label(_)
        | Step::Claim(_)
        | Step::Delete(_)
        | Step::Call(_)
        | Step::ForgetCall(_)
        | Step::Send(_) => {}
    }
}

/// Rejected stays rejected.
fn remember(world: &mut World, observed: &Observed, before: &View, status: &MicroserviceStatus) {
    let Some(rollout) = status.rollout.as_ref() else {
        return;
    };
    let known: BTreeSet<String> = before
        .objects
        .keys()
        .filter(|(kind, _)| *kind == ChildKind::ControllerRevision)
        .map(|(_, n)| n.clone())
        .collect();
    // What has no record any more is forgotten, as the history limit says.
    world.laws.rejected.retain(|name| known.contains(name));
    let Some(candidate) = &rollout.candidate else {
        return;
    };
    match rollout.state {
        RolloutState::Returning => {
            let blame = rollout.cause.as_ref().map(|cause| cause.blame);
            if matches!(blame, Some(Blame::Candidate | Blame::Person)) {
                world.laws.rejected.insert(candidate.clone());
            }
        }
        RolloutState::Rolling => {
            let asked = observed
                .annotation(annotations::RETRY)
                .unwrap_or_default()
                .to_owned();
            if world.laws.rejected.remove(candidate) && !asked.starts_with(&format!("{candidate}/")) {
                broken(world, "rejected stays rejected", candidate);
            }
        }
        RolloutState::Starting | RolloutState::Steady | RolloutState::Promoting | RolloutState::Baking => {}
    }
    // A person may name it as the one to return to.
    if let Some(stable) = &rollout.stable {
        world.laws.rejected.remove(stable);
    }
}

fn asked(objects: &BTreeMap<(ChildKind, String), Stored>, revision: &str) -> i32 {
    let of = |stored: &&Stored| stored.label(labels::REVISION) == Some(revision);
    let deployments = objects
        .iter()
        .filter(|(key, _)| key.0 == ChildKind::Deployment)
        .map(|(_, stored)| stored);
    deployments.filter(of).map(Stored::replicas).sum()
}

/// Two revisions together are never asked for more pods than the surge allows.
fn sizes(world: &World, observed: &Observed, rollout: &RolloutStatus, before: &View) {
    // A change that flips traffic has both at full size, and says so by a weight of 0.
    // In a step of all traffic, and after the last step, the candidate grows to full size beside the other.
    let growing = rollout.step_digest.as_deref() == Some("full") || rollout.weight >= 100;
    let lots = rollout.state == RolloutState::Rolling && rollout.weight > 0 && !growing;
    if !lots || strategy_type(observed) == StrategyType::Recreate || by_routes(world, rollout) {
        return;
    }
    let wanted = observed.wanted_replicas();
    let most = wanted.saturating_add(Surge::of(&observed.spec().operation.strategy(), wanted).above);
    let sum = |objects| {
        live(rollout)
            .into_iter()
            .map(|revision| asked(objects, revision))
            .sum::<i32>()
    };
    let (was, is) = (sum(&before.objects), sum(&world.api.objects));
    // The stable one may have what carries all traffic at any time: so it takes the candidate's share back.
    let candidate = rollout.candidate.as_deref().unwrap_or_default();
    let beside = asked(&world.api.objects, candidate);
    if beside <= asked(&before.objects, candidate) && is - beside <= wanted {
        return;
    }
    // In a course of steps pods that are too many by a smaller number of replicas go in the same breath.
    let is = match rollout.course {
        Some(RolloutCourse::Steps) => beside + (is - beside).min(wanted),
        Some(RolloutCourse::Exchange | RolloutCourse::FullSize) | None => is,
    };
    if is > most.max(was) {
        broken(
            world,
            "no more pods than the surge allows",
            &format!("{was} -> {is}, at most {most}"),
        );
    }
}

/// No write of ours takes ready pods away that the service needs.
fn capacity(world: &World, observed: &Observed, plan: &Plan, rollout: &RolloutStatus, before: &View) {
    let service = before.objects.get(&(ChildKind::Service, NAME.to_owned()));
    let only = match service.map(|service| selector(&service.object)) {
        Some(Some(only)) => only,
        Some(None) | None => return,
    };
    let homeless = rollout.state == RolloutState::Returning
        && observed
            .pods_of(rollout.stable.as_deref().unwrap_or_default())
            .iter()
            .any(|pod| matches!(pod.scheduling, Scheduling::Unschedulable { .. }));
    let cramped = observed.deployments.values().any(|d| d.failure.is_some());
    // What is fixed after a return was stuck goes out against the one that serves more; and what is started over had
    // no ready pod when that was decided.
    let given_up = plan.edges.contains(&Edge::FixForward) || rollout.state == RolloutState::Starting;
    if strategy_type(observed) == StrategyType::Recreate || given_up || by_routes(world, rollout) {
        return;
    }
    let wanted = observed.wanted_replicas();
    let needed = wanted - Surge::of(&observed.spec().operation.strategy(), wanted).below;
    // Who is failed makes room, but not with its last pod.
    let least = if homeless || cramped {
        needed.min(1)
    } else {
        needed
    };
    let carrying = |objects| -> i32 {
        let revisions: BTreeSet<&str> = observed
            .deployments
            .values()
            .map(|d| d.revision.as_str())
            .collect();
        let selected = revisions
            .into_iter()
            .filter(|revision| only.is_none_or(|only| only == *revision));
        selected
            .map(|revision| {
                let Counts { ready, .. } = readiness(observed.pods_of(revision));
                ready.min(asked(objects, revision))
            })
            .sum()
    };
    let (was, is) = (carrying(&before.objects), carrying(&world.api.objects));
    if is < was.min(least) {
        broken(
            world,
            "no ready pod is taken that is needed",
            &format!("{was} -> {is}, at least {least}"),
        );
    }
}

/// When nothing is left to write.
pub fn at_rest(world: &mut World, observed: &Observed, plan: &Plan) {
    let Some(rollout) = plan.status.rollout.as_ref() else {
        return;
    };
    let service = observed.children.get(&(ChildKind::Service, NAME.to_owned()));
    if let Some(service) = service
        && observed.failures.is_empty()
        && observed.stays(ChildKind::Service, NAME)
    {
        traffic(world, observed, rollout, &service.object);
    }
    if let (
        RolloutState::Rolling | RolloutState::Promoting | RolloutState::Baking | RolloutState::Returning,
        Some(stable),
    ) = (rollout.state, &rollout.stable)
        && !observed.records.contains_key(stable)
        && observed.failures.is_empty()
    {
        broken(world, "what lives has a record", stable);
    }
}
