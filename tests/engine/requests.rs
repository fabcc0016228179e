//! Requests of the model: so many a second and so many of them bad, by revision, put to the real judges.

use std::collections::BTreeMap;

use microservice_operator::analysis::{Count, Judge, Look};
use microservice_operator::rollout::{AnalysisReport, Answered, Watch};

use crate::world::World;

/// What a process has counted.
#[derive(Clone, Debug)]
pub struct Counting {
    watch: Watch,
    judges: BTreeMap<String, Judge>,
    answered: Answered,
}

impl World {
    /// From now on a revision has so many requests a second, and so many of them are bad by every measure.
    pub fn requests(&mut self, tag: &str, requests: u64, bad: u64) {
        self.rates
            .insert(tag.to_owned(), Count::new(requests, bad).unwrap());
    }

    /// As the controller room does it: what is watched already goes on.
    pub fn follow(&mut self, watch: Option<Watch>) {
        let counting = &mut self.memory.counting;
        if counting.as_ref().map(|counting| &counting.watch) == watch.as_ref() {
            return;
        }
        *counting = watch.map(|watch| Counting {
            judges: watch
                .checks
                .iter()
                .map(|check| (check.name.clone(), Judge::new(check.terms)))
                .collect(),
            watch,
            answered: Answered::NotAsked,
        });
    }

    /// From now on the source of the requests answers, or does not, and says why.
    pub fn source(&mut self, outage: Option<&str>) {
        self.outage = outage.map(str::to_owned);
    }

    /// A second of requests. Where a verdict changes, the operator takes a look.
    pub fn count(&mut self) {
        let before = self.report().map(|report| report.rulings);
        let Some(watch) = self.memory.counting.as_ref().map(|counting| &counting.watch) else {
            return;
        };
        let rate = |revision: &str| self.rates.get(&self.alias(revision)).copied();
        let look = Look {
            candidate: rate(&watch.candidate.revision),
            stable: rate(&watch.stable.revision),
        };
        let outage = self.outage.clone();
        let Some(counting) = &mut self.memory.counting else {
            return;
        };
        let answered = outage.map_or(Answered::Yes, |why| Answered::No { why });
        let changed = counting.answered != answered;
        counting.answered = answered;
        if counting.answered == Answered::Yes {
            for judge in counting.judges.values_mut() {
                judge.observe(&look);
            }
        }
        let verdicts = |report: Option<BTreeMap<String, _>>| {
            let rulings = report.unwrap_or_default().into_values();
            rulings
                .map(|ruling: microservice_operator::analysis::Ruling| ruling.verdict)
                .collect::<Vec<_>>()
        };
        if changed || verdicts(before) != verdicts(self.report().map(|report| report.rulings)) {
            self.trigger();
        }
    }

    /// What is known of the requests.
    pub fn report(&self) -> Option<AnalysisReport> {
        let counting = self.memory.counting.as_ref()?;
        Some(AnalysisReport {
            key: counting.watch.key.clone(),
            rulings: counting
                .judges
                .iter()
                .map(|(name, judge)| (name.clone(), judge.ruling()))
                .collect(),
            answered: counting.answered.clone(),
            ..AnalysisReport::default()
        })
    }
}
