//! `logs`, `exec` and `port-forward`: which pods a role means, and what kubectl is to be told.
//!
//! They are handed over to kubectl, which runs the plugin anyway: terminals, window sizes, WebSockets with a fallback to
//! SPDY and credentials are solved there, and every flag of it works.

use super::pods::PodLine;
use super::reading;
use crate::api::{Microservice, Role, labels};

/// What kubectl is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Show what all pods write.
    Logs,
    /// Run a command in one pod.
    Exec,
    /// Forward ports to one pod.
    PortForward,
}

/// How kubectl reaches the same cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Way {
    /// The kubeconfig, where it is not the usual one.
    pub kubeconfig: Option<String>,
    /// The context, where it is not the current one.
    pub context: Option<String>,
    /// The namespace.
    pub namespace: String,
}

/// The revision in a role.
///
/// # Errors
/// Where no revision has it, with what goes on.
pub fn revision(service: &Microservice, role: Role) -> Result<String, String> {
    let status = reading::status(service);
    reading::in_role(&status, role)
        .map(|revision| revision.name.clone())
        .ok_or_else(|| {
            format!(
                "{} has no {} revision now: {}",
                reading::name(service),
                role.as_str().to_lowercase(),
                status.message.as_deref().unwrap_or("no operator has seen it yet")
            )
        })
}

/// The pod for a task that needs one: a ready one of the revision, the oldest; where none is ready, any.
///
/// # Errors
/// Where the revision has no pod.
pub fn one_pod<'a>(pods: &'a [PodLine], revision: &str) -> Result<&'a PodLine, String> {
    let mine = pods.iter().filter(|pod| pod.revision == revision);
    mine.min_by_key(|pod| (pod.words != "ready", pod.created, &pod.name))
        .ok_or_else(|| format!("{revision} has no pods"))
}

/// The arguments for kubectl. `pod` is left out for logs, which are those of all pods.
pub fn arguments(
    service: &str,
    revision: &str,
    pod: Option<&str>,
    task: Task,
    way: &Way,
    more: &[String],
) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    if let Some(kubeconfig) = &way.kubeconfig {
        all.push(format!("--kubeconfig={kubeconfig}"));
    }
    if let Some(context) = &way.context {
        all.push(format!("--context={context}"));
    }
    all.push(format!("--namespace={}", way.namespace));
    // A `--` right behind the plugin's own arguments ends these and does not arrive here. kubectl needs it in front of a
    // command, and its own flags come before it.
    let begins_command = task == Task::Exec && more.first().is_some_and(|word| !word.starts_with('-'));
    let end_of_flags = begins_command.then(|| "--".to_owned());
    let more: Vec<String> = end_of_flags.into_iter().chain(more.iter().cloned()).collect();
    let names_container = more
        .iter()
        .take_while(|word| *word != "--")
        .any(|word| word == "-c" || word.starts_with("--container") || word == "--all-containers");
    let container = (!names_container).then(|| format!("--container={service}"));
    match task {
        Task::Logs => {
            all.push("logs".to_owned());
            all.push(format!(
                "--selector={}",
                labels::revision_selector(service, revision)
            ));
            all.extend(["--prefix".to_owned(), "--max-log-requests=100".to_owned()]);
            all.extend(container);
        }
        Task::Exec => {
            all.extend(["exec".to_owned(), pod.unwrap_or_default().to_owned()]);
            all.extend(container);
        }
        Task::PortForward => all.extend(["port-forward".to_owned(), pod.unwrap_or_default().to_owned()]),
    }
    all.extend(more);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn kubectl_is_told_the_same_cluster_and_the_main_container() {
        let way = Way {
            kubeconfig: Some("/k".to_owned()),
            context: Some("c".to_owned()),
            namespace: "shop".to_owned(),
        };
        assert_eq!(
            arguments("web", "web-a", None, Task::Logs, &way, &words("-f")).join(" "),
            "--kubeconfig=/k --context=c --namespace=shop logs --selector=app.kubernetes.io/name=web,\
             app.kubernetes.io/instance=web,microservice.dev/revision=web-a --prefix --max-log-requests=100 \
             --container=web -f"
        );
        let usual = Way {
            namespace: "shop".to_owned(),
            ..Way::default()
        };
        assert_eq!(
            arguments(
                "web",
                "web-a",
                Some("web-a-1"),
                Task::Exec,
                &usual,
                &words("-it -c proxy -- sh")
            )
            .join(" "),
            "--namespace=shop exec web-a-1 -it -c proxy -- sh"
        );
        // What comes after -- is the command's, also where nobody passed the -- on.
        for command in ["-- sh -c ls", "sh -c ls"] {
            assert_eq!(
                arguments(
                    "web",
                    "web-a",
                    Some("web-a-1"),
                    Task::Exec,
                    &usual,
                    &words(command)
                )
                .join(" "),
                "--namespace=shop exec web-a-1 --container=web -- sh -c ls"
            );
        }
    }
}
