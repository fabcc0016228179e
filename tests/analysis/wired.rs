//! All of it together: what podinfo's pods expose, each second, to a verdict.

use fastrand::Rng;
use jiff::Timestamp;
use microservice_operator::analysis::{
    Cause, Indicator, Judge, Names, Origin, ProbePaths, Scrape, Side, Tally, Unreadable, Verdict, read,
};

use crate::simulation::{NO_WORSE_THAN_STABLE, terms};

/// A pod of podinfo: what it has counted, by status, of users and of probes.
#[derive(Default)]
struct Pod {
    good: u64,
    failed: u64,
    probes: u64,
}

impl Pod {
    fn exposes(&self) -> String {
        let mut body = String::from("# TYPE http_request_duration_seconds histogram\n");
        for (path, status, n) in [
            ("api_info", 200, self.good),
            ("api_info", 500, self.failed),
            ("healthz", 200, self.probes),
        ] {
            if n > 0 {
                body += &format!(
                    "http_request_duration_seconds_count{{method=\"GET\",path=\"{path}\",status=\"{status}\"}} {n}\n"
                );
            }
        }
        body + &format!(
            "http_requests_total{{status=\"200\"}} {}\n",
            self.good + self.probes
        )
    }
}

/// A candidate pod and nine stable ones with 200 requests a second, of which each pod fails a part; from which second on
/// the candidate is failed.
fn failed_after(seed: u64, stable_fails: f64, candidate_fails: f64) -> Option<u32> {
    let mut rng = Rng::with_seed(seed);
    let mut pods: Vec<Pod> = (0..10).map(|_| Pod::default()).collect();
    let mut judge = Judge::new(terms(NO_WORSE_THAN_STABLE));
    let mut tally = Tally::default();
    // The stable ones have long been there.
    pods.iter_mut().skip(1).for_each(|pod| pod.good = 1_000_000);
    (0..120).find(|second| {
        for _ in 0..200 {
            let at = rng.usize(0..pods.len());
            let fails = if at == 0 { candidate_fails } else { stable_fails };
            match rng.f64() < fails {
                true => pods[at].failed += 1,
                false => pods[at].good += 1,
            }
        }
        pods.iter_mut().for_each(|pod| pod.probes += 5);
        if *second == 30 {
            pods[5] = Pod::default(); // restarts
        }
        for (at, pod) in pods.iter().enumerate() {
            let names = &Names::Usual;
            let reading = read(
                pod.exposes().as_bytes(),
                Indicator::Errors,
                names,
                &ProbePaths::usual(),
            );
            assert!(
                matches!(reading, Ok(_) | Err(Unreadable::NoFamily)),
                "{reading:?}"
            );
            let (side, origin) = match at {
                0 => (Side::Candidate, Origin::After),
                _ => (Side::Stable, Origin::Before),
            };
            tally.add(&Scrape {
                pod: &at.to_string(),
                side,
                origin,
                asked: Timestamp::from_second(i64::from(*second)).unwrap(),
                // None before the first request.
                reading: reading.as_ref().ok(),
            });
        }
        judge.observe(&tally.look());
        judge.ruling().verdict == Verdict::Failing(Cause::WorseThanStable)
    })
}

#[test]
fn a_ninth_of_the_candidates_requests_failing_is_found_in_seconds() {
    // podinfo's --random-error: a third of the requests fails, a third of these with 500.
    let slowest = (0..20)
        .map(|seed| failed_after(seed, 0.0, 1.0 / 9.0))
        .max_by_key(|s| s.unwrap_or(u32::MAX));
    assert!(slowest.flatten().is_some_and(|second| second <= 6), "{slowest:?}");
}

#[test]
fn an_equal_candidate_is_not() {
    for fails in [0.0, 0.01, 0.5] {
        let failed: Vec<_> = (0..20)
            .filter_map(|seed| failed_after(seed, fails, fails))
            .collect();
        assert!(failed.is_empty(), "{fails}: {failed:?}");
    }
}
