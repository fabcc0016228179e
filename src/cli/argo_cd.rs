//! What Argo CD is told of a Microservice, from the scripts in contrib/argo-cd: as a patch of its ConfigMap, and as values
//! of its Helm chart.

use std::fmt::Write as _;

use clap::{Args, ValueEnum};

const HEALTH: &str = include_str!("../../contrib/argo-cd/microservice.dev/Microservice/health.lua");

macro_rules! action {
    ($path:literal) => {
        include_str!(concat!(
            "../../contrib/argo-cd/microservice.dev/Microservice/actions/",
            $path
        ))
    };
}

const DISCOVERY: &str = action!("discovery.lua");

/// The actions with their scripts, in the order in which a person meets them.
const ACTIONS: [(&str, &str); 7] = [
    ("promote", action!("promote/action.lua")),
    ("promote-full", action!("promote-full/action.lua")),
    ("abort", action!("abort/action.lua")),
    ("retry", action!("retry/action.lua")),
    ("pause", action!("pause/action.lua")),
    ("resume", action!("resume/action.lua")),
    ("restart", action!("restart/action.lua")),
];

/// In which form it is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArgoCdForm {
    /// A patch of the ConfigMap argocd-cm: `kubectl patch configmap argocd-cm --type merge --patch-file`.
    ConfigMap,
    /// Values of the chart argo-cd.
    HelmValues,
}

/// Which form to print.
#[derive(Args, Debug)]
pub struct ArgoCdArguments {
    /// The form.
    #[arg(value_enum)]
    pub form: ArgoCdForm,
}

/// Argo CD's health check and actions of a Microservice in this form, as YAML.
pub fn argo_cd(form: ArgoCdForm) -> String {
    let (file, indent, mut text) = match form {
        ArgoCdForm::ConfigMap => ("config-map", 2, "data:\n".to_owned()),
        ArgoCdForm::HelmValues => ("helm-values", 4, "configs:\n  cm:\n".to_owned()),
    };
    text.insert_str(
        0,
        &format!(
            "# Made by `microservice-operator argo-cd {file}` from contrib/argo-cd; see docs/gitops.md.\n"
        ),
    );
    let blank = " ".repeat(indent);
    let mut entry = |name: &str, content: &str| {
        let _ = write!(
            text,
            "{blank}resource.customizations.{name}.microservice.dev_Microservice: |\n{}",
            indented(content, indent + 2)
        );
    };
    entry("health", HEALTH);
    entry("actions", &actions());
    text
}

fn actions() -> String {
    let mut text = format!("discovery.lua: |\n{}definitions:\n", indented(DISCOVERY, 2));
    for (name, script) in ACTIONS {
        let _ = write!(text, "- name: {name}\n  action.lua: |\n{}", indented(script, 4));
    }
    text
}

/// The lines moved to the right; empty ones stay empty.
fn indented(text: &str, by: usize) -> String {
    let blank = " ".repeat(by);
    text.lines()
        .map(|line| {
            if line.is_empty() {
                "\n".to_owned()
            } else {
                format!("{blank}{line}\n")
            }
        })
        .collect()
}
