//! From the kubelet's word to the write that helps, and from a write of weights to the traffic that follows it.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::audit::{KUBELET, OPERATOR, Request};
use crate::environment::say;
use crate::recorder::Sighting;
use crate::scenario::Scenario;

/// The most that may pass between the two.
pub const BUDGET: Duration = Duration::from_secs(1);

/// When the kubelet told the API server what was seen of a pod. The log is to be complete by then: what is answered is told
/// a moment before it is noted.
pub fn told_at(s: &Scenario, evidence: &Sighting<Pod>) -> Timestamp {
    let pod = evidence.object.name_any();
    // The status was written before it was seen: the kubelet's last write up to then is the one that carried it.
    let told = s
        .audit
        .requests(KUBELET)
        .into_iter()
        .filter(|r| r.resource == "pods" && r.subresource == "status" && r.name == pod && r.accepted())
        .map(|r| r.received)
        .filter(|received| *received <= evidence.at)
        .max();
    told.expect("the kubelet wrote the status that was seen")
}

/// Measures, prints and judges how long it took from the pod's status that completes a rule to the accepted write that
/// puts the traffic on `stable`, or scales it up where it is not warm. To be called when that is over, for [`told_at`].
pub async fn assert_reaction(s: &Scenario, service: &str, stable: &str, evidence: &Sighting<Pod>) {
    let told = told_at(s, evidence);
    let helps = |r: &Request| {
        let object = (r.resource.as_str(), r.name.as_str());
        let route = r.resource == "httproutes" && r.name.starts_with(service);
        r.writes()
            && r.accepted()
            && (route || object == ("services", service) || object == ("deployments", stable))
    };
    let helped = crate::eventually("a write that helps", async || {
        let requests = s.audit.requests(OPERATOR);
        requests
            .into_iter()
            .find(|r| r.received >= told && helps(r))
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    let checkpoint = s
        .audit
        .requests(OPERATOR)
        .into_iter()
        .find(|r| r.received >= told && r.subresource == "status" && r.accepted());
    let seconds = |r: &Request| r.answered.duration_since(told).as_secs_f64();
    say(&format!(
        "measured: {}: from the pod's status to the decision {:.3} s, to {} {} {:.3} s",
        s.name,
        checkpoint.as_ref().map_or(f64::NAN, seconds),
        helped.verb,
        helped.resource,
        seconds(&helped)
    ));
    assert!(
        seconds(&helped) < BUDGET.as_secs_f64(),
        "it took {:.3} s from the pod's status to {}",
        seconds(&helped),
        helped.brief()
    );
}

/// How long something took, many times.
#[derive(Clone, Debug, Default)]
pub struct Delays(Vec<f64>);

impl Delays {
    /// The shortest, of a number of them that is not 0.
    pub fn shortest(&self) -> f64 {
        self.within(0, 1)
    }

    /// The longest.
    pub fn longest(&self) -> f64 {
        self.within(1, 1)
    }

    /// The time within which `part` of `of` parts came.
    pub fn within(&self, part: usize, of: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_unstable_by(f64::total_cmp);
        sorted[(sorted.len() * part / of).min(sorted.len() - 1)]
    }
}

impl FromIterator<f64> for Delays {
    fn from_iter<I: IntoIterator<Item = f64>>(seconds: I) -> Self {
        Self(seconds.into_iter().collect())
    }
}

impl fmt::Display for Delays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} times: min {:.3} s, median {:.3} s, 95 % within {:.3} s, max {:.3} s",
            self.0.len(),
            self.shortest(),
            self.within(1, 2),
            self.within(19, 20),
            self.longest()
        )
    }
}

/// From the moment at which `version` was given all requests to the first request after the last one that went elsewhere, by
/// a trace in the order in which requests were sent. `settled` is when `version` had been alone for a while.
///
/// The moment itself lies between two requests, of which this is the later one; and a request is noted when it is sent, which
/// is before the gateway looks at its weights. So it is late by no more than the gap between two requests, and
/// early by no more than one takes to the gateway.
pub fn served_after(
    trace: &[(Timestamp, String)],
    version: &str,
    written: Timestamp,
    settled: Timestamp,
) -> Option<f64> {
    let within: Vec<_> = trace
        .iter()
        .filter(|(at, _)| (written..settled).contains(at))
        .collect();
    let first = within
        .iter()
        .rposition(|(_, by)| by != version)
        .map_or(0, |last| last + 1);
    let (at, _) = within.get(first)?;
    Some(at.duration_since(written).as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn weights_are_served_from_the_request_on_after_which_nobody_else_answers() {
        let trace: Vec<(Timestamp, String)> = ["a", "a", "b", "a", "b", "b", "a"]
            .into_iter()
            .zip([0, 10, 20, 30, 40, 50, 60])
            .map(|(version, when)| (at(when), version.to_owned()))
            .collect();
        let after = |version: &str, written: i64, settled: i64| {
            served_after(&trace, version, at(written), at(settled))
        };
        assert_eq!(after("b", 5, 60), Some(0.035));
        assert_eq!(after("b", 45, 60), Some(0.005), "from the first request on");
        assert_eq!(after("b", 5, 70), None, "somebody else was the last");
    }

    #[test]
    fn delays_are_told_by_their_order() {
        let delays: Delays = (1..=40).rev().map(f64::from).collect();
        assert_eq!(
            delays.to_string(),
            "40 times: min 1.000 s, median 21.000 s, 95 % within 39.000 s, max 40.000 s"
        );
    }
}
