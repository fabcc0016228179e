//! What Gateways can do, as their GatewayClass says. Read when a step asks for something that not all of them can, and
//! remembered for a while: a class says it once, when its controller is installed or upgraded.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::api::{ApiResource, DynamicObject};
use kube::{Api, Client};
use serde_json::Value;

use super::request::bounded;
use crate::api::{MicroserviceSpec, ParentRef};

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_secs(300);

/// A Gateway, by namespace and name.
type GatewayKey = (String, String);

/// When each Gateway was asked, and what it said of itself.
type Answers = HashMap<GatewayKey, (Instant, Option<BTreeSet<String>>)>;

/// What is known of Gateways.
#[derive(Debug, Default)]
pub struct Features {
    known: Mutex<Answers>,
}

impl Features {
    /// The features of the Gateways that carry routes of `spec`, where a step asks for one. What cannot be read, or says
    /// nothing about itself, is not in the answer.
    pub async fn of(
        &self,
        client: &Client,
        namespace: &str,
        spec: &MicroserviceSpec,
    ) -> BTreeMap<GatewayKey, BTreeSet<String>> {
        let mut found = BTreeMap::new();
        if !asks_for_mirrors(spec) {
            return found;
        }
        let parents = spec
            .exposure
            .routes
            .iter()
            .filter_map(|route| route.gateway.as_ref())
            .flat_map(|gateway| &gateway.parent_refs);
        for parent in parents.filter(|parent| is_gateway(parent)) {
            let namespace = parent.namespace.as_deref().unwrap_or(namespace);
            let key = (namespace.to_owned(), parent.name.clone());
            let known = self.remembered(&key);
            let features = match known {
                Some(features) => features,
                None => {
                    let features = read(client, &key).await;
                    self.lock()
                        .insert(key.clone(), (Instant::now(), features.clone()));
                    features
                }
            };
            if let Some(features) = features {
                found.insert(key, features);
            }
        }
        found
    }

    fn remembered(&self, key: &GatewayKey) -> Option<Option<BTreeSet<String>>> {
        let known = self.lock();
        let (at, features) = known.get(key)?;
        (at.elapsed() < GOOD_FOR).then(|| features.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn asks_for_mirrors(spec: &MicroserviceSpec) -> bool {
    let strategy = spec.operation.strategy();
    let steps = strategy.canary.iter().flat_map(|canary| &canary.steps);
    steps
        .into_iter()
        .any(|step| step.mirror_percent.is_some_and(|percent| percent > 0))
}

fn is_gateway(parent: &ParentRef) -> bool {
    parent.kind.as_deref().unwrap_or("Gateway") == "Gateway"
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: "gateway.networking.k8s.io".to_owned(),
        version: "v1".to_owned(),
        api_version: "gateway.networking.k8s.io/v1".to_owned(),
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

async fn read(client: &Client, (namespace, name): &GatewayKey) -> Option<BTreeSet<String>> {
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), namespace, &resource("Gateway", "gateways"));
    let gateway = bounded(gateways.get_opt(name)).await.ok()??;
    let class = gateway.data.pointer("/spec/gatewayClassName")?.as_str()?;
    let classes: Api<DynamicObject> =
        Api::all_with(client.clone(), &resource("GatewayClass", "gatewayclasses"));
    let class = bounded(classes.get_opt(class)).await.ok()??;
    let listed = class.data.pointer("/status/supportedFeatures")?.as_array()?;
    let name = |feature: &Value| Some(feature.get("name")?.as_str()?.to_owned());
    Some(listed.iter().filter_map(name).collect())
}
