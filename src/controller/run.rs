//! The process: starts the watches, waits until the caches are warm, and works off the queue until it is told to stop.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::Reporter;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::cache::{Cached, ServiceKey};
use super::call::Calls;
use super::delivery::{Deliveries, ReadSecret, SecretsOfCluster};
use super::features::Features;
use super::measuring::Measurers;
use super::memory::Memory;
use super::optional;
use super::reconcile::{Context, reconcile};
use super::sampling::Samplers;
use super::slots::{Need, Slots};
use super::sources::Contents;
use super::streams::{Caches, Watching};
use super::worker::Worker;
use crate::http::Readiness;
use crate::rollout::Slot;
use crate::telemetry::Metrics;

/// Writes in flight. An API server gets no faster beyond a few, but writes that hang until their time is over must not
/// take the places of all others.
const WRITES_IN_FLIGHT: usize = 32;

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
    /// How many rollouts may be under way at a time; `None`: as many as are asked for.
    pub max_rollouts: Option<usize>,
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
    let calls = Arc::new(Calls::new(triggers.clone()));
    let secrets: Arc<dyn ReadSecret> = Arc::new(SecretsOfCluster::new(options.client.clone()));
    let deliveries = Arc::new(Deliveries::new(
        Arc::clone(&secrets),
        Arc::clone(&options.metrics),
        triggers.clone(),
    ));
    let watching = Watching {
        client: options.client.clone(),
        scope: options.scope.clone(),
        caches: Arc::clone(&caches),
        triggers: triggers.clone(),
        metrics: Arc::clone(&options.metrics),
    };
    let mut gates = watching.start(options.secrets);
    gates.push(("customresourcedefinitions", optional::start(watching)));
    let opening: Vec<_> = gates
        .into_iter()
        .map(|(name, warm)| {
            let gate = options.readiness.gate(name);
            async move {
                optional::until_warm(warm).await;
                gate.open();
            }
        })
        .collect();
    options.readiness.completed();
    let warm = futures::future::join_all(opening);
    tokio::select! {
        _ = warm => tracing::info!("caches are warm"),
        () = shutdown.cancelled() => return,
    }
    let under_way = caches
        .services
        .all()
        .into_iter()
        .filter(|service| {
            let status = service.service.status.as_ref();
            status.is_some_and(|status| Need::of(status, Slot::Free) == Need::Place)
        })
        .filter_map(|service| service.service());
    let slots = Arc::new(Slots::new(options.max_rollouts, under_way));
    let samplers = Arc::new(Samplers::new(
        Arc::clone(&caches),
        Arc::clone(&options.metrics),
        Arc::clone(&secrets),
        triggers.clone(),
    ));
    let measurers = Arc::new(Measurers::new(secrets, triggers.clone()));
    let context = Context {
        client: options.client.clone(),
        caches,
        memory: Arc::new(Memory::default()),
        contents: Arc::new(Contents::default()),
        reporter: Reporter {
            controller: "microservice-operator".to_owned(),
            instance: options.instance,
        },
        metrics: options.metrics,
        writes: Arc::new(Semaphore::new(WRITES_IN_FLIGHT)),
        calls,
        deliveries,
        samplers,
        measurers,
        secrets: options.secrets,
        features: Arc::new(Features::default()),
        slots,
        triggers,
    };
    let metrics = Arc::clone(&context.metrics);
    let look = move |key: ServiceKey, occasion| {
        let context = context.clone();
        async move { reconcile(&context, &key, occasion).await }
    };
    Worker::new(look, metrics, options.concurrency)
        .work(triggered, shutdown)
        .await;
}
