//! The way back from each place of a release by steps, proven on the requests that real gateways and Services carry
//! meanwhile.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::audit::OPERATOR;
use e2e::environment::say;
use e2e::gateway::{Gateway, IngressController, route_accepted};
use e2e::load::{Connections, Load, Requests};
use e2e::measure::{assert_reaction, told_at};
use e2e::release::{
    ROUTE, ROUTE_OBJECT, abort, by_gateway, by_hand, by_ingress, canary, in_force, in_state, promote,
    rollout, served_by,
};
use e2e::scenario::revision_of;
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, eventually, misbehave, podinfo, scenario};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use microservice_operator::api::{Blame, Microservice, Phase, RolloutState};
use serde_json::json;

const WEIGHTS: [i32; 4] = [5, 25, 50, 100];
const REPLICAS: u64 = 2;
/// Requests that each way back by a Gateway carries at the least. With those of the release in canary.rs the four ways back
/// from a step make 120,000.
const WAY: u64 = 15_000;
/// Requests after which a version that gave none of the answers is taken for gone.
const MANY: u64 = 300;

/// Requests of every kind to one place.
struct Callers(Vec<(String, Load)>);

impl Callers {
    fn start(place: &str, requests: &Requests) -> Self {
        let kinds = [
            Connections::PerRequest,
            Connections::KeptAlive,
            Connections::Http2,
        ];
        let start = |connections: Connections| {
            let load = requests.clone().connections(connections).rate(150.0).start();
            (format!("{place}, {connections:?}"), load)
        };
        Self(kinds.into_iter().map(start).collect())
    }

    /// Panics unless only `version` answers from now on.
    async fn assert_only(&self, version: &str) {
        for (name, load) in &self.0 {
            let tally = load.seen_since(load.mark(), MANY).await;
            assert_eq!(tally.versions(), [version], "{name}");
        }
    }

    /// Panics where one request failed, or more were sent a second time than so many pods of theirs that ended can be the
    /// cause of. Answers how many there were, and how many of them were sent a second time.
    fn assert_spotless_but_for(self, pods: u64) -> (u64, u64) {
        let (mut sum, mut repeated) = (0, 0);
        for (_, load) in self.0 {
            let tally = load.stop();
            tally.assert_spotless_but_for(pods);
            sum += tally.sent();
            repeated += tally.repeated;
        }
        (sum, repeated)
    }

    /// How many requests were answered or failed so far.
    fn sent(&self) -> u64 {
        self.0.iter().map(|(_, load)| load.sent()).sum()
    }

    /// When a version answered last.
    fn latest(&self, version: &str) -> Option<Timestamp> {
        let all = self.0.iter();
        all.filter_map(|(_, load)| load.seen().latest.get(version).copied())
            .max()
    }

    fn of(&self, version: &str) -> u64 {
        self.0.iter().map(|(_, load)| load.seen().of(version)).sum()
    }
}

/// Waits until so many requests were answered or failed.
async fn carried(callers: [&Callers; 2], count: u64) {
    eventually(&format!("{count} requests"), async || {
        let sent: u64 = callers.iter().map(|callers| callers.sent()).sum();
        if sent >= count {
            Ok(())
        } else {
            Err(format!("{sent} requests"))
        }
    })
    .await;
}

/// podinfo behind a Gateway, with a release of steps that a person ends. HTTP/2 is spoken without TLS.
fn service(gateway: &Gateway) -> Manifest {
    podinfo("web", "1.0.0")
        .env("PODINFO_H2C", "true")
        .spec(json!({"replicas": REPLICAS}))
        .spec(by_gateway(gateway, "web"))
        .spec(canary(by_hand(&WEIGHTS)))
}

/// Says promote until a step is in force.
async fn go_to(s: &Scenario, step: i32) -> Microservice {
    for before in 1..step {
        let found = in_force(s, "web", before).await;
        promote(s, &found).await;
    }
    in_force(s, "web", step).await
}

/// Waits until the pods of a revision are gone, with those that have only begun to end.
async fn ended_all(s: &Scenario, revision: &str) {
    eventually(&format!("the pods of {revision} to be gone"), async || {
        let pods = s.list::<Pod>().await;
        match pods.iter().filter(|pod| revision_of(*pod) == revision).count() {
            0 => Ok(()),
            left => Err(format!("{left} are left")),
        }
    })
    .await;
}

/// Goes out to a step, or to the bake, and back by a person's word.
async fn assert_way_back(s: &Scenario, step: Option<i32>) {
    let gateway = Gateway::start(s).await;
    let first = service(&gateway);
    let stable = s.deploy(&first).await.stable().unwrap();
    let requests = gateway.requests("web");
    served_by(&requests, "1.0.0").await;
    let root = Requests::to(s.address("web", "http").await);
    // kube-proxy follows the EndpointSlices a moment later.
    served_by(&root, "1.0.0").await;
    let outside = Callers::start("by the Gateway", &requests);
    // The Service leads to the stable revision through all steps, and no pod of it ends. In the bake it leads to the
    // candidate, whose pods end on the way back.
    let (root, ended) = match step {
        Some(_) => (root, 0),
        None => (root.repeating(), REPLICAS),
    };
    let inside = Callers::start("by the Service", &root);
    outside.assert_only("1.0.0").await;

    // Long enough for the abort to come in time.
    let bake = json!({"strategy": {"bakeSeconds": 120}});
    s.apply(&first.spec(bake).version("1.1.0")).await;
    let found = match step {
        Some(step) => go_to(s, step).await,
        None => {
            let found = go_to(s, 4).await;
            promote(s, &found).await;
            in_state(s, "web", RolloutState::Baking).await
        }
    };
    let mark: Vec<_> = outside.0.iter().map(|(_, load)| load.mark()).collect();
    for ((_, load), mark) in outside.0.iter().zip(mark) {
        load.seen_since(mark, MANY).await;
    }
    assert!(outside.of("1.1.0") > 0);
    if step.is_some() {
        assert_eq!(inside.of("1.1.0"), 0);
    }
    // Half of them on the way there, the other half on the way back and after it.
    carried([&outside, &inside], WAY / 2).await;
    abort(s, &found).await;
    let said = Timestamp::now();
    let after = s.taken_back("web").await;
    let status = after.said();
    assert_eq!(after.stable().unwrap(), stable);
    assert_eq!(status.phase, Some(Phase::Degraded));
    assert_eq!(
        rollout(&after).cause.map(|cause| (cause.blame, cause.reason)),
        Some((Blame::Person, "Aborted".to_owned()))
    );
    let candidate = after.candidate().unwrap();
    assert_eq!(s.pods_of(&candidate).await.len(), 0);
    outside.assert_only("1.0.0").await;
    // No proxy stands between callers of the Service and its pods: their connections are closed by the pods, when they end.
    ended_all(s, &candidate).await;
    inside.assert_only("1.0.0").await;
    carried([&outside, &inside], WAY).await;
    let latest = outside.latest("1.1.0").expect("it answered once");
    let words = step.map_or("the bake".to_owned(), |step| {
        format!("{} %", WEIGHTS[usize::try_from(step - 1).unwrap()])
    });
    let (by_gateway, _) = outside.assert_spotless_but_for(0);
    let (by_service, repeated) = inside.assert_spotless_but_for(ended);
    let sum = by_gateway + by_service;
    say(&format!(
        "measured: {}: back from {words}: the candidate's last answer by the Gateway {:.3} s after the abort; {sum} \
         requests, none failed, {repeated} were sent a second time",
        s.name,
        latest.duration_since(said).as_secs_f64()
    ));
    assert!(sum >= WAY, "{sum} requests are too few");
}

#[test]
fn back_from_5_percent_no_request_fails() {
    scenario("back-5")
        .real_pods()
        .run(async |s| assert_way_back(s, Some(1)).await);
}

#[test]
fn back_from_25_percent_no_request_fails() {
    scenario("back-25")
        .real_pods()
        .run(async |s| assert_way_back(s, Some(2)).await);
}

#[test]
fn back_from_50_percent_no_request_fails() {
    scenario("back-50")
        .real_pods()
        .run(async |s| assert_way_back(s, Some(3)).await);
}

#[test]
fn back_from_100_percent_no_request_fails() {
    scenario("back-100")
        .real_pods()
        .run(async |s| assert_way_back(s, Some(4)).await);
}

#[test]
fn back_from_the_bake_no_request_fails() {
    scenario("back-bake")
        .real_pods()
        .run(async |s| assert_way_back(s, None).await);
}

#[test]
fn a_candidate_that_crashes_at_half_of_the_traffic_hurts_until_the_weights_are_back_and_no_longer() {
    scenario("back-crash").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 4}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])));
        let stable = s.deploy(&first).await.stable().unwrap();
        let requests = gateway.requests("web").connections(Connections::KeptAlive);
        served_by(&requests, "1.0.0").await;
        let pods = s.record::<Pod>();
        let load = requests.rate(500.0).start();
        s.apply(&first.version("1.1.0")).await;
        in_force(s, "web", 1).await;
        load.seen_since(load.mark(), 500).await.assert_share("1.1.0", 0.5);
        load.seen().assert_spotless();

        // More than one failed exit is too many.
        let candidate = s.candidate("web").await;
        let victims = s.pods_of(&candidate).await;
        assert_eq!(victims.len(), 2);
        for pod in &victims {
            s.tell(pod, "/exit?code=3").await;
        }
        let mut evidence = Vec::new();
        for victim in &victims {
            let name = victim.name_any();
            let ended = pods
                .first("the exit", |pod| {
                    pod.name_any() == name
                        && pod
                            .status
                            .iter()
                            .flat_map(|status| status.container_statuses.iter().flatten())
                            .any(|container| {
                                container
                                    .state
                                    .iter()
                                    .chain(&container.last_state)
                                    .any(|state| state.terminated.is_some())
                            })
                })
                .await;
            evidence.push(ended);
        }
        let evidence = evidence.into_iter().max_by_key(|sighting| sighting.at).unwrap();
        s.taken_back("web").await;
        assert_reaction(s, "web", &stable, &evidence).await;
        // The operator may have seen it before this test did.
        let told = told_at(s, &evidence);
        let back = eventually("the weights to be written back", async || {
            let requests = s.audit.requests(OPERATOR);
            requests
                .into_iter()
                .filter(|r| r.writes() && r.accepted() && r.resource == "httproutes")
                .find(|r| r.received >= told)
                .ok_or_else(|| "no write".to_owned())
        })
        .await;
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        let in_force_by = back.answered + SignedDuration::from_secs(1);
        load.seen_since(load.mark(), 500).await;
        let tally = load.stop();
        let hurt = tally.failures.len();
        let last = tally.failures.last().map(|(at, _)| *at);
        say(&format!(
            "measured: {}: {hurt} of {} requests failed ({:?}), the last one {:.3} s after the weights were written back, \
             the candidate's last answer {:.3} s after",
            s.name,
            tally.sent(),
            tally.failed,
            last.map_or(f64::NAN, |at| at.duration_since(back.answered).as_secs_f64()),
            tally.latest["1.1.0"].duration_since(back.answered).as_secs_f64(),
        ));
        let late: Vec<_> = tally.failures.iter().filter(|(at, _)| *at > in_force_by).collect();
        assert!(late.is_empty(), "failed after the weights were back in force: {late:?}");
        assert!(tally.latest["1.1.0"] < in_force_by);
    });
}

#[test]
fn a_route_that_nobody_carries_holds_the_release_by_name_and_takes_it_back_at_the_deadline() {
    scenario("back-parent").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])));
        let stable = s.deploy(&first).await.stable().unwrap();
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        let load = requests.rate(200.0).start();
        let inside = s.load("web").await;
        // The old parent stays in force while both revisions live.
        let lost = json!([{"name": "absent"}]);
        let second = first.spec(json!({
            // Long enough for the pods, which come first.
            "strategy": {"progressDeadlineSeconds": 30},
            "routes": [
                {"name": ROUTE, "hosts": [gateway.host("web")], "gateway": {"parentRefs": [gateway.parent()]}},
                {"name": "second", "hosts": [gateway.host("two")], "gateway": {"parentRefs": lost}},
            ],
        }));
        s.apply(&second.version("1.1.0")).await;
        let parent = format!("Gateway {}/absent", s.namespace);
        let waiting = s
            .wait_for("web", "to name the parent", |found| {
                let words = found.said().rollout.and_then(|rollout| rollout.waiting_for);
                words.is_some_and(|words| words.contains(&parent))
            })
            .await;
        assert_eq!(waiting.state(), Some(RolloutState::Rolling));
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        let cause = rollout(&after).cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Environment, "RouteNotInForce")
        );
        assert!(cause.message.contains(&parent), "{}", cause.message);
        assert_eq!(after.revision(&after.candidate().unwrap()).unwrap().rejected, None);
        assert!(rollout(&after).retry_at.is_some());
        let mark = load.mark();
        assert_eq!(load.seen_since(mark, MANY).await.versions(), ["1.0.0"]);
        load.stop().assert_spotless();
        let inside = inside.stop();
        inside.assert_spotless();
        assert_eq!(inside.versions(), ["1.0.0"]);
    });
}

/// To a step of half of the traffic, and back by a person's word: when that is done and the candidate's pods have ended,
/// nobody is answered by it, whatever connection a caller keeps, whether it is from before or from the step.
/// Of the pods that callers reach directly so many end on the way.
async fn assert_left(s: &Scenario, first: &Manifest, requests: [Requests; 2], ended: u64) {
    let stable = s.deploy(first).await.stable().unwrap();
    let requests = requests.map(|requests| requests.rate(200.0));
    for load in &requests {
        served_by(load, "1.0.0").await;
    }
    let before = requests.clone().map(Requests::start);
    s.apply(&first.clone().version("1.1.0")).await;
    let found = in_force(s, "web", 1).await;
    // A connection to the Service stays with one pod: of 16 each has an even chance to be with the candidate.
    let within = requests.map(|requests| requests.clients(16).start());
    for load in &within {
        eventually("the candidate to answer", async || {
            match load.seen().of("1.1.0") {
                0 => Err("not one answer".to_owned()),
                _ => Ok(()),
            }
        })
        .await;
    }
    let loads: Vec<_> = before.into_iter().chain(within).collect();
    abort(s, &found).await;
    let after = s.taken_back("web").await;
    assert_eq!(after.stable().unwrap(), stable);
    // No proxy stands between callers of the Service and its pods: their connections are closed by the pods, when they end.
    ended_all(s, &found.candidate().unwrap()).await;
    for load in &loads {
        let tally = load.seen_since(load.mark(), 200).await;
        assert_eq!(tally.versions(), ["1.0.0"]);
    }
    let (mut sum, mut repeated, mut cut_off) = (0, 0, 0);
    for (at, load) in loads.into_iter().enumerate() {
        let mut tally = load.stop();
        // The second of each two speaks HTTP/2. Where that goes to pods without a proxy, a server of Go's net/http does not wait
        // for it when it ends: its Shutdown knows nothing of connections that were taken over for h2c.
        if at % 2 == 1 && ended > 0 {
            let cut = std::mem::take(&mut tally.failures);
            assert!(cut.len() as u64 <= ended * tally.clients, "{cut:?}");
            cut_off += cut.len();
        }
        tally.assert_spotless_but_for(ended);
        sum += tally.sent();
        repeated += tally.repeated;
    }
    say(&format!(
        "measured: {}: {sum} requests to half of the traffic and back, none failed but {cut_off} of HTTP/2 that podinfo cut \
         off when it ended, {repeated} were sent a second time",
        s.name
    ));
}

#[test]
fn connections_that_callers_keep_come_back_from_a_candidate_behind_an_ingress() {
    scenario("back-ingress").real_pods().run(async |s| {
        let controller = IngressController::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_ingress(&controller, "web"))
            .spec(canary(by_hand(&[50])));
        let requests = [Connections::KeptAlive, Connections::Http2]
            .map(|kind| controller.requests("web").connections(kind));
        assert_left(s, &first, requests, 0).await;
    });
}

#[test]
fn connections_that_callers_keep_come_back_from_a_candidate_behind_the_service() {
    scenario("back-service").real_pods().run(async |s| {
        let first = podinfo("web", "1.0.0")
            .env("PODINFO_H2C", "true")
            .spec(json!({"replicas": 3}))
            .spec(canary(by_hand(&[50])));
        s.deploy(&first).await;
        let root = Requests::to(s.address("web", "http").await);
        let requests = [Connections::KeptAlive, Connections::Http2]
            .map(|kind| root.clone().connections(kind).repeating());
        // Of four pods two are the candidate's and end on the way back; so did two of the stable revision before.
        assert_left(s, &first, requests, 4).await;
    });
}
