//! Ingress, and the second one that ingress-nginx takes a share away with.
//!
//! The second one is marked as canary, has the same class, hosts and paths, and leads to the candidate. All its other
//! annotations ingress-nginx inherits from the first, but for those of load balancing and session affinity; other
//! controllers that read ingress-nginx's annotations inherit less. So it gets all that ingress-nginx would read, and none
//! that others act on (an issuer of certificates, a DNS name). Only one such Ingress may stand beside a rule.
//!
//! A share of nothing is one of weight 0: ingress-nginx sends it no request.
//!
//! A header goes before a cookie, a cookie before the weight.
//!
//! Clients are kept at a revision by ingress-nginx's own cookie of affinity, which names the Service that a client was sent
//! to. It is found before all else: a client that holds one is asked neither for headers nor by weight. So the
//! annotations stand only while both revisions have a share. Without a weight nobody is kept yet, and a step's match
//! reaches everybody; on the way back and at the end all go where the rest goes, whatever they hold. The cookie is named by
//! the candidate: what was kept in one release means nothing in the next.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Target, object_name};
use crate::api::{IngressTls, RequestMatch, StepAffinity, names};
use crate::render::{
    Backend, Child, ChildKind, ExposedRoute, ExposedRule, Identity, Metadata, fields, to_json,
};

/// What ingress-nginx's annotations begin with.
pub(super) const PREFIX: &str = "nginx.ingress.kubernetes.io/";
/// What those of a canary begin with.
pub(super) const CANARY: &str = "nginx.ingress.kubernetes.io/canary";
/// The percentage of a canary.
pub(super) const WEIGHT: &str = "nginx.ingress.kubernetes.io/canary-weight";
pub(super) const HEADER: &str = "nginx.ingress.kubernetes.io/canary-by-header";
const HEADER_VALUE: &str = "nginx.ingress.kubernetes.io/canary-by-header-value";
pub(super) const COOKIE: &str = "nginx.ingress.kubernetes.io/canary-by-cookie";
/// Whether clients are kept at what they were sent to first.
const AFFINITY: &str = "nginx.ingress.kubernetes.io/affinity";
/// Whether that goes for a canary too. Read from the canary.
const AFFINITY_OF_CANARIES: &str = "nginx.ingress.kubernetes.io/affinity-canary-behavior";
/// The name of the cookie.
const SESSION: &str = "nginx.ingress.kubernetes.io/session-cookie-name";
/// Its path: else each rule would keep clients by itself.
const SESSION_PATH: &str = "nginx.ingress.kubernetes.io/session-cookie-path";
/// How an Ingress named its class before there was a field for it.
pub(super) const CLASS: &str = "kubernetes.io/ingress.class";
/// The class of ingress-nginx.
const NGINX: &str = "nginx";
/// The only value of a cookie that leads to a canary.
pub(super) const ALWAYS: &str = "always";

/// Whether an Ingress is one of ingress-nginx's, by its class.
pub(super) fn is_of_ingress_nginx(class: Option<&str>, annotations: &BTreeMap<String, String>) -> bool {
    class.or(annotations.get(CLASS).map(String::as_str)) == Some(NGINX)
}

/// Whether the user made the route itself a canary of something else.
pub(super) fn is_canary(annotations: &BTreeMap<String, String>) -> bool {
    annotations.get(CANARY).is_some_and(|value| value == "true")
}

/// Whether all rules of a route lead to one port of one Service. ingress-nginx sets its cookie once for all of them, and
/// what names another Service or port keeps nobody.
pub(super) fn is_one_backend(route: &ExposedRoute) -> bool {
    let places = || route.rules.iter().map(|rule| (&rule.backend, rule.port));
    places().zip(places().skip(1)).all(|(one, next)| one == next)
}

/// A route that makes an Ingress.
pub(super) struct Ingress<'a> {
    /// The route.
    pub route: &'a ExposedRoute,
    /// Its class.
    pub class: Option<&'a str>,
    /// Its annotations.
    pub annotations: &'a BTreeMap<String, String>,
    /// Its certificates.
    pub tls: &'a [IngressTls],
}

impl Ingress<'_> {
    /// The Ingress, and beside it the one of the share.
    pub(super) fn objects(&self, identity: &Identity<'_>, target: &Target<'_>) -> Vec<Child> {
        let mut metadata = Metadata::named(object_name(identity, self.route));
        metadata.annotations.clone_from(self.annotations);
        metadata.annotations.extend(self.sessions(target));
        let all: Vec<&ExposedRule> = self.route.rules.iter().collect();
        let spec = self.spec(&all, target.rest, self.tls);
        let mut objects = vec![child(identity, metadata, &spec)];
        objects.extend(self.canary(identity, target));
        objects
    }

    /// What keeps clients at a revision, where they are to be kept. An affinity of the user's own stays as it is.
    fn sessions(&self, target: &Target<'_>) -> BTreeMap<String, String> {
        let Some(share) = target.share.filter(|share| (1..100).contains(&share.weight)) else {
            return BTreeMap::new();
        };
        if target.affinity == StepAffinity::Disabled || !is_one_backend(self.route) {
            return BTreeMap::new();
        }
        let mut notes = vec![(AFFINITY_OF_CANARIES, "sticky")];
        if !self.annotations.contains_key(AFFINITY) {
            notes.extend([
                (AFFINITY, "cookie"),
                (SESSION, &share.service),
                (SESSION_PATH, "/"),
            ]);
        }
        notes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    fn canary(&self, identity: &Identity<'_>, target: &Target<'_>) -> Option<Child> {
        // One that is left stays with nothing: so it can be said since when it has nothing. Of what is deleted nothing
        // could be said any more.
        let share = target.share.or(target.idle)?;
        let matched = Matched::of(&share.matches);
        let weight = share.weight.clamp(0, 100);
        if weight == 0 && matched.is_none() && target.idle.is_none() {
            return None;
        }
        let inherited = |key: &str| key == CLASS || (key.starts_with(PREFIX) && !key.starts_with(CANARY));
        let mut annotations: BTreeMap<String, String> = self
            .annotations
            .iter()
            .filter(|(key, _)| inherited(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        annotations.extend(self.sessions(target));
        let mut note = |key: &str, value: &str| annotations.insert(key.to_owned(), value.to_owned());
        note(CANARY, "true");
        note(WEIGHT, &weight.to_string());
        match matched {
            Some(Matched::Header { name, value }) => {
                note(HEADER, name);
                note(HEADER_VALUE, value);
            }
            Some(Matched::Cookie { name }) => {
                note(COOKIE, name);
            }
            None => {}
        }
        // A client that the user's own affinity keeps at a canary would stay there at weight 0, until its pods have ended.
        if target.idle.is_some() && self.annotations.contains_key(AFFINITY) {
            note(AFFINITY_OF_CANARIES, "legacy");
        }
        let metadata = Metadata {
            annotations,
            ..Metadata::named(names::canary_ingress(identity.name, &self.route.name))
        };
        let own: Vec<&ExposedRule> = (self.route.rules.iter())
            .filter(|rule| rule.backend == Backend::Own)
            .collect();
        let spec = self.spec(&own, &share.service, &[]);
        Some(child(identity, metadata, &spec))
    }

    fn spec(&self, rules: &[&ExposedRule], own: &str, tls: &[IngressTls]) -> Value {
        let path = |rule: &&ExposedRule| {
            let service = match &rule.backend {
                Backend::Own => own,
                Backend::Other(service) => service,
            };
            json!({
                "path": rule.path,
                "pathType": to_json(&rule.path_type),
                "backend": {"service": {"name": service, "port": {"number": rule.port}}},
            })
        };
        let paths = json!({"paths": rules.iter().map(path).collect::<Vec<_>>()});
        let rules = match self.route.hosts.as_slice() {
            [] => vec![json!({"http": paths})],
            hosts => hosts
                .iter()
                .map(|host| json!({"host": host, "http": paths}))
                .collect(),
        };
        json!({"ingressClassName": self.class, "rules": rules, "tls": to_json(&tls)})
    }
}

fn child(identity: &Identity<'_>, metadata: Metadata<'_>, spec: &Value) -> Child {
    identity.child(ChildKind::Ingress, metadata, fields(json!({"spec": spec})))
}

/// What ingress-nginx can be asked for.
pub(super) enum Matched<'a> {
    /// A header with a value.
    Header {
        /// Its name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// A cookie with the value always.
    Cookie {
        /// Its name.
        name: &'a str,
    },
}

impl<'a> Matched<'a> {
    /// What is asked for, where ingress-nginx can: one entry with one header or one cookie.
    pub(super) fn of(matches: &'a [RequestMatch]) -> Option<Self> {
        let [entry] = matches else { return None };
        if !entry.query_params.is_empty() {
            return None;
        }
        match (entry.headers.as_slice(), entry.cookies.as_slice()) {
            ([header], []) if is_plain(&header.name) && is_plain(&header.value) => Some(Self::Header {
                name: &header.name,
                value: &header.value,
            }),
            ([], [cookie]) if is_plain(&cookie.name) && cookie.value == ALWAYS => {
                Some(Self::Cookie { name: &cookie.name })
            }
            _ => None,
        }
    }
}

/// Whether ingress-nginx admits a text as the value of such an annotation. It ignores an Ingress with another.
pub(super) fn is_plain(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "/-._~:".contains(c))
}
