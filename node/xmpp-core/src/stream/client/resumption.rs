//! A dead stream that its client may come back to (XEP-0198 section 5).

use std::sync::Arc;

use crate::jid::FullJid;
use crate::management::{QueueFull, ReceivedCount, SentQueue, Unacked};

/// What is left of a stream: everything a new one needs to go on.
///
/// While it is parked the session is still there: stanzas for it are queued with
/// [`Self::push`], receipts for what it had taken in are counted with [`Self::handled`]. Receipts
/// that come later, on the new stream, must not be reported to it: the client sends those stanzas
/// again.
#[derive(Debug)]
pub struct ResumedState {
    pub(super) jid: FullJid,
    pub(super) id: Arc<str>,
    pub(super) sent: SentQueue,
    pub(super) received: ReceivedCount,
}

impl ResumedState {
    /// The session's address.
    #[must_use]
    pub fn jid(&self) -> &FullJid {
        &self.jid
    }

    /// The id that the client will give as `previd`.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        &self.id
    }

    /// Queues a stanza for the client's return.
    ///
    /// # Errors
    /// [`QueueFull`]: the caller keeps the stanza and should end the session.
    pub fn push(&mut self, stanza: bytes::Bytes, token: u64) -> Result<(), QueueFull> {
        self.sent.push(stanza, token)
    }

    /// This many more inbound stanzas of the old stream have receipts.
    pub fn handled(&mut self, count: u64) {
        self.received.handled(count);
    }

    /// Inbound stanzas without a receipt. When it is 0 nothing is sent twice on resumption.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        self.received.unhandled()
    }

    /// How many stanzas of the client were handled: the `h` to give when resumption fails.
    #[must_use]
    pub fn h(&self) -> u32 {
        self.received.h()
    }

    /// Gives up: everything that the client never acknowledged, oldest first.
    #[must_use]
    pub fn into_unacked(mut self) -> Vec<Unacked> {
        self.sent.drain().collect()
    }
}
