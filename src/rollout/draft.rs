//! A plan in the making: what is observed, and what has been decided on top of it so far.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::checks::Checks;
use super::commands;
use super::edges::Edge;
use super::observed::{ChildKey, Failure, FailureClass, LiveChild, Observed};
use super::outbox::{Outbox, Told};
use super::plan::{EventDraft, EventKind};
use super::replicas::{Pace, Size, Surge};
use super::resolve::Resolution;
use super::state::{Change, Course, Situation, State};
use super::steps::{Goal, goals};
use crate::api::{
    Blame, CommandOutcome, CommandStatus, ExposureSpec, HistoryEntry, KeepPrevious, NotificationEvent, Port,
    PortService, ReturnCause, RolloutCourse, StrategyType,
};
use crate::health::{self, Assessment, Counts, Fault, Limits, Traffic};
use crate::render::{ChildKind, Compatibility, compatibility};
use crate::revision::{ContainerPort, Record};

/// The first pause before a rollout that the environment stopped is tried again; it doubles with each trial.
const RETRY_SECONDS: i64 = 15;
/// The longest such pause.
const RETRY_SECONDS_MAX: i64 = 600;
/// Seconds for which a pod of the revision that is returned to may wait for a node before room is made.
const HOMELESS_SECONDS: i64 = 10;

/// The most digests of a revision that are remembered.
const IMAGE_IDS: usize = 5;

/// What has been decided so far.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    /// What is observed.
    pub observed: &'a Observed,
    /// The time of planning.
    pub now: Timestamp,
    /// Which revision the spec asks for.
    pub resolution: Resolution,
    /// Where the service stands after the decisions so far.
    pub situation: Situation,
    /// The records after the decisions so far.
    pub records: BTreeMap<String, Record>,
    /// The decisions.
    pub edges: Vec<Edge>,
    /// Rollouts that ended by them.
    pub ended: Vec<HistoryEntry>,
    /// Commands that were carried out by them.
    pub commands: Vec<CommandStatus>,
    /// What people are told.
    pub events: Vec<EventDraft>,
    /// What was decided just now that people are to be told beyond the cluster.
    pub told: Vec<Told>,
    /// What of that, and of what was decided before, may be sent.
    pub outbox: Outbox,
    /// Times at which something may be decided that no event will announce.
    pub wakes: Vec<Timestamp>,
    /// How many pods a promotion that begins now is to land on, where these are more than are wanted.
    pub landing: Option<i32>,
    /// How the checks stood before.
    pub checks: Checks,
    /// Whether the status is to be durable before what follows although nothing was decided.
    pub durable: Durable,
}

/// Whether the status has to be written before the children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// Only with a decision.
    WithDecision,
    /// In any case: it holds a time that what follows is measured by.
    Always,
}

impl<'a> Draft<'a> {
    /// Before anything is decided.
    pub fn new(observed: &'a Observed, resolution: Resolution, now: Timestamp) -> Self {
        let written = observed.service.status.as_ref().and_then(|s| s.rollout.as_ref());
        // An impossible state is made good like a lost one: by looking at what runs.
        let situation = written
            .and_then(|rollout| Situation::read(rollout).ok())
            .unwrap_or_else(|| {
                // The number of the rollout still only grows.
                Situation {
                    seq: written.map_or(0, |rollout| rollout.seq),
                    ..Situation::fresh()
                }
            });
        Self {
            observed,
            now,
            resolution,
            situation: situation.not_after(now),
            records: observed
                .lasting_records()
                .map(|record| (record.name.clone(), record.clone()))
                .collect(),
            edges: Vec::new(),
            ended: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            told: Vec::new(),
            outbox: Outbox::default(),
            wakes: Vec::new(),
            landing: None,
            checks: Checks::default(),
            durable: Durable::WithDecision,
        }
    }

    /// The record that the spec asks for.
    pub fn target(&self) -> Option<&Record> {
        match &self.resolution {
            // The notes may have changed since it was resolved.
            Resolution::Revision(record) => Some(self.records.get(&record.name).unwrap_or(record)),
            Resolution::Unresolved(_) => None,
        }
    }

    /// Whether the spec asks for `revision`.
    pub fn is_target(&self, revision: &str) -> bool {
        self.target().is_some_and(|target| target.name == revision)
    }

    /// How many pods the service needs.
    pub fn wanted(&self) -> i32 {
        self.observed.wanted_replicas()
    }

    /// How far the number of pods may leave that.
    pub fn surge(&self) -> Surge {
        Surge::of(&self.observed.spec().operation.strategy(), self.wanted())
    }

    /// The pods of a revision.
    ///
    /// Pods that no Deployment has by its own word are about to end, though nobody has told them yet: that of a revision
    /// that was left is deleted first, and whoever returns to it has it made anew, with other pods.
    pub fn counts(&self, revision: &str) -> Counts {
        let found = health::readiness(self.observed.pods_of(revision));
        let deployment = self.observed.deployment_of(revision);
        if deployment.is_some_and(|deployment| deployment.pods > 0) {
            return found;
        }
        Counts {
            live: 0,
            ready: 0,
            terminating: found.terminating + found.live,
        }
    }

    /// What a revision's Deployment asks for, and its pods.
    pub fn size(&self, revision: &str) -> Size {
        Size {
            asked: self.observed.deployment_of(revision).map_or(0, |d| d.replicas),
            counts: self.counts(revision),
        }
    }

    /// The pods that belong to none of the live revisions and have not begun to end; where one pod has to be gone
    /// before the next may start, those that are ending too.
    pub fn stray_pods(&self) -> i32 {
        let live = self.situation.state.live();
        let stray = self
            .observed
            .pods
            .iter()
            .filter(|(revision, _)| !live.contains(&revision.as_str()));
        stray
            .map(|(_, pods)| {
                let counts = health::readiness(pods);
                match self.strategy_type() {
                    StrategyType::RollingUpdate | StrategyType::Canary | StrategyType::BlueGreen => {
                        counts.live
                    }
                    StrategyType::Recreate => counts.live + counts.terminating,
                }
            })
            .sum()
    }

    /// The kind of rollout that the spec asks for.
    pub fn strategy_type(&self) -> StrategyType {
        self.observed.spec().operation.strategy().strategy_type()
    }

    /// The fields of scope A that are in force for a revision: the spec's while the spec asks for it, else those
    /// that its record remembers.
    pub fn exposure_of(&self, record: &Record) -> ExposureSpec {
        if self.is_target(&record.name) && !self.suspended() {
            return self.observed.spec().exposure.clone();
        }
        record
            .notes
            .exposure
            .clone()
            .unwrap_or_else(|| self.found_exposure(record))
    }

    /// What can be found out where the note is lost: the ports that the containers listen on, as the Service that
    /// lives leads to them.
    fn found_exposure(&self, record: &Record) -> ExposureSpec {
        let spec = &self.observed.spec().exposure;
        let ports = record.data.input.ports.iter().map(|known| {
            let port = Port {
                name: known.name.clone(),
                container_port: known.container_port,
                protocol: Some(known.protocol),
                ..Port::default()
            };
            let Some(service) = self.root_service() else {
                return spec
                    .ports
                    .iter()
                    .find(|p| p.name == known.name)
                    .map_or(port.clone(), |p| Port {
                        service_port: p.service_port,
                        service: p.service,
                        ..port
                    });
            };
            match service_port(&service.object, known) {
                Some(number) => Port {
                    service_port: Some(number),
                    ..port
                },
                None => Port {
                    service: Some(PortService::Exclude),
                    ..port
                },
            }
        });
        ExposureSpec {
            ports: ports.collect(),
            ..spec.clone()
        }
    }

    /// Whether pods of two revisions can stand behind the Service together.
    pub fn compatible(&self, one: &str, other: &str) -> Compatibility {
        let exposure = |name: &str| self.records.get(name).map(|record| self.exposure_of(record));
        // No Service selects the pods of both.
        let odd = |name: &str| {
            let record = self.records.get(name);
            record.is_some_and(|record| !record.shares_selector(self.observed.name()))
        };
        if odd(one) || odd(other) {
            return Compatibility::OneAtATime;
        }
        match (exposure(one), exposure(other)) {
            (Some(one), Some(other)) => compatibility(&one, &other),
            (Some(_), None) | (None, _) => Compatibility::Together,
        }
    }

    /// How pods of `change` are exchanged.
    pub fn pace(&self, stable: &str, candidate: &str) -> Pace {
        match self.situation.state.course() {
            Some(RolloutCourse::FullSize | RolloutCourse::Steps) => return Pace::FullSize,
            Some(RolloutCourse::Exchange) | None => {}
        }
        match (self.strategy_type(), self.compatible(stable, candidate)) {
            (StrategyType::Recreate, _) => Pace::OneAtATime,
            // One Service port cannot lead to two different ports at once: traffic has to flip.
            (
                StrategyType::RollingUpdate | StrategyType::Canary | StrategyType::BlueGreen,
                Compatibility::OneAtATime,
            ) => Pace::FullSize,
            (
                StrategyType::RollingUpdate | StrategyType::Canary | StrategyType::BlueGreen,
                Compatibility::Together,
            ) => {
                if self.carried_everything(candidate) {
                    Pace::FullSize
                } else {
                    Pace::Lots(self.surge())
                }
            }
        }
    }

    /// Whether a revision is known to have carried everything: it was the stable one before this one, and its name
    /// does not stand for another image by now. It goes out in one step of full size.
    pub fn carried_everything(&self, revision: &str) -> bool {
        self.situation.previous.as_deref() == Some(revision) && self.image_ids(revision).len() <= 1
    }

    /// The goals of the strategy's steps.
    pub fn goals(&self) -> Vec<Goal> {
        goals(&self.observed.spec().operation.strategy())
    }

    /// Seconds that pods have after their traffic is gone.
    pub fn drain_seconds(&self) -> i64 {
        self.observed.spec().operation.strategy().drain_seconds()
    }

    /// What becomes of the pods of the revision before, once another one has all traffic.
    pub fn keep_previous(&self) -> KeepPrevious {
        let default = match (self.situation.state.course(), self.served()) {
            (Some(RolloutCourse::FullSize | RolloutCourse::Steps), true) => KeepPrevious::Warm,
            (Some(RolloutCourse::FullSize | RolloutCourse::Steps), false) => KeepPrevious::Cold,
            (Some(RolloutCourse::Exchange) | None, _) => return KeepPrevious::Cold,
        };
        self.observed
            .spec()
            .operation
            .strategy()
            .keep_previous
            .unwrap_or(default)
    }

    /// How many pods of a revision have been ready for as long as gateways need to learn of them.
    pub fn settled(&self, revision: &str) -> i32 {
        let seconds = if self.by_routes() {
            self.observed.spec().operation.strategy().settle_seconds()
        } else {
            0
        };
        let ready = self.observed.pods_of(revision).iter().filter_map(ready_since);
        let settled = ready.filter(|since| later(*since, seconds) <= self.now).count();
        i32::try_from(settled).unwrap_or(i32::MAX)
    }

    /// Asks to look again when pods that are ready will have settled.
    pub fn wake_for_settling(&mut self, revision: &str) {
        let seconds = self.observed.spec().operation.strategy().settle_seconds();
        let due = self.observed.pods_of(revision).iter().filter_map(ready_since);
        self.wakes.extend(due.map(|since| later(since, seconds)));
    }

    /// What names the present rollout in commands.
    pub fn named<'b>(&self, candidate: &'b str) -> commands::Named<'b> {
        commands::Named {
            revision: candidate,
            trial: self.situation.trial,
        }
    }

    /// Whether a person lets the present rollout stand still.
    pub fn paused(&self) -> bool {
        let state = &self.situation.state;
        match state {
            State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
                commands::paused(self.observed, self.named(&change.candidate))
            }
            State::Fresh | State::Starting { .. } | State::Steady { .. } | State::Returning(_) => false,
        }
    }

    /// Whether a revision is to go out without steps and queue.
    pub fn expedited(&self, revision: &str) -> bool {
        let image = self
            .records
            .get(revision)
            .or_else(|| self.target().filter(|t| t.name == revision));
        image.is_some_and(|record| commands::expedited(self.observed, revision, record.image()))
    }

    /// Whether a command with this value is there, and is neither carried out nor told to hit nothing.
    pub fn asked(&self, verb: &str, annotation: &str, value: &str) -> bool {
        let noted = |c: &CommandStatus| c.verb == verb && c.value == value;
        commands::pending(self.observed, verb, annotation) == Some(value) && !self.commands.iter().any(noted)
    }

    /// Notes that a command was carried out, once.
    pub fn done(&mut self, verb: &str, value: String, outcome: CommandOutcome) {
        let status = self.observed.service.status.as_ref();
        let known = |c: &CommandStatus| c.verb == verb && c.value == value;
        let noted = status.is_some_and(|status| status.commands.iter().any(known));
        if noted || self.commands.iter().any(known) {
            return;
        }
        self.commands.push(CommandStatus {
            verb: verb.to_owned(),
            value,
            outcome: match outcome {
                CommandOutcome::Done => None,
                CommandOutcome::Ignored => Some(CommandOutcome::Ignored),
            },
        });
    }

    /// The digests that pods of a revision were made from, as far back as the status remembers; the oldest first.
    pub fn image_ids(&self, revision: &str) -> Vec<String> {
        let status = self.observed.service.status.as_ref();
        let remembered = status.and_then(|s| s.revisions.iter().find(|r| r.name == revision));
        let mut ids = remembered.map(|r| r.image_ids.clone()).unwrap_or_default();
        let mut now: Vec<&str> = self
            .observed
            .pods_of(revision)
            .iter()
            .filter_map(|pod| pod.image_id())
            .collect();
        now.sort_unstable();
        for id in now {
            if ids.len() < IMAGE_IDS && !ids.iter().any(|known| known == id) {
                ids.push(id.to_owned());
            }
        }
        ids
    }

    /// Whether a Service stands before the pods.
    pub fn served(&self) -> bool {
        // Not by the spec: what it asks for may not be live yet.
        self.root_service().is_some()
            || self
                .situation
                .state
                .live()
                .into_iter()
                .any(|revision| self.has_port(revision))
    }

    /// The root Service as it lives.
    pub fn root_service(&self) -> Option<&LiveChild> {
        self.observed
            .children
            .get(&(ChildKind::Service, self.observed.name().to_owned()))
    }

    /// The one revision that the root Service selects. `None`: it selects all, or there is none.
    fn selected(&self) -> Option<&str> {
        let selector = self.root_service()?.object.pointer("/spec/selector")?;
        selector.get(crate::api::labels::REVISION)?.as_str()
    }

    /// Whether the root Service selects `revision` and no other.
    pub fn selects_only(&self, revision: &str) -> bool {
        self.selected() == Some(revision)
    }

    /// Whether callers of the root Service can get to the pods of `revision`.
    pub fn reaches(&self, revision: &str) -> bool {
        if self.root_service().is_none() {
            return !self.served();
        }
        self.selected().is_none_or(|only| only == revision)
    }

    /// Whether all traffic of the root Service goes to `revision` and no other.
    pub fn in_force(&self, revision: &str) -> bool {
        if !self.served() || self.wanted() == 0 {
            return true;
        }
        self.selected() == Some(revision)
            && if self.has_port(revision) {
                self.observed.endpoints.only(revision)
            } else {
                // The Service is there for the other one: nobody can reach this one by it.
                self.observed.endpoints.none_but(revision)
            }
    }

    /// Whether `revision` has a port that belongs into the Service.
    fn has_port(&self, revision: &str) -> bool {
        self.records
            .get(revision)
            .is_none_or(|record| self.exposure_of(record).ports.iter().any(Port::in_service))
    }

    /// What the pods say about a candidate.
    pub fn assess(&self, candidate: &str, stable: Option<&str>, traffic: Traffic) -> Assessment {
        let serving_since = match &self.situation.state {
            State::Baking(_) => self.situation.since,
            State::Fresh | State::Starting { .. } | State::Steady { .. } => None,
            State::Rolling(_) | State::Promoting(_) | State::Returning(_) => None,
        };
        let limits = Limits {
            serving_since,
            ..Limits::from(&self.observed.spec().operation.strategy())
        };
        self.assess_within(candidate, stable, &limits, traffic)
    }

    /// What the pods say about the revision that is returned to. There is no time to wait for a node: the one that is
    /// left can make room.
    pub fn assess_home(&self, home: &str) -> Assessment {
        let limits = Limits::from(&self.observed.spec().operation.strategy());
        let unschedulable_seconds = limits.unschedulable_seconds.min(HOMELESS_SECONDS);
        self.assess_within(
            home,
            None,
            &Limits {
                unschedulable_seconds,
                ..limits
            },
            Traffic::None,
        )
    }

    fn assess_within(
        &self,
        candidate: &str,
        stable: Option<&str>,
        limits: &Limits,
        traffic: Traffic,
    ) -> Assessment {
        if let Some(fault) = self.refused(candidate) {
            return Assessment::Fault(fault);
        }
        let stable = stable.map(|name| self.observed.pods_of(name)).unwrap_or_default();
        let found = health::assess(
            self.observed.pods_of(candidate),
            stable,
            limits,
            traffic,
            self.now,
        );
        match (
            &found,
            self.observed
                .deployment_of(candidate)
                .and_then(|d| d.failure.as_ref()),
        ) {
            (Assessment::Fine | Assessment::Watching { .. }, Some(fault)) => Assessment::Fault(fault.clone()),
            _ => found,
        }
    }

    /// The fault of a revision whose objects the API server refuses.
    fn refused(&self, revision: &str) -> Option<Fault> {
        if self.tried_now() {
            return None;
        }
        let deployment = (
            ChildKind::Deployment,
            self.records.get(revision)?.data.deployment.clone(),
        );
        if self
            .observed
            .children
            .get(&deployment)
            .is_some_and(LiveChild::is_taken)
        {
            let message = format!("Deployment {} exists and is not ours", deployment.1);
            return Some(Fault {
                blame: Blame::Environment,
                reason: "NameTaken".to_owned(),
                message,
            });
        }
        let is_part = |key: &ChildKey| key == &deployment || is_part_of(key, revision);
        let outdated = |key: &ChildKey, failure: &Failure| {
            // Without a digest it was a delete that was refused, which says nothing about the revision.
            failure.digest.is_empty()
                || self
                    .observed
                    .children
                    .get(key)
                    .is_some_and(|live| live.applied.as_ref() == Some(&failure.digest))
        };
        let refused = self
            .observed
            .failures
            .iter()
            .filter(|(key, failure)| is_part(key) && !outdated(key, failure));
        refused.filter_map(|(key, failure)| refusal(key, failure)).next()
    }

    /// Whether a revision is about to be tried: what was refused before is no word about this trial.
    pub fn tried_now(&self) -> bool {
        self.edges.iter().any(|edge| {
            matches!(
                edge,
                Edge::Start | Edge::StartOver | Edge::Roll | Edge::FixForward
            )
        })
    }

    /// What the pods say about the candidate of `change`.
    pub fn judge(&self, change: &Change) -> Assessment {
        let traffic = match (&self.situation.state, &change.course) {
            (State::Promoting(_) | State::Baking(_), _) => Traffic::Carrying,
            (State::Rolling(_), Course::Steps(_)) if self.carries(&change.candidate) => Traffic::Carrying,
            (State::Rolling(_), _) => match self.pace(&change.stable, &change.candidate) {
                Pace::Lots(_) if change.progress.ready_high > 0 => Traffic::Carrying,
                Pace::Lots(_) | Pace::FullSize | Pace::OneAtATime => Traffic::None,
            },
            (State::Fresh | State::Starting { .. } | State::Steady { .. } | State::Returning(_), _) => {
                Traffic::None
            }
        };
        self.assess(&change.candidate, Some(&change.stable), traffic)
    }

    /// When a rollout without further progress is taken back.
    pub fn deadline(&self, progress: super::state::Progress) -> Timestamp {
        later(
            progress.at,
            self.observed
                .spec()
                .operation
                .strategy()
                .progress_deadline_seconds(),
        )
    }

    /// The end of the pause before the next trial: longer with each trial in a row that was taken back.
    pub fn retry_at(&self) -> Timestamp {
        let status = self.observed.service.status.as_ref();
        let before = status.map(|status| status.history.iter()).into_iter().flatten();
        let mut ended = self.ended.iter().rev().chain(before);
        let failed = ended.next().map_or(0, |last| {
            let again =
                |entry: &&HistoryEntry| (&entry.revision, &entry.outcome) == (&last.revision, &last.outcome);
            ended.take_while(again).count()
        });
        let doublings = u32::try_from(failed).unwrap_or(u32::MAX).min(16);
        later(self.now, (RETRY_SECONDS << doublings).min(RETRY_SECONDS_MAX))
    }

    /// Whether the spec is not to be followed for now.
    pub fn suspended(&self) -> bool {
        self.observed.spec().operation.suspend
    }

    /// The revision that a person asks to return to from `serving`, unless that was just carried out, or just told to hit
    /// nothing.
    pub fn rollback_to(&self, serving: &str) -> Option<String> {
        let to = commands::rollback(self.observed, serving)?;
        let value = format!("{serving}/{to}");
        let noted = |c: &CommandStatus| c.verb == commands::ROLLBACK && c.value == value;
        (!self.commands.iter().any(noted)).then(|| to.to_owned())
    }

    /// Asks for another planning at a time.
    pub fn wake(&mut self, at: Timestamp) {
        self.wakes.push(at);
    }

    /// Tells people.
    pub fn event(&mut self, kind: EventKind, reason: &str, note: String) {
        self.events.push(EventDraft {
            kind,
            reason: reason.to_owned(),
            note,
        });
    }

    /// Tells people beyond the cluster, if the spec names any.
    pub fn tell(
        &mut self,
        event: NotificationEvent,
        revision: &str,
        stable: Option<&str>,
        step: Option<i32>,
        message: String,
    ) {
        self.told.push(Told {
            event,
            revision: revision.to_owned(),
            stable: stable.map(str::to_owned),
            message,
            seq: self.situation.seq,
            trial: self.situation.trial,
            step,
        });
    }

    /// Takes an edge.
    pub fn enter(&mut self, edge: Edge, state: State) {
        self.edges.push(edge);
        self.situation.since = Some(self.now);
        self.situation.state = state;
    }

    /// Notes the end of the present rollout.
    pub fn end_rollout(&mut self, revision: &str, outcome: &str, cause: Option<&ReturnCause>) {
        let time = |time: Option<Timestamp>| time.map(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time);
        self.ended.push(HistoryEntry {
            seq: self.situation.seq,
            revision: revision.to_owned(),
            image: self
                .records
                .get(revision)
                .map(|r| r.image().to_owned())
                .unwrap_or_default(),
            outcome: outcome.to_owned(),
            reason: cause.map(|c| c.reason.clone()),
            started_at: time(self.situation.started_at),
            ended_at: time(Some(self.now)),
        });
    }
}

/// What a refused object says about its revision.
fn refusal((kind, name): &ChildKey, failure: &Failure) -> Option<Fault> {
    let (blame, reason) = match failure.class {
        FailureClass::Invalid => (Blame::Candidate, "InvalidPodTemplate"),
        FailureClass::Forbidden => (Blame::Environment, "Forbidden"),
        FailureClass::Foreign => (Blame::Environment, "NameTaken"),
        FailureClass::Transient => return None,
    };
    let message = format!("{} {name}: {}", kind.kind(), failure.message);
    Some(Fault {
        blame,
        reason: reason.to_owned(),
        message,
    })
}

/// Whether an object belongs to one revision alone: it is called like it, or like it with a suffix.
fn is_part_of((kind, name): &ChildKey, revision: &str) -> bool {
    match kind {
        ChildKind::ControllerRevision
        | ChildKind::ConfigMap
        | ChildKind::Secret
        | ChildKind::Job
        | ChildKind::Deployment => name
            .strip_prefix(revision)
            .is_some_and(|suffix| suffix.is_empty() || suffix.starts_with('-')),
        ChildKind::ServiceAccount
        | ChildKind::NetworkPolicy
        | ChildKind::Service
        | ChildKind::PodDisruptionBudget
        | ChildKind::HorizontalPodAutoscaler
        | ChildKind::Ingress
        | ChildKind::HttpRoute
        | ChildKind::GrpcRoute
        | ChildKind::VirtualService
        | ChildKind::ServiceMonitor
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => false,
    }
}

/// The number of the Service's port that leads to a port of the containers.
fn service_port(service: &Value, known: &ContainerPort) -> Option<i32> {
    let ports = service.pointer("/spec/ports")?.as_array()?;
    let leads = |port: &&Value| match port.get("targetPort") {
        Some(Value::Number(number)) => number.as_i64() == Some(i64::from(known.container_port)),
        Some(Value::String(name)) => *name == known.name,
        Some(_) | None => false,
    };
    ports.iter().find(leads)?.get("port")?.as_i64()?.try_into().ok()
}

/// `seconds` after a time; the time itself where that cannot be said.
pub fn later(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds))
        .unwrap_or(from)
}

fn ready_since(pod: &health::PodSnapshot) -> Option<Timestamp> {
    match &pod.readiness {
        health::Readiness::Ready { since } if pod.standing != health::Standing::Deleting => Some(*since),
        health::Readiness::Ready { .. } | health::Readiness::NotReady { .. } => None,
    }
}
