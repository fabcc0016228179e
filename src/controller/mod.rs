//! The only room that talks to the API server: it watches, plans through `rollout`, and writes.
//!
//! ```text
//! streams -> caches -> (trigger) -> queue -> reconcile: observe -> plan -> execute -> ... until nothing is left to do
//! ```
//!
//! Nothing here decides. A failing watch, a panic or an error of one service touches no other one.

mod adoption;
mod backoff;
mod cache;
mod call;
mod claims;
mod delivery;
mod endpoint;
mod entry;
mod error;
mod execute;
mod features;
mod leadership;
mod measuring;
mod memory;
mod observe;
mod optional;
mod queue;
mod reconcile;
mod request;
mod run;
mod sampling;
mod slots;
mod sources;
mod streams;
mod tls;
mod worker;

pub use leadership::{Candidacy, LeaderElection};
pub use run::{Options, Scope, SecretTracking, run};
