//! What texts of checks may name, and how it is escaped where it stands.

use std::fmt::Write;

use super::prometheus::literally;
use crate::template::{Template, UnknownPlaceholder};

/// What a check is about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name of the Microservice.
    pub service: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// The revision that is tried out.
    pub revision: &'a str,
    /// The revision that the service rests on.
    pub stable: &'a str,
}

/// Where a text is read, which says how what stands for a placeholder is escaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Between quotes of any kind in PromQL.
    PromQl,
    /// Anywhere in an address.
    Url,
    /// Between the quotes of a string in JSON.
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Service,
    Namespace,
    Revision,
    Stable,
    RevisionPods,
    StablePods,
}

const FIELDS: [(&str, Field); 6] = [
    ("service", Field::Service),
    ("namespace", Field::Namespace),
    ("revision", Field::Revision),
    ("stable", Field::Stable),
    ("revisionPods", Field::RevisionPods),
    ("stablePods", Field::StablePods),
];

/// A text with its placeholders filled in.
///
/// # Errors
/// When it has a placeholder that is not known.
pub fn filled(text: &str, subject: &Subject<'_>, language: Language) -> Result<String, UnknownPlaceholder> {
    let template = Template::parse(text, &FIELDS)?;
    Ok(template.fill(|field| escaped(&value(field, subject), language)))
}

fn value(field: Field, subject: &Subject<'_>) -> String {
    match field {
        Field::Service => subject.service.to_owned(),
        Field::Namespace => subject.namespace.to_owned(),
        Field::Revision => subject.revision.to_owned(),
        Field::Stable => subject.stable.to_owned(),
        Field::RevisionPods => pods(subject.revision),
        Field::StablePods => pods(subject.stable),
    }
}

/// A regular expression for the names of a revision's pods, which Deployment and ReplicaSet put together.
fn pods(revision: &str) -> String {
    format!("{}-[a-z0-9]+-[a-z0-9]+", literally(revision))
}

/// A text, escaped for where it stands.
pub(super) fn escaped(text: &str, language: Language) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        // Writing to a String does not fail.
        let _ = match (language, letter) {
            (Language::PromQl, '"' | '\'' | '\\') => write!(escaped, "\\{letter}"),
            // Where a string is between backticks nothing can be escaped.
            (Language::PromQl, '`') => write!(escaped, "\\x60"),
            (Language::PromQl, letter) if letter.is_control() => {
                write!(escaped, "\\u{:04x}", u32::from(letter))
            }
            (Language::Url, letter) if letter.is_ascii_alphanumeric() || "-._~".contains(letter) => {
                write!(escaped, "{letter}")
            }
            (Language::Url, letter) => {
                let mut bytes = [0; 4];
                letter
                    .encode_utf8(&mut bytes)
                    .bytes()
                    .try_for_each(|byte| write!(escaped, "%{byte:02X}"))
            }
            (Language::Json, '"' | '\\') => write!(escaped, "\\{letter}"),
            (Language::Json, letter) if letter.is_control() => {
                write!(escaped, "\\u{:04x}", u32::from(letter))
            }
            (Language::PromQl | Language::Json, letter) => write!(escaped, "{letter}"),
        };
    }
    escaped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fill(text: &str, language: Language, service: &str) -> String {
        let subject = Subject {
            service,
            namespace: "shop",
            revision: "web-abc",
            stable: "web-xyz",
        };
        filled(text, &subject, language).unwrap()
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(
            fill(
                "rate(x{namespace=\"{{namespace}}\",pod=~\"{{revisionPods}}\"}[1m]) / y{r=\"{{stable}}\"}",
                Language::PromQl,
                "web"
            ),
            "rate(x{namespace=\"shop\",pod=~\"web\\\\-abc-[a-z0-9]+-[a-z0-9]+\"}[1m]) / y{r=\"web-xyz\"}"
        );
        assert_eq!(
            fill("http://t/run?of={{service}}", Language::Url, "a&b=好"),
            "http://t/run?of=a%26b%3D%E5%A5%BD"
        );
        assert_eq!(
            fill("{\"of\": \"{{service}}\"}", Language::Json, "a\"b\n"),
            "{\"of\": \"a\\\"b\\u000a\"}"
        );
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        let subject = Subject {
            service: "",
            namespace: "",
            revision: "",
            stable: "",
        };
        for text in ["{{nobody}}", "{{revision", "{{ revision }}", "{{}}"] {
            assert!(filled(text, &subject, Language::PromQl).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_breaks_out_of_its_quotes(service in any::<String>()) {
            let json = fill("\"{{service}}\"", Language::Json, &service);
            prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &service);

            let query = fill("{{service}}", Language::PromQl, &service);
            let mut letters = query.chars();
            while let Some(letter) = letters.next() {
                prop_assert!(!['"', '\'', '`', '\n'].contains(&letter), "{}", query);
                if letter == '\\' {
                    prop_assert!(letters.next().is_some());
                }
            }

            let url = fill("http://t/{{service}}", Language::Url, &service);
            prop_assert!(url[9..].chars().all(|c| c.is_ascii_alphanumeric() || "-._~%".contains(c)), "{}", url);
        }
    }
}
