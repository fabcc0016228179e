//! Names of child objects. All of them but one fit into 63 characters because a service's name has at most 45.

/// The longest name of a Microservice: leaves room for `-<10 characters>` and a suffix of 6.
pub const MAX_SERVICE_NAME: usize = 45;

/// The name of a route's object.
pub fn route(service: &str, route: &str) -> String {
    format!("{service}-{route}")
}

/// The name of the Ingress that takes a share of a route's traffic away from the route's own one. The only name that may be
/// longer than 63 characters, at most 70: an Ingress may have 253. No route's name ends like this, the CRD sees to that.
pub fn canary_ingress(service: &str, route: &str) -> String {
    format!("{service}-{route}-canary")
}

/// The name of the Service in front of a revision that nobody else is sent to yet.
pub fn preview(service: &str) -> String {
    format!("{service}-preview")
}

/// The name of the immutable copy of a ConfigMap or Secret for one revision; `digest` is the source's short digest.
pub fn snapshot(revision: &str, digest: &str) -> String {
    format!("{revision}-{digest}")
}

/// Whether `name` can be a Microservice's: a DNS-1035 label of at most 45 characters.
pub fn is_service_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let Some((first, last)) = bytes.first().zip(bytes.last()) else {
        return false;
    };
    bytes.len() <= MAX_SERVICE_NAME
        && first.is_ascii_lowercase()
        && (last.is_ascii_lowercase() || last.is_ascii_digit())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn service_names_are_dns_1035_labels_of_at_most_45() {
        for good in ["a", "orders", "orders-2", &"a".repeat(45)] {
            assert!(is_service_name(good), "{good}");
        }
        for bad in ["", "-a", "a-", "1a", "A", "a.b", "a_b", &"a".repeat(46)] {
            assert!(!is_service_name(bad), "{bad}");
        }
    }

    #[test]
    fn the_longest_names_fit_a_label() {
        let service = "s".repeat(MAX_SERVICE_NAME);
        let revision = format!("{service}-{}", "b".repeat(10));
        assert!(snapshot(&revision, "ccccc").len() <= 63);
        assert!(route(&service, &"r".repeat(17)).len() <= 63);
        assert!(preview(&service).len() <= 63);
        assert!(canary_ingress(&service, &"r".repeat(17)).len() <= 253);
    }
}
