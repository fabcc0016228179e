//! What a live route object says about itself: whether those that carry it have taken it as it is now.

use serde_json::Value;

use super::ingress;
use crate::render::ChildKind;

/// What a live route object says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// All that carry it have taken it as it is now, or nobody says such things of its kind.
    Accepted,
    /// Somebody has not spoken about it yet. Holds words that name who.
    Waiting(String),
    /// Somebody does not take it, or not all of it. Holds words that name who and why.
    Refused(String),
}

/// What a live route object says about itself.
///
/// A Gateway route is accepted when each of its parents says so about this generation. Controllers of Ingresses say
/// nothing about them, and Istio only where it is told to write status; without a word there is nothing to wait for.
pub fn acceptance(kind: ChildKind, object: &Value) -> Acceptance {
    match kind {
        ChildKind::HttpRoute | ChildKind::GrpcRoute => by_parents(object),
        ChildKind::VirtualService => by_istio(object),
        ChildKind::ControllerRevision
        | ChildKind::ConfigMap
        | ChildKind::Secret
        | ChildKind::ServiceAccount
        | ChildKind::NetworkPolicy
        | ChildKind::Deployment
        | ChildKind::Service
        | ChildKind::Job
        | ChildKind::PodDisruptionBudget
        | ChildKind::HorizontalPodAutoscaler
        | ChildKind::Ingress
        | ChildKind::ServiceMonitor
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => Acceptance::Accepted,
    }
}

/// Whether nobody carries an earlier form of a live route object: all who have spoken about it have spoken about it as
/// it is now, be it that they do not take it. Whom nobody has spoken for, like a Gateway that does not exist, carries
/// nothing.
fn is_followed(kind: ChildKind, object: &Value) -> bool {
    match kind {
        ChildKind::HttpRoute | ChildKind::GrpcRoute => {
            let generation = number(object, "/metadata/generation");
            let namespace = text(object, "/metadata/namespace");
            let parents: Vec<Parent<'_>> = list(object, "/spec/parentRefs")
                .iter()
                .map(|wanted| Parent::of(wanted, namespace))
                .collect();
            let of_these = |said: &&Value| {
                said.get("parentRef")
                    .is_some_and(|of| parents.contains(&Parent::of(of, namespace)))
            };
            let is_current = |said: &Value| {
                list(said, "/conditions")
                    .iter()
                    .any(|c| text(c, "/type") == "Accepted" && number(c, "/observedGeneration") == generation)
            };
            list(object, "/status/parents")
                .iter()
                .filter(of_these)
                .all(is_current)
        }
        ChildKind::VirtualService => !matches!(by_istio(object), Acceptance::Waiting(_)),
        ChildKind::ControllerRevision
        | ChildKind::ConfigMap
        | ChildKind::Secret
        | ChildKind::ServiceAccount
        | ChildKind::NetworkPolicy
        | ChildKind::Deployment
        | ChildKind::Service
        | ChildKind::Job
        | ChildKind::PodDisruptionBudget
        | ChildKind::HorizontalPodAutoscaler
        | ChildKind::Ingress
        | ChildKind::ServiceMonitor
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => true,
    }
}

/// What tells one form of a live route object from another: a word about one says nothing about the other.
///
/// Annotations are not counted by the generation, and the share of a canary of ingress-nginx is one. Others that people
/// and controllers write there do not matter. `None` while somebody still carries an earlier form.
pub fn form(kind: ChildKind, uid: &str, object: &Value) -> Option<String> {
    if !is_followed(kind, object) {
        return None;
    }
    let accepted = acceptance(kind, object) == Acceptance::Accepted;
    let mut form = format!("{uid}/{}/{accepted}", number(object, "/metadata/generation"));
    if kind == ChildKind::Ingress {
        let notes = object.pointer("/metadata/annotations").and_then(Value::as_object);
        for (key, value) in notes.into_iter().flatten() {
            if key.starts_with(ingress::PREFIX) {
                form.push_str(&format!("/{key}={value}"));
            }
        }
    }
    Some(form)
}

fn by_parents(object: &Value) -> Acceptance {
    let generation = number(object, "/metadata/generation");
    let namespace = text(object, "/metadata/namespace");
    let said = list(object, "/status/parents");
    let mut waiting = None;
    for wanted in list(object, "/spec/parentRefs") {
        let parent = Parent::of(wanted, namespace);
        // Several controllers may speak about one parent, and each has to take the route.
        let words: Vec<Verdict> = said
            .iter()
            .filter(|said| {
                said.get("parentRef")
                    .is_some_and(|of| Parent::of(of, namespace) == parent)
            })
            .map(|said| verdict(list(said, "/conditions"), generation))
            .collect();
        if let Some(why) = words.iter().find_map(|said| match said {
            Verdict::No(why) => Some(why),
            Verdict::Yes | Verdict::NotYet => None,
        }) {
            return Acceptance::Refused(format!("{} does not take it: {why}", parent.words()));
        }
        if words.is_empty() || words.contains(&Verdict::NotYet) {
            waiting.get_or_insert_with(|| format!("{} has not taken it yet", parent.words()));
        }
    }
    waiting.map_or(Acceptance::Accepted, Acceptance::Waiting)
}

/// What carries a route, every default filled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parent<'a> {
    group: &'a str,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    section: &'a str,
    port: Option<i64>,
}

impl<'a> Parent<'a> {
    /// The parent that a reference in an object of `namespace` names.
    pub(super) fn of(reference: &'a Value, namespace: &'a str) -> Self {
        let field = |name: &str| reference.get(name).and_then(Value::as_str);
        Self {
            group: field("group").unwrap_or("gateway.networking.k8s.io"),
            kind: field("kind").unwrap_or("Gateway"),
            namespace: field("namespace").unwrap_or(namespace),
            name: field("name").unwrap_or_default(),
            section: field("sectionName").unwrap_or_default(),
            port: reference.get("port").and_then(Value::as_i64),
        }
    }

    /// It as people call it.
    pub(super) fn words(&self) -> String {
        let mut words = format!("{} {}/{}", self.kind, self.namespace, self.name);
        if !self.section.is_empty() {
            words.push_str(&format!(" ({})", self.section));
        }
        if let Some(port) = self.port {
            words.push_str(&format!(" (port {port})"));
        }
        words
    }
}

/// What conditions come to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    NotYet,
    No(String),
}

/// Both conditions have to be true of this generation. `PartiallyInvalid` means that some rules were dropped.
fn verdict(conditions: &[Value], generation: i64) -> Verdict {
    let current = |type_: &str| {
        let named = conditions.iter().find(|c| text(c, "/type") == type_)?;
        (number(named, "/observedGeneration") == generation).then_some(named)
    };
    let is = |condition: &Value, status: &str| text(condition, "/status") == status;
    let bad = [
        ("Accepted", "False"),
        ("ResolvedRefs", "False"),
        ("PartiallyInvalid", "True"),
    ];
    let refused = bad
        .into_iter()
        .find_map(|(type_, status)| current(type_).filter(|condition| is(condition, status)));
    if let Some(condition) = refused {
        return Verdict::No(because(condition));
    }
    let good = ["Accepted", "ResolvedRefs"]
        .into_iter()
        .all(|type_| current(type_).is_some_and(|condition| is(condition, "True")));
    if good { Verdict::Yes } else { Verdict::NotYet }
}

/// Istio says Reconciled when its proxies have a configuration, and lists what its analyzers find.
fn by_istio(object: &Value) -> Acceptance {
    let generation = number(object, "/metadata/generation");
    // A generation that is not named is taken for this one: not all versions name it.
    let observed = |of: &Value| match of.get("observedGeneration") {
        Some(Value::Number(number)) => number.as_i64().unwrap_or(generation),
        Some(Value::String(number)) => number.parse().unwrap_or(generation),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => generation,
    };
    let Some(status) = object.get("status") else {
        return Acceptance::Accepted;
    };
    let is_current = observed(status) == generation;
    let message = list(status, "/validationMessages")
        .iter()
        .find(|message| is_current && text(message, "/level") == "ERROR");
    if let Some(message) = message {
        let said = [
            text(message, "/type/code"),
            text(message, "/type/name"),
            text(message, "/documentationUrl"),
        ];
        let said: Vec<&str> = said.into_iter().filter(|part| !part.is_empty()).collect();
        return Acceptance::Refused(format!("Istio does not take it: {}", said.join(" ")));
    }
    for condition in list(status, "/conditions") {
        let is_false = text(condition, "/status") == "False";
        match text(condition, "/type") {
            "PassedValidation" | "PassedAnalysis" if is_false && observed(condition) == generation => {
                return Acceptance::Refused(format!("Istio does not take it: {}", because(condition)));
            }
            "Reconciled" if is_false || observed(condition) != generation => {
                let words = "Istio has not given it to all of its proxies yet";
                return Acceptance::Waiting(words.to_owned());
            }
            _ => {}
        }
    }
    Acceptance::Accepted
}

/// The reason and the message of a condition.
fn because(condition: &Value) -> String {
    match (text(condition, "/reason"), text(condition, "/message")) {
        (reason, "") => reason.to_owned(),
        ("", message) => message.to_owned(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// A text of an object; "" where there is none.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// A list of an object; empty where there is none.
pub(super) fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}
