//! What the metrics show of one Microservice.

use std::collections::BTreeMap;

use crate::api::{CheckVerdict, MicroserviceStatus, Phase, Role};

/// What the metrics show of one Microservice; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Its phase.
    pub phase: Option<Phase>,
    /// The share of the traffic of each of its live revisions, in percent.
    pub weights: BTreeMap<Role, i32>,
    /// The verdict of each of its checks.
    pub verdicts: Vec<CheckVerdict>,
}

impl Gauges {
    /// What a status says.
    pub fn of(status: &MicroserviceStatus) -> Self {
        let roles = status.revisions.iter();
        let checks = status.rollout.iter().flat_map(|rollout| &rollout.checks);
        Self {
            phase: status.phase,
            weights: roles
                .filter_map(|revision| Some((revision.role?, revision.weight)))
                .collect(),
            verdicts: checks.map(|check| check.verdict).collect(),
        }
    }

    /// How many checks have come to `verdict`; None where there is no check at all.
    pub fn checks(&self, verdict: CheckVerdict) -> Option<usize> {
        let count = self.verdicts.iter().filter(|found| **found == verdict).count();
        (!self.verdicts.is_empty()).then_some(count)
    }
}
