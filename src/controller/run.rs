//! The process: starts the watches, waits until the caches are warm, and works off the queue until it is told to stop.

use std::sync::Arc;

use kube::Client;
use kube::runtime::events::Reporter;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::cache::{Cached, ServiceKey};
use super::call::Calls;
use super::delivery::{Deliveries, ReadSecret, SecretsOfCluster};
use super::features::Features;
use super::leadership::{self, LeaderElection, Term};
use super::measuring::Measurers;
use super::memory::Memory;
use super::optional;
use super::reconcile::{Context, reconcile};
use super::sampling::Samplers;
use super::slots::{Need, Slots};
use super::sources::Contents;
use super::streams::{Caches, Watching};
use super::worker::{Ended, Worker};
use crate::http::Readiness;
use crate::leader::Standing;
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
    /// Which of several replicas acts.
    pub election: LeaderElection,
    /// Who counts.
    pub metrics: Arc<Metrics>,
    /// Who is told when the caches are warm.
    pub readiness: Readiness,
}

/// Runs until `shutdown`. What is being worked on then is finished first.
///
/// A replica that does not act watches all the same, so that it can act at once; only what has warm caches stands for the
/// leadership.
pub async fn run(options: Options, shutdown: CancellationToken) {
    let (triggers, mut triggered) = mpsc::unbounded_channel();
    let caches = Arc::new(Caches::new());
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
    let (told, mut terms) = watch::channel(None);
    let leave = CancellationToken::new();
    let standing = async {
        match options.election.clone() {
            LeaderElection::ByLease(candidacy) => {
                leadership::stand(
                    options.client.clone(),
                    candidacy,
                    &options.metrics,
                    &told,
                    leave.clone(),
                )
                .await;
            }
            LeaderElection::Disabled => {
                options.metrics.stands(Standing::Leader);
                told.send_replace(Some(CancellationToken::new()));
                leave.cancelled().await;
            }
        }
    };
    let acting = async {
        while let Some(term) = begun(&mut terms, &mut triggered, &shutdown).await {
            let ended = act(&options, &caches, (&triggers, &mut triggered), &shutdown, &term).await;
            if ended == Ended::Told {
                break;
            }
            tracing::warn!("what was under way is cut off; this replica stands by");
        }
        // Only now: nothing of this process is under way any more.
        leave.cancel();
    };
    tokio::join!(standing, acting);
}

/// Waits for a term of leadership; none where the process is told to stop before. What happens meanwhile is in the
/// caches, and nobody need be told.
async fn begun(
    terms: &mut watch::Receiver<Term>,
    triggered: &mut mpsc::UnboundedReceiver<ServiceKey>,
    shutdown: &CancellationToken,
) -> Term {
    loop {
        let term = terms.borrow_and_update().clone();
        if let Some(term) = term.filter(|term| !term.is_cancelled()) {
            return Some(term);
        }
        tokio::select! {
            () = shutdown.cancelled() => return None,
            changed = terms.changed() => if changed.is_err() { return None },
            Some(_) = triggered.recv() => {}
        }
    }
}

/// Works for a term of leadership. Nothing but the caches is older than it.
async fn act(
    options: &Options,
    caches: &Arc<Caches>,
    (triggers, triggered): (
        &mpsc::UnboundedSender<ServiceKey>,
        &mut mpsc::UnboundedReceiver<ServiceKey>,
    ),
    shutdown: &CancellationToken,
    term: &CancellationToken,
) -> Ended {
    let services = caches.services.all();
    let under_way = services
        .iter()
        .filter(|service| {
            let status = service.service.status.as_ref();
            status.is_some_and(|status| Need::of(status, Slot::Free) == Need::Place)
        })
        .filter_map(|service| service.service());
    let slots = Arc::new(Slots::new(options.max_rollouts, under_way));
    let secrets: Arc<dyn ReadSecret> = Arc::new(SecretsOfCluster::new(options.client.clone()));
    let context = Context {
        client: options.client.clone(),
        caches: Arc::clone(caches),
        memory: Arc::new(Memory::default()),
        contents: Arc::new(Contents::default()),
        reporter: Reporter {
            controller: "microservice-operator".to_owned(),
            instance: options.instance.clone(),
        },
        metrics: Arc::clone(&options.metrics),
        writes: Arc::new(Semaphore::new(WRITES_IN_FLIGHT)),
        calls: Arc::new(Calls::new(triggers.clone())),
        deliveries: Arc::new(Deliveries::new(
            Arc::clone(&secrets),
            Arc::clone(&options.metrics),
            triggers.clone(),
        )),
        samplers: Arc::new(Samplers::new(
            Arc::clone(caches),
            Arc::clone(&options.metrics),
            Arc::clone(&secrets),
            triggers.clone(),
        )),
        measurers: Arc::new(Measurers::new(secrets, triggers.clone())),
        secrets: options.secrets,
        features: Arc::new(Features::default()),
        slots,
        triggers: triggers.clone(),
    };
    // Whatever was told so far may have been told to nobody.
    for service in services.iter().filter_map(|service| service.service()) {
        let _ = triggers.send(service);
    }
    let looking = context.clone();
    let look = move |key: ServiceKey, occasion| {
        let context = looking.clone();
        async move { reconcile(&context, &key, occasion).await }
    };
    let worker = Worker::new(look, Arc::clone(&options.metrics), options.concurrency);
    let ended = worker.work(triggered, shutdown, term).await;
    context.end();
    ended
}
