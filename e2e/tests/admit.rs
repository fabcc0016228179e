//! What the API server admits and refuses, and how a person meets the resource with kubectl.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};

use e2e::kubectl::kubectl;
use e2e::manifest::merge;
use e2e::scenario::{crds, install_crd};
use e2e::status::StatusExt;
use e2e::wait::eventually;
use e2e::{http_client, podinfo, scenario};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::ResourceExt;
use microservice_operator::api::Microservice;
use serde_json::{Value, json};

// --- the rules that the CRD holds

/// The schema of the resource, as it is installed.
fn schema() -> Value {
    let crd: Value = serde_saphyr::from_str(&crds()).unwrap();
    crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone()
}

/// Calls `look` with each schema and its path: `spec.routes[]`, or "" for the whole.
fn walk(path: &str, schema: &Value, look: &mut impl FnMut(&str, &Value)) {
    look(path, schema);
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() {
            name.clone()
        } else {
            format!("{path}.{name}")
        };
        walk(&path, schema, look);
    }
    for (key, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[key].is_object() {
            walk(&format!("{path}{suffix}"), &schema[key], look);
        }
    }
}

// --- objects to be refused or admitted

/// A Microservice with `spec` laid over the smallest one.
fn object(name: &str, spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {"name": name},
        "spec": {"image": "registry.local/podinfo:1.0.0", "ports": [{"name": "http", "containerPort": 9898}]},
    });
    merge(&mut object["spec"], spec);
    object
}

/// Several objects in one input. Not a List: kubectl would check that by itself instead of asking the API server.
fn stream(objects: &[Value]) -> String {
    objects
        .iter()
        .map(Value::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

/// How a person applies.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

/// What kubectl says about each of some objects that it applies, by its name. One call for all of them.
fn complaints(namespace: &str, side: Side, objects: &[Value]) -> BTreeMap<String, String> {
    let mut arguments = vec!["-n", namespace, "apply", "-f", "-"];
    if matches!(side, Side::Server) {
        arguments.push("--server-side");
    }
    let said = kubectl(&arguments, Some(&stream(objects)));
    let mut found = BTreeMap::new();
    for line in said.err.lines() {
        let owner = objects
            .iter()
            .filter_map(|object| object["metadata"]["name"].as_str())
            .find(|name| {
                [
                    format!("\"{name}\" is invalid: "),
                    format!("({namespace}/{name};"),
                ]
                .iter()
                .any(|mark| line.contains(mark))
            });
        let owner = owner.unwrap_or_else(|| panic!("{side:?}: whose complaint is this? {line}"));
        assert!(
            found.insert(owner.to_owned(), line.to_owned()).is_none(),
            "{side:?}: two complaints: {}",
            said.err
        );
    }
    found
}

/// An object that a rule in CEL refuses.
struct Cel {
    /// The field that the message names.
    field: &'static str,
    message: &'static str,
    spec: Value,
    name: Option<String>,
}

fn cel(field: &'static str, message: &'static str, spec: Value) -> Cel {
    Cel {
        field,
        message,
        spec,
        name: None,
    }
}

const NAME: &str = "metadata.name must be a DNS-1035 label of at most 45 characters (a-z, 0-9 and -, starting with a \
                    letter), because the names of Services and revisions are made from it";
const ROUTE_PORT: &str = "each of routes needs a port of this service: set routes[].port to the name of one of ports \
                          (with service: Include), or add a port";
const ONE_SOURCE: &str =
    "each of files needs exactly one of configMap, secret, emptyDir, persistentVolumeClaim or projected";
const ONE_WAY: &str = "each of routes needs exactly one of ingress, gateway or istio";
const VALUE_TARGET: &str = "Object and External metrics of target type Value grow without bound while two revisions run: use AverageValue";
const BOTH_ZERO: &str = "maxSurge and maxUnavailable cannot both be 0: no pod could ever be replaced";
const NO_SURGE: &str = "with maxSurge 0 set maxUnavailable to at least 1: no pod could ever be replaced";
const BUDGET_OFF: &str = "disruptionBudget.mode Disabled takes no maxUnavailable and no minAvailable";

const SAME_PORT: &str = "no two of ports may have the same containerPort and protocol";
const SAME_SERVICE_PORT: &str =
    "no two of ports may have the same servicePort and protocol: set servicePort, or service: Exclude";
const POD_LABELS: &str = "podLabels must not hold app.kubernetes.io/name, instance or managed-by, nor keys of \
                          microservice.dev/: the operator sets these";
const POD_ANNOTATIONS: &str =
    "podAnnotations must not hold keys of microservice.dev/: the operator sets these";
const COMMON_LABELS: &str = "commonLabels must not hold app.kubernetes.io/name, instance or managed-by, nor keys of \
                             microservice.dev/: the operator sets these";
const CONFIG_SIZE: &str =
    "config may hold at most 128 KiB in all: put more into a ConfigMap and mount it with files";
const CONFIG_KEYS: &str = "keys of config.files and config.env consist of letters, digits, '-', '_' and '.'";
const MAX_UNAVAILABLE: &str =
    "disruptionBudget.maxUnavailable is a number of pods or a percentage from 0% to 100%";
const MIN_AVAILABLE: &str =
    "disruptionBudget.minAvailable is a number of pods or a percentage from 0% to 100%";
const SURGE: &str = "rollingUpdate.maxSurge is a number of pods or a percentage from 0% to 100%";
const UNAVAILABLE: &str = "rollingUpdate.maxUnavailable is a number of pods or a percentage from 0% to 100%";

const NO_TRAFFIC: &str = "a service without ports has no traffic to split: in strategy.canary.steps use replicas and \
                          durationSeconds, not weight, match or mirrorPercent";
const NO_SUCH_ROUTE: &str = "strategy.router names a kind of route that this service does not have: add one to routes, \
                             or leave out router";
const NO_REQUESTS: &str = "match and mirrorPercent need a route that splits requests (gateway, istio, or an ingress of \
                           class nginx): the Service splits connections by numbers of pods, so use weight";
const CANARY_NAME: &str =
    "names of routes that end in -canary are kept for the Ingresses that split traffic: choose another name";
const DELEGATE: &str =
    "istio.mode Delegate takes no hosts and no gateways: those of the VirtualService that refers to it count";
const STEPS: &str = "strategy.canary with its steps is for type Canary, and type Canary needs it";
const NGINX_MIRROR: &str =
    "router IngressNginx cannot mirror: leave out mirrorPercent, or use a gateway or istio route";
const NGINX_MATCH: &str = "router IngressNginx takes one entry of match, with one header or with one cookie of value \
                           always: write that, or use a gateway or istio route";
const NO_AFFINITY: &str = "this router cannot keep a client at a revision: leave out canary.sessionAffinity, or use \
                           router IngressNginx";
const EMPTY_STEP: &str =
    "a step needs one of weight, match, mirrorPercent, replicas, durationSeconds, pause, hooks or checks";
const EMPTY_MATCH: &str = "an entry of match needs headers, cookies or queryParams";
const ONE_COOKIE: &str =
    "an entry of match takes one cookie: no router can ask for two, so use a header for more";
const ONE_DEED: &str = "a hook needs exactly one of job or webhook";

/// At least one case for each rule of the rollout in steps.
fn step_cases() -> Vec<Cel> {
    let canary = |steps: Value, more: Value| {
        let mut spec = json!({"strategy": {"type": "Canary", "canary": {"steps": steps}}});
        merge(&mut spec, more);
        spec
    };
    let ingress = json!({"routes": [{"name": "public", "ingress": {"className": "traefik"}}]});
    let gateway = json!({"routes": [{"name": "public", "gateway": {"parentRefs": [{"name": "edge"}]}}]});
    let router = |router: &str, routes: &Value| {
        let mut more = json!({"strategy": {"router": router}});
        merge(&mut more, routes.clone());
        more
    };
    let named = |value: &str| json!([{"name": "x", "value": value}]);
    let entry = json!([{"match": [{"headers": named("y")}]}]);
    let nginx = |matches: Value| {
        cel(
            "spec.strategy",
            NGINX_MATCH,
            canary(json!([{"match": matches}]), router("IngressNginx", &ingress)),
        )
    };
    let mut cases = vec![
        cel("spec", NO_TRAFFIC, {
            let mut spec = canary(json!([{"weight": 5}]), json!({}));
            spec["ports"] = Value::Null;
            spec
        }),
        cel("spec", NO_TRAFFIC, {
            let ports = json!([{"name": "admin", "containerPort": 1, "service": "Exclude"}]);
            canary(json!([{"replicas": 1}, {"weight": 5}]), json!({"ports": ports}))
        }),
        cel("spec", NO_SUCH_ROUTE, router("Gateway", &ingress)),
        cel("spec", NO_SUCH_ROUTE, router("Istio", &gateway)),
        cel("spec", NO_SUCH_ROUTE, router("IngressNginx", &gateway)),
        cel("spec", NO_SUCH_ROUTE, router("Gateway", &json!({}))),
        cel("spec", NO_REQUESTS, canary(entry.clone(), json!({}))),
        cel("spec", NO_REQUESTS, canary(entry.clone(), ingress.clone())),
        cel("spec", NO_REQUESTS, canary(entry, router("Service", &gateway))),
        cel(
            "spec",
            NO_REQUESTS,
            canary(json!([{"mirrorPercent": 5}]), json!({})),
        ),
        cel(
            "spec.routes[0]",
            CANARY_NAME,
            json!({"routes": [{"name": "web-canary", "ingress": {}}]}),
        ),
        cel("spec.strategy", STEPS, json!({"strategy": {"type": "Canary"}})),
        cel(
            "spec.strategy",
            STEPS,
            json!({"strategy": {"canary": {"steps": [{"weight": 5}]}}}),
        ),
        cel(
            "spec.strategy",
            "strategy.blueGreen is for type BlueGreen only",
            json!({"strategy": {"blueGreen": {}}}),
        ),
        cel(
            "spec.strategy",
            NGINX_MIRROR,
            canary(json!([{"mirrorPercent": 5}]), router("IngressNginx", &ingress)),
        ),
        nginx(json!([{"headers": named("y")}, {"headers": named("z")}])),
        nginx(json!([{"headers": named("y"), "cookies": named("always")}])),
        nginx(json!([{"queryParams": named("y")}])),
        nginx(json!([{"cookies": named("y")}])),
        cel(
            "spec.strategy.canary.steps[0]",
            EMPTY_STEP,
            canary(json!([{}]), json!({})),
        ),
        cel("spec.strategy.canary.steps[0].match[0]", EMPTY_MATCH, {
            canary(json!([{"match": [{}]}]), gateway.clone())
        }),
        cel("spec.strategy.canary.steps[0].match[0]", ONE_COOKIE, {
            let two = json!([{"name": "a", "value": "b"}, {"name": "c", "value": "d"}]);
            canary(json!([{"match": [{"cookies": two}]}]), gateway.clone())
        }),
        cel("spec.strategy.canary.steps[0].hooks[0]", ONE_DEED, {
            canary(json!([{"hooks": [{"name": "a"}]}]), json!({}))
        }),
        cel(
            "spec.strategy.blueGreen.hooks[0]",
            ONE_DEED,
            json!({"strategy": {"type": "BlueGreen", "blueGreen": {"hooks": [{"name": "a"}]}}}),
        ),
    ];
    for (kind, routes) in [
        ("Service", json!({})),
        ("Gateway", gateway),
        ("Istio", json!({"routes": [{"name": "public", "istio": {}}]})),
    ] {
        let mut more = router(kind, &routes);
        more["strategy"]["canary"] = json!({"sessionAffinity": "Cookie"});
        cases.push(cel(
            "spec.strategy",
            NO_AFFINITY,
            canary(json!([{"weight": 5}]), more),
        ));
    }
    for extra in [
        json!({"hosts": ["a.example"]}),
        json!({"istio": {"mode": "Delegate", "gateways": ["edge"]}}),
    ] {
        let mut route = json!({"name": "public", "istio": {"mode": "Delegate"}});
        merge(&mut route, extra);
        cases.push(cel("spec.routes[0]", DELEGATE, json!({"routes": [route]})));
    }
    cases
}

/// Refusals of objectives.
fn objective_cases() -> Vec<Cel> {
    let objective =
        |good: &str, indicator: Value| json!({"name": "a", "goodPercent": good, "indicator": indicator});
    let errors = || json!({"errors": {}});
    vec![
        cel(
            "spec.objectives[0].indicator",
            "an indicator is exactly one of errors, latency or queries",
            json!({"objectives": [objective("99.9", json!({"errors": {}, "latency": {"thresholdMilliseconds": 5}}))]}),
        ),
        cel(
            "spec.objectives[0].indicator",
            "an indicator is exactly one of errors, latency or queries",
            json!({"objectives": [objective("99.9", json!({}))]}),
        ),
        cel(
            "spec.objectives[0]",
            "goodPercent must be more than 0: at 0 every request may be bad",
            json!({"objectives": [objective("0.0", errors())]}),
        ),
        cel(
            "spec",
            "objectives need one of ports, from which the metrics are read: add it, and name it by monitoring.port",
            json!({"ports": null, "objectives": [objective("99.9", errors())]}),
        ),
        cel(
            "spec.objectives[0].indicator.queries",
            "in queries.good only {{namespace}}, {{service}}, {{revision}} and {{revisionPods}} are replaced: write no other {{...}}",
            json!({"objectives": [objective("99", json!({"queries": {"good": "a{b=\"{{x}}\"}", "total": "a"}}))]}),
        ),
        cel(
            "spec.objectives[0].indicator.queries",
            "in queries.total only {{namespace}}, {{service}}, {{revision}} and {{revisionPods}} are replaced: write no other {{...}}",
            json!({"objectives": [objective("99", json!({"queries": {"good": "a", "total": "a{b=\"{{x}}\"}"}}))]}),
        ),
        cel(
            "spec.monitoring.alerts[0]",
            "an alert is exactly one of errorsAbovePercent or latencyAboveMilliseconds",
            json!({"monitoring": {"alerts": [{"name": "A"}]}}),
        ),
        cel(
            "spec.monitoring.alerts[0]",
            "percentile goes with latencyAboveMilliseconds: leave it out, or set that",
            json!({"monitoring": {"alerts": [{"name": "A", "errorsAbovePercent": "1", "percentile": "99"}]}}),
        ),
        cel(
            "spec.monitoring.alerts[0]",
            "percentile must be more than 0, for example \"99\"",
            json!({"monitoring": {"alerts": [{"name": "A", "latencyAboveMilliseconds": 1, "percentile": "0"}]}}),
        ),
        cel(
            "spec",
            "monitoring.alerts need one of ports, from which the metrics are read: add it, and name it by monitoring.port",
            json!({"ports": null, "monitoring": {"alerts": [{"name": "A", "errorsAbovePercent": "1"}]}}),
        ),
        cel(
            "spec",
            "alerts of objectives are made from rates over five minutes: set monitoring.intervalSeconds to at most 120, or monitoring.objectiveAlerts to Disabled",
            json!({"monitoring": {"intervalSeconds": 121}, "objectives": [objective("99.9", errors())]}),
        ),
        cel(
            "spec.monitoring",
            "alerts and dashboards are made from rates over five minutes: set intervalSeconds to at most 120",
            json!({"monitoring": {"intervalSeconds": 121, "dashboard": {}}}),
        ),
        cel(
            "spec.monitoring",
            "alertLabels must not hold alertname, namespace, microservice, objective, severity or window: the operator sets these",
            json!({"monitoring": {"alertLabels": {"severity": "page"}}}),
        ),
        cel(
            "spec.monitoring",
            "runbookUrl is an http or https address in which only {{namespace}}, {{service}} and {{alert}} are replaced: write no other braces and no spaces",
            json!({"monitoring": {"runbookUrl": "https://a.example/{{x}}"}}),
        ),
        cel(
            "spec.strategy.analysis",
            "falseAlarmPercent must be more than 0 and at most 50",
            json!({"strategy": {"analysis": {"falseAlarmPercent": "50.1"}}}),
        ),
        cel(
            "spec.strategy.analysis",
            "clearEarlyFactor must be more than 1 and at most 100",
            json!({"strategy": {"analysis": {"clearEarlyFactor": "1"}}}),
        ),
    ]
}

/// Refusals of checks with limits of their own.
fn check_cases() -> Vec<Cel> {
    const SERVER: &str = "source Prometheus and checks by a query need the field prometheus with an address";
    const TEXTS: &str = "texts of a check know {{service}}, {{namespace}}, {{revision}}, {{stable}}, {{revisionPods}} and \
                         {{stablePods}}, written so and without spaces; {{ begins nothing else";
    const RUNS: &str = "a Job runs once in a step, so count and failureLimit need intervalSeconds, and with it at most 30 times: \
                        count is at most 30, failureLimit at most 29";
    const VALUE: &str = "a value needs equals, or else min or max or both";
    let analysis = |analysis: Value| json!({"strategy": {"analysis": analysis}});
    let one = |more: Value| {
        let mut check = json!({"name": "p99"});
        merge(&mut check, more);
        json!({"strategy": {"analysis": {"prometheus": {"address": "http://p.example:9090"}, "checks": [check]}}})
    };
    let check = |rule: &'static str, more: Value| cel("spec.strategy.analysis.checks[0]", rule, one(more));
    let query = |more: Value| {
        let mut query = json!({"query": "up", "max": "1"});
        merge(&mut query, more);
        json!({"prometheus": query})
    };
    let web = |more: Value| {
        let mut web = json!({"url": "http://a.example/"});
        merge(&mut web, more);
        json!({"web": web})
    };
    vec![
        cel(
            "spec.strategy.analysis",
            SERVER,
            analysis(json!({"source": "Prometheus"})),
        ),
        cel(
            "spec.strategy.analysis",
            SERVER,
            analysis(json!({"checks": [{"name": "p99", "prometheus": {"query": "up", "max": "1"}}]})),
        ),
        check("a check needs exactly one of prometheus, web or job", json!({})),
        check(
            "a check needs exactly one of prometheus, web or job",
            json!({"job": {}, "web": {"url": "http://a.example/"}}),
        ),
        check(
            "errorLimit, noDataLimit and noData are not for Jobs: a Job succeeds or fails",
            json!({"job": {}, "errorLimit": 1}),
        ),
        check(RUNS, json!({"job": {}, "failureLimit": 1})),
        check(RUNS, json!({"job": {}, "count": 2})),
        check(RUNS, json!({"job": {}, "count": 31, "intervalSeconds": 5})),
        check(TEXTS, query(json!({"query": "up{pod=\"{{pod}}\"}"}))),
        check(TEXTS, web(json!({"url": "http://a.example/{{nobody}}"}))),
        check(TEXTS, web(json!({"method": "POST", "body": "{{nobody}}"}))),
        cel(
            "spec.strategy.analysis.checks[0].prometheus",
            "a query needs min or max, or nothing is ever bad",
            one(json!({"prometheus": {"query": "up"}})),
        ),
        cel(
            "spec.strategy.analysis.checks[0].prometheus",
            "prometheus needs exactly one of query or builtIn",
            one(json!({"prometheus": {"max": "1"}})),
        ),
        cel(
            "spec.strategy.analysis.checks[0].prometheus.builtIn",
            "percentile goes with value LatencyMilliseconds: leave it out, or set that",
            one(
                json!({"prometheus": {"max": "1", "builtIn": {"router": "Istio", "value": "ErrorPercent", "percentile": 9}}}),
            ),
        ),
        cel(
            "spec.strategy.analysis.checks[0].prometheus.range",
            "a range has at least one step and at most 1000",
            one(query(json!({"range": {"seconds": 5, "stepSeconds": 6}}))),
        ),
        cel(
            "spec.strategy.analysis.checks[0].web",
            "a body needs method POST",
            one(web(json!({"body": "{}"}))),
        ),
        cel(
            "spec.strategy.analysis.checks[0].web.value",
            VALUE,
            one(web(json!({"value": {"jsonPath": "$.a"}}))),
        ),
        cel(
            "spec.strategy.analysis.checks[0].web.value",
            VALUE,
            one(web(
                json!({"value": {"jsonPath": "$.a", "equals": "b", "min": "1"}}),
            )),
        ),
        cel(
            "spec.strategy",
            "a step names a check that is none of analysis.checks",
            json!({"strategy": {"type": "Canary", "canary": {"steps": [{"checks": ["p99"]}]}}}),
        ),
        cel(
            "spec",
            "analysis.checks must not have the name of an objective, nor errors",
            one(json!({"name": "errors", "job": {}})),
        ),
        cel(
            "spec",
            "analysis.checks must not have the name of an objective, nor errors",
            json!({
                "objectives": [{"name": "speed", "goodPercent": "99", "indicator": {"errors": {}}}],
                "strategy": {"analysis": {"checks": [{"name": "speed", "job": {}}]}},
            }),
        ),
    ]
}

/// Refusals of what people are told by.
fn notification_cases() -> Vec<Cel> {
    const ONE: &str =
        "a notification needs exactly one of slack, teams, weCom, dingTalk, feishu, webhook or alertmanager";
    const TEMPLATE: &str = "template knows {{service}}, {{namespace}}, {{revision}}, {{stable}}, {{event}}, {{message}}, \
                            {{image}} and {{url}}, written so and without spaces; {{ begins nothing else";
    let key = || json!({"name": "chat", "key": "url"});
    let chat = || json!({"urlFrom": key()});
    let one = |more: Value| {
        let mut notification = json!({"name": "a"});
        merge(&mut notification, more);
        json!({"notifications": [notification]})
    };
    let template = |text: &str| one(json!({"slack": chat(), "template": text}));
    vec![
        cel("spec.notifications[0]", ONE, one(json!({}))),
        cel(
            "spec.notifications[0]",
            ONE,
            one(json!({"slack": chat(), "teams": chat()})),
        ),
        cel("spec.notifications[0]", TEMPLATE, template("{{pod}}")),
        cel("spec.notifications[0]", TEMPLATE, template("{{ service }}")),
        cel("spec.notifications[0]", TEMPLATE, template("{{service")),
        cel(
            "spec.notifications[0]",
            TEMPLATE,
            template("a\n{{message}}\n{{.Message}}"),
        ),
        cel(
            "spec.notifications[0].webhook",
            "webhook needs exactly one of url or urlFrom: urlFrom where the address holds a token",
            one(json!({"webhook": {}})),
        ),
        cel(
            "spec.notifications[0].webhook",
            "webhook needs exactly one of url or urlFrom: urlFrom where the address holds a token",
            one(json!({"webhook": {"url": "http://a.example/", "urlFrom": key()}})),
        ),
        cel(
            "spec.notifications[0].alertmanager",
            "alertmanager needs exactly one of url or urlFrom: urlFrom where the address holds a token",
            one(json!({"alertmanager": {}})),
        ),
    ]
}

/// At least one case for each rule of the CRD.
fn cel_cases() -> Vec<Cel> {
    let port = |name: &str, number: i32| json!({"name": name, "containerPort": number});
    let named = |name: &str| Cel {
        name: Some(name.to_owned()),
        ..cel("<nil>", NAME, json!({}))
    };
    let ingress = |more: Value| {
        let mut route = json!({"name": "public", "ingress": {}});
        merge(&mut route, more);
        json!({"routes": [route]})
    };
    let gateway = |more: Value| {
        let mut route = json!({"name": "public", "gateway": {"parentRefs": [{"name": "edge"}]}});
        merge(&mut route, more);
        json!({"routes": [route]})
    };
    let scaled = |more: Value| {
        let mut autoscaling = json!({"minReplicas": 1, "maxReplicas": 3, "cpu": 70});
        merge(&mut autoscaling, more);
        json!({"autoscaling": autoscaling})
    };
    let metric = |kind: &str, metric: Value| json!([{"type": kind, kind.to_lowercase(): metric}]);
    let value = json!({"type": "Value", "value": "10"});
    let file = |more: Value| {
        let mut file = json!({"mountPath": "/data"});
        merge(&mut file, more);
        json!({"files": [file]})
    };
    let pace = |pace: Value| json!({"strategy": {"rollingUpdate": pace}});
    vec![
        named(&"a".repeat(46)),
        named("9lives"),
        named("with.dot"),
        cel("spec", ROUTE_PORT, ingress(json!({"port": "grpc"}))),
        cel("spec", ROUTE_PORT, {
            let mut spec = ingress(json!({}));
            merge(
                &mut spec,
                json!({"ports": [{"name": "admin", "containerPort": 1, "service": "Exclude"}]}),
            );
            spec
        }),
        cel("spec", ROUTE_PORT, {
            let mut spec = ingress(json!({}));
            spec["ports"] = Value::Null;
            spec
        }),
        cel("spec", SAME_PORT, {
            json!({"ports": [port("a", 80), {"name": "b", "containerPort": 80, "service": "Exclude"}]})
        }),
        cel("spec", SAME_SERVICE_PORT, {
            json!({"ports": [port("a", 80), {"name": "b", "containerPort": 81, "servicePort": 80}]})
        }),
        cel(
            "spec",
            POD_LABELS,
            json!({"podLabels": {"app.kubernetes.io/name": "x"}}),
        ),
        cel(
            "spec",
            POD_LABELS,
            json!({"podLabels": {"app.kubernetes.io/instance": "x"}}),
        ),
        cel(
            "spec",
            POD_LABELS,
            json!({"podLabels": {"app.kubernetes.io/managed-by": "x"}}),
        ),
        cel(
            "spec",
            POD_LABELS,
            json!({"podLabels": {"microservice.dev/revision": "x"}}),
        ),
        cel(
            "spec",
            POD_ANNOTATIONS,
            json!({"podAnnotations": {"microservice.dev/anything": "x"}}),
        ),
        cel(
            "spec",
            COMMON_LABELS,
            json!({"commonLabels": {"app.kubernetes.io/managed-by": "x"}}),
        ),
        cel(
            "spec",
            COMMON_LABELS,
            json!({"commonLabels": {"microservice.dev/role": "x"}}),
        ),
        cel(
            "spec",
            "monitoring.port must be the name of one of ports",
            json!({"monitoring": {"port": "metrics"}}),
        ),
        cel(
            "spec",
            "config.files needs config.mountPath, the directory in the container that the files appear in",
            json!({"config": {"files": {"a": "b"}}}),
        ),
        cel(
            "spec.autoscaling",
            "autoscaling.minReplicas must not exceed maxReplicas",
            scaled(json!({"minReplicas": 4})),
        ),
        cel(
            "spec.autoscaling",
            "autoscaling needs at least one of cpu, memory or metrics",
            scaled(json!({"cpu": null})),
        ),
        cel("spec.autoscaling", VALUE_TARGET, {
            let described = json!({"apiVersion": "v1", "kind": "Service", "name": "other"});
            let object = json!({"describedObject": described, "metric": {"name": "m"}, "target": value});
            scaled(json!({"metrics": metric("Object", object)}))
        }),
        cel("spec.autoscaling", VALUE_TARGET, {
            scaled(json!({"metrics": metric("External", json!({"metric": {"name": "m"}, "target": value}))}))
        }),
        cel(
            "spec.config",
            CONFIG_SIZE,
            json!({"config": {"env": {"LARGE": "x".repeat(131_073)}}}),
        ),
        cel("spec.config", CONFIG_SIZE, {
            let half = "x".repeat(65_537);
            json!({"config": {"env": {"A": half}, "files": {"b": half}, "mountPath": "/etc/app"}})
        }),
        cel(
            "spec.config",
            CONFIG_KEYS,
            json!({"config": {"env": {"A B": "x"}}}),
        ),
        cel(
            "spec.config",
            CONFIG_KEYS,
            json!({"config": {"files": {"a/b": "x"}, "mountPath": "/etc/app"}}),
        ),
        cel(
            "spec.disruptionBudget",
            "disruptionBudget takes maxUnavailable or minAvailable, not both",
            json!({"disruptionBudget": {"maxUnavailable": 1, "minAvailable": 1}}),
        ),
        cel(
            "spec.disruptionBudget",
            BUDGET_OFF,
            json!({"disruptionBudget": {"mode": "Disabled", "maxUnavailable": 1}}),
        ),
        cel(
            "spec.disruptionBudget",
            BUDGET_OFF,
            json!({"disruptionBudget": {"mode": "Disabled", "minAvailable": 1}}),
        ),
        cel(
            "spec.disruptionBudget",
            MAX_UNAVAILABLE,
            json!({"disruptionBudget": {"maxUnavailable": "120%"}}),
        ),
        cel(
            "spec.disruptionBudget",
            MAX_UNAVAILABLE,
            json!({"disruptionBudget": {"maxUnavailable": -1}}),
        ),
        cel(
            "spec.disruptionBudget",
            MIN_AVAILABLE,
            json!({"disruptionBudget": {"minAvailable": "half"}}),
        ),
        cel("spec.files[0]", ONE_SOURCE, file(json!({}))),
        cel(
            "spec.files[0]",
            ONE_SOURCE,
            file(json!({"emptyDir": {}, "configMap": {"name": "c"}})),
        ),
        cel(
            "spec.files[0]",
            "track is for configMap and secret only",
            file(json!({"emptyDir": {}, "track": "None"})),
        ),
        cel(
            "spec.files[0]",
            "secret.secretName is needed",
            file(json!({"secret": {"optional": true}})),
        ),
        cel(
            "spec.networkPolicy",
            "networkPolicy.egress needs mode: IngressAndEgress",
            json!({"networkPolicy": {"mode": "Ingress", "egress": [{}]}}),
        ),
        cel("spec.routes[0]", ONE_WAY, ingress(json!({"ingress": null}))),
        cel(
            "spec.routes[0]",
            ONE_WAY,
            ingress(json!({"gateway": {"parentRefs": [{"name": "edge"}]}})),
        ),
        cel(
            "spec.routes[0]",
            "an Ingress cannot match headers: use a gateway or istio route, or leave out headers",
            ingress(
                json!({"rules": [{"path": "/"}, {"path": "/", "headers": [{"name": "x", "value": "y"}]}]}),
            ),
        ),
        cel(
            "spec.routes[0]",
            "pathType ImplementationSpecific is for an ingress only: use Prefix or Exact",
            gateway(json!({"rules": [{"path": "/", "pathType": "ImplementationSpecific"}]})),
        ),
        cel(
            "spec.service",
            "a headless Service is of type ClusterIP: leave out type or headless",
            json!({"service": {"headless": "Enabled", "type": "NodePort"}}),
        ),
        cel(
            "spec.serviceAccount",
            "serviceAccount.annotations needs create: Always, else the account is not ours to annotate",
            json!({"serviceAccount": {"name": "theirs", "annotations": {"role": "admin"}}}),
        ),
        cel(
            "spec.strategy",
            "strategy.rollingUpdate is for type RollingUpdate only",
            json!({"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            BOTH_ZERO,
            pace(json!({"maxSurge": 0, "maxUnavailable": 0})),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            BOTH_ZERO,
            pace(json!({"maxSurge": "0%", "maxUnavailable": "0"})),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            NO_SURGE,
            pace(json!({"maxSurge": "0%"})),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            SURGE,
            pace(json!({"maxSurge": "lots"})),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            SURGE,
            pace(json!({"maxSurge": "101%"})),
        ),
        cel(
            "spec.strategy.rollingUpdate",
            UNAVAILABLE,
            pace(json!({"maxUnavailable": "1.5"})),
        ),
    ]
}

#[test]
fn every_rule_in_cel_refuses_with_its_message() {
    let cases: Vec<Cel> = cel_cases()
        .into_iter()
        .chain(step_cases())
        .chain(objective_cases())
        .chain(notification_cases())
        .chain(check_cases())
        .collect();
    // A rule without a case has never refused anything.
    let mut rules = BTreeSet::new();
    walk("", &schema(), &mut |path, schema| {
        for rule in schema["x-kubernetes-validations"]
            .as_array()
            .into_iter()
            .flatten()
        {
            rules.insert((
                path.to_owned(),
                rule["message"].as_str().expect("a rule has a message").to_owned(),
            ));
        }
    });
    let covered: BTreeSet<(String, String)> = cases
        .iter()
        .map(|case| {
            (
                case.field.replace("<nil>", "").replace("[0]", "[]"),
                case.message.to_owned(),
            )
        })
        .collect();
    assert_eq!(
        rules, covered,
        "left: the rules of the CRD, right: those with a case"
    );

    scenario("admit-cel").without_operator().run(async |s| {
        let name = |index: usize, case: &Cel| case.name.clone().unwrap_or_else(|| format!("case-{index:02}"));
        let objects: Vec<Value> = cases
            .iter()
            .enumerate()
            .map(|(index, case)| object(&name(index, case), case.spec.clone()))
            .collect();
        let mut wrong = Vec::new();
        for side in [Side::Client, Side::Server] {
            let found = complaints(&s.namespace, side, &objects);
            for (index, case) in cases.iter().enumerate() {
                let name = name(index, case);
                let said = found.get(&name).and_then(|line| line.split_once(" is invalid: "));
                let said = said.map_or("nothing", |(_, reason)| reason);
                let expected = format!("{}: Invalid value: {}", case.field, case.message);
                if said != expected {
                    wrong.push(format!("{side:?}: {}: {said} instead of {expected}", case.spec));
                }
            }
        }
        assert_eq!(wrong, [""; 0]);
        assert_eq!(s.list::<Microservice>().await.len(), 0);
    });
}

/// An object that the schema refuses.
struct Malformed {
    /// The keyword of the schema.
    class: &'static str,
    spec: Value,
    /// What client-side apply says.
    client: String,
    /// What server-side apply says, where that is something else: it looks at the shape before the schema.
    server: Option<String>,
}

/// What is said beside the complaint, where the shape keeps CEL from running.
const UNCHECKED: &str = "<nil>: Invalid value: null: some validation rules were not checked because the object was \
                         invalid; correct the existing errors to complete validation";

/// One case for each keyword that the schema of the spec uses.
fn malformed_cases() -> Vec<Malformed> {
    let one = |class, spec, client: &str| Malformed {
        class,
        spec,
        client: client.to_owned(),
        server: None,
    };
    let many: Vec<Value> = (0..33)
        .map(|n| json!({"name": format!("p{n}"), "containerPort": 1000 + n}))
        .collect();
    let labels: BTreeMap<String, String> = (0..33).map(|n| (format!("k{n}"), "v".to_owned())).collect();
    let twice = json!([{"name": "http", "containerPort": 80}, {"name": "http", "containerPort": 81}]);
    let route = |hosts: Value| json!([{"name": "public", "hosts": hosts, "ingress": {}}]);
    let parents = json!([{"name": "public", "gateway": {"parentRefs": []}}]);
    vec![
        one(
            "pattern",
            json!({"ports": [{"name": "Http", "containerPort": 80}]}),
            "spec.ports[0].name: Invalid value: \"Http\": spec.ports[0].name in body should match \
             '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'",
        ),
        one(
            "enum",
            json!({"deletionPolicy": "Keep"}),
            &format!(
                "[spec.deletionPolicy: Unsupported value: \"Keep\": supported values: \"Delete\", \"Orphan\", {UNCHECKED}]"
            ),
        ),
        one(
            "maximum",
            json!({"replicas": 10_001}),
            "spec.replicas: Invalid value: 10001: spec.replicas in body should be less than or equal to 10000",
        ),
        one(
            "minimum",
            json!({"strategy": {"progressDeadlineSeconds": 0}}),
            "spec.strategy.progressDeadlineSeconds: Invalid value: 0: spec.strategy.progressDeadlineSeconds in body \
             should be greater than or equal to 1",
        ),
        one(
            "minLength",
            json!({"image": ""}),
            "spec.image: Invalid value: \"\": spec.image in body should be at least 1 chars long",
        ),
        one(
            "maxLength",
            json!({"ports": [{"name": "sixteen-chars-xx", "containerPort": 80}]}),
            &format!("[spec.ports[0].name: Too long: may not be more than 15 bytes, {UNCHECKED}]"),
        ),
        one(
            "maxItems",
            json!({"ports": many}),
            &format!("[spec.ports: Too many: 33: must have at most 32 items, {UNCHECKED}]"),
        ),
        one(
            "minItems",
            json!({"routes": parents}),
            "spec.routes[0].gateway.parentRefs: Invalid value: 0: spec.routes[0].gateway.parentRefs in body should have \
             at least 1 items",
        ),
        one(
            "maxProperties",
            json!({"commonLabels": labels}),
            &format!("[spec.commonLabels: Too many: 33: must have at most 32 items, {UNCHECKED}]"),
        ),
        one(
            "required",
            json!({"image": null}),
            &format!("[spec.image: Required value, {UNCHECKED}]"),
        ),
        Malformed {
            server: Some(".spec.ports: duplicate entries for key [name=\"http\"]".to_owned()),
            ..one(
                "x-kubernetes-list-map-keys",
                json!({"ports": twice}),
                "spec.ports[1]: Duplicate value: {\"name\":\"http\"}",
            )
        },
        Malformed {
            server: Some(
                ".spec.routes[name=\"public\"].hosts: duplicate entries for key [=\"a.example\"]".to_owned(),
            ),
            ..one(
                "set",
                json!({"routes": route(json!(["a.example", "a.example"]))}),
                "spec.routes[0].hosts[1]: Duplicate value: \"a.example\"",
            )
        },
        Malformed {
            server: Some(
                ".spec.strategy.bakeSeconds: expected numeric (int or float), got string".to_owned(),
            ),
            ..one(
                "type",
                json!({"strategy": {"bakeSeconds": "long"}}),
                &format!(
                    "[spec.strategy.bakeSeconds: Invalid value: \"string\": spec.strategy.bakeSeconds in body must be of \
                     type integer: \"string\", {UNCHECKED}]"
                ),
            )
        },
    ]
}

/// The keywords of the schema of the spec that can refuse something.
fn classes() -> BTreeSet<String> {
    const KEYWORDS: [&str; 15] = [
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "x-kubernetes-list-map-keys",
    ];
    let mut found = BTreeSet::from(["type".to_owned()]);
    walk("spec", &schema()["properties"]["spec"], &mut |_, schema| {
        found.extend(
            KEYWORDS
                .iter()
                .filter(|keyword| !schema[**keyword].is_null())
                .map(|keyword| (*keyword).to_owned()),
        );
        if schema["x-kubernetes-list-type"] == "set" {
            found.insert("set".to_owned());
        }
    });
    found
}

#[test]
fn every_class_of_schema_rule_refuses_with_its_message() {
    let cases = malformed_cases();
    let covered: BTreeSet<String> = cases.iter().map(|case| case.class.to_owned()).collect();
    assert_eq!(
        classes(),
        covered,
        "left: the keywords of the schema, right: those with a case"
    );

    scenario("admit-schema").without_operator().run(async |s| {
        let name = |class: &str| class.to_lowercase();
        let objects: Vec<Value> = cases
            .iter()
            .map(|case| object(&name(case.class), case.spec.clone()))
            .collect();
        for side in [Side::Client, Side::Server] {
            let found = complaints(&s.namespace, side, &objects);
            for case in &cases {
                let name = name(case.class);
                let said = found
                    .get(&name)
                    .unwrap_or_else(|| panic!("{side:?}: nothing against {name}"));
                match (&case.server, side) {
                    (Some(shape), Side::Server) => {
                        let (_, reason) = said
                            .split_once("Kind=Microservice): ")
                            .unwrap_or_else(|| panic!("{said}"));
                        assert_eq!(reason, shape, "{side:?}: {name}");
                    }
                    (Some(_) | None, Side::Client | Side::Server) => {
                        let (_, reason) = said
                            .split_once(" is invalid: ")
                            .unwrap_or_else(|| panic!("{said}"));
                        assert_eq!(reason, case.client, "{side:?}: {name}");
                    }
                }
            }
        }
        assert_eq!(s.list::<Microservice>().await.len(), 0);
    });
}

#[test]
fn unknown_fields_are_refused_with_their_path() {
    scenario("admit-unknown").without_operator().run(async |s| {
        let cases = [
            ("top", json!({"replcas": 2}), "spec.replcas", ".spec.replcas"),
            ("nested", json!({"strategy": {"bakeSecond": 2}}), "spec.strategy.bakeSecond", ".spec.strategy.bakeSecond"),
            (
                "in-a-list",
                json!({"ports": [{"name": "http", "containerPort": 80, "servicPort": 1}]}),
                "spec.ports[0].servicPort",
                ".spec.ports[name=\"http\"].servicPort",
            ),
        ];
        for (name, spec, client, server) in cases {
            let text = object(name, spec).to_string();
            let said = s.kubectl_with(&["apply", "-f", "-"], Some(&text)).refused();
            assert_eq!(
                said.trim_end(),
                format!(
                    "Error from server (BadRequest): error when creating \"STDIN\": Microservice in version \"v1alpha1\" \
                     cannot be handled as a Microservice: strict decoding error: unknown field \"{client}\""
                )
            );
            let said = s.kubectl_with(&["apply", "--server-side", "-f", "-"], Some(&text)).refused();
            assert_eq!(
                said.trim_end(),
                format!(
                    "Error from server: failed to create typed patch object ({}/{name}; microservice.dev/v1alpha1, \
                     Kind=Microservice): {server}: field not declared in schema",
                    s.namespace
                )
            );
        }
        assert_eq!(s.list::<Microservice>().await.len(), 0);
    });
}

#[test]
fn what_the_rules_just_allow_is_admitted() {
    scenario("admit-limits").without_operator().run(async |s| {
        let files = |track: &str| json!([{"mountPath": "/d", "track": track, "secret": {"secretName": "s"}}]);
        let specs = [
            json!({"ports": null}),
            json!({"replicas": 0}),
            json!({"replicas": 10_000}),
            json!({"autoscaling": {"minReplicas": 3, "maxReplicas": 3, "memory": 70}}),
            json!({"config": {"env": {"LARGE": "x".repeat(131_072)}}}),
            json!({"config": {"files": {"a": "b"}, "mountPath": "/etc/app"}}),
            json!({"disruptionBudget": {"mode": "Disabled"}}),
            json!({"disruptionBudget": {"mode": "Auto", "minAvailable": "50%"}}),
            json!({"files": files("None")}),
            json!({"files": files("Snapshot")}),
            json!({"networkPolicy": {"mode": "IngressAndEgress", "egress": [{}]}}),
            json!({"routes": [{"name": "public", "ingress": {}, "rules": [{"pathType": "ImplementationSpecific"}]}]}),
            json!({"routes": [{"name": "public", "port": "http", "gateway": {"parentRefs": [{"name": "edge"}]},
                               "rules": [{"headers": [{"name": "x", "value": "y"}]}]}]}),
            json!({"service": {"headless": "Enabled", "type": "ClusterIP"}}),
            json!({"service": {"headless": "Disabled", "type": "NodePort"}}),
            json!({"serviceAccount": {"create": "Always", "annotations": {"role": "reader"}}}),
            json!({"strategy": {"type": "Recreate"}}),
            json!({"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}}),
            json!({"strategy": {"rollingUpdate": {"maxSurge": "1%", "maxUnavailable": "0%"}}}),
            json!({"objectives": [{"name": "a", "goodPercent": "99.999999", "indicator": {"errors": {}}},
                                  {"name": "b", "goodPercent": "0.1", "indicator": {"latency": {"thresholdMilliseconds": 1}}}],
                   "strategy": {"analysis": {"falseAlarmPercent": "50", "clearEarlyFactor": "1.01"}}}),
            json!({"strategy": {"analysis": {"source": "Prometheus", "prometheus": {"address": "http://p.example:9090/a"}}}}),
            json!({"strategy": {"type": "Canary", "canary": {"steps": [{"checks": ["a", "b"]}]}, "analysis": {
                "prometheus": {"address": "http://p.example:9090"},
                "checks": [
                    {"name": "a", "job": {"command": ["a"]}},
                    {"name": "d", "job": {}, "intervalSeconds": 5, "count": 30, "failureLimit": 29},
                    {"name": "e", "web": {"url": "http://{{revision}}.{{namespace}}.svc:8080/ready"}},
                    {"name": "b", "web": {"url": "http://a.example/{{service}}?a={b}", "method": "POST",
                                          "body": "{\"a\": {\"b\": \"{{stablePods}}\"}}", "value": {"jsonPath": "$", "equals": ""}}},
                    {"name": "c", "prometheus": {"query": "up{pod=~\"{{revisionPods}}\"} {", "min": "-1.5",
                                                 "range": {"seconds": 1000, "stepSeconds": 1}}},
                ],
            }}}),
            json!({"notifications": (0..10).map(|number| json!({
                "name": format!("n{number}"), "template": format!("{}{{", "{{service}} {x} \n}} {{url}} ".repeat(35)),
                "slack": {"urlFrom": {"name": "chat", "key": "url"}},
            })).collect::<Vec<_>>()}),
            json!({"podTemplate": {"spec": {"anything": "goes here, and is checked when it is applied"}}}),
        ];
        let mut objects: Vec<Value> =
            specs.into_iter().enumerate().map(|(index, spec)| object(&format!("case-{index:02}"), spec)).collect();
        objects.push(object(&"a".repeat(45), json!({})));
        for side in [&["apply", "-f", "-"][..], &["apply", "--server-side", "-f", "-"]] {
            let arguments = [side, &["--dry-run=server"]].concat();
            let said = s.kubectl_with(&arguments, Some(&stream(&objects)));
            assert_eq!(said.err, "", "{side:?}");
            assert_eq!(said.out.lines().count(), objects.len());
        }
    });
}

// --- what a person sees

#[test]
fn kubectl_explain_speaks() {
    install_crd();
    // The field, and words that must stand in its page.
    let pages: [(&str, &[&str]); 7] = [
        (
            "microservice",
            &[
                "KIND:       Microservice",
                "takes every change out as a watched rollout",
            ],
        ),
        (
            "msvc.spec",
            &[
                "image\t<string> -required-",
                "Scope: revision.",
                "Scope: additive.",
                "Scope: immediate.",
            ],
        ),
        (
            "microservice.spec.strategy",
            &[
                "How a change goes out, and when it is taken back.",
                "bakeSeconds\t<integer>",
                "Default: 60.",
                "enum: RollingUpdate, Recreate",
                "progressDeadlineSeconds\t<integer>",
            ],
        ),
        (
            "microservice.spec.strategy.rollingUpdate.maxSurge",
            &["How many pods there may be above replicas"],
        ),
        (
            "microservice.spec.files.track",
            &["Whether the content is part of the revision."],
        ),
        (
            "microservice.spec.routes.gateway.parentRefs",
            &["The Gateways that carry the route"],
        ),
        (
            "microservice.status.conditions",
            &["Ready, Reconciling, Stalled, Available, RolledOut"],
        ),
    ];
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        for (field, words) in pages {
            // The API server publishes the schema of a CRD a moment after it is established.
            eventually(&format!("kubectl explain {field}"), async || {
                let said = kubectl(&["explain", field], None);
                // Lines are broken where they are full; what is said is the same.
                let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
                let page = flat(&said.out);
                match words.iter().find(|words| !page.contains(&flat(words))) {
                    None => Ok(()),
                    Some(missing) => Err(format!("no {missing:?} in: {}{}", said.out, said.err)),
                }
            })
            .await;
        }
    });
}

#[test]
fn the_kind_has_its_short_names() {
    install_crd();
    let said = kubectl(
        &[
            "api-resources",
            "--api-group=microservice.dev",
            "-o",
            "wide",
            "--no-headers",
        ],
        None,
    )
    .ok();
    let words: Vec<&str> = said.split_whitespace().collect();
    let expected = [
        "microservices",
        "msvc",
        "microservice.dev/v1alpha1",
        "true",
        "Microservice",
    ];
    assert_eq!(words[..5], expected);
    assert_eq!(words.last(), Some(&"microservices"), "the category");
}

/// What kubectl prints as a table: the headers, and the cells of its rows.
fn table(text: &str) -> (Vec<String>, Vec<Vec<String>>) {
    let mut lines = text.lines();
    let head = lines.next().expect("a line of headers");
    let starts: Vec<usize> = head
        .char_indices()
        .filter(|(at, c)| *c != ' ' && (*at == 0 || head[..*at].ends_with(' ')))
        .map(|(at, _)| at)
        .collect();
    let cells = |line: &str| {
        let ends = starts[1..].iter().copied().chain([usize::MAX]);
        starts
            .iter()
            .zip(ends)
            .map(|(from, to)| {
                line.get(*from..to.min(line.len()))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
            .collect()
    };
    (cells(head), lines.map(cells).collect())
}

#[test]
fn kubectl_get_shows_what_matters() {
    scenario("columns").run(async |s| {
        let route = json!([{"name": "public", "hosts": ["web.example"], "rules": [{"path": "/shop"}], "ingress": {}}]);
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 2, "routes": route}));
        let stable = s.deploy(&manifest).await.stable().unwrap();
        let (head, rows) = table(&s.kubectl(&["get", "msvc", "web"]).ok());
        assert_eq!(head, ["NAME", "PHASE", "REVISION", "READY", "AGE"]);
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0][..4], ["web", "Healthy", stable.as_str(), "2/2"]);
        assert!(rows[0][4].ends_with('s'), "{rows:?}");
        let (head, rows) = table(&s.kubectl(&["get", "microservices", "-o", "wide"]).ok());
        assert_eq!(head, ["NAME", "PHASE", "REVISION", "READY", "IMAGE", "URL", "MESSAGE", "AGE"]);
        let message = format!("{stable} serves with 2 of 2 pods");
        let expected =
            ["web", "Healthy", &stable, "2/2", "registry.local/podinfo:1.0.0", "http://web.example/shop", &message];
        assert_eq!(rows[0][..7], expected);
    });
}

#[test]
fn an_object_that_no_operator_has_seen_says_so() {
    scenario("unseen").without_operator().run(async |s| {
        let unseen = r#"{"desiredReplicas":0,"observedGeneration":-1,"readyReplicas":0,"replicas":0}"#;
        for (name, arguments) in [
            ("one", &["apply", "-f", "-"][..]),
            ("two", &["apply", "--server-side", "-f", "-"]),
        ] {
            s.kubectl_with(arguments, Some(&podinfo(name, "1.0.0").text()))
                .ok();
            let status = s.kubectl(&["get", "msvc", name, "-o", "jsonpath={.status}"]).ok();
            assert_eq!(status, unseen);
            // The status has its own door: what a manifest says of it is not heard.
            let mut claims = podinfo(name, "1.0.0");
            claims.0["status"] = json!({"observedGeneration": 7, "phase": "Healthy"});
            s.kubectl_with(arguments, Some(&claims.text())).ok();
            let status = s.kubectl(&["get", "msvc", name, "-o", "jsonpath={.status}"]).ok();
            assert_eq!(status, unseen);
        }
        // Who waits for it takes it for unfinished.
        let wait = ["wait", "--for=condition=Ready", "--timeout=1s", "msvc/one"];
        assert!(s.kubectl(&wait).refused().contains("timed out"));
        let (_, rows) = table(&s.kubectl(&["get", "msvc", "one"]).ok());
        assert_eq!(rows[0][..4], ["one", "", "", ""]);
    });
}

#[test]
fn text_in_any_script_reaches_the_process_untouched() {
    scenario("script").real_pods().run(async |s| {
        let greeting = "你好，世界 — “引号” 🚀";
        let page = "标题: 订单服务\n说明: |\n  第一行\n  ñandú, Ελληνικά, עברית\n";
        let manifest = podinfo("web", "1.0.0")
            .metadata(json!({"annotations": {"example.com/owner": greeting}}))
            .env("GREETING", greeting)
            .spec(json!({
                "config": {"mountPath": "/etc/web", "files": {"page.yaml": page}, "env": {"CITY": "北京"}},
                "podAnnotations": {"example.com/about": page},
                "args": ["./podinfo", "--port=9898", "--config-path=/etc/web"],
            }));
        s.kubectl_with(&["apply", "-f", "-"], Some(&manifest.text())).ok();
        let found = s.healthy("web").await;
        let stable = found.stable().unwrap();
        assert_eq!(found.annotations()["example.com/owner"], greeting);
        assert_eq!(
            found.spec.revision.config.as_ref().unwrap().files["page.yaml"],
            page
        );
        let maps: Vec<ConfigMap> = s.list().await;
        let own = maps
            .iter()
            .find(|map| map.name_any().starts_with(&stable))
            .expect("a ConfigMap of the revision");
        let data = own.data.as_ref().unwrap();
        assert!(data.values().any(|value| value == page), "{data:?}");
        let pod: Pod = s.ready_pods(&stable, 1).await.remove(0);
        assert_eq!(pod.annotations()["example.com/about"], page);
        // And what the process itself has.
        let address = s.address("web", "http").await;
        // kube-proxy follows the EndpointSlices a moment later.
        let answer = eventually("the Service to answer", async || {
            http_client::get(address, "/env").await
        })
        .await;
        let variables: Vec<String> = serde_json::from_str(&answer.body).unwrap();
        assert!(
            variables.contains(&format!("GREETING={greeting}")),
            "{variables:?}"
        );
        assert!(variables.contains(&"CITY=北京".to_owned()), "{variables:?}");
        let files: BTreeMap<String, String> =
            serde_json::from_str(&http_client::get(address, "/configs").await.unwrap().body).unwrap();
        assert_eq!(files["page.yaml"], page);
        // The same manifest again is the same object.
        assert_eq!(
            s.kubectl_with(&["apply", "-f", "-"], Some(&manifest.text()))
                .ok()
                .trim_end(),
            "microservice.microservice.dev/web unchanged"
        );
    });
}

#[test]
fn kubectl_scale_scales_the_service() {
    scenario("kubectl-scale").run(async |s| {
        let stable = s.deploy(&podinfo("web", "1.0.0")).await.stable().unwrap();
        let said = s.kubectl(&["scale", "msvc", "web", "--replicas=3"]).ok();
        assert_eq!(said.trim_end(), "microservice.microservice.dev/web scaled");
        s.ready_pods(&stable, 3).await;
        let found = s
            .wait_for("web", "to say 3/3", |found| {
                found.is_healthy() && found.said().replicas == 3
            })
            .await;
        assert_eq!(found.stable().unwrap(), stable);
        let path = format!(
            "/apis/microservice.dev/v1alpha1/namespaces/{}/microservices/web/scale",
            s.namespace
        );
        let scale: Value = serde_json::from_str(&kubectl(&["get", "--raw", &path], None).ok()).unwrap();
        assert_eq!(scale["spec"], json!({"replicas": 3}));
        assert_eq!(scale["status"]["replicas"], 3);
        let selector = scale["status"]["selector"].as_str().unwrap();
        let pods = s.kubectl(&["get", "pods", "-l", selector, "-o", "name"]).ok();
        assert_eq!(pods.lines().count(), 3, "{selector} selects: {pods}");
        assert_eq!(s.notes("RolloutStarted").await, [""; 0]);
    });
}

#[test]
fn the_crd_fits_into_client_side_apply() {
    install_crd();
    // The most that the annotations of an object may have together.
    const ANNOTATIONS: usize = 256 * 1024;
    let path = r"jsonpath={.metadata.annotations.kubectl\.kubernetes\.io/last-applied-configuration}";
    let noted = kubectl(
        &["get", "crd", "microservices.microservice.dev", "-o", path],
        None,
    )
    .ok();
    assert!(!noted.is_empty(), "the CRD was not applied client-side");
    println!(
        "measured: the CRD takes {} of {ANNOTATIONS} bytes of annotations",
        noted.len()
    );
    assert!(noted.len() < ANNOTATIONS);
    let again = kubectl(&["apply", "-f", "-"], Some(&crds())).ok();
    assert_eq!(
        again.trim_end(),
        "customresourcedefinition.apiextensions.k8s.io/microservices.microservice.dev unchanged"
    );
}
