//! The election: what one candidate knows of the Lease, and what it does next.
//!
//! Two rules keep two leaders from acting at the same time. A candidate takes a Lease only after it has itself seen, by
//! its own clock, no renewal for as long as the Lease is good for; what the Lease says about time was written by another
//! machine's clock and decides nothing. And a leader stops earlier than that, counted from when it *asked* for the last
//! renewal that was accepted. Every write names the resourceVersion that it is based on, so that of two candidates who
//! see the same free Lease one is refused.
//!
//! Times are durations since some moment of this process, by a clock that never goes back.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};

use super::Terms;

/// How long a released Lease is good for: it has no holder, so this only keeps the object valid.
const RELEASED_SECONDS: i32 = 1;

/// Whether this process acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It does.
    Leader,
    /// It watches, and is ready to.
    Standby,
}

/// What a candidate does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Nothing until that time, unless the Lease changes.
    Wait(Duration),
    /// It reads the Lease.
    Look,
    /// It makes the Lease.
    Create(Box<Lease>),
    /// It replaces the Lease, which must be the one that is known.
    Replace(Box<Lease>),
    /// It was the leader for too long without a renewal: it stops.
    StepDown,
}

/// Why a read or a write brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setback {
    /// The Lease is not what was known.
    Conflict,
    /// There is no answer, or a refusal.
    Failure,
}

/// One candidate.
#[derive(Clone, Debug)]
pub struct Election {
    name: String,
    identity: String,
    terms: Terms,
    known: Known,
    /// When the last renewal that was accepted was asked for, while this is the leader.
    leads_since: Option<Duration>,
    next_try: Duration,
}

/// What is known of the Lease.
#[derive(Clone, Debug)]
enum Known {
    Nothing,
    Absent,
    /// As it has been since then, as far as was seen here.
    Found {
        lease: Box<Lease>,
        since: Duration,
    },
}

impl Election {
    /// A candidate for the Lease `name`. `identity` must be no other process's, not even that of an earlier one of the same
    /// name: who finds itself as the holder does not wait.
    pub fn new(name: &str, identity: &str, terms: Terms) -> Self {
        Self {
            name: name.to_owned(),
            identity: identity.to_owned(),
            terms,
            known: Known::Nothing,
            leads_since: None,
            next_try: Duration::ZERO,
        }
    }

    /// Whether this process acts.
    pub fn standing(&self) -> Standing {
        match self.leads_since {
            Some(_) => Standing::Leader,
            None => Standing::Standby,
        }
    }

    /// Who holds the Lease, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        match &self.known {
            Known::Found { lease, .. } => holder(lease),
            Known::Nothing | Known::Absent => None,
        }
    }

    /// The time at which a leader stops, unless a renewal is accepted before.
    pub fn deadline(&self) -> Option<Duration> {
        self.leads_since.map(|renewed| renewed + self.terms.renew())
    }

    /// What to do at `now`. `wall` is what a clock on the wall says: it is written for people, and decides nothing.
    pub fn next(&self, now: Duration, wall: Timestamp) -> Next {
        if let Some(deadline) = self.deadline() {
            if now >= deadline {
                return Next::StepDown;
            }
            if now < self.next_try {
                return Next::Wait(self.next_try.min(deadline));
            }
        }
        let from = match &self.known {
            Known::Nothing | Known::Absent => Duration::ZERO,
            Known::Found { lease, since } => self.free_at(lease, *since),
        };
        let from = from.max(self.next_try);
        if now < from {
            return Next::Wait(from);
        }
        match &self.known {
            Known::Nothing => Next::Look,
            Known::Absent => Next::Create(Box::new(self.mine(None, wall))),
            Known::Found { lease, .. } => Next::Replace(Box::new(self.mine(Some(lease), wall))),
        }
    }

    /// The Lease was seen at `now`, or that there is none.
    pub fn saw(&mut self, lease: Option<Lease>, now: Duration) {
        let Some(lease) = lease else {
            self.known = Known::Absent;
            return;
        };
        if self.is_older(&lease) {
            return;
        }
        if holder(&lease) != Some(&self.identity) {
            // Somebody else took it, or a person took it away.
            self.leads_since = None;
        }
        let since = match &self.known {
            // Other fields, as labels, are no renewal.
            Known::Found { lease: known, since } if known.spec == lease.spec => *since,
            Known::Found { .. } | Known::Nothing | Known::Absent => now,
        };
        self.known = Known::Found {
            lease: Box::new(lease),
            since,
        };
    }

    /// What was to be written is accepted; it was asked for at `asked`.
    pub fn accepted(&mut self, lease: Lease, asked: Duration) {
        self.leads_since = (holder(&lease) == Some(&self.identity)).then_some(asked);
        self.known = Known::Found {
            lease: Box::new(lease),
            since: asked,
        };
        self.next_try = asked + self.terms.retry();
    }

    /// A read or a write brought nothing.
    pub fn failed(&mut self, setback: Setback, now: Duration) {
        match setback {
            Setback::Conflict => self.known = Known::Nothing,
            Setback::Failure => self.next_try = now + self.terms.retry(),
        }
    }

    /// The leader has stopped.
    pub fn stepped_down(&mut self) {
        self.leads_since = None;
    }

    /// The Lease without a holder, for a leader that goes: the next one need not wait.
    pub fn released(&self, wall: Timestamp) -> Option<Lease> {
        let Known::Found { lease, .. } = &self.known else {
            return None;
        };
        self.leads_since?;
        let mut released = Lease::clone(lease);
        let spec = released.spec.get_or_insert_default();
        spec.holder_identity = None;
        spec.lease_duration_seconds = Some(RELEASED_SECONDS);
        spec.acquire_time = Some(MicroTime(wall));
        spec.renew_time = Some(MicroTime(wall));
        Some(released)
    }

    /// The Lease with this process as its holder.
    fn mine(&self, known: Option<&Lease>, wall: Timestamp) -> Lease {
        let mut lease = known.cloned().unwrap_or_else(|| Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                ..ObjectMeta::default()
            },
            spec: None,
        });
        let held = holder(&lease) == Some(&self.identity);
        let before = lease.spec.take();
        let transitions = before.as_ref().and_then(|spec| spec.lease_transitions);
        let acquired = before.and_then(|spec| spec.acquire_time).filter(|_| held);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(self.terms.lease_seconds()),
            acquire_time: acquired.or(Some(MicroTime(wall))),
            renew_time: Some(MicroTime(wall)),
            lease_transitions: match (known, held) {
                (None, _) => Some(0),
                (Some(_), true) => transitions,
                (Some(_), false) => Some(transitions.unwrap_or_default().saturating_add(1)),
            },
            ..LeaseSpec::default()
        });
        lease
    }

    /// When this candidate may take a Lease that has been like this since then.
    fn free_at(&self, lease: &Lease, since: Duration) -> Duration {
        if holder(lease).is_none_or(|holder| holder == self.identity) {
            return Duration::ZERO;
        }
        let said = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds);
        let seconds = said.filter(|seconds| *seconds > 0);
        let seconds = seconds.unwrap_or_else(|| self.terms.lease_seconds());
        since + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
    }

    /// A watch may tell of what was before the last write.
    fn is_older(&self, lease: &Lease) -> bool {
        let Known::Found { lease: known, .. } = &self.known else {
            return false;
        };
        let version =
            |lease: &Lease| -> Option<u64> { lease.metadata.resource_version.as_ref()?.parse().ok() };
        match (version(lease), version(known)) {
            (Some(seen), Some(known)) => seen < known,
            (None, _) | (_, None) => false,
        }
    }
}

/// The holder of a Lease. An empty name is none.
fn holder(lease: &Lease) -> Option<&str> {
    let spec = lease.spec.as_ref()?;
    spec.holder_identity.as_deref().filter(|name| !name.is_empty())
}

#[cfg(test)]
#[path = "election_tests.rs"]
mod tests;
