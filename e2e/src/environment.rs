//! The cluster that the tests run in, as its runner tells by environment variables and files.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// What the pods of the cluster are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pods {
    /// Processes in containers.
    Real,
    /// Objects whose status kwok writes: nothing listens, nothing fails.
    Simulated,
}

/// The directory of the cluster.
pub fn cluster_dir() -> PathBuf {
    std::env::var_os("CLUSTER_DIR").map(PathBuf::from).expect(
        "CLUSTER_DIR is not set: these tests run inside of a cluster's network, as by `cluster run -- cargo test -p e2e`",
    )
}

/// What the pods of the cluster are.
pub fn pods() -> Pods {
    let mode = std::fs::read_to_string(cluster_dir().join("mode")).unwrap_or_default();
    if mode.trim() == "simulated" {
        Pods::Simulated
    } else {
        Pods::Real
    }
}

/// A command of the cluster's runner, for example `["apiserver", "restart"]`. Panics where it fails.
pub fn cluster(arguments: &[&str]) -> String {
    let runner = std::env::var("CLUSTER_BIN").unwrap_or_else(|_| "cluster".to_owned());
    let output = Command::new(&runner)
        .args(arguments)
        // Not --dir, which not every command takes.
        .env("CLUSTER_DIR", cluster_dir())
        .output()
        .unwrap_or_else(|error| panic!("CLUSTER_BIN={runner} cannot be run: {error}"));
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "cluster {arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The operator under test.
pub fn operator_binary() -> PathBuf {
    std::env::var_os("OPERATOR_BIN").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/debug/microservice-operator"),
        PathBuf::from,
    )
}

/// How the operators of scenarios run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operators {
    /// As processes beside the test, which takes no time to start and can be disturbed in every way.
    Processes,
    /// As pods of the chart.
    Pods,
}

/// How the operators of scenarios run.
pub fn operators() -> Operators {
    match std::env::var("OPERATORS").as_deref() {
        Err(_) | Ok("processes") => Operators::Processes,
        Ok("pods") => Operators::Pods,
        Ok(other) => panic!("OPERATORS={other} is neither processes nor pods"),
    }
}

/// The archive with the image of the operator under test.
pub fn operator_image() -> PathBuf {
    std::env::var_os("OPERATOR_IMAGE").map_or_else(
        || repository().join("target/image/e2e/microservice-operator.oci.tar"),
        PathBuf::from,
    )
}

/// kubectl.
pub fn kubectl_binary() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from)
}

/// The root of the repository.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Says by name that a test proves nothing here.
pub fn skipped(name: &str, needs: &str) {
    say(&format!("skipped: {name}: needs {needs}"));
}

/// Says something that is to be read also of a test that passes, whose output is swallowed otherwise.
pub fn say(line: &str) {
    // Nobody is left to read where this fails.
    let _ = writeln!(std::io::stderr(), "{line}");
}
