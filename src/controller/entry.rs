//! What is kept of each object: children of all kinds in one form, and the few others in the form that is needed.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DeploymentCondition};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{DynamicObject, PartialObjectMeta, TypeMeta};
use serde_json::Value;

use super::cache::{Cached, ServiceKey};
use crate::api::{Microservice, annotations, labels};
use crate::health::replica_failure;
use crate::render::ChildKind;
use crate::revision::{Record, RecordError};
use crate::rollout::{Deleting, DeploymentView, LiveChild, Ownership, ReplicasHolder};

/// A Microservice, and what is read from its managedFields once, when it arrives.
#[derive(Clone, Debug)]
pub struct ServiceEntry {
    /// The Microservice, without them: they are near half of its size.
    pub service: Microservice,
    /// Who holds its replicas.
    pub replicas_holder: ReplicasHolder,
}

impl From<Microservice> for ServiceEntry {
    fn from(mut service: Microservice) -> Self {
        let managers = service.metadata.managed_fields.take().unwrap_or_default();
        Self {
            service,
            replicas_holder: replicas_holder(&managers),
        }
    }
}

impl ServiceEntry {
    /// The same after `replicas` was written to its /scale by us, which answered with this resourceVersion.
    #[must_use]
    pub fn scaled(&self, replicas: i32, resource_version: Option<String>) -> Self {
        let mut scaled = self.clone();
        let metadata = &mut scaled.service.metadata;
        metadata.resource_version = resource_version;
        if scaled.service.spec.operation.replicas != replicas {
            scaled.service.spec.operation.replicas = replicas;
            metadata.generation = metadata.generation.map(|generation| generation + 1);
        }
        // What nobody holds is held by nobody afterwards: see [`replicas_holder`].
        if scaled.replicas_holder != ReplicasHolder::Nobody {
            scaled.replicas_holder = ReplicasHolder::Operator;
        }
        scaled
    }
}

/// Who holds `spec.replicas`. The API server notes writes through the /scale of a custom resource only where somebody
/// held the field before, so that nobody may hold what came through it. Where several hold it, they agree in the value.
fn replicas_holder(managers: &[ManagedFieldsEntry]) -> ReplicasHolder {
    let holds = |entry: &&ManagedFieldsEntry| {
        let fields = entry.fields_v1.as_ref();
        fields.is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
    };
    let (scale, manifest): (Vec<_>, Vec<_>) = managers
        .iter()
        .filter(holds)
        .partition(|entry| entry.subresource.as_deref() == Some("scale"));
    let ours = |entry: &&ManagedFieldsEntry| entry.manager.as_deref() == Some(labels::MANAGER);
    match (scale.first(), manifest.first()) {
        (Some(_), _) if scale.iter().all(ours) => ReplicasHolder::Operator,
        (Some(_), _) => ReplicasHolder::Scale,
        (None, Some(entry)) => ReplicasHolder::Manifest {
            manager: entry.manager.clone().unwrap_or_default(),
        },
        (None, None) => ReplicasHolder::Nobody,
    }
}

/// A child of any kind.
#[derive(Debug)]
pub struct ChildEntry {
    metadata: ObjectMeta,
    object: Arc<Value>,
    last_foreign_manager: Option<String>,
    /// What is read from it once, when it arrives.
    pub parsed: Parsed,
}

/// What the engine looks at in a child, beyond its fields.
#[derive(Debug)]
pub enum Parsed {
    /// A record.
    Record(Box<Result<Record, RecordError>>),
    /// A Deployment.
    Deployment(Box<DeploymentView>),
    /// A Job.
    Job(Box<Job>),
    /// Nothing else.
    Plain,
}

impl ChildEntry {
    /// Reads an object as it came from the API server.
    pub fn new(kind: ChildKind, mut object: DynamicObject) -> Self {
        // The items of a list do not say what they are.
        object.types = Some(TypeMeta {
            api_version: kind.api_version(),
            kind: kind.kind().to_owned(),
        });
        let managers = object.metadata.managed_fields.take().unwrap_or_default();
        let last_foreign_manager = last_foreign_manager(&managers);
        let metadata = object.metadata.clone();
        let value = serde_json::to_value(&object).unwrap_or_default();
        let parsed = match kind {
            ChildKind::ControllerRevision => {
                match serde_json::from_value::<ControllerRevision>(value.clone()) {
                    Ok(record) => Parsed::Record(Box::new(Record::read(&record))),
                    Err(_) => {
                        let name = metadata.name.clone().unwrap_or_default();
                        Parsed::Record(Box::new(Err(RecordError::Empty(name))))
                    }
                }
            }
            ChildKind::Deployment => Parsed::Deployment(Box::new(deployment_view(&metadata, &value))),
            ChildKind::Job => match serde_json::from_value::<Job>(value.clone()) {
                Ok(job) => Parsed::Job(Box::new(job)),
                // An API server that serves batch/v1 sends Jobs; one that is none is compared like any object.
                Err(_) => Parsed::Plain,
            },
            ChildKind::ConfigMap
            | ChildKind::Secret
            | ChildKind::ServiceAccount
            | ChildKind::NetworkPolicy
            | ChildKind::Service
            | ChildKind::PodDisruptionBudget
            | ChildKind::HorizontalPodAutoscaler
            | ChildKind::Ingress
            | ChildKind::HttpRoute
            | ChildKind::GrpcRoute
            | ChildKind::VirtualService
            | ChildKind::ServiceMonitor
            | ChildKind::PodMonitor
            | ChildKind::PrometheusRule => Parsed::Plain,
        };
        Self {
            metadata,
            object: Arc::new(value),
            last_foreign_manager,
            parsed,
        }
    }

    /// The child as the engine sees it, for the Microservice with this uid.
    pub fn live(&self, service_uid: &str, service_name: &str) -> LiveChild {
        let (ownership, being_collected) = ownership(&self.metadata, service_uid, service_name);
        let leaving = self.metadata.deletion_timestamp.is_some() || being_collected;
        let notes = self.metadata.annotations.as_ref();
        LiveChild {
            uid: self.metadata.uid.clone().unwrap_or_default(),
            ownership,
            applied: notes.and_then(|a| a.get(annotations::APPLIED)).cloned(),
            object: Arc::clone(&self.object),
            deleting: if leaving { Deleting::Yes } else { Deleting::No },
            last_foreign_manager: self.last_foreign_manager.clone(),
        }
    }
}

/// Whose an object is, and whether it waits for garbage collection with an earlier Microservice of the same name.
pub fn ownership(metadata: &ObjectMeta, service_uid: &str, service_name: &str) -> (Ownership, bool) {
    let owners = metadata.owner_references.iter().flatten();
    match owners.into_iter().find(|owner| owner.controller == Some(true)) {
        Some(owner) if owner.uid == service_uid => (Ownership::Ours, false),
        Some(owner) => {
            let earlier = owner.kind == "Microservice" && owner.name == service_name;
            (Ownership::Foreign, earlier)
        }
        None if label(metadata, labels::MANAGED_BY) == Some(labels::MANAGER) => (Ownership::Orphan, false),
        None => (Ownership::Foreign, false),
    }
}

fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn last_foreign_manager(managers: &[ManagedFieldsEntry]) -> Option<String> {
    let foreign = managers.iter().filter(|m| {
        m.manager.as_deref() != Some(labels::MANAGER)
            && m.subresource.as_deref().unwrap_or_default().is_empty()
    });
    foreign
        .max_by_key(|m| m.time.as_ref().map(|t| t.0))
        .and_then(|m| m.manager.clone())
}

fn deployment_view(metadata: &ObjectMeta, object: &Value) -> DeploymentView {
    let selector = object
        .pointer("/spec/selector/matchLabels")
        .cloned()
        .unwrap_or_default();
    let conditions = object.pointer("/status/conditions").cloned().unwrap_or_default();
    let conditions: Vec<DeploymentCondition> = serde_json::from_value(conditions).unwrap_or_default();
    DeploymentView {
        revision: label(metadata, labels::REVISION).unwrap_or_default().to_owned(),
        replicas: object
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(1),
        failure: replica_failure(&conditions),
        template: object.pointer("/spec/template").cloned().unwrap_or_default(),
        selector: serde_json::from_value(selector).unwrap_or_default(),
        pods: object
            .pointer("/status/replicas")
            .and_then(Value::as_i64)
            .and_then(|n| i32::try_from(n).ok())
            .unwrap_or(0),
    }
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata
        .resource_version
        .as_deref()
        .and_then(|v| v.parse().ok())
        .unwrap_or(0)
}

fn instance(metadata: &ObjectMeta) -> Option<ServiceKey> {
    let namespace = metadata.namespace.clone()?;
    Some(ServiceKey {
        namespace,
        name: label(metadata, labels::INSTANCE)?.to_owned(),
    })
}

impl Cached for ServiceEntry {
    fn object_namespace(&self) -> &str {
        self.service.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn object_name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }
    fn object_uid(&self) -> &str {
        self.service.metadata.uid.as_deref().unwrap_or_default()
    }
    fn version(&self) -> u64 {
        version(&self.service.metadata)
    }
    fn service(&self) -> Option<ServiceKey> {
        Some(ServiceKey {
            namespace: self.service.metadata.namespace.clone()?,
            name: self.service.metadata.name.clone()?,
        })
    }
}

/// Implements [`Cached`] for a type with metadata; the expression says which service an object belongs to.
macro_rules! cached {
    ($type:ty, $service:expr) => {
        impl Cached for $type {
            fn object_namespace(&self) -> &str {
                self.metadata.namespace.as_deref().unwrap_or_default()
            }
            fn object_name(&self) -> &str {
                self.metadata.name.as_deref().unwrap_or_default()
            }
            fn object_uid(&self) -> &str {
                self.metadata.uid.as_deref().unwrap_or_default()
            }
            fn version(&self) -> u64 {
                version(&self.metadata)
            }
            fn service(&self) -> Option<ServiceKey> {
                let service: fn(&ObjectMeta) -> Option<ServiceKey> = $service;
                service(&self.metadata)
            }
        }
    };
}

cached!(ChildEntry, instance);
// Pods of an adopted Deployment may have to keep a label of that name for something else: their revision tells, too, and
// its name is that of the service with a suffix.
cached!(Pod, |metadata| {
    let (service, _) = label(metadata, labels::REVISION)?.rsplit_once('-')?;
    Some(ServiceKey {
        namespace: metadata.namespace.clone()?,
        name: service.to_owned(),
    })
});
// A slice has the labels of its Service, and a service has one for each of its live revisions.
cached!(EndpointSlice, instance);
cached!(Node, |_| None);
cached!(PodDisruptionBudget, |_| None);

/// The pod of a Job.
#[derive(Debug)]
pub struct JobPod {
    /// The pod, without what nobody here reads.
    pub pod: Pod,
}

impl From<Pod> for JobPod {
    fn from(pod: Pod) -> Self {
        Self { pod: pruned_pod(pod) }
    }
}

impl Cached for JobPod {
    fn object_namespace(&self) -> &str {
        self.pod.object_namespace()
    }
    fn object_name(&self) -> &str {
        self.pod.object_name()
    }
    fn object_uid(&self) -> &str {
        self.pod.object_uid()
    }
    fn version(&self) -> u64 {
        self.pod.version()
    }
    fn service(&self) -> Option<ServiceKey> {
        Some(ServiceKey {
            namespace: self.pod.metadata.namespace.clone()?,
            name: label(&self.pod.metadata, labels::JOB)?.to_owned(),
        })
    }
}

/// The metadata of a tracked source.
#[derive(Debug)]
pub struct SourceEntry {
    metadata: ObjectMeta,
}

impl<K> From<PartialObjectMeta<K>> for SourceEntry {
    fn from(object: PartialObjectMeta<K>) -> Self {
        let mut metadata = object.metadata;
        // Only identity and version are of interest; annotations can be as large as the object.
        metadata.annotations = None;
        metadata.labels = None;
        metadata.managed_fields = None;
        Self { metadata }
    }
}

impl SourceEntry {
    /// Tells two contents of a source apart.
    pub fn stamp(&self) -> (String, u64) {
        (
            self.metadata.uid.clone().unwrap_or_default(),
            version(&self.metadata),
        )
    }
}

cached!(SourceEntry, |_| None);

/// A pod without what nobody here reads.
pub fn pruned_pod(mut pod: Pod) -> Pod {
    pod.metadata.managed_fields = None;
    pod.metadata.annotations = None;
    if let Some(spec) = &mut pod.spec {
        spec.volumes = None;
        spec.affinity = None;
        spec.tolerations = None;
        spec.topology_spread_constraints = None;
        for container in spec
            .containers
            .iter_mut()
            .chain(spec.init_containers.iter_mut().flatten())
        {
            container.env = None;
            container.env_from = None;
            container.volume_mounts = None;
            container.command = None;
            container.args = None;
            container.lifecycle = None;
            container.liveness_probe = None;
            container.startup_probe = None;
        }
    }
    pod
}

/// A node without what nobody here reads: its name and whether it is ready.
pub fn pruned_node(mut node: Node) -> Node {
    node.metadata.managed_fields = None;
    node.metadata.annotations = None;
    node.metadata.labels = None;
    node.spec = None;
    if let Some(status) = &mut node.status {
        let conditions = status.conditions.take();
        *status = k8s_openapi::api::core::v1::NodeStatus {
            conditions,
            ..Default::default()
        };
    }
    node
}

/// The time now; here and nowhere else in this room.
pub fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// As the API server 1.35 writes them: (manager, subresource, whether it holds replicas).
    fn holder(entries: &[(&str, &str, bool)]) -> ReplicasHolder {
        let entries: Vec<ManagedFieldsEntry> = entries
            .iter()
            .map(|(manager, subresource, holds)| {
                let fields = if *holds {
                    json!({"f:spec": {"f:replicas": {}}})
                } else {
                    json!({"f:spec": {"f:image": {}}, "f:status": {"f:replicas": {}}})
                };
                let entry = json!({"manager": manager, "subresource": subresource, "fieldsV1": fields});
                serde_json::from_value(entry).unwrap()
            })
            .collect();
        replicas_holder(&entries)
    }

    #[test]
    fn who_holds_replicas_is_read_from_the_record() {
        let manifest = |manager: &str| ReplicasHolder::Manifest {
            manager: manager.to_owned(),
        };
        assert_eq!(holder(&[("kubectl", "", false)]), ReplicasHolder::Nobody);
        assert_eq!(
            holder(&[("kubectl-edit", "", true), ("kubectl", "", false)]),
            manifest("kubectl-edit")
        );
        let hpa = ("kube-controller-manager", "scale", true);
        assert_eq!(holder(&[("kubectl", "", false), hpa]), ReplicasHolder::Scale);
        // A manifest with the same value shares the field with the autoscaler.
        assert_eq!(holder(&[("kubectl", "", true), hpa]), ReplicasHolder::Scale);
        let ours = (labels::MANAGER, "scale", true);
        assert_eq!(holder(&[ours]), ReplicasHolder::Operator);
        assert_eq!(holder(&[ours, hpa]), ReplicasHolder::Scale);
        assert_eq!(
            holder(&[(labels::MANAGER, "status", false)]),
            ReplicasHolder::Nobody
        );
    }
}
