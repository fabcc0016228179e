//! The judge under simulated traffic: whether it keeps its promise, and how fast it is.

#![allow(clippy::unwrap_used)] // a test may fail loudly, also in its helpers

mod sampler;
mod simulation;
mod tables;
mod wired;
