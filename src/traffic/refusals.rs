//! What the routes of a service cannot do of what the steps ask for, in words.
//!
//! The CRD refuses what a spec alone shows wherever a router is named; here is what depends on each route.

use super::condition::{Clash, Condition};
use super::{Share, Target, gateway, ingress, leads_here, routes_split, splits};
use crate::api::{CanaryStep, GatewayKind, RequestMatch, StableScale, StepAffinity, Strategy, StrategyType};
use crate::render::{Backend, ExposedRoute, Exposure, Way};

/// How many rules a route of the Gateway API may have.
const MAX_RULES: usize = 16;
/// How many matches all rules of one may have.
const MAX_MATCHES: usize = 127;
/// How many filters a rule of one may have.
const MAX_FILTERS: usize = 16;

/// What the routes of this service cannot do of what the steps ask for. Each names the route, the router and the field.
pub fn refusals(exposure: &Exposure, strategy: &Strategy) -> Vec<String> {
    let (StrategyType::Canary, Some(canary)) = (strategy.strategy_type(), &strategy.canary) else {
        return Vec::new();
    };
    let router = strategy.router();
    let affinity = canary.session_affinity.unwrap_or_default();
    let mut found = Found::default();
    if !routes_split(exposure, router) {
        by_the_service(&mut found, &canary.steps, affinity);
        return found.words;
    }
    for route in exposure.routes.iter().filter(|route| leads_here(route)) {
        if splits(route, router) {
            of_route(&mut found, route, &canary.steps);
            if affinity == StepAffinity::Cookie {
                of_sessions(&mut found, route, strategy, &canary.steps);
            }
        } else if canary.steps.iter().any(moves_requests) {
            found.add(&format!(
                "route {}: router {router:?}: strategy.canary.steps: {} cannot split traffic here, so it stays with the \
                 old revision until the new one is promoted",
                route.name,
                named(route),
            ));
        }
    }
    found.words
}

/// Words, each once.
#[derive(Default)]
struct Found {
    words: Vec<String>,
}

impl Found {
    fn add(&mut self, words: &str) {
        if !self.words.iter().any(|known| known == words) {
            self.words.push(words.to_owned());
        }
    }
}

fn moves_requests(step: &CanaryStep) -> bool {
    step.weight.is_some_and(|weight| weight > 0) || step.mirror_percent.is_some() || !step.matches.is_empty()
}

/// What makes a route, as people call it.
fn named(route: &ExposedRoute) -> String {
    match &route.way {
        Way::Ingress { annotations, .. } if ingress::is_canary(annotations) => {
            "an Ingress that is a canary itself".to_owned()
        }
        Way::Ingress {
            class_name: Some(class),
            ..
        } => format!("an Ingress of class {class}"),
        Way::Ingress { class_name: None, .. } => "an Ingress of no named class".to_owned(),
        Way::Gateway {
            kind: GatewayKind::HttpRoute,
            ..
        } => "an HTTPRoute".to_owned(),
        Way::Gateway {
            kind: GatewayKind::GrpcRoute,
            ..
        } => "a GRPCRoute".to_owned(),
        Way::Istio { .. } => "a VirtualService".to_owned(),
    }
}

fn by_the_service(found: &mut Found, steps: &[CanaryStep], affinity: StepAffinity) {
    let why = "the Service splits connections by numbers of pods alone; add a gateway or istio route";
    for (index, step) in steps.iter().enumerate() {
        for (field, asked) in [
            ("match", !step.matches.is_empty()),
            ("mirrorPercent", step.mirror_percent.is_some()),
        ] {
            if asked {
                found.add(&format!(
                    "no route, router Service: strategy.canary.steps[{index}].{field}: {why}"
                ));
            }
        }
    }
    if affinity == StepAffinity::Cookie {
        found.add(
            "no route, router Service: strategy.canary.sessionAffinity: the Service splits connections by numbers of pods \
             alone; add an ingress of ingress-nginx",
        );
    }
}

/// The router of a route.
fn router_of(route: &ExposedRoute) -> &'static str {
    match &route.way {
        Way::Ingress { .. } => "IngressNginx",
        Way::Gateway { .. } => "Gateway",
        Way::Istio { .. } => "Istio",
    }
}

/// What stands in the way of keeping clients at a revision.
fn of_sessions(found: &mut Found, route: &ExposedRoute, strategy: &Strategy, steps: &[CanaryStep]) {
    let router = router_of(route);
    let mut say = |field: &str, why: &str| {
        found.add(&format!(
            "route {}: router {router}: strategy.{field}: {why}",
            route.name
        ));
    };
    match &route.way {
        Way::Ingress { .. } => {}
        Way::Gateway { .. } => {
            return say(
                "canary.sessionAffinity",
                "the standard channel of the Gateway API has no session persistence, and where it is tried out it \
                 keeps clients at pods, not at a share of weights",
            );
        }
        Way::Istio { .. } => {
            return say(
                "canary.sessionAffinity",
                "a VirtualService cannot keep clients at a share of weights: consistent hashing chooses among the \
                 pods of one destination, after the weights",
            );
        }
    }
    if !ingress::is_one_backend(route) {
        say(
            "canary.sessionAffinity",
            "its rules lead to more than one Service or port, whose sessions ingress-nginx would take for each \
             other's; give each a route of its own",
        );
    }
    if strategy.stable_scale() == StableScale::Follow {
        say(
            "stableScale",
            "clients that are kept do not follow the weights, so pods of the old revision must not: use Full with \
             canary.sessionAffinity",
        );
    }
    let mut weight = 0;
    for (index, step) in steps.iter().enumerate() {
        weight = step.weight.unwrap_or(weight);
        if !step.matches.is_empty() && weight > 0 && weight < 100 {
            say(
                &format!("canary.steps[{index}].match"),
                "a client that is kept at the old revision stays there whatever it asks for; put match into a step \
                 before the first weight",
            );
        }
    }
}

fn of_route(found: &mut Found, route: &ExposedRoute, steps: &[CanaryStep]) {
    let router = router_of(route);
    let mut say = |field: &str, why: &str| {
        found.add(&format!(
            "route {}: router {router}: strategy.canary.{field}: {why}",
            route.name
        ));
    };
    for (index, step) in steps.iter().enumerate() {
        let mut say = |field: &str, why: &str| say(&format!("steps[{index}].{field}"), why);
        match &route.way {
            Way::Ingress { .. } => of_nginx(step, &mut say),
            Way::Gateway { kind, .. } => of_gateway(route, *kind, step, &mut say),
            // Beyond these a VirtualService has words for all of it.
            Way::Istio { .. } => clashes(route, &step.matches, &mut say),
        }
    }
}

fn of_nginx(step: &CanaryStep, say: &mut impl FnMut(&str, &str)) {
    if step.mirror_percent.is_some_and(|percent| percent > 0) {
        say(
            "mirrorPercent",
            "a canary of ingress-nginx cannot mirror; use a gateway or istio route",
        );
    }
    match step.matches.as_slice() {
        [] => {}
        [entry] => {
            if ingress::Matched::of(std::slice::from_ref(entry)).is_none() {
                say("match", nginx_words(entry));
            }
        }
        _ => say("match", "ingress-nginx takes one entry; write one"),
    }
}

fn nginx_words(entry: &RequestMatch) -> &'static str {
    match (entry.headers.len(), entry.cookies.as_slice()) {
        _ if !entry.query_params.is_empty() => "ingress-nginx cannot match queryParams; use a header",
        (0, [cookie]) if cookie.value != ingress::ALWAYS => {
            "ingress-nginx knows cookies with the value always only"
        }
        (1, []) | (0, [_]) => "ingress-nginx admits letters, digits and . - _ ~ : / only in names and values",
        _ => "ingress-nginx matches one header or one cookie; write one",
    }
}

fn of_gateway(route: &ExposedRoute, kind: GatewayKind, step: &CanaryStep, say: &mut impl FnMut(&str, &str)) {
    if kind == GatewayKind::GrpcRoute {
        for entry in &step.matches {
            if !entry.query_params.is_empty() {
                say("match.queryParams", "a GRPCRoute cannot match them; use a header");
            }
            if !entry.cookies.is_empty() {
                say("match.cookies", "a GRPCRoute cannot match them; use a header");
            }
        }
    }
    clashes(route, &step.matches, say);
    let share = Share {
        service: String::new(),
        weight: step.weight.unwrap_or(0),
        matches: step.matches.clone(),
        mirror_percent: step.mirror_percent,
    };
    let target = Target {
        rest: "",
        share: Some(&share).filter(|share| share.is_something()),
        idle: None,
        affinity: StepAffinity::Disabled,
    };
    let dialect = match kind {
        GatewayKind::HttpRoute => &gateway::HTTP,
        GatewayKind::GrpcRoute => &gateway::GRPC,
    };
    let rules = gateway::rules(route, &target, dialect);
    let size = |field: &str| -> Vec<usize> {
        rules
            .iter()
            .map(|rule| rule[field].as_array().map_or(0, Vec::len))
            .collect()
    };
    let matches: usize = size("matches").into_iter().sum();
    if rules.len() > MAX_RULES || matches > MAX_MATCHES {
        say(
            "match",
            &format!(
                "with it the route would have {} rules and {} matches, and {MAX_RULES} and {MAX_MATCHES} are allowed; \
                 write fewer entries, or split the route",
                rules.len(),
                matches,
            ),
        );
    }
    if size("filters").into_iter().any(|filters| filters > MAX_FILTERS) {
        say(
            "mirrorPercent",
            &format!(
                "a rule may have {MAX_FILTERS} filters, and mirroring is one more than the route has room for"
            ),
        );
    }
}

/// Entries that no request could meet, and such as no expression can find.
fn clashes(route: &ExposedRoute, matches: &[RequestMatch], say: &mut impl FnMut(&str, &str)) {
    for rule in route.rules.iter().filter(|rule| rule.backend == Backend::Own) {
        for entry in matches {
            match Condition::of(rule, entry).err() {
                None => {}
                Some(Clash::Header(name)) => say(
                    "match.headers",
                    &format!(
                        "header {name} is asked for with two values at path {}; no request has both",
                        rule.path
                    ),
                ),
                Some(Clash::Cookie(name)) => say(
                    "match.cookies",
                    &format!("the value of cookie {name} has a semicolon, which no cookie's value can have"),
                ),
                Some(Clash::SeveralCookies) => {
                    say(
                        "match.cookies",
                        "one entry can ask for one cookie; use headers for more",
                    );
                }
            }
        }
    }
}
