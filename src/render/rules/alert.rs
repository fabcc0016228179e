//! Alerts of one line, and what all alerts say.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::decimal::{Percentage, decimal};
use super::indicator::{Subject, quantile};
use super::objective::share;
use super::promql::label_name;
use crate::analysis::Names;
use crate::api::{Alert, Monitoring};

/// What an alert says.
pub(super) struct Notice<'a> {
    /// Its name.
    pub(super) alert: &'a str,
    /// Its label severity.
    pub(super) severity: &'a str,
    /// One line.
    pub(super) summary: String,
    /// What is the matter.
    pub(super) description: String,
}

impl Notice<'_> {
    /// The labels: the user's, and over them ours.
    pub(super) fn labels(&self, subject: &Subject<'_>, monitoring: &Monitoring) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<String, String> = monitoring
            .alert_labels
            .iter()
            .map(|(name, value)| (label_name(name), value.clone()))
            .collect();
        let ours = [
            ("namespace", subject.namespace),
            ("microservice", subject.service),
            ("severity", self.severity),
        ];
        labels.extend(ours.map(|(name, value)| (name.to_owned(), value.to_owned())));
        labels
    }
}

/// What a person reads of an alert.
pub(super) fn annotations(notice: &Notice<'_>, subject: &Subject<'_>, monitoring: &Monitoring) -> Value {
    let runbook = monitoring.runbook_url.as_ref().map(|url| {
        url.replace("{{namespace}}", subject.namespace)
            .replace("{{service}}", subject.service)
            .replace("{{alert}}", notice.alert)
    });
    json!({
        "summary": notice.summary,
        "description": notice.description,
        "runbook_url": runbook,
    })
}

/// By which names the alerts of a service are told, and under which indicator its errors are recorded.
pub(in crate::render) struct Told {
    /// The indicator of errors.
    pub(in crate::render) errors: String,
    /// The names of the histogram.
    pub(in crate::render) latency: Names,
}

/// An alert of one line; `None` for what the schema does not let through.
pub(super) fn one_line(
    subject: &Subject<'_>,
    monitoring: &Monitoring,
    alert: &Alert,
    told: &Told,
) -> Option<Value> {
    let (service, namespace) = (subject.service, subject.namespace);
    let (expression, summary, description) = match (
        &alert.errors_above_percent,
        alert.latency_above_milliseconds,
    ) {
        (Some(percent), _) => {
            let percent = Percentage::read(percent)?;
            (
                format!("{} > {}", share(subject, &told.errors, "5m"), percent.share()),
                format!("{service}: more than {} % of requests fail", percent.words()),
                format!(
                    "{{{{ $value | humanizePercentage }}}} of the requests to {service} in namespace {namespace} \
                         failed in the last five minutes."
                ),
            )
        }
        (None, Some(milliseconds)) => {
            let percentile = Percentage::read(alert.percentile.as_deref().unwrap_or("99"))?;
            let seconds = decimal(milliseconds.try_into().ok()?, 3);
            let quantile = quantile(subject, &told.latency, &percentile.share(), &[]);
            let words = percentile.words();
            (
                format!("(\n{quantile}\n) > {seconds}"),
                format!("{service}: P{words} is above {milliseconds} ms"),
                format!(
                    "{words} % of the requests to {service} in namespace {namespace} took up to \
                         {{{{ $value | humanizeDuration }}}} in the last five minutes, and the others longer."
                ),
            )
        }
        (None, None) => return None,
    };
    let seconds = alert.for_seconds();
    let notice = Notice {
        alert: &alert.name,
        severity: alert.severity(),
        summary,
        description,
    };
    Some(json!({
        "alert": alert.name,
        "expr": expression,
        "for": (seconds > 0).then(|| format!("{seconds}s")),
        "labels": notice.labels(subject, monitoring),
        "annotations": annotations(&notice, subject, monitoring),
    }))
}
