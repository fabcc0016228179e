//! Adoption: what ran before the Microservice did becomes its first revision, as it is. Nothing restarts.
//!
//! The annotation names kinds. Nothing is touched before all that was found fits together: what does not is refused, with
//! the way out. From then on the pods are told by labels which revision they are of. Their template cannot say it, because
//! another template would mean other pods.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::draft::{Draft, later};
use super::likeness::unlike;
use super::observed::{ChildKey, Deleting, LiveChild, Observed, Ownership};
use super::resolve::{Resolution, record_of_template};
use super::state::State;
use crate::api::conditions::{ConditionStatus, ConditionType};
use crate::api::{Headless, StrategyType, annotations, labels};
use crate::render::{ChildKind, Exposure, Identity, pod_template, pruned};
use crate::revision::{Adopted, Record};

/// Seconds after which what was found is looked at again where it did not fit: nobody tells what becomes of it.
const AGAIN_SECONDS: i64 = 15;
/// The same while something is under way that ends by itself.
const SOON_SECONDS: i64 = 2;
/// The kinds that can be adopted. Records and configuration are of a revision, and Jobs run once.
const KINDS: [ChildKind; 13] = [
    ChildKind::Deployment,
    ChildKind::Service,
    ChildKind::HorizontalPodAutoscaler,
    ChildKind::PodDisruptionBudget,
    ChildKind::Ingress,
    ChildKind::HttpRoute,
    ChildKind::GrpcRoute,
    ChildKind::VirtualService,
    ChildKind::ServiceAccount,
    ChildKind::NetworkPolicy,
    ChildKind::ServiceMonitor,
    ChildKind::PodMonitor,
    ChildKind::PrometheusRule,
];

/// What the annotation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// The kinds, with the name where one is given.
    kinds: BTreeMap<ChildKind, Option<String>>,
}

impl Wish {
    /// Reads the annotation's value.
    ///
    /// # Errors
    /// In words, where it names what cannot be adopted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut kinds = BTreeMap::new();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (kind, name) = match word.split_once('/') {
                Some((kind, name)) => (kind, Some(name.to_owned())),
                None => (word, None),
            };
            let Some(known) = KINDS.into_iter().find(|known| known.kind() == kind) else {
                let all: Vec<&str> = KINDS.iter().map(|kind| kind.kind()).collect();
                return Err(format!(
                    "annotation {} names {kind}, which cannot be adopted: write one or more of {}",
                    annotations::ADOPT,
                    all.join(", ")
                ));
            };
            if name.is_some() && ![ChildKind::Deployment, ChildKind::PodDisruptionBudget].contains(&known) {
                return Err(format!(
                    "annotation {} says {word}: only a Deployment and a PodDisruptionBudget may have another name than \
                     the Microservice's own object would have; write {kind} (an Ingress is named by \
                     routes[].ingress.name)",
                    annotations::ADOPT
                ));
            }
            kinds.insert(known, name);
        }
        Ok(Self { kinds })
    }

    fn allows(&self, kind: ChildKind) -> bool {
        self.kinds.contains_key(&kind)
    }

    fn named(&self, kind: ChildKind, service: &str) -> String {
        let name = self.kinds.get(&kind).cloned().flatten();
        name.unwrap_or_else(|| service.to_owned())
    }
}

/// What the annotation of a Microservice asks for; `None` without it.
fn wish(observed: &Observed) -> Option<Result<Wish, String>> {
    observed.annotation(annotations::ADOPT).map(Wish::parse)
}

/// The objects to look for, whoever has them: those that the annotation names, and those that would have to be adopted
/// with them.
pub fn sought(observed: &Observed) -> Vec<ChildKey> {
    let Some(Ok(wish)) = wish(observed) else {
        return Vec::new();
    };
    let service = observed.name();
    let mut all: BTreeSet<ChildKey> = BTreeSet::new();
    let always = [
        ChildKind::Deployment,
        ChildKind::Service,
        ChildKind::HorizontalPodAutoscaler,
        ChildKind::PodDisruptionBudget,
    ];
    for kind in always.into_iter().chain(wish.kinds.keys().copied()) {
        if !is_route(kind) {
            all.insert((kind, wish.named(kind, service)));
        }
    }
    let identity = Identity::of(&observed.service, observed.namespace());
    let exposure = Exposure::of(&observed.spec().exposure);
    let router = observed.spec().operation.strategy().router();
    let routes = crate::traffic::routes(&identity, &exposure, router, None);
    all.extend(routes.into_iter().map(|child| (child.kind, child.name)));
    all.into_iter()
        .filter(|(kind, _)| {
            kind.presence() == crate::render::KindPresence::Always || observed.served_kinds.contains(kind)
        })
        .collect()
}

fn is_route(kind: ChildKind) -> bool {
    super::traffic::is_route(kind)
}

/// The Deployment that is to be adopted, where the annotation asks for one.
pub fn sought_deployment(observed: &Observed) -> Option<String> {
    let wish = wish(observed)?.ok()?;
    wish.allows(ChildKind::Deployment)
        .then(|| wish.named(ChildKind::Deployment, observed.name()))
}

/// The object of nobody that stands under the name of a child and may be taken over.
pub fn adoptable<'a>(observed: &'a Observed, key: &ChildKey) -> Option<&'a LiveChild> {
    let live = observed.found.get(key)?;
    let wish = wish(observed)?.ok()?;
    (wish.allows(key.0) && controller(live).is_none() && live.deleting == Deleting::No).then_some(live)
}

/// Who controls an object.
fn controller(live: &LiveChild) -> Option<String> {
    let owners = live.object.pointer("/metadata/ownerReferences")?.as_array()?;
    let owner = owners.iter().find(|owner| owner["controller"] == json!(true))?;
    Some(format!("{} {}", text(owner, "kind"), text(owner, "name")))
}

fn text(value: &Value, field: &str) -> String {
    value
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn map(value: Option<&Value>) -> BTreeMap<String, String> {
    let fields = value.and_then(Value::as_object).into_iter().flatten();
    fields
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
}

/// What comes of a wish before anything has been decided.
#[derive(Clone, Debug, PartialEq)]
pub enum Finding {
    /// Nothing is to be adopted as the first revision.
    NotAsked,
    /// There is nothing to adopt: the service begins as any other.
    Nothing(String),
    /// It does not fit, and nothing is touched.
    Refused(Misfit),
    /// It will fit soon.
    Pending(Misfit),
    /// This is the first revision.
    Ready(Box<Record>),
}

/// Why something is not adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// CamelCase reason.
    pub reason: &'static str,
    /// What is wrong, and the way out.
    pub message: String,
}

fn refused(reason: &'static str, message: String) -> Finding {
    Finding::Refused(Misfit { reason, message })
}

/// Whether what was found can be the first revision.
pub fn finding(observed: &Observed, resolution: &Resolution) -> Finding {
    let wish = match wish(observed) {
        None => return Finding::NotAsked,
        Some(Err(message)) => return refused("WrongAnnotation", message),
        Some(Ok(wish)) if !wish.allows(ChildKind::Deployment) => return Finding::NotAsked,
        Some(Ok(wish)) => wish,
    };
    let service = observed.name();
    let name = wish.named(ChildKind::Deployment, service);
    let Some(deployment) = observed.found.get(&(ChildKind::Deployment, name.clone())) else {
        return Finding::Nothing(format!(
            "there is no Deployment {name} to adopt: the service begins with a revision of its own"
        ));
    };
    let misfit = held_by_others(observed, &wish)
        .or_else(|| unfit_deployment(&name, deployment))
        .or_else(|| unfit_service(observed, deployment))
        .or_else(|| unfit_autoscaler(observed, &name));
    if let Some(misfit) = misfit {
        return Finding::Refused(misfit);
    }
    if let Some(message) = unsettled(&name, deployment) {
        return Finding::Pending(Misfit {
            reason: "RolloutUnderWay",
            message,
        });
    }
    let Resolution::Revision(target) = resolution else {
        return Finding::Pending(Misfit {
            reason: "Unresolved",
            message: format!("Deployment {name} is adopted when it is known what the spec asks for"),
        });
    };
    Finding::Ready(Box::new(first_record(observed, &wish, target, &name, deployment)))
}

/// What stands in the way: somebody else's, not asked for, or on its way out.
fn held_by_others(observed: &Observed, wish: &Wish) -> Option<Misfit> {
    observed.found.iter().find_map(|((kind, name), live)| {
        let what = format!("{} {name}", kind.kind());
        if let Some(owner) = controller(live) {
            return Some(Misfit {
                reason: "OwnedByOther",
                message: format!(
                    "{what} belongs to {owner}, which would change it back: take it out of its hands first (delete \
                     {owner} with --cascade=orphan), or do not adopt it"
                ),
            });
        }
        if live.deleting == Deleting::Yes {
            return Some(Misfit {
                reason: "BeingDeleted",
                message: format!("{what} is being deleted"),
            });
        }
        // A budget of others is a condition of its own, and an autoscaler of another name is looked at by its target.
        let listed = wish.allows(*kind)
            || *kind == ChildKind::PodDisruptionBudget
            || (*kind == ChildKind::HorizontalPodAutoscaler && *name != observed.name());
        (!listed).then(|| Misfit {
            reason: "NotListed",
            message: format!(
                "{what} exists, has the name of an object of this Microservice, and annotation {} does not list {}: add \
                 it, or delete or rename the object",
                annotations::ADOPT,
                kind.kind()
            ),
        })
    })
}

fn unfit_deployment(name: &str, live: &LiveChild) -> Option<Misfit> {
    let expressions = live.object.pointer("/spec/selector/matchExpressions");
    let has_some = expressions
        .and_then(Value::as_array)
        .is_some_and(|all| !all.is_empty());
    has_some.then(|| Misfit {
        reason: "SelectorNotSupported",
        message: format!(
            "Deployment {name} selects its pods by matchExpressions; only matchLabels can be kept: make the service anew \
             beside it, under another name"
        ),
    })
}

/// Whether the Deployment is between two templates, or has pods that it was not told of yet.
fn unsettled(name: &str, live: &LiveChild) -> Option<String> {
    let number = |path: &str| live.object.pointer(path).and_then(Value::as_i64).unwrap_or(0);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let (all, updated) = (number("/status/replicas"), number("/status/updatedReplicas"));
    (!seen || all != updated).then(|| {
        format!("Deployment {name} has a rollout of its own under way ({updated} of {all} pods are of its present template): it is adopted when that is over")
    })
}

fn unfit_service(observed: &Observed, deployment: &LiveChild) -> Option<Misfit> {
    let name = observed.name();
    let live = observed.found.get(&(ChildKind::Service, name.to_owned()))?;
    let spec = &observed.spec().exposure;
    let misfit = |reason, message| Some(Misfit { reason, message });
    if Exposure::of(spec).ports.is_empty() {
        return misfit(
            "ServiceUnwanted",
            format!(
                "Service {name} exists, and the spec has no port for it: write its ports, or delete it if nobody calls it"
            ),
        );
    }
    let selector = map(live.object.pointer("/spec/selector"));
    let pods = map(deployment.object.pointer("/spec/template/metadata/labels"));
    if selector.is_empty() || selector.iter().any(|(key, value)| pods.get(key) != Some(value)) {
        return misfit(
            "SelectorMismatch",
            format!(
                "Service {name} does not select the pods of the Deployment: its selector is {}, and their labels are {}. \
                 Name the Deployment that serves (Deployment/NAME in annotation {}), or make them agree",
                words(&selector),
                words(&pods),
                annotations::ADOPT
            ),
        );
    }
    let headless = live.object.pointer("/spec/clusterIP") == Some(&json!("None"));
    let wanted = spec
        .service
        .clone()
        .unwrap_or_default()
        .headless
        .unwrap_or_default();
    if headless != (wanted == Headless::Enabled) {
        let (is, say) = if headless {
            ("is headless", "Enabled")
        } else {
            ("has a cluster IP", "Disabled")
        };
        return misfit(
            "HeadlessMismatch",
            format!("Service {name} {is}, which cannot be changed: write service.headless: {say}"),
        );
    }
    misled_port(observed, deployment, live).map(|message| Misfit {
        reason: "PortMismatch",
        message,
    })
}

/// A port of the Service that the spec leads elsewhere: the pods that run do not listen there.
fn misled_port(observed: &Observed, deployment: &LiveChild, service: &LiveChild) -> Option<String> {
    let array = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let containers = array(deployment.object.pointer("/spec/template/spec/containers"));
    let named = |name: &str| {
        let mut all = containers
            .iter()
            .flat_map(|container| array(container.get("ports")));
        all.find(|port| text(port, "name") == name)
            .and_then(|port| port.get("containerPort")?.as_i64())
    };
    for port in array(service.object.pointer("/spec/ports")) {
        let (number, protocol) = (port.get("port").and_then(Value::as_i64), text(&port, "protocol"));
        let leads = match port.get("targetPort") {
            None => number,
            Some(Value::String(name)) => named(name),
            Some(other) => other.as_i64(),
        };
        let spec = &observed.spec().exposure;
        let mut included = spec.ports.iter().filter(|known| known.in_service());
        let wanted = included.find(|known| {
            Some(i64::from(known.service_port())) == number
                && (protocol.is_empty() || known.protocol().as_str() == protocol)
        });
        if let Some(wanted) = wanted
            && leads != Some(i64::from(wanted.container_port))
        {
            return Some(format!(
                "port {} of Service {} leads to {}, and port {} of the spec to {}: write that containerPort, and change it \
                 after the adoption",
                number.unwrap_or_default(),
                observed.name(),
                leads.map_or("nothing".to_owned(), |leads| leads.to_string()),
                wanted.name,
                wanted.container_port
            ));
        }
    }
    None
}

fn words(labels: &BTreeMap<String, String>) -> String {
    let all: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    if all.is_empty() {
        "empty".to_owned()
    } else {
        all.join(",")
    }
}

fn unfit_autoscaler(observed: &Observed, deployment: &str) -> Option<Misfit> {
    let own = observed.name();
    let found = observed
        .found
        .iter()
        .filter(|((kind, _), _)| *kind == ChildKind::HorizontalPodAutoscaler);
    for ((_, name), live) in found {
        if name != own {
            return Some(Misfit {
                reason: "AutoscalerMismatch",
                message: format!(
                    "HorizontalPodAutoscaler {name} scales Deployment {deployment}, and that of this Microservice is \
                     called {own}: delete {name} (the pods stay), its bounds belong into spec.autoscaling"
                ),
            });
        }
        if observed.spec().operation.autoscaling.is_none() {
            return Some(Misfit {
                reason: "AutoscalerUnwanted",
                message: format!(
                    "HorizontalPodAutoscaler {name} exists, and the spec has no autoscaling: write its bounds there, or \
                     delete it (the pods stay)"
                ),
            });
        }
        let target = live.object.pointer("/spec/scaleTargetRef");
        let (kind, scaled) = target.map_or_else(Default::default, |target| {
            (text(target, "kind"), text(target, "name"))
        });
        if kind != "Microservice" && (kind.as_str(), scaled.as_str()) != ("Deployment", deployment) {
            return Some(Misfit {
                reason: "AutoscalerMismatch",
                message: format!(
                    "HorizontalPodAutoscaler {name} scales {kind} {scaled}, not Deployment {deployment}: rename it"
                ),
            });
        }
    }
    None
}

/// The record of what runs: as the revision that the spec asks for where it is that, else as one of its own.
fn first_record(observed: &Observed, wish: &Wish, target: &Record, name: &str, live: &LiveChild) -> Record {
    let template = template_of(live);
    let mut record = match difference(observed, target, &template) {
        None => target.clone(),
        Some(_) => record_of_template(observed, &template),
    };
    name.clone_into(&mut record.data.deployment);
    record.data.selector = map(live.object.pointer("/spec/selector/matchLabels"));
    record.data.template = template;
    record.data.adopted = Some(Adopted {
        service_selector: observed
            .found
            .get(&(ChildKind::Service, observed.name().to_owned()))
            .map(|service| map(service.object.pointer("/spec/selector")))
            .unwrap_or_default(),
        budget: budget(observed, wish),
    });
    record
}

fn budget(observed: &Observed, wish: &Wish) -> Option<String> {
    let name = wish.named(ChildKind::PodDisruptionBudget, observed.name());
    let key = (ChildKind::PodDisruptionBudget, name.clone());
    (wish.allows(key.0) && observed.found.contains_key(&key)).then_some(name)
}

fn template_of(live: &LiveChild) -> Value {
    let mut template = pruned(live.object.pointer("/spec/template").cloned().unwrap_or_default());
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("creationTimestamp");
    }
    template
}

/// Where what the spec asks for differs from what runs.
fn difference(observed: &Observed, target: &Record, template: &Value) -> Option<String> {
    let identity = Identity::of(&observed.service, observed.namespace());
    let rendered = pod_template(&identity, &target.name, &target.data.input, &[]);
    unlike(&rendered, template, observed.name())
}

/// How many pods run already of what is to be adopted.
pub fn found_replicas(observed: &Observed) -> Option<i32> {
    let name = sought_deployment(observed)?;
    let live = observed.found.get(&(ChildKind::Deployment, name))?;
    let replicas = live.object.pointer("/spec/replicas").and_then(Value::as_i64);
    Some(replicas.and_then(|n| i32::try_from(n).ok()).unwrap_or(1))
}

/// The record of what is to be adopted, where `target` is its revision: what a crash left out is made again.
pub fn as_found(observed: &Observed, resolution: &Resolution, target: Record) -> Record {
    match finding(observed, resolution) {
        Finding::Ready(record) if record.name == target.name => *record,
        Finding::Ready(_)
        | Finding::NotAsked
        | Finding::Nothing(_)
        | Finding::Refused(_)
        | Finding::Pending(_) => target,
    }
}

/// Asks for another look where nothing was adopted yet.
pub fn wake(draft: &mut Draft<'_>, found: &Finding) {
    let seconds = match found {
        Finding::Refused(_) => AGAIN_SECONDS,
        Finding::Pending(_) => SOON_SECONDS,
        Finding::NotAsked | Finding::Nothing(_) | Finding::Ready(_) => return,
    };
    let at = later(draft.now, seconds);
    draft.wake(at);
}

/// How many pods of a revision have not been told that they are of it.
pub fn unclaimed(draft: &Draft<'_>, revision: &str) -> i32 {
    let adopted = draft
        .records
        .get(revision)
        .is_some_and(|record| record.data.adopted.is_some());
    if !adopted {
        return 0;
    }
    let listed = draft.observed.unclaimed.get(revision).map_or(0, Vec::len);
    let pods = draft.observed.deployment_of(revision).map_or(0, |d| d.pods);
    let missing = pods - draft.counts(revision).live;
    missing.max(i32::try_from(listed).unwrap_or(i32::MAX)).max(0)
}

/// The live revision that was adopted.
fn live_adopted<'a>(draft: &'a Draft<'_>) -> Option<&'a Record> {
    let live = draft.situation.state.live();
    let mut records = live.into_iter().filter_map(|name| draft.records.get(name));
    records.find(|record| record.data.adopted.is_some())
}

/// What keeps the first release on top of an adopted revision waiting: its pods are not known yet, or callers may still
/// get to whatever the Service selected before.
pub fn unready(draft: &Draft<'_>, stable: &str) -> Option<String> {
    let record = draft.records.get(stable)?;
    record.data.adopted.as_ref()?;
    if draft.observed.deployment_of(stable).is_none() {
        return Some(format!("Deployment {} to be adopted", record.data.deployment));
    }
    let unclaimed = unclaimed(draft, stable);
    if unclaimed > 0 {
        return Some(format!("{unclaimed} pods of {stable} to be labelled with it"));
    }
    let service = (ChildKind::Service, draft.observed.name().to_owned());
    let served = draft.observed.children.contains_key(&service);
    (served && !draft.selects_only(stable)).then(|| format!("Service {} to select {stable} alone", service.1))
}

/// Why weighted steps cannot be taken between two revisions: pods of one of them cannot get the labels by which a Service
/// selects both.
pub fn unweighable(draft: &Draft<'_>, stable: &str, candidate: &str) -> Option<String> {
    let weighted = match draft.strategy_type() {
        StrategyType::Canary => !draft.by_routes(),
        StrategyType::RollingUpdate | StrategyType::Recreate | StrategyType::BlueGreen => false,
    };
    let service = draft.observed.name();
    let target = draft.target().filter(|target| target.name == candidate);
    let records = [draft.records.get(stable), draft.records.get(candidate).or(target)];
    let odd = records
        .into_iter()
        .flatten()
        .find(|record| !record.shares_selector(service))?;
    (weighted && !draft.carried_everything(candidate) && !draft.expedited(candidate)).then(|| {
        format!(
            "weights by pods need a Service that selects both revisions, and Deployment {} selects its pods by {}: let \
             this one go out at once, all pods ready before one switch (kubectl microservice expedite {service}), or \
             choose strategy RollingUpdate or BlueGreen for it, or have routes split the traffic",
            odd.data.deployment,
            words(&odd.data.selector)
        )
    })
}

/// What the root Service selects while nobody but the adopted revision is to get traffic.
pub fn old_selector<'a>(draft: &'a Draft<'_>, only: &str) -> Option<&'a BTreeMap<String, String>> {
    match &draft.situation.state {
        State::Steady { stable, held: None } if stable == only && draft.is_target(only) => {}
        State::Steady { .. }
        | State::Fresh
        | State::Starting { .. }
        | State::Rolling(_)
        | State::Promoting(_)
        | State::Baking(_)
        | State::Returning(_) => return None,
    }
    let adopted = draft.records.get(only)?.data.adopted.as_ref()?;
    Some(&adopted.service_selector).filter(|selector| !selector.is_empty())
}

/// The condition Adopted.
pub fn condition(draft: &Draft<'_>) -> Option<(ConditionStatus, &'static str, String)> {
    let observed = draft.observed;
    let wish = wish(observed)?;
    let wish = match wish {
        Ok(wish) => wish,
        Err(message) => return Some((ConditionStatus::False, "WrongAnnotation", message)),
    };
    if draft.situation.state == State::Fresh {
        return match finding(observed, &draft.resolution) {
            Finding::Refused(misfit) => Some((ConditionStatus::False, misfit.reason, misfit.message)),
            Finding::Pending(misfit) => Some((ConditionStatus::Unknown, misfit.reason, misfit.message)),
            Finding::NotAsked | Finding::Nothing(_) | Finding::Ready(_) => None,
        };
    }
    let left: Vec<String> = observed
        .found
        .keys()
        .filter(|key| adoptable(observed, key).is_some())
        .map(|(kind, name)| format!("{} {name}", kind.kind()))
        .collect();
    if let Some(record) = live_adopted(draft) {
        let unclaimed = unclaimed(draft, &record.name);
        if !left.is_empty() || unclaimed > 0 || observed.deployment_of(&record.name).is_none() {
            let message = format!(
                "Deployment {} is being adopted as {}: {} left, {unclaimed} pods to label",
                record.data.deployment,
                record.name,
                left.join(", ")
            );
            return Some((ConditionStatus::Unknown, "Adopting", message));
        }
        let mut message = format!(
            "Deployment {} is revision {} as it was, and no pod was restarted for it",
            record.data.deployment, record.name
        );
        if let Some(target) = draft.target().filter(|target| target.name != record.name)
            && let Some(path) = difference(observed, target, &record.data.template)
        {
            message = format!(
                "{message}. The spec asks for something else (first at {path}), which goes out as the first release"
            );
        }
        return Some((ConditionStatus::True, "Adopted", message));
    }
    if !wish.allows(ChildKind::Deployment) {
        return left.is_empty().then(|| {
            (
                ConditionStatus::True,
                "Adopted",
                "what annotation microservice.dev/adopt lists is taken over".to_owned(),
            )
        });
    }
    let before = observed.status();
    let was = before.conditions.iter().any(|condition| {
        condition.type_ == ConditionType::Adopted.as_str()
            && condition.status == ConditionStatus::True.as_str()
    });
    let recorded = draft.records.values().any(|record| record.data.adopted.is_some());
    Some(if was || recorded {
        let message = "what was adopted has been replaced by a release".to_owned();
        (ConditionStatus::True, "Replaced", message)
    } else {
        let name = wish.named(ChildKind::Deployment, observed.name());
        let message = format!("there was no Deployment {name} to adopt: the first revision was made anew");
        (ConditionStatus::False, "NothingFound", message)
    })
}

/// Whether an object is somebody's whom the annotation does not let us take it from.
pub fn is_in_the_way(observed: &Observed, key: &ChildKey) -> bool {
    let foreign = observed
        .children
        .get(key)
        .is_some_and(|live| live.ownership == Ownership::Foreign && live.deleting == Deleting::No);
    foreign && adoptable(observed, key).is_none()
}

/// The labels that a pod is to get.
pub fn pod_labels(draft: &Draft<'_>, revision: &str) -> BTreeMap<String, String> {
    let record = draft.records.get(revision);
    record
        .map(|record| record.pod_labels(draft.observed.name()))
        .unwrap_or_default()
}

/// The label selector of the pods of these revisions, where not all of their pods have the labels of the service.
pub fn selector_of(revisions: &[&str]) -> String {
    match revisions {
        [only] => format!("{}={only}", labels::REVISION),
        several => format!("{} in ({})", labels::REVISION, several.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_names_kinds_that_exist() {
        let wish = Wish::parse("Deployment/orders-v1, Service,PodDisruptionBudget/pdb").unwrap();
        assert_eq!(wish.named(ChildKind::Deployment, "orders"), "orders-v1");
        assert_eq!(wish.named(ChildKind::Service, "orders"), "orders");
        assert!(!wish.allows(ChildKind::Ingress));
        for (wrong, part) in [
            (
                "Deployments",
                "names Deployments, which cannot be adopted: write one or more of Deployment",
            ),
            ("Service/other", "only a Deployment and a PodDisruptionBudget"),
            ("Secret", "cannot be adopted"),
        ] {
            let error = Wish::parse(wrong).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn pods_of_two_revisions_are_selected_by_these() {
        assert_eq!(selector_of(&["a"]), "microservice.dev/revision=a");
        assert_eq!(selector_of(&["a", "b"]), "microservice.dev/revision in (a,b)");
    }
}
