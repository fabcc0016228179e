//! The controllers and kubelets of the model: pods follow Deployments and behave as the script of their image says;
//! endpoints follow the Service and the pods.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::api::{Role, labels};
use crate::health::{
    ContainerKind, ContainerSnapshot, Exit, FailedExits, PodSnapshot, Readied, Readiness, Scheduling,
    Standing, Waiting,
};
use crate::render::ChildKind;
use crate::rollout::{ClaimPod, Deleting, Endpoints, LabelPod, UnclaimedPod};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::api_server::{ApiServer, Stored};

/// How the pods of an image behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Ready so many seconds after they were made.
    Good(i64),
    /// They run and are never ready.
    NeverReady,
    /// They end at once, again and again.
    CrashLoop,
    /// Ready, and so many seconds later they end again and again.
    CrashAfter(i64),
    /// Their image does not exist.
    ImageAbsent,
    /// Their image cannot be pulled at the moment.
    PullBackOff,
    /// No node takes them.
    Unschedulable,
}

/// A pod.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The revision that it is labelled with.
    pub revision: String,
    /// The image of its main container.
    pub image: String,
    /// The role that it is labelled with.
    pub role: Option<Role>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    container: String,
    owner: String,
    ports: Vec<(String, i64)>,
    created: Timestamp,
    ready_since: Option<Timestamp>,
    unready_since: Timestamp,
    readied: Readied,
    failed: FailedExits,
    waiting: Option<(&'static str, &'static str)>,
    node: Option<()>,
    /// When it is gone, once it is being deleted.
    ends: Option<Timestamp>,
}

impl Pod {
    /// Whether it was ready before and is not, although nobody ends it.
    pub fn is_troubled(&self) -> bool {
        self.ready_since.is_none() && self.ends.is_none() && self.readied == Readied::Once
    }

    /// Whether it is ready, and stays.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && self.ends.is_none()
    }

    fn set_ready(&mut self, ready: bool, now: Timestamp) {
        match (ready, self.ready_since) {
            (true, None) => {
                self.ready_since = Some(now);
                self.readied = Readied::Once;
            }
            (false, Some(_)) => {
                self.ready_since = None;
                self.unready_since = now;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    fn crash(&mut self) {
        if self.waiting.is_none() {
            match self.readied {
                Readied::Once => self.failed.serving += 1,
                Readied::Never => self.failed.before += 1,
            }
        }
        self.waiting = Some(("CrashLoopBackOff", "back-off 10s restarting failed container"));
    }

    fn behave(&mut self, behaviour: Behaviour, now: Timestamp) {
        let age = now.duration_since(self.created).as_secs();
        if behaviour != Behaviour::Unschedulable {
            self.node = Some(());
        }
        let waiting = self.waiting.take();
        match behaviour {
            Behaviour::Good(after) => self.set_ready(age >= after, now),
            Behaviour::NeverReady => self.set_ready(false, now),
            Behaviour::CrashAfter(after) if age < after => self.set_ready(true, now),
            Behaviour::CrashLoop | Behaviour::CrashAfter(_) => {
                self.waiting = waiting;
                self.crash();
                self.set_ready(false, now);
            }
            Behaviour::ImageAbsent => {
                self.waiting = Some(("ErrImagePull", "failed to pull: code = NotFound: not found"));
                self.set_ready(false, now);
            }
            Behaviour::PullBackOff => {
                self.waiting = Some(("ImagePullBackOff", "Back-off pulling image: connection refused"));
                self.set_ready(false, now);
            }
            Behaviour::Unschedulable => self.set_ready(false, now),
        }
    }

    /// As the operator sees it.
    pub fn snapshot(&self) -> PodSnapshot {
        let readiness = match self.ready_since {
            Some(since) => Readiness::Ready { since },
            None => Readiness::NotReady {
                since: self.unready_since,
                was: self.readied,
                message: String::new(),
            },
        };
        let scheduling = match self.node {
            Some(()) => Scheduling::Scheduled,
            None => Scheduling::Unschedulable {
                since: self.created,
                message: "0/3 nodes are available".to_owned(),
            },
        };
        let ended = self.failed.all() > 0;
        let container = ContainerSnapshot {
            name: self.container.clone(),
            kind: ContainerKind::Main,
            waiting: self.waiting.map(|(reason, message)| Waiting {
                reason: reason.to_owned(),
                message: message.to_owned(),
                not_before: self.created,
            }),
            failed: self.failed,
            last_exit: ended.then(|| Exit {
                code: 1,
                reason: "Error".to_owned(),
                message: "no database".to_owned(),
                finished_at: Some(self.unready_since),
            }),
            image_id: Some(format!("sha256:{}", self.image)),
        };
        PodSnapshot {
            name: self.name.clone(),
            uid: self.name.clone(),
            revision: self.revision.clone(),
            role: self.role,
            node: self.node.map(|()| "node".to_owned()),
            created: self.created,
            started: Some(self.created),
            standing: if self.ends.is_some() {
                Standing::Deleting
            } else {
                Standing::Live
            },
            readiness,
            scheduling,
            containers: vec![container],
            readiness_window: SignedDuration::from_secs(30),
        }
    }
}

/// All pods, and the scripts of their images.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The pods.
    pub pods: Vec<Pod>,
    /// Ready endpoints of the root Service.
    pub endpoints: Endpoints,
    /// Ready endpoints of the other Services.
    pub services: BTreeMap<String, i32>,
    /// Seconds by which endpoints are behind the pods.
    pub lag: usize,
    listed: VecDeque<(Endpoints, BTreeMap<String, i32>)>,
    /// By revision or else by image; what has none is good after 2 s.
    pub scripts: BTreeMap<String, Behaviour>,
    /// How many pods find a node.
    pub room: usize,
    /// Seconds that a pod takes to end.
    pub grace: i64,
    made: usize,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            pods: Vec::new(),
            endpoints: Endpoints::default(),
            services: BTreeMap::new(),
            lag: 0,
            listed: VecDeque::new(),
            scripts: BTreeMap::new(),
            room: usize::MAX,
            grace: 2,
            made: 0,
        }
    }
}

impl Cluster {
    /// One round of all controllers and kubelets.
    pub fn tick(&mut self, api: &ApiServer, now: Timestamp) {
        self.pods.retain(|pod| pod.ends.is_none_or(|ends| ends > now));
        let deployments: Vec<&Stored> = api
            .objects
            .iter()
            .filter(|(key, _)| key.0 == ChildKind::Deployment)
            .map(|(_, stored)| stored)
            .collect();
        let uids: BTreeSet<&str> = deployments.iter().map(|d| d.uid.as_str()).collect();
        let ends = now + SignedDuration::from_secs(self.grace);
        for pod in self
            .pods
            .iter_mut()
            .filter(|pod| !uids.contains(pod.owner.as_str()))
        {
            pod.ends.get_or_insert(ends);
        }
        for deployment in deployments.into_iter().filter(|d| d.deleting == Deleting::No) {
            self.scale(deployment, now, ends);
        }
        self.behave(now);
        self.listed
            .push_back((self.endpoints_of(api), self.services_of(api)));
        while self.listed.len() > self.lag + 1 {
            self.listed.pop_front();
        }
        if let Some((root, others)) = self.listed.front().cloned() {
            self.endpoints = root;
            self.services = others;
        }
    }

    fn scale(&mut self, deployment: &Stored, now: Timestamp, ends: Timestamp) {
        let live = self
            .pods
            .iter()
            .filter(|pod| pod.owner == deployment.uid && pod.ends.is_none())
            .count();
        let wanted = usize::try_from(deployment.replicas()).unwrap_or(0);
        for _ in live..wanted {
            self.made += 1;
            self.pods.push(new_pod(deployment, self.made, now));
        }
        let mut superfluous: Vec<&mut Pod> = self
            .pods
            .iter_mut()
            .filter(|pod| pod.owner == deployment.uid && pod.ends.is_none())
            .collect();
        // As the ReplicaSet controller chooses: who is not ready goes first, then the youngest.
        superfluous.sort_by_key(|pod| (pod.ready_since.is_some(), std::cmp::Reverse(pod.created)));
        for pod in superfluous.into_iter().take(live.saturating_sub(wanted)) {
            pod.ends = Some(ends);
        }
    }

    fn behave(&mut self, now: Timestamp) {
        let mut taken = self.pods.iter().filter(|pod| pod.node.is_some()).count();
        for pod in &mut self.pods {
            if pod.ends.is_some() {
                continue;
            }
            let script = self
                .scripts
                .get(&pod.revision)
                .or_else(|| self.scripts.get(&pod.image))
                .copied()
                .unwrap_or(Behaviour::Good(2));
            if pod.node.is_none() {
                if taken >= self.room || script == Behaviour::Unschedulable {
                    continue;
                }
                taken += 1;
            }
            pod.behave(script, now);
        }
    }

    /// How many ready pods the Service leads to, whatever port it is.
    pub fn reached(&self, api: &ApiServer) -> usize {
        let found = self.endpoints_of(api);
        usize::try_from(found.ready.values().sum::<i32>() + found.unknown).unwrap_or(0)
    }

    fn endpoints_of(&self, api: &ApiServer) -> Endpoints {
        let mut found = Endpoints::default();
        let Some(service) = api.objects.get(&(ChildKind::Service, api.name().to_owned())) else {
            return found;
        };
        let ports = service
            .object
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        for pod in self
            .pods
            .iter()
            .filter(|pod| pod.is_ready() && selects(service, pod))
        {
            // A port that is named in the Service has only the pods that know the name.
            let listens = ports.iter().any(|port| match &port["targetPort"] {
                Value::String(name) => pod.ports.iter().any(|(known, _)| known == name),
                _ => true,
            });
            if listens && pod.revision.is_empty() {
                found.unknown += 1;
            } else if listens {
                *found.ready.entry(pod.revision.clone()).or_default() += 1;
            }
        }
        found
    }

    /// Of the Services besides the root Service.
    fn services_of(&self, api: &ApiServer) -> BTreeMap<String, i32> {
        let others = api
            .objects
            .iter()
            .filter(|(key, _)| key.0 == ChildKind::Service && key.1 != api.name());
        let count = |stored: &Stored| {
            let selector = stored.object.pointer("/spec/selector");
            let only = selector
                .and_then(|s| s.get(labels::REVISION))
                .and_then(Value::as_str);
            only.map_or(0, |only| self.ready(only))
        };
        others
            .map(|(key, stored)| (key.1.clone(), count(stored)))
            .collect()
    }

    /// How many ready pods answer on a port of the Service: the number that it leads to is one that they listen on.
    pub fn answering(&self, api: &ApiServer, port: i64) -> usize {
        let Some(service) = api.objects.get(&(ChildKind::Service, api.name().to_owned())) else {
            return 0;
        };
        let only = service
            .object
            .pointer("/spec/selector")
            .and_then(|s| s.get(labels::REVISION))
            .and_then(Value::as_str);
        let ports = service
            .object
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .cloned()
            .unwrap_or_default();
        let Some(target) = ports
            .iter()
            .find(|p| p["port"] == port)
            .map(|p| p["targetPort"].clone())
        else {
            return 0;
        };
        let hears = |pod: &Pod| {
            pod.ports
                .iter()
                .any(|(name, number)| target == *name.as_str() || target == *number)
        };
        let selected = self
            .pods
            .iter()
            .filter(|pod| pod.is_ready() && only.is_none_or(|only| only == pod.revision));
        selected.filter(|pod| hears(pod)).count()
    }

    /// A pod gets a label.
    pub fn label(&mut self, label: &LabelPod) {
        let pods = self.pods.iter_mut().filter(|pod| pod.name == label.pod);
        pods.for_each(|pod| pod.role = Some(label.role));
    }

    /// A pod gets the labels of a revision.
    pub fn claim(&mut self, claim: &ClaimPod) {
        for pod in self.pods.iter_mut().filter(|pod| pod.name == claim.pod) {
            pod.labels.extend(claim.labels.clone());
            pod.revision = claim.labels.get(labels::REVISION).cloned().unwrap_or_default();
        }
    }

    /// How many pods of a revision are ready.
    pub fn ready(&self, revision: &str) -> i32 {
        let of_it = |pod: &&Pod| pod.revision == revision && pod.is_ready();
        i32::try_from(self.pods.iter().filter(of_it).count()).unwrap_or(i32::MAX)
    }
}

/// How many of these pods a Deployment has that are not being deleted, and those of them that nobody told their revision.
pub fn of_deployment(pods: &[Pod], uid: &str) -> (i32, Vec<UnclaimedPod>) {
    let mine = || pods.iter().filter(|pod| pod.owner == uid && pod.ends.is_none());
    let unclaimed = mine()
        .filter(|pod| pod.revision.is_empty())
        .map(|pod| UnclaimedPod {
            name: pod.name.clone(),
            uid: pod.name.clone(),
        });
    (
        i32::try_from(mine().count()).unwrap_or(i32::MAX),
        unclaimed.collect(),
    )
}

/// Whether a Service selects a pod.
fn selects(service: &Stored, pod: &Pod) -> bool {
    let selector = service
        .object
        .pointer("/spec/selector")
        .and_then(Value::as_object);
    selector.is_some_and(|selector| {
        let mut rules = selector.iter();
        rules.all(|(key, value)| pod.labels.get(key).map(String::as_str) == value.as_str())
    })
}

fn new_pod(deployment: &Stored, number: usize, now: Timestamp) -> Pod {
    let template = deployment.object.pointer("/spec/template");
    let text = |path: &str| {
        template
            .and_then(|template| template.pointer(path))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let ports = template
        .and_then(|template| template.pointer("/spec/containers/0/ports"))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    Pod {
        name: format!("pod-{number}"),
        revision: text("/metadata/labels/microservice.dev~1revision"),
        image: text("/spec/containers/0/image"),
        role: None,
        container: text("/spec/containers/0/name"),
        labels: template
            .and_then(|template| template.pointer("/metadata/labels"))
            .and_then(|labels| serde_json::from_value(labels.clone()).ok())
            .unwrap_or_default(),
        owner: deployment.uid.clone(),
        ports: ports
            .iter()
            .map(|p| {
                (
                    p["name"].as_str().unwrap_or_default().to_owned(),
                    p["containerPort"].as_i64().unwrap_or_default(),
                )
            })
            .collect(),
        created: now,
        ready_since: None,
        unready_since: now,
        readied: Readied::Never,
        failed: FailedExits::default(),
        waiting: None,
        node: None,
        ends: None,
    }
}
