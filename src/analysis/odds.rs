//! What one look at the counters says for one odds ratio against another.
//!
//! **The candidate beside stable.** Let each request of a look be bad independently of whether the router sent it to the
//! candidate. Then, of n bad requests among the candidate's N1 and stable's N2, the number x that fell on the candidate
//! is hypergeometric; where the odds of a bad request are worse by the factor z on the candidate it is Fisher's
//! noncentral hypergeometric: P(x) = C(N1, x) C(N2, n-x) z^x / G(z), with G(z) the sum over all x. That holds for any
//! common share of bad requests, also one that differs from look to look, and for any share r = N1 / (N1 + N2) that was
//! really served. It would not hold for the share that was asked for, nor for one that counts requests (of probes, say)
//! that do not reach both revisions as users' requests do.
//!
//! The likelihood ratio of odds a against odds b is (a/b)^x G(b) / G(a), exact in both directions.
//!
//! **The bound.** Where a >= b >= 1, G(a)/G(b) is at most B(a)^n / B(b)^n with B(z) = 1 + r (z - 1), so that putting B
//! for G only makes the ratio smaller: it stays a valid test and costs nothing to compute. For b = 1 that is Hoeffding's
//! theorem 4 (Probability inequalities for sums of bounded random variables, JASA 58, 1963: what is drawn without
//! replacement is dominated in convex order by what is drawn with it). In general: all zeros of G are real (Vatutin and
//! Mikhailov, Theory Probab. Appl. 27, 1982), so that x is a sum of independent Bernoulli variables, whose probabilities
//! p at z = 1 have the mean r. The derivative of ln G by ln z is the mean of x, the sum of p z / (1 + p (z - 1)). That is
//! concave in p for z >= 1, so the sum is at most n r z / (1 + r (z - 1)), the derivative of ln B^n. The other direction
//! (clearing) has no such bound. It also does some good: where all requests of both sides are bad, the exact ratio says
//! nothing, but the bound speaks for the candidate and takes back what was said by the look that saw the trouble on one
//! side only, because the other had been read a moment earlier.
//!
//! **The candidate against a promise.** Of N1 requests x are bad, each with odds z times those of the allowed share p0:
//! binomial, and B(z) = 1 + p0 (z - 1) is exact.

use super::{BadShare, Count};

/// Up to so many requests of both sides together the exact sum is worth its while: where most requests of few are bad
/// it says far more than the bound (five of five against none of five: 252 to 1 instead of 32 to 1).
const SMALL: u64 = 48;

/// How many terms of the exact sum are computed for one look. A look with more bad requests than that on both sides says
/// nothing for clearing, which nobody would do then anyway.
const MOST_TERMS: u64 = 4096;

/// What was seen in one look, and beside what it is held.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Seen {
    /// Candidate and stable beside each other; the odds ratio is between them.
    Beside {
        /// The candidate's requests.
        candidate: Count,
        /// Stable's.
        stable: Count,
    },
    /// The candidate alone; the odds ratio is to the odds of the allowed share.
    Against {
        /// The candidate's requests.
        candidate: Count,
        /// The share that may be bad.
        allowed: BadShare,
    },
}

impl Seen {
    /// Whether it can tell one odds ratio from another at all. This may depend on how many requests there were on each
    /// side and how many were bad on both together, but not on whose they were.
    pub(super) fn tells(&self) -> bool {
        match self {
            Self::Beside { candidate, stable } => {
                candidate.requests() > 0 && stable.requests() > 0 && candidate.bad().max(stable.bad()) > 0
            }
            Self::Against { candidate, .. } => candidate.requests() > 0,
        }
    }

    /// The natural logarithm of the likelihood ratio of the odds ratio `odds` against `null`, or of something smaller
    /// whose expectation under `null` is at most 1 as well. None where it would be too much work.
    pub(super) fn ln_ratio(&self, odds: f64, null: f64) -> Option<f64> {
        match *self {
            Self::Beside { candidate, stable } => {
                let bad = candidate.bad().saturating_add(stable.bad());
                let requests = candidate.requests().saturating_add(stable.requests());
                let normal = if requests > SMALL && odds >= null && null >= 1.0 {
                    let share = candidate.requests() as f64 / requests as f64;
                    bad as f64 * (ln_bernoulli(share, odds) - ln_bernoulli(share, null))
                } else if candidate.requests().min(stable.requests()).min(bad) <= MOST_TERMS {
                    ln_sum(candidate, stable, odds) - ln_sum(candidate, stable, null)
                } else {
                    return None;
                };
                Some(candidate.bad() as f64 * (odds / null).ln() - normal)
            }
            Self::Against { candidate, allowed } => {
                let normal = ln_bernoulli(allowed.get(), odds) - ln_bernoulli(allowed.get(), null);
                Some(candidate.bad() as f64 * (odds / null).ln() - candidate.requests() as f64 * normal)
            }
        }
    }
}

/// ln B(z).
fn ln_bernoulli(share: f64, z: f64) -> f64 {
    (share * (z - 1.0)).ln_1p()
}

/// ln G(z), but for a constant that does not depend on z. Each term follows from the one before, and the sum is scaled
/// down before it overflows.
fn ln_sum(candidate: Count, stable: Count, z: f64) -> f64 {
    const LARGE: f64 = 1e200;
    let bad = candidate.bad().saturating_add(stable.bad());
    let first = bad.saturating_sub(stable.requests());
    let last = bad.min(candidate.requests());
    let (ours, theirs, n) = (candidate.requests() as f64, stable.requests() as f64, bad as f64);
    let mut ln_scale = first as f64 * z.ln();
    let (mut term, mut sum) = (1.0_f64, 1.0_f64);
    for k in first..last {
        let k = k as f64;
        term *= z * (ours - k) * (n - k) / ((k + 1.0) * (theirs - n + k + 1.0));
        sum += term;
        if sum > LARGE {
            term /= LARGE;
            sum /= LARGE;
            ln_scale += LARGE.ln();
        }
    }
    ln_scale + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(requests: u64, bad: u64) -> Count {
        Count::new(requests, bad).unwrap()
    }

    /// ln of the binomial coefficient.
    fn ln_choose(n: u64, k: u64) -> f64 {
        (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum()
    }

    /// All ways in which n bad requests can fall on the two sides, with their probabilities at an odds ratio.
    fn splits(ours: u64, theirs: u64, bad: u64, odds: f64) -> Vec<(Seen, f64)> {
        let ways: Vec<(Seen, f64)> = (bad.saturating_sub(theirs)..=bad.min(ours))
            .map(|x| {
                let seen = Seen::Beside {
                    candidate: count(ours, x),
                    stable: count(theirs, bad - x),
                };
                let weight = ln_choose(ours, x) + ln_choose(theirs, bad - x) + x as f64 * odds.ln();
                (seen, weight.exp())
            })
            .collect();
        let total: f64 = ways.iter().map(|(_, weight)| weight).sum();
        ways.into_iter()
            .map(|(seen, weight)| (seen, weight / total))
            .collect()
    }

    fn expectation(ways: &[(Seen, f64)], odds: f64, null: f64) -> f64 {
        ways.iter()
            .map(|(seen, p)| p * seen.ln_ratio(odds, null).unwrap().exp())
            .sum()
    }

    const SIZES: [(u64, u64); 8] = [
        (1, 9),
        (5, 5),
        (9, 1),
        (3, 60),
        (40, 40),
        (60, 3),
        (20, 180),
        (2, 198),
    ];

    #[test]
    fn under_the_null_the_expectation_is_at_most_one_in_both_directions() {
        for (ours, theirs) in SIZES {
            for bad in 0..=(ours + theirs) {
                for (odds, null) in [
                    (1.5, 1.0),
                    (10.0, 1.0),
                    (1000.0, 1.0),
                    (4.0, 2.0),
                    (1.0, 2.0),
                    (0.5, 10.0),
                ] {
                    let mean = expectation(&splits(ours, theirs, bad, null), odds, null);
                    assert!(
                        mean <= 1.0 + 1e-9,
                        "{ours}+{theirs} with {bad} bad, {odds} against {null}: {mean}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_candidate_that_is_better_than_the_null_gives_less_still() {
        for (ours, theirs) in SIZES {
            let bad = (ours + theirs) / 3;
            let mean = expectation(&splits(ours, theirs, bad, 0.5), 3.0, 1.0);
            assert!(mean <= 1.0 + 1e-9, "{ours}+{theirs}: {mean}");
        }
    }

    #[test]
    fn the_sum_is_exact_where_it_is_small() {
        let mean = expectation(&splits(5, 5, 5, 1.0), 10.0, 1.0);
        assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        let all = Seen::Beside {
            candidate: count(5, 5),
            stable: count(5, 0),
        };
        let ratio = all.ln_ratio(1e6, 1.0).unwrap().exp();
        assert!((ratio - 252.0).abs() < 0.1, "{ratio}");
    }

    #[test]
    fn the_sum_does_not_overflow() {
        let seen = Seen::Beside {
            candidate: count(3000, 2000),
            stable: count(30_000, 20_000),
        };
        let ln = seen.ln_ratio(1.0, 100.0).unwrap();
        assert!(ln.is_finite() && ln > 100.0, "{ln}");
    }

    #[test]
    fn more_work_than_allowed_says_nothing() {
        let seen = Seen::Beside {
            candidate: count(100_000, 5000),
            stable: count(100_000, 5000),
        };
        assert_eq!(seen.ln_ratio(1.0, 2.0), None);
        assert!(seen.ln_ratio(2.0, 1.0).is_some(), "the bound costs nothing");
    }

    #[test]
    fn against_a_promise_the_expectation_is_one() {
        let allowed = BadShare::new(0.05).unwrap();
        for (odds, null) in [(3.0, 1.0), (1.0, 2.0)] {
            let odds_null = null * 0.05 / 0.95;
            let p = odds_null / (1.0 + odds_null);
            let mean: f64 = (0..=30_u64)
                .map(|x| {
                    let seen = Seen::Against {
                        candidate: count(30, x),
                        allowed,
                    };
                    let ln_p = ln_choose(30, x) + x as f64 * f64::ln(p) + (30 - x) as f64 * f64::ln(1.0 - p);
                    (ln_p + seen.ln_ratio(odds, null).unwrap()).exp()
                })
                .sum();
            assert!((mean - 1.0).abs() < 1e-9, "{mean}");
        }
    }
}
