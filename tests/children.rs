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
use microservice_operator::api::{Microservice, MicroserviceSpec, OperationSpec};
use microservice_operator::render::{
    Child, ChildKind, Companions, Exposure, Identity, Selection, config_maps, deployment, disruption_budget,
    horizontal_pod_autoscaler, new_record, offline, record, secret_copy, service, service_account,
};
use microservice_operator::revision::{
    Record, RecordedSnapshot, RevisionInput, SnapshotContent, SnapshotSource, SourceKind,
};
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
