//! From the kubelet's word to the write that helps.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;

use crate::audit::{KUBELET, OPERATOR, Request};
use crate::environment::say;
use crate::recorder::Sighting;
use crate::scenario::Scenario;

/// The most that may pass between the two.
pub const BUDGET: Duration = Duration::from_secs(1);

/// Measures, prints and judges how long it took from the pod's status that completes a rule to the accepted write that
/// puts the traffic on `stable`, or scales it up where it is not warm.
pub async fn assert_reaction(s: &Scenario, service: &str, stable: &str, evidence: &Sighting<Pod>) {
    let pod = evidence.object.name_any();
    // The status was written before it was seen: the kubelet's last write up to then is the one that carried it.
    let told = s
        .audit
        .requests(KUBELET)
        .into_iter()
        .filter(|r| r.resource == "pods" && r.subresource == "status" && r.name == pod && r.accepted())
        .filter(|r| r.received <= evidence.at)
        .max_by_key(|r| r.received)
        .expect("the kubelet wrote the status that was seen");
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
            .find(|r| r.received >= told.received && helps(r))
            .ok_or_else(|| "none".to_owned())
    })
    .await;
    let checkpoint = s
        .audit
        .requests(OPERATOR)
        .into_iter()
        .find(|r| r.received >= told.received && r.subresource == "status" && r.accepted());
    let seconds = |r: &Request| r.answered.duration_since(told.received).as_secs_f64();
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
