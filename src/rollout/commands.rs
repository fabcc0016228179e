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

/// The revision that somebody asks to return to from `serving`, unless that was done already.
pub fn rollback<'a>(observed: &'a Observed, serving: &str) -> Option<&'a str> {
    let value = observed.annotation(annotations::ROLLBACK)?;
    let done = observed.service.status.as_ref().is_some_and(|status| {
        status.commands.iter().any(|command| command.verb == ROLLBACK && command.value == value)
    });
    let (from, to) = value.split_once('/')?;
    (!done && from == serving && to != serving && observed.records.contains_key(to)).then_some(to)
}

/// The verb of a rollback in the status.
pub const ROLLBACK: &str = "rollback";
