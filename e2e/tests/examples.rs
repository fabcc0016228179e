//! The examples on a real cluster, as they stand: the API server takes each in both ways without a word, the operator refuses
//! nothing of it, and makes the objects that the offline renderer says. There are no such images, so a quota keeps the pods
//! away, after all other admission has let them pass.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use e2e::environment::{cluster, repository, say};
use e2e::kubectl::{established, kubectl};
use e2e::status::StatusExt;
use e2e::{Scenario, eventually, scenario};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ConfigMap, ResourceQuota, Secret};
use kube::ResourceExt;
use microservice_operator::api::Microservice;
use microservice_operator::render::{Companions, offline};
use serde_json::{Value, json};

/// The kinds of others that the examples' objects are of.
const KINDS: [&str; 6] = [
    "httproutes.gateway.networking.k8s.io",
    "grpcroutes.gateway.networking.k8s.io",
    "virtualservices.networking.istio.io",
    "servicemonitors.monitoring.coreos.com",
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
];

/// What the examples take for granted in a cluster: kinds of others, and a class. What this test brings of it goes with the
/// value.
struct Foreign(Vec<String>);

impl Foreign {
    fn install() -> Self {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": "business-critical"}, "value": 1000,
        });
        let families =
            ["gateway-api", "istio", "prometheus-operator"].map(|family| cluster(&["crds", family]));
        let definitions: Vec<&str> = families
            .iter()
            .flat_map(|family| family.split("---\n"))
            .filter(|text| {
                KINDS
                    .iter()
                    .any(|kind| text.contains(&format!("\n  name: {kind}\n")))
            })
            .collect();
        assert_eq!(definitions.len(), KINDS.len());
        let all = format!("{class}\n---\n{}", definitions.join("---\n"));
        let named = kubectl(
            &["apply", "--dry-run=client", "-o", "name", "-f", "-"],
            Some(&all),
        )
        .ok();
        let there = kubectl(&["get", "crds,priorityclasses", "-o", "name"], None).ok();
        let missing = named
            .lines()
            .filter(|name| !there.lines().any(|line| line == *name));
        let brought = missing.map(str::to_owned).collect();
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        kubectl(&apply, Some(&all)).ok();
        let definitions: Vec<&str> = named.lines().filter(|name| name.starts_with("custom")).collect();
        established(&definitions);
        Self(brought)
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        let names = self.0.iter().map(String::as_str);
        let arguments: Vec<&str> = ["delete", "--ignore-not-found"]
            .into_iter()
            .chain(names)
            .collect();
        if !self.0.is_empty() {
            let _ = kubectl(&arguments, None);
        }
    }
}

/// The files of examples, and the whole manifests of the pages, for this namespace.
fn examples(namespace: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for directory in ["manifests/examples", "docs", "."] {
        for entry in std::fs::read_dir(repository().join(directory)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let text = match path.extension().and_then(|extension| extension.to_str()) {
                Some("yaml") if directory == "manifests/examples" => std::fs::read_to_string(&path).unwrap(),
                Some("md") => whole_manifests(&std::fs::read_to_string(&path).unwrap()),
                _ => continue,
            };
            // Some name a namespace of their own; here they share the one that goes with the test.
            let text = text.replace("namespace: shop\n", &format!("namespace: {namespace}\n"));
            if !text.is_empty() {
                found.push((name, text));
            }
        }
    }
    found
}

/// The blocks of a page that are whole Microservices.
fn whole_manifests(page: &str) -> String {
    let blocks = page.split("```yaml\n").skip(1);
    let blocks = blocks.filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    let whole = blocks.filter(|block| block.starts_with("apiVersion: microservice.dev/"));
    whole.collect::<Vec<_>>().join("---\n")
}

/// Waits until all that the renderer says is there. Answers how many objects that are.
async fn made(s: &Scenario) -> usize {
    let companions = Companions {
        config_maps: s.list::<ConfigMap>().await,
        secrets: s.list::<Secret>().await,
    };
    let expected: Vec<Value> = s
        .list::<Microservice>()
        .await
        .iter()
        .flat_map(|service| offline(service, &s.namespace, &companions))
        .map(|child| child.object)
        .collect();
    let list = json!({"apiVersion": "v1", "kind": "List", "items": expected}).to_string();
    eventually("all objects of the examples", async || {
        let said = s.kubectl_with(&["get", "-o", "name", "-f", "-"], Some(&list));
        if said.succeeded { Ok(()) } else { Err(said.err) }
    })
    .await;
    expected.len()
}

/// Plays the end of a Job, whose pods there are none of.
async fn succeed(s: &Scenario, job: &str) {
    let seen = s
        .until::<Job>(job, "to be seen", |job| {
            job.status
                .as_ref()
                .is_some_and(|status| status.start_time.is_some())
        })
        .await;
    let now = seen.status.unwrap().start_time.unwrap();
    let condition = |kind: &str| json!({"type": kind, "status": "True", "lastTransitionTime": now});
    let status = json!({"status": {
        "succeeded": 1, "completionTime": now,
        "conditions": [condition("SuccessCriteriaMet"), condition("Complete")],
    }});
    s.kubectl(&[
        "patch",
        "job",
        job,
        "--subresource=status",
        "--type=merge",
        "-p",
        &status.to_string(),
    ])
    .ok();
}

#[test]
fn every_example_is_taken_and_becomes_what_the_renderer_says() {
    let began = Instant::now();
    let _foreign = Foreign::install();
    scenario("examples").flags(&["--track-secrets"]).run(async |s| {
        s.create::<ResourceQuota>(json!({"metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}}))
            .await;
        let examples = examples(&s.namespace);
        let texts: Vec<&str> = examples.iter().map(|(_, text)| text.as_str()).collect();
        for arguments in [
            &["apply", "-f", "-"][..],
            &["apply", "--server-side", "--force-conflicts", "-f", "-"],
        ] {
            let said = s.kubectl_with(arguments, Some(&texts.join("\n---\n")));
            assert!(said.succeeded, "{}", said.err);
            assert_eq!(said.err, "");
        }
        let names: Vec<String> = s
            .list::<Microservice>()
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        let jobs = eventually("the Job before a revision", async || {
            let jobs: Vec<Job> = s.list().await;
            if jobs.is_empty() { Err("none") } else { Ok(jobs) }.map_err(str::to_owned)
        })
        .await;
        for job in jobs {
            succeed(s, &job.name_any()).await;
        }
        let objects = made(s).await;
        say(&format!(
            "examples: {} files and pages, {} services, {objects} objects, {:.1} s",
            examples.len(),
            names.len(),
            began.elapsed().as_secs_f64()
        ));
        // All that stands in the way is the quota, which is asked last: the pods have passed Pod Security.
        for name in &names {
            s.wait_for(name, "to be stopped by the quota", |found| {
                found.is_current() && found.reason("Stalled", "True").as_deref() == Some("QuotaExceeded")
            })
            .await;
        }
    });
}
