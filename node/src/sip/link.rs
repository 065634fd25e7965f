//! Open connections, and the table of them. Whoever has a [`Link`] can write to the connection and close
//! it; the task in [`super::connection`] does both.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use entente_sip_core::transaction::{ConnectionId, Flow};
use entente_sip_core::via::Transport;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::proof::Proof;

/// Messages that wait for one connection's socket. A peer that does not read them loses the connection.
const OUTBOX: usize = 1024;
/// Domains that are remembered to have spoken on one connection, for the status.
const MAX_SPEAKERS: usize = 64;

/// One open connection.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) id: ConnectionId,
    /// The peer opened it.
    pub(super) inbound: bool,
    pub(super) transport: Transport,
    /// The peer's end.
    pub(super) address: SocketAddr,
    pub(super) proof: Proof,
    /// The TLS version.
    pub(super) tls: Option<&'static str>,
    pub(super) since: Instant,
    outbox: mpsc::Sender<Bytes>,
    closing: CancellationToken,
    /// The peer ended it, or the way to the peer did.
    lost: AtomicBool,
    /// Requests of dialogs went out on it: somebody of ours has something with the peer.
    carried: AtomicBool,
    /// The peer takes requests on it: we opened it, or the peer said `alias` (RFC 5923).
    both_ways: AtomicBool,
    /// Domains that spoke on it, with their peers' names.
    speakers: Mutex<BTreeMap<String, Arc<str>>>,
    pub(super) counts: LinkCounts,
}

/// What went over a connection.
#[derive(Debug, Default)]
pub(super) struct LinkCounts {
    pub(super) requests_in: AtomicU64,
    pub(super) requests_out: AtomicU64,
    pub(super) refused: AtomicU64,
}

impl Link {
    /// How messages on it go.
    pub(super) fn flow(&self) -> Flow {
        Flow {
            connection: self.id,
            transport: self.transport,
        }
    }

    /// Queues a message for the socket. A connection that does not keep up is closed.
    pub(super) fn send(&self, bytes: Bytes) {
        if self.outbox.try_send(bytes).is_err() && !self.closing.is_cancelled() {
            tracing::warn!(peer = %self.address, "a SIP peer does not read; the connection is closed");
            metrics::counter!("entente_sip_slow_peers_total").increment(1);
            self.close();
        }
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// Ends the connection, which was not our wish.
    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Relaxed);
        self.close();
    }

    /// A request of a dialog goes out on it.
    pub(super) fn carries_dialog(&self) {
        self.carried.store(true, Ordering::Relaxed);
    }

    /// Whether it is gone against our wish, and dialogs of ours with it perhaps.
    pub(super) fn is_missed(&self) -> bool {
        !self.is_open() && self.lost.load(Ordering::Relaxed) && self.carried.load(Ordering::Relaxed)
    }

    /// Whether it can be sent on.
    pub(super) fn is_open(&self) -> bool {
        !self.closing.is_cancelled()
    }

    /// Waits until somebody closes it.
    pub(super) async fn closed(&self) {
        self.closing.cancelled().await;
    }

    /// The peer said that requests may come back on it.
    pub(super) fn allow_both_ways(&self) {
        self.both_ways.store(true, Ordering::Relaxed);
    }

    /// Remembers that `domain` of `peer` spoke here; whether it is the first one at all.
    pub(super) fn heard(&self, domain: &str, peer: &Arc<str>) -> bool {
        let mut speakers = self.lock();
        let first = speakers.is_empty();
        if !speakers.contains_key(domain) && speakers.len() < MAX_SPEAKERS {
            speakers.insert(domain.to_owned(), Arc::clone(peer));
        }
        first
    }

    /// The domains that spoke here, with their peers' names.
    pub(super) fn speakers(&self) -> BTreeMap<String, Arc<str>> {
        self.lock().clone()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Arc<str>>> {
        self.speakers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of a connection when it opens.
pub(super) struct Opening {
    pub(super) inbound: bool,
    pub(super) transport: Transport,
    pub(super) address: SocketAddr,
    pub(super) proof: Proof,
    pub(super) tls: Option<&'static str>,
}

/// All open connections of this node.
#[derive(Debug, Default)]
pub(super) struct Links {
    next: AtomicU64,
    open: RwLock<HashMap<ConnectionId, Arc<Link>>>,
}

impl Links {
    /// Enters a connection; what is to be written to its socket comes out of the receiver.
    pub(super) fn enter(
        &self,
        now: Instant,
        opening: Opening,
    ) -> (Arc<Link>, mpsc::Receiver<Bytes>) {
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let link = Arc::new(Link {
            id: ConnectionId(self.next.fetch_add(1, Ordering::Relaxed)),
            inbound: opening.inbound,
            transport: opening.transport,
            address: opening.address,
            proof: opening.proof,
            tls: opening.tls,
            since: now,
            outbox,
            closing: CancellationToken::new(),
            lost: AtomicBool::new(false),
            carried: AtomicBool::new(false),
            both_ways: AtomicBool::new(!opening.inbound),
            speakers: Mutex::default(),
            counts: LinkCounts::default(),
        });
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(link.id, Arc::clone(&link));
        (link, messages)
    }

    /// The connection, if it is open.
    pub(super) fn get(&self, id: ConnectionId) -> Option<Arc<Link>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.get(&id).cloned()
    }

    /// A connection that the peer opened, and on which it takes requests: where `domain` is given, one on
    /// which that domain spoke.
    pub(super) fn back_to(&self, peer: &str, domain: Option<&str>) -> Option<Arc<Link>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        let fits = |link: &&Arc<Link>| {
            link.inbound
                && link.is_open()
                && link.both_ways.load(Ordering::Relaxed)
                && link.lock().iter().any(|(known, name)| {
                    **name == *peer && domain.is_none_or(|domain| domain == known)
                })
        };
        // The youngest: the peer may have forgotten the others.
        open.values()
            .filter(fits)
            .max_by_key(|link| link.id)
            .cloned()
    }

    /// The connection is over.
    pub(super) fn leave(&self, id: ConnectionId) {
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.remove(&id);
    }

    /// How many are open.
    pub(super) fn count(&self) -> usize {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.len()
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        open.values().cloned().collect()
    }
}
