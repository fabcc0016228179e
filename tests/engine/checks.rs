//! Checks that are measured beside the operator: the world says what each measurement finds.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use microservice_operator::analysis::threshold::{Measurement, Measurements, Outcome};
use microservice_operator::rollout::{Measure, Question};

use crate::world::World;

/// A check that a process measures.
#[derive(Clone, Debug)]
pub struct Measuring {
    measure: Measure,
    measured: Measurements,
    next: Timestamp,
}

impl World {
    /// From now on each measurement of a check finds this; of one that nothing is said about there is no answer at all.
    pub fn check_finds(&mut self, check: &str, outcome: Outcome) {
        self.findings.insert(check.to_owned(), outcome);
    }

    /// As the controller room does it: what is measured already goes on.
    pub fn measure(&mut self, measures: &[Measure]) {
        let known = &mut self.memory.measuring;
        known.retain(|_, known| measures.iter().any(|measure| measure.asks_like(&known.measure)));
        for measure in measures {
            known.entry(measure.key.clone()).or_insert_with(|| Measuring {
                measure: measure.clone(),
                measured: Measurements::default(),
                next: measure.begins_at.unwrap_or(self.now).max(self.now),
            });
        }
    }

    /// Measures what is due.
    pub fn take_measurements(&mut self) {
        let now = self.now;
        let mut news = false;
        for known in self
            .memory
            .measuring
            .values_mut()
            .filter(|known| known.next <= now)
        {
            known.next = now + SignedDuration::from_secs(known.measure.interval_seconds.into());
            let name = known.measure.key.rsplit('/').nth(1).unwrap_or_default();
            if let Some(outcome) = self.findings.get(name) {
                known.measured.add(
                    Measurement {
                        outcome: *outcome,
                        value: Some("7".to_owned()),
                        words: (*outcome != Outcome::Good).then(|| format!("{name} finds {outcome:?}")),
                    },
                    now,
                );
                news = true;
            }
        }
        if news {
            self.trigger();
        }
    }

    /// What is asked now.
    pub fn questions(&self) -> Vec<Question> {
        let known = self.memory.measuring.values();
        known.map(|known| known.measure.question.clone()).collect()
    }

    /// What was measured, as a plan sees it.
    pub fn measurements(&self) -> BTreeMap<String, Measurements> {
        let known = self.memory.measuring.iter();
        known
            .map(|(key, known)| (key.clone(), known.measured.clone()))
            .collect()
    }
}
