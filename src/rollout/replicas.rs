//! How many pods each of two revisions gets, from one planning to the next.
//!
//! The arithmetic of a rolling update is that of Kubernetes' Deployment controller, between two Deployments: never more
//! than `wanted + surge` pods, never fewer than `wanted - unavailable` ready ones by our doing.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::Strategy;
use crate::health::Counts;

/// How far the number of pods may leave the wanted number while they are replaced. In pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Surge {
    /// How many more.
    pub above: i32,
    /// How many fewer ready ones.
    pub below: i32,
}

impl Surge {
    /// From a strategy, for `wanted` pods: percentages of the surge are rounded up, those of the unavailable down,
    /// and where both come out as 0 one pod may be missing, as Kubernetes does it.
    pub fn of(strategy: &Strategy, wanted: i32) -> Self {
        let pace = strategy.rolling_update.clone().unwrap_or_default();
        let above = scaled(pace.max_surge.as_ref(), 25, wanted, Rounding::Up);
        let below = scaled(pace.max_unavailable.as_ref(), 0, wanted, Rounding::Down);
        if above == 0 && below == 0 {
            Self { above, below: 1 }
        } else {
            Self { above, below }
        }
    }
}

#[derive(Clone, Copy)]
enum Rounding {
    Up,
    Down,
}

/// A number, or a percentage of `whole`; what cannot be read counts as the default.
fn scaled(value: Option<&IntOrString>, default_percent: i64, whole: i32, rounding: Rounding) -> i32 {
    let percent = |percent: i64| {
        let product = i64::from(whole.max(0)) * percent.clamp(0, 1000);
        let share = match rounding {
            Rounding::Up => (product + 99) / 100,
            Rounding::Down => product / 100,
        };
        i32::try_from(share).unwrap_or(i32::MAX)
    };
    match value {
        Some(IntOrString::Int(number)) => (*number).max(0),
        Some(IntOrString::String(text)) => match text.strip_suffix('%').map(str::parse) {
            Some(Ok(number)) => percent(number),
            Some(Err(_)) => percent(default_percent),
            None => text
                .parse()
                .map_or_else(|_| percent(default_percent), |n: i32| n.max(0)),
        },
        None => percent(default_percent),
    }
}

/// How pods are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// A few at a time.
    Lots(Surge),
    /// The candidate in full size beside the stable one; then traffic flips.
    FullSize,
    /// All old ones end before the first new one starts.
    OneAtATime,
}

/// The pods of a revision: how many its Deployment is to have, and what there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// The Deployment's replicas.
    pub asked: i32,
    /// The pods.
    pub counts: Counts,
}

impl Size {
    /// Pods that exist or are about to.
    fn present(self) -> i32 {
        self.asked.max(self.counts.live)
    }
    /// The same where no caller can get to its pods: none of them counts as ready.
    #[must_use]
    pub fn unreached(self) -> Self {
        Self {
            counts: Counts {
                ready: 0,
                ..self.counts
            },
            ..self
        }
    }
    /// Ready pods that are to stay.
    fn ready(self) -> i32 {
        self.counts.ready.min(self.asked)
    }
}

/// How many pods each revision is to have next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeTargets {
    /// The revision that loses pods.
    pub leaving: i32,
    /// The revision that gains pods.
    pub coming: i32,
}

/// The next sizes when `coming` takes the place of `leaving`, for `wanted` pods in all.
pub fn exchange(pace: Pace, wanted: i32, leaving: Size, coming: Size) -> SizeTargets {
    match pace {
        Pace::Lots(surge) => {
            // The two together never ask for less than is wanted, also after somebody else scaled one of them.
            let kept =
                (wanted - surge.below - coming.ready()).clamp(0, leaving.asked.max(wanted - coming.asked));
            // What leaves may have to grow first, where more pods are wanted than before.
            let taken = leaving.present().max(kept).saturating_add(coming.present());
            let room = wanted.saturating_add(surge.above).saturating_sub(taken).max(0);
            SizeTargets {
                leaving: kept,
                coming: coming.asked.saturating_add(room).min(wanted),
            }
        }
        // The one carries all traffic until the other can.
        Pace::FullSize => SizeTargets {
            leaving: wanted,
            coming: wanted,
        },
        Pace::OneAtATime => {
            let gone = leaving.asked == 0 && leaving.counts.live == 0 && leaving.counts.terminating == 0;
            SizeTargets {
                leaving: 0,
                coming: if gone { wanted } else { coming.asked.min(wanted) },
            }
        }
    }
}

/// How many pods each of two revisions has while they share the traffic of one Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// The candidate.
    pub candidate: i32,
    /// The stable revision.
    pub stable: i32,
}

impl Share {
    /// The candidate's part of the pods in percent, rounded.
    pub fn percent(self) -> i32 {
        let total = self.candidate.saturating_add(self.stable);
        if total <= 0 {
            return 0;
        }
        (self.candidate.saturating_mul(100) + total / 2) / total
    }
}

/// The pods of two revisions that share the traffic of one Service, for a weight between 1 and 99 percent: of
/// `wanted` pods and the surge, the candidate gets its part, rounded, and each of the two at least one. Where `pods`
/// says how many the candidate has, it has these, and the stable revision what is left.
pub fn share_of(wanted: i32, surge: Surge, weight: i32, pods: Option<i32>) -> Share {
    let total = wanted.saturating_add(surge.above.max(1)).max(2);
    let part = (i64::from(total) * i64::from(weight.clamp(0, 100)) + 50) / 100;
    let part = pods.unwrap_or_else(|| i32::try_from(part).unwrap_or(i32::MAX));
    let candidate = part.clamp(1, total - 1);
    Share {
        candidate,
        stable: total - candidate,
    }
}

/// The next sizes on the way to `share`, in either direction: one takes the places of pods of the other that leave, never
/// more than the two together are to have, never fewer ready ones than `wanted` by our doing.
pub fn towards(share: Share, wanted: i32, leaving: Size, coming: Size) -> SizeTargets {
    let total = share.candidate.saturating_add(share.stable);
    let shrunk = |size: Size, target: i32, other: Size, other_target: i32| {
        if size.asked <= target {
            return size.asked;
        }
        target.max((wanted - other.ready().min(other_target)).min(size.asked))
    };
    let stable = shrunk(leaving, share.stable, coming, share.candidate);
    let candidate = shrunk(coming, share.candidate, leaving, share.stable);
    let taken = leaving
        .present()
        .max(stable)
        .saturating_add(coming.present().max(candidate));
    let room = total.saturating_sub(taken).max(0);
    let grown = |asked: i32, target: i32, room: i32| asked.max(asked.saturating_add(room).min(target));
    let stable_next = grown(stable, share.stable, room);
    SizeTargets {
        leaving: stable_next,
        coming: grown(candidate, share.candidate, room - (stable_next - stable)),
    }
}

/// The sizes of two revisions while nothing goes on: as they are, but for scaling.
pub fn stand_still(pace: Pace, wanted: i32, leaving: Size, coming: Size) -> SizeTargets {
    let Surge { above, below } = match pace {
        Pace::FullSize => {
            return SizeTargets {
                leaving: wanted,
                coming: coming.asked.min(wanted),
            };
        }
        Pace::OneAtATime if coming.asked == 0 => {
            return SizeTargets {
                leaving: wanted,
                coming: 0,
            };
        }
        Pace::OneAtATime if leaving.asked == 0 => {
            return SizeTargets {
                leaving: 0,
                coming: wanted,
            };
        }
        Pace::OneAtATime => Surge { above: 0, below: 0 },
        Pace::Lots(surge) => surge,
    };
    let most = wanted.saturating_add(above);
    let share = coming.asked.min(wanted);
    let needed = (wanted - below - coming.ready().min(share)).max(0);
    let highest = (most - share).max(needed);
    let kept = leaving.asked.clamp((wanted - share).min(highest), highest);
    SizeTargets {
        leaving: kept,
        coming: share.min((most - kept).max(0)),
    }
}

/// What stands in the way of the pods of the revision that is returned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// Nothing that is known of.
    Enough,
    /// They cannot be scheduled or created.
    Needed {
        /// Of these pods so many have a node.
        placed: i32,
    },
}

/// The next sizes when traffic returns to `home`: all of it at once, while `failed` keeps what still serves until it is
/// made up for. Where there is no room for `home`, `failed` gives way in lots of a quarter, as long as that helps.
pub fn go_home(pace: Pace, wanted: i32, failed: Size, home: Size, room: Room) -> SizeTargets {
    if failed.counts.ready == 0 {
        return match pace {
            Pace::OneAtATime => exchange(pace, wanted, failed, home),
            Pace::Lots(_) | Pace::FullSize => SizeTargets {
                leaving: 0,
                coming: wanted,
            },
        };
    }
    match pace {
        Pace::OneAtATime => exchange(pace, wanted, failed, home),
        Pace::Lots(Surge { below, .. }) => make_room(wanted, below, failed, home, room),
        Pace::FullSize => make_room(wanted, 0, failed, home, room),
    }
}

fn make_room(wanted: i32, below: i32, failed: Size, home: Size, room: Room) -> SizeTargets {
    let needed = (wanted - below - home.ready()).clamp(0, failed.asked);
    let leaving = match room {
        Room::Enough => needed,
        // One lot at a time: the next one only when the pods of the last are gone, and home has taken their places.
        // The last pod that serves is worth more than the room that it takes.
        Room::Needed { placed } if failed.counts.live <= failed.asked && failed.counts.terminating == 0 => {
            let lot = ((wanted + 3) / 4).max(1);
            let fewest = (wanted - lot - placed).max(1).min(failed.asked);
            needed.min((failed.asked - lot).max(fewest))
        }
        Room::Needed { .. } => needed,
    };
    SizeTargets {
        leaving,
        coming: wanted,
    }
}

#[cfg(test)]
mod tests;
