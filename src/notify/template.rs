//! Texts with placeholders. What users wrote around the placeholders is in the words of the platform; what stands for a
//! placeholder comes from anywhere and is escaped.

use super::notice::Notice;
use crate::template::{self, Part, UnknownPlaceholder};

/// A text with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<'a>(template::Template<'a, Field>);

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

impl<'a> Template<'a> {
    /// Reads a template.
    ///
    /// # Errors
    /// When it has a placeholder that is not known.
    pub fn parse(text: &'a str) -> Result<Self, UnknownPlaceholder> {
        Ok(Self(template::Template::parse(text, &Field::ALL)?))
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
        Self(template::Template::of(parts))
    }

    /// The text, with what stands for its placeholders escaped.
    pub fn fill(&self, notice: &Notice, escape: impl Fn(&str) -> String) -> String {
        self.0.fill(|field| escape(field.of(notice)))
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
