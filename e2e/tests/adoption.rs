//! What ran before the Microservice did is taken over as it is, under load, and the next release goes out on top of it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;

use e2e::adoption::{
    adopted, autoscaler, documents, imported, kubectl_apply, load, next_image, objects, owner, pods, release,
    rolled_out, served_alone,
};
use e2e::environment::{repository, say};
use e2e::status::StatusExt;
use e2e::{eventually, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use serde_json::{Value, json};

#[test]
fn a_deployment_is_adopted_and_released_on_top_of_under_load() {
    scenario("adopt").real_pods().run(async |s| {
        let labels = json!({"app": "web"});
        // Without a name, as people write it.
        let port = json!({"port": 9898, "targetPort": "http"});
        let mut all = objects(&labels, &port);
        all.push(autoscaler());
        kubectl_apply(s, &documents(&all));
        rolled_out(s).await;
        let before = pods(s).await;
        assert_eq!(before.len(), 3);
        let load = load(s).await;
        let (manifest, words) = imported(s).await;
        say(&format!("import said:\n{words}"));
        kubectl_apply(s, &manifest.to_string());
        let after = adopted(s).await;
        assert_eq!(pods(s).await, before, "no pod is another one");
        let said = after.said();
        assert_eq!(said.ready_replicas, 3);
        let stable = said.stable_revision.clone().unwrap();
        assert_eq!(owner(&s.get::<Deployment>("web").await).as_deref(), Some("Microservice"));
        assert_eq!(owner(&s.get::<Service>("web").await).as_deref(), Some("Microservice"));
        assert_eq!(owner(&s.get::<Ingress>("web").await).as_deref(), Some("Microservice"));
        assert_eq!(owner(&s.get::<PodDisruptionBudget>("web-pdb").await).as_deref(), Some("Microservice"));
        let scaler = s.get::<HorizontalPodAutoscaler>("web").await;
        assert_eq!(owner(&scaler).as_deref(), Some("Microservice"));
        assert_eq!(scaler.spec.unwrap().scale_target_ref.kind, "Microservice");
        let requests = load.sent();
        let released = release(s, &manifest, &next_image()).await;
        assert_ne!(released.said().stable_revision, Some(stable));
        served_alone(&load, "1.1.0").await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0", "1.1.0"]);
        s.gone::<Deployment>("web").await;
        s.gone::<PodDisruptionBudget>("web-pdb").await;
        say(&format!(
            "measured: adoption: {requests} requests until adopted, {} with the release on top, none failed; no pod restarted",
            tally.sent()
        ));
    });
}

#[test]
fn a_deployment_that_selects_by_the_labels_of_a_chart_is_released_and_rolled_back() {
    scenario("adopt-chart").real_pods().run(async |s| {
        let labels = json!({"app.kubernetes.io/name": "podinfo", "app.kubernetes.io/instance": "release"});
        let port = json!({"name": "http", "port": 9898, "targetPort": 9898});
        kubectl_apply(s, &documents(&objects(&labels, &port)));
        rolled_out(s).await;
        let before = pods(s).await;
        let load = load(s).await;
        let (manifest, _) = imported(s).await;
        kubectl_apply(s, &manifest.to_string());
        let stable = adopted(s).await.said().stable_revision.unwrap();
        assert_eq!(pods(s).await, before);
        // A pod that the ReplicaSet makes anew is told its revision.
        let one = s.list::<Pod>().await.first().unwrap().name_any();
        s.delete::<Pod>(&one).await;
        s.ready_pods(&stable, 3).await;
        let released = release(s, &manifest, &next_image()).await;
        let candidate = released.said().stable_revision.unwrap();
        s.annotate(
            "web",
            "microservice.dev/rollback",
            &format!("{candidate}/{stable}"),
        )
        .await;
        s.wait_for("web", "the adopted revision again", |service| {
            let status = service.said();
            let state = status.rollout.as_ref().map(|rollout| rollout.state);
            status.stable_revision.as_ref() == Some(&stable)
                && state == Some(microservice_operator::api::RolloutState::Steady)
        })
        .await;
        s.assert_served_by("web", "1.0.0").await;
        load.stop().assert_spotless();
        let deployment = s.get::<Deployment>("web").await;
        assert_eq!(deployment.spec.unwrap().selector.match_labels.unwrap().len(), 2);
    });
}

#[test]
fn what_belongs_to_somebody_else_is_refused_and_left_alone() {
    scenario("adopt-refused").real_pods().run(async |s| {
        let labels = json!({"app": "web"});
        let port = json!({"name": "http", "port": 9898, "targetPort": 9898});
        kubectl_apply(s, &documents(&objects(&labels, &port)));
        rolled_out(s).await;
        let (mut manifest, _) = imported(s).await;
        let whole = manifest.clone();
        manifest["metadata"]["annotations"]["microservice.dev/adopt"] = json!("Deployment");
        kubectl_apply(s, &manifest.to_string());
        let refused = s
            .wait_for("web", "a refusal", |service| {
                let status = service.said();
                status
                    .conditions
                    .iter()
                    .any(|c| c.type_ == "Adopted" && c.reason == "NotListed")
            })
            .await;
        let message = refused.said().message.unwrap_or_default();
        assert!(message.contains("nothing was touched"), "{message}");
        assert_eq!(owner(&s.get::<Deployment>("web").await), None);
        assert_eq!(owner(&s.get::<Service>("web").await), None);
        kubectl_apply(s, &whole.to_string());
        adopted(s).await;
    });
}

/// Runs the real Helm.
fn helm(arguments: &[&str]) -> String {
    let root = repository();
    let output = Command::new(root.join("e2e/cluster/bin/helm-4"))
        .args(arguments)
        .output()
        .expect("helm can be run: `make helm` builds it");
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {words}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_helm_release_lets_go_of_what_was_adopted() {
    scenario("adopt-helm").real_pods().run(async |s| {
        let labels = json!({"app": "web"});
        let port = json!({"name": "http", "port": 9898, "targetPort": 9898});
        let keep = |mut object: Value| {
            object["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
            object
        };
        let old: Vec<Value> = objects(&labels, &port).into_iter().map(keep).collect();
        let chart = std::env::temp_dir().join(format!("adopt-{}", s.namespace));
        std::fs::create_dir_all(chart.join("templates")).unwrap();
        let info = json!({"apiVersion": "v2", "name": "web", "version": "1.0.0"});
        std::fs::write(chart.join("Chart.yaml"), info.to_string()).unwrap();
        std::fs::write(chart.join("templates/all.yaml"), documents(&old)).unwrap();
        let path = chart.to_str().unwrap().to_owned();
        helm(&["install", "web", &path, "-n", &s.namespace]);
        rolled_out(s).await;
        let before = pods(s).await;
        let load = load(s).await;
        let (manifest, _) = imported(s).await;
        // The chart has the Microservice in the place of the old objects from now on.
        kubectl_apply(s, &manifest.to_string());
        adopted(s).await;
        let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "left"}});
        std::fs::write(chart.join("templates/all.yaml"), nothing.to_string()).unwrap();
        helm(&["upgrade", "web", &path, "-n", &s.namespace]);
        eventually("the old objects to stay", async || {
            let found =
                s.find::<Deployment>("web").await.is_some() && s.find::<Service>("web").await.is_some();
            found.then_some(()).ok_or_else(|| "gone".to_owned())
        })
        .await;
        assert_eq!(pods(s).await, before);
        release(s, &manifest, &next_image()).await;
        s.assert_served_by("web", "1.1.0").await;
        helm(&["uninstall", "web", "-n", &s.namespace]);
        assert!(s.find::<Service>("web").await.is_some());
        s.assert_served_by("web", "1.1.0").await;
        load.stop().assert_spotless();
        std::fs::remove_dir_all(&chart).unwrap();
    });
}
