//! Which of several replicas acts: an election over a Lease, decided as Kubernetes' own components decide it.
//!
//! Pure: what is known of the Lease and the time decide; `controller` reads and writes it.

mod election;
mod terms;

pub use election::{Election, Next, Setback, Standing};
pub use terms::{Terms, TermsError};
