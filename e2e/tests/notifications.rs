//! Who is told what becomes of rollouts: each platform once for each transition, also where the operator is restarted.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use e2e::environment::say;
use e2e::release::{abort, by_hand, canary, in_force, promote};
use e2e::status::StatusExt;
use e2e::webhook::{Delivery, Receiver};
use e2e::{Scenario, eventually, podinfo, scenario};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

/// The kinds of receivers, each at a path of its own.
const KINDS: [&str; 7] = [
    "slack",
    "teams",
    "weCom",
    "dingTalk",
    "feishu",
    "webhook",
    "alertmanager",
];

/// A Secret with an address for each kind. The words in it must be seen nowhere.
async fn secret(s: &Scenario, receiver: &Receiver) {
    let mut data: BTreeMap<String, String> = KINDS
        .iter()
        .map(|kind| {
            (
                (*kind).to_owned(),
                receiver.url(&format!("/{kind}?access_token=s3cret")),
            )
        })
        .collect();
    // Its path is added by the operator.
    data.insert("alertmanager".to_owned(), receiver.url("/alertmanager"));
    data.insert("secret".to_owned(), "s3cret-key".to_owned());
    s.create::<Secret>(json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "chat"}, "stringData": data,
    }))
    .await;
}

/// All kinds, told of everything.
fn notifications() -> Value {
    KINDS
        .iter()
        .map(|kind| {
            let key = |key: &str| json!({"name": "chat", "key": key});
            let mut settings = json!({"urlFrom": key(kind)});
            match *kind {
                "dingTalk" | "feishu" => settings["secretFrom"] = key("secret"),
                "webhook" | "alertmanager" => settings["tokenFrom"] = key("secret"),
                _ => {}
            }
            json!({"name": kind.to_lowercase(), *kind: settings})
        })
        .collect()
}

/// What came for a kind, in order.
fn came(receiver: &Receiver, kind: &str) -> Vec<Delivery> {
    let ours = |path: &str| path.split('/').nth(1) == Some(kind);
    let all = receiver.deliveries().into_iter();
    all.filter(|delivery| ours(&delivery.path)).collect()
}

/// The events that the receiver of CloudEvents was told.
fn told(receiver: &Receiver) -> Vec<String> {
    let events = came(receiver, "webhook").into_iter();
    let name = |delivery: Delivery| delivery.body["data"]["event"].as_str().map(str::to_owned);
    events.filter_map(name).collect()
}

/// Waits until everybody was told so many things, and the status says that nothing is left to tell.
async fn all_told(s: &Scenario, receiver: &Receiver, count: usize) {
    eventually("everybody to be told", async || {
        let counts: Vec<usize> = KINDS.iter().map(|kind| came(receiver, kind).len()).collect();
        if counts.iter().all(|found| *found >= count) {
            Ok(())
        } else {
            Err(format!("{counts:?}, {:?}", told(receiver)))
        }
    })
    .await;
    s.wait_for("web", "to have nothing left to tell", |found| {
        found.said().notifications.is_empty()
    })
    .await;
}

#[test]
fn everybody_is_told_of_a_release_and_a_rollback_once_also_across_a_restart() {
    scenario("notifications").real_pods().run(async |s| {
        let receiver = Receiver::start(&[200]).await;
        secret(s, &receiver).await;
        let first = podinfo("web", "1.0.0")
            .spec(json!({"replicas": 2, "notifications": notifications()}))
            .spec(canary(by_hand(&[50])));
        s.deploy(&first).await;
        all_told(s, &receiver, 2).await;

        s.apply(&first.clone().version("1.1.0")).await;
        in_force(s, "web", 1).await;
        all_told(s, &receiver, 4).await;
        s.restart_operator().await;
        let found = s.service("web").await;
        promote(s, &found).await;
        let stable = s.healthy("web").await.stable().unwrap();
        all_told(s, &receiver, 5).await;

        s.apply(&first.clone().version("1.1.0").env("RELEASE", "3")).await;
        let found = in_force(s, "web", 1).await;
        let rejected = found.candidate().unwrap();
        all_told(s, &receiver, 7).await;
        abort(s, &found).await;
        s.taken_back("web").await;
        all_told(s, &receiver, 8).await;
        // Another process has nothing to add.
        s.restart_operator().await;
        s.apply(&first.clone().version("1.1.0")).await;
        s.healthy("web").await;

        let story = [
            "Started",
            "Promoted",
            "Started",
            "Waiting",
            "Promoted",
            "Started",
            "Waiting",
            "RolledBack",
        ];
        assert_eq!(told(&receiver), story);
        for kind in KINDS {
            let came = came(&receiver, kind);
            assert_eq!(came.len(), story.len(), "{kind}");
            assert!(came.iter().all(|delivery| delivery.method == "POST"), "{kind}");
            let last = &came[7].body;
            let text = match kind {
                "slack" => &last["blocks"][1]["text"]["text"],
                "teams" => &last["attachments"][0]["content"]["body"][1]["inlines"][0]["text"],
                "weCom" => &last["markdown"]["content"],
                "dingTalk" => &last["markdown"]["text"],
                "feishu" => &last["card"]["elements"][0]["text"]["content"],
                "webhook" => &last["data"]["message"],
                _ => &last[0]["annotations"]["description"],
            };
            let text = text.as_str().unwrap_or_else(|| panic!("{kind}: {last}"));
            for words in [rejected.as_str(), stable.as_str(), "aborted"] {
                assert!(text.contains(words), "{kind}: {text}");
            }
        }
        let ids: Vec<Value> = came(&receiver, "webhook")
            .into_iter()
            .map(|delivery| delivery.body["id"].clone())
            .collect();
        let different: std::collections::BTreeSet<String> = ids.iter().map(Value::to_string).collect();
        assert_eq!(different.len(), ids.len(), "{ids:?}");
        let alerts = came(&receiver, "alertmanager");
        assert!(
            alerts
                .iter()
                .all(|delivery| delivery.path == "/alertmanager/api/v2/alerts")
        );
        assert_eq!(alerts[7].headers["authorization"], "Bearer s3cret-key");
        for reason in ["NotificationLost", "NotificationFailed", "NotificationDropped"] {
            assert_eq!(s.notes(reason).await, [""; 0]);
        }
        nothing_of_the_secret_is_seen(s).await;
    });
}

#[test]
fn what_was_being_sent_when_the_operator_died_is_not_sent_again_and_that_is_said() {
    scenario("notifications-lost").real_pods().run(async |s| {
        // Nobody takes anything, so that all of it is between two tries.
        let receiver = Receiver::start(&[503]).await;
        secret(s, &receiver).await;
        let first = podinfo("web", "1.0.0").spec(json!({"replicas": 1, "notifications": notifications()}));
        s.deploy(&first).await;
        eventually("everybody to be tried", async || {
            let silent: Vec<&&str> = KINDS
                .iter()
                .filter(|kind| came(&receiver, kind).is_empty())
                .collect();
            if silent.is_empty() {
                Ok(())
            } else {
                Err(format!("{silent:?}"))
            }
        })
        .await;
        s.kill_operator().await;
        // What it had sent by then comes still.
        let mut seen = (Vec::new(), Instant::now());
        let before: Vec<usize> = eventually("what was on its way to come", async || {
            let counts: Vec<usize> = KINDS.iter().map(|kind| came(&receiver, kind).len()).collect();
            if counts != seen.0 {
                seen = (counts, Instant::now());
            }
            if seen.1.elapsed() >= Duration::from_secs(1) {
                Ok(seen.0.clone())
            } else {
                Err(format!("{:?}", seen.0))
            }
        })
        .await;
        s.restart_operator().await;
        s.event("NotificationLost", "slack may not have been told").await;
        let page = s.page("/metrics").await;
        assert!(
            page.contains("microservice_operator_notifications_total{kind=\"Slack\",result=\"Lost\"} 1"),
            "{page}"
        );
        // What comes next is told: that the first revision was promoted.
        eventually("the next thing to be told", async || {
            let silent: Vec<&&str> = KINDS
                .iter()
                .zip(&before)
                .filter(|(kind, before)| came(&receiver, kind).len() <= **before)
                .map(|(kind, _)| kind)
                .collect();
            if silent.is_empty() {
                Ok(())
            } else {
                Err(format!("{silent:?}"))
            }
        })
        .await;
        let after = told(&receiver).split_off(before[5]);
        assert!(after.iter().all(|event| event == "Promoted"), "{after:?}");
        say(&format!(
            "measured: {}: {before:?} tries before, {after:?} after",
            s.name
        ));
        nothing_of_the_secret_is_seen(s).await;
    });
}

async fn nothing_of_the_secret_is_seen(s: &Scenario) {
    let found = s.service("web").await;
    assert!(!serde_json::to_string(&found.status).unwrap().contains("s3cret"));
    for line in s.log().await {
        assert!(!line.to_string().contains("s3cret"), "{line}");
    }
    for reason in ["NotificationLost", "NotificationFailed"] {
        for note in s.notes(reason).await {
            assert!(!note.contains("s3cret"), "{note}");
        }
    }
}
