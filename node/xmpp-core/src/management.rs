//! Stream management (XEP-0198): what was sent and not yet acknowledged, and what we handled.
//!
//! Counters are 32 bits and wrap (section 4); comparisons are therefore made on distances.

use std::collections::VecDeque;

use bytes::Bytes;
use thiserror::Error;

use crate::element::Element;
use crate::error::{StreamCondition, StreamError};
use crate::ns;

/// How much may wait for an acknowledgement before the stream is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueLimits {
    /// Stanzas. Default 4096: several seconds of a busy chat room on a phone that went away.
    pub stanzas: usize,
    /// Bytes. Default 4 MiB.
    pub bytes: usize,
}

impl Default for QueueLimits {
    fn default() -> Self {
        Self {
            stanzas: 4096,
            bytes: 4 << 20,
        }
    }
}

/// A stanza that was sent and may not have arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unacked {
    /// The stanza's canonical bytes.
    pub stanza: Bytes,
    /// The shell's delivery token; 0 when nobody waits.
    pub token: u64,
}

/// A peer that does not acknowledge: nothing more can be kept for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{stanzas} stanzas ({bytes} bytes) wait for an acknowledgement; the limit is reached")]
pub struct QueueFull {
    /// Stanzas that wait.
    pub stanzas: usize,
    /// Their bytes.
    pub bytes: usize,
}

/// The peer acknowledged stanzas that it was never sent (XEP-0198 section 5): a stream error
/// `undefined-condition` with `handled-count-too-high`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the peer acknowledged {h} stanzas but was sent {sent}")]
pub struct HandledCountTooHigh {
    /// The count the peer gave.
    pub h: u32,
    /// The count that we sent.
    pub sent: u32,
}

/// What we sent: a counter and the stanzas beyond the peer's last `h`.
#[derive(Debug, Default)]
pub struct SentQueue {
    limits: QueueLimits,
    waiting: VecDeque<Unacked>,
    bytes: usize,
    /// The peer's last `h`.
    acked: u32,
}

impl SentQueue {
    /// An empty queue whose counter starts at 0.
    #[must_use]
    pub fn new(limits: QueueLimits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Notes that a stanza goes out now.
    ///
    /// # Errors
    /// [`QueueFull`] when a limit is reached; the stanza is then neither counted nor kept and must
    /// not be sent on this stream.
    pub fn push(&mut self, stanza: Bytes, token: u64) -> Result<(), QueueFull> {
        if self.waiting.len() >= self.limits.stanzas
            || self.bytes.saturating_add(stanza.len()) > self.limits.bytes
        {
            return Err(QueueFull {
                stanzas: self.waiting.len(),
                bytes: self.bytes,
            });
        }
        self.bytes += stanza.len();
        self.waiting.push_back(Unacked { stanza, token });
        Ok(())
    }

    /// Notes a stanza that was handed over as the stream died: what was in flight between the
    /// shell and its stream then is the only bound.
    pub(crate) fn push_above_limits(&mut self, unacked: Unacked) {
        self.bytes += unacked.stanza.len();
        self.waiting.push_back(unacked);
    }

    /// Takes the peer's `h` and gives back the stanzas it covers, oldest first.
    ///
    /// # Errors
    /// [`HandledCountTooHigh`] when `h` covers more than was sent. An `h` that goes backwards is
    /// the same error: modulo 2^32 it is a huge step forward.
    pub fn acknowledge(
        &mut self,
        h: u32,
    ) -> Result<impl Iterator<Item = Unacked> + '_, HandledCountTooHigh> {
        let newly = h.wrapping_sub(self.acked) as usize;
        if newly > self.waiting.len() {
            return Err(HandledCountTooHigh {
                h,
                sent: self.sent(),
            });
        }
        self.acked = h;
        let bytes = &mut self.bytes;
        Ok(self
            .waiting
            .drain(..newly)
            .inspect(move |unacked| *bytes -= unacked.stanza.len()))
    }

    /// How many stanzas were sent since the counter started, modulo 2^32.
    #[must_use]
    pub fn sent(&self) -> u32 {
        self.acked.wrapping_add(self.waiting.len() as u32)
    }

    /// How many stanzas wait for the peer's acknowledgement.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether the peer has acknowledged everything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// What waits, oldest first; for sending again on a resumed stream.
    pub fn iter(&self) -> impl Iterator<Item = &Unacked> {
        self.waiting.iter()
    }

    /// Takes out everything that was never acknowledged, oldest first; for another route when the
    /// stream is dead.
    pub fn drain(&mut self) -> impl Iterator<Item = Unacked> + '_ {
        self.bytes = 0;
        self.acked = self.acked.wrapping_add(self.waiting.len() as u32);
        self.waiting.drain(..)
    }

    #[cfg(test)]
    fn starting_at(acked: u32) -> Self {
        Self {
            acked,
            ..Self::new(QueueLimits::default())
        }
    }
}

/// What we received, and how much of it the next holder has taken over.
///
/// `h` counts without gaps: a stanza that this stream answered by itself counts once everything
/// before it does.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ReceivedCount {
    h: u32,
    /// Stanzas given to the shell, ever.
    given: u64,
    /// Stanzas of those that have receipts.
    receipted: u64,
    /// Stanzas handled here: how many, and the value of `given` when they came in. One entry for
    /// each value of `given`, so never more entries than stanzas without receipts.
    own: VecDeque<(u64, u32)>,
}

impl ReceivedCount {
    /// One more stanza came in and goes to the shell; it does not count in `h` yet.
    pub fn received(&mut self) {
        self.given += 1;
    }

    /// One more stanza came in that needs no receipt from elsewhere.
    pub fn received_and_handled(&mut self) {
        if self.given == self.receipted {
            self.h = self.h.wrapping_add(1);
            return;
        }
        match self.own.back_mut() {
            Some((after, count)) if *after == self.given => *count = count.saturating_add(1),
            _ => self.own.push_back((self.given, 1)),
        }
    }

    /// The shell has receipts for this many more stanzas. Counting more than came in is a bug of
    /// the caller; the surplus is ignored, so that the peer never sees an `h` that is too high.
    pub fn handled(&mut self, count: u64) {
        debug_assert!(count <= self.unhandled(), "more receipts than stanzas");
        let count = count.min(self.unhandled());
        self.receipted += count;
        self.h = self.h.wrapping_add(count as u32);
        while let Some((_, own)) = self.own.pop_front_if(|(after, _)| *after <= self.receipted) {
            self.h = self.h.wrapping_add(own);
        }
    }

    /// The `h` that we may give now.
    #[must_use]
    pub fn h(&self) -> u32 {
        self.h
    }

    /// Stanzas that were given to the shell and have no receipt yet.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        self.given - self.receipted
    }

    /// Forgets what has no receipt: on a resumed stream the peer sends it again.
    pub fn forget_unhandled(&mut self) {
        self.given = 0;
        self.receipted = 0;
        self.own.clear();
    }
}

/// The stream error of XEP-0198 section 4.
impl From<HandledCountTooHigh> for Box<StreamError> {
    fn from(error: HandledCountTooHigh) -> Self {
        let application = Element::new(ns::STREAM_MANAGEMENT, "handled-count-too-high")
            .attr("h", error.h.to_string())
            .attr("send-count", error.sent.to_string());
        let error = StreamError::new(StreamCondition::UndefinedCondition);
        Self::new(error.with_application(application))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut SentQueue, token: u64) {
        queue
            .push(Bytes::from_static(b"<message/>"), token)
            .expect("fits");
    }

    fn ack(queue: &mut SentQueue, h: u32) -> Result<Vec<u64>, HandledCountTooHigh> {
        Ok(queue.acknowledge(h)?.map(|u| u.token).collect())
    }

    #[test]
    fn acknowledges_in_order() {
        let mut queue = SentQueue::new(QueueLimits::default());
        for token in 1..=4 {
            push(&mut queue, token);
        }
        assert_eq!(ack(&mut queue, 0), Ok(vec![]));
        assert_eq!(ack(&mut queue, 3), Ok(vec![1, 2, 3]));
        assert_eq!(ack(&mut queue, 3), Ok(vec![]));
        assert_eq!(queue.len(), 1);
        assert_eq!(ack(&mut queue, 4), Ok(vec![4]));
        assert!(queue.is_empty());
        assert_eq!(queue.bytes, 0);
    }

    #[test]
    fn refuses_a_count_that_is_too_high_or_goes_back() {
        let mut queue = SentQueue::new(QueueLimits::default());
        push(&mut queue, 1);
        push(&mut queue, 2);
        assert_eq!(
            ack(&mut queue, 3),
            Err(HandledCountTooHigh { h: 3, sent: 2 })
        );
        assert_eq!(ack(&mut queue, 1), Ok(vec![1]));
        assert!(ack(&mut queue, 0).is_err());
        assert_eq!(queue.len(), 1, "a refused count changes nothing");
    }

    #[test]
    fn the_counter_wraps() {
        let mut queue = SentQueue::starting_at(u32::MAX - 1);
        for token in 1..=3 {
            push(&mut queue, token);
        }
        assert_eq!(queue.sent(), 1);
        assert_eq!(ack(&mut queue, u32::MAX), Ok(vec![1]));
        assert_eq!(ack(&mut queue, 0), Ok(vec![2]));
        assert_eq!(ack(&mut queue, 1), Ok(vec![3]));

        let mut received = ReceivedCount {
            h: u32::MAX,
            ..ReceivedCount::default()
        };
        received.received();
        received.handled(1);
        assert_eq!(received.h(), 0);
    }

    #[test]
    fn is_bounded_by_count_and_by_bytes() {
        let mut by_count = SentQueue::new(QueueLimits {
            stanzas: 2,
            bytes: 1000,
        });
        push(&mut by_count, 1);
        push(&mut by_count, 2);
        let full = by_count.push(Bytes::from_static(b"x"), 3);
        assert_eq!(
            full,
            Err(QueueFull {
                stanzas: 2,
                bytes: 20
            })
        );
        assert_eq!(by_count.sent(), 2);
        assert_eq!(ack(&mut by_count, 1), Ok(vec![1]));
        push(&mut by_count, 3);

        let mut by_bytes = SentQueue::new(QueueLimits {
            stanzas: 1000,
            bytes: 20,
        });
        push(&mut by_bytes, 1);
        push(&mut by_bytes, 2);
        assert!(by_bytes.push(Bytes::from_static(b"x"), 3).is_err());
    }

    #[test]
    fn gives_back_what_was_never_acknowledged() {
        let mut queue = SentQueue::new(QueueLimits::default());
        for token in 1..=3 {
            push(&mut queue, token);
        }
        ack(&mut queue, 1).expect("in range");
        assert_eq!(queue.drain().map(|u| u.token).collect::<Vec<_>>(), [2, 3]);
        assert!(queue.is_empty());
    }

    #[test]
    fn counts_only_what_was_taken_over() {
        let mut received = ReceivedCount::default();
        received.received();
        received.received();
        assert_eq!((received.h(), received.unhandled()), (0, 2));
        received.handled(1);
        assert_eq!((received.h(), received.unhandled()), (1, 1));
    }

    #[test]
    fn what_was_handled_here_waits_for_what_came_before() {
        let mut received = ReceivedCount::default();
        received.received_and_handled();
        assert_eq!(received.h(), 1);
        received.received();
        received.received_and_handled();
        received.received_and_handled();
        received.received();
        received.received_and_handled();
        assert_eq!(received.h(), 1);
        received.handled(1);
        assert_eq!(received.h(), 4);
        received.handled(1);
        assert_eq!(received.h(), 6);
    }

    #[test]
    fn a_resumed_stream_counts_from_what_was_handled() {
        let mut received = ReceivedCount::default();
        received.received();
        received.received();
        received.received_and_handled();
        received.handled(1);
        received.forget_unhandled();
        assert_eq!((received.h(), received.unhandled()), (1, 0));
        received.received();
        received.handled(1);
        assert_eq!(received.h(), 2);
    }
}
