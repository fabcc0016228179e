//! Routers: from the share of a revision to the objects that give it to it, and what live ones say of themselves.
//!
//! Each revision is reached by a Service of its own, and a route leads to these. Not to subsets of the root Service, as
//! Istio's DestinationRules would have it: the root Service selects the stable revision alone while a rollout goes
//! on, so a subset of it with the candidate's labels would have no endpoints.
//!
//! What the schemas of the routes' APIs default is written out: so what is sent is what is stored.

mod acceptance;
mod condition;
mod gateway;
mod ingress;
mod istio;
mod live;
mod refusals;

pub use acceptance::{Acceptance, acceptance, form};
pub use live::{Claim, claims, leads_to};
pub use refusals::refusals;

use crate::api::{GatewayKind, RequestMatch, Router, StepAffinity, names};
use crate::render::{Backend, Child, ExposedRoute, ExposedRule, Exposure, Identity, Way};

/// How the traffic of the routes is split between two revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Split {
    /// The Service that takes the rest of the traffic.
    pub stable: String,
    /// The share of the other revision.
    pub candidate: Option<Share>,
    /// Whether a client stays at the revision that it was sent to first. Of the routers ingress-nginx alone can; of the
    /// others `refusals` says so, and their objects are the same without it.
    pub affinity: StepAffinity,
}

/// What a revision gets of the traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Its Service.
    pub service: String,
    /// Percent of the requests, 0 to 100.
    pub weight: i32,
    /// Requests that go to it whatever its weight: those that meet any of these.
    pub matches: Vec<RequestMatch>,
    /// Percent of the requests that are also sent to it, whose answer is thrown away.
    pub mirror_percent: Option<i32>,
}

impl Share {
    /// The percentage that is mirrored, where any is.
    fn mirrored(&self) -> Option<i32> {
        self.mirror_percent
            .map(|percent| percent.clamp(0, 100))
            .filter(|percent| *percent > 0)
    }

    /// Whether it gets any request at all. A Service without a share is in no route: it may not even exist.
    fn is_something(&self) -> bool {
        self.weight > 0 || !self.matches.is_empty() || self.mirrored().is_some()
    }
}

/// The objects of all routes.
///
/// Rules that lead to this service lead to the split, those of other Services stay. A route that cannot split leads to
/// the root Service, which selects the stable revision; so does every route without a split.
pub fn routes(
    identity: &Identity<'_>,
    exposure: &Exposure,
    router: Router,
    split: Option<&Split>,
) -> Vec<Child> {
    exposure
        .routes
        .iter()
        .flat_map(|route| objects(identity, route, router, split))
        .collect()
}

fn objects(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    router: Router,
    split: Option<&Split>,
) -> Vec<Child> {
    let target = match split {
        Some(split) if splits(route, router) => Target::of(split),
        Some(_) | None => Target::root(identity),
    };
    match &route.way {
        Way::Ingress {
            class_name,
            annotations,
            tls,
            object: _,
        } => {
            let ingress = ingress::Ingress {
                route,
                class: class_name.as_deref(),
                annotations,
                tls,
            };
            ingress.objects(identity, &target)
        }
        Way::Gateway {
            kind: GatewayKind::HttpRoute,
            parent_refs,
        } => vec![gateway::http_route(identity, route, parent_refs, &target)],
        Way::Gateway {
            kind: GatewayKind::GrpcRoute,
            parent_refs,
        } => vec![gateway::grpc_route(identity, route, parent_refs, &target)],
        Way::Istio { gateways, mode } => {
            vec![istio::virtual_service(identity, route, gateways, *mode, &target)]
        }
    }
}

/// Whether a route can split traffic under the strategy's router.
pub fn splits(route: &ExposedRoute, router: Router) -> bool {
    let able = match &route.way {
        Way::Ingress {
            class_name,
            annotations,
            ..
        } => {
            let chosen = match router {
                Router::Auto => ingress::is_of_ingress_nginx(class_name.as_deref(), annotations),
                Router::IngressNginx => true,
                Router::Service | Router::Gateway | Router::Istio => false,
            };
            chosen && !ingress::is_canary(annotations)
        }
        Way::Gateway { .. } => matches!(router, Router::Auto | Router::Gateway),
        Way::Istio { .. } => matches!(router, Router::Auto | Router::Istio),
    };
    able && leads_here(route)
}

/// Whether any of the routes can: else the Service splits, by numbers of pods.
pub fn routes_split(exposure: &Exposure, router: Router) -> bool {
    exposure.routes.iter().any(|route| splits(route, router))
}

/// Whether a route leads to this service at all.
fn leads_here(route: &ExposedRoute) -> bool {
    route.rules.iter().any(|rule| rule.backend == Backend::Own)
}

/// Where the rules of one route that lead to this service really lead.
struct Target<'a> {
    /// Who takes the rest.
    rest: &'a str,
    /// Who gets a share.
    share: Option<&'a Share>,
    /// Who had one, or may get one, and has nothing now.
    idle: Option<&'a Share>,
    /// Whether clients stay where they were sent first.
    affinity: StepAffinity,
}

impl<'a> Target<'a> {
    fn root(identity: &Identity<'a>) -> Self {
        Self {
            rest: identity.name,
            share: None,
            idle: None,
            affinity: StepAffinity::Disabled,
        }
    }

    fn of(split: &'a Split) -> Self {
        Self {
            rest: &split.stable,
            share: split.candidate.as_ref().filter(|share| share.is_something()),
            idle: split.candidate.as_ref().filter(|share| !share.is_something()),
            affinity: split.affinity,
        }
    }

    /// The Services of a rule and their weights, which add up to 100. Who gets nothing is not listed.
    fn backends(&self, rule: &'a ExposedRule) -> Vec<(&'a str, i32)> {
        if let Backend::Other(service) = &rule.backend {
            return vec![(service, 100)];
        }
        let weight = self.share.map_or(0, |share| share.weight.clamp(0, 100));
        let candidate = self.share.map(|share| (share.service.as_str(), weight));
        [Some((self.rest, 100 - weight)), candidate]
            .into_iter()
            .flatten()
            .filter(|(_, weight)| *weight > 0)
            .collect()
    }

    /// Where the requests of a rule go that an entry of the share's match takes as well.
    ///
    /// A rule of another Service that asks for headers needs saying this too, where a rule of ours has the same path: a
    /// request that the entry takes may meet more headers of ours than of the other's, and what meets more goes first.
    fn matched(&self, rule: &'a ExposedRule, route: &'a ExposedRoute) -> Option<&'a str> {
        let share = self.share?;
        match &rule.backend {
            Backend::Own => Some(&share.service),
            Backend::Other(service) => {
                let rivals = |own: &ExposedRule| {
                    own.backend == Backend::Own && (&own.path, own.path_type) == (&rule.path, rule.path_type)
                };
                (!rule.headers.is_empty() && route.rules.iter().any(rivals)).then_some(service.as_str())
            }
        }
    }

    /// Who gets copies of the requests of a rule, and of how many percent.
    fn mirror(&self, rule: &ExposedRule) -> Option<(&'a str, i32)> {
        let share = self.share.filter(|_| rule.backend == Backend::Own)?;
        Some((share.service.as_str(), share.mirrored()?))
    }

    /// The entries of the share's match.
    fn matches(&self) -> &'a [RequestMatch] {
        self.share.map_or(&[], |share| share.matches.as_slice())
    }
}

/// The name of a route's object.
fn object_name(identity: &Identity<'_>, route: &ExposedRoute) -> String {
    match &route.way {
        Way::Ingress {
            object: Some(name), ..
        } => name.clone(),
        Way::Ingress { object: None, .. } | Way::Gateway { .. } | Way::Istio { .. } => {
            names::route(identity.name, &route.name)
        }
    }
}
