//! Reading what a pod exposes: the Prometheus text format 0.0.4 and 1.0.0 (quoted UTF-8 names), and OpenMetrics 1.0.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>,
//! <https://prometheus.io/docs/specs/om/open_metrics_spec/>. Only what a counter needs is read: the name, the labels and the
//! value of a sample. Types, help, timestamps and exemplars are passed over. The grammar is put together from winnow's
//! parsers: the crates that read the whole format drop samples with a `}` in a label value, split label values at commas,
//! refuse exemplars, or are licensed under terms that do not fit.
//!
//! What comes in is not trusted: the work is linear in its length, which the caller limits, and nothing of it panics.

use std::borrow::Cow;
use std::str;

use thiserror::Error;
use winnow::ascii::space0;
use winnow::combinator::{alt, delimited, opt, preceded, separated, terminated};
use winnow::prelude::*;
use winnow::token::{any, take_till, take_while};

/// More labels than this on one sample are nobody's metrics.
const MOST_LABELS: usize = 64;

/// A line that is not of the format.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("line {line} is not of the Prometheus text format")]
pub struct Malformed {
    /// Counted from 1.
    pub line: usize,
}

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample<'a> {
    /// The whole name, with `_total`, `_bucket` or `_count`.
    pub name: Cow<'a, str>,
    /// In the order of the line.
    pub labels: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// May be NaN or infinite.
    pub value: f64,
}

impl Sample<'_> {
    /// The value of a label.
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels
            .iter()
            .find(|(label, _)| label == name)
            .map(|(_, value)| value.as_ref())
    }
}

/// The samples whose names are `wanted`, in their order. Lines of others are not looked into, so that one broken metric of
/// which nothing is wanted does no harm; but the first broken line of a wanted one is an error, as it is to
/// Prometheus, because a sum that lacks a series would be taken for the whole.
pub fn samples<'a>(body: &'a [u8], wanted: impl Fn(&str) -> bool) -> Result<Vec<Sample<'a>>, Malformed> {
    let mut found = Vec::new();
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line == b"# EOF" {
            break;
        }
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let malformed = || Malformed { line: at + 1 };
        let line = str::from_utf8(line).map_err(|_| malformed())?;
        if plain_name(line)
            .map_err(|()| malformed())?
            .is_some_and(|name| !wanted(name))
        {
            continue;
        }
        let sample = sample.parse(line).map_err(|_| malformed())?;
        if wanted(&sample.name) {
            found.push(sample);
        }
    }
    Ok(found)
}

/// The name that the line begins with; None where it is within the braces. Fails where there is neither.
fn plain_name(mut line: &str) -> Result<Option<&str>, ()> {
    match line.starts_with('{') {
        true => Ok(None),
        false => name.parse_next(&mut line).map(Some).map_err(|_| ()),
    }
}

/// A metric's or a label's name without quotes.
fn name<'a>(input: &mut &'a str) -> winnow::Result<&'a str> {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || c == ':';
    let other = move |c: char| first(c) || c.is_ascii_digit();
    (take_while(1, first), take_while(0.., other))
        .take()
        .parse_next(input)
}

/// Text in quotes, in which `\\`, `\"` and `\n` stand for a backslash, a quote and a line feed.
fn quoted<'a>(input: &mut &'a str) -> winnow::Result<Cow<'a, str>> {
    let plain =
        |input: &mut &'a str| -> winnow::Result<&'a str> { take_till(0.., ['"', '\\']).parse_next(input) };
    '"'.parse_next(input)?;
    let mut text = Cow::Borrowed(plain(input)?);
    while any.parse_next(input)? == '\\' {
        let text = text.to_mut();
        match any.parse_next(input)? {
            'n' => text.push('\n'),
            escaped @ ('"' | '\\') => text.push(escaped),
            // Not an escape: Prometheus leaves both as they are.
            other => text.extend(['\\', other]),
        }
        text.push_str(plain(input)?);
    }
    Ok(text)
}

/// What can stand within the braces.
enum Entry<'a> {
    Name(Cow<'a, str>),
    Label(Cow<'a, str>, Cow<'a, str>),
}

fn entry<'a>(input: &mut &'a str) -> winnow::Result<Entry<'a>> {
    let (key, value) = (
        terminated(alt((quoted, name.map(Cow::Borrowed))), space0),
        opt(preceded(('=', space0), quoted)),
    )
        .parse_next(input)?;
    Ok(match value {
        Some(value) => Entry::Label(key, value),
        None => Entry::Name(key),
    })
}

fn entries<'a>(input: &mut &'a str) -> winnow::Result<Vec<Entry<'a>>> {
    let comma = (space0, ',', space0);
    let list = separated(0..=MOST_LABELS, entry, comma);
    delimited(('{', space0), list, (opt((space0, ',')), space0, '}')).parse_next(input)
}

fn sample<'a>(input: &mut &'a str) -> winnow::Result<Sample<'a>> {
    let word = take_till(1.., char::is_whitespace);
    let (before, _, within, _, value, _) = (
        opt(name),
        space0,
        opt(entries),
        space0,
        word.parse_to::<f64>(),
        // A timestamp and an exemplar.
        opt((
            any.verify(|c: &char| c.is_whitespace()),
            take_while(0.., |_| true),
        )),
    )
        .parse_next(input)?;
    let mut names = before.map(Cow::Borrowed).into_iter().collect::<Vec<_>>();
    let mut labels = Vec::new();
    for entry in within.into_iter().flatten() {
        match entry {
            Entry::Name(name) => names.push(name),
            Entry::Label(label, value) => labels.push((label, value)),
        }
    }
    match (names.pop(), names.pop()) {
        (Some(name), None) => Ok(Sample { name, labels, value }),
        _ => Err(winnow::error::ContextError::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(body: &str) -> Result<Vec<Sample<'_>>, Malformed> {
        samples(body.as_bytes(), |_| true)
    }

    fn one(line: &str) -> Sample<'_> {
        all(line).unwrap().pop().unwrap()
    }

    #[test]
    fn what_other_readers_stumble_over() {
        let sample = one(r#"a_total{path="/x/{id}",b="c,d=\"e\"\\\n",} 3"#);
        assert_eq!(sample.name, "a_total");
        assert_eq!(sample.label("path"), Some("/x/{id}"));
        assert_eq!(sample.label("b"), Some("c,d=\"e\"\\\n"));
        assert!((sample.value - 3.0).abs() < f64::EPSILON);
    }

    #[test]
    fn timestamps_and_exemplars_are_passed_over() {
        for rest in [
            "",
            " 1395066363000",
            " # {trace_id=\"x\"} 0.05 1.5",
            " 1.5 #  5.9 1.6",
            "\r",
        ] {
            let line = format!("a_bucket{{le=\"+Inf\"}} 1.7e1{rest}");
            let sample = one(&line);
            assert_eq!(sample.label("le"), Some("+Inf"), "{rest}");
            assert!((sample.value - 17.0).abs() < f64::EPSILON, "{rest}");
        }
    }

    #[test]
    fn numbers_are_those_of_go() {
        assert!(one("a NaN").value.is_nan());
        assert!(one("a +Inf").value.is_infinite());
        assert!(one("a -Inf").value.is_infinite());
        assert!((one("a{ } 1.0E7").value - 1e7).abs() < f64::EPSILON);
    }

    #[test]
    fn names_may_stand_in_quotes() {
        let sample = one(r#"{"http.server.requests", "http.status"="200"} 4"#);
        assert_eq!(sample.name, "http.server.requests");
        assert_eq!(sample.label("http.status"), Some("200"));
    }

    #[test]
    fn what_is_no_sample_is_an_error_with_its_line() {
        for line in [
            "<html>",
            "a",
            "a x",
            "a{b=\"c} 1",
            "a{b=c} 1",
            "{b=\"c\"} 1",
            "a{\"b\"} 1",
            "a{b=\"c\"}",
            "1a 1",
        ] {
            let body = format!("# HELP a b\n{line}\n");
            assert_eq!(all(&body), Err(Malformed { line: 2 }), "{line}");
        }
    }

    #[test]
    fn only_what_is_wanted_is_looked_into() {
        let body = "other{broken 1\nmine 2\n# EOF\nmine 3\n";
        let found = samples(body.as_bytes(), |name| name == "mine").unwrap();
        assert_eq!(found.len(), 1, "and nothing behind the end");
    }

    #[test]
    fn too_many_labels_are_refused() {
        let labels = |n: usize| format!("a{{{}}} 1", "b=\"c\",".repeat(n));
        assert!(all(&labels(MOST_LABELS)).is_ok());
        assert!(all(&labels(MOST_LABELS + 1)).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body: Vec<u8>) {
            let _ = samples(&body, |_| true);
        }

        #[test]
        fn nothing_like_the_format_makes_it_panic(body in r#"([a_{}\\",= \n#0-9.eE+NnIif-]|le="){0,200}"#) {
            let _ = all(&body);
        }

        #[test]
        fn what_is_written_is_read(
            name in "[a-zA-Z_:][a-zA-Z0-9_:]{0,20}",
            labels in prop::collection::vec(("[a-zA-Z_][a-zA-Z0-9_]{0,8}", "\\PC*|[\\\\\"\n,={} ]{0,10}"), 0..6),
            value: f64,
        ) {
            let escape = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let list: Vec<String> = labels.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
            let line = format!("{name}{{{}}} {value}", list.join(","));
            let sample = one(&line);
            prop_assert_eq!(&sample.name, &name);
            let read: Vec<(String, String)> = sample
                .labels
                .iter()
                .map(|(k, v)| (k.to_string(), v.to_string()))
                .collect();
            prop_assert_eq!(read, labels);
            prop_assert!(sample.value == value || (sample.value.is_nan() && value.is_nan()));
        }
    }
}
