//! What a pod's status forgets: whether the pod had been ready, and which of its failed exits came after that.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use super::container::{exits, failures_since, last_exit};
use super::pod::{changed, condition, is_ready, statuses};
use super::{FailedExits, NodeReadiness, PodSnapshot, Readied};

/// The histories of the pods that are there, by UID. Its size is bounded by theirs: a healthy pod's history holds no
/// more than its UID, and a pod that is gone is forgotten ([`Self::forget`], [`Self::retain`]).
#[derive(Debug, Default)]
pub struct ExitLedger {
    pods: HashMap<String, PodHistory>,
}

impl ExitLedger {
    /// Takes a pod's new state in. A watch may have swallowed the states between the last one and this.
    pub fn observe(&mut self, pod: &Pod) {
        let Some(uid) = pod.uid() else { return };
        match self.pods.get_mut(&uid) {
            Some(history) => history.fold(pod),
            None => drop(self.pods.insert(uid, PodHistory::first_sight(pod))),
        }
    }

    /// Drops a pod that is gone.
    pub fn forget(&mut self, uid: &str) {
        self.pods.remove(uid);
    }

    /// Drops the pods whose UID is not among those that a fresh list holds.
    pub fn retain(&mut self, listed: impl Fn(&str) -> bool) {
        self.pods.retain(|uid, _| listed(uid));
    }

    /// How many pods are remembered.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    /// What the pod says, with its history; one that was never observed is taken at first sight.
    pub fn snapshot(&self, pod: &Pod, node: NodeReadiness) -> PodSnapshot {
        match pod.uid().and_then(|uid| self.pods.get(&uid)) {
            Some(history) => PodSnapshot::of(pod, history, node),
            None => PodSnapshot::of(pod, &PodHistory::first_sight(pod), node),
        }
    }
}

/// What is remembered of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodHistory {
    readied: Readied,
    /// Only containers that have ended at least once.
    containers: Vec<ContainerHistory>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct ContainerHistory {
    name: String,
    /// How many of its ends are accounted for.
    exits: i32,
    failed: FailedExits,
}

impl PodHistory {
    /// The history that a pod's status alone tells. Of a pod that has been ready, only the end that made it unready
    /// can be placed in time: the others are not held against it. Of one that never was, all came before.
    pub fn first_sight(pod: &Pod) -> Self {
        let readied = readied(pod);
        let broken = readied == Readied::Once && !is_ready(pod);
        let containers = statuses(pod)
            .filter(|status| exits(status) > 0)
            .map(|status| {
                let exits = exits(status);
                let failed = match readied {
                    Readied::Never => FailedExits {
                        before: failures_since(status, 0),
                        serving: 0,
                    },
                    Readied::Once if broken => FailedExits {
                        before: 0,
                        serving: failures_since(status, exits - 1),
                    },
                    Readied::Once => FailedExits::default(),
                };
                ContainerHistory {
                    name: status.name.clone(),
                    exits,
                    failed,
                }
            })
            .collect();
        Self { readied, containers }
    }

    /// Whether the pod had been ready.
    pub fn readied(&self) -> Readied {
        self.readied
    }

    /// How often the container failed.
    pub fn failed(&self, container: &str) -> FailedExits {
        self.containers
            .iter()
            .find(|c| c.name == container)
            .map_or_else(FailedExits::default, |c| c.failed)
    }

    fn fold(&mut self, pod: &Pod) {
        for status in statuses(pod) {
            let ended = exits(status);
            let known = self.containers.iter().position(|c| c.name == status.name);
            if ended == 0 && known.is_none() {
                continue;
            }
            let serving = self.readied == Readied::Once
                || ended_after_ready(pod, last_exit(status).and_then(|e| e.finished_at));
            let at = known.unwrap_or_else(|| {
                self.containers.push(ContainerHistory {
                    name: status.name.clone(),
                    exits: 0,
                    failed: FailedExits::default(),
                });
                self.containers.len() - 1
            });
            let container = &mut self.containers[at];
            let failures = failures_since(status, container.exits);
            let place = if serving {
                &mut container.failed.serving
            } else {
                &mut container.failed.before
            };
            *place = place.saturating_add(failures);
            // The count falls when a node comes back without its containers.
            container.exits = ended;
        }
        if readied(pod) == Readied::Once {
            self.readied = Readied::Once;
        }
    }
}

/// Whether a pod that was not known to have been ready was ready when a container of it ended.
fn ended_after_ready(pod: &Pod, ended: Option<Timestamp>) -> bool {
    match condition(pod, "Ready") {
        // It got ready and broke within one update.
        Some(c) if c.status != "True" => readied(pod) == Readied::Once,
        // Times are to the second, so an end within the second in which it got ready came before that.
        Some(c) => matches!((changed(c), ended), (Some(ready), Some(ended)) if ended > ready),
        None => false,
    }
}

/// How long after its start the kubelet has written the first status of a pod: both are to the second.
const FIRST_STATUS: SignedDuration = SignedDuration::from_secs(1);

/// Whether the pod is or has been ready, from its status alone: condition Ready turns False with the first status and
/// its time moves only when it changes, so a later time means that it was True in between.
fn readied(pod: &Pod) -> Readied {
    let Some(ready) = condition(pod, "Ready") else {
        return Readied::Never;
    };
    if ready.status == "True" {
        return Readied::Once;
    }
    let scheduled = condition(pod, "PodScheduled").and_then(changed);
    let started = pod
        .status
        .as_ref()
        .and_then(|s| s.start_time.as_ref())
        .map(|t| t.0);
    match (changed(ready), scheduled.max(started)) {
        (Some(changed), Some(began)) if changed.duration_since(began) > FIRST_STATUS => Readied::Once,
        _ => Readied::Never,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::fixtures::{PodFixture, at, end, failure};
    use super::super::{Readiness, Standing};
    use super::*;

    /// What the ledger holds of p0's main container after these updates.
    fn failed(updates: &[PodFixture]) -> FailedExits {
        let mut ledger = ExitLedger::default();
        for update in updates {
            ledger.observe(&update.pod());
        }
        let last = updates.last().map(PodFixture::pod).unwrap_or_default();
        ledger.snapshot(&last, NodeReadiness::Ready).containers[0].failed
    }

    fn counts(before: i32, serving: i32) -> FailedExits {
        FailedExits { before, serving }
    }

    fn starting() -> PodFixture {
        PodFixture::starting("p0")
    }

    fn ready() -> PodFixture {
        PodFixture::ready("p0")
    }

    #[test]
    fn ends_before_the_pod_was_ready_are_told_from_those_after() {
        let first = starting().restarted(1, failure(3));
        let then_ready = ready().restarted(1, failure(3));
        let crashed = ready().unready(50).ended(1, failure(50));
        let back = ready().ready_since(60).restarted(2, failure(50));
        assert_eq!(failed(&[starting(), first.clone()]), counts(1, 0));
        assert_eq!(
            failed(&[starting(), first.clone(), then_ready.clone()]),
            counts(1, 0)
        );
        assert_eq!(
            failed(&[starting(), first.clone(), then_ready.clone(), crashed.clone()]),
            counts(1, 1)
        );
        assert_eq!(
            failed(&[starting(), first, then_ready, crashed, back]),
            counts(1, 1)
        );
    }

    #[test]
    fn an_end_is_counted_once_through_all_the_states_that_show_it() {
        let updates = [
            ready(),
            ready().unready(50).ended(0, failure(50)),
            ready().unready(50).restarted(1, failure(50)),
            ready().unready(50).ended(1, failure(55)),
            ready().unready(50).crash_loop(1, failure(55)),
            ready().unready(50).crash_loop(1, failure(55)),
            ready().unready(50).restarted(2, failure(55)),
        ];
        assert_eq!(failed(&updates[..3]), counts(0, 1));
        assert_eq!(failed(&updates[..5]), counts(0, 2));
        assert_eq!(failed(&updates), counts(0, 2));
    }

    #[test]
    fn an_update_that_swallows_a_crash_still_counts_it() {
        // It was seen starting and ready, then only the restart count tells.
        let back = ready().ready_since(60).restarted(1, failure(50));
        assert_eq!(failed(&[starting(), ready(), back]), counts(0, 1));
        // Ready, crashed, restarted and ready again: only the restart count tells.
        assert_eq!(
            failed(&[ready(), ready().ready_since(60).restarted(1, failure(50))]),
            counts(0, 1)
        );
        // Three crashes at once.
        assert_eq!(
            failed(&[ready(), ready().ready_since(60).restarted(3, failure(50))]),
            counts(0, 3)
        );
        // Got ready and crashed: the time of Ready=False has moved.
        assert_eq!(
            failed(&[starting(), starting().unready(50).restarted(1, failure(50))]),
            counts(0, 1)
        );
        // Got ready, and the crash is told before the lost readiness.
        assert_eq!(
            failed(&[starting(), ready().restarted(1, failure(50))]),
            counts(0, 1)
        );
        // Crashed, then got ready.
        assert_eq!(
            failed(&[starting(), ready().restarted(1, failure(4))]),
            counts(1, 0)
        );
        assert_eq!(
            failed(&[starting(), ready().restarted(1, failure(5))]),
            counts(1, 0)
        );
    }

    #[test]
    fn clean_and_unseen_ends_are_no_failures() {
        for end in [
            end(0, "Completed", "", 50),
            end(
                137,
                "ContainerStatusUnknown",
                "The container could not be located when the pod was terminated",
                50,
            ),
            end(255, "Unknown", "", 50),
        ] {
            assert_eq!(
                failed(&[ready(), ready().ready_since(60).restarted(1, end)]),
                counts(0, 0)
            );
        }
        assert_eq!(
            failed(&[
                ready(),
                ready()
                    .ready_since(60)
                    .restarted(1, end(137, "OOMKilled", "", 50))
            ]),
            counts(0, 1)
        );
        assert_eq!(
            failed(&[
                ready(),
                ready().ready_since(60).restarted(1, end(0, "OOMKilled", "", 50))
            ]),
            counts(0, 1)
        );
        // A clean end after a failed one, in one update.
        let mixed = ready()
            .restarted(1, failure(50))
            .ended(1, end(0, "Completed", "", 55));
        assert_eq!(failed(&[ready(), mixed]), counts(0, 1));
    }

    #[test]
    fn a_restart_count_that_falls_loses_nothing() {
        let updates = [
            ready(),
            ready().restarted(2, failure(50)),
            ready(),
            ready().restarted(1, failure(90)),
        ];
        assert_eq!(failed(&updates[..3]), counts(0, 2));
        assert_eq!(failed(&updates), counts(0, 3));
    }

    #[test]
    fn at_first_sight_only_what_can_be_placed_is_held_against_a_pod() {
        assert_eq!(failed(&[starting().crash_loop(2, failure(6))]), counts(3, 0));
        assert_eq!(failed(&[starting().restarted(2, failure(6))]), counts(2, 0));
        assert_eq!(failed(&[ready().restarted(7, failure(6))]), counts(0, 0));
        assert_eq!(
            failed(&[ready().unready(50).crash_loop(7, failure(50))]),
            counts(0, 1)
        );
        // And from then on it is exact.
        assert_eq!(
            failed(&[
                ready().restarted(7, failure(6)),
                ready().unready(50).restarted(8, failure(50))
            ]),
            counts(0, 1)
        );
    }

    #[test]
    fn a_pod_had_been_ready_when_its_condition_changed_after_the_first_status() {
        let was = |pod: PodFixture| match pod.snapshot().readiness {
            Readiness::NotReady { was, .. } => Some(was),
            Readiness::Ready { .. } => None,
        };
        assert_eq!(was(ready()), None);
        // Started at second 1, to the second.
        assert_eq!(was(starting().unready(1)), Some(Readied::Never));
        assert_eq!(was(starting().unready(2)), Some(Readied::Never));
        assert_eq!(was(starting().unready(3)), Some(Readied::Once));
        assert_eq!(
            was(starting().condition("PodScheduled", "True", at(2)).unready(3)),
            Some(Readied::Never)
        );
        assert_eq!(
            was(starting().with("/status/conditions", json!([]))),
            Some(Readied::Never)
        );
    }

    #[test]
    fn what_the_ledger_saw_outlives_the_status() {
        let mut ledger = ExitLedger::default();
        ledger.observe(&ready().pod());
        // A status whose times were lost: by itself it would say Never.
        let blurred = starting().unready(1).pod();
        ledger.observe(&blurred);
        let readiness = ledger.snapshot(&blurred, NodeReadiness::Ready).readiness;
        assert!(matches!(
            readiness,
            Readiness::NotReady {
                was: Readied::Once,
                ..
            }
        ));
    }

    #[test]
    fn it_holds_no_more_than_the_pods_that_are_there() {
        let mut ledger = ExitLedger::default();
        assert!(ledger.is_empty());
        for name in ["a", "b", "c"] {
            ledger.observe(&PodFixture::ready(name).pod());
            ledger.observe(&PodFixture::ready(name).pod());
        }
        assert_eq!(ledger.len(), 3);
        ledger.forget("uid-a");
        ledger.forget("uid-a");
        ledger.retain(|uid| uid == "uid-b");
        assert_eq!(ledger.len(), 1);
        ledger.observe(&Pod::default());
        assert_eq!(ledger.len(), 1, "an object without a UID");
    }

    #[test]
    fn containers_of_one_pod_are_told_apart() {
        let two = |restarts: [i32; 2]| {
            let status = |name: &str, restarts: i32| {
                json!({"name": name, "image": "", "imageID": "", "ready": true, "restartCount": restarts,
                       "state": {"running": {}}, "lastState": if restarts > 0 { json!({"terminated": failure(50)}) } else { json!({}) }})
            };
            ready().with(
                "/status/containerStatuses",
                json!([status("orders", restarts[0]), status("proxy", restarts[1])]),
            )
        };
        let mut ledger = ExitLedger::default();
        ledger.observe(&two([0, 0]).pod());
        ledger.observe(&two([0, 2]).pod());
        let snapshot = ledger.snapshot(&two([0, 2]).pod(), NodeReadiness::Ready);
        assert_eq!(
            snapshot.containers.iter().map(|c| c.failed).collect::<Vec<_>>(),
            [counts(0, 0), counts(0, 2)]
        );
        assert_eq!(snapshot.standing, Standing::Live);
    }
}
