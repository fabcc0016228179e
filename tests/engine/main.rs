//! The engine against a small model of a cluster: examples of every edge, laws that hold at every write, and crashes
//! at every step.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checks;
mod crashes;
mod edges;
mod laws;
mod notifications;
mod operator;
mod properties;
mod requests;
mod scenarios;
mod statuses;
mod table;
mod world;

use microservice_operator::simulation::{api_server, cluster, gateway};
