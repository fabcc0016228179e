//! What must have happened before the operator is ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// What is waited for until all gates are there.
const START: &str = "start";

/// The gates that must be open, one a required cache. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Readiness {
    gates: Arc<Mutex<Vec<(&'static str, Gate)>>>,
    /// Open when all gates are there: a process that has not got so far yet lacks none of them, and is not ready.
    complete: Gate,
}

impl Readiness {
    /// Without gates, and not complete: not ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that all gates have been added.
    pub fn completed(&self) {
        self.complete.open();
    }

    /// Adds a gate, closed.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate::default();
        self.lock().push((name, gate.clone()));
        gate
    }

    /// The names of the closed gates in the order in which they were added. Empty: ready.
    pub fn missing(&self) -> Vec<&'static str> {
        let start = (START, self.complete.clone());
        let gates = self.lock();
        std::iter::once(&start)
            .chain(gates.iter())
            .filter(|(_, gate)| !gate.is_open())
            .map(|(name, _)| *name)
            .collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, Gate)>> {
        // A list of flags is whole after every step, so a panic elsewhere has not left it half-made.
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A gate of [`Readiness`]. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<AtomicBool>);

impl Gate {
    /// Opens it.
    pub fn open(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Closes it again, as when the process shuts down.
    pub fn close(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_ready_when_every_gate_is_open() {
        let readiness = Readiness::new();
        assert_eq!(readiness.missing(), ["start"]);
        let pods = readiness.gate("pods");
        let shared = readiness.clone();
        let services = shared.gate("microservices");
        assert_eq!(readiness.missing(), ["start", "pods", "microservices"]);
        shared.completed();
        assert_eq!(readiness.missing(), ["pods", "microservices"]);
        let same = pods.clone();
        same.open();
        assert_eq!(shared.missing(), ["microservices"]);
        services.open();
        assert!(readiness.missing().is_empty());
        pods.close();
        assert_eq!(readiness.missing(), ["pods"]);
    }
}
