//! Requests that no user makes: probes, and the reading of metrics. Each pod has as many of them whatever its share of the
//! traffic is, so counting them would make that share look larger or smaller than it is.

use std::collections::BTreeSet;

/// What probes and scrapes ask for where nobody says otherwise: the usual names, Spring Boot's and Prometheus' own.
const USUAL: [&str; 16] = [
    "/healthz",
    "/readyz",
    "/livez",
    "/health",
    "/ready",
    "/live",
    "/health/live",
    "/health/ready",
    "/metrics",
    "/actuator/health",
    "/actuator/health/liveness",
    "/actuator/health/readiness",
    "/actuator/prometheus",
    "/-/healthy",
    "/-/ready",
    "/stats/prometheus",
];

/// gRPC services that stand for the same.
const SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The paths of requests that do not count. Compared by the letters and digits alone, because a label often holds a path
/// in another form: podinfo writes `healthz` for `/healthz` and `api_info` for `/api/info`, and Go's router a pattern with
/// the method before it (`GET /healthz`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProbePaths {
    forms: BTreeSet<String>,
}

impl ProbePaths {
    /// The usual ones.
    pub fn usual() -> Self {
        Self {
            forms: USUAL.iter().chain(&SERVICES).map(|path| form(path)).collect(),
        }
    }

    /// These as well: the paths of the pods' own probes and of their metrics. The root, `/`, is never left out, because
    /// users ask for it too.
    pub fn and<'a>(mut self, paths: impl IntoIterator<Item = &'a str>) -> Self {
        self.forms
            .extend(paths.into_iter().map(form).filter(|form| !form.is_empty()));
        self
    }

    /// The forms in which they are compared: words in lower case, one underscore between them.
    pub fn forms(&self) -> impl Iterator<Item = &str> {
        self.forms.iter().map(String::as_str)
    }

    /// Whether a label's value stands for one of them.
    pub fn hold(&self, label: &str) -> bool {
        self.forms.contains(&form(label))
    }
}

impl Default for ProbePaths {
    fn default() -> Self {
        Self::usual()
    }
}

/// The path without a method before it and a query behind it; letters in lower case, what lies between letters and digits
/// as one underscore.
fn form(path: &str) -> String {
    let path = path.trim();
    let path = path.rsplit_once(' ').map_or(path, |(_, path)| path);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>()
        .join("_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_known_in_the_forms_that_labels_have() {
        let paths = ProbePaths::usual().and(["/internal/up", "/"]);
        for label in [
            "/healthz",
            "healthz",
            "GET /healthz",
            "/metrics?name[]=up",
            "/actuator/health/",
            "actuator_prometheus",
            "internal_up",
            "grpc.health.v1.Health",
        ] {
            assert!(paths.hold(label), "{label}");
        }
        for label in ["/", "", "root", "/orders", "/healthz/orders", "/api/health"] {
            assert!(!paths.hold(label), "{label}");
        }
    }
}
