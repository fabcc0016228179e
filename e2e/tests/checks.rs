//! Checks with limits of their own: calls and Jobs that decide whether a step ends, or a revision goes back.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use e2e::release::{canary, in_force, rollout};
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::webhook::Receiver;
use e2e::{Manifest, eventually, podinfo, scenario};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Secret;
use microservice_operator::api::{Blame, CheckVerdict, Microservice};
use serde_json::{Value, json};

/// A service whose first step, at half of the traffic, waits for its checks.
fn service(checks: Value, steps: Value) -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 2}))
        .spec(canary(steps))
        .spec(json!({"strategy": {"analysis": {"source": "None", "checks": checks}}}))
}

fn score(receiver: &Receiver) -> Value {
    json!({
        "name": "score", "intervalSeconds": 1, "count": 2,
        "web": {
            "url": receiver.url("/scores/{{revision}}"), "tokenFrom": {"name": "quality", "key": "token"},
            "value": {"jsonPath": "$.data.score", "min": "0.9"},
        },
    })
}

fn unavailable(found: &Microservice) -> bool {
    found.said().conditions.iter().any(|condition| {
        condition.type_ == "AnalysisReady"
            && condition.status == "False"
            && condition.reason == "SourceUnavailable"
    })
}

#[test]
fn a_call_holds_a_step_and_lets_it_go() {
    scenario("check-web").real_pods().run(async |s| {
        let receiver = Receiver::start(&[503]).await;
        s.create::<Secret>(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "quality"}, "stringData": {"token": "s3cret"},
        }))
        .await;
        let steps = json!([{"weight": 50, "checks": ["score"]}]);
        let first = service(json!([score(&receiver)]), steps);
        let stable = s.deploy(&first).await.stable().unwrap();
        assert_eq!(receiver.deliveries().len(), 0, "the first revision is compared with nothing");

        let second = first.clone().version("1.1.0");
        s.apply(&second).await;
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        s.wait_for("web", "to say that it cannot be measured", unavailable).await;
        throughout(Duration::from_secs(5), "the step to be held", async || {
            let at = rollout(&s.service("web").await);
            (at.step == Some(1)).then_some(()).ok_or(format!("{at:?}"))
        })
        .await;
        let asked = receiver.deliveries().pop().unwrap();
        assert_eq!(asked.path, format!("/scores/{candidate}"));
        assert_eq!(asked.headers["authorization"], "Bearer s3cret");
        receiver.answer(200, &json!({"data": {"score": 0.95}}));
        let healthy = s.healthy("web").await;
        assert_eq!(healthy.stable(), Some(candidate.clone()));
        assert_ne!(candidate, stable);

        // And one that is not good enough goes back.
        receiver.answer(200, &json!({"data": {"score": 0.5}}));
        s.apply(&second.env("TRIED", "1")).await;
        let back = s.taken_back("web").await;
        let cause = rollout(&back).cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str(), cause.message.as_str()),
            (
                Blame::Candidate,
                "CheckFailed",
                "score: 1 bad measurements, 0 are tolerated: 0.5 is less than 0.9"
            )
        );
        let check = rollout(&back).checks.remove(0);
        assert_eq!((check.verdict, check.value.as_deref()), (CheckVerdict::Failing, Some("0.5")));
        s.assert_served_by("web", "1.1.0").await;
        // Nobody is asked in peace.
        let asked = receiver.deliveries().len();
        throughout(Duration::from_secs(3), "nobody to be asked", async || {
            let now = receiver.deliveries().len();
            (now == asked).then_some(()).ok_or(format!("{now} calls, {asked} before"))
        })
        .await;
    });
}

fn suite(code: i32) -> Value {
    json!([{"name": "suite", "job": {
        "image": "registry.local/misbehave:1.0.0", "timeoutSeconds": 120,
        "env": [
            {"name": "EXIT_AFTER_SECONDS", "value": "1"}, {"name": "EXIT_CODE", "value": code.to_string()},
            {"name": "EXIT_MESSAGE", "value": "40 cases"},
        ],
    }}])
}

#[test]
fn a_job_decides_in_each_step() {
    scenario("check-job").real_pods().run(async |s| {
        let jobs = s.record::<Job>();
        let first = service(suite(0), json!([{"weight": 50}, {"weight": 100}]));
        s.deploy(&first).await;
        s.deploy(&first.clone().version("1.1.0")).await;
        let mut seen: Vec<String> = jobs
            .all()
            .into_iter()
            .filter_map(|seen| seen.object.metadata.name)
            .collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 3, "in both steps and in the bake: {seen:?}");
        eventually("the Jobs to be gone", async || {
            let left = s.list::<Job>().await.len();
            (left == 0).then_some(()).ok_or(format!("{left} Jobs"))
        })
        .await;

        let bad = service(suite(3), json!([{"weight": 50}, {"weight": 100}]));
        s.apply(&bad.version("1.1.0").env("TRIED", "1")).await;
        let cause = rollout(&s.taken_back("web").await).cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Candidate, "CheckFailed")
        );
        assert!(
            cause.message.starts_with("suite: 1 bad measurements"),
            "{}",
            cause.message
        );
        assert!(cause.message.contains("40 cases"), "{}", cause.message);
        s.assert_served_by("web", "1.1.0").await;
    });
}
