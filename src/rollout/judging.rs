//! What the requests of a candidate say, and whose requests are to be counted for that.
//!
//! Counting happens beside the engine: a plan says what is to be watched ([`Watch`]), what came of it is observed
//! ([`AnalysisReport`]). Nothing of it is durable. After a restart of the operator the evidence is gathered anew, which
//! costs time and never promises more than alpha.

use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};

use jiff::Timestamp;
use serde::Serialize;

use super::draft::{Draft, later};
use super::measuring;
use super::state::{Change, State};
use crate::analysis::{
    Alpha, BadShare, Cause, Clearing, Count, Factor, Given, Indicator, Names, Open, Ruling, Standard, Terms,
    Verdict,
};
use crate::api::{
    self, Analysis, AnalysisSource, Blame, CheckStatus, CheckVerdict, CompareWithStable, NoData, Objective,
    PortProtocol, PrometheusServer,
};
use crate::health::Fault;
use crate::revision::RevisionDigest;

/// The name of the check where there is no objective.
const ERRORS: &str = "errors";
/// The path that is usual for metrics.
const PATH: &str = "/metrics";

/// Whose requests are to be counted and judged, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct Watch {
    /// Tells one trial of a revision from another: evidence of the one is none in the other.
    pub key: String,
    /// Who is asked.
    pub source: WatchSource,
    /// Seconds between two looks.
    pub interval_seconds: u32,
    /// Where the candidate's pods tell their requests.
    pub candidate: Exposed,
    /// Where the stable revision's do.
    pub stable: Exposed,
    /// What is judged.
    pub checks: Vec<Check>,
    /// Paths whose requests do not count, beside the usual ones: those of the probes and of the metrics themselves.
    pub probe_paths: Vec<String>,
}

/// Who is asked for the pods' metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchSource {
    /// The pods themselves.
    Pods,
    /// A Prometheus that scrapes them.
    Prometheus(PrometheusServer),
}

/// Where the pods of a revision tell their requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposed {
    /// The revision.
    pub revision: String,
    /// The port of its pods.
    pub port: u16,
    /// The path.
    pub path: String,
}

/// One indicator, and what it is held against.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// The objective's name.
    pub name: String,
    /// What makes a request bad.
    pub indicator: Indicator,
    /// How requests are found.
    pub names: Names,
    /// What the judge goes by.
    pub terms: Terms,
}

/// What was found so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnalysisReport {
    /// The [`Watch::key`] that it is about.
    pub key: String,
    /// What the judges say, by the check's name.
    pub rulings: BTreeMap<String, Ruling>,
    /// Of which samples each check is made, in words.
    pub sources: BTreeMap<String, String>,
    /// Why the pods of a revision cannot be read, by revision.
    pub unreadable: BTreeMap<String, String>,
    /// Whether the source that all is read from answers.
    pub answered: Answered,
}

/// Whether the last look found anybody who answered for all pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answered {
    /// There was no look yet.
    #[default]
    NotAsked,
    /// It did.
    Yes,
    /// Nobody did.
    No {
        /// In words.
        why: String,
    },
}

/// What follows for the rollout.
#[derive(Clone, Debug, PartialEq)]
pub enum Opinion {
    /// Nothing stands against the candidate.
    Silent,
    /// The candidate breaks an objective, and so does the stable revision: it is not the change.
    Shared {
        /// The evidence.
        message: String,
    },
    /// The candidate is worse.
    Fault(Fault),
}

/// What is to be watched; `None` while no candidate is tried out, and where nothing is to be judged.
pub fn watch(draft: &Draft<'_>) -> Option<Watch> {
    let change = tried_out(&draft.situation.state)?;
    let operation = &draft.observed.spec().operation;
    let strategy = operation.strategy();
    let objectives: Vec<&Objective> = operation.objectives.iter().filter(|o| told_by_pods(o)).collect();
    let analysis = match strategy.analysis {
        Some(analysis) => analysis,
        None if objectives.is_empty() => return None,
        None => Analysis::default(),
    };
    let source = match (analysis.source.unwrap_or_default(), &analysis.prometheus) {
        (AnalysisSource::None, _) => return None,
        (AnalysisSource::Prometheus, Some(server)) => WatchSource::Prometheus(server.clone()),
        // That Prometheus is named where it is to be asked is a rule of the schema.
        (AnalysisSource::Auto, _) | (AnalysisSource::Prometheus, None) => WatchSource::Pods,
    };
    let checks = checks(&analysis, &objectives);
    if checks.is_empty() {
        return None;
    }
    Some(Watch {
        key: key(draft, change, &source, &checks),
        source,
        interval_seconds: analysis.interval_seconds(),
        candidate: exposed(draft, &change.candidate)?,
        stable: exposed(draft, &change.stable)?,
        checks,
        probe_paths: draft.observed.spec().probe_paths(),
    })
}

/// The candidate whose requests are judged, in the states in which that can take it back.
pub(super) fn tried_out(state: &State) -> Option<&Change> {
    match state {
        State::Rolling(change) | State::Promoting(change) | State::Baking(change) => Some(change),
        State::Fresh | State::Starting { .. } | State::Steady { .. } | State::Returning(_) => None,
    }
}

/// What was found for other objectives, or of another source, says nothing.
fn key(draft: &Draft<'_>, change: &Change, source: &WatchSource, checks: &[Check]) -> String {
    let asked = RevisionDigest::of_value(&format!("{source:?} {checks:?}")).short(8);
    format!("{}/{}/{asked}", draft.situation.seq, change.candidate)
}

/// The port of a revision with its metrics: the one that is named, else the one called metrics, else http, else the first.
fn exposed(draft: &Draft<'_>, revision: &str) -> Option<Exposed> {
    let monitoring = draft
        .observed
        .spec()
        .operation
        .monitoring
        .clone()
        .unwrap_or_default();
    let record = draft.records.get(revision)?;
    let ports = &record.data.input.ports;
    let named = |name: &str| ports.iter().find(|port| port.name == name);
    let usual = || named("metrics").or_else(|| named("http"));
    let port = monitoring
        .port
        .as_deref()
        .and_then(named)
        .or_else(usual)
        .or_else(|| ports.iter().find(|port| port.protocol == PortProtocol::Tcp))?;
    Some(Exposed {
        revision: revision.to_owned(),
        port: port.container_port.try_into().ok()?,
        path: monitoring.path.unwrap_or_else(|| PATH.to_owned()),
    })
}

/// Whether the pods' own metrics tell an objective. What is told by queries only a Prometheus can answer.
fn told_by_pods(objective: &Objective) -> bool {
    objective.indicator.queries.is_none()
}

fn checks(analysis: &Analysis, objectives: &[&Objective]) -> Vec<Check> {
    let compared = analysis.compare_with_stable.unwrap_or_default() == CompareWithStable::Enabled;
    let several = u32::try_from(objectives.len()).ok().and_then(NonZeroU32::new);
    let alpha = analysis
        .false_alarm_percent
        .as_deref()
        .and_then(|text| text.parse::<f64>().ok())
        .and_then(|percent| Alpha::new(percent / 100.0).ok())
        .unwrap_or_default()
        .shared_among(several.unwrap_or(NonZeroU32::MIN));
    let clearing = analysis
        .clear_early_factor
        .as_deref()
        .and_then(|text| text.parse::<f64>().ok())
        .and_then(|factor| Factor::new(factor).ok())
        .map_or(Clearing::Never, Clearing::NotWorseBy);
    let terms = |standard| Terms {
        alpha,
        standard,
        clearing,
        minimum_samples: analysis.minimum_requests(),
    };
    let tolerated = Factor::ONE;
    if objectives.is_empty() {
        let alone = Check {
            name: ERRORS.to_owned(),
            indicator: Indicator::Errors,
            names: Names::Usual,
            terms: terms(Standard::Stable { tolerated }),
        };
        return if compared { vec![alone] } else { Vec::new() };
    }
    let judged = objectives.iter().filter_map(|objective| {
        let allowed = BadShare::from_good_percent(&objective.good_percent).ok()?;
        let standard = if compared {
            Standard::Both { tolerated, allowed }
        } else {
            Standard::Objective { allowed }
        };
        let (indicator, names) = indicator(&objective.indicator)?;
        Some(Check {
            name: objective.name.clone(),
            indicator,
            names,
            terms: terms(standard),
        })
    });
    judged.collect()
}

/// What the schema lets through is one of three; None for queries, which no pod answers.
fn indicator(indicator: &api::Indicator) -> Option<(Indicator, Names)> {
    if indicator.queries.is_some() {
        return None;
    }
    if let Some(latency) = &indicator.latency {
        let milliseconds = u32::try_from(latency.threshold_milliseconds).ok();
        let milliseconds = milliseconds.and_then(NonZeroU32::new)?;
        let names = latency
            .metric
            .as_ref()
            .map_or(Names::Usual, |metric| Names::Given(Given::of_histogram(metric)));
        return Some((Indicator::SlowerThan { milliseconds }, names));
    }
    let errors = indicator.errors.as_ref()?;
    let names = errors
        .metric
        .as_ref()
        .map_or(Names::Usual, |metric| Names::Given(Given::of_counter(metric)));
    Some((Indicator::Errors, names))
}

// --- what came of it

/// The report on what is watched now.
fn report<'a>(draft: &Draft<'a>) -> Option<&'a AnalysisReport> {
    let report = draft.observed.analysis.as_ref()?;
    (report.key == watch(draft)?.key).then_some(report)
}

/// What the requests say about the candidate of `change`.
pub fn opinion(draft: &Draft<'_>, change: &Change) -> Opinion {
    let rulings = report(draft).into_iter().flat_map(|report| &report.rulings);
    let mut shared = None;
    for (name, ruling) in rulings {
        let words = || evidence(name, ruling, change);
        match ruling.verdict {
            Verdict::Failing(cause) => {
                let reason = match cause {
                    Cause::WorseThanStable => "WorseThanStable",
                    Cause::WorseThanObjective => "ObjectiveMissed",
                };
                return Opinion::Fault(Fault {
                    blame: Blame::Candidate,
                    reason: reason.to_owned(),
                    message: words(),
                });
            }
            Verdict::Inconclusive(Open::SharedWithStable) => shared = shared.or_else(|| Some(words())),
            Verdict::Passing | Verdict::Inconclusive(_) => {}
        }
    }
    if let Some(fault) = measuring::fault(draft, change) {
        return Opinion::Fault(fault);
    }
    shared.map_or(Opinion::Silent, |message| Opinion::Shared { message })
}

fn evidence(name: &str, ruling: &Ruling, change: &Change) -> String {
    let share = |count: Count, revision: &str| {
        count.bad_share().map_or_else(
            || format!("{revision} had no request"),
            |share| {
                format!(
                    "{} % of {} requests of {revision}",
                    percent(share),
                    count.requests()
                )
            },
        )
    };
    format!(
        "{name}: {} were bad; {}",
        share(ruling.candidate, &change.candidate),
        share(ruling.stable, &change.stable)
    )
}

/// A share as a percentage, with no more digits than say something.
fn percent(share: f64) -> String {
    let text = format!("{:.3}", share * 100.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whether all that is judged was shown to be good enough. Never where nothing is judged.
pub fn cleared(draft: &Draft<'_>) -> bool {
    report(draft).is_some_and(|report| {
        !report.rulings.is_empty()
            && report
                .rulings
                .values()
                .all(|ruling| ruling.verdict == Verdict::Passing)
    })
}

/// What the end of a step or of the bake waits for; `None` where it waits for no request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// For what, in words.
    pub words: String,
    /// Until when. None: for as long as it takes, and nobody is blamed for it.
    pub until: Option<Timestamp>,
}

/// What is missing at the end of a step or of the bake that came at `end`.
pub fn missing(draft: &Draft<'_>, change: &Change, end: Timestamp) -> Option<Missing> {
    if draft.expedited(&change.candidate) {
        return None;
    }
    let watch = watch(draft)?;
    if let Some(words) = unanswered(draft, &watch) {
        return Some(Missing { words, until: None });
    }
    let strategy = draft.observed.spec().operation.strategy();
    let analysis = strategy.analysis.clone().unwrap_or_default();
    if analysis.no_data.unwrap_or_default() == NoData::Pass {
        return None;
    }
    let rulings = report(draft).map(|report| &report.rulings);
    let unknown = watch.checks.iter().find_map(|check| {
        let ruling = rulings.and_then(|rulings| rulings.get(&check.name));
        let seen = ruling.map_or(0, |ruling| ruling.candidate.requests());
        let enough = ruling.is_some_and(|ruling| match ruling.verdict {
            Verdict::Passing | Verdict::Failing(_) => true,
            Verdict::Inconclusive(open) => match open {
                Open::NotRead | Open::NoRequests | Open::TooFewSamples { .. } | Open::NoBaseline => false,
                Open::SharedWithStable | Open::Undecided => true,
            },
        });
        (!enough).then(|| {
            let least = NonZeroU64::new(analysis.minimum_requests()).map_or(1, NonZeroU64::get);
            format!(
                "{}: {seen} of {least} requests of {} seen",
                check.name, change.candidate
            )
        })
    })?;
    Some(Missing {
        words: unknown,
        until: Some(later(end, strategy.progress_deadline_seconds())),
    })
}

/// That the source does not answer, where it is one that a rollout waits for: a service that is to be judged by its
/// Prometheus is not let through for the reason that Prometheus is down. The pods' own metrics are another matter. They
/// answer as long as the pods do, unless something between keeps us out for good, and that is said before the first step.
fn unanswered(draft: &Draft<'_>, watch: &Watch) -> Option<String> {
    match watch.source {
        WatchSource::Pods => None,
        WatchSource::Prometheus(_) => match report(draft).map(|report| &report.answered) {
            Some(Answered::Yes) => None,
            None | Some(Answered::NotAsked) => Some("the first answer of Prometheus".to_owned()),
            Some(Answered::No { why }) => Some(format!("Prometheus: {why}")),
        },
    }
}

/// What the end of a step or of the bake at `end` waits for by the requests, in words; `None`: nothing.
pub fn waiting(draft: &Draft<'_>, change: &Change, end: Timestamp) -> Option<String> {
    if let Opinion::Shared { message } = opinion(draft, change) {
        return Some(format!("the stable revision to recover as well: {message}"));
    }
    if end > draft.now {
        return None;
    }
    Some(missing(draft, change, end)?.words)
}

/// The fault of a candidate of which too little could be seen.
pub fn no_data(missing: &Missing) -> Fault {
    Fault {
        blame: Blame::Environment,
        reason: "NoData".to_owned(),
        message: format!("{} by the progress deadline, and noData is Wait", missing.words),
    }
}

/// What the status says of the checks.
pub fn check_statuses(draft: &Draft<'_>) -> Vec<CheckStatus> {
    let Some(watch) = watch(draft) else {
        return Vec::new();
    };
    let report = report(draft);
    let said = |check: &Check| {
        let ruling = report.and_then(|report| report.rulings.get(&check.name));
        let (verdict, reason) = ruling.map_or((CheckVerdict::Inconclusive, "NotRead"), |r| said(r.verdict));
        CheckStatus {
            name: check.name.clone(),
            verdict,
            reason: reason.to_owned(),
            value: ruling
                .and_then(|ruling| ruling.candidate.bad_share())
                .map(percent),
            baseline: ruling.and_then(|ruling| ruling.stable.bad_share()).map(percent),
            samples: ruling.map_or(0, |r| i64::try_from(r.candidate.requests()).unwrap_or(i64::MAX)),
            message: None,
        }
    };
    watch.checks.iter().map(said).collect()
}

fn said(verdict: Verdict) -> (CheckVerdict, &'static str) {
    match verdict {
        Verdict::Failing(Cause::WorseThanStable) => (CheckVerdict::Failing, "WorseThanStable"),
        Verdict::Failing(Cause::WorseThanObjective) => (CheckVerdict::Failing, "ObjectiveMissed"),
        Verdict::Passing => (CheckVerdict::Passing, "Cleared"),
        Verdict::Inconclusive(open) => {
            let reason = match open {
                Open::NotRead => "NotRead",
                Open::NoRequests => "NoRequests",
                Open::TooFewSamples { .. } => "TooFewRequests",
                Open::NoBaseline => "NoBaseline",
                Open::SharedWithStable => "SharedWithStable",
                Open::Undecided => "NothingFound",
            };
            (CheckVerdict::Inconclusive, reason)
        }
    }
}

/// Reason and message of the condition AnalysisReady where it is not; none where requests are read, or nothing is to be
/// judged.
pub fn trouble(draft: &Draft<'_>) -> Option<(&'static str, String)> {
    let watch = watch(draft)?;
    if let Answered::No { why } = &report(draft)?.answered
        && matches!(watch.source, WatchSource::Prometheus(_))
    {
        return Some((
            "SourceUnavailable",
            format!("{why}; no step ends until it answers, and pods alone can take the revision back"),
        ));
    }
    let (revision, why) = report(draft)?.unreadable.iter().next()?;
    Some((
        "Unreadable",
        format!("the requests of {revision} cannot be read: {why}; pods alone decide until they can"),
    ))
}
