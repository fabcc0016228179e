//! What a request has to have: the headers of a route's rule and those of a step's match, together.

use crate::api::{NamedValue, RequestMatch};
use crate::render::ExposedRule;

/// The header that holds the cookies.
const COOKIE: &str = "Cookie";

/// The characters that mean something in a regular expression. No others are escaped: what an escaped letter means
/// differs from engine to engine.
const METACHARACTERS: &str = r"\.+*?()|[]{}^$";

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// Just this.
    Exact(String),
    /// What this regular expression finds. It begins with ^ and ends with $: some gateways look for it anywhere, some
    /// compare it with the whole.
    Pattern(String),
}

/// What a request must have, all of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// Headers; no name comes twice, whatever its case.
    pub headers: Vec<(String, Value)>,
    /// Parameters of the query with exact values.
    pub query_params: Vec<NamedValue>,
}

/// Why an entry of a match cannot be asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    /// One header is to have two values. Holds its name.
    Header(String),
    /// No cookie has such a value. Holds its name.
    Cookie(String),
    /// The order of cookies is the client's affair, and expressions without look-ahead cannot ask for two.
    SeveralCookies,
}

impl Condition {
    /// What a rule of a route asks for by itself.
    pub(super) fn of_rule(rule: &ExposedRule) -> Self {
        let exact = |(name, value): (&String, &String)| (name.clone(), Value::Exact(value.clone()));
        Self {
            headers: rule.headers.iter().map(|h| exact((&h.name, &h.value))).collect(),
            query_params: Vec::new(),
        }
    }

    /// What a request must have that both a rule and an entry of a match take.
    pub(super) fn of(rule: &ExposedRule, entry: &RequestMatch) -> Result<Self, Clash> {
        let mut all = Self::of_rule(rule);
        for header in &entry.headers {
            all.require(&header.name, Value::Exact(header.value.clone()))?;
        }
        match entry.cookies.as_slice() {
            [] => {}
            [cookie] if cookie.value.contains(';') => return Err(Clash::Cookie(cookie.name.clone())),
            [cookie] => all.require(COOKIE, Value::Pattern(cookie_pattern(cookie)))?,
            _ => return Err(Clash::SeveralCookies),
        }
        all.query_params.clone_from(&entry.query_params);
        Ok(all)
    }

    /// The same value twice is asked for once; gateways count the first of two alike names only.
    fn require(&mut self, name: &str, value: Value) -> Result<(), Clash> {
        let asked = self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name));
        match asked {
            Some((_, present)) if *present == value => Ok(()),
            Some(_) => Err(Clash::Header(name.to_owned())),
            None => {
                self.headers.push((name.to_owned(), value));
                Ok(())
            }
        }
    }
}

/// Finds a cookie with just this value among all that a request brings.
fn cookie_pattern(cookie: &NamedValue) -> String {
    format!(
        r"^(.*;\s*)?{}={}(;.*)?$",
        escaped(&cookie.name),
        escaped(&cookie.value)
    )
}

fn escaped(text: &str) -> String {
    text.chars()
        .flat_map(|character| {
            let escape = METACHARACTERS.contains(character).then_some('\\');
            escape.into_iter().chain([character])
        })
        .collect()
}
