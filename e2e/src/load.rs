//! A bounded stream of requests, and a tally of who answered and what failed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::JoinSet;

use crate::http_client::get;

/// Clients that ask at the same time.
const CLIENTS: usize = 3;
/// The pause of each client between two requests.
const PAUSE: Duration = Duration::from_millis(15);
/// The most requests of one client.
const MOST: usize = 20_000;

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Good answers by the version that gave them.
    pub answered: BTreeMap<String, u64>,
    /// What failed, when and how.
    pub failures: Vec<(Timestamp, String)>,
    /// The version that answered last.
    pub last: Option<String>,
}

impl Tally {
    /// How many requests were sent.
    pub fn sent(&self) -> u64 {
        self.answered.values().sum::<u64>() + self.failures.len() as u64
    }

    /// The versions that answered.
    pub fn versions(&self) -> Vec<&str> {
        self.answered.keys().map(String::as_str).collect()
    }

    /// Panics unless every request was answered, and there were some.
    pub fn assert_spotless(&self) {
        assert!(self.sent() > 20, "only {} requests were sent", self.sent());
        assert!(
            self.failures.is_empty(),
            "{} of {} requests failed, first: {:?}; answered: {:?}",
            self.failures.len(),
            self.sent(),
            &self.failures[..self.failures.len().min(5)],
            self.answered
        );
    }
}

/// Requests that go on until they are stopped.
#[derive(Debug)]
pub struct Load {
    tally: Arc<Mutex<Tally>>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts asking for `/`.
    pub fn start(address: SocketAddr) -> Self {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let tally = Arc::clone(&tally);
            clients.spawn(async move {
                for _ in 0..MOST {
                    let answer = get(address, "/").await;
                    note(&mut tally.lock().unwrap(), answer);
                    tokio::time::sleep(PAUSE).await;
                }
            });
        }
        Self { tally, clients }
    }

    /// What came of the requests so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    /// Ends it.
    pub fn stop(mut self) -> Tally {
        self.clients.abort_all();
        self.tally()
    }
}

fn note(tally: &mut Tally, answer: Result<crate::http_client::Answer, String>) {
    let failure = match answer {
        Ok(answer) if answer.code == 200 => match answer.version() {
            Some(version) => {
                *tally.answered.entry(version.clone()).or_default() += 1;
                tally.last = Some(version);
                return;
            }
            None => format!("an answer without version: {}", answer.body),
        },
        Ok(answer) => format!("{}: {}", answer.code, answer.body),
        Err(error) => error,
    };
    tally.failures.push((Timestamp::now(), failure));
}
