//! Users' requests of the model: where they go, how they end, and what the judges see of them.
//!
//! A request takes 10 ms and an exponentially distributed time of 20 ms on average beside that. A revision that is well
//! fails none. A pod that breaks gets requests for one more second, in which they fail: so long it takes until nobody
//! sends to it any more. Where no pod is ready, all fail.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::api_server::ApiServer;
use super::cluster::{Cluster, Pod};
use super::failure::Failure;
use super::gateway::Gateway;
use super::random::Random;
use crate::analysis::{Count, Indicator, Judge, Look, Ruling};
use crate::api::labels;
use crate::render::ChildKind;
use crate::rollout::{AnalysisReport, Answered, Check, Watch};

/// The least that a request takes, in milliseconds.
const LEAST: f64 = 10.0;
/// What it takes beside that on average.
const USUAL: f64 = 20.0;

/// What share of all requests gets to whom: by revision; what is missing to 1 gets to nobody.
pub type Shares = BTreeMap<String, f64>;

/// Requests that users made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// All.
    pub all: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that failed because no ready pod was there for them.
    pub unserved: u64,
}

/// The judges of a watch, and what was counted since they looked last.
#[derive(Clone, Debug)]
struct Counting {
    watch: Watch,
    judges: Vec<(Check, Judge)>,
    counted: Vec<BTreeMap<String, (u64, u64)>>,
    seconds: u32,
}

/// All requests.
#[derive(Clone, Debug)]
pub struct Traffic {
    a_second: u64,
    random: Random,
    counting: Option<Counting>,
    /// The ready pods of a second ago, by name.
    known: BTreeMap<String, String>,
    /// Where requests went a second ago.
    pub shares: Shares,
    /// What users made so far.
    pub made: Requests,
}

/// How the requests of one revision end.
#[derive(Clone, Copy, Debug)]
struct Fate {
    fails: f64,
    slower: f64,
}

impl Traffic {
    /// So many requests a second.
    pub fn new(a_second: u64, seed: u64) -> Self {
        Self {
            a_second,
            random: Random::new(seed),
            counting: None,
            known: BTreeMap::new(),
            shares: Shares::new(),
            made: Requests::default(),
        }
    }

    /// What is watched already goes on.
    pub fn follow(&mut self, watch: Option<Watch>) {
        if self.counting.as_ref().map(|counting| &counting.watch) == watch.as_ref() {
            return;
        }
        self.counting = watch.map(|watch| Counting {
            judges: watch
                .checks
                .iter()
                .map(|check| (check.clone(), Judge::new(check.terms)))
                .collect(),
            counted: vec![BTreeMap::new(); watch.checks.len()],
            watch,
            seconds: 0,
        });
    }

    /// What is known of the requests.
    pub fn report(&self) -> Option<AnalysisReport> {
        let counting = self.counting.as_ref()?;
        let rulings: BTreeMap<String, Ruling> = counting
            .judges
            .iter()
            .map(|(check, judge)| (check.name.clone(), judge.ruling()))
            .collect();
        Some(AnalysisReport {
            key: counting.watch.key.clone(),
            rulings,
            answered: Answered::Yes,
            ..AnalysisReport::default()
        })
    }

    /// A second of requests, sent to whoever was known a second ago. Whether a judge has a new verdict.
    pub fn pass(
        &mut self,
        api: &ApiServer,
        cluster: &Cluster,
        gateway: &Gateway,
        candidate: Option<&str>,
        failure: Failure,
    ) -> bool {
        let fates = self.fates(cluster, candidate, failure);
        let shares = std::mem::replace(&mut self.shares, shares(api, cluster, gateway));
        let pods = cluster.pods.iter().filter(|pod| pod.is_ready());
        self.known = pods.map(|pod| (pod.name.clone(), pod.revision.clone())).collect();
        for _ in 0..self.a_second {
            self.request(&shares, &fates);
        }
        self.look()
    }

    /// Of the revisions that were known.
    fn fates(&self, cluster: &Cluster, candidate: Option<&str>, failure: Failure) -> BTreeMap<String, Fate> {
        let broken: BTreeSet<&str> = cluster
            .pods
            .iter()
            .filter(|pod| pod.is_troubled())
            .map(|pod: &Pod| pod.name.as_str())
            .collect();
        let revisions: BTreeSet<&String> = self.known.values().collect();
        let fate = |revision: &String| {
            let pods = self.known.iter().filter(|(_, of)| *of == revision);
            let (mut all, mut dead) = (0.0, 0.0);
            for (pod, _) in pods {
                all += 1.0;
                dead += f64::from(u8::from(broken.contains(pod.as_str())));
            }
            let dead: f64 = dead / f64::max(all, 1.0);
            let ill = candidate == Some(revision.as_str());
            let (fails, slower) = match failure {
                Failure::Errors(percent) if ill => (percent / 100.0, 0.0),
                Failure::Slow(milliseconds) if ill => (0.0, f64::from(milliseconds)),
                _ => (0.0, 0.0),
            };
            Fate {
                fails: dead + (1.0 - dead) * fails,
                slower,
            }
        };
        revisions
            .into_iter()
            .map(|revision| (revision.clone(), fate(revision)))
            .collect()
    }

    fn request(&mut self, shares: &Shares, fates: &BTreeMap<String, Fate>) {
        self.made.all += 1;
        let mut at = self.random.unit();
        let luck = self.random.unit();
        let time = LEAST - USUAL * (1.0 - self.random.unit()).ln();
        let served = shares.iter().find(|(_, share)| {
            at -= *share;
            at < 0.0
        });
        let Some((revision, fate)) = served.and_then(|(revision, _)| Some((revision, fates.get(revision)?)))
        else {
            self.made.failed += 1;
            self.made.unserved += 1;
            return;
        };
        let failed = luck < fate.fails;
        let time = time + fate.slower;
        self.made.failed += u64::from(failed);
        let Some(counting) = &mut self.counting else {
            return;
        };
        for ((check, _), counted) in counting.judges.iter().zip(&mut counting.counted) {
            let bad = match check.indicator {
                Indicator::Errors => failed,
                Indicator::SlowerThan { milliseconds } => time > f64::from(milliseconds.get()),
            };
            let (all, bad_ones) = counted.entry(revision.clone()).or_default();
            *all += 1;
            *bad_ones += u64::from(bad);
        }
    }

    /// The judges look as often as the operator does.
    fn look(&mut self) -> bool {
        let Some(counting) = &mut self.counting else {
            return false;
        };
        counting.seconds += 1;
        if counting.seconds < counting.watch.interval_seconds {
            return false;
        }
        counting.seconds = 0;
        let mut news = false;
        for ((_, judge), counted) in counting.judges.iter_mut().zip(&mut counting.counted) {
            let counted = std::mem::take(counted);
            let of = |revision: &str| {
                let (all, bad) = counted.get(revision).copied().unwrap_or_default();
                Count::new(all, bad).ok()
            };
            let before = judge.ruling().verdict;
            judge.observe(&Look {
                candidate: of(&counting.watch.candidate.revision),
                stable: of(&counting.watch.stable.revision),
            });
            news |= judge.ruling().verdict != before;
        }
        news
    }
}

/// Where requests go now: by the first route, as its slowest data plane does it, or by the root Service.
fn shares(api: &ApiServer, cluster: &Cluster, gateway: &Gateway) -> Shares {
    let mut shares = Shares::new();
    let mut to = |service: &str, part: f64| {
        for (revision, share) in behind(api, cluster, service) {
            *shares.entry(revision).or_default() += share * part;
        }
    };
    match gateway.carried() {
        Some(mut config) => {
            // A rule may lead to somebody else's Service, whose requests are not ours.
            config.retain(|service, _| api.objects.contains_key(&(ChildKind::Service, service.clone())));
            let sum: i32 = config.values().sum();
            for (service, percent) in &config {
                to(service, f64::from(*percent) / f64::from(sum.max(1)));
            }
        }
        None => to(api.name(), 1.0),
    }
    shares
}

/// Whose pods are behind a Service, with their parts of its requests.
fn behind(api: &ApiServer, cluster: &Cluster, service: &str) -> Vec<(String, f64)> {
    if service == api.name() {
        let ready = &cluster.endpoints.ready;
        let all: i32 = ready.values().sum();
        let part = |n: i32| f64::from(n) / f64::from(all.max(1));
        return ready
            .iter()
            .map(|(revision, n)| (revision.clone(), part(*n)))
            .collect();
    }
    let stored = api.objects.get(&(ChildKind::Service, service.to_owned()));
    let selector = stored.and_then(|stored| stored.object.pointer("/spec/selector"));
    let revision = selector
        .and_then(|selector| selector.get(labels::REVISION))
        .and_then(serde_json::Value::as_str);
    revision
        .filter(|revision| cluster.ready(revision) > 0)
        .map(|revision| (revision.to_owned(), 1.0))
        .into_iter()
        .collect()
}
