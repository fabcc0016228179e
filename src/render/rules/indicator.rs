//! From an indicator to two rates of requests, all and bad ones, by revision.
//!
//! Usual names are recorded as they are first, once for each service; what an objective counts is put together from that.
//! A revision counts its requests in one way, so of several ways that are there the first in the order of [`ways`] is
//! taken for each revision, never two together.

use std::cmp::Reverse;

use super::bounds;
use super::promql::{Comparison, Matcher, escaped, label_name, pattern_of, scraped_label, selector};
use crate::analysis::{BadValues, Family, Given, Names, ProbePaths, Scope, Unit};
use crate::api::{self, QueriesIndicator, labels};

/// The label that tells a revision on what is scraped.
pub(in crate::render) fn revision_label() -> String {
    label_name(labels::REVISION)
}

/// Requests a second by status, of one family of the usual names.
pub(super) const BY_STATUS: &str = "microservice:requests_by_status:rate5m";
/// Requests a second by upper bound of duration, of one family of the usual names.
pub(super) const BY_BOUND: &str = "microservice:request_duration_bucket:rate5m";
/// Requests a second, of an indicator.
pub(in crate::render) const REQUESTS: &str = "microservice:requests:rate5m";
/// Bad requests a second, of an indicator.
pub(in crate::render) const BAD_REQUESTS: &str = "microservice:bad_requests:rate5m";

/// The service that rules are about.
#[derive(Clone, Copy, Debug)]
pub(in crate::render) struct Subject<'a> {
    /// Its namespace.
    pub(in crate::render) namespace: &'a str,
    /// Its name.
    pub(in crate::render) service: &'a str,
    /// Paths whose requests do not count.
    pub(in crate::render) probes: &'a ProbePaths,
}

impl Subject<'_> {
    /// The labels of what is recorded for it.
    pub(in crate::render) fn recorded(&self) -> Vec<Matcher> {
        vec![
            Matcher::is("namespace", self.namespace),
            Matcher::is("microservice", self.service),
        ]
    }

    /// What is recorded for one indicator.
    pub(in crate::render) fn of_indicator(&self, record: &str, indicator: &str) -> String {
        let mut matchers = self.recorded();
        matchers.push(Matcher::is("indicator", indicator));
        selector(record, &matchers)
    }

    /// The labels of what is scraped from its pods, by our monitor.
    fn scraped(&self) -> Vec<Matcher> {
        vec![
            Matcher::is("namespace", self.namespace),
            Matcher::is(label_name(labels::INSTANCE), self.service),
        ]
    }

    /// The same without probes and the reading of metrics.
    fn asked_for(&self, family: &Family) -> Vec<Matcher> {
        let mut matchers = self.scraped();
        match family.scope {
            Scope::Inbound => matchers.push(Matcher::is("reporter", "destination")),
            Scope::All | Scope::Grpc => {}
        }
        let probes = probe_pattern(self.probes, family.scope);
        let unlike = |label| Matcher::new(scraped_label(label), Comparison::MatchesNot, probes.as_str());
        matchers.extend(path_labels(family).iter().map(|label| unlike(label)));
        matchers
    }
}

/// What makes a request bad, and by which names it is told.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::render) enum Indicator {
    /// It failed by the server's fault.
    Errors(Names),
    /// It took longer than so many milliseconds.
    SlowerThan(u32, Names),
    /// Two queries say it.
    Queries(QueriesIndicator),
}

impl Indicator {
    /// Reads an indicator; `None` for what the schema does not let through.
    pub(super) fn read(indicator: &api::Indicator) -> Option<Self> {
        if let Some(queries) = &indicator.queries {
            return Some(Self::Queries(queries.clone()));
        }
        if let Some(latency) = &indicator.latency {
            let milliseconds = latency.threshold_milliseconds.try_into().ok()?;
            return Some(Self::SlowerThan(milliseconds, latency_names(indicator)));
        }
        indicator.errors.as_ref()?;
        Some(Self::Errors(error_names(indicator)))
    }

    /// The expression for its requests.
    pub(super) fn requests(&self, subject: &Subject<'_>, name: &str) -> String {
        match self {
            Self::Errors(names) => first_of(counters(subject, names).iter().map(Counter::requests)),
            Self::SlowerThan(milliseconds, names) => {
                let histograms = histograms(subject, names);
                first_of(
                    histograms
                        .iter()
                        .map(|histogram| histogram.requests(*milliseconds)),
                )
            }
            // At a moment of which the bad ones are not known the others are of no use.
            Self::Queries(queries) => format!(
                "({} >= 0) and on () {}",
                query(&queries.total, subject),
                subject.of_indicator(BAD_REQUESTS, name)
            ),
        }
    }

    /// The expression for its bad requests: there at each moment at which there are requests, and zero if need be.
    pub(super) fn bad_requests(&self, subject: &Subject<'_>) -> String {
        match self {
            Self::Errors(names) => first_of(counters(subject, names).iter().map(Counter::bad_requests)),
            Self::SlowerThan(milliseconds, names) => {
                let histograms = histograms(subject, names);
                first_of(histograms.iter().map(|histogram| histogram.slow(*milliseconds)))
            }
            // A comparison with NaN holds never: a moment at which a query does not know is left out.
            Self::Queries(queries) => {
                let total = query(&queries.total, subject);
                let good = query(&queries.good, subject);
                format!("clamp_min({total} - ({good} or {total} * 0), 0) >= 0 < +Inf")
            }
        }
    }
}

/// By which names errors are told.
pub(super) fn error_names(indicator: &api::Indicator) -> Names {
    let metric = indicator
        .errors
        .as_ref()
        .and_then(|errors| errors.metric.as_ref());
    metric.map_or(Names::Usual, |metric| Names::Given(Given::of_counter(metric)))
}

/// By which names durations are told.
pub(super) fn latency_names(indicator: &api::Indicator) -> Names {
    let metric = indicator
        .latency
        .as_ref()
        .and_then(|latency| latency.metric.as_ref());
    metric.map_or(Names::Usual, |metric| Names::Given(Given::of_histogram(metric)))
}

/// What is recorded of the usual counters, and how.
pub(super) fn usual_counters(subject: &Subject<'_>) -> Vec<(String, String)> {
    let families = ways(&Names::Usual);
    let recorded = families
        .iter()
        .filter(|family| tells_errors(family))
        .map(|family| {
            let name = name_of(family);
            let statuses = family.status.iter().map(|(label, _)| label.as_ref());
            let by = [revision_label().as_str()]
                .into_iter()
                .chain(statuses)
                .collect::<Vec<_>>()
                .join(", ");
            let rate = rate(&name, &subject.asked_for(family));
            (name, format!("sum by ({by}) ({rate})"))
        });
    recorded.collect()
}

/// What is recorded of the usual histograms, and how.
pub(super) fn usual_histograms(subject: &Subject<'_>) -> Vec<(String, String)> {
    let families = ways(&Names::Usual);
    let recorded = families.iter().filter_map(|family| {
        let (buckets, _) = family.buckets.as_ref()?;
        let rate = rate(buckets, &subject.asked_for(family));
        Some((
            buckets.to_string(),
            format!("sum by ({}, le) ({rate})", revision_label()),
        ))
    });
    recorded.collect()
}

/// The percentile of durations in seconds, by the labels named; `share` of one.
pub(in crate::render) fn quantile(subject: &Subject<'_>, names: &Names, share: &str, by: &[&str]) -> String {
    let of = |histograms: &[&Histogram]| {
        let buckets = first_of(histograms.iter().map(|histogram| histogram.buckets()));
        let by = [by, &["le"]].concat().join(", ");
        format!("histogram_quantile({share}, sum by ({by}) ({buckets}))")
    };
    let histograms = histograms(subject, names);
    let in_unit = |unit| histograms.iter().filter(|h| h.unit == unit).collect::<Vec<_>>();
    let (seconds, milliseconds) = (in_unit(Unit::Seconds), in_unit(Unit::Milliseconds));
    match (seconds.as_slice(), milliseconds.as_slice()) {
        ([], milliseconds) => format!("{} / 1000", of(milliseconds)),
        (seconds, []) => of(seconds),
        (seconds, milliseconds) => format!("{}\nor {} / 1000", of(seconds), of(milliseconds)),
    }
}

/// Of a revision the first that there is.
fn first_of(expressions: impl Iterator<Item = String>) -> String {
    expressions
        .collect::<Vec<_>>()
        .join(&format!("\nor on ({}) ", revision_label()))
}

/// Ways of counting, in the order in which they are preferred: gRPC where it is used; what has buckets, because that mostly
/// tells paths, by which probes are left out; a proxy that probes do not pass; other counters.
fn ways(names: &Names) -> Vec<Family> {
    let mut families = Family::of(names);
    families.sort_by_key(|family| match family.scope {
        Scope::Grpc => (0, Reverse(false)),
        Scope::All => (1, Reverse(family.buckets.is_some())),
        Scope::Inbound => (1, Reverse(true)),
    });
    families
}

/// Histograms of gRPC do not tell codes, and Istio's are beside a counter that does.
fn tells_errors(family: &Family) -> bool {
    match family.scope {
        Scope::All => true,
        Scope::Grpc | Scope::Inbound => family.buckets.is_none(),
    }
}

fn name_of(family: &Family) -> String {
    family.counts.first().map(ToString::to_string).unwrap_or_default()
}

/// OpenTelemetry and Micrometer each have one name for it; others have many.
fn path_labels(family: &Family) -> &'static [&'static str] {
    match name_of(family).as_str() {
        "http_server_request_duration_seconds_count" => &["http_route"],
        "http_server_requests_seconds_count" => &["uri"],
        _ => family.paths,
    }
}

/// A pattern of what a label says of probes and of the reading of metrics, in the forms that [`ProbePaths`] knows.
///
/// Prometheus compiles the patterns of a rule anew at each evaluation, and its own analysis of them takes 20 ms each where
/// case is ignored in a class that excludes letters, and half a millisecond where it is ignored in words alone.
fn probe_pattern(probes: &ProbePaths, scope: Scope) -> String {
    let of_grpc = |form: &&str| form.starts_with("grpc_");
    let forms = probes.forms().filter(|form| match scope {
        Scope::Grpc => of_grpc(form),
        Scope::All | Scope::Inbound => !of_grpc(form),
    });
    let forms: Vec<String> = forms.map(|form| form.replace('_', ".")).collect();
    format!(
        "([a-zA-Z]+ )?[^a-zA-Z0-9]*(?i:{})[^a-zA-Z0-9]*([?#].*)?",
        forms.join("|")
    )
}

fn rate(name: &str, matchers: &[Matcher]) -> String {
    format!("rate({}[5m])", selector(name, matchers))
}

/// What a query gives, summed up. The line break ends a comment that the query may end with.
fn query(text: &str, subject: &Subject<'_>) -> String {
    let text = text
        .replace("{{namespace}}", &escaped(subject.namespace))
        .replace("{{service}}", &escaped(subject.service))
        // Those of any revision: names are the service's with a digest.
        .replace(
            "{{revision}}",
            &format!("{}-[a-z0-9]+", pattern_of(subject.service)),
        )
        .replace(
            "{{revisionPods}}",
            &format!("{}(-[a-z0-9]+){{3}}", pattern_of(subject.service)),
        );
    format!("sum(\n{}\n)", text.trim())
}

/// Rates of requests that labels narrow further down.
enum Rates {
    /// Recorded under this name with these labels.
    Recorded(&'static str, Vec<Matcher>),
    /// Of a counter of this name.
    OfCounter(String, Vec<Matcher>),
}

impl Rates {
    fn with(&self, more: &[Matcher]) -> String {
        match self {
            Self::Recorded(name, matchers) => selector(name, &[matchers, more].concat()),
            Self::OfCounter(name, matchers) => rate(name, &[matchers, more].concat()),
        }
    }

    fn recorded(subject: &Subject<'_>, record: &'static str, family: String) -> Self {
        let mut matchers = subject.recorded();
        matchers.push(Matcher::is("family", family));
        Self::Recorded(record, matchers)
    }
}

/// Whether a way of counting is taken also while it counts nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Idle {
    /// It is.
    Counts,
    /// What else there is goes before: a gRPC library in a service of HTTP shows zeros.
    GivesWay,
}

impl Idle {
    fn of(family: &Family) -> Self {
        match family.scope {
            Scope::Grpc => Self::GivesWay,
            Scope::All | Scope::Inbound => Self::Counts,
        }
    }

    /// The expression, where there are `requests`.
    fn unless_idle(self, expression: String, requests: &str) -> String {
        match self {
            Self::Counts => expression,
            Self::GivesWay => format!("{expression} and on ({}) ({requests} > 0)", revision_label()),
        }
    }
}

/// A counter with labels that tell bad requests.
struct Counter {
    rates: Rates,
    /// What tells that a request has an outcome; requests without one are not counted.
    told: Vec<Matcher>,
    bad: Vec<Matcher>,
    idle: Idle,
}

fn counters(subject: &Subject<'_>, names: &Names) -> Vec<Counter> {
    let families = ways(names);
    let told_by = |family: &Family, rates: Rates, label: fn(&str) -> String| Counter {
        rates,
        told: family
            .status
            .iter()
            .map(|(status, _)| Matcher::new(label(status), Comparison::IsNot, ""))
            .collect(),
        bad: family
            .status
            .iter()
            .map(|(status, bad)| Matcher::new(label(status), Comparison::Matches, bad_pattern(bad)))
            .collect(),
        idle: Idle::of(family),
    };
    match names {
        Names::Usual => {
            let families = families.iter().filter(|family| tells_errors(family));
            let recorded = |family| {
                let rates = Rates::recorded(subject, BY_STATUS, name_of(family));
                told_by(family, rates, str::to_owned)
            };
            families.map(recorded).collect()
        }
        Names::Given(_) => {
            let named = families.iter().flat_map(|family| {
                let counts = family.counts.iter();
                // What ends like a counter is one, and not the name of a family.
                let whole = ["_total", "_count"]
                    .iter()
                    .any(|end| name_of(family).ends_with(end));
                let counts = counts.take(if whole { 1 } else { usize::MAX });
                counts.map(move |name| (family, name.to_string()))
            });
            let of_counter = |(family, name)| {
                let rates = Rates::OfCounter(name, subject.asked_for(family));
                told_by(family, rates, scraped_label)
            };
            named.map(of_counter).collect()
        }
    }
}

impl Counter {
    fn sum(&self, rates: &str) -> String {
        format!("sum by ({}) ({rates})", revision_label())
    }

    /// A request may tell its outcome by several labels, and is one request all the same: `or` takes a series once.
    fn any(&self, matchers: &[Matcher]) -> String {
        let rates = matchers
            .iter()
            .map(|matcher| self.rates.with(std::slice::from_ref(matcher)));
        rates.collect::<Vec<_>>().join(" or ")
    }

    fn requests(&self) -> String {
        let requests = self.sum(&self.any(&self.told));
        self.idle.unless_idle(requests.clone(), &requests)
    }

    fn bad_requests(&self) -> String {
        let told = self.any(&self.told);
        let bad = self.sum(&format!("{} or 0 * ({told})", self.any(&self.bad)));
        self.idle.unless_idle(bad, &self.sum(&told))
    }
}

/// The values that mean that a request was bad.
fn bad_pattern(bad: &BadValues) -> String {
    match bad {
        BadValues::HttpServerErrors => "5([0-9][0-9]|[xX][xX])".to_owned(),
        BadValues::GrpcServerErrors => {
            let names = "unknown|deadline_?exceeded|unimplemented|internal|unavailable|data_?loss";
            format!("(?i)({names}|2|4|12|13|14|15)")
        }
        BadValues::OneOf(values) => values
            .iter()
            .map(|value| pattern_of(value))
            .collect::<Vec<_>>()
            .join("|"),
    }
}

/// A histogram of durations.
struct Histogram {
    rates: Rates,
    unit: Unit,
    idle: Idle,
}

fn histograms(subject: &Subject<'_>, names: &Names) -> Vec<Histogram> {
    let families = ways(names);
    let histogram = |family: &Family| {
        let (name, unit) = family.buckets.as_ref()?;
        let rates = match names {
            Names::Usual => Rates::recorded(subject, BY_BOUND, name.to_string()),
            Names::Given(_) => Rates::OfCounter(name.to_string(), subject.asked_for(family)),
        };
        Some(Histogram {
            rates,
            unit: *unit,
            idle: Idle::of(family),
        })
    };
    families.iter().filter_map(histogram).collect()
}

impl Histogram {
    /// Requests of any duration.
    fn all(&self) -> String {
        let all = self.rates.with(&[Matcher::is("le", "+Inf")]);
        format!("sum by ({}) ({all})", revision_label())
    }

    /// Requests up to the smallest bound that is not below the threshold. Where no bound is so high there is nothing:
    /// slow requests could not be told.
    fn quick(&self, milliseconds: u32) -> String {
        let pattern = match self.unit {
            Unit::Seconds => bounds::in_seconds(milliseconds),
            Unit::Milliseconds => bounds::in_milliseconds(milliseconds),
        };
        let quick = self
            .rates
            .with(&[Matcher::new("le", Comparison::Matches, pattern)]);
        let revision = revision_label();
        format!("min by ({revision}) (sum by ({revision}, le) ({quick}))")
    }

    fn requests(&self, milliseconds: u32) -> String {
        let all = self.all();
        let told = format!("{all} and on ({}) {}", revision_label(), self.quick(milliseconds));
        self.idle.unless_idle(told, &all)
    }

    fn slow(&self, milliseconds: u32) -> String {
        let all = self.all();
        // The two are read one after the other, so that a bucket may be ahead of the whole.
        let slow = format!("clamp_min({all} - {}, 0)", self.quick(milliseconds));
        self.idle.unless_idle(slow, &all)
    }

    fn buckets(&self) -> String {
        let buckets = format!("sum by ({}, le) ({})", revision_label(), self.rates.with(&[]));
        self.idle.unless_idle(buckets, &self.all())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex::Regex;

    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        Regex::new(&format!("^(?:{pattern})$")).unwrap().is_match(text)
    }

    #[test]
    fn patterns_hold_what_the_judge_holds() {
        let listed: BTreeSet<String> = ["failed".to_owned(), "1.0".to_owned()].into();
        for bad in [
            BadValues::HttpServerErrors,
            BadValues::GrpcServerErrors,
            BadValues::OneOf(listed),
        ] {
            let pattern = bad_pattern(&bad);
            for value in [
                "500",
                "599",
                "5xx",
                "5XX",
                "200",
                "404",
                "50",
                "5000",
                "",
                "Unknown",
                "DEADLINE_EXCEEDED",
                "DeadlineExceeded",
                "DATA_LOSS",
                "DataLoss",
                "Unimplemented",
                "Internal",
                "Unavailable",
                "OK",
                "NotFound",
                "Canceled",
                "0",
                "1",
                "2",
                "4",
                "8",
                "12",
                "13",
                "14",
                "15",
                "failed",
                "1.0",
                "100",
            ] {
                assert_eq!(fits(&pattern, value), bad.hold(value), "{bad:?} {value}");
            }
        }
    }

    #[test]
    fn probes_are_told_as_the_judge_tells_them() {
        let probes = ProbePaths::usual().and(["/internal/up", "/"]);
        let pattern = probe_pattern(&probes, Scope::All);
        for label in [
            "/healthz",
            "healthz",
            "GET /healthz",
            "/metrics?name[]=up",
            "/actuator/health/",
            "actuator_prometheus",
            "internal_up",
            "/-/ready",
            "/",
            "",
            "root",
            "/orders",
            "/healthz/orders",
            "/api/health",
        ] {
            assert_eq!(fits(&pattern, label), probes.hold(label), "{label}");
        }
        let pattern = probe_pattern(&probes, Scope::Grpc);
        assert!(fits(&pattern, "grpc.health.v1.Health"));
        assert!(!fits(&pattern, "shop.v1.Cart"));
    }
}
