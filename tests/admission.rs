//! manifests/admission.yaml knows every command, and no other one.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;

use microservice_operator::api::annotations as a;
use serde_json::Value;

const COMMANDS: [&str; 10] = [
    a::PROMOTE,
    a::PROMOTE_FULL,
    a::ABORT,
    a::RETRY,
    a::PAUSE,
    a::FREEZE,
    a::RESTART,
    a::REFRESH,
    a::ROLLBACK,
    a::EXPEDITE,
];

fn documents() -> Vec<Value> {
    let text = std::fs::read_to_string("manifests/admission.yaml").unwrap();
    serde_saphyr::from_multiple(&text).unwrap()
}

/// The virtual subresources that a role may update.
fn rights(role: &str) -> BTreeSet<String> {
    let role = documents()
        .into_iter()
        .find(|object| object["kind"] == "ClusterRole" && object["metadata"]["name"] == role)
        .expect("the role is there");
    let mut found = BTreeSet::new();
    for rule in role["rules"].as_array().unwrap() {
        for resource in rule["resources"].as_array().unwrap() {
            let resource = resource.as_str().unwrap();
            let served = ["microservices", "microservices/status", "microservices/scale"].contains(&resource);
            if !served {
                assert_eq!(rule["verbs"], serde_json::json!(["update"]), "{resource}");
                found.insert(resource.trim_start_matches("microservices/").to_owned());
            }
        }
    }
    found
}

#[test]
fn every_command_has_a_right_and_the_roles_hold_them() {
    let policy = documents()
        .into_iter()
        .find(|object| object["kind"] == "ValidatingAdmissionPolicy")
        .expect("the policy is there");
    let validations = policy["spec"]["validations"].as_array().unwrap();
    assert_eq!(validations.len(), COMMANDS.len() + 2);
    let mut verbs = BTreeSet::new();
    for key in COMMANDS {
        let verb = key.trim_start_matches("microservice.dev/").to_owned();
        let one = format!(
            "variables.before[?'{key}'] == variables.after[?'{key}'] || \
             variables.rights.subresource('{verb}').check('update').allowed()"
        );
        assert!(
            validations.iter().any(|rule| rule["expression"] == one.as_str()),
            "{key}"
        );
        let known = &policy["spec"]["variables"][0];
        assert_eq!(known["name"], "commands");
        assert!(
            known["expression"]
                .as_str()
                .unwrap()
                .contains(&format!("'{key}'")),
            "{key}"
        );
        verbs.insert(verb);
    }
    assert_eq!(rights("microservice-releaser"), verbs);
    verbs.insert("spec".to_owned());
    assert_eq!(rights("microservice-editor"), verbs);
}
