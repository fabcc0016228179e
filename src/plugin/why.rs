//! `why`: what a service is waiting for, with the numbers, in a short paragraph.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde::Serialize;

use super::page::{duration, printable};
use super::reading::{self, Sight, Standing};
use super::tree::verdict;
use crate::api::{Blame, CheckStatus, Microservice, Phase, RolloutStatus};

/// The same for programs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The namespace.
    pub namespace: String,
    /// The service.
    pub name: String,
    /// The state in one word, as far as the operator has seen the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase: Option<Phase>,
    /// The paragraph.
    pub why: String,
    /// Where the rollout stands, with what it waits for and what its checks say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<RolloutStatus>,
    /// Conditions that are not as they should be.
    pub troubles: Vec<Condition>,
}

/// The paragraph, and what it is made from.
pub fn explanation(service: &Microservice, now: Timestamp) -> Explanation {
    let status = reading::status(service);
    Explanation {
        namespace: reading::namespace(service).to_owned(),
        name: reading::name(service).to_owned(),
        phase: match reading::sight(service) {
            Sight::Behind(_) => None,
            _ => status.phase,
        },
        why: why(service, now),
        troubles: reading::troubles(&status).into_iter().cloned().collect(),
        rollout: status.rollout,
    }
}

/// The paragraph.
pub fn why(service: &Microservice, now: Timestamp) -> String {
    let name = reading::name(service);
    if let Sight::Behind(seen) = reading::sight(service) {
        return printable(&full_stop(format!("{name}: {}", reading::unseen(service, seen))));
    }
    let status = reading::status(service);
    let message = status.message.clone().unwrap_or_default();
    let mut sentences = vec![format!("{name} is {}: {message}", reading::phase(status.phase))];
    match reading::standing(service) {
        Standing::UnderWay(rollout, candidate) => {
            sentences.extend(under_way(service, rollout, candidate, now));
        }
        Standing::Returning(rollout) => {
            sentences.push(format!(
                "The candidate still has {} % of the traffic",
                rollout.effective_weight
            ));
        }
        Standing::Held(rollout, held) => sentences.extend(held_words(rollout, name, held, now)),
        Standing::Starting(rollout) => sentences.extend(deadline(rollout, now)),
        Standing::Unknown | Standing::Settled(_) => {}
    }
    let troubles = reading::troubles(&status).into_iter();
    sentences.extend(troubles.map(|c| format!("{} is {} ({}): {}", c.type_, c.status, c.reason, c.message)));
    if status.phase == Some(Phase::Healthy) && sentences.len() == 1 {
        sentences.push("Nothing is waited for".to_owned());
    }
    let text: Vec<String> = sentences.into_iter().map(full_stop).collect();
    printable(&text.join(" "))
}

fn full_stop(sentence: String) -> String {
    if sentence.ends_with(['.', '!', '?', '。']) {
        sentence
    } else {
        format!("{sentence}.")
    }
}

fn under_way(
    service: &Microservice,
    rollout: &RolloutStatus,
    candidate: &str,
    now: Timestamp,
) -> Vec<String> {
    let name = reading::name(service);
    let mut sentences = Vec::new();
    if let (Some(step), Some(of)) = (rollout.step, rollout.of) {
        let force = if reading::in_force(rollout) {
            match &rollout.in_force_at {
                Some(since) => format!(
                    ", in force for {}",
                    duration(now.duration_since(since.0).as_secs())
                ),
                None => String::new(),
            }
        } else {
            ", not in force yet".to_owned()
        };
        sentences.push(format!(
            "{candidate} is in step {step} of {of}{force}: {} % of the traffic were asked for and {} % are in force",
            rollout.weight, rollout.effective_weight
        ));
    }
    sentences.extend(rollout.checks.iter().map(check));
    sentences.extend(deadline(rollout, now));
    if reading::status(service).phase == Some(Phase::Paused) {
        let annotations = service.metadata.annotations.as_ref();
        let paused = annotations.is_some_and(|all| all.contains_key(crate::api::annotations::PAUSE));
        sentences.push(if paused {
            format!("To go on: kubectl microservice resume {name}")
        } else {
            format!(
                "To go on: kubectl microservice promote {name}; to go back: kubectl microservice abort {name}"
            )
        });
    }
    sentences
}

fn check(check: &CheckStatus) -> String {
    let bad = match (&check.value, &check.baseline) {
        (Some(value), Some(baseline)) => format!("{value} % bad against {baseline} % of stable, "),
        (Some(value), None) => format!("{value} % bad, "),
        (None, _) => String::new(),
    };
    format!(
        "Check {} is {} ({}): {bad}{} requests",
        check.name,
        verdict(check.verdict).0,
        check.reason,
        check.samples
    )
}

fn deadline(rollout: &RolloutStatus, now: Timestamp) -> Option<String> {
    let left = rollout.deadline.as_ref()?.0.duration_since(now).as_secs();
    Some(format!(
        "It is taken back in {} unless there is progress",
        duration(left)
    ))
}

fn held_words(rollout: &RolloutStatus, name: &str, held: &str, now: Timestamp) -> Vec<String> {
    let again = |at: Timestamp| {
        format!(
            "The next trial is in {}",
            duration(at.duration_since(now).as_secs())
        )
    };
    let mut sentences: Vec<String> = rollout
        .retry_at
        .as_ref()
        .map(|at| again(at.0))
        .into_iter()
        .collect();
    let blame = rollout.cause.as_ref().map(|cause| cause.blame);
    sentences.push(match blame {
        Some(Blame::Environment) => {
            format!("To try {held} again at once: kubectl microservice retry {name}")
        }
        Some(Blame::Candidate | Blame::Person | Blame::Superseded) | None => {
            format!("Change the spec, or try {held} again: kubectl microservice retry {name}")
        }
    });
    sentences
}
