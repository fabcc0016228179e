//! What the process remembers of each service beyond the caches. All of it may be lost: a restart finds it again.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Mutex;

use jiff::{SignedDuration, Timestamp};

use super::cache::ServiceKey;
use crate::health::JobTrouble;
use crate::rollout::{ChildKey, Contest, Failure};
use crate::telemetry::Gauges;

/// Within which time a field that is taken from us counts as contested.
const CONTEST_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// How often that may happen without a word.
const CONTEST_TIMES: usize = 3;

/// What is remembered of all services.
#[derive(Debug, Default)]
pub struct Memory {
    services: Mutex<HashMap<ServiceKey, ServiceMemory>>,
}

/// What is remembered of one service.
#[derive(Clone, Debug, Default)]
pub struct ServiceMemory {
    /// What the API server refused.
    pub failures: BTreeMap<ChildKey, Failure>,
    /// What was refused when replicas was last written back.
    pub scale_failure: Option<Failure>,
    /// When fields of ours were put back, and who had taken them.
    repairs: BTreeMap<ChildKey, VecDeque<(Timestamp, String)>>,
    /// Routes that are accepted: in which form, and since when that is known.
    accepted: BTreeMap<ChildKey, (String, Timestamp)>,
    /// What Jobs waited for or failed of last, by their uid.
    pub job_troubles: BTreeMap<String, JobTrouble>,
    /// When the status was last written.
    pub last_status_write: Option<Timestamp>,
    /// What the metrics show of it.
    pub gauges: Gauges,
    /// The value of the annotation that asks to adopt, once nothing was found any more that is not its own.
    pub adopted: Option<String>,
}

impl Memory {
    /// What is remembered of a service.
    pub fn of(&self, service: &ServiceKey) -> ServiceMemory {
        self.lock().get(service).cloned().unwrap_or_default()
    }

    /// Changes what is remembered of a service.
    pub fn change(&self, service: &ServiceKey, change: impl FnOnce(&mut ServiceMemory)) {
        change(self.lock().entry(service.clone()).or_default());
    }

    /// Forgets a service that is gone. Answers what was remembered.
    pub fn forget(&self, service: &ServiceKey) -> ServiceMemory {
        self.lock().remove(service).unwrap_or_default()
    }

    /// Forgets all services. Answers what was remembered.
    pub fn forget_all(&self) -> HashMap<ServiceKey, ServiceMemory> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceKey, ServiceMemory>> {
        self.services
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl ServiceMemory {
    /// Notes that a field of ours was put back.
    pub fn repaired(&mut self, child: ChildKey, manager: Option<String>, now: Timestamp) {
        let repairs = self.repairs.entry(child).or_default();
        repairs.push_back((now, manager.unwrap_or_else(|| "somebody".to_owned())));
        while repairs
            .front()
            .is_some_and(|(at, _)| now.duration_since(*at) > CONTEST_WINDOW)
        {
            repairs.pop_front();
        }
    }

    /// Since when a route has been accepted in this `form`; from now on where that was not known yet.
    pub fn accepted(&mut self, route: ChildKey, form: String, now: Timestamp) -> Timestamp {
        match self.accepted.get(&route) {
            Some((known, since)) if *known == form => *since,
            Some(_) | None => {
                self.accepted.insert(route, (form, now));
                now
            }
        }
    }

    /// Forgets routes that are accepted no more.
    pub fn not_accepted(&mut self, accepted: &BTreeMap<ChildKey, Timestamp>) {
        self.accepted.retain(|route, _| accepted.contains_key(route));
    }

    /// The children that somebody else keeps changing.
    pub fn contested(&self, now: Timestamp) -> Vec<Contest> {
        let recent = |repairs: &VecDeque<(Timestamp, String)>| {
            repairs
                .iter()
                .filter(|(at, _)| now.duration_since(*at) <= CONTEST_WINDOW)
                .count()
        };
        self.repairs
            .iter()
            .map(|(child, repairs)| (child, recent(repairs), repairs.back()))
            .filter(|(_, times, _)| *times > CONTEST_TIMES)
            .filter_map(|(child, times, last)| {
                Some(Contest {
                    child: child.clone(),
                    manager: last?.1.clone(),
                    times,
                })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::ChildKind;

    #[test]
    fn a_fourth_repair_within_ten_minutes_is_a_contest() {
        let start = Timestamp::UNIX_EPOCH;
        let child = (ChildKind::Deployment, "d".to_owned());
        let mut memory = ServiceMemory::default();
        for minute in 0..3 {
            memory.repaired(
                child.clone(),
                Some("kubectl".into()),
                start + SignedDuration::from_mins(minute),
            );
        }
        assert!(memory.contested(start + SignedDuration::from_mins(3)).is_empty());
        memory.repaired(
            child.clone(),
            Some("kubectl-edit".into()),
            start + SignedDuration::from_mins(4),
        );
        let contested = memory.contested(start + SignedDuration::from_mins(4));
        assert_eq!(
            contested,
            [Contest {
                child,
                manager: "kubectl-edit".into(),
                times: 4
            }]
        );
        assert!(memory.contested(start + SignedDuration::from_mins(20)).is_empty());
    }
}
