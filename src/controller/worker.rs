//! Works off the queue: looks at services side by side, wakes them when they asked for it, and again with back-off when
//! a look failed. A panic in one look is that look's own.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::time::{DelayQueue, delay_queue};

use super::backoff::Backoff;
use super::cache::ServiceKey;
use super::queue::Queue;
use super::reconcile::{Occasion, Outcome};
use crate::telemetry::{Metrics, ReconcileResult};

/// How long looks that are under way may take to end when the process is told to stop: a plan is short.
const DRAIN: Duration = Duration::from_secs(20);

/// Why work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The process is told to stop.
    Told,
    /// It is not this process' to do any more.
    Lost,
}

/// Works off the queue with `look`.
pub struct Worker<L> {
    look: L,
    metrics: Arc<Metrics>,
    concurrency: usize,
    queue: Queue,
    backoff: Backoff,
    wakes: DelayQueue<ServiceKey>,
    /// When each service is to be woken, and why.
    waking: HashMap<ServiceKey, (delay_queue::Key, Occasion)>,
    /// Services whose next look tries again what was refused.
    retries: HashMap<ServiceKey, Occasion>,
    running: JoinSet<Outcome>,
    /// What each running task looks at, and since when.
    looks: HashMap<Id, (ServiceKey, Instant)>,
}

impl<L, F> Worker<L>
where
    L: Fn(ServiceKey, Occasion) -> F,
    F: Future<Output = Outcome> + Send + 'static,
{
    /// With at most `concurrency` looks at a time.
    pub fn new(look: L, metrics: Arc<Metrics>, concurrency: usize) -> Self {
        Self {
            look,
            metrics,
            concurrency,
            queue: Queue::default(),
            backoff: Backoff::default(),
            wakes: DelayQueue::new(),
            waking: HashMap::new(),
            retries: HashMap::new(),
            running: JoinSet::new(),
            looks: HashMap::new(),
        }
    }

    /// Works until `shutdown`, on which looks that are under way are ended in order, or until the `term` of leadership ends,
    /// on which they are cut off: another process may act by then.
    pub async fn work(
        mut self,
        triggered: &mut mpsc::UnboundedReceiver<ServiceKey>,
        shutdown: &CancellationToken,
        term: &CancellationToken,
    ) -> Ended {
        let ended = self.until_the_end(triggered, shutdown, term).await;
        if ended == Ended::Lost {
            self.running.shutdown().await;
        }
        self.metrics.set_queue_depth(0);
        self.metrics.set_backoff(0);
        ended
    }

    async fn until_the_end(
        &mut self,
        triggered: &mut mpsc::UnboundedReceiver<ServiceKey>,
        shutdown: &CancellationToken,
        term: &CancellationToken,
    ) -> Ended {
        loop {
            self.start_what_waits();
            tokio::select! {
                () = term.cancelled() => return Ended::Lost,
                () = shutdown.cancelled() => break,
                Some(service) = triggered.recv() => self.queue.touch(service),
                Some(expired) = self.wakes.next(), if !self.wakes.is_empty() => self.wake(expired.into_inner()),
                Some(joined) = self.running.join_next_with_id(), if !self.running.is_empty() => self.ended(joined),
            }
        }
        let drained = async { while self.running.join_next().await.is_some() {} };
        tokio::select! {
            () = term.cancelled() => return Ended::Lost,
            in_time = tokio::time::timeout(DRAIN, drained) => if in_time.is_err() {
                tracing::warn!("some looks did not end in time; what they had decided is durable");
                // Nothing is written after the Lease has been given back.
                self.running.shutdown().await;
            },
        }
        Ended::Told
    }

    fn start_what_waits(&mut self) {
        while let Some(service) = self.queue.start(self.concurrency) {
            let occasion = self.retries.remove(&service).unwrap_or(Occasion::Trigger);
            let task = self.running.spawn((self.look)(service.clone(), occasion));
            self.looks.insert(task.id(), (service, Instant::now()));
        }
        self.metrics.set_queue_depth(self.queue.depth());
    }

    fn wake(&mut self, service: ServiceKey) {
        if let Some((_, Occasion::Retry)) = self.waking.remove(&service) {
            self.retries.insert(service.clone(), Occasion::Retry);
        }
        self.queue.touch(service);
    }

    fn ended(&mut self, joined: Result<(Id, Outcome), JoinError>) {
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => (error.id(), Outcome::Panicked),
        };
        let Some((service, began)) = self.looks.remove(&id) else {
            return;
        };
        let result = match outcome {
            Outcome::Settled { .. } | Outcome::Gone => ReconcileResult::Success,
            Outcome::Failed { .. } => ReconcileResult::Failure,
            Outcome::Panicked => ReconcileResult::Panic,
        };
        self.metrics.reconciled(result, began.elapsed());
        match outcome {
            Outcome::Settled { wake } => {
                self.backoff.succeeded(&service);
                self.wake_in(&service, wake, Occasion::Trigger);
            }
            Outcome::Failed { generation } => self.back_off(&service, generation),
            Outcome::Panicked => {
                tracing::error!(%service, "a look at this service panicked, which is a bug; it is tried again");
                self.back_off(&service, i64::MIN);
            }
            Outcome::Gone => {
                self.backoff.succeeded(&service);
                self.wake_in(&service, None, Occasion::Trigger);
            }
        }
        self.metrics.set_backoff(self.backoff.len());
        self.queue.finish(&service);
    }

    fn back_off(&mut self, service: &ServiceKey, generation: i64) {
        // A pause that has begun is not made longer by what happens meanwhile.
        if !matches!(self.waking.get(service), Some((_, Occasion::Retry))) {
            let pause = self.backoff.failed(service, generation, jitter());
            self.wake_in(service, Some(pause), Occasion::Retry);
        }
    }

    /// Wakes a service after a while, instead of whenever it was to be woken before.
    fn wake_in(&mut self, service: &ServiceKey, after: Option<Duration>, occasion: Occasion) {
        if let Some((key, _)) = self.waking.remove(service) {
            self.wakes.try_remove(&key);
        }
        if let Some(after) = after {
            // A little later than said: clocks of seconds must have moved on.
            let key = self
                .wakes
                .insert(service.clone(), after + Duration::from_millis(20));
            self.waking.insert(service.clone(), (key, occasion));
        }
    }
}

/// From 0 to 1, different enough from one call to the next to keep services apart.
fn jitter() -> f64 {
    let nanos = super::entry::now().subsec_nanosecond();
    f64::from(nanos.rem_euclid(1_000_000)) / 1_000_000.0
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use jiff::Timestamp;

    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "ns".into(),
            name: name.into(),
        }
    }

    /// Runs a worker over `look` until `enough` looks were taken, in virtual time. Answers the looks.
    async fn looks(
        touched: &[&str],
        enough: usize,
        look: impl Fn(&str, usize) -> Outcome + Send + Sync + 'static,
    ) -> Vec<(String, Occasion, Duration)> {
        let (triggers, mut triggered) = mpsc::unbounded_channel();
        for name in touched {
            triggers.send(key(name)).unwrap();
        }
        let shutdown = CancellationToken::new();
        let seen: Arc<Mutex<Vec<(String, Occasion, Duration)>>> = Arc::default();
        let (look, began, stop, taken) = (
            Arc::new(look),
            Instant::now(),
            shutdown.clone(),
            Arc::clone(&seen),
        );
        let look = move |service: ServiceKey, occasion| {
            let (look, stop, taken) = (Arc::clone(&look), stop.clone(), Arc::clone(&taken));
            async move {
                let count = {
                    let mut taken = taken.lock().unwrap();
                    taken.push((service.name.clone(), occasion, began.elapsed()));
                    if taken.len() >= enough {
                        stop.cancel();
                    }
                    taken.iter().filter(|(name, _, _)| *name == service.name).count()
                };
                look(&service.name, count)
            }
        };
        let metrics = Arc::new(Metrics::new(Timestamp::UNIX_EPOCH));
        let ended = Worker::new(look, metrics, 2)
            .work(&mut triggered, &shutdown, &CancellationToken::new())
            .await;
        assert_eq!(ended, Ended::Told);
        drop(triggers);
        Arc::try_unwrap(seen).unwrap().into_inner().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_one_look_touches_no_other_service_and_is_tried_again_with_back_off() {
        let settled = Outcome::Settled { wake: None };
        let seen = looks(&["bad", "good"], 4, move |name, count| {
            assert!(name != "bad" || count == 3, "a bug");
            settled
        })
        .await;
        let names: Vec<&str> = seen.iter().map(|(name, _, _)| name.as_str()).collect();
        assert_eq!(names, ["bad", "good", "bad", "bad"]);
        let (_, occasion, first) = &seen[2];
        assert_eq!(*occasion, Occasion::Retry);
        assert!(
            *first >= Duration::from_millis(500) && *first < Duration::from_millis(1100),
            "{first:?}"
        );
        let second = seen[3].2 - *first;
        assert!(
            second >= Duration::from_secs(1) && second < Duration::from_millis(2200),
            "{second:?}"
        );
    }

    /// Works on one service whose look begins and goes on for `takes`. Answers how it ended, after how long, and whether
    /// the look came to its end.
    async fn cut_off(
        takes: Duration,
        shutdown_after: Duration,
        lost_after: Duration,
    ) -> (Ended, Duration, bool) {
        let (triggers, mut triggered) = mpsc::unbounded_channel();
        triggers.send(key("a")).unwrap();
        let finished = Arc::new(Mutex::new(false));
        let told = Arc::clone(&finished);
        let look = move |_: ServiceKey, _| {
            let told = Arc::clone(&told);
            async move {
                tokio::time::sleep(takes).await;
                *told.lock().unwrap() = true;
                Outcome::Settled { wake: None }
            }
        };
        let (shutdown, term) = (CancellationToken::new(), CancellationToken::new());
        let metrics = Arc::new(Metrics::new(Timestamp::UNIX_EPOCH));
        let began = Instant::now();
        let ending = async {
            let (stop, lose) = (shutdown.clone(), term.clone());
            tokio::join!(
                async move {
                    tokio::time::sleep(shutdown_after).await;
                    stop.cancel();
                },
                async move {
                    tokio::time::sleep(lost_after).await;
                    lose.cancel();
                }
            )
        };
        let work = Worker::new(look, metrics, 2).work(&mut triggered, &shutdown, &term);
        let ended = tokio::select! {
            ended = work => ended,
            _ = async { ending.await; std::future::pending::<()>().await } => unreachable!(),
        };
        let elapsed = began.elapsed();
        // What was cut off does not go on.
        tokio::time::sleep(takes * 2).await;
        (ended, elapsed, *finished.lock().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_cuts_off_what_is_executing_and_a_shutdown_lets_it_end() {
        let seconds = Duration::from_secs;
        let never = seconds(1000);
        assert_eq!(
            cut_off(seconds(10), never, seconds(3)).await,
            (Ended::Lost, seconds(3), false)
        );
        assert_eq!(
            cut_off(seconds(10), seconds(3), never).await,
            (Ended::Told, seconds(10), true)
        );
        // Also while it ends in order.
        assert_eq!(
            cut_off(seconds(10), seconds(3), seconds(5)).await,
            (Ended::Lost, seconds(5), false)
        );
        // And what takes too long is cut off too.
        assert_eq!(
            cut_off(seconds(60), seconds(3), never).await,
            (Ended::Told, seconds(3) + DRAIN, false)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_settled_service_is_looked_at_again_when_it_asked_for_it_and_not_before() {
        let wake = Some(Duration::from_secs(60));
        let seen = looks(&["a"], 2, move |_, _| Outcome::Settled { wake }).await;
        assert_eq!(seen[1].1, Occasion::Trigger);
        assert!(
            seen[1].2 >= Duration::from_secs(60) && seen[1].2 < Duration::from_secs(61),
            "{:?}",
            seen[1].2
        );
    }
}
