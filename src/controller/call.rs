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
use rustls::RootCertStore;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;

use super::cache::ServiceKey;
use super::error::words;
use super::tls::trusting;
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
pub struct Pace {
    /// After the first one.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
}

impl Pace {
    /// 1 s, doubling to 60 s.
    pub const USUAL: Self = Self {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
    };

    /// The pause after so many failed tries, at least one.
    pub fn pause(self, failed: u32) -> Duration {
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

    /// Ends all calls of all services and forgets them.
    pub fn end(&self) {
        self.lock().clear();
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
/// variables lead; nothing is followed, repeated, stored or unpacked. The certificate authorities are trusted that
/// SSL_CERT_FILE and SSL_CERT_DIR name, and where neither is set the system's, or without any those that are built in.
pub fn client() -> ClientBuilder {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    for error in found.errors {
        tracing::warn!(error = %words(&error), "certificate authorities of the system cannot be read");
    }
    roots.add_parsable_certificates(found.certs);
    // Who names authorities wants no others, also where the file is empty or gone.
    let named = ["SSL_CERT_FILE", "SSL_CERT_DIR"].map(std::env::var_os);
    if named.iter().all(Option::is_none) {
        roots = or_built_in(roots);
    }
    trusting(untrusting(), roots)
}

/// These authorities, or where there are none those of Mozilla's programme: an image with nothing but the operator in it
/// has no files of a system's.
fn or_built_in(mut roots: RootCertStore) -> RootCertStore {
    if roots.is_empty() {
        roots.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    roots
}

/// The same, before it is said who is trusted.
pub(super) fn untrusting() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("microservice-operator/", env!("CARGO_PKG_VERSION")))
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .referer(false)
        .pool_max_idle_per_host(0)
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
            headers: with_json(headers(&webhook.headers)?),
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

/// That the body is JSON, unless the user says otherwise.
fn with_json(mut headers: HeaderMap) -> HeaderMap {
    headers
        .entry(header::CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    headers
}

/// The user's headers. A value is never quoted: it may be a secret.
pub(super) fn headers(said: &BTreeMap<String, String>) -> Result<HeaderMap, String> {
    let mut all = HeaderMap::new();
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::time::Instant;

    use super::*;
    use crate::api::Webhook;
    use crate::rollout::CallSubject;

    /// Pauses that a test does not feel.
    const QUICK: Pace = Pace {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(1),
    };

    /// More than anything here takes.
    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn authorities_are_built_in_for_a_system_without_any() {
        let built_in = or_built_in(RootCertStore::empty());
        assert!(built_in.len() > 50, "{}", built_in.len());
        let mut own = RootCertStore::empty();
        own.add(webpki_root_certs::TLS_SERVER_ROOT_CERTS[0].clone())
            .unwrap();
        assert_eq!(
            or_built_in(own).len(),
            1,
            "who has authorities is given no others"
        );
    }

    fn service() -> ServiceKey {
        ServiceKey {
            namespace: "shop".into(),
            name: "orders".into(),
        }
    }

    fn call(url: &str, webhook: Value) -> Call {
        let mut fields = json!({"url": url});
        fields
            .as_object_mut()
            .unwrap()
            .extend(webhook.as_object().unwrap().clone());
        let webhook: Webhook = serde_json::from_value(fields).unwrap();
        let subject = CallSubject {
            service: "orders",
            namespace: "shop",
            revision: "orders-b",
            stable: "orders-a",
            trial: 1,
            step: 2,
            step_digest: "k2",
            hook: "smoke",
        };
        Call::new(webhook, &subject)
    }

    /// Somebody who is called: answers each connection with the next of `answers`, byte by byte as they are, and
    /// collects what it was sent. An empty answer: it says nothing and keeps the connection.
    struct Called {
        url: String,
        requests: mpsc::UnboundedReceiver<String>,
    }

    impl Called {
        async fn answers(answers: Vec<Vec<u8>>) -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/hook?token=secret", listener.local_addr().unwrap());
            let (requests, received) = mpsc::unbounded_channel();
            tokio::spawn(async move {
                let mut silent = Vec::new();
                for answer in answers {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    requests.send(request(&mut stream).await).unwrap();
                    if answer.is_empty() {
                        silent.push(stream);
                    } else {
                        // Who has read enough hangs up.
                        let _ = stream.write_all(&answer).await;
                    }
                }
                // Nobody else is accepted, and who waits goes on waiting.
                std::future::pending::<()>().await;
            });
            Self {
                url,
                requests: received,
            }
        }

        async fn request(&mut self) -> String {
            self.requests.recv().await.unwrap()
        }
    }

    async fn request(stream: &mut TcpStream) -> String {
        let mut read = Vec::new();
        loop {
            let text = String::from_utf8_lossy(&read).to_string();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head.to_lowercase();
                let length = length.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                if body.len() >= length {
                    return text;
                }
            }
            assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{text}");
        }
    }

    fn answer(status: &str, body: &str) -> Vec<u8> {
        format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn calls() -> (Arc<Calls>, mpsc::UnboundedReceiver<ServiceKey>) {
        let (triggers, triggered) = mpsc::unbounded_channel();
        // Proxies of the machine that tests run on have no part in them.
        (
            Arc::new(Calls::with(client().no_proxy().build(), triggers, QUICK)),
            triggered,
        )
    }

    /// How a call ends.
    async fn outcome(call: &Call) -> CallOutcome {
        let (calls, mut triggered) = calls();
        calls.begin(&service(), "u", call);
        assert_eq!(calls.of(&service(), "u")[&call.key], CallOutcome::Running);
        let trigger = tokio::time::timeout(PATIENCE, triggered.recv()).await;
        assert_eq!(trigger.unwrap().unwrap(), service());
        calls.of(&service(), "u")[&call.key].clone()
    }

    async fn failure(call: &Call) -> String {
        match outcome(call).await {
            CallOutcome::Failed(words) => words,
            other @ (CallOutcome::Running | CallOutcome::Succeeded) => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn an_answer_of_2xx_is_success_and_the_body_says_what_it_is_about() {
        let mut called = Called::answers(vec![answer("204 No Content", "")]).await;
        let call = call(
            &called.url,
            json!({"headers": {"Authorization": "Bearer x", "x-a": "b"}}),
        );
        assert_eq!(call.key, "orders-b/1/2/k2/smoke");
        assert_eq!(outcome(&call).await, CallOutcome::Succeeded);
        let request = called.request().await;
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /hook?token=secret HTTP/1.1\r\n"), "{head}");
        for line in [
            "content-type: application/json",
            "authorization: Bearer x",
            "x-a: b",
        ] {
            assert!(head.lines().any(|other| other == line), "{line}: {head}");
        }
        for name in ["cookie", "accept-encoding", "referer"] {
            assert!(!head.to_lowercase().contains(name), "{name}: {head}");
        }
        let body: Value = serde_json::from_str(body).unwrap();
        assert_eq!(
            body,
            json!({"service": "orders", "namespace": "shop", "revision": "orders-b", "stable": "orders-a",
                "trial": 1, "step": 2, "stepDigest": "k2", "hook": "smoke"})
        );
    }

    #[tokio::test]
    async fn a_failure_is_tried_again_and_the_last_one_is_told() {
        let mut called = Called::answers(vec![answer("500 Oops", "no"), answer("200 OK", "yes")]).await;
        assert_eq!(
            outcome(&call(&called.url, json!({"retries": 1}))).await,
            CallOutcome::Succeeded
        );
        assert_eq!(
            called.request().await,
            called.request().await,
            "the same is sent again"
        );

        let called = Called::answers(vec![
            answer("503 Busy", "a"),
            answer("500 Oops", "no\n <b>data</b>\u{7}"),
        ])
        .await;
        let words = failure(&call(&called.url, json!({"retries": 1}))).await;
        let host = called.url.split('/').nth(2).unwrap();
        assert_eq!(
            words,
            format!(
                "2 tries failed, the last one: {host} answered 500 Internal Server Error: no <b>data</b>"
            )
        );

        let called = Called::answers(vec![answer("404 Not Found", "")]).await;
        let words = failure(&call(&called.url, json!({"retries": 0}))).await;
        assert!(words.ends_with(" answered 404 Not Found"), "{words}");
    }

    #[tokio::test]
    async fn who_gives_no_answer_is_not_waited_for_beyond_the_time() {
        let called = Called::answers(vec![Vec::new()]).await;
        let mut request = Request::of(&call(&called.url, json!({}))).unwrap();
        assert_eq!(request.limit, Duration::from_secs(10));
        request.limit = Duration::from_millis(50);
        let words = request
            .send(&client().no_proxy().build().unwrap())
            .await
            .unwrap_err();
        assert_eq!(words, format!("{} gave no answer within 0.05 s", request.host));
    }

    #[tokio::test]
    async fn an_answer_that_never_ends_is_read_to_its_first_words() {
        // Promised much, sent a part, never finished: neither its end nor the time-out is waited for.
        let mut head = b"HTTP/1.1 500 Oops\r\ncontent-length: 100000000\r\n\r\n".to_vec();
        head.extend(vec![b'x'; 300_000]);
        let called = Called::answers(vec![head]).await;
        let words = failure(&call(&called.url, json!({"retries": 0}))).await;
        assert!(words.len() <= 1024 && words.ends_with("xxxx"), "{words}");
        // One that breaks off is told as far as it came.
        let called = Called::answers(vec![
            b"HTTP/1.1 500 Oops\r\ncontent-length: 9\r\n\r\nabc".to_vec(),
        ])
        .await;
        let words = failure(&call(&called.url, json!({"retries": 0}))).await;
        assert!(words.ends_with("Internal Server Error: abc"), "{words}");
    }

    #[tokio::test]
    async fn redirects_are_not_followed() {
        let redirect = b"HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\ncontent-length: 0\r\n\r\n".to_vec();
        let mut called = Called::answers(vec![redirect, answer("200 OK", "")]).await;
        let words = failure(&call(&called.url, json!({"retries": 0}))).await;
        assert!(
            words.ends_with(" answered 302 Found, and redirects are not followed"),
            "{words}"
        );
        called.request().await;
        assert!(called.requests.try_recv().is_err());
    }

    #[tokio::test]
    async fn who_is_not_there_is_said_without_the_secrets_of_the_address() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let words = failure(&call(
            &format!("http://me:pass@{address}/secret?token=t"),
            json!({"retries": 0}),
        ))
        .await;
        assert!(
            words.starts_with(&format!("{address} could not be called: ")),
            "{words}"
        );
        assert!(words.contains("refused"), "{words}");
        for secret in ["secret", "token", "pass"] {
            assert!(!words.contains(secret), "{words}");
        }
    }

    #[tokio::test]
    async fn who_speaks_no_tls_is_not_trusted_with_anything() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = [0; 1];
            stream.read_exact(&mut hello).await.unwrap();
            assert_eq!(hello[0], 22, "a handshake");
            stream.write_all(&answer("200 OK", "")).await.unwrap();
        });
        let words = failure(&call(&format!("https://{address}/"), json!({"retries": 0}))).await;
        assert!(
            words.starts_with(&format!("{address} could not be called: ")),
            "{words}"
        );
    }

    #[tokio::test]
    async fn what_cannot_be_sent_fails_at_once_with_words() {
        for (url, webhook, expected) in [
            (
                "http://a/",
                json!({"headers": {"x\ny": "1"}}),
                "this is not the name of a header: x y",
            ),
            (
                "http://a/",
                json!({"headers": {"x-token": "s3cret\r\nx-b: c"}}),
                "the value of the header x-token has characters that no header may have",
            ),
            (
                "http://a/",
                json!({"headers": {"Content-Length": "0"}}),
                "the header content-length cannot be set: it says how the request is sent",
            ),
            (
                "http://a:port/",
                json!({}),
                "url is not valid: invalid port number",
            ),
            ("ftp://a/", json!({}), "url must begin with http:// or https://"),
        ] {
            assert_eq!(failure(&call(url, webhook)).await, expected);
        }
    }

    #[tokio::test]
    async fn a_key_that_was_begun_is_not_begun_again_and_is_its_microservices_own() {
        let mut called = Called::answers(vec![answer("200 OK", ""), answer("200 OK", "")]).await;
        let (calls, mut triggered) = calls();
        let call = call(&called.url, json!({}));
        calls.begin(&service(), "u", &call);
        calls.begin(&service(), "u", &call);
        triggered.recv().await.unwrap();
        calls.begin(&service(), "u", &call);
        assert_eq!(calls.of(&service(), "u")[&call.key], CallOutcome::Succeeded);
        called.request().await;
        assert!(called.requests.try_recv().is_err(), "it was made twice");
        // A Microservice that was made anew under the name knows nothing of it.
        assert!(calls.of(&service(), "v").is_empty());
        calls.begin(&service(), "v", &call);
        called.request().await;
        assert!(calls.of(&service(), "u").is_empty());
    }

    #[tokio::test]
    async fn a_call_that_nobody_wants_any_more_is_hung_up_and_forgotten() {
        for forget in [
            (|calls, call| Calls::forget(calls, &service(), &call.key)) as fn(&Calls, &Call),
            |calls, _| calls.forget_all(&service()),
        ] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let (calls, mut triggered) = calls();
            let call = call(&format!("http://{}", listener.local_addr().unwrap()), json!({}));
            calls.begin(&service(), "u", &call);
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await;
            forget(&calls, &call);
            assert!(calls.of(&service(), "u").is_empty() && calls.lock().is_empty());
            let mut rest = Vec::new();
            let hung_up = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
            assert!(hung_up.is_ok(), "the connection stays");
            assert!(triggered.try_recv().is_err());
        }
    }

    #[tokio::test]
    async fn only_so_many_requests_are_in_flight() {
        let mut called = Called::answers(vec![Vec::new(); IN_FLIGHT]).await;
        let (calls, _triggered) = calls();
        for number in 0..IN_FLIGHT + 5 {
            let mut call = call(&called.url, json!({}));
            call.key = number.to_string();
            calls.begin(&service(), "u", &call);
        }
        for _ in 0..IN_FLIGHT {
            called.request().await;
        }
        assert_eq!(calls.in_flight.available_permits(), 0);
        assert_eq!(calls.of(&service(), "u").len(), IN_FLIGHT + 5);
        calls.forget_all(&service());
        while calls.in_flight.available_permits() < IN_FLIGHT {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_pause_doubles_from_a_second_to_a_minute() {
        let began = Instant::now();
        let seconds = RefCell::new(Vec::new());
        let result = persist(Pace::USUAL, 8, || {
            seconds.borrow_mut().push(began.elapsed().as_secs());
            async { Err("no".to_owned()) }
        })
        .await;
        assert_eq!(*seconds.borrow(), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
        assert_eq!(result.unwrap_err(), "9 tries failed, the last one: no");
    }

    #[tokio::test(start_paused = true)]
    async fn no_try_follows_a_success() {
        let tries = RefCell::new(0);
        let result = persist(Pace::USUAL, 3, || {
            *tries.borrow_mut() += 1;
            let failed = *tries.borrow() < 3;
            async move { if failed { Err("no".to_owned()) } else { Ok(()) } }
        })
        .await;
        assert_eq!((result, *tries.borrow()), (Ok(()), 3));
    }
}
