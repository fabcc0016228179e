//! Objectives, judged by what the pods themselves tell of the requests that a gateway sends them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::gateway::Gateway;
use e2e::judged::{
    assert_taken_back, check, no_requests, service, shared_trouble, traffic, twenty_equal_releases,
};
use e2e::release::timed;
use e2e::status::StatusExt;
use e2e::{Scenario, eventually, scenario};
use microservice_operator::api::{CheckVerdict, Microservice};
use serde_json::json;

#[test]
fn a_candidate_that_fails_a_third_of_its_requests_is_found_out() {
    scenario("judge-errors").real_pods().run(async |s| {
        let (reason, message) = assert_taken_back(s, &json!({}), ["ERROR_PERCENT", "33"]).await;
        assert!(
            ["WorseThanStable", "ObjectiveMissed"].contains(&reason.as_str()),
            "{reason}"
        );
        assert!(message.starts_with("availability: "), "{message}");
        s.event("CheckFailing", "availability fails").await;
        // What was found stays with the cause.
        let found = s.service("web").await;
        let check = check(&found, "availability").expect("it is still there");
        assert_eq!(check.verdict, CheckVerdict::Failing, "{check:?}");
        assert!(
            check.value.is_some() && check.baseline.is_some() && check.samples > 0,
            "{check:?}"
        );
        the_operator_counts_it_and_forgets_the_service(s).await;
    });
}

async fn the_operator_counts_it_and_forgets_the_service(s: &Scenario) {
    let of_web = format!("namespace=\"{}\",service=\"web\"", s.namespace);
    let shown = [
        r#"microservice_operator_rollouts_total{outcome="RolledBack"} 1"#.to_owned(),
        r#"microservice_operator_rollout_duration_seconds_count{outcome="RolledBack"} 1"#.to_owned(),
        r#"microservice_operator_rollbacks_total{reason="Analysis"} 1"#.to_owned(),
        r#"microservice_operator_check_verdicts_total{verdict="Failing"} 1"#.to_owned(),
        format!(r#"microservice_operator_checks{{{of_web},verdict="Failing"}} 1"#),
        format!(r#"microservice_operator_traffic_weight_percent{{{of_web},role="Stable"}} 100"#),
    ];
    eventually("the metrics to say so", async || {
        let page = s.page("/metrics").await;
        let missing = shown
            .iter()
            .find(|line| !page.lines().any(|found| found == line.as_str()));
        missing.map_or(Ok(()), |line| Err(format!("no {line}\n{page}")))
    })
    .await;
    s.delete::<Microservice>("web").await;
    s.gone::<Microservice>("web").await;
    eventually("no series of the service to be left", async || {
        let page = s.page("/metrics").await;
        let left = page.lines().find(|line| line.contains(&of_web));
        left.map_or(Ok(()), |line| Err(line.to_owned()))
    })
    .await;
}

#[test]
fn a_candidate_that_is_slow_is_found_out() {
    scenario("judge-slow").real_pods().run(async |s| {
        let (reason, message) = assert_taken_back(s, &json!({}), ["DELAY_MS", "400"]).await;
        assert!(
            ["WorseThanStable", "ObjectiveMissed"].contains(&reason.as_str()),
            "{reason}"
        );
        assert!(message.starts_with("speed: "), "{message}");
    });
}

#[test]
fn of_twenty_releases_as_good_as_before_none_is_taken_back() {
    scenario("judge-equal")
        .real_pods()
        .run(async |s| twenty_equal_releases(s, &json!({})).await);
}

#[test]
fn a_trouble_that_both_revisions_have_holds_the_release_and_blames_nobody() {
    scenario("judge-shared")
        .real_pods()
        .run(async |s| shared_trouble(s, &json!({})).await);
}

#[test]
fn without_requests_a_step_goes_on_unless_it_is_to_wait_for_them() {
    scenario("judge-quiet")
        .real_pods()
        .run(async |s| no_requests(s, &json!({})).await);
}

#[test]
fn requests_that_cannot_be_read_are_said_to_be_and_stop_nothing() {
    scenario("judge-blind").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let unread = json!({"monitoring": {"path": "/nothing", "kind": "None"}});
        let first = service(&gateway, timed(&[50], 8), &unread);
        s.deploy(&first).await;
        let load = traffic(&gateway).await;
        s.apply(&first.version("1.1.0")).await;
        let found = s
            .wait_for("web", "to say that requests cannot be read", |found| {
                found
                    .condition("AnalysisReady")
                    .is_some_and(|c| c.status == "False" && c.reason == "Unreadable")
            })
            .await;
        let message = found.condition("AnalysisReady").unwrap().message;
        assert!(message.contains("404"), "{message}");
        s.healthy("web").await;
        load.stop().assert_spotless();
    });
}
