//! Releases by steps: quick strategies, and waiting for a place in them.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::ResourceExt;
use microservice_operator::api::{Microservice, RolloutState, RolloutStatus};
use serde_json::{Value, json};

use crate::gateway::{Gateway, IngressController};
use crate::istio::Ingress;
use crate::load::Requests;
use crate::manifest::merge;
use crate::scenario::Scenario;
use crate::status::StatusExt;
use crate::wait::eventually;

/// The name of the route in [`by_gateway`], [`by_ingress`] and [`by_istio`].
pub const ROUTE: &str = "public";
/// The object of that route for the service `web`.
pub const ROUTE_OBJECT: &str = "web-public";
/// Seconds that requests under way have, in all quick strategies.
pub const DRAIN_SECONDS: i64 = 3;

/// A spec of type Canary with short waits.
pub fn canary(steps: Value) -> Value {
    let mut spec = quick();
    merge(
        &mut spec,
        json!({"strategy": {"type": "Canary", "canary": {"steps": steps}}}),
    );
    spec
}

/// A spec of type BlueGreen with short waits.
pub fn blue_green(settings: Value) -> Value {
    let mut spec = quick();
    merge(
        &mut spec,
        json!({"strategy": {"type": "BlueGreen", "blueGreen": settings}}),
    );
    spec
}

/// What is written to a gateway settles for as long as by default: twice the time that Traefik is to take.
fn quick() -> Value {
    json!({"strategy": {
        "settleSeconds": 2, "drainSeconds": DRAIN_SECONDS, "bakeSeconds": 5, "progressDeadlineSeconds": 60,
    }})
}

/// Steps of these weights that a person ends.
pub fn by_hand(weights: &[i32]) -> Value {
    weights
        .iter()
        .map(|weight| json!({"weight": weight, "pause": "Manual"}))
        .collect()
}

/// Steps of these weights that end by themselves.
pub fn timed(weights: &[i32], seconds: i32) -> Value {
    weights
        .iter()
        .map(|weight| json!({"weight": weight, "durationSeconds": seconds}))
        .collect()
}

/// A spec with a route by the scenario's Gateway.
pub fn by_gateway(gateway: &Gateway, host: &str) -> Value {
    json!({"routes": [{
        "name": ROUTE, "hosts": [gateway.host(host)], "gateway": {"parentRefs": [gateway.parent()]},
    }]})
}

/// A spec with a route by the Ingress controller.
pub fn by_ingress(controller: &IngressController, host: &str) -> Value {
    json!({"routes": [{
        "name": ROUTE, "hosts": [controller.host(host)], "ingress": {"className": crate::gateway::INGRESS_CLASS},
    }]})
}

/// A spec with a route by the scenario's way into Istio.
pub fn by_istio(ingress: &Ingress<'_>, host: &str) -> Value {
    json!({"routes": [{
        "name": ROUTE, "hosts": [ingress.host(host)], "istio": {"gateways": [ingress.gateway()]},
    }]})
}

/// What the status says of the rollout.
pub fn rollout(found: &Microservice) -> RolloutStatus {
    found.said().rollout.expect("there is a rollout")
}

/// Whether a step is in force.
pub fn is_in_force(found: &Microservice, step: i32) -> bool {
    found.is_current()
        && found.said().rollout.is_some_and(|rollout| {
            rollout.state == RolloutState::Rolling
                && rollout.step == Some(step)
                && rollout.in_force_at.is_some()
                && rollout.wavering_since.is_none()
        })
}

/// Waits until a step is in force.
pub async fn in_force(s: &Scenario, name: &str, step: i32) -> Microservice {
    s.wait_for(name, &format!("to have step {step} in force"), |found| {
        is_in_force(found, step)
    })
    .await
}

/// Waits until the engine is in a state.
pub async fn in_state(s: &Scenario, name: &str, state: RolloutState) -> Microservice {
    s.wait_for(name, &format!("to be {state:?}"), |found| {
        found.is_current() && found.state() == Some(state)
    })
    .await
}

/// `<revision>/<trial>` of the rollout.
pub fn trial_value(found: &Microservice) -> String {
    let rollout = rollout(found);
    format!("{}/{}", rollout.candidate.expect("a candidate"), rollout.trial)
}

/// `<revision>/<trial>/<step>` of the rollout.
pub fn step_value(found: &Microservice) -> String {
    let step = rollout(found).step.expect("a step");
    format!("{}/{step}", trial_value(found))
}

/// Says promote for the step that the service is in.
pub async fn promote(s: &Scenario, found: &Microservice) {
    let value = step_value(found);
    s.annotate(&found.name_any(), "microservice.dev/promote", &value)
        .await;
}

/// Says abort for the rollout.
pub async fn abort(s: &Scenario, found: &Microservice) {
    let value = trial_value(found);
    s.annotate(&found.name_any(), "microservice.dev/abort", &value)
        .await;
}

/// Waits until requests are answered by `version` alone.
pub async fn served_by(requests: &Requests, version: &str) {
    eventually(&format!("only {version} to answer"), async || {
        let tally = requests.clone().clients(1).at_most(20).run().await;
        if tally.of(version) == 20 {
            Ok(())
        } else {
            Err(format!("{:?} {:?}", tally.answered, tally.failures.first()))
        }
    })
    .await;
}

/// The ready endpoints in an EndpointSlice.
pub fn ready_endpoints(slice: &EndpointSlice) -> usize {
    let ready = |conditions: &k8s_openapi::api::discovery::v1::EndpointConditions| {
        conditions.ready.unwrap_or(true) && !conditions.terminating.unwrap_or(false)
    };
    slice
        .endpoints
        .iter()
        .filter(|endpoint| endpoint.conditions.as_ref().is_none_or(ready))
        .count()
}
