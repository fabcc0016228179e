//! The ServiceAccount of a revision's pods.

use serde_json::Map;

use super::{Child, ChildKind, Identity, identity::Metadata};
use crate::api::{ServiceAccount, ServiceAccountCreate};
use crate::revision::RevisionInput;

/// The account that a revision's pods run as; `None` is the namespace's default account.
pub(super) fn name(identity: &Identity<'_>, account: &ServiceAccount) -> Option<String> {
    match (&account.name, account.create.unwrap_or_default()) {
        (Some(name), ServiceAccountCreate::Always | ServiceAccountCreate::Never) => Some(name.clone()),
        (None, ServiceAccountCreate::Always) => Some(identity.name.to_owned()),
        (None, ServiceAccountCreate::Never) => None,
    }
}

/// The ServiceAccount that the operator makes for a revision; `None` where it exists already.
pub fn service_account(identity: &Identity<'_>, input: &RevisionInput) -> Option<Child> {
    let account = input.spec.service_account.as_ref()?;
    match account.create.unwrap_or_default() {
        ServiceAccountCreate::Always => {
            let metadata = Metadata {
                annotations: account.annotations.clone(),
                ..Metadata::named(name(identity, account)?)
            };
            Some(identity.child(ChildKind::ServiceAccount, metadata, Map::new()))
        }
        ServiceAccountCreate::Never => None,
    }
}
