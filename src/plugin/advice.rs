//! `lint`: what is allowed, and may still surprise.

use crate::api::{Microservice, Pause, Router, StrategyType};

/// Advice for a service, a sentence each.
pub fn advice(service: &Microservice) -> Vec<String> {
    let mut found = Vec::new();
    found.extend(image(service));
    found.extend(pods(service));
    found.extend(strategy(service));
    found
}

fn image(service: &Microservice) -> Option<String> {
    let image = &service.spec.revision.image;
    if image.contains('@') {
        return None;
    }
    let tag = image
        .rsplit('/')
        .next()
        .and_then(|last| last.split_once(':'))
        .map(|(_, tag)| tag);
    matches!(tag, None | Some("latest")).then(|| {
        format!(
            "spec.image: {image} may be another image tomorrow, which no rollout would watch: name a version or a digest"
        )
    })
}

fn pods(service: &Microservice) -> Vec<String> {
    let spec = &service.spec;
    let mut found = Vec::new();
    let readiness = spec
        .revision
        .probes
        .as_ref()
        .and_then(|probes| probes.readiness.as_ref());
    if readiness.is_none() && !spec.exposure.ports.is_empty() {
        found.push(
            "spec.probes.readiness: none, so at most an open port counts as ready: name a path that tells whether \
             requests can be served"
                .to_owned(),
        );
    }
    let resources = spec.revision.resources.as_ref();
    if resources
        .and_then(|resources| resources.requests.as_ref())
        .is_none()
    {
        let scaled = if spec.operation.autoscaling.is_some() {
            ", and an autoscaler cannot compute how much of them is used"
        } else {
            ""
        };
        found.push(format!(
            "spec.resources.requests: none, so nodes may be filled with more pods than they can bear{scaled}"
        ));
    }
    let fewest = spec
        .operation
        .autoscaling
        .as_ref()
        .map_or(spec.operation.replicas, |bounds| bounds.min_replicas);
    if fewest == 1 && !spec.exposure.ports.is_empty() {
        found.push(
            "spec.replicas: with one pod nobody serves while its node is drained: 2 or more have a disruption budget"
                .to_owned(),
        );
    }
    found
}

fn strategy(service: &Microservice) -> Vec<String> {
    let operation = &service.spec.operation;
    let strategy = operation.strategy();
    let mut found = Vec::new();
    if strategy.bake_seconds() == 0 {
        found.push(
            "spec.strategy.bakeSeconds: 0, so what fails a moment after the promotion is not taken back"
                .to_owned(),
        );
    }
    if strategy.strategy_type() != StrategyType::Canary {
        return found;
    }
    let Some(canary) = &strategy.canary else {
        return found;
    };
    if operation.objectives.is_empty() && strategy.analysis.is_none() {
        found.push(
            "spec.objectives: none, so only the health of pods takes a canary back, not what its requests say: add one"
                .to_owned(),
        );
    }
    let by_service = matches!(strategy.router(), Router::Auto | Router::Service)
        && service.spec.exposure.routes.is_empty();
    let smallest = canary
        .steps
        .iter()
        .filter_map(|step| step.weight)
        .filter(|weight| *weight > 0)
        .min();
    if let (true, Some(weight)) = (by_service && operation.autoscaling.is_none(), smallest) {
        // With the Service as router the share is one of pods: of replicas and one more.
        let finest = 100 / (operation.replicas.max(1) + 1);
        if weight * 2 < finest {
            found.push(format!(
                "spec.strategy.canary.steps: weight {weight} cannot be made of {} pods without a route that splits requests, \
                 the least is about {finest}: see coarseWeights",
                operation.replicas
            ));
        }
    }
    let endless = |seconds: Option<i32>, pause: Option<Pause>| seconds.unwrap_or(0) == 0 && pause.is_none();
    if canary
        .steps
        .iter()
        .all(|step| endless(step.duration_seconds, step.pause) && step.hooks.is_empty())
    {
        found.push(
            "spec.strategy.canary.steps: none of them lasts, so they pass as fast as pods become ready: set durationSeconds"
                .to_owned(),
        );
    }
    found
}
