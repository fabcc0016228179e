//! The role of a pod's revision, as a label on the live pod: a queue consumer can learn through the downward API that
//! it is not the stable one any more, without a restart.
//!
//! Only pods whose template reads the label get it: for the others it would be a write for each pod that nobody reads.

use serde_json::Value;

use super::draft::Draft;
use super::plan::LabelPod;
use crate::api::{Role, labels};
use crate::health::Standing;

/// The pods whose label does not say the role of their revision.
pub fn stale_labels(draft: &Draft<'_>) -> Vec<LabelPod> {
    let state = &draft.situation.state;
    let role = |revision: &str| {
        if state.stable() == Some(revision) {
            Role::Stable
        } else {
            Role::Candidate
        }
    };
    let live = state
        .live()
        .into_iter()
        .filter_map(|name| draft.records.get(name));
    live.filter(|record| reads_the_role(&record.data.template))
        .flat_map(|record| {
            let role = role(&record.name);
            let pods = draft.observed.pods_of(&record.name).iter();
            pods.filter(move |pod| pod.standing != Standing::Deleting && pod.role != Some(role))
                .map(move |pod| LabelPod {
                    pod: pod.name.clone(),
                    uid: pod.uid.clone(),
                    role,
                })
        })
        .collect()
}

/// Whether a pod template reads the label: by its key, or all labels.
fn reads_the_role(template: &Value) -> bool {
    match template {
        Value::Object(fields) => fields.iter().any(|(key, value)| match (key.as_str(), value) {
            ("fieldPath", Value::String(path)) => {
                path == "metadata.labels" || *path == format!("metadata.labels['{}']", labels::ROLE)
            }
            _ => reads_the_role(value),
        }),
        Value::Array(items) => items.iter().any(reads_the_role),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::reads_the_role;

    #[test]
    fn only_templates_that_read_the_label_do() {
        let env = |path: &str| json!({"spec": {"containers": [{"env": [{"name": "ROLE", "valueFrom": {"fieldRef": {"fieldPath": path}}}]}]}});
        assert!(reads_the_role(&env("metadata.labels['microservice.dev/role']")));
        assert!(reads_the_role(&env("metadata.labels")));
        assert!(!reads_the_role(&env("metadata.name")));
        assert!(!reads_the_role(
            &json!({"metadata": {"labels": {"microservice.dev/role": "x"}}})
        ));
    }
}
