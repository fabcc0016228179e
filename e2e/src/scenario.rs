//! A test's own namespace with an operator of its own, and what a test does in it.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Once, OnceLock};

use futures::FutureExt;
use k8s_openapi::api::core::v1::{Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::events::v1::Event;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Config, ResourceExt};
use microservice_operator::api::Microservice;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::audit::AuditLog;
use crate::environment::{self, Operators, Pods, cluster_dir};
use crate::http_client::Answer;
use crate::kubectl::{Said, established, kubectl};
use crate::load::Load;
use crate::manifest::Manifest;
use crate::operator::{Operator, OperatorOptions};
use crate::proxy::Proxy;
use crate::recorder::Recorder;
use crate::status::StatusExt;
use crate::wait::{eventually, patience};

/// How much stack a scenario has.
const STACK_BYTES: usize = 16 << 20;

/// Begins the description of a scenario. `name` is short, as in `crash-loop`.
pub fn scenario(name: &'static str) -> Setup {
    Setup {
        name,
        real: false,
        flags: Vec::new(),
        proxied: false,
        user: None,
        operator: true,
        awaited: true,
        neighbour: false,
    }
}

/// What a scenario needs.
#[derive(Debug)]
pub struct Setup {
    name: &'static str,
    real: bool,
    flags: Vec<String>,
    proxied: bool,
    user: Option<PathBuf>,
    operator: bool,
    awaited: bool,
    neighbour: bool,
}

impl Setup {
    /// It proves nothing without real pods.
    #[must_use]
    pub fn real_pods(mut self) -> Self {
        self.real = true;
        self
    }

    /// The operator gets further flags.
    #[must_use]
    pub fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    /// The operator reaches the API server through a [`Proxy`].
    #[must_use]
    pub fn proxied(mut self) -> Self {
        self.proxied = true;
        self
    }

    /// The operator is the user of this kubeconfig.
    #[must_use]
    pub fn user(mut self, kubeconfig: PathBuf) -> Self {
        self.user = Some(kubeconfig);
        self
    }

    /// The test begins before the operator is ready.
    #[must_use]
    pub fn not_awaited(mut self) -> Self {
        self.awaited = false;
        self
    }

    /// No operator is started.
    #[must_use]
    pub fn without_operator(mut self) -> Self {
        self.operator = false;
        self
    }

    /// The operator serves a second namespace too: that of [`Scenario::neighbour`].
    #[must_use]
    pub fn with_neighbour(mut self) -> Self {
        self.neighbour = true;
        self
    }

    /// Runs it, and leaves nothing behind.
    pub fn run(self, test: impl AsyncFnOnce(&Scenario) + Send) {
        // An operator that is a pod takes them too.
        let real = self.real || environment::operators() == Operators::Pods;
        if real && environment::pods() == Pods::Simulated {
            return environment::skipped(self.name, "real pods");
        }
        // A pod reaches the API server by its service account, and by no other way.
        let by_another_way = self.proxied || self.user.is_some();
        if environment::operators() == Operators::Pods && by_another_way {
            return environment::skipped(self.name, "an operator that is a process");
        }
        // What a long test holds is too much for the stack of a test's thread, also on its way to the heap.
        let name = std::thread::current().name().unwrap_or(self.name).to_owned();
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        let ended = std::thread::scope(|scope| {
            let running = thread.spawn_scoped(scope, || self.run_here(test));
            running.expect("a thread can be started").join()
        });
        if let Err(panic) = ended {
            std::panic::resume_unwind(panic);
        }
    }

    fn run_here(self, test: impl AsyncFnOnce(&Scenario)) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime can be started");
        runtime.block_on(async {
            let scenario = self.start().await;
            let verdict = AssertUnwindSafe(Box::pin(test(&scenario))).catch_unwind().await;
            if verdict.is_err() {
                scenario.dump().await;
            }
            scenario.end().await;
            if let Err(panic) = verdict {
                std::panic::resume_unwind(panic);
            }
        });
    }

    async fn start(self) -> Scenario {
        let client = client(None).await;
        install_crd();
        let namespace = make_namespace(&client, self.name).await;
        let neighbour = if self.neighbour {
            Some(make_namespace(&client, self.name).await)
        } else {
            None
        };
        let proxy = if self.proxied {
            Some(Proxy::start(self::client(self.user.clone()).await, &cluster_dir()).await)
        } else {
            None
        };
        let options = OperatorOptions {
            namespaces: [&namespace].into_iter().chain(&neighbour).cloned().collect(),
            kubeconfig: proxy.as_ref().map(Proxy::kubeconfig).or(self.user),
            flags: self.flags,
            log: cluster_dir().join(format!("log/operator-{namespace}.log")),
        };
        let audit = AuditLog::from_now(&namespace);
        let neighbour = neighbour.map(|namespace| {
            Box::new(Scenario {
                name: self.name,
                audit: AuditLog::from_now(&namespace),
                namespace,
                client: client.clone(),
                proxy: None,
                options: options.clone(),
                operator: Mutex::new(None),
                neighbour: None,
            })
        });
        let operator = if self.operator {
            let mut operator = Operator::start_as_asked(options.clone());
            if self.awaited {
                operator.ready().await;
            }
            Some(operator)
        } else {
            None
        };
        Scenario {
            name: self.name,
            namespace,
            client,
            proxy,
            audit,
            options,
            operator: Mutex::new(operator),
            neighbour,
        }
    }
}

/// Makes a namespace of its own for a scenario. Answers its name.
async fn make_namespace(client: &Client, name: &str) -> String {
    let namespace = format!("{name}-{}", crate::random::suffix());
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": namespace, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
    });
    let namespaces: Api<Namespace> = Api::all(client.clone());
    namespaces
        .create(&PostParams::default(), &serde_json::from_value(object).unwrap())
        .await
        .expect("the namespace can be made");
    // Without it no pod can be made; a user's namespace has it long since.
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
    await_condition(accounts, "default", |found: Option<&ServiceAccount>| {
        found.is_some()
    })
    .await
    .unwrap();
    namespace
}

/// A client for the cluster, under the name of the tests.
pub async fn client(kubeconfig: Option<PathBuf>) -> Client {
    let options = KubeConfigOptions::default();
    let mut config = match kubeconfig {
        Some(path) => Config::from_custom_kubeconfig(Kubeconfig::read_from(path).unwrap(), &options)
            .await
            .unwrap(),
        None => Config::infer().await.expect("KUBECONFIG leads to a cluster"),
    };
    config.default_retry = false;
    Client::try_from(config).expect("a client can be made")
}

/// What `microservice-operator crds` prints.
pub fn crds() -> String {
    static TEXT: OnceLock<String> = OnceLock::new();
    TEXT.get_or_init(|| {
        let output = std::process::Command::new(environment::operator_binary())
            .arg("crds")
            .output();
        let output =
            output.unwrap_or_else(|error| panic!("{}: {error}", environment::operator_binary().display()));
        String::from_utf8(output.stdout).expect("the CRDs are text")
    })
    .clone()
}

/// Installs the CRDs as a person would: with plain kubectl apply.
pub fn install_crd() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        kubectl(&["apply", "-f", "-"], Some(&crds())).ok();
        established(&["crd/microservices.microservice.dev"]);
    });
}

/// A namespace with an operator that serves it.
pub struct Scenario {
    /// The test's name.
    pub name: &'static str,
    /// The namespace.
    pub namespace: String,
    /// A client with all rights.
    pub client: Client,
    /// Between the operator and the API server, where asked for.
    pub proxy: Option<Proxy>,
    /// What was asked of the API server since the start.
    pub audit: AuditLog,
    options: OperatorOptions,
    operator: Mutex<Option<Operator>>,
    neighbour: Option<Box<Scenario>>,
}

impl Scenario {
    /// The second namespace that the operator serves, where asked for. It has no operator of its own.
    pub fn neighbour(&self) -> &Self {
        self.neighbour.as_ref().expect("the scenario has a neighbour")
    }

    // --- the operator

    /// Starts an operator that is the user of this kubeconfig, without waiting for its caches.
    pub async fn start_operator_as(&self, kubeconfig: PathBuf) {
        let options = OperatorOptions {
            kubeconfig: Some(kubeconfig),
            ..self.options.clone()
        };
        *self.operator.lock().await = Some(Operator::start(options));
    }

    /// Kills the operator with SIGKILL.
    pub async fn kill_operator(&self) {
        self.operator.lock().await.as_mut().expect("there is one").kill();
    }

    /// Ends the operator with SIGTERM. Answers whether it ended with success.
    pub async fn stop_operator(&self) -> bool {
        self.operator.lock().await.as_mut().expect("there is one").stop()
    }

    /// Kills the operator, where it runs, and starts it again.
    pub async fn restart_operator(&self) {
        self.operator
            .lock()
            .await
            .as_mut()
            .expect("there is one")
            .restart()
            .await;
    }

    /// Kills the operator and starts it again, without waiting for its caches.
    pub async fn bounce_operator(&self) {
        self.operator
            .lock()
            .await
            .as_mut()
            .expect("there is one")
            .restart_without_waiting();
    }

    /// Waits until the operator is ready.
    pub async fn operator_ready(&self) {
        self.operator
            .lock()
            .await
            .as_mut()
            .expect("there is one")
            .ready()
            .await;
    }

    /// A page of the operator, for example /metrics.
    pub async fn page(&self, path: &str) -> String {
        self.operator
            .lock()
            .await
            .as_ref()
            .expect("there is one")
            .page(path)
            .await
    }

    /// The proxy, where asked for.
    pub fn proxy(&self) -> &Proxy {
        self.proxy.as_ref().expect("the scenario is proxied")
    }

    /// The lines of the operator's log.
    pub async fn log(&self) -> Vec<Value> {
        self.operator.lock().await.as_ref().expect("there is one").log()
    }

    /// Waits for a line of the operator's log.
    pub async fn log_line(&self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("a log line: {what}"), async || {
            let lines = self.operator.lock().await.as_ref().expect("there is one").log();
            lines
                .iter()
                .find(|line| is(line))
                .cloned()
                .ok_or_else(|| format!("{} other lines", lines.len()))
        })
        .await
    }

    // --- objects

    /// An API of this namespace.
    pub fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Applies a Microservice, server-side. Answers it as stored.
    pub async fn apply(&self, manifest: &Manifest) -> Microservice {
        let api: Api<Microservice> = self.api();
        let params = PatchParams::apply("e2e").force();
        api.patch(manifest.name(), &params, &Patch::Apply(&manifest.0))
            .await
            .unwrap_or_else(|error| panic!("{} cannot be applied: {error}", manifest.name()))
    }

    /// Makes an object.
    pub async fn create<K>(&self, object: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize,
        K::DynamicType: Default,
    {
        let object: K = serde_json::from_value(object).expect("an object of that kind");
        self.api()
            .create(&PostParams::default(), &object)
            .await
            .expect("the object can be made")
    }

    /// Lays a merge patch over an object, as the field manager `manager`.
    pub async fn patch<K>(&self, name: &str, manager: &str, patch: Value) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let params = PatchParams {
            field_manager: Some(manager.to_owned()),
            ..PatchParams::default()
        };
        let api: Api<K> = self.api();
        api.patch(name, &params, &Patch::Merge(&patch))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Annotates a Microservice.
    pub async fn annotate(&self, name: &str, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {key: value}}});
        self.patch::<Microservice>(name, "e2e-annotate", patch).await;
    }

    /// Deletes an object.
    pub async fn delete<K>(&self, name: &str)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        api.delete(name, &DeleteParams::background())
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    /// The objects of a kind, by name.
    pub async fn list<K>(&self) -> Vec<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        let mut items = api
            .list(&ListParams::default())
            .await
            .expect("it can be listed")
            .items;
        items.sort_by_key(|item| item.meta().name.clone());
        items
    }

    /// An object.
    pub async fn get<K>(&self, name: &str) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        api.get(name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// An object, if it is there.
    pub async fn find<K>(&self, name: &str) -> Option<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        api.get_opt(name)
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// A Microservice.
    pub async fn service(&self, name: &str) -> Microservice {
        self.get(name).await
    }

    /// Waits until `is` holds of a Microservice.
    pub async fn wait_for(&self, name: &str, what: &str, is: impl Fn(&Microservice) -> bool) -> Microservice {
        let api: Api<Microservice> = self.api();
        match watched(api.clone(), name, &is).await {
            Some(found) => found,
            None => {
                let status = api
                    .get_opt(name)
                    .await
                    .ok()
                    .flatten()
                    .and_then(|found| found.status);
                let status = serde_json::to_string_pretty(&status).unwrap_or_default();
                panic!(
                    "waited {} s in vain for {name} {what}; its status: {status}",
                    patience().as_secs()
                )
            }
        }
    }

    /// Waits until a Microservice is healthy at its present spec.
    pub async fn healthy(&self, name: &str) -> Microservice {
        self.wait_for(name, "to be healthy", StatusExt::is_healthy).await
    }

    /// Waits until what a Microservice asks for was taken back.
    pub async fn taken_back(&self, name: &str) -> Microservice {
        self.wait_for(name, "to be taken back", StatusExt::is_taken_back)
            .await
    }

    /// Applies a Microservice and waits until it is healthy.
    pub async fn deploy(&self, manifest: &Manifest) -> Microservice {
        let generation = self.apply(manifest).await.metadata.generation;
        self.wait_for(manifest.name(), "to be healthy", |found| {
            found.metadata.generation >= generation && found.is_healthy()
        })
        .await
    }

    /// Waits until `is` holds of an object.
    pub async fn until<K>(&self, name: &str, what: &str, is: impl Fn(&K) -> bool) -> K
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + serde::Serialize
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        match watched(api.clone(), name, &is).await {
            Some(found) => found,
            None => {
                let found =
                    serde_json::to_string(&api.get_opt(name).await.ok().flatten()).unwrap_or_default();
                panic!(
                    "waited {} s in vain for {name} {what}; it is: {found}",
                    patience().as_secs()
                )
            }
        }
    }

    /// Waits until there is no such object.
    pub async fn gone<K>(&self, name: &str)
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        let api: Api<K> = self.api();
        eventually(&format!("{name} to be gone"), async || {
            match api.get_opt(name).await {
                Ok(None) => Ok(()),
                Ok(Some(found)) => Err(format!("{:?}", found.meta().deletion_timestamp)),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// The pods of a revision that are not being deleted.
    pub async fn pods_of(&self, revision: &str) -> Vec<Pod> {
        let api: Api<Pod> = self.api();
        let selector = ListParams::default().labels(&format!("microservice.dev/revision={revision}"));
        let pods = api.list(&selector).await.expect("pods can be listed").items;
        pods.into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect()
    }

    /// Waits until a revision has this many ready pods, and no others.
    pub async fn ready_pods(&self, revision: &str, count: usize) -> Vec<Pod> {
        eventually(&format!("{count} ready pods of {revision}"), async || {
            let pods = self.pods_of(revision).await;
            let ready = pods.iter().filter(|pod| is_ready(pod)).count();
            if ready == count && pods.len() == count {
                Ok(pods)
            } else {
                Err(format!("{ready} of {}", pods.len()))
            }
        })
        .await
    }

    /// Records all that a watch says about objects of a kind.
    pub fn record<K>(&self) -> Recorder<K>
    where
        K: kube::Resource<Scope = kube::core::NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
        K::DynamicType: Default,
    {
        Recorder::start(self.api())
    }

    /// The revision whose pods a Service selects; `None`: those of all.
    pub async fn selected(&self, service: &str) -> Option<String> {
        let service: Service = self.get(service).await;
        service
            .spec
            .unwrap()
            .selector
            .unwrap()
            .get("microservice.dev/revision")
            .cloned()
    }

    // --- traffic

    /// The address of a Service's port.
    pub async fn address(&self, service: &str, port: &str) -> SocketAddr {
        let service: Service = self.get(service).await;
        let spec = service.spec.unwrap();
        let found = spec
            .ports
            .unwrap()
            .into_iter()
            .find(|p| p.name.as_deref() == Some(port))
            .expect("that port");
        SocketAddr::new(
            spec.cluster_ip.unwrap().parse().unwrap(),
            u16::try_from(found.port).unwrap(),
        )
    }

    /// Starts requests to a Service's port named http.
    pub async fn load(&self, service: &str) -> Load {
        let address = self.address(service, "http").await;
        // kube-proxy follows the EndpointSlices a moment later.
        eventually("the Service to answer", async || {
            crate::http_client::get(address, "/").await
        })
        .await;
        Load::start(address)
    }

    /// Posts to a pod of the application that misbehaves, for example `/exit?code=3`.
    pub async fn tell(&self, pod: &Pod, path: &str) {
        match crate::http_client::ask(http::Method::POST, address_of(pod), path).await {
            Ok(answer) => assert!(
                answer.code < 300,
                "{}: {path}: {}: {}",
                pod.name_any(),
                answer.code,
                answer.body
            ),
            // The answer may die with the process.
            Err(_) if path.starts_with("/exit") || path.starts_with("/allocate") => {}
            Err(error) => panic!("{}: {error}", pod.name_any()),
        }
    }

    /// Gets a page of a pod of that application.
    ///
    /// # Errors
    /// In words, where no whole answer came in time.
    pub async fn ask(&self, pod: &Pod, path: &str) -> Result<Answer, String> {
        crate::http_client::get(address_of(pod), path).await
    }

    /// Waits until a rollout against the present revision has begun. Answers the candidate.
    pub async fn candidate(&self, name: &str) -> String {
        let found = self
            .wait_for(name, "to have a candidate", |found| {
                found.is_current() && found.candidate().is_some()
            })
            .await;
        found.candidate().unwrap()
    }

    /// Panics unless all of a few dozen new requests are answered by `version`.
    pub async fn assert_served_by(&self, service: &str, version: &str) {
        let address = self.address(service, "http").await;
        // kube-proxy follows the EndpointSlices a moment later.
        eventually(&format!("only {version} to answer"), async || {
            for _ in 0..12 {
                let answer = crate::http_client::get(address, "/").await?;
                if answer.version().as_deref() != Some(version) {
                    return Err(format!("{:?} from {}", answer.version(), answer.body));
                }
            }
            Ok(())
        })
        .await;
    }

    // --- what people see

    /// The notes of a Microservice's events of one reason, oldest first.
    pub async fn notes(&self, reason: &str) -> Vec<String> {
        let mut events: Vec<Event> = self.list().await;
        events.sort_by_key(|event| event.event_time.as_ref().map(|time| time.0));
        let ours = events.into_iter().filter(|event| {
            event.reporting_controller.as_deref() == Some("microservice-operator")
                && event.reason.as_deref() == Some(reason)
        });
        ours.filter_map(|event| event.note).collect()
    }

    /// Waits for an event of that reason whose note says `words`.
    pub async fn event(&self, reason: &str, words: &str) -> String {
        eventually(&format!("an event {reason} that says {words:?}"), async || {
            let notes = self.notes(reason).await;
            notes
                .iter()
                .find(|note| note.contains(words))
                .cloned()
                .ok_or_else(|| format!("{notes:?}"))
        })
        .await
    }

    /// Runs kubectl in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> Said {
        self.kubectl_with(arguments, None)
    }

    /// Runs kubectl in this namespace with `input`.
    pub fn kubectl_with(&self, arguments: &[&str], input: Option<&str>) -> Said {
        let all: Vec<&str> = ["-n", &self.namespace]
            .into_iter()
            .chain(arguments.iter().copied())
            .collect();
        kubectl(&all, input)
    }

    // --- the end

    async fn dump(&self) {
        if let Some(neighbour) = &self.neighbour {
            Box::pin(neighbour.dump()).await;
        }
        eprintln!("--- what {} left in {}", self.name, self.namespace);
        let api: Api<Microservice> = self.api();
        for found in api
            .list(&ListParams::default())
            .await
            .map(|list| list.items)
            .unwrap_or_default()
        {
            let brief = json!({"metadata": {"name": found.name_any(), "generation": found.metadata.generation,
                "annotations": found.metadata.annotations}, "spec": found.spec, "status": found.status});
            eprintln!("{}", serde_json::to_string_pretty(&brief).unwrap_or_default());
        }
        for kinds in [
            "controllerrevisions,deployments,services,configmaps,endpointslices",
            "pods",
            "events",
        ] {
            eprintln!(
                "{}",
                self.kubectl(&["get", kinds, "-o", "wide", "--show-labels"]).out
            );
        }
        if let Some(operator) = self.operator.lock().await.as_ref() {
            eprintln!("--- the operator's log\n{}", operator.tail(60));
        }
    }

    async fn end(&self) {
        self.operator.lock().await.take();
        if std::env::var("KEEP").is_ok_and(|keep| keep == "1") {
            eprintln!("kept: namespace {}", self.namespace);
            return;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        for namespace in [Some(self), self.neighbour.as_deref()]
            .into_iter()
            .flatten()
            .map(|s| &s.namespace)
        {
            let _ = namespaces.delete(namespace, &DeleteParams::background()).await;
        }
    }
}

/// Watches an object until `is` holds of it; `None` when patience is at its end. The API server may go away meanwhile.
async fn watched<K>(api: Api<K>, name: &str, is: &impl Fn(&K) -> bool) -> Option<K>
where
    K: kube::Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let deadline = tokio::time::Instant::now() + patience();
    loop {
        let condition = |found: Option<&K>| found.is_some_and(is);
        match tokio::time::timeout_at(deadline, await_condition(api.clone(), name, condition)).await {
            Ok(Ok(found)) => return found,
            Ok(Err(_)) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
            Err(_) => return None,
        }
    }
}

/// Where a pod of the application that misbehaves listens.
fn address_of(pod: &Pod) -> SocketAddr {
    let status = pod.status.as_ref();
    let address = status.and_then(|status| status.pod_ip.as_deref());
    let address = address.expect("the pod has an address");
    SocketAddr::new(address.parse().unwrap(), 8080)
}

/// Whether a pod is ready.
pub fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|all| all.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The revision that an object belongs to.
pub fn revision_of(object: &impl ResourceExt) -> String {
    object
        .labels()
        .get("microservice.dev/revision")
        .cloned()
        .unwrap_or_default()
}
