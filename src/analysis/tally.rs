//! From the pods' counters to what each revision was asked between two looks.

use std::collections::HashMap;

use jiff::Timestamp;

use super::{Count, Look, Reading, Source};

/// Whose pod it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The candidate's.
    Candidate,
    /// The stable revision's.
    Stable,
}

/// Whether a pod's counters hold what came before anybody looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Its containers started before the tally was begun: what it shows at first is where counting begins.
    Before,
    /// They started after that: all that it shows counts.
    After,
}

/// What one scrape of one pod gave. A scrape that failed gives nothing and is not told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scrape<'a> {
    /// The pod's UID.
    pub pod: &'a str,
    /// Whose it is.
    pub side: Side,
    /// Only matters for a pod that was not seen before.
    pub origin: Origin,
    /// When it was asked for.
    pub asked: Timestamp,
    /// None where the pod exposed nothing that counts requests: many libraries show a counter only after the first
    /// request ([`super::Unreadable::NoFamily`]).
    pub reading: Option<&'a Reading>,
}

/// Whether what the two revisions count is the same thing.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparability {
    /// Nobody knows yet: a revision has not been read, or showed nothing.
    Unknown,
    /// All pods are read from the same source.
    Same(Source),
    /// They are not: other metrics, or buckets with other bounds.
    Different(Source, Source),
}

/// Sums the counters of pods that come, go and restart. The sums hold what came since the last look; what a pod gave
/// stays when the pod goes.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pods: HashMap<String, Pod>,
    candidate: Option<Count>,
    stable: Option<Count>,
}

#[derive(Clone, Debug)]
struct Pod {
    side: Side,
    asked: Timestamp,
    /// What has been counted up to; None where it showed nothing.
    last: Option<Reading>,
}

impl Tally {
    /// Takes a scrape in. One that was asked for before the last one that is known of the same pod is left out: answers
    /// can overtake each other.
    pub fn add(&mut self, scrape: &Scrape<'_>) {
        let new = match self.pods.get_mut(scrape.pod) {
            Some(pod) if scrape.asked <= pod.asked => return,
            Some(pod) => {
                pod.asked = scrape.asked;
                let (gained, last) = gained(pod.last.take(), scrape.reading);
                pod.last = last;
                gained
            }
            None => {
                let pod = Pod {
                    side: scrape.side,
                    asked: scrape.asked,
                    last: scrape.reading.cloned(),
                };
                self.pods.insert(scrape.pod.to_owned(), pod);
                match (scrape.origin, scrape.reading) {
                    (Origin::After, Some(reading)) => reading.count,
                    (Origin::After, None) | (Origin::Before, _) => Count::ZERO,
                }
            }
        };
        let sum = match scrape.side {
            Side::Candidate => &mut self.candidate,
            Side::Stable => &mut self.stable,
        };
        *sum = Some(sum.unwrap_or_default().plus(new));
    }

    /// Drops a pod that is gone for good. What it gave stays in the sums. A pod that is dropped and then seen
    /// again would be counted twice.
    pub fn forget(&mut self, pod: &str) {
        self.pods.remove(pod);
    }

    /// Drops the pods that are not among those of a fresh list.
    pub fn retain(&mut self, listed: impl Fn(&str) -> bool) {
        self.pods.retain(|pod, _| listed(pod));
    }

    /// Whether the revisions can be compared.
    pub fn comparability(&self) -> Comparability {
        let sources = |side| {
            let pods = self.pods.values().filter(move |pod| pod.side == side);
            pods.filter_map(|pod| pod.last.as_ref().map(|last| &last.source))
        };
        let (mut ours, mut theirs) = (sources(Side::Candidate), sources(Side::Stable));
        let (Some(one), Some(other)) = (ours.next(), theirs.next()) else {
            return Comparability::Unknown;
        };
        match ours.chain(theirs).chain([other]).find(|source| *source != one) {
            Some(differs) => Comparability::Different(one.clone(), differs.clone()),
            None => Comparability::Same(one.clone()),
        }
    }

    /// What came since the last time, and begins anew. A revision of which no pod was read since then is None. Where the
    /// two cannot be compared, stable is None: the candidate can then still be held against an objective.
    pub fn look(&mut self) -> Look {
        let (candidate, stable) = (self.candidate.take(), self.stable.take());
        let stable = match self.comparability() {
            Comparability::Different(..) => None,
            Comparability::Unknown | Comparability::Same(_) => stable,
        };
        Look { candidate, stable }
    }
}

/// What a pod has given since `last`, and up to what it is counted now.
fn gained(last: Option<Reading>, now: Option<&Reading>) -> (Count, Option<Reading>) {
    let Some(now) = now else {
        // It restarted and has had no request yet.
        return (Count::ZERO, None);
    };
    let Some(last) = last else {
        return (now.count, Some(now.clone()));
    };
    if last.source != now.source {
        // What the other source had counted before is not known.
        return (Count::ZERO, Some(now.clone()));
    }
    let (before, after) = (last.count, now.count);
    match after.requests().checked_sub(before.requests()) {
        Some(requests) => {
            // Counters of one pod are not read in one moment. So bad requests may seem to come before they are requests, or
            // to become fewer; they count when the requests are there, and no request counts twice.
            let bad = after.bad().saturating_sub(before.bad()).min(requests);
            let counted = before.plus(clamped(requests, bad));
            let last = Reading {
                count: counted,
                source: last.source,
            };
            (clamped(requests, bad), Some(last))
        }
        // It began anew, and what it shows came since. After a restart that is little; where most is still there, a client has
        // only dropped some series, and nothing is known of what came.
        None if after.requests() <= before.requests() / 2 => (after, Some(now.clone())),
        None => (Count::ZERO, Some(now.clone())),
    }
}

/// A count of at most as many bad requests as requests.
fn clamped(requests: u64, bad: u64) -> Count {
    Count::new(requests, bad.min(requests)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::Bound;
    use proptest::prelude::*;

    fn count(requests: u64, bad: u64) -> Count {
        Count::new(requests, bad).unwrap()
    }

    fn reading(requests: u64, bad: u64) -> Reading {
        Reading {
            source: Source {
                samples: "http_requests_total".to_owned(),
                bound: None,
            },
            count: count(requests, bad),
        }
    }

    fn scrape<'a>(pod: &'a str, second: i64, reading: Option<&'a Reading>) -> Scrape<'a> {
        Scrape {
            pod,
            side: Side::Candidate,
            origin: Origin::Before,
            asked: Timestamp::from_second(second).unwrap(),
            reading,
        }
    }

    fn candidate(tally: &mut Tally) -> Option<Count> {
        tally.look().candidate
    }

    #[test]
    fn the_first_scrape_of_an_old_pod_is_its_baseline_and_of_a_new_one_counts() {
        let mut tally = Tally::default();
        tally.add(&scrape("old", 1, Some(&reading(100, 9))));
        tally.add(&Scrape {
            origin: Origin::After,
            ..scrape("new", 1, Some(&reading(7, 1)))
        });
        assert_eq!(candidate(&mut tally), Some(count(7, 1)));
        tally.add(&scrape("old", 2, Some(&reading(103, 9))));
        assert_eq!(candidate(&mut tally), Some(count(3, 0)));
    }

    #[test]
    fn not_read_is_not_the_same_as_no_request() {
        let mut tally = Tally::default();
        tally.add(&scrape("a", 1, Some(&reading(100, 9))));
        tally.look();
        assert_eq!(candidate(&mut tally), None);
        tally.add(&scrape("a", 2, Some(&reading(100, 9))));
        assert_eq!(candidate(&mut tally), Some(Count::ZERO));
    }

    #[test]
    fn a_pod_that_showed_nothing_yet_counts_from_zero() {
        let mut tally = Tally::default();
        tally.add(&scrape("a", 1, None));
        tally.add(&scrape("a", 2, Some(&reading(5, 1))));
        assert_eq!(candidate(&mut tally), Some(count(5, 1)));
    }

    #[test]
    fn a_restart_counts_from_zero_and_dropped_series_do_not() {
        let mut tally = Tally::default();
        tally.add(&scrape("a", 1, Some(&reading(100, 9))));
        tally.add(&scrape("a", 2, Some(&reading(4, 3))));
        assert_eq!(candidate(&mut tally), Some(count(4, 3)));
        tally.add(&scrape("b", 1, Some(&reading(1000, 9))));
        tally.add(&scrape("b", 2, Some(&reading(900, 9))));
        tally.add(&scrape("b", 3, Some(&reading(902, 10))));
        assert_eq!(candidate(&mut tally), Some(count(2, 1)));
    }

    #[test]
    fn a_restart_that_shows_nothing_counts_from_zero_after_it() {
        let mut tally = Tally::default();
        for (second, shown) in [(1, Some(reading(10, 0))), (2, None), (3, Some(reading(12, 6)))] {
            tally.add(&scrape("a", second, shown.as_ref()));
        }
        assert_eq!(candidate(&mut tally), Some(count(12, 6)));
    }

    #[test]
    fn an_answer_that_was_overtaken_is_left_out() {
        let mut tally = Tally::default();
        for (second, requests) in [(1, 100), (3, 120), (2, 110), (4, 130)] {
            tally.add(&scrape("a", second, Some(&reading(requests, 0))));
        }
        assert_eq!(candidate(&mut tally), Some(count(30, 0)));
    }

    #[test]
    fn bad_requests_that_run_ahead_or_fall_behind_are_counted_once() {
        let mut tally = Tally::default();
        for (second, shown) in [(1, (100, 0)), (2, (101, 3)), (3, (105, 2)), (4, (110, 4))] {
            tally.add(&scrape("a", second, Some(&reading(shown.0, shown.1))));
        }
        assert_eq!(candidate(&mut tally), Some(count(10, 4)));
    }

    #[test]
    fn revisions_that_count_differently_are_not_compared() {
        let slower = |milliseconds| {
            let mut reading = reading(10, 1);
            reading.source.bound = Some(Bound::Exact { milliseconds });
            reading
        };
        let mut tally = Tally::default();
        assert_eq!(tally.comparability(), Comparability::Unknown);
        for second in [1, 2] {
            tally.add(&scrape("a", second, Some(&slower(250.0))));
            tally.add(&Scrape {
                side: Side::Stable,
                ..scrape("b", second, Some(&slower(500.0)))
            });
        }
        assert!(matches!(tally.comparability(), Comparability::Different(..)));
        let look = tally.look();
        assert!(look.candidate.is_some() && look.stable.is_none());
        tally.forget("b");
        tally.add(&Scrape {
            side: Side::Stable,
            ..scrape("c", 3, Some(&slower(250.0)))
        });
        assert!(matches!(tally.comparability(), Comparability::Same(_)));
    }

    #[test]
    fn another_source_of_a_pod_is_a_new_baseline() {
        let mut tally = Tally::default();
        tally.add(&scrape("a", 1, Some(&reading(10, 1))));
        let mut other = reading(500, 50);
        other.source.samples = "grpc_server_handled_total".to_owned();
        tally.add(&scrape("a", 2, Some(&other)));
        assert_eq!(candidate(&mut tally), Some(Count::ZERO));
    }

    /// What can happen to a pod of a small set.
    #[derive(Clone, Debug)]
    enum Event {
        Serve { pod: usize, good: u64, bad: u64 },
        Scrape { pod: usize },
        Restart { pod: usize },
        Replace { pod: usize },
        Look,
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = (0..4_usize).prop_flat_map(|pod| {
            prop_oneof![
                3 => (0..50_u64, 0..50_u64).prop_map(move |(good, bad)| Event::Serve { pod, good, bad }),
                3 => Just(Event::Scrape { pod }),
                1 => Just(Event::Restart { pod }),
                1 => Just(Event::Replace { pod }),
                1 => Just(Event::Look),
            ]
        });
        prop::collection::vec(event, 0..120)
    }

    /// Whether the last count of a pod is seen before it restarts or goes, and the first one after that.
    #[derive(Clone, Copy, PartialEq)]
    enum Sight {
        Full,
        Partial,
    }

    /// The truth and the sum of all looks.
    fn run(events: &[Event], sight: Sight) -> ([Count; 2], [Count; 2]) {
        let mut tally = Tally::default();
        let (mut truth, mut told) = ([Count::ZERO; 2], [Count::ZERO; 2]);
        let mut pods: Vec<(usize, Count)> = (0..4).map(|n| (n, Count::ZERO)).collect();
        let mut second = 0;
        let mut add = |tally: &mut Tally, (uid, count): (usize, Count)| {
            second += 1;
            let shown = reading(count.requests(), count.bad());
            tally.add(&Scrape {
                side: [Side::Candidate, Side::Stable][uid % 2],
                origin: Origin::After,
                ..scrape(&uid.to_string(), second, (count.requests() > 0).then_some(&shown))
            });
        };
        let look = |tally: &mut Tally, told: &mut [Count; 2]| {
            let look = tally.look();
            for (sum, new) in told.iter_mut().zip([look.candidate, look.stable]) {
                *sum = sum.plus(new.unwrap_or_default());
            }
        };
        for event in events {
            match *event {
                Event::Serve { pod, good, bad } => {
                    let (uid, sum) = &mut pods[pod];
                    *sum = sum.plus(count(good + bad, bad));
                    truth[*uid % 2] = truth[*uid % 2].plus(count(good + bad, bad));
                }
                Event::Scrape { pod } => add(&mut tally, pods[pod]),
                Event::Restart { pod } => {
                    let before = pods[pod];
                    pods[pod].1 = Count::ZERO;
                    if sight == Sight::Full {
                        add(&mut tally, before);
                        add(&mut tally, pods[pod]);
                    }
                }
                Event::Replace { pod } => {
                    if sight == Sight::Full {
                        add(&mut tally, pods[pod]);
                    }
                    tally.forget(&pods[pod].0.to_string());
                    pods[pod] = (pods[pod].0 + 4, Count::ZERO);
                }
                Event::Look => look(&mut tally, &mut told),
            }
        }
        if sight == Sight::Full {
            pods.iter().for_each(|pod| add(&mut tally, *pod));
        }
        look(&mut tally, &mut told);
        (truth, told)
    }

    proptest! {
        #[test]
        fn what_was_seen_to_the_end_sums_up_to_the_truth(events in events()) {
            let (truth, told) = run(&events, Sight::Full);
            prop_assert_eq!(truth, told);
        }

        #[test]
        fn never_more_than_the_truth(events in events()) {
            let (truth, told) = run(&events, Sight::Partial);
            for (truth, told) in truth.iter().zip(told) {
                prop_assert!(told.requests() <= truth.requests());
                prop_assert!(told.bad() <= truth.bad());
            }
        }
    }
}
