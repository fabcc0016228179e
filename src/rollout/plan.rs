//! The plan: what is to be written, in order, and what the status says. Data, so that it can be compared, printed and
//! explained.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;
use serde_json::Value;

use super::adoption;
use super::checks;
use super::desired::{Desired, desired};
use super::draft::{Draft, Durable};
use super::drift;
use super::edges::Edge;
use super::judging::{Watch, watch};
use super::measuring::{self, Measure};
use super::observed::{ChildKey, Deleting, JobView, LiveChild, Observed, Ownership, UnclaimedPod};
use super::outbox::{Delivery, Untold};
use super::resolve::resolve;
use super::roles::stale_labels;
use super::scaling::Scaling;
use super::state::State;
use super::status::{self, Worth};
use super::transition::{advance, ignore_stale_commands};
use super::work::keeps_call;
use crate::api::{
    CheckVerdict, DeletionPolicy, HistoryEntry, MicroserviceStatus, Role, Webhook, annotations,
};
use crate::notify::ChannelKind;
use crate::render::{Child, ChildKind};
use crate::revision::RevisionDigest;

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// The decisions that were taken.
    pub edges: Vec<Edge>,
    /// What is to be written, in this order.
    pub steps: Vec<Step>,
    /// The status as it should be once the steps are done.
    pub status: MicroserviceStatus,
    /// Whether that is worth a write where no step writes it.
    pub worth: Worth,
    /// The rollouts that ended by them.
    pub ended: Vec<HistoryEntry>,
    /// The verdicts that checks have come to.
    #[serde(skip)]
    pub verdicts: Vec<CheckVerdict>,
    /// What people are told once the decisions are durable.
    pub events: Vec<EventDraft>,
    /// Whom nobody will tell what is still to be told, and why.
    #[serde(skip)]
    pub untold: Vec<(ChannelKind, Untold)>,
    /// Whose requests are to be counted from now on, beside everything else; none: nobody's.
    #[serde(skip)]
    pub watch: Option<Watch>,
    /// What is to be measured from now on, beside everything else.
    #[serde(skip)]
    pub measures: Vec<Measure>,
    /// When to plan again although nothing has happened.
    pub wake: Option<Timestamp>,
}

impl Plan {
    /// Whether a rollout begins with it that could as well wait for its turn.
    pub fn begins_rollout(&self) -> bool {
        self.edges.contains(&Edge::Roll)
    }

    /// The status that must be durable before anything else is written, and what is written after it.
    pub fn durable_first(&self) -> (Option<&MicroserviceStatus>, &[Step]) {
        match self.steps.split_first() {
            Some((Step::Checkpoint(status), writes)) => (Some(status), writes),
            Some(_) | None => (None, &self.steps),
        }
    }
}

/// A write.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Step {
    /// Writes the status; what follows must not begin before it is durable.
    Checkpoint(Box<MicroserviceStatus>),
    /// Applies an object.
    Apply(Box<Apply>),
    /// Writes replicas back, through /scale.
    Scale(WriteBack),
    /// Says on a pod which role its revision has.
    Label(LabelPod),
    /// Tells a pod of an adopted Deployment which revision it is of.
    Claim(ClaimPod),
    /// Deletes an object.
    Delete(Delete),
    /// Begins a call over HTTP, beside everything else. It is not waited for: its outcome comes back in
    /// [`Observed::calls`].
    Call(Box<Call>),
    /// Ends the call with this key if it is under way, and forgets its outcome: nobody wants it any more.
    ForgetCall(String),
    /// Tells somebody beyond the cluster, beside everything else. How it went comes back in [`Observed::deliveries`].
    Send(Box<Delivery>),
}

/// A call over HTTP.
///
/// It is made at least once: a process remembers which calls it began and how they ended, and begins none of them
/// again; the one that takes over after it does, for a call whose success is not in the status yet. Who is called has
/// the key's parts in the body and can tell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Call {
    /// Identifies it within the service: revision, trial, step, what the step does, and hook.
    pub key: String,
    /// Whom to call, and how patiently.
    pub webhook: Webhook,
    /// What is sent; see [`call_body`].
    pub body: Value,
}

impl Call {
    /// The call of one hook.
    pub fn new(webhook: Webhook, subject: &CallSubject<'_>) -> Self {
        Self {
            key: subject.key(),
            webhook,
            body: call_body(subject),
        }
    }
}

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CallSubject<'a> {
    /// The name of the Microservice.
    pub service: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The revision that is tried out.
    pub revision: &'a str,
    /// The revision that the service rests on.
    pub stable: &'a str,
    /// Which trial of the revision it is.
    pub trial: i32,
    /// The step that waits for the call, counted as in the status.
    pub step: i32,
    /// The digest of what that step does, as in the status: after an edit another one may have its number.
    pub step_digest: &'a str,
    /// The name of the hook.
    pub hook: &'a str,
}

impl CallSubject<'_> {
    /// `<revision>/<trial>/<step>/<what the step does>/<hook>`.
    pub fn key(&self) -> String {
        let Self {
            revision,
            trial,
            step,
            step_digest,
            hook,
            ..
        } = self;
        format!("{revision}/{trial}/{step}/{step_digest}/{hook}")
    }
}

/// The body of a call: an object with the fields of [`CallSubject`].
pub fn call_body(subject: &CallSubject<'_>) -> Value {
    // Strings and integers only, so this cannot fail.
    serde_json::to_value(subject).unwrap_or_default()
}

/// An object to be applied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Apply {
    /// The object, with its owner.
    pub child: Child,
    /// The digest of its fields; also in its annotations.
    pub digest: String,
    /// The uid of the object that is there. `None`: there must be none.
    pub uid: Option<String>,
    /// Why.
    pub reason: ApplyReason,
    /// Its place in the order of writes.
    pub turn: Turn,
}

/// Why an object is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum ApplyReason {
    /// It does not exist.
    Missing,
    /// We want something else than before.
    Changed,
    /// Somebody else changed a field of ours: this one.
    Drifted(String),
    /// It was nobody's, and is taken over.
    Adopted,
}

/// A number of pods that is to be in the spec again: the only write to a spec that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WriteBack {
    /// How many.
    pub replicas: i32,
}

/// A pod whose label is to say the role of its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LabelPod {
    /// What it is called.
    pub pod: String,
    /// Its uid, so that a namesake is left alone.
    pub uid: String,
    /// The role.
    pub role: Role,
}

/// A pod of an adopted Deployment that is to carry the labels of its revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClaimPod {
    /// What it is called.
    pub pod: String,
    /// Its uid, so that a namesake is left alone.
    pub uid: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// An object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Delete {
    /// What it is.
    pub kind: ChildKind,
    /// What it is called.
    pub name: String,
    /// Its uid, so that a namesake is left alone.
    pub uid: String,
}

/// Something that people are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EventDraft {
    /// Normal or Warning.
    pub kind: EventKind,
    /// CamelCase reason.
    pub reason: String,
    /// The sentence.
    pub note: String,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum EventKind {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

/// Plans what is to be done about what is observed at `now`.
pub fn plan(observed: &Observed, now: Timestamp) -> Plan {
    if observed.service.metadata.deletion_timestamp.is_some() {
        // Garbage collection follows the owner references; there is nothing left for us to decide.
        return Plan {
            edges: Vec::new(),
            steps: Vec::new(),
            ended: Vec::new(),
            verdicts: Vec::new(),
            status: observed.status(),
            worth: Worth::Nothing,
            events: Vec::new(),
            untold: Vec::new(),
            watch: None,
            measures: Vec::new(),
            wake: None,
        };
    }
    let mut draft = Draft::new(observed, resolve(observed), now);
    checks::note(&mut draft);
    advance(&mut draft);
    ignore_stale_commands(&mut draft);
    let wanted = desired(&draft);
    if rest_is_awaited(&draft, &wanted) {
        draft.wakes.extend(draft.rest_at());
    }
    let status = status::build(&mut draft, &wanted);
    let worth = status::worth(observed.service.status.as_ref(), &status);
    let mut writes = writes(&draft, &wanted);
    // Last: no pod waits for it.
    writes.extend(write_back(observed).map(Step::Scale));
    let outbox = std::mem::take(&mut draft.outbox);
    let send = |delivery: Delivery| Step::Send(Box::new(delivery));
    let mut steps = Vec::new();
    let decided = !draft.edges.is_empty() || draft.durable == Durable::Always || rescaled(observed, &status);
    // Nothing that a rollout needs waits for the write that comes before a message.
    if decided || (writes.is_empty() && !outbox.claimed.is_empty()) {
        steps.push(Step::Checkpoint(Box::new(status.clone())));
        // At once: who is interrupted between the two will never know whether it was sent.
        steps.extend(outbox.claimed.into_iter().map(send));
    }
    steps.extend(outbox.free.into_iter().map(send));
    steps.extend(writes);
    draft.wakes.extend(measuring::next_job(&draft));
    Plan {
        watch: watch(&draft),
        measures: measuring::measures(&draft),
        edges: draft.edges,
        steps,
        status,
        worth,
        ended: draft.ended,
        verdicts: draft.checks.changed,
        events: draft.events,
        untold: outbox.untold,
        wake: draft.wakes.into_iter().filter(|at| *at > now).min(),
    }
}

/// Whether the autoscaler's word, or what is made of it, is not in the status yet. What a manifest is held against is
/// what the status says, so that is durable before pods follow.
fn rescaled(observed: &Observed, status: &MicroserviceStatus) -> bool {
    let before = observed.service.status.as_ref();
    status.replicas_from.is_some()
        && before.is_some_and(|before| {
            (before.desired_replicas, before.replicas_from) != (status.desired_replicas, status.replicas_from)
        })
}

/// What is to be written back, unless just that was refused.
fn write_back(observed: &Observed) -> Option<WriteBack> {
    let replicas = Scaling::of(observed).write_back?;
    let refused = observed.scale_failure.as_ref();
    let refused = refused.is_some_and(|failure| failure.digest == replicas.to_string());
    (!refused).then_some(WriteBack { replicas })
}

/// The reference to the Microservice that its children carry; none where they are to outlive it.
pub fn owner(observed: &Observed) -> Option<OwnerReference> {
    match observed.spec().operation.deletion_policy() {
        DeletionPolicy::Orphan => None,
        DeletionPolicy::Delete => Some(OwnerReference {
            api_version: "microservice.dev/v1alpha1".to_owned(),
            kind: "Microservice".to_owned(),
            name: observed.name().to_owned(),
            uid: observed.uid().to_owned(),
            controller: Some(true),
            block_owner_deletion: Some(true),
        }),
    }
}

fn writes(draft: &Draft<'_>, wanted: &Desired) -> Vec<Step> {
    let observed = draft.observed;
    let owner = owner(observed);
    let mut applies: Vec<Apply> = wanted
        .children
        .iter()
        .filter(|(key, _)| !is_unreadable(draft, key))
        .filter_map(|(key, child)| difference(draft, key, child, owner.as_ref()))
        .collect();
    applies.sort_by_key(|apply| (apply.turn, apply.child.kind));
    let applies = applies.into_iter().map(|apply| Step::Apply(Box::new(apply)));
    let labels = stale_labels(draft).into_iter().map(Step::Label);
    applies
        .chain(claims(draft))
        .chain(labels)
        .chain(calls(draft, wanted))
        .chain(deletes(draft, wanted))
        .collect()
}

/// The pods of adopted Deployments that are to be told their revision.
fn claims(draft: &Draft<'_>) -> Vec<Step> {
    let claim = |(revision, pods): (&String, &Vec<UnclaimedPod>)| {
        let labels = adoption::pod_labels(draft, revision);
        let claim = |pod: &UnclaimedPod| {
            Step::Claim(ClaimPod {
                pod: pod.name.clone(),
                uid: pod.uid.clone(),
                labels: labels.clone(),
            })
        };
        pods.iter()
            .filter(|_| !labels.is_empty())
            .map(claim)
            .collect::<Vec<_>>()
    };
    draft.observed.unclaimed.iter().flat_map(claim).collect()
}

/// Calls that are to begin, and those that nobody wants any more.
fn calls(draft: &Draft<'_>, wanted: &Desired) -> Vec<Step> {
    let known = &draft.observed.calls;
    let begin = wanted.call.iter().filter(|call| !known.contains_key(&call.key));
    let forget = known.keys().filter(|key| !keeps_call(draft, key));
    let begin = begin.map(|call| Step::Call(Box::new(call.clone())));
    begin
        .chain(forget.map(|key| Step::ForgetCall(key.clone())))
        .collect()
}

/// When a write has its turn: what is referred to first, then what gains pods, then traffic, then what loses pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Turn {
    /// What others refer to.
    Referred,
    /// What gains pods, or is new.
    Growing,
    /// Who gets traffic.
    Traffic,
    /// What loses pods.
    Shrinking,
    /// What nothing waits for.
    Rest,
}

impl Turn {
    fn of(child: &Child, live: Option<&LiveChild>) -> Self {
        match child.kind {
            ChildKind::ControllerRevision
            | ChildKind::ConfigMap
            | ChildKind::Secret
            | ChildKind::ServiceAccount
            | ChildKind::NetworkPolicy
            | ChildKind::Job => Self::Referred,
            ChildKind::Deployment => {
                let replicas = |object: &Value| {
                    object
                        .pointer("/spec/replicas")
                        .and_then(Value::as_i64)
                        .unwrap_or(1)
                };
                match live {
                    Some(live) if replicas(&child.object) < replicas(&live.object) => Self::Shrinking,
                    Some(_) | None => Self::Growing,
                }
            }
            // A Service of one revision alone is what routes refer to.
            ChildKind::Service if is_of_one_revision(child) => Self::Referred,
            ChildKind::Service
            | ChildKind::Ingress
            | ChildKind::HttpRoute
            | ChildKind::GrpcRoute
            | ChildKind::VirtualService => Self::Traffic,
            ChildKind::PodDisruptionBudget
            | ChildKind::HorizontalPodAutoscaler
            | ChildKind::ServiceMonitor
            | ChildKind::PodMonitor
            | ChildKind::PrometheusRule => Self::Rest,
        }
    }
}

fn is_of_one_revision(child: &Child) -> bool {
    let labels = child
        .object
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    labels.is_some_and(|labels| labels.contains_key(crate::api::labels::REVISION))
}

/// Whether a record is there that cannot be read. Its data cannot be changed, and it is evidence.
fn is_unreadable(draft: &Draft<'_>, key: &ChildKey) -> bool {
    let live = draft
        .observed
        .children
        .get(key)
        .filter(|live| live.deleting == Deleting::No);
    key.0 == ChildKind::ControllerRevision && live.is_some() && !draft.observed.records.contains_key(&key.1)
}

/// What has to be applied for `child` to be as wanted.
fn difference(
    draft: &Draft<'_>,
    key: &ChildKey,
    child: &Child,
    owner: Option<&OwnerReference>,
) -> Option<Apply> {
    let observed = draft.observed;
    let (child, digest) = stamped(child, owner);
    let turn = Turn::of(&child, observed.children.get(key));
    let refused = observed
        .failures
        .get(key)
        .filter(|failure| failure.digest == digest && !draft.tried_now());
    let apply = |uid: Option<&str>, reason| {
        Some(Apply {
            child: child.clone(),
            digest: digest.clone(),
            uid: uid.map(str::to_owned),
            reason,
            turn,
        })
    };
    let adopted = adoption::adoptable(observed, key);
    match observed.children.get(key) {
        // Refused before, and nothing has changed since: the retry comes with the back-off, which clears the failure.
        _ if refused.is_some() => None,
        None if adopted.is_some() => apply(adopted.map(|live| live.uid.as_str()), ApplyReason::Adopted),
        Some(live) if live.ownership == Ownership::Foreign => {
            adopted.and_then(|found| apply(Some(&found.uid), ApplyReason::Adopted))
        }
        // A Job runs as it was made: what it runs cannot be changed, and another Job has another name.
        Some(_) if child.kind == ChildKind::Job => None,
        // An object on its way out keeps its name until it is gone.
        Some(live) if live.deleting == Deleting::Yes => None,
        None => apply(None, ApplyReason::Missing),
        Some(live) if live.applied.as_deref() != Some(digest.as_str()) => {
            apply(Some(&live.uid), ApplyReason::Changed)
        }
        Some(live) => {
            let path = drift::difference(&child.object, &live.object)?;
            apply(Some(&live.uid), ApplyReason::Drifted(path))
        }
    }
}

/// The child with its owner and the digest of its fields.
pub fn stamped(child: &Child, owner: Option<&OwnerReference>) -> (Child, String) {
    let mut child = match owner {
        Some(owner) => child.clone().owned_by(owner),
        None => child.clone(),
    };
    let digest = RevisionDigest::of_value(&child.object).short(16);
    if let Some(metadata) = child.object.get_mut("metadata").and_then(Value::as_object_mut) {
        let notes = metadata
            .entry("annotations")
            .or_insert_with(|| Value::Object(serde_json::Map::new()));
        if let Some(notes) = notes.as_object_mut() {
            notes.insert(annotations::APPLIED.to_owned(), Value::String(digest.clone()));
        }
    }
    (child, digest)
}

/// What lives, is ours, and is not wanted any more.
fn deletes(draft: &Draft<'_>, wanted: &Desired) -> Vec<Step> {
    // Before anything is decided nothing can be known to be too much.
    if matches!(draft.situation.state, State::Fresh) {
        return Vec::new();
    }
    let superfluous = draft.observed.children.iter().filter(|((kind, name), live)| {
        let ours = match live.ownership {
            Ownership::Ours | Ownership::Orphan => true,
            Ownership::Foreign => false,
        };
        let unwanted = !wanted.children.contains_key(&(*kind, name.clone()));
        let unreadable = *kind == ChildKind::ControllerRevision && !draft.records.contains_key(name);
        ours && unwanted
            && !unreadable
            && live.deleting == Deleting::No
            && !still_needed(draft, wanted, *kind, name, live)
    });
    superfluous
        .map(|((kind, name), live)| {
            Step::Delete(Delete {
                kind: *kind,
                name: name.clone(),
                uid: live.uid.clone(),
            })
        })
        .collect()
}

/// Whether the Job of a check, which there may be many of, is to be read by people: it failed, and the rollout is over.
fn is_evidence(draft: &Draft<'_>, job: &str) -> bool {
    let failed = draft.observed.jobs.get(job).is_some_and(JobView::failed);
    let over = match &draft.situation.state {
        State::Steady { .. } | State::Returning(_) => true,
        State::Fresh
        | State::Starting { .. }
        | State::Rolling(_)
        | State::Promoting(_)
        | State::Baking(_) => false,
    };
    failed && over
}

/// Configuration of a revision stays until its last pod is gone, copies of Secrets as long as its record, and what
/// answers requests as long as some may come.
fn still_needed(draft: &Draft<'_>, wanted: &Desired, kind: ChildKind, name: &str, live: &LiveChild) -> bool {
    let belongs =
        |revision: &str| name == revision || name.strip_prefix(revision).is_some_and(|s| s.starts_with('-'));
    match kind {
        ChildKind::ConfigMap => draft
            .observed
            .pods
            .iter()
            .any(|(revision, pods)| !pods.is_empty() && belongs(revision)),
        ChildKind::Secret => wanted.records.iter().any(|revision| belongs(revision)),
        // A route that leads to it, or did a moment ago, goes first.
        ChildKind::Service => name != draft.observed.name() && still_routed(draft, wanted, name),
        // Requests may be on their way to its pods, also where nobody remembers that it had a share.
        ChildKind::Deployment => {
            draft.has_own_service(name) && draft.counts(name).ready > 0 && still_routed(draft, wanted, name)
        }
        // What a revision's Jobs said stays to be read while it is tried, or held back.
        ChildKind::Job => {
            draft.situation.state.candidate().is_some_and(belongs)
                && (measuring::check_of(live).is_none() || is_evidence(draft, name))
        }
        ChildKind::ControllerRevision
        | ChildKind::ServiceAccount
        | ChildKind::NetworkPolicy
        | ChildKind::PodDisruptionBudget
        | ChildKind::HorizontalPodAutoscaler
        | ChildKind::Ingress
        | ChildKind::HttpRoute
        | ChildKind::GrpcRoute
        | ChildKind::VirtualService
        | ChildKind::ServiceMonitor
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => false,
    }
}

/// Whether something is to end as soon as nothing comes from an earlier form of the routes: no event tells when that is.
fn rest_is_awaited(draft: &Draft<'_>, wanted: &Desired) -> bool {
    let left_over = |(kind, name): &ChildKey| {
        *kind == ChildKind::Service
            && name != draft.observed.name()
            && !wanted.children.contains_key(&(*kind, name.clone()))
    };
    draft.situation.state.live().len() > 1 || draft.observed.children.keys().any(left_over)
}

/// Whether a route leads to a Service, or all of them left it only just.
fn still_routed(draft: &Draft<'_>, wanted: &Desired, service: &str) -> bool {
    draft.routed(service) || !wanted.routes_rest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::api::{JobTemplate, Microservice};
    use crate::render::{Identity, JobPurpose, job, new_record};
    use crate::revision::RevisionInput;

    #[test]
    fn a_job_is_made_once_and_never_written_again() {
        let spec = serde_json::from_value(json!({"image": "a:1"})).unwrap();
        let service = Microservice::new("orders", spec);
        let identity = Identity::of(&service, "shop");
        let record = new_record(&identity, RevisionInput::of(&service.spec), Vec::new(), 0, 1, 0);
        let migrate = |command: &str| {
            let template = JobTemplate {
                command: vec![command.to_owned()],
                ..JobTemplate::default()
            };
            job(
                &identity,
                &record,
                "migrate",
                &template,
                JobPurpose::PreDeploy { trial: 1 },
            )
        };
        let (before, after) = (migrate("up"), migrate("up --fast"));
        assert_eq!(before.name, after.name);
        let key = (ChildKind::Job, before.name.clone());
        let mut observed = Observed {
            service: service.clone(),
            ..Observed::default()
        };
        let applied = |observed: &Observed, child: &Child| {
            let draft = Draft::new(observed, resolve(observed), Timestamp::UNIX_EPOCH);
            difference(&draft, &key, child, None).map(|apply| (apply.reason, apply.turn))
        };
        assert_eq!(
            applied(&observed, &before),
            Some((ApplyReason::Missing, Turn::Referred))
        );
        let (stored, digest) = stamped(&before, None);
        let live = LiveChild {
            uid: "u".to_owned(),
            ownership: Ownership::Ours,
            applied: Some(digest),
            object: Arc::new(stored.object),
            deleting: Deleting::No,
            last_foreign_manager: None,
        };
        observed.children.insert(key.clone(), live);
        // The API server would refuse another template, and what has run has run.
        assert_eq!(applied(&observed, &before), None);
        assert_eq!(applied(&observed, &after), None);
    }

    #[test]
    fn the_key_of_a_call_names_what_its_body_says() {
        let subject = CallSubject {
            service: "orders",
            namespace: "shop",
            revision: "orders-b",
            stable: "orders-a",
            trial: 3,
            step: 1,
            step_digest: "k2",
            hook: "load",
        };
        let call = Call::new(Webhook::default(), &subject);
        assert_eq!(call.key, "orders-b/3/1/k2/load");
        assert_eq!(
            call.body,
            json!({"service": "orders", "namespace": "shop", "revision": "orders-b", "stable": "orders-a",
                "trial": 3, "step": 1, "stepDigest": "k2", "hook": "load"})
        );
    }
}
