//! From what a pod exposes to how many requests it has had since it started, and how many of them were bad.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::num::NonZeroU32;

use thiserror::Error;

use super::conventions::{Family, Names, Scope, Unit};
use super::{Count, Malformed, ProbePaths, Sample, samples};

/// What makes a request bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Indicator {
    /// It failed by the server's fault.
    Errors,
    /// It took longer than that.
    SlowerThan {
        /// In milliseconds.
        milliseconds: NonZeroU32,
    },
}

/// A pod's requests since it started.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// From where they were read. Readings of different sources cannot be compared.
    pub source: Source,
    /// The requests, and the bad ones of them.
    pub count: Count,
}

/// From where a reading is.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    /// The name of the samples.
    pub samples: String,
    /// The bound by which requests were told to be slow; None for errors.
    pub bound: Option<Bound>,
}

/// A bound of a histogram's bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bound {
    /// It is the one that was asked for.
    Exact {
        /// In milliseconds.
        milliseconds: f64,
    },
    /// The next higher one there is: requests between the two count as good, so that none is called slow that is not.
    Above {
        /// In milliseconds.
        milliseconds: f64,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            None => write!(f, "{}", self.samples),
            Some(Bound::Exact { milliseconds }) => write!(f, "{} over {milliseconds} ms", self.samples),
            Some(Bound::Above { milliseconds }) => {
                write!(
                    f,
                    "{} over {milliseconds} ms, the next bucket there is",
                    self.samples
                )
            }
        }
    }
}

/// Why nothing could be read.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum Unreadable {
    /// It is no exposition.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// No known name is there. A pod that has had no request yet often shows nothing; that is not an error.
    #[error("none of the metrics that count requests is there")]
    NoFamily,
    /// Requests are counted, but not by their outcome.
    #[error("{samples} has no label that tells errors")]
    NoStatus {
        /// The name of the samples.
        samples: String,
    },
    /// Durations are counted, but not in buckets.
    #[error("{samples} has no buckets")]
    NoBuckets {
        /// The name of the samples.
        samples: String,
    },
    /// The highest bound is below the threshold, so that no slow request could be told.
    #[error("the highest bucket of {samples} is at {highest} ms, below the threshold")]
    ThresholdAboveBuckets {
        /// The name of the samples.
        samples: String,
        /// In milliseconds.
        highest: f64,
    },
    /// A counter that is negative or not a number.
    #[error("{samples} is not a count")]
    NotACount {
        /// The name of the samples.
        samples: String,
    },
}

/// Reads a pod's requests by an indicator from what it exposed. Samples of `probes` are left out where a label tells the
/// path. Of several families that count the same, gRPC's is read where it is used, then one that tells the path, then that of
/// a proxy which probes do not pass, then one that may have counted probes.
pub fn read(
    body: &[u8],
    indicator: Indicator,
    names: &Names,
    probes: &ProbePaths,
) -> Result<Reading, Unreadable> {
    let families = Family::of(names);
    let wanted = |name: &str| {
        families
            .iter()
            .any(|family| family.sample_names().any(|known| known == name))
    };
    read_samples(&samples(body, wanted)?, indicator, names, probes)
}

/// [`read`], of samples that came otherwise.
pub fn read_samples(
    samples: &[Sample<'_>],
    indicator: Indicator,
    names: &Names,
    probes: &ProbePaths,
) -> Result<Reading, Unreadable> {
    let families = Family::of(names);
    let found: Vec<_> = families
        .iter()
        .filter_map(|family| match indicator {
            Indicator::Errors => errors(family, samples, probes),
            Indicator::SlowerThan { milliseconds } => slow(family, milliseconds, samples, probes),
        })
        .collect();
    let mut refusal = Unreadable::NoFamily;
    let mut best: Option<(Preference, Reading)> = None;
    for family in found {
        match family {
            Ok((preference, reading)) => match &best {
                Some((better, _)) if *better <= preference => {}
                Some(_) | None => best = Some((preference, reading)),
            },
            Err(why) if refusal == Unreadable::NoFamily => refusal = why,
            Err(_) => {}
        }
    }
    best.map(|(_, reading)| reading).ok_or(refusal)
}

/// Which of several readings of the same requests is taken: the smaller one, and of equal ones the first. That some
/// family has counted something comes last, so that the source does not change while the first requests come in, but for
/// gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Preference {
    kind: Kind,
    /// True before false.
    counted: Reverse<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// gRPC that is used: what there is of HTTP beside it is for probes, or counts the same requests at a gateway.
    Grpc,
    /// Probes are left out by their path.
    ToldByPath,
    /// Probes do not come by where this is counted.
    ProbesNotSeen,
    /// Probes may be counted too.
    ProbesMayBeCounted,
    /// A gRPC library that nobody has called yet, in a service of HTTP perhaps.
    GrpcIdle,
}

type Found = Option<Result<(Preference, Reading), Unreadable>>;

/// The samples of one name that are meant, and of what kind they are.
struct Selection<'a> {
    name: &'a str,
    samples: Vec<&'a Sample<'a>>,
    kind: Kind,
}

/// None where no sample has one of the names.
fn select<'a>(
    family: &Family,
    names: &'a [Cow<'static, str>],
    samples: &'a [Sample<'a>],
    probes: &ProbePaths,
) -> Option<Selection<'a>> {
    let name = names
        .iter()
        .find(|name| samples.iter().any(|sample| sample.name == **name))?;
    let named = || samples.iter().filter(|sample| sample.name == *name);
    let path = |sample: &'a Sample<'a>| family.paths.iter().find_map(|label| sample.label(label));
    let kind = match family.scope {
        Scope::Grpc => Kind::Grpc,
        Scope::Inbound => Kind::ProbesNotSeen,
        Scope::All if named().all(|sample| path(sample).is_some()) => Kind::ToldByPath,
        Scope::All => Kind::ProbesMayBeCounted,
    };
    let meant = |sample: &&'a Sample<'a>| {
        let inbound = match family.scope {
            Scope::Inbound => sample.label("reporter") == Some("destination"),
            Scope::All | Scope::Grpc => true,
        };
        inbound && !path(sample).is_some_and(|path| probes.hold(path))
    };
    Some(Selection {
        name,
        samples: named().filter(meant).collect(),
        kind,
    })
}

impl Selection<'_> {
    fn sum(&self, of: impl Fn(&Sample<'_>) -> bool) -> Result<u64, Unreadable> {
        let meant = self.samples.iter().filter(|sample| of(sample));
        meant
            .map(|sample| whole(sample.value))
            .try_fold(0_u64, |sum, count| {
                count
                    .map(|count| sum.saturating_add(count))
                    .ok_or_else(|| Unreadable::NotACount {
                        samples: self.name.to_owned(),
                    })
            })
    }

    fn reading(
        &self,
        requests: u64,
        bad: u64,
        bound: Option<Bound>,
    ) -> Result<(Preference, Reading), Unreadable> {
        let samples = self.name.to_owned();
        let Ok(count) = Count::new(requests, bad) else {
            return Err(Unreadable::NotACount { samples });
        };
        let preference = Preference {
            kind: match (self.kind, requests) {
                (Kind::Grpc, 0) => Kind::GrpcIdle,
                (kind, _) => kind,
            },
            counted: Reverse(requests > 0),
        };
        let source = Source { samples, bound };
        Ok((preference, Reading { source, count }))
    }
}

/// A count that came as a floating point number.
fn whole(value: f64) -> Option<u64> {
    // Up to 2^53 a float holds each whole number; more requests than that nobody has had.
    (value >= 0.0 && value <= 2.0_f64.powi(53)).then_some(value as u64)
}

fn errors(family: &Family, samples: &[Sample<'_>], probes: &ProbePaths) -> Found {
    let selection = select(family, &family.counts, samples, probes)?;
    let status = |sample: &Sample<'_>| {
        let labels = family.status.iter();
        labels
            .filter_map(|(label, bad)| sample.label(label).map(|value| bad.hold(value)))
            .reduce(|one, other| one || other)
    };
    // Not of the meant ones alone: where only probes have been counted yet, the label is there as well.
    let mut named = samples.iter().filter(|sample| sample.name == selection.name);
    if !named.any(|sample| status(sample).is_some()) {
        // A histogram without labels shows zeros before the first request, when a counter with them shows nothing yet.
        if selection.sum(|_| true) == Ok(0) {
            return None;
        }
        let samples = selection.name.to_owned();
        return Some(Err(Unreadable::NoStatus { samples }));
    }
    let counts = selection.sum(|_| true).and_then(|requests| {
        let bad = selection.sum(|sample| status(sample) == Some(true))?;
        selection.reading(requests, bad, None)
    });
    Some(counts)
}

fn slow(family: &Family, threshold: NonZeroU32, samples: &[Sample<'_>], probes: &ProbePaths) -> Found {
    let (name, unit) = family.buckets.as_ref()?;
    let Some(selection) = select(family, std::slice::from_ref(name), samples, probes) else {
        let counted = select(family, &family.counts, samples, probes)?;
        let samples = counted.name.to_owned();
        return Some(Err(Unreadable::NoBuckets { samples }));
    };
    Some(slow_of(&selection, *unit, threshold))
}

fn slow_of(
    selection: &Selection<'_>,
    unit: Unit,
    threshold: NonZeroU32,
) -> Result<(Preference, Reading), Unreadable> {
    let wanted = f64::from(threshold.get());
    let not_a_count = || Unreadable::NotACount {
        samples: selection.name.to_owned(),
    };
    let mut buckets: Vec<(f64, u64)> = Vec::new();
    for sample in &selection.samples {
        let bound = sample
            .label("le")
            .and_then(|le| le.parse::<f64>().ok())
            .filter(|le| !le.is_nan());
        let bound = match (bound.ok_or_else(not_a_count)?, unit) {
            (seconds, Unit::Seconds) => in_milliseconds(seconds),
            (milliseconds, Unit::Milliseconds) => milliseconds,
        };
        buckets.push((bound, whole(sample.value).ok_or_else(not_a_count)?));
    }
    buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
    let sums: Vec<Bucket> = buckets
        .chunk_by(|one, other| one.0.total_cmp(&other.0).is_eq())
        .map(Bucket::of)
        .collect();
    // Before the first request nothing is known of the bounds.
    let Some((all, bounded)) = sums.split_last() else {
        return Err(Unreadable::NoFamily);
    };
    if all.bound.is_finite() {
        return Err(not_a_count());
    }
    // A bound that some series lack would leave out their requests.
    let mut bounded = bounded
        .iter()
        .filter(|bucket| bucket.series == all.series)
        .peekable();
    let mut highest = 0.0;
    while let Some(below) = bounded.next_if(|bucket| bucket.bound < wanted) {
        highest = below.bound;
    }
    let Some(bucket) = bounded.next() else {
        let samples = selection.name.to_owned();
        return Err(Unreadable::ThresholdAboveBuckets { samples, highest });
    };
    let milliseconds = bucket.bound;
    let bound = match milliseconds > wanted {
        true => Bound::Above { milliseconds },
        false => Bound::Exact { milliseconds },
    };
    // Series are read one after the other while requests come in: a bucket may be ahead of the whole.
    let slow = all.requests.saturating_sub(bucket.requests);
    selection.reading(all.requests, slow, Some(bound))
}

/// All series' buckets of one bound.
struct Bucket {
    /// In milliseconds.
    bound: f64,
    series: usize,
    requests: u64,
}

impl Bucket {
    fn of(same: &[(f64, u64)]) -> Self {
        Self {
            bound: same.first().map_or(f64::INFINITY, |(bound, _)| *bound),
            series: same.len(),
            requests: same
                .iter()
                .fold(0, |sum, (_, requests)| sum.saturating_add(*requests)),
        }
    }
}

/// Rounded to a nanosecond, because 0.57 seconds times a thousand are a little less than 570 milliseconds.
fn in_milliseconds(seconds: f64) -> f64 {
    match seconds.is_finite() {
        true => (seconds * 1e9).round() / 1e6,
        false => seconds,
    }
}
