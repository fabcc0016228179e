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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::fixtures::{PodFixture, at, end, failure as failed_end};
    use super::*;

    fn job(status: Value) -> Job {
        let job = json!({
            "metadata": {"name": "orders-b-x", "namespace": "shop", "uid": "job-1"},
            "spec": {"activeDeadlineSeconds": 600, "backoffLimit": 1, "template": {}},
            "status": status,
        });
        serde_json::from_value(job).unwrap()
    }

    fn ended(type_: &str, reason: &str, failed: i32) -> Job {
        job(json!({"failed": failed, "conditions": [
            {"type": "Suspended", "status": "False"},
            {"type": type_, "status": "True", "reason": reason, "message": "Kubernetes' words"},
        ]}))
    }

    /// A pod of the Job; its container's state is to be given.
    fn pod(name: &str, created: i64) -> PodFixture {
        PodFixture::starting(name)
            .with("/metadata/labels", json!({"microservice.dev/job": "orders"}))
            .with("/metadata/creationTimestamp", json!(at(created)))
            .with(
                "/metadata/ownerReferences",
                json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "orders-b-x", "uid": "job-1", "controller": true}]),
            )
    }

    fn failed(name: &str, created: i64, end: Value) -> PodFixture {
        pod(name, created)
            .with("/status/phase", json!("Failed"))
            .ended(0, end)
    }

    fn trouble(job: &Job, pods: &[PodFixture]) -> Option<(Blame, String)> {
        let pods: Vec<Pod> = pods.iter().map(PodFixture::pod).collect();
        let trouble = job_trouble(job, &pods.iter().collect::<Vec<_>>(), None)?;
        Some((trouble.blame, trouble.words))
    }

    fn fault_of(job: &Job, pods: &[PodFixture], earlier: Option<&JobTrouble>) -> (Blame, String) {
        let pods: Vec<Pod> = pods.iter().map(PodFixture::pod).collect();
        match job_outcome(job, &pods.iter().collect::<Vec<_>>(), earlier) {
            JobOutcome::Failed(fault) => {
                assert_eq!(fault.reason, JOB_FAILED);
                (fault.blame, fault.message)
            }
            other @ (JobOutcome::Running | JobOutcome::Succeeded) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_job_runs_until_kubernetes_says_how_it_ended() {
        let bare: Job = serde_json::from_value(json!({"metadata": {"name": "a"}})).unwrap();
        assert_eq!(job_outcome(&bare, &[], None), JobOutcome::Running);
        assert_eq!(
            job_outcome(&job(json!({"active": 1, "failed": 1})), &[], None),
            JobOutcome::Running
        );
        for type_ in ["SuccessCriteriaMet", "Complete"] {
            assert_eq!(
                job_outcome(&ended(type_, "CompletionsReached", 0), &[], None),
                JobOutcome::Succeeded
            );
        }
        for type_ in ["FailureTarget", "Failed"] {
            let outcome = job_outcome(&ended(type_, "BackoffLimitExceeded", 1), &[], None);
            assert!(matches!(outcome, JobOutcome::Failed(_)), "{outcome:?}");
        }
        let not_yet = job(json!({"conditions": [{"type": "Failed", "status": "False"}]}));
        assert_eq!(job_outcome(&not_yet, &[], None), JobOutcome::Running);
    }

    #[test]
    fn a_failure_is_told_with_exit_code_signal_and_last_words_of_the_latest_pod() {
        let out_of_tries = ended("Failed", "BackoffLimitExceeded", 2);
        let pods = [
            failed(
                "b",
                20,
                end(3, "Error", "relation \"orders\"\n  does not exist\n", 30),
            ),
            failed("a", 10, failed_end(12)),
        ];
        assert_eq!(
            fault_of(&out_of_tries, &pods, None),
            (
                Blame::Candidate,
                "Job orders-b-x failed in 2 tries: pod b, exit code 3: relation \"orders\" does not exist"
                    .to_owned()
            )
        );
        for (end, words) in [
            (end(137, "OOMKilled", "", 5), "exit code 137 (OOMKilled)"),
            (end(143, "Error", "bye", 5), "exit code 143 (signal 15): bye"),
            (end(139, "Error", "", 5), "exit code 139 (signal 11)"),
            (
                end(128, "StartError", "exec: \"/x\": no such file", 5),
                "exit code 128 (StartError): exec: \"/x\": no such file",
            ),
        ] {
            let once = ended("Failed", "BackoffLimitExceeded", 1);
            assert_eq!(
                fault_of(&once, &[failed("a", 0, end)], None),
                (Blame::Candidate, format!("Job orders-b-x failed: pod a, {words}"))
            );
        }
        let long = failed("a", 0, end(1, "Error", &"x".repeat(9000), 5));
        let told = fault_of(&out_of_tries, &[long], None).1.len();
        assert!((1020..=1024).contains(&told), "{told}");
        // Its pods are gone, and nobody has seen them.
        assert_eq!(
            fault_of(&out_of_tries, &[], None),
            (
                Blame::Candidate,
                "Job orders-b-x failed in 2 tries: Kubernetes' words".to_owned()
            )
        );
    }

    #[test]
    fn pods_of_others_say_nothing_about_it() {
        let other = failed("other", 0, failed_end(5)).with("/metadata/ownerReferences/0/uid", json!("job-0"));
        assert_eq!(trouble(&job(json!({"failed": 1})), &[other]), None);
    }

    #[test]
    fn what_it_waits_for_is_said_while_it_runs() {
        let running = job(json!({"active": 1}));
        let homeless = pod("a", 0)
            .with("/spec/nodeName", Value::Null)
            .with(
                "/status/conditions",
                json!([{"type": "PodScheduled", "status": "False", "reason": "Unschedulable",
                    "message": "0/3 nodes are available"}]),
            )
            .with("/status/containerStatuses", json!([]));
        for (pod, expected) in [
            (pod("a", 0).waiting("ContainerCreating", ""), None),
            (pod("a", 0).waiting("PodInitializing", ""), None),
            (pod("a", 0), None),
            (
                pod("a", 0).waiting("ErrImagePull", "dial tcp: timeout"),
                Some((Blame::Environment, "pod a: ErrImagePull: dial tcp: timeout")),
            ),
            (
                pod("a", 0).waiting("ImagePullBackOff", "Back-off pulling image \"x\""),
                Some((
                    Blame::Environment,
                    "pod a: ImagePullBackOff: Back-off pulling image \"x\"",
                )),
            ),
            (
                pod("a", 0).waiting("InvalidImageName", "invalid reference format"),
                Some((
                    Blame::Candidate,
                    "pod a: InvalidImageName: invalid reference format",
                )),
            ),
            (
                pod("a", 0).waiting("CreateContainerConfigError", "secret \"db\" not found"),
                Some((
                    Blame::Environment,
                    "pod a: CreateContainerConfigError: secret \"db\" not found",
                )),
            ),
            (
                pod("a", 0).waiting(
                    "CreateContainerConfigError",
                    "container has runAsNonRoot and image will run as root",
                ),
                Some((
                    Blame::Candidate,
                    "pod a: CreateContainerConfigError: container has runAsNonRoot and image will run as root",
                )),
            ),
            (
                homeless,
                Some((Blame::Environment, "pod a has no node: 0/3 nodes are available")),
            ),
        ] {
            let expected = expected.map(|(blame, words)| (blame, words.to_owned()));
            assert_eq!(trouble(&running, &[pod]), expected);
        }
        let mut suspended = running;
        suspended.spec.as_mut().unwrap().suspend = Some(true);
        assert_eq!(trouble(&suspended, &[]).unwrap().1, "somebody has suspended it");
    }

    #[test]
    fn between_its_tries_the_last_failure_is_said() {
        let again = job(json!({"active": 1, "failed": 1}));
        let first = failed("a", 0, failed_end(5));
        let said = Some((
            Blame::Candidate,
            "pod a, exit code 1: panic: no database".to_owned(),
        ));
        assert_eq!(trouble(&again, &[first.clone(), pod("b", 10)]), said);
        assert_eq!(trouble(&again, std::slice::from_ref(&first)), said);
        // What keeps the present pod from running is the newer word.
        let held = pod("b", 10).waiting("ImagePullBackOff", "words");
        assert_eq!(
            trouble(&again, &[first, held]).unwrap().1,
            "pod b: ImagePullBackOff: words"
        );
    }

    #[test]
    fn a_disruption_is_no_try() {
        let evicted = pod("a", 0).with("/status/phase", json!("Failed")).ended(
            0,
            end(
                137,
                "ContainerStatusUnknown",
                "The container could not be located",
                5,
            ),
        );
        assert_eq!(
            trouble(&job(json!({"active": 1})), &[evicted, pod("b", 10)]),
            None
        );
        // A node that would not have it.
        let refused = pod("a", 0)
            .with("/status/phase", json!("Failed"))
            .with("/status/reason", json!("OutOfcpu"))
            .with("/status/message", json!("Node didn't have enough resource"))
            .with("/status/containerStatuses", json!([]));
        assert_eq!(
            fault_of(&ended("Failed", "BackoffLimitExceeded", 1), &[refused], None),
            (
                Blame::Environment,
                "Job orders-b-x failed: pod a: OutOfcpu: Node didn't have enough resource".to_owned()
            )
        );
    }

    #[test]
    fn who_is_out_of_time_is_told_with_what_it_waited_for_also_when_its_pod_is_gone() {
        let out_of_time = ended("Failed", "DeadlineExceeded", 1);
        let earlier = JobTrouble {
            blame: Blame::Environment,
            words: "pod a: ImagePullBackOff: words".to_owned(),
        };
        let told = (
            Blame::Environment,
            "Job orders-b-x was not done within 600 s: pod a: ImagePullBackOff: words".to_owned(),
        );
        assert_eq!(fault_of(&out_of_time, &[], Some(&earlier)), told);
        // The kubelet writes this over what a pod that is being deleted waited for.
        let leaving = pod("a", 0)
            .with("/metadata/deletionTimestamp", json!(at(600)))
            .ended(
                0,
                end(
                    137,
                    "ContainerStatusUnknown",
                    "The container could not be located",
                    600,
                ),
            );
        assert_eq!(fault_of(&out_of_time, &[leaving], Some(&earlier)), told);
        // One that ran until then was killed, and left its words.
        let killed = failed("a", 0, end(143, "Error", "row 17 of 1000000", 600));
        assert_eq!(
            fault_of(&out_of_time, &[killed], None),
            (
                Blame::Candidate,
                "Job orders-b-x was not done within 600 s: pod a, exit code 143 (signal 15): row 17 of 1000000".to_owned()
            )
        );
        assert_eq!(
            fault_of(&ended("Failed", "DeadlineExceeded", 0), &[], None),
            (
                Blame::Environment,
                "Job orders-b-x was not done within 600 s: it never had a pod; its events say why".to_owned()
            )
        );
    }
}
