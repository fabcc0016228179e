//! Every row of the table has a scenario that takes it.

use std::collections::BTreeSet;

use microservice_operator::rollout::{EDGES, Edge};

use super::scenarios::{adoption, back, first, lost, people, steps, update, work};

macro_rules! edges {
    ($($edge:ident: $($room:ident::$scenario:ident),+;)*) => {
        /// The edges that have a scenario.
        fn covered() -> Vec<Edge> {
            vec![$(Edge::$edge),*]
        }
        mod takes {
            $(
                #[allow(non_snake_case)]
                mod $edge {
                    use super::super::*;
                    $(
                        #[test]
                        fn $scenario() {
                            let world = $room::$scenario();
                            assert!(world.edges().contains(&Edge::$edge), "{:?}\n{}", world.taken, world.story());
                        }
                    )+
                }
            )*
        }
    };
}

edges! {
    Start: first::first_deploy;
    Adopt: adoption::a_deployment_is_the_first_revision;
    Started: first::first_deploy;
    StartOver: first::a_first_revision_that_is_never_healthy_waits_for_another;
    Repair: lost::the_status_is_lost_in_peace, lost::the_status_is_impossible, lost::the_record_of_stable_is_lost;
    Roll: update::rolling_update, update::recreate;
    PreDeployed: work::jobs_come_before_pods;
    InForce: steps::canary_by_pods;
    Advance: steps::canary_by_pods;
    Reposition: steps::the_steps_are_edited;
    Skip: steps::a_person_skips_the_steps;
    Abort: steps::a_person_aborts;
    Promote: update::rolling_update, update::an_incompatible_port_flips, update::recreate;
    PromoteAtOnce: back::a_broken_stable_is_replaced_at_once;
    Bake: update::rolling_update;
    Finish: update::rolling_update, back::fix_forward_when_stable_is_broken_and_the_candidate_serves;
    Reject: back::crash_before_traffic, back::crash_while_baking, back::the_deadline, back::an_environment_fault_retries;
    Rollback: people::rollback_in_peace, people::rollback_while_baking, people::rollback_while_rolling;
    Supersede: update::back_to_stable_in_mid_rollout, update::a_third_revision_in_mid_rollout,
        update::a_third_revision_while_baking;
    FixForward: back::fix_forward_when_stable_is_broken, back::fix_forward_when_nothing_can_be_returned_to;
    Returned: back::crash_before_traffic, update::back_to_stable_in_mid_rollout;
    Hold: people::a_rejected_spec_that_is_applied_again_stays;
    Release: people::the_old_spec_releases_what_was_held;
}

#[test]
fn every_row_has_a_scenario() {
    let covered: BTreeSet<Edge> = covered().into_iter().collect();
    let missing: Vec<Edge> = EDGES
        .iter()
        .map(|row| row.edge)
        .filter(|edge| !covered.contains(edge))
        .collect();
    assert!(missing.is_empty(), "add a scenario to edges! for {missing:?}");
}
