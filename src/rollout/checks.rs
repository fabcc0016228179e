//! What became of the checks of a rollout: told when a verdict changes, and kept with the cause when it is taken back.

use super::draft::{Draft, Durable};
use super::judging;
use super::measuring;
use super::plan::EventKind;
use crate::api::{CheckStatus, CheckVerdict};
use crate::health::message;

/// The reason of a check that holds the rollout and blames nobody.
const SHARED: &str = "SharedWithStable";

/// The checks as they stood before anything was decided, and those of them that say something else than the status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// All of them.
    pub all: Vec<CheckStatus>,
    /// The verdicts that are new.
    pub changed: Vec<CheckVerdict>,
}

/// Notes how the checks stand, and tells of each verdict that is new. To be called before anything is decided: a check
/// that fails ends the rollout that it belongs to.
pub fn note(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    let written = observed.service.status.as_ref();
    let written = written.and_then(|status| status.rollout.as_ref());
    let before = written
        .map(|rollout| rollout.checks.as_slice())
        .unwrap_or_default();
    let all = statuses(draft);
    let candidate = draft.situation.state.candidate().unwrap_or_default().to_owned();
    for check in &all {
        let known = before.iter().find(|known| known.name == check.name);
        let standing = |check: &CheckStatus| standing(draft, check);
        if known.map_or((CheckVerdict::Inconclusive, false), standing) == standing(check) {
            continue;
        }
        draft.checks.changed.push(check.verdict);
        let (kind, reason) = match (check.verdict, check.reason.as_str()) {
            (CheckVerdict::Failing, _) => (EventKind::Warning, "CheckFailing"),
            (CheckVerdict::Passing, _) => (EventKind::Normal, "CheckPassing"),
            (CheckVerdict::Inconclusive, SHARED) => (EventKind::Warning, "CheckInconclusive"),
            (CheckVerdict::Inconclusive, _) => (EventKind::Normal, "CheckInconclusive"),
        };
        draft.event(kind, reason, words(draft, check, &candidate));
        // What was told is written with it, so that nobody is told twice.
        draft.durable = Durable::Always;
    }
    draft.checks.all = if all.is_empty() { before.to_vec() } else { all };
}

/// How all checks stand: those of the requests, and those with limits of their own.
fn statuses(draft: &Draft<'_>) -> Vec<CheckStatus> {
    let mut all = judging::check_statuses(draft);
    all.extend(measuring::check_statuses(draft));
    all
}

/// What the status says of the checks: how they stand, or how they stood when the candidate was taken back, for as long
/// as the status says why it was.
pub fn written(draft: &Draft<'_>, tells_cause: bool) -> Vec<CheckStatus> {
    let now = statuses(draft);
    if !now.is_empty() || !tells_cause {
        return now;
    }
    // Those that had seen nothing are no evidence.
    let all = draft.checks.all.iter();
    all.filter(|check| check.samples > 0 || check.message.is_some())
        .cloned()
        .collect()
}

/// What is told when it changes. Other reasons of an open verdict come and go with the requests, and of what is measured
/// again and again each value: there only the last word is told.
fn standing(draft: &Draft<'_>, check: &CheckStatus) -> (CheckVerdict, bool) {
    match check.verdict {
        CheckVerdict::Passing if measuring::is_measured(draft, &check.name) => {
            (CheckVerdict::Inconclusive, false)
        }
        verdict => (verdict, check.reason == SHARED),
    }
}

fn words(draft: &Draft<'_>, check: &CheckStatus, candidate: &str) -> String {
    let verdict = match check.verdict {
        CheckVerdict::Passing => "passes",
        CheckVerdict::Failing => "fails",
        CheckVerdict::Inconclusive => "is open",
    };
    if measuring::is_measured(draft, &check.name) {
        let last = check.value.as_deref().unwrap_or("no value");
        let headline = format!(
            "{} {verdict} ({}): {last} was measured last of {candidate}",
            check.name, check.reason
        );
        return message(&headline, check.message.as_deref().unwrap_or_default());
    }
    let share = |value: &Option<String>| {
        value
            .as_ref()
            .map_or("none".to_owned(), |value| format!("{value} %"))
    };
    format!(
        "{} {verdict} ({}): {} of {} requests of {candidate} were bad, {} of the stable revision's",
        check.name,
        check.reason,
        share(&check.value),
        check.samples,
        share(&check.baseline),
    )
}
