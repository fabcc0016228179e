//! How a new revision's requests are judged while it goes out.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checks::AnalysisCheck;
use super::notifications::SecretKey;

/// How a new revision's requests are judged while it goes out. They are read from the pods' own metrics, directly or through Prometheus.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.falseAlarmPercent) || (double(self.falseAlarmPercent) > 0.0 && double(self.falseAlarmPercent) <= 50.0)").message("falseAlarmPercent must be more than 0 and at most 50"))]
#[x_kube(validation = Rule::new("has(self.prometheus) || !((has(self.source) && self.source == 'Prometheus') || (has(self.checks) && self.checks.exists(check, has(check.prometheus))))").message("source Prometheus and checks by a query need the field prometheus with an address"))]
#[x_kube(validation = Rule::new("!has(self.clearEarlyFactor) || (double(self.clearEarlyFactor) > 1.0 && double(self.clearEarlyFactor) <= 100.0)").message("clearEarlyFactor must be more than 1 and at most 100"))]
pub struct Analysis {
    /// Auto: the pods' own metrics (port and path of monitoring). Prometheus: the same metrics as Prometheus scraped them; while it does not answer, no step ends and nothing is taken back for it. None: no request is judged. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AnalysisSource>,
    /// Where Prometheus is. For source Prometheus, and for checks by a query.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus: Option<PrometheusServer>,
    /// Seconds between two looks. Default: 1; with source Prometheus 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub interval_seconds: Option<i32>,
    /// Enabled: a revision that is worse than the stable one under the same traffic is taken back, also where the objective is kept. Disabled: objectives alone count. Default: Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compare_with_stable: Option<CompareWithStable>,
    /// The percentage of rollouts of a revision as good as the stable one that may be taken back by mistake, all looks and objectives together, as a decimal number in quotes. Default: "1".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 9), regex(pattern = r"^[0-9]{1,2}(\.[0-9]{1,6})?$"))]
    pub false_alarm_percent: Option<String>,
    /// How many requests of the new revision must have been seen before it is judged. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000000))]
    pub minimum_requests: Option<i32>,
    /// What a step (and the bake) does that ends before so many requests have been seen: Pass goes on, Wait waits for them, at most until the progress deadline, and is taken back then. Default: Pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_data: Option<NoData>,
    /// Steps do not wait for the end of their durationSeconds any more when the new revision is shown to be less than this many times worse than the stable one and than each objective, as a decimal number in quotes: "1.5". Default: they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 6), regex(pattern = r"^[0-9]{1,3}(\.[0-9]{1,2})?$"))]
    pub clear_early_factor: Option<String>,
    /// Further checks, each with a limit of its own: a query, a call or a Job, measured again and again while the new revision goes out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub checks: Vec<AnalysisCheck>,
}

/// From where requests are read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum AnalysisSource {
    /// From the pods.
    #[default]
    Auto,
    /// From Prometheus.
    Prometheus,
    /// From nowhere.
    None,
}

/// A Prometheus, or what answers as one does: Thanos, Mimir, VictoriaMetrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PrometheusServer {
    /// Its address, before /api/v1.
    #[schemars(
        length(min = 8, max = 2048),
        regex(pattern = r"^https?://[^\s/?#]+(/[^\s?#]*)?$")
    )]
    pub address: String,
    /// Further headers, for example X-Scope-OrgID.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// Seconds that one query may take. Default: 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 60))]
    pub timeout_seconds: Option<i32>,
    /// Where a token is that is sent as `Authorization: Bearer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_from: Option<SecretKey>,
    /// Where certificates of authorities are (PEM) that are trusted instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority_from: Option<SecretKey>,
}

impl PrometheusServer {
    /// Seconds that one query may take.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.and_then(|n| n.try_into().ok()).unwrap_or(5)
    }
}

/// Whether the new revision is compared with the stable one.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CompareWithStable {
    /// It is.
    #[default]
    Enabled,
    /// It is not.
    Disabled,
}

/// What a step does that ends before enough has been seen.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum NoData {
    /// It goes on.
    #[default]
    Pass,
    /// It waits.
    Wait,
}

impl Analysis {
    /// Seconds between two looks.
    pub fn interval_seconds(&self) -> u32 {
        self.interval_seconds
            .and_then(|seconds| seconds.try_into().ok())
            .unwrap_or(match self.source.unwrap_or_default() {
                AnalysisSource::Auto | AnalysisSource::None => 1,
                AnalysisSource::Prometheus => 5,
            })
    }

    /// How many requests of the new revision must have been seen.
    pub fn minimum_requests(&self) -> u64 {
        self.minimum_requests
            .and_then(|requests| requests.try_into().ok())
            .unwrap_or(10)
    }
}
