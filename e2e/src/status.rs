//! What a status says, in the words of the tests.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use microservice_operator::api::{Microservice, MicroserviceStatus, Phase, RevisionStatus, RolloutState};

/// Questions to the status of a Microservice.
pub trait StatusExt {
    /// The status; an empty one where there is none.
    fn said(&self) -> MicroserviceStatus;
    /// Whether the status speaks of the present spec.
    fn is_current(&self) -> bool;
    /// Current, healthy, and nothing under way.
    fn is_healthy(&self) -> bool;
    /// Current, and the revision that the spec asks for was taken back.
    fn is_taken_back(&self) -> bool;
    /// A condition.
    fn condition(&self, type_: &str) -> Option<Condition>;
    /// The reason of a condition that has this status.
    fn reason(&self, type_: &str, status: &str) -> Option<String>;
    /// The revision that the service rests on.
    fn stable(&self) -> Option<String>;
    /// The candidate of the present rollout, or the one that is held.
    fn candidate(&self) -> Option<String>;
    /// The state of the engine.
    fn state(&self) -> Option<RolloutState>;
    /// One revision.
    fn revision(&self, name: &str) -> Option<RevisionStatus>;
}

impl StatusExt for Microservice {
    fn said(&self) -> MicroserviceStatus {
        self.status.clone().unwrap_or_default()
    }
    fn is_current(&self) -> bool {
        self.status.as_ref().map(|status| status.observed_generation) == self.metadata.generation
    }
    fn is_healthy(&self) -> bool {
        self.is_current()
            && self.said().phase == Some(Phase::Healthy)
            && self.state() == Some(RolloutState::Steady)
            && self.reason("Ready", "True").is_some()
    }
    fn is_taken_back(&self) -> bool {
        self.is_current()
            && self.state() == Some(RolloutState::Steady)
            && self.reason("Stalled", "True").is_some()
            && self.candidate().is_some()
    }
    fn condition(&self, type_: &str) -> Option<Condition> {
        self.said()
            .conditions
            .into_iter()
            .find(|condition| condition.type_ == type_)
    }
    fn reason(&self, type_: &str, status: &str) -> Option<String> {
        self.condition(type_)
            .filter(|condition| condition.status == status)
            .map(|condition| condition.reason)
    }
    fn stable(&self) -> Option<String> {
        self.said().stable_revision
    }
    fn candidate(&self) -> Option<String> {
        self.said().rollout.and_then(|rollout| rollout.candidate)
    }
    fn state(&self) -> Option<RolloutState> {
        self.said().rollout.map(|rollout| rollout.state)
    }
    fn revision(&self, name: &str) -> Option<RevisionStatus> {
        self.said()
            .revisions
            .into_iter()
            .find(|revision| revision.name == name)
    }
}
