//! The decisions: one function for each state, each taking at most one [`Edge`].
//!
//! Precedence where several apply: a person's word, a newer spec, a verdict, a hold, the deadline, going on.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::adoption::{self, Finding};
use super::commands;
use super::draft::{Draft, Durable, later};
use super::edges::Edge;
use super::judging::{self, Opinion};
use super::measuring;
use super::observed::Slot;
use super::plan::EventKind;
use super::replicas::Pace;
use super::resolve::record_of_deployment;
use super::state::{Change, Course, Held, Progress, Return, State};
use super::status::shortened;
use super::stepping::{self, stepping};
use super::traffic::{RouteTarget, RoutesStanding};
use super::work::{self, WorkStanding};
use crate::api::conditions::ConditionType;
use crate::api::{
    Blame, CommandOutcome, CommandStatus, MicroserviceStatus, NotificationEvent, Phase, ReturnCause,
    RolloutCourse, StableHealth, StrategyType, annotations,
};
use crate::health::{Assessment, Fault};
use crate::revision::{PreDeployed, Record, VerdictNote};

/// The reason of condition Reconciling while stable shows the same as the candidate.
pub const HELD: &str = "Hold";
/// Seconds after which a hold is looked at again: what stable shows counts for a while only, and no event ends it.
const HOLD_SECONDS: i64 = 30;
/// The most edges in one plan: more would be a loop.
const MOST_EDGES: usize = 8;

/// Takes all edges that are due.
pub fn advance(draft: &mut Draft<'_>) {
    keep_time(draft);
    for _ in 0..MOST_EDGES {
        let before = draft.edges.len();
        note_progress(draft);
        step(draft);
        if draft.edges.len() == before {
            return;
        }
    }
}

fn step(draft: &mut Draft<'_>) {
    make_records_good(draft);
    if let Some(lost) = lost_revision(draft) {
        return repair(draft, &lost);
    }
    make_notes_good(draft);
    if draft.by_routes() {
        draft.wake_for_routes();
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

// --- time

fn note_progress(draft: &mut Draft<'_>) {
    let Some(ready) = draft
        .situation
        .state
        .coming()
        .map(|name| draft.counts(name).ready)
    else {
        return;
    };
    let now = draft.now;
    if let Some(progress) = draft.situation.state.progress_mut() {
        *progress = progress.with(ready, now);
    }
}

/// The deadline counts the time in which pods that are asked for are not ready. Other time is not held against them.
fn keep_time(draft: &mut Draft<'_>) {
    let Some(coming) = draft.situation.state.coming().map(str::to_owned) else {
        return;
    };
    let before = draft.observed.status();
    let ready = draft.counts(&coming).ready;
    let stopped = clock_stood(&before) && !clock_stands(draft);
    let idle = idle_for_long(draft, &coming);
    let scaled = before.desired_replicas != draft.wanted();
    let now = draft.now;
    let Some(progress) = draft.situation.state.progress_mut() else {
        return;
    };
    if stopped || idle {
        *progress = Progress {
            at: now,
            ready_high: ready,
        };
    } else if scaled {
        // With other numbers the old record may be out of reach.
        progress.ready_high = progress.ready_high.min(ready);
    }
    if idle {
        draft.durable = Durable::Always;
    }
}

/// Whether the clock stood when the status was written.
fn clock_stood(before: &MicroserviceStatus) -> bool {
    let held = |c: &Condition| c.type_ == ConditionType::Reconciling.as_str() && c.reason == HELD;
    before.phase == Some(Phase::Suspended)
        || before.phase == Some(Phase::Paused)
        || before.desired_replicas == 0
        || before.conditions.iter().any(held)
}

/// Whether the clock stands now: nobody works on the rollout, or what is wrong is not the candidate's doing.
pub fn clock_stands(draft: &Draft<'_>) -> bool {
    let held = match &draft.situation.state {
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
            matches!(draft.judge(change), Assessment::Hold { .. })
        }
        State::Fresh | State::Starting { .. } | State::Steady { .. } | State::Returning(_) => false,
    };
    held || draft.suspended() || draft.paused() || draft.wanted() == 0 || works_before_pods(draft)
}

/// Whether Jobs before the first pod are under way: they have limits of their own.
fn works_before_pods(draft: &Draft<'_>) -> bool {
    let candidate = match &draft.situation.state {
        State::Starting { candidate, .. } => candidate,
        State::Rolling(change) => &change.candidate,
        State::Fresh
        | State::Steady { .. }
        | State::Promoting(_)
        | State::Baking(_)
        | State::Returning(_) => {
            return false;
        }
    };
    matches!(work::pre_deploy(draft, candidate), WorkStanding::Running(_))
}

/// Whether it has been our turn for half of the deadline: all pods that are asked for are ready, and nobody asked for
/// more, or turned the Service. So it is after a while without an operator.
fn idle_for_long(draft: &Draft<'_>, coming: &str) -> bool {
    let Some(progress) = draft.situation.state.progress() else {
        return false;
    };
    let size = draft.size(coming);
    let our_turn = match &draft.situation.state {
        State::Rolling(change) => match &change.course {
            Course::Exchange | Course::FullSize => size.counts.ready >= size.asked,
            // What routes and hooks make it wait for is not our turn.
            Course::Steps(position) => {
                size.counts.ready >= size.asked && size.asked < stepping::pods_wanted(draft, change, position)
            }
        },
        State::Promoting(_) if draft.by_routes() => {
            let all = RouteTarget::only(coming);
            size.counts.ready >= size.asked && matches!(draft.routes(&all), RoutesStanding::Unwritten(_))
        }
        State::Promoting(_) => size.counts.ready >= size.asked && !draft.selects_only(coming),
        State::Fresh
        | State::Starting { .. }
        | State::Steady { .. }
        | State::Baking(_)
        | State::Returning(_) => false,
    };
    let patience = draft
        .observed
        .spec()
        .operation
        .strategy()
        .progress_deadline_seconds()
        / 2;
    our_turn && !clock_stands(draft) && later(progress.at, patience) <= draft.now
}

// --- what was lost

/// A decision is written before the records are. What a crash has left out, or a person has taken away, is made again
/// where the spec still says it.
fn make_records_good(draft: &mut Draft<'_>) {
    let Some(target) = draft.target().cloned() else {
        return;
    };
    let state = &draft.situation.state;
    let known =
        state.live().contains(&target.name.as_str()) || state.candidate() == Some(target.name.as_str());
    if known && !draft.records.contains_key(&target.name) {
        let record = adoption::as_found(draft.observed, &draft.resolution, target);
        remember(draft, record);
    }
}

/// The same for the notes of the records: they follow from the state.
fn make_notes_good(draft: &mut Draft<'_>) {
    note_trial(draft);
    match draft.situation.state.clone() {
        State::Fresh => {}
        State::Starting { candidate, .. } => note_promoted(draft, &candidate),
        State::Steady { stable, held } => {
            note_promoted(draft, &stable);
            if let Some(held) = held {
                note_rejected(draft, &held.candidate, &held.cause);
            }
        }
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
            note_promoted(draft, &change.stable);
            if let Some(record) = draft.records.get_mut(&change.candidate) {
                record.notes.rejected = None;
            }
        }
        State::Returning(back) => {
            note_promoted(draft, &back.stable);
            note_rejected(draft, &back.candidate, &back.cause);
        }
    }
}

/// Which trial of the candidate this is.
fn note_trial(draft: &mut Draft<'_>) {
    let state = &draft.situation.state;
    let candidate = state.coming().and(state.candidate()).map(str::to_owned);
    if let Some(record) = candidate.and_then(|candidate| draft.records.get_mut(&candidate)) {
        record.notes.trial = record.notes.trial.max(draft.situation.trial);
    }
}

/// What the service rests on is what was promoted last.
fn note_promoted(draft: &mut Draft<'_>, stable: &str) {
    let others = draft.records.values().filter(|record| record.name != stable);
    let latest = others.filter_map(|record| record.notes.promoted).max();
    let seq = latest.map_or(draft.situation.seq, |latest| {
        draft.situation.seq.max(latest.saturating_add(1))
    });
    if let Some(record) = draft.records.get_mut(stable)
        && record
            .notes
            .promoted
            .is_none_or(|promoted| Some(promoted) <= latest)
    {
        record.notes.promoted = Some(seq);
    }
}

fn note_rejected(draft: &mut Draft<'_>, candidate: &str, cause: &ReturnCause) {
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
    if let Some(record) = draft.records.get_mut(candidate)
        && remembered
    {
        record.notes.rejected.get_or_insert(verdict);
    }
}

/// A live revision without a record.
fn lost_revision(draft: &Draft<'_>) -> Option<String> {
    let missing = |name: &&str| !draft.records.contains_key(*name);
    draft
        .situation
        .state
        .live()
        .into_iter()
        .find(missing)
        .map(str::to_owned)
}

/// Makes a lost record from the running Deployment, or starts again from what else is known.
fn repair(draft: &mut Draft<'_>, lost: &str) {
    let running = draft
        .observed
        .lasting_deployments()
        .find(|(_, d)| d.revision == lost);
    if let Some((name, deployment)) = running {
        let record = record_of_deployment(draft.observed, name, deployment);
        draft.event(
            EventKind::Warning,
            "RecordLost",
            format!("the record of {lost} was lost; its Deployment is the record now"),
        );
        draft.records.insert(lost.to_owned(), record);
        let state = draft.situation.state.clone();
        return draft.enter(Edge::Repair, state);
    }
    let stable = draft
        .situation
        .state
        .stable()
        .map(str::to_owned)
        .filter(|name| name != lost);
    if let Some(candidate) = draft
        .situation
        .state
        .coming()
        .and(draft.situation.state.candidate())
        .map(str::to_owned)
    {
        draft.end_rollout(&candidate, "Interrupted", None);
    }
    match stable {
        Some(stable) => draft.enter(Edge::Repair, State::Steady { stable, held: None }),
        None => fresh(draft),
    }
}

fn fresh(draft: &mut Draft<'_>) {
    if let Some(stable) = running_revision(draft) {
        return rest_on(draft, stable);
    }
    if draft.suspended() {
        return;
    }
    let found = adoption::finding(draft.observed, &draft.resolution);
    adoption::wake(draft, &found);
    match found {
        Finding::Ready(record) => return adopt(draft, *record),
        Finding::Refused(_) | Finding::Pending(_) => return,
        Finding::NotAsked | Finding::Nothing(_) => {}
    }
    if let Some(mut target) = draft.target().cloned() {
        begin_first_trial(draft, &mut target);
        let candidate = remember(draft, target);
        tell_first(draft, &candidate);
        draft.enter(
            Edge::Start,
            State::Starting {
                candidate,
                progress: Progress::none(draft.now),
            },
        );
    }
}

/// What runs already is the first revision, as it is.
fn adopt(draft: &mut Draft<'_>, mut record: Record) {
    record.notes.trial = record.notes.trial.max(1);
    begin_rollout(draft, record.notes.trial);
    record.notes.promoted = Some(draft.situation.seq);
    let deployment = record.data.deployment.clone();
    let stable = remember(draft, record);
    let note = format!("Deployment {deployment} is revision {stable} as it is; no pod is restarted for it");
    draft.event(EventKind::Normal, "Adopted", note);
    draft.enter(Edge::Adopt, State::Steady { stable, held: None });
}

/// Takes a revision that was found for the stable one. Where another one serves meanwhile, traffic returns from it in
/// good order, unless it is about to go out again anyway.
fn rest_on(draft: &mut Draft<'_>, stable: String) {
    let notes = draft.records.values().map(|record| &record.notes);
    let seqs = notes.flat_map(|notes| [notes.promoted, notes.rejected.as_ref().map(|verdict| verdict.seq)]);
    draft.situation.seq = seqs.flatten().max().unwrap_or(1).max(draft.situation.seq);
    draft.event(
        EventKind::Normal,
        "Adopted",
        format!("revision {stable} was found running and is the stable one"),
    );
    if let Some(value) = commands::pending_rollback(draft.observed).map(str::to_owned) {
        // When it was said is not known any more, and whether it was done: it is not done twice.
        if draft.rollback_to(&stable).is_some() {
            let note =
                format!("the status was lost, and with it whether the rollback {value} was done: ask again");
            draft.event(EventKind::Warning, "RollbackIgnored", note);
        }
        draft.commands.push(CommandStatus {
            verb: commands::ROLLBACK.to_owned(),
            value,
            outcome: None,
        });
    }
    match serving_beside(draft, &stable) {
        Some(candidate) => {
            let verdict = draft
                .records
                .get(&candidate)
                .and_then(|record| record.notes.rejected.clone());
            let cause = match &verdict {
                Some(verdict) => rejected_cause(verdict),
                None => superseded_cause(&stable),
            };
            draft.situation.trial = verdict.map_or(1, |verdict| verdict.trial);
            let progress = Progress::none(draft.now);
            let course = unknown_course(draft, &candidate);
            // What routes give it is not made more; where they have left it, it was perhaps only just.
            let weight = if draft.has_own_service(&candidate) {
                draft.weight_by_routes(&candidate).max(1)
            } else {
                100
            };
            draft.enter(
                Edge::Repair,
                State::Returning(Return {
                    stable,
                    candidate,
                    cause,
                    progress,
                    course,
                    weight,
                }),
            );
        }
        None => draft.enter(Edge::Repair, State::Steady { stable, held: None }),
    }
}

/// How traffic is moved away from a revision where it is not known how it came: as the strategy says now, unless routes
/// may lead to a Service of that revision alone, past whatever the root Service selects.
fn unknown_course(draft: &Draft<'_>, from: &str) -> RolloutCourse {
    match draft.strategy_type() {
        StrategyType::RollingUpdate | StrategyType::Recreate if draft.has_own_service(from) => {
            RolloutCourse::FullSize
        }
        StrategyType::RollingUpdate | StrategyType::Recreate => RolloutCourse::Exchange,
        StrategyType::Canary | StrategyType::BlueGreen => RolloutCourse::FullSize,
    }
}

fn rejected_cause(verdict: &VerdictNote) -> ReturnCause {
    ReturnCause {
        blame: Blame::Candidate,
        reason: verdict.reason.clone(),
        message: verdict.message.clone(),
    }
}

fn superseded_cause(by: &str) -> ReturnCause {
    ReturnCause {
        blame: Blame::Superseded,
        reason: "Superseded".to_owned(),
        message: format!("the spec asks for {by} now"),
    }
}

/// Who has ready pods although the service is to rest on `stable`, which has not enough.
fn serving_beside(draft: &mut Draft<'_>, stable: &str) -> Option<String> {
    if draft.counts(stable).ready >= draft.wanted() {
        return None;
    }
    let others = draft
        .observed
        .lasting_deployments()
        .filter(|(_, d)| d.revision != stable);
    let (name, deployment) = others.max_by_key(|(_, d)| draft.counts(&d.revision).ready)?;
    let revision = deployment.revision.clone();
    let goes_out = |target: &Record| target.name == revision && target.notes.rejected.is_none();
    if draft.counts(&revision).ready == 0 || draft.target().is_some_and(goes_out) && !draft.suspended() {
        return None;
    }
    if !draft.records.contains_key(&revision) {
        let record = record_of_deployment(draft.observed, name, deployment);
        remember(draft, record);
    }
    Some(revision)
}

/// What runs although no status speaks of it: the revision that was promoted last, else the Deployment that serves
/// most, else the largest one.
fn running_revision(draft: &mut Draft<'_>) -> Option<String> {
    let runs = |revision: &str| draft.observed.deployment_of(revision).is_some();
    let promoted = draft.records.values().filter(|r| r.notes.promoted.is_some());
    let promoted = promoted
        .max_by_key(|r| (r.notes.promoted, r.number))
        .map(|record| record.name.clone());
    let largest = draft
        .observed
        .lasting_deployments()
        .max_by_key(|(_, d)| (draft.counts(&d.revision).ready, d.replicas));
    let Some((name, deployment)) = largest else {
        return promoted;
    };
    let revision = deployment.revision.clone();
    if let Some(promoted) = promoted
        && (runs(&promoted) || draft.counts(&revision).ready == 0)
    {
        return Some(promoted);
    }
    if !draft.records.contains_key(&revision) {
        let record = match draft.target() {
            Some(target) if target.name == revision => target.clone(),
            Some(_) | None => record_of_deployment(draft.observed, name, deployment),
        };
        remember(draft, record);
    }
    Some(revision)
}

fn remember(draft: &mut Draft<'_>, record: Record) -> String {
    let name = record.name.clone();
    draft.records.insert(name.clone(), record);
    name
}

/// Another rollout begins.
fn begin_rollout(draft: &mut Draft<'_>, trial: i32) {
    draft.situation.seq = draft.situation.seq.saturating_add(1);
    draft.situation.trial = trial;
    draft.situation.started_at = Some(draft.now);
    draft.situation.failed_at = None;
}

// --- the first revision

fn tell_first(draft: &mut Draft<'_>, candidate: &str) {
    let message = format!("{candidate} goes out: it is the first revision");
    draft.tell(NotificationEvent::Started, candidate, None, None, message);
}

/// The first revision is tried, and noted as promoted: there is nothing else that the service could rest on.
fn begin_first_trial(draft: &mut Draft<'_>, target: &mut Record) {
    target.notes.trial = target.notes.trial.saturating_add(1);
    begin_rollout(draft, target.notes.trial);
    target.notes.promoted = Some(draft.situation.seq);
}

fn starting(draft: &mut Draft<'_>, candidate: &str, progress: Progress) {
    let wanted = draft.wanted();
    let ready = draft.counts(candidate).ready;
    let target = draft
        .target()
        .filter(|target| target.name != candidate && !draft.suspended())
        .cloned();
    // What serves some is not thrown away for the next: that goes out against it.
    let serves = ready >= wanted || (ready > 0 && target.is_some());
    if draft.observed.deployment_of(candidate).is_some() && serves {
        draft.end_rollout(candidate, "Promoted", None);
        let message = format!("{candidate} serves: it is the first revision");
        draft.tell(
            NotificationEvent::Promoted,
            candidate,
            Some(candidate),
            None,
            message,
        );
        let stable = candidate.to_owned();
        return draft.enter(Edge::Started, State::Steady { stable, held: None });
    }
    if let Some(mut target) = target {
        draft.end_rollout(candidate, "Superseded", None);
        begin_first_trial(draft, &mut target);
        let candidate = remember(draft, target);
        tell_first(draft, &candidate);
        return draft.enter(
            Edge::StartOver,
            State::Starting {
                candidate,
                progress: Progress::none(draft.now),
            },
        );
    }
    if starting_work(draft, candidate).is_some() {
        return;
    }
    let deadline = draft.deadline(progress);
    draft.wake(deadline);
}

/// The Jobs before the first pod of the first revision: `None` where they are done. One that failed is tried again on
/// request.
fn starting_work(draft: &mut Draft<'_>, candidate: &str) -> Option<()> {
    let start = |draft: &Draft<'_>| State::Starting {
        candidate: candidate.to_owned(),
        progress: Progress::none(draft.now),
    };
    match work::pre_deploy(draft, candidate) {
        WorkStanding::Done if note_pre_deployed(draft, candidate) => {
            let state = start(draft);
            draft.enter(Edge::PreDeployed, state);
            Some(())
        }
        WorkStanding::Done => None,
        WorkStanding::Running(_) => Some(()),
        WorkStanding::Failed(_) => {
            let trial = draft.situation.trial;
            if commands::retry(draft.observed, candidate, trial) {
                draft.done(
                    commands::RETRY,
                    format!("{candidate}/{trial}"),
                    CommandOutcome::Done,
                );
                draft.situation.trial = trial.saturating_add(1);
                draft.situation.failed_at = None;
                if let Some(record) = draft.records.get_mut(candidate) {
                    record.notes.trial = draft.situation.trial;
                }
                tell_first(draft, candidate);
                let state = start(draft);
                draft.enter(Edge::StartOver, state);
            }
            Some(())
        }
    }
}

// --- nothing under way

fn steady(draft: &mut Draft<'_>, stable: &str, held: Option<&Held>) {
    if let Some((from, to)) = rollback_from(draft, stable, held) {
        // By the trial that it names a retry that is left over from before is told from one that is meant.
        let trial = draft
            .records
            .get(&from)
            .map_or(1, |record| record.notes.trial.max(1));
        begin_rollout(draft, trial);
        return rollback(draft, &from, stable, to);
    }
    let Some(target) = draft.target().cloned() else {
        return;
    };
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
        && !may_be_tried(draft, &target)
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
    match held_back(draft, &target.name) {
        _ if draft.wanted() == 0 => {}
        None => roll(draft, stable, target, again),
        Some(HeldBack::Routed(_)) => {
            draft.wake_for_routes();
            draft.wakes.extend(draft.rest_at());
        }
        Some(
            HeldBack::Frozen(_)
            | HeldBack::Queued { .. }
            | HeldBack::Unrouted(_)
            | HeldBack::Adopting(_)
            | HeldBack::Unweighable(_),
        ) => {}
    }
}

/// Why a revision does not go out although nothing is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeldBack {
    /// A person froze the service.
    Frozen(String),
    /// As many rollouts as are allowed are under way.
    Queued {
        /// How many others wait that came before.
        ahead: usize,
    },
    /// Routes are to split the traffic, and do not know a Service of `stable` alone yet.
    Unrouted(String),
    /// Pods are to be exchanged behind the root Service, and routes may still lead past it to a Service of `stable` alone.
    Routed(String),
    /// The stable revision was adopted, and this has to happen first.
    Adopting(String),
    /// Weights by pods were asked for, and cannot be had between these two: why, and the way out.
    Unweighable(String),
}

/// What keeps `target` from going out.
pub fn held_back(draft: &Draft<'_>, target: &str) -> Option<HeldBack> {
    if let Some(words) = commands::frozen(draft.observed) {
        return Some(HeldBack::Frozen(words.to_owned()));
    }
    if let Some(stable) = draft.situation.state.stable() {
        if let Some(words) = adoption::unready(draft, stable) {
            return Some(HeldBack::Adopting(words));
        }
        if let Some(words) = adoption::unweighable(draft, stable, target) {
            return Some(HeldBack::Unweighable(words));
        }
        let exchanged = course_of(draft, target) == Course::Exchange;
        if exchanged && draft.has_own_service(stable) {
            return Some(HeldBack::Routed(stable.to_owned()));
        }
        let serves = draft.counts(stable).ready > 0;
        if !exchanged && draft.by_routes() && serves && draft.endpoints_of(stable) == 0 {
            return Some(HeldBack::Unrouted(stable.to_owned()));
        }
    }
    match draft.observed.slot {
        Slot::Taken { ahead } if !draft.expedited(target) => Some(HeldBack::Queued { ahead }),
        Slot::Taken { .. } | Slot::Free => None,
    }
}

/// How a revision is going to take the place of the stable one.
fn course_of(draft: &Draft<'_>, target: &str) -> Course {
    match draft.strategy_type() {
        StrategyType::RollingUpdate | StrategyType::Recreate => Course::Exchange,
        StrategyType::Canary | StrategyType::BlueGreen => {
            if draft.carried_everything(target) || draft.expedited(target) {
                Course::FullSize
            } else {
                Course::Steps(super::steps::position_at(&draft.goals(), 1, 0))
            }
        }
    }
}

/// Who is to be left for whom: `stable`, or the revision that was left for it on the way to a third one.
fn rollback_from(draft: &Draft<'_>, stable: &str, held: Option<&Held>) -> Option<(String, String)> {
    let left = held
        .filter(|held| held.cause.blame == Blame::Person)
        .map(|held| held.candidate.as_str());
    let named = [Some(stable), left].into_iter().flatten();
    let mut asked = named.filter_map(|from| Some((from.to_owned(), draft.rollback_to(from)?)));
    asked.find(|(_, to)| to != stable)
}

fn hold_rejected(draft: &mut Draft<'_>, stable: &str, rejected: &str, verdict: &VerdictNote) {
    draft.situation.trial = verdict.trial;
    let held = Some(Held {
        candidate: rejected.to_owned(),
        cause: rejected_cause(verdict),
        retry_at: None,
    });
    draft.enter(
        Edge::Hold,
        State::Steady {
            stable: stable.to_owned(),
            held,
        },
    );
}

/// A revision gets another trial, with a number that it never had, however the others ended, and that no request to try
/// it again names: so nothing that was said of an earlier one hits it.
fn begin_trial(draft: &mut Draft<'_>, target: &mut Record, again: Option<&Held>) {
    let rejected = target.notes.rejected.take();
    let waiting = again.map_or(0, |_| draft.situation.trial);
    let last = rejected.as_ref().map_or(0, |verdict| verdict.trial).max(waiting);
    let named = commands::retried(draft.observed, &target.name);
    let trial = last.max(named).max(target.notes.trial).saturating_add(1);
    target.notes.trial = trial;
    if last > 0 && named == last {
        let value = format!("{}/{named}", target.name);
        draft.commands.push(CommandStatus {
            verb: commands::RETRY.to_owned(),
            value,
            outcome: None,
        });
    }
    if rejected.is_some() {
        draft.event(
            EventKind::Normal,
            "RetryRequested",
            format!("{} is tried again on request", target.name),
        );
    }
    begin_rollout(draft, trial);
}

/// Whether the engine may try a revision: it was not rejected, or a person asks to try it again.
fn may_be_tried(draft: &Draft<'_>, target: &Record) -> bool {
    let rejected = target.notes.rejected.as_ref();
    rejected.is_none_or(|verdict| commands::retry(draft.observed, &target.name, verdict.trial))
}

fn roll(draft: &mut Draft<'_>, stable: &str, mut target: Record, again: Option<&Held>) {
    // What the environment stopped is tried again and again: people have been told once.
    let by_itself = again.is_some_and(|held| held.retry_at.is_some())
        && !commands::retry(draft.observed, &target.name, draft.situation.trial);
    begin_trial(draft, &mut target, again);
    let size = draft.size(stable);
    let served = size.counts.ready > 0 || size.asked == 0;
    let changes = draft
        .records
        .get(stable)
        .map(|old| crate::revision::changes(&old.data, &target.data));
    let again = draft
        .records
        .values()
        .find(|r| r.notes.rejected.is_some() && r.image() == target.image());
    if let Some(note) = again.filter(|r| r.name != target.name).map(|r| {
        format!(
            "{} carries {} again, with which {} was rejected",
            target.name,
            r.image(),
            r.name
        )
    }) {
        draft.event(EventKind::Warning, "RejectedImage", note);
    }
    let course = course_of(draft, &target.name);
    let candidate = remember(draft, target);
    let message = format!(
        "{candidate} goes out against {stable}: {}",
        changes.unwrap_or_default()
    );
    if !by_itself {
        draft.tell(
            NotificationEvent::Started,
            &candidate,
            Some(stable),
            None,
            message.clone(),
        );
    }
    draft.event(EventKind::Normal, "RolloutStarted", message);
    draft.enter(
        Edge::Roll,
        State::Rolling(Change {
            stable: stable.to_owned(),
            candidate,
            stable_health: if served {
                StableHealth::Healthy
            } else {
                StableHealth::Broken
            },
            progress: Progress::none(draft.now),
            course,
        }),
    );
}

// --- a change under way

/// What is decided alike in all states in which a candidate is tried out; `None`: it may go on.
fn interrupted(draft: &mut Draft<'_>, change: &Change) -> Option<()> {
    if let Some(to) = draft.rollback_to(&change.candidate) {
        leave(draft, change, to);
        return Some(());
    }
    if aborted(draft, change) || superseded(draft, change) {
        return Some(());
    }
    match draft.judge(change) {
        Assessment::Fault(fault) => {
            if change.stable_health == StableHealth::Healthy {
                reject(draft, change, fault);
            }
            // Without anything to return to the candidate stays, the status says so, and where it recovers it goes on.
            if change.stable_health == StableHealth::Healthy || !is_complete(draft, change) {
                return Some(());
            }
        }
        Assessment::Hold { recheck, .. } => {
            draft.wake(recheck.unwrap_or_else(|| later(draft.now, HOLD_SECONDS)));
            return Some(());
        }
        Assessment::Watching { recheck } => draft.wake(recheck),
        Assessment::Fine => {}
    }
    match judging::opinion(draft, change) {
        Opinion::Fault(fault) if change.stable_health == StableHealth::Healthy => {
            reject(draft, change, fault);
            return Some(());
        }
        // There is nothing to return to, or nothing to be won by it.
        Opinion::Fault(_) | Opinion::Silent => {}
        Opinion::Shared { .. } => return Some(()),
    }
    (draft.suspended() || draft.paused()).then_some(())
}

/// A person takes the candidate back.
fn aborted(draft: &mut Draft<'_>, change: &Change) -> bool {
    let value = draft.named(&change.candidate).trial_value();
    if !draft.asked(commands::ABORT, annotations::ABORT, &value) {
        return false;
    }
    draft.done(commands::ABORT, value, CommandOutcome::Done);
    let cause = ReturnCause {
        blame: Blame::Person,
        reason: "Aborted".to_owned(),
        message: format!("a person aborted the rollout of {}", change.candidate),
    };
    go_back(draft, Edge::Abort, &change.stable, &change.candidate, cause);
    true
}

/// Tells of commands that name another rollout, trial or step than the present one: they hit nothing, now or later.
pub fn ignore_stale_commands(draft: &mut Draft<'_>) {
    for (verb, annotation) in commands::ONCE {
        let Some(value) = draft.observed.annotation(annotation).map(str::to_owned) else {
            continue;
        };
        let before = draft.commands.len();
        if meant(draft, verb, &value) {
            continue;
        }
        draft.done(verb, value.clone(), CommandOutcome::Ignored);
        if draft.commands.len() > before {
            let note = format!(
                "{verb} {value} is not what goes on now ({}); to say just that again, take the annotation away first",
                present(draft)
            );
            draft.event(EventKind::Warning, "CommandIgnored", note);
            draft.durable = Durable::Always;
        }
    }
}

/// Whether a command names what goes on.
fn meant(draft: &Draft<'_>, verb: &str, value: &str) -> bool {
    if verb == commands::ROLLBACK {
        return rollback_is_on_its_way(draft);
    }
    let (State::Rolling(change) | State::Promoting(change) | State::Baking(change)) = &draft.situation.state
    else {
        return false;
    };
    let named = draft.named(&change.candidate);
    match verb {
        commands::PROMOTE => stepping::is_for_step(draft, change, value),
        commands::PROMOTE_FULL => {
            value == named.trial_value() && matches!(draft.situation.state, State::Rolling(_))
        }
        _ => value == named.trial_value(),
    }
}

/// Whether a rollback that is not carried out yet is going to be: to a third revision it goes by way of the stable one.
/// In all other states one that names what serves has been carried out by now.
fn rollback_is_on_its_way(draft: &Draft<'_>) -> bool {
    match &draft.situation.state {
        // Nobody knows yet what serves.
        State::Fresh => true,
        State::Returning(back) if back.cause.blame == Blame::Person => draft
            .rollback_to(&back.candidate)
            .is_some_and(|to| to != back.stable),
        State::Starting { .. } | State::Steady { .. } | State::Returning(_) => false,
        State::Rolling(_) | State::Promoting(_) | State::Baking(_) => false,
    }
}

/// What goes on, in the words of commands.
fn present(draft: &Draft<'_>) -> String {
    match &draft.situation.state {
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
            let named = draft.named(&change.candidate);
            stepping::number(change).map_or_else(|| named.trial_value(), |step| named.step_value(step))
        }
        State::Returning(back) => format!("{} returns to {}", back.candidate, back.stable),
        State::Steady { stable, .. } => format!("{stable} serves, and no rollout is under way"),
        State::Fresh | State::Starting { .. } => "no rollout is under way".to_owned(),
    }
}

/// Whether all pods of the candidate are ready.
pub fn is_complete(draft: &Draft<'_>, change: &Change) -> bool {
    draft.wanted() > 0 && draft.counts(&change.candidate).ready >= draft.wanted()
}

fn superseded(draft: &mut Draft<'_>, change: &Change) -> bool {
    let Some(target) = draft.target().cloned() else {
        return false;
    };
    if target.name == change.candidate || (draft.suspended() && target.name != change.stable) {
        return false;
    }
    if target.name != change.stable
        && change.stable_health == StableHealth::Broken
        && !may_be_tried(draft, &target)
    {
        // What is known to be bad is no reason to give up what may still become good.
        return false;
    }
    let stable_serves =
        draft.counts(&change.stable).ready > 0 || change.stable_health == StableHealth::Healthy;
    if stable_serves || target.name == change.stable {
        let cause = superseded_cause(&target.name);
        go_back(draft, Edge::Supersede, &change.stable, &change.candidate, cause);
    } else if draft.counts(&change.candidate).ready >= draft.wanted() && draft.in_force(&change.candidate) {
        finish(draft, change);
    } else {
        fix_forward(draft, &change.stable, &change.candidate, target);
    }
    true
}

/// Nothing serves as it should: the newer revision goes out at once, against whichever of the two serves more.
fn fix_forward(draft: &mut Draft<'_>, stable: &str, candidate: &str, mut target: Record) {
    draft.end_rollout(candidate, "Superseded", None);
    let serving = if draft.counts(candidate).ready > draft.counts(stable).ready {
        candidate
    } else {
        stable
    };
    begin_trial(draft, &mut target, None);
    draft.situation.previous = None;
    let message = format!(
        "{} goes out at once: {serving} does not serve as it should",
        target.name
    );
    draft.tell(
        NotificationEvent::Started,
        &target.name,
        Some(serving),
        None,
        message.clone(),
    );
    draft.event(EventKind::Normal, "FixForward", message);
    let candidate = remember(draft, target);
    let change = Change {
        stable: serving.to_owned(),
        candidate,
        stable_health: StableHealth::Broken,
        progress: Progress::none(draft.now),
        // There is nothing to protect by steps.
        course: match draft.strategy_type() {
            StrategyType::RollingUpdate | StrategyType::Recreate => Course::Exchange,
            StrategyType::Canary | StrategyType::BlueGreen => Course::FullSize,
        },
    };
    draft.enter(Edge::FixForward, State::Rolling(change));
}

fn rolling(draft: &mut Draft<'_>, change: Change) {
    let wanted = draft.wanted();
    if interrupted(draft, &change).is_some() || wanted == 0 {
        return;
    }
    if before_pods(draft, &change).is_some() {
        return;
    }
    if let Course::Steps(position) = change.course.clone() {
        return stepping(draft, change, position);
    }
    if past_deadline(draft, &change) {
        return;
    }
    let (stable, candidate) = (draft.size(&change.stable), draft.size(&change.candidate));
    let pace = draft.pace(&change.stable, &change.candidate);
    let complete = candidate.asked == wanted && candidate.counts.ready >= wanted;
    let alone = stable.asked == 0 && stable.counts.live == 0;
    // While pods share the traffic, a stable revision that served before may come back at any moment, and loses
    // nothing by waiting: callers get to the candidate's pods already.
    let at_once = match pace {
        Pace::FullSize => true,
        Pace::Lots(_) => change.stable_health == StableHealth::Broken,
        Pace::OneAtATime => false,
    };
    if complete && (alone || pace == Pace::FullSize) {
        draft.enter(Edge::Promote, State::Promoting(change));
    } else if at_once
        && candidate.counts.ready > 0
        && draft.stray_pods() == 0
        && let Some(gone) = stepping::gone_at(draft, &change.stable)
    {
        if gone > draft.now {
            return draft.wake(gone);
        }
        draft.enter(Edge::PromoteAtOnce, State::Promoting(change));
    }
}

/// The Jobs before the candidate's first pod: `None` where they are done.
fn before_pods(draft: &mut Draft<'_>, change: &Change) -> Option<()> {
    match work::pre_deploy(draft, &change.candidate) {
        WorkStanding::Done if note_pre_deployed(draft, &change.candidate) => {
            // The deadline begins with the pods.
            let progress = Progress::none(draft.now);
            let change = Change {
                progress,
                ..change.clone()
            };
            draft.enter(Edge::PreDeployed, State::Rolling(change));
            Some(())
        }
        WorkStanding::Done => None,
        WorkStanding::Running(_) => Some(()),
        WorkStanding::Failed(fault) => {
            if change.stable_health == StableHealth::Healthy {
                reject(draft, change, fault);
            }
            Some(())
        }
    }
}

/// Notes on the record that the Jobs before its first pod have succeeded, so that they never run again for it. Answers
/// whether that was news.
fn note_pre_deployed(draft: &mut Draft<'_>, revision: &str) -> bool {
    let Some(record) = draft.records.get_mut(revision) else {
        return false;
    };
    let news = record.notes.pre_deployed == PreDeployed::No && !record.data.input.spec.pre_deploy.is_empty();
    if news {
        record.notes.pre_deployed = PreDeployed::Succeeded;
    }
    news
}

fn promoting(draft: &mut Draft<'_>, change: Change) {
    // Without pods nothing is proven: it goes on when the service is started.
    if interrupted(draft, &change).is_some() || draft.wanted() == 0 {
        return;
    }
    draft.wake_for_routes();
    if draft.counts(&change.candidate).ready >= draft.wanted()
        && draft.in_force(&change.candidate)
        && draft.routes_in_force(&RouteTarget::only(&change.candidate))
    {
        draft.enter(Edge::Bake, State::Baking(change));
    } else {
        draft.wake_for_settling(&change.candidate);
        past_deadline(draft, &change);
    }
}

fn baking(draft: &mut Draft<'_>, change: Change) {
    let since = draft.situation.since.unwrap_or(draft.now);
    let strategy = draft.observed.spec().operation.strategy();
    let drain = later(since, strategy.drain_seconds());
    // What flips needs its time to drain also without a bake.
    let end = match change.course {
        Course::Exchange => later(since, strategy.bake_seconds()),
        Course::FullSize | Course::Steps(_) => later(since, strategy.bake_seconds()).max(drain),
    };
    draft.wake(end);
    draft.wake(drain);
    if interrupted(draft, &change).is_some() || end > draft.now {
        return;
    }
    if draft.wanted() > 0
        && let Some(missing) =
            judging::missing(draft, &change, end).or_else(|| measuring::missing(draft, &change, end))
    {
        if let Some(until) = missing.until {
            draft.wake(until);
            if until <= draft.now && change.stable_health == StableHealth::Healthy {
                reject(draft, &change, judging::no_data(&missing));
            }
        }
        return;
    }
    if draft.counts(&change.candidate).ready > 0 || draft.wanted() == 0 {
        return finish(draft, &change);
    }
    // A single pod may be unready for a moment, and that moment may be now.
    let patience = later(end, strategy.progress_deadline_seconds());
    draft.wake(patience);
    if patience <= draft.now && change.stable_health == StableHealth::Healthy {
        let fault = deadline_fault(draft, &change.candidate);
        reject(draft, &change, fault);
    }
}

pub fn past_deadline(draft: &mut Draft<'_>, change: &Change) -> bool {
    let deadline = stepping::deadline(draft, change);
    if deadline > draft.now {
        draft.wake(deadline);
        return false;
    }
    // Where pods of the stable revision are there and none of them is ready either, it is not the change: a lost node,
    // a broken dependency. Nothing is won by going back.
    let stable = draft.counts(&change.stable);
    let shared = stable.live > 0 && stable.ready == 0;
    if change.stable_health == StableHealth::Healthy && !shared {
        let fault =
            stepping::route_fault(draft, change).unwrap_or_else(|| deadline_fault(draft, &change.candidate));
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
            draft
                .observed
                .spec()
                .operation
                .strategy()
                .progress_deadline_seconds(),
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
    let message = format!(
        "{} is the stable revision; before it was {}",
        change.candidate, change.stable
    );
    draft.tell(
        NotificationEvent::Promoted,
        &change.candidate,
        Some(&change.candidate),
        None,
        message.clone(),
    );
    draft.event(EventKind::Normal, "Promoted", message);
    // One step of full size is for what is known to have carried everything.
    let proven = change.stable_health == StableHealth::Healthy;
    draft.situation.previous = proven.then(|| change.stable.clone());
    draft.enter(
        Edge::Finish,
        State::Steady {
            stable: change.candidate.clone(),
            held: None,
        },
    );
}

// --- the way back

pub fn reject(draft: &mut Draft<'_>, change: &Change, fault: Fault) {
    let cause = ReturnCause {
        blame: fault.blame,
        reason: fault.reason,
        message: fault.message,
    };
    go_back(draft, Edge::Reject, &change.stable, &change.candidate, cause);
}

/// A person asks to leave the candidate of a change. What carries traffic is not dropped for a third revision: it goes
/// back to the stable one first, and from there on.
fn leave(draft: &mut Draft<'_>, change: &Change, to: String) {
    let alone =
        matches!(draft.situation.state, State::Baking(_)) && draft.counts(&change.candidate).ready > 0;
    if to == change.stable || alone {
        return rollback(draft, &change.candidate, &change.candidate, to);
    }
    let cause = person_cause(&change.candidate, &to);
    go_back(draft, Edge::Rollback, &change.stable, &change.candidate, cause);
}

fn person_cause(from: &str, to: &str) -> ReturnCause {
    ReturnCause {
        blame: Blame::Person,
        reason: "RollbackRequested".to_owned(),
        message: format!("a person asked to leave {from} for {to}"),
    }
}

/// Goes from `serving` to the revision that a person named; the person named the one to leave as well.
fn rollback(draft: &mut Draft<'_>, named: &str, serving: &str, to: String) {
    let value = format!("{named}/{to}");
    draft.commands.push(CommandStatus {
        verb: commands::ROLLBACK.to_owned(),
        value,
        outcome: None,
    });
    let seq = draft.situation.seq;
    if draft.situation.state.stable() != Some(to.as_str())
        && let Some(record) = draft.records.get_mut(&to)
    {
        record.notes.promoted = Some(seq);
        record.notes.rejected = None;
        draft.situation.previous = None;
    }
    // Nobody spoke against a revision that is only on the way.
    let cause = if named == serving {
        person_cause(named, &to)
    } else {
        superseded_cause(&to)
    };
    go_back(draft, Edge::Rollback, &to, serving, cause);
}

/// Whether the environment has stopped the trial before this one for the same reason.
fn told_already(draft: &Draft<'_>, from: &str, cause: &ReturnCause) -> bool {
    let last = draft
        .observed
        .service
        .status
        .as_ref()
        .and_then(|s| s.history.first());
    cause.blame == Blame::Environment
        && draft.situation.trial > 1
        && last.is_some_and(|last| {
            last.revision == from
                && last.outcome == "RolledBack"
                && last.reason.as_ref() == Some(&cause.reason)
        })
}

fn go_back(draft: &mut Draft<'_>, edge: Edge, home: &str, from: &str, cause: ReturnCause) {
    let cause = ReturnCause {
        message: shortened(&cause.message),
        ..cause
    };
    if let Some(record) = draft.records.get_mut(from) {
        record.notes.rejected = None;
    }
    note_rejected(draft, from, &cause);
    let (kind, reason) = match cause.blame {
        Blame::Superseded => (EventKind::Normal, "Superseded"),
        Blame::Candidate | Blame::Environment | Blame::Person => (EventKind::Warning, "RolledBack"),
    };
    let message = format!("from {from} to {home}: {}: {}", cause.reason, cause.message);
    if cause.blame != Blame::Superseded && !told_already(draft, from, &cause) {
        draft.tell(
            NotificationEvent::RolledBack,
            from,
            Some(home),
            None,
            message.clone(),
        );
    }
    draft.event(kind, reason, message);
    let course = draft
        .situation
        .state
        .course()
        .unwrap_or_else(|| unknown_course(draft, from));
    let weight = match &draft.situation.state {
        State::Rolling(change) => match &change.course {
            Course::Steps(position) => stepping::weight_on_routes(draft, change, position),
            Course::Exchange | Course::FullSize => 0,
        },
        State::Promoting(_) | State::Baking(_) | State::Steady { .. } => 100,
        State::Fresh | State::Starting { .. } | State::Returning(_) => 100,
    };
    draft.enter(
        edge,
        State::Returning(Return {
            stable: home.to_owned(),
            candidate: from.to_owned(),
            cause,
            progress: Progress::none(draft.now),
            course,
            weight,
        }),
    );
}

fn returning(draft: &mut Draft<'_>, back: &Return) {
    let (home, left) = (draft.counts(&back.stable), draft.size(&back.candidate));
    let deadline = draft.deadline(back.progress);
    // What cannot get better by waiting is the end as well: where nothing else is left, the next change may come.
    let enough = home.ready >= draft.wanted() || (home.ready > 0 && deadline <= draft.now);
    draft.wake_for_routes();
    draft.wakes.extend(draft.rest_at());
    if enough
        && left.asked == 0
        && left.counts.live == 0
        && draft.in_force(&back.stable)
        && draft.routes_have_left_for(&back.home())
    {
        return returned(draft, back);
    }
    draft.wake_for_settling(&back.stable);
    let target = draft
        .target()
        .filter(|t| t.name != back.candidate && t.name != back.stable)
        .cloned();
    if let Some(target) = target
        && !draft.suspended()
        && may_be_tried(draft, &target)
        && (deadline <= draft.now || (home.ready == 0 && home_fault(draft, back).is_some()))
    {
        return fix_forward(draft, &back.stable, &back.candidate, target);
    }
    draft.wake(deadline);
    if let Assessment::Watching { recheck } = draft.assess_home(&back.stable) {
        draft.wake(recheck);
    }
}

/// What keeps the revision that is returned to from serving, where that is its own doing.
pub fn home_fault(draft: &Draft<'_>, back: &Return) -> Option<Fault> {
    match draft.assess_home(&back.stable) {
        Assessment::Fault(fault) => Some(fault),
        Assessment::Fine | Assessment::Watching { .. } | Assessment::Hold { .. } => None,
    }
}

fn returned(draft: &mut Draft<'_>, back: &Return) {
    let outcome = if back.cause.blame == Blame::Superseded {
        "Superseded"
    } else {
        "RolledBack"
    };
    draft.end_rollout(&back.candidate, outcome, Some(&back.cause));
    let retry_at: Option<Timestamp> = (back.cause.blame == Blame::Environment).then(|| draft.retry_at());
    // What is still asked for is held; what was only overtaken is not.
    let held = (back.cause.blame != Blame::Superseded && draft.is_target(&back.candidate)).then(|| Held {
        candidate: back.candidate.clone(),
        cause: back.cause.clone(),
        retry_at,
    });
    draft.wakes.extend(retry_at);
    draft.enter(
        Edge::Returned,
        State::Steady {
            stable: back.stable.clone(),
            held,
        },
    );
}
