//! The whole model: API server, cluster, operator and time, and the words in which tests speak of them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::analysis::Count;
use microservice_operator::analysis::threshold::Outcome;
use microservice_operator::api::{MicroserviceStatus, Phase, RolloutState, RolloutStatus, annotations};
use microservice_operator::health::JobOutcome;
use microservice_operator::render::ChildKind;
use microservice_operator::revision::SnapshotSource;
use microservice_operator::rollout::{
    CallOutcome, ChildKey, Delivery, DeliveryOutcome, Edge, EventDraft, Observed, Plan, ReplicasHolder, Slot,
    Source, Step,
};
use microservice_operator::traffic::leads_to;
use serde_json::{Value, json};

use super::api_server::{ApiServer, Refusal, Stored, manifest};
use super::cluster::{Behaviour, Cluster};
use super::gateway::Gateway;
use super::laws::{self, Laws};
use super::operator::{Faults, Memory};

/// The name of the service in all tests.
pub const NAME: &str = "shop";

/// One decision or more, with the states before and after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    pub from: Option<RolloutState>,
    pub edges: Vec<Edge>,
    pub to: Option<RolloutState>,
}

/// A service, its cluster and its operator.
#[derive(Clone, Debug)]
pub struct World {
    pub now: Timestamp,
    pub api: ApiServer,
    pub cluster: Cluster,
    pub gateway: Gateway,
    /// Optional kinds that the cluster serves.
    pub served: BTreeSet<ChildKind>,
    /// Whether another rollout may begin.
    pub slot: Slot,
    pub memory: Memory,
    pub faults: Faults,
    pub sources: BTreeMap<SnapshotSource, Source>,
    /// Why Deployments cannot make pods, by revision.
    pub quota: BTreeMap<String, String>,
    /// How Jobs end, by the first word of their command; what is not there runs on.
    pub jobs: BTreeMap<String, JobOutcome>,
    /// How calls end, by their hook; what is not there runs on.
    pub hooks: BTreeMap<String, CallOutcome>,
    /// The calls that a process remembers.
    pub calls: BTreeMap<String, CallOutcome>,
    /// What was sent to people beyond the cluster, in order.
    pub sent: Vec<Delivery>,
    /// How deliveries end, by receiver; what is not there arrives.
    pub receivers: BTreeMap<String, DeliveryOutcome>,
    /// Requests a second and bad ones, by revision.
    pub rates: BTreeMap<String, Count>,
    /// Why the source of the requests does not answer, where it does not.
    pub outage: Option<String>,
    /// What measurements find, by check.
    pub findings: BTreeMap<String, Outcome>,
    /// How many writes there were.
    pub writes: usize,
    /// What was written, one line each.
    pub journal: Vec<String>,
    pub taken: Vec<Taken>,
    pub events: Vec<EventDraft>,
    pub laws: Laws,
    names: BTreeMap<String, String>,
}

impl World {
    /// A world in which nothing has happened yet, with this spec.
    pub fn new(spec: Value) -> Self {
        Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            api: shop(spec),
            cluster: Cluster::default(),
            gateway: Gateway::default(),
            served: ChildKind::ALL.into_iter().collect(),
            slot: Slot::Free,
            memory: Memory::default(),
            faults: Faults::default(),
            sources: BTreeMap::new(),
            quota: BTreeMap::new(),
            jobs: BTreeMap::new(),
            hooks: BTreeMap::new(),
            calls: BTreeMap::new(),
            sent: Vec::new(),
            receivers: BTreeMap::new(),
            rates: BTreeMap::new(),
            outage: None,
            findings: BTreeMap::new(),
            writes: 0,
            journal: Vec::new(),
            taken: Vec::new(),
            events: Vec::new(),
            laws: Laws::default(),
            names: BTreeMap::new(),
        }
    }

    /// Revision a serves with so many pods.
    pub fn serving(replicas: i32) -> Self {
        Self::serving_spec(spec("a", replicas))
    }

    /// What this spec asks for serves.
    pub fn serving_spec(spec: Value) -> Self {
        let mut world = Self::new(spec);
        world.run(30);
        world.assert_state(RolloutState::Steady);
        assert_eq!(world.phase(), Some(Phase::Healthy), "{}", world.story());
        world.journal.clear();
        world
    }

    // --- time

    /// So many seconds go by.
    pub fn run(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.work();
            self.pass();
        }
        self.work();
    }

    /// A second goes by for everybody but the operator.
    pub fn pass(&mut self) {
        self.now += SignedDuration::from_secs(1);
        self.cluster.tick(&self.api, self.now);
        self.gateway.tick(&mut self.api, self.now);
        self.gateway
            .note_root(self.cluster.endpoints.ready.keys(), self.now);
        self.count();
        self.take_measurements();
        laws::moment(self);
    }

    /// Runs until `done`, for at most so many seconds.
    #[track_caller]
    pub fn until(&mut self, seconds: i64, what: &str, done: impl Fn(&Self) -> bool) {
        for _ in 0..seconds {
            if done(self) {
                return;
            }
            self.run(1);
        }
        assert!(done(self), "not within {seconds} s: {what}\n{}", self.story());
    }

    /// Runs until the engine is in a state.
    #[track_caller]
    pub fn until_state(&mut self, state: RolloutState) {
        self.until(2000, &format!("{state:?}"), |world| world.state() == Some(state));
    }

    /// The operator is away for so many seconds; pods go on.
    pub fn without_operator(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.pass();
        }
        self.restart();
    }

    // --- what people do

    /// Sets a field of the spec, as `kubectl apply` with another manifest.
    pub fn set(&mut self, path: &str, value: Value) {
        self.api.edit(|service| {
            let mut spec = serde_json::to_value(&service.spec).unwrap();
            let mut field = &mut spec;
            for key in path.split('.') {
                if field.is_null() {
                    *field = json!({});
                }
                field = &mut field[key];
            }
            *field = value;
            service.spec = serde_json::from_value(spec).unwrap();
        });
    }

    /// The autoscaler writes, or a person with `kubectl scale`.
    pub fn scale(&mut self, replicas: i32) {
        self.api.scale(replicas, ReplicasHolder::Scale);
    }

    /// Asks for another image.
    pub fn image(&mut self, tag: &str) {
        self.set("image", json!(format!("app:{tag}")));
    }

    pub fn script(&mut self, tag: &str, behaviour: Behaviour) {
        self.cluster.scripts.insert(format!("app:{tag}"), behaviour);
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        self.api.edit(|service| {
            service
                .metadata
                .annotations
                .get_or_insert_default()
                .insert(key.to_owned(), value.to_owned());
        });
    }

    /// Asks to leave one revision for another.
    pub fn rollback(&mut self, from: &str, to: &str) {
        let value = format!("{}/{}", self.name(from), self.name(to));
        self.annotate(annotations::ROLLBACK, &value);
    }

    pub fn retry(&mut self, tag: &str, trial: i32) {
        let value = format!("{}/{trial}", self.name(tag));
        self.annotate(annotations::RETRY, &value);
    }

    /// Says promote for a step of the present trial.
    pub fn promote(&mut self, tag: &str, trial: i32, step: i32) {
        let value = format!("{}/{trial}/{step}", self.name(tag));
        self.annotate(annotations::PROMOTE, &value);
    }

    /// A command for a whole trial.
    pub fn command(&mut self, annotation: &str, tag: &str, trial: i32) {
        let value = format!("{}/{trial}", self.name(tag));
        self.annotate(annotation, &value);
    }

    /// Takes an annotation away.
    pub fn withdraw(&mut self, key: &str) {
        self.api.edit(|service| {
            service.metadata.annotations.get_or_insert_default().remove(key);
        });
    }

    /// Runs until a step is in force.
    #[track_caller]
    pub fn until_step(&mut self, step: i32) {
        self.until(300, &format!("step {step} in force"), |world| {
            let rollout = world.rollout();
            rollout.step == Some(step) && rollout.in_force_at.is_some()
        });
    }

    pub fn suspend(&mut self, suspend: bool) {
        self.set("suspend", json!(suspend));
    }

    pub fn refuse(&mut self, refusal: Refusal) {
        self.api.refusals.push(refusal);
    }

    pub fn lose_status(&mut self) {
        self.api.edit(|service| service.status = None);
    }

    /// What is lost by now and in the next minutes is somebody else's doing.
    pub fn disturb(&mut self) {
        self.disturb_for(300);
    }

    /// The same for so many seconds.
    pub fn disturb_for(&mut self, seconds: i64) {
        let until = self.now + SignedDuration::from_secs(seconds);
        self.laws.disturbed = self.laws.disturbed.max(Some(until));
    }

    /// A child is deleted by hand.
    pub fn remove(&mut self, kind: ChildKind, name: &str) -> Stored {
        self.disturb();
        self.api
            .objects
            .remove(&(kind, name.to_owned()))
            .unwrap_or_else(|| panic!("no {kind:?} {name}"))
    }

    // --- what is there

    pub fn status(&self) -> MicroserviceStatus {
        self.api.service.status.clone().unwrap_or_default()
    }

    pub fn rollout(&self) -> RolloutStatus {
        self.status()
            .rollout
            .unwrap_or_else(|| panic!("no rollout\n{}", self.story()))
    }

    pub fn state(&self) -> Option<RolloutState> {
        self.status().rollout.map(|rollout| rollout.state)
    }

    pub fn phase(&self) -> Option<Phase> {
        self.status().phase
    }

    /// Status, reason and message of a condition.
    pub fn condition(&self, type_: &str) -> Option<(String, String, String)> {
        let conditions = self.status().conditions;
        conditions
            .into_iter()
            .find(|c| c.type_ == type_)
            .map(|c| (c.status, c.reason, c.message))
    }

    /// Status and reason of the conditions of the table in the design: Ready, Reconciling, Stalled, Available.
    pub fn summary(&self) -> [String; 4] {
        ["Ready", "Reconciling", "Stalled", "Available"].map(|type_| {
            self.condition(type_)
                .map_or("-".to_owned(), |(status, reason, _)| format!("{status} {reason}"))
        })
    }

    /// The revision of an image tag.
    pub fn name(&self, tag: &str) -> String {
        self.known(tag)
            .unwrap_or_else(|| panic!("no revision {tag} in {:?}\n{}", self.names, self.story()))
    }

    fn known(&self, tag: &str) -> Option<String> {
        self.names
            .iter()
            .find(|(_, alias)| *alias == tag)
            .map(|(name, _)| name.clone())
    }

    /// What tests call a revision.
    pub fn alias(&self, text: &str) -> String {
        self.names.iter().fold(text.to_owned(), |text, (name, alias)| {
            text.replace(name.as_str(), alias)
        })
    }

    pub fn object(&self, kind: ChildKind, name: &str) -> Option<&Stored> {
        self.api.objects.get(&(kind, name.to_owned()))
    }

    pub fn deployment(&self, tag: &str) -> Option<&Stored> {
        self.object(ChildKind::Deployment, &self.known(tag)?)
    }

    pub fn asked(&self, tag: &str) -> i32 {
        self.deployment(tag).map_or(0, Stored::replicas)
    }

    pub fn ready(&self, tag: &str) -> i32 {
        self.known(tag).map_or(0, |name| self.cluster.ready(&name))
    }

    /// Which revision the root Service selects: its tag, or "all".
    pub fn selected(&self) -> Option<String> {
        let service = self.object(ChildKind::Service, NAME)?;
        let selector = service.object.pointer("/spec/selector")?;
        Some(
            selector
                .get("microservice.dev/revision")
                .and_then(Value::as_str)
                .map_or("all".to_owned(), |r| self.alias(r)),
        )
    }

    /// What a route was last told to do, as "a 90 b 10".
    pub fn shares(&self, key: &ChildKey) -> String {
        let Some(stored) = self.api.objects.get(key) else {
            return String::new();
        };
        let mut shares: Vec<String> = leads_to(key.0, &stored.object)
            .into_iter()
            .map(|(service, percent)| format!("{} {percent}", self.alias(&service)))
            .collect();
        shares.sort();
        shares.join(" ")
    }

    pub fn edges(&self) -> Vec<Edge> {
        self.taken.iter().flat_map(|taken| taken.edges.clone()).collect()
    }

    // --- assertions

    #[track_caller]
    pub fn assert_state(&self, state: RolloutState) {
        assert_eq!(self.state(), Some(state), "{}", self.story());
    }

    /// The service rests on this revision, and nothing is under way.
    #[track_caller]
    pub fn assert_steady(&self, tag: &str) {
        self.assert_state(RolloutState::Steady);
        assert_eq!(self.rollout().stable, Some(self.name(tag)), "{}", self.story());
    }

    /// These lines were written in this order, with others between them.
    #[track_caller]
    pub fn assert_order(&self, lines: &[&str]) {
        let mut journal = self.journal.iter();
        for line in lines {
            assert!(
                journal.any(|found| found.starts_with(line)),
                "`{line}` not there or not in order\n{}",
                self.story()
            );
        }
    }

    /// The whole journal, for the message of a failed assertion.
    pub fn story(&self) -> String {
        let status = self.status();
        let journal = self
            .journal
            .iter()
            .rev()
            .take(60)
            .rev()
            .cloned()
            .collect::<Vec<_>>()
            .join("\n");
        self.alias(&format!(
            "{journal}\nphase {:?}: {:?}\n{:#?}",
            status.phase, status.message, status.rollout
        ))
    }

    /// The first word of a Job's command.
    pub fn job_tag(&self, job: &Stored) -> String {
        let command = job.object.pointer("/spec/template/spec/containers/0/command/0");
        command.and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// From now on a Job ends so.
    pub fn job_ends(&mut self, command: &str, outcome: JobOutcome) {
        self.jobs.insert(command.to_owned(), outcome);
        self.trigger();
    }

    /// From now on a call of this hook ends so, also one that is under way.
    pub fn call_ends(&mut self, hook: &str, outcome: &CallOutcome) {
        self.hooks.insert(hook.to_owned(), outcome.clone());
        let under_way = self
            .calls
            .iter_mut()
            .filter(|(key, _)| key.ends_with(&format!("/{hook}")));
        under_way.for_each(|(_, known)| *known = outcome.clone());
        self.trigger();
    }

    // --- the journal

    pub fn note(&mut self, observed: &Observed, plan: &Plan) {
        if !plan.edges.is_empty() {
            let from = observed
                .service
                .status
                .as_ref()
                .and_then(|s| s.rollout.as_ref())
                .map(|r| r.state);
            let to = plan.status.rollout.as_ref().map(|r| r.state);
            self.taken.push(Taken {
                from,
                edges: plan.edges.clone(),
                to,
            });
        }
        self.events.extend(plan.events.clone());
    }

    pub fn record(&mut self, step: &Step) {
        self.learn_names();
        let at = self
            .now
            .duration_since("2026-01-01T00:00:00Z".parse().unwrap())
            .as_secs();
        let line = match step {
            Step::Checkpoint(status) => {
                let rollout = status.rollout.as_ref();
                let state = rollout.map_or("none".to_owned(), |r| format!("{:?}", r.state));
                let (stable, candidate) = (
                    rollout.and_then(|r| r.stable.clone()),
                    rollout.and_then(|r| r.candidate.clone()),
                );
                format!(
                    "status {state} {} {}",
                    stable.unwrap_or("-".into()),
                    candidate.unwrap_or("-".into())
                )
            }
            Step::Apply(apply) => {
                let key = (apply.child.kind, apply.child.name.clone());
                let what = match apply.child.kind {
                    ChildKind::Deployment => self.api.objects[&key].replicas().to_string(),
                    ChildKind::Service if apply.child.name == NAME => self.selected().unwrap_or_default(),
                    ChildKind::HttpRoute
                    | ChildKind::GrpcRoute
                    | ChildKind::VirtualService
                    | ChildKind::Ingress => self.shares(&key),
                    _ => String::new(),
                };
                format!("apply {} {} {what}", apply.child.kind.kind(), apply.child.name)
            }
            Step::Scale(write) => format!("scale {}", write.replicas),
            Step::Claim(claim) => {
                let revision = claim.labels.get("microservice.dev/revision").cloned();
                format!("claim {} {}", claim.pod, revision.unwrap_or_default())
            }
            Step::Delete(delete) => format!("delete {} {}", delete.kind.kind(), delete.name),
            Step::Label(label) => format!("label {} {}", label.pod, label.role.as_str()),
            Step::Call(call) => format!("call {}", call.key),
            Step::ForgetCall(key) => format!("forget the call {key}"),
            Step::Send(delivery) => format!("send {}", delivery.key),
        };
        let line = format!("{}   @{at}", self.alias(&line));
        self.journal.push(line);
    }

    /// Revisions are called after the tag of their image; a restarted one has a tick.
    fn learn_names(&mut self) {
        let status = self.status();
        let mut found: Vec<(String, String)> =
            status.revisions.into_iter().map(|r| (r.name, r.image)).collect();
        found.sort();
        for (name, image) in found {
            let mut alias = image.rsplit(':').next().unwrap_or_default().to_owned();
            if self.names.contains_key(&name) {
                continue;
            }
            while self.names.values().any(|known| *known == alias) {
                alias.push('\'');
            }
            self.names.insert(name, alias);
        }
    }
}

/// An API server that knows the service by this spec.
fn shop(spec: Value) -> ApiServer {
    let holder = match spec.get("replicas") {
        Some(_) => manifest(),
        None => ReplicasHolder::Nobody,
    };
    let service = json!({
        "apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice",
        "metadata": {"name": NAME, "namespace": "town"},
        "spec": spec,
    });
    ApiServer::new(serde_json::from_value(service).unwrap(), holder)
}

/// A spec with one port, an image with this tag, and so many replicas.
pub fn spec(tag: &str, replicas: i32) -> Value {
    json!({
        "image": format!("app:{tag}"), "replicas": replicas,
        "ports": [{"name": "http", "containerPort": 8080, "servicePort": 80}],
    })
}

/// The spec with further fields.
pub fn spec_with(tag: &str, replicas: i32, more: Value) -> Value {
    let mut all = spec(tag, replicas);
    all.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    all
}
