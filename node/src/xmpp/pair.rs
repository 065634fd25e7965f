//! One pair of domains, ours and the peer's: its queue, and what is known of its stream.

use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use entente_home_core::EnvelopeId;
use tokio::sync::Notify;

use super::queue::{OutboundQueue, Pushed, QueueBounds, Waiting};
use super::status::StreamStatus;
use crate::fabric::OutboundItem;

/// See the module.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) local: Arc<str>,
    pub(super) remote: Arc<str>,
    inner: Mutex<Inner>,
    wake: Notify,
    /// Connections that are not yet closed to the end.
    connections: AtomicIsize,
}

#[derive(Debug)]
struct Inner {
    queue: OutboundQueue,
    retired: bool,
    status: StreamStatus,
}

/// What became of a stanza that was offered.
#[derive(Debug)]
pub(super) enum Offer {
    /// It waits; its receipt or an error will come.
    Taken,
    /// It was sent before: give the receipt again.
    Done(EnvelopeId),
    /// No room.
    Full(OutboundItem),
    /// An earlier one has to come first: the holder sends both again.
    Early(EnvelopeId),
    /// The pair is being removed: look for another.
    Retired(OutboundItem),
}

impl Pair {
    pub(super) fn new(local: Arc<str>, remote: Arc<str>, bounds: QueueBounds) -> Self {
        let status = StreamStatus {
            direction: "out",
            local: local.to_string(),
            remote: remote.to_string(),
            state: "idle",
            ..StreamStatus::default()
        };
        Self {
            local,
            remote,
            inner: Mutex::new(Inner {
                queue: OutboundQueue::new(bounds),
                retired: false,
                status,
            }),
            wake: Notify::new(),
            connections: AtomicIsize::new(0),
        }
    }

    /// Takes a stanza into the queue.
    pub(super) fn offer(&self, now: Instant, item: OutboundItem) -> Offer {
        let (pushed, first) = {
            let mut inner = self.lock();
            if inner.retired {
                return Offer::Retired(item);
            }
            let idle = !inner.queue.has_waiting();
            (inner.queue.push(now, item), idle)
        };
        match pushed {
            Pushed::Queued => {
                if first {
                    self.wake.notify_one();
                }
                Offer::Taken
            }
            Pushed::Pending => Offer::Taken,
            Pushed::Done(envelope) => Offer::Done(envelope),
            Pushed::Full(item) => Offer::Full(item),
            Pushed::Early(envelope) => Offer::Early(envelope),
        }
    }

    /// Waits for stanzas in a queue that had none.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Hands up to `bytes` of stanzas to `send`, with their tokens.
    pub(super) fn take(&self, mut bytes: usize, mut send: impl FnMut(u64, Bytes)) {
        let mut inner = self.lock();
        while bytes > 0
            && let Some((token, stanza)) = inner.queue.next()
        {
            bytes = bytes.saturating_sub(stanza.len());
            send(token, stanza);
        }
    }

    /// The peer has these; `receipt` is given their envelopes.
    pub(super) fn done(
        &self,
        tokens: impl IntoIterator<Item = u64>,
        mut receipt: impl FnMut(EnvelopeId),
    ) {
        let mut inner = self.lock();
        for token in tokens {
            if let Some(envelope) = inner.queue.done(token) {
                receipt(envelope);
            }
        }
    }

    /// The stream is gone; gives back what was tried too often.
    pub(super) fn requeue(&self, now: Instant) -> Vec<Waiting> {
        self.lock().queue.requeue(now)
    }

    /// Takes what has waited too long.
    pub(super) fn expired(&self, now: Instant) -> Vec<Waiting> {
        self.lock().queue.expired(now)
    }

    /// Takes all that waits.
    pub(super) fn give_up(&self) -> Vec<Waiting> {
        self.lock().queue.give_up()
    }

    /// When [`Self::expired`] has something.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.lock().queue.next_deadline()
    }

    pub(super) fn has_waiting(&self) -> bool {
        self.lock().queue.has_waiting()
    }

    /// Nothing waits and nothing is without a receipt.
    pub(super) fn is_empty(&self) -> bool {
        self.lock().queue.is_empty()
    }

    /// Takes no more from now on, unless something waits: then `false`.
    pub(super) fn retire(&self) -> bool {
        let mut inner = self.lock();
        inner.retired = inner.queue.is_empty();
        inner.retired
    }

    /// Whether a stream is up, or its goodbye still on the way.
    pub(super) fn is_connected(&self) -> bool {
        self.connections.load(Ordering::Relaxed) > 0
    }

    /// Counts a connection more or less.
    pub(super) fn connected(&self, change: isize) {
        self.connections.fetch_add(change, Ordering::Relaxed);
    }

    /// Changes what is shown.
    pub(super) fn show(&self, change: impl FnOnce(&mut StreamStatus)) {
        change(&mut self.lock().status);
    }

    pub(super) fn status(&self) -> StreamStatus {
        let inner = self.lock();
        StreamStatus {
            queued: inner.queue.waiting(),
            under_way: inner.queue.under_way(),
            ..inner.status.clone()
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
