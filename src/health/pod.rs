//! What one pod says: a core Pod and its history, read once.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ContainerStatus, Pod, PodCondition, PodSpec, PodStatus, Probe};
use kube::ResourceExt;

use super::container::last_exit;
use super::{ContainerKind, ContainerSnapshot, PodHistory, Waiting};
use crate::api::{Role, labels};

/// Whether a pod's node is ready, as far as the caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeReadiness {
    /// Its condition Ready is True.
    Ready,
    /// It is not, or the node is gone.
    NotReady,
    /// The caller may not read nodes. A node that is lost shows in its pods all the same: the control plane sets their
    /// Ready to False but cannot change ContainersReady, which only the kubelet writes.
    Unknown,
}

/// How a pod stands, and so whether its troubles count. Where several apply, the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It is to run: its troubles are its revision's.
    Live,
    /// Its node is not ready.
    NodeNotReady,
    /// It is about to be evicted, preempted or ended with its node (condition DisruptionTarget).
    Disrupted,
    /// Its phase is Failed or Succeeded. A service's containers are always restarted, so the pod itself was ended:
    /// evicted, preempted, refused by the node, or lost with it.
    Ended,
    /// It has a deletionTimestamp.
    Deleting,
}

/// Whether a pod had been ready before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readied {
    /// At least once.
    Once,
    /// Not as far as is known.
    Never,
}

/// Whether a pod is ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready {
        /// Since when.
        since: Timestamp,
    },
    /// It is not.
    NotReady {
        /// Since when; for a pod that never was, since its kubelet knows it.
        since: Timestamp,
        /// Whether it had been.
        was: Readied,
        /// What the kubelet says about it, for example `containers with unready status: [orders]`.
        message: String,
    },
}

/// Whether a pod has a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// It has.
    Scheduled,
    /// The scheduler has not looked yet, or is told to wait (scheduling gates).
    Pending,
    /// The scheduler finds none.
    Unschedulable {
        /// Since when.
        since: Timestamp,
        /// The scheduler's count of nodes and reasons.
        message: String,
    },
}

/// A pod as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodSnapshot {
    /// Its name.
    pub name: String,
    /// Its UID; "" for an object that no API server has seen.
    pub uid: String,
    /// The revision that it belongs to, from its label; "" where it has none.
    pub revision: String,
    /// The role that its label names.
    pub role: Option<Role>,
    /// The node that it is on.
    pub node: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// When its kubelet took it on.
    pub started: Option<Timestamp>,
    /// How it stands.
    pub standing: Standing,
    /// Whether it is ready.
    pub readiness: Readiness,
    /// Whether it has a node.
    pub scheduling: Scheduling,
    /// Its containers: init containers and sidecars first, in the order of its spec.
    pub containers: Vec<ContainerSnapshot>,
    /// How long its main container's readiness probe must fail before it counts: failureThreshold x periodSeconds.
    pub readiness_window: SignedDuration,
}

impl PodSnapshot {
    /// Reads a pod. Use [`super::ExitLedger::snapshot`] where there is a ledger.
    pub fn of(pod: &Pod, history: &PodHistory, node: NodeReadiness) -> Self {
        let created = created(pod);
        let empty = (PodSpec::default(), PodStatus::default());
        let spec = pod.spec.as_ref().unwrap_or(&empty.0);
        let status = pod.status.as_ref().unwrap_or(&empty.1);
        Self {
            name: pod.name_any(),
            uid: pod.uid().unwrap_or_default(),
            revision: pod.labels().get(labels::REVISION).cloned().unwrap_or_default(),
            role: pod.labels().get(labels::ROLE).and_then(|name| role(name)),
            node: spec.node_name.clone(),
            created,
            started: status.start_time.as_ref().map(|t| t.0),
            standing: standing(pod, node),
            readiness: readiness(pod, history.readied()),
            scheduling: scheduling(spec, status, created),
            containers: containers(pod, spec, status, history),
            readiness_window: readiness_window(main_container(pod, spec)),
        }
    }

    /// Whether its troubles count: they do not while it is being deleted, was disrupted, or sits on a node that is not
    /// ready.
    pub fn counted(&self) -> bool {
        self.standing == Standing::Live
    }

    /// The digest of the image that its main container runs.
    pub fn image_id(&self) -> Option<&str> {
        self.containers
            .iter()
            .find(|c| c.kind == ContainerKind::Main)
            .and_then(|c| c.image_id.as_deref())
    }
}

/// When the pod was made; the beginning of time for one that no API server has seen.
fn created(pod: &Pod) -> Timestamp {
    pod.metadata
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0)
}

fn role(name: &str) -> Option<Role> {
    [Role::Stable, Role::Candidate, Role::Previous]
        .into_iter()
        .find(|role| role.as_str() == name)
}

/// The pod's condition of a type.
pub(super) fn condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    status_condition(pod.status.as_ref()?, type_)
}

fn status_condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status
        .conditions
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|c| c.type_ == type_)
}

fn is_true(condition: Option<&PodCondition>) -> bool {
    condition.is_some_and(|c| c.status == "True")
}

/// When the condition last changed.
pub(super) fn changed(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|t| t.0)
}

/// Whether the pod is ready now.
pub(super) fn is_ready(pod: &Pod) -> bool {
    is_true(condition(pod, "Ready"))
}

fn standing(pod: &Pod, node: NodeReadiness) -> Standing {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    if pod.metadata.deletion_timestamp.is_some() {
        Standing::Deleting
    } else if matches!(phase, Some("Failed" | "Succeeded")) {
        Standing::Ended
    } else if is_true(condition(pod, "DisruptionTarget")) {
        Standing::Disrupted
    } else if node == NodeReadiness::NotReady || lost_node(pod) {
        Standing::NodeNotReady
    } else {
        Standing::Live
    }
}

/// Whether the control plane, not the kubelet, made the pod unready: see [`NodeReadiness::Unknown`]. A pod with
/// readiness gates looks the same when a gate is closed.
fn lost_node(pod: &Pod) -> bool {
    let gates = pod
        .spec
        .as_ref()
        .and_then(|s| s.readiness_gates.as_deref())
        .unwrap_or_default();
    let unready = condition(pod, "Ready").is_some_and(|c| c.status == "False");
    gates.is_empty() && unready && is_true(condition(pod, "ContainersReady"))
}

fn readiness(pod: &Pod, was: Readied) -> Readiness {
    let ready = condition(pod, "Ready");
    let since = ready.and_then(changed).unwrap_or_else(|| created(pod));
    if is_true(ready) {
        Readiness::Ready { since }
    } else {
        let message = ready.and_then(|c| c.message.clone()).unwrap_or_default();
        Readiness::NotReady { since, was, message }
    }
}

fn scheduling(spec: &PodSpec, status: &PodStatus, created: Timestamp) -> Scheduling {
    match status_condition(status, "PodScheduled") {
        _ if spec.node_name.is_some() => Scheduling::Scheduled,
        Some(c) if c.status == "True" => Scheduling::Scheduled,
        Some(c) if c.status == "False" && c.reason.as_deref() == Some("Unschedulable") => {
            Scheduling::Unschedulable {
                since: changed(c).unwrap_or(created),
                message: c.message.clone().unwrap_or_default(),
            }
        }
        Some(_) | None => Scheduling::Pending,
    }
}

/// The container that is the service: the one named like it, else the first.
fn main_container<'a>(pod: &Pod, spec: &'a PodSpec) -> Option<&'a Container> {
    let service = pod.labels().get(labels::INSTANCE);
    spec.containers
        .iter()
        .find(|c| Some(&c.name) == service)
        .or_else(|| spec.containers.first())
}

/// Kubernetes' defaults for a probe, which also stand in where there is none.
const DEFAULT_FAILURE_THRESHOLD: i32 = 3;
const DEFAULT_PERIOD_SECONDS: i32 = 10;

fn readiness_window(main: Option<&Container>) -> SignedDuration {
    let probe: Option<&Probe> = main.and_then(|c| c.readiness_probe.as_ref());
    let threshold = probe
        .and_then(|p| p.failure_threshold)
        .unwrap_or(DEFAULT_FAILURE_THRESHOLD);
    let period = probe
        .and_then(|p| p.period_seconds)
        .unwrap_or(DEFAULT_PERIOD_SECONDS);
    SignedDuration::from_secs(i64::from(threshold) * i64::from(period))
}

/// The statuses of the containers, init containers first.
pub(super) fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.as_ref();
    let init = status
        .and_then(|s| s.init_container_statuses.as_deref())
        .unwrap_or_default();
    let app = status
        .and_then(|s| s.container_statuses.as_deref())
        .unwrap_or_default();
    init.iter().chain(app)
}

fn containers(pod: &Pod, spec: &PodSpec, status: &PodStatus, history: &PodHistory) -> Vec<ContainerSnapshot> {
    let main = main_container(pod, spec).map(|c| c.name.as_str());
    let startable = startable(pod, status);
    statuses(pod)
        .map(|s| ContainerSnapshot {
            name: s.name.clone(),
            kind: kind(&s.name, main, spec),
            waiting: waiting(s, startable),
            failed: history.failed(&s.name),
            last_exit: last_exit(s),
            image_id: Some(s.image_id.clone()).filter(|id| !id.is_empty()),
        })
        .collect()
}

fn kind(name: &str, main: Option<&str>, spec: &PodSpec) -> ContainerKind {
    let init = spec
        .init_containers
        .as_deref()
        .unwrap_or_default()
        .iter()
        .find(|c| c.name == name);
    match init {
        Some(c) if c.restart_policy.as_deref() == Some("Always") => ContainerKind::Sidecar,
        Some(_) => ContainerKind::Init,
        None if main == Some(name) => ContainerKind::Main,
        None => ContainerKind::Companion,
    }
}

/// When the pod's next container could start at the earliest.
fn startable(pod: &Pod, status: &PodStatus) -> Timestamp {
    let scheduled = condition_true_since(status, "PodScheduled");
    let sandbox = condition_true_since(status, "PodReadyToStartContainers");
    let kubelet = status.start_time.as_ref().map(|t| t.0);
    let init = status
        .init_container_statuses
        .iter()
        .flatten()
        .filter_map(last_exit)
        .filter_map(|e| e.finished_at);
    [scheduled, sandbox, kubelet]
        .into_iter()
        .flatten()
        .chain(init)
        .fold(created(pod), Timestamp::max)
}

fn condition_true_since(status: &PodStatus, type_: &str) -> Option<Timestamp> {
    status_condition(status, type_)
        .filter(|c| c.status == "True")
        .and_then(changed)
}

fn waiting(status: &ContainerStatus, startable: Timestamp) -> Option<Waiting> {
    let waiting = status.state.as_ref()?.waiting.as_ref()?;
    let ended = last_exit(status).and_then(|e| e.finished_at);
    Some(Waiting {
        reason: waiting.reason.clone().unwrap_or_default(),
        message: waiting.message.clone().unwrap_or_default(),
        not_before: ended.map_or(startable, |at| at.max(startable)),
    })
}
