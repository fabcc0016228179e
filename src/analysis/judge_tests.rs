//! What [`super::Judge`] says, case by case. How often it errs and how fast it is: tests/analysis.

use proptest::prelude::*;

use super::*;

fn count(requests: u64, bad: u64) -> Count {
    Count::new(requests, bad).unwrap()
}

fn look(candidate: (u64, u64), stable: (u64, u64)) -> Look {
    Look {
        candidate: Some(count(candidate.0, candidate.1)),
        stable: Some(count(stable.0, stable.1)),
    }
}

fn alone(candidate: (u64, u64)) -> Look {
    Look {
        candidate: Some(count(candidate.0, candidate.1)),
        stable: None,
    }
}

const STABLE: Standard = Standard::Stable {
    tolerated: Factor::ONE,
};

fn objective(good_percent: &str) -> Standard {
    Standard::Objective {
        allowed: BadShare::from_good_percent(good_percent).unwrap(),
    }
}

fn both(good_percent: &str) -> Standard {
    Standard::Both {
        tolerated: Factor::ONE,
        allowed: BadShare::from_good_percent(good_percent).unwrap(),
    }
}

fn terms(standard: Standard) -> Terms {
    Terms {
        alpha: Alpha::DEFAULT,
        standard,
        clearing: Clearing::Never,
        minimum_samples: Terms::DEFAULT_MINIMUM_SAMPLES,
    }
}

/// What is said after the looks.
fn after(terms: Terms, looks: &[Look]) -> Ruling {
    let mut judge = Judge::new(terms);
    looks.iter().for_each(|look| judge.observe(look));
    judge.ruling()
}

fn open(terms: Terms, looks: &[Look]) -> Open {
    match after(terms, looks).verdict {
        Verdict::Inconclusive(open) => open,
        said => panic!("{said:?}"),
    }
}

#[test]
fn no_data_is_told_apart_by_its_kind() {
    assert_eq!(open(terms(STABLE), &[]), Open::NotRead);
    let unread = Look {
        candidate: None,
        stable: Some(count(100, 0)),
    };
    assert_eq!(open(terms(STABLE), &[unread]), Open::NotRead);
    assert_eq!(open(terms(STABLE), &[look((0, 0), (100, 1))]), Open::NoRequests);
    assert_eq!(
        open(terms(STABLE), &[look((4, 0), (100, 1))]),
        Open::TooFewSamples { needed: 5 }
    );
    assert_eq!(open(terms(STABLE), &[alone((50, 2))]), Open::NoBaseline);
    assert_eq!(open(terms(both("99")), &[alone((50, 1))]), Open::Undecided);
    assert_eq!(open(terms(STABLE), &[look((50, 1), (100, 2))]), Open::Undecided);
}

#[test]
fn a_worse_candidate_fails_and_stays_failed() {
    let mut judge = Judge::new(terms(STABLE));
    judge.observe(&look((20, 20), (180, 0)));
    assert_eq!(
        judge.ruling().verdict,
        Verdict::Inconclusive(Open::Undecided),
        "one look"
    );
    judge.observe(&look((20, 20), (180, 1)));
    let ruling = judge.ruling();
    assert_eq!(ruling.verdict, Verdict::Failing(Cause::WorseThanStable));
    assert_eq!((ruling.candidate, ruling.stable), (count(40, 40), count(360, 1)));
    assert!(ruling.evidence >= 1.0);
    (0..1000).for_each(|_| judge.observe(&look((20, 0), (180, 2))));
    assert_eq!(judge.ruling().verdict, Verdict::Failing(Cause::WorseThanStable));
}

#[test]
fn nobody_fails_on_fewer_samples_than_the_minimum() {
    let looks = vec![look((1, 1), (99, 0)); 9];
    let needing = |minimum_samples| Terms {
        minimum_samples,
        ..terms(STABLE)
    };
    assert_eq!(
        after(needing(9), &looks).verdict,
        Verdict::Failing(Cause::WorseThanStable)
    );
    assert_eq!(open(needing(10), &looks), Open::TooFewSamples { needed: 10 });
}

#[test]
fn what_is_tolerated_is_no_failure() {
    let looks = vec![look((20, 2), (180, 6)); 60];
    let tolerating = |factor| {
        let tolerated = Factor::new(factor).unwrap();
        terms(Standard::Stable { tolerated })
    };
    assert_eq!(
        after(tolerating(1.0), &looks).verdict,
        Verdict::Failing(Cause::WorseThanStable)
    );
    assert_eq!(open(tolerating(4.0), &looks), Open::Undecided);
    let equal = vec![look((20, 1), (180, 9)); 300];
    let much = after(tolerating(4.0), &equal);
    assert!(
        much.evidence < 0.001,
        "tolerating more makes nobody suspect: {much:?}"
    );
    let far_worse = vec![look((20, 10), (180, 6)); 60];
    assert_eq!(
        after(tolerating(4.0), &far_worse).verdict,
        Verdict::Failing(Cause::WorseThanStable)
    );
}

#[test]
fn an_objective_is_broken_by_the_candidate_alone() {
    let broken = vec![look((100, 5), (900, 1)); 10];
    assert_eq!(
        after(terms(objective("99")), &broken).verdict,
        Verdict::Failing(Cause::WorseThanObjective)
    );
    let unseen = vec![alone((100, 5)); 10];
    assert_eq!(
        after(terms(objective("99")), &unseen).verdict,
        Verdict::Failing(Cause::WorseThanObjective)
    );
}

#[test]
fn what_stable_breaks_as_well_is_not_the_candidates_fault() {
    for standard in [objective("99"), both("99")] {
        let mut judge = Judge::new(terms(standard));
        (0..30).for_each(|_| judge.observe(&look((20, 1), (180, 9))));
        (0..30).for_each(|_| judge.observe(&look((20, 10), (180, 90))));
        assert_eq!(
            judge.ruling().verdict,
            Verdict::Inconclusive(Open::SharedWithStable),
            "{standard:?}"
        );
        (0..60).for_each(|_| judge.observe(&look((20, 0), (180, 0))));
        assert_eq!(
            judge.ruling().verdict,
            Verdict::Inconclusive(Open::Undecided),
            "it is over: {standard:?}"
        );
        judge.observe(&look((20, 2), (180, 1)));
        assert_eq!(
            judge.ruling().verdict,
            Verdict::Inconclusive(Open::Undecided),
            "and a few later ones are another matter: {standard:?}"
        );
    }
}

#[test]
fn a_trouble_of_both_is_not_held_against_the_candidate_afterwards() {
    let mut judge = Judge::new(terms(objective("99")));
    (0..30).for_each(|_| judge.observe(&look((20, 10), (180, 90))));
    (0..20).for_each(|_| judge.observe(&look((20, 0), (180, 0))));
    judge.observe(&look((20, 2), (180, 0)));
    let verdict = judge.ruling().verdict;
    assert!(matches!(verdict, Verdict::Inconclusive(_)), "{verdict:?}");
}

#[test]
fn stable_breaking_the_objective_a_little_is_no_excuse_for_much() {
    let looks = vec![look((20, 8), (180, 4)); 10];
    assert_eq!(
        after(terms(objective("99")), &looks).verdict,
        Verdict::Failing(Cause::WorseThanObjective)
    );
    let a_little_too = vec![look((20, 1), (180, 5)); 30];
    assert_eq!(
        open(terms(objective("99")), &a_little_too),
        Open::SharedWithStable
    );
}

#[test]
fn what_stable_has_recovered_from_is_no_excuse_any_more() {
    let mut judge = Judge::new(terms(objective("99")));
    (0..30).for_each(|_| judge.observe(&look((20, 10), (180, 90))));
    assert_eq!(
        judge.ruling().verdict,
        Verdict::Inconclusive(Open::SharedWithStable)
    );
    (0..30).for_each(|_| judge.observe(&look((20, 10), (180, 0))));
    assert_eq!(
        judge.ruling().verdict,
        Verdict::Failing(Cause::WorseThanObjective)
    );
}

#[test]
fn a_candidate_is_cleared_when_it_has_shown_enough_and_not_before() {
    let clearing = Terms {
        clearing: Clearing::NotWorseBy(Factor::new(2.0).unwrap()),
        ..terms(both("98"))
    };
    let equal = look((100, 1), (100, 1));
    assert_eq!(open(clearing, &[equal; 5]), Open::Undecided);
    assert_eq!(after(clearing, &[equal; 100]).verdict, Verdict::Passing);
    assert_eq!(
        open(terms(both("98")), &[equal; 100]),
        Open::Undecided,
        "not asked for"
    );
    let mut judge = Judge::new(clearing);
    (0..100).for_each(|_| judge.observe(&equal));
    (0..20).for_each(|_| judge.observe(&look((100, 40), (100, 1))));
    assert!(
        matches!(judge.ruling().verdict, Verdict::Failing(_)),
        "cleared, and bad later"
    );
}

#[test]
fn single_requests_are_put_together_until_they_can_be_compared() {
    // One request a second, in turn: no look has requests of both.
    let mut judge = Judge::new(terms(STABLE));
    let said = (0..60).find(|second| {
        judge.observe(&match second % 2 {
            0 => look((1, 1), (0, 0)),
            _ => look((0, 0), (1, 0)),
        });
        matches!(judge.ruling().verdict, Verdict::Failing(_))
    });
    assert!(said.is_some_and(|seconds| seconds <= 40), "{said:?}");
}

#[test]
fn requests_of_one_side_wait_for_the_other_however_many_they_are() {
    let mut judge = Judge::new(terms(STABLE));
    for _ in 0..4 {
        judge.observe(&look((20, 20), (0, 0)));
        judge.observe(&look((0, 0), (180, 0)));
    }
    assert_eq!(judge.ruling().verdict, Verdict::Failing(Cause::WorseThanStable));
}

#[test]
fn two_standards_share_alpha() {
    let looks = [look((20, 2), (180, 2)); 3];
    let (one, two) = (after(terms(STABLE), &looks), after(terms(both("50")), &looks));
    assert!(one.evidence > 0.01, "{one:?}");
    assert!(
        (two.evidence - one.evidence / 2.0).abs() < 1e-9,
        "{one:?} {two:?}"
    );
}

#[test]
fn while_one_side_is_not_read_the_other_waits_for_it() {
    let mut judge = Judge::new(terms(STABLE));
    judge.observe(&look((2, 0), (2, 0)));
    let before = judge.ruling().evidence;
    for _ in 0..10 {
        judge.observe(&alone((20, 20)));
    }
    assert!((judge.ruling().evidence - before).abs() < 1e-9);
    // What stable had in the meantime comes with its next reading: it has the same trouble.
    judge.observe(&look((20, 20), (2000, 2000)));
    judge.observe(&look((20, 20), (180, 180)));
    assert_eq!(judge.ruling().verdict, Verdict::Inconclusive(Open::Undecided));
}

fn counts() -> impl Strategy<Value = Option<Count>> {
    let number = prop_oneof![0..100_u64, any::<u64>(), Just(u64::MAX)];
    prop::option::of((number.clone(), number).prop_map(|(requests, bad)| count(requests, bad.min(requests))))
}

proptest! {
    #[test]
    fn whatever_pods_claim_there_is_a_ruling(
        looks in prop::collection::vec((counts(), counts()), 0..20),
        clearing in prop_oneof![
            Just(Clearing::Never),
            (1.0..100.0).prop_map(|factor| Clearing::NotWorseBy(Factor::new(factor).unwrap())),
        ],
    ) {
        let mut judge = Judge::new(Terms { clearing, ..terms(both("99.9")) });
        for (candidate, stable) in looks {
            judge.observe(&Look { candidate, stable });
            let evidence = judge.ruling().evidence;
            prop_assert!(evidence.is_finite() && evidence >= 0.0, "{evidence}");
        }
    }
}
