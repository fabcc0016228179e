//! VirtualService of Istio.
//!
//! Destinations are named by the short names of Services: Istio completes them with the namespace of the object, which is
//! theirs as well, and with the domain of the cluster, which only Istio knows. It advises against short names because
//! people move objects between namespaces; an operator does not.
//!
//! The first rule that takes a request wins, so rules are ordered as the Gateway API has it, and a spec means the same
//! on both ways: exact paths first, then longer ones, then those with more headers.
//!
//! A prefix of Istio ends anywhere in a path, one of ours between two elements: /shop stands for /shop itself and what
//! begins with /shop/.

use std::cmp::Reverse;

use serde_json::{Map, Value as Json, json};

use super::condition::{Condition, Value};
use super::{Target, object_name};
use crate::api::{IstioMode, PathType};
use crate::render::{Backend, Child, ChildKind, ExposedRoute, ExposedRule, Identity, MESH, Metadata, fields};

/// The VirtualService of a route.
pub(super) fn virtual_service(
    identity: &Identity<'_>,
    route: &ExposedRoute,
    gateways: &[String],
    mode: IstioMode,
    target: &Target<'_>,
) -> Child {
    let spec = json!({
        "hosts": hosts(identity, route, gateways, mode),
        "gateways": gateways,
        "http": http(route, mode, target),
    });
    let metadata = Metadata::named(object_name(identity, route));
    identity.child(ChildKind::VirtualService, metadata, fields(json!({"spec": spec})))
}

/// Sidecars are asked for Services, not for every host there is: without hosts they route calls of this service.
fn hosts(identity: &Identity<'_>, route: &ExposedRoute, gateways: &[String], mode: IstioMode) -> Vec<String> {
    match (mode, route.hosts.as_slice()) {
        (IstioMode::Delegate, _) => Vec::new(),
        (IstioMode::Own, []) if gateways.iter().any(|gateway| gateway == MESH) => {
            vec![identity.name.to_owned()]
        }
        (IstioMode::Own, []) => vec!["*".to_owned()],
        (IstioMode::Own, hosts) => hosts.to_vec(),
    }
}

fn http(route: &ExposedRoute, mode: IstioMode, target: &Target<'_>) -> Vec<Json> {
    let mut rules: Vec<&ExposedRule> = route.rules.iter().collect();
    rules.sort_by_key(|rule| {
        let exact = rule.path_type == PathType::Exact;
        Reverse((exact, rule.path.len(), rule.headers.len()))
    });
    rules
        .into_iter()
        .flat_map(|rule| http_of(rule, route, mode, target))
        .collect()
}

fn http_of(rule: &ExposedRule, route: &ExposedRoute, mode: IstioMode, target: &Target<'_>) -> Vec<Json> {
    // Entries that no request could meet are left out. What is ordered needs no rules for other Services.
    let own = target
        .matched(rule, route)
        .filter(|_| rule.backend == Backend::Own);
    let entries: Vec<Json> = target
        .matches()
        .iter()
        .filter_map(|entry| Condition::of(rule, entry).ok())
        .flat_map(|condition| matches(rule, &condition))
        .collect();
    let matched = own
        .filter(|_| !entries.is_empty())
        .map(|service| json!({"match": entries, "route": [destination(rule, service, 100)]}));

    let mut plain = json!({
        "match": matches(rule, &Condition::of_rule(rule)),
        "route": target
            .backends(rule)
            .into_iter()
            .map(|(service, weight)| destination(rule, service, weight))
            .collect::<Vec<_>>(),
    });
    if let Some((service, percent)) = target.mirror(rule) {
        plain["mirror"] = place(rule, service);
        plain["mirrorPercentage"] = json!({"value": percent});
    }
    let all = matched.into_iter().chain([plain]);
    match mode {
        IstioMode::Own => all.collect(),
        // Istio drops a whole rule of a delegate when one of its matches lies outside of what was delegated.
        IstioMode::Delegate => all.flat_map(|rule| one_by_one(&rule)).collect(),
    }
}

/// A rule for each match of a rule.
fn one_by_one(rule: &Json) -> Vec<Json> {
    let matches = rule["match"].as_array().cloned().unwrap_or_default();
    if matches.is_empty() {
        return vec![rule.clone()];
    }
    matches
        .into_iter()
        .map(|one| {
            let mut rule = rule.clone();
            rule["match"] = json!([one]);
            rule
        })
        .collect()
}

/// The matches of a rule under a condition; none where it takes everything. So a rule for everything fits any prefix
/// that another VirtualService delegates.
fn matches(rule: &ExposedRule, condition: &Condition) -> Vec<Json> {
    let path = rule.path.trim_end_matches('/');
    let uris = match rule.path_type {
        PathType::Exact => vec![json!({"exact": rule.path})],
        // ImplementationSpecific is for an Ingress only.
        PathType::Prefix | PathType::ImplementationSpecific if path.is_empty() => vec![Json::Null],
        PathType::Prefix | PathType::ImplementationSpecific => {
            vec![json!({"exact": path}), json!({"prefix": format!("{path}/")})]
        }
    };
    let headers: Map<String, Json> = condition.headers.iter().map(header).collect();
    let params: Map<String, Json> = condition
        .query_params
        .iter()
        .map(|param| (param.name.clone(), json!({"exact": param.value})))
        .collect();
    uris.into_iter()
        .map(|uri| {
            let mut fields = Map::new();
            if !uri.is_null() {
                fields.insert("uri".to_owned(), uri);
            }
            for (key, value) in [("headers", &headers), ("queryParams", &params)] {
                if !value.is_empty() {
                    fields.insert(key.to_owned(), Json::Object(value.clone()));
                }
            }
            fields
        })
        .filter(|fields| !fields.is_empty())
        .map(Json::Object)
        .collect()
}

/// Istio wants names of headers in lower case.
fn header((name, value): &(String, Value)) -> (String, Json) {
    let value = match value {
        Value::Exact(value) => json!({"exact": value}),
        Value::Pattern(value) => json!({"regex": value}),
    };
    (name.to_ascii_lowercase(), value)
}

fn destination(rule: &ExposedRule, service: &str, weight: i32) -> Json {
    json!({"destination": place(rule, service), "weight": weight})
}

fn place(rule: &ExposedRule, service: &str) -> Json {
    json!({"host": service, "port": {"number": rule.port}})
}
