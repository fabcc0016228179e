//! Evidence that grows from look to look: an e-process.
//!
//! An e-process is a non-negative process that starts at 1 and whose expectation, at any time at which one may stop, is at
//! most 1 while the null holds. It exceeds 1/alpha at any time at all with a probability of at most alpha (Ville, Étude
//! critique de la notion de collectif, 1939), so that one may look as often as one likes and act at once. For A/B tests: Johari,
//! Koomen, Pekelis and Walsh, Peeking at A/B tests, KDD 2017; for counts that arrive in a changing mix: Lindon and Malek,
//! Anytime-valid inference for multinomial count data, NeurIPS 2022; in general: Grünwald, de Heide and Koolen, Safe
//! testing, JRSS B 86, 2024, and Ramdas, Grünwald, Vovk and Shafer, Game-theoretic statistics and safe anytime-valid
//! inference, Statistical Science 38, 2023.
//!
//! What is built from it, each step keeping that property:
//! - the product of the likelihood ratios of all looks ([`Seen::ln_ratio`]), for one odds ratio;
//! - no look counts for more than [`Terms::most`]: what is cut off only makes it smaller. Two revisions are never read at
//!   quite the same time, so a trouble that both have seems to be one's alone for one look; that look must not decide;
//! - a mixture over a grid of odds ratios, so that both "twice as bad" and "all bad" are found fast: the mean of
//!   e-processes is one;
//! - a mixture over the look from which the candidate is bad. A product from the first look on would have to make good for
//!   all the looks at which the candidate was fine, which takes as long again as these took. Half of the weight is on the
//!   first look and the other half spread as 1/(j(j+1)) over the looks j, which sums to one (compare Shin, Ramdas and
//!   Rinaldo, E-detectors, NEJSDS 2, 2024). Weight that is not staked yet stands at 1;
//! - each part is cut off at [`Terms::ceiling`], so that evidence of a trouble that both revisions had, and that is over,
//!   is soon gone.

use super::odds::Seen;

/// What evidence is gathered of.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    /// The odds ratios for which it is: all larger than `null`, or none larger.
    pub(super) odds: Vec<f64>,
    /// The odds ratio against which it is, and with it against all smaller ones where those of `odds` are larger, and
    /// against all larger ones where they are smaller.
    pub(super) null: f64,
    /// From when.
    pub(super) since: Since,
    /// The most that one look may multiply by.
    pub(super) most: f64,
    /// The most that one odds ratio may have come to.
    pub(super) ceiling: f64,
}

/// From which look on the alternative would hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Since {
    /// From the first.
    TheFirst,
    /// From any, the first one more likely than others.
    Any,
}

impl Since {
    /// The weight of the alternative that begins with look `look`, counted from 1.
    fn weight(self, look: f64) -> f64 {
        let first = look <= 1.0;
        match self {
            Self::TheFirst if first => 1.0,
            Self::TheFirst => 0.0,
            Self::Any if first => 0.5 + 0.25,
            Self::Any => 0.5 / (look * (look + 1.0)),
        }
    }

    /// The weight of all that begin after look `look`.
    fn rest(self, look: f64) -> f64 {
        match self {
            Self::TheFirst => 0.0,
            Self::Any => 0.5 / (look + 1.0),
        }
    }
}

/// The state: a number for each odds ratio, and how many looks there were.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    terms: Terms,
    /// Weight times product, an entry for each odds ratio. Not as logarithms: nothing can overflow below the ceiling, and
    /// what underflows to zero is only less evidence.
    staked: Vec<f64>,
    /// Looks that told something.
    looks: f64,
    value: f64,
    highest: f64,
}

impl Evidence {
    pub(super) fn new(terms: Terms) -> Self {
        Self {
            staked: vec![0.0; terms.odds.len()],
            terms,
            looks: 0.0,
            value: 1.0,
            highest: 1.0,
        }
    }

    /// The same with nothing gathered.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.terms.clone())
    }

    /// Takes a look in. One that tells nothing changes nothing.
    pub(super) fn add(&mut self, seen: &Seen) {
        if !seen.tells() {
            return;
        }
        let look = self.looks + 1.0;
        let stake = self.terms.since.weight(look) / self.terms.odds.len() as f64;
        let most = self.terms.most.ln();
        let mut value = self.terms.since.rest(look);
        for (staked, odds) in self.staked.iter_mut().zip(&self.terms.odds) {
            let Some(ln_ratio) = seen.ln_ratio(*odds, self.terms.null) else {
                return; // Depends on the sizes alone, so it is the first that is None, and nothing has changed yet.
            };
            *staked = ((*staked + stake) * ln_ratio.min(most).exp()).min(self.terms.ceiling);
            value += *staked;
        }
        self.looks = look;
        self.value = value;
        self.highest = self.highest.max(value);
    }

    /// What it is now: 1 at the beginning, at most 1 in expectation while the null holds.
    pub(super) fn value(&self) -> f64 {
        self.value
    }

    /// The highest that it ever was.
    pub(super) fn highest(&self) -> f64 {
        self.highest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Count;

    const ODDS: [f64; 3] = [2.0, 10.0, 100.0];

    fn evidence(since: Since, most: f64) -> Evidence {
        Evidence::new(Terms {
            odds: ODDS.to_vec(),
            null: 1.0,
            since,
            most,
            ceiling: 1000.0,
        })
    }

    fn seen(ours: (u64, u64), theirs: (u64, u64)) -> Seen {
        Seen::Beside {
            candidate: Count::new(ours.0, ours.1).unwrap(),
            stable: Count::new(theirs.0, theirs.1).unwrap(),
        }
    }

    #[test]
    fn the_weights_of_all_beginnings_sum_to_one() {
        for since in [Since::TheFirst, Since::Any] {
            let mut sum = 0.0;
            for look in 1..200 {
                sum += since.weight(f64::from(look));
                let all = sum + since.rest(f64::from(look));
                assert!((all - 1.0).abs() < 1e-9, "{since:?} at {look}: {all}");
            }
        }
    }

    #[test]
    fn looks_that_tell_nothing_change_nothing() {
        let mut evidence = evidence(Since::Any, 50.0);
        for quiet in [
            seen((0, 0), (90, 9)),
            seen((10, 5), (0, 0)),
            seen((10, 0), (90, 0)),
        ] {
            evidence.add(&quiet);
        }
        assert!((evidence.value() - 1.0).abs() < f64::EPSILON);
        assert!(evidence.looks < 1.0);
    }

    #[test]
    fn one_look_alone_counts_for_no_more_than_allowed() {
        let mut evidence = evidence(Since::Any, 50.0);
        let all_bad = seen((20, 20), (180, 0));
        evidence.add(&all_bad);
        assert!(
            evidence.value() <= 50.0 && evidence.value() > 30.0,
            "{}",
            evidence.value()
        );
        evidence.add(&all_bad);
        assert!(evidence.value() > 1000.0, "{}", evidence.value());
    }

    #[test]
    fn a_candidate_that_was_fine_for_long_is_found_out_nearly_as_fast() {
        let (fine, worse) = (seen((20, 1), (180, 9)), seen((20, 6), (180, 9)));
        let looks_until = |mut evidence: Evidence, fine_looks: u32| {
            (0..fine_looks).for_each(|_| evidence.add(&fine));
            (1..).find(|_| {
                evidence.add(&worse);
                evidence.value() >= 100.0
            })
        };
        let from_any = looks_until(evidence(Since::Any, 50.0), 300).unwrap();
        let from_first = looks_until(evidence(Since::TheFirst, 50.0), 300).unwrap();
        assert!(from_any <= 6, "{from_any}");
        assert!(from_first > 10, "{from_first}");
    }

    #[test]
    fn what_is_over_is_forgotten() {
        let mut evidence = evidence(Since::Any, 50.0);
        (0..100).for_each(|_| evidence.add(&seen((20, 20), (180, 0))));
        assert!(evidence.value() >= 1000.0);
        (0..60).for_each(|_| evidence.add(&seen((20, 1), (180, 9))));
        assert!(evidence.value() < 100.0, "{}", evidence.value());
        assert!(evidence.highest() >= 1000.0);
    }
}
