//! Stanzas on an established stream between servers: acknowledgements, the orderly close, and what
//! is left over.

use std::time::Instant;

use super::acks::Acks;
use super::wire::{Wire, put_sm_failed};
use crate::management::{HandledCountTooHigh, Unacked};

#[derive(Debug, Default)]
pub(super) struct Flow {
    pub(super) acks: Option<Acks>,
    /// Stanzas without a receipt that came before acknowledgements were switched on: their receipts
    /// come first and do not count in `h`.
    uncounted: u64,
    /// Until when the peer's closing tag is awaited; ours is out.
    pub(super) closing: Option<Instant>,
    /// The stream will be closed as soon as everything that was taken has its receipt and everything
    /// that was sent is acknowledged, or then.
    pub(super) leaving: Option<Instant>,
    /// Stanzas that can no longer be sent on this stream.
    late: Vec<Unacked>,
}

impl Flow {
    /// Writes a stanza. `Err` gives it back: too many wait for acknowledgement.
    pub(super) fn send(&mut self, unacked: Unacked, wire: &mut Wire) -> Result<(), Unacked> {
        if self.closing.is_some() {
            self.late.push(unacked);
            return Ok(());
        }
        if let Some(acks) = &mut self.acks
            && acks.on_sent(unacked.stanza.clone(), unacked.token).is_err()
        {
            return Err(unacked);
        }
        wire.out.extend_from_slice(&unacked.stanza);
        Ok(())
    }

    /// Keeps what can no longer be sent.
    pub(super) fn keep(&mut self, unacked: Unacked) {
        self.late.push(unacked);
    }

    /// Whether a stanza that comes in is not ours to take: our last `<a/>` and our closing tag are
    /// out, and the peer, who does not find it in the `h`, has to send it on another stream. A peer
    /// without acknowledgements believes that it is delivered: then it is taken till the end.
    pub(super) fn refuses(&self) -> bool {
        self.closing.is_some() && self.acks.is_some()
    }

    /// Whether the time of [`Self::leaving`] has come.
    pub(super) fn may_leave(&self, now: Instant) -> bool {
        let Some(until) = self.leaving else {
            return false;
        };
        let settled = self.uncounted == 0
            && self.unhandled() == 0
            && !self.acks.as_ref().is_some_and(Acks::awaits_answer);
        self.closing.is_none() && (settled || until <= now)
    }

    /// Our closing tag, after the last `<a/>`; the peer's is awaited until then.
    pub(super) fn close(&mut self, wire: &mut Wire, until: Instant) {
        if self.closing.is_none()
            && let Some(acks) = &mut self.acks
        {
            acks.answer_finally(&mut wire.out);
        }
        wire.put_close();
        self.leaving = None;
        self.closing.get_or_insert(until);
    }

    pub(super) fn received(&mut self) {
        match &mut self.acks {
            Some(acks) => acks.on_received(),
            None => self.uncounted += 1,
        }
    }

    pub(super) fn handled(&mut self, count: u64, wire: &mut Wire) {
        let uncounted = count.min(self.uncounted);
        self.uncounted -= uncounted;
        let Some(acks) = &mut self.acks else { return };
        acks.on_handled(count - uncounted);
        if self.closing.is_none() {
            acks.answer_if_complete(&mut wire.out);
        }
    }

    pub(super) fn question(&mut self, wire: &mut Wire) {
        match &mut self.acks {
            _ if self.closing.is_some() => {}
            Some(acks) => acks.on_question(wire.now, &mut wire.out),
            None => put_sm_failed(wire, None, "unexpected-request"),
        }
    }

    /// The tokens (never 0) of the stanzas that the peer acknowledged.
    pub(super) fn acknowledged(&mut self, h: u32) -> Result<Vec<u64>, HandledCountTooHigh> {
        let Some(acks) = &mut self.acks else {
            return Ok(Vec::new());
        };
        let tokens = acks.on_answer(h)?.map(|unacked| unacked.token);
        Ok(tokens.filter(|token| *token != 0).collect())
    }

    pub(super) fn answer(&mut self, wire: &mut Wire) {
        if let Some(acks) = &mut self.acks {
            acks.answer(&mut wire.out);
        }
    }

    pub(super) fn before_write(&mut self, wire: &mut Wire) {
        if self.closing.is_none()
            && let Some(acks) = &mut self.acks
        {
            acks.ask_if_due(wire.now, &mut wire.out);
        }
    }

    pub(super) fn unhandled(&self) -> u64 {
        self.acks.as_ref().map_or(0, Acks::unhandled)
    }

    /// Takes everything that was not acknowledged or not even sent, oldest first.
    pub(super) fn take_unacked(&mut self) -> Vec<Unacked> {
        let mut unacked: Vec<_> = self
            .acks
            .as_mut()
            .map(|acks| acks.sent().drain().collect())
            .unwrap_or_default();
        unacked.append(&mut self.late);
        unacked
    }
}
