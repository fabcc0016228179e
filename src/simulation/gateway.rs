//! What carries routes: a gateway that takes them some seconds after they were written and says so in their status, and
//! data planes that follow. From a write on until a while after it was accepted, the old form of a route or the new one
//! may be in use: what is said here of a data plane is true of both.

use std::collections::{BTreeMap, BTreeSet};

use crate::render::ChildKind;
use crate::rollout::{ChildKey, is_route};
use crate::traffic::leads_to;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::api_server::{ApiServer, Object};

/// How the gateway treats routes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taking {
    /// It takes them.
    Accepts,
    /// It says nothing about what is written from now on.
    Silent,
    /// It refuses them, with these words; also those that it took before.
    Refuses(String),
    /// It forgets that it has ever seen them.
    Loses,
}

/// The Services that a route leads to, with percent of the requests.
pub type Config = BTreeMap<String, i32>;

#[derive(Clone, Debug)]
struct Route {
    form: String,
    written: Timestamp,
    accepted: Option<Timestamp>,
    /// Whether it was refused or forgotten as it is: it is carried in no form then.
    refused: bool,
    /// Any of these may be in use; the newest is the last.
    configs: Vec<Config>,
}

/// All that carries routes.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// How it treats routes.
    pub taking: Taking,
    /// Seconds from a write until it is taken.
    pub seconds: i64,
    /// Seconds from then until all of the data plane has followed.
    pub settle: i64,
    routes: BTreeMap<ChildKey, Route>,
    /// When requests could last get to a Service by a route.
    used: BTreeMap<String, Timestamp>,
    /// When requests could last get to a revision by the root Service.
    rooted: BTreeMap<String, Timestamp>,
}

impl Default for Gateway {
    fn default() -> Self {
        Self {
            taking: Taking::Accepts,
            seconds: 1,
            settle: 2,
            routes: BTreeMap::new(),
            used: BTreeMap::new(),
            rooted: BTreeMap::new(),
        }
    }
}

fn says_status(kind: ChildKind) -> bool {
    matches!(kind, ChildKind::HttpRoute | ChildKind::GrpcRoute)
}

/// Whatever of an object decides what becomes of it.
fn form(object: &Value) -> String {
    let metadata = &object["metadata"];
    format!(
        "{} {} {} {}",
        metadata["uid"], metadata["generation"], metadata["annotations"], object["spec"]
    )
}

impl Gateway {
    /// Sees what is written by now.
    pub fn follow(&mut self, api: &ApiServer, now: Timestamp) {
        for (key, stored) in api.objects.iter().filter(|(key, _)| is_route(key.0)) {
            let form = form(&stored.object);
            if self.routes.get(key).is_some_and(|route| route.form == form) {
                continue;
            }
            let config = leads_to(key.0, &stored.object);
            let route = self.routes.entry(key.clone()).or_insert(Route {
                form: String::new(),
                written: now,
                accepted: None,
                refused: false,
                configs: Vec::new(),
            });
            route.form = form;
            route.refused = false;
            route.written = now;
            route.accepted = (!says_status(key.0)).then_some(now);
            if route.configs.last() != Some(&config) {
                route.configs.push(config);
            }
        }
        // Who takes a route away wants its requests to fail.
        let gone = |key: &ChildKey| !api.objects.contains_key(key) && !key.1.ends_with("-canary");
        for (_, route) in self.routes.iter().filter(|(key, _)| gone(key)) {
            for service in route.configs.iter().flat_map(BTreeMap::keys) {
                self.used.remove(service);
            }
        }
        self.routes.retain(|key, _| !gone(key));
        for (key, route) in &mut self.routes {
            if !api.objects.contains_key(key) && !route.form.is_empty() {
                route.form.clear();
                route.accepted = Some(now);
                route.configs.push(Config::new());
            }
        }
        self.note_use(now);
    }

    /// A second of the gateway and of the data planes.
    pub fn tick(&mut self, api: &mut ApiServer, now: Timestamp) {
        self.follow(api, now);
        let due = SignedDuration::from_secs(self.seconds);
        for (key, route) in &mut self.routes {
            let Some(stored) = api.objects.get_mut(key).filter(|_| says_status(key.0)) else {
                continue;
            };
            match &self.taking {
                Taking::Accepts
                    if (route.accepted.is_none() || route.refused) && now >= route.written + due =>
                {
                    set_parents(
                        &mut stored.object,
                        &[("Accepted", "True", ""), ("ResolvedRefs", "True", "")],
                    );
                    route.accepted = Some(now);
                    if std::mem::take(&mut route.refused) {
                        route.configs.push(leads_to(key.0, &stored.object));
                    }
                }
                Taking::Refuses(words) if now >= route.written + due => {
                    set_parents(
                        &mut stored.object,
                        &[("Accepted", "False", words), ("ResolvedRefs", "True", "")],
                    );
                    if !std::mem::replace(&mut route.refused, true) {
                        route.accepted = Some(now);
                        route.configs.push(Config::new());
                    }
                }
                Taking::Loses => {
                    if stored.object["status"] != Value::Null {
                        stored.object["status"] = Value::Null;
                    }
                    if !std::mem::replace(&mut route.refused, true) {
                        route.accepted = Some(now);
                        route.configs.push(Config::new());
                    }
                }
                Taking::Accepts | Taking::Refuses(_) | Taking::Silent => {}
            }
        }
        let settle = SignedDuration::from_secs(self.settle);
        for route in self.routes.values_mut() {
            if route.accepted.is_some_and(|at| now >= at + settle) {
                route.configs.drain(..route.configs.len() - 1);
            }
        }
        self.routes
            .retain(|_, route| !route.form.is_empty() || route.configs.len() > 1);
        self.note_use(now);
    }

    fn note_use(&mut self, now: Timestamp) {
        let used: BTreeSet<String> = self
            .possible()
            .flat_map(|config| config.keys().cloned())
            .collect();
        self.used.extend(used.into_iter().map(|service| (service, now)));
    }

    /// Notes who is behind the root Service now.
    pub fn note_root<'a>(&mut self, revisions: impl Iterator<Item = &'a String>, now: Timestamp) {
        self.rooted
            .extend(revisions.map(|revision| (revision.clone(), now)));
    }

    /// What any data plane may do now.
    pub fn possible(&self) -> impl Iterator<Item = &Config> {
        self.routes.values().flat_map(|route| &route.configs)
    }

    /// What the data plane that is furthest behind does by the first route, with what a canary beside an Ingress takes from
    /// it; none where there is no route.
    pub fn carried(&self) -> Option<Config> {
        let beside = |name: &str| name.ends_with("-canary");
        let (key, route) = self.routes.iter().find(|(key, _)| !beside(&key.1))?;
        let mut config = route.configs.first()?.clone();
        let canary = self.routes.get(&(key.0, format!("{}-canary", key.1)));
        let taken = canary
            .and_then(|canary| canary.configs.first())
            .cloned()
            .unwrap_or_default();
        let left = 100 - taken.values().sum::<i32>();
        config
            .values_mut()
            .for_each(|percent| *percent = *percent * left / 100);
        for (service, percent) in taken {
            *config.entry(service).or_default() += percent;
        }
        Some(config)
    }

    /// Whether requests may get to a Service by a route now.
    pub fn leads_to(&self, service: &str) -> bool {
        self.possible().any(|config| config.contains_key(service))
    }

    /// Whether a route leads to a revision's own Service, beside the root Service of this name.
    pub fn splits(&self, root: &str) -> bool {
        self.possible()
            .any(|config| config.keys().any(|name| name != root))
    }

    /// The most that a Service may get by a route now, in percent.
    pub fn most(&self, service: &str) -> i32 {
        let most = |(key, route): (&ChildKey, &Route)| {
            let most = route
                .configs
                .iter()
                .filter_map(|config| config.get(service))
                .max()?;
            Some(*most - self.taken_from(key))
        };
        self.routes.iter().filter_map(most).max().unwrap_or(0)
    }

    /// What the canary beside an Ingress takes from it at least.
    fn taken_from(&self, (kind, name): &ChildKey) -> i32 {
        let beside = self.routes.get(&(*kind, format!("{name}-canary")));
        let taken = beside.map(|route| route.configs.iter().map(|config| config.values().sum()));
        taken.and_then(Iterator::min).unwrap_or(0)
    }

    /// When requests could last get to a Service by a route.
    pub fn last_used(&self, service: &str) -> Option<Timestamp> {
        self.used.get(service).copied()
    }

    /// When requests could last get to a revision by the root Service.
    pub fn last_rooted(&self, revision: &str) -> Option<Timestamp> {
        self.rooted.get(revision).copied()
    }
}

fn set_parents(object: &mut Object, conditions: &[(&str, &str, &str)]) {
    let generation = object["metadata"]["generation"].clone();
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status, words)| {
            json!({"type": type_, "status": status, "reason": if *status == "True" { *type_ } else { "Refused" },
                "message": words, "observedGeneration": generation})
        })
        .collect();
    let parents: Vec<Value> = object["spec"]["parentRefs"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|parent| json!({"parentRef": parent, "controllerName": "model", "conditions": conditions}))
        .collect();
    let status = json!({"parents": parents});
    if object["status"] != status {
        object["status"] = status;
    }
}
