//! The status: one truth that every tool can read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::NotificationEvent;

/// What is, as far as the operator has seen it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MicroserviceStatus {
    /// The generation of the spec that this status speaks of; -1: none yet.
    #[serde(default = "unseen")]
    #[schemars(extend("default" = -1))]
    pub observed_generation: i64,
    /// Healthy, Progressing, Paused, Degraded or Suspended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// What is going on, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The pods that selector matches: those of the revisions that carry traffic. What an autoscaler counts.
    #[serde(default)]
    pub replicas: i32,
    /// Of these, the ready ones.
    #[serde(default)]
    pub ready_replicas: i32,
    /// How many pods the service wants.
    #[serde(default)]
    pub desired_replicas: i32,
    /// Under autoscaling: where desiredReplicas comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas_from: Option<ReplicasSource>,
    /// readyReplicas/desiredReplicas, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// The label selector of the pods that carry traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// The revision that the service rests on: the last one that was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_revision: Option<String>,
    /// The revisions that are live or remembered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub revisions: Vec<RevisionStatus>,
    /// Where the engine stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// The last value of each command that was acted on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["verb"]))]
    pub commands: Vec<CommandStatus>,
    /// The last rollouts, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["seq"]))]
    pub history: Vec<HistoryEntry>,
    /// What people are still to be told, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["id"]))]
    pub notifications: Vec<NotificationStatus>,
    /// The objects that belong to the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), extend("x-kubernetes-list-type" = "atomic"))]
    pub inventory: Vec<InventoryEntry>,
    /// Addresses that routes give the service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub urls: Vec<String>,
    /// Ready, Reconciling, Stalled, Available, RolledOut, and one for each optional part that cannot be served.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 24), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

fn unseen() -> i64 {
    -1
}

/// Where the number of pods comes from under autoscaling.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum ReplicasSource {
    /// spec.replicas was written through /scale.
    Scale,
    /// The same, but the API server has nobody on record for it.
    Untracked,
    /// A manifest set it, to no fewer than there were.
    Manifest,
    /// A manifest set it to fewer: what there was is kept, and is to be written back through /scale.
    Held,
    /// Two revisions together had more pods for the traffic: a promotion keeps as many, which is to be written through /scale.
    Carried,
    /// It was written back.
    WrittenBack,
    /// A manifest set it to fewer again after it was written back: what there was is kept, and nothing is written.
    Contested,
}

/// The state in one word; maps one to one to Argo CD's health.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Phase {
    /// The spec runs and is healthy.
    Healthy,
    /// A change is under way.
    Progressing,
    /// A person is waited for.
    Paused,
    /// The spec does not run, or not well.
    Degraded,
    /// spec.suspend is set.
    Suspended,
}

/// The part that a revision plays.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Role {
    /// The service rests on it.
    Stable,
    /// It is being tried out.
    Candidate,
    /// It was the stable one before.
    Previous,
}

impl Role {
    /// Its name, also the value of the role label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stable => "Stable",
            Self::Candidate => "Candidate",
            Self::Previous => "Previous",
        }
    }
}

/// What was found about a revision.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// The rollout that found it.
    pub seq: i64,
    /// CamelCase reason, for example CrashLoopBackOff.
    pub reason: String,
    /// The evidence, with the container's own words.
    pub message: String,
}

/// A revision as seen now.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionStatus {
    /// Its name.
    pub name: String,
    /// The image that it asks for.
    pub image: String,
    /// The digests that its pods run.
    #[serde(default, rename = "imageIDs", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5))]
    pub image_ids: Vec<String>,
    /// Its pods.
    pub replicas: i32,
    /// Of these, the ready ones.
    pub ready: i32,
    /// Its share of the traffic in percent.
    pub weight: i32,
    /// The part that it plays. Absent: it is only remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Why it was rejected. Absent: it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejected: Option<Verdict>,
    /// What differs from the revision before it, in a line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<String>,
    /// The version of the operator that rendered its pod template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rendered_by: Option<String>,
}

/// A state of the engine; DESIGN and docs/design.md hold the table of its edges.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum RolloutState {
    /// The first revision gets its pods.
    Starting,
    /// One revision serves, nothing is under way.
    Steady,
    /// A candidate gets pods and traffic in steps.
    Rolling,
    /// The candidate takes over all traffic.
    Promoting,
    /// The candidate serves alone and is still watched.
    Baking,
    /// All traffic goes back to the stable revision.
    Returning,
}

/// Whose fault it is that a rollout returned.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Blame {
    /// The revision's: it is rejected until its spec changes or a person asks for a retry.
    Candidate,
    /// The environment's: it is tried again by itself.
    Environment,
    /// A person asked for it: the revision is rejected like by a verdict.
    Person,
    /// A newer spec took its place: it is not rejected.
    Superseded,
}

/// Why a rollout returned.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReturnCause {
    /// Whose fault it is.
    pub blame: Blame,
    /// CamelCase reason.
    pub reason: String,
    /// The evidence in a sentence.
    pub message: String,
}

/// Whether the stable revision could be returned to when the rollout began.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum StableHealth {
    /// It served.
    Healthy,
    /// It did not.
    Broken,
}

/// How a candidate takes the place of the stable revision.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum RolloutCourse {
    /// Pods are exchanged, as RollingUpdate and Recreate do.
    #[default]
    Exchange,
    /// In full size beside the stable one, then all traffic moves.
    FullSize,
    /// By steps.
    Steps,
}

/// Where the engine stands. Written before the engine acts on it.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStatus {
    /// The number of the rollout; only grows.
    pub seq: i64,
    /// How many times the candidate has been tried.
    pub trial: i32,
    /// The state.
    pub state: RolloutState,
    /// The revision that the service rests on. Absent: none has been promoted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// The revision that is tried out, or is being left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidate: Option<String>,
    /// The revision that was promoted before the stable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// How the candidate takes the place of the stable revision; fixed when the rollout begins. Default: Exchange.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub course: Option<RolloutCourse>,
    /// The step, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<i32>,
    /// How many steps there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<i32>,
    /// What the annotation microservice.dev/promote is to say to end what the step waits for: its time, a person, or a
    /// weight that its pods can only give coarsely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promote: Option<String>,
    /// What the step does to traffic and pods, as a digest: so that an edit of the steps is noticed. "full" after the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_digest: Option<String>,
    /// Since when the step's pods have been ready and its traffic in force. Its duration counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_force_at: Option<Time>,
    /// Since when the step's hooks have succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hooks_passed_at: Option<Time>,
    /// When the step first waited for a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_since: Option<Time>,
    /// When it first turned out that this trial neither works nor can be taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Time>,
    /// Since when the step is in force no more. The deadline counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wavering_since: Option<Time>,
    /// The candidate's share of the traffic in percent, as asked for.
    #[serde(default)]
    pub weight: i32,
    /// The share that its ready pods make.
    #[serde(default)]
    pub effective_weight: i32,
    /// When the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When the state or step began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_started_at: Option<Time>,
    /// When progress was last made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_at: Option<Time>,
    /// The most pods of the candidate that have been ready at a time.
    #[serde(default)]
    pub ready_high: i32,
    /// When the rollout is taken back unless there is progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// What is waited for, with the numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<String>,
    /// What the candidate's requests say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 20), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub checks: Vec<CheckStatus>,
    /// Whether the stable revision served when the rollout began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_health: Option<StableHealth>,
    /// Why it returned, or cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<ReturnCause>,
    /// When a rollout that the environment stopped is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Time>,
}

/// What one objective or check says of the candidate.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckStatus {
    /// The objective or the check; "errors" where there is no objective and the candidate is compared with the stable revision alone.
    pub name: String,
    /// The verdict.
    pub verdict: CheckVerdict,
    /// CamelCase: why.
    pub reason: String,
    /// The candidate's bad requests in percent of all; of a check what was measured last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// The same of the stable revision, at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// How many requests of the candidate were seen; of a check how many measurements found a value.
    pub samples: i64,
    /// What went wrong with the last measurement of a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// A verdict.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CheckVerdict {
    /// Shown to be good enough.
    Passing,
    /// Shown to be worse.
    Failing,
    /// Neither.
    Inconclusive,
}

/// A command that was acted on.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// promote, promote-full, abort, retry or rollback.
    pub verb: String,
    /// The annotation's value.
    pub value: String,
    /// What became of it. Default: Done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CommandOutcome>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CommandOutcome {
    /// It was carried out.
    Done,
    /// It named a rollout, trial or step that was not the present one.
    Ignored,
}

/// A rollout that ended.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistoryEntry {
    /// Its number.
    pub seq: i64,
    /// The revision that was tried.
    pub revision: String,
    /// The image of that revision.
    pub image: String,
    /// Promoted, RolledBack, Superseded or Interrupted.
    pub outcome: String,
    /// Why, when it was not promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Time>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Time>,
}

/// Something that people are still to be told. It is written together with what it tells, and is gone when everybody was.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NotificationStatus {
    /// Rollout, trial, revision, event and, where it waits for a person, step: tells it from every other one.
    pub id: String,
    /// What happened.
    pub event: NotificationEvent,
    /// The revision that it happened to.
    pub revision: String,
    /// The revision that the service rests on after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable: Option<String>,
    /// What there is to say.
    pub message: String,
    /// When it happened.
    pub at: Time,
    /// Who is still to be told: names of spec.notifications.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "set"))]
    pub pending: Vec<String>,
    /// Who is being told. Whether it arrived is not known after a restart, and it is not sent again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "set"))]
    pub sending: Vec<String>,
}

/// An object that belongs to the service.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct InventoryEntry {
    /// Its API group; "" for core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}
