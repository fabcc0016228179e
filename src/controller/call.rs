//! Calls over HTTP that a rollout waits for. They run beside everything else; a look begins them and reads how they
//! stand, and is triggered when one ends.
//!
//! What is known of them lives in this process only. A call is therefore made at least once: an operator that is
//! restarted between the call and the write of the decision that follows from it calls again. Which of them happened is
//! told by the body, which names trial, step and hook.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, ClientBuilder, Response, Url, redirect, retry};
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::cache::ServiceKey;
use super::error::words;
use crate::health::message;
use crate::rollout::{Call, CallOutcome};

/// Requests in flight, over all services.
const IN_FLIGHT: usize = 16;

/// How much of an answer is read, in bytes: it only explains a failure, and may come from anybody.
const ANSWER_BYTES: usize = 1024;

/// Headers that say how a request is sent, which is not the user's to say.
const OURS: [HeaderName; 7] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The pauses between the tries of a call.
#[derive(Clone, Copy, Debug)]
struct Pace {
    first: Duration,
    longest: Duration,
}

impl Pace {
    /// 1 s, doubling to 60 s.
    const USUAL: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
    };

    /// The pause after so many failed tries, at least one.
    fn pause(self, failed: u32) -> Duration {
        let factor = 1_u32 << failed.saturating_sub(1).min(16);
        self.first.saturating_mul(factor).min(self.longest)
    }
}

/// The calls of all services.
#[derive(Debug)]
pub struct Calls {
    http: Result<Client, String>,
    triggers: mpsc::UnboundedSender<ServiceKey>,
    in_flight: Semaphore,
    pace: Pace,
    begun: AtomicU64,
    known: Mutex<HashMap<ServiceKey, ServiceCalls>>,
}

/// The calls of one service.
#[derive(Debug, Default)]
struct ServiceCalls {
    /// The uid of the Microservice: a later one of the same name knows nothing of them.
    uid: String,
    calls: BTreeMap<String, Begun>,
}

/// A call that was begun. Dropping it ends it.
#[derive(Debug)]
struct Begun {
    /// Tells it from an earlier one with the same key.
    number: u64,
    outcome: CallOutcome,
    task: AbortHandle,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Calls {
    /// No calls yet. `triggers` is told which service a call that ends belongs to.
    pub fn new(triggers: mpsc::UnboundedSender<ServiceKey>) -> Self {
        Self::with(client().build(), triggers, Pace::USUAL)
    }

    fn with(
        http: Result<Client, reqwest::Error>,
        triggers: mpsc::UnboundedSender<ServiceKey>,
        pace: Pace,
    ) -> Self {
        Self {
            http: http.map_err(|error| words(&error)),
            triggers,
            in_flight: Semaphore::new(IN_FLIGHT),
            pace,
            begun: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// How the calls stand that were begun for the Microservice with this uid, by key.
    pub fn of(&self, service: &ServiceKey, uid: &str) -> BTreeMap<String, CallOutcome> {
        let known = self.lock();
        let calls = known.get(service).filter(|of| of.uid == uid);
        calls
            .into_iter()
            .flat_map(|of| &of.calls)
            .map(|(key, begun)| (key.clone(), begun.outcome.clone()))
            .collect()
    }

    /// Begins a call, unless one with this key was begun already.
    pub fn begin(self: &Arc<Self>, service: &ServiceKey, uid: &str, call: &Call) {
        let mut known = self.lock();
        let of = known.entry(service.clone()).or_default();
        if of.uid != uid {
            *of = ServiceCalls {
                uid: uid.to_owned(),
                ..ServiceCalls::default()
            };
        }
        if of.calls.contains_key(&call.key) {
            return;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        // It cannot end before it is known: it takes the same lock to say so.
        let task = tokio::spawn(Arc::clone(self).run(service.clone(), call.clone(), number));
        let begun = Begun {
            number,
            outcome: CallOutcome::Running,
            task: task.abort_handle(),
        };
        of.calls.insert(call.key.clone(), begun);
    }

    /// Ends a call and forgets it.
    pub fn forget(&self, service: &ServiceKey, key: &str) {
        let mut known = self.lock();
        if let Some(of) = known.get_mut(service) {
            of.calls.remove(key);
            if of.calls.is_empty() {
                known.remove(service);
            }
        }
    }

    /// Ends all calls of a service and forgets them.
    pub fn forget_all(&self, service: &ServiceKey) {
        self.lock().remove(service);
    }

    async fn run(self: Arc<Self>, service: ServiceKey, call: Call, number: u64) {
        let made = AssertUnwindSafe(self.make(&call)).catch_unwind().await;
        let outcome = match made {
            Ok(Ok(())) => {
                tracing::info!(%service, call = %call.key, "a webhook was answered with success");
                CallOutcome::Succeeded
            }
            Ok(Err(message)) => {
                tracing::warn!(%service, call = %call.key, %message, "a webhook failed");
                CallOutcome::Failed(message)
            }
            Err(_) => {
                tracing::error!(%service, call = %call.key, "a webhook panicked, which is a bug");
                CallOutcome::Failed("the operator could not make the call, which is a bug of it".to_owned())
            }
        };
        let mut known = self.lock();
        let begun = known
            .get_mut(&service)
            .and_then(|of| of.calls.get_mut(&call.key))
            .filter(|begun| begun.number == number);
        if let Some(begun) = begun {
            begun.outcome = outcome;
            // The receiver is gone with the process only.
            let _ = self.triggers.send(service);
        }
    }

    /// Tries until it succeeds or no try is left.
    async fn make(&self, call: &Call) -> Result<(), String> {
        let http = self
            .http
            .as_ref()
            .map_err(|error| message("the operator cannot make calls", error))?;
        let request = Request::of(call)?;
        persist(self.pace, call.webhook.retries(), || async {
            // Between its tries a call keeps no other one waiting. The semaphore is never closed.
            let _permit = self.in_flight.acquire().await;
            request.send(http).await
        })
        .await
    }

    // A panic while the lock is held leaves whole entries: every change is one insert or remove.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceKey, ServiceCalls>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tries once, and `retries` times again while it fails. Answers how the last try failed, and how many there were.
async fn persist<F>(pace: Pace, retries: u32, attempt: impl Fn() -> F) -> Result<(), String>
where
    F: Future<Output = Result<(), String>>,
{
    let mut failed = 0;
    loop {
        match attempt().await {
            Ok(()) => return Ok(()),
            Err(words) if failed >= retries => {
                return Err(match failed {
                    0 => words,
                    more => message(&format!("{} tries failed, the last one", more + 1), &words),
                });
            }
            Err(_) => failed += 1,
        }
        tokio::time::sleep(pace.pause(failed)).await;
    }
}

/// How requests are made: over HTTP/1.1, each over a connection of its own, to wherever the environment's proxy
/// variables lead; nothing is followed, repeated, stored or unpacked. The system's certificate authorities are trusted
/// (SSL_CERT_FILE and SSL_CERT_DIR name others); where there are none, https fails and says so.
fn client() -> ClientBuilder {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(error = %words(&error), "certificate authorities of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = Client::builder()
        .user_agent(concat!("microservice-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .pool_max_idle_per_host(0);
    match ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(tls) => {
            let tls = tls.with_root_certificates(roots).with_no_client_auth();
            builder.tls_backend_preconfigured(tls)
        }
        // Not with the ring provider, which has ciphers for all versions.
        Err(error) => {
            tracing::error!(%error, "TLS cannot be set up");
            builder
        }
    }
}

/// What is sent, checked.
#[derive(Debug)]
struct Request {
    url: Url,
    /// Who is called, for messages. The rest of an address is often a secret.
    host: String,
    headers: HeaderMap,
    body: Vec<u8>,
    limit: Duration,
}

impl Request {
    /// The request of a call, or why there can be none.
    fn of(call: &Call) -> Result<Self, String> {
        let webhook = &call.webhook;
        // The parser's words do not quote the address.
        let url =
            Url::parse(&webhook.url).map_err(|error| message("url is not valid", &error.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("url must begin with http:// or https://".to_owned());
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err("url names no host".to_owned()),
        };
        Ok(Self {
            url,
            host,
            headers: headers(&webhook.headers)?,
            body: call.body.to_string().into_bytes(),
            limit: Duration::from_secs(u64::from(webhook.timeout_seconds())),
        })
    }

    /// Sends it once.
    async fn send(&self, http: &Client) -> Result<(), String> {
        let request = http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .body(self.body.clone())
            .timeout(self.limit);
        let response = request.send().await.map_err(|error| self.no_answer(error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let note = if status.is_redirection() {
            ", and redirects are not followed"
        } else {
            ""
        };
        let said = beginning(response).await;
        Err(message(&format!("{} answered {status}{note}", self.host), &said))
    }

    fn no_answer(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            return format!(
                "{} gave no answer within {} s",
                self.host,
                self.limit.as_secs_f32()
            );
        }
        message(
            &format!("{} could not be called", self.host),
            &words(&error.without_url()),
        )
    }
}

/// The user's headers and ours. A value is never quoted: it may be a secret.
fn headers(said: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
    all.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in said {
        let valid = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| message("this is not the name of a header", name))?;
        if OURS.contains(&valid) {
            return Err(format!(
                "the header {valid} cannot be set: it says how the request is sent"
            ));
        }
        let value = HeaderValue::from_str(value)
            .map_err(|_| format!("the value of the header {valid} has characters that no header may have"))?;
        all.insert(valid, value);
    }
    Ok(all)
}

/// The first [`ANSWER_BYTES`] of an answer, as far as they come in time.
async fn beginning(mut response: Response) -> String {
    let mut read = Vec::new();
    while read.len() < ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(more)) => read.extend_from_slice(&more[..more.len().min(ANSWER_BYTES - read.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    // What is no text, control characters among it, has no place in a status.
    let text: String = String::from_utf8_lossy(&read)
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text
}
