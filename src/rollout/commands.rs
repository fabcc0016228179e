//! What people ask for by annotation. A value names what it means, so that a left-over one hits nothing.

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
    let value = observed.annotation(annotations::ROLLBACK)?;
    let done = observed.service.status.as_ref().is_some_and(|status| {
        status
            .commands
            .iter()
            .any(|command| command.verb == ROLLBACK && command.value == value)
    });
    (!done).then_some(value)
}

/// The verb of a retry in the status.
pub const RETRY: &str = "retry";
/// The verb of a rollback in the status.
pub const ROLLBACK: &str = "rollback";
