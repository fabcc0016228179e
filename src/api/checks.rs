//! Checks with a limit of their own: what is measured beside the requests of the pods, and what is good enough.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::analysis::NoData;
use super::jobs::JobTemplate;
use super::notifications::SecretKey;

/// Something that is measured while the new revision goes out. Texts may name {{service}}, {{namespace}}, {{revision}}, {{stable}}, and {{revisionPods}} and {{stablePods}}, which are regular expressions for the names of their pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.prometheus), has(self.web), has(self.job)].filter(given, given).size() == 1").message("a check needs exactly one of prometheus, web or job"))]
#[x_kube(validation = Rule::new("!has(self.job) || has(self.intervalSeconds) && (!has(self.count) || self.count <= 30) && (!has(self.failureLimit) || self.failureLimit < 30) || (!has(self.count) || self.count == 1) && (!has(self.failureLimit) || self.failureLimit == 0)").message("a Job runs once in a step, so count and failureLimit need intervalSeconds, and with it at most 30 times: count is at most 30, failureLimit at most 29"))]
#[x_kube(validation = Rule::new("!has(self.job) || !has(self.errorLimit) && !has(self.noDataLimit) && !has(self.noData)").message("errorLimit, noDataLimit and noData are not for Jobs: a Job succeeds or fails"))]
#[x_kube(validation = Rule::new("[has(self.prometheus) && has(self.prometheus.query) ? self.prometheus.query : '', has(self.web) ? self.web.url : '', has(self.web) && has(self.web.body) ? self.web.body : ''].all(text, text.matches('^([^{]|[{][^{]|[{][{](service|namespace|revision|stable|revisionPods|stablePods)[}][}])*[{]?$'))").message("texts of a check know {{service}}, {{namespace}}, {{revision}}, {{stable}}, {{revisionPods}} and {{stablePods}}, written so and without spaces; {{ begins nothing else"))]
pub struct AnalysisCheck {
    /// Its name.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A query whose value has limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusQuery>,
    /// A call whose answer has limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<WebCheck>,
    /// A Job that must succeed. It knows MICROSERVICE_NAME, MICROSERVICE_NAMESPACE, MICROSERVICE_REVISION, MICROSERVICE_STABLE and MICROSERVICE_STEP from its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTemplate>,
    /// Enforce: it can take the new revision back. DryRun: it is measured and shown, and nothing follows from it. Default: Enforce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CheckMode>,
    /// The first step at which it is measured, in the background of that one and of all later ones and of the bake. A check that a step names is measured in such steps alone. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub from_step: Option<i32>,
    /// Seconds before the first measurement. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds between two measurements. Default: 30; a Job runs once in each step, and again after so many seconds where this says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub interval_seconds: Option<i32>,
    /// How many measurements must have been good before a step that names the check ends. Default: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub count: Option<i32>,
    /// How many bad measurements are tolerated; with one more the new revision is taken back. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub failure_limit: Option<i32>,
    /// How many measurements in a row may go wrong, because nobody answered, before the rollout goes back; the revision is not to blame, and is tried again by itself. Default: any number; no step ends meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub error_limit: Option<i32>,
    /// The same for measurements in a row that found no value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1000))]
    pub no_data_limit: Option<i32>,
    /// What a step (and the bake) does at whose end the last measurement found no value: Pass goes on, Wait waits for one, at most until the progress deadline. Default: noData of analysis.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
}

/// What follows from a check.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CheckMode {
    /// Its word counts.
    #[default]
    Enforce,
    /// It is shown.
    DryRun,
}

/// A query in PromQL. It must give one number at a time: no series and NaN are no data, and several series an error.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.min) || has(self.max)").message("a query needs min or max, or nothing is ever bad"))]
#[x_kube(validation = Rule::new("has(self.query) != has(self.builtIn)").message("prometheus needs exactly one of query or builtIn"))]
pub struct PrometheusQuery {
    /// The query. What stands for a placeholder is escaped for the quotes of PromQL: write `pod=~"{{revisionPods}}"`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 4096))]
    pub query: Option<String>,
    /// A query that is known: what a router counts of the new revision's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_in: Option<BuiltInQuery>,
    /// Asks for a range that ends now instead of for the present value; each value in it must be within the limits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<QueryRange>,
    /// The least good value, as a decimal number in quotes: "0.95".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub min: Option<String>,
    /// The largest good value, as a decimal number in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub max: Option<String>,
}

/// What a router counts of the new revision's requests. Without requests there is no value.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.percentile) || self.value == 'LatencyMilliseconds'").message("percentile goes with value LatencyMilliseconds: leave it out, or set that"))]
pub struct BuiltInQuery {
    /// The router whose metrics the Prometheus has.
    pub router: MetricsRouter,
    /// What is asked for.
    pub value: BuiltInValue,
    /// The percentile of the latency. Default: 99.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 99))]
    pub percentile: Option<i32>,
    /// Over how long a time. It should hold four scrapes. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 10, max = 86400))]
    pub window_seconds: Option<i32>,
}

/// A router with metrics of its own.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum MetricsRouter {
    /// Traefik, by whatever kind of route.
    Traefik,
    /// ingress-nginx, while the revision is the canary.
    IngressNginx,
    /// Istio, as the revision's own sidecars or the ambient mesh report it.
    Istio,
}

/// A value of the new revision's requests.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum BuiltInValue {
    /// How many of a hundred end in a server's error.
    ErrorPercent,
    /// The time that they take.
    LatencyMilliseconds,
    /// How many there are.
    RequestsPerSecond,
}

impl BuiltInQuery {
    /// The percentile of the latency.
    pub fn percentile(&self) -> u8 {
        self.percentile
            .and_then(|percentile| percentile.try_into().ok())
            .unwrap_or(99)
    }

    /// Over how long a time.
    pub fn window_seconds(&self) -> u32 {
        natural(self.window_seconds).unwrap_or(60)
    }
}

/// A range of time that ends now.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.seconds >= self.stepSeconds && self.seconds / self.stepSeconds <= 1000").message("a range has at least one step and at most 1000"))]
pub struct QueryRange {
    /// How long it is.
    #[schemars(range(min = 1, max = 604800))]
    pub seconds: i32,
    /// Seconds between two of its values.
    #[schemars(range(min = 1, max = 86400))]
    pub step_seconds: i32,
}

/// A call over HTTP. Without value an answer of 2xx is good and any other bad; with value the answer is JSON.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.body) || (has(self.method) && self.method == 'POST')").message("a body needs method POST"))]
pub struct WebCheck {
    /// Its address. What stands for a placeholder is percent-encoded.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+(/\S*)?$"))]
    pub url: String,
    /// Default: GET.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<WebMethod>,
    /// Further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// What is sent, as application/json where the headers say nothing else. What stands for a placeholder is escaped for a string of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 16384))]
    pub body: Option<String>,
    /// Seconds that one call may take. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Where a token is that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_from: Option<SecretKey>,
    /// Where certificates of authorities are (PEM) that are trusted instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_from: Option<SecretKey>,
    /// What of the answer is looked at. An answer that is not 2xx is an error then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<AnswerValue>,
}

/// A value of an answer, and what of it is good.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.equals) != (has(self.min) || has(self.max))").message("a value needs equals, or else min or max or both"))]
pub struct AnswerValue {
    /// Where it is: a JSONPath (RFC 9535) to one value, `$.data.score`. No value there, and null, are no data.
    #[schemars(length(min = 1, max = 256), regex(pattern = r"^\$"))]
    pub json_path: String,
    /// The text, number, true or false that is good, as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub equals: Option<String>,
    /// The least good number, as a decimal number in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub min: Option<String>,
    /// The largest good number, as a decimal number in quotes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^-?[0-9]+(\.[0-9]+)?$"))]
    pub max: Option<String>,
}

/// A method of HTTP.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum WebMethod {
    /// It changes nothing.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// It may.
    #[serde(rename = "POST")]
    Post,
}

impl AnalysisCheck {
    /// Seconds between two measurements of a query or a call.
    pub fn interval_seconds(&self) -> u32 {
        natural(self.interval_seconds).unwrap_or(30).max(1)
    }

    /// Seconds before the first one.
    pub fn initial_delay_seconds(&self) -> u32 {
        natural(self.initial_delay_seconds).unwrap_or(0)
    }

    /// How many measurements must have been good.
    pub fn count(&self) -> u32 {
        natural(self.count).unwrap_or(1).max(1)
    }

    /// What follows from it.
    pub fn mode(&self) -> CheckMode {
        self.mode.unwrap_or_default()
    }
}

impl WebCheck {
    /// Seconds that one call may take.
    pub fn timeout_seconds(&self) -> u32 {
        natural(self.timeout_seconds).unwrap_or(10)
    }
}

/// What the schema lets through is not negative.
pub(crate) fn natural(number: Option<i32>) -> Option<u32> {
    number.and_then(|number| number.try_into().ok())
}
