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
        // An unknown field in a server-side apply comes as an internal error without a reason, although it is the object's.
        500 if status.message.contains("failed to create typed patch object") => {
            WriteError::Refused(FailureClass::Invalid, status.message.clone())
        }
        _ => WriteError::Refused(FailureClass::Transient, words(error)),
    }
}

/// An error with its causes, in one line; of an answer of the API server its message alone.
pub fn words(error: &(dyn std::error::Error + 'static)) -> String {
    if let Some(Error::Api(status)) = error.downcast_ref::<Error>() {
        return format!("{} ({})", status.message, status.code);
    }
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
        Error::Api(Box::new(Status {
            code,
            message: "words".into(),
            ..Status::default()
        }))
    }

    #[test]
    fn a_typo_in_an_apply_is_the_objects_fault_and_an_answer_is_quoted_without_its_shell() {
        let message = "failed to create typed patch object (a/b; apps/v1, Kind=Deployment): .spec.x: field not declared in schema";
        let typo = Error::Api(Box::new(Status {
            code: 500,
            message: message.into(),
            ..Status::default()
        }));
        assert_eq!(
            classify(&typo),
            WriteError::Refused(FailureClass::Invalid, message.to_owned())
        );
        assert_eq!(words(&api(503)), "words (503)");
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
            assert!(
                matches!(classify(&api(code)), WriteError::Refused(found, _) if found == class),
                "{code}"
            );
        }
    }
}
