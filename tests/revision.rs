//! Revisions: what makes another one, how it is named, how it is recorded, and how two of them differ in
//! words.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::needless_pass_by_value
)]

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use microservice_operator::api::{ExposureSpec, MicroserviceSpec};
use microservice_operator::render::{Identity, new_record, record};
use microservice_operator::revision::{
    PreDeployed, Presence, Record, RecordData, RecordError, RecordNotes, RecordedSnapshot, RevisionDigest,
    RevisionInput, SnapshotContent, SnapshotSource, SourceKind, VerdictNote, canonical_json, changes,
    secret_data, sources,
};
use proptest::prelude::*;
use serde_json::{Value, json};

fn spec(fields: Value) -> MicroserviceSpec {
    let mut all = json!({"image": "a:1"});
    all.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    serde_json::from_value(all).unwrap()
}

fn digest(fields: Value) -> String {
    RevisionDigest::of(&RevisionInput::of(&spec(fields)), &[], 0).hex()
}

fn made(fields: Value, snapshots: Vec<RecordedSnapshot>, epoch: i64) -> Record {
    let none = BTreeMap::new();
    let identity = Identity {
        name: "orders",
        namespace: "shop",
        common_labels: &none,
    };
    new_record(
        &identity,
        RevisionInput::of(&spec(fields)),
        snapshots,
        epoch,
        7,
        0,
    )
}

fn snapshot(name: &str, data: Option<&str>) -> RecordedSnapshot {
    let content = data.map(|text| {
        let config_map: ConfigMap = serde_json::from_value(json!({"data": {"k": text}})).unwrap();
        SnapshotContent::of_config_map(&config_map)
    });
    RecordedSnapshot {
        source: SnapshotSource {
            kind: SourceKind::ConfigMap,
            name: name.to_owned(),
        },
        content,
    }
}

#[test]
fn what_the_pods_do_not_see_makes_no_other_revision() {
    let a = json!({"name": "a", "containerPort": 1});
    let b = json!({"name": "b", "containerPort": 2});
    let base = digest(json!({"ports": [a, b]}));
    for (what, same) in [
        ("order of ports", json!({"ports": [b, a]})),
        (
            "servicePort",
            json!({"ports": [{"name": "a", "containerPort": 1, "servicePort": 80}, b]}),
        ),
        (
            "appProtocol",
            json!({"ports": [{"name": "a", "containerPort": 1, "appProtocol": "http"}, b]}),
        ),
        (
            "the default protocol written out",
            json!({"ports": [{"name": "a", "containerPort": 1, "protocol": "TCP"}, b]}),
        ),
        (
            "one port of two out of the Service",
            json!({"ports": [{"name": "a", "containerPort": 1, "service": "Exclude"}, b]}),
        ),
        ("replicas", json!({"ports": [a, b], "replicas": 9})),
        (
            "routes",
            json!({"ports": [a, b], "routes": [{"name": "r", "ingress": {}}]}),
        ),
        ("an empty list", json!({"ports": [a, b], "command": []})),
        ("a null", json!({"ports": [a, b], "lifecycle": null})),
        ("nothing in an overlay", json!({"ports": [a, b]})),
    ] {
        assert_eq!(digest(same), base, "{what}");
    }
}

#[test]
fn what_the_pods_see_makes_another_revision() {
    let port = |port: Value| json!({"ports": [port]});
    let all = [
        json!({}),
        json!({"image": "a:2"}),
        json!({"lifecycle": {}}),
        json!({"probes": {}}),
        json!({"args": ["a", "b"]}),
        json!({"args": ["b", "a"]}),
        json!({"env": [{"name": "A", "value": ""}]}),
        json!({"podTemplate": {}}),
        port(json!({"name": "a", "containerPort": 1})),
        port(json!({"name": "b", "containerPort": 1})),
        port(json!({"name": "a", "containerPort": 2})),
        port(json!({"name": "a", "containerPort": 1, "protocol": "UDP"})),
        port(json!({"name": "a", "containerPort": 1, "service": "Exclude"})),
    ];
    let digests: BTreeMap<String, &Value> = all
        .iter()
        .map(|fields| (digest(fields.clone()), fields))
        .collect();
    assert_eq!(digests.len(), all.len(), "{digests:#?}");
}

#[test]
fn tracked_content_and_the_epoch_are_part_of_the_digest() {
    let input = RevisionInput::of(&spec(json!({})));
    let tracked = |name: &str, digest: &str| (name.to_owned(), digest.to_owned());
    let of = |list: &[(String, String)], epoch| RevisionDigest::of(&input, list, epoch).hex();
    let (a, b) = (tracked("ConfigMap/a", "1"), tracked("ConfigMap/b", "2"));
    assert_eq!(
        of(&[a.clone(), b.clone()], 0),
        of(&[b, a.clone()], 0),
        "the order of sources has no meaning"
    );
    assert_ne!(
        of(std::slice::from_ref(&a), 0),
        of(&[tracked("ConfigMap/a", "2")], 0)
    );
    assert_ne!(of(std::slice::from_ref(&a), 0), of(&[], 0));
    assert_ne!(of(&[], 0), of(&[], 1));
}

#[test]
fn names_of_revisions() {
    let digest = RevisionDigest::of(&RevisionInput::of(&spec(json!({}))), &[], 0);
    let names: Vec<String> = (0..3)
        .map(|collisions| digest.revision_name("orders", collisions))
        .collect();
    for name in &names {
        let hash = name.strip_prefix("orders-").unwrap();
        assert_eq!(hash.len(), 10);
        assert!(
            hash.chars().all(|c| "bcdfghjklmnpqrstvwxz2456789".contains(c)),
            "{hash}"
        );
    }
    assert!(
        names[0] != names[1] && names[1] != names[2] && names[0] != names[2],
        "{names:?}"
    );
    assert_eq!(digest.hex().len(), 64);
}

#[test]
fn sources_are_found_wherever_the_spec_refers_to_them() {
    let spec = spec(json!({
        "files": [
            {"mountPath": "/a", "configMap": {"name": "file"}},
            {"mountPath": "/b", "configMap": {"name": "live"}, "track": "None"},
            {"mountPath": "/c", "configMap": {"name": "both", "optional": true}},
            {"mountPath": "/d", "configMap": {"name": "maybe", "optional": true}},
            {"mountPath": "/e", "secret": {"secretName": "live"}},
            {"mountPath": "/f", "secret": {"secretName": "file", "optional": true}, "track": "Snapshot"},
            {"mountPath": "/g", "emptyDir": {}},
        ],
        "env": [
            {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "both", "key": "k"}}},
            {"name": "B", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}},
        ],
        "envFrom": [{"configMapRef": {"name": "all"}}, {"secretRef": {"name": "all"}}],
    }));
    let found: Vec<(SourceKind, String, Presence)> = sources(&spec.revision)
        .into_iter()
        .map(|(source, presence)| (source.kind, source.name, presence))
        .collect();
    let expected = [
        (SourceKind::ConfigMap, "all", Presence::Required),
        (SourceKind::ConfigMap, "both", Presence::Required),
        (SourceKind::ConfigMap, "file", Presence::Required),
        (SourceKind::ConfigMap, "maybe", Presence::Optional),
        (SourceKind::Secret, "file", Presence::Optional),
    ];
    assert_eq!(
        found,
        expected.map(|(kind, name, presence)| (kind, name.to_owned(), presence))
    );
}

#[test]
fn copies_of_one_name_and_two_kinds_are_called_differently() {
    let of = |kind| {
        SnapshotSource {
            kind,
            name: "a".to_owned(),
        }
        .copy_name("orders-bcdfghjklm")
    };
    assert_ne!(of(SourceKind::ConfigMap), of(SourceKind::Secret));
    assert!(of(SourceKind::ConfigMap).starts_with("orders-bcdfghjklm-"));
}

#[test]
fn content_is_known_by_text_and_bytes_and_not_by_where_it_is() {
    let of = |object: Value| SnapshotContent::of_config_map(&serde_json::from_value(object).unwrap());
    let text = of(json!({"metadata": {"name": "a", "resourceVersion": "1"}, "data": {"k": "v"}}));
    assert_eq!(
        text,
        of(json!({"metadata": {"name": "b", "resourceVersion": "2"}, "data": {"k": "v"}}))
    );
    let bytes = of(json!({"binaryData": {"k": "dg=="}}));
    assert_ne!(
        text.digest, bytes.digest,
        "text and bytes are two things to a mount"
    );
    assert_eq!(bytes.binary_data, [("k".to_owned(), "dg==".to_owned())].into());
    assert_eq!(
        of(json!({})).digest,
        of(json!({"data": {}, "binaryData": {}})).digest
    );
}

#[test]
fn a_secret_is_known_by_what_it_holds_once_stored() {
    let read = |object: Value| serde_json::from_value::<Secret>(object).unwrap();
    let written = read(json!({"data": {"a": "b2xk", "b": "b2xk"}, "stringData": {"a": "new"}}));
    let stored = read(json!({"data": {"a": "bmV3", "b": "b2xk"}}));
    assert_eq!(secret_data(&written), secret_data(&stored));
    let content = SnapshotContent::of_secret(&written);
    assert_eq!(content, SnapshotContent::of_secret(&stored));
    assert!(
        content.data.is_empty() && content.binary_data.is_empty(),
        "the content of a Secret stays in Secrets"
    );
}

#[test]
fn a_record_reads_back_as_it_was_written() {
    let fields = json!({
        "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "A", "value": ""}],
        "resources": {"limits": {"cpu": "0.5"}},
        "files": [{"mountPath": "/a", "configMap": {"name": "a"}}, {"mountPath": "/b", "emptyDir": {}}],
        "probes": {},
        "config": {"env": {"A": "用户"}},
    });
    let mut written = made(fields, vec![snapshot("a", Some("x")), snapshot("gone", None)], 2);
    let exposure: ExposureSpec =
        serde_json::from_value(json!({"ports": [{"name": "http", "containerPort": 8080}]})).unwrap();
    written.notes = RecordNotes {
        rejected: Some(VerdictNote {
            seq: 3,
            trial: 2,
            reason: "CrashLoopBackOff".to_owned(),
            message: "exit 1: \"no such file\"".to_owned(),
        }),
        promoted: Some(2),
        exposure: Some(exposure),
        pre_deployed: PreDeployed::Succeeded,
        trial: 2,
    };
    let none = BTreeMap::new();
    let identity = Identity {
        name: "orders",
        namespace: "shop",
        common_labels: &none,
    };
    let child = record(&identity, &written);
    let stored: ControllerRevision = serde_json::from_value(child.object).unwrap();
    assert_eq!(Record::read(&stored).unwrap(), written);
    assert_eq!(stored.metadata.name.as_deref(), Some(written.name.as_str()));
    assert_eq!(stored.revision, 7);
}

#[test]
fn what_is_no_record_says_why() {
    let read = |object: Value| {
        Record::read(&serde_json::from_value::<ControllerRevision>(object).unwrap()).unwrap_err()
    };
    let empty = read(json!({"metadata": {"name": "orders-x"}, "revision": 1}));
    assert!(matches!(&empty, RecordError::Empty(name) if name == "orders-x"));
    let foreign = read(json!({"metadata": {"name": "orders-x"}, "revision": 1, "data": {"digest": 5}}));
    assert_eq!(
        foreign.to_string(),
        "ControllerRevision orders-x cannot be read at digest: invalid type: integer `5`, expected a string"
    );
}

#[test]
fn a_collision_and_an_epoch_show_in_the_record() {
    let first = made(json!({}), Vec::new(), 0);
    let again = made(json!({}), Vec::new(), 1);
    assert_eq!(first.data.base, first.data.digest);
    assert_eq!(again.data.base, first.data.digest);
    assert_ne!(again.data.digest, first.data.digest);
    assert_ne!(again.name, first.name);
    assert_eq!(first.data.deployment, first.name);
    assert_eq!(first.data.selector["microservice.dev/revision"], first.name);
}

fn differs(before: &Record, after: &Record) -> String {
    changes(&before.data, &after.data)
}

#[test]
fn differences_in_words() {
    let before = json!({
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "ports": [{"name": "http", "containerPort": 8080}],
    });
    for (what, after, expected) in [
        ("nothing", json!({}), ""),
        ("an image", json!({"image": "a:2"}), "image a:1 -> a:2"),
        (
            "a variable",
            json!({"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}]}),
            "env[B].value 2 -> 3",
        ),
        (
            "a variable less",
            json!({"env": [{"name": "A", "value": "1"}]}),
            "env[B]",
        ),
        (
            "the order of variables",
            json!({"env": [{"name": "B", "value": "2"}, {"name": "A", "value": "1"}]}),
            "order of env",
        ),
        (
            "a number",
            json!({"terminationGracePeriodSeconds": 60}),
            "terminationGracePeriodSeconds none -> 60",
        ),
        (
            "a port",
            json!({"ports": [{"name": "http", "containerPort": 9090}]}),
            "ports[http].containerPort 8080 -> 9090",
        ),
        ("a list", json!({"args": ["a"]}), "args"),
        ("a long text", json!({"workingDir": "d".repeat(81)}), "workingDir"),
        (
            "many",
            json!({"podLabels": {"a": "1", "b": "2", "c": "3", "d": "4"}, "podAnnotations": {"a": "1"},
                "image": "a:2",
                   "imagePullPolicy": "Never", "workingDir": "/w", "terminationGracePeriodSeconds": 9}),
            "image a:1 -> a:2, imagePullPolicy none -> Never, podAnnotations, podLabels, \
             terminationGracePeriodSeconds none -> 9, workingDir none -> /w",
        ),
        (
            "more",
            json!({"args": ["x"], "command": ["x"], "podLabels": {"a": "1"}, "podAnnotations": {"a": "1"},
                "image": "a:2",
                   "imagePullPolicy": "Never", "workingDir": "/w", "terminationGracePeriodSeconds": 9}),
            "args, command, image a:1 -> a:2, imagePullPolicy none -> Never, podAnnotations, podLabels, \
             and 2 more",
        ),
    ] {
        let mut fields = before.clone();
        fields
            .as_object_mut()
            .unwrap()
            .extend(after.as_object().unwrap().clone());
        let found = differs(&made(before.clone(), Vec::new(), 0), &made(fields, Vec::new(), 0));
        assert_eq!(found, expected, "{what}");
    }
}

#[test]
fn changed_content_is_named() {
    let files = json!({"files": [{"mountPath": "/a", "configMap": {"name": "a"}}]});
    let with = |data: Option<&str>| made(files.clone(), vec![snapshot("a", data)], 0);
    let digest = |record: &Record| record.data.snapshots[0].content.as_ref().unwrap().digest[..8].to_owned();
    let (one, two) = (with(Some("1")), with(Some("2")));
    assert_eq!(
        differs(&one, &two),
        format!("content of ConfigMap a ({})", digest(&two))
    );
    assert_eq!(differs(&one, &with(None)), "content of ConfigMap a (absent)");
    assert_eq!(
        differs(&made(json!({}), Vec::new(), 0), &one),
        "files",
        "a source that is new is a change of the spec"
    );
}

#[test]
fn a_restart_and_a_better_renderer_are_told_apart() {
    let of = |epoch| made(json!({"config": {"env": {"A": "b"}}}), Vec::new(), epoch);
    assert_eq!(differs(&of(0), &of(1)), "restart");
    let mut refreshed = of(1);
    refreshed.data.template["spec"]["enableServiceLinks"] = json!(true);
    assert_eq!(
        differs(&of(0), &refreshed),
        "template.spec.enableServiceLinks false -> true"
    );
}

#[test]
fn old_records_are_read() {
    let data = json!({
        "digest": "d", "base": "b", "input": {"spec": {"image": "a:1"}}, "template": {},
            "deployment": "orders",
        "selector": {"app": "orders"}, "renderedBy": "0.1.0"
    });
    let read: RecordData = serde_json::from_value(data).unwrap();
    assert_eq!(
        (read.epoch, read.snapshots.len(), read.input.served),
        (0, 0, false)
    );
}

/// JSON as text with the keys of every object the other way round.
fn backwards(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let pairs: Vec<String> = fields
                .iter()
                .rev()
                .map(|(key, value)| format!("{}: {}", json!(key), backwards(value)))
                .collect();
            format!("{{ {} }}", pairs.join(" , "))
        }
        Value::Array(items) => format!(
            "[ {} ]",
            items.iter().map(backwards).collect::<Vec<_>>().join(" , ")
        ),
        scalar => scalar.to_string(),
    }
}

fn documents() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_order_of_keys_and_white_space_have_no_meaning(document in documents()) {
        let read: Value = serde_json::from_str(&backwards(&document)).unwrap();
        prop_assert_eq!(canonical_json(&read), canonical_json(&document));
    }

    #[test]
    fn canonical_json_is_json_and_says_the_same_again(document in documents()) {
        let text = canonical_json(&document);
        let read: Value = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(canonical_json(&read), text);
    }

    #[test]
    fn absent_null_and_empty_are_one(document in documents(), key in "[a-z]{1,8}") {
        let with = |value: Value| canonical_json(&json!({"document": document,
            "fields": {key.clone(): value}}));
        prop_assert_eq!(with(Value::Null), with(json!([])));
        prop_assert_ne!(with(Value::Null), with(json!({})));
    }
}
