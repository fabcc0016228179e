//! What people are still to be told.
//!
//! A notice is written to the status together with what it tells, so that no crash loses it. Before a chat is told, its
//! name moves from `pending` to `sending`, in a write of its own unless there is one anyway; only then it is sent. So
//! another process that finds `sending` knows that it may have been sent, and sends nothing. Where a repetition changes
//! nothing (Alertmanager) there is no such write. A receiver is told one thing after the other.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::draft::{Draft, Durable};
use super::plan::EventKind;
use super::state::{Course, State};
use super::stepping;
use crate::api::{MicroserviceStatus, Notification, NotificationEvent, NotificationStatus};
use crate::notify::{Channel, ChannelKind, Notice, Repetition};

/// The most notices that wait.
const MOST: usize = 10;
/// The most bytes of what a notice says.
const MESSAGE_BYTES: usize = 256;

/// Something to tell that was decided just now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What happened.
    pub event: NotificationEvent,
    /// To which revision.
    pub revision: String,
    /// The revision that the service rests on after it.
    pub stable: Option<String>,
    /// What there is to say.
    pub message: String,
    /// The rollout that it happened in.
    pub seq: i64,
    /// The trial that it happened in.
    pub trial: i32,
    /// The step that waits.
    pub step: Option<i32>,
}

impl Told {
    fn id(&self) -> String {
        let event = self.event.name();
        let step = self.step.map(|step| format!("/{step}")).unwrap_or_default();
        format!("{}/{}/{}/{event}{step}", self.seq, self.trial, self.revision)
    }
}

/// One receiver that is to be told one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    /// Identifies it within the service: the notice and the receiver.
    pub key: String,
    /// The receiver.
    pub notification: Notification,
    /// The notice.
    pub notice: Notice,
}

/// How a delivery stands that this process has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// It is under way, or between two tries.
    Running,
    /// It arrived.
    Delivered,
    /// It did not, or that is not known: why, in one line without secrets.
    Failed(String),
}

/// A receiver that was not told, other than by a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Untold {
    /// Another process was sending it: whether it arrived is not known.
    Lost,
    /// Too many notices waited.
    Dropped,
}

/// Deliveries that may begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// As soon as the status that says so is durable.
    pub claimed: Vec<Delivery>,
    /// Now.
    pub free: Vec<Delivery>,
    /// Receivers that will not be told, by kind.
    pub untold: Vec<(ChannelKind, Untold)>,
}

/// The key of a delivery.
pub fn delivery_key(id: &str, name: &str) -> String {
    format!("{id}/{name}")
}

/// Notes that a person is waited for, or that nothing can be done, when that is first so. `waiting`: the sentence where
/// one is waited for; `failed`: the sentence where nothing can be done.
pub fn note(draft: &mut Draft<'_>, waiting: Option<&str>, failed: Option<&str>) {
    if let Some(message) = waiting {
        note_waiting(draft, message);
    }
    if let Some(message) = failed {
        note_failed(draft, message);
    }
}

fn note_waiting(draft: &mut Draft<'_>, message: &str) {
    let State::Rolling(change) = &draft.situation.state else {
        return;
    };
    let Course::Steps(position) = &change.course else {
        return;
    };
    if draft.paused()
        || position.waiting_since.is_some()
        || !stepping::waits_for_person(draft, change, position)
    {
        return;
    }
    let (revision, stable, step) = (
        change.candidate.clone(),
        change.stable.clone(),
        stepping::number(change),
    );
    let now = draft.now;
    if let Some(position) = draft.situation.state.position_mut() {
        position.waiting_since = Some(now);
    }
    draft.tell(
        NotificationEvent::Waiting,
        &revision,
        Some(&stable),
        step,
        message.to_owned(),
    );
}

fn note_failed(draft: &mut Draft<'_>, message: &str) {
    let (revision, stable) = match &draft.situation.state {
        State::Fresh | State::Steady { .. } => return,
        State::Starting { candidate, .. } => (candidate.clone(), None),
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => {
            (change.candidate.clone(), Some(change.stable.clone()))
        }
        State::Returning(back) => (back.candidate.clone(), Some(back.stable.clone())),
    };
    if draft.situation.failed_at.is_some() {
        return;
    }
    draft.situation.failed_at = Some(draft.now);
    draft.tell(
        NotificationEvent::Failed,
        &revision,
        stable.as_deref(),
        None,
        message.to_owned(),
    );
}

/// The notices that wait after this plan, and what may begin.
pub fn outbox(draft: &mut Draft<'_>, before: &MicroserviceStatus) -> Vec<NotificationStatus> {
    if before.notifications.is_empty() && draft.told.is_empty() {
        return Vec::new();
    }
    let mut busy = BTreeSet::new();
    let mut left: Vec<NotificationStatus> = before
        .notifications
        .iter()
        .map(|entry| moved_on(draft, before, entry, &mut busy))
        .filter(|entry| !entry.pending.is_empty() || !entry.sending.is_empty())
        .collect();
    for told in std::mem::take(&mut draft.told) {
        let id = told.id();
        let pending: Vec<String> = draft
            .observed
            .spec()
            .operation
            .notifications
            .iter()
            .filter(|notification| notification.tells(told.event))
            .map(|notification| notification.name.clone())
            .collect();
        let known = left
            .iter()
            .chain(&before.notifications)
            .any(|entry| entry.id == id);
        if pending.is_empty() || known {
            continue;
        }
        left.push(NotificationStatus {
            id,
            event: told.event,
            revision: told.revision,
            stable: told.stable,
            message: super::status::cut(&told.message, MESSAGE_BYTES),
            at: Time(draft.now),
            pending,
            sending: Vec::new(),
        });
        // At once, and then another look: nothing else may happen that would lead to one.
        draft.durable = Durable::Always;
    }
    while left.len() > MOST {
        let dropped = left.remove(0);
        for name in dropped.pending.iter().chain(&dropped.sending) {
            let note = format!(
                "{name} is not told that {} {}: {MOST} later notices wait",
                dropped.revision,
                verb(dropped.event)
            );
            give_up(draft, name, Untold::Dropped, note);
        }
    }
    left
}

/// What has become of a notice.
fn moved_on(
    draft: &mut Draft<'_>,
    before: &MicroserviceStatus,
    entry: &NotificationStatus,
    busy: &mut BTreeSet<String>,
) -> NotificationStatus {
    let mut next = NotificationStatus {
        pending: Vec::new(),
        sending: Vec::new(),
        ..entry.clone()
    };
    for name in &entry.sending {
        match draft
            .observed
            .deliveries
            .get(&delivery_key(&entry.id, name))
            .cloned()
        {
            Some(DeliveryOutcome::Running) => {
                busy.insert(name.clone());
                next.sending.push(name.clone());
            }
            Some(DeliveryOutcome::Delivered) => {}
            Some(DeliveryOutcome::Failed(words)) => failed(draft, entry, name, &words),
            None => {
                let note = format!(
                    "{name} may not have been told that {} {}: another process was at it, and it is not sent again",
                    entry.revision,
                    verb(entry.event)
                );
                give_up(draft, name, Untold::Lost, note);
            }
        }
    }
    for name in &entry.pending {
        let key = delivery_key(&entry.id, name);
        let outcome = draft.observed.deliveries.get(&key).cloned();
        match outcome {
            Some(DeliveryOutcome::Running) => {
                busy.insert(name.clone());
                next.pending.push(name.clone());
            }
            Some(DeliveryOutcome::Delivered) => {}
            Some(DeliveryOutcome::Failed(words)) => failed(draft, entry, name, &words),
            None => {
                // Who is not in the spec any more is told nothing.
                let Some((notification, kind)) = receiver(draft, name) else {
                    continue;
                };
                if !busy.insert(name.clone()) {
                    next.pending.push(name.clone());
                    continue;
                }
                let delivery = Delivery {
                    key,
                    notification,
                    notice: notice(draft, before, entry),
                };
                match kind.repetition() {
                    Repetition::Nothing => {
                        next.pending.push(name.clone());
                        draft.outbox.free.push(delivery);
                    }
                    Repetition::Seen | Repetition::Recognised => {
                        next.sending.push(name.clone());
                        draft.outbox.claimed.push(delivery);
                    }
                }
            }
        }
    }
    next
}

fn receiver(draft: &Draft<'_>, name: &str) -> Option<(Notification, ChannelKind)> {
    let all = &draft.observed.spec().operation.notifications;
    let found = all.iter().find(|notification| notification.name == name)?;
    Some((found.clone(), Channel::of(found)?.kind()))
}

fn notice(draft: &Draft<'_>, before: &MicroserviceStatus, entry: &NotificationStatus) -> Notice {
    let observed = draft.observed;
    Notice {
        service: observed.name().to_owned(),
        namespace: observed.namespace().to_owned(),
        uid: observed.uid().to_owned(),
        id: entry.id.clone(),
        event: entry.event,
        revision: entry.revision.clone(),
        stable: entry.stable.clone().unwrap_or_default(),
        image: draft
            .records
            .get(&entry.revision)
            .map(|record| record.image().to_owned())
            .unwrap_or_default(),
        url: before.urls.first().cloned().unwrap_or_default(),
        message: entry.message.clone(),
        at: entry.at.0,
    }
}

fn failed(draft: &mut Draft<'_>, entry: &NotificationStatus, name: &str, words: &str) {
    let note = format!(
        "{name} was not told that {} {}: {words}",
        entry.revision,
        verb(entry.event)
    );
    draft.event(EventKind::Warning, "NotificationFailed", note);
    draft.durable = Durable::Always;
}

fn give_up(draft: &mut Draft<'_>, name: &str, untold: Untold, note: String) {
    let reason = match untold {
        Untold::Lost => "NotificationLost",
        Untold::Dropped => "NotificationDropped",
    };
    if let Some((_, kind)) = receiver(draft, name) {
        draft.outbox.untold.push((kind, untold));
    }
    draft.event(EventKind::Warning, reason, note);
    draft.durable = Durable::Always;
}

fn verb(event: NotificationEvent) -> &'static str {
    match event {
        NotificationEvent::Started => "goes out",
        NotificationEvent::Waiting => "waits for a person",
        NotificationEvent::RolledBack => "was taken back",
        NotificationEvent::Promoted => "was promoted",
        NotificationEvent::Failed => "failed",
    }
}
