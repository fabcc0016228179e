//! What objects a situation wants, whatever lives: the same situation always wants the same.

use std::collections::{BTreeMap, BTreeSet};

use super::adoption;
use super::draft::{Draft, later};
use super::judging;
use super::measuring;
use super::observed::{ChildKey, Ownership};
use super::plan::Call;
use super::replicas::{Pace, Room, Size, SizeTargets, exchange, go_home, stand_still, towards};
use super::state::{Change, Course, Position, Return, Stage, State};
use super::stepping::{self, StepStanding};
use super::steps::{Goal, goal_at};
use super::traffic::{RevisionShare, RouteTarget, RoutesStanding};
use super::transition::clock_stands;
use super::work::{self, WantedWork, WorkStanding};
use serde_json::Value;

use crate::api::{KeepPrevious, StableScale, StrategyType, labels};
use crate::health::{Assessment, Scheduling, Standing};
use crate::render::{self, Child, Compatibility, Exposure, Identity, Selection, compatibility};
use crate::revision::Record;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The objects.
    pub children: BTreeMap<ChildKey, Child>,
    /// The records that are kept, with their notes.
    pub records: BTreeSet<String>,
    /// How many pods each live revision is to have.
    pub sizes: BTreeMap<String, i32>,
    /// Which revisions the root Service leads to.
    pub traffic: TrafficTarget,
    /// Which revisions the routes lead to, where they split the traffic; else they lead to the root Service.
    pub routes: Option<RouteTarget>,
    /// Whether the routes have been as they are for so long that nothing comes from an earlier form of them.
    pub routes_rest: bool,
    /// What is waited for, in words.
    pub waiting_for: Option<String>,
    /// Addresses that routes give the service.
    pub urls: Vec<String>,
    /// The call that is to be under way.
    pub call: Option<Call>,
    /// The live revisions whose pods have fewer labels than those that the operator makes.
    pub adopted: BTreeSet<String>,
}

/// Which revisions get traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrafficTarget {
    /// None yet.
    Nobody,
    /// One.
    Only(String),
    /// Both live ones, by the number of their ready pods.
    Shared,
}

impl Desired {
    /// Whether `revision` gets traffic, by the root Service or by a route.
    pub fn carries(&self, revision: &str) -> bool {
        self.traffic.includes(revision)
            || self
                .routes
                .as_ref()
                .is_some_and(|routes| routes.includes(revision))
    }

    /// Whether pods of `revision` count among those that carry the service.
    pub fn counts(&self, revision: &str) -> bool {
        self.traffic.includes(revision)
            || self
                .routes
                .as_ref()
                .is_some_and(|routes| routes.weight(revision) > 0)
    }

    /// The label selector of the pods that get traffic. What an autoscaler measures: the pods of a candidate that gets
    /// no share of it yet would only thin the average.
    pub fn selector(&self, service: &str) -> Option<String> {
        let carrying = || self.sizes.keys().filter(|revision| self.counts(revision));
        if carrying().any(|revision| self.adopted.contains(revision)) {
            let all: Vec<&str> = carrying().map(String::as_str).collect();
            return Some(adoption::selector_of(&all));
        }
        let mut carrying = carrying();
        match (carrying.next(), carrying.next()) {
            (None, _) => None,
            (Some(only), None) => Some(labels::revision_selector(service, only)),
            (Some(_), Some(_)) => Some(labels::service_selector(service)),
        }
    }
}

impl TrafficTarget {
    /// Whether `revision` gets traffic.
    pub fn includes(&self, revision: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::Only(only) => only == revision,
            Self::Shared => true,
        }
    }
}

/// How many pods each live revision is to have, who gets traffic, and what is waited for.
struct Allocation {
    sizes: BTreeMap<String, i32>,
    traffic: TrafficTarget,
    routes: Option<RouteTarget>,
    waiting_for: Option<String>,
}

/// What the situation of `draft` wants.
pub fn desired(draft: &Draft<'_>) -> Desired {
    let Allocation {
        sizes,
        traffic,
        routes,
        waiting_for,
    } = allocate(draft);
    let ways = Ways {
        root: &traffic,
        routes: routes.as_ref(),
    };
    let records = kept_records(draft);
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    let exposure = exposure(draft, &traffic);
    let mut children = Vec::new();
    for name in &records {
        if let Some(record) = draft.records.get(name) {
            children.push(render::record(&identity, &with_exposure(draft, record)));
        }
    }
    // What two revisions share is the newcomer's: its pods are the ones that start.
    let coming = draft.situation.state.coming();
    let (newcomer, others): (Vec<_>, Vec<_>) =
        sizes.iter().partition(|(name, _)| Some(name.as_str()) == coming);
    for (name, replicas) in others.into_iter().chain(newcomer) {
        if let Some(record) = draft.records.get(name) {
            children.extend(revision_children(draft, &identity, record, *replicas, ways));
        }
    }
    children.extend(service_children(draft, &identity, &exposure, ways));
    let WantedWork { job, call } = work::wanted(draft);
    children.extend(job);
    children.extend(measuring::jobs(draft));
    Desired {
        children: children
            .into_iter()
            .map(|child| ((child.kind, child.name.clone()), child))
            .collect(),
        adopted: records
            .iter()
            .filter(|name| draft.records.get(*name).is_some_and(|r| r.data.adopted.is_some()))
            .cloned()
            .collect(),
        records,
        sizes,
        traffic,
        routes,
        routes_rest: draft.routes_rest(),
        waiting_for,
        urls: render::urls(&exposure),
        call,
    }
}

/// Who gets traffic, by which way.
#[derive(Clone, Copy)]
struct Ways<'a> {
    /// By the root Service.
    root: &'a TrafficTarget,
    /// By the routes, where they split.
    routes: Option<&'a RouteTarget>,
}

/// The objects of one live revision.
fn revision_children(
    draft: &Draft<'_>,
    identity: &Identity<'_>,
    record: &Record,
    replicas: i32,
    ways: Ways<'_>,
) -> Vec<Child> {
    let mut children = vec![render::deployment(identity, record, replicas)];
    children.extend(render::config_maps(identity, record));
    let copies = draft.observed.secret_copies.iter().filter(|copy| {
        record
            .data
            .snapshots
            .iter()
            .any(|s| s.source.copy_name(&record.name) == copy.name)
    });
    children.extend(copies.cloned());
    children.extend(render::service_account(identity, &record.data.input));
    if ways.routes.is_some() {
        let service = render::revision_service(identity, &record.name, &own_exposure(draft, record));
        let selector = record.pod_selector(identity.name);
        children.extend(service.map(|service| render::selecting(service, &selector)));
    }
    if ways.root.includes(&record.name) || ways.routes.is_some_and(|routes| routes.includes(&record.name)) {
        let operation = &draft.observed.spec().operation;
        let fewest = operation
            .autoscaling
            .as_ref()
            .map_or(draft.wanted(), |a| a.min_replicas.min(draft.wanted()));
        children.extend(render::disruption_budget(identity, record, operation, fewest));
    }
    children
}

/// The objects that all revisions share.
fn service_children(
    draft: &Draft<'_>,
    identity: &Identity<'_>,
    exposure: &Exposure,
    ways: Ways<'_>,
) -> Vec<Child> {
    let operation = &draft.observed.spec().operation;
    let mut children = Vec::new();
    let selection = match ways.root {
        TrafficTarget::Nobody => None,
        TrafficTarget::Only(revision) => Some(Selection::Revision(revision)),
        TrafficTarget::Shared => Some(Selection::AllRevisions),
    };
    if let Some(selection) = selection {
        let service = render::service(identity, exposure, selection);
        children.extend(service.map(|service| root_service(draft, ways.root, service)));
        let split = ways.routes.map(|routes| draft.split(routes));
        let routes = crate::traffic::routes(identity, exposure, draft.router(), split.as_ref());
        children.extend(routes);
        children.extend(preview(draft, identity));
        children.extend(render::network_policy(identity, exposure));
    }
    if let Some(autoscaling) = &operation.autoscaling
        && draft.wanted() > 0
    {
        children.push(render::horizontal_pod_autoscaler(identity, autoscaling));
    }
    if let Some(monitoring) = &operation.monitoring {
        let scraped = match ways.routes {
            Some(_) => render::Scraped::Revisions,
            None => render::Scraped::Root,
        };
        children.extend(render::monitor(identity, monitoring, exposure, scraped));
    }
    children.extend(render::prometheus_rule(identity, draft.observed.spec()));
    children.extend(render::dashboard(identity, draft.observed.spec()));
    children.retain(|child| {
        child.kind.presence() == render::KindPresence::Always
            || draft.observed.served_kinds.contains(&child.kind)
    });
    children
}

/// The root Service, as far as it has to differ for an adopted revision: that one's pods have fewer labels, and a single
/// port without a name stays so, because callers would be refused while its endpoints get theirs.
fn root_service(draft: &Draft<'_>, root: &TrafficTarget, mut service: Child) -> Child {
    let found = adoption::adoptable(draft.observed, &(service.kind, service.name.clone()));
    let live = draft
        .root_service()
        .filter(|live| live.ownership != Ownership::Foreign);
    if let Some(live) = live.or(found)
        && let Some([port]) = live
            .object
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .map(Vec::as_slice)
        && port.get("name").is_none()
        && let Some([only]) = service
            .object
            .pointer_mut("/spec/ports")
            .and_then(Value::as_array_mut)
            .map(Vec::as_mut_slice)
        && only.get("port") == port.get("port")
        && let Some(fields) = only.as_object_mut()
    {
        fields.remove("name");
    }
    let only = match root {
        TrafficTarget::Only(only) => only,
        TrafficTarget::Nobody | TrafficTarget::Shared => return service,
    };
    let adopted = draft
        .records
        .get(only)
        .filter(|record| record.data.adopted.is_some());
    match (adoption::old_selector(draft, only), adopted) {
        (Some(selector), _) => render::selecting(service, selector),
        (None, Some(record)) => render::selecting(service, &record.pod_selector(draft.observed.name())),
        (None, None) => service,
    }
}

/// How the live revisions are reached together: the stable one's word counts where the two disagree. Where one port of
/// the Service would have to lead to different ports, it leads to that of whoever gets the traffic.
pub fn exposure(draft: &Draft<'_>, traffic: &TrafficTarget) -> Exposure {
    let state = &draft.situation.state;
    let found = |name: &str| draft.records.get(name).map(|record| draft.exposure_of(record));
    let live = state.live();
    let (stable, candidate) = match live.as_slice() {
        [stable, candidate] => (found(stable), found(candidate)),
        [only] => (found(only), None),
        _ => (None, None),
    };
    match (stable, candidate) {
        (Some(stable), Some(candidate)) => {
            let union = Exposure::union(&stable, &candidate);
            let flipped = live
                .get(1)
                .is_some_and(|name| *traffic == TrafficTarget::Only((*name).to_owned()));
            if !flipped || compatibility(&stable, &candidate) == Compatibility::Together {
                return union;
            }
            let Exposure {
                ports,
                container_ports,
                ..
            } = Exposure::union(&candidate, &stable);
            Exposure {
                ports,
                container_ports,
                ..union
            }
        }
        (Some(only), None) | (None, Some(only)) => Exposure::of(&only),
        (None, None) => Exposure::of(&draft.observed.spec().exposure),
    }
}

/// How one revision is reached by a Service of its own: with the ports of all that live, so that a route can lead to any
/// of them by the same number, and its own word where they disagree.
fn own_exposure(draft: &Draft<'_>, record: &Record) -> Exposure {
    let own = draft.exposure_of(record);
    let live = draft.situation.state.live();
    let other = live.into_iter().find(|name| *name != record.name);
    match other.and_then(|name| draft.records.get(name)) {
        Some(other) => Exposure::union(&own, &draft.exposure_of(other)),
        None => Exposure::of(&own),
    }
}

/// The Service by which a new colour is seen before the switch; in peace it leads to the stable one, so that who uses
/// it always gets an answer.
fn preview(draft: &Draft<'_>, identity: &Identity<'_>) -> Option<Child> {
    if !draft.observed.spec().operation.strategy().has_preview() {
        return None;
    }
    let state = &draft.situation.state;
    let shown = match state {
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => &change.candidate,
        State::Fresh => return None,
        State::Starting { candidate, .. } => candidate,
        State::Steady { stable, .. } => stable,
        State::Returning(back) => &back.stable,
    };
    let record = draft.records.get(shown)?;
    let service = render::preview_service(identity, shown, &own_exposure(draft, record))?;
    Some(render::selecting(service, &record.pod_selector(identity.name)))
}

/// The record with the fields of scope A that are in force for it.
fn with_exposure(draft: &Draft<'_>, record: &Record) -> Record {
    let mut record = record.clone();
    if draft.situation.state.live().contains(&record.name.as_str()) {
        record.notes.exposure = Some(draft.exposure_of(&record));
    }
    record
}

/// The records to keep: of what lives, of the revision before, and of the newest others up to the history limit.
fn kept_records(draft: &Draft<'_>) -> BTreeSet<String> {
    let state = &draft.situation.state;
    let mut kept: BTreeSet<String> = state.live().into_iter().map(str::to_owned).collect();
    kept.extend(draft.situation.previous.clone());
    // What the spec asks for and is held back carries the verdict, and what a person asks for is about to be used.
    kept.extend(state.candidate().map(str::to_owned));
    kept.extend(draft.target().map(|target| target.name.clone()));
    kept.extend(kept.clone().iter().filter_map(|name| draft.rollback_to(name)));
    let mut others: Vec<&Record> = draft
        .records
        .values()
        .filter(|r| !kept.contains(&r.name))
        .collect();
    others.sort_by_key(|record| std::cmp::Reverse(record.number));
    let limit = draft.observed.spec().operation.revision_history_limit();
    let others: Vec<String> = others.into_iter().take(limit).map(|r| r.name.clone()).collect();
    kept.extend(others);
    kept.retain(|name| draft.records.contains_key(name));
    kept
}

fn allocate(draft: &Draft<'_>) -> Allocation {
    let wanted = draft.wanted();
    match &draft.situation.state {
        State::Fresh => Allocation {
            sizes: BTreeMap::new(),
            traffic: TrafficTarget::Nobody,
            routes: None,
            waiting_for: None,
        },
        State::Starting { candidate, .. } => starting(draft, candidate),
        State::Steady { stable, .. } => alone(draft, stable, wanted),
        State::Rolling(change) if before_pods(draft, &change.candidate).is_some() => Allocation {
            sizes: both(
                &change.stable,
                &change.candidate,
                SizeTargets {
                    leaving: wanted,
                    coming: 0,
                },
            ),
            waiting_for: before_pods(draft, &change.candidate),
            ..alone(draft, &change.stable, wanted)
        },
        State::Rolling(change) => match &change.course {
            Course::Steps(position) => stepping(draft, change, position),
            Course::Exchange | Course::FullSize => rolling(draft, change),
        },
        State::Promoting(change) => promoting(draft, change),
        State::Baking(change) => baking(draft, change),
        State::Returning(back) => returning(draft, back),
    }
}

fn alone(draft: &Draft<'_>, revision: &str, wanted: i32) -> Allocation {
    Allocation {
        sizes: BTreeMap::from([(revision.to_owned(), wanted)]),
        traffic: TrafficTarget::Only(revision.to_owned()),
        routes: routes_only(draft, revision),
        waiting_for: None,
    }
}

/// All traffic of the routes to one revision, where they lead to revisions at all.
fn routes_only(draft: &Draft<'_>, revision: &str) -> Option<RouteTarget> {
    draft.by_routes().then(|| RouteTarget::only(revision))
}

/// No pod yet, because Jobs come first.
fn before_pods(draft: &Draft<'_>, revision: &str) -> Option<String> {
    match work::pre_deploy(draft, revision) {
        WorkStanding::Done => None,
        WorkStanding::Running(words) => Some(words),
        WorkStanding::Failed(fault) => Some(fault.message),
    }
}

fn starting(draft: &Draft<'_>, candidate: &str) -> Allocation {
    if let Some(words) = before_pods(draft, candidate) {
        return Allocation {
            waiting_for: Some(words),
            ..alone(draft, candidate, 0)
        };
    }
    let stray = draft.stray_pods();
    if stray > 0 && draft.strategy_type() == StrategyType::Recreate {
        let waiting_for = Some(format!("{stray} pods of other revisions to end"));
        return Allocation {
            waiting_for,
            ..alone(draft, candidate, draft.size(candidate).asked.min(draft.wanted()))
        };
    }
    Allocation {
        waiting_for: Some(pods_ready(draft, candidate)),
        ..alone(draft, candidate, draft.wanted())
    }
}

/// One of two revisions: the `first` one, unless only the `second` one has ready pods.
fn serving(draft: &Draft<'_>, first: &str, second: &str) -> TrafficTarget {
    let second_alone = draft.counts(first).ready == 0 && draft.counts(second).ready > 0;
    TrafficTarget::Only(if second_alone { second } else { first }.to_owned())
}

/// The size of a revision as those who would rely on its pods see it.
fn size_in_traffic(draft: &Draft<'_>, revision: &str) -> Size {
    let size = draft.size(revision);
    if draft.reaches(revision) {
        size
    } else {
        size.unreached()
    }
}

fn both(leaving: &str, coming: &str, targets: SizeTargets) -> BTreeMap<String, i32> {
    BTreeMap::from([
        (leaving.to_owned(), targets.leaving),
        (coming.to_owned(), targets.coming),
    ])
}

fn pods_ready(draft: &Draft<'_>, revision: &str) -> String {
    format!(
        "{} of {} pods of {revision} are ready",
        draft.counts(revision).ready,
        draft.wanted()
    )
}

fn rolling(draft: &Draft<'_>, change: &Change) -> Allocation {
    let (stable, candidate) = (&change.stable, &change.candidate);
    let (old, new) = (draft.size(stable), draft.size(candidate));
    let pace = draft.pace(stable, candidate);
    let stray = draft.stray_pods();
    if stray > 0 || clock_stands(draft) {
        let traffic = match pace {
            Pace::Lots(_) if stray == 0 => TrafficTarget::Shared,
            Pace::OneAtATime if new.asked > 0 => TrafficTarget::Only(candidate.clone()),
            Pace::Lots(_) | Pace::FullSize | Pace::OneAtATime => serving(draft, stable, candidate),
        };
        return Allocation {
            sizes: both(stable, candidate, stand_still(pace, draft.wanted(), old, new)),
            routes: routes_only(draft, serving_name(&traffic, stable)),
            traffic,
            waiting_for: (stray > 0).then(|| format!("{stray} pods of other revisions to end")),
        };
    }
    let (traffic, waiting_for) = match pace {
        Pace::Lots(_) => (TrafficTarget::Shared, pods_ready(draft, candidate)),
        Pace::FullSize => (serving(draft, stable, candidate), pods_ready(draft, candidate)),
        Pace::OneAtATime if new.asked > 0 => (
            TrafficTarget::Only(candidate.clone()),
            pods_ready(draft, candidate),
        ),
        Pace::OneAtATime => {
            let ending = old.counts.live + old.counts.terminating;
            (
                TrafficTarget::Only(stable.clone()),
                format!("{ending} pods of {stable} to end"),
            )
        }
    };
    // Pods that callers cannot get to make up for none of those that leave.
    let new = if matches!(pace, Pace::Lots(_)) {
        size_in_traffic(draft, candidate)
    } else {
        new
    };
    Allocation {
        sizes: both(stable, candidate, exchange(pace, draft.wanted(), old, new)),
        routes: routes_only(draft, serving_name(&traffic, stable)),
        traffic,
        waiting_for: Some(waiting_for),
    }
}

/// The one revision that gets the traffic; where it is shared, `stable`.
fn serving_name<'a>(traffic: &'a TrafficTarget, stable: &'a str) -> &'a str {
    match traffic {
        TrafficTarget::Only(only) => only,
        TrafficTarget::Nobody | TrafficTarget::Shared => stable,
    }
}

/// Pods that the stable revision needs for a goal. With Follow they are what its share needs, at least one.
pub fn stable_pods(draft: &Draft<'_>, change: &Change, goal: &Goal) -> i32 {
    let wanted = draft.wanted();
    if !draft.by_routes() {
        return stepping::share(draft, change, goal).stable;
    }
    match draft.observed.spec().operation.strategy().stable_scale() {
        StableScale::Full => wanted,
        StableScale::Follow => (((100 - goal.weight) * wanted + 99) / 100).max(1),
    }
}

/// What a step wants: pods first, then traffic; and where traffic goes down, traffic first.
fn stepping(draft: &Draft<'_>, change: &Change, position: &Position) -> Allocation {
    let goals = draft.goals();
    let goal = goal_at(&goals, position);
    let present = stepping::given(draft, change, position, &goal);
    let present = present.as_ref();
    let (sizes, traffic) = if draft.by_routes() || !draft.served() {
        let sizes = step_sizes(draft, change, position, &goal);
        (sizes, serving(draft, &change.stable, &change.candidate))
    } else {
        let (sizes, traffic) = step_by_pods(draft, change, position, &goal, present);
        let moving = position.in_force_at.is_none();
        (
            if moving && clock_stands(draft) {
                at_rest(draft, change, sizes)
            } else {
                sizes
            },
            traffic,
        )
    };
    let routes = draft.by_routes().then(|| match present {
        _ if draft.counts(&change.candidate).ready > 0 && takes_nothing(draft, change) => {
            RouteTarget::only(&change.candidate)
        }
        Some(goal) => stepping::route_target(change, goal),
        None => RouteTarget::only(&change.stable),
    });
    Allocation {
        sizes: both(&change.stable, &change.candidate, sizes),
        traffic,
        routes,
        waiting_for: Some(step_words(draft, change, position, &goal, goals.len())),
    }
}

/// Whether the stable revision can take no traffic: nothing of it is ready, or what is ready again after the routes have
/// left it is not known to them yet.
fn takes_nothing(draft: &Draft<'_>, change: &Change) -> bool {
    let left = draft.weight_by_routes(&change.candidate) >= 100;
    draft.counts(&change.stable).ready == 0 || (left && draft.endpoints_of(&change.stable) == 0)
}

/// Sizes while nothing is to move: what there is, and more of the stable revision where more is wanted altogether.
fn at_rest(draft: &Draft<'_>, change: &Change, towards: SizeTargets) -> SizeTargets {
    let (old, new) = (
        draft.size(&change.stable).asked,
        draft.size(&change.candidate).asked,
    );
    if draft.wanted() == 0 {
        return towards;
    }
    SizeTargets {
        leaving: old.max(draft.wanted() - new),
        coming: new,
    }
}

/// Sizes where routes split the traffic, or nothing does.
fn step_sizes(draft: &Draft<'_>, change: &Change, position: &Position, goal: &Goal) -> SizeTargets {
    let share = stepping::share(draft, change, goal);
    let (old, new) = (draft.size(&change.stable), draft.size(&change.candidate));
    let settled = position.in_force_at.is_some();
    // A share that went down to nothing: what is on its way is still to be answered.
    let left = settled && (!draft.by_routes() || goal.sends_requests() || draft.routes_rest());
    let needed = match position.stage {
        // Whatever the promotion lands on, its pods are the candidate's.
        Stage::Growing => stable_pods(draft, change, goal).min(old.asked.max(1)),
        Stage::Step { .. } => stable_pods(draft, change, goal),
    };
    SizeTargets {
        // Nobody loses pods before the traffic that they carry is known to have moved.
        leaving: if !draft.by_routes() || settled {
            needed
        } else {
            needed.max(old.asked.min(draft.wanted()))
        },
        coming: if left {
            share.candidate
        } else {
            share.candidate.max(new.asked.min(draft.wanted()))
        },
    }
}

/// Sizes and the root Service where it splits the traffic by numbers of pods.
fn step_by_pods(
    draft: &Draft<'_>,
    change: &Change,
    position: &Position,
    goal: &Goal,
    present: Option<&Goal>,
) -> (SizeTargets, TrafficTarget) {
    let wanted = draft.wanted();
    let (old, new) = (draft.size(&change.stable), draft.size(&change.candidate));
    let shared = draft.reaches(&change.candidate) && draft.reaches(&change.stable);
    let only = |name: &String| TrafficTarget::Only(name.clone());
    let weight = present.map_or(0, |goal| goal.weight);
    if weight == 0 {
        // The candidate stands beside the stable one, no larger than the first step allows.
        let coming = stepping::entry_pods(draft, change, goal);
        // Pods that had a share end when the Service leads to them no more.
        let coming = if position.in_force_at.is_some() || !draft.reaches(&change.candidate) {
            coming
        } else {
            coming.max(new.asked.min(wanted))
        };
        return (
            SizeTargets {
                leaving: wanted,
                coming,
            },
            serving(draft, &change.stable, &change.candidate),
        );
    }
    if weight >= 100 || matches!(position.stage, Stage::Growing) {
        let full = new.counts.ready >= wanted;
        let sizes = match draft.keep_previous() {
            _ if weight >= 100 || !shared => SizeTargets {
                leaving: old
                    .asked
                    .min(wanted)
                    .max(if full { 0 } else { wanted - new.counts.ready }),
                coming: wanted,
            },
            KeepPrevious::Warm => SizeTargets {
                leaving: old.asked.max(wanted - new.counts.ready),
                coming: wanted,
            },
            KeepPrevious::Cold => exchange(Pace::Lots(draft.surge()), wanted, old, new),
        };
        let traffic = if weight >= 100 && full {
            only(&change.candidate)
        } else if shared {
            TrafficTarget::Shared
        } else {
            serving(draft, &change.stable, &change.candidate)
        };
        return (sizes, traffic);
    }
    if draft.stray_pods() > 0 {
        // A third revision's pod would get traffic from a wide Service.
        let coming = stepping::entry_pods(draft, change, goal).min(new.asked.max(1));
        return (
            SizeTargets {
                leaving: wanted,
                coming,
            },
            serving(draft, &change.stable, &change.candidate),
        );
    }
    let share = stepping::share(draft, change, present.unwrap_or(goal));
    (
        towards(share, wanted, old, size_in_traffic(draft, &change.candidate)),
        TrafficTarget::Shared,
    )
}

/// What a step waits for, in words that do not change by themselves.
fn step_words(draft: &Draft<'_>, change: &Change, position: &Position, goal: &Goal, of: usize) -> String {
    let place = match &position.stage {
        Stage::Step { number, .. } => format!("step {number} of {of} ({} %): ", goal.weight),
        Stage::Growing => String::new(),
    };
    let words = match stepping::standing(draft, change, position) {
        StepStanding::Waiting { words, .. } => words,
        StepStanding::InForce if stepping::waits_for_person(draft, change, position) => {
            let value = stepping::number(change)
                .map(|number| draft.named(&change.candidate).step_value(number))
                .unwrap_or_default();
            format!("a person to promote {value}")
        }
        StepStanding::InForce => match position.in_force_at {
            Some(since) => {
                let end = later(since, goal.seconds);
                let sought = goal
                    .sends_requests()
                    .then(|| judging::waiting(draft, change, end));
                let sought = sought
                    .flatten()
                    .or_else(|| measuring::waiting(draft, change, end));
                sought.unwrap_or_else(|| {
                    format!("its {} s are over at {}", goal.seconds, end.strftime("%H:%M:%SZ"))
                })
            }
            None => "the next step".to_owned(),
        },
    };
    format!("{place}{words}")
}

fn promoting(draft: &Draft<'_>, change: &Change) -> Allocation {
    let old = draft.size(&change.stable);
    let leaving = if stays_while_promoting(draft, change) || clock_stands(draft) {
        old.asked.min(draft.wanted())
    } else {
        0
    };
    let (traffic, routes, moving) = promoting_ways(draft, change);
    let waiting = if draft.counts(&change.candidate).ready < draft.wanted() {
        pods_ready(draft, &change.candidate)
    } else if let Some(words) = moving {
        words
    } else if draft.in_force(&change.candidate) {
        pods_ready(draft, &change.candidate)
    } else {
        format!(
            "the endpoints of Service {} to be those of {} alone",
            draft.observed.name(),
            change.candidate
        )
    };
    Allocation {
        sizes: both(
            &change.stable,
            &change.candidate,
            SizeTargets {
                leaving,
                coming: draft.wanted(),
            },
        ),
        traffic,
        routes,
        waiting_for: Some(waiting),
    }
}

/// Whether the stable revision keeps its pods while the traffic moves to the candidate.
fn stays_while_promoting(draft: &Draft<'_>, change: &Change) -> bool {
    let serves = draft.counts(&change.stable).ready > 0;
    match change.course {
        // What serves nothing only stands in the way; what does stays until traffic has moved, and a while longer where it
        // flips.
        Course::Exchange => {
            let flips = draft.pace(&change.stable, &change.candidate) == Pace::FullSize;
            serves && (flips || !draft.selects_only(&change.candidate))
        }
        // It is the way back, also after a moment in which none of it was ready.
        Course::Steps(_) | Course::FullSize => serves || room(draft, &change.candidate) == Room::Enough,
    }
}

/// The routes move first; the root Service, which callers in the cluster use, follows when they are in force.
fn promoting_ways(
    draft: &Draft<'_>,
    change: &Change,
) -> (TrafficTarget, Option<RouteTarget>, Option<String>) {
    let traffic = serving(draft, &change.candidate, &change.stable);
    if !draft.by_routes() {
        return (traffic, None, None);
    }
    let all = RouteTarget::only(&change.candidate);
    let standing = draft.routes(&all);
    let nothing_else = draft.counts(&change.stable).ready == 0;
    let may_move = !matches!(standing, RoutesStanding::Unwritten(_))
        || (!clock_stands(draft)
            && draft.settled(&change.candidate) >= draft.wanted()
            && draft.endpoints_of(&change.candidate) >= draft.wanted())
        || (nothing_else && draft.counts(&change.candidate).ready > 0);
    if draft.counts(&change.candidate).ready == 0 && !nothing_else {
        return (traffic, Some(RouteTarget::only(&change.stable)), None);
    }
    if !may_move {
        let goals = draft.goals();
        let before = match &change.course {
            Course::Steps(position) => Some(goal_at(&goals, position)),
            Course::Exchange | Course::FullSize => None,
        };
        let routes = before.map_or_else(
            || RouteTarget::only(&change.stable),
            |goal| stepping::route_target(change, &goal),
        );
        let words = format!("pods of {} to settle", change.candidate);
        return (
            TrafficTarget::Only(change.stable.clone()),
            Some(routes),
            Some(words),
        );
    }
    let flipped = draft.selects_only(&change.candidate);
    match standing {
        RoutesStanding::InForce => (traffic, Some(all), None),
        RoutesStanding::Unwritten(words) | RoutesStanding::Waiting(words) if !flipped && !nothing_else => {
            (TrafficTarget::Only(change.stable.clone()), Some(all), Some(words))
        }
        RoutesStanding::Unwritten(words) | RoutesStanding::Waiting(words) => {
            (traffic, Some(all), Some(words))
        }
    }
}

fn baking(draft: &Draft<'_>, change: &Change) -> Allocation {
    let since = draft.situation.since.unwrap_or(draft.now);
    let drained = later(since, draft.drain_seconds()) <= draft.now
        && (!draft.served() || draft.selects_only(&change.candidate))
        && (!draft.by_routes() || draft.routes_rest());
    let (old, new) = (draft.size(&change.stable), draft.size(&change.candidate));
    let stays = old.counts.ready > 0 && (!drained || new.counts.ready == 0);
    let leaving = match draft.keep_previous() {
        KeepPrevious::Warm => draft.wanted(),
        KeepPrevious::Cold if stays => old.asked.min(draft.wanted()),
        KeepPrevious::Cold => 0,
    };
    let traffic = serving(draft, &change.candidate, &change.stable);
    let bake = draft.observed.spec().operation.strategy().bake_seconds();
    let end = later(draft.situation.since.unwrap_or(draft.now), bake);
    let waiting = judging::waiting(draft, change, end)
        .or_else(|| measuring::waiting(draft, change, end))
        .unwrap_or_else(|| format!("{bake} s without trouble of {}", change.candidate));
    Allocation {
        sizes: both(
            &change.stable,
            &change.candidate,
            SizeTargets {
                leaving,
                coming: draft.wanted(),
            },
        ),
        routes: routes_only(draft, serving_name(&traffic, &change.candidate)),
        traffic,
        waiting_for: Some(waiting),
    }
}

fn returning(draft: &Draft<'_>, back: &Return) -> Allocation {
    let wanted = draft.wanted();
    let failed = draft.size(&back.candidate);
    let pace = draft.pace(&back.candidate, &back.stable);
    let room = room(draft, &back.stable);
    let mut targets = go_home(pace, wanted, failed, size_in_traffic(draft, &back.stable), room);
    let (traffic, routes) = homeward(draft, back, pace);
    if failed.counts.ready > 0 {
        let left = left_by_routes(draft, back);
        if left && draft.by_routes() {
            targets.leaving = 0;
        } else if !left && room == Room::Enough {
            // Ready pods end only when no request can be on its way to them any more, unless nothing else makes room.
            targets.leaving = targets.leaving.max(failed.asked);
        }
    }
    Allocation {
        sizes: both(&back.candidate, &back.stable, targets),
        traffic,
        routes,
        waiting_for: Some(format!(
            "{}, {} of {} to end",
            pods_ready(draft, &back.stable),
            failed.counts.live,
            back.candidate
        )),
    }
}

/// Whether the routes have left the candidate for so long that nothing is on its way to it. Where they never led to it,
/// there is nothing to wait for.
fn left_by_routes(draft: &Draft<'_>, back: &Return) -> bool {
    if !draft.by_routes() {
        // The spec has no routes any more that split: those that live are about to go, or lead to the root Service now, and
        // what they sent the candidate before has its time all the same.
        let waits = back.weight > 0 && draft.has_own_service(&back.candidate);
        return !draft.routed(&back.candidate) && (!waits || draft.routes_rest());
    }
    match draft.routes(&back.home()) {
        RoutesStanding::InForce | RoutesStanding::Waiting(_) => back.weight == 0 || draft.routes_rest(),
        RoutesStanding::Unwritten(_) => false,
    }
}

/// Whether pods of another revision stand in the way of those of `home`: no other trouble gets better by their leaving.
fn room(draft: &Draft<'_>, home: &str) -> Room {
    match draft.assess_home(home) {
        Assessment::Fault(fault)
            if fault.reason == "Unschedulable" || fault.message.contains("exceeded quota") =>
        {
            let pods = draft
                .observed
                .pods_of(home)
                .iter()
                .filter(|pod| pod.standing != Standing::Deleting);
            let placed = pods.filter(|pod| pod.scheduling == Scheduling::Scheduled).count();
            Room::Needed {
                placed: i32::try_from(placed).unwrap_or(i32::MAX),
            }
        }
        Assessment::Fault(_) | Assessment::Fine | Assessment::Watching { .. } | Assessment::Hold { .. } => {
            Room::Enough
        }
    }
}

/// Who gets traffic on the way back.
fn homeward(draft: &Draft<'_>, back: &Return, pace: Pace) -> (TrafficTarget, Option<RouteTarget>) {
    if draft.by_routes() {
        let (traffic, routes) = homeward_by_routes(draft, back);
        (traffic, Some(routes))
    } else {
        (homeward_by_pods(draft, back, pace), None)
    }
}

/// Home gets what it can carry, and never less than it has; what is left over stays where it is.
fn homeward_by_routes(draft: &Draft<'_>, back: &Return) -> (TrafficTarget, RouteTarget) {
    let only = |name: &String| TrafficTarget::Only(name.clone());
    let ready = |name: &String| draft.counts(name).ready > 0;
    if !ready(&back.candidate) {
        return (only(&back.stable), back.home());
    }
    if !ready(&back.stable) {
        return (only(&back.candidate), RouteTarget::only(&back.candidate));
    }
    let kept = given_by_routes(draft, &back.candidate).min(100 - carried_at_home(draft, back));
    if kept == 0 {
        return (only(&back.stable), back.home());
    }
    let routes = if kept >= 100 {
        RouteTarget::only(&back.candidate)
    } else {
        RouteTarget {
            rest: back.stable.clone(),
            share: Some(RevisionShare {
                revision: back.candidate.clone(),
                goal: Goal::share(kept),
            }),
        }
    };
    let root = if draft.selects_only(&back.candidate) {
        &back.candidate
    } else {
        &back.stable
    };
    (only(root), routes)
}

/// The share in percent that the routes give a revision, by its own Service or by the root Service.
fn given_by_routes(draft: &Draft<'_>, revision: &str) -> i32 {
    let own = draft.weight_by_routes(revision);
    if draft.selects_only(revision) {
        own.max(draft.weight_by_routes(draft.observed.name()))
    } else {
        own
    }
}

/// The share of the traffic in percent that the pods of the revision that is returned to can carry: all of it with
/// three quarters of them, which leaves each a third more to do, as autoscalers leave room for; with fewer what is
/// theirs, in tens, so that a slow start costs ten writes at most.
fn carried_at_home(draft: &Draft<'_>, back: &Return) -> i32 {
    let wanted = draft.wanted();
    let service = draft.route_service(&back.stable);
    let able = if service == back.stable {
        // Requests that a gateway sends before it knows the endpoints are lost.
        draft.settled(&service).min(draft.endpoints_of(&service))
    } else {
        draft.counts(&back.stable).ready
    };
    if 4 * able >= 3 * wanted {
        100
    } else {
        10 * (10 * able / wanted)
    }
}

/// Home alone as soon as it is warm enough, where it is alone already, or where nobody else serves; until then both, or,
/// where pods of both cannot stand behind one Service, whoever serves more.
fn homeward_by_pods(draft: &Draft<'_>, back: &Return, pace: Pace) -> TrafficTarget {
    let (failed, home) = (
        draft.counts(&back.candidate).ready,
        draft.counts(&back.stable).ready,
    );
    let warm = home > 0 && home >= draft.wanted() - draft.surge().below;
    let alone = home > 0 && draft.selects_only(&back.stable);
    if warm || alone || failed == 0 || pace == Pace::OneAtATime {
        return TrafficTarget::Only(back.stable.clone());
    }
    if draft.stray_pods() > 0 || draft.compatible(&back.candidate, &back.stable) == Compatibility::OneAtATime
    {
        let serving = if home >= failed {
            &back.stable
        } else {
            &back.candidate
        };
        return TrafficTarget::Only(serving.clone());
    }
    TrafficTarget::Shared
}
