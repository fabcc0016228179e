//! `list`: a service in a line.

use jiff::Timestamp;

use super::page::{Page, Span, Tone, columns, duration};
use super::reading::{self, Sight, Standing};
use super::tree::Detail;
use crate::api::Microservice;

/// Which namespaces are listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// One, which need not be told.
    One,
    /// All.
    All,
}

/// The table, sorted by namespace and name.
pub fn list(services: &[Microservice], reach: Reach, detail: Detail, now: Timestamp) -> Page {
    let mut services: Vec<&Microservice> = services.iter().collect();
    services.sort_by_key(|service| (reading::namespace(service), reading::name(service)));
    let mut head = Vec::new();
    if reach == Reach::All {
        head.push("NAMESPACE");
    }
    head.extend(["NAME", "PHASE", "READY", "STEP", "WEIGHT", "AGE", "IMAGE"]);
    if detail == Detail::Wide {
        head.extend(["STABLE", "CANDIDATE", "MESSAGE"]);
    }
    let mut rows = vec![head.into_iter().map(|word| Span::new(Tone::Dim, word)).collect()];
    rows.extend(
        services
            .into_iter()
            .map(|service| row(service, reach, detail, now)),
    );
    Page(columns(rows))
}

fn row(service: &Microservice, reach: Reach, detail: Detail, now: Timestamp) -> Vec<Span> {
    let status = reading::status(service);
    let mut cells = Vec::new();
    if reach == Reach::All {
        cells.push(Span::plain(reading::namespace(service)));
    }
    let phase = match reading::sight(service) {
        Sight::Current => Span::new(reading::phase_tone(status.phase), reading::phase(status.phase)),
        Sight::Behind(_) => Span::new(Tone::Waiting, "Unseen"),
    };
    let (step, weight) = match reading::standing(service) {
        Standing::UnderWay(rollout, _) => (
            match (rollout.step, rollout.of) {
                (Some(step), Some(of)) => format!("{step}/{of}"),
                _ => format!("{:?}", rollout.state),
            },
            format!("{} %", rollout.effective_weight),
        ),
        Standing::Returning(rollout) => ("Returning".to_owned(), format!("{} %", rollout.effective_weight)),
        Standing::Starting(_) => ("Starting".to_owned(), "-".to_owned()),
        Standing::Unknown | Standing::Settled(_) | Standing::Held(..) => ("-".to_owned(), "-".to_owned()),
    };
    let created = service.metadata.creation_timestamp.as_ref();
    let age = created.map_or(String::new(), |time| {
        duration(now.duration_since(time.0).as_secs())
    });
    cells.extend([
        Span::new(Tone::Strong, reading::name(service)),
        phase,
        Span::plain(status.ready.as_deref().unwrap_or("-")),
        Span::plain(step),
        Span::plain(weight),
        Span::plain(age),
        Span::plain(&service.spec.revision.image),
    ]);
    if detail == Detail::Wide {
        let rollout = status.rollout.as_ref();
        let candidate = rollout.and_then(|rollout| rollout.candidate.as_deref());
        cells.extend([
            Span::plain(status.stable_revision.as_deref().unwrap_or("-")),
            Span::plain(candidate.unwrap_or("-")),
            Span::plain(status.message.as_deref().unwrap_or_default()),
        ]);
    }
    cells
}
