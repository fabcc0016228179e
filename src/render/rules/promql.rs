//! Words of PromQL: selectors, strings and patterns, each written so that what is put in stays what it is.

use std::fmt::{self, Write as _};

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::render) enum Comparison {
    /// It is this.
    Is,
    /// It is not this.
    IsNot,
    /// It matches this pattern, as a whole.
    Matches,
    /// It does not match this pattern.
    MatchesNot,
}

impl Comparison {
    fn operator(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Matches => "=~",
            Self::MatchesNot => "!~",
        }
    }
}

/// What a label of a series has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::render) struct Matcher {
    label: String,
    comparison: Comparison,
    value: String,
}

impl Matcher {
    /// The label is compared with the value.
    pub(in crate::render) fn new(
        label: impl Into<String>,
        comparison: Comparison,
        value: impl Into<String>,
    ) -> Self {
        Self {
            label: label.into(),
            comparison,
            value: value.into(),
        }
    }

    /// The label is the value.
    pub(in crate::render) fn is(label: impl Into<String>, value: impl Into<String>) -> Self {
        Self::new(label, Comparison::Is, value)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = self.comparison.operator();
        write!(f, "{}{operator}{}", self.label, quoted(&self.value))
    }
}

/// The series of a name that fit all of the matchers.
pub(in crate::render) fn selector(name: &str, matchers: &[Matcher]) -> String {
    let matchers: Vec<String> = matchers.iter().map(ToString::to_string).collect();
    format!("{name}{{{}}}", matchers.join(","))
}

/// A string literal.
pub(in crate::render) fn quoted(text: &str) -> String {
    format!("\"{}\"", escaped(text))
}

/// Text as it stands between the quotes of a string literal.
pub(in crate::render) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '"' => escaped.extend(['\\', character]),
            '\n' => escaped.push_str("\\n"),
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(escaped, "\\u{:04x}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A pattern that fits this text alone.
pub(in crate::render) fn pattern_of(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\.+*?()|[]{}^$".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

/// Where operators attach labels of their own (namespace, pod, endpoint ...), Prometheus renames the metric's.
pub(in crate::render) fn scraped_label(label: &str) -> String {
    const TARGET: [&str; 7] = [
        "container",
        "endpoint",
        "instance",
        "job",
        "namespace",
        "pod",
        "service",
    ];
    match TARGET.contains(&label) {
        true => format!("exported_{label}"),
        false => label.to_owned(),
    }
}

/// A name as Prometheus makes one of a Kubernetes label: what it does not allow becomes an underscore.
pub(in crate::render) fn label_name(text: &str) -> String {
    let allowed = |(index, character): (usize, char)| match character {
        'a'..='z' | 'A'..='Z' | '_' => character,
        '0'..='9' if index > 0 => character,
        _ => '_',
    };
    text.chars().enumerate().map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_in_a_string_stays_in_it() {
        assert_eq!(quoted("a\"} or up{\\\n\u{1}"), r#""a\"} or up{\\\n\u0001""#);
        let matchers = [
            Matcher::is("a", "b"),
            Matcher::new("c", Comparison::MatchesNot, pattern_of("1.5|x")),
        ];
        assert_eq!(selector("up", &matchers), r#"up{a="b",c!~"1\\.5\\|x"}"#);
    }

    #[test]
    fn labels_are_called_as_prometheus_calls_them() {
        assert_eq!(scraped_label("endpoint"), "exported_endpoint");
        assert_eq!(scraped_label("path"), "path");
        assert_eq!(
            label_name("microservice.dev/revision"),
            "microservice_dev_revision"
        );
        assert_eq!(label_name("2nd"), "_nd");
    }
}
