//! What is observed: everything that a plan may depend on, besides the time.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::judging::AnalysisReport;
use super::outbox::DeliveryOutcome;
use super::scaling::{ReplicasHolder, Scaling};
use crate::analysis::threshold::Measurements;
use crate::api::{Microservice, MicroserviceSpec, MicroserviceStatus};
use crate::health::{Fault, JobOutcome, PodSnapshot};
use crate::render::{Child, ChildKind};
use crate::revision::{Record, SnapshotContent, SnapshotSource};

/// The key of a child within its service.
pub type ChildKey = (ChildKind, String);

/// One service and all that belongs to it, as the caches hold it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// The Microservice itself.
    pub service: Microservice,
    /// Who holds its replicas.
    pub replicas_holder: ReplicasHolder,
    /// The records of its revisions, by name.
    pub records: BTreeMap<String, Record>,
    /// Records that cannot be read, with why.
    pub unreadable: Vec<String>,
    /// Its Deployments, by name.
    pub deployments: BTreeMap<String, DeploymentView>,
    /// Its pods, by revision.
    pub pods: BTreeMap<String, Vec<PodSnapshot>>,
    /// The endpoints of its root Service.
    pub endpoints: Endpoints,
    /// The ready endpoints of its other Services, by Service.
    pub service_endpoints: BTreeMap<String, i32>,
    /// Since when a route has been accepted as it is now, or has had nobody who carries an earlier form of it. Absent: it
    /// may still be carried in an earlier form.
    pub accepted_since: BTreeMap<ChildKey, Timestamp>,
    /// Whether another rollout may begin.
    pub slot: Slot,
    /// All children that live, with what is needed to compare them.
    pub children: BTreeMap<ChildKey, LiveChild>,
    /// What stands under the names of its objects and is not its own, where an annotation asks to adopt such. By kind and
    /// name; of autoscalers also those of other names that scale the Deployment that is to be adopted.
    pub found: BTreeMap<ChildKey, LiveChild>,
    /// Pods of adopted Deployments that have not been told their revision, by that revision.
    pub unclaimed: BTreeMap<String, Vec<UnclaimedPod>>,
    /// The sources that the spec refers to and that are tracked.
    pub sources: BTreeMap<SnapshotSource, Source>,
    /// Immutable copies of tracked Secrets that are still to be made.
    pub secret_copies: Vec<Child>,
    /// Optional kinds that the cluster serves.
    pub served_kinds: BTreeSet<ChildKind>,
    /// What the API server refused when it was last tried.
    pub failures: BTreeMap<ChildKey, Failure>,
    /// What was refused when replicas was last written back.
    pub scale_failure: Option<Failure>,
    /// Children that somebody else keeps changing.
    pub contested: Vec<Contest>,
    /// Other PodDisruptionBudgets that select our pods.
    pub foreign_budgets: Vec<String>,
    /// Its Jobs, by name; not those that are somebody else's or on their way out.
    pub jobs: BTreeMap<String, JobView>,
    /// The calls over HTTP that this process has begun, by [`super::Call::key`].
    pub calls: BTreeMap<String, CallOutcome>,
    /// What people are being told by this process, by [`super::Delivery::key`].
    pub deliveries: BTreeMap<String, DeliveryOutcome>,
    /// What the requests of the last trial say, as far as this process has counted them.
    pub analysis: Option<AnalysisReport>,
    /// What this process has measured, by [`super::Measure::key`].
    pub measurements: BTreeMap<String, Measurements>,
    /// What the Gateways of its routes can do, by namespace and name, where a step asks for what not all of them can and
    /// they say it.
    pub gateway_features: BTreeMap<(String, String), BTreeSet<String>>,
    /// Routes of others that claim what ours claim, in words.
    pub route_conflicts: Vec<String>,
    /// When the status was last written, as far as this process knows.
    pub last_status_write: Option<Timestamp>,
}

impl Observed {
    /// The service's name.
    pub fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }
    /// The service's namespace.
    pub fn namespace(&self) -> &str {
        self.service.metadata.namespace.as_deref().unwrap_or_default()
    }
    /// The uid of the Microservice.
    pub fn uid(&self) -> &str {
        self.service.metadata.uid.as_deref().unwrap_or_default()
    }
    /// The generation of its spec.
    pub fn generation(&self) -> i64 {
        self.service.metadata.generation.unwrap_or_default()
    }
    /// Its spec.
    pub fn spec(&self) -> &MicroserviceSpec {
        &self.service.spec
    }
    /// Its status; the default where there is none.
    pub fn status(&self) -> MicroserviceStatus {
        self.service.status.clone().unwrap_or_default()
    }
    /// The value of one of its annotations.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.service
            .metadata
            .annotations
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }
    /// The pods of one revision.
    pub fn pods_of(&self, revision: &str) -> &[PodSnapshot] {
        self.pods.get(revision).map(Vec::as_slice).unwrap_or_default()
    }
    /// Whether an object is ours to build on: not somebody else's (an earlier Microservice of the same name is
    /// somebody else), and not on its way out.
    pub fn stays(&self, kind: ChildKind, name: &str) -> bool {
        let live = self.children.get(&(kind, name.to_owned()));
        live.is_none_or(|live| live.ownership != Ownership::Foreign && live.deleting == Deleting::No)
    }
    /// The records that are there to stay.
    pub fn lasting_records(&self) -> impl Iterator<Item = &Record> {
        self.records
            .values()
            .filter(|record| self.stays(ChildKind::ControllerRevision, &record.name))
    }
    /// The Deployments that are there to stay, by name.
    pub fn lasting_deployments(&self) -> impl Iterator<Item = (&String, &DeploymentView)> {
        self.deployments
            .iter()
            .filter(|(name, _)| self.stays(ChildKind::Deployment, name))
    }
    /// The Deployment of one revision.
    pub fn deployment_of(&self, revision: &str) -> Option<&DeploymentView> {
        self.lasting_deployments()
            .find(|(_, d)| d.revision == revision)
            .map(|(_, deployment)| deployment)
    }
    /// How many pods the service needs to carry all of its traffic; 0 stops it.
    pub fn wanted_replicas(&self) -> i32 {
        Scaling::of(self).wanted
    }
}

/// Whether another rollout may begin in this installation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// It may.
    #[default]
    Free,
    /// As many as are allowed are under way.
    Taken {
        /// How many others wait that came before.
        ahead: usize,
    },
}

/// A tracked source as it is now.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// It exists, with this content.
    Present(SnapshotContent),
    /// It does not exist.
    Absent,
    /// Secrets are not tracked in this installation.
    Forbidden,
}

/// What the engine looks at in a Deployment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DeploymentView {
    /// The revision that it is labelled with.
    pub revision: String,
    /// How many pods it is to have.
    pub replicas: i32,
    /// Why it cannot create pods.
    pub failure: Option<Fault>,
    /// Its pod template, to take it over as it is.
    pub template: Value,
    /// Its selector.
    pub selector: BTreeMap<String, String>,
    /// How many pods it has by its own word.
    pub pods: i32,
}

/// A pod of an adopted Deployment that has not been told its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnclaimedPod {
    /// What it is called.
    pub name: String,
    /// Its uid.
    pub uid: String,
}

/// What the engine looks at in a Job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobView {
    /// How it stands.
    pub outcome: JobOutcome,
    /// What it waits for, or what went wrong so far: one line. `None` where there is nothing to say.
    pub words: Option<String>,
}

/// How a call over HTTP stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// It is under way, or between two tries.
    Running,
    /// It was answered with 2xx.
    Succeeded,
    /// It was not, in all of its tries: how the last one ended, in one line of at most 1 KiB.
    Failed(String),
}

/// The ready endpoints of the root Service, by revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Endpoints {
    /// Ready endpoints of each revision.
    pub ready: BTreeMap<String, i32>,
    /// Ready endpoints whose pod is not known (yet).
    pub unknown: i32,
}

impl Endpoints {
    /// Whether the Service leads to `revision` and to nothing else.
    pub fn only(&self, revision: &str) -> bool {
        self.ready.get(revision).is_some_and(|n| *n > 0) && self.none_but(revision)
    }

    /// Whether the Service leads to nothing else than `revision`.
    pub fn none_but(&self, revision: &str) -> bool {
        self.unknown == 0 && self.ready.iter().all(|(name, n)| name == revision || *n == 0)
    }
}

/// Whose an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// Ours: its controller is this Microservice.
    Ours,
    /// It has our labels and no controller: it was ours, or is written without owner on purpose.
    Orphan,
    /// Somebody else's.
    Foreign,
}

/// A child as it lives.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveChild {
    /// Its uid.
    pub uid: String,
    /// Whose it is.
    pub ownership: Ownership,
    /// The digest of what was last applied.
    pub applied: Option<String>,
    /// Its fields, without managedFields.
    pub object: std::sync::Arc<Value>,
    /// Whether it is being deleted.
    pub deleting: Deleting,
    /// Who changed it last, other than we.
    pub last_foreign_manager: Option<String>,
}

impl JobView {
    /// Whether it ended badly.
    pub fn failed(&self) -> bool {
        match self.outcome {
            JobOutcome::Failed(_) => true,
            JobOutcome::Running | JobOutcome::Succeeded => false,
        }
    }
}

impl LiveChild {
    /// Whether it stands under a name that we want, is somebody else's, and stays.
    pub fn is_taken(&self) -> bool {
        self.ownership == Ownership::Foreign && self.deleting == Deleting::No
    }
}

/// Whether an object is being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Deleting {
    /// It stays.
    #[default]
    No,
    /// It is on its way out.
    Yes,
}

/// What the API server refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The digest of what was tried: another try of something else is worth it at once.
    pub digest: String,
    /// What kind of refusal.
    pub class: FailureClass,
    /// The API server's words.
    pub message: String,
}

/// What kind of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureClass {
    /// The object is wrong: it will not get better by waiting.
    Invalid,
    /// Rights or quota are missing.
    Forbidden,
    /// An object of that name belongs to somebody else.
    Foreign,
    /// The API server could not; it may later.
    Transient,
}

/// A child that somebody else keeps changing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contest {
    /// Which child.
    pub child: ChildKey,
    /// The field manager that does.
    pub manager: String,
    /// How often in the last ten minutes.
    pub times: usize,
}
