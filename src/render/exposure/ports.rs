//! The ports of the Service, and whether pods of two revisions can stand behind one.

use crate::api::{ExposureSpec, Port, PortProtocol};

/// A port of the Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Its name, unlike that of any other port of the Service.
    pub name: String,
    /// Its number.
    pub port: i32,
    /// Its transport protocol.
    pub protocol: PortProtocol,
    /// Where it leads in the pods.
    pub target: TargetPort,
    /// What is spoken on it.
    pub app_protocol: Option<String>,
}

/// Where a port of the Service leads in the pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    /// The same number in all pods.
    Number(i32),
    /// The port of this name: another number in another revision, and none in pods that lack it, which then
    /// are no endpoints of this port.
    Name(String),
}

/// A port of the containers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPortName {
    /// Its name.
    pub name: String,
    /// The name of the Service's port that leads to it; absent where none does.
    pub service_port: Option<String>,
}

/// Whether pods of two revisions can stand behind one Service at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compatibility {
    /// They can.
    Together,
    /// They cannot: for the same port of the Service they listen on other numbers under other names, so one
    /// selector and one targetPort cannot reach both. The Service has to flip from the one to the other.
    OneAtATime,
}

/// Whether pods of a revision of `stable` and of one of `spec` can stand behind one Service.
pub fn compatibility(stable: &ExposureSpec, spec: &ExposureSpec) -> Compatibility {
    let clash = |before: &Port| {
        included(spec).any(|after| same_number(before, after) && shared_target(before, after).is_none())
    };
    if included(stable).any(clash) {
        Compatibility::OneAtATime
    } else {
        Compatibility::Together
    }
}

/// The ports of the Service of a spec alone.
pub(super) fn of(spec: &ExposureSpec) -> Vec<ServicePort> {
    included(spec)
        .map(|port| exposed(port, TargetPort::Number(port.container_port)))
        .collect()
}

/// The ports of the Service of two specs: by number and protocol, the stable one's entry for a number that
/// both have.
///
/// A port of the new spec whose name the stable one uses for another number is renamed `<name>-<number>`
/// until it is promoted: names must differ, and leaving it out would hide it from callers that want it.
pub(super) fn union(stable: &ExposureSpec, spec: &ExposureSpec) -> Vec<ServicePort> {
    let mut all: Vec<ServicePort> = included(stable)
        .map(|port| {
            let target = match included(spec).find(|after| same_number(port, after)) {
                Some(after) => shared_target(port, after).unwrap_or(TargetPort::Number(port.container_port)),
                None => one_sided_target(port, spec),
            };
            exposed(port, target)
        })
        .collect();
    for port in included(spec).filter(|port| !included(stable).any(|before| same_number(before, port))) {
        let mut added = exposed(port, one_sided_target(port, stable));
        while all.iter().any(|present| present.name == added.name) {
            added.name = format!("{}-{}", added.name, added.port);
        }
        all.push(added);
    }
    all
}

/// The ports of the containers of a spec alone.
pub(super) fn containers(spec: &ExposureSpec) -> Vec<ContainerPortName> {
    container_names(spec, &of(spec))
}

/// The ports of the containers of two specs by name.
pub(super) fn container_union(stable: &ExposureSpec, spec: &ExposureSpec) -> Vec<ContainerPortName> {
    let ports = union(stable, spec);
    let mut all = container_names(stable, &ports);
    for port in container_names(spec, &ports) {
        if !all.iter().any(|present| present.name == port.name) {
            all.push(port);
        }
    }
    all
}

fn container_names(spec: &ExposureSpec, ports: &[ServicePort]) -> Vec<ContainerPortName> {
    let service_port = |port: &Port| {
        let found = ports
            .iter()
            .find(|p| port.in_service() && p.port == port.service_port() && p.protocol == port.protocol());
        found.map(|p| p.name.clone())
    };
    spec.ports
        .iter()
        .map(|port| ContainerPortName {
            name: port.name.clone(),
            service_port: service_port(port),
        })
        .collect()
}

fn included(spec: &ExposureSpec) -> impl Iterator<Item = &Port> {
    spec.ports.iter().filter(|port| port.in_service())
}

fn exposed(port: &Port, target: TargetPort) -> ServicePort {
    ServicePort {
        name: port.name.clone(),
        port: port.service_port(),
        protocol: port.protocol(),
        target,
        app_protocol: port.app_protocol.clone(),
    }
}

fn same_number(a: &Port, b: &Port) -> bool {
    a.service_port() == b.service_port() && a.protocol() == b.protocol()
}

/// What leads to the right place in the pods of both.
fn shared_target(a: &Port, b: &Port) -> Option<TargetPort> {
    if a.container_port == b.container_port {
        Some(TargetPort::Number(a.container_port))
    } else {
        (a.name == b.name).then(|| TargetPort::Name(a.name.clone()))
    }
}

/// Where a port leads that only one of two specs has: by number when the pods of the `other` listen there as
/// well, else by name, so that pods that know nothing of it get none of its traffic.
fn one_sided_target(port: &Port, other: &ExposureSpec) -> TargetPort {
    let listens = other
        .ports
        .iter()
        .any(|p| p.container_port == port.container_port && p.protocol() == port.protocol());
    if listens {
        TargetPort::Number(port.container_port)
    } else {
        TargetPort::Name(port.name.clone())
    }
}
