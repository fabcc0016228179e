//! The Service: how callers inside the cluster find the pods.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    Child, ChildKind, Exposure, Identity, ServicePort, TargetPort,
    identity::{Metadata, Purpose},
    prune::{fields, to_json},
};
use crate::api::{Headless, SessionAffinity, names};

/// Which pods are behind the Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection<'a> {
    /// Those of all revisions that live.
    AllRevisions,
    /// Those of one revision.
    Revision(&'a str),
}

/// The Service called like the Microservice; `None` where it has no ports.
pub fn service(identity: &Identity<'_>, exposure: &Exposure, selection: Selection<'_>) -> Option<Child> {
    if exposure.ports.is_empty() {
        return None;
    }
    let settings = &exposure.service;
    let selector = match selection {
        Selection::AllRevisions => identity.selector(),
        Selection::Revision(revision) => identity.revision_selector(revision),
    };
    let spec = json!({
        "type": to_json(&settings.type_),
        "clusterIP": match settings.headless {
            Headless::Enabled => Some("None"),
            Headless::Disabled => None,
        },
        "sessionAffinity": match settings.session_affinity {
            SessionAffinity::ClientIp => Some("ClientIP"),
            SessionAffinity::None => None,
        },
        "trafficDistribution": settings.traffic_distribution,
        "selector": selector,
        "ports": exposure.ports.iter().map(port).collect::<Vec<_>>(),
    });
    let metadata = Metadata {
        annotations: settings.annotations.clone(),
        ..Metadata::named(identity.name)
    };
    Some(identity.child(ChildKind::Service, metadata, fields(json!({"spec": spec}))))
}

/// The Service of one revision, called like it, which routes lead to; `None` where the exposure has no ports.
///
/// It is reached by routers only, so the root Service's type, annotations and affinity are not for it: a second load
/// balancer would be paid for, and affinity would work against weights. The exposure is that of the revision's own pods
/// where one port of two revisions leads to different places (`Compatibility::OneAtATime`), else the union.
pub fn revision_service(identity: &Identity<'_>, revision: &str, exposure: &Exposure) -> Option<Child> {
    let metadata = Metadata {
        revision: Some(revision),
        purpose: Some(Purpose::Revision),
        ..Metadata::named(revision)
    };
    single(identity, metadata, revision, exposure)
}

/// The Service in front of a revision that nobody else is sent to yet; `None` where the exposure has no ports.
///
/// Its label says what it is for: what looks for Services of the service (a ServiceMonitor) can leave it out.
pub fn preview_service(identity: &Identity<'_>, revision: &str, exposure: &Exposure) -> Option<Child> {
    let metadata = Metadata {
        revision: Some(revision),
        purpose: Some(Purpose::Preview),
        ..Metadata::named(names::preview(identity.name))
    };
    single(identity, metadata, revision, exposure)
}

/// The Service with another selector: where pods have fewer labels than those that the operator makes.
#[must_use]
pub fn selecting(mut service: Child, selector: &BTreeMap<String, String>) -> Child {
    if let Some(spec) = service.object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("selector".to_owned(), json!(selector));
    }
    service
}

fn single(
    identity: &Identity<'_>,
    metadata: Metadata<'_>,
    revision: &str,
    exposure: &Exposure,
) -> Option<Child> {
    if exposure.ports.is_empty() {
        return None;
    }
    let spec = json!({
        "type": "ClusterIP",
        "selector": identity.revision_selector(revision),
        "ports": exposure.ports.iter().map(port).collect::<Vec<_>>(),
    });
    Some(identity.child(ChildKind::Service, metadata, fields(json!({"spec": spec}))))
}

fn port(port: &ServicePort) -> Value {
    json!({
        "name": port.name,
        "port": port.port,
        "protocol": port.protocol.as_str(),
        "targetPort": match &port.target {
            TargetPort::Number(number) => json!(number),
            TargetPort::Name(name) => json!(name),
        },
        "appProtocol": port.app_protocol,
    })
}
