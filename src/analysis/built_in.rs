//! Queries that need not be written: what a router counts of a revision's requests, in PromQL.
//!
//! Sources of the names: Traefik <https://doc.traefik.io/traefik/observability/metrics/overview/>, ingress-nginx
//! <https://kubernetes.github.io/ingress-nginx/user-guide/monitoring/>, Istio
//! <https://istio.io/latest/docs/reference/config/metrics/>.

use super::placeholders::{Language, Subject, escaped};
use super::prometheus::literally;
use crate::api::{BuiltInQuery, BuiltInValue, MetricsRouter};

/// Status codes of HTTP that are the server's fault.
const SERVER_ERRORS: &str = "5..";
/// Those of gRPC by number: Unknown, DeadlineExceeded, Unimplemented, Internal, Unavailable and DataLoss.
const GRPC_SERVER_ERRORS: &str = "2|4|12|13|14|15";

/// How a router counts.
struct Counted {
    /// Selectors without braces, of the series that belong to the revision; the first that a Prometheus has.
    of_revision: Vec<String>,
    requests: &'static str,
    buckets: &'static str,
    /// What a bucket's bound is multiplied by to be milliseconds.
    milliseconds: u32,
    /// Selectors without braces, of which none holds what another one does.
    bad: Vec<String>,
}

/// The query for a value of the revision that `subject` is about. Without requests it gives no value.
pub fn built_in(wanted: &BuiltInQuery, subject: &Subject<'_>) -> String {
    let counted = counted(wanted.router, subject);
    let window = wanted.window_seconds();
    let rate = |metric: &str, more: &str| {
        let all = counted.of_revision.iter().map(|selector| {
            let more = if more.is_empty() {
                String::new()
            } else {
                format!(",{more}")
            };
            format!("rate({metric}{{{selector}{more}}}[{window}s])")
        });
        all.collect::<Vec<_>>().join(" or ")
    };
    let requests = format!("sum({})", rate(counted.requests, ""));
    match wanted.value {
        BuiltInValue::RequestsPerSecond => requests,
        BuiltInValue::ErrorPercent => {
            let bad = counted
                .bad
                .iter()
                .map(|bad| format!("(sum({}) or vector(0))", rate(counted.requests, bad)));
            let bad = bad.collect::<Vec<_>>().join(" + ");
            format!("100 * ({bad}) / ({requests} > 0)")
        }
        BuiltInValue::LatencyMilliseconds => {
            let share = f64::from(wanted.percentile()) / 100.0;
            let factor = counted.milliseconds;
            let buckets = rate(counted.buckets, "");
            format!("{factor} * histogram_quantile({share}, sum by (le) ({buckets}))")
        }
    }
}

fn counted(router: MetricsRouter, subject: &Subject<'_>) -> Counted {
    let text = |text: &str| escaped(text, Language::PromQl);
    let pattern = |text: &str| escaped(&literally(text), Language::PromQl);
    let (namespace, revision) = (subject.namespace, subject.revision);
    match router {
        MetricsRouter::Traefik => {
            // Each of its providers writes more around it; the name of a revision is in no other one.
            let service = format!("(.*-)?{}-{}-.*@.*", pattern(namespace), pattern(revision));
            Counted {
                // A ServiceMonitor has a label service of its own, and Prometheus keeps the other under this name.
                of_revision: ["service", "exported_service"]
                    .map(|label| format!("{label}=~\"{service}\""))
                    .into(),
                requests: "traefik_service_requests_total",
                buckets: "traefik_service_request_duration_seconds_bucket",
                milliseconds: 1000,
                bad: vec![format!("code=~\"{SERVER_ERRORS}\"")],
            }
        }
        MetricsRouter::IngressNginx => Counted {
            // What its canary gets it counts for the service of the main Ingress, and says here who answered.
            of_revision: vec![format!(
                "canary=~\"{}-{}-.*\"",
                pattern(namespace),
                pattern(revision)
            )],
            requests: "nginx_ingress_controller_requests",
            buckets: "nginx_ingress_controller_request_duration_seconds_bucket",
            milliseconds: 1000,
            bad: vec![format!("status=~\"{SERVER_ERRORS}\"")],
        },
        MetricsRouter::Istio => Counted {
            of_revision: vec![format!(
                "reporter=~\"destination|waypoint\",destination_workload_namespace=\"{}\",destination_workload=\"{}\"",
                text(namespace),
                text(revision)
            )],
            requests: "istio_requests_total",
            buckets: "istio_request_duration_milliseconds_bucket",
            milliseconds: 1,
            bad: vec![
                format!("response_code=~\"{SERVER_ERRORS}\""),
                format!("response_code!~\"{SERVER_ERRORS}\",grpc_response_status=~\"{GRPC_SERVER_ERRORS}\""),
            ],
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(router: MetricsRouter, value: BuiltInValue) -> String {
        let wanted = BuiltInQuery {
            router,
            value,
            percentile: None,
            window_seconds: None,
        };
        let subject = Subject {
            service: "web",
            namespace: "shop",
            revision: "web-abc",
            stable: "web-xyz",
        };
        built_in(&wanted, &subject)
    }

    #[test]
    fn queries_are_about_the_revision_alone() {
        assert_eq!(
            query(MetricsRouter::Istio, BuiltInValue::RequestsPerSecond),
            "sum(rate(istio_requests_total{reporter=~\"destination|waypoint\",destination_workload_namespace=\"shop\",\
             destination_workload=\"web-abc\"}[60s]))"
        );
        assert_eq!(
            query(MetricsRouter::IngressNginx, BuiltInValue::ErrorPercent),
            "100 * ((sum(rate(nginx_ingress_controller_requests{canary=~\"shop-web\\\\-abc-.*\",status=~\"5..\"}[60s])) \
             or vector(0))) / (sum(rate(nginx_ingress_controller_requests{canary=~\"shop-web\\\\-abc-.*\"}[60s])) > 0)"
        );
        assert_eq!(
            query(MetricsRouter::Traefik, BuiltInValue::LatencyMilliseconds),
            "1000 * histogram_quantile(0.99, sum by (le) (\
             rate(traefik_service_request_duration_seconds_bucket{service=~\"(.*-)?shop-web\\\\-abc-.*@.*\"}[60s]) or \
             rate(traefik_service_request_duration_seconds_bucket{exported_service=~\"(.*-)?shop-web\\\\-abc-.*@.*\"}[60s])))"
        );
    }
}
