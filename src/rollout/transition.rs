//! The decisions: one function for each state, each taking at most one [`Edge`].
//!
//! Precedence where several apply: a person's word, a newer spec, a verdict, a hold, the deadline, going on.

use jiff::Timestamp;

use super::commands;
use super::draft::{DRAIN_SECONDS, Draft, later};
use super::edges::Edge;
use super::plan::EventKind;
use super::replicas::Pace;
use super::resolve::record_of_deployment;
use super::state::{Change, Held, Progress, Return, Situation, State};
use crate::api::{Blame, CommandStatus, ReturnCause, StableHealth};
use crate::health::{Assessment, Fault, Traffic};
use crate::revision::{Record, VerdictNote};

/// The most edges in one plan: more would be a loop.
const MOST_EDGES: usize = 8;

/// Takes all edges that are due.
pub fn advance(draft: &mut Draft<'_>) {
    for _ in 0..MOST_EDGES {
        let before = draft.edges.len();
        note_progress(draft);
        step(draft);
        if draft.edges.len() == before {
            return;
        }
    }
}

fn note_progress(draft: &mut Draft<'_>) {
    let Some(ready) = draft.situation.state.coming().map(|name| draft.counts(name).ready) else { return };
    let now = draft.now;
    draft.situation.state.note_progress(ready, now);
}

fn step(draft: &mut Draft<'_>) {
    if let Some(lost) = lost_revision(draft) {
        return repair(draft, &lost);
    }
    match draft.situation.state.clone() {
        State::Fresh => fresh(draft),
        State::Starting { candidate, progress } => starting(draft, &candidate, progress),
        State::Steady { stable, held } => steady(draft, &stable, held.as_ref()),
        State::Rolling(change) => rolling(draft, change),
        State::Promoting(change) => promoting(draft, change),
        State::Baking(change) => baking(draft, change),
        State::Returning(back) => returning(draft, &back),
    }
}

// --- what was lost

/// A live revision without a record, unless its record is about to be written.
fn lost_revision(draft: &Draft<'_>) -> Option<String> {
    let missing = |name: &&str| !draft.records.contains_key(*name) && !draft.is_target(name);
    draft.situation.state.live().into_iter().find(missing).map(str::to_owned)
}

/// Makes a lost record from the running Deployment, or starts again from what else is known.
fn repair(draft: &mut Draft<'_>, lost: &str) {
    let running = draft.observed.deployments.iter().find(|(_, d)| d.revision == lost);
    if let Some((name, deployment)) = running {
        let record = record_of_deployment(draft.observed, name, deployment);
        draft.event(EventKind::Warning, "RecordLost", format!("the record of {lost} was lost; its Deployment is the record now"));
        draft.records.insert(lost.to_owned(), record);
        let state = draft.situation.state.clone();
        return draft.enter(Edge::Repair, state);
    }
    let stable = draft.situation.state.stable().map(str::to_owned).filter(|name| name != lost);
    match stable {
        Some(stable) => draft.enter(Edge::Repair, State::Steady { stable, held: None }),
        None => {
            let seq = draft.situation.seq;
            draft.situation = Situation { seq, ..Situation::fresh() };
            fresh(draft);
        }
    }
}

fn fresh(draft: &mut Draft<'_>) {
    if let Some(stable) = running_revision(draft) {
        draft.situation.seq = draft.records.values().filter_map(|r| r.notes.promoted).max().unwrap_or(1);
        draft.event(EventKind::Normal, "Adopted", format!("revision {stable} was found running and is the stable one"));
        return draft.enter(Edge::Repair, State::Steady { stable, held: None });
    }
    if let Some(mut target) = draft.target().cloned() {
        draft.situation.seq += 1;
        draft.situation.trial = 1;
        draft.situation.started_at = Some(draft.now);
        // There is nothing else that the service could rest on.
        target.notes.promoted = Some(draft.situation.seq);
        let candidate = remember(draft, target);
        draft.enter(Edge::Start, State::Starting { candidate, progress: Progress::none(draft.now) });
    }
}

/// What runs although no status speaks of it: the revision that was promoted last, else the largest Deployment.
fn running_revision(draft: &mut Draft<'_>) -> Option<String> {
    let promoted = draft.records.values().filter(|r| r.notes.promoted.is_some());
    if let Some(record) = promoted.max_by_key(|r| (r.notes.promoted, r.number)) {
        return Some(record.name.clone());
    }
    let (name, deployment) = draft.observed.deployments.iter().max_by_key(|(_, d)| {
        (draft.counts(&d.revision).ready, d.replicas)
    })?;
    let revision = deployment.revision.clone();
    let mut record = match draft.target() {
        Some(target) if target.name == revision => target.clone(),
        _ => record_of_deployment(draft.observed, name, deployment),
    };
    record.notes.promoted = Some(1);
    Some(remember(draft, record))
}

fn remember(draft: &mut Draft<'_>, record: Record) -> String {
    let name = record.name.clone();
    draft.records.insert(name.clone(), record);
    name
}

// --- the first revision

fn starting(draft: &mut Draft<'_>, candidate: &str, progress: Progress) {
    let target = draft.target().filter(|target| target.name != candidate).cloned();
    if let (Some(mut target), false) = (target, draft.suspended()) {
        draft.end_rollout(candidate, "Superseded", None);
        draft.situation.seq += 1;
        draft.situation.started_at = Some(draft.now);
        target.notes.promoted = Some(draft.situation.seq);
        let candidate = remember(draft, target);
        return draft.enter(Edge::StartOver, State::Starting { candidate, progress: Progress::none(draft.now) });
    }
    if let Some(target) = draft.target().filter(|target| !draft.records.contains_key(&target.name)).cloned() {
        // The decision was written, the record was not: make it good.
        let seq = draft.situation.seq;
        remember(draft, Record { notes: crate::revision::RecordNotes { promoted: Some(seq), ..target.notes.clone() }, ..target });
    }
    let wanted = draft.wanted();
    if draft.observed.deployment_of(candidate).is_some() && draft.counts(candidate).ready >= wanted {
        draft.end_rollout(candidate, "Promoted", None);
        let stable = candidate.to_owned();
        return draft.enter(Edge::Started, State::Steady { stable, held: None });
    }
    let deadline = draft.deadline(progress);
    draft.wake(deadline);
}

// --- nothing under way

fn steady(draft: &mut Draft<'_>, stable: &str, held: Option<&Held>) {
    if let Some(to) = draft.rollback_to(stable) {
        draft.situation.seq += 1;
        draft.situation.trial = 1;
        draft.situation.started_at = Some(draft.now);
        return rollback(draft, stable, to);
    }
    let Some(target) = draft.target().cloned() else { return };
    if target.name == stable {
        if held.is_some() {
            let stable = stable.to_owned();
            draft.enter(Edge::Release, State::Steady { stable, held: None });
        }
        return;
    }
    if draft.suspended() {
        return;
    }
    let again = held.filter(|h| h.candidate == target.name);
    if let Some(verdict) = target.notes.rejected.clone()
        && !commands::retry(draft.observed, &target.name, verdict.trial)
    {
        if again.is_none() {
            hold_rejected(draft, stable, &target.name, &verdict);
        }
        return;
    }
    let asked_again = commands::retry(draft.observed, &target.name, draft.situation.trial);
    if let Some(at) = again.and_then(|h| h.retry_at)
        && at > draft.now
        && !asked_again
    {
        return draft.wake(at);
    }
    // Without pods nothing can be tried out: the candidate goes out when the service is started.
    if draft.wanted() > 0 {
        roll(draft, stable, target, again);
    }
}

fn hold_rejected(draft: &mut Draft<'_>, stable: &str, rejected: &str, verdict: &VerdictNote) {
    draft.situation.trial = verdict.trial;
    let cause = ReturnCause {
        blame: Blame::Candidate,
        reason: verdict.reason.clone(),
        message: verdict.message.clone(),
    };
    let held = Some(Held { candidate: rejected.to_owned(), cause, retry_at: None });
    draft.enter(Edge::Hold, State::Steady { stable: stable.to_owned(), held });
}

fn roll(draft: &mut Draft<'_>, stable: &str, mut target: Record, again: Option<&Held>) {
    let last_trial = target.notes.rejected.as_ref().map(|v| v.trial).max(again.map(|_| draft.situation.trial));
    if target.notes.rejected.take().is_some() {
        draft.event(EventKind::Normal, "RetryRequested", format!("{} is tried again on request", target.name));
    }
    draft.situation.seq += 1;
    draft.situation.trial = last_trial.unwrap_or(0) + 1;
    draft.situation.started_at = Some(draft.now);
    let size = draft.size(stable);
    let served = size.counts.ready > 0 || size.asked == 0;
    let changes = draft.records.get(stable).map(|old| crate::revision::changes(&old.data, &target.data));
    let candidate = remember(draft, target);
    draft.event(
        EventKind::Normal,
        "RolloutStarted",
        format!("{candidate} goes out against {stable}: {}", changes.unwrap_or_default()),
    );
    draft.enter(
        Edge::Roll,
        State::Rolling(Change {
            stable: stable.to_owned(),
            candidate,
            stable_health: if served { StableHealth::Healthy } else { StableHealth::Broken },
            progress: Progress::none(draft.now),
        }),
    );
}

// --- a change under way

/// What is decided alike in all states in which a candidate is tried out; `None`: it may go on.
fn interrupted(draft: &mut Draft<'_>, change: &Change) -> Option<()> {
    if let Some(to) = draft.rollback_to(&change.candidate) {
        rollback(draft, &change.candidate, to);
        return Some(());
    }
    if superseded(draft, change) {
        return Some(());
    }
    if let Some(target) = draft.target().filter(|t| t.name == change.candidate && !draft.records.contains_key(&t.name)) {
        let target = target.clone();
        remember(draft, target);
    }
    match draft.judge(change) {
        Assessment::Fault(fault) => {
            if change.stable_health == StableHealth::Healthy {
                reject(draft, change, fault);
            }
            // Without anything to return to the candidate stays, the status says so, and it may still recover.
            return Some(());
        }
        Assessment::Hold { recheck, .. } => {
            draft.wakes.extend(recheck);
            return Some(());
        }
        Assessment::Watching { recheck } => draft.wake(recheck),
        Assessment::Fine => {}
    }
    draft.suspended().then_some(())
}

fn superseded(draft: &mut Draft<'_>, change: &Change) -> bool {
    let Some(target) = draft.target().cloned() else { return false };
    if target.name == change.candidate || (draft.suspended() && target.name != change.stable) {
        return false;
    }
    let stable_serves = draft.counts(&change.stable).ready > 0 || change.stable_health == StableHealth::Healthy;
    if stable_serves || target.name == change.stable {
        let cause = ReturnCause {
            blame: Blame::Superseded,
            reason: "Superseded".to_owned(),
            message: format!("the spec asks for {} now", target.name),
        };
        go_back(draft, Edge::Supersede, &change.stable, &change.candidate, cause);
    } else if draft.counts(&change.candidate).ready >= draft.wanted() && draft.in_force(&change.candidate) {
        finish(draft, change);
    } else {
        fix_forward(draft, &change.stable, &change.candidate, target);
    }
    true
}

/// Nothing serves as it should: the newer revision goes out at once, against whichever of the two serves more.
fn fix_forward(draft: &mut Draft<'_>, stable: &str, candidate: &str, target: Record) {
    draft.end_rollout(candidate, "Superseded", None);
    let serving = if draft.counts(candidate).ready > draft.counts(stable).ready { candidate } else { stable };
    draft.situation.seq += 1;
    draft.situation.trial = 1;
    draft.situation.started_at = Some(draft.now);
    draft.situation.previous = None;
    draft.event(EventKind::Normal, "FixForward", format!("{} goes out at once: {serving} does not serve as it should", target.name));
    let candidate = remember(draft, target);
    let change = Change {
        stable: serving.to_owned(),
        candidate,
        stable_health: StableHealth::Broken,
        progress: Progress::none(draft.now),
    };
    draft.enter(Edge::FixForward, State::Rolling(change));
}

fn rolling(draft: &mut Draft<'_>, change: Change) {
    if interrupted(draft, &change).is_some() || past_deadline(draft, &change) {
        return;
    }
    let wanted = draft.wanted();
    if wanted == 0 {
        return;
    }
    let (stable, candidate) = (draft.size(&change.stable), draft.size(&change.candidate));
    let pace = draft.pace(&change.stable, &change.candidate);
    let complete = candidate.asked == wanted && candidate.counts.ready >= wanted;
    let alone = stable.asked == 0 && stable.counts.live == 0;
    if complete && (alone || pace == Pace::FullSize) {
        draft.enter(Edge::Promote, State::Promoting(change));
    } else if stable.counts.ready == 0 && candidate.counts.ready > 0 && pace != Pace::OneAtATime {
        draft.enter(Edge::PromoteAtOnce, State::Promoting(change));
    }
}

fn promoting(draft: &mut Draft<'_>, change: Change) {
    if interrupted(draft, &change).is_some() || past_deadline(draft, &change) {
        return;
    }
    if draft.counts(&change.candidate).ready >= draft.wanted() && draft.in_force(&change.candidate) {
        draft.enter(Edge::Bake, State::Baking(change));
    }
}

fn baking(draft: &mut Draft<'_>, change: Change) {
    if interrupted(draft, &change).is_some() {
        return;
    }
    let since = draft.situation.since.unwrap_or(draft.now);
    let end = later(since, draft.observed.spec().operation.strategy().bake_seconds());
    if end <= draft.now {
        return finish(draft, &change);
    }
    draft.wake(end);
    let drained = later(since, DRAIN_SECONDS);
    if drained > draft.now {
        draft.wake(drained);
    }
}

fn past_deadline(draft: &mut Draft<'_>, change: &Change) -> bool {
    let deadline = draft.deadline(change.progress);
    if deadline > draft.now {
        draft.wake(deadline);
        return false;
    }
    if change.stable_health == StableHealth::Healthy {
        let fault = deadline_fault(draft, &change.candidate);
        reject(draft, change, fault);
        return true;
    }
    false
}

/// The fault of a candidate that makes no progress, with what its pods wait for.
pub fn deadline_fault(draft: &Draft<'_>, candidate: &str) -> Fault {
    let counts = draft.counts(candidate);
    Fault {
        blame: Blame::Candidate,
        reason: "ProgressDeadlineExceeded".to_owned(),
        message: format!(
            "no further pod of {candidate} became ready within {} s: {} of {} are",
            draft.observed.spec().operation.strategy().progress_deadline_seconds(),
            counts.ready,
            draft.wanted(),
        ),
    }
}

fn finish(draft: &mut Draft<'_>, change: &Change) {
    let seq = draft.situation.seq;
    if let Some(record) = draft.records.get_mut(&change.candidate) {
        record.notes.promoted = Some(seq);
        record.notes.rejected = None;
    }
    draft.end_rollout(&change.candidate, "Promoted", None);
    draft.event(EventKind::Normal, "Promoted", format!("{} is the stable revision; before it was {}", change.candidate, change.stable));
    draft.situation.previous = Some(change.stable.clone());
    draft.enter(Edge::Finish, State::Steady { stable: change.candidate.clone(), held: None });
}

// --- the way back

fn reject(draft: &mut Draft<'_>, change: &Change, fault: Fault) {
    let cause = ReturnCause { blame: fault.blame, reason: fault.reason, message: fault.message };
    go_back(draft, Edge::Reject, &change.stable, &change.candidate, cause);
}

fn rollback(draft: &mut Draft<'_>, from: &str, to: String) {
    let value = format!("{from}/{to}");
    draft.commands.push(CommandStatus { verb: commands::ROLLBACK.to_owned(), value });
    let seq = draft.situation.seq;
    if draft.situation.state.stable() != Some(to.as_str())
        && let Some(record) = draft.records.get_mut(&to)
    {
        record.notes.promoted = Some(seq);
        record.notes.rejected = None;
        draft.situation.previous = None;
    }
    let cause = ReturnCause {
        blame: Blame::Person,
        reason: "RollbackRequested".to_owned(),
        message: format!("a person asked to leave {from} for {to}"),
    };
    go_back(draft, Edge::Rollback, &to, from, cause);
}

fn go_back(draft: &mut Draft<'_>, edge: Edge, home: &str, from: &str, cause: ReturnCause) {
    let verdict = VerdictNote {
        seq: draft.situation.seq,
        trial: draft.situation.trial,
        reason: cause.reason.clone(),
        message: cause.message.clone(),
    };
    let remembered = match cause.blame {
        Blame::Candidate | Blame::Person => true,
        Blame::Environment | Blame::Superseded => false,
    };
    if let Some(record) = draft.records.get_mut(from)
        && remembered
    {
        record.notes.rejected = Some(verdict);
    }
    let (kind, reason) = match cause.blame {
        Blame::Superseded => (EventKind::Normal, "Superseded"),
        Blame::Candidate | Blame::Environment | Blame::Person => (EventKind::Warning, "RolledBack"),
    };
    draft.event(kind, reason, format!("from {from} to {home}: {}: {}", cause.reason, cause.message));
    draft.enter(
        edge,
        State::Returning(Return {
            stable: home.to_owned(),
            candidate: from.to_owned(),
            cause,
            progress: Progress::none(draft.now),
        }),
    );
}

fn returning(draft: &mut Draft<'_>, back: &Return) {
    let (home, left) = (draft.counts(&back.stable), draft.size(&back.candidate));
    if home.ready >= draft.wanted() && left.asked == 0 && left.counts.live == 0 && draft.in_force(&back.stable) {
        return returned(draft, back);
    }
    let deadline = draft.deadline(back.progress);
    let target = draft.target().filter(|t| t.name != back.candidate && t.name != back.stable).cloned();
    if let Some(target) = target
        && home.ready == 0
        && !draft.suspended()
        && (deadline <= draft.now || home_fault(draft, back).is_some())
    {
        return fix_forward(draft, &back.stable, &back.candidate, target);
    }
    draft.wake(deadline);
}

/// What keeps the revision that is returned to from serving, where that is its own doing.
pub fn home_fault(draft: &Draft<'_>, back: &Return) -> Option<Fault> {
    match draft.assess(&back.stable, None, Traffic::None) {
        Assessment::Fault(fault) => Some(fault),
        Assessment::Fine | Assessment::Watching { .. } | Assessment::Hold { .. } => None,
    }
}

fn returned(draft: &mut Draft<'_>, back: &Return) {
    let outcome = if back.cause.blame == Blame::Superseded { "Superseded" } else { "RolledBack" };
    draft.end_rollout(&back.candidate, outcome, Some(&back.cause));
    let retry_at: Option<Timestamp> = (back.cause.blame == Blame::Environment).then(|| draft.retry_at());
    // What is still asked for is held; what was only overtaken is not.
    let held = (back.cause.blame != Blame::Superseded && draft.is_target(&back.candidate)).then(|| Held {
        candidate: back.candidate.clone(),
        cause: back.cause.clone(),
        retry_at,
    });
    draft.wakes.extend(retry_at);
    draft.enter(Edge::Returned, State::Steady { stable: back.stable.clone(), held });
}
