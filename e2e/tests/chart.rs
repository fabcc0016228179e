//! What the chart renders is what the API server takes: all objects are applied to a real one as a trial run, and its pods
//! are admitted where Pod Security's level is `restricted`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use e2e::environment::repository;
use e2e::kubectl::kubectl;
use e2e::{Scenario, scenario};
use serde_json::{Value, json};

/// What Helm renders for a release in the namespace of the scenario.
fn rendered(s: &Scenario, values: &[&str]) -> String {
    let root = repository();
    let output = Command::new(root.join("e2e/cluster/bin/helm-4"))
        .args([
            "template",
            "mo",
            "charts/microservice-operator",
            "--kube-version=1.33.0",
        ])
        .args(["--namespace", &s.namespace])
        .args(values)
        .current_dir(&root)
        .output()
        .expect("helm can be run: `make helm` builds it");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{words}");
    String::from_utf8(output.stdout).unwrap()
}

/// Applies objects as a trial run. Nobody may warn.
fn tried(s: &Scenario, objects: &str) {
    let said = kubectl(
        &[
            "-n",
            &s.namespace,
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=helm",
            "--validate=strict",
            "--dry-run=server",
            "-f",
            "-",
        ],
        Some(objects),
    );
    assert!(said.succeeded, "{}", said.err);
    assert!(!said.err.contains("Warning"), "{}", said.err);
}

/// The pod that the Deployment makes.
fn pod(rendered: &str) -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(rendered).expect("what Helm renders is YAML");
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .expect("a Deployment");
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    // The account is made with the release, which this is not.
    spec["serviceAccountName"] = json!("default");
    // Kubernetes takes that of a Deployment and writes it anew for a pod.
    for constraint in spec["topologySpreadConstraints"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        constraint.as_object_mut().unwrap().remove("matchLabelKeys");
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec})
}

#[test]
fn the_api_server_takes_what_the_chart_renders() {
    scenario("chart").without_operator().run(async |s| {
        let here = format!("--set=watchNamespaces={{{}}}", s.namespace);
        let full = "--values=charts/microservice-operator/ci/full-values.yaml";
        // These need the CRDs of the prometheus-operator.
        let unmonitored = "--set=metrics.serviceMonitor.enabled=false,metrics.prometheusRule.enabled=false";
        for values in [&[][..], &[here.as_str()][..], &[full, unmonitored][..]] {
            let objects = rendered(s, values);
            tried(s, &objects);
            let mut pod = pod(&objects);
            // An account is no matter of Pod Security, and a priority class need not be there.
            pod["spec"].as_object_mut().unwrap().remove("priorityClassName");
            tried(s, &pod.to_string());
        }
    });
}

#[test]
fn what_pod_security_does_not_want_is_not_taken() {
    scenario("chart-security").without_operator().run(async |s| {
        let objects = rendered(s, &["--set=securityContext.allowPrivilegeEscalation=true"]);
        let said = kubectl(
            &["-n", &s.namespace, "apply", "--dry-run=server", "-f", "-"],
            Some(&pod(&objects).to_string()),
        );
        assert!(
            !said.succeeded && said.err.contains("allowPrivilegeEscalation"),
            "{}",
            said.err
        );
    });
}
