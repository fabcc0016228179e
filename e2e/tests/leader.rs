//! Two replicas of the operator: one acts, the other takes over without losing anything, and they never act together.
//!
//! They have just the rights that are shipped, those on the Lease included.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Instant;

use e2e::environment::{cluster_dir, say};
use e2e::operator::{Operator, OperatorOptions};
use e2e::release::{by_hand, canary, in_force, promote, rollout};
use e2e::rights::{Reach, Rights, shipped, shipped_lease};
use e2e::status::StatusExt;
use e2e::wait::eventually;
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use microservice_operator::api::RolloutState;
use serde_json::json;

/// The name of the Lease that the shipped Role speaks of.
const LEASE: &str = "microservice-operator";
/// How long a Lease is good for here, in seconds; leaders stop after two thirds of it.
const LEASE_SECONDS: &str = "6";

/// Two replicas, of which the first is the leader.
struct Replicas {
    first: Operator,
    second: Operator,
    /// Theirs, and gone with the value.
    _rights: Rights,
}

impl Replicas {
    async fn start(s: &Scenario) -> Self {
        let rules = [shipped(), shipped_lease()].concat();
        let rights = Rights::new(Reach::Namespace(&s.namespace), &rules);
        let start = |name: &str| {
            let mut flags = vec!["--instance".to_owned(), name.to_owned()];
            for (flag, value) in [
                ("--lease-namespace", s.namespace.as_str()),
                ("--lease-duration-seconds", LEASE_SECONDS),
                ("--lease-renew-deadline-seconds", "4"),
                ("--lease-retry-seconds", "1"),
            ] {
                flags.extend([flag.to_owned(), value.to_owned()]);
            }
            Operator::start(OperatorOptions {
                namespaces: vec![s.namespace.clone()],
                kubeconfig: Some(rights.kubeconfig()),
                flags,
                log: cluster_dir().join(format!("log/operator-{}-{name}.log", s.namespace)),
            })
        };
        let mut first = start("first");
        first.ready().await;
        leads(&first, "the first").await;
        let mut second = start("second");
        // Ready on standby too: its caches are warm.
        second.ready().await;
        let replicas = Self {
            first,
            second,
            _rights: rights,
        };
        replicas.second_stands_by().await;
        replicas
    }

    /// The second is no leader and has written nothing.
    async fn second_stands_by(&self) {
        let page = self.second.page("/metrics").await;
        assert!(page.contains("\nmicroservice_operator_leader 0\n"), "{page}");
        let written = page
            .lines()
            .find(|line| line.starts_with("microservice_operator_writes_total{"));
        assert_eq!(written, None);
        let services = page
            .lines()
            .find(|line| line.starts_with("microservice_operator_traffic_weight_percent{"));
        assert_eq!(services, None);
    }
}

/// Waits until a replica is the leader.
async fn leads(operator: &Operator, which: &str) {
    eventually(&format!("{which} to be the leader"), async || {
        let page = operator.page("/metrics").await;
        if page.contains("\nmicroservice_operator_leader 1\n") {
            Ok(())
        } else {
            Err(operator.tail(5))
        }
    })
    .await;
}

/// Who holds the Lease, and how often it has changed hands.
async fn holder(s: &Scenario) -> (String, i32) {
    let lease: Lease = s.get(LEASE).await;
    let spec = lease.spec.unwrap();
    (
        spec.holder_identity.unwrap_or_default(),
        spec.lease_transitions.unwrap_or_default(),
    )
}

/// A service that is released by hand in two steps, by numbers of pods.
fn service() -> Manifest {
    podinfo("web", "1.0.0")
        .spec(json!({"replicas": 4}))
        .spec(canary(by_hand(&[25, 50])))
}

#[test]
fn a_leader_that_is_killed_amid_a_canary_is_followed_and_nothing_is_lost() {
    scenario("leader-killed")
        .real_pods()
        .without_operator()
        .run(async |s| {
            let mut replicas = Replicas::start(s).await;
            let stable = s.deploy(&service()).await.stable().unwrap();
            let load = s.load("web").await;
            s.apply(&service().version("1.1.0")).await;
            let before = in_force(s, "web", 1).await;
            let candidate = before.candidate().unwrap();
            replicas.second_stands_by().await;

            replicas.first.kill();
            let killed = Instant::now();
            // A person who knows nothing of it.
            promote(s, &before).await;
            leads(&replicas.second, "the second").await;
            say(&format!(
                "leader: killed -> the next one acts: {:.2} s (a Lease of {LEASE_SECONDS} s)",
                killed.elapsed().as_secs_f64()
            ));
            let after = in_force(s, "web", 2).await;
            assert_eq!(after.candidate().as_ref(), Some(&candidate));
            assert_eq!(after.stable().as_ref(), Some(&stable));
            assert_eq!(
                rollout(&after).trial,
                rollout(&before).trial,
                "it is the same trial"
            );
            let (holder, transitions) = holder(s).await;
            assert!(holder.starts_with("second_"), "{holder}");
            assert_eq!(transitions, 1);

            promote(s, &after).await;
            let done = s.healthy("web").await;
            assert_eq!(done.stable().unwrap(), candidate);
            assert_eq!(done.said().history.first().unwrap().outcome, "Promoted");
            s.assert_served_by("web", "1.1.0").await;
            load.stop().assert_spotless();

            // The one that was killed comes back as the one that stands by.
            replicas.first.restart().await;
            let page = replicas.first.page("/metrics").await;
            assert!(page.contains("\nmicroservice_operator_leader 0\n"), "{page}");
        });
}

#[test]
fn a_leader_that_is_told_to_stop_gives_the_lease_back() {
    scenario("leader-stopped").without_operator().run(async |s| {
        let mut replicas = Replicas::start(s).await;
        s.deploy(&podinfo("web", "1.0.0")).await;
        let told = Instant::now();
        assert!(replicas.first.stop(), "{}", replicas.first.tail(10));
        let stopped = told.elapsed();
        leads(&replicas.second, "the second").await;
        say(&format!(
            "leader: told to stop -> ended {:.2} s -> the next one acts {:.2} s",
            stopped.as_secs_f64(),
            told.elapsed().as_secs_f64()
        ));
        assert!(holder(s).await.0.starts_with("second_"));
        let given_back = replicas
            .first
            .log()
            .iter()
            .any(|line| line["message"] == "the Lease is given back");
        assert!(given_back, "{}", replicas.first.tail(10));
        // And works.
        s.deploy(&podinfo("other", "1.0.0")).await;
    });
}

#[test]
fn a_leader_that_was_frozen_stands_by_when_it_wakes_up() {
    scenario("leader-frozen").without_operator().run(async |s| {
        let mut replicas = Replicas::start(s).await;
        let stable = s.deploy(&service()).await.stable().unwrap();
        replicas.first.freeze();
        leads(&replicas.second, "the second").await;
        s.apply(&service().version("1.1.0")).await;
        let before = in_force(s, "web", 1).await;
        let candidate = before.candidate().unwrap();
        replicas.first.thaw();
        eventually("the first to stand by", async || {
            let page = replicas.first.page("/metrics").await;
            // Also nothing of a service is shown by it any more: sums over replicas count nothing twice.
            let shown = page
                .lines()
                .any(|line| line.starts_with("microservice_operator_traffic_weight_percent{"));
            if page.contains("\nmicroservice_operator_leader 0\n") && !shown {
                Ok(())
            } else {
                Err(replicas.first.tail(5))
            }
        })
        .await;
        assert!(holder(s).await.0.starts_with("second_"));
        let after = s.service("web").await;
        assert_eq!(after.candidate().as_ref(), Some(&candidate));
        assert_eq!(after.state(), Some(RolloutState::Rolling));
        assert_eq!(after.stable().as_ref(), Some(&stable));
        for revision in [&stable, &candidate] {
            s.until::<Deployment>(revision, "to be there", |_| true).await;
        }
        // And it takes over where the other goes.
        assert!(replicas.second.stop(), "{}", replicas.second.tail(10));
        leads(&replicas.first, "the first").await;
        promote(s, &after).await;
        in_force(s, "web", 2).await;
    });
}

#[test]
fn without_the_rights_on_the_lease_nobody_acts_and_the_log_says_why() {
    scenario("leader-rights").without_operator().run(async |s| {
        let rights = Rights::new(Reach::Namespace(&s.namespace), &shipped());
        let mut operator = Operator::start(OperatorOptions {
            namespaces: vec![s.namespace.clone()],
            kubeconfig: Some(rights.kubeconfig()),
            flags: vec!["--lease-namespace".to_owned(), s.namespace.clone()],
            log: cluster_dir().join(format!("log/operator-{}.log", s.namespace)),
        });
        operator.ready().await;
        eventually("the log to say why", async || {
            let said = operator.log().into_iter().find(|line| {
                let message = line["message"].as_str().unwrap_or_default();
                message.starts_with("the Lease cannot be read or written")
            });
            let said = said.ok_or_else(|| operator.tail(5))?;
            assert!(said.to_string().contains("leases.coordination.k8s.io"), "{said}");
            Ok(())
        })
        .await;
        let page = operator.page("/metrics").await;
        assert!(page.contains("\nmicroservice_operator_leader 0\n"), "{page}");
        // With them it does, without a restart.
        rights.become_only(&[shipped(), shipped_lease()].concat());
        leads(&operator, "it").await;
        s.deploy(&podinfo("web", "1.0.0")).await;
    });
}
