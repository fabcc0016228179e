//! docs/quick-start.md, word for word: its blocks of commands are run by bash in their order, and what the page says of them is
//! looked for. Only what the page builds is not built again: `cargo build --release` does nothing, and in `target/release` are
//! the programs under test, which are a debug build. The images that it names are podinfo, loaded under these names.
//!
//! It installs the CRD, serves all namespaces and removes the CRD, as the page does. So it is a file of its own with one test,
//! while which no other runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use e2e::environment::{self, Pods, cluster, cluster_dir, repository, say};
use e2e::http_client::get;
use e2e::kubectl::{Said, kubectl, run};
use e2e::{eventually, patience};

const PAGE: &str = "docs/quick-start.md";
/// What a person runs in a second terminal, and where it says that it is ready.
const SECOND_TERMINAL: &str = "target/release/microservice-operator run\n";
const OPERATOR: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
/// Everything but the release build.
const CARGO: &str =
    "#!/bin/sh\n[ \"$*\" = 'build --release' ] || { echo \"cargo $*: not built here\" >&2; exit 1; }\n";

/// A block of commands, and the heading that it stands under.
#[derive(Debug, PartialEq, Eq)]
struct Block {
    heading: String,
    commands: String,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut found = Vec::new();
    let mut heading = "";
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(title) = line.strip_prefix("## ") {
            heading = title;
        } else if line == "```sh" {
            let commands = lines.by_ref().take_while(|line| *line != "```");
            found.push(Block {
                heading: heading.to_owned(),
                commands: commands.map(|line| format!("{line}\n")).collect(),
            });
        }
    }
    found
}

/// A person's clone of the repository and home. Both go with the value.
struct Desk {
    clone: PathBuf,
    home: PathBuf,
    path: String,
}

impl Desk {
    fn new() -> Self {
        let root = cluster_dir().join("quick-start");
        let (clone, home, shims) = (root.join("clone"), root.join("home"), root.join("shims"));
        for directory in [&clone.join("target/release"), &home, &shims] {
            std::fs::create_dir_all(directory).unwrap();
        }
        for name in ["crds", "docs", "manifests", "charts"] {
            symlink(repository().canonicalize().unwrap().join(name), clone.join(name)).unwrap();
        }
        let operator = environment::operator_binary().canonicalize().unwrap();
        for name in ["microservice-operator", "kubectl-microservice"] {
            symlink(
                operator.with_file_name(name),
                clone.join("target/release").join(name),
            )
            .unwrap();
        }
        let cargo = shims.join("cargo");
        std::fs::write(&cargo, CARGO).unwrap();
        std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!(
            "{}:{}:{}",
            shims.display(),
            home.join(".local/bin").display(),
            std::env::var("PATH").unwrap()
        );
        Self { clone, home, path }
    }

    /// bash with these words. The first command that fails ends it.
    fn bash(&self, words: &str) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "--",
                "bash",
                "-euo",
                "pipefail",
                "-c",
                words,
            ])
            .current_dir(&self.clone)
            .env("PATH", &self.path)
            .env("HOME", &self.home)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.clone.parent().unwrap());
        // Where the page did not come to its end.
        let _ = kubectl(
            &[
                "delete",
                "namespace",
                "quick-start",
                "--ignore-not-found",
                "--wait=false",
            ],
            None,
        );
    }
}

/// What runs in the second terminal.
struct Terminal(Child);

impl Terminal {
    async fn open(desk: &Desk, commands: &str) -> Self {
        let log = std::fs::File::create(cluster_dir().join("log/operator-quick-start.log")).unwrap();
        let mut command = desk.bash(commands);
        let terminal = Self(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
        eventually("the operator to be ready", async || {
            let answer = get(OPERATOR, "/readyz").await?;
            if answer.code == 200 {
                Ok(())
            } else {
                Err(answer.body)
            }
        })
        .await;
        terminal
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // As by Ctrl-C; bash has become the operator.
        let _ = Command::new("kill")
            .args(["-INT", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

/// The pods of the revision that serves, as long as there is one. Those of the one before end in their own time.
fn serving_pods() -> BTreeSet<String> {
    let stable = [
        "-n",
        "quick-start",
        "get",
        "msvc",
        "podinfo",
        "-o",
        "jsonpath={.status.stableRevision}",
    ];
    let revision = kubectl(&stable, None);
    if !revision.succeeded || revision.out.is_empty() {
        return BTreeSet::new();
    }
    let label = format!("microservice.dev/revision={}", revision.out);
    let listed = kubectl(
        &["-n", "quick-start", "get", "pods", "-l", &label, "-o", "name"],
        None,
    )
    .ok();
    listed.lines().map(str::to_owned).collect()
}

/// Panics unless the page's words about a block are true.
fn assert_as_said(block: &Block, said: &Said, before: &BTreeSet<String>) {
    let number = block.heading.split('.').next().unwrap();
    match number {
        "2" => {
            for object in ["deployment.apps/podinfo-", "service/podinfo ", "pod/podinfo-"] {
                assert!(said.out.contains(object), "{object}: {said:?}");
            }
        }
        // The container's last words are the reason, and the old pods are not touched.
        "4" | "5" => {
            assert!(
                number == "5" || said.out.contains("address 99999: invalid port"),
                "{said:?}"
            );
            let now = serving_pods();
            assert!(!before.is_empty());
            assert_eq!(*before, now);
        }
        _ => {}
    }
}

async fn follow(blocks: &[Block]) {
    let desk = Desk::new();
    let program = cluster(&["tool", "podinfo"]);
    for version in ["6.9.0", "6.9.1"] {
        let label = format!("org.opencontainers.image.version={version}");
        let tag = format!("stefanprodan/podinfo:{version}");
        cluster(&["image", "load", "--label", &label, &tag, program.trim()]);
    }
    // The page begins with nothing.
    let limit = format!("--timeout={}s", patience().as_secs());
    for object in ["namespace/quick-start", "crd/microservices.microservice.dev"] {
        kubectl(&["delete", object, "--ignore-not-found", &limit], None).ok();
    }
    let mut terminals = Vec::new();
    let mut before = BTreeSet::new();
    let began = Instant::now();
    for block in blocks {
        let started = Instant::now();
        if block.commands == SECOND_TERMINAL {
            terminals.push(Terminal::open(&desk, &block.commands).await);
        } else {
            let said = run(desk.bash(&block.commands), None);
            assert!(said.succeeded, "{block:?}: {said:?}");
            assert_as_said(block, &said, &before);
        }
        before = serving_pods();
        say(&format!(
            "quick start: {}: {:.1} s",
            block.heading,
            started.elapsed().as_secs_f64()
        ));
    }
    say(&format!(
        "quick start: {:.1} s in all",
        began.elapsed().as_secs_f64()
    ));
    assert_eq!(
        terminals.len(),
        1,
        "{PAGE} has one block that is {SECOND_TERMINAL:?}"
    );
}

#[test]
fn the_quick_start_is_true_word_for_word() {
    if environment::pods() == Pods::Simulated {
        return environment::skipped("quick-start", "real pods");
    }
    let page = std::fs::read_to_string(repository().join(PAGE)).unwrap();
    let blocks = blocks(&page);
    assert_eq!(blocks.len(), page.matches("```sh").count());
    assert!(blocks.len() >= 7, "{blocks:?}");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(follow(&blocks));
}
