//! Work that a release waits for: Jobs before a revision gets pods, and hooks before a step's traffic moves.
//!
//! What came first is told by resource versions, which etcd counts over all objects of the cluster.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::audit::OPERATOR;
use e2e::environment::say;
use e2e::gateway::{Gateway, record, route_accepted};
use e2e::load::Requests;
use e2e::recorder::{Recorder, Sighting};
use e2e::release::{
    ROUTE_OBJECT, by_gateway, by_hand, canary, in_force, promote, rollout, served_by, trial_value,
};
use e2e::scenario::revision_of;
use e2e::status::StatusExt;
use e2e::webhook::Receiver;
use e2e::{Manifest, Scenario, eventually, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DynamicObject;
use microservice_operator::api::{Blame, Microservice, Phase};
use serde_json::{Value, json};

/// Requests after which a version that gave none of the answers is taken for gone.
const MANY: u64 = 300;

/// The container of a Job that ends by itself.
fn work(code: i32, seconds: i32, words: &str) -> Value {
    json!({
        "image": "registry.local/misbehave:1.0.0",
        "env": [
            {"name": "EXIT_AFTER_SECONDS", "value": seconds.to_string()},
            {"name": "EXIT_CODE", "value": code.to_string()},
            {"name": "EXIT_MESSAGE", "value": words},
        ],
        // On a busy machine a pod alone takes seconds to start.
        "timeoutSeconds": 120,
    })
}

fn named(name: &str, mut work: Value) -> Value {
    work["name"] = json!(name);
    work
}

fn version_of(object: &impl ResourceExt) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}

fn has_ended(job: &Job, types: [&str; 2]) -> bool {
    let status = job.status.as_ref();
    let conditions = status
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    conditions
        .iter()
        .any(|condition| types.contains(&condition.type_.as_str()) && condition.status == "True")
}

fn has_succeeded(job: &Job) -> bool {
    has_ended(job, ["SuccessCriteriaMet", "Complete"])
}

/// The Jobs of a revision that there ever were, in the order in which they were made.
fn jobs_of(jobs: &Recorder<Job>, revision: &str) -> Vec<Job> {
    let mut first: Vec<Job> = Vec::new();
    for Sighting { object, .. } in jobs.all() {
        if revision_of(&object) == revision && !first.iter().any(|job| job.uid() == object.uid()) {
            first.push(object);
        }
    }
    first
}

/// The first state of a Job in which it has succeeded.
async fn success(jobs: &Recorder<Job>, job: &Job) -> Job {
    let done = jobs
        .first("the Job to succeed", |found| {
            found.uid() == job.uid() && has_succeeded(found)
        })
        .await;
    done.object
}

/// The pods of a revision that there ever were, but for those of Jobs: these carry no label of the revision's.
fn first_pod(pods: &Recorder<Pod>, revision: &str) -> Option<Pod> {
    pods.all()
        .into_iter()
        .map(|sighting| sighting.object)
        .find(|pod| revision_of(pod) == revision)
}

/// What the status says about a revision that was rejected, and why.
fn rejection(found: &Microservice) -> (String, String) {
    let candidate = found.candidate().unwrap();
    let verdict = found.revision(&candidate).unwrap().rejected;
    let verdict = verdict.expect("it was rejected");
    (verdict.reason, verdict.message)
}

#[test]
fn a_job_runs_once_before_the_first_pod_of_each_revision() {
    scenario("pre-deploy").real_pods().run(async |s| {
        let (jobs, pods, deployments) = (s.record::<Job>(), s.record::<Pod>(), s.record::<Deployment>());
        let first = podinfo("web", "1.0.0").spec(json!({
            "replicas": 2,
            "preDeploy": [named("migrate", work(0, 1, "done")), named("warm", work(0, 0, "done"))],
        }));
        let one = s.deploy(&first).await.stable().unwrap();
        let load = s.load("web").await;
        let two = s.deploy(&first.clone().version("1.1.0")).await.stable().unwrap();
        assert_ne!(one, two);
        for revision in [&one, &two] {
            let [migrate, warm] = &jobs_of(&jobs, revision)[..] else {
                panic!("{revision} had {:?}", jobs_of(&jobs, revision));
            };
            let migrated = version_of(&success(&jobs, migrate).await);
            assert!(version_of(warm) > migrated, "they run one after the other");
            let warmed = version_of(&success(&jobs, warm).await);
            let pod = first_pod(&pods, revision).expect("it has pods");
            assert!(
                version_of(&pod) > warmed,
                "{} was there before its Jobs were done",
                pod.name_any()
            );
            let asked = deployments.all().into_iter().find(|sighting| {
                let replicas = sighting.object.spec.as_ref().and_then(|spec| spec.replicas);
                revision_of(&sighting.object) == *revision && replicas != Some(0)
            });
            assert!(version_of(&asked.expect("it was asked for").object) > warmed);
        }
        // Neither another process nor a way back by the spec runs them again.
        s.restart_operator().await;
        assert_eq!(s.deploy(&first).await.stable().unwrap(), one);
        assert_eq!((jobs_of(&jobs, &one).len(), jobs_of(&jobs, &two).len()), (2, 2));
        // A restart makes a new revision of the same template, whose Jobs run.
        s.annotate("web", "microservice.dev/restart", &one).await;
        let found = s
            .wait_for("web", "to be restarted", |found| {
                found.is_healthy() && found.stable().as_ref() != Some(&one)
            })
            .await;
        assert_eq!(jobs_of(&jobs, &found.stable().unwrap()).len(), 2);
        load.stop().assert_spotless();
    });
}

#[test]
fn a_job_that_fails_takes_the_revision_back_before_it_ever_had_a_pod() {
    scenario("pre-deploy-fail").real_pods().run(async |s| {
        let (jobs, pods) = (s.record::<Job>(), s.record::<Pod>());
        let first = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&first).await.stable().unwrap();
        let load = s.load("web").await;
        let bad = first.clone().version("1.1.0").spec(json!({
            "preDeploy": [named("migrate", work(3, 0, "fatal: column total exists already"))],
        }));
        s.apply(&bad).await;
        let found = s.taken_back("web").await;
        let (reason, message) = rejection(&found);
        assert_eq!(reason, "PreDeployFailed");
        for words in ["Job migrate", "exit code 3", "fatal: column total exists already"] {
            assert!(message.contains(words), "{message}");
        }
        say(&format!("measured: {}: {message}", s.name));
        assert_eq!(found.said().phase, Some(Phase::Degraded));
        assert_eq!(found.stable().as_ref(), Some(&stable));
        assert_eq!(
            rollout(&found).cause.map(|cause| cause.blame),
            Some(Blame::Candidate)
        );
        let rejected = found.candidate().unwrap();
        // A person may ask for it once more: it is another try, and another Job.
        let trial = trial_value(&found);
        s.annotate("web", "microservice.dev/retry", &trial).await;
        let again = s
            .wait_for("web", "to be tried again and taken back", |found| {
                found.is_taken_back() && trial_value(found) != trial
            })
            .await;
        assert_eq!(rejection(&again).0, "PreDeployFailed");
        assert_eq!(jobs_of(&jobs, &rejected).len(), 2);

        // The words may also be in the log alone.
        let silent = json!({"preDeploy": [{
            "name": "migrate", "image": "registry.local/misbehave:1.0.0",
            "env": [{"name": "DELAY_MS", "value": "soon"}], "timeoutSeconds": 120,
        }]});
        s.apply(&first.clone().version("2.0.0").spec(silent)).await;
        let found = s
            .wait_for("web", "to take the next one back", |found| {
                found.is_taken_back() && found.candidate().as_ref() != Some(&rejected)
            })
            .await;
        let message = rejection(&found).1;
        assert!(
            message.contains("DELAY_MS=\"soon\" is no whole number"),
            "{message}"
        );
        for revision in [&rejected, &found.candidate().unwrap()] {
            assert!(first_pod(&pods, revision).is_none(), "{revision} had a pod");
        }
        // What is mended goes out.
        let good = json!({"preDeploy": [named("migrate", work(0, 0, "done"))]});
        s.deploy(&first.version("2.0.0").spec(good)).await;
        served_by(&Requests::to(s.address("web", "http").await), "2.0.0").await;
        load.stop().assert_spotless();
    });
}

/// podinfo behind a Gateway, with a release whose second step has hooks.
fn hooked(gateway: &Gateway, hooks: Value) -> Manifest {
    let mut steps = by_hand(&[10, 50]);
    steps[1]["hooks"] = hooks;
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 2}))
        .spec(by_gateway(gateway, "web"))
        .spec(canary(steps))
}

/// The weights of the rule of a route, in the order of its backends.
fn weights(route: &DynamicObject) -> Vec<i64> {
    let backends = route.data["spec"]["rules"][0]["backendRefs"].as_array().cloned();
    let weight = |backend: &Value| backend["weight"].as_i64().unwrap_or(1);
    backends.unwrap_or_default().iter().map(weight).collect()
}

/// The first state of the route in which half of the traffic has moved.
async fn half_moved(routes: &Recorder<DynamicObject>) -> Sighting<DynamicObject> {
    routes
        .first("half of the traffic to move", |route| weights(route) == [50, 50])
        .await
}

#[test]
fn a_job_of_a_step_runs_before_its_traffic_moves() {
    scenario("hook-job").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = hooked(&gateway, json!([{"name": "smoke", "job": work(0, 2, "done")}]));
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        served_by(&gateway.requests("web"), "1.0.0").await;
        let (jobs, routes) = (
            s.record::<Job>(),
            record(s, "gateway.networking.k8s.io/v1", "HTTPRoute"),
        );
        let load = gateway.requests("web").rate(200.0).start();
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        let candidate = found.candidate().unwrap();
        assert!(jobs.all().is_empty(), "the first step has no hooks");
        promote(s, &found).await;
        let found = in_force(s, "web", 2).await;
        let [smoke] = &jobs_of(&jobs, &candidate)[..] else {
            panic!("{:?}", jobs_of(&jobs, &candidate));
        };
        let done = success(&jobs, smoke).await;
        let moved = half_moved(&routes).await;
        assert!(
            version_of(&moved.object) > version_of(&done),
            "traffic moved before the hook was done"
        );
        let passed = rollout(&found).hooks_passed_at.expect("it is noted").0;
        assert!(passed <= rollout(&found).in_force_at.unwrap().0);

        // What the Job knows.
        let pod = smoke.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
        let known: Vec<(&str, &str)> = pod.containers[0]
            .env
            .iter()
            .flatten()
            .filter_map(|variable| Some((variable.name.as_str(), variable.value.as_deref()?)))
            .filter(|(name, _)| name.starts_with("MICROSERVICE_"))
            .collect();
        assert_eq!(
            known,
            [
                ("MICROSERVICE_NAME", "web"),
                ("MICROSERVICE_NAMESPACE", s.namespace.as_str()),
                ("MICROSERVICE_REVISION", candidate.as_str()),
                ("MICROSERVICE_STABLE", stable.as_str()),
                ("MICROSERVICE_STEP", "2"),
            ]
        );
        // It is nobody that is sent requests.
        let labels = smoke
            .spec
            .as_ref()
            .unwrap()
            .template
            .metadata
            .as_ref()
            .unwrap()
            .labels
            .clone();
        assert!(!labels.unwrap().contains_key("microservice.dev/revision"));

        promote(s, &found).await;
        s.healthy("web").await;
        served_by(&gateway.requests("web"), "1.1.0").await;
        assert_eq!(jobs_of(&jobs, &candidate).len(), 1);
        load.stop().assert_spotless();
    });
}

#[test]
fn a_job_of_a_step_that_fails_takes_the_revision_back() {
    scenario("hook-job-fail").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let words = "fatal: 3 of 12 checks failed";
        let first = hooked(&gateway, json!([{"name": "smoke", "job": work(1, 0, words)}]));
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        served_by(&gateway.requests("web"), "1.0.0").await;
        let routes = record(s, "gateway.networking.k8s.io/v1", "HTTPRoute");
        let load = gateway.requests("web").rate(200.0).start();
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        promote(s, &found).await;
        let found = s.taken_back("web").await;
        let (reason, message) = rejection(&found);
        assert_eq!(reason, "HookFailed");
        for expected in ["Job smoke", "exit code 1", words] {
            assert!(message.contains(expected), "{message}");
        }
        assert_eq!(found.stable(), Some(stable));
        assert!(
            !routes
                .all()
                .iter()
                .any(|route| weights(&route.object) == [50, 50]),
            "traffic moved although the hook failed"
        );
        let tally = load.seen_since(load.mark(), MANY).await;
        assert_eq!(tally.versions(), ["1.0.0"]);
        load.stop().assert_spotless();
    });
}

#[test]
fn a_webhook_is_called_until_it_says_yes_and_traffic_waits_for_it() {
    scenario("webhook").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let receiver = Receiver::start(&[500, 503, 200]).await;
        let first = hooked(
            &gateway,
            json!([{"name": "gate", "webhook": {
                "url": receiver.url("/gate/s3cret"), "headers": {"x-gate": "open-sesame"},
            }}]),
        );
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        served_by(&gateway.requests("web"), "1.0.0").await;
        let routes = record(s, "gateway.networking.k8s.io/v1", "HTTPRoute");
        let load = gateway.requests("web").rate(200.0).start();
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        assert!(receiver.deliveries().is_empty(), "the first step has no hooks");
        promote(s, &found).await;
        let found = in_force(s, "web", 2).await;
        let calls = receiver.deliveries();
        assert_eq!(
            calls.iter().map(|call| call.answered).collect::<Vec<_>>(),
            [500, 503, 200]
        );
        let body = json!({
            "service": "web", "namespace": s.namespace, "revision": found.candidate().unwrap(), "stable": stable,
            "trial": rollout(&found).trial, "step": 2, "stepDigest": rollout(&found).step_digest, "hook": "gate",
        });
        for call in &calls {
            assert_eq!((call.method.as_str(), call.path.as_str()), ("POST", "/gate/s3cret"));
            assert_eq!(call.body, body);
            assert_eq!(call.headers["content-type"], "application/json");
            assert_eq!(call.headers["x-gate"], "open-sesame");
        }
        let yes = calls[2].at;
        // It is seen when it is written, which may be before it is answered.
        let moved = half_moved(&routes).await;
        let written = s
            .audit
            .requests(OPERATOR)
            .into_iter()
            .filter(|request| request.resource == "httproutes" && request.writes() && request.accepted());
        let write = written
            .filter(|request| request.received <= moved.at)
            .max_by_key(|request| request.received)
            .expect("the route was written");
        assert!(
            write.received > yes,
            "the route was written at {}, the webhook said yes at {yes}",
            write.received
        );
        // Also another process does not call again.
        s.restart_operator().await;
        promote(s, &found).await;
        s.healthy("web").await;
        served_by(&gateway.requests("web"), "1.1.0").await;
        assert_eq!(receiver.deliveries().len(), 3);
        let tally = load.stop();
        tally.assert_spotless();
        say(&format!(
            "measured: {}: the route written {:.3} s after the webhook said yes; {:?}, none failed",
            s.name,
            write.received.duration_since(yes).as_secs_f64(),
            tally.answered
        ));
    });
}

#[test]
fn a_webhook_that_never_says_yes_takes_the_revision_back() {
    scenario("webhook-fail").real_pods().run(async |s| {
        let receiver = Receiver::start(&[500]).await;
        let steps = json!([{"weight": 50, "hooks": [{"name": "gate", "webhook": {
            "url": receiver.url("/gate/s3cret"), "headers": {"authorization": "Bearer s3cret"}, "retries": 1,
        }}]}]);
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(canary(steps));
        let stable = s.deploy(&first).await.stable().unwrap();
        let load = s.load("web").await;
        s.apply(&first.version("1.1.0")).await;
        let found = s.taken_back("web").await;
        let (reason, message) = rejection(&found);
        assert_eq!(reason, "HookFailed");
        let expected = [
            "webhook gate".to_owned(),
            format!("{} answered 500", receiver.address()),
            "2 tries".to_owned(),
            "the gate is closed".to_owned(),
        ];
        for words in expected {
            assert!(message.contains(&words), "{message}");
        }
        assert_eq!(found.stable(), Some(stable));
        let text = serde_json::to_string(&found.status).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let calls = receiver.deliveries();
        assert_eq!(calls.len(), 2);
        let pause = calls[1].at.duration_since(calls[0].at).as_secs_f64();
        assert!((0.9..3.0).contains(&pause), "{pause}");
        eventually("the candidate's pods to go", async || {
            match s.pods_of(&found.candidate().unwrap()).await.len() {
                0 => Ok(()),
                left => Err(format!("{left}")),
            }
        })
        .await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0"]);
        assert_no_secret_in_log(s).await;
    });
}

async fn assert_no_secret_in_log(s: &Scenario) {
    for line in s.log().await {
        assert!(!line.to_string().contains("s3cret"), "{line}");
    }
}
