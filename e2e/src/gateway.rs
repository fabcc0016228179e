//! Traefik as a gateway for the Gateway API and as an Ingress controller that knows the annotations of ingress-nginx:
//! it is started once for a cluster, and each scenario has host names of its own there.

use std::net::SocketAddr;
use std::sync::Mutex;

use kube::Api;
use kube::api::{Patch, PatchParams};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind, TypeMeta};
use serde_json::{Value, json};

use crate::environment::cluster;
use crate::kubectl::kubectl;
use crate::load::Requests;
use crate::recorder::Recorder;
use crate::scenario::Scenario;
use crate::wait::eventually;

/// The GatewayClass that Traefik serves.
pub const GATEWAY_CLASS: &str = "traefik";
/// The IngressClass that Traefik serves.
pub const INGRESS_CLASS: &str = "nginx";
/// Who writes the status of routes.
pub const CONTROLLER: &str = "traefik.io/gateway-controller";
/// The name of the Gateway in the scenario's namespace.
pub const GATEWAY: &str = "gateway";

/// Where Traefik listens. Listeners of Gateways must name this port.
const ADDRESS: ([u8; 4], u16) = ([192, 0, 2, 1], 8000);

/// Starts Traefik with its CRDs and classes, where that is not done.
fn start() {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if *started {
        return;
    }
    // Tests of other files take the CRDs away. Traefik would look for new ones only after a long while.
    let definition = kubectl(
        &["get", "crd", "httproutes.gateway.networking.k8s.io", "-o", "name"],
        None,
    );
    if !definition.succeeded {
        cluster(&["addon", "traefik", "stop"]);
    }
    cluster(&["addon", "traefik", "start"]);
    *started = true;
}

/// The Gateway of a scenario.
#[derive(Clone, Debug)]
pub struct Gateway {
    address: SocketAddr,
    domain: String,
}

impl Gateway {
    /// Starts it: returns when it is accepted and programmed.
    pub async fn start(s: &Scenario) -> Self {
        tokio::task::block_in_place(start);
        let domain = domain(s);
        apply(
            s,
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
                "metadata": {"name": GATEWAY},
                "spec": {"gatewayClassName": GATEWAY_CLASS, "listeners": [{
                    "name": "http", "protocol": "HTTP", "port": ADDRESS.1, "hostname": format!("*.{domain}"),
                }]},
            }),
        )
        .await;
        let programmed = eventually("the Gateway to be programmed", async || {
            let gateway = object(s, "gateway.networking.k8s.io/v1", "Gateway", GATEWAY).await?;
            let generation = gateway.metadata.generation;
            let conditions = &gateway.data["status"]["conditions"];
            if holds(conditions, "Accepted", generation) && holds(conditions, "Programmed", generation) {
                Ok(gateway)
            } else {
                Err(gateway.data["status"].to_string())
            }
        })
        .await;
        let address = programmed.data["status"]["addresses"][0]["value"]
            .as_str()
            .and_then(|text| text.parse().ok())
            .expect("a Gateway has an address");
        Self {
            address: SocketAddr::new(address, ADDRESS.1),
            domain,
        }
    }

    /// Where requests are sent to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A host name that belongs to the scenario alone.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}", self.domain)
    }

    /// What a route names as its parent.
    pub fn parent(&self) -> Value {
        json!({"name": GATEWAY})
    }

    /// Requests to a host of the scenario.
    pub fn requests(&self, name: &str) -> Requests {
        Requests::to(self.address).host(&self.host(name))
    }
}

/// The Ingress controller, as a scenario sees it.
#[derive(Clone, Debug)]
pub struct IngressController {
    domain: String,
}

impl IngressController {
    /// Starts it.
    pub async fn start(s: &Scenario) -> Self {
        tokio::task::block_in_place(start);
        Self { domain: domain(s) }
    }

    /// Where requests are sent to.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(ADDRESS)
    }

    /// A host name that belongs to the scenario alone.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}", self.domain)
    }

    /// Requests to a host of the scenario.
    pub fn requests(&self, name: &str) -> Requests {
        Requests::to(self.address()).host(&self.host(name))
    }
}

/// Namespaces of scenarios are unique, and so are these.
fn domain(s: &Scenario) -> String {
    format!("{}.example", s.namespace)
}

/// Waits until Traefik says of the present generation of a route that it is accepted and its references are resolved.
/// That is before it is served.
pub async fn route_accepted(s: &Scenario, kind: &str, name: &str) -> DynamicObject {
    eventually(&format!("{kind} {name} to be accepted"), async || {
        let route = object(s, "gateway.networking.k8s.io/v1", kind, name).await?;
        let parents = route.data["status"]["parents"].as_array().cloned();
        let ours = parents
            .unwrap_or_default()
            .into_iter()
            .find(|parent| parent["controllerName"] == CONTROLLER)
            .ok_or("Traefik said nothing")?;
        let good = |type_| holds(&ours["conditions"], type_, route.metadata.generation);
        if good("Accepted") && good("ResolvedRefs") {
            Ok(route)
        } else {
            Err(ours.to_string())
        }
    })
    .await
}

/// Whether a condition is true of this generation.
fn holds(conditions: &Value, type_: &str, generation: Option<i64>) -> bool {
    conditions.as_array().is_some_and(|all| {
        all.iter().any(|condition| {
            condition["type"] == type_
                && condition["status"] == "True"
                && condition["observedGeneration"].as_i64() == generation
        })
    })
}

/// Applies an object of any namespaced kind in the scenario's namespace, server-side.
pub async fn apply(s: &Scenario, object: Value) -> DynamicObject {
    let text = |field: &Value| field.as_str().expect("a string").to_owned();
    let (version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let name = text(&object["metadata"]["name"]);
    let params = PatchParams::apply("e2e").force();
    api(s, &version, &kind)
        .patch(&name, &params, &Patch::Apply(&object))
        .await
        .unwrap_or_else(|error| panic!("{kind} {name} cannot be applied: {error}"))
}

/// Records all that a watch says about objects of any namespaced kind.
pub fn record(s: &Scenario, version: &str, kind: &str) -> Recorder<DynamicObject> {
    Recorder::start(api(s, version, kind))
}

/// An object of any namespaced kind.
pub async fn object(s: &Scenario, version: &str, kind: &str, name: &str) -> Result<DynamicObject, String> {
    let found = api(s, version, kind).get(name).await;
    found.map_err(|error| error.to_string())
}

fn api(s: &Scenario, version: &str, kind: &str) -> Api<DynamicObject> {
    let types = TypeMeta {
        api_version: version.to_owned(),
        kind: kind.to_owned(),
    };
    let kind = GroupVersionKind::try_from(types).expect("a kind");
    Api::namespaced_with(s.client.clone(), &s.namespace, &ApiResource::from_gvk(&kind))
}
