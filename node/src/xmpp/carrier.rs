//! Our stanzas on a stream that the peer opened for both directions (XEP-0288): it empties the pair's
//! queue as long as no stream of ours does.

use std::sync::Arc;
use std::time::Instant;

use entente_xmpp_core::stream::{InboundInput, InboundStream};
use tokio::sync::Notify;

use super::outbound::{WRITE_AHEAD, bounce_all, bounce_oversized, expire};
use super::pair::{Pair, Unattached};
use super::service::XmppService;
use crate::clock::now;
use crate::fabric::ReceiptBatch;

/// See the module. Dropped, it gives the queue back.
pub(super) struct Carrier {
    service: Arc<XmppService>,
    pair: Arc<Pair>,
    id: u64,
    wake: Arc<Notify>,
    /// The peer does not acknowledge: tokens that go with the bytes in the write buffer.
    on_write: Vec<u64>,
}

impl Carrier {
    /// Offers a stream for `local`'s stanzas to `remote`; `None` if there are enough, or too many pairs.
    pub(super) fn attach(service: &Arc<XmppService>, local: &str, remote: &str) -> Option<Self> {
        let (id, wake) = (service.next_carrier(), Arc::new(Notify::new()));
        loop {
            let pair = service.pair(local, remote)?;
            match pair.attach(id, &wake) {
                Ok(()) => {
                    return Some(Self {
                        service: Arc::clone(service),
                        pair,
                        id,
                        wake,
                        on_write: Vec::new(),
                    });
                }
                Err(Unattached::Retired) => service.remove(&pair),
                Err(Unattached::Full) => return None,
            }
        }
    }

    /// Something waits, or the queue is this stream's now. Cancel-safe.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Gives the stream what waits, if the queue is its.
    pub(super) fn fill(&mut self, now: Instant, stream: &mut InboundStream) {
        if !stream.is_sendable() || !self.pair.carried_by(self.id) {
            return;
        }
        let (acks, largest) = (stream.sm_enabled(), stream.peer_limits().max_bytes);
        let on_write = &mut self.on_write;
        let mut count = 0;
        let oversized = self.pair.take(WRITE_AHEAD, largest, |token, stanza| {
            count += 1;
            stream.handle_input(now, InboundInput::Send { stanza, token });
            if !acks {
                on_write.push(token);
            }
        });
        if count > 0 {
            self.service.stanzas_out.increment(count);
        }
        bounce_oversized(&self.service, oversized, largest);
    }

    /// The peer acknowledged this stanza.
    pub(super) fn delivered(&self, token: u64) {
        self.done([token]);
    }

    /// Everything that was in the write buffer is with the kernel.
    pub(super) fn written(&mut self) {
        if !self.on_write.is_empty() {
            let tokens = std::mem::take(&mut self.on_write);
            self.done(tokens);
        }
    }

    fn done(&self, tokens: impl IntoIterator<Item = u64>) {
        let mut batch = ReceiptBatch::default();
        self.pair.done(tokens, |envelope| batch.receipt(envelope));
        batch.flush(&self.service.switchboard);
    }

    /// When [`Self::timeout`] wants to be called.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let deadline = self.pair.next_deadline()?;
        self.pair.carried_by(self.id).then_some(deadline)
    }

    /// A deadline may have come.
    pub(super) fn timeout(&self) {
        if self.pair.carried_by(self.id) {
            expire(&self.service, &self.pair);
        }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        let given_up = self.pair.detach(self.id, now());
        bounce_all(&self.service, given_up, &super::outbound::tried_too_often());
    }
}
