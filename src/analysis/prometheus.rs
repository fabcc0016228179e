//! Prometheus as the way to the pods' own counters: the samples are those that the pods expose, as Prometheus last
//! scraped them, so that all that is known of reading and judging them holds here as well.
//!
//! One instant query a look asks for them: <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>.
//! It asks for the raw counters and not for a rate, which would be an estimate, and would lose what a pod counted between
//! its start and its first scrape.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Deserialize;
use serde::de::IgnoredAny;
use thiserror::Error;

use super::Sample;
use super::conventions::{Family, Names};

/// The metric that Prometheus makes of each of its scrapes: 1 where it succeeded.
const UP: &str = "up";

/// What Prometheus and its operator attach to the samples of a target. A label of the service's own with one of these
/// names comes back as `exported_NAME`.
const TARGET_LABELS: [&str; 7] = [
    "namespace",
    "pod",
    "service",
    "endpoint",
    "container",
    "instance",
    "job",
];

/// What tells one scrape of a pod from another: two monitors, or two Prometheus behind one address, may both scrape it.
const SCRAPE_LABELS: [&str; 6] = [
    "job",
    "instance",
    "endpoint",
    "container",
    "service",
    "prometheus_replica",
];

/// The label that we give the times of scrapes, which have no name.
const SCRAPED: &str = "microservice_dev_scraped";

/// What a label's name is given where the target has one of that name.
const EXPORTED: &str = "exported_";

/// The query for all samples of `names` that the pods of a namespace exposed, and for whether and when they were scraped.
pub fn query<'a>(
    namespace: &str,
    pods: impl IntoIterator<Item = &'a str>,
    names: impl IntoIterator<Item = &'a Names>,
) -> String {
    let mut metrics: BTreeSet<String> = names
        .into_iter()
        .flat_map(Family::of)
        .flat_map(|family| family.sample_names().map(str::to_owned).collect::<Vec<_>>())
        .collect();
    metrics.insert(UP.to_owned());
    let metrics = any_of(metrics.iter().map(String::as_str));
    let pods = any_of(pods);
    let of_pods = format!("namespace={},pod=~{}", quoted(namespace), quoted(&pods));
    format!(
        "{{__name__=~{},{of_pods}}} or label_replace(timestamp({UP}{{{of_pods}}}),\"{SCRAPED}\",\"at\",\"\",\"\")",
        quoted(&metrics)
    )
}

/// A regular expression (RE2, which Prometheus anchors) for any of these, letter for letter.
fn any_of<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut pattern = String::new();
    for text in texts {
        if !pattern.is_empty() {
            pattern.push('|');
        }
        pattern.push_str(&literally(text));
    }
    pattern
}

/// A regular expression for this text, letter for letter.
pub(super) fn literally(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii_punctuation() && letter != '_' {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern
}

/// A string of PromQL.
pub fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted.push_str("\\n"),
            letter if letter.is_control() => {
                // Writing to a String does not fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// Why an answer says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unanswered {
    /// It is not what the API answers.
    #[error("the answer is none of Prometheus' API: {0}")]
    NotTheApi(String),
    /// Prometheus says that it failed.
    #[error("{kind}: {words}")]
    Failed {
        /// Its word for the kind of error.
        kind: String,
        /// Its words.
        words: String,
    },
}

/// What Prometheus knows of some pods.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scraped {
    pods: BTreeMap<String, BTreeMap<ScrapeKey, PodSeries>>,
    age: Option<f64>,
}

/// The values of [`SCRAPE_LABELS`].
type ScrapeKey = [String; SCRAPE_LABELS.len()];

#[derive(Clone, Debug, Default, PartialEq)]
struct PodSeries {
    up: bool,
    samples: Vec<Sample<'static>>,
}

impl Scraped {
    /// Reads an answer to [`query`].
    ///
    /// # Errors
    /// Where it is none, or says that the query failed.
    pub fn read(body: &[u8]) -> Result<Self, Unanswered> {
        let mut scraped = Self::default();
        for series in vector(body)? {
            let mut metric = series.metric;
            let Some(pod) = metric.remove("pod") else { continue };
            if metric.contains_key(SCRAPED) {
                let age = series.at - series.value;
                scraped.age = Some(scraped.age.map_or(age, |known| known.min(age)));
                continue;
            }
            let scrape = SCRAPE_LABELS.map(|label| metric.get(label).cloned().unwrap_or_default());
            let pod = scraped.pods.entry(pod).or_default().entry(scrape).or_default();
            match metric.remove("__name__") {
                Some(name) if name == UP => pod.up |= series.value > 0.0,
                Some(name) => pod.samples.push(Sample {
                    name: Cow::Owned(name),
                    labels: own_labels(metric),
                    value: series.value,
                }),
                None => {}
            }
        }
        Ok(scraped)
    }

    /// The samples of a pod, of one scrape where several have it: of `port` if there is one. `None` where Prometheus has
    /// not scraped it.
    pub fn of(&self, pod: &str, port: u16) -> Option<&[Sample<'static>]> {
        let up = || {
            self.pods
                .get(pod)
                .into_iter()
                .flatten()
                .filter(|(_, series)| series.up)
        };
        let port = format!(":{port}");
        let of_port = up().find(|([_, instance, ..], _)| instance.ends_with(&port));
        let (_, series) = of_port.or_else(|| up().next())?;
        Some(&series.samples)
    }

    /// How long ago Prometheus last scraped any of the pods, in seconds by its own clock.
    pub fn age(&self) -> Option<f64> {
        self.age
    }
}

/// The labels that the service gave, by the names that it gave them.
fn own_labels(metric: BTreeMap<String, String>) -> Vec<(Cow<'static, str>, Cow<'static, str>)> {
    metric
        .into_iter()
        .filter(|(label, _)| !TARGET_LABELS.contains(&label.as_str()))
        .map(|(label, value)| {
            let own = label
                .strip_prefix(EXPORTED)
                .filter(|own| TARGET_LABELS.contains(own))
                .map(str::to_owned);
            (Cow::Owned(own.unwrap_or(label)), Cow::Owned(value))
        })
        .collect()
}

/// One series of an instant vector.
#[derive(Debug)]
struct Series {
    /// Its labels, with the name as `__name__`.
    metric: BTreeMap<String, String>,
    /// May be NaN or infinite.
    value: f64,
    /// When it was asked for, in seconds since 1970.
    at: f64,
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    #[serde(default)]
    data: Option<Data>,
    #[serde(default, rename = "errorType")]
    error_type: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
enum Data {
    Vector(Vec<RawSeries>),
    Scalar((f64, String)),
    Matrix(Vec<RawRange>),
    String(IgnoredAny),
}

#[derive(Deserialize)]
struct RawSeries {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

#[derive(Deserialize)]
struct RawRange {
    values: Vec<(f64, String)>,
}

fn data(body: &[u8]) -> Result<Data, Unanswered> {
    let answer: Answer = serde_json::from_slice(body).map_err(|error| not_the_api(&error.to_string()))?;
    if answer.status != "success" {
        return Err(Unanswered::Failed {
            kind: answer.error_type,
            words: answer.error,
        });
    }
    answer.data.ok_or_else(|| not_the_api("it has no data"))
}

fn not_the_api(why: &str) -> Unanswered {
    Unanswered::NotTheApi(why.to_owned())
}

fn number(text: &str) -> Result<f64, Unanswered> {
    text.parse().map_err(|_| not_the_api("a value is not a number"))
}

/// The series of an answer to an instant query.
fn vector(body: &[u8]) -> Result<Vec<Series>, Unanswered> {
    let Data::Vector(series) = data(body)? else {
        return Err(not_the_api("it is no vector"));
    };
    series
        .into_iter()
        .map(|series| {
            Ok(Series {
                metric: series.metric,
                value: number(&series.value.1)?,
                at: series.value.0,
            })
        })
        .collect()
}

/// The numbers of each series of an answer to an instant query (one each) or a range query; a scalar is one series.
///
/// # Errors
/// Where it is no answer, or says that the query failed.
pub fn numbers(body: &[u8]) -> Result<Vec<Vec<f64>>, Unanswered> {
    match data(body)? {
        Data::String(_) => Err(not_the_api("a text is no number")),
        Data::Scalar((_, value)) => Ok(vec![vec![number(&value)?]]),
        Data::Vector(series) => series
            .iter()
            .map(|series| Ok(vec![number(&series.value.1)?]))
            .collect(),
        Data::Matrix(ranges) => ranges
            .iter()
            .map(|range| range.values.iter().map(|(_, value)| number(value)).collect())
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::analysis::{Count, Indicator, ProbePaths, Unit, read_samples};

    fn answer(series: &serde_json::Value) -> Vec<u8> {
        json!({"status": "success", "data": {"resultType": "vector", "result": series}})
            .to_string()
            .into_bytes()
    }

    #[test]
    fn the_query_names_pods_and_metrics_letter_for_letter() {
        let given = Names::Given(super::super::Given {
            family: "orders".to_owned(),
            unit: Unit::Seconds,
            label: "code".to_owned(),
            bad: super::super::BadValues::HttpServerErrors,
        });
        assert_eq!(
            query("shop", ["web-1.a", "web-2"], [&given]),
            r#"{__name__=~"orders|orders_bucket|orders_count|orders_total|up",namespace="shop",pod=~"web\\-1\\.a|web\\-2"} or label_replace(timestamp(up{namespace="shop",pod=~"web\\-1\\.a|web\\-2"}),"microservice_dev_scraped","at","","")"#
        );
    }

    #[test]
    fn pods_are_told_apart_and_targets_labels_are_not_the_services() {
        let of = |pod: &str, more: serde_json::Value, value: &str| {
            let mut metric = json!({
                "pod": pod, "namespace": "shop", "service": "web", "endpoint": "http", "instance": "1:8080", "job": "web",
            });
            metric
                .as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            json!({"metric": metric, "value": [1_700_000_000.1, value]})
        };
        let requests = |pod, status: &str, value| {
            of(
                pod,
                json!({"__name__": "http_requests_total", "status": status, "exported_endpoint": "/buy"}),
                value,
            )
        };
        let body = answer(&json!([
            of("web-1", json!({"__name__": "up"}), "1"),
            requests("web-1", "200", "90"),
            requests("web-1", "500", "10"),
            of("web-2", json!({"__name__": "up"}), "0"),
            requests("web-2", "200", "5"),
            of("web-3", json!({"__name__": "up"}), "1"),
            // Another monitor has the same pod.
            of(
                "web-1",
                json!({"__name__": "up", "instance": "1:9000", "job": "also"}),
                "1"
            ),
            of(
                "web-1",
                json!({"__name__": "http_requests_total", "status": "200", "instance": "1:9000", "job": "also"}),
                "90"
            ),
            of("web-1", json!({"microservice_dev_scraped": "at"}), "1699999999.6"),
            of("web-3", json!({"microservice_dev_scraped": "at"}), "1699999990"),
        ]));
        let scraped = Scraped::read(&body).unwrap();
        let samples = scraped.of("web-1", 8080).unwrap();
        assert_eq!(samples[0].label("endpoint"), Some("/buy"));
        assert_eq!((samples[0].label("job"), samples[0].label("pod")), (None, None));
        let reading = read_samples(samples, Indicator::Errors, &Names::Usual, &ProbePaths::usual()).unwrap();
        assert_eq!(reading.count, Count::new(100, 10).unwrap());
        assert_eq!(scraped.of("web-2", 8080), None, "it was not reached");
        assert_eq!(
            scraped.of("web-3", 8080),
            Some([].as_slice()),
            "it has had no request yet"
        );
        assert_eq!(scraped.of("web-4", 8080), None);
        assert_eq!(scraped.of("web-1", 9000).map(<[_]>::len), Some(1));
        assert_eq!(
            scraped.of("web-1", 1).map(<[_]>::len),
            Some(1),
            "the first of them"
        );
        let age = scraped.age().unwrap();
        assert!((age - 0.5).abs() < 1e-6, "{age}");
    }

    #[test]
    fn what_fails_says_why() {
        let failed = br#"{"status":"error","errorType":"bad_data","error":"invalid parameter"}"#;
        assert_eq!(
            vector(failed).unwrap_err().to_string(),
            "bad_data: invalid parameter"
        );
        for body in [
            &b"<html>"[..],
            b"{}",
            br#"{"status":"success"}"#,
            br#"{"status":"success","data":{"resultType":"string","result":[1,"a"]}}"#,
        ] {
            assert!(matches!(vector(body), Err(Unanswered::NotTheApi(_))), "{body:?}");
        }
    }

    #[test]
    fn numbers_come_in_three_shapes() {
        let values = |body: serde_json::Value| {
            let body = json!({"status": "success", "data": body}).to_string();
            numbers(body.as_bytes())
        };
        assert_eq!(
            values(json!({"resultType": "scalar", "result": [1, "2.5"]})),
            Ok(vec![vec![2.5]])
        );
        assert_eq!(values(json!({"resultType": "vector", "result": []})), Ok(vec![]));
        assert_eq!(
            values(
                json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "1"], [2, "3"]]}]})
            ),
            Ok(vec![vec![1.0, 3.0]])
        );
        assert!(values(json!({"resultType": "scalar", "result": [1, "no"]})).is_err());
    }

    proptest! {
        #[test]
        fn no_text_breaks_out_of_a_string(text in ".*") {
            let quoted = quoted(&text);
            let mut inside = quoted[1..quoted.len() - 1].chars();
            while let Some(letter) = inside.next() {
                prop_assert!(letter != '"' && letter != '\n');
                if letter == '\\' {
                    prop_assert!(inside.next().is_some());
                }
            }
        }
    }
}
