//! The chart on a real cluster. What it renders is what the API server takes: all objects are applied as a trial run, and its
//! pods are admitted where Pod Security's level is `restricted`. And a life of it with the image, under Helm 3 and 4:
//! installed, upgraded, rolled back and removed while a service is served.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use e2e::environment::{cluster, cluster_dir, operator_image, say};
use e2e::helm::{Helm, REPOSITORY, TAG, load_operator_image};
use e2e::kubectl::{established, kubectl};
use e2e::load::Load;
use e2e::pod::make_namespace;
use e2e::status::StatusExt;
use e2e::{Manifest, Scenario, eventually, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use microservice_operator::api::Microservice;
use serde_json::{Value, json};

/// What Helm renders for a release in the namespace of the scenario.
fn rendered(s: &Scenario, values: &[&str]) -> String {
    let chart = [
        "template",
        "mo",
        "charts/microservice-operator",
        "--kube-version=1.33.0",
        "--namespace",
        &s.namespace,
    ];
    Helm::Four.run(&[&chart, values].concat(), None).ok()
}

/// Applies objects as a trial run. Nobody may warn.
fn tried(s: &Scenario, objects: &str) {
    let said = kubectl(
        &[
            "-n",
            &s.namespace,
            "apply",
            "--server-side",
            "--force-conflicts",
            "--field-manager=helm",
            "--validate=strict",
            "--dry-run=server",
            "-f",
            "-",
        ],
        Some(objects),
    );
    assert!(said.succeeded, "{}", said.err);
    assert!(!said.err.contains("Warning"), "{}", said.err);
}

/// The pod that the Deployment makes.
fn pod(rendered: &str) -> Value {
    let objects: Vec<Value> = serde_saphyr::from_multiple(rendered).expect("what Helm renders is YAML");
    let deployment = objects
        .iter()
        .find(|object| object["kind"] == "Deployment")
        .expect("a Deployment");
    let mut spec = deployment["spec"]["template"]["spec"].clone();
    // The account is made with the release, which this is not.
    spec["serviceAccountName"] = json!("default");
    // Kubernetes takes that of a Deployment and writes it anew for a pod.
    for constraint in spec["topologySpreadConstraints"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        constraint.as_object_mut().unwrap().remove("matchLabelKeys");
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator"}, "spec": spec})
}

#[test]
fn the_api_server_takes_what_the_chart_renders() {
    scenario("chart").without_operator().run(async |s| {
        let here = format!("--set=watchNamespaces={{{}}}", s.namespace);
        let full = "--values=charts/microservice-operator/ci/full-values.yaml";
        // These need the CRDs of the prometheus-operator.
        let unmonitored = "--set=metrics.serviceMonitor.enabled=false,metrics.prometheusRule.enabled=false";
        for values in [&[][..], &[here.as_str()][..], &[full, unmonitored][..]] {
            let objects = rendered(s, values);
            tried(s, &objects);
            let mut pod = pod(&objects);
            // An account is no matter of Pod Security, and a priority class need not be there.
            pod["spec"].as_object_mut().unwrap().remove("priorityClassName");
            tried(s, &pod.to_string());
        }
    });
}

#[test]
fn what_pod_security_does_not_want_is_not_taken() {
    scenario("chart-security").without_operator().run(async |s| {
        let objects = rendered(s, &["--set=securityContext.allowPrivilegeEscalation=true"]);
        let said = kubectl(
            &["-n", &s.namespace, "apply", "--dry-run=server", "-f", "-"],
            Some(&pod(&objects).to_string()),
        );
        assert!(
            !said.succeeded && said.err.contains("allowPrivilegeEscalation"),
            "{}",
            said.err
        );
    });
}

/// What is installed first: the present chart with an older number, since there is no older one.
const BEFORE: &str = "0.0.9";

/// Loads the image under the older number too, with a digest of its own.
fn load_images() {
    load_operator_image();
    let program = operator_image().with_file_name("microservice-operator");
    let tag = format!("{REPOSITORY}:{BEFORE}");
    let label = format!("org.opencontainers.image.version={BEFORE}");
    cluster(&[
        "image",
        "load",
        "--label",
        &label,
        &tag,
        &program.display().to_string(),
    ]);
}

/// A release of the chart, and the service whose pods nothing of it may touch.
struct Life<'a> {
    s: &'a Scenario,
    helm: Helm,
    namespace: String,
    /// Pods and how often their containers were started, by name.
    pods: Vec<(String, i32)>,
}

impl<'a> Life<'a> {
    fn values() -> String {
        // Otherwise the defaults: two replicas, all namespaces, the CRD, the policy and the roles for people.
        json!({"image": {"repository": REPOSITORY, "pullPolicy": "Never"}}).to_string()
    }

    fn helm(&self, arguments: &[&str]) -> Instant {
        let began = Instant::now();
        let place = ["--namespace", self.namespace.as_str(), "--wait", "--timeout=3m"];
        let said = self
            .helm
            .run(&[arguments, &place].concat(), Some(&Self::values()));
        assert!(
            said.succeeded,
            "{:?} {arguments:?}: {}{}{}",
            self.helm,
            said.out,
            said.err,
            self.describe()
        );
        say(&format!(
            "chart: {:?}: {}: {:.1} s",
            self.helm,
            arguments[0],
            began.elapsed().as_secs_f64()
        ));
        began
    }

    fn describe(&self) -> String {
        let there = kubectl(&["-n", &self.namespace, "get", "pods,events", "-o", "wide"], None);
        let log = kubectl(
            &[
                "-n",
                &self.namespace,
                "logs",
                "deployment/mo-microservice-operator",
                "--tail=20",
            ],
            None,
        );
        format!("\n{}{}{}", there.out, log.out, log.err)
    }

    /// The names of the operator's pods that are not about to end.
    fn replicas(&self) -> Vec<Value> {
        let listed = kubectl(&["-n", &self.namespace, "get", "pods", "-o", "json"], None).ok();
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let pods = listed["items"].as_array().unwrap().clone();
        pods.into_iter()
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_null())
            .collect()
    }

    /// Two pods of this version run, as no user in particular and without a place to write to.
    fn runs(&self, version: &str) {
        let replicas = self.replicas();
        assert_eq!(replicas.len(), 2, "{}", self.describe());
        for pod in replicas {
            let container = &pod["spec"]["containers"][0];
            assert_eq!(container["image"], format!("{REPOSITORY}:{version}"));
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
            assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
            assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        }
    }

    /// Who leads: the name of a pod.
    async fn leader(&self) -> String {
        eventually("a pod to lead", async || {
            let lease = kubectl(
                &[
                    "-n",
                    &self.namespace,
                    "get",
                    "lease",
                    "-o",
                    "jsonpath={.items[0].spec.holderIdentity}",
                ],
                None,
            );
            let replicas = self.replicas();
            let leading = replicas
                .iter()
                .filter_map(|pod| pod["metadata"]["name"].as_str())
                .find(|name| lease.out.starts_with(&format!("{name}_")));
            leading.map(str::to_owned).ok_or(lease.out + &lease.err)
        })
        .await
    }

    async fn pods(s: &Scenario) -> Vec<(String, i32)> {
        let pods: Vec<Pod> = s.list().await;
        let started = |pod: &Pod| {
            let statuses = pod
                .status
                .as_ref()
                .and_then(|status| status.container_statuses.clone());
            statuses.into_iter().flatten().map(|c| c.restart_count).sum()
        };
        pods.iter().map(|pod| (pod.name_any(), started(pod))).collect()
    }

    /// Nothing has happened to the pods of the service.
    async fn untouched(&self, after: &str) {
        assert_eq!(Self::pods(self.s).await, self.pods, "after {after}");
    }

    /// A release goes through, on top of everything.
    async fn releases(&mut self, version: &str) {
        let done = self.s.deploy(&service().version(version)).await;
        self.s.ready_pods(&done.stable().unwrap(), 2).await;
        eventually("the pods of before to be gone", async || {
            let pods = Self::pods(self.s).await;
            if pods.len() == 2 {
                Ok(())
            } else {
                Err(format!("{pods:?}"))
            }
        })
        .await;
        self.pods = Self::pods(self.s).await;
        self.s.assert_served_by("web", version).await;
    }

    /// The rights are those of the chart, and they are enough.
    fn has_just_its_rights(&self) {
        let user = format!(
            "--as=system:serviceaccount:{}:mo-microservice-operator",
            self.namespace
        );
        let may = |verb: &str, resource: &str| {
            kubectl(
                &["auth", "can-i", verb, resource, &user, "-n", &self.s.namespace],
                None,
            )
            .succeeded
        };
        assert!(may("patch", "deployments.apps"));
        for (verb, resource) in [
            ("get", "secrets"),
            ("create", "pods"),
            ("delete", "namespaces"),
            ("escalate", "roles.rbac.authorization.k8s.io"),
            ("update", "microservices.microservice.dev"),
        ] {
            assert!(!may(verb, resource), "it may {verb} {resource}");
        }
        for pod in self.replicas() {
            let name = pod["metadata"]["name"].as_str().unwrap();
            let log = kubectl(&["-n", &self.namespace, "logs", name, "--tail=-1"], None).ok();
            assert!(!log.contains("forbidden"), "{log}");
            assert!(!log.contains("\"level\":\"ERROR\""), "{log}");
        }
    }
}

impl Drop for Life<'_> {
    fn drop(&mut self) {
        // Where the test fails in the middle, this operator must not serve the namespaces of the tests that follow. Nobody
        // is left to read where that fails.
        let _ = self.helm.run(
            &["uninstall", "mo", "--namespace", &self.namespace, "--wait"],
            None,
        );
        let _ = kubectl(&["delete", "namespace", &self.namespace, "--wait=false"], None);
    }
}

/// The service that is served throughout.
fn service() -> Manifest {
    podinfo("web", "1.0.0").spec(json!({"replicas": 2, "strategy": {"bakeSeconds": 1, "drainSeconds": 1}}))
}

/// A whole life of the chart. The service is made when there is an operator for the first time.
async fn live(s: &Scenario, helm: Helm, served: &mut Option<Load>) {
    let namespace = format!("{}-{}", helm.program(), s.namespace);
    make_namespace(&namespace);
    let mut life = Life {
        s,
        helm,
        namespace,
        pods: Vec::new(),
    };
    let older = cluster_dir().join(format!("microservice-operator-{BEFORE}.tgz"));
    let package = [
        "package",
        "charts/microservice-operator",
        "--version",
        BEFORE,
        "--app-version",
        BEFORE,
        "--destination",
        older.parent().unwrap().to_str().unwrap(),
    ];
    helm.run(&package, None).ok();
    // The tests have made the CRD: the release takes it over, and leaves it when it goes.
    life.helm(&[
        "install",
        "mo",
        older.to_str().unwrap(),
        "--values=-",
        "--take-ownership",
    ]);
    life.runs(BEFORE);
    life.leader().await;
    if served.is_none() {
        s.deploy(&service()).await;
        *served = Some(s.load("web").await);
    }
    let present: Microservice = s.healthy("web").await;
    s.ready_pods(&present.stable().unwrap(), 2).await;
    life.pods = Life::pods(s).await;

    life.helm(&["upgrade", "mo", "charts/microservice-operator", "--values=-"]);
    life.runs(TAG);
    let leader = life.leader().await;
    life.untouched("the upgrade").await;
    life.releases("1.1.0").await;

    // A leader that goes is followed by the other.
    let told = Instant::now();
    kubectl(
        &["-n", &life.namespace, "delete", "pod", &leader, "--wait=false"],
        None,
    )
    .ok();
    eventually("another pod to lead", async || {
        let now = life.leader().await;
        if now == leader { Err(now) } else { Ok(()) }
    })
    .await;
    say(&format!(
        "chart: {helm:?}: the leader's pod deleted -> another one leads: {:.1} s",
        told.elapsed().as_secs_f64()
    ));
    life.untouched("the change of leaders").await;

    life.helm(&["rollback", "mo", "1"]);
    life.runs(BEFORE);
    life.leader().await;
    life.untouched("the rollback").await;
    life.releases("2.0.0").await;
    life.has_just_its_rights();

    life.helm(&["uninstall", "mo"]);
    assert_eq!(life.replicas().len(), 0);
    life.untouched("the removal").await;
    established(&["crd/microservices.microservice.dev"]);
    s.service("web").await;
    // What runs goes on without an operator: Kubernetes itself sees to the pods.
    let deployment = present_deployment(s).await;
    assert_eq!(deployment.status.unwrap().ready_replicas, Some(2));
    s.assert_served_by("web", "2.0.0").await;
    eventually("the rights to be gone", async || {
        let left = kubectl(
            &[
                "get",
                "clusterroles,clusterrolebindings,validatingadmissionpolicies",
                "-l",
                "app.kubernetes.io/instance=mo",
                "-o",
                "name",
            ],
            None,
        )
        .ok();
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}

async fn present_deployment(s: &Scenario) -> Deployment {
    let stable = s.service("web").await.stable().unwrap();
    s.get(&stable).await
}

#[test]
fn the_chart_lives_under_helm_3_and_4_and_no_request_fails() {
    scenario("chart-life")
        .real_pods()
        .without_operator()
        .run(async |s| {
            load_images();
            let mut served = None;
            for helm in [Helm::Three, Helm::Four] {
                live(s, helm, &mut served).await;
            }
            served.unwrap().stop().assert_spotless();
        });
}
