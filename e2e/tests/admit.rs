//! What the API server refuses at apply, and what people see of the kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;

use e2e::environment::repository;
use e2e::scenario::crds;
use e2e::status::StatusExt;
use e2e::{Manifest, podinfo, scenario};
use kube::ResourceExt;
use microservice_operator::api::Microservice;
use serde_json::{Value, json};

/// The messages of all CEL rules of a schema.
fn rules(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for rule in fields.get("x-kubernetes-validations").and_then(Value::as_array).into_iter().flatten() {
                found.insert(rule["message"].as_str().expect("a rule has a message").to_owned());
            }
            fields.values().for_each(|field| rules(field, found));
        }
        Value::Array(items) => items.iter().for_each(|item| rules(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn spec(overlay: Value) -> Manifest {
    podinfo("web", "1.0.0").spec(overlay)
}

fn route(fields: Value) -> Manifest {
    let mut route = json!({"name": "public", "ingress": {}});
    e2e::manifest::merge(&mut route, fields);
    spec(json!({"routes": [route]}))
}

fn autoscaling(fields: Value) -> Manifest {
    let mut autoscaling = json!({"minReplicas": 2, "maxReplicas": 3, "cpu": 80});
    e2e::manifest::merge(&mut autoscaling, fields);
    spec(json!({"autoscaling": autoscaling}))
}

/// What breaks each rule, and nothing else, by the start of its message.
fn offenders() -> Vec<(&'static str, Manifest)> {
    let ports = |second: Value| spec(json!({"ports": [{"name": "http", "containerPort": 9898}, second]}));
    let external = json!([{"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value", "value": "1"}}}]);
    let gateway = json!({"parentRefs": [{"name": "edge"}]});
    vec![
        ("metadata.name must be a DNS-1035 label", podinfo("1web", "1.0.0")),
        ("metadata.name must be a DNS-1035 label", podinfo("web.local", "1.0.0")),
        ("metadata.name must be a DNS-1035 label", podinfo(&"w".repeat(46), "1.0.0")),
        ("each of routes needs a port of this service", route(json!({"port": "grpc"}))),
        ("each of routes needs a port of this service", route(json!({})).spec(json!({"ports": null, "probes": null}))),
        ("monitoring.port must be", spec(json!({"monitoring": {"port": "metrics"}}))),
        ("config.files needs config.mountPath", spec(json!({"config": {"files": {"a": "b"}}}))),
        ("no two of ports may have the same containerPort", ports(json!({"name": "b", "containerPort": 9898, "servicePort": 1}))),
        ("no two of ports may have the same servicePort", ports(json!({"name": "b", "containerPort": 1, "servicePort": 9898}))),
        ("podLabels must not hold", spec(json!({"podLabels": {"app.kubernetes.io/name": "x"}}))),
        ("podLabels must not hold", spec(json!({"podLabels": {"microservice.dev/revision": "x"}}))),
        ("podAnnotations must not hold", spec(json!({"podAnnotations": {"microservice.dev/x": "x"}}))),
        ("commonLabels must not hold", spec(json!({"commonLabels": {"app.kubernetes.io/managed-by": "x"}}))),
        ("autoscaling.minReplicas must not exceed", autoscaling(json!({"minReplicas": 4}))),
        ("autoscaling needs at least one of", autoscaling(json!({"cpu": null}))),
        ("Object and External metrics of target type Value", autoscaling(json!({"metrics": external}))),
        ("config may hold at most 128 KiB in all", spec(json!({"config": {"env": {"A": "x".repeat(131_073)}}}))),
        ("keys of config.files and config.env", spec(json!({"config": {"env": {"A B": "x"}}}))),
        ("disruptionBudget takes maxUnavailable or", spec(json!({"disruptionBudget": {"maxUnavailable": 1, "minAvailable": 1}}))),
        ("disruptionBudget.mode Disabled takes no", spec(json!({"disruptionBudget": {"mode": "Disabled", "maxUnavailable": 1}}))),
        ("disruptionBudget.maxUnavailable is a number", spec(json!({"disruptionBudget": {"maxUnavailable": "120%"}}))),
        ("disruptionBudget.minAvailable is a number", spec(json!({"disruptionBudget": {"minAvailable": "half"}}))),
        ("each of files needs exactly one of", spec(json!({"files": [{"mountPath": "/a"}]}))),
        ("each of files needs exactly one of", spec(json!({"files": [{"mountPath": "/a", "emptyDir": {}, "configMap": {"name": "a"}}]}))),
        ("track is for configMap and secret only", spec(json!({"files": [{"mountPath": "/a", "emptyDir": {}, "track": "None"}]}))),
        ("secret.secretName is needed", spec(json!({"files": [{"mountPath": "/a", "secret": {}}]}))),
        ("networkPolicy.egress needs mode", spec(json!({"networkPolicy": {"mode": "Ingress", "egress": [{}]}}))),
        ("each of routes needs exactly one of ingress or gateway", route(json!({"ingress": null}))),
        ("each of routes needs exactly one of ingress or gateway", route(json!({"gateway": gateway}))),
        ("an Ingress cannot match headers", route(json!({"rules": [{"headers": [{"name": "a", "value": "b"}]}]}))),
        (
            "pathType ImplementationSpecific is for an ingress",
            route(json!({"ingress": null, "gateway": gateway, "rules": [{"pathType": "ImplementationSpecific"}]})),
        ),
        ("a headless Service is of type ClusterIP", spec(json!({"service": {"type": "NodePort", "headless": "Enabled"}}))),
        ("serviceAccount.annotations needs create", spec(json!({"serviceAccount": {"annotations": {"a": "b"}}}))),
        (
            "strategy.rollingUpdate is for type RollingUpdate",
            spec(json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}})),
        ),
        (
            "maxSurge and maxUnavailable cannot both be 0",
            spec(json!({"strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}}})),
        ),
        ("with maxSurge 0 set maxUnavailable", spec(json!({"strategy": {"rollingUpdate": {"maxSurge": 0}}}))),
        ("rollingUpdate.maxSurge is a number", spec(json!({"strategy": {"rollingUpdate": {"maxSurge": "one"}}}))),
        ("rollingUpdate.maxUnavailable is a number", spec(json!({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}))),
    ]
}

#[test]
fn every_rule_refuses_with_its_message() {
    scenario("rules").without_operator().run(async |s| {
        let crd: Value = serde_saphyr::from_str(&crds()).expect("the CRD is YAML");
        let mut messages = BTreeSet::new();
        rules(&crd, &mut messages);
        assert!(messages.len() > 20, "{messages:?}");
        let mut untested = messages.clone();
        for (start, manifest) in offenders() {
            let mut matching = messages.iter().filter(|message| message.starts_with(start));
            let message = matching.next().unwrap_or_else(|| panic!("no rule says {start:?}"));
            assert!(matching.next().is_none(), "{start:?} is no single rule's");
            untested.remove(message);
            for how in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"]] {
                let said = s.kubectl_with(how, Some(&manifest.text())).refused();
                assert!(said.contains(message.as_str()), "{start:?}, {how:?}: {said}");
            }
        }
        assert_eq!(untested, BTreeSet::new(), "these rules have no test");
        assert_eq!(s.list::<Microservice>().await.len(), 0);
    });
}

#[test]
fn the_schema_refuses_what_it_can() {
    scenario("schema").without_operator().run(async |s| {
        for (overlay, words) in [
            (json!({"image": ""}), "spec.image in body should be at least 1 chars long"),
            (json!({"replicas": -1}), "spec.replicas in body should be greater than or equal to 0"),
            (json!({"imagePullPolicy": "Sometimes"}), "spec.imagePullPolicy: Unsupported value: \"Sometimes\""),
            (json!({"ports": [{"name": "http", "containerPort": 0}]}), "spec.ports[0].containerPort"),
            (json!({"ports": [{"name": "Http", "containerPort": 1}]}), "spec.ports[0].name"),
            (json!({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}), "spec.ports[1]: Duplicate value"),
            (json!({"strategy": {"type": "Canary"}}), "spec.strategy.type: Unsupported value: \"Canary\""),
            (json!({"strategy": {"bakeSeconds": -1}}), "spec.strategy.bakeSeconds in body should be greater than or equal to 0"),
            (json!({"config": {"mountPath": "etc"}}), "spec.config.mountPath in body should match"),
        ] {
            let manifest = spec(overlay);
            for how in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"]] {
                let said = s.kubectl_with(how, Some(&manifest.text())).refused();
                assert!(said.contains(words), "{words:?}, {how:?}: {said}");
            }
        }
        // A typo is told by its path.
        let said = s.kubectl_with(&["apply", "-f", "-"], Some(&spec(json!({"replcas": 2})).text())).refused();
        assert!(said.contains("unknown field \"spec.replcas\""), "{said}");
    });
}

#[test]
fn the_examples_are_accepted_both_ways() {
    scenario("examples").without_operator().run(async |s| {
        let mut count = 0;
        for entry in std::fs::read_dir(repository().join("manifests/examples")).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("namespace: shop", &format!("namespace: {}", s.namespace));
            for how in [&["apply", "-f", "-"][..], &["apply", "--server-side", "--force-conflicts", "-f", "-"]] {
                let said = s.kubectl_with(how, Some(&text));
                assert!(said.succeeded, "{}: {}", path.display(), said.err);
            }
            count += 1;
        }
        assert!(count >= 5, "{count} examples");
    });
}

#[test]
fn the_crd_is_applied_client_side_and_again() {
    scenario("crd").without_operator().run(async |s| {
        // The harness installed it that way; a second time it changes nothing.
        let said = s.kubectl_with(&["apply", "-f", "-"], Some(&crds())).ok();
        assert_eq!(said.trim(), "customresourcedefinition.apiextensions.k8s.io/microservices.microservice.dev unchanged");
        assert!(crds().len() < 256 * 1024, "{} bytes", crds().len());
    });
}

#[test]
fn kubectl_explains_it() {
    scenario("explain").without_operator().run(async |s| {
        let said = s.kubectl(&["explain", "microservice.spec.ports"]).ok();
        assert!(said.contains("Scope: additive. The ports that the container listens on."), "{said}");
        for field in ["appProtocol", "containerPort", "name", "protocol", "service", "servicePort"] {
            assert!(said.contains(field), "{field}: {said}");
        }
        let said = s.kubectl(&["explain", "microservice.spec.strategy.bakeSeconds"]).ok();
        assert!(said.contains("Default: 60."), "{said}");
        let said = s.kubectl(&["explain", "microservice"]).ok();
        assert!(said.contains("A Microservice is a service as its team describes it."), "{said}");
        let said = s.kubectl(&["explain", "microservice.status.observedGeneration"]).ok();
        assert!(said.contains("-1: none yet"), "{said}");
        let kinds = s.kubectl(&["api-resources", "--api-group=microservice.dev", "--no-headers"]).ok();
        let words: Vec<&str> = kinds.split_whitespace().collect();
        assert_eq!(words, ["microservices", "msvc", "microservice.dev/v1alpha1", "true", "Microservice"]);
        let categories = s.kubectl(&["get", "microservices", "--ignore-not-found"]);
        assert!(categories.succeeded, "{}", categories.err);
    });
}

#[test]
fn an_object_that_nobody_has_seen_says_so() {
    scenario("unseen").without_operator().run(async |s| {
        let created = s.apply(&podinfo("web", "1.0.0")).await;
        assert_eq!(created.metadata.generation, Some(1));
        assert_eq!(created.status.expect("a default status").observed_generation, -1);
        // A client that writes no status through kubectl apply gets the same.
        s.kubectl_with(&["apply", "-f", "-"], Some(&podinfo("two", "1.0.0").text())).ok();
        let seen = s.kubectl(&["get", "msvc", "two", "-o", "jsonpath={.status.observedGeneration}"]).ok();
        assert_eq!(seen, "-1");
        // kstatus and kubectl wait take it for unfinished.
        let said = s.kubectl(&["wait", "--for=condition=Ready", "--timeout=1s", "msvc/two"]).refused();
        assert!(said.contains("timed out"), "{said}");
    });
}

#[test]
fn the_columns_say_what_matters() {
    scenario("columns").run(async |s| {
        let manifest = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2, "routes": [{"name": "public", "hosts": ["web.example"], "ingress": {}}]}));
        let found = s.deploy(&manifest).await;
        let stable = found.stable().unwrap();
        let table = s.kubectl(&["get", "msvc"]).ok();
        let lines: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["NAME", "PHASE", "REVISION", "READY", "AGE"]);
        assert_eq!(lines[1][..4], ["web", "Healthy", &stable, "2/2"]);
        assert_eq!(lines.len(), 2);
        let table = s.kubectl(&["get", "msvc", "-o", "wide"]).ok();
        let mut lines = table.lines();
        let heads: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(heads, ["NAME", "PHASE", "REVISION", "READY", "IMAGE", "URL", "MESSAGE", "AGE"]);
        let row: Vec<&str> = lines.next().unwrap().split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
        let message = format!("{stable} serves with 2 of 2 pods");
        assert_eq!(
            row[..7],
            ["web", "Healthy", &stable, "2/2", "registry.local/podinfo:1.0.0", "http://web.example", &message]
        );
        assert_eq!(found.name_any(), "web");
    });
}
