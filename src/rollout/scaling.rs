//! How many pods are wanted under autoscaling: whose word `spec.replicas` is, and what it is worth.
//!
//! The autoscaler writes the same field that a manifest may hold. What comes through /scale is a target. What comes
//! with a manifest (a 3 left in git, a field that was taken out and fell back to its default) is a floor at most: the
//! service keeps what it has, writes that back through /scale once, and says so.
//!
//! While routes split the traffic, the pods of two revisions carry it, and the autoscaler is content with fewer for
//! `spec.replicas` than there are. So a promotion lands on what carried the traffic, and says that through /scale; the
//! autoscaler goes on from there.

use super::adoption::found_replicas;
use super::observed::Observed;
use crate::api::{Autoscaling, ReplicasSource};

/// The value that `spec.replicas` has where nobody sets it.
const DEFAULT_REPLICAS: i32 = 1;

/// Who holds `spec.replicas` by the record of the API server (managedFields).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReplicasHolder {
    /// It was last written through /scale, by the autoscaler or a person.
    Scale,
    /// It was last written through /scale, by this operator.
    Operator,
    /// It was last written with the rest of the spec.
    Manifest {
        /// The field manager that did.
        manager: String,
    },
    /// Nobody: it is the schema's default, or came through /scale while nobody held it, which the API server does not
    /// put on record for custom resources.
    #[default]
    Nobody,
}

/// How many pods are wanted, why, and what is to be written back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scaling {
    /// How many pods the service needs to carry all of its traffic.
    pub wanted: i32,
    /// Where that comes from; none without autoscaling.
    pub source: Option<ReplicasSource>,
    /// What is to be written through /scale.
    pub write_back: Option<i32>,
}

impl Scaling {
    /// What is observed comes to this.
    pub fn of(observed: &Observed) -> Self {
        let operation = &observed.spec().operation;
        let Some(bounds) = &operation.autoscaling else {
            return Self {
                wanted: operation.replicas,
                source: None,
                write_back: None,
            };
        };
        // Before there is a first revision nothing was wanted but what runs already. It is landed on as by a promotion.
        if let Some(found) = found_replicas(observed).filter(|_| observed.records.is_empty())
            && operation.replicas > 0
            && bounds.bounded(found) > operation.replicas
        {
            let wanted = bounds.bounded(found);
            return Self {
                wanted,
                source: Some(ReplicasSource::Carried),
                write_back: None,
            };
        }
        let status = observed.service.status.as_ref();
        let before = status.and_then(|status| status.replicas_from);
        let held = match status {
            Some(status) => status.desired_replicas,
            // A lost status must not cost pods: what runs was wanted.
            None => observed.lasting_deployments().map(|(_, d)| d.replicas).sum(),
        };
        judge(
            operation.replicas,
            &observed.replicas_holder,
            before,
            held,
            bounds,
        )
    }
}

fn judge(
    replicas: i32,
    holder: &ReplicasHolder,
    before: Option<ReplicasSource>,
    held: i32,
    bounds: &Autoscaling,
) -> Scaling {
    let settled = |wanted, source| Scaling {
        wanted,
        source: Some(source),
        write_back: None,
    };
    let floor = if replicas == 0 {
        0
    } else {
        bounds.bounded(replicas)
    };
    // What was wanted of a stopped service says nothing about it when it starts.
    let kept = if replicas == 0 || held <= 0 {
        floor
    } else {
        floor.max(bounds.bounded(held))
    };
    if before == Some(ReplicasSource::Carried) && replicas > 0 {
        return carried(replicas, holder, kept, floor);
    }
    // An autoscaler that finds fewer than its bound writes the bound, whatever runs: that is the manifest's doing. Once it
    // finds what was written back it decides by its metrics.
    let corrected = matches!(before, Some(ReplicasSource::Held | ReplicasSource::Contested))
        && replicas <= bounds.min_replicas
        && kept > floor;
    match holder {
        ReplicasHolder::Scale | ReplicasHolder::Nobody if corrected => hold(kept),
        ReplicasHolder::Scale => settled(floor, ReplicasSource::Scale),
        ReplicasHolder::Operator => match before {
            Some(ReplicasSource::Held | ReplicasSource::WrittenBack | ReplicasSource::Contested) => {
                settled(floor, ReplicasSource::WrittenBack)
            }
            Some(
                ReplicasSource::Scale
                | ReplicasSource::Untracked
                | ReplicasSource::Manifest
                | ReplicasSource::Carried,
            )
            | None => settled(floor, ReplicasSource::Scale),
        },
        // A manifest that sets it is on record, and one that stops to set it makes it the default. From one value that
        // nobody holds to another only /scale leads, also to the default.
        ReplicasHolder::Nobody
            if replicas != DEFAULT_REPLICAS || before == Some(ReplicasSource::Untracked) =>
        {
            settled(floor, ReplicasSource::Untracked)
        }
        ReplicasHolder::Nobody | ReplicasHolder::Manifest { .. } if kept == floor => {
            settled(floor, ReplicasSource::Manifest)
        }
        // Nobody is there to put the default back: no fight can come of it.
        ReplicasHolder::Nobody => hold(kept),
        ReplicasHolder::Manifest { .. } => match before {
            Some(ReplicasSource::WrittenBack | ReplicasSource::Contested) => {
                settled(kept, ReplicasSource::Contested)
            }
            Some(
                ReplicasSource::Held
                | ReplicasSource::Scale
                | ReplicasSource::Untracked
                | ReplicasSource::Manifest
                | ReplicasSource::Carried,
            )
            | None => hold(kept),
        },
    }
}

/// What a promotion landed on is to be written. Whoever writes the same or more afterwards decides again.
fn carried(replicas: i32, holder: &ReplicasHolder, kept: i32, floor: i32) -> Scaling {
    if replicas < kept {
        return Scaling {
            wanted: kept,
            source: Some(ReplicasSource::Carried),
            write_back: Some(kept),
        };
    }
    let source = match holder {
        ReplicasHolder::Scale | ReplicasHolder::Operator => ReplicasSource::Scale,
        ReplicasHolder::Nobody => ReplicasSource::Untracked,
        ReplicasHolder::Manifest { .. } => ReplicasSource::Manifest,
    };
    Scaling {
        wanted: floor,
        source: Some(source),
        write_back: None,
    }
}

fn hold(wanted: i32) -> Scaling {
    Scaling {
        wanted,
        source: Some(ReplicasSource::Held),
        write_back: Some(wanted),
    }
}

/// What a promotion is to land on: the pods that carry the traffic of two revisions now, within the bounds, where these
/// are more than the autoscaler asks for; `None` where they are not, and where a manifest and the autoscaler are at odds
/// already.
pub fn landing(observed: &Observed, carrying: i32) -> Option<i32> {
    let Scaling { wanted, source, .. } = Scaling::of(observed);
    let bounds = observed.spec().operation.autoscaling.as_ref()?;
    match source? {
        ReplicasSource::Held | ReplicasSource::WrittenBack | ReplicasSource::Contested => return None,
        ReplicasSource::Scale
        | ReplicasSource::Untracked
        | ReplicasSource::Manifest
        | ReplicasSource::Carried => {}
    }
    let landed = bounds.bounded(carrying);
    (wanted > 0 && landed > wanted).then_some(landed)
}

/// Reason and message of the condition ReplicasManagedByGit; none where replicas is the autoscaler's.
pub fn managed_by_git(observed: &Observed) -> Option<(&'static str, String)> {
    let Scaling { wanted, source, .. } = Scaling::of(observed);
    let replicas = observed.spec().operation.replicas;
    if source? == ReplicasSource::Carried {
        let failure = observed.scale_failure.as_ref()?;
        return Some((
            "Held",
            format!(
                "under autoscaling a promotion landed on the {wanted} pods that carried the traffic, which could not be \
                 written back to spec.replicas ({replicas}): {}. Until it is, no lower number of the autoscaler is \
                 followed",
                failure.message
            ),
        ));
    }
    let asked = match &observed.replicas_holder {
        ReplicasHolder::Manifest { manager } => format!("{manager} set spec.replicas to {replicas}"),
        ReplicasHolder::Nobody => {
            format!("spec.replicas was taken out of the manifest and fell back to {replicas}")
        }
        ReplicasHolder::Scale | ReplicasHolder::Operator => {
            "a manifest set spec.replicas to fewer".to_owned()
        }
    };
    let kept = match source? {
        ReplicasSource::Scale
        | ReplicasSource::Untracked
        | ReplicasSource::Manifest
        | ReplicasSource::Carried => return None,
        ReplicasSource::Held => match &observed.scale_failure {
            None => (
                "Held",
                format!("the {wanted} pods in force stay and are written back once"),
            ),
            Some(failure) => (
                "Held",
                format!(
                    "the {wanted} pods in force stay, but could not be written back: {}",
                    failure.message
                ),
            ),
        },
        ReplicasSource::WrittenBack => (
            "WrittenBack",
            format!("the {wanted} pods in force stayed and were written back"),
        ),
        ReplicasSource::Contested => (
            "PutBack",
            format!(
                "after {wanted} had been written back; the {wanted} pods in force stay, and nothing is written again until the autoscaler does"
            ),
        ),
    };
    let (reason, kept) = kept;
    Some((reason, format!("under autoscaling {asked}; {kept}. {ADVICE}")))
}

const ADVICE: &str = "Leave replicas out of the manifest; with Argo CD also ignore it (ignoreDifferences with jsonPointers \
                      /spec/replicas, and syncOption RespectIgnoreDifferences=true). To have fewer pods, lower \
                      autoscaling.maxReplicas or use kubectl scale";

#[cfg(test)]
mod tests;
