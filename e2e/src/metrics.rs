//! The measured use of pods, as metrics-server tells it, and what autoscalers make of it.
//!
//! It measures every ten seconds and needs two looks at a pod: the first figure of a new one comes after some 20 s.

use std::collections::BTreeMap;
use std::sync::Once;

use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{ApiResource, DynamicObject, ListParams};
use kube::{Api, ResourceExt};
use serde_json::Value;

use crate::environment::cluster;
use crate::scenario::Scenario;
use crate::wait::eventually;

/// Builds metrics-server, where it is not, and starts it, where it does not run.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        cluster(&["addon", "metrics", "start"]);
    });
}

/// The processor time that pods use, in thousandths of a core, by the name of the pod.
pub async fn cpu(s: &Scenario, selector: &str) -> BTreeMap<String, f64> {
    let resource = ApiResource {
        group: "metrics.k8s.io".to_owned(),
        version: "v1beta1".to_owned(),
        api_version: "metrics.k8s.io/v1beta1".to_owned(),
        kind: "PodMetrics".to_owned(),
        plural: "pods".to_owned(),
    };
    let api: Api<DynamicObject> = Api::namespaced_with(s.client.clone(), &s.namespace, &resource);
    let found = api.list(&ListParams::default().labels(selector)).await;
    found
        .expect("metrics can be listed")
        .items
        .iter()
        .map(|pod| {
            let containers = pod.data["containers"].as_array().cloned().unwrap_or_default();
            let sum = containers
                .iter()
                .map(|container| thousandths(&container["usage"]["cpu"]))
                .sum();
            (pod.name_any(), sum)
        })
        .collect()
}

/// Waits until so many pods have been measured. Answers the processor time that they use, as [`cpu`].
pub async fn measured(s: &Scenario, selector: &str, count: usize) -> BTreeMap<String, f64> {
    start();
    eventually(&format!("figures of {count} pods {selector}"), async || {
        let found = cpu(s, selector).await;
        if found.len() >= count {
            Ok(found)
        } else {
            Err(format!("{found:?}"))
        }
    })
    .await
}

/// Waits until an autoscaler has read the use of a resource. Answers it in percent of what the pods requested.
pub async fn utilization(s: &Scenario, autoscaler: &str, resource: &str) -> i32 {
    let api: Api<HorizontalPodAutoscaler> = s.api();
    eventually(&format!("{autoscaler} to read {resource}"), async || {
        let status = match api.get(autoscaler).await {
            Ok(found) => found.status.unwrap_or_default(),
            Err(error) => return Err(error.to_string()),
        };
        let metrics = status.current_metrics.as_deref().unwrap_or_default();
        let figures = metrics.iter().filter_map(|metric| metric.resource.as_ref());
        figures
            .filter(|figure| figure.name == resource)
            .find_map(|figure| figure.current.average_utilization)
            .ok_or_else(|| serde_json::to_string(&status).unwrap_or_default())
    })
    .await
}

/// A quantity of processor time in thousandths of a core.
fn thousandths(quantity: &Value) -> f64 {
    let text = quantity.as_str().unwrap_or_default();
    let (digits, factor) = match text.as_bytes().last() {
        Some(b'n') => (&text[..text.len() - 1], 1e-6),
        Some(b'u') => (&text[..text.len() - 1], 1e-3),
        Some(b'm') => (&text[..text.len() - 1], 1.0),
        _ => (text, 1e3),
    };
    digits.parse::<f64>().expect("a quantity") * factor
}
