//! Labels on the objects that the operator makes, and its field manager. Fixed: they sit in selectors.

/// The name of the service's kind of software; the same on all objects of a service.
pub const NAME: &str = "app.kubernetes.io/name";
/// The service that an object belongs to: the name of its Microservice.
pub const INSTANCE: &str = "app.kubernetes.io/instance";
/// On the pod of a Job: the service that it works for. It stands in for [`INSTANCE`], which Services select by: a
/// pod that works for a service must never get a request of its callers.
pub const JOB: &str = "microservice.dev/job";
/// On the pod of a Job: the revision that it works for. It stands in for [`REVISION`], which selects the pods that
/// carry traffic and are judged.
pub const JOB_OF: &str = "microservice.dev/job-of";
/// On the pod of a Job, and so in its template: the check that it measures.
pub const CHECK: &str = "microservice.dev/check";
/// Who makes the object: always [`MANAGER`].
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The revision that a pod, a Deployment or a ConfigMap belongs to.
pub const REVISION: &str = "microservice.dev/revision";
/// What a Service besides the root one is for: `Revision` (routes lead to it) or `Preview`.
pub const SERVICE: &str = "microservice.dev/service";
/// The role of a pod's revision: Stable, Candidate or Previous. Patched on live pods.
pub const ROLE: &str = "microservice.dev/role";
/// The value of [`MANAGED_BY`], and the field manager of every write.
pub const MANAGER: &str = "microservice-operator";
/// The prefix of all keys that belong to the operator.
pub const PREFIX: &str = "microservice.dev/";

/// The label selector of every object that the operator may own.
pub fn managed_selector() -> String {
    format!("{MANAGED_BY}={MANAGER}")
}

/// The label selector of one service's pods, all revisions of it.
pub fn service_selector(service: &str) -> String {
    format!("{NAME}={service},{INSTANCE}={service}")
}

/// The label selector of one revision's pods.
pub fn revision_selector(service: &str, revision: &str) -> String {
    format!("{},{REVISION}={revision}", service_selector(service))
}
