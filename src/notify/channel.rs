//! Who is told, what is needed to tell them, and what is sent.

use std::fmt;

use jiff::Timestamp;

use super::notice::Notice;
use super::template::Template;
use super::{alertmanager, chat, cloud_event, sign};
use crate::api::{
    Alertmanager, DingTalk, EventWebhook, Feishu, Notification, SecretKey, Slack, Teams, WeCom,
};
use crate::template::UnknownPlaceholder;

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel<'a> {
    /// Slack.
    Slack(&'a Slack),
    /// Microsoft Teams.
    Teams(&'a Teams),
    /// WeCom.
    WeCom(&'a WeCom),
    /// DingTalk.
    DingTalk(&'a DingTalk),
    /// Feishu or Lark.
    Feishu(&'a Feishu),
    /// A receiver of CloudEvents.
    Webhook(&'a EventWebhook),
    /// An Alertmanager.
    Alertmanager(&'a Alertmanager),
}

/// The kinds of channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChannelKind {
    /// Slack.
    Slack,
    /// Microsoft Teams.
    Teams,
    /// WeCom.
    WeCom,
    /// DingTalk.
    DingTalk,
    /// Feishu or Lark.
    Feishu,
    /// A receiver of CloudEvents.
    Webhook,
    /// An Alertmanager.
    Alertmanager,
}

/// What it means that something arrives twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repetition {
    /// It is seen twice: it is sent again only where it is known that it did not arrive.
    Seen,
    /// It has an identity by which the receiver can tell: within one process it is sent again where it is not known
    /// whether it arrived.
    Recognised,
    /// It changes nothing: it is sent until it is known that it arrived.
    Nothing,
}

impl<'a> Channel<'a> {
    /// The one that a notification names; none where it names none, which the schema refuses.
    pub fn of(notification: &'a Notification) -> Option<Self> {
        let Notification {
            name: _,
            events: _,
            template: _,
            slack,
            teams,
            we_com,
            ding_talk,
            feishu,
            webhook,
            alertmanager,
        } = notification;
        slack
            .as_ref()
            .map(Self::Slack)
            .or(teams.as_ref().map(Self::Teams))
            .or(we_com.as_ref().map(Self::WeCom))
            .or(ding_talk.as_ref().map(Self::DingTalk))
            .or(feishu.as_ref().map(Self::Feishu))
            .or(webhook.as_ref().map(Self::Webhook))
            .or(alertmanager.as_ref().map(Self::Alertmanager))
    }

    /// Its kind.
    pub fn kind(self) -> ChannelKind {
        match self {
            Self::Slack(_) => ChannelKind::Slack,
            Self::Teams(_) => ChannelKind::Teams,
            Self::WeCom(_) => ChannelKind::WeCom,
            Self::DingTalk(_) => ChannelKind::DingTalk,
            Self::Feishu(_) => ChannelKind::Feishu,
            Self::Webhook(_) => ChannelKind::Webhook,
            Self::Alertmanager(_) => ChannelKind::Alertmanager,
        }
    }

    /// The keys of Secrets that have to be read before something is sent.
    pub fn keys(self) -> Vec<(Credential, &'a SecretKey)> {
        let (url, secret, token) = match self {
            Self::Slack(Slack { url_from })
            | Self::Teams(Teams { url_from })
            | Self::WeCom(WeCom { url_from }) => (Some(url_from), None, None),
            Self::DingTalk(DingTalk {
                url_from,
                secret_from,
            })
            | Self::Feishu(Feishu {
                url_from,
                secret_from,
            }) => (Some(url_from), secret_from.as_ref(), None),
            Self::Webhook(EventWebhook {
                url_from, token_from, ..
            })
            | Self::Alertmanager(Alertmanager {
                url_from, token_from, ..
            }) => (url_from.as_ref(), None, token_from.as_ref()),
        };
        [
            (Credential::Url, url),
            (Credential::Secret, secret),
            (Credential::Token, token),
        ]
        .into_iter()
        .filter_map(|(credential, key)| Some((credential, key?)))
        .collect()
    }

    fn plain_url(self) -> Option<&'a str> {
        match self {
            Self::Webhook(EventWebhook { url, .. }) | Self::Alertmanager(Alertmanager { url, .. }) => {
                url.as_deref()
            }
            Self::Slack(_) | Self::Teams(_) | Self::WeCom(_) | Self::DingTalk(_) | Self::Feishu(_) => None,
        }
    }
}

impl ChannelKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Slack,
        Self::Teams,
        Self::WeCom,
        Self::DingTalk,
        Self::Feishu,
        Self::Webhook,
        Self::Alertmanager,
    ];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Slack => "Slack",
            Self::Teams => "Teams",
            Self::WeCom => "WeCom",
            Self::DingTalk => "DingTalk",
            Self::Feishu => "Feishu",
            Self::Webhook => "Webhook",
            Self::Alertmanager => "Alertmanager",
        }
    }

    /// What it means that something arrives twice.
    pub fn repetition(self) -> Repetition {
        match self {
            Self::Slack | Self::Teams | Self::WeCom | Self::DingTalk | Self::Feishu => Repetition::Seen,
            Self::Webhook => Repetition::Recognised,
            Self::Alertmanager => Repetition::Nothing,
        }
    }
}

/// What a key of a Secret is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Credential {
    /// The address.
    Url,
    /// What is signed with.
    Secret,
    /// The bearer token.
    Token,
}

/// What was read from Secrets. Never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The address.
    pub url: Option<String>,
    /// What is signed with.
    pub secret: Option<String>,
    /// The bearer token.
    pub token: Option<String>,
}

impl Credentials {
    /// Notes what was read. White space around it is what editors and `echo` leave in Secrets.
    pub fn put(&mut self, credential: Credential, value: &str) {
        let field = match credential {
            Credential::Url => &mut self.url,
            Credential::Secret => &mut self.secret,
            Credential::Token => &mut self.token,
        };
        *field = Some(value.trim().to_owned());
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(..)")
    }
}

/// What is sent: a POST. Its address and headers are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// Where to.
    pub url: String,
    /// Its headers.
    pub headers: Vec<(&'static str, String)>,
    /// Its body.
    pub body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} bytes)", self.body.len())
    }
}

/// Why nothing can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsendable {
    /// There is no address.
    NoAddress,
    /// The template cannot be read.
    Template(UnknownPlaceholder),
}

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => f.write_str("there is no address to send it to"),
            Self::Template(error) => error.fmt(f),
        }
    }
}

/// The request that tells `channel` of `notice` at `now`.
///
/// # Errors
/// When the spec says something that the schema refuses.
pub fn request(
    channel: Channel<'_>,
    notice: &Notice,
    template: Option<&str>,
    credentials: &Credentials,
    now: Timestamp,
) -> Result<Request, Unsendable> {
    let address = credentials.url.as_deref().or(channel.plain_url());
    let address = address.ok_or(Unsendable::NoAddress)?;
    let template = template
        .map(Template::parse)
        .transpose()
        .map_err(Unsendable::Template)?;
    let template = template.as_ref();
    let secret = credentials.secret.as_deref();
    let json = ("content-type", "application/json; charset=utf-8".to_owned());
    let (url, mut headers, body) = match channel {
        Channel::Slack(_) => (address.to_owned(), vec![json], chat::slack(notice, template)),
        Channel::Teams(_) => (address.to_owned(), vec![json], chat::teams(notice, template)),
        Channel::WeCom(_) => (address.to_owned(), vec![json], chat::we_com(notice, template)),
        Channel::DingTalk(_) => {
            let url = secret.map_or_else(|| address.to_owned(), |secret| signed(address, secret, now));
            (url, vec![json], chat::ding_talk(notice, template))
        }
        Channel::Feishu(_) => {
            let stamp = secret.map(|secret| {
                let seconds = now.as_second();
                (seconds, sign::feishu_signature(seconds, secret))
            });
            (
                address.to_owned(),
                vec![json],
                chat::feishu(notice, template, stamp),
            )
        }
        Channel::Webhook(webhook) => {
            let (headers, body) = cloud_event::event(notice, template, webhook.mode.unwrap_or_default());
            (address.to_owned(), headers, body)
        }
        Channel::Alertmanager(settings) => {
            let url = format!("{}/api/v2/alerts", address.trim_end_matches('/'));
            let body = alertmanager::alerts(notice, template, settings.fires_for_seconds());
            (url, vec![json], body)
        }
    };
    if let Some(token) = &credentials.token {
        headers.push(("authorization", format!("Bearer {token}")));
    }
    Ok(Request { url, headers, body })
}

/// The address of `DingTalk` with time and signature.
fn signed(address: &str, secret: &str, now: Timestamp) -> String {
    let milliseconds = now.as_millisecond();
    let signature = sign::ding_talk_signature(milliseconds, secret)
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let joint = if address.contains('?') { '&' } else { '?' };
    format!("{address}{joint}timestamp={milliseconds}&sign={signature}")
}
