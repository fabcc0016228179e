//! Services with their pods, by the name of a file.

use k8s_openapi::api::core::v1::Pod;
use microservice_operator::api::Microservice;
use microservice_operator::plugin::pods::PodLine;
use microservice_operator::plugin::tree::Pods;
use serde_json::Value;

use crate::support::documents;

/// All of them.
pub const ALL: [&str; 9] = [
    "healthy",
    "rolling",
    "paused",
    "rolled-back",
    "degraded",
    "invalid",
    "chinese",
    "unseen",
    "new",
];

/// A quarter to the end of the second step in the fixtures.
pub const NOW: &str = "2026-01-01T00:03:00Z";

/// The service and its pods.
pub fn read(name: &str) -> (Microservice, Pods) {
    let all = documents(&format!("tests/plugin/fixtures/{name}.yaml"));
    let service = serde_json::from_value(all[0].clone()).expect("a Microservice");
    let pods = all[1..].iter().map(|document| {
        let pod: Pod = serde_json::from_value(document.clone()).expect("a Pod");
        PodLine::of(&pod)
    });
    (service, Pods::Known(pods.collect()))
}

/// The service alone.
pub fn service(name: &str) -> Microservice {
    read(name).0
}

/// The service with fields of its JSON set, by pointer; null removes.
pub fn changed(name: &str, changes: &[(&str, Value)]) -> Microservice {
    let mut object = serde_json::to_value(service(name)).unwrap();
    for (pointer, value) in changes {
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        let parent = object
            .pointer_mut(parent)
            .unwrap_or_else(|| panic!("no {parent} in {name}"))
            .as_object_mut()
            .unwrap();
        let key = key.replace("~1", "/");
        if value.is_null() {
            parent.remove(&key);
        } else {
            parent.insert(key, value.clone());
        }
    }
    serde_json::from_value(object).unwrap()
}

/// The service with one annotation.
pub fn annotated(name: &str, verb: &str, value: &str) -> Microservice {
    let all = serde_json::json!({format!("microservice.dev/{verb}"): value});
    changed(name, &[("/metadata/annotations", all)])
}
