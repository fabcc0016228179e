//! What people are told, in the model: each notice that is sent is collected, whoever sent it.

use std::collections::BTreeMap;

use microservice_operator::rollout::{Delivery, DeliveryOutcome, delivery_key};

use super::world::World;

impl World {
    /// A delivery is begun. It arrives at once, unless the test says something else of its receiver.
    pub fn send(&mut self, delivery: &Delivery) {
        let outcome = self.receivers.get(&delivery.notification.name);
        let outcome = outcome.cloned().unwrap_or(DeliveryOutcome::Delivered);
        self.sent.push(delivery.clone());
        self.memory.deliveries.insert(delivery.key.clone(), outcome);
        self.trigger();
    }

    /// From now on a receiver answers so, also to what is under way.
    pub fn receiver(&mut self, name: &str, outcome: &DeliveryOutcome) {
        self.receivers.insert(name.to_owned(), outcome.clone());
        let suffix = format!("/{name}");
        for (_, known) in self
            .memory
            .deliveries
            .iter_mut()
            .filter(|(key, known)| key.ends_with(&suffix) && **known == DeliveryOutcome::Running)
        {
            *known = outcome.clone();
        }
        self.trigger();
    }

    /// As the controller room does it: what the status speaks of no more is forgotten.
    pub fn deliveries(&self) -> BTreeMap<String, DeliveryOutcome> {
        let waiting = self.status().notifications;
        let keys: Vec<String> = waiting
            .iter()
            .flat_map(|entry| {
                let names = entry.pending.iter().chain(&entry.sending);
                names.map(|name| delivery_key(&entry.id, name))
            })
            .collect();
        let known = self.memory.deliveries.iter();
        known
            .filter(|(key, _)| keys.contains(key))
            .map(|(key, outcome)| (key.clone(), outcome.clone()))
            .collect()
    }

    /// What was sent to a receiver: "Started b", in order.
    pub fn told(&self, name: &str) -> Vec<String> {
        let sent = self.sent.iter().filter(|sent| sent.notification.name == name);
        sent.map(|sent| {
            format!(
                "{} {}",
                sent.notice.event.name(),
                self.alias(&sent.notice.revision)
            )
        })
        .collect()
    }

    /// The reasons of events about notifications.
    pub fn complaints(&self) -> Vec<&str> {
        let reasons = self.events.iter().map(|event| event.reason.as_str());
        reasons
            .filter(|reason| reason.starts_with("Notification"))
            .collect()
    }
}
