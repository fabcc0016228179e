//! An operator, which a test may kill and start again: a process, or a pod of the chart.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::environment;
use crate::environment::Operators;
use crate::http_client::get;
use crate::pod::{End, Release};
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
pub enum Operator {
    /// Beside the test.
    Process(Box<Process>),
    /// In the cluster.
    Pod(Release),
}

impl Operator {
    /// Starts it as the environment says, without waiting.
    pub fn start_as_asked(options: OperatorOptions) -> Self {
        match environment::operators() {
            Operators::Processes => Self::start(options),
            Operators::Pods => Self::Pod(Release::install(&options.namespaces, &options.flags)),
        }
    }

    /// Starts a process, without waiting.
    pub fn start(options: OperatorOptions) -> Self {
        Self::Process(Box::new(Process::start(options)))
    }

    /// Waits until its caches are warm, and a pod is the leader too: it has no other to wait for.
    pub async fn ready(&mut self) {
        match self {
            Self::Process(process) => process.ready().await,
            Self::Pod(release) => {
                crate::eventually("the operator's pod to act", async || release.acts().await).await;
            }
        }
    }

    /// Ends it with SIGKILL: it cannot prepare.
    pub fn kill(&mut self) {
        match self {
            Self::Process(process) => process.kill(),
            Self::Pod(release) => release.stop(End::Killed),
        }
    }

    /// Ends it with SIGTERM and waits. Answers whether it ended with success, as far as that is seen.
    pub fn stop(&mut self) -> bool {
        match self {
            Self::Process(process) => process.stop(),
            Self::Pod(release) => {
                release.stop(End::Told);
                true
            }
        }
    }

    /// Freezes it: it does nothing, and its clock goes on.
    pub fn freeze(&mut self) {
        self.process().signal("-STOP");
    }

    /// Lets it go on after [`Operator::freeze`].
    pub fn thaw(&mut self) {
        self.process().signal("-CONT");
    }

    fn process(&self) -> &Process {
        match self {
            Self::Process(process) => process,
            Self::Pod(_) => panic!("a pod takes no signals"),
        }
    }

    /// Kills it, where it runs, and starts it again.
    pub async fn restart(&mut self) {
        self.restart_without_waiting();
        self.ready().await;
    }

    /// Kills it, where it runs, and starts it again, without waiting for its caches.
    pub fn restart_without_waiting(&mut self) {
        self.kill();
        match self {
            Self::Process(process) => process.spawn(),
            Self::Pod(release) => release.start(),
        }
    }

    /// A page of it, for example /metrics.
    pub async fn page(&self, path: &str) -> String {
        let page = match self {
            Self::Process(process) => get(process.address, path).await.map(|answer| answer.body),
            Self::Pod(release) => release.page(path).await,
        };
        page.expect("the operator answers")
    }

    /// The lines of its log.
    pub fn log(&self) -> Vec<Value> {
        self.text()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The last lines of its log, as text.
    pub fn tail(&self, lines: usize) -> String {
        last(&self.text(), lines)
    }

    fn text(&self) -> String {
        match self {
            Self::Process(process) => process.text(),
            Self::Pod(release) => release.log(),
        }
    }
}

fn last(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// A running process. Ends with the value.
#[derive(Debug)]
pub struct Process {
    options: OperatorOptions,
    address: SocketAddr,
    child: Option<Child>,
}

impl Process {
    fn start(options: OperatorOptions) -> Self {
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

    async fn ready(&mut self) {
        crate::eventually("the operator to be ready", async || {
            if let Some(child) = &mut self.child
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!(
                    "the operator has ended: {status}; its log: {}",
                    last(&self.text(), 20)
                );
            }
            match get(self.address, "/readyz").await {
                Ok(answer) if answer.code == 200 => Ok(()),
                Ok(answer) => Err(answer.body),
                Err(error) => Err(error),
            }
        })
        .await;
    }

    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn stop(&mut self) -> bool {
        let Some(mut child) = self.child.take() else {
            return true;
        };
        let _ = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status();
        child.wait().expect("the operator ends").success()
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill {signal}");
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.options.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
