//! The user's part of a revision: what two specs must agree in to be the same revision.

use serde::{Deserialize, Serialize};

use crate::api::{ExposureSpec, MicroserviceSpec, Port, PortProtocol, RevisionSpec};

/// Everything the user wrote that ends up in the pods: scope R, and of the ports what a container knows of them.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RevisionInput {
    /// Scope R of the spec.
    pub spec: RevisionSpec,
    /// The ports of the container. The Service's side of a port is not part of a revision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
    /// Whether a Service stands before the pods: it decides the default preStop hook.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub served: bool,
}

/// A port as the container knows it.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name.
    pub name: String,
    /// Its number.
    pub container_port: i32,
    /// TCP unless said otherwise.
    #[serde(default)]
    pub protocol: PortProtocol,
}

impl RevisionInput {
    /// Takes from a spec what makes a revision.
    pub fn of(spec: &MicroserviceSpec) -> Self {
        Self {
            spec: spec.revision.clone(),
            ports: container_ports(&spec.exposure),
            served: spec.exposure.ports.iter().any(Port::in_service),
        }
    }
}

fn container_ports(exposure: &ExposureSpec) -> Vec<ContainerPort> {
    let mut ports: Vec<ContainerPort> = exposure
        .ports
        .iter()
        .map(|p| ContainerPort {
            name: p.name.clone(),
            container_port: p.container_port,
            protocol: p.protocol(),
        })
        .collect();
    // The order of a list map has no meaning: another order is no other revision.
    ports.sort_by(|a, b| a.name.cmp(&b.name));
    ports
}
