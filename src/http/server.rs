//! The server and its three pages.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::Readiness;
use crate::telemetry::Metrics;

/// What the pages show.
#[derive(Clone, Debug)]
pub struct Endpoints {
    /// The page /metrics.
    pub metrics: Arc<Metrics>,
    /// The page /readyz.
    pub readiness: Readiness,
}

/// The content type that the format of [`Metrics::encode`] has.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves /metrics, /livez and /readyz until `shutdown` resolves and the requests that were begun are answered.
///
/// # Errors
/// Where the listener fails.
pub async fn serve(
    listener: TcpListener,
    endpoints: Endpoints,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, router(endpoints))
        .with_graceful_shutdown(shutdown)
        .await
}

fn router(endpoints: Endpoints) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .with_state(endpoints)
}

async fn metrics(State(endpoints): State<Endpoints>) -> Response {
    match endpoints.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

/// The runtime schedules this: that is all that a restart could mend. A broken connection to the API server is not.
async fn livez() -> &'static str {
    "ok\n"
}

async fn readyz(State(endpoints): State<Endpoints>) -> Response {
    let missing = endpoints.readiness.missing();
    if missing.is_empty() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("waiting for: {}\n", missing.join(", ")),
        )
            .into_response()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tokio::sync::oneshot;
    use tower::ServiceExt;

    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints {
            metrics: Arc::new(Metrics::new(jiff::Timestamp::UNIX_EPOCH)),
            readiness: Readiness::new(),
        }
    }

    /// The status, content type and body of a page.
    async fn page(endpoints: &Endpoints, path: &str) -> (u16, String, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = router(endpoints.clone()).oneshot(request).await.unwrap();
        let kind = response
            .headers()
            .get(header::CONTENT_TYPE)
            .map(|v| v.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (
            status,
            kind.unwrap_or_default(),
            String::from_utf8(body.to_vec()).unwrap(),
        )
    }

    const TEXT: &str = "text/plain; charset=utf-8";

    #[tokio::test]
    async fn it_is_alive_before_it_is_ready() {
        let endpoints = endpoints();
        let gates = [
            endpoints.readiness.gate("microservices"),
            endpoints.readiness.gate("pods"),
        ];
        assert_eq!(
            page(&endpoints, "/livez").await,
            (200, TEXT.into(), "ok\n".into())
        );
        let waiting = (
            503,
            TEXT.into(),
            "waiting for: start, microservices, pods\n".into(),
        );
        assert_eq!(page(&endpoints, "/readyz").await, waiting);
        endpoints.readiness.completed();
        let waiting = (503, TEXT.into(), "waiting for: microservices, pods\n".into());
        assert_eq!(page(&endpoints, "/readyz").await, waiting);
        gates[0].open();
        assert_eq!(
            page(&endpoints, "/readyz").await,
            (503, TEXT.into(), "waiting for: pods\n".into())
        );
        gates[1].open();
        assert_eq!(
            page(&endpoints, "/readyz").await,
            (200, TEXT.into(), "ok\n".into())
        );
    }

    #[tokio::test]
    async fn metrics_are_open_metrics() {
        let endpoints = endpoints();
        endpoints.metrics.watch_failed("Pod");
        let (status, kind, body) = page(&endpoints, "/metrics").await;
        assert_eq!((status, kind.as_str()), (200, OPEN_METRICS));
        assert!(
            body.contains("\nmicroservice_operator_watch_errors_total{kind=\"Pod\"} 1\n"),
            "{body}"
        );
        assert!(body.ends_with("# EOF\n"));
    }

    #[tokio::test]
    async fn there_are_no_other_pages() {
        assert_eq!(page(&endpoints(), "/").await.0, 404);
        assert_eq!(page(&endpoints(), "/debug").await.0, 404);
    }

    /// What the server answers to a request, byte by byte.
    fn raw_answer(address: SocketAddr) -> io::Result<String> {
        let mut connection = TcpStream::connect(address)?;
        connection.write_all(b"GET /livez HTTP/1.1\r\nHost: operator\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer)?;
        Ok(answer)
    }

    #[tokio::test]
    async fn it_serves_over_tcp_until_it_is_told_to_stop() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, endpoints(), async { drop(stopped.await) }));
        let answer = tokio::task::spawn_blocking(move || raw_answer(address))
            .await
            .unwrap()
            .unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nok\n"), "{answer}");
        stop.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).is_err());
    }
}
