//! What the API server holds of one service, and what it answers to writes: conflicts, refusals, and what is immutable.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use crate::api::{Microservice, MicroserviceStatus, annotations, labels};
use crate::health::Fault;
use crate::render::ChildKind;
use crate::revision::Record;
use crate::rollout::{
    Apply, ChildKey, Delete, Deleting, DeploymentView, FailureClass, LiveChild, Ownership, ReplicasHolder,
    WriteBack,
};
use k8s_openapi::api::apps::v1::ControllerRevision;
use serde_json::{Value, json};

/// The fields of an object. Most of the time it is only looked at: copies share them, and are known to be equal.
#[derive(Clone, Debug)]
pub struct Object(Arc<Value>);

impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Deref for Object {
    type Target = Value;
    fn deref(&self) -> &Value {
        &self.0
    }
}

impl DerefMut for Object {
    fn deref_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.0)
    }
}

/// An object as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its uid.
    pub uid: String,
    /// Its fields.
    pub object: Object,
    /// Whether it is being deleted.
    pub deleting: Deleting,
}

impl Stored {
    fn owner(&self) -> Option<&str> {
        self.object.pointer("/metadata/ownerReferences/0/uid")?.as_str()
    }

    /// The value of one of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.object.pointer("/metadata/labels")?.get(key)?.as_str()
    }

    /// Whose it is to the Microservice with this uid.
    pub fn ownership(&self, service_uid: &str) -> Ownership {
        match self.owner() {
            Some(owner) if owner == service_uid => Ownership::Ours,
            Some(_) => Ownership::Foreign,
            None if self.label(labels::MANAGED_BY) == Some(labels::MANAGER) => Ownership::Orphan,
            None => Ownership::Foreign,
        }
    }

    /// As the operator sees a child.
    pub fn live(&self, service_uid: &str) -> LiveChild {
        let applied = self
            .object
            .pointer("/metadata/annotations")
            .and_then(|a| a.get(annotations::APPLIED));
        LiveChild {
            uid: self.uid.clone(),
            ownership: self.ownership(service_uid),
            applied: applied.and_then(Value::as_str).map(str::to_owned),
            object: Arc::clone(&self.object.0),
            deleting: self.deleting,
            last_foreign_manager: None,
        }
    }

    /// Of a Deployment: how many pods it is to have.
    pub fn replicas(&self) -> i32 {
        self.object
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .and_then(|replicas| i32::try_from(replicas).ok())
            .unwrap_or(1)
    }

    /// As the operator sees a Deployment that cannot make pods for this reason.
    pub fn deployment(&self, failure: Option<Fault>) -> DeploymentView {
        let selector = self
            .object
            .pointer("/spec/selector/matchLabels")
            .cloned()
            .unwrap_or_default();
        DeploymentView {
            revision: self.label(labels::REVISION).unwrap_or_default().to_owned(),
            replicas: self.replicas(),
            failure,
            template: self.object.pointer("/spec/template").cloned().unwrap_or_default(),
            selector: serde_json::from_value(selector).unwrap_or_default(),
            pods: 0,
        }
    }

    /// Of a ControllerRevision: the revision that it records.
    pub fn record(&self) -> Option<Record> {
        let object: ControllerRevision = serde_json::from_value(Value::clone(&self.object)).ok()?;
        Record::read(&object).ok()
    }
}

/// Why a write was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// It was made for something that is not there any more.
    Conflict,
    /// The API server does not want it, and says why.
    Refused(FailureClass, String),
}

/// What is refused, and how.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// Objects of this kind.
    pub kind: ChildKind,
    /// Part of the object as JSON; "" is all of them.
    pub containing: String,
    /// What kind of refusal.
    pub class: FailureClass,
    /// Why.
    pub message: String,
}

/// All that is stored.
#[derive(Clone, Debug)]
pub struct ApiServer {
    /// The Microservice.
    pub service: Microservice,
    /// Who holds its replicas.
    pub holder: ReplicasHolder,
    /// Its children.
    pub objects: BTreeMap<ChildKey, Stored>,
    /// What is refused.
    pub refusals: Vec<Refusal>,
    /// Whether writes through /scale are refused.
    pub scale_refused: bool,
    /// Templates that were changed under running pods: (Deployment, before, after).
    pub restarts: Vec<(String, Value, Value)>,
    version: u64,
}

impl ApiServer {
    /// It is told of a service, and of nothing else yet.
    pub fn new(mut service: Microservice, holder: ReplicasHolder) -> Self {
        let metadata = &mut service.metadata;
        metadata.uid.get_or_insert_with(|| "uid-service".to_owned());
        metadata.generation.get_or_insert(1);
        metadata.resource_version = Some("1".to_owned());
        Self {
            service,
            holder,
            objects: BTreeMap::new(),
            refusals: Vec::new(),
            scale_refused: false,
            restarts: Vec::new(),
            version: 1,
        }
    }

    /// The name of the service, and of its root Service.
    pub fn name(&self) -> &str {
        self.service.metadata.name.as_deref().unwrap_or_default()
    }

    fn uid(&self) -> &str {
        self.service.metadata.uid.as_deref().unwrap_or_default()
    }

    /// An object that somebody else made.
    pub fn put(&mut self, kind: ChildKind, name: &str, mut object: Value) {
        let uid = format!("uid-foreign-{name}-{}", kind.kind());
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["name"] = json!(name);
        default_fields(kind, &mut object);
        let stored = Stored {
            uid,
            object: Object(Arc::new(object)),
            deleting: Deleting::No,
        };
        self.objects.insert((kind, name.to_owned()), stored);
    }

    fn next_version(&mut self) -> String {
        self.version += 1;
        self.version.to_string()
    }

    /// An edit of the Microservice by a person; the generation counts changes of the spec.
    pub fn edit(&mut self, edit: impl FnOnce(&mut Microservice)) {
        let before = self.service.clone();
        edit(&mut self.service);
        if self.service.spec.operation.replicas != before.spec.operation.replicas {
            self.holder = manifest();
        }
        if self.service.spec != before.spec {
            *self.service.metadata.generation.get_or_insert(0) += 1;
        }
        if self.service != before {
            self.service.metadata.resource_version = Some(self.next_version());
        }
    }

    /// A write through /scale. Where nobody held the field, nobody is put on record for it.
    pub fn scale(&mut self, replicas: i32, by: ReplicasHolder) {
        let before = self.holder.clone();
        if self.service.spec.operation.replicas == replicas {
            return;
        }
        self.edit(|service| service.spec.operation.replicas = replicas);
        self.holder = match before {
            ReplicasHolder::Nobody => ReplicasHolder::Nobody,
            ReplicasHolder::Scale | ReplicasHolder::Operator | ReplicasHolder::Manifest { .. } => by,
        };
    }

    /// A manifest that is applied server-side without the field that it had before.
    pub fn drop_replicas(&mut self) {
        if matches!(self.holder, ReplicasHolder::Manifest { .. }) {
            self.edit(|service| service.spec.operation.replicas = 1);
            self.holder = ReplicasHolder::Nobody;
        }
    }

    /// The operator's write through /scale.
    pub fn write_back(&mut self, observed: &Microservice, write: WriteBack) -> Result<(), WriteError> {
        if observed.metadata.generation != self.service.metadata.generation {
            return Err(WriteError::Conflict);
        }
        if self.scale_refused {
            return Err(WriteError::Refused(
                FailureClass::Forbidden,
                "no rights".to_owned(),
            ));
        }
        self.scale(write.replicas, ReplicasHolder::Operator);
        Ok(())
    }

    /// Writes the status, unless the service has changed since it was observed.
    pub fn write_status(
        &mut self,
        observed: &Microservice,
        status: &MicroserviceStatus,
    ) -> Result<(), WriteError> {
        if observed.metadata.resource_version != self.service.metadata.resource_version {
            return Err(WriteError::Conflict);
        }
        // Through JSON, as it is stored: times lose what JSON does not carry.
        let stored = serde_json::to_value(status)
            .and_then(serde_json::from_value)
            .map_err(|error| WriteError::Refused(FailureClass::Invalid, error.to_string()))?;
        let version = self.next_version();
        self.service.status = Some(stored);
        self.service.metadata.resource_version = Some(version);
        Ok(())
    }

    /// Applies a child, where what it was made for is still there.
    pub fn apply(&mut self, apply: &Apply) -> Result<(), WriteError> {
        let key = (apply.child.kind, apply.child.name.clone());
        let text = apply.child.object.to_string();
        if let Some(refusal) = self
            .refusals
            .iter()
            .find(|r| r.kind == key.0 && text.contains(&r.containing))
        {
            return Err(WriteError::Refused(refusal.class, refusal.message.clone()));
        }
        let present = self.objects.get(&key);
        if present.map(|p| &p.uid) != apply.uid.as_ref() {
            return Err(self.meaning_of_conflict(&key));
        }
        let mut object = apply.child.object.clone();
        default_fields(key.0, &mut object);
        if let Some(present) = present {
            immutable(&key, &present.object, &object)?;
            if key.0 == ChildKind::Deployment {
                self.note_restart(&key.1, &object);
            }
        }
        let version = self.next_version();
        let uid = apply.uid.clone().unwrap_or_else(|| format!("uid-{version}"));
        object["metadata"]["uid"] = json!(uid);
        keep_what_is_not_sent(
            self.objects.get(&key).map(|present| &*present.object),
            &mut object,
        );
        self.objects.insert(
            key,
            Stored {
                uid,
                object: Object(Arc::new(object)),
                deleting: Deleting::No,
            },
        );
        Ok(())
    }

    fn meaning_of_conflict(&self, key: &ChildKey) -> WriteError {
        match self.objects.get(key) {
            Some(found) if found.ownership(self.uid()) == Ownership::Foreign => WriteError::Refused(
                FailureClass::Foreign,
                "an object of that name exists and is not ours".to_owned(),
            ),
            Some(_) | None => WriteError::Conflict,
        }
    }

    fn note_restart(&mut self, name: &str, after: &Value) {
        let template = |object: &Value| object.pointer("/spec/template").cloned().unwrap_or_default();
        let before = self
            .objects
            .get(&(ChildKind::Deployment, name.to_owned()))
            .map(|d| template(&d.object));
        if let Some(before) = before.filter(|before| *before != template(after)) {
            self.restarts.push((name.to_owned(), before, template(after)));
        }
    }

    /// Deletes a child, unless it is another one by now.
    pub fn delete(&mut self, delete: &Delete) {
        let key = (delete.kind, delete.name.clone());
        if self
            .objects
            .get(&key)
            .is_some_and(|found| found.uid == delete.uid)
        {
            self.objects.remove(&key);
        }
    }
}

/// Whoever applies manifests.
pub fn manifest() -> ReplicasHolder {
    ReplicasHolder::Manifest {
        manager: "kubectl".to_owned(),
    }
}

/// What the API server fills in; the engine must live with it.
fn default_fields(kind: ChildKind, object: &mut Value) {
    if kind == ChildKind::Deployment
        && let Some(spec) = object
            .pointer_mut("/spec/template/spec")
            .and_then(Value::as_object_mut)
    {
        spec.entry("restartPolicy").or_insert(json!("Always"));
        spec.entry("dnsPolicy").or_insert(json!("ClusterFirst"));
    }
    if kind == ChildKind::Service
        && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
    {
        spec.entry("clusterIP").or_insert(json!("10.0.0.1"));
    }
}

/// The status is written by others, and the generation counts changes of the spec: not those of annotations.
fn keep_what_is_not_sent(present: Option<&Value>, object: &mut Value) {
    let generation = present.map_or(1, |present| {
        let before = present["metadata"]["generation"].as_i64().unwrap_or(1);
        before + i64::from(present["spec"] != object["spec"])
    });
    object["metadata"]["generation"] = json!(generation);
    if let Some(status) = present.and_then(|present| present.get("status")) {
        object["status"] = status.clone();
    }
}

fn immutable(key: &ChildKey, before: &Value, after: &Value) -> Result<(), WriteError> {
    let path = match key.0 {
        ChildKind::ControllerRevision | ChildKind::ConfigMap => "/data",
        ChildKind::Deployment => "/spec/selector",
        ChildKind::Job => "/spec/template",
        _ => return Ok(()),
    };
    if before.pointer(path) == after.pointer(path) {
        return Ok(());
    }
    Err(WriteError::Refused(
        FailureClass::Invalid,
        format!("{path} of {:?} {} is immutable", key.0, key.1),
    ))
}
