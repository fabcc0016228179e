//! docs/engine.md is the table of edges, as the code has it.

use std::fmt::Write as _;
use std::path::Path;

use microservice_operator::api::RolloutState;
use microservice_operator::rollout::{EDGES, Edge, EdgeRow};

const INTRO: &str = "\
<!-- Made by tests/engine/table.rs from src/rollout/edges.rs: UPDATE_DOCS=1 cargo test --test engine table -->
# The engine

The engine looks at one service (its Microservice with status, its children, its pods, the endpoints of its Service)
and decides what comes next. A decision is an *edge* between two states of `status.rollout.state`. It is written to the
status first, together with what made it; what follows from it is a function of the state, so that a crash in between
repeats the writes and never the decision. Of several edges that could be taken a person's word goes first, then a newer
spec, a verdict, a hold, the deadline, and at last going on. This is the whole table; a is the revision that the service
rests on (`status.stableRevision`), b the one that is tried out, c any other. Each decision is one line in the
operator's log, under the edge's name.
";

fn states(states: &[RolloutState]) -> String {
    states
        .iter()
        .map(|state| format!("{state:?}"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Two rows are also taken where there is no state.
fn left(row: &EdgeRow) -> String {
    match row.edge {
        Edge::Start | Edge::Adopt | Edge::Repair => format!("(no state), {}", states(row.from)),
        _ => states(row.from),
    }
}

fn rendered() -> String {
    let mut text =
        format!("{INTRO}\n| edge | from | when | to | then, in this order |\n|---|---|---|---|---|\n");
    for row in EDGES {
        let (from, to) = (left(&row), states(row.to));
        writeln!(
            text,
            "| {} | {from} | {} | {to} | {} |",
            row.edge.name(),
            row.when,
            row.then
        )
        .unwrap();
    }
    text
}

#[test]
fn the_docs_have_the_table_of_the_code() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engine.md");
    let wanted = rendered();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/engine.md is not the table: UPDATE_DOCS=1 cargo test --test engine table"
    );
}
