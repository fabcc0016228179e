//! Prometheus is killed while it is asked, and comes back. That disturbs whoever asks it, so it is a file of its own and
//! its tests run one by one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use e2e::environment::say;
use e2e::gateway::Gateway;
use e2e::load::{Connections, Load};
use e2e::prometheus::Away;
use e2e::release::{by_gateway, canary, in_force, rollout, served_by, timed};
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Manifest, Scenario, misbehave, prometheus, scenario};
use microservice_operator::api::{Blame, Microservice, RolloutState};
use serde_json::json;

/// How long the step lasts in which Prometheus is killed: it finds new pods some seconds after they are ready.
const STEP: i32 = 20;

/// One at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn service(gateway: &Gateway) -> Manifest {
    misbehave("web", "1.0.0")
        .spec(json!({
            "replicas": 4, "monitoring": {},
            "objectives": [{"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}}],
        }))
        .spec(by_gateway(gateway, "web"))
        .spec(canary(timed(&[10, 50], STEP)))
        .spec(json!({"strategy": {"analysis": {
            "source": "Prometheus", "prometheus": {"address": prometheus::ADDRESS}, "intervalSeconds": 1,
        }}}))
}

/// A release of something that is as good as before, on 200 requests a second, in its first step.
async fn released(s: &Scenario, gateway: &Gateway) -> Load {
    let first = service(gateway);
    s.deploy(&first).await;
    let requests = gateway.requests("web").connections(Connections::KeptAlive);
    served_by(&requests, "1.0.0").await;
    let load = requests.rate(200.0).start();
    s.apply(&first.version("1.1.0")).await;
    let judged = |found: &Microservice| rollout(found).checks.iter().any(|check| check.samples > 0);
    in_force(s, "web", 1).await;
    s.wait_for("web", "to be judged by Prometheus", judged).await;
    load
}

/// Prometheus is killed, the condition says so, and nothing happens for longer than the step lasts.
async fn killed(s: &Scenario) -> Away {
    let away = Away::by_a_kill();
    let began = Instant::now();
    let found = s
        .wait_for("web", "to say that Prometheus does not answer", |found| {
            found
                .condition("AnalysisReady")
                .is_some_and(|c| c.status == "False" && c.reason == "SourceUnavailable")
        })
        .await;
    let said = found.condition("AnalysisReady").unwrap().message;
    say(&format!(
        "measured: {}: the condition says so {:.1} s after Prometheus is killed: {said}",
        s.name,
        began.elapsed().as_secs_f64(),
    ));
    assert!(said.contains("192.0.2.1:9090"), "{said}");
    throughout(
        Duration::from_secs(u64::try_from(STEP).unwrap() + 5),
        "the release to be held",
        async || {
            let at = rollout(&s.service("web").await);
            if at.state == RolloutState::Rolling && at.step == Some(1) {
                Ok(())
            } else {
                Err(format!("{at:?}"))
            }
        },
    )
    .await;
    // Words alone may wait for the next write.
    s.wait_for("web", "to say that it waits for Prometheus", |found| {
        let at = rollout(found);
        at.step == Some(1) && at.waiting_for.unwrap_or_default().contains("Prometheus: ")
    })
    .await;
    away
}

#[test]
fn while_prometheus_is_killed_nothing_is_promoted_or_taken_back() {
    let _alone = alone();
    scenario("prometheus-killed").real_pods().run(async |s| {
        prometheus::start();
        let gateway = Gateway::start(s).await;
        let load = released(s, &gateway).await;
        let away = killed(s).await;
        drop(away);
        let back = Instant::now();
        s.wait_for("web", "to be past the step", |found| {
            let at = rollout(found);
            at.step == Some(2) || at.state != RolloutState::Rolling
        })
        .await;
        let went_on = back.elapsed();
        let healthy = s.healthy("web").await;
        assert_eq!(healthy.said().history[0].outcome, "Promoted");
        let ready = healthy.condition("AnalysisReady");
        assert!(ready.is_none_or(|condition| condition.status != "False"));
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
        let tally = load.stop();
        tally.assert_spotless();
        say(&format!(
            "measured: {}: it goes on {:.1} s after Prometheus is started again, {} requests, none failed",
            s.name,
            went_on.as_secs_f64(),
            tally.sent()
        ));
    });
}

#[test]
fn what_goes_wrong_while_prometheus_is_away_is_found_out_when_it_is_back() {
    let _alone = alone();
    scenario("prometheus-back").real_pods().run(async |s| {
        prometheus::start();
        let gateway = Gateway::start(s).await;
        let load = released(s, &gateway).await;
        let candidate = s.candidate("web").await;
        let away = killed(s).await;
        for pod in s.pods_of(&candidate).await {
            s.tell(&pod, "/errors?percent=33").await;
        }
        drop(away);
        let back = Instant::now();
        let after = s.taken_back("web").await;
        let cause = rollout(&after).cause.unwrap();
        assert_eq!(cause.blame, Blame::Candidate);
        assert!(
            cause.message.starts_with("availability: ") && cause.message.contains(&candidate),
            "{}",
            cause.message
        );
        let took = back.elapsed();
        load.seen_since(load.mark(), 200).await;
        let tally = load.stop();
        say(&format!(
            "measured: {}: taken back {:.1} s after Prometheus is started again, {} of {} requests failed; {}: {}",
            s.name,
            took.as_secs_f64(),
            tally.failures.len(),
            tally.sent(),
            cause.reason,
            cause.message
        ));
    });
}
