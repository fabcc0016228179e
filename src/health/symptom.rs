//! What pods can show, and how much of it the stable revision shows too.

use jiff::{SignedDuration, Timestamp};

use super::kubelet::{StartTrouble, start_trouble};
use super::{ContainerSnapshot, PodSnapshot, Readied, Readiness, Scheduling};
use crate::api::Blame;

/// What pods can show, the gravest first; candidate faults stand before environment faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Symptom {
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
    /// The symptom of a container that cannot start.
    pub(super) fn start(trouble: StartTrouble) -> Self {
        match trouble {
            StartTrouble::InvalidImage | StartTrouble::ImageNotFound | StartTrouble::Configuration => {
                Self::CandidateStart(trouble)
            }
            StartTrouble::MissingObject | StartTrouble::ImagePull | StartTrouble::Node => {
                Self::EnvironmentStart(trouble)
            }
        }
    }

    /// Whose fault it is, where stable does not share it.
    pub(super) fn blame(self) -> Blame {
        match self {
            Self::Crash | Self::CandidateStart(_) | Self::NotReady => Blame::Candidate,
            Self::EnvironmentStart(_) | Self::Unschedulable => Blame::Environment,
        }
    }

    /// Whether a pod shows it now; a crash counts from `since` on.
    fn shown_by(self, pod: &PodSnapshot, since: Timestamp) -> bool {
        match self {
            Self::Crash => pod
                .containers
                .iter()
                .any(|c| c.in_crash_loop() || c.failed_since(since)),
            Self::NotReady => lost_readiness(pod).is_some(),
            Self::CandidateStart(trouble) | Self::EnvironmentStart(trouble) => pod
                .containers
                .iter()
                .any(|c| c.waiting.as_ref().and_then(start_trouble) == Some(trouble)),
            Self::Unschedulable => matches!(pod.scheduling, Scheduling::Unschedulable { .. }),
        }
    }
}

/// Since when a pod that had been ready is not, and the kubelet's words about it.
pub(super) fn lost_readiness(pod: &PodSnapshot) -> Option<(Timestamp, &str)> {
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

/// The pods of one revision that count, by name.
pub(super) struct Group<'a>(Vec<&'a PodSnapshot>);

impl<'a> Group<'a> {
    /// Of these, the ones that count.
    pub(super) fn of(pods: &'a [PodSnapshot]) -> Self {
        let mut counted: Vec<_> = pods.iter().filter(|pod| pod.counted()).collect();
        counted.sort_by_key(|pod| (&pod.name, &pod.uid));
        Self(counted)
    }

    /// How many they are.
    pub(super) fn size(&self) -> usize {
        self.0.len()
    }

    /// The pods.
    pub(super) fn pods(&self) -> impl Iterator<Item = &'a PodSnapshot> {
        self.0.iter().copied()
    }

    /// Each container with its pod.
    pub(super) fn containers(&self) -> impl Iterator<Item = (&'a PodSnapshot, &'a ContainerSnapshot)> {
        self.pods()
            .flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)))
    }

    fn began(&self) -> Option<Timestamp> {
        self.pods().map(|pod| pod.created).min()
    }
}

/// For how long a crash is a symptom of today: after ten minutes of running the kubelet, too, forgets it.
const CRASH_IS_NEWS: SignedDuration = SignedDuration::from_mins(10);

/// When containers of these pods failed last. None: some of them are in a crash loop, or nobody knows.
fn crashed_last(candidate: &Group) -> Option<Timestamp> {
    let containers = || candidate.containers().map(|(_, container)| container);
    if containers().any(ContainerSnapshot::in_crash_loop) {
        return None;
    }
    containers()
        .filter_map(|container| container.last_exit.as_ref())
        .filter(|exit| exit.failed())
        .filter_map(|exit| exit.finished_at)
        .max()
}

/// The stable revision's pods, as the measure of what would be wrong without the change as well.
pub(super) struct Measure<'a> {
    stable: Group<'a>,
    candidates: usize,
    crashes_since: Timestamp,
    /// When the candidate's containers failed last; now, where some of them keep failing.
    crashed_last: Timestamp,
    /// When the first of the candidate's pods lost its readiness.
    lost_since: Option<Timestamp>,
    now: Timestamp,
}

impl<'a> Measure<'a> {
    /// Crashes of stable pods count from the candidate's first pod on, and while they are news beside the candidate's
    /// own: what hit both does not become the candidate's alone by getting older.
    pub(super) fn new(candidate: &Group, stable: Group<'a>, now: Timestamp) -> Self {
        let crashed_last = crashed_last(candidate).map_or(now, |last| last.min(now));
        let news = crashed_last.checked_sub(CRASH_IS_NEWS).unwrap_or(Timestamp::MIN);
        Self {
            stable,
            candidates: candidate.size(),
            crashes_since: candidate.began().map_or(news, |began| began.max(news)),
            lost_since: candidate
                .pods()
                .filter_map(|pod| lost_readiness(pod).map(|(since, _)| since))
                .min(),
            crashed_last,
            now,
        }
    }

    /// Whether a symptom that stable shared is over: nobody keeps crashing, and the crashes are no news any more.
    pub(super) fn is_past(&self, symptom: Symptom) -> bool {
        symptom == Symptom::Crash
            && self
                .crashed_last
                .checked_add(CRASH_IS_NEWS)
                .is_ok_and(|until| until < self.now)
    }

    /// Until when a pod that became ready after the candidate's pods had lost it counts as one that shares their
    /// trouble: what hit both is over, and the candidate's probes have one more window to say so too.
    fn recovering(&self, pod: &PodSnapshot) -> Option<Timestamp> {
        let Readiness::Ready { since } = &pod.readiness else {
            return None;
        };
        let until = since.checked_add(pod.readiness_window).ok()?;
        (self.lost_since.is_some_and(|lost| *since >= lost) && until > self.now).then_some(until)
    }

    /// When the last stable pod will have been ready for a whole window again; `None` where none is recovering.
    pub(super) fn recovered_at(&self, symptom: Symptom) -> Option<Timestamp> {
        let recovering = self.stable.pods().filter_map(|pod| self.recovering(pod));
        recovering.max().filter(|_| symptom == Symptom::NotReady)
    }

    /// How many stable pods show the symptom, and how many there are.
    pub(super) fn showing(&self, symptom: Symptom) -> (usize, usize) {
        let shown = self
            .stable
            .pods()
            .filter(|pod| {
                symptom.shown_by(pod, self.crashes_since)
                    || symptom == Symptom::NotReady && self.recovering(pod).is_some()
            })
            .count();
        (shown, self.stable.size())
    }

    /// Whether stable shows the symptom with at least half of the share that `hit` of the candidate's pods are.
    pub(super) fn shares(&self, symptom: Symptom, hit: usize) -> bool {
        let (shown, size) = self.showing(symptom);
        shown > 0 && 2 * shown * self.candidates >= hit * size
    }
}
