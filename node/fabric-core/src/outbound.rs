//! What waits for, or is under way on, the stream of one pair of domains, ours and the peer's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_cluster::custody::{Seen, SeenLimits, SeenWindow};
use entente_home_core::{EnvelopeId, SessionKey};
use entente_xmpp_core::stanza::Stanza;
use hashbrown::HashSet;

/// Streams on which a stanza is tried before its sender gets an error: one that died may have been
/// killed by this very stanza.
const MAX_TRIES: u8 = 3;
/// Stanzas on a stream without a receipt; below the bound of the stream's own acknowledgement queue.
const WINDOW_STANZAS: usize = 2048;
/// Bytes on a stream without a receipt; one stanza always goes.
const WINDOW_BYTES: usize = 2 * 1024 * 1024;

/// A stanza for another domain.
#[derive(Debug)]
pub struct OutboundItem {
    /// What its holder waits for a receipt of.
    pub envelope: Option<EnvelopeId>,
    /// With both addresses.
    pub stanza: Stanza,
}

/// Bounds of one queue.
#[derive(Debug, Clone, Copy)]
pub struct QueueBounds {
    /// Stanzas, waiting and under way.
    pub stanzas: usize,
    /// Their bytes; one stanza always fits.
    pub bytes: usize,
    /// How long a stanza waits for a stream.
    pub wait: Duration,
}

/// One stanza in the queue.
#[derive(Debug)]
pub struct Waiting {
    /// What its holder waits for a receipt of.
    pub envelope: Option<EnvelopeId>,
    /// With both addresses.
    pub stanza: Stanza,
    deadline: Instant,
    tries: u8,
}

/// What became of a stanza that was handed in.
#[derive(Debug)]
pub enum Pushed {
    /// It waits.
    Queued,
    /// It was handed in before and still waits: its receipt will come.
    Pending,
    /// It was handed in before and is done: the receipt got lost.
    Done(EnvelopeId),
    /// There is no room.
    Full(OutboundItem),
    /// It must not pass an earlier one of its sender to the same recipient, which did not come here
    /// yet: the holder sends both again, in order.
    Early(EnvelopeId),
}

/// See the module.
#[derive(Debug)]
pub struct OutboundQueue {
    bounds: QueueBounds,
    waiting: VecDeque<Waiting>,
    /// Given to the stream under this token; no receipt yet. In order.
    sent: VecDeque<(u64, Waiting)>,
    bytes: usize,
    sent_bytes: usize,
    last_token: u64,
    /// Envelopes in `waiting` and `sent`.
    pending: HashSet<EnvelopeId>,
    seen: SeenWindow<SessionKey>,
}

impl OutboundQueue {
    /// An empty queue.
    pub fn new(bounds: QueueBounds) -> Self {
        Self {
            bounds,
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            bytes: 0,
            sent_bytes: 0,
            last_token: 0,
            pending: HashSet::new(),
            seen: SeenWindow::new(SeenLimits::default()),
        }
    }

    /// Takes a stanza.
    pub fn push(&mut self, now: Instant, item: OutboundItem) -> Pushed {
        if let Some(envelope) = &item.envelope
            && let Some(before) = envelope.after
            && !self.seen.contains(&envelope.holder, before)
            && !self.seen.contains(&envelope.holder, envelope.seq)
        {
            return Pushed::Early(envelope.clone());
        }
        if let Some(envelope) = &item.envelope
            && self.seen.observe(now, &envelope.holder, envelope.seq) == Seen::Duplicate
        {
            return match (self.pending.contains(envelope), item.envelope) {
                (false, Some(envelope)) => Pushed::Done(envelope),
                _ => Pushed::Pending,
            };
        }
        let size = item.stanza.bytes().len();
        let full = self.len() >= self.bounds.stanzas
            || (self.bytes > 0 && self.bytes + size > self.bounds.bytes);
        if full {
            return Pushed::Full(item);
        }
        self.bytes += size;
        self.pending.extend(item.envelope.clone());
        self.waiting.push_back(Waiting {
            envelope: item.envelope,
            stanza: item.stanza,
            deadline: now + self.bounds.wait,
            tries: 0,
        });
        Pushed::Queued
    }

    /// The next stanza for the stream, with a token (never 0); `None` if none waits or too much is
    /// under way.
    pub fn take_next(&mut self) -> Option<(u64, Bytes)> {
        let size = self.waiting.front()?.stanza.bytes().len();
        let full = self.sent.len() >= WINDOW_STANZAS
            || (self.sent_bytes > 0 && self.sent_bytes + size > WINDOW_BYTES);
        if full {
            return None;
        }
        let mut waiting = self.waiting.pop_front()?;
        waiting.tries += 1;
        self.sent_bytes += size;
        self.last_token += 1;
        let bytes = waiting.stanza.bytes().clone();
        self.sent.push_back((self.last_token, waiting));
        Some((self.last_token, bytes))
    }

    /// Takes the next stanza out if it has more than `most` bytes: a stream whose peer announced that
    /// bound would end by it (XEP-0478).
    pub fn take_oversized(&mut self, most: usize) -> Option<Waiting> {
        let waiting = self
            .waiting
            .pop_front_if(|waiting| waiting.stanza.bytes().len() > most)?;
        Some(self.forget(waiting))
    }

    /// The peer, or for a peer without acks the kernel, has the stanza. Its envelope wants a receipt.
    pub fn done(&mut self, token: u64) -> Option<EnvelopeId> {
        // Almost always the front one: peers acknowledge in order.
        let index = self.sent.iter().position(|(sent, _)| *sent == token)?;
        let (_, waiting) = self.sent.remove(index)?;
        self.sent_bytes -= waiting.stanza.bytes().len();
        self.forget(waiting).envelope
    }

    /// The stream is gone. What it had not delivered goes to the front again, in order; what was
    /// tried too often is returned.
    pub fn requeue(&mut self, now: Instant) -> Vec<Waiting> {
        let mut given_up = Vec::new();
        let deadline = self.next_deadline().unwrap_or(now + self.bounds.wait);
        self.sent_bytes = 0;
        while let Some((_, mut waiting)) = self.sent.pop_back() {
            if waiting.tries >= MAX_TRIES {
                given_up.push(self.forget(waiting));
            } else {
                waiting.deadline = deadline;
                self.waiting.push_front(waiting);
            }
        }
        given_up.reverse();
        given_up
    }

    /// What has waited too long.
    pub fn expired(&mut self, now: Instant) -> Vec<Waiting> {
        let mut late = Vec::new();
        while self.next_deadline().is_some_and(|at| at <= now)
            && let Some(waiting) = self.waiting.pop_front()
        {
            late.push(self.forget(waiting));
        }
        late
    }

    /// Takes everything out that waits.
    pub fn give_up(&mut self) -> Vec<Waiting> {
        let all: Vec<_> = self.waiting.drain(..).collect();
        all.into_iter()
            .map(|waiting| self.forget(waiting))
            .collect()
    }

    /// When [`Self::expired`] has something.
    pub fn next_deadline(&self) -> Option<Instant> {
        // Deadlines stand in order: `requeue` takes care of that.
        self.waiting.front().map(|waiting| waiting.deadline)
    }

    /// Whether something waits for a stream.
    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Stanzas, waiting and under way.
    pub fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    /// Nothing waits and nothing is without a receipt.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Stanzas that wait for a stream.
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Stanzas given to a stream, without a receipt.
    pub fn under_way(&self) -> usize {
        self.sent.len()
    }

    fn forget(&mut self, waiting: Waiting) -> Waiting {
        self.bytes -= waiting.stanza.bytes().len();
        if let Some(envelope) = &waiting.envelope {
            self.pending.remove(envelope);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: QueueBounds = QueueBounds {
        stanzas: 3,
        bytes: 1_000,
        wait: Duration::from_secs(60),
    };

    #[expect(
        clippy::disallowed_methods,
        reason = "a starting point for virtual time"
    )]
    fn start() -> Instant {
        Instant::now()
    }

    fn item(seq: u64, padding: usize) -> OutboundItem {
        let text = format!(
            "<message from='a@here.example' to='b@there.example' id='{seq}'>{}</message>",
            " ".repeat(padding)
        );
        OutboundItem {
            envelope: Some(EnvelopeId::new(SessionKey::new("n1", 1, 7), seq)),
            stanza: Stanza::parse(Bytes::from(text)).unwrap(),
        }
    }

    fn seqs(waiting: &[Waiting]) -> Vec<u64> {
        waiting
            .iter()
            .filter_map(|waiting| waiting.envelope.as_ref())
            .map(|envelope| envelope.seq)
            .collect()
    }

    #[test]
    fn what_is_too_large_for_the_peer_is_taken_out_and_does_not_hold_up_the_others() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        queue.push(now, item(1, 500));
        queue.push(now, item(2, 0));
        assert!(queue.take_oversized(1_000).is_none());
        let large = queue.take_oversized(400).unwrap();
        assert_eq!(seqs(&[large]), [1]);
        assert!(queue.take_oversized(400).is_none());
        assert!(queue.take_next().is_some());
        assert!(matches!(queue.push(now, item(1, 500)), Pushed::Done(_)));
    }

    #[test]
    fn both_bounds_hold_and_one_large_stanza_always_fits() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        assert!(matches!(queue.push(now, item(1, 2_000)), Pushed::Queued));
        assert!(matches!(queue.push(now, item(2, 0)), Pushed::Full(_)));
        let mut queue = OutboundQueue::new(BOUNDS);
        for seq in 1..=3 {
            assert!(matches!(queue.push(now, item(seq, 0)), Pushed::Queued));
        }
        assert!(matches!(queue.push(now, item(4, 0)), Pushed::Full(_)));
        let (token, _) = queue.take_next().unwrap();
        // Under way still counts.
        assert!(matches!(queue.push(now, item(5, 0)), Pushed::Full(_)));
        assert_eq!(queue.done(token).unwrap().seq, 1);
        assert!(matches!(queue.push(now, item(6, 0)), Pushed::Queued));
    }

    #[test]
    fn an_envelope_is_queued_once_and_its_lost_receipt_given_again() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        assert!(matches!(queue.push(now, item(1, 0)), Pushed::Queued));
        assert!(matches!(queue.push(now, item(1, 0)), Pushed::Pending));
        let (token, _) = queue.take_next().unwrap();
        assert!(matches!(queue.push(now, item(1, 0)), Pushed::Pending));
        assert_eq!(queue.done(token).unwrap().seq, 1);
        assert_eq!(queue.done(token), None);
        assert!(matches!(queue.push(now, item(1, 0)), Pushed::Done(_)));
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn a_stanza_waits_for_the_one_that_it_comes_after() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        let after = |seq: u64, before: u64| {
            let mut item = item(seq, 0);
            item.envelope.as_mut().unwrap().after = Some(before);
            item
        };
        assert!(matches!(queue.push(now, after(2, 1)), Pushed::Early(_)));
        assert!(matches!(queue.push(now, after(2, 1)), Pushed::Early(_)));
        assert!(queue.is_empty());
        assert!(matches!(queue.push(now, item(1, 0)), Pushed::Queued));
        assert!(matches!(queue.push(now, after(2, 1)), Pushed::Queued));
        // Known itself: nothing has to come before it any more.
        assert!(matches!(queue.push(now, after(1, 9)), Pushed::Pending));
    }

    #[test]
    fn a_dead_stream_gives_its_stanzas_back_in_order_but_not_for_ever() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        for seq in 1..=3 {
            queue.push(now, item(seq, 0));
        }
        for _ in 1..MAX_TRIES {
            assert!(queue.take_next().is_some());
            assert!(queue.take_next().is_some());
            assert!(queue.requeue(now).is_empty());
        }
        let (token, bytes) = queue.take_next().unwrap();
        assert!(bytes.windows(6).any(|part| part == b"id='1'"));
        queue.take_next().unwrap();
        queue.done(token).unwrap();
        assert_eq!(seqs(&queue.requeue(now)), [2]);
        assert_eq!(seqs(&queue.give_up()), [3]);
        assert_eq!((queue.len(), queue.bytes), (0, 0));
    }

    #[test]
    fn what_waits_too_long_comes_out() {
        let now = start();
        let mut queue = OutboundQueue::new(BOUNDS);
        queue.push(now, item(1, 0));
        queue.push(now + Duration::from_secs(10), item(2, 0));
        assert_eq!(queue.next_deadline(), Some(now + BOUNDS.wait));
        assert!(queue.expired(now + Duration::from_secs(59)).is_empty());
        assert_eq!(seqs(&queue.expired(now + Duration::from_secs(60))), [1]);
        assert_eq!(queue.len(), 1);
    }
}
