//! Decisions within a course of steps: when a step is in force, when it ends, and what it waits for.

use jiff::Timestamp;

use super::commands;
use super::draft::{Draft, Durable, later};
use super::edges::Edge;
use super::judging::{self, Missing};
use super::measuring;
use super::replicas::{Share, share_of};
use super::scaling;
use super::state::{Change, Course, Position, Progress, Stage, State};
use super::steps::{
    Goal, GoalEnd, GoalSize, goal_at, goal_before, position_after, position_past, repositioned,
};
use super::traffic::{RouteTarget, RoutesStanding};
use super::transition::{self, past_deadline, reject};
use super::work::{self, WorkStanding};
use crate::api::{Blame, CoarseWeights, CommandOutcome, StableHealth, annotations};
use crate::health::{Fault, PodSnapshot, Readied, Readiness, Standing};

/// How a step stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StepStanding {
    /// Its pods are ready and its traffic is in force.
    InForce,
    /// Not yet.
    Waiting {
        /// For what.
        on: WaitingOn,
        /// In words.
        words: String,
    },
}

/// What a step waits for before it is in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingOn {
    /// Pods: under the deadline.
    Pods,
    /// Routes or endpoints: under the deadline.
    Traffic,
    /// Hooks, which have limits of their own.
    Hooks,
    /// A person, because pods are too few for the weight.
    Person,
}

impl StepStanding {
    fn waiting(on: WaitingOn, words: impl Into<String>) -> Self {
        Self::Waiting {
            on,
            words: words.into(),
        }
    }
}

/// The number of the step of `change`, from 1.
pub fn number(change: &Change) -> Option<i32> {
    match &change.course {
        Course::Steps(Position {
            stage: Stage::Step { number, .. },
            ..
        }) => Some(*number),
        Course::Steps(_) | Course::Exchange | Course::FullSize => None,
    }
}

/// The goal of a position under the present strategy.
pub fn goal(draft: &Draft<'_>, position: &Position) -> Goal {
    goal_at(&draft.goals(), position)
}

/// How many pods the candidate is to have at a position.
pub fn pods_wanted(draft: &Draft<'_>, change: &Change, position: &Position) -> i32 {
    share(draft, change, &goal(draft, position)).candidate
}

/// The numbers of pods that a goal means.
pub fn share(draft: &Draft<'_>, change: &Change, goal: &Goal) -> Share {
    let wanted = draft.wanted();
    let alone = |candidate: i32| Share {
        candidate,
        stable: wanted,
    };
    let _ = change;
    match goal.size {
        GoalSize::Full => alone(wanted),
        _ if goal.weight >= 100 => alone(wanted),
        GoalSize::Pods(pods) if draft.by_routes() || !draft.served() || goal.weight == 0 => alone(pods),
        GoalSize::Weight if !draft.served() || goal.weight == 0 => alone(1),
        GoalSize::Weight if draft.by_routes() => alone(((goal.weight * wanted + 99) / 100).max(1)),
        GoalSize::Weight => share_of(wanted, draft.surge(), goal.weight, None),
        GoalSize::Pods(pods) => share_of(wanted, draft.surge(), goal.weight, Some(pods)),
    }
}

/// Pods of the candidate that have to be ready before any traffic moves at a position. Where pods share the traffic of
/// the Service, the others take the places of pods that leave, one by one, after that.
pub fn entry_pods(draft: &Draft<'_>, change: &Change, goal: &Goal) -> i32 {
    let share = share(draft, change, goal);
    if draft.by_routes() || goal.weight == 0 || goal.weight >= 100 || !draft.served() {
        share.candidate
    } else {
        share.candidate.min(draft.surge().above.max(1))
    }
}

/// Where the traffic of a goal is to go by the routes.
pub fn route_target(change: &Change, goal: &Goal) -> RouteTarget {
    RouteTarget::step(&change.stable, &change.candidate, goal)
}

/// Whether the traffic of the present step has moved, or may: its pods have been ready long enough, and nothing that
/// it waits for beforehand is left. What has moved is not taken back when a pod is lost: that is for the verdicts.
pub fn may_move(draft: &Draft<'_>, change: &Change, position: &Position, goal: &Goal) -> bool {
    if position.in_force_at.is_some() {
        return true;
    }
    let moved = if draft.by_routes() {
        !matches!(
            draft.routes(&route_target(change, goal)),
            RoutesStanding::Unwritten(_)
        )
    } else {
        draft.reaches(&change.candidate)
            && goal.weight > 0
            && coarse(draft, change, goal).is_none()
            && work::hooks(draft, change) == WorkStanding::Done
    };
    moved || (ready_to_move(draft, change, goal).is_none() && !transition::clock_stands(draft))
}

/// What has to be waited for before traffic moves.
fn ready_to_move(draft: &Draft<'_>, change: &Change, goal: &Goal) -> Option<StepStanding> {
    let needed = entry_pods(draft, change, goal);
    let settled = draft.settled(&change.candidate);
    if settled < needed {
        let ready = draft.counts(&change.candidate).ready;
        let words = if ready >= needed {
            format!("pods of {} to settle", change.candidate)
        } else {
            format!("{ready} of {needed} pods of {} are ready", change.candidate)
        };
        return Some(StepStanding::waiting(WaitingOn::Pods, words));
    }
    if draft.by_routes()
        && let Some(words) = draft.cannot_mirror(goal)
    {
        return Some(StepStanding::waiting(WaitingOn::Traffic, words));
    }
    if draft.by_routes() && goal.sends_requests() && draft.endpoints_of(&change.candidate) < needed {
        let words = format!("the endpoints of Service {} to be listed", change.candidate);
        return Some(StepStanding::waiting(WaitingOn::Traffic, words));
    }
    let home = super::desired::stable_pods(draft, change, goal);
    if draft.by_routes()
        && draft.counts(&change.stable).ready < home
        && draft.counts(&change.stable).ready > 0
    {
        let words = format!(
            "{} of {home} pods of {} are ready",
            draft.counts(&change.stable).ready,
            change.stable
        );
        if draft.observed.spec().operation.strategy().stable_scale() == crate::api::StableScale::Follow {
            return Some(StepStanding::waiting(WaitingOn::Pods, words));
        }
    }
    if let Some(waiting) = coarse(draft, change, goal) {
        return Some(waiting);
    }
    match work::hooks(draft, change) {
        WorkStanding::Done => None,
        WorkStanding::Running(words) => Some(StepStanding::waiting(WaitingOn::Hooks, words)),
        WorkStanding::Failed(fault) => Some(StepStanding::waiting(WaitingOn::Hooks, fault.message)),
    }
}

/// Whether the hooks of a step are to run: its pods are ready, and nothing else keeps its traffic from moving.
pub fn hooks_are_due(draft: &Draft<'_>, change: &Change, position: &Position) -> bool {
    let waiting = ready_to_move(draft, change, &goal(draft, position));
    position.in_force_at.is_none()
        && matches!(
            waiting,
            Some(StepStanding::Waiting {
                on: WaitingOn::Hooks,
                ..
            })
        )
}

/// Where pods are too few for the weight, and the strategy wants a person to know: `None` where one has said promote.
fn coarse(draft: &Draft<'_>, change: &Change, goal: &Goal) -> Option<StepStanding> {
    if !is_coarse(draft, change, goal) || asked_to_begin(draft, change, goal) {
        return None;
    }
    let value = coarse_word(draft, change, goal).unwrap_or_default();
    let share = share(draft, change, goal);
    let effective = share.percent();
    let words = format!(
        "a person: {} of {} pods get {effective} % instead of {} %; promote {value} to go on so, raise replicas, or set \
         coarseWeights",
        share.candidate,
        share.candidate.saturating_add(share.stable),
        goal.weight
    );
    Some(StepStanding::waiting(WaitingOn::Person, words))
}

/// Whether the pods allow no share near the one that a step is the first to ask for, and the strategy minds.
fn is_coarse(draft: &Draft<'_>, change: &Change, goal: &Goal) -> bool {
    if draft.by_routes() || !draft.served() || goal.weight == 0 || goal.weight >= 100 {
        return false;
    }
    let before = match &change.course {
        Course::Steps(position) => goal_before(&draft.goals(), position).map_or(0, |before| before.weight),
        Course::Exchange | Course::FullSize => 0,
    };
    let policy = draft.observed.spec().operation.strategy().coarse_weights();
    goal.size != GoalSize::Full
        && goal.weight != before
        && policy != CoarseWeights::Allow
        && share(draft, change, goal).percent() > 2 * goal.weight
}

/// What a person is to say for a coarse step to begin. Where the step ends by a person's word as well, that is another
/// one: a word that began it is not to end it.
fn coarse_word(draft: &Draft<'_>, change: &Change, goal: &Goal) -> Option<String> {
    let (number, named) = (number(change)?, draft.named(&change.candidate));
    Some(match goal.end {
        GoalEnd::Person => named.coarse_value(number),
        GoalEnd::Time => named.step_value(number),
    })
}

/// Whether a person lets a coarse step begin.
fn asked_to_begin(draft: &Draft<'_>, change: &Change, goal: &Goal) -> bool {
    let word = coarse_word(draft, change, goal);
    word.is_some_and(|word| draft.asked(commands::PROMOTE, annotations::PROMOTE, &word))
}

/// What a person is to say to end what the present step waits for; nothing where there is no step to end.
pub fn promote_value(draft: &Draft<'_>, change: &Change) -> Option<String> {
    let Course::Steps(position) = &change.course else {
        return None;
    };
    let whole = draft.named(&change.candidate).step_value(number(change)?);
    let goal = goal(draft, position);
    let begins = position.in_force_at.is_none() && coarse(draft, change, &goal).is_some();
    let word = begins.then(|| coarse_word(draft, change, &goal)).flatten();
    Some(word.unwrap_or(whole))
}

/// Whether a promote of this value is for the present step.
pub fn is_for_step(draft: &Draft<'_>, change: &Change, value: &str) -> bool {
    let Some(number) = number(change) else {
        return false;
    };
    let named = draft.named(&change.candidate);
    let begins = match &change.course {
        Course::Steps(position) => position.in_force_at.is_none(),
        Course::Exchange | Course::FullSize => false,
    };
    value == named.step_value(number) || (begins && value == named.coarse_value(number))
}

/// Whether a person has said promote for the present step.
fn promoted(draft: &Draft<'_>, change: &Change) -> bool {
    let Some(number) = number(change) else {
        return false;
    };
    let value = draft.named(&change.candidate).step_value(number);
    draft.asked(commands::PROMOTE, annotations::PROMOTE, &value)
}

/// How the present step stands.
pub fn standing(draft: &Draft<'_>, change: &Change, position: &Position) -> StepStanding {
    let goal = goal(draft, position);
    if position.in_force_at.is_none()
        && let Some(waiting) = ready_to_move(draft, change, &goal)
    {
        return waiting;
    }
    let share = share(draft, change, &goal);
    let candidate = draft.size(&change.candidate);
    // By routes those that are too many go when the traffic has left them: not before it is in force.
    let sized = if draft.by_routes() {
        candidate.asked >= share.candidate
    } else {
        candidate.asked == share.candidate
    };
    if candidate.counts.ready < share.candidate || !sized {
        let words = format!(
            "{} of {} pods of {} are ready",
            candidate.counts.ready, share.candidate, change.candidate
        );
        return StepStanding::waiting(WaitingOn::Pods, words);
    }
    if draft.by_routes() {
        return match draft.routes(&route_target(change, &goal)) {
            RoutesStanding::InForce => StepStanding::InForce,
            RoutesStanding::Unwritten(words) | RoutesStanding::Waiting(words) => {
                StepStanding::waiting(WaitingOn::Traffic, words)
            }
        };
    }
    if goal.weight == 0 || !draft.served() {
        return StepStanding::InForce;
    }
    if goal.weight >= 100 {
        return if draft.in_force(&change.candidate) {
            StepStanding::InForce
        } else {
            StepStanding::waiting(
                WaitingOn::Traffic,
                format!(
                    "Service {} to lead to {}",
                    draft.observed.name(),
                    change.candidate
                ),
            )
        };
    }
    let stable = draft.size(&change.stable);
    let growing = matches!(position.stage, Stage::Growing);
    if !growing && (stable.asked != share.stable || stable.counts.live != share.stable) {
        let words = format!(
            "{} to have {} pods, it has {}",
            change.stable, share.stable, stable.counts.live
        );
        return StepStanding::waiting(WaitingOn::Pods, words);
    }
    if !draft.reaches(&change.candidate) {
        let words = format!(
            "Service {} to lead to {} too",
            draft.observed.name(),
            change.candidate
        );
        return StepStanding::waiting(WaitingOn::Traffic, words);
    }
    let listed = draft
        .observed
        .endpoints
        .ready
        .get(&change.candidate)
        .copied()
        .unwrap_or(0);
    if position.in_force_at.is_none() && listed < share.candidate {
        let words = format!(
            "{listed} of {} endpoints of Service {} to be those of {}",
            share.candidate,
            draft.observed.name(),
            change.candidate
        );
        return StepStanding::waiting(WaitingOn::Traffic, words);
    }
    StepStanding::InForce
}

/// For how many seconds all pods of the stable revision may be unready before the candidate takes its place for good. A
/// dependency that stumbles costs all of them their readiness for as long as one probe; traffic need not wait for that.
const BLIP_SECONDS: i64 = 5;

/// From when on the stable revision counts as gone; `None` where it has a ready pod.
pub fn gone_at(draft: &Draft<'_>, stable: &str) -> Option<Timestamp> {
    let lost_at = |pod: &PodSnapshot| match &pod.readiness {
        Readiness::NotReady {
            since,
            was: Readied::Once,
            ..
        } if pod.standing == Standing::Live => Some(*since),
        Readiness::NotReady { .. } | Readiness::Ready { .. } => None,
    };
    let last = draft.observed.pods_of(stable).iter().filter_map(lost_at).max();
    (draft.counts(stable).ready == 0).then(|| last.map_or(Timestamp::MIN, |last| later(last, BLIP_SECONDS)))
}

/// Takes the edges of a course of steps.
pub fn stepping(draft: &mut Draft<'_>, mut change: Change, position: Position) {
    if let Some(moved) = repositioned(&draft.goals(), &position) {
        let moved = match moved.stage {
            Stage::Step { .. } => moved,
            Stage::Growing => position_past(weight_given(draft, &change, &position)),
        };
        return enter(draft, Edge::Reposition, change, moved);
    }
    if draft.counts(&change.candidate).ready > 0
        && draft.stray_pods() == 0
        && let Some(gone) = gone_at(draft, &change.stable)
    {
        if gone <= draft.now {
            return draft.enter(Edge::PromoteAtOnce, State::Promoting(change));
        }
        draft.wake(gone);
    }
    if position.stage != Stage::Growing && skipped(draft, &change) {
        let past = position_past(weight_given(draft, &change, &position));
        return enter(draft, Edge::Skip, change, past);
    }
    draft.wake_for_settling(&change.candidate);
    draft.wake_for_routes();
    draft.wakes.extend(draft.rest_at());
    let position = pass_hooks(draft, &mut change, position);
    match (standing(draft, &change, &position), position.in_force_at) {
        (StepStanding::InForce, None) => in_force(draft, change, position),
        (StepStanding::InForce, Some(since)) => {
            if position.wavering_since.is_some() {
                set_wavering(draft, None);
            }
            end_of_step(draft, change, position, since);
        }
        (StepStanding::Waiting { on, .. }, _) => {
            match on {
                WaitingOn::Person => return refuse_coarse(draft, &change, &position),
                WaitingOn::Hooks => {
                    if let WorkStanding::Failed(fault) = work::hooks(draft, &change)
                        && change.stable_health == StableHealth::Healthy
                    {
                        reject(draft, &change, fault);
                    }
                    return;
                }
                WaitingOn::Pods | WaitingOn::Traffic => {}
            }
            if position.in_force_at.is_some() && position.wavering_since.is_none() {
                return set_wavering(draft, Some(draft.now));
            }
            past_deadline(draft, &change);
        }
    }
}

/// Notes that the hooks have succeeded: calls are remembered by a process only, and are not to be made again. The
/// deadline begins anew with it, because hooks have limits of their own.
fn pass_hooks(draft: &mut Draft<'_>, change: &mut Change, mut position: Position) -> Position {
    let due = position.hooks_passed_at.is_none() && !goal(draft, &position).hooks.is_empty();
    if due && work::hooks(draft, change) == WorkStanding::Done {
        position.hooks_passed_at = Some(draft.now);
        change.progress.at = draft.now;
        if let Some(present) = draft.situation.state.position_mut() {
            present.hooks_passed_at = Some(draft.now);
        }
        if let Some(progress) = draft.situation.state.progress_mut() {
            progress.at = draft.now;
        }
        draft.durable = Durable::Always;
    }
    position
}

fn set_wavering(draft: &mut Draft<'_>, since: Option<Timestamp>) {
    if let Some(position) = draft.situation.state.position_mut() {
        position.wavering_since = since;
    }
    draft.durable = Durable::Always;
}

fn refuse_coarse(draft: &mut Draft<'_>, change: &Change, position: &Position) {
    if draft.observed.spec().operation.strategy().coarse_weights() != CoarseWeights::Refuse {
        return;
    }
    let goal = goal(draft, position);
    let effective = share(draft, change, &goal).percent();
    let fault = Fault {
        blame: Blame::Environment,
        reason: "CoarseWeight".to_owned(),
        message: format!(
            "{effective} % instead of {} % is the least that {} pods allow, and coarseWeights is Refuse: raise replicas, \
             or use a router that splits requests",
            goal.weight,
            draft.wanted()
        ),
    };
    reject(draft, change, fault);
}

fn skipped(draft: &mut Draft<'_>, change: &Change) -> bool {
    let value = draft.named(&change.candidate).trial_value();
    if draft.asked(commands::PROMOTE_FULL, annotations::PROMOTE_FULL, &value) {
        draft.done(commands::PROMOTE_FULL, value, CommandOutcome::Done);
        return true;
    }
    draft.expedited(&change.candidate)
}

fn in_force(draft: &mut Draft<'_>, change: Change, position: Position) {
    // Growing has no time of its own: it goes on in the same breath.
    if position.stage == Stage::Growing {
        return draft.enter(Edge::Promote, State::Promoting(change));
    }
    if let Some(word) = coarse_word(draft, &change, &goal(draft, &position))
        && draft.asked(commands::PROMOTE, annotations::PROMOTE, &word)
        && is_coarse(draft, &change, &goal(draft, &position))
    {
        draft.done(commands::PROMOTE, word, CommandOutcome::Done);
    }
    let now = draft.now;
    let position = Position {
        in_force_at: Some(now),
        wavering_since: None,
        ..position
    };
    let since = draft.situation.since;
    enter(draft, Edge::InForce, change, position);
    draft.situation.since = since;
}

fn end_of_step(draft: &mut Draft<'_>, change: Change, position: Position, since: Timestamp) {
    if position.stage == Stage::Growing {
        return draft.enter(Edge::Promote, State::Promoting(change));
    }
    let goal = goal(draft, &position);
    let at = later(since, goal.seconds);
    let promoted = promoted(draft, &change);
    if promoted && let Some(number) = number(&change) {
        let value = draft.named(&change.candidate).step_value(number);
        draft.done(commands::PROMOTE, value, CommandOutcome::Done);
    }
    let cleared = judging::cleared(draft) && measuring::missing(draft, &change, at).is_none();
    if !promoted
        && at <= draft.now
        && let Some(missing) = missing(draft, &change, &goal, at)
    {
        if let Some(until) = missing.until {
            draft.wake(until);
            if until <= draft.now && change.stable_health == StableHealth::Healthy {
                reject(draft, &change, judging::no_data(&missing));
            }
        }
        return;
    }
    let over = match goal.end {
        GoalEnd::Time => at <= draft.now || promoted || cleared,
        GoalEnd::Person => promoted,
    };
    if over {
        let next = position_after(&draft.goals(), &position);
        return enter(draft, Edge::Advance, change, next);
    }
    draft.wake(at);
}

/// What is missing at the end of a step that came at `end`.
pub fn missing(draft: &Draft<'_>, change: &Change, goal: &Goal, end: Timestamp) -> Option<Missing> {
    let of_requests = || judging::missing(draft, change, end);
    let requests = goal.sends_requests().then(of_requests).flatten();
    requests.or_else(|| measuring::missing(draft, change, end))
}

/// Whether the present step waits for a person: it is in force, its time is over, and only a word is missing.
pub fn waits_for_person(draft: &Draft<'_>, change: &Change, position: &Position) -> bool {
    match standing(draft, change, position) {
        StepStanding::Waiting { on, .. } => on == WaitingOn::Person,
        StepStanding::InForce => {
            let goal = goal(draft, position);
            let over = position
                .in_force_at
                .is_some_and(|since| later(since, goal.seconds) <= draft.now);
            goal.end == GoalEnd::Person && over && !promoted(draft, change)
        }
    }
}

/// The pods that carry the traffic of the routes while the candidate has this share of it. Of the candidate's no more
/// than that share needs: what a step has beside it (`replicas`, copies of requests) says nothing about the load.
fn carrying(draft: &Draft<'_>, change: &Change, weight: i32) -> i32 {
    let routed = |revision: &str| {
        if draft.by_routes() && draft.routed(revision) {
            draft.counts(revision).ready
        } else {
            0
        }
    };
    let needed = (weight * draft.wanted() + 99) / 100;
    routed(&change.stable) + routed(&change.candidate).min(needed)
}

/// Enters a position: what is ready already is no progress of the step.
fn enter(draft: &mut Draft<'_>, edge: Edge, change: Change, position: Position) {
    let ready_high = draft.counts(&change.candidate).ready;
    let progress = Progress {
        at: draft.now,
        ready_high,
    };
    if position.stage == Stage::Growing {
        let carrying = carrying(draft, &change, position.weight);
        draft.landing = scaling::landing(draft.observed, carrying);
    }
    let change = Change {
        course: Course::Steps(position),
        progress,
        ..change
    };
    draft.enter(edge, State::Rolling(change));
}

/// When a rollout without further progress is taken back. A step that is in force has no deadline.
pub fn deadline(draft: &Draft<'_>, change: &Change) -> Timestamp {
    let position = match (&draft.situation.state, &change.course) {
        (State::Rolling(_), Course::Steps(position)) => position,
        (_, Course::Steps(_) | Course::Exchange | Course::FullSize) => {
            return draft.deadline(change.progress);
        }
    };
    match (position.in_force_at, position.wavering_since) {
        (Some(_), None) => Timestamp::MAX,
        (Some(_), Some(since)) => draft.deadline(Progress {
            at: since,
            ready_high: 0,
        }),
        (None, _) => draft.deadline(change.progress),
    }
}

/// The fault of a rollout whose routes are not accepted: nothing is wrong with the candidate.
pub fn route_fault(draft: &Draft<'_>, change: &Change) -> Option<Fault> {
    if !draft.by_routes() || draft.counts(&change.candidate).ready == 0 {
        return None;
    }
    let target = match (&draft.situation.state, &change.course) {
        (State::Rolling(_), Course::Steps(position)) => route_target(change, &goal(draft, position)),
        (State::Promoting(_), _) => RouteTarget::only(&change.candidate),
        (_, Course::Steps(_) | Course::Exchange | Course::FullSize) => return None,
    };
    let (RoutesStanding::Unwritten(words) | RoutesStanding::Waiting(words)) = draft.routes(&target) else {
        return None;
    };
    Some(Fault {
        blame: Blame::Environment,
        reason: "RouteNotInForce".to_owned(),
        message: format!(
            "{words} (for {} s)",
            draft
                .observed
                .spec()
                .operation
                .strategy()
                .progress_deadline_seconds()
        ),
    })
}

/// What the candidate is given by now: as long as traffic has not moved, what it had before. That is what the step before
/// says, unless steps were edited meanwhile: then it is what the routes give it, so that an edit alone moves no traffic.
pub fn given(draft: &Draft<'_>, change: &Change, position: &Position, goal: &Goal) -> Option<Goal> {
    if may_move(draft, change, position, goal) {
        return Some(goal.clone());
    }
    let before = goal_before(&draft.goals(), position);
    if !draft.by_routes() {
        return before;
    }
    let weight = before.as_ref().map_or(0, |before| before.weight);
    let live = draft.weight_by_routes(&change.candidate);
    let sends = before.as_ref().is_some_and(Goal::sends_requests);
    let unedited = live == weight && (!sends || draft.routed(&change.candidate));
    if unedited || live > weight.max(goal.weight) {
        return before;
    }
    Some(Goal::share(live))
}

/// The candidate's share in percent by now.
fn weight_given(draft: &Draft<'_>, change: &Change, position: &Position) -> i32 {
    let goal = goal(draft, position);
    given(draft, change, position, &goal).map_or(0, |goal| goal.weight)
}

/// The candidate's share in percent that the routes may still send it; at least 1 where any request may be on its way,
/// also by what the routes were until a moment ago.
pub fn weight_on_routes(draft: &Draft<'_>, change: &Change, position: &Position) -> i32 {
    let weight = weight_given(draft, change, position);
    let had = match &position.stage {
        Stage::Step { number, .. } => {
            let past = usize::try_from(number.saturating_sub(1)).unwrap_or(0);
            draft.goals().iter().take(past).any(Goal::sends_requests)
        }
        Stage::Growing => true,
    };
    if draft.by_routes() && (draft.routed(&change.candidate) || (had && !draft.routes_rest())) {
        weight.max(1)
    } else if draft.by_routes() {
        0
    } else {
        weight
    }
}
