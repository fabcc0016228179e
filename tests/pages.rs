//! What the pages tell people to type is what the programs take, and their links lead somewhere.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use support::repository;

/// All pages, by their paths.
fn pages() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for directory in [
        ".",
        "docs",
        "manifests/examples",
        "charts/microservice-operator",
        "e2e/cluster",
    ] {
        for entry in std::fs::read_dir(repository(directory)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 30, "{} pages", found.len());
    found
}

/// The arguments that pages give to a program, up to where something else begins.
fn commands(page: &str, program: &str) -> Vec<Vec<String>> {
    // What is in a picture is described there.
    let pictures = Regex::new(r"!\[[^\]]*\]").unwrap();
    let page = pictures.replace_all(page, "");
    let variables = Regex::new(r#""\$([a-z]+)""#).unwrap();
    let page = variables.replace_all(&page, "$1");
    let command = Regex::new(&format!("{program}((?: +[^\\s`|><#;&'\")]+)+)")).unwrap();
    command
        .captures_iter(&page)
        .map(|found| found[1].split_whitespace().map(placed).collect())
        .collect()
}

/// A word of a command, with something that could stand there in place of a placeholder.
fn placed(word: &str) -> String {
    if word.chars().all(|c| c.is_ascii_uppercase()) {
        word.to_lowercase()
    } else {
        word.to_owned()
    }
}

/// Panics unless the program takes these arguments. Asked for help at their end, it reads them and does nothing.
fn assert_taken(program: &str, arguments: &[String], page: &Path) {
    let said = Command::new(program)
        .args(arguments)
        .arg("--help")
        .output()
        .expect("it runs");
    let complaint = String::from_utf8_lossy(&said.stderr);
    assert!(
        said.status.success(),
        "{}: {arguments:?}: {complaint}",
        page.display()
    );
}

/// What gives all that follows to kubectl.
const PASSING_ON: [&str; 3] = ["logs", "exec", "port-forward"];

#[test]
fn the_plugin_takes_the_commands_of_all_pages() {
    let mut checked = 0;
    for (path, page) in pages() {
        for mut arguments in commands(&page, "kubectl microservice") {
            if arguments[0].starts_with(['.', '<']) {
                continue;
            }
            if let Some(at) = arguments
                .iter()
                .position(|word| PASSING_ON.contains(&word.as_str()))
            {
                arguments.truncate(at + 1);
            }
            assert_taken(env!("CARGO_BIN_EXE_kubectl-microservice"), &arguments, &path);
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked}");
}

#[test]
fn the_operator_takes_the_commands_of_all_pages() {
    let mut checked = 0;
    for (path, page) in pages() {
        for arguments in commands(&page, "microservice-operator") {
            // Its name is that of a chart, an image and a namespace, too.
            if ["run", "crds", "render", "argo-cd", "api-reference"].contains(&arguments[0].as_str()) {
                assert_taken(env!("CARGO_BIN_EXE_microservice-operator"), &arguments, &path);
                checked += 1;
            }
        }
    }
    assert!(checked > 5, "only {checked}");
}

/// What a heading is called in a link to it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim().to_lowercase().replace(' ', "-");
    heading
        .chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let link = Regex::new(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)").unwrap();
    let heading = Regex::new(r"(?m)^#+ (.*)$").unwrap();
    let mut broken = Vec::new();
    for (path, page) in pages() {
        for found in link.captures_iter(&page) {
            let target = &found[1];
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let file = if target.is_empty() {
                path.clone()
            } else {
                path.parent().unwrap().join(target)
            };
            let there = match found.get(2) {
                None => file.exists(),
                Some(wanted) => std::fs::read_to_string(&file).is_ok_and(|text| {
                    heading
                        .captures_iter(&text)
                        .any(|found| anchor(&found[1]) == wanted.as_str())
                }),
            };
            if !there {
                broken.push(format!("{}: {}", path.display(), &found[0]));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
