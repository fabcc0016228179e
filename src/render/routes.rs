//! Ways in from outside: Ingress, HTTPRoute and GRPCRoute, and the addresses that they give the service.
//!
//! What the Gateway API's schema defaults is written out: so what is sent is what is stored.

use serde_json::{Map, Value, json};

use super::{
    Backend, Child, ChildKind, ExposedRoute, ExposedRule, Exposure, Identity, Way,
    identity::Metadata,
    prune::{fields, to_json},
};
use crate::api::{GatewayKind, IngressTls, ParentRef, PathType, names};

/// The objects of all routes.
pub fn routes(identity: &Identity<'_>, exposure: &Exposure) -> Vec<Child> {
    exposure
        .routes
        .iter()
        .map(|route| object(identity, route))
        .collect()
}

fn object(identity: &Identity<'_>, route: &ExposedRoute) -> Child {
    let mut metadata = Metadata::named(names::route(identity.name, &route.name));
    let (kind, spec) = match &route.way {
        Way::Ingress {
            class_name,
            annotations,
            tls,
        } => {
            metadata.annotations.clone_from(annotations);
            (
                ChildKind::Ingress,
                ingress(identity, route, class_name.as_deref(), tls),
            )
        }
        Way::Gateway {
            kind: GatewayKind::HttpRoute,
            parent_refs,
        } => (
            ChildKind::HttpRoute,
            gateway_route(identity, route, parent_refs, http_match),
        ),
        Way::Gateway {
            kind: GatewayKind::GrpcRoute,
            parent_refs,
        } => (
            ChildKind::GrpcRoute,
            gateway_route(identity, route, parent_refs, grpc_match),
        ),
    };
    identity.child(kind, metadata, fields(json!({"spec": spec})))
}

fn backend<'a>(identity: &Identity<'a>, rule: &'a ExposedRule) -> &'a str {
    match &rule.backend {
        Backend::Own => identity.name,
        Backend::Other(service) => service,
    }
}

fn ingress(identity: &Identity<'_>, route: &ExposedRoute, class: Option<&str>, tls: &[IngressTls]) -> Value {
    let path = |rule: &ExposedRule| {
        json!({
            "path": rule.path,
            "pathType": to_json(&rule.path_type),
            "backend": {"service": {"name": backend(identity, rule), "port": {"number": rule.port}}},
        })
    };
    let paths = json!({"paths": route.rules.iter().map(path).collect::<Vec<_>>()});
    let rules = match route.hosts.as_slice() {
        [] => vec![json!({"http": paths})],
        hosts => hosts
            .iter()
            .map(|host| json!({"host": host, "http": paths}))
            .collect(),
    };
    json!({"ingressClassName": class, "rules": rules, "tls": to_json(&tls)})
}

fn gateway_route(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    parents: &[ParentRef],
    matches: fn(&ExposedRule) -> Value,
) -> Value {
    let rule = |rule: &ExposedRule| {
        json!({
            "matches": [matches(rule)],
            "filters": to_json(&rule.filters),
            "backendRefs": [
                {"group": "", "kind": "Service", "name": backend(identity, rule), "port": rule.port,
                 "weight": 1}
            ],
        })
    };
    json!({
        "parentRefs": parents.iter().map(parent).collect::<Vec<_>>(),
        "hostnames": route.hosts,
        "rules": route.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

fn parent(parent: &ParentRef) -> Value {
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

fn headers(rule: &ExposedRule) -> Vec<Value> {
    rule.headers
        .iter()
        .map(|h| json!({"type": "Exact", "name": h.name, "value": h.value}))
        .collect()
}

fn http_match(rule: &ExposedRule) -> Value {
    let path_type = match rule.path_type {
        PathType::Exact => "Exact",
        // ImplementationSpecific is refused for a Gateway route.
        PathType::Prefix | PathType::ImplementationSpecific => "PathPrefix",
    };
    json!({"path": {"type": path_type, "value": rule.path}, "headers": headers(rule)})
}

/// A path of gRPC is `/<service>/<method>`; the root is every method there is.
fn grpc_match(rule: &ExposedRule) -> Value {
    let mut method = Map::new();
    let mut parts = rule.path.split('/').filter(|part| !part.is_empty());
    for field in ["service", "method"] {
        if let Some(part) = parts.next() {
            method.insert("type".to_owned(), json!("Exact"));
            method.insert(field.to_owned(), json!(part));
        }
    }
    json!({"method": (!method.is_empty()).then_some(method), "headers": headers(rule)})
}

/// The addresses that routes give the service: of each host the first path that leads here.
///
/// Hosts with a wildcard have no address to name. A Gateway's certificates are the Gateway's: a route is
/// taken for HTTPS where it names port 443 or a listener that is called after TLS.
pub fn urls(exposure: &Exposure) -> Vec<String> {
    let mut all = Vec::new();
    for route in &exposure.routes {
        let Some(rule) = route.rules.iter().find(|rule| rule.backend == Backend::Own) else {
            continue;
        };
        for host in route.hosts.iter().filter(|host| !host.starts_with('*')) {
            let path = if rule.path == "/" { "" } else { rule.path.as_str() };
            let url = format!("{}://{host}{path}", scheme(&route.way, host));
            if !all.contains(&url) {
                all.push(url);
            }
        }
    }
    all
}

fn scheme(way: &Way, host: &str) -> &'static str {
    let secure = match way {
        Way::Ingress { tls, .. } => tls
            .iter()
            .any(|tls| tls.hosts.is_empty() || tls.hosts.iter().any(|h| covers(h, host))),
        Way::Gateway { parent_refs, .. } => parent_refs.iter().any(|parent| {
            let section = parent.section_name.as_deref().unwrap_or_default();
            parent.port == Some(443) || section.contains("https") || section.contains("tls")
        }),
    };
    if secure { "https" } else { "http" }
}

/// Whether a certificate for `pattern` is good for `host`; a wildcard stands for one label.
fn covers(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((_, parent))) => domain == parent,
        (Some(_), None) => false,
        (None, _) => pattern == host,
    }
}
