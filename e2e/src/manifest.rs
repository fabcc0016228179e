//! Microservices to test with: quick ones, which tests change where they differ.

use serde_json::{Value, json};

/// A Microservice in the form of its manifest.
#[derive(Clone, Debug)]
pub struct Manifest(pub Value);

impl Manifest {
    /// With a spec laid over the present one: objects are merged, everything else is replaced, null removes.
    #[must_use]
    pub fn spec(mut self, overlay: Value) -> Self {
        merge(&mut self.0["spec"], overlay);
        self
    }

    /// With metadata laid over the present one.
    #[must_use]
    pub fn metadata(mut self, overlay: Value) -> Self {
        merge(&mut self.0["metadata"], overlay);
        self
    }

    /// With another image tag.
    #[must_use]
    pub fn version(mut self, tag: &str) -> Self {
        let image = self.0["spec"]["image"].as_str().unwrap_or_default().to_owned();
        let name = image.rsplit_once(':').map_or(image.as_str(), |(name, _)| name);
        self.0["spec"]["image"] = json!(format!("{name}:{tag}"));
        self
    }

    /// With one environment variable more.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        let variables = &mut self.0["spec"]["env"];
        if variables.is_null() {
            *variables = json!([]);
        }
        let variables = variables.as_array_mut().unwrap();
        variables.retain(|variable| variable["name"] != name);
        variables.push(json!({"name": name, "value": value}));
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.0["metadata"]["name"].as_str().unwrap()
    }

    /// As text.
    pub fn text(&self) -> String {
        self.0.to_string()
    }
}

/// A merge patch (RFC 7386).
pub fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            target.as_object_mut().unwrap().remove(&key);
        } else {
            merge(&mut target[key], value);
        }
    }
}

fn quick(name: &str, image: &str, port: u16, path: &str) -> Manifest {
    Manifest(json!({
        "apiVersion": "microservice.dev/v1alpha1",
        "kind": "Microservice",
        "metadata": {"name": name},
        "spec": {
            "image": image,
            "ports": [{"name": "http", "containerPort": port}],
            "probes": {"readiness": {
                "httpGet": {"path": path, "port": "http"}, "periodSeconds": 1, "failureThreshold": 2,
                // An answer that is late on a busy machine is no loss of readiness; what is not ready says so at once.
                "timeoutSeconds": 5,
            }},
            // Long enough for the preStop sleep of 2 s, in which kube-proxy learns that the pod goes.
            "terminationGracePeriodSeconds": 3,
            "strategy": {"bakeSeconds": 2, "progressDeadlineSeconds": 60},
        },
    }))
}

/// podinfo, which behaves.
pub fn podinfo(name: &str, version: &str) -> Manifest {
    quick(
        name,
        &format!("registry.local/podinfo:{version}"),
        9898,
        "/readyz",
    )
}

/// The application that misbehaves on demand: by environment from its start on, by requests while it runs.
pub fn misbehave(name: &str, version: &str) -> Manifest {
    quick(
        name,
        &format!("registry.local/misbehave:{version}"),
        8080,
        "/ready",
    )
}
