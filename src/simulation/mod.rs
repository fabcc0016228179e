//! A small model of a cluster in virtual time. The engine's tests try its laws on it, and `kubectl microservice simulate`
//! plays a rollout on it ([`play`]). Pure: time is what it is told, and what is random follows from a seed.

pub mod api_server;
pub mod cluster;
mod failure;
pub mod gateway;
mod play;
mod random;
mod traffic;
mod view;

pub use failure::Failure;
pub use play::{Ending, Manifest, Moment, Played, RevisionName, Script, Subject, play};
pub use traffic::Requests;
pub use view::{Beside, View};
