//! Objectives, judged by what a real Prometheus has scraped, which found the pods by our ServiceMonitor.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::say;
use e2e::gateway::Gateway;
use e2e::judged::{assert_taken_back, no_requests, service, shared_trouble, traffic, twenty_equal_releases};
use e2e::release::{by_gateway, canary, is_in_force, rollout, served_by, timed};
use e2e::status::StatusExt;
use e2e::{misbehave, prometheus, scenario};
use microservice_operator::api::Blame;
use serde_json::{Value, json};

/// That the requests are read from Prometheus.
fn source() -> Value {
    json!({"monitoring": {}, "strategy": {"analysis": {
        "source": "Prometheus", "prometheus": {"address": prometheus::ADDRESS}, "intervalSeconds": 1,
    }}})
}

#[test]
fn by_prometheus_a_candidate_that_fails_a_third_of_its_requests_is_found_out() {
    scenario("prometheus-errors").real_pods().run(async |s| {
        prometheus::start();
        let (_, message) = assert_taken_back(s, &source(), ["ERROR_PERCENT", "33"]).await;
        assert!(message.starts_with("availability: "), "{message}");
    });
}

#[test]
fn by_prometheus_a_candidate_that_is_slow_is_found_out() {
    scenario("prometheus-slow").real_pods().run(async |s| {
        prometheus::start();
        let (_, message) = assert_taken_back(s, &source(), ["DELAY_MS", "400"]).await;
        assert!(message.starts_with("speed: "), "{message}");
    });
}

#[test]
fn by_prometheus_of_twenty_releases_as_good_as_before_none_is_taken_back() {
    scenario("prometheus-twenty").real_pods().run(async |s| {
        prometheus::start();
        twenty_equal_releases(s, &source()).await;
    });
}

#[test]
fn by_prometheus_a_trouble_that_both_revisions_have_holds_the_release() {
    scenario("prometheus-shared").real_pods().run(async |s| {
        prometheus::start();
        shared_trouble(s, &source()).await;
    });
}

#[test]
fn by_prometheus_without_requests_a_step_goes_on_unless_it_is_to_wait_for_them() {
    scenario("prometheus-quiet").real_pods().run(async |s| {
        prometheus::start();
        no_requests(s, &source()).await;
    });
}

#[test]
fn by_prometheus_a_candidate_as_good_as_before_is_promoted() {
    scenario("prometheus-equal").real_pods().run(async |s| {
        prometheus::start();
        let gateway = Gateway::start(s).await;
        let first = service(&gateway, timed(&[10, 50], 25), &source());
        s.deploy(&first).await;
        let load = traffic(&gateway).await;
        s.apply(&first.version("1.1.0")).await;
        // It was judged, and not let through unseen.
        let seen = s
            .wait_for("web", "to have seen enough requests", |found| {
                is_in_force(found, 2)
                    && rollout(found).checks.len() == 2
                    && rollout(found).checks.iter().all(|check| check.samples >= 100)
            })
            .await;
        let checks = rollout(&seen).checks;
        let healthy = s.healthy("web").await;
        assert_eq!(healthy.said().history[0].outcome, "Promoted");
        served_by(&gateway.requests("web"), "1.1.0").await;
        let tally = load.stop();
        tally.assert_spotless();
        say(&format!(
            "measured: {}: promoted after {} requests, none failed; {}",
            s.name,
            tally.sent(),
            checks
                .iter()
                .map(|check| format!("{}: {} requests, {}", check.name, check.samples, check.reason))
                .collect::<Vec<_>>()
                .join("; ")
        ));
    });
}

/// The share of the revision's requests that fail, in percent.
fn failed_percent() -> Value {
    json!({
        "name": "failed", "intervalSeconds": 2, "noData": "Wait",
        "prometheus": {
            "query": "100 * (sum(rate(http_requests_total{namespace=\"{{namespace}}\",pod=~\"{{revisionPods}}\",code=\"500\"}[10s])) or vector(0)) \
                      / (sum(rate(http_requests_total{namespace=\"{{namespace}}\",pod=~\"{{revisionPods}}\"}[10s])) > 0)",
            "max": "5",
        },
    })
}

#[test]
fn a_query_with_a_limit_takes_a_bad_candidate_back_and_lets_a_good_one_go() {
    scenario("prometheus-query").real_pods().run(async |s| {
        prometheus::start();
        let gateway = Gateway::start(s).await;
        let first = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 2, "monitoring": {}}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(json!([{"weight": 20, "durationSeconds": 5}])))
            .spec(json!({"strategy": {"analysis": {
                "source": "None", "prometheus": {"address": prometheus::ADDRESS}, "checks": [failed_percent()],
            }}}));
        s.deploy(&first).await;
        let load = traffic(&gateway).await;
        // Its own pods alone count: the other revision is bad a moment later, and this one is promoted.
        s.deploy(&first.clone().version("1.1.0")).await;
        s.apply(&first.version("1.1.0").env("ERROR_PERCENT", "33")).await;
        let cause = rollout(&s.taken_back("web").await).cause.unwrap();
        assert_eq!((cause.blame, cause.reason.as_str()), (Blame::Candidate, "CheckFailed"));
        assert!(cause.message.contains("is more than 5"), "{}", cause.message);
        let tally = load.stop();
        say(&format!(
            "measured: {}: {} of {} requests failed; {}",
            s.name,
            tally.failures.len(),
            tally.sent(),
            cause.message
        ));
    });
}

#[test]
fn an_objective_told_by_queries_takes_a_bad_candidate_back() {
    scenario("prometheus-told").real_pods().run(async |s| {
        prometheus::start();
        let gateway = Gateway::start(s).await;
        let rate = |code: &str| {
            format!("sum(rate(http_requests_total{{namespace=\"{{{{namespace}}}}\",pod=~\"{{{{revisionPods}}}}\"{code}}}[30s]))")
        };
        let first = misbehave("web", "1.0.0")
            .spec(json!({
                "replicas": 2, "monitoring": {},
                "objectives": [{"name": "answered", "goodPercent": "95", "indicator": {
                    "queries": {"good": rate(",code!=\"500\""), "total": rate("")},
                }}],
            }))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&[20], 300)))
            .spec(json!({"strategy": {"analysis": {
                "source": "Prometheus", "prometheus": {"address": prometheus::ADDRESS}, "compareWithStable": "Disabled",
            }}}));
        s.deploy(&first).await;
        let load = traffic(&gateway).await;
        s.apply(&first.version("1.1.0").env("ERROR_PERCENT", "50")).await;
        let cause = rollout(&s.taken_back("web").await).cause.unwrap();
        assert_eq!((cause.blame, cause.reason.as_str()), (Blame::Candidate, "CheckFailed"));
        assert!(cause.message.starts_with("answered: 3 bad measurements"), "{}", cause.message);
        load.stop();
    });
}
