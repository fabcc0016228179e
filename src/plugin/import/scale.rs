//! How many pods there are, and how many a drain may take.

use serde_json::{Map, Value, json};

use super::{Pool, Translation, items, selects, text};

/// The autoscaler of a Deployment, or its replicas.
pub(super) fn autoscaling(pool: Pool<'_>, target: &str, object: &Value, translation: &mut Translation) {
    let scales = |autoscaler: &&Value| {
        text(autoscaler, "/spec/scaleTargetRef/kind") == text(object, "/kind")
            && text(autoscaler, "/spec/scaleTargetRef/name") == target
    };
    let Some(autoscaler) = pool.of("HorizontalPodAutoscaler").find(scales) else {
        let replicas = object.pointer("/spec/replicas").cloned().unwrap_or(json!(1));
        translation.set("replicas", replicas);
        return;
    };
    from_autoscaler(autoscaler, translation);
    let name = text(autoscaler, "/metadata/name");
    if name == translation.name {
        translation.adopt.push("HorizontalPodAutoscaler".to_owned());
    } else {
        let line = format!(
            "HorizontalPodAutoscaler {name} has another name than that of the Microservice, and nothing is adopted while it \
             is there: delete it just before you apply (kubectl delete hpa {name}); the pods stay as many as they are"
        );
        translation.note(line);
    }
}

/// The fields of an autoscaler. `replicas` is its own from now on.
pub(super) fn from_autoscaler(autoscaler: &Value, translation: &mut Translation) {
    let spec = autoscaler.get("spec").cloned().unwrap_or_default();
    let mut fields = Map::new();
    fields.insert(
        "minReplicas".to_owned(),
        spec.get("minReplicas").cloned().unwrap_or(json!(1)),
    );
    fields.insert(
        "maxReplicas".to_owned(),
        spec.get("maxReplicas").cloned().unwrap_or(json!(1)),
    );
    if let Some(cpu) = spec.get("targetCPUUtilizationPercentage") {
        fields.insert("cpu".to_owned(), cpu.clone());
    }
    let mut more = Vec::new();
    for metric in items(&spec, "/metrics") {
        let percent = metric.pointer("/resource/target/averageUtilization");
        match (text(metric, "/type"), text(metric, "/resource/name"), percent) {
            ("Resource", name @ ("cpu" | "memory"), Some(percent)) => {
                fields.insert(name.to_owned(), percent.clone());
            }
            ("Object" | "External", _, _) if refers_to_value(metric) => {
                translation.note(
                    "a metric of the autoscaler has a target of type Value, which runs away over two revisions: it is left \
                     out. Write it as AverageValue",
                );
            }
            _ => more.push(metric.clone()),
        }
    }
    if !more.is_empty() {
        fields.insert("metrics".to_owned(), json!(more));
    }
    if let Some(behavior) = spec.get("behavior").filter(|behavior| !is_default(behavior)) {
        fields.insert("behavior".to_owned(), behavior.clone());
    }
    translation.set("autoscaling", Value::Object(fields));
}

fn refers_to_value(metric: &Value) -> bool {
    ["/object/target/type", "/external/target/type"]
        .iter()
        .any(|path| text(metric, path) == "Value")
}

/// Whether a behaviour is what the API server fills in.
fn is_default(behavior: &Value) -> bool {
    let up = json!({"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15}, {"type": "Percent", "value": 100, "periodSeconds": 15}]});
    let down =
        json!({"selectPolicy": "Max", "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}]});
    let is = |direction: &str, usual: &Value| behavior.get(direction).is_none_or(|said| said == usual);
    is("scaleUp", &up) && is("scaleDown", &down)
}

/// The disruption budget of the pods of a template.
pub(super) fn budget(pool: Pool<'_>, template: &Value, translation: &mut Translation) {
    let labels = template.pointer("/metadata/labels");
    let selected = |budget: &&Value| selects(budget.pointer("/spec/selector/matchLabels"), labels);
    let all: Vec<&Value> = pool.of("PodDisruptionBudget").filter(selected).collect();
    let Some(budget) = all.first() else {
        return;
    };
    let mut fields = Map::new();
    for field in ["minAvailable", "maxUnavailable"] {
        let value = budget.pointer(&format!("/spec/{field}"));
        fields.extend(value.map(|value| (field.to_owned(), value.clone())));
    }
    translation.set("disruptionBudget", Value::Object(fields));
    let name = text(budget, "/metadata/name").to_owned();
    translation.adopt("PodDisruptionBudget", &name);
    if budget.pointer("/spec/unhealthyPodEvictionPolicy") != Some(&json!("AlwaysAllow")) {
        translation.note(
            "the budget lets pods that are not ready be evicted from now on (unhealthyPodEvictionPolicy AlwaysAllow)",
        );
    }
    for other in &all[1..] {
        translation.note(format!(
            "PodDisruptionBudget {} selects these pods, too, and two budgets block every eviction: delete it",
            text(other, "/metadata/name")
        ));
    }
}
