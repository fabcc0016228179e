//! What the operator asks of the API server. Prints the figures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::audit::{AuditLog, OPERATOR, Request};
use e2e::environment::say;
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Scenario, podinfo, scenario};
use k8s_openapi::api::core::v1::Pod;
use microservice_operator::api::Microservice;
use serde_json::json;

fn brief(requests: &[Request]) -> Vec<String> {
    requests.iter().map(Request::brief).collect()
}

/// How often mere counts may have been written from the first of these requests to the last one.
fn waited(requests: &[Request]) -> usize {
    let ends = requests.first().zip(requests.last());
    let took = ends.map(|(first, last)| last.received.duration_since(first.received).as_secs());
    usize::try_from(took.unwrap_or_default() / 5).unwrap()
}

/// Waits until no request has come for a while, and sees that all Microservices are healthy.
async fn settled(s: &Scenario) {
    s.audit.quiet().await;
    for service in s.list::<Microservice>().await {
        assert!(service.is_healthy(), "{:?}", service.status);
    }
}

#[test]
fn making_a_service_costs_its_children_and_two_status_writes() {
    scenario("cost-create").run(async |s| {
        let log = AuditLog::from_now(&s.namespace);
        s.deploy(
            &podinfo("web", "1.0.0").spec(json!({"replicas": 2, "config": {"env": {"COLOR": "green"}}})),
        )
        .await;
        settled(s).await;
        let requests = log.asked();
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for request in &requests {
            assert!(request.writes(), "a read: {}", request.brief());
            assert!(request.accepted(), "refused: {}", request.brief());
            let subresource = if request.subresource.is_empty() {
                ""
            } else {
                "/status"
            };
            *counts
                .entry(format!("{}{subresource}", request.resource))
                .or_default() += 1;
        }
        say(&format!(
            "measured: creating a service: {counts:?}, {} requests in all, no read",
            requests.len()
        ));
        let status = counts.remove("microservices/status").unwrap_or_default();
        // One at the start and one at the end. Pods that take longer are counted in between, every five seconds at most.
        assert!(
            (1..=2 + waited(&requests)).contains(&status),
            "{status} status writes: {:?}",
            brief(&requests)
        );
        let children = [
            "configmaps",
            "controllerrevisions",
            "deployments",
            "poddisruptionbudgets",
            "services",
        ];
        let expected: BTreeMap<String, usize> = children.iter().map(|kind| ((*kind).to_owned(), 1)).collect();
        assert_eq!(counts, expected, "{:?}", brief(&requests));
    });
}

#[test]
fn a_change_costs_little_more() {
    scenario("cost-change").run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        s.deploy(&manifest).await;
        settled(s).await;
        let log = AuditLog::from_now(&s.namespace);
        s.deploy(&manifest.version("1.1.0")).await;
        settled(s).await;
        let requests = log.asked();
        let reads = requests.iter().filter(|request| !request.writes()).count();
        let events = requests.iter().filter(|request| request.resource == "events").count();
        let status = requests.iter().filter(|request| request.subresource == "status").count();
        say(&format!(
            "measured: rolling out a change over 3 pods: {} requests: {reads} reads, {events} events, {status} status writes",
            requests.len()
        ));
        assert_eq!(reads, 0, "{:?}", brief(&requests));
        // Pods that take long are counted every five seconds at most, beside six decisions.
        let most = 10.max(6 + waited(&requests));
        assert!(status <= most, "{status} status writes: {:?}", brief(&requests));
    });
}

#[test]
fn settled_services_cost_nothing_and_a_restart_writes_nothing() {
    const SERVICES: usize = 5;
    scenario("cost-settled").run(async |s| {
        for i in 0..SERVICES {
            s.apply(&podinfo(&format!("web-{i}"), "1.0.0").spec(json!({"replicas": 1 + i % 2})))
                .await;
        }
        for i in 0..SERVICES {
            s.healthy(&format!("web-{i}")).await;
        }
        settled(s).await;
        let uids: Vec<_> = s
            .list::<Pod>()
            .await
            .into_iter()
            .map(|pod| pod.metadata.uid)
            .collect();
        // The claim is a minute, so it is a minute.
        let log = AuditLog::from_now(&s.namespace);
        throughout(Duration::from_secs(60), "silence", async || {
            let requests = brief(&log.asked());
            if requests.is_empty() {
                Ok(())
            } else {
                Err(format!("{requests:?}"))
            }
        })
        .await;
        let watches = log.requests(OPERATOR).len();
        say(&format!(
            "measured: {SERVICES} settled services for 60 s: no request but {watches} watches renewed"
        ));
        let log = AuditLog::from_now(&s.namespace);
        s.restart_operator().await;
        settled(s).await;
        let requests = log.asked();
        let writes: Vec<_> = requests
            .iter()
            .filter(|request| request.writes())
            .map(Request::brief)
            .collect();
        let lists = requests.iter().filter(|request| request.verb == "list").count();
        say(&format!(
            "measured: a restart over {SERVICES} settled services: {lists} lists, {} writes",
            writes.len()
        ));
        assert_eq!(writes, [""; 0]);
        assert_eq!(lists, requests.len(), "{:?}", brief(&requests));
        let after: Vec<_> = s
            .list::<Pod>()
            .await
            .into_iter()
            .map(|pod| pod.metadata.uid)
            .collect();
        assert_eq!(after, uids);
    });
}
