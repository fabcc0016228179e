//! What a first deployment of a Microservice would be, without a cluster to ask.

use k8s_openapi::api::core::v1::{ConfigMap, Secret};

use super::{
    Child, Exposure, Identity, Scraped, Selection, config_maps, dashboard, deployment, disruption_budget,
    horizontal_pod_autoscaler, monitor, network_policy, new_record, preview_service, prometheus_rule, record,
    revision_service, secret_copy, service, service_account,
};
use crate::api::{Microservice, OperationSpec, StepAffinity, StrategyType};
use crate::revision::{
    Record, RecordedSnapshot, RevisionInput, SnapshotContent, SnapshotSource, SourceKind, sources,
};
use crate::traffic::{self, Split};

/// ConfigMaps and Secrets that are known to stand beside a Microservice.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Companions {
    /// The ConfigMaps.
    pub config_maps: Vec<ConfigMap>,
    /// The Secrets.
    pub secrets: Vec<Secret>,
}

impl Companions {
    fn config_map(&self, name: &str) -> Option<&ConfigMap> {
        self.config_maps
            .iter()
            .find(|object| object.metadata.name.as_deref() == Some(name))
    }

    fn secret(&self, name: &str) -> Option<&Secret> {
        self.secrets
            .iter()
            .find(|object| object.metadata.name.as_deref() == Some(name))
    }

    /// What is in a tracked source; `None` where it is not among them.
    pub fn content(&self, source: &SnapshotSource) -> Option<SnapshotContent> {
        match source.kind {
            SourceKind::ConfigMap => self.config_map(&source.name).map(SnapshotContent::of_config_map),
            SourceKind::Secret => self.secret(&source.name).map(SnapshotContent::of_secret),
        }
    }

    /// The tracked sources of `service` that are not among them. What is in them is not known, so a rendered
    /// revision refers to them by their own names and is called otherwise than it will be in the cluster.
    pub fn missing(&self, service: &Microservice) -> Vec<SnapshotSource> {
        sources(&service.spec.revision)
            .into_keys()
            .filter(|source| self.content(source).is_none())
            .collect()
    }
}

/// All objects of a first deployment of `service` in `namespace`, in the order in which they are applied.
pub fn offline(service: &Microservice, namespace: &str, companions: &Companions) -> Vec<Child> {
    let identity = Identity::of(service, namespace);
    let snapshots = sources(&service.spec.revision)
        .into_keys()
        .filter_map(|source| {
            Some(RecordedSnapshot {
                content: Some(companions.content(&source)?),
                source,
            })
        })
        .collect();
    let record = new_record(&identity, RevisionInput::of(&service.spec), snapshots, 0, 1, 0);
    let mut children = revision_children(&identity, &record, &service.spec.operation, companions);
    children.extend(shared_children(&identity, &record, service));
    children.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    children
}

fn revision_children(
    identity: &Identity<'_>,
    of: &Record,
    operation: &OperationSpec,
    companions: &Companions,
) -> Vec<Child> {
    let replicas = operation.first_replicas();
    let fewest = operation
        .autoscaling
        .as_ref()
        .map_or(replicas, |bounds| bounds.min_replicas.min(replicas));
    let mut children = vec![record(identity, of), deployment(identity, of, replicas)];
    children.extend(config_maps(identity, of));
    children.extend(
        of.data
            .snapshots
            .iter()
            .filter_map(|snapshot| match snapshot.source.kind {
                SourceKind::ConfigMap => None,
                SourceKind::Secret => {
                    let secret = companions.secret(&snapshot.source.name)?;
                    Some(secret_copy(identity, of, &snapshot.source, secret))
                }
            }),
    );
    children.extend(service_account(identity, &of.data.input));
    children.extend(disruption_budget(identity, of, operation, fewest));
    children
}

fn shared_children(identity: &Identity<'_>, of: &Record, described: &Microservice) -> Vec<Child> {
    let exposure = Exposure::of(&described.spec.exposure);
    let operation = &described.spec.operation;
    let strategy = operation.strategy();
    let router = strategy.router();
    let stepped = match strategy.strategy_type() {
        StrategyType::Canary | StrategyType::BlueGreen => true,
        StrategyType::RollingUpdate | StrategyType::Recreate => false,
    };
    let split = (stepped && traffic::routes_split(&exposure, router)).then(|| Split {
        stable: of.name.clone(),
        candidate: None,
        affinity: StepAffinity::Disabled,
    });
    let mut children = traffic::routes(identity, &exposure, router, split.as_ref());
    if split.is_some() {
        children.extend(revision_service(identity, &of.name, &exposure));
    }
    if strategy.has_preview() {
        children.extend(preview_service(identity, &of.name, &exposure));
    }
    let scraped = match split {
        Some(_) => Scraped::Revisions,
        None => Scraped::Root,
    };
    children.extend(service(identity, &exposure, Selection::Revision(&of.name)));
    children.extend(network_policy(identity, &exposure));
    children.extend(
        operation
            .monitoring
            .as_ref()
            .and_then(|wanted| monitor(identity, wanted, &exposure, scraped)),
    );
    children.extend(prometheus_rule(identity, &described.spec));
    children.extend(dashboard(identity, &described.spec));
    if operation.first_replicas() > 0 {
        children.extend(
            operation
                .autoscaling
                .as_ref()
                .map(|wanted| horizontal_pod_autoscaler(identity, wanted)),
        );
    }
    children
}
