//! What `import` makes of what runs: whole files, and that no pod has to be made anew for it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use microservice_operator::api::{Microservice, annotations};
use microservice_operator::plugin::import::{Imported, Ordered, Source, import};
use microservice_operator::render::{Identity, pod_template};
use microservice_operator::revision::RevisionInput;
use microservice_operator::rollout::{Wish, unlike};
use microservice_operator::validate;
use serde_json::{Value, json};

fn documents(file: &str) -> Vec<Value> {
    let path = format!("{}/tests/import/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_saphyr::from_multiple(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn imported(source: &str, objects: &[Value]) -> Imported {
    import(&source.parse::<Source>().unwrap(), objects).unwrap()
}

/// The manifest, and what is said about it.
fn text(imported: &Imported) -> String {
    let manifest = serde_saphyr::to_string(&Ordered(&imported.manifest)).unwrap();
    let notes: String = imported
        .notes
        .iter()
        .map(|note| format!("note: {note}\n"))
        .collect();
    format!("{manifest}---\n{notes}")
}

fn rendered(manifest: &Value) -> (String, Value) {
    let service: Microservice = serde_json::from_value(manifest.clone()).unwrap();
    let name = service.metadata.name.clone().unwrap();
    let none = BTreeMap::new();
    let identity = Identity {
        name: &name,
        namespace: "shop",
        common_labels: &none,
    };
    let template = pod_template(
        &identity,
        &format!("{name}-x"),
        &RevisionInput::of(&service.spec),
        &[],
    );
    (name, template)
}

/// What stays of `template` has the same pods.
#[track_caller]
fn same_pods(manifest: &Value, template: &Value) {
    let (name, rendered) = rendered(manifest);
    assert_eq!(
        unlike(&rendered, template, &name),
        None,
        "{rendered:#}\n{template:#}"
    );
}

#[track_caller]
fn valid(manifest: &Value) {
    if let Err(violations) = validate::microservice(manifest) {
        let all: Vec<String> = violations.iter().map(ToString::to_string).collect();
        panic!("{}\n{manifest:#}", all.join("\n"));
    }
    if let Some(wish) = manifest["metadata"]["annotations"].get(annotations::ADOPT) {
        Wish::parse(wish.as_str().unwrap()).unwrap();
    }
}

macro_rules! goldens {
    ($($name:ident: $file:literal, $source:literal, $template:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let objects = documents($file);
                let imported = imported($source, &objects);
                insta::assert_snapshot!(stringify!($name), text(&imported));
                valid(&imported.manifest);
                let (kind, name) = $template.split_once('/').unwrap();
                let of = |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
                let template = objects.iter().find(of).unwrap()["spec"]["template"].clone();
                same_pods(&imported.manifest, &template);
            }
        )*
    };
}

goldens! {
    helm_release: "helm-release.yaml", "deployment/prod-orders", "Deployment/prod-orders";
    plain: "plain.yaml", "deploy/orders", "Deployment/orders";
    flagger: "flagger.yaml", "canary/podinfo", "Deployment/podinfo-primary";
    rollout_canary: "rollout-canary.yaml", "rollout/orders", "Rollout/orders";
    rollout_blue_green: "rollout-blue-green.yaml", "rollout.argoproj.io/web", "Rollout/web";
}

/// Parts of a pod template, each of which may be there or not: where, and what.
fn parts() -> Vec<(&'static str, Value)> {
    vec![
        (
            "/spec/containers/0/securityContext",
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
        ),
        (
            "/spec/securityContext",
            json!({"runAsNonRoot": true, "fsGroup": 7, "seccompProfile": {"type": "RuntimeDefault"}}),
        ),
        (
            "/spec/containers/0/readinessProbe",
            json!({"httpGet": {"port": "web", "path": "/r"}, "periodSeconds": 2}),
        ),
        (
            "/spec/containers/0/lifecycle",
            json!({"preStop": {"exec": {"command": ["sleep", "3"]}}}),
        ),
        (
            "/spec/containers/0/ports",
            json!([{"name": "web", "containerPort": 8080, "protocol": "TCP"}]),
        ),
        ("/spec/automountServiceAccountToken", json!(false)),
        ("/spec/serviceAccountName", json!("robot")),
        ("/spec/hostNetwork", json!(true)),
        (
            "/spec/topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "zone",
            "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "orders"}}}]),
        ),
        (
            "/spec/volumes",
            json!([{"name": "v", "emptyDir": {"sizeLimit": "1Gi"}}]),
        ),
        ("/spec/containers/0/tty", json!(true)),
        (
            "/spec/dnsConfig",
            json!({"options": [{"name": "ndots", "value": "2"}]}),
        ),
    ]
}

#[test]
fn what_is_imported_is_rendered_to_the_same_pods() {
    let parts = parts();
    for mask in 0_u32..(1 << parts.len()) {
        let mut template = json!({"metadata": {"labels": {"app": "orders"}}, "spec": {
            "containers": [{"name": "main", "image": "a:1"}]}});
        for (index, (path, value)) in parts.iter().enumerate() {
            if mask & (1 << index) != 0 {
                let (holder, field) = path.rsplit_once('/').unwrap();
                template.pointer_mut(holder).unwrap()[field] = value.clone();
            }
        }
        let objects = [
            json!({"kind": "Deployment", "metadata": {"name": "orders"}, "spec": {"replicas": 2,
                "selector": {"matchLabels": {"app": "orders"}}, "template": template}}),
            json!({"kind": "Service", "metadata": {"name": "orders"}, "spec": {"selector": {"app": "orders"},
                "ports": [{"port": 80, "targetPort": 8080}]}}),
        ];
        let imported = imported("deployment/orders", &objects);
        same_pods(&imported.manifest, &template);
        assert!(
            !imported.notes.iter().any(|note| note.contains("Please report")),
            "{:?}",
            imported.notes
        );
    }
}

#[test]
fn what_cannot_be_imported_says_what_to_do() {
    let say = |source: &str, objects: &[Value]| match source.parse::<Source>() {
        Ok(source) => import(&source, objects).unwrap_err(),
        Err(error) => error,
    };
    assert!(say("statefulset/a", &[]).contains("write deployment/NAME, canary/NAME"));
    assert!(say("deployment/../x", &[]).contains("write deployment/NAME"));
    assert!(
        say("deployment/orders", &[])
            .contains("there is no Deployment orders here: give its namespace by -n")
    );
    let long = "o".repeat(50);
    let object = json!({"kind": "Deployment", "metadata": {"name": long}, "spec": {"template": {}}});
    assert!(say(&format!("deployment/{long}"), &[object]).contains("at most 45"));
    let target = documents("flagger.yaml");
    assert!(say("deployment/podinfo", &target).contains("import canary/podinfo instead"));
}
