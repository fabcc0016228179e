//! The test bed itself: an autoscaler reads what metrics-server measures, without the operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use e2e::environment::say;
use e2e::{metrics, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

#[test]
fn an_autoscaler_scales_by_the_use_of_the_processor() {
    scenario("testbed-metrics").real_pods().without_operator().run(async |s| {
        metrics::start();
        s.create::<Service>(json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
        }))
        .await;
        s.create::<Deployment>(json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
            "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
                    "containers": [{
                        "name": "web", "image": "registry.local/podinfo:1.0.0",
                        "ports": [{"name": "http", "containerPort": 9898}],
                        // So little that some requests are too much.
                        "resources": {"requests": {"cpu": "2m"}},
                        "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
                        "readinessProbe": {"httpGet": {"path": "/readyz", "port": "http"}, "periodSeconds": 1},
                    }],
                },
            }},
        }))
        .await;
        let began = Instant::now();
        s.create::<HorizontalPodAutoscaler>(json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "minReplicas": 1, "maxReplicas": 2,
                "metrics": [{"type": "Resource", "resource": {
                    "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}],
            },
        }))
        .await;
        let load = s.load("web").await;
        let use_of = metrics::measured(s, "app=web", 1).await;
        let measured = began.elapsed();
        let percent = metrics::utilization(s, "web", "cpu").await;
        let read = began.elapsed();
        s.until::<Deployment>("web", "to be scaled up", |found| {
            found.spec.as_ref().and_then(|spec| spec.replicas) == Some(2)
        })
        .await;
        say(&format!(
            "measured: testbed-metrics: {use_of:?} after {:.1} s, read as {percent} % after {:.1} s, scaled after {:.1} s",
            measured.as_secs_f64(),
            read.as_secs_f64(),
            began.elapsed().as_secs_f64()
        ));
        load.stop();
    });
}
