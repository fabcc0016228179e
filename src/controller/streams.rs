//! Watches: each kind has one stream of its own that feeds its cache and says which services are touched.
//!
//! A watch that fails is logged, counted and tried again with back-off; no other one slows down for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures::{Stream, StreamExt};
use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{ApiResource, DynamicObject, PartialObjectMeta};
use kube::core::DeserializeGuard;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event};
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;

use super::cache::{Cache, Cached, Put, ServiceKey};
use super::claims::{Claimant, Claims};
use super::entry::{ChildEntry, JobPod, ServiceEntry, SourceEntry, pruned_node, pruned_pod};
use super::run::Scope;
use crate::api::{Microservice, labels};
use crate::health::ExitLedger;
use crate::render::{ChildKind, KindPresence};
use crate::revision::SourceKind;
use crate::rollout::is_route;
use crate::telemetry::Metrics;
use crate::traffic::claims;

/// All caches, and what connects them.
#[derive(Debug, Default)]
pub struct Caches {
    /// The Microservices.
    pub services: Cache<ServiceEntry>,
    /// Their children, by kind.
    pub children: BTreeMap<ChildKind, Cache<ChildEntry>>,
    /// Their pods.
    pub pods: Cache<Pod>,
    /// The pods of their Jobs.
    pub job_pods: Cache<JobPod>,
    /// What is remembered of exits.
    pub ledger: Mutex<ExitLedger>,
    /// The endpoints of their Services.
    pub slices: Cache<EndpointSlice>,
    /// All nodes.
    pub nodes: Cache<Node>,
    /// All disruption budgets, also those of others.
    pub budgets: Cache<PodDisruptionBudget>,
    /// The metadata of all ConfigMaps.
    pub config_maps: Cache<SourceEntry>,
    /// The metadata of all Secrets, where these are tracked.
    pub secrets: Cache<SourceEntry>,
    /// Which services use which source.
    pub users: Mutex<HashMap<(SourceKind, String, String), HashSet<ServiceKey>>>,
    /// The addresses that routes claim, also those of others.
    pub claims: Claims,
    /// The optional kinds that are served.
    pub served: RwLock<BTreeSet<ChildKind>>,
}

impl Caches {
    /// Empty ones.
    pub fn new() -> Self {
        let children = ChildKind::ALL
            .into_iter()
            .map(|kind| (kind, Cache::default()))
            .collect();
        Self {
            children,
            ..Self::default()
        }
    }

    /// The services that use a source.
    fn users_of(&self, kind: SourceKind, namespace: &str, name: &str) -> Vec<ServiceKey> {
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (kind, namespace.to_owned(), name.to_owned());
        users
            .get(&key)
            .map(|services| services.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Takes a pod as it is now, from the watch or from a write of ours. First into the cache, then into the ledger: who
    /// looks in between sees a pod without its last moment, never an old pod with a later history, which would look
    /// like one that has lost its readiness.
    pub fn put_pod(&self, pod: Pod) -> Vec<ServiceKey> {
        let pod = pruned_pod(pod);
        let seen = pod.clone();
        match self.pods.put(pod) {
            Put::Taken(_) => {
                self.ledger
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .observe(&seen);
                seen.service().into_iter().collect()
            }
            Put::Stale => Vec::new(),
        }
    }

    /// The services with a pod on a node.
    fn services_on(&self, node: &str) -> Vec<ServiceKey> {
        let pods = self.pods.all();
        let here = pods
            .iter()
            .filter(|pod| pod.spec.as_ref().and_then(|s| s.node_name.as_deref()) == Some(node));
        here.filter_map(|pod| pod.service())
            .collect::<HashSet<_>>()
            .into_iter()
            .collect()
    }
}

/// What a watch needs.
#[derive(Clone)]
pub struct Watching {
    /// The client.
    pub client: Client,
    /// Where to watch.
    pub scope: Scope,
    /// What is fed.
    pub caches: Arc<Caches>,
    /// Who is told.
    pub triggers: mpsc::UnboundedSender<ServiceKey>,
    /// Who counts.
    pub metrics: Arc<Metrics>,
}

/// What a kind's events do to its cache; each answers the services that are touched.
struct Feed<K> {
    list: TakeList<K>,
    put: TakeObject<K>,
    remove: TakeAway<K>,
}

/// Takes a complete list, of a namespace or of all.
type TakeList<K> = Box<dyn Fn(&Caches, Option<&str>, Vec<K>) -> Vec<ServiceKey> + Send + Sync>;
/// Takes a new or changed object.
type TakeObject<K> = Box<dyn Fn(&Caches, K) -> Vec<ServiceKey> + Send + Sync>;
/// Takes an object away.
type TakeAway<K> = Box<dyn Fn(&Caches, &K) -> Vec<ServiceKey> + Send + Sync>;

/// Tells when the first complete list of a stream is in its cache.
pub type Warm = watch::Receiver<bool>;

/// A watch that was started.
pub struct Followed {
    /// When its cache is warm.
    pub warm: Warm,
    /// The tasks that follow it.
    tasks: Vec<AbortHandle>,
}

impl Followed {
    /// Ends it.
    pub fn stop(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Whether work can begin before a kind is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It decides what runs: nothing is done without it.
    Required,
    /// Its objects are only written. One that is not known is found by the conflict when it is applied; where the kind
    /// may not be listed, the condition of that write says so, and everything else is served.
    Written,
}

impl Need {
    fn of(kind: ChildKind) -> Self {
        match kind {
            ChildKind::ControllerRevision | ChildKind::Deployment | ChildKind::Service => Self::Required,
            // Copies that pods mount, and sources whose absence would mean another revision.
            ChildKind::ConfigMap | ChildKind::Secret => Self::Required,
            ChildKind::ServiceAccount
            | ChildKind::NetworkPolicy
            | ChildKind::Job
            | ChildKind::PodDisruptionBudget
            | ChildKind::HorizontalPodAutoscaler
            | ChildKind::Ingress
            | ChildKind::HttpRoute
            | ChildKind::GrpcRoute
            | ChildKind::VirtualService
            | ChildKind::ServiceMonitor
            | ChildKind::PodMonitor
            | ChildKind::PrometheusRule => Self::Written,
        }
    }
}

impl Watching {
    /// Starts the watches of all kinds that every cluster has. Answers when each of them is warm, by name.
    pub fn start(&self, secrets: super::run::SecretTracking) -> Vec<(&'static str, Warm)> {
        let managed = || watcher::Config::default().labels(&labels::managed_selector());
        let mut warm = vec![
            (
                "microservices",
                self.follow_all(
                    "microservices",
                    watcher::Config::default(),
                    Need::Required,
                    services(),
                ),
            ),
            (
                "pods",
                self.follow_all(
                    "pods",
                    watcher::Config::default().labels(labels::REVISION),
                    Need::Required,
                    pods(),
                ),
            ),
            (
                "job-pods",
                self.follow_all::<Pod>(
                    "job-pods",
                    watcher::Config::default().labels(labels::JOB),
                    // They only explain what the Job itself tells.
                    Need::Written,
                    plain(|caches| &caches.job_pods, JobPod::from, own_service),
                ),
            ),
            (
                "endpointslices",
                self.follow_all("endpointslices", managed(), Need::Required, slices()),
            ),
            (
                "poddisruptionbudgets",
                self.follow_all(
                    "poddisruptionbudgets",
                    watcher::Config::default(),
                    Need::Written,
                    budgets(),
                ),
            ),
            (
                "configmaps",
                self.follow_all::<PartialObjectMeta<ConfigMap>>(
                    "configmaps",
                    watcher::Config::default(),
                    Need::Required,
                    sources(SourceKind::ConfigMap),
                ),
            ),
        ];
        if secrets == super::run::SecretTracking::Enabled {
            warm.push((
                "secrets",
                self.follow_all::<PartialObjectMeta<Secret>>(
                    "secrets",
                    watcher::Config::default(),
                    Need::Required,
                    sources(SourceKind::Secret),
                ),
            ));
        }
        let tracked =
            |kind: &ChildKind| *kind != ChildKind::Secret || secrets == super::run::SecretTracking::Enabled;
        for kind in ChildKind::ALL.into_iter().filter(tracked) {
            if kind.presence() == KindPresence::Always {
                warm.push((kind.plural(), self.follow_children(kind).warm));
            }
        }
        // Cluster-scoped, so that a namespaced installation may not be allowed to read them: nothing waits for them, and
        // pods on lost nodes are then told by their own status.
        let every_node = vec![(None, Api::all(self.client.clone()))];
        self.follow(
            "nodes",
            every_node,
            &watcher::Config::default(),
            Need::Written,
            nodes(),
        );
        warm
    }

    /// Starts the watch of one kind of children.
    pub fn follow_children(&self, kind: ChildKind) -> Followed {
        let resource = api_resource(kind);
        let apis = match &self.scope {
            Scope::Cluster => vec![(None, Api::all_with(self.client.clone(), &resource))],
            Scope::Namespaces(names) => names
                .iter()
                .map(|ns| {
                    (
                        Some(ns.clone()),
                        Api::namespaced_with(self.client.clone(), ns, &resource),
                    )
                })
                .collect(),
        };
        // Of routes those of others are looked at too: two may claim the same address.
        let config = if is_route(kind) {
            watcher::Config::default()
        } else {
            watcher::Config::default().labels(&labels::managed_selector())
        };
        // Whether an optional kind is served is told by its first list, so that has to be a real one.
        let need = if kind.presence() == KindPresence::Optional {
            Need::Required
        } else {
            Need::of(kind)
        };
        let feed = if is_route(kind) {
            routes(kind)
        } else {
            children(kind)
        };
        self.follow(kind.plural(), apis, &config, need, feed)
    }

    fn follow_all<K>(&self, name: &'static str, config: watcher::Config, need: Need, feed: Feed<K>) -> Warm
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let apis = match &self.scope {
            Scope::Cluster => vec![(None, Api::all(self.client.clone()))],
            Scope::Namespaces(names) => names
                .iter()
                .map(|ns| (Some(ns.clone()), Api::namespaced(self.client.clone(), ns)))
                .collect(),
        };
        self.follow(name, apis, &config, need, feed).warm
    }

    fn follow<K>(
        &self,
        name: &'static str,
        apis: Vec<(Option<String>, Api<K>)>,
        config: &watcher::Config,
        need: Need,
        feed: Feed<K>,
    ) -> Followed
    where
        K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let (told, warm) = watch::channel(false);
        let left = Arc::new(Mutex::new(apis.len()));
        let (told, feed) = (Arc::new(told), Arc::new(feed));
        let mut tasks = Vec::new();
        for (namespace, api) in apis {
            let stream = watcher::watcher(api, config.clone()).default_backoff().boxed();
            let (watching, feed, left, told) = (
                self.clone(),
                Arc::clone(&feed),
                Arc::clone(&left),
                Arc::clone(&told),
            );
            let on_warm = move || {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                *left = left.saturating_sub(1);
                if *left == 0 {
                    told.send_replace(true);
                }
            };
            let task = tokio::spawn(async move {
                watching
                    .consume(name, namespace, stream, &feed, need, on_warm)
                    .await
            });
            tasks.push(task.abort_handle());
        }
        Followed { warm, tasks }
    }

    async fn consume<K>(
        &self,
        name: &'static str,
        namespace: Option<String>,
        mut stream: impl Stream<Item = watcher::Result<Event<K>>> + Unpin,
        feed: &Feed<K>,
        need: Need,
        on_warm: impl FnOnce(),
    ) {
        let mut on_warm = Some(on_warm);
        let mut list = Vec::new();
        while let Some(event) = stream.next().await {
            // The receiver is gone with the process only.
            if self.triggers.is_closed() {
                return;
            }
            let touched = match event {
                Ok(Event::Init) => {
                    list = Vec::new();
                    Vec::new()
                }
                Ok(Event::InitApply(object)) => {
                    list.push(object);
                    Vec::new()
                }
                Ok(Event::InitDone) => {
                    let touched = (feed.list)(&self.caches, namespace.as_deref(), std::mem::take(&mut list));
                    if let Some(on_warm) = on_warm.take() {
                        on_warm();
                    }
                    touched
                }
                Ok(Event::Apply(object)) => (feed.put)(&self.caches, object),
                Ok(Event::Delete(object)) => (feed.remove)(&self.caches, &object),
                Err(error) => {
                    self.metrics.watch_failed(name);
                    tracing::warn!(kind = name, error = %super::error::words(&error), "watch failed, trying again");
                    if let Some(on_warm) = on_warm.take_if(|_| need == Need::Written) {
                        on_warm();
                    }
                    Vec::new()
                }
            };
            for service in touched {
                let _ = self.triggers.send(service);
            }
        }
    }
}

/// The API resource of a kind of children.
pub fn api_resource(kind: ChildKind) -> ApiResource {
    ApiResource {
        group: kind.group().to_owned(),
        version: kind.version().to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind().to_owned(),
        plural: kind.plural().to_owned(),
    }
}

/// A feed for a kind that is kept as it comes, after `prune`; `touched` says whom an object concerns.
fn plain<K, T>(
    cache: fn(&Caches) -> &Cache<T>,
    prune: fn(K) -> T,
    touched: fn(&Caches, &T) -> Vec<ServiceKey>,
) -> Feed<K>
where
    K: Resource + 'static,
    T: Cached + 'static,
{
    Feed {
        list: Box::new(move |caches, namespace, list| {
            let list: Vec<T> = list.into_iter().map(prune).collect();
            let mut all: Vec<ServiceKey> = list.iter().flat_map(|object| touched(caches, object)).collect();
            all.extend(cache(caches).replace(namespace, list));
            all
        }),
        put: Box::new(move |caches, object| {
            let object = prune(object);
            let all = touched(caches, &object);
            match cache(caches).put(object) {
                Put::Taken(_) => all,
                Put::Stale => Vec::new(),
            }
        }),
        remove: Box::new(move |caches, object| {
            let (namespace, name) = (
                object.meta().namespace.clone().unwrap_or_default(),
                object.name_any(),
            );
            let gone = cache(caches).remove(&namespace, &name, &object.uid().unwrap_or_default());
            gone.map(|gone| touched(caches, &gone)).unwrap_or_default()
        }),
    }
}

fn own_service<T: Cached>(_: &Caches, object: &T) -> Vec<ServiceKey> {
    object.service().into_iter().collect()
}

fn slices() -> Feed<EndpointSlice> {
    let prune = |mut slice: EndpointSlice| {
        slice.metadata.managed_fields = None;
        slice.metadata.annotations = None;
        slice
    };
    plain(|caches| &caches.slices, prune, own_service)
}

fn budgets() -> Feed<PodDisruptionBudget> {
    let prune = |mut budget: PodDisruptionBudget| {
        budget.metadata.managed_fields = None;
        budget.metadata.annotations = None;
        budget.status = None;
        budget
    };
    // A budget of others is seen at the next planning of the services that it selects.
    let touched = |caches: &Caches, budget: &PodDisruptionBudget| {
        let namespace = budget.namespace().unwrap_or_default();
        let services = caches.services.all();
        let here = services.iter().filter(|s| s.object_namespace() == namespace);
        let own = budget
            .labels()
            .get(labels::MANAGED_BY)
            .is_some_and(|by| by == labels::MANAGER);
        if own {
            Vec::new()
        } else {
            here.filter_map(|s| Cached::service(&**s)).collect()
        }
    };
    plain(|caches| &caches.budgets, prune, touched)
}

fn sources<K>(kind: SourceKind) -> Feed<PartialObjectMeta<K>>
where
    K: Resource + 'static,
    PartialObjectMeta<K>: Resource,
{
    match kind {
        SourceKind::ConfigMap => plain(
            |caches| &caches.config_maps,
            SourceEntry::from,
            |caches, entry| {
                caches.users_of(
                    SourceKind::ConfigMap,
                    entry.object_namespace(),
                    entry.object_name(),
                )
            },
        ),
        SourceKind::Secret => plain(
            |caches| &caches.secrets,
            SourceEntry::from,
            |caches, entry| {
                caches.users_of(SourceKind::Secret, entry.object_namespace(), entry.object_name())
            },
        ),
    }
}

fn nodes() -> Feed<Node> {
    let feed = plain(|caches| &caches.nodes, pruned_node, |_, _| Vec::new());
    Feed {
        // A node changes all the time; only its readiness concerns anybody.
        put: Box::new(|caches, node| {
            let node = pruned_node(node);
            let (name, after) = (node.name_any(), super::observe::node_readiness(&node));
            match caches.nodes.put(node) {
                Put::Taken(before)
                    if before.as_deref().map(super::observe::node_readiness) != Some(after) =>
                {
                    caches.services_on(&name)
                }
                Put::Taken(_) | Put::Stale => Vec::new(),
            }
        }),
        ..feed
    }
}

fn pods() -> Feed<Pod> {
    let feed = plain(|caches| &caches.pods, pruned_pod, own_service);
    Feed {
        list: Box::new(move |caches, namespace, list| {
            let seen = list.clone();
            let touched = (feed.list)(caches, namespace, list);
            let mut ledger = caches.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            if namespace.is_none() {
                let uids: HashSet<String> = seen.iter().filter_map(ResourceExt::uid).collect();
                ledger.retain(|uid| uids.contains(uid));
            }
            seen.iter().for_each(|pod| ledger.observe(pod));
            touched
        }),
        put: Box::new(Caches::put_pod),
        remove: Box::new(move |caches, pod| {
            let touched = (feed.remove)(caches, pod);
            let mut ledger = caches.ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.forget(&pod.uid().unwrap_or_default());
            touched
        }),
    }
}

fn services() -> Feed<DeserializeGuard<Microservice>> {
    fn read(object: DeserializeGuard<Microservice>) -> Option<ServiceEntry> {
        match object.0 {
            Ok(service) => Some(service.into()),
            Err(invalid) => {
                tracing::error!(
                    namespace = invalid.metadata.namespace.as_deref(),
                    name = invalid.metadata.name.as_deref(),
                    error = %invalid.error,
                    "a Microservice cannot be read and is left as it is: is the CRD older than the operator?"
                );
                None
            }
        }
    }
    Feed {
        list: Box::new(|caches, namespace, list| {
            let list: Vec<ServiceEntry> = list.into_iter().filter_map(read).collect();
            let mut touched: Vec<ServiceKey> = list.iter().filter_map(Cached::service).collect();
            touched.extend(caches.services.replace(namespace, list));
            touched
        }),
        put: Box::new(|caches, object| {
            let Some(service) = read(object) else {
                return Vec::new();
            };
            let key = Cached::service(&service);
            match caches.services.put(service) {
                Put::Taken(_) => key.into_iter().collect(),
                Put::Stale => Vec::new(),
            }
        }),
        remove: Box::new(|caches, object| {
            let (namespace, name) = (
                object.meta().namespace.clone().unwrap_or_default(),
                object.name_any(),
            );
            let gone = caches
                .services
                .remove(&namespace, &name, &object.uid().unwrap_or_default());
            gone.and_then(|gone| Cached::service(&*gone))
                .into_iter()
                .collect()
        }),
    }
}

/// Routes: ours are children, and what those of others claim is noted.
fn routes(kind: ChildKind) -> Feed<DynamicObject> {
    let own = children(kind);
    let (list, put, remove) = (own.list, own.put, Arc::new(own.remove));
    let put_remove = Arc::clone(&remove);
    Feed {
        list: Box::new(move |caches, namespace, all| {
            let claimants = all.iter().map(|object| claimant(kind, object)).collect();
            let mut touched = caches.claims.replace(kind, namespace, claimants);
            let ours = all.into_iter().filter(is_managed).collect();
            touched.extend(list(caches, namespace, ours));
            touched
        }),
        put: Box::new(move |caches, object| {
            let mut touched = caches.claims.put(claimant(kind, &object));
            // The label may have been taken off: then it is none of ours any more.
            touched.extend(if is_managed(&object) {
                put(caches, object)
            } else {
                put_remove(caches, &object)
            });
            touched
        }),
        remove: Box::new(move |caches, object| {
            let namespace = object.namespace().unwrap_or_default();
            let mut touched = caches.claims.remove(kind, &namespace, &object.name_any());
            touched.extend(remove(caches, object));
            touched
        }),
    }
}

fn is_managed(object: &DynamicObject) -> bool {
    object
        .labels()
        .get(labels::MANAGED_BY)
        .is_some_and(|by| by == labels::MANAGER)
}

fn claimant(kind: ChildKind, object: &DynamicObject) -> Claimant {
    let service = object
        .labels()
        .get(labels::INSTANCE)
        .filter(|_| is_managed(object));
    let namespace = object.namespace().unwrap_or_default();
    let mut value = object.data.clone();
    // The claims are read from the object as a whole.
    if let Some(fields) = value.as_object_mut() {
        fields.insert(
            "metadata".to_owned(),
            serde_json::to_value(&object.metadata).unwrap_or_default(),
        );
    }
    Claimant {
        kind,
        name: object.name_any(),
        service: service.map(|name| ServiceKey {
            namespace: namespace.clone(),
            name: name.clone(),
        }),
        namespace,
        claims: claims(kind, &value),
    }
}

fn children(kind: ChildKind) -> Feed<DynamicObject> {
    Feed {
        list: Box::new(move |caches, namespace, list| {
            let Some(cache) = caches.children.get(&kind) else {
                return Vec::new();
            };
            let list: Vec<ChildEntry> = list
                .into_iter()
                .map(|object| ChildEntry::new(kind, object))
                .collect();
            let mut touched: Vec<ServiceKey> = list.iter().filter_map(Cached::service).collect();
            touched.extend(cache.replace(namespace, list));
            touched
        }),
        put: Box::new(move |caches, object| {
            let Some(cache) = caches.children.get(&kind) else {
                return Vec::new();
            };
            let entry = ChildEntry::new(kind, object);
            let service = entry.service();
            match cache.put(entry) {
                // The label may have been taken off: then it concerns the one that it belonged to.
                Put::Taken(before) => service
                    .into_iter()
                    .chain(before.and_then(|b| b.service()))
                    .collect(),
                Put::Stale => Vec::new(),
            }
        }),
        remove: Box::new(move |caches, object| {
            let Some(cache) = caches.children.get(&kind) else {
                return Vec::new();
            };
            let namespace = object.namespace().unwrap_or_default();
            let gone = cache.remove(&namespace, &object.name_any(), &object.uid().unwrap_or_default());
            gone.and_then(|gone| gone.service()).into_iter().collect()
        }),
    }
}
