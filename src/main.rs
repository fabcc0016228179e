//! The operator process: arguments, wiring, shutdown; nothing else.

use std::process::ExitCode;

use clap::Parser;
use microservice_operator::cli::{self, Arguments, Command};

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run(arguments) => cli::run(arguments),
        Command::Crds => cli::crds(),
        Command::ApiReference => cli::api_reference(),
        Command::Render(arguments) => cli::render(&arguments),
        Command::ArgoCd(arguments) => cli::print_argo_cd(&arguments),
    }
}
