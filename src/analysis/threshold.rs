//! Checks with limits of their own: what one measurement says, and what becomes of many.
//!
//! A measurement is good, bad, without data, or it went wrong because nobody answered. Only bad ones speak against a
//! revision. That is the difference between Argo Rollouts' Failed, Inconclusive and Error.

use jiff::Timestamp;
use serde_json::Value;
use serde_json_path::JsonPath;
use thiserror::Error;

use super::prometheus;
use crate::api::{AnalysisCheck, AnswerValue, PrometheusQuery};

/// The largest answer that a value is looked for in, in bytes: a path may visit each node for each node.
pub const ANSWER_BYTES: usize = 64 * 1024;
/// How many characters of a measured value are kept.
const VALUE_CHARACTERS: usize = 64;
/// How often a path may descend (`..`): each time multiplies what it visits.
const DESCENTS: usize = 1;
/// What several selectors in one segment need: they multiply what is visited, too, and find nothing that is one value.
const SEVERAL: char = ',';

/// One measurement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measurement {
    /// What it says.
    pub outcome: Outcome,
    /// The value, as people read it.
    pub value: Option<String>,
    /// What went wrong, or why it is bad.
    pub words: Option<String>,
}

/// What a measurement says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Within the limits.
    Good,
    /// Outside of them.
    Bad,
    /// There was an answer without a value.
    NoData,
    /// Nobody answered, or not as they should.
    Error,
}

impl Measurement {
    /// Nobody answered as they should.
    pub fn error(words: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Error,
            value: None,
            words: Some(words.into()),
        }
    }

    fn no_data(words: &str) -> Self {
        Self {
            outcome: Outcome::NoData,
            value: None,
            words: Some(words.to_owned()),
        }
    }

    fn good(value: String) -> Self {
        Self {
            outcome: Outcome::Good,
            value: Some(value),
            words: None,
        }
    }

    fn bad(value: String, words: String) -> Self {
        Self {
            outcome: Outcome::Bad,
            value: Some(value),
            words: Some(words),
        }
    }
}

/// A limit that is no number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0:?} is not a decimal number")]
pub struct NotANumber(String);

/// What a value must not leave.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bounds {
    min: Option<f64>,
    max: Option<f64>,
}

impl Bounds {
    /// The bounds that decimal numbers say.
    ///
    /// # Errors
    /// When one of them is no finite number.
    pub fn parse(min: Option<&str>, max: Option<&str>) -> Result<Self, NotANumber> {
        let number = |text: Option<&str>| {
            text.map(|text| {
                let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
                number.ok_or_else(|| NotANumber(text.to_owned()))
            })
            .transpose()
        };
        Ok(Self {
            min: number(min)?,
            max: number(max)?,
        })
    }

    /// What a number is that is not NaN. Infinity is beyond any bound on its side.
    fn judge(self, value: f64) -> Measurement {
        let said = format!("{value}");
        if let Some(min) = self.min.filter(|min| value < *min) {
            let words = format!("{said} is less than {min}");
            return Measurement::bad(said, words);
        }
        if let Some(max) = self.max.filter(|max| value > *max) {
            let words = format!("{said} is more than {max}");
            return Measurement::bad(said, words);
        }
        Measurement::good(said)
    }
}

/// What an answer of Prometheus says.
pub fn of_prometheus(query: &PrometheusQuery, body: &[u8]) -> Measurement {
    let bounds = match Bounds::parse(query.min.as_deref(), query.max.as_deref()) {
        Ok(bounds) => bounds,
        Err(error) => return Measurement::error(error.to_string()),
    };
    let mut series = match prometheus::numbers(body) {
        Ok(series) => series,
        Err(error) => return Measurement::error(error.to_string()),
    };
    if series.len() > 1 {
        return Measurement::error(format!(
            "the query gives {} series: it must give one, so sum or select them",
            series.len()
        ));
    }
    let mut values = series.pop().unwrap_or_default();
    values.retain(|value| !value.is_nan());
    let judged = values.into_iter().map(|value| bounds.judge(value));
    // Of a range the first value that is bad, else the last one.
    judged
        .reduce(|one, other| if one.outcome == Outcome::Bad { one } else { other })
        .unwrap_or_else(|| Measurement::no_data("the query gives no value"))
}

/// What an answer to a call says.
pub fn of_web(value: Option<&AnswerValue>, status: u16, body: &[u8]) -> Measurement {
    let success = (200..300).contains(&status);
    let Some(wanted) = value else {
        return if success {
            Measurement::good(status.to_string())
        } else {
            Measurement::bad(status.to_string(), format!("the answer is {status}"))
        };
    };
    if !success {
        return Measurement::error(format!("the answer is {status}"));
    }
    if wanted.json_path.matches("..").count() > DESCENTS {
        return Measurement::error("jsonPath may have .. once at most");
    }
    if wanted.json_path.contains(SEVERAL) {
        return Measurement::error("jsonPath may have no comma: it must find one value");
    }
    let path = match JsonPath::parse(&wanted.json_path) {
        Ok(path) => path,
        Err(error) => return Measurement::error(format!("jsonPath is none: {error}")),
    };
    // The parser's words quote nothing of the answer.
    let json: Value = match serde_json::from_slice(body) {
        Ok(json) => json,
        Err(error) => return Measurement::error(format!("the answer is not JSON: {error}")),
    };
    match path.query(&json).all().as_slice() {
        [] | [Value::Null] => Measurement::no_data("jsonPath finds no value"),
        [one] => of_value(wanted, one),
        several => Measurement::error(format!(
            "jsonPath finds {} values: it must find one",
            several.len()
        )),
    }
}

fn of_value(wanted: &AnswerValue, found: &Value) -> Measurement {
    let text = match found {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let shown: String = text
        .chars()
        .filter(|c| !c.is_control())
        .take(VALUE_CHARACTERS)
        .collect();
    if let Some(equals) = &wanted.equals {
        return if text == *equals {
            Measurement::good(shown)
        } else {
            let words = format!("it is {shown:?} and not {equals:?}");
            Measurement::bad(shown, words)
        };
    }
    let number = match found {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    match (
        number,
        Bounds::parse(wanted.min.as_deref(), wanted.max.as_deref()),
    ) {
        (_, Err(error)) => Measurement::error(error.to_string()),
        (Some(number), Ok(_)) if number.is_nan() => Measurement::no_data("it is NaN"),
        (Some(number), Ok(bounds)) => bounds.judge(number),
        (None, Ok(_)) => Measurement::error(format!("{shown:?} is not a number")),
    }
}

/// How many measurements of each kind are tolerated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bad ones in all.
    pub bad: u32,
    /// Ones that went wrong, in a row. None: any number.
    pub errors: Option<u32>,
    /// Ones without data, in a row. None: any number.
    pub no_data: Option<u32>,
}

impl Limits {
    /// Those of a check.
    pub fn of(check: &AnalysisCheck) -> Self {
        let natural = |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok());
        Self {
            bad: natural(check.failure_limit).unwrap_or(0),
            errors: natural(check.error_limit),
            no_data: natural(check.no_data_limit),
        }
    }
}

/// The measurements of one check so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measurements {
    good: u32,
    bad: u32,
    errors_in_a_row: u32,
    no_data_in_a_row: u32,
    no_data_since: Option<Timestamp>,
    last_at: Option<Timestamp>,
    last: Option<Measurement>,
    last_bad: Option<Measurement>,
}

/// What becomes of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// There was none yet.
    NotMeasured,
    /// The last one is good.
    Good,
    /// The last one is bad, and so many are tolerated.
    Tolerated,
    /// The last one found no value.
    NoData,
    /// The last one went wrong.
    Unavailable,
    /// More were bad than are tolerated. That stays so.
    TooManyBad,
    /// More went wrong in a row than are tolerated.
    TooManyErrors,
    /// More in a row found no value than are tolerated.
    TooLongNoData,
}

impl Measurements {
    /// With one more, made at `at`.
    pub fn add(&mut self, measurement: Measurement, at: Timestamp) {
        let more = |count: u32| count.saturating_add(1);
        match measurement.outcome {
            Outcome::Good => self.good = more(self.good),
            Outcome::Bad => {
                self.bad = more(self.bad);
                self.last_bad = Some(measurement.clone());
            }
            Outcome::NoData | Outcome::Error => {}
        }
        self.errors_in_a_row = match measurement.outcome {
            Outcome::Error => more(self.errors_in_a_row),
            Outcome::Good | Outcome::Bad | Outcome::NoData => 0,
        };
        self.no_data_in_a_row = match measurement.outcome {
            Outcome::NoData => more(self.no_data_in_a_row),
            // Nothing is known about the data where nobody answered.
            Outcome::Error => self.no_data_in_a_row,
            Outcome::Good | Outcome::Bad => 0,
        };
        self.no_data_since = match measurement.outcome {
            Outcome::NoData => self.no_data_since.or(Some(at)),
            // Where nobody answered, nobody can say that there is nothing.
            Outcome::Good | Outcome::Bad | Outcome::Error => None,
        };
        self.last_at = Some(at);
        self.last = Some(measurement);
    }

    /// What becomes of them under these limits.
    pub fn standing(&self, limits: Limits) -> Standing {
        let beyond = |count: u32, limit: Option<u32>| limit.is_some_and(|limit| count > limit);
        if self.bad > limits.bad {
            return Standing::TooManyBad;
        }
        if beyond(self.errors_in_a_row, limits.errors) {
            return Standing::TooManyErrors;
        }
        if beyond(self.no_data_in_a_row, limits.no_data) {
            return Standing::TooLongNoData;
        }
        match self.last.as_ref().map(|last| last.outcome) {
            None => Standing::NotMeasured,
            Some(Outcome::Good) => Standing::Good,
            Some(Outcome::Bad) => Standing::Tolerated,
            Some(Outcome::NoData) => Standing::NoData,
            Some(Outcome::Error) => Standing::Unavailable,
        }
    }

    /// How many were good.
    pub fn good(&self) -> u32 {
        self.good
    }

    /// How many were bad.
    pub fn bad(&self) -> u32 {
        self.bad
    }

    /// How many found a value.
    pub fn values(&self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    /// When the last one was made.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last_at
    }

    /// Since when there has been no value, with an answer each time.
    pub fn no_data_since(&self) -> Option<Timestamp> {
        self.no_data_since
    }

    /// The last one.
    pub fn last(&self) -> Option<&Measurement> {
        self.last.as_ref()
    }

    /// The last bad one.
    pub fn last_bad(&self) -> Option<&Measurement> {
        self.last_bad.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn query(min: Option<&str>, max: Option<&str>) -> PrometheusQuery {
        PrometheusQuery {
            min: min.map(str::to_owned),
            max: max.map(str::to_owned),
            ..PrometheusQuery::default()
        }
    }

    fn vector(values: &[&str]) -> Vec<u8> {
        let series: Vec<Value> = values
            .iter()
            .map(|v| json!({"metric": {}, "value": [1.5, v]}))
            .collect();
        json!({"status": "success", "data": {"resultType": "vector", "result": series}})
            .to_string()
            .into_bytes()
    }

    fn outcome(query: &PrometheusQuery, body: &[u8]) -> (Outcome, Option<String>) {
        let measured = of_prometheus(query, body);
        (measured.outcome, measured.words)
    }

    #[test]
    fn a_value_is_held_against_its_bounds() {
        let max = query(None, Some("0.5"));
        for (value, expected) in [
            ("0.5", (Outcome::Good, None)),
            ("0.6", (Outcome::Bad, Some("0.6 is more than 0.5".to_owned()))),
            ("+Inf", (Outcome::Bad, Some("inf is more than 0.5".to_owned()))),
            ("-Inf", (Outcome::Good, None)),
            (
                "NaN",
                (Outcome::NoData, Some("the query gives no value".to_owned())),
            ),
        ] {
            assert_eq!(outcome(&max, &vector(&[value])), expected, "{value}");
        }
        let min = query(Some("-1"), None);
        assert_eq!(outcome(&min, &vector(&["-1"])).0, Outcome::Good);
        assert_eq!(
            outcome(&min, &vector(&["-1.5"])),
            (Outcome::Bad, Some("-1.5 is less than -1".to_owned()))
        );
    }

    #[test]
    fn nothing_is_no_data_and_several_series_are_an_error() {
        let max = query(None, Some("1"));
        assert_eq!(outcome(&max, &vector(&[])).0, Outcome::NoData);
        assert_eq!(
            outcome(&max, &vector(&["0", "0"])),
            (
                Outcome::Error,
                Some("the query gives 2 series: it must give one, so sum or select them".to_owned())
            )
        );
        assert_eq!(outcome(&max, b"<html>").0, Outcome::Error);
        let refused = json!({"status": "error", "errorType": "bad_data", "error": "1:1: parse error"});
        assert_eq!(
            outcome(&max, refused.to_string().as_bytes()),
            (Outcome::Error, Some("bad_data: 1:1: parse error".to_owned()))
        );
    }

    #[test]
    fn each_value_of_a_range_counts() {
        let range = |values: &[&str]| {
            let values: Vec<Value> = values.iter().map(|value| json!([1, value])).collect();
            json!({"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {}, "values": values}]}})
                .to_string()
                .into_bytes()
        };
        let max = query(None, Some("1"));
        assert_eq!(outcome(&max, &range(&["0", "NaN", "1"])).0, Outcome::Good);
        assert_eq!(
            outcome(&max, &range(&["0", "3", "2", "1"])),
            (Outcome::Bad, Some("3 is more than 1".to_owned()))
        );
        assert_eq!(outcome(&max, &range(&["NaN"])).0, Outcome::NoData);
    }

    fn at(path: &str, equals: Option<&str>, max: Option<&str>) -> AnswerValue {
        AnswerValue {
            json_path: path.into(),
            equals: equals.map(str::to_owned),
            min: None,
            max: max.map(str::to_owned),
        }
    }

    #[test]
    fn a_call_without_a_value_is_judged_by_its_status() {
        assert_eq!(of_web(None, 204, b"").outcome, Outcome::Good);
        let bad = of_web(None, 503, b"");
        assert_eq!((bad.outcome, bad.value.as_deref()), (Outcome::Bad, Some("503")));
    }

    #[test]
    fn a_value_of_an_answer_is_found_by_its_path() {
        let body = json!({"data": {"ok": true, "score": 0.2, "text": "好", "none": null, "list": [1, 2]}})
            .to_string();
        for (wanted, expected) in [
            (at("$.data.ok", Some("true"), None), Outcome::Good),
            (at("$.data.ok", Some("false"), None), Outcome::Bad),
            (at("$.data.text", Some("好"), None), Outcome::Good),
            (at("$.data.score", None, Some("0.1")), Outcome::Bad),
            (at("$.data.score", None, Some("0.2")), Outcome::Good),
            (at("$.data.none", None, Some("1")), Outcome::NoData),
            (at("$.data.nothing", None, Some("1")), Outcome::NoData),
            (at("$.data.text", None, Some("1")), Outcome::Error),
            (at("$.data.list[*]", None, Some("1")), Outcome::Error),
            (at("$..score", None, Some("1")), Outcome::Good),
            (at("$..data..score", None, Some("1")), Outcome::Error),
            (
                at(&format!("${}", "[*,*]".repeat(40)), None, Some("1")),
                Outcome::Error,
            ),
            (at("$.[", None, Some("1")), Outcome::Error),
        ] {
            let measured = of_web(Some(&wanted), 200, body.as_bytes());
            assert_eq!(measured.outcome, expected, "{wanted:?}: {measured:?}");
        }
        let wanted = at("$.data.ok", Some("true"), None);
        assert_eq!(
            of_web(Some(&wanted), 500, body.as_bytes()).outcome,
            Outcome::Error
        );
        assert_eq!(of_web(Some(&wanted), 200, b"<html>").outcome, Outcome::Error);
    }

    fn measurement(outcome: Outcome) -> Measurement {
        Measurement {
            outcome,
            value: None,
            words: None,
        }
    }

    fn standing(outcomes: &[Outcome], limits: Limits) -> Standing {
        let mut all = Measurements::default();
        for outcome in outcomes {
            all.add(measurement(*outcome), Timestamp::UNIX_EPOCH);
        }
        all.standing(limits)
    }

    #[test]
    fn limits_are_what_is_tolerated() {
        use Outcome::{Bad, Error, Good, NoData};
        let limits = Limits {
            bad: 1,
            errors: Some(2),
            no_data: Some(1),
        };
        for (outcomes, expected) in [
            (&[][..], Standing::NotMeasured),
            (&[Good], Standing::Good),
            (&[Bad], Standing::Tolerated),
            (&[Bad, Good, Good, Bad], Standing::TooManyBad),
            (&[Bad, Bad, Good], Standing::TooManyBad),
            (&[Error, Error], Standing::Unavailable),
            (&[Error, Error, Good, Error], Standing::Unavailable),
            (&[Error, Error, Error], Standing::TooManyErrors),
            (&[NoData], Standing::NoData),
            (&[NoData, Error, NoData], Standing::TooLongNoData),
            (&[NoData, Good, NoData], Standing::NoData),
        ] {
            assert_eq!(standing(outcomes, limits), expected, "{outcomes:?}");
        }
    }

    fn any_outcome() -> impl Strategy<Value = Outcome> {
        prop_oneof![
            Just(Outcome::Good),
            Just(Outcome::Bad),
            Just(Outcome::NoData),
            Just(Outcome::Error)
        ]
    }

    proptest! {
        #[test]
        fn without_a_bad_measurement_no_revision_is_to_blame(
            outcomes in prop::collection::vec(any_outcome().prop_filter("bad", |o| *o != Outcome::Bad), 0..40),
        ) {
            let limits = Limits { bad: 0, errors: None, no_data: None };
            let found = standing(&outcomes, limits);
            prop_assert!(!matches!(
                found,
                Standing::TooManyBad | Standing::TooManyErrors | Standing::TooLongNoData | Standing::Tolerated
            ));
        }

        #[test]
        fn too_many_bad_ones_stay_too_many(outcomes in prop::collection::vec(any_outcome(), 0..40), bad in 0_u32..5) {
            let limits = Limits { bad, errors: None, no_data: None };
            let verdicts: Vec<Standing> = (0..=outcomes.len()).map(|n| standing(&outcomes[..n], limits)).collect();
            let first = verdicts.iter().position(|standing| *standing == Standing::TooManyBad);
            if let Some(first) = first {
                prop_assert!(verdicts[first..].iter().all(|standing| *standing == Standing::TooManyBad));
                let count = outcomes[..first].iter().filter(|o| **o == Outcome::Bad).count();
                prop_assert_eq!(u32::try_from(count).unwrap(), bad + 1);
            }
        }

        #[test]
        fn any_answer_is_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..200), path in "\\$[ -~]{0,20}") {
            let _ = of_web(Some(&at(&path, Some("x"), None)), 200, &body);
            let _ = of_prometheus(&query(None, Some("1")), &body);
        }
    }
}
