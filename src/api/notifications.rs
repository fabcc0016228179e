//! Who is told what becomes of rollouts.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Somebody who is told what becomes of rollouts.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("[has(self.slack), has(self.teams), has(self.weCom), has(self.dingTalk), has(self.feishu), has(self.webhook), has(self.alertmanager)].filter(x, x).size() == 1").message("a notification needs exactly one of slack, teams, weCom, dingTalk, feishu, webhook or alertmanager"))]
#[x_kube(validation = Rule::new("!has(self.template) || self.template.matches('^([^{]|[{][^{]|[{][{](service|namespace|revision|stable|event|message|image|url)[}][}])*[{]?$')").message("template knows {{service}}, {{namespace}}, {{revision}}, {{stable}}, {{event}}, {{message}}, {{image}} and {{url}}, written so and without spaces; {{ begins nothing else"))]
pub struct Notification {
    /// Its name.
    #[schemars(
        length(min = 1, max = 30),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// What is told. Started: a revision goes out. Waiting: a step waits for a person. RolledBack: a revision is taken back. Promoted: a revision is the stable one. Failed: a revision neither works nor can be taken back. Default: all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 5), extend("x-kubernetes-list-type" = "set"))]
    pub events: Vec<NotificationEvent>,
    /// The text, with {{service}}, {{namespace}}, {{revision}}, {{stable}}, {{event}}, {{message}}, {{image}} and {{url}}. What stands for these is escaped; what is written around them is in the words of the platform (mrkdwn for slack, Markdown for weCom and dingTalk, plain text for the others). Default: the message with revision, image and address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1000))]
    pub template: Option<String>,
    /// An incoming webhook of Slack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack: Option<Slack>,
    /// A webhook of a workflow in Microsoft Teams ("When a Teams webhook request is received").
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teams: Option<Teams>,
    /// A group robot of WeCom (企业微信).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub we_com: Option<WeCom>,
    /// A custom robot of DingTalk (钉钉).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ding_talk: Option<DingTalk>,
    /// A custom bot of Feishu (飞书) or Lark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feishu: Option<Feishu>,
    /// Any receiver of CloudEvents 1.0 over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<EventWebhook>,
    /// An Alertmanager. RolledBack, Failed and Waiting fire alerts; Promoted ends them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alertmanager: Option<Alertmanager>,
}

impl Notification {
    /// Whether it is to tell of `event`.
    pub fn tells(&self, event: NotificationEvent) -> bool {
        self.events.is_empty() || self.events.contains(&event)
    }
}

/// Something that happened to a rollout.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum NotificationEvent {
    /// A revision goes out.
    Started,
    /// A step waits for a person.
    Waiting,
    /// A revision is taken back.
    RolledBack,
    /// A revision is the stable one.
    Promoted,
    /// A revision neither works nor can be taken back.
    Failed,
}

impl NotificationEvent {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Started,
        Self::Waiting,
        Self::RolledBack,
        Self::Promoted,
        Self::Failed,
    ];

    /// Its name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::Waiting => "Waiting",
            Self::RolledBack => "RolledBack",
            Self::Promoted => "Promoted",
            Self::Failed => "Failed",
        }
    }
}

/// A key of a Secret in the namespace of the service. It is read when something is sent, and never kept.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// An incoming webhook of Slack.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Slack {
    /// Where its address is.
    pub url_from: SecretKey,
}

/// A webhook of a workflow in Microsoft Teams.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Teams {
    /// Where its address is.
    pub url_from: SecretKey,
}

/// A group robot of WeCom.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct WeCom {
    /// Where its address is.
    pub url_from: SecretKey,
}

/// A custom robot of DingTalk.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DingTalk {
    /// Where its address is.
    pub url_from: SecretKey,
    /// Where the secret is that messages are signed with. Default: they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_from: Option<SecretKey>,
}

/// A custom bot of Feishu or Lark.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Feishu {
    /// Where its address is.
    pub url_from: SecretKey,
    /// Where the secret is that messages are signed with. Default: they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_from: Option<SecretKey>,
}

/// A receiver of CloudEvents.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlFrom)").message("webhook needs exactly one of url or urlFrom: urlFrom where the address holds a token"))]
pub struct EventWebhook {
    /// Its address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+(/\S*)?$"))]
    pub url: Option<String>,
    /// Where its address is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretKey>,
    /// Where the token is that is sent as a bearer token. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_from: Option<SecretKey>,
    /// Structured: the body is the whole event. Binary: the attributes are headers, the body is the data. Default: Structured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<CloudEventMode>,
}

/// How a CloudEvent is put into a request.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, PartialEq, Eq, JsonSchema)]
#[schemars(transform = super::crd::without_description)]
pub enum CloudEventMode {
    /// The body is the whole event.
    #[default]
    Structured,
    /// The attributes are headers, the body is the data.
    Binary,
}

/// An Alertmanager.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.url) != has(self.urlFrom)").message("alertmanager needs exactly one of url or urlFrom: urlFrom where the address holds a token"))]
pub struct Alertmanager {
    /// Its address, without /api/v2/alerts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^\s/]+(/\S*)?$"))]
    pub url: Option<String>,
    /// Where its address is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url_from: Option<SecretKey>,
    /// Where the token is that is sent as a bearer token. Default: none is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_from: Option<SecretKey>,
    /// Seconds for which an alert fires unless it is ended before. Default: 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 60, max = 2_592_000))]
    pub fires_for_seconds: Option<i32>,
}

impl Alertmanager {
    /// Seconds for which an alert fires.
    pub fn fires_for_seconds(&self) -> i64 {
        i64::from(self.fires_for_seconds.unwrap_or(86400))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_called_as_in_the_spec() {
        for event in NotificationEvent::ALL {
            assert_eq!(serde_json::to_value(event).unwrap(), event.name());
        }
    }
}
