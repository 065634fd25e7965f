//! What waits for one connection: deliveries (bounded, refused when full) and receipts (bounded by
//! what the connection itself has under custody, never refused). One lock push per item, one wake-up
//! per batch, and no heap while it is empty: most connections are idle most of the time.

use std::sync::{Mutex, PoisonError};

use entente_cluster::NodeId;
use entente_home_core::{BindError, DeliveryId, EndReason, EnvelopeId};
use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::stanza::Stanza;
use tokio::sync::Notify;

/// One thing for a connection.
#[derive(Debug)]
pub(crate) enum Item {
    Deliver {
        delivery: Option<DeliveryId>,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
    },
    Receipt(u64),
    Retry(u64),
    BindResult(Result<FullJid, BindError>),
    End(EndReason),
    /// This node may have forgotten its users' sessions: if it is the home, register again.
    Resync(NodeId),
    /// The node hands over: end the stream so that nothing is left in doubt; clients and peers shall
    /// come back elsewhere.
    Leave,
    /// The node is isolated: end the stream at once.
    Shutdown,
}

/// The queue does not take the delivery: the client reads too slowly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InboxFull;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    items: Vec<Item>,
    deliveries: usize,
    bytes: usize,
    closed: bool,
}

/// Most deliveries that wait for one connection.
const MAX_DELIVERIES: usize = 4096;
/// Most bytes of deliveries that wait for one connection; a single larger stanza still goes.
const MAX_BYTES: usize = 4 * 1024 * 1024;

impl Inbox {
    /// Adds `item`.
    ///
    /// # Errors
    /// [`InboxFull`] for a delivery that does not fit, or when the connection is gone.
    pub(crate) fn push(&self, item: Item) -> Result<(), InboxFull> {
        let first = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.closed {
                return Err(InboxFull);
            }
            if let Item::Deliver { stanza, .. } = &item {
                let size = stanza.bytes().len();
                if queue.deliveries >= MAX_DELIVERIES
                    || (queue.deliveries > 0 && queue.bytes + size > MAX_BYTES)
                {
                    return Err(InboxFull);
                }
                queue.deliveries += 1;
                queue.bytes += size;
            }
            queue.items.push(item);
            queue.items.len() == 1
        };
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Adds many receipts (or, with `retry`, negative ones) at once.
    pub(crate) fn push_receipts(&self, seqs: &[u64], retry: bool) {
        let first = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if queue.closed || seqs.is_empty() {
                return;
            }
            let first = queue.items.is_empty();
            queue.items.extend(seqs.iter().map(|&seq| {
                if retry {
                    Item::Retry(seq)
                } else {
                    Item::Receipt(seq)
                }
            }));
            first
        };
        if first {
            self.wake.notify_one();
        }
    }

    /// Takes everything that waits; empty when nothing does.
    pub(crate) fn take(&self) -> Vec<Item> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.deliveries = 0;
        queue.bytes = 0;
        std::mem::take(&mut queue.items)
    }

    /// Waits until something is there. Cancel-safe: take with [`Self::take`] afterwards.
    pub(crate) async fn ready(&self) {
        loop {
            let notified = self.wake.notified();
            if !self
                .queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .items
                .is_empty()
            {
                return;
            }
            notified.await;
        }
    }

    /// Refuses everything from now on and returns what was not taken.
    pub(crate) fn close(&self) -> Vec<Item> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.closed = true;
        std::mem::take(&mut queue.items)
    }
}
