//! The API server's audit log: who asked for what, and when to the microsecond.

use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::environment::cluster_dir;
use crate::wait::eventually;

/// The start of the operator's user agent.
pub const OPERATOR: &str = "microservice-operator/";
/// The start of the kubelet's.
pub const KUBELET: &str = "kubelet/";

/// A request. All but watches are noted when they are answered, watches when they come.
#[derive(Clone, Debug)]
pub struct Request {
    /// get, list, watch, patch, create, update, delete.
    pub verb: String,
    /// The plural of the kind.
    pub resource: String,
    /// status, scale, ...; "" for the object itself.
    pub subresource: String,
    /// The name of the object.
    pub name: String,
    /// Who asked.
    pub agent: String,
    /// With which verified name.
    pub user: String,
    /// The answer; 0 while there is none.
    pub code: i64,
    /// When it came.
    pub received: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
    /// All of it.
    pub uri: String,
}

impl Request {
    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        ["create", "update", "patch", "delete", "deletecollection"].contains(&self.verb.as_str())
    }

    /// Whether it was accepted.
    pub fn accepted(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// In a word or two: `patch deployments/orders-abc`.
    pub fn brief(&self) -> String {
        let resource = if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        };
        format!("{} {resource} {} {}", self.verb, self.name, self.code)
    }
}

/// What was asked about one namespace, from a moment on.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    /// What was received before is told later at times.
    from: Timestamp,
    marker: String,
    read: Mutex<Read>,
}

/// What has been read: the log grows by all tests, so each line is looked at once.
#[derive(Debug)]
struct Read {
    offset: u64,
    requests: Vec<Request>,
}

impl AuditLog {
    /// From now on.
    pub fn from_now(namespace: &str) -> Self {
        Self::marked(format!("\"namespace\":\"{namespace}\""))
    }

    /// Instead of a namespace, all that a user asks for from now on, cluster-wide objects too.
    pub fn of_user(name: &str) -> Self {
        Self::marked(format!("\"username\":\"{name}\""))
    }

    fn marked(marker: String) -> Self {
        let path = cluster_dir().join("log/audit.log");
        let offset = std::fs::metadata(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
            .len();
        Self {
            path,
            from: Timestamp::now(),
            marker,
            read: Mutex::new(Read {
                offset,
                requests: Vec::new(),
            }),
        }
    }

    /// The requests by those whose user agent starts with `agent`.
    pub fn requests(&self, agent: &str) -> Vec<Request> {
        let mut read = self.read.lock().unwrap();
        read.go_on(&self.path, &self.marker);
        read.requests
            .iter()
            .filter(|request| request.received >= self.from && request.agent.starts_with(agent))
            .cloned()
            .collect()
    }
}

impl AuditLog {
    /// What the operator asked for; watches, which stand open, aside.
    pub fn asked(&self) -> Vec<Request> {
        let mut all = self.requests(OPERATOR);
        all.retain(|request| request.verb != "watch");
        all
    }

    /// Waits until the operator has asked for nothing for longer than it may let mere counts wait.
    pub async fn quiet(&self) {
        const QUIET: Duration = Duration::from_secs(6);
        let began = Timestamp::now();
        eventually("the operator to be quiet", async || {
            let last = self.asked().last().map_or(began, |request| request.answered);
            let quiet = Timestamp::now().duration_since(last.max(began));
            if quiet.unsigned_abs() >= QUIET {
                Ok(())
            } else {
                Err(format!("quiet for {quiet:#}"))
            }
        })
        .await;
    }
}

impl Read {
    fn go_on(&mut self, path: &Path, marker: &str) {
        let mut file = File::open(path).expect("the audit log can be opened");
        file.seek(SeekFrom::Start(self.offset))
            .expect("the audit log has not shrunk");
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        while lines.read_line(&mut line).is_ok_and(|length| length > 0) {
            // The last line may be half written.
            if !line.ends_with('\n') {
                return;
            }
            self.offset += line.len() as u64;
            if line.contains(marker) {
                self.requests.extend(request(&line));
            }
            line.clear();
        }
    }
}

fn request(line: &str) -> Option<Request> {
    let event: Value = serde_json::from_str(line).ok()?;
    let text = |pointer: &str| {
        event
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let time = |pointer: &str| text(pointer).parse::<Timestamp>().ok();
    Some(Request {
        verb: text("/verb"),
        resource: text("/objectRef/resource"),
        subresource: text("/objectRef/subresource"),
        name: text("/objectRef/name"),
        agent: text("/userAgent"),
        user: text("/user/username"),
        code: event
            .pointer("/responseStatus/code")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        received: time("/requestReceivedTimestamp")?,
        answered: time("/stageTimestamp")?,
        uri: text("/requestURI"),
    })
}
