//! A source of custom and external metrics for autoscalers: the APIs custom.metrics.k8s.io and external.metrics.k8s.io, as
//! an adapter of Prometheus or KEDA serves them, with a figure that the test names.
//!
//! It stands in for the source of the figures alone: the API server, which aggregates it, and the autoscaler are real.
//! One at a time in a cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::routing::get;
use axum::{Json, Router};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::server::TlsStream;

use crate::kubectl::kubectl;
use crate::scenario::{Scenario, is_ready};
use crate::wait::eventually;

/// The metric of each pod: its part of the load.
pub const OF_PODS: &str = "work_per_second";
/// The metric of no object: the load.
pub const OF_ALL: &str = "work_waiting";

const CUSTOM: &str = "custom.metrics.k8s.io/v1beta2";
const EXTERNAL: &str = "external.metrics.k8s.io/v1beta1";
/// The address of the node, on which it listens.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// The adapter. It ends when it is dropped.
#[derive(Debug)]
pub struct Adapter {
    load: Arc<AtomicU32>,
    task: AbortHandle,
}

#[derive(Clone)]
struct Shared {
    client: Client,
    load: Arc<AtomicU32>,
}

impl Adapter {
    /// Listens, and is aggregated into the API. Pods share `load` evenly among those of a selector that are ready and stay.
    pub async fn start(s: &Scenario, load: u32) -> Self {
        let load = Arc::new(AtomicU32::new(load));
        let listener = TcpListener::bind((NODE, 0)).await.expect("there is a free port");
        let address = listener.local_addr().expect("it has an address");
        let shared = Shared {
            client: s.client.clone(),
            load: Arc::clone(&load),
        };
        let routes = Router::new()
            .route(
                &format!("/apis/{CUSTOM}"),
                get(async || Json(resources(CUSTOM, "pods/work_per_second"))),
            )
            .route(
                &format!("/apis/{EXTERNAL}"),
                get(async || Json(resources(EXTERNAL, OF_ALL))),
            )
            .route(
                &format!("/apis/{CUSTOM}/namespaces/{{namespace}}/pods/{{pod}}/{{metric}}"),
                get(of_pods),
            )
            .route(
                &format!("/apis/{EXTERNAL}/namespaces/{{namespace}}/{{metric}}"),
                get(of_all),
            )
            .with_state(shared);
        let encrypted = Encrypted {
            listener,
            acceptor: acceptor(),
        };
        let task = tokio::spawn(async move {
            // It ends with the test alone.
            let _ = axum::serve(encrypted, routes).await;
        });
        let adapter = Self {
            load,
            task: task.abort_handle(),
        };
        let manifest = manifest(&s.namespace, address);
        kubectl(&["apply", "-f", "-"], Some(&manifest)).ok();
        for path in [CUSTOM, EXTERNAL] {
            eventually(&format!("{path} to be served"), async || {
                let said = kubectl(&["get", "--raw", &format!("/apis/{path}")], None);
                if said.succeeded { Ok(()) } else { Err(said.err) }
            })
            .await;
        }
        adapter
    }

    /// Names another load.
    pub fn load(&self, load: u32) {
        self.load.store(load, Ordering::SeqCst);
    }
}

impl Drop for Adapter {
    fn drop(&mut self) {
        // An API that does not answer keeps every namespace from being deleted.
        for name in ["v1beta2.custom.metrics.k8s.io", "v1beta1.external.metrics.k8s.io"] {
            kubectl(&["delete", "apiservice", name, "--ignore-not-found"], None);
        }
        self.task.abort();
    }
}

/// What leads the API server to the adapter, which is no pod.
fn manifest(namespace: &str, address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "adapter", "namespace": namespace},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
    });
    let endpoints = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "adapter", "namespace": namespace, "labels": {"kubernetes.io/service-name": "adapter"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port}],
    });
    let aggregated = |api: &str| {
        let (group, version) = api.split_once('/').expect("a group and a version");
        json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": format!("{version}.{group}")},
            "spec": {
                "service": {"name": "adapter", "namespace": namespace}, "group": group, "version": version,
                "insecureSkipTLSVerify": true, "groupPriorityMinimum": 100, "versionPriority": 100,
            },
        })
    };
    let list = json!({
        "apiVersion": "v1", "kind": "List",
        "items": [service, endpoints, aggregated(CUSTOM), aggregated(EXTERNAL)],
    });
    list.to_string()
}

// --- what it answers

fn resources(api: &str, name: &str) -> Value {
    json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api, "resources": [
        {"name": name, "singularName": "", "namespaced": true, "kind": "MetricValueList", "verbs": ["get"]},
    ]})
}

#[derive(Deserialize)]
struct Selection {
    #[serde(rename = "labelSelector")]
    label_selector: Option<String>,
}

async fn of_pods(
    State(shared): State<Shared>,
    Path((namespace, _, metric)): Path<(String, String, String)>,
    Query(selection): Query<Selection>,
) -> Json<Value> {
    let pods: Api<Pod> = Api::namespaced(shared.client.clone(), &namespace);
    let selector = selection.label_selector.unwrap_or_default();
    let found = pods.list(&ListParams::default().labels(&selector)).await;
    let mut ready = found.map(|list| list.items).unwrap_or_default();
    // A pod that leaves stays ready for a while, and nobody sends it work any more.
    ready.retain(|pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none());
    let thousandths = u64::from(shared.load.load(Ordering::SeqCst)) * 1000;
    let each = thousandths / u64::try_from(ready.len().max(1)).unwrap_or(1);
    let items: Vec<Value> = ready
        .iter()
        .map(|pod| {
            json!({
                "describedObject": {"kind": "Pod", "apiVersion": "v1", "namespace": namespace, "name": pod.name_any()},
                "metric": {"name": metric}, "timestamp": Timestamp::now(), "windowSeconds": 1,
                "value": format!("{each}m"),
            })
        })
        .collect();
    Json(json!({"kind": "MetricValueList", "apiVersion": CUSTOM, "metadata": {}, "items": items}))
}

async fn of_all(State(shared): State<Shared>, Path((_, metric)): Path<(String, String)>) -> Json<Value> {
    let load = shared.load.load(Ordering::SeqCst);
    let item = json!({
        "metricName": metric, "metricLabels": {}, "timestamp": Timestamp::now(), "value": load.to_string(),
    });
    Json(json!({"kind": "ExternalMetricValueList", "apiVersion": EXTERNAL, "metadata": {}, "items": [item]}))
}

// --- the connection

/// An adapter is called over TLS alone.
struct Encrypted {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, peer)) = self.listener.accept().await else {
                continue;
            };
            // Who does not speak TLS in time is no API server, and must not keep one waiting.
            let spoken = tokio::time::timeout(Duration::from_secs(5), self.acceptor.accept(stream)).await;
            if let Ok(Ok(stream)) = spoken {
                return (stream, peer);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["adapter".to_owned()]).expect("a certificate");
    let key = own.signing_key.serialize_der().try_into().expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}
