//! The operator's own HTTP server: metrics for Prometheus, and the kubelet's probes.

mod readiness;
mod server;

pub use readiness::{Gate, Readiness};
pub use server::{Endpoints, serve};
