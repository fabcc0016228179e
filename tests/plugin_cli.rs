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

#[test]
fn bash_completes_by_its_script() {
    let binary = env!("CARGO_BIN_EXE_kubectl-microservice");
    let directory = std::path::Path::new(binary).parent().unwrap().display();
    let completed = |words: &str| {
        let script = format!(
            "PATH={directory}:$PATH; source <(kubectl-microservice completion bash) || exit 9
             COMP_WORDS=({words}); COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 )); COMP_TYPE=9
             wanted=$(complete -p kubectl-microservice); wanted=${{wanted##*-F }}
             ${{wanted%% *}} kubectl-microservice \"${{COMP_WORDS[COMP_CWORD]}}\"
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash")
            .args(["--norc", "-c", &script])
            .env("KUBECONFIG", "/nonexistent/kubeconfig")
            .output()
            .expect("bash can be run");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && error.is_empty(), "{words}: {error}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(completed("kubectl-microservice sim").trim(), "simulate");
    assert_eq!(
        completed("kubectl-microservice wait web --for pau").trim(),
        "paused"
    );
}

/// A kubeconfig of a cluster that gives this answer to whatever is asked of its Microservices, and its version.
fn answering(name: &str, code: u16, status: &str, minor: u32) -> String {
    use std::io::{BufRead, BufReader};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let status = status.to_owned();
    // It lives as long as the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().and_then(Result::ok).unwrap_or_default();
            // To the end of the head; no request here has a body that is worth reading.
            while lines
                .next()
                .and_then(Result::ok)
                .is_some_and(|line| !line.is_empty())
            {}
            let (code, body) = if first.contains(" /version") {
                let info = format!(
                    r#"{{"major":"1","minor":"{minor}","gitVersion":"","gitCommit":"","gitTreeState":"","buildDate":"","goVersion":"","compiler":"","platform":""}}"#
                );
                (200, info)
            } else {
                (code, status.clone())
            };
            let _ = write!(
                stream,
                "HTTP/1.1 {code} x\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    let file = kubeconfig(name, "{}");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("127.0.0.1:1'", &format!("127.0.0.1:{port}'"))).unwrap();
    file
}

const COMMANDS: [&[&str]; 8] = [
    &["status", "web"],
    &["why", "web"],
    &["list"],
    &["promote", "web"],
    &["rollback", "web", "--to", "web-gone"],
    &["set", "image", "web", "web:2"],
    &["history", "web", "-o", "json"],
    &["diff", "web"],
];

#[test]
fn a_cluster_without_the_crd_is_one_sentence() {
    let unknown = r#"{"kind":"Status","status":"Failure","code":404,"reason":"NotFound","message":"the server could not find the requested resource","details":{}}"#;
    let there = answering("no-crd.yaml", 404, unknown, 35);
    for arguments in COMMANDS {
        assert_one_sentence(
            &run_with(arguments, "", &there),
            &["does not know Microservices", "install the operator"],
        );
    }
    let there = answering("old.yaml", 404, unknown, 27);
    for arguments in COMMANDS {
        assert_one_sentence(
            &run_with(arguments, "", &there),
            &["Kubernetes 1.27", "1.33 or newer"],
        );
    }
}

#[test]
fn missing_rights_are_one_sentence() {
    let refusal = r#"{"kind":"Status","status":"Failure","code":403,"reason":"Forbidden","message":"microservices is forbidden: User jane","details":{"name":"web"}}"#;
    let there = answering("forbidden.yaml", 403, refusal, 35);
    for arguments in COMMANDS {
        assert_one_sentence(
            &run_with(arguments, "", &there),
            &["you may not", "in namespace shop", "User jane"],
        );
    }
    let refusal =
        r#"{"kind":"Status","status":"Failure","code":401,"reason":"Unauthorized","message":"Unauthorized"}"#;
    let there = answering("unauthorized.yaml", 401, refusal, 35);
    for arguments in COMMANDS {
        assert_one_sentence(&run_with(arguments, "", &there), &["log in again"]);
    }
}

#[test]
fn a_service_of_another_version_is_one_sentence() {
    let other = r#"{"apiVersion":"microservice.dev/v1alpha1","kind":"Microservice","metadata":{"name":"web","namespace":"shop"},"spec":{"image":7}}"#;
    let there = answering("other.yaml", 200, other, 35);
    for arguments in [
        &["status", "web"][..],
        &["promote", "web"],
        &["set", "image", "web", "web:2"],
    ] {
        assert_one_sentence(
            &run_with(arguments, "", &there),
            &["cannot be read", env!("CARGO_PKG_VERSION")],
        );
    }
}

const CANARY: &str = "\
apiVersion: microservice.dev/v1alpha1
kind: Microservice
metadata: {name: orders}
spec:
  image: registry.example/orders:1.4.2
  replicas: 4
  ports: [{name: http, containerPort: 8080}]
  objectives:
    - {name: errors, goodPercent: '99.5', indicator: {errors: {}}}
    - {name: fast, goodPercent: '95', indicator: {latency: {thresholdMilliseconds: 150}}}
  strategy:
    type: Canary
    canary: {steps: [{weight: 25, durationSeconds: 30}, {weight: 50, pause: Manual}]}
    bakeSeconds: 20
";

fn simulate(arguments: &[&str]) -> Ran {
    let mut all = vec!["simulate", "-f", "-"];
    all.extend(arguments);
    run(&all, CANARY)
}

#[test]
fn a_rollout_is_played_without_a_cluster() {
    let failures: [(&str, &[&str]); 7] = [
        ("none", &[]),
        ("crash", &["--failure=crash", "--at=20s"]),
        ("never-ready", &["--failure=never-ready"]),
        ("image-missing", &["--failure=image-missing"]),
        ("errors", &["--failure=errors=30%", "--at=20s", "--traffic=200"]),
        ("slow", &["--failure=slow=200ms", "--at=20s", "--traffic=200"]),
        ("late", &["--failure=crash", "--at=80s", "--person=20s"]),
    ];
    for (name, arguments) in failures {
        let ran = simulate(arguments);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{name}");
        assert_eq!(simulate(arguments).out, ran.out, "{name} is not the same twice");
        insta::assert_snapshot!(format!("simulate-{name}"), ran.out);
    }
}

#[test]
fn what_was_played_is_told_to_programs() {
    let ran = simulate(&["--failure=errors=30%", "--at=20s", "--traffic=200", "-o", "json"]);
    let played: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(
        (&played["ending"], &played["failedAt"]),
        (&"RolledBack".into(), &20.into())
    );
    assert!(played["decidedAt"].as_i64().unwrap() >= 20, "{played}");
    let failed = played["requests"]["failed"].as_i64().unwrap();
    assert!(
        failed > 0 && failed * 20 < played["requests"]["all"].as_i64().unwrap(),
        "{played}"
    );
    let other = simulate(&[
        "--failure=errors=30%",
        "--at=20s",
        "--traffic=200",
        "--seed=2",
        "-o",
        "json",
    ]);
    let other: serde_json::Value = serde_json::from_str(&other.out).unwrap();
    assert_eq!(other["ending"], played["ending"]);
    assert_ne!(other["requests"], played["requests"]);
}

#[test]
fn a_simulation_says_what_it_cannot_know() {
    let silent = CANARY.replace("  objectives:\n", "").replace(
        "    - {name: errors, goodPercent: '99.5', indicator: {errors: {}}}\n    - {name: fast, goodPercent: '95', indicator: {latency: {thresholdMilliseconds: 150}}}\n",
        "",
    );
    let ran = run(&["simulate", "-f", "-", "--failure=errors=30%"], &silent);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(
        ran.out.contains("promoted, with what goes wrong in it"),
        "{}",
        ran.out
    );
    assert!(ran.out.contains("note: no requests are judged"), "{}", ran.out);
}

#[test]
fn a_simulation_of_nothing_or_nonsense() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let before = directory.join("before.yaml");
    std::fs::write(&before, CANARY.replace("replicas: 4", "replicas: 2")).unwrap();
    let before = before.to_str().unwrap();
    let ran = simulate(&["--from", before]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out.contains("asks for the pods that run already"),
        "{}",
        ran.out
    );
    let ran = run(
        &["simulate", "-f", "-", "--from", before],
        &CANARY.replace("orders}", "sales}"),
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert!(
        ran.err.contains("there is no Microservice sales in it"),
        "{}",
        ran.err
    );
    let ran = run(
        &["simulate", "-f", "-"],
        &CANARY.replace("weight: 25", "weight: 250"),
    );
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    for arguments in [
        &["--failure=fire"][..],
        &["--failure=errors=0%"],
        &["--at=soon"],
        &["--traffic=99999"],
    ] {
        let ran = simulate(arguments);
        assert_eq!((ran.code, ran.out.as_str()), (Some(3), ""), "{arguments:?}");
    }
}

#[test]
fn every_example_can_be_played() {
    let directory = repository("manifests/examples");
    let mut played = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let ran = run(&["simulate", "-f", path.to_str().unwrap(), "--traffic=5"], "");
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{}", path.display());
            assert!(ran.out.contains("promoted"), "{}: {}", path.display(), ran.out);
            played += 1;
        }
    }
    assert!(played > 10, "only {played} examples");
}
