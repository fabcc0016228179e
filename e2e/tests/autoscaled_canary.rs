//! A canary under a real autoscaler, which scales the service while two revisions share its traffic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use e2e::custom_metrics::{Adapter, OF_ALL, OF_PODS};
use e2e::environment::say;
use e2e::gateway::{Gateway, route_accepted};
use e2e::load::{Connections, Requests};
use e2e::recorder::Recorder;
use e2e::release::{
    ROUTE_OBJECT, by_gateway, by_hand, canary, in_force, is_in_force, promote, rollout, served_by,
};
use e2e::scenario::revision_of;
use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout, within};
use e2e::{Manifest, Scenario, metrics, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use microservice_operator::api::{Microservice, ReplicasSource};
use serde_json::{Value, json};

/// What a pod requests, in thousandths of a core. Autoscalers aim at a percentage of it.
const REQUEST: i32 = 10;
/// Autoscalers look every 5 s, at figures of every 10 s. This is enough for both to come round more than twice.
const ROUNDS: Duration = Duration::from_secs(30);

fn service(bounds: [i32; 2], cpu: i32) -> Manifest {
    podinfo("web", "1.0.0").spec(json!({
        "resources": {"requests": {"cpu": format!("{REQUEST}m")}},
        "autoscaling": {"minReplicas": bounds[0], "maxReplicas": bounds[1], "cpu": cpu},
    }))
}

/// The ready pods of a revision, where there are no others.
fn ready(found: &Microservice, revision: &str) -> Option<i32> {
    let revision = found.revision(revision)?;
    (revision.ready == revision.replicas).then_some(revision.ready)
}

/// Waits until a step is in force with so many pods of each.
async fn sized(s: &Scenario, step: i32, stable: &str, pods: [i32; 2]) -> Microservice {
    s.wait_for("web", &format!("to have {pods:?} pods in step {step}"), |found| {
        let candidate = found.candidate().unwrap_or_default();
        is_in_force(found, step) && [ready(found, stable), ready(found, &candidate)] == pods.map(Some)
    })
    .await
}

/// How many pods the autoscaler wants.
async fn asked_by_autoscaler(s: &Scenario) -> i32 {
    let found: HorizontalPodAutoscaler = s.get("web").await;
    found.status.map_or(0, |status| status.desired_replicas)
}

/// The processor time that all pods of the service use.
async fn cpu(s: &Scenario) -> f64 {
    let selector = s.service("web").await.said().selector.unwrap_or_default();
    metrics::cpu(s, &selector).await.values().sum()
}

/// The most pods that a revision was asked to have.
fn most(deployments: &Recorder<Deployment>, revision: &str) -> i32 {
    let all = deployments.all().into_iter();
    all.filter(|sighting| revision_of(&sighting.object) == revision)
        .filter_map(|sighting| sighting.object.spec?.replicas)
        .max()
        .unwrap_or_default()
}

/// The bounds of the autoscaler rise in the middle of a step. `before` and `after` are the pods of the stable revision
/// and of the candidate, and the promotion lands on `landed`.
async fn assert_follows_bounds(
    s: &Scenario,
    first: &Manifest,
    before: [i32; 2],
    after: [i32; 2],
    landed: i32,
) {
    metrics::start();
    // Else it takes minutes to take pods away.
    let at_once = json!({"autoscaling": {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}});
    let first = first.clone().spec(at_once);
    let stable = s.deploy(&first).await.stable().unwrap();
    metrics::utilization(s, "web", "cpu").await;
    let load = s.load("web").await;
    s.apply(&first.version("1.1.0")).await;
    let found = sized(s, 1, &stable, before).await;
    assert_eq!(found.said().desired_replicas, 2);
    let deployments = s.record::<Deployment>();
    let bounds = json!({"spec": {"autoscaling": {"minReplicas": 4}}});
    s.patch::<Microservice>("web", "e2e", bounds).await;
    let scaled = sized(s, 1, &stable, after).await;
    let (was, is) = (rollout(&found), rollout(&scaled));
    assert_eq!((is.in_force_at, is.step), (was.in_force_at, was.step));
    assert_eq!(is.seq, was.seq);
    let candidate = scaled.candidate().unwrap();
    // What is more for a time is more for good: nothing was made to be taken away.
    assert_eq!([&stable, &candidate].map(|name| most(&deployments, name)), after);
    // The autoscaler says so too.
    let scaled = s
        .wait_for("web", "to be scaled by the autoscaler", |found| {
            let from = found.said().replicas_from;
            found.spec.operation.replicas == 4
                && matches!(from, Some(ReplicasSource::Scale | ReplicasSource::Untracked))
        })
        .await;
    promote(s, &scaled).await;
    // Where that is more than it wants, the autoscaler says so at its next look.
    let after = s
        .wait_for("web", "to have what the autoscaler wants", |found| {
            found.is_healthy() && found.said().ready.as_deref() == Some("4/4")
        })
        .await;
    assert_eq!(after.stable().unwrap(), candidate);
    // It writes its own status last.
    s.until::<HorizontalPodAutoscaler>("web", "to want 4 pods", |found| {
        found
            .status
            .as_ref()
            .is_some_and(|status| status.desired_replicas == 4)
    })
    .await;
    assert_eq!(most(&deployments, &candidate), landed);
    // As the way back from the bake it is as large, and never larger.
    assert!(most(&deployments, &stable) <= landed);
    load.stop().assert_spotless();
}

#[test]
fn both_sides_by_pods_follow_the_autoscaler_and_the_step_goes_on() {
    scenario("hpa-pods").real_pods().run(async |s| {
        // Of 2 pods and one more, of 4 and one more: half, rounded.
        let first = service([2, 8], 1000).spec(canary(by_hand(&[50])));
        assert_follows_bounds(s, &first, [1, 2], [2, 3], 4).await;
    });
}

#[test]
fn both_sides_of_a_gateway_follow_the_autoscaler_and_the_step_goes_on() {
    scenario("hpa-gateway").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = service([2, 8], 1000)
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])));
        assert_follows_bounds(s, &first, [2, 1], [4, 2], 6).await;
    });
}

#[test]
fn an_autoscaler_that_follows_the_load_is_not_misled_by_two_revisions() {
    scenario("hpa-load").real_pods().run(async |s| {
        metrics::start();
        let gateway = Gateway::start(s).await;
        let first = service([1, 12], 100)
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50, 100])));
        let stable = s.deploy(&first).await.stable().unwrap();
        route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
        let requests: Requests = gateway.requests("web").connections(Connections::KeptAlive);
        served_by(&requests, "1.0.0").await;
        let load = requests.clone().rate(100.0).start();
        // It has found its number when the use of the pods is what it aims at.
        let settled = within(e2e::patience() * 2, "the autoscaler to settle", async || {
            let found = s.service("web").await;
            let (asked, used) = (asked_by_autoscaler(s).await, cpu(s).await);
            let pods = found.said().desired_replicas;
            let near = used <= 1.1 * f64::from(REQUEST * pods);
            if pods >= 2 && asked == pods && near && found.is_healthy() {
                Ok((pods, used))
            } else {
                Err(format!("{asked} asked, {pods} wanted, {used} m used"))
            }
        })
        .await;
        let deployments = s.record::<Deployment>();
        s.apply(&first.version("1.1.0")).await;
        let found = in_force(s, "web", 1).await;
        let candidate = found.candidate().unwrap();
        // The same load on more pods.
        let mut most_used = settled.1;
        let mut most_wanted = settled.0;
        throughout(ROUNDS, "no more pods than the load needs", async || {
            most_used = most_used.max(cpu(s).await);
            let wanted = s.service("web").await.said().desired_replicas;
            most_wanted = most_wanted.max(wanted);
            // What was measured between two looks of ours may have been a little more.
            let needed = 1.1 * most_used / f64::from(REQUEST) + 1.0;
            if f64::from(wanted) <= needed.ceil().max(f64::from(settled.0)) {
                Ok(())
            } else {
                Err(format!("{wanted} pods, {most_used} m used at most"))
            }
        })
        .await;
        say(&format!(
            "measured: {}: {} pods for {:.1} m before, {most_wanted} for {most_used:.1} m at most in mid-canary",
            s.name, settled.0, settled.1
        ));

        // Three times the load.
        let more = requests.rate(200.0).start();
        let proportional = |found: &Microservice| {
            let wanted = found.said().desired_replicas;
            is_in_force(found, 1)
                && wanted > most_wanted
                && ready(found, &stable) == Some(wanted)
                && ready(found, &candidate) == Some((wanted + 1) / 2)
        };
        let scaled = s
            .wait_for("web", "to be scaled up on both sides", proportional)
            .await;
        let (was, is) = (rollout(&found), rollout(&scaled));
        assert_eq!((is.seq, is.step, is.in_force_at), (was.seq, was.step, was.in_force_at));
        let used = cpu(s).await;
        say(&format!(
            "measured: {}: three times the load: {} pods and {} of the candidate for {used:.1} m",
            s.name,
            ready(&scaled, &stable).unwrap(),
            ready(&scaled, &candidate).unwrap(),
        ));
        promote(s, &scaled).await;
        let last = in_force(s, "web", 2).await;
        promote(s, &last).await;
        let after = s
            .wait_for("web", "to be healthy with what the spec says", |found| {
                found.is_healthy() && found.spec.operation.replicas == found.said().desired_replicas
            })
            .await;
        let wanted = after.said().desired_replicas;
        assert_eq!(after.stable().unwrap(), candidate);
        assert!(wanted >= scaled.said().desired_replicas);
        // Pods of which there is no figure yet, right after the promotion, seem to use nothing.
        let used = used.max(cpu(s).await);
        assert!(
            f64::from(wanted * REQUEST) <= 1.5 * used,
            "{wanted} pods for {used:.1} m"
        );
        // The autoscaler may say another word meanwhile.
        eventually("as many pods as are wanted", async || {
            let wanted = s.service("web").await.said().desired_replicas;
            let pods = s.pods_of(&candidate).await.len();
            if i32::try_from(pods) == Ok(wanted) {
                Ok(())
            } else {
                Err(format!("{pods} pods, {wanted} wanted"))
            }
        })
        .await;
        say(&format!(
            "measured: {}: {wanted} pods for {used:.1} m after, the most asked for were {} of the stable one and {} of the candidate",
            s.name,
            most(&deployments, &stable),
            most(&deployments, &candidate)
        ));
        load.stop().assert_spotless();
        more.stop().assert_spotless();
    });
}

/// A canary by a gateway while the autoscaler goes by a metric of which each pod is to have 10: the load doubles in the
/// step, and halves again. More revisions are not more load. At last there is load for 6 pods, for which the step has
/// `last` pods of the two revisions; the promotion comes to 6.
async fn assert_not_misled(s: &Scenario, metric: Value, last: [i32; 2]) {
    let adapter = Adapter::start(s, 40).await;
    let gateway = Gateway::start(s).await;
    let first = podinfo("web", "1.0.0")
        .spec(json!({"autoscaling": {
            "minReplicas": 1, "maxReplicas": 12, "metrics": [metric],
            // Else it takes minutes to take pods away.
            "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}},
        }}))
        .spec(by_gateway(&gateway, "web"))
        .spec(canary(by_hand(&[50])));
    let stable = s.deploy(&first).await.stable().unwrap();
    let settled = |found: &Microservice| found.is_healthy() && found.said().ready.as_deref() == Some("4/4");
    s.wait_for("web", "to have the pods that the load needs", settled)
        .await;
    route_accepted(s, "HTTPRoute", ROUTE_OBJECT).await;
    let requests = gateway.requests("web");
    served_by(&requests, "1.0.0").await;
    let load = requests.rate(200.0).start();
    s.apply(&first.version("1.1.0")).await;
    let found = sized(s, 1, &stable, [4, 2]).await;
    throughout(ROUNDS, "as many pods as the load needs", async || {
        let wanted = s.service("web").await.said().desired_replicas;
        if wanted == 4 {
            Ok(())
        } else {
            Err(format!("{wanted} pods"))
        }
    })
    .await;
    adapter.load(80);
    sized(s, 1, &stable, [8, 4]).await;
    adapter.load(40);
    sized(s, 1, &stable, [4, 2]).await;
    adapter.load(60);
    throughout(ROUNDS, "as many pods as carry the load", async || {
        let found = s.service("web").await;
        let wanted = found.said().desired_replicas;
        if wanted <= last[0] {
            Ok(())
        } else {
            Err(format!("{wanted} pods"))
        }
    })
    .await;
    let last = sized(s, 1, &stable, last).await;
    assert_eq!(rollout(&last).in_force_at, rollout(&found).in_force_at);
    promote(s, &last).await;
    let settled = |found: &Microservice| found.is_healthy() && found.said().ready.as_deref() == Some("6/6");
    let after = s
        .wait_for("web", "to have the pods that the load needs", settled)
        .await;
    assert_eq!(after.spec.operation.replicas, 6);
    assert_eq!(after.stable(), last.candidate());
    load.stop().assert_spotless();
}

#[test]
fn a_metric_of_pods_is_not_misled_by_two_revisions() {
    let _alone = alone();
    scenario("hpa-custom").real_pods().run(async |s| {
        let target = json!({"type": "AverageValue", "averageValue": "10"});
        let metric = json!({"type": "Pods", "pods": {"metric": {"name": OF_PODS}, "target": target}});
        // 10 for each of 6 pods is what it is to be: there is no reason to scale.
        assert_not_misled(s, metric, [4, 2]).await;
    });
}

#[test]
fn a_metric_of_the_whole_is_not_misled_by_two_revisions() {
    let _alone = alone();
    scenario("hpa-external").real_pods().run(async |s| {
        let target = json!({"type": "AverageValue", "averageValue": "10"});
        let metric = json!({"type": "External", "external": {"metric": {"name": OF_ALL}, "target": target}});
        // 60 is as much as 6 pods are to have, so that there are to be 6 of them, says the autoscaler.
        assert_not_misled(s, metric, [6, 3]).await;
    });
}

/// There is one adapter at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ADAPTER: Mutex<()> = Mutex::new(());
    ADAPTER.lock().unwrap_or_else(PoisonError::into_inner)
}
