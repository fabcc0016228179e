//! The rules, each from the candidate's pods to what it found.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::kubelet::{CRASH_LOOP, StartTrouble, missing_object, start_trouble};
use super::symptom::{Group, Symptom, lost_readiness};
use super::text::message;
use super::{ContainerSnapshot, Exit, Limits, PodSnapshot, Scheduling, Traffic};

/// What a rule found.
pub(super) enum Finding {
    /// Its clock runs.
    Running {
        /// When it is complete, unless something changes.
        due: Timestamp,
    },
    /// It is complete.
    Complete(Evidence),
}

/// What completed a rule.
pub(super) struct Evidence {
    /// What the pods show.
    pub(super) symptom: Symptom,
    /// How many of the candidate's pods show it.
    pub(super) pods: usize,
    /// CamelCase reason.
    pub(super) reason: String,
    /// The numbers, one pod as the example, and its container's words.
    pub(super) message: String,
}

/// What all rules found.
pub(super) fn findings(candidate: &Group, limits: &Limits, traffic: Traffic, now: Timestamp) -> Vec<Finding> {
    let pods = [
        crash_loop(candidate, now),
        serving_crashes(candidate, limits, traffic, now),
        repeated_crashes(candidate, traffic, now),
        readiness_lost(candidate, now),
        unschedulable(candidate, limits, now),
    ];
    let starts = START_TROUBLES.map(|trouble| start_troubled(candidate, trouble, now));
    pods.into_iter().chain(starts).flatten().collect()
}

/// Something wrong with one pod or container.
#[derive(Clone, Copy)]
struct Hit<'a> {
    pod: &'a PodSnapshot,
    container: Option<&'a ContainerSnapshot>,
    /// When it has been wrong for long enough.
    due: Timestamp,
}

/// The hits of one rule.
struct Hits<'a> {
    symptom: Symptom,
    hits: Vec<Hit<'a>>,
    /// How many of them are put up with.
    tolerated: usize,
}

impl<'a> Hits<'a> {
    /// What is found: complete when more of them than are tolerated are due. `tell` writes the reason and the message
    /// from the hit that is the example and the number of pods that are due.
    fn finding(
        mut self,
        now: Timestamp,
        tell: impl FnOnce(Hit<'a>, usize) -> (String, String),
    ) -> Option<Finding> {
        self.hits.sort_by_key(|hit| hit.due);
        let due = self.hits.get(self.tolerated)?.due;
        if due > now {
            return Some(Finding::Running { due });
        }
        let example = self.hits.first().copied()?;
        let overdue = distinct_pods(self.hits.iter().filter(|hit| hit.due <= now));
        let (reason, message) = tell(example, overdue);
        Some(Finding::Complete(Evidence {
            symptom: self.symptom,
            pods: distinct_pods(&self.hits),
            reason,
            message,
        }))
    }
}

fn distinct_pods<'a>(hits: impl IntoIterator<Item = &'a Hit<'a>>) -> usize {
    let mut names: Vec<_> = hits.into_iter().map(|hit| &hit.pod.name).collect();
    names.sort_unstable();
    names.dedup();
    names.len()
}

/// CrashLoopBackOff: at once.
fn crash_loop(candidate: &Group, now: Timestamp) -> Option<Finding> {
    let looping = candidate
        .containers()
        .filter(|(_, container)| container.in_crash_loop())
        .collect();
    crash_finding(looping, now, |hit, pods| {
        let headline = format!("crash loop in {pods} of {} pods", candidate.size());
        (CRASH_LOOP.to_owned(), container_message(&headline, hit))
    })
}

/// The reason of failed exits above their limit.
const TOO_MANY_CRASHES: &str = "TooManyCrashes";

/// More failed exits while serving than the strategy allows, all containers together.
fn serving_crashes(candidate: &Group, limits: &Limits, traffic: Traffic, now: Timestamp) -> Option<Finding> {
    let failed = |container: &ContainerSnapshot| match traffic {
        Traffic::Carrying => {
            let unwatched = limits
                .serving_since
                .is_some_and(|since| container.failed_since(since));
            container.failed.serving.max(i32::from(unwatched))
        }
        Traffic::None => 0,
    };
    let failing = most_failed(candidate, 1, failed);
    let sum: i32 = failing.iter().map(|(_, container)| failed(container)).sum();
    let allowed = limits
        .max_crashes
        .unwrap_or_else(|| default_max_crashes(candidate.size()));
    if sum <= allowed {
        return None;
    }
    crash_finding(failing, now, |hit, pods| {
        let total = candidate.size();
        let headline = format!(
            "{sum} failed exits while carrying traffic ({allowed} allowed) in {pods} of {total} pods"
        );
        (TOO_MANY_CRASHES.to_owned(), container_message(&headline, hit))
    })
}

/// One, or 2 % of the pods where that is more.
fn default_max_crashes(pods: usize) -> i32 {
    i32::try_from(pods / 50).unwrap_or(i32::MAX).max(1)
}

/// The failed exit of one container that is a fault before it has carried traffic.
const LAST_TRY: i32 = 3;

/// The third failed exit of one container that carried no traffic.
fn repeated_crashes(candidate: &Group, traffic: Traffic, now: Timestamp) -> Option<Finding> {
    let failed = |container: &ContainerSnapshot| match traffic {
        Traffic::Carrying => container.failed.before,
        Traffic::None => container.failed.all(),
    };
    crash_finding(most_failed(candidate, LAST_TRY, failed), now, |hit, pods| {
        let total = candidate.size();
        let headline = format!("repeated failed exits before carrying traffic in {pods} of {total} pods");
        (TOO_MANY_CRASHES.to_owned(), container_message(&headline, hit))
    })
}

/// The containers that failed at least so often, the worst first.
fn most_failed<'a>(
    candidate: &Group<'a>,
    at_least: i32,
    failed: impl Fn(&ContainerSnapshot) -> i32,
) -> Vec<(&'a PodSnapshot, &'a ContainerSnapshot)> {
    let mut failing: Vec<_> = candidate
        .containers()
        .filter(|(_, c)| failed(c) >= at_least)
        .collect();
    failing.sort_by_key(|(_, container)| Reverse(failed(container)));
    failing
}

/// The finding about containers that end: any of them, at once.
fn crash_finding<'a>(
    containers: Vec<(&'a PodSnapshot, &'a ContainerSnapshot)>,
    now: Timestamp,
    tell: impl FnOnce(Hit<'a>, usize) -> (String, String),
) -> Option<Finding> {
    let hit = |(pod, container)| Hit {
        pod,
        container: Some(container),
        due: Timestamp::MIN,
    };
    let hits = containers.into_iter().map(hit).collect();
    Hits {
        symptom: Symptom::Crash,
        hits,
        tolerated: 0,
    }
    .finding(now, tell)
}

/// Readiness lost by more than max(1, 25 %) of the pods, or by all of them, for longer than their probes' window.
fn readiness_lost(candidate: &Group, now: Timestamp) -> Option<Finding> {
    let hit = |pod: &'_ PodSnapshot| lost_readiness(pod).map(|(since, _)| after(since, pod.readiness_window));
    let hits = candidate
        .pods()
        .filter_map(|pod| {
            Some(Hit {
                pod,
                container: None,
                due: hit(pod)?,
            })
        })
        .collect();
    // Where all of them have lost it nobody is served, and that is never tolerated.
    let tolerated = (candidate.size() / 4)
        .max(1)
        .min(candidate.size().saturating_sub(1));
    Hits {
        symptom: Symptom::NotReady,
        hits,
        tolerated,
    }
    .finding(now, |hit, pods| {
        let (total, window) = (candidate.size(), hit.pod.readiness_window.as_secs());
        let words = lost_readiness(hit.pod).map_or("", |(_, words)| words);
        let headline = format!(
            "readiness lost for over {window} s by {pods} of {total} pods; {}",
            place(hit)
        );
        ("ReadinessLost".to_owned(), message(&headline, words))
    })
}

/// The scheduler finds no node for a pod for longer than allowed.
fn unschedulable(candidate: &Group, limits: &Limits, now: Timestamp) -> Option<Finding> {
    let allowed = SignedDuration::from_secs(limits.unschedulable_seconds);
    let hit = |pod| {
        Some(Hit {
            pod,
            container: None,
            due: after(homeless(pod)?.0, allowed),
        })
    };
    let hits = candidate.pods().filter_map(hit).collect();
    Hits {
        symptom: Symptom::Unschedulable,
        hits,
        tolerated: 0,
    }
    .finding(now, |hit, pods| {
        let (total, seconds) = (candidate.size(), limits.unschedulable_seconds);
        let words = homeless(hit.pod).map_or("", |(_, words)| words);
        let headline = format!(
            "no node in {seconds} s for {pods} of {total} pods; {}",
            place(hit)
        );
        ("Unschedulable".to_owned(), message(&headline, words))
    })
}

/// Since when the scheduler finds no node for the pod, and its words about it.
fn homeless(pod: &PodSnapshot) -> Option<(Timestamp, &str)> {
    match &pod.scheduling {
        Scheduling::Unschedulable { since, message } => Some((*since, message)),
        Scheduling::Scheduled | Scheduling::Pending => None,
    }
}

const START_TROUBLES: [StartTrouble; 6] = [
    StartTrouble::InvalidImage,
    StartTrouble::ImageNotFound,
    StartTrouble::Configuration,
    StartTrouble::MissingObject,
    StartTrouble::ImagePull,
    StartTrouble::Node,
];

/// How long a trouble must last. Objects that are made together with the service get a moment to appear, a node one
/// to recover; what a registry says is final, or was tried twice already.
fn grace(trouble: StartTrouble) -> SignedDuration {
    match trouble {
        StartTrouble::InvalidImage | StartTrouble::ImageNotFound | StartTrouble::ImagePull => {
            SignedDuration::ZERO
        }
        StartTrouble::Configuration | StartTrouble::Node => SignedDuration::from_secs(10),
        // The kubelet looks again after 10 to 15 s: two of its looks, so that an object that came late is seen.
        StartTrouble::MissingObject => SignedDuration::from_secs(30),
    }
}

/// A container cannot be started.
fn start_troubled(candidate: &Group, trouble: StartTrouble, now: Timestamp) -> Option<Finding> {
    let due = |container: &ContainerSnapshot| {
        let waiting = container
            .waiting
            .as_ref()
            .filter(|waiting| start_trouble(waiting) == Some(trouble))?;
        Some(after(waiting.not_before, grace(trouble)))
    };
    let hit = |(pod, container)| {
        Some(Hit {
            pod,
            container: Some(container),
            due: due(container)?,
        })
    };
    let hits = candidate.containers().filter_map(hit).collect();
    Hits {
        symptom: Symptom::start(trouble),
        hits,
        tolerated: 0,
    }
    .finding(now, |hit, pods| {
        let waiting = hit.container.and_then(|container| container.waiting.as_ref());
        let (waits_for, words) = waiting.map_or(("", ""), |w| (w.reason.as_str(), w.message.as_str()));
        let headline = format!(
            "{waits_for} in {pods} of {} pods; {}",
            candidate.size(),
            place(hit)
        );
        (
            start_reason(trouble, waits_for, words).to_owned(),
            message(&headline, words),
        )
    })
}

/// The reason of a container that cannot be started: the kubelet's, or a plainer one where its words tell more.
fn start_reason<'a>(trouble: StartTrouble, waits_for: &'a str, words: &str) -> &'a str {
    match trouble {
        StartTrouble::ImageNotFound => "ImageNotFound",
        StartTrouble::MissingObject => missing_object(words).unwrap_or(waits_for),
        StartTrouble::InvalidImage
        | StartTrouble::Configuration
        | StartTrouble::ImagePull
        | StartTrouble::Node => waits_for,
    }
}

/// `pod a` or `pod a, container b`.
fn place(hit: Hit) -> String {
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

/// The headline, the place, how often and how the container ended, and its words.
fn container_message(headline: &str, hit: Hit) -> String {
    let place = place(hit);
    match hit
        .container
        .and_then(|container| Some((container, container.last_exit.as_ref()?)))
    {
        Some((container, exit)) => {
            let ends = ends(container.failed.all(), exit);
            message(&format!("{headline}; {place}, {ends}"), &exit.message)
        }
        None => message(&format!("{headline}; {place}"), ""),
    }
}

/// `2 failed exits, last exit code 137 (OOMKilled)`.
fn ends(failed: i32, last: &Exit) -> String {
    let noun = if failed == 1 {
        "failed exit"
    } else {
        "failed exits"
    };
    let reason = if last.reason.is_empty() {
        String::new()
    } else {
        format!(" ({})", last.reason)
    };
    format!("{failed} {noun}, last exit code {}{reason}", last.code)
}

/// A time that much later; the end of time where that lies beyond it.
fn after(time: Timestamp, duration: SignedDuration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}
