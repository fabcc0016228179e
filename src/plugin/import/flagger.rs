//! A Canary of Flagger. What serves is the primary, so that is what is adopted.

use serde_json::{Map, Value, json};

use super::steps::{self, Step, seconds};
use super::{Imported, Pool, Translation, absent, exposure, items, pod, scale, text};

/// Imports a Canary.
pub(super) fn canary(pool: Pool<'_>, name: &str) -> Result<Imported, String> {
    let canary = pool.get("Canary", name).ok_or_else(|| absent("Canary", name))?;
    if text(canary, "/spec/targetRef/kind") != "Deployment" {
        return Err(format!(
            "Canary {name} has a {} for its target, and only one with a Deployment can be imported",
            text(canary, "/spec/targetRef/kind")
        ));
    }
    let target_name = text(canary, "/spec/targetRef/name");
    let target = pool
        .get("Deployment", target_name)
        .ok_or_else(|| absent("Deployment", target_name))?;
    let primary_name = format!("{target_name}-primary");
    let primary = pool.get("Deployment", &primary_name);
    let mut translation = Translation::default();
    let apex = Some(text(canary, "/spec/service/name"))
        .filter(|name| !name.is_empty())
        .unwrap_or(target_name);
    super::begin(&mut translation, apex, canary)?;
    let serving = primary.unwrap_or(target);
    let template = template_of(serving);
    match primary {
        Some(_) => {
            translation.adopt("Deployment", &primary_name);
            translation.note(format!(
                "what serves is Deployment {primary_name}, and that is adopted. It belongs to the Canary, so do this first, \
                 while no analysis is under way: kubectl patch canary {name} --type=merge -p \
                 '{{\"spec\":{{\"suspend\":true,\"revertOnDeletion\":false}}}}', then kubectl delete canary {name} \
                 --cascade=orphan. Afterwards delete what Flagger leaves: Deployment {target_name}, Services \
                 {apex}-primary and {apex}-canary, its routes"
            ));
        }
        None => {
            translation.adopt("Deployment", target_name);
            translation.note(format!(
                "there is no Deployment {primary_name}: Deployment {target_name} is adopted, as if Flagger had not begun"
            ));
        }
    }
    translation.adopt.push("Service".to_owned());
    let service = service_of(canary, pool, apex);
    let ports = exposure::ports(Some(&service), &template, &mut translation);
    pod::translate(&template, &ports, &mut translation);
    exposure::settings(&service, &mut translation);
    routes(pool, canary, apex, &mut translation);
    autoscaling(pool, canary, serving, &mut translation);
    scale::budget(
        pool,
        serving.pointer("/spec/template").unwrap_or(&Value::Null),
        &mut translation,
    );
    analysis(pool, canary, &mut translation);
    if let Some(deadline) = canary.pointer("/spec/progressDeadlineSeconds") {
        translation.part("strategy")["progressDeadlineSeconds"] = deadline.clone();
    }
    for (field, words) in [
        (
            "skipAnalysis",
            "skipAnalysis: use kubectl microservice expedite for a change that cannot wait",
        ),
        ("suspend", "suspend: the Microservice is not suspended"),
    ] {
        if canary.pointer(&format!("/spec/{field}")) == Some(&json!(true)) {
            translation.note(words);
        }
    }
    pod::choose_profile(&template, &mut translation);
    super::labels_of(target, &mut translation);
    translation.finished()
}

/// What serves, without what Flagger notes in it.
fn template_of(serving: &Value) -> Value {
    let mut template = serving.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(notes) = template
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        notes.remove("flagger-id");
    }
    template
}

/// The Service that callers use: as it is, or as the Canary describes it.
fn service_of(canary: &Value, pool: Pool<'_>, apex: &str) -> Value {
    if let Some(service) = pool.get("Service", apex) {
        return service.clone();
    }
    let field = |name: &str| canary.pointer(&format!("/spec/service/{name}")).cloned();
    let mut port = Map::new();
    port.insert("name".to_owned(), field("portName").unwrap_or(json!("http")));
    port.insert("port".to_owned(), field("port").unwrap_or(json!(80)));
    if let Some(target) = field("targetPort") {
        port.insert("targetPort".to_owned(), target);
    }
    if let Some(protocol) = field("appProtocol") {
        port.insert("appProtocol".to_owned(), protocol);
    }
    json!({"metadata": {"name": apex}, "spec": {"ports": [port]}})
}

fn routes(pool: Pool<'_>, canary: &Value, apex: &str, translation: &mut Translation) {
    let service = |path: &str| canary.pointer(&format!("/spec/service/{path}"));
    let mut routes = Vec::new();
    let hosts: Vec<Value> = items(canary, "/spec/service/hosts")
        .filter(|host| **host != json!("*"))
        .cloned()
        .collect();
    if let Some(parents) = service("gatewayRefs") {
        let mut route = json!({"name": "web", "gateway": {"parentRefs": known_parents(parents)}});
        if !hosts.is_empty() {
            route["hosts"] = json!(hosts);
        }
        routes.push(route);
        translation.note(format!(
            "HTTPRoute {apex} is Flagger's; that of the Microservice is {apex}-web, beside it: delete Flagger's when the \
             new one is accepted (the older of two is the one that counts)"
        ));
    } else if let Some(gateways) = service("gateways") {
        let mut route = json!({"name": "web", "istio": {"gateways": gateways}});
        if hosts.is_empty() {
            translation.note("a VirtualService needs hosts, and the Canary has none: write routes[].hosts");
        } else {
            route["hosts"] = json!(hosts);
        }
        routes.push(route);
        translation.note(format!(
            "VirtualService {apex} is Flagger's; that of the Microservice is {apex}-web: delete Flagger's and its \
             DestinationRules in the change that applies it"
        ));
    }
    translation.set("routes", Value::Array(routes));
    if canary.pointer("/spec/ingressRef/name").is_some() {
        exposure::routes(pool, apex, translation);
        translation.note(format!(
            "Ingress {}-canary is Flagger's: delete it",
            text(canary, "/spec/ingressRef/name")
        ));
    }
    let known = [
        "name",
        "port",
        "portName",
        "targetPort",
        "appProtocol",
        "gatewayRefs",
        "gateways",
        "hosts",
    ];
    let left = super::others(canary.pointer("/spec/service"), &known);
    if !left.is_empty() {
        translation.note(format!(
            "spec.service of the Canary has {}, which is left out: rules and filters belong into routes[].rules and \
             routes[].gateway.filters; timeouts, retries and traffic policies have no field",
            left.join(", ")
        ));
    }
}

fn known_parents(parents: &Value) -> Value {
    let known = ["group", "kind", "namespace", "name", "sectionName", "port"];
    let all = parents.as_array().into_iter().flatten().map(|parent| {
        let fields = super::fields(Some(parent)).filter(|(field, _)| known.contains(&field.as_str()));
        Value::Object(
            fields
                .map(|(field, value)| (field.clone(), value.clone()))
                .collect(),
        )
    });
    Value::Array(all.collect())
}

fn autoscaling(pool: Pool<'_>, canary: &Value, serving: &Value, translation: &mut Translation) {
    let kind = text(canary, "/spec/autoscalerRef/kind");
    let name = text(canary, "/spec/autoscalerRef/name");
    let replicas = serving.pointer("/spec/replicas").cloned().unwrap_or(json!(1));
    match kind {
        "" => translation.set("replicas", replicas),
        "HorizontalPodAutoscaler" => match pool.get("HorizontalPodAutoscaler", name) {
            Some(autoscaler) => {
                scale::from_autoscaler(autoscaler, translation);
                translation.note(format!(
                    "the pods of the primary are scaled by HorizontalPodAutoscaler {name}-primary, and nothing is adopted \
                     while it is there: delete it and {name} just before you apply; the pods stay as many as they are"
                ));
            }
            None => {
                translation.set("replicas", replicas);
                translation.note(format!(
                    "HorizontalPodAutoscaler {name} is not here: replicas stands in its place; write autoscaling"
                ));
            }
        },
        other => {
            translation.set("replicas", replicas);
            translation.note(format!(
                "{other} {name} is not translated: let its scaleTargetRef name the Microservice (apiVersion \
                 microservice.dev/v1alpha1)"
            ));
        }
    }
}

fn analysis(pool: Pool<'_>, canary: &Value, translation: &mut Translation) {
    let Some(analysis) = canary
        .get("spec")
        .and_then(|spec| spec.get("analysis").or(spec.get("canaryAnalysis")))
    else {
        translation.note("the Canary has no analysis: the strategy is RollingUpdate");
        return;
    };
    let interval = analysis.get("interval").and_then(seconds).unwrap_or(60);
    let number = |field: &str| analysis.get(field).and_then(Value::as_i64);
    let matches = matches(analysis, translation);
    let mirror =
        (analysis.get("mirror") == Some(&json!(true))).then(|| number("mirrorWeight").unwrap_or(100));
    match number("iterations") {
        Some(iterations) if matches.is_empty() && mirror.is_none() => {
            let strategy = translation.part("strategy");
            strategy["type"] = json!("BlueGreen");
            strategy["blueGreen"] = json!({"previewSeconds": iterations.saturating_mul(interval)});
        }
        Some(iterations) => {
            let mut step = Step::default();
            if !matches.is_empty() {
                step.set("match", json!(matches));
            }
            if let Some(percent) = mirror {
                step.set("mirrorPercent", json!(percent));
            }
            step.set("durationSeconds", json!(iterations.saturating_mul(interval)));
            steps::canary(vec![step], translation);
        }
        None => {
            let mut all = Vec::new();
            if let Some(percent) = mirror {
                let mut step = Step::default();
                step.set("mirrorPercent", json!(percent));
                step.set("durationSeconds", json!(interval));
                all.push(step);
            }
            all.extend(weights(analysis).into_iter().map(|weight| {
                let mut step = Step::weight(weight);
                step.set("durationSeconds", json!(interval));
                step
            }));
            steps::canary(all, translation);
        }
    }
    metrics(pool, analysis, interval, translation);
    if let Some(threshold) = number("threshold") {
        translation.note(format!(
            "threshold {threshold} counts failed looks of all metrics together: here objectives are judged by a test that \
             needs no such number, and each check has its own failureLimit"
        ));
    }
    for webhook in items(analysis, "/webhooks") {
        translation.note(webhook_words(webhook));
    }
    for alert in items(analysis, "/alerts") {
        translation.note(format!(
            "alert {} becomes an entry of notifications, by hand",
            text(alert, "/name")
        ));
    }
    for (field, words) in [
        (
            "sessionAffinity",
            "sessionAffinity: canary.sessionAffinity Cookie is there with ingress-nginx alone",
        ),
        (
            "stepWeightPromotion",
            "stepWeightPromotion: nothing is copied back, so that there is no such promotion",
        ),
        (
            "primaryReadyThreshold",
            "primaryReadyThreshold: all pods of a step are ready before traffic moves",
        ),
        (
            "canaryReadyThreshold",
            "canaryReadyThreshold: all pods of a step are ready before traffic moves",
        ),
    ] {
        if analysis.get(field).is_some() {
            translation.note(words);
        }
    }
}

fn webhook_words(webhook: &Value) -> String {
    let name = text(webhook, "/name");
    let instead = match text(webhook, "/type") {
        "confirm-rollout" => "kubectl microservice freeze and unfreeze",
        "pre-rollout" => "preDeploy, or hooks of the first step",
        "confirm-traffic-increase" | "confirm-promotion" => {
            "a step with pause: Manual, ended by promote; or a hook"
        }
        "post-rollout" | "event" => "notifications[].webhook",
        "rollback" => "kubectl microservice abort",
        _ => "strategy.analysis.checks[].web or .job; for a load test a hook of a step",
    };
    format!(
        "webhook {name} ({}) is left out: write {instead}",
        text(webhook, "/type")
    )
}

/// The weights that Flagger goes through.
fn weights(analysis: &Value) -> Vec<i64> {
    let listed: Vec<i64> = items(analysis, "/stepWeights")
        .filter_map(Value::as_i64)
        .collect();
    if !listed.is_empty() {
        return listed;
    }
    let number = |field: &str| analysis.get(field).and_then(Value::as_i64);
    let most = number("maxWeight").unwrap_or(100).clamp(1, 100);
    let Some(step) = number("stepWeight").filter(|step| *step > 0) else {
        return vec![most];
    };
    let mut all = Vec::new();
    let mut weight = step.min(most);
    while weight < most {
        all.push(weight);
        weight = weight.saturating_add(step);
    }
    all.push(most);
    all
}

fn matches(analysis: &Value, translation: &mut Translation) -> Vec<Value> {
    let mut all = Vec::new();
    for entry in items(analysis, "/match") {
        let mut headers = Vec::new();
        for (name, rule) in super::fields(entry.get("headers")) {
            match (rule.get("exact").and_then(Value::as_str), name.as_str()) {
                (Some(value), name) if name != "cookie" => headers.push(json!({"name": name, "value": value})),
                _ => translation.note(format!(
                    "the match of header {name} is no exact one, which is all that a step can ask for: it is left out"
                )),
            }
        }
        if !headers.is_empty() {
            all.push(json!({"headers": headers}));
        }
    }
    all
}

fn metrics(pool: Pool<'_>, analysis: &Value, interval: i64, translation: &mut Translation) {
    let mut objectives = Vec::new();
    let mut checks = Vec::new();
    for metric in items(analysis, "/metrics") {
        let name = text(metric, "/name");
        let bound = |side: &str| metric.pointer(&format!("/thresholdRange/{side}")).cloned();
        match (name, metric.get("templateRef"), metric.get("query")) {
            ("request-success-rate", None, None) => {
                let good = bound("min").unwrap_or(json!(99));
                objectives.push(json!({"name": "availability", "goodPercent": decimal(&good), "indicator": {"errors": {}}}));
            }
            ("request-duration", None, None) => {
                let slowest = bound("max").and_then(|max| max.as_i64()).unwrap_or(500);
                objectives.push(json!({"name": "latency", "goodPercent": "99",
                    "indicator": {"latency": {"thresholdMilliseconds": slowest}}}));
            }
            _ => checks.extend(check(pool, metric, interval, translation)),
        }
    }
    translation.set("objectives", Value::Array(objectives));
    if !checks.is_empty() {
        let analysis = &mut translation.part("strategy")["analysis"];
        analysis["checks"] = json!(checks);
    }
}

fn decimal(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A query of Prometheus as a check.
fn check(pool: Pool<'_>, metric: &Value, interval: i64, translation: &mut Translation) -> Option<Value> {
    let name = text(metric, "/name");
    let template = pool.get("MetricTemplate", text(metric, "/templateRef/name"));
    let query = metric
        .get("query")
        .or(template.and_then(|template| template.pointer("/spec/query")))
        .and_then(Value::as_str);
    let provider = template.map_or("prometheus", |template| text(template, "/spec/provider/type"));
    let Some(query) = query.filter(|_| provider == "prometheus") else {
        translation.note(format!(
            "metric {name} is left out: its MetricTemplate is not here or asks {provider}; a check of type web or job can"
        ));
        return None;
    };
    if query.contains("{{") {
        translation.note(format!(
            "the query of metric {name} has Flagger's placeholders and is left out: write it as a check with those of \
             docs/analysis.md: {query}"
        ));
        return None;
    }
    let Some(address) = template.map(|template| text(template, "/spec/provider/address")) else {
        translation.note(format!(
            "metric {name} asks the Prometheus that Flagger was started with and is left out: write it as a check, with \
             strategy.analysis.prometheus.address: {query}"
        ));
        return None;
    };
    let analysis = &mut translation.part("strategy")["analysis"];
    analysis["prometheus"] = json!({"address": address});
    let mut prometheus = json!({"query": query});
    for side in ["min", "max"] {
        if let Some(bound) = metric.pointer(&format!("/thresholdRange/{side}")) {
            prometheus[side] = json!(decimal(bound));
        }
    }
    let seconds = metric.get("interval").and_then(seconds).unwrap_or(interval);
    Some(json!({"name": check_name(name), "prometheus": prometheus, "intervalSeconds": seconds}))
}

/// A name that a check may have.
pub(super) fn check_name(name: &str) -> String {
    let lawful: String = name
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .take(30)
        .collect();
    lawful.trim_matches('-').to_owned()
}
