//! Scope R: what is recorded, tried out and taken back with a revision.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Affinity, ConfigMapVolumeSource, EmptyDirVolumeSource, EnvFromSource, EnvVar, Lifecycle,
    LocalObjectReference, PersistentVolumeClaimVolumeSource, Probe, ProjectedVolumeSource,
    ResourceRequirements, SecretVolumeSource, Toleration,
};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{PreDeploy, RawObject};

/// Everything that makes a revision: two specs that agree here are the same revision.
///
/// No field of this scope may have a schema default: an upgrade of the CRD would otherwise change hashes.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RevisionSpec {
    /// Scope: revision. The image of the main container, with a tag or a digest. The container is named like the Microservice.
    #[schemars(length(min = 1, max = 1024))]
    pub image: String,

    /// Scope: revision. When the kubelet pulls the image: Always, IfNotPresent or Never. Default: as Kubernetes decides (Always for the tag latest, else IfNotPresent).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Always", "IfNotPresent", "Never"]))]
    pub image_pull_policy: Option<String>,

    /// Scope: revision. Secrets of this namespace with the credentials for the registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub image_pull_secrets: Vec<LocalObjectReference>,

    /// Scope: revision. Jobs that must succeed, one after the other, before the revision gets its first pod, once per revision: database migrations, for example.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub pre_deploy: Vec<PreDeploy>,

    /// Scope: revision. Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,

    /// Scope: revision. Arguments for the entrypoint; replaces the image's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,

    /// Scope: revision. The container's working directory. Default: the image's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub working_dir: Option<String>,

    /// Scope: revision. Environment variables. ConfigMaps that they refer to are part of the revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,

    /// Scope: revision. Whole ConfigMaps and Secrets as environment variables. ConfigMaps are part of the revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub env_from: Vec<EnvFromSource>,

    /// Scope: revision. Further labels for the pods. The keys app.kubernetes.io/name, app.kubernetes.io/instance, app.kubernetes.io/managed-by and all of microservice.dev/ belong to the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub pod_labels: BTreeMap<String, String>,

    /// Scope: revision. Annotations for the pods. Keys of microservice.dev/ belong to the operator.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub pod_annotations: BTreeMap<String, String>,

    /// Scope: revision. CPU, memory and other resources of the main container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,

    /// Scope: revision. Hooks of the main container. Default: a preStop sleep of min(5, terminationGracePeriodSeconds - 1) seconds where the service has a Service, so that no request is sent to a pod that is gone; lifecycle {} turns it off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle: Option<Lifecycle>,

    /// Scope: revision. Seconds that a pod has to end by itself. Default: 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub termination_grace_period_seconds: Option<i64>,

    /// Scope: revision. How the kubelet tells that the container has started, lives and is ready. Default: readiness by a TCP connection, where there is one port or one named http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,

    /// Scope: revision. Configuration written here: files and environment variables in a ConfigMap of the revision's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<Config>,

    /// Scope: revision. What is mounted into the main container, by mount path. Volumes need no names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["mountPath"]))]
    pub files: Vec<FileSource>,

    /// Scope: revision. Containers that run to their end before the main one starts, in order. Fields as in a pod; not spelled out here, checked strictly when they are applied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub init_containers: Vec<RawObject>,

    /// Scope: revision. Containers that run beside the main one, started before it and ended after it (init containers with restartPolicy Always). Fields as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "atomic"))]
    pub sidecars: Vec<RawObject>,

    /// Scope: revision. Further volumes of the pods, for what files does not cover. Fields as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub volumes: Vec<RawObject>,

    /// Scope: revision. Mounts of volumes in the main container. Fields as in a pod.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub volume_mounts: Vec<RawObject>,

    /// Scope: revision. An overlay over the pod template (metadata and spec), merged last: maps by key, lists of named things by name, other lists replaced. The way out where no field serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_template: Option<RawObject>,

    /// Scope: revision. Where pods may run, and how they spread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduling: Option<Scheduling>,

    /// Scope: revision. What the containers may do on their node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,

    /// Scope: revision. The ServiceAccount of the pods. Default: the namespace's own, without its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ServiceAccount>,
}

/// The three probes of the main container, in the core shape: httpGet, tcpSocket, grpc or exec.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
pub struct Probes {
    /// Until it succeeds the other two do not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Probe>,
    /// When it fails the container is restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Probe>,
    /// While it fails the pod gets no traffic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
}

/// Configuration written into the Microservice. A change of it is a new revision.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("(has(self.files) ? self.files.map(k, size(self.files[k])).sum() : 0) + (has(self.env) ? self.env.map(k, size(self.env[k])).sum() : 0) <= 131072").message("config may hold at most 128 KiB in all: put more into a ConfigMap and mount it with files"))]
#[x_kube(validation = Rule::new("(has(self.files) ? self.files.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$')) : true) && (has(self.env) ? self.env.all(k, k.matches('^[-._a-zA-Z0-9]{1,253}$')) : true)").message("keys of config.files and config.env consist of letters, digits, '-', '_' and '.'"))]
pub struct Config {
    /// Files by name. Together with env at most 128 KiB.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    pub files: BTreeMap<String, String>,
    /// Environment variables by name; env wins over one of the same name here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub env: BTreeMap<String, String>,
    /// The directory in the container that the files appear in. Needed with files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^:]*$"))]
    pub mount_path: Option<String>,
}

/// One mount: where, and exactly one of what.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim), has(self.projected)].filter(x, x).size() == 1")
    .message("each of files needs exactly one of configMap, secret, emptyDir, persistentVolumeClaim or projected"))]
#[x_kube(validation = Rule::new("!has(self.track) || has(self.configMap) || has(self.secret)").message("track is for configMap and secret only"))]
#[x_kube(validation = Rule::new("!has(self.secret) || has(self.secret.secretName)").message("secret.secretName is needed"))]
pub struct FileSource {
    /// The path in the main container.
    #[schemars(length(min = 1, max = 1024), regex(pattern = r"^/[^:]*$"))]
    pub mount_path: String,
    /// One file of the source instead of all: mountPath is then that file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub sub_path: Option<String>,
    /// Whether the content is part of the revision. Snapshot: its digest is, and pods use an immutable copy. None: pods see the live object. Default: Snapshot for configMap, None for secret (Snapshot of Secrets has to be allowed in the operator's installation).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub track: Option<Track>,
    /// A ConfigMap of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config_map: Option<ConfigMapVolumeSource>,
    /// A Secret of this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretVolumeSource>,
    /// An empty directory that lives as long as the pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_dir: Option<EmptyDirVolumeSource>,
    /// A claim of this namespace. All pods share it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistent_volume_claim: Option<PersistentVolumeClaimVolumeSource>,
    /// Several sources in one directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projected: Option<ProjectedVolumeSource>,
}

/// Whether the content of a source is part of the revision.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Track {
    /// Pods see the live object; a change of it is no rollout.
    None,
    /// The content's digest is part of the revision and pods use an immutable copy.
    Snapshot,
}

/// Where pods may run.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Scheduling {
    /// Labels that a node must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Affinity as in a pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<Affinity>,
    /// Taints that the pods tolerate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-list-type" = "atomic"))]
    pub tolerations: Vec<Toleration>,
    /// How pods of one revision spread over zones and hosts. Soft: where possible. Hard: or they wait. None: not at all. Default: Soft.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// The PriorityClass of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// How strictly pods spread over zones and hosts.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum Spread {
    /// Where possible.
    #[default]
    Soft,
    /// A pod that would break the spread waits.
    Hard,
    /// As the scheduler likes.
    None,
}

/// What the containers may do on their node.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// Restricted: passes the Pod Security Standard of that name (not root, no capabilities, default seccomp). Baseline: may run as root, cannot gain privileges. Custom: nothing is set, podTemplate says it all. Default: Restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<SecurityProfile>,
    /// The numeric user of the containers. Default: the image's, which must then be numeric under Restricted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub run_as_user: Option<i64>,
    /// The numeric group of the containers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub run_as_group: Option<i64>,
    /// The group that owns mounted volumes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2147483647))]
    pub fs_group: Option<i64>,
}

/// A set of security settings with a name.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum SecurityProfile {
    /// Passes Pod Security "restricted".
    #[default]
    Restricted,
    /// Passes Pod Security "baseline".
    Baseline,
    /// The operator sets nothing.
    Custom,
}

/// The ServiceAccount of the pods.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.annotations) || (has(self.create) && self.create == 'Always')").message("serviceAccount.annotations needs create: Always, else the account is not ours to annotate"))]
pub struct ServiceAccount {
    /// Its name. Default: the Microservice's name with create Always, else the namespace's default account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub name: Option<String>,
    /// Always: the operator makes it. Never: it exists. Default: Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<ServiceAccountCreate>,
    /// Its annotations, for example a cloud role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub annotations: BTreeMap<String, String>,
    /// Whether its token is mounted into the pods. Default: None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<ServiceAccountToken>,
}

/// Who makes the ServiceAccount.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum ServiceAccountCreate {
    /// The operator.
    Always,
    /// Somebody else.
    #[default]
    Never,
}

/// Whether pods get a token for the API server.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum ServiceAccountToken {
    /// It is mounted.
    Mount,
    /// It is not.
    #[default]
    None,
}
