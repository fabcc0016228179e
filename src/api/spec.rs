//! The kind itself, and its spec as the three scopes side by side.

use kube::CustomResource;
use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::{ExposureSpec, MicroserviceStatus, OperationSpec, RevisionSpec};

/// What a team says about its service, once.
///
/// The JSON is flat; the three parts exist in the types only, so that code which handles one scope cannot touch
/// another by mistake.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[kube(
    group = "microservice.dev",
    version = "v1alpha1",
    kind = "Microservice",
    plural = "microservices",
    namespaced,
    shortname = "msvc",
    category = "microservices",
    status = "MicroserviceStatus",
    derive = "PartialEq",
    derive = "Default",
    doc = "A Microservice is a service as its team describes it. The operator makes its pods, Services, autoscaling, \
           disruption budget, routes and monitoring, and takes every change out as a watched rollout that takes \
           itself back when it hurts.",
    scale(
        spec_replicas_path = ".spec.replicas",
        status_replicas_path = ".status.replicas",
        label_selector_path = ".status.selector"
    ),
    printcolumn(name = "Phase", type_ = "string", json_path = ".status.phase", description = "Healthy, Progressing, Paused, Degraded or Suspended."),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.stableRevision", description = "The revision that the service rests on."),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.ready", description = "Ready pods of the pods that the service wants."),
    printcolumn(name = "Image", type_ = "string", json_path = ".spec.image", priority = 1, description = "The image that the spec asks for."),
    printcolumn(name = "URL", type_ = "string", json_path = ".status.urls[0]", priority = 1, description = "The first address that a route gives the service."),
    printcolumn(name = "Message", type_ = "string", json_path = ".status.message", priority = 1, description = "What is going on, in a sentence."),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    validation = Rule::new("self.metadata.name.size() <= 45 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')")
        .message("metadata.name must be a DNS-1035 label of at most 45 characters (a-z, 0-9 and -, starting with a letter), because the names of Services and revisions are made from it")
)]
#[x_kube(validation = Rule::new("!has(self.routes) || self.routes.all(r, has(self.ports) && (has(r.port) ? self.ports.exists(p, p.name == r.port && (!has(p.service) || p.service == 'Include')) : self.ports.exists(p, !has(p.service) || p.service == 'Include')))")
    .message("each of routes needs a port of this service: set routes[].port to the name of one of ports (with service: Include), or add a port"))]
#[x_kube(validation = Rule::new("!has(self.monitoring) || !has(self.monitoring.port) || (has(self.ports) && self.ports.exists(p, p.name == self.monitoring.port))")
    .message("monitoring.port must be the name of one of ports"))]
#[x_kube(validation = Rule::new("!has(self.objectives) || self.objectives.all(o, has(o.indicator.queries)) || (has(self.ports) && self.ports.size() > 0)")
    .message("objectives need one of ports, from which the metrics are read: add it, and name it by monitoring.port"))]
#[x_kube(validation = Rule::new("!has(self.monitoring) || !has(self.monitoring.alerts) || self.monitoring.alerts.size() == 0 || (has(self.ports) && self.ports.size() > 0)")
    .message("monitoring.alerts need one of ports, from which the metrics are read: add it, and name it by monitoring.port"))]
#[x_kube(validation = Rule::new("!has(self.objectives) || self.objectives.size() == 0 || !has(self.monitoring) || !has(self.monitoring.intervalSeconds) || self.monitoring.intervalSeconds <= 120 || (has(self.monitoring.objectiveAlerts) ? self.monitoring.objectiveAlerts == 'Disabled' : has(self.monitoring.kind) && self.monitoring.kind == 'None')")
    .message("alerts of objectives are made from rates over five minutes: set monitoring.intervalSeconds to at most 120, or monitoring.objectiveAlerts to Disabled"))]
#[x_kube(validation = Rule::new("!has(self.config) || !has(self.config.files) || has(self.config.mountPath)")
    .message("config.files needs config.mountPath, the directory in the container that the files appear in"))]
#[x_kube(validation = Rule::new("!has(self.ports) || self.ports.all(p, self.ports.exists_one(q, p.containerPort == q.containerPort && (has(p.protocol) ? p.protocol : 'TCP') == (has(q.protocol) ? q.protocol : 'TCP')))")
    .message("no two of ports may have the same containerPort and protocol"))]
#[x_kube(validation = Rule::new("!has(self.ports) || self.ports.all(p, (has(p.service) && p.service == 'Exclude') || self.ports.exists_one(q, !(has(q.service) && q.service == 'Exclude') && (has(p.servicePort) ? p.servicePort : p.containerPort) == (has(q.servicePort) ? q.servicePort : q.containerPort) && (has(p.protocol) ? p.protocol : 'TCP') == (has(q.protocol) ? q.protocol : 'TCP')))")
    .message("no two of ports may have the same servicePort and protocol: set servicePort, or service: Exclude"))]
#[x_kube(validation = Rule::new("!has(self.podLabels) || self.podLabels.all(k, !k.startsWith('microservice.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))")
    .message("podLabels must not hold app.kubernetes.io/name, instance or managed-by, nor keys of microservice.dev/: the operator sets these"))]
#[x_kube(validation = Rule::new("!has(self.podAnnotations) || self.podAnnotations.all(k, !k.startsWith('microservice.dev/'))")
    .message("podAnnotations must not hold keys of microservice.dev/: the operator sets these"))]
#[x_kube(validation = Rule::new("!has(self.commonLabels) || self.commonLabels.all(k, !k.startsWith('microservice.dev/') && !(k in ['app.kubernetes.io/name', 'app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))")
    .message("commonLabels must not hold app.kubernetes.io/name, instance or managed-by, nor keys of microservice.dev/: the operator sets these"))]
#[x_kube(validation = Rule::new("!has(self.strategy) || !has(self.strategy.analysis) || !has(self.strategy.analysis.checks) || self.strategy.analysis.checks.all(c, c.name != 'errors' && (!has(self.objectives) || self.objectives.all(o, o.name != c.name)))")
    .message("analysis.checks must not have the name of an objective, nor errors"))]
#[x_kube(validation = Rule::new("!has(self.strategy) || !has(self.strategy.canary) || (has(self.ports) && self.ports.exists(p, !has(p.service) || p.service == 'Include')) || self.strategy.canary.steps.all(s, !has(s.weight) && !has(s.match) && !has(s.mirrorPercent))")
    .message("a service without ports has no traffic to split: in strategy.canary.steps use replicas and durationSeconds, not weight, match or mirrorPercent"))]
#[x_kube(validation = Rule::new("!has(self.strategy) || !has(self.strategy.router) || self.strategy.router in ['Auto', 'Service'] || (has(self.routes) && self.routes.exists(r, (self.strategy.router == 'Gateway' && has(r.gateway)) || (self.strategy.router == 'Istio' && has(r.istio)) || (self.strategy.router == 'IngressNginx' && has(r.ingress))))")
    .message("strategy.router names a kind of route that this service does not have: add one to routes, or leave out router"))]
#[x_kube(validation = Rule::new("!has(self.strategy) || !has(self.strategy.canary) || self.strategy.canary.steps.all(s, !has(s.match) && !has(s.mirrorPercent)) || (has(self.strategy.router) && !(self.strategy.router in ['Auto', 'Service'])) || (!(has(self.strategy.router) && self.strategy.router == 'Service') && has(self.routes) && self.routes.exists(r, has(r.gateway) || has(r.istio) || (has(r.ingress) && (has(r.ingress.className) ? r.ingress.className == 'nginx' : has(r.ingress.annotations) && 'kubernetes.io/ingress.class' in r.ingress.annotations && r.ingress.annotations['kubernetes.io/ingress.class'] == 'nginx'))))")
    .message("match and mirrorPercent need a route that splits requests (gateway, istio, or an ingress of class nginx): the Service splits connections by numbers of pods, so use weight"))]
pub struct MicroserviceSpec {
    /// What a revision is made of.
    #[serde(flatten)]
    pub revision: RevisionSpec,
    /// How the service is reached.
    #[serde(flatten)]
    pub exposure: ExposureSpec,
    /// How the service is run.
    #[serde(flatten)]
    pub operation: OperationSpec,
}

impl MicroserviceSpec {
    /// The paths of the main container's own probes and of its metrics: requests for them are nobody's.
    pub fn probe_paths(&self) -> Vec<String> {
        let probes = self.revision.probes.clone().unwrap_or_default();
        let all = [probes.startup, probes.liveness, probes.readiness];
        let paths = all.into_iter().flatten().filter_map(|probe| probe.http_get?.path);
        let monitoring = self.operation.monitoring.as_ref();
        paths.chain(monitoring.and_then(|m| m.path.clone())).collect()
    }
}
