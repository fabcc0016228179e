//! The rules of [`super::assess`], one table a rule, with the kubelet's real words.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::DeploymentCondition;
use proptest::prelude::*;
use serde_json::json;

use super::fixtures::{PodFixture, at, end, failure};
use super::*;
use crate::api::Blame;

const NOW: i64 = 1000;

fn limits() -> Limits {
    Limits::from(&crate::api::Strategy::default())
}

fn carrying(candidate: &[PodSnapshot], stable: &[PodSnapshot]) -> Assessment {
    assess(candidate, stable, &limits(), Traffic::Carrying, at(NOW))
}

fn idle(candidate: &[PodSnapshot]) -> Assessment {
    assess(candidate, &[], &limits(), Traffic::None, at(NOW))
}

fn fault(blame: Blame, reason: &str, message: &str) -> Assessment {
    Assessment::Fault(Fault {
        blame,
        reason: reason.into(),
        message: message.into(),
    })
}

/// Ready pods by the names p0, p1, ...
fn ready(count: usize) -> Vec<PodSnapshot> {
    (0..count)
        .map(|n| PodFixture::ready(&format!("p{n}")).snapshot())
        .collect()
}

/// Ready pods, the first of which have failed exits while serving.
fn serving_failures(pods: usize, failed: &[i32]) -> Vec<PodSnapshot> {
    let mut pods = ready(pods);
    for (pod, failed) in pods.iter_mut().zip(failed) {
        pod.containers[0].failed.serving = *failed;
        let end = failure(900);
        pod.containers[0].last_exit = PodFixture::ready("x").restarted(1, end).snapshot().containers[0]
            .last_exit
            .clone();
    }
    pods
}

/// Ready pods, the first of which lost their readiness at the given seconds.
fn unready(pods: usize, since: &[i64]) -> Vec<PodSnapshot> {
    let mut pods = ready(pods);
    for (n, since) in since.iter().enumerate() {
        pods[n] = PodFixture::ready(&format!("p{n}")).unready(*since).snapshot();
    }
    pods
}

fn starting(reason: &str, message: &str) -> Vec<PodSnapshot> {
    vec![PodFixture::starting("p0").waiting(reason, message).snapshot()]
}

fn unschedulable(name: &str, since: i64) -> PodFixture {
    let condition = json!([{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": at(since),
        "message": "0/3 nodes are available: 3 Insufficient cpu.",
    }]);
    PodFixture::ready(name)
        .with("/spec/nodeName", json!(null))
        .with("/status", json!({"phase": "Pending", "conditions": condition}))
}

#[test]
fn healthy_pods_and_no_pods_are_fine() {
    assert_eq!(carrying(&ready(3), &ready(3)), Assessment::Fine);
    assert_eq!(carrying(&[], &[]), Assessment::Fine);
    let creating = PodFixture::starting("p0")
        .waiting("ContainerCreating", "")
        .snapshot();
    assert_eq!(idle(&[creating]), Assessment::Fine);
}

#[test]
fn a_crash_loop_is_a_fault_at_once_and_speaks_the_containers_words() {
    let broken = PodFixture::starting("p0").crash_loop(1, failure(6)).snapshot();
    let mut pods = ready(3);
    pods[0] = broken;
    let expected = fault(
        Blame::Candidate,
        "CrashLoopBackOff",
        "crash loop in 1 of 3 pods; pod p0, container orders, 2 failed exits, last exit code 1 (Error): panic: no database",
    );
    assert_eq!(carrying(&pods, &[]), expected);
    assert_eq!(idle(&pods), expected);
}

#[test]
fn a_pod_counts_once_however_many_of_its_containers_crash() {
    let mut pod = PodFixture::starting("p0").crash_loop(1, failure(6)).snapshot();
    pod.containers.push(pod.containers[0].clone());
    assert!(
        matches!(idle(&[pod]), Assessment::Fault(f) if f.message.starts_with("crash loop in 1 of 1 pods;"))
    );
}

#[test]
fn a_crash_loop_of_clean_exits_is_one_too() {
    let pod = PodFixture::starting("p0")
        .crash_loop(2, end(0, "Completed", "", 6))
        .snapshot();
    let expected =
        "crash loop in 1 of 1 pods; pod p0, container orders, 0 failed exits, last exit code 0 (Completed)";
    assert_eq!(
        idle(&[pod]),
        fault(Blame::Candidate, "CrashLoopBackOff", expected)
    );
}

#[test]
fn init_containers_and_sidecars_crash_like_the_main_one() {
    for (restart_policy, noun) in [(json!(null), "init container"), (json!("Always"), "sidecar")] {
        let mut end = failure(6);
        end["containerID"] = json!("containerd://i");
        let pod = PodFixture::starting("p0")
            .waiting("PodInitializing", "")
            .with("/spec/initContainers", json!([{"name": "schema", "restartPolicy": restart_policy}]))
            .with(
                "/status/initContainerStatuses",
                json!([{
                    "name": "schema", "image": "", "imageID": "", "ready": false, "restartCount": 1, "containerID": "containerd://i",
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}}, "lastState": {"terminated": end},
                }]),
            );
        let expected = format!(
            "crash loop in 1 of 1 pods; pod p0, {noun} schema, 2 failed exits, last exit code 1 (Error): panic: no database"
        );
        assert_eq!(
            idle(&[pod.snapshot()]),
            fault(Blame::Candidate, "CrashLoopBackOff", &expected)
        );
    }
}

#[test]
fn failed_exits_while_serving_count_above_the_limit() {
    assert_eq!(carrying(&serving_failures(4, &[1]), &[]), Assessment::Fine);
    let expected = |failed, allowed, pods, total, each| {
        let exits = if each == 1 {
            "1 failed exit"
        } else {
            "2 failed exits"
        };
        let message = format!(
            "{failed} failed exits while carrying traffic ({allowed} allowed) in {pods} of {total} pods; \
             pod p0, container orders, {exits}, last exit code 1 (Error): panic: no database"
        );
        fault(Blame::Candidate, "TooManyCrashes", &message)
    };
    assert_eq!(carrying(&serving_failures(4, &[2]), &[]), expected(2, 1, 1, 4, 2));
    assert_eq!(
        carrying(&serving_failures(4, &[1, 1]), &[]),
        expected(2, 1, 2, 4, 1)
    );
    // 2 % of 99 pods is less than 2, of 150 pods it is 3.
    assert_eq!(
        carrying(&serving_failures(99, &[1, 1]), &[]),
        expected(2, 1, 2, 99, 1)
    );
    assert_eq!(
        carrying(&serving_failures(150, &[1, 1, 1]), &[]),
        Assessment::Fine
    );
    assert_eq!(
        carrying(&serving_failures(150, &[1, 1, 1, 1]), &[]),
        expected(4, 3, 4, 150, 1)
    );
}

#[test]
fn max_crashes_is_the_users() {
    let with = |max| Limits {
        max_crashes: Some(max),
        ..limits()
    };
    let judge = |failed: &[i32], max| {
        assess(
            &serving_failures(4, failed),
            &[],
            &with(max),
            Traffic::Carrying,
            at(NOW),
        )
    };
    assert_eq!(judge(&[2, 3], 5), Assessment::Fine);
    assert!(
        matches!(judge(&[2, 4], 5), Assessment::Fault(f) if f.message.starts_with(
            "6 failed exits while carrying traffic (5 allowed) in 2 of 4 pods; pod p1, container orders, 4 failed exits"
        ))
    );
    assert!(matches!(judge(&[1], 0), Assessment::Fault(_)));
    assert_eq!(judge(&[0], 0), Assessment::Fine);
}

#[test]
fn before_traffic_the_third_failed_exit_of_one_container_is_a_fault() {
    let failed = |before, serving| {
        let mut pods = serving_failures(2, &[serving]);
        pods[0].containers[0].failed.before = before;
        pods
    };
    assert_eq!(idle(&failed(2, 0)), Assessment::Fine);
    assert_eq!(
        idle(&failed(0, 2)),
        Assessment::Fine,
        "no traffic, so no maxCrashes"
    );
    assert_eq!(
        idle(&serving_failures(3, &[2, 2, 2])),
        Assessment::Fine,
        "not of one container"
    );
    let expected = fault(
        Blame::Candidate,
        "TooManyCrashes",
        "repeated failed exits before carrying traffic in 1 of 2 pods; pod p0, container orders, 3 failed exits, \
         last exit code 1 (Error): panic: no database",
    );
    assert_eq!(idle(&failed(3, 0)), expected);
    assert_eq!(idle(&failed(2, 1)), expected);
    // A pod that never became ready fails by the same rule while its siblings carry traffic.
    assert_eq!(carrying(&failed(3, 0), &[]), expected);
    assert_eq!(carrying(&failed(2, 1), &[]), Assessment::Fine);
}

#[test]
fn an_oom_kill_is_a_failed_exit() {
    let mut pods = vec![
        PodFixture::ready("p0")
            .restarted(2, end(137, "OOMKilled", "", 50))
            .snapshot(),
    ];
    pods[0].containers[0].failed.serving = 2;
    let expected = "2 failed exits while carrying traffic (1 allowed) in 1 of 1 pods; pod p0, container orders, \
                    2 failed exits, last exit code 137 (OOMKilled)";
    assert_eq!(
        carrying(&pods, &[]),
        fault(Blame::Candidate, "TooManyCrashes", expected)
    );
}

#[test]
fn an_exit_that_nobody_watched_counts_when_it_was_under_traffic() {
    // The container failed at 900 and is ready again; whoever counts was away meanwhile.
    let pods = [PodFixture::ready("p0").restarted(1, failure(900)).snapshot()];
    let judge = |since| {
        let limits = Limits {
            max_crashes: Some(0),
            serving_since: since,
            ..limits()
        };
        assess(&pods, &[], &limits, Traffic::Carrying, at(NOW))
    };
    assert_eq!(judge(None), Assessment::Fine);
    assert_eq!(
        judge(Some(at(901))),
        Assessment::Fine,
        "before all pods carried traffic"
    );
    assert!(matches!(judge(Some(at(900))), Assessment::Fault(fault) if fault.reason == "TooManyCrashes"));
}

#[test]
fn readiness_lost_by_more_than_a_quarter_and_more_than_one_is_a_fault_after_the_window() {
    // (pods, lost): the window is 3 x 2 s.
    for (pods, lost) in [(2, 1), (3, 1), (4, 1), (8, 2), (12, 3)] {
        assert_eq!(
            carrying(&unready(pods, &vec![NOW - 60; lost]), &[]),
            Assessment::Fine,
            "{lost} of {pods}"
        );
    }
    for (pods, lost) in [(1, 1), (2, 2), (3, 2), (4, 2), (5, 2), (7, 2), (8, 3), (12, 4)] {
        let message = format!(
            "readiness lost for over 6 s by {lost} of {pods} pods; pod p0: containers with unready status: [orders]"
        );
        let expected = fault(Blame::Candidate, "ReadinessLost", &message);
        assert_eq!(carrying(&unready(pods, &vec![NOW - 60; lost]), &[]), expected);
    }
}

#[test]
fn readiness_is_watched_until_the_pod_that_tips_it_is_due() {
    let watching = |since: &[i64]| carrying(&unready(4, since), &[]);
    assert_eq!(
        watching(&[NOW - 60, NOW - 3]),
        Assessment::Watching { recheck: at(NOW + 3) }
    );
    assert_eq!(
        watching(&[NOW - 1, NOW - 2, NOW - 3]),
        Assessment::Watching { recheck: at(NOW + 4) }
    );
    assert_eq!(
        watching(&[NOW - 60, NOW - 5]),
        Assessment::Watching { recheck: at(NOW + 1) }
    );
    assert!(matches!(watching(&[NOW - 60, NOW - 6]), Assessment::Fault(_)));
}

#[test]
fn the_message_counts_the_pods_that_are_due() {
    let pods = unready(4, &[NOW - 60, NOW - 60, NOW - 3]);
    let counted = |f: &Fault| {
        f.message
            .starts_with("readiness lost for over 6 s by 2 of 4 pods; pod p0:")
    };
    assert!(matches!(carrying(&pods, &[]), Assessment::Fault(f) if counted(&f)));
}

#[test]
fn the_next_of_several_clocks_is_waited_for() {
    let pods = [
        unschedulable("p0", NOW - 1).snapshot(),
        PodFixture::starting("p1")
            .condition("PodScheduled", "True", at(NOW - 1))
            .waiting("CreateContainerConfigError", r#"secret "s" not found"#)
            .snapshot(),
    ];
    assert_eq!(
        idle(&pods),
        Assessment::Watching {
            recheck: at(NOW + 29)
        }
    );
}

#[test]
fn a_pod_that_was_never_ready_has_lost_nothing() {
    let pods: Vec<_> = (0..4)
        .map(|n| PodFixture::starting(&format!("p{n}")).snapshot())
        .collect();
    assert_eq!(carrying(&pods, &[]), Assessment::Fine);
}

#[test]
fn the_readiness_window_is_the_main_containers_probes() {
    let pod = PodFixture::ready("p0");
    assert_eq!(pod.snapshot().readiness_window.as_secs(), 6);
    let slow = pod.clone().with(
        "/spec/containers",
        json!([{"name": "proxy"}, {"name": "orders", "readinessProbe": {"failureThreshold": 5, "periodSeconds": 7}}]),
    );
    assert_eq!(slow.snapshot().readiness_window.as_secs(), 35);
    assert_eq!(
        pod.with("/spec/containers", json!([{"name": "orders"}]))
            .snapshot()
            .readiness_window
            .as_secs(),
        30
    );
}

/// Texts of Kubernetes 1.35 and containerd, the verdict, and whether it takes 10 s.
#[test]
fn containers_that_cannot_start() {
    let candidate = [
        (
            "InvalidImageName",
            r#"Failed to apply default image tag "Orders:2": couldn't parse image name "Orders:2": invalid reference format: repository name (library/Orders) must be lowercase"#,
            "InvalidImageName",
            0,
        ),
        (
            "ErrImagePull",
            r#"rpc error: code = NotFound desc = failed to pull and unpack image "r.example/orders:2": failed to resolve reference "r.example/orders:2": r.example/orders:2: not found"#,
            "ImageNotFound",
            0,
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "r.example/orders:2": ErrImagePull: rpc error: code = NotFound desc = failed to pull and unpack image "r.example/orders:2": failed to resolve reference "r.example/orders:2": r.example/orders:2: not found"#,
            "ImageNotFound",
            0,
        ),
        (
            "ErrImagePull",
            r#"failed to resolve reference "r.example/orders:2": r.example/orders:2: not found"#,
            "ImageNotFound",
            0,
        ),
        (
            "ErrImagePull",
            "reading manifest 2 in r.example/orders: manifest unknown",
            "ImageNotFound",
            0,
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key password in Secret shop/orders",
            "CreateContainerConfigError",
            10,
        ),
        (
            "CreateContainerConfigError",
            "couldn't find key url in ConfigMap shop/orders",
            "CreateContainerConfigError",
            10,
        ),
        (
            "CreateContainerConfigError",
            r#"container has runAsNonRoot and image will run as root (pod: "p0_shop(uid-p0)", container: orders)"#,
            "CreateContainerConfigError",
            10,
        ),
        (
            "RunContainerError",
            r#"failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: exec: "/nope": stat /nope: no such file or directory: unknown"#,
            "RunContainerError",
            10,
        ),
        (
            "CreateContainerError",
            r#"failed to generate container "c0" spec: failed to generate spec: no command specified"#,
            "CreateContainerError",
            10,
        ),
        (
            "PostStartHookError",
            "rpc error: code = Unknown desc = command exited with 1",
            "PostStartHookError",
            10,
        ),
    ];
    let environment = [
        (
            "CreateContainerConfigError",
            r#"secret "orders" not found"#,
            "SecretNotFound",
            30,
        ),
        (
            "CreateContainerConfigError",
            r#"configmap "orders" not found"#,
            "ConfigMapNotFound",
            30,
        ),
        (
            "CreateContainerConfigError",
            "services have not yet been read at least once, cannot construct envvars",
            "CreateContainerConfigError",
            10,
        ),
        (
            "CreateContainerConfigError",
            "failed to sync secret cache: timed out waiting for the condition",
            "CreateContainerConfigError",
            10,
        ),
        (
            "CreateContainerError",
            "context deadline exceeded",
            "CreateContainerError",
            10,
        ),
        (
            "CreateContainerError",
            r#"failed to reserve container name "orders_p0": name "orders_p0" is reserved for "c0""#,
            "CreateContainerError",
            10,
        ),
        (
            "ImageInspectError",
            r#"Failed to inspect image "": rpc error: code = Unknown desc = disk"#,
            "ImageInspectError",
            10,
        ),
        (
            "ErrImageNeverPull",
            r#"Container image "orders:2" is not present with pull policy of Never"#,
            "ErrImageNeverPull",
            0,
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "r.example/orders:2""#,
            "ImagePullBackOff",
            0,
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "r.example/orders:2": ErrImagePull: failed to pull and unpack image "r.example/orders:2": failed to resolve reference "r.example/orders:2": failed to do request: Head "https://r.example/v2/orders/manifests/2": dial tcp: lookup r.example: no such host"#,
            "ImagePullBackOff",
            0,
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "orders:2": ErrImagePull: failed to resolve reference "r.example/library/orders:2": pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed"#,
            "ImagePullBackOff",
            0,
        ),
        (
            "ImagePullBackOff",
            r#"Back-off pulling image "orders:2": RegistryUnavailable: image pull failed for orders:2 because the registry is unavailable"#,
            "ImagePullBackOff",
            0,
        ),
    ];
    let cases = candidate
        .map(|c| (Blame::Candidate, c))
        .into_iter()
        .chain(environment.map(|c| (Blame::Environment, c)));
    for (blame, (waiting, words, reason, grace)) in cases {
        let pods = starting(waiting, words);
        let judge = |seconds| assess(&pods, &[], &limits(), Traffic::None, at(seconds));
        let message = format!("{waiting} in 1 of 1 pods; pod p0, container orders: {words}");
        // The container could start at second 2, when its sandbox was there.
        assert_eq!(judge(2 + grace), fault(blame, reason, &message));
        if grace > 0 {
            assert_eq!(
                judge(1 + grace),
                Assessment::Watching {
                    recheck: at(2 + grace)
                },
                "{words}"
            );
        }
    }
}

#[test]
fn a_first_failed_pull_says_nothing_yet() {
    for (reason, words) in [
        (
            "ErrImagePull",
            "failed to do request: Head \"https://r.example/v2/\": dial tcp: lookup r.example: no such host",
        ),
        (
            "ErrImagePull",
            "error getting credentials - err: exec: \"docker-credential-x\": executable file not found in $PATH",
        ),
        (
            "RegistryUnavailable",
            "image pull failed for orders:2 because the registry is unavailable",
        ),
        (
            "SignatureValidationFailed",
            "image pull failed for orders:2 because the signature validation failed",
        ),
    ] {
        assert_eq!(idle(&starting(reason, words)), Assessment::Fine, "{words}");
    }
}

#[test]
fn the_waiting_clock_starts_when_the_container_could_start() {
    let config_error = |pod: PodFixture| pod.waiting("CreateContainerConfigError", r#"secret "s" not found"#);
    let due = |pod: PodFixture| match assess(
        &[config_error(pod).snapshot()],
        &[],
        &limits(),
        Traffic::None,
        at(3),
    ) {
        Assessment::Watching { recheck } => recheck,
        other => panic!("{other:?}"),
    };
    let pod = || PodFixture::starting("p0");
    assert_eq!(due(pod()), at(32), "the sandbox was ready at second 2");
    assert_eq!(
        due(pod().condition("PodReadyToStartContainers", "False", at(0))),
        at(31),
        "started at second 1"
    );
    assert_eq!(
        due(pod().with(
            "/status/containerStatuses/0/lastState",
            json!({"terminated": failure(40)})
        )),
        at(70)
    );
    let init = json!([{
        "name": "schema", "image": "", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": at(30)}},
    }]);
    assert_eq!(due(pod().with("/status/initContainerStatuses", init)), at(60));
}

#[test]
fn a_pod_without_a_node_is_the_environments_fault_after_a_while() {
    let pods = [
        unschedulable("p0", 100).snapshot(),
        PodFixture::ready("p1").snapshot(),
    ];
    let judge = |now| assess(&pods, &[], &limits(), Traffic::Carrying, at(now));
    assert_eq!(judge(399), Assessment::Watching { recheck: at(400) });
    let message = "no node in 300 s for 1 of 2 pods; pod p0: 0/3 nodes are available: 3 Insufficient cpu.";
    assert_eq!(judge(400), fault(Blame::Environment, "Unschedulable", message));
    let quick = Limits {
        unschedulable_seconds: 20,
        ..limits()
    };
    assert!(matches!(
        assess(&pods, &[], &quick, Traffic::Carrying, at(120)),
        Assessment::Fault(_)
    ));
}

#[test]
fn a_gated_pod_is_not_unschedulable() {
    let gated = unschedulable("p0", 0)
        .with("/status/conditions/0/reason", json!("SchedulingGated"))
        .snapshot();
    assert_eq!(gated.scheduling, Scheduling::Pending);
    assert_eq!(carrying(&[gated], &[]), Assessment::Fine);
}

#[test]
fn pods_that_were_ended_by_others_never_count() {
    let broken = PodFixture::starting("p0").crash_loop(4, failure(6));
    assert!(matches!(
        carrying(&[broken.snapshot()], &[]),
        Assessment::Fault(_)
    ));
    let lost = broken.clone().condition("ContainersReady", "True", at(5));
    let cases = [
        (
            Standing::Deleting,
            broken.clone().with("/metadata/deletionTimestamp", json!(at(900))),
        ),
        (
            Standing::Disrupted,
            broken.clone().condition("DisruptionTarget", "True", at(900)),
        ),
        (
            Standing::Ended,
            broken
                .clone()
                .with("/status/phase", json!("Failed"))
                .with("/status/reason", json!("Evicted")),
        ),
        (
            Standing::Ended,
            broken
                .clone()
                .with("/status/phase", json!("Failed"))
                .with("/status/reason", json!("OutOfcpu")),
        ),
        (Standing::NodeNotReady, lost),
    ];
    for (standing, pod) in cases {
        assert_eq!(pod.snapshot().standing, standing);
        assert_eq!(carrying(&[pod.snapshot()], &[]), Assessment::Fine, "{standing:?}");
    }
    let on_lost_node = ExitLedger::default().snapshot(&broken.pod(), NodeReadiness::NotReady);
    assert_eq!(
        (on_lost_node.standing, carrying(&[on_lost_node], &[])),
        (Standing::NodeNotReady, Assessment::Fine)
    );
    let spared = broken.condition("DisruptionTarget", "False", at(900));
    assert!(
        matches!(carrying(&[spared.snapshot()], &[]), Assessment::Fault(_)),
        "the eviction was taken back"
    );
}

#[test]
fn a_closed_readiness_gate_is_not_a_lost_node() {
    let pod = PodFixture::ready("p0")
        .with(
            "/spec/readinessGates",
            json!([{"conditionType": "x.example/open"}]),
        )
        .condition("Ready", "False", at(50));
    assert_eq!(pod.snapshot().standing, Standing::Live);
}

#[test]
fn pods_that_do_not_count_are_not_in_the_share_either() {
    // Two of three that count, but only two of nine in all.
    let mut pods = unready(9, &[NOW - 60, NOW - 60]);
    for pod in &mut pods[3..] {
        pod.standing = Standing::NodeNotReady;
    }
    assert!(matches!(carrying(&pods, &[]), Assessment::Fault(f) if f.message.contains("2 of 3 pods")));
}

#[test]
fn a_symptom_that_stable_shares_is_held() {
    let candidate = unready(4, &[NOW - 60; 4]);
    let share = |lost: usize| carrying(&candidate, &unready(4, &vec![NOW - 1; lost]));
    assert!(matches!(share(0), Assessment::Fault(_)));
    assert!(
        matches!(share(1), Assessment::Fault(_)),
        "a quarter is less than half of all"
    );
    let message = "the stable revision shows the same in 2 of 4 pods: readiness lost for over 6 s by 4 of 4 pods; \
                   pod p0: containers with unready status: [orders]";
    let held = Assessment::Hold {
        reason: "ReadinessLost".into(),
        message: message.into(),
        recheck: None,
    };
    assert_eq!(share(2), held);
}

#[test]
fn the_end_of_a_shared_trouble_gives_the_candidate_one_more_window() {
    // Both lost it at NOW - 60; stable is back since NOW - 1, and its probes' window is 6 s.
    let candidate = unready(2, &[NOW - 60; 2]);
    let stable: Vec<_> = (0..2)
        .map(|n| {
            PodFixture::ready(&format!("s{n}"))
                .ready_since(NOW - 1)
                .snapshot()
        })
        .collect();
    let judge = |now| assess(&candidate, &stable, &limits(), Traffic::Carrying, at(now));
    assert!(matches!(judge(NOW), Assessment::Hold { recheck: Some(at_), .. } if at_ == at(NOW + 5)));
    assert!(matches!(judge(NOW + 5), Assessment::Fault(fault) if fault.reason == "ReadinessLost"));
    // Stable pods that were ready all the while share nothing.
    let untouched: Vec<_> = vec![PodFixture::ready("s0").ready_since(NOW - 61).snapshot()];
    assert!(matches!(carrying(&candidate, &untouched), Assessment::Fault(_)));
}

#[test]
fn another_symptom_of_stable_holds_nothing() {
    let stable = vec![PodFixture::starting("s0").crash_loop(3, failure(900)).snapshot()];
    assert!(
        matches!(carrying(&unready(2, &[NOW - 60; 2]), &stable), Assessment::Fault(f) if f.reason == "ReadinessLost")
    );
}

#[test]
fn a_stable_crash_counts_only_since_the_candidate_is_there() {
    let candidate = vec![
        PodFixture::starting("p0")
            .crash_loop(1, failure(950))
            .with("/metadata/creationTimestamp", json!(at(900)))
            .snapshot(),
    ];
    let stable = |finished| vec![PodFixture::ready("s0").restarted(7, failure(finished)).snapshot()];
    assert!(matches!(carrying(&candidate, &stable(899)), Assessment::Fault(_)));
    assert!(matches!(
        carrying(&candidate, &stable(900)),
        Assessment::Hold { .. }
    ));
    // Where the candidate is older than ten minutes, those of the last ten.
    let old = vec![PodFixture::starting("p0").crash_loop(1, failure(950)).snapshot()];
    assert!(matches!(carrying(&old, &stable(NOW - 601)), Assessment::Fault(_)));
    assert!(matches!(
        carrying(&old, &stable(NOW - 600)),
        Assessment::Hold { .. }
    ));
}

#[test]
fn crashes_of_a_shared_trouble_do_not_become_the_candidates_alone_by_getting_older() {
    let crashed = |name: &str, finished: i64| {
        let mut pod = PodFixture::ready(name).restarted(2, failure(finished)).snapshot();
        pod.containers[0].failed.serving = 2;
        pod
    };
    let judge = |candidate: i64, now: i64| {
        let stable = [crashed("s0", 895)];
        assess(
            &[crashed("p0", candidate)],
            &stable,
            &limits(),
            Traffic::Carrying,
            at(now),
        )
    };
    assert!(matches!(judge(900, NOW), Assessment::Hold { .. }));
    assert!(matches!(judge(900, 900 + 599), Assessment::Hold { .. }));
    assert_eq!(judge(900, 900 + 601), Assessment::Fine);
    // Stable recovered, and long after that the candidate fails by itself.
    assert!(matches!(judge(895 + 601, 1500), Assessment::Fault(_)));
    // Of crashes that stable has no part in none is forgotten.
    let alone = assess(
        &[crashed("p0", 900)],
        &ready(1),
        &limits(),
        Traffic::Carrying,
        at(5000),
    );
    assert!(matches!(alone, Assessment::Fault(_)));
}

#[test]
fn a_stable_crash_loop_of_clean_exits_is_shared_too() {
    let broken = |name: &str| {
        vec![
            PodFixture::starting(name)
                .crash_loop(2, end(0, "Completed", "", 900))
                .snapshot(),
        ]
    };
    assert!(matches!(
        carrying(&broken("p0"), &broken("s0")),
        Assessment::Hold { .. }
    ));
}

#[test]
fn what_is_not_shared_is_acted_on_although_something_else_is_held() {
    let mut candidate = unready(2, &[NOW - 60; 2]);
    candidate.push(unschedulable("p2", 0).snapshot());
    let stable = unready(2, &[NOW - 60; 2]);
    assert!(matches!(carrying(&candidate, &stable), Assessment::Fault(f) if f.reason == "Unschedulable"));
    candidate[2] = unschedulable("p2", NOW - 100).snapshot();
    assert!(
        matches!(carrying(&candidate, &stable), Assessment::Hold { recheck: Some(at_), .. } if at_ == at(NOW + 200))
    );
}

#[test]
fn a_candidate_fault_goes_before_an_environment_fault() {
    let candidate = [
        unschedulable("p0", 0).snapshot(),
        starting("ImagePullBackOff", "Back-off pulling image").remove(0),
        PodFixture::starting("p2")
            .waiting("CreateContainerConfigError", "couldn't find key a in Secret s/o")
            .snapshot(),
    ];
    assert!(matches!(idle(&candidate), Assessment::Fault(f) if f.reason == "CreateContainerConfigError"));
    assert!(matches!(idle(&candidate[..2]), Assessment::Fault(f) if f.reason == "ImagePullBackOff"));
}

#[test]
fn a_long_last_word_is_cut_within_the_message() {
    let words = "数据库".repeat(2000);
    let pod = PodFixture::starting("p0")
        .crash_loop(1, end(1, "Error", &words, 6))
        .snapshot();
    let Assessment::Fault(fault) = idle(&[pod]) else {
        panic!("no fault")
    };
    assert!(fault.message.len() <= 1024, "{}", fault.message.len());
    assert!(fault.message.starts_with("crash loop in 1 of 1 pods; pod p0, container orders, 2 failed exits, last exit code 1 (Error): 数据库数"));
}

#[test]
fn a_deployment_that_cannot_make_pods_is_the_environments_fault() {
    let condition = |type_: &str, status: &str, reason: &str, message: &str| DeploymentCondition {
        type_: type_.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        ..DeploymentCondition::default()
    };
    let quota =
        r#"pods "p0" is forbidden: exceeded quota: compute, requested: cpu=1, used: cpu=4, limited: cpu=4"#;
    let expected = |reason: &str, words: &str| {
        Some(Fault {
            blame: Blame::Environment,
            reason: reason.into(),
            message: format!("pods cannot be created: {words}"),
        })
    };
    let progressing = condition("Progressing", "False", "ProgressDeadlineExceeded", "");
    let failure = |reason, message| {
        [
            progressing.clone(),
            condition("ReplicaFailure", "True", reason, message),
        ]
    };
    assert_eq!(
        replica_failure(&failure("FailedCreate", quota)),
        expected("QuotaExceeded", quota)
    );
    assert_eq!(
        replica_failure(&failure("FailedCreate", "webhook down")),
        expected("FailedCreate", "webhook down")
    );
    assert_eq!(replica_failure(&failure("FailedDelete", "x")), None);
    assert_eq!(
        replica_failure(&[condition("ReplicaFailure", "False", "FailedCreate", quota)]),
        None
    );
    assert_eq!(replica_failure(&[]), None);
}

#[test]
fn pods_are_counted_as_the_engine_counts_them() {
    let mut pods = ready(5);
    pods[0].standing = Standing::Deleting;
    pods[1].standing = Standing::Ended;
    pods[2] = PodFixture::starting("p2").snapshot();
    assert_eq!(
        readiness(&pods),
        Counts {
            live: 3,
            ready: 2,
            terminating: 1
        }
    );
    assert_eq!(readiness([]), Counts::default());
}

#[test]
fn a_snapshot_reads_what_the_pod_says() {
    let pod = PodFixture::ready("p0").snapshot();
    assert_eq!(pod.revision, "orders-b");
    assert_eq!(pod.role, Some(crate::api::Role::Candidate));
    assert_eq!(
        (pod.node.as_deref(), pod.uid.as_str()),
        (Some("node-1"), "uid-p0")
    );
    assert_eq!((pod.created, pod.started), (at(0), Some(at(1))));
    assert_eq!(pod.readiness, Readiness::Ready { since: at(5) });
    assert_eq!(pod.scheduling, Scheduling::Scheduled);
    assert_eq!(pod.image_id(), Some("orders@sha256:22"));
    assert!(pod.counted());
    let adopted =
        PodFixture::ready("p0").with("/metadata/labels", json!({"app.kubernetes.io/instance": "other"}));
    assert_eq!(
        adopted.snapshot().image_id(),
        Some("orders@sha256:22"),
        "the first container, where none is named so"
    );
}

#[test]
fn an_empty_pod_is_read_without_harm() {
    let pod = ExitLedger::default().snapshot(
        &k8s_openapi::api::core::v1::Pod::default(),
        NodeReadiness::Unknown,
    );
    assert_eq!(pod.created, Timestamp::UNIX_EPOCH);
    assert_eq!(pod.readiness_window.as_secs(), 30);
    assert_eq!(idle(&[pod]), Assessment::Fine);
}

/// A pod in any of the shapes above.
fn any_pod() -> impl Strategy<Value = PodSnapshot> {
    (0..9_usize, 0..1200_i64, 0..4_i32, 0..6_usize, 0..30_usize).prop_map(
        |(shape, second, failed, standing, name)| {
            let name = format!("p{name}");
            let pod = match shape {
                0 | 1 => PodFixture::ready(&name),
                2 => PodFixture::ready(&name).unready(second),
                3 => PodFixture::starting(&name).crash_loop(failed, failure(second)),
                4 => unschedulable(&name, second),
                5 => PodFixture::starting(&name)
                    .waiting("CreateContainerConfigError", r#"secret "s" not found"#),
                6 => PodFixture::starting(&name).waiting("ImagePullBackOff", "Back-off pulling image"),
                7 => PodFixture::starting(&name).waiting("RunContainerError", "exec: no such file"),
                _ => PodFixture::ready(&name).restarted(failed, failure(second)),
            };
            let mut pod = pod.snapshot();
            if let Some(container) = pod.containers.first_mut() {
                container.failed.serving = failed;
            }
            pod.standing = [
                Standing::Live,
                Standing::Live,
                Standing::NodeNotReady,
                Standing::Disrupted,
                Standing::Ended,
                Standing::Deleting,
            ][standing];
            pod
        },
    )
}

/// Pods as one namespace can hold them: no two of one name.
fn any_pods() -> impl Strategy<Value = Vec<PodSnapshot>> {
    proptest::collection::vec(any_pod(), 0..8).prop_map(|mut pods| {
        let mut seen = std::collections::BTreeSet::new();
        pods.retain(|pod| seen.insert(pod.name.clone()));
        pods
    })
}

/// Whether the last failed exit of these pods is older than the ten minutes for which a crash is news.
fn crashed_long_ago(pods: &[PodSnapshot]) -> bool {
    let counted = pods.iter().filter(|pod| pod.counted());
    let exits = counted
        .flat_map(|pod| &pod.containers)
        .filter_map(|container| container.last_exit.as_ref());
    exits
        .filter(|exit| exit.failed())
        .filter_map(|exit| exit.finished_at)
        .max()
        .is_some_and(|last| last < at(NOW - 600))
}

fn any_traffic() -> impl Strategy<Value = Traffic> {
    prop_oneof![Just(Traffic::None), Just(Traffic::Carrying)]
}

proptest! {
    #[test]
    fn no_counted_pods_are_fine(mut pods in any_pods(), stable in any_pods(), traffic in any_traffic()) {
        for pod in pods.iter_mut().filter(|p| p.counted()) {
            pod.standing = Standing::Deleting;
        }
        prop_assert_eq!(assess(&pods, &stable, &limits(), traffic, at(NOW)), Assessment::Fine);
    }

    #[test]
    fn the_order_of_pods_means_nothing(
        (pods, shuffled) in any_pods().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
        stable in any_pods(),
        traffic in any_traffic(),
    ) {
        let mut reversed = stable.clone();
        reversed.reverse();
        prop_assert_eq!(
            assess(&pods, &stable, &limits(), traffic, at(NOW)),
            assess(&shuffled, &reversed, &limits(), traffic, at(NOW)),
        );
    }

    #[test]
    fn stable_can_only_hold(pods in any_pods(), stable in any_pods(), traffic in any_traffic()) {
        let alone = assess(&pods, &[], &limits(), traffic, at(NOW));
        let judged = assess(&pods, &stable, &limits(), traffic, at(NOW));
        let holds = !matches!(alone, Assessment::Hold { .. });
        prop_assert!(holds, "nothing to share a symptom with");
        match (&alone, &judged) {
            (Assessment::Fault(_), Assessment::Fault(_) | Assessment::Hold { .. }) => {}
            // A crash that stable shared is put aside when it is no news any more.
            (Assessment::Fault(fault), Assessment::Fine | Assessment::Watching { .. }) => {
                prop_assert_eq!(fault.reason.as_str(), "TooManyCrashes");
                prop_assert!(crashed_long_ago(&pods));
            }
            (alone, judged) => prop_assert_eq!(alone, judged),
        }
    }

    #[test]
    fn a_healthy_stable_changes_nothing(pods in any_pods(), size in 0..6_usize, traffic in any_traffic()) {
        prop_assert_eq!(
            assess(&pods, &ready(size), &limits(), traffic, at(NOW)),
            assess(&pods, &[], &limits(), traffic, at(NOW)),
        );
    }

    #[test]
    fn a_recheck_lies_ahead_and_decides(pods in any_pods(), traffic in any_traffic()) {
        if let Assessment::Watching { recheck } = assess(&pods, &[], &limits(), traffic, at(NOW)) {
            prop_assert!(recheck > at(NOW));
            let then = assess(&pods, &[], &limits(), traffic, recheck);
            prop_assert!(matches!(then, Assessment::Fault(_)), "{then:?}");
        }
    }

    #[test]
    fn every_message_fits_a_status(pods in any_pods(), stable in any_pods(), words in ".{0,3000}") {
        let mut pods = pods;
        for waiting in pods.iter_mut().flat_map(|p| &mut p.containers).filter_map(|c| c.waiting.as_mut()) {
            waiting.message = words.clone();
        }
        let message = match assess(&pods, &stable, &limits(), Traffic::Carrying, at(NOW)) {
            Assessment::Fault(fault) => fault.message,
            Assessment::Hold { message, .. } => message,
            Assessment::Fine | Assessment::Watching { .. } => String::new(),
        };
        prop_assert!(message.len() <= 1024 && !message.contains('\n'));
    }
}
