//! The kubectl plugin against a real cluster and operator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use e2e::release::{by_hand, canary, in_force, timed};
use e2e::rights::{Reach, Rights};
use e2e::status::StatusExt;
use e2e::wait::throughout;
use e2e::{Manifest, Scenario, environment, eventually, misbehave, patience, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    #[track_caller]
    fn refused(self, code: i32, words: &str) {
        assert_eq!((self.code, self.out.as_str()), (Some(code), ""), "{self:?}");
        assert!(self.err.contains(words), "{words}: {self:?}");
        assert_eq!(self.err.lines().count(), 1, "{self:?}");
    }
}

fn plugin(s: &Scenario, arguments: &[&str]) -> Command {
    let mut command = Command::new(environment::operator_binary().with_file_name("kubectl-microservice"));
    command
        .args(["-n", &s.namespace])
        .args(arguments)
        .env("KUBECTL", environment::kubectl_binary())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it while the scenario goes on.
async fn finish(command: Command) -> Ran {
    let mut command = command;
    let output = tokio::task::spawn_blocking(move || command.output().expect("the plugin can be run"));
    let output = output.await.unwrap();
    Ran {
        code: output.status.code(),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// How long it is to wait for what must come.
fn timeout() -> String {
    format!("--timeout={}s", patience().as_secs())
}

async fn run(s: &Scenario, arguments: &[&str]) -> Ran {
    finish(plugin(s, arguments)).await
}

fn service(steps: Value) -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 3}))
        .spec(canary(steps))
        .spec(json!({"strategy": {"bakeSeconds": 1, "drainSeconds": 1}}))
}

#[test]
fn a_release_is_shown_steered_and_waited_for() {
    scenario("plugin-release").run(async |s| {
        let first = service(by_hand(&[25, 50]));
        let stable = s.deploy(&first).await.stable().unwrap();
        run(s, &["wait", "web", "--for=healthy", &timeout()]).await.ok();

        run(s, &["set", "image", "web", "registry.local/podinfo:1.1.0"])
            .await
            .ok();
        let ran = run(s, &["wait", "web", "--for=paused", &timeout()]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        let status = run(s, &["status", "web"]).await.ok();
        for word in ["step 1 of", "Candidate", "Stable", &candidate, &stable, "Paused"] {
            assert!(status.contains(word), "{word}: {status}");
        }
        let pods = s.pods_of(&candidate).await;
        assert!(status.contains(&pods[0].name_any()), "{status}");
        let why = run(s, &["why", "web"]).await.ok();
        assert!(why.contains("kubectl microservice promote web"), "{why}");
        let why: Value = serde_json::from_str(&run(s, &["why", "web", "-o", "json"]).await.ok()).unwrap();
        assert_eq!(
            (&why["phase"], &why["rollout"]["step"]),
            (&json!("Paused"), &json!(1))
        );
        let listed = run(s, &["list"]).await.ok();
        assert!(listed.contains("1/2"), "{listed}");
        let diff = run(s, &["diff", "web"]).await.ok();
        assert!(diff.contains("1.0.0 -> registry.local/podinfo:1.1.0"), "{diff}");
        let diff = run(s, &["diff", "web", "-o", "json"]).await.ok();
        let diff: Value = serde_json::from_str(&diff).unwrap();
        assert_eq!(diff["pods"], json!({"effect": "GoingOut", "revision": candidate}));

        let said = run(s, &["promote", "web"]).await.ok();
        assert!(said.contains(&format!("promote {candidate}/1/1")), "{said}");
        run(s, &["wait", "web", "--for=step=2", &timeout()]).await.ok();
        run(s, &["promote", "web", "--full"]).await.ok();
        run(s, &["wait", "web", &timeout()]).await.ok();
        s.healthy("web").await;
        let history = run(s, &["history", "web"]).await.ok();
        assert!(history.contains("Promoted"), "{history}");

        run(s, &["rollback", "web"]).await.ok();
        let ran = run(s, &["wait", "web", "--for=rolled-back", &timeout()]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(s.service("web").await.stable(), Some(stable));
    });
}

#[test]
fn abort_retry_pause_and_resume() {
    scenario("plugin-commands").run(async |s| {
        // Long enough to pause, to resume and to abort it, by a process for each.
        let first = service(timed(&[25], 20));
        s.deploy(&first).await;
        s.apply(&first.version("1.1.0")).await;
        in_force(s, "web", 1).await;
        run(s, &["pause", "web"]).await.ok();
        run(s, &["wait", "web", "--for=paused", &timeout()]).await.ok();
        run(s, &["resume", "web"]).await.ok();
        run(s, &["abort", "web"]).await.ok();
        let ran = run(s, &["wait", "web", "--for=promoted", &timeout()]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
        run(s, &["abort", "web"]).await.refused(3, "no rollout to abort");
        run(s, &["retry", "web"]).await.ok();
        run(s, &["wait", "web", "--for=promoted", &timeout()]).await.ok();

        let before = s.service("web").await.stable();
        run(s, &["freeze", "web", "--reason=holidays"]).await.ok();
        run(s, &["restart", "web"]).await.ok();
        run(s, &["wait", "web", "--for=paused", &timeout()]).await.ok();
        run(s, &["unfreeze", "web"]).await.ok();
        let ran = run(s, &["wait", "web", "--for=healthy", &timeout()]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_ne!(s.service("web").await.stable(), before);
    });
}

#[test]
fn a_coarse_step_is_begun_and_a_spent_word_is_said_again() {
    scenario("plugin-coarse").run(async |s| {
        // One pod of three is 33 % instead of 5 %, which a person has to want.
        let first =
            service(by_hand(&[5])).spec(json!({"replicas": 2, "strategy": {"coarseWeights": "Pause"}}));
        s.deploy(&first).await;
        let begin = async |word: &str| {
            let ran = run(s, &["wait", "web", "--for=paused", &timeout()]).await;
            assert_eq!(ran.code, Some(0), "{ran:?}");
            let candidate = s.candidate("web").await;
            let said = run(s, &["promote", "web"]).await.ok();
            assert!(
                said.contains(&format!("promote {candidate}/1/1{word}:")),
                "{said}"
            );
            in_force(s, "web", 1).await;
            candidate
        };
        // It ends by a person, too: that is another word.
        s.apply(&first.clone().version("1.1.0")).await;
        let candidate = begin("/coarse").await;
        let said = run(s, &["promote", "web"]).await.ok();
        assert!(said.contains(&format!("promote {candidate}/1/1:")), "{said}");
        run(s, &["wait", "web", "--for=promoted", &timeout()]).await.ok();

        // It ends by time: the word that began it ends it when it is said again.
        let last = first
            .version("1.1.0")
            .env("RELEASE", "3")
            .spec(canary(timed(&[5], 3600)));
        s.apply(&last).await;
        let candidate = begin("").await;
        let said = run(s, &["promote", "web"]).await.ok();
        assert!(said.contains(&format!("promote {candidate}/1/1:")), "{said}");
        run(s, &["wait", "web", "--for=promoted", &timeout()]).await.ok();
        assert_eq!(s.service("web").await.stable(), Some(candidate));
    });
}

#[test]
fn wait_is_not_fooled_by_what_was_before() {
    scenario("plugin-wait").run(async |s| {
        let first = service(timed(&[50], 2));
        s.deploy(&first).await;
        s.kill_operator().await;
        s.apply(&first.version("1.1.0")).await;
        let ran = run(s, &["wait", "web", "--for=healthy", "--timeout=5s"]).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains("has not seen generation 2"), "{ran:?}");
        let waiting = tokio::spawn(finish(plugin(s, &["wait", "web", "--for=healthy", &timeout()])));
        s.restart_operator().await;
        let ran = waiting.await.unwrap();
        assert_eq!(ran.code, Some(0), "{ran:?}");
        assert_eq!(s.service("web").await.said().history[0].outcome, "Promoted");
    });
}

#[test]
fn wait_tells_a_rollback_by_its_code() {
    scenario("plugin-wait-back").real_pods().run(async |s| {
        let first = misbehave("web", "1.0.0").spec(json!({"replicas": 2}));
        s.deploy(&first).await;
        s.apply(&first.env("EXIT_AFTER_SECONDS", "0")).await;
        let ran = run(s, &["wait", "web", "--for=promoted", &timeout()]).await;
        assert_eq!(ran.code, Some(1), "{ran:?}");
    });
}

#[test]
fn a_status_that_is_followed_ends_in_order() {
    scenario("plugin-watch").run(async |s| {
        let first = service(timed(&[50], 2));
        s.deploy(&first).await;
        let followed = Followed::start(plugin(s, &["status", "web", "-w"]));
        let listed = Followed::start(plugin(s, &["list", "-w"]));
        followed.says_last(&["Healthy"]).await;
        listed.says_last(&["Healthy"]).await;
        s.apply(&first.version("1.1.0")).await;
        followed.says_last(&["step 1 of 1", "Healthy"]).await;
        listed.says_last(&["Progressing", "Healthy"]).await;
        for child in [followed, listed] {
            child.interrupted();
        }
    });
}

/// A command that goes on, and what it has said so far.
struct Followed {
    child: Child,
    said: Arc<Mutex<String>>,
}

impl Followed {
    fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the plugin can be run");
        let said = Arc::new(Mutex::new(String::new()));
        let (lines, text) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&said));
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                text.lock().unwrap().push_str(&format!("{line}\n"));
            }
        });
        Self { child, said }
    }

    /// Waits until it has said these, one after the last of the other.
    async fn says_last(&self, words: &[&str]) {
        eventually("the words to be said", async || {
            let said = self.said.lock().unwrap().clone();
            let mut rest = said.as_str();
            for word in words {
                match rest.rfind(word) {
                    Some(at) => rest = &rest[at..],
                    None => return Err(format!("no {word} at the end of {said}")),
                }
            }
            Ok(())
        })
        .await;
    }

    /// Ends it as a person does.
    fn interrupted(mut self) {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-INT", &id]).status().unwrap();
        let code = self.child.wait().unwrap().code();
        assert_eq!(code, Some(0), "{}", self.said.lock().unwrap());
    }
}

#[test]
fn a_screen_is_drawn_over_and_given_back_on_an_interrupt() {
    // A terminal for it, which util-linux makes.
    if Command::new("script").arg("--version").output().is_err() {
        return environment::skipped("plugin-screen", "script of util-linux");
    }
    scenario("plugin-screen").run(async |s| {
        s.deploy(&service(by_hand(&[50]))).await;
        let binary = environment::operator_binary().with_file_name("kubectl-microservice");
        let line = format!(
            "timeout --foreground -s INT 12 {} -n {} status web -w",
            binary.display(),
            s.namespace
        );
        let mut command = Command::new("script");
        command
            .args(["-qec", &line, "/dev/null"])
            .env("TERM", "xterm")
            .env("LC_ALL", "C.UTF-8")
            .stdin(Stdio::null());
        let text = finish(command).await.out;
        let (screen, after) = text
            .split_once("\x1b[?25h\x1b[?1049l")
            .expect("the cursor is given back");
        assert!(screen.starts_with("\x1b[?1049h\x1b[?25l"), "{screen:?}");
        assert!(
            screen.contains("\x1b[H") && screen.contains("\x1b[J"),
            "{screen:?}"
        );
        assert!(screen.contains("└─ "), "{screen:?}");
        assert!(after.contains("Healthy"), "{after:?}");
    });
}

#[test]
fn bad_input_is_one_sentence_and_changes_nothing() {
    scenario("plugin-refused").run(async |s| {
        let first = service(by_hand(&[50]));
        s.deploy(&first).await;
        // Mere counts may be written after the health.
        s.audit.quiet().await;
        let before = s.service("web").await.resource_version();
        run(s, &["status", "wbe"]).await.refused(3, "there is no microservice wbe");
        run(s, &["promote", "web"]).await.refused(3, "no rollout to promote");
        run(s, &["rollback", "web", "--to", "web-gone"]).await.refused(3, "no revision web-gone");
        run(s, &["set", "image", "web", "sidecar=a:1"]).await.refused(3, "has no container sidecar");
        for (verb, words) in [
            (&["promote", "web", "--full"][..], "no rollout to promote"),
            (&["abort", "web"], "no rollout to abort"),
            (&["pause", "web"], "no rollout to pause"),
            (&["resume", "web"], "not paused by a person"),
            (&["retry", "web"], "nothing was taken back"),
            (&["unfreeze", "web"], "is not frozen"),
            (&["rollback", "web"], "no revision before"),
            // Of a revision that is gone, of one that is there already, and of an image that nobody asks for.
            (&["expedite", "web", "web-gone"], "no revision web-gone any more"),
            (&["expedite", "web"], "nothing is to go out"),
            (&["expedite", "web", "other:2"], "set image web other:2 comes first"),
            (&["logs", "web", "--role=candidate"], "no candidate revision now"),
            (&["exec", "web", "--role=candidate", "--", "sh"], "no candidate revision now"),
            (&["port-forward", "web", "--role=candidate", "1:2"], "no candidate revision now"),
            (&["eject", "web"], "say --yes"),
            (&["eject", "gone", "--yes"], "there is no microservice gone"),
        ] {
            run(s, verb).await.refused(3, words);
        }
        let reader = Rights::new(
            Reach::Namespace(&s.namespace),
            &[json!({"apiGroups": ["microservice.dev"], "resources": ["microservices"], "verbs": ["get", "list", "watch"]})],
        );
        let kubeconfig = reader.kubeconfig().display().to_string();
        let as_reader = |arguments: &[&str]| {
            let mut all = vec!["--kubeconfig", kubeconfig.as_str()];
            all.extend(arguments);
            plugin(s, &all)
        };
        finish(as_reader(&["restart", "web"])).await.refused(3, "you may not patch microservices");
        // Pods are an extra.
        let status = finish(as_reader(&["status", "web"])).await.ok();
        assert!(status.contains("pods are not shown: you may not list pods"), "{status}");
        finish(as_reader(&["list", "-A"])).await.refused(3, "you may not list microservices in all namespaces");
        assert_eq!(s.service("web").await.resource_version(), before);
    });
}

#[test]
fn names_are_completed_by_kubectl_and_by_the_plugin() {
    scenario("plugin-completion").run(async |s| {
        let first = service(by_hand(&[50]));
        let stable = s.deploy(&first).await.stable().unwrap();
        let completed = async |words: &[&str]| {
            let binary = environment::operator_binary().with_file_name("kubectl-microservice");
            let mut command = Command::new(binary);
            command.arg("__complete").args(["-n", &s.namespace]).args(words);
            finish(command).await.ok()
        };
        assert_eq!(completed(&["status", "w"]).await, "web\n:4\n");
        assert_eq!(
            completed(&["rollback", "web", "--to", "web-"]).await,
            format!("{stable}\n:4\n")
        );
        // All shells ask kubectl, which asks the executable beside the plugin.
        let binary = environment::operator_binary().with_file_name("kubectl-microservice");
        let path = std::env::join_paths(
            [
                binary.parent().unwrap().to_path_buf(),
                environment::repository().join("packaging/completion"),
            ]
            .into_iter()
            .chain(std::env::split_paths(
                &std::env::var_os("PATH").unwrap_or_default(),
            )),
        );
        let mut kubectl = Command::new(environment::kubectl_binary());
        kubectl
            .args(["__complete", "microservice", "-n", &s.namespace, "promote", "w"])
            .env("PATH", path.unwrap());
        let said = finish(kubectl).await.ok();
        assert_eq!(said.lines().next(), Some("web"), "{said}");
    });
}

#[test]
fn a_plan_says_whether_pods_are_made_anew() {
    scenario("plugin-plan").run(async |s| {
        let first = service(by_hand(&[50]));
        s.deploy(&first).await;
        let file = std::env::temp_dir().join(format!("{}.yaml", s.namespace));
        let plan = async |manifest: &Manifest| {
            std::fs::write(&file, manifest.text()).unwrap();
            run(s, &["plan", "-f", file.to_str().unwrap()]).await.ok()
        };
        let same = plan(&first).await;
        assert!(same.contains("no pod would be made anew"), "{same}");
        let scaled = plan(&first.clone().spec(json!({"replicas": 4}))).await;
        assert!(
            scaled.contains("no pod would be made anew") && scaled.contains("replicas 3 -> 4"),
            "{scaled}"
        );
        let next = first.version("1.1.0");
        let planned = plan(&next).await;
        let programs = run(s, &["plan", "-f", file.to_str().unwrap(), "-o", "json"])
            .await
            .ok();
        let programs: Value = serde_json::from_str(&programs).unwrap();
        assert_eq!(programs[0]["pods"]["effect"], "Replaced", "{programs}");
        s.apply(&next).await;
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        assert!(
            planned.contains(&format!("revision {candidate} would go out")),
            "{planned}"
        );
        std::fs::remove_file(&file).unwrap();
    });
}

#[test]
fn pods_are_reached_by_role() {
    scenario("plugin-pods").real_pods().run(async |s| {
        let first = service(by_hand(&[50]));
        s.deploy(&first).await;
        run(s, &["logs", "web", "--role=candidate"])
            .await
            .refused(3, "has no candidate revision now");
        s.apply(&first.version("1.1.0")).await;
        let candidate = in_force(s, "web", 1).await.candidate().unwrap();
        let logs = run(s, &["logs", "web", "--role=candidate", "--tail=5"])
            .await
            .ok();
        assert!(logs.contains(&format!("[pod/{candidate}-")), "{logs}");
        // There is nothing to run in this image, which its runtime says.
        for more in [
            &["--", "/no-such-file", "-c", "x"][..],
            &["-i", "--", "/no-such-file"],
        ] {
            let ran = run(s, &[&["exec", "web", "--role=candidate"], more].concat()).await;
            assert_ne!(ran.code, Some(0), "{ran:?}");
            assert!(ran.err.contains("no-such-file"), "{ran:?}");
        }
    });
}

#[test]
fn an_ejected_service_runs_on_without_a_restart() {
    scenario("plugin-eject").run(async |s| {
        let first = podinfo("web", "1.0.0").spec(json!({
            "replicas": 2, "resources": {"requests": {"cpu": "10m"}},
            "autoscaling": {"minReplicas": 2, "maxReplicas": 4, "cpu": 80},
        }));
        let stable = s.deploy(&first).await.stable().unwrap();
        let names = async || {
            let mut names: Vec<String> = s.pods_of(&stable).await.iter().map(Pod::name_any).collect();
            names.sort();
            names
        };
        let before = names().await;
        let manifests = run(s, &["eject", "web", "--yes"]).await.ok();
        s.gone::<microservice_operator::api::Microservice>("web").await;
        let again = run(s, &["eject", "web", "--yes"]).await;
        again.refused(3, "there is no microservice web");
        let deployment: Deployment = s.get(&stable).await;
        assert_eq!(deployment.owner_references(), []);
        let scaler: k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler = s.get("web").await;
        assert_eq!(scaler.spec.unwrap().scale_target_ref.kind, "Deployment");
        let as_before = async || {
            let now = names().await;
            if now == before {
                Ok(())
            } else {
                Err(format!("{now:?} instead of {before:?}"))
            }
        };
        throughout(Duration::from_secs(3), "the pods", &as_before).await;
        // They are what is there: applying them restarts nothing.
        s.kubectl_with(&["apply", "-f", "-"], Some(&manifests)).ok();
        throughout(Duration::from_secs(3), "the pods", &as_before).await;
    });
}
