//! What objects a situation wants, whatever lives: the same situation always wants the same.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{DRAIN_SECONDS, Draft, later};
use super::observed::ChildKey;
use super::replicas::{Pace, Room, Size, SizeTargets, exchange, go_home, stand_still};
use super::state::{Change, Return, State};
use super::transition::clock_stands;
use crate::api::{Router, StrategyType, labels};
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
    /// What is waited for, in words.
    pub waiting_for: Option<String>,
    /// Addresses that routes give the service.
    pub urls: Vec<String>,
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

impl TrafficTarget {
    /// The label selector of the pods that get traffic.
    pub fn selector(&self, service: &str) -> Option<String> {
        match self {
            Self::Nobody => None,
            Self::Only(revision) => Some(labels::revision_selector(service, revision)),
            Self::Shared => Some(labels::service_selector(service)),
        }
    }

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
    waiting_for: Option<String>,
}

/// What the situation of `draft` wants.
pub fn desired(draft: &Draft<'_>) -> Desired {
    let Allocation {
        sizes,
        traffic,
        waiting_for,
    } = allocate(draft);
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
            children.extend(revision_children(draft, &identity, record, *replicas, &traffic));
        }
    }
    children.extend(service_children(draft, &identity, &exposure, &traffic));
    Desired {
        children: children
            .into_iter()
            .map(|child| ((child.kind, child.name.clone()), child))
            .collect(),
        records,
        sizes,
        traffic,
        waiting_for,
        urls: render::urls(&exposure),
    }
}

/// The objects of one live revision.
fn revision_children(
    draft: &Draft<'_>,
    identity: &Identity<'_>,
    record: &Record,
    replicas: i32,
    traffic: &TrafficTarget,
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
    if traffic.includes(&record.name) {
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
    traffic: &TrafficTarget,
) -> Vec<Child> {
    let operation = &draft.observed.spec().operation;
    let mut children = Vec::new();
    let selection = match traffic {
        TrafficTarget::Nobody => None,
        TrafficTarget::Only(revision) => Some(Selection::Revision(revision)),
        TrafficTarget::Shared => Some(Selection::AllRevisions),
    };
    if let Some(selection) = selection {
        children.extend(render::service(identity, exposure, selection));
        children.extend(crate::traffic::routes(identity, exposure, Router::Auto, None));
        children.extend(render::network_policy(identity, exposure));
    }
    if let Some(autoscaling) = &operation.autoscaling
        && draft.wanted() > 0
    {
        children.push(render::horizontal_pod_autoscaler(identity, autoscaling));
    }
    if let Some(monitoring) = &operation.monitoring {
        children.extend(render::monitor(identity, monitoring, exposure));
    }
    children.retain(|child| {
        child.kind.presence() == render::KindPresence::Always
            || draft.observed.served_kinds.contains(&child.kind)
    });
    children
}

/// How the live revisions are reached together: the stable one's word counts where the two disagree. Where one port of
/// the Service would have to lead to different ports, it leads to that of whoever gets the traffic.
fn exposure(draft: &Draft<'_>, traffic: &TrafficTarget) -> Exposure {
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
            waiting_for: None,
        },
        State::Starting { candidate, .. } => starting(draft, candidate),
        State::Steady { stable, .. } => alone(stable, wanted),
        State::Rolling(change) => rolling(draft, change),
        State::Promoting(change) => promoting(draft, change),
        State::Baking(change) => baking(draft, change),
        State::Returning(back) => returning(draft, back),
    }
}

fn alone(revision: &str, wanted: i32) -> Allocation {
    Allocation {
        sizes: BTreeMap::from([(revision.to_owned(), wanted)]),
        traffic: TrafficTarget::Only(revision.to_owned()),
        waiting_for: None,
    }
}

fn starting(draft: &Draft<'_>, candidate: &str) -> Allocation {
    let stray = draft.stray_pods();
    if stray > 0 && draft.strategy_type() == StrategyType::Recreate {
        let waiting_for = Some(format!("{stray} pods of other revisions to end"));
        return Allocation {
            waiting_for,
            ..alone(candidate, draft.size(candidate).asked.min(draft.wanted()))
        };
    }
    Allocation {
        waiting_for: Some(pods_ready(draft, candidate)),
        ..alone(candidate, draft.wanted())
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
        traffic,
        waiting_for: Some(waiting_for),
    }
}

fn promoting(draft: &Draft<'_>, change: &Change) -> Allocation {
    let old = draft.size(&change.stable);
    // What serves nothing only stands in the way; what does stays until traffic has moved, and a while longer where
    // it flips.
    let flips = draft.pace(&change.stable, &change.candidate) == Pace::FullSize;
    let stays = old.counts.ready > 0 && (flips || !draft.selects_only(&change.candidate));
    let leaving = if stays { old.asked.min(draft.wanted()) } else { 0 };
    let waiting = if draft.in_force(&change.candidate) {
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
        traffic: serving(draft, &change.candidate, &change.stable),
        waiting_for: Some(waiting),
    }
}

fn baking(draft: &Draft<'_>, change: &Change) -> Allocation {
    let since = draft.situation.since.unwrap_or(draft.now);
    let drained = later(since, DRAIN_SECONDS) <= draft.now && draft.selects_only(&change.candidate);
    let (old, new) = (draft.size(&change.stable), draft.size(&change.candidate));
    let stays = old.counts.ready > 0 && (!drained || new.counts.ready == 0);
    let leaving = if stays { old.asked.min(draft.wanted()) } else { 0 };
    let bake = draft.observed.spec().operation.strategy().bake_seconds();
    Allocation {
        sizes: both(
            &change.stable,
            &change.candidate,
            SizeTargets {
                leaving,
                coming: draft.wanted(),
            },
        ),
        traffic: serving(draft, &change.candidate, &change.stable),
        waiting_for: Some(format!("{bake} s without trouble of {}", change.candidate)),
    }
}

fn returning(draft: &Draft<'_>, back: &Return) -> Allocation {
    let wanted = draft.wanted();
    let failed = draft.size(&back.candidate);
    let pace = draft.pace(&back.candidate, &back.stable);
    let targets = go_home(
        pace,
        wanted,
        failed,
        size_in_traffic(draft, &back.stable),
        room(draft, &back.stable),
    );
    Allocation {
        sizes: both(&back.candidate, &back.stable, targets),
        traffic: homeward(draft, back, pace),
        waiting_for: Some(format!(
            "{}, {} of {} to end",
            pods_ready(draft, &back.stable),
            failed.counts.live,
            back.candidate
        )),
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

/// Who gets traffic on the way back: home alone as soon as it is warm enough, or nobody else serves; until then both,
/// or, where pods of both cannot stand behind one Service, whoever serves more.
fn homeward(draft: &Draft<'_>, back: &Return, pace: Pace) -> TrafficTarget {
    let (failed, home) = (
        draft.counts(&back.candidate).ready,
        draft.counts(&back.stable).ready,
    );
    let warm = home > 0 && home >= draft.wanted() - draft.surge().below;
    let only = |name: &String| TrafficTarget::Only(name.clone());
    if warm || failed == 0 || pace == Pace::OneAtATime {
        return only(&back.stable);
    }
    if draft.stray_pods() > 0 || draft.compatible(&back.candidate, &back.stable) == Compatibility::OneAtATime
    {
        return if home >= failed {
            only(&back.stable)
        } else {
            only(&back.candidate)
        };
    }
    TrafficTarget::Shared
}
