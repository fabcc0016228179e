//! A Rollout of Argo Rollouts. Its pods are the Rollout's and cannot be adopted: the Microservice comes up beside it.

use serde_json::{Value, json};

use super::steps::{self, Step, seconds};
use super::{Imported, Pool, Translation, absent, exposure, items, pod, scale, text};
use crate::api::names::{self, MAX_SERVICE_NAME};

/// What is put behind the name of the Rollout where that is taken.
const SUFFIX: &str = "-next";

/// Imports a Rollout.
pub(super) fn rollout(pool: Pool<'_>, name: &str) -> Result<Imported, String> {
    let rollout = pool.get("Rollout", name).ok_or_else(|| absent("Rollout", name))?;
    let mut translation = Translation::default();
    let template = match rollout.pointer("/spec/template") {
        Some(template) => template,
        None => {
            let target = text(rollout, "/spec/workloadRef/name");
            let deployment = pool
                .get("Deployment", target)
                .ok_or_else(|| absent("Deployment", target))?;
            translation.note(format!(
                "the pods are described by Deployment {target} (workloadRef). Where that has pods of its own that serve \
                 (scaleDown: never), import deployment/{target} instead: it can be adopted"
            ));
            deployment.pointer("/spec/template").unwrap_or(&Value::Null)
        }
    };
    let stable = [
        "/spec/strategy/canary/stableService",
        "/spec/strategy/blueGreen/activeService",
    ]
    .iter()
    .map(|path| text(rollout, path))
    .find(|name| !name.is_empty());
    let service = match stable {
        Some(name) => pool.get("Service", name),
        None => exposure::service_of(pool, name, template, &mut translation),
    };
    let own = name_beside(pool, name);
    super::begin(&mut translation, &own, rollout)?;
    translation.note(format!(
        "the pods belong to the Rollout and cannot be adopted: the Microservice is called {own} and comes up beside it, \
         without routes. When it is healthy, move the traffic (docs/from-argo-rollouts.md) and delete the Rollout"
    ));
    let ports = exposure::ports(service, template, &mut translation);
    pod::translate(template, &ports, &mut translation);
    if let Some(service) = service {
        exposure::settings(service, &mut translation);
    }
    let autoscaled = pool.of("HorizontalPodAutoscaler").find(|autoscaler| {
        text(autoscaler, "/spec/scaleTargetRef/kind") == "Rollout"
            && text(autoscaler, "/spec/scaleTargetRef/name") == name
    });
    match autoscaled {
        Some(autoscaler) => {
            scale::from_autoscaler(autoscaler, &mut translation);
            translation.note(format!(
                "HorizontalPodAutoscaler {} goes with the Rollout",
                text(autoscaler, "/metadata/name")
            ));
        }
        None => {
            let replicas = rollout.pointer("/spec/replicas").cloned().unwrap_or(json!(1));
            translation.set("replicas", replicas);
        }
    }
    let mut budget = Translation {
        name: own,
        ..Translation::default()
    };
    scale::budget(pool, template, &mut budget);
    if let Some(fields) = budget.spec.remove("disruptionBudget") {
        translation.set("disruptionBudget", fields);
        translation.note(
            "a PodDisruptionBudget that selects pods by labels which the new ones have, too, has to go with the Rollout",
        );
    }
    strategy(pool, rollout, &mut translation);
    if let Some(deadline) = rollout.pointer("/spec/progressDeadlineSeconds") {
        translation.part("strategy")["progressDeadlineSeconds"] = deadline.clone();
    }
    if rollout.pointer("/spec/paused") == Some(&json!(true)) {
        translation.note("the Rollout is paused: the Microservice is not");
    }
    pod::choose_profile(template, &mut translation);
    super::labels_of(rollout, &mut translation);
    translation.finished()
}

/// The Rollout's name, or that with a suffix where a Service has it, or that of the preview.
fn name_beside(pool: Pool<'_>, name: &str) -> String {
    let taken = [name.to_owned(), names::preview(name)];
    if taken.iter().all(|name| pool.get("Service", name).is_none()) {
        return name.to_owned();
    }
    let room = MAX_SERVICE_NAME - SUFFIX.len();
    let short: String = name.chars().take(room).collect();
    format!("{}{SUFFIX}", short.trim_end_matches('-'))
}

fn strategy(pool: Pool<'_>, rollout: &Value, translation: &mut Translation) {
    if let Some(blue_green) = rollout.pointer("/spec/strategy/blueGreen") {
        return self::blue_green(pool, blue_green, translation);
    }
    let Some(canary) = rollout.pointer("/spec/strategy/canary") else {
        translation.note("the Rollout has no strategy: it is RollingUpdate");
        return;
    };
    let mut all: Vec<Step> = Vec::new();
    let mut scaled = None;
    for step in items(canary, "/steps") {
        translate_step(pool, step, &mut all, &mut scaled, translation);
    }
    let begins = all.len();
    steps::canary(all, translation);
    if let Some(background) = canary.get("analysis") {
        let from = background
            .get("startingStep")
            .and_then(Value::as_i64)
            .map(|step| step + 1);
        let from = from.filter(|from| usize::try_from(*from).is_ok_and(|from| from <= begins));
        templates(pool, background, from, translation);
    }
    for field in ["maxSurge", "maxUnavailable"] {
        if let Some(value) = canary.get(field) {
            translation.note(format!(
                "{field} {value} is for rollouts by numbers of pods: with steps it has no field here"
            ));
        }
    }
    if let Some(routing) = canary.get("trafficRouting") {
        traffic_routing(pool, routing, translation);
    }
    for (field, words) in [
        (
            "dynamicStableScale",
            "dynamicStableScale: strategy.stableScale Follow",
        ),
        (
            "abortScaleDownDelaySeconds",
            "abortScaleDownDelaySeconds: the pods of what was taken back end when it carries nothing",
        ),
        (
            "scaleDownDelaySeconds",
            "scaleDownDelaySeconds: the old pods stay warm for strategy.bakeSeconds",
        ),
        (
            "canaryMetadata",
            "canaryMetadata: the role of a pod is its label microservice.dev/role, where the pods read it",
        ),
        (
            "stableMetadata",
            "stableMetadata: the role of a pod is its label microservice.dev/role, where the pods read it",
        ),
        (
            "antiAffinity",
            "antiAffinity between old and new pods has no field",
        ),
    ] {
        if canary.get(field).is_some() {
            translation.note(words);
        }
    }
}

/// One step of theirs: some are a part of one of ours.
fn translate_step(
    pool: Pool<'_>,
    step: &Value,
    all: &mut Vec<Step>,
    scaled: &mut Option<i64>,
    translation: &mut Translation,
) {
    if let Some(weight) = step.get("setWeight").and_then(Value::as_i64) {
        let mut step = Step::weight(weight);
        if let Some(replicas) = scaled.take() {
            step.set("replicas", json!(replicas));
        }
        all.push(step);
        return;
    }
    if let Some(pause) = step.get("pause") {
        if all.is_empty() {
            // A rollout that waits before anything has begun.
            all.push(Step::weight(0));
        }
        let last = all.len() - 1;
        match pause.get("duration").and_then(seconds) {
            Some(duration) => all[last].set("durationSeconds", json!(duration)),
            None => all[last].set("pause", json!("Manual")),
        }
        return;
    }
    if let Some(scale) = step.get("setCanaryScale") {
        match scale.get("replicas").and_then(Value::as_i64) {
            // It is for the next weight, and so for the next of our steps.
            Some(replicas) if replicas > 0 => *scaled = Some(replicas),
            Some(_) | None => translation.note(
                "a step setCanaryScale without a number of replicas is left out: a step sizes the candidate by its weight",
            ),
        }
        return;
    }
    if let Some(analysis) = step.get("analysis") {
        let from = i64::try_from(all.len()).unwrap_or(1).max(1);
        let names = templates(pool, analysis, Some(from), translation);
        if let Some(last) = all.last_mut()
            && !names.is_empty()
        {
            last.set("checks", json!(names));
        }
        return;
    }
    if let Some(mirror) = step.get("setMirrorRoute") {
        if let Some(percent) = mirror
            .get("percentage")
            .and_then(Value::as_i64)
            .filter(|percent| *percent > 0)
        {
            let mut step = Step::default();
            step.set("mirrorPercent", json!(percent));
            all.push(step);
        }
        return;
    }
    if let Some(header) = step.get("setHeaderRoute") {
        let mut headers = Vec::new();
        for rule in items(header, "/match") {
            match rule.pointer("/headerValue/exact").and_then(Value::as_str) {
                Some(value) => headers.push(json!({"name": text(rule, "/headerName"), "value": value})),
                None => translation.note(format!(
                    "the match of header {} is no exact one, which is all that a step can ask for: it is left out",
                    text(rule, "/headerName")
                )),
            }
        }
        if !headers.is_empty() {
            let mut step = Step::default();
            step.set("match", json!([{"headers": headers}]));
            all.push(step);
        }
        return;
    }
    let what: Vec<&str> = super::fields(Some(step))
        .map(|(field, _)| field.as_str())
        .collect();
    translation.note(format!(
        "a step {} has no equivalent and is left out",
        what.join(", ")
    ));
}

/// The metrics of AnalysisTemplates as checks. Answers their names.
fn templates(
    pool: Pool<'_>,
    analysis: &Value,
    from: Option<i64>,
    translation: &mut Translation,
) -> Vec<String> {
    let mut names = Vec::new();
    for reference in items(analysis, "/templates") {
        let name = text(reference, "/templateName");
        let Some(template) = pool.get("AnalysisTemplate", name) else {
            translation.note(format!(
                "AnalysisTemplate {name} is not here (a ClusterAnalysisTemplate is not looked at): write its metrics as \
                 strategy.analysis.checks"
            ));
            continue;
        };
        for metric in items(template, "/spec/metrics") {
            let known = translation
                .spec
                .get("strategy")
                .and_then(|strategy| strategy.pointer("/analysis/checks"))
                .and_then(Value::as_array)
                .is_some_and(|checks| {
                    let own = super::flagger::check_name(text(metric, "/name"));
                    checks.iter().any(|check| text(check, "/name") == own)
                });
            if known {
                names.push(super::flagger::check_name(text(metric, "/name")));
                continue;
            }
            if let Some(check) = check(metric, from, translation) {
                names.push(text(&check, "/name").to_owned());
                let analysis = &mut translation.part("strategy")["analysis"];
                match analysis.get_mut("checks").and_then(Value::as_array_mut) {
                    Some(checks) => checks.push(check),
                    None => analysis["checks"] = json!([check]),
                }
            }
        }
    }
    names
}

/// A metric that asks Prometheus, with the bound of its conditions where these are plain.
fn check(metric: &Value, from: Option<i64>, translation: &mut Translation) -> Option<Value> {
    let name = text(metric, "/name");
    let Some(query) = metric
        .pointer("/provider/prometheus/query")
        .and_then(Value::as_str)
    else {
        let provider: Vec<&str> = super::fields(metric.get("provider"))
            .map(|(kind, _)| kind.as_str())
            .collect();
        translation.note(format!(
            "metric {name} asks {} and is left out: write a check of type web or job",
            provider.join(", ")
        ));
        return None;
    };
    if query.contains("{{") {
        translation.note(format!(
            "the query of metric {name} has arguments and is left out: write it as a check with the placeholders of \
             docs/analysis.md: {query}"
        ));
        return None;
    }
    let mut prometheus = json!({"query": query});
    let (min, max) = bounds(text(metric, "/successCondition"));
    for (side, bound) in [("min", min), ("max", max)] {
        if let Some(bound) = bound {
            prometheus[side] = json!(bound);
        }
    }
    if prometheus.get("min").is_none() && prometheus.get("max").is_none() {
        translation.note(format!(
            "the condition of metric {name} ({}) is not a plain bound of result[0]: it is left out. Write its query with \
             min or max",
            text(metric, "/successCondition")
        ));
        return None;
    }
    if !text(metric, "/failureCondition").is_empty() {
        translation.note(format!(
            "failureCondition of metric {name} is left out: what is not a success is a failure"
        ));
    }
    let address = text(metric, "/provider/prometheus/address");
    if !address.is_empty() && !address.contains("{{") {
        let analysis = &mut translation.part("strategy")["analysis"];
        if analysis.get("prometheus").is_none() {
            analysis["prometheus"] = json!({"address": address});
        }
    }
    let mut check = json!({"name": super::flagger::check_name(name), "prometheus": prometheus});
    if let Some(seconds) = metric.get("interval").and_then(seconds) {
        check["intervalSeconds"] = json!(seconds);
    }
    for (theirs, ours) in [("count", "count"), ("failureLimit", "failureLimit")] {
        let number = metric
            .get(theirs)
            .and_then(|value| value.as_i64().or(value.as_str()?.parse().ok()));
        if let Some(number) = number {
            check[ours] = json!(number);
        }
    }
    if let Some(from) = from {
        check["fromStep"] = json!(from);
    }
    Some(check)
}

/// The lower and upper bound that a condition such as `result[0] >= 0.95` asks for.
fn bounds(condition: &str) -> (Option<String>, Option<String>) {
    let condition = condition.trim();
    let Some(rest) = ["result[0]", "result"]
        .iter()
        .find_map(|word| condition.strip_prefix(word))
    else {
        return (None, None);
    };
    let rest = rest.trim_start();
    let bound = |sign: &str| {
        let number = rest.strip_prefix(sign)?.trim();
        let plain = !number.is_empty() && number.chars().all(|c| c.is_ascii_digit() || c == '.');
        plain.then(|| number.to_owned())
    };
    let min = bound(">=").or_else(|| bound(">"));
    let max = bound("<=").or_else(|| bound("<"));
    (min, max)
}

fn blue_green(pool: Pool<'_>, blue_green: &Value, translation: &mut Translation) {
    let mut settings = serde_json::Map::new();
    if blue_green.get("previewService").is_none() {
        settings.insert("preview".to_owned(), json!("Disabled"));
    }
    if blue_green.get("autoPromotionEnabled") == Some(&json!(false)) {
        settings.insert("switch".to_owned(), json!("Manual"));
    }
    if let Some(seconds) = blue_green.get("autoPromotionSeconds").and_then(Value::as_i64) {
        settings.insert("previewSeconds".to_owned(), json!(seconds));
    }
    let strategy = translation.part("strategy");
    strategy["type"] = json!("BlueGreen");
    if !settings.is_empty() {
        strategy["blueGreen"] = serde_json::Value::Object(settings);
    }
    let delay = blue_green
        .get("scaleDownDelaySeconds")
        .and_then(Value::as_i64)
        .unwrap_or(30);
    strategy["bakeSeconds"] = json!(delay);
    translation.note(
        "the old pods stay warm for bakeSeconds, which has the value of scaleDownDelaySeconds; while they do, the new ones \
         are watched and taken back when they fail",
    );
    if let Some(preview) = blue_green.get("previewService").and_then(Value::as_str) {
        translation.note(format!(
            "Service {preview} is followed by {}-preview",
            translation.name
        ));
    }
    for field in ["prePromotionAnalysis", "postPromotionAnalysis"] {
        if let Some(analysis) = blue_green.get(field) {
            templates(pool, analysis, None, translation);
        }
    }
    for field in [
        "previewReplicaCount",
        "antiAffinity",
        "maxUnavailable",
        "activeMetadata",
        "previewMetadata",
    ] {
        if blue_green.get(field).is_some() {
            translation.note(format!("{field} has no equivalent and is left out"));
        }
    }
}

fn traffic_routing(pool: Pool<'_>, routing: &Value, translation: &mut Translation) {
    for (router, settings) in super::fields(Some(routing)) {
        match router.as_str() {
            "nginx" => {
                let named = items(settings, "/stableIngresses").filter_map(Value::as_str);
                let all: Vec<&str> = named
                    .chain(settings.get("stableIngress").and_then(Value::as_str))
                    .collect();
                let present: Vec<&str> = all
                    .into_iter()
                    .filter(|name| pool.get("Ingress", name).is_some())
                    .collect();
                translation.note(format!(
                    "traffic is split by ingress-nginx, at Ingress {}: write it as a route with ingress (kubectl microservice \
                     import shows how, of a Deployment) when the traffic moves",
                    present.join(", ")
                ));
            }
            "istio" | "plugins" | "managedRoutes" => translation.note(format!(
                "trafficRouting.{router}: write a route with istio or gateway when the traffic moves"
            )),
            other => translation.note(format!("trafficRouting.{other} has no equivalent")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::bounds;

    #[test]
    fn plain_bounds_are_read() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(bounds("result[0] >= 0.95"), (some("0.95"), None));
        assert_eq!(bounds("result < 5"), (None, some("5")));
        assert_eq!(bounds("len(result) == 0 || result[0] > 1"), (None, None));
        assert_eq!(bounds("result[0] >= 1 && result[0] < 2"), (None, None));
    }
}
