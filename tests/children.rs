//! Child objects that are no pods: whom they belong to, what is in them, and when there are none.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value
)]

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use microservice_operator::api::{JobTemplate, Microservice, MicroserviceSpec, OperationSpec};
use microservice_operator::render::{
    Child, ChildKind, Companions, Exposure, Identity, JobPurpose, Selection, config_maps, deployment,
    disruption_budget, horizontal_pod_autoscaler, job, job_name, new_record, offline, record, secret_copy,
    service, service_account,
};
use microservice_operator::revision::{
    Record, RecordedSnapshot, RevisionInput, SnapshotContent, SnapshotSource, SourceKind,
};
use microservice_operator::validate;
use proptest::prelude::*;
use serde_json::{Value, json};

fn spec(fields: Value) -> MicroserviceSpec {
    let mut all = json!({"image": "a:1"});
    all.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn operation(fields: Value) -> OperationSpec {
    spec(fields).operation
}

const NO_LABELS: &BTreeMap<String, String> = &BTreeMap::new();

fn identity() -> Identity<'static> {
    Identity {
        name: "orders",
        namespace: "shop",
        common_labels: NO_LABELS,
    }
}

fn made(fields: Value, snapshots: Vec<RecordedSnapshot>) -> Record {
    new_record(&identity(), RevisionInput::of(&spec(fields)), snapshots, 0, 1, 0)
}

fn labels(child: &Child) -> Value {
    child.object["metadata"]["labels"].clone()
}

#[test]
fn every_child_says_whom_it_belongs_to_and_the_users_labels_never_lie_about_it() {
    let common: BTreeMap<String, String> = [
        ("team", "a"),
        ("app.kubernetes.io/name", "forged"),
        ("app.kubernetes.io/managed-by", "forged"),
        ("microservice.dev/revision", "forged"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into();
    let identity = Identity {
        common_labels: &common,
        ..identity()
    };
    let spec = spec(json!({"ports": [{"name": "http", "containerPort": 1}], "config": {"env": {"A": "b"}}}));
    let of = new_record(&identity, RevisionInput::of(&spec), Vec::new(), 0, 1, 0);
    let mut ours = json!({
        "app.kubernetes.io/name": "orders",
        "app.kubernetes.io/instance": "orders",
        "app.kubernetes.io/managed-by": "microservice-operator",
        "team": "a",
    });
    let shared = service(&identity, &Exposure::of(&spec.exposure), Selection::AllRevisions).unwrap();
    assert_eq!(labels(&shared), ours);
    ours["microservice.dev/revision"] = json!(of.name);
    assert_eq!(labels(&record(&identity, &of)), ours);
    assert_eq!(labels(&deployment(&identity, &of, 2)), ours);
    assert_eq!(labels(&config_maps(&identity, &of)[0]), ours);
    let pods = deployment(&identity, &of, 2).object["spec"]["template"]["metadata"]["labels"].clone();
    assert_eq!(
        pods,
        json!({"app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders",
            "microservice.dev/revision": of.name})
    );
}

#[test]
fn an_owner_is_named_and_nothing_else_changes() {
    let of = made(json!({}), Vec::new());
    let child = deployment(&identity(), &of, 1);
    let owner: OwnerReference = serde_json::from_value(json!({
        "apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice", "name": "orders", "uid": "u",
            "controller": true
    }))
    .unwrap();
    let mut expected = child.object.clone();
    expected["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice", "name": "orders", "uid": "u",
            "controller": true
    }]);
    assert_eq!(child.owned_by(&owner).object, expected);
}

#[test]
fn a_deployment_is_its_record_verbatim() {
    let mut of = made(json!({}), Vec::new());
    of.data.deployment = "legacy".to_owned();
    of.data.selector = [("app".to_owned(), "legacy".to_owned())].into();
    of.data.template = json!({"metadata": {"labels": {"app": "legacy"}},
        "spec": {"containers": [{"name": "x", "image": "y"}]}});
    let child = deployment(&identity(), &of, 0);
    assert_eq!(child.name, "legacy");
    assert_eq!(
        child.object["spec"],
        json!({
            "replicas": 0,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": {"app": "legacy"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 0}},
            "template": of.data.template,
        })
    );
}

#[test]
fn config_maps_of_a_revision() {
    let name_and_data = |fields: Value, snapshots: Vec<RecordedSnapshot>| -> Vec<(String, Value)> {
        let of = made(fields, snapshots);
        config_maps(&identity(), &of)
            .into_iter()
            .map(|child| {
                assert_eq!(child.object["immutable"], true);
                (
                    child.name.replace(&of.name, "(revision)"),
                    child.object["data"].clone(),
                )
            })
            .collect()
    };
    assert_eq!(name_and_data(json!({}), Vec::new()), []);
    assert_eq!(name_and_data(json!({"config": {}}), Vec::new()), []);
    assert_eq!(
        name_and_data(json!({"config": {"env": {"A": "b"}}}), Vec::new()),
        [("(revision)".to_owned(), json!({"A": "b"}))]
    );
    assert_eq!(
        name_and_data(
            json!({"config": {"mountPath": "/c", "files": {"A": "file"}, "env": {"A": "env"}}}),
            Vec::new()
        ),
        [
            ("(revision)".to_owned(), json!({"A": "file"})),
            ("(revision)-env".to_owned(), json!({"A": "env"}))
        ]
    );
    let snapshot = |kind, name: &str, content: Option<SnapshotContent>| RecordedSnapshot {
        source: SnapshotSource {
            kind,
            name: name.to_owned(),
        },
        content,
    };
    let content = SnapshotContent {
        digest: "d".to_owned(),
        data: [("k".to_owned(), "v".to_owned())].into(),
        ..SnapshotContent::default()
    };
    let snapshots = vec![
        snapshot(SourceKind::ConfigMap, "a", Some(content.clone())),
        snapshot(SourceKind::ConfigMap, "gone", None),
        snapshot(SourceKind::Secret, "s", Some(content)),
    ];
    let of = made(json!({}), snapshots.clone());
    let copies = config_maps(&identity(), &of);
    assert_eq!(copies.len(), 1, "{copies:?}");
    assert_eq!(copies[0].name, snapshots[0].source.copy_name(&of.name));
    assert_eq!(copies[0].object["data"], json!({"k": "v"}));
    assert_eq!(
        copies[0].object["metadata"]["annotations"],
        json!({"microservice.dev/copy-of": "a"})
    );
}

#[test]
fn a_copy_of_a_secret_has_its_content_and_a_type_that_nobody_watches() {
    let of = made(json!({}), Vec::new());
    let source = SnapshotSource {
        kind: SourceKind::Secret,
        name: "token".to_owned(),
    };
    let secret: Secret = serde_json::from_value(json!({
        "metadata": {"name": "token", "labels": {"a": "b"}},
        "type": "kubernetes.io/service-account-token",
        "data": {"token": "dG9rZW4="},
    }))
    .unwrap();
    let child = secret_copy(&identity(), &of, &source, &secret);
    assert_eq!(
        (child.kind, child.name.as_str()),
        (ChildKind::Secret, source.copy_name(&of.name).as_str())
    );
    assert_eq!(child.object["data"], json!({"token": "dG9rZW4="}));
    assert_eq!(child.object["type"], "Opaque");
    assert_eq!(child.object["immutable"], true);
    assert_eq!(labels(&child)["a"], Value::Null);
}

#[test]
fn disruption_budgets() {
    let of = made(json!({}), Vec::new());
    let budget = |fields: Value, minimum: i32| {
        let child = disruption_budget(
            &identity(),
            &of,
            &operation(json!({"disruptionBudget": fields})),
            minimum,
        )?;
        assert_eq!(child.name, of.name);
        let mut spec = child.object["spec"].as_object().unwrap().clone();
        assert_eq!(
            spec.remove("selector"),
            Some(json!({"matchLabels": of.data.selector}))
        );
        assert_eq!(
            spec.remove("unhealthyPodEvictionPolicy"),
            Some(json!("AlwaysAllow"))
        );
        Some(Value::Object(spec))
    };
    let none = disruption_budget(&identity(), &of, &operation(json!({})), 2).unwrap();
    assert_eq!(none.object["spec"]["maxUnavailable"], 1);
    for (fields, minimum, expected) in [
        (json!({}), 0, None),
        (json!({}), 1, None),
        (json!({}), 2, Some(json!({"maxUnavailable": 1}))),
        (
            json!({"maxUnavailable": "25%"}),
            9,
            Some(json!({"maxUnavailable": "25%"})),
        ),
        (json!({"minAvailable": 2}), 3, Some(json!({"minAvailable": 2}))),
        (json!({"minAvailable": 1}), 1, None),
        (json!({"mode": "Disabled"}), 9, None),
    ] {
        assert_eq!(budget(fields.clone(), minimum), expected, "{fields} {minimum}");
    }
}

#[test]
fn the_autoscaler_scales_the_microservice() {
    let wanted = operation(json!({"autoscaling": {"minReplicas": 2, "maxReplicas": 5, "memory": 80}}))
        .autoscaling
        .unwrap();
    let child = horizontal_pod_autoscaler(&identity(), &wanted);
    assert_eq!(
        child.object["spec"],
        json!({
            "scaleTargetRef": {"apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice",
                "name": "orders"},
            "minReplicas": 2,
            "maxReplicas": 5,
            "metrics": [{
                "type": "Resource",
                "resource": {"name": "memory", "target": {"type": "Utilization", "averageUtilization": 80}},
            }],
        })
    );
}

#[test]
fn an_account_is_made_only_where_it_is_asked_for() {
    let account = |fields: Value| {
        let child = service_account(&identity(), &RevisionInput::of(&spec(fields)))?;
        Some((child.name, child.object["metadata"]["annotations"].clone()))
    };
    assert_eq!(account(json!({})), None);
    assert_eq!(account(json!({"serviceAccount": {"name": "a"}})), None);
    assert_eq!(
        account(json!({"serviceAccount": {"create": "Always"}})),
        Some(("orders".to_owned(), Value::Null))
    );
    assert_eq!(
        account(json!({"serviceAccount": {"create": "Always", "name": "a", "annotations": {"b": "c"}}})),
        Some(("a".to_owned(), json!({"b": "c"})))
    );
}

#[test]
fn a_first_deployment_has_as_many_pods_as_the_spec_wants() {
    let rendered = |fields: Value| {
        let mut described = Microservice::new("orders", spec(fields));
        described.metadata.namespace = Some("shop".to_owned());
        let children = offline(&described, "shop", &Companions::default());
        let replicas = children
            .iter()
            .find(|c| c.kind == ChildKind::Deployment)
            .unwrap()
            .object["spec"]["replicas"]
            .clone();
        (
            replicas.as_i64().unwrap(),
            children.iter().map(|child| child.kind.kind()).collect::<Vec<_>>(),
        )
    };
    let bounds = json!({"minReplicas": 2, "maxReplicas": 5, "cpu": 50});
    let scaled = vec![
        "ControllerRevision",
        "Deployment",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
    ];
    assert_eq!(
        rendered(json!({"replicas": 1})),
        (1, vec!["ControllerRevision", "Deployment"])
    );
    assert_eq!(
        rendered(json!({"replicas": 0})),
        (0, vec!["ControllerRevision", "Deployment"])
    );
    assert_eq!(
        rendered(json!({"replicas": 1, "autoscaling": bounds})),
        (2, scaled.clone())
    );
    assert_eq!(
        rendered(json!({"replicas": 4, "autoscaling": bounds})),
        (4, scaled.clone())
    );
    assert_eq!(
        rendered(json!({"replicas": 9, "autoscaling": bounds})),
        (5, scaled)
    );
    assert_eq!(
        rendered(json!({"replicas": 0, "autoscaling": bounds})),
        (0, vec!["ControllerRevision", "Deployment"])
    );
}

#[test]
fn children_come_in_the_order_in_which_they_are_applied() {
    let sorted = ChildKind::ALL.windows(2).all(|pair| pair[0] < pair[1]);
    assert!(
        sorted,
        "the order of the kinds and that of ALL must agree: children are sorted by kind"
    );
}

#[test]
fn a_job_is_called_after_its_revision_and_told_from_its_likes() {
    let longest = "a".repeat(45);
    let identity = Identity {
        name: &longest,
        ..identity()
    };
    let of = new_record(
        &identity,
        RevisionInput::of(&spec(json!({}))),
        Vec::new(),
        0,
        1,
        0,
    );
    let doing = |goal, trial, step, stable| JobPurpose::Hook {
        trial,
        step,
        goal,
        stable,
    };
    let hook = |trial, step, stable| doing("k2", trial, step, stable);
    let names: Vec<String> = [
        ("migrate", JobPurpose::PreDeploy { trial: 1 }),
        ("migrate", JobPurpose::PreDeploy { trial: 2 }),
        ("seed", JobPurpose::PreDeploy { trial: 1 }),
        ("migrate", hook(1, 1, "a")),
        ("migrate", hook(1, 2, "a")),
        ("migrate", hook(2, 1, "a")),
        ("migrate", hook(1, 1, "b")),
        ("migrate", doing("k3", 1, 1, "a")),
        (&"n".repeat(30), hook(i32::MAX, i32::MAX, "a")),
    ]
    .map(|(name, purpose)| job_name(&of.name, name, purpose))
    .into();
    for name in &names {
        assert!(
            name.len() <= 63 && name.starts_with(&format!("{}-", of.name)),
            "{name}"
        );
    }
    let distinct: std::collections::BTreeSet<&String> = names.iter().collect();
    assert_eq!(distinct.len(), names.len(), "{names:?}");
    // Fixed for ever: an operator that calls its Jobs otherwise runs them again.
    assert_eq!(
        ["PreDeploy", "Hook"].map(|purpose| match purpose {
            "PreDeploy" => job_name("orders-x", "migrate", JobPurpose::PreDeploy { trial: 1 }),
            _ => job_name("orders-x", "smoke", hook(1, 2, "orders-a")),
        }),
        ["orders-x-bfg25n", "orders-x-jhg6c5"]
    );
}

/// Fields that the container of a Job may have. No ports, no probes, no lifecycle: nothing of a server.
const JOB_CONTAINER: [&str; 13] = [
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "name",
    "resources",
    "securityContext",
    "terminationMessagePolicy",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
];

/// What must hold for the Job of any revision.
fn is_no_pod_of_the_service(of: &Record) {
    let hook = JobPurpose::Hook {
        trial: 1,
        step: 0,
        goal: "k2",
        stable: "orders-a",
    };
    let child = job(&identity(), of, "smoke", &JobTemplate::default(), hook);
    let template = &child.object["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"],
        json!({"microservice.dev/job": "orders", "microservice.dev/job-of": of.name})
    );
    for key in of.data.selector.keys() {
        assert_eq!(template["metadata"]["labels"].get(key), None, "{key}");
    }
    let pod = template["spec"].as_object().unwrap();
    assert_eq!(pod["restartPolicy"], "Never");
    for field in [
        "initContainers",
        "readinessGates",
        "topologySpreadConstraints",
        "subdomain",
        "hostname",
    ] {
        assert!(!pod.contains_key(field), "{field}");
    }
    let containers = pod["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 1);
    let container = containers[0].as_object().unwrap();
    for field in container.keys() {
        assert!(JOB_CONTAINER.contains(&field.as_str()), "{field}");
    }
    let env: Vec<&str> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    let distinct: std::collections::BTreeSet<&&str> = env.iter().collect();
    assert_eq!(
        distinct.len(),
        env.len(),
        "server-side apply refuses two of one name: {env:?}"
    );
    assert_eq!(
        container["env"][2],
        json!({"name": "MICROSERVICE_REVISION", "value": of.name})
    );
}

/// Templates as a Deployment that was taken over may have them: any labels, any companions.
fn templates() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("app.kubernetes.io/name".to_owned()),
        Just("app.kubernetes.io/instance".to_owned()),
        Just("microservice.dev/revision".to_owned()),
        Just("app".to_owned()),
        "[a-z]{1,3}",
    ];
    let name = prop_oneof![Just("orders".to_owned()), "[a-z]{1,3}"];
    let variable = ("[A-C]|MICROSERVICE_STEP|MICROSERVICE_REVISION", "[a-z]")
        .prop_map(|(name, value)| json!({"name": name, "value": value}));
    let container = (name, prop::collection::vec(variable, 0..4), "[a-z]{0,2}").prop_map(|(name, env, volume)| {
        json!({
            "name": name, "image": "a:1", "env": env, "ports": [{"containerPort": 1}], "tty": true,
            "livenessProbe": {"tcpSocket": {"port": 1}}, "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
            "volumeMounts": [{"name": volume, "mountPath": "/v"}], "restartPolicy": "Always",
        })
    });
    (
        prop::collection::btree_map(key, "[a-z]{0,3}", 0..6),
        prop::collection::vec(container.clone(), 0..3),
        prop::collection::vec(container, 0..3),
    )
        .prop_map(|(labels, containers, init)| {
            json!({
                "metadata": {"labels": labels},
                "spec": {
                    "containers": containers, "initContainers": init, "restartPolicy": "Always", "hostname": "h",
                    "subdomain": "s", "readinessGates": [{"conditionType": "a"}],
                    "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}],
                },
            })
        })
}

proptest! {
    #[test]
    fn a_job_is_no_pod_of_the_service_whatever_the_revisions_pods_are(
        template in templates(),
        selector in prop::collection::btree_map("[a-z]{1,3}", "[a-z]", 0..3),
    ) {
        let mut of = made(json!({}), Vec::new());
        of.data.template = template;
        of.data.selector = selector;
        is_no_pod_of_the_service(&of);
    }
}

#[test]
fn a_job_stands_apart_from_the_services_pods_and_on_the_nodes_that_they_may_use() {
    let node = json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [
        {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}]}});
    let apart = json!({"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"a": "b"}}}]});
    let of = made(
        json!({
            "scheduling": {
                "nodeSelector": {"pool": "a"},
                "tolerations": [{"key": "pool", "operator": "Exists"}],
                "affinity": {"nodeAffinity": node, "podAntiAffinity": apart},
                "priorityClassName": "high",
            },
            "sidecars": [{"name": "proxy", "image": "p:1", "volumeMounts": [{"name": "certificates", "mountPath": "/c"}]}],
            "volumes": [{"name": "certificates", "secret": {"secretName": "of-the-proxy"}}],
            "files": [{"mountPath": "/tmp", "emptyDir": {}}],
        }),
        Vec::new(),
    );
    let child = job(
        &identity(),
        &of,
        "migrate",
        &JobTemplate::default(),
        JobPurpose::PreDeploy { trial: 1 },
    );
    let pod = &child.object["spec"]["template"]["spec"];
    assert_eq!(pod["affinity"], json!({"nodeAffinity": node}));
    assert_eq!(pod["nodeSelector"], json!({"pool": "a"}));
    assert_eq!(pod["priorityClassName"], "high");
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 1, "{}", pod["volumes"]);
    let env = pod["containers"][0]["env"].as_array().unwrap();
    assert!(
        env.iter()
            .all(|v| v["name"] != "MICROSERVICE_STABLE" && v["name"] != "MICROSERVICE_STEP")
    );
    assert_eq!(
        labels(&child),
        json!({
            "app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders",
            "app.kubernetes.io/managed-by": "microservice-operator", "microservice.dev/revision": of.name,
        }),
        "the Job itself is found like every child"
    );
}

// --- the network policy

/// What is written of the network policy in docs/analysis.md.
fn documented_policy() -> Value {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/analysis.md")).unwrap();
    let (_, section) = text.split_once("## With a network policy").unwrap();
    let (_, block) = section.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let fields: Value = serde_saphyr::from_str(block).unwrap();
    fields["networkPolicy"].clone()
}

/// The policy that a service with metrics and this `networkPolicy` has.
fn policy_of(network_policy: Value) -> Value {
    let service: Microservice = validate::microservice(&json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": {
            "image": "a:1",
            "ports": [{"name": "http", "containerPort": 8080}],
            "monitoring": {},
            "networkPolicy": network_policy,
        },
    }))
    .unwrap_or_else(|violations| panic!("{violations:#?}"));
    let children = offline(&service, "shop", &Companions::default());
    let policy = children
        .iter()
        .find(|child| child.kind == ChildKind::NetworkPolicy)
        .expect("there is a policy");
    policy.object["spec"].clone()
}

#[test]
fn the_documented_network_policy_lets_in_who_reads_the_metrics() {
    let spec = policy_of(documented_policy());
    let may_read = |namespace: &str| {
        let of_namespace =
            json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
        spec["ingress"].as_array().unwrap().iter().any(|rule| {
            rule["from"].as_array().unwrap().contains(&of_namespace)
                && rule["ports"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|port| port["port"] == 8080)
        })
    };
    assert!(may_read("microservice-operator"), "{spec:#}");
    assert!(may_read("monitoring"), "{spec:#}");
    assert!(!may_read("elsewhere"), "{spec:#}");
}

#[test]
fn a_network_policy_adds_nobody_by_itself() {
    let spec = policy_of(json!({"mode": "Ingress"}));
    assert_eq!(spec["policyTypes"], json!(["Ingress"]));
    // Nothing is listed, so nobody may come in.
    assert!(spec["ingress"].as_array().is_none_or(Vec::is_empty), "{spec:#}");
}
