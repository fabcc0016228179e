//! What is followed by watches: a service and its pods for `status -w`, all services for `list -w`, one for `wait`, and
//! the answer to a command. Nothing is polled.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource, ResourceExt};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};

use super::connection::Connection;
use super::terminal::Display;
use super::trouble::{Asked, Trouble};
use super::{Outcome, note};
use crate::api::{Microservice, labels};
use crate::plugin::command::{Answer, Order};
use crate::plugin::goal::{Ending, Look as Seen, Wait};
use crate::plugin::list::{Reach, list};
use crate::plugin::page::{Line, Look, Page, Span, Tone};
use crate::plugin::pods::PodLine;
use crate::plugin::tree::{Detail, Pods, Scene, tree};

/// How often at most a screen is drawn.
const FRAME: Duration = Duration::from_millis(150);
/// How many frames of nothing new are left out before times are drawn anew.
const STILL: u32 = 6;

type Events<K> = BoxStream<'static, Result<Event<K>, watcher::Error>>;

/// Objects of a watch by namespace and name.
struct Known<K> {
    objects: BTreeMap<(String, String), K>,
    listed: BTreeMap<(String, String), K>,
}

impl<K: Resource + Clone> Known<K> {
    fn new() -> Self {
        Self {
            objects: BTreeMap::new(),
            listed: BTreeMap::new(),
        }
    }

    /// Whether something is known anew.
    fn take(&mut self, event: Event<K>) -> bool {
        let key = |object: &K| (object.namespace().unwrap_or_default(), object.name_any());
        match event {
            Event::Apply(object) => {
                self.objects.insert(key(&object), object);
            }
            Event::Delete(object) => {
                self.objects.remove(&key(&object));
            }
            Event::Init => {
                self.listed.clear();
                return false;
            }
            Event::InitApply(object) => {
                self.listed.insert(key(&object), object);
                return false;
            }
            Event::InitDone => self.objects = std::mem::take(&mut self.listed),
        }
        true
    }
}

/// What ends a screen, or asks for another frame.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    resized: Signal,
}

enum Told {
    End,
    Draw,
}

impl Signals {
    fn new() -> Result<Self, Trouble> {
        let on = |kind| {
            signal(kind).map_err(|error| Trouble::from(format!("signals cannot be received: {error}")))
        };
        Ok(Self {
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
            hangup: on(SignalKind::hangup())?,
            resized: on(SignalKind::window_change())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.interrupt.recv() => Told::End,
            _ = self.terminate.recv() => Told::End,
            _ = self.hangup.recv() => Told::End,
            _ = self.resized.recv() => Told::Draw,
        }
    }
}

fn watch_one(connection: &Connection, name: &str) -> Events<Microservice> {
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    watcher(connection.services(), config).default_backoff().boxed()
}

fn pods_of(connection: &Connection) -> Api<Pod> {
    Api::namespaced(connection.client.clone(), &connection.namespace)
}

/// The pods of a service, as far as they may be read.
pub async fn pods(connection: &Connection, name: &str) -> Pods {
    let wanted = kube::api::ListParams::default().labels(&labels::service_selector(name));
    match pods_of(connection).list(&wanted).await {
        Ok(found) => Pods::Known(lines(found.items.iter())),
        Err(error) => Pods::Unknown(asked_pods(connection, "list").failed(&error).0),
    }
}

fn lines<'a>(pods: impl Iterator<Item = &'a Pod>) -> Vec<PodLine> {
    let mut lines: Vec<PodLine> = pods.map(PodLine::of).collect();
    lines.sort_by(|a, b| (&a.revision, &a.name).cmp(&(&b.revision, &b.name)));
    lines
}

fn asked_pods<'a>(connection: &'a Connection, verb: &'a str) -> Asked<'a> {
    Asked {
        verb,
        resource: "pods",
        name: None,
        namespace: &connection.namespace,
    }
}

/// `status -w`.
pub async fn status(
    connection: &Connection,
    name: &str,
    detail: Detail,
    look: Look,
) -> Result<Outcome, Trouble> {
    // What cannot be followed is told at once, and not on a screen.
    connection.service(name).await?;
    let mut services = watch_one(connection, name);
    let wanted = watcher::Config::default().labels(&labels::service_selector(name));
    let mut pods: Events<Pod> = watcher(pods_of(connection), wanted).default_backoff().boxed();
    let (mut service, mut known) = (Known::new(), Known::new());
    let mut without_pods: Option<String> = None;
    let mut lost: Option<String> = None;
    let mut signals = Signals::new()?;
    let mut pace = Pace::new();
    let mut display = Display::open(look)?;
    let mut seen = false;
    loop {
        tokio::select! {
            Some(event) = services.next() => match event {
                Ok(event) => {
                    seen |= matches!(event, Event::InitDone);
                    lost = None;
                    pace.news |= service.take(event);
                }
                Err(error) => {
                    lost = Some(connection.asked("watch", name).lost(&error).0);
                    pace.news = true;
                }
            },
            Some(event) = pods.next() => match event {
                Ok(event) => {
                    without_pods = None;
                    pace.news |= known.take(event);
                }
                Err(error) => {
                    without_pods = Some(asked_pods(connection, "watch").lost(&error).0);
                    pace.news = true;
                }
            },
            told = signals.next() => match told {
                Told::End => return Ok(Outcome::Done),
                Told::Draw => pace.news = true,
            },
            () = pace.frame(&display) => {
                let Some(found) = service.objects.values().next() else {
                    if seen {
                        return Err(format!("{name} was deleted").into());
                    }
                    continue;
                };
                let pods = match &without_pods {
                    Some(why) => Pods::Unknown(why.clone()),
                    None => Pods::Known(lines(known.objects.values())),
                };
                let scene = Scene { service: found, pods: &pods, now: Timestamp::now(), detail };
                display.show(&with_remark(tree(&scene, look.signs), lost.as_deref()))?;
            }
        }
    }
}

fn with_remark(mut page: Page, lost: Option<&str>) -> Page {
    if let Some(lost) = lost {
        page.0.push(Line::default());
        page.0
            .push(Line(vec![Span::new(Tone::Bad, format!("this is old: {lost}"))]));
    }
    page
}

/// When the next frame is due.
struct Pace {
    ticks: tokio::time::Interval,
    still: u32,
    news: bool,
}

impl Pace {
    fn new() -> Self {
        let mut ticks = tokio::time::interval(FRAME);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            ticks,
            still: 0,
            news: false,
        }
    }

    /// Returns when there is something new, and on a screen also when only time went by.
    async fn frame(&mut self, display: &Display) {
        loop {
            self.ticks.tick().await;
            self.still += 1;
            if self.news || (self.still >= STILL && display.is_screen()) {
                self.still = 0;
                self.news = false;
                return;
            }
        }
    }
}

/// `list -w`.
pub async fn all(
    connection: &Connection,
    reach: Reach,
    detail: Detail,
    look: Look,
) -> Result<Outcome, Trouble> {
    let api = services(connection, reach);
    let asked = asked_all(connection, reach, "watch");
    let mut events: Events<Microservice> = watcher(api, watcher::Config::default()).default_backoff().boxed();
    let mut known = Known::new();
    let mut lost: Option<String> = None;
    let mut signals = Signals::new()?;
    let mut pace = Pace::new();
    let mut display: Option<Display> = None;
    loop {
        let frame = async {
            match &display {
                Some(display) => pace.frame(display).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some(event) = events.next() => match event {
                Ok(event) => {
                    if display.is_none() && matches!(event, Event::InitDone) {
                        display = Some(Display::open(look)?);
                    }
                    lost = None;
                    pace.news |= known.take(event);
                }
                // Before the first list it is no interruption but a refusal.
                Err(error) if display.is_none() => return Err(asked.lost(&error)),
                Err(error) => {
                    lost = Some(asked.lost(&error).0);
                    pace.news = true;
                }
            },
            told = signals.next() => match told {
                Told::End => return Ok(Outcome::Done),
                Told::Draw => pace.news = true,
            },
            () = frame => {
                let services: Vec<Microservice> = known.objects.values().cloned().collect();
                let page = list(&services, reach, detail, Timestamp::now());
                if let Some(display) = &mut display {
                    display.show(&with_remark(page, lost.as_deref()))?;
                }
            }
        }
    }
}

/// The Microservices of one namespace or of all.
pub fn services(connection: &Connection, reach: Reach) -> Api<Microservice> {
    match reach {
        Reach::One => connection.services(),
        Reach::All => Api::all(connection.client.clone()),
    }
}

/// What is asked of them, for what is said when it fails.
pub fn asked_all<'a>(connection: &'a Connection, reach: Reach, verb: &'a str) -> Asked<'a> {
    Asked {
        verb,
        resource: "microservices",
        name: None,
        namespace: match reach {
            Reach::One => &connection.namespace,
            Reach::All => "",
        },
    }
}

/// `wait`: progress on standard error, the ending too.
pub async fn wait(
    connection: &Connection,
    name: &str,
    mut wait: Wait,
    timeout: Duration,
) -> Result<Outcome, Trouble> {
    // A name that is wrong is told at once.
    connection.service(name).await?;
    let deadline = Instant::now() + timeout;
    let mut events = watch_one(connection, name);
    let mut known = Known::new();
    let mut troubled: Option<String> = None;
    loop {
        let event = match tokio::time::timeout_at(deadline, events.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => return Err(format!("{name}: the watch ended").into()),
            Err(_) => {
                note(&format!("{name}: timed out: {}", wait.last_words()));
                return Ok(Outcome::TimedOut);
            }
        };
        match event {
            Ok(event) => {
                if !known.take(event) {
                    continue;
                }
            }
            Err(error) => {
                let trouble = connection.asked("watch", name).lost(&error).0;
                if troubled.as_ref() != Some(&trouble) {
                    note(&format!("{name}: {trouble}"));
                    troubled = Some(trouble);
                }
                continue;
            }
        }
        match wait.see(known.objects.values().next()) {
            Seen::Same => {}
            Seen::Progress(words) => note(&format!("{name}: {words}")),
            Seen::End(ending) => return Ok(ended(name, ending)),
        }
    }
}

fn ended(name: &str, ending: Ending) -> Outcome {
    let (words, outcome) = match ending {
        Ending::Reached(words) => (words, Outcome::Done),
        Ending::Failed(words) => (words, Outcome::Refused),
        Ending::Gone(words) => (words, Outcome::Failed),
    };
    note(&format!("{name}: {words}"));
    outcome
}

/// Waits for the operator's answer to an order. What is known at the deadline is the answer.
pub async fn answer(
    connection: &Connection,
    name: &str,
    order: &Order,
    written: &Microservice,
    timeout: Duration,
) -> Result<Answer, Trouble> {
    let mut last = order.answer(written);
    let deadline = Instant::now() + timeout;
    let mut events = watch_one(connection, name);
    let mut known = Known::new();
    while let Answer::Awaited(_) = last {
        let event = match tokio::time::timeout_at(deadline, events.next()).await {
            Ok(Some(Ok(event))) => event,
            Ok(Some(Err(error))) => return Err(connection.asked("watch", name).lost(&error)),
            Ok(None) | Err(_) => return Ok(last),
        };
        if !known.take(event) {
            continue;
        }
        match known.objects.values().next() {
            Some(service) => last = order.answer(service),
            None => return Err(format!("{name} was deleted before the operator answered").into()),
        }
    }
    Ok(last)
}
