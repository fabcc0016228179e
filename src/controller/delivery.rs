//! Tells people beyond the cluster. Each delivery runs beside everything else; a look begins it and reads how it stands,
//! and is triggered when it ends.
//!
//! Secrets are read when something is sent, by a get of the one that the spec names, and forgotten with the request. What
//! is told about a delivery that failed names the host, a status and a code, nothing else of address or answer.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client as KubeClient};
use reqwest::{Client, Response, Url};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::cache::ServiceKey;
use super::call::{Pace, client};
use super::entry::now;
use super::error::words;
use super::request::bounded;
use crate::api::NotificationStatus;
use crate::health::message;
use crate::notify::{Answer, Channel, Credentials, Repetition, Request, answer, request};
use crate::rollout::{Delivery, DeliveryOutcome, delivery_key};
use crate::telemetry::{Metrics, NotificationResult};

/// Requests in flight, over all services.
const IN_FLIGHT: usize = 16;
/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);
/// How long its connection may take: what fails before there is one was not sent.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a notice is tried to be told after what it tells. It is tried once in any case.
const PATIENCE: SignedDuration = SignedDuration::from_mins(10);
/// How much of an answer is read, in bytes.
const ANSWER_BYTES: usize = 4096;

/// Who reads Secrets.
pub trait ReadSecret: fmt::Debug + Send + Sync {
    /// The Secret of that name; none where there is none. The error is one line.
    fn read<'a>(&'a self, namespace: &'a str, name: &'a str)
    -> BoxFuture<'a, Result<Option<Secret>, String>>;
}

/// Reads Secrets from the API server.
pub struct SecretsOfCluster {
    client: KubeClient,
}

impl SecretsOfCluster {
    /// By this client.
    pub fn new(client: KubeClient) -> Self {
        Self { client }
    }
}

impl fmt::Debug for SecretsOfCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretsOfCluster")
    }
}

impl ReadSecret for SecretsOfCluster {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Secret>, String>> {
        async move {
            let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
            bounded(api.get_opt(name)).await.map_err(|error| words(&error))
        }
        .boxed()
    }
}

/// The deliveries of all services.
#[derive(Debug)]
pub struct Deliveries {
    http: Result<Client, String>,
    secrets: Arc<dyn ReadSecret>,
    metrics: Arc<Metrics>,
    triggers: mpsc::UnboundedSender<ServiceKey>,
    in_flight: Semaphore,
    pace: Pace,
    limit: Duration,
    begun: AtomicU64,
    known: Mutex<HashMap<ServiceKey, OfService>>,
}

/// The deliveries of one service.
#[derive(Debug, Default)]
struct OfService {
    /// The uid of the Microservice: a later one of the same name knows nothing of them.
    uid: String,
    deliveries: BTreeMap<String, Begun>,
}

/// A delivery that was begun. Dropping it ends it.
#[derive(Debug)]
struct Begun {
    /// Tells it from an earlier one with the same key.
    number: u64,
    outcome: DeliveryOutcome,
    task: AbortHandle,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Deliveries {
    /// None yet. `triggers` is told which service a delivery that ends belongs to.
    pub fn new(
        secrets: Arc<dyn ReadSecret>,
        metrics: Arc<Metrics>,
        triggers: mpsc::UnboundedSender<ServiceKey>,
    ) -> Self {
        let http = client().connect_timeout(CONNECT).build();
        Self {
            http: http.map_err(|error| words(&error)),
            secrets,
            metrics,
            triggers,
            in_flight: Semaphore::new(IN_FLIGHT),
            pace: Pace::USUAL,
            limit: LIMIT,
            begun: AtomicU64::new(0),
            known: Mutex::default(),
        }
    }

    /// How the deliveries stand that were begun for the Microservice with this uid, by key. Those that its status speaks
    /// of no more are forgotten.
    pub fn of(
        &self,
        service: &ServiceKey,
        uid: &str,
        waiting: &[NotificationStatus],
    ) -> BTreeMap<String, DeliveryOutcome> {
        let mut known = self.lock();
        let Some(of) = known.get_mut(service) else {
            return BTreeMap::new();
        };
        let keys: Vec<String> = waiting
            .iter()
            .flat_map(|entry| {
                let names = entry.pending.iter().chain(&entry.sending);
                names.map(|name| delivery_key(&entry.id, name))
            })
            .collect();
        of.deliveries.retain(|key, _| of.uid == uid && keys.contains(key));
        if of.deliveries.is_empty() {
            known.remove(service);
            return BTreeMap::new();
        }
        let outcomes = of.deliveries.iter();
        outcomes
            .map(|(key, begun)| (key.clone(), begun.outcome.clone()))
            .collect()
    }

    /// Begins a delivery, unless one with this key was begun already.
    pub fn begin(self: &Arc<Self>, service: &ServiceKey, uid: &str, delivery: &Delivery) {
        let mut known = self.lock();
        let of = known.entry(service.clone()).or_default();
        if of.uid != uid {
            *of = OfService {
                uid: uid.to_owned(),
                ..OfService::default()
            };
        }
        if of.deliveries.contains_key(&delivery.key) {
            return;
        }
        let number = self.begun.fetch_add(1, Ordering::Relaxed);
        // It cannot end before it is known: it takes the same lock to say so.
        let task = tokio::spawn(Arc::clone(self).run(service.clone(), delivery.clone(), number));
        let begun = Begun {
            number,
            outcome: DeliveryOutcome::Running,
            task: task.abort_handle(),
        };
        of.deliveries.insert(delivery.key.clone(), begun);
    }

    /// Ends all deliveries of a service and forgets them.
    pub fn forget_all(&self, service: &ServiceKey) {
        self.lock().remove(service);
    }

    /// Ends all deliveries of all services and forgets them.
    pub fn end(&self) {
        self.lock().clear();
    }

    async fn run(self: Arc<Self>, service: ServiceKey, delivery: Delivery, number: u64) {
        let made = AssertUnwindSafe(self.deliver(&service, &delivery))
            .catch_unwind()
            .await;
        let (outcome, result) = match made {
            Ok(Ok(())) => {
                tracing::info!(%service, notification = %delivery.key, "somebody was told");
                (DeliveryOutcome::Delivered, NotificationResult::Delivered)
            }
            Ok(Err(message)) => {
                tracing::warn!(%service, notification = %delivery.key, %message, "somebody could not be told");
                (DeliveryOutcome::Failed(message), NotificationResult::Failed)
            }
            Err(_) => {
                tracing::error!(%service, notification = %delivery.key, "a notification panicked, which is a bug");
                let message = "the operator could not send it, which is a bug of it".to_owned();
                (DeliveryOutcome::Failed(message), NotificationResult::Failed)
            }
        };
        if let Some(channel) = Channel::of(&delivery.notification) {
            self.metrics.notified(channel.kind(), result);
        }
        let mut known = self.lock();
        let begun = known
            .get_mut(&service)
            .and_then(|of| of.deliveries.get_mut(&delivery.key))
            .filter(|begun| begun.number == number);
        if let Some(begun) = begun {
            begun.outcome = outcome;
            // The receiver is gone with the process only.
            let _ = self.triggers.send(service);
        }
    }

    /// Tries until it arrives or there is no sense in another try.
    async fn deliver(&self, service: &ServiceKey, delivery: &Delivery) -> Result<(), String> {
        let http = self
            .http
            .as_ref()
            .map_err(|error| message("the operator cannot send anything", error))?;
        let channel = Channel::of(&delivery.notification);
        let channel = channel.ok_or_else(|| "it names no receiver".to_owned())?;
        let left = delivery.notice.at.duration_since(now()) + PATIENCE;
        let patience = Duration::try_from(left).unwrap_or(Duration::ZERO);
        persist(self.pace, patience, || async {
            // Between its tries a delivery keeps no other one waiting. The semaphore is never closed.
            let _permit = self.in_flight.acquire().await;
            let attempt = self.attempt(http, service, channel, delivery).await;
            if let Attempt::Later { words, .. } | Attempt::Unclear { words, .. } = &attempt {
                tracing::info!(%service, notification = %delivery.key, message = %words, "somebody was not told by this try");
            }
            match (attempt, channel.kind().repetition()) {
                (Attempt::Unclear { words, after: _ }, Repetition::Seen) => {
                    Attempt::Refused(format!("{words}; it may have arrived, so it is not sent again"))
                }
                (Attempt::Unclear { words, after }, Repetition::Recognised | Repetition::Nothing) => {
                    Attempt::Later { words, after }
                }
                (other, _) => other,
            }
        })
        .await
    }

    /// Tries once.
    async fn attempt(
        &self,
        http: &Client,
        service: &ServiceKey,
        channel: Channel<'_>,
        delivery: &Delivery,
    ) -> Attempt {
        let credentials = match self.credentials(service, channel).await {
            Ok(credentials) => credentials,
            // Who mends the Secret in time is heard.
            Err(words) => return Attempt::Later { words, after: None },
        };
        let template = delivery.notification.template.as_deref();
        let made = request(channel, &delivery.notice, template, &credentials, now());
        let made = made.map_err(|error| error.to_string());
        let prepared = made.and_then(|request| Prepared::of(&request));
        match prepared {
            Ok(prepared) => prepared.send(http, channel, self.limit).await,
            Err(words) => Attempt::Refused(words),
        }
    }

    /// What the channel needs from Secrets, each read once.
    async fn credentials(&self, service: &ServiceKey, channel: Channel<'_>) -> Result<Credentials, String> {
        let mut credentials = Credentials::default();
        let mut read: BTreeMap<&str, Secret> = BTreeMap::new();
        for (credential, key) in channel.keys() {
            if !read.contains_key(key.name.as_str()) {
                let found = self.secrets.read(&service.namespace, &key.name).await;
                let found =
                    found.map_err(|error| message(&format!("Secret {} cannot be read", key.name), &error))?;
                let found = found.ok_or_else(|| format!("there is no Secret {}", key.name))?;
                read.insert(&key.name, found);
            }
            let data = read
                .get(key.name.as_str())
                .and_then(|secret| secret.data.as_ref());
            let value = data.and_then(|data| data.get(&key.key));
            let value = value.ok_or_else(|| format!("Secret {} has no key {}", key.name, key.key))?;
            let value = std::str::from_utf8(&value.0);
            let value = value.map_err(|_| format!("key {} of Secret {} is no text", key.key, key.name))?;
            credentials.put(credential, value);
        }
        Ok(credentials)
    }

    // A panic while the lock is held leaves whole entries: every change is one insert or remove.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceKey, OfService>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a try ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Attempt {
    /// It arrived.
    Delivered,
    /// It did not arrive, and may later.
    Later { words: String, after: Option<Duration> },
    /// It did not arrive, and will not.
    Refused(String),
    /// Whether it arrived is not known.
    Unclear { words: String, after: Option<Duration> },
}

/// Tries until it arrives, is refused, or the next try would come too late.
async fn persist<F>(pace: Pace, patience: Duration, attempt: impl Fn() -> F) -> Result<(), String>
where
    F: Future<Output = Attempt>,
{
    let began = Instant::now();
    let mut failed = 0;
    loop {
        let (words, after) = match attempt().await {
            Attempt::Delivered => return Ok(()),
            Attempt::Refused(words) => return Err(words),
            Attempt::Later { words, after } | Attempt::Unclear { words, after } => (words, after),
        };
        failed += 1;
        let pause = pace.pause(failed).max(after.unwrap_or(Duration::ZERO));
        if began.elapsed().saturating_add(pause) > patience {
            return Err(match failed {
                1 => words,
                more => message(&format!("{more} tries failed, the last one"), &words),
            });
        }
        tokio::time::sleep(pause).await;
    }
}

/// What is sent, checked.
struct Prepared {
    url: Url,
    /// Who is called, for messages. The rest of an address is often a secret.
    host: String,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Prepared {
    /// What a request comes to, or why there can be none.
    fn of(request: &Request) -> Result<Self, String> {
        // The parser's words do not quote the address.
        let url = Url::parse(&request.url)
            .map_err(|error| message("the address is not valid", &error.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("the address must begin with http:// or https://".to_owned());
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err("the address names no host".to_owned()),
        };
        let mut headers = HeaderMap::new();
        for (name, value) in &request.headers {
            let name = HeaderName::from_static(name);
            let mut value = HeaderValue::from_str(value)
                .map_err(|_| format!("what is sent as {name} has characters that no header may have"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(Self {
            url,
            host,
            headers,
            body: request.body.clone(),
        })
    }

    /// Sends it once.
    async fn send(self, http: &Client, channel: Channel<'_>, limit: Duration) -> Attempt {
        let host = self.host;
        let request = http
            .post(self.url)
            .headers(self.headers)
            .body(self.body)
            .timeout(limit);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                let error = words(&error.without_url());
                return Attempt::Later {
                    words: message(&format!("{host} could not be called"), &error),
                    after: None,
                };
            }
            Err(error) if error.is_timeout() => {
                return Attempt::Unclear {
                    words: format!("{host} gave no answer within {} s", limit.as_secs_f32()),
                    after: None,
                };
            }
            Err(error) => {
                return Attempt::Unclear {
                    words: message(&format!("{host} gave no answer"), &words(&error.without_url())),
                    after: None,
                };
            }
        };
        let after = retry_after(response.headers(), now());
        let status = response.status().as_u16();
        let body = beginning(response).await;
        let told = |words: String| format!("{host}: {words}");
        match answer(channel.kind(), status, &body) {
            Answer::Accepted => Attempt::Delivered,
            Answer::Later(words) => Attempt::Later {
                words: told(words),
                after,
            },
            Answer::Refused(words) => Attempt::Refused(told(words)),
            Answer::Unclear(words) => Attempt::Unclear {
                words: told(words),
                after,
            },
        }
    }
}

/// What an answer says about when to come again: seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let said = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = said.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = DateTimeParser::new().parse_timestamp(said).ok()?;
    Duration::try_from(at.duration_since(now)).ok()
}

/// The first [`ANSWER_BYTES`] of an answer, as far as they come in time.
async fn beginning(mut response: Response) -> Vec<u8> {
    let mut read = Vec::new();
    while read.len() < ANSWER_BYTES {
        match response.chunk().await {
            Ok(Some(more)) => read.extend_from_slice(&more[..more.len().min(ANSWER_BYTES - read.len())]),
            Ok(None) | Err(_) => break,
        }
    }
    read
}

#[cfg(test)]
#[path = "delivery_tests.rs"]
mod tests;
