//! Checks with limits of their own: which are measured now, and what follows from it for the rollout.
//!
//! A query or a call is measured beside the engine, like requests are counted: a plan says what is to be measured
//! ([`Measure`]), what came of it is observed ([`Measurements`]), and nothing of it is durable. A Job is a child like
//! others; its outcome is its measurement.

use jiff::Timestamp;
use serde::Serialize;

use super::draft::{Draft, later};
use super::judging::{self, Missing};
use super::state::{Change, Course, Position, Stage, State};
use super::stepping;
use crate::analysis::built_in;
use crate::analysis::placeholders::{Language, Subject, filled};
use crate::analysis::threshold::{Limits, Measurement, Measurements, Outcome, Standing};
use crate::api::{
    AnalysisCheck, AnalysisSource, Blame, CheckMode, CheckStatus, CheckVerdict, JobTemplate, NoData,
    Objective, PrometheusQuery, PrometheusServer, QueriesIndicator, WebCheck,
};
use crate::health::{Fault, JobOutcome, message};
use crate::render::{self, Child, Identity, JobPurpose, job_name};

/// How many Jobs of a check are kept in one step: the latest ones.
const KEPT_JOBS: i64 = 10;

/// Something that is to be measured again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Tells one trial from another, and one step from another where the check is one of a step.
    pub key: String,
    /// Who is asked what.
    pub question: Question,
    /// Seconds before the first measurement.
    pub delay_seconds: u32,
    /// Seconds between two.
    pub interval_seconds: u32,
    /// How many good ones are waited for; 0: the end of no step waits for them.
    pub wanted: u32,
}

/// Who is asked what, with all placeholders filled in.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Question {
    /// A Prometheus.
    Prometheus {
        /// Where it is.
        server: PrometheusServer,
        /// What it is asked.
        text: String,
        /// Over which time, and what of the answer is good.
        query: PrometheusQuery,
    },
    /// Anybody.
    Web(WebCheck),
    /// Nobody: it cannot be asked, and why.
    Unaskable(String),
}

/// What is measured in one place of the rollout.
struct Active<'a> {
    check: &'a AnalysisCheck,
    /// See [`Measure::key`].
    key: String,
    span: Span,
}

/// For how long a check is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Span {
    /// In the background, to the end of the rollout.
    Rollout,
    /// In the present step, whose end waits for it.
    Step,
}

impl Active<'_> {
    /// How many good measurements the end of the step waits for.
    fn wanted(&self) -> u32 {
        match self.span {
            Span::Step => self.check.count(),
            Span::Rollout => 0,
        }
    }
}

/// What is to be measured now.
pub fn measures(draft: &Draft<'_>) -> Vec<Measure> {
    let Some(change) = judging::tried_out(&draft.situation.state) else {
        return Vec::new();
    };
    let checks = checks(draft);
    let server = analysis(draft).prometheus;
    active(draft, change, &checks)
        .into_iter()
        .filter(|active| active.check.job.is_none())
        .map(|active| Measure {
            question: question(draft, change, active.check, server.as_ref()),
            wanted: active.wanted(),
            key: active.key,
            delay_seconds: active.check.initial_delay_seconds(),
            interval_seconds: active.check.interval_seconds(),
        })
        .collect()
}

fn analysis(draft: &Draft<'_>) -> crate::api::Analysis {
    draft
        .observed
        .spec()
        .operation
        .strategy()
        .analysis
        .unwrap_or_default()
}

/// Those of the spec, and one for each objective that only a Prometheus can tell of a revision.
fn checks(draft: &Draft<'_>) -> Vec<AnalysisCheck> {
    let analysis = analysis(draft);
    let mut checks = analysis.checks;
    if analysis.source == Some(AnalysisSource::Prometheus) {
        let objectives = &draft.observed.spec().operation.objectives;
        checks.extend(objectives.iter().filter_map(of_queries));
    }
    checks
}

/// How many bad measurements in a rollout an objective with queries tolerates: its rates are over minutes, and the first
/// requests of a revision are few.
const TOLERATED: i32 = 2;

/// The check that an objective with queries stands for. None where they do not tell one revision from another.
fn of_queries(objective: &Objective) -> Option<AnalysisCheck> {
    let QueriesIndicator { good, total } = objective.indicator.queries.as_ref()?;
    let tells = |text: &str| {
        ["{{revision}}", "{{revisionPods}}"]
            .iter()
            .any(|name| text.contains(name))
    };
    if !(tells(good) && tells(total)) {
        return None;
    }
    Some(AnalysisCheck {
        name: objective.name.clone(),
        prometheus: Some(PrometheusQuery {
            // The line breaks end comments that the queries may end with.
            query: Some(format!(
                "100 * (sum(\n{good}\n) or vector(0)) / (sum(\n{total}\n) > 0)"
            )),
            min: Some(objective.good_percent.clone()),
            ..PrometheusQuery::default()
        }),
        failure_limit: Some(TOLERATED),
        ..AnalysisCheck::default()
    })
}

fn question(
    draft: &Draft<'_>,
    change: &Change,
    check: &AnalysisCheck,
    server: Option<&PrometheusServer>,
) -> Question {
    let subject = Subject {
        service: draft.observed.name(),
        namespace: draft.observed.namespace(),
        revision: &change.candidate,
        stable: &change.stable,
    };
    let asked = if let Some(query) = &check.prometheus {
        let text = match (&query.query, &query.built_in) {
            (Some(text), _) => filled(text, &subject, Language::PromQl),
            (None, Some(wanted)) => Ok(built_in(wanted, &subject)),
            (None, None) => Ok(String::new()),
        };
        text.map(|text| match server {
            Some(server) => Question::Prometheus {
                server: server.clone(),
                text,
                query: query.clone(),
            },
            // A rule of the schema.
            None => Question::Unaskable("analysis.prometheus names no address".to_owned()),
        })
    } else if let Some(web) = &check.web {
        filled(&web.url, &subject, Language::Url).and_then(|url| {
            let body = web.body.as_deref();
            let body = body
                .map(|body| filled(body, &subject, Language::Json))
                .transpose()?;
            Ok(Question::Web(WebCheck {
                url,
                body,
                ..web.clone()
            }))
        })
    } else {
        return Question::Unaskable("the check names nothing to measure".to_owned());
    };
    asked.unwrap_or_else(|unknown| Question::Unaskable(unknown.to_string()))
}

/// The checks that are measured in the present state.
fn active<'a>(draft: &Draft<'_>, change: &Change, checks: &'a [AnalysisCheck]) -> Vec<Active<'a>> {
    let (uid, seq) = (draft.observed.uid(), draft.situation.seq);
    let trial = format!("{uid}/{seq}/{}", change.candidate);
    let goals = draft.goals();
    let of_steps = |check: &AnalysisCheck| goals.iter().any(|goal| goal.checks.contains(&check.name));
    let step = step_of(draft, change);
    checks
        .iter()
        .filter_map(|check| {
            let name = &check.name;
            if !of_steps(check) {
                let from = check.from_step.unwrap_or(1);
                let begun = step.as_ref().is_none_or(|step| {
                    step.number > from || (step.number == from && step.position.in_force_at.is_some())
                });
                return begun.then(|| Active {
                    check,
                    key: format!("{trial}/{name}"),
                    span: Span::Rollout,
                });
            }
            let step = step.as_ref()?;
            let now = step.position.in_force_at.is_some()
                && stepping::goal(draft, step.position).checks.contains(name);
            now.then(|| Active {
                check,
                key: format!("{trial}/{}/{}/{name}", step.number, step.digest),
                span: Span::Step,
            })
        })
        .collect()
}

/// The step that a rollout is in.
struct Step<'a> {
    number: i32,
    digest: &'a str,
    position: &'a Position,
}

/// None where there are no steps, or where they are over.
fn step_of<'a>(draft: &Draft<'_>, change: &'a Change) -> Option<Step<'a>> {
    match (&draft.situation.state, &change.course) {
        (State::Rolling(_), Course::Steps(position)) => match &position.stage {
            Stage::Step { number, digest } => Some(Step {
                number: *number,
                digest,
                position,
            }),
            Stage::Growing => None,
        },
        _ => None,
    }
}

// --- Jobs

/// When and where a Job of a check runs.
struct Runs {
    /// The step, or the bake as the number behind the last one.
    step: i32,
    /// The digest of what that step does.
    goal: String,
    /// The number of the run that is due; none where none is yet.
    due: Option<i64>,
    /// When the next one is.
    next: Option<Timestamp>,
}

/// The digest of the bake, which is no step.
const BAKE: &str = "bake";

fn runs(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> Option<Runs> {
    let (step, goal, since) = match (&draft.situation.state, step_of(draft, change)) {
        (State::Rolling(_), Some(step)) => (step.number, step.digest.to_owned(), step.position.in_force_at?),
        (State::Baking(_), _) => {
            let last = i32::try_from(draft.goals().len()).unwrap_or(i32::MAX);
            (last.saturating_add(1), BAKE.to_owned(), draft.situation.since?)
        }
        _ => return None,
    };
    let first = later(since, check.initial_delay_seconds().into());
    if first > draft.now {
        return Some(Runs {
            step,
            goal,
            due: None,
            next: Some(first),
        });
    }
    let Some(interval) = check.interval_seconds.map(|seconds| i64::from(seconds.max(1))) else {
        return Some(Runs {
            step,
            goal,
            due: Some(0),
            next: None,
        });
    };
    let due = draft.now.duration_since(first).as_secs() / interval;
    Some(Runs {
        step,
        goal,
        due: Some(due),
        next: Some(later(first, due.saturating_add(1).saturating_mul(interval))),
    })
}

/// One Job of a check.
struct Run<'a> {
    purpose: JobPurpose<'a>,
    name: String,
}

/// The Jobs that were due in the present step, the latest last.
fn jobs_of<'a>(draft: &Draft<'_>, change: &'a Change, check: &AnalysisCheck, runs: &'a Runs) -> Vec<Run<'a>> {
    let Some(due) = runs.due else {
        return Vec::new();
    };
    let first = due.saturating_sub(KEPT_JOBS - 1).max(0);
    (first..=due)
        .map(|run| {
            let purpose = JobPurpose::Check {
                trial: draft.situation.trial,
                step: runs.step,
                goal: &runs.goal,
                stable: &change.stable,
                run,
            };
            Run {
                name: job_name(&change.candidate, &check.name, purpose),
                purpose,
            }
        })
        .collect()
}

/// The Jobs of checks that are to be there: those that have run in this step, and what is due. Also a person's pause
/// begins none.
pub fn jobs(draft: &Draft<'_>) -> Vec<Child> {
    let Some(change) = judging::tried_out(&draft.situation.state) else {
        return Vec::new();
    };
    let Some(record) = draft.records.get(&change.candidate) else {
        return Vec::new();
    };
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .filter_map(|active| {
            let template = active.check.job.as_ref()?;
            let runs = runs(draft, change, active.check)?;
            Some(children_of(draft, change, record, active, template, &runs))
        })
        .flatten()
        .collect()
}

/// When the next Job of a check is due.
pub fn next_job(draft: &Draft<'_>) -> Option<Timestamp> {
    let change = judging::tried_out(&draft.situation.state)?;
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .filter(|active| active.check.job.is_some())
        .filter_map(|active| runs(draft, change, active.check)?.next)
        .min()
}

fn children_of(
    draft: &Draft<'_>,
    change: &Change,
    record: &crate::revision::Record,
    active: &Active<'_>,
    template: &JobTemplate,
    runs: &Runs,
) -> Vec<Child> {
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    let all = jobs_of(draft, change, active.check, runs);
    let known = |run: &&Run<'_>| draft.observed.jobs.contains_key(&run.name);
    let running = |run: &Run<'_>| {
        let view = draft.observed.jobs.get(&run.name);
        view.is_some_and(|view| view.outcome == JobOutcome::Running)
    };
    let quiet = draft.suspended() || draft.paused();
    let due = all
        .last()
        .filter(|last| !known(last) && !quiet && !all.iter().any(running));
    // One that has ended stays until the step is over: what it said counts.
    all.iter()
        .filter(known)
        .chain(due)
        .map(|run| render::job(&identity, record, &active.check.name, template, run.purpose))
        .collect()
}

/// What the Jobs of a check in the present step say.
fn measured_by_jobs(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> Measurements {
    let mut all = Measurements::default();
    let Some(runs) = runs(draft, change, check) else {
        return all;
    };
    for run in jobs_of(draft, change, check, &runs) {
        let outcome = draft.observed.jobs.get(&run.name).map(|view| &view.outcome);
        match outcome {
            None | Some(JobOutcome::Running) => {}
            Some(JobOutcome::Succeeded) => all.add(Measurement {
                outcome: Outcome::Good,
                value: Some("Succeeded".to_owned()),
                words: None,
            }),
            Some(JobOutcome::Failed(fault)) => all.add(Measurement {
                outcome: match fault.blame {
                    Blame::Candidate => Outcome::Bad,
                    Blame::Environment | Blame::Person | Blame::Superseded => Outcome::Error,
                },
                value: Some("Failed".to_owned()),
                words: Some(fault.message.clone()),
            }),
        }
    }
    all
}

/// Whether the Job that is due in the present step is still to end.
fn job_is_under_way(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> bool {
    let Some(runs) = runs(draft, change, check) else {
        return false;
    };
    let all = jobs_of(draft, change, check, &runs);
    all.last().is_some_and(|last| {
        let view = draft.observed.jobs.get(&last.name);
        view.is_none_or(|view| view.outcome == JobOutcome::Running)
    })
}

// --- what follows

fn limits(check: &AnalysisCheck) -> Limits {
    Limits {
        // A Job that could not run is tried once, like the hook of a step.
        errors: if check.job.is_some() {
            Some(0)
        } else {
            Limits::of(check).errors
        },
        ..Limits::of(check)
    }
}

fn measured(draft: &Draft<'_>, change: &Change, active: &Active<'_>) -> Measurements {
    if active.check.job.is_some() {
        return measured_by_jobs(draft, change, active.check);
    }
    let known = draft.observed.measurements.get(&active.key);
    known.cloned().unwrap_or_default()
}

/// The fault that checks find in the candidate, or in what they ask.
pub fn fault(draft: &Draft<'_>, change: &Change) -> Option<Fault> {
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .filter(|active| active.check.mode() == CheckMode::Enforce)
        .find_map(|active| {
            let measured = measured(draft, change, active);
            let limits = limits(active.check);
            let (blame, reason, headline, about) = match measured.standing(limits) {
                Standing::TooManyBad => (
                    Blame::Candidate,
                    "CheckFailed",
                    format!(
                        "{} bad measurements, {} are tolerated",
                        measured.bad(),
                        limits.bad
                    ),
                    measured.last_bad(),
                ),
                Standing::TooManyErrors => (
                    Blame::Environment,
                    "CheckError",
                    "it cannot be measured".to_owned(),
                    measured.last(),
                ),
                Standing::TooLongNoData => (
                    Blame::Environment,
                    "CheckWithoutData",
                    "it finds no value".to_owned(),
                    measured.last(),
                ),
                Standing::NotMeasured
                | Standing::Good
                | Standing::Tolerated
                | Standing::NoData
                | Standing::Unavailable => return None,
            };
            let words = about.and_then(|last| last.words.as_deref()).unwrap_or_default();
            let headline = format!("{}: {headline}", active.check.name);
            Some(Fault {
                blame,
                reason: reason.to_owned(),
                message: message(&headline, words),
            })
        })
}

/// What the end of a step or of the bake that came at `end` waits for by checks; none: nothing.
pub fn missing(draft: &Draft<'_>, change: &Change, end: Timestamp) -> Option<Missing> {
    if draft.expedited(&change.candidate) {
        return None;
    }
    let checks = checks(draft);
    let active = active(draft, change, &checks);
    let enforced = active
        .iter()
        .filter(|active| active.check.mode() == CheckMode::Enforce);
    enforced
        .filter_map(|active| missing_of(draft, change, active, end))
        // What has no end is what matters.
        .min_by_key(|missing| missing.until.is_some())
}

fn missing_of(draft: &Draft<'_>, change: &Change, active: &Active<'_>, end: Timestamp) -> Option<Missing> {
    let check = active.check;
    let measured = measured(draft, change, active);
    let waits = |words: String| {
        Some(Missing {
            words: format!("{}: {words}", check.name),
            until: None,
        })
    };
    let wanted = active.wanted();
    if check.job.is_some() && job_is_under_way(draft, change, check) {
        return waits("its Job to end".to_owned());
    }
    match measured.standing(limits(check)) {
        Standing::NotMeasured => match (active.span, &draft.situation.state) {
            // Who says that it is measured later says that steps before do not wait for it.
            (Span::Rollout, State::Rolling(_)) if check.initial_delay_seconds() > 0 => None,
            _ => waits("the first measurement".to_owned()),
        },
        Standing::Unavailable => {
            let last = measured.last().and_then(|last| last.words.as_deref());
            waits(message("it cannot be measured", last.unwrap_or_default()))
        }
        Standing::NoData => {
            let analysis = analysis(draft);
            let policy = check.no_data.or(analysis.no_data).unwrap_or_default();
            match (active.span, policy) {
                // A step that was made for a check does not end without it.
                (Span::Step, _) | (_, NoData::Wait) => {
                    let patience = draft
                        .observed
                        .spec()
                        .operation
                        .strategy()
                        .progress_deadline_seconds();
                    Some(Missing {
                        words: format!("{}: a value", check.name),
                        until: Some(later(end, patience)),
                    })
                }
                (Span::Rollout, NoData::Pass) => None,
            }
        }
        Standing::Good | Standing::Tolerated if measured.good() < wanted => {
            waits(format!("{} of {wanted} good measurements", measured.good()))
        }
        Standing::Good
        | Standing::Tolerated
        | Standing::TooManyBad
        | Standing::TooManyErrors
        | Standing::TooLongNoData => None,
    }
}

/// What the end of a step or of the bake at `end` waits for by checks, in words; none: nothing, or it is not over.
pub fn waiting(draft: &Draft<'_>, change: &Change, end: Timestamp) -> Option<String> {
    let missing = missing(draft, change, end).filter(|_| end <= draft.now)?;
    Some(missing.words)
}

/// Whether the spec has such a check.
pub fn is_measured(draft: &Draft<'_>, name: &str) -> bool {
    checks(draft).iter().any(|check| check.name == name)
}

/// What the status says of the checks.
pub fn check_statuses(draft: &Draft<'_>) -> Vec<CheckStatus> {
    let Some(change) = judging::tried_out(&draft.situation.state) else {
        return Vec::new();
    };
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .map(|active| {
            let measured = measured(draft, change, active);
            let (verdict, reason) = said(measured.standing(limits(active.check)));
            let last = measured.last();
            CheckStatus {
                name: active.check.name.clone(),
                verdict,
                reason: match active.check.mode() {
                    CheckMode::Enforce => reason.to_owned(),
                    CheckMode::DryRun => format!("DryRun{reason}"),
                },
                value: last.and_then(|last| last.value.clone()),
                baseline: None,
                samples: measured.values().into(),
                message: last.and_then(|last| last.words.as_deref()).map(one_message),
            }
        })
        .collect()
}

/// The words, as a status holds them.
fn one_message(words: &str) -> String {
    message(words, "")
}

fn said(standing: Standing) -> (CheckVerdict, &'static str) {
    match standing {
        Standing::NotMeasured => (CheckVerdict::Inconclusive, "NotMeasured"),
        Standing::Good => (CheckVerdict::Passing, "Good"),
        Standing::Tolerated => (CheckVerdict::Inconclusive, "Tolerated"),
        Standing::NoData => (CheckVerdict::Inconclusive, "NoData"),
        Standing::Unavailable => (CheckVerdict::Inconclusive, "Unavailable"),
        Standing::TooManyBad => (CheckVerdict::Failing, "TooManyBad"),
        Standing::TooManyErrors => (CheckVerdict::Inconclusive, "TooManyErrors"),
        Standing::TooLongNoData => (CheckVerdict::Inconclusive, "TooLongNoData"),
    }
}

/// Reason and message of the condition AnalysisReady where a check cannot be measured.
pub fn trouble(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    let change = judging::tried_out(&draft.situation.state)?;
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .filter(|active| active.check.mode() == CheckMode::Enforce)
        .find_map(|active| {
            let measured = measured(draft, change, active);
            if measured.standing(limits(active.check)) != Standing::Unavailable {
                return None;
            }
            let why = measured
                .last()
                .and_then(|last| last.words.as_deref())
                .unwrap_or_default();
            let headline = format!(
                "check {} cannot be measured, and no step ends until it can",
                active.check.name
            );
            Some(("SourceUnavailable", message(&headline, why)))
        })
}
