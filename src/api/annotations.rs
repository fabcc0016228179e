//! Annotations: what people ask by them, and what the operator notes by them.
//!
//! The value of a command names what it means, so that a left-over one hits nothing. The operator never removes them.

/// `<revision>`: make the pods of this revision anew, as a new revision of the same template.
pub const RESTART: &str = "microservice.dev/restart";
/// `<revision>`: make this revision anew with what today's operator would render.
pub const REFRESH: &str = "microservice.dev/refresh";
/// `<revision>/<trial>`: try this rejected revision again.
pub const RETRY: &str = "microservice.dev/retry";
/// `<revision to leave>/<revision to return to>`: go back, and stay there.
pub const ROLLBACK: &str = "microservice.dev/rollback";
/// `<revision>/<trial>/<step>`: end the wait of this step; with `/coarse`: let it begin although its pods are too few.
pub const PROMOTE: &str = "microservice.dev/promote";
/// `<revision>/<trial>`: skip all steps that are left.
pub const PROMOTE_FULL: &str = "microservice.dev/promote-full";
/// `<revision>/<trial>`: take this revision back.
pub const ABORT: &str = "microservice.dev/abort";
/// `<revision>/<trial>`: the rollout stands still as long as this is there; to resume, take it away.
pub const PAUSE: &str = "microservice.dev/pause";
/// Any words: no new revision goes out as long as this is there; to unfreeze, take it away.
pub const FREEZE: &str = "microservice.dev/freeze";
/// `<revision>` or `<image>`: this one goes out without steps, their waits and the queue.
pub const EXPEDITE: &str = "microservice.dev/expedite";
/// On a Microservice: the kinds, separated by commas, whose objects of nobody it may take over, where they have the names
/// that its own objects would have; a Deployment and a PodDisruptionBudget may be named: `Deployment/orders-v1`.
pub const ADOPT: &str = "microservice.dev/adopt";

/// On a child: digest of what was last applied, so that nothing is written without a difference.
pub const APPLIED: &str = "microservice.dev/applied";
/// On a record: the verdict on the revision, as JSON.
pub const VERDICT: &str = "microservice.dev/verdict";
/// On a record: the number of the rollout that promoted the revision.
pub const PROMOTED: &str = "microservice.dev/promoted";
/// On a record: that the Jobs before its first pod have succeeded.
pub const PRE_DEPLOYED: &str = "microservice.dev/pre-deployed";
/// On a record: the highest number that a trial of the revision has had.
pub const TRIAL: &str = "microservice.dev/trial";
/// On a record: the fields of scope A that were last in force for the revision, as JSON.
pub const EXPOSURE: &str = "microservice.dev/exposure";

/// Prefixes of annotations that other tools put on a Microservice and that must never reach a child.
pub const FOREIGN_PREFIXES: [&str; 4] = [
    "argocd.argoproj.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
    "kustomize.toolkit.fluxcd.io/",
    "meta.helm.sh/",
];
