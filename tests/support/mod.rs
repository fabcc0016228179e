//! What several tests need: the examples, read strictly, and the leaves of a document.

#![allow(dead_code, clippy::expect_used, clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use microservice_operator::api::Microservice;
use microservice_operator::render::{Child, Companions, offline};
use microservice_operator::validate;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// A path within the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The documents of a YAML file of the repository.
pub fn documents(path: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A file of manifests/examples.
pub struct Example {
    pub name: String,
    pub services: Vec<Microservice>,
    pub companions: Companions,
}

impl Example {
    /// Reads an example; strictly, as the API server would.
    pub fn read(name: &str) -> Self {
        let documents = documents(&format!("manifests/examples/{name}.yaml"));
        let services = of_kind(&documents, "Microservice")
            .map(|document| {
                validate::microservice(document)
                    .unwrap_or_else(|violations| panic!("{name}: {violations:#?}"))
            })
            .collect();
        let companions = Companions {
            config_maps: read_all::<ConfigMap>(&documents, "ConfigMap"),
            secrets: read_all::<Secret>(&documents, "Secret"),
        };
        Self {
            name: name.to_owned(),
            services,
            companions,
        }
    }

    /// All examples there are.
    pub fn all() -> Vec<Self> {
        let mut names: Vec<String> = std::fs::read_dir(repository("manifests/examples"))
            .expect("manifests/examples can be read")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
            .map(|path| {
                path.file_stem()
                    .expect("a name")
                    .to_str()
                    .expect("UTF-8")
                    .to_owned()
            })
            .collect();
        names.sort();
        assert!(names.len() >= 5, "the examples are gone: {names:?}");
        names.iter().map(|name| Self::read(name)).collect()
    }

    /// What a first deployment of it is made of.
    pub fn children(&self) -> Vec<Child> {
        let namespace = |service: &Microservice| {
            service
                .metadata
                .namespace
                .clone()
                .unwrap_or_else(|| "default".to_owned())
        };
        self.services
            .iter()
            .flat_map(|service| offline(service, &namespace(service), &self.companions))
            .collect()
    }
}

fn of_kind<'a>(documents: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    documents.iter().filter(move |document| document["kind"] == kind)
}

fn read_all<T: DeserializeOwned>(documents: &[Value], kind: &str) -> Vec<T> {
    of_kind(documents, kind)
        .map(|d| serde_json::from_value(d.clone()).expect("a core object"))
        .collect()
}

/// The leaves of a document by their paths; items of lists by their name where all have one, else by their
/// place. Empty objects and lists are leaves as well.
pub fn leaves(document: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    collect("", document, &mut found);
    found
}

fn collect(path: &str, value: &Value, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let key = if key.contains('.') {
                    format!("[{key}]")
                } else {
                    format!(".{key}")
                };
                collect(&format!("{path}{key}"), value, found);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (index, item) in items.iter().enumerate() {
                let name = item
                    .get("name")
                    .or(item.get("topologyKey"))
                    .and_then(Value::as_str);
                // Ports are known by their numbers: names of ports are ours.
                let known = if path.ends_with(".ports") { None } else { name };
                collect(
                    &format!("{path}[{}]", known.map_or(index.to_string(), str::to_owned)),
                    item,
                    found,
                );
            }
        }
        leaf => {
            found.insert(path.to_owned(), leaf.clone());
        }
    }
}
