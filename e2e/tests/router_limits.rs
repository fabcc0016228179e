//! What a router cannot do is said, and harms nobody.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::gateway::{Gateway, route_accepted};
use e2e::release::{ROUTE_OBJECT, by_gateway, canary, served_by};
use e2e::status::StatusExt;
use e2e::{podinfo, scenario};
use k8s_openapi::api::networking::v1::Ingress;
use serde_json::json;

#[test]
fn a_gateway_that_cannot_mirror_holds_the_step_and_serves_on() {
    scenario("mirror").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(json!([{"mirrorPercent": 10, "durationSeconds": 2}])));
        s.deploy(&first).await;
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        let load = requests.rate(100.0).start();
        s.apply(&first.clone().version("1.1.0")).await;
        s.wait_for("web", "to say that the Gateway cannot mirror", |found| {
            found.is_current()
                && found
                    .said()
                    .rollout
                    .and_then(|rollout| rollout.waiting_for)
                    .is_some_and(|words| words.contains("does not list HTTPRouteRequestMirror"))
        })
        .await;
        // Traefik would answer each request of such a rule with an error.
        s.apply(
            &first
                .version("1.1.0")
                .spec(json!({"strategy": {"canary": {"steps": [{"weight": 50}]}}})),
        )
        .await;
        s.healthy("web").await;
        load.stop().assert_spotless();
    });
}

#[test]
fn two_that_claim_one_address_are_told_of_each_other() {
    scenario("conflict").run(async |s| {
        let host = format!("web.{}.example", s.namespace);
        let rule = |service: &str| {
            json!({"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix",
                "backend": {"service": {"name": service, "port": {"number": 80}}}}]}})
        };
        s.create::<Ingress>(json!({"metadata": {"name": "legacy"},
            "spec": {"ingressClassName": "nginx", "rules": [rule("old")]}}))
            .await;
        s.deploy(&podinfo("web", "1.0.0").spec(json!({"routes": [
            {"name": "public", "hosts": [host], "ingress": {"className": "nginx"}},
        ]})))
        .await;
        let told = s
            .wait_for("web", "to be told of the other", |found| {
                found.reason("RoutesReady", "False").as_deref() == Some("RouteConflict")
            })
            .await;
        assert_eq!(
            told.condition("RoutesReady").unwrap().message,
            format!(
                "Ingress web-public claims {host}/ of IngressClass nginx, and so does Ingress {}/legacy: give one of them \
                 another host or path",
                s.namespace
            )
        );
        s.delete::<Ingress>("legacy").await;
        s.wait_for("web", "to be alone again", |found| found.condition("RoutesReady").is_none())
            .await;
    });
}
