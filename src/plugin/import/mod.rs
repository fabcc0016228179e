//! `import`: from what runs a service today to a Microservice that keeps its values. Pure: from objects to a manifest, and
//! to a line for all that cannot be said in it. Nothing is left out in silence.

mod argo_rollouts;
mod exposure;
mod flagger;
mod pod;
mod scale;
mod steps;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::api::names::{MAX_SERVICE_NAME, is_service_name};
use crate::api::{Microservice, MicroserviceSpec, annotations, labels};

/// What is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// A Deployment with what belongs to it.
    Deployment,
    /// A Canary of Flagger.
    Canary,
    /// A Rollout of Argo Rollouts.
    Rollout,
}

/// What is imported, by name: `deployment/orders`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// What it is called.
    pub name: String,
}

impl std::str::FromStr for Source {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "cannot import {text}: write deployment/NAME, canary/NAME (Flagger) or rollout/NAME (Argo Rollouts)"
            )
        };
        let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
        let kind = match kind.to_ascii_lowercase().split('.').next() {
            Some("deployment" | "deployments" | "deploy") => SourceKind::Deployment,
            Some("canary" | "canaries") => SourceKind::Canary,
            Some("rollout" | "rollouts" | "ro") => SourceKind::Rollout,
            Some(_) | None => return Err(wrong()),
        };
        let lawful = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        if name.is_empty() || name.len() > 253 || !name.chars().all(lawful) {
            return Err(wrong());
        }
        Ok(Self {
            kind,
            name: name.to_owned(),
        })
    }
}

/// The kinds of objects that are looked at: kind, API group, version and plural.
pub const LOOKED_AT: [(&str, &str, &str, &str); 10] = [
    ("Deployment", "apps", "v1", "deployments"),
    ("Service", "", "v1", "services"),
    (
        "HorizontalPodAutoscaler",
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
    ),
    ("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets"),
    ("Ingress", "networking.k8s.io", "v1", "ingresses"),
    ("HTTPRoute", "gateway.networking.k8s.io", "v1", "httproutes"),
    ("Canary", "flagger.app", "v1beta1", "canaries"),
    ("MetricTemplate", "flagger.app", "v1beta1", "metrictemplates"),
    ("Rollout", "argoproj.io", "v1alpha1", "rollouts"),
    ("AnalysisTemplate", "argoproj.io", "v1alpha1", "analysistemplates"),
];

/// What came out.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The manifest, in the order in which people write it.
    pub manifest: Value,
    /// What it does not say, or what is to be done.
    pub notes: Vec<String>,
}

/// The fields that people write first, in this order; the others follow by name.
const FIRST: [&str; 30] = [
    "apiVersion",
    "kind",
    "name",
    "metadata",
    "spec",
    "namespace",
    "annotations",
    "image",
    "imagePullPolicy",
    "imagePullSecrets",
    "command",
    "args",
    "ports",
    "containerPort",
    "env",
    "envFrom",
    "resources",
    "probes",
    "replicas",
    "autoscaling",
    "disruptionBudget",
    "service",
    "hosts",
    "routes",
    "objectives",
    "type",
    "strategy",
    "weight",
    "path",
    "pathType",
];

/// A manifest in the order in which people write it.
#[derive(Clone, Copy, Debug)]
pub struct Ordered<'a>(pub &'a Value);

impl serde::Serialize for Ordered<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Object(fields) => {
                let rank = |key: &str| {
                    FIRST
                        .iter()
                        .position(|first| *first == key)
                        .unwrap_or(FIRST.len())
                };
                let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
                sorted.sort_by_key(|(key, _)| (rank(key), *key));
                serializer.collect_map(sorted.into_iter().map(|(key, value)| (key, Ordered(value))))
            }
            Value::Array(items) => serializer.collect_seq(items.iter().map(Ordered)),
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                scalar.serialize(serializer)
            }
        }
    }
}

/// All objects of one namespace that may belong together.
#[derive(Clone, Copy, Debug)]
struct Pool<'a> {
    objects: &'a [Value],
}

impl<'a> Pool<'a> {
    fn of(self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects
            .iter()
            .filter(move |object| text(object, "/kind") == kind)
    }

    fn get(self, kind: &'a str, name: &str) -> Option<&'a Value> {
        self.of(kind)
            .find(|object| text(object, "/metadata/name") == name)
    }
}

/// A manifest in the making.
#[derive(Debug, Default)]
struct Translation {
    name: String,
    namespace: Option<String>,
    spec: Map<String, Value>,
    adopt: Vec<String>,
    notes: Vec<String>,
}

impl Translation {
    fn note(&mut self, line: impl Into<String>) {
        self.notes.push(line.into());
    }

    fn set(&mut self, field: &str, value: Value) {
        let empty = match &value {
            Value::Null => true,
            Value::Array(items) => items.is_empty(),
            Value::Object(fields) => fields.is_empty() && !["probes", "lifecycle"].contains(&field),
            Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !empty {
            self.spec.insert(field.to_owned(), value);
        }
    }

    /// A part of the spec that several write to: an object.
    fn part(&mut self, field: &str) -> &mut Value {
        self.spec.entry(field.to_owned()).or_insert_with(|| json!({}))
    }

    /// Names an object that is to be adopted.
    fn adopt(&mut self, kind: &str, name: &str) {
        self.adopt.push(if name == self.name {
            kind.to_owned()
        } else {
            format!("{kind}/{name}")
        });
    }

    fn finished(mut self) -> Result<Imported, String> {
        let spec: MicroserviceSpec = serde_json::from_value(Value::Object(self.spec))
            .map_err(|error| format!("what was found cannot be said in a Microservice: {error}"))?;
        let mut service = Microservice::new(&self.name, spec);
        service.metadata.namespace = self.namespace;
        if !self.adopt.is_empty() {
            let value = self.adopt.join(",");
            service.metadata.annotations = Some(BTreeMap::from([(annotations::ADOPT.to_owned(), value)]));
        }
        let mut manifest = serde_json::to_value(&service).map_err(|error| error.to_string())?;
        if let Some(fields) = manifest.as_object_mut() {
            fields.remove("status");
        }
        // Under autoscaling it is the autoscaler's: what is written here would be held against it.
        if let Some(spec) = manifest.get_mut("spec").and_then(Value::as_object_mut)
            && spec.contains_key("autoscaling")
        {
            spec.remove("replicas");
        }
        self.notes.dedup();
        Ok(Imported {
            manifest,
            notes: self.notes,
        })
    }
}

/// Makes a Microservice of a source and what belongs to it among `objects`, which are those of one namespace.
///
/// # Errors
/// In words, where the source is not there or nothing sensible can be made of it.
pub fn import(source: &Source, objects: &[Value]) -> Result<Imported, String> {
    let pool = Pool { objects };
    match source.kind {
        SourceKind::Deployment => deployment(pool, &source.name),
        SourceKind::Canary => flagger::canary(pool, &source.name),
        SourceKind::Rollout => argo_rollouts::rollout(pool, &source.name),
    }
}

fn absent(kind: &str, name: &str) -> String {
    format!("there is no {kind} {name} here: give its namespace by -n, or a file that holds it by -f")
}

fn deployment(pool: Pool<'_>, name: &str) -> Result<Imported, String> {
    let object = pool
        .get("Deployment", name)
        .ok_or_else(|| absent("Deployment", name))?;
    if let Some(canary) = pool
        .of("Canary")
        .find(|canary| text(canary, "/spec/targetRef/name") == name)
    {
        return Err(format!(
            "Deployment {name} is the target of Canary {}: import canary/{} instead",
            text(canary, "/metadata/name"),
            text(canary, "/metadata/name")
        ));
    }
    let mut translation = Translation::default();
    let template = object.pointer("/spec/template").unwrap_or(&Value::Null);
    let service = exposure::service_of(pool, name, template, &mut translation);
    let service_name = service.map_or(name, |service| text(service, "/metadata/name"));
    begin(&mut translation, service_name, object)?;
    if let Some(owner) = owner(object) {
        translation.note(format!(
            "Deployment {name} belongs to {owner}: it is adopted only when that is taken out of its hands"
        ));
    }
    translation.adopt("Deployment", name);
    let ports = exposure::ports(service, template, &mut translation);
    pod::translate(template, &ports, &mut translation);
    if let Some(service) = service {
        translation.adopt.push("Service".to_owned());
        exposure::settings(service, &mut translation);
    }
    exposure::routes(pool, service_name, &mut translation);
    scale::autoscaling(pool, name, object, &mut translation);
    scale::budget(pool, template, &mut translation);
    strategy(object, &mut translation);
    pod::choose_profile(template, &mut translation);
    labels_of(object, &mut translation);
    translation.finished()
}

/// Name and namespace.
fn begin(translation: &mut Translation, name: &str, object: &Value) -> Result<(), String> {
    if !is_service_name(name) {
        return Err(format!(
            "a Microservice cannot be called {name}, because the names of its objects are made from it: at most \
             {MAX_SERVICE_NAME} of a-z, 0-9 and -, beginning with a letter. Write one under another name by hand \
             (docs/from-deployment.md)"
        ));
    }
    name.clone_into(&mut translation.name);
    let namespace = text(object, "/metadata/namespace");
    translation.namespace = (!namespace.is_empty()).then(|| namespace.to_owned());
    Ok(())
}

fn strategy(object: &Value, translation: &mut Translation) {
    let spec = |path: &str| {
        object
            .pointer(&format!("/spec/{path}"))
            .cloned()
            .unwrap_or(Value::Null)
    };
    if spec("strategy/type") == json!("Recreate") {
        translation.part("strategy")["type"] = json!("Recreate");
    }
    let default = json!({"maxSurge": "25%", "maxUnavailable": "25%"});
    let rolling = spec("strategy/rollingUpdate");
    if rolling.is_object() && rolling != default {
        translation.part("strategy")["rollingUpdate"] = rolling;
    }
    let deadline = spec("progressDeadlineSeconds");
    if !deadline.is_null() && deadline != json!(600) {
        translation.part("strategy")["progressDeadlineSeconds"] = deadline;
    }
    if let Some(seconds) = spec("minReadySeconds").as_i64().filter(|seconds| *seconds > 0) {
        translation.note(format!(
            "minReadySeconds {seconds} has no field: pods carry traffic when they are ready, and are watched afterwards \
             (strategy.bakeSeconds)"
        ));
    }
    if spec("paused") == json!(true) {
        translation.note("the Deployment is paused: the Microservice is not, see suspend");
    }
}

/// Labels of the object itself, which all children get.
fn labels_of(object: &Value, translation: &mut Translation) {
    // Of charts and versions they would stay the same for ever.
    let dropped = ["helm.sh/chart", "app.kubernetes.io/version", "heritage", "chart"];
    let reserved = [labels::NAME, labels::INSTANCE, labels::MANAGED_BY];
    let mut common = Map::new();
    for (key, value) in fields(object.pointer("/metadata/labels")) {
        let foreign = key.starts_with(labels::PREFIX)
            || annotations::FOREIGN_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix));
        if reserved.contains(&key.as_str()) || foreign {
            continue;
        }
        if dropped.contains(&key.as_str()) {
            translation.note(format!(
                "label {key} of the Deployment is left out: on what the operator makes it would never change again"
            ));
            continue;
        }
        common.insert(key.clone(), value.clone());
    }
    translation.set("commonLabels", Value::Object(common));
    let ours = |key: &str| {
        let known = ["deployment.kubernetes.io/revision", "kubernetes.io/change-cause"];
        known.contains(&key)
            || annotations::FOREIGN_PREFIXES
                .iter()
                .any(|prefix| key.starts_with(prefix))
    };
    let annotations = fields(object.pointer("/metadata/annotations"));
    let left: Vec<&str> = annotations
        .map(|(key, _)| key.as_str())
        .filter(|key| !ours(key))
        .collect();
    if !left.is_empty() {
        translation.note(format!(
            "annotations of the Deployment are not carried on: {}. Tools that act on them (Reloader, image updaters) \
             have to look at the Microservice from now on",
            left.join(", ")
        ));
    }
}

// --- reading

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn fields(object: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    object.and_then(Value::as_object).into_iter().flatten()
}

fn items<'a>(object: &'a Value, path: &str) -> impl Iterator<Item = &'a Value> {
    object
        .pointer(path)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn owner(object: &Value) -> Option<String> {
    let owner =
        items(object, "/metadata/ownerReferences").find(|owner| owner["controller"] == json!(true))?;
    Some(format!("{} {}", text(owner, "/kind"), text(owner, "/name")))
}

/// Whether a selector of equal labels is there and takes an object with these labels.
fn selects(selector: Option<&Value>, labels: Option<&Value>) -> bool {
    let mut rules = fields(selector).peekable();
    rules.peek().is_some()
        && rules.all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

/// What of `object` is none of the `known` fields, by path.
fn others(object: Option<&Value>, known: &[&str]) -> Vec<String> {
    fields(object)
        .map(|(key, _)| key.clone())
        .filter(|key| !known.contains(&key.as_str()))
        .collect()
}
