//! How many pods a drain of nodes may take.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::json;

use super::{
    Child, ChildKind, Identity,
    identity::Metadata,
    prune::{fields, to_json},
};
use crate::api::{DisruptionBudgetMode, OperationSpec};
use crate::revision::Record;

/// The disruption budget of one revision; `None` where none is wanted, or where the service may be down to
/// one pod: a budget over one pod would block the drain of its node for ever.
pub fn disruption_budget(
    identity: &Identity<'_>,
    record: &Record,
    operation: &OperationSpec,
    minimum: i32,
) -> Option<Child> {
    let budget = operation.disruption_budget.clone().unwrap_or_default();
    match budget.mode.unwrap_or_default() {
        DisruptionBudgetMode::Disabled => return None,
        DisruptionBudgetMode::Auto if minimum <= 1 => return None,
        DisruptionBudgetMode::Auto => {}
    }
    let (field, amount) = match (budget.min_available, budget.max_unavailable) {
        (Some(amount), _) => ("minAvailable", amount),
        (None, Some(amount)) => ("maxUnavailable", amount),
        (None, None) => ("maxUnavailable", IntOrString::Int(1)),
    };
    let (selector, name) = match &record.data.adopted {
        None => (record.data.selector.clone(), &record.name),
        // Its own selector may also fit the pods of later revisions, which have budgets of their own.
        Some(adopted) => (
            record.pod_selector(identity.name),
            adopted.budget.as_ref().unwrap_or(&record.name),
        ),
    };
    let spec = json!({
        field: to_json(&amount),
        "selector": {"matchLabels": selector},
        // A pod that is not ready protects nobody, and must not block a drain either.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    });
    let metadata = Metadata {
        revision: Some(&record.name),
        ..Metadata::named(name)
    };
    Some(identity.child(
        ChildKind::PodDisruptionBudget,
        metadata,
        fields(json!({"spec": spec})),
    ))
}
