//! Releases whose requests are judged, by whatever source of them: the same scenarios for each.

use std::time::Duration;

use jiff::Timestamp;
use microservice_operator::api::{Blame, CheckStatus, CheckVerdict, Microservice, RolloutState};
use serde_json::{Value, json};

use crate::environment::say;
use crate::gateway::Gateway;
use crate::load::{Connections, Load, Requests};
use crate::release::{by_gateway, canary, in_force, is_in_force, rollout, served_by, timed};
use crate::status::StatusExt;
use crate::wait::throughout;
use crate::{Manifest, Scenario, misbehave};

/// What good means: errors, and answers within 250 ms.
fn objectives() -> Value {
    json!({"objectives": [
        {"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}},
        {"name": "speed", "goodPercent": "99", "indicator": {"latency": {"thresholdMilliseconds": 250}}},
    ]})
}

/// A service with two objectives behind a gateway. `source` is merged into its spec.
pub fn service(gateway: &Gateway, steps: Value, source: &Value) -> Manifest {
    misbehave("web", "1.0.0")
        .spec(json!({"replicas": 4}))
        .spec(by_gateway(gateway, "web"))
        .spec(canary(steps))
        .spec(objectives())
        .spec(source.clone())
}

/// 200 requests a second, on which a release is made.
pub async fn traffic(gateway: &Gateway) -> Load {
    let requests: Requests = gateway.requests("web").connections(Connections::KeptAlive);
    served_by(&requests, "1.0.0").await;
    requests.rate(200.0).start()
}

/// What the status says of a check.
pub fn check(found: &Microservice, name: &str) -> Option<CheckStatus> {
    rollout(found).checks.into_iter().find(|check| check.name == name)
}

fn seconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

/// A release of something bad at 10 % of the traffic. Answers why it was taken back.
pub async fn assert_taken_back(s: &Scenario, source: &Value, bad: [&str; 2]) -> (String, String) {
    let gateway = Gateway::start(s).await;
    let first = service(&gateway, timed(&[10, 50], 60), source);
    let stable = s.deploy(&first).await.stable().unwrap();
    let load = traffic(&gateway).await;
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

/// Twenty releases of what is as good as before: none is taken back.
pub async fn twenty_equal_releases(s: &Scenario, source: &Value) {
    let gateway = Gateway::start(s).await;
    let first = service(&gateway, timed(&[10, 50], 3), source).spec(json!({
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
}

/// Both revisions fail alike: the release is held, and goes on when that is over.
pub async fn shared_trouble(s: &Scenario, source: &Value) {
    let gateway = Gateway::start(s).await;
    // Long enough for Prometheus to find the new pods, and to see them fail.
    let first = service(&gateway, timed(&[50], 30), source);
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
    throughout(Duration::from_secs(35), "the release to be held", async || {
        let found = s.service("web").await;
        let at = rollout(&found);
        if at.state == RolloutState::Rolling && at.step == Some(1) {
            Ok(())
        } else {
            Err(format!("{at:?}"))
        }
    })
    .await;
    // Words alone may wait for the next write.
    s.wait_for("web", "to say that it waits for the stable revision", |found| {
        let words = rollout(found).waiting_for.unwrap_or_default();
        is_in_force(found, 1) && words.contains("the stable revision to recover as well: availability: ")
    })
    .await;
    errors(s, &stable, 0).await;
    errors(s, &candidate, 0).await;
    let after = s.healthy("web").await;
    assert_eq!(after.stable().unwrap(), candidate);
    load.stop();
}

/// All pods of a revision fail so many percent of their requests from now on.
async fn errors(s: &Scenario, revision: &str, percent: u32) {
    for pod in s.pods_of(revision).await {
        s.tell(&pod, &format!("/errors?percent={percent}")).await;
    }
}

/// No requests at all: a step goes on, or waits where it is to.
pub async fn no_requests(s: &Scenario, source: &Value) {
    let gateway = Gateway::start(s).await;
    // Long enough for Prometheus to find the new pods.
    let first = service(&gateway, timed(&[50], 20), source);
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
}
