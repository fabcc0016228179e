//! Kinds that come with a CRD: watched while the CRD is there. They may be absent, appear later and disappear.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use futures::StreamExt;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::PartialObjectMeta;
use kube::runtime::watcher::{self, Event};
use kube::runtime::{WatchStreamExt, watcher::watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::streams::{Followed, Warm, Watching};
use crate::render::{ChildKind, KindPresence};

/// The optional kind whose CRD has this name.
fn kind_of(crd: &str) -> Option<ChildKind> {
    ChildKind::ALL
        .into_iter()
        .filter(|kind| kind.presence() == KindPresence::Optional)
        .find(|kind| crd == format!("{}.{}", kind.plural(), kind.group()))
}

/// A kind that is watched while its CRD is there.
struct Served {
    followed: Followed,
    /// Says that it is served, once its first list is there.
    announcement: AbortHandle,
}

/// Follows the CRDs of the optional kinds. Warm when the kinds that are there at the start are.
pub fn start(watching: Watching) -> Warm {
    let (told, warm) = watch::channel(false);
    tokio::spawn(async move { follow(watching, told).await });
    warm
}

async fn follow(watching: Watching, told: watch::Sender<bool>) {
    let api: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(watching.client.clone());
    let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut running: BTreeMap<ChildKind, Served> = BTreeMap::new();
    let mut listed = Vec::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(crd)) => listed.extend(kind_of(&crd.name_any())),
            Ok(Event::InitDone) => {
                for kind in running
                    .keys()
                    .copied()
                    .filter(|kind| !listed.contains(kind))
                    .collect::<Vec<_>>()
                {
                    stop(&watching, &mut running, kind);
                }
                let warm: Vec<Warm> = listed
                    .iter()
                    .filter_map(|kind| serve(&watching, &mut running, *kind))
                    .collect();
                if !*told.borrow() {
                    let patience = std::time::Duration::from_secs(10);
                    let all = futures::future::join_all(warm.into_iter().map(until_warm));
                    // A CRD whose kind cannot be listed must not keep everything else from starting.
                    let _ = tokio::time::timeout(patience, all).await;
                    told.send_replace(true);
                }
            }
            Ok(Event::Apply(crd)) => {
                if let Some(kind) = kind_of(&crd.name_any()) {
                    serve(&watching, &mut running, kind);
                }
            }
            Ok(Event::Delete(crd)) => {
                if let Some(kind) = kind_of(&crd.name_any()) {
                    stop(&watching, &mut running, kind);
                }
            }
            Err(error) => {
                watching.metrics.watch_failed("customresourcedefinitions");
                tracing::warn!(
                    error = %super::error::words(&error),
                    "CRDs cannot be watched: routes of gateways and meshes and monitors are served when they can be"
                );
                // Without this right the optional kinds stay unserved, and everything else works.
                told.send_replace(true);
            }
        }
    }
}

/// Waits for the first complete list.
pub async fn until_warm(mut warm: Warm) {
    let _ = warm.wait_for(|is| *is).await;
}

fn serve(watching: &Watching, running: &mut BTreeMap<ChildKind, Served>, kind: ChildKind) -> Option<Warm> {
    if running.contains_key(&kind) {
        return None;
    }
    let followed = watching.follow_children(kind);
    let told = watching.clone();
    let mut listed = followed.warm.clone();
    // Warm is who knows that it is served, not only who has its list: else its objects would be taken for superfluous.
    let (known, warm) = watch::channel(false);
    let task = tokio::spawn(async move {
        if listed.wait_for(|is| *is).await.is_ok() {
            told.caches
                .served
                .write()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(kind);
            known.send_replace(true);
            tracing::info!(kind = kind.kind(), "this kind is served");
            touch_all(&told);
        }
    });
    running.insert(
        kind,
        Served {
            followed,
            announcement: task.abort_handle(),
        },
    );
    Some(warm)
}

fn stop(watching: &Watching, running: &mut BTreeMap<ChildKind, Served>, kind: ChildKind) {
    if let Some(served) = running.remove(&kind) {
        served.announcement.abort();
        served.followed.stop();
    }
    watching
        .caches
        .served
        .write()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&kind);
    if let Some(cache) = watching.caches.children.get(&kind) {
        cache.clear();
    }
    watching.caches.claims.replace(kind, None, Vec::new());
    tracing::info!(kind = kind.kind(), "this kind is not served any more");
    touch_all(watching);
}

fn touch_all(watching: &Watching) {
    for service in watching.caches.services.all() {
        if let Some(key) = super::cache::Cached::service(&*service) {
            let _ = watching.triggers.send(key);
        }
    }
}
