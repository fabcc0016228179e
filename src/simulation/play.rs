//! A rollout from its beginning to its end, second by second, by the engine and the judges that the operator has.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::api_server::{ApiServer, Stored, WriteError};
use super::cluster::{Behaviour, Cluster};
use super::failure::Failure;
use super::gateway::Gateway;
use super::traffic::{Requests, Shares, Traffic};
use super::view::{Beside, View};
use crate::analysis::threshold::{Measurement, Measurements, Outcome as Found};
use crate::api::{
    Microservice, MicroserviceStatus, Phase, RevisionStatus, RolloutState, RolloutStatus, annotations,
};
use crate::health::JobOutcome;
use crate::render::{ChildKind, Companions, Identity, secret_copy};
use crate::revision::{SnapshotContent, SourceKind, sources};
use crate::rollout::{
    self, CallOutcome, ChildKey, DeliveryOutcome, EventDraft, EventKind, Measure, Observed, Plan,
    ReplicasHolder, Resolution, Slot, Source, Step, Worth, delivery_key, resolve,
};

/// The most rounds of one look: more would be a plan that never ends.
const ROUNDS: usize = 12;
/// How long the first deployment may take.
const FIRST: i64 = 3600;
/// How long the rollout may take: a day.
const LONGEST: i64 = 86_400;
/// How long a Job takes.
const JOB: SignedDuration = SignedDuration::from_secs(3);
/// For how long the service is watched after the end, so that what is left over is seen to go.
const EPILOGUE: i64 = 3;
/// A change of the candidate's share that is worth a line, in percent of all requests.
const WORTH_A_LINE: i32 = 1;

/// What is played.
#[derive(Clone, Debug, PartialEq)]
pub struct Script {
    /// What goes wrong.
    pub failure: Failure,
    /// From which second of the rollout on.
    pub at: i64,
    /// Users' requests a second.
    pub traffic: u64,
    /// What is random follows from it.
    pub seed: u64,
    /// After how many seconds a person promotes what waits for one.
    pub person: i64,
}

/// A manifest, and what is known beside it.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    /// The Microservice.
    pub service: Microservice,
    /// Who holds its replicas.
    pub holder: ReplicasHolder,
    /// ConfigMaps and Secrets beside it.
    pub companions: Companions,
}

/// What a line of the timeline is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Subject {
    /// What the script does.
    Script,
    /// What the operator tells as an event, where all is well.
    Normal,
    /// What it warns of.
    Warning,
    /// Where users' requests go.
    Traffic,
    /// A step is in force.
    Step,
    /// A person is waited for, or acts.
    Person,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// The second of the rollout.
    pub second: i64,
    /// What it is about.
    pub subject: Subject,
    /// What happens.
    pub text: String,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Ending {
    /// The candidate is the stable revision.
    Promoted,
    /// The candidate was taken back.
    RolledBack,
    /// The environment does not let it begin or go on, or nobody says that it may.
    Waiting,
    /// Nothing was to go out.
    Unchanged,
    /// It was still going on after a day.
    Endless,
}

/// All that was played.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Played {
    /// The service.
    pub service: String,
    /// The revision that served before, and its image.
    pub stable: RevisionName,
    /// The revision that went out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub candidate: Option<RevisionName>,
    /// What went wrong, as it is written on the command line.
    pub failure: String,
    /// What happened, in order.
    pub timeline: Vec<Moment>,
    /// How it ended.
    pub ending: Ending,
    /// The status' last word.
    pub message: String,
    /// How many seconds it took.
    pub seconds: i64,
    /// From when on something went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<i64>,
    /// When it was decided that the candidate is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<i64>,
    /// When the candidate had no request any more after that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub returned_at: Option<i64>,
    /// What users met with.
    pub requests: Requests,
    /// What is to be known to judge this.
    pub remarks: Vec<String>,
}

/// A revision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RevisionName {
    /// Its name.
    pub name: String,
    /// Its image.
    pub image: String,
}

/// Plays the rollout of `next` where `before` runs.
///
/// # Errors
/// With the status' last word, where `before` does not become healthy.
pub fn play(before: &Manifest, next: &Manifest, script: &Script) -> Result<Played, String> {
    let mut life = Life::new(before, script);
    life.settle()?;
    life.release(next);
    Ok(life.finish())
}

/// A service with its cluster and its operator.
struct Life<'a> {
    script: &'a Script,
    now: Timestamp,
    begin: Timestamp,
    api: ApiServer,
    cluster: Cluster,
    gateway: Gateway,
    traffic: Traffic,
    companions: Companions,
    served: BTreeSet<ChildKind>,
    /// When each Job was made.
    jobs: BTreeMap<String, Timestamp>,
    /// Routes that are accepted: in which form, and since when.
    accepted: BTreeMap<ChildKey, (String, Timestamp)>,
    calls: BTreeMap<String, CallOutcome>,
    deliveries: BTreeMap<String, DeliveryOutcome>,
    measuring: BTreeMap<String, (Measure, Measurements, Timestamp)>,
    last_status_write: Option<Timestamp>,
    seen: Option<View>,
    wake: Option<Timestamp>,
    /// Something beside the caches has changed.
    news: bool,
    stable: RevisionName,
    /// Since when a person is waited for, and for what.
    waiting: Option<(Timestamp, String)>,
    story: Story,
}

/// What is remembered of a rollout to be told.
#[derive(Default)]
struct Story {
    candidate: Option<RevisionName>,
    timeline: Vec<Moment>,
    told_share: i32,
    told_step: Option<(RolloutState, Option<i32>)>,
    /// Whether requests were judged.
    judged: bool,
    failed_at: Option<i64>,
    decided_at: Option<i64>,
    returned_at: Option<i64>,
}

impl<'a> Life<'a> {
    fn new(before: &Manifest, script: &'a Script) -> Self {
        let mut service = before.service.clone();
        service
            .metadata
            .namespace
            .get_or_insert_with(|| "default".to_owned());
        Self {
            script,
            now: Timestamp::UNIX_EPOCH,
            begin: Timestamp::UNIX_EPOCH,
            api: ApiServer::new(service, before.holder.clone()),
            cluster: Cluster::default(),
            gateway: Gateway::default(),
            traffic: Traffic::new(0, script.seed),
            companions: before.companions.clone(),
            served: ChildKind::ALL.into_iter().collect(),
            jobs: BTreeMap::new(),
            accepted: BTreeMap::new(),
            calls: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            measuring: BTreeMap::new(),
            last_status_write: None,
            seen: None,
            wake: None,
            news: false,
            stable: RevisionName::default(),
            waiting: None,
            story: Story::default(),
        }
    }

    // --- the story

    /// The first deployment, in which nothing goes wrong.
    fn settle(&mut self) -> Result<(), String> {
        let settled = |status: &MicroserviceStatus| {
            status.phase == Some(Phase::Healthy) && state(status) == Some(RolloutState::Steady)
        };
        for _ in 0..FIRST {
            self.work();
            self.say_yes(0);
            let status = self.status();
            if settled(&status) {
                self.stable = named(&status, status.stable_revision.as_deref().unwrap_or_default());
                return Ok(());
            }
            self.pass();
        }
        Err(self.status().message.unwrap_or_default())
    }

    /// The manifest is applied.
    fn release(&mut self, next: &Manifest) {
        self.begin = self.now;
        self.story = Story::default();
        self.companions = next.companions.clone();
        self.traffic = Traffic::new(self.asked_traffic(&next.service), self.script.seed);
        let holder = next.holder.clone();
        self.api.edit(|service| {
            service.spec = next.service.spec.clone();
            service.metadata.labels = next.service.metadata.labels.clone();
            service.metadata.annotations = next.service.metadata.annotations.clone();
        });
        self.api.holder = holder;
        // What users meet with before the first second of it.
        self.traffic
            .pass(&self.api, &self.cluster, &self.gateway, None, Failure::None);
        self.traffic.made = Requests::default();
    }

    /// What has no port gets no requests.
    fn asked_traffic(&self, service: &Microservice) -> u64 {
        if service.spec.exposure.ports.is_empty() {
            0
        } else {
            self.script.traffic
        }
    }

    fn finish(mut self) -> Played {
        let mut over = None;
        let mut left = EPILOGUE;
        let ending = loop {
            // What was over before is not spoilt afterwards.
            if over.is_none() {
                self.begin_failure();
            }
            self.work();
            self.tell_state();
            over = over.or_else(|| self.over());
            if let Some(ending) = over {
                if left == 0 || ending == Ending::Unchanged {
                    break ending;
                }
                left -= 1;
            }
            if self.second() >= LONGEST {
                break over.unwrap_or(Ending::Endless);
            }
            if over.is_none() {
                self.say_yes(self.script.person);
            }
            self.pass();
            self.tell_traffic();
        };
        let status = self.status();
        let remarks = self.remarks(ending);
        Played {
            service: self.api.name().to_owned(),
            stable: self.stable,
            candidate: self.story.candidate,
            failure: self.script.failure.to_string(),
            seconds: self.now.duration_since(self.begin).as_secs(),
            timeline: self.story.timeline,
            ending,
            message: status.message.unwrap_or_default(),
            failed_at: self.story.failed_at,
            decided_at: self.story.decided_at,
            returned_at: self.story.returned_at,
            requests: self.traffic.made,
            remarks,
        }
    }

    /// Whether there is nothing more to see.
    fn over(&self) -> Option<Ending> {
        let status = self.status();
        let seen = status.observed_generation == self.api.service.metadata.generation.unwrap_or_default();
        let steady = state(&status) == Some(RolloutState::Steady);
        let stays = seen && steady;
        let resting = || match status.phase {
            Some(Phase::Healthy) => Some(Ending::Unchanged),
            Some(Phase::Paused | Phase::Suspended | Phase::Degraded) => Some(Ending::Waiting),
            Some(Phase::Progressing) | None => None,
        };
        match &self.story.candidate {
            None if stays => resting(),
            None => None,
            Some(candidate) if steady => {
                let promoted = status.stable_revision.as_ref() == Some(&candidate.name);
                Some(if promoted {
                    Ending::Promoted
                } else {
                    Ending::RolledBack
                })
            }
            // What nobody is asked to promote waits for another word, which nobody says here.
            Some(_) => {
                let paused = matches!(status.phase, Some(Phase::Paused | Phase::Suspended));
                (paused && promotion(&status).is_none()).then_some(Ending::Waiting)
            }
        }
    }

    fn begin_failure(&mut self) {
        let due = self.script.failure != Failure::None && self.second() >= self.script.at;
        if self.story.failed_at.is_none() && due {
            self.story.failed_at = Some(self.second());
            self.tell(
                Subject::Script,
                format!("from now on {}", self.script.failure.words()),
            );
        }
        let behaviour = match self.failing() {
            Failure::None | Failure::Errors(_) | Failure::Slow(_) => return,
            Failure::Crash => Behaviour::CrashLoop,
            Failure::NeverReady => Behaviour::NeverReady,
            Failure::ImageMissing => Behaviour::ImageAbsent,
        };
        if let Some(candidate) = &self.story.candidate {
            self.cluster.scripts.insert(candidate.name.clone(), behaviour);
        }
    }

    /// What goes wrong now.
    fn failing(&self) -> Failure {
        match self.story.failed_at {
            Some(_) => self.script.failure,
            None => Failure::None,
        }
    }

    /// A person promotes what has waited for so long.
    fn say_yes(&mut self, patience: i64) {
        let status = self.status();
        let asked = promotion(&status).filter(|_| status.phase == Some(Phase::Paused));
        let Some(word) = asked else {
            self.waiting = None;
            return;
        };
        let since = match &self.waiting {
            Some((since, waiting)) if *waiting == word => *since,
            Some(_) | None => {
                self.waiting = Some((self.now, word.clone()));
                let message = status.message.unwrap_or_default();
                self.tell(Subject::Person, format!("waits for a person: {message}"));
                self.now
            }
        };
        if self.now.duration_since(since).as_secs() < patience || self.has_said(&word) {
            return;
        }
        let name = self.api.name().to_owned();
        self.tell(
            Subject::Person,
            format!("a person says: kubectl microservice promote {name}"),
        );
        self.api.edit(|service| {
            let all = service.metadata.annotations.get_or_insert_default();
            all.insert(annotations::PROMOTE.to_owned(), word);
        });
    }

    fn has_said(&self, word: &str) -> bool {
        let annotations = self.api.service.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(annotations::PROMOTE))
            .map(String::as_str)
            == Some(word)
    }

    // --- what is told

    fn second(&self) -> i64 {
        self.now.duration_since(self.begin).as_secs()
    }

    fn tell(&mut self, subject: Subject, text: String) {
        let second = self.second();
        self.story.timeline.push(Moment {
            second,
            subject,
            text,
        });
    }

    fn tell_events(&mut self, events: &[EventDraft]) {
        for event in events {
            let subject = match event.kind {
                EventKind::Normal => Subject::Normal,
                EventKind::Warning => Subject::Warning,
            };
            self.tell(subject, format!("{}: {}", event.reason, event.note));
        }
    }

    /// Of states and steps, those that no event tells of.
    fn tell_state(&mut self) {
        let status = self.status();
        let Some(rollout) = status.rollout else { return };
        if let Some(candidate) = &rollout.candidate
            && self.story.candidate.is_none()
            && *candidate != self.stable.name
        {
            self.story.candidate = Some(named(&self.status(), candidate));
        }
        if rollout.state == RolloutState::Returning && self.story.decided_at.is_none() {
            self.story.decided_at = Some(self.second());
        }
        let words = match rollout.state {
            RolloutState::Rolling => in_force(&rollout),
            RolloutState::Promoting => Some("the candidate takes over all traffic".to_owned()),
            RolloutState::Baking => Some("the candidate serves alone and is still watched".to_owned()),
            RolloutState::Starting | RolloutState::Steady | RolloutState::Returning => None,
        };
        let step = (rollout.state, rollout.step);
        if let Some(words) = words
            && self.story.told_step != Some(step)
        {
            self.story.told_step = Some(step);
            self.tell(Subject::Step, words);
        }
    }

    /// Where users' requests go, where that has changed.
    fn tell_traffic(&mut self) {
        let Some(candidate) = &self.story.candidate else {
            return;
        };
        let percent = share(&self.traffic.shares, &candidate.name);
        if percent == 0 && self.story.decided_at.is_some() && self.story.returned_at.is_none() {
            self.story.returned_at = Some(self.second());
        }
        if (percent - self.story.told_share).abs() < WORTH_A_LINE {
            return;
        }
        self.story.told_share = percent;
        self.tell(
            Subject::Traffic,
            format!("{percent} % of the requests go to the candidate"),
        );
    }

    fn remarks(&self, ending: Ending) -> Vec<String> {
        let mut remarks = Vec::new();
        let hurts = matches!(self.script.failure, Failure::Errors(_) | Failure::Slow(_));
        if hurts && self.story.candidate.is_some() && self.traffic.made.all == 0 {
            remarks.push("nothing sends requests to it, so none could fail".to_owned());
        } else if hurts && self.story.candidate.is_some() && !self.story.judged {
            remarks.push(
                "no requests are judged: spec.objectives or spec.strategy.analysis says what good means; only the \
                 health of the pods guards it"
                    .to_owned(),
            );
        } else if hurts && ending == Ending::Promoted && self.story.failed_at.is_some() {
            remarks.push(
                "the failure went out: the objectives allow it, or do not measure it, or there were too few requests"
                    .to_owned(),
            );
        }
        if self.script.failure != Failure::None
            && self.story.candidate.is_some()
            && self.story.failed_at.is_none()
        {
            remarks.push(format!(
                "it was over before second {}, when it was to fail",
                self.script.at
            ));
        }
        if !self.measuring_names().is_empty() {
            remarks.push(format!(
                "nobody is asked here: {} always find that all is well",
                self.measuring_names().join(", ")
            ));
        }
        remarks
    }

    fn measuring_names(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self
            .measuring
            .keys()
            .filter_map(|key| key.rsplit('/').nth(1))
            .collect();
        names.into_iter().map(str::to_owned).collect()
    }

    // --- time

    /// A second for everybody but the operator.
    fn pass(&mut self) {
        self.now += SignedDuration::from_secs(1);
        self.cluster.tick(&self.api, self.now);
        self.gateway.tick(&mut self.api, self.now);
        let failing = self.failing();
        let candidate = self
            .story
            .candidate
            .as_ref()
            .map(|candidate| candidate.name.as_str());
        self.news |= self
            .traffic
            .pass(&self.api, &self.cluster, &self.gateway, candidate, failing);
        self.measure_what_is_due();
        let jobs = self.jobs.values();
        self.news |= jobs.clone().any(|made| *made + JOB == self.now);
    }

    fn measure_what_is_due(&mut self) {
        for (measure, measured, next) in self.measuring.values_mut() {
            if *next > self.now {
                continue;
            }
            *next = self.now + SignedDuration::from_secs(measure.interval_seconds.into());
            let good = Measurement {
                outcome: Found::Good,
                value: None,
                words: None,
            };
            measured.add(good, self.now);
            self.news = true;
        }
    }

    // --- the operator

    fn status(&self) -> MicroserviceStatus {
        self.api.service.status.clone().unwrap_or_default()
    }

    fn observed(&mut self) -> Observed {
        let view = View::of(&self.api, &self.cluster);
        self.accepted = view.accepted(&self.accepted, self.now);
        let job = |stored: &Stored| {
            let name = stored
                .object
                .pointer("/metadata/name")
                .and_then(serde_json::Value::as_str);
            let made = name.and_then(|name| self.jobs.get(name));
            match made {
                Some(made) if *made + JOB <= self.now => JobOutcome::Succeeded,
                Some(_) | None => JobOutcome::Running,
            }
        };
        let quota = BTreeMap::new();
        let mut observed = view.observed(&Beside {
            served: &self.served,
            quota: &quota,
            job: &job,
        });
        observed.accepted_since = self
            .accepted
            .iter()
            .map(|(key, (_, since))| (key.clone(), *since))
            .collect();
        observed.slot = Slot::Free;
        observed.last_status_write = self.last_status_write;
        observed.calls = self.calls.clone();
        observed.deliveries = self.deliveries.clone();
        observed.analysis = self.traffic.report();
        observed.measurements = self
            .measuring
            .iter()
            .map(|(key, (_, measured, _))| (key.clone(), measured.clone()))
            .collect();
        for source in sources(&observed.spec().revision).into_keys() {
            let content = self.companions.content(&source);
            observed
                .sources
                .insert(source, content.map_or(Source::Absent, Source::Present));
        }
        add_secret_copies(&mut observed, &self.companions);
        observed
    }

    /// Plans and writes, where something has changed or a time has come.
    fn work(&mut self) {
        let woken = self.wake.is_some_and(|at| at <= self.now);
        let same = self
            .seen
            .as_ref()
            .is_some_and(|seen| seen.is_of(&self.api, &self.cluster));
        if same && !woken && !self.news {
            return;
        }
        self.news = false;
        for _ in 0..ROUNDS {
            let observed = self.observed();
            let plan = rollout::plan(&observed, self.now);
            self.story.judged |= plan.watch.is_some();
            self.traffic.follow(plan.watch.clone());
            self.measure(&plan.measures);
            if plan.steps.is_empty() {
                self.rest(&observed, &plan);
                break;
            }
            self.tell_events(&plan.events);
            for step in &plan.steps {
                if self.write(&observed, step).is_err() {
                    break;
                }
            }
            self.tell_state();
        }
        self.seen = Some(View::of(&self.api, &self.cluster));
    }

    fn rest(&mut self, observed: &Observed, plan: &Plan) {
        self.wake = plan.wake;
        match plan.worth {
            Worth::Nothing => {}
            Worth::News | Worth::Counts => {
                // It was observed just now: nothing can have come between.
                let _ = self.write(observed, &Step::Checkpoint(Box::new(plan.status.clone())));
            }
        }
    }

    fn measure(&mut self, measures: &[Measure]) {
        let known = &mut self.measuring;
        known.retain(|_, (known, _, _)| measures.iter().any(|measure| measure.asks_like(known)));
        for measure in measures {
            let first = measure.begins_at.unwrap_or(self.now).max(self.now);
            known
                .entry(measure.key.clone())
                .or_insert_with(|| (measure.clone(), Measurements::default(), first));
        }
    }

    fn write(&mut self, observed: &Observed, step: &Step) -> Result<(), WriteError> {
        match step {
            Step::Checkpoint(status) => {
                self.api.write_status(&observed.service, status)?;
                self.last_status_write = Some(self.now);
                self.forget_deliveries();
            }
            Step::Apply(apply) => {
                self.api.apply(apply)?;
                if apply.child.kind == ChildKind::Job {
                    self.jobs.entry(apply.child.name.clone()).or_insert(self.now);
                }
            }
            Step::Scale(write) => self.api.write_back(&observed.service, *write)?,
            Step::Delete(delete) => {
                self.api.delete(delete);
                if delete.kind == ChildKind::Job {
                    self.jobs.remove(&delete.name);
                }
            }
            Step::Label(label) => self.cluster.label(label),
            Step::Claim(claim) => self.cluster.claim(claim),
            Step::Call(call) => {
                self.calls.insert(call.key.clone(), CallOutcome::Succeeded);
                self.news = true;
            }
            Step::ForgetCall(key) => drop(self.calls.remove(key)),
            Step::Send(delivery) => {
                self.deliveries
                    .insert(delivery.key.clone(), DeliveryOutcome::Delivered);
                self.news = true;
            }
        }
        self.gateway.follow(&self.api, self.now);
        Ok(())
    }

    /// What the status speaks of no more is forgotten.
    fn forget_deliveries(&mut self) {
        let waiting = self.status().notifications;
        let keys: BTreeSet<String> = waiting
            .iter()
            .flat_map(|entry| {
                let names = entry.pending.iter().chain(&entry.sending);
                names.map(|name| delivery_key(&entry.id, name))
            })
            .collect();
        self.deliveries.retain(|key, _| keys.contains(key));
    }
}

fn state(status: &MicroserviceStatus) -> Option<RolloutState> {
    status.rollout.as_ref().map(|rollout| rollout.state)
}

/// What ends the present wait.
fn promotion(status: &MicroserviceStatus) -> Option<String> {
    status.rollout.as_ref()?.promote.clone()
}

fn named(status: &MicroserviceStatus, name: &str) -> RevisionName {
    let known = status.revisions.iter().find(|revision| revision.name == name);
    RevisionName {
        name: name.to_owned(),
        image: known
            .map(|revision: &RevisionStatus| revision.image.clone())
            .unwrap_or_default(),
    }
}

fn in_force(rollout: &RolloutStatus) -> Option<String> {
    rollout.in_force_at.as_ref()?;
    let (step, of) = (rollout.step?, rollout.of?);
    let weight = if rollout.effective_weight == rollout.weight {
        format!("weight {} %", rollout.weight)
    } else {
        format!(
            "weight {} %, by its pods {} %",
            rollout.weight, rollout.effective_weight
        )
    };
    Some(format!("step {step} of {of} is in force: {weight}"))
}

/// The share of a revision in whole percent; what is little is 1.
fn share(shares: &Shares, revision: &str) -> i32 {
    let percent = shares.get(revision).copied().unwrap_or_default() * 100.0;
    if percent > 0.0 && percent < 1.0 {
        return 1;
    }
    // From 0 to 100.
    #[allow(clippy::cast_possible_truncation)]
    let whole = percent.round() as i32;
    whole
}

fn add_secret_copies(observed: &mut Observed, companions: &Companions) {
    let Resolution::Revision(record) = resolve(observed) else {
        return;
    };
    let tracked = record.data.snapshots.iter();
    let secrets = tracked.filter(|snapshot| snapshot.source.kind == SourceKind::Secret);
    let missing = secrets.filter_map(|snapshot| {
        let copy = (ChildKind::Secret, snapshot.source.copy_name(&record.name));
        let secret = companions
            .secrets
            .iter()
            .find(|secret| secret.metadata.name.as_ref() == Some(&snapshot.source.name))?;
        let content = snapshot.content.as_ref()?;
        let same = SnapshotContent::of_secret(secret).digest == content.digest;
        (same && !observed.children.contains_key(&copy)).then_some((snapshot, secret))
    });
    let identity = Identity::of(&observed.service, observed.namespace());
    let copies = missing
        .map(|(snapshot, secret)| secret_copy(&identity, &record, &snapshot.source, secret))
        .collect();
    observed.secret_copies = copies;
}
