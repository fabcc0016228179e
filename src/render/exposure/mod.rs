//! Scope A made ready to apply: the ports, routes and network rules of one revision, or the union of two.
//!
//! One rule for all of it: while two revisions live, what either of them has is there, and where the two
//! disagree about one thing the stable one's word counts until the other is promoted. So callers of the old
//! never lose anything by a rollout, and callers of the new find what does not exist yet before it gets
//! traffic.

mod network;
mod ports;
mod routes;

use std::collections::BTreeMap;

pub use network::{Direction, NetworkRules};
pub use ports::{Compatibility, ContainerPortName, ServicePort, TargetPort, compatibility};
pub use routes::{Backend, ExposedRoute, ExposedRule, MESH, Way};

use crate::api::{ExposureSpec, Headless, Port, ServiceType, SessionAffinity};

/// How the live revisions are reached, and what they may reach.
#[derive(Clone, Debug, PartialEq)]
pub struct Exposure {
    /// The ports of the Service; without any there is no Service.
    pub ports: Vec<ServicePort>,
    /// The ports of the containers by name; where two revisions differ, the stable one's.
    pub container_ports: Vec<ContainerPortName>,
    /// What else the Service is.
    pub service: ServiceSettings,
    /// The ways in from outside.
    pub routes: Vec<ExposedRoute>,
    /// Who may talk to the pods, and to whom they may.
    pub network: NetworkRules,
}

/// What a Service is besides its ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceSettings {
    /// Its type.
    pub type_: ServiceType,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Whether names resolve to the pods.
    pub headless: Headless,
    /// Whether connections of one client go to one pod.
    pub session_affinity: SessionAffinity,
    /// Which endpoints are preferred.
    pub traffic_distribution: Option<String>,
}

impl Exposure {
    /// What applies while the revisions that live all have this spec.
    pub fn of(spec: &ExposureSpec) -> Self {
        Self {
            ports: ports::of(spec),
            container_ports: ports::containers(spec),
            service: ServiceSettings::of(spec),
            routes: routes::of(spec),
            network: NetworkRules::of(spec.network_policy.as_ref()),
        }
    }

    /// What applies while a revision of `stable` and one of `spec` live side by side.
    pub fn union(stable: &ExposureSpec, spec: &ExposureSpec) -> Self {
        Self {
            ports: ports::union(stable, spec),
            container_ports: ports::container_union(stable, spec),
            service: ServiceSettings::union(stable, spec),
            routes: routes::union(routes::of(stable), routes::of(spec)),
            network: NetworkRules::of(stable.network_policy.as_ref())
                .union(NetworkRules::of(spec.network_policy.as_ref())),
        }
    }
}

impl ServiceSettings {
    fn of(spec: &ExposureSpec) -> Self {
        let service = spec.service.clone().unwrap_or_default();
        Self {
            type_: service.type_.unwrap_or_default(),
            annotations: service.annotations,
            headless: service.headless.unwrap_or_default(),
            session_affinity: service.session_affinity.unwrap_or_default(),
            traffic_distribution: service.traffic_distribution,
        }
    }

    /// The stable one's where it has a Service at all; of annotations those of both.
    fn union(stable: &ExposureSpec, spec: &ExposureSpec) -> Self {
        let (before, after) = (Self::of(stable), Self::of(spec));
        if !stable.ports.iter().any(Port::in_service) {
            return after;
        }
        Self {
            annotations: both(&before.annotations, &after.annotations),
            ..before
        }
    }
}

/// The entries of both; the stable one's value where both have a key.
fn both(stable: &BTreeMap<String, String>, spec: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let mut all = spec.clone();
    all.extend(stable.iter().map(|(key, value)| (key.clone(), value.clone())));
    all
}

/// The items of both, each once, the stable one's first.
fn appended<T: PartialEq>(mut stable: Vec<T>, spec: Vec<T>) -> Vec<T> {
    for item in spec {
        if !stable.contains(&item) {
            stable.push(item);
        }
    }
    stable
}

#[cfg(test)]
mod tests;
