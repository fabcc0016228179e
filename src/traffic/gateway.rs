//! HTTPRoute and GRPCRoute of the Gateway API.
//!
//! Of two rules that take a request, the one with the longer path wins, then the one with more headers, then the one
//! with more parameters of the query. So a rule for an entry of a match asks for what its plain rule asks for and more.
//!
//! A cookie is found by a header match of type RegularExpression, which the API leaves to implementations: Envoy's and
//! Traefik's gateways have it, others refuse the route and say so in its status. `percent` of a mirror is in the
//! standard channel since v1.3; an older CRD refuses the apply, unless all requests are mirrored, which needs no such
//! word. `sessionPersistence` is in no standard channel yet.

use serde_json::{Map, Value as Json, json};

use super::condition::{Condition, Value};
use super::{Target, object_name};
use crate::api::{ParentRef, PathType};
use crate::render::{Child, ChildKind, ExposedRoute, ExposedRule, Identity, Metadata, fields, to_json};

/// How one kind of route asks for things.
pub(super) struct Dialect {
    /// The match of a rule for a condition; `None` where the kind has no words for it.
    words: fn(&ExposedRule, &Condition) -> Option<Json>,
}

/// HTTPRoute.
pub(super) const HTTP: Dialect = Dialect { words: http_match };
/// GRPCRoute.
pub(super) const GRPC: Dialect = Dialect { words: grpc_match };

/// The HTTPRoute of a route.
pub(super) fn http_route(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    parents: &[ParentRef],
    target: &Target<'_>,
) -> Child {
    object(identity, route, parents, target, ChildKind::HttpRoute, &HTTP)
}

/// The GRPCRoute of a route.
pub(super) fn grpc_route(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    parents: &[ParentRef],
    target: &Target<'_>,
) -> Child {
    object(identity, route, parents, target, ChildKind::GrpcRoute, &GRPC)
}

fn object(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    parents: &[ParentRef],
    target: &Target<'_>,
    kind: ChildKind,
    dialect: &Dialect,
) -> Child {
    let spec = json!({
        "parentRefs": parents.iter().map(parent).collect::<Vec<_>>(),
        "hostnames": route.hosts,
        "rules": rules(route, target, dialect),
    });
    let metadata = Metadata::named(object_name(identity, route));
    identity.child(kind, metadata, fields(json!({"spec": spec})))
}

fn parent(parent: &ParentRef) -> Json {
    let kind = parent.kind.as_deref().unwrap_or("Gateway");
    let group = match (&parent.group, kind) {
        (Some(group), _) => group,
        (None, "Service") => "",
        (None, _) => "gateway.networking.k8s.io",
    };
    json!({
        "group": group,
        "kind": kind,
        "name": parent.name,
        "namespace": parent.namespace,
        "sectionName": parent.section_name,
        "port": parent.port,
    })
}

/// The rules of a route: before each one that leads here those for the share's match.
pub(super) fn rules(route: &ExposedRoute, target: &Target<'_>, dialect: &Dialect) -> Vec<Json> {
    let of = |rule: &ExposedRule| -> Vec<Json> {
        let mut all = matched_rules(rule, route, target, dialect);
        let mut filters: Vec<Json> = rule.filters.iter().map(to_json).collect();
        filters.extend(
            target
                .mirror(rule)
                .map(|(service, percent)| mirror(rule, service, percent)),
        );
        let backends = target.backends(rule);
        // A weight is a share of the sum. That of one alone is the API's default.
        let alone = backends.len() == 1;
        let backends = backends
            .into_iter()
            .map(|(service, weight)| backend(rule, service, if alone { 1 } else { weight }));
        all.push(json!({
            "matches": [(dialect.words)(rule, &Condition::of_rule(rule))],
            "filters": filters,
            "backendRefs": backends.collect::<Vec<_>>(),
        }));
        all
    };
    route.rules.iter().flat_map(of).collect()
}

/// What goes by a match. An entry that the kind has no words for is left out whole: what is left of it would take more
/// requests than were asked for.
fn matched_rules(
    rule: &ExposedRule,
    route: &ExposedRoute,
    target: &Target<'_>,
    dialect: &Dialect,
) -> Vec<Json> {
    let Some(service) = target.matched(rule, route) else {
        return Vec::new();
    };
    let matches: Vec<Json> = target
        .matches()
        .iter()
        .filter_map(|entry| (dialect.words)(rule, &Condition::of(rule, entry).ok()?))
        .collect();
    let with = |matches: &[Json]| {
        json!({
            "matches": matches,
            "filters": to_json(&rule.filters),
            "backendRefs": [backend(rule, service, 1)],
        })
    };
    // A filter that replaces a prefix demands that there is one match. Else one rule has them all: a route may have 16.
    let group = if replaces_prefix(rule) {
        1
    } else {
        matches.len().max(1)
    };
    matches.chunks(group).map(with).collect()
}

fn replaces_prefix(rule: &ExposedRule) -> bool {
    rule.filters.iter().map(to_json).any(|filter| {
        ["urlRewrite", "requestRedirect"]
            .into_iter()
            .any(|way| filter[way]["path"]["type"] == "ReplacePrefixMatch")
    })
}

fn backend(rule: &ExposedRule, service: &str, weight: i32) -> Json {
    json!({"group": "", "kind": "Service", "name": service, "port": rule.port, "weight": weight})
}

/// All of the requests is what a mirror without `percent` means. It is left out there: gateways and CRDs that know plain
/// mirroring only have no such field.
fn mirror(rule: &ExposedRule, service: &str, percent: i32) -> Json {
    json!({
        "type": "RequestMirror",
        "requestMirror": {
            "backendRef": {"group": "", "kind": "Service", "name": service, "port": rule.port},
            "percent": Some(percent).filter(|percent| *percent < 100),
        },
    })
}

fn headers(condition: &Condition) -> Vec<Json> {
    let header = |(name, value): &(String, Value)| {
        let (type_, value) = match value {
            Value::Exact(value) => ("Exact", value),
            Value::Pattern(value) => ("RegularExpression", value),
        };
        json!({"type": type_, "name": name, "value": value})
    };
    condition.headers.iter().map(header).collect()
}

#[allow(clippy::unnecessary_wraps)] // HTTPRoute has words for everything, and GRPCRoute has not.
fn http_match(rule: &ExposedRule, condition: &Condition) -> Option<Json> {
    let path_type = match rule.path_type {
        PathType::Exact => "Exact",
        // ImplementationSpecific is refused for a Gateway route.
        PathType::Prefix | PathType::ImplementationSpecific => "PathPrefix",
    };
    let params = condition.query_params.iter();
    let params: Vec<Json> = params
        .map(|p| json!({"type": "Exact", "name": p.name, "value": p.value}))
        .collect();
    Some(json!({
        "path": {"type": path_type, "value": rule.path},
        "headers": headers(condition),
        "queryParams": params,
    }))
}

/// A path of gRPC is `/<service>/<method>`; the root is every method there is. Calls have no query and no cookies.
fn grpc_match(rule: &ExposedRule, condition: &Condition) -> Option<Json> {
    let by_pattern = |(_, value): &(String, Value)| matches!(value, Value::Pattern(_));
    if !condition.query_params.is_empty() || condition.headers.iter().any(by_pattern) {
        return None;
    }
    let mut method = Map::new();
    let mut parts = rule.path.split('/').filter(|part| !part.is_empty());
    for field in ["service", "method"] {
        if let Some(part) = parts.next() {
            method.insert("type".to_owned(), json!("Exact"));
            method.insert(field.to_owned(), json!(part));
        }
    }
    Some(json!({"method": (!method.is_empty()).then_some(method), "headers": headers(condition)}))
}
