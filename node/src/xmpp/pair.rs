//! One pair of domains, ours and the peer's: its queue, and what is known of its stream.
//!
//! The queue is emptied by one stream at a time, so that order holds: by the one that we opened
//! ([`super::outbound`]), or, while there is none, by the oldest of those that the peer opened for both
//! directions ([`super::carrier`]). What one stream leaves without a receipt goes to the front again
//! before another begins.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use entente_fabric_core::outbound::{OutboundQueue, Pushed, QueueBounds, Waiting};
use entente_home_core::EnvelopeId;
use tokio::sync::Notify;

use super::status::StreamStatus;
use crate::fabric::OutboundItem;

/// See the module.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) local: Arc<str>,
    pub(super) remote: Arc<str>,
    inner: Mutex<Inner>,
    wake: Notify,
    /// A stream of the peer's came.
    attached: Notify,
    /// Connections of ours that are not yet closed to the end.
    connections: AtomicIsize,
}

/// The peer's streams that may empty one queue, at most.
const MAX_CARRIERS: usize = 8;

/// A stream of the peer's that may empty the queue.
#[derive(Debug)]
struct Carrier {
    id: u64,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct Inner {
    queue: OutboundQueue,
    retired: bool,
    status: StreamStatus,
    /// Oldest first.
    carriers: VecDeque<Carrier>,
    /// A stream of ours is up, or on the way.
    ours: bool,
}

impl Inner {
    /// The stream of the peer's that has the queue now.
    fn carrier(&self) -> Option<&Carrier> {
        self.carriers.front().filter(|_| !self.ours)
    }
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

/// Why a stream of the peer's does not empty the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unattached {
    /// The pair is being removed: look for another.
    Retired,
    /// There are enough.
    Full,
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
                carriers: VecDeque::new(),
                ours: false,
            }),
            wake: Notify::new(),
            attached: Notify::new(),
            connections: AtomicIsize::new(0),
        }
    }

    /// Takes a stanza into the queue.
    pub(super) fn offer(&self, now: Instant, item: OutboundItem) -> Offer {
        let mut inner = self.lock();
        if inner.retired {
            return Offer::Retired(item);
        }
        let first = !inner.queue.has_waiting();
        match inner.queue.push(now, item) {
            Pushed::Queued => {
                if first {
                    self.rouse(&inner);
                }
                Offer::Taken
            }
            Pushed::Pending => Offer::Taken,
            Pushed::Done(envelope) => Offer::Done(envelope),
            Pushed::Full(item) => Offer::Full(item),
            Pushed::Early(envelope) => Offer::Early(envelope),
        }
    }

    /// Wakes whoever empties the queue.
    fn rouse(&self, inner: &Inner) {
        match inner.carrier() {
            Some(carrier) => carrier.wake.notify_one(),
            None => self.wake.notify_one(),
        }
    }

    /// Waits for stanzas in a queue that had none, or for the end of the peer's last stream.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Begins a stream of our own, unless a stream of the peer's has the queue or none is needed.
    pub(super) fn begin(&self) -> bool {
        let mut inner = self.lock();
        inner.ours = inner.carriers.is_empty() && inner.queue.has_waiting();
        inner.ours
    }

    /// Our own stream is over, or was never up.
    pub(super) fn finish(&self) {
        let mut inner = self.lock();
        inner.ours = false;
        if inner.queue.has_waiting() {
            self.rouse(&inner);
        }
    }

    /// A stream of the peer's may empty the queue as soon as [`Self::carried_by`] says so; `wake` tells
    /// that something waits. `Err` if the pair is being removed, or if there are enough of them.
    pub(super) fn attach(&self, id: u64, wake: &Arc<Notify>) -> Result<(), Unattached> {
        let mut inner = self.lock();
        if inner.retired {
            return Err(Unattached::Retired);
        }
        if inner.carriers.len() >= MAX_CARRIERS {
            return Err(Unattached::Full);
        }
        let wake = Arc::clone(wake);
        inner.carriers.push_back(Carrier { id, wake });
        if inner.queue.has_waiting() {
            self.rouse(&inner);
        }
        // Whoever pauses before another stream of ours need not go on.
        self.attached.notify_one();
        Ok(())
    }

    /// A stream of the peer's is over; gives back what was tried too often.
    pub(super) fn detach(&self, id: u64, now: Instant) -> Vec<Waiting> {
        let mut inner = self.lock();
        let had = inner.carrier().is_some_and(|carrier| carrier.id == id);
        inner.carriers.retain(|carrier| carrier.id != id);
        let given_up = match had {
            true => inner.queue.requeue(now),
            false => Vec::new(),
        };
        if inner.queue.has_waiting() {
            self.rouse(&inner);
        }
        given_up
    }

    /// Whether the peer's stream `id` has the queue.
    pub(super) fn carried_by(&self, id: u64) -> bool {
        let inner = self.lock();
        inner.carrier().is_some_and(|carrier| carrier.id == id)
    }

    /// Waits for a stream of the peer's.
    pub(super) async fn until_carried(&self) {
        while !self.is_carried() {
            self.attached.notified().await;
        }
    }

    /// Whether a stream of the peer's is there.
    pub(super) fn is_carried(&self) -> bool {
        !self.lock().carriers.is_empty()
    }

    /// Hands up to `bytes` of stanzas to `send`, with their tokens. Gives back those that are larger than
    /// the peer accepts.
    pub(super) fn take(
        &self,
        mut bytes: usize,
        largest: Option<usize>,
        mut send: impl FnMut(u64, Bytes),
    ) -> Vec<Waiting> {
        let mut inner = self.lock();
        let mut oversized = Vec::new();
        while bytes > 0 {
            if let Some(too_large) = largest.and_then(|most| inner.queue.take_oversized(most)) {
                oversized.push(too_large);
                continue;
            }
            let Some((token, stanza)) = inner.queue.take_next() else {
                break;
            };
            bytes = bytes.saturating_sub(stanza.len());
            send(token, stanza);
        }
        oversized
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

    /// Takes no more from now on, unless something waits or a stream is there: then `false`.
    pub(super) fn retire(&self) -> bool {
        let mut inner = self.lock();
        inner.retired = inner.queue.is_empty() && inner.carriers.is_empty();
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
            state: match inner.carrier() {
                Some(_) => "over the peer's stream",
                None => inner.status.state,
            },
            ..inner.status.clone()
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use entente_home_core::SessionKey;
    use entente_xmpp_core::stanza::Stanza;

    use super::*;

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting point for virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn pair() -> Pair {
        let bounds = QueueBounds {
            stanzas: 100,
            bytes: 100_000,
            wait: Duration::from_secs(60),
        };
        Pair::new(
            Arc::from("here.example"),
            Arc::from("there.example"),
            bounds,
        )
    }

    fn offer(pair: &Pair, seq: u64) {
        let text = format!("<message from='a@here.example' to='b@there.example' id='{seq}'/>");
        let item = OutboundItem {
            envelope: Some(EnvelopeId::new(SessionKey::new("n1", 1, 7), seq)),
            stanza: Stanza::parse(Bytes::from(text)).unwrap(),
        };
        assert!(matches!(pair.offer(start(), item), Offer::Taken));
    }

    fn taken(pair: &Pair) -> Vec<u64> {
        let mut ids = Vec::new();
        pair.take(usize::MAX, None, |_, stanza| {
            let text = String::from_utf8(stanza.to_vec()).unwrap();
            let id = text
                .split("id='")
                .nth(1)
                .and_then(|rest| rest.split('\'').next());
            ids.push(id.unwrap().parse().unwrap());
        });
        ids
    }

    async fn is_roused(wake: &Notify) -> bool {
        tokio::time::timeout(Duration::ZERO, wake.notified())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn the_peers_stream_has_the_queue_while_none_of_ours_is_there() {
        let (pair, now, wake) = (pair(), start(), Arc::new(Notify::new()));
        offer(&pair, 1);
        assert!(pair.begin(), "nobody else would send it");
        pair.attach(5, &wake).unwrap();
        assert!(!pair.carried_by(5), "order: one stream at a time");
        assert_eq!(taken(&pair), [1]);
        pair.requeue(now);
        pair.finish();
        assert!(pair.carried_by(5) && is_roused(&wake).await);
        assert!(!pair.begin() && !pair.retire());
        offer(&pair, 2);
        assert_eq!(taken(&pair), [1, 2]);
    }

    #[tokio::test]
    async fn what_a_stream_leaves_goes_first_on_the_next() {
        let (pair, now) = (pair(), start());
        let (first, second) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        pair.attach(5, &first).unwrap();
        pair.attach(6, &second).unwrap();
        offer(&pair, 1);
        assert!(is_roused(&first).await && !is_roused(&second).await);
        assert_eq!(taken(&pair), [1]);
        offer(&pair, 2);
        assert!(pair.detach(5, now).is_empty());
        assert!(pair.carried_by(6) && is_roused(&second).await);
        assert_eq!(taken(&pair), [1, 2]);
        // The last one is gone: a stream of ours is needed.
        pair.detach(6, now);
        assert!(is_roused(&pair.wake).await && pair.begin());
    }

    #[test]
    fn a_stream_that_waits_behind_another_leaves_nothing() {
        let (pair, now, wake) = (pair(), start(), Arc::new(Notify::new()));
        pair.attach(5, &wake).unwrap();
        pair.attach(6, &wake).unwrap();
        offer(&pair, 1);
        assert_eq!(taken(&pair), [1]);
        assert!(pair.detach(6, now).is_empty());
        assert_eq!(taken(&pair), [0; 0], "it is still on the way on the first");
    }

    #[test]
    fn streams_are_bounded() {
        let (pair, wake) = (pair(), Arc::new(Notify::new()));
        for id in 0..8 {
            pair.attach(id, &wake).unwrap();
        }
        assert_eq!(pair.attach(8, &wake), Err(Unattached::Full));
    }
}
