//! The operator's side of the model: what it remembers, what its caches show, and how it carries out a plan. The same
//! rules as in the controller room: a conflict looks again, a refusal is remembered and does not stop the others, and
//! what takes capacity away does not run ahead of a failure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use microservice_operator::health::JobOutcome;
use microservice_operator::rollout::{
    CallOutcome, ChildKey, DeliveryOutcome, Failure, Observed, Plan, Step, Turn, Worth, plan,
};
use microservice_operator::simulation::{Beside, View};

use super::api_server::{Stored, WriteError};
use super::checks::Measuring;
use super::laws;
use super::requests::Counting;
use super::world::World;

/// A part of the caches that can fall behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    Service,
    Objects,
    Pods,
    Endpoints,
}

/// What one process remembers.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pub failures: BTreeMap<ChildKey, Failure>,
    pub scale_failure: Option<Failure>,
    pub last_status_write: Option<Timestamp>,
    /// Routes that are accepted: in which form, and since when that is known.
    accepted: BTreeMap<ChildKey, (String, Timestamp)>,
    pub wake: Option<Timestamp>,
    /// When what was refused is tried again, and the pause after that.
    pub retry: Option<Timestamp>,
    pause: i64,
    /// What was seen last: nothing is planned where nothing has changed and no time has come.
    seen: Option<View>,
    /// The requests that were counted, and the judges.
    pub counting: Option<Counting>,
    /// The checks that are measured, by key.
    pub measuring: BTreeMap<String, Measuring>,
    /// What people are being told by this process, by key.
    pub deliveries: BTreeMap<String, DeliveryOutcome>,
    /// Caches that are behind.
    pub frozen: Option<(View, BTreeSet<Part>)>,
}

impl Memory {
    /// Something has changed that is no part of the caches.
    pub fn forget_seen(&mut self) {
        self.seen = None;
    }
}

/// What goes wrong, counted in writes of the whole life of the world.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The process dies after this write.
    pub crash_after: Option<usize>,
    /// This write is done, but the answer does not arrive.
    pub lost_reply: Option<usize>,
}

/// How the steps went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Executed {
    Done,
    Outdated,
    Crashed,
}

/// How long news that are only counts may wait.
const COUNTS_WAIT: SignedDuration = SignedDuration::from_secs(5);

/// As many rounds as the controller takes in one look.
const MOST_ROUNDS: usize = 12;

impl World {
    fn truth(&self) -> View {
        View::of(&self.api, &self.cluster)
    }

    fn view(&self) -> View {
        let mut view = self.truth();
        if let Some((old, parts)) = &self.memory.frozen {
            for part in parts {
                match part {
                    Part::Service => {
                        view.service = old.service.clone();
                        view.holder = old.holder.clone();
                    }
                    Part::Objects => view.objects = old.objects.clone(),
                    Part::Pods => view.pods = old.pods.clone(),
                    Part::Endpoints => {
                        view.endpoints = old.endpoints.clone();
                        view.services = old.services.clone();
                    }
                }
            }
        }
        view
    }

    /// From now on these parts of the caches stay as they are.
    pub fn freeze(&mut self, parts: &[Part]) {
        self.memory.frozen = Some((self.truth(), parts.iter().copied().collect()));
    }

    /// The caches catch up.
    pub fn thaw(&mut self) {
        self.memory.frozen = None;
        self.memory.seen = None;
    }

    /// What the engine is shown.
    pub fn observed(&self) -> Observed {
        let job = |job: &Stored| {
            let outcome = self.jobs.get(&self.job_tag(job)).cloned();
            outcome.unwrap_or(JobOutcome::Running)
        };
        let beside = Beside {
            served: &self.served,
            quota: &self.quota,
            job: &job,
        };
        let mut observed = self.view().observed(&beside);
        let accepted = self.memory.accepted.iter();
        observed.accepted_since = accepted.map(|(key, (_, since))| (key.clone(), *since)).collect();
        observed.scale_failure = self.memory.scale_failure.clone();
        observed.slot = self.slot;
        observed.sources = self.sources.clone();
        observed.failures = self.memory.failures.clone();
        observed.last_status_write = self.memory.last_status_write;
        observed.calls = self.calls.clone();
        observed.deliveries = self.memory.deliveries.clone();
        observed.analysis = self.report();
        observed.measurements = self.measurements();
        observed
    }

    /// Plans and writes if something has changed, or a time has come.
    pub fn work(&mut self) {
        let retry = self.memory.retry.is_some_and(|at| at <= self.now);
        let woken = self.memory.wake.is_some_and(|at| at <= self.now);
        if !retry && !woken && self.nothing_new() {
            return;
        }
        if retry {
            self.memory.failures.clear();
            self.memory.scale_failure = None;
            self.memory.retry = None;
        }
        self.reconcile();
    }

    /// Something happened that is not in the caches.
    pub fn trigger(&mut self) {
        self.memory.seen = None;
    }

    fn nothing_new(&self) -> bool {
        let Some(seen) = &self.memory.seen else {
            return false;
        };
        if self.memory.frozen.is_some() {
            return *seen == self.view();
        }
        seen.is_of(&self.api, &self.cluster)
    }

    /// One look: until nothing is left to do.
    pub fn reconcile(&mut self) {
        self.memory.wake = None;
        for round in 0.. {
            self.memory.accepted = self.view().accepted(&self.memory.accepted, self.now);
            self.memory.deliveries = self.deliveries();
            let observed = self.observed();
            let plan = plan(&observed, self.now);
            self.follow(plan.watch.clone());
            self.measure(&plan.measures);
            laws::planned(self, &observed, &plan);
            if plan.steps.is_empty() {
                return self.conclude(&observed, &plan);
            }
            assert!(
                round < MOST_ROUNDS,
                "no end of steps: {:#?}\n{}",
                plan.steps,
                self.story()
            );
            self.note(&observed, &plan);
            match self.execute(&observed, &plan) {
                Executed::Done | Executed::Outdated => {}
                Executed::Crashed => return,
            }
        }
    }

    fn conclude(&mut self, observed: &Observed, plan: &Plan) {
        laws::at_rest(self, observed, plan);
        let mut wake = plan.wake;
        let due = match (plan.worth, self.memory.last_status_write) {
            (Worth::Nothing, _) => false,
            (Worth::News, _) | (Worth::Counts, None) => true,
            (Worth::Counts, Some(last)) => {
                let at = last + COUNTS_WAIT;
                if at > self.now {
                    wake = Some(wake.map_or(at, |other| other.min(at)));
                }
                at <= self.now
            }
        };
        let mut again = false;
        if due {
            match self.write(observed, plan, &Step::Checkpoint(Box::new(plan.status.clone()))) {
                Ok(true) => {}
                Ok(false) => return,
                Err(_) => again = true,
            }
        }
        self.memory.wake = if again { Some(self.now) } else { wake };
        self.memory.seen = Some(self.view());
        if self.memory.failures.is_empty() && self.memory.scale_failure.is_none() {
            self.memory.pause = 0;
        } else if self.memory.retry.is_none() {
            self.memory.pause = (self.memory.pause * 2).clamp(1, 300);
            self.memory.retry = Some(self.now + SignedDuration::from_secs(self.memory.pause));
        }
    }

    fn execute(&mut self, observed: &Observed, plan: &Plan) -> Executed {
        let mut refused = false;
        for step in &plan.steps {
            let takes_away = match step {
                Step::Apply(apply) => apply.turn == Turn::Shrinking,
                Step::Delete(_) => true,
                Step::Checkpoint(_)
                | Step::Scale(_)
                | Step::Label(_)
                | Step::Claim(_)
                | Step::Call(_)
                | Step::ForgetCall(_)
                | Step::Send(_) => false,
            };
            if takes_away && refused {
                continue;
            }
            match self.write(observed, plan, step) {
                Ok(true) => {}
                Ok(false) => return Executed::Crashed,
                Err(WriteError::Conflict) => return Executed::Outdated,
                Err(WriteError::Refused(class, message)) => {
                    refused = true;
                    if let Step::Scale(write) = step {
                        self.memory.scale_failure = Some(Failure {
                            digest: write.replicas.to_string(),
                            class,
                            message: message.clone(),
                        });
                    }
                    if let Step::Apply(apply) = step {
                        let key = (apply.child.kind, apply.child.name.clone());
                        self.memory.failures.insert(
                            key,
                            Failure {
                                digest: apply.digest.clone(),
                                class,
                                message,
                            },
                        );
                    }
                }
            }
        }
        Executed::Done
    }

    /// Does one step. `Ok(false)`: the process died after it.
    fn write(&mut self, observed: &Observed, plan: &Plan, step: &Step) -> Result<bool, WriteError> {
        let before = self.truth();
        let done = match step {
            Step::Checkpoint(status) => self.api.write_status(&observed.service, status),
            Step::Apply(apply) => self.api.apply(apply),
            Step::Scale(write) => self.api.write_back(&observed.service, *write),
            Step::Delete(delete) => {
                self.api.delete(delete);
                Ok(())
            }
            Step::Label(label) => {
                self.cluster.label(label);
                Ok(())
            }
            Step::Claim(claim) => {
                self.cluster.claim(claim);
                Ok(())
            }
            Step::Call(call) => {
                let hook = call.key.rsplit('/').next().unwrap();
                let outcome = self.hooks.get(hook).cloned().unwrap_or(CallOutcome::Running);
                self.calls.insert(call.key.clone(), outcome);
                Ok(())
            }
            Step::ForgetCall(key) => {
                self.calls.remove(key);
                Ok(())
            }
            Step::Send(delivery) => {
                self.send(delivery);
                Ok(())
            }
        };
        self.overlay(step);
        done?;
        self.writes += 1;
        if let Step::Checkpoint(_) = step {
            self.memory.last_status_write = Some(self.now);
        }
        self.gateway.follow(&self.api, self.now);
        self.record(step);
        laws::written(self, observed, plan, step, &before);
        if self.faults.crash_after == Some(self.writes) {
            self.restart();
            return Ok(false);
        }
        if self.faults.lost_reply == Some(self.writes) {
            return Err(WriteError::Conflict);
        }
        Ok(true)
    }

    /// What a write returned, or what a look after its conflict found, lies over the caches.
    fn overlay(&mut self, step: &Step) {
        let Some((old, _)) = &mut self.memory.frozen else {
            return;
        };
        let key = match step {
            Step::Checkpoint(_) | Step::Scale(_) => {
                old.service = self.api.service.clone();
                old.holder = self.api.holder.clone();
                return;
            }
            Step::Apply(apply) => (apply.child.kind, apply.child.name.clone()),
            Step::Delete(delete) => (delete.kind, delete.name.clone()),
            Step::Label(label) => {
                old.pods
                    .iter_mut()
                    .filter(|pod| pod.name == label.pod)
                    .for_each(|pod| pod.role = Some(label.role));
                return;
            }
            Step::Claim(_) | Step::Call(_) | Step::ForgetCall(_) | Step::Send(_) => return,
        };
        match self.api.objects.get(&key) {
            Some(stored) => drop(old.objects.insert(key, stored.clone())),
            None => drop(old.objects.remove(&key)),
        }
    }

    /// Another process takes over: nothing is remembered, and its caches are fresh.
    pub fn restart(&mut self) {
        self.memory = Memory::default();
    }
}
