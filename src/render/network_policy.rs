//! The NetworkPolicy of the pods, of all revisions alike.

use serde_json::{Value, json};

use super::{
    Child, ChildKind, Direction, Exposure, Identity,
    identity::Metadata,
    prune::{fields, to_json},
};

/// The NetworkPolicy; `None` where both directions are open.
pub fn network_policy(identity: &Identity<'_>, exposure: &Exposure) -> Option<Child> {
    let ingress = rules(&exposure.network.ingress);
    let egress = rules(&exposure.network.egress).map(with_dns);
    let types: Vec<&str> = [
        ingress.as_ref().map(|_| "Ingress"),
        egress.as_ref().map(|_| "Egress"),
    ]
    .into_iter()
    .flatten()
    .collect();
    if types.is_empty() {
        return None;
    }
    let spec = json!({
        "podSelector": {"matchLabels": identity.selector()},
        "policyTypes": types,
        "ingress": ingress,
        "egress": egress,
    });
    let metadata = Metadata::named(identity.name);
    Some(identity.child(ChildKind::NetworkPolicy, metadata, fields(json!({"spec": spec}))))
}

fn rules<Rule: serde::Serialize>(direction: &Direction<Rule>) -> Option<Vec<Value>> {
    match direction {
        Direction::Open => None,
        Direction::Only(rules) => Some(rules.iter().map(to_json).collect()),
    }
}

/// Names have to be resolved before anything can be reached. Anywhere: with a node-local cache the resolver
/// is not a pod that could be selected.
fn with_dns(mut rules: Vec<Value>) -> Vec<Value> {
    rules.insert(
        0,
        json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}),
    );
    rules
}
