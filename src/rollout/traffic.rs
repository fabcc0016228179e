//! Who gets the traffic of the routes, and whether that is in force.
//!
//! Routes name a Service of each revision, so that traffic moves by a write to the route alone, and no selector on its
//! way ever flips.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::desired::TrafficTarget;
use super::draft::{Draft, later};
use super::observed::{ChildKey, Deleting, LiveChild, Ownership};
use super::plan::{owner, stamped};
use super::state::Return;
use super::steps::Goal;
use crate::api::{RolloutCourse, Router, StepAffinity, StrategyType};
use crate::render::{ChildKind, Identity, KindPresence};
use crate::traffic::{self, Acceptance, Share, Split};

/// Who gets the traffic of the routes, by revision.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTarget {
    /// The revision that gets the rest.
    pub rest: String,
    /// The one that gets a share, or did.
    pub share: Option<RevisionShare>,
}

/// The share of a candidate.
#[derive(Clone, Debug, PartialEq)]
pub struct RevisionShare {
    /// The candidate.
    pub revision: String,
    /// What its step says.
    pub goal: Goal,
}

impl RouteTarget {
    /// All to one.
    pub fn only(revision: &str) -> Self {
        Self {
            rest: revision.to_owned(),
            share: None,
        }
    }

    /// What a step says.
    pub fn step(stable: &str, candidate: &str, goal: &Goal) -> Self {
        if goal.weight >= 100 {
            return Self::only(candidate);
        }
        Self {
            rest: stable.to_owned(),
            share: Some(RevisionShare {
                revision: candidate.to_owned(),
                goal: goal.clone(),
            }),
        }
    }

    /// All back to the stable revision, from a candidate that may have had a share.
    pub fn home(stable: &str, candidate: &str) -> Self {
        Self::step(stable, candidate, &Goal::share(0))
    }

    /// The share of a revision in percent.
    pub fn weight(&self, revision: &str) -> i32 {
        let given = self.share.as_ref().map_or(0, |share| share.goal.weight);
        match &self.share {
            Some(share) if share.revision == revision => given,
            Some(_) | None if self.rest == revision => 100 - given,
            Some(_) | None => 0,
        }
    }

    /// Whether requests get to a revision.
    pub fn includes(&self, revision: &str) -> bool {
        self.rest == revision
            || self
                .share
                .as_ref()
                .is_some_and(|share| share.revision == revision && share.goal.sends_requests())
    }
}

impl Return {
    /// Where the routes are to lead in the end.
    pub fn home(&self) -> RouteTarget {
        if self.weight > 0 {
            RouteTarget::home(&self.stable, &self.candidate)
        } else {
            RouteTarget::only(&self.stable)
        }
    }
}

/// How far the routes are what is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutesStanding {
    /// At least one is not written so (yet).
    Unwritten(String),
    /// All are written; one of them is not accepted, or was only just.
    Waiting(String),
    /// All are in force.
    InForce,
}

impl Draft<'_> {
    /// Whether routes split the traffic of the present or the next rollout.
    pub fn by_routes(&self) -> bool {
        let strategy = self.observed.spec().operation.strategy();
        let stepped = match self.situation.state.course() {
            Some(RolloutCourse::Exchange) => false,
            // What has begun by pods ends so: routes that come in the middle lead to the root Service until then.
            Some(RolloutCourse::FullSize | RolloutCourse::Steps) => self.lives_apart(),
            None => matches!(
                strategy.strategy_type(),
                StrategyType::Canary | StrategyType::BlueGreen
            ),
        };
        stepped
            && traffic::routes_split(
                &super::desired::exposure(self, &TrafficTarget::Nobody),
                self.router(),
            )
    }

    /// What splits the traffic. What has begun by routes ends so: that the Service is to split it counts from the next
    /// rollout on.
    pub fn router(&self) -> Router {
        let asked = self.observed.spec().operation.strategy().router();
        let begun = match self.situation.state.course() {
            Some(RolloutCourse::FullSize | RolloutCourse::Steps) => self.lives_apart(),
            Some(RolloutCourse::Exchange) | None => false,
        };
        if begun && asked == Router::Service {
            Router::Auto
        } else {
            asked
        }
    }

    /// The Service by which routes lead to a revision: its own, unless that has no endpoint yet and the root Service
    /// leads to it already.
    pub fn route_service(&self, revision: &str) -> String {
        let routed = self.routed(revision);
        let warm = self.endpoints_of(revision) > 0;
        let root_serves = self.selects_only(revision)
            && self
                .observed
                .endpoints
                .ready
                .get(revision)
                .is_some_and(|n| *n > 0);
        if routed || warm || !root_serves {
            revision.to_owned()
        } else {
            self.observed.name().to_owned()
        }
    }

    /// The ready endpoints of a revision's own Service, once gateways have had the time to learn of it: one that was
    /// only just made has endpoints before everybody knows them.
    pub fn endpoints_of(&self, revision: &str) -> i32 {
        if self.known_from(revision).is_some_and(|known| known > self.now) {
            return 0;
        }
        self.observed
            .service_endpoints
            .get(revision)
            .copied()
            .unwrap_or(0)
    }

    /// Whether a revision has a Service of its own: as long as routes may lead to it, it stays.
    pub fn has_own_service(&self, revision: &str) -> bool {
        let live = self
            .observed
            .children
            .get(&(ChildKind::Service, revision.to_owned()));
        live.is_some_and(|live| live.ownership != Ownership::Foreign && live.deleting == Deleting::No)
    }

    /// Whether a live revision has a Service of its own: a rollout that has begun by routes.
    fn lives_apart(&self) -> bool {
        let live = self.situation.state.live();
        live.into_iter().any(|revision| self.has_own_service(revision))
    }

    /// When gateways know a Service.
    fn known_from(&self, service: &str) -> Option<Timestamp> {
        let live = self
            .observed
            .children
            .get(&(ChildKind::Service, service.to_owned()))?;
        let made = live.object.pointer("/metadata/creationTimestamp")?.as_str()?;
        let seconds = self.observed.spec().operation.strategy().settle_seconds();
        Some(later(made.parse().ok()?, seconds))
    }

    /// Whether a live route leads to a revision's own Service.
    pub fn routed(&self, revision: &str) -> bool {
        self.live_routes()
            .any(|(key, live)| traffic::leads_to(key.0, &live.object).contains_key(revision))
    }

    /// The most that a live route gives a revision, in percent.
    pub fn weight_by_routes(&self, revision: &str) -> i32 {
        self.live_routes()
            .filter_map(|(key, live)| traffic::leads_to(key.0, &live.object).get(revision).copied())
            .max()
            .unwrap_or(0)
    }

    fn live_routes(&self) -> impl Iterator<Item = (&ChildKey, &LiveChild)> {
        self.observed.children.iter().filter(|(key, _)| is_route(key.0))
    }

    /// In the words of the traffic room.
    pub fn split(&self, target: &RouteTarget) -> Split {
        let strategy = self.observed.spec().operation.strategy();
        let affinity = strategy.canary.and_then(|canary| canary.session_affinity);
        Split {
            stable: self.route_service(&target.rest),
            candidate: target.share.as_ref().map(|share| Share {
                service: share.revision.clone(),
                weight: share.goal.weight,
                matches: share.goal.matches.clone(),
                mirror_percent: share.goal.mirror_percent,
            }),
            affinity: match &target.share {
                Some(share) if share.goal.sends_requests() => affinity.unwrap_or_default(),
                Some(_) | None => StepAffinity::Disabled,
            },
        }
    }

    /// The Gateway that cannot mirror requests although a goal asks for it, in words. It may answer all of them with an
    /// error, so the route is not even written.
    pub fn cannot_mirror(&self, goal: &Goal) -> Option<String> {
        let percent = goal.mirror_percent.filter(|percent| *percent > 0)?;
        let needed = if percent < 100 {
            ["HTTPRouteRequestMirror", "HTTPRouteRequestPercentageMirror"].as_slice()
        } else {
            ["HTTPRouteRequestMirror"].as_slice()
        };
        let features = self.observed.gateway_features.iter();
        let lacking = |known: &BTreeSet<String>| needed.iter().find(|one| !known.contains(**one));
        let mut words = features.filter_map(|((namespace, name), known)| {
            let lacking = lacking(known)?;
            Some(format!(
                "Gateway {namespace}/{name} cannot mirror requests so: its GatewayClass does not list {lacking}; leave \
                 out mirrorPercent"
            ))
        });
        words.next()
    }

    /// How far the routes are as `target` wants them.
    pub fn routes(&self, target: &RouteTarget) -> RoutesStanding {
        if let Some(words) = target
            .share
            .as_ref()
            .and_then(|share| self.cannot_mirror(&share.goal))
        {
            return RoutesStanding::Unwritten(words);
        }
        let strategy = self.observed.spec().operation.strategy();
        let identity = Identity::of(&self.observed.service, self.observed.namespace());
        let exposure = super::desired::exposure(self, &TrafficTarget::Nobody);
        let owner = owner(self.observed);
        let wanted = traffic::routes(&identity, &exposure, self.router(), Some(&self.split(target)));
        let mut waiting = None;
        for child in wanted {
            let key = (child.kind, child.name.clone());
            let described = format!("{} {}", child.kind.kind(), child.name);
            if child.kind.presence() == KindPresence::Optional
                && !self.observed.served_kinds.contains(&child.kind)
            {
                return RoutesStanding::Unwritten(format!(
                    "{described}: this cluster does not serve its kind"
                ));
            }
            let (_, digest) = stamped(&child, owner.as_ref());
            let Some(live) = self.observed.children.get(&key) else {
                return RoutesStanding::Unwritten(format!("{described} to be made"));
            };
            if live.applied.as_deref() != Some(digest.as_str()) {
                return RoutesStanding::Unwritten(format!("{described} to be written"));
            }
            let since = self.observed.accepted_since.get(&key);
            let settled = since.map(|since| later(*since, strategy.settle_seconds()));
            match (traffic::acceptance(child.kind, &live.object), settled) {
                (Acceptance::Accepted, Some(at)) if at <= self.now => {}
                (Acceptance::Accepted, _) => {
                    waiting.get_or_insert(format!("{described} to settle"));
                }
                (Acceptance::Waiting(words) | Acceptance::Refused(words), _) => {
                    waiting = Some(format!("{described}: {words}"));
                }
            }
        }
        // An object that is not wanted any more may still send traffic.
        if let Some((key, _)) = self.live_routes().find(|(key, live)| {
            let services = traffic::leads_to(key.0, &live.object);
            let allowed = |service: &String| {
                service == self.observed.name()
                    || target.includes(service)
                    || !self.records.contains_key(service)
            };
            !services.keys().all(allowed)
        }) {
            return RoutesStanding::Unwritten(format!("{} {} to leave", key.0.kind(), key.1));
        }
        waiting.map_or(RoutesStanding::InForce, RoutesStanding::Waiting)
    }

    /// Whether the routes are in force as `target` wants them; also where they split nothing.
    pub fn routes_in_force(&self, target: &RouteTarget) -> bool {
        !self.by_routes() || self.routes(target) == RoutesStanding::InForce
    }

    /// The same on a way back, which no route may hold up that nobody carries: it is enough that no earlier form of any
    /// of them is carried any more.
    pub fn routes_have_left_for(&self, home: &RouteTarget) -> bool {
        if !self.by_routes() {
            return true;
        }
        match self.routes(home) {
            RoutesStanding::InForce => true,
            RoutesStanding::Waiting(_) => self.routes_rest(),
            RoutesStanding::Unwritten(_) => false,
        }
    }

    /// When what is written to the routes will have settled.
    pub fn wake_for_routes(&mut self) {
        let seconds = self.observed.spec().operation.strategy().settle_seconds();
        let due = self
            .observed
            .accepted_since
            .values()
            .map(|since| later(*since, seconds));
        self.wakes.extend(due);
        let live = self.situation.state.live();
        let known: Vec<Timestamp> = live
            .into_iter()
            .filter_map(|name| self.known_from(name))
            .collect();
        self.wakes.extend(known);
    }

    /// Since when all routes that live have been in force as they are; `None`: one of them is not.
    fn routes_since(&self) -> Option<Timestamp> {
        let seconds = self.observed.spec().operation.strategy().settle_seconds();
        self.live_routes()
            .map(|(key, _)| {
                self.observed
                    .accepted_since
                    .get(key)
                    .map(|since| later(*since, seconds))
            })
            .try_fold(Timestamp::MIN, |latest, since| Some(latest.max(since?)))
    }

    /// Whether requests that were on their way by an earlier form of the routes are answered by now.
    pub fn routes_rest(&self) -> bool {
        self.rest_at().is_some_and(|at| at <= self.now)
    }

    /// When they will be; `None`: that cannot be said yet.
    pub fn rest_at(&self) -> Option<Timestamp> {
        Some(later(self.routes_since()?, self.drain_seconds()))
    }

    /// Whether callers get to a revision now, by a route or by the root Service.
    pub fn carries(&self, revision: &str) -> bool {
        self.routed(revision) || self.reaches(revision)
    }
}

/// Whether objects of this kind are routes.
pub fn is_route(kind: ChildKind) -> bool {
    match kind {
        ChildKind::Ingress | ChildKind::HttpRoute | ChildKind::GrpcRoute | ChildKind::VirtualService => true,
        ChildKind::ControllerRevision
        | ChildKind::ConfigMap
        | ChildKind::Secret
        | ChildKind::ServiceAccount
        | ChildKind::NetworkPolicy
        | ChildKind::Deployment
        | ChildKind::Service
        | ChildKind::Job
        | ChildKind::PodDisruptionBudget
        | ChildKind::HorizontalPodAutoscaler
        | ChildKind::ServiceMonitor
        | ChildKind::PodMonitor => false,
    }
}
