//! What went wrong, in one sentence that says what to do.

use std::error::Error;

use crate::plugin::page::printable;

/// A sentence for standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble(pub String);

impl<T: Into<String>> From<T> for Trouble {
    fn from(text: T) -> Self {
        Self(printable(&text.into()))
    }
}

/// What was asked of the API server.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The verb of RBAC.
    pub verb: &'a str,
    /// The resource, in the plural.
    pub resource: &'a str,
    /// The name, where one was asked for.
    pub name: Option<&'a str>,
    /// The namespace; empty for all.
    pub namespace: &'a str,
}

impl Asked<'_> {
    fn place(&self) -> String {
        match self.namespace {
            "" => "all namespaces".to_owned(),
            namespace => format!("namespace {namespace}"),
        }
    }

    /// What an error of the client means here.
    pub fn failed(&self, error: &kube::Error) -> Trouble {
        match error {
            kube::Error::Api(status) => self.refused(status),
            kube::Error::SerdeError(error) => format!(
                "the cluster's {} cannot be read ({error}): use the plugin that belongs to the operator's version, this is {}",
                self.resource,
                env!("CARGO_PKG_VERSION")
            )
            .into(),
            kube::Error::Auth(error) => format!(
                "the credentials of the kubeconfig cannot be had: {}: check that its login command works, for example with kubectl get ns",
                chain(error)
            )
            .into(),
            other => format!(
                "the cluster cannot be reached: {}: check --context, KUBECONFIG and the network",
                chain(other)
            )
            .into(),
        }
    }

    fn refused(&self, status: &kube::core::Status) -> Trouble {
        let place = self.place();
        let known = status
            .details
            .as_ref()
            .is_some_and(|details| !details.name.is_empty());
        match (status.code, self.name) {
            (404, Some(name)) if known => format!(
                "there is no {} {name} in {place}: kubectl microservice list -A shows the services there are",
                self.resource.trim_end_matches('s')
            ),
            (404, _) if self.resource == "microservices" => {
                "this cluster does not know Microservices: install the operator with its CRDs, or check --context".to_owned()
            }
            (404, _) => format!("this cluster does not serve {}: {}", self.resource, status.message),
            (401, _) => "the cluster does not accept these credentials: log in again, or check --context".to_owned(),
            (403, _) => format!(
                "you may not {} {} in {place}: ask for the right, or check --context and -n; the cluster says: {}",
                self.verb, self.resource, status.message
            ),
            (409, Some(name)) => format!(
                "{name} was changed or made anew by somebody else at the same time, and nothing was written: say it again"
            ),
            // What the API server says where a test of a JSON patch fails; an invalid object is named.
            (422, Some(name)) if status.message.starts_with("the server rejected our request") => format!(
                "{name} was changed by somebody else at the same time, and nothing was written: say it again"
            ),
            _ => format!(
                "the cluster refused to {} {} in {place}: {}",
                self.verb, self.resource, status.message
            ),
        }
        .into()
    }

    /// What an error of a watch means here.
    pub fn lost(&self, error: &kube::runtime::watcher::Error) -> Trouble {
        use kube::runtime::watcher::Error as Lost;
        match error {
            Lost::InitialListFailed(error) | Lost::WatchStartFailed(error) | Lost::WatchFailed(error) => {
                self.failed(error)
            }
            Lost::WatchError(status) => self.refused(status),
            Lost::NoResourceVersion => {
                self.refused(&kube::core::Status::failure(&error.to_string(), "Unwatchable"))
            }
        }
    }
}

/// The oldest Kubernetes that serves Microservices, as in the charts.
const OLDEST: (u32, u32) = (1, 33);

/// Whether it says that the server does not know Microservices at all.
pub fn knows_none(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let named = status
        .details
        .as_ref()
        .is_some_and(|details| !details.name.is_empty());
    status.code == 404 && !named
}

/// What it means that a server of this version does not know Microservices; none where the version is not why.
pub fn too_old(major: &str, minor: &str) -> Option<Trouble> {
    // Some vendors write 30+.
    let number = |text: &str| text.trim_end_matches('+').parse::<u32>().ok();
    let found = (number(major)?, number(minor)?);
    (found < OLDEST).then(|| {
        format!(
            "this cluster runs Kubernetes {}.{}, and Microservices need {}.{} or newer: upgrade it, or check --context",
            found.0, found.1, OLDEST.0, OLDEST.1
        )
        .into()
    })
}

/// An error with those below it, each once.
pub fn chain(error: &dyn Error) -> String {
    let mut words = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let text = error.to_string();
        if !words.contains(&text) {
            words = format!("{words}: {text}");
        }
        below = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str, name: &str) -> kube::Error {
        let status = serde_json::json!({
            "status": "Failure", "code": code, "message": message, "reason": "x", "details": {"name": name},
        });
        kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
    }

    fn said(error: &kube::Error, verb: &str) -> String {
        let asked = Asked {
            verb,
            resource: "microservices",
            name: Some("web"),
            namespace: "shop",
        };
        asked.failed(error).0
    }

    #[test]
    fn a_wrong_name_is_not_a_missing_crd() {
        assert_eq!(
            said(
                &status(404, "microservices.microservice.dev \"web\" not found", "web"),
                "get"
            ),
            "there is no microservice web in namespace shop: kubectl microservice list -A shows the services there are"
        );
        assert_eq!(
            said(&status(404, "404 page not found", ""), "get"),
            "this cluster does not know Microservices: install the operator with its CRDs, or check --context"
        );
    }

    #[test]
    fn an_old_server_is_called_old() {
        let words = too_old("1", "27+").unwrap().0;
        assert!(
            words.contains("Kubernetes 1.27") && words.contains("1.33 or newer"),
            "{words}"
        );
        assert_eq!(
            [too_old("1", "33"), too_old("2", "0"), too_old("", "x")],
            [None, None, None]
        );
        assert!(knows_none(&status(404, "404 page not found", "")));
        assert!(!knows_none(&status(404, "not found", "web")));
        assert!(!knows_none(&status(403, "", "")));
    }

    #[test]
    fn missing_rights_name_the_right() {
        let words = said(&status(403, "user jane cannot patch", "web"), "patch");
        assert_eq!(
            words,
            "you may not patch microservices in namespace shop: ask for the right, or check --context and -n; \
             the cluster says: user jane cannot patch"
        );
        assert!(said(&status(401, "Unauthorized", ""), "get").contains("log in again"));
    }

    #[test]
    fn who_came_second_is_told_that_nothing_was_written() {
        assert!(said(&status(409, "conflict", "web"), "patch").contains("nothing was written"));
        let tested = "the server rejected our request due to an error in our request";
        assert!(said(&status(422, tested, "web"), "patch").contains("nothing was written"));
    }

    #[test]
    fn an_answer_of_another_version_names_ours() {
        let error = serde_json::from_str::<i32>("\"x\"").unwrap_err();
        let words = said(&kube::Error::SerdeError(error), "get");
        assert!(words.contains(env!("CARGO_PKG_VERSION")), "{words}");
    }
}
