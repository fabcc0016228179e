//! A change goes out.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use e2e::environment::say;
use e2e::http_client;
use e2e::scenario::{is_ready, revision_of};
use e2e::status::StatusExt;
use e2e::wait::{eventually, throughout};
use e2e::{Manifest, Scenario, podinfo, scenario};
use k8s_openapi::api::apps::v1::{ControllerRevision, Deployment};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::ResourceExt;
use microservice_operator::api::{Blame, Phase, RolloutState};
use serde_json::json;

/// Applies a manifest and waits until it is the stable revision. Answers its name.
async fn promote(s: &Scenario, manifest: &Manifest) -> String {
    s.deploy(manifest).await.stable().unwrap()
}

#[test]
fn rolling_update_under_load_fails_no_request() {
    scenario("rolling").real_pods().run(async |s| {
        let first = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        let stable = promote(s, &first).await;
        s.assert_served_by("web", "1.0.0").await;
        let pods = s.record::<Pod>();
        let load = s.load("web").await;
        let after = s.deploy(&first.version("1.1.0")).await;
        s.assert_served_by("web", "1.1.0").await;
        let tally = load.stop();
        tally.assert_spotless();
        assert_eq!(tally.versions(), ["1.0.0", "1.1.0"]);
        let candidate = after.stable().unwrap();
        assert_ne!(candidate, stable);
        assert_eq!(after.said().history[0].outcome, "Promoted");
        assert_eq!(after.said().rollout.unwrap().previous, Some(stable.clone()));
        // Three pods and a surge of 25 %: never more than four that are to stay.
        let mut alive = std::collections::BTreeMap::new();
        let mut most = 0;
        for sighting in pods.all() {
            let leaves = sighting.gone || sighting.object.metadata.deletion_timestamp.is_some();
            alive.insert(sighting.object.name_any(), !leaves);
            most = most.max(alive.values().filter(|is| **is).count());
        }
        assert_eq!(most, 4);
        s.gone::<Deployment>(&stable).await;
        say(&format!(
            "measured: rolling: {} requests over an update of 3 pods, none failed",
            tally.sent()
        ));
    });
}

#[test]
fn recreate_never_runs_both_at_once() {
    scenario("recreate").real_pods().run(async |s| {
        let first = podinfo("web", "1.0.0").spec(json!({"replicas": 2, "strategy": {"type": "Recreate"}}));
        let stable = promote(s, &first).await;
        let pods = s.record::<Pod>();
        pods.first("the pods", |_| true).await;
        let candidate = promote(s, &first.version("1.1.0")).await;
        let mut alive = std::collections::BTreeMap::new();
        for sighting in pods.all() {
            let revision = revision_of(&sighting.object);
            alive.insert(sighting.object.name_any(), (revision, !sighting.gone));
            let lives = |name: &str| alive.values().any(|(revision, is)| *is && revision == name);
            assert!(
                !(lives(&stable) && lives(&candidate)),
                "at {}: {alive:?}",
                sighting.at
            );
        }
        s.assert_served_by("web", "1.1.0").await;
    });
}

#[test]
fn the_same_spec_is_the_same_revision_and_trusted_as_such() {
    scenario("same-spec").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        let two = one.clone().version("1.1.0").env("COLOR", "green");
        let first = promote(s, &one).await;
        let found = s.deploy(&two).await;
        let second = found.stable().unwrap();
        let changes = found.revision(&second).unwrap().changes.unwrap();
        assert_eq!(
            changes,
            "env, image registry.local/podinfo:1.0.0 -> registry.local/podinfo:1.1.0"
        );
        // Back to the revision before: one step of full size, in which the service never has fewer pods than it needs.
        let pods = s.record::<Pod>();
        pods.first("the pods", |_| true).await;
        let load = s.load("web").await;
        assert_eq!(promote(s, &one).await, first);
        load.stop().assert_spotless();
        let sizes = peak_ready_of(&pods.all(), &first, &second);
        assert_eq!(
            sizes, 3,
            "the first pod of {second} left when {sizes} of {first} were ready"
        );
        assert_eq!(s.list::<ControllerRevision>().await.len(), 2);
    });
}

/// How many pods of `coming` were ready when the first one of `leaving` was deleted.
fn peak_ready_of(seen: &[e2e::recorder::Sighting<Pod>], coming: &str, leaving: &str) -> usize {
    let mut ready = std::collections::BTreeSet::new();
    for sighting in seen {
        let revision = revision_of(&sighting.object);
        if revision == leaving && sighting.object.metadata.deletion_timestamp.is_some() {
            break;
        }
        if revision == coming
            && is_ready(&sighting.object)
            && sighting.object.metadata.deletion_timestamp.is_none()
        {
            ready.insert(sighting.object.name_any());
        }
    }
    ready.len()
}

#[test]
fn the_history_is_limited() {
    scenario("history").run(async |s| {
        let base =
            podinfo("web", "1.0.0").spec(json!({"revisionHistoryLimit": 1, "strategy": {"bakeSeconds": 0}}));
        let mut names = Vec::new();
        for step in ["a", "b", "c", "d"] {
            names.push(promote(s, &base.clone().env("STEP", step)).await);
        }
        // The stable one, the one before, and one more.
        eventually("three records", async || {
            let records: Vec<String> = s
                .list::<ControllerRevision>()
                .await
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            let mut expected = names[1..].to_vec();
            expected.sort();
            if records == expected {
                Ok(())
            } else {
                Err(format!("{records:?} of {names:?}"))
            }
        })
        .await;
        let history = s.service("web").await.said().history;
        let seqs: Vec<i64> = history.iter().map(|entry| entry.seq).collect();
        assert_eq!(seqs, [4, 3, 2, 1]);
        assert!(history.iter().all(|entry| entry.outcome == "Promoted"));
        // The Deployment goes after the status, and after the record.
        eventually("the stable Deployment alone", async || {
            let deployments: Vec<String> = s
                .list::<Deployment>()
                .await
                .iter()
                .map(ResourceExt::name_any)
                .collect();
            if deployments == [names[3].clone()] {
                Ok(())
            } else {
                Err(format!("{deployments:?}"))
            }
        })
        .await;
    });
}

#[test]
fn restart_makes_the_same_template_anew_once() {
    scenario("restart").run(async |s| {
        let manifest = podinfo("web", "1.0.0");
        let first = promote(s, &manifest).await;
        let old = s.pods_of(&first).await.remove(0);
        s.annotate("web", "microservice.dev/restart", &first).await;
        let after = s
            .wait_for("web", "to be restarted", |found| {
                found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
            })
            .await;
        let second = after.stable().unwrap();
        let new = s.ready_pods(&second, 1).await.remove(0);
        assert_ne!(old.uid(), new.uid());
        let image = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.clone();
        assert_eq!(image(&old), image(&new));
        // The annotation stays and hits nothing any more: not after an edit, not after a restart of the operator.
        s.restart_operator().await;
        s.apply(&manifest.spec(json!({"commonLabels": {"team": "a"}})))
            .await;
        let later = s.healthy("web").await;
        assert_eq!(later.stable().unwrap(), second);
        assert_eq!(s.ready_pods(&second, 1).await.remove(0).uid(), new.uid());
    });
}

#[test]
fn refresh_is_a_new_revision_of_the_same_spec() {
    scenario("refresh").run(async |s| {
        let first = promote(s, &podinfo("web", "1.0.0")).await;
        s.annotate("web", "microservice.dev/refresh", &first).await;
        let after = s
            .wait_for("web", "to be refreshed", |found| {
                found.is_healthy() && found.stable().as_deref() != Some(first.as_str())
            })
            .await;
        assert_eq!(after.said().history[0].outcome, "Promoted");
        assert_eq!(after.said().history[0].seq, 2);
    });
}

#[test]
fn retry_tries_a_rejected_revision_again() {
    scenario("retry").real_pods().run(async |s| {
        let good = podinfo("web", "1.0.0");
        promote(s, &good).await;
        // It waits for a file that comes later, which no health check can know.
        let bad = e2e::misbehave("web", "2.0.0")
            .env("READY", "false")
            .spec(json!({"strategy": {"progressDeadlineSeconds": 3}}));
        s.apply(&bad).await;
        let back = s.taken_back("web").await;
        let candidate = back.candidate().unwrap();
        assert_eq!(back.said().rollout.unwrap().trial, 1);
        // A re-sync of the same manifest, a restart of the operator and an edit of something else try nothing.
        s.apply(&bad).await;
        s.restart_operator().await;
        s.apply(
            &bad.clone()
                .spec(json!({"commonLabels": {"team": "a"}, "strategy": {"progressDeadlineSeconds": 60}})),
        )
        .await;
        s.wait_for("web", "to be held still", |found| found.is_taken_back())
            .await;
        throughout(Duration::from_secs(2), "the rejection", async || {
            match s.find::<Deployment>(&candidate).await {
                None => Ok(()),
                Some(found) => Err(format!("a Deployment {}", found.name_any())),
            }
        })
        .await;
        // What was rejected for another trial than the annotation names stays so; the right name tries it.
        s.annotate("web", "microservice.dev/retry", &format!("{candidate}/7"))
            .await;
        s.annotate("web", "microservice.dev/retry", &format!("{candidate}/1"))
            .await;
        s.wait_for("web", "to be tried again", |found| {
            found
                .said()
                .rollout
                .is_some_and(|rollout| rollout.trial == 2 && rollout.state == RolloutState::Rolling)
        })
        .await;
        let pod = eventually("its pod to run", async || {
            let pods = s.pods_of(&candidate).await;
            let running = |pod: &Pod| {
                pod.status
                    .as_ref()
                    .is_some_and(|status| status.phase.as_deref() == Some("Running"))
            };
            pods.into_iter().find(running).ok_or_else(|| "no".to_owned())
        })
        .await;
        s.tell(&pod, "/ready?value=true").await;
        assert_eq!(s.healthy("web").await.stable().unwrap(), candidate);
    });
}

#[test]
fn a_persons_rollback_stays() {
    scenario("rollback-to").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let two = one.clone().version("1.1.0");
        let first = promote(s, &one).await;
        let second = promote(s, &two).await;
        let load = s.load("web").await;
        let value = format!("{second}/{first}");
        s.annotate("web", "microservice.dev/rollback", &value).await;
        let back = s.taken_back("web").await;
        assert_eq!(back.stable().unwrap(), first);
        let cause = back.said().rollout.unwrap().cause.unwrap();
        assert_eq!(
            (cause.blame, cause.reason.as_str()),
            (Blame::Person, "RollbackRequested")
        );
        let command = &back.said().commands[0];
        assert_eq!(
            (command.verb.as_str(), command.value.as_str()),
            ("rollback", value.as_str())
        );
        s.assert_served_by("web", "1.0.0").await;
        load.stop().assert_spotless();
        s.event("RolledBack", "a person asked to leave").await;
        // It survives a re-sync of the same manifest, a restart of the operator and an edit of something else.
        s.apply(&two).await;
        s.restart_operator().await;
        s.apply(&two.clone().spec(json!({"replicas": 3}))).await;
        s.wait_for("web", "to stay", |found| {
            found.is_taken_back() && found.said().ready.as_deref() == Some("3/3")
        })
        .await;
        assert_eq!(s.service("web").await.stable().unwrap(), first);
        s.assert_served_by("web", "1.0.0").await;
        // A new revision goes out as ever.
        let third = promote(s, &two.version("2.0.0")).await;
        assert!(third != first && third != second);
    });
}

#[test]
fn a_renamed_port_and_a_dropped_rule_leave_the_old_revision_served() {
    scenario("additive").real_pods().run(async |s| {
        let rule = |port: i32| json!({"ports": [{"port": port}]});
        let good = podinfo("web", "1.0.0").spec(json!({
            "replicas": 2,
            "networkPolicy": {"mode": "IngressAndEgress", "ingress": [{}], "egress": [rule(5432), rule(6379)]},
            "strategy": {"progressDeadlineSeconds": 4},
        }));
        let before = s.deploy(&good).await;
        let stable = before.stable().unwrap();
        let load = s.load("web").await;
        let pods = s.pods_of(&stable).await;
        let bad = good.clone().spec(json!({
            "image": "127.0.0.1:1/none:2.0.0",
            "ports": [{"name": "web", "containerPort": 9898, "servicePort": 80}],
            "probes": {"readiness": {"httpGet": {"path": "/readyz", "port": "web"}}},
            "networkPolicy": {"egress": [rule(5432)]},
        }));
        s.apply(&bad).await;
        let service = s
            .until::<Service>("web", "to have both ports", |found| {
                found.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| ports.len() == 2)
            })
            .await;
        let names: Vec<_> = service.spec.unwrap().ports.unwrap().into_iter().map(|p| (p.name.unwrap(), p.port)).collect();
        assert_eq!(names, [("http".to_owned(), 9898), ("web".to_owned(), 80)]);
        let policies = s.list::<NetworkPolicy>().await;
        let egress = policies[0].spec.as_ref().unwrap().egress.as_ref().unwrap();
        let open: Vec<i32> = egress
            .iter()
            .flat_map(|rule| rule.ports.iter().flatten())
            .filter_map(|port| match port.port {
                Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(number)) => Some(number),
                _ => None,
            })
            .collect();
        assert!(open.contains(&5432) && open.contains(&6379), "{open:?}");
        s.taken_back("web").await;
        load.stop().assert_spotless();
        let after = s.service("web").await;
        assert_eq!(after.stable().unwrap(), stable);
        let uids = |pods: Vec<Pod>| pods.into_iter().filter_map(|pod| pod.uid()).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(uids(s.pods_of(&stable).await), uids(pods), "no pod of the old revision was replaced");
        // The Service is written after the status.
        let service = s
            .until::<Service>("web", "to have the old port alone", |found| {
                found.spec.as_ref().and_then(|spec| spec.ports.as_ref()).is_some_and(|ports| ports.len() == 1)
            })
            .await;
        let ports = service.spec.unwrap().ports.unwrap();
        assert_eq!(ports.iter().map(|p| p.name.clone().unwrap()).collect::<Vec<_>>(), ["http"]);
    });
}

#[test]
fn a_renamed_port_that_works_takes_the_place_of_the_old_one() {
    scenario("rename-port").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        promote(s, &one).await;
        let load = s.load("web").await;
        let two = one.version("1.1.0").spec(json!({
            "ports": [{"name": "web", "containerPort": 9898, "servicePort": 80}],
            "probes": {"readiness": {"httpGet": {"path": "/readyz", "port": "web"}}},
            "strategy": {"bakeSeconds": 3},
        }));
        s.deploy(&two).await;
        // The old port is there until the change has baked.
        let tally = load.stop();
        assert_eq!(tally.versions(), ["1.0.0", "1.1.0"]);
        let service = s
            .until::<Service>("web", "to have the new port alone", |found| {
                found
                    .spec
                    .as_ref()
                    .and_then(|spec| spec.ports.as_ref())
                    .is_some_and(|ports| ports.len() == 1)
            })
            .await;
        assert_eq!(
            service.spec.unwrap().ports.unwrap()[0].name.as_deref(),
            Some("web")
        );
        let address = s.address("web", "web").await;
        eventually("the new port to answer", async || {
            let answer = http_client::get(address, "/").await?;
            if answer.version().as_deref() == Some("1.1.0") {
                Ok(())
            } else {
                Err(answer.body)
            }
        })
        .await;
    });
}

#[test]
fn a_suspended_service_scales_but_does_not_change() {
    scenario("suspend").run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let first = promote(s, &one).await;
        let suspended = one
            .clone()
            .version("1.1.0")
            .spec(json!({"suspend": true, "replicas": 3}));
        s.apply(&suspended).await;
        let found = s
            .wait_for("web", "to be suspended", |found| {
                found.is_current()
                    && found.said().phase == Some(Phase::Suspended)
                    && found.said().ready.as_deref() == Some("3/3")
            })
            .await;
        assert_eq!(found.stable().unwrap(), first);
        assert_eq!(s.list::<Deployment>().await.len(), 1);
        s.ready_pods(&first, 3).await;
        let after = s.deploy(&suspended.spec(json!({"suspend": null}))).await;
        assert_ne!(after.stable().unwrap(), first);
    });
}

#[test]
fn zero_replicas_stop_it_and_a_change_goes_out_when_it_starts() {
    scenario("stopped").run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        let first = promote(s, &one).await;
        s.apply(&one.clone().spec(json!({"replicas": 0}))).await;
        let stopped = s
            .wait_for("web", "to be stopped", |found| {
                found.is_healthy() && found.reason("Available", "False").as_deref() == Some("Stopped")
            })
            .await;
        assert_eq!(stopped.reason("Ready", "True").as_deref(), Some("Stopped"));
        assert_eq!(stopped.said().ready.as_deref(), Some("0/0"));
        s.ready_pods(&first, 0).await;
        // Nothing can be tried out without pods.
        s.apply(&one.clone().version("1.1.0").spec(json!({"replicas": 0})))
            .await;
        let waiting = s
            .wait_for("web", "to say what waits", |found| {
                found.is_current()
                    && found
                        .said()
                        .message
                        .is_some_and(|m| m.contains("goes out when replicas is more than 0"))
            })
            .await;
        assert_eq!(waiting.stable().unwrap(), first);
        let second = promote(s, &one.version("1.1.0")).await;
        assert_ne!(second, first);
        s.ready_pods(&second, 2).await;
    });
}

#[test]
fn a_new_spec_in_the_middle_takes_over() {
    scenario("supersede").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 3}));
        let first = promote(s, &one).await;
        let load = s.load("web").await;
        // It never gets ready, so this rollout is in its middle for as long as we like.
        s.apply(
            &e2e::misbehave("web", "1.1.0")
                .spec(json!({"replicas": 3}))
                .env("READY", "false")
                .spec(json!({
                    "ports": [{"name": "http", "containerPort": 9898}],
                }))
                .env("PORT", "9898"),
        )
        .await;
        let stuck = s.candidate("web").await;
        let last = promote(s, &one.version("2.0.0")).await;
        assert!(last != first && last != stuck);
        load.stop().assert_spotless();
        s.assert_served_by("web", "2.0.0").await;
        let history = s.service("web").await.said().history;
        let outcomes: Vec<_> = history
            .iter()
            .map(|entry| (entry.revision.as_str(), entry.outcome.as_str()))
            .collect();
        assert_eq!(
            outcomes,
            [
                (last.as_str(), "Promoted"),
                (stuck.as_str(), "Superseded"),
                (first.as_str(), "Promoted")
            ]
        );
        assert_eq!(s.pods_of(&stuck).await.len(), 0);
    });
}

#[test]
fn a_new_spec_while_it_bakes_goes_back_first() {
    scenario("bake-edit").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2, "strategy": {"bakeSeconds": 60}}));
        let first = promote(s, &one).await;
        let load = s.load("web").await;
        s.apply(&one.clone().version("1.1.0")).await;
        s.wait_for("web", "to bake", |found| {
            found.is_current() && found.state() == Some(RolloutState::Baking)
        })
        .await;
        // Back to what was before the change.
        let back = promote(s, &one).await;
        assert_eq!(back, first);
        s.assert_served_by("web", "1.0.0").await;
        load.stop().assert_spotless();
        assert_eq!(s.service("web").await.said().history[0].outcome, "Superseded");
    });
}

#[test]
fn scaling_in_the_middle_of_a_rollout_is_heeded() {
    scenario("scale-amid").real_pods().run(async |s| {
        let one = podinfo("web", "1.0.0").spec(json!({"replicas": 2}));
        promote(s, &one).await;
        let load = s.load("web").await;
        s.apply(&one.clone().version("1.1.0")).await;
        s.candidate("web").await;
        let after = s.deploy(&one.version("1.1.0").spec(json!({"replicas": 4}))).await;
        s.ready_pods(&after.stable().unwrap(), 4).await;
        load.stop().assert_spotless();
    });
}
