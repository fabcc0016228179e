//! The kubectl plugin, `kubectl microservice`: arguments and exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    microservice_operator::cli::plugin::main()
}
