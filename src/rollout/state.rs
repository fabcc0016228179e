//! The state of the engine, as types that cannot hold an impossible one, and its form in the status.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::api::{ReturnCause, RolloutCourse, RolloutState, RolloutStatus, StableHealth};

/// Where a service stands, and since when.
#[derive(Clone, Debug, PartialEq)]
pub struct Situation {
    /// The number of the current or last rollout; only grows.
    pub seq: i64,
    /// Which trial of its candidate it is or was.
    pub trial: i32,
    /// The revision that was promoted before the stable one.
    pub previous: Option<String>,
    /// When the current or last rollout began.
    pub started_at: Option<Timestamp>,
    /// When the state began.
    pub since: Option<Timestamp>,
    /// When it first turned out that this trial neither works nor can be taken back: people are told once.
    pub failed_at: Option<Timestamp>,
    /// The state.
    pub state: State,
}

/// The states of the engine.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Nothing is decided yet: a new Microservice, or one whose status was lost.
    Fresh,
    /// The first revision gets its pods; there is nothing to return to.
    Starting {
        /// The revision.
        candidate: String,
        /// How far it has come.
        progress: Progress,
    },
    /// One revision serves.
    Steady {
        /// That revision.
        stable: String,
        /// Why the revision that the spec asks for does not.
        held: Option<Held>,
    },
    /// The candidate gets pods and traffic.
    Rolling(Change),
    /// The candidate takes over all traffic.
    Promoting(Change),
    /// The candidate serves alone and is still watched.
    Baking(Change),
    /// All traffic goes back.
    Returning(Return),
}

/// One revision taking the place of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// What the service rests on.
    pub stable: String,
    /// What is tried out.
    pub candidate: String,
    /// Whether `stable` could be returned to when it began.
    pub stable_health: StableHealth,
    /// How far the candidate has come.
    pub progress: Progress,
    /// How it takes the other's place; fixed when it begins.
    pub course: Course,
}

/// How a candidate takes the place of the stable revision.
#[derive(Clone, Debug, PartialEq)]
pub enum Course {
    /// Pods are exchanged, in lots or all at once, as the strategy says.
    Exchange,
    /// The candidate in full size beside the stable one; then all traffic moves.
    FullSize,
    /// Traffic moves in steps.
    Steps(Position),
}

/// Where a course of steps stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    /// Which step.
    pub stage: Stage,
    /// The candidate's share in percent that the stage asks for.
    pub weight: i32,
    /// Since when its pods are ready and its traffic is in force; its duration counts from here.
    pub in_force_at: Option<Timestamp>,
    /// Since when that is so no more; the deadline counts from here.
    pub wavering_since: Option<Timestamp>,
    /// Since when its hooks have succeeded.
    pub hooks_passed_at: Option<Timestamp>,
    /// When it first waited for a person: people are told once.
    pub waiting_since: Option<Timestamp>,
}

/// A step, or what comes after the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stage {
    /// One of the steps.
    Step {
        /// Its number, from 1.
        number: i32,
        /// The digest of what it does.
        digest: String,
    },
    /// All steps are done: the candidate grows to its full size.
    Growing,
}

/// The digest in the status that stands for [`Stage::Growing`].
const FULL: &str = "full";

/// Going back to a revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Return {
    /// The revision that is returned to.
    pub stable: String,
    /// The revision that is left.
    pub candidate: String,
    /// Why.
    pub cause: ReturnCause,
    /// How far the return has come.
    pub progress: Progress,
    /// How the candidate took traffic.
    pub course: RolloutCourse,
    /// The candidate's share in percent when it was given up: it keeps that until the other can take it.
    pub weight: i32,
}

/// Why a revision is not tried now.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The revision.
    pub candidate: String,
    /// What happened to it.
    pub cause: ReturnCause,
    /// When it is tried again by itself.
    pub retry_at: Option<Timestamp>,
}

/// How far a revision has come: what the deadline is counted from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// When more of its pods were ready than ever before.
    pub at: Timestamp,
    /// How many these were.
    pub ready_high: i32,
}

impl Progress {
    /// None yet.
    pub fn none(now: Timestamp) -> Self {
        Self {
            at: now,
            ready_high: 0,
        }
    }
    /// With `ready` pods ready now.
    #[must_use]
    pub fn with(self, ready: i32, now: Timestamp) -> Self {
        if ready > self.ready_high {
            Self {
                at: now,
                ready_high: ready,
            }
        } else {
            self
        }
    }
}

/// A status that no edge leads to. Repaired by looking at what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImpossibleState;

impl Situation {
    /// Before anything was decided.
    pub fn fresh() -> Self {
        Self {
            seq: 0,
            trial: 0,
            previous: None,
            started_at: None,
            since: None,
            failed_at: None,
            state: State::Fresh,
        }
    }

    /// Reads the situation from the status.
    ///
    /// # Errors
    /// When a state misses one of its revisions, as after an edit of the status by hand.
    pub fn read(status: &RolloutStatus) -> Result<Self, ImpossibleState> {
        let stable = || status.stable.clone().ok_or(ImpossibleState);
        let candidate = || status.candidate.clone().ok_or(ImpossibleState);
        let time = |time: &Option<Time>| time.as_ref().map(|t| t.0);
        let since = time(&status.step_started_at).or_else(|| time(&status.started_at));
        let progress = || {
            let at = time(&status.progress_at).or(since).ok_or(ImpossibleState)?;
            Ok(Progress {
                at,
                ready_high: status.ready_high,
            })
        };
        // A revision that takes its own place would never have taken it.
        let another = || {
            candidate().and_then(|name| {
                if status.stable.as_ref() == Some(&name) {
                    Err(ImpossibleState)
                } else {
                    Ok(name)
                }
            })
        };
        let position = || Position {
            stage: match status.step_digest.as_deref() {
                None | Some(FULL) => Stage::Growing,
                Some(digest) => Stage::Step {
                    number: status.step.unwrap_or(1),
                    digest: digest.to_owned(),
                },
            },
            weight: status.weight.clamp(0, 100),
            in_force_at: time(&status.in_force_at),
            wavering_since: time(&status.wavering_since),
            hooks_passed_at: time(&status.hooks_passed_at),
            waiting_since: time(&status.waiting_since),
        };
        let course = || match status.course.unwrap_or_default() {
            RolloutCourse::Exchange => Course::Exchange,
            RolloutCourse::FullSize => Course::FullSize,
            RolloutCourse::Steps => Course::Steps(position()),
        };
        let change = || {
            Ok(Change {
                stable: stable()?,
                candidate: another()?,
                stable_health: status.stable_health.ok_or(ImpossibleState)?,
                progress: progress()?,
                course: course(),
            })
        };
        let state = match status.state {
            RolloutState::Starting => State::Starting {
                candidate: candidate()?,
                progress: progress()?,
            },
            RolloutState::Steady => State::Steady {
                stable: stable()?,
                held: status
                    .candidate
                    .clone()
                    .zip(status.cause.clone())
                    .map(|(candidate, cause)| Held {
                        candidate,
                        cause,
                        retry_at: time(&status.retry_at),
                    }),
            },
            RolloutState::Rolling => State::Rolling(change()?),
            RolloutState::Promoting => State::Promoting(change()?),
            RolloutState::Baking => State::Baking(change()?),
            RolloutState::Returning => State::Returning(Return {
                stable: stable()?,
                candidate: another()?,
                cause: status.cause.clone().ok_or(ImpossibleState)?,
                progress: progress()?,
                course: status.course.unwrap_or_default(),
                weight: status.weight.clamp(0, 100),
            }),
        };
        Ok(Self {
            seq: status.seq,
            trial: status.trial,
            previous: status.previous.clone(),
            started_at: time(&status.started_at),
            since,
            failed_at: time(&status.failed_at),
            state,
        })
    }

    /// The same, with no time after `now`: the clock of another process may be ahead, and a time by hand may be any.
    #[must_use]
    pub fn not_after(mut self, now: Timestamp) -> Self {
        let past = |time: Timestamp| time.min(now);
        self.started_at = self.started_at.map(past);
        self.since = self.since.map(past);
        if let Some(progress) = self.state.progress_mut() {
            progress.at = past(progress.at);
        }
        if let Some(position) = self.state.position_mut() {
            position.in_force_at = position.in_force_at.map(past);
            position.wavering_since = position.wavering_since.map(past);
            position.waiting_since = position.waiting_since.map(past);
        }
        self
    }

    /// The situation in the form of the status; what only reports (weights, waiting) is added by the caller.
    /// `None` while nothing is decided.
    pub fn write(&self) -> Option<RolloutStatus> {
        let time = |time: Option<Timestamp>| time.map(Time);
        let mut status = RolloutStatus {
            seq: self.seq,
            trial: self.trial,
            state: self.state.name()?,
            stable: self.state.stable().map(str::to_owned),
            candidate: self.state.candidate().map(str::to_owned),
            previous: self.previous.clone(),
            course: None,
            step: None,
            of: None,
            promote: None,
            step_digest: None,
            in_force_at: None,
            wavering_since: None,
            hooks_passed_at: None,
            waiting_since: None,
            failed_at: match &self.state {
                // What has ended is in the history.
                State::Fresh | State::Steady { .. } => None,
                State::Starting { .. }
                | State::Rolling(_)
                | State::Promoting(_)
                | State::Baking(_)
                | State::Returning(_) => time(self.failed_at),
            },
            weight: 0,
            effective_weight: 0,
            started_at: time(self.started_at),
            step_started_at: time(self.since),
            progress_at: None,
            ready_high: 0,
            deadline: None,
            waiting_for: None,
            checks: Vec::new(),
            stable_health: None,
            cause: None,
            retry_at: None,
        };
        if let Some(progress) = self.state.progress() {
            status.progress_at = time(Some(progress.at));
            status.ready_high = progress.ready_high;
        }
        match &self.state {
            State::Fresh | State::Starting { .. } | State::Steady { held: None, .. } => {}
            State::Steady { held: Some(held), .. } => {
                status.cause = Some(held.cause.clone());
                status.retry_at = time(held.retry_at);
            }
            State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
                status.stable_health = Some(change.stable_health);
                status.course = Some(change.course.kind());
                if let Course::Steps(position) = &change.course {
                    position.write(&mut status);
                }
            }
            State::Returning(back) => {
                status.cause = Some(back.cause.clone());
                status.course = Some(back.course);
                status.weight = back.weight;
            }
        }
        Some(status)
    }
}

impl Course {
    /// Its form in the status.
    pub fn kind(&self) -> RolloutCourse {
        match self {
            Self::Exchange => RolloutCourse::Exchange,
            Self::FullSize => RolloutCourse::FullSize,
            Self::Steps(_) => RolloutCourse::Steps,
        }
    }
}

impl Position {
    fn write(&self, status: &mut RolloutStatus) {
        let time = |time: Option<Timestamp>| time.map(Time);
        status.weight = self.weight;
        status.in_force_at = time(self.in_force_at);
        status.wavering_since = time(self.wavering_since);
        status.hooks_passed_at = time(self.hooks_passed_at);
        status.waiting_since = time(self.waiting_since);
        match &self.stage {
            Stage::Step { number, digest } => {
                status.step = Some(*number);
                status.step_digest = Some(digest.clone());
            }
            Stage::Growing => status.step_digest = Some(FULL.to_owned()),
        }
    }
}

impl State {
    /// Its name in the status; `None` while nothing is decided.
    pub fn name(&self) -> Option<RolloutState> {
        match self {
            Self::Fresh => None,
            Self::Starting { .. } => Some(RolloutState::Starting),
            Self::Steady { .. } => Some(RolloutState::Steady),
            Self::Rolling(_) => Some(RolloutState::Rolling),
            Self::Promoting(_) => Some(RolloutState::Promoting),
            Self::Baking(_) => Some(RolloutState::Baking),
            Self::Returning(_) => Some(RolloutState::Returning),
        }
    }

    /// The revision that the service rests on.
    pub fn stable(&self) -> Option<&str> {
        match self {
            Self::Fresh | Self::Starting { .. } => None,
            Self::Steady { stable, .. } => Some(stable),
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(&c.stable),
            Self::Returning(r) => Some(&r.stable),
        }
    }

    /// The revision that is tried out, left, or held.
    pub fn candidate(&self) -> Option<&str> {
        match self {
            Self::Fresh => None,
            Self::Starting { candidate, .. } => Some(candidate),
            Self::Steady { held, .. } => held.as_ref().map(|h| h.candidate.as_str()),
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(&c.candidate),
            Self::Returning(r) => Some(&r.candidate),
        }
    }

    /// The revisions that have a Deployment in this state: the one that pods leave and the one that they come to.
    pub fn live(&self) -> Vec<&str> {
        match self {
            Self::Fresh => Vec::new(),
            Self::Starting { candidate, .. } => vec![candidate],
            Self::Steady { stable, .. } => vec![stable],
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => vec![&c.stable, &c.candidate],
            Self::Returning(r) => vec![&r.stable, &r.candidate],
        }
    }

    /// How far the revision that gains pods has come.
    pub fn progress(&self) -> Option<Progress> {
        match self {
            Self::Fresh | Self::Steady { .. } => None,
            Self::Starting { progress, .. } => Some(*progress),
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(c.progress),
            Self::Returning(r) => Some(r.progress),
        }
    }

    /// The revision that gains pods.
    pub fn coming(&self) -> Option<&str> {
        match self {
            Self::Fresh | Self::Steady { .. } => None,
            Self::Starting { candidate, .. } => Some(candidate),
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(&c.candidate),
            Self::Returning(r) => Some(&r.stable),
        }
    }

    /// How far the revision that gains pods has come, to be changed.
    pub fn progress_mut(&mut self) -> Option<&mut Progress> {
        match self {
            Self::Fresh | Self::Steady { .. } => None,
            Self::Starting { progress, .. } => Some(progress),
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(&mut c.progress),
            Self::Returning(r) => Some(&mut r.progress),
        }
    }

    /// Where a course of steps stands.
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => match &c.course {
                Course::Steps(position) => Some(position),
                Course::Exchange | Course::FullSize => None,
            },
            Self::Fresh | Self::Starting { .. } | Self::Steady { .. } | Self::Returning(_) => None,
        }
    }

    /// The same, to be changed.
    pub fn position_mut(&mut self) -> Option<&mut Position> {
        match self {
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => match &mut c.course {
                Course::Steps(position) => Some(position),
                Course::Exchange | Course::FullSize => None,
            },
            Self::Fresh | Self::Starting { .. } | Self::Steady { .. } | Self::Returning(_) => None,
        }
    }

    /// How the candidate takes the place of the stable revision, or took it.
    pub fn course(&self) -> Option<RolloutCourse> {
        match self {
            Self::Fresh | Self::Starting { .. } | Self::Steady { .. } => None,
            Self::Rolling(c) | Self::Promoting(c) | Self::Baking(c) => Some(c.course.kind()),
            Self::Returning(r) => Some(r.course),
        }
    }
}
