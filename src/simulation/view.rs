//! What the operator's caches show of the model, and what the engine observes by them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::api_server::{ApiServer, Stored};
use super::cluster::{Cluster, Pod, of_deployment};
use crate::api::{Blame, Microservice, labels};
use crate::health::{Fault, JobOutcome};
use crate::render::{ChildKind, KindPresence};
use crate::rollout::{
    ChildKey, DeploymentView, Endpoints, JobView, Observed, Ownership, ReplicasHolder, is_route, sought,
    sought_deployment,
};
use crate::traffic::form;

/// What the caches show.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The Microservice.
    pub service: Microservice,
    /// Who holds its replicas.
    pub holder: ReplicasHolder,
    /// Its children.
    pub objects: BTreeMap<ChildKey, Stored>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Ready endpoints of the root Service.
    pub endpoints: Endpoints,
    /// Ready endpoints of the other Services.
    pub services: BTreeMap<String, i32>,
}

/// What the caches do not show.
pub struct Beside<'a> {
    /// Optional kinds that the cluster serves.
    pub served: &'a BTreeSet<ChildKind>,
    /// Why Deployments cannot make pods, by revision.
    pub quota: &'a BTreeMap<String, String>,
    /// How a Job stands.
    pub job: &'a dyn Fn(&Stored) -> JobOutcome,
}

impl View {
    /// All as it is.
    pub fn of(api: &ApiServer, cluster: &Cluster) -> Self {
        Self {
            service: api.service.clone(),
            holder: api.holder.clone(),
            objects: api.objects.clone(),
            pods: cluster.pods.clone(),
            endpoints: cluster.endpoints.clone(),
            services: cluster.services.clone(),
        }
    }

    /// Whether it shows all as it is.
    pub fn is_of(&self, api: &ApiServer, cluster: &Cluster) -> bool {
        self.endpoints == cluster.endpoints
            && self.services == cluster.services
            && self.pods == cluster.pods
            && self.objects == api.objects
            && self.service == api.service
    }

    /// Since when each route has been accepted as it is, with its form; by what was known of that.
    pub fn accepted(
        &self,
        known: &BTreeMap<ChildKey, (String, Timestamp)>,
        now: Timestamp,
    ) -> BTreeMap<ChildKey, (String, Timestamp)> {
        let uid = self.service.metadata.uid.as_deref().unwrap_or_default();
        let routes = self.objects.iter().filter(|(key, _)| is_route(key.0));
        let accepted = routes.filter_map(|(key, stored)| {
            let live = stored.live(uid);
            let form = form(key.0, &live.uid, &live.object)?;
            let since = match known.get(key) {
                Some((known, since)) if *known == form => *since,
                Some(_) | None => now,
            };
            Some((key.clone(), (form, since)))
        });
        accepted.collect()
    }

    /// What the engine observes by it; what the operator itself remembers is not in it.
    pub fn observed(self, beside: &Beside<'_>) -> Observed {
        let mut observed = Observed {
            service: self.service,
            replicas_holder: self.holder,
            endpoints: self.endpoints,
            service_endpoints: self.services,
            served_kinds: beside.served.clone(),
            ..Observed::default()
        };
        let uid = observed.uid().to_owned();
        let sought = sought(&observed);
        let deployment = sought_deployment(&observed);
        for (key, stored) in self.objects {
            let scales = stored
                .object
                .pointer("/spec/scaleTargetRef/name")
                .and_then(|name| name.as_str())
                .is_some_and(|name| Some(name) == deployment.as_deref());
            if stored.ownership(&uid) == Ownership::Foreign && (sought.contains(&key) || scales) {
                observed.found.insert(key, stored.live(&uid));
                continue;
            }
            if key.0.presence() == KindPresence::Optional && !beside.served.contains(&key.0) {
                continue;
            }
            if key.0 == ChildKind::ControllerRevision {
                match stored.record() {
                    Some(record) => drop(observed.records.insert(key.1.clone(), record)),
                    None => observed.unreadable.push(format!("{} cannot be read", key.1)),
                }
            }
            if key.0 == ChildKind::Deployment {
                let revision = stored.label(labels::REVISION).unwrap_or_default();
                let failure = beside.quota.get(revision).map(|message| Fault {
                    blame: Blame::Environment,
                    reason: "QuotaExceeded".to_owned(),
                    message: message.clone(),
                });
                let (pods, unclaimed) = of_deployment(&self.pods, &stored.uid);
                if !unclaimed.is_empty() {
                    observed.unclaimed.insert(revision.to_owned(), unclaimed);
                }
                let deployment = DeploymentView {
                    pods,
                    ..stored.deployment(failure)
                };
                observed.deployments.insert(key.1.clone(), deployment);
            }
            if key.0 == ChildKind::Job {
                let view = JobView {
                    outcome: (beside.job)(&stored),
                    words: None,
                };
                observed.jobs.insert(key.1.clone(), view);
            }
            observed.children.insert(key, stored.live(&uid));
        }
        for pod in self.pods.iter().filter(|pod| !pod.revision.is_empty()) {
            observed
                .pods
                .entry(pod.revision.clone())
                .or_default()
                .push(pod.snapshot());
        }
        observed
    }
}
