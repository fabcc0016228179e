//! Every class of mistake, with the words that it is answered with.

#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use serde_json::{Value, json};

use super::*;

fn service(spec: &Value) -> Value {
    json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {"name": "orders"},
        "spec": spec,
    })
}

/// What is said about a spec that is good but for these fields.
fn said_of(fields: Value) -> Vec<String> {
    let mut spec = json!({"image": "a:1", "ports": [{"name": "http", "containerPort": 8080}]});
    spec.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    said(&service(&spec))
}

fn said(document: &Value) -> Vec<String> {
    microservice(document)
        .err()
        .unwrap_or_default()
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn a_good_one_is_read_with_its_defaults() {
    let read = microservice(&service(
        &json!({"image": "a:1", "replicas": null, "probes": null}),
    ))
    .unwrap();
    assert_eq!(read.metadata.name.as_deref(), Some("orders"));
    assert_eq!(read.spec.revision.image, "a:1");
    assert_eq!(read.spec.operation.replicas, 1);
    assert_eq!(read.spec.revision.probes, None);
}

#[test]
fn the_head_of_the_object() {
    let mut document = service(&json!({"image": "a:1"}));
    document["apiVersion"] = json!("microservice.dev/v2");
    document["metadata"] = json!({});
    assert_eq!(
        said(&document),
        [
            "apiVersion: must be microservice.dev/v1alpha1",
            "metadata.name: is required"
        ]
    );
    document = service(&json!({"image": "a:1"}));
    document["spek"] = json!({});
    assert_eq!(said(&document), ["spek: unknown field, did you mean spec?"]);
    document = service(&json!({"image": "a:1"}));
    document.as_object_mut().unwrap().remove("spec");
    assert_eq!(said(&document), ["spec: is required"]);
}

#[test]
fn unknown_fields_with_what_may_be_meant() {
    for (fields, expected) in [
        (
            json!({"imagePullPolicyy": "Always"}),
            "spec.imagePullPolicyy: unknown field, did you mean imagePullPolicy?",
        ),
        (
            json!({"Replicas": 1}),
            "spec.Replicas: unknown field, did you mean replicas?",
        ),
        (json!({"foo": 1}), "spec.foo: unknown field"),
        (
            json!({"probes": {"readyness": {}}}),
            "spec.probes.readyness: unknown field, did you mean readiness?",
        ),
        (
            json!({"env": [{"name": "A", "valuefrom": {}}]}),
            "spec.env[0].valuefrom: unknown field, did you mean valueFrom?",
        ),
    ] {
        assert_eq!(said_of(fields.clone()), [expected], "{fields}");
    }
}

#[test]
fn what_is_passed_through_may_hold_any_field() {
    let fields = json!({"sidecars": [{"name": "a", "futureField": {"x": 1}}],
        "podTemplate": {"spec": {"future": true}}});
    assert_eq!(said_of(fields), Vec::<String>::new());
}

#[test]
fn a_null_stands_only_where_the_api_server_lets_it() {
    assert_eq!(
        said_of(json!({"command": null, "podLabels": {"a": null}, "probes": null, "deletionPolicy": null})),
        [
            "spec.command: must be of type array, not null",
            "spec.deletionPolicy: must be Delete or Orphan, not null",
            "spec.podLabels.a: must be of type string, not null",
        ]
    );
}

#[test]
fn types_and_limits() {
    for (fields, expected) in [
        (
            json!({"replicas": "3"}),
            "spec.replicas: must be of type integer, not \"3\"",
        ),
        (
            json!({"replicas": 1.5}),
            "spec.replicas: must be of type integer, not 1.5",
        ),
        (
            json!({"replicas": -1}),
            "spec.replicas: must be at least 0, not -1",
        ),
        (
            json!({"replicas": 10001}),
            "spec.replicas: must be at most 10000, not 10001",
        ),
        (json!({"image": ""}), "spec.image: must not be empty"),
        (
            json!({"podLabels": {"a/b": 1}}),
            "spec.podLabels[a/b]: must be of type string, not 1",
        ),
        (
            json!({"security": {"profile": "Lax"}}),
            "spec.security.profile: must be Restricted, Baseline or Custom, not \"Lax\"",
        ),
        (
            json!({"monitoring": {"path": "metrics"}}),
            "spec.monitoring.path: \"metrics\" must match ^/",
        ),
        (
            json!({"resources": {"limits": {"cpu": []}}}),
            "spec.resources.limits.cpu: must be of type integer or string, not []",
        ),
        (
            json!({"imagePullSecrets": vec![json!({}); 17]}),
            "spec.imagePullSecrets: must have at most 16 items",
        ),
        (
            json!({"workingDir": "d".repeat(1025)}),
            "spec.workingDir: must have at most 1024 characters",
        ),
    ] {
        let said = said_of(fields.clone());
        assert!(said.iter().any(|line| line == expected), "{fields}: {said:?}");
    }
}

#[test]
fn double_keys_and_items() {
    let port = json!({"name": "http", "containerPort": 8080});
    assert_eq!(
        said_of(json!({"ports": [port, port]})),
        ["spec.ports[1]: has the same name as spec.ports[0]"]
    );
    let route = json!({"name": "a", "ingress": {}, "hosts": ["a.example", "b.example", "a.example"]});
    assert_eq!(
        said_of(json!({"routes": [route]})),
        ["spec.routes[0].hosts[2]: has the same value as spec.routes[0].hosts[0]"]
    );
}

/// What splits traffic, and what it cannot do.
#[test]
fn the_rules_of_routers() {
    let ingress = json!([{"name": "a", "ingress": {"className": "traefik"}}]);
    let nginx = json!([{"name": "a", "ingress": {"annotations": {"kubernetes.io/ingress.class": "nginx"}}}]);
    let gateway = json!([{"name": "a", "gateway": {"parentRefs": [{"name": "g"}]}}]);
    let istio = json!([{"name": "a", "istio": {"gateways": ["infra/edge", "mesh"]}}]);
    let canary = |router: &str, steps: Value, routes: &Value| {
        let mut strategy = json!({"type": "Canary", "canary": {"steps": steps}});
        if !router.is_empty() {
            strategy["router"] = json!(router);
        }
        said_of(json!({"strategy": strategy, "routes": routes}))
    };
    let none = json!([]);
    let header = json!([{"match": [{"headers": [{"name": "x", "value": "y"}]}], "mirrorPercent": 5}]);
    let match_needs = "spec: match and mirrorPercent need a route that splits requests (gateway, istio, or an ingress of \
                       class nginx): the Service splits connections by numbers of pods, so use weight";
    let no_route = "spec: strategy.router names a kind of route that this service does not have: add one to routes, or \
                    leave out router";
    for (router, routes, expected) in [
        ("", &none, vec![match_needs]),
        ("", &ingress, vec![match_needs]),
        ("Auto", &ingress, vec![match_needs]),
        ("Service", &gateway, vec![match_needs]),
        ("", &nginx, vec![]),
        ("", &gateway, vec![]),
        ("Auto", &istio, vec![]),
        ("Gateway", &gateway, vec![]),
        ("Istio", &istio, vec![]),
        ("Gateway", &istio, vec![no_route]),
        ("Istio", &ingress, vec![no_route]),
        (
            "IngressNginx",
            &gateway,
            vec![
                no_route,
                "spec.strategy: router IngressNginx cannot mirror: leave out mirrorPercent, or use a gateway or istio route",
            ],
        ),
    ] {
        assert_eq!(
            canary(router, header.clone(), routes),
            expected,
            "{router} {routes}"
        );
    }
    let one = "spec.strategy: router IngressNginx takes one entry of match, with one header or with one cookie of value \
               always: write that, or use a gateway or istio route";
    let x = |value: &str| json!([{"name": "x", "value": value}]);
    for (matches, expected) in [
        (json!([{"headers": x("y")}]), vec![]),
        (json!([{"cookies": x("always")}]), vec![]),
        (json!([{"cookies": x("y")}]), vec![one]),
        (json!([{"queryParams": x("y")}]), vec![one]),
        (json!([{"headers": x("y")}, {"headers": x("z")}]), vec![one]),
        (json!([{"headers": x("y"), "cookies": x("always")}]), vec![one]),
    ] {
        let steps = json!([{"match": matches}]);
        assert_eq!(canary("IngressNginx", steps, &ingress), expected, "{matches}");
    }
}

#[test]
fn the_rules_of_a_rollout_without_traffic() {
    let steps = |step: Value| {
        said(&service(&json!({
            "image": "a:1",
            "strategy": {"type": "Canary", "canary": {"steps": [step]}},
        })))
    };
    let expected = "spec: a service without ports has no traffic to split: in strategy.canary.steps use replicas and \
                    durationSeconds, not weight, match or mirrorPercent";
    assert_eq!(steps(json!({"weight": 5})), [expected]);
    assert_eq!(steps(json!({"replicas": 1, "durationSeconds": 60})), [""; 0]);
}

/// Each rule of CEL in the CRD, with a spec that breaks it and no other.
#[test]
fn the_rules_of_the_crd() {
    let cases = [
        (
            json!({"files": [{"mountPath": "/a"}]}),
            "spec.files[0]: each of files needs exactly one of configMap, secret, emptyDir, \
             persistentVolumeClaim or projected",
        ),
        (
            json!({"files": [{"mountPath": "/a", "track": "None", "emptyDir": {}}]}),
            "spec.files[0]: track is for configMap and secret only",
        ),
        (
            json!({"files": [{"mountPath": "/a", "secret": {}}]}),
            "spec.files[0]: secret.secretName is needed",
        ),
        (
            json!({"service": {"headless": "Enabled", "type": "NodePort"}}),
            "spec.service: a headless Service is of type ClusterIP: leave out type or headless",
        ),
        (
            json!({"routes": [{"name": "a"}]}),
            "spec.routes[0]: each of routes needs exactly one of ingress, gateway or istio",
        ),
        (
            json!({"routes": [{"name": "a", "ingress": {}, "rules": [{"headers": [{"name": "x",
                "value": "y"}]}]}]}),
            "spec.routes[0]: an Ingress cannot match headers: use a gateway or istio route, or leave out headers",
        ),
        (
            json!({"routes": [{"name": "a", "gateway": {"parentRefs": [{"name": "g"}]},
                "rules": [{"pathType": "ImplementationSpecific"}]}]}),
            "spec.routes[0]: pathType ImplementationSpecific is for an ingress only: use Prefix or Exact",
        ),
        (
            json!({"routes": [{"name": "a-canary", "ingress": {}}]}),
            "spec.routes[0]: names of routes that end in -canary are kept for the Ingresses that split traffic: choose \
             another name",
        ),
        (
            json!({"routes": [{"name": "a", "hosts": ["a.example"], "istio": {"mode": "Delegate"}}]}),
            "spec.routes[0]: istio.mode Delegate takes no hosts and no gateways: those of the VirtualService that \
             refers to it count",
        ),
        (
            json!({"strategy": {"type": "Canary", "canary": {"steps": [{"match": [{"cookies": [
                {"name": "a", "value": "b"}, {"name": "c", "value": "d"}]}]}]}},
                "routes": [{"name": "a", "istio": {}}]}),
            "spec.strategy.canary.steps[0].match[0]: an entry of match takes one cookie: no router can ask for two, so \
             use a header for more",
        ),
        (
            json!({"strategy": {"type": "Canary", "router": "Service",
                "canary": {"steps": [{"weight": 5}], "sessionAffinity": "Cookie"}}}),
            "spec.strategy: this router cannot keep a client at a revision: leave out canary.sessionAffinity, or use \
             router IngressNginx",
        ),
        (
            json!({"routes": [{"name": "a", "ingress": {}, "port": "grpc"}]}),
            "spec: each of routes needs a port of this service: set routes[].port to the name of one of \
             ports (with service: Include), or add a port",
        ),
        (
            json!({"networkPolicy": {"mode": "Ingress", "egress": [{}]}}),
            "spec.networkPolicy: networkPolicy.egress needs mode: IngressAndEgress",
        ),
        (
            json!({"serviceAccount": {"annotations": {"a": "b"}}}),
            "spec.serviceAccount: serviceAccount.annotations needs create: Always, else the account is not \
             ours to annotate",
        ),
        (
            json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 2}}),
            "spec.autoscaling: autoscaling needs at least one of cpu, memory or metrics",
        ),
        (
            json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 2, "cpu": 50}}),
            "spec.autoscaling: autoscaling.minReplicas must not exceed maxReplicas",
        ),
        (
            json!({"autoscaling": {"minReplicas": 1, "maxReplicas": 2, "metrics": [
                {"type": "External", "external": {"metric": {"name": "m"}, "target": {"type": "Value",
                 "value": "1"}}}
            ]}}),
            "spec.autoscaling: Object and External metrics of target type Value grow without bound while \
             two revisions run: use AverageValue",
        ),
        (
            json!({"disruptionBudget": {"maxUnavailable": 1, "minAvailable": 1}}),
            "spec.disruptionBudget: disruptionBudget takes maxUnavailable or minAvailable, not both",
        ),
        (
            json!({"disruptionBudget": {"mode": "Disabled", "minAvailable": 1}}),
            "spec.disruptionBudget: disruptionBudget.mode Disabled takes no maxUnavailable and no \
             minAvailable",
        ),
        (
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}}),
            "spec.strategy: strategy.rollingUpdate is for type RollingUpdate only",
        ),
        (
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}),
            "spec.strategy.rollingUpdate: maxSurge and maxUnavailable cannot both be 0: no pod could ever \
             be replaced",
        ),
        (
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0}}}),
            "spec.strategy.rollingUpdate: with maxSurge 0 set maxUnavailable to at least 1: no pod could \
             ever be replaced",
        ),
        (
            json!({"monitoring": {"port": "admin"}}),
            "spec: monitoring.port must be the name of one of ports",
        ),
        (
            json!({"config": {"files": {"a": "b"}}}),
            "spec: config.files needs config.mountPath, the directory in the container that the files \
             appear in",
        ),
        (
            json!({"config": {"env": {"A": "x".repeat(131_073)}}}),
            "spec.config: config may hold at most 128 KiB in all: put more into a ConfigMap and mount it with \
             files",
        ),
    ];
    for (fields, expected) in cases {
        let text: String = fields.to_string().chars().take(200).collect();
        assert_eq!(said_of(fields), [expected], "{text}");
    }
}

/// A spec with one objective that is told by two queries.
fn queries(good: &str) -> Value {
    // Without ports: queries need none.
    let queries = json!({"good": good, "total": "sum(rate(a{b=\"{{service}}\"}[5m]))"});
    json!({"ports": [], "objectives": [{"name": "a", "goodPercent": "99", "indicator": {"queries": queries}}]})
}

#[test]
fn templates_hold_what_is_replaced_and_nothing_else() {
    for good in [
        "up",
        "sum(rate(a{b=\"{{namespace}}\",c=~\"[0-9]{2}|{{service}}-.+\"}[5m]))",
        "a{}",
        "a{b='{{service}}'}",
        "a{b=~'{{revision}}',pod=~\"{{revisionPods}}\"}",
        "sum by (x) ({a=\"b\"})\n/ 2",
    ] {
        assert_eq!(said_of(queries(good)), [""; 0], "{good}");
    }
    let expected = "spec.objectives[0].indicator.queries: in queries.good only {{namespace}}, {{service}}, {{revision}} and \
                    {{revisionPods}} are replaced: write no other {{...}}";
    for good in [
        "a{b=\"{{name}}\"}",
        "a{b=\"{{ service }}\"}",
        "a{b=\"{{service}\"} }}",
        "rate(a[{{window}}])",
        "}{{x}}",
    ] {
        assert_eq!(said_of(queries(good)), [expected], "{good}");
    }
    let runbook = |url: &str| said_of(json!({"monitoring": {"runbookUrl": url}}));
    assert_eq!(
        runbook("https://a.example/{{namespace}}/{{service}}?q=1#{{alert}}"),
        [""; 0]
    );
    let expected = "spec.monitoring: runbookUrl is an http or https address in which only {{namespace}}, {{service}} and \
                    {{alert}} are replaced: write no other braces and no spaces";
    for url in [
        "ftp://a.example",
        "https://a.example/{{name}}",
        "https://a.example/{x}",
        "https://a b",
    ] {
        assert_eq!(runbook(url), [expected], "{url}");
    }
}

#[test]
fn the_rules_of_alerts() {
    let http = json!([{"name": "http", "containerPort": 8080}]);
    let alert = |fields: Value| {
        let mut alert = json!({"name": "A"});
        alert
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        said_of(json!({"ports": http, "monitoring": {"alerts": [alert]}}))
    };
    let one = "spec.monitoring.alerts[0]: an alert is exactly one of errorsAbovePercent or latencyAboveMilliseconds";
    assert_eq!(alert(json!({"errorsAbovePercent": "0.5"})), [""; 0]);
    assert_eq!(
        alert(json!({"latencyAboveMilliseconds": 500, "percentile": "99.9"})),
        [""; 0]
    );
    assert_eq!(alert(json!({})), [one]);
    assert_eq!(
        alert(json!({"errorsAbovePercent": "1", "latencyAboveMilliseconds": 5})),
        [one]
    );
    assert_eq!(
        alert(json!({"errorsAbovePercent": "1", "percentile": "99"})),
        [
            "spec.monitoring.alerts[0]: percentile goes with latencyAboveMilliseconds: leave it out, or set that"
        ]
    );
    assert_eq!(
        alert(json!({"latencyAboveMilliseconds": 5, "percentile": "0.0"})),
        ["spec.monitoring.alerts[0]: percentile must be more than 0, for example \"99\""]
    );
    let objectives = json!([{"name": "a", "goodPercent": "99", "indicator": {"errors": {}}}]);
    let slow = "spec: alerts of objectives are made from rates over five minutes: set monitoring.intervalSeconds to at \
                most 120, or monitoring.objectiveAlerts to Disabled";
    let rates = "spec.monitoring: alerts and dashboards are made from rates over five minutes: set intervalSeconds to at \
                 most 120";
    for (fields, expected) in [
        (
            json!({"ports": [], "monitoring": {"alerts": [{"name": "A", "errorsAbovePercent": "1"}]}}),
            vec![
                "spec: monitoring.alerts need one of ports, from which the metrics are read: add it, and name it by \
                 monitoring.port",
            ],
        ),
        (
            json!({"monitoring": {"alertLabels": {"severity": "a"}}}),
            vec![
                "spec.monitoring: alertLabels must not hold alertname, namespace, microservice, objective, severity or \
                 window: the operator sets these",
            ],
        ),
        (
            json!({"ports": http, "monitoring": {"intervalSeconds": 300, "dashboard": {}}}),
            vec![rates],
        ),
        (
            json!({"ports": http, "monitoring": {"intervalSeconds": 121}, "objectives": objectives}),
            vec![slow],
        ),
        (
            json!({"ports": http, "monitoring": {"intervalSeconds": 120}, "objectives": objectives}),
            vec![],
        ),
        (
            json!({"ports": http, "monitoring": {"intervalSeconds": 300, "objectiveAlerts": "Disabled"},
                "objectives": objectives}),
            vec![],
        ),
        (
            json!({"ports": http, "monitoring": {"intervalSeconds": 300, "kind": "None"}, "objectives": objectives}),
            vec![],
        ),
        (
            json!({"ports": http, "objectives": [{"name": "a", "goodPercent": "99", "indicator": {}}]}),
            vec!["spec.objectives[0].indicator: an indicator is exactly one of errors, latency or queries"],
        ),
        (
            json!({"ports": [], "objectives": objectives}),
            vec![
                "spec: objectives need one of ports, from which the metrics are read: add it, and name it by \
                 monitoring.port",
            ],
        ),
    ] {
        assert_eq!(said_of(fields.clone()), expected, "{fields}");
    }
}

#[test]
fn no_two_ports_are_one() {
    let ports = |second: Value| json!({"ports": [{"name": "a", "containerPort": 1}, second]});
    for (second, expected) in [
        (
            json!({"name": "b", "containerPort": 1, "servicePort": 2}),
            vec!["spec: no two of ports may have the same containerPort and protocol"],
        ),
        (
            json!({"name": "b", "containerPort": 2, "servicePort": 1}),
            vec![
                "spec: no two of ports may have the same servicePort and protocol: set servicePort, or \
                 service: Exclude",
            ],
        ),
        (
            json!({"name": "b", "containerPort": 1, "protocol": "UDP"}),
            vec![],
        ),
        (
            json!({"name": "b", "containerPort": 2, "servicePort": 1, "service": "Exclude"}),
            vec![],
        ),
    ] {
        assert_eq!(said_of(ports(second.clone())), expected, "{second}");
    }
}

#[test]
fn names_are_labels_of_at_most_45_characters() {
    let expected = "metadata.name must be a DNS-1035 label of at most 45 characters (a-z, 0-9 and -, \
     starting with a letter), \
                    because the names of Services and revisions are made from it";
    for name in ["Orders", "0rders", "orders-", &"o".repeat(46)] {
        let mut document = service(&json!({"image": "a:1"}));
        document["metadata"]["name"] = json!(name);
        assert_eq!(said(&document), [expected], "{name}");
    }
}

#[test]
fn all_violations_are_found_at_once() {
    let said = said_of(json!({"replicas": "3", "foo": 1, "routes": [{"name": "A", "ingress": {"tsl": []}}]}));
    assert_eq!(
        said,
        [
            "spec.foo: unknown field",
            "spec.replicas: must be of type integer, not \"3\"",
            "spec.routes[0].ingress.tsl: unknown field, did you mean tls?",
            "spec.routes[0].name: \"A\" must match ^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        ]
    );
}
