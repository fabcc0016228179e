use std::cell::RefCell;

use k8s_openapi::ByteString;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::api::{Notification, NotificationEvent};
use crate::notify::{ChannelKind, Notice, ding_talk_signature, feishu_signature};

/// Pauses that a test does not feel.
const QUICK: Pace = Pace {
    first: Duration::from_millis(1),
    longest: Duration::from_millis(1),
};

/// More than anything here takes.
const FOREVER: Duration = Duration::from_secs(30);

fn service() -> ServiceKey {
    ServiceKey {
        namespace: "shop".into(),
        name: "orders".into(),
    }
}

/// Secrets that hold one address and one word under each of the usual names.
#[derive(Debug)]
struct Known {
    url: String,
    read: Mutex<Vec<String>>,
}

impl ReadSecret for Known {
    fn read<'a>(
        &'a self,
        namespace: &'a str,
        name: &'a str,
    ) -> BoxFuture<'a, Result<Option<Secret>, String>> {
        self.read.lock().unwrap().push(format!("{namespace}/{name}"));
        let data = [
            ("url", self.url.as_str()),
            ("secret", "s3cret"),
            ("token", "t0ken"),
        ];
        // As `echo` would leave it.
        let data = data.map(|(key, value)| (key.to_owned(), ByteString(format!("{value}\n").into_bytes())));
        async move {
            match name {
                "chat" => Ok(Some(Secret {
                    data: Some(data.into_iter().collect()),
                    ..Secret::default()
                })),
                "locked" => Err("secrets \"locked\" is forbidden (403)".to_owned()),
                _ => Ok(None),
            }
        }
        .boxed()
    }
}

/// Somebody who is told: answers each connection with the next of `answers`, byte by byte as they are, and collects what
/// it was sent. An empty answer: it says nothing and keeps the connection.
struct Receiver {
    url: String,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Receiver {
    async fn answers(answers: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/send?access_token=k3y", listener.local_addr().unwrap());
        let (requests, received) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            let mut silent = Vec::new();
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                requests.send(request(&mut stream).await).unwrap();
                if answer.is_empty() {
                    silent.push(stream);
                } else {
                    // Who has read enough hangs up.
                    let _ = stream.write_all(&answer).await;
                }
            }
            // Nobody else is accepted, and who waits goes on waiting.
            std::future::pending::<()>().await;
        });
        Self {
            url,
            requests: received,
        }
    }

    async fn request(&mut self) -> (String, Value) {
        let request = self.requests.recv().await.unwrap();
        let (head, body) = request.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }
}

async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).to_string();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.to_lowercase();
            let length = length.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().parse().unwrap();
            if body.len() >= length {
                return text;
            }
        }
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0, "{text}");
    }
}

fn answered(status: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn delivery(channel: Value) -> Delivery {
    let mut notification = json!({"name": "team"});
    notification
        .as_object_mut()
        .unwrap()
        .extend(channel.as_object().unwrap().clone());
    let notification: Notification = serde_json::from_value(notification).unwrap();
    let notice = Notice {
        service: "orders".into(),
        namespace: "shop".into(),
        uid: "u".into(),
        id: "7/1/orders-b/RolledBack".into(),
        event: NotificationEvent::RolledBack,
        revision: "orders-b".into(),
        stable: "orders-a".into(),
        image: "app:b".into(),
        url: String::new(),
        message: "from orders-b to orders-a: CrashLoopBackOff: \"no\" <config>".into(),
        at: now(),
    };
    Delivery {
        key: delivery_key(&notice.id, &notification.name),
        notification,
        notice,
    }
}

/// A channel whose secrets are all in Secret chat.
fn channel(kind: &str) -> Value {
    let key = |key: &str| json!({"name": "chat", "key": key});
    let settings = match kind {
        "dingTalk" | "feishu" => json!({"urlFrom": key("url"), "secretFrom": key("secret")}),
        "webhook" | "alertmanager" => json!({"urlFrom": key("url"), "tokenFrom": key("token")}),
        _ => json!({"urlFrom": key("url")}),
    };
    json!({kind: settings})
}

const KINDS: [&str; 7] = [
    "slack",
    "teams",
    "weCom",
    "dingTalk",
    "feishu",
    "webhook",
    "alertmanager",
];

/// What each of them answers when all is well.
fn welcome(kind: &str) -> Vec<u8> {
    match kind {
        "teams" => answered("202 Accepted", ""),
        "weCom" | "dingTalk" => answered("200 OK", r#"{"errcode":0,"errmsg":"ok"}"#),
        "feishu" => answered("200 OK", r#"{"code":0,"msg":"success"}"#),
        _ => answered("200 OK", "ok"),
    }
}

struct Sender {
    deliveries: Arc<Deliveries>,
    triggered: mpsc::UnboundedReceiver<ServiceKey>,
    metrics: Arc<Metrics>,
    secrets: Arc<Known>,
}

fn sender(url: &str) -> Sender {
    let (triggers, triggered) = mpsc::unbounded_channel();
    let metrics = Arc::new(Metrics::new(Timestamp::UNIX_EPOCH));
    let secrets = Arc::new(Known {
        url: url.to_owned(),
        read: Mutex::default(),
    });
    let mut deliveries = Deliveries::new(
        Arc::clone(&secrets) as Arc<dyn ReadSecret>,
        Arc::clone(&metrics),
        triggers,
    );
    // Proxies of the machine that tests run on have no part in them.
    deliveries.http = Ok(client().no_proxy().build().unwrap());
    deliveries.pace = QUICK;
    Sender {
        deliveries: Arc::new(deliveries),
        triggered,
        metrics,
        secrets,
    }
}

fn waiting(delivery: &Delivery) -> NotificationStatus {
    NotificationStatus {
        id: delivery.notice.id.clone(),
        event: delivery.notice.event,
        revision: String::new(),
        stable: None,
        message: String::new(),
        at: k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(delivery.notice.at),
        pending: Vec::new(),
        sending: vec![delivery.notification.name.clone()],
    }
}

impl Sender {
    fn of(&self, delivery: &Delivery) -> Option<DeliveryOutcome> {
        let known = self.deliveries.of(&service(), "u", &[waiting(delivery)]);
        known.get(&delivery.key).cloned()
    }

    /// How a delivery ends.
    async fn outcome(&mut self, delivery: &Delivery) -> DeliveryOutcome {
        self.deliveries.begin(&service(), "u", delivery);
        let trigger = tokio::time::timeout(FOREVER, self.triggered.recv()).await;
        assert_eq!(trigger.unwrap().unwrap(), service());
        self.of(delivery).unwrap()
    }

    async fn failure(&mut self, delivery: &Delivery) -> String {
        match self.outcome(delivery).await {
            DeliveryOutcome::Failed(words) => words,
            other @ (DeliveryOutcome::Running | DeliveryOutcome::Delivered) => panic!("{other:?}"),
        }
    }
}

/// The failure of a delivery to somebody who answers so.
async fn failure(kind: &str, answers: Vec<Vec<u8>>) -> String {
    let receiver = Receiver::answers(answers).await;
    let words = sender(&receiver.url).failure(&delivery(channel(kind))).await;
    let host = receiver.url.split('/').nth(2).unwrap();
    words.replace(host, "HOST")
}

#[tokio::test]
async fn each_kind_is_told_in_its_own_way() {
    for kind in KINDS {
        let mut receiver = Receiver::answers(vec![welcome(kind)]).await;
        let mut sender = sender(&receiver.url);
        let delivery = delivery(channel(kind));
        assert_eq!(
            sender.outcome(&delivery).await,
            DeliveryOutcome::Delivered,
            "{kind}"
        );
        let (head, body) = receiver.request().await;
        let line = head.lines().next().unwrap();
        let message = &delivery.notice.message;
        let holds = |path: &str, words: &str| {
            let text = body.pointer(path).and_then(Value::as_str);
            let text = text.unwrap_or_else(|| panic!("{kind}: no {path} in {body}"));
            assert!(text.contains(words), "{kind}: {text}");
        };
        match kind {
            "slack" => holds("/blocks/1/text/text", "\"no\" &lt;config&gt;"),
            "teams" => holds(
                "/attachments/0/content/body/1/inlines/0/text",
                "CrashLoopBackOff: \"no\" <config>",
            ),
            "weCom" => holds("/markdown/content", "\"no\" ＜config＞"),
            "dingTalk" => {
                holds("/markdown/text", "\"no\" ＜config＞");
                let query = line.split(' ').nth(1).unwrap().split_once('?').unwrap().1;
                let (rest, sign) = query.split_once("&sign=").unwrap();
                let time = rest.split_once("&timestamp=").unwrap().1;
                let expected = ding_talk_signature(time.parse().unwrap(), "s3cret");
                let expected = expected
                    .replace('+', "%2B")
                    .replace('/', "%2F")
                    .replace('=', "%3D");
                assert_eq!(sign, expected);
            }
            "feishu" => {
                holds("/card/elements/0/text/content", message);
                let time: i64 = body["timestamp"].as_str().unwrap().parse().unwrap();
                assert_eq!(body["sign"], feishu_signature(time, "s3cret"));
            }
            "webhook" => {
                holds("/data/message", message);
                assert_eq!(body["id"], "u/7/1/orders-b/RolledBack");
            }
            _ => {
                assert_eq!(body[0]["labels"]["alertname"], "MicroserviceRolledBack");
                assert!(line.contains("/api/v2/alerts"), "{line}");
            }
        }
        assert!(line.starts_with("POST /send?access_token=k3y"), "{kind}: {line}");
        let token = head.lines().find(|line| line.starts_with("authorization: "));
        let with_token = ["webhook", "alertmanager"].contains(&kind);
        assert_eq!(
            token,
            with_token.then_some("authorization: Bearer t0ken"),
            "{kind}"
        );
        // One get, whatever is read from it.
        assert_eq!(*sender.secrets.read.lock().unwrap(), ["shop/chat"], "{kind}");
        let expected = format!("kind=\"{}\",result=\"Delivered\"", channel_kind(&delivery).name());
        assert!(sender.metrics.encode().unwrap().contains(&expected), "{expected}");
    }
}

fn channel_kind(delivery: &Delivery) -> ChannelKind {
    Channel::of(&delivery.notification).unwrap().kind()
}

#[tokio::test]
async fn what_did_not_arrive_is_sent_again_as_it_was() {
    for kind in KINDS {
        let failures = [answered("500 Oops", "no"), answered("429 Slow Down", "")];
        let answers = failures.into_iter().chain([welcome(kind)]).collect();
        let mut receiver = Receiver::answers(answers).await;
        let outcome = sender(&receiver.url).outcome(&delivery(channel(kind))).await;
        assert_eq!(outcome, DeliveryOutcome::Delivered, "{kind}");
        let (one, two, three) = (
            receiver.request().await.1,
            receiver.request().await.1,
            receiver.request().await.1,
        );
        // But for the time of a signature.
        if kind != "feishu" {
            assert_eq!((&one, &two), (&two, &three), "{kind}");
        }
        assert!(receiver.requests.try_recv().is_err(), "{kind}");
    }
}

#[tokio::test]
async fn success_that_is_a_failure_is_one() {
    let refused = r#"{"errcode":310000,"errmsg":"s3cret"}"#;
    assert_eq!(
        failure("dingTalk", vec![answered("200 OK", refused)]).await,
        "HOST: the answer was 200 with errcode 310000"
    );
    let busy = answered("200 OK", r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#);
    let mut receiver = Receiver::answers(vec![busy, welcome("weCom")]).await;
    let outcome = sender(&receiver.url).outcome(&delivery(channel("weCom"))).await;
    assert_eq!(outcome, DeliveryOutcome::Delivered);
    receiver.request().await;
    receiver.request().await;
}

#[tokio::test]
async fn what_is_refused_or_leads_elsewhere_is_not_tried_again() {
    let gone = answered("404 Not Found", "no_service");
    assert_eq!(
        failure("slack", vec![gone]).await,
        "HOST: the answer was 404 no_service"
    );
    let elsewhere = b"HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n".to_vec();
    assert_eq!(
        failure("webhook", vec![elsewhere]).await,
        "HOST: the answer was 302, and redirects are not followed"
    );
}

#[tokio::test]
async fn who_may_have_got_it_gets_it_again_only_where_that_is_not_seen() {
    for kind in KINDS {
        let mut receiver = Receiver::answers(vec![Vec::new(), welcome(kind)]).await;
        let mut sender = sender(&receiver.url);
        Arc::get_mut(&mut sender.deliveries).unwrap().limit = Duration::from_millis(100);
        let outcome = sender.outcome(&delivery(channel(kind))).await;
        receiver.request().await;
        if ["webhook", "alertmanager"].contains(&kind) {
            assert_eq!(outcome, DeliveryOutcome::Delivered, "{kind}");
            receiver.request().await;
        } else {
            let DeliveryOutcome::Failed(words) = outcome else {
                panic!("{kind}: {outcome:?}");
            };
            assert!(
                words.ends_with("gave no answer within 0.1 s; it may have arrived, so it is not sent again"),
                "{words}"
            );
            assert!(receiver.requests.try_recv().is_err(), "{kind}: it was sent twice");
        }
    }
}

#[tokio::test]
async fn who_is_not_there_was_not_told_and_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut late = delivery(channel("slack"));
    // Its time is over, so that one try is all.
    late.notice.at = now() - SignedDuration::from_hours(1);
    let mut sender = sender(&format!("http://me:pass@{address}/k3y?token=t"));
    let words = sender.failure(&late).await;
    assert!(
        words.starts_with(&format!("{address} could not be called: ")),
        "{words}"
    );
    for secret in ["k3y", "token", "pass"] {
        assert!(!words.contains(secret), "{words}");
    }
    let metrics = sender.metrics.encode().unwrap();
    assert!(metrics.contains("kind=\"Slack\",result=\"Failed\""), "{metrics}");
}

#[tokio::test]
async fn what_cannot_be_sent_is_told_without_secrets() {
    let key = |name: &str, key: &str| json!({"name": name, "key": key});
    for (url, channel, expected) in [
        (
            "http://a/",
            json!({"slack": {"urlFrom": key("none", "url")}}),
            "there is no Secret none",
        ),
        (
            "http://a/",
            json!({"slack": {"urlFrom": key("chat", "none")}}),
            "Secret chat has no key none",
        ),
        (
            "http://a/",
            json!({"slack": {"urlFrom": key("locked", "url")}}),
            "Secret locked cannot be read: secrets \"locked\" is forbidden (403)",
        ),
        (
            "k3y",
            json!({"slack": {"urlFrom": key("chat", "url")}}),
            "the address is not valid: relative URL without a base",
        ),
        (
            "ftp://a/k3y",
            json!({"slack": {"urlFrom": key("chat", "url")}}),
            "the address must begin with http:// or https://",
        ),
        ("http://a/", json!({}), "it names no receiver"),
        (
            "http://a/",
            json!({"template": "{{pod}}", "slack": {"urlFrom": key("chat", "url")}}),
            "the text has {{ with something behind it that is no placeholder",
        ),
    ] {
        let mut delivery = delivery(channel);
        delivery.notice.at = now() - SignedDuration::from_hours(1);
        assert_eq!(sender(url).failure(&delivery).await, expected);
    }
}

#[tokio::test]
async fn what_was_begun_is_not_begun_again_and_is_forgotten_with_its_notice() {
    let mut receiver = Receiver::answers(vec![welcome("slack"), welcome("slack")]).await;
    let mut sender = sender(&receiver.url);
    let delivery = delivery(channel("slack"));
    sender.deliveries.begin(&service(), "u", &delivery);
    assert_eq!(sender.of(&delivery), Some(DeliveryOutcome::Running));
    assert_eq!(sender.outcome(&delivery).await, DeliveryOutcome::Delivered);
    sender.deliveries.begin(&service(), "u", &delivery);
    receiver.request().await;
    assert!(receiver.requests.try_recv().is_err(), "it was sent twice");
    // A Microservice that was made anew under the name knows nothing of it.
    assert!(
        sender
            .deliveries
            .of(&service(), "v", &[waiting(&delivery)])
            .is_empty()
    );
    assert!(sender.deliveries.lock().is_empty());
    sender.deliveries.begin(&service(), "u", &delivery);
    assert!(sender.deliveries.of(&service(), "u", &[]).is_empty());
    assert!(sender.deliveries.lock().is_empty());
}

#[tokio::test]
async fn only_so_many_requests_are_in_flight_and_those_that_nobody_wants_end() {
    let mut receiver = Receiver::answers(vec![Vec::new(); IN_FLIGHT]).await;
    let sender = sender(&receiver.url);
    for number in 0..IN_FLIGHT + 5 {
        let mut delivery = delivery(channel("slack"));
        delivery.key = number.to_string();
        sender.deliveries.begin(&service(), "u", &delivery);
    }
    for _ in 0..IN_FLIGHT {
        receiver.requests.recv().await.unwrap();
    }
    assert_eq!(sender.deliveries.in_flight.available_permits(), 0);
    sender.deliveries.forget_all(&service());
    while sender.deliveries.in_flight.available_permits() < IN_FLIGHT {
        tokio::task::yield_now().await;
    }
}

fn later(after: Option<u64>) -> Attempt {
    Attempt::Later {
        words: "no".to_owned(),
        after: after.map(Duration::from_secs),
    }
}

/// When tries were made, in seconds, and how it ended.
async fn tries(patience: u64, attempt: impl Fn(usize) -> Attempt) -> (Vec<u64>, Result<(), String>) {
    let began = Instant::now();
    let seconds = RefCell::new(Vec::new());
    let result = persist(Pace::USUAL, Duration::from_secs(patience), || {
        seconds.borrow_mut().push(began.elapsed().as_secs());
        let outcome = attempt(seconds.borrow().len());
        async { outcome }
    })
    .await;
    (seconds.into_inner(), result)
}

#[tokio::test(start_paused = true)]
async fn the_pause_doubles_to_a_minute_until_ten_minutes_are_over() {
    let (seconds, result) = tries(600, |_| later(None)).await;
    assert_eq!(
        seconds,
        [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363, 423, 483, 543]
    );
    assert_eq!(result.unwrap_err(), "15 tries failed, the last one: no");
    let (seconds, result) = tries(0, |_| later(None)).await;
    assert_eq!((seconds, result), (vec![0], Err("no".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn who_says_when_to_come_again_is_heard() {
    let (seconds, result) = tries(600, |number| match number {
        1 => later(Some(90)),
        2 => later(Some(1)),
        _ => Attempt::Delivered,
    })
    .await;
    assert_eq!((seconds, result), (vec![0, 90, 92], Ok(())));
    // What would come too late is not waited for.
    let (seconds, result) = tries(600, |_| later(Some(3600))).await;
    assert_eq!((seconds, result), (vec![0], Err("no".to_owned())));
}

#[test]
fn retry_after_is_seconds_or_a_date() {
    let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let read = |said: &'static str| {
        let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(said))]);
        retry_after(&headers, now).map(|after| after.as_secs())
    };
    assert_eq!(read("7"), Some(7));
    assert_eq!(read("Thu, 01 Jan 2026 00:01:30 GMT"), Some(90));
    assert_eq!(read("Wed, 31 Dec 2025 00:00:00 GMT"), None);
    assert_eq!(read("soon"), None);
    assert_eq!(retry_after(&HeaderMap::new(), now), None);
}
