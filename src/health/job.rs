//! What a Job and its pods say: whether it is done, how it failed, and what it waits for.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use k8s_openapi::api::core::v1::Pod;
use serde::Serialize;

use super::container::ContainerSnapshot;
use super::kubelet::start_trouble;
use super::symptom::Symptom;
use super::text::message;
use super::{Exit, Fault, NodeReadiness, PodHistory, PodSnapshot, Scheduling, Standing};
use crate::api::Blame;

/// How a Job stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobOutcome {
    /// It runs, waits, or has not begun.
    Running,
    /// It is done.
    Succeeded,
    /// It failed for good: out of tries, or out of time. The reason is [`JOB_FAILED`]; who knows what the Job was for
    /// puts a better one in its place. The blame is the environment's where all that was missing was an image that
    /// cannot be had at the moment, an object, or a node.
    Failed(Fault),
}

/// The reason of a Job's fault, for whoever knows nothing better.
pub const JOB_FAILED: &str = "JobFailed";

/// What a Job waits for, or what went wrong with it last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobTrouble {
    /// Whose fault it is if it never passes.
    pub blame: Blame,
    /// One line of at most 1 KiB that names the pod, with the container's own last words where it has any.
    pub words: String,
}

/// How `job` stands. `pods` may hold pods of others, they are told by their owner; `earlier` is what
/// [`job_trouble`] said last: when a Job fails for its time, its pod and what that waited for are gone.
pub fn job_outcome(job: &Job, pods: &[&Pod], earlier: Option<&JobTrouble>) -> JobOutcome {
    // Since Kubernetes 1.31 both ends have a condition that says so before the last pod is gone, and neither is
    // ever taken back.
    let said = |types: [&str; 2]| types.iter().find_map(|type_| condition(job, type_));
    if let Some(failure) = said(["FailureTarget", "Failed"]) {
        JobOutcome::Failed(fault(job, failure, job_trouble(job, pods, earlier)))
    } else if said(["SuccessCriteriaMet", "Complete"]).is_some() {
        JobOutcome::Succeeded
    } else {
        JobOutcome::Running
    }
}

/// What `job` waits for, or how it failed last; `None` where nothing is wrong.
///
/// Of several pods the latest one counts that is to run. Where there is none the last failure is told, and where that
/// pod is gone too, what was said `earlier`.
pub fn job_trouble(job: &Job, pods: &[&Pod], earlier: Option<&JobTrouble>) -> Option<JobTrouble> {
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return Some(JobTrouble {
            blame: Blame::Environment,
            words: "somebody has suspended it".to_owned(),
        });
    }
    let pods = own_pods(job, pods);
    let running = pods.iter().rev().find(|(_, pod)| is_to_run(pod));
    let failure = || {
        let mut ended = pods.iter().rev();
        ended.find_map(|(pod, snapshot)| failure(pod, snapshot))
    };
    let tried = job.status.as_ref().and_then(|status| status.failed).unwrap_or(0) > 0;
    match running {
        Some((_, pod)) => waiting(pod).or_else(|| tried.then(failure).flatten()),
        None => failure().or_else(|| earlier.cloned()),
    }
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_deref().unwrap_or_default();
    conditions.iter().find(|c| c.type_ == type_ && c.status == "True")
}

/// The pods of the Job, the oldest first.
fn own_pods<'a>(job: &Job, pods: &[&'a Pod]) -> Vec<(&'a Pod, PodSnapshot)> {
    let owned = |pod: &&&Pod| {
        let mut owners = pod.metadata.owner_references.iter().flatten();
        owners.any(|owner| owner.controller == Some(true) && Some(&owner.uid) == job.metadata.uid.as_ref())
    };
    let read = |pod: &&'a Pod| {
        let snapshot = PodSnapshot::of(pod, &PodHistory::first_sight(pod), NodeReadiness::Unknown);
        (*pod, snapshot)
    };
    let mut all: Vec<_> = pods.iter().filter(owned).map(read).collect();
    all.sort_by(|(_, a), (_, b)| (a.created, &a.name).cmp(&(b.created, &b.name)));
    all
}

fn is_to_run(pod: &PodSnapshot) -> bool {
    match pod.standing {
        Standing::Live | Standing::NodeNotReady | Standing::Disrupted => true,
        Standing::Ended | Standing::Deleting => false,
    }
}

/// What keeps a pod from running.
fn waiting(pod: &PodSnapshot) -> Option<JobTrouble> {
    if let Scheduling::Unschedulable { message: words, .. } = &pod.scheduling {
        return Some(JobTrouble {
            blame: Blame::Environment,
            words: message(&format!("pod {} has no node", pod.name), words),
        });
    }
    let waits = |container: &ContainerSnapshot| {
        let waiting = container.waiting.as_ref()?;
        // What passes by itself, and what a state says that nobody has looked at yet.
        if ["", "ContainerCreating", "PodInitializing"].contains(&waiting.reason.as_str()) {
            return None;
        }
        let trouble = start_trouble(waiting);
        Some(JobTrouble {
            blame: trouble.map_or(Blame::Environment, |trouble| Symptom::start(trouble).blame()),
            words: message(&format!("pod {}: {}", pod.name, waiting.reason), &waiting.message),
        })
    };
    pod.containers.iter().find_map(waits)
}

/// How a pod failed: by its container, or by the node that would not have it. Not by a disruption, which is not
/// counted as a try.
fn failure(pod: &Pod, snapshot: &PodSnapshot) -> Option<JobTrouble> {
    let exit = snapshot
        .containers
        .iter()
        .find_map(|container| container.last_exit.as_ref().filter(|exit| exit.failed()));
    if let Some(exit) = exit {
        return Some(JobTrouble {
            blame: Blame::Candidate,
            words: message(&format!("pod {}, {}", snapshot.name, ending(exit)), &exit.message),
        });
    }
    let status = pod.status.as_ref()?;
    let reason = status.reason.as_deref().filter(|reason| !reason.is_empty())?;
    let ended = status.phase.as_deref() == Some("Failed");
    ended.then(|| JobTrouble {
        blame: Blame::Environment,
        words: message(
            &format!("pod {}: {reason}", snapshot.name),
            status.message.as_deref().unwrap_or_default(),
        ),
    })
}

/// `exit code 3`, `exit code 143 (signal 15)`, `exit code 137 (OOMKilled)`.
fn ending(exit: &Exit) -> String {
    let signal = exit.code - 128;
    match exit.reason.as_str() {
        "" | "Error" | "Completed" if (1..=64).contains(&signal) => {
            format!("exit code {} (signal {signal})", exit.code)
        }
        "" | "Error" | "Completed" => format!("exit code {}", exit.code),
        reason => format!("exit code {} ({reason})", exit.code),
    }
}

/// The fault of a Job that failed.
fn fault(job: &Job, failure: &JobCondition, trouble: Option<JobTrouble>) -> Fault {
    let name = job.metadata.name.as_deref().unwrap_or_default();
    let failed = job.status.as_ref().and_then(|status| status.failed).unwrap_or(0);
    let seconds = job
        .spec
        .as_ref()
        .and_then(|spec| spec.active_deadline_seconds)
        .unwrap_or(0);
    let out_of_time = failure.reason.as_deref() == Some("DeadlineExceeded");
    let headline = match failure.reason.as_deref() {
        Some("DeadlineExceeded") => format!("Job {name} was not done within {seconds} s"),
        Some("BackoffLimitExceeded") if failed > 1 => format!("Job {name} failed in {failed} tries"),
        _ => format!("Job {name} failed"),
    };
    let (blame, words) = match trouble {
        Some(trouble) => (trouble.blame, trouble.words),
        // No pod was ever made: a quota, or an admission that refuses it. Only events tell which.
        None if out_of_time && failed == 0 => (
            Blame::Environment,
            "it never had a pod; its events say why".to_owned(),
        ),
        None => (Blame::Candidate, failure.message.clone().unwrap_or_default()),
    };
    Fault {
        // What ran and did not end, or ended badly, is the revision's own doing.
        blame,
        reason: JOB_FAILED.to_owned(),
        message: message(&headline, &words),
    }
}
