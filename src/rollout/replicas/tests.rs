use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use proptest::prelude::*;

use super::*;
// By name: proptest's prelude has a Strategy of its own.
use crate::api::{RollingUpdate, Strategy};

fn counts(live: i32, ready: i32) -> Counts {
    Counts {
        live,
        ready,
        terminating: 0,
    }
}

fn size(asked: i32, ready: i32) -> Size {
    Size {
        asked,
        counts: counts(asked, ready),
    }
}

fn strategy(surge: &str, unavailable: &str) -> Strategy {
    let value = |text: &str| {
        text.parse()
            .map_or_else(|_| IntOrString::String(text.to_owned()), IntOrString::Int)
    };
    Strategy {
        rolling_update: Some(RollingUpdate {
            max_surge: Some(value(surge)),
            max_unavailable: Some(value(unavailable)),
        }),
        ..Strategy::default()
    }
}

#[test]
fn surge_is_rounded_up_and_unavailable_down() {
    assert_eq!(Surge::of(&Strategy::default(), 3), Surge { above: 1, below: 0 });
    assert_eq!(Surge::of(&Strategy::default(), 10), Surge { above: 3, below: 0 });
    assert_eq!(
        Surge::of(&strategy("25%", "25%"), 10),
        Surge { above: 3, below: 2 }
    );
    assert_eq!(Surge::of(&strategy("2", "1"), 10), Surge { above: 2, below: 1 });
    assert_eq!(Surge::of(&strategy("0", "25%"), 3), Surge { above: 0, below: 1 });
}

#[test]
fn a_rolling_update_of_four_goes_one_by_one() {
    let pace = Pace::Lots(Surge { above: 1, below: 0 });
    assert_eq!(
        exchange(pace, 4, size(4, 4), size(0, 0)),
        SizeTargets {
            leaving: 4,
            coming: 1
        }
    );
    assert_eq!(
        exchange(pace, 4, size(4, 4), size(1, 0)),
        SizeTargets {
            leaving: 4,
            coming: 1
        }
    );
    assert_eq!(
        exchange(pace, 4, size(4, 4), size(1, 1)),
        SizeTargets {
            leaving: 3,
            coming: 1
        }
    );
    assert_eq!(
        exchange(pace, 4, size(3, 3), size(1, 1)),
        SizeTargets {
            leaving: 3,
            coming: 2
        }
    );
    assert_eq!(
        exchange(pace, 4, size(0, 0), size(4, 4)),
        SizeTargets {
            leaving: 0,
            coming: 4
        }
    );
}

#[test]
fn recreate_waits_for_the_last_terminating_pod() {
    let ending = Size {
        asked: 0,
        counts: Counts {
            live: 0,
            ready: 0,
            terminating: 1,
        },
    };
    assert_eq!(
        exchange(Pace::OneAtATime, 3, ending, size(0, 0)),
        SizeTargets {
            leaving: 0,
            coming: 0
        }
    );
    assert_eq!(
        exchange(Pace::OneAtATime, 3, size(0, 0), size(0, 0)),
        SizeTargets {
            leaving: 0,
            coming: 3
        }
    );
}

#[test]
fn a_failed_revision_that_serves_nothing_goes_at_once() {
    let pace = Pace::Lots(Surge { above: 1, below: 0 });
    assert_eq!(
        go_home(pace, 4, size(4, 0), size(0, 0), Room::Enough),
        SizeTargets {
            leaving: 0,
            coming: 4
        }
    );
}

#[test]
fn a_failed_revision_that_still_serves_is_made_up_for_first() {
    let pace = Pace::Lots(Surge { above: 1, below: 0 });
    assert_eq!(
        go_home(pace, 4, size(4, 2), size(0, 0), Room::Enough),
        SizeTargets {
            leaving: 4,
            coming: 4
        }
    );
    assert_eq!(
        go_home(pace, 4, size(4, 2), size(4, 3), Room::Enough),
        SizeTargets {
            leaving: 1,
            coming: 4
        }
    );
    assert_eq!(
        go_home(pace, 4, size(4, 2), size(4, 0), Room::Needed { placed: 0 }),
        SizeTargets {
            leaving: 3,
            coming: 4
        }
    );
}

#[test]
fn room_is_made_as_long_as_it_helps() {
    let pace = Pace::Lots(Surge { above: 1, below: 0 });
    let next = |failed: i32, placed: i32| {
        go_home(pace, 4, size(failed, failed), size(4, 0), Room::Needed { placed }).leaving
    };
    assert_eq!(
        (next(4, 0), next(3, 0)),
        (3, 3),
        "no further before home has the place"
    );
    assert_eq!((next(3, 1), next(2, 2)), (2, 1));
    assert_eq!(next(1, 3), 1, "the last one stays");
}

/// Plays Kubernetes: pods become what Deployments ask for, in an order that chance decides.
fn settle(asked: i32, was: Counts, ready_share: f64) -> Counts {
    let kept_ready = was.ready.min(asked);
    #[allow(clippy::cast_possible_truncation)]
    let newly = (f64::from(asked - kept_ready) * ready_share).ceil() as i32;
    counts(asked, (kept_ready + newly).min(asked))
}

proptest! {
    #[test]
    fn a_rollout_keeps_its_bounds_and_ends(
        wanted in 1..60_i32, above in 0..20_i32, below in 0..20_i32,
        shares in proptest::collection::vec(0.0..1.0_f64, 400),
    ) {
        let surge = if above == 0 && below == 0 { Surge { above: 0, below: 1 } } else { Surge { above, below } };
        let pace = Pace::Lots(surge);
        let (mut old, mut new) = (size(wanted, wanted), size(0, 0));
        for share in shares {
            let next = exchange(pace, wanted, old, new);
            prop_assert!(next.leaving + next.coming <= wanted + surge.above.max(0) || next.coming == new.asked);
            prop_assert!(next.coming >= new.asked && next.leaving <= old.asked);
            let ready_after = old.counts.ready.min(next.leaving) + new.counts.ready.min(next.coming);
            prop_assert!(ready_after >= (wanted - surge.below).min(old.ready() + new.ready()));
            old = Size { asked: next.leaving, counts: settle(next.leaving, old.counts, 1.0) };
            new = Size { asked: next.coming, counts: settle(next.coming, new.counts, share) };
        }
        prop_assert_eq!((old.asked, new.asked), (0, wanted));
    }

    #[test]
    fn nothing_is_asked_for_below_zero_or_above_what_is_wanted(
        wanted in 0..50_i32, asked_a in 0..60_i32, ready_a in 0..60_i32, asked_b in 0..60_i32, ready_b in 0..60_i32,
        above in 0..5_i32, below in 0..5_i32,
    ) {
        let (a, b) = (size(asked_a, ready_a.min(asked_a)), size(asked_b, ready_b.min(asked_b)));
        for pace in [Pace::Lots(Surge { above, below }), Pace::FullSize, Pace::OneAtATime] {
            for targets in [
                exchange(pace, wanted, a, b),
                go_home(pace, wanted, a, b, Room::Enough),
                go_home(pace, wanted, a, b, Room::Needed { placed: asked_b / 2 }),
            ] {
                prop_assert!(targets.leaving >= 0 && targets.leaving <= a.asked.max(wanted));
                prop_assert!(targets.coming >= 0 && targets.coming <= wanted.max(b.asked));
            }
        }
    }
}
