//! Waiting for something to be seen. The only place where a test sleeps.

use std::time::{Duration, Instant};

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long a test waits for what must come.
pub fn patience() -> Duration {
    let seconds = std::env::var("PATIENCE")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(60);
    Duration::from_secs(seconds)
}

/// Looks until there is an answer. Panics after [`patience`], with what was seen last.
pub async fn eventually<T>(what: &str, look: impl AsyncFnMut() -> Result<T, String>) -> T {
    within(patience(), what, look).await
}

/// Looks until there is an answer. Panics after `limit`, with what was seen last.
pub async fn within<T>(limit: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look().await {
            Ok(answer) => return answer,
            Err(seen) if began.elapsed() >= limit => {
                panic!(
                    "waited {:.1} s in vain for {what}; last seen: {seen}",
                    limit.as_secs_f64()
                )
            }
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

/// [`within`], where nothing is asynchronous.
pub fn within_blocking<T>(limit: Duration, what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(answer) => return answer,
            Err(seen) if began.elapsed() >= limit => {
                panic!(
                    "waited {:.1} s in vain for {what}; last seen: {seen}",
                    limit.as_secs_f64()
                )
            }
            Err(_) => std::thread::sleep(INTERVAL),
        }
    }
}

/// Looks for as long as `period` whether something stays as it is. Panics as soon as it does not.
pub async fn throughout(period: Duration, what: &str, mut look: impl AsyncFnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < period {
        if let Err(seen) = look().await {
            panic!(
                "{what} did not last: after {:.1} s: {seen}",
                began.elapsed().as_secs_f64()
            );
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
