//! What pods look like, field by field.

#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::MicroserviceSpec;
use crate::revision::SnapshotContent;

const REVISION: &str = "orders-bcdfghjklm";

fn rendered(spec: Value, snapshots: &[RecordedSnapshot]) -> Value {
    let mut all = json!({"image": "a:1"});
    all.as_object_mut()
        .unwrap()
        .extend(spec.as_object().unwrap().clone());
    let spec: MicroserviceSpec = serde_json::from_value(all).unwrap();
    let none = BTreeMap::new();
    let identity = Identity {
        name: "orders",
        namespace: "shop",
        common_labels: &none,
    };
    pod_template(&identity, REVISION, &RevisionInput::of(&spec), snapshots)
}

fn pod(spec: Value) -> Value {
    rendered(spec, &[])["spec"].clone()
}

fn main_container(spec: Value) -> Value {
    pod(spec)["containers"][0].clone()
}

fn snapshot(kind: SourceKind, name: &str, content: Option<SnapshotContent>) -> RecordedSnapshot {
    RecordedSnapshot {
        source: SnapshotSource {
            kind,
            name: name.to_owned(),
        },
        content,
    }
}

fn http() -> Value {
    json!([{"name": "http", "containerPort": 8080}])
}

#[test]
fn readiness_is_tried_by_tcp_only_where_it_is_plain_which_port_is_meant() {
    let tcp = json!({"tcpSocket": {"port": 8080}, "periodSeconds": 5});
    let grpc = json!({"name": "grpc", "containerPort": 9090});
    for (spec, expected) in [
        (json!({"ports": http()}), tcp.clone()),
        (
            json!({"ports": [{"name": "web", "containerPort": 8080}]}),
            tcp.clone(),
        ),
        (json!({"ports": [grpc, http()[0]]}), tcp),
        (
            json!({"ports": [grpc, {"name": "web", "containerPort": 8080}]}),
            Value::Null,
        ),
        (
            json!({"ports": [{"name": "dns", "containerPort": 53, "protocol": "UDP"}]}),
            Value::Null,
        ),
        (json!({"ports": http(), "probes": {}}), Value::Null),
        (
            json!({"ports": http(), "probes": {"liveness": {"tcpSocket": {"port": 1}}}}),
            Value::Null,
        ),
        (json!({}), Value::Null),
    ] {
        assert_eq!(main_container(spec.clone())["readinessProbe"], expected, "{spec}");
    }
}

#[test]
fn a_pod_waits_before_it_ends_where_a_service_leads_to_it() {
    let sleep = |seconds: i64| json!({"preStop": {"sleep": {"seconds": seconds}}});
    let own = json!({"postStart": {"exec": {"command": ["true"]}}});
    for (spec, expected) in [
        (json!({"ports": http()}), sleep(5)),
        (
            json!({"ports": http(), "terminationGracePeriodSeconds": 4}),
            sleep(3),
        ),
        (
            json!({"ports": http(), "terminationGracePeriodSeconds": 2}),
            sleep(1),
        ),
        (
            json!({"ports": http(), "terminationGracePeriodSeconds": 1}),
            Value::Null,
        ),
        (
            json!({"ports": http(), "terminationGracePeriodSeconds": 0}),
            Value::Null,
        ),
        (
            json!({"ports": http(), "podTemplate": {"spec": {"terminationGracePeriodSeconds": 3}}}),
            sleep(2),
        ),
        (json!({"ports": http(), "lifecycle": {}}), Value::Null),
        (json!({"ports": http(), "lifecycle": own}), own),
        (
            json!({"ports": [{"name": "admin", "containerPort": 1, "service": "Exclude"}]}),
            Value::Null,
        ),
        (json!({}), Value::Null),
    ] {
        assert_eq!(main_container(spec.clone())["lifecycle"], expected, "{spec}");
    }
}

#[test]
fn pods_spread_as_they_are_told() {
    let of = |spread: &str| {
        let constraints = pod(json!({"scheduling": {"spread": spread}}))["topologySpreadConstraints"].clone();
        let all = constraints.as_array().cloned().unwrap_or_default();
        all.iter()
            .map(|c| {
                format!(
                    "{} {}",
                    c["topologyKey"].as_str().unwrap(),
                    c["whenUnsatisfiable"].as_str().unwrap()
                )
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(
        of("Soft"),
        [
            "topology.kubernetes.io/zone ScheduleAnyway",
            "kubernetes.io/hostname ScheduleAnyway"
        ]
    );
    assert_eq!(
        of("Hard"),
        [
            "topology.kubernetes.io/zone DoNotSchedule",
            "kubernetes.io/hostname DoNotSchedule"
        ]
    );
    assert_eq!(of("None"), Vec::<String>::new());
    let selector = &pod(json!({}))["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"];
    assert_eq!(
        *selector,
        json!({
            "app.kubernetes.io/name": "orders",
            "app.kubernetes.io/instance": "orders",
            "microservice.dev/revision": REVISION,
        })
    );
}

#[test]
fn the_profile_fills_in_what_nobody_said_in_every_container() {
    let spec = |profile: &str| {
        json!({
            "security": {"profile": profile, "runAsUser": 7},
            "initContainers": [{"name": "i", "image": "i:1",
                "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}}}],
            "sidecars": [
                {"name": "s", "image": "s:1", "securityContext": {"allowPrivilegeEscalation": true}},
            ],
            "podTemplate": {"spec": {
                "containers": [{"name": "extra", "image": "e:1"}],
                "securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}},
            }},
        })
    };
    let contexts = |pod: &Value| {
        [
            &pod["securityContext"],
            &pod["containers"][0]["securityContext"],
            &pod["containers"][1]["securityContext"],
            &pod["initContainers"][0]["securityContext"],
            &pod["initContainers"][1]["securityContext"],
        ]
        .map(Clone::clone)
    };
    let seccomp = json!({"type": "Localhost", "localhostProfile": "p"});
    assert_eq!(
        contexts(&pod(spec("Restricted"))),
        [
            json!({"runAsUser": 7, "runAsNonRoot": true, "seccompProfile": seccomp}),
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
            json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}),
            json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_BIND_SERVICE"],
                "drop": ["ALL"]}}),
            json!({"allowPrivilegeEscalation": true, "capabilities": {"drop": ["ALL"]}}),
        ]
    );
    assert_eq!(
        contexts(&pod(spec("Baseline"))),
        [
            json!({"runAsUser": 7, "seccompProfile": seccomp}),
            json!({"allowPrivilegeEscalation": false}),
            json!({"allowPrivilegeEscalation": false}),
            json!({"allowPrivilegeEscalation": false, "capabilities": {"add": ["NET_BIND_SERVICE"]}}),
            json!({"allowPrivilegeEscalation": true}),
        ]
    );
    assert_eq!(
        contexts(&pod(spec("Custom"))),
        [
            json!({"runAsUser": 7, "seccompProfile": seccomp}),
            Value::Null,
            Value::Null,
            json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}}),
            json!({"allowPrivilegeEscalation": true}),
        ]
    );
}

#[test]
fn sidecars_are_init_containers_that_go_on_and_come_after_the_others() {
    let pod = pod(json!({
        "initContainers": [{"name": "i", "image": "i:1"}],
        "sidecars": [{"name": "s", "image": "s:1", "restartPolicy": "Never"}],
        "security": {"profile": "Custom"},
    }));
    assert_eq!(
        pod["initContainers"],
        json!([{"name": "i", "image": "i:1"}, {"name": "s", "image": "s:1", "restartPolicy": "Always"}])
    );
}

#[test]
fn accounts_and_tokens() {
    for (account, name, mounted) in [
        (json!({}), Value::Null, false),
        (json!({"token": "Mount"}), Value::Null, true),
        (json!({"name": "a"}), json!("a"), false),
        (json!({"create": "Always"}), json!("orders"), false),
        (
            json!({"create": "Always", "name": "a", "token": "Mount"}),
            json!("a"),
            true,
        ),
    ] {
        let pod = pod(json!({"serviceAccount": account}));
        assert_eq!(
            (&pod["serviceAccountName"], &pod["automountServiceAccountToken"]),
            (&name, &json!(mounted)),
            "{account}"
        );
    }
}

#[test]
fn tracked_sources_lead_to_copies_absent_and_untracked_ones_to_themselves() {
    let spec = json!({
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}}],
        "envFrom": [{"configMapRef": {"name": "gone", "optional": true}}, {"secretRef": {"name": "s"}}],
        "files": [
            {"mountPath": "/a", "configMap": {"name": "c"}},
            {"mountPath": "/b", "configMap": {"name": "c"}, "track": "None"},
            {"mountPath": "/c", "secret": {"secretName": "s"}, "track": "Snapshot"},
            {"mountPath": "/d", "secret": {"secretName": "s"}},
        ],
    });
    let content = Some(SnapshotContent::default());
    let snapshots = [
        snapshot(SourceKind::ConfigMap, "c", content.clone()),
        snapshot(SourceKind::ConfigMap, "gone", None),
        snapshot(SourceKind::Secret, "s", content),
    ];
    let pod = rendered(spec, &snapshots)["spec"].clone();
    let (config_map, secret) = (
        snapshots[0].source.copy_name(REVISION),
        snapshots[2].source.copy_name(REVISION),
    );
    assert_ne!(config_map, secret);
    let container = &pod["containers"][0];
    assert_eq!(
        container["env"][0]["valueFrom"]["configMapKeyRef"],
        json!({"name": config_map, "key": "k"})
    );
    assert_eq!(
        container["envFrom"],
        json!([{"configMapRef": {"name": "gone", "optional": true}}, {"secretRef": {"name": "s"}}])
    );
    let sources: Vec<Value> = pod["volumes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|volume| {
            let mut volume = volume.as_object().unwrap().clone();
            volume.remove("name");
            Value::Object(volume)
        })
        .collect();
    assert_eq!(
        sources,
        [
            json!({"configMap": {"name": config_map}}),
            json!({"configMap": {"name": "c"}}),
            json!({"secret": {"secretName": secret}}),
            json!({"secret": {"secretName": "s"}}),
        ]
    );
}

#[test]
fn identical_sources_share_a_volume_and_empty_directories_do_not() {
    let pod = pod(json!({"files": [
        {"mountPath": "/a", "configMap": {"name": "c"}, "subPath": "x"},
        {"mountPath": "/b", "configMap": {"name": "c"}, "subPath": "y"},
        {"mountPath": "/c", "configMap": {"name": "c", "defaultMode": 256}},
        {"mountPath": "/d", "emptyDir": {}},
        {"mountPath": "/e", "emptyDir": {}},
        {"mountPath": "/f", "persistentVolumeClaim": {"claimName": "p"}, "subPath": "x"},
        {"mountPath": "/g", "persistentVolumeClaim": {"claimName": "p"}, "subPath": "y"},
    ]}));
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let volume = |index: usize| mounts[index]["name"].as_str().unwrap();
    assert_eq!(volume(0), volume(1));
    assert_ne!(volume(0), volume(2));
    assert_ne!(volume(3), volume(4));
    assert_eq!(volume(5), volume(6));
    assert_eq!(pod["volumes"].as_array().unwrap().len(), 5);
    assert_eq!(
        mounts[0],
        json!({"name": volume(0), "mountPath": "/a", "subPath": "x", "readOnly": true})
    );
    assert_eq!(mounts[3], json!({"name": volume(3), "mountPath": "/d"}));
}

#[test]
fn names_of_volumes_stay_from_revision_to_revision() {
    let spec = json!({"files": [{"mountPath": "/a", "configMap": {"name": "c"}}]});
    let content = |data: &str| {
        Some(SnapshotContent {
            digest: data.to_owned(),
            ..SnapshotContent::default()
        })
    };
    let name = |snapshots: &[RecordedSnapshot]| {
        rendered(spec.clone(), snapshots)["spec"]["volumes"][0]["name"].clone()
    };
    let before = name(&[snapshot(SourceKind::ConfigMap, "c", content("1"))]);
    assert_eq!(
        before,
        name(&[snapshot(SourceKind::ConfigMap, "c", content("2"))])
    );
    assert_eq!(before, name(&[]));
}

#[test]
fn configuration_of_the_spec_is_mounted_and_set() {
    let both = pod(json!({
        "envFrom": [{"secretRef": {"name": "s"}}],
        "config": {"mountPath": "/etc/o", "files": {"a.yaml": "x"}, "env": {"A": "b"}},
    }));
    assert_eq!(
        both["volumes"],
        json!([{"name": "microservice-config", "configMap": {"name": REVISION}}])
    );
    assert_eq!(
        both["containers"][0]["volumeMounts"],
        json!([{"name": "microservice-config", "mountPath": "/etc/o", "readOnly": true}])
    );
    assert_eq!(
        both["containers"][0]["envFrom"],
        json!([{"secretRef": {"name": "s"}}, {"configMapRef": {"name": format!("{REVISION}-env")}}])
    );
    let env = pod(json!({"config": {"env": {"A": "b"}}}));
    assert_eq!(
        env["containers"][0]["envFrom"],
        json!([{"configMapRef": {"name": REVISION}}])
    );
    assert_eq!(env["volumes"], Value::Null);
}

#[test]
fn no_overlay_and_no_label_of_the_users_takes_a_pod_out_of_its_revision() {
    let forged = json!({
        "app.kubernetes.io/name": "x",
        "app.kubernetes.io/instance": "x",
        "app.kubernetes.io/managed-by": "x",
        "microservice.dev/revision": "x",
        "microservice.dev/role": "x",
        "team": "a",
    });
    let expected = json!({
        "app.kubernetes.io/name": "orders",
        "app.kubernetes.io/instance": "orders",
        "microservice.dev/revision": REVISION,
        "team": "a",
    });
    assert_eq!(
        rendered(json!({"podLabels": forged}), &[])["metadata"]["labels"],
        expected
    );
    assert_eq!(
        rendered(json!({"podTemplate": {"metadata": {"labels": forged}}}), &[])["metadata"]["labels"],
        expected
    );
    let broken = rendered(
        json!({"podTemplate": {"metadata": "x"}, "podLabels": {"team": "a"}}),
        &[],
    );
    assert_eq!(
        broken["metadata"]["labels"]["microservice.dev/revision"],
        REVISION
    );
}

#[test]
fn the_overlay_comes_last() {
    let pod = pod(json!({
        "image": "a:1",
        "ports": http(),
        "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
        "podTemplate": {"spec": {
            "hostNetwork": true,
            "enableServiceLinks": true,
            "containers": [{"name": "orders", "image": "a:2", "env": [{"name": "B", "value": "3"},
                {"name": "C", "value": "4"}]}],
        }},
    }));
    assert_eq!(
        (&pod["hostNetwork"], &pod["enableServiceLinks"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(pod["containers"][0]["image"], "a:2");
    assert_eq!(
        pod["containers"][0]["env"],
        json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}])
    );
}

#[test]
fn the_order_of_ports_changes_no_template() {
    let a = json!({"name": "a", "containerPort": 1});
    let b = json!({"name": "b", "containerPort": 2});
    assert_eq!(
        rendered(json!({"ports": [a, b]}), &[]),
        rendered(json!({"ports": [b, a]}), &[])
    );
}
