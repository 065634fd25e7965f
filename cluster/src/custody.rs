//! Custody: what a connection has accepted and nobody else has taken responsibility for yet.
//!
//! Each client session and each inbound federation stream owns one [`Custody`]. It numbers what it
//! accepts, keeps the payload until the receipt comes, and says again what has to be sent again:
//! because the home of the key moved, because a home said 'not mine', or because a receipt is long
//! overdue. The count of envelopes that may be acknowledged upstream (XEP-0198 `h`) grows only
//! along the unbroken row of receipts, whatever order they come in.
//!
//! Order: envelopes of one key are always handed out in the order in which they were accepted. When
//! one has to be sent again, everything of its key that still waits behind it is sent again too;
//! the receiver recognises by [`SeenWindow`] what it had already.
//!
//! That alone does not keep the order when an envelope is lost on its way and a later one takes
//! another way, because a view changed between the two. So envelopes can be *chained* (those of one
//! sender to one recipient are): each one says which one before it has no receipt yet. Who receives
//! it takes it only after that one, else says 'try again', and then the chain comes in order.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hashbrown::HashMap;

mod seen;

pub use seen::{Seen, SeenLimits, SeenWindow};

/// Bounds and times of a [`Custody`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CustodyLimits {
    /// Most envelopes from the oldest one without a receipt to the newest one. Must not exceed
    /// [`SeenLimits::window`] of the receivers, or their duplicate filter forgets too early.
    pub max_envelopes: usize,
    /// Most payload bytes without a receipt. One envelope is always accepted, however large.
    pub max_bytes: usize,
    /// An envelope without a receipt for this long is sent again; the wait doubles with each
    /// attempt, up to eightfold. Links are reliable, so this is a safety net: larger than the time
    /// that a home waits for its own receipt.
    pub overdue: Duration,
    /// Pause after 'not mine, try again', while the views of two nodes differ.
    pub retry_after: Duration,
}

impl Default for CustodyLimits {
    fn default() -> Self {
        Self {
            max_envelopes: 1024,
            max_bytes: 4 * 1024 * 1024,
            overdue: Duration::from_secs(5),
            retry_after: Duration::from_millis(100),
        }
    }
}

/// The table is full: do not read on from the connection until receipts come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many accepted stanzas wait for their receipts")]
pub struct CustodyFull;

/// What [`Custody::accept`] answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The number of the envelope, from 1 without gaps.
    pub seq: u64,
    /// Send it now. If not, an earlier envelope of the same key waits for its next attempt, and
    /// this one comes out of [`Custody::overdue`] or [`Custody::view_changed`] behind it.
    pub send: bool,
    /// The envelope before it in its chain, if that has no receipt yet.
    pub after: Option<u64>,
}

/// An envelope that has to be sent again, by today's view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resend {
    /// The number of the envelope.
    pub seq: u64,
    /// What decides about the home: a bare JID.
    pub key: Arc<str>,
    /// The payload as accepted.
    pub payload: Bytes,
    /// How often it has been handed out before this time.
    pub attempts: u32,
    /// The envelope before it in its chain, if that has no receipt yet.
    pub after: Option<u64>,
}

#[derive(Debug)]
struct Envelope {
    /// `None` once the receipt is there.
    waiting: Option<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    key: Arc<str>,
    chain: Option<Arc<str>>,
    payload: Bytes,
    accepted_at: Instant,
    /// When to hand it out again.
    due: Instant,
    attempts: u32,
}

/// The table of one connection. `H` names the connection, in the node a session key.
#[derive(Debug)]
pub struct Custody<H> {
    holder: H,
    limits: CustodyLimits,
    /// Envelope `n` of the queue has the number `first_seq + n`. The front one always waits.
    envelopes: VecDeque<Envelope>,
    first_seq: u64,
    bytes: usize,
    waiting: usize,
    /// How much of the unbroken row has been told by `handled`.
    told: u64,
    /// Keys of which an envelope has been refused, with the time of the next attempt.
    held: HashMap<Arc<str>, Instant>,
    /// Not later than the earliest `due`; may be earlier.
    next_due: Option<Instant>,
    /// The newest envelope without a receipt of each chain.
    chains: HashMap<Arc<str>, u64>,
    /// Most connections have one key, and mostly the same chain goes on: spares allocations for each
    /// envelope.
    last_key: Arc<str>,
    last_chain: Arc<str>,
}

impl<H> Custody<H> {
    /// An empty table for the connection `holder`.
    pub fn new(holder: H, limits: CustodyLimits) -> Self {
        Self {
            holder,
            limits,
            envelopes: VecDeque::new(),
            first_seq: 1,
            bytes: 0,
            waiting: 0,
            told: 0,
            held: HashMap::new(),
            next_due: None,
            chains: HashMap::new(),
            last_key: Arc::from(""),
            last_chain: Arc::from(""),
        }
    }

    /// The connection that this table belongs to.
    pub fn holder(&self) -> &H {
        &self.holder
    }

    /// Takes a payload into custody. `key` decides about its home: a bare JID.
    ///
    /// # Errors
    /// [`CustodyFull`] when [`Self::is_full`]; nothing changes then.
    pub fn accept(
        &mut self,
        now: Instant,
        key: &str,
        payload: Bytes,
    ) -> Result<Accepted, CustodyFull> {
        self.accept_chained(now, key, None, payload)
    }

    /// Like [`Self::accept`], for an envelope that must not arrive before those accepted earlier
    /// with the same `chain` (the bare JID of the recipient). A chain belongs to one key.
    ///
    /// # Errors
    /// [`CustodyFull`] when [`Self::is_full`]; nothing changes then.
    pub fn accept_chained(
        &mut self,
        now: Instant,
        key: &str,
        chain: Option<&str>,
        payload: Bytes,
    ) -> Result<Accepted, CustodyFull> {
        if self.is_full() {
            return Err(CustodyFull);
        }
        if &*self.last_key != key {
            self.last_key = Arc::from(key);
        }
        let seq = self.next_seq();
        let held = self.held.get(key).copied();
        let due = held.unwrap_or(now + self.limits.overdue);
        self.bytes += payload.len();
        self.waiting += 1;
        self.wake_at(due);
        let chain: Option<Arc<str>> = chain.map(|chain| {
            if &*self.last_chain != chain {
                self.last_chain = match self.chains.get_key_value(chain) {
                    Some((known, _)) => Arc::clone(known),
                    None => Arc::from(chain),
                };
            }
            Arc::clone(&self.last_chain)
        });
        let after = chain
            .as_ref()
            .and_then(|chain| self.chains.insert(Arc::clone(chain), seq));
        self.envelopes.push_back(Envelope {
            waiting: Some(Waiting {
                key: Arc::clone(&self.last_key),
                chain,
                payload,
                accepted_at: now,
                due,
                attempts: u32::from(held.is_none()),
            }),
        });
        Ok(Accepted {
            seq,
            send: held.is_none(),
            after,
        })
    }

    /// The next holder took responsibility for `seq`. `false` if that was known or `seq` was never
    /// given out.
    pub fn receipt(&mut self, seq: u64) -> bool {
        let Some(done) = self
            .position(seq)
            .and_then(|n| self.envelopes.get_mut(n))
            .and_then(|envelope| envelope.waiting.take())
        else {
            return false;
        };
        self.bytes -= done.payload.len();
        self.waiting -= 1;
        if let Some(chain) = done.chain {
            self.shorten(chain, seq);
        }
        while matches!(self.envelopes.front(), Some(front) if front.waiting.is_none()) {
            self.envelopes.pop_front();
            self.first_seq += 1;
        }
        if self.waiting == 0 {
            self.held.clear();
            self.next_due = None;
        }
        true
    }

    /// How many more envelopes than at the last call may be acknowledged upstream: the growth of
    /// the unbroken row of receipts.
    pub fn handled(&mut self) -> u64 {
        let newly = self.handled_total() - self.told;
        self.told += newly;
        newly
    }

    /// The length of the unbroken row of receipts since the beginning. XEP-0198's `h` is this
    /// modulo 2^32, if everything that counts was accepted here.
    pub fn handled_total(&self) -> u64 {
        self.first_seq - 1
    }

    /// The view has changed: returns, in order, everything that waits and whose key `moved` to
    /// another home (or to the same node's next generation), and what waited for its next attempt
    /// after [`Self::retry`].
    pub fn view_changed(
        &mut self,
        now: Instant,
        mut moved: impl FnMut(&str) -> bool,
    ) -> Vec<Resend> {
        let held = std::mem::take(&mut self.held);
        let mut verdicts: HashMap<Arc<str>, bool> = HashMap::new();
        self.hand_out(now, |_, waiting| {
            *verdicts
                .entry(Arc::clone(&waiting.key))
                .or_insert_with_key(|key| held.contains_key(key) || moved(key))
        })
    }

    /// The home that was asked said 'not mine, try again', or misses an earlier envelope of the
    /// chain. The envelope, what waits before it in its chain, and all that waits behind those with
    /// the same key comes out of [`Self::overdue`] after [`CustodyLimits::retry_after`],
    /// or out of the next [`Self::view_changed`]. `false` if `seq` does not wait.
    pub fn retry(&mut self, now: Instant, seq: u64) -> bool {
        let Some(waiting) = self
            .position(seq)
            .and_then(|n| self.envelopes.get_mut(n))
            .and_then(|envelope| envelope.waiting.as_mut())
        else {
            return false;
        };
        let at = *self
            .held
            .entry(Arc::clone(&waiting.key))
            .or_insert(now + self.limits.retry_after);
        waiting.due = at;
        let chain = waiting.chain.clone();
        self.wake_at(at);
        if chain.is_some()
            && let Some(first) = self
                .envelopes
                .iter_mut()
                .filter_map(|envelope| envelope.waiting.as_mut())
                .find(|waiting| waiting.chain == chain)
        {
            first.due = first.due.min(at);
        }
        true
    }

    /// What has to be sent again now, in order: receipts overdue and pauses after
    /// [`Self::retry`] over. Cheap when nothing is due.
    pub fn overdue(&mut self, now: Instant) -> Vec<Resend> {
        if self.next_due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        self.held.retain(|_, at| *at > now);
        // Once one envelope of a key is due, all behind it go too, or they would overtake it.
        let mut due_keys: HashMap<Arc<str>, ()> = HashMap::new();
        self.hand_out(now, |_, waiting| {
            if waiting.due <= now {
                due_keys.insert(Arc::clone(&waiting.key), ());
                return true;
            }
            due_keys.contains_key(&waiting.key)
        })
    }

    /// When to call [`Self::overdue`] next. May name a time that turns out to be too early.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_due
    }

    /// Nothing more is accepted until receipts come.
    pub fn is_full(&self) -> bool {
        self.envelopes.len() >= self.limits.max_envelopes.max(1)
            || (self.bytes >= self.limits.max_bytes && self.waiting > 0)
    }

    /// How many envelopes have no receipt.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// How many payload bytes have no receipt.
    pub fn waiting_bytes(&self) -> usize {
        self.bytes
    }

    /// When the oldest envelope without a receipt was accepted.
    pub fn oldest(&self) -> Option<Instant> {
        let front = self.envelopes.front()?.waiting.as_ref()?;
        Some(front.accepted_at)
    }

    /// The payload of an envelope that waits, for example to answer its sender with an error.
    pub fn get(&self, seq: u64) -> Option<&Bytes> {
        let envelope = self.envelopes.get(self.position(seq)?)?;
        envelope.waiting.as_ref().map(|waiting| &waiting.payload)
    }

    /// `seq` of this chain has its receipt.
    fn shorten(&mut self, chain: Arc<str>, seq: u64) {
        if self.chains.get(&chain) != Some(&seq) {
            return;
        }
        // Receipts come in order mostly: then nothing waits before this one.
        let before = self.position(seq).and_then(|end| {
            let earlier = self.envelopes.iter().take(end).enumerate().rev();
            earlier
                .filter_map(|(n, envelope)| Some((n, envelope.waiting.as_ref()?)))
                .find(|(_, waiting)| waiting.chain.as_ref() == Some(&chain))
                .map(|(n, _)| self.first_seq + n as u64)
        });
        match before {
            Some(before) => self.chains.insert(chain, before),
            None => self.chains.remove(&chain),
        };
    }

    fn next_seq(&self) -> u64 {
        self.first_seq + self.envelopes.len() as u64
    }

    fn position(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first_seq)?).ok()
    }

    fn wake_at(&mut self, at: Instant) {
        self.next_due = Some(self.next_due.map_or(at, |due| due.min(at)));
    }

    /// Hands out, in order, what `chosen` picks, and finds the next deadline of the rest.
    fn hand_out(
        &mut self,
        now: Instant,
        mut chosen: impl FnMut(u64, &Waiting) -> bool,
    ) -> Vec<Resend> {
        let mut out = Vec::new();
        let mut next_due: Option<Instant> = None;
        let mut chains: HashMap<Arc<str>, u64> = HashMap::new();
        for (seq, envelope) in (self.first_seq..).zip(&mut self.envelopes) {
            let Some(waiting) = envelope.waiting.as_mut() else {
                continue;
            };
            let after = waiting
                .chain
                .as_ref()
                .and_then(|chain| chains.insert(Arc::clone(chain), seq));
            if chosen(seq, waiting) {
                out.push(Resend {
                    after,
                    seq,
                    key: Arc::clone(&waiting.key),
                    payload: waiting.payload.clone(),
                    attempts: waiting.attempts,
                });
                waiting.due = now + self.limits.overdue * (1 << waiting.attempts.min(3));
                waiting.attempts = waiting.attempts.saturating_add(1);
            }
            next_due = Some(next_due.map_or(waiting.due, |due| due.min(waiting.due)));
        }
        self.next_due = next_due;
        out
    }
}

#[cfg(test)]
mod tests;
