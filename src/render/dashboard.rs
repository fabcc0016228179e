//! A dashboard for Grafana: the revisions of the service side by side.

use serde_json::{Value, json};

use super::identity::Metadata;
use super::rules::{
    BAD_REQUESTS, Comparison, Matcher, Percentage, REQUESTS, Recorded, Subject, probes, quantile, quoted,
    revision_label, selector,
};
use super::{Child, ChildKind, Identity, prune::fields};
use crate::api::{MicroserviceSpec, Objective};
use crate::revision::RevisionDigest;

/// The version of Grafana's format that is written.
const SCHEMA_VERSION: i32 = 39;
/// Grafana's grid is this wide.
const COLUMNS: usize = 24;
/// How high a panel is.
const HEIGHT: usize = 8;

/// How a panel shows numbers.
#[derive(Clone, Copy)]
enum Shown {
    /// As lines over time, in this unit.
    Lines(&'static str),
    /// As one number, in this unit.
    Number(&'static str),
}

/// A panel and what it asks for.
struct Panel {
    title: String,
    description: &'static str,
    shown: Shown,
    width: usize,
    /// Expressions, each with what its lines are called.
    targets: Vec<(String, String)>,
}

/// The dashboard in a ConfigMap, as Grafana's sidecar collects them; `None` where none is wanted.
pub fn dashboard(identity: &Identity<'_>, spec: &MicroserviceSpec) -> Option<Child> {
    let wanted = spec.operation.monitoring.as_ref()?.dashboard.as_ref()?;
    let mut labels = wanted.labels.clone();
    if labels.is_empty() {
        labels.insert("grafana_dashboard".to_owned(), "1".to_owned());
    }
    let folder = wanted.folder.iter();
    let annotations = folder
        .map(|folder| ("grafana_folder".to_owned(), folder.clone()))
        .collect();
    let metadata = Metadata {
        labels,
        annotations,
        ..Metadata::named(format!("{}-dashboard", identity.name))
    };
    // The sidecar puts the dashboards of all namespaces into one directory.
    let file = format!("{}-{}.json", identity.namespace, identity.name);
    let text = format!("{:#}\n", document(identity, spec)?);
    Some(identity.child(
        ChildKind::ConfigMap,
        metadata,
        fields(json!({"data": {file: text}})),
    ))
}

fn document(identity: &Identity<'_>, spec: &MicroserviceSpec) -> Option<Value> {
    let recorded = Recorded::of(spec)?;
    let probes = probes(spec);
    let subject = Subject {
        namespace: identity.namespace,
        service: identity.name,
        probes: &probes,
    };
    let mut panels = requests(&subject, &recorded);
    panels.extend(durations(&subject, &recorded));
    panels.extend(pods(&subject));
    panels.extend(
        spec.operation
            .objectives
            .iter()
            .filter_map(|o| budget(&subject, o)),
    );
    let uid = RevisionDigest::of_value(&[identity.namespace, identity.name]).short(20);
    Some(json!({
        "uid": uid,
        "title": format!("{} / {}", identity.namespace, identity.name),
        "tags": ["microservice"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": false,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {"list": [{
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        }]},
        "panels": placed(panels),
    }))
}

fn by_revision() -> String {
    format!("{{{{{}}}}}", revision_label())
}

fn requests(subject: &Subject<'_>, recorded: &Recorded<'_>) -> Vec<Panel> {
    let all = subject.of_indicator(REQUESTS, &recorded.told.errors);
    let bad = subject.of_indicator(BAD_REQUESTS, &recorded.told.errors);
    let revision = revision_label();
    let panel = |title: &str, description, unit, expression| Panel {
        title: title.to_owned(),
        description,
        shown: Shown::Lines(unit),
        width: 8,
        targets: vec![(expression, by_revision())],
    };
    vec![
        panel(
            "Requests",
            "Requests a second of each revision, without probes.",
            "reqps",
            all.clone(),
        ),
        panel(
            "Share of requests",
            "What each revision gets: its weight as it is, not as it is asked for.",
            "percentunit",
            format!("{all} / ignoring ({revision}) group_left () (sum without ({revision}) ({all}) > 0)"),
        ),
        panel(
            "Errors",
            "Requests of each revision that failed by the server's fault.",
            "percentunit",
            format!("{bad} / ({all} > 0)"),
        ),
    ]
}

fn durations(subject: &Subject<'_>, recorded: &Recorded<'_>) -> Vec<Panel> {
    let revision = revision_label();
    let panel = |percentile: &str| {
        let share = Percentage::read(percentile)?.share();
        let expression = quantile(subject, &recorded.told.latency, &share, &[&revision]);
        Some(Panel {
            title: format!("Duration, P{percentile}"),
            description: "So many in a hundred requests of each revision are answered within this time.",
            shown: Shown::Lines("s"),
            width: 8,
            targets: vec![(expression, by_revision())],
        })
    };
    ["50", "95", "99"].into_iter().filter_map(panel).collect()
}

/// By kube-state-metrics, whose pods are told apart by their names: these begin with the revision's.
fn pods(subject: &Subject<'_>) -> Vec<Panel> {
    let revision = format!("{}-[bcdfghjklmnpqrstvwxz2-9]{{10}}", subject.service);
    let of = |name: &str, more: &[Matcher]| {
        let mut matchers = vec![
            Matcher::is("namespace", subject.namespace),
            Matcher::new("pod", Comparison::Matches, format!("{revision}-.+")),
        ];
        matchers.extend_from_slice(more);
        selector(name, &matchers)
    };
    let sum = |rates: String| {
        let pattern = quoted(&format!("({revision})-.+"));
        format!("sum by (revision) (label_replace({rates}, \"revision\", \"$1\", \"pod\", {pattern}))")
    };
    let ready = of("kube_pod_status_ready", &[Matcher::is("condition", "true")]);
    let restarts = of("kube_pod_container_status_restarts_total", &[]);
    let panel = |title: &str, expression| Panel {
        title: title.to_owned(),
        description: "By kube-state-metrics.",
        shown: Shown::Lines("short"),
        width: 12,
        targets: vec![(expression, "{{revision}}".to_owned())],
    };
    vec![
        panel("Pods ready", sum(ready)),
        panel(
            "Restarts in five minutes",
            sum(format!("increase({restarts}[5m])")),
        ),
    ]
}

fn budget(subject: &Subject<'_>, objective: &Objective) -> Option<Panel> {
    let allowed = Percentage::read(&objective.good_percent)?.rest().share();
    let sum = |record| {
        let rates = subject.of_indicator(record, &objective.name);
        format!("sum(sum_over_time({rates}[30d]))")
    };
    Some(Panel {
        title: format!("Error budget left: {}", objective.name),
        description: "Of what may be bad in 30 days, or in as many as are stored; below zero the objective is missed.",
        shown: Shown::Number("percentunit"),
        width: 6,
        targets: vec![(
            format!("1 - {} / ({} > 0) / {allowed}", sum(BAD_REQUESTS), sum(REQUESTS)),
            objective.name.clone(),
        )],
    })
}

/// The panels from left to right, row by row.
fn placed(panels: Vec<Panel>) -> Vec<Value> {
    let source = json!({"type": "prometheus", "uid": "${datasource}"});
    let (mut x, mut y) = (0, 0);
    let mut all = Vec::new();
    for (index, panel) in panels.into_iter().enumerate() {
        if x + panel.width > COLUMNS {
            (x, y) = (0, y + HEIGHT);
        }
        let (kind, unit) = match panel.shown {
            Shown::Lines(unit) => ("timeseries", unit),
            Shown::Number(unit) => ("stat", unit),
        };
        let targets: Vec<Value> = ('A'..='Z')
            .zip(panel.targets)
            .map(|(letter, (expression, legend))| {
                json!({
                    "refId": letter.to_string(),
                    "datasource": source,
                    "expr": expression,
                    "legendFormat": legend,
                })
            })
            .collect();
        all.push(json!({
            "id": index + 1,
            "title": panel.title,
            "description": panel.description,
            "type": kind,
            "datasource": source,
            "gridPos": {"x": x, "y": y, "w": panel.width, "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
            "targets": targets,
        }));
        x += panel.width;
    }
    all
}
