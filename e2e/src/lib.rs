//! The harness of the end-to-end tests: each test gets a namespace and an operator process of its own on a real
//! Kubernetes, so that all of them run in parallel.
//!
//! The tests run inside of the cluster's network: `cluster run -- cargo test -p e2e`. From the environment:
//!
//! | variable | what |
//! |---|---|
//! | `KUBECONFIG`, `CLUSTER_DIR` | the cluster, as `cluster exec` sets them |
//! | `CLUSTER_BIN` | the runner itself, for tests that disturb the cluster |
//! | `OPERATOR_BIN` | the operator under test; default: target/debug/microservice-operator |
//! | `OPERATORS` | `processes`, or `pods`: each scenario installs the chart with the image for its operator; default: processes |
//! | `OPERATOR_IMAGE` | the archive with that image; default: that of `make e2e-image` |
//! | `KUBECTL` | default: kubectl |
//! | `KEEP=1` | leaves the namespaces for inspection |
//! | `PATIENCE` | seconds after which waiting fails; default 60 |

// A harness gives its verdict by panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod adoption;
pub mod argo_cd;
pub mod audit;
pub mod custom_metrics;
pub mod environment;
pub mod gateway;
pub mod helm;
pub mod http_client;
pub mod istio;
pub mod judged;
pub mod kubectl;
pub mod load;
pub mod manifest;
pub mod measure;
pub mod metrics;
pub mod operator;
pub mod pod;
pub mod prometheus;
pub mod proxy;
pub mod random;
pub mod recorder;
pub mod release;
pub mod rights;
pub mod scenario;
pub mod status;
pub mod wait;
pub mod webhook;

pub use manifest::{Manifest, misbehave, podinfo};
pub use scenario::{Scenario, scenario};
pub use wait::{eventually, patience};
