//! Whether the candidate is worse, by what requests there were and how many of them were bad. Design section 4.5.

use super::evidence::{Evidence, Since, Terms as Gathering};
use super::odds::Seen;
use super::{Alpha, BadShare, Count, Factor};

/// The odds ratios that are looked for, as multiples of what is tolerated. Few cost nothing: each halving of the weight of one delays it by one bad request
/// or so. Close together where the truth is likely and detection slow (a ratio of 2 is found nearly as fast by 1.5 or 3),
/// far apart above, where each bad request counts for nearly 1/r whatever the ratio. Nothing below 1.5, so that by
/// intent a candidate that is up to about 1.2 times worse is never found to be worse, however much traffic there is.
const WORSE: [f64; 8] = [1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0, 1000.0];

/// The odds ratios of a candidate that deserves to be cleared: as good, and better.
const NO_WORSE: [f64; 2] = [1.0, 0.5];

/// The part of the needed evidence that one look may bring: a fifth. More, and a trouble that both revisions have takes
/// back more than one rollout in a hundred, where it begins (docs/analysis-tables.md); less, and a candidate whose every
/// request is bad needs three looks instead of two.
const ONE_LOOK: f64 = 5.0;

/// How many times the needed evidence one odds ratio can come to. So much is soon gone when the trouble is over.
const CEILING: f64 = 10.0;

/// How many requests both revisions together must have had before they are compared. Fewer are put to those of the next
/// look: of ten single requests no two would ever be beside each other.
const POOL: u64 = 10;

/// The weight of what was recent, after a look at which the candidate had requests: about five such looks count. Longer,
/// and what was good before a trouble of both would hide for some looks that stable has it too.
const RECENT: f64 = 0.8;

/// A trouble is shared where stable's share of bad requests is at least this part of the candidate's (design 4.5).
const SHARED: f64 = 0.5;

/// What a candidate is held against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Standard {
    /// The stable revision under the same traffic: the odds of a bad request may be worse by `tolerated`.
    Stable {
        /// [`Factor::ONE`] for: no worse.
        tolerated: Factor,
    },
    /// An objective: so many requests may be bad.
    Objective {
        /// The allowed share.
        allowed: BadShare,
    },
    /// Both; failing either is failing, and each may use up half of alpha.
    Both {
        /// As in [`Self::Stable`].
        tolerated: Factor,
        /// As in [`Self::Objective`].
        allowed: BadShare,
    },
}

impl Standard {
    fn parts(self) -> (Option<Factor>, Option<BadShare>) {
        match self {
            Self::Stable { tolerated } => (Some(tolerated), None),
            Self::Objective { allowed } => (None, Some(allowed)),
            Self::Both { tolerated, allowed } => (Some(tolerated), Some(allowed)),
        }
    }
}

/// Whether a candidate can be cleared before its time is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Clearing {
    /// It cannot: it is watched until the end of the step.
    Never,
    /// As soon as it is shown, with the same alpha, not to be worse than each standard by this factor or more.
    NotWorseBy(Factor),
}

/// What a judge goes by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    /// The probability with which a candidate that keeps the standard may ever be found to fail it.
    pub alpha: Alpha,
    /// What it is held against.
    pub standard: Standard,
    /// Whether it can be cleared early.
    pub clearing: Clearing,
    /// How many requests of the candidate must have been seen before anything is said.
    pub minimum_samples: u64,
}

impl Terms {
    /// So that a candidate is not judged by a handful of requests, which may all be one client's.
    pub const DEFAULT_MINIMUM_SAMPLES: u64 = 5;
}

/// What was counted between two looks at the counters. None: the revision could not be read, which is not the same as no
/// request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// The candidate's requests.
    pub candidate: Option<Count>,
    /// The stable revision's.
    pub stable: Option<Count>,
}

/// What the candidate is guilty of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// It is worse than the stable revision.
    WorseThanStable,
    /// It breaks the objective, and the stable revision does not do the same.
    WorseThanObjective,
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The candidate's counters have not been read once.
    NotRead,
    /// They have, and it had no request.
    NoRequests,
    /// It had fewer than the minimum.
    TooFewSamples {
        /// How many it needs to have.
        needed: u64,
    },
    /// It is to be compared with the stable revision alone, which had no request.
    NoBaseline,
    /// It breaks the objective, but the stable revision does so as well, or has at least half of its share of bad requests:
    /// it is not the change.
    SharedWithStable,
    /// There were requests enough, and they tell neither.
    Undecided,
}

/// A verdict of three states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The candidate is worse. It stays so.
    Failing(Cause),
    /// The candidate was cleared. It is still watched and can fail later.
    Passing,
    /// Neither.
    Inconclusive(Open),
}

/// What a judge says, with its grounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ruling {
    /// The verdict.
    pub verdict: Verdict,
    /// All of the candidate's requests that were seen: its bad share is the value, its requests are the samples.
    pub candidate: Count,
    /// All of the stable revision's: its bad share is the baseline.
    pub stable: Count,
    /// The evidence against the candidate, as a part of what is needed to fail it: from 0 to 1 and more.
    pub evidence: f64,
}

/// Gathers evidence for and against one candidate by one indicator. A rollout with several indicators has a judge for
/// each ([`Alpha::shared_among`]); a new trial begins with a new judge. A look costs about ten logarithms, the state is
/// some twenty numbers.
#[derive(Clone, Debug)]
pub struct Judge {
    terms: Terms,
    beside: Option<Beside>,
    against: Option<Against>,
    read: Read,
    candidate: Count,
    stable: Count,
    recent: Recent,
    found: Option<Cause>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read {
    Never,
    Once,
}

/// The comparison with stable.
#[derive(Clone, Debug)]
struct Beside {
    candidate: Count,
    stable: Count,
    case: Case,
}

/// The comparison with the objective.
#[derive(Clone, Debug)]
struct Against {
    allowed: BadShare,
    case: Case,
    /// Whether the candidate is more than twice as bad as stable, which tells whose trouble it is while stable breaks the
    /// objective too. None where the two are compared anyway.
    much_worse: Option<Beside>,
    /// Whether the candidate breaks the objective and that was found to be stable's trouble too.
    excused: Excused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excused {
    No,
    Yes,
}

/// The evidence against a candidate, and for it.
#[derive(Clone, Debug)]
struct Case {
    worse: Evidence,
    no_worse: Option<Evidence>,
    needed: f64,
}

impl Case {
    fn new(alpha: f64, tolerated: Factor, clearing: Clearing) -> Self {
        let needed = 1.0 / alpha;
        let gathering = |odds, null, since| Gathering {
            odds,
            null,
            since,
            most: needed / ONE_LOOK,
            ceiling: needed * CEILING,
        };
        let no_worse = match clearing {
            Clearing::Never => None,
            Clearing::NotWorseBy(factor) => Some(gathering(NO_WORSE.to_vec(), factor.get(), Since::TheFirst)),
        };
        let worse = WORSE.map(|odds| odds * tolerated.get()).to_vec();
        Self {
            worse: Evidence::new(gathering(worse, tolerated.get(), Since::Any)),
            no_worse: no_worse.map(Evidence::new),
            needed,
        }
    }

    fn add(&mut self, seen: &Seen) {
        self.worse.add(seen);
        if let Some(no_worse) = &mut self.no_worse {
            no_worse.add(seen);
        }
    }

    /// Gives up what speaks against the candidate so far. It stays a test, because it only ever loses by that.
    fn drop_charges(&mut self) {
        self.worse = self.worse.anew();
    }

    fn failed(&self) -> bool {
        self.worse.highest() >= self.needed
    }

    fn failing(&self) -> bool {
        self.worse.value() >= self.needed
    }

    fn cleared(&self) -> bool {
        self.no_worse
            .as_ref()
            .is_some_and(|no_worse| no_worse.highest() >= self.needed)
    }
}

/// Requests and bad ones of late, with less weight the longer ago.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    candidate: (f64, f64),
    stable: (f64, f64),
}

impl Recent {
    fn add(&mut self, look: &Look) {
        let candidate = look.candidate.unwrap_or_default();
        let weight = match candidate.requests() {
            0 => 1.0,
            _ => RECENT,
        };
        let put = |sum: (f64, f64), count: Count| {
            (
                sum.0 * weight + count.requests() as f64,
                sum.1 * weight + count.bad() as f64,
            )
        };
        self.candidate = put(self.candidate, candidate);
        self.stable = put(self.stable, look.stable.unwrap_or_default());
    }

    /// Whether the candidate breaks the objective.
    fn breaks(&self, allowed: BadShare) -> bool {
        self.candidate.1 > allowed.get() * self.candidate.0
    }

    /// Whether stable breaks the objective too, or has at least half of the candidate's share of bad requests.
    fn shared(&self, allowed: BadShare) -> bool {
        let breaks = self.stable.1 > allowed.get() * self.stable.0;
        let half = self.stable.1 * self.candidate.0 >= SHARED * self.candidate.1 * self.stable.0;
        self.stable.0 > 0.0 && (breaks || half)
    }
}

impl Judge {
    /// One that has seen nothing.
    pub fn new(terms: Terms) -> Self {
        let (tolerated, allowed) = terms.standard.parts();
        let alpha = match (tolerated, allowed) {
            (Some(_), Some(_)) => terms.alpha.get() / 2.0,
            (Some(_), None) | (None, Some(_)) | (None, None) => terms.alpha.get(),
        };
        Self {
            terms,
            beside: tolerated.map(|tolerated| Beside::new(Case::new(alpha, tolerated, terms.clearing))),
            against: allowed.map(|allowed| Against {
                allowed,
                case: Case::new(alpha, Factor::ONE, terms.clearing),
                much_worse: match tolerated {
                    Some(_) => None,
                    None => Some(Beside::new(Case::new(alpha, Factor::TWO, Clearing::Never))),
                },
                excused: Excused::No,
            }),
            read: Read::Never,
            candidate: Count::ZERO,
            stable: Count::ZERO,
            recent: Recent::default(),
            found: None,
        }
    }

    /// What it goes by.
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Takes in what was counted since the last look. How often one looks does not matter.
    pub fn observe(&mut self, look: &Look) {
        self.candidate = self.candidate.plus(look.candidate.unwrap_or_default());
        self.stable = self.stable.plus(look.stable.unwrap_or_default());
        self.recent.add(look);
        if let Some(beside) = &mut self.beside {
            beside.add(look);
        }
        if let Some(much_worse) = self
            .against
            .as_mut()
            .and_then(|against| against.much_worse.as_mut())
        {
            much_worse.add(look);
        }
        if let Some(candidate) = look.candidate {
            self.read = Read::Once;
            if let Some(against) = &mut self.against {
                let allowed = against.allowed;
                against.case.add(&Seen::Against { candidate, allowed });
                if !self.recent.breaks(allowed) {
                    against.excused = Excused::No;
                }
            }
        }
        if self.found.is_none() && self.candidate.requests() >= self.terms.minimum_samples {
            self.found = self.cause();
        }
    }

    /// What it has come to.
    pub fn ruling(&self) -> Ruling {
        Ruling {
            verdict: self.verdict(),
            candidate: self.candidate,
            stable: self.stable,
            evidence: self
                .cases()
                .map(|case| case.worse.value() / case.needed)
                .fold(0.0, f64::max),
        }
    }

    fn cases(&self) -> impl Iterator<Item = &Case> {
        let beside = self.beside.iter().map(|beside| &beside.case);
        beside.chain(self.against.iter().map(|against| &against.case))
    }

    fn cause(&mut self) -> Option<Cause> {
        if self.beside.as_ref().is_some_and(|beside| beside.case.failed()) {
            return Some(Cause::WorseThanStable);
        }
        let against = self.against.as_mut().filter(|against| against.case.failing())?;
        let much_worse = against
            .much_worse
            .as_ref()
            .is_some_and(|beside| beside.case.failing());
        if much_worse || !self.recent.shared(against.allowed) {
            return Some(Cause::WorseThanObjective);
        }
        // Evidence of a trouble of both must not be held against the candidate when stable is over it by a moment earlier.
        against.case.drop_charges();
        against.excused = Excused::Yes;
        None
    }

    fn excused(&self) -> Excused {
        self.against
            .as_ref()
            .map_or(Excused::No, |against| against.excused)
    }

    fn verdict(&self) -> Verdict {
        if let Some(cause) = self.found {
            return Verdict::Failing(cause);
        }
        let needed = self.terms.minimum_samples;
        let open = match (self.read, self.candidate.requests()) {
            (Read::Never, _) => Open::NotRead,
            (Read::Once, 0) => Open::NoRequests,
            (Read::Once, requests) if requests < needed => Open::TooFewSamples { needed },
            (Read::Once, _) if self.excused() == Excused::Yes => Open::SharedWithStable,
            (Read::Once, _) if self.cases().all(Case::cleared) => return Verdict::Passing,
            (Read::Once, _) if self.against.is_none() && self.stable.requests() == 0 => Open::NoBaseline,
            (Read::Once, _) => Open::Undecided,
        };
        Verdict::Inconclusive(open)
    }
}

impl Beside {
    fn new(case: Case) -> Self {
        Self {
            candidate: Count::ZERO,
            stable: Count::ZERO,
            case,
        }
    }

    /// Puts together what was counted until both revisions have been read and had requests, and then compares. When that
    /// is depends on how many requests there were and not on how many were bad, so that the comparison stays fair; and
    /// both have been read for the same time, so that it compares the same time of both.
    fn add(&mut self, look: &Look) {
        self.candidate = self.candidate.plus(look.candidate.unwrap_or_default());
        self.stable = self.stable.plus(look.stable.unwrap_or_default());
        let (ours, theirs) = (self.candidate.requests(), self.stable.requests());
        let both = look.candidate.is_some() && look.stable.is_some();
        if !both || ours == 0 || theirs == 0 || ours.saturating_add(theirs) < POOL {
            return;
        }
        self.case.add(&Seen::Beside {
            candidate: self.candidate,
            stable: self.stable,
        });
        (self.candidate, self.stable) = (Count::ZERO, Count::ZERO);
    }
}
