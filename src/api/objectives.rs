//! What good means: objectives, of which rollout analysis, alerts and dashboards are made.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What good means for the requests of a service.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("double(self.goodPercent) > 0.0").message("goodPercent must be more than 0: at 0 every request may be bad"))]
pub struct Objective {
    /// Its name.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The percentage of requests that are to be good, between 0 and 100, as a decimal number in quotes: "99.9".
    #[schemars(length(min = 1, max = 9), regex(pattern = r"^[0-9]{1,2}(\.[0-9]{1,6})?$"))]
    pub good_percent: String,
    /// What makes a request bad.
    pub indicator: Indicator,
}

/// What makes a request bad. Exactly one.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.errors) ? 1 : 0) + (has(self.latency) ? 1 : 0) + (has(self.queries) ? 1 : 0) == 1").message("an indicator is exactly one of errors, latency or queries"))]
pub struct Indicator {
    /// It failed by the server's fault: HTTP 5xx; gRPC Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable, DataLoss.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<ErrorsIndicator>,
    /// It took too long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<LatencyIndicator>,
    /// It is told by queries of your own. For alerts and dashboards; and with analysis.source Prometheus a rollout is judged by it where the queries name {{revision}} or {{revisionPods}}.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queries: Option<QueriesIndicator>,
}

/// Requests that failed.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorsIndicator {
    /// The counter that they are told by. Default: one of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<CountedMetric>,
}

/// Requests that took too long.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LatencyIndicator {
    /// A request that takes longer is bad. Best a bound of the histogram's buckets: else the next higher one counts.
    #[schemars(range(min = 1, max = 3600000))]
    pub threshold_milliseconds: i32,
    /// The histogram that they are told by. Default: one of the usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<HistogramMetric>,
}

/// Requests as two queries of PromQL tell them. Each gives requests a second, as a rate over five minutes: what it gives is summed up. {{revision}} and {{revisionPods}} are regular expressions: of the new revision's name and of its pods' names where a rollout is judged, of all the service's elsewhere; write pod=~"{{revisionPods}}".
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.good.matches('^([^{}]|[{][{](namespace|service|revision|revisionPods)[}][}]|[{][}]|[{][^{}]|[}][^{}])*[{}]?$')").message("in queries.good only {{namespace}}, {{service}}, {{revision}} and {{revisionPods}} are replaced: write no other {{...}}"))]
#[x_kube(validation = Rule::new("self.total.matches('^([^{}]|[{][{](namespace|service|revision|revisionPods)[}][}]|[{][}]|[{][^{}]|[}][^{}])*[{}]?$')").message("in queries.total only {{namespace}}, {{service}}, {{revision}} and {{revisionPods}} are replaced: write no other {{...}}"))]
pub struct QueriesIndicator {
    /// The good requests: sum(rate(orders_total{namespace="{{namespace}}",outcome="done"}[5m])).
    #[schemars(length(min = 1, max = 2048))]
    pub good: String,
    /// All requests.
    #[schemars(length(min = 1, max = 2048))]
    pub total: String,
}

/// A counter with a label that tells bad requests.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CountedMetric {
    /// Its name.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub name: String,
    /// The label that tells bad requests.
    #[schemars(length(min = 1, max = 100), regex(pattern = r"^[a-zA-Z_][a-zA-Z0-9_]*$"))]
    pub label: String,
    /// The values of it that do. Default: 500 to 599 and 5xx.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 50),
        inner(length(min = 1, max = 200)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub bad_values: Vec<String>,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct HistogramMetric {
    /// Its name, without _bucket.
    #[schemars(length(min = 1, max = 200), regex(pattern = r"^[a-zA-Z_:][a-zA-Z0-9_:]*$"))]
    pub name: String,
    /// In what its bounds are. Default: Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<HistogramUnit>,
}

/// In what a histogram's bounds are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum HistogramUnit {
    /// Seconds, as Prometheus and OpenTelemetry have it.
    #[default]
    Seconds,
    /// Milliseconds, as Envoy has it.
    Milliseconds,
}
