//! A cache of one kind: what a watch has told, overlaid by what our own writes returned until the watch has caught up.
//!
//! Pure but for its lock. Objects are found by service, so that one planning costs the size of one service.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, RwLock};

/// A Microservice, by namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// What the cache has to know of an object.
pub trait Cached {
    /// Its namespace.
    fn object_namespace(&self) -> &str;
    /// Its name.
    fn object_name(&self) -> &str;
    /// Its uid.
    fn object_uid(&self) -> &str;
    /// Its resourceVersion. Comparable as a number within one kind, as Kubernetes 1.35 promises and etcd always did.
    fn version(&self) -> u64;
    /// The service that it belongs to.
    fn service(&self) -> Option<ServiceKey>;
}

/// All objects of one kind that are known.
#[derive(Debug)]
pub struct Cache<T> {
    inner: RwLock<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    objects: HashMap<(String, String), Arc<T>>,
    by_service: HashMap<ServiceKey, BTreeMap<String, Arc<T>>>,
    /// Objects that we deleted and that the watch may still show.
    deleted: HashSet<String>,
}

impl<T> Default for Cache<T> {
    fn default() -> Self {
        let inner = Inner {
            objects: HashMap::new(),
            by_service: HashMap::new(),
            deleted: HashSet::new(),
        };
        Self {
            inner: RwLock::new(inner),
        }
    }
}

impl<T: Cached> Cache<T> {
    /// Takes what a watch or a write of ours returned, unless something newer is known. Answers what it replaced, and
    /// whether it was taken.
    pub fn put(&self, object: T) -> Put<T> {
        let mut inner = self.write();
        if inner.deleted.contains(object.object_uid()) {
            return Put::Stale;
        }
        inner.put(Arc::new(object))
    }

    /// Takes the news that an object is gone.
    pub fn remove(&self, namespace: &str, name: &str, uid: &str) -> Option<Arc<T>> {
        let mut inner = self.write();
        inner.deleted.remove(uid);
        inner.remove_if(namespace, name, |known| known.object_uid() == uid)
    }

    /// Notes that we deleted an object: what the watch still says about it is old.
    pub fn deleted(&self, namespace: &str, name: &str, uid: &str) {
        let mut inner = self.write();
        if inner
            .remove_if(namespace, name, |known| known.object_uid() == uid)
            .is_some()
        {
            inner.deleted.insert(uid.to_owned());
        }
    }

    /// Replaces all that is known of a namespace (of all, with `None`) by a complete list. Answers the services that
    /// lost something.
    pub fn replace(&self, namespace: Option<&str>, list: Vec<T>) -> Vec<ServiceKey> {
        let mut inner = self.write();
        let listed: HashSet<(String, String)> = list
            .iter()
            .map(|o| (o.object_namespace().to_owned(), o.object_name().to_owned()))
            .collect();
        // What was written after the list was made is not in it and must not be lost.
        let newest = list.iter().map(Cached::version).max().unwrap_or(0);
        let gone: Vec<Arc<T>> = inner
            .objects
            .values()
            .filter(|o| namespace.is_none_or(|ns| ns == o.object_namespace()))
            .filter(|o| !listed.contains(&(o.object_namespace().to_owned(), o.object_name().to_owned())))
            .filter(|o| newest == 0 || o.version() <= newest)
            .cloned()
            .collect();
        for object in &gone {
            inner.remove_if(object.object_namespace(), object.object_name(), |_| true);
        }
        inner.deleted.clear();
        for object in list {
            inner.put(Arc::new(object));
        }
        gone.iter().filter_map(|o| o.service()).collect()
    }

    /// The objects of one service, by name.
    pub fn of(&self, service: &ServiceKey) -> Vec<Arc<T>> {
        self.read()
            .by_service
            .get(service)
            .map(|objects| objects.values().cloned().collect())
            .unwrap_or_default()
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<T>> {
        self.read()
            .objects
            .get(&(namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    /// All objects.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.read().objects.values().cloned().collect()
    }

    /// Forgets everything, as when a kind is served no more.
    pub fn clear(&self) {
        *self.write() = Self::default()
            .inner
            .into_inner()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
    }

    // A panic while the lock is held leaves whole objects: every change above is one insert or remove.
    fn read(&self) -> std::sync::RwLockReadGuard<'_, Inner<T>> {
        self.inner
            .read()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Inner<T>> {
        self.inner
            .write()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// What became of an object that was put.
#[derive(Debug)]
pub enum Put<T> {
    /// It is known now, instead of this one.
    Taken(Option<Arc<T>>),
    /// Something newer is known.
    Stale,
}

impl<T: Cached> Inner<T> {
    fn put(&mut self, object: Arc<T>) -> Put<T> {
        let key = (
            object.object_namespace().to_owned(),
            object.object_name().to_owned(),
        );
        if self
            .objects
            .get(&key)
            .is_some_and(|known| known.version() >= object.version())
        {
            return Put::Stale;
        }
        let before = self.objects.insert(key, Arc::clone(&object));
        if let Some(service) = before.as_ref().and_then(|b| b.service()) {
            self.unindex(&service, object.object_name());
        }
        if let Some(service) = object.service() {
            self.by_service
                .entry(service)
                .or_default()
                .insert(object.object_name().to_owned(), object);
        }
        Put::Taken(before)
    }

    fn remove_if(&mut self, namespace: &str, name: &str, is_it: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let key = (namespace.to_owned(), name.to_owned());
        if !self.objects.get(&key).is_some_and(|known| is_it(known)) {
            return None;
        }
        let gone = self.objects.remove(&key)?;
        if let Some(service) = gone.service() {
            self.unindex(&service, name);
        }
        Some(gone)
    }

    fn unindex(&mut self, service: &ServiceKey, name: &str) {
        if let Some(objects) = self.by_service.get_mut(service) {
            objects.remove(name);
            if objects.is_empty() {
                self.by_service.remove(service);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Debug, PartialEq)]
    struct Object(&'static str, &'static str, u64);

    impl Cached for Object {
        fn object_namespace(&self) -> &str {
            "ns"
        }
        fn object_name(&self) -> &str {
            self.0
        }
        fn object_uid(&self) -> &str {
            self.1
        }
        fn version(&self) -> u64 {
            self.2
        }
        fn service(&self) -> Option<ServiceKey> {
            Some(service())
        }
    }

    fn service() -> ServiceKey {
        ServiceKey {
            namespace: "ns".into(),
            name: "svc".into(),
        }
    }

    fn versions(cache: &Cache<Object>) -> Vec<u64> {
        cache.of(&service()).iter().map(|o| o.2).collect()
    }

    #[test]
    fn a_stale_watch_never_takes_back_what_a_write_returned() {
        let cache = Cache::default();
        cache.put(Object("a", "1", 5));
        cache.put(Object("a", "1", 9));
        assert!(matches!(cache.put(Object("a", "1", 7)), Put::Stale));
        assert_eq!(versions(&cache), [9]);
    }

    #[test]
    fn a_deleted_object_does_not_come_back_from_a_stale_watch() {
        let cache = Cache::default();
        cache.put(Object("a", "1", 5));
        cache.deleted("ns", "a", "1");
        assert!(matches!(cache.put(Object("a", "1", 6)), Put::Stale));
        assert_eq!(versions(&cache), [0; 0]);
        // A new object of that name is another one.
        cache.put(Object("a", "2", 8));
        cache.remove("ns", "a", "1");
        assert_eq!(versions(&cache), [8]);
    }

    #[test]
    fn a_relist_drops_what_is_gone_and_keeps_what_was_written_since() {
        let cache = Cache::default();
        for object in [
            Object("old", "1", 1),
            Object("kept", "2", 2),
            Object("new", "3", 9),
        ] {
            cache.put(object);
        }
        let lost = cache.replace(None, vec![Object("kept", "2", 4)]);
        assert_eq!(lost, [service()]);
        assert_eq!(versions(&cache), [4, 9]);
    }
}
