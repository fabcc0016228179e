//! Measures checks beside everything else: one task for each, which asks at its interval and tells when that is worth a
//! look. Nothing of it is durable: after a restart checks are measured anew.

use std::collections::{BTreeMap, HashMap};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::cache::ServiceKey;
use super::delivery::ReadSecret;
use super::endpoint::{Endpoint, PrometheusApi};
use super::entry::now;
use crate::analysis::threshold::{ANSWER_BYTES, Measurement, Measurements, Outcome, of_prometheus, of_web};
use crate::api::{PrometheusQuery, QueryRange, WebCheck};
use crate::health::message;
use crate::rollout::{Measure, Question};

/// Questions in flight, over all services.
const IN_FLIGHT: usize = 128;
/// The largest answer of a Prometheus that is read, in bytes: one series of a thousand values has some 30 KiB.
const PROMETHEUS_BYTES: usize = 1024 * 1024;
/// How often a look is asked for while measurements say the same.
const NEWS: Duration = Duration::from_secs(10);

/// The measurements of all services.
#[derive(Debug)]
pub struct Measurers {
    secrets: Arc<dyn ReadSecret>,
    triggers: mpsc::UnboundedSender<ServiceKey>,
    in_flight: Semaphore,
    running: Mutex<HashMap<ServiceKey, BTreeMap<String, Running>>>,
}

/// A check that is measured. Dropping it ends that.
#[derive(Debug)]
struct Running {
    measure: Measure,
    measured: Measurements,
    task: AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Measurers {
    /// None at work yet. `triggers` is told which service has news.
    pub fn new(secrets: Arc<dyn ReadSecret>, triggers: mpsc::UnboundedSender<ServiceKey>) -> Self {
        Self {
            secrets,
            triggers,
            in_flight: Semaphore::new(IN_FLIGHT),
            running: Mutex::default(),
        }
    }

    /// What was measured for a service, by [`Measure::key`].
    pub fn of(&self, service: &ServiceKey) -> BTreeMap<String, Measurements> {
        let running = self.lock();
        let of_service = running.get(service).into_iter().flatten();
        of_service
            .map(|(key, running)| (key.clone(), running.measured.clone()))
            .collect()
    }

    /// Measures what a plan asks for, and nothing else of this service. What is measured already goes on; what is to be
    /// measured otherwise begins anew.
    pub fn follow(self: &Arc<Self>, service: &ServiceKey, measures: Vec<Measure>) {
        let mut running = self.lock();
        if measures.is_empty() {
            running.remove(service);
            return;
        }
        let of_service = running.entry(service.clone()).or_default();
        of_service.retain(|_, running| {
            let still = measures.iter().any(|measure| measure.asks_like(&running.measure));
            still && !running.task.is_finished()
        });
        for measure in measures {
            if of_service.contains_key(&measure.key) {
                continue;
            }
            // It cannot tell before it is known: it takes the same lock for that.
            let task = tokio::spawn(Arc::clone(self).run(service.clone(), measure.clone()));
            let begun = Running {
                measured: Measurements::default(),
                task: task.abort_handle(),
                measure: measure.clone(),
            };
            of_service.insert(measure.key, begun);
        }
    }

    /// Ends the measurements of all services.
    pub fn end(&self) {
        self.lock().clear();
    }

    async fn run(self: Arc<Self>, service: ServiceKey, measure: Measure) {
        let asked = Asked::new(&measure.question, &service.namespace, &self.secrets);
        if let Some(begins_at) = measure.begins_at {
            let delay = begins_at.duration_since(now());
            tokio::time::sleep(delay.try_into().unwrap_or_default()).await;
        }
        let mut ticks = tokio::time::interval(Duration::from_secs(measure.interval_seconds.max(1).into()));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<(Outcome, Instant)> = None;
        loop {
            ticks.tick().await;
            let measurement = {
                // The semaphore is never closed.
                let _permit = self.in_flight.acquire().await;
                let made = AssertUnwindSafe(asked.measure()).catch_unwind().await;
                made.unwrap_or_else(|_| {
                    tracing::error!(%service, check = %measure.key, "a measurement panicked, which is a bug");
                    Measurement::error("the operator could not measure it, which is a bug of it")
                })
            };
            tracing::debug!(%service, check = %measure.key, ?measurement, "measured");
            let outcome = measurement.outcome;
            let Some(good) = self.add(&service, &measure, measurement) else {
                return;
            };
            let same = told.is_some_and(|(last, at)| last == outcome && at.elapsed() < NEWS);
            if !same || outcome == Outcome::Bad || (measure.wanted > 0 && good == measure.wanted) {
                told = Some((outcome, Instant::now()));
                // The receiver is gone with the process only.
                let _ = self.triggers.send(service.clone());
            }
        }
    }

    /// Takes in a measurement. Answers how many were good so far; none where nobody asks for it any more.
    fn add(&self, service: &ServiceKey, measure: &Measure, measurement: Measurement) -> Option<u32> {
        let mut running = self.lock();
        let known = running.get_mut(service)?.get_mut(&measure.key)?;
        // Somebody else's, where this one is about to end.
        if !known.measure.asks_like(measure) {
            return None;
        }
        known.measured.add(measurement, now());
        Some(known.measured.good())
    }

    // A panic while the lock is held leaves whole entries: every change is one insert, remove or add.
    fn lock(&self) -> MutexGuard<'_, HashMap<ServiceKey, BTreeMap<String, Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who is asked, and what.
enum Asked {
    Prometheus {
        endpoint: Endpoint,
        text: String,
        query: PrometheusQuery,
    },
    Web {
        endpoint: Endpoint,
        web: WebCheck,
    },
    Nobody(String),
}

impl Asked {
    fn new(question: &Question, namespace: &str, secrets: &Arc<dyn ReadSecret>) -> Self {
        let asked = match question {
            Question::Prometheus { server, text, query } => {
                let api = match query.range {
                    None => PrometheusApi::Query,
                    Some(_) => PrometheusApi::QueryRange,
                };
                Endpoint::of_prometheus(server, api, namespace, Arc::clone(secrets)).map(|endpoint| {
                    Self::Prometheus {
                        endpoint,
                        text: text.clone(),
                        query: query.clone(),
                    }
                })
            }
            Question::Web(web) => {
                Endpoint::of_web(web, namespace, Arc::clone(secrets)).map(|endpoint| Self::Web {
                    endpoint,
                    web: web.clone(),
                })
            }
            Question::Unaskable(why) => Err(why.clone()),
        };
        asked.unwrap_or_else(Self::Nobody)
    }

    async fn measure(&self) -> Measurement {
        match self {
            Self::Nobody(why) => Measurement::error(why.clone()),
            Self::Prometheus {
                endpoint,
                text,
                query,
            } => {
                let form = form(text, query.range, endpoint.limit(), now());
                let form: Vec<(&str, &str)> =
                    form.iter().map(|(name, value)| (*name, value.as_str())).collect();
                match endpoint.post_form(&form, PROMETHEUS_BYTES).await {
                    // Also what it refuses it refuses in JSON, with the reason.
                    Ok(answer) => of_prometheus(query, &answer.body),
                    Err(why) => Measurement::error(message(endpoint.host(), &why)),
                }
            }
            Self::Web { endpoint, web } => match endpoint.call(web, ANSWER_BYTES).await {
                Ok(answer) => of_web(web.value.as_ref(), answer.status, &answer.body),
                Err(why) => Measurement::error(message(endpoint.host(), &why)),
            },
        }
    }
}

/// What a Prometheus is sent. It is to give the query up when we do.
fn form(
    text: &str,
    range: Option<QueryRange>,
    limit: Duration,
    now: Timestamp,
) -> Vec<(&'static str, String)> {
    let mut form = vec![
        ("query", text.to_owned()),
        ("timeout", format!("{}s", limit.as_secs())),
    ];
    if let Some(range) = range {
        let end = now.as_second();
        form.extend([
            ("start", (end - i64::from(range.seconds)).to_string()),
            ("end", end.to_string()),
            ("step", range.step_seconds.to_string()),
        ]);
    }
    form
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::routing::get;
    use futures::future::BoxFuture;
    use k8s_openapi::api::core::v1::Secret;
    use tokio::net::TcpListener;

    use super::*;
    use crate::analysis::threshold::{Limits, Standing};

    const LIMITS: Limits = Limits {
        bad: 0,
        errors: None,
        no_data: None,
    };

    #[derive(Debug)]
    struct NoSecrets;

    impl ReadSecret for NoSecrets {
        fn read<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<Option<Secret>, String>> {
            async { Ok(None) }.boxed()
        }
    }

    fn service() -> ServiceKey {
        ServiceKey {
            namespace: "shop".into(),
            name: "web".into(),
        }
    }

    fn measure(question: Question) -> Measure {
        Measure {
            key: "u/1/web-b/quality".into(),
            question,
            begins_at: None,
            interval_seconds: 1,
            wanted: 2,
        }
    }

    async fn listener(routes: Router) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        format!("http://{address}")
    }

    fn web(base: &str, path: &str) -> Question {
        Question::Web(WebCheck {
            url: format!("{base}{path}"),
            ..WebCheck::default()
        })
    }

    #[tokio::test]
    async fn what_is_measured_is_told_until_nobody_asks_any_more() {
        let base = listener(Router::new().route("/good", get(async || "fine"))).await;
        let (triggers, mut triggered) = mpsc::unbounded_channel();
        let measurers = Arc::new(Measurers::new(Arc::new(NoSecrets), triggers));
        let of = |measurers: &Measurers| {
            let mut all = measurers.of(&service());
            all.remove("u/1/web-b/quality").unwrap()
        };

        measurers.follow(&service(), vec![measure(web(&base, "/good"))]);
        assert_eq!(of(&measurers).standing(LIMITS), Standing::NotMeasured);
        assert_eq!(triggered.recv().await, Some(service()));
        assert_eq!(of(&measurers).standing(LIMITS), Standing::Good);
        // The second good one is what is waited for.
        assert_eq!(triggered.recv().await, Some(service()));
        assert_eq!(of(&measurers).good(), 2);

        // What is asked goes on where nothing changes, and begins anew where something does.
        measurers.follow(&service(), vec![measure(web(&base, "/good"))]);
        assert_eq!(of(&measurers).good(), 2);
        measurers.follow(&service(), vec![measure(web(&base, "/bad"))]);
        assert_eq!(of(&measurers).good(), 0);
        assert_eq!(triggered.recv().await, Some(service()));
        let measured = of(&measurers);
        assert_eq!(measured.standing(LIMITS), Standing::TooManyBad);
        assert_eq!(measured.last().unwrap().value.as_deref(), Some("404"));

        measurers.follow(
            &service(),
            vec![measure(Question::Unaskable("no such thing".into()))],
        );
        assert_eq!(triggered.recv().await, Some(service()));
        let measured = of(&measurers);
        assert_eq!(measured.standing(LIMITS), Standing::Unavailable);
        assert_eq!(measured.last().unwrap().words.as_deref(), Some("no such thing"));

        measurers.follow(&service(), Vec::new());
        assert!(measurers.of(&service()).is_empty());
    }

    #[test]
    fn a_range_ends_now() {
        let range = QueryRange {
            seconds: 300,
            step_seconds: 15,
        };
        let now = "2026-01-01T00:10:00.9Z".parse().unwrap();
        let form = form("up", Some(range), Duration::from_secs(5), now);
        let form: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        assert_eq!(
            form,
            [
                "query=up",
                "timeout=5s",
                "start=1767225900",
                "end=1767226200",
                "step=15"
            ]
        );
    }
}
