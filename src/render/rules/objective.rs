//! Objectives as alerts: how fast an error budget burns, by several windows.
//!
//! As in the Site Reliability Workbook, chapter 5 ("Alerting on SLOs", 6: multiwindow, multi-burn-rate alerts).

use serde_json::{Value, json};

use super::alert::{Notice, annotations};
use super::decimal::{Percentage, decimal};
use super::indicator::{BAD_REQUESTS, REQUESTS, Subject};
use super::promql::{Matcher, selector};
use crate::api::{Monitoring, Objective};

/// The windows over which shares of bad requests are recorded.
const WINDOWS: [&str; 7] = ["5m", "30m", "1h", "2h", "6h", "1d", "3d"];

/// The name of the alerts of objectives.
const ALERT: &str = "ErrorBudgetBurn";

/// When a budget burns too fast.
struct Burn {
    /// How many tenths of the rate at which the budget lasts just 30 days.
    tenths: u64,
    /// Over which window.
    long: &'static str,
    /// The same in words.
    words: &'static str,
    /// Over which one as well, so that the alert ends soon after the trouble.
    short: &'static str,
    severity: &'static str,
    /// How long the whole budget lasts at this rate.
    lasts: &'static str,
}

/// 2 % of the budget of 30 days in an hour, 5 % in six, 10 % in a day, 10 % in three.
const BURNS: [Burn; 4] = [
    Burn {
        tenths: 144,
        long: "1h",
        words: "hour",
        short: "5m",
        severity: "page",
        lasts: "50 hours",
    },
    Burn {
        tenths: 60,
        long: "6h",
        words: "6 hours",
        short: "30m",
        severity: "page",
        lasts: "5 days",
    },
    Burn {
        tenths: 30,
        long: "1d",
        words: "day",
        short: "2h",
        severity: "ticket",
        lasts: "10 days",
    },
    Burn {
        tenths: 10,
        long: "3d",
        words: "3 days",
        short: "6h",
        severity: "ticket",
        lasts: "30 days",
    },
];

fn ratio_name(window: &str) -> String {
    format!("microservice:bad_requests:ratio_rate{window}")
}

fn ratio(subject: &Subject<'_>, objective: &str, window: &str) -> String {
    let mut matchers = subject.recorded();
    matchers.push(Matcher::is("objective", objective));
    selector(&ratio_name(window), &matchers)
}

/// The share of bad requests over a window. Without a request there is none, rather than one that is not a number.
pub(in crate::render) fn share(subject: &Subject<'_>, indicator: &str, window: &str) -> String {
    let sum = |record| {
        let rates = subject.of_indicator(record, indicator);
        match window {
            "5m" => format!("sum({rates})"),
            window => format!("sum(sum_over_time({rates}[{window}]))"),
        }
    };
    format!("{} / ({} > 0)", sum(BAD_REQUESTS), sum(REQUESTS))
}

/// The shares of bad requests of an objective, recorded. Long windows are made from the rates of five minutes: the requests
/// of each moment count as often as those of any other, and days of raw samples are not read at each evaluation.
pub(super) fn recordings(subject: &Subject<'_>, objective: &Objective) -> Vec<Value> {
    let recorded = WINDOWS.iter().map(|window| {
        json!({
            "record": ratio_name(window),
            "expr": share(subject, &objective.name, window),
            "labels": {
                "namespace": subject.namespace,
                "microservice": subject.service,
                "objective": objective.name,
            },
        })
    });
    recorded.collect()
}

/// The alerts of an objective. Those that could not fire, because not even all requests burn its budget so fast, are left out.
pub(super) fn alerts(subject: &Subject<'_>, monitoring: &Monitoring, objective: &Objective) -> Vec<Value> {
    let Some(good) = Percentage::read(&objective.good_percent) else {
        return Vec::new();
    };
    let alert = |burn: &Burn| {
        let threshold = good.rest().share_of_tenths(burn.tenths)?;
        let over = |window| format!("{} > {threshold}", ratio(subject, &objective.name, window));
        let service = subject.service;
        let name = &objective.name;
        let factor = decimal(burn.tenths, 1);
        let notice = Notice {
            alert: ALERT,
            severity: burn.severity,
            summary: match burn.tenths {
                10 => format!("{service}: objective {name} will not be met"),
                _ => format!("{service}: the error budget of objective {name} burns {factor} times too fast"),
            },
            description: format!(
                "In the last {} {{{{ $value | humanizePercentage }}}} of the requests to {service} in namespace {} were bad, \
                 and objective {name} allows {} %. At {factor} times that the budget of 30 days lasts {}.",
                burn.words,
                subject.namespace,
                good.rest().words(),
                burn.lasts,
            ),
        };
        let mut labels = notice.labels(subject, monitoring);
        labels.insert("objective".to_owned(), name.clone());
        // Two may fire at a time: without it they would be one to who is told of them.
        labels.insert("window".to_owned(), burn.long.to_owned());
        Some(json!({
            "alert": ALERT,
            "expr": format!("{}\nand\n{}", over(burn.long), over(burn.short)),
            "labels": labels,
            "annotations": annotations(&notice, subject, monitoring),
        }))
    };
    BURNS.iter().filter_map(alert).collect()
}
