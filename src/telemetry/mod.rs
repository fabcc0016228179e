//! What the operator tells about itself: its log and its metrics.

mod gauges;
mod labels;
pub mod logs;
pub mod metrics;

pub use gauges::Gauges;
pub use labels::{
    NotificationResult, ReconcileResult, RollbackReason, RolloutOutcome, ScrapeResult, WriteResult, WriteVerb,
};
pub use logs::{Decision, Gravity, LogFormat};
pub use metrics::Metrics;
