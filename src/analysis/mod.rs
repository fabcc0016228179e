//! What the requests say about a candidate: from the pods' own counters to a verdict. Pure: what was scraped comes in as
//! bytes, and time as an argument.
//!
//! [`Judge`] weighs the bad requests of the candidate against those of the stable revision and against an objective.

mod count;
mod evidence;
mod exposition;
mod judge;
mod odds;

pub use count::{Alpha, BadShare, Count, Factor, OutOfRange};
pub use exposition::{Malformed, Sample, samples};
pub use judge::{Cause, Clearing, Judge, Look, Open, Ruling, Standard, Terms, Verdict};
