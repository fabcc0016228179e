//! Scope I: how the service is run. Applies to what runs now, without a rollout.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Autoscaling, DisruptionBudget, Monitoring, Notification, Objective, Strategy};

/// How the service is run.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OperationSpec {
    /// Scope: immediate. How many pods the service needs to carry all of its traffic; 0 stops it, also with autoscaling. Under autoscaling the autoscaler writes it through /scale, and a manifest can only raise it: leave it out of the manifest. Default: 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 10000))]
    pub replicas: i32,
    /// Scope: immediate. A HorizontalPodAutoscaler that scales the Microservice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Scope: immediate. How many pods a drain of nodes may take at a time. Default: one, where there are two or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disruption_budget: Option<DisruptionBudget>,
    /// Scope: immediate. How Prometheus finds the metrics, and what it makes of them: alerts and a dashboard. Default: not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitoring: Option<Monitoring>,
    /// Scope: immediate. What good means for the requests of the service. A new revision is judged by them while it goes out, and with monitoring alerts are made of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub objectives: Vec<Objective>,
    /// Scope: immediate. How a change goes out, and when it is taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// Scope: immediate. Who is told when a rollout starts, waits for a person, is taken back, is promoted or fails. A chat gets each message at most once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub notifications: Vec<Notification>,
    /// Scope: immediate. Labels for all objects that the operator makes for this service (for the pods: podLabels).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub common_labels: BTreeMap<String, String>,
    /// Scope: immediate. True stops new rollouts, steps and changes of the spec from going out; scaling, repair and rollback go on. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suspend: bool,
    /// Scope: immediate. What becomes of the objects when the Microservice is deleted. Orphan leaves them running. Default: Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Scope: immediate. How many records of older revisions are kept. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub revision_history_limit: Option<i32>,
}

fn one() -> i32 {
    1
}

impl OperationSpec {
    /// How many pods the service has when it is made: `replicas`, within the bounds of autoscaling; 0 makes none. How
    /// many it has later is decided by what is observed.
    pub fn first_replicas(&self) -> i32 {
        match (&self.autoscaling, self.replicas) {
            (_, 0) | (None, _) => self.replicas,
            (Some(bounds), replicas) => bounds.bounded(replicas),
        }
    }
    /// What becomes of the children when the Microservice is deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.deletion_policy.unwrap_or_default()
    }
    /// How many records of older revisions are kept.
    pub fn revision_history_limit(&self) -> usize {
        usize::try_from(self.revision_history_limit.unwrap_or(10)).unwrap_or(0)
    }
    /// The strategy with its defaults where the spec says nothing.
    pub fn strategy(&self) -> Strategy {
        self.strategy.clone().unwrap_or_default()
    }
}

/// What becomes of the objects when the Microservice is deleted.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum DeletionPolicy {
    /// They are deleted with it.
    #[default]
    Delete,
    /// They stay and run on.
    Orphan,
}
