//! `import`: reads what runs, from a cluster or a file, and prints the Microservice that it becomes.

use std::path::PathBuf;

use clap::Args;
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::connection::{Connection, Place};
use super::trouble::{Asked, Trouble};
use super::{Format, Outcome, note, print_as};
use crate::cli::render;
use crate::plugin::import::{LOOKED_AT, Ordered, Source, import};
use crate::validate;

/// What `import` is told.
#[derive(Args, Debug)]
pub struct ImportArguments {
    /// What to import: deployment/NAME, canary/NAME (Flagger) or rollout/NAME (Argo Rollouts)
    #[arg(value_name = "KIND/NAME")]
    source: Source,
    /// A file with it and what belongs to it, instead of the cluster; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: Option<PathBuf>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value = "yaml")]
    output: Format,
}

/// `import`.
pub async fn run(place: &Place, asked: &ImportArguments) -> Result<Outcome, Trouble> {
    let objects = match &asked.filename {
        Some(file) => match render::open(file) {
            Ok(documents) => in_namespace(documents, place.namespace.as_deref()),
            Err(problems) => {
                problems.iter().for_each(|problem| note(problem));
                return Ok(Outcome::Refused);
            }
        },
        None => listed(&place.connect().await?).await?,
    };
    let imported = match import(&asked.source, &objects) {
        Ok(imported) => imported,
        Err(problem) => {
            note(&problem);
            return Ok(Outcome::Refused);
        }
    };
    for line in &imported.notes {
        note(&format!("note: {line}"));
    }
    if let Err(violations) = validate::microservice(&imported.manifest) {
        for violation in violations {
            note(&format!("to be corrected by hand: {violation}"));
        }
    }
    print_as(asked.output, &Ordered(&imported.manifest))
}

/// The objects of one namespace; in a file that names none all are of it.
fn in_namespace(documents: Vec<Value>, namespace: Option<&str>) -> Vec<Value> {
    let own = |document: &Value| {
        document
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    documents
        .into_iter()
        .filter(|document| match (namespace, own(document)) {
            (Some(wanted), Some(own)) => wanted == own,
            (None, _) | (Some(_), None) => true,
        })
        .collect()
}

/// All that may belong together in the namespace. Kinds that are not served have nothing to say.
async fn listed(connection: &Connection) -> Result<Vec<Value>, Trouble> {
    let mut all = Vec::new();
    for (kind, group, version, plural) in LOOKED_AT {
        let api_version = if group.is_empty() {
            version.to_owned()
        } else {
            format!("{group}/{version}")
        };
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.clone(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        let api: Api<DynamicObject> =
            Api::namespaced_with(connection.client.clone(), &connection.namespace, &resource);
        match api.list(&ListParams::default()).await {
            Ok(list) => all.extend(list.into_iter().map(|object| {
                let mut object = serde_json::to_value(&object).unwrap_or_default();
                // The items of a list do not say what they are.
                object["kind"] = Value::String(kind.to_owned());
                object["apiVersion"] = Value::String(api_version.clone());
                object
            })),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => {
                let asked = Asked {
                    verb: "list",
                    resource: plural,
                    name: None,
                    namespace: &connection.namespace,
                };
                return Err(asked.failed(&error));
            }
        }
    }
    Ok(all)
}
