//! docs/analysis-tables.md is what the judge does under simulated traffic. The same numbers come out each time: all random
//! numbers are drawn from fixed seeds.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::thread;

use microservice_operator::analysis::{Alpha, BadShare, Factor, Standard};

use crate::simulation::{
    BASE, Cell, Fault, NO_WORSE_THAN_STABLE, SHARES, TRAFFIC, clearings, delays, false_alarms,
    objective_alarms, shared_outage_alarms, tolerated_alarms,
};

const ROLLOUTS: u32 = 10_000;
const LOOKS: usize = 300;
const DELAY_ROLLOUTS: u32 = 100;
const PATIENCE: u32 = 600;

/// When this many are sure that the promise is kept, one in a hundred such tables would say so of a judge that breaks it.
const DOUBT: f64 = 0.01;

const INTRO: &str = "\
<!-- Made by tests/analysis/tables.rs: UPDATE_DOCS=1 cargo test --test analysis -->
# What the judge does, in numbers

Simulated traffic with a look each second and the default alpha of 1 %: each second each revision has a Poisson number of
requests, each of them bad at random. Shares are the candidate's part of the requests, base is the share of bad requests
while nothing is wrong.
";

const ALARMS_INTRO: &str = "\
## False alarms

Of 10,000 rollouts with 300 looks in which the candidate is as good as stable, so many were taken back by the comparison.
The promise is 100 at most, for any number of looks. The test asks for few enough (77 at most) to be 99 % sure, in each
cell, that the promise is kept.
";

const OUTAGE_INTRO: &str = "\
## A trouble that both revisions have

A dependency fails for 20 seconds in the middle: base 0.1 % before and after, the share in the table meanwhile, on both
revisions alike. They are not read at the same moment (each anywhere within the second), so that for a look one of them
seems to be alone in trouble. Of 1,000 rollouts so many were taken back by the comparison, and by the comparison together with an
objective of 99 %, which both revisions break. The statistics promise nothing here, because such a look compares different
times; what helps is that no look alone decides, and that nobody is blamed for what stable does too. The test allows 10.
";

const OBJECTIVE_INTRO: &str = "\
## Against an objective

Of 2,000 rollouts with 300 looks in which exactly as many of the candidate's requests are bad as the objective allows, so many
were taken back by it. The promise is 20 at most; the test asks for 9 at most, as above.
";

const CLEARING_INTRO: &str = "\
## Cleared early

Seconds until a candidate that is as good as stable is cleared of being twice, and five times, as bad, with the same alpha:
median / 95 %, of 100 rollouts; and of 1,000 rollouts in which the candidate is exactly twice as bad so many cleared it
within 300 seconds (10 would be within the promise). A dash: not within 600 seconds.
";

const DELAYS_INTRO: &str = "\
## How long it takes

Seconds from the look before the first bad request to the verdict: median / 95 %, of 100 rollouts. Twice and ten times are
the factors by which more requests of the candidate are bad, all means all of them. The first three columns are for a
candidate that is bad from its first request on, the other two for one that was as good as stable for two minutes. A dash:
not within 600 seconds. Where the base is low and traffic is thin there are hardly any bad requests to tell by: of 1 request a
second of which 0.01 % are bad, the first bad one comes after three hours.
";

/// Applies to all cells, side by side; the results come in the order of the cells.
fn each<T: Send>(cells: &[Cell], work: impl Fn(Cell) -> T + Sync) -> Vec<T> {
    let next = Mutex::new(cells.iter().copied().enumerate());
    let done = Mutex::new(Vec::new());
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let taken = next.lock().unwrap().next();
                    let Some((at, cell)) = taken else { break };
                    let result = work(cell);
                    done.lock().unwrap().push((at, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The most of `n` that leave no more than `doubt` that the probability exceeds `p`: were it p, so few or fewer would
/// come out with at most that probability (Clopper and Pearson).
fn most_without_doubt(n: u32, p: f64, doubt: f64) -> u32 {
    let mut term = f64::from(n) * (-p).ln_1p();
    let mut sum = term.exp();
    let mut k = 0;
    while sum <= doubt {
        term += (f64::from(n - k) / f64::from(k + 1)).ln() + p.ln() - (-p).ln_1p();
        sum += term.exp();
        k += 1;
    }
    k.saturating_sub(1)
}

#[test]
fn the_confidence_is_that_of_the_binomial_distribution() {
    // 77 or fewer come out with a probability of 0.97 %, 78 or fewer with 1.29 %.
    assert_eq!(most_without_doubt(10_000, 0.01, 0.01), 77);
    // Of ten fair coins: none with 0.1 %, one or none with 1.1 %.
    assert_eq!(most_without_doubt(10, 0.5, 0.01), 0);
}

fn percent(base: u32) -> String {
    format!("{} %", f64::from(base) / 100.0)
}

fn alarms_table(text: &mut String) {
    let cells = Cell::all();
    let alarms = each(&cells, |cell| false_alarms(cell, ROLLOUTS, LOOKS));
    let allowed = most_without_doubt(ROLLOUTS, Alpha::DEFAULT.get(), DOUBT);
    for (cell, alarms) in cells.iter().zip(&alarms) {
        assert!(
            *alarms <= allowed,
            "{cell:?}: {alarms} of {ROLLOUTS} are more than {allowed}"
        );
    }
    write!(text, "\n{ALARMS_INTRO}\n| requests/s | base |").unwrap();
    let header = |share: u32| format!(" share {share} % |");
    writeln!(text, "{}", SHARES.map(header).concat()).unwrap();
    writeln!(text, "|---|---|{}", "---|".repeat(SHARES.len())).unwrap();
    for (row, alarms) in cells.chunks(SHARES.len()).zip(alarms.chunks(SHARES.len())) {
        write!(text, "| {} | {} |", row[0].traffic, percent(row[0].base)).unwrap();
        for alarms in alarms {
            write!(text, " {alarms} |").unwrap();
        }
        text.push('\n');
    }
}

fn outage_table(text: &mut String) {
    let header = "| requests/s | share | 20 % bad | 50 % bad | all bad | 20 %, objective | 50 %, objective | all, objective |";
    writeln!(text, "\n{OUTAGE_INTRO}\n{header}\n|{}", "---|".repeat(8)).unwrap();
    let mut cells = Vec::new();
    for traffic in [10, 200] {
        cells.extend([5, 10, 50].map(|share| Cell {
            traffic,
            share,
            base: 10,
        }));
    }
    let both = Standard::Both {
        tolerated: Factor::ONE,
        allowed: BadShare::from_good_percent("99").unwrap(),
    };
    let rows = each(&cells, |cell| {
        [NO_WORSE_THAN_STABLE, both]
            .map(|standard| [0.2, 0.5, 1.0].map(|bad| shared_outage_alarms(cell, standard, bad, 1000)))
    });
    for (cell, row) in cells.iter().zip(rows) {
        write!(text, "| {} | {} % |", cell.traffic, cell.share).unwrap();
        for alarms in row.as_flattened() {
            assert!(*alarms <= 10, "{cell:?}: {row:?} of 1000");
            write!(text, " {alarms} |").unwrap();
        }
        text.push('\n');
    }
}

fn objective_table(text: &mut String) {
    const GOOD: [&str; 3] = ["99.9", "99", "95"];
    writeln!(
        text,
        "\n{OBJECTIVE_INTRO}\n| the candidate's requests/s | 99.9 % good | 99 % good | 95 % good |\n|---|---|---|---|"
    )
    .unwrap();
    let allowed = most_without_doubt(2000, Alpha::DEFAULT.get(), DOUBT);
    assert_eq!(allowed, 9);
    for requests in [1, 20] {
        let alarms = GOOD.map(|good| objective_alarms(requests, good, 2000, 300));
        assert!(alarms.iter().all(|n| *n <= allowed), "{requests}: {alarms:?}");
        let [strict, usual, loose] = alarms;
        writeln!(text, "| {requests} | {strict} | {usual} | {loose} |").unwrap();
    }
}

fn clearing_table(text: &mut String) {
    writeln!(
        text,
        "\n{CLEARING_INTRO}\n| requests/s | base | share | not twice | not five times | twice, and cleared |\n|{}",
        "---|".repeat(6)
    )
    .unwrap();
    let mut cells = Vec::new();
    for (traffic, base) in [(10, 100), (10, 500), (200, 10), (200, 100), (200, 500)] {
        cells.extend([10, 50].map(|share| Cell { traffic, share, base }));
    }
    let rows = each(&cells, |cell| {
        let as_good = [2.0, 5.0].map(|factor| spread(clearings(cell, factor, 1.0, PATIENCE, DELAY_ROLLOUTS)));
        let worse = clearings(cell, 2.0, 2.0, 300, 1000);
        (as_good, worse.iter().flatten().count())
    });
    for (cell, ([twice, five], wrong)) in cells.iter().zip(rows) {
        assert!(wrong <= 10, "{cell:?}: {wrong} of 1000");
        let base = percent(cell.base);
        writeln!(
            text,
            "| {} | {base} | {} % | {twice} | {five} | {wrong} |",
            cell.traffic, cell.share
        )
        .unwrap();
    }
}

/// Median and 95 %.
fn spread(mut delays: Vec<Option<u32>>) -> String {
    delays.sort_by_key(|delay| delay.unwrap_or(u32::MAX));
    let at = |percent: usize| {
        let delay = delays[(delays.len() - 1) * percent / 100];
        delay.map_or_else(|| "-".to_owned(), |delay| delay.to_string())
    };
    match (at(50), at(95)) {
        (median, _) if median == "-" => median,
        (median, most) => format!("{median} / {most}"),
    }
}

fn delays_table(text: &mut String) {
    const COLUMNS: [(Fault, u32); 5] = [
        (Fault::Times(2), 0),
        (Fault::Times(10), 0),
        (Fault::All, 0),
        (Fault::Times(10), 120),
        (Fault::All, 120),
    ];
    writeln!(
        text,
        "\n{DELAYS_INTRO}\n| requests/s | base | share | twice | ten times | all | ten times, later | all, later |\n|{}",
        "---|".repeat(8)
    )
    .unwrap();
    let cells = Cell::all();
    assert_eq!(cells.len(), TRAFFIC.len() * BASE.len() * SHARES.len());
    let rows = each(&cells, |cell| {
        COLUMNS.map(|(fault, fine)| spread(delays(cell, fault, fine, PATIENCE, DELAY_ROLLOUTS)))
    });
    for (cell, row) in cells.iter().zip(rows) {
        write!(
            text,
            "| {} | {} | {} % |",
            cell.traffic,
            percent(cell.base),
            cell.share
        )
        .unwrap();
        row.iter().for_each(|delay| write!(text, " {delay} |").unwrap());
        text.push('\n');
    }
}

#[test]
fn the_docs_have_the_tables_of_the_simulation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/analysis-tables.md");
    let mut wanted = INTRO.to_owned();
    alarms_table(&mut wanted);
    outage_table(&mut wanted);
    delays_table(&mut wanted);
    objective_table(&mut wanted);
    clearing_table(&mut wanted);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "docs/analysis-tables.md is not what the simulation gives: UPDATE_DOCS=1 cargo test --test analysis"
    );
}

#[test]
fn a_tenth_of_two_hundred_requests_all_bad_is_taken_back_in_under_five_seconds() {
    for base in BASE {
        let cell = Cell {
            traffic: 200,
            share: 10,
            base,
        };
        let slowest = delays(cell, Fault::All, 0, 20, 200)
            .into_iter()
            .max_by_key(|d| d.unwrap_or(u32::MAX));
        assert!(
            slowest.flatten().is_some_and(|seconds| seconds < 5),
            "{cell:?}: {slowest:?}"
        );
    }
}

#[test]
fn a_candidate_that_is_worse_by_what_is_tolerated_is_not_taken_back() {
    for tolerated in [2.0, 10.0] {
        for (traffic, base) in [(10, 500), (200, 100)] {
            let cell = Cell {
                traffic,
                share: 10,
                base,
            };
            let alarms = tolerated_alarms(cell, tolerated, 2000);
            assert!(alarms <= 20, "{cell:?}, {tolerated}: {alarms} of 2000");
        }
    }
}
