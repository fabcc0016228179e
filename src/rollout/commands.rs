//! What people ask for by annotation. A value names what it means, so that a left-over one hits nothing. What is carried
//! out once is noted in the status with its value, also where it hit nothing: that value is spent for as long as the
//! annotation holds it.

use super::observed::Observed;
use crate::api::annotations;

/// A request to make a revision anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// From the same template.
    Restart,
    /// From what today's operator renders.
    Refresh,
}

/// Whether somebody asks to make `revision` anew.
pub fn again(observed: &Observed, revision: &str) -> Option<Again> {
    if observed.annotation(annotations::REFRESH) == Some(revision) {
        return Some(Again::Refresh);
    }
    (observed.annotation(annotations::RESTART) == Some(revision)).then_some(Again::Restart)
}

/// Whether somebody asks to try a rejected `revision` again after its `trial`.
pub fn retry(observed: &Observed, revision: &str, trial: i32) -> bool {
    observed.annotation(annotations::RETRY) == Some(format!("{revision}/{trial}").as_str())
}

/// The trial that the present request to try `revision` again names. It was begun before, so the next one has a higher
/// number; a number that no trial can have is no request.
pub fn retried(observed: &Observed, revision: &str) -> i32 {
    let named = observed
        .annotation(annotations::RETRY)
        .and_then(|value| value.strip_prefix(revision)?.strip_prefix('/'));
    let trial = named.and_then(|trial| trial.parse().ok()).unwrap_or(0);
    if (0..MOST_TRIALS).contains(&trial) {
        trial
    } else {
        0
    }
}

/// No revision is tried so often.
const MOST_TRIALS: i32 = 1_000_000;

/// The revision that somebody asks to return to from `serving`, unless that was done already.
pub fn rollback<'a>(observed: &'a Observed, serving: &str) -> Option<&'a str> {
    let (from, to) = pending_rollback(observed)?.split_once('/')?;
    (from == serving && to != serving && observed.records.contains_key(to)).then_some(to)
}

/// What somebody asks to return to and from, unless that was done already.
pub fn pending_rollback(observed: &Observed) -> Option<&str> {
    pending(observed, ROLLBACK, annotations::ROLLBACK)
}

/// The value of a command that is carried out once, unless it is spent.
pub fn pending<'a>(observed: &'a Observed, verb: &str, annotation: &str) -> Option<&'a str> {
    let value = observed.annotation(annotation)?;
    let spent = observed.service.status.as_ref().is_some_and(|status| {
        status
            .commands
            .iter()
            .any(|command| command.verb == verb && command.value == value)
    });
    (!spent).then_some(value)
}

/// Whether nobody says a command any more: from then on its last value may be said again.
pub fn withdrawn(observed: &Observed, verb: &str) -> bool {
    let mut once = ONCE.iter().filter(|(known, _)| *known == verb);
    once.any(|(_, annotation)| observed.annotation(annotation).is_none())
}

/// What a command names: a revision, which trial of it, and, for some, a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// The revision.
    pub revision: &'a str,
    /// Its trial.
    pub trial: i32,
}

impl Named<'_> {
    /// The value of a command for the whole trial.
    pub fn trial_value(&self) -> String {
        format!("{}/{}", self.revision, self.trial)
    }
    /// The value of a command for one step.
    pub fn step_value(&self, step: i32) -> String {
        format!("{}/{}/{step}", self.revision, self.trial)
    }
    /// The value of a command for the weight alone that a step can only have coarsely.
    pub fn coarse_value(&self, step: i32) -> String {
        format!("{}/coarse", self.step_value(step))
    }
}

/// Commands that are carried out once, with their annotations: what names something else is told to have been ignored.
pub const ONCE: [(&str, &str); 4] = [
    (PROMOTE, annotations::PROMOTE),
    (PROMOTE_FULL, annotations::PROMOTE_FULL),
    (ABORT, annotations::ABORT),
    (ROLLBACK, annotations::ROLLBACK),
];

/// Whether the rollout is told to stand still.
pub fn paused(observed: &Observed, named: Named<'_>) -> bool {
    observed.annotation(annotations::PAUSE) == Some(named.trial_value().as_str())
}

/// Why no new revision is to go out.
pub fn frozen(observed: &Observed) -> Option<&str> {
    observed.annotation(annotations::FREEZE)
}

/// Whether a revision is to go out without steps and queue.
pub fn expedited(observed: &Observed, revision: &str, image: &str) -> bool {
    let asked = observed.annotation(annotations::EXPEDITE);
    asked.is_some_and(|asked| asked == revision || asked == image)
}

/// The verb of ending a step in the status.
pub const PROMOTE: &str = "promote";
/// The verb of skipping all steps in the status.
pub const PROMOTE_FULL: &str = "promote-full";
/// The verb of an abort in the status.
pub const ABORT: &str = "abort";
/// The verb of a retry in the status.
pub const RETRY: &str = "retry";
/// The verb of a rollback in the status.
pub const ROLLBACK: &str = "rollback";
