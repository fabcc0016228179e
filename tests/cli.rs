//! The command line, by running the binary.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Example, repository};

struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(arguments: &[&str], input: &str) -> Ran {
    let mut child = Command::new(env!("CARGO_BIN_EXE_microservice-operator"))
        .args(arguments)
        .current_dir(repository(""))
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

fn parsed(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

#[test]
fn crds_prints_the_file_in_crds() {
    let ran = run(&["crds"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(
        ran.out,
        std::fs::read_to_string(repository("crds/microservices.microservice.dev.yaml")).unwrap()
    );
}

#[test]
fn api_reference_prints_the_page_in_docs() {
    let ran = run(&["api-reference"], "");
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let page = std::fs::read_to_string(repository("docs/reference.md")).unwrap();
    assert!(
        ran.out == page,
        "docs/reference.md is not what the CRD says: make generate"
    );
    // What is ours is spelled out, what is Kubernetes' is not.
    assert!(page.contains("\n### spec.strategy.canary.steps[]\n"), "{page}");
    assert!(!page.contains("### spec.probes.readiness"), "{page}");
    assert!(
        page.contains("| `image` | string | **Required.** Scope: revision."),
        "{page}"
    );
}

#[test]
fn render_prints_the_objects_of_every_example() {
    for example in Example::all() {
        let file = format!("manifests/examples/{}.yaml", example.name);
        let ran = run(&["render", "-f", &file], "");
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{file}");
        let expected: Vec<Value> = example.children().into_iter().map(|child| child.object).collect();
        assert_eq!(parsed(&ran.out), expected, "{file}");
        assert!(ran.out.starts_with("---\n"), "{file}");
    }
}

const MINIMAL: &str = "\
apiVersion: microservice.dev/v1alpha1
kind: Microservice
metadata: {name: orders}
spec: {image: 'orders:1'}
";

#[test]
fn render_reads_standard_input_and_takes_a_namespace() {
    let ran = run(&["render", "-f", "-", "-n", "shop"], MINIMAL);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let namespaces: Vec<Value> = parsed(&ran.out)
        .iter()
        .map(|object| object["metadata"]["namespace"].clone())
        .collect();
    assert_eq!(namespaces, ["shop", "shop"]);
}

#[test]
fn a_namespace_in_the_file_comes_first_and_lists_are_opened() {
    let list = "\
apiVersion: v1
kind: List
items:
- apiVersion: microservice.dev/v1alpha1
  kind: Microservice
  metadata: {name: orders, namespace: own}
  spec: {image: 'orders:1', files: [{mountPath: /etc/rules, configMap: {name: rules}}]}
- apiVersion: v1
  kind: ConfigMap
  metadata: {name: rules, namespace: other}
  data: {a: b}
";
    let ran = run(&["render", "-f", "-", "-n", "shop"], list);
    assert_eq!(ran.code, Some(0));
    assert_eq!(
        ran.err,
        "standard input: Microservice orders: ConfigMap rules is not in the file: its content is part of \
         the revision, so \
         the revision has another name in the cluster, and its pods use an immutable copy\n"
    );
    let objects = parsed(&ran.out);
    assert!(
        objects
            .iter()
            .all(|object| object["metadata"]["namespace"] == "own")
    );
    assert_eq!(
        objects[1]["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
        "rules"
    );
}

#[test]
fn a_tracked_config_map_in_the_file_is_copied() {
    let both = format!(
        "{}, files: [{{mountPath: /etc/rules, configMap: {{name: rules}}}}]}}\n---\n\
         {{apiVersion: v1, kind: ConfigMap, metadata: {{name: rules}}, data: {{a: b}}}}\n",
        MINIMAL.trim_end().trim_end_matches('}')
    );
    let ran = run(&["render", "-f", "-"], &both);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let objects = parsed(&ran.out);
    let copy = objects
        .iter()
        .find(|object| object["kind"] == "ConfigMap")
        .expect("a copy");
    assert_eq!(copy["data"]["a"], "b");
    assert_eq!(copy["immutable"], true);
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .expect("a Deployment");
    assert_eq!(
        deployment["spec"]["template"]["spec"]["volumes"][0]["configMap"]["name"],
        copy["metadata"]["name"]
    );
}

/// What is said about bad input; nothing is printed.
fn complaints(input: &str) -> String {
    let ran = run(&["render", "-f", "-"], input);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""), "{}", ran.err);
    ran.err
}

#[test]
fn every_mistake_of_every_document_is_named() {
    let bad = MINIMAL.replace("image:", "imagee:");
    let worse = MINIMAL.replace(
        "orders:1'",
        "orders:1', files: [{mountPath: /a}], monitoring: {port: a}",
    );
    assert_eq!(
        complaints(&format!("{MINIMAL}---\n{bad}---\n{worse}")),
        "standard input: Microservice orders: spec.image: is required\n\
         standard input: Microservice orders: spec.imagee: unknown field, did you mean image?\n\
         standard input: Microservice orders: spec: monitoring.port must be the name of one of ports\n\
         standard input: Microservice orders: spec.files[0]: each of files needs exactly one of configMap, \
         secret, emptyDir, persistentVolumeClaim or projected\n"
    );
}

#[test]
fn what_is_no_microservice_is_said_to_be_none() {
    assert_eq!(complaints(""), "standard input: there is no Microservice in it\n");
    assert_eq!(
        complaints("{apiVersion: v1, kind: Pod, metadata: {name: a}}"),
        "standard input: there is no Microservice in it\n"
    );
    assert_eq!(
        complaints(&MINIMAL.replace("v1alpha1", "v1").replace("{name: orders}", "{}")),
        "standard input: Microservice without a name: apiVersion: must be microservice.dev/v1alpha1\n\
         standard input: Microservice without a name: metadata.name: is required\n"
    );
}

#[test]
fn a_bad_companion_is_named() {
    assert_eq!(
        complaints(&format!(
            "{MINIMAL}---\n{{apiVersion: v1, kind: ConfigMap, metadata: {{name: rules}}, data: {{a: [1]}}}}"
        )),
        "standard input: ConfigMap rules: data.a: invalid type: sequence, expected a string\n"
    );
}

#[test]
fn broken_yaml_is_told_with_its_place() {
    let said = complaints("kind: Microservice\nspec: {image: [\n");
    assert!(said.starts_with("standard input: "), "{said}");
    assert!(said.contains("line 2 column 15"), "{said}");
    let said = complaints("kind: Microservice\nkind: Microservice\n");
    assert!(said.contains("duplicate") && said.contains("kind"), "{said}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let ran = run(&["render", "-f", "no/such.yaml"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    assert_eq!(ran.err, "no/such.yaml: No such file or directory (os error 2)\n");
}

#[test]
fn wrong_arguments_are_explained() {
    let ran = run(&["render"], "");
    assert_eq!((ran.code, ran.out.as_str()), (Some(2), ""));
    assert!(ran.err.contains("--filename <FILE>"), "{}", ran.err);
}
