//! The golden file of hashes: what a spec hashed to once it hashes to for ever.
//!
//! A changed hash would roll out every service of every user for nothing, so this file has no way to be
//! written anew. A new case is added by hand: run the test, and copy the line that it prints.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;

use microservice_operator::api::MicroserviceSpec;
use microservice_operator::render::{Identity, new_record};
use microservice_operator::revision::{RecordedSnapshot, RevisionInput};
use serde::Deserialize;
use support::repository;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    what: String,
    name: String,
    spec: MicroserviceSpec,
    #[serde(default)]
    snapshots: Vec<RecordedSnapshot>,
    #[serde(default)]
    epoch: i64,
    #[serde(default)]
    collisions: u32,
    revision: String,
    digest: String,
}

#[test]
fn every_spec_hashes_to_what_it_once_did() {
    let text = std::fs::read_to_string(repository("tests/golden/hashes.yaml")).unwrap();
    let cases: Vec<Case> = serde_saphyr::from_str(&text).unwrap();
    assert!(cases.len() >= 12, "cases are gone");
    let none = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in cases {
        let identity = Identity {
            name: &case.name,
            namespace: "default",
            common_labels: &none,
        };
        let input = RevisionInput::of(&case.spec);
        let record = new_record(&identity, input, case.snapshots, case.epoch, 1, case.collisions);
        if (record.name.as_str(), record.data.digest.as_str())
            != (case.revision.as_str(), case.digest.as_str())
        {
            wrong.push(format!(
                "{}\n  revision: {}\n  digest: {}",
                case.what, record.name, record.data.digest
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
