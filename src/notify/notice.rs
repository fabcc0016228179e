//! Something to tell.

use jiff::Timestamp;
use serde::Serialize;

use crate::api::NotificationEvent;

/// Something to tell, whoever is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Notice {
    /// The name of the Microservice.
    pub service: String,
    /// Its namespace.
    pub namespace: String,
    /// Its uid: another one of its name says other things.
    pub uid: String,
    /// Tells it from every other notice of the service: rollout, trial, revision, event and step.
    pub id: String,
    /// What happened.
    pub event: NotificationEvent,
    /// The revision that it happened to.
    pub revision: String,
    /// The revision that the service rests on after it; empty where there is none.
    pub stable: String,
    /// The image of the revision; empty where that is not known.
    pub image: String,
    /// An address of the service; empty where it has none.
    pub url: String,
    /// What there is to say.
    pub message: String,
    /// When it happened.
    pub at: Timestamp,
}

impl Notice {
    /// What happened, in a few words.
    pub fn title(&self) -> String {
        let words = match self.event {
            NotificationEvent::Started => "a rollout has started",
            NotificationEvent::Waiting => "a rollout waits for a person",
            NotificationEvent::RolledBack => "rolled back",
            NotificationEvent::Promoted => "promoted",
            NotificationEvent::Failed => "a rollout has failed",
        };
        format!("{}/{}: {words}", self.namespace, self.service)
    }

    /// How it looks: a colour by its common name.
    pub fn colour(&self) -> Colour {
        match self.event {
            NotificationEvent::Started => Colour::Blue,
            NotificationEvent::Waiting => Colour::Orange,
            NotificationEvent::RolledBack | NotificationEvent::Failed => Colour::Red,
            NotificationEvent::Promoted => Colour::Green,
        }
    }
}

/// How a notice looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Something goes on.
    Blue,
    /// Somebody is waited for.
    Orange,
    /// Something went wrong.
    Red,
    /// All is well.
    Green,
}
