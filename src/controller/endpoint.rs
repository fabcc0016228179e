//! Whom a rollout asks over HTTP for what it is judged by: a Prometheus, or anybody who answers.
//!
//! A token and trusted authorities come from Secrets that the spec names. They are read when something is asked for the
//! first time and again after each failure, so that a token that was renewed is found, and a rollout that goes well
//! costs the API server nothing.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::Mutex;

use super::call::{self, headers};
use super::delivery::ReadSecret;
use super::error::words;
use super::tls::trusting;
use crate::api::{PrometheusServer, SecretKey, WebCheck, WebMethod};
use crate::health::message;

/// What is asked of a Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrometheusApi {
    /// The present values: <https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries>.
    Query,
    /// Those of a range: <https://prometheus.io/docs/prometheus/latest/querying/api/#range-queries>.
    QueryRange,
}

/// Somebody who is asked.
#[derive(Debug)]
pub struct Endpoint {
    url: Url,
    /// For messages: an address may hold a password.
    host: String,
    headers: HeaderMap,
    limit: Duration,
    credentials: Credentials,
    secrets: Arc<dyn ReadSecret>,
    open: Mutex<Option<Open>>,
}

/// What is read from Secrets of a namespace.
#[derive(Debug)]
struct Credentials {
    namespace: String,
    token: Option<SecretKey>,
    authority: Option<SecretKey>,
}

/// Ready to be asked.
#[derive(Clone, Debug)]
struct Open {
    http: Client,
    authorization: Option<HeaderValue>,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Endpoint {
    /// A Prometheus, for a service in `namespace`.
    ///
    /// # Errors
    /// Where its address or headers are not valid, in words that quote neither.
    pub fn of_prometheus(
        server: &PrometheusServer,
        api: PrometheusApi,
        namespace: &str,
        secrets: Arc<dyn ReadSecret>,
    ) -> Result<Self, String> {
        let mut endpoint = Self::new(
            &server.address,
            headers(&server.headers)?,
            secrets,
            Credentials {
                namespace: namespace.to_owned(),
                token: server.token_from.clone(),
                authority: server.authority_from.clone(),
            },
        )
        .map_err(|why| message("the address of Prometheus", &why))?;
        let last = match api {
            PrometheusApi::Query => "query",
            PrometheusApi::QueryRange => "query_range",
        };
        if let Ok(mut path) = endpoint.url.path_segments_mut() {
            path.pop_if_empty().extend(["api", "v1", last]);
        }
        endpoint.limit = Duration::from_secs(server.timeout_seconds().into());
        Ok(endpoint)
    }

    /// Whom a check calls, for a service in `namespace`.
    ///
    /// # Errors
    /// Where its address or headers are not valid, in words that quote neither.
    pub fn of_web(web: &WebCheck, namespace: &str, secrets: Arc<dyn ReadSecret>) -> Result<Self, String> {
        let mut all = headers(&web.headers)?;
        if web.body.is_some() {
            all.entry(header::CONTENT_TYPE)
                .or_insert(HeaderValue::from_static("application/json"));
        }
        let mut endpoint = Self::new(
            &web.url,
            all,
            secrets,
            Credentials {
                namespace: namespace.to_owned(),
                token: web.token_from.clone(),
                authority: web.authority_from.clone(),
            },
        )
        .map_err(|why| message("url", &why))?;
        endpoint.limit = Duration::from_secs(web.timeout_seconds().into());
        Ok(endpoint)
    }

    fn new(
        address: &str,
        headers: HeaderMap,
        secrets: Arc<dyn ReadSecret>,
        credentials: Credentials,
    ) -> Result<Self, String> {
        // The parser's words do not quote the address.
        let url = Url::parse(address).map_err(|error| message("it is not valid", &error.to_string()))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err("it must begin with http:// or https://".to_owned());
        }
        let host = match (url.host_str(), url.port()) {
            (Some(host), Some(port)) => format!("{host}:{port}"),
            (Some(host), None) => host.to_owned(),
            (None, _) => return Err("it names no host".to_owned()),
        };
        Ok(Self {
            url,
            host,
            headers,
            limit: Duration::ZERO,
            credentials,
            secrets,
            open: Mutex::new(None),
        })
    }

    /// Who it is, for messages.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// How long it may take.
    pub fn limit(&self) -> Duration {
        self.limit
    }

    /// Sends a form.
    ///
    /// # Errors
    /// Where there is no answer of at most `bytes`, in one line.
    pub async fn post_form(&self, form: &[(&str, &str)], bytes: usize) -> Result<Answer, String> {
        self.ask(bytes, |http, url| http.post(url).form(form)).await
    }

    /// Makes the call of a check.
    ///
    /// # Errors
    /// Where there is no answer of at most `bytes`, in one line.
    pub async fn call(&self, web: &WebCheck, bytes: usize) -> Result<Answer, String> {
        self.ask(bytes, |http, url| {
            let request = match web.method.unwrap_or_default() {
                WebMethod::Get => http.get(url),
                WebMethod::Post => http.post(url),
            };
            match &web.body {
                Some(body) => request.body(body.clone()),
                None => request,
            }
        })
        .await
    }

    async fn ask(
        &self,
        bytes: usize,
        request: impl FnOnce(&Client, Url) -> RequestBuilder,
    ) -> Result<Answer, String> {
        let open = self.opened().await?;
        let mut request = request(&open.http, self.url.clone())
            .headers(self.headers.clone())
            .timeout(self.limit);
        if let Some(authorization) = open.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let answer = received(request, bytes).await;
        if !answer
            .as_ref()
            .is_ok_and(|answer| (200..300).contains(&answer.status))
        {
            *self.open.lock().await = None;
        }
        answer
    }

    async fn opened(&self) -> Result<Open, String> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open {
            return Ok(open.clone());
        }
        let fresh = Open {
            authorization: self.authorization().await?,
            http: self.client().await?,
        };
        *open = Some(fresh.clone());
        Ok(fresh)
    }

    async fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        let Some(key) = &self.credentials.token else {
            return Ok(None);
        };
        let token = self.read(key).await?;
        let mut value = HeaderValue::from_str(&format!("Bearer {}", token.trim())).map_err(|_| {
            format!(
                "key {} of Secret {} has characters that no header may have",
                key.key, key.name
            )
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    async fn client(&self) -> Result<Client, String> {
        let builder = match &self.credentials.authority {
            None => call::client(),
            Some(key) => {
                let pem = self.read(key).await?;
                let mut roots = RootCertStore::empty();
                let found = CertificateDer::pem_slice_iter(pem.as_bytes()).filter_map(Result::ok);
                let (added, _) = roots.add_parsable_certificates(found);
                if added == 0 {
                    return Err(format!(
                        "key {} of Secret {} has no certificate in PEM",
                        key.key, key.name
                    ));
                }
                trusting(call::untrusting(), roots)
            }
        };
        builder
            .build()
            .map_err(|error| message("the operator cannot make calls", &words(&error)))
    }

    async fn read(&self, key: &SecretKey) -> Result<String, String> {
        let SecretKey { name, key } = key;
        let found = self.secrets.read(&self.credentials.namespace, name).await;
        let found = found.map_err(|error| message(&format!("Secret {name} cannot be read"), &error))?;
        let secret = found.ok_or_else(|| format!("there is no Secret {name}"))?;
        let value = secret.data.as_ref().and_then(|data| data.get(key));
        let value = value.ok_or_else(|| format!("Secret {name} has no key {key}"))?;
        let text = std::str::from_utf8(&value.0);
        let text = text.map_err(|_| format!("key {key} of Secret {name} is no text"))?;
        Ok(text.to_owned())
    }
}

/// The answer, or why there is none in one line.
async fn received(request: RequestBuilder, bytes: usize) -> Result<Answer, String> {
    let said = |error: reqwest::Error| words(&error.without_url());
    let mut response = request.send().await.map_err(said)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(more) = response.chunk().await.map_err(said)? {
        if body.len() + more.len() > bytes {
            return Err(format!("the answer is larger than {bytes} bytes"));
        }
        body.extend_from_slice(&more);
    }
    Ok(Answer { status, body })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex as StdMutex;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use futures::FutureExt;
    use futures::future::BoxFuture;
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    use super::*;

    const BYTES: usize = 1024;

    /// Secrets with one key, `token`, by name; and how often one was read.
    #[derive(Debug, Default)]
    struct Vault {
        tokens: StdMutex<BTreeMap<String, String>>,
        reads: StdMutex<u32>,
    }

    impl Vault {
        fn put(&self, name: &str, token: &str) {
            self.tokens.lock().unwrap().insert(name.into(), token.into());
        }
    }

    impl ReadSecret for Vault {
        fn read<'a>(&'a self, _: &'a str, name: &'a str) -> BoxFuture<'a, Result<Option<Secret>, String>> {
            *self.reads.lock().unwrap() += 1;
            let token = self.tokens.lock().unwrap().get(name).cloned();
            let secret = token.map(|token| Secret {
                data: Some([("token".to_owned(), ByteString(token.into_bytes()))].into()),
                ..Secret::default()
            });
            async move { Ok(secret) }.boxed()
        }
    }

    fn key(name: &str) -> SecretKey {
        SecretKey {
            name: name.into(),
            key: "token".into(),
        }
    }

    async fn serve(routes: Router) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        address.to_string()
    }

    fn server(address: &str) -> PrometheusServer {
        PrometheusServer {
            address: address.to_owned(),
            headers: [("X-Scope-OrgID".to_owned(), "shop".to_owned())].into(),
            timeout_seconds: Some(2),
            ..PrometheusServer::default()
        }
    }

    fn prometheus(server: &PrometheusServer, api: PrometheusApi) -> Result<Endpoint, String> {
        Endpoint::of_prometheus(server, api, "shop", Arc::new(Vault::default()))
    }

    #[tokio::test]
    async fn a_query_is_a_form_with_the_users_headers() {
        let (told, mut heard) = mpsc::unbounded_channel();
        let answer = async move |headers: HeaderMap, body: String| {
            told.send((headers, body)).unwrap();
            "{}"
        };
        let routes = Router::new()
            .route("/prom/api/v1/query", post(answer.clone()))
            .route("/prom/api/v1/query_range", post(answer));
        let address = serve(routes).await;
        // A slash at the end of the address is no other address.
        for (path, api) in [
            ("/prom", PrometheusApi::Query),
            ("/prom/", PrometheusApi::Query),
            ("/prom", PrometheusApi::QueryRange),
        ] {
            let prometheus = prometheus(&server(&format!("http://{address}{path}")), api).unwrap();
            assert_eq!(prometheus.host(), address);
            let form = [("query", r#"up{a="b&c"}"#), ("timeout", "2s")];
            let answer = prometheus.post_form(&form, BYTES).await.unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
            let (headers, body) = heard.recv().await.unwrap();
            assert_eq!(headers["x-scope-orgid"], "shop");
            assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
            assert_eq!(body, "query=up%7Ba%3D%22b%26c%22%7D&timeout=2s");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_said_not_to() {
        let nobody = prometheus(&server("http://127.0.0.1:1"), PrometheusApi::Query).unwrap();
        let words = nobody.post_form(&[], BYTES).await.unwrap_err();
        assert!(words.contains("refused"), "{words}");
        for address in ["http://", "http://:9090", "http://a b", "file:///etc/passwd"] {
            assert!(
                prometheus(&server(address), PrometheusApi::Query).is_err(),
                "{address}"
            );
        }
        let large = serve(Router::new().route("/", get(async || vec![b'#'; BYTES + 1]))).await;
        let web = WebCheck {
            url: format!("http://{large}/"),
            ..WebCheck::default()
        };
        let large = Endpoint::of_web(&web, "shop", Arc::new(Vault::default())).unwrap();
        assert_eq!(
            large.call(&web, BYTES).await,
            Err("the answer is larger than 1024 bytes".to_owned())
        );
    }

    #[tokio::test]
    async fn a_token_is_read_once_and_again_after_it_was_refused() {
        let answer = async |headers: HeaderMap| {
            let given = headers.get(header::AUTHORIZATION);
            if given.is_some_and(|given| given == "Bearer second") {
                StatusCode::OK
            } else {
                StatusCode::UNAUTHORIZED
            }
        };
        let address = serve(Router::new().route("/", post(answer))).await;
        let web = WebCheck {
            url: format!("http://{address}/"),
            method: Some(WebMethod::Post),
            token_from: Some(key("web")),
            ..WebCheck::default()
        };
        let vault = Arc::new(Vault::default());
        let secrets: Arc<dyn ReadSecret> = Arc::<Vault>::clone(&vault);
        let endpoint = Endpoint::of_web(&web, "shop", secrets).unwrap();
        let status = async || endpoint.call(&web, BYTES).await.map(|answer| answer.status);
        assert_eq!(status().await, Err("there is no Secret web".to_owned()));
        vault.put("web", "first\n");
        assert_eq!(status().await, Ok(401));
        vault.put("web", "second\n");
        assert_eq!(status().await, Ok(200));
        assert_eq!(status().await, Ok(200));
        assert_eq!(*vault.reads.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn an_authority_that_is_none_is_said_to_be_none() {
        let vault = Arc::new(Vault::default());
        vault.put("ca", "hello");
        let web = WebCheck {
            url: "https://127.0.0.1:1/".into(),
            authority_from: Some(key("ca")),
            ..WebCheck::default()
        };
        let endpoint = Endpoint::of_web(&web, "shop", vault).unwrap();
        assert_eq!(
            endpoint.call(&web, BYTES).await,
            Err("key token of Secret ca has no certificate in PEM".to_owned())
        );
    }
}
