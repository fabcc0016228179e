//! Texts with placeholders, `{{name}}`. What users wrote around the placeholders is in the language of whoever reads it;
//! what stands for a placeholder comes from anywhere and is escaped for that language.

use std::fmt;

/// A text with placeholders of the kind `F`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template<'a, F> {
    parts: Vec<Part<'a, F>>,
}

/// A part of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a, F> {
    /// What stands there as it is.
    Literal(&'a str),
    /// A placeholder.
    Field(F),
}

/// `{{` with something behind it that is no placeholder. The schema refuses it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownPlaceholder;

impl fmt::Display for UnknownPlaceholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text has {{ with something behind it that is no placeholder")
    }
}

impl<'a, F: Copy> Template<'a, F> {
    /// Reads a text whose placeholders are `known` by name.
    ///
    /// # Errors
    /// When it has a placeholder that is not known.
    pub fn parse(text: &'a str, known: &[(&str, F)]) -> Result<Self, UnknownPlaceholder> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, behind) = after.split_once("}}").ok_or(UnknownPlaceholder)?;
            let field = known.iter().find(|(known, _)| *known == name);
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

    /// The text of these parts.
    pub fn of(parts: Vec<Part<'a, F>>) -> Self {
        Self { parts }
    }

    /// The text, with what `value` says for its placeholders, which is to be escaped already.
    pub fn fill(&self, value: impl Fn(F) -> String) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Literal(text) => (*text).to_owned(),
                Part::Field(field) => value(*field),
            })
            .collect()
    }
}
