//! `eject`: plain manifests are written, then the operator lets go. Pods run on.

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, Preconditions, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};

use super::connection::Connection;
use super::trouble::{Asked, Trouble};
use super::{Named, Outcome, note, patching, terminal};
use crate::api::Microservice;
use crate::plugin::{eject, reading};
use crate::render::ChildKind;

/// What `eject` is told.
#[derive(Args, Debug)]
pub struct EjectArguments {
    #[command(flatten)]
    named: Named,
    /// Writes a file for each object into this directory, which must not exist, instead of to standard output
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// How long the cluster is given to take the ownership away.
const PATIENCE: Duration = Duration::from_secs(60);

/// An object with its manifest.
struct Child {
    kind: ChildKind,
    name: String,
    manifest: Value,
}

/// `eject`.
pub async fn eject(connection: &Connection, arguments: &EjectArguments) -> Result<Outcome, Trouble> {
    let name = &arguments.named.name;
    if !arguments.yes && !std::io::stdin().is_terminal() {
        return Err(format!("{name} would be released from the operator for good: say --yes").into());
    }
    let service = connection.service(name).await?;
    let wanted = eject::children(&service)?;
    let stable = reading::status(&service).stable_revision.unwrap_or_default();
    let children = read(connection, wanted, &stable).await?;
    write(&children, arguments.dir.as_deref())?;
    if !arguments.yes && !confirmed(name, children.len())? {
        note(&format!("{name}: nothing was changed"));
        return Ok(Outcome::Refused);
    }
    release(connection, &service, name).await?;
    for child in children
        .iter()
        .filter(|child| child.kind == ChildKind::HorizontalPodAutoscaler)
    {
        let target = json!({"spec": {"scaleTargetRef": child.manifest.pointer("/spec/scaleTargetRef")}});
        let scalers = api(connection, child.kind);
        let written = scalers
            .patch(&child.name, &patching(), &Patch::Merge(&target))
            .await;
        let asked = asked(connection, "patch", child.kind, &child.name);
        written.map_err(|error| asked.failed(&error))?;
    }
    note(&format!(
        "{name}: released; {} objects run on by themselves",
        children.len()
    ));
    Ok(Outcome::Done)
}

fn api(connection: &Connection, kind: ChildKind) -> Api<DynamicObject> {
    let gvk = GroupVersionKind::gvk(kind.group(), kind.version(), kind.kind());
    let resource = ApiResource::from_gvk(&gvk);
    Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource)
}

fn asked<'a>(connection: &'a Connection, verb: &'a str, kind: ChildKind, name: &'a str) -> Asked<'a> {
    Asked {
        verb,
        resource: kind.kind(),
        name: Some(name),
        namespace: &connection.namespace,
    }
}

async fn read(
    connection: &Connection,
    wanted: Vec<(ChildKind, String)>,
    deployment: &str,
) -> Result<Vec<Child>, Trouble> {
    let mut children = Vec::new();
    for (kind, name) in wanted {
        let found = api(connection, kind).get_opt(&name).await;
        let found = found.map_err(|error| asked(connection, "get", kind, &name).failed(&error))?;
        let Some(found) = found else {
            note(&format!(
                "{} {name} is in the inventory and not in the cluster: left out",
                kind.kind()
            ));
            continue;
        };
        let live = serde_json::to_value(&found).map_err(|error| Trouble::from(error.to_string()))?;
        let manifest = eject::plain(&live, deployment);
        children.push(Child { kind, name, manifest });
    }
    Ok(children)
}

fn write(children: &[Child], directory: Option<&Path>) -> Result<(), Trouble> {
    let yaml = |child: &Child| {
        serde_saphyr::to_string(&child.manifest)
            .map_err(|error| Trouble::from(format!("{} cannot be written as YAML: {error}", child.name)))
    };
    let Some(directory) = directory else {
        for child in children {
            terminal::write(&format!("---\n{}", yaml(child)?))?;
        }
        return Ok(());
    };
    let failed = |error: std::io::Error| {
        Trouble::from(format!(
            "{}: {error}: nothing was changed in the cluster",
            directory.display()
        ))
    };
    std::fs::create_dir(directory).map_err(failed)?;
    for child in children {
        let file = directory.join(eject::file_name(child.kind, &child.name));
        std::fs::write(file, yaml(child)?).map_err(failed)?;
    }
    Ok(())
}

fn confirmed(name: &str, objects: usize) -> Result<bool, Trouble> {
    let question =
        format!("Release {name} and its {objects} objects from the operator for good? Pods run on. [y/N] ");
    let mut answer = String::new();
    let asked = std::io::stderr()
        .write_all(question.as_bytes())
        .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.map_err(|error| Trouble::from(format!("the answer cannot be read: {error}")))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Deletes the Microservice so that its objects stay: the garbage collector takes their owner away before it is gone.
/// Only the one that was looked at, as it was then.
async fn release(connection: &Connection, service: &Microservice, name: &str) -> Result<(), Trouble> {
    let orphaning = DeleteParams {
        propagation_policy: Some(PropagationPolicy::Orphan),
        preconditions: Some(Preconditions {
            uid: service.metadata.uid.clone(),
            resource_version: service.metadata.resource_version.clone(),
        }),
        ..DeleteParams::default()
    };
    let deleted = connection.services().delete(name, &orphaning).await;
    deleted.map_err(|error| connection.asked("delete", name).failed(&error))?;
    let gone = await_condition(connection.services(), name, |found: Option<&Microservice>| {
        found.is_none()
    });
    match tokio::time::timeout(PATIENCE, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(format!("{name}: whether it is gone cannot be seen: {error}").into()),
        Err(_) => Err(format!(
            "{name} is being released, and the cluster's garbage collector has not finished: look with kubectl get msvc {name}"
        )
        .into()),
    }
}
