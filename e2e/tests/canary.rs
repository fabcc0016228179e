//! A canary goes out in steps, proven on the requests that real gateways and Services carry meanwhile.
//!
//! The share of a step is tested on at least 2,000 requests that were sent while it was in force, by the exact
//! two-sided test of a binomial proportion at the level 1 - 10^-6 (`e2e::load::within_chance`).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::audit::OPERATOR;
use e2e::environment::say;
use e2e::gateway::{Gateway, IngressController, route_accepted};
use e2e::http_client::Visitor;
use e2e::load::{Connections, Load, Requests, within_chance};
use e2e::release::{
    ROUTE_OBJECT, abort, by_gateway, by_hand, by_ingress, canary, in_force, promote, rollout, served_by,
    timed,
};
use e2e::status::StatusExt;
use e2e::{eventually, podinfo, scenario};
use jiff::Timestamp;
use serde_json::json;

/// Requests of which shares are taken.
const MANY: u64 = 2_000;

/// Watches a step that is in force: its share must be what chance allows.
async fn assert_step(s: &e2e::Scenario, load: &Load, step: i32, weight: i32) {
    in_force(s, "web", step).await;
    let tally = load.seen_since(load.mark(), MANY).await;
    tally.assert_share("1.1.0", f64::from(weight) / 100.0);
    say(&format!(
        "measured: {}: step {step} ({weight} %): {:?} of {}, 99 % within {:.4} s",
        s.name,
        tally.answered,
        tally.sent(),
        tally.latency(0.99).as_secs_f64()
    ));
}

/// Requests that a release by a Gateway carries at the least; those of the ways back are counted in way_back.rs.
const RELEASE: u64 = 60_000;

/// Waits until this part of them was answered or failed.
async fn carried(loads: &[&Load], part: u64, of: u64) {
    eventually(&format!("part {part} of {of} of the requests"), async || {
        let sent: u64 = loads.iter().map(|load| load.sent()).sum();
        if sent * of >= RELEASE * part {
            Ok(())
        } else {
            Err(format!("{sent} requests"))
        }
    })
    .await;
}

#[test]
fn each_step_by_a_gateway_gets_its_share_and_no_request_fails() {
    const STEPS: [i32; 4] = [5, 25, 50, 100];
    scenario("canary-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 3}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&STEPS)));
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        let root = s.address("web", "http").await;
        // kube-proxy follows the EndpointSlices a moment later.
        served_by(&Requests::to(root), "1.0.0").await;

        let kept = requests
            .clone()
            .connections(Connections::KeptAlive)
            .rate(900.0)
            .start();
        let fresh = requests.clone().rate(100.0).start();
        let http2 = requests.connections(Connections::Http2).rate(100.0).start();
        let inside = Requests::to(root).rate(200.0).start();

        s.apply(&first.version("1.1.0")).await;
        for (step, weight) in (1..).zip(STEPS) {
            assert_step(s, &kept, step, weight).await;
            // Callers in the cluster know nothing of it.
            assert_eq!(inside.seen().versions(), ["1.0.0"]);
            // As many in each step, the rest in the bake and after it.
            carried(&[&kept, &fresh, &http2, &inside], step.unsigned_abs().into(), 5).await;
            let found = s.service("web").await;
            promote(s, &found).await;
        }
        let after = s.healthy("web").await;
        assert_ne!(after.stable().unwrap(), stable);
        carried(&[&kept, &fresh, &http2, &inside], 1, 1).await;
        let mark = inside.mark();
        assert_eq!(inside.seen_since(mark, 100).await.versions(), ["1.1.0"]);

        let inside = inside.stop();
        let flip = s.audit.requests(OPERATOR).into_iter().find(|request| {
            request.resource == "services"
                && request.name == "web"
                && request.received.as_second() >= rollout(&after).started_at.unwrap().0.as_second()
        });
        let flip = flip.expect("the Service was turned").received;
        assert!(
            inside.first["1.1.0"] > flip,
            "{} answered a caller in the cluster before {flip}",
            inside.first["1.1.0"]
        );
        let mut sum = inside.sent();
        inside.assert_spotless();
        for (name, load) in [("kept", kept), ("fresh", fresh), ("HTTP/2", http2)] {
            let tally = load.stop();
            tally.assert_spotless();
            sum += tally.sent();
            say(&format!(
                "measured: {}: {name}: {:?}, none failed",
                s.name, tally.answered
            ));
        }
        say(&format!(
            "measured: {}: {sum} requests over the release, none failed",
            s.name
        ));
        assert!(sum >= RELEASE, "{sum} requests are too few");
    });
}

#[test]
fn a_match_sends_the_candidate_exactly_the_requests_that_meet_it() {
    scenario("canary-match").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let steps = json!([
            {"match": [{"headers": [{"name": "x-tester", "value": "yes"}]}], "pause": "Manual"},
            {"match": [{"cookies": [{"name": "tester", "value": "yes"}]}], "pause": "Manual"},
        ]);
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(steps));
        s.deploy(&first).await;
        let requests = gateway.requests("web").connections(Connections::KeptAlive);
        served_by(&requests, "1.0.0").await;
        let plain = requests.clone().rate(300.0).start();
        s.apply(&first.version("1.1.0")).await;

        let header = |value: &str| requests.clone().header("x-tester", value);
        let cookies = |all: &str| requests.clone().header("cookie", all);
        let all = async |requests: Requests, version: &str| {
            let tally = requests.at_most(500).run().await;
            tally.assert_spotless();
            assert_eq!((tally.versions(), tally.good()), (vec![version], 500));
        };
        let found = in_force(s, "web", 1).await;
        all(header("yes"), "1.1.0").await;
        all(header("no"), "1.0.0").await;
        all(header("yes please"), "1.0.0").await;
        all(cookies("tester=yes"), "1.0.0").await;
        promote(s, &found).await;

        let found = in_force(s, "web", 2).await;
        all(cookies("tester=yes"), "1.1.0").await;
        all(cookies("a=b; tester=yes; c=d"), "1.1.0").await;
        all(cookies("a=b; tester=yes"), "1.1.0").await;
        all(cookies("tester=no"), "1.0.0").await;
        all(cookies("tester=yesterday"), "1.0.0").await;
        all(cookies("latester=yes"), "1.0.0").await;
        all(header("yes"), "1.0.0").await;
        // Nothing else got there.
        plain.seen_since(plain.mark(), 200).await;
        assert_eq!(plain.seen().versions(), ["1.0.0"]);
        promote(s, &found).await;
        s.healthy("web").await;
        served_by(&requests, "1.1.0").await;
        plain.stop().assert_spotless();
    });
}

#[test]
fn without_routes_pods_are_the_shares_and_no_request_fails() {
    scenario("canary-pods").real_pods().run(async |s| {
        // With the surge there are four pods.
        const SHARES: [(i32, usize); 3] = [(25, 1), (50, 2), (75, 3)];
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 3}))
            .spec(canary(by_hand(&[25, 50, 75])));
        let stable = s.deploy(&first).await.stable().unwrap();
        let root = Requests::to(s.address("web", "http").await);
        served_by(&root, "1.0.0").await;
        let fresh = root.clone().rate(500.0).start();
        let kept = root
            .connections(Connections::KeptAlive)
            .repeating()
            .rate(100.0)
            .start();
        s.apply(&first.version("1.1.0")).await;
        for (step, (weight, pods)) in (1..).zip(SHARES) {
            let found = in_force(s, "web", step).await;
            let status = rollout(&found);
            assert_eq!((status.weight, status.effective_weight), (weight, weight));
            s.ready_pods(&status.candidate.clone().unwrap(), pods).await;
            s.ready_pods(&stable, 4 - pods).await;
            // kube-proxy follows the EndpointSlices a moment later.
            let share = f64::from(weight) / 100.0;
            eventually("kube-proxy to follow", async || {
                let tally = fresh.seen_since(fresh.mark(), 300).await;
                if within_chance(tally.of("1.1.0"), tally.good(), share) {
                    Ok(())
                } else {
                    Err(format!("{:?}", tally.answered))
                }
            })
            .await;
            let tally = fresh.seen_since(fresh.mark(), MANY).await;
            tally.assert_share("1.1.0", share);
            say(&format!(
                "measured: {}: step {step} ({weight} %): {:?} of {}",
                s.name,
                tally.answered,
                tally.sent()
            ));
            promote(s, &found).await;
        }
        s.healthy("web").await;
        fresh.seen_since(fresh.mark(), 600).await;
        assert_eq!(fresh.seen_since(fresh.mark(), 300).await.versions(), ["1.1.0"]);
        // A connection that is kept follows when its pod has ended.
        eventually("all connections to follow", async || {
            let tally = kept.seen_since(kept.mark(), 50).await;
            if tally.versions() == ["1.1.0"] {
                Ok(())
            } else {
                Err(format!("{:?}", tally.answered))
            }
        })
        .await;
        fresh.stop().assert_spotless();
        let kept = kept.stop();
        // The three pods of the old revision ended, and one of the four when the surge was over.
        kept.assert_spotless_but_for(4);
        say(&format!(
            "measured: {}: kept: {} requests, none failed, {} were sent a second time",
            s.name,
            kept.sent(),
            kept.repeated
        ));
    });
}

#[test]
fn an_ingress_of_ingress_nginx_divides_by_weight_and_header_and_no_request_fails() {
    scenario("canary-ingress").real_pods().run(async |s| {
        let controller = IngressController::start(s).await;
        let steps = json!([
            {"match": [{"headers": [{"name": "x-tester", "value": "yes"}]}], "pause": "Manual"},
            {"weight": 20, "pause": "Manual"},
            {"weight": 60, "pause": "Manual"},
            {"weight": 100, "pause": "Manual"},
        ]);
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 3}))
            .spec(by_ingress(&controller, "web"))
            .spec(canary(steps));
        s.deploy(&first).await;
        let requests = controller.requests("web").connections(Connections::KeptAlive);
        served_by(&requests, "1.0.0").await;
        let load = requests.clone().rate(800.0).start();
        s.apply(&first.version("1.1.0")).await;

        let found = in_force(s, "web", 1).await;
        let chosen = requests.header("x-tester", "yes").at_most(500).run().await;
        chosen.assert_spotless();
        assert_eq!(chosen.versions(), ["1.1.0"]);
        assert_eq!(load.seen().versions(), ["1.0.0"]);
        promote(s, &found).await;
        for (step, weight) in [(2, 20), (3, 60), (4, 100)] {
            assert_step(s, &load, step, weight).await;
            let found = s.service("web").await;
            promote(s, &found).await;
        }
        s.healthy("web").await;
        let mark = load.mark();
        assert_eq!(load.seen_since(mark, 300).await.versions(), ["1.1.0"]);
        load.stop().assert_spotless();
    });
}

/// Everybody comes once more. Answers who was answered by whom.
async fn visits(visitors: &mut [Visitor]) -> Vec<String> {
    let mut versions = Vec::new();
    for visitor in visitors {
        versions.push(visitor.visit().await.expect("an answer"));
    }
    versions
}

#[test]
fn clients_of_an_ingress_stay_at_the_revision_that_they_were_sent_to_until_it_is_taken_back() {
    scenario("canary-sessions").real_pods().run(async |s| {
        let controller = IngressController::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_ingress(&controller, "web"))
            .spec(canary(by_hand(&[20, 60])))
            .spec(json!({"strategy": {"canary": {"sessionAffinity": "Cookie"}}}));
        s.deploy(&first).await;
        let requests = controller.requests("web").connections(Connections::KeptAlive);
        served_by(&requests, "1.0.0").await;
        // These keep no cookie, and go by weight.
        let load = requests.rate(200.0).start();
        let visitor = Visitor::new(controller.address(), &controller.host("web"));
        let mut visitors = vec![visitor; 40];
        visits(&mut visitors).await;
        // In peace nobody is kept.
        assert!(visitors.iter().all(|visitor| visitor.cookies().is_empty()));

        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        load.seen_since(load.mark(), MANY)
            .await
            .assert_share("1.1.0", 0.2);
        let sent = visits(&mut visitors).await;
        for version in ["1.0.0", "1.1.0"] {
            assert!(sent.iter().any(|by| by == version), "{sent:?}");
        }
        let candidate = found.candidate().unwrap();
        let kept = |visitor: &Visitor| visitor.cookies().iter().any(|name| name.starts_with(&candidate));
        assert!(visitors.iter().all(kept));
        for _ in 0..4 {
            assert_eq!(visits(&mut visitors).await, sent);
        }
        // A higher weight is one of those who come new.
        promote(s, &found).await;
        let found = in_force(s, "web", 2).await;
        load.seen_since(load.mark(), MANY)
            .await
            .assert_share("1.1.0", 0.6);
        for _ in 0..4 {
            assert_eq!(visits(&mut visitors).await, sent);
        }
        abort(s, &found).await;
        s.taken_back("web").await;
        assert_eq!(visits(&mut visitors).await, vec!["1.0.0"; 40]);
        let after = load.seen_since(load.mark(), 300).await;
        assert_eq!(after.versions(), ["1.0.0"]);
        load.stop().assert_spotless();
    });
}

/// When the share of a version among the requests that were sent after `asked` was first nearer to `after` than to
/// `before` (both in percent): when the last of the first 25 in a row was sent of which that holds.
///
/// That is late rather than early, by up to the time that a row takes: more than half of it may have been sent under the
/// new weights already. Early it can be by chance alone, where a row of the old weights looks like the new ones; Traefik takes
/// turns, so that each row is close to its weights. How long a gateway takes is measured without rows in
/// weight_latency.rs.
fn served_at(
    trace: &[(Timestamp, String)],
    version: &str,
    asked: Timestamp,
    (before, after): (usize, usize),
) -> Option<Timestamp> {
    const ROW: usize = 25;
    let later: Vec<_> = trace.iter().filter(|(at, _)| *at >= asked).collect();
    let row = later.windows(ROW).find(|row| {
        let share = 100 * row.iter().filter(|(_, by)| by == version).count() / ROW;
        share.abs_diff(after) < share.abs_diff(before)
    });
    row.map(|row| row[ROW - 1].0)
}

#[test]
fn each_weight_is_served_before_the_next_one_is_written() {
    const STEPS: [i32; 5] = [20, 40, 60, 80, 100];
    scenario("canary-latency").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&STEPS, 1)));
        s.deploy(&first).await;
        let requests = gateway.requests("web");
        served_by(&requests, "1.0.0").await;
        let load = requests
            .connections(Connections::KeptAlive)
            .rate(400.0)
            .traced()
            .start();
        let began = Timestamp::now();
        s.apply(&first.version("1.1.0")).await;
        s.healthy("web").await;
        let trace = load.trace();
        load.stop().assert_spotless();
        let requests = s.audit.requests(OPERATOR).into_iter();
        let writes: Vec<Timestamp> = requests
            .filter(|r| r.resource == "httproutes" && r.writes() && r.accepted() && r.received >= began)
            .map(|r| r.answered)
            .collect();
        assert_eq!(writes.len(), STEPS.len(), "one write for each weight");
        let mut before = 0;
        let mut took = Vec::new();
        for (index, (&asked, weight)) in writes.iter().zip([20, 40, 60, 80, 100]).enumerate() {
            let served = served_at(&trace, "1.1.0", asked, (before, weight)).expect("the weight is served");
            assert!(writes.get(index + 1).is_none_or(|next| served < *next), "{weight} %: {served}");
            took.push(served.duration_since(asked).as_secs_f64());
            before = weight;
        }
        let each: Vec<String> = took.iter().map(|took| format!("{took:.3}")).collect();
        took.sort_unstable_by(f64::total_cmp);
        say(&format!(
            "measured: {}: from the write of a weight to the end of the first row of requests that shows it: {} s; median {:.3} s",
            s.name,
            each.join(", "),
            took[took.len() / 2]
        ));
    });
}
