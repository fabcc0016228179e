//! Rollouts of simulated traffic. Each second each revision has a Poisson number of requests, of which each is bad with
//! a probability of its own, and the judge looks.

use fastrand::Rng;
use microservice_operator::analysis::{
    Alpha, BadShare, Clearing, Count, Factor, Judge, Look, Standard, Terms, Verdict,
};

use crate::sampler::{Poisson, split};

/// Requests a second, in all.
pub const TRAFFIC: [u32; 3] = [1, 10, 200];
/// The candidate's part of the requests, in percent.
pub const SHARES: [u32; 5] = [1, 5, 10, 25, 50];
/// Bad requests per 10,000 while nothing is wrong.
pub const BASE: [u32; 4] = [1, 10, 100, 500];

/// One kind of traffic.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    pub traffic: u32,
    pub share: u32,
    pub base: u32,
}

impl Cell {
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for traffic in TRAFFIC {
            for base in BASE {
                all.extend(SHARES.map(|share| Self { traffic, share, base }));
            }
        }
        all
    }

    /// The candidate's and stable's requests a second.
    fn rates(self) -> (f64, f64) {
        let (traffic, share) = (f64::from(self.traffic), f64::from(self.share) / 100.0);
        (traffic * share, traffic * (1.0 - share))
    }

    fn base(self) -> f64 {
        f64::from(self.base) / 10_000.0
    }

    /// So that a cell gives the same whatever else is simulated.
    fn seed(self, salt: u64) -> u64 {
        [self.traffic, self.share, self.base]
            .iter()
            .fold(salt, |seed, n| seed.wrapping_mul(0x1_0000_01b3) ^ u64::from(*n))
    }
}

fn count(good: u64, bad: u64) -> Count {
    Count::new(good + bad, bad).unwrap()
}

pub fn terms(standard: Standard) -> Terms {
    Terms {
        alpha: Alpha::DEFAULT,
        standard,
        clearing: Clearing::Never,
        minimum_samples: Terms::DEFAULT_MINIMUM_SAMPLES,
    }
}

pub const NO_WORSE_THAN_STABLE: Standard = Standard::Stable {
    tolerated: Factor::ONE,
};

/// Of `rollouts` rollouts with `looks` looks each, in which the candidate is as good as stable, how many were failed by
/// the comparison.
pub fn false_alarms(cell: Cell, rollouts: u32, looks: usize) -> u32 {
    let (ours, theirs) = cell.rates();
    let p = cell.base();
    let share = ours / (ours + theirs);
    let (good_ours, good_theirs) = (Poisson::new(ours * (1.0 - p)), Poisson::new(theirs * (1.0 - p)));
    let bad = Poisson::new((ours + theirs) * p);
    let mut rng = Rng::with_seed(cell.seed(1));
    let mut alarms = 0;
    for _ in 0..rollouts {
        let bads: Vec<u64> = (0..looks).map(|_| bad.draw(&mut rng)).collect();
        // What comes after the last bad request is only compared with it while counts are put together; without a
        // bad request there is nothing to say at all.
        if bads.iter().all(|n| *n == 0) {
            continue;
        }
        let mut judge = Judge::new(terms(NO_WORSE_THAN_STABLE));
        for bad in bads {
            let bad_ours = split(bad, share, &mut rng);
            judge.observe(&Look {
                candidate: Some(count(good_ours.draw(&mut rng), bad_ours)),
                stable: Some(count(good_theirs.draw(&mut rng), bad - bad_ours)),
            });
        }
        alarms += u32::from(matches!(judge.ruling().verdict, Verdict::Failing(_)));
    }
    alarms
}

/// Of `rollouts` rollouts of a minute, in the middle of which requests of both revisions are bad with a probability of
/// `bad` for twenty seconds, how many were failed. When the trouble begins and ends each revision is read at a moment of
/// its own: the look of that second holds another part of it for each.
pub fn shared_outage_alarms(cell: Cell, standard: Standard, bad: f64, rollouts: u32) -> u32 {
    let (ours, theirs) = cell.rates();
    let mut rng = Rng::with_seed(cell.seed(3));
    let (ours, theirs) = (Poisson::new(ours), Poisson::new(theirs));
    let mut alarms = 0;
    for _ in 0..rollouts {
        let mut judge = Judge::new(terms(standard));
        for second in 0..60 {
            let mut draw = |requests: &Poisson| {
                let part = match second {
                    20 | 40 => rng.f64(),
                    21..40 => 1.0,
                    _ => 0.0,
                };
                let requests = requests.draw(&mut rng);
                let failed = split(requests, part * bad + (1.0 - part) * cell.base(), &mut rng);
                Some(count(requests - failed, failed))
            };
            judge.observe(&Look {
                candidate: draw(&ours),
                stable: draw(&theirs),
            });
        }
        alarms += u32::from(matches!(judge.ruling().verdict, Verdict::Failing(_)));
    }
    alarms
}

/// Of `rollouts` rollouts with 300 looks, in which the odds of a bad request are worse by exactly what is tolerated, how
/// many were failed.
pub fn tolerated_alarms(cell: Cell, tolerated: f64, rollouts: u32) -> u32 {
    let (ours, theirs) = cell.rates();
    let p = cell.base();
    let worse = tolerated * p / (1.0 - p + tolerated * p);
    let candidate = (Poisson::new(ours * (1.0 - worse)), Poisson::new(ours * worse));
    let stable = (Poisson::new(theirs * (1.0 - p)), Poisson::new(theirs * p));
    let tolerated = Factor::new(tolerated).unwrap();
    let mut rng = Rng::with_seed(cell.seed(6));
    let mut alarms = 0;
    for _ in 0..rollouts {
        let mut judge = Judge::new(terms(Standard::Stable { tolerated }));
        for _ in 0..300 {
            let mut draw =
                |(good, bad): &(Poisson, Poisson)| Some(count(good.draw(&mut rng), bad.draw(&mut rng)));
            judge.observe(&Look {
                candidate: draw(&candidate),
                stable: draw(&stable),
            });
        }
        alarms += u32::from(matches!(judge.ruling().verdict, Verdict::Failing(_)));
    }
    alarms
}

/// Of `rollouts` rollouts with `looks` looks each, in which the candidate has `requests` a second, of which exactly the
/// allowed share is bad, how many were failed by the objective.
pub fn objective_alarms(requests: u32, good_percent: &str, rollouts: u32, looks: u32) -> u32 {
    let allowed = BadShare::from_good_percent(good_percent).unwrap();
    let requests = f64::from(requests);
    let good = Poisson::new(requests * (1.0 - allowed.get()));
    let bad = Poisson::new(requests * allowed.get());
    let mut rng = Rng::with_seed(4);
    let mut alarms = 0;
    for _ in 0..rollouts {
        let mut judge = Judge::new(terms(Standard::Objective { allowed }));
        for _ in 0..looks {
            judge.observe(&Look {
                candidate: Some(count(good.draw(&mut rng), bad.draw(&mut rng))),
                stable: None,
            });
        }
        alarms += u32::from(matches!(judge.ruling().verdict, Verdict::Failing(_)));
    }
    alarms
}

/// Seconds until the candidate was cleared of being worse by `cleared_of`, where the odds of a bad request are `odds` times
/// those of stable. None where it was not within `patience` seconds.
pub fn clearings(cell: Cell, cleared_of: f64, odds: f64, patience: u32, rollouts: u32) -> Vec<Option<u32>> {
    let (ours, theirs) = cell.rates();
    let p = cell.base();
    let worse = odds * p / (1.0 - p + odds * p);
    let candidate = (Poisson::new(ours * (1.0 - worse)), Poisson::new(ours * worse));
    let stable = (Poisson::new(theirs * (1.0 - p)), Poisson::new(theirs * p));
    let mut rng = Rng::with_seed(cell.seed(5));
    let cleared = |_| {
        let mut judge = Judge::new(Terms {
            clearing: Clearing::NotWorseBy(Factor::new(cleared_of).unwrap()),
            ..terms(NO_WORSE_THAN_STABLE)
        });
        (1..=patience).find(|_| {
            let mut draw =
                |(good, bad): &(Poisson, Poisson)| Some(count(good.draw(&mut rng), bad.draw(&mut rng)));
            judge.observe(&Look {
                candidate: draw(&candidate),
                stable: draw(&stable),
            });
            judge.ruling().verdict == Verdict::Passing
        })
    };
    (0..rollouts).map(cleared).collect()
}

/// How bad the candidate becomes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// So many times as many bad requests.
    Times(u32),
    /// Every request is bad.
    All,
}

impl Fault {
    fn share(self, base: f64) -> f64 {
        match self {
            Self::Times(times) => (base * f64::from(times)).min(1.0),
            Self::All => 1.0,
        }
    }
}

/// Seconds from the look before the fault to the look that failed the candidate, for each rollout; None where it was not
/// failed within `patience` seconds, and nothing at all where it was failed before the fault.
pub fn delays(cell: Cell, fault: Fault, fine: u32, patience: u32, rollouts: u32) -> Vec<Option<u32>> {
    let (ours, theirs) = cell.rates();
    let p = cell.base();
    let worse = fault.share(p);
    let before = (Poisson::new(ours * (1.0 - p)), Poisson::new(ours * p));
    let after = (Poisson::new(ours * (1.0 - worse)), Poisson::new(ours * worse));
    let stable = (Poisson::new(theirs * (1.0 - p)), Poisson::new(theirs * p));
    let mut rng = Rng::with_seed(cell.seed(2));
    let mut delays = Vec::new();
    for _ in 0..rollouts {
        let mut judge = Judge::new(terms(NO_WORSE_THAN_STABLE));
        let mut second = |candidate: &(Poisson, Poisson), judge: &mut Judge| {
            let mut draw =
                |(good, bad): &(Poisson, Poisson)| Some(count(good.draw(&mut rng), bad.draw(&mut rng)));
            judge.observe(&Look {
                candidate: draw(candidate),
                stable: draw(&stable),
            });
            matches!(judge.ruling().verdict, Verdict::Failing(_))
        };
        if (0..fine).any(|_| second(&before, &mut judge)) {
            continue;
        }
        delays.push((1..=patience).find(|_| second(&after, &mut judge)));
    }
    delays
}
