//! Work beside the pods: Jobs before a revision gets pods, and hooks before a step.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EnvFromSource, EnvVar, ResourceRequirements};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A Job that must succeed before a revision gets its first pod, once per revision: a database migration, for example.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreDeploy {
    /// Its name.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What runs.
    #[serde(flatten)]
    pub job: JobTemplate,
}

/// The container of a Job.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JobTemplate {
    /// The image. Default: the revision's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub image: Option<String>,
    /// Replaces the image's entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub command: Vec<String>,
    /// Arguments for the entrypoint.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "atomic"))]
    pub args: Vec<String>,
    /// Environment variables, beside those of the revision's main container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Whole ConfigMaps and Secrets as environment variables.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "atomic"))]
    pub env_from: Vec<EnvFromSource>,
    /// CPU and memory. Default: those of the revision's main container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Seconds that it may take in all. Default: 600.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 86400))]
    pub timeout_seconds: Option<i32>,
    /// How often it is tried again when it fails. Pods that were evicted do not count. Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub retries: Option<i32>,
}

impl JobTemplate {
    /// Seconds that it may take in all.
    pub fn timeout_seconds(&self) -> i64 {
        i64::from(self.timeout_seconds.unwrap_or(600))
    }
}

/// Something that must succeed before a step.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.job) != has(self.webhook)").message("a hook needs exactly one of job or webhook"))]
pub struct Hook {
    /// Its name.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// A Job that must succeed, for example a smoke test. It knows MICROSERVICE_NAME, MICROSERVICE_NAMESPACE, MICROSERVICE_REVISION, MICROSERVICE_STABLE and MICROSERVICE_STEP from its environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobTemplate>,
    /// A call that must be answered with 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<Webhook>,
}

/// A call over HTTP: POST with a JSON body that names service, namespace, revision, stable, trial, step, stepDigest (of what the step says) and hook.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Its address.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+(/\S*)?$"))]
    pub url: String,
    /// Further headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16))]
    pub headers: BTreeMap<String, String>,
    /// Seconds that one call may take. Default: 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 300))]
    pub timeout_seconds: Option<i32>,
    /// How often it is tried again, with a pause that doubles from 1 s to 60 s. Default: 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 20))]
    pub retries: Option<i32>,
}

impl Webhook {
    /// Seconds that one call may take.
    pub fn timeout_seconds(&self) -> u32 {
        self.timeout_seconds.and_then(|n| n.try_into().ok()).unwrap_or(10)
    }

    /// How often it is tried again.
    pub fn retries(&self) -> u32 {
        self.retries.and_then(|n| n.try_into().ok()).unwrap_or(3)
    }
}
