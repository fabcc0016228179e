//! The operator's metrics, in the OpenMetrics text format.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use super::gauges::Gauges;
use super::labels::{PHASES, VERDICTS, phase_name, verdict_name};
use super::{
    NotificationResult, ReconcileResult, RollbackReason, RolloutOutcome, ScrapeResult, WriteResult, WriteVerb,
};
use crate::api::{CheckVerdict, Phase, ReturnCause};
use crate::leader::Standing;
use crate::notify::ChannelKind;

/// The prefix of all metrics but those of the process.
const PREFIX: &str = "microservice_operator";

/// Upper bounds of reconcile durations in seconds: a settled service takes less than a millisecond, one that writes
/// some round trips, and at 30 s requests time out.
const RECONCILE_SECONDS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 30.0,
];

/// Upper bounds of rollouts in seconds: from an exchange of a few pods to steps of hours that wait for people.
const ROLLOUT_SECONDS: [f64; 12] = [
    5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 14_400.0, 86_400.0, 604_800.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReconcileLabels {
    result: ReconcileResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: &'static str,
    verb: WriteVerb,
    result: WriteResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: RolloutOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: RollbackReason,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WeightLabels {
    namespace: String,
    service: String,
    role: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    namespace: String,
    service: String,
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabels {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScrapeLabels {
    result: ScrapeResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NotificationLabels {
    kind: &'static str,
    result: NotificationResult,
}

/// The operator's metrics. One per process, shared by reference.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_seconds: Histogram,
    writes: Family<WriteLabels, Counter>,
    rollouts: Family<OutcomeLabels, Counter>,
    rollout_seconds: Family<OutcomeLabels, Histogram, fn() -> Histogram>,
    rollbacks: Family<ReasonLabels, Counter>,
    microservices: Family<PhaseLabels, Gauge>,
    weights: Family<WeightLabels, Gauge>,
    checks: Family<CheckLabels, Gauge>,
    verdicts: Family<VerdictLabels, Counter>,
    watch_errors: Family<KindLabels, Counter>,
    scrapes: Family<ScrapeLabels, Counter>,
    notifications: Family<NotificationLabels, Counter>,
    queue_depth: Gauge,
    backoff: Gauge,
    leader: Gauge,
}

impl Metrics {
    /// New metrics of a process that started then.
    pub fn new(started: Timestamp) -> Self {
        let mut registry = Registry::default();
        describe_process(&mut registry, started);
        let own = registry.sub_registry_with_prefix(PREFIX);
        let metrics = Self {
            reconciles: register(own, "reconciles", "Reconciles by how they ended"),
            reconcile_seconds: reconcile_seconds(own),
            writes: register(own, "writes", "Writes to the API server"),
            rollouts: register(own, "rollouts", "Rollouts that ended, by outcome"),
            rollout_seconds: rollout_seconds(own),
            rollbacks: register(
                own,
                "rollbacks",
                "Rollouts that were taken back, by class of reason",
            ),
            microservices: register(own, "microservices", "Microservices by phase"),
            weights: register(
                own,
                "traffic_weight_percent",
                "Share of the traffic that the revision with that role has",
            ),
            checks: register(
                own,
                "checks",
                "Checks of the rollout that is under way or was taken back last, by verdict",
            ),
            verdicts: register(own, "check_verdicts", "Verdicts that checks have come to"),
            watch_errors: register(own, "watch_errors", "Errors of watches, by kind of object"),
            scrapes: register(own, "scrapes", "Scrapes of pods whose requests are judged"),
            notifications: register(
                own,
                "notifications",
                "Notifications by kind of receiver and what became of them",
            ),
            queue_depth: register(own, "queue_depth", "Microservices that wait to be reconciled"),
            backoff: register(
                own,
                "backoff_microservices",
                "Microservices that wait for their back-off after a failure",
            ),
            leader: register(own, "leader", "Whether this replica is the one that acts"),
            registry,
        };
        metrics.start_at_zero();
        metrics
    }

    /// A series that first appears with its first event hides that event from rate(): what is to come starts at 0.
    fn start_at_zero(&self) {
        for phase in PHASES {
            self.phase(phase);
        }
        for outcome in [
            RolloutOutcome::Promoted,
            RolloutOutcome::RolledBack,
            RolloutOutcome::Superseded,
        ] {
            drop(self.rollouts.get_or_create_owned(&OutcomeLabels { outcome }));
            drop(
                self.rollout_seconds
                    .get_or_create_owned(&OutcomeLabels { outcome }),
            );
        }
        for verdict in VERDICTS {
            let verdict = verdict_name(verdict);
            drop(self.verdicts.get_or_create_owned(&VerdictLabels { verdict }));
        }
        for result in [ScrapeResult::Success, ScrapeResult::Error] {
            drop(self.scrapes.get_or_create_owned(&ScrapeLabels { result }));
        }
        for result in [
            ReconcileResult::Success,
            ReconcileResult::Failure,
            ReconcileResult::Panic,
        ] {
            drop(self.reconciles.get_or_create_owned(&ReconcileLabels { result }));
        }
    }

    /// A reconcile ended.
    pub fn reconciled(&self, result: ReconcileResult, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { result }).inc();
        self.reconcile_seconds.observe(took.as_secs_f64());
    }

    /// The API server answered a write, or did not. `kind` is the kind of the object.
    pub fn wrote(&self, kind: &'static str, verb: WriteVerb, result: WriteResult) {
        self.writes
            .get_or_create(&WriteLabels { kind, verb, result })
            .inc();
    }

    /// A pod was asked for its metrics.
    pub fn scraped(&self, result: ScrapeResult) {
        self.scrapes.get_or_create(&ScrapeLabels { result }).inc();
    }

    /// Somebody was told, or was not.
    pub fn notified(&self, kind: ChannelKind, result: NotificationResult) {
        let kind = kind.name();
        self.notifications
            .get_or_create(&NotificationLabels { kind, result })
            .inc();
    }

    /// A rollout ended. None: when it began is not known.
    pub fn rollout_ended(&self, outcome: RolloutOutcome, took: Option<Duration>) {
        let labels = OutcomeLabels { outcome };
        self.rollouts.get_or_create(&labels).inc();
        if let Some(took) = took {
            self.rollout_seconds
                .get_or_create(&labels)
                .observe(took.as_secs_f64());
        }
    }

    /// A check has come to a verdict.
    pub fn judged(&self, verdict: CheckVerdict) {
        let verdict = verdict_name(verdict);
        self.verdicts.get_or_create(&VerdictLabels { verdict }).inc();
    }

    /// A rollout is being taken back.
    pub fn rollback_began(&self, cause: &ReturnCause) {
        self.rollbacks
            .get_or_create(&ReasonLabels {
                reason: RollbackReason::of(cause),
            })
            .inc();
    }

    /// What there is to show of a Microservice changed. [`Gauges::default`]: it was not there before, or is gone; no
    /// series of it stays then.
    pub fn service_changed(&self, namespace: &str, service: &str, before: &Gauges, after: &Gauges) {
        if before.phase != after.phase {
            if let Some(phase) = before.phase {
                self.phase(phase).dec();
            }
            if let Some(phase) = after.phase {
                self.phase(phase).inc();
            }
        }
        let labels = |role: &'static str| WeightLabels {
            namespace: namespace.to_owned(),
            service: service.to_owned(),
            role,
        };
        for role in before
            .weights
            .keys()
            .filter(|role| !after.weights.contains_key(role))
        {
            self.weights.remove(&labels(role.as_str()));
        }
        for (role, weight) in &after.weights {
            if before.weights.get(role) != Some(weight) {
                let series = self.weights.get_or_create_owned(&labels(role.as_str()));
                series.set(i64::from(*weight));
            }
        }
        for verdict in VERDICTS {
            let labels = CheckLabels {
                namespace: namespace.to_owned(),
                service: service.to_owned(),
                verdict: verdict_name(verdict),
            };
            match (before.checks(verdict), after.checks(verdict)) {
                (before, after) if before == after => {}
                (_, None) => drop(self.checks.remove(&labels)),
                (_, Some(count)) => {
                    self.checks.get_or_create_owned(&labels).set(gauge_value(count));
                }
            }
        }
    }

    /// A watch on objects of that kind failed.
    pub fn watch_failed(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabels { kind }).inc();
    }

    /// How many Microservices wait to be reconciled.
    pub fn set_queue_depth(&self, depth: usize) {
        self.queue_depth.set(gauge_value(depth));
    }

    /// How many Microservices wait for their back-off.
    pub fn set_backoff(&self, microservices: usize) {
        self.backoff.set(gauge_value(microservices));
    }

    /// Whether this process acts.
    pub fn stands(&self, standing: Standing) {
        self.leader.set(match standing {
            Standing::Leader => 1,
            Standing::Standby => 0,
        });
    }

    /// All of them in the OpenMetrics text format.
    ///
    /// # Errors
    /// Only if a metric cannot be written as text, which none of these does.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn phase(&self, phase: Phase) -> Gauge {
        self.microservices.get_or_create_owned(&PhaseLabels {
            phase: phase_name(phase),
        })
    }
}

/// Makes a metric and registers it; the encoder adds the full stop to its help and `_total` to a counter's name.
fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn reconcile_seconds(registry: &mut Registry) -> Histogram {
    let histogram = Histogram::new(RECONCILE_SECONDS);
    let help = "How long reconciles took, writes included";
    registry.register_with_unit("reconcile_duration", help, Unit::Seconds, histogram.clone());
    histogram
}

fn rollout_seconds(registry: &mut Registry) -> Family<OutcomeLabels, Histogram, fn() -> Histogram> {
    let family: Family<_, _, fn() -> Histogram> =
        Family::new_with_constructor(|| Histogram::new(ROLLOUT_SECONDS));
    let help = "How long rollouts took from their start to their end, by outcome";
    registry.register_with_unit("rollout_duration", help, Unit::Seconds, family.clone());
    family
}

fn describe_process(registry: &mut Registry, started: Timestamp) {
    let start_time: Gauge<f64, std::sync::atomic::AtomicU64> = Gauge::default();
    start_time.set(started.as_duration().as_secs_f64());
    registry.register_with_unit(
        "process_start_time",
        "When the process started, since the Unix epoch",
        Unit::Seconds,
        start_time,
    );
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry
        .sub_registry_with_prefix(PREFIX)
        .register("build", "What runs", build);
}

fn gauge_value(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::{Blame, Role};
    use crate::rollout::Untold;

    fn metrics() -> Metrics {
        Metrics::new("2026-01-01T00:00:00.5Z".parse().unwrap())
    }

    /// The lines about a metric, without its help.
    fn lines(metrics: &Metrics, name: &str) -> Vec<String> {
        let text = metrics.encode().unwrap();
        let mut lines: Vec<_> = text
            .lines()
            .filter(|l| l.starts_with(&format!("{PREFIX}_{name}")))
            .map(str::to_owned)
            .collect();
        lines.sort();
        lines
    }

    #[test]
    fn what_is_known_to_come_is_there_at_zero() {
        let fresh = metrics();
        assert_eq!(
            lines(&fresh, "microservices"),
            ["Degraded", "Healthy", "Paused", "Progressing", "Suspended"]
                .map(|phase| format!("microservice_operator_microservices{{phase=\"{phase}\"}} 0"))
        );
        assert_eq!(
            lines(&fresh, "rollouts_total"),
            ["Promoted", "RolledBack", "Superseded"]
                .map(|outcome| format!("microservice_operator_rollouts_total{{outcome=\"{outcome}\"}} 0"))
        );
        assert!(fresh.encode().unwrap().ends_with("# EOF\n"));
    }

    #[test]
    fn the_table_in_the_docs_names_each_metric_with_its_type() {
        let metrics = metrics();
        // Those that are not there before there is something to say.
        metrics.wrote("Deployment", WriteVerb::Apply, WriteResult::Accepted);
        metrics.watch_failed("Pod");
        metrics.notified(ChannelKind::Slack, NotificationResult::Delivered);
        metrics.rollback_began(&ReturnCause {
            blame: Blame::Person,
            reason: String::new(),
            message: String::new(),
        });
        let rolling = Gauges {
            weights: [(Role::Stable, 100)].into(),
            verdicts: vec![CheckVerdict::Passing],
            ..Gauges::default()
        };
        metrics.service_changed("shop", "web", &Gauges::default(), &rolling);
        let page = metrics.encode().unwrap();
        let told: BTreeSet<(String, String)> = page
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| {
                let name = name.strip_prefix(&format!("{PREFIX}_")).unwrap_or(name);
                let suffix = match kind {
                    "counter" => "_total",
                    "info" => "_info",
                    _ => "",
                };
                (format!("{name}{suffix}"), kind.to_owned())
            })
            .collect();
        let documented: BTreeSet<(String, String)> = include_str!("../../docs/metrics.md")
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
            .filter_map(|(name, rest)| Some((name.to_owned(), rest.split_once(" |")?.0.to_owned())))
            .collect();
        assert_eq!(told, documented, "left: /metrics, right: docs/metrics.md");
    }

    #[test]
    fn the_process_tells_its_version_and_start() {
        let text = metrics().encode().unwrap();
        let version = env!("CARGO_PKG_VERSION");
        assert!(
            text.contains(&format!(
                "\nmicroservice_operator_build_info{{version=\"{version}\"}} 1\n"
            )),
            "{text}"
        );
        assert!(
            text.contains("\nprocess_start_time_seconds 1767225600.5\n"),
            "{text}"
        );
    }

    #[test]
    fn reconciles_are_counted_and_timed() {
        let metrics = metrics();
        metrics.reconciled(ReconcileResult::Success, Duration::from_micros(700));
        metrics.reconciled(ReconcileResult::Success, Duration::from_secs(60));
        metrics.reconciled(ReconcileResult::Panic, Duration::from_secs(1));
        assert_eq!(
            lines(&metrics, "reconciles_total"),
            [("Failure", 0), ("Panic", 1), ("Success", 2)].map(|(result, n)| format!(
                "microservice_operator_reconciles_total{{result=\"{result}\"}} {n}"
            ))
        );
        let bucket = |le: &str, n: u64| {
            format!("microservice_operator_reconcile_duration_seconds_bucket{{le=\"{le}\"}} {n}")
        };
        let lines = lines(&metrics, "reconcile_duration_seconds");
        for line in [
            bucket("0.0005", 0),
            bucket("0.001", 1),
            bucket("2.5", 2),
            bucket("+Inf", 3),
        ] {
            assert!(lines.contains(&line), "{line} is not in {lines:?}");
        }
        assert!(lines.contains(&"microservice_operator_reconcile_duration_seconds_count 3".to_owned()));
    }

    #[test]
    fn writes_are_told_apart_by_kind_verb_and_result() {
        let metrics = metrics();
        metrics.wrote("Deployment", WriteVerb::Apply, WriteResult::Accepted);
        metrics.wrote("Deployment", WriteVerb::Apply, WriteResult::Accepted);
        metrics.wrote("Deployment", WriteVerb::Delete, WriteResult::of_status(Some(409)));
        assert_eq!(
            lines(&metrics, "writes_total"),
            [
                r#"microservice_operator_writes_total{kind="Deployment",verb="Apply",result="Accepted"} 2"#,
                r#"microservice_operator_writes_total{kind="Deployment",verb="Delete",result="Conflict"} 1"#,
            ]
        );
    }

    #[test]
    fn rollouts_and_rollbacks_are_counted() {
        let metrics = metrics();
        metrics.rollout_ended(RolloutOutcome::Interrupted, None);
        metrics.rollout_ended(RolloutOutcome::RolledBack, Some(Duration::from_secs(20)));
        let cause = |reason: &str| ReturnCause {
            blame: Blame::Candidate,
            reason: reason.into(),
            message: String::new(),
        };
        metrics.rollback_began(&cause("CrashLoopBackOff"));
        metrics.rollback_began(&cause("a reason that nobody has thought of"));
        assert!(
            lines(&metrics, "rollouts_total")
                .contains(&r#"microservice_operator_rollouts_total{outcome="Interrupted"} 1"#.to_owned())
        );
        let lasted = lines(&metrics, "rollout_duration_seconds");
        for line in [
            r#"microservice_operator_rollout_duration_seconds_bucket{le="15.0",outcome="RolledBack"} 0"#,
            r#"microservice_operator_rollout_duration_seconds_bucket{le="30.0",outcome="RolledBack"} 1"#,
            r#"microservice_operator_rollout_duration_seconds_sum{outcome="RolledBack"} 20.0"#,
            r#"microservice_operator_rollout_duration_seconds_count{outcome="Promoted"} 0"#,
        ] {
            assert!(
                lasted.iter().any(|found| found == line),
                "{line} is not in {lasted:?}"
            );
        }
        assert_eq!(
            lines(&metrics, "rollbacks_total"),
            ["Crash", "Other"]
                .map(|reason| format!("microservice_operator_rollbacks_total{{reason=\"{reason}\"}} 1"))
        );
    }

    #[test]
    fn notifications_are_told_apart_by_kind_and_result() {
        let metrics = metrics();
        metrics.notified(ChannelKind::WeCom, NotificationResult::Delivered);
        metrics.notified(ChannelKind::Slack, NotificationResult::of(Untold::Lost));
        assert_eq!(
            lines(&metrics, "notifications_total"),
            [
                r#"microservice_operator_notifications_total{kind="Slack",result="Lost"} 1"#,
                r#"microservice_operator_notifications_total{kind="WeCom",result="Delivered"} 1"#,
            ]
        );
    }

    #[test]
    fn services_move_between_phases() {
        let metrics = metrics();
        let none = Gauges::default();
        let gauges = |phase| Gauges {
            phase: Some(phase),
            ..Gauges::default()
        };
        metrics.service_changed("shop", "a", &none, &gauges(Phase::Progressing));
        metrics.service_changed("shop", "b", &none, &gauges(Phase::Progressing));
        metrics.service_changed("shop", "a", &gauges(Phase::Progressing), &gauges(Phase::Healthy));
        metrics.service_changed("shop", "b", &gauges(Phase::Progressing), &none);
        let count = |phase| metrics.phase(phase).get();
        assert_eq!(PHASES.map(count), [1, 0, 0, 0, 0]);
    }

    #[test]
    fn no_series_of_a_service_outlives_it() {
        let metrics = metrics();
        let rolling = Gauges {
            phase: Some(Phase::Progressing),
            weights: [(Role::Stable, 90), (Role::Candidate, 10)].into(),
            verdicts: vec![
                CheckVerdict::Passing,
                CheckVerdict::Inconclusive,
                CheckVerdict::Passing,
            ],
        };
        let rested = Gauges {
            phase: Some(Phase::Healthy),
            weights: [(Role::Stable, 100)].into(),
            verdicts: Vec::new(),
        };
        let of = |names: [&str; 2]| names.map(|name| lines(&metrics, name)).concat();
        let shown = || of(["checks", "traffic_weight_percent"]);
        let weight = |role: &str, percent: i32| {
            format!(
                r#"microservice_operator_traffic_weight_percent{{namespace="shop",service="web",role="{role}"}} {percent}"#
            )
        };
        let checks = |verdict: &str, count: usize| {
            format!(
                r#"microservice_operator_checks{{namespace="shop",service="web",verdict="{verdict}"}} {count}"#
            )
        };
        metrics.service_changed("shop", "web", &Gauges::default(), &rolling);
        assert_eq!(
            shown(),
            [
                checks("Failing", 0),
                checks("Inconclusive", 1),
                checks("Passing", 2),
                weight("Candidate", 10),
                weight("Stable", 90),
            ]
        );
        metrics.service_changed("shop", "web", &rolling, &rested);
        assert_eq!(shown(), [weight("Stable", 100)]);
        metrics.service_changed("shop", "web", &rested, &rolling);
        metrics.service_changed("shop", "web", &rolling, &Gauges::default());
        assert_eq!(shown(), [""; 0]);
    }

    #[test]
    fn verdicts_are_counted() {
        let metrics = metrics();
        metrics.judged(CheckVerdict::Failing);
        assert_eq!(
            lines(&metrics, "check_verdicts_total"),
            [("Failing", 1), ("Inconclusive", 0), ("Passing", 0)].map(|(verdict, count)| format!(
                "microservice_operator_check_verdicts_total{{verdict=\"{verdict}\"}} {count}"
            ))
        );
    }

    #[test]
    fn a_replica_says_whether_it_acts() {
        let metrics = metrics();
        assert_eq!(lines(&metrics, "leader"), ["microservice_operator_leader 0"]);
        metrics.stands(Standing::Leader);
        assert_eq!(lines(&metrics, "leader"), ["microservice_operator_leader 1"]);
        metrics.stands(Standing::Standby);
        assert_eq!(lines(&metrics, "leader"), ["microservice_operator_leader 0"]);
    }

    #[test]
    fn queue_backoff_and_watches_have_numbers() {
        let metrics = metrics();
        metrics.set_queue_depth(7);
        metrics.set_queue_depth(5);
        metrics.set_backoff(2);
        metrics.watch_failed("Pod");
        assert_eq!(
            lines(&metrics, "queue_depth"),
            ["microservice_operator_queue_depth 5"]
        );
        assert_eq!(
            lines(&metrics, "backoff"),
            ["microservice_operator_backoff_microservices 2"]
        );
        assert_eq!(
            lines(&metrics, "watch_errors_total"),
            [r#"microservice_operator_watch_errors_total{kind="Pod"} 1"#]
        );
    }
}
