//! The pause before a service that met an error is tried again: 1 s, doubling to 5 min, with jitter. Pure.

use std::collections::HashMap;
use std::time::Duration;

use super::cache::ServiceKey;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(300);

/// How often each service has failed in a row, and for which generation.
#[derive(Debug, Default)]
pub struct Backoff {
    failures: HashMap<ServiceKey, (i64, u32)>,
}

impl Backoff {
    /// Notes a failure and answers the pause. A new generation starts anew. `jitter` is from 0 to 1.
    pub fn failed(&mut self, service: &ServiceKey, generation: i64, jitter: f64) -> Duration {
        let (seen, count) = self.failures.entry(service.clone()).or_insert((generation, 0));
        if *seen != generation {
            (*seen, *count) = (generation, 0);
        }
        let pause = FIRST.saturating_mul(1 << (*count).min(16)).min(LONGEST);
        *count = count.saturating_add(1);
        // Half of it is certain, half by chance, so that services that failed together do not return together.
        pause.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }

    /// Notes a success.
    pub fn succeeded(&mut self, service: &ServiceKey) {
        self.failures.remove(service);
    }

    /// How many services are waiting for another try.
    pub fn len(&self) -> usize {
        self.failures.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_starts_anew() {
        let service = ServiceKey {
            namespace: "a".into(),
            name: "b".into(),
        };
        let mut backoff = Backoff::default();
        let pauses: Vec<u64> = (0..11)
            .map(|_| backoff.failed(&service, 1, 1.0).as_secs())
            .collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.failed(&service, 2, 1.0), Duration::from_secs(1));
        backoff.succeeded(&service);
        assert_eq!(backoff.failed(&service, 2, 0.0), Duration::from_millis(500));
    }
}
