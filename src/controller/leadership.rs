//! The election on the API server: reads, watches and writes the Lease as `leader` decides, and tells who works whether
//! this process acts.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::PostParams;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Error};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::words;
use super::request::bounded;
use crate::leader::{Election, Next, Setback, Standing, Terms};
use crate::telemetry::Metrics;

/// How long a process that ends tries to give its Lease back.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// A term of leadership, while there is one. The token is cancelled when it ends.
pub type Term = Option<CancellationToken>;

/// Whether replicas are told apart.
#[derive(Clone, Debug)]
pub enum LeaderElection {
    /// By a Lease.
    ByLease(Candidacy),
    /// There is only this process.
    Disabled,
}

/// For what this process stands.
#[derive(Clone, Debug)]
pub struct Candidacy {
    /// Where the Lease is.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// This process, and no other one ever.
    pub identity: String,
    /// For how long it is good.
    pub terms: Terms,
}

impl fmt::Display for Candidacy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Stands for the Lease until `leave`, and gives it back then. `told` learns of each term.
pub async fn stand(
    client: Client,
    candidacy: Candidacy,
    metrics: &Metrics,
    told: &watch::Sender<Term>,
    leave: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client, &candidacy.namespace);
    let mut election = Election::new(&candidacy.name, &candidacy.identity, candidacy.terms);
    let one = watcher::Config::default().fields(&format!("metadata.name={}", candidacy.name));
    let mut changes = pin!(watcher(api.clone(), one).default_backoff());
    let began = Instant::now();
    let mut listed = None;
    let mut complaint = String::new();
    loop {
        tell(told, &election, metrics, &candidacy);
        let asked = began.elapsed();
        let answer = match election.next(asked, Timestamp::now()) {
            Next::StepDown => {
                tracing::warn!(lease = %candidacy, "no renewal of the Lease was accepted in time: another replica may act now");
                election.stepped_down();
                continue;
            }
            Next::Wait(until) => {
                tokio::select! {
                    () = leave.cancelled() => break,
                    () = tokio::time::sleep_until(began + until) => {}
                    change = changes.next() => match change {
                        Some(Ok(Event::Init)) => listed = None,
                        Some(Ok(Event::InitApply(lease))) => listed = Some(lease),
                        Some(Ok(Event::InitDone)) => election.saw(listed.take(), began.elapsed()),
                        Some(Ok(Event::Apply(lease))) => election.saw(Some(lease), began.elapsed()),
                        Some(Ok(Event::Delete(_))) => election.saw(None, began.elapsed()),
                        // The watch is a short cut: without it a Lease that seems free is read before it is taken.
                        Some(Err(error)) => {
                            metrics.watch_failed("leases");
                            tracing::debug!(lease = %candidacy, error = %words(&error), "the Lease cannot be watched");
                        }
                        None => {}
                    },
                }
                continue;
            }
            Next::Look => tokio::select! {
                // Reading leaves nothing behind: there is no need to wait for it.
                () = leave.cancelled() => break,
                found = in_time(&election, began, api.get_opt(&candidacy.name)) => {
                    found.map(|found| election.saw(found, began.elapsed()))
                }
            },
            Next::Create(lease) => {
                let params = PostParams::default();
                let created = api.create(&params, &lease);
                in_time(&election, began, created)
                    .await
                    .map(|lease| election.accepted(lease, asked))
            }
            Next::Replace(lease) => {
                let params = PostParams::default();
                let replaced = api.replace(&candidacy.name, &params, &lease);
                in_time(&election, began, replaced)
                    .await
                    .map(|lease| election.accepted(lease, asked))
            }
        };
        match answer {
            Ok(()) => complaint.clear(),
            Err(error) => {
                let setback = setback_of(&error);
                election.failed(setback, began.elapsed());
                let now = words(&error);
                if setback == Setback::Failure && now != complaint {
                    tracing::warn!(
                        lease = %candidacy, error = %now,
                        "the Lease cannot be read or written; without it this replica does not act"
                    );
                    complaint = now;
                }
            }
        }
    }
    if let Some(lease) = election.released(Timestamp::now()) {
        let params = PostParams::default();
        let replaced = api.replace(&candidacy.name, &params, &lease);
        match tokio::time::timeout(GIVE_BACK, replaced).await {
            Ok(Ok(_)) => tracing::info!(lease = %candidacy, "the Lease is given back"),
            Ok(Err(error)) => {
                tracing::warn!(lease = %candidacy, error = %words(&error), "the Lease could not be given back: it runs out by itself");
            }
            Err(_) => {
                tracing::warn!(lease = %candidacy, "the Lease could not be given back in time: it runs out by itself");
            }
        }
    }
    metrics.stands(Standing::Standby);
    told.send_replace(None);
}

/// A request, bounded by the end of this process' leadership too: a renewal that hangs must not be waited for beyond it.
async fn in_time<T>(
    election: &Election,
    began: Instant,
    request: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    let request = bounded(request);
    let Some(deadline) = election.deadline() else {
        return request.await;
    };
    // Half of what is left, so that one answer that never comes leaves the time for another try.
    let left = deadline.saturating_sub(began.elapsed()) / 2;
    match tokio::time::timeout(left, request).await {
        Ok(answer) => answer,
        Err(elapsed) => Err(Error::Service(Box::new(elapsed))),
    }
}

/// A Lease that is gone, or there already, or another one by now.
fn setback_of(error: &Error) -> Setback {
    match error {
        Error::Api(status) if status.code == 409 || status.code == 404 => Setback::Conflict,
        _ => Setback::Failure,
    }
}

/// Begins or ends a term, where what is so is not what was told.
fn tell(told: &watch::Sender<Term>, election: &Election, metrics: &Metrics, candidacy: &Candidacy) {
    let current = told.borrow().clone();
    match (election.standing(), current) {
        (Standing::Leader, None) => {
            tracing::info!(lease = %candidacy, identity = %candidacy.identity, "this replica is the leader");
            metrics.stands(Standing::Leader);
            told.send_replace(Some(CancellationToken::new()));
        }
        (Standing::Standby, Some(term)) => {
            tracing::warn!(lease = %candidacy, holder = election.holder(), "this replica is the leader no more");
            metrics.stands(Standing::Standby);
            term.cancel();
            told.send_replace(None);
        }
        (Standing::Leader, Some(_)) | (Standing::Standby, None) => {}
    }
}
