//! `simulate`: what was played, as lines with their time, and what came of it.

use super::page::{Line, Page, Span, Tone, columns, duration};
use crate::simulation::{Ending, Moment, Played, Requests, RevisionName, Subject};

/// The page.
pub fn timeline(played: &Played) -> Page {
    let mut lines = vec![Line(title(played))];
    lines.extend(columns(played.timeline.iter().map(line).collect()));
    lines.push(Line::default());
    lines.push(Line(vec![Span::new(
        tone(played.ending),
        format!("{}: {}", played.service, ending(played)),
    )]));
    lines.extend(requests(played).map(Line::plain));
    let remarks = played.remarks.iter();
    lines.extend(remarks.map(|remark| Line(vec![Span::new(Tone::Waiting, format!("note: {remark}"))])));
    Page(lines)
}

fn title(played: &Played) -> Vec<Span> {
    let of = |revision: &RevisionName| format!("{} ({})", revision.name, revision.image);
    let words = match &played.candidate {
        Some(candidate) => format!("{} goes out against {}", of(candidate), of(&played.stable)),
        None => format!("nothing goes out beside {}", of(&played.stable)),
    };
    vec![
        Span::new(Tone::Strong, &played.service),
        Span::plain(format!(": {words}; simulated, failure {}", played.failure)),
    ]
}

fn line(moment: &Moment) -> Vec<Span> {
    let tone = match moment.subject {
        Subject::Script => Tone::Strong,
        Subject::Normal => Tone::Good,
        Subject::Warning => Tone::Bad,
        Subject::Traffic => Tone::Dim,
        Subject::Step => Tone::Busy,
        Subject::Person => Tone::Waiting,
    };
    vec![
        Span::new(Tone::Dim, format!("{:>6}", duration(moment.second))),
        Span::new(tone, &moment.text),
    ]
}

fn tone(ending: Ending) -> Tone {
    match ending {
        Ending::Promoted => Tone::Good,
        Ending::RolledBack => Tone::Bad,
        Ending::Waiting | Ending::Endless => Tone::Waiting,
        Ending::Unchanged => Tone::Plain,
    }
}

fn ending(played: &Played) -> String {
    match played.ending {
        Ending::Promoted => match played.failed_at {
            Some(_) => "promoted, with what goes wrong in it".to_owned(),
            None => "promoted".to_owned(),
        },
        Ending::RolledBack => rolled_back(played),
        Ending::Waiting => format!("waits: {}", played.message),
        Ending::Unchanged => "the manifest asks for the pods that run already".to_owned(),
        Ending::Endless => format!(
            "still going on after {}: {}",
            duration(played.seconds),
            played.message
        ),
    }
}

fn rolled_back(played: &Played) -> String {
    let after = |at: Option<i64>| {
        let seconds = at? - played.failed_at?;
        Some(duration(seconds))
    };
    let decided = after(played.decided_at).map(|after| format!(", decided {after} after the failure began"));
    let returned =
        after(played.returned_at).map(|after| format!(", all requests on the stable revision after {after}"));
    format!(
        "rolled back{}{}",
        decided.unwrap_or_default(),
        returned.unwrap_or_default()
    )
}

fn requests(played: &Played) -> Option<String> {
    let Requests {
        all,
        failed,
        unserved,
    } = played.requests;
    // Counts of requests are far below 2^53.
    #[allow(clippy::cast_precision_loss)]
    let percent = failed as f64 * 100.0 / all.max(1) as f64;
    let unserved = match unserved {
        0 => String::new(),
        unserved => format!(", {unserved} of them because no pod was ready"),
    };
    (all > 0).then(|| {
        format!(
            "users: {failed} of {all} requests in {} failed ({percent:.2} %){unserved}",
            duration(played.seconds)
        )
    })
}
