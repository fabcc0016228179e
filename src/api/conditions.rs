//! Condition types and reasons. A reason is what a person searches the troubleshooting page for.

use std::fmt;

/// The types of conditions in the status of a Microservice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ConditionType {
    /// The spec is what runs, and it is healthy.
    Ready,
    /// Work is going on or a dependency is awaited.
    Reconciling,
    /// Nothing more will happen without a change from outside.
    Stalled,
    /// Users are served.
    Available,
    /// The revision that the spec asks for has been promoted.
    RolledOut,
    /// Every child was accepted by the API server.
    ChildrenApplied,
    /// Somebody else keeps changing what the operator owns.
    ChildContested,
    /// Routes exist and lead to the service.
    RoutesReady,
    /// Prometheus can find the service.
    MonitoringReady,
    /// The requests of the revisions can be read.
    AnalysisReady,
    /// Drains of nodes are bounded by our budget alone.
    DisruptionBudgetReady,
    /// Pods of the stable revision were made from different images of one name.
    ImageMutated,
    /// Under autoscaling a manifest sets replicas, too.
    ReplicasManagedByGit,
    /// Today's operator would render the stable revision differently.
    RefreshAvailable,
    /// What ran before the Microservice did was taken over, as an annotation asks for.
    Adopted,
}

impl ConditionType {
    /// Its name in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Available => "Available",
            Self::RolledOut => "RolledOut",
            Self::ChildrenApplied => "ChildrenApplied",
            Self::ChildContested => "ChildContested",
            Self::RoutesReady => "RoutesReady",
            Self::MonitoringReady => "MonitoringReady",
            Self::AnalysisReady => "AnalysisReady",
            Self::DisruptionBudgetReady => "DisruptionBudgetReady",
            Self::ImageMutated => "ImageMutated",
            Self::ReplicasManagedByGit => "ReplicasManagedByGit",
            Self::RefreshAvailable => "RefreshAvailable",
            Self::Adopted => "Adopted",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The value of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// It cannot be said yet.
    Unknown,
}

impl ConditionStatus {
    /// Its name in the status.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}
