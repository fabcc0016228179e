//! The work queue as data: which services are to be looked at, which are being looked at, and which were touched again
//! meanwhile. One service is never worked on twice at a time, and no trigger is lost. Pure.

use std::collections::{HashSet, VecDeque};

use super::cache::ServiceKey;

/// What is to be worked on.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: VecDeque<ServiceKey>,
    queued: HashSet<ServiceKey>,
    running: HashSet<ServiceKey>,
    again: HashSet<ServiceKey>,
}

impl Queue {
    /// Something happened to a service.
    pub fn touch(&mut self, service: ServiceKey) {
        if self.running.contains(&service) {
            self.again.insert(service);
        } else if self.queued.insert(service.clone()) {
            self.waiting.push_back(service);
        }
    }

    /// The next service to work on, if fewer than `most` are being worked on.
    pub fn start(&mut self, most: usize) -> Option<ServiceKey> {
        if self.running.len() >= most {
            return None;
        }
        let service = self.waiting.pop_front()?;
        self.queued.remove(&service);
        self.running.insert(service.clone());
        Some(service)
    }

    /// Work on a service has ended; where it was touched meanwhile it waits again.
    pub fn finish(&mut self, service: &ServiceKey) {
        self.running.remove(service);
        if self.again.remove(service) {
            self.touch(service.clone());
        }
    }

    /// How many services wait.
    pub fn depth(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "ns".into(),
            name: name.into(),
        }
    }

    #[test]
    fn one_service_is_never_worked_on_twice_and_no_trigger_is_lost() {
        let mut queue = Queue::default();
        queue.touch(key("a"));
        queue.touch(key("a"));
        queue.touch(key("b"));
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.start(2), Some(key("a")));
        queue.touch(key("a"));
        assert_eq!(queue.start(2), Some(key("b")));
        assert_eq!(queue.start(2), None, "two are running");
        queue.finish(&key("a"));
        assert_eq!(queue.start(2), Some(key("a")), "it was touched while it ran");
        queue.finish(&key("a"));
        assert_eq!(queue.start(2), None);
    }
}
