//! Istio as `cluster addon istio` runs it: its control plane, and an Envoy on the node as its ingress gateway.
//!
//! A scenario has the names `*.NAMESPACE.test` to itself, all on one port. There are no sidecars: what pods ask each
//! other passes by Istio. Istio writes no status: whether a VirtualService is in force is seen in Envoy alone.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Once;

use kube::Api;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::environment::cluster;
use crate::load::Requests;
use crate::scenario::Scenario;
use crate::wait::eventually;

/// The node, on which Envoy listens.
const NODE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Where the Gateways of all scenarios open it.
const PORT: u16 = 8100;
/// Envoy's own pages.
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);
/// The Gateway of a scenario.
const GATEWAY: &str = "ingress";

/// Builds Istio, where it is not, and starts it, where it does not run.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        cluster(&["addon", "istio", "start"]);
    });
}

/// A way into a scenario's namespace.
pub struct Ingress<'a> {
    scenario: &'a Scenario,
}

impl<'a> Ingress<'a> {
    /// Starts Istio and makes a Gateway in the scenario's namespace.
    pub async fn open(scenario: &'a Scenario) -> Self {
        start();
        let ingress = Self { scenario };
        let hosts = ingress.host("*");
        let spec = json!({
            "selector": {"istio": "ingressgateway"},
            "servers": [{"port": {"number": PORT, "name": "http", "protocol": "HTTP"}, "hosts": [hosts]}],
        });
        ingress.apply("Gateway", GATEWAY, spec).await;
        ingress
    }

    /// The name of the Gateway, for `spec.gateways` of a VirtualService in the same namespace.
    pub fn gateway(&self) -> &'static str {
        GATEWAY
    }

    /// The name by which callers ask for something in this namespace; it decides where a request goes.
    pub fn host(&self, name: &str) -> String {
        format!("{name}.{}.test", self.scenario.namespace)
    }

    /// Where requests go.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(NODE.into(), PORT)
    }

    /// Requests to [`Self::host`] of a name.
    pub fn requests(&self, name: &str) -> Requests {
        Requests::to(self.address()).host(&self.host(name))
    }

    // --- objects

    /// The API of a kind of networking.istio.io in this namespace.
    pub fn api(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: "networking.istio.io".to_owned(),
            version: "v1".to_owned(),
            api_version: "networking.istio.io/v1".to_owned(),
            kind: kind.to_owned(),
            plural: format!("{}s", kind.to_lowercase()),
        };
        Api::namespaced_with(self.scenario.client.clone(), &self.scenario.namespace, &resource)
    }

    /// Applies an object of networking.istio.io, server-side.
    pub async fn apply(&self, kind: &str, name: &str, spec: Value) -> DynamicObject {
        let object = json!({
            "apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        });
        let params = PatchParams::apply("e2e").force();
        self.api(kind)
            .patch(name, &params, &Patch::Apply(&object))
            .await
            .unwrap_or_else(|error| panic!("{kind} {name} cannot be applied: {error}"))
    }

    /// Applies a DestinationRule for a Service, with subsets of the label `key` that are named by its values.
    pub async fn subsets(&self, service: &str, key: &str, values: &[&str]) {
        let subsets: Vec<Value> = values
            .iter()
            .map(|value| json!({"name": value, "labels": {key: value}}))
            .collect();
        self.apply(
            "DestinationRule",
            service,
            json!({"host": service, "subsets": subsets}),
        )
        .await;
    }

    /// Applies a VirtualService that shares the requests for a Service out among its subsets.
    pub async fn share(&self, service: &str, weights: &[(&str, u64)]) {
        let route: Vec<Value> = weights
            .iter()
            .map(|(subset, weight)| json!({"destination": {"host": service, "subset": subset}, "weight": weight}))
            .collect();
        let spec = json!({
            "hosts": [self.host(service)], "gateways": [GATEWAY], "http": [{"route": route}],
        });
        self.apply("VirtualService", service, spec).await;
    }

    // --- what is in force

    /// The weights of the subsets of the first route for a name, as Envoy holds them. None of those that are 0.
    ///
    /// # Errors
    /// In words, where Envoy has no route for that name.
    pub async fn weights(&self, name: &str) -> Result<BTreeMap<String, u64>, String> {
        let page = crate::http_client::get(ADMIN, "/config_dump?resource=dynamic_route_configs").await?;
        let dump: Value = serde_json::from_str(&page.body).map_err(|error| error.to_string())?;
        weights_of(&dump, &self.host(name)).ok_or_else(|| format!("no route for {}", self.host(name)))
    }

    /// Waits until Envoy shares the requests for a name out like this. Those of a weight of 0 are left out.
    pub async fn in_force(&self, name: &str, weights: &[(&str, u64)]) {
        let wanted: BTreeMap<String, u64> = weights
            .iter()
            .map(|(subset, weight)| ((*subset).to_owned(), *weight))
            .collect();
        eventually(&format!("Envoy to hold {wanted:?} for {name}"), async || {
            let present = self.weights(name).await?;
            if present == wanted {
                Ok(())
            } else {
                Err(format!("{present:?}"))
            }
        })
        .await;
    }

    /// Waits until a few requests for a name in a row are answered well.
    pub async fn answers(&self, name: &str) {
        eventually(&format!("{name} to answer through Envoy"), async || {
            let tally = self.requests(name).clients(1).at_most(5).run().await;
            match tally.failures.first() {
                None => Ok(()),
                Some((_, failure)) => Err(failure.clone()),
            }
        })
        .await;
    }

    /// A counter of Envoy's of the requests to a subset of a Service's port, for example `upstream_rq_5xx`. 0 where
    /// Envoy knows none.
    pub async fn counter(&self, service: &str, port: u16, subset: &str, counter: &str) -> u64 {
        let namespace = &self.scenario.namespace;
        let name =
            format!("cluster.outbound|{port}|{subset}|{service}.{namespace}.svc.cluster.local;.{counter}");
        // Not every character of the name may stand in a query.
        let path = format!("/stats?filter={service}.{namespace}.svc.cluster.local");
        let page = crate::http_client::get(ADMIN, &path)
            .await
            .expect("Envoy has statistics");
        page.body
            .lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(found, _)| *found == name)
            .map_or(0, |(_, value)| value.parse().expect("a number"))
    }
}

/// The weights of the subsets in the first route for a host.
fn weights_of(dump: &Value, host: &str) -> Option<BTreeMap<String, u64>> {
    let configs = dump["configs"].as_array()?;
    let hosts = configs
        .iter()
        .filter_map(|config| config["route_config"]["virtual_hosts"].as_array())
        .flatten();
    let ours = hosts.into_iter().find(|candidate| {
        let domains = candidate["domains"].as_array();
        domains.is_some_and(|all| all.iter().any(|domain| domain == host))
    })?;
    let route = &ours["routes"][0]["route"];
    let subset = |cluster: &Value| Some(cluster.as_str()?.split('|').nth(2)?.to_owned());
    if let Some(only) = subset(&route["cluster"]) {
        return Some(BTreeMap::from([(only, 100)]));
    }
    let clusters = route["weighted_clusters"]["clusters"].as_array()?;
    clusters
        .iter()
        .filter(|cluster| cluster["weight"].as_u64().unwrap_or_default() > 0)
        .map(|cluster| Some((subset(&cluster["name"])?, cluster["weight"].as_u64()?)))
        .collect()
}
