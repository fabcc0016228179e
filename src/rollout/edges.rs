//! The table of edges: one row for each decision that the engine can take. Code, tests and docs share it.

use serde::Serialize;

use crate::api::RolloutState;

/// A decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Edge {
    /// The first revision gets its pods.
    Start,
    /// What runs already is the first revision.
    Adopt,
    /// A lost or impossible status is made good from what runs.
    Repair,
    /// The first revision is ready.
    Started,
    /// The first revision is replaced before it was ready.
    StartOver,
    /// A candidate goes out.
    Roll,
    /// The Jobs before the candidate's first pod have succeeded.
    PreDeployed,
    /// The step's pods are ready and its traffic is in force.
    InForce,
    /// The next step.
    Advance,
    /// The steps were edited: the rollout goes on at another one.
    Reposition,
    /// A person skips the steps that are left.
    Skip,
    /// The candidate is sized and ready: it takes over.
    Promote,
    /// Nothing is left to protect: the ready candidate takes over at once.
    PromoteAtOnce,
    /// The candidate has all traffic: it is watched for a while.
    Bake,
    /// The candidate is the stable revision.
    Finish,
    /// A verdict, the deadline or the environment is against the candidate.
    Reject,
    /// A person takes the candidate back.
    Abort,
    /// A person asks to go back.
    Rollback,
    /// The spec asks for something else: the candidate is taken back first.
    Supersede,
    /// The spec asks for something else and stable does not serve: the newer revision goes out at once.
    FixForward,
    /// The revision that was returned to serves all.
    Returned,
    /// The spec asks for a rejected revision: it is not tried.
    Hold,
    /// What held a revision back is over.
    Release,
}

impl Edge {
    /// Its name, as in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::Adopt => "Adopt",
            Self::Repair => "Repair",
            Self::Started => "Started",
            Self::StartOver => "StartOver",
            Self::Roll => "Roll",
            Self::PreDeployed => "PreDeployed",
            Self::InForce => "InForce",
            Self::Advance => "Advance",
            Self::Reposition => "Reposition",
            Self::Skip => "Skip",
            Self::Promote => "Promote",
            Self::PromoteAtOnce => "PromoteAtOnce",
            Self::Bake => "Bake",
            Self::Finish => "Finish",
            Self::Reject => "Reject",
            Self::Abort => "Abort",
            Self::Rollback => "Rollback",
            Self::Supersede => "Supersede",
            Self::FixForward => "FixForward",
            Self::Returned => "Returned",
            Self::Hold => "Hold",
            Self::Release => "Release",
        }
    }

    /// Whether it takes a revision back because something is wrong with it.
    pub fn is_grave(self) -> bool {
        matches!(self, Self::Reject | Self::Abort | Self::Rollback)
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct EdgeRow {
    /// The decision.
    pub edge: Edge,
    /// The states that it leaves. `Start`, `Adopt` and `Repair` are also taken where there is no state (yet, or any more).
    pub from: &'static [RolloutState],
    /// The states that it can lead to.
    pub to: &'static [RolloutState],
    /// When it is taken.
    pub when: &'static str,
    /// What follows, in order.
    pub then: &'static str,
}

use RolloutState::{Baking, Promoting, Returning, Rolling, Starting, Steady};

/// All edges.
pub const EDGES: [EdgeRow; 23] = [
    EdgeRow {
        edge: Edge::Start,
        from: &[Starting, Steady, Rolling, Promoting, Baking, Returning],
        to: &[Starting],
        when: "the first revision b is known and not suspended; from a state: all that it speaks of is lost",
        then: "checkpoint; record b, its objects, the root Service",
    },
    EdgeRow {
        edge: Edge::Adopt,
        from: &[Starting, Steady, Rolling, Promoting, Baking, Returning],
        to: &[Steady],
        when: "an annotation asks to adopt a Deployment that nobody controls, and all that was found fits together; from a \
               state: all that it speaks of is lost",
        then: "checkpoint stable = b; record b with the template and selector as they are; owner, labels and root Service; \
               labels on the pods; nothing restarts",
    },
    EdgeRow {
        edge: Edge::Repair,
        from: &[Starting, Steady, Rolling, Promoting, Baking, Returning],
        to: &[Starting, Steady, Rolling, Promoting, Baking, Returning],
        when: "the status is lost or impossible, or names a revision without record, but something runs",
        then: "a lost record is made from its Deployment, and the state stays; a lost status: checkpoint the last \
               promoted revision (or the running Deployment) as stable, or as the one that another returns to where \
               that one serves; nothing restarts",
    },
    EdgeRow {
        edge: Edge::Started,
        from: &[Starting],
        to: &[Steady],
        when: "all pods of b are ready; or the spec resolves to c, and some are",
        then: "checkpoint stable = b",
    },
    EdgeRow {
        edge: Edge::StartOver,
        from: &[Starting],
        to: &[Starting],
        when: "the spec resolves to c, and no pod of b is ready; or a person asks to try failed preDeploy Jobs again",
        then: "checkpoint c; record c, its objects; b's objects are deleted",
    },
    EdgeRow {
        edge: Edge::Roll,
        from: &[Steady],
        to: &[Rolling],
        when: "the spec resolves to b, which is not rejected, not waiting for its next trial, not frozen, has a slot \
               where these are limited, and some pod is wanted",
        then: "checkpoint b; record b, its objects",
    },
    EdgeRow {
        edge: Edge::PreDeployed,
        from: &[Starting, Rolling],
        to: &[Starting, Rolling],
        when: "all Jobs of preDeploy have succeeded",
        then: "checkpoint; b's record says so, for ever; b gets its first pods, and the deadline begins",
    },
    EdgeRow {
        edge: Edge::InForce,
        from: &[Rolling],
        to: &[Rolling],
        when: "b has the pods of its step, ready and settled; its hooks succeeded; the routes (or the root Service) send \
               it the step's traffic, were accepted, and had settleSeconds",
        then: "checkpoint since when: the step's duration counts from here",
    },
    EdgeRow {
        edge: Edge::Advance,
        from: &[Rolling],
        to: &[Rolling],
        when: "the step is in force, its duration is over and, where it waits for a person, one said promote",
        then: "checkpoint the next step (after the last: growing to full size); b's pods, then the routes",
    },
    EdgeRow {
        edge: Edge::Reposition,
        from: &[Rolling],
        to: &[Rolling],
        when: "the steps were edited, and the present one is gone, moved, or does something else",
        then: "checkpoint the same step under its new number; else the first one with at least the present weight; \
               else the last one",
    },
    EdgeRow {
        edge: Edge::Skip,
        from: &[Rolling],
        to: &[Rolling],
        when: "a person says promote-full, or expedite names b",
        then: "checkpoint; b grows to full size at the present weight",
    },
    EdgeRow {
        edge: Edge::Abort,
        from: &[Rolling, Promoting, Baking],
        to: &[Returning],
        when: "a person aborts this trial of b",
        then: "as Reject, by that person",
    },
    EdgeRow {
        edge: Edge::Promote,
        from: &[Rolling],
        to: &[Promoting],
        when: "b has all wanted pods ready and, where pods are exchanged, a has none left",
        then: "checkpoint; the routes to b; barrier: in force; the root Service selects b; barrier: its endpoints are b's \
               alone",
    },
    EdgeRow {
        edge: Edge::PromoteAtOnce,
        from: &[Rolling],
        to: &[Promoting],
        when: "a has no ready pod at all and b has one, where traffic flips or a did not serve when b began",
        then: "as Promote; b grows to its full size behind it",
    },
    EdgeRow {
        edge: Edge::Bake,
        from: &[Promoting],
        to: &[Baking],
        when: "b has all wanted pods ready, and the routes and the root Service lead to b alone",
        then: "checkpoint serving = b; after the drain time a's pods go",
    },
    EdgeRow {
        edge: Edge::Finish,
        from: &[Baking, Rolling, Promoting],
        to: &[Steady],
        when: "the bake time is over and b has a ready pod; or the spec moves on while a does not serve and b does",
        then: "checkpoint stable = b; b's record says promoted; a's objects are deleted, its record stays",
    },
    EdgeRow {
        edge: Edge::Reject,
        from: &[Rolling, Promoting, Baking],
        to: &[Returning],
        when: "a verdict against b, or the deadline (in Baking: no ready pod for so long after its end), and a served \
               when b began",
        then: "checkpoint why; the root Service to a where it is warm, a to full size; b to 0; b's record says rejected",
    },
    EdgeRow {
        edge: Edge::Rollback,
        from: &[Steady, Rolling, Promoting, Baking],
        to: &[Returning],
        when: "a person asks to leave b for a",
        then: "as Reject, by that person; a is made again from its record if need be; where b shares the traffic, a \
               third revision is gone to by way of the stable one",
    },
    EdgeRow {
        edge: Edge::Supersede,
        from: &[Rolling, Promoting, Baking],
        to: &[Returning],
        when: "the spec resolves to a again, or to c",
        then: "as Reject, but b is not rejected; c goes out when a serves all again",
    },
    EdgeRow {
        edge: Edge::FixForward,
        from: &[Rolling, Promoting, Baking, Returning],
        to: &[Rolling],
        when: "the spec resolves to c, not rejected, while a serves nothing and cannot be returned to; or a return is \
               stuck past its deadline",
        then: "checkpoint c against what still serves; the other one's pods go",
    },
    EdgeRow {
        edge: Edge::Returned,
        from: &[Returning],
        to: &[Steady],
        when: "a has all wanted pods ready (past the deadline: any), the root Service leads to a alone, and b has no \
               pod left",
        then: "checkpoint stable = a, why b is not there, and when it is tried again, if ever",
    },
    EdgeRow {
        edge: Edge::Hold,
        from: &[Steady],
        to: &[Steady],
        when: "the spec resolves to b, which is rejected",
        then: "checkpoint why b is not tried; nothing else",
    },
    EdgeRow {
        edge: Edge::Release,
        from: &[Steady],
        to: &[Steady],
        when: "the spec resolves to a again",
        then: "checkpoint; nothing is held any more",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_has_one_row_with_words() {
        let mut edges: Vec<Edge> = EDGES.iter().map(|row| row.edge).collect();
        edges.sort_unstable();
        edges.dedup();
        assert_eq!(edges.len(), EDGES.len());
        assert!(
            EDGES
                .iter()
                .all(|row| !row.when.is_empty() && !row.then.is_empty() && !row.to.is_empty())
        );
    }
}
