//! The CRD: the file in crds/ is what the types say, it fits where it has to fit, and it explains itself.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use microservice_operator::api::{crd, crd_yaml};
use serde_json::Value;
use support::repository;

const FILE: &str = "crds/microservices.microservice.dev.yaml";

#[test]
fn the_file_in_crds_is_what_the_types_say() {
    let file = std::fs::read_to_string(repository(FILE)).unwrap_or_default();
    assert!(
        file == crd_yaml().unwrap(),
        "{FILE} is out of date: run `cargo run -- crds > {FILE}`"
    );
}

#[test]
fn it_fits_into_the_annotation_of_client_side_apply() {
    let size = serde_json::to_string(&crd()).unwrap().len();
    assert!(size < 256 * 1024, "{size} bytes");
}

#[test]
fn the_yaml_reads_back_as_the_same_crd() {
    let read: Value = serde_saphyr::from_str(&crd_yaml().unwrap()).unwrap();
    assert_eq!(read, serde_json::to_value(crd()).unwrap());
}

/// What YAML 1.1, which kubectl and Helm read, takes for true or false. As a key it arrives as another field.
const BOOLEANS: [&str; 8] = ["on", "off", "yes", "no", "y", "n", "true", "false"];

fn booleans(path: &str, schema: &Value, found: &mut Vec<String>) {
    let fields = schema["properties"].as_object().into_iter().flatten();
    for (name, field) in fields {
        let path = format!("{path}.{name}");
        if BOOLEANS.contains(&name.to_lowercase().as_str()) {
            found.push(path.clone());
        }
        booleans(&path, field, found);
    }
    let values = schema["enum"].as_array().into_iter().flatten();
    for value in values.filter_map(Value::as_str) {
        if BOOLEANS.contains(&value.to_lowercase().as_str()) {
            found.push(format!("{path}={value}"));
        }
    }
    for part in ["items", "additionalProperties"] {
        if schema[part].is_object() {
            booleans(path, &schema[part], found);
        }
    }
}

#[test]
fn nothing_is_called_what_yaml_reads_as_true_or_false() {
    let crd = serde_json::to_value(crd()).unwrap();
    let mut found = Vec::new();
    booleans(
        "",
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"],
        &mut found,
    );
    assert_eq!(found, Vec::<String>::new());
}

/// Our own fields sit at most this deep below spec and status.
const OWN_LEVELS: usize = 4;

fn undescribed(path: &str, schema: &Value, level: usize, found: &mut Vec<String>) {
    if level > OWN_LEVELS {
        return;
    }
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        if schema["description"]
            .as_str()
            .is_none_or(|text| text.trim().is_empty())
        {
            found.push(path.clone());
        }
        undescribed(&path, schema, level + 1, found);
        undescribed(&path, &schema["items"], level + 1, found);
    }
}

#[test]
fn every_field_of_ours_is_described() {
    let crd = serde_json::to_value(crd()).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let mut found = Vec::new();
    undescribed("", schema, 0, &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn every_field_of_spec_names_its_scope() {
    let crd = serde_json::to_value(crd()).unwrap();
    let spec = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
    let scopes = ["Scope: revision. ", "Scope: additive. ", "Scope: immediate. "];
    let silent: Vec<&String> = spec
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, schema)| {
            !scopes
                .iter()
                .any(|scope| schema["description"].as_str().unwrap().starts_with(scope))
        })
        .map(|(name, _)| name)
        .collect();
    assert_eq!(silent, Vec::<&String>::new());
}
