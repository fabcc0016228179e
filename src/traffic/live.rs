//! What live route objects do: which Services they lead to, and which addresses they claim.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::acceptance::{Parent, list, text};
use super::ingress;
use crate::api::labels;
use crate::render::{ChildKind, MESH};

/// Which Services a live route object leads to, with percent of the requests.
///
/// A Service that is reached by a match or a mirror alone has 0. Of rules for different paths the highest percentage
/// counts. The Ingress of a canary has what it takes away; the one that it is taken from says 100 all the same.
pub fn leads_to(kind: ChildKind, object: &Value) -> BTreeMap<String, i32> {
    match kind {
        ChildKind::HttpRoute | ChildKind::GrpcRoute => of_rules(object, gateway_rules(object)),
        ChildKind::VirtualService => of_rules(object, istio_rules(object)),
        ChildKind::Ingress => of_ingress(object),
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
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => BTreeMap::new(),
    }
}

/// A rule of a route, as far as it says where requests go.
struct Rule<'a> {
    matches: Vec<Match<'a>>,
    /// Services and percent of the rule's requests.
    backends: BTreeMap<&'a str, i32>,
    mirrors: Vec<&'a str>,
}

/// What a request must have.
#[derive(Clone, Debug, Default)]
struct Match<'a> {
    /// Path or method.
    place: Option<&'a Value>,
    /// Headers and parameters of the query: each as a text.
    conditions: BTreeSet<String>,
}

impl Match<'_> {
    /// Whether what meets this meets `other` as well, by asking for the same place and more.
    fn is_part_of(&self, other: &Self) -> bool {
        self.place == other.place && other.conditions.is_subset(&self.conditions)
    }
}

impl Rule<'_> {
    /// Whether this one takes away some of the requests of `other`.
    fn takes_from(&self, other: &Self) -> bool {
        let within = |one: &Match<'_>| other.matches.iter().any(|whole| one.is_part_of(whole));
        self.backends != other.backends && self.matches.iter().all(within)
    }
}

/// A rule leads somewhere by a match when a later one takes the same requests with less asked for, and leads to this
/// service: beside a rule of another Service it is an ordinary one.
fn of_rules<'a>(object: &'a Value, rules: Vec<Rule<'a>>) -> BTreeMap<String, i32> {
    let instance = object
        .pointer("/metadata/labels")
        .and_then(|all| all.get(labels::INSTANCE))
        .and_then(Value::as_str);
    let is_ours = |service: &&str| {
        instance.is_none_or(|instance| {
            service
                .strip_prefix(instance)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        })
    };
    let mut found = BTreeMap::new();
    let mut add = |service: &str, percent: i32| {
        let known = found.entry(service.to_owned()).or_insert(0);
        *known = percent.max(*known);
    };
    for (index, rule) in rules.iter().enumerate() {
        let by_match = rules
            .iter()
            .skip(index + 1)
            .any(|whole| rule.takes_from(whole) && whole.backends.keys().all(is_ours));
        for (service, percent) in &rule.backends {
            add(service, if by_match { 0 } else { *percent });
        }
        for service in &rule.mirrors {
            add(service, 0);
        }
    }
    found
}

/// Weights as percent of their sum; who has none is left out, and who has little has at least one.
fn percentages(weights: Vec<(&str, i64)>) -> BTreeMap<&str, i32> {
    // Wide enough for whatever others write.
    let sum: i128 = weights.iter().map(|(_, weight)| i128::from(*weight)).sum();
    let mut found = BTreeMap::new();
    for (service, weight) in weights.into_iter().filter(|(_, weight)| *weight > 0) {
        let percent = ((i128::from(weight) * 200 + sum) / (sum * 2).max(1)).clamp(1, 100);
        *found.entry(service).or_insert(0) += i32::try_from(percent).unwrap_or(100);
    }
    found
}

fn gateway_rules(object: &Value) -> Vec<Rule<'_>> {
    let rule = |rule| {
        let weight = |backend: &Value| backend.get("weight").and_then(Value::as_i64).unwrap_or(1);
        let backends = list(rule, "/backendRefs").iter();
        let mirrors = list(rule, "/filters").iter();
        Rule {
            matches: or_everything(list(rule, "/matches").iter().map(gateway_match).collect()),
            backends: percentages(backends.map(|b| (text(b, "/name"), weight(b))).collect()),
            mirrors: mirrors
                .map(|filter| text(filter, "/requestMirror/backendRef/name"))
                .filter(|name| !name.is_empty())
                .collect(),
        }
    };
    list(object, "/spec/rules").iter().map(rule).collect()
}

fn gateway_match(of: &Value) -> Match<'_> {
    let conditions = ["headers", "queryParams"].into_iter().flat_map(|field| {
        of.get(field)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(move |one| format!("{field} {one}"))
    });
    Match {
        place: of.get("path").or_else(|| of.get("method")),
        conditions: conditions.collect(),
    }
}

fn istio_rules(object: &Value) -> Vec<Rule<'_>> {
    let namespace = text(object, "/metadata/namespace");
    let rule = |rule| {
        let routes = list(rule, "/route");
        // One destination alone has everything, and says so or nothing.
        let weight = |route: &Value| match route.get("weight").and_then(Value::as_i64) {
            Some(weight) if weight > 0 || routes.len() > 1 => weight,
            Some(_) | None => i64::from(routes.len() == 1) * 100,
        };
        let weights = routes.iter().map(|route| {
            (
                service(text(route, "/destination/host"), namespace),
                weight(route),
            )
        });
        let mirrors = [text(rule, "/mirror/host")].into_iter().chain(
            list(rule, "/mirrors")
                .iter()
                .map(|mirror| text(mirror, "/destination/host")),
        );
        Rule {
            matches: or_everything(list(rule, "/match").iter().map(istio_match).collect()),
            backends: percentages(weights.collect()),
            mirrors: mirrors
                .filter(|host| !host.is_empty())
                .map(|host| service(host, namespace))
                .collect(),
        }
    };
    list(object, "/spec/http").iter().map(rule).collect()
}

fn istio_match(of: &Value) -> Match<'_> {
    let conditions = ["headers", "queryParams"].into_iter().flat_map(|field| {
        of.get(field)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(move |(name, value)| format!("{field} {name} {value}"))
    });
    Match {
        place: of.get("uri"),
        conditions: conditions.collect(),
    }
}

/// A rule without matches takes everything.
fn or_everything(matches: Vec<Match<'_>>) -> Vec<Match<'_>> {
    if matches.is_empty() {
        vec![Match::default()]
    } else {
        matches
    }
}

/// The Service of a host in Istio: its name where it is in the namespace of the object, else the host.
fn service<'a>(host: &'a str, namespace: &str) -> &'a str {
    match host.split_once('.') {
        Some((name, rest)) if rest.split('.').next() == Some(namespace) => name,
        Some(_) | None => host,
    }
}

fn of_ingress(object: &Value) -> BTreeMap<String, i32> {
    let note = |key: &str| {
        object
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(key))
            .and_then(Value::as_str)
    };
    let percent = if note(ingress::CANARY) == Some("true") {
        let weight = note(ingress::WEIGHT)
            .and_then(|weight| weight.parse().ok())
            .unwrap_or(0);
        if weight == 0 && note(ingress::HEADER).is_none() && note(ingress::COOKIE).is_none() {
            return BTreeMap::new();
        }
        weight
    } else {
        100
    };
    let rules = list(object, "/spec/rules").iter();
    rules
        .flat_map(|rule| list(rule, "/http/paths"))
        .map(|path| text(path, "/backend/service/name"))
        .chain([text(object, "/spec/defaultBackend/service/name")])
        .filter(|name| !name.is_empty())
        .map(|name| (name.to_owned(), percent))
        .collect()
}

/// An address that a route object claims for itself. Two objects with the same one are in each other's way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Claim {
    /// The host; * for all.
    pub host: String,
    /// The path, or the method of gRPC, with what else a request must have.
    pub path: String,
    /// What carries it: a parent, a Gateway of Istio, or a class of Ingresses.
    pub scope: String,
}

/// The addresses that a route object claims.
///
/// An Ingress that is a canary claims none, it stands beside another one; neither does a VirtualService without
/// hosts, which others refer to. One listener of a Gateway is another scope than the whole Gateway.
pub fn claims(kind: ChildKind, object: &Value) -> Vec<Claim> {
    let all = match kind {
        ChildKind::HttpRoute | ChildKind::GrpcRoute => gateway_claims(object),
        ChildKind::VirtualService => istio_claims(object),
        ChildKind::Ingress => ingress_claims(object),
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
        | ChildKind::PodMonitor
        | ChildKind::PrometheusRule => Vec::new(),
    };
    all.into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

/// Each host with each path in each scope.
fn product(hosts: &[String], paths: &[String], scopes: &[String]) -> Vec<Claim> {
    let mut all = Vec::new();
    for scope in scopes {
        for host in hosts {
            all.extend(paths.iter().map(|path| Claim {
                host: host.clone(),
                path: path.clone(),
                scope: scope.clone(),
            }));
        }
    }
    all
}

fn texts(items: &[Value]) -> Vec<String> {
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn or_all(hosts: Vec<String>) -> Vec<String> {
    if hosts.is_empty() {
        vec!["*".to_owned()]
    } else {
        hosts
    }
}

/// A prefix as itself, an exact path as such; then what else is asked for.
fn place(
    prefix: Option<&str>,
    exact: Option<&str>,
    other: Option<&Value>,
    more: &BTreeSet<String>,
) -> String {
    let mut words = match (prefix, exact, other) {
        (Some(prefix), _, _) => match prefix.trim_end_matches('/') {
            "" => "/".to_owned(),
            prefix => prefix.to_owned(),
        },
        (None, Some(exact), _) => format!("{exact} (exact)"),
        (None, None, Some(other)) => other.to_string(),
        (None, None, None) => "/".to_owned(),
    };
    for condition in more {
        words.push_str(" with ");
        words.push_str(condition);
    }
    words
}

fn gateway_claims(object: &Value) -> Vec<Claim> {
    let namespace = text(object, "/metadata/namespace");
    let parents = list(object, "/spec/parentRefs").iter();
    let scopes: Vec<String> = parents
        .map(|parent| Parent::of(parent, namespace).words())
        .collect();
    let rules = list(object, "/spec/rules").iter();
    let paths: Vec<String> = rules
        .flat_map(|rule| or_everything(list(rule, "/matches").iter().map(gateway_match).collect()))
        .map(|one| {
            let field = |name: &str| {
                one.place
                    .and_then(|place| place.get(name))
                    .and_then(Value::as_str)
            };
            match (field("service"), field("method"), field("type"), field("value")) {
                (Some(service), None, _, _) => {
                    place(Some(&format!("/{service}")), None, None, &one.conditions)
                }
                (service, Some(method), _, _) => {
                    let whole = format!("/{}/{method}", service.unwrap_or("*"));
                    place(Some(&whole), None, None, &one.conditions)
                }
                (None, None, Some("Exact"), exact) => place(None, exact, None, &one.conditions),
                (None, None, Some("PathPrefix") | None, prefix) => place(prefix, None, None, &one.conditions),
                (None, None, Some(_), _) => place(None, None, one.place, &one.conditions),
            }
        })
        .collect();
    product(&or_all(texts(list(object, "/spec/hostnames"))), &paths, &scopes)
}

fn istio_claims(object: &Value) -> Vec<Claim> {
    let namespace = text(object, "/metadata/namespace");
    let within = |name: String| {
        if name == MESH || name.contains('/') {
            name
        } else {
            format!("{namespace}/{name}")
        }
    };
    let mut gateways: Vec<String> = texts(list(object, "/spec/gateways"))
        .into_iter()
        .map(within)
        .collect();
    if gateways.is_empty() {
        gateways.push(MESH.to_owned());
    }
    let scopes: Vec<String> = gateways
        .into_iter()
        .map(|name| format!("Gateway {name} of Istio"))
        .collect();
    // A short name is that of a Service of the namespace.
    let hosts: Vec<String> = texts(list(object, "/spec/hosts"))
        .into_iter()
        .map(|host| match host.contains('.') || host == "*" {
            true => host,
            false => format!("{host}.{namespace}"),
        })
        .collect();
    let rules = list(object, "/spec/http").iter();
    let paths: Vec<String> = rules
        .flat_map(|rule| or_everything(list(rule, "/match").iter().map(istio_match).collect()))
        .map(|one| {
            let field = |name: &str| one.place.and_then(|uri| uri.get(name)).and_then(Value::as_str);
            place(field("prefix"), field("exact"), one.place, &one.conditions)
        })
        .collect();
    product(&hosts, &paths, &scopes)
}

fn ingress_claims(object: &Value) -> Vec<Claim> {
    let note = |key: &str| {
        object
            .pointer("/metadata/annotations")
            .and_then(|all| all.get(key))
            .and_then(Value::as_str)
    };
    if note(ingress::CANARY) == Some("true") {
        return Vec::new();
    }
    let class = Some(text(object, "/spec/ingressClassName"))
        .filter(|class| !class.is_empty())
        .or(note(ingress::CLASS));
    let scope = class.map_or_else(
        || "the default IngressClass".to_owned(),
        |class| format!("IngressClass {class}"),
    );
    let none = BTreeSet::new();
    let mut all = Vec::new();
    for rule in list(object, "/spec/rules") {
        let host = Some(text(rule, "/host"))
            .filter(|host| !host.is_empty())
            .unwrap_or("*");
        let paths: Vec<String> = list(rule, "/http/paths")
            .iter()
            .map(|path| {
                let written = Some(text(path, "/path"));
                match text(path, "/pathType") {
                    "Exact" => place(None, written, None, &none),
                    _ => place(written, None, None, &none),
                }
            })
            .collect();
        all.extend(product(&[host.to_owned()], &paths, std::slice::from_ref(&scope)));
    }
    all
}
