//! Checks with limits of their own: which are measured now, and what follows from it for the rollout.
//!
//! A query or a call is measured beside the engine, like requests are counted: a plan says what is to be measured
//! ([`Measure`]), what came of it is observed ([`Measurements`]), and nothing of it is durable. A Job is a child like
//! others; its outcome is its measurement.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::Serialize;

use super::draft::{Draft, later};
use super::judging::{self, Missing};
use super::observed::LiveChild;
use super::state::{Change, Course, Position, Stage, State};
use super::stepping;
use crate::analysis::built_in;
use crate::analysis::placeholders::{Language, Subject, filled};
use crate::analysis::threshold::{Limits, Measurement, Measurements, Outcome, Standing};
use crate::api::{
    AnalysisCheck, AnalysisSource, Blame, CheckMode, CheckStatus, CheckVerdict, NoData, Objective,
    PrometheusQuery, PrometheusServer, QueriesIndicator, WebCheck, labels,
};
use crate::health::{Fault, JobOutcome, message};
use crate::render::{self, Child, ChildKind, Identity, JobPurpose, job_name};
use crate::revision::RevisionDigest;

/// The most Jobs of a check in one step. They stay until it is over, because what they said counts.
const MOST_JOBS: i64 = 30;

/// Something that is to be measured again and again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measure {
    /// Tells one trial from another, and one step from another where the check is one of a step.
    pub key: String,
    /// Who is asked what.
    pub question: Question,
    /// When the first measurement is due. None: at once.
    pub begins_at: Option<Timestamp>,
    /// Seconds between two.
    pub interval_seconds: u32,
    /// How many good ones are waited for; 0: the end of no step waits for them.
    pub wanted: u32,
}

impl Measure {
    /// Whether it is the same measurement that goes on. When it began does not matter any more.
    pub fn asks_like(&self, other: &Self) -> bool {
        let what = |measure: &Self| (measure.interval_seconds, measure.wanted);
        self.key == other.key && self.question == other.question && what(self) == what(other)
    }
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
    /// None for a Job.
    question: Option<Question>,
    span: Span,
    /// When the first measurement is due, where that is put off.
    begins_at: Option<Timestamp>,
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
    active(draft, change, &checks)
        .into_iter()
        .filter_map(|active| {
            Some(Measure {
                begins_at: active.begins_at,
                interval_seconds: active.check.interval_seconds(),
                wanted: active.wanted(),
                question: active.question?,
                key: active.key,
            })
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
) -> Option<Question> {
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
        return None;
    };
    Some(asked.unwrap_or_else(|unknown| Question::Unaskable(unknown.to_string())))
}

/// The checks that are measured in the present state.
fn active<'a>(draft: &Draft<'_>, change: &Change, checks: &'a [AnalysisCheck]) -> Vec<Active<'a>> {
    let (uid, seq) = (draft.observed.uid(), draft.situation.seq);
    let trial = format!("{uid}/{seq}/{}", change.candidate);
    let goals = draft.goals();
    let server = analysis(draft).prometheus;
    let step = step_of(draft, change);
    let of_steps = |check: &AnalysisCheck| goals.iter().any(|goal| goal.checks.contains(&check.name));
    checks
        .iter()
        .filter_map(|check| {
            let (place, span) = if of_steps(check) {
                let step = step.as_ref()?;
                let named = stepping::goal(draft, step.position).checks.contains(&check.name);
                let now = named && step.position.in_force_at.is_some();
                now.then(|| (format!("{trial}/{}/{}", step.number, step.digest), Span::Step))?
            } else {
                has_begun(draft, change, step.as_ref(), check).then(|| (trial.clone(), Span::Rollout))?
            };
            let question = question(draft, change, check, server.as_ref());
            // What was measured by another question says nothing about this one, and what was only shown accuses nobody.
            let digest = RevisionDigest::of_value(&(&question, check.mode())).short(8);
            Some(Active {
                key: format!("{place}/{}/{digest}", check.name),
                begins_at: begins_at(draft, change, step.as_ref(), check),
                question,
                check,
                span,
            })
        })
        .collect()
}

/// Whether a check in the background is measured already: in steps from its own on, else as soon as the candidate has
/// a ready pod.
fn has_begun(draft: &Draft<'_>, change: &Change, step: Option<&Step<'_>>, check: &AnalysisCheck) -> bool {
    match (step, &draft.situation.state) {
        (Some(step), _) => match step.number.cmp(&from_step(check)) {
            Ordering::Less => false,
            Ordering::Equal => step.position.in_force_at.is_some(),
            Ordering::Greater => true,
        },
        (None, State::Rolling(_)) => draft.counts(&change.candidate).ready > 0,
        (None, _) => true,
    }
}

fn from_step(check: &AnalysisCheck) -> i32 {
    check.from_step.unwrap_or(1)
}

/// When the first measurement is due, where that is put off: after what began it, which the status knows.
fn begins_at(
    draft: &Draft<'_>,
    change: &Change,
    step: Option<&Step<'_>>,
    check: &AnalysisCheck,
) -> Option<Timestamp> {
    let delay = Some(i64::from(check.initial_delay_seconds())).filter(|delay| *delay > 0)?;
    let of_steps = draft.goals().iter().any(|goal| goal.checks.contains(&check.name));
    let begun = match (step, &change.course, &draft.situation.state) {
        (Some(step), _, _) if of_steps || step.number == from_step(check) => step.position.in_force_at?,
        (None, Course::Exchange | Course::FullSize, State::Rolling(_)) => draft.situation.started_at?,
        // It began in an earlier step; after a restart of the operator it goes on at once.
        _ => return None,
    };
    Some(later(begun, delay))
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

/// Where and when the Jobs of a check run.
struct Runs {
    /// The step, or the bake as the number behind the last one.
    step: i32,
    /// The digest of what that step does.
    goal: String,
    /// When the first one is due.
    first: Timestamp,
    /// Seconds between two. None: there is one.
    interval: Option<i64>,
}

/// The digest of the bake, which is no step.
const BAKE: &str = "bake";

/// None where no Jobs of checks run: between steps.
fn runs(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> Option<Runs> {
    let (step, goal, since) = match (&draft.situation.state, step_of(draft, change)) {
        (State::Rolling(_), Some(step)) => (step.number, step.digest.to_owned(), step.position.in_force_at?),
        (State::Baking(_), _) => {
            let last = i32::try_from(draft.goals().len()).unwrap_or(i32::MAX);
            (last.saturating_add(1), BAKE.to_owned(), draft.situation.since?)
        }
        _ => return None,
    };
    Some(Runs {
        step,
        goal,
        first: later(since, check.initial_delay_seconds().into()),
        interval: check.interval_seconds.map(|seconds| i64::from(seconds.max(1))),
    })
}

/// One Job of a check.
struct Run<'a> {
    purpose: JobPurpose<'a>,
    name: String,
}

impl Runs {
    fn run<'a>(&'a self, draft: &Draft<'_>, change: &'a Change, check: &AnalysisCheck, run: i64) -> Run<'a> {
        let purpose = JobPurpose::Check {
            trial: draft.situation.trial,
            step: self.step,
            goal: &self.goal,
            stable: &change.stable,
            run,
        };
        Run {
            name: job_name(&change.candidate, &check.name, purpose),
            purpose,
        }
    }

    /// The Jobs that there are, the first one first. They stay until the step is over.
    fn made<'a, 'd>(
        &'a self,
        draft: &Draft<'d>,
        change: &'a Change,
        check: &AnalysisCheck,
    ) -> Vec<(Run<'a>, &'d JobOutcome)> {
        let observed = draft.observed;
        (0..MOST_JOBS)
            .map(|run| self.run(draft, change, check, run))
            .map_while(|run| Some((&observed.jobs.get(&run.name)?.outcome, run)))
            .map(|(outcome, run)| (run, outcome))
            .collect()
    }

    /// When the one after so many is due. None: there is none.
    fn due(&self, made: usize) -> Option<Timestamp> {
        let made = i64::try_from(made).ok().filter(|made| *made < MOST_JOBS)?;
        match self.interval {
            None if made > 0 => None,
            None => Some(self.first),
            Some(interval) => Some(later(self.first, interval.saturating_mul(made))),
        }
    }
}

/// The Jobs of checks that are to be there: those that have run in this step, and what is due. A person's pause begins
/// none.
pub fn jobs(draft: &Draft<'_>) -> Vec<Child> {
    let Some(change) = judging::tried_out(&draft.situation.state) else {
        return Vec::new();
    };
    let Some(record) = draft.records.get(&change.candidate) else {
        return Vec::new();
    };
    let identity = Identity::of(&draft.observed.service, draft.observed.namespace());
    let checks = checks(draft);
    let mut wanted = Vec::new();
    for active in active(draft, change, &checks) {
        let (Some(template), Some(runs)) = (&active.check.job, runs(draft, change, active.check)) else {
            continue;
        };
        let made = runs.made(draft, change, active.check);
        let next = next_run(draft, active.check, &runs, &made)
            .filter(|due| *due <= draft.now)
            .and_then(|_| Some(runs.run(draft, change, active.check, i64::try_from(made.len()).ok()?)));
        let quiet = draft.suspended() || draft.paused();
        let all = made
            .iter()
            .map(|(run, _)| run)
            .chain(next.iter().filter(|_| !quiet));
        wanted
            .extend(all.map(|run| render::job(&identity, record, &active.check.name, template, run.purpose)));
    }
    wanted
}

/// When the next Job of a check is due. None while one runs, and where there is none any more.
fn next_run(
    draft: &Draft<'_>,
    check: &AnalysisCheck,
    runs: &Runs,
    made: &[(Run<'_>, &JobOutcome)],
) -> Option<Timestamp> {
    // Also one of an earlier step that a person has ended.
    let runs_one = draft.observed.children.iter().any(|((kind, name), job)| {
        let outcome = draft.observed.jobs.get(name).map(|view| &view.outcome);
        *kind == ChildKind::Job
            && outcome == Some(&JobOutcome::Running)
            && check_of(job) == Some(check.name.as_str())
    });
    if runs_one || made.iter().any(|(_, outcome)| **outcome == JobOutcome::Running) {
        return None;
    }
    runs.due(made.len())
}

/// The check that a Job measures; none where it does something else.
pub fn check_of(job: &LiveChild) -> Option<&str> {
    let labels = job.object.pointer("/spec/template/metadata/labels")?;
    labels.get(labels::CHECK)?.as_str()
}

/// When the next Job of any check is due.
pub fn next_job(draft: &Draft<'_>) -> Option<Timestamp> {
    let change = judging::tried_out(&draft.situation.state)?;
    let checks = checks(draft);
    active(draft, change, &checks)
        .iter()
        .filter(|active| active.check.job.is_some())
        .filter_map(|active| {
            let runs = runs(draft, change, active.check)?;
            let made = runs.made(draft, change, active.check);
            next_run(draft, active.check, &runs, &made)
        })
        .min()
}

/// What the Jobs of a check in the present step say.
fn measured_by_jobs(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> Measurements {
    let mut all = Measurements::default();
    let Some(runs) = runs(draft, change, check) else {
        return all;
    };
    for (_, outcome) in runs.made(draft, change, check) {
        let measurement = match outcome {
            JobOutcome::Running => continue,
            JobOutcome::Succeeded => Measurement {
                outcome: Outcome::Good,
                value: Some("Succeeded".to_owned()),
                words: None,
            },
            JobOutcome::Failed(fault) => Measurement {
                outcome: match fault.blame {
                    Blame::Candidate => Outcome::Bad,
                    Blame::Environment | Blame::Person | Blame::Superseded => Outcome::Error,
                },
                value: Some("Failed".to_owned()),
                words: Some(fault.message.clone()),
            },
        };
        all.add(measurement, draft.now);
    }
    all
}

/// Whether a Job of the check is still to end.
fn job_is_under_way(draft: &Draft<'_>, change: &Change, check: &AnalysisCheck) -> bool {
    runs(draft, change, check).is_some_and(|runs| {
        let made = runs.made(draft, change, check);
        made.iter().any(|(_, outcome)| **outcome == JobOutcome::Running)
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
        Standing::NotMeasured => {
            let later = active.begins_at.is_some_and(|at| at > draft.now);
            match (active.span, &draft.situation.state) {
                // Who says that it is measured later says that steps before do not wait for it.
                (Span::Rollout, State::Rolling(_)) if later => None,
                _ => waits("the first measurement".to_owned()),
            }
        }
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
        Standing::Good | Standing::Tolerated if is_old(draft, change, &measured) => {
            waits("a measurement in this step".to_owned())
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

/// Whether the last measurement is of another step: of less traffic, or of none.
fn is_old(draft: &Draft<'_>, change: &Change, measured: &Measurements) -> bool {
    let begun = match step_of(draft, change) {
        Some(step) => step.position.in_force_at,
        None => draft.situation.since,
    };
    measured
        .last_at()
        .zip(begun)
        .is_some_and(|(last, begun)| last < begun)
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
