//! Who may talk to the pods, and to whom they may talk.

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule};

use super::appended;
use crate::api::{NetworkPolicy, NetworkPolicyMode};

/// One direction of traffic.
#[derive(Clone, Debug, PartialEq)]
pub enum Direction<Rule> {
    /// All of it passes.
    Open,
    /// Only what one of the rules lets through.
    Only(Vec<Rule>),
}

/// The network rules of the pods.
#[derive(Clone, Debug, PartialEq)]
pub struct NetworkRules {
    /// What may come in.
    pub ingress: Direction<NetworkPolicyIngressRule>,
    /// What may go out, besides DNS.
    pub egress: Direction<NetworkPolicyEgressRule>,
}

impl NetworkRules {
    pub(super) fn of(policy: Option<&NetworkPolicy>) -> Self {
        let Some(policy) = policy else {
            return Self {
                ingress: Direction::Open,
                egress: Direction::Open,
            };
        };
        Self {
            ingress: Direction::Only(policy.ingress.clone()),
            egress: match policy.mode {
                NetworkPolicyMode::Ingress => Direction::Open,
                NetworkPolicyMode::IngressAndEgress => Direction::Only(policy.egress.clone()),
            },
        }
    }

    pub(super) fn union(self, spec: Self) -> Self {
        Self {
            ingress: self.ingress.union(spec.ingress),
            egress: self.egress.union(spec.egress),
        }
    }
}

impl<Rule: PartialEq> Direction<Rule> {
    /// What either side lets through: where one side has no rules at all, everything.
    fn union(self, spec: Self) -> Self {
        match (self, spec) {
            (Self::Only(stable), Self::Only(spec)) => Self::Only(appended(stable, spec)),
            (Self::Open, Self::Open | Self::Only(_)) | (Self::Only(_), Self::Open) => Self::Open,
        }
    }
}
