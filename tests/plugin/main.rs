//! What the kubectl plugin says of services in fixtures, and what it makes of what people say.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod fixtures;
mod goals;
mod plans;
mod texts;
