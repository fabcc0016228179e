//! In which order a release by steps writes, and how much.
//!
//! The order is that of the resourceVersions: all kinds are stored in one etcd, which counts its writes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use e2e::audit::{AuditLog, OPERATOR, Request};
use e2e::environment::say;
use e2e::gateway::{self, CONTROLLER, Gateway};
use e2e::recorder::{Recorder, Sighting};
use e2e::release::{
    DRAIN_SECONDS, abort, by_gateway, by_hand, canary, in_force, ready_endpoints, served_by, timed,
};
use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout};
use e2e::{Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use kube::core::DynamicObject;
use serde_json::json;

/// The place of a write among all writes.
fn place(object: &impl ResourceExt) -> u64 {
    object.resource_version().unwrap().parse().unwrap()
}

/// The Services that a route leads to, with their weights.
fn backends(route: &DynamicObject) -> BTreeMap<String, i64> {
    let rules = route.data["spec"]["rules"].as_array().unwrap();
    let all = rules
        .iter()
        .flat_map(|rule| rule["backendRefs"].as_array().unwrap());
    all.map(|backend| {
        let name = backend["name"].as_str().unwrap().to_owned();
        (name, backend["weight"].as_i64().unwrap())
    })
    .collect()
}

/// Whether Traefik has said of this generation that it takes it.
fn is_accepted(route: &DynamicObject) -> bool {
    let parents = route.data["status"]["parents"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ours = parents
        .iter()
        .find(|parent| parent["controllerName"] == CONTROLLER);
    ["Accepted", "ResolvedRefs"].iter().all(|type_| {
        ours.is_some_and(|ours| {
            ours["conditions"].as_array().is_some_and(|all| {
                all.iter().any(|c| {
                    c["type"] == **type_
                        && c["status"] == "True"
                        && c["observedGeneration"].as_i64() == route.metadata.generation
                })
            })
        })
    })
}

/// What was written from a place on.
struct Written {
    routes: Vec<Sighting<DynamicObject>>,
    services: Vec<Sighting<Service>>,
    slices: Vec<Sighting<EndpointSlice>>,
    deployments: Vec<Sighting<Deployment>>,
}

struct Recorders {
    routes: Recorder<DynamicObject>,
    services: Recorder<Service>,
    slices: Recorder<EndpointSlice>,
    deployments: Recorder<Deployment>,
}

impl Recorders {
    async fn start(s: &Scenario) -> Self {
        let all = Self {
            routes: gateway::record(s, "gateway.networking.k8s.io/v1", "HTTPRoute"),
            services: s.record(),
            slices: s.record(),
            deployments: s.record(),
        };
        all.routes.first("the route", |_| true).await;
        all.services.first("the Service", |_| true).await;
        all.slices.first("the slice", |_| true).await;
        all.deployments.first("the Deployment", |_| true).await;
        all
    }

    fn since(&self, from: u64) -> Written {
        fn later<K: ResourceExt + Clone>(all: Vec<Sighting<K>>, from: u64) -> Vec<Sighting<K>> {
            all.into_iter()
                .filter(|sighting| place(&sighting.object) > from)
                .collect()
        }
        Written {
            routes: later(self.routes.all(), from),
            services: later(self.services.all(), from),
            slices: later(self.slices.all(), from),
            deployments: later(self.deployments.all(), from),
        }
    }
}

impl Written {
    /// The first sighting of the route, as it is asked for, in a form of which `is` holds.
    fn route(&self, is: impl Fn(&BTreeMap<String, i64>) -> bool) -> &Sighting<DynamicObject> {
        self.routes
            .iter()
            .find(|sighting| is(&backends(&sighting.object)))
            .unwrap()
    }

    /// The first sighting of that form at which it is accepted.
    fn accepted(&self, is: impl Fn(&BTreeMap<String, i64>) -> bool) -> &Sighting<DynamicObject> {
        self.routes
            .iter()
            .find(|sighting| is(&backends(&sighting.object)) && is_accepted(&sighting.object))
            .unwrap()
    }

    /// The end of a Service.
    fn deletion(&self, service: &str) -> &Sighting<Service> {
        self.services
            .iter()
            .find(|sighting| sighting.gone && sighting.object.name_any() == service)
            .unwrap()
    }

    /// Whether a Service has ended, and what shrank before it.
    fn has_deleted(&self, service: &str) -> bool {
        let ended = |sighting: &Sighting<Service>| sighting.gone && sighting.object.name_any() == service;
        let shrunk = |sighting: &Sighting<Deployment>| sighting.gone && sighting.object.name_any() == service;
        self.services.iter().any(ended) && self.deployments.iter().any(shrunk)
    }

    /// The ready endpoints of a Service before a place.
    fn ready_before(&self, service: &str, before: u64) -> usize {
        let of = |slice: &EndpointSlice| {
            slice
                .labels()
                .get("kubernetes.io/service-name")
                .map(String::as_str)
                == Some(service)
        };
        let mut earlier = self
            .slices
            .iter()
            .filter(|sighting| !sighting.gone && of(&sighting.object) && place(&sighting.object) < before);
        earlier
            .next_back()
            .map_or(0, |sighting| ready_endpoints(&sighting.object))
    }
}

#[test]
fn pods_come_before_weight_and_weight_goes_before_pods() {
    const REPLICAS: usize = 4;
    scenario("write-order").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": REPLICAS}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&[25, 75], 1)));
        let stable = s.deploy(&first).await.stable().unwrap();
        served_by(&gateway.requests("web"), "1.0.0").await;
        let recorders = Recorders::start(s).await;
        let from = place(&s.service("web").await);

        // The way there.
        let second = first.version("1.1.0");
        let candidate = s.deploy(&second).await.stable().unwrap();
        s.gone::<Service>(&stable).await;
        eventually("the recorders to follow", async || {
            let gone = recorders.since(from).has_deleted(&stable);
            if gone { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let written = recorders.since(from);
        for (weight, pods) in [(25, 1), (75, 3)] {
            let route = written.route(|to| to.get(&candidate) == Some(&weight));
            let ready = written.ready_before(&candidate, place(&route.object));
            assert!(ready >= pods, "{weight} % with {ready} endpoints");
        }
        let alone = |to: &BTreeMap<String, i64>| to.keys().eq([&candidate]);
        let last = written.route(alone);
        assert_eq!(written.ready_before(&candidate, place(&last.object)), REPLICAS);
        // Callers in the cluster follow when the route is in force.
        let flip = written.services.iter().find(|sighting| {
            let spec = sighting.object.spec.as_ref();
            let selector = spec.and_then(|spec| spec.selector.as_ref());
            sighting.object.name_any() == "web"
                && selector.and_then(|all| all.get("microservice.dev/revision")) == Some(&candidate)
        });
        let flip = flip.unwrap();
        let accepted = written.accepted(alone);
        assert!(place(&flip.object) > place(&accepted.object));
        // The old one keeps its pods and its Service until both have left it, and a while longer.
        let shrunk = written.deployments.iter().find(|sighting| {
            let asked = sighting.object.spec.as_ref().and_then(|spec| spec.replicas);
            sighting.object.name_any() == stable
                && (sighting.gone || asked < Some(i32::try_from(REPLICAS).unwrap()))
        });
        let shrunk = shrunk.unwrap();
        assert!(place(&shrunk.object) > place(&flip.object));
        let drained = shrunk.at.duration_since(flip.at).as_secs_f64();
        let deleted = written.deletion(&stable);
        assert!(place(&deleted.object) > place(&accepted.object));
        let left = deleted.at.duration_since(accepted.at).as_secs_f64();
        #[allow(clippy::cast_precision_loss)]
        let drain = DRAIN_SECONDS as f64;
        assert!(drained >= drain && left >= drain, "{drained} s, {left} s");

        // The way back.
        let from = place(&s.service("web").await);
        let third = second.version("2.0.0").spec(canary(by_hand(&[50])));
        s.apply(&third).await;
        let found = in_force(s, "web", 1).await;
        let candidate = found.candidate().unwrap();
        abort(s, &found).await;
        s.taken_back("web").await;
        s.gone::<Service>(&candidate).await;
        eventually("the recorders to follow", async || {
            let gone = recorders.since(from).has_deleted(&candidate);
            if gone { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await;
        let written = recorders.since(from);
        let given = place(&written.route(|to| to.contains_key(&candidate)).object);
        let without = |sighting: &&Sighting<DynamicObject>| {
            place(&sighting.object) > given && !backends(&sighting.object).contains_key(&candidate)
        };
        let taken = written.routes.iter().find(without).unwrap();
        let accepted = written
            .routes
            .iter()
            .filter(without)
            .find(|sighting| is_accepted(&sighting.object))
            .unwrap();
        let shrunk = written.deployments.iter().find(|sighting| {
            sighting.object.name_any() == candidate
                && place(&sighting.object) > given
                && (sighting.gone
                    || sighting.object.spec.as_ref().and_then(|spec| spec.replicas) < Some(2))
        });
        let shrunk = shrunk.unwrap();
        assert!(place(&taken.object) < place(&shrunk.object));
        let back = shrunk.at.duration_since(accepted.at).as_secs_f64();
        assert!(back >= drain, "{back} s");
        let deleted = written.deletion(&candidate);
        assert!(place(&deleted.object) > place(&accepted.object));
        let gone = deleted.at.duration_since(accepted.at).as_secs_f64();
        assert!(gone >= drain, "{gone} s");
        say(&format!(
            "measured: {}: with {DRAIN_SECONDS} s to drain the old pods went {drained:.1} s after the flip and their \
             Service {left:.1} s after the route left it; on the way back {back:.1} s and {gone:.1} s after the route",
            s.name
        ));
    });
}

// --- how much

#[test]
fn a_canary_of_five_steps_costs_few_writes_and_no_read() {
    scenario("write-cost").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 3}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(timed(&[20, 40, 60, 80, 100], 1)));
        s.deploy(&first).await;
        s.audit.quiet().await;
        let log = AuditLog::from_now(&s.namespace);
        s.deploy(&first.version("1.1.0")).await;
        s.audit.quiet().await;
        let all = log.asked();
        let brief: Vec<String> = all.iter().map(Request::brief).collect();
        let reads = all.iter().filter(|request| !request.writes()).count();
        let events = all.iter().filter(|request| request.resource == "events").count();
        let refused = all.iter().filter(|request| !request.accepted()).count();
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for request in all.iter().filter(|r| r.writes() && r.resource != "events") {
            let status = if request.subresource.is_empty() {
                ""
            } else {
                "/status"
            };
            *writes
                .entry(format!("{} {}{status}", request.verb, request.resource))
                .or_default() += 1;
        }
        let sum: usize = writes.values().sum();
        say(&format!(
            "measured: a canary of 5 steps: {reads} reads, {sum} writes and {events} events, {refused} of them refused: \
             {writes:?}"
        ));
        assert_eq!(reads, 0, "{brief:#?}");
        assert!(sum <= 60, "{brief:#?}");
    });
}

#[test]
fn a_step_that_waits_costs_nothing() {
    scenario("write-silence").real_pods().run(async |s| {
        let gateway = Gateway::start(s).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2}))
            .spec(by_gateway(&gateway, "web"))
            .spec(canary(by_hand(&[50])));
        s.deploy(&first).await;
        s.apply(&first.version("1.1.0")).await;
        in_force(s, "web", 1).await;
        s.audit.quiet().await;
        // The claim is twenty seconds, so it is twenty seconds.
        let log = AuditLog::from_now(&s.namespace);
        throughout(Duration::from_secs(20), "silence", async || {
            let requests: Vec<String> = log.asked().iter().map(Request::brief).collect();
            if requests.is_empty() {
                Ok(())
            } else {
                Err(format!("{requests:?}"))
            }
        })
        .await;
        let watches = log.requests(OPERATOR).len();
        say(&format!(
            "measured: {}: a step that waits for 20 s: no request but {watches} watches renewed",
            s.name
        ));
    });
}
