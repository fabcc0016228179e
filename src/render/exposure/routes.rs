//! The ways in from outside, with every default filled in.

use std::collections::BTreeMap;

use super::{appended, both};
use crate::api::{
    ExposureSpec, GatewayKind, IngressTls, IstioMode, ParentRef, PathType, Port, RawObject, Route,
    RouteHeader, RouteRule,
};

/// A way in from outside.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposedRoute {
    /// Its name within the service.
    pub name: String,
    /// The hosts; none means all.
    pub hosts: Vec<String>,
    /// What is matched, and where it leads. Never empty.
    pub rules: Vec<ExposedRule>,
    /// What makes it.
    pub way: Way,
}

/// What makes a route.
#[derive(Clone, Debug, PartialEq)]
pub enum Way {
    /// An Ingress.
    Ingress {
        /// Its name; absent: after the service and the route.
        object: Option<String>,
        /// Its class; absent: the cluster's default.
        class_name: Option<String>,
        /// Its annotations.
        annotations: BTreeMap<String, String>,
        /// Its certificates.
        tls: Vec<IngressTls>,
    },
    /// A route of the Gateway API.
    Gateway {
        /// Which kind.
        kind: GatewayKind,
        /// What carries it.
        parent_refs: Vec<ParentRef>,
    },
    /// A VirtualService of Istio.
    Istio {
        /// What carries it; none for one that others refer to.
        gateways: Vec<String>,
        /// Who has its hosts.
        mode: IstioMode,
    },
}

/// The word that Istio has for all sidecars, where a Gateway is named.
pub const MESH: &str = "mesh";

/// One match of a route.
#[derive(Clone, Debug, PartialEq)]
pub struct ExposedRule {
    /// The path.
    pub path: String,
    /// How it is compared.
    pub path_type: PathType,
    /// The headers that a request must have.
    pub headers: Vec<RouteHeader>,
    /// Where it leads.
    pub backend: Backend,
    /// The number of that Service's port.
    pub port: i32,
    /// The filters of a Gateway route.
    pub filters: Vec<RawObject>,
}

/// Where a rule leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Backend {
    /// To this service.
    Own,
    /// To another Service of the namespace.
    Other(String),
}

/// The routes of a spec alone.
pub(super) fn of(spec: &ExposureSpec) -> Vec<ExposedRoute> {
    spec.routes
        .iter()
        .filter_map(|route| resolve(route, spec))
        .collect()
}

/// The routes of two specs, by name and kind of object.
///
/// A route that both have keeps the stable one's class; hosts, rules, parents, certificates and annotations
/// are those of both. A rule that matches just what one of the stable one's matches waits, and so does
/// another value of an annotation.
pub(super) fn union(stable: Vec<ExposedRoute>, spec: Vec<ExposedRoute>) -> Vec<ExposedRoute> {
    let mut all = stable;
    for route in spec {
        match all
            .iter_mut()
            .find(|present| present.name == route.name && present.way.is_like(&route.way))
        {
            Some(present) => present.extend(route),
            None => all.push(route),
        }
    }
    all
}

impl ExposedRoute {
    fn extend(&mut self, spec: Self) {
        self.hosts = match (self.hosts.is_empty(), spec.hosts.is_empty()) {
            (false, false) => appended(std::mem::take(&mut self.hosts), spec.hosts),
            // One of the two serves all hosts.
            (true, _) | (_, true) => Vec::new(),
        };
        for rule in spec.rules {
            if !self.rules.iter().any(|present| present.matches_like(&rule)) {
                self.rules.push(rule);
            }
        }
        self.way.extend(spec.way);
    }
}

impl ExposedRule {
    fn matches_like(&self, other: &Self) -> bool {
        (&self.path, self.path_type, &self.headers) == (&other.path, other.path_type, &other.headers)
    }
}

impl Way {
    /// Whether both make an object of the same kind.
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ingress { .. }, Self::Ingress { .. }) => true,
            (Self::Gateway { kind: a, .. }, Self::Gateway { kind: b, .. }) => a == b,
            // One that is referred to has no hosts of its own that could be joined with another's.
            (Self::Istio { mode: a, .. }, Self::Istio { mode: b, .. }) => a == b,
            (Self::Ingress { .. } | Self::Gateway { .. } | Self::Istio { .. }, _) => false,
        }
    }

    fn extend(&mut self, spec: Self) {
        match (self, spec) {
            (
                Self::Ingress { annotations, tls, .. },
                Self::Ingress {
                    annotations: more,
                    tls: further,
                    class_name: _,
                    object: _,
                },
            ) => {
                *annotations = both(annotations, &more);
                *tls = appended(std::mem::take(tls), further);
            }
            (
                Self::Gateway { parent_refs, .. },
                Self::Gateway {
                    parent_refs: more,
                    kind: _,
                },
            ) => {
                *parent_refs = appended(std::mem::take(parent_refs), more);
            }
            (
                Self::Istio { gateways, .. },
                Self::Istio {
                    gateways: more,
                    mode: _,
                },
            ) => {
                *gateways = appended(std::mem::take(gateways), more);
            }
            // Routes of different kinds are different routes.
            (Self::Ingress { .. } | Self::Gateway { .. } | Self::Istio { .. }, _) => {}
        }
    }
}

fn resolve(route: &Route, spec: &ExposureSpec) -> Option<ExposedRoute> {
    let (way, filters) = way(route)?;
    let own_port = own_port(route, spec).map(Port::service_port);
    let whole = [RouteRule::default()];
    let written = if route.rules.is_empty() {
        whole.as_slice()
    } else {
        route.rules.as_slice()
    };
    let rules: Vec<ExposedRule> = written
        .iter()
        .filter_map(|rule| {
            Some(ExposedRule {
                path: rule.path.clone().unwrap_or_else(|| "/".to_owned()),
                path_type: rule.path_type.unwrap_or_default(),
                headers: rule.headers.clone(),
                backend: rule.service.clone().map_or(Backend::Own, Backend::Other),
                port: rule.service_port.or(own_port)?,
                filters: filters.clone(),
            })
        })
        .collect();
    (!rules.is_empty()).then(|| ExposedRoute {
        name: route.name.clone(),
        hosts: route.hosts.clone(),
        rules,
        way,
    })
}

/// What makes the route, and the filters of its rules. There is exactly one, the CRD sees to that.
fn way(route: &Route) -> Option<(Way, Vec<RawObject>)> {
    if let Some(ingress) = &route.ingress {
        let tls = ingress.tls.iter().cloned().map(|mut tls| {
            if tls.hosts.is_empty() {
                tls.hosts.clone_from(&route.hosts);
            }
            tls
        });
        let way = Way::Ingress {
            object: ingress.name.clone(),
            class_name: ingress.class_name.clone(),
            annotations: ingress.annotations.clone(),
            tls: tls.collect(),
        };
        return Some((way, Vec::new()));
    }
    if let Some(istio) = &route.istio {
        let mode = istio.mode.unwrap_or_default();
        let gateways = match (mode, istio.gateways.as_slice()) {
            (IstioMode::Delegate, _) => Vec::new(),
            (IstioMode::Own, []) => vec![MESH.to_owned()],
            (IstioMode::Own, named) => named.to_vec(),
        };
        return Some((Way::Istio { gateways, mode }, Vec::new()));
    }
    let gateway = route.gateway.as_ref()?;
    let way = Way::Gateway {
        kind: gateway.kind.unwrap_or_default(),
        parent_refs: gateway.parent_refs.clone(),
    };
    Some((way, gateway.filters.clone()))
}

/// The port that the route leads to: the one it names, else http, else the first one; only of those in the
/// Service.
fn own_port<'a>(route: &Route, spec: &'a ExposureSpec) -> Option<&'a Port> {
    let mut included = spec.ports.iter().filter(|port| port.in_service());
    match &route.port {
        Some(name) => included.find(|port| port.name == *name),
        None => included
            .clone()
            .find(|port| port.name == "http")
            .or_else(|| included.next()),
    }
}
