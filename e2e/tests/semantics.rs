//! What a release by steps means, on real pods and real requests: the rules that the engine's scenarios hold on a model.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::audit::OPERATOR;
use e2e::environment::say;
use e2e::gateway::{Gateway, route_accepted};
use e2e::load::{Connections, Load};
use e2e::measure::told_at;
use e2e::release::{
    ROUTE, ROUTE_OBJECT, blue_green, by_gateway, by_hand, canary, in_force, promote, rollout, served_by,
    step_value, timed,
};
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Manifest, Scenario, eventually, misbehave, podinfo, scenario};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use microservice_operator::api::{Blame, CommandOutcome, Phase};
use serde_json::{Value, json};

/// Requests after which a version that gave none of the answers is taken for gone.
const MANY: u64 = 300;

/// The shortest waits that leave time to look.
fn hasty() -> Value {
    json!({"strategy": {"bakeSeconds": 1, "drainSeconds": 1}})
}

fn service(name: &str, replicas: i32) -> Manifest {
    podinfo(name, "1.0.0").spec(json!({"replicas": replicas}))
}

/// Requests by a gateway, on connections that are kept.
async fn start(gateway: &Gateway) -> Load {
    let requests = gateway.requests("web").connections(Connections::KeptAlive);
    served_by(&requests, "1.0.0").await;
    requests.rate(200.0).start()
}

// --- pods behind a Service

/// The revisions of the pods in an EndpointSlice that requests are sent to, by the names of the pods. What is ending is
/// listed for as long as it takes, and gets none.
fn revisions(slice: &EndpointSlice) -> BTreeSet<String> {
    let ready = slice.endpoints.iter().filter(|endpoint| {
        let conditions = endpoint.conditions.as_ref();
        conditions.and_then(|conditions| conditions.ready) != Some(false)
    });
    let pods = ready.filter_map(|endpoint| {
        let pod = endpoint.target_ref.as_ref()?.name.as_deref()?;
        // A pod is called like its Deployment, which is called like its revision, with two parts more.
        Some(pod.rsplitn(3, '-').nth(2)?.to_owned())
    });
    pods.collect()
}

/// In the middle of a release a newer spec comes. Of three revisions never more than two stand behind the Service.
async fn assert_two_at_most(s: &Scenario, first: &Manifest) {
    let name = first.name();
    let stable = s.deploy(first).await.stable().unwrap();
    let load = s.load(name).await;
    let slices = s.record::<EndpointSlice>();
    s.apply(&first.clone().version("1.1.0")).await;
    let of = |slice: &EndpointSlice| {
        let service = slice.labels().get("kubernetes.io/service-name");
        if service.map(String::as_str) == Some(name) {
            revisions(slice)
        } else {
            BTreeSet::new()
        }
    };
    let wide = slices
        .first("a Service of two revisions", |slice| of(slice).len() == 2)
        .await;
    let between = of(&wide.object).into_iter().find(|one| *one != stable).unwrap();

    let last = first.clone().version("2.0.0");
    s.apply(&last).await;
    let wide_again = slices
        .first("a Service with the third revision", |slice| {
            of(slice).iter().any(|one| *one != stable && *one != between)
        })
        .await;
    if first.0["spec"]["strategy"]["type"] == "Canary" {
        let found = in_force(s, name, 1).await;
        promote(s, &found).await;
    }
    let newest = s.healthy(name).await.stable().unwrap();
    assert!(newest != stable && newest != between);
    assert!(wide_again.at > wide.at);
    let most = slices
        .all()
        .iter()
        .map(|seen| of(&seen.object))
        .max_by_key(BTreeSet::len);
    assert_eq!(most.map(|all| all.len()), Some(2));
    for seen in slices.all() {
        let all = of(&seen.object);
        assert!(!(all.contains(&between) && all.contains(&newest)), "{all:?}");
    }
    load.stop().assert_spotless();
}

#[test]
fn no_pod_of_a_third_revision_stands_behind_the_service_of_a_canary() {
    scenario("third-canary").real_pods().run(async |s| {
        let first = service("web", 2).spec(canary(by_hand(&[50]))).spec(hasty());
        assert_two_at_most(s, &first).await;
    });
}

#[test]
fn no_pod_of_a_third_revision_stands_behind_the_service_of_a_rolling_update() {
    scenario("third-rolling").real_pods().run(async |s| {
        assert_two_at_most(
            s,
            &service("web", 3).spec(json!({"strategy": {"bakeSeconds": 1}})),
        )
        .await;
    });
}

// --- steps

#[test]
fn a_match_by_query_gets_just_these_requests_and_a_step_has_the_pods_that_it_names() {
    scenario("query").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let queries = json!([{"queryParams": [{"name": "tester", "value": "yes"}]}]);
        // Without `replicas` nobody but testers is one pod, and a tenth of two pods is one.
        let steps = json!([
            {"match": queries, "replicas": 2, "pause": "Manual"},
            {"weight": 10, "replicas": 2, "pause": "Manual"},
        ]);
        let first = service("web", 2)
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(steps))
            .spec(hasty());
        s.deploy(&first).await;
        let load = start(&gateway).await;
        s.apply(&first.version("1.1.0")).await;

        let found = in_force(s, "web", 1).await;
        let candidate = found.candidate().unwrap();
        s.ready_pods(&candidate, 2).await;
        for (path, version) in [
            ("/?tester=yes", "1.1.0"),
            ("/?a=b&tester=yes", "1.1.0"),
            ("/", "1.0.0"),
            ("/?tester=no", "1.0.0"),
            ("/?tester=yess", "1.0.0"),
            ("/?latester=yes", "1.0.0"),
        ] {
            let requests = gateway.requests("web").connections(Connections::KeptAlive);
            let tally = requests.path(path).at_most(200).run().await;
            tally.assert_spotless();
            assert_eq!((tally.versions(), tally.good()), (vec![version], 200), "{path}");
        }
        assert_eq!(load.seen().versions(), ["1.0.0"]);
        promote(s, &found).await;

        let found = in_force(s, "web", 2).await;
        s.ready_pods(&candidate, 2).await;
        load.seen_since(load.mark(), 2_000)
            .await
            .assert_share("1.1.0", 0.1);
        promote(s, &found).await;
        s.healthy("web").await;
        load.stop().assert_spotless();
    });
}

#[test]
fn each_step_by_a_grpc_route_gets_its_share_of_the_calls_and_none_fails() {
    scenario("grpc").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let testers = json!([{"headers": [{"name": "x-tester", "value": "yes"}]}]);
        let steps = json!([
            {"match": testers, "pause": "Manual"},
            {"weight": 20, "pause": "Manual"},
            {"weight": 100, "pause": "Manual"},
        ]);
        let route = json!({
            "name": ROUTE, "hosts": [gateway.host("web")],
            "gateway": {"kind": "GRPCRoute", "parentRefs": [gateway.parent()]},
            "rules": [{"path": "/info.InfoService", "servicePort": 9999}],
        });
        let first = service("web", 2)
            .env("PODINFO_GRPC_PORT", "9999")
            .spec(json!({
                "ports": [{"name": "http", "containerPort": 9898}, {"name": "grpc", "containerPort": 9999}],
                "routes": [route],
            }))
            .spec(canary(steps))
            .spec(hasty());
        s.deploy(&first).await;
        route_accepted(s, "GRPCRoute", ROUTE_OBJECT).await;
        let calls = gateway.requests("web").calls();
        served_by(&calls, "1.0.0").await;
        let load = calls.clone().rate(400.0).start();
        s.apply(&first.version("1.1.0")).await;

        let found = in_force(s, "web", 1).await;
        let chosen = calls.header("x-tester", "yes").at_most(300).run().await;
        chosen.assert_spotless();
        assert_eq!(chosen.versions(), ["1.1.0"]);
        assert_eq!(load.seen().versions(), ["1.0.0"]);
        promote(s, &found).await;
        for (step, share) in [(2, 0.2), (3, 1.0)] {
            let found = in_force(s, "web", step).await;
            load.seen_since(load.mark(), 2_000)
                .await
                .assert_share("1.1.0", share);
            promote(s, &found).await;
        }
        s.healthy("web").await;
        let tally = load.seen_since(load.mark(), MANY).await;
        assert_eq!(tally.versions(), ["1.1.0"]);
        let tally = load.stop();
        tally.assert_spotless();
        say(&format!(
            "measured: {}: {} calls, none failed",
            s.name,
            tally.sent()
        ));
    });
}

#[test]
fn a_weight_that_pods_cannot_give_waits_goes_on_or_is_refused_as_the_strategy_says() {
    scenario("coarse").real_pods().run(async |s| {
        // One pod of three is 33 % instead of 5 %.
        let of = |name: &str, policy: Value| {
            service(name, 2)
                .spec(canary(by_hand(&[5])))
                .spec(hasty())
                .spec(json!({"strategy": {"coarseWeights": policy}}))
        };
        let all = [
            of("pause", Value::Null),
            of("allow", json!("Allow")),
            of("refuse", json!("Refuse")),
        ];
        let mut loads = Vec::new();
        for manifest in &all {
            s.apply(manifest).await;
        }
        for manifest in &all {
            s.healthy(manifest.name()).await;
            loads.push(s.load(manifest.name()).await);
        }
        for manifest in all {
            s.apply(&manifest.version("1.1.0")).await;
        }
        let [pause, allow, refuse] = &loads[..] else {
            unreachable!("there are three")
        };

        let waiting = s
            .wait_for("pause", "to wait for a person", |found| {
                found.said().phase == Some(Phase::Paused)
            })
            .await;
        let words = rollout(&waiting).waiting_for.unwrap();
        assert!(words.contains("1 of 3 pods get 33 % instead of 5 %"), "{words}");
        let going = in_force(s, "allow", 1).await;
        let status = rollout(&going);
        assert_eq!((status.weight, status.effective_weight), (5, 33));
        let refused = s.taken_back("refuse").await;
        let cause = rollout(&refused).cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Environment, "CoarseWeight")
        );

        // Nobody got to the new revision who was not to.
        for load in [pause, refuse] {
            load.seen_since(load.mark(), MANY).await;
            assert_eq!(load.seen().versions(), ["1.0.0"]);
        }
        allow
            .seen_since(allow.mark(), 2_000)
            .await
            .assert_share("1.1.0", 1.0 / 3.0);
        // A word of its own lets it begin: the other one ends the pause that comes after that.
        let value = format!("{}/coarse", step_value(&waiting));
        s.annotate("pause", "microservice.dev/promote", &value).await;
        let begun = in_force(s, "pause", 1).await;
        assert_eq!(rollout(&begun).effective_weight, 33);
        promote(s, &begun).await;
        promote(s, &going).await;
        for name in ["pause", "allow"] {
            s.healthy(name).await;
        }
        for load in loads {
            load.stop().assert_spotless();
        }
    });
}

// --- several changes in one patch

#[test]
fn the_type_of_the_strategy_may_change_with_the_image() {
    scenario("type-change").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let rolling = service("web", 2)
            .spec(by_gateway(&gateway, "web"))
            .spec(json!({"strategy": {"type": "RollingUpdate", "settleSeconds": 1}}))
            .spec(hasty());
        let first = s.deploy(&rolling).await.stable().unwrap();
        let load = start(&gateway).await;

        // It goes out by the steps that came with it.
        let stepped = rolling.clone().spec(canary(by_hand(&[50]))).spec(hasty());
        s.apply(&stepped.clone().version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        assert_eq!(rollout(&found).stable, Some(first.clone()));
        load.seen_since(load.mark(), 2_000)
            .await
            .assert_share("1.1.0", 0.5);
        promote(s, &found).await;
        let second = s.healthy("web").await.stable().unwrap();
        assert_ne!(second, first);

        // All at once, after a look at it.
        let colours = rolling
            .clone()
            .spec(blue_green(json!({"switch": "Manual"})))
            .spec(hasty());
        s.apply(&colours.version("2.0.0")).await;
        let found = in_force(s, "web", 1).await;
        s.ready_pods(&found.candidate().unwrap(), 2).await;
        let tally = load.seen_since(load.mark(), MANY).await;
        assert_eq!(tally.versions(), ["1.1.0"]);
        promote(s, &found).await;
        let third = s.healthy("web").await.stable().unwrap();
        assert_ne!(third, second);

        // And by exchanging pods again: nobody has to say a word.
        let after = s.deploy(&rolling.version("2.0.0").env("ROUND", "four")).await;
        assert_ne!(after.stable().unwrap(), third);
        let tally = load.seen_since(load.mark(), MANY).await;
        assert_eq!(tally.versions(), ["2.0.0"]);
        load.stop().assert_spotless();
    });
}

#[test]
fn the_template_and_the_replicas_may_change_in_one_patch() {
    scenario("with-replicas").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service("web", 2)
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&[50], 1)))
            .spec(hasty());
        s.deploy(&first).await;
        let load = start(&gateway).await;
        for (version, replicas) in [("1.1.0", 4), ("2.0.0", 1)] {
            let before = s.service("web").await.stable().unwrap();
            let next = first.clone().version(version).spec(json!({"replicas": replicas}));
            let after = s.deploy(&next).await;
            s.ready_pods(&after.stable().unwrap(), replicas).await;
            s.ready_pods(&before, 0).await;
            let tally = load.seen_since(load.mark(), MANY).await;
            assert_eq!(tally.versions(), [version]);
        }
        load.stop().assert_spotless();
    });
}

// --- what is no release

#[test]
fn where_the_old_revision_has_no_ready_endpoint_a_healthy_candidate_goes_through_at_once() {
    scenario("no-endpoint").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])))
            .spec(hasty());
        let stable = s.deploy(&first).await.stable().unwrap();
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        s.apply(&first.version("1.1.0")).await;
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        let pods = s.record::<Pod>();
        let old = s.pods_of(&stable).await;
        assert_eq!(old.len(), 2);
        for pod in &old {
            s.tell(pod, "/ready?value=false").await;
        }
        let mut lost = Vec::new();
        for pod in &old {
            let name = pod.name_any();
            let seen = pods
                .first("an old pod that is not ready", |pod| {
                    pod.name_any() == name && !e2e::scenario::is_ready(pod)
                })
                .await;
            lost.push(seen);
        }
        // The step waits for a person, and nobody says a word.
        served_by(&requests, "1.1.0").await;
        let load = requests.rate(100.0).start();
        let after = s.healthy("web").await;
        assert_eq!(after.stable(), Some(candidate));
        // The operator may have seen it before this test did.
        let lost = lost.iter().map(|seen| told_at(s, seen)).max().unwrap();
        let write = eventually("the write that gives it all", async || {
            let mut all = s.audit.requests(OPERATOR).into_iter();
            all.find(|r| r.resource == "httproutes" && r.writes() && r.accepted() && r.received >= lost)
                .ok_or_else(|| "none".to_owned())
        })
        .await;
        let took = write.answered.duration_since(lost).as_secs_f64();
        say(&format!(
            "measured: {}: from the loss of the last ready endpoint to the write that gives the candidate all {took:.3} s",
            s.name
        ));
        assert!(took < 2.0, "{took} s");
        load.stop().assert_spotless();
    });
}

#[test]
fn an_abort_in_peace_is_told_of_and_changes_nothing() {
    scenario("peace").real_pods().run(async |s| {
        let first = service("web", 2).spec(canary(by_hand(&[50]))).spec(hasty());
        s.deploy(&first).await;
        let load = s.load("web").await;
        s.audit.quiet().await;
        let before = s.service("web").await;
        let uids = async || -> BTreeSet<Option<String>> {
            let pods = s.list::<Pod>().await.into_iter();
            pods.map(|pod| pod.metadata.uid).collect()
        };
        let pods = uids().await;
        let said = Timestamp::now();
        let value = format!("{}/1", before.stable().unwrap());
        s.annotate("web", "microservice.dev/abort", &value).await;
        s.event("CommandIgnored", &value).await;
        let after = s
            .wait_for("web", "to note the command", |found| {
                !found.said().commands.is_empty()
            })
            .await;
        let noted: Vec<_> = after
            .said()
            .commands
            .into_iter()
            .map(|command| (command.verb, command.value, command.outcome))
            .collect();
        assert_eq!(
            noted,
            [("abort".to_owned(), value, Some(CommandOutcome::Ignored))]
        );
        throughout(Duration::from_secs(2), "peace", async || {
            let found = s.service("web").await;
            let (was, is) = (before.said(), found.said());
            let same = was.rollout == is.rollout && was.stable_revision == is.stable_revision;
            if same && found.is_healthy() {
                Ok(())
            } else {
                Err(format!("{is:?}"))
            }
        })
        .await;
        assert_eq!(uids().await, pods);
        let written: Vec<String> = s
            .audit
            .asked()
            .iter()
            .filter(|request| request.received >= said && request.writes())
            .filter(|request| request.resource != "events" && request.subresource != "status")
            .map(e2e::audit::Request::brief)
            .collect();
        assert_eq!(written, [""; 0]);
        load.stop().assert_spotless();
    });
}
