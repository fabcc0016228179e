//! The process: starts the watches, waits until the caches are warm, and works off the queue until it is told to stop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt;
use kube::Client;
use kube::runtime::events::Reporter;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::time::DelayQueue;

use super::backoff::Backoff;
use super::cache::ServiceKey;
use super::memory::Memory;
use super::optional;
use super::queue::Queue;
use super::reconcile::{Context, Occasion, Outcome, reconcile};
use super::sources::Contents;
use super::streams::{Caches, Watching};
use crate::http::Readiness;
use crate::telemetry::{Metrics, ReconcileResult};

/// Writes in flight: measured to be the most that an API server gets faster with.
const WRITES_IN_FLIGHT: usize = 8;

/// Where Microservices are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all namespaces.
    Cluster,
    /// In these.
    Namespaces(Vec<String>),
}

/// Whether Secrets may be read, for `track: Snapshot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretTracking {
    /// They may.
    Enabled,
    /// They are not touched.
    Disabled,
}

/// How the controller runs.
#[derive(Clone)]
pub struct Options {
    /// The client.
    pub client: Client,
    /// Where Microservices are served.
    pub scope: Scope,
    /// Whether Secrets may be read.
    pub secrets: SecretTracking,
    /// How many services are worked on at a time.
    pub concurrency: usize,
    /// The name of this instance in events.
    pub instance: Option<String>,
    /// Who counts.
    pub metrics: Arc<Metrics>,
    /// Who is told when the caches are warm.
    pub readiness: Readiness,
}

/// Runs until `shutdown`. What is being worked on then is finished first.
pub async fn run(options: Options, shutdown: CancellationToken) {
    let (triggers, triggered) = mpsc::unbounded_channel();
    let caches = Arc::new(Caches::new());
    let watching = Watching {
        client: options.client.clone(),
        scope: options.scope.clone(),
        caches: Arc::clone(&caches),
        triggers,
        metrics: Arc::clone(&options.metrics),
    };
    let mut gates = watching.start(options.secrets);
    gates.push(("customresourcedefinitions", optional::start(watching)));
    let warm = futures::future::join_all(gates.into_iter().map(|(name, warm)| {
        let gate = options.readiness.gate(name);
        async move {
            optional::until_warm(warm).await;
            gate.open();
        }
    }));
    tokio::select! {
        _ = warm => tracing::info!("caches are warm"),
        () = shutdown.cancelled() => return,
    }
    let context = Context {
        client: options.client.clone(),
        caches,
        memory: Arc::new(Memory::default()),
        contents: Arc::new(Contents::default()),
        reporter: Reporter { controller: "microservice-operator".to_owned(), instance: options.instance },
        metrics: options.metrics,
        writes: Arc::new(Semaphore::new(WRITES_IN_FLIGHT)),
        secrets: options.secrets,
    };
    Worker::new(context, options.concurrency).work(triggered, shutdown).await;
}

/// Works off the queue.
struct Worker {
    context: Context,
    concurrency: usize,
    queue: Queue,
    backoff: Backoff,
    wakes: DelayQueue<ServiceKey>,
    /// When each service is to be woken, and why.
    waking: HashMap<ServiceKey, (tokio_util::time::delay_queue::Key, Occasion)>,
    retries: Arc<Mutex<HashMap<ServiceKey, Occasion>>>,
    running: JoinSet<Outcome>,
    /// What each running task works on, and since when.
    services: HashMap<Id, (ServiceKey, Instant)>,
}

impl Worker {
    fn new(context: Context, concurrency: usize) -> Self {
        Self {
            context,
            concurrency,
            queue: Queue::default(),
            backoff: Backoff::default(),
            wakes: DelayQueue::new(),
            waking: HashMap::new(),
            retries: Arc::default(),
            running: JoinSet::new(),
            services: HashMap::new(),
        }
    }

    async fn work(mut self, mut triggered: mpsc::UnboundedReceiver<ServiceKey>, shutdown: CancellationToken) {
        loop {
            self.start_what_waits();
            tokio::select! {
                () = shutdown.cancelled() => break,
                Some(service) = triggered.recv() => self.queue.touch(service),
                Some(expired) = self.wakes.next(), if !self.wakes.is_empty() => self.wake(expired.into_inner()),
                Some(joined) = self.running.join_next_with_id(), if !self.running.is_empty() => self.ended(joined),
            }
        }
        // What is half written is finished: a plan is short.
        let _ = tokio::time::timeout(Duration::from_secs(20), async {
            while self.running.join_next().await.is_some() {}
        })
        .await;
    }

    fn start_what_waits(&mut self) {
        while let Some(service) = self.queue.start(self.concurrency) {
            let occasion = self.lock_retries().remove(&service).unwrap_or(Occasion::Trigger);
            let (context, key) = (self.context.clone(), service.clone());
            // A task of its own: a panic in it is its own.
            let task = self.running.spawn(async move {
                reconcile(&context, &key, occasion).await
            });
            self.services.insert(task.id(), (service, Instant::now()));
        }
        self.context.metrics.set_queue_depth(self.queue.depth());
    }

    fn wake(&mut self, service: ServiceKey) {
        if let Some((_, Occasion::Retry)) = self.waking.remove(&service) {
            self.lock_retries().insert(service.clone(), Occasion::Retry);
        }
        self.queue.touch(service);
    }

    fn ended(&mut self, joined: Result<(Id, Outcome), tokio::task::JoinError>) {
        let (id, outcome) = match joined {
            Ok((id, outcome)) => (id, outcome),
            Err(error) => {
                tracing::error!(%error, service = ?self.services.get(&error.id()), "a look at a service panicked; it is tried again");
                (error.id(), Outcome::Panicked)
            }
        };
        let Some((service, began)) = self.services.remove(&id) else { return };
        let result = match outcome {
            Outcome::Settled { .. } | Outcome::Gone => ReconcileResult::Success,
            Outcome::Failed => ReconcileResult::Failure,
            Outcome::Panicked => ReconcileResult::Panic,
        };
        self.context.metrics.reconciled(result, began.elapsed());
        match outcome {
            Outcome::Settled { wake } => {
                self.backoff.succeeded(&service);
                self.wake_in(&service, wake, Occasion::Trigger);
            }
            Outcome::Failed | Outcome::Panicked => {
                let known = self.context.caches.services.get(&service.namespace, &service.name);
                let generation = known.and_then(|s| s.metadata.generation).unwrap_or_default();
                // A back-off that runs already is not made longer by what happens meanwhile.
                if !matches!(self.waking.get(&service), Some((_, Occasion::Retry))) {
                    let pause = self.backoff.failed(&service, generation, jitter());
                    self.wake_in(&service, Some(pause), Occasion::Retry);
                }
            }
            Outcome::Gone => {
                self.backoff.succeeded(&service);
                self.wake_in(&service, None, Occasion::Trigger);
            }
        }
        self.context.metrics.set_backoff(self.backoff.len());
        self.queue.finish(&service);
    }

    /// Wakes a service after a while, instead of whenever it was to be woken before.
    fn wake_in(&mut self, service: &ServiceKey, after: Option<Duration>, occasion: Occasion) {
        if let Some((key, _)) = self.waking.remove(service) {
            self.wakes.try_remove(&key);
        }
        if let Some(after) = after {
            // A little later than said: clocks of seconds must have moved on.
            let key = self.wakes.insert(service.clone(), after + Duration::from_millis(20));
            self.waking.insert(service.clone(), (key, occasion));
        }
    }

    fn lock_retries(&self) -> std::sync::MutexGuard<'_, HashMap<ServiceKey, Occasion>> {
        self.retries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// From 0 to 1, different enough from one call to the next to keep services apart.
fn jitter() -> f64 {
    let nanos = super::entry::now().subsec_nanosecond();
    f64::from(nanos.rem_euclid(1_000_000)) / 1_000_000.0
}
