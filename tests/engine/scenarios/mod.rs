//! Examples: what happens to a service, from the first revision to the way back.

pub mod adoption;
mod autoscaling;
pub mod back;
mod checking;
mod exposure;
pub mod first;
mod homeward;
mod judging;
pub mod lost;
mod monitoring;
mod notifying;
pub mod people;
mod refused;
pub mod routes;
mod scale;
mod semantics;
mod status;
pub mod steps;
pub mod update;
pub mod work;
