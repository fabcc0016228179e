//! The Deployment of a revision. Only its replicas ever change.

use serde_json::json;

use super::{Child, ChildKind, Identity, identity::Metadata, prune::fields};
use crate::revision::Record;

/// The Deployment of a revision, verbatim from its record, with `replicas` pods.
///
/// The template of a revision never changes, so the strategy acts only when somebody restarts the pods
/// natively (`kubectl rollout restart`), and then takes no pod away before there is another.
pub fn deployment(identity: &Identity<'_>, record: &Record, replicas: i32) -> Child {
    let metadata = Metadata {
        revision: Some(&record.name),
        ..Metadata::named(&record.data.deployment)
    };
    let spec = json!({
        "replicas": replicas,
        "revisionHistoryLimit": 0,
        "selector": {"matchLabels": record.data.selector},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
        "template": record.data.template,
    });
    identity.child(ChildKind::Deployment, metadata, fields(json!({"spec": spec})))
}
