//! The resource as users write and read it: spec by concern, status, conditions, labels and names.
//!
//! Imports nothing of ours. Every field of the spec has one of three *scopes*, and the scope is the struct that the
//! field sits in: [`RevisionSpec`] (recorded, tried out and taken back with a revision), [`ExposureSpec`] (additive:
//! while two revisions live, the union of both applies) and [`OperationSpec`] (applies at once, no rollout).

mod analysis;
pub mod annotations;
mod checks;
pub mod conditions;
mod crd;
mod exposure;
mod jobs;
pub mod labels;
mod monitoring;
pub mod names;
mod notifications;
mod objectives;
mod operation;
mod pod;
mod raw;
mod scaling;
mod spec;
mod status;
mod steps;
mod strategy;

pub use analysis::{Analysis, AnalysisSource, CompareWithStable, NoData, PrometheusServer};
pub use checks::{
    AnalysisCheck, AnswerValue, BuiltInQuery, BuiltInValue, CheckMode, MetricsRouter, PrometheusQuery,
    QueryRange, WebCheck, WebMethod,
};
pub use crd::{crd, crd_yaml};
pub use exposure::{
    ExposureSpec, Gateway, GatewayKind, Headless, Ingress, IngressTls, Istio, IstioMode, NetworkPolicy,
    NetworkPolicyMode, ParentRef, PathType, Port, PortProtocol, PortService, Route, RouteHeader, RouteRule,
    Service, ServiceType, SessionAffinity,
};
pub use jobs::{Hook, JobTemplate, PreDeploy, Webhook};
pub use monitoring::{Alert, Dashboard, Monitoring, MonitoringKind, ObjectiveAlerts};
pub use notifications::{
    Alertmanager, CloudEventMode, DingTalk, EventWebhook, Feishu, Notification, NotificationEvent, SecretKey,
    Slack, Teams, WeCom,
};
pub use objectives::{
    CountedMetric, ErrorsIndicator, HistogramMetric, HistogramUnit, Indicator, LatencyIndicator, Objective,
    QueriesIndicator,
};
pub use operation::{DeletionPolicy, OperationSpec};
pub use pod::{
    Config, FileSource, Probes, RevisionSpec, Scheduling, Security, SecurityProfile, ServiceAccount,
    ServiceAccountCreate, ServiceAccountToken, Spread, Track,
};
pub use raw::RawObject;
pub use scaling::{Autoscaling, DisruptionBudget, DisruptionBudgetMode};
pub use spec::{Microservice, MicroserviceSpec};
pub use status::{
    Blame, CheckStatus, CheckVerdict, CommandOutcome, CommandStatus, HistoryEntry, InventoryEntry,
    MicroserviceStatus, NotificationStatus, Phase, ReplicasSource, ReturnCause, RevisionStatus, Role,
    RolloutCourse, RolloutState, RolloutStatus, StableHealth, Verdict,
};
pub use steps::{
    BlueGreen, Canary, CanaryStep, NamedValue, Pause, Preview, RequestMatch, StepAffinity, Switch,
};
pub use strategy::{CoarseWeights, KeepPrevious, RollingUpdate, Router, StableScale, Strategy, StrategyType};
