//! From the pods of a candidate and of the stable revision to a verdict: design section 4.5, the rules for pods.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use serde::Serialize;

use super::PodSnapshot;
use super::rules::{Evidence, Finding, findings};
use super::symptom::{Group, Measure};
use super::text::message;
use crate::api::{Blame, Strategy};

/// Whether the candidate carries traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Traffic {
    /// None of the service's traffic goes to it.
    None,
    /// Its ready pods are sent traffic.
    Carrying,
}

/// What the strategy allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many failed exits are allowed while traffic is carried. None: one, or 2 % of the pods where that is more.
    pub max_crashes: Option<i32>,
    /// Seconds for which a pod may wait for a node.
    pub unschedulable_seconds: i64,
    /// Since when all pods have carried the traffic. A failed exit after that was one under traffic, also where nobody
    /// watched it happen. None: they do not all.
    pub serving_since: Option<Timestamp>,
}

impl From<&Strategy> for Limits {
    fn from(strategy: &Strategy) -> Self {
        Self {
            max_crashes: strategy.max_crashes,
            unschedulable_seconds: strategy.unschedulable_seconds(),
            serving_since: None,
        }
    }
}

/// What is wrong, and whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Candidate or Environment.
    pub blame: Blame,
    /// CamelCase reason.
    pub reason: String,
    /// The evidence, with one pod as the example and its container's own words; at most 1 KiB, one line.
    pub message: String,
}

/// What the pods say about the candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum Assessment {
    /// Nothing is wrong.
    Fine,
    /// Something is, but not for long enough yet.
    Watching {
        /// When the first of the running clocks completes its rule.
        recheck: Timestamp,
    },
    /// It would be a fault, but the stable revision shows the same symptom: it is not the change.
    Hold {
        /// CamelCase reason of the fault.
        reason: String,
        /// The evidence, and how the stable revision shows it.
        message: String,
        /// When the next of the running clocks completes its rule.
        recheck: Option<Timestamp>,
    },
    /// The candidate is to be taken back.
    Fault(Fault),
}

/// Weighs the candidate's pods against the stable revision's. Pods that do not count ([`PodSnapshot::counted`]) are
/// left out on both sides, and the order of the pods means nothing.
///
/// Of several faults the one that stable does not share goes first, then the candidate's own before the
/// environment's. A fault that stable shares, with at least half of the candidate's share of pods, is held; crashes that
/// it shared count no more when they are no news any more.
pub fn assess(
    candidate: &[PodSnapshot],
    stable: &[PodSnapshot],
    limits: &Limits,
    traffic: Traffic,
    now: Timestamp,
) -> Assessment {
    let candidate = Group::of(candidate);
    let measure = Measure::new(&candidate, Group::of(stable), now);
    let mut complete: Vec<Evidence> = Vec::new();
    let mut recheck: Option<Timestamp> = None;
    for finding in findings(&candidate, limits, traffic, now) {
        match finding {
            Finding::Complete(evidence) => complete.push(evidence),
            Finding::Running { due } => recheck = Some(recheck.map_or(due, |earlier| earlier.min(due))),
        }
    }
    complete.retain(|evidence| {
        !(measure.is_past(evidence.symptom) && measure.shares(evidence.symptom, evidence.pods))
    });
    complete.sort_by_key(|evidence| (measure.shares(evidence.symptom, evidence.pods), evidence.symptom));
    match (complete.into_iter().next(), recheck) {
        (Some(evidence), recheck) if measure.shares(evidence.symptom, evidence.pods) => {
            let recheck = recheck
                .into_iter()
                .chain(measure.recovered_at(evidence.symptom))
                .min();
            hold(evidence, &measure, recheck)
        }
        (Some(evidence), _) => Assessment::Fault(fault(evidence)),
        (None, Some(recheck)) => Assessment::Watching { recheck },
        (None, None) => Assessment::Fine,
    }
}

fn fault(evidence: Evidence) -> Fault {
    Fault {
        blame: evidence.symptom.blame(),
        reason: evidence.reason,
        message: evidence.message,
    }
}

fn hold(evidence: Evidence, measure: &Measure, recheck: Option<Timestamp>) -> Assessment {
    let (shown, size) = measure.showing(evidence.symptom);
    let headline = format!("the stable revision shows the same in {shown} of {size} pods");
    Assessment::Hold {
        reason: evidence.reason,
        message: message(&headline, &evidence.message),
        recheck,
    }
}

/// The fault of a Deployment that cannot make its pods (condition ReplicaFailure): a quota, or an admission that
/// refuses them.
pub fn replica_failure(conditions: &[DeploymentCondition]) -> Option<Fault> {
    let failure = conditions
        .iter()
        .find(|c| c.type_ == "ReplicaFailure" && c.status == "True")?;
    // The other reason is FailedDelete: that no pod can be removed is no trouble of a new revision.
    if failure.reason.as_deref() != Some("FailedCreate") {
        return None;
    }
    let words = failure.message.as_deref().unwrap_or_default();
    let reason = if words.contains("exceeded quota") {
        "QuotaExceeded"
    } else {
        "FailedCreate"
    };
    Some(Fault {
        blame: Blame::Environment,
        reason: reason.to_owned(),
        message: message("pods cannot be created", words),
    })
}
