//! The values that metric labels can take. All of them are named here or in code, never taken from an object, so the
//! number of series is bounded whatever users create.

use prometheus_client::encoding::EncodeLabelValue;

use crate::api::{Blame, CheckVerdict, Phase, ReturnCause};
use crate::rollout::Untold;

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReconcileResult {
    /// It did what it planned.
    Success,
    /// What it planned on was out of date: it observes again.
    Conflict,
    /// It failed and is tried again with back-off.
    Failure,
    /// It panicked and was caught.
    Panic,
}

/// What a write asks of the API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum WriteVerb {
    /// Server-side apply.
    Apply,
    /// Another patch.
    Patch,
    /// Create.
    Create,
    /// Replace.
    Update,
    /// Delete.
    Delete,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum WriteResult {
    /// It was accepted.
    Accepted,
    /// It was made on a state that is out of date (409).
    Conflict,
    /// It was refused for what it asks (other 4xx).
    Refused,
    /// The server could not (5xx, 429, no connection, no answer in time).
    Unavailable,
}

impl WriteResult {
    /// The result that an HTTP status code means; None: there was no answer.
    pub fn of_status(code: Option<u16>) -> Self {
        match code {
            Some(200..=299) => Self::Accepted,
            Some(409) => Self::Conflict,
            Some(429) | None => Self::Unavailable,
            Some(400..=499) => Self::Refused,
            Some(_) => Self::Unavailable,
        }
    }
}

/// How the scrape of a pod ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ScrapeResult {
    /// It answered.
    Success,
    /// It did not, or not with metrics.
    Error,
}

/// What became of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum NotificationResult {
    /// It arrived.
    Delivered,
    /// It did not, or that is not known, after all tries.
    Failed,
    /// Another process was sending it: whether it arrived is not known.
    Lost,
    /// Too many waited.
    Dropped,
}

impl NotificationResult {
    /// Why it was not even tried.
    pub fn of(untold: Untold) -> Self {
        match untold {
            Untold::Lost => Self::Lost,
            Untold::Dropped => Self::Dropped,
        }
    }
}

/// How a rollout ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RolloutOutcome {
    /// The candidate is the stable revision now.
    Promoted,
    /// It was taken back.
    RolledBack,
    /// A newer spec took its place.
    Superseded,
    /// Something else ended it.
    Interrupted,
}

impl RolloutOutcome {
    /// The outcome that an entry of the status' history names.
    pub fn of(outcome: &str) -> Self {
        match outcome {
            "Promoted" => Self::Promoted,
            "RolledBack" => Self::RolledBack,
            "Superseded" => Self::Superseded,
            _ => Self::Interrupted,
        }
    }
}

/// Why a rollout was taken back, in classes: the reasons themselves are open-ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum RollbackReason {
    /// Containers crashed.
    Crash,
    /// Pods lost their readiness.
    NotReady,
    /// The image does not exist or cannot be had.
    Image,
    /// Containers cannot be made as they are configured, or what they need is not there.
    Configuration,
    /// There is no room for the pods, or they may not be made.
    Capacity,
    /// No progress was made in time.
    Deadline,
    /// Its requests were worse than the stable revision's, or than an objective.
    Analysis,
    /// A person asked for it.
    Person,
    /// A newer spec took its place.
    Superseded,
    /// Anything else.
    Other,
}

impl RollbackReason {
    /// The class of a cause.
    pub fn of(cause: &ReturnCause) -> Self {
        match cause.blame {
            Blame::Person => Self::Person,
            Blame::Superseded => Self::Superseded,
            Blame::Candidate | Blame::Environment => Self::of_reason(&cause.reason),
        }
    }

    fn of_reason(reason: &str) -> Self {
        match reason {
            "CrashLoopBackOff" | "TooManyCrashes" => Self::Crash,
            "ReadinessLost" => Self::NotReady,
            "ImageNotFound" | "InvalidImageName" | "ImagePullBackOff" | "ErrImageNeverPull"
            | "ImageInspectError" => Self::Image,
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PostStartHookError"
            | "SecretNotFound"
            | "ConfigMapNotFound" => Self::Configuration,
            "Unschedulable" | "QuotaExceeded" | "FailedCreate" => Self::Capacity,
            "WorseThanStable" | "ObjectiveMissed" | "NoData" | "CheckFailed" | "CheckError"
            | "CheckWithoutData" => Self::Analysis,
            other if other.ends_with("DeadlineExceeded") => Self::Deadline,
            _ => Self::Other,
        }
    }
}

/// All phases, with the values of their label.
pub(super) const PHASES: [Phase; 5] = [
    Phase::Healthy,
    Phase::Progressing,
    Phase::Paused,
    Phase::Degraded,
    Phase::Suspended,
];

/// The value of a phase's label: its name in the status.
pub(super) fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Healthy => "Healthy",
        Phase::Progressing => "Progressing",
        Phase::Paused => "Paused",
        Phase::Degraded => "Degraded",
        Phase::Suspended => "Suspended",
    }
}

/// All verdicts, with the values of their label.
pub(super) const VERDICTS: [CheckVerdict; 3] = [
    CheckVerdict::Passing,
    CheckVerdict::Failing,
    CheckVerdict::Inconclusive,
];

/// The value of a verdict's label: its name in the status.
pub(super) fn verdict_name(verdict: CheckVerdict) -> &'static str {
    match verdict {
        CheckVerdict::Passing => "Passing",
        CheckVerdict::Failing => "Failing",
        CheckVerdict::Inconclusive => "Inconclusive",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_codes_have_a_result() {
        let cases = [
            (Some(200), WriteResult::Accepted),
            (Some(201), WriteResult::Accepted),
            (Some(400), WriteResult::Refused),
            (Some(404), WriteResult::Refused),
            (Some(409), WriteResult::Conflict),
            (Some(422), WriteResult::Refused),
            (Some(429), WriteResult::Unavailable),
            (Some(504), WriteResult::Unavailable),
            (None, WriteResult::Unavailable),
        ];
        for (code, result) in cases {
            assert_eq!(WriteResult::of_status(code), result, "{code:?}");
        }
    }

    #[test]
    fn causes_have_a_class() {
        let class = |blame, reason: &str| {
            RollbackReason::of(&ReturnCause {
                blame,
                reason: reason.into(),
                message: String::new(),
            })
        };
        assert_eq!(class(Blame::Candidate, "CrashLoopBackOff"), RollbackReason::Crash);
        assert_eq!(class(Blame::Candidate, "ReadinessLost"), RollbackReason::NotReady);
        assert_eq!(class(Blame::Candidate, "ImageNotFound"), RollbackReason::Image);
        assert_eq!(
            class(Blame::Environment, "ConfigMapNotFound"),
            RollbackReason::Configuration
        );
        assert_eq!(
            class(Blame::Environment, "QuotaExceeded"),
            RollbackReason::Capacity
        );
        assert_eq!(
            class(Blame::Candidate, "ProgressDeadlineExceeded"),
            RollbackReason::Deadline
        );
        assert_eq!(
            class(Blame::Candidate, "WorseThanStable"),
            RollbackReason::Analysis
        );
        assert_eq!(class(Blame::Person, "CrashLoopBackOff"), RollbackReason::Person);
        assert_eq!(class(Blame::Superseded, ""), RollbackReason::Superseded);
        assert_eq!(class(Blame::Candidate, "SomethingNew"), RollbackReason::Other);
    }

    #[test]
    fn history_outcomes_have_a_label() {
        assert_eq!(RolloutOutcome::of("Promoted"), RolloutOutcome::Promoted);
        assert_eq!(RolloutOutcome::of("RolledBack"), RolloutOutcome::RolledBack);
        assert_eq!(RolloutOutcome::of("Superseded"), RolloutOutcome::Superseded);
        assert_eq!(RolloutOutcome::of("Interrupted"), RolloutOutcome::Interrupted);
    }

    #[test]
    fn phases_and_verdicts_are_called_as_in_the_status() {
        for phase in PHASES {
            assert_eq!(serde_json::to_value(phase).unwrap(), phase_name(phase));
        }
        for verdict in VERDICTS {
            assert_eq!(serde_json::to_value(verdict).unwrap(), verdict_name(verdict));
        }
    }
}
