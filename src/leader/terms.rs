//! How long a leadership lasts.

use std::time::Duration;

use thiserror::Error;

/// How long a leadership lasts, and how hard it is held on to. There are none that could overlap with the next leader's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    lease_seconds: i32,
    renew: Duration,
    retry: Duration,
}

/// Why there can be no such [`Terms`].
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TermsError {
    /// A leader would still act when the next one begins.
    #[error(
        "--lease-renew-deadline-seconds {renew} must be less than --lease-duration-seconds {lease}: a leader stops before \
         the next one may begin"
    )]
    Overlap {
        /// The deadline.
        renew: u32,
        /// The duration.
        lease: u32,
    },
    /// A leader would give up without a second try.
    #[error(
        "--lease-retry-seconds {retry} must be at least 1 and less than --lease-renew-deadline-seconds {renew}: one \
         failed renewal must not end a leadership"
    )]
    OneTry {
        /// The pause between tries.
        retry: u32,
        /// The deadline.
        renew: u32,
    },
    /// The field of the Lease is smaller.
    #[error("--lease-duration-seconds {0} is more than a Lease can say")]
    TooLong(u32),
}

impl Terms {
    /// A Lease that is good for `lease` seconds, whose leader stops after `renew` seconds without a renewal, and tries one
    /// every `retry` seconds.
    ///
    /// # Errors
    /// Where a leader would act for longer than its Lease holds, or try a renewal only once.
    pub fn new(lease: u32, renew: u32, retry: u32) -> Result<Self, TermsError> {
        if renew >= lease {
            return Err(TermsError::Overlap { renew, lease });
        }
        if retry == 0 || retry >= renew {
            return Err(TermsError::OneTry { retry, renew });
        }
        Ok(Self {
            lease_seconds: i32::try_from(lease).map_err(|_| TermsError::TooLong(lease))?,
            renew: Duration::from_secs(renew.into()),
            retry: Duration::from_secs(retry.into()),
        })
    }

    /// For how long others leave a Lease alone that they see no renewal of, as its field has it.
    pub fn lease_seconds(&self) -> i32 {
        self.lease_seconds
    }

    /// How long after its last renewal a leader stops.
    pub fn renew(&self) -> Duration {
        self.renew
    }

    /// The pause between two tries.
    pub fn retry(&self) -> Duration {
        self.retry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stops_before_the_next_may_begin_and_tries_twice() {
        assert!(Terms::new(15, 10, 2).is_ok());
        assert_eq!(
            Terms::new(10, 10, 2),
            Err(TermsError::Overlap { renew: 10, lease: 10 })
        );
        assert_eq!(
            Terms::new(15, 10, 10),
            Err(TermsError::OneTry { retry: 10, renew: 10 })
        );
        assert_eq!(
            Terms::new(15, 10, 0),
            Err(TermsError::OneTry { retry: 0, renew: 10 })
        );
        assert_eq!(Terms::new(u32::MAX, 10, 2), Err(TermsError::TooLong(u32::MAX)));
    }
}
