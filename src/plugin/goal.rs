//! `wait`: when a pipeline may go on.

use std::str::FromStr;

use super::page::printable;
use super::reading::{self, Sight, Standing};
use crate::api::conditions::ConditionType;
use crate::api::{Microservice, MicroserviceStatus, Phase, RolloutState, annotations};

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// What the spec asks for is the stable revision.
    Promoted,
    /// The same, and it is healthy.
    Healthy,
    /// What the spec asks for was taken back, and the old revision serves.
    RolledBack,
    /// A person is waited for.
    Paused,
    /// This step is in force, or was.
    Step(i32),
}

impl FromStr for Goal {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "promoted" => Ok(Self::Promoted),
            "healthy" => Ok(Self::Healthy),
            "rolled-back" => Ok(Self::RolledBack),
            "paused" => Ok(Self::Paused),
            _ => {
                let number = text.strip_prefix("step=").and_then(|number| number.parse().ok());
                number
                    .filter(|number| *number >= 1)
                    .map(Self::Step)
                    .ok_or_else(|| {
                        "must be one of promoted, healthy, rolled-back, paused, or step=N with N from 1"
                            .to_owned()
                    })
            }
        }
    }
}

/// What a pipeline is told in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A goal is reached.
    Reached(String),
    /// It was rolled back, or is degraded.
    Failed(String),
    /// It is gone.
    Gone(String),
}

/// A wait: what it waits for, and what it has said.
#[derive(Clone, Debug)]
pub struct Wait {
    goals: Vec<Goal>,
    image: Option<String>,
    said: Option<String>,
}

/// What follows from a look at the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing new.
    Same,
    /// This is new; the wait goes on.
    Progress(String),
    /// It is over.
    End(Ending),
}

enum Outlook {
    Awaited(String),
    Over(Ending),
}

impl Wait {
    /// A wait for any of `goals`. With an image, nothing counts before the spec asks for it: for pipelines in which
    /// somebody else applies the manifest later.
    pub fn new(goals: Vec<Goal>, image: Option<String>) -> Self {
        Self {
            goals,
            image,
            said: None,
        }
    }

    /// The service as it is now; `None`: it is not there.
    pub fn see(&mut self, service: Option<&Microservice>) -> Look {
        let outlook = match service {
            Some(service) if service.metadata.deletion_timestamp.is_none() => self.outlook(service),
            Some(_) | None => Outlook::Over(Ending::Gone("it was deleted".to_owned())),
        };
        match outlook {
            Outlook::Over(ending) => Look::End(ending),
            Outlook::Awaited(words) => {
                let words = printable(&words);
                if self.said.as_ref() == Some(&words) {
                    return Look::Same;
                }
                self.said = Some(words.clone());
                Look::Progress(words)
            }
        }
    }

    /// What was said last.
    pub fn last_words(&self) -> &str {
        self.said.as_deref().unwrap_or("nothing is known of it yet")
    }

    fn outlook(&self, service: &Microservice) -> Outlook {
        let present = &service.spec.revision.image;
        if let Some(image) = &self.image
            && image != present
        {
            return Outlook::Awaited(format!("the spec asks for {present} still, and not for {image}"));
        }
        if let Sight::Behind(seen) = reading::sight(service) {
            return Outlook::Awaited(reading::unseen(service, seen));
        }
        if let Some(command) = unanswered(service) {
            return Outlook::Awaited(format!("the operator has not acted on {command} yet"));
        }
        let status = reading::status(service);
        let message = status.message.clone().unwrap_or_default();
        if let Some(goal) = self
            .goals
            .iter()
            .find(|goal| is_reached(**goal, service, &status))
        {
            return Outlook::Over(Ending::Reached(format!("{}: {message}", goal.words())));
        }
        if status.phase == Some(Phase::Degraded) {
            return Outlook::Over(Ending::Failed(message));
        }
        Outlook::Awaited(progress(service, &status))
    }
}

impl Goal {
    fn words(self) -> String {
        match self {
            Self::Promoted => "promoted".to_owned(),
            Self::Healthy => "healthy".to_owned(),
            Self::RolledBack => "rolled back".to_owned(),
            Self::Paused => "paused".to_owned(),
            Self::Step(number) => format!("step {number} was reached"),
        }
    }
}

/// Whether a condition that speaks of the present spec has this status.
fn holds(service: &Microservice, status: &MicroserviceStatus, type_: ConditionType, wanted: &str) -> bool {
    reading::condition(status, type_).is_some_and(|condition| {
        condition.status == wanted && condition.observed_generation == service.metadata.generation
    })
}

fn is_reached(goal: Goal, service: &Microservice, status: &MicroserviceStatus) -> bool {
    let promoted = holds(service, status, ConditionType::RolledOut, "True");
    match goal {
        Goal::Promoted => promoted,
        Goal::Healthy => {
            promoted
                && status.phase == Some(Phase::Healthy)
                && holds(service, status, ConditionType::Ready, "True")
        }
        Goal::RolledBack => {
            let held = matches!(reading::standing(service), Standing::Held(..));
            held && holds(service, status, ConditionType::Stalled, "True")
        }
        Goal::Paused => status.phase == Some(Phase::Paused),
        Goal::Step(number) => match reading::standing(service) {
            Standing::UnderWay(rollout, _) => match rollout.state {
                RolloutState::Rolling => {
                    let step = rollout.step.unwrap_or(0);
                    step > number || (step == number && reading::in_force(rollout))
                }
                _ => true,
            },
            Standing::Settled(_) => promoted,
            Standing::Unknown | Standing::Starting(_) | Standing::Held(..) | Standing::Returning(_) => false,
        },
    }
}

/// A command that was said and that the operator has not acted on: what the status says is from before it. It changes no
/// generation.
fn unanswered(service: &Microservice) -> Option<String> {
    let all = service.metadata.annotations.as_ref()?;
    let status = service.status.as_ref()?;
    let noted = |verb: &str, value: &str| status.commands.iter().any(|c| c.verb == verb && c.value == value);
    let said = |annotation: &str, verb: &str, value: &str| {
        (all.get(annotation).is_some_and(|said| said == value) && !noted(verb, value))
            .then(|| format!("{verb} {value}"))
    };
    let again = |revision: &str| {
        let restart = said(annotations::RESTART, "restart", revision);
        restart.or_else(|| said(annotations::REFRESH, "refresh", revision))
    };
    let rollback = |from: &str| {
        let value = all.get(annotations::ROLLBACK)?;
        let (named, to) = value.split_once('/')?;
        let known = status.revisions.iter().any(|revision| revision.name == to);
        (named == from && to != from && known && !noted("rollback", value))
            .then(|| format!("rollback {value}"))
    };
    match reading::standing(service) {
        Standing::Held(rollout, held) => {
            let retry = said(annotations::RETRY, "retry", &format!("{held}/{}", rollout.trial));
            retry.or_else(|| again(held))
        }
        Standing::Settled(rollout) => {
            let stable = rollout.stable.as_deref()?;
            // Where something else is asked for already, a restart was heard, or means nothing now.
            let made_again = || {
                if reading::is_pending(service) {
                    None
                } else {
                    again(stable)
                }
            };
            rollback(stable).or_else(made_again)
        }
        Standing::UnderWay(rollout, candidate) => {
            let trial = format!("{candidate}/{}", rollout.trial);
            let step = rollout.step.map(|step| format!("{trial}/{step}"));
            rollback(candidate)
                .or_else(|| said(annotations::ABORT, "abort", &trial))
                .or_else(|| match rollout.state {
                    RolloutState::Rolling => said(annotations::PROMOTE_FULL, "promote-full", &trial)
                        .or_else(|| said(annotations::PROMOTE, "promote", &step?)),
                    _ => None,
                })
        }
        Standing::Unknown | Standing::Starting(_) | Standing::Returning(_) => None,
    }
}

fn progress(service: &Microservice, status: &MicroserviceStatus) -> String {
    let message = status.message.as_deref().unwrap_or_default();
    let phase = reading::phase(status.phase);
    match reading::standing(service) {
        Standing::UnderWay(rollout, _) => match (rollout.step, rollout.of) {
            (Some(step), Some(of)) => format!(
                "{phase}: step {step} of {of}, {} % asked for, {} % in force: {message}",
                rollout.weight, rollout.effective_weight
            ),
            _ => format!("{phase}: {:?}: {message}", rollout.state),
        },
        Standing::Unknown
        | Standing::Starting(_)
        | Standing::Settled(_)
        | Standing::Held(..)
        | Standing::Returning(_) => format!("{phase}: {message}"),
    }
}
