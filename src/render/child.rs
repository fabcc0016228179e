//! A child object: what it is, what it is called, and its fields as they are applied.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde::Serialize;
use serde_json::Value;

use super::prune::to_json;

/// The kinds of objects that a Microservice has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum ChildKind {
    /// The record of a revision.
    ControllerRevision,
    /// Configuration of a revision, immutable; or a dashboard.
    ConfigMap,
    /// An immutable copy of a tracked Secret.
    Secret,
    /// The account of the pods.
    ServiceAccount,
    /// Who may talk to the pods.
    NetworkPolicy,
    /// Work that ends: before a revision gets pods, or before a step.
    Job,
    /// The pods of a revision.
    Deployment,
    /// How callers find the pods.
    Service,
    /// How many pods a drain may take.
    PodDisruptionBudget,
    /// How many pods there are.
    HorizontalPodAutoscaler,
    /// A way in from outside.
    Ingress,
    /// A way in through a Gateway.
    HttpRoute,
    /// A way in through a Gateway, for gRPC.
    GrpcRoute,
    /// A way in through Istio.
    VirtualService,
    /// How Prometheus finds the Service.
    ServiceMonitor,
    /// How Prometheus finds the pods.
    PodMonitor,
    /// What Prometheus makes of the metrics, and when it alerts.
    PrometheusRule,
}

impl ChildKind {
    /// All kinds, in the order in which they are applied: what others refer to comes first.
    pub const ALL: [Self; 17] = [
        Self::ControllerRevision,
        Self::ConfigMap,
        Self::Secret,
        Self::ServiceAccount,
        Self::NetworkPolicy,
        Self::Job,
        Self::Deployment,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
        Self::GrpcRoute,
        Self::VirtualService,
        Self::ServiceMonitor,
        Self::PodMonitor,
        Self::PrometheusRule,
    ];

    /// Its API group; "" for core.
    pub fn group(self) -> &'static str {
        match self {
            Self::ControllerRevision | Self::Deployment => "apps",
            Self::ConfigMap | Self::Secret | Self::ServiceAccount | Self::Service => "",
            Self::NetworkPolicy | Self::Ingress => "networking.k8s.io",
            Self::Job => "batch",
            Self::PodDisruptionBudget => "policy",
            Self::HorizontalPodAutoscaler => "autoscaling",
            Self::HttpRoute | Self::GrpcRoute => "gateway.networking.k8s.io",
            Self::VirtualService => "networking.istio.io",
            Self::ServiceMonitor | Self::PodMonitor | Self::PrometheusRule => "monitoring.coreos.com",
        }
    }

    /// The version of the API that we write.
    pub fn version(self) -> &'static str {
        match self {
            Self::HorizontalPodAutoscaler => "v2",
            Self::ControllerRevision
            | Self::ConfigMap
            | Self::Secret
            | Self::ServiceAccount
            | Self::NetworkPolicy
            | Self::Job
            | Self::Deployment
            | Self::Service
            | Self::PodDisruptionBudget
            | Self::Ingress
            | Self::HttpRoute
            | Self::GrpcRoute
            | Self::VirtualService
            | Self::ServiceMonitor
            | Self::PodMonitor
            | Self::PrometheusRule => "v1",
        }
    }

    /// `group/version`, or the version alone for core.
    pub fn api_version(self) -> String {
        match self.group() {
            "" => self.version().to_owned(),
            group => format!("{group}/{}", self.version()),
        }
    }

    /// Its kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::ControllerRevision => "ControllerRevision",
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
            Self::ServiceAccount => "ServiceAccount",
            Self::NetworkPolicy => "NetworkPolicy",
            Self::Job => "Job",
            Self::Deployment => "Deployment",
            Self::Service => "Service",
            Self::PodDisruptionBudget => "PodDisruptionBudget",
            Self::HorizontalPodAutoscaler => "HorizontalPodAutoscaler",
            Self::Ingress => "Ingress",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::VirtualService => "VirtualService",
            Self::ServiceMonitor => "ServiceMonitor",
            Self::PodMonitor => "PodMonitor",
            Self::PrometheusRule => "PrometheusRule",
        }
    }

    /// Its plural, as in URLs.
    pub fn plural(self) -> &'static str {
        match self {
            Self::ControllerRevision => "controllerrevisions",
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
            Self::ServiceAccount => "serviceaccounts",
            Self::NetworkPolicy => "networkpolicies",
            Self::Job => "jobs",
            Self::Deployment => "deployments",
            Self::Service => "services",
            Self::PodDisruptionBudget => "poddisruptionbudgets",
            Self::HorizontalPodAutoscaler => "horizontalpodautoscalers",
            Self::Ingress => "ingresses",
            Self::HttpRoute => "httproutes",
            Self::GrpcRoute => "grpcroutes",
            Self::VirtualService => "virtualservices",
            Self::ServiceMonitor => "servicemonitors",
            Self::PodMonitor => "podmonitors",
            Self::PrometheusRule => "prometheusrules",
        }
    }

    /// Whether every cluster has it.
    pub fn presence(self) -> KindPresence {
        match self {
            Self::HttpRoute
            | Self::GrpcRoute
            | Self::VirtualService
            | Self::ServiceMonitor
            | Self::PodMonitor
            | Self::PrometheusRule => KindPresence::Optional,
            Self::ControllerRevision
            | Self::ConfigMap
            | Self::Secret
            | Self::ServiceAccount
            | Self::NetworkPolicy
            | Self::Job
            | Self::Deployment
            | Self::Service
            | Self::PodDisruptionBudget
            | Self::HorizontalPodAutoscaler
            | Self::Ingress => KindPresence::Always,
        }
    }
}

/// Whether every cluster serves a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KindPresence {
    /// It is built in.
    Always,
    /// It comes with a CRD that may be absent, appear later and disappear.
    Optional,
}

/// A child object with just the fields that we own, without owner references.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Child {
    /// What it is.
    pub kind: ChildKind,
    /// What it is called, in the namespace of its Microservice.
    pub name: String,
    /// apiVersion, kind, metadata (name, namespace, labels, annotations) and the fields that we own.
    pub object: Value,
}

impl Child {
    /// The same child as it is written for its owner: the garbage collector takes it with it.
    #[must_use]
    pub fn owned_by(mut self, owner: &OwnerReference) -> Self {
        if let Some(metadata) = self.object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("ownerReferences".to_owned(), Value::Array(vec![to_json(owner)]));
        }
        self
    }
}
