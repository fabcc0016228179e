//! The content of tracked ConfigMaps and Secrets. Only their metadata is watched; content is read once for each version.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{Api, Client};

use super::cache::ServiceKey;
use super::request::bounded;
use super::run::SecretTracking;
use super::streams::Caches;
use crate::revision::{SnapshotContent, SnapshotSource, SourceKind};
use crate::rollout::Source;

/// A source, a place and a version.
type Version = (SourceKind, String, String, String, u64);

/// The contents that were read.
#[derive(Debug, Default)]
pub struct Contents {
    known: Mutex<HashMap<Version, SnapshotContent>>,
}

impl Contents {
    /// What is in `source` now. Notes that `service` uses it, so that a change of it triggers the service.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    pub async fn of(
        &self,
        client: &Client,
        caches: &Caches,
        tracking: SecretTracking,
        service: &ServiceKey,
        source: &SnapshotSource,
    ) -> Result<Source, kube::Error> {
        if source.kind == SourceKind::Secret && tracking == SecretTracking::Disabled {
            return Ok(Source::Forbidden);
        }
        let key = (source.kind, service.namespace.clone(), source.name.clone());
        caches
            .users
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(key)
            .or_default()
            .insert(service.clone());
        let entries = match source.kind {
            SourceKind::ConfigMap => &caches.config_maps,
            SourceKind::Secret => &caches.secrets,
        };
        let Some(entry) = entries.get(&service.namespace, &source.name) else {
            return Ok(Source::Absent);
        };
        let (uid, version) = entry.stamp();
        let version: Version = (
            source.kind,
            service.namespace.clone(),
            source.name.clone(),
            uid,
            version,
        );
        if let Some(content) = self.lock().get(&version) {
            return Ok(Source::Present(content.clone()));
        }
        let Some(content) = read(client, service, source).await? else {
            return Ok(Source::Absent);
        };
        let mut known = self.lock();
        // Older versions of this source are of no use any more.
        known.retain(|(kind, namespace, name, _, _), _| {
            (kind, namespace, name) != (&version.0, &version.1, &version.2)
        });
        known.insert(version, content.clone());
        Ok(Source::Present(content))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Version, SnapshotContent>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    client: &Client,
    service: &ServiceKey,
    source: &SnapshotSource,
) -> Result<Option<SnapshotContent>, kube::Error> {
    match source.kind {
        SourceKind::ConfigMap => {
            let api: Api<ConfigMap> = Api::namespaced(client.clone(), &service.namespace);
            Ok(bounded(api.get_opt(&source.name))
                .await?
                .map(|object| SnapshotContent::of_config_map(&object)))
        }
        SourceKind::Secret => {
            let api: Api<Secret> = Api::namespaced(client.clone(), &service.namespace);
            Ok(bounded(api.get_opt(&source.name))
                .await?
                .map(|object| SnapshotContent::of_secret(&object)))
        }
    }
}
