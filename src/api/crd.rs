//! The CRD as it is installed: what the derive makes, trimmed to what clusters and people need.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use kube::CustomResourceExt;
use serde_json::json;

use super::Microservice;

/// The most characters of a description that comes with a core type: enough for a sentence, and the CRD stays below
/// the 256 KiB that client-side apply can hold.
const CORE_DESCRIPTION: usize = 160;

/// The CRD of [`Microservice`].
pub fn crd() -> CustomResourceDefinition {
    let mut crd = Microservice::crd();
    for version in &mut crd.spec.versions {
        let Some(root) = version
            .schema
            .as_mut()
            .and_then(|s| s.open_api_v3_schema.as_mut())
        else {
            continue;
        };
        shorten(root, 0);
        let Some(status) = root.properties.as_mut().and_then(|p| p.get_mut("status")) else {
            continue;
        };
        // So that nobody takes an object that no operator has seen for a finished one.
        status.default = Some(
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSON(
                json!({"observedGeneration": -1}),
            ),
        );
        status.nullable = None;
    }
    crd
}

/// Our own descriptions sit at most four levels deep; what is below comes with core types.
const OWN_LEVELS: usize = 4;

fn shorten(schema: &mut JSONSchemaProps, level: usize) {
    if let Some(text) = schema.description.take() {
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        schema.description = Some(if level <= OWN_LEVELS {
            text
        } else {
            first_sentence(&text)
        });
    }
    for child in schema.properties.iter_mut().flat_map(|p| p.values_mut()) {
        shorten(child, level + 1);
    }
    match schema.items.as_mut() {
        Some(JSONSchemaPropsOrArray::Schema(item)) => shorten(item, level),
        Some(JSONSchemaPropsOrArray::Schemas(items)) => {
            items.iter_mut().for_each(|item| shorten(item, level))
        }
        None => {}
    }
    if let Some(
        k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::JSONSchemaPropsOrBool::Schema(
            value,
        ),
    ) = schema.additional_properties.as_mut()
    {
        shorten(value, level);
    }
}

fn first_sentence(text: &str) -> String {
    let sentence = text.split_inclusive(". ").next().unwrap_or(text).trim_end();
    sentence.chars().take(CORE_DESCRIPTION).collect()
}

/// The CRD as YAML, as it stands in crds/.
///
/// # Errors
/// When the CRD cannot be written as YAML, which would be a bug.
pub fn crd_yaml() -> Result<String, serde_saphyr::ser::Error> {
    serde_saphyr::to_string(&crd())
}

/// Takes the description from an enum's schema, so that a field of that type keeps its own: kube's rewriting of an
/// optional enum would put the type's description in the place of the field's.
pub(super) fn without_description(schema: &mut schemars::Schema) {
    schema.remove("description");
}
