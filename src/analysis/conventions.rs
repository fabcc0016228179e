//! By which names and labels services count their requests.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::api::{CountedMetric, HistogramMetric, HistogramUnit};

/// In what a histogram's bounds are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Prometheus' and OpenTelemetry's.
    Seconds,
    /// Envoy's and so Istio's.
    Milliseconds,
}

/// Which values of a label mean that a request failed by the server's fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadValues {
    /// HTTP 500 to 599, also written as a class: `5xx`.
    HttpServerErrors,
    /// gRPC's Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable and DataLoss, by name or by number: what
    /// OpenTelemetry counts as a server's error
    /// (<https://opentelemetry.io/docs/specs/semconv/rpc/grpc/>). Unimplemented is among them because that is what
    /// clients get from a revision that has lost a method; who calls what never existed gets it from both revisions.
    GrpcServerErrors,
    /// These, letter for letter.
    OneOf(BTreeSet<String>),
}

impl BadValues {
    /// Whether the value is one of them.
    pub fn hold(&self, value: &str) -> bool {
        match self {
            Self::HttpServerErrors => {
                let rest = value.strip_prefix('5').map(str::as_bytes);
                rest.is_some_and(|rest| {
                    rest.len() == 2
                        && (rest.iter().all(u8::is_ascii_digit) || rest.eq_ignore_ascii_case(b"xx"))
                })
            }
            Self::GrpcServerErrors => GRPC_SERVER_ERRORS.iter().any(|(name, number)| {
                let letters = value.bytes().filter(|byte| *byte != b'_');
                value == *number || letters.map(|b| b.to_ascii_lowercase()).eq(name.bytes())
            }),
            Self::OneOf(values) => values.contains(value),
        }
    }
}

/// Names in lower case without underscores: clients write `DeadlineExceeded` as well as `DEADLINE_EXCEEDED`.
const GRPC_SERVER_ERRORS: [(&str, &str); 6] = [
    ("unknown", "2"),
    ("deadlineexceeded", "4"),
    ("unimplemented", "12"),
    ("internal", "13"),
    ("unavailable", "14"),
    ("dataloss", "15"),
];

/// How a service's requests are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// The usual ones: see [`USUAL_FAMILIES`].
    Usual,
    /// Those that a user names.
    Given(Given),
}

/// A counter or a histogram that a user names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The name of the family, or of its counter: `orders_handled` stands for `orders_handled_total` and
    /// `orders_handled_count` as well.
    pub family: String,
    /// Of its buckets, where it is a histogram.
    pub unit: Unit,
    /// The label that tells bad requests.
    pub label: String,
    /// Which of its values do.
    pub bad: BadValues,
}

impl Given {
    /// The counter that a user names.
    pub fn of_counter(metric: &CountedMetric) -> Self {
        Self {
            family: metric.name.clone(),
            unit: Unit::Seconds,
            label: metric.label.clone(),
            bad: match metric.bad_values.is_empty() {
                true => BadValues::HttpServerErrors,
                false => BadValues::OneOf(metric.bad_values.iter().cloned().collect()),
            },
        }
    }

    /// The histogram that a user names.
    pub fn of_histogram(metric: &HistogramMetric) -> Self {
        Self {
            family: metric.name.clone(),
            unit: match metric.unit.unwrap_or_default() {
                HistogramUnit::Seconds => Unit::Seconds,
                HistogramUnit::Milliseconds => Unit::Milliseconds,
            },
            // Slow requests are told by the buckets.
            label: String::new(),
            bad: BadValues::HttpServerErrors,
        }
    }
}

/// Families that are recognised, for the user's eyes: podinfo's and promhttp's, OpenTelemetry's, Micrometer's,
/// go-grpc-prometheus', Istio's.
pub const USUAL_FAMILIES: [&str; 8] = [
    "http_requests_total",
    "http_request_duration_seconds",
    "http_server_request_duration_seconds",
    "http_server_requests_seconds",
    "grpc_server_handled_total",
    "grpc_server_handling_seconds",
    "istio_requests_total",
    "istio_request_duration_milliseconds",
];

/// One way of counting: a counter, or a histogram with its count and its buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Family {
    /// Names of samples that count requests; the first one that is there is read.
    pub(crate) counts: Vec<Cow<'static, str>>,
    /// The name of the samples of the buckets.
    pub(crate) buckets: Option<(Cow<'static, str>, Unit)>,
    /// Labels that tell bad requests. A sample is bad by any that it has, and tells nothing where it has none.
    pub(crate) status: Vec<(Cow<'static, str>, BadValues)>,
    /// Labels that tell what was asked for, the first of them that is there.
    pub(crate) paths: &'static [&'static str],
    /// Which samples are meant.
    pub(crate) scope: Scope,
}

/// Which samples of a family are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// All, probes among them unless a path tells.
    All,
    /// All, of gRPC. Probes are told by their service.
    Grpc,
    /// What the proxy before the service took in: neither what the service sends out, nor probes, which do not pass there.
    Inbound,
}

const PATHS: [&str; 7] = ["path", "http_route", "route", "uri", "handler", "endpoint", "url"];
const GRPC_PATHS: [&str; 1] = ["grpc_service"];

impl Family {
    fn http(counts: &'static str, buckets: Option<&'static str>, status: &[&'static str]) -> Self {
        Self {
            counts: vec![counts.into()],
            buckets: buckets.map(|name| (name.into(), Unit::Seconds)),
            status: status
                .iter()
                .map(|label| ((*label).into(), BadValues::HttpServerErrors))
                .collect(),
            paths: &PATHS,
            scope: Scope::All,
        }
    }

    fn grpc(counts: &'static str, buckets: Option<&'static str>) -> Self {
        Self {
            status: vec![("grpc_code".into(), BadValues::GrpcServerErrors)],
            paths: &GRPC_PATHS,
            scope: Scope::Grpc,
            ..Self::http(counts, buckets, &[])
        }
    }

    fn istio(counts: &'static str, buckets: Option<&'static str>) -> Self {
        Self {
            buckets: buckets.map(|name| (name.into(), Unit::Milliseconds)),
            status: vec![
                ("response_code".into(), BadValues::HttpServerErrors),
                ("grpc_response_status".into(), BadValues::GrpcServerErrors),
            ],
            paths: &[],
            scope: Scope::Inbound,
            ..Self::http(counts, None, &[])
        }
    }

    fn given(given: &Given) -> Self {
        let named = |suffix| Cow::Owned(format!("{}{suffix}", given.family));
        Self {
            counts: vec![named(""), named("_total"), named("_count")],
            buckets: Some((named("_bucket"), given.unit)),
            status: vec![(Cow::Owned(given.label.clone()), given.bad.clone())],
            paths: &PATHS,
            scope: Scope::All,
        }
    }

    /// The names of its samples.
    pub(super) fn sample_names(&self) -> impl Iterator<Item = &str> {
        let buckets = self.buckets.as_ref().map(|(name, _)| name.as_ref());
        self.counts.iter().map(Cow::as_ref).chain(buckets)
    }

    /// In the order in which they are preferred where nothing else tells one from the other.
    pub(crate) fn of(names: &Names) -> Vec<Self> {
        const STATUS: [&str; 3] = ["status", "status_code", "code"];
        match names {
            Names::Given(given) => vec![Self::given(given)],
            Names::Usual => vec![
                Self::grpc("grpc_server_handled_total", None),
                Self::grpc(
                    "grpc_server_handling_seconds_count",
                    Some("grpc_server_handling_seconds_bucket"),
                ),
                Self::http(
                    "http_server_request_duration_seconds_count",
                    Some("http_server_request_duration_seconds_bucket"),
                    &["http_response_status_code"],
                ),
                Self::http(
                    "http_server_requests_seconds_count",
                    Some("http_server_requests_seconds_bucket"),
                    &["status"],
                ),
                Self::http("http_requests_total", None, &STATUS),
                Self::http(
                    "http_request_duration_seconds_count",
                    Some("http_request_duration_seconds_bucket"),
                    &STATUS,
                ),
                Self::istio("istio_requests_total", None),
                Self::istio(
                    "istio_request_duration_milliseconds_count",
                    Some("istio_request_duration_milliseconds_bucket"),
                ),
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_errors_are_told_from_others() {
        let http = BadValues::HttpServerErrors;
        assert!(["500", "503", "599", "5xx", "5XX"].iter().all(|v| http.hold(v)));
        assert!(
            !["200", "404", "5", "50", "5000", "", "0", "4xx", "5x0"]
                .iter()
                .any(|v| http.hold(v))
        );
        let grpc = BadValues::GrpcServerErrors;
        assert!(
            [
                "Unknown",
                "DeadlineExceeded",
                "DEADLINE_EXCEEDED",
                "DataLoss",
                "14",
                "12"
            ]
            .iter()
            .all(|v| grpc.hold(v))
        );
        assert!(
            ![
                "OK",
                "NotFound",
                "Canceled",
                "ResourceExhausted",
                "0",
                "1",
                "8",
                ""
            ]
            .iter()
            .any(|v| grpc.hold(v))
        );
    }

    #[test]
    fn each_family_that_is_told_of_is_read() {
        let families = Family::of(&Names::Usual);
        for told in USUAL_FAMILIES {
            let read = families.iter().any(|family| {
                let counts = family.counts.iter().map(|name| name.trim_end_matches("_count"));
                counts
                    .chain(
                        family
                            .buckets
                            .iter()
                            .map(|(name, _)| name.trim_end_matches("_bucket")),
                    )
                    .any(|n| n == told)
            });
            assert!(read, "{told}");
        }
    }
}
