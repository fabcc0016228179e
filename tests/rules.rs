//! The rules of Prometheus that objectives and alerts become: promtool takes them, and each alert fires when it should
//! and only then.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use microservice_operator::analysis::built_in;
use microservice_operator::analysis::placeholders::Subject;
use microservice_operator::api::{BuiltInQuery, BuiltInValue, MetricsRouter};
use microservice_operator::render::{Child, ChildKind, Companions, offline};
use microservice_operator::validate;
use serde_json::{Value, json};
use support::Example;

/// Minutes between two scrapes and between two evaluations.
const STEP: u32 = 1;
const HOUR: u32 = 60;
const DAY: u32 = 24 * HOUR;

/// A service with these fields, as it is rendered.
fn children(fields: Value) -> Vec<Child> {
    let mut spec = json!({
        "image": "a:1",
        "ports": [{"name": "http", "containerPort": 8080}],
        "monitoring": {},
    });
    spec.as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    let document = json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {"name": "orders", "namespace": "shop"},
        "spec": spec,
    });
    let service = validate::microservice(&document).unwrap_or_else(|violations| panic!("{violations:#?}"));
    offline(&service, "shop", &Companions::default())
}

fn rule_of(children: &[Child]) -> Option<&Value> {
    let rule = children
        .iter()
        .find(|child| child.kind == ChildKind::PrometheusRule);
    rule.map(|child| &child.object["spec"])
}

/// The groups of rules of a service with these fields.
fn rules(fields: Value) -> Value {
    rule_of(&children(fields)).expect("there are rules").clone()
}

fn availability() -> Value {
    json!([{"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}}])
}

fn speed() -> Value {
    json!([{"name": "speed", "goodPercent": "99", "indicator": {"latency": {"thresholdMilliseconds": 250}}}])
}

// --- promtool

/// The one that `make promtool` builds, where it was, else that of the PATH.
fn promtool_binary() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/cluster/bin/promtool");
    if built.exists() {
        built
    } else {
        PathBuf::from("promtool")
    }
}

/// Runs promtool in a directory of its own, in which these files are.
fn promtool(test: &str, arguments: &[&str], files: &[(&str, &Value)]) -> Result<String, String> {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("rules")
        .join(test);
    std::fs::create_dir_all(&directory).unwrap();
    for (name, content) in files {
        // YAML is a superset of JSON.
        std::fs::write(directory.join(name), content.to_string()).unwrap();
    }
    let output = Command::new(promtool_binary())
        .args(arguments)
        .current_dir(&directory)
        .output()
        .unwrap_or_else(|error| {
            panic!("promtool cannot be run ({error}): `make promtool` builds it, or have one in the PATH")
        });
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    if output.status.success() {
        Ok(said)
    } else {
        Err(said)
    }
}

/// A series of a pod, by what it counts in each minute: so much for so many minutes, one after the other.
struct Series {
    selector: String,
    course: Vec<(f64, u32)>,
}

const TARGET: &str =
    r#"namespace="shop",app_kubernetes_io_instance="orders",pod="p",microservice_dev_revision="orders-a""#;

/// A counter of one of the pods; `labels` are the metric's own.
fn counter(name: &str, labels: &str, course: &[(f64, u32)]) -> Series {
    let separator = if labels.is_empty() { "" } else { "," };
    Series {
        selector: format!("{name}{{{TARGET}{separator}{labels}}}"),
        course: course.to_vec(),
    }
}

impl Series {
    /// The same of another revision.
    fn of_revision(mut self, revision: &str) -> Self {
        self.selector = self.selector.replace("orders-a", revision);
        self
    }

    fn in_promtools_words(&self) -> Value {
        let mut values = String::new();
        let mut at = 0.0;
        for (step, minutes) in &self.course {
            let _ = write!(values, "{at}+{step}x{} ", minutes - 1);
            at += step * f64::from(*minutes);
        }
        json!({"series": self.selector, "values": values.trim()})
    }
}

/// Requests of podinfo's histogram: in each minute `requests`, of which `bad` fail.
fn traffic(course: &[(f64, f64, u32)]) -> Vec<Series> {
    let name = "http_request_duration_seconds_count";
    let part = |part: fn(f64, f64) -> f64| -> Vec<(f64, u32)> {
        course
            .iter()
            .map(|(requests, bad, minutes)| (part(*requests, *bad), *minutes))
            .collect()
    };
    vec![
        counter(
            name,
            r#"path="orders",status="200""#,
            &part(|requests, bad| requests - bad),
        ),
        counter(name, r#"path="orders",status="500""#, &part(|_, bad| bad)),
    ]
}

/// What is asked at a minute, and each answer: labels and value.
struct Ask<'a> {
    minute: u32,
    expression: &'a str,
    answers: Vec<(String, f64)>,
}

/// What alerts fire at a minute, by severity and window (empty for alerts of one line).
fn firing<'a>(minute: u32, alerts: &[&str]) -> Ask<'a> {
    Ask {
        minute,
        expression: r#"sum by (alertname, severity, window) (ALERTS{alertstate="firing"})"#,
        answers: alerts
            .iter()
            .map(|labels| (format!("{{{labels}}}"), 1.0))
            .collect(),
    }
}

const FAST: &str = r#"alertname="ErrorBudgetBurn", severity="page", window="1h""#;
const SLOW: &str = r#"alertname="ErrorBudgetBurn", severity="page", window="6h""#;
const SLOWER: &str = r#"alertname="ErrorBudgetBurn", severity="ticket", window="1d""#;
const SLOWEST: &str = r#"alertname="ErrorBudgetBurn", severity="ticket", window="3d""#;

/// Lets promtool play the series against the rules.
fn played(test: &str, rules: &Value, series: &[Series], asked: &[Ask<'_>]) -> Result<String, String> {
    let expressions: Vec<Value> = asked
        .iter()
        .map(|ask| {
            let samples: Vec<Value> = ask
                .answers
                .iter()
                .map(|(labels, value)| json!({"labels": labels, "value": value}))
                .collect();
            json!({"expr": ask.expression, "eval_time": format!("{}m", ask.minute), "exp_samples": samples})
        })
        .collect();
    let tests = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": format!("{STEP}m"),
        "tests": [{
            "interval": format!("{STEP}m"),
            "input_series": series.iter().map(Series::in_promtools_words).collect::<Vec<_>>(),
            "promql_expr_test": expressions,
        }],
    });
    promtool(
        test,
        &["test", "rules", "tests.yaml"],
        &[("rules.yaml", rules), ("tests.yaml", &tests)],
    )
}

fn play(test: &str, rules: &Value, series: &[Series], asked: &[Ask<'_>]) {
    if let Err(said) = played(test, rules, series, asked) {
        panic!("{test}: {said}");
    }
}

#[test]
fn promtool_takes_the_rules_of_every_example_and_finds_no_rule_twice() {
    let mut checked = 0;
    for example in Example::all() {
        for (index, child) in example.children().iter().enumerate() {
            if child.kind == ChildKind::PrometheusRule {
                let test = format!("check-{}-{index}", example.name);
                let said = promtool(
                    &test,
                    &["check", "rules", "--lint-fatal", "rules.yaml"],
                    &[("rules.yaml", &child.object["spec"])],
                );
                assert!(
                    said.as_ref().is_ok_and(|said| said.contains("SUCCESS")),
                    "{said:?}"
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn a_broken_rule_would_be_found() {
    let mut broken = rules(json!({"objectives": availability()}));
    broken["groups"][0]["rules"][0]["expr"] = json!("sum(");
    let said = promtool(
        "broken",
        &["check", "rules", "rules.yaml"],
        &[("rules.yaml", &broken)],
    );
    assert!(said.is_err(), "{said:?}");
    let right = rules(json!({"objectives": availability()}));
    let said = played(
        "not-firing",
        &right,
        &traffic(&[(1000.0, 0.0, HOUR)]),
        &[firing(30, &[FAST])],
    );
    assert!(said.is_err(), "{said:?}");
}

// --- burn rates

/// A minute at which all windows of a steady course say the same.
const STEADY: u32 = 2 * HOUR;

#[test]
fn each_alert_of_an_objective_fires_above_its_burn_rate_and_not_below() {
    let rules = rules(json!({"objectives": availability()}));
    // Of 100,000 requests so many are bad, and 100 may be.
    for (bad, alerts) in [
        (1460.0, vec![FAST, SLOW, SLOWER, SLOWEST]),
        (1420.0, vec![SLOW, SLOWER, SLOWEST]),
        (610.0, vec![SLOW, SLOWER, SLOWEST]),
        (590.0, vec![SLOWER, SLOWEST]),
        (305.0, vec![SLOWER, SLOWEST]),
        (295.0, vec![SLOWEST]),
        (102.0, vec![SLOWEST]),
        (98.0, vec![]),
        (0.0, vec![]),
    ] {
        play(
            &format!("burn-{bad}"),
            &rules,
            &traffic(&[(100_000.0, bad, STEADY + 10)]),
            &[firing(STEADY, &alerts)],
        );
    }
}

#[test]
fn a_page_comes_soon_and_goes_soon_after_the_trouble() {
    let rules = rules(json!({"objectives": availability()}));
    // A day of peace, ten minutes in which 15 of a hundred requests fail, and peace again.
    let series = traffic(&[(600.0, 0.0, DAY), (600.0, 90.0, 10), (600.0, 0.0, HOUR)]);
    // Ten minutes are many among the requests of one day, which is all that the window of three days has.
    let pages = |minute, alerts: &[&str]| Ask {
        expression: r#"sum by (alertname, severity, window) (ALERTS{alertstate="firing", severity="page"})"#,
        ..firing(minute, alerts)
    };
    play(
        "outage",
        &rules,
        &series,
        &[
            pages(DAY - 1, &[]),
            // 0.9 % of the hour.
            pages(DAY + 6, &[]),
            pages(DAY + 11, &[FAST]),
            pages(DAY + 17, &[]),
            pages(DAY + 59, &[]),
        ],
    );
}

#[test]
fn a_slow_burn_is_a_ticket_until_its_short_window_is_clean() {
    let rules = rules(json!({"objectives": availability()}));
    // 1.5 times too fast for three days, then none for seven hours: six hours later the ticket is gone.
    let series = traffic(&[(10_000.0, 15.0, 3 * DAY), (10_000.0, 0.0, 7 * HOUR)]);
    play(
        "slow-burn",
        &rules,
        &series,
        &[
            firing(3 * DAY, &[SLOWEST]),
            firing(3 * DAY + HOUR, &[SLOWEST]),
            firing(3 * DAY + 6 * HOUR + 30, &[]),
        ],
    );
}

#[test]
fn a_hiccup_pages_nobody() {
    let rules = rules(json!({"objectives": availability()}));
    // Each fifth request of two minutes: 0.67 % of the hour.
    let series = traffic(&[(600.0, 0.0, DAY), (600.0, 120.0, 2), (600.0, 0.0, HOUR)]);
    play(
        "hiccup",
        &rules,
        &series,
        &[firing(DAY + 3, &[]), firing(DAY + 6, &[])],
    );
}

#[test]
fn without_traffic_nothing_fires_and_nothing_is_not_a_number() {
    let objectives = [availability()[0].clone(), speed()[0].clone()];
    let rules = rules(json!({
        "objectives": objectives,
        "monitoring": {"alerts": [
            {"name": "Errors", "errorsAbovePercent": "0"},
            {"name": "Slow", "latencyAboveMilliseconds": 1},
        ]},
    }));
    let bucket = |le: &str| {
        counter(
            "http_request_duration_seconds_bucket",
            &format!("le=\"{le}\""),
            &[(0.0, STEADY)],
        )
    };
    let mut idle = traffic(&[(0.0, 0.0, STEADY)]);
    idle.extend([bucket("0.25"), bucket("+Inf")]);
    // Only what is not a number is not equal to itself.
    let numbers = [
        "microservice:requests_by_status:rate5m",
        "microservice:request_duration_bucket:rate5m",
        "microservice:requests:rate5m",
        "microservice:bad_requests:rate5m",
    ]
    .map(|name| format!("{name} != {name}"));
    let nothing = |expression| Ask {
        minute: HOUR,
        expression,
        answers: vec![],
    };
    for (test, series) in [("idle", idle), ("absent", vec![])] {
        let mut asked = vec![
            firing(HOUR, &[]),
            nothing(r#"{__name__=~"microservice:bad_requests:ratio.+"}"#),
        ];
        asked.extend(numbers.iter().map(|expression| nothing(expression)));
        play(test, &rules, &series, &asked);
    }
}

#[test]
fn objectives_whose_budget_cannot_burn_so_fast_have_fewer_alerts() {
    let alerts = |good: &str| {
        let rules = rules(json!({
            "objectives": [{"name": "a", "goodPercent": good, "indicator": {"errors": {}}}],
        }));
        let rules = rules["groups"][0]["rules"].as_array().unwrap().clone();
        rules.iter().filter(|rule| rule["alert"].is_string()).count()
    };
    assert_eq!(
        [alerts("99.9"), alerts("90"), alerts("80"), alerts("1")],
        [4, 3, 2, 1]
    );
}

#[test]
fn what_an_alert_says() {
    let rules = rules(json!({
        "objectives": availability(),
        "monitoring": {
            "alertLabels": {"example.com/team": "checkout"},
            "runbookUrl": "https://runbooks.example/{{namespace}}/{{service}}#{{alert}}",
        },
    }));
    let series = traffic(&[(1000.0, 20.0, STEADY)]);
    let labels = json!({
        "namespace": "shop", "microservice": "orders", "objective": "availability", "severity": "page",
        "window": "1h", "example_com_team": "checkout",
    });
    let burns =
        |factor: &str| format!("the error budget of objective availability burns {factor} times too fast");
    let expected = [
        ("1h", "hour", "page", burns("14.4"), "14.4", "50 hours"),
        ("6h", "6 hours", "page", burns("6"), "6", "5 days"),
        ("1d", "day", "ticket", burns("3"), "3", "10 days"),
        ("3d", "3 days", "ticket", "objective availability will not be met".to_owned(), "1", "30 days"),
    ]
    .map(|(window, words, severity, summary, factor, lasts)| {
        let mut labels = labels.clone();
        labels["window"] = json!(window);
        labels["severity"] = json!(severity);
        json!({"exp_labels": labels, "exp_annotations": {
            "summary": format!("orders: {summary}"),
            "description": format!(
                "In the last {words} 2% of the requests to orders in namespace shop were bad, and objective availability \
                 allows 0.1 %. At {factor} times that the budget of 30 days lasts {lasts}."
            ),
            "runbook_url": "https://runbooks.example/shop/orders#ErrorBudgetBurn",
        }})
    });
    let series: Vec<Value> = series.iter().map(Series::in_promtools_words).collect();
    let tests = json!({
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "1m",
        "tests": [{
            "interval": "1m",
            "input_series": series,
            "alert_rule_test": [{"alertname": "ErrorBudgetBurn", "eval_time": "60m", "exp_alerts": expected}],
        }],
    });
    let said = promtool(
        "says",
        &["test", "rules", "tests.yaml"],
        &[("rules.yaml", &rules), ("tests.yaml", &tests)],
    );
    said.unwrap_or_else(|said| panic!("{said}"));
}

// --- indicators

/// What share of the last five minutes' requests an objective finds bad.
fn shares(test: &str, objectives: &Value, series: &[Series], share: Option<f64>) {
    let name = objectives[0]["name"].as_str().unwrap();
    let labels = format!(r#"{{microservice="orders", namespace="shop", objective="{name}"}}"#);
    let ask = Ask {
        minute: 30,
        // Rates are not exact.
        expression: "round(microservice:bad_requests:ratio_rate5m, 0.0001)",
        answers: share.into_iter().map(|share| (labels.clone(), share)).collect(),
    };
    play(test, &rules(json!({"objectives": objectives})), series, &[ask]);
}

#[test]
fn errors_are_told_by_each_of_the_usual_names() {
    let course = |step: f64| [(step, HOUR)];
    for (name, good, bad, probe) in [
        ("http_requests_total", r#"status="200""#, r#"status="500""#, None),
        (
            "http_requests_total",
            r#"code="404",handler="/orders""#,
            r#"code="503",handler="/orders""#,
            Some(r#"code="200",handler="/metrics""#),
        ),
        (
            "http_request_duration_seconds_count",
            r#"status_code="2xx",route="/orders/{id}""#,
            r#"status_code="5xx",route="/orders/{id}""#,
            Some(r#"status_code="2xx",route="GET /readyz""#),
        ),
        (
            "http_server_requests_seconds_count",
            r#"status="200",uri="/orders/{id}""#,
            r#"status="500",uri="/orders/{id}""#,
            Some(r#"status="200",uri="/actuator/health/liveness""#),
        ),
        (
            "http_server_request_duration_seconds_count",
            r#"http_response_status_code="200",http_route="/orders""#,
            r#"http_response_status_code="500",http_route="/orders""#,
            Some(r#"http_response_status_code="200",http_route="/healthz""#),
        ),
        (
            "grpc_server_handled_total",
            r#"grpc_code="NotFound",grpc_service="shop.v1.Cart""#,
            r#"grpc_code="Unavailable",grpc_service="shop.v1.Cart""#,
            Some(r#"grpc_code="OK",grpc_service="grpc.health.v1.Health""#),
        ),
        (
            "istio_requests_total",
            r#"response_code="200",grpc_response_status="",reporter="destination""#,
            r#"response_code="200",grpc_response_status="14",reporter="destination""#,
            Some(r#"response_code="500",grpc_response_status="",reporter="source""#),
        ),
    ] {
        let mut series = vec![
            counter(name, good, &course(90.0)),
            counter(name, bad, &course(10.0)),
        ];
        series.extend(probe.map(|labels| counter(name, labels, &course(1000.0))));
        shares(
            &format!("errors-{name}-{}", good.len()),
            &availability(),
            &series,
            Some(0.1),
        );
    }
}

#[test]
fn requests_that_several_names_tell_are_counted_once() {
    let course = |step: f64| [(step, HOUR)];
    // podinfo: the counter without paths counts probes as well.
    let series = [
        counter("http_requests_total", r#"status="200""#, &course(990.0)),
        counter("http_requests_total", r#"status="500""#, &course(10.0)),
        counter(
            "http_request_duration_seconds_count",
            r#"path="orders",status="200""#,
            &course(90.0),
        ),
        counter(
            "http_request_duration_seconds_count",
            r#"path="orders",status="500""#,
            &course(10.0),
        ),
        counter(
            "http_request_duration_seconds_count",
            r#"path="healthz",status="200""#,
            &course(900.0),
        ),
        // A library that nobody calls.
        counter(
            "grpc_server_handled_total",
            r#"grpc_code="OK",grpc_service="shop.v1.Cart""#,
            &course(0.0),
        ),
    ];
    shares("once", &availability(), &series, Some(0.1));
}

#[test]
fn revisions_that_count_in_different_ways_are_summed_up() {
    let course = |step: f64| [(step, HOUR)];
    let mut series = vec![
        counter("http_requests_total", r#"status="200""#, &course(100.0)),
        counter(
            "http_server_requests_seconds_count",
            r#"status="200",uri="/a""#,
            &course(60.0),
        )
        .of_revision("orders-b"),
        counter(
            "http_server_requests_seconds_count",
            r#"status="500",uri="/a""#,
            &course(40.0),
        )
        .of_revision("orders-b"),
    ];
    shares("two-ways", &availability(), &series, Some(0.2));
    // Of another service, of another namespace: not ours.
    series.truncate(1);
    let mut stranger = counter("http_requests_total", r#"status="500""#, &course(100.0));
    stranger.selector = stranger.selector.replace("\"orders\"", "\"orders-2\"");
    let mut abroad = counter("http_requests_total", r#"status="500""#, &course(100.0));
    abroad.selector = abroad.selector.replace("\"shop\"", "\"shop-2\"");
    series.extend([stranger, abroad]);
    shares("strangers", &availability(), &series, Some(0.0));
}

#[test]
fn errors_are_told_by_the_counter_that_a_user_names() {
    let course = |step: f64| [(step, HOUR)];
    let objective = json!([{"name": "orders", "goodPercent": "99", "indicator": {"errors": {"metric":
        {"name": "handled", "label": "endpoint", "badValues": ["fail.d", "timeout"]}}}}]);
    // Prometheus calls a label that it has itself otherwise.
    let series = [
        counter("handled_total", r#"exported_endpoint="done""#, &course(70.0)),
        counter("handled_total", r#"exported_endpoint="failed""#, &course(10.0)),
        counter("handled_total", r#"exported_endpoint="fail.d""#, &course(20.0)),
    ];
    shares("named-counter", &objective, &series, Some(0.2));
}

fn buckets(name: &str, bounds: &[(&str, f64)], labels: &str) -> Vec<Series> {
    bounds
        .iter()
        .map(|(le, step)| counter(name, &format!("le=\"{le}\"{labels}"), &[(*step, HOUR)]))
        .collect()
}

#[test]
fn slow_requests_are_told_by_the_next_bound_there_is() {
    for (test, bounds, value) in [
        (
            "exact",
            vec![("0.1", 50.0), ("0.25", 80.0), ("1", 90.0), ("+Inf", 100.0)],
            Some(0.2),
        ),
        (
            "above",
            vec![("0.1", 50.0), ("0.3", 90.0), ("1.0", 95.0), ("+Inf", 100.0)],
            Some(0.1),
        ),
        (
            "long",
            vec![("0.05", 50.0), ("10.0", 97.0), ("+Inf", 100.0)],
            Some(0.03),
        ),
        // Requests that are slow cannot be told: nothing is said.
        (
            "below",
            vec![("0.05", 50.0), ("0.1", 80.0), ("+Inf", 100.0)],
            None,
        ),
        ("idle", vec![("0.25", 0.0), ("+Inf", 0.0)], None),
    ] {
        let series = buckets("http_request_duration_seconds_bucket", &bounds, "");
        shares(&format!("slow-{test}"), &speed(), &series, value);
    }
    let istio = [("100", 50.0), ("250", 80.0), ("1000", 90.0), ("+Inf", 100.0)];
    let name = "istio_request_duration_milliseconds_bucket";
    let series = buckets(name, &istio, r#",reporter="destination""#);
    shares("slow-istio", &speed(), &series, Some(0.2));
    let named = json!([{"name": "speed", "goodPercent": "99", "indicator": {"latency": {"thresholdMilliseconds": 250,
        "metric": {"name": "handling_ms", "unit": "Milliseconds"}}}}]);
    shares(
        "slow-named",
        &named,
        &buckets("handling_ms_bucket", &istio, ""),
        Some(0.2),
    );
}

#[test]
fn queries_tell_what_they_are_asked() {
    let course = |step: f64| [(step, HOUR)];
    let objective = |good: &str| {
        json!([{"name": "orders", "goodPercent": "99", "indicator": {"queries": {
            "good": good,
            "total": "rate(orders_total{namespace=\"{{namespace}}\",service='{{service}}'}[5m]) # all",
        }}}])
    };
    let good = "rate(orders_total{namespace=\"{{namespace}}\",state=~\"do.{2}\"}[5m])";
    let orders = |state: &str, step: f64| Series {
        selector: format!(r#"orders_total{{namespace="shop",service="orders",state="{state}"}}"#),
        course: course(step).to_vec(),
    };
    shares(
        "queries",
        &objective(good),
        &[orders("done", 75.0), orders("lost", 25.0)],
        Some(0.25),
    );
    shares(
        "queries-all-bad",
        &objective(good),
        &[orders("lost", 25.0)],
        Some(1.0),
    );
    shares("queries-none", &objective(good), &[], None);
    shares("queries-idle", &objective(good), &[orders("done", 0.0)], None);
    shares(
        "queries-nan",
        &objective("vector(0) / 0"),
        &[orders("done", 75.0)],
        None,
    );
}

// --- alerts of one line

const ERRORS: &str = r#"alertname="TooManyErrors", severity="page""#;
const SLOW_ANSWERS: &str = r#"alertname="TooSlow", severity="ticket""#;

#[test]
fn more_than_one_percent_of_errors_for_five_minutes() {
    let rules =
        rules(json!({"monitoring": {"alerts": [{"name": "TooManyErrors", "errorsAbovePercent": "1"}]}}));
    for (bad, alerts) in [(11.0, vec![ERRORS]), (9.0, vec![])] {
        play(
            &format!("errors-above-{bad}"),
            &rules,
            &traffic(&[(1000.0, bad, HOUR)]),
            &[firing(3, &[]), firing(30, &alerts)],
        );
    }
    let series = traffic(&[(1000.0, 0.0, 30), (1000.0, 100.0, 20), (1000.0, 0.0, HOUR)]);
    play(
        "errors-recover",
        &rules,
        &series,
        &[
            firing(29, &[]),
            firing(34, &[]),
            firing(37, &[ERRORS]),
            firing(57, &[]),
        ],
    );
}

#[test]
fn answers_slower_than_a_threshold() {
    let rules = rules(json!({"monitoring": {"alerts": [{
        "name": "TooSlow", "latencyAboveMilliseconds": 500, "percentile": "95", "severity": "ticket", "forSeconds": 0,
    }]}}));
    for (quick, alerts) in [(94.0, vec![SLOW_ANSWERS]), (96.0, vec![])] {
        for (name, unit) in [
            ("http_request_duration_seconds_bucket", ["0.1", "0.5", "2.5"]),
            (
                "istio_request_duration_milliseconds_bucket",
                ["100", "500", "2500"],
            ),
        ] {
            let bounds = [
                (unit[0], 10.0),
                (unit[1], quick),
                (unit[2], 100.0),
                ("+Inf", 100.0),
            ];
            let series = buckets(name, &bounds, r#",reporter="destination""#);
            play(
                &format!("slow-{quick}-{name}"),
                &rules,
                &series,
                &[firing(20, &alerts)],
            );
        }
    }
}

// --- what there is, and when

#[test]
fn rules_are_made_where_something_asks_for_them() {
    let alert = json!([{"name": "A", "errorsAbovePercent": "1"}]);
    for (fields, expected) in [
        (json!({}), false),
        (json!({"objectives": availability()}), true),
        (json!({"objectives": availability(), "monitoring": null}), false),
        (
            json!({"objectives": availability(), "monitoring": {"objectiveAlerts": "Disabled"}}),
            false,
        ),
        (
            json!({"objectives": availability(), "monitoring": {"kind": "None"}}),
            false,
        ),
        (
            json!({"objectives": availability(), "monitoring": {"kind": "None", "objectiveAlerts": "Enabled"}}),
            true,
        ),
        (json!({"monitoring": {"alerts": alert}}), true),
        (json!({"monitoring": {"dashboard": {}}}), true),
    ] {
        assert_eq!(rule_of(&children(fields.clone())).is_some(), expected, "{fields}");
    }
}

#[test]
fn one_definition_is_recorded_once() {
    let rules = rules(json!({
        "objectives": availability(),
        "monitoring": {"alerts": [{"name": "A", "errorsAbovePercent": "1"}], "dashboard": {}},
    }));
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let recorded: Vec<&Value> = rules
        .iter()
        .filter(|rule| rule["record"] == "microservice:requests:rate5m")
        .map(|rule| &rule["labels"]["indicator"])
        .collect();
    assert_eq!(recorded, ["availability"]);
}

#[test]
fn the_dashboard_is_a_config_map_that_grafana_finds() {
    let children = children(json!({"objectives": availability(), "monitoring": {"dashboard": {}}}));
    let map = children
        .iter()
        .find(|child| child.kind == ChildKind::ConfigMap && child.name == "orders-dashboard")
        .unwrap();
    assert_eq!(map.object["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = map.object["data"]["shop-orders.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let titles: Vec<&str> = panels
        .iter()
        .map(|panel| panel["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        titles,
        [
            "Requests",
            "Share of requests",
            "Errors",
            "Duration, P50",
            "Duration, P95",
            "Duration, P99",
            "Pods ready",
            "Restarts in five minutes",
            "Error budget left: availability",
        ]
    );
    for (index, panel) in panels.iter().enumerate() {
        for other in &panels[..index] {
            let at = |panel: &Value, key: &str| panel["gridPos"][key].as_i64().unwrap();
            let apart = |low: &str, size: &str| {
                at(panel, low) >= at(other, low) + at(other, size)
                    || at(other, low) >= at(panel, low) + at(panel, size)
            };
            assert!(apart("x", "w") || apart("y", "h"), "{titles:?} {index}");
        }
    }
    // promtool has no word for a dashboard, but its expressions are PromQL as well.
    let expressions: Vec<Value> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .enumerate()
        .map(|(index, target)| json!({"record": format!("panel:{index}"), "expr": target["expr"]}))
        .collect();
    let rules = json!({"groups": [{"name": "panels", "rules": expressions}]});
    let said = promtool(
        "dashboard",
        &["check", "rules", "rules.yaml"],
        &[("rules.yaml", &rules)],
    );
    assert!(
        said.as_ref().is_ok_and(|said| said.contains("9 rules found")),
        "{said:?}"
    );
}

#[test]
fn what_the_dashboard_shows() {
    let fields = json!({"objectives": availability(), "monitoring": {"dashboard": {}}});
    let children = children(fields);
    let rules = rule_of(&children).unwrap();
    let map = children
        .iter()
        .find(|child| child.name == "orders-dashboard")
        .unwrap();
    let dashboard: Value =
        serde_json::from_str(map.object["data"]["shop-orders.json"].as_str().unwrap()).unwrap();
    let expression = |title: &str| {
        let mut panels = dashboard["panels"].as_array().unwrap().iter();
        let panel = panels.find(|panel| panel["title"] == title).unwrap();
        format!("round({}, 0.0001)", panel["targets"][0]["expr"].as_str().unwrap())
    };
    let name = "http_request_duration_seconds_count";
    let course = |step: f64| [(step, HOUR)];
    let mut series = vec![
        counter(name, r#"path="orders",status="200""#, &course(900.0)),
        counter(name, r#"path="orders",status="200""#, &course(50.0)).of_revision("orders-b"),
        counter(name, r#"path="orders",status="500""#, &course(50.0)).of_revision("orders-b"),
    ];
    for (revision, ready) in [("orders-v4j6ls9bhr", 2), ("orders-82m2wbf5tt", 1)] {
        for pod in 0..ready {
            series.push(Series {
                selector: format!(
                    r#"kube_pod_status_ready{{namespace="shop",pod="{revision}-5c6d{pod}-x",condition="true"}}"#
                ),
                course: vec![(0.0, 1), (0.0, HOUR)],
            });
        }
    }
    let of = |revision: &str| {
        format!(
            r#"{{microservice_dev_revision="{revision}", indicator="availability", namespace="shop", microservice="orders"}}"#
        )
    };
    let (a, b) = (of("orders-a"), of("orders-b"));
    let (share, errors, budget) = (
        expression("Share of requests"),
        expression("Errors"),
        expression("Error budget left: availability"),
    );
    let pods = format!("count by (revision) ({})", expression("Pods ready"));
    let ask = |expression, answers: Vec<(String, f64)>| Ask {
        minute: 30,
        expression,
        answers,
    };
    play(
        "dashboard-shows",
        rules,
        &series,
        &[
            ask(&share, vec![(a.clone(), 0.9), (b.clone(), 0.1)]),
            ask(&errors, vec![(a, 0.0), (b, 0.5)]),
            // Five in a hundred where one in a thousand may be: 50 budgets are spent.
            ask(&budget, vec![("{}".to_owned(), -49.0)]),
            ask(
                &pods,
                vec![
                    (r#"{revision="orders-v4j6ls9bhr"}"#.to_owned(), 1.0),
                    (r#"{revision="orders-82m2wbf5tt"}"#.to_owned(), 1.0),
                ],
            ),
        ],
    );
}

// --- queries that need not be written

#[test]
fn built_in_queries_are_about_the_revision_alone() {
    let subject = Subject {
        service: "orders",
        namespace: "shop",
        revision: "orders-b",
        stable: "orders-a",
    };
    let series = |selector: &str, step: f64| Series {
        selector: selector.to_owned(),
        course: vec![(step, 30)],
    };
    // Each router's series as its documentation shows them: 60 requests a minute of orders-b, 6 of them bad and half of
    // them faster than 100 ms; and many bad ones of orders-a.
    let traefik = |service: &str, code: &str| {
        format!(r#"traefik_service_requests_total{{code="{code}",method="GET",protocol="http",{service}}}"#)
    };
    let bucket = |name: &str, labels: &str, le: &str| format!(r#"{name}{{{labels},le="{le}"}}"#);
    let nginx = |canary: &str, status: &str| {
        format!(
            r#"nginx_ingress_controller_requests{{namespace="ingress",exported_namespace="shop",ingress="orders",service="orders-a",canary="{canary}",status="{status}"}}"#
        )
    };
    let istio = |workload: &str, reporter: &str, code: &str, grpc: &str| {
        format!(
            r#"istio_requests_total{{reporter="{reporter}",destination_workload="{workload}",destination_workload_namespace="shop",response_code="{code}",grpc_response_status="{grpc}"}}"#
        )
    };
    let traefik_b = r#"exported_service="shop-orders-b-http-80@kubernetesgateway""#;
    let traefik_a = r#"exported_service="shop-orders-a-http-80@kubernetesgateway""#;
    let all = [
        series(&traefik(traefik_b, "200"), 54.0),
        series(&traefik(traefik_b, "502"), 6.0),
        series(&traefik(traefik_a, "500"), 600.0),
        series(
            &bucket(
                "traefik_service_request_duration_seconds_bucket",
                traefik_b,
                "0.1",
            ),
            30.0,
        ),
        series(
            &bucket(
                "traefik_service_request_duration_seconds_bucket",
                traefik_b,
                "0.3",
            ),
            60.0,
        ),
        series(
            &bucket(
                "traefik_service_request_duration_seconds_bucket",
                traefik_b,
                "+Inf",
            ),
            60.0,
        ),
        series(&nginx("shop-orders-b-80", "200"), 54.0),
        series(&nginx("shop-orders-b-80", "500"), 6.0),
        series(&nginx("", "500"), 600.0),
        series(&istio("orders-b", "destination", "200", "0"), 54.0),
        series(&istio("orders-b", "destination", "200", "14"), 3.0),
        series(&istio("orders-b", "destination", "503", ""), 3.0),
        series(&istio("orders-b", "source", "503", ""), 600.0),
        series(&istio("orders-a", "destination", "503", ""), 600.0),
    ];
    let queries: Vec<(String, f64)> = [
        (MetricsRouter::Traefik, BuiltInValue::ErrorPercent, 10.0),
        (MetricsRouter::Traefik, BuiltInValue::RequestsPerSecond, 1.0),
        (MetricsRouter::Traefik, BuiltInValue::LatencyMilliseconds, 200.0),
        (MetricsRouter::IngressNginx, BuiltInValue::ErrorPercent, 10.0),
        (MetricsRouter::IngressNginx, BuiltInValue::RequestsPerSecond, 1.0),
        (MetricsRouter::Istio, BuiltInValue::ErrorPercent, 10.0),
        (MetricsRouter::Istio, BuiltInValue::RequestsPerSecond, 1.0),
    ]
    .into_iter()
    .map(|(router, value, expected)| {
        let wanted = BuiltInQuery {
            router,
            value,
            percentile: Some(75).filter(|_| value == BuiltInValue::LatencyMilliseconds),
            window_seconds: Some(300),
        };
        (built_in(&wanted, &subject), expected)
    })
    .collect();
    let asked: Vec<Ask<'_>> = queries
        .iter()
        .map(|(expression, expected)| Ask {
            minute: 20,
            expression,
            answers: vec![("{}".to_owned(), *expected)],
        })
        .collect();
    played("built-in", &json!({"groups": []}), &all, &asked).unwrap_or_else(|said| panic!("{said}"));
}
