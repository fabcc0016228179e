//! docs/troubleshooting.md, or docs/adoption.md for what it links to, has a row for every reason that a condition, a verdict, a check or an event can have, and for no
//! other one.

#![allow(clippy::unwrap_used)] // a test may fail loudly, also in its helpers

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use support::repository;

/// Where reasons come from.
const ROOMS: [&str; 2] = ["src/rollout", "src/health"];

/// Files with names of other things alone: of edges, of units, of the pods' fields.
const OTHER_FILES: [&str; 4] = ["edges.rs", "quantity.rs", "fixtures.rs", "pod.rs"];

/// Words of the code that look like reasons and are none.
const OTHER_WORDS: [(&str, &[&str]); 6] = [
    (
        "kinds and features of Kubernetes",
        &[
            "Microservice",
            "Deployment",
            "TCP",
            "None",
            "Istio",
            "HTTPRouteRequestMirror",
            "HTTPRouteRequestPercentageMirror",
        ],
    ),
    (
        "types and values of Kubernetes' conditions",
        &[
            "True",
            "False",
            "Accepted",
            "ResolvedRefs",
            "Ready",
            "PodScheduled",
            "ReplicaFailure",
        ],
    ),
    (
        "ends of Jobs, which a message tells",
        &[
            "Failed",
            "FailureTarget",
            "SuccessCriteriaMet",
            "Complete",
            "Succeeded",
            "DeadlineExceeded",
            "BackoffLimitExceeded",
        ],
    ),
    (
        "what a container waits for or how it ended, where that is no reason of its own",
        &[
            "ContainerCreating",
            "PodInitializing",
            "Completed",
            "Error",
            "OOMKilled",
            "Unknown",
            "ContainerStatusUnknown",
            "RestartingAllContainers",
            "ErrImagePull",
        ],
    ),
    ("outcomes in the history", &["Interrupted"]),
    (
        "values of fields, which a message names",
        &["Enabled", "Disabled"],
    ),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, found);
        } else if name.ends_with(".rs")
            && !name.ends_with("tests.rs")
            && !OTHER_FILES.contains(&name.as_str())
        {
            found.push(path);
        }
    }
}

/// The words in CamelCase that code says, without its comments and tests.
fn said(code: &str) -> BTreeSet<String> {
    let word = Regex::new(r#""([A-Z][a-z]*[A-Z]?[A-Za-z]+)""#).unwrap();
    let code = code.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| {
            word.captures_iter(line)
                .map(|found| found[1].to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// The words in the first columns of the page's tables that have one called reason.
fn documented(page: &str) -> BTreeSet<String> {
    let word = Regex::new("`([A-Za-z]+)`").unwrap();
    let mut column = None;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        if cells.len() < 3 {
            column = None;
        } else if column.is_none() {
            column = cells.iter().position(|cell| *cell == "reason");
        } else if let Some(cell) = column.and_then(|column| cells.get(column)) {
            found.extend(word.captures_iter(cell).map(|found| found[1].to_owned()));
        }
    }
    found
}

#[test]
fn every_reason_has_a_row_and_every_row_a_reason() {
    let mut files = Vec::new();
    for room in ROOMS {
        sources(&repository(room), &mut files);
    }
    let words: BTreeSet<String> = files
        .iter()
        .flat_map(|file| said(&fs::read_to_string(file).unwrap()))
        .collect();
    let others: BTreeSet<&str> = OTHER_WORDS
        .iter()
        .flat_map(|(_, words)| words.iter().copied())
        .collect();
    let page = |name: &str| fs::read_to_string(repository(&format!("docs/{name}.md"))).unwrap();
    let mut rows = documented(&page("troubleshooting"));
    rows.extend(documented(&page("adoption")));
    let missing: Vec<&String> = words
        .iter()
        .filter(|word| !rows.contains(*word) && !others.contains(word.as_str()))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/troubleshooting.md and docs/adoption.md have no row for {missing:?}; what is no reason belongs into OTHER_WORDS"
    );
    let unsaid: Vec<&String> = rows.iter().filter(|row| !words.contains(*row)).collect();
    assert!(unsaid.is_empty(), "no code says {unsaid:?}, which have rows");
    let unused: Vec<&&str> = others.iter().filter(|word| !words.contains(**word)).collect();
    assert!(
        unused.is_empty(),
        "no code says {unused:?} of OTHER_WORDS any more"
    );
}

#[test]
fn what_is_said_and_what_is_documented_are_found() {
    let code = "a(\"RolledBack\", \"web\");\n// \"Comment\"\n#[cfg(test)]\nb(\"OnlyInTests\")";
    assert_eq!(said(code).into_iter().collect::<Vec<_>>(), ["RolledBack"]);
    let page = "| a | reason |\n|---|---|\n| `X` | `One`, `Two` |\n\n| a |\n|---|\n| `No` |\n";
    assert_eq!(documented(page).into_iter().collect::<Vec<_>>(), ["One", "Two"]);
}
