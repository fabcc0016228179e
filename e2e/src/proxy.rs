//! A proxy between one operator and the API server that counts requests and makes chosen ones fail.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use futures::{StreamExt, TryStreamExt};
use http::StatusCode;
use kube::Client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// It is answered with this status instead of being passed on.
    Status(u16),
    /// It is passed on after a while.
    Delay(Duration),
    /// It is never answered.
    Hang,
    /// The connection breaks instead of an answer, and it is not passed on.
    Drop,
    /// It is passed on and done, but the connection breaks instead of the answer.
    LoseAnswer,
}

/// A request as the proxy saw it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Its path and query.
    pub uri: String,
    /// What was done to it.
    pub fault: Option<Fault>,
}

impl Seen {
    /// Whether it is a watch.
    pub fn is_watch(&self) -> bool {
        self.uri.contains("watch=true") || self.uri.contains("watch=1")
    }

    /// Whether it changes anything.
    pub fn writes(&self) -> bool {
        self.method != "GET"
    }
}

type Chosen = Box<dyn Fn(&Seen) -> bool + Send + Sync>;

struct Rule {
    chosen: Chosen,
    fault: Fault,
    left: usize,
}

struct Shared {
    client: Client,
    rules: Mutex<Vec<Rule>>,
    seen: Mutex<Vec<Seen>>,
    cut: watch::Sender<u64>,
}

/// A running proxy. Ends with the value.
pub struct Proxy {
    shared: Arc<Shared>,
    address: SocketAddr,
    task: AbortHandle,
    kubeconfig: PathBuf,
}

impl Proxy {
    /// Starts one that passes everything on. Its kubeconfig is written to `directory`.
    pub async fn start(client: Client, directory: &Path) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a port is free");
        let address = listener.local_addr().expect("it is bound");
        let (cut, _) = watch::channel(0);
        let shared = Arc::new(Shared {
            client,
            rules: Mutex::default(),
            seen: Mutex::default(),
            cut,
        });
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        let kubeconfig = directory.join(format!("proxy-{}.kubeconfig", address.port()));
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "proxy",
            "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "proxy", "user": {}}],
            "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        });
        std::fs::write(&kubeconfig, text.to_string()).expect("the kubeconfig can be written");
        Self {
            shared,
            address,
            task: task.abort_handle(),
            kubeconfig,
        }
    }

    /// The kubeconfig that leads through it.
    pub fn kubeconfig(&self) -> PathBuf {
        self.kubeconfig.clone()
    }

    /// Does something to the next `times` requests that are `chosen`.
    pub fn fail(&self, fault: Fault, times: usize, chosen: impl Fn(&Seen) -> bool + Send + Sync + 'static) {
        self.shared.rules.lock().unwrap().push(Rule {
            chosen: Box::new(chosen),
            fault,
            left: times,
        });
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// Breaks all answers that are under way: the watches.
    pub fn cut_watches(&self) {
        self.shared.cut.send_modify(|count| *count += 1);
    }

    /// Everything that was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests something was done to.
    pub fn hurt(&self) -> usize {
        self.seen().iter().filter(|seen| seen.fault.is_some()).count()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    /// The fault for a request, which is noted.
    fn judge(&self, mut seen: Seen) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        let rule = rules
            .iter_mut()
            .find(|rule| rule.left > 0 && (rule.chosen)(&seen));
        if let Some(rule) = rule {
            rule.left -= 1;
            seen.fault = Some(rule.fault);
        }
        let fault = seen.fault;
        self.seen.lock().unwrap().push(seen);
        fault
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let seen = Seen {
        method: request.method().to_string(),
        uri: request.uri().to_string(),
        fault: None,
    };
    match shared.judge(seen) {
        Some(Fault::Status(code)) => refusal(code),
        Some(Fault::Hang) => futures::future::pending().await,
        Some(Fault::Drop) => broken(),
        Some(Fault::LoseAnswer) => {
            if let Ok(answer) = send(&shared, request).await {
                // It is done when the answer's body has come to its end.
                let _ = answer.into_body().collect_bytes().await;
            }
            broken()
        }
        Some(Fault::Delay(pause)) => {
            tokio::time::sleep(pause).await;
            forward(&shared, request).await
        }
        None => forward(&shared, request).await,
    }
}

async fn send(shared: &Shared, request: Request) -> Result<http::Response<kube::client::Body>, String> {
    let (head, body) = request.into_parts();
    let bytes = axum::body::to_bytes(body, 8 << 20)
        .await
        .map_err(|error| error.to_string())?;
    let request = http::Request::from_parts(head, kube::client::Body::from(bytes.to_vec()));
    shared
        .client
        .send(request)
        .await
        .map_err(|error| error.to_string())
}

async fn forward(shared: &Shared, request: Request) -> Response {
    match send(shared, request).await {
        Ok(answer) => {
            let mut cut = shared.cut.subscribe();
            answer.map(|body| {
                let stream = http_body_util::BodyExt::into_data_stream(body).map_err(std::io::Error::other);
                let until = Box::pin(async move {
                    let _ = cut.changed().await;
                });
                Body::from_stream(stream.take_until(until))
            })
        }
        Err(error) => {
            let mut answer = Response::new(Body::from(error));
            *answer.status_mut() = StatusCode::BAD_GATEWAY;
            answer
        }
    }
}

fn refusal(code: u16) -> Response {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        504 => "Timeout",
        _ => "InternalError",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("injected {code}"), "reason": reason, "code": code,
    });
    let mut answer = Response::new(Body::from(status.to_string()));
    *answer.status_mut() = StatusCode::from_u16(code).expect("a status code");
    answer
        .headers_mut()
        .insert("content-type", http::HeaderValue::from_static("application/json"));
    answer
}

/// An answer that ends before it has begun: the connection is closed on it.
fn broken() -> Response {
    let mut answer = Response::new(Body::from_stream(futures::stream::once(async {
        Err::<String, _>(std::io::Error::other("dropped"))
    })));
    answer
        .headers_mut()
        .insert("content-length", http::HeaderValue::from_static("10"));
    answer
}
