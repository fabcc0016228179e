//! The children of a Microservice, each kind of them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Debug;

use e2e::status::StatusExt;
use e2e::wait::{eventually, patience};
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::autoscaling::v2::{HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::{Ingress, NetworkPolicy};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::NamespaceResourceScope;
use kube::{Resource, ResourceExt};
use microservice_operator::api::{Microservice, Phase};
use serde::de::DeserializeOwned;
use serde_json::json;

/// A Microservice that has one of each kind that every cluster knows.
fn everything() -> Manifest {
    podinfo("web", "1.0.0").spec(json!({
        "replicas": 2,
        "commonLabels": {"cost-center": "4711"},
        "config": {"env": {"COLOR": "green"}},
        "files": [{"mountPath": "/etc/rules", "configMap": {"name": "rules"}}],
        "serviceAccount": {"create": "Always"},
        "resources": {"requests": {"cpu": "10m"}},
        "autoscaling": {"minReplicas": 2, "maxReplicas": 3, "cpu": 80},
        "networkPolicy": {"mode": "Ingress", "ingress": [{}]},
        "routes": [{"name": "public", "hosts": ["web.example"], "ingress": {}}],
    }))
}

async fn rules(s: &Scenario, text: &str) {
    s.create::<ConfigMap>(json!({"metadata": {"name": "rules"}, "data": {"rules.txt": text}}))
        .await;
}

/// Panics unless all objects of a kind that bear our label are as children are.
async fn assert_children<K>(s: &Scenario, owner: &Microservice, names: &[&str])
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
    K::DynamicType: Default,
{
    let manager = |object: &K| object.labels().get("app.kubernetes.io/managed-by").cloned();
    let ours: Vec<K> = s
        .list::<K>()
        .await
        .into_iter()
        .filter(|o| manager(o).as_deref() == Some("microservice-operator"))
        .collect();
    let found: Vec<String> = ours.iter().map(ResourceExt::name_any).collect();
    let expected: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(
        found.iter().map(String::as_str).collect::<BTreeSet<_>>(),
        expected
    );
    for object in ours {
        let name = object.name_any();
        let owners = object.owner_references();
        assert_eq!(owners.len(), 1, "{name}");
        assert_eq!(
            (owners[0].kind.as_str(), owners[0].uid.clone()),
            ("Microservice", owner.uid().unwrap()),
            "{name}"
        );
        assert_eq!(
            (owners[0].controller, owners[0].block_owner_deletion),
            (Some(true), Some(true)),
            "{name}"
        );
        let labels = object.labels();
        for (key, value) in [
            ("app.kubernetes.io/name", "web"),
            ("app.kubernetes.io/instance", "web"),
        ] {
            assert_eq!(labels.get(key).map(String::as_str), Some(value), "{name}");
        }
        assert_eq!(
            labels.contains_key("cost-center"),
            owner.spec.operation.common_labels.contains_key("cost-center")
        );
        let managers: BTreeSet<_> = object
            .managed_fields()
            .iter()
            .filter_map(|field| field.manager.clone())
            .collect();
        assert!(managers.contains("microservice-operator"), "{name}: {managers:?}");
    }
}

#[test]
fn every_kind_is_made_owned_and_pruned() {
    scenario("kinds").run(async |s| {
        rules(s, "one").await;
        let owner = s.deploy(&everything()).await;
        let stable = owner.stable().unwrap();
        let copy = s
            .list::<ConfigMap>()
            .await
            .iter()
            .map(ResourceExt::name_any)
            .find(|n| n.starts_with(&format!("{stable}-")));
        let copy = copy.expect("a copy of the tracked ConfigMap");
        assert_children::<ControllerRevision>(s, &owner, &[&stable]).await;
        assert_children::<Deployment>(s, &owner, &[&stable]).await;
        assert_children::<Service>(s, &owner, &["web"]).await;
        assert_children::<ConfigMap>(s, &owner, &[&stable, &copy]).await;
        assert_children::<PodDisruptionBudget>(s, &owner, &[&stable]).await;
        assert_children::<HorizontalPodAutoscaler>(s, &owner, &["web"]).await;
        assert_children::<NetworkPolicy>(s, &owner, &["web"]).await;
        assert_children::<Ingress>(s, &owner, &["web-public"]).await;
        assert_children::<ServiceAccount>(s, &owner, &["web"]).await;
        for map in s
            .list::<ConfigMap>()
            .await
            .into_iter()
            .filter(|map| map.name_any().starts_with(&stable))
        {
            assert_eq!(map.immutable, Some(true), "{}", map.name_any());
        }
        let target = s
            .get::<HorizontalPodAutoscaler>("web")
            .await
            .spec
            .unwrap()
            .scale_target_ref;
        assert_eq!(
            (target.kind.as_str(), target.name.as_str()),
            ("Microservice", "web")
        );
        let status = owner.said();
        assert_eq!(status.urls, ["http://web.example"]);
        let kinds: BTreeSet<_> = status.inventory.iter().map(|entry| entry.kind.as_str()).collect();
        let all = [
            "ConfigMap",
            "ControllerRevision",
            "Deployment",
            "HorizontalPodAutoscaler",
            "Ingress",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "Service",
            "ServiceAccount",
        ];
        assert_eq!(kinds, all.into_iter().collect());

        // What is not asked for any more goes; what belongs to a revision when its last pod has gone.
        let plain = podinfo("web", "1.0.0").spec(json!({"ports": null, "probes": null, "replicas": 1}));
        let owner = s.deploy(&plain).await;
        let stable = owner.stable().unwrap();
        eventually("the rest to be pruned", async || {
            let left: Vec<String> = s
                .list::<ConfigMap>()
                .await
                .iter()
                .map(ResourceExt::name_any)
                .filter(|name| name.starts_with("web-"))
                .chain(s.list::<Service>().await.iter().map(ResourceExt::name_any))
                .chain(
                    s.list::<PodDisruptionBudget>()
                        .await
                        .iter()
                        .map(ResourceExt::name_any),
                )
                .chain(
                    s.list::<HorizontalPodAutoscaler>()
                        .await
                        .iter()
                        .map(ResourceExt::name_any),
                )
                .chain(s.list::<NetworkPolicy>().await.iter().map(ResourceExt::name_any))
                .chain(s.list::<Ingress>().await.iter().map(ResourceExt::name_any))
                .chain(
                    s.list::<ServiceAccount>()
                        .await
                        .iter()
                        .map(ResourceExt::name_any)
                        .filter(|name| name != "default"),
                )
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        })
        .await;
        assert_children::<Deployment>(s, &owner, &[&stable]).await;
    });
}

#[test]
fn pods_pass_the_restricted_standard() {
    scenario("restricted").run(async |s| {
        let stable = s.deploy(&podinfo("web", "1.0.0")).await.stable().unwrap();
        // The namespace enforces it, so that the pod exists is the proof.
        let pod = s.ready_pods(&stable, 1).await.remove(0);
        let spec = pod.spec.as_ref().unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        assert_eq!(spec.containers[0].name, "web");
        assert_eq!(pod.labels().get("microservice.dev/revision"), Some(&stable));
    });
}

async fn assert_role(s: &Scenario, revision: &str, expected: Option<&str>) {
    eventually(
        &format!("pods of {revision} with the role {expected:?}"),
        async || {
            let pods = s.pods_of(revision).await;
            let role = |pod: &Pod| pod.labels().get("microservice.dev/role").cloned();
            let roles: Vec<Option<String>> = pods.iter().map(role).collect();
            if !roles.is_empty() && roles.iter().all(|role| role.as_deref() == expected) {
                Ok(())
            } else {
                Err(format!("{roles:?}"))
            }
        },
    )
    .await;
}

#[test]
fn pods_that_read_their_role_are_told_it() {
    scenario("role").run(async |s| {
        let labels = json!({"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}});
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "volumes": [{"name": "me", "downwardAPI": {"items": [labels]}}],
            "volumeMounts": [{"name": "me", "mountPath": "/etc/me"}],
            "strategy": {"bakeSeconds": 8},
        }));
        let first = s.deploy(&manifest).await.stable().unwrap();
        assert_role(s, &first, Some("Stable")).await;
        let uids = |pods: Vec<Pod>| pods.into_iter().filter_map(|pod| pod.uid()).collect::<Vec<_>>();
        s.apply(&manifest.version("1.1.0")).await;
        let second = s.candidate("web").await;
        assert_role(s, &second, Some("Candidate")).await;
        let before = uids(s.pods_of(&second).await);
        s.healthy("web").await;
        assert_role(s, &second, Some("Stable")).await;
        assert_eq!(
            uids(s.pods_of(&second).await),
            before,
            "no pod was replaced for it"
        );
    });
}

#[test]
fn pods_that_do_not_read_their_role_are_left_alone() {
    scenario("no-role").run(async |s| {
        let stable = s.deploy(&podinfo("web", "1.0.0")).await.stable().unwrap();
        assert_role(s, &stable, None).await;
        let requests = s.audit.requests(e2e::audit::OPERATOR);
        let written = requests
            .iter()
            .filter(|request| request.resource == "pods" && request.writes());
        assert_eq!(written.count(), 0);
    });
}

#[test]
fn kubectl_scales_it_and_waits_for_it() {
    scenario("scale").run(async |s| {
        s.kubectl_with(&["apply", "-f", "-"], Some(&podinfo("web", "1.0.0").text()))
            .ok();
        let timeout = format!("--timeout={}s", patience().as_secs());
        s.kubectl(&["wait", "--for=condition=Ready", &timeout, "msvc/web"])
            .ok();
        let stable = s.healthy("web").await.stable().unwrap();
        s.kubectl(&["scale", "msvc", "web", "--replicas=3"]).ok();
        s.kubectl(&["wait", "--for=jsonpath={.status.ready}=3/3", &timeout, "msvc/web"])
            .ok();
        s.ready_pods(&stable, 3).await;
        let scale = s.api::<Microservice>().get_scale("web").await.unwrap();
        assert_eq!(scale.spec.unwrap().replicas, Some(3));
        let status = scale.status.unwrap();
        assert_eq!(status.replicas, 3);
        // An autoscaler counts the pods that this selects.
        let selector = status.selector.unwrap();
        let pods = s.kubectl(&["get", "pods", "-l", &selector, "-o", "name"]).ok();
        assert_eq!(pods.lines().count(), 3, "{selector}");
        assert_eq!(
            s.healthy("web").await.said().rollout.unwrap().seq,
            1,
            "scaling is no rollout"
        );
    });
}

/// What a pod sees of a file, told by the application's environment: podinfo shows no files, so the kubelet's word
/// counts: the object that the volume names, and that object's content.
async fn mounted_rules(s: &Scenario, revision: &str) -> String {
    let pod = s.pods_of(revision).await.remove(0);
    let volumes = pod.spec.unwrap().volumes.unwrap_or_default();
    let name = volumes
        .into_iter()
        .find_map(|volume| volume.config_map)
        .map(|source| source.name)
        .unwrap();
    s.get::<ConfigMap>(&name).await.data.unwrap()["rules.txt"].clone()
}

#[test]
fn a_changed_configmap_is_a_new_revision_and_the_old_content_comes_back_with_the_old() {
    scenario("tracked").run(async |s| {
        rules(s, "one").await;
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "files": [{"mountPath": "/etc/rules", "configMap": {"name": "rules"}}],
            "strategy": {"bakeSeconds": 1},
        }));
        let first = s.deploy(&manifest).await.stable().unwrap();
        assert_eq!(mounted_rules(s, &first).await, "one");
        s.patch::<ConfigMap>("rules", "somebody", json!({"data": {"rules.txt": "two"}}))
            .await;
        let changed = s
            .wait_for("web", "to have the new content", |found| {
                found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
            })
            .await;
        let second = changed.stable().unwrap();
        assert_eq!(mounted_rules(s, &second).await, "two");
        assert_eq!(changed.metadata.generation, Some(1), "the spec was not touched");
        s.annotate("web", "microservice.dev/rollback", &format!("{second}/{first}"))
            .await;
        let back = s.taken_back("web").await;
        assert_eq!(back.stable().unwrap(), first);
        assert_eq!(mounted_rules(s, &first).await, "one");
        // The content of before is the revision of before.
        s.patch::<ConfigMap>("rules", "somebody", json!({"data": {"rules.txt": "one"}}))
            .await;
        assert_eq!(s.healthy("web").await.stable().unwrap(), first);
    });
}

#[test]
fn old_pods_keep_the_old_content_while_the_new_does_not_work() {
    scenario("tracked-fails").real_pods().run(async |s| {
        rules(s, "").await;
        // The content is the application's readiness: what is not "" makes it fail.
        let manifest = e2e::misbehave("web", "1.0.0").spec(json!({
            "env": [{"name": "READY", "valueFrom": {"configMapKeyRef": {"name": "rules", "key": "rules.txt"}}}],
            "strategy": {"progressDeadlineSeconds": 3},
        }));
        let first = s.deploy(&manifest).await.stable().unwrap();
        let uid = s.ready_pods(&first, 1).await.remove(0).uid();
        s.patch::<ConfigMap>("rules", "somebody", json!({"data": {"rules.txt": "false"}})).await;
        let back = s.taken_back("web").await;
        assert_eq!(back.stable().unwrap(), first);
        assert_eq!(s.ready_pods(&first, 1).await.remove(0).uid(), uid);
        // A pod that is made now still gets the old content.
        s.kubectl(&["scale", "msvc", "web", "--replicas=2"]).ok();
        s.ready_pods(&first, 2).await;
    });
}

#[test]
fn an_untracked_configmap_is_no_revision() {
    scenario("untracked").run(async |s| {
        rules(s, "one").await;
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "files": [{"mountPath": "/etc/rules", "track": "None", "configMap": {"name": "rules"}}],
        }));
        let first = s.deploy(&manifest).await.stable().unwrap();
        s.patch::<ConfigMap>("rules", "somebody", json!({"data": {"rules.txt": "two"}}))
            .await;
        // A change that is a revision comes after it, so that one could have been seen before.
        let second = s.deploy(&manifest.env("STEP", "2")).await;
        assert_eq!(second.said().rollout.unwrap().seq, 2);
        assert_ne!(second.stable().unwrap(), first);
    });
}

#[test]
fn a_configmap_that_does_not_exist_is_waited_for() {
    scenario("source-missing").run(async |s| {
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "files": [{"mountPath": "/etc/rules", "configMap": {"name": "rules"}}],
        }));
        s.apply(&manifest).await;
        let waiting = s
            .wait_for("web", "to say what is missing", |found| {
                found.reason("Reconciling", "True").as_deref() == Some("SourceMissing")
            })
            .await;
        assert_eq!(
            waiting.said().message.unwrap(),
            "ConfigMap rules does not exist yet; the change goes out when it does"
        );
        assert_eq!(waiting.reason("Ready", "False").as_deref(), Some("SourceMissing"));
        rules(s, "one").await;
        s.healthy("web").await;
    });
}

fn with_secret() -> Manifest {
    podinfo("web", "1.0.0").spec(json!({
        "files": [{"mountPath": "/etc/keys", "track": "Snapshot", "secret": {"secretName": "keys"}}],
    }))
}

async fn keys(s: &Scenario) {
    s.create::<Secret>(json!({"metadata": {"name": "keys"}, "stringData": {"key": "one"}}))
        .await;
}

#[test]
fn secrets_are_tracked_only_where_the_operator_may() {
    scenario("secret-off").run(async |s| {
        keys(s).await;
        s.apply(&with_secret()).await;
        let found = s
            .wait_for("web", "to say that it may not", |found| {
                found.reason("Ready", "False").as_deref() == Some("SecretTrackingDisabled")
            })
            .await;
        assert!(found.said().message.unwrap().contains("--track-secrets"));
        assert_eq!(found.said().phase, Some(Phase::Progressing));
        let reads = s.audit.requests(e2e::audit::OPERATOR);
        assert!(
            reads.iter().all(|request| request.resource != "secrets"),
            "no Secret is read"
        );
    });
}

#[test]
fn a_changed_secret_is_a_new_revision_and_its_content_is_nowhere_but_in_secrets() {
    scenario("secret-on").flags(&["--track-secrets"]).run(async |s| {
        keys(s).await;
        let first = s.deploy(&with_secret()).await.stable().unwrap();
        s.patch::<Secret>(
            "keys",
            "somebody",
            json!({"stringData": {"key": "zweitgeheimnis"}}),
        )
        .await;
        let changed = s
            .wait_for("web", "to have the new content", |found| {
                found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
            })
            .await;
        let copies: Vec<Secret> = s
            .list::<Secret>()
            .await
            .into_iter()
            .filter(|secret| secret.name_any() != "keys")
            .collect();
        assert!(copies.iter().all(|copy| copy.immutable == Some(true)));
        let contents: BTreeSet<Vec<u8>> = copies
            .into_iter()
            .flat_map(|c| c.data.unwrap())
            .map(|(_, value)| value.0)
            .collect();
        assert!(contents.contains("zweitgeheimnis".as_bytes()), "{contents:?}");
        let words = ["zweitgeheimnis", "endlZXRnZWhlaW1uaXM", "endlaXRnZWhlaW1uaXM="];
        let records = serde_json::to_string(&s.list::<ControllerRevision>().await).unwrap();
        let status = serde_json::to_string(&changed.status).unwrap();
        for word in words {
            assert!(!records.contains(word) && !status.contains(word));
        }
    });
}

#[test]
fn an_autoscaler_scales_the_microservice() {
    scenario("autoscaled").run(async |s| {
        // There are no metrics here; the bounds hold without them.
        let manifest = podinfo("web", "1.0.0").spec(json!({
            "resources": {"requests": {"cpu": "10m"}},
            "autoscaling": {"minReplicas": 2, "maxReplicas": 3, "cpu": 80},
        }));
        s.apply(&manifest).await;
        s.wait_for("web", "to be scaled", |found| {
            found.is_healthy() && found.said().ready.as_deref() == Some("2/2")
        })
        .await;
        // It finds the number and the pods through /scale.
        s.until::<HorizontalPodAutoscaler>("web", "to count the pods", |found| {
            let Some(status) = &found.status else { return false };
            let able = |c: &HorizontalPodAutoscalerCondition| c.type_ == "AbleToScale" && c.status == "True";
            status.current_replicas == Some(2) && status.conditions.iter().flatten().any(able)
        })
        .await;
    });
}
