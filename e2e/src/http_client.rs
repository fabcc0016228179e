//! Requests to pods and Services, each over a connection of its own, as most callers in a cluster come.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use http::request::Builder;
use http::{HeaderMap, Method, Request, header};
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
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, address.to_string());
    let (_, answer) = sent(address, request).await?;
    Ok(answer)
}

/// Sends a request without a body. Answers the header and what was said.
async fn sent(address: SocketAddr, request: Builder) -> Result<(HeaderMap, Answer), String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| format!("connect: {error}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    let driver = tokio::spawn(connection);
    let request = request
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| error.to_string())?;
    let response = sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string());
    let answer = match response {
        Ok(response) => {
            let code = response.status().as_u16();
            let headers = response.headers().clone();
            let body = response
                .into_body()
                .collect()
                .await
                .map_err(|error| error.to_string());
            body.map(|body| {
                let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
                (headers, Answer { code, body })
            })
        }
        Err(error) => Err(error),
    };
    driver.abort();
    answer
}

/// A caller who keeps the cookies that are given out, as a browser does.
#[derive(Clone, Debug)]
pub struct Visitor {
    address: SocketAddr,
    host: String,
    cookies: BTreeMap<String, String>,
}

impl Visitor {
    /// One who was never there, and asks for a host.
    pub fn new(address: SocketAddr, host: &str) -> Self {
        Self {
            address,
            host: host.to_owned(),
            cookies: BTreeMap::new(),
        }
    }

    /// Asks for `/`. Answers the version that answered.
    ///
    /// # Errors
    /// In words, where no whole answer with a version came in time.
    pub async fn visit(&mut self) -> Result<String, String> {
        let mut request = Request::get("/").header(header::HOST, &self.host);
        if !self.cookies.is_empty() {
            let all: Vec<String> = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            request = request.header(header::COOKIE, all.join("; "));
        }
        let answered = tokio::time::timeout(LIMIT, sent(self.address, request)).await;
        let (headers, answer) = answered.map_err(|_| format!("no answer within {} s", LIMIT.as_secs()))??;
        for cookie in headers.get_all(header::SET_COOKIE) {
            // Path and lifetime do not matter to one who asks for one page in one session.
            let pair = cookie.to_str().ok().and_then(|text| text.split(';').next());
            if let Some((name, value)) = pair.and_then(|pair| pair.split_once('=')) {
                self.cookies
                    .insert(name.trim().to_owned(), value.trim().to_owned());
            }
        }
        answer
            .version()
            .filter(|_| answer.code == 200)
            .ok_or_else(|| format!("{}: {}", answer.code, answer.body))
    }

    /// The names of the cookies that were given out.
    pub fn cookies(&self) -> Vec<&str> {
        self.cookies.keys().map(String::as_str).collect()
    }
}
