//! Argo CD as `cluster addon argo-cd` runs it: its application controller and repo server. A scenario has a git repository
//! of its own, in the directory of the cluster, and an Application that syncs it by itself.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Once;

use kube::api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use microservice_operator::api::Microservice;
use serde_json::{Value, json};

use crate::environment::{cluster, cluster_dir, repository};
use crate::manifest::merge;
use crate::recorder::Recorder;
use crate::scenario::Scenario;
use crate::wait::eventually;

const NAMESPACE: &str = "argocd";
/// What people are told to patch into argocd-cm.
const CUSTOMIZATIONS: &str = "contrib/argo-cd/argocd-cm.yaml";

/// Builds Argo CD, where it is not, starts it, where it does not run, and tells it of Microservices as docs/gitops.md says.
pub fn start(s: &Scenario) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let file = repository().join(CUSTOMIZATIONS);
        cluster(&["addon", "argo-cd", "start"]);
        let file = file.to_string_lossy();
        s.kubectl(&[
            "-n",
            NAMESPACE,
            "patch",
            "configmap",
            "argocd-cm",
            "--type=merge",
            "--patch-file",
            &file,
        ])
        .ok();
    });
}

/// An Application with its repository.
pub struct Application<'a> {
    scenario: &'a Scenario,
    directory: PathBuf,
    api: Api<DynamicObject>,
}

/// Whether an Application puts back what others change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SelfHeal {
    /// It does.
    On,
    /// It does not.
    Off,
}

/// What an Application says at a moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// The commit that it was compared with.
    pub commit: String,
    /// Synced or `OutOfSync`.
    pub sync: String,
    /// The health of its worst resource.
    pub health: String,
    /// The phase of its last sync.
    pub operation: String,
}

impl Standing {
    /// What an Application says.
    pub fn of(application: &DynamicObject) -> Self {
        let text = |pointer: &str| {
            let found = application.data.pointer(pointer).and_then(Value::as_str);
            found.unwrap_or_default().to_owned()
        };
        Self {
            commit: text("/status/sync/revision"),
            sync: text("/status/sync/status"),
            health: text("/status/health/status"),
            operation: text("/status/operationState/phase"),
        }
    }
}

impl<'a> Application<'a> {
    /// Starts Argo CD, and an Application of these objects that syncs and heals itself.
    pub async fn create(scenario: &'a Scenario, objects: &[Value]) -> Self {
        start(scenario);
        let directory = cluster_dir()
            .join("argo-cd")
            .join("git")
            .join(&scenario.namespace);
        std::fs::create_dir_all(&directory).expect("a directory for the repository");
        let resource = ApiResource {
            group: "argoproj.io".to_owned(),
            version: "v1alpha1".to_owned(),
            api_version: "argoproj.io/v1alpha1".to_owned(),
            kind: "Application".to_owned(),
            plural: "applications".to_owned(),
        };
        let api = Api::namespaced_with(scenario.client.clone(), NAMESPACE, &resource);
        let application = Self {
            scenario,
            directory,
            api,
        };
        application.git(&["init", "--quiet", "--initial-branch=main", "."]);
        application.commit(objects);
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": application.name(), "namespace": NAMESPACE},
            "spec": {
                "project": "default",
                "source": {
                    "repoURL": format!("file://{}", application.directory.display()),
                    "path": ".", "targetRevision": "main",
                },
                "destination": {"server": "https://kubernetes.default.svc", "namespace": scenario.namespace},
                // By itself it tries a failed sync five times more, over minutes.
                "syncPolicy": {"automated": {"prune": true, "selfHeal": true}, "retry": {"limit": 0}},
            },
        }))
        .expect("an object");
        let params = PostParams::default();
        let created = application.api.create(&params, &object).await;
        created.expect("the Application can be made");
        application
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.scenario.namespace
    }

    /// All that it says from now on.
    pub fn record(&self) -> Recorder<DynamicObject> {
        Recorder::start(self.api.clone())
    }

    /// What it said of a commit, each once, in the order of a record.
    pub fn said(&self, record: &Recorder<DynamicObject>, commit: &str) -> Vec<Standing> {
        let mut said: Vec<Standing> = record
            .all()
            .into_iter()
            .filter(|sighting| sighting.object.name_any() == self.name())
            .map(|sighting| Standing::of(&sighting.object))
            .filter(|standing| standing.commit == commit)
            .collect();
        said.dedup();
        said
    }

    fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(["-c", "user.name=e2e", "-c", "user.email=e2e@example.com"])
            .args(arguments)
            .current_dir(&self.directory)
            .output()
            .expect("git can be run");
        assert!(output.status.success(), "git {arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits these objects, and no others. Answers the commit.
    pub fn commit(&self, objects: &[Value]) -> String {
        self.git(&["rm", "--quiet", "-r", "--ignore-unmatch", "."]);
        for object in objects {
            let word = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).expect("a word");
            let name = format!("{}-{}.yaml", word("/kind"), word("/metadata/name"));
            // JSON is YAML.
            let text = serde_json::to_string_pretty(object).expect("an object can be written");
            std::fs::write(self.directory.join(name), text).expect("a file can be written");
        }
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
        self.head()
    }

    /// The last commit.
    pub fn head(&self) -> String {
        self.git(&["rev-parse", "HEAD"])
    }

    /// Lays a patch over the Application.
    async fn patch(&self, patch: Value) {
        let params = PatchParams::default();
        let patched = self.api.patch(self.name(), &params, &Patch::Merge(patch)).await;
        patched.expect("the Application can be patched");
    }

    /// Says whether it puts back by itself what others change.
    pub async fn heal(&self, heal: SelfHeal) {
        let heal = heal == SelfHeal::On;
        self.patch(json!({"spec": {"syncPolicy": {"automated": {"selfHeal": heal}}}}))
            .await;
    }

    /// Lets Argo CD look at the repository at once, as its webhook would.
    pub async fn refresh(&self) {
        let refresh = json!({"metadata": {"annotations": {"argocd.argoproj.io/refresh": "hard"}}});
        self.patch(refresh).await;
    }

    /// Asks for a sync of a commit, as a person does.
    pub async fn sync(&self, commit: &str) {
        self.patch(json!({"operation": {
            "initiatedBy": {"username": "e2e"}, "sync": {"revision": commit, "syncStrategy": {"hook": {}}},
        }}))
        .await;
    }

    /// What it says now.
    pub async fn standing(&self) -> Standing {
        Standing::of(&self.object().await)
    }

    /// The object.
    pub async fn object(&self) -> DynamicObject {
        self.api.get(self.name()).await.expect("the Application is there")
    }

    /// Waits until `is` holds of what it says. Answers all that it said until then, each once.
    pub async fn until(&self, what: &str, is: impl Fn(&Standing) -> bool) -> Vec<Standing> {
        let mut said: Vec<Standing> = Vec::new();
        let what = format!("the Application {what}");
        eventually(&what, async || {
            let found = self.standing().await;
            if said.last() != Some(&found) {
                said.push(found.clone());
            }
            if is(&found) {
                Ok(())
            } else {
                Err(format!("{said:?}"))
            }
        })
        .await;
        said
    }

    /// Runs one of our actions on a Microservice: by Argo CD's own Lua, with the patch that its server makes of the outcome.
    pub async fn act(&self, name: &str, action: &str) -> Result<(), String> {
        let service: Microservice = self.scenario.service(name).await;
        let mut before = serde_json::to_value(&service).expect("an object");
        merge(
            &mut before,
            json!({"apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice"}),
        );
        let program = cluster_dir()
            .join("argo-cd")
            .join("bin")
            .join("argocd-run-action");
        let mut child = Command::new(program)
            .arg(repository().join(CUSTOMIZATIONS))
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("argocd-run-action can be run");
        let text = before.to_string();
        child
            .stdin
            .take()
            .expect("its input")
            .write_all(text.as_bytes())
            .expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let after: Value = serde_json::from_slice(&output.stdout).expect("an object");
        let patch = json!({"metadata": {"annotations": after["metadata"]["annotations"]}});
        self.scenario
            .patch::<Microservice>(name, "argocd-server", patch)
            .await;
        Ok(())
    }

    /// Takes the Application away, so that it does not outlive the namespace of its objects.
    pub async fn remove(&self) {
        let name = self.object().await.name_any();
        let deleted = self.api.delete(&name, &DeleteParams::default()).await;
        deleted.expect("the Application can be deleted");
    }
}
