//! Objectives, judged by what the pods themselves tell of the requests that a gateway sends them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use e2e::environment::say;
use e2e::gateway::Gateway;
use e2e::load::{Connections, Load, Requests};
use e2e::release::{by_gateway, canary, in_force, is_in_force, rollout, served_by, timed};
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Manifest, Scenario, eventually, misbehave, scenario};
use jiff::Timestamp;
use microservice_operator::api::{Blame, CheckStatus, CheckVerdict, Microservice, RolloutState};
use serde_json::{Value, json};

/// What good means: errors, and answers within 250 ms.
fn objectives() -> Value {
    json!({"objectives": [
        {"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}},
        {"name": "speed", "goodPercent": "99", "indicator": {"latency": {"thresholdMilliseconds": 250}}},
    ]})
}

fn service(gateway: &Gateway, steps: Value) -> Manifest {
    misbehave("web", "1.0.0")
        .spec(json!({"replicas": 4}))
        .spec(by_gateway(gateway, "web"))
        .spec(canary(steps))
        .spec(objectives())
}

/// 200 requests a second, on which a release is made.
async fn traffic(gateway: &Gateway) -> Load {
    let requests: Requests = gateway.requests("web").connections(Connections::KeptAlive);
    served_by(&requests, "1.0.0").await;
    requests.rate(200.0).start()
}

fn check(found: &Microservice, name: &str) -> Option<CheckStatus> {
    rollout(found).checks.into_iter().find(|check| check.name == name)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// A release of something bad at 10 % of the traffic. Answers why it was taken back.
async fn assert_taken_back(s: &Scenario, gateway: &Gateway, bad: [&str; 2]) -> (String, String) {
    let first = service(gateway, timed(&[10, 50], 60));
    let stable = s.deploy(&first).await.stable().unwrap();
    let load = traffic(gateway).await;
    s.apply(&first.version("1.1.0").env(bad[0], bad[1])).await;
    let after = s.taken_back("web").await;
    let ended = Timestamp::now();
    assert_eq!(after.stable().unwrap(), stable);
    let cause = rollout(&after).cause.unwrap();
    assert_eq!(cause.blame, Blame::Candidate);
    let candidate = after.candidate().unwrap();
    assert!(cause.message.contains(&candidate), "{}", cause.message);
    // What was said goes into an event too.
    s.event("RolledBack", &cause.reason).await;
    load.seen_since(load.mark(), 200).await;
    let tally = load.stop();
    let (first_seen, last_seen) = (tally.first["1.1.0"], tally.latest["1.1.0"]);
    assert!(last_seen < ended);
    let hurt = tally.failures.len();
    say(&format!(
        "measured: {}: {:.2} s from the candidate's first answer to its last one, {hurt} of {} requests failed; {}: {}",
        s.name,
        seconds(first_seen, last_seen),
        tally.sent(),
        cause.reason,
        cause.message
    ));
    assert!(
        tally.failures.iter().all(|(at, _)| *at <= ended),
        "{:?}",
        tally.failures.last()
    );
    (cause.reason, cause.message)
}

#[test]
fn a_candidate_that_fails_a_third_of_its_requests_is_found_out() {
    scenario("judge-errors").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let (reason, message) = assert_taken_back(s, &gateway, ["ERROR_PERCENT", "33"]).await;
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
        let gateway = Gateway::start(s).await;
        let (reason, message) = assert_taken_back(s, &gateway, ["DELAY_MS", "400"]).await;
        assert!(
            ["WorseThanStable", "ObjectiveMissed"].contains(&reason.as_str()),
            "{reason}"
        );
        assert!(message.starts_with("speed: "), "{message}");
    });
}

#[test]
fn of_twenty_releases_as_good_as_before_none_is_taken_back() {
    scenario("judge-equal").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service(&gateway, timed(&[10, 50], 3)).spec(json!({
            "replicas": 2, "strategy": {"bakeSeconds": 1, "drainSeconds": 1},
        }));
        s.deploy(&first).await;
        let load = traffic(&gateway).await;
        for release in 1..=20 {
            s.apply(&first.clone().env("RELEASE", &release.to_string())).await;
            let seq = release + 1;
            s.wait_for("web", &format!("to have made release {release}"), |found| {
                found.is_healthy() && found.said().history.first().is_some_and(|entry| entry.seq == seq)
            })
            .await;
        }
        let history = s.service("web").await.said().history;
        assert!(
            history.iter().all(|entry| entry.outcome == "Promoted"),
            "{history:?}"
        );
        let tally = load.stop();
        tally.assert_spotless();
        say(&format!(
            "measured: {}: 20 releases, {} requests, none taken back",
            s.name,
            tally.sent()
        ));
    });
}

#[test]
fn a_trouble_that_both_revisions_have_holds_the_release_and_blames_nobody() {
    scenario("judge-shared").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service(&gateway, timed(&[50], 10));
        let stable = s.deploy(&first).await.stable().unwrap();
        let load = traffic(&gateway).await;
        errors(s, &stable, 10).await;
        s.apply(&first.version("1.1.0")).await;
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        errors(s, &candidate, 10).await;
        let held = |found: &Microservice| {
            check(found, "availability").is_some_and(|check| check.reason == "SharedWithStable")
        };
        let found = s.wait_for("web", "to see the same trouble in both", held).await;
        let seen = check(&found, "availability").unwrap();
        assert_eq!(seen.verdict, CheckVerdict::Inconclusive);
        assert!(
            seen.value.is_some() && seen.baseline.is_some() && seen.samples > 0,
            "{seen:?}"
        );
        // Longer than the step lasts.
        throughout(Duration::from_secs(15), "the release to be held", async || {
            let found = s.service("web").await;
            let at = rollout(&found);
            if at.state == RolloutState::Rolling && at.step == Some(1) {
                Ok(())
            } else {
                Err(format!("{at:?}"))
            }
        })
        .await;
        let words = rollout(&s.service("web").await).waiting_for.unwrap();
        assert!(
            words.contains("the stable revision to recover as well: availability: "),
            "{words}"
        );
        errors(s, &stable, 0).await;
        errors(s, &candidate, 0).await;
        let after = s.healthy("web").await;
        assert_eq!(after.stable().unwrap(), candidate);
        load.stop();
    });
}

/// All pods of a revision fail so many percent of their requests from now on.
async fn errors(s: &Scenario, revision: &str, percent: u32) {
    for pod in s.pods_of(revision).await {
        s.tell(&pod, &format!("/errors?percent={percent}")).await;
    }
}

#[test]
fn without_requests_a_step_goes_on_unless_it_is_to_wait_for_them() {
    scenario("judge-quiet").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service(&gateway, timed(&[50], 2));
        s.deploy(&first).await;
        let second = first.version("1.1.0");
        s.apply(&second).await;
        s.wait_for("web", "to say that there are no requests", |found| {
            is_in_force(found, 1) && check(found, "availability").is_some_and(|c| c.reason == "NoRequests")
        })
        .await;
        let after = s.healthy("web").await;
        let waiting = json!({"strategy": {"analysis": {"noData": "Wait", "minimumRequests": 50}}});
        let third = second.env("RELEASE", "3").spec(waiting);
        s.apply(&third).await;
        let found = s
            .wait_for("web", "to wait for requests", |found| {
                let waiting = rollout(found).waiting_for.unwrap_or_default();
                waiting.contains("of 50 requests of") && is_in_force(found, 1)
            })
            .await;
        assert_ne!(found.candidate(), after.stable());
        let load = gateway.requests("web").rate(100.0).start();
        let last = s.healthy("web").await;
        assert_eq!(last.stable(), found.candidate());
        load.stop().assert_spotless();
    });
}

#[test]
fn requests_that_cannot_be_read_are_said_to_be_and_stop_nothing() {
    scenario("judge-blind").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service(&gateway, timed(&[50], 8))
            .spec(json!({"monitoring": {"path": "/nothing", "kind": "None"}}));
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
