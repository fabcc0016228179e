//! Pods as the engine counts them.

use super::{PodSnapshot, Readiness, Standing};

/// How many pods a revision has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Pods that are there to stay: not being deleted, not ended (an evicted pod stays listed until it is collected).
    pub live: i32,
    /// Of the live ones, those that are ready.
    pub ready: i32,
    /// Pods that are being deleted but still there, and may still run.
    pub terminating: i32,
}

/// Counts the pods.
pub fn readiness<'a>(pods: impl IntoIterator<Item = &'a PodSnapshot>) -> Counts {
    pods.into_iter()
        .fold(Counts::default(), |counts, pod| match pod.standing {
            Standing::Deleting => Counts {
                terminating: counts.terminating + 1,
                ..counts
            },
            Standing::Ended => counts,
            Standing::Live | Standing::Disrupted | Standing::NodeNotReady => Counts {
                live: counts.live + 1,
                ready: counts.ready + i32::from(matches!(pod.readiness, Readiness::Ready { .. })),
                ..counts
            },
        })
}
