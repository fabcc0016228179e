//! A process of the operator, which a test may kill and start again.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::environment;
use crate::http_client::get;
use crate::random::Random;

/// How an operator is started.
#[derive(Clone, Debug)]
pub struct OperatorOptions {
    /// The namespaces that it serves.
    pub namespaces: Vec<String>,
    /// Another kubeconfig than that of the tests.
    pub kubeconfig: Option<PathBuf>,
    /// Further flags.
    pub flags: Vec<String>,
    /// Where its log goes.
    pub log: PathBuf,
}

/// A running operator. Ends with the value.
#[derive(Debug)]
pub struct Operator {
    options: OperatorOptions,
    address: SocketAddr,
    child: Option<Child>,
}

impl Operator {
    /// Starts it, without waiting.
    pub fn start(options: OperatorOptions) -> Self {
        // All of 127.0.0.0/8 is this machine: an address of its own needs no search for a free port.
        let mut random = Random::new();
        let mut byte = || u8::try_from(1 + random.below(250)).unwrap_or(1);
        let address = SocketAddr::from((Ipv4Addr::new(127, byte(), byte(), byte()), 8080));
        let mut operator = Self {
            options,
            address,
            child: None,
        };
        operator.spawn();
        operator
    }

    fn spawn(&mut self) {
        let log = File::options()
            .create(true)
            .append(true)
            .open(&self.options.log)
            .expect("the log can be written");
        // setpriv sees to it that the operator does not outlive the test, whatever ends the test.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(environment::operator_binary())
            .args([
                "run",
                "--log-format",
                "json",
                "--namespaces",
                &self.options.namespaces.join(","),
            ])
            .args(["--metrics-address", &self.address.to_string()])
            .args(&self.options.flags)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        if let Some(kubeconfig) = &self.options.kubeconfig {
            command.arg("--kubeconfig").arg(kubeconfig);
        }
        self.child = Some(command.spawn().expect("the operator can be started"));
    }

    /// Waits until its caches are warm.
    pub async fn ready(&mut self) {
        crate::eventually("the operator to be ready", async || {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("the operator has ended: {status}; its log: {}", self.tail(20));
            }
            match get(self.address, "/readyz").await {
                Ok(answer) if answer.code == 200 => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(error),
            }
        })
        .await;
    }

    /// Ends it with SIGKILL: it cannot prepare.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Ends it with SIGTERM and waits. Answers whether it ended with success.
    pub fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        let _ = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        child.wait().expect("the operator ends").success()
    }

    /// Freezes it: it does nothing, and its clock goes on.
    pub fn freeze(&mut self) {
        self.signal("-STOP");
    }

    /// Lets it go on after [`Operator::freeze`].
    pub fn thaw(&mut self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }

    /// Starts it again after an end.
    pub async fn restart(&mut self) {
        self.kill();
        self.spawn();
        self.ready().await;
    }

    /// Starts it again after an end, without waiting for its caches.
    pub fn restart_without_waiting(&mut self) {
        self.kill();
        self.spawn();
    }

    /// A page of it, for example /metrics.
    pub async fn page(&self, path: &str) -> String {
        get(self.address, path).await.expect("the operator answers").body
    }

    /// The lines of its log.
    pub fn log(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.options.log).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The last lines of its log, as text.
    pub fn tail(&self, lines: usize) -> String {
        let text = std::fs::read_to_string(&self.options.log).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.kill();
    }
}
