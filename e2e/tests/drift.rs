//! What others do to the children, and what becomes of them when the Microservice goes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout};
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use microservice_operator::api::{Microservice, Phase};
use serde_json::{Value, json};

fn service() -> Manifest {
    podinfo("web", "1.0.0").spec(json!({"replicas": 2, "config": {"env": {"COLOR": "green"}}}))
}

/// The pods that are to stay: of another revision some may not have ended yet.
async fn pod_uids(s: &Scenario) -> BTreeSet<String> {
    s.list::<Pod>()
        .await
        .into_iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .filter_map(|pod| pod.uid())
        .collect()
}

#[test]
fn what_is_deleted_by_hand_comes_back() {
    scenario("deleted").run(async |s| {
        let stable = s.deploy(&service()).await.stable().unwrap();
        let old: Service = s.get("web").await;
        s.delete::<Service>("web").await;
        s.until::<Service>("web", "to be another", |found| found.uid() != old.uid())
            .await;
        let old: PodDisruptionBudget = s.get(&stable).await;
        s.delete::<PodDisruptionBudget>(&stable).await;
        s.until::<PodDisruptionBudget>(&stable, "to be another", |found| found.uid() != old.uid())
            .await;
        let old: ConfigMap = s.get(&stable).await;
        s.delete::<ConfigMap>(&stable).await;
        let new = s
            .until::<ConfigMap>(&stable, "to be another", |found| found.uid() != old.uid())
            .await;
        assert_eq!(new.data, old.data);
        let old: ControllerRevision = s.get(&stable).await;
        s.delete::<ControllerRevision>(&stable).await;
        let new = s
            .until::<ControllerRevision>(&stable, "to be another", |found| found.uid() != old.uid())
            .await;
        assert_eq!(new.data.unwrap().0["digest"], old.data.unwrap().0["digest"]);
        let old: Deployment = s.get(&stable).await;
        s.delete::<Deployment>(&stable).await;
        s.until::<Deployment>(&stable, "to be another", |found| found.uid() != old.uid())
            .await;
        s.healthy("web").await;
        s.ready_pods(&stable, 2).await;
        assert_eq!(
            s.service("web").await.said().rollout.unwrap().seq,
            1,
            "no rollout"
        );
    });
}

#[test]
fn what_is_edited_by_hand_comes_back() {
    scenario("edited").run(async |s| {
        let stable = s.deploy(&service()).await.stable().unwrap();
        let before = pod_uids(s).await;
        s.kubectl(&["scale", "deployment", &stable, "--replicas=5"]).ok();
        s.until::<Deployment>(&stable, "to have two replicas", |found| found.spec.as_ref().unwrap().replicas == Some(2)).await;
        let image = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "registry.local/podinfo:2.0.0"}]}}}});
        let image = image.to_string();
        s.kubectl(&["patch", "deployment", &stable, "--type=strategic", "-p", &image]).ok();
        s.until::<Deployment>(&stable, "to have its image", |found| {
            let pod = found.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            pod.containers[0].image.as_deref() == Some("registry.local/podinfo:1.0.0")
        })
        .await;
        let selector = json!({"spec": {"selector": {"microservice.dev/revision": "elsewhere"}}});
        s.patch::<Service>("web", "kubectl-edit", selector).await;
        s.until::<Service>("web", "to lead to its pods", |found| {
            let selector = found.spec.as_ref().unwrap().selector.as_ref().unwrap();
            selector.get("microservice.dev/revision") == Some(&stable)
        })
        .await;
        s.patch::<PodDisruptionBudget>(&stable, "kubectl-edit", json!({"spec": {"maxUnavailable": 2}})).await;
        s.until::<PodDisruptionBudget>(&stable, "to allow one", |found| {
            serde_json::to_value(&found.spec.as_ref().unwrap().max_unavailable).unwrap() == json!(1)
        })
        .await;
        s.log_line("the repair", |line| {
            line["message"] == "a field of ours was changed by somebody else and put back" && line["manager"] == "kubectl-edit"
        })
        .await;
        let found = s.healthy("web").await;
        assert_eq!(found.said().rollout.unwrap().seq, 1, "no rollout");
        eventually("the same pods", async || {
            let after = pod_uids(s).await;
            if before.is_subset(&after) && after.len() == 2 { Ok(()) } else { Err(format!("{before:?} then {after:?}")) }
        })
        .await;
    });
}

#[test]
fn fields_of_others_survive() {
    scenario("others").run(async |s| {
        let stable = s.deploy(&service()).await.stable().unwrap();
        let note = json!({"metadata": {"annotations": {"example.com/note": "kept"}, "labels": {"example.com/team": "a"}}});
        s.patch::<Service>("web", "somebody", note.clone()).await;
        s.patch::<Deployment>(&stable, "somebody", note).await;
        s.patch::<Service>("web", "somebody", json!({"spec": {"externalIPs": ["203.0.113.7"]}})).await;
        // Repairs and changes of ours leave them alone.
        s.patch::<Service>("web", "kubectl-edit", json!({"spec": {"sessionAffinity": "ClientIP"}})).await;
        let changed = service().spec(json!({"replicas": 3, "service": {"annotations": {"example.com/ours": "yes"}}}));
        s.deploy(&changed).await;
        let service = s
            .until::<Service>("web", "to have our annotation", |found| found.annotations().contains_key("example.com/ours"))
            .await;
        assert_eq!(service.annotations().get("example.com/note").map(String::as_str), Some("kept"));
        assert_eq!(service.labels().get("example.com/team").map(String::as_str), Some("a"));
        assert_eq!(service.spec.unwrap().external_ips, Some(vec!["203.0.113.7".to_owned()]));
        let deployment: Deployment = s.get(&stable).await;
        assert_eq!(deployment.annotations().get("example.com/note").map(String::as_str), Some("kept"));
        assert_eq!(deployment.spec.unwrap().replicas, Some(3));
    });
}

#[test]
fn a_field_that_is_taken_again_and_again_is_reported() {
    scenario("contested").run(async |s| {
        let stable = s.deploy(&service()).await.stable().unwrap();
        for _ in 0..3 {
            take_field(s, &stable).await;
        }
        let quiet = s.healthy("web").await;
        assert!(quiet.condition("ChildContested").is_none(), "three times are put up with");
        take_field(s, &stable).await;
        let found = s.wait_for("web", "to complain", |found| found.condition("ChildContested").is_some()).await;
        let condition = found.condition("ChildContested").unwrap();
        assert_eq!((condition.status.as_str(), condition.reason.as_str()), ("True", "FieldsTaken"));
        assert_eq!(
            condition.message,
            format!(
                "Deployment {stable} was changed by argocd-controller 4 times in 10 minutes and put back each time: stop it, \
                 or change the Microservice instead"
            )
        );
        // And it is put back still.
        take_field(s, &stable).await;
    });
}

/// Another controller takes a field, and gets it taken back.
async fn take_field(s: &Scenario, stable: &str) {
    let taken = s
        .patch::<Deployment>(stable, "argocd-controller", json!({"spec": {"replicas": 3}}))
        .await;
    s.until::<Deployment>(stable, "to be put back", |found| {
        found.resource_version() != taken.resource_version()
            && found.spec.as_ref().unwrap().replicas == Some(2)
    })
    .await;
}

fn foreign(kind: &str, name: &str) -> Value {
    let labels = json!({"app": "foreign"});
    match kind {
        "Service" => {
            json!({"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 80}]}})
        }
        "ConfigMap" => json!({"metadata": {"name": name}, "data": {"foreign": "yes"}}),
        _ => {
            json!({"metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels}, "spec": {"containers": [{"name": "a", "image": "registry.local/podinfo:1.0.0"}]}}}})
        }
    }
}

async fn assert_name_taken(s: &Scenario, kind: &str, name: &str) -> Microservice {
    let found = s
        .wait_for("web", "to say whose name is taken", |found| {
            found.reason("ChildrenApplied", "False").as_deref() == Some("NameTaken")
        })
        .await;
    let message = found.condition("ChildrenApplied").unwrap().message;
    assert!(
        message.starts_with(&format!(
            "{kind} {name}: an object of that name exists, is not ours and is left alone."
        )),
        "{message}"
    );
    assert_eq!(found.said().phase, Some(Phase::Degraded));
    found
}

#[test]
fn a_foreign_service_of_that_name_is_left_alone() {
    scenario("foreign-service").run(async |s| {
        let theirs: Service = s.create(foreign("Service", "web")).await;
        s.apply(&service()).await;
        let found = assert_name_taken(s, "Service", "web").await;
        // The other children go on.
        let revision = found.stable().or(found.candidate()).unwrap();
        s.ready_pods(&revision, 2).await;
        let after: Service = s.get("web").await;
        assert_eq!(
            (after.uid(), after.resource_version()),
            (theirs.uid(), theirs.resource_version())
        );
        // Once it is gone ours is made.
        s.delete::<Service>("web").await;
        s.healthy("web").await;
        let ours: Service = s.get("web").await;
        assert_eq!(ours.owner_references()[0].kind, "Microservice");
    });
}

/// The revision that a manifest makes: its name depends on nothing but its spec.
async fn revision_of_manifest(s: &Scenario, manifest: &Manifest) -> String {
    let name = s.deploy(manifest).await.stable().unwrap();
    s.delete::<Microservice>("web").await;
    s.gone::<Deployment>(&name).await;
    s.gone::<ConfigMap>(&name).await;
    s.gone::<Service>("web").await;
    name
}

#[test]
fn a_foreign_configmap_of_that_name_is_left_alone() {
    scenario("foreign-config").run(async |s| {
        let name = revision_of_manifest(s, &service()).await;
        let theirs: ConfigMap = s.create(foreign("ConfigMap", &name)).await;
        s.apply(&service()).await;
        assert_name_taken(s, "ConfigMap", &name).await;
        let after: ConfigMap = s.get(&name).await;
        assert_eq!((after.uid(), after.data), (theirs.uid(), theirs.data));
    });
}

#[test]
fn a_foreign_deployment_of_that_name_is_left_alone() {
    scenario("foreign-deploy").run(async |s| {
        let name = revision_of_manifest(s, &service()).await;
        let theirs: Deployment = s.create(foreign("Deployment", &name)).await;
        s.apply(&service()).await;
        assert_name_taken(s, "Deployment", &name).await;
        let after: Deployment = s.get(&name).await;
        assert_eq!(
            (after.uid(), after.metadata.generation),
            (theirs.uid(), theirs.metadata.generation)
        );
    });
}

// --- the end of a Microservice

/// Everything that a Microservice brings, as kind and name.
async fn children(s: &Scenario) -> Vec<String> {
    fn named<K: ResourceExt>(kind: &str, objects: &[K]) -> Vec<String> {
        // Every namespace has this one.
        let names = objects
            .iter()
            .map(ResourceExt::name_any)
            .filter(|name| name != "kube-root-ca.crt");
        names.map(|name| format!("{kind} {name}")).collect()
    }
    let mut all = named("Deployment", &s.list::<Deployment>().await);
    all.extend(named("ReplicaSet", &s.list::<ReplicaSet>().await));
    all.extend(named("Service", &s.list::<Service>().await));
    all.extend(named(
        "PodDisruptionBudget",
        &s.list::<PodDisruptionBudget>().await,
    ));
    all.extend(named("ControllerRevision", &s.list::<ControllerRevision>().await));
    all.extend(named("ConfigMap", &s.list::<ConfigMap>().await));
    all.extend(named("Pod", &s.list::<Pod>().await));
    all
}

#[test]
fn deletion_takes_everything_along() {
    scenario("deletion").run(async |s| {
        s.deploy(&service()).await;
        s.deploy(&service().version("1.1.0")).await;
        s.delete::<Microservice>("web").await;
        eventually("nothing to be left", async || {
            let left = children(s).await;
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .await;
    });
}

/// Deletes the Microservice, sees that all runs on, makes it again and sees that nothing restarted.
async fn assert_taken_back_without_a_restart(s: &Scenario, manifest: &Manifest, delete: &[&str]) {
    let before = s.deploy(manifest).await;
    let stable = before.stable().unwrap();
    let left = children(s).await;
    let uids = pod_uids(s).await;
    s.kubectl(delete).ok();
    s.gone::<Microservice>("web").await;
    throughout(Duration::from_secs(3), "everything", async || {
        let now = children(s).await;
        if now == left {
            Ok(())
        } else {
            Err(format!("{left:?}, then {now:?}"))
        }
    })
    .await;
    let after = s.deploy(manifest).await;
    assert_eq!(after.stable().unwrap(), stable);
    assert_eq!(pod_uids(s).await, uids);
    assert_eq!(children(s).await, left);
    // They are its own again: with it they go, if they are to.
    s.deploy(
        &manifest
            .clone()
            .spec(json!({"deletionPolicy": null, "replicas": 3})),
    )
    .await;
    let uid = s.service("web").await.uid().unwrap();
    eventually("owner references", async || {
        let deployment: Deployment = s.get(&stable).await;
        let owners: Vec<String> = deployment
            .owner_references()
            .iter()
            .map(|owner| owner.uid.clone())
            .collect();
        if owners == [uid.clone()] {
            Ok(())
        } else {
            Err(format!("{owners:?}"))
        }
    })
    .await;
}

#[test]
fn orphaned_children_run_on_and_are_taken_back() {
    scenario("orphan").run(async |s| {
        let manifest = service().spec(json!({"deletionPolicy": "Orphan"}));
        assert_taken_back_without_a_restart(s, &manifest, &["delete", "msvc", "web"]).await;
    });
}

#[test]
fn children_orphaned_by_kubectl_run_on_and_are_taken_back() {
    scenario("cascade-orphan").run(async |s| {
        assert_taken_back_without_a_restart(s, &service(), &["delete", "msvc", "web", "--cascade=orphan"])
            .await;
    });
}

#[test]
fn a_lost_status_costs_no_restart() {
    scenario("lost-status").run(async |s| {
        s.deploy(&service()).await;
        let before = s.deploy(&service().version("1.1.0")).await;
        let uids = pod_uids(s).await;
        let patch = kube::api::Patch::Merge(json!({"status": null}));
        let api: kube::Api<Microservice> = s.api();
        api.patch_status("web", &Default::default(), &patch)
            .await
            .unwrap();
        let after = s
            .wait_for("web", "to be known again", |found| found.is_healthy())
            .await;
        assert_eq!(after.stable(), before.stable());
        assert_eq!(pod_uids(s).await, uids);
    });
}
