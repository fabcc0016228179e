//! Alerts for Alertmanager's API v2.
//!
//! An alert is known by its labels, so they name the service and not the revision: the promotion of the next revision
//! ends what the one before has fired. Sent again, an alert is the same alert.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::chat::fitted;
use super::markup;
use super::notice::Notice;
use super::template::Template;
use crate::api::NotificationEvent;

/// The most bytes of a body.
const BYTES: usize = 60 * 1024;

/// What an alert speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Alert {
    RolledBack,
    Failed,
    Waiting,
}

impl Alert {
    fn name(self) -> &'static str {
        match self {
            Self::RolledBack => "MicroserviceRolledBack",
            Self::Failed => "MicroserviceRolloutFailed",
            Self::Waiting => "MicroserviceRolloutWaiting",
        }
    }

    fn severity(self) -> &'static str {
        match self {
            Self::RolledBack => "warning",
            Self::Failed => "critical",
            Self::Waiting => "info",
        }
    }
}

/// What an event fires, and what it ends.
fn effect(event: NotificationEvent) -> (Option<Alert>, &'static [Alert]) {
    match event {
        // What an earlier trial waited for or failed of is over; that one was taken back is true until one is promoted.
        NotificationEvent::Started => (None, &[Alert::Waiting, Alert::Failed]),
        NotificationEvent::Waiting => (Some(Alert::Waiting), &[]),
        NotificationEvent::RolledBack => (Some(Alert::RolledBack), &[Alert::Waiting, Alert::Failed]),
        NotificationEvent::Failed => (Some(Alert::Failed), &[Alert::Waiting]),
        NotificationEvent::Promoted => (None, &[Alert::RolledBack, Alert::Failed, Alert::Waiting]),
    }
}

/// The alerts of a notice. One that fires ends by itself after a while: without a time it would after five minutes.
pub fn alerts(notice: &Notice, template: Option<&Template<'_>>, fires_for_seconds: i64) -> Vec<u8> {
    let usual = Template::usual(notice);
    let description = template.unwrap_or(&usual).fill(notice, markup::plain);
    let (fires, ends) = effect(notice.event);
    let fires_until = notice
        .at
        .checked_add(SignedDuration::from_secs(fires_for_seconds))
        .unwrap_or(Timestamp::MAX);
    fitted(&description, BYTES, |description| {
        let alert = |alert: Alert, until: Timestamp| {
            let labels = json!({
                "alertname": alert.name(),
                "severity": alert.severity(),
                "namespace": notice.namespace,
                "service": notice.service,
            });
            let annotations: Map<String, Value> = [
                ("summary", notice.title().as_str()),
                ("description", description),
                ("revision", &notice.revision),
                ("stable", &notice.stable),
                ("image", &notice.image),
            ]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), json!(value)))
            .collect();
            let mut alert = json!({
                "labels": labels,
                "annotations": annotations,
                "startsAt": notice.at.to_string(),
                "endsAt": until.to_string(),
            });
            if !notice.url.is_empty() {
                alert["generatorURL"] = json!(notice.url);
            }
            alert
        };
        let firing = fires.into_iter().map(|which| alert(which, fires_until));
        let resolved = ends.iter().map(|which| alert(*which, notice.at));
        firing.chain(resolved).collect()
    })
}
