//! The command line: what can be asked of the operator's binary, of which all but `run` works without a cluster, and in
//! [`plugin`] of the one for people.

mod argo_cd;
pub mod plugin;
mod reference;
mod render;
mod run;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use argo_cd::{ArgoCdArguments, ArgoCdForm, argo_cd};
pub use render::RenderArguments;
pub use run::{RunArguments, run};

use crate::api::{crd, crd_yaml};

/// A Kubernetes operator: one Microservice resource, every change a watched rollout that takes itself back.
#[derive(Debug, Parser)]
#[command(name = "microservice-operator", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What the binary can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the operator.
    Run(RunArguments),
    /// Print the CustomResourceDefinitions as YAML.
    Crds,
    /// Print the reference of all fields as Markdown.
    ApiReference,
    /// Check Microservices in a file, and print the objects of their first deployment as YAML.
    Render(RenderArguments),
    /// Print Argo CD's health check and actions of a Microservice as YAML.
    ArgoCd(ArgoCdArguments),
}

/// Prints what Argo CD is to be told.
pub fn print_argo_cd(arguments: &ArgoCdArguments) -> ExitCode {
    print(&argo_cd(arguments.form))
}

/// Prints the CRDs.
pub fn crds() -> ExitCode {
    match crd_yaml() {
        Ok(text) => print(&text),
        Err(error) => complain(&[format!(
            "the CRDs cannot be written as YAML, please report this: {error}"
        )]),
    }
}

/// Prints the reference of all fields.
pub fn api_reference() -> ExitCode {
    print(&reference::reference(&crd()))
}

/// Checks and renders a file.
pub fn render(arguments: &RenderArguments) -> ExitCode {
    match render::render(arguments) {
        Ok(rendered) => {
            say(&rendered.remarks);
            print(&rendered.yaml)
        }
        Err(problems) => complain(&problems),
    }
}

/// Prints the result. A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => complain(&[format!("cannot write to standard output: {error}")]),
    }
}

fn complain(problems: &[String]) -> ExitCode {
    say(problems);
    ExitCode::FAILURE
}

fn say(lines: &[String]) {
    for line in lines {
        // Nobody is left to tell when standard error is closed.
        let _ = writeln!(std::io::stderr(), "{line}");
    }
}
