//! Scope A: how the service is reached. While two revisions live the union of both applies.

use std::collections::BTreeMap;

use k8s_openapi::api::networking::v1::{NetworkPolicyEgressRule, NetworkPolicyIngressRule};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RawObject;

/// How others reach the service, and what it reaches.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExposureSpec {
    /// Scope: additive. The ports that the container listens on. Name, containerPort and protocol are part of the pods, so a change of them is also a new revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub ports: Vec<Port>,
    /// Scope: additive. The Service in front of the pods. It is made where a port is included in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// Scope: additive. Ways in from outside, each an Ingress, a Gateway route or a VirtualService; public and internal ones side by side.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub routes: Vec<Route>,
    /// Scope: additive. Who may talk to the pods, and to whom they may talk.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicy>,
}

/// A port that the container listens on.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// Its name in the pods and the Service.
    #[schemars(
        length(min = 1, max = 15),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The number that the container listens on.
    #[schemars(range(min = 1, max = 65535))]
    pub container_port: i32,
    /// The number of the Service's port. Default: containerPort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub service_port: Option<i32>,
    /// TCP, UDP or SCTP. Default: TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<PortProtocol>,
    /// What is spoken on it, for gateways and meshes: http, https, grpc, kubernetes.io/h2c, kubernetes.io/ws and so on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub app_protocol: Option<String>,
    /// Whether the Service has it. Exclude keeps an admin port out. Default: Include.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<PortService>,
}

impl Port {
    /// The number of the Service's port.
    pub fn service_port(&self) -> i32 {
        self.service_port.unwrap_or(self.container_port)
    }
    /// The transport protocol.
    pub fn protocol(&self) -> PortProtocol {
        self.protocol.unwrap_or_default()
    }
    /// Whether the Service has this port.
    pub fn in_service(&self) -> bool {
        self.service.unwrap_or_default() == PortService::Include
    }
}

/// A transport protocol.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum PortProtocol {
    /// TCP.
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    /// UDP.
    #[serde(rename = "UDP")]
    Udp,
    /// SCTP.
    #[serde(rename = "SCTP")]
    Sctp,
}

impl PortProtocol {
    /// The name that Kubernetes uses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }
}

/// Whether the Service has a port.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum PortService {
    /// It has.
    #[default]
    Include,
    /// It has not.
    Exclude,
}

/// The Service in front of the pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.headless) && self.headless == 'Enabled' && has(self.type) && self.type != 'ClusterIP')").message("a headless Service is of type ClusterIP: leave out type or headless"))]
pub struct Service {
    /// ClusterIP, NodePort or LoadBalancer. Default: ClusterIP.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<ServiceType>,
    /// Its annotations, for example of a cloud's load balancer.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Enabled: names resolve to the pods, as gRPC clients that balance by themselves want. Fixed once the Service exists. Default: Disabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headless: Option<Headless>,
    /// ClientIP: connections of one client go to one pod. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_affinity: Option<SessionAffinity>,
    /// Which endpoints are preferred, for example PreferClose. Default: all alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["PreferClose", "PreferSameZone", "PreferSameNode"]))]
    pub traffic_distribution: Option<String>,
}

/// Whether the Service has an address of its own.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Headless {
    /// Names resolve to the pods.
    Enabled,
    /// The name resolves to the Service's address.
    #[default]
    Disabled,
}

/// The type of a Service.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum ServiceType {
    /// Reached in the cluster.
    #[default]
    #[serde(rename = "ClusterIP")]
    ClusterIp,
    /// Reached on a port of each node.
    NodePort,
    /// Reached by a load balancer of the cloud.
    LoadBalancer,
}

/// Whether connections of one client go to one pod.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum SessionAffinity {
    /// Any pod.
    #[default]
    None,
    /// One pod for each client address.
    #[serde(rename = "ClientIP")]
    ClientIp,
}

/// A way in from outside.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.ingress), has(self.gateway), has(self.istio)].exists_one(given, given)").message("each of routes needs exactly one of ingress, gateway or istio"))]
#[x_kube(validation = Rule::new("!has(self.ingress) || !has(self.rules) || self.rules.all(r, !has(r.headers))").message("an Ingress cannot match headers: use a gateway or istio route, or leave out headers"))]
#[x_kube(validation = Rule::new("!self.name.endsWith('-canary')").message("names of routes that end in -canary are kept for the Ingresses that split traffic: choose another name"))]
#[x_kube(validation = Rule::new("!has(self.istio) || !has(self.istio.mode) || self.istio.mode != 'Delegate' || (!has(self.hosts) && !has(self.istio.gateways))").message("istio.mode Delegate takes no hosts and no gateways: those of the VirtualService that refers to it count"))]
#[x_kube(validation = Rule::new("has(self.ingress) || !has(self.rules) || self.rules.all(r, !has(r.pathType) || r.pathType != 'ImplementationSpecific')").message("pathType ImplementationSpecific is for an ingress only: use Prefix or Exact"))]
pub struct Route {
    /// Its name; the object is called <service>-<name>.
    #[schemars(
        length(min = 1, max = 17),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The name of the port that it leads to. Default: the port named http, else the first one of the Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 15))]
    pub port: Option<String>,
    /// Host names; *.example.com matches one label. Default: all hosts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "set"))]
    pub hosts: Vec<String>,
    /// What is matched. Default: one rule, Prefix /.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub rules: Vec<RouteRule>,
    /// Makes an Ingress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<Ingress>,
    /// Makes an HTTPRoute or a GRPCRoute of the Gateway API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Gateway>,
    /// Makes a VirtualService of Istio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub istio: Option<Istio>,
}

/// One rule of a route.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteRule {
    /// The path. For a GRPCRoute /<service>/<method> or /<service>. Default: /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/"))]
    pub path: Option<String>,
    /// Prefix, Exact or, for an Ingress, ImplementationSpecific. Default: Prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_type: Option<PathType>,
    /// Headers that a request must have, all of them. Not for an Ingress.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub headers: Vec<RouteHeader>,
    /// Another Service of this namespace that this rule leads to. Default: this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub service: Option<String>,
    /// The number of that Service's port. Default: that of this service's port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub service_port: Option<i32>,
}

/// How a path is compared.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum PathType {
    /// By whole path elements from the start.
    #[default]
    Prefix,
    /// The whole path.
    Exact,
    /// As the ingress controller likes.
    ImplementationSpecific,
}

/// A header that a request must have.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RouteHeader {
    /// Its name, compared without regard to case.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// Its exact value.
    #[schemars(length(min = 1, max = 4096))]
    pub value: String,
}

/// Makes an Ingress.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ingress {
    /// What the Ingress is called. Default: <service>-<route>. To keep the name of one that is adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")
    )]
    pub name: Option<String>,
    /// The IngressClass. Default: the cluster's default class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub class_name: Option<String>,
    /// Its annotations.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub annotations: BTreeMap<String, String>,
    /// Certificates.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub tls: Vec<IngressTls>,
}

/// A certificate of an Ingress.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct IngressTls {
    /// The Secret with the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// The hosts that it is for. Default: the route's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub hosts: Vec<String>,
}

/// Makes a route of the Gateway API.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Gateway {
    /// HTTPRoute or GRPCRoute. Default: HTTPRoute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<GatewayKind>,
    /// The Gateways that carry the route (or Services, for meshes).
    #[schemars(length(min = 1, max = 8), extend("x-kubernetes-list-type" = "atomic"))]
    pub parent_refs: Vec<ParentRef>,
    /// Filters for each rule, as in an HTTPRoute or GRPCRoute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub filters: Vec<RawObject>,
}

/// Which kind of route.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum GatewayKind {
    /// HTTP.
    #[default]
    #[serde(rename = "HTTPRoute")]
    HttpRoute,
    /// gRPC.
    #[serde(rename = "GRPCRoute")]
    GrpcRoute,
}

/// What carries a route.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// Its API group. Default: gateway.networking.k8s.io; "" for a Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub group: Option<String>,
    /// Its kind. Default: Gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub kind: Option<String>,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its namespace. Default: this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub namespace: Option<String>,
    /// One listener of the Gateway. Default: all that admit the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub section_name: Option<String>,
    /// One port of the parent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<i32>,
}

/// Makes a VirtualService of Istio.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Istio {
    /// The Gateways that carry the route, as <name> or <namespace>/<name>; mesh stands for all sidecars. Default: mesh.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "set"))]
    #[schemars(inner(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9-]+/)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    ))]
    pub gateways: Vec<String>,
    /// Own: the route has its hosts and Gateways. Delegate: it has neither, and a VirtualService of others refers to it. Default: Own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<IstioMode>,
}

/// Who has the hosts of a VirtualService.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum IstioMode {
    /// This route.
    #[default]
    Own,
    /// A VirtualService of others.
    Delegate,
}

/// Who may talk to the pods, and to whom they may talk.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.egress) || self.mode == 'IngressAndEgress'").message("networkPolicy.egress needs mode: IngressAndEgress"))]
pub struct NetworkPolicy {
    /// Ingress: only what ingress lists may come in. IngressAndEgress: and only what egress lists (and DNS) may go out.
    pub mode: NetworkPolicyMode,
    /// Who may come in, as in a NetworkPolicy. Default: nobody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub ingress: Vec<NetworkPolicyIngressRule>,
    /// Where pods may go, as in a NetworkPolicy. DNS is always allowed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub egress: Vec<NetworkPolicyEgressRule>,
}

/// Which directions a NetworkPolicy closes.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum NetworkPolicyMode {
    /// What comes in.
    #[default]
    Ingress,
    /// Both.
    IngressAndEgress,
}
