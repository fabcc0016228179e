//! Who may give commands, and who may edit what a service is: manifests/admission.yaml on the real API server.
//!
//! Each test installs a copy of the policy that is bound to its own namespace, so that no other test meets it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use e2e::environment::repository;
use e2e::kubectl::{Said, kubectl};
use e2e::rights::{Reach, Rights};
use e2e::status::StatusExt;
use e2e::wait::eventually;
use e2e::{Scenario, podinfo, scenario};
use microservice_operator::api::annotations;
use serde_json::{Value, json};

/// What each command is called as a right.
const COMMANDS: [(&str, &str); 10] = [
    (annotations::PROMOTE, "promote"),
    (annotations::PROMOTE_FULL, "promote-full"),
    (annotations::ABORT, "abort"),
    (annotations::RETRY, "retry"),
    (annotations::PAUSE, "pause"),
    (annotations::FREEZE, "freeze"),
    (annotations::RESTART, "restart"),
    (annotations::REFRESH, "refresh"),
    (annotations::ROLLBACK, "rollback"),
    (annotations::EXPEDITE, "expedite"),
];

fn shipped() -> Vec<Value> {
    let file = repository().join("manifests/admission.yaml");
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_saphyr::from_multiple(&text).expect("manifests/admission.yaml is YAML")
}

fn shipped_one(kind: &str, name: &str) -> Value {
    let all = shipped();
    let found = all
        .into_iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in manifests/admission.yaml"))
}

fn rules(role: &str) -> Vec<Value> {
    shipped_one("ClusterRole", role)["rules"]
        .as_array()
        .unwrap()
        .clone()
}

/// May edit the spec, and give no command.
fn spec_editor() -> Vec<Value> {
    vec![
        json!({"apiGroups": ["microservice.dev"], "resources": ["microservices"],
            "verbs": ["get", "list", "watch", "create", "update", "patch"]}),
        json!({"apiGroups": ["microservice.dev"], "resources": ["microservices/spec"], "verbs": ["update"]}),
    ]
}

/// Objects of the cluster that go with the value.
struct Installed(Vec<String>);

impl Drop for Installed {
    fn drop(&mut self) {
        for object in &self.0 {
            let _ = kubectl(&["delete", object, "--ignore-not-found"], None);
        }
    }
}

/// The shipped policy, for one namespace alone.
fn install_policy(namespace: &str) -> Installed {
    let name = format!("commands-{namespace}");
    let mut policy = shipped_one("ValidatingAdmissionPolicy", "microservice-commands");
    policy["metadata"]["name"] = json!(name);
    let mut binding = shipped_one("ValidatingAdmissionPolicyBinding", "microservice-commands");
    binding["metadata"]["name"] = json!(name);
    assert_eq!(binding["spec"]["policyName"], "microservice-commands");
    binding["spec"]["policyName"] = json!(name);
    binding["spec"]["matchResources"] =
        json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}});
    let list = json!({"apiVersion": "v1", "kind": "List", "items": [policy, binding]});
    kubectl(&["apply", "-f", "-"], Some(&list.to_string())).ok();
    Installed(vec![
        format!("validatingadmissionpolicybinding/{name}"),
        format!("validatingadmissionpolicy/{name}"),
    ])
}

/// A user of one scenario.
struct User<'a> {
    s: &'a Scenario,
    rights: Rights,
}

impl<'a> User<'a> {
    fn new(s: &'a Scenario, rules: &[Value]) -> Self {
        let rights = Rights::new(Reach::Namespace(&s.namespace), rules);
        Self { s, rights }
    }

    fn kubectl_with(&self, arguments: &[&str], input: Option<&str>) -> Said {
        let kubeconfig = format!("--kubeconfig={}", self.rights.kubeconfig().display());
        let all: Vec<&str> = [kubeconfig.as_str()]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        self.s.kubectl_with(&all, input)
    }

    fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_with(arguments, None)
    }

    fn annotate(&self, change: &str) -> Said {
        self.kubectl(&["annotate", "--overwrite", "microservice/web", change])
    }

    fn patch(&self, patch: &Value) -> Said {
        self.kubectl(&[
            "patch",
            "microservice/web",
            "--type=merge",
            "-p",
            &patch.to_string(),
        ])
    }

    /// Waits until the policy is in force: this one is refused by it and by nothing else.
    async fn refused_by_policy(&self, change: &Value) {
        eventually("the policy to be in force", async || {
            let patch = change.to_string();
            let tried = [
                "patch",
                "microservice/web",
                "--dry-run=server",
                "--type=merge",
                "-p",
                &patch,
            ];
            let said = self.kubectl(&tried);
            if !said.succeeded && said.err.contains("ValidatingAdmissionPolicy") {
                Ok(())
            } else {
                Err(said.out + &said.err)
            }
        })
        .await;
    }
}

#[track_caller]
fn assert_refused(said: Said, words: &[&str]) {
    let complaint = said.refused();
    for word in words {
        assert!(complaint.contains(word), "`{word}` is not in: {complaint}");
    }
}

#[test]
fn a_releaser_gives_commands_and_changes_nothing_else() {
    scenario("releaser").run(async |s| {
        s.deploy(&podinfo("web", "1.0.0")).await;
        let _policy = install_policy(&s.namespace);
        let releaser = User::new(s, &rules("microservice-releaser"));
        let user = releaser.rights.user.clone();
        let image = json!({"spec": {"image": "registry.local/podinfo:1.1.0"}});
        releaser.refused_by_policy(&image).await;
        assert_refused(
            releaser.patch(&image),
            &[&user, "may not edit the spec of web", "update microservices/spec"],
        );
        for (key, _) in COMMANDS {
            releaser.annotate(&format!("{key}=web-none/1")).ok();
            releaser.annotate(&format!("{key}-")).ok();
        }
        // What else decides over the service is not a releaser's: who may take it over, delete it, or keep it.
        for metadata in [
            json!({"annotations": {annotations::ADOPT: "Deployment"}}),
            json!({"annotations": {"argocd.argoproj.io/tracking-id": "none"}}),
            json!({"labels": {"app.kubernetes.io/instance": "none"}}),
            json!({"finalizers": ["example.com/never"]}),
        ] {
            assert_refused(
                releaser.patch(&json!({"metadata": metadata})),
                &["may only give commands to web", "update microservices/spec"],
            );
        }
        // A command that comes with an edit is refused with it.
        let both = json!({"metadata": {"annotations": {annotations::PROMOTE: "x"}}, "spec": image["spec"]});
        assert_refused(releaser.patch(&both), &["update microservices/spec"]);
        assert!(
            !releaser
                .kubectl(&["scale", "microservice/web", "--replicas=2"])
                .succeeded
        );
        assert!(
            !releaser
                .kubectl_with(&["create", "-f", "-"], Some(&podinfo("new", "1.0.0").text()))
                .succeeded
        );
        // The operator's own writes pass: a restart by a releaser is carried out and reported.
        let stable = s.service("web").await.stable().unwrap();
        releaser
            .annotate(&format!("{}={stable}", annotations::RESTART))
            .ok();
        s.wait_for("web", "to be restarted", |found| {
            found.is_healthy() && found.stable().as_deref() != Some(stable.as_str())
        })
        .await;
    });
}

#[test]
fn a_spec_editor_gives_no_command() {
    scenario("spec-editor").run(async |s| {
        let web = podinfo("web", "1.0.0");
        s.deploy(&web).await;
        s.annotate("web", annotations::PAUSE, "web-none/1").await;
        let _policy = install_policy(&s.namespace);
        let editor = User::new(s, &spec_editor());
        let user = editor.rights.user.clone();
        let promote = json!({"metadata": {"annotations": {annotations::PROMOTE: "web-none/1/1"}}});
        editor.refused_by_policy(&promote).await;
        for (key, right) in COMMANDS {
            assert_refused(
                editor.annotate(&format!("{key}=web-none/2")),
                &[&user, key, &format!("update microservices/{right}")],
            );
        }
        // To resume is a command too, however the annotation goes away.
        let resume = ["may not pause or resume a rollout", "update microservices/pause"];
        assert_refused(editor.annotate(&format!("{}-", annotations::PAUSE)), &resume);
        let stored = s.kubectl(&["get", "microservice/web", "-o", "json"]).ok();
        let mut stored: Value = serde_json::from_str(&stored).unwrap();
        stored["metadata"]["annotations"] = json!({});
        assert_refused(
            editor.kubectl_with(&["replace", "-f", "-"], Some(&stored.to_string())),
            &resume,
        );
        // Neither can it be created with one.
        let new = podinfo("new", "1.0.0");
        let frozen = new
            .clone()
            .metadata(json!({"annotations": {annotations::FREEZE: "yes"}}));
        assert_refused(
            editor.kubectl_with(&["create", "-f", "-"], Some(&frozen.text())),
            &["may not freeze or unfreeze", "update microservices/freeze"],
        );
        editor
            .kubectl_with(&["create", "-f", "-"], Some(&new.text()))
            .ok();
        // Everything else is the editor's, also while somebody else's command stands there.
        let apply = ["apply", "--server-side", "--force-conflicts", "-f", "-"];
        let labelled = web.version("1.1.0").metadata(json!({
            "labels": {"app.kubernetes.io/instance": "shop"},
            "annotations": {"argocd.argoproj.io/tracking-id": "shop:microservice.dev/Microservice:town/web"},
        }));
        editor.kubectl_with(&apply, Some(&labelled.text())).ok();
        editor.annotate("argocd.argoproj.io/tracking-id-").ok();
    });
}

#[test]
fn the_edit_role_holds_both() {
    scenario("edit-role").run(async |s| {
        s.deploy(&podinfo("web", "1.0.0")).await;
        let mut policy = install_policy(&s.namespace);
        // By their labels they become parts of the roles that every cluster has.
        for shipped in ["microservice-editor", "microservice-viewer"] {
            let mut role = shipped_one("ClusterRole", shipped);
            let name = format!("{shipped}-{}", s.namespace);
            role["metadata"]["name"] = json!(name);
            kubectl(&["apply", "-f", "-"], Some(&role.to_string())).ok();
            policy.0.push(format!("clusterrole/{name}"));
        }
        for name in ["edit", "view"] {
            let (role, user) = (format!("--clusterrole={name}"), format!("--user={name}"));
            s.kubectl(&["create", "rolebinding", name, &role, &user]).ok();
        }
        let may = |user: &str, question: &[&str]| {
            let user = format!("--as={user}");
            let all: Vec<&str> = [user.as_str()]
                .into_iter()
                .chain(question.iter().copied())
                .collect();
            s.kubectl(&all)
        };
        let edits = |arguments: &[&str]| may("edit", arguments);
        let kind = "microservices.microservice.dev";
        for (user, question) in [
            ("edit", ["update", kind, "--subresource=promote"].as_slice()),
            ("view", ["get", kind].as_slice()),
        ] {
            let question: Vec<&str> = ["auth", "can-i"]
                .into_iter()
                .chain(question.iter().copied())
                .collect();
            eventually("the role to hold its parts", async || {
                let said = may(user, &question);
                if said.succeeded {
                    Ok(())
                } else {
                    Err(said.out + &said.err)
                }
            })
            .await;
        }
        let releaser = User::new(s, &rules("microservice-releaser"));
        releaser
            .refused_by_policy(&json!({"spec": {"replicas": 2}}))
            .await;
        let image = json!({"spec": {"image": "registry.local/podinfo:1.1.0"}}).to_string();
        edits(&["patch", "microservice/web", "--type=merge", "-p", &image]).ok();
        for (key, _) in COMMANDS {
            edits(&["annotate", "microservice/web", &format!("{key}=web-none/1")]).ok();
            edits(&["annotate", "microservice/web", &format!("{key}-")]).ok();
        }
        edits(&["scale", "microservice/web", "--replicas=2"]).ok();
        assert_refused(
            may("view", &["annotate", "microservice/web", "a=b"]),
            &["cannot patch"],
        );
    });
}
