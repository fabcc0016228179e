//! Requests to the API server end, one way or the other.

use std::io;
use std::time::Duration;

use kube::Error;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(15);

/// `request`, or an error when there is no answer in time: a worker must not wait for an answer that never comes.
///
/// # Errors
/// Those of the request, and the time-out.
pub async fn bounded<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    match tokio::time::timeout(TIMEOUT, request).await {
        Ok(result) => result,
        Err(_) => {
            let message = format!("no answer from the API server within {} s", TIMEOUT.as_secs());
            Err(Error::Service(Box::new(io::Error::new(
                io::ErrorKind::TimedOut,
                message,
            ))))
        }
    }
}
