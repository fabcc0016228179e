//! The Prometheus of the testbed: Debian's, configured by the prometheus-operator from the monitors of all namespaces.

use std::sync::Once;

use crate::environment::cluster;

/// Where it answers.
pub const ADDRESS: &str = "http://192.0.2.1:9090";

/// Builds the prometheus-operator, where it is not, and starts both, where they do not run.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        cluster(&["addon", "prometheus", "start"]);
    });
}

/// Ends the process of Prometheus, as a crash would.
pub fn kill() {
    cluster(&["prometheus", "stop"]);
}

/// Starts it again.
pub fn revive() {
    cluster(&["prometheus", "start"]);
}
