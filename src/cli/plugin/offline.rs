//! `lint` and `plan`: what is in a file, and what it would change.

use std::path::Path;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use serde_json::Value;

use super::connection::Connection;
use super::trouble::{Asked, Trouble};
use super::{Format, Outcome, note, print_as, terminal};
use crate::api::Microservice;
use crate::cli::render;
use crate::plugin::advice::advice;
use crate::plugin::difference::{Difference, Planned, Tracked};
use crate::plugin::page::Look;
use crate::plugin::reading;
use crate::render::Companions;
use crate::revision::{Record, SourceKind, sources};
use crate::validate;

/// The Microservices of a file, with the documents that they came from.
pub struct File {
    /// All documents.
    pub documents: Vec<Value>,
    /// Those that are Microservices.
    pub services: Vec<Microservice>,
}

/// Reads and checks a file.
///
/// # Errors
/// With a line for everything that is wrong with it.
pub fn read(path: &Path) -> Result<File, Vec<String>> {
    let documents = render::open(path)?;
    let described = documents
        .iter()
        .filter(|document| render::kind(document) == "Microservice");
    let mut services = Vec::new();
    let mut problems = Vec::new();
    for document in described {
        let name = document
            .pointer("/metadata/name")
            .and_then(Value::as_str)
            .unwrap_or("without a name");
        match validate::microservice(document) {
            Ok(service) => services.push(service),
            Err(violations) => {
                problems.extend(violations.iter().map(|v| format!("Microservice {name}: {v}")));
            }
        }
    }
    if services.is_empty() && problems.is_empty() {
        problems.push("there is no Microservice in it".to_owned());
    }
    let file = render::title(path);
    if problems.is_empty() {
        Ok(File { documents, services })
    } else {
        Err(problems
            .into_iter()
            .map(|problem| format!("{file}: {problem}"))
            .collect())
    }
}

/// `lint`.
pub fn lint(path: &Path) -> Result<Outcome, Trouble> {
    let file = match read(path) {
        Ok(file) => file,
        Err(problems) => {
            problems.iter().for_each(|problem| note(problem));
            return Ok(Outcome::Refused);
        }
    };
    let mut text = String::new();
    for service in &file.services {
        let found = advice(service);
        let name = reading::name(service);
        if found.is_empty() {
            text.push_str(&format!("Microservice {name}: valid\n"));
        } else {
            text.push_str(&format!("Microservice {name}: valid, with advice\n"));
        }
        for line in found {
            text.push_str(&format!("  {line}\n"));
        }
    }
    terminal::write(&text)?;
    Ok(Outcome::Done)
}

/// `plan`.
pub async fn plan(
    connection: &Connection,
    path: &Path,
    output: Option<Format>,
    look: Look,
) -> Result<Outcome, Trouble> {
    let file = match read(path) {
        Ok(file) => file,
        Err(problems) => {
            problems.iter().for_each(|problem| note(problem));
            return Ok(Outcome::Refused);
        }
    };
    let mut planned = Vec::new();
    for new in &file.services {
        let namespace = new.metadata.namespace.as_deref().unwrap_or(&connection.namespace);
        let there = Connection {
            client: connection.client.clone(),
            namespace: namespace.to_owned(),
        };
        let near = render::companions(&file.documents, namespace, &connection.namespace)
            .map_err(|problems| Trouble::from(problems.join("; ")))?;
        let name = reading::name(new);
        let live = there.services().get_opt(name).await;
        let live = live.map_err(|error| there.asked("get", name).failed(&error))?;
        let record = match &live {
            Some(live) => stable_record(&there, live).await?,
            None => None,
        };
        let tracked = tracked(&there, new, near).await;
        planned.push(Planned::of(
            live.as_ref(),
            record.as_ref(),
            new,
            &tracked,
            namespace,
        ));
    }
    if let Some(format) = output {
        return print_as(format, &planned);
    }
    let pages: Vec<String> = planned.iter().map(|one| one.page().text(look)).collect();
    terminal::write(&pages.concat())?;
    Ok(Outcome::Done)
}

/// `diff`.
pub async fn diff(
    connection: &Connection,
    name: &str,
    output: Option<Format>,
    look: Look,
) -> Result<Outcome, Trouble> {
    let service = connection.service(name).await?;
    let Some(record) = stable_record(connection, &service).await? else {
        return Err(format!("{name} has no stable revision yet, so there is nothing to compare with").into());
    };
    let tracked = tracked(connection, &service, Companions::default()).await;
    let difference = Difference::of(&service, &record, &tracked);
    if let Some(format) = output {
        return print_as(format, &difference);
    }
    terminal::write(&difference.page().text(look))?;
    Ok(Outcome::Done)
}

/// The record of the stable revision.
async fn stable_record(connection: &Connection, service: &Microservice) -> Result<Option<Record>, Trouble> {
    let Some(stable) = reading::status(service).stable_revision else {
        return Ok(None);
    };
    let records: Api<ControllerRevision> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let asked = Asked {
        verb: "get",
        resource: "controllerrevisions",
        name: Some(&stable),
        namespace: &connection.namespace,
    };
    let found = records.get(&stable).await.map_err(|error| match &error {
        kube::Error::Api(status) if status.code == 404 => Trouble::from(format!(
            "the record of the stable revision {stable} is gone, so it cannot be compared with"
        )),
        error => asked.failed(error),
    })?;
    Record::read(&found)
        .map(Some)
        .map_err(|error| error.to_string().into())
}

/// The content of what a service tracks: from the file where it is in there, else from the cluster.
async fn tracked(connection: &Connection, service: &Microservice, near: Companions) -> Tracked {
    let mut known = near;
    for source in sources(&service.spec.revision).into_keys() {
        if known.content(&source).is_some() {
            continue;
        }
        let (resource, found) = match source.kind {
            SourceKind::ConfigMap => {
                let api: Api<ConfigMap> = Api::namespaced(connection.client.clone(), &connection.namespace);
                let found = api.get_opt(&source.name).await;
                ("configmaps", found.map(|found| known.config_maps.extend(found)))
            }
            SourceKind::Secret => {
                let api: Api<Secret> = Api::namespaced(connection.client.clone(), &connection.namespace);
                let found = api.get_opt(&source.name).await;
                ("secrets", found.map(|found| known.secrets.extend(found)))
            }
        };
        if let Err(error) = found {
            let asked = Asked {
                verb: "get",
                resource,
                name: Some(&source.name),
                namespace: &connection.namespace,
            };
            return Tracked::Unknown(asked.failed(&error).0);
        }
    }
    Tracked::Known(known)
}
