//! How many rollouts may be under way at a time in this installation, and who waits for a place.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::cache::ServiceKey;
use crate::api::conditions::{ConditionStatus, ConditionType};
use crate::api::{MicroserviceStatus, Phase, RolloutState};
use crate::rollout::Slot;

/// The places for rollouts. Who is first to ask is first to go.
#[derive(Debug)]
pub struct Slots {
    /// How many there are; `None`: as many as are asked for.
    limit: Option<usize>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    holders: HashSet<ServiceKey>,
    waiting: VecDeque<ServiceKey>,
}

impl Slots {
    /// With the services whose rollouts are under way already.
    pub fn new(limit: Option<usize>, holders: impl IntoIterator<Item = ServiceKey>) -> Self {
        let holders = holders.into_iter().collect();
        let taken = Taken {
            holders,
            waiting: VecDeque::new(),
        };
        Self {
            limit,
            taken: Mutex::new(taken),
        }
    }

    /// Takes a place for `service`, or puts it at the end of the queue, once.
    pub fn take(&self, service: &ServiceKey) -> Slot {
        let Some(limit) = self.limit else {
            return Slot::Free;
        };
        let mut taken = self.lock();
        if taken.holders.contains(service) {
            return Slot::Free;
        }
        let free = limit.saturating_sub(taken.holders.len());
        let ahead = taken.waiting.iter().position(|waiting| waiting == service);
        let ahead = ahead.unwrap_or_else(|| {
            taken.waiting.push_back(service.clone());
            taken.waiting.len() - 1
        });
        if ahead < free {
            taken.waiting.retain(|waiting| waiting != service);
            taken.holders.insert(service.clone());
            return Slot::Free;
        }
        Slot::Taken { ahead }
    }

    /// Notes whether `service` needs a place from now on. Answers who may ask again because of it.
    pub fn note(&self, service: &ServiceKey, need: Need) -> Vec<ServiceKey> {
        if self.limit.is_none() {
            return Vec::new();
        }
        let mut taken = self.lock();
        match need {
            Need::Place => {
                taken.waiting.retain(|waiting| waiting != service);
                taken.holders.insert(service.clone());
                Vec::new()
            }
            Need::Queue => Vec::new(),
            Need::Nothing => {
                let waited = taken.waiting.contains(service);
                taken.waiting.retain(|waiting| waiting != service);
                if taken.holders.remove(service) || waited {
                    taken.waiting.iter().cloned().collect()
                } else {
                    Vec::new()
                }
            }
        }
    }

    /// `service` cannot be looked at: it does not keep those behind it waiting. A rollout that it has under way keeps its
    /// place. Answers who may ask again because of it.
    pub fn pass_over(&self, service: &ServiceKey) -> Vec<ServiceKey> {
        let mut taken = self.lock();
        let Some(place) = taken.waiting.iter().position(|waiting| waiting == service) else {
            return Vec::new();
        };
        taken.waiting.remove(place);
        taken.waiting.iter().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A place: a rollout is under way, and moves. One that moves again takes its place back although others have got
    /// it meanwhile: what has traffic is not held up half-way, so that for a while there may be more than the limit.
    Place,
    /// One when it is its turn.
    Queue,
    /// None: nothing is under way, or what is does not move (a person is waited for, it is suspended, or nothing can be
    /// done), or is only watched still.
    Nothing,
}

impl Need {
    /// What a status says about it, with the answer to the question for a place.
    pub fn of(status: &MicroserviceStatus, slot: Slot) -> Self {
        let state = status.rollout.as_ref().map(|rollout| rollout.state);
        let stalled = status.conditions.iter().any(|condition| {
            condition.type_ == ConditionType::Stalled.as_str()
                && condition.status == ConditionStatus::True.as_str()
        });
        let told_to_stand = matches!(status.phase, Some(Phase::Paused | Phase::Suspended));
        match state {
            Some(RolloutState::Rolling | RolloutState::Promoting) if !stalled && !told_to_stand => {
                Self::Place
            }
            // Suspension does not hold up a way back.
            Some(RolloutState::Returning) if !stalled => Self::Place,
            _ if slot != Slot::Free => Self::Queue,
            Some(
                RolloutState::Rolling
                | RolloutState::Promoting
                | RolloutState::Returning
                | RolloutState::Starting
                | RolloutState::Steady
                | RolloutState::Baking,
            )
            | None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn who_asks_first_goes_first() {
        let slots = Slots::new(Some(1), [key("a")]);
        assert_eq!(slots.take(&key("a")), Slot::Free);
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 1 });
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.note(&key("a"), Need::Nothing), [key("b"), key("c")]);
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 1 });
        assert_eq!(slots.take(&key("b")), Slot::Free);
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 0 });
    }

    #[test]
    fn who_gives_up_waiting_lets_others_pass() {
        let slots = Slots::new(Some(1), [key("a")]);
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 1 });
        assert_eq!(slots.note(&key("b"), Need::Nothing), [key("c")]);
        assert_eq!(slots.note(&key("a"), Need::Nothing), [key("c")]);
        assert_eq!(slots.take(&key("c")), Slot::Free);
    }

    #[test]
    fn who_cannot_be_looked_at_lets_others_pass_and_keeps_what_it_has_begun() {
        let slots = Slots::new(Some(1), [key("a")]);
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 1 });
        assert_eq!(slots.pass_over(&key("b")), [key("c")]);
        assert!(slots.pass_over(&key("a")).is_empty());
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.note(&key("a"), Need::Nothing), [key("c")]);
        assert_eq!(slots.take(&key("c")), Slot::Free);
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
    }

    /// A status with a state and a phase, and a reason of Stalled.
    fn status(state: &str, phase: Phase, stalled: Option<&str>) -> MicroserviceStatus {
        let conditions: Vec<serde_json::Value> = stalled
            .iter()
            .map(|reason| {
                serde_json::json!({"type": "Stalled", "status": "True", "reason": reason, "message": "",
                    "lastTransitionTime": "2026-01-01T00:00:00Z"})
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "phase": phase, "conditions": conditions, "rollout": {"seq": 2, "trial": 1, "state": state},
        }))
        .unwrap()
    }

    #[test]
    fn a_place_is_for_what_moves() {
        for state in ["Rolling", "Promoting", "Returning"] {
            let need = |phase, stalled| Need::of(&status(state, phase, stalled), Slot::Free);
            assert_eq!(need(Phase::Progressing, None), Need::Place, "{state}");
            for reason in ["NoHealthyTarget", "ReturnStuck"] {
                assert_eq!(need(Phase::Degraded, Some(reason)), Need::Nothing, "{state}");
            }
        }
        for phase in [Phase::Paused, Phase::Suspended] {
            for state in ["Rolling", "Promoting"] {
                assert_eq!(Need::of(&status(state, phase, None), Slot::Free), Need::Nothing);
            }
            // A way back goes on.
            assert_eq!(
                Need::of(&status("Returning", phase, None), Slot::Free),
                Need::Place
            );
        }
        let waits = Slot::Taken { ahead: 0 };
        for state in ["Baking", "Steady"] {
            assert_eq!(
                Need::of(&status(state, Phase::Progressing, None), Slot::Free),
                Need::Nothing
            );
            assert_eq!(
                Need::of(&status(state, Phase::Progressing, None), waits),
                Need::Queue
            );
        }
    }

    #[test]
    fn what_moves_again_takes_its_place_back_and_others_wait_longer() {
        let slots = Slots::new(Some(1), [key("a")]);
        assert_eq!(slots.take(&key("b")), Slot::Taken { ahead: 0 });
        // A person is waited for: the next one goes.
        assert_eq!(slots.note(&key("a"), Need::Nothing), [key("b")]);
        assert_eq!(slots.take(&key("b")), Slot::Free);
        // The person came.
        assert!(slots.note(&key("a"), Need::Place).is_empty());
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.note(&key("b"), Need::Nothing), [key("c")]);
        assert_eq!(slots.take(&key("c")), Slot::Taken { ahead: 0 });
        assert_eq!(slots.note(&key("a"), Need::Nothing), [key("c")]);
        assert_eq!(slots.take(&key("c")), Slot::Free);
    }

    #[test]
    fn without_a_limit_there_is_always_a_place() {
        let slots = Slots::new(None, []);
        assert_eq!(slots.take(&key("a")), Slot::Free);
        assert_eq!(slots.take(&key("b")), Slot::Free);
    }
}
