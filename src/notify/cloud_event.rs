//! `CloudEvents` 1.0 over HTTP, structured and binary.

use serde_json::{Map, Value, json};

use super::chat::fitted;
use super::markup;
use super::notice::Notice;
use super::template::Template;
use crate::api::{CloudEventMode, NotificationEvent};

/// The most bytes of a body: what every receiver of `CloudEvents` has to take is 64 KB.
const BYTES: usize = 60 * 1024;

/// Headers and body of a notice.
pub fn event(
    notice: &Notice,
    template: Option<&Template<'_>>,
    mode: CloudEventMode,
) -> (Vec<(&'static str, String)>, Vec<u8>) {
    let text = template.map(|template| template.fill(notice, markup::plain));
    let attributes = attributes(notice);
    match mode {
        CloudEventMode::Structured => {
            let body = fitted(text.as_deref().unwrap_or_default(), BYTES, |text| {
                let mut event = Map::new();
                for (name, value) in &attributes {
                    event.insert((*name).to_owned(), json!(value));
                }
                event.insert("datacontenttype".to_owned(), json!("application/json"));
                event.insert("data".to_owned(), data(notice, template.map(|_| text)));
                Value::Object(event)
            });
            let media = "application/cloudevents+json; charset=utf-8".to_owned();
            (vec![("content-type", media)], body)
        }
        CloudEventMode::Binary => {
            let body = fitted(text.as_deref().unwrap_or_default(), BYTES, |text| {
                data(notice, template.map(|_| text))
            });
            let mut headers = vec![("content-type", "application/json".to_owned())];
            for (name, value) in attributes {
                let header = match name {
                    "specversion" => "ce-specversion",
                    "id" => "ce-id",
                    "source" => "ce-source",
                    "type" => "ce-type",
                    "subject" => "ce-subject",
                    _ => "ce-time",
                };
                headers.push((header, value));
            }
            (headers, body)
        }
    }
}

/// The attributes: names of objects and numbers, so that they can be headers as they are.
fn attributes(notice: &Notice) -> [(&'static str, String); 6] {
    let kind = match notice.event {
        NotificationEvent::Started => "started",
        NotificationEvent::Waiting => "waiting",
        NotificationEvent::RolledBack => "rolled-back",
        NotificationEvent::Promoted => "promoted",
        NotificationEvent::Failed => "failed",
    };
    [
        ("specversion", "1.0".to_owned()),
        // The same for each try: receivers drop what they have seen with this source.
        ("id", format!("{}/{}", notice.uid, notice.id)),
        (
            "source",
            format!(
                "/apis/microservice.dev/v1alpha1/namespaces/{}/microservices/{}",
                notice.namespace, notice.service
            ),
        ),
        ("type", format!("dev.microservice.rollout.{kind}")),
        ("subject", notice.revision.clone()),
        ("time", notice.at.to_string()),
    ]
}

fn data(notice: &Notice, text: Option<&str>) -> Value {
    let mut data = json!({
        "service": notice.service,
        "namespace": notice.namespace,
        "event": notice.event.name(),
        "revision": notice.revision,
        "stable": notice.stable,
        "image": notice.image,
        "url": notice.url,
        "message": notice.message,
    });
    if let Some(text) = text {
        data["text"] = json!(text);
    }
    data
}
