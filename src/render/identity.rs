//! Whom child objects belong to, and the labels that say so.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Child, ChildKind, prune::pruned};
use crate::api::{Microservice, labels};

/// The service that child objects belong to.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// The name of the Microservice.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Labels that the user wants on all objects; they never replace ours.
    pub common_labels: &'a BTreeMap<String, String>,
}

/// What is particular about the metadata of a child.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metadata<'a> {
    /// Its name.
    pub name: String,
    /// The revision that it belongs to; absent for what all revisions share.
    pub revision: Option<&'a str>,
    /// Labels of the user's for this object alone.
    pub labels: BTreeMap<String, String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// What a Service besides the root one is for.
    pub purpose: Option<Purpose>,
}

/// What a Service besides the root one is for; the value of its label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Routes lead to it.
    Revision,
    /// People look at a revision by it.
    Preview,
}

impl Purpose {
    /// The value of the label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Revision => "Revision",
            Self::Preview => "Preview",
        }
    }
}

impl<'a> Identity<'a> {
    /// The identity of `service`, which is in `namespace`.
    pub fn of(service: &'a Microservice, namespace: &'a str) -> Self {
        Self {
            name: service.metadata.name.as_deref().unwrap_or_default(),
            namespace,
            common_labels: &service.spec.operation.common_labels,
        }
    }

    /// The labels that select the pods of all revisions. Fixed for ever.
    pub fn selector(&self) -> BTreeMap<String, String> {
        [labels::NAME, labels::INSTANCE]
            .map(|key| (key.to_owned(), self.name.to_owned()))
            .into()
    }

    /// The labels that select the pods of one revision.
    pub fn revision_selector(&self, revision: &str) -> BTreeMap<String, String> {
        let mut selector = self.selector();
        selector.insert(labels::REVISION.to_owned(), revision.to_owned());
        selector
    }

    /// A child of this service: `body` beside apiVersion, kind and metadata.
    pub(crate) fn child(&self, kind: ChildKind, metadata: Metadata<'_>, body: Map<String, Value>) -> Child {
        let mut object = json!({
            "apiVersion": kind.api_version(),
            "kind": kind.kind(),
            "metadata": {
                "name": metadata.name,
                "namespace": self.namespace,
                "labels": self.labels(&metadata),
                "annotations": metadata.annotations,
            },
        });
        if let Some(fields) = object.as_object_mut() {
            fields.extend(body);
        }
        Child {
            kind,
            name: metadata.name,
            object: pruned(object),
        }
    }

    /// The labels of a child: the user's, and over them ours.
    fn labels(&self, metadata: &Metadata<'_>) -> BTreeMap<String, String> {
        let mut all: BTreeMap<String, String> = (self.common_labels.iter().chain(&metadata.labels))
            .filter(|(key, _)| !key.starts_with(labels::PREFIX))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        all.extend(self.selector());
        all.insert(labels::MANAGED_BY.to_owned(), labels::MANAGER.to_owned());
        if let Some(revision) = metadata.revision {
            all.insert(labels::REVISION.to_owned(), revision.to_owned());
        }
        if let Some(purpose) = metadata.purpose {
            all.insert(labels::SERVICE.to_owned(), purpose.as_str().to_owned());
        }
        all
    }
}

impl Metadata<'_> {
    /// Metadata with nothing but a name.
    pub(crate) fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
