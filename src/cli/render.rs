//! `render`: from a file of YAML documents to the objects of a first deployment.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::api::Microservice;
use crate::render::{Child, Companions, offline};
use crate::revision::SourceKind;
use crate::validate;

/// What `render` is told.
#[derive(Args, Debug)]
pub struct RenderArguments {
    /// The file with one or more Microservices, and with ConfigMaps and Secrets that they track; - reads
    /// standard input
    #[arg(short, long, value_name = "FILE")]
    pub filename: PathBuf,
    /// The namespace of objects that name none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
}

/// What came out.
#[derive(Debug)]
pub(super) struct Rendered {
    /// The objects, as YAML documents.
    pub yaml: String,
    /// What the reader should know.
    pub remarks: Vec<String>,
}

/// Checks and renders.
///
/// # Errors
/// With a line for everything that is wrong with the file.
pub(super) fn render(arguments: &RenderArguments) -> Result<Rendered, Vec<String>> {
    let file = title(&arguments.filename);
    let documents = open(&arguments.filename)?;
    let rendered = render_documents(&documents, &arguments.namespace);
    let named = |lines: Vec<String>| lines.into_iter().map(|line| format!("{file}: {line}")).collect();
    rendered
        .map(|r| Rendered {
            remarks: named(r.remarks),
            ..r
        })
        .map_err(named)
}

/// What a file is called.
pub(super) fn title(file: &Path) -> String {
    match file.to_str() {
        Some("-") => "standard input".to_owned(),
        Some(_) | None => file.display().to_string(),
    }
}

/// The objects in a file.
///
/// # Errors
/// With a line that says why it cannot be read.
pub(super) fn open(file: &Path) -> Result<Vec<Value>, Vec<String>> {
    let say = |problem: String| vec![format!("{}: {problem}", title(file))];
    let text = read(file).map_err(|error| say(error.to_string()))?;
    documents(&text).map_err(|error| say(error.to_string()))
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// The objects in a file; those of a List one by one.
fn documents(text: &str) -> Result<Vec<Value>, serde_saphyr::Error> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents
        .into_iter()
        .flat_map(|document| match (kind(&document), document.get("items")) {
            ("List", Some(Value::Array(items))) => items.clone(),
            _ => vec![document],
        })
        .filter(|document| !document.is_null())
        .collect())
}

/// The kind of an object.
pub(super) fn kind(document: &Value) -> &str {
    document.get("kind").and_then(Value::as_str).unwrap_or_default()
}

fn namespace<'a>(document: &'a Value, default: &'a str) -> &'a str {
    document
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or(default)
}

fn render_documents(documents: &[Value], default_namespace: &str) -> Result<Rendered, Vec<String>> {
    let mut problems = Vec::new();
    let mut remarks = Vec::new();
    let mut children = Vec::new();
    let described: Vec<&Value> = documents
        .iter()
        .filter(|document| kind(document) == "Microservice")
        .collect();
    if described.is_empty() {
        problems.push("there is no Microservice in it".to_owned());
    }
    for document in described {
        let namespace = namespace(document, default_namespace);
        let name = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("without a name");
        let say = |problem: String| format!("Microservice {name}: {problem}");
        match (
            validate::microservice(document),
            companions(documents, namespace, default_namespace),
        ) {
            (Ok(service), Ok(companions)) => {
                remarks.extend(missing(&service, &companions).into_iter().map(say));
                children.extend(offline(&service, namespace, &companions));
            }
            (service, companions) => {
                problems.extend(
                    service
                        .err()
                        .into_iter()
                        .flatten()
                        .map(|violation| say(violation.to_string())),
                );
                problems.extend(companions.err().into_iter().flatten());
            }
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let yaml = yaml(&children)
        .map_err(|error| vec![format!("cannot be written as YAML, please report this: {error}")])?;
    Ok(Rendered { yaml, remarks })
}

/// The ConfigMaps and Secrets of the file that are in `namespace`.
pub(super) fn companions(
    documents: &[Value],
    namespace: &str,
    default_namespace: &str,
) -> Result<Companions, Vec<String>> {
    let near = |document: &&Value| self::namespace(document, default_namespace) == namespace;
    let near: Vec<&Value> = documents.iter().filter(near).collect();
    match (
        read_all::<ConfigMap>(&near, "ConfigMap"),
        read_all::<Secret>(&near, "Secret"),
    ) {
        (Ok(config_maps), Ok(secrets)) => Ok(Companions { config_maps, secrets }),
        (config_maps, secrets) => Err(config_maps
            .err()
            .into_iter()
            .flatten()
            .chain(secrets.err().into_iter().flatten())
            .collect()),
    }
}

fn read_all<T: DeserializeOwned>(documents: &[&Value], wanted: &str) -> Result<Vec<T>, Vec<String>> {
    let (read, failed): (Vec<_>, Vec<_>) = documents
        .iter()
        .filter(|document| kind(document) == wanted)
        .map(|document| {
            serde_path_to_error::deserialize::<_, T>(*document).map_err(|error| {
                let name = document
                    .pointer("/metadata/name")
                    .and_then(Value::as_str)
                    .unwrap_or("without a name");
                format!("{wanted} {name}: {}: {}", error.path(), error.inner())
            })
        })
        .partition(Result::is_ok);
    let problems: Vec<String> = failed.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() {
        Ok(read.into_iter().flatten().collect())
    } else {
        Err(problems)
    }
}

fn missing(service: &Microservice, companions: &Companions) -> Vec<String> {
    let remark = |kind: &str, name: &str| {
        format!(
            "{kind} {name} is not in the file: its content is part of the revision, so the revision has \
             another name \
             in the cluster, and its pods use an immutable copy"
        )
    };
    let sources = companions.missing(service).into_iter();
    sources
        .map(|source| match source.kind {
            SourceKind::ConfigMap => remark("ConfigMap", &source.name),
            SourceKind::Secret => remark("Secret", &source.name),
        })
        .collect()
}

fn yaml(children: &[Child]) -> Result<String, serde_saphyr::ser::Error> {
    let documents: Result<Vec<String>, _> = children
        .iter()
        .map(|child| serde_saphyr::to_string(&child.object))
        .collect();
    Ok(documents?
        .iter()
        .map(|document| format!("---\n{document}"))
        .collect())
}
