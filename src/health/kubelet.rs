//! The kubelet's and the runtime's words, and what they mean.
//!
//! Reasons and texts as of Kubernetes 1.35: pkg/kubelet/images/types.go and image_manager.go,
//! pkg/kubelet/kuberuntime/kuberuntime_container.go, pkg/kubelet/container/sync_result.go, pkg/kubelet/kubelet_pods.go;
//! of containerd: internal/cri/server/helpers.go and core/remotes/docker.

use super::Waiting;

/// A container that ends again and again is held back for a growing while.
pub(super) const CRASH_LOOP: &str = "CrashLoopBackOff";

/// The kernel killed the container for its memory.
pub(super) const OOM_KILLED: &str = "OOMKilled";

/// Reasons of ends that nobody saw: the kubelet's for a container that is gone, its own restart of all containers,
/// and containerd's for a container that was lost with its node or its shim.
pub(super) const UNSEEN_ENDS: [&str; 3] = ["ContainerStatusUnknown", "RestartingAllContainers", "Unknown"];

/// What keeps a container from starting. The crash loop is not among them: there it did start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StartTrouble {
    /// The image's name cannot be one.
    InvalidImage,
    /// The registry says that there is no such image.
    ImageNotFound,
    /// What the revision asks for cannot be made: a key is missing, the command does not exist, root is not allowed.
    Configuration,
    /// A Secret or ConfigMap that the revision needs is not there.
    MissingObject,
    /// The image cannot be had at the moment.
    ImagePull,
    /// The node cannot do it at the moment.
    Node,
}

/// What keeps the container from starting. None: nothing that would not pass by itself.
pub(super) fn start_trouble(waiting: &Waiting) -> Option<StartTrouble> {
    match waiting.reason.as_str() {
        "InvalidImageName" => Some(StartTrouble::InvalidImage),
        "ErrImageNeverPull" => Some(StartTrouble::ImagePull),
        "ErrImagePull" => image_missing(&waiting.message).then_some(StartTrouble::ImageNotFound),
        "ImagePullBackOff" if image_missing(&waiting.message) => Some(StartTrouble::ImageNotFound),
        "ImagePullBackOff" => Some(StartTrouble::ImagePull),
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PostStartHookError" => Some(creation_trouble(&waiting.message)),
        "ImageInspectError" | "PreCreateHookError" | "PreStartHookError" => Some(StartTrouble::Node),
        // ContainerCreating, PodInitializing, CrashLoopBackOff, and the first failures of a pull: RegistryUnavailable,
        // SignatureValidationFailed.
        _ => None,
    }
}

/// The object whose absence a message speaks of, as a reason: SecretNotFound or ConfigMapNotFound.
pub(super) fn missing_object(message: &str) -> Option<&'static str> {
    let absent = |kind: &str| message.contains(&format!("{kind} \"")) && message.contains("\" not found");
    match (absent("secret"), absent("configmap")) {
        (true, _) => Some("SecretNotFound"),
        (false, true) => Some("ConfigMapNotFound"),
        (false, false) => None,
    }
}

/// Texts of a kubelet or a runtime that is starting or too slow.
const NODE_TEXTS: [&str; 6] = [
    "services have not yet been read at least once",
    "failed to sync ",
    " not registered",
    "context deadline exceeded",
    "DeadlineExceeded",
    "is reserved for ",
];

fn creation_trouble(message: &str) -> StartTrouble {
    if missing_object(message).is_some() {
        StartTrouble::MissingObject
    } else if NODE_TEXTS.iter().any(|text| message.contains(text)) {
        StartTrouble::Node
    } else {
        StartTrouble::Configuration
    }
}

/// Words by which a registry says that it has no such image.
const ABSENT: [&str; 5] = [
    "code = notfound",
    "manifest unknown",
    "manifest_unknown",
    "name unknown",
    "repository does not exist",
];

/// Words that leave it open: registries hide a private image from those who may not see it, so this can as well be a
/// missing pull secret, which is not the revision's fault.
const OPEN: [&str; 4] = ["may require", "denied", "unauthorized", "no pull access"];

/// Whether the registry says that the image does not exist.
fn image_missing(message: &str) -> bool {
    let message = message.to_lowercase();
    let absent = ABSENT.iter().any(|w| message.contains(w)) || message.trim_end().ends_with(": not found");
    absent && !OPEN.iter().any(|w| message.contains(w))
}
