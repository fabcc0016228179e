//! Helm, of both versions that people use.

use std::process::Stdio;
use std::sync::Once;

use crate::environment::{cluster, operator_image, repository};
use crate::kubectl::{Said, run};

/// Where the image of the operator under test is, once it is loaded.
pub const REPOSITORY: &str = "registry.local/microservice-operator";
/// Its tag: the version of the crate, as the chart's own.
pub const TAG: &str = env!("CARGO_PKG_VERSION");

/// A version of Helm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Helm {
    /// Helm 3.
    Three,
    /// Helm 4.
    Four,
}

impl Helm {
    /// The name of its program here.
    pub fn program(self) -> &'static str {
        match self {
            Self::Three => "helm-3",
            Self::Four => "helm-4",
        }
    }

    /// Runs it in the root of the repository, with `values` where `--values=-` stands.
    pub fn run(self, arguments: &[&str], values: Option<&str>) -> Said {
        let program = repository().join("e2e/cluster/bin").join(self.program());
        assert!(
            program.exists(),
            "{} is missing: `make helm` builds it",
            program.display()
        );
        let mut command = std::process::Command::new(program);
        command
            .args(arguments)
            .current_dir(repository())
            .stdin(Stdio::null());
        run(command, values)
    }
}

/// Loads the image of the operator into the cluster.
pub fn load_operator_image() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let archive = operator_image();
        assert!(
            archive.exists(),
            "{} is missing: `make e2e-image` packs it, and OPERATOR_IMAGE names another",
            archive.display()
        );
        cluster(&["image", "import", &archive.display().to_string()]);
    });
}
