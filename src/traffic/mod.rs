//! stub
use crate::api::{RequestMatch, Router, StepAffinity};
use crate::render::{Child, ChildKind, ExposedRoute, Exposure, Identity};
use serde_json::Value;
use std::collections::BTreeMap;
#[derive(Clone, Debug, PartialEq)]
pub struct Split {
    pub stable: String,
    pub candidate: Option<Share>,
    pub affinity: StepAffinity,
}
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    pub service: String,
    pub weight: i32,
    pub matches: Vec<RequestMatch>,
    pub mirror_percent: Option<i32>,
}
#[derive(PartialEq)]
pub enum Acceptance {
    Accepted,
    Waiting(String),
    Refused(String),
}
pub fn routes(
    identity: &Identity<'_>,
    exposure: &Exposure,
    router: Router,
    split: Option<&Split>,
) -> Vec<Child> {
    let _ = (router, split);
    crate::render::routes(identity, exposure)
}
pub fn splits(_route: &ExposedRoute, _router: Router) -> bool {
    false
}
pub fn routes_split(exposure: &Exposure, router: Router) -> bool {
    exposure.routes.iter().any(|r| splits(r, router))
}
pub fn acceptance(_kind: ChildKind, _object: &Value) -> Acceptance {
    Acceptance::Accepted
}
pub fn leads_to(_kind: ChildKind, _object: &Value) -> BTreeMap<String, i32> {
    BTreeMap::new()
}
