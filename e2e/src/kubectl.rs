//! kubectl, as people use it.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::environment;

/// What kubectl said.
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
        assert!(self.succeeded, "kubectl failed: {}{}", self.out, self.err);
        self.out
    }

    /// Its complaint. Panics where it did not fail.
    pub fn refused(self) -> String {
        assert!(
            !self.succeeded,
            "kubectl was expected to fail, and said: {}",
            self.out
        );
        self.err
    }
}

/// Runs it with `input`.
pub fn kubectl(arguments: &[&str], input: Option<&str>) -> Said {
    let mut child = Command::new(environment::kubectl_binary())
        .args(arguments)
        .stdin(if input.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("kubectl can be run");
    if let Some(input) = input {
        // It may have failed and gone before it read all of it; its own words tell.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    }
    let output = child.wait_with_output().expect("kubectl ends");
    Said {
        succeeded: output.status.success(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
