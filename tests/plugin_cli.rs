//! The kubectl plugin, by running its binary where no cluster is needed or reached.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use support::repository;

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run_with(arguments: &[&str], input: &str, kubeconfig: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kubectl-microservice"))
        .args(arguments)
        .current_dir(repository(""))
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // A run that reads no input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn run(arguments: &[&str], input: &str) -> Ran {
    run_with(arguments, input, "/nonexistent/kubeconfig")
}

/// A kubeconfig in a file of its own.
fn kubeconfig(name: &str, user: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         clusters: [{{name: here, cluster: {{server: 'http://127.0.0.1:1'}}}}]\n\
         contexts: [{{name: here, context: {{cluster: here, user: me, namespace: shop}}}}]\n\
         users: [{{name: me, user: {user}}}]\n"
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[track_caller]
fn assert_one_sentence(ran: &Ran, words: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{}", ran.err);
    assert_eq!(ran.err.lines().count(), 1, "{}", ran.err);
    for word in words {
        assert!(ran.err.contains(word), "no {word:?} in {}", ran.err);
    }
}

#[test]
fn a_kubeconfig_that_leads_nowhere_is_one_sentence() {
    for arguments in [
        &["status", "web"][..],
        &["promote", "web"],
        &["list", "-w"],
        &["wait", "web"],
    ] {
        assert_one_sentence(&run(arguments, ""), &["kubeconfig cannot be used", "KUBECONFIG"]);
    }
    let there = kubeconfig("contexts.yaml", "{}");
    let ran = run_with(&["status", "web", "--context", "other"], "", &there);
    assert_one_sentence(&ran, &["kubeconfig cannot be used", "other"]);
    let ran = run(&["status", "web", "--kubeconfig", "/nonexistent/other"], "");
    assert_one_sentence(&ran, &["/nonexistent/other"]);
}

#[test]
fn a_cluster_that_does_not_answer_is_one_sentence() {
    let there = kubeconfig("silent.yaml", "{}");
    for arguments in [
        &["why", "web"][..],
        &["list"],
        &["abort", "web"],
        &["list", "-w"],
        &["wait", "web"],
    ] {
        let ran = run_with(arguments, "", &there);
        assert_one_sentence(&ran, &["cluster cannot be reached", "--context"]);
    }
}

#[test]
fn a_login_command_that_fails_is_one_sentence() {
    let user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: /nonexistent/login, interactiveMode: Never}}";
    let ran = run_with(&["status", "web"], "", &kubeconfig("login.yaml", user));
    assert_eq!((ran.code, ran.err.lines().count()), (Some(3), 1), "{}", ran.err);
}

#[test]
fn wrong_usage_is_not_mistaken_for_a_time_out() {
    for arguments in [
        &["status"][..],
        &["status", "Web_1"],
        &["status", "../other/web"],
        &["wait", "web", "--for=done"],
        &["wait", "web", "--timeout=soon"],
        &["wait", "web", "--timeout=-1s"],
        &["set", "image", "web", "a="],
        &["nonsense"],
    ] {
        let ran = run(arguments, "");
        assert_eq!(
            (ran.code, ran.out.as_str()),
            (Some(3), ""),
            "{arguments:?}: {}",
            ran.err
        );
        assert!(!ran.err.is_empty());
    }
    let help = run(&["--help"], "");
    assert_eq!(help.code, Some(0));
    assert!(help.out.contains("Usage: kubectl microservice"), "{}", help.out);
}

#[test]
fn eject_asks_first() {
    let ran = run_with(&["eject", "web"], "", &kubeconfig("eject.yaml", "{}"));
    assert_one_sentence(&ran, &["--yes"]);
}

const MINIMAL: &str = "\
apiVersion: microservice.dev/v1alpha1
kind: Microservice
metadata: {name: orders}
spec: {image: 'orders:1'}
";

#[test]
fn render_and_lint_need_no_cluster() {
    let ran = run(&["render", "-f", "-", "-n", "shop"], MINIMAL);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("namespace: shop"), "{}", ran.out);
    let ran = run(&["lint", "-f", "-"], MINIMAL);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(
        ran.out
            .starts_with("Microservice orders: valid, with advice\n  spec.resources"),
        "{}",
        ran.out
    );
    let ran = run(&["lint", "-f", "-"], &MINIMAL.replace("image:", "imagee:"));
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(ran.err.contains("did you mean image?"), "{}", ran.err);
    let ran = run(&["lint", "-f", "/nonexistent/file"], "");
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("/nonexistent/file"), "{}", ran.err);
}

#[test]
fn kubectl_is_answered_in_its_own_way() {
    let ran = run(&["__complete", "pro"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(ran.out, "promote\tEnd the wait of the present step\n:4\n");
    let ran = run(&["__complete", "-n", "shop", "wait", "web", "--for", "pau"], "");
    assert_eq!(ran.out, "paused\n:4\n");
    let ran = run(&["__complete", "completion", ""], "");
    assert!(ran.out.starts_with("bash"), "{}", ran.out);
    let there = kubeconfig("completion.yaml", "{}");
    let ran = run_with(&["__complete", "status", "--context", ""], "", &there);
    assert_eq!(ran.out, "here\n:4\n");
    // A cluster that does not answer has no names.
    let ran = run_with(&["__complete", "status", "we"], "", &there);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), ":4\n"));
}

#[test]
fn shells_get_their_scripts() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(&["completion", shell], "");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{shell}");
        assert!(
            ran.out.contains("KUBECTL_MICROSERVICE_COMPLETE"),
            "{shell}: {}",
            ran.out
        );
    }
}
