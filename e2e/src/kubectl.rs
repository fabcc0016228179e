//! kubectl, as people use it, and other programs that are run like it.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::environment;

/// What a program said.
#[derive(Clone, Debug)]
pub struct Said {
    /// Whether it succeeded.
    pub succeeded: bool,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Said {
    /// Its output. Panics where it failed.
    pub fn ok(self) -> String {
        assert!(self.succeeded, "it failed: {}{}", self.out, self.err);
        self.out
    }

    /// Its complaint. Panics where it did not fail.
    pub fn refused(self) -> String {
        assert!(!self.succeeded, "it was expected to fail, and said: {}", self.out);
        self.err
    }
}

/// Runs kubectl with `input`.
pub fn kubectl(arguments: &[&str], input: Option<&str>) -> Said {
    let mut command = Command::new(environment::kubectl_binary());
    command.args(arguments);
    run(command, input)
}

/// Runs a program with `input`.
pub fn run(mut command: Command, input: Option<&str>) -> Said {
    let mut child = command
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?} cannot be run: {error}"));
    if let Some(input) = input {
        // It may have failed and gone before it read all of it; its own words tell.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("it ends");
    Said {
        succeeded: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits until CustomResourceDefinitions (`crd/NAME`) are served. Panics where they are not within a minute.
pub fn established(definitions: &[&str]) {
    let mut arguments = vec!["wait", "--for=condition=Established", "--timeout=60s"];
    arguments.extend(definitions);
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let said = kubectl(&arguments, None);
        // The conditions of a definition that was made this moment are null, over which kubectl stumbles instead of
        // waiting.
        if !said.err.contains("accessor error") || Instant::now() > deadline {
            said.ok();
            return;
        }
    }
}
