//! TLS of the operator's own calls: the provider is named, so that none has to be installed for the process.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::{ClientConfig, RootCertStore};

/// The client with TLS that trusts these authorities.
pub fn trusting(builder: ClientBuilder, roots: RootCertStore) -> ClientBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    match ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions() {
        Ok(tls) => {
            let tls = tls.with_root_certificates(roots).with_no_client_auth();
            builder.tls_backend_preconfigured(tls)
        }
        // Not with the ring provider, which has ciphers for all versions.
        Err(error) => {
            tracing::error!(%error, "TLS cannot be set up");
            builder
        }
    }
}
