//! The reliable ordered link, both ends, without I/O.
//!
//! The [`LinkSender`] numbers frames, keeps them until the other side has them, and hands them out
//! again after a reconnect. The [`LinkReceiver`] drops what it had and says how far it got. A
//! numbering is called an epoch; it lasts as long as both processes do. When the receiving process
//! dies, nobody can say which of the unacknowledged frames it had: the sender gives them back to
//! its node as lost and begins a new epoch.
//!
//! Frames that somebody else keeps and sends again by another way (*perishable* ones) are not worth
//! keeping for as long as the processes live: after a long break they would come to a node that
//! meanwhile was relieved of what they are about, and took it on again. The sender gives them back
//! when it is connected again, and sends empty frames in their places.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bounds of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLimits {
    /// Most frames sent and not acknowledged; more wait in the queue.
    pub window_frames: usize,
    /// Most bytes sent and not acknowledged; exceeded by at most one batch.
    pub window_bytes: usize,
    /// Most frames in one HTTP/2 message.
    pub batch_frames: usize,
    /// Bytes after which an HTTP/2 message takes no further frame.
    pub batch_bytes: usize,
    /// The receiver acknowledges at once after this many frames.
    pub ack_frames: u64,
    /// The receiver acknowledges at once after this many bytes.
    pub ack_bytes: usize,
    /// The receiver acknowledges after this time at the latest. Nobody waits for it but a drain; each
    /// acknowledgement costs both nodes as much as a small batch.
    pub ack_delay: Duration,
    /// After a break longer than this, perishable frames are given back. Together with the time in
    /// which a dead connection is found out it should be about the time after which the holders of
    /// what is in them send again of themselves.
    pub lapse: Duration,
}

impl Default for LinkLimits {
    fn default() -> Self {
        Self {
            window_frames: 16 * 1024,
            window_bytes: 16 * 1024 * 1024,
            batch_frames: 1024,
            batch_bytes: 256 * 1024,
            ack_frames: 1024,
            ack_bytes: 512 * 1024,
            ack_delay: Duration::from_millis(50),
            lapse: Duration::from_secs(2),
        }
    }
}

/// The other side broke the rules of the link. The connection has to end; a new one repairs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LinkViolation {
    /// Frames are missing between two batches.
    #[error("frame {first_seq} came where {expected} was due")]
    Gap {
        /// The number that was due.
        expected: u64,
        /// The number that came.
        first_seq: u64,
    },
    /// An acknowledgement for frames that were never sent.
    #[error("frame {received} acknowledged, {sent} was the last one sent")]
    AckAhead {
        /// The acknowledged number.
        received: u64,
        /// The last number sent.
        sent: u64,
    },
    /// Numbers beyond the end of the counter.
    #[error("frame number out of range")]
    Range,
}

/// What a new connection means for the frames that were sent before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attached {
    /// Nobody has this epoch yet: begin.
    Fresh,
    /// The same process is there: so many frames will be sent again.
    Resumed {
        /// Frames that had been sent and have not arrived.
        again: usize,
    },
    /// Another process, or one that forgot the epoch: call [`LinkSender::reset`] and say hello
    /// again with the new epoch.
    MustReset,
}

/// Some frames with consecutive numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The number of the first frame.
    pub first_seq: u64,
    /// The frames.
    pub frames: Vec<Bytes>,
}

/// The sending end of a link.
#[derive(Debug)]
pub struct LinkSender {
    limits: LinkLimits,
    epoch: u64,
    /// Frame `n` has the number `first_seq + n`; all are unacknowledged.
    frames: VecDeque<Bytes>,
    first_seq: u64,
    bytes: usize,
    /// How many of `frames` went out on the present connection.
    written: usize,
    /// How many of `frames` went out on any connection.
    ever_written: usize,
    /// The generation of the process that has this epoch.
    callee: Option<u64>,
    /// Since when there is no connection.
    broken_since: Option<Instant>,
}

impl LinkSender {
    /// A link that begins its numbering `epoch`. Epochs must grow within a generation of the
    /// local node.
    pub fn new(epoch: u64, limits: LinkLimits) -> Self {
        Self {
            limits,
            epoch,
            frames: VecDeque::new(),
            first_seq: 1,
            bytes: 0,
            written: 0,
            ever_written: 0,
            callee: None,
            broken_since: None,
        }
    }

    /// The present numbering.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The generation of the process that the frames of this epoch were sent to.
    pub fn callee(&self) -> Option<u64> {
        self.callee
    }

    /// How many frames may be pushed now.
    pub fn room(&self) -> usize {
        if self.bytes >= self.limits.window_bytes {
            return 0;
        }
        self.limits.window_frames.saturating_sub(self.frames.len())
    }

    /// Takes a frame; the caller has looked at [`Self::room`].
    pub fn push(&mut self, frame: Bytes) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    /// A connection stands; the welcome said these things. Frames that have not arrived come out
    /// of [`Self::next_batch`] again.
    pub fn attach(&mut self, generation: u64, resumed: bool, received: u64) -> Attached {
        self.written = 0;
        match self.callee {
            None if received == 0 => {
                self.callee = Some(generation);
                Attached::Fresh
            }
            Some(callee) if callee == generation && resumed => match self.settle(received) {
                Ok(_) => Attached::Resumed {
                    again: self.ever_written,
                },
                Err(_) => Attached::MustReset,
            },
            _ => Attached::MustReset,
        }
    }

    /// The connection broke, or an attempt at one failed.
    pub fn broken(&mut self, now: Instant) {
        self.broken_since.get_or_insert(now);
    }

    /// A connection stands again: whether the break was long enough for perishable frames to be
    /// given back, those of [`Self::withdraw`] and those that are still queued.
    pub fn mended(&mut self, now: Instant) -> bool {
        let since = self.broken_since.take();
        since.is_some_and(|since| now.saturating_duration_since(since) > self.limits.lapse)
    }

    /// Takes out, in order, the frames without an acknowledgement that are `perishable`.
    pub fn withdraw(&mut self, perishable: impl Fn(&Bytes) -> bool) -> Vec<Bytes> {
        let mut withdrawn = Vec::new();
        for frame in self.frames.iter_mut().filter(|frame| perishable(frame)) {
            self.bytes -= frame.len();
            withdrawn.push(std::mem::take(frame));
        }
        withdrawn
    }

    /// The next frames to write, if any.
    pub fn next_batch(&mut self) -> Option<Batch> {
        let mut frames = Vec::new();
        let mut bytes = 0;
        for frame in self.frames.range(self.written..) {
            if frames.len() >= self.limits.batch_frames || bytes >= self.limits.batch_bytes {
                break;
            }
            bytes += frame.len();
            frames.push(frame.clone());
        }
        if frames.is_empty() {
            return None;
        }
        let first_seq = self.first_seq + self.written as u64;
        self.written += frames.len();
        self.ever_written = self.ever_written.max(self.written);
        Some(Batch { first_seq, frames })
    }

    /// How many frames wait to be written on the present connection.
    pub fn unwritten(&self) -> usize {
        self.frames.len() - self.written
    }

    /// All frames up to `received` have arrived; returns how many of them that is news for.
    ///
    /// # Errors
    /// [`LinkViolation::AckAhead`] if they were not even sent on this connection.
    pub fn acked(&mut self, received: u64) -> Result<usize, LinkViolation> {
        let sent = self.first_seq + self.written as u64 - 1;
        if received > sent {
            return Err(LinkViolation::AckAhead { received, sent });
        }
        self.settle(received)
    }

    /// Begins a new epoch; returns, in order, what has no acknowledgement.
    pub fn reset(&mut self, epoch: u64) -> Vec<Bytes> {
        debug_assert!(epoch > self.epoch, "epochs grow");
        let limits = self.limits.clone();
        let old = std::mem::replace(self, Self::new(epoch, limits));
        self.broken_since = old.broken_since;
        let frames = old.frames.into_iter();
        frames.filter(|frame| !frame.is_empty()).collect()
    }

    /// Frames without an acknowledgement.
    pub fn outstanding(&self) -> usize {
        self.frames.len()
    }

    /// Bytes without an acknowledgement.
    pub fn outstanding_bytes(&self) -> usize {
        self.bytes
    }

    /// Like [`Self::acked`], but counts what went out on earlier connections too.
    fn settle(&mut self, received: u64) -> Result<usize, LinkViolation> {
        let sent = self.first_seq + self.ever_written as u64 - 1;
        if received > sent {
            return Err(LinkViolation::AckAhead { received, sent });
        }
        // Acknowledgements of frames before the first one are old news.
        let news = (received + 1).saturating_sub(self.first_seq);
        let news = usize::try_from(news).map_err(|_| LinkViolation::Range)?;
        for frame in self.frames.drain(..news) {
            self.bytes -= frame.len();
        }
        self.first_seq += news as u64;
        self.written = self.written.saturating_sub(news);
        self.ever_written = self.ever_written.saturating_sub(news);
        Ok(news)
    }
}

/// The receiving end of a link: one epoch of one generation of the sender.
#[derive(Debug)]
pub struct LinkReceiver {
    limits: LinkLimits,
    generation: u64,
    epoch: u64,
    received: u64,
    acked: u64,
    unacked_bytes: usize,
    ack_at: Option<Instant>,
}

impl LinkReceiver {
    /// Nothing has arrived yet.
    pub fn new(generation: u64, epoch: u64, limits: LinkLimits) -> Self {
        Self {
            limits,
            generation,
            epoch,
            received: 0,
            acked: 0,
            unacked_bytes: 0,
            ack_at: None,
        }
    }

    /// How a hello compares with what is known: `Equal` resumes, `Greater` replaces this receiver,
    /// `Less` comes from the past and is refused.
    pub fn compare(&self, generation: u64, epoch: u64) -> Ordering {
        (generation, epoch).cmp(&(self.generation, self.epoch))
    }

    /// The generation of the sender.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Everything up to this number has arrived.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// A new connection resumes this epoch. The welcome tells how far it got, so no
    /// acknowledgement is owed.
    pub fn resume(&mut self) {
        self.settle_ack();
    }

    /// Takes a batch; returns the frames in it that are new, in order.
    ///
    /// # Errors
    /// [`LinkViolation`] if frames are missing before it; nothing is taken then.
    pub fn batch(
        &mut self,
        now: Instant,
        first_seq: u64,
        mut frames: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, LinkViolation> {
        let expected = self.received + 1;
        if first_seq > expected {
            return Err(LinkViolation::Gap {
                expected,
                first_seq,
            });
        }
        let end = first_seq
            .checked_add(frames.len() as u64)
            .filter(|_| first_seq > 0)
            .ok_or(LinkViolation::Range)?;
        let known =
            usize::try_from(expected - first_seq).map_or(frames.len(), |n| n.min(frames.len()));
        frames.drain(..known);
        if frames.is_empty() {
            return Ok(frames);
        }
        self.received = end - 1;
        self.unacked_bytes += frames.iter().map(Bytes::len).sum::<usize>();
        self.ack_at.get_or_insert(now + self.limits.ack_delay);
        // What the sender has given back to its node.
        frames.retain(|frame| !frame.is_empty());
        Ok(frames)
    }

    /// The number to acknowledge now, if it is time.
    pub fn poll_ack(&mut self, now: Instant) -> Option<u64> {
        let at = self.ack_at?;
        let due = now >= at
            || self.received - self.acked >= self.limits.ack_frames
            || self.unacked_bytes >= self.limits.ack_bytes;
        if !due {
            return None;
        }
        self.settle_ack();
        Some(self.received)
    }

    /// When to ask [`Self::poll_ack`] again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.ack_at
    }

    fn settle_ack(&mut self) {
        self.acked = self.received;
        self.unacked_bytes = 0;
        self.ack_at = None;
    }
}

#[cfg(test)]
mod tests;
