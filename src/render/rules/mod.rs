//! What Prometheus makes of the metrics: shares of bad requests, alerts of objectives, and alerts of one line.

mod alert;
mod bounds;
mod decimal;
mod indicator;
mod objective;
mod promql;

use serde_json::{Value, json};

pub(super) use alert::Told;
pub(super) use decimal::Percentage;
pub(super) use indicator::{BAD_REQUESTS, REQUESTS, Subject, quantile, revision_label};
use indicator::{BY_BOUND, BY_STATUS, Indicator};
pub(super) use promql::{Comparison, Matcher, quoted, selector};

use super::identity::Metadata;
use super::{Child, ChildKind, Identity, prune::fields};
use crate::analysis::{Names, ProbePaths};
use crate::api::{MicroserviceSpec, Monitoring, Objective, ObjectiveAlerts};

/// Under which indicator errors are recorded that no objective tells. Names of objectives have no capitals.
const ERRORS: &str = "Errors";

/// What is recorded of a service, and for what.
pub(super) struct Recorded<'a> {
    /// The objectives that have alerts.
    alerted: &'a [Objective],
    /// By which names the errors and durations of alerts and dashboard are told.
    pub(super) told: Told,
    /// Each indicator by its name.
    indicators: Vec<(String, Indicator)>,
    /// Whether durations are read by the usual names.
    latency: bool,
}

impl<'a> Recorded<'a> {
    /// What is wanted; `None` where nothing is.
    pub(super) fn of(spec: &'a MicroserviceSpec) -> Option<Self> {
        let operation = &spec.operation;
        let monitoring = operation.monitoring.as_ref()?;
        let alerted = match monitoring.objective_alerts() {
            ObjectiveAlerts::Enabled => operation.objectives.as_slice(),
            ObjectiveAlerts::Disabled => &[],
        };
        if alerted.is_empty() && monitoring.alerts.is_empty() && monitoring.dashboard.is_none() {
            return None;
        }
        // The dashboard shows what is left of the budget of each, whether it alerts or not.
        let shown = match monitoring.dashboard {
            Some(_) => operation.objectives.as_slice(),
            None => alerted,
        };
        let mut indicators: Vec<(String, Indicator)> = shown
            .iter()
            .filter_map(|objective| Some((objective.name.clone(), Indicator::read(&objective.indicator)?)))
            .collect();
        let errors = Indicator::Errors(first_names(&operation.objectives, Kind::Errors));
        let wanted = monitoring.dashboard.is_some()
            || monitoring
                .alerts
                .iter()
                .any(|alert| alert.errors_above_percent.is_some());
        let known = indicators.iter().find(|(_, indicator)| *indicator == errors);
        let name = known.map_or_else(|| ERRORS.to_owned(), |(name, _)| name.clone());
        if known.is_none() && wanted {
            indicators.push((name.clone(), errors));
        }
        let latency = monitoring.dashboard.is_some()
            || monitoring
                .alerts
                .iter()
                .any(|alert| alert.latency_above_milliseconds.is_some());
        Some(Self {
            alerted,
            told: Told {
                errors: name,
                latency: first_names(&operation.objectives, Kind::Latency),
            },
            indicators,
            latency,
        })
    }

    fn reads_usual_counters(&self) -> bool {
        let usual = |indicator: &Indicator| matches!(indicator, Indicator::Errors(Names::Usual));
        self.indicators.iter().any(|(_, indicator)| usual(indicator))
    }

    fn reads_usual_histograms(&self) -> bool {
        let usual = |indicator: &Indicator| matches!(indicator, Indicator::SlowerThan(_, Names::Usual));
        (self.latency && self.told.latency == Names::Usual)
            || self.indicators.iter().any(|(_, indicator)| usual(indicator))
    }

    /// What is recorded, in the order in which one is made from the other.
    fn recordings(&self, subject: &Subject<'_>) -> Vec<Value> {
        let recording = |record: &str, expression: String, label: &str, value: &str| {
            json!({
                "record": record,
                "expr": expression,
                "labels": {"namespace": subject.namespace, "microservice": subject.service, label: value},
            })
        };
        let mut rules = Vec::new();
        if self.reads_usual_counters() {
            let usual = indicator::usual_counters(subject);
            rules.extend(
                usual
                    .into_iter()
                    .map(|(family, e)| recording(BY_STATUS, e, "family", &family)),
            );
        }
        if self.reads_usual_histograms() {
            let usual = indicator::usual_histograms(subject);
            rules.extend(
                usual
                    .into_iter()
                    .map(|(family, e)| recording(BY_BOUND, e, "family", &family)),
            );
        }
        for (name, indicator) in &self.indicators {
            let bad = indicator.bad_requests(subject);
            rules.push(recording(BAD_REQUESTS, bad, "indicator", name));
            let requests = indicator.requests(subject, name);
            rules.push(recording(REQUESTS, requests, "indicator", name));
        }
        rules
    }

    fn alerts(&self, subject: &Subject<'_>, monitoring: &Monitoring) -> Vec<Value> {
        let mut rules = Vec::new();
        for objective in self.alerted {
            rules.extend(objective::recordings(subject, objective));
            rules.extend(objective::alerts(subject, monitoring, objective));
        }
        let one_line = |alert| alert::one_line(subject, monitoring, alert, &self.told);
        rules.extend(monitoring.alerts.iter().filter_map(one_line));
        rules
    }
}

/// What an indicator counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Errors,
    Latency,
}

/// The names by which the first objective of that kind is told; the usual ones where there is none.
fn first_names(objectives: &[Objective], kind: Kind) -> Names {
    let names = objectives.iter().find_map(|objective| {
        let indicator = &objective.indicator;
        match kind {
            Kind::Errors => indicator
                .errors
                .as_ref()
                .map(|_| indicator::error_names(indicator)),
            Kind::Latency => indicator
                .latency
                .as_ref()
                .map(|_| indicator::latency_names(indicator)),
        }
    });
    names.unwrap_or(Names::Usual)
}

/// The paths whose requests do not count for a service.
pub(super) fn probes(spec: &MicroserviceSpec) -> ProbePaths {
    let paths = spec.probe_paths();
    ProbePaths::usual().and(paths.iter().map(String::as_str))
}

/// Whether something asks for rules.
pub fn wants_rules(spec: &MicroserviceSpec) -> bool {
    Recorded::of(spec).is_some()
}

/// The rules of the service; `None` where nothing asks for any.
///
/// They are one group, evaluated in order: a rule reads what the ones before it have just recorded.
pub fn prometheus_rule(identity: &Identity<'_>, spec: &MicroserviceSpec) -> Option<Child> {
    let monitoring = spec.operation.monitoring.as_ref()?;
    let recorded = Recorded::of(spec)?;
    let probes = probes(spec);
    let subject = Subject {
        namespace: identity.namespace,
        service: identity.name,
        probes: &probes,
    };
    let mut rules = recorded.recordings(&subject);
    rules.extend(recorded.alerts(&subject, monitoring));
    let metadata = Metadata {
        labels: monitoring.labels.clone(),
        ..Metadata::named(identity.name)
    };
    let spec = json!({"groups": [{"name": identity.name, "rules": rules}]});
    Some(identity.child(ChildKind::PrometheusRule, metadata, fields(json!({"spec": spec}))))
}
