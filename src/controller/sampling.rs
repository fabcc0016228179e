//! Counts the requests of the pods of a rollout beside everything else, and has them judged.
//!
//! One task a rollout: it scrapes the pods of both revisions at the interval that the plan names, adds their counters up,
//! and tells the judges. What they say is read by the next look; the task asks for one when a verdict changes, and for
//! the sake of the numbers in the status once in a while. Nothing of this costs a request to the API server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use reqwest::{Client, ClientBuilder, RequestBuilder, redirect, retry};
use rustls::RootCertStore;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::cache::ServiceKey;
use super::delivery::ReadSecret;
use super::endpoint::{Answer as EndpointAnswer, Endpoint, PrometheusApi};
use super::entry::now;
use super::error::words;
use super::streams::Caches;
use super::tls::trusting;
use crate::analysis::prometheus::{self, Scraped};
use crate::analysis::{
    Count, Judge, Origin, ProbePaths, Sample, Scrape, Side, Tally, Unreadable, Verdict, read, read_samples,
};
use crate::api::labels;
use crate::health::message;
use crate::rollout::{AnalysisReport, Answered, Check, Exposed, Watch, WatchSource};
use crate::telemetry::{Metrics, ScrapeResult};

/// Scrapes in flight, over all services.
const IN_FLIGHT: usize = 64;
/// The longest that a scrape may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The largest answer that is read, in bytes. A large service exposes some hundred KiB.
const BODY_BYTES: usize = 8 * 1024 * 1024;
/// The most pods of a revision that are scraped: of many pods these say enough, and the costs stay bounded.
const PODS: usize = 50;
/// How many looks in a row at which no pod of a revision could be read make a trouble of it.
const UNREADABLE_LOOKS: u32 = 5;
/// How often the numbers in the status may change while no verdict does.
const NUMBERS: Duration = Duration::from_secs(10);

/// What is said where no client could be made.
const NO_CALLS: &str = "the operator cannot make calls";

/// The samplers of all services.
#[derive(Debug)]
pub struct Samplers {
    http: Option<Client>,
    secrets: Arc<dyn ReadSecret>,
    caches: Arc<Caches>,
    metrics: Arc<Metrics>,
    triggers: mpsc::UnboundedSender<ServiceKey>,
    in_flight: Semaphore,
    /// Of another kind than scrapes, so that a Prometheus that hangs keeps no pod from being read.
    asking: Semaphore,
    running: Mutex<HashMap<ServiceKey, Running>>,
}

/// A sampler at work. Dropping it ends it.
#[derive(Debug)]
struct Running {
    watch: Watch,
    report: AnalysisReport,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Samplers {
    /// None at work yet. `triggers` is told which service has news.
    pub fn new(
        caches: Arc<Caches>,
        metrics: Arc<Metrics>,
        secrets: Arc<dyn ReadSecret>,
        triggers: mpsc::UnboundedSender<ServiceKey>,
    ) -> Self {
        let http = client().build();
        if let Err(error) = &http {
            tracing::error!(error = %words(error), "pods cannot be asked for their metrics");
        }
        Self {
            http: http.ok(),
            secrets,
            caches,
            metrics,
            triggers,
            in_flight: Semaphore::new(IN_FLIGHT),
            asking: Semaphore::new(IN_FLIGHT),
            running: Mutex::default(),
        }
    }

    /// What was found about a service.
    pub fn report(&self, service: &ServiceKey) -> Option<AnalysisReport> {
        self.lock().get(service).map(|running| running.report.clone())
    }

    /// Watches what a plan asks for, and nothing else of this service. What is watched already goes on; where the same
    /// trial is to be judged otherwise, its evidence is gathered anew.
    pub fn follow(self: &Arc<Self>, service: &ServiceKey, watch: Option<Watch>) {
        let mut running = self.lock();
        let Some(watch) = watch else {
            running.remove(service);
            return;
        };
        let goes_on = |known: &Running| known.watch == watch && !known.task.is_finished();
        if running.get(service).is_some_and(goes_on) {
            return;
        }
        let report = AnalysisReport {
            key: watch.key.clone(),
            ..AnalysisReport::default()
        };
        let sampler = Sampler::new(Arc::clone(self), service.clone(), watch.clone());
        let task = tokio::spawn(sampler.run());
        running.insert(
            service.clone(),
            Running {
                watch,
                report,
                task: task.abort_handle(),
            },
        );
    }

    /// Ends the samplers of all services.
    pub fn end(&self) {
        self.lock().clear();
    }

    // A panic while the lock is held leaves whole entries: every change is one insert or remove.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceKey, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One rollout's counting.
struct Sampler {
    samplers: Arc<Samplers>,
    service: ServiceKey,
    watch: Watch,
    probes: ProbePaths,
    begun: Timestamp,
    prometheus: Option<Result<Endpoint, String>>,
    answered: Answered,
    /// When the source was last found not to answer. What it scraped before that is no news.
    unanswered_until: Option<Instant>,
    tracks: Vec<Track>,
    unread: BTreeMap<Reader, Unread>,
    told: BTreeMap<String, Verdict>,
    told_at: Option<Instant>,
}

/// One check's counting.
struct Track {
    check: Check,
    tally: Tally,
    judge: Judge,
    source: Option<String>,
}

/// A revision of which no pod could be read.
struct Unread {
    looks: u32,
    why: String,
}

/// A pod to be scraped.
#[derive(Clone, Debug)]
struct Target {
    side: Side,
    uid: String,
    name: String,
    port: u16,
    url: String,
    origin: Origin,
}

/// What was learnt of a pod.
struct Answer {
    target: Target,
    asked: Timestamp,
    metrics: Result<PodMetrics, String>,
}

/// What a Prometheus was found to have.
struct Found {
    answers: Vec<Answer>,
    /// How old the newest of it is, in seconds.
    age: Option<f64>,
}

impl Found {
    /// Whether all of it was scraped before that.
    fn predates(&self, at: Instant) -> bool {
        self.age.is_some_and(|age| age > at.elapsed().as_secs_f64())
    }
}

/// A pod's metrics.
enum PodMetrics {
    /// The page that it served.
    Page(Vec<u8>),
    /// What a Prometheus has of it.
    Samples(Vec<Sample<'static>>),
}

impl Sampler {
    fn new(samplers: Arc<Samplers>, service: ServiceKey, watch: Watch) -> Self {
        let prometheus = match &watch.source {
            WatchSource::Pods => None,
            WatchSource::Prometheus(server) => Some(Endpoint::of_prometheus(
                server,
                PrometheusApi::Query,
                &service.namespace,
                Arc::clone(&samplers.secrets),
            )),
        };
        let tracks = watch
            .checks
            .iter()
            .map(|check| Track {
                check: check.clone(),
                tally: Tally::default(),
                judge: Judge::new(check.terms),
                source: None,
            })
            .collect();
        Self {
            samplers,
            service,
            probes: ProbePaths::usual().and(watch.probe_paths.iter().map(String::as_str)),
            watch,
            begun: now(),
            prometheus,
            answered: Answered::NotAsked,
            unanswered_until: None,
            tracks,
            unread: BTreeMap::new(),
            told: BTreeMap::new(),
            told_at: None,
        }
    }

    async fn run(mut self) {
        let mut ticks = tokio::time::interval(Duration::from_secs(self.watch.interval_seconds.max(1).into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look().await;
        }
    }

    /// Scrapes all pods once, and has what came since the last time judged.
    async fn look(&mut self) {
        let targets = self.targets();
        let answers = match &self.prometheus {
            None => {
                let scrapes = targets.iter().cloned().map(|target| self.scrape(target));
                futures::stream::iter(scrapes)
                    .buffer_unordered(IN_FLIGHT)
                    .collect()
                    .await
            }
            // Nobody to ask about.
            Some(_) if targets.is_empty() => Vec::new(),
            Some(prometheus) => match self.query(prometheus, &targets).await {
                Ok(found) => match self.unanswered_until.filter(|until| found.predates(*until)) {
                    None => {
                        self.unanswered_until = None;
                        self.answered = Answered::Yes;
                        found.answers
                    }
                    Some(_) => {
                        self.answered = Answered::No {
                            why: "it answers again, and has not scraped the pods since".to_owned(),
                        };
                        Vec::new()
                    }
                },
                // It is one trouble, and not one of each pod.
                Err(why) => {
                    self.unanswered_until = Some(Instant::now());
                    self.answered = Answered::No { why };
                    Vec::new()
                }
            },
        };
        let mut refusals = Refusals::default();
        for (number, track) in self.tracks.iter_mut().enumerate() {
            track
                .tally
                .retain(|pod| targets.iter().any(|target| target.uid == pod));
            for answer in &answers {
                refusals.note(
                    Reader::new(answer.target.side, number),
                    track.add(answer, &self.probes),
                );
            }
            let look = track.tally.look();
            track.judge.observe(&look);
            let ruling = track.judge.ruling();
            tracing::debug!(
                service = %self.service, check = %track.check.name, evidence = ruling.evidence,
                candidate = %words_of(look.candidate), stable = %words_of(look.stable), verdict = ?ruling.verdict,
                "requests since the last look, bad ones of all"
            );
        }
        self.unread = refusals.added_to(std::mem::take(&mut self.unread));
        self.tell();
    }

    /// The pods of both revisions that have an address and run. Also those that are ending: what they still answer counts.
    fn targets(&self) -> Vec<Target> {
        let pods = self.samplers.caches.pods.of(&self.service);
        let of = |side: Side, exposed: &Exposed| {
            let mut found: Vec<Target> = pods
                .iter()
                .filter(|pod| pod.labels().get(labels::REVISION) == Some(&exposed.revision))
                .filter_map(|pod| target(pod, side, exposed, self.begun))
                .collect();
            // The same ones at each look.
            found.sort_by(|one, other| one.uid.cmp(&other.uid));
            found.truncate(PODS);
            found
        };
        let mut targets = of(Side::Candidate, &self.watch.candidate);
        targets.extend(of(Side::Stable, &self.watch.stable));
        targets
    }

    async fn scrape(&self, target: Target) -> Answer {
        // The semaphore is never closed.
        let _permit = self.samplers.in_flight.acquire().await;
        let asked = now();
        let body = match &self.samplers.http {
            Some(http) => fetch(http, &target.url).await,
            None => Err(NO_CALLS.to_owned()),
        };
        self.samplers.metrics.scraped(match body {
            Ok(_) => ScrapeResult::Success,
            Err(_) => ScrapeResult::Error,
        });
        Answer {
            target,
            asked,
            metrics: body.map(PodMetrics::Page),
        }
    }

    /// Asks Prometheus for what it has of all these pods.
    async fn query(
        &self,
        prometheus: &Result<Endpoint, String>,
        targets: &[Target],
    ) -> Result<Found, String> {
        let prometheus = prometheus.as_ref().map_err(Clone::clone)?;
        let query = prometheus::query(
            &self.service.namespace,
            targets.iter().map(|target| target.name.as_str()),
            self.tracks.iter().map(|track| &track.check.names),
        );
        // The semaphore is never closed.
        let _permit = self.samplers.asking.acquire().await;
        let asked = now();
        let limit = format!("{}s", prometheus.limit().as_secs());
        // It is to give the query up when we do.
        let form = [("query", query.as_str()), ("timeout", &limit)];
        let body = prometheus.post_form(&form, BODY_BYTES).await.and_then(succeeded);
        self.samplers.metrics.scraped(match body {
            Ok(_) => ScrapeResult::Success,
            Err(_) => ScrapeResult::Error,
        });
        let said = |why: &str| message(prometheus.host(), why);
        let scraped =
            Scraped::read(&body.map_err(|why| said(&why))?).map_err(|why| said(&why.to_string()))?;
        let answers = targets.iter().map(|target| Answer {
            target: target.clone(),
            asked,
            metrics: match scraped.of(&target.name, target.port) {
                Some(samples) => Ok(PodMetrics::Samples(samples.to_vec())),
                None => Err(said(
                    "has not scraped its pods: is there a ServiceMonitor that it selects?",
                )),
            },
        });
        Ok(Found {
            answers: answers.collect(),
            age: scraped.age(),
        })
    }

    /// Says what was found, and asks for a look where that is worth one.
    fn tell(&mut self) {
        let report = self.report();
        let verdicts: BTreeMap<String, Verdict> = report
            .rulings
            .iter()
            .map(|(name, ruling)| (name.clone(), ruling.verdict))
            .collect();
        let mut running = self.samplers.lock();
        // Somebody else's, where this one is about to end.
        let Some(known) = running
            .get_mut(&self.service)
            .filter(|known| known.watch == self.watch)
        else {
            return;
        };
        let unreadable_changed =
            known.report.unreadable != report.unreadable || known.report.answered != report.answered;
        let numbers_changed = known.report.rulings != report.rulings;
        known.report = report;
        drop(running);
        let due = self.told_at.is_none_or(|at| at.elapsed() >= NUMBERS);
        if verdicts != self.told || unreadable_changed || (numbers_changed && due) {
            self.told = verdicts;
            self.told_at = Some(Instant::now());
            // The receiver is gone with the process only.
            let _ = self.samplers.triggers.send(self.service.clone());
        }
    }

    fn report(&self) -> AnalysisReport {
        let named = |track: &Track| track.check.name.clone();
        let revision = |reader: &Reader| match reader.whose {
            Whose::Candidate => self.watch.candidate.revision.clone(),
            Whose::Stable => self.watch.stable.revision.clone(),
        };
        AnalysisReport {
            key: self.watch.key.clone(),
            rulings: self
                .tracks
                .iter()
                .map(|track| (named(track), track.judge.ruling()))
                .collect(),
            sources: self
                .tracks
                .iter()
                .filter_map(|track| Some((named(track), track.source.clone()?)))
                .collect(),
            unreadable: self
                .unread
                .iter()
                .filter(|(_, unread)| unread.looks >= UNREADABLE_LOOKS)
                .map(|(reader, unread)| (revision(reader), unread.why.clone()))
                .collect(),
            answered: self.answered.clone(),
        }
    }
}

impl Track {
    /// Takes in what a pod answered. Fails where that tells no requests. A pod that has had none yet may show nothing.
    fn add(&mut self, answer: &Answer, probes: &ProbePaths) -> Result<(), String> {
        let (indicator, names) = (self.check.indicator, &self.check.names);
        let reading = match answer.metrics.as_ref().map_err(Clone::clone)? {
            PodMetrics::Page(body) => read(body, indicator, names, probes),
            PodMetrics::Samples(samples) => read_samples(samples, indicator, names, probes),
        };
        let reading = match reading {
            Ok(reading) => Some(reading),
            Err(Unreadable::NoFamily) => None,
            Err(why) => return Err(format!("{}: {why}", self.check.name)),
        };
        if let Some(reading) = &reading {
            self.source = Some(reading.source.to_string());
        }
        self.tally.add(&Scrape {
            pod: &answer.target.uid,
            side: answer.target.side,
            origin: answer.target.origin,
            asked: answer.asked,
            reading: reading.as_ref(),
        });
        Ok(())
    }
}

/// One check on one revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reader {
    whose: Whose,
    check: usize,
}

/// [`Side`], in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Whose {
    Candidate,
    Stable,
}

impl Reader {
    fn new(side: Side, check: usize) -> Self {
        let whose = match side {
            Side::Candidate => Whose::Candidate,
            Side::Stable => Whose::Stable,
        };
        Self { whose, check }
    }
}

/// Which checks could be read in one look, and why others could not.
#[derive(Debug, Default)]
struct Refusals {
    read: BTreeSet<Reader>,
    why: BTreeMap<Reader, String>,
}

impl Refusals {
    fn note(&mut self, reader: Reader, result: Result<(), String>) {
        match result {
            Ok(()) => drop(self.read.insert(reader)),
            Err(why) => drop(self.why.entry(reader).or_insert(why)),
        }
    }

    /// What is known of revisions of which not one pod could be read, after this look. Whether there are pods at all is
    /// not for us to judge: of a revision without any, what was known stays.
    fn added_to(self, mut unread: BTreeMap<Reader, Unread>) -> BTreeMap<Reader, Unread> {
        unread.retain(|reader, _| !self.read.contains(reader));
        for (reader, why) in self.why {
            if !self.read.contains(&reader) {
                let looks = unread.get(&reader).map_or(0, |unread| unread.looks);
                let looks = looks.saturating_add(1);
                unread.insert(reader, Unread { looks, why });
            }
        }
        unread
    }
}

fn words_of(count: Option<Count>) -> String {
    count.map_or_else(|| "not read".to_owned(), |count| count.to_string())
}

fn target(pod: &Pod, side: Side, exposed: &Exposed, begun: Timestamp) -> Option<Target> {
    let status = pod.status.as_ref()?;
    let ip: std::net::IpAddr = status.pod_ip.as_ref()?.parse().ok()?;
    if status.phase.as_deref() != Some("Running") {
        return None;
    }
    let started = status.start_time.as_ref().map(|time| time.0);
    let address = std::net::SocketAddr::new(ip, exposed.port);
    Some(Target {
        side,
        uid: pod.uid()?,
        name: pod.name_any(),
        port: exposed.port,
        url: format!("http://{address}{}", exposed.path),
        origin: match started {
            Some(started) if started > begun => Origin::After,
            Some(_) | None => Origin::Before,
        },
    })
}

/// How pods are asked: directly, because no proxy of the environment leads to them, and none of them may send us elsewhere.
fn client() -> ClientBuilder {
    let builder = Client::builder()
        .no_proxy()
        .redirect(redirect::Policy::none())
        .retry(retry::never())
        .timeout(TIMEOUT)
        .pool_max_idle_per_host(1);
    // Pods are asked without TLS.
    trusting(builder, RootCertStore::empty())
}

/// The body of an answer that says success, or says why not in the words of Prometheus' API.
fn succeeded(answer: EndpointAnswer) -> Result<Vec<u8>, String> {
    let success = (200..300).contains(&answer.status);
    // What it refuses it refuses in JSON, with the reason; that is read like an answer.
    if success || answer.body.starts_with(b"{") {
        Ok(answer.body)
    } else {
        Err(format!("Prometheus answered: {}", answer.status))
    }
}

/// The body of a pod's page, or why there is none in one line.
async fn fetch(http: &Client, url: &str) -> Result<Vec<u8>, String> {
    let request = http.get(url).header(
        reqwest::header::ACCEPT,
        "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5",
    );
    page(request, "its metrics").await
}

/// The body of what is answered with success, or why there is none in one line. `what` answers, in words.
async fn page(request: RequestBuilder, what: &str) -> Result<Vec<u8>, String> {
    let mut response = request
        .send()
        .await
        .map_err(|error| words(&error.without_url()))?;
    let status = response.status();
    if !status.is_success() {
        return Err(message(&format!("{what} answered"), status.as_str()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| words(&error.without_url()))?
    {
        if body.len() + chunk.len() > BODY_BYTES {
            return Err(format!("{what}: more than {BODY_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::http::StatusCode;
    use axum::response::Redirect;
    use axum::routing::get;
    use tokio::net::TcpListener;

    use super::*;

    /// Serves some pages; answers where.
    async fn pages() -> String {
        let routes = Router::new()
            .route("/metrics", get(async || "http_requests_total{code=\"200\"} 7\n"))
            .route("/large", get(async || vec![b'#'; BODY_BYTES + 1]))
            .route("/elsewhere", get(async || Redirect::temporary("/metrics")))
            .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    #[tokio::test]
    async fn a_page_is_read_whole_or_not_at_all() {
        let (base, http) = (pages().await, client().build().unwrap());
        let answer = async |path: &str| fetch(&http, &format!("{base}{path}")).await;
        assert_eq!(
            answer("/metrics").await.as_deref(),
            Ok(b"http_requests_total{code=\"200\"} 7\n".as_slice())
        );
        assert_eq!(
            answer("/large").await,
            Err(format!("its metrics: more than {BODY_BYTES} bytes"))
        );
        // It may not send us to somebody else.
        assert_eq!(
            answer("/elsewhere").await,
            Err("its metrics answered: 307".to_owned())
        );
        assert_eq!(
            answer("/broken").await,
            Err("its metrics answered: 500".to_owned())
        );
        assert_eq!(
            answer("/nothing").await,
            Err("its metrics answered: 404".to_owned())
        );
    }

    #[tokio::test]
    async fn a_pod_that_does_not_listen_is_said_not_to() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let words = fetch(&client().build().unwrap(), &format!("http://{address}/metrics"))
            .await
            .unwrap_err();
        assert!(words.contains("refused"), "{words}");
    }

    #[test]
    fn one_pod_that_can_be_read_is_enough_and_trouble_is_counted_by_looks() {
        let look = |results: &[(Reader, Result<(), &str>)], unread| {
            let mut refusals = Refusals::default();
            for (reader, result) in results {
                refusals.note(*reader, result.map_err(str::to_owned));
            }
            refusals.added_to(unread)
        };
        let (ours, theirs) = (Reader::new(Side::Candidate, 0), Reader::new(Side::Stable, 0));
        let one = look(
            &[(ours, Err("no")), (ours, Ok(())), (theirs, Err("404"))],
            BTreeMap::new(),
        );
        assert_eq!(one.keys().collect::<Vec<_>>(), [&theirs]);
        // Another check of the same revision is another matter.
        let two = look(
            &[(theirs, Err("500")), (Reader::new(Side::Stable, 1), Ok(()))],
            one,
        );
        assert_eq!((two[&theirs].looks, two[&theirs].why.as_str()), (2, "500"));
        // No pods, no news.
        let three = look(&[], two);
        assert_eq!(three[&theirs].looks, 2);
        assert!(look(&[(theirs, Ok(()))], three).is_empty());
    }
}
