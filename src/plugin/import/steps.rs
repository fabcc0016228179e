//! Steps of a canary, and the times that others write them in.

use serde_json::{Map, Value, json};

use super::Translation;

/// The most steps that a canary may have.
const MOST_STEPS: usize = 20;

/// Seconds of a time such as `30s`, `1m30s` or `2h`; a number is seconds.
pub(super) fn seconds(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text_seconds(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn text_seconds(text: &str) -> Option<i64> {
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let mut total: i64 = 0;
    let mut digits = String::new();
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        let number: i64 = digits.parse().ok()?;
        let unit = match c {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        digits.clear();
    }
    digits.is_empty().then_some(total).filter(|_| !text.is_empty())
}

/// A step in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    pub fields: Map<String, Value>,
}

impl Step {
    pub fn weight(weight: i64) -> Self {
        let mut step = Self::default();
        step.set("weight", json!(weight));
        step
    }

    pub fn set(&mut self, field: &str, value: Value) {
        self.fields.insert(field.to_owned(), value);
    }
}

/// Sets a canary of these steps.
pub(super) fn canary(steps: Vec<Step>, translation: &mut Translation) {
    let mut steps: Vec<Value> = steps
        .into_iter()
        .filter(|step| !step.fields.is_empty())
        .map(|step| Value::Object(step.fields))
        .collect();
    if !splits(translation) {
        for fields in steps.iter_mut().filter_map(Value::as_object_mut) {
            for field in ["match", "mirrorPercent"] {
                if let Some(value) = fields.remove(field) {
                    translation.notes.push(format!(
                        "a step with {field} {value} needs a route that splits requests, and there is none: {field} is left \
                         out. Add it with the route"
                    ));
                }
            }
        }
        steps.retain(|step| {
            step.get("weight").is_some() || step.get("replicas").is_some() || step.get("pause").is_some()
        });
    }
    if steps.is_empty() {
        translation.note("there is no step of a canary: the strategy is RollingUpdate");
        return;
    }
    if steps.len() > MOST_STEPS {
        translation.note(format!(
            "there are {} steps, and a canary has at most {MOST_STEPS}: the last ones are left out",
            steps.len()
        ));
        steps.truncate(MOST_STEPS);
    }
    let strategy = translation.part("strategy");
    strategy["type"] = json!("Canary");
    strategy["canary"] = json!({"steps": steps});
}

/// Whether a route of the spec can split requests.
fn splits(translation: &Translation) -> bool {
    let routes = translation.spec.get("routes").and_then(Value::as_array);
    routes.into_iter().flatten().any(|route| {
        route.get("gateway").is_some()
            || route.get("istio").is_some()
            || route.pointer("/ingress/className") == Some(&json!("nginx"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_writes_them() {
        for (text, wanted) in [
            ("30s", Some(30)),
            ("1m30s", Some(90)),
            ("2h", Some(7200)),
            ("45", Some(45)),
            ("", None),
            ("1x", None),
            ("5m3", None),
        ] {
            assert_eq!(seconds(&json!(text)), wanted, "{text}");
        }
        assert_eq!(seconds(&json!(60)), Some(60));
    }
}
