//! The steps of a canary or a blue/green rollout, as the engine goes through them.

use serde_json::json;

use super::state::{Position, Stage};
use crate::api::{CanaryStep, Hook, Pause, RequestMatch, Strategy, StrategyType, Switch};
use crate::revision::RevisionDigest;

/// What a step wants, with what it takes over from the ones before.
#[derive(Clone, Debug, PartialEq)]
pub struct Goal {
    /// The candidate's share of the traffic in percent.
    pub weight: i32,
    /// Requests that go to the candidate in any case.
    pub matches: Vec<RequestMatch>,
    /// Percent of the requests that the candidate gets a copy of.
    pub mirror_percent: Option<i32>,
    /// How many pods the candidate has.
    pub size: GoalSize,
    /// Seconds that it lasts once it is in force.
    pub seconds: i64,
    /// What else ends it.
    pub end: GoalEnd,
    /// What must succeed before its traffic moves.
    pub hooks: Vec<Hook>,
    /// The checks that must have been good before it ends.
    pub checks: Vec<String>,
}

/// How many pods the candidate has in a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoalSize {
    /// What its weight needs.
    Weight,
    /// So many.
    Pods(i32),
    /// As many as carry all traffic.
    Full,
}

/// What ends a step, besides its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoalEnd {
    /// Nothing.
    Time,
    /// A person's word.
    Person,
}

impl Goal {
    /// After the last step: full size, with the share that the last step gave.
    fn growing(weight: i32) -> Self {
        Self {
            weight,
            matches: Vec::new(),
            mirror_percent: None,
            size: GoalSize::Full,
            seconds: 0,
            end: GoalEnd::Time,
            hooks: Vec::new(),
            checks: Vec::new(),
        }
    }

    /// A share of the traffic, and nothing else.
    pub fn share(weight: i32) -> Self {
        Self {
            size: GoalSize::Weight,
            ..Self::growing(weight)
        }
    }

    /// The digest of what it does to traffic and pods. Its time, its end and its hooks may be edited while it lasts.
    pub fn digest(&self) -> String {
        let size = match self.size {
            GoalSize::Weight => json!("weight"),
            GoalSize::Pods(pods) => json!(pods),
            GoalSize::Full => json!("full"),
        };
        let effect = json!({
            "weight": self.weight, "match": self.matches, "mirror": self.mirror_percent, "size": size,
        });
        RevisionDigest::of_value(&effect).short(10)
    }

    /// Whether the candidate gets requests.
    pub fn sends_requests(&self) -> bool {
        self.weight > 0 || !self.matches.is_empty() || self.mirror_percent.is_some_and(|percent| percent > 0)
    }
}

/// The goals that a strategy's steps stand for. None for strategies without steps.
pub fn goals(strategy: &Strategy) -> Vec<Goal> {
    match strategy.strategy_type() {
        StrategyType::RollingUpdate | StrategyType::Recreate => Vec::new(),
        StrategyType::Canary => {
            let mut weight = 0;
            let steps = strategy.canary.iter().flat_map(|canary| &canary.steps);
            steps
                .map(|step| {
                    weight = step.weight.unwrap_or(weight).clamp(0, 100);
                    goal(step, weight)
                })
                .collect()
        }
        StrategyType::BlueGreen => {
            let settings = strategy.blue_green.clone().unwrap_or_default();
            let end = match settings.switch_.unwrap_or_default() {
                Switch::Auto => GoalEnd::Time,
                Switch::Manual => GoalEnd::Person,
            };
            vec![Goal {
                seconds: i64::from(settings.preview_seconds.unwrap_or(0)),
                end,
                hooks: settings.hooks,
                ..Goal::growing(0)
            }]
        }
    }
}

fn goal(step: &CanaryStep, weight: i32) -> Goal {
    Goal {
        weight,
        matches: step.matches.clone(),
        mirror_percent: step.mirror_percent,
        size: step.replicas.map_or(GoalSize::Weight, GoalSize::Pods),
        seconds: i64::from(step.duration_seconds.unwrap_or(0)),
        end: match step.pause {
            Some(Pause::Manual) => GoalEnd::Person,
            None => GoalEnd::Time,
        },
        hooks: step.hooks.clone(),
        checks: step.checks.clone(),
    }
}

/// The goal of a position. A step that was edited away keeps its weight for as long as nothing may go on.
pub fn goal_at(goals: &[Goal], position: &Position) -> Goal {
    match &position.stage {
        Stage::Step { number, digest } => index(*number)
            .and_then(|index| goals.get(index))
            .filter(|goal| goal.digest() == *digest)
            .cloned()
            .unwrap_or_else(|| Goal::share(position.weight)),
        Stage::Growing => Goal::growing(position.weight),
    }
}

/// The goal before a position; `None` before the first one, where the candidate has nothing.
pub fn goal_before(goals: &[Goal], position: &Position) -> Option<Goal> {
    match &position.stage {
        Stage::Step { number, .. } => index(number.saturating_sub(1))
            .and_then(|index| goals.get(index))
            .cloned(),
        // Of steps that were skipped nothing was given.
        Stage::Growing => Some(Goal::share(position.weight)),
    }
}

fn index(number: i32) -> Option<usize> {
    usize::try_from(number.checked_sub(1)?).ok()
}

/// The position at the start of a step; past the last one the candidate grows.
pub fn position_at(goals: &[Goal], number: i32, weight: i32) -> Position {
    let goal = index(number).and_then(|index| goals.get(index));
    let (stage, weight) = match goal {
        Some(goal) => (
            Stage::Step {
                number,
                digest: goal.digest(),
            },
            goal.weight,
        ),
        None => (Stage::Growing, weight),
    };
    Position {
        stage,
        weight,
        in_force_at: None,
        wavering_since: None,
        hooks_passed_at: None,
        waiting_since: None,
    }
}

/// The position after one.
pub fn position_after(goals: &[Goal], position: &Position) -> Position {
    match &position.stage {
        Stage::Step { number, .. } => position_at(goals, number.saturating_add(1), position.weight),
        Stage::Growing => position.clone(),
    }
}

/// All steps done, with the share that the candidate has by now.
pub fn position_past(weight: i32) -> Position {
    Position {
        stage: Stage::Growing,
        weight,
        in_force_at: None,
        wavering_since: None,
        hooks_passed_at: None,
        waiting_since: None,
    }
}

/// Where a rollout goes on after an edit of its steps: at the step that it is in, whatever its number is by now; where
/// that one is gone or does something else, at the first one with at least the present weight, so that no traffic goes
/// back for it; else at the last one. `None`: nothing was edited. Without any step left, all are done.
pub fn repositioned(goals: &[Goal], position: &Position) -> Option<Position> {
    let Stage::Step { number, digest } = &position.stage else {
        return None;
    };
    let at = |number: i32| index(number).and_then(|index| goals.get(index));
    if at(*number).is_some_and(|goal| goal.digest() == *digest) {
        return None;
    }
    if goals.is_empty() {
        return Some(position_past(position.weight));
    }
    let numbered = || (1..).zip(goals);
    if let Some((moved, _)) = numbered().find(|(_, goal)| goal.digest() == *digest) {
        return Some(Position {
            stage: Stage::Step {
                number: moved,
                digest: digest.clone(),
            },
            ..position.clone()
        });
    }
    let last = i32::try_from(goals.len()).unwrap_or(i32::MAX);
    let next = numbered()
        .find(|(_, goal)| goal.weight >= position.weight)
        .map_or(last, |(number, _)| number);
    Some(position_at(goals, next, position.weight))
}
