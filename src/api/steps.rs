//! The steps of a progressive rollout: how traffic moves, and what each step waits for.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Hook;

/// The steps of a canary. After the last one the new revision grows to full size and gets all traffic.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The steps, in order. Where they are edited while a rollout is under way, it goes on at the step that it is in; where that one is gone or changed, at the first step with at least the present weight, else at the last one.
    #[schemars(length(min = 1, max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub steps: Vec<CanaryStep>,
    /// Keeps a client at the revision that it was sent to first, by a cookie, while both have a share. Weights are then those of new clients. Router IngressNginx alone can; for others RoutesReady says so. Default: Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<StepAffinity>,
}

/// One step.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.weight) || has(self.match) || has(self.mirrorPercent) || has(self.replicas) || has(self.durationSeconds) || has(self.pause) || has(self.hooks) || has(self.checks)").message("a step needs one of weight, match, mirrorPercent, replicas, durationSeconds, pause, hooks or checks"))]
pub struct CanaryStep {
    /// The new revision's share of the traffic in percent. It holds until another step names one. Default: that of the step before, 0 at first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub weight: Option<i32>,
    /// Requests that go to the new revision whatever its weight: those that meet any of these. In this step only.
    #[serde(default, rename = "match", skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub matches: Vec<RequestMatch>,
    /// Percent of the requests that are also sent to the new revision, whose answer is thrown away. In this step only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub mirror_percent: Option<i32>,
    /// Pods of the new revision in this step. Default: what its weight needs, at least one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10000))]
    pub replicas: Option<i32>,
    /// Seconds that the step lasts once its pods are ready and its traffic is in force. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2592000))]
    pub duration_seconds: Option<i32>,
    /// Manual: the step ends when a person (or CI) says promote, not before durationSeconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<Pause>,
    /// Jobs and calls that must succeed, one after the other, when the pods of the step are ready and before its traffic moves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub hooks: Vec<Hook>,
    /// Names of analysis.checks that are measured in this step: it does not end before each of them was good as often as its count says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10), inner(length(min = 1, max = 30)), extend("x-kubernetes-list-type" = "set"))]
    pub checks: Vec<String>,
}

/// How a step ends.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Pause {
    /// By a person's word.
    Manual,
}

/// Whether a client stays at the revision that it was sent to first.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum StepAffinity {
    /// By a cookie of the router, for the time of the session.
    Cookie,
    /// Each request for itself.
    #[default]
    Disabled,
}

/// What a request must have, all of it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.headers) || has(self.cookies) || has(self.queryParams)").message("an entry of match needs headers, cookies or queryParams"))]
#[x_kube(validation = Rule::new("!has(self.cookies) || self.cookies.size() <= 1").message("an entry of match takes one cookie: no router can ask for two, so use a header for more"))]
pub struct RequestMatch {
    /// Headers with exact values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<NamedValue>,
    /// Cookies with exact values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub cookies: Vec<NamedValue>,
    /// Parameters of the query with exact values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub query_params: Vec<NamedValue>,
}

/// A name and its exact value.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamedValue {
    /// The name. Headers are compared without regard to case.
    #[schemars(
        length(min = 1, max = 256),
        regex(pattern = r"^[A-Za-z0-9!#$%&'*+\-.^_\x60|~]+$")
    )]
    pub name: String,
    /// The value.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^[\x20-\x7e]+$"))]
    pub value: String,
}

/// How BlueGreen goes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BlueGreen {
    /// Whether the new revision can be seen before the switch, at the Service <service>-preview. Default: Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preview: Option<Preview>,
    /// Seconds between the new revision being ready and the switch. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2592000))]
    pub preview_seconds: Option<i32>,
    /// Auto: traffic moves by itself. Manual: when a person (or CI) says promote. Default: Auto.
    #[serde(default, rename = "switch", skip_serializing_if = "Option::is_none")]
    pub switch_: Option<Switch>,
    /// Jobs and calls that must succeed, one after the other, when the new revision is ready and before the switch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub hooks: Vec<Hook>,
}

/// Whether the new revision can be seen before the switch.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Preview {
    /// At a Service of its own.
    #[default]
    Enabled,
    /// No.
    Disabled,
}

/// Who moves the traffic.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Switch {
    /// The operator.
    #[default]
    Auto,
    /// A person.
    Manual,
}
