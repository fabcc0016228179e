//! `history`: the rollouts that ended, and the revisions that can be returned to.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::page::{Line, Page, Span, Tone, columns, duration};
use super::reading;
use super::tree::Detail;
use crate::api::{HistoryEntry, Microservice, RevisionStatus, Role};

/// The page.
pub fn history(service: &Microservice, now: Timestamp, detail: Detail) -> Page {
    let status = reading::status(service);
    let head =
        |words: &[&str]| -> Vec<Span> { words.iter().map(|word| Span::new(Tone::Dim, word)).collect() };
    let mut rollouts = vec![head(&[
        "ROLLOUT", "REVISION", "OUTCOME", "ENDED", "TOOK", "IMAGE",
    ])];
    rollouts.extend(status.history.iter().map(|entry| rollout(entry, now)));
    let mut titles = head(&["REVISION", "ROLE", "REJECTED", "IMAGE", "CHANGES"]);
    if detail == Detail::Wide {
        titles.extend(head(&["RENDERED BY", "DIGESTS"]));
    }
    let mut revisions = vec![titles];
    revisions.extend(status.revisions.iter().map(|of| revision(of, detail)));
    let mut lines = columns(rollouts);
    lines.push(Line::default());
    lines.extend(columns(revisions));
    Page(lines)
}

fn rollout(entry: &HistoryEntry, now: Timestamp) -> Vec<Span> {
    let tone = if entry.outcome == "Promoted" {
        Tone::Good
    } else {
        Tone::Bad
    };
    let outcome = match &entry.reason {
        Some(reason) => format!("{} ({reason})", entry.outcome),
        None => entry.outcome.clone(),
    };
    let between = |from: &Option<Time>, to: Option<Timestamp>| match (from, to) {
        (Some(from), Some(to)) => duration(to.duration_since(from.0).as_secs()),
        _ => "-".to_owned(),
    };
    let ended = entry.ended_at.as_ref().map(|time| time.0);
    vec![
        Span::plain(entry.seq.to_string()),
        Span::plain(&entry.revision),
        Span::new(tone, outcome),
        Span::plain(format!("{} ago", between(&entry.ended_at, Some(now)))),
        Span::plain(between(&entry.started_at, ended)),
        Span::plain(&entry.image),
    ]
}

fn revision(revision: &RevisionStatus, detail: Detail) -> Vec<Span> {
    let rejected = revision.rejected.as_ref().map(|verdict| verdict.reason.as_str());
    let mut cells = vec![
        Span::plain(&revision.name),
        Span::plain(revision.role.map_or("-", Role::as_str)),
        Span::new(Tone::Bad, rejected.unwrap_or("-")),
        Span::plain(&revision.image),
        Span::new(Tone::Dim, revision.changes.as_deref().unwrap_or_default()),
    ];
    match detail {
        Detail::Usual => {}
        Detail::Wide => cells.extend([
            Span::plain(revision.rendered_by.as_deref().unwrap_or("-")),
            Span::new(Tone::Dim, revision.image_ids.join(" ")),
        ]),
    }
    cells
}
