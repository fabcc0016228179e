//! Commands: which annotation says what is meant, and what the operator answered.
//!
//! A value names the revision, the trial and, for some, the step that the person saw, so that a command which comes too
//! late hits nothing.

use serde_json::{Value, json};

use super::reading::{self, Sight, Standing};
use crate::api::conditions::ConditionType;
use crate::api::{CommandOutcome, Microservice, RevisionStatus, RolloutState, RolloutStatus, annotations};

/// What a person may say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// End the wait of the present step.
    Promote,
    /// Skip the steps that are left.
    PromoteFull,
    /// Take the candidate back.
    Abort,
    /// Try again what was taken back.
    Retry,
    /// Let the rollout stand still.
    Pause,
    /// Let it go on.
    Resume,
    /// Make the pods anew.
    Restart,
    /// Make the revision as today's operator would.
    Refresh,
    /// Go back: to this revision, or to the one before.
    Rollback(Option<String>),
    /// Let nothing new go out, for this reason.
    Freeze(String),
    /// Let it go out again.
    Unfreeze,
    /// Let this revision or image go out without steps; the one that the spec asks for where none is named.
    Expedite(Option<String>),
}

/// How it is known that the operator has heard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Evidence {
    /// `status.commands` has the value under this verb.
    Noted(&'static str),
    /// It has this value no more.
    Forgotten { verb: &'static str, value: String },
    /// Another revision than this one is asked for, or a rollout with a higher number has begun.
    Begun { seq: i64 },
    /// The status says that a person paused it.
    Paused,
    /// The status says so no more.
    Resumed,
    /// The operator looks at it when something is to go out, and says nothing before.
    None(String),
}

/// A command that is ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The annotation.
    pub annotation: &'static str,
    /// Its value. None: it is taken away.
    pub value: Option<String>,
    uid: Option<String>,
    evidence: Evidence,
}

/// What is known of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The operator has not answered; what the service does meanwhile.
    Awaited(String),
    /// It was carried out, or is from now on.
    Heard(String),
    /// The operator had nothing that it could mean.
    Ignored(String),
}

/// The order that a verb stands for as the service is now.
///
/// # Errors
/// With a sentence that says why it would mean nothing, and what to do.
pub fn order(service: &Microservice, verb: &Verb) -> Result<Order, String> {
    let name = reading::name(service);
    let make = |annotation, value: Option<String>, evidence| Order {
        annotation,
        value,
        uid: service.metadata.uid.clone(),
        evidence,
    };
    let annotated = |key: &str| {
        let all = service.metadata.annotations.as_ref();
        all.is_some_and(|all| all.contains_key(key))
    };
    match verb {
        Verb::Promote => {
            let (rollout, candidate) = under_way(service, "promote")?;
            let step = match (rollout.state, rollout.step) {
                (RolloutState::Rolling, Some(step)) => step,
                _ => {
                    return Err(format!(
                        "{name}: {candidate} is in no step that could be ended ({:?}): look with kubectl microservice why {name}",
                        rollout.state
                    ));
                }
            };
            let whole = format!("{candidate}/{}/{step}", rollout.trial);
            // A step that ends by a person and whose weight is coarse has a word of its own for its beginning: the status
            // says which one it waits for.
            let value = rollout.promote.clone().unwrap_or(whole);
            Ok(make(
                annotations::PROMOTE,
                Some(value),
                Evidence::Noted("promote"),
            ))
        }
        Verb::PromoteFull => {
            let (rollout, candidate) = under_way(service, "promote")?;
            if rollout.state != RolloutState::Rolling {
                return Err(format!(
                    "{name}: {candidate} has passed all steps already ({:?}): there is nothing left to skip",
                    rollout.state
                ));
            }
            let value = format!("{candidate}/{}", rollout.trial);
            Ok(make(
                annotations::PROMOTE_FULL,
                Some(value),
                Evidence::Noted("promote-full"),
            ))
        }
        Verb::Abort => {
            let (rollout, candidate) = under_way(service, "abort")?;
            let value = format!("{candidate}/{}", rollout.trial);
            Ok(make(annotations::ABORT, Some(value), Evidence::Noted("abort")))
        }
        Verb::Retry => {
            let held = match reading::standing(service) {
                Standing::Held(rollout, held) => Some((rollout, held)),
                Standing::Starting(rollout) => first_that_failed(service, rollout),
                Standing::UnderWay(..)
                | Standing::Returning(_)
                | Standing::Settled(_)
                | Standing::Unknown => None,
            };
            let (rollout, revision) = held.ok_or_else(|| {
                format!(
                    "{name}: nothing was taken back that could be tried again: {}",
                    going_on(service)
                )
            })?;
            let value = format!("{revision}/{}", rollout.trial);
            Ok(make(annotations::RETRY, Some(value), Evidence::Noted("retry")))
        }
        Verb::Pause => {
            let (rollout, candidate) = under_way(service, "pause")?;
            let value = format!("{candidate}/{}", rollout.trial);
            Ok(make(annotations::PAUSE, Some(value), Evidence::Paused))
        }
        Verb::Resume if annotated(annotations::PAUSE) => {
            Ok(make(annotations::PAUSE, None, Evidence::Resumed))
        }
        Verb::Resume => Err(format!(
            "{name} is not paused by a person: {}; a step that waits ends with kubectl microservice promote {name}",
            going_on(service)
        )),
        Verb::Restart | Verb::Refresh => {
            let (seq, revision) = asked_for(service)?;
            let annotation = if *verb == Verb::Restart {
                annotations::RESTART
            } else {
                annotations::REFRESH
            };
            Ok(make(
                annotation,
                Some(revision.to_owned()),
                Evidence::Begun { seq },
            ))
        }
        Verb::Rollback(to) => {
            let value = rollback(service, to.as_deref())?;
            Ok(make(
                annotations::ROLLBACK,
                Some(value),
                Evidence::Noted("rollback"),
            ))
        }
        Verb::Freeze(reason) => {
            let then = format!(
                "frozen: nothing new goes out until kubectl microservice unfreeze {name}; what is under way goes on"
            );
            Ok(make(
                annotations::FREEZE,
                Some(reason.clone()),
                Evidence::None(then),
            ))
        }
        Verb::Unfreeze if annotated(annotations::FREEZE) => {
            let then = "not frozen any more: what the spec asks for goes out".to_owned();
            Ok(make(annotations::FREEZE, None, Evidence::None(then)))
        }
        Verb::Unfreeze => Err(format!("{name} is not frozen")),
        Verb::Expedite(what) => {
            let what = expedited(service, what.as_deref())?;
            let then = format!(
                "{what} goes out without steps and queue as long as the annotation {} is there",
                annotations::EXPEDITE
            );
            Ok(make(annotations::EXPEDITE, Some(what), Evidence::None(then)))
        }
    }
}

fn under_way<'a>(service: &'a Microservice, verb: &str) -> Result<(&'a RolloutStatus, &'a str), String> {
    match reading::standing(service) {
        Standing::UnderWay(rollout, candidate) => Ok((rollout, candidate)),
        Standing::Unknown
        | Standing::Starting(_)
        | Standing::Settled(_)
        | Standing::Held(..)
        | Standing::Returning(_) => Err(format!(
            "{}: there is no rollout to {verb}: {}",
            reading::name(service),
            going_on(service)
        )),
    }
}

fn going_on(service: &Microservice) -> String {
    reading::status(service)
        .message
        .unwrap_or_else(|| "no operator has seen it yet".to_owned())
}

/// The revision that the spec asks for, and the number of the last rollout.
fn asked_for(service: &Microservice) -> Result<(i64, &str), String> {
    let (rollout, revision) = match reading::standing(service) {
        Standing::Held(rollout, held) => (rollout, Some(held)),
        Standing::UnderWay(rollout, candidate) => (rollout, Some(candidate)),
        Standing::Starting(rollout) => (rollout, rollout.candidate.as_deref()),
        Standing::Settled(_) if reading::is_pending(service) => {
            return Err(format!(
                "{}: what the spec asks for has not gone out yet, and brings new pods when it does: {}",
                reading::name(service),
                going_on(service)
            ));
        }
        Standing::Settled(rollout) => (rollout, rollout.stable.as_deref()),
        Standing::Returning(_) => {
            return Err(format!(
                "{}: traffic is on its way back, say it again when that is done: {}",
                reading::name(service),
                going_on(service)
            ));
        }
        Standing::Unknown => return Err(format!("{}: {}", reading::name(service), going_on(service))),
    };
    let revision = revision.ok_or_else(|| format!("{}: there is no revision yet", reading::name(service)))?;
    Ok((rollout.seq, revision))
}

fn rollback(service: &Microservice, to: Option<&str>) -> Result<String, String> {
    let name = reading::name(service);
    let status = reading::status(service);
    let (from, before) = match reading::standing(service) {
        Standing::UnderWay(rollout, candidate) => (candidate, rollout.stable.clone()),
        Standing::Settled(rollout) | Standing::Held(rollout, _) => {
            let stable = rollout.stable.as_deref().unwrap_or_default();
            let known = |name: &String| status.revisions.iter().any(|r| r.name == *name);
            let promoted = status.history.iter().filter(|entry| entry.outcome == "Promoted");
            let mut last = promoted.map(|entry| entry.revision.clone());
            let before = rollout
                .previous
                .clone()
                .or_else(|| last.find(|revision| revision != stable && known(revision)));
            (stable, before)
        }
        Standing::Unknown | Standing::Starting(_) | Standing::Returning(_) => {
            return Err(format!(
                "{name}: there is nothing to go back from: {}",
                going_on(service)
            ));
        }
    };
    let to = match to {
        Some(to) => named(service, to)?,
        None => before.ok_or_else(|| {
            format!("{name}: there is no revision before {from} to go back to: kubectl microservice history {name}")
        })?,
    };
    if to == from {
        return Err(format!("{name}: {to} is what serves now"));
    }
    Ok(format!("{from}/{to}"))
}

/// The first revision, where a Job before its pods failed: there is nothing to go back to, and it can be tried again.
fn first_that_failed<'a>(
    service: &Microservice,
    rollout: &'a RolloutStatus,
) -> Option<(&'a RolloutStatus, &'a str)> {
    let status = reading::status(service);
    let stalled = reading::condition(&status, ConditionType::Stalled)?;
    let failed = stalled.status == "True" && stalled.reason == "PreDeployFailed";
    failed.then_some((rollout, rollout.candidate.as_deref()?))
}

/// What is to go out without steps: a revision, or the image that the spec asks for.
fn expedited(service: &Microservice, what: Option<&str>) -> Result<String, String> {
    let name = reading::name(service);
    let asked = &service.spec.revision.image;
    let what = what.unwrap_or(asked);
    let revision = reading::status(service)
        .revisions
        .into_iter()
        .find(|revision| is_meant(name, revision, what));
    let Some(revision) = revision else {
        if what != asked {
            return Err(if what.starts_with(&format!("{name}-")) {
                gone(name, what)
            } else {
                format!(
                    "{name}: the spec asks for {asked} and not for {what}: kubectl microservice set image {name} {what} comes first"
                )
            });
        }
        return if to_go_out(service) {
            Ok(what.to_owned())
        } else {
            Err(format!("{name}: nothing is to go out: {}", going_on(service)))
        };
    };
    let goes_out = match reading::standing(service) {
        Standing::UnderWay(_, candidate) | Standing::Held(_, candidate) => candidate == revision.name,
        Standing::Settled(rollout) => {
            rollout.stable.as_ref() != Some(&revision.name) && to_go_out(service) && revision.image == *asked
        }
        Standing::Returning(_) | Standing::Starting(_) | Standing::Unknown => to_go_out(service),
    };
    if goes_out {
        Ok(revision.name)
    } else {
        Err(format!(
            "{name}: {} is not what is to go out: {}",
            revision.name,
            going_on(service)
        ))
    }
}

/// Whether anything that the spec asks for has yet to carry all traffic, as far as the status can tell.
fn to_go_out(service: &Microservice) -> bool {
    if reading::sight(service) != Sight::Current {
        return true;
    }
    match reading::standing(service) {
        Standing::UnderWay(..) | Standing::Held(..) | Standing::Returning(_) | Standing::Unknown => true,
        Standing::Settled(_) => reading::is_pending(service),
        // The first revision has no steps, and nothing that it could hurt.
        Standing::Starting(_) => false,
    }
}

/// Whether a person means this revision: by its name, or the end of it.
fn is_meant(service: &str, revision: &RevisionStatus, what: &str) -> bool {
    revision.name == what || revision.name == format!("{service}-{what}")
}

/// The revision that a person means.
fn named(service: &Microservice, to: &str) -> Result<String, String> {
    let name = reading::name(service);
    let mut revisions = reading::status(service).revisions.into_iter();
    revisions
        .find(|revision| is_meant(name, revision, to))
        .map(|revision| revision.name)
        .ok_or_else(|| gone(name, to))
}

fn gone(name: &str, revision: &str) -> String {
    format!(
        "{name}: there is no revision {revision} any more: kubectl microservice history {name} shows those there are"
    )
}

/// What the status says of a command.
fn noted(service: &Microservice, verb: &str, value: &str) -> Option<CommandOutcome> {
    let commands = service.status.as_ref()?.commands.iter();
    let mut same = commands.filter(|command| command.verb == verb && command.value == value);
    same.next()
        .map(|command| command.outcome.unwrap_or(CommandOutcome::Done))
}

impl Order {
    /// What has to be said first where just this was said before: the operator acts on a value once, and forgets that when
    /// the annotation is gone.
    pub fn withdrawal(&self, service: &Microservice) -> Option<Self> {
        let (Evidence::Noted(verb), Some(value)) = (&self.evidence, &self.value) else {
            return None;
        };
        noted(service, verb, value)?;
        Some(Self {
            annotation: self.annotation,
            value: None,
            uid: self.uid.clone(),
            evidence: Evidence::Forgotten {
                verb,
                value: value.clone(),
            },
        })
    }

    /// The merge patch that says it. With the uid, so that a service of the same name that was made anew meanwhile is not
    /// meant.
    pub fn patch(&self) -> Value {
        let mut metadata = json!({"annotations": {self.annotation: self.value}});
        if let Some(uid) = &self.uid {
            metadata["uid"] = json!(uid);
        }
        json!({"metadata": metadata})
    }

    /// The order in words.
    pub fn words(&self) -> String {
        let verb = self.annotation.rsplit('/').next().unwrap_or_default();
        match &self.value {
            Some(value) => format!("{verb} {value}"),
            None => format!("no {verb}"),
        }
    }

    /// What the operator has answered, as of `service`.
    pub fn answer(&self, service: &Microservice) -> Answer {
        let going_on = going_on(service);
        let value = self.value.as_deref().unwrap_or_default();
        let heard = |is: bool| {
            if is {
                Answer::Heard(going_on.clone())
            } else {
                Answer::Awaited(going_on.clone())
            }
        };
        let paused = going_on.contains(annotations::PAUSE);
        match &self.evidence {
            Evidence::Noted(verb) => match noted(service, verb, value) {
                Some(CommandOutcome::Ignored) => Answer::Ignored(going_on),
                outcome => heard(outcome.is_some()),
            },
            Evidence::Forgotten { verb, value } => heard(noted(service, verb, value).is_none()),
            Evidence::Begun { seq } => {
                let status = reading::status(service);
                let began = status.rollout.as_ref().is_some_and(|rollout| rollout.seq > *seq);
                heard(began || reading::is_pending(service))
            }
            Evidence::Paused => heard(paused),
            Evidence::Resumed => heard(!paused),
            Evidence::None(then) => Answer::Heard(then.clone()),
        }
    }
}
