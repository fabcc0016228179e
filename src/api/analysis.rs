//! How a new revision's requests are judged while it goes out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a new revision's requests are judged while it goes out. They are read from the pods' own metrics.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.falseAlarmPercent) || (double(self.falseAlarmPercent) > 0.0 && double(self.falseAlarmPercent) <= 50.0)").message("falseAlarmPercent must be more than 0 and at most 50"))]
#[x_kube(validation = Rule::new("!has(self.clearEarlyFactor) || (double(self.clearEarlyFactor) > 1.0 && double(self.clearEarlyFactor) <= 100.0)").message("clearEarlyFactor must be more than 1 and at most 100"))]
pub struct Analysis {
    /// Auto: the pods' own metrics (port and path of monitoring). None: no request is judged. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<AnalysisSource>,
    /// Seconds between two looks. Default: 1.
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
}

/// From where requests are read.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum AnalysisSource {
    /// From the pods.
    #[default]
    Auto,
    /// From nowhere.
    None,
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
            .unwrap_or(1)
    }
    /// How many requests of the new revision must have been seen.
    pub fn minimum_requests(&self) -> u64 {
        self.minimum_requests
            .and_then(|requests| requests.try_into().ok())
            .unwrap_or(10)
    }
}
