//! `simulate`: from a file, and what is scripted to go wrong, to a timeline.

use std::path::{Path, PathBuf};

use clap::Args;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use serde_json::Value;

use super::offline::{File, read};
use super::trouble::Trouble;
use super::{Format, Outcome, duration, note, print_as, terminal};
use crate::api::Microservice;
use crate::cli::render;
use crate::plugin::page::Look;
use crate::plugin::reading;
use crate::plugin::timeline::timeline;
use crate::revision::SourceKind;
use crate::rollout::ReplicasHolder;
use crate::simulation::{Failure, Manifest, Played, Script, play};

/// The tag of the image that is taken to run before, where no manifest says it.
const BEFORE: &str = "before";

/// What `simulate` is told.
#[derive(Args, Debug)]
pub struct SimulateArguments {
    /// The file with the Microservice that goes out, and what it tracks; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    filename: PathBuf,
    /// The file with what runs before. Default: the same with another image
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// What goes wrong with the candidate: none, crash, never-ready, image-missing, errors=N% or slow=Nms
    #[arg(long, value_name = "FAILURE", default_value = "none")]
    failure: Failure,
    /// When it begins to, counted from the beginning of the rollout
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = duration)]
    at: std::time::Duration,
    /// Requests a second of the users
    #[arg(long, value_name = "REQUESTS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(0..=5000))]
    traffic: u64,
    /// How long a person takes to promote what waits for one
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    person: std::time::Duration,
    /// What is random follows from it
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// How it is printed
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// Plays each Microservice of the file.
pub fn simulate(asked: &SimulateArguments, look: Look) -> Result<Outcome, Trouble> {
    let whole = |time: std::time::Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let script = Script {
        failure: asked.failure,
        at: whole(asked.at),
        traffic: asked.traffic,
        seed: asked.seed,
        person: whole(asked.person),
    };
    let played = match all(asked, &script) {
        Ok(played) => played,
        Err(problems) => {
            problems.iter().for_each(|problem| note(problem));
            return Ok(Outcome::Refused);
        }
    };
    match (asked.output, played.as_slice()) {
        (Some(format), [one]) => print_as(format, one),
        (Some(format), several) => print_as(format, &several),
        (None, several) => {
            let pages: Vec<String> = several.iter().map(|one| timeline(one).text(look)).collect();
            terminal::write(&pages.join("\n"))?;
            Ok(Outcome::Done)
        }
    }
}

fn all(asked: &SimulateArguments, script: &Script) -> Result<Vec<Played>, Vec<String>> {
    let file = read(&asked.filename)?;
    let before = asked.from.as_deref().map(read).transpose()?;
    let title = render::title(&asked.filename);
    let mut played = Vec::new();
    for service in &file.services {
        let name = reading::name(service);
        let say = |words: String| vec![format!("{title}: Microservice {name}: {words}")];
        let (next, missing) = manifest(&file, service)?;
        let runs = match (&before, asked.from.as_deref()) {
            (Some(before), Some(path)) => earlier(before, path, name)?,
            _ => other_image(&next),
        };
        let mut one = play(&runs, &next, script).map_err(|message| {
            say(format!(
                "what runs before does not become healthy in the simulation: {message}"
            ))
        })?;
        one.remarks.extend(missing);
        played.push(one);
    }
    Ok(played)
}

/// What runs before, by a file of its own.
fn earlier(file: &File, path: &Path, name: &str) -> Result<Manifest, Vec<String>> {
    let found = file
        .services
        .iter()
        .find(|service| reading::name(service) == name);
    let Some(found) = found else {
        return Err(vec![format!(
            "{}: there is no Microservice {name} in it, which is what goes out: name the file with what runs now",
            render::title(path)
        )]);
    };
    manifest(file, found).map(|(manifest, _)| manifest)
}

/// The same, with an image of another tag.
fn other_image(next: &Manifest) -> Manifest {
    let mut before = next.clone();
    let image = &mut before.service.spec.revision.image;
    let without_digest = image.split('@').next().unwrap_or_default();
    let slash = without_digest.rfind('/').map_or(0, |at| at + 1);
    let end = without_digest[slash..]
        .find(':')
        .map_or(without_digest.len(), |at| slash + at);
    *image = format!("{}:{BEFORE}", &without_digest[..end]);
    before
}

/// A Microservice of a file, and what is to be known of it.
fn manifest(file: &File, service: &Microservice) -> Result<(Manifest, Vec<String>), Vec<String>> {
    let namespace = service.metadata.namespace.as_deref().unwrap_or("default");
    let mut companions = render::companions(&file.documents, namespace, "default")?;
    let mut remarks = Vec::new();
    for source in companions.missing(service) {
        let metadata = kube::core::ObjectMeta {
            name: Some(source.name.clone()),
            ..Default::default()
        };
        let kind = match source.kind {
            SourceKind::ConfigMap => {
                let map = ConfigMap {
                    metadata,
                    ..Default::default()
                };
                companions.config_maps.push(map);
                "ConfigMap"
            }
            SourceKind::Secret => {
                let secret = Secret {
                    metadata,
                    ..Default::default()
                };
                companions.secrets.push(secret);
                "Secret"
            }
        };
        remarks.push(format!(
            "{kind} {} is not in the file and is taken to be empty, so the revisions are called otherwise than in the \
             cluster",
            source.name
        ));
    }
    let manifest = Manifest {
        service: service.clone(),
        holder: holder(file, service),
        companions,
    };
    Ok((manifest, remarks))
}

/// Whoever applies the file holds the replicas that it names.
fn holder(file: &File, service: &Microservice) -> ReplicasHolder {
    let of_it = |document: &&Value| {
        render::kind(document) == "Microservice"
            && document.pointer("/metadata/name").and_then(Value::as_str) == Some(reading::name(service))
    };
    let document = file.documents.iter().find(of_it);
    match document.and_then(|document| document.pointer("/spec/replicas")) {
        Some(_) => ReplicasHolder::Manifest {
            manager: "kubectl".to_owned(),
        },
        None => ReplicasHolder::Nobody,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::Companions;

    #[test]
    fn what_runs_before_has_an_image_of_the_same_name() {
        let before = |image: &str| {
            let service = serde_json::json!({
                "apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice",
                "metadata": {"name": "web"}, "spec": {"image": image},
            });
            let next = Manifest {
                service: serde_json::from_value(service).unwrap(),
                holder: ReplicasHolder::Nobody,
                companions: Companions::default(),
            };
            other_image(&next).service.spec.revision.image
        };
        assert_eq!(before("web"), "web:before");
        assert_eq!(before("web:1"), "web:before");
        assert_eq!(before("host:5000/team/web"), "host:5000/team/web:before");
        assert_eq!(
            before("host:5000/team/web:1@sha256:00"),
            "host:5000/team/web:before"
        );
    }
}
