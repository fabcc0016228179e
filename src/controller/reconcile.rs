//! One look at one service: observe, plan, write, until nothing is left to do.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource};
use tokio::sync::{Semaphore, mpsc};

use super::cache::ServiceKey;
use super::call::Calls;
use super::delivery::Deliveries;
use super::entry::now;
use super::error::WriteError;
use super::execute::{execute, write_status};
use super::features::Features;
use super::measuring::Measurers;
use super::memory::Memory;
use super::observe::observe;
use super::request::bounded;
use super::run::SecretTracking;
use super::sampling::Samplers;
use super::slots::{Need, Slots};
use super::sources::Contents;
use super::streams::Caches;
use crate::rollout::{EventDraft, EventKind, Observed, Plan, Slot, Worth, plan};
use crate::telemetry::{Decision, Gauges, Gravity, Metrics, NotificationResult, RolloutOutcome};

/// The most rounds of one look: each follows from what the one before wrote.
const MOST_ROUNDS: usize = 12;

/// How long news that are only counts may wait: pods come one by one, and each of them is no reason for a write.
const COUNTS_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// What a look needs.
#[derive(Clone)]
pub struct Context {
    /// The client.
    pub client: Client,
    /// The caches.
    pub caches: Arc<Caches>,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// Contents of tracked sources.
    pub contents: Arc<Contents>,
    /// Who tells people.
    pub reporter: Reporter,
    /// Who counts.
    pub metrics: Arc<Metrics>,
    /// Bounds the writes in flight: beyond a few the API server gets slower, not faster.
    pub writes: Arc<Semaphore>,
    /// The calls over HTTP.
    pub calls: Arc<Calls>,
    /// Who tells people beyond the cluster.
    pub deliveries: Arc<Deliveries>,
    /// Who counts the requests of rollouts.
    pub samplers: Arc<Samplers>,
    /// Who measures the checks of rollouts.
    pub measurers: Arc<Measurers>,
    /// Whether Secrets may be read.
    pub secrets: SecretTracking,
    /// What Gateways can do.
    pub features: Arc<Features>,
    /// The places for rollouts.
    pub slots: Arc<Slots>,
    /// Who asks for another look at a service.
    pub triggers: mpsc::UnboundedSender<ServiceKey>,
}

impl Context {
    /// Ends what goes on beside the looks, and takes back what the metrics show: another process acts now.
    pub fn end(&self) {
        self.calls.end();
        self.deliveries.end();
        self.samplers.end();
        self.measurers.end();
        for (key, forgotten) in self.memory.forget_all() {
            show(self, &key, &forgotten.gauges, &Gauges::default());
        }
    }
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do until something happens, or until a time.
    Settled {
        /// That time.
        wake: Option<Duration>,
    },
    /// Something was refused or failed: to be tried again with back-off.
    Failed {
        /// The generation that it failed for: a newer one is tried without the pause of the older.
        generation: i64,
    },
    /// It panicked, which is a bug, and is tried again like a failure.
    Panicked,
    /// It does not exist any more.
    Gone,
}

/// Why a look is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Something happened.
    Trigger,
    /// The back-off is over: what was refused is tried again.
    Retry,
}

/// Looks at one service.
pub async fn reconcile(context: &Context, key: &ServiceKey, occasion: Occasion) -> Outcome {
    if occasion == Occasion::Retry {
        context.memory.change(key, |memory| {
            memory.failures.clear();
            memory.scale_failure = None;
        });
    }
    for _ in 0..MOST_ROUNDS {
        let now = now();
        let observed = match observe(context, key, now).await {
            Ok(Some(observed)) => observed,
            Ok(None) => {
                context.calls.forget_all(key);
                context.deliveries.forget_all(key);
                context.samplers.follow(key, None);
                context.measurers.follow(key, Vec::new());
                let forgotten = context.memory.forget(key);
                give_way(context, key, Need::Nothing);
                show(context, key, &forgotten.gauges, &Gauges::default());
                return Outcome::Gone;
            }
            Err(error) => {
                tracing::warn!(service = %key, error = %super::error::words(&error), "a tracked source, or what is to be adopted, cannot be read");
                wake(context, context.slots.pass_over(key));
                return Outcome::Failed {
                    generation: known_generation(context, key),
                };
            }
        };
        if observed.service.metadata.deletion_timestamp.is_some() {
            // Nothing will be decided by their outcome.
            context.calls.forget_all(key);
        }
        let (observed, plan) = plan_in_turn(context, key, observed, now);
        context.samplers.follow(key, plan.watch.clone());
        context.measurers.follow(key, plan.measures.clone());
        if plan.steps.is_empty() {
            return conclude(context, key, &observed, &plan, now).await;
        }
        let (checkpoint, writes) = plan.durable_first();
        if let Some(status) = checkpoint {
            match write_status(context, key, &observed, status).await {
                Ok(()) => {
                    log(key, &observed, &plan);
                    publish(context, &observed, &plan);
                    give_way(context, key, Need::of(status, observed.slot));
                }
                // The newer object is in the cache already: plan on it.
                Err(WriteError::Conflict) => continue,
                // Nothing may act on a decision that is not durable.
                Err(WriteError::Refused(_, message)) => {
                    tracing::warn!(service = %key, %message, "a decision cannot be written to the status; nothing is done about it yet");
                    if plan.begins_rollout() {
                        // It has not begun: others may.
                        give_way(context, key, Need::Nothing);
                    }
                    return Outcome::Failed {
                        generation: observed.generation(),
                    };
                }
            }
        } else {
            give_way(context, key, Need::of(&plan.status, observed.slot));
        }
        execute(context, key, &observed, writes).await;
    }
    tracing::warn!(service = %key, rounds = MOST_ROUNDS, "still not settled; going on after a pause");
    Outcome::Failed {
        generation: known_generation(context, key),
    }
}

/// Plans; where a rollout would begin and it is not its turn, plans to wait.
fn plan_in_turn(
    context: &Context,
    key: &ServiceKey,
    mut observed: Observed,
    now: Timestamp,
) -> (Observed, Plan) {
    let mut planned = plan(&observed, now);
    if planned.begins_rollout() {
        observed.slot = context.slots.take(key);
        if observed.slot != Slot::Free {
            planned = plan(&observed, now);
        }
    }
    match Need::of(&planned.status, observed.slot) {
        need @ (Need::Place | Need::Queue) => give_way(context, key, need),
        // Until this is stored the rollout is under way for whoever reads the status.
        Need::Nothing => {}
    }
    (observed, planned)
}

/// Notes what a service needs; others may have waited for it.
fn give_way(context: &Context, key: &ServiceKey, need: Need) {
    wake(context, context.slots.note(key, need));
}

/// Asks for another look at these.
fn wake(context: &Context, services: Vec<ServiceKey>) {
    for next in services {
        // The queue ends with the process only.
        let _ = context.triggers.send(next);
    }
}

/// Nothing is left to write but, perhaps, the status.
async fn conclude(
    context: &Context,
    key: &ServiceKey,
    observed: &Observed,
    plan: &Plan,
    now: Timestamp,
) -> Outcome {
    let (shown, gauges) = (context.memory.of(key).gauges, Gauges::of(&plan.status));
    if shown != gauges {
        show(context, key, &shown, &gauges);
        context.memory.change(key, |memory| memory.gauges = gauges);
    }
    let mut wake = plan.wake;
    let due = match (plan.worth, observed.last_status_write) {
        (Worth::Nothing, _) => false,
        (Worth::News, _) | (Worth::Counts, None) => true,
        (Worth::Counts, Some(last)) => {
            let at = last.checked_add(COUNTS_WAIT).unwrap_or(last);
            if at > now {
                wake = Some(wake.map_or(at, |other| other.min(at)));
            }
            at <= now
        }
    };
    if due {
        match write_status(context, key, observed, &plan.status).await {
            Ok(()) => {}
            // The newer object is in the cache already.
            Err(WriteError::Conflict) => {
                return Outcome::Settled {
                    wake: Some(Duration::ZERO),
                };
            }
            Err(WriteError::Refused(_, message)) => {
                tracing::warn!(service = %key, %message, "the status cannot be written");
                return Outcome::Failed {
                    generation: observed.generation(),
                };
            }
        }
    }
    give_way(context, key, Need::of(&plan.status, observed.slot));
    if observed.failures.is_empty() && observed.scale_failure.is_none() {
        let wait = |at: Timestamp| Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO);
        Outcome::Settled { wake: wake.map(wait) }
    } else {
        Outcome::Failed {
            generation: observed.generation(),
        }
    }
}

fn known_generation(context: &Context, key: &ServiceKey) -> i64 {
    let known = context.caches.services.get(&key.namespace, &key.name);
    known
        .and_then(|entry| entry.service.metadata.generation)
        .unwrap_or_default()
}

fn show(context: &Context, key: &ServiceKey, before: &Gauges, after: &Gauges) {
    let metrics = &context.metrics;
    metrics.service_changed(&key.namespace, &key.name, before, after);
}

/// One line for each decision.
fn log(key: &ServiceKey, observed: &Observed, plan: &Plan) {
    for edge in &plan.edges {
        Decision {
            namespace: &key.namespace,
            name: &key.name,
            generation: observed.generation(),
            revision: plan
                .status
                .rollout
                .as_ref()
                .and_then(|r| r.candidate.as_deref().or(r.stable.as_deref())),
            gravity: if edge.is_grave() {
                Gravity::Warning
            } else {
                Gravity::Normal
            },
            reason: edge.name(),
            message: plan.status.message.as_deref().unwrap_or_default(),
        }
        .log();
    }
}

/// Counts what was decided and tells people. No rollout waits for events: they are published beside it.
fn publish(context: &Context, observed: &Observed, plan: &Plan) {
    for (kind, untold) in &plan.untold {
        context.metrics.notified(*kind, NotificationResult::of(*untold));
    }
    for ended in &plan.ended {
        let took = ended.ended_at.as_ref().zip(ended.started_at.as_ref());
        let took = took.and_then(|(end, start)| Duration::try_from(end.0.duration_since(start.0)).ok());
        context
            .metrics
            .rollout_ended(RolloutOutcome::of(&ended.outcome), took);
    }
    for verdict in &plan.verdicts {
        context.metrics.judged(*verdict);
    }
    if let Some(cause) = plan.status.rollout.as_ref().and_then(|r| r.cause.as_ref())
        && plan.edges.iter().any(|edge| edge.is_grave())
    {
        context.metrics.rollback_began(cause);
    }
    if plan.events.is_empty() {
        return;
    }
    // One for each decision: a shared one would fold decisions of the same reason into one event with the first note.
    let recorder = Recorder::new(context.client.clone(), context.reporter.clone());
    let reference: ObjectReference = observed.service.object_ref(&());
    let events: Vec<Event> = plan.events.iter().map(event).collect();
    tokio::spawn(async move {
        for event in &events {
            if let Err(error) = bounded(recorder.publish(event, &reference)).await {
                tracing::warn!(reason = %event.reason, error = %super::error::words(&error), "an event could not be published");
            }
        }
    });
}

fn event(draft: &EventDraft) -> Event {
    Event {
        type_: match draft.kind {
            EventKind::Normal => EventType::Normal,
            EventKind::Warning => EventType::Warning,
        },
        reason: draft.reason.clone(),
        note: Some(draft.note.chars().take(1000).collect()),
        action: "Rollout".to_owned(),
        secondary: None,
    }
}
