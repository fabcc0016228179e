//! A bounded stream of requests, a tally of who answered and what failed, and whether a share is what chance allows.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::ready;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::http_client::Answer;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// How many connections of a load may be refused, each of them once, and none of them at the second attempt.
///
/// kube-proxy writes the rules of a Service anew whenever its endpoints change. nftables shows the new rules and hides the
/// map of the old ones at the same moment to a packet that is half-way through the old ones: it finds no endpoint and is
/// refused. Without Kubernetes, 5 of 38,091 connections were, while the rules of their own address were exchanged 4,068
/// times, and none of 77,397 while others were (docs/measurements.md). Such a moment lasts microseconds, and the next
/// attempt finds the new rules. A Service that has lost its endpoints refuses both attempts, and for as long as that lasts.
const REFUSALS: u64 = 2;

/// How connections are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Connections {
    /// A new one for each request, as most callers in a cluster come.
    #[default]
    PerRequest,
    /// HTTP/1.1, one for each client for as long as the other side keeps it.
    KeptAlive,
    /// HTTP/2 without TLS and without asking first, one for each client.
    Http2,
}

/// Requests that are to be sent. All bounds are upper bounds.
#[derive(Clone, Debug)]
pub struct Requests {
    address: SocketAddr,
    host: Option<String>,
    path: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    connections: Connections,
    clients: usize,
    rate: Option<f64>,
    total: u64,
    time: Duration,
    traced: bool,
    repeats: bool,
    content: Content,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    /// GET, of podinfo's or the misbehaving application's own page.
    Page,
    /// A call of gRPC without arguments, of podinfo's `info.InfoService/Info`.
    Call,
}

impl Requests {
    /// GET / without a pause by three clients, a million at most and for half an hour at most: bounds for what is
    /// forgotten, and none that a scenario meets on a machine on which pods take their time.
    pub fn to(address: SocketAddr) -> Self {
        Self {
            address,
            host: None,
            path: "/".to_owned(),
            headers: Vec::new(),
            connections: Connections::default(),
            clients: 3,
            rate: None,
            total: 1_000_000,
            time: Duration::from_secs(1_800),
            traced: false,
            repeats: false,
            content: Content::Page,
        }
    }

    /// Calls of gRPC instead, of podinfo's method that tells what it is. They go over HTTP/2.
    #[must_use]
    pub fn calls(mut self) -> Self {
        self.content = Content::Call;
        self.connections = Connections::Http2;
        self.path("/info.InfoService/Info")
    }

    /// The name that is asked for: the header Host, or with HTTP/2 the authority. Default: the address.
    #[must_use]
    pub fn host(mut self, name: &str) -> Self {
        self.host = Some(name.to_owned());
        self
    }

    /// Another path than `/`.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// One header more.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let header = (name.parse().expect("a name"), value.parse().expect("a value"));
        self.headers.push(header);
        self
    }

    /// A cookie.
    #[must_use]
    pub fn cookie(self, name: &str, value: &str) -> Self {
        self.header("cookie", &format!("{name}={value}"))
    }

    /// How connections are used.
    #[must_use]
    pub fn connections(mut self, connections: Connections) -> Self {
        self.connections = connections;
        self
    }

    /// How many ask at the same time.
    #[must_use]
    pub fn clients(mut self, count: usize) -> Self {
        self.clients = count;
        self
    }

    /// At most so many per second by all clients together. What was missed is not caught up with.
    #[must_use]
    pub fn rate(mut self, per_second: f64) -> Self {
        self.rate = Some(per_second);
        self
    }

    /// At most so many in all.
    #[must_use]
    pub fn at_most(mut self, total: u64) -> Self {
        self.total = total;
        self
    }

    /// For at most so long.
    #[must_use]
    pub fn lasting(mut self, time: Duration) -> Self {
        self.time = time;
        self
    }

    /// Repeats a request once where the connection that it was sent on ended and no header of an answer had come:
    /// [`Failure::Unanswered`], on connections that are kept. What ends in the middle of an answer is never repeated, and
    /// neither is a repetition.
    ///
    /// RFC 9110 (9.2.2) lets clients do that with GET when communication fails before they can read the answer, and most do:
    /// a server may end a connection that is kept at the very moment at which something is sent on it. A pod that is
    /// reached by kube-proxy is such a server when it ends: the kernel resets what was just sent to it, and no proxy
    /// stands between that could know better. Behind a gateway there is no excuse, so its callers must not use this. How
    /// often it happened is counted, and [`Tally::assert_spotless_but_for`] bounds it.
    #[must_use]
    pub fn repeating(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// Notes of each good answer when it was asked for, for [`Load::trace`].
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.traced = true;
        self
    }

    /// Starts them.
    pub fn start(self) -> Load {
        let shared = Arc::new(Shared {
            tallies: Mutex::new(vec![Tally::default()]),
            begun: AtomicU64::new(0),
            next: Mutex::new(None),
            trace: self.traced.then(Mutex::default),
            clients: self.clients as u64,
        });
        let mut clients = JoinSet::new();
        for _ in 0..self.clients {
            clients.spawn(ask_on(self.clone(), Arc::clone(&shared)));
        }
        Load { shared, clients }
    }

    /// Sends them, to the last.
    pub async fn run(self) -> Tally {
        let mut load = self.start();
        while load.clients.join_next().await.is_some() {}
        load.seen()
    }

    /// Whether what came of a request is a reason to send it once more.
    fn second_attempt(&self, answer: &Result<Answer, (Failure, String)>) -> Option<SecondAttempt> {
        match answer {
            Err((Failure::Refused, _)) => Some(SecondAttempt::Refused),
            Err((Failure::Unanswered, _)) if self.repeats && self.connections != Connections::PerRequest => {
                Some(SecondAttempt::Unanswered)
            }
            Ok(_) | Err(_) => None,
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let host = self.host.clone().unwrap_or_else(|| self.address.to_string());
        // HTTP/2 takes the name from the authority. The port in it is only for the connector.
        let name = self.host.clone().unwrap_or_else(|| self.address.ip().to_string());
        let uri = format!("http://{name}:{}{}", self.address.port(), self.path);
        let mut request = Request::builder().uri(uri).header(header::HOST, &host);
        let body = match self.content {
            Content::Page => Bytes::new(),
            Content::Call => {
                request = request
                    .method(Method::POST)
                    .header(header::CONTENT_TYPE, "application/grpc")
                    .header(header::TE, "trailers");
                // A message that is not compressed, of no bytes.
                Bytes::from_static(&[0; 5])
            }
        };
        if self.connections == Connections::PerRequest {
            request = request.header(header::CONNECTION, "close");
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).expect("a request")
    }
}

/// Why a request is sent a second time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SecondAttempt {
    /// The connection was refused, so nothing was sent; see [`REFUSALS`].
    Refused,
    /// The connection ended under it; see [`Requests::repeating`].
    Unanswered,
}

/// How a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Failure {
    /// Nobody took the connection, at two attempts.
    Refused,
    /// There was no connection for another reason.
    NotConnected,
    /// The connection ended before anything of an answer was read.
    Unanswered,
    /// The connection ended in the middle of an answer, or what came is none.
    CutOff,
    /// No whole answer came in time.
    TimedOut,
    /// The answer has another status code than 200.
    Status(u16),
    /// The answer to a call of gRPC has this status and not 0, or, without a number, none.
    Call(Option<u16>),
    /// A good answer that names no version.
    NoVersion,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::NotConnected => f.write_str("not connected"),
            Self::Unanswered => f.write_str("no answer"),
            Self::CutOff => f.write_str("cut off"),
            Self::TimedOut => write!(f, "no answer within {} s", LIMIT.as_secs()),
            Self::Status(code) => code.fmt(f),
            Self::Call(Some(status)) => write!(f, "grpc-status {status}"),
            Self::Call(None) => f.write_str("no grpc-status"),
            Self::NoVersion => f.write_str("an answer without version"),
        }
    }
}

/// What came of the requests.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Good answers by the version that gave them.
    pub answered: BTreeMap<String, u64>,
    /// What failed, when and how.
    pub failures: Vec<(Timestamp, String)>,
    /// How often what failed.
    pub failed: BTreeMap<Failure, u64>,
    /// When each version answered first.
    pub first: BTreeMap<String, Timestamp>,
    /// When each version answered last.
    pub latest: BTreeMap<String, Timestamp>,
    /// The version that answered last.
    pub last: Option<String>,
    /// How long the good answers took, each.
    pub latencies: Vec<Duration>,
    /// How many requests were sent a second time; see [`Requests::repeating`].
    pub repeated: u64,
    /// How many connections were refused, whatever came of the second attempt; see [`REFUSALS`].
    pub refused: u64,
    /// How many clients sent them.
    pub clients: u64,
}

impl Tally {
    /// How many requests were answered or failed.
    pub fn sent(&self) -> u64 {
        self.good() + self.failures.len() as u64
    }

    /// How many good answers there were.
    pub fn good(&self) -> u64 {
        self.answered.values().sum()
    }

    /// How many good answers a version gave.
    pub fn of(&self, version: &str) -> u64 {
        self.answered.get(version).copied().unwrap_or_default()
    }

    /// The versions that answered.
    pub fn versions(&self) -> Vec<&str> {
        self.answered.keys().map(String::as_str).collect()
    }

    /// The time within which this part of the good answers came; `part` is between 0 and 1.
    pub fn latency(&self, part: f64) -> Duration {
        let mut sorted = self.latencies.clone();
        sorted.sort_unstable();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss
        )]
        let rank = (part * sorted.len() as f64) as usize;
        sorted
            .get(rank.min(sorted.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }

    /// Panics unless every request was answered, none of them sent a second time, and there were some.
    pub fn assert_spotless(&self) {
        self.assert_spotless_but_for(0);
    }

    /// Panics unless every request was answered, and there were some. `pods` that were reached directly have ended: each of
    /// them may have ended one connection of each client under a request, which was sent a second time then.
    pub fn assert_spotless_but_for(&self, pods: u64) {
        assert!(self.sent() > 20, "only {} requests were sent", self.sent());
        assert!(
            self.failures.is_empty(),
            "{} of {} requests failed, first: {:?}; answered: {:?}",
            self.failures.len(),
            self.sent(),
            &self.failures[..self.failures.len().min(5)],
            self.answered
        );
        assert!(
            self.refused <= REFUSALS,
            "{} connections for {} requests were refused at the first attempt",
            self.refused,
            self.sent()
        );
        assert!(
            self.repeated <= pods * self.clients,
            "{} of {} requests were sent a second time, by {} clients whose connections {pods} pods may have ended",
            self.repeated,
            self.sent(),
            self.clients
        );
    }

    /// Panics unless the share of a version among the good answers is what chance allows; see [`within_chance`].
    pub fn assert_share(&self, version: &str, share: f64) {
        assert!(
            within_chance(self.of(version), self.good(), share),
            "{version} gave {} of {} answers, which is not the share {share}: {:?}, {:?}",
            self.of(version),
            self.good(),
            self.answered,
            self.failed
        );
    }

    fn add(&mut self, later: &Self) {
        for (version, count) in &later.answered {
            *self.answered.entry(version.clone()).or_default() += count;
        }
        for (failure, count) in &later.failed {
            *self.failed.entry(failure.clone()).or_default() += count;
        }
        for (version, at) in &later.first {
            let first = self.first.entry(version.clone()).or_insert(*at);
            *first = (*first).min(*at);
        }
        for (version, at) in &later.latest {
            let latest = self.latest.entry(version.clone()).or_insert(*at);
            *latest = (*latest).max(*at);
        }
        self.failures.extend(later.failures.iter().cloned());
        self.latencies.extend(&later.latencies);
        self.repeated += later.repeated;
        self.refused += later.refused;
        self.clients = self.clients.max(later.clients);
        if later.last.is_some() {
            self.last.clone_from(&later.last);
        }
    }

    fn note(&mut self, answer: Result<Answer, (Failure, String)>, took: Duration) {
        let (failure, words) = match answer {
            Ok(answer) if answer.code == 200 => match answer.version() {
                Some(version) => {
                    *self.answered.entry(version.clone()).or_default() += 1;
                    let now = Timestamp::now();
                    self.first.entry(version.clone()).or_insert(now);
                    self.latest.insert(version.clone(), now);
                    self.latencies.push(took);
                    self.last = Some(version);
                    return;
                }
                None => (Failure::NoVersion, answer.body),
            },
            Ok(answer) => (Failure::Status(answer.code), answer.body),
            Err(failed) => failed,
        };
        self.failures
            .push((Timestamp::now(), format!("{failure}: {words}")));
        *self.failed.entry(failure).or_default() += 1;
    }
}

/// A moment in a load, from which on answers are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(usize);

/// What the clients of a load share.
#[derive(Debug)]
struct Shared {
    /// One for each mark and one before: a request belongs to the one in which it was sent.
    tallies: Mutex<Vec<Tally>>,
    /// How many requests were begun.
    begun: AtomicU64,
    /// When the next one may be sent.
    next: Mutex<Option<Instant>>,
    /// When which version was asked, where that is noted.
    trace: Option<Mutex<Vec<(Timestamp, String)>>>,
    /// How many ask.
    clients: u64,
}

impl Shared {
    /// The moment of the next request.
    fn turn(&self, rate: Option<f64>) -> Instant {
        let now = Instant::now();
        let Some(rate) = rate else {
            return now;
        };
        let mut next = self.next.lock().unwrap();
        let turn = next.map_or(now, |next| next.max(now));
        *next = Some(turn + Duration::from_secs_f64(1.0 / rate));
        turn
    }

    /// The tally that a request belongs to which is sent now.
    fn present(&self) -> usize {
        self.tallies.lock().unwrap().len() - 1
    }

    fn since(&self, first: usize) -> Tally {
        self.between(first, usize::MAX)
    }

    fn between(&self, first: usize, end: usize) -> Tally {
        let mut sum = Tally {
            clients: self.clients,
            ..Tally::default()
        };
        let tallies = self.tallies.lock().unwrap();
        for tally in tallies.iter().take(end).skip(first) {
            sum.add(tally);
        }
        sum
    }
}

/// Requests that go on until they are stopped, or have reached a bound.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
}

impl Load {
    /// Starts asking for `/`, some 200 times per second.
    pub fn start(address: SocketAddr) -> Self {
        Requests::to(address).rate(200.0).start()
    }

    /// What came of the requests so far.
    pub fn seen(&self) -> Tally {
        self.shared.since(0)
    }

    /// What came of the requests so far.
    pub fn tally(&self) -> Tally {
        self.seen()
    }

    /// How many requests were answered or failed so far.
    pub fn sent(&self) -> u64 {
        self.shared.tallies.lock().unwrap().iter().map(Tally::sent).sum()
    }

    /// Marks this moment.
    pub fn mark(&self) -> Mark {
        let mut tallies = self.shared.tallies.lock().unwrap();
        tallies.push(Tally::default());
        Mark(tallies.len() - 1)
    }

    /// What came so far of the requests that were sent after a mark; answers to earlier ones are left out.
    pub fn since(&self, mark: Mark) -> Tally {
        self.shared.since(mark.0)
    }

    /// What came so far of the requests that were sent after one mark and before another.
    pub fn between(&self, from: Mark, to: Mark) -> Tally {
        self.shared.between(from.0, to.0)
    }

    /// Waits until so many requests that were sent after a mark were answered or failed.
    pub async fn seen_since(&self, mark: Mark, count: u64) -> Tally {
        crate::wait::eventually(&format!("{count} answers"), async || {
            let tally = self.since(mark);
            if tally.sent() >= count {
                Ok(tally)
            } else {
                Err(format!(
                    "{} answers, {} failures",
                    tally.good(),
                    tally.failures.len()
                ))
            }
        })
        .await
    }

    /// When each good answer was asked for, and of which version it is, where that is noted.
    pub fn trace(&self) -> Vec<(Timestamp, String)> {
        let mut trace = match &self.shared.trace {
            Some(trace) => trace.lock().unwrap().clone(),
            None => Vec::new(),
        };
        trace.sort_by_key(|(at, _)| *at);
        trace
    }

    /// Ends it.
    pub fn stop(mut self) -> Tally {
        self.clients.abort_all();
        self.seen()
    }
}

/// One client.
async fn ask_on(requests: Requests, shared: Arc<Shared>) {
    let end = Instant::now() + requests.time;
    let address = requests.address;
    // Every name leads to the one address.
    let resolver = tower::service_fn(move |_: Name| ready(Ok::<_, Infallible>(std::iter::once(address))));
    let mut connector = HttpConnector::new_with_resolver(resolver);
    connector.set_nodelay(true);
    let idle = usize::from(requests.connections != Connections::PerRequest);
    let client = Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(idle)
        .http2_only(requests.connections == Connections::Http2)
        .build(connector);
    let request = requests.request();
    while shared.begun.fetch_add(1, Ordering::Relaxed) < requests.total {
        let turn = shared.turn(requests.rate);
        if turn >= end {
            return;
        }
        // The pace belongs to what is sent; nothing is waited for.
        tokio::time::sleep_until(turn).await;
        let present = shared.present();
        let (began, asked) = (Instant::now(), Timestamp::now());
        let answer = tokio::time::timeout(LIMIT, exchange(&client, request.clone())).await;
        let mut answer = answer.unwrap_or_else(|_| Err((Failure::TimedOut, String::new())));
        if let Some(reason) = requests.second_attempt(&answer) {
            {
                let tally = &mut shared.tallies.lock().unwrap()[present];
                match reason {
                    SecondAttempt::Refused => tally.refused += 1,
                    SecondAttempt::Unanswered => tally.repeated += 1,
                }
            }
            let again = tokio::time::timeout(LIMIT, exchange(&client, request.clone())).await;
            answer = again.unwrap_or_else(|_| Err((Failure::TimedOut, String::new())));
        }
        if let Some(trace) = &shared.trace
            && let Some(version) = answer.as_ref().ok().and_then(Answer::version)
        {
            trace.lock().unwrap().push((asked, version));
        }
        shared.tallies.lock().unwrap()[present].note(answer, began.elapsed());
    }
}

/// Sends a request. The client repeats it by itself only where nothing of it was written: the other side had ended a
/// connection that was idle, as it may at any time.
async fn exchange<C>(
    client: &Client<C, Full<Bytes>>,
    request: Request<Full<Bytes>>,
) -> Result<Answer, (Failure, String)>
where
    C: Connect + Clone + Send + Sync + 'static,
{
    let response = client.request(request).await.map_err(|error| {
        let failure = if error.is_connect() && is_refused(&error) {
            Failure::Refused
        } else if error.is_connect() {
            Failure::NotConnected
        } else if is_garbled(&error) {
            Failure::CutOff
        } else {
            Failure::Unanswered
        };
        (failure, chain(&error))
    })?;
    let code = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.into_body().collect().await;
    let body = body.map_err(|error| (Failure::CutOff, chain(&error)))?;
    let trailers = body.trailers().cloned();
    let bytes = body.to_bytes();
    if code == 200 && is_call(&headers) {
        // An answer without a message has its status in the header.
        return told(&bytes, &trailers.unwrap_or(headers));
    }
    Ok(Answer {
        code,
        body: String::from_utf8_lossy(&bytes).into_owned(),
    })
}

/// Whether an answer is one of gRPC.
fn is_call(headers: &HeaderMap) -> bool {
    let content = headers.get(header::CONTENT_TYPE);
    content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
}

/// What podinfo says of itself by gRPC, in the form in which its page says it.
fn told(body: &[u8], trailers: &HeaderMap) -> Result<Answer, (Failure, String)> {
    /// The number of the field `message` in podinfo's answer.
    const MESSAGE: u8 = 6;
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let status = text("grpc-status").and_then(|status| status.parse().ok());
    if status != Some(0) {
        let words = text("grpc-message").unwrap_or_default().to_owned();
        return Err((Failure::Call(status), words));
    }
    // Before the message stand one byte that says whether it is compressed, and four with its length.
    let message = body.get(5..).and_then(|fields| text_field(fields, MESSAGE));
    Ok(Answer {
        code: 200,
        body: json!({"message": message}).to_string(),
    })
}

/// A field of a message of Protocol Buffers in which all fields are texts of less than 128 bytes.
fn text_field(mut fields: &[u8], number: u8) -> Option<String> {
    const DELIMITED: u8 = 2;
    while let [key, length, rest @ ..] = fields {
        let value = rest.get(..usize::from(*length))?;
        if *length >= 128 || key & 7 != DELIMITED {
            return None;
        }
        if key >> 3 == number {
            return String::from_utf8(value.to_vec()).ok();
        }
        fields = &rest[value.len()..];
    }
    None
}

/// Whether the other side, or a rule on the way, refused the connection.
fn is_refused(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    })
}

/// An error and its causes, the outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// Whether something was read, and it is no header of an answer.
fn is_garbled(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse)
    })
}

/// An error with its causes.
fn chain(error: &(dyn Error + 'static)) -> String {
    let words: Vec<_> = causes(error).map(ToString::to_string).collect();
    words.join(": ")
}

/// The chance with which [`within_chance`] refuses a share that is right.
const ALPHA: f64 = 1e-6;

/// Whether chance alone may give `successes` of `n`, each of chance `p`: neither so few nor so many have a chance below
/// [`ALPHA`] / 2. This is the exact two-sided test of a binomial proportion whose acceptance is that `p` lies in the
/// interval of C. J. Clopper and E. S. Pearson, "The use of confidence or fiducial limits illustrated in the case of
/// the binomial", Biometrika 26 (1934), 404-413, at the level 1 - [`ALPHA`].
///
/// A proxy that takes turns by weight comes closer than chance, so that for it the bounds are conservative: they refuse
/// what is wrong, and nothing that is right.
pub fn within_chance(successes: u64, n: u64, p: f64) -> bool {
    assert!((0.0..=1.0).contains(&p) && successes <= n);
    if p == 0.0 || p == 1.0 {
        return successes == if p == 0.0 { 0 } else { n };
    }
    tail(0..=successes, n, p) > ALPHA / 2.0 && tail(successes..=n, n, p) > ALPHA / 2.0
}

/// The chance of a number of successes within a range.
#[allow(clippy::cast_precision_loss)]
fn tail(range: std::ops::RangeInclusive<u64>, n: u64, p: f64) -> f64 {
    // By logarithms, since the chance of one number of many is too small for a float.
    let mut logarithm = n as f64 * (1.0 - p).ln();
    let mut sum = 0.0;
    for successes in 0..=*range.end() {
        if range.contains(&successes) {
            sum += logarithm.exp();
        }
        logarithm += ((n - successes) as f64 / (successes + 1) as f64 * p / (1.0 - p)).ln();
    }
    sum
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn tails_are_those_of_the_binomial_distribution() {
        let near = |is: f64, should: f64| (is / should - 1.0).abs() < 1e-9;
        // Of 4 throws of a coin: 1, 4, 6, 4, 1 of 16.
        assert!(near(tail(0..=1, 4, 0.5), 5.0 / 16.0));
        assert!(near(tail(3..=4, 4, 0.5), 5.0 / 16.0));
        assert!(near(tail(2..=2, 4, 0.5), 6.0 / 16.0));
        assert!(near(tail(0..=0, 3, 0.1), 0.729));
        // 0.9^2000 and smaller are no numbers any more, their sum is one.
        assert!(
            near(tail(0..=200_000, 200_000, 0.1), 1.0)
                || (tail(0..=200_000, 200_000, 0.1) - 1.0).abs() < 1e-6
        );
    }

    #[test]
    fn a_share_is_within_chance_near_what_is_expected_and_not_far_from_it() {
        // 2,000 requests at 10 %: 200 with a standard deviation of 13.4; 4.89 of them are one in a million on a normal
        // curve, both sides together.
        for right in [200, 180, 220, 140, 260] {
            assert!(within_chance(right, 2_000, 0.1), "{right}");
        }
        for wrong in [0, 100, 130, 275, 400, 2_000] {
            assert!(!within_chance(wrong, 2_000, 0.1), "{wrong}");
        }
        // The same from the other side.
        for count in 0..=2_000 {
            assert_eq!(
                within_chance(count, 2_000, 0.1),
                within_chance(2_000 - count, 2_000, 0.9),
                "{count}"
            );
        }
    }

    /// A server that answers a request in full only once: what it does with the others is `does`. Answers its address.
    async fn server(does: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let whole = "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"version\":\"1\"}";
            let mut connections = 0;
            while let Ok((mut stream, _)) = listener.accept().await {
                connections += 1;
                let mut buffer = [0; 1024];
                // The first connection ends under its second request, the others serve on.
                let mut answers = 0;
                while stream.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                    answers += 1;
                    let text = if connections == 1 && answers == 2 {
                        does
                    } else {
                        whole
                    };
                    let _ = stream.write_all(text.as_bytes()).await;
                    if text != whole {
                        break;
                    }
                }
            }
        });
        address
    }

    async fn four(does: &'static str) -> Tally {
        let requests = Requests::to(server(does).await).clients(1).at_most(4);
        requests
            .connections(Connections::KeptAlive)
            .repeating()
            .run()
            .await
    }

    #[tokio::test]
    async fn what_got_no_answer_is_sent_again_and_counted() {
        let tally = four("").await;
        assert_eq!((tally.good(), tally.repeated), (4, 1), "{:?}", tally.failures);
    }

    #[tokio::test]
    async fn what_is_cut_off_in_the_middle_has_failed() {
        for does in [
            "HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{\"ver",
            "HTTP/1.1 nonsense\r\n\r\n",
        ] {
            let tally = four(does).await;
            assert_eq!((tally.good(), tally.repeated), (3, 0), "{does}");
            assert_eq!(
                tally.failed,
                [(Failure::CutOff, 1)].into(),
                "{:?}",
                tally.failures
            );
        }
    }

    #[test]
    fn calls_are_answered_by_their_status_and_the_message() {
        let status = |status: &'static str| -> HeaderMap {
            [(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(status),
            )]
            .into_iter()
            .collect()
        };
        let message = b"\0\0\0\0\x0e\x0a\x03pod\x12\x00\x32\x051.1.0";
        let answer = told(message, &status("0")).unwrap();
        assert_eq!(answer.version().as_deref(), Some("1.1.0"));
        assert_eq!(
            told(message, &status("14")).unwrap_err().0,
            Failure::Call(Some(14))
        );
        assert_eq!(
            told(message, &HeaderMap::new()).unwrap_err().0,
            Failure::Call(None)
        );
        // A message that is cut off, or another than was expected.
        for other in [&message[..12], b"\0\0\0\0\x02\x08\x01", b""] {
            assert_eq!(told(other, &status("0")).unwrap().version(), None);
        }
    }

    fn repeated(times: u64) -> Tally {
        Tally {
            answered: [("1".to_owned(), 100)].into(),
            repeated: times,
            clients: 3,
            ..Tally::default()
        }
    }

    #[test]
    fn each_pod_that_ends_excuses_one_repetition_of_each_client() {
        repeated(0).assert_spotless();
        repeated(6).assert_spotless_but_for(2);
    }

    #[test]
    #[should_panic(expected = "7 of 100 requests were sent a second time")]
    fn more_repetitions_than_pods_explain_are_a_failure() {
        repeated(7).assert_spotless_but_for(2);
    }

    #[test]
    #[should_panic(expected = "1 of 100 requests were sent a second time")]
    fn without_an_excuse_a_repetition_is_a_failure() {
        repeated(1).assert_spotless();
    }

    #[tokio::test]
    async fn what_is_refused_twice_has_failed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let nobody = listener.local_addr().unwrap();
        drop(listener);
        let tally = Requests::to(nobody).clients(1).at_most(3).run().await;
        assert_eq!(
            tally.failed,
            [(Failure::Refused, 3)].into(),
            "{:?}",
            tally.failures
        );
        assert_eq!((tally.good(), tally.refused, tally.repeated), (0, 3, 0));
    }

    #[test]
    fn a_refusal_is_asked_again_of_everybody_and_an_end_without_an_answer_only_where_that_is_allowed() {
        let of = |failure| Err((failure, String::new()));
        let plain = Requests::to(([127, 0, 0, 1], 1).into());
        let kept = plain.clone().connections(Connections::KeptAlive);
        for requests in [&plain, &kept, &kept.clone().repeating()] {
            assert_eq!(
                requests.second_attempt(&of(Failure::Refused)),
                Some(SecondAttempt::Refused)
            );
            assert_eq!(requests.second_attempt(&of(Failure::NotConnected)), None);
            assert_eq!(requests.second_attempt(&of(Failure::CutOff)), None);
        }
        let unanswered = of(Failure::Unanswered);
        assert_eq!(kept.second_attempt(&unanswered), None);
        assert_eq!(plain.repeating().second_attempt(&unanswered), None);
        assert_eq!(
            kept.repeating().second_attempt(&unanswered),
            Some(SecondAttempt::Unanswered)
        );
    }

    #[test]
    #[should_panic(expected = "3 connections for 100 requests were refused")]
    fn more_refusals_than_a_race_explains_are_a_failure() {
        let tally = Tally {
            refused: REFUSALS + 1,
            ..repeated(0)
        };
        tally.assert_spotless();
    }

    #[test]
    fn few_requests_prove_little() {
        assert!(within_chance(0, 10, 0.1));
        assert!(within_chance(0, 0, 0.5));
        assert!(!within_chance(0, 200, 0.1));
        assert!(within_chance(5, 10, 0.1));
        assert!(!within_chance(10, 10, 0.1));
    }

    #[test]
    fn nothing_and_all_leave_nothing_to_chance() {
        assert!(within_chance(0, 1_000, 0.0));
        assert!(!within_chance(1, 1_000, 0.0));
        assert!(within_chance(1_000, 1_000, 1.0));
        assert!(!within_chance(999, 1_000, 1.0));
    }
}
