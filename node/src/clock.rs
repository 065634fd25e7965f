//! The clocks, read in one place: cores get the time as an argument.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The monotonic clock: deadlines, leases, the fence.
#[expect(
    clippy::disallowed_methods,
    reason = "the shells read the monotonic clock here"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// The wall clock: certificates, stamps, what people read. Nothing is timed by it.
#[expect(
    clippy::disallowed_methods,
    reason = "the shells read the wall clock here"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Unix time in milliseconds; 0 for a clock set before 1970.
pub(crate) fn wall_ms() -> u64 {
    wall()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}

/// Waits for `deadline`; for ever without one.
pub(crate) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}
