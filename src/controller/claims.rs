//! Which route claims which address, of all routes there are: two that want the same one are told of each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::cache::ServiceKey;
use crate::render::ChildKind;
use crate::traffic::Claim;

/// A route object: its kind, namespace and name.
type RouteKey = (ChildKind, String, String);

/// The claims of all routes.
#[derive(Debug, Default)]
pub struct Claims {
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    routes: BTreeMap<RouteKey, Claimant>,
    by_claim: HashMap<Claim, BTreeSet<RouteKey>>,
}

/// Who claims what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimant {
    /// The kind of its route.
    pub kind: ChildKind,
    /// Where it is.
    pub namespace: String,
    /// What it is called.
    pub name: String,
    /// The service that it belongs to; `None`: somebody else's.
    pub service: Option<ServiceKey>,
    /// What it claims.
    pub claims: Vec<Claim>,
}

impl Claimant {
    fn key(&self) -> RouteKey {
        (self.kind, self.namespace.clone(), self.name.clone())
    }
}

impl Claims {
    /// Takes a route as it is now. Answers the services that it meets, now or before.
    pub fn put(&self, claimant: Claimant) -> Vec<ServiceKey> {
        self.lock().put(claimant)
    }

    /// Takes a route away. Answers the services that it met.
    pub fn remove(&self, kind: ChildKind, namespace: &str, name: &str) -> Vec<ServiceKey> {
        self.lock().remove(&(kind, namespace.to_owned(), name.to_owned()))
    }

    /// Takes all routes of a kind, of a namespace or of all.
    pub fn replace(&self, kind: ChildKind, namespace: Option<&str>, list: Vec<Claimant>) -> Vec<ServiceKey> {
        let mut index = self.lock();
        let listed: BTreeSet<RouteKey> = list.iter().map(Claimant::key).collect();
        let gone = |key: &&RouteKey| {
            key.0 == kind && namespace.is_none_or(|namespace| namespace == key.1) && !listed.contains(*key)
        };
        let gone: Vec<RouteKey> = index.routes.keys().filter(gone).cloned().collect();
        let mut touched: Vec<ServiceKey> = gone.iter().flat_map(|key| index.remove(key)).collect();
        touched.extend(list.into_iter().flat_map(|claimant| index.put(claimant)));
        touched
    }

    /// The routes of others that claim what routes of `service` claim, in words.
    pub fn conflicts(&self, service: &ServiceKey) -> Vec<String> {
        let index = self.lock();
        let own = index
            .routes
            .values()
            .filter(|route| route.service.as_ref() == Some(service));
        own.flat_map(|route| route.claims.iter().flat_map(|claim| index.others(route, claim)))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Index> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn put(&mut self, claimant: Claimant) -> Vec<ServiceKey> {
        let key = claimant.key();
        if self.routes.get(&key) == Some(&claimant) {
            return Vec::new();
        }
        let mut touched = self.remove(&key);
        for claim in &claimant.claims {
            self.by_claim
                .entry(claim.clone())
                .or_default()
                .insert(key.clone());
        }
        self.routes.insert(key.clone(), claimant);
        touched.extend(self.met(&key));
        touched
    }

    fn remove(&mut self, key: &RouteKey) -> Vec<ServiceKey> {
        let met = self.met(key);
        if let Some(route) = self.routes.remove(key) {
            for claim in &route.claims {
                if let Some(keys) = self.by_claim.get_mut(claim) {
                    keys.remove(key);
                    if keys.is_empty() {
                        self.by_claim.remove(claim);
                    }
                }
            }
        }
        met
    }

    /// The services of the other routes with one of the claims of this one.
    fn met(&self, key: &RouteKey) -> Vec<ServiceKey> {
        let claims = self.routes.get(key).map(|route| route.claims.as_slice());
        let sharing = claims
            .unwrap_or_default()
            .iter()
            .filter_map(|claim| self.by_claim.get(claim));
        let others = sharing.flatten().filter(|other| *other != key);
        others
            .filter_map(|other| self.routes.get(other)?.service.clone())
            .collect()
    }

    fn others(&self, route: &Claimant, claim: &Claim) -> Vec<String> {
        let sharing = self.by_claim.get(claim).into_iter().flatten();
        let foreign = sharing.filter_map(|key| self.routes.get(key)).filter(|other| {
            // What belongs to one service stands side by side on purpose.
            other.service.is_none() || other.service != route.service
        });
        let words = foreign.map(|other| {
            format!(
                "{} {} claims {}{} of {}, and so does {} {}/{}: give one of them another host or path",
                route.kind.kind(),
                route.name,
                claim.host,
                claim.path,
                claim.scope,
                other.kind.kind(),
                other.namespace,
                other.name
            )
        });
        words.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ServiceKey {
        ServiceKey {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
        }
    }

    fn route(name: &str, service: Option<&str>, path: &str) -> Claimant {
        Claimant {
            kind: ChildKind::Ingress,
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            service: service.map(key),
            claims: vec![Claim {
                host: "shop.example".to_owned(),
                path: path.to_owned(),
                scope: "IngressClass nginx".to_owned(),
            }],
        }
    }

    #[test]
    fn two_that_claim_the_same_are_told_of_each_other() {
        let claims = Claims::default();
        assert!(claims.put(route("a-web", Some("a"), "/a")).is_empty());
        assert!(claims.conflicts(&key("a")).is_empty());
        assert_eq!(claims.put(route("legacy", None, "/a")), [key("a")]);
        assert_eq!(
            claims.conflicts(&key("a")),
            [
                "Ingress a-web claims shop.example/a of IngressClass nginx, and so does Ingress shop/legacy: give one of \
                 them another host or path"
            ]
        );
        assert_eq!(claims.put(route("legacy", None, "/b")), [key("a")]);
        assert!(claims.conflicts(&key("a")).is_empty());
        claims.put(route("legacy", None, "/a"));
        assert_eq!(claims.remove(ChildKind::Ingress, "shop", "legacy"), [key("a")]);
        assert!(claims.conflicts(&key("a")).is_empty());
    }

    #[test]
    fn routes_of_one_service_stand_side_by_side() {
        let claims = Claims::default();
        claims.put(route("a-web", Some("a"), "/a"));
        claims.put(route("a-web-too", Some("a"), "/a"));
        assert!(claims.conflicts(&key("a")).is_empty());
    }

    #[test]
    fn a_new_list_takes_away_what_it_lacks() {
        let claims = Claims::default();
        claims.put(route("a-web", Some("a"), "/a"));
        claims.put(route("legacy", None, "/a"));
        let touched = claims.replace(ChildKind::Ingress, None, vec![route("a-web", Some("a"), "/a")]);
        assert_eq!(touched, [key("a")]);
        assert!(claims.conflicts(&key("a")).is_empty());
    }
}
