//! What objects a situation wants, whatever lives: the same situation always wants the same.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::{DRAIN_SECONDS, Draft, later};
use super::observed::ChildKey;
use super::replicas::{Pace, Room, SizeTargets, exchange, go_home};
use super::state::{Change, Return, State};
use crate::api::{ExposureSpec, labels};
use crate::health::{Assessment, Traffic};
use crate::render::{self, Child, Exposure, Identity, Selection};
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
    let Allocation { sizes, traffic, waiting_for } = allocate(draft);
    let records = kept_records(draft);
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    let exposures = exposures(draft);
    let exposure = match exposures.as_slice() {
        [only] => Exposure::of(only),
        [stable, candidate, ..] => Exposure::union(stable, candidate),
        [] => Exposure::of(&draft.observed.spec().exposure),
    };
    let mut children = Vec::new();
    for name in &records {
        if let Some(record) = draft.records.get(name) {
            children.push(render::record(&identity, &with_exposure(draft, record)));
        }
    }
    for (name, replicas) in &sizes {
        if let Some(record) = draft.records.get(name) {
            children.extend(revision_children(draft, &identity, record, *replicas, &traffic));
        }
    }
    children.extend(service_children(draft, &identity, &exposure, &traffic));
    Desired {
        children: children.into_iter().map(|child| ((child.kind, child.name.clone()), child)).collect(),
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
        record.data.snapshots.iter().any(|s| s.source.copy_name(&record.name) == copy.name)
    });
    children.extend(copies.cloned());
    children.extend(render::service_account(identity, &record.data.input));
    if traffic.includes(&record.name) {
        let operation = &draft.observed.spec().operation;
        let fewest = operation.autoscaling.as_ref().map_or(draft.wanted(), |a| a.min_replicas.min(draft.wanted()));
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
        children.extend(render::routes(identity, exposure));
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
        child.kind.presence() == render::KindPresence::Always || draft.observed.served_kinds.contains(&child.kind)
    });
    children
}

/// The fields of scope A that are in force for each live revision, the stable one's first.
fn exposures(draft: &Draft<'_>) -> Vec<ExposureSpec> {
    let live = draft.situation.state.live();
    live.into_iter()
        .filter_map(|name| draft.records.get(name))
        .filter_map(|record| with_exposure(draft, record).notes.exposure)
        .collect()
}

/// The record with the fields of scope A that are in force for it: the spec's while the spec asks for it.
fn with_exposure(draft: &Draft<'_>, record: &Record) -> Record {
    let mut record = record.clone();
    if draft.is_target(&record.name) && !draft.suspended() {
        record.notes.exposure = Some(draft.observed.spec().exposure.clone());
    }
    record
}

/// The records to keep: of what lives, of the revision before, and of the newest others up to the history limit.
fn kept_records(draft: &Draft<'_>) -> BTreeSet<String> {
    let state = &draft.situation.state;
    let mut kept: BTreeSet<String> = state.live().into_iter().map(str::to_owned).collect();
    kept.extend(draft.situation.previous.clone());
    // What the spec asks for and is held back carries the verdict.
    kept.extend(state.candidate().map(str::to_owned));
    let mut others: Vec<&Record> = draft.records.values().filter(|r| !kept.contains(&r.name)).collect();
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
        State::Fresh => Allocation { sizes: BTreeMap::new(), traffic: TrafficTarget::Nobody, waiting_for: None },
        State::Starting { candidate, .. } => Allocation {
            waiting_for: Some(pods_ready(draft, candidate)),
            ..alone(candidate, wanted)
        },
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

fn both(leaving: &str, coming: &str, targets: SizeTargets) -> BTreeMap<String, i32> {
    BTreeMap::from([(leaving.to_owned(), targets.leaving), (coming.to_owned(), targets.coming)])
}

fn pods_ready(draft: &Draft<'_>, revision: &str) -> String {
    format!("{} of {} pods of {revision} are ready", draft.counts(revision).ready, draft.wanted())
}

fn rolling(draft: &Draft<'_>, change: &Change) -> Allocation {
    let (stable, candidate) = (&change.stable, &change.candidate);
    let (old, new) = (draft.size(stable), draft.size(candidate));
    let pace = draft.pace(stable, candidate);
    let stray = draft.stray_pods();
    let held = matches!(draft.judge(change), Assessment::Hold { .. });
    let only_stable = TrafficTarget::Only(stable.clone());
    if stray > 0 || draft.suspended() || held {
        let as_it_is = SizeTargets { leaving: old.asked, coming: new.asked };
        let shared = matches!(pace, Pace::Lots(_)) && new.counts.ready > 0 && stray == 0;
        return Allocation {
            sizes: both(stable, candidate, as_it_is),
            traffic: if shared { TrafficTarget::Shared } else { only_stable },
            waiting_for: (stray > 0).then(|| format!("{stray} pods of other revisions to end")),
        };
    }
    let (traffic, waiting_for) = match pace {
        Pace::Lots(_) => (TrafficTarget::Shared, pods_ready(draft, candidate)),
        Pace::FullSize => (only_stable, pods_ready(draft, candidate)),
        Pace::OneAtATime if new.asked > 0 => (TrafficTarget::Only(candidate.clone()), pods_ready(draft, candidate)),
        Pace::OneAtATime => {
            let ending = old.counts.live + old.counts.terminating;
            (only_stable, format!("{ending} pods of {stable} to end"))
        }
    };
    Allocation {
        sizes: both(stable, candidate, exchange(pace, draft.wanted(), old, new)),
        traffic,
        waiting_for: Some(waiting_for),
    }
}

fn promoting(draft: &Draft<'_>, change: &Change) -> Allocation {
    let old = draft.size(&change.stable);
    // What serves nothing only stands in the way.
    let leaving = if old.counts.ready == 0 { 0 } else { old.asked };
    let targets = SizeTargets { leaving, coming: draft.wanted() };
    let waiting = if draft.in_force(&change.candidate) {
        pods_ready(draft, &change.candidate)
    } else {
        format!("the endpoints of Service {} to be those of {} alone", draft.observed.name(), change.candidate)
    };
    Allocation {
        sizes: both(&change.stable, &change.candidate, targets),
        traffic: TrafficTarget::Only(change.candidate.clone()),
        waiting_for: Some(waiting),
    }
}

fn baking(draft: &Draft<'_>, change: &Change) -> Allocation {
    let since = draft.situation.since.unwrap_or(draft.now);
    let drained = later(since, DRAIN_SECONDS) <= draft.now;
    let old = draft.size(&change.stable);
    let leaving = if drained || old.counts.ready == 0 { 0 } else { old.asked };
    let bake = draft.observed.spec().operation.strategy().bake_seconds();
    Allocation {
        sizes: both(&change.stable, &change.candidate, SizeTargets { leaving, coming: draft.wanted() }),
        traffic: TrafficTarget::Only(change.candidate.clone()),
        waiting_for: Some(format!("{bake} s without trouble of {}", change.candidate)),
    }
}

fn returning(draft: &Draft<'_>, back: &Return) -> Allocation {
    let wanted = draft.wanted();
    let (failed, home) = (draft.size(&back.candidate), draft.size(&back.stable));
    let pace = draft.pace(&back.candidate, &back.stable);
    let room = match draft.assess(&back.stable, None, Traffic::None) {
        Assessment::Fault(fault) if fault.blame == crate::api::Blame::Environment => Room::Needed,
        Assessment::Fault(_) | Assessment::Fine | Assessment::Watching { .. } | Assessment::Hold { .. } => Room::Enough,
    };
    let below = draft.surge().below;
    // Warm enough, or the only one that serves: all traffic at once. Else what serves shares it.
    let home_serves = home.counts.ready > 0 && home.counts.ready >= wanted - below;
    let traffic = if home_serves || failed.counts.ready == 0 || matches!(pace, Pace::OneAtATime) || draft.stray_pods() > 0 {
        TrafficTarget::Only(back.stable.clone())
    } else {
        TrafficTarget::Shared
    };
    Allocation {
        sizes: both(&back.candidate, &back.stable, go_home(pace, wanted, failed, home, room)),
        traffic,
        waiting_for: Some(format!("{}, {} of {} to end", pods_ready(draft, &back.stable), failed.counts.live, back.candidate)),
    }
}
