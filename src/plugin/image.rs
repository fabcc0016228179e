//! `set image`: which image of a service is meant, and the patch that changes it.

use serde_json::{Value, json};

use super::reading;
use crate::api::{Microservice, RawObject};

/// What is to run: `[container=]image`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageChange {
    /// The container; the main one where none is named.
    pub container: Option<String>,
    /// The image.
    pub image: String,
}

impl std::str::FromStr for ImageChange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (container, image) = match text.split_once('=') {
            Some((container, image)) => (Some(container), image),
            None => (None, text),
        };
        let broken = image.is_empty() || image.contains(char::is_whitespace) || container == Some("");
        if broken {
            return Err("must be an image, or container=image".to_owned());
        }
        Ok(Self {
            container: container.map(str::to_owned),
            image: image.to_owned(),
        })
    }
}

/// A patch, and what it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePatch {
    /// JSON patch operations; they hold for the service as it was read only.
    pub operations: Value,
    /// The image before.
    pub before: String,
}

/// The patch that changes an image of `service`.
///
/// # Errors
/// Where there is no such container, with those that there are.
pub fn set_image(service: &Microservice, change: &ImageChange) -> Result<ImagePatch, String> {
    let name = reading::name(service);
    let spec = &service.spec.revision;
    let container = change.container.as_deref().unwrap_or(name);
    let beside = |list: &'static str, containers: &[RawObject]| -> Vec<(String, String, String)> {
        let text = |object: &RawObject, key: &str| {
            let value = object.0.get(key).and_then(Value::as_str);
            value.unwrap_or_default().to_owned()
        };
        let path = |index: usize| format!("/spec/{list}/{index}/image");
        let all = containers.iter().enumerate();
        all.map(|(index, object)| (text(object, "name"), path(index), text(object, "image")))
            .collect()
    };
    let mut known = vec![(name.to_owned(), "/spec/image".to_owned(), spec.image.clone())];
    known.extend(beside("sidecars", &spec.sidecars));
    known.extend(beside("initContainers", &spec.init_containers));
    let Some((_, path, before)) = known.iter().find(|(known, ..)| known == container) else {
        let names: Vec<&str> = known.iter().map(|(name, ..)| name.as_str()).collect();
        return Err(format!(
            "{name} has no container {container}: it has {}",
            names.join(", ")
        ));
    };
    // What was read must still be so. Not the resourceVersion: each write of the status changes that.
    let name_of = format!("{}/name", path.trim_end_matches("/image"));
    let mut operations = vec![json!({"op": "test", "path": path, "value": before})];
    if *path != "/spec/image" {
        operations.push(json!({"op": "test", "path": name_of, "value": container}));
    }
    operations.push(json!({"op": "replace", "path": path, "value": change.image}));
    Ok(ImagePatch {
        operations: Value::Array(operations),
        before: before.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Microservice {
        serde_json::from_value(json!({
            "apiVersion": "microservice.dev/v1alpha1", "kind": "Microservice",
            "metadata": {"name": "web"},
            "spec": {"image": "app:1", "sidecars": [{"name": "proxy", "image": "proxy:1"}]},
        }))
        .unwrap()
    }

    #[test]
    fn the_main_container_is_meant_unless_another_is_named() {
        for text in ["app:2", "web=app:2"] {
            let patch = set_image(&service(), &text.parse().unwrap()).unwrap();
            assert_eq!(patch.before, "app:1");
            assert_eq!(
                patch.operations,
                json!([
                    {"op": "test", "path": "/spec/image", "value": "app:1"},
                    {"op": "replace", "path": "/spec/image", "value": "app:2"},
                ])
            );
        }
        let patch = set_image(&service(), &"proxy=proxy:2".parse().unwrap()).unwrap();
        assert_eq!(
            patch.operations,
            json!([
                {"op": "test", "path": "/spec/sidecars/0/image", "value": "proxy:1"},
                {"op": "test", "path": "/spec/sidecars/0/name", "value": "proxy"},
                {"op": "replace", "path": "/spec/sidecars/0/image", "value": "proxy:2"},
            ])
        );
        let refused = set_image(&service(), &"other=a".parse().unwrap()).unwrap_err();
        assert_eq!(refused, "web has no container other: it has web, proxy");
    }

    #[test]
    fn what_is_no_image_is_refused() {
        for text in ["", "web=", "=app", "a b"] {
            assert!(text.parse::<ImageChange>().is_err(), "{text:?}");
        }
    }
}
