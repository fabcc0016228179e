//! Texts with placeholders. What users wrote around the placeholders is in the words of the platform; what stands for a
//! placeholder comes from anywhere and is escaped.

use std::fmt;

use super::notice::Notice;

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<'a> {
    parts: Vec<Part<'a>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part<'a> {
    Literal(&'a str),
    Field(Field),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Service,
    Namespace,
    Revision,
    Stable,
    Event,
    Message,
    Image,
    Url,
}

impl Field {
    const ALL: [(&'static str, Self); 8] = [
        ("service", Self::Service),
        ("namespace", Self::Namespace),
        ("revision", Self::Revision),
        ("stable", Self::Stable),
        ("event", Self::Event),
        ("message", Self::Message),
        ("image", Self::Image),
        ("url", Self::Url),
    ];

    fn of(self, notice: &Notice) -> &str {
        match self {
            Self::Service => &notice.service,
            Self::Namespace => &notice.namespace,
            Self::Revision => &notice.revision,
            Self::Stable => &notice.stable,
            Self::Event => notice.event.name(),
            Self::Message => &notice.message,
            Self::Image => &notice.image,
            Self::Url => &notice.url,
        }
    }
}

/// `{{` with something behind it that is no placeholder. The schema refuses it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPlaceholder;

impl fmt::Display for UnknownPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the template has {{ with something behind it that is no placeholder")
    }
}

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// When it has a placeholder that is not known.
    pub fn parse(text: &'a str) -> Result<Self, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").ok_or(UnknownPlaceholder)?;
            let field = Field::ALL.iter().find(|(known, _)| *known == name);
            let (_, field) = field.ok_or(UnknownPlaceholder)?;
            if !before.is_empty() {
                parts.push(Part::Literal(before));
            }
            parts.push(Part::Field(*field));
            rest = behind;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest));
        }
        Ok(Self { parts })
    }

    /// What is said where the user says nothing: what is not known is left out.
    pub fn usual(notice: &Notice) -> Self {
        let mut parts = vec![
            Part::Field(Field::Message),
            Part::Literal("\n\nRevision: "),
            Part::Field(Field::Revision),
        ];
        for (words, field) in [("\nImage: ", Field::Image), ("\nAddress: ", Field::Url)] {
            if !field.of(notice).is_empty() {
                parts.extend([Part::Literal(words), Part::Field(field)]);
            }
        }
        Self { parts }
    }

    /// The text, with what stands for its placeholders escaped.
    pub fn fill(&self, notice: &Notice, escape: impl Fn(&str) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => (*text).to_owned(),
                Part::Field(field) => escape(field.of(notice)),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::api::NotificationEvent;

    fn notice() -> Notice {
        Notice {
            service: "orders".into(),
            namespace: "shop".into(),
            uid: "u".into(),
            id: "1/1/orders-b/Promoted".into(),
            event: NotificationEvent::Promoted,
            revision: "orders-b".into(),
            stable: "orders-a".into(),
            image: "app:b".into(),
            url: String::new(),
            message: "it says {{service}}".into(),
            at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn placeholders_are_filled_once() {
        let text = "{{namespace}}/{{service}} {{event}}: {{revision}} for {{stable}} {{image}}{{url}}. {{message}} {x} }}";
        let filled = Template::parse(text).unwrap().fill(&notice(), str::to_owned);
        assert_eq!(
            filled,
            "shop/orders Promoted: orders-b for orders-a app:b. it says {{service}} {x} }}"
        );
    }

    #[test]
    fn what_is_no_placeholder_is_refused() {
        for text in ["{{pod}}", "{{ service }}", "{{service", "{{{service}}}", "a {{"] {
            assert_eq!(Template::parse(text), Err(UnknownPlaceholder), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let filled = Template::usual(&notice()).fill(&notice(), |value| format!("<{value}>"));
        assert_eq!(
            filled,
            "<it says {{service}}>\n\nRevision: <orders-b>\nImage: <app:b>"
        );
    }

    proptest! {
        #[test]
        fn what_the_schema_admits_is_read(text in "[a-z{}\\n ]{0,12}(\\{\\{(service|image|url)\\}\\})?[a-z{}\\n ]{0,12}") {
            // The rule of the schema, by the same engine of regular expressions.
            let rule = "^([^{]|[{][^{]|[{][{](service|namespace|revision|stable|event|message|image|url)[}][}])*[{]?$";
            let admitted = regex::Regex::new(rule).unwrap().is_match(&text);
            // `{` before a placeholder is read, and refused by the rule: no harm in that.
            prop_assert!(!admitted || Template::parse(&text).is_ok(), "{text}");
        }
    }
}
