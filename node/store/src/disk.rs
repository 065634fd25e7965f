//! Room for the log.
//!
//! The engine maps its log files into memory and dies when the disk can't back them. So writes are
//! refused while there is still room for what other nodes replicate to this one. A node that can't
//! write can't renew its lease either and leaves service until there is room again.

use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

/// How long a look at the disk holds.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The free space under the data directory, looked up at most once a second.
#[derive(Debug)]
pub(crate) struct DiskWatch {
    dir: PathBuf,
    min_free: u64,
    looked: Option<Instant>,
    low: bool,
}

impl DiskWatch {
    pub(crate) fn new(dir: PathBuf, min_free: u64) -> Self {
        Self {
            dir,
            min_free,
            looked: None,
            low: false,
        }
    }

    /// Whether there is too little room to write.
    pub(crate) fn is_low(&mut self, now: Instant) -> bool {
        let stale = self
            .looked
            .is_none_or(|looked| now.saturating_duration_since(looked) >= LOOK_EVERY);
        if stale {
            self.looked = Some(now);
            // A file system that can't be asked is not a full one.
            let free = fs4::available_space(&self.dir).unwrap_or(u64::MAX);
            let low = free < self.min_free;
            if low != self.low {
                tracing::warn!(free, min_free = self.min_free, low, "room for the store");
            }
            self.low = low;
        }
        self.low
    }
}
