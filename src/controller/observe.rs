//! From the caches to what the engine sees of one service.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{Api, ResourceExt};

use super::cache::{Cached, ServiceKey};
use super::entry::Parsed;
use super::reconcile::Context;
use super::request::bounded;
use super::streams::Caches;
use crate::api::labels;
use crate::health::NodeReadiness;
use crate::render::{Child, Identity, KindPresence, secret_copy};
use crate::revision::{SnapshotContent, SourceKind, sources};
use crate::rollout::{ChildKey, DeploymentView, Endpoints, Observed, Resolution, resolve};

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
    observed.endpoints = endpoints(caches, key);
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
                Parsed::Plain => {}
            }
            observed.children.insert((*kind, name) as ChildKey, live);
        }
    }
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

fn endpoints(caches: &Caches, key: &ServiceKey) -> Endpoints {
    let mut found = Endpoints::default();
    // One pod may stand in several slices, one for each family of addresses.
    let mut seen = std::collections::BTreeSet::new();
    for slice in caches.slices.of(key) {
        for endpoint in slice.endpoints.iter() {
            let ready = endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true);
            let pod = endpoint
                .target_ref
                .as_ref()
                .and_then(|target| target.name.clone())
                .unwrap_or_default();
            if !ready || !seen.insert(pod.clone()) {
                continue;
            }
            let revision = caches
                .pods
                .get(&key.namespace, &pod)
                .and_then(|p| p.labels().get(labels::REVISION).cloned());
            match revision {
                Some(revision) => *found.ready.entry(revision).or_default() += 1,
                None => found.unknown += 1,
            }
        }
    }
    found
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
        let copy = (
            crate::render::ChildKind::Secret,
            snapshot.source.copy_name(&record.name),
        );
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
