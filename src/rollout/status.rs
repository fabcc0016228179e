//! The status that follows from a situation, and whether it is worth a write.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use serde::Serialize;

use super::adoption::{self, Finding};
use super::checks;
use super::desired::{Desired, TrafficTarget};
use super::draft::Draft;
use super::judging;
use super::measuring;
use super::observed::{ChildKey, FailureClass, Observed};
use super::outbox;
use super::replicas::Pace;
use super::resolve::Resolution;
use super::scaling::{Scaling, managed_by_git};
use super::state::{Change, Course, Held, Return, Stage, State};
use super::stepping;
use super::transition::{HELD, HeldBack, clock_stands, deadline_fault, held_back, home_fault, is_complete};
use super::work::{self, WorkStanding};
use crate::api::conditions::{ConditionStatus, ConditionType};
use crate::api::{
    Blame, HistoryEntry, InventoryEntry, MicroserviceStatus, Phase, ReplicasSource, RevisionStatus, Role,
    RolloutStatus, StableHealth, Verdict,
};
use crate::health::{Assessment, Counts, Traffic, readiness};
use crate::render::{ChildKind, Identity, pod_template};
use crate::revision::{Record, changes};
use crate::traffic::refusals;

/// The reason of conditions while a person is waited for.
const PAUSED: &str = "Paused";
/// The most bytes of a message.
const MESSAGE_BYTES: usize = 1024;
/// The most entries of the history.
const HISTORY: usize = 10;
/// The most revisions that are listed.
const REVISIONS: usize = 10;
/// The most entries of the inventory.
const INVENTORY: usize = 100;
/// The most addresses.
const URLS: usize = 16;
/// The most bytes of all of it, so that a decision is never refused for its evidence.
const STATUS_BYTES: usize = 16 * 1024;

/// Whether a status is worth a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Worth {
    /// It says what is written already, but for times.
    Nothing,
    /// Only counts differ: soon is early enough.
    Counts,
    /// It says something new.
    News,
}

/// What is to be said of a service, before it is cast into conditions.
struct Summary {
    phase: Phase,
    message: String,
    ready: (ConditionStatus, String),
    reconciling: Option<String>,
    stalled: Option<String>,
}

impl Summary {
    fn healthy(message: String, reason: &str) -> Self {
        Self {
            phase: Phase::Healthy,
            message,
            ready: (ConditionStatus::True, reason.to_owned()),
            reconciling: None,
            stalled: None,
        }
    }
    fn progressing(reason: &str, message: String) -> Self {
        Self {
            phase: Phase::Progressing,
            message,
            ready: (ConditionStatus::Unknown, reason.to_owned()),
            reconciling: Some(reason.to_owned()),
            stalled: None,
        }
    }
    fn waiting(reason: &str, message: String) -> Self {
        Self {
            ready: (ConditionStatus::False, reason.to_owned()),
            ..Self::progressing(reason, message)
        }
    }
    /// A person is waited for.
    fn paused(message: String) -> Self {
        Self {
            phase: Phase::Paused,
            ..Self::progressing(PAUSED, message)
        }
    }
    fn stalled(reason: &str, message: String) -> Self {
        Self {
            phase: Phase::Degraded,
            message,
            ready: (ConditionStatus::False, reason.to_owned()),
            reconciling: None,
            stalled: Some(reason.to_owned()),
        }
    }
}

/// The status that follows from the decisions and wishes so far.
pub fn build(draft: &mut Draft<'_>, wanted: &Desired) -> MicroserviceStatus {
    let observed = draft.observed;
    let before = observed.status();
    let summary = summarise(draft, &before, wanted);
    let waiting = (summary.phase == Phase::Paused).then_some(summary.message.as_str());
    outbox::note(
        draft,
        waiting.filter(|_| !draft.suspended()),
        summary.stalled.as_ref().map(|_| summary.message.as_str()),
    );
    let summary = overruled(draft, &before, wanted, summary);
    let carrying = observed
        .pods
        .iter()
        .filter(|(revision, _)| wanted.counts(revision));
    let counts = carrying
        .map(|(_, pods)| readiness(pods))
        .fold(Counts::default(), |sum, next| Counts {
            live: sum.live + next.live,
            ready: sum.ready + next.ready,
            terminating: sum.terminating + next.terminating,
        });
    let message = shortened(&summary.message);
    let mut status = MicroserviceStatus {
        observed_generation: observed.generation(),
        phase: Some(summary.phase),
        message: Some(message.clone()),
        replicas: counts.live,
        ready_replicas: counts.ready,
        desired_replicas: draft.landing.unwrap_or(draft.wanted()),
        replicas_from: match draft.landing {
            Some(_) => Some(ReplicasSource::Carried),
            None => Scaling::of(observed).source,
        },
        ready: Some(format!("{}/{}", counts.ready, draft.wanted())),
        selector: wanted.selector(observed.name()),
        stable_revision: draft.situation.state.stable().map(str::to_owned),
        revisions: revisions(draft, wanted),
        rollout: rollout(draft, wanted),
        commands: commands(draft, &before),
        history: history(draft, &before),
        notifications: outbox::outbox(draft, &before),
        inventory: inventory(wanted),
        urls: wanted.urls.iter().take(URLS).cloned().collect(),
        conditions: Vec::new(),
    };
    let mut conditions = Conditions {
        before: &before.conditions,
        generation: observed.generation(),
        now: draft.now,
        all: Vec::new(),
    };
    // kstatus takes the first of Reconciling and Stalled that it meets, so they come first.
    if let Some(reason) = &summary.reconciling {
        conditions.add(
            ConditionType::Reconciling,
            ConditionStatus::True,
            reason,
            &message,
        );
    }
    if let Some(reason) = &summary.stalled {
        conditions.add(ConditionType::Stalled, ConditionStatus::True, reason, &message);
    }
    conditions.add(ConditionType::Ready, summary.ready.0, &summary.ready.1, &message);
    add_available(draft, counts.ready, &mut conditions);
    add_rolled_out(draft, &mut conditions);
    add_parts(draft, wanted, &mut conditions);
    status.conditions = conditions.all;
    fitted(status)
}

/// The status cut to what may be written: what can be found elsewhere goes first, and of the past the oldest.
fn fitted(mut status: MicroserviceStatus) -> MicroserviceStatus {
    while serde_json::to_vec(&status).map_or(0, |bytes| bytes.len()) > STATUS_BYTES {
        let half = |length: usize| length / 2;
        if status.revisions.iter().any(|revision| revision.changes.is_some()) {
            status
                .revisions
                .iter_mut()
                .for_each(|revision| revision.changes = None);
        } else if status.inventory.len() > FEW || status.urls.len() > FEW {
            status.inventory.truncate(half(status.inventory.len()).max(FEW));
            status.urls.truncate(half(status.urls.len()).max(FEW));
        } else if status.revisions.len() > FEW || status.history.len() > FEW {
            status.revisions.truncate(half(status.revisions.len()).max(FEW));
            status.history.truncate(half(status.history.len()).max(FEW));
        } else if status.notifications.len() > FEW {
            status.notifications.remove(0);
        } else if status
            .conditions
            .iter()
            .any(|condition| condition.message.len() > SHORT_BYTES)
        {
            status
                .conditions
                .iter_mut()
                .for_each(|condition| condition.message = cut(&condition.message, SHORT_BYTES));
        } else {
            // The rest is small, or cannot be done without.
            break;
        }
    }
    status
}

/// How much of each list stays in any case.
const FEW: usize = 2;
/// The most bytes of the message of a condition where there is no room; the whole one is in `message`.
const SHORT_BYTES: usize = 256;

// --- what is going on

fn summarise(draft: &mut Draft<'_>, before: &MicroserviceStatus, wanted: &Desired) -> Summary {
    match draft.situation.state.clone() {
        State::Fresh => unresolved(draft),
        State::Starting { candidate, progress } => {
            let waiting = wanted.waiting_for.clone().unwrap_or_default();
            match work::pre_deploy(draft, &candidate) {
                WorkStanding::Failed(fault) => {
                    let value = draft.named(&candidate).trial_value();
                    return Summary::stalled(
                        &fault.reason,
                        format!(
                            "{}; change the spec, or ask for a retry of {value}",
                            fault.message
                        ),
                    );
                }
                WorkStanding::Running(words) => return Summary::progressing("PreDeploying", words),
                WorkStanding::Done => {}
            }
            match draft.assess(&candidate, None, Traffic::None) {
                Assessment::Fault(fault) => Summary::stalled(&fault.reason, fault.message),
                _ if draft.deadline(progress) <= draft.now => {
                    let fault = deadline_fault(draft, &candidate);
                    Summary::stalled(&fault.reason, fault.message)
                }
                found => {
                    wake_for(draft, &found);
                    Summary::progressing("Starting", waiting)
                }
            }
        }
        State::Steady { stable, held } => steady(draft, before, &stable, held.as_ref()),
        State::Rolling(change) => changing(draft, &change, "RollingOut", wanted),
        State::Promoting(change) => changing(draft, &change, "Promoting", wanted),
        State::Baking(change) => changing(draft, &change, "Baking", wanted),
        State::Returning(back) => returning(draft, &back, wanted),
    }
}

fn unresolved(draft: &Draft<'_>) -> Summary {
    match adoption::finding(draft.observed, &draft.resolution) {
        Finding::Refused(misfit) => {
            return Summary::stalled(
                "AdoptionRefused",
                format!("nothing was touched: {}", misfit.message),
            );
        }
        Finding::Pending(misfit) if misfit.reason != "Unresolved" => {
            return Summary::waiting("AdoptionPending", misfit.message);
        }
        Finding::Pending(_) | Finding::NotAsked | Finding::Nothing(_) | Finding::Ready(_) => {}
    }
    match &draft.resolution {
        Resolution::Unresolved(missing) => Summary::waiting(missing.reason, missing.message.clone()),
        Resolution::Revision(_) => {
            Summary::progressing("Starting", "the first revision is being made".to_owned())
        }
    }
}

fn wake_for(draft: &mut Draft<'_>, found: &Assessment) {
    match found {
        Assessment::Watching { recheck } => draft.wake(*recheck),
        Assessment::Hold { recheck, .. } => draft.wakes.extend(*recheck),
        Assessment::Fine | Assessment::Fault(_) => {}
    }
}

fn steady(draft: &mut Draft<'_>, before: &MicroserviceStatus, stable: &str, held: Option<&Held>) -> Summary {
    if let Some(held) = held {
        let again = match held.retry_at {
            Some(at) => format!("; it is tried again at {}", seconds(at)),
            None => "; it is not tried again until the spec changes or a retry is asked for".to_owned(),
        };
        let message = format!(
            "{stable} serves; {} was taken back: {}: {}{again}",
            held.candidate, held.cause.reason, held.cause.message
        );
        let reason = match held.cause.blame {
            Blame::Candidate | Blame::Person | Blame::Superseded => "RolledBack",
            Blame::Environment => held.cause.reason.as_str(),
        };
        return Summary::stalled(reason, message);
    }
    let (ready, wanted) = (draft.counts(stable).ready, draft.wanted());
    match &draft.resolution {
        Resolution::Unresolved(missing) => return Summary::waiting(missing.reason, missing.message.clone()),
        Resolution::Revision(target) if target.name != stable => {
            let message = format!(
                "{stable} serves; {} goes out when replicas is more than 0",
                target.name
            );
            if wanted == 0 {
                return Summary::healthy(message, "Stopped");
            }
            return match held_back(draft, &target.name) {
                Some(HeldBack::Frozen(words)) => Summary::paused(format!(
                    "{stable} serves; {} goes out when the freeze is lifted: {words}",
                    target.name
                )),
                Some(HeldBack::Queued { ahead }) => Summary::progressing(
                    "Queued",
                    format!(
                        "{stable} serves; {} goes out when a rollout slot is free, {ahead} others wait before it",
                        target.name
                    ),
                ),
                Some(HeldBack::Routed(stable)) => Summary::progressing(
                    "RolloutPending",
                    format!(
                        "{stable} serves; {} goes out when the routes have left Service {stable} for Service {}",
                        target.name,
                        draft.observed.name()
                    ),
                ),
                Some(HeldBack::Unrouted(stable)) => Summary::progressing(
                    "RolloutPending",
                    format!(
                        "{stable} serves; {} goes out when Service {stable}, which routes are to lead to, has endpoints",
                        target.name
                    ),
                ),
                Some(HeldBack::Adopting(words)) => Summary::progressing(
                    "RolloutPending",
                    format!("{stable} serves; {} goes out after this: {words}", target.name),
                ),
                Some(HeldBack::Unweighable(words)) => Summary::stalled(
                    "WeightsRefused",
                    format!("{stable} serves; {} does not go out: {words}", target.name),
                ),
                None => Summary::progressing("RolloutPending", format!("{} is about to go out", target.name)),
            };
        }
        Resolution::Revision(_) => {}
    }
    if wanted == 0 {
        return Summary::healthy("stopped: replicas is 0".to_owned(), "Stopped");
    }
    if ready >= wanted {
        return Summary::healthy(
            format!("{stable} serves with {ready} of {wanted} pods"),
            "Healthy",
        );
    }
    let waiting = format!("{ready} of {wanted} pods of {stable} are ready");
    match draft.assess(stable, None, Traffic::Carrying) {
        Assessment::Fault(fault) => Summary::stalled(&fault.reason, format!("{waiting}: {}", fault.message)),
        found => {
            wake_for(draft, &found);
            let patience = patience(draft, before);
            draft.wake(patience);
            if patience <= draft.now {
                Summary::stalled("PodsNotReady", waiting)
            } else {
                Summary::waiting("PodsNotReady", waiting)
            }
        }
    }
}

/// Until when a service that is not ready is said to be waiting.
fn patience(draft: &Draft<'_>, before: &MicroserviceStatus) -> Timestamp {
    let seconds = draft
        .observed
        .spec()
        .operation
        .strategy()
        .progress_deadline_seconds();
    super::draft::later(unready_since(before).unwrap_or(draft.now), seconds)
}

/// Since when the service has not been ready.
fn unready_since(before: &MicroserviceStatus) -> Option<Timestamp> {
    let ready = before
        .conditions
        .iter()
        .find(|c| c.type_ == ConditionType::Ready.as_str())?;
    (ready.status == ConditionStatus::False.as_str()).then_some(ready.last_transition_time.0)
}

fn changing(draft: &mut Draft<'_>, change: &Change, reason: &str, wanted: &Desired) -> Summary {
    let waiting = wanted.waiting_for.clone().unwrap_or_default();
    let past_deadline =
        stepping::deadline(draft, change) <= draft.now && reason != "Baking" && !clock_stands(draft);
    match draft.judge(change) {
        Assessment::Fault(fault)
            if change.stable_health == StableHealth::Broken && !is_complete(draft, change) =>
        {
            Summary::stalled(
                "NoHealthyTarget",
                format!(
                    "{}: {}; {} did not serve before, so there is nothing to return to",
                    fault.reason, fault.message, change.stable
                ),
            )
        }
        Assessment::Hold { message, .. } => Summary::progressing(HELD, message),
        _ if change.stable_health == StableHealth::Broken && failed_work(draft, change).is_some() => {
            Summary::stalled("NoHealthyTarget", failed_work(draft, change).unwrap_or_default())
        }
        _ if past_deadline && change.stable_health == StableHealth::Broken => Summary::stalled(
            "NoHealthyTarget",
            deadline_fault(draft, &change.candidate).message,
        ),
        _ if draft.paused() => Summary::paused(format!(
            "{} replaces {}: paused by a person, until the annotation {} is taken away; then: {waiting}",
            change.candidate,
            change.stable,
            crate::api::annotations::PAUSE
        )),
        _ => {
            let message = format!("{} replaces {}: {waiting}", change.candidate, change.stable);
            match (&draft.situation.state, &change.course) {
                (State::Rolling(_), Course::Steps(position))
                    if stepping::waits_for_person(draft, change, position) =>
                {
                    Summary::paused(message)
                }
                _ => Summary::progressing(reason, message),
            }
        }
    }
}

/// What failed of a candidate's Jobs and hooks.
fn failed_work(draft: &Draft<'_>, change: &Change) -> Option<String> {
    [
        work::pre_deploy(draft, &change.candidate),
        work::hooks(draft, change),
    ]
    .into_iter()
    .find_map(|standing| match standing {
        WorkStanding::Failed(fault) => Some(format!(
            "{}: {}; {} did not serve before, so there is nothing to return to",
            fault.reason, fault.message, change.stable
        )),
        WorkStanding::Running(_) | WorkStanding::Done => None,
    })
}

fn returning(draft: &Draft<'_>, back: &Return, wanted: &Desired) -> Summary {
    let waiting = wanted.waiting_for.clone().unwrap_or_default();
    if draft.counts(&back.stable).ready == 0
        && let Some(fault) = home_fault(draft, back)
        && fault.blame == Blame::Candidate
    {
        let message = format!(
            "{} cannot serve either: {}: {}",
            back.stable, fault.reason, fault.message
        );
        return Summary::stalled("NoHealthyTarget", message);
    }
    let message = format!(
        "returning from {} to {}: {}: {}; waiting for {waiting}",
        back.candidate, back.stable, back.cause.reason, back.cause.message
    );
    if draft.deadline(back.progress) <= draft.now {
        return Summary::stalled("ReturnStuck", message);
    }
    Summary::progressing("RollingBack", message)
}

/// What overrules the state: a refused child, and suspension.
fn overruled(
    draft: &mut Draft<'_>,
    before: &MicroserviceStatus,
    wanted: &Desired,
    summary: Summary,
) -> Summary {
    let summary = match worst_refusal(draft.observed, wanted) {
        Some((class, message)) if summary.stalled.is_none() => match class {
            FailureClass::Invalid => Summary::stalled("ChildRefused", message),
            FailureClass::Forbidden => Summary::stalled("ChildForbidden", message),
            FailureClass::Foreign => Summary::stalled("NameTaken", message),
            FailureClass::Transient => Summary::waiting("ApiServerTrouble", message),
        },
        Some(_) | None => summary,
    };
    let summary = past_patience(draft, before, summary);
    if draft.suspended() {
        let message = format!("suspended; {}", summary.message);
        return Summary {
            phase: Phase::Suspended,
            message,
            ..summary
        };
    }
    summary
}

/// A dependency that has been missing for longer than the deadline is no progress any more.
fn past_patience(draft: &mut Draft<'_>, before: &MicroserviceStatus, summary: Summary) -> Summary {
    let missing =
        matches!(&draft.resolution, Resolution::Unresolved(missing) if missing.reason == summary.ready.1);
    if !missing || summary.reconciling.is_none() {
        return summary;
    }
    let patience = patience(draft, before);
    draft.wake(patience);
    if patience > draft.now {
        return summary;
    }
    let reason = summary.ready.1.clone();
    Summary::stalled(&reason, summary.message)
}

/// The gravest of what was refused, or cannot be written because the name is taken.
fn worst_refusal(observed: &Observed, wanted: &Desired) -> Option<(FailureClass, String)> {
    let taken = |key: &&ChildKey| adoption::is_in_the_way(observed, key);
    if observed
        .failures
        .values()
        .all(|failure| failure.class != FailureClass::Invalid)
        && let Some((kind, name)) = wanted.children.keys().find(taken)
    {
        let message = format!(
            "{} {name} exists, is not ours and is left alone: delete or rename it",
            kind.kind()
        );
        return Some((FailureClass::Foreign, message));
    }
    let rank = |class: FailureClass| match class {
        FailureClass::Invalid => 0,
        FailureClass::Foreign => 1,
        FailureClass::Forbidden => 2,
        FailureClass::Transient => 3,
    };
    let ((kind, name), failure) = observed
        .failures
        .iter()
        .min_by_key(|(key, f)| (rank(f.class), (*key).clone()))?;
    Some((
        failure.class,
        format!("{} {name}: {}", kind.kind(), failure.message),
    ))
}

// --- conditions

struct Conditions<'a> {
    before: &'a [Condition],
    generation: i64,
    now: Timestamp,
    all: Vec<Condition>,
}

impl Conditions<'_> {
    fn add(&mut self, type_: ConditionType, status: ConditionStatus, reason: &str, message: &str) {
        let same = self
            .before
            .iter()
            .find(|c| c.type_ == type_.as_str() && c.status == status.as_str());
        self.all.push(Condition {
            type_: type_.as_str().to_owned(),
            status: status.as_str().to_owned(),
            observed_generation: Some(self.generation),
            last_transition_time: same.map_or(Time(self.now), |c| c.last_transition_time.clone()),
            reason: reason.to_owned(),
            message: shortened(message),
        });
    }
}

fn add_available(draft: &Draft<'_>, ready: i32, conditions: &mut Conditions<'_>) {
    let (status, reason, message) = if ready > 0 {
        (ConditionStatus::True, "Serving", "ready pods carry the traffic")
    } else if draft.wanted() == 0 {
        (ConditionStatus::False, "Stopped", "replicas is 0")
    } else {
        (
            ConditionStatus::False,
            "NoReadyPod",
            "no pod that carries traffic is ready",
        )
    };
    conditions.add(ConditionType::Available, status, reason, message);
}

fn add_rolled_out(draft: &Draft<'_>, conditions: &mut Conditions<'_>) {
    let (status, reason, message) = match &draft.situation.state {
        State::Steady { stable, held: None } if draft.is_target(stable) => (
            ConditionStatus::True,
            "Promoted",
            format!("{stable} is what the spec asks for"),
        ),
        State::Steady { held: Some(held), .. } => (
            ConditionStatus::False,
            "RolledBack",
            format!("{} was taken back", held.candidate),
        ),
        State::Steady { .. } | State::Fresh => (
            ConditionStatus::False,
            "Pending",
            "what the spec asks for has not gone out".to_owned(),
        ),
        State::Starting { .. }
        | State::Rolling(_)
        | State::Promoting(_)
        | State::Baking(_)
        | State::Returning(_) => (
            ConditionStatus::False,
            "UnderWay",
            "a rollout is under way".to_owned(),
        ),
    };
    conditions.add(ConditionType::RolledOut, status, reason, &message);
}

/// One condition for each part that cannot be served; none where all is well.
fn add_parts(draft: &Draft<'_>, wanted: &Desired, conditions: &mut Conditions<'_>) {
    let observed = draft.observed;
    if !observed.unreadable.is_empty() {
        let message = observed.unreadable.join("; ");
        conditions.add(
            ConditionType::ChildrenApplied,
            ConditionStatus::False,
            "RecordUnreadable",
            &message,
        );
    } else if let Some((class, message)) = worst_refusal(observed, wanted) {
        let reason = match class {
            FailureClass::Invalid => "ChildRefused",
            FailureClass::Forbidden => "ChildForbidden",
            FailureClass::Foreign => "NameTaken",
            FailureClass::Transient => "ApiServerTrouble",
        };
        conditions.add(
            ConditionType::ChildrenApplied,
            ConditionStatus::False,
            reason,
            &message,
        );
    }
    if let Some(contest) = observed.contested.first() {
        let message = format!(
            "{} {} was changed by {} {} times in 10 minutes and put back each time: stop it, or change the Microservice instead",
            contest.child.0.kind(),
            contest.child.1,
            contest.manager,
            contest.times
        );
        conditions.add(
            ConditionType::ChildContested,
            ConditionStatus::True,
            "FieldsTaken",
            &message,
        );
    }
    if let Some((reason, message)) = route_trouble(observed, wanted) {
        conditions.add(
            ConditionType::RoutesReady,
            ConditionStatus::False,
            reason,
            &message,
        );
    }
    if let Some(message) = missing_kinds_of_monitoring(observed) {
        conditions.add(
            ConditionType::MonitoringReady,
            ConditionStatus::False,
            "KindMissing",
            &message,
        );
    }
    if let Some((reason, message)) = judging::trouble(draft).or_else(|| measuring::trouble(draft)) {
        conditions.add(
            ConditionType::AnalysisReady,
            ConditionStatus::False,
            reason,
            &message,
        );
    }
    if let Some(name) = observed.foreign_budgets.first() {
        let message = format!(
            "PodDisruptionBudget {name} selects these pods too, and two budgets block every eviction: remove it, or set disruptionBudget.mode Disabled"
        );
        conditions.add(
            ConditionType::DisruptionBudgetReady,
            ConditionStatus::False,
            "ForeignBudget",
            &message,
        );
    }
    if let Some((stable, ids)) = mutated_image(draft) {
        let message = format!(
            "pods of {stable} were made from different images of one name ({}): use a digest or a tag that is never \
             moved; a return to this revision goes out like any change",
            ids.join(", ")
        );
        conditions.add(
            ConditionType::ImageMutated,
            ConditionStatus::True,
            "TagMoved",
            &message,
        );
    }
    if let Some((status, reason, message)) = adoption::condition(draft) {
        conditions.add(ConditionType::Adopted, status, reason, &message);
    }
    if let Some((reason, message)) = managed_by_git(observed) {
        conditions.add(
            ConditionType::ReplicasManagedByGit,
            ConditionStatus::True,
            reason,
            &message,
        );
    }
    if let Some(message) = refresh_available(draft) {
        conditions.add(
            ConditionType::RefreshAvailable,
            ConditionStatus::True,
            "RenderedDifferently",
            &message,
        );
    }
}

fn route_trouble(observed: &Observed, wanted: &Desired) -> Option<(&'static str, String)> {
    let exposure = &observed.spec().exposure;
    for route in &exposure.routes {
        let (kind, whose) = match (&route.gateway, &route.istio) {
            (Some(gateway), _) => match gateway.kind.unwrap_or_default() {
                crate::api::GatewayKind::HttpRoute => (ChildKind::HttpRoute, "the Gateway API"),
                crate::api::GatewayKind::GrpcRoute => (ChildKind::GrpcRoute, "the Gateway API"),
            },
            (None, Some(_)) => (ChildKind::VirtualService, "Istio"),
            (None, None) => continue,
        };
        if !observed.served_kinds.contains(&kind) {
            return Some((
                "KindMissing",
                format!(
                    "this cluster does not serve {}: install {whose}'s CRDs",
                    kind.kind()
                ),
            ));
        }
    }
    if let Some(conflict) = observed.route_conflicts.first() {
        return Some(("RouteConflict", conflict.clone()));
    }
    let refused = wanted
        .children
        .keys()
        .filter(|(kind, _)| matches!(kind, ChildKind::HttpRoute | ChildKind::GrpcRoute))
        .find_map(|key| {
            let live = observed.children.get(key)?;
            let parents = live.object.pointer("/status/parents")?.as_array()?;
            parents.iter().find_map(|parent| refused_by(&key.1, parent))
        });
    let strategy = observed.spec().operation.strategy();
    refused.or_else(|| {
        let unsupported = refusals(&crate::render::Exposure::of(exposure), &strategy);
        (!unsupported.is_empty()).then(|| ("Unsupported", unsupported.join("; ")))
    })
}

/// Why a parent does not take a route.
fn refused_by(route: &str, parent: &serde_json::Value) -> Option<(&'static str, String)> {
    let conditions = parent.get("conditions")?.as_array()?;
    let text = |value: &serde_json::Value, key: &str| {
        value
            .get(key)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let bad = conditions.iter().find(|c| {
        matches!(text(c, "type").as_str(), "Accepted" | "ResolvedRefs") && text(c, "status") == "False"
    })?;
    let gateway = parent
        .pointer("/parentRef/name")
        .and_then(|v| v.as_str())
        .unwrap_or_default();
    Some((
        "NotAccepted",
        format!(
            "{gateway} does not take route {route}: {}: {}",
            text(bad, "reason"),
            text(bad, "message")
        ),
    ))
}

/// What of the monitoring this cluster does not serve, in words.
fn missing_kinds_of_monitoring(observed: &Observed) -> Option<String> {
    let spec = observed.spec();
    let monitoring = spec.operation.monitoring.as_ref()?;
    let exposure = crate::render::Exposure::of(&spec.exposure);
    let identity = Identity::of(&observed.service, observed.namespace());
    let monitor = crate::render::monitor(&identity, monitoring, &exposure, crate::render::Scraped::Root);
    let rules = crate::render::wants_rules(spec).then_some(ChildKind::PrometheusRule);
    let wanted = [
        (monitor.map(|child| child.kind), "set monitoring.kind"),
        (
            rules,
            "set monitoring.objectiveAlerts to Disabled and leave out monitoring.alerts and monitoring.dashboard",
        ),
    ];
    let missing = wanted.into_iter().filter_map(|(kind, otherwise)| {
        let kind = kind.filter(|kind| !observed.served_kinds.contains(kind))?;
        Some(format!(
            "this cluster does not serve {}: install the Prometheus operator's CRDs, or {otherwise}",
            kind.kind()
        ))
    });
    let missing: Vec<String> = missing.collect();
    (!missing.is_empty()).then(|| missing.join("; "))
}

/// The stable revision and its digests, where it has more than one.
fn mutated_image<'a>(draft: &'a Draft<'_>) -> Option<(&'a str, Vec<String>)> {
    let stable = draft.situation.state.stable()?;
    let ids = draft.image_ids(stable);
    (ids.len() > 1).then_some((stable, ids))
}

fn refresh_available(draft: &Draft<'_>) -> Option<String> {
    let stable = draft.records.get(draft.situation.state.stable()?)?;
    if stable.data.rendered_by == env!("CARGO_PKG_VERSION") {
        return None;
    }
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    let mut today = stable.data.clone();
    today.template = pod_template(
        &identity,
        &stable.name,
        &stable.data.input,
        &stable.data.snapshots,
    );
    (today.template != stable.data.template).then(|| {
        format!(
            "{} was rendered by {}; this operator would make it differently: {}",
            stable.name,
            stable.data.rendered_by,
            changes(&stable.data, &today)
        )
    })
}

// --- lists

fn revisions(draft: &Draft<'_>, wanted: &Desired) -> Vec<RevisionStatus> {
    let state = &draft.situation.state;
    let role = |name: &str| {
        if state.stable() == Some(name) {
            Some(Role::Stable)
        } else if state.live().contains(&name) {
            Some(Role::Candidate)
        } else {
            (draft.situation.previous.as_deref() == Some(name)).then_some(Role::Previous)
        }
    };
    let mut records: Vec<&Record> = draft
        .records
        .values()
        .filter(|r| wanted.records.contains(&r.name))
        .collect();
    // The live ones first, then the newest.
    records.sort_by_key(|r| {
        (
            !state.live().contains(&r.name.as_str()),
            std::cmp::Reverse(r.number),
        )
    });
    records.truncate(REVISIONS);
    records
        .into_iter()
        .map(|record| revision(draft, wanted, record, role(&record.name)))
        .collect()
}

fn revision(draft: &Draft<'_>, wanted: &Desired, record: &Record, role: Option<Role>) -> RevisionStatus {
    let counts = draft.counts(&record.name);
    let before = draft
        .records
        .values()
        .filter(|r| r.number < record.number)
        .max_by_key(|r| r.number);
    RevisionStatus {
        name: record.name.clone(),
        image: record.image().to_owned(),
        image_ids: draft.image_ids(&record.name),
        replicas: counts.live,
        ready: counts.ready,
        weight: weight(draft, wanted, &record.name),
        role,
        rejected: record.notes.rejected.as_ref().map(|note| Verdict {
            seq: note.seq,
            reason: note.reason.clone(),
            message: shortened(&note.message),
        }),
        changes: before.map(|before| shortened(&changes(&before.data, &record.data))),
        rendered_by: Some(record.data.rendered_by.clone()),
    }
}

/// The share of the traffic that a revision gets, in percent.
fn weight(draft: &Draft<'_>, wanted: &Desired, revision: &str) -> i32 {
    if let Some(routes) = &wanted.routes {
        return routes.weight(revision);
    }
    match &wanted.traffic {
        TrafficTarget::Nobody => 0,
        TrafficTarget::Only(only) => {
            if only == revision {
                100
            } else {
                0
            }
        }
        TrafficTarget::Shared => {
            let live = draft.situation.state.live();
            let total: i32 = live.iter().map(|name| draft.counts(name).ready).sum();
            let ready = if live.contains(&revision) {
                draft.counts(revision).ready
            } else {
                0
            };
            if total == 0 {
                0
            } else {
                (ready * 100 + total / 2) / total
            }
        }
    }
}

fn rollout(draft: &Draft<'_>, wanted: &Desired) -> Option<RolloutStatus> {
    let mut status = draft.situation.write()?;
    status.checks = checks::written(draft, status.cause.is_some());
    status.waiting_for = wanted.waiting_for.as_deref().map(shortened);
    if let Some(cause) = &mut status.cause {
        cause.message = shortened(&cause.message);
    }
    if let State::Rolling(change) = &draft.situation.state {
        status.promote = stepping::promote_value(draft, change);
    }
    if let State::Rolling(change) | State::Promoting(change) = &draft.situation.state {
        let deadline = stepping::deadline(draft, change);
        status.deadline = (!clock_stands(draft) && deadline < Timestamp::MAX).then_some(Time(deadline));
        let steps = i32::try_from(draft.goals().len()).unwrap_or(i32::MAX);
        match &change.course {
            Course::Steps(position) => {
                status.of = Some(steps);
                if position.stage == Stage::Growing {
                    status.step = Some(steps);
                }
            }
            Course::Exchange | Course::FullSize => {
                status.step = Some(1);
                status.of = Some(1);
            }
        }
    }
    if let Some(candidate) = draft
        .situation
        .state
        .candidate()
        .filter(|c| draft.situation.state.live().contains(c))
    {
        status.effective_weight = weight(draft, wanted, candidate);
        status.weight = match &draft.situation.state {
            State::Rolling(Change {
                course: Course::Steps(position),
                ..
            }) => position.weight,
            State::Rolling(change) if draft.pace(&change.stable, &change.candidate) == Pace::FullSize => 0,
            State::Fresh | State::Steady { .. } => 0,
            State::Returning(back) => back.weight,
            State::Starting { .. } | State::Rolling(_) | State::Promoting(_) | State::Baking(_) => 100,
        };
    }
    Some(status)
}

fn commands(draft: &Draft<'_>, before: &MicroserviceStatus) -> Vec<crate::api::CommandStatus> {
    let mut commands = before.commands.clone();
    commands.retain(|c| !super::commands::withdrawn(draft.observed, &c.verb));
    for done in &draft.commands {
        commands.retain(|c| c.verb != done.verb);
        commands.push(done.clone());
    }
    commands
}

fn history(draft: &Draft<'_>, before: &MicroserviceStatus) -> Vec<HistoryEntry> {
    let mut history = draft.ended.clone();
    history.reverse();
    history.extend(before.history.iter().cloned());
    // Its key in the schema: twice the same, and nothing could be written any more.
    let mut seen = std::collections::BTreeSet::new();
    history.retain(|entry| seen.insert(entry.seq));
    history.truncate(HISTORY);
    history
}

fn inventory(wanted: &Desired) -> Vec<InventoryEntry> {
    let entries = wanted.children.keys().map(|(kind, name)| InventoryEntry {
        group: kind.group().to_owned(),
        kind: kind.kind().to_owned(),
        name: name.clone(),
    });
    entries.take(INVENTORY).collect()
}

/// At most [`MESSAGE_BYTES`], cut between characters.
pub fn shortened(text: &str) -> String {
    cut(text, MESSAGE_BYTES)
}

/// At most so many bytes, cut between characters.
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = (0..=bytes.saturating_sub(3))
        .rev()
        .find(|i| text.is_char_boundary(*i))
        .unwrap_or(0);
    format!("{}...", &text[..end])
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

// --- is it worth a write

/// Whether `after` says something that `before` does not.
pub fn worth(before: Option<&MicroserviceStatus>, after: &MicroserviceStatus) -> Worth {
    let Some(before) = before else { return Worth::News };
    let known = |id: &str| before.notifications.iter().any(|entry| entry.id == id);
    if !after.notifications.iter().all(|entry| known(&entry.id)) {
        return Worth::News;
    }
    if without_counts(before) != without_counts(after) {
        Worth::News
    } else if without_times(before) != without_times(after) {
        Worth::Counts
    } else {
        Worth::Nothing
    }
}

fn without_times(status: &MicroserviceStatus) -> MicroserviceStatus {
    let mut status = status.clone();
    for condition in &mut status.conditions {
        condition.last_transition_time = Time(Timestamp::UNIX_EPOCH);
    }
    status
}

/// What is left when numbers that change by themselves while pods come and go are taken out.
fn without_counts(status: &MicroserviceStatus) -> MicroserviceStatus {
    let mut status = without_times(status);
    let under_way = status.phase == Some(Phase::Progressing);
    // What is new among them is news; that somebody was told may wait.
    status.notifications.clear();
    if let Some(rollout) = &mut status.rollout {
        rollout.effective_weight = 0;
        rollout.progress_at = None;
        rollout.ready_high = 0;
        rollout.deadline = None;
        rollout.waiting_for = None;
        rollout.wavering_since = None;
        for check in &mut rollout.checks {
            check.value = None;
            check.baseline = None;
            check.samples = 0;
            check.message = None;
        }
    }
    for revision in &mut status.revisions {
        revision.replicas = 0;
        revision.ready = 0;
        revision.weight = 0;
        revision.image_ids.clear();
    }
    status.replicas = 0;
    status.ready_replicas = 0;
    status.ready = None;
    if under_way {
        status.message = None;
        for condition in &mut status.conditions {
            condition.message.clear();
        }
        // Served or not while pods come: the next write says it soon enough, the end of the rollout at once.
        status
            .conditions
            .retain(|c| c.type_ != ConditionType::Available.as_str());
    }
    status
}
