//! How a change goes out, and when it is taken back.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Analysis, BlueGreen, Canary, Preview};

/// How a change goes out, and when it is taken back.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.rollingUpdate) || !has(self.type) || self.type == 'RollingUpdate'").message("strategy.rollingUpdate is for type RollingUpdate only"))]
#[x_kube(validation = Rule::new("!has(self.canary) || self.canary.steps.all(s, !has(s.checks) || s.checks.all(n, has(self.analysis) && has(self.analysis.checks) && self.analysis.checks.exists(c, c.name == n)))").message("a step names a check that is none of analysis.checks"))]
#[x_kube(validation = Rule::new("has(self.canary) == (has(self.type) && self.type == 'Canary')").message("strategy.canary with its steps is for type Canary, and type Canary needs it"))]
#[x_kube(validation = Rule::new("!has(self.blueGreen) || (has(self.type) && self.type == 'BlueGreen')").message("strategy.blueGreen is for type BlueGreen only"))]
#[x_kube(validation = Rule::new("!has(self.router) || self.router != 'IngressNginx' || !has(self.canary) || self.canary.steps.all(s, !has(s.mirrorPercent))").message("router IngressNginx cannot mirror: leave out mirrorPercent, or use a gateway or istio route"))]
#[x_kube(validation = Rule::new("!has(self.router) || self.router != 'IngressNginx' || !has(self.canary) || self.canary.steps.all(s, !has(s.match) || (s.match.size() == 1 && s.match.all(m, !has(m.queryParams) && (has(m.headers) ? m.headers.size() : 0) + (has(m.cookies) ? m.cookies.size() : 0) == 1 && (!has(m.cookies) || m.cookies.all(c, c.value == 'always')))))").message("router IngressNginx takes one entry of match, with one header or with one cookie of value always: write that, or use a gateway or istio route"))]
#[x_kube(validation = Rule::new("!has(self.router) || !(self.router in ['Service', 'Gateway', 'Istio']) || !has(self.canary) || !has(self.canary.sessionAffinity) || self.canary.sessionAffinity == 'Disabled'").message("this router cannot keep a client at a revision: leave out canary.sessionAffinity, or use router IngressNginx"))]
pub struct Strategy {
    /// RollingUpdate: new pods replace old ones a few at a time. Recreate: all old pods end before the first new one starts. Canary: the new revision gets traffic in steps. BlueGreen: the new revision stands in full size beside the old one, then all traffic moves at once. Default: RollingUpdate.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<StrategyType>,
    /// The steps of Canary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
    /// The preview and the switch of BlueGreen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue_green: Option<BlueGreen>,
    /// What splits the traffic of Canary and BlueGreen. Auto: the routes that can (gateway, istio, and an ingress of ingress-nginx's class); where there are none, the Service, by numbers of pods. Default: Auto.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub router: Option<Router>,
    /// Warm: the old revision keeps its pods until the bake is over, so that the way back is a change of weights. Cold: its pods go when the new revision has all traffic. For Canary and BlueGreen. Default: Warm; Cold for a service without ports.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_previous: Option<KeepPrevious>,
    /// Full: the old revision stays in full size while routes split the traffic. Follow: it keeps the pods that its share needs, and is scaled up again before traffic goes back. Default: Full.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_scale: Option<StableScale>,
    /// What happens where pods are too few for a weight, so that the new revision would get more than twice of it: Pause waits for a person before the step, Allow goes on, Refuse takes the rollout back. Default: Pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub coarse_weights: Option<CoarseWeights>,
    /// Seconds that pods of a revision still have for requests under way after its traffic is gone. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub drain_seconds: Option<i32>,
    /// Seconds that gateways and proxies are given to follow after they have accepted a change. Default: 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 300))]
    pub settle_seconds: Option<i32>,
    /// The pace of RollingUpdate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolling_update: Option<RollingUpdate>,
    /// How the new revision's requests are judged. Default: where there are objectives, as an empty one says; else not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Seconds for which a promoted revision is still watched, and taken back when it fails. Default: 60.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604800))]
    pub bake_seconds: Option<i32>,
    /// Seconds without progress after which a rollout is taken back. Each pod that becomes ready is progress. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub progress_deadline_seconds: Option<i32>,
    /// How many times containers of the new revision may fail while they carry traffic. Default: 1, or 2 % of its pods where that is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10000))]
    pub max_crashes: Option<i32>,
    /// Seconds for which a pod of the new revision may wait for a node. Default: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub unschedulable_seconds: Option<i32>,
}

impl Strategy {
    /// The kind of rollout.
    pub fn strategy_type(&self) -> StrategyType {
        self.type_.unwrap_or_default()
    }
    /// Seconds for which a promoted revision is still watched.
    pub fn bake_seconds(&self) -> i64 {
        i64::from(self.bake_seconds.unwrap_or(60))
    }
    /// Seconds without progress after which a rollout is taken back.
    pub fn progress_deadline_seconds(&self) -> i64 {
        i64::from(self.progress_deadline_seconds.unwrap_or(600))
    }
    /// Seconds that pods have for requests under way.
    pub fn drain_seconds(&self) -> i64 {
        i64::from(self.drain_seconds.unwrap_or(10))
    }
    /// Seconds that gateways are given to follow.
    pub fn settle_seconds(&self) -> i64 {
        i64::from(self.settle_seconds.unwrap_or(2))
    }
    /// Whether a new revision can be seen before the switch, at a Service of its own.
    pub fn has_preview(&self) -> bool {
        let settings = self.blue_green.clone().unwrap_or_default();
        self.strategy_type() == StrategyType::BlueGreen
            && settings.preview.unwrap_or_default() == Preview::Enabled
    }
    /// What splits the traffic.
    pub fn router(&self) -> Router {
        self.router.unwrap_or_default()
    }
    /// What becomes of the old revision's pods.
    pub fn stable_scale(&self) -> StableScale {
        self.stable_scale.unwrap_or_default()
    }
    /// What happens where pods are too few for a weight.
    pub fn coarse_weights(&self) -> CoarseWeights {
        self.coarse_weights.unwrap_or_default()
    }
    /// Seconds for which a pod may wait for a node.
    pub fn unschedulable_seconds(&self) -> i64 {
        i64::from(self.unschedulable_seconds.unwrap_or(300))
    }
}

/// How a change goes out.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum StrategyType {
    /// New pods replace old ones a few at a time.
    #[default]
    RollingUpdate,
    /// All old pods end before the first new one starts.
    Recreate,
    /// The new revision gets traffic in steps.
    Canary,
    /// The new revision stands beside the old one, then all traffic moves at once.
    BlueGreen,
}

/// What splits the traffic.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Router {
    /// The routes that can; where there are none, the Service.
    #[default]
    Auto,
    /// The Service, by numbers of pods.
    Service,
    /// Routes of the Gateway API.
    Gateway,
    /// Istio's VirtualServices.
    Istio,
    /// Ingresses of ingress-nginx, or of a controller that reads its annotations.
    IngressNginx,
}

/// What becomes of the old revision's pods when the new one has all traffic.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum KeepPrevious {
    /// They stay until the bake is over.
    Warm,
    /// They go.
    Cold,
}

/// How many pods the old revision keeps while routes split the traffic.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum StableScale {
    /// All.
    #[default]
    Full,
    /// What its share needs.
    Follow,
}

/// What happens where pods are too few for a weight.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CoarseWeights {
    /// A person is waited for.
    #[default]
    Pause,
    /// It goes on with what the pods allow.
    Allow,
    /// The rollout is taken back.
    Refuse,
}

/// The pace of a RollingUpdate. Numbers or percentages of replicas.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.maxSurge) && has(self.maxUnavailable) && string(self.maxSurge).matches('^0+%?$') && string(self.maxUnavailable).matches('^0+%?$'))").message("maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced"))]
#[x_kube(validation = Rule::new("!(has(self.maxSurge) && !has(self.maxUnavailable) && string(self.maxSurge).matches('^0+%?$'))").message("with maxSurge 0 set maxUnavailable to at least 1: no pod could ever be replaced"))]
#[x_kube(validation = Rule::new("!has(self.maxSurge) || string(self.maxSurge).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("rollingUpdate.maxSurge is a number of pods or a percentage from 0% to 100%"))]
#[x_kube(validation = Rule::new("!has(self.maxUnavailable) || string(self.maxUnavailable).matches('^([0-9]+|(100|[0-9]{1,2})%)$')").message("rollingUpdate.maxUnavailable is a number of pods or a percentage from 0% to 100%"))]
pub struct RollingUpdate {
    /// How many pods there may be above replicas; rounded up. Default: 25%.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_surge: Option<IntOrString>,
    /// How many pods may be missing below replicas; rounded down. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_unavailable: Option<IntOrString>,
}
