//! A plan in the making: what is observed, and what has been decided on top of it so far.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::commands;
use super::edges::Edge;
use super::observed::{FailureClass, Observed};
use super::plan::{EventDraft, EventKind};
use super::replicas::{Pace, Size, Surge};
use super::resolve::Resolution;
use super::state::{Change, Situation, State};
use crate::api::{Blame, CommandStatus, HistoryEntry, ReturnCause, StrategyType};
use crate::health::{self, Assessment, Counts, Fault, Limits, Traffic};
use crate::render::{ChildKind, Compatibility, compatibility};
use crate::revision::Record;

/// Seconds after which a revision without traffic loses its pods: what was under way is answered by then.
pub const DRAIN_SECONDS: i64 = 10;
/// The first pause before a rollout that the environment stopped is tried again; it doubles with each trial.
const RETRY_SECONDS: i64 = 15;
/// The longest such pause.
const RETRY_SECONDS_MAX: i64 = 600;

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
    /// Times at which something may be decided that no event will announce.
    pub wakes: Vec<Timestamp>,
}

impl<'a> Draft<'a> {
    /// Before anything is decided.
    pub fn new(observed: &'a Observed, resolution: Resolution, now: Timestamp) -> Self {
        let read = observed.service.status.as_ref().and_then(|s| s.rollout.as_ref()).map(Situation::read);
        Self {
            observed,
            now,
            resolution,
            // An impossible state is made good like a lost one: by looking at what runs.
            situation: read.and_then(Result::ok).unwrap_or_else(Situation::fresh),
            records: observed.records.clone(),
            edges: Vec::new(),
            ended: Vec::new(),
            commands: Vec::new(),
            events: Vec::new(),
            wakes: Vec::new(),
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
    pub fn counts(&self, revision: &str) -> Counts {
        health::readiness(self.observed.pods_of(revision))
    }

    /// What a revision's Deployment asks for, and its pods.
    pub fn size(&self, revision: &str) -> Size {
        Size {
            asked: self.observed.deployment_of(revision).map_or(0, |d| d.replicas),
            counts: self.counts(revision),
        }
    }

    /// The pods that belong to none of the live revisions and have not begun to end.
    pub fn stray_pods(&self) -> i32 {
        let live = self.situation.state.live();
        let stray = self.observed.pods.iter().filter(|(revision, _)| !live.contains(&revision.as_str()));
        stray.map(|(_, pods)| health::readiness(pods).live).sum()
    }

    /// How pods of `change` are exchanged.
    pub fn pace(&self, stable: &str, candidate: &str) -> Pace {
        let exposure = |name: &str| self.records.get(name).and_then(|r| r.notes.exposure.as_ref());
        let compatible = match (exposure(stable), exposure(candidate)) {
            (Some(old), Some(new)) => compatibility(old, new),
            _ => Compatibility::Together,
        };
        match (self.observed.spec().operation.strategy().strategy_type(), compatible) {
            (StrategyType::Recreate, _) => Pace::OneAtATime,
            // One Service port cannot lead to two different ports at once: traffic has to flip.
            (StrategyType::RollingUpdate, Compatibility::OneAtATime) => Pace::FullSize,
            (StrategyType::RollingUpdate, Compatibility::Together) => {
                // The revision before this one is known to have carried everything: one step of full size.
                if self.situation.previous.as_deref() == Some(candidate) {
                    Pace::FullSize
                } else {
                    Pace::Lots(self.surge())
                }
            }
        }
    }

    /// Whether a Service stands before the pods.
    pub fn served(&self) -> bool {
        self.observed.children.contains_key(&(ChildKind::Service, self.observed.name().to_owned()))
            || self.observed.spec().exposure.ports.iter().any(crate::api::Port::in_service)
    }

    /// Whether all traffic of the root Service goes to `revision` and no other.
    pub fn in_force(&self, revision: &str) -> bool {
        if !self.served() || self.wanted() == 0 {
            return true;
        }
        let key = (ChildKind::Service, self.observed.name().to_owned());
        let selects = self.observed.children.get(&key).and_then(|service| {
            let selector = service.object.pointer("/spec/selector")?;
            selector.get(crate::api::labels::REVISION)?.as_str()
        });
        selects == Some(revision) && self.observed.endpoints.only(revision)
    }

    /// What the pods say about a candidate.
    pub fn assess(&self, candidate: &str, stable: Option<&str>, traffic: Traffic) -> Assessment {
        if let Some(fault) = self.refused(candidate) {
            return Assessment::Fault(fault);
        }
        let strategy = self.observed.spec().operation.strategy();
        let stable = stable.map(|name| self.observed.pods_of(name)).unwrap_or_default();
        let pods = self.observed.pods_of(candidate);
        let found = health::assess(pods, stable, &Limits::from(&strategy), traffic, self.now);
        match (&found, self.observed.deployment_of(candidate).and_then(|d| d.failure.as_ref())) {
            (Assessment::Fine | Assessment::Watching { .. }, Some(message)) => Assessment::Fault(Fault {
                blame: Blame::Environment,
                reason: "FailedCreate".to_owned(),
                message: message.clone(),
            }),
            _ => found,
        }
    }

    /// The fault of a revision whose objects the API server refuses.
    fn refused(&self, revision: &str) -> Option<Fault> {
        let deployment = self.records.get(revision)?.data.deployment.clone();
        let keys = [
            (ChildKind::ControllerRevision, revision.to_owned()),
            (ChildKind::ConfigMap, revision.to_owned()),
            (ChildKind::Deployment, deployment),
        ];
        let (key, failure) = keys.iter().find_map(|key| Some((key, self.observed.failures.get(key)?)))?;
        let (blame, reason) = match failure.class {
            FailureClass::Invalid => (Blame::Candidate, "InvalidPodTemplate"),
            FailureClass::Forbidden => (Blame::Environment, "Forbidden"),
            FailureClass::Foreign => (Blame::Environment, "NameTaken"),
            FailureClass::Transient => return None,
        };
        let message = format!("{} {}: {}", key.0.kind(), key.1, failure.message);
        Some(Fault { blame, reason: reason.to_owned(), message })
    }

    /// What the pods say about the candidate of `change`.
    pub fn judge(&self, change: &Change) -> Assessment {
        let traffic = match &self.situation.state {
            State::Promoting(_) | State::Baking(_) => Traffic::Carrying,
            State::Rolling(_) => match self.pace(&change.stable, &change.candidate) {
                Pace::Lots(_) if change.progress.ready_high > 0 => Traffic::Carrying,
                Pace::Lots(_) | Pace::FullSize | Pace::OneAtATime => Traffic::None,
            },
            State::Fresh | State::Starting { .. } | State::Steady { .. } | State::Returning(_) => Traffic::None,
        };
        self.assess(&change.candidate, Some(&change.stable), traffic)
    }

    /// When a rollout without further progress is taken back.
    pub fn deadline(&self, progress: super::state::Progress) -> Timestamp {
        later(progress.at, self.observed.spec().operation.strategy().progress_deadline_seconds())
    }

    /// The end of the pause before the next trial.
    pub fn retry_at(&self) -> Timestamp {
        let doublings = u32::try_from(self.situation.trial.saturating_sub(1).clamp(0, 16)).unwrap_or(16);
        later(self.now, (RETRY_SECONDS << doublings).min(RETRY_SECONDS_MAX))
    }

    /// Whether the spec is not to be followed for now.
    pub fn suspended(&self) -> bool {
        self.observed.spec().operation.suspend
    }

    /// The revision that a person asks to return to from `serving`.
    pub fn rollback_to(&self, serving: &str) -> Option<String> {
        commands::rollback(self.observed, serving).map(str::to_owned)
    }

    /// Asks for another planning at a time.
    pub fn wake(&mut self, at: Timestamp) {
        self.wakes.push(at);
    }

    /// Tells people.
    pub fn event(&mut self, kind: EventKind, reason: &str, note: String) {
        self.events.push(EventDraft { kind, reason: reason.to_owned(), note });
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
            image: self.records.get(revision).map(|r| r.image().to_owned()).unwrap_or_default(),
            outcome: outcome.to_owned(),
            reason: cause.map(|c| c.reason.clone()),
            started_at: time(self.situation.started_at),
            ended_at: time(Some(self.now)),
        });
    }
}

/// `seconds` after a time; the time itself where that cannot be said.
pub fn later(from: Timestamp, seconds: i64) -> Timestamp {
    from.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(from)
}
