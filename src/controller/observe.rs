//! From the caches to what the engine sees of one service.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Api, ResourceExt};

use super::adoption;
use super::cache::{Cached, ServiceKey};
use super::entry::{JobPod, Parsed};
use super::reconcile::Context;
use super::request::bounded;
use super::streams::Caches;
use crate::api::labels;
use crate::health::{JobTrouble, NodeReadiness, job_outcome, job_trouble};
use crate::render::{Child, ChildKind, Identity, KindPresence, secret_copy};
use crate::revision::{SnapshotContent, SourceKind, sources};
use crate::rollout::{
    ChildKey, Deleting, DeploymentView, Endpoints, JobView, Observed, Ownership, Resolution, is_route,
    resolve,
};
use crate::traffic::form;

/// What is observed of `key`; `None` where it does not exist (any more).
///
/// # Errors
/// When a tracked source exists and cannot be read.
pub async fn observe(
    context: &Context,
    key: &ServiceKey,
    now: Timestamp,
) -> Result<Option<Observed>, kube::Error> {
    let caches = &context.caches;
    let Some(entry) = caches.services.get(&key.namespace, &key.name) else {
        return Ok(None);
    };
    let service = &entry.service;
    let memory = context.memory.of(key);
    let mut observed = Observed {
        service: service.clone(),
        replicas_holder: entry.replicas_holder.clone(),
        served_kinds: caches
            .served
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone(),
        failures: memory.failures.clone(),
        scale_failure: memory.scale_failure.clone(),
        contested: memory.contested(now),
        last_status_write: memory.last_status_write,
        ..Observed::default()
    };
    add_children(caches, key, &mut observed);
    add_pods(caches, key, &mut observed);
    adoption::look(context, key, &mut observed).await?;
    (observed.endpoints, observed.service_endpoints) = endpoints(caches, key);
    observed.accepted_since = accepted_since(context, key, &observed, now);
    let troubles = add_jobs(caches, key, &memory.job_troubles, &mut observed);
    if troubles != memory.job_troubles {
        context
            .memory
            .change(key, |memory| memory.job_troubles = troubles);
    }
    observed.calls = context.calls.of(key, observed.uid());
    let waiting = observed
        .service
        .status
        .as_ref()
        .map(|status| status.notifications.as_slice());
    observed.deliveries = context
        .deliveries
        .of(key, observed.uid(), waiting.unwrap_or_default());
    observed.analysis = context.samplers.report(key);
    observed.measurements = context.measurers.of(key);
    observed.gateway_features = context
        .features
        .of(&context.client, &key.namespace, observed.spec())
        .await;
    observed.route_conflicts = caches.claims.conflicts(key);
    observed.foreign_budgets = foreign_budgets(caches, key);
    for source in sources(&service.spec.revision).into_keys() {
        let found = context
            .contents
            .of(&context.client, caches, context.secrets, key, &source)
            .await?;
        observed.sources.insert(source, found);
    }
    observed.secret_copies = secret_copies(context, key, &observed).await?;
    Ok(Some(observed))
}

fn add_children(caches: &Caches, key: &ServiceKey, observed: &mut Observed) {
    let uid = observed.uid().to_owned();
    for (kind, cache) in &caches.children {
        // Of a kind that is not served (yet) nothing is known, whatever its watch has told already.
        if kind.presence() == KindPresence::Optional && !observed.served_kinds.contains(kind) {
            continue;
        }
        for entry in cache.of(key) {
            let name = entry.object_name().to_owned();
            let live = entry.live(&uid, &key.name);
            match &entry.parsed {
                Parsed::Record(record) => match record.as_ref() {
                    Ok(record) => {
                        observed.records.insert(name.clone(), record.clone());
                    }
                    Err(error) => observed.unreadable.push(error.to_string()),
                },
                Parsed::Deployment(view) => {
                    observed
                        .deployments
                        .insert(name.clone(), DeploymentView::clone(view));
                }
                Parsed::Job(_) | Parsed::Plain => {}
            }
            observed.children.insert((*kind, name) as ChildKey, live);
        }
    }
}

/// Adds how the Jobs stand. Answers the trouble of each by its uid, to be remembered: a pod that could not start tells
/// nothing any more once its Job has run out of time.
fn add_jobs(
    caches: &Caches,
    key: &ServiceKey,
    earlier: &BTreeMap<String, JobTrouble>,
    observed: &mut Observed,
) -> BTreeMap<String, JobTrouble> {
    let mut troubles = BTreeMap::new();
    let entries = caches.children.get(&ChildKind::Job).map(|jobs| jobs.of(key));
    let held = caches.job_pods.of(key);
    let pods: Vec<&Pod> = held.iter().map(|held: &Arc<JobPod>| &held.pod).collect();
    for entry in entries.into_iter().flatten() {
        let Parsed::Job(job) = &entry.parsed else {
            continue;
        };
        let live = entry.live(observed.uid(), &key.name);
        if live.ownership == Ownership::Foreign || live.deleting == Deleting::Yes {
            continue;
        }
        let earlier = earlier.get(&live.uid);
        let trouble = job_trouble(job, &pods, earlier);
        let view = JobView {
            outcome: job_outcome(job, &pods, earlier),
            words: trouble.as_ref().map(|trouble| trouble.words.clone()),
        };
        observed.jobs.insert(entry.object_name().to_owned(), view);
        if let Some(trouble) = trouble {
            troubles.insert(live.uid, trouble);
        }
    }
    troubles
}

fn add_pods(caches: &Caches, key: &ServiceKey, observed: &mut Observed) {
    let ledger = caches.ledger.lock().unwrap_or_else(PoisonError::into_inner);
    for pod in caches.pods.of(key) {
        let Some(revision) = pod.labels().get(labels::REVISION).cloned() else {
            continue;
        };
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref());
        let readiness = node.map_or(NodeReadiness::Unknown, |name| {
            caches
                .nodes
                .get("", name)
                .map_or(NodeReadiness::Unknown, |node| node_readiness(&node))
        });
        observed
            .pods
            .entry(revision)
            .or_default()
            .push(ledger.snapshot(&pod, readiness));
    }
}

/// Whether a node is ready.
pub fn node_readiness(node: &Node) -> NodeReadiness {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition.type_ == "Ready");
    match ready.map(|condition| condition.status.as_str()) {
        Some("True") => NodeReadiness::Ready,
        Some(_) => NodeReadiness::NotReady,
        None => NodeReadiness::Unknown,
    }
}

/// The label of an EndpointSlice that names its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The ready endpoints of the root Service by revision, and those of the other Services.
fn endpoints(caches: &Caches, key: &ServiceKey) -> (Endpoints, BTreeMap<String, i32>) {
    let mut root = Endpoints::default();
    let mut others: BTreeMap<String, i32> = BTreeMap::new();
    // One pod may stand in several slices of a Service, one for each family of addresses.
    let mut seen = std::collections::BTreeSet::new();
    for slice in caches.slices.of(key) {
        let service = slice
            .labels()
            .get(SERVICE_NAME)
            .map_or(key.name.as_str(), String::as_str);
        for endpoint in slice.endpoints.iter() {
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            let pod = endpoint
                .target_ref
                .as_ref()
                .and_then(|target| target.name.clone())
                .unwrap_or_default();
            if !ready || !seen.insert((service.to_owned(), pod.clone())) {
                continue;
            }
            if service != key.name {
                *others.entry(service.to_owned()).or_default() += 1;
                continue;
            }
            let revision = caches
                .pods
                .get(&key.namespace, &pod)
                .and_then(|p| p.labels().get(labels::REVISION).cloned());
            match revision {
                Some(revision) => *root.ready.entry(revision).or_default() += 1,
                None => root.unknown += 1,
            }
        }
    }
    (root, others)
}

/// Since when each route has been accepted as it is, or, where it is not, has nobody who carries an earlier form of it.
/// What is so when it is first seen counts from then: after a restart that is a moment longer than it need be, and never
/// shorter.
fn accepted_since(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    now: Timestamp,
) -> BTreeMap<ChildKey, Timestamp> {
    let routes: Vec<_> = observed
        .children
        .iter()
        .filter(|(child, _)| is_route(child.0))
        .filter_map(|(child, live)| Some((child.clone(), form(child.0, &live.uid, &live.object)?)))
        .collect();
    let mut since = BTreeMap::new();
    context.memory.change(key, |memory| {
        for (route, form) in routes {
            since.insert(route.clone(), memory.accepted(route, form, now));
        }
        memory.not_accepted(&since);
    });
    since
}

fn foreign_budgets(caches: &Caches, key: &ServiceKey) -> Vec<String> {
    let pods = caches.pods.of(key);
    let Some(labels) = pods.first().map(|pod| pod.labels()) else {
        return Vec::new();
    };
    let mut names: Vec<String> = caches
        .budgets
        .all()
        .iter()
        .filter(|budget| budget.namespace().as_deref() == Some(key.namespace.as_str()))
        .filter(|budget| budget.labels().get(labels::MANAGED_BY).map(String::as_str) != Some(labels::MANAGER))
        .filter(|budget| {
            budget
                .spec
                .as_ref()
                .and_then(|s| s.selector.as_ref())
                .is_some_and(|selector| selects(selector, labels))
        })
        .map(|budget| budget.name_any())
        .collect();
    names.sort();
    names
}

/// Whether a selector selects an object with these labels.
fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let exact = selector
        .match_labels
        .iter()
        .flatten()
        .all(|(key, value)| labels.get(key) == Some(value));
    exact
        && selector.match_expressions.iter().flatten().all(|rule| {
            let value = labels.get(&rule.key);
            let listed = value.is_some_and(|v| rule.values.iter().flatten().any(|other| other == v));
            match rule.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                "Exists" => value.is_some(),
                _ => value.is_none(),
            }
        })
}

/// The immutable copies of tracked Secrets that are still to be made for the revision that the spec asks for.
async fn secret_copies(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
) -> Result<Vec<Child>, kube::Error> {
    let Resolution::Revision(record) = resolve(observed) else {
        return Ok(Vec::new());
    };
    let identity = Identity::of(&observed.service, observed.namespace());
    let mut copies = Vec::new();
    for snapshot in record
        .data
        .snapshots
        .iter()
        .filter(|s| s.source.kind == SourceKind::Secret)
    {
        let Some(content) = &snapshot.content else {
            continue;
        };
        let copy = (ChildKind::Secret, snapshot.source.copy_name(&record.name));
        if observed.children.contains_key(&copy) {
            continue;
        }
        let api: Api<Secret> = Api::namespaced(context.client.clone(), &key.namespace);
        // Only what the digest speaks of may be copied: a newer content is another revision.
        if let Some(secret) = bounded(api.get_opt(&snapshot.source.name)).await?
            && SnapshotContent::of_secret(&secret).digest == content.digest
        {
            copies.push(secret_copy(&identity, &record, &snapshot.source, &secret));
        }
    }
    Ok(copies)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::controller::entry::ChildEntry;
    use crate::health::JobOutcome;

    fn key() -> ServiceKey {
        ServiceKey {
            namespace: "shop".into(),
            name: "orders".into(),
        }
    }

    fn put_job(caches: &Caches, name: &str, version: u64, owner: &str, fields: &Value) {
        let mut job = json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": format!("uid-{name}"), "resourceVersion": version.to_string(),
                "labels": {labels::INSTANCE: "orders", labels::MANAGED_BY: labels::MANAGER},
                "ownerReferences": [{"apiVersion": "a", "kind": "Microservice", "name": "orders", "uid": owner,
                    "controller": true}],
            },
            "spec": {"activeDeadlineSeconds": 60, "template": {}},
        });
        for (field, value) in fields.as_object().unwrap() {
            match field.as_str() {
                "deletionTimestamp" => job["metadata"][field] = value.clone(),
                _ => job[field] = value.clone(),
            }
        }
        let entry = ChildEntry::new(ChildKind::Job, serde_json::from_value(job).unwrap());
        caches.children[&ChildKind::Job].put(entry);
    }

    fn put_pod(caches: &Caches, service: &str, waiting: &str) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": "p", "namespace": "shop", "uid": "uid-p", "resourceVersion": "7",
                "labels": {labels::JOB: service, labels::JOB_OF: "orders-b"},
                "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "uid-j",
                    "controller": true}],
            },
            "spec": {"nodeName": "n", "containers": [{"name": "migrate"}]},
            "status": {"phase": "Pending", "containerStatuses": [{
                "name": "migrate", "image": "x", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"waiting": {"reason": waiting, "message": "words"}},
            }]},
        }))
        .unwrap();
        caches.job_pods.put(JobPod::from(pod));
    }

    fn observed() -> Observed {
        let mut observed = Observed::default();
        observed.service.metadata.uid = Some("u".to_owned());
        observed
    }

    #[test]
    fn jobs_are_seen_with_what_their_pods_wait_for_and_that_is_kept_beyond_them() {
        let caches = Caches::new();
        put_job(&caches, "j", 1, "u", &json!({}));
        put_job(&caches, "of-an-earlier-one", 2, "v", &json!({}));
        put_job(
            &caches,
            "leaving",
            3,
            "u",
            &json!({"deletionTimestamp": "2026-01-01T00:00:00Z"}),
        );
        put_pod(&caches, "orders", "ImagePullBackOff");
        let mut first = observed();
        let troubles = add_jobs(&caches, &key(), &BTreeMap::new(), &mut first);
        let words = "pod p: ImagePullBackOff: words".to_owned();
        let view = JobView {
            outcome: JobOutcome::Running,
            words: Some(words.clone()),
        };
        assert_eq!(first.jobs, BTreeMap::from([("j".to_owned(), view)]));
        assert_eq!(troubles.keys().collect::<Vec<_>>(), ["uid-j"]);
        assert!(first.pods.is_empty(), "it is no pod of the service");

        // Out of time: Kubernetes has taken its pod away.
        caches.job_pods.remove("shop", "p", "uid-p");
        let failed = json!({"status": {"failed": 1, "conditions": [
            {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}});
        put_job(&caches, "j", 4, "u", &failed);
        let mut second = observed();
        let after = add_jobs(&caches, &key(), &troubles, &mut second);
        assert_eq!(after, troubles);
        let JobOutcome::Failed(fault) = &second.jobs["j"].outcome else {
            panic!("{:?}", second.jobs);
        };
        assert_eq!(fault.message, format!("Job j was not done within 60 s: {words}"));

        // What is remembered of a Job goes with it.
        caches.children[&ChildKind::Job].remove("shop", "j", "uid-j");
        assert!(add_jobs(&caches, &key(), &after, &mut observed()).is_empty());
    }

    #[test]
    fn pods_of_jobs_of_other_services_are_not_looked_at() {
        let caches = Caches::new();
        put_job(&caches, "j", 1, "u", &json!({}));
        put_pod(&caches, "payments", "ImagePullBackOff");
        let mut observed = observed();
        add_jobs(&caches, &key(), &BTreeMap::new(), &mut observed);
        assert_eq!(observed.jobs["j"].words, None);
    }
}
