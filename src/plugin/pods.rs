//! A pod in a line.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::ResourceExt;

use super::page::Tone;
use crate::api::labels;

/// What is told of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodLine {
    /// Its name.
    pub name: String,
    /// The revision that it belongs to.
    pub revision: String,
    /// How it is, in a word or two.
    pub words: String,
    /// What the words mean.
    pub tone: Tone,
    /// Its ready containers.
    pub ready: usize,
    /// Its containers.
    pub containers: usize,
    /// How often containers of it were started again.
    pub restarts: i32,
    /// Since when it has been there.
    pub created: Option<Timestamp>,
    /// The node that it is on.
    pub node: Option<String>,
}

impl PodLine {
    /// What is told of `pod`.
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let containers = status.container_statuses.unwrap_or_default();
        let started = status.init_container_statuses.unwrap_or_default();
        let phase = status.phase.unwrap_or_else(|| "Pending".to_owned());
        let ready = status
            .conditions
            .iter()
            .flatten()
            .any(|c| c.type_ == "Ready" && c.status == "True");
        let (words, tone) = if pod.metadata.deletion_timestamp.is_some() {
            ("ending".to_owned(), Tone::Dim)
        } else if ready {
            ("ready".to_owned(), Tone::Good)
        } else if let Some(reason) = started.iter().chain(&containers).find_map(trouble) {
            (reason, Tone::Bad)
        } else if phase == "Running" {
            ("not ready".to_owned(), Tone::Busy)
        } else {
            let tone = if phase == "Failed" { Tone::Bad } else { Tone::Busy };
            (phase, tone)
        };
        Self {
            name: pod.name_any(),
            revision: pod.labels().get(labels::REVISION).cloned().unwrap_or_default(),
            words,
            tone,
            ready: containers.iter().filter(|c| c.ready).count(),
            containers: pod.spec.as_ref().map_or(0, |spec| spec.containers.len()),
            restarts: started.iter().chain(&containers).map(|c| c.restart_count).sum(),
            created: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
            node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        }
    }
}

/// Why a container does not run.
fn trouble(container: &ContainerStatus) -> Option<String> {
    let state = container.state.as_ref()?;
    let ended = || {
        let ended = state.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
        Some(
            ended
                .reason
                .clone()
                .unwrap_or_else(|| format!("exit {}", ended.exit_code)),
        )
    };
    let waits = state.waiting.as_ref().and_then(|waiting| waiting.reason.clone());
    waits
        .filter(|reason| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"))
        .or_else(ended)
}
