//! The pure rooms stay pure: they touch no client, no async runtime, no clock, no environment and no randomness.

#![allow(clippy::unwrap_used)] // a test may fail loudly, also in its helpers

use std::fs;
use std::path::{Path, PathBuf};

const PURE_ROOMS: [&str; 11] = [
    "api",
    "revision",
    "render",
    "traffic",
    "health",
    "analysis",
    "notify",
    "rollout",
    "plugin",
    "leader",
    "simulation",
];

/// What a pure room must not name, and why.
const FORBIDDEN: [(&str, &str); 12] = [
    ("kube::Client", "the API server"),
    ("kube::Api<", "the API server"),
    ("kube::{Api", "the API server"),
    ("tokio", "an async runtime"),
    ("async fn", "an async runtime"),
    ("Timestamp::now", "a clock"),
    ("Zoned::now", "a clock"),
    ("SystemTime", "a clock"),
    ("Instant", "a clock"),
    ("std::env", "the environment"),
    ("std::fs", "the file system"),
    ("rand::", "randomness"),
];

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn offences(text: &str) -> Vec<(usize, &'static str, &'static str)> {
    let code = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim_start().starts_with("//"));
    let hits = |(number, line): (usize, &str)| {
        FORBIDDEN
            .iter()
            .filter(|(word, _)| line.contains(word))
            .map(|(word, why)| (number + 1, *word, *why))
            .collect()
    };
    code.flat_map(|line| -> Vec<_> { hits(line) }).collect()
}

#[test]
fn pure_rooms_name_no_client_no_runtime_and_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    for room in PURE_ROOMS {
        sources(&root.join(room), &mut files);
    }
    assert!(files.len() > 30, "only {} files were found", files.len());
    let found: Vec<String> = files
        .iter()
        .flat_map(|path| {
            let text = fs::read_to_string(path).unwrap();
            offences(&text)
                .into_iter()
                .map(|(line, word, why)| format!("{}:{line}: {word} is {why}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_api_imports_nothing_of_ours() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api"), &mut files);
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        assert!(
            !text.contains("use crate::"),
            "{} imports another room",
            path.display()
        );
    }
}

#[test]
fn an_offence_would_be_found() {
    assert_eq!(
        offences("let a = 1;\nlet now = Timestamp::now();"),
        [(2, "Timestamp::now", "a clock")]
    );
    assert!(offences("// Timestamp::now() is not used here").is_empty());
}
