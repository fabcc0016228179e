//! `diff` and `plan`: what differs between specs, what of it makes pods anew, and how that would go out.

use serde::Serialize;

use super::page::{Line, Page, Span, Tone};
use super::reading::{self, Standing};
use crate::api::{Microservice, MicroserviceSpec, StrategyType, annotations};
use crate::render::{Companions, Identity, new_record};
use crate::revision::{Record, RecordedSnapshot, RevisionInput, differences, sources};

/// What is known of the content of tracked ConfigMaps and Secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum Tracked {
    /// All of it.
    Known(Companions),
    /// Some could not be read: why.
    Unknown(String),
}

/// What a spec would do to the pods of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "effect", content = "revision")]
pub enum Pods {
    /// Nothing: the stable revision is what it asks for.
    Kept,
    /// They are made anew: this revision goes out.
    Replaced(String),
    /// They are, but what the revision would be called is not known.
    ReplacedUnnamed,
    /// What is going out now is what it asks for.
    GoingOut(String),
    /// It asks for a revision that was rejected, which does not go out.
    Rejected(String),
    /// There are none yet.
    Made,
}

/// What of the revision differs between `record` and what `spec` asks for, a line each.
pub fn of_revision(record: &Record, spec: &MicroserviceSpec) -> Vec<String> {
    let before = serde_json::to_value(&record.data.input).unwrap_or_default();
    let after = serde_json::to_value(RevisionInput::of(spec)).unwrap_or_default();
    differences(&before, &after)
}

/// What would become of the pods.
pub fn pods(
    live: Option<&Microservice>,
    record: Option<&Record>,
    new: &Microservice,
    tracked: &Tracked,
) -> Pods {
    let (Some(live), Some(record)) = (live, record) else {
        return Pods::Made;
    };
    let companions = match tracked {
        Tracked::Known(companions) => companions,
        Tracked::Unknown(_) if of_revision(record, &new.spec).is_empty() => return Pods::Kept,
        Tracked::Unknown(_) => return Pods::ReplacedUnnamed,
    };
    let input = RevisionInput::of(&new.spec);
    let snapshots: Vec<RecordedSnapshot> = sources(&new.spec.revision)
        .into_keys()
        .map(|source| RecordedSnapshot {
            content: companions.content(&source),
            source,
        })
        .collect();
    let named = Microservice {
        metadata: live.metadata.clone(),
        ..new.clone()
    };
    let wanted = new_record(
        &Identity::of(&named, reading::namespace(live)),
        input,
        snapshots,
        0,
        1,
        0,
    );
    if wanted.data.base == record.data.base {
        return Pods::Kept;
    }
    let status = reading::status(live);
    let rejected = |name: &str| {
        let mut known = status.revisions.iter();
        known.any(|revision| revision.name == name && revision.rejected.is_some())
    };
    let going_out =
        matches!(reading::standing(live), Standing::UnderWay(_, candidate) if candidate == wanted.name);
    if going_out {
        Pods::GoingOut(wanted.name)
    } else if rejected(&wanted.name) {
        Pods::Rejected(wanted.name)
    } else {
        Pods::Replaced(wanted.name)
    }
}

/// The spec against the record of the stable revision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// The service.
    pub name: String,
    /// The stable revision.
    pub stable: String,
    /// What would become of the pods.
    pub pods: Pods,
    /// What differs, a line each.
    pub changes: Vec<String>,
    /// Why tracked content is not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

impl Difference {
    /// Compares.
    pub fn of(service: &Microservice, record: &Record, tracked: &Tracked) -> Self {
        let mut changes = of_revision(record, &service.spec);
        let pods = pods(Some(service), Some(record), service, tracked);
        match &pods {
            Pods::Replaced(name) | Pods::Rejected(name) | Pods::GoingOut(name) if changes.is_empty() => {
                changes.push(format!(
                    "content of tracked ConfigMaps or Secrets (revision {name})"
                ));
            }
            Pods::Kept
            | Pods::Replaced(_)
            | Pods::Rejected(_)
            | Pods::GoingOut(_)
            | Pods::ReplacedUnnamed
            | Pods::Made => {}
        }
        Self {
            name: reading::name(service).to_owned(),
            stable: record.name.clone(),
            pods,
            changes,
            unknown: tracked.unknown(),
        }
    }

    /// What `diff` says.
    pub fn page(&self) -> Page {
        let words = if self.changes.is_empty() {
            "the spec asks for what is the stable revision"
        } else {
            "the spec differs from the stable revision"
        };
        let mut page = vec![Line::plain(format!("{}: {words} {}", self.name, self.stable))];
        page.extend(self.changes.iter().map(changed));
        page.extend(self.unknown.as_deref().map(not_compared));
        Page(page)
    }
}

impl Tracked {
    fn unknown(&self) -> Option<String> {
        match self {
            Self::Known(_) => None,
            Self::Unknown(why) => Some(why.clone()),
        }
    }
}

fn not_compared(why: &str) -> Line {
    Line(vec![Span::new(
        Tone::Waiting,
        format!("  tracked content is not compared: {why}"),
    )])
}

fn changed(line: &String) -> Line {
    Line(vec![Span::new(Tone::Waiting, "  ~ "), Span::plain(line)])
}

/// A manifest against the service that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Planned {
    /// The namespace.
    pub namespace: String,
    /// The service.
    pub name: String,
    /// What would become of the pods.
    pub pods: Pods,
    /// How a revision would go out.
    pub strategy: String,
    /// What differs, by how it takes effect; none where there is no such service yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changes: Option<Changes>,
    /// What else decides when it goes out.
    pub notes: Vec<String>,
    /// Why tracked content is not compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// What differs between two specs, a line each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changes {
    /// What goes out as a revision.
    pub revision: Vec<String>,
    /// What is added at once, and removed when the rollout is over.
    pub exposure: Vec<String>,
    /// What applies at once.
    pub operation: Vec<String>,
}

impl Planned {
    /// Compares.
    pub fn of(
        live: Option<&Microservice>,
        record: Option<&Record>,
        new: &Microservice,
        tracked: &Tracked,
        namespace: &str,
    ) -> Self {
        let pods = pods(live, record, new, tracked);
        let strategy = new.spec.operation.strategy();
        let how = match strategy.strategy_type() {
            StrategyType::Canary => {
                let steps = strategy.canary.as_ref().map_or(0, |canary| canary.steps.len());
                format!("Canary, {steps} steps")
            }
            other => reading::strategy(other).to_owned(),
        };
        Self {
            namespace: namespace.to_owned(),
            name: reading::name(new).to_owned(),
            strategy: how,
            changes: live.map(|live| changes(live, new)),
            notes: live.map_or_else(Vec::new, |live| circumstances(live, &pods)),
            unknown: tracked.unknown(),
            pods,
        }
    }

    fn words(&self) -> (String, Tone) {
        let (name, how) = (&self.name, &self.strategy);
        match &self.pods {
            Pods::Made => ("would be made; no pod of it runs yet".to_owned(), Tone::Good),
            Pods::Kept => ("no pod would be made anew".to_owned(), Tone::Good),
            Pods::Replaced(revision) => (
                format!("pods would be made anew: revision {revision} would go out ({how})"),
                Tone::Waiting,
            ),
            Pods::GoingOut(revision) => (format!("revision {revision} is going out already"), Tone::Busy),
            Pods::ReplacedUnnamed => (format!("pods would be made anew ({how})"), Tone::Waiting),
            Pods::Rejected(revision) => (
                format!(
                    "revision {revision} was rejected and would not go out: kubectl microservice retry {name}"
                ),
                Tone::Bad,
            ),
        }
    }

    /// What `plan` says.
    pub fn page(&self) -> Page {
        let (words, tone) = self.words();
        let mut lines = vec![Line(vec![
            Span::new(Tone::Strong, format!("{}/{}", self.namespace, self.name)),
            Span::plain(": "),
            Span::new(tone, words),
        ])];
        lines.extend(self.unknown.as_deref().map(not_compared));
        let Some(changes) = &self.changes else {
            return Page(lines);
        };
        for (title, found) in [
            ("goes out as a revision:", &changes.revision),
            (
                "added at once, removed when the rollout is over:",
                &changes.exposure,
            ),
            ("applies at once:", &changes.operation),
        ] {
            if !found.is_empty() {
                lines.push(Line(vec![Span::new(Tone::Dim, format!("  {title}"))]));
                lines.extend(found.iter().map(changed));
            }
        }
        if lines.len() == 1 {
            lines.push(Line::plain("  nothing differs"));
        }
        let notes = self.notes.iter();
        lines.extend(notes.map(|words| Line(vec![Span::new(Tone::Waiting, format!("  note: {words}"))])));
        Page(lines)
    }
}

/// What differs, by how it takes effect.
fn changes(live: &Microservice, new: &Microservice) -> Changes {
    let json = |value: Result<serde_json::Value, serde_json::Error>| value.unwrap_or_default();
    let revision = |of: &Microservice| json(serde_json::to_value(&of.spec.revision));
    let exposure = |of: &Microservice| json(serde_json::to_value(&of.spec.exposure));
    let mut operation = new.spec.operation.clone();
    // The autoscaler's number is not in a manifest, and a manifest without it does not change it.
    if operation.autoscaling.is_some() && live.spec.operation.autoscaling.is_some() {
        operation.replicas = live.spec.operation.replicas;
    }
    let before = json(serde_json::to_value(&live.spec.operation));
    let after = json(serde_json::to_value(&operation));
    Changes {
        revision: differences(&revision(live), &revision(new)),
        exposure: differences(&exposure(live), &exposure(new)),
        operation: differences(&before, &after),
    }
}

/// What else decides when it goes out.
fn circumstances(live: &Microservice, outcome: &Pods) -> Vec<String> {
    match outcome {
        Pods::Replaced(_) | Pods::ReplacedUnnamed => {}
        Pods::Kept => return given_up(live).into_iter().collect(),
        Pods::GoingOut(_) | Pods::Rejected(_) | Pods::Made => return Vec::new(),
    }
    let mut notes = Vec::new();
    if live.spec.operation.suspend {
        notes.push("the service is suspended: it goes out when suspend is taken away".to_owned());
    }
    let all = live.metadata.annotations.as_ref();
    if let Some(words) = all.and_then(|all| all.get(annotations::FREEZE)) {
        notes.push(format!(
            "the service is frozen ({words}): it goes out when the freeze is lifted"
        ));
    }
    notes.extend(given_up(live));
    notes
}

/// A rollout that would end for it.
fn given_up(live: &Microservice) -> Option<String> {
    match reading::standing(live) {
        Standing::UnderWay(_, candidate) => Some(format!(
            "{candidate} is going out now and would be given up for it"
        )),
        Standing::Unknown
        | Standing::Starting(_)
        | Standing::Settled(_)
        | Standing::Held(..)
        | Standing::Returning(_) => None,
    }
}
