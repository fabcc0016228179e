//! What the requests say about a candidate: from the pods' own counters to a verdict. Pure: what was scraped comes in as
//! bytes, and time as an argument.
//!
//! [`read`] takes a pod's requests from what it exposes, [`Tally`] sums them up for each revision, and [`Judge`] weighs
//! the bad requests of the candidate against those of the stable revision and against an objective.

mod built_in;
mod conventions;
mod count;
mod evidence;
mod exposition;
mod judge;
mod odds;
pub mod placeholders;
mod probe_paths;
pub mod prometheus;
mod reading;
mod tally;
pub mod threshold;

#[cfg(test)]
mod judge_tests;
#[cfg(test)]
mod reading_tests;

pub use built_in::built_in;
pub use conventions::{BadValues, Given, Names, USUAL_FAMILIES, Unit};
pub(crate) use conventions::{Family, Scope};
pub use count::{Alpha, BadShare, Count, Factor, OutOfRange};
pub use exposition::{Malformed, Sample, samples};
pub use judge::{Cause, Clearing, Judge, Look, Open, Ruling, Standard, Terms, Verdict};
pub use probe_paths::ProbePaths;
pub use reading::{Bound, Indicator, Reading, Source, Unreadable, read, read_samples};
pub use tally::{Comparability, Origin, Scrape, Side, Tally};
