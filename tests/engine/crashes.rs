//! Crashes at every step.
