//! The operator's library. The rooms `api`, `revision`, `render`, `traffic`, `health`, `analysis`, `notify`, `rollout`, `leader`
//! and `plugin` are pure: they decide over data and touch neither the network nor a clock. `controller` is the only room that talks
//! to the API server.

pub mod analysis;
pub mod api;
pub mod cli;
pub mod controller;
pub mod health;
pub mod http;
pub mod leader;
pub mod notify;
pub mod plugin;
pub mod render;
pub mod revision;
pub mod rollout;
pub mod simulation;
pub mod telemetry;
pub mod template;
pub mod traffic;
pub mod validate;
