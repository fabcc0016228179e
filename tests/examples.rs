//! The examples: each is valid, what each yields is reviewed, and together they show every field.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::batch::v1::Job;
use microservice_operator::api::{JobTemplate, crd};
use microservice_operator::render::{Child, ChildKind, Identity, JobPurpose, job};
use microservice_operator::revision::Record;
use serde_json::{Value, json};
use support::{Example, documents, leaves};

#[test]
fn each_example_yields_what_was_reviewed() {
    for example in Example::all() {
        let mut objects: Vec<Value> = example.children().into_iter().map(|child| child.object).collect();
        for version in objects
            .iter_mut()
            .filter_map(|object| object.pointer_mut("/data/renderedBy"))
        {
            *version = json!("(this version)");
        }
        insta::assert_yaml_snapshot!(example.name.as_str(), objects);
    }
}

#[test]
fn the_smallest_manifest_yields_three_objects() {
    let kinds: Vec<ChildKind> = Example::read("minimal")
        .children()
        .iter()
        .map(|child| child.kind)
        .collect();
    assert_eq!(
        kinds,
        [
            ChildKind::ControllerRevision,
            ChildKind::Deployment,
            ChildKind::Service
        ]
    );
}

/// Where the hand-written manifests and ours differ on purpose.
const RENAMED: [(&str, &str); 6] = [
    // One Deployment for each revision, called after its content.
    ("Deployment.metadata.name", "user-service-v4j6ls9bhr"),
    ("Ingress.metadata.name", "user-service-public"),
    // Selectors and the labels that they select are the operator's.
    ("Deployment.metadata.labels.app", ""),
    ("Deployment.spec.selector.matchLabels.app", ""),
    ("Deployment.spec.template.metadata.labels.app", ""),
    ("Service.spec.selector.app", ""),
];

/// What we add to the hand-written manifests; each line was reviewed.
const ADDED: &str = include_str!("golden/user-service/additions.txt");

#[test]
fn user_service_has_every_field_of_the_hand_written_manifests_and_no_unreviewed_one() {
    let children = Example::read("user-service").children();
    let source = documents("tests/golden/user-service/source.yaml");
    let mut missing = Vec::new();
    let mut added = BTreeSet::new();
    for child in &children {
        let kind = child.kind.kind();
        let ours = leaves(&child.object);
        let Some(theirs) = source
            .iter()
            .find(|document| document["kind"] == kind)
            .map(leaves)
        else {
            added.insert(format!("{kind}: the whole object"));
            continue;
        };
        for (path, value) in &theirs {
            let named = format!("{kind}{path}");
            let expected = match RENAMED.iter().find(|(path, _)| *path == named) {
                Some((_, "")) => None,
                Some((_, value)) => Some(json!(value)),
                None => Some(value.clone()),
            };
            if ours.get(path) != expected.as_ref() {
                missing.push(format!("{named}: wanted {expected:?}, got {:?}", ours.get(path)));
            }
        }
        added.extend(
            ours.iter()
                .filter(|(path, _)| !theirs.contains_key(*path))
                .map(|(path, value)| format!("{kind}{path}: {value}")),
        );
    }
    for document in &source {
        let kind = document["kind"].as_str().unwrap();
        assert!(
            children.iter().any(|child| child.kind.kind() == kind),
            "there is no {kind}"
        );
    }
    assert_eq!(missing, Vec::<String>::new());
    let reviewed: BTreeSet<String> = ADDED
        .lines()
        .filter(|l| !l.is_empty() && !l.starts_with('#'))
        .map(str::to_owned)
        .collect();
    let unreviewed: Vec<_> = added.difference(&reviewed).collect();
    assert!(
        unreviewed.is_empty(),
        "review these and add them to additions.txt:\n{unreviewed:#?}"
    );
    let gone: Vec<_> = reviewed.difference(&added).collect();
    assert!(
        gone.is_empty(),
        "these are no longer added, remove them from additions.txt:\n{gone:#?}"
    );
}

/// Fields of the spec with a shape of their own in Kubernetes: what is within them is not ours to show.
const CORE: [&str; 18] = [
    "affinity",
    "behavior",
    "configMap",
    "egress",
    "emptyDir",
    "env",
    "envFrom",
    "ingress",
    "lifecycle",
    "liveness",
    "metrics",
    "persistentVolumeClaim",
    "projected",
    "readiness",
    "resources",
    "secret",
    "startup",
    "tolerations",
];

/// Fields that exclude one that the full example shows.
const EXCLUDED: [&str; 1] = ["disruptionBudget.minAvailable"];

fn fields(path: &str, schema: &Value, found: &mut BTreeSet<String>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        found.insert(path.clone());
        // The ingress of a route is ours, that of a NetworkPolicy is not.
        if !CORE.contains(&name.as_str())
            || path == "routes.ingress"
            || (name == "env" && path == "config.env")
        {
            fields(&path, schema, found);
            fields(&path, &schema["items"], found);
        }
    }
}

fn written(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                found.insert(path.clone());
                written(&path, value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| written(path, item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_full_example_shows_every_field() {
    let schema = serde_json::to_value(crd()).unwrap();
    let mut known = BTreeSet::new();
    fields(
        "",
        &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
        &mut known,
    );
    assert!(known.len() > 100, "the schema was not understood: {known:?}");
    let mut shown = BTreeSet::new();
    for document in documents("manifests/examples/full.yaml")
        .iter()
        .filter(|d| d["kind"] == "Microservice")
    {
        written("", &document["spec"], &mut shown);
    }
    let hidden: Vec<_> = known
        .iter()
        .filter(|path| !shown.contains(*path) && !EXCLUDED.contains(&path.as_str()))
        .collect();
    assert!(
        hidden.is_empty(),
        "manifests/examples/full.yaml does not show {hidden:?}"
    );
}

#[test]
fn the_pods_of_every_example_pass_pod_security_restricted() {
    let mut checked = 0;
    for example in Example::all() {
        for child in example
            .children()
            .iter()
            .filter(|child| child.kind == ChildKind::Deployment)
        {
            let violations = restricted(&child.object["spec"]["template"]["spec"]);
            assert!(violations.is_empty(), "{}: {violations:?}", example.name);
            checked += 1;
        }
    }
    assert!(checked >= 5);
}

/// The Jobs of an example's services, with what every one of them inherits and with what it says itself.
fn jobs(example: &Example) -> Vec<Child> {
    let plain = JobTemplate {
        command: vec!["/app/migrate".to_owned()],
        ..JobTemplate::default()
    };
    let own: JobTemplate = serde_json::from_value(json!({
        "image": "registry.example/smoke:1.0.0",
        "args": ["--target", "$(MICROSERVICE_REVISION)"],
        "env": [
            {"name": "MODE", "value": "test"},
            {"name": "MICROSERVICE_STEP", "value": "forged"},
            {"name": "RULES", "valueFrom": {"configMapKeyRef": {"name": "payments-rules", "key": "rules.json"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "smoke"}}],
        "resources": {"limits": {"memory": "64Mi"}},
        "timeoutSeconds": 60,
        "retries": 2,
    }))
    .unwrap();
    let hook = JobPurpose::Hook {
        trial: 1,
        step: 2,
        goal: "k2",
        stable: "the-stable-one",
    };
    example
        .services
        .iter()
        .flat_map(|service| {
            let namespace = service.metadata.namespace.as_deref().unwrap_or("default");
            let identity = Identity::of(service, namespace);
            let name = service.metadata.name.as_deref().unwrap();
            let children = example.children();
            let of_service = |child: &&Child| {
                child.kind == ChildKind::ControllerRevision && child.name.starts_with(&format!("{name}-"))
            };
            let stored = children.iter().find(of_service).unwrap().object.clone();
            let record =
                Record::read(&serde_json::from_value::<ControllerRevision>(stored).unwrap()).unwrap();
            [
                job(
                    &identity,
                    &record,
                    "migrate",
                    &plain,
                    JobPurpose::PreDeploy { trial: 1 },
                ),
                job(&identity, &record, "smoke", &own, hook),
            ]
        })
        .collect()
}

#[test]
fn the_jobs_of_the_full_example_are_what_was_reviewed() {
    let objects: Vec<Value> = jobs(&Example::read("full"))
        .into_iter()
        .map(|child| child.object)
        .collect();
    insta::assert_yaml_snapshot!("full-jobs", objects);
}

#[test]
fn the_jobs_of_every_example_pass_pod_security_restricted() {
    for example in Example::all() {
        for job in jobs(&example) {
            let typed: Job = serde_json::from_value(job.object.clone()).unwrap();
            assert_eq!(
                serde_json::to_value(&typed).unwrap(),
                job.object,
                "a field that Kubernetes does not know"
            );
            let violations = restricted(&job.object["spec"]["template"]["spec"]);
            assert!(violations.is_empty(), "{}: {violations:?}", example.name);
        }
    }
}

#[test]
fn the_check_of_pod_security_finds_what_is_forbidden() {
    let container = json!({"name": "a", "securityContext": {"allowPrivilegeEscalation": false,
        "capabilities": {"drop": ["ALL"]}}});
    let good = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    });
    assert_eq!(restricted(&good), Vec::<String>::new());
    for (pointer, value, violation) in [
        ("/hostNetwork", json!(true), "hostNetwork"),
        (
            "/volumes",
            json!([{"name": "h", "hostPath": {"path": "/"}}]),
            "volume h",
        ),
        ("/securityContext/runAsNonRoot", json!(false), "a runAsNonRoot"),
        ("/securityContext/runAsUser", json!(0), "a runAsUser"),
        (
            "/securityContext/seccompProfile",
            json!({"type": "Unconfined"}),
            "a seccompProfile",
        ),
        (
            "/containers/0/securityContext/privileged",
            json!(true),
            "a privileged",
        ),
        (
            "/containers/0/securityContext/allowPrivilegeEscalation",
            json!(true),
            "a allowPrivilegeEscalation",
        ),
        (
            "/containers/0/securityContext/capabilities",
            json!({"drop": []}),
            "a capabilities",
        ),
        ("/containers/0/ports", json!([{"hostPort": 80}]), "a hostPort"),
    ] {
        let mut bad = good.clone();
        let (parent, field) = pointer.rsplit_once('/').unwrap();
        bad.pointer_mut(parent).unwrap()[field] = value;
        assert_eq!(restricted(&bad), [violation], "{pointer}");
    }
}

/// What in a pod the Pod Security Standard "restricted" forbids.
fn restricted(pod: &Value) -> Vec<String> {
    let mut found: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|f| pod[**f] == json!(true))
        .map(|f| (*f).to_owned())
        .collect();
    let allowed = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        if !volume
            .as_object()
            .unwrap()
            .keys()
            .any(|key| allowed.contains(&key.as_str()))
        {
            found.push(format!("volume {}", volume["name"].as_str().unwrap()));
        }
    }
    let containers = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod[list].as_array().into_iter().flatten());
    for container in containers {
        let own = &container["securityContext"];
        let effective = |field: &str| {
            if own[field].is_null() {
                pod["securityContext"][field].clone()
            } else {
                own[field].clone()
            }
        };
        let capabilities = &own["capabilities"];
        let added_only_bind = capabilities["add"]
            .as_array()
            .is_none_or(|a| a.iter().all(|c| c == "NET_BIND_SERVICE"));
        let ports = container["ports"].as_array().into_iter().flatten();
        for (violated, what) in [
            (effective("runAsNonRoot") != json!(true), "runAsNonRoot"),
            (effective("runAsUser") == json!(0), "runAsUser"),
            (
                !["RuntimeDefault", "Localhost"]
                    .contains(&effective("seccompProfile")["type"].as_str().unwrap_or_default()),
                "seccompProfile",
            ),
            (own["privileged"] == json!(true), "privileged"),
            (
                own["allowPrivilegeEscalation"] != json!(false),
                "allowPrivilegeEscalation",
            ),
            (
                !capabilities["drop"]
                    .as_array()
                    .is_some_and(|d| d.contains(&json!("ALL")))
                    || !added_only_bind,
                "capabilities",
            ),
            (
                ports
                    .into_iter()
                    .any(|port| port["hostPort"].as_i64().is_some_and(|p| p != 0)),
                "hostPort",
            ),
        ] {
            if violated {
                found.push(format!("{} {what}", container["name"].as_str().unwrap()));
            }
        }
    }
    found
}
