//! The engine: from what is observed to what is to be done. Pure: no client, no clock, no randomness.
//!
//! ```text
//! observe (caches) -> Observed -> plan(&Observed, now) -> Plan { steps, status, events, wake } -> execute
//! ```
//!
//! A decision is an [`Edge`] between two [`State`]s. It is written to the status, in a step of its own, before anything
//! acts on it, so that a crash in between repeats the act and never the decision. What objects a state wants is
//! a function of the state ([`desired`]); what has to be written for that is a comparison with what lives ([`drift`]).

mod adoption;
mod checks;
mod commands;
pub mod desired;
mod draft;
pub mod drift;
mod edges;
mod judging;
mod likeness;
mod measuring;
mod observed;
mod outbox;
mod plan;
mod quantity;
mod replicas;
mod resolve;
mod roles;
mod scaling;
mod state;
mod status;
mod stepping;
mod steps;
mod traffic;
mod transition;
mod work;

pub use adoption::{Wish, sought, sought_deployment};
pub use edges::{EDGES, Edge, EdgeRow};
pub use judging::{AnalysisReport, Answered, Check, Exposed, Watch, WatchSource};
pub use likeness::{main_container, unlike};
pub use measuring::{Measure, Question};
pub use observed::{
    CallOutcome, ChildKey, Contest, Deleting, DeploymentView, Endpoints, Failure, FailureClass, JobView,
    LiveChild, Observed, Ownership, Slot, Source, UnclaimedPod,
};
pub use outbox::{Delivery, DeliveryOutcome, Untold, delivery_key};
pub use plan::{
    Apply, ApplyReason, Call, CallSubject, ClaimPod, Delete, EventDraft, EventKind, LabelPod, Plan, Step,
    Turn, WriteBack, call_body, plan,
};
pub use replicas::{Pace, SizeTargets, Surge};
pub use resolve::{Resolution, Unresolved, resolve};
pub use scaling::{ReplicasHolder, Scaling};
pub use state::{Change, Course, Held, Position, Return, Situation, Stage, State};
pub use status::Worth;
pub use steps::{Goal, GoalEnd, GoalSize, goals};
pub use traffic::{RevisionShare, RouteTarget, is_route};
