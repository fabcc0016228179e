//! From the pods of a candidate and of the stable revision to a verdict: design section 4.5, the rules for pods.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::DeploymentCondition;
use serde::Serialize;

use super::kubelet::{StartTrouble, missing_object, start_trouble};
use super::text::message;
use super::{ContainerSnapshot, PodSnapshot, Readied, Readiness, Scheduling};
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
}

impl From<&Strategy> for Limits {
    fn from(strategy: &Strategy) -> Self {
        Self {
            max_crashes: strategy.max_crashes,
            unschedulable_seconds: strategy.unschedulable_seconds(),
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
/// left out on both sides. A candidate fault goes before an environment fault, an older symptom in the list of
/// [`Symptom`] before a later one; the order of the pods means nothing.
pub fn assess(
    candidate: &[PodSnapshot],
    stable: &[PodSnapshot],
    limits: &Limits,
    traffic: Traffic,
    now: Timestamp,
) -> Assessment {
    let candidate = Group::of(candidate);
    let stable = Group::of(stable);
    let began = candidate.began(now);
    let findings = [
        crash_loop(&candidate),
        crashes(&candidate, limits, traffic),
        readiness_lost(&candidate, now),
        unschedulable(&candidate, limits, now),
    ];
    let waits = START_TROUBLES
        .iter()
        .map(|trouble| start_troubles(&candidate, *trouble, now));
    let mut faults: Vec<Evidence> = Vec::new();
    let mut recheck: Option<Timestamp> = None;
    for finding in findings.into_iter().chain(waits).flatten() {
        match finding {
            Finding::Complete(evidence) => faults.push(evidence),
            Finding::Running { due } => recheck = Some(recheck.map_or(due, |r| r.min(due))),
        }
    }
    faults.sort_by_key(|evidence| evidence.symptom);
    let (shared, own): (Vec<_>, Vec<_>) = faults
        .into_iter()
        .partition(|evidence| candidate.shares(evidence.symptom, &stable, began));
    match (own.into_iter().next(), shared.into_iter().next(), recheck) {
        (Some(evidence), _, _) => Assessment::Fault(evidence.fault()),
        (None, Some(evidence), recheck) => evidence.hold(&stable, began, recheck),
        (None, None, Some(recheck)) => Assessment::Watching { recheck },
        (None, None, None) => Assessment::Fine,
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

/// What pods can show, the gravest first; candidate faults stand before environment faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Symptom {
    /// Containers that end again and again, or too often.
    Crash,
    /// Containers that cannot be started, by the revision's fault.
    CandidateStart(StartTrouble),
    /// Pods that were ready and are not.
    NotReady,
    /// Containers that cannot be started, not by the revision's fault.
    EnvironmentStart(StartTrouble),
    /// Pods without a node.
    Unschedulable,
}

impl Symptom {
    fn start(trouble: StartTrouble) -> Self {
        match trouble {
            StartTrouble::InvalidImage | StartTrouble::ImageNotFound | StartTrouble::Configuration => {
                Self::CandidateStart(trouble)
            }
            StartTrouble::MissingObject | StartTrouble::ImagePull | StartTrouble::Node => {
                Self::EnvironmentStart(trouble)
            }
        }
    }

    fn blame(self) -> Blame {
        match self {
            Self::Crash | Self::CandidateStart(_) | Self::NotReady => Blame::Candidate,
            Self::EnvironmentStart(_) | Self::Unschedulable => Blame::Environment,
        }
    }

    /// Whether a pod shows it now. A crash counts from `began` on: a stable pod's restarts of last month are no
    /// symptom of today.
    fn shown_by(self, pod: &PodSnapshot, began: Timestamp) -> bool {
        match self {
            Self::Crash => pod
                .containers
                .iter()
                .any(|c| c.in_crash_loop() || c.failed_since(began)),
            Self::NotReady => lost_readiness(pod).is_some(),
            Self::CandidateStart(trouble) | Self::EnvironmentStart(trouble) => pod
                .containers
                .iter()
                .any(|c| c.waiting.as_ref().and_then(start_trouble) == Some(trouble)),
            Self::Unschedulable => matches!(pod.scheduling, Scheduling::Unschedulable { .. }),
        }
    }
}

/// The pods of one revision that count, by name.
struct Group<'a>(Vec<&'a PodSnapshot>);

impl<'a> Group<'a> {
    fn of(pods: &'a [PodSnapshot]) -> Self {
        let mut counted: Vec<_> = pods.iter().filter(|pod| pod.counted()).collect();
        counted.sort_by_key(|pod| (&pod.name, &pod.uid));
        Self(counted)
    }

    fn size(&self) -> usize {
        self.0.len()
    }

    /// When its first pod was made.
    fn began(&self, now: Timestamp) -> Timestamp {
        self.0.iter().map(|pod| pod.created).min().unwrap_or(now)
    }

    fn containers(&self) -> impl Iterator<Item = (&'a PodSnapshot, &'a ContainerSnapshot)> {
        self.0
            .iter()
            .flat_map(|pod| pod.containers.iter().map(move |c| (*pod, c)))
    }

    fn showing(&self, symptom: Symptom, began: Timestamp) -> usize {
        self.0.iter().filter(|pod| symptom.shown_by(pod, began)).count()
    }

    /// Whether `stable` shows the symptom with at least half of this group's share.
    fn shares(&self, symptom: Symptom, stable: &Group, began: Timestamp) -> bool {
        let (ours, theirs) = (self.showing(symptom, began), stable.showing(symptom, began));
        theirs > 0 && 2 * theirs * self.size() >= ours * stable.size()
    }
}

/// Something wrong with one pod, and when it has been wrong for long enough.
struct Hit<'a> {
    pod: &'a PodSnapshot,
    container: Option<&'a ContainerSnapshot>,
    due: Timestamp,
}

/// What a rule found.
enum Finding {
    /// Its clock runs until then.
    Running { due: Timestamp },
    /// It is complete.
    Complete(Evidence),
}

/// What completed a rule.
struct Evidence {
    symptom: Symptom,
    reason: String,
    message: String,
}

impl Evidence {
    fn fault(self) -> Fault {
        Fault {
            blame: self.symptom.blame(),
            reason: self.reason,
            message: self.message,
        }
    }

    fn hold(self, stable: &Group, began: Timestamp, recheck: Option<Timestamp>) -> Assessment {
        let theirs = stable.showing(self.symptom, began);
        let headline = format!(
            "the stable revision shows the same in {theirs} of {} pods",
            stable.size()
        );
        Assessment::Hold {
            reason: self.reason,
            message: message(&headline, &self.message),
            recheck,
        }
    }
}

/// Completes a rule that more than `tolerated` hits make, by the time at which that many have been due.
fn complete<'a>(
    mut hits: Vec<Hit<'a>>,
    tolerated: usize,
    now: Timestamp,
    evidence: impl FnOnce(&Hit<'a>, usize) -> Evidence,
) -> Option<Finding> {
    hits.sort_by_key(|hit| hit.due);
    let due = hits.get(tolerated)?.due;
    if due > now {
        return Some(Finding::Running { due });
    }
    let mut pods: Vec<_> = hits
        .iter()
        .filter(|hit| hit.due <= now)
        .map(|hit| &hit.pod.uid)
        .collect();
    pods.sort_unstable();
    pods.dedup();
    Some(Finding::Complete(evidence(hits.first()?, pods.len())))
}

/// CrashLoopBackOff: at once.
fn crash_loop(candidate: &Group) -> Option<Finding> {
    let hits: Vec<_> = candidate
        .containers()
        .filter(|(_, c)| c.in_crash_loop())
        .map(at_once)
        .collect();
    complete(hits, 0, Timestamp::MAX, |hit, pods| Evidence {
        symptom: Symptom::Crash,
        reason: super::kubelet::CRASH_LOOP.to_owned(),
        message: container_message(&format!("crash loop in {pods} of {} pods", candidate.size()), hit),
    })
}

/// Failed exits: more than the limit of them while serving, or the third of one container before.
fn crashes(candidate: &Group, limits: &Limits, traffic: Traffic) -> Option<Finding> {
    match traffic {
        Traffic::Carrying => {
            serving_crashes(candidate, limits).or_else(|| repeated_crashes(candidate, traffic))
        }
        Traffic::None => repeated_crashes(candidate, traffic),
    }
}

/// How many failed exits of one container are a fault while it carries no traffic.
const CRASHES_BEFORE_TRAFFIC: i32 = 3;

fn serving_crashes(candidate: &Group, limits: &Limits) -> Option<Finding> {
    let hits: Vec<_> = candidate
        .containers()
        .filter(|(_, c)| c.failed.serving > 0)
        .collect();
    let failed: i32 = hits.iter().map(|(_, c)| c.failed.serving).sum();
    let allowed = limits
        .max_crashes
        .unwrap_or_else(|| default_max_crashes(candidate.size()));
    if failed <= allowed {
        return None;
    }
    let headline = |pods| {
        let total = candidate.size();
        format!("{failed} failed exits while carrying traffic ({allowed} allowed) in {pods} of {total} pods")
    };
    crash_finding(hits, |c| c.failed.serving, headline)
}

fn repeated_crashes(candidate: &Group, traffic: Traffic) -> Option<Finding> {
    let failed = |c: &ContainerSnapshot| match traffic {
        Traffic::None => c.failed.all(),
        Traffic::Carrying => c.failed.before,
    };
    let hits: Vec<_> = candidate
        .containers()
        .filter(|(_, c)| failed(c) >= CRASHES_BEFORE_TRAFFIC)
        .collect();
    let headline = |pods| {
        format!(
            "repeated failed exits before carrying traffic in {pods} of {} pods",
            candidate.size()
        )
    };
    crash_finding(hits, failed, headline)
}

/// One, or 2 % of the pods where that is more.
fn default_max_crashes(pods: usize) -> i32 {
    i32::try_from(pods / 50).unwrap_or(i32::MAX).max(1)
}

/// The finding about crashes; the example is the container that failed most.
fn crash_finding(
    mut hits: Vec<(&PodSnapshot, &ContainerSnapshot)>,
    failed: impl Fn(&ContainerSnapshot) -> i32,
    headline: impl FnOnce(usize) -> String,
) -> Option<Finding> {
    hits.sort_by_key(|(_, c)| Reverse(failed(c)));
    complete(
        hits.into_iter().map(at_once).collect(),
        0,
        Timestamp::MAX,
        |hit, pods| Evidence {
            symptom: Symptom::Crash,
            reason: "TooManyCrashes".to_owned(),
            message: container_message(&headline(pods), hit),
        },
    )
}

fn at_once<'a>((pod, container): (&'a PodSnapshot, &'a ContainerSnapshot)) -> Hit<'a> {
    Hit {
        pod,
        container: Some(container),
        due: Timestamp::MIN,
    }
}

/// Readiness lost by more than max(1, 25 %) of the pods for longer than their probes' window.
fn readiness_lost(candidate: &Group, now: Timestamp) -> Option<Finding> {
    let hits: Vec<_> = candidate
        .0
        .iter()
        .filter_map(|pod| {
            let (since, _) = lost_readiness(pod)?;
            Some(Hit {
                pod,
                container: None,
                due: after(since, pod.readiness_window),
            })
        })
        .collect();
    let tolerated = (candidate.size() / 4).max(1);
    complete(hits, tolerated, now, |hit, pods| {
        let words = lost_readiness(hit.pod)
            .map(|(_, words)| words)
            .unwrap_or_default();
        let window = hit.pod.readiness_window.as_secs();
        let headline = format!(
            "readiness lost for over {window} s by {pods} of {} pods; pod {}",
            candidate.size(),
            hit.pod.name
        );
        Evidence {
            symptom: Symptom::NotReady,
            reason: "ReadinessLost".to_owned(),
            message: message(&headline, words),
        }
    })
}

/// Since when a pod that had been ready is not, and the kubelet's words about it.
fn lost_readiness(pod: &PodSnapshot) -> Option<(Timestamp, &str)> {
    match &pod.readiness {
        Readiness::NotReady {
            since,
            was: Readied::Once,
            message,
        } => Some((*since, message)),
        Readiness::NotReady {
            was: Readied::Never, ..
        }
        | Readiness::Ready { .. } => None,
    }
}

/// The scheduler finds no node for a pod for longer than allowed.
fn unschedulable(candidate: &Group, limits: &Limits, now: Timestamp) -> Option<Finding> {
    let allowed = SignedDuration::from_secs(limits.unschedulable_seconds);
    let hits: Vec<_> = candidate
        .0
        .iter()
        .filter_map(|pod| match &pod.scheduling {
            Scheduling::Unschedulable { since, .. } => Some(Hit {
                pod,
                container: None,
                due: after(*since, allowed),
            }),
            Scheduling::Scheduled | Scheduling::Pending => None,
        })
        .collect();
    complete(hits, 0, now, |hit, pods| {
        let words = match &hit.pod.scheduling {
            Scheduling::Unschedulable { message, .. } => message.as_str(),
            Scheduling::Scheduled | Scheduling::Pending => "",
        };
        let seconds = limits.unschedulable_seconds;
        let headline = format!(
            "no node in {seconds} s for {pods} of {} pods; pod {}",
            candidate.size(),
            hit.pod.name
        );
        Evidence {
            symptom: Symptom::Unschedulable,
            reason: "Unschedulable".to_owned(),
            message: message(&headline, words),
        }
    })
}

const START_TROUBLES: [StartTrouble; 6] = [
    StartTrouble::InvalidImage,
    StartTrouble::ImageNotFound,
    StartTrouble::Configuration,
    StartTrouble::MissingObject,
    StartTrouble::ImagePull,
    StartTrouble::Node,
];

/// How long a trouble must last. Objects that are made together with the service get a moment to appear; what a
/// registry says is final, or was already tried twice.
fn grace(trouble: StartTrouble) -> SignedDuration {
    match trouble {
        StartTrouble::InvalidImage | StartTrouble::ImageNotFound | StartTrouble::ImagePull => {
            SignedDuration::ZERO
        }
        StartTrouble::Configuration | StartTrouble::MissingObject | StartTrouble::Node => {
            SignedDuration::from_secs(10)
        }
    }
}

/// A container of a pod cannot be started.
fn start_troubles(candidate: &Group, trouble: StartTrouble, now: Timestamp) -> Option<Finding> {
    let hits: Vec<_> = candidate
        .containers()
        .filter_map(|(pod, container)| {
            let waiting = container
                .waiting
                .as_ref()
                .filter(|w| start_trouble(w) == Some(trouble))?;
            Some(Hit {
                pod,
                container: Some(container),
                due: after(waiting.not_before, grace(trouble)),
            })
        })
        .collect();
    complete(hits, 0, now, |hit, pods| {
        let waiting = hit.container.and_then(|c| c.waiting.as_ref());
        let (reason, words) = waiting.map_or(("", ""), |w| (w.reason.as_str(), w.message.as_str()));
        let headline = format!("{reason} in {pods} of {} pods; {}", candidate.size(), place(hit));
        Evidence {
            symptom: Symptom::start(trouble),
            reason: trouble_reason(trouble, reason, words).to_owned(),
            message: message(&headline, words),
        }
    })
}

fn trouble_reason<'a>(trouble: StartTrouble, waiting: &'a str, words: &str) -> &'a str {
    match trouble {
        StartTrouble::ImageNotFound => "ImageNotFound",
        StartTrouble::MissingObject => missing_object(words).unwrap_or(waiting),
        StartTrouble::InvalidImage
        | StartTrouble::Configuration
        | StartTrouble::ImagePull
        | StartTrouble::Node => waiting,
    }
}

/// `pod a, container b`.
fn place(hit: &Hit) -> String {
    match hit.container {
        Some(container) => format!(
            "pod {}, {} {}",
            hit.pod.name,
            container.kind.noun(),
            container.name
        ),
        None => format!("pod {}", hit.pod.name),
    }
}

/// The headline, the place, how the container ended last, and its words.
fn container_message(headline: &str, hit: &Hit) -> String {
    let place = place(hit);
    let Some(container) = hit.container else {
        return message(&format!("{headline}; {place}"), "");
    };
    match &container.last_exit {
        None => message(&format!("{headline}; {place}"), ""),
        Some(exit) => {
            let failed = container.failed.all();
            let times = if failed == 1 {
                "failed exit"
            } else {
                "failed exits"
            };
            let reason = if exit.reason.is_empty() {
                String::new()
            } else {
                format!(" ({})", exit.reason)
            };
            let end = format!("{failed} {times}, last exit code {}{reason}", exit.code);
            message(&format!("{headline}; {place}, {end}"), &exit.message)
        }
    }
}

/// A time that much later; the end of time where that is beyond it.
fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
