//! Waiting for a condition that announces itself in no other way than by being looked at.

use std::future::Future;
use std::time::{Duration, Instant};

/// Asks `probe` every 50 ms until it answers with a value; panics after `limit`, saying `what`.
/// Returns the value and how long it took.
pub async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> F,
) -> (T, Duration) {
    let begin = Instant::now();
    loop {
        if let Some(value) = probe().await {
            return (value, begin.elapsed());
        }
        assert!(begin.elapsed() < limit, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The future's value; panics after `limit`, saying `what`.
pub async fn within<T>(what: &str, limit: Duration, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, work).await {
        Ok(value) => value,
        Err(_) => panic!("not within {limit:?}: {what}"),
    }
}
