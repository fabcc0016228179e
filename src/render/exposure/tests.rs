//! Scope A of one revision and of two.

#![allow(clippy::unwrap_used, clippy::panic, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::*;
use crate::api::{Monitoring, PortProtocol, Router};
use crate::render::{Child, Identity, Scraped, Selection, monitor, network_policy, service, urls};
use crate::traffic;

fn routes(identity: &Identity<'_>, exposure: &Exposure) -> Vec<Child> {
    traffic::routes(identity, exposure, Router::Auto, None)
}

fn spec(value: Value) -> ExposureSpec {
    serde_json::from_value(value).unwrap()
}

fn ports(value: Value) -> ExposureSpec {
    spec(json!({"ports": value}))
}

/// Ports as `name port/protocol -> target`.
fn shown(ports: &[ServicePort]) -> Vec<String> {
    ports
        .iter()
        .map(|port| {
            let target = match &port.target {
                TargetPort::Number(number) => number.to_string(),
                TargetPort::Name(name) => name.clone(),
            };
            format!(
                "{} {}/{} -> {target}",
                port.name,
                port.port,
                port.protocol.as_str()
            )
        })
        .collect()
}

const NONE: BTreeMap<String, String> = BTreeMap::new();

fn identity() -> Identity<'static> {
    static NO_LABELS: BTreeMap<String, String> = NONE;
    Identity {
        name: "orders",
        namespace: "shop",
        common_labels: &NO_LABELS,
    }
}

fn objects(children: Vec<Child>) -> Vec<Value> {
    children.into_iter().map(|child| child.object).collect()
}

#[test]
fn alone_ports_lead_to_numbers_and_excluded_ones_nowhere() {
    let of = Exposure::of(&ports(json!([
        {"name": "http", "containerPort": 8080, "servicePort": 80, "appProtocol": "http"},
        {"name": "dns", "containerPort": 53, "protocol": "UDP"},
        {"name": "admin", "containerPort": 9000, "service": "Exclude"},
    ])));
    assert_eq!(shown(&of.ports), ["http 80/TCP -> 8080", "dns 53/UDP -> 53"]);
    assert_eq!(of.ports[0].app_protocol.as_deref(), Some("http"));
    assert_eq!(of.ports[1].protocol, PortProtocol::Udp);
}

#[test]
fn the_union_of_ports() {
    let http = |container: i32, service: i32| {
        json!({"name": "http", "containerPort": container,
        "servicePort": service})
    };
    for (what, stable, candidate, expected, together) in [
        (
            "the same",
            json!([http(8080, 80)]),
            json!([http(8080, 80)]),
            vec!["http 80/TCP -> 8080"],
            true,
        ),
        (
            "another number of the container",
            json!([http(8080, 80)]),
            json!([http(9090, 80)]),
            vec!["http 80/TCP -> http"],
            true,
        ),
        (
            "another name for the same number",
            json!([http(8080, 80)]),
            json!([{"name": "web", "containerPort": 8080, "servicePort": 80}]),
            vec!["http 80/TCP -> 8080"],
            true,
        ),
        (
            "another name and another number",
            json!([http(8080, 80)]),
            json!([{"name": "web", "containerPort": 9090, "servicePort": 80}]),
            vec!["http 80/TCP -> 8080"],
            false,
        ),
        (
            "a number of the Service moves",
            json!([http(8080, 80)]),
            json!([http(8080, 8000)]),
            vec!["http 80/TCP -> 8080", "http-8000 8000/TCP -> 8080"],
            true,
        ),
        (
            "a port comes: only pods that have it are behind it",
            json!([http(8080, 80)]),
            json!([http(8080, 80), {"name": "grpc", "containerPort": 9090}]),
            vec!["http 80/TCP -> 8080", "grpc 9090/TCP -> grpc"],
            true,
        ),
        (
            "a port goes: it stays until the new revision is promoted",
            json!([http(8080, 80), {"name": "grpc", "containerPort": 9090}]),
            json!([http(8080, 80)]),
            vec!["http 80/TCP -> 8080", "grpc 9090/TCP -> grpc"],
            true,
        ),
        (
            "a port leaves the Service but not the pods",
            json!([{"name": "admin", "containerPort": 9000}]),
            json!([{"name": "admin", "containerPort": 9000, "service": "Exclude"}]),
            vec!["admin 9000/TCP -> 9000"],
            true,
        ),
        (
            "the same number over another protocol is another port",
            json!([{"name": "dns", "containerPort": 53}]),
            json!([{"name": "dns", "containerPort": 53}, {"name": "dns-udp", "containerPort": 53,
                "protocol": "UDP"}]),
            vec!["dns 53/TCP -> 53", "dns-udp 53/UDP -> dns-udp"],
            true,
        ),
        (
            "a new name that is taken twice",
            json!([{"name": "a", "containerPort": 1}, {"name": "a-2", "containerPort": 9}]),
            json!([{"name": "a", "containerPort": 2}]),
            vec!["a 1/TCP -> a", "a-2 9/TCP -> a-2", "a-2-2 2/TCP -> a"],
            true,
        ),
    ] {
        let (stable, candidate) = (ports(stable), ports(candidate));
        assert_eq!(
            shown(&Exposure::union(&stable, &candidate).ports),
            expected,
            "{what}"
        );
        let expected = if together {
            Compatibility::Together
        } else {
            Compatibility::OneAtATime
        };
        assert_eq!(compatibility(&stable, &candidate), expected, "{what}");
    }
}

#[test]
fn the_union_with_itself_is_itself() {
    let spec = spec(json!({
        "ports": [{"name": "http", "containerPort": 8080, "servicePort": 80}, {"name": "admin",
            "containerPort": 9000, "service": "Exclude"}],
        "service": {"type": "LoadBalancer", "annotations": {"a": "b"}, "sessionAffinity": "ClientIP"},
        "routes": [{"name": "public", "hosts": ["a.example"], "ingress": {"tls": [{"secretName": "s"}]}}],
        "networkPolicy": {"mode": "IngressAndEgress", "ingress": [{}]},
    }));
    assert_eq!(Exposure::union(&spec, &spec), Exposure::of(&spec));
}

#[test]
fn of_two_services_the_stable_one_counts_and_annotations_of_both() {
    let one =
        |service: Value| spec(json!({"ports": [{"name": "http", "containerPort": 80}], "service": service}));
    let stable = one(json!({"annotations": {"a": "stable", "b": "stable"}, "sessionAffinity": "ClientIP"}));
    let candidate = one(json!({"type": "LoadBalancer", "annotations": {"b": "new", "c": "new"}}));
    let both: BTreeMap<String, String> = [("a", "stable"), ("b", "stable"), ("c", "new")]
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .into();
    let union = Exposure::union(&stable, &candidate).service;
    assert_eq!(
        union,
        ServiceSettings {
            type_: ServiceType::ClusterIp,
            annotations: both,
            session_affinity: SessionAffinity::ClientIp,
            ..ServiceSettings::default()
        }
    );
    let unserved = spec(json!({}));
    assert_eq!(
        Exposure::union(&unserved, &candidate).service,
        Exposure::of(&candidate).service
    );
}

#[test]
fn a_service_selects_one_revision_or_all() {
    let exposure = Exposure::of(&ports(json!([{"name": "http", "containerPort": 8080}])));
    let selector =
        |selection| service(&identity(), &exposure, selection).unwrap().object["spec"]["selector"].clone();
    assert_eq!(
        selector(Selection::AllRevisions),
        json!({"app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders"})
    );
    assert_eq!(
        selector(Selection::Revision("orders-x")),
        json!({
            "app.kubernetes.io/name": "orders",
            "app.kubernetes.io/instance": "orders",
            "microservice.dev/revision": "orders-x",
        })
    );
    let none = Exposure::of(&ports(
        json!([{"name": "admin", "containerPort": 1, "service": "Exclude"}]),
    ));
    assert_eq!(service(&identity(), &none, Selection::AllRevisions), None);
}

#[test]
fn a_headless_service_has_no_address() {
    let exposure = Exposure::of(&spec(json!({
        "ports": [{"name": "grpc", "containerPort": 9090}],
        "service": {"headless": "Enabled", "trafficDistribution": "PreferClose"},
    })));
    let object = service(&identity(), &exposure, Selection::AllRevisions)
        .unwrap()
        .object;
    assert_eq!(
        object["spec"],
        json!({
            "type": "ClusterIP",
            "clusterIP": "None",
            "trafficDistribution": "PreferClose",
            "selector": {"app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders"},
            "ports": [{"name": "grpc", "port": 9090, "protocol": "TCP", "targetPort": 9090}],
        })
    );
}

fn routed(routes: Value) -> ExposureSpec {
    spec(json!({
        "ports": [
            {"name": "admin", "containerPort": 9000, "service": "Exclude"},
            {"name": "grpc", "containerPort": 9090},
            {"name": "http", "containerPort": 8080, "servicePort": 80},
        ],
        "routes": routes,
    }))
}

#[test]
fn a_route_has_defaults_for_all_that_it_does_not_say() {
    let object = objects(routes(
        &identity(),
        &Exposure::of(&routed(json!([{"name": "all", "ingress": {}}]))),
    ))
    .remove(0);
    assert_eq!(object["metadata"]["name"], "orders-all");
    assert_eq!(
        object["spec"],
        json!({"rules": [{"http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "orders",
             "port": {"number": 80}}}}
        ]}}]})
    );
    let unnamed = spec(
        json!({"ports": [{"name": "grpc", "containerPort": 9090}], "routes": [{"name": "a", "ingress": {}}]}),
    );
    assert_eq!(
        Exposure::of(&unnamed).routes[0].rules[0].port,
        9090,
        "the first port where none is called http"
    );
    let portless = spec(json!({"routes": [{"name": "a", "ingress": {}}]}));
    assert_eq!(Exposure::of(&portless).routes, [], "nowhere to lead to");
}

#[test]
fn the_union_of_routes_keeps_all_that_was_and_adds_what_comes() {
    let stable = routed(json!([
        {"name": "public", "hosts": ["a.example"],
         "rules": [{"path": "/v1"}, {"path": "/old", "service": "legacy"}],
         "ingress": {"className": "nginx", "annotations": {"a": "stable"}}},
        {"name": "gone", "ingress": {}},
    ]));
    let candidate = routed(json!([
        {"name": "public", "hosts": ["b.example", "a.example"],
         "rules": [{"path": "/v2"}, {"path": "/old"}],
         "ingress": {"className": "other", "annotations": {"a": "new", "b": "new"},
             "tls": [{"secretName": "s"}]}},
        {"name": "fresh", "gateway": {"parentRefs": [{"name": "edge"}]}},
    ]));
    let union = Exposure::union(&stable, &candidate).routes;
    let names: Vec<&str> = union.iter().map(|route| route.name.as_str()).collect();
    assert_eq!(names, ["public", "gone", "fresh"]);
    assert_eq!(union[0].hosts, ["a.example", "b.example"]);
    let rules: Vec<_> = union[0]
        .rules
        .iter()
        .map(|rule| (rule.path.as_str(), rule.backend.clone()))
        .collect();
    assert_eq!(
        rules,
        [
            ("/v1", Backend::Own),
            ("/old", Backend::Other("legacy".to_owned())),
            ("/v2", Backend::Own)
        ]
    );
    let Way::Ingress {
        class_name,
        annotations,
        tls,
        object: _,
    } = &union[0].way
    else {
        panic!("{:?}", union[0].way)
    };
    assert_eq!(class_name.as_deref(), Some("nginx"));
    assert_eq!(
        *annotations,
        [("a", "stable"), ("b", "new")]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    );
    assert_eq!(tls[0].hosts, ["b.example", "a.example"]);
}

#[test]
fn a_route_that_becomes_another_kind_of_object_is_both_for_a_while() {
    let stable = routed(json!([{"name": "public", "ingress": {}}]));
    let candidate = routed(json!([{"name": "public", "gateway": {"parentRefs": [{"name": "edge"}]}}]));
    let kinds: Vec<&str> = routes(&identity(), &Exposure::union(&stable, &candidate))
        .iter()
        .map(|child| child.kind.kind())
        .collect();
    assert_eq!(kinds, ["Ingress", "HTTPRoute"]);
}

#[test]
fn all_hosts_and_some_hosts_are_all_hosts() {
    let some = routed(json!([{"name": "a", "hosts": ["a.example"], "ingress": {}}]));
    let all = routed(json!([{"name": "a", "ingress": {}}]));
    assert_eq!(Exposure::union(&some, &all).routes[0].hosts, Vec::<String>::new());
    assert_eq!(Exposure::union(&all, &some).routes[0].hosts, Vec::<String>::new());
}

#[test]
fn parents_of_gateway_routes() {
    let of = |parent: Value| {
        let route = json!([{"name": "a", "gateway": {"parentRefs": [parent]}}]);
        objects(routes(&identity(), &Exposure::of(&routed(route)))).remove(0)["spec"]["parentRefs"][0].clone()
    };
    assert_eq!(
        of(json!({"name": "edge", "port": 443})),
        json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "edge", "port": 443})
    );
    assert_eq!(
        of(json!({"name": "orders", "kind": "Service"})),
        json!({"group": "", "kind": "Service", "name": "orders"})
    );
}

#[test]
fn methods_of_grpc() {
    let matched = |path: &str| {
        let route = json!([{"name": "a", "port": "grpc", "rules": [{"path": path}],
            "gateway": {"kind": "GRPCRoute", "parentRefs": [{"name": "edge"}]}}]);
        let object = objects(routes(&identity(), &Exposure::of(&routed(route)))).remove(0);
        assert_eq!(object["kind"], "GRPCRoute");
        object["spec"]["rules"][0]["matches"][0].clone()
    };
    assert_eq!(
        matched("/a.B/C"),
        json!({"method": {"type": "Exact", "service": "a.B", "method": "C"}})
    );
    assert_eq!(
        matched("/a.B"),
        json!({"method": {"type": "Exact", "service": "a.B"}})
    );
    assert_eq!(matched("/"), json!({}));
}

#[test]
fn addresses_of_the_service() {
    let exposure = Exposure::of(&routed(json!([
        {"name": "a", "hosts": ["a.example", "*.a.example"], "ingress": {"tls": [{"secretName": "s"}]}},
        {"name": "b", "hosts": ["x.b.example"], "rules": [{"path": "/other", "service": "other"},
         {"path": "/own"}],
         "ingress": {"tls": [{"hosts": ["*.b.example"]}]}},
        {"name": "c", "hosts": ["c.example", "x.c.example"],
         "ingress": {"tls": [{"hosts": ["d.example", "*.b.example"]}]}},
        {"name": "d", "hosts": ["d.example"], "rules": [{"service": "other"}], "ingress": {}},
        {"name": "e", "hosts": ["e.example"], "gateway": {"parentRefs": [{"name": "edge",
         "sectionName": "https"}]}},
        {"name": "f", "hosts": ["f.example"], "gateway": {"parentRefs": [{"name": "edge"}]}},
        {"name": "g", "ingress": {}},
    ])));
    assert_eq!(
        urls(&exposure),
        [
            "https://a.example",
            "https://x.b.example/own",
            "http://c.example",
            "http://x.c.example",
            "https://e.example",
            "http://f.example"
        ]
    );
}

#[test]
fn network_rules_close_only_what_both_revisions_close() {
    let rules = |policy: Value| spec(json!({"networkPolicy": policy}));
    let from = |team: &str| json!({"from": [{"podSelector": {"matchLabels": {"team": team}}}]});
    let object =
        |exposure: &Exposure| network_policy(&identity(), exposure).map(|child| child.object["spec"].clone());
    let dns = json!({"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]});
    let pods =
        json!({"matchLabels": {"app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders"}});

    let closed = rules(json!({"mode": "IngressAndEgress"}));
    assert_eq!(
        object(&Exposure::of(&closed)),
        Some(json!({"podSelector": pods, "policyTypes": ["Ingress", "Egress"], "egress": [dns]}))
    );
    let a = rules(json!({"mode": "Ingress", "ingress": [from("a"), from("b")]}));
    let b = rules(json!({"mode": "IngressAndEgress", "ingress": [from("b"), from("c")]}));
    assert_eq!(
        object(&Exposure::union(&a, &b)),
        Some(
            json!({"podSelector": pods, "policyTypes": ["Ingress"], "ingress": [from("a"), from("b"),
                from("c")]})
        ),
        "egress stays open, as the stable one has it"
    );
    assert_eq!(object(&Exposure::union(&a, &spec(json!({})))), None);
    assert_eq!(object(&Exposure::union(&spec(json!({})), &a)), None);
}

#[test]
fn metrics_are_found_where_they_are() {
    let monitored = |ports: Value, monitoring: Value| {
        let monitoring: Monitoring = serde_json::from_value(monitoring).unwrap();
        let child = monitor(
            &identity(),
            &monitoring,
            &Exposure::of(&spec(json!({"ports": ports}))),
            Scraped::Root,
        )?;
        let spec = &child.object["spec"];
        let endpoints = if spec["endpoints"].is_null() {
            &spec["podMetricsEndpoints"]
        } else {
            &spec["endpoints"]
        };
        assert_eq!(
            spec["podTargetLabels"],
            json!([
                "app.kubernetes.io/instance",
                "microservice.dev/revision",
                "microservice.dev/role"
            ])
        );
        Some((child.kind.kind(), endpoints[0].clone()))
    };
    let http = json!({"name": "http", "containerPort": 8080});
    let metrics = json!({"name": "metrics", "containerPort": 9100, "service": "Exclude"});
    let endpoint = |port: &str| json!({"port": port, "path": "/metrics"});
    for (ports, monitoring, expected) in [
        (
            json!([http]),
            json!({}),
            Some(("ServiceMonitor", endpoint("http"))),
        ),
        (
            json!([http, metrics]),
            json!({}),
            Some(("PodMonitor", endpoint("metrics"))),
        ),
        (
            json!([http, metrics]),
            json!({"port": "http"}),
            Some(("ServiceMonitor", endpoint("http"))),
        ),
        (
            json!([http]),
            json!({"kind": "PodMonitor"}),
            Some(("PodMonitor", endpoint("http"))),
        ),
        (
            json!([http, metrics]),
            json!({"kind": "ServiceMonitor", "path": "/m", "intervalSeconds": 15}),
            Some((
                "ServiceMonitor",
                json!({"targetPort": "metrics", "path": "/m", "interval": "15s"}),
            )),
        ),
        (json!([http]), json!({"kind": "None"}), None),
        (json!([]), json!({}), None),
    ] {
        assert_eq!(
            monitored(ports.clone(), monitoring.clone()),
            expected,
            "{ports} {monitoring}"
        );
    }
}

#[test]
fn a_renamed_port_is_monitored_under_its_new_name() {
    let stable = ports(json!([{"name": "http", "containerPort": 8080, "servicePort": 80}]));
    let candidate = ports(json!([
        {"name": "http", "containerPort": 8080, "servicePort": 8000},
        {"name": "metrics", "containerPort": 9100},
    ]));
    let exposure = Exposure::union(&stable, &candidate);
    let child = monitor(&identity(), &Monitoring::default(), &exposure, Scraped::Root).unwrap();
    assert_eq!(child.object["spec"]["endpoints"][0]["port"], "metrics");
    assert_eq!(
        exposure.container_ports,
        [
            ContainerPortName {
                name: "http".to_owned(),
                service_port: Some("http".to_owned())
            },
            ContainerPortName {
                name: "metrics".to_owned(),
                service_port: Some("metrics".to_owned())
            },
        ]
    );
}
