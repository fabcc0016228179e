//! [`super::read`] on what libraries really expose.

use std::num::NonZeroU32;

use proptest::prelude::*;

use super::*;

fn errors(body: &str) -> Result<Reading, Unreadable> {
    read(
        body.as_bytes(),
        Indicator::Errors,
        &Names::Usual,
        &ProbePaths::usual(),
    )
}

fn slower(body: &str, milliseconds: u32) -> Result<Reading, Unreadable> {
    let milliseconds = NonZeroU32::new(milliseconds).unwrap();
    let indicator = Indicator::SlowerThan { milliseconds };
    read(body.as_bytes(), indicator, &Names::Usual, &ProbePaths::usual())
}

/// Requests, bad ones, and from where.
fn told(reading: Result<Reading, Unreadable>) -> (u64, u64, String) {
    let reading = reading.unwrap();
    (
        reading.count.requests(),
        reading.count.bad(),
        reading.source.to_string(),
    )
}

/// podinfo 6.14: a counter without path, into which its probes go, and a histogram with a path of its own form
/// (pkg/api/http/metrics.go).
const PODINFO: &str = r#"
# HELP http_request_duration_seconds Seconds spent serving HTTP requests.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{method="GET",path="api_info",status="200",le="0.1"} 90
http_request_duration_seconds_bucket{method="GET",path="api_info",status="200",le="0.25"} 95
http_request_duration_seconds_bucket{method="GET",path="api_info",status="200",le="+Inf"} 100
http_request_duration_seconds_sum{method="GET",path="api_info",status="200"} 12.5
http_request_duration_seconds_count{method="GET",path="api_info",status="200"} 100
http_request_duration_seconds_bucket{method="GET",path="api_info",status="500",le="0.1"} 7
http_request_duration_seconds_bucket{method="GET",path="api_info",status="500",le="0.25"} 7
http_request_duration_seconds_bucket{method="GET",path="api_info",status="500",le="+Inf"} 7
http_request_duration_seconds_sum{method="GET",path="api_info",status="500"} 0.1
http_request_duration_seconds_count{method="GET",path="api_info",status="500"} 7
http_request_duration_seconds_bucket{method="GET",path="healthz",status="200",le="0.1"} 400
http_request_duration_seconds_bucket{method="GET",path="healthz",status="200",le="0.25"} 400
http_request_duration_seconds_bucket{method="GET",path="healthz",status="200",le="+Inf"} 400
http_request_duration_seconds_sum{method="GET",path="healthz",status="200"} 0.4
http_request_duration_seconds_count{method="GET",path="healthz",status="200"} 400
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{status="200"} 500
http_requests_total{status="500"} 7
promhttp_metric_handler_requests_total{code="200"} 12
"#;

#[test]
fn podinfo_is_read_from_its_histogram_because_that_tells_probes() {
    assert_eq!(
        told(errors(PODINFO)),
        (107, 7, "http_request_duration_seconds_count".to_owned())
    );
}

#[test]
fn a_counter_without_path_is_read_where_there_is_nothing_better() {
    let body = "http_requests_total{code=\"200\",method=\"get\"} 90\nhttp_requests_total{code=\"503\",method=\"get\"} 10\n";
    assert_eq!(told(errors(body)), (100, 10, "http_requests_total".to_owned()));
}

#[test]
fn the_source_stays_when_the_first_requests_come_in() {
    let before = "http_request_duration_seconds_count{path=\"healthz\",status=\"200\"} 4\nhttp_requests_total{status=\"200\"} 4\n";
    assert_eq!(
        told(errors(before)),
        (0, 0, "http_request_duration_seconds_count".to_owned())
    );
}

#[test]
fn a_threshold_between_buckets_takes_the_next_higher_and_says_so() {
    let exact = told(slower(PODINFO, 250));
    assert_eq!((exact.0, exact.1), (107, 5));
    assert_eq!(exact.2, "http_request_duration_seconds_bucket over 250 ms");
    let above = told(slower(PODINFO, 200));
    assert_eq!(
        (above.0, above.1),
        (107, 5),
        "the 5 between 100 and 250 are not called slow"
    );
    assert!(
        above.2.ends_with("over 250 ms, the next bucket there is"),
        "{}",
        above.2
    );
    assert_eq!(
        slower(PODINFO, 251),
        Err(Unreadable::ThresholdAboveBuckets {
            samples: "http_request_duration_seconds_bucket".to_owned(),
            highest: 250.0
        })
    );
}

#[test]
fn a_bound_that_a_series_lacks_is_not_used() {
    let body = "http_request_duration_seconds_bucket{path=\"/a\",le=\"0.1\"} 5\n\
        http_request_duration_seconds_bucket{path=\"/a\",le=\"0.5\"} 8\n\
        http_request_duration_seconds_bucket{path=\"/a\",le=\"+Inf\"} 10\n\
        http_request_duration_seconds_bucket{path=\"/b\",le=\"0.5\"} 10\n\
        http_request_duration_seconds_bucket{path=\"/b\",le=\"+Inf\"} 10\n";
    let (requests, slow, source) = told(slower(body, 100));
    assert_eq!((requests, slow), (20, 2));
    assert!(source.contains("500 ms"), "{source}");
}

#[test]
fn micrometer_names_the_uri_and_has_buckets_only_when_asked() {
    let body = r#"
http_server_requests_seconds_count{error="none",exception="none",method="GET",outcome="SUCCESS",status="200",uri="/orders/{id}",} 1.0E3
http_server_requests_seconds_count{error="E",exception="E",method="GET",outcome="SERVER_ERROR",status="500",uri="/orders/{id}",} 3.0
http_server_requests_seconds_count{error="none",exception="none",method="GET",outcome="SUCCESS",status="200",uri="/actuator/prometheus",} 60.0
http_server_requests_seconds_sum{status="200",uri="/orders/{id}",} 1.5
"#;
    assert_eq!(
        told(errors(body)),
        (1003, 3, "http_server_requests_seconds_count".to_owned())
    );
    assert_eq!(
        slower(body, 100),
        Err(Unreadable::NoBuckets {
            samples: "http_server_requests_seconds_count".to_owned()
        })
    );
}

#[test]
fn opentelemetry_names_route_and_status_code() {
    let body = r#"
http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/orders",url_scheme="http"} 40 # {trace_id="a"} 1
http_server_request_duration_seconds_count{error_type="500",http_request_method="GET",http_response_status_code="500",http_route="/orders"} 2
http_server_request_duration_seconds_count{http_request_method="GET",http_response_status_code="200",http_route="/healthz"} 9
# EOF
"#;
    let (requests, bad, _) = told(errors(body));
    assert_eq!((requests, bad), (42, 2));
}

#[test]
fn grpc_goes_before_http_once_it_is_used() {
    let probes = "http_requests_total{code=\"200\"} 50\n";
    let idle = "grpc_server_handled_total{grpc_code=\"OK\",grpc_method=\"Get\",grpc_service=\"shop.Orders\",grpc_type=\"unary\"} 0\n";
    let used = r#"
grpc_server_handled_total{grpc_code="OK",grpc_method="Get",grpc_service="shop.Orders",grpc_type="unary"} 90
grpc_server_handled_total{grpc_code="NotFound",grpc_method="Get",grpc_service="shop.Orders",grpc_type="unary"} 5
grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Get",grpc_service="shop.Orders",grpc_type="unary"} 4
grpc_server_handled_total{grpc_code="Unimplemented",grpc_method="Get",grpc_service="shop.Orders",grpc_type="unary"} 1
grpc_server_handled_total{grpc_code="OK",grpc_method="Check",grpc_service="grpc.health.v1.Health",grpc_type="unary"} 70
"#;
    let (requests, bad, source) = told(errors(&format!("{probes}{used}")));
    assert_eq!(
        (requests, bad, source.as_str()),
        (100, 5, "grpc_server_handled_total")
    );
    let (_, _, source) = told(errors(&format!("{probes}{idle}")));
    assert_eq!(source, "http_requests_total");
}

#[test]
fn istio_counts_what_came_in_and_its_milliseconds() {
    let body = r#"
istio_requests_total{reporter="destination",response_code="200",grpc_response_status="",request_protocol="http"} 80
istio_requests_total{reporter="destination",response_code="503",grpc_response_status="",request_protocol="http"} 5
istio_requests_total{reporter="destination",response_code="200",grpc_response_status="14",request_protocol="grpc"} 2
istio_requests_total{reporter="source",response_code="500",request_protocol="http"} 1000
istio_request_duration_milliseconds_bucket{reporter="destination",le="500"} 80
istio_request_duration_milliseconds_bucket{reporter="destination",le="+Inf"} 87
istio_request_duration_milliseconds_bucket{reporter="source",le="500"} 0
istio_request_duration_milliseconds_bucket{reporter="source",le="+Inf"} 1000
"#;
    assert_eq!(told(errors(body)), (87, 7, "istio_requests_total".to_owned()));
    let (requests, slow, _) = told(slower(body, 500));
    assert_eq!((requests, slow), (87, 7));
}

#[test]
fn users_name_their_own() {
    let given = Given {
        family: "orders_handled".to_owned(),
        unit: Unit::Seconds,
        label: "result".to_owned(),
        bad: BadValues::OneOf(["failed".to_owned()].into()),
    };
    let body = "orders_handled_total{result=\"ok\"} 9\norders_handled_total{result=\"failed\"} 1\nhttp_requests_total{code=\"500\"} 9\n";
    let reading = read(
        body.as_bytes(),
        Indicator::Errors,
        &Names::Given(given),
        &ProbePaths::usual(),
    );
    assert_eq!(told(reading), (10, 1, "orders_handled_total".to_owned()));
}

#[test]
fn what_cannot_be_read_says_why() {
    assert_eq!(errors("up 1\n"), Err(Unreadable::NoFamily));
    assert_eq!(
        errors("http_requests_total{method=\"get\"} 3\n"),
        Err(Unreadable::NoStatus {
            samples: "http_requests_total".to_owned()
        })
    );
    for value in ["NaN", "-1", "+Inf", "1e300"] {
        assert_eq!(
            errors(&format!("http_requests_total{{code=\"200\"}} {value}\n")),
            Err(Unreadable::NotACount {
                samples: "http_requests_total".to_owned()
            }),
            "{value}"
        );
    }
    assert!(matches!(
        errors("<html>"),
        Err(Unreadable::Malformed(Malformed { line: 1 }))
    ));
}

proptest! {
    #[test]
    fn whatever_the_numbers_are_nothing_panics(
        lines in prop::collection::vec(
            (
                prop::sample::select(&["_bucket", "_count", "_sum", ""][..]),
                prop::sample::select(&["0.1", "0.25", "+Inf", "NaN", "-1", "x", ""][..]),
                prop::sample::select(&["200", "500", "", "5xx"][..]),
                any::<f64>(),
            ),
            0..20,
        ),
        milliseconds in 1_u32..10_000,
    ) {
        let body: String = lines
            .iter()
            .map(|(suffix, le, status, value)| {
                format!("http_request_duration_seconds{suffix}{{le=\"{le}\",status=\"{status}\"}} {value}\n")
            })
            .collect();
        let _ = errors(&body);
        let _ = slower(&body, milliseconds);
    }
}
