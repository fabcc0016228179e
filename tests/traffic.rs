//! Routers: what each makes of a split, what it cannot do, and what live objects say.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value
)]

use std::collections::BTreeMap;

use microservice_operator::api::{
    ExposureSpec, NamedValue, RequestMatch, Router, StableScale, StepAffinity, Strategy,
};
use microservice_operator::render::{
    Child, ChildKind, Exposure, Identity, offline, preview_service, revision_service,
};
use microservice_operator::traffic::{
    Acceptance, Share, Split, acceptance, claims, leads_to, refusals, routes, routes_split, splits,
};
use proptest::prelude::{Just, Strategy as Generator, any, prop, prop_assert_eq, prop_oneof, proptest};
use regex::Regex;
use serde_json::{Value, json};

const NO_LABELS: &BTreeMap<String, String> = &BTreeMap::new();
const STABLE: &str = "orders-aaaaaaaaaa";
const CANDIDATE: &str = "orders-bbbbbbbbbb";

fn identity() -> Identity<'static> {
    Identity {
        name: "orders",
        namespace: "shop",
        common_labels: NO_LABELS,
    }
}

fn exposure(routes: Value) -> Exposure {
    let spec: ExposureSpec =
        serde_json::from_value(json!({"ports": [{"name": "http", "containerPort": 80}], "routes": routes}))
            .unwrap();
    Exposure::of(&spec)
}

fn gateway() -> Value {
    json!({"name": "public", "hosts": ["a.example"], "gateway": {"parentRefs": [{"name": "edge"}]}})
}

fn grpc() -> Value {
    json!({"name": "rpc", "gateway": {"kind": "GRPCRoute", "parentRefs": [{"name": "edge"}]},
        "rules": [{"path": "/shop.v1.Cart"}]})
}

fn istio() -> Value {
    json!({"name": "mesh", "hosts": ["a.example"], "istio": {"gateways": ["infra/edge"]}})
}

fn nginx() -> Value {
    json!({
        "name": "old", "hosts": ["a.example"],
        "ingress": {
            "className": "nginx",
            "annotations": {
                "nginx.ingress.kubernetes.io/rewrite-target": "/",
                "cert-manager.io/cluster-issuer": "public",
            },
            "tls": [{"secretName": "a"}],
        },
    })
}

fn with(mut route: Value, rules: Value) -> Value {
    route["rules"] = rules;
    route
}

fn share(weight: i32) -> Share {
    Share {
        service: CANDIDATE.to_owned(),
        weight,
        ..Share::default()
    }
}

fn matching(weight: i32, matches: Value) -> Share {
    Share {
        matches: serde_json::from_value(matches).unwrap(),
        ..share(weight)
    }
}

fn mirroring(weight: i32, percent: i32) -> Share {
    Share {
        mirror_percent: Some(percent),
        ..share(weight)
    }
}

fn split(candidate: Option<Share>) -> Split {
    Split {
        stable: STABLE.to_owned(),
        candidate,
        affinity: StepAffinity::Disabled,
    }
}

fn rendered(route: &Value, candidate: Option<Share>) -> Vec<Child> {
    let objects = routes(
        &identity(),
        &exposure(json!([route])),
        Router::Auto,
        Some(&split(candidate)),
    );
    for object in &objects {
        assert_eq!(object.object["metadata"]["name"], object.name.as_str());
        assert_eq!(object.object["kind"], object.kind.kind());
    }
    objects
}

fn spec(route: &Value, candidate: Option<Share>) -> Value {
    let mut objects = rendered(route, candidate);
    assert_eq!(objects.len(), 1, "{objects:?}");
    objects.remove(0).object["spec"].take()
}

fn header(value: &str) -> Value {
    json!([{"headers": [{"name": "X-Tester", "value": value}]}])
}

fn cookie(value: &str) -> Value {
    json!([{"cookies": [{"name": "tester", "value": value}]}])
}

fn to(service: &str, weight: i32) -> Value {
    json!({"group": "", "kind": "Service", "name": service, "port": 80, "weight": weight})
}

// --- Gateway API

#[test]
fn an_http_route() {
    let root = json!([{"path": {"type": "PathPrefix", "value": "/"}}]);
    let plain = |backends: Value| json!([{"matches": root, "backendRefs": backends}]);
    let beside = |more: Value, weight: i32| {
        let backends = match weight {
            0 => json!([to(STABLE, 1)]),
            weight => json!([to(STABLE, 100 - weight), to(CANDIDATE, weight)]),
        };
        let mut one = json!({"path": {"type": "PathPrefix", "value": "/"}});
        one.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!([
            {"matches": [one], "backendRefs": [to(CANDIDATE, 1)]},
            {"matches": root, "backendRefs": backends},
        ])
    };
    // All requests are those of a mirror that names no percentage, as older gateways have it alone.
    let mirror = |percent: Option<i32>| {
        let mut to = json!({"backendRef": {"group": "", "kind": "Service", "name": CANDIDATE, "port": 80}});
        if let Some(percent) = percent {
            to["percent"] = json!(percent);
        }
        json!([{"type": "RequestMirror", "requestMirror": to}])
    };
    let query = json!([{"queryParams": [{"name": "q", "value": "1"}]}]);
    let cases = [
        (None, plain(json!([to(STABLE, 1)]))),
        (Some(share(0)), plain(json!([to(STABLE, 1)]))),
        (Some(mirroring(0, 0)), plain(json!([to(STABLE, 1)]))),
        (Some(share(5)), plain(json!([to(STABLE, 95), to(CANDIDATE, 5)]))),
        (Some(share(100)), plain(json!([to(CANDIDATE, 1)]))),
        (
            Some(matching(0, header("yes"))),
            beside(
                json!({"headers": [{"type": "Exact", "name": "X-Tester", "value": "yes"}]}),
                0,
            ),
        ),
        (
            Some(matching(5, header("yes"))),
            beside(
                json!({"headers": [{"type": "Exact", "name": "X-Tester", "value": "yes"}]}),
                5,
            ),
        ),
        (
            Some(matching(0, cookie("a.b"))),
            beside(
                json!({"headers": [{"type": "RegularExpression", "name": "Cookie",
                    "value": r"^(.*;\s*)?tester=a\.b(;.*)?$"}]}),
                0,
            ),
        ),
        (
            Some(matching(0, query)),
            beside(
                json!({"queryParams": [{"type": "Exact", "name": "q", "value": "1"}]}),
                0,
            ),
        ),
        (
            Some(mirroring(0, 100)),
            json!([{"matches": root, "filters": mirror(None), "backendRefs": [to(STABLE, 1)]}]),
        ),
        (
            Some(mirroring(0, 99)),
            json!([{"matches": root, "filters": mirror(Some(99)), "backendRefs": [to(STABLE, 1)]}]),
        ),
        (
            Some(mirroring(5, 20)),
            json!([{"matches": root, "filters": mirror(Some(20)), "backendRefs": [to(STABLE, 95), to(CANDIDATE, 5)]}]),
        ),
    ];
    for (candidate, expected) in cases {
        let spec = spec(&gateway(), candidate.clone());
        assert_eq!(spec["rules"], expected, "{candidate:?}");
        assert_eq!(spec["hostnames"], json!(["a.example"]));
    }
}

#[test]
fn a_grpc_route() {
    let method = json!({"type": "Exact", "service": "shop.v1.Cart"});
    let plain = json!({"matches": [{"method": method}], "backendRefs": [to(STABLE, 1)]});
    for (candidate, expected) in [
        (None, json!([plain])),
        (
            Some(share(5)),
            json!([{"matches": [{"method": method}], "backendRefs": [to(STABLE, 95), to(CANDIDATE, 5)]}]),
        ),
        (
            Some(matching(0, header("yes"))),
            json!([
                {"matches": [{"method": method, "headers": [{"type": "Exact", "name": "X-Tester", "value": "yes"}]}],
                 "backendRefs": [to(CANDIDATE, 1)]},
                plain,
            ]),
        ),
        // What it has no words for takes nothing at all.
        (Some(matching(0, cookie("yes"))), json!([plain])),
        (
            Some(matching(
                0,
                json!([{"headers": [{"name": "a", "value": "b"}], "queryParams": [{"name": "q", "value": "1"}]}]),
            )),
            json!([plain]),
        ),
        (
            Some(mirroring(0, 100)),
            json!([{"matches": [{"method": method}], "backendRefs": [to(STABLE, 1)],
                "filters": [{"type": "RequestMirror", "requestMirror": {
                    "backendRef": {"group": "", "kind": "Service", "name": CANDIDATE, "port": 80}}}]}]),
        ),
        (
            Some(mirroring(0, 7)),
            json!([{"matches": [{"method": method}], "backendRefs": [to(STABLE, 1)],
                "filters": [{"type": "RequestMirror", "requestMirror": {
                    "backendRef": {"group": "", "kind": "Service", "name": CANDIDATE, "port": 80}, "percent": 7}}]}]),
        ),
    ] {
        assert_eq!(
            spec(&grpc(), candidate.clone())["rules"],
            expected,
            "{candidate:?}"
        );
    }
}

#[test]
fn rules_of_other_services_stay_and_filters_are_kept() {
    let rewrite = json!({"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplacePrefixMatch",
        "replacePrefixMatch": "/"}}});
    let mut route = with(
        gateway(),
        json!([
            {"path": "/shop"},
            {"path": "/shop", "headers": [{"name": "x-beta", "value": "1"}], "service": "beta", "servicePort": 81},
            {"path": "/api", "service": "api"},
        ]),
    );
    route["gateway"]["filters"] = json!([rewrite]);
    let two = json!([
        {"headers": [{"name": "x-tester", "value": "yes"}]},
        {"headers": [{"name": "X-Beta", "value": "2"}]},
    ]);
    let rules = spec(&route, Some(matching(5, two)))["rules"].take();
    let short: Vec<String> = rules
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| {
            // A rule whose filter replaces a prefix has to have just one match.
            assert_eq!(rule["matches"].as_array().unwrap().len(), 1);
            assert_eq!(rule["filters"], json!([rewrite]));
            let one = &rule["matches"][0];
            let headers = one["headers"].as_array().into_iter().flatten();
            let headers: Vec<&str> = headers.map(|h| h["name"].as_str().unwrap()).collect();
            let backends = rule["backendRefs"].as_array().unwrap().iter();
            let backends: Vec<&str> = backends.map(|b| b["name"].as_str().unwrap()).collect();
            format!(
                "{} {headers:?} {backends:?}",
                one["path"]["value"].as_str().unwrap()
            )
        })
        .collect();
    let names = |names: &[&str]| format!("{names:?}");
    assert_eq!(
        short,
        [
            format!("/shop {} {}", names(&["x-tester"]), names(&[CANDIDATE])),
            format!("/shop {} {}", names(&["X-Beta"]), names(&[CANDIDATE])),
            format!("/shop {} {}", names(&[]), names(&[STABLE, CANDIDATE])),
            // Else the candidate's rule would take requests of beta's; x-beta cannot be 1 and 2 at once.
            format!("/shop {} {}", names(&["x-beta", "x-tester"]), names(&["beta"])),
            format!("/shop {} {}", names(&["x-beta"]), names(&["beta"])),
            format!("/api {} {}", names(&[]), names(&["api"])),
        ]
    );
}

#[test]
fn no_header_is_asked_for_twice() {
    let route = with(
        gateway(),
        json!([{"headers": [{"name": "x-tester", "value": "yes"}]}]),
    );
    let same = spec(&route, Some(matching(0, header("yes"))));
    assert_eq!(
        same["rules"][0]["matches"][0]["headers"],
        json!([{"type": "Exact", "name": "x-tester", "value": "yes"}])
    );
    assert_eq!(same["rules"].as_array().unwrap().len(), 2);
    let other = spec(&route, Some(matching(0, header("no"))));
    assert_eq!(other["rules"].as_array().unwrap().len(), 1);
    let strategy = steps(json!([{"match": header("no")}]), Router::Auto);
    assert_eq!(
        refusals(&exposure(json!([route])), &strategy),
        [
            "route public: router Gateway: strategy.canary.steps[0].match.headers: header X-Tester is asked for with two \
          values at path /; no request has both"
        ]
    );
}

// --- Istio

fn at(service: &str, weight: i32) -> Value {
    json!({"destination": {"host": service, "port": {"number": 80}}, "weight": weight})
}

#[test]
fn a_virtual_service() {
    let matched = |condition: Value| json!([{"match": [condition], "route": [at(CANDIDATE, 100)]}, {"route": [at(STABLE, 100)]}]);
    for (candidate, expected) in [
        (None, json!([{"route": [at(STABLE, 100)]}])),
        (Some(share(0)), json!([{"route": [at(STABLE, 100)]}])),
        (
            Some(share(5)),
            json!([{"route": [at(STABLE, 95), at(CANDIDATE, 5)]}]),
        ),
        (Some(share(100)), json!([{"route": [at(CANDIDATE, 100)]}])),
        (
            Some(matching(0, header("yes"))),
            matched(json!({"headers": {"x-tester": {"exact": "yes"}}})),
        ),
        (
            Some(matching(0, cookie("yes"))),
            matched(json!({"headers": {"cookie": {"regex": r"^(.*;\s*)?tester=yes(;.*)?$"}}})),
        ),
        (
            Some(matching(
                0,
                json!([{"queryParams": [{"name": "q", "value": "1"}]}]),
            )),
            matched(json!({"queryParams": {"q": {"exact": "1"}}})),
        ),
        (
            Some(mirroring(0, 20)),
            json!([{"route": [at(STABLE, 100)], "mirror": {"host": CANDIDATE, "port": {"number": 80}},
                "mirrorPercentage": {"value": 20}}]),
        ),
    ] {
        assert_eq!(
            spec(&istio(), candidate.clone()),
            json!({"hosts": ["a.example"], "gateways": ["infra/edge"], "http": expected}),
            "{candidate:?}"
        );
    }
}

#[test]
fn a_virtual_service_matches_as_a_gateway_route_does() {
    let rules = json!([
        {"path": "/"},
        {"path": "/shop", "service": "other"},
        {"path": "/shop/cart", "pathType": "Exact"},
        {"path": "/shop", "headers": [{"name": "X-Beta", "value": "1"}]},
    ]);
    let other = json!([at("other", 100)]);
    assert_eq!(
        spec(&with(istio(), rules), None)["http"],
        json!([
            {"match": [{"uri": {"exact": "/shop/cart"}}], "route": [at(STABLE, 100)]},
            {"match": [
                {"uri": {"exact": "/shop"}, "headers": {"x-beta": {"exact": "1"}}},
                {"uri": {"prefix": "/shop/"}, "headers": {"x-beta": {"exact": "1"}}},
            ], "route": [at(STABLE, 100)]},
            {"match": [{"uri": {"exact": "/shop"}}, {"uri": {"prefix": "/shop/"}}], "route": other},
            {"route": [at(STABLE, 100)]},
        ])
    );
}

#[test]
fn hosts_of_virtual_services() {
    let of = |hosts: Value, istio: Value| {
        let spec = spec(&json!({"name": "a", "hosts": hosts, "istio": istio}), None);
        (spec["hosts"].clone(), spec["gateways"].clone())
    };
    assert_eq!(of(json!([]), json!({})), (json!(["orders"]), json!(["mesh"])));
    assert_eq!(
        of(json!([]), json!({"gateways": ["edge"]})),
        (json!(["*"]), json!(["edge"]))
    );
    assert_eq!(
        of(json!(["a.example"]), json!({"gateways": ["edge", "mesh"]})),
        (json!(["a.example"]), json!(["edge", "mesh"]))
    );
    assert_eq!(
        of(json!([]), json!({"mode": "Delegate"})),
        (Value::Null, Value::Null)
    );
}

#[test]
fn a_delegate_has_one_match_for_each_rule() {
    let mut route = with(istio(), json!([{"path": "/shop"}]));
    route["istio"] = json!({"mode": "Delegate"});
    route["hosts"] = json!([]);
    assert_eq!(
        spec(&route, Some(share(5)))["http"],
        json!([
            {"match": [{"uri": {"exact": "/shop"}}], "route": [at(STABLE, 95), at(CANDIDATE, 5)]},
            {"match": [{"uri": {"prefix": "/shop/"}}], "route": [at(STABLE, 95), at(CANDIDATE, 5)]},
        ])
    );
}

// --- ingress-nginx

#[test]
fn an_ingress_and_its_canary() {
    let route = with(
        nginx(),
        json!([{"path": "/"}, {"path": "/api", "service": "api", "servicePort": 81}]),
    );
    let path = |path: &str, service: &str, port: i32| json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": {"number": port}}}});
    let primary = json!({
        "ingressClassName": "nginx",
        "rules": [{"host": "a.example", "http": {"paths": [path("/", STABLE, 80), path("/api", "api", 81)]}}],
        "tls": [{"secretName": "a", "hosts": ["a.example"]}],
    });
    let canary = json!({
        "ingressClassName": "nginx",
        "rules": [{"host": "a.example", "http": {"paths": [path("/", CANDIDATE, 80)]}}],
    });
    let note = |name: &str, value: &str| (format!("nginx.ingress.kubernetes.io/{name}"), value.to_owned());
    let by_header = [
        note("canary-by-header", "X-Tester"),
        note("canary-by-header-value", "yes"),
    ];
    for (candidate, expected) in [
        (None, None),
        // It had a share or is about to: that it has none is said until it is known to be in force.
        (Some(share(0)), Some(vec![note("canary-weight", "0")])),
        // It cannot mirror, and a canary without a share would be for nothing.
        (Some(mirroring(0, 20)), None),
        (Some(matching(0, cookie("yes"))), None),
        (Some(share(5)), Some(vec![note("canary-weight", "5")])),
        (Some(share(100)), Some(vec![note("canary-weight", "100")])),
        (
            Some(matching(0, header("yes"))),
            Some([by_header.as_slice(), &[note("canary-weight", "0")]].concat()),
        ),
        (
            Some(matching(5, cookie("always"))),
            Some(vec![
                note("canary-by-cookie", "tester"),
                note("canary-weight", "5"),
            ]),
        ),
    ] {
        let objects = rendered(&route, candidate.clone());
        assert_eq!(objects[0].name, "orders-old");
        assert_eq!(objects[0].object["spec"], primary);
        assert_eq!(
            objects[0].object["metadata"]["annotations"]
                .as_object()
                .unwrap()
                .len(),
            2
        );
        let beside = objects.get(1).map(|child| {
            assert_eq!(
                (child.kind, child.name.as_str()),
                (ChildKind::Ingress, "orders-old-canary")
            );
            assert_eq!(child.object["spec"], canary);
            child.object["metadata"]["annotations"].clone()
        });
        let expected = expected.map(|notes| {
            // What ingress-nginx reads is there again, what others act on is not.
            let fixed = [note("canary", "true"), note("rewrite-target", "/")];
            json!(notes.into_iter().chain(fixed).collect::<BTreeMap<_, _>>())
        });
        assert_eq!(beside, expected, "{candidate:?}");
    }
}

/// The annotations of the Ingress and of its canary, without the prefix, where clients are kept.
fn kept(route: &Value, candidate: Share) -> [BTreeMap<String, String>; 2] {
    let split = Split {
        affinity: StepAffinity::Cookie,
        ..split(Some(candidate))
    };
    let objects = routes(&identity(), &exposure(json!([route])), Router::Auto, Some(&split));
    [0, 1].map(|index| {
        let object = objects.get(index).map(|child| child.object.clone());
        let notes = object.unwrap_or_default()["metadata"]["annotations"].take();
        let notes: BTreeMap<String, String> = serde_json::from_value(notes).unwrap_or_default();
        notes
            .into_iter()
            .filter_map(|(key, value)| {
                let key = key.strip_prefix("nginx.ingress.kubernetes.io/")?.to_owned();
                Some((key, value))
            })
            .collect()
    })
}

fn notes(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    all.iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect()
}

#[test]
fn ingress_nginx_keeps_clients_while_both_revisions_have_a_share() {
    let sessions = [
        ("affinity", "cookie"),
        ("affinity-canary-behavior", "sticky"),
        ("session-cookie-name", CANDIDATE),
        ("session-cookie-path", "/"),
    ];
    let rewrite = ("rewrite-target", "/");
    let plain = notes(&[rewrite]);
    let primary = notes(&[sessions.as_slice(), &[rewrite]].concat());
    let canary = |weight: &'static str| {
        let own = [rewrite, ("canary", "true"), ("canary-weight", weight)];
        [sessions.as_slice(), &own].concat()
    };
    assert_eq!(kept(&nginx(), share(5)), [primary.clone(), notes(&canary("5"))]);
    assert_eq!(kept(&nginx(), share(99)), [primary, notes(&canary("99"))]);
    // Nobody is kept before the first weight: testers would stay without their header, and others come not with it.
    let by_header = [
        rewrite,
        ("canary", "true"),
        ("canary-weight", "0"),
        ("canary-by-header", "X-Tester"),
        ("canary-by-header-value", "yes"),
    ];
    assert_eq!(
        kept(&nginx(), matching(0, header("yes"))),
        [plain.clone(), notes(&by_header)]
    );
    // All come back from nothing and go along with everything, whatever cookie they hold.
    for (weight, text) in [(0, "0"), (100, "100")] {
        assert_eq!(
            kept(&nginx(), share(weight)),
            [
                plain.clone(),
                notes(&[rewrite, ("canary", "true"), ("canary-weight", text)])
            ]
        );
    }
    // Two Services or ports behind one cookie would keep nobody.
    for other in [
        json!({"path": "/b", "service": "api"}),
        json!({"path": "/b", "servicePort": 81}),
    ] {
        let mut route = with(nginx(), json!([{"path": "/"}, other]));
        route["ingress"]["annotations"] = json!({});
        assert_eq!(kept(&route, share(5))[0], notes(&[]), "{other}");
    }
}

#[test]
fn an_affinity_of_the_users_own_keeps_nobody_at_a_canary_without_a_share() {
    let mut route = nginx();
    let own = [("affinity", "cookie"), ("session-cookie-name", "mine")];
    route["ingress"]["annotations"] = json!({
        "nginx.ingress.kubernetes.io/affinity": "cookie",
        "nginx.ingress.kubernetes.io/session-cookie-name": "mine",
    });
    let with = |more: &[(&'static str, &'static str)]| notes(&[own.as_slice(), more].concat());
    let canary = ("canary", "true");
    for (candidate, primary, beside) in [
        (
            share(5),
            with(&[("affinity-canary-behavior", "sticky")]),
            with(&[
                canary,
                ("canary-weight", "5"),
                ("affinity-canary-behavior", "sticky"),
            ]),
        ),
        (
            share(0),
            with(&[]),
            with(&[
                canary,
                ("canary-weight", "0"),
                ("affinity-canary-behavior", "legacy"),
            ]),
        ),
    ] {
        assert_eq!(
            kept(&route, candidate.clone()),
            [primary, beside],
            "{candidate:?}"
        );
    }
}

// --- who can split

#[test]
fn which_routes_split() {
    let class = |class: Value| json!({"name": "a", "ingress": class});
    let traefik = class(json!({"className": "traefik"}));
    let annotated = class(json!({"annotations": {"kubernetes.io/ingress.class": "nginx"}}));
    let canary =
        class(json!({"className": "nginx", "annotations": {"nginx.ingress.kubernetes.io/canary": "true"}}));
    let elsewhere = with(gateway(), json!([{"service": "other"}]));
    let routers = [
        Router::Auto,
        Router::Service,
        Router::Gateway,
        Router::Istio,
        Router::IngressNginx,
    ];
    for (route, expected) in [
        (gateway(), [true, false, true, false, false]),
        (grpc(), [true, false, true, false, false]),
        (istio(), [true, false, false, true, false]),
        (nginx(), [true, false, false, false, true]),
        (annotated, [true, false, false, false, true]),
        (traefik, [false, false, false, false, true]),
        (class(json!({})), [false, false, false, false, true]),
        (canary, [false; 5]),
        (elsewhere, [false; 5]),
    ] {
        let exposure = exposure(json!([route]));
        assert_eq!(
            routers.map(|router| splits(&exposure.routes[0], router)),
            expected,
            "{route}"
        );
        assert_eq!(
            routers.map(|router| routes_split(&exposure, router)),
            expected,
            "{route}"
        );
        for router in routers {
            let all = routes(&identity(), &exposure, router, Some(&split(Some(share(5)))));
            let leads: BTreeMap<String, i32> = all
                .iter()
                .flat_map(|child| leads_to(child.kind, &child.object))
                .collect();
            let expected = splits(&exposure.routes[0], router);
            assert_eq!(leads.contains_key(CANDIDATE), expected, "{route} {router:?}");
            assert_eq!(leads.contains_key(STABLE), expected, "{route} {router:?}");
        }
    }
}

#[test]
fn without_a_split_all_routes_lead_to_the_root_service() {
    let exposure = exposure(json!([gateway(), grpc(), istio(), nginx()]));
    let all = routes(&identity(), &exposure, Router::Auto, None);
    assert_eq!(all.len(), 4);
    for child in all {
        let leads = leads_to(child.kind, &child.object);
        assert_eq!(leads, [("orders".to_owned(), 100)].into(), "{}", child.name);
    }
}

// --- what is read back

fn any_match() -> impl Generator<Value = RequestMatch> {
    let named = || ("[a-z]{1,5}", "[ -~]{1,8}").prop_map(|(name, value)| NamedValue { name, value });
    prop_oneof![
        named().prop_map(|header| RequestMatch {
            headers: vec![header],
            ..RequestMatch::default()
        }),
        named().prop_map(|param| RequestMatch {
            query_params: vec![param],
            ..RequestMatch::default()
        }),
        named().prop_map(|cookie| RequestMatch {
            cookies: vec![cookie],
            ..RequestMatch::default()
        }),
    ]
}

fn any_rule() -> impl Generator<Value = Value> {
    let header = prop_oneof![Just(json!([])), Just(json!([{"name": "x-route", "value": "1"}]))];
    let service = prop_oneof![3 => Just(Value::Null), 1 => Just(json!("legacy"))];
    ("/[a-c]{0,2}", header, service)
        .prop_map(|(path, headers, service)| json!({"path": path, "headers": headers, "service": service}))
}

proptest! {
    #[test]
    fn what_was_put_in_is_read_back(
        weight in 0..=100i32,
        matches in prop::collection::vec(any_match(), 0..3),
        mirror in prop::option::of(0..=100i32),
        rules in prop::collection::vec(any_rule(), 1..4),
        way in 0..3usize,
    ) {
        let mut rules = rules;
        rules[0]["service"] = Value::Null;
        if way == 2 {
            rules.iter_mut().for_each(|rule| rule["headers"] = json!([]));
        }
        let route = with([gateway(), istio(), nginx()][way].clone(), json!(rules));
        let candidate = Share { matches, mirror_percent: mirror, ..share(weight) };
        let mut found = BTreeMap::new();
        for child in rendered(&route, Some(candidate.clone())) {
            found.extend(leads_to(child.kind, &child.object));
        }
        found.remove("legacy");
        let matched = || candidate.matches.iter().any(|one| !one.cookies.iter().any(|c| c.value.contains(';')));
        let reached = match way {
            2 => weight > 0 || found.contains_key(CANDIDATE),
            _ => weight > 0 || mirror.is_some_and(|percent| percent > 0) || matched(),
        };
        let mut expected = BTreeMap::new();
        if weight < 100 || way == 2 {
            expected.insert(STABLE.to_owned(), if way == 2 { 100 } else { 100 - weight });
        }
        if reached {
            expected.insert(CANDIDATE.to_owned(), weight);
        }
        prop_assert_eq!(found, expected);
    }

    /// Whether a gateway looks for the expression anywhere or compares it with the whole header.
    #[test]
    fn a_cookie_is_found_by_its_exact_value_only(
        name in "[A-Za-z0-9!#$%&'*+.^_`|~-]{1,6}",
        value in "[!-:<-~]{1,8}",
        others in prop::collection::vec(("[a-z.+]{1,3}", "[!-:<-~]{0,8}"), 0..4),
        present in any::<bool>(),
        spaced in any::<bool>(),
    ) {
        let asked = json!([{"cookies": [{"name": name, "value": value}]}]);
        let route = spec(&gateway(), Some(matching(0, asked)));
        let pattern = route["rules"][0]["matches"][0]["headers"][0]["value"].as_str().unwrap().to_owned();
        let mut brought: Vec<(String, String)> = others;
        if present {
            brought.insert(brought.len() / 2, (name.clone(), value.clone()));
        }
        let there = brought.iter().any(|cookie| *cookie == (name.clone(), value.clone()));
        let texts: Vec<String> = brought.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let text = texts.join(if spaced { "; " } else { ";" });
        for pattern in [pattern.clone(), format!("^(?:{pattern})$")] {
            let found = Regex::new(&pattern).unwrap().is_match(&text);
            // A cookie whose name ends like this one's is told apart by what stands before it.
            prop_assert_eq!(found, there, "{} in {}", pattern, text);
        }
    }
}

#[test]
fn what_others_write_is_read_too() {
    let route = json!({"metadata": {"namespace": "shop"}, "spec": {"rules": [{"backendRefs": [
        {"name": "a", "weight": 1}, {"name": "b", "weight": 999}, {"name": "c", "weight": 0}]}]}});
    assert_eq!(
        leads_to(ChildKind::HttpRoute, &route),
        [("a".to_owned(), 1), ("b".to_owned(), 100)].into()
    );
    let service = json!({"metadata": {"namespace": "shop"}, "spec": {"http": [{
        "route": [{"destination": {"host": "a.shop.svc.cluster.local"}}],
        "mirrors": [{"destination": {"host": "b"}}],
    }, {"match": [{"uri": {"exact": "/c"}}], "route": [{"destination": {"host": "c.other.svc.cluster.local"}}]}]}});
    assert_eq!(
        leads_to(ChildKind::VirtualService, &service),
        [
            ("a".to_owned(), 100),
            ("b".to_owned(), 0),
            ("c.other.svc.cluster.local".to_owned(), 100)
        ]
        .into()
    );
    assert!(leads_to(ChildKind::HttpRoute, &json!({})).is_empty());
    assert!(leads_to(ChildKind::Deployment, &service).is_empty());
}

// --- acceptance

fn condition(type_: &str, status: &str, generation: i64) -> Value {
    json!({"type": type_, "status": status, "reason": "R", "message": "m", "observedGeneration": generation})
}

fn parent(name: &str, conditions: Value) -> Value {
    json!({"parentRef": {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": name, "namespace": "shop"},
        "controllerName": "c", "conditions": conditions})
}

fn live_route(parents: &[&str], status: Value) -> Value {
    let references: Vec<Value> = parents.iter().map(|name| json!({"name": name})).collect();
    json!({"metadata": {"namespace": "shop", "generation": 3}, "spec": {"parentRefs": references}, "status": status})
}

#[test]
fn acceptance_by_parents() {
    let good = json!([
        condition("Accepted", "True", 3),
        condition("ResolvedRefs", "True", 3)
    ]);
    let waits = |name: &str| Acceptance::Waiting(format!("Gateway shop/{name} has not taken it yet"));
    let refused = |name: &str| Acceptance::Refused(format!("Gateway shop/{name} does not take it: R: m"));
    let one = |conditions: Value| live_route(&["edge"], json!({"parents": [parent("edge", conditions)]}));
    for (object, expected) in [
        (live_route(&["edge"], Value::Null), waits("edge")),
        (live_route(&["edge"], json!({"parents": []})), waits("edge")),
        (one(good.clone()), Acceptance::Accepted),
        (one(json!([condition("Accepted", "True", 3)])), waits("edge")),
        (
            one(json!([
                condition("Accepted", "True", 2),
                condition("ResolvedRefs", "True", 3)
            ])),
            waits("edge"),
        ),
        (
            one(json!([
                condition("Accepted", "False", 2),
                condition("ResolvedRefs", "True", 3)
            ])),
            waits("edge"),
        ),
        (
            one(json!([
                condition("Accepted", "Unknown", 3),
                condition("ResolvedRefs", "True", 3)
            ])),
            waits("edge"),
        ),
        (
            one(json!([
                condition("Accepted", "False", 3),
                condition("ResolvedRefs", "True", 3)
            ])),
            refused("edge"),
        ),
        (
            one(json!([
                condition("Accepted", "True", 3),
                condition("ResolvedRefs", "False", 3)
            ])),
            refused("edge"),
        ),
        (
            one(json!([
                condition("Accepted", "True", 3),
                condition("ResolvedRefs", "True", 3),
                condition("PartiallyInvalid", "True", 3)
            ])),
            refused("edge"),
        ),
        (
            live_route(
                &["edge", "inner"],
                json!({"parents": [parent("edge", good.clone())]}),
            ),
            waits("inner"),
        ),
        (
            live_route(
                &["edge", "inner"],
                json!({"parents": [parent("inner", good.clone()), parent("edge", good.clone())]}),
            ),
            Acceptance::Accepted,
        ),
        // A refusal is said before a wait.
        (
            live_route(
                &["edge", "inner"],
                json!({"parents": [parent("inner", json!([condition("Accepted", "False", 3)]))]}),
            ),
            refused("inner"),
        ),
        // Of two controllers both have to take it.
        (
            live_route(
                &["edge"],
                json!({"parents": [parent("edge", good.clone()), parent("edge", json!([]))]}),
            ),
            waits("edge"),
        ),
        (
            live_route(
                &["edge"],
                json!({"parents": [parent("other", json!([condition("Accepted", "False", 3)]))]}),
            ),
            waits("edge"),
        ),
    ] {
        assert_eq!(acceptance(ChildKind::HttpRoute, &object), expected, "{object}");
        assert_eq!(acceptance(ChildKind::GrpcRoute, &object), expected, "{object}");
    }
    let mut section = one(good);
    section["spec"]["parentRefs"][0]["sectionName"] = json!("https");
    assert_eq!(
        acceptance(ChildKind::HttpRoute, &section),
        Acceptance::Waiting("Gateway shop/edge (https) has not taken it yet".to_owned())
    );
}

#[test]
fn acceptance_by_istio() {
    let of = |status: Value| {
        acceptance(
            ChildKind::VirtualService,
            &json!({"metadata": {"generation": 3}, "status": status}),
        )
    };
    let error = json!({"level": "ERROR", "type": {"code": "IST0101", "name": "ReferencedResourceNotFound"}});
    let refused =
        Acceptance::Refused("Istio does not take it: IST0101 ReferencedResourceNotFound".to_owned());
    assert_eq!(
        acceptance(ChildKind::VirtualService, &json!({})),
        Acceptance::Accepted
    );
    assert_eq!(of(json!({})), Acceptance::Accepted);
    assert_eq!(
        of(json!({"validationMessages": [{"level": "WARNING"}]})),
        Acceptance::Accepted
    );
    assert_eq!(of(json!({"validationMessages": [error]})), refused);
    assert_eq!(
        of(json!({"observedGeneration": "3", "validationMessages": [error]})),
        refused
    );
    assert_eq!(
        of(json!({"observedGeneration": 2, "validationMessages": [error]})),
        Acceptance::Accepted
    );
    assert_eq!(
        of(json!({"conditions": [condition("Reconciled", "True", 3)]})),
        Acceptance::Accepted
    );
    let waiting = Acceptance::Waiting("Istio has not given it to all of its proxies yet".to_owned());
    assert_eq!(
        of(json!({"conditions": [condition("Reconciled", "False", 3)]})),
        waiting
    );
    assert_eq!(
        of(json!({"conditions": [condition("Reconciled", "True", 2)]})),
        waiting
    );
    assert_eq!(
        of(json!({"conditions": [condition("PassedValidation", "False", 3)]})),
        Acceptance::Refused("Istio does not take it: R: m".to_owned())
    );
    assert_eq!(acceptance(ChildKind::Ingress, &json!({})), Acceptance::Accepted);
}

// --- refusals

fn steps(steps: Value, router: Router) -> Strategy {
    serde_json::from_value(json!({"type": "Canary", "router": router, "canary": {"steps": steps}})).unwrap()
}

fn refused(routes: Value, asked: Value) -> Vec<String> {
    refusals(&exposure(routes), &steps(asked, Router::Auto))
}

#[test]
fn what_is_within_reach_is_not_refused() {
    let all = json!([{"weight": 5, "match": [
        {"headers": [{"name": "a", "value": "b"}]}, {"cookies": [{"name": "a", "value": "b"}]},
        {"queryParams": [{"name": "a", "value": "b"}]}], "mirrorPercent": 100}]);
    assert_eq!(refused(json!([gateway()]), all.clone()), [""; 0]);
    assert_eq!(refused(json!([istio()]), all), [""; 0]);
    assert_eq!(
        refused(
            json!([nginx()]),
            json!([{"weight": 5}, {"match": header("yes")}, {"match": cookie("always")}])
        ),
        [""; 0]
    );
    assert_eq!(refused(json!([]), json!([{"weight": 5}])), [""; 0]);
    assert_eq!(
        refusals(&exposure(json!([gateway()])), &Strategy::default()),
        [""; 0]
    );
}

#[test]
fn what_is_out_of_reach_is_refused_in_words() {
    let two = json!([{"headers": [{"name": "a", "value": "b"}]}, {"headers": [{"name": "c", "value": "d"}]}]);
    let query = json!([{"queryParams": [{"name": "a", "value": "b"}]}]);
    let nginx_says = |field: &str, why: &str| {
        format!("route old: router IngressNginx: strategy.canary.steps[0].{field}: {why}")
    };
    for (asked, expected) in [
        (
            json!({"mirrorPercent": 5}),
            nginx_says(
                "mirrorPercent",
                "a canary of ingress-nginx cannot mirror; use a gateway or istio route",
            ),
        ),
        (
            json!({"match": two}),
            nginx_says("match", "ingress-nginx takes one entry; write one"),
        ),
        (
            json!({"match": query}),
            nginx_says("match", "ingress-nginx cannot match queryParams; use a header"),
        ),
        (
            json!({"match": cookie("yes")}),
            nginx_says("match", "ingress-nginx knows cookies with the value always only"),
        ),
        (
            json!({"match": header("a b")}),
            nginx_says(
                "match",
                "ingress-nginx admits letters, digits and . - _ ~ : / only in names and values",
            ),
        ),
        (
            json!({"match": [{"headers": [{"name": "a", "value": "b"}, {"name": "c", "value": "d"}]}]}),
            nginx_says(
                "match",
                "ingress-nginx matches one header or one cookie; write one",
            ),
        ),
    ] {
        assert_eq!(refused(json!([nginx()]), json!([asked])), [expected], "{asked}");
    }
    let rpc = |field: &str| {
        format!(
            "route rpc: router Gateway: strategy.canary.steps[0].match.{field}: a GRPCRoute cannot match them; use a header"
        )
    };
    assert_eq!(
        refused(json!([grpc()]), json!([{"match": query}])),
        [rpc("queryParams")]
    );
    assert_eq!(
        refused(json!([grpc()]), json!([{"match": cookie("a")}])),
        [rpc("cookies")]
    );
    // Said once however many rules there are.
    let routed = with(gateway(), json!([{"path": "/a"}, {"path": "/b"}]));
    assert_eq!(
        refused(json!([routed]), json!([{"match": cookie("a;b")}])),
        [
            "route public: router Gateway: strategy.canary.steps[0].match.cookies: the value of cookie tester has a \
          semicolon, which no cookie's value can have"
        ]
    );
}

#[test]
fn the_room_in_a_gateway_route_is_counted() {
    let rules: Vec<Value> = (0..9).map(|n| json!({"path": format!("/{n}")})).collect();
    let many = with(gateway(), json!(rules));
    assert_eq!(refused(json!([many]), json!([{"weight": 5}])), [""; 0]);
    assert_eq!(
        refused(json!([many]), json!([{"match": header("yes")}])),
        [
            "route public: router Gateway: strategy.canary.steps[0].match: with it the route would have 18 rules and 18 \
          matches, and 16 and 127 are allowed; write fewer entries, or split the route"
        ]
    );
    let mut full = gateway();
    full["gateway"]["filters"] = json!(vec![json!({"type": "RequestMirror"}); 16]);
    assert_eq!(
        refused(json!([full]), json!([{"mirrorPercent": 5}])),
        [
            "route public: router Gateway: strategy.canary.steps[0].mirrorPercent: a rule may have 16 filters, and \
          mirroring is one more than the route has room for"
        ]
    );
}

#[test]
fn routes_that_cannot_split() {
    let traefik = json!({"name": "inner", "ingress": {"className": "traefik"}});
    assert_eq!(
        refused(json!([gateway(), traefik]), json!([{"weight": 5}])),
        [
            "route inner: router Auto: strategy.canary.steps: an Ingress of class traefik cannot split traffic here, so it \
          stays with the old revision until the new one is promoted"
        ]
    );
    assert_eq!(
        refused(json!([]), json!([{"match": header("yes"), "mirrorPercent": 1}])).len(),
        2
    );
}

/// What is said of steps that keep clients.
fn refused_sessions(routes: Value, asked: Value) -> Vec<String> {
    let mut sticky = steps(asked, Router::Auto);
    sticky.canary.as_mut().unwrap().session_affinity = Some(StepAffinity::Cookie);
    refusals(&exposure(routes), &sticky)
}

#[test]
fn who_cannot_keep_clients_says_so() {
    let weights = json!([{"match": header("yes")}, {"weight": 5}, {"weight": 50}]);
    assert_eq!(refused_sessions(json!([nginx()]), weights), [""; 0]);
    let one = || json!([{"weight": 5}]);
    assert_eq!(
        refused_sessions(json!([gateway(), grpc(), istio(), nginx()]), one()),
        [
            "route public: router Gateway: strategy.canary.sessionAffinity: the standard channel of the Gateway API has \
             no session persistence, and where it is tried out it keeps clients at pods, not at a share of weights",
            "route rpc: router Gateway: strategy.canary.sessionAffinity: the standard channel of the Gateway API has no \
             session persistence, and where it is tried out it keeps clients at pods, not at a share of weights",
            "route mesh: router Istio: strategy.canary.sessionAffinity: a VirtualService cannot keep clients at a share \
             of weights: consistent hashing chooses among the pods of one destination, after the weights",
        ]
    );
    assert_eq!(
        refused_sessions(json!([]), one()),
        [
            "no route, router Service: strategy.canary.sessionAffinity: the Service splits connections by numbers of pods \
             alone; add an ingress of ingress-nginx"
        ]
    );
}

#[test]
fn what_a_cookie_of_ingress_nginx_gets_in_the_way_of_is_said() {
    let mixed = with(
        nginx(),
        json!([{"path": "/"}, {"path": "/api", "service": "api"}]),
    );
    assert_eq!(
        refused_sessions(json!([mixed]), json!([{"weight": 5}])),
        [
            "route old: router IngressNginx: strategy.canary.sessionAffinity: its rules lead to more than one Service or \
             port, whose sessions ingress-nginx would take for each other's; give each a route of its own"
        ]
    );
    // A weight holds until another step names one.
    let late = json!([{"weight": 5}, {"match": header("yes")}, {"weight": 100}, {"match": header("yes")}]);
    assert_eq!(
        refused_sessions(json!([nginx()]), late),
        [
            "route old: router IngressNginx: strategy.canary.steps[1].match: a client that is kept at the old revision \
             stays there whatever it asks for; put match into a step before the first weight"
        ]
    );
    let mut shrinking = steps(json!([{"weight": 5}]), Router::Auto);
    shrinking.canary.as_mut().unwrap().session_affinity = Some(StepAffinity::Cookie);
    shrinking.stable_scale = Some(StableScale::Follow);
    assert_eq!(
        refusals(&exposure(json!([nginx()])), &shrinking),
        [
            "route old: router IngressNginx: strategy.stableScale: clients that are kept do not follow the weights, so \
             pods of the old revision must not: use Full with canary.sessionAffinity"
        ]
    );
}

// --- claims

#[test]
fn claims_of_routes() {
    let of = |child: &Child| -> Vec<String> {
        claims(child.kind, &child.object)
            .into_iter()
            .map(|claim| format!("{}{} by {}", claim.host, claim.path, claim.scope))
            .collect()
    };
    let all =
        |route: Value| -> Vec<String> { rendered(&route, Some(share(5))).iter().flat_map(of).collect() };
    let rules = json!([{"path": "/a/"}, {"path": "/b", "pathType": "Exact"}]);
    assert_eq!(
        all(with(gateway(), rules.clone())),
        [
            "a.example/a by Gateway shop/edge",
            "a.example/b (exact) by Gateway shop/edge"
        ]
    );
    assert_eq!(all(grpc()), ["*/shop.v1.Cart by Gateway shop/edge"]);
    assert_eq!(
        all(with(nginx(), rules.clone())),
        [
            "a.example/a by IngressClass nginx",
            "a.example/b (exact) by IngressClass nginx"
        ]
    );
    assert_eq!(
        all(with(istio(), rules)),
        [
            "a.example/a by Gateway infra/edge of Istio",
            "a.example/a (exact) by Gateway infra/edge of Istio",
            "a.example/b (exact) by Gateway infra/edge of Istio"
        ]
    );
    assert_eq!(
        all(json!({"name": "a", "istio": {}})),
        ["orders.shop/ by Gateway mesh of Istio"]
    );
    assert_eq!(all(json!({"name": "a", "istio": {"mode": "Delegate"}})), [""; 0]);
    // Other headers, another claim.
    let with_header = with(gateway(), json!([{"headers": [{"name": "x", "value": "y"}]}]));
    assert_ne!(all(with_header), all(gateway()));
}

// --- Services of revisions

#[test]
fn services_of_one_revision() {
    let exposure: ExposureSpec = serde_json::from_value(json!({
        "ports": [{"name": "http", "containerPort": 8080, "servicePort": 80}],
        "service": {"type": "LoadBalancer", "sessionAffinity": "ClientIP", "annotations": {"cloud": "paid"}},
    }))
    .unwrap();
    let exposure = Exposure::of(&exposure);
    let revision = revision_service(&identity(), CANDIDATE, &exposure).unwrap();
    let preview = preview_service(&identity(), CANDIDATE, &exposure).unwrap();
    assert_eq!(
        (revision.name.as_str(), preview.name.as_str()),
        (CANDIDATE, "orders-preview")
    );
    for child in [revision, preview] {
        assert_eq!(child.kind, ChildKind::Service);
        assert_eq!(
            child.object["metadata"]["labels"]["microservice.dev/revision"],
            CANDIDATE
        );
        assert_eq!(child.object["metadata"]["annotations"], Value::Null);
        assert_eq!(
            child.object["spec"],
            json!({
                "type": "ClusterIP",
                "selector": {"app.kubernetes.io/name": "orders", "app.kubernetes.io/instance": "orders",
                    "microservice.dev/revision": CANDIDATE},
                "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}],
            })
        );
    }
    let none = Exposure::of(&ExposureSpec::default());
    assert_eq!(revision_service(&identity(), CANDIDATE, &none), None);
    assert_eq!(preview_service(&identity(), CANDIDATE, &none), None);
}

#[test]
fn a_first_deployment_has_virtual_services() {
    let mut described = microservice_operator::api::Microservice::new(
        "orders",
        serde_json::from_value(
            json!({"image": "a:1", "ports": [{"name": "http", "containerPort": 80}],
            "routes": [istio()]}),
        )
        .unwrap(),
    );
    described.metadata.namespace = Some("shop".to_owned());
    let children = offline(
        &described,
        "shop",
        &microservice_operator::render::Companions::default(),
    );
    let found = children
        .iter()
        .find(|child| child.kind == ChildKind::VirtualService)
        .unwrap();
    assert_eq!(found.object["apiVersion"], "networking.istio.io/v1");
    assert_eq!(
        found.object["spec"]["http"][0]["route"][0]["destination"]["host"],
        "orders"
    );
}
