//! What one container of a pod says.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus};

use super::kubelet;

/// The part that a container plays in its pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContainerKind {
    /// The service's own container.
    Main,
    /// Another container that runs beside it.
    Companion,
    /// An init container that keeps running (restartPolicy Always).
    Sidecar,
    /// An init container that runs to its end before the others start.
    Init,
}

impl ContainerKind {
    /// What a message calls it.
    pub fn noun(self) -> &'static str {
        match self {
            Self::Main | Self::Companion => "container",
            Self::Sidecar => "sidecar",
            Self::Init => "init container",
        }
    }
}

/// A container as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSnapshot {
    /// Its name in the pod's spec.
    pub name: String,
    /// The part that it plays.
    pub kind: ContainerKind,
    /// Why it does not run. Absent: it runs, or has ended.
    pub waiting: Option<Waiting>,
    /// How often it failed.
    pub failed: FailedExits,
    /// How it ended last, failed or not. Absent: it never ended.
    pub last_exit: Option<Exit>,
    /// The digest of the image that it runs, as the kubelet writes it. Absent: not pulled yet.
    pub image_id: Option<String>,
}

impl ContainerSnapshot {
    /// Whether the kubelet holds it back because it keeps ending.
    pub fn in_crash_loop(&self) -> bool {
        self.waiting
            .as_ref()
            .is_some_and(|w| w.reason == kubelet::CRASH_LOOP)
    }

    /// Whether it failed at `since` or later, as far as its last end tells.
    pub fn failed_since(&self, since: Timestamp) -> bool {
        self.last_exit
            .as_ref()
            .is_some_and(|e| e.failed() && e.finished_at.is_some_and(|at| at >= since))
    }
}

/// Why a container does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// The kubelet's reason, for example CrashLoopBackOff.
    pub reason: String,
    /// The kubelet's message; "" where it gives none.
    pub message: String,
    /// The waiting cannot have begun before: a waiting state carries no time of its own. It is when the container
    /// could start at the earliest: the pod's sandbox was there, the init containers before it were done, and it had
    /// itself ended. What may lie between that and the true beginning is the pull of its image.
    pub not_before: Timestamp,
}

/// How often a container failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedExits {
    /// Before its pod was ready for the first time.
    pub before: i32,
    /// After that, which is while it served if its revision carried traffic.
    pub serving: i32,
}

impl FailedExits {
    /// All of them.
    pub fn all(self) -> i32 {
        self.before.saturating_add(self.serving)
    }
}

/// How a container ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; 128 + n for signal n.
    pub code: i32,
    /// The runtime's reason: Completed, Error, OOMKilled, StartError, ...; "" where it gives none.
    pub reason: String,
    /// Its own last words: the termination message, or the end of its log.
    pub message: String,
    /// When it ended, to the second. Absent: not known.
    pub finished_at: Option<Timestamp>,
}

impl Exit {
    /// Whether the container failed by its own doing. A container whose end nobody saw (the node or the runtime was
    /// restarted under it) has exit code 137 or 255, but says nothing about the revision.
    pub fn failed(&self) -> bool {
        !kubelet::UNSEEN_ENDS.contains(&self.reason.as_str())
            && (self.code != 0 || self.reason == kubelet::OOM_KILLED)
    }
}

impl From<&ContainerStateTerminated> for Exit {
    fn from(end: &ContainerStateTerminated) -> Self {
        Self {
            code: end.exit_code,
            reason: end.reason.clone().unwrap_or_default(),
            message: end.message.clone().unwrap_or_default(),
            finished_at: end.finished_at.as_ref().map(|t| t.0),
        }
    }
}

fn ended(state: Option<&ContainerState>) -> Option<&ContainerStateTerminated> {
    state.and_then(|s| s.terminated.as_ref())
}

/// The container's end before the present instance, or the present one's where it waits to be started again.
fn last_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    ended(status.last_state.as_ref())
}

/// The end of the present instance while it is not waited on yet.
fn present_end(status: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    ended(status.state.as_ref())
}

/// How the container ended last.
pub(super) fn last_exit(status: &ContainerStatus) -> Option<Exit> {
    present_end(status).or_else(|| last_end(status)).map(Exit::from)
}

/// How often the container has ended. `restartCount` is the number of the present instance, and an instance that is
/// waiting to be replaced has ended too: the kubelet then moves its end to `lastState` and keeps its ID.
pub(super) fn exits(status: &ContainerStatus) -> i32 {
    let waiting_after_end = last_end(status)
        .and_then(|end| end.container_id.as_deref())
        .is_some_and(|id| status.container_id.as_deref() == Some(id));
    let present_ended = present_end(status).is_some() || waiting_after_end;
    status.restart_count.saturating_add(i32::from(present_ended))
}

/// How many of the ends since the `known`th were failures. Only the last two are told apart; those before them, which
/// one update may swallow, are taken to have been like the older of the two.
pub(super) fn failures_since(status: &ContainerStatus, known: i32) -> i32 {
    let fresh = exits(status).saturating_sub(known).max(0);
    let failed = |end: Option<&ContainerStateTerminated>| end.is_some_and(|e| Exit::from(e).failed());
    match present_end(status) {
        None => fresh * i32::from(failed(last_end(status))),
        Some(_) if fresh == 0 => 0,
        Some(end) => i32::from(failed(Some(end))) + (fresh - 1) * i32::from(failed(last_end(status))),
    }
}
