//! The conversation of `<r/>` and `<a/>` on one stream (XEP-0198 section 4).
//!
//! When to ask: at most one question is out at a time, and the next goes with the first write
//! after the answer. So a slow link is asked once per round trip, however much is sent, and a
//! single stanza is asked about at once. If very much is sent while a question is out, another
//! goes along, so that the peer need not keep more than [`ASK_EVERY`] unanswered.
//!
//! When to answer: as soon as everything received before the question has a receipt, or after
//! [`ANSWER_WITHIN`] with what there is.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use crate::management::{
    HandledCountTooHigh, QueueFull, QueueLimits, ReceivedCount, SentQueue, Unacked,
};
use crate::writer::{write_ack, write_ack_request};

/// Ask again after this many stanzas even if the last question is unanswered.
const ASK_EVERY: usize = 64;

/// The longest that an answer waits for receipts. Clients give a connection up whose answers
/// stay out much longer.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// Both directions of stream management on a live stream.
#[derive(Debug)]
pub(super) struct Acks {
    sent: SentQueue,
    received: ReceivedCount,
    /// Stanzas sent since the last question.
    unasked: usize,
    /// When the oldest unanswered question went out.
    asked: Option<Instant>,
    owed: Option<OwedAnswer>,
    /// The `h` of our last answer on this stream.
    told: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct OwedAnswer {
    /// Receipts still to come before the answer covers everything that was asked about.
    missing: u64,
    deadline: Instant,
}

impl Acks {
    pub(super) fn new(limits: QueueLimits) -> Self {
        Self::resume(SentQueue::new(limits), ReceivedCount::default())
    }

    /// On a new stream with the counters of an old one. What waits in `sent` counts as unasked.
    pub(super) fn resume(sent: SentQueue, received: ReceivedCount) -> Self {
        Self {
            unasked: sent.len(),
            sent,
            received,
            asked: None,
            owed: None,
            told: None,
        }
    }

    pub(super) fn into_parts(self) -> (SentQueue, ReceivedCount) {
        (self.sent, self.received)
    }

    pub(super) fn sent(&mut self) -> &mut SentQueue {
        &mut self.sent
    }

    pub(super) fn unhandled(&self) -> u64 {
        self.received.unhandled()
    }

    pub(super) fn h(&self) -> u32 {
        self.received.h()
    }

    pub(super) fn on_sent(&mut self, stanza: Bytes, token: u64) -> Result<(), QueueFull> {
        self.sent.push(stanza, token)?;
        self.unasked += 1;
        Ok(())
    }

    pub(super) fn on_received(&mut self) {
        self.received.received();
    }

    pub(super) fn on_received_and_handled(&mut self) {
        self.received.received_and_handled();
    }

    /// `<r/>` came in.
    pub(super) fn on_question(&mut self, now: Instant, out: &mut BytesMut) {
        let missing = self.received.unhandled();
        if missing == 0 {
            self.answer(out);
        } else {
            // A second question before the first answer asks about more, by the old deadline.
            let deadline = self.owed.map_or(now + ANSWER_WITHIN, |owed| owed.deadline);
            self.owed = Some(OwedAnswer { missing, deadline });
        }
    }

    /// `<a/>` came in: gives the stanzas that it covers.
    pub(super) fn on_answer(
        &mut self,
        h: u32,
    ) -> Result<impl Iterator<Item = Unacked> + '_, HandledCountTooHigh> {
        self.asked = None;
        self.sent.acknowledge(h)
    }

    /// The shell has receipts for `count` more stanzas.
    pub(super) fn on_handled(&mut self, count: u64) {
        self.received.handled(count);
        if let Some(owed) = &mut self.owed {
            owed.missing = owed.missing.saturating_sub(count);
        }
    }

    /// Gives the answer that is owed once it covers everything that was asked about.
    pub(super) fn answer_if_complete(&mut self, out: &mut BytesMut) {
        if self.owed.is_some_and(|owed| owed.missing == 0) {
            self.answer(out);
        }
    }

    /// Called before each write: adds a question where one is due.
    pub(super) fn ask_if_due(&mut self, now: Instant, out: &mut BytesMut) {
        if (self.unasked > 0 && self.asked.is_none()) || self.unasked >= ASK_EVERY {
            self.ask(now, out);
        }
    }

    /// Asks now, whatever was sent; also a probe whether the peer is alive.
    pub(super) fn ask(&mut self, now: Instant, out: &mut BytesMut) {
        write_ack_request(out);
        self.unasked = 0;
        self.asked.get_or_insert(now);
    }

    pub(super) fn answer_deadline(&self) -> Option<Instant> {
        self.owed.map(|owed| owed.deadline)
    }

    /// When the oldest unanswered question went out.
    pub(super) fn asked(&self) -> Option<Instant> {
        self.asked
    }

    /// Answers with the receipts that there are.
    pub(super) fn answer(&mut self, out: &mut BytesMut) {
        self.owed = None;
        self.told = Some(self.received.h());
        write_ack(out, self.received.h());
    }

    /// The last answer before the end: nothing if the peer knows of all receipts already.
    pub(super) fn answer_finally(&mut self, out: &mut BytesMut) {
        if self.owed.is_some() || self.told.unwrap_or_default() != self.received.h() {
            self.answer(out);
        }
    }

    /// Whether something was sent that the peer has not acknowledged.
    pub(super) fn awaits_answer(&self) -> bool {
        !self.sent.is_empty()
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "an origin of time")]
mod tests {
    use super::*;

    const ASK: &[u8] = b"<r xmlns='urn:xmpp:sm:3'/>";

    fn send(acks: &mut Acks, count: usize) {
        for _ in 0..count {
            acks.on_sent(Bytes::from_static(b"<message/>"), 0)
                .expect("fits");
        }
    }

    #[test]
    fn asks_once_per_round_trip() {
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let mut acks = Acks::new(QueueLimits::default());
        acks.ask_if_due(now, &mut out);
        assert!(out.is_empty(), "nothing was sent");
        send(&mut acks, 3);
        acks.ask_if_due(now, &mut out);
        assert_eq!(out.split(), ASK);
        send(&mut acks, 3);
        acks.ask_if_due(now, &mut out);
        assert!(out.is_empty(), "a question is out");
        assert_eq!(acks.on_answer(3).expect("in range").count(), 3);
        acks.ask_if_due(now, &mut out);
        assert_eq!(out.split(), ASK, "the next goes with the next write");
        send(&mut acks, ASK_EVERY);
        acks.ask_if_due(now, &mut out);
        assert_eq!(out, ASK, "very much was sent");
    }

    #[test]
    fn answers_when_all_that_was_asked_about_has_receipts() {
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let mut acks = Acks::new(QueueLimits::default());
        acks.on_question(now, &mut out);
        assert_eq!(out.split(), b"<a xmlns='urn:xmpp:sm:3' h='0'/>"[..]);
        acks.on_received();
        acks.on_received();
        acks.on_question(now, &mut out);
        acks.on_received();
        acks.on_handled(1);
        acks.answer_if_complete(&mut out);
        assert!(out.is_empty());
        assert_eq!(acks.answer_deadline(), Some(now + ANSWER_WITHIN));
        acks.on_handled(1);
        acks.answer_if_complete(&mut out);
        assert_eq!(out.split(), b"<a xmlns='urn:xmpp:sm:3' h='2'/>"[..]);
        assert_eq!(acks.answer_deadline(), None);
    }

    #[test]
    fn a_late_receipt_does_not_hold_the_answer_for_ever() {
        let (now, mut out) = (Instant::now(), BytesMut::new());
        let mut acks = Acks::new(QueueLimits::default());
        acks.on_received();
        acks.on_question(now, &mut out);
        acks.on_question(now + ANSWER_WITHIN / 2, &mut out);
        assert_eq!(acks.answer_deadline(), Some(now + ANSWER_WITHIN));
        acks.answer(&mut out);
        assert_eq!(out, b"<a xmlns='urn:xmpp:sm:3' h='0'/>"[..]);
    }
}
