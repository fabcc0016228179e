//! Bad input that only reconciling finds, and faults around the operator: what runs goes on, and it recovers by itself.
//!
//! A panic in one look at a service cannot be provoked from outside: the worker's own tests have that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use e2e::audit::AuditLog;
use e2e::proxy::{Fault, Seen};
use e2e::recorder::Recorder;
use e2e::rights::{Reach, Rights, shipped, shipped_with};
use e2e::scenario::revision_of;
use e2e::status::StatusExt;
use e2e::wait::{eventually, patience, within};
use e2e::{Manifest, Scenario, misbehave, podinfo, scenario};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Service};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use microservice_operator::api::{Blame, Microservice, Phase, RolloutState};
use serde_json::{Value, json};

// --- what must not change

/// The pods of a revision, and how often their containers were restarted.
async fn incarnations(s: &Scenario, revision: &str) -> BTreeSet<(String, i32)> {
    let restarts = |pod: &Pod| {
        let containers = pod
            .status
            .as_ref()
            .and_then(|status| status.container_statuses.as_ref());
        containers
            .into_iter()
            .flatten()
            .map(|container| container.restart_count)
            .sum()
    };
    s.pods_of(revision)
        .await
        .iter()
        .map(|pod| (pod.uid().unwrap(), restarts(pod)))
        .collect()
}

/// Every pod of a revision that was ever seen.
fn ever(pods: &Recorder<Pod>, revision: &str) -> BTreeSet<String> {
    let all = pods.all();
    let of = all
        .iter()
        .filter(|sighting| revision_of(&sighting.object) == revision);
    of.map(|sighting| sighting.object.uid().unwrap()).collect()
}

/// The outcomes of the rollouts, newest first.
fn outcomes(service: &Microservice) -> Vec<String> {
    service
        .said()
        .history
        .iter()
        .map(|entry| entry.outcome.clone())
        .collect()
}

/// Waits until the Service answers at all, and only with `version`.
async fn served_by(s: &Scenario, version: &str) {
    s.assert_served_by("web", version).await;
}

// --- bad input that only the API server finds

/// A change of the pod template that the API server refuses is rejected with its words; what runs is not touched.
fn overlay_is_rejected(name: &'static str, overlay: Value, words: &'static str) {
    scenario(name).real_pods().run(async move |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let before = s.deploy(&good).await;
        let stable = before.stable().unwrap();
        let load = s.load("web").await;
        let pods = incarnations(s, &stable).await;
        s.apply(
            &good
                .clone()
                .version("1.1.0")
                .spec(json!({"podTemplate": overlay})),
        )
        .await;
        let after = s.taken_back("web").await;
        let candidate = after.candidate().unwrap();
        let cause = after.said().rollout.unwrap().cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Candidate, "InvalidPodTemplate")
        );
        assert!(cause.message.contains(words), "{}", cause.message);
        assert!(
            cause.message.contains(&format!("Deployment {candidate}")),
            "{}",
            cause.message
        );
        assert_eq!(after.said().phase, Some(Phase::Degraded));
        assert_eq!(after.reason("Available", "True").as_deref(), Some("Serving"));
        s.event("RolledBack", words).await;
        assert_eq!(after.stable().unwrap(), stable);
        assert_eq!(incarnations(s, &stable).await, pods);
        assert!(s.find::<Deployment>(&candidate).await.is_none());
        // Fixing it is a new spec, which goes out as ever.
        let fixed = s.deploy(&good.version("1.1.0")).await;
        assert_ne!(fixed.stable().unwrap(), stable);
        assert!(fixed.condition("ChildrenApplied").is_none());
        load.stop().assert_spotless();
    });
}

#[test]
fn a_typo_in_the_overlay_is_rejected() {
    let overlay = json!({"spec": {"nodeSelctor": {"disk": "ssd"}}});
    overlay_is_rejected(
        "overlay-typo",
        overlay,
        ".spec.template.spec.nodeSelctor: field not declared in schema",
    );
}

#[test]
fn a_wrong_value_in_the_overlay_is_rejected() {
    let overlay = json!({"spec": {"dnsPolicy": "Sometimes"}});
    overlay_is_rejected(
        "overlay-value",
        overlay,
        "spec.template.spec.dnsPolicy: Unsupported value: \"Sometimes\"",
    );
}

#[test]
fn a_first_revision_that_is_refused_says_why_and_can_be_fixed() {
    scenario("overlay-first").run(async |s| {
        let good = podinfo("web", "1.0.0");
        s.apply(
            &good
                .clone()
                .spec(json!({"podTemplate": {"spec": {"nodeSelctor": {"disk": "ssd"}}}})),
        )
        .await;
        let words = ".spec.template.spec.nodeSelctor: field not declared in schema";
        let refused = s
            .wait_for("web", "to say why", |found| {
                found.is_current() && found.reason("Stalled", "True").as_deref() == Some("InvalidPodTemplate")
            })
            .await;
        assert_eq!(refused.said().phase, Some(Phase::Degraded));
        assert!(
            refused.said().message.unwrap().contains(words),
            "{:?}",
            refused.said().message
        );
        assert_eq!(
            refused.reason("ChildrenApplied", "False").as_deref(),
            Some("ChildRefused")
        );
        assert_eq!(
            refused.reason("Available", "False").as_deref(),
            Some("NoReadyPod")
        );
        let fixed = s.deploy(&good).await;
        assert!(fixed.condition("ChildrenApplied").is_none());
    });
}

#[test]
fn a_child_that_is_refused_does_not_hold_up_the_others() {
    scenario("child-refused").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let pods = incarnations(s, &stable).await;
        let load = s.load("web").await;
        // No schema knows what an address is: only the API server does.
        let from = json!([{"from": [{"ipBlock": {"cidr": "10.0.0.0/99"}}]}]);
        let bad = good.clone().spec(json!({
            "networkPolicy": {"mode": "Ingress", "ingress": from},
            "routes": [{"name": "public", "hosts": ["web.example"], "ingress": {}}],
        }));
        s.apply(&bad).await;
        let refused = s
            .wait_for("web", "to say what was refused", |found| {
                found.is_current() && found.reason("ChildrenApplied", "False").is_some()
            })
            .await;
        let condition = refused.condition("ChildrenApplied").unwrap();
        assert_eq!(condition.reason, "ChildRefused");
        assert!(
            condition.message.starts_with("NetworkPolicy web: "),
            "{}",
            condition.message
        );
        let words = "spec.ingress[0].from[0].ipBlock.cidr: Invalid value: \"10.0.0.0/99\"";
        assert!(condition.message.contains(words), "{}", condition.message);
        assert_eq!(refused.reason("Stalled", "True").as_deref(), Some("ChildRefused"));
        assert_eq!(refused.reason("Ready", "False").as_deref(), Some("ChildRefused"));
        assert_eq!(refused.said().phase, Some(Phase::Degraded));
        assert_eq!(refused.reason("Available", "True").as_deref(), Some("Serving"));
        s.until::<Ingress>("web-public", "to be there", |_| true).await;
        assert_eq!(s.list::<NetworkPolicy>().await.len(), 0);
        assert_eq!(incarnations(s, &stable).await, pods);
        // A new version goes out all the same.
        s.apply(&bad.version("1.1.0")).await;
        s.wait_for("web", "to have the new version", |found| {
            found.is_current()
                && found.state() == Some(RolloutState::Steady)
                && found.stable().as_ref() != Some(&stable)
        })
        .await;
        served_by(s, "1.1.0").await;
        let fixed = s
            .deploy(
                &good
                    .version("1.1.0")
                    .spec(json!({"networkPolicy": {"mode": "Ingress", "ingress": [{}]}})),
            )
            .await;
        assert!(fixed.condition("ChildrenApplied").is_none());
        assert_eq!(s.list::<NetworkPolicy>().await.len(), 1);
        load.stop().assert_spotless();
    });
}

#[test]
fn a_quota_stops_a_rollout_until_it_is_raised() {
    scenario("quota").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let pods = incarnations(s, &stable).await;
        let load = s.load("web").await;
        s.create::<ResourceQuota>(json!({"metadata": {"name": "small"}, "spec": {"hard": {"pods": "2"}}}))
            .await;
        s.until::<ResourceQuota>("small", "to be counted", |quota| {
            quota
                .status
                .as_ref()
                .and_then(|status| status.used.as_ref())
                .is_some_and(|used| used["pods"].0 == "2")
        })
        .await;
        s.apply(&good.version("1.1.0")).await;
        let back = s.taken_back("web").await;
        let candidate = back.candidate().unwrap();
        let rollout = back.said().rollout.unwrap();
        let cause = rollout.cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Environment, "QuotaExceeded")
        );
        assert!(
            cause
                .message
                .contains("exceeded quota: small, requested: pods=1, used: pods=2, limited: pods=2"),
            "{}",
            cause.message
        );
        assert_eq!(back.reason("Stalled", "True").as_deref(), Some("QuotaExceeded"));
        assert!(rollout.retry_at.is_some());
        assert!(back.revision(&candidate).unwrap().rejected.is_none());
        assert_eq!(incarnations(s, &stable).await, pods);
        s.patch::<ResourceQuota>("small", "e2e", json!({"spec": {"hard": {"pods": "10"}}}))
            .await;
        let raised = Instant::now();
        let after = s.healthy("web").await;
        println!(
            "measured: quota: {:.1} s from the raise to the promotion",
            raised.elapsed().as_secs_f64()
        );
        assert_eq!(after.stable().unwrap(), candidate);
        assert_eq!(after.said().rollout.unwrap().trial, 2);
        served_by(s, "1.1.0").await;
        load.stop().assert_spotless();
    });
}

// --- rights

/// A Microservice that asks for every kind of child that each cluster has.
fn everything() -> Manifest {
    misbehave("web", "1.0.0").spec(json!({
        "replicas": 2,
        "config": {"mountPath": "/etc/web", "files": {"a": "b"}, "env": {"C": "d"}},
        "files": [{"mountPath": "/etc/rules", "configMap": {"name": "rules"}}],
        "serviceAccount": {"create": "Always"},
        "networkPolicy": {"mode": "Ingress", "ingress": [{}]},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3, "cpu": 70},
        "routes": [{"name": "public", "hosts": ["web.example"], "ingress": {}}],
    }))
}

#[test]
fn the_shipped_rights_are_enough_for_a_whole_life() {
    scenario("rights").real_pods().without_operator().run(async |s| {
        let rights = Rights::new(Reach::Cluster, &shipped());
        let audit = AuditLog::of_user(&rights.user);
        s.start_operator_as(rights.kubeconfig()).await;
        s.operator_ready().await;
        s.create::<ConfigMap>(json!({"metadata": {"name": "rules"}, "data": {"a": "1"}}))
            .await;
        let stable = s.deploy(&everything()).await.stable().unwrap();
        // A change that goes out, one that is taken back, drift, and a part that is not wanted any more.
        let second = everything().version("1.1.0");
        let promoted = s.deploy(&second).await.stable().unwrap();
        assert_ne!(promoted, stable);
        s.apply(&second.clone().version("2.0.0").env("EXIT_AFTER_SECONDS", "0"))
            .await;
        s.taken_back("web").await;
        s.deploy(&second).await;
        s.delete::<Ingress>("web-public").await;
        s.patch::<Service>("web", "kubectl-edit", json!({"spec": {"type": "NodePort"}}))
            .await;
        s.until::<Ingress>("web-public", "to be made again", |_| true)
            .await;
        s.until::<Service>("web", "to be put back", |service| {
            service.spec.as_ref().and_then(|spec| spec.type_.as_deref()) == Some("ClusterIP")
        })
        .await;
        s.deploy(&second.spec(json!({"routes": null, "autoscaling": null, "networkPolicy": null})))
            .await;
        s.gone::<Ingress>("web-public").await;
        s.gone::<HorizontalPodAutoscaler>("web").await;
        s.delete::<Microservice>("web").await;
        s.gone::<Service>("web").await;

        let requests = audit.requests("");
        let refused: Vec<String> = requests
            .iter()
            .filter(|request| matches!(request.code, 401 | 403))
            .map(|request| request.brief())
            .collect();
        assert_eq!(refused, [""; 0]);
        let written: BTreeSet<String> = requests
            .iter()
            .filter(|request| request.writes() && request.accepted())
            .map(|request| match request.subresource.as_str() {
                "" => request.resource.clone(),
                part => format!("{}/{part}", request.resource),
            })
            .collect();
        let expected = [
            "configmaps",
            "controllerrevisions",
            "deployments",
            "events",
            "horizontalpodautoscalers",
            "ingresses",
            "microservices/status",
            "networkpolicies",
            "poddisruptionbudgets",
            "serviceaccounts",
            "services",
        ];
        assert_eq!(written.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    });
}

#[test]
fn rights_in_one_namespace_alone_are_enough_there() {
    scenario("rights-bound").without_operator().run(async |s| {
        // Nodes and CRDs have no namespace, so that a binding in one gives no right to see them.
        let rights = Rights::new(Reach::Namespace(&s.namespace), &shipped());
        let audit = AuditLog::of_user(&rights.user);
        s.start_operator_as(rights.kubeconfig()).await;
        s.operator_ready().await;
        s.deploy(&podinfo("web", "1.0.0")).await;
        s.deploy(&podinfo("web", "1.1.0")).await;
        let refused: BTreeSet<String> = audit
            .requests("")
            .into_iter()
            .filter(|request| request.code == 403)
            .map(|request| format!("{} {}", request.verb, request.resource))
            .collect();
        assert_eq!(
            refused.iter().map(String::as_str).collect::<Vec<_>>(),
            ["list customresourcedefinitions", "list nodes"]
        );
    });
}

/// Without a right for one kind the others are made, the condition quotes the API server, and nothing is to be done
/// but to give the right.
fn a_missing_right(name: &'static str, resource: &'static str, kept: &'static [&'static str]) {
    scenario(name).real_pods().without_operator().run(async move |s| {
        let rights = Rights::new(Reach::Cluster, &shipped_with(resource, kept));
        s.start_operator_as(rights.kubeconfig()).await;
        s.create::<ConfigMap>(json!({"metadata": {"name": "rules"}, "data": {"a": "1"}})).await;
        s.apply(&everything()).await;
        let refused = s
            .wait_for("web", "to say which right is missing", |found| {
                found.is_current() && found.reason("ChildrenApplied", "False").is_some() && found.stable().is_some()
            })
            .await;
        let condition = refused.condition("ChildrenApplied").unwrap();
        assert_eq!(condition.reason, "ChildForbidden");
        let (kind, child) = if resource == "ingresses" { ("Ingress", "web-public") } else { ("NetworkPolicy", "web") };
        let words = format!(
            "{kind} {child}: {resource}.networking.k8s.io \"{child}\" is forbidden: User \"{}\" cannot patch resource \
             \"{resource}\" in API group \"networking.k8s.io\" in the namespace \"{}\"",
            rights.user, s.namespace
        );
        assert!(condition.message.starts_with(&words), "{}", condition.message);
        assert_eq!(refused.reason("Stalled", "True").as_deref(), Some("ChildForbidden"));
        assert_eq!(refused.said().phase, Some(Phase::Degraded));
        let stable = refused.stable().unwrap();
        s.ready_pods(&stable, 2).await;
        served_by(s, "1.0.0").await;
        s.get::<HorizontalPodAutoscaler>("web").await;
        s.get::<PodDisruptionBudget>(&stable).await;
        match resource {
            "ingresses" => s.get::<NetworkPolicy>("web").await.name_any(),
            _ => s.get::<Ingress>("web-public").await.name_any(),
        };
        let pods = incarnations(s, &stable).await;
        rights.become_only(&shipped());
        let given = Instant::now();
        let after = s.healthy("web").await;
        println!("measured: {name}: {:.1} s from the right to health", given.elapsed().as_secs_f64());
        assert!(after.condition("ChildrenApplied").is_none());
        assert_eq!((s.list::<Ingress>().await.len(), s.list::<NetworkPolicy>().await.len()), (1, 1));
        assert_eq!(incarnations(s, &stable).await, pods);
    });
}

#[test]
fn without_the_right_to_write_ingresses_the_rest_goes_on() {
    a_missing_right("right-ingress", "ingresses", &["get", "list", "watch"]);
}

#[test]
fn without_any_right_to_network_policies_the_rest_goes_on() {
    a_missing_right("right-netpol", "networkpolicies", &[]);
}

#[test]
fn a_right_that_is_taken_away_harms_nothing_that_runs() {
    scenario("right-taken")
        .real_pods()
        .without_operator()
        .run(async |s| {
            let rights = Rights::new(Reach::Cluster, &shipped());
            s.start_operator_as(rights.kubeconfig()).await;
            s.operator_ready().await;
            let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
            let stable = s.deploy(&good).await.stable().unwrap();
            let pods = incarnations(s, &stable).await;
            let load = s.load("web").await;
            rights.become_only(&shipped_with("deployments", &["get", "list", "watch"]));
            // The API server's own cache of rights follows a moment later.
            let who = format!("--as={}", rights.user);
            eventually("the right to be gone", async || {
                let said = s.kubectl(&["auth", "can-i", "patch", "deployments", &who]);
                if said.out.trim() == "no" {
                    Ok(())
                } else {
                    Err(said.out)
                }
            })
            .await;
            s.apply(&good.version("1.1.0")).await;
            let back = s
                .wait_for("web", "to say what is forbidden", |found| {
                    found.is_current()
                        && found.reason("ChildrenApplied", "False").as_deref() == Some("ChildForbidden")
                })
                .await;
            assert_eq!(back.stable().unwrap(), stable);
            assert_eq!(incarnations(s, &stable).await, pods);
            rights.become_only(&shipped());
            let after = s.healthy("web").await;
            assert_ne!(after.stable().unwrap(), stable);
            served_by(s, "1.1.0").await;
            load.stop().assert_spotless();
        });
}

// --- the operator dies

#[test]
fn an_operator_killed_in_a_rollout_goes_on_where_it_was() {
    scenario("killed").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 3, "strategy": {"bakeSeconds": 4}}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let old = incarnations(s, &stable).await;
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        s.apply(&good.clone().version("1.1.0")).await;
        let candidate = s.candidate("web").await;
        s.restart_operator().await;
        // At the first pod, at each ready one, and while it bakes.
        pods.first("a pod of the candidate", |pod| revision_of(pod) == candidate)
            .await;
        s.bounce_operator().await;
        for ready in 1..=3 {
            eventually(&format!("{ready} ready pods of the candidate"), async || {
                let found = s
                    .pods_of(&candidate)
                    .await
                    .iter()
                    .filter(|pod| e2e::scenario::is_ready(pod))
                    .count();
                if found >= ready {
                    Ok(())
                } else {
                    Err(format!("{found}"))
                }
            })
            .await;
            s.kill_operator().await;
            s.bounce_operator().await;
        }
        s.wait_for("web", "to bake", |found| {
            found.state() == Some(RolloutState::Baking)
        })
        .await;
        s.restart_operator().await;
        let after = s.healthy("web").await;
        assert_eq!(after.stable().unwrap(), candidate);
        assert_eq!(outcomes(&after), ["Promoted", "Promoted"]);
        assert_eq!(after.said().rollout.unwrap().trial, 1);
        served_by(s, "1.1.0").await;
        load.stop().assert_spotless();
        // Each pod was made once, and no container of either revision was started twice.
        assert_eq!(ever(&pods, &candidate).len(), 3);
        assert_eq!(
            ever(&pods, &stable),
            old.iter().map(|(uid, _)| uid.clone()).collect()
        );
        assert!(
            incarnations(s, &candidate)
                .await
                .iter()
                .all(|(_, restarts)| *restarts == 0)
        );
    });
}

#[test]
fn an_operator_killed_on_the_way_back_goes_on_where_it_was() {
    scenario("killed-back").real_pods().run(async |s| {
        let good = misbehave("web", "1.0.0")
            .spec(json!({"replicas": 3, "strategy": {"bakeSeconds": 60, "maxCrashes": 0}}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let load = s.load("web").await;
        s.apply(&good.version("2.0.0")).await;
        let baking = s
            .wait_for("web", "to bake", |found| {
                found.is_current() && found.state() == Some(RolloutState::Baking)
            })
            .await;
        let candidate = baking.candidate().unwrap();
        // It crashes while nobody looks: what the pods say is still there when somebody does.
        s.kill_operator().await;
        let victim = s.pods_of(&candidate).await.remove(0);
        s.tell(&victim, "/exit?code=3").await;
        s.until::<Pod>(&victim.name_any(), "to have been restarted", |pod| {
            let containers = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.as_ref());
            containers.is_some_and(|all| all.iter().any(|container| container.restart_count > 0))
        })
        .await;
        // And what is started again listens a moment later, before or after the Service has left it out.
        eventually("it to answer again", async || s.ask(&victim, "/").await).await;
        let restarted = Timestamp::now();
        s.bounce_operator().await;
        s.wait_for("web", "to return", |found| {
            matches!(
                found.state(),
                Some(RolloutState::Returning | RolloutState::Steady)
            )
        })
        .await;
        s.restart_operator().await;
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        let cause = after.said().rollout.unwrap().cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Candidate, "TooManyCrashes")
        );
        assert_eq!(outcomes(&after), ["RolledBack", "Promoted"]);
        s.ready_pods(&stable, 3).await;
        served_by(s, "1.0.0").await;
        // Only the container that was told to exit was missed, until the kubelet had started it again: no request to
        // anybody failed on the way back.
        let late: Vec<_> = load
            .stop()
            .failures
            .into_iter()
            .filter(|(at, _)| *at > restarted)
            .collect();
        assert_eq!(late, []);
    });
}

/// Lets the operator do one write after another, and kills it before each next one. Answers how often.
async fn killed_before_each_write(s: &Scenario, ended: impl Fn(&Microservice) -> bool) -> usize {
    for deaths in 0..100 {
        let hurt = s.proxy().hurt();
        let allowed = AtomicUsize::new(0);
        // The second write and all after it hang until the operator is dead: they never come to the API server.
        s.proxy().fail(Fault::Hang, usize::MAX, move |seen| {
            seen.writes() && allowed.fetch_add(1, Ordering::SeqCst) > 0
        });
        let over = eventually("another write, or the end", async || {
            if ended(&s.service("web").await) {
                return Ok(true);
            }
            if s.proxy().hurt() > hurt {
                Ok(false)
            } else {
                Err("neither".to_owned())
            }
        })
        .await;
        if over {
            s.proxy().heal();
            return deaths;
        }
        s.kill_operator().await;
        s.proxy().heal();
        s.bounce_operator().await;
    }
    panic!("a hundred writes were not enough");
}

#[test]
fn a_crash_between_any_two_writes_of_a_rollout_loses_nothing() {
    scenario("between-writes").real_pods().proxied().run(async |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        s.kill_operator().await;
        let generation = s.apply(&good.version("1.1.0")).await.metadata.generation;
        s.bounce_operator().await;
        let deaths = killed_before_each_write(s, |found| {
            found.metadata.generation == generation && found.is_healthy()
        })
        .await;
        println!("measured: between-writes: killed {deaths} times in one rollout of 2 pods");
        assert!(deaths >= 8, "only {deaths} moments were tried");
        let after = s.healthy("web").await;
        let candidate = after.stable().unwrap();
        assert_ne!(candidate, stable);
        assert_eq!(outcomes(&after), ["Promoted", "Promoted"]);
        assert_eq!(after.said().rollout.unwrap().trial, 1);
        served_by(s, "1.1.0").await;
        load.stop().assert_spotless();
        s.ready_pods(&candidate, 2).await;
        assert_eq!(
            (ever(&pods, &stable).len(), ever(&pods, &candidate).len()),
            (2, 2)
        );
    });
}

#[test]
fn a_crash_between_any_two_writes_of_a_rollback_loses_nothing() {
    scenario("between-backs").real_pods().proxied().run(async |s| {
        let good = misbehave("web", "1.0.0").spec(json!({"replicas": 2}));
        let before = s.deploy(&good).await;
        let stable = before.stable().unwrap();
        let pods = incarnations(s, &stable).await;
        let load = s.load("web").await;
        s.kill_operator().await;
        let generation = s
            .apply(&good.version("2.0.0").env("EXIT_AFTER_SECONDS", "0"))
            .await
            .metadata
            .generation;
        s.bounce_operator().await;
        let deaths = killed_before_each_write(s, |found| {
            found.metadata.generation == generation && found.is_taken_back()
        })
        .await;
        println!("measured: between-backs: killed {deaths} times in one rollback");
        assert!(deaths >= 8, "only {deaths} moments were tried");
        let after = s.taken_back("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        assert_eq!(outcomes(&after), ["RolledBack", "Promoted"]);
        let candidate = after.candidate().unwrap();
        assert!(after.revision(&candidate).unwrap().rejected.is_some());
        s.ready_pods(&stable, 2).await;
        assert_eq!(incarnations(s, &stable).await, pods);
        served_by(s, "1.0.0").await;
        load.stop().assert_spotless();
    });
}

// --- the way to the API server is bad

/// A rollout in which some requests go wrong ends as every other one does.
fn a_rollout_survives(name: &'static str, fault: Fault, times: usize, chosen: fn(&Seen) -> bool) {
    scenario(name).real_pods().proxied().run(async move |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        let healthy = s.proxy().hurt();
        s.proxy().fail(fault, times, chosen);
        let began = Instant::now();
        let after = s.deploy(&good.version("1.1.0")).await;
        println!(
            "measured: {name}: a rollout with {times} faults took {:.1} s",
            began.elapsed().as_secs_f64()
        );
        assert_eq!(s.proxy().hurt() - healthy, times, "requests that went wrong");
        let candidate = after.stable().unwrap();
        assert_eq!(outcomes(&after), ["Promoted", "Promoted"]);
        assert!(after.condition("ChildrenApplied").is_none());
        served_by(s, "1.1.0").await;
        load.stop().assert_spotless();
        s.ready_pods(&candidate, 2).await;
        assert_eq!(
            (ever(&pods, &stable).len(), ever(&pods, &candidate).len()),
            (2, 2)
        );
    });
}

#[test]
fn a_rollout_survives_conflicts() {
    a_rollout_survives("proxy-409", Fault::Status(409), 4, Seen::writes);
}

#[test]
fn a_rollout_survives_too_many_requests() {
    a_rollout_survives("proxy-429", Fault::Status(429), 4, Seen::writes);
}

#[test]
fn a_rollout_survives_internal_errors() {
    a_rollout_survives("proxy-500", Fault::Status(500), 4, Seen::writes);
}

#[test]
fn a_rollout_survives_requests_that_are_never_answered() {
    a_rollout_survives("proxy-hang", Fault::Hang, 1, Seen::writes);
}

#[test]
fn a_rollout_survives_connections_that_break() {
    a_rollout_survives("proxy-drop", Fault::Drop, 4, Seen::writes);
}

#[test]
fn a_rollout_survives_answers_that_are_lost() {
    a_rollout_survives("proxy-lost", Fault::LoseAnswer, 4, Seen::writes);
}

#[test]
fn a_rollout_survives_a_slow_api_server() {
    a_rollout_survives(
        "proxy-slow",
        Fault::Delay(Duration::from_secs(1)),
        6,
        Seen::writes,
    );
}

#[test]
fn a_rollout_does_not_wait_for_events_that_nobody_takes() {
    a_rollout_survives("proxy-events", Fault::Hang, 1, |seen| {
        seen.writes() && seen.uri.contains("/events")
    });
}

#[test]
fn watches_that_break_in_a_rollout_are_taken_up_again() {
    scenario("watches").real_pods().proxied().run(async |s| {
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let stable = s.deploy(&good).await.stable().unwrap();
        let load = s.load("web").await;
        s.apply(&good.clone().version("1.1.0")).await;
        let candidate = s.candidate("web").await;
        // All of them at once; some then meet a server that has forgotten where they were, and one that is busy.
        let hurt = s.proxy().hurt();
        s.proxy().fail(Fault::Status(410), 2, Seen::is_watch);
        s.proxy().fail(Fault::Status(500), 2, Seen::is_watch);
        s.proxy().cut_watches();
        let after = s.healthy("web").await;
        assert_eq!(after.stable().unwrap(), candidate);
        assert_eq!(s.proxy().hurt() - hurt, 4);
        served_by(s, "1.1.0").await;
        load.stop().assert_spotless();
        assert_eq!(s.pods_of(&stable).await.len(), 0);
    });
}

#[test]
fn a_kind_that_cannot_be_watched_slows_no_other() {
    scenario("watch-fails").real_pods().proxied().run(async |s| {
        let route = json!([{"name": "public", "hosts": ["web.example"], "ingress": {}}]);
        let good = podinfo("web", "1.0.0").spec(json!({"replicas": 2, "routes": route}));
        s.deploy(&good).await;
        let began = Instant::now();
        s.deploy(&good.clone().version("1.1.0")).await;
        let usual = began.elapsed();
        let of_ingresses = |seen: &Seen| seen.method == "GET" && seen.uri.contains("/ingresses");
        let before = s.proxy().hurt();
        s.proxy().fail(Fault::Status(500), usize::MAX, of_ingresses);
        s.proxy().cut_watches();
        eventually("the watch to fail", async || {
            if s.proxy().hurt() > before {
                Ok(())
            } else {
                Err("not yet".to_owned())
            }
        })
        .await;
        let began = Instant::now();
        s.deploy(&good.version("2.0.0")).await;
        let took = began.elapsed();
        println!(
            "measured: watch-fails: a rollout takes {:.1} s, and {:.1} s while one watch fails",
            usual.as_secs_f64(),
            took.as_secs_f64()
        );
        assert!(
            took < usual + Duration::from_secs(4),
            "{took:?}, usually {usual:?}"
        );
        // It is tried again, and not in a tight loop.
        let tries = s.proxy().hurt() - before;
        assert!(tries <= 20, "{tries} tries in {took:?}");
        let metrics = s.page("/metrics").await;
        assert!(
            metrics
                .lines()
                .any(|line| line.contains("watch") && line.contains("\"ingresses\"")),
            "{metrics}"
        );
        // What happened meanwhile is seen as soon as the watch is back.
        s.delete::<Ingress>("web-public").await;
        s.proxy().heal();
        s.until::<Ingress>("web-public", "to be made again", |_| true)
            .await;
    });
}

#[test]
fn an_operator_starts_although_one_kind_cannot_be_watched() {
    scenario("watch-start").proxied().run(async |s| {
        s.kill_operator().await;
        s.proxy().fail(Fault::Status(500), usize::MAX, |seen| {
            seen.method == "GET" && seen.uri.contains("/ingresses")
        });
        s.bounce_operator().await;
        s.deploy(&podinfo("web", "1.0.0")).await;
        s.proxy().heal();
        s.operator_ready().await;
    });
}

// --- nobody else suffers

/// While every write in one namespace goes wrong, a service of another one is made, changed and repaired as ever.
fn the_neighbour_is_served(name: &'static str, fault: Fault, services: usize) {
    scenario(name).real_pods().proxied().with_neighbour().run(async move |s| {
        let good = podinfo("web", "1.0.0");
        let neighbour = s.neighbour();
        let began = Instant::now();
        s.deploy(&good).await;
        neighbour.deploy(&good).await;
        let usual = began.elapsed();
        let path = format!("/namespaces/{}/", s.namespace);
        let hurt = s.proxy().hurt();
        s.proxy().fail(fault, usize::MAX, move |seen| seen.writes() && seen.uri.contains(&path));
        s.apply(&good.clone().version("1.1.0")).await;
        for index in 1..services {
            s.apply(&podinfo(&format!("web-{index}"), "1.0.0").spec(json!({"replicas": 0}))).await;
        }
        eventually("writes to go wrong", async || {
            if s.proxy().hurt() > hurt { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let began = Instant::now();
        let promoted = neighbour.deploy(&good.clone().version("1.1.0")).await;
        neighbour.delete::<Service>("web").await;
        neighbour.until::<Service>("web", "to be made again", |_| true).await;
        let took = began.elapsed();
        println!(
            "measured: {name}: the neighbour's rollout and repair took {:.1} s, two first deployments {:.1} s",
            took.as_secs_f64(),
            usual.as_secs_f64()
        );
        // Its bake alone is 2 s; one lost time-out of a write would be 15.
        assert!(took < Duration::from_secs(12), "{took:?}");
        assert_eq!(outcomes(&promoted), ["Promoted", "Promoted"]);
        s.proxy().heal();
        // The longest pause of the back-off so far, and a write that still hangs.
        let limit = patience() + Duration::from_secs(30);
        within(limit, "the one with the trouble to recover", async || {
            let found = s.service("web").await;
            if found.is_healthy() && outcomes(&found).len() == 2 { Ok(()) } else { Err(format!("{:?}", found.said().message)) }
        })
        .await;
    });
}

#[test]
fn a_namespace_whose_writes_fail_disturbs_no_other() {
    the_neighbour_is_served("others-500", Fault::Status(500), 1);
}

#[test]
fn a_namespace_whose_writes_hang_disturbs_no_other() {
    the_neighbour_is_served("others-hang", Fault::Hang, 1);
}

#[test]
fn many_services_whose_writes_hang_disturb_no_other() {
    // More than there are writes in flight, and than services that are worked on at a time.
    the_neighbour_is_served("others-many", Fault::Hang, 24);
}
