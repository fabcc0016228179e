//! The addresses that routes give the service.

use super::{Backend, Exposure, Way};

/// The addresses that routes give the service: of each host the first path that leads here.
///
/// Hosts with a wildcard have no address to name. A Gateway's certificates are the Gateway's: a route is
/// taken for HTTPS where it names port 443, or a listener or a Gateway of Istio that is called after TLS.
pub fn urls(exposure: &Exposure) -> Vec<String> {
    let mut all = Vec::new();
    for route in &exposure.routes {
        let Some(rule) = route.rules.iter().find(|rule| rule.backend == Backend::Own) else {
            continue;
        };
        for host in route.hosts.iter().filter(|host| !host.starts_with('*')) {
            let path = if rule.path == "/" { "" } else { rule.path.as_str() };
            let url = format!("{}://{host}{path}", scheme(&route.way, host));
            if !all.contains(&url) {
                all.push(url);
            }
        }
    }
    all
}

fn scheme(way: &Way, host: &str) -> &'static str {
    let secure = match way {
        Way::Ingress { tls, .. } => tls
            .iter()
            .any(|tls| tls.hosts.is_empty() || tls.hosts.iter().any(|h| covers(h, host))),
        Way::Gateway { parent_refs, .. } => parent_refs.iter().any(|parent| {
            let section = parent.section_name.as_deref().unwrap_or_default();
            parent.port == Some(443) || is_called_after_tls(section)
        }),
        Way::Istio { gateways, .. } => gateways.iter().any(|gateway| is_called_after_tls(gateway)),
    };
    if secure { "https" } else { "http" }
}

fn is_called_after_tls(name: &str) -> bool {
    name.contains("https") || name.contains("tls")
}

/// Whether a certificate for `pattern` is good for `host`; a wildcard stands for one label.
fn covers(pattern: &str, host: &str) -> bool {
    match (pattern.strip_prefix("*."), host.split_once('.')) {
        (Some(domain), Some((_, parent))) => domain == parent,
        (Some(_), None) => false,
        (None, _) => pattern == host,
    }
}
