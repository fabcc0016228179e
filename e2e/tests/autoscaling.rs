//! Who decides on the number of pods under autoscaling: the autoscaler, and no manifest that is applied again.
//!
//! Nobody has the metric that is asked for here, so the HorizontalPodAutoscaler writes only where its bounds ask for it;
//! `kubectl scale`, which writes the same subresource, stands in for its other decisions. CPU would not do: other tests
//! give the cluster metrics of that.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::audit::OPERATOR;
use e2e::recorder::Recorder;
use e2e::rights::{Reach, Rights, shipped};
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use kube::ResourceExt;
use microservice_operator::api::{Microservice, ReplicasSource};
use serde_json::{Value, json};

const CONDITION: &str = "ReplicasManagedByGit";

/// How a manifest is applied.
#[derive(Clone, Copy, Debug)]
enum Way {
    ClientSide,
    ServerSide,
}

fn apply(s: &Scenario, way: Way, manifest: &Manifest) {
    let arguments: &[&str] = match way {
        Way::ClientSide => &["apply", "-f", "-"],
        Way::ServerSide => &[
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=git",
            "-f",
            "-",
        ],
    };
    s.kubectl_with(arguments, Some(&manifest.text())).ok();
}

fn scale(s: &Scenario, replicas: i32) {
    s.kubectl(&["scale", "microservice/web", &format!("--replicas={replicas}")])
        .ok();
}

fn manifest(replicas: Value) -> Manifest {
    podinfo("web", "1.0.0").spec(json!({
        "replicas": replicas,
        "resources": {"requests": {"cpu": "10m"}},
        // With a higher minimum it would raise a number that a manifest has reset to 1, before that is written back.
        "autoscaling": {"minReplicas": 1, "maxReplicas": 8, "metrics": [{"type": "Pods", "pods": {
            "metric": {"name": "nobody_has_this"}, "target": {"type": "AverageValue", "averageValue": "1"},
        }}]},
    }))
}

async fn serving(s: &Scenario, pods: i32) -> Microservice {
    let ready = format!("{pods}/{pods}");
    s.wait_for("web", &format!("to serve with {ready}"), |found| {
        found.is_healthy() && found.said().ready.as_deref() == Some(ready.as_str())
    })
    .await
}

/// Records how many pods are asked for from now on.
async fn record(s: &Scenario) -> Recorder<Deployment> {
    let asked = s.record::<Deployment>();
    asked.first("the Deployment", |_| true).await;
    asked
}

fn assert_never_fewer(asked: &Recorder<Deployment>, pods: i32) {
    for sighting in asked.all() {
        let replicas = sighting.object.spec.as_ref().and_then(|spec| spec.replicas);
        assert!(
            sighting.gone || replicas >= Some(pods),
            "{replicas:?} at {}",
            sighting.at
        );
    }
}

/// Deletes the service, and waits until its pods are not asked for any more.
async fn end(s: &Scenario) {
    let deployments = s.list::<Deployment>().await;
    s.delete::<Microservice>("web").await;
    for deployment in deployments {
        s.gone::<Deployment>(&deployment.name_any()).await;
    }
}

async fn until_reason(s: &Scenario, reason: &str) -> Microservice {
    s.wait_for("web", &format!("to say {reason}"), |found| {
        found.is_current() && found.reason(CONDITION, "True").as_deref() == Some(reason)
    })
    .await
}

fn writes_back(s: &Scenario) -> usize {
    let requests = s.audit.requests(OPERATOR);
    let writes = requests
        .iter()
        .filter(|request| request.subresource == "scale" && request.accepted());
    writes.count()
}

/// A manifest that says 3 is applied, and the autoscaler raises that to 6.
async fn raised(s: &Scenario, way: Way) {
    apply(s, way, &manifest(json!(3)));
    let first = serving(s, 3).await;
    assert_eq!(first.said().replicas_from, Some(ReplicasSource::Manifest));
    assert_eq!(first.condition(CONDITION), None);
    scale(s, 6);
    let raised = serving(s, 6).await;
    assert_eq!(raised.said().replicas_from, Some(ReplicasSource::Scale));
}

async fn left_in_git(s: &Scenario, way: Way) {
    raised(s, way).await;
    let asked = record(s).await;
    apply(s, way, &manifest(json!(3)));
    let found = until_reason(s, "WrittenBack").await;
    assert_eq!(found.spec.operation.replicas, 6);
    serving(s, 6).await;
    // The tool puts it back: it is held, and not fought over, also by another process.
    apply(s, way, &manifest(json!(3)));
    let found = until_reason(s, "PutBack").await;
    assert_eq!((found.spec.operation.replicas, writes_back(s)), (3, 1));
    let message = found.condition(CONDITION).unwrap().message;
    assert!(
        message.contains("set spec.replicas to 3") && message.contains("ignoreDifferences"),
        "{message}"
    );
    s.restart_operator().await;
    apply(
        s,
        way,
        &manifest(json!(3)).metadata(json!({"labels": {"synced": "again"}})),
    );
    serving(s, 6).await;
    assert_never_fewer(&asked, 6);
    assert_eq!(writes_back(s), 1);
    // What the autoscaler itself writes through /scale ends it: here it follows its bounds.
    let bounds = json!({"spec": {"autoscaling": {"minReplicas": 7}}});
    s.patch::<Microservice>("web", "e2e", bounds).await;
    let found = s
        .wait_for("web", "to be the autoscaler's again", |found| {
            found.is_current() && found.said().replicas_from == Some(ReplicasSource::Scale)
        })
        .await;
    assert_eq!(
        (found.condition(CONDITION), found.spec.operation.replicas),
        (None, 7)
    );
    let fields = found.metadata.managed_fields.unwrap_or_default();
    let manager = fields
        .iter()
        .find(|entry| entry.subresource.as_deref() == Some("scale"));
    assert_eq!(
        manager.and_then(|entry| entry.manager.as_deref()),
        Some("kube-controller-manager")
    );
    serving(s, 7).await;
    assert_never_fewer(&asked, 6);
}

#[test]
fn a_number_left_in_git_costs_no_pod_client_side() {
    scenario("hpa-git-client").run(async |s| left_in_git(s, Way::ClientSide).await);
}

#[test]
fn a_number_left_in_git_costs_no_pod_server_side() {
    // With the rights that are shipped.
    let rights = Rights::new(Reach::Cluster, &shipped());
    scenario("hpa-git-server")
        .user(rights.kubeconfig())
        .run(async |s| left_in_git(s, Way::ServerSide).await);
}

#[test]
fn a_number_taken_out_of_git_costs_no_pod_client_side() {
    scenario("hpa-out-client").run(async |s| {
        raised(s, Way::ClientSide).await;
        let asked = record(s).await;
        // kubectl remembers that it had set the field, and resets it although it was not its own any more.
        apply(s, Way::ClientSide, &manifest(Value::Null));
        let found = until_reason(s, "WrittenBack").await;
        assert_eq!((found.spec.operation.replicas, writes_back(s)), (6, 1));
        serving(s, 6).await;
        assert_never_fewer(&asked, 6);
        // From now on it leaves the field alone, and what comes through /scale is followed.
        apply(s, Way::ClientSide, &manifest(Value::Null));
        scale(s, 4);
        let found = serving(s, 4).await;
        assert_eq!(found.condition(CONDITION), None);
        assert_eq!(writes_back(s), 1);
    });
}

#[test]
fn a_number_taken_out_of_git_costs_no_pod_server_side() {
    scenario("hpa-out-server").run(async |s| {
        // Nobody but the manifest has ever set it, so that taking it out resets it to the default.
        apply(s, Way::ServerSide, &manifest(json!(6)));
        serving(s, 6).await;
        let asked = record(s).await;
        apply(s, Way::ServerSide, &manifest(Value::Null));
        let found = s
            .wait_for("web", "to have its number back", |found| {
                found.is_current() && found.spec.operation.replicas == 6
            })
            .await;
        assert_eq!(
            found.condition(CONDITION),
            None,
            "nothing is left to be done by a person"
        );
        serving(s, 6).await;
        assert_never_fewer(&asked, 6);
        assert_eq!(writes_back(s), 1);
    });
}

#[test]
fn a_number_that_is_the_autoscalers_is_not_touched_by_a_manifest_without_it() {
    scenario("hpa-without").run(async |s| {
        for way in [Way::ServerSide, Way::ClientSide] {
            let one = manifest(Value::Null).spec(json!({"autoscaling": {"minReplicas": 1}}));
            apply(s, way, &one);
            serving(s, 1).await;
            // Also where the API server notes nobody for it, and down to the value of nobody.
            for pods in [5, 1, 3] {
                scale(s, pods);
                apply(s, way, &one);
                let found = serving(s, pods).await;
                assert_eq!(found.condition(CONDITION), None);
            }
            end(s).await;
        }
        assert_eq!(writes_back(s), 0);
    });
}

#[test]
fn autoscaling_takes_over_what_runs() {
    scenario("hpa-begin").run(async |s| {
        for way in [Way::ServerSide, Way::ClientSide] {
            apply(s, way, &manifest(json!(6)).spec(json!({"autoscaling": null})));
            serving(s, 6).await;
            let asked = record(s).await;
            apply(s, way, &manifest(Value::Null));
            s.wait_for("web", "to have its number back", |found| {
                found.is_current() && found.spec.operation.replicas == 6
            })
            .await;
            serving(s, 6).await;
            assert_never_fewer(&asked, 6);
            drop(asked);
            end(s).await;
        }
    });
}

#[test]
fn zero_stops_it_and_a_number_starts_it() {
    scenario("hpa-stop").run(async |s| {
        raised(s, Way::ClientSide).await;
        apply(s, Way::ClientSide, &manifest(json!(0)));
        serving(s, 0).await;
        apply(s, Way::ClientSide, &manifest(json!(3)));
        let found = serving(s, 3).await;
        assert_eq!((found.condition(CONDITION), writes_back(s)), (None, 0));
    });
}
