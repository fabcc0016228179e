//! Everything that a watch tells about objects of one kind, with the time at which it was told.

use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use jiff::Timestamp;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::task::AbortHandle;

/// A state of an object.
#[derive(Clone, Debug)]
pub struct Sighting<K> {
    /// When it was seen.
    pub at: Timestamp,
    /// The object.
    pub object: K,
    /// Whether it is gone.
    pub gone: bool,
}

/// All states of the objects of one kind in a namespace since the start.
#[derive(Debug)]
pub struct Recorder<K> {
    seen: Arc<Mutex<Vec<Sighting<K>>>>,
    task: AbortHandle,
}

impl<K> Recorder<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    /// Starts.
    pub fn start(api: Api<K>) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut stream = watcher(api, watcher::Config::default()).default_backoff().boxed();
            while let Some(event) = stream.next().await {
                let (object, gone) = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => (object, false),
                    Ok(Event::Delete(object)) => (object, true),
                    Ok(Event::Init | Event::InitDone) | Err(_) => continue,
                };
                sink.lock().unwrap().push(Sighting {
                    at: Timestamp::now(),
                    object,
                    gone,
                });
            }
        });
        Self {
            seen,
            task: task.abort_handle(),
        }
    }

    /// Everything so far.
    pub fn all(&self) -> Vec<Sighting<K>> {
        self.seen.lock().unwrap().clone()
    }

    /// The first state of which `is` holds. Waits for it.
    pub async fn first(&self, what: &str, is: impl Fn(&K) -> bool) -> Sighting<K> {
        crate::eventually(what, async || {
            let seen = self.seen.lock().unwrap();
            let found = seen
                .iter()
                .find(|sighting| !sighting.gone && is(&sighting.object))
                .cloned();
            found.ok_or_else(|| format!("{} states, none of them so", seen.len()))
        })
        .await
    }
}

impl<K> Drop for Recorder<K> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
