//! The Prometheus of the testbed, configured by the prometheus-operator from the monitors and rules of all namespaces.

use std::net::SocketAddr;
use std::sync::Once;

use serde_json::Value;

use crate::environment::cluster;
use crate::http_client;

/// Where it answers.
pub const ADDRESS: &str = "http://192.0.2.1:9090";

/// Builds it and the prometheus-operator, where they are not, and starts both, where they do not run.
pub fn start() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        cluster(&["addon", "prometheus", "start"]);
    });
}

/// A Prometheus that is not there. It comes back with the end of the value.
#[derive(Debug)]
pub struct Away(());

impl Away {
    /// Kills it, as a crash would.
    pub fn by_a_kill() -> Self {
        cluster(&["prometheus", "stop"]);
        Self(())
    }
}

impl Drop for Away {
    fn drop(&mut self) {
        cluster(&["prometheus", "start"]);
    }
}

/// What its API answers to a GET, by path and query.
///
/// # Errors
/// In words, where it does not answer with success.
async fn asked(path: &str) -> Result<Value, String> {
    let address = ADDRESS.trim_start_matches("http://");
    let address: SocketAddr = address.parse().expect("an address");
    let answer = http_client::get(address, &format!("/api/v1/{path}")).await?;
    let body: Value = serde_json::from_str(&answer.body).map_err(|_| answer.body.clone())?;
    if answer.code == 200 && body["status"] == "success" {
        Ok(body["data"].clone())
    } else {
        Err(answer.body)
    }
}

/// The series that an expression gives now, each with `metric` and `value`.
///
/// # Errors
/// In words, where Prometheus does not take it.
pub async fn query(expression: &str) -> Result<Vec<Value>, String> {
    let data = asked(&format!("query?query={}", escaped(expression))).await?;
    data["result"].as_array().cloned().ok_or_else(|| data.to_string())
}

/// The one number that an expression gives now.
///
/// # Errors
/// In words, where it gives none or several.
pub async fn number(expression: &str) -> Result<f64, String> {
    let series = query(expression).await?;
    let [one] = series.as_slice() else {
        return Err(format!("{series:?}"));
    };
    let value = one["value"][1].as_str().and_then(|text| text.parse().ok());
    value.ok_or_else(|| one.to_string())
}

/// What it knows of the groups of rules that were made from the PrometheusRule with this uid.
///
/// # Errors
/// In words, where it does not answer.
pub async fn groups(uid: &str) -> Result<Vec<Value>, String> {
    let data = asked("rules").await?;
    let groups = data["groups"].as_array().cloned().unwrap_or_default();
    let of = |group: &Value| group["file"].as_str().is_some_and(|file| file.contains(uid));
    Ok(groups.into_iter().filter(of).collect())
}

/// The targets that it scrapes by a ServiceMonitor.
///
/// # Errors
/// In words, where it does not answer.
pub async fn targets(namespace: &str, monitor: &str) -> Result<Vec<Value>, String> {
    let pool = format!("serviceMonitor/{namespace}/{monitor}/");
    let data = asked("targets?state=active").await?;
    let targets = data["activeTargets"].as_array().cloned().unwrap_or_default();
    let of = |target: &Value| {
        target["scrapePool"]
            .as_str()
            .is_some_and(|name| name.starts_with(&pool))
    };
    Ok(targets.into_iter().filter(of).collect())
}

/// A text as it stands in the query of an address.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
