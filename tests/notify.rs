//! What each platform is sent: formats that were reviewed, limits, and texts that try to be more than text.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use jiff::Timestamp;
use microservice_operator::api::{Notification, NotificationEvent};
use microservice_operator::notify::{Channel, Credentials, Notice, Request, request};
use proptest::prelude::*;
use serde_json::{Value, json};

/// Chinese, quotes, a line break, tags, mentions, links, braces.
const HOSTILE: &str = "镜像“不存在”: \"app\"\n<script>alert(1)</script> <!channel> <@all> @all [x](http://evil.example) \
                       ![y](http://evil.example/z.png) **bold** `code` {{service}} \\ &amp; \u{7}\u{202e}end";

fn notice(event: NotificationEvent, message: &str) -> Notice {
    Notice {
        service: "orders".into(),
        namespace: "shop".into(),
        uid: "0c7e5d3a-8f0e-4c61-9f3d-3a3b1f3c0001".into(),
        id: format!("7/1/orders-b7f9/{}", event.name()),
        event,
        revision: "orders-b7f9".into(),
        stable: "orders-a1c2".into(),
        image: "registry.example/orders:1.4.2".into(),
        url: "https://orders.example/".into(),
        message: message.into(),
        at: "2026-01-01T08:00:00Z".parse().unwrap(),
    }
}

const KINDS: [&str; 8] = [
    "slack",
    "teams",
    "weCom",
    "dingTalk",
    "feishu",
    "webhook",
    "webhook-binary",
    "alertmanager",
];

fn notification(kind: &str) -> Notification {
    let key = |key: &str| json!({"name": "chat", "key": key});
    let (field, settings) = match kind {
        "dingTalk" | "feishu" => (kind, json!({"urlFrom": key("url"), "secretFrom": key("secret")})),
        "webhook-binary" => (
            "webhook",
            json!({"urlFrom": key("url"), "mode": "Binary", "tokenFrom": key("token")}),
        ),
        _ => (kind, json!({"urlFrom": key("url")})),
    };
    serde_json::from_value(json!({"name": "team", field: settings})).unwrap()
}

fn made(kind: &str, notice: &Notice, template: Option<&str>) -> Request {
    let notification = notification(kind);
    let credentials = Credentials {
        url: Some("https://chat.example/send?key=k3y".into()),
        secret: Some("s3cret".into()),
        token: (kind == "webhook-binary").then(|| "t0ken".into()),
    };
    let now: Timestamp = "2026-01-01T08:00:01.5Z".parse().unwrap();
    let channel = Channel::of(&notification).unwrap();
    request(channel, notice, template, &credentials, now).unwrap()
}

fn body(kind: &str, notice: &Notice, template: Option<&str>) -> Value {
    serde_json::from_slice(&made(kind, notice, template).body).unwrap()
}

#[test]
fn each_platform_is_sent_what_was_reviewed() {
    for kind in KINDS {
        let events: Vec<Value> = NotificationEvent::ALL
            .into_iter()
            .map(|event| {
                let message = match event {
                    NotificationEvent::RolledBack => HOSTILE,
                    _ => "what there is to say",
                };
                let request = made(kind, &notice(event, message), None);
                let headers: Vec<String> = request
                    .headers
                    .iter()
                    .map(|(name, value)| format!("{name}: {value}"))
                    .collect();
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                json!({"event": event, "url": request.url, "headers": headers, "body": body})
            })
            .collect();
        insta::assert_yaml_snapshot!(kind, events);
    }
}

#[test]
fn a_template_is_in_the_words_of_the_platform_and_what_fills_it_is_not() {
    let template = "*{{service}}* <https://wiki.example|wiki>: {{message}} {{url}}";
    let notice = notice(NotificationEvent::RolledBack, "<!channel> *a*");
    let text = |kind: &str, path: &str| {
        let body = body(kind, &notice, Some(template));
        body.pointer(path).unwrap().as_str().unwrap().to_owned()
    };
    let rest = "https://orders.example/";
    assert_eq!(
        text("slack", "/blocks/1/text/text"),
        format!("*orders* <https://wiki.example|wiki>: &lt;!channel&gt; *a* {rest}")
    );
    assert!(text("weCom", "/markdown/content").ends_with(&format!(
        "*orders* <https://wiki.example|wiki>: ＜!channel＞ ＊a＊ {rest}"
    )));
    for (kind, path) in [
        ("teams", "/attachments/0/content/body/1/inlines/0/text"),
        ("feishu", "/card/elements/0/text/content"),
        ("webhook", "/data/text"),
        ("alertmanager", "/0/annotations/description"),
    ] {
        assert_eq!(
            text(kind, path),
            format!("*orders* <https://wiki.example|wiki>: <!channel> *a* {rest}"),
            "{kind}"
        );
    }
}

#[test]
fn long_texts_are_cut_to_what_the_platform_takes() {
    for filler in ["<", "长", "a\n", "\"\u{1f600}"] {
        let long = filler.repeat(100_000 / filler.len());
        let notice = notice(NotificationEvent::Failed, &long);
        let at = |kind: &str, path: &str| {
            let body = body(kind, &notice, None);
            body.pointer(path).unwrap().as_str().unwrap().to_owned()
        };
        let slack = at("slack", "/blocks/1/text/text");
        assert!(slack.chars().count() <= 3000 && slack.ends_with('…'), "{filler}");
        let we_com = at("weCom", "/markdown/content");
        assert!(we_com.len() <= 4096 && we_com.ends_with('…'), "{filler}");
        for (kind, limit) in [
            ("teams", 28 * 1024),
            ("dingTalk", 20_000),
            ("feishu", 20 * 1024),
            ("alertmanager", 64 * 1024),
        ] {
            let bytes = made(kind, &notice, None).body.len();
            assert!(bytes <= limit, "{kind} {filler}: {bytes}");
        }
    }
}

#[test]
fn no_text_is_ever_empty() {
    let mut notice = notice(NotificationEvent::Started, "a");
    notice.url = String::new();
    for kind in ["slack", "teams", "feishu"] {
        let body = body(kind, &notice, Some("{{url}}")).to_string();
        assert!(
            body.matches("shop/orders: a rollout has started").count() > 1,
            "{body}"
        );
    }
}

#[test]
fn nothing_of_a_secret_is_shown() {
    for kind in KINDS {
        let request = made(kind, &notice(NotificationEvent::Started, "a"), None);
        for secret in ["k3y", "s3cret", "t0ken"] {
            assert!(!format!("{request:?}").contains(secret), "{request:?}");
        }
        assert!(!String::from_utf8(request.body).unwrap().contains("s3cret"));
    }
    let credentials = Credentials {
        url: Some("k3y".into()),
        ..Credentials::default()
    };
    assert_eq!(format!("{credentials:?}"), "Credentials(..)");
}

/// The same with every text replaced: what is left is its shape.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), shape(value)))
            .collect(),
        Value::Array(items) => items.iter().map(shape).collect(),
        Value::String(_) => json!("text"),
        other => other.clone(),
    }
}

proptest! {
    #[test]
    fn a_text_stays_one_value_whatever_it_says(text in any::<String>()) {
        for kind in KINDS {
            // A card of Teams has a block for each line.
            let text = if kind == "teams" { format!("x{}", text.replace(['\n', '\r'], " ")) } else { text.clone() };
            let plain = body(kind, &notice(NotificationEvent::RolledBack, "plain"), None);
            let any = body(kind, &notice(NotificationEvent::RolledBack, &text), None);
            prop_assert_eq!(shape(&plain), shape(&any), "{}", kind);
        }
        let event = body("webhook", &notice(NotificationEvent::Failed, &text), None);
        prop_assert_eq!(event["data"]["message"].as_str(), Some(text.as_str()));
    }
}
