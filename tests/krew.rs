//! The Krew manifest of a release, by Krew's own check.

#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::repository;

const ARCHIVES: [&str; 4] = ["linux-amd64", "linux-arm64", "darwin-amd64", "darwin-arm64"];

/// A directory of this test with archives of this content.
fn archives(test: &str, platforms: &[&str]) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("krew-{test}"));
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    for platform in platforms {
        fs::write(
            directory.join(format!("kubectl-microservice-{platform}.tar.gz")),
            platform,
        )
        .unwrap();
    }
    directory
}

fn release(arguments: &[&str], directory: &Path) -> Output {
    Command::new(repository("packaging/krew/release.sh"))
        .args(arguments)
        .arg(directory)
        .output()
        .unwrap()
}

const RELEASE: [&str; 3] = [
    "0.1.0",
    "https://microservice.example",
    "https://microservice.example/get/",
];

/// What Krew says of a manifest.
fn checked(manifest: &str, directory: &Path) -> (bool, String) {
    // Krew wants the file to be called like the plugin.
    let file = directory.join("microservice.yaml");
    fs::write(&file, manifest).unwrap();
    let output = Command::new(repository("e2e/cluster/bin/validate-krew-manifest"))
        .arg("-manifest")
        .arg(&file)
        .arg("-skip-install")
        .output()
        .unwrap_or_else(|error| panic!("Krew's check cannot be run ({error}): `make krew` builds it"));
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn krew_takes_the_manifest_of_a_release() {
    let directory = archives("release", &ARCHIVES);
    let output = release(&RELEASE, &directory);
    assert!(output.status.success(), "{output:?}");
    let manifest = String::from_utf8(output.stdout).unwrap();
    assert!(
        !manifest.contains(['<', '>']),
        "something is left open: {manifest}"
    );
    assert!(
        manifest.contains("get/v0.1.0/kubectl-microservice-linux-amd64.tar.gz"),
        "{manifest}"
    );
    let (good, words) = checked(&manifest, &directory);
    assert!(good, "{words}");
    // Krew does look.
    let (good, words) = checked(&manifest.replace("version: v", "version: "), &directory);
    assert!(!good && words.contains("version"), "{words}");
    let template = fs::read_to_string(repository("packaging/krew/microservice.yaml")).unwrap();
    assert!(!checked(&template, &directory).0);
}

#[test]
fn a_release_that_is_not_whole_has_no_manifest() {
    let some = archives("part", &ARCHIVES[..3]);
    let refused = |arguments: &[&str], words: &str| {
        let output = release(arguments, &some);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
        assert!(error.contains(words), "{words}: {error}");
    };
    refused(&RELEASE, "darwin-arm64.tar.gz is missing");
    refused(&["v0.1.0", RELEASE[1], RELEASE[2]], "is no version");
    refused(
        &["0.1.0", "http://microservice.example", RELEASE[2]],
        "does not begin with https://",
    );
    refused(&["0.1.0", RELEASE[1], "https://x|e;touch y"], "is no address");
    refused(&["0.1.0"], "usage:");
}
