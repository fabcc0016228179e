//! What goes wrong around the operator, and what it makes of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use e2e::environment::{cluster, cluster_dir};
use e2e::proxy::{Fault, Seen};
use e2e::random::{Random, suffix};
use e2e::status::StatusExt;
use e2e::wait::eventually;
use e2e::{Manifest, Scenario, misbehave, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Pod, ResourceQuota};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use microservice_operator::api::{Blame, Microservice, Phase};
use serde_json::{Value, json};

async fn pod_uids(s: &Scenario, revision: &str) -> BTreeSet<String> {
    s.pods_of(revision).await.into_iter().filter_map(|pod| pod.uid()).collect()
}

// --- the operator dies

/// Kills the operator again and again while a rollout runs.
async fn kill_at_random(s: &Scenario, times: usize) {
    let mut random = Random::new();
    println!("{}: SEED={}", s.name, random.seed());
    for _ in 0..times {
        // Not to wait for anything: the moment is to be any.
        tokio::time::sleep(Duration::from_millis(100 + random.below(900))).await;
        s.bounce_operator().await;
    }
    s.operator_ready().await;
}

#[test]
fn killed_at_any_time_a_rollout_ends_the_same() {
    scenario("killed").real_pods().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        let first = s.deploy(&manifest).await.stable().unwrap();
        let load = s.load("web").await;
        s.apply(&manifest.version("1.1.0")).await;
        kill_at_random(s, 8).await;
        let after = s.wait_for("web", "to have the new revision", |found| {
            found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
        })
        .await;
        load.stop().assert_spotless();
        let status = after.said();
        assert_eq!(status.rollout.unwrap().seq, 2, "one rollout");
        assert_eq!(status.history[0].outcome, "Promoted");
        assert_eq!(status.history.len(), 2);
        eventually("one Deployment", async || {
            let left: Vec<String> = s.list::<Deployment>().await.iter().map(ResourceExt::name_any).collect();
            if left.len() == 1 { Ok(()) } else { Err(format!("{left:?}")) }
        })
        .await;
        assert_eq!(s.notes("RolledBack").await, [""; 0]);
    });
}

#[test]
fn killed_at_any_time_a_rollback_ends_the_same() {
    scenario("killed-back").real_pods().run(async |s| {
        let manifest = misbehave("web", "1.0.0").spec(json!({"replicas": 3}));
        let first = s.deploy(&manifest).await.stable().unwrap();
        let load = s.load("web").await;
        let bad = manifest.version("2.0.0").env("EXIT_AFTER_SECONDS", "0").env("START_SECONDS", "60");
        s.apply(&bad).await;
        kill_at_random(s, 8).await;
        let after = s.taken_back("web").await;
        load.stop().assert_spotless();
        assert_eq!(after.stable().unwrap(), first);
        let candidate = after.candidate().unwrap();
        let rejected = after.revision(&candidate).unwrap().rejected.expect("the verdict is remembered");
        assert!(["CrashLoopBackOff", "TooManyCrashes"].contains(&rejected.reason.as_str()), "{rejected:?}");
        assert_eq!(after.said().rollout.unwrap().seq, 2, "one rollout");
        s.ready_pods(&first, 3).await;
    });
}

#[test]
fn it_ends_in_order_when_told_to() {
    scenario("sigterm").run(async |s| {
        s.deploy(&podinfo("web", "1.0.0")).await;
        assert!(s.stop_operator().await, "it ends with success");
    });
}

// --- rights

/// The rights of a namespaced installation on one resource.
fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

const ALL: [&str; 7] = ["get", "list", "watch", "create", "patch", "update", "delete"];

/// All rights that an installation without Secrets needs, but for those on disruption budgets.
fn rights() -> Vec<Value> {
    vec![
        rule("microservice.dev", &["microservices", "microservices/status", "microservices/finalizers"], &ALL),
        rule("apps", &["deployments", "controllerrevisions"], &ALL),
        rule("", &["services", "configmaps", "serviceaccounts", "pods", "events"], &ALL),
        rule("discovery.k8s.io", &["endpointslices"], &["get", "list", "watch"]),
        rule("events.k8s.io", &["events"], &ALL),
        rule("autoscaling", &["horizontalpodautoscalers"], &ALL),
        rule("networking.k8s.io", &["ingresses", "networkpolicies"], &ALL),
    ]
}

/// A user of the cluster with a kubeconfig, and nothing more.
fn user() -> (String, PathBuf) {
    let name = format!("operator-{}", suffix());
    let path = cluster_dir().join(format!("{name}.kubeconfig"));
    std::fs::write(&path, cluster(&["user", &name])).unwrap();
    (name, path)
}

/// Gives a user rights in the scenario's namespace, and those on the whole cluster that a namespaced installation has.
fn grant(s: &Scenario, user: &str, rules: &[Value]) {
    let subjects = json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
    let reference = |kind: &str| json!({"kind": kind, "name": user, "apiGroup": "rbac.authorization.k8s.io"});
    let crds = [rule("apiextensions.k8s.io", &["customresourcedefinitions"], &["get", "list", "watch"])];
    let object = |kind: &str, fields: Value| {
        let mut object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": {"name": user}});
        e2e::manifest::merge(&mut object, fields);
        object
    };
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [
        object("Role", json!({"metadata": {"namespace": s.namespace}, "rules": rules})),
        object("RoleBinding", json!({"metadata": {"namespace": s.namespace}, "subjects": subjects, "roleRef": reference("Role")})),
        object("ClusterRole", json!({"rules": crds})),
        object("ClusterRoleBinding", json!({"subjects": subjects, "roleRef": reference("ClusterRole")})),
    ]});
    s.kubectl_with(&["apply", "-f", "-"], Some(&list.to_string())).ok();
}

async fn assert_budget_forbidden(s: &Scenario) -> Microservice {
    let found = s
        .wait_for("web", "to say what it may not", |found| {
            found.reason("ChildrenApplied", "False").as_deref() == Some("ChildForbidden")
        })
        .await;
    let message = found.condition("ChildrenApplied").unwrap().message;
    assert!(message.starts_with("PodDisruptionBudget web-"), "{message}");
    assert!(message.contains("is forbidden: User \"operator-") && message.contains("cannot patch resource"), "{message}");
    found
}

#[test]
fn a_missing_right_to_write_one_kind_is_named_and_the_others_go_on() {
    let (name, kubeconfig) = user();
    scenario("rbac-write").user(kubeconfig).not_awaited().run(async |s| {
        let mut rules = rights();
        rules.push(rule("policy", &["poddisruptionbudgets"], &["get", "list", "watch"]));
        grant(s, &name, &rules);
        s.operator_ready().await;
        s.apply(&podinfo("web", "1.0.0").spec(json!({"replicas": 2}))).await;
        let found = assert_budget_forbidden(s).await;
        let revision = found.stable().or(found.candidate()).unwrap();
        s.ready_pods(&revision, 2).await;
        s.get::<k8s_openapi::api::core::v1::Service>("web").await;
        // As soon as it may, it does.
        rules.push(rule("policy", &["poddisruptionbudgets"], &ALL));
        grant(s, &name, &rules);
        s.healthy("web").await;
        s.get::<PodDisruptionBudget>(&revision).await;
    });
}

#[test]
fn a_missing_right_to_read_one_kind_is_named_and_the_others_go_on() {
    let (name, kubeconfig) = user();
    scenario("rbac-read").user(kubeconfig).not_awaited().run(async |s| {
        grant(s, &name, &rights());
        s.apply(&podinfo("web", "1.0.0").spec(json!({"replicas": 2}))).await;
        let found = assert_budget_forbidden(s).await;
        let revision = found.stable().or(found.candidate()).unwrap();
        s.ready_pods(&revision, 2).await;
        let mut rules = rights();
        rules.push(rule("policy", &["poddisruptionbudgets"], &ALL));
        grant(s, &name, &rules);
        s.healthy("web").await;
        s.get::<PodDisruptionBudget>(&revision).await;
    });
}

// --- values that the API server refuses in a child

#[test]
fn a_typo_in_the_pod_template_is_quoted_and_nothing_that_runs_is_touched() {
    scenario("typo").real_pods().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let before = s.deploy(&manifest).await;
        let stable = before.stable().unwrap();
        let uids = pod_uids(s, &stable).await;
        let load = s.load("web").await;
        let typo = json!({"podTemplate": {"spec": {"containrs": [{"name": "web"}]}}});
        s.apply(&manifest.clone().version("1.1.0").spec(typo)).await;
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        let cause = after.said().rollout.unwrap().cause.unwrap();
        assert_eq!((cause.blame, cause.reason.as_str()), (Blame::Candidate, "InvalidPodTemplate"));
        assert!(cause.message.contains("unknown field") && cause.message.contains("containrs"), "{}", cause.message);
        assert_eq!(pod_uids(s, &stable).await, uids);
        load.stop().assert_spotless();
        // A changed spec goes out.
        s.deploy(&manifest.version("1.1.0")).await;
    });
}

#[test]
fn a_typo_in_the_first_pod_template_is_quoted() {
    scenario("typo-first").run(async |s| {
        s.apply(&podinfo("web", "1.0.0").spec(json!({"podTemplate": {"spec": {"hostNetwrok": true}}}))).await;
        let found = s.wait_for("web", "to say what is wrong", |found| found.reason("Stalled", "True").is_some()).await;
        assert_eq!(found.said().phase, Some(Phase::Degraded));
        let message = found.said().message.unwrap();
        assert!(message.contains("unknown field") && message.contains("hostNetwrok"), "{message}");
        s.deploy(&podinfo("web", "1.0.0")).await;
    });
}

#[test]
fn a_label_that_cannot_be_one_is_quoted_and_nothing_that_runs_is_touched() {
    scenario("bad-label").real_pods().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&manifest).await.stable().unwrap();
        let uids = pod_uids(s, &stable).await;
        let load = s.load("web").await;
        s.apply(&manifest.clone().spec(json!({"commonLabels": {"team": "not valid!"}}))).await;
        let found = s
            .wait_for("web", "to say what is refused", |found| {
                found.reason("ChildrenApplied", "False").as_deref() == Some("ChildRefused")
            })
            .await;
        let message = found.condition("ChildrenApplied").unwrap().message;
        assert!(message.contains("not valid!") && message.contains("a valid label must be"), "{message}");
        assert_eq!(found.reason("Ready", "False").as_deref(), Some("ChildRefused"));
        // Still it follows what can be followed.
        assert_eq!(pod_uids(s, &stable).await, uids);
        let after = s.deploy(&manifest).await;
        assert!(after.condition("ChildrenApplied").is_none());
        load.stop().assert_spotless();
        assert_eq!(pod_uids(s, &stable).await, uids);
    });
}

#[test]
fn a_quota_is_the_environments_fault_and_tried_again() {
    scenario("quota").real_pods().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let before = s.deploy(&manifest).await;
        let stable = before.stable().unwrap();
        let uids = pod_uids(s, &stable).await;
        s.create::<ResourceQuota>(json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "2"}}})).await;
        s.apply(&manifest.version("1.1.0")).await;
        let after = s.taken_back("web").await;
        let cause = after.said().rollout.unwrap().cause.unwrap();
        assert_eq!((cause.blame, cause.reason.as_str()), (Blame::Environment, "FailedCreate"));
        assert!(cause.message.contains("exceeded quota: few"), "{}", cause.message);
        assert_eq!(pod_uids(s, &stable).await, uids);
        s.patch::<ResourceQuota>("few", "somebody", json!({"spec": {"hard": {"pods": "9"}}})).await;
        assert_ne!(s.healthy("web").await.stable().unwrap(), stable);
    });
}

// --- the way to the API server

fn about(seen: &Seen, name: &str) -> bool {
    seen.method == "PATCH" && seen.uri.contains(&format!("/{name}"))
}

fn ailing() -> Manifest {
    podinfo("ailing", "1.0.0").spec(json!({"replicas": 2, "config": {"env": {"COLOR": "green"}}}))
}

/// Lets writes for one service fail, at its creation and in a rollout, and sees that it recovers and that another one
/// does not notice.
async fn assert_recovers(s: &Scenario, fault: Fault, times: usize) {
    let sound = podinfo("sound", "1.0.0");
    s.proxy().fail(fault, times, |seen| about(seen, "ailing"));
    s.apply(&ailing()).await;
    eventually("a fault", async || if s.proxy().hurt() > 0 { Ok(()) } else { Err("none".to_owned()) }).await;
    s.deploy(&sound).await;
    let first = s.healthy("ailing").await.stable().unwrap();
    s.proxy().fail(fault, times, |seen| about(seen, "ailing"));
    let after = s.deploy(&ailing().version("1.1.0")).await;
    assert_ne!(after.stable().unwrap(), first);
    assert_eq!(s.proxy().hurt(), 2 * times, "all faults were met");
    assert_eq!(after.said().rollout.unwrap().seq, 2);
    assert_eq!(s.notes("RolledBack").await, [""; 0]);
    assert_eq!(after.condition("ChildrenApplied").map(|c| c.message), None);
}

#[test]
fn conflicts_are_looked_at_and_overcome() {
    scenario("conflict").proxied().run(async |s| assert_recovers(s, Fault::Status(409), 3).await);
}

#[test]
fn too_many_requests_are_waited_out() {
    scenario("throttled").proxied().run(async |s| assert_recovers(s, Fault::Status(429), 3).await);
}

#[test]
fn internal_errors_are_waited_out() {
    scenario("internal").proxied().run(async |s| assert_recovers(s, Fault::Status(500), 3).await);
}

#[test]
fn broken_connections_are_overcome() {
    scenario("dropped").proxied().run(async |s| assert_recovers(s, Fault::Drop, 3).await);
}

#[test]
fn answers_that_are_lost_are_no_harm() {
    scenario("lost").proxied().run(async |s| assert_recovers(s, Fault::LoseAnswer, 3).await);
}

#[test]
fn answers_that_are_late_are_no_harm() {
    scenario("late").proxied().run(async |s| assert_recovers(s, Fault::Delay(Duration::from_millis(700)), 6).await);
}

#[test]
fn requests_without_answer_are_given_up_and_others_go_on() {
    scenario("hang").proxied().run(async |s| assert_recovers(s, Fault::Hang, 1).await);
}

#[test]
fn a_failing_watch_concerns_nobody_else_and_recovers() {
    scenario("watch").proxied().run(async |s| {
        let stable = s.deploy(&podinfo("web", "1.0.0")).await.stable().unwrap();
        let deployments = |seen: &Seen| seen.method == "GET" && seen.uri.contains("/deployments?");
        s.proxy().fail(Fault::Status(500), usize::MAX, deployments);
        s.proxy().cut_watches();
        eventually("the watch to fail", async || if s.proxy().hurt() > 1 { Ok(()) } else { Err("not yet".to_owned()) }).await;
        // Another service is made and changed meanwhile.
        let other = podinfo("other", "1.0.0");
        s.deploy(&other).await;
        s.deploy(&other.version("1.1.0")).await;
        // What happens meanwhile is seen when the watch is back.
        s.patch::<Deployment>(&stable, "somebody", json!({"spec": {"replicas": 3}})).await;
        s.proxy().heal();
        s.until::<Deployment>(&stable, "to be put back", |found| found.spec.as_ref().unwrap().replicas == Some(1)).await;
        let metrics = s.page("/metrics").await;
        assert!(metrics.contains("deployments"), "the failures are counted:\n{metrics}");
    });
}

#[test]
fn all_watches_cut_at_once_are_taken_up_again() {
    scenario("cut").proxied().run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&manifest).await.stable().unwrap();
        for version in ["1.1.0", "2.0.0"] {
            s.proxy().cut_watches();
            s.apply(&manifest.clone().version(version)).await;
            s.proxy().cut_watches();
            s.healthy("web").await;
        }
        let pods: Vec<Pod> = s.list().await;
        assert!(!pods.is_empty());
        assert_ne!(s.service("web").await.stable().unwrap(), stable);
    });
}
