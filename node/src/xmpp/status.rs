//! What `entente status` shows of federation streams.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

/// One stream, or one domain pair without a stream just now.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct StreamStatus {
    /// `in` or `out`.
    pub(crate) direction: &'static str,
    /// Our domain.
    pub(crate) local: String,
    /// The peer's.
    pub(crate) remote: String,
    /// `connecting`, `established`, `backing off`, `idle`, `unauthenticated`; outbound also `over the
    /// peer's stream`: an inbound one that the peer opened for both directions.
    pub(crate) state: &'static str,
    /// The peer's address, or the target.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peer: Option<String>,
    /// The TLS version; absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<&'static str>,
    /// `external` or `dialback`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) authentication: Option<&'static str>,
    /// Both directions on this stream.
    pub(crate) bidi: bool,
    /// The peer acknowledges.
    pub(crate) acks: bool,
    /// Stanzas that wait for the stream.
    pub(crate) queued: usize,
    /// Stanzas on the stream, or from it, without a receipt.
    pub(crate) under_way: usize,
    /// Why the last attempt failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
}

/// The inbound streams.
#[derive(Debug, Default)]
pub(super) struct InboundList {
    next: AtomicU64,
    entries: Mutex<BTreeMap<u64, Vec<StreamStatus>>>,
}

/// One inbound connection's place in the list; gone when dropped.
#[derive(Debug)]
pub(super) struct InboundEntry {
    id: u64,
    list: Arc<InboundList>,
}

impl InboundList {
    pub(super) fn enter(self: &Arc<Self>, first: StreamStatus) -> InboundEntry {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.lock().insert(id, vec![first]);
        InboundEntry {
            id,
            list: Arc::clone(self),
        }
    }

    pub(super) fn all(&self) -> Vec<StreamStatus> {
        self.lock().values().flatten().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Vec<StreamStatus>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InboundEntry {
    /// Replaces what is shown: one entry for each authenticated pair.
    pub(super) fn show(&self, entries: Vec<StreamStatus>) {
        self.list.lock().insert(self.id, entries);
    }
}

impl Drop for InboundEntry {
    fn drop(&mut self) {
        self.list.lock().remove(&self.id);
    }
}
