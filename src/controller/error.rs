//! Errors of the API server, by what follows from them.

use kube::Error;

use crate::rollout::FailureClass;

/// What a failed write means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteError {
    /// What we know is not what is: look again.
    Conflict,
    /// It was refused, or could not be done now.
    Refused(FailureClass, String),
}

/// What an error of a write means.
pub fn classify(error: &Error) -> WriteError {
    let Error::Api(status) = error else {
        return WriteError::Refused(FailureClass::Transient, words(error));
    };
    match status.code {
        // A field manager conflict cannot be: we force. 404 on an apply: the namespace or the kind is gone.
        409 => WriteError::Conflict,
        400 | 422 => WriteError::Refused(FailureClass::Invalid, status.message.clone()),
        401 | 403 | 404 | 405 => WriteError::Refused(FailureClass::Forbidden, status.message.clone()),
        _ => WriteError::Refused(FailureClass::Transient, words(error)),
    }
}

/// An error with its causes, in one line.
pub fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn api(code: u16) -> Error {
        Error::Api(Box::new(Status { code, message: "words".into(), ..Status::default() }))
    }

    #[test]
    fn codes_mean_what_follows_from_them() {
        assert_eq!(classify(&api(409)), WriteError::Conflict);
        for (code, class) in [
            (422, FailureClass::Invalid),
            (400, FailureClass::Invalid),
            (403, FailureClass::Forbidden),
            (429, FailureClass::Transient),
            (500, FailureClass::Transient),
            (504, FailureClass::Transient),
        ] {
            assert!(matches!(classify(&api(code)), WriteError::Refused(found, _) if found == class), "{code}");
        }
    }
}
