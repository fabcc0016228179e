//! What a Microservice's status says, in the terms that the plugin asks for.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::page::Tone;
use crate::api::conditions::ConditionType;
use crate::api::{
    Microservice, MicroserviceStatus, Phase, RevisionStatus, Role, RolloutState, RolloutStatus, StrategyType,
};

/// Whether the status speaks of the spec that is there now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// It does.
    Current,
    /// The operator has not seen the present spec; it last saw this generation, -1 for none.
    Behind(i64),
}

/// Whether the status speaks of the present spec.
pub fn sight(service: &Microservice) -> Sight {
    let seen = service
        .status
        .as_ref()
        .map_or(-1, |status| status.observed_generation);
    if service.metadata.generation == Some(seen) {
        Sight::Current
    } else {
        Sight::Behind(seen)
    }
}

/// What is said while the operator has not seen the present spec.
pub fn unseen(service: &Microservice, seen: i64) -> String {
    let generation = service.metadata.generation.unwrap_or_default();
    if seen < 0 {
        format!(
            "no operator has seen it yet (generation {generation}): does one run, and does it serve this namespace?"
        )
    } else {
        format!("the operator has not seen generation {generation} yet, it last saw {seen}")
    }
}

/// The status, empty where there is none.
pub fn status(service: &Microservice) -> MicroserviceStatus {
    service.status.clone().unwrap_or_default()
}

/// The name of a service.
pub fn name(service: &Microservice) -> &str {
    service.metadata.name.as_deref().unwrap_or_default()
}

/// Its namespace.
pub fn namespace(service: &Microservice) -> &str {
    service.metadata.namespace.as_deref().unwrap_or_default()
}

/// A condition.
pub fn condition(status: &MicroserviceStatus, type_: ConditionType) -> Option<&Condition> {
    status.conditions.iter().find(|c| c.type_ == type_.as_str())
}

/// Whether the spec asks for a revision that has not begun to go out: it is frozen, queued or suspended, for example.
pub fn is_pending(service: &Microservice) -> bool {
    let conditions = service.status.iter().flat_map(|status| &status.conditions);
    let mut rolled_out = conditions.filter(|c| c.type_ == ConditionType::RolledOut.as_str());
    rolled_out.any(|condition| condition.reason == "Pending")
}

/// The phase in a word, also where there is none.
pub fn phase(phase: Option<Phase>) -> &'static str {
    match phase {
        None => "Unseen",
        Some(Phase::Healthy) => "Healthy",
        Some(Phase::Progressing) => "Progressing",
        Some(Phase::Paused) => "Paused",
        Some(Phase::Degraded) => "Degraded",
        Some(Phase::Suspended) => "Suspended",
    }
}

/// The tone of a phase.
pub fn phase_tone(phase: Option<Phase>) -> Tone {
    match phase {
        None => Tone::Dim,
        Some(Phase::Healthy) => Tone::Good,
        Some(Phase::Progressing) => Tone::Busy,
        Some(Phase::Paused | Phase::Suspended) => Tone::Waiting,
        Some(Phase::Degraded) => Tone::Bad,
    }
}

/// The kind of strategy in a word.
pub fn strategy(kind: StrategyType) -> &'static str {
    match kind {
        StrategyType::RollingUpdate => "RollingUpdate",
        StrategyType::Recreate => "Recreate",
        StrategyType::Canary => "Canary",
        StrategyType::BlueGreen => "BlueGreen",
    }
}

/// Whether a candidate is being tried out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standing<'a> {
    /// There is no status to tell.
    Unknown,
    /// The first revision gets its pods.
    Starting(&'a RolloutStatus),
    /// Nothing is under way, and what the spec asks for was not taken back.
    Settled(&'a RolloutStatus),
    /// Nothing is under way; this revision was taken back.
    Held(&'a RolloutStatus, &'a str),
    /// This candidate is being tried out.
    UnderWay(&'a RolloutStatus, &'a str),
    /// It is being left.
    Returning(&'a RolloutStatus),
}

/// What goes on.
pub fn standing(service: &Microservice) -> Standing<'_> {
    let Some(rollout) = service.status.as_ref().and_then(|status| status.rollout.as_ref()) else {
        return Standing::Unknown;
    };
    match (rollout.state, rollout.candidate.as_deref()) {
        (RolloutState::Starting, _) => Standing::Starting(rollout),
        (RolloutState::Returning, _) => Standing::Returning(rollout),
        (RolloutState::Steady, Some(held)) => Standing::Held(rollout, held),
        (RolloutState::Rolling | RolloutState::Promoting | RolloutState::Baking, Some(candidate)) => {
            Standing::UnderWay(rollout, candidate)
        }
        (RolloutState::Steady, None) => Standing::Settled(rollout),
        (RolloutState::Rolling | RolloutState::Promoting | RolloutState::Baking, None) => Standing::Unknown,
    }
}

/// Whether a step's pods are ready and its traffic is in force.
pub fn in_force(rollout: &RolloutStatus) -> bool {
    rollout.in_force_at.is_some() && rollout.wavering_since.is_none()
}

/// The revision in a role.
pub fn in_role(status: &MicroserviceStatus, role: Role) -> Option<&RevisionStatus> {
    status
        .revisions
        .iter()
        .find(|revision| revision.role == Some(role))
}

/// Conditions that tell more than the phase and its sentence do.
pub fn troubles(status: &MicroserviceStatus) -> Vec<&Condition> {
    let said = status.message.as_deref().unwrap_or_default();
    status
        .conditions
        .iter()
        .filter(|c| !is_fine(c) && c.message != said)
        // Whether it is rolled out the phase tells, and a service that was stopped need not be available.
        .filter(|c| c.type_ != ConditionType::RolledOut.as_str() && c.reason != "Stopped")
        .collect()
}

fn is_fine(condition: &Condition) -> bool {
    let bad_when_true = [
        ConditionType::Reconciling,
        ConditionType::Stalled,
        ConditionType::ChildContested,
        ConditionType::ImageMutated,
        ConditionType::ReplicasManagedByGit,
        ConditionType::RefreshAvailable,
    ];
    let fine = if bad_when_true
        .iter()
        .any(|type_| type_.as_str() == condition.type_)
    {
        "False"
    } else {
        "True"
    };
    condition.status == fine
}
