//! A receiver of webhooks, that answers as it is told and keeps what it was sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use jiff::Timestamp;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

/// A call that came.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// When it came.
    pub at: Timestamp,
    /// POST, it should be.
    pub method: Method,
    /// The path that was asked for.
    pub path: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body; null where that is no JSON.
    pub body: Value,
    /// The status that it was answered with.
    pub answered: u16,
}

/// A listener on the machine itself, where the operator runs too.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

#[derive(Debug)]
struct Shared {
    answers: Vec<u16>,
    said: Mutex<Option<(u16, String)>>,
    deliveries: Mutex<Vec<Delivery>>,
}

impl Receiver {
    /// Listens. Calls are answered with these statuses in order, and with the last one from then on.
    pub async fn start(answers: &[u16]) -> Self {
        assert!(!answers.is_empty(), "there is always an answer");
        let shared = Arc::new(Shared {
            answers: answers.to_vec(),
            said: Mutex::default(),
            deliveries: Mutex::default(),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let routes = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            // It ends with the test alone.
            let _ = axum::serve(listener, routes).await;
        });
        Self {
            address,
            shared,
            task: task.abort_handle(),
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers each call so from now on.
    pub fn answer(&self, status: u16, body: &Value) {
        *self.shared.said.lock().unwrap() = Some((status, body.to_string()));
    }

    /// What came so far.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.deliveries.lock().unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let said = shared.said.lock().unwrap().clone();
    let mut deliveries = shared.deliveries.lock().unwrap();
    let answers = &shared.answers;
    let answered = match &said {
        Some((status, _)) => *status,
        None => *answers
            .get(deliveries.len())
            .or(answers.last())
            .expect("there is always an answer"),
    };
    deliveries.push(Delivery {
        at: Timestamp::now(),
        method,
        path: uri.path().to_owned(),
        headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        answered,
    });
    let status = StatusCode::from_u16(answered).expect("a status");
    // What chats say when all is well, each in its own words.
    let words = if status.is_success() {
        r#"{"errcode":0,"errmsg":"ok","code":0,"msg":"success"}"#
    } else {
        "the gate is closed"
    };
    (status, said.map_or(words.to_owned(), |(_, body)| body))
}
