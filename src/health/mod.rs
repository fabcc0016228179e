//! What pods say about their revision: from pods to a verdict. Pure: time comes in as an argument.
//!
//! [`ExitLedger`] remembers what a pod's status forgets, [`PodSnapshot`] is what one pod says now, and [`assess`]
//! weighs the pods of a candidate against those of the stable revision.

mod container;
mod counts;
mod job;
mod kubelet;
mod ledger;
mod pod;
mod rules;
mod symptom;
mod text;
mod verdict;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod verdict_tests;

pub use container::{ContainerKind, ContainerSnapshot, Exit, FailedExits, Waiting};
pub use counts::{Counts, readiness};
pub use job::{JOB_FAILED, JobOutcome, JobTrouble, job_outcome, job_trouble};
pub use ledger::{ExitLedger, PodHistory};
pub use pod::{NodeReadiness, PodSnapshot, Readied, Readiness, Scheduling, Standing};
pub use text::message;
pub use verdict::{Assessment, Fault, Limits, Traffic, assess, replica_failure};
