//! How many rollouts may be under way at a time in this installation, and who waits for a place.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use super::cache::ServiceKey;
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

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// A place: a rollout is under way.
    Place,
    /// One when it is its turn.
    Queue,
    /// None: nothing is under way, or what is waits for a person, or is only watched still.
    Nothing,
}

impl Need {
    /// What a status says about it.
    pub fn of(status: &MicroserviceStatus, waits: bool) -> Self {
        let state = status.rollout.as_ref().map(|rollout| rollout.state);
        match state {
            Some(RolloutState::Rolling | RolloutState::Promoting | RolloutState::Returning)
                if status.phase != Some(Phase::Paused) =>
            {
                Self::Place
            }
            _ if waits => Self::Queue,
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
    fn without_a_limit_there_is_always_a_place() {
        let slots = Slots::new(None, []);
        assert_eq!(slots.take(&key("a")), Slot::Free);
        assert_eq!(slots.take(&key("b")), Slot::Free);
    }
}
