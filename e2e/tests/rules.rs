//! The real prometheus-operator and a real Prometheus read what we make for them: monitors, rules and the dashboard's
//! queries; and alerts fire on real traffic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use e2e::environment::say;
use e2e::gateway::object;
use e2e::status::StatusExt;
use e2e::wait::{eventually, within};
use e2e::{Manifest, Scenario, misbehave, prometheus, scenario};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::{Value, json};

const MONITORING: &str = "monitoring.coreos.com/v1";

/// From an object to what Prometheus does with it: through its operator, a reload, and a few scrapes and evaluations.
const READ: Duration = Duration::from_secs(120);

fn service() -> Manifest {
    misbehave("web", "1.0.0").spec(json!({
        "replicas": 2,
        "monitoring": {
            "alerts": [
                {"name": "WebFails", "errorsAbovePercent": "1", "forSeconds": 4},
                {"name": "WebIsSlow", "latencyAboveMilliseconds": 250, "forSeconds": 4},
            ],
            "alertLabels": {"team": "checkout"},
            "runbookUrl": "https://runbooks.example/{{service}}#{{alert}}",
            "dashboard": {},
        },
        "objectives": [
            {"name": "availability", "goodPercent": "99.9", "indicator": {"errors": {}}},
            {"name": "speed", "goodPercent": "99", "indicator": {"latency": {"thresholdMilliseconds": 250}}},
        ],
    }))
}

async fn rule(s: &Scenario) -> DynamicObject {
    object(s, MONITORING, "PrometheusRule", "web").await.unwrap()
}

/// Waits until Prometheus has evaluated all rules that we made, and finds nothing wrong with any.
async fn assert_evaluated(s: &Scenario) -> usize {
    let made = rule(s).await;
    let names = |rules: &Value, name: fn(&Value) -> &Value| -> Vec<String> {
        let rules = rules.as_array().unwrap().iter();
        rules
            .map(|rule| name(rule).as_str().unwrap().to_owned())
            .collect()
    };
    let ours = names(
        &made.data["spec"]["groups"][0]["rules"],
        |rule| match &rule["record"] {
            Value::Null => &rule["alert"],
            name => name,
        },
    );
    within(READ, "Prometheus to evaluate the rules", async || {
        let groups = prometheus::groups(&made.uid().unwrap()).await?;
        let [group] = groups.as_slice() else {
            return Err(format!("{} groups", groups.len()));
        };
        assert_eq!(group["name"], "web");
        assert_eq!(names(&group["rules"], |rule| &rule["name"]), ours);
        for rule in group["rules"].as_array().unwrap() {
            assert!(
                rule["lastError"].as_str().unwrap_or_default().is_empty(),
                "{rule}"
            );
            // "unknown" before its first evaluation.
            if rule["health"] != "ok" {
                return Err(rule.to_string());
            }
        }
        Ok(())
    })
    .await;
    ours.len()
}

/// Waits until Prometheus has scraped the pods of the revision by our ServiceMonitor, each of them once.
async fn assert_scraped(s: &Scenario, revision: &str) {
    let pods: BTreeSet<String> = s
        .pods_of(revision)
        .await
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    within(READ, "Prometheus to scrape the pods", async || {
        let targets = prometheus::targets(&s.namespace, "web").await?;
        let said: Vec<(&Value, &Value)> = targets.iter().map(|t| (&t["labels"], &t["health"])).collect();
        let up = targets.iter().filter(|target| target["health"] == "up");
        let mut found: Vec<String> = up
            .filter(|target| target["labels"]["microservice_dev_revision"] == revision)
            .filter_map(|target| target["labels"]["pod"].as_str().map(str::to_owned))
            .collect();
        found.sort();
        if found.iter().eq(&pods) && targets.len() == pods.len() {
            Ok(())
        } else {
            Err(format!("{said:?}"))
        }
    })
    .await;
}

/// The alerts that fire for the service, by name, objective and window.
async fn firing(s: &Scenario) -> Result<BTreeMap<String, Value>, String> {
    let of_service = format!(
        r#"ALERTS{{alertstate="firing",namespace="{}",microservice="web"}}"#,
        s.namespace
    );
    let series = prometheus::query(&of_service).await?;
    let named = |series: Value| {
        let labels = series["metric"].clone();
        let words =
            ["alertname", "objective", "window"].map(|name| labels[name].as_str().unwrap_or_default());
        (words.join(" ").trim().to_owned(), labels)
    };
    Ok(series.into_iter().map(named).collect())
}

/// Waits until this fires. Answers its labels.
async fn fires(s: &Scenario, alert: &str) -> Value {
    within(READ, &format!("{alert} to fire"), async || {
        let firing = firing(s).await?;
        firing
            .get(alert)
            .cloned()
            .ok_or_else(|| format!("{:?}", firing.keys()))
    })
    .await
}

/// All pods of a revision do so from now on.
async fn tell(s: &Scenario, revision: &str, path: &str) {
    for pod in s.pods_of(revision).await {
        s.tell(&pod, path).await;
    }
}

#[test]
fn alerts_fire_on_bad_traffic_and_not_before() {
    scenario("rules-alerts").real_pods().run(async |s| {
        prometheus::start();
        let stable = s.deploy(&service()).await.stable().unwrap();
        let load = s.load("web").await;
        assert_scraped(s, &stable).await;
        let rules = assert_evaluated(s).await;

        let of = |record: &str, more: &str| {
            format!(r#"{record}{{namespace="{}",microservice="web",{more}}}"#, s.namespace)
        };
        // Requests are recorded, and of what is good nothing fires.
        let good = of("microservice:requests:rate5m", r#"indicator="availability""#);
        let rate = within(READ, "requests to be recorded", async || {
            let rate = prometheus::number(&format!("sum({good})")).await?;
            if rate > 1.0 { Ok(rate) } else { Err(rate.to_string()) }
        })
        .await;
        let by_revision = prometheus::query(&good).await.unwrap();
        assert!(
            by_revision
                .iter()
                .all(|series| series["metric"]["microservice_dev_revision"] == stable.as_str()),
            "{by_revision:?}"
        );
        for objective in ["availability", "speed"] {
            let share = of(
                "microservice:bad_requests:ratio_rate5m",
                &format!(r#"objective="{objective}""#),
            );
            let share = eventually("a share", async || prometheus::number(&share).await).await;
            // A busy machine may be late now and then, within the objective; what it answers is never an error.
            let most = if objective == "speed" { 0.01 } else { f64::EPSILON };
            assert!(share.abs() < most, "{objective}: {share}");
        }
        assert_eq!(firing(s).await.unwrap(), BTreeMap::new());

        let began = Instant::now();
        tell(s, &stable, "/errors?percent=30").await;
        let line = fires(s, "WebFails").await;
        let line_after = began.elapsed();
        assert_eq!((&line["team"], &line["severity"]), (&json!("checkout"), &json!("page")));
        fires(s, "ErrorBudgetBurn availability 1h").await;
        let burn_after = began.elapsed();
        fires(s, "ErrorBudgetBurn availability 6h").await;
        // Errors are no slowness.
        let names: Vec<String> = firing(s).await.unwrap().into_keys().collect();
        assert!(
            names.iter().all(|name| !name.contains("speed") && name != "WebIsSlow"),
            "{names:?}"
        );

        // What is recorded is what the pods count.
        let counted = format!(
            r#"sum(rate(http_requests_total{{namespace="{0}",code=~"5.."}}[5m])) / sum(rate(http_requests_total{{namespace="{0}"}}[5m]))"#,
            s.namespace
        );
        let share = of("microservice:bad_requests:ratio_rate5m", r#"objective="availability""#);
        let (recorded, counted) = eventually("the recorded share to be the counted one", async || {
            let seen = (prometheus::number(&share).await?, prometheus::number(&counted).await?);
            if seen.0 > 0.1 && (seen.0 - seen.1).abs() < 0.02 {
                Ok(seen)
            } else {
                Err(format!("{seen:?}"))
            }
        })
        .await;

        let began = Instant::now();
        tell(s, &stable, "/errors?percent=0").await;
        tell(s, &stable, "/delay?ms=400").await;
        fires(s, "WebIsSlow").await;
        fires(s, "ErrorBudgetBurn speed 6h").await;
        say(&format!(
            "measured: {}: {rules} rules healthy, {rate:.0} requests a second recorded; WebFails fires {:.1} s after 30 % of \
             the requests fail, ErrorBudgetBurn over 1h after {:.1} s, both of slowness after {:.1} s; share of bad requests \
             recorded {recorded:.4}, counted {counted:.4}",
            s.name,
            line_after.as_secs_f64(),
            burn_after.as_secs_f64(),
            began.elapsed().as_secs_f64(),
        ));
        load.stop();
    });
}

#[test]
fn the_dashboard_asks_what_prometheus_can_answer_and_all_goes_with_monitoring() {
    scenario("rules-dashboard").real_pods().run(async |s| {
        prometheus::start();
        let owner = s.deploy(&service()).await;
        let stable = owner.stable().unwrap();
        let load = s.load("web").await;
        assert_scraped(s, &stable).await;
        assert_evaluated(s).await;
        let uid = rule(s).await.uid().unwrap();

        let map: ConfigMap = s.get("web-dashboard").await;
        assert_eq!(map.labels()["grafana_dashboard"], "1");
        let text = &map.data.unwrap()[&format!("{}-web.json", s.namespace)];
        let dashboard: Value = serde_json::from_str(text).unwrap();
        let panels = dashboard["panels"].as_array().unwrap();
        let mut asked = 0;
        for panel in panels {
            for target in panel["targets"].as_array().unwrap() {
                let expression = target["expr"].as_str().unwrap();
                let title = panel["title"].as_str().unwrap();
                asked += 1;
                // No kube-state-metrics runs here.
                if expression.contains("kube_pod_") {
                    prometheus::query(expression).await.unwrap();
                    continue;
                }
                within(READ, &format!("{title} to have something to show"), async || {
                    let series = prometheus::query(expression).await?;
                    if series.is_empty() {
                        Err("nothing".to_owned())
                    } else {
                        Ok(())
                    }
                })
                .await;
            }
        }
        assert!(asked >= 10, "{asked}");
        say(&format!(
            "measured: {}: Prometheus takes all {asked} queries of the dashboard",
            s.name
        ));

        s.deploy(&service().spec(json!({"monitoring": null}))).await;
        for kind in ["ServiceMonitor", "PrometheusRule"] {
            eventually(&format!("the {kind} to go"), async || {
                match object(s, MONITORING, kind, "web").await {
                    Err(words) if words.contains("NotFound") || words.contains("not found") => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
        }
        s.gone::<ConfigMap>("web-dashboard").await;
        within(READ, "Prometheus to forget it", async || {
            let left = (
                prometheus::groups(&uid).await?.len(),
                prometheus::targets(&s.namespace, "web").await?.len(),
            );
            if left == (0, 0) {
                Ok(())
            } else {
                Err(format!("{left:?} groups and targets"))
            }
        })
        .await;
        load.stop().assert_spotless();
    });
}

#[test]
fn a_query_that_is_no_promql_is_refused_by_the_prometheus_operator_and_harms_nobody_else() {
    scenario("rules-refused").real_pods().run(async |s| {
        prometheus::start();
        let broken = misbehave("broken", "1.0.0").spec(json!({
            "monitoring": {},
            "objectives": [{"name": "settled", "goodPercent": "99", "indicator": {"queries": {"good": "sum(", "total": "1"}}}],
        }));
        s.apply(&broken).await;
        let event = eventually("the prometheus-operator to refuse the rule", async || {
            let refused = ["get", "events", "-o", "json", "--field-selector", "involvedObject.kind=PrometheusRule"];
            let events: Value = serde_json::from_str(&s.kubectl(&refused).ok()).unwrap();
            let events = events["items"].as_array().cloned().unwrap_or_default();
            let of_ours = |event: &&Value| event["involvedObject"]["name"] == "broken";
            events.iter().find(of_ours).cloned().ok_or("no event".to_owned())
        })
        .await;
        assert_eq!(event["type"], "Warning", "{event}");
        let uid = object(s, MONITORING, "PrometheusRule", "broken").await.unwrap().uid().unwrap();
        s.deploy(&service()).await;
        assert_evaluated(s).await;
        assert!(prometheus::groups(&uid).await.unwrap().is_empty());
        say(&format!("{}: {}: {}", s.name, event["reason"], event["message"]));
    });
}
