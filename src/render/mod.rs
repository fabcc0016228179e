//! From a spec and a revision to child objects: one file for each kind. Pure and infallible: what is refused
//! is refused by the CRD before, or by the API server after.

mod child;
mod config;
mod dashboard;
mod deployment;
mod disruption_budget;
mod exposure;
mod horizontal_pod_autoscaler;
mod identity;
mod job;
mod lists;
mod merge;
mod monitor;
mod network_policy;
mod offline;
mod pod;
mod prune;
mod record;
mod rules;
mod service;
mod service_account;
mod stored;
mod urls;

pub use child::{Child, ChildKind, KindPresence};
pub use config::{COPY_OF, config_maps, secret_copy};
pub use dashboard::dashboard;
pub use deployment::deployment;
pub use disruption_budget::disruption_budget;
pub use exposure::{
    Backend, Compatibility, ContainerPortName, Direction, ExposedRoute, ExposedRule, Exposure, MESH,
    NetworkRules, ServicePort, ServiceSettings, TargetPort, Way, compatibility,
};
pub use horizontal_pod_autoscaler::horizontal_pod_autoscaler;
pub use identity::Identity;
pub(crate) use identity::Metadata;
pub use job::{JobPurpose, job, job_name};
pub use lists::{item_key, list_keys};
pub use monitor::{Scraped, monitor};
pub use network_policy::network_policy;
pub use offline::{Companions, offline};
pub use pod::pod_template;
pub(crate) use prune::{fields, pruned, to_json};
pub use record::{new_record, record, revision_digest};
pub use rules::{prometheus_rule, wants_rules};
pub use service::{Selection, preview_service, revision_service, selecting, service};
pub use service_account::service_account;
pub use stored::without_defaults;
pub use urls::urls;
