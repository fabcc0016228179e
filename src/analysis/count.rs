//! Requests and how many of them were bad, and the numbers that the judge is told.

use std::fmt;

use thiserror::Error;

/// Why a number is refused.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum OutOfRange {
    /// More bad requests than requests.
    #[error("{bad} of {requests} requests cannot be bad")]
    BadExceedsRequests {
        /// Requests that were told.
        requests: u64,
        /// Bad ones that were told.
        bad: u64,
    },
    /// Not a probability of error that could be promised.
    #[error("alpha is more than 0 and at most 0.5, not {0}")]
    Alpha(f64),
    /// Not a factor by which something can be worse.
    #[error("a factor is from 1 to {max}, not {0}", max = Factor::MAX)]
    Factor(f64),
    /// Not a share of requests that may be bad.
    #[error("a share is more than 0 and less than 1, not {0}")]
    BadShare(f64),
    /// Not a percentage with decimals, or one that allows nothing or everything to be bad.
    #[error("a percentage of good requests is a decimal number between 0 and 100, like \"99.9\", not {0:?}")]
    GoodPercent(String),
}

/// How many requests there were, and how many of them were bad: an error, or slower than the objective. There are never
/// more bad ones than requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    requests: u64,
    bad: u64,
}

impl Count {
    /// No request.
    pub const ZERO: Self = Self { requests: 0, bad: 0 };

    /// Fails where more requests are said to be bad than there were.
    pub fn new(requests: u64, bad: u64) -> Result<Self, OutOfRange> {
        match bad <= requests {
            true => Ok(Self { requests, bad }),
            false => Err(OutOfRange::BadExceedsRequests { requests, bad }),
        }
    }

    /// The requests, good and bad.
    pub fn requests(self) -> u64 {
        self.requests
    }

    /// The bad ones.
    pub fn bad(self) -> u64 {
        self.bad
    }

    /// The share of the bad ones, from 0 to 1; None where there was no request.
    pub fn bad_share(self) -> Option<f64> {
        (self.requests > 0).then(|| self.bad as f64 / self.requests as f64)
    }

    /// Both together. Beyond 2^64 requests it stays where it is.
    pub fn plus(self, other: Self) -> Self {
        let requests = self.requests.saturating_add(other.requests);
        Self {
            requests,
            bad: self.bad.saturating_add(other.bad).min(requests),
        }
    }

    /// What came since `earlier` was counted; None where that cannot be, because a number fell or because more bad
    /// requests came than requests: a counter began anew in between.
    pub fn since(self, earlier: Self) -> Option<Self> {
        let requests = self.requests.checked_sub(earlier.requests)?;
        let bad = self.bad.checked_sub(earlier.bad)?;
        Self::new(requests, bad).ok()
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.bad, self.requests)
    }
}

/// The probability with which a test may be wrong: more than 0, at most 0.5.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Alpha(f64);

impl Alpha {
    /// One rollout in a hundred.
    pub const DEFAULT: Self = Self(0.01);

    /// Fails outside of its range.
    pub fn new(alpha: f64) -> Result<Self, OutOfRange> {
        match alpha > 0.0 && alpha <= 0.5 {
            true => Ok(Self(alpha)),
            false => Err(OutOfRange::Alpha(alpha)),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// What each of several tests may use up so that all of them together keep to this (Bonferroni). A rollout with
    /// three objectives gives each of its judges a third.
    pub fn shared_among(self, tests: std::num::NonZeroU32) -> Self {
        Self(self.0 / f64::from(tests.get()))
    }
}

impl Default for Alpha {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// By how much the odds of a bad request are worse: from 1 (not at all) to [`Self::MAX`]. While few requests are bad,
/// the odds are worse by the factor by which the share of bad requests is larger.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Factor(f64);

impl Factor {
    /// No worse.
    pub const ONE: Self = Self(1.0);
    /// Twice as bad.
    pub const TWO: Self = Self(2.0);
    /// The largest one.
    pub const MAX: f64 = 100.0;

    /// Fails outside of its range.
    pub fn new(factor: f64) -> Result<Self, OutOfRange> {
        match (1.0..=Self::MAX).contains(&factor) {
            true => Ok(Self(factor)),
            false => Err(OutOfRange::Factor(factor)),
        }
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

/// The share of requests that an objective allows to be bad: more than 0, less than 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BadShare(f64);

impl BadShare {
    /// Fails outside of its range.
    pub fn new(share: f64) -> Result<Self, OutOfRange> {
        match share > 0.0 && share < 1.0 {
            true => Ok(Self(share)),
            false => Err(OutOfRange::BadShare(share)),
        }
    }

    /// From an objective's `goodPercent`, such as "99.9". Fails for what is not a decimal number between 0 and 100.
    pub fn from_good_percent(text: &str) -> Result<Self, OutOfRange> {
        let refused = || OutOfRange::GoodPercent(text.to_owned());
        // f64 also reads "inf", "nan" and "1e1", which nobody means here.
        if !text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
            return Err(refused());
        }
        let percent: f64 = text.parse().map_err(|_| refused())?;
        Self::new(1.0 - percent / 100.0).map_err(|_| refused())
    }

    /// The number.
    pub fn get(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_cannot_be_bad_than_there_were() {
        assert_eq!(Count::new(3, 3).unwrap().bad_share(), Some(1.0));
        assert!(Count::new(3, 4).is_err());
        assert_eq!(Count::ZERO.bad_share(), None);
    }

    #[test]
    fn a_difference_that_cannot_be_is_none() {
        let count = |requests, bad| Count::new(requests, bad).unwrap();
        assert_eq!(count(10, 2).since(count(7, 1)), Some(count(3, 1)));
        assert_eq!(count(6, 2).since(count(7, 1)), None, "requests fell");
        assert_eq!(count(10, 0).since(count(7, 1)), None, "bad ones fell");
        assert_eq!(
            count(8, 5).since(count(7, 1)),
            None,
            "four bad ones of one request"
        );
    }

    #[test]
    fn a_good_percentage_is_a_decimal_number() {
        let share = |text| BadShare::from_good_percent(text).map(BadShare::get);
        assert!((share("99.9").unwrap() - 0.001).abs() < 1e-12);
        for text in ["100", "0", "", "-1", "nan", "inf", "1e1", "99,9", "99.9 %"] {
            assert!(share(text).is_err(), "{text}");
        }
    }
}
