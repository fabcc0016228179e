//! Completion for shells and for kubectl, also of what is in the cluster.
//!
//! `kubectl microservice <TAB>` asks an executable `kubectl_complete-microservice`; it calls the hidden command `__complete`,
//! which answers as kubectl's own commands do. Both ways use one engine.

use std::ffi::OsString;
use std::time::Duration;

use clap::{CommandFactory, ValueEnum};
use clap_complete::CompletionCandidate;
use clap_complete::engine::{ArgValueCandidates, complete};
use clap_complete::env::{Bash, CompleteEnv, EnvCompleter, Fish, Zsh};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::ListParams;
use kube::config::Kubeconfig;
use kube::{Api, Client, ResourceExt};

use super::Arguments;
use super::connection::Place;
use super::terminal;
use super::trouble::Trouble;
use crate::api::Microservice;
use crate::plugin::page::printable;

/// The shells that there is completion for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// How long a key press may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The most names that are offered.
const MOST: u32 = 500;
/// What tells the binary that a shell asks for completion.
const VARIABLE: &str = "KUBECTL_MICROSERVICE_COMPLETE";
/// The command by which kubectl asks.
pub const COMMAND: &str = "__complete";
/// kubectl's word for: these, and no file names.
const NO_FILES: u32 = 4;

/// Names of Microservices.
pub fn names() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_cluster(async |place: Place| {
            let connection = place.connect().await.ok()?;
            let found = connection
                .services()
                .list_metadata(&ListParams::default().limit(MOST))
                .await;
            Some(found.ok()?.items.iter().map(ResourceExt::name_any).collect())
        })
    })
}

/// Names of revisions of the service that the line names; of all services of the namespace where it names none.
pub fn revisions() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_cluster(async |place: Place| {
            let connection = place.connect().await.ok()?;
            let found = connection
                .services()
                .list(&ListParams::default().limit(MOST))
                .await;
            let services = found.ok()?.items;
            let words: Vec<String> = std::env::args().collect();
            let named = |service: &&Microservice| words.contains(&service.name_any());
            let meant: Vec<&Microservice> = match services.iter().any(|service| named(&service)) {
                true => services.iter().filter(named).collect(),
                false => services.iter().collect(),
            };
            let statuses = meant.into_iter().filter_map(|service| service.status.as_ref());
            let revisions = statuses.flat_map(|status| &status.revisions);
            Some(revisions.map(|revision| revision.name.clone()).collect())
        })
    })
}

/// What can be waited for.
pub fn goals() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let goals = ["promoted", "healthy", "rolled-back", "paused", "step=1"];
        goals.map(CompletionCandidate::new).into()
    })
}

/// Names of namespaces.
pub fn namespaces() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        from_cluster(async |place: Place| {
            let client: Client = place.connect().await.ok()?.client;
            let found = Api::<Namespace>::all(client)
                .list_metadata(&ListParams::default().limit(MOST))
                .await;
            Some(found.ok()?.items.iter().map(ResourceExt::name_any).collect())
        })
    })
}

/// Names of contexts.
pub fn contexts() -> ArgValueCandidates {
    ArgValueCandidates::new(|| {
        let file = match place_so_far(std::env::args()).kubeconfig {
            Some(path) => Kubeconfig::read_from(path),
            None => Kubeconfig::read(),
        };
        let contexts = file.map(|file| file.contexts).unwrap_or_default();
        contexts
            .into_iter()
            .map(|context| CompletionCandidate::new(context.name))
            .collect()
    })
}

/// Candidates from the cluster that the line so far names; none where it does not answer soon.
fn from_cluster(ask: impl AsyncFnOnce(Place) -> Option<Vec<String>>) -> Vec<CompletionCandidate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let found = runtime.block_on(async {
        let asked = ask(place_so_far(std::env::args()));
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten()
    });
    let found = found.unwrap_or_default().into_iter();
    found.map(CompletionCandidate::new).collect()
}

/// Which cluster and namespace an unfinished line names.
fn place_so_far(words: impl Iterator<Item = String>) -> Place {
    let words: Vec<String> = words.collect();
    let value = |names: &[&str]| {
        let at = words.iter().enumerate().find_map(|(index, word)| {
            names.iter().find_map(|name| {
                if word == name {
                    words.get(index + 1).cloned()
                } else {
                    word.strip_prefix(&format!("{name}=")).map(str::to_owned)
                }
            })
        });
        at.filter(|value| !value.is_empty())
    };
    Place {
        kubeconfig: value(&["--kubeconfig"]).map(Into::into),
        context: value(&["--context"]),
        namespace: value(&["-n", "--namespace"]),
    }
}

/// Answers a shell, where one asks; it is then done.
pub fn answer_shell() {
    CompleteEnv::with_factory(Arguments::command)
        .var(VARIABLE)
        .complete();
}

/// The script that teaches a shell to ask.
pub fn script(shell: Shell) -> Result<String, Trouble> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => &Bash,
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut script = Vec::new();
    let name = "kubectl-microservice";
    completer
        .write_registration(VARIABLE, name, name, name, &mut script)
        .map_err(|error| Trouble::from(format!("the script cannot be written: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Answers kubectl, which gives the words so far, the last one unfinished: a candidate a line, with its help behind a tab,
/// then what is to be done with them.
pub fn answer_kubectl(so_far: impl Iterator<Item = OsString>) -> Result<(), Trouble> {
    let mut words = vec![OsString::from("kubectl-microservice")];
    words.extend(so_far);
    if words.len() == 1 {
        words.push(OsString::new());
    }
    let last = words.len() - 1;
    let found = complete(&mut Arguments::command(), words, last, None)
        .map_err(|error| Trouble::from(format!("nothing can be completed: {error}")))?;
    let mut text = String::new();
    for candidate in found.iter().filter(|candidate| !candidate.is_hide_set()) {
        text.push_str(&candidate.get_value().to_string_lossy());
        if let Some(help) = candidate.get_help() {
            let help = printable(&help.to_string());
            text.push('\t');
            text.push_str(&help);
        }
        text.push('\n');
    }
    terminal::write(&format!("{text}:{NO_FILES}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unfinished_line_tells_which_cluster() {
        let words = "kubectl-microservice -- kubectl-microservice status --context=there -n shop we";
        let place = place_so_far(words.split(' ').map(str::to_owned));
        assert_eq!(place.context.as_deref(), Some("there"));
        assert_eq!(place.namespace.as_deref(), Some("shop"));
        assert_eq!(place.kubeconfig, None);
    }
}
