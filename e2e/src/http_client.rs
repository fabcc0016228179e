//! Requests to pods and Services, each over a connection of its own, as most callers in a cluster come.

use std::net::SocketAddr;
use std::time::Duration;

use http::{Method, Request};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(5);

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Its status code.
    pub code: u16,
    /// Its body.
    pub body: String,
}

impl Answer {
    /// The version that the application under test says it is.
    pub fn version(&self) -> Option<String> {
        let body: Value = serde_json::from_str(&self.body).ok()?;
        // podinfo is told its version as its message; its own version is that of podinfo.
        let version = body.get("message").or_else(|| body.get("version"))?;
        version.as_str().map(str::to_owned)
    }
}

/// Asks once.
///
/// # Errors
/// In words, where no whole answer came in time.
pub async fn ask(method: Method, address: SocketAddr, path: &str) -> Result<Answer, String> {
    match tokio::time::timeout(LIMIT, exchange(method, address, path)).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// Asks once with GET.
///
/// # Errors
/// As [`ask`].
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer, String> {
    ask(Method::GET, address, path).await
}

async fn exchange(method: Method, address: SocketAddr, path: &str) -> Result<Answer, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address.to_string())
        .header("connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string());
    let answer = match response {
        Ok(response) => {
            let code = response.status().as_u16();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| error.to_string());
            body.map(|body| Answer {
                code,
                body: String::from_utf8_lossy(&body.to_bytes()).into_owned(),
            })
        }
        Err(error) => Err(error),
    };
    driver.abort();
    answer
}
