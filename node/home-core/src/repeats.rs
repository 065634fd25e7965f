//! Messages that came lately, so that one that a client sends again on another connection is
//! delivered once.
//!
//! Only what somebody has for good counts as known: the store, or the recipient's client. A repeat
//! of what is still under way joins it, and what becomes of the first becomes of the repeat. One
//! connection may repeat itself as it likes: that is no repeat.

use std::collections::VecDeque;
use std::time::Duration;

use entente_xmpp_core::stanza::Stanza;
use hashbrown::HashMap;
use smallvec::SmallVec;

use crate::contract::{EnvelopeId, SessionKey};
use crate::fingerprint::Fingerprint;

/// Most repeats that wait for one message; more are sent back.
const MOST_JOINED: usize = 16;

/// What a message is that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Met {
    /// Nobody has it, and it is not under way.
    New,
    /// Somebody has it, or its first one's custody is over: its own is over as well.
    Over,
    /// It waits for what becomes of the first one.
    Joined,
    /// Too many wait already.
    TooMany,
}

/// Envelopes that shared the fate of another one.
pub(crate) type Joined = SmallVec<[EnvelopeId; 1]>;

#[derive(Debug)]
enum Fate {
    UnderWay {
        first: EnvelopeId,
        /// The first one's holder has its receipt.
        receipted: bool,
        joined: Joined,
    },
    Held {
        holder: SessionKey,
        at_ms: u64,
    },
}

/// See the module. Bounded: what is under way by the mailboxes, what is held by the window.
#[derive(Debug)]
pub(crate) struct Repeats {
    key: u64,
    capacity: usize,
    window_ms: u64,
    known: HashMap<Fingerprint, Fate>,
    /// What is held, in the order in which it came to be.
    held: VecDeque<(u64, Fingerprint)>,
}

impl Repeats {
    /// Remembers at most `capacity` held messages for `window`.
    pub(crate) fn new(key: u64, capacity: usize, window: Duration) -> Self {
        Self {
            key,
            capacity,
            window_ms: u64::try_from(window.as_millis()).unwrap_or(u64::MAX),
            known: HashMap::new(),
            held: VecDeque::new(),
        }
    }

    /// How a message is known here; none if repeats of it can't be told.
    pub(crate) fn fingerprint(&self, stanza: &Stanza) -> Option<Fingerprint> {
        (self.window_ms > 0 && self.capacity > 0)
            .then(|| Fingerprint::of(self.key, stanza))
            .flatten()
    }

    /// A message came in `envelope`.
    pub(crate) fn meet(&mut self, wall_ms: u64, print: Fingerprint, envelope: &EnvelopeId) -> Met {
        match self.known.get_mut(&print) {
            Some(Fate::Held { holder, at_ms })
                if *holder != envelope.holder && at_ms.abs_diff(wall_ms) <= self.window_ms =>
            {
                Met::Over
            }
            Some(Fate::UnderWay {
                first,
                receipted,
                joined,
            }) if first.holder != envelope.holder => {
                if *receipted {
                    return Met::Over;
                }
                if joined.len() >= MOST_JOINED {
                    return Met::TooMany;
                }
                joined.push(envelope.clone());
                Met::Joined
            }
            _ => Met::New,
        }
    }

    /// Whether a stored message is a repeat of another one that somebody has.
    pub(crate) fn has_other(
        &self,
        stored_at_ms: u64,
        print: Fingerprint,
        envelope: &EnvelopeId,
    ) -> bool {
        matches!(
            self.known.get(&print),
            Some(Fate::Held { holder, at_ms })
                if *holder != envelope.holder && at_ms.abs_diff(stored_at_ms) <= self.window_ms
        )
    }

    /// A new message is under way from now on, unless the same connection's earlier one is.
    pub(crate) fn begin(&mut self, print: Fingerprint, envelope: &EnvelopeId) {
        let known = self.known.get(&print);
        if !matches!(known, Some(Fate::UnderWay { .. })) {
            let fate = Fate::UnderWay {
                first: envelope.clone(),
                receipted: false,
                joined: Joined::new(),
            };
            self.known.insert(print, fate);
        }
    }

    /// Somebody has the message of `envelope` for good; it came at `at_ms`. Returns those that are
    /// over with it.
    pub(crate) fn held(
        &mut self,
        wall_ms: u64,
        print: Fingerprint,
        envelope: &EnvelopeId,
        at_ms: u64,
    ) -> Joined {
        // Stored first and acked later, or another one's repeat that was stored before that was known:
        // the first stays.
        if let Some(Fate::Held { at_ms: known, .. }) = self.known.get(&print)
            && known.abs_diff(at_ms) <= self.window_ms
        {
            return Joined::new();
        }
        let fate = Fate::Held {
            holder: envelope.holder.clone(),
            at_ms,
        };
        let joined = match self.known.insert(print, fate) {
            Some(Fate::UnderWay { joined, .. }) => joined,
            Some(Fate::Held { .. }) | None => Joined::new(),
        };
        self.held.push_back((wall_ms, print));
        self.prune(wall_ms);
        joined
    }

    /// The holder of `envelope` has its receipt, though nobody has the message for good. Returns
    /// those that get one with it.
    pub(crate) fn receipted(&mut self, print: Fingerprint, envelope: &EnvelopeId) -> Joined {
        match self.known.get_mut(&print) {
            Some(Fate::UnderWay {
                first,
                receipted,
                joined,
            }) if first == envelope => {
                *receipted = true;
                std::mem::take(joined)
            }
            _ => Joined::new(),
        }
    }

    /// The message of `envelope` came to nothing here. Returns those that must be sent again.
    pub(crate) fn forget(&mut self, print: Fingerprint, envelope: &EnvelopeId) -> Joined {
        match self.known.entry(print) {
            hashbrown::hash_map::Entry::Occupied(entry) if matches!(entry.get(), Fate::UnderWay { first, .. } if first == envelope) => {
                match entry.remove() {
                    Fate::UnderWay { joined, .. } => joined,
                    Fate::Held { .. } => Joined::new(),
                }
            }
            _ => Joined::new(),
        }
    }

    fn prune(&mut self, wall_ms: u64) {
        while let Some((at, print)) = self.held.front()
            && (self.held.len() > self.capacity || wall_ms.saturating_sub(*at) > self.window_ms)
        {
            // One that came to be held twice leaves with its first place: early, which only means
            // that a later repeat counts as new.
            if matches!(self.known.get(print), Some(Fate::Held { .. })) {
                self.known.remove(print);
            }
            self.held.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(120);

    fn envelope(conn: u64, seq: u64) -> EnvelopeId {
        EnvelopeId::new(SessionKey::new("n1", 1, conn), seq)
    }

    fn print(repeats: &Repeats, id: u64) -> Fingerprint {
        let text = format!("<message from='a@x/1' to='b@x' id='{id}'/>");
        let stanza = Stanza::parse(Bytes::from(text)).unwrap();
        repeats.fingerprint(&stanza).unwrap()
    }

    #[test]
    fn what_somebody_has_is_over_on_other_connections_until_the_window_ends() {
        let mut repeats = Repeats::new(1, 8, WINDOW);
        let it = print(&repeats, 7);
        assert_eq!(repeats.meet(0, it, &envelope(1, 1)), Met::New);
        repeats.begin(it, &envelope(1, 1));
        assert!(repeats.held(0, it, &envelope(1, 1), 0).is_empty());
        assert_eq!(repeats.meet(9, it, &envelope(1, 2)), Met::New, "its own");
        assert_eq!(repeats.meet(9, it, &envelope(2, 1)), Met::Over);
        assert_eq!(repeats.meet(120_000, it, &envelope(2, 1)), Met::Over);
        assert_eq!(repeats.meet(120_001, it, &envelope(2, 1)), Met::New);
    }

    #[test]
    fn a_repeat_of_what_is_under_way_shares_its_fate() {
        for failed in [false, true] {
            let mut repeats = Repeats::new(1, 8, WINDOW);
            let it = print(&repeats, 7);
            repeats.begin(it, &envelope(1, 1));
            assert_eq!(repeats.meet(0, it, &envelope(2, 1)), Met::Joined);
            assert!(repeats.forget(it, &envelope(2, 1)).is_empty(), "no first");
            let joined = if failed {
                repeats.forget(it, &envelope(1, 1))
            } else {
                repeats.held(5, it, &envelope(1, 1), 5)
            };
            assert_eq!(joined.as_slice(), [envelope(2, 1)]);
            let next = if failed { Met::New } else { Met::Over };
            assert_eq!(repeats.meet(6, it, &envelope(3, 1)), next);
        }
    }

    #[test]
    fn a_receipt_without_anybody_who_has_it_ends_with_the_message() {
        let mut repeats = Repeats::new(1, 8, WINDOW);
        let it = print(&repeats, 7);
        repeats.begin(it, &envelope(1, 1));
        repeats.meet(0, it, &envelope(2, 1));
        assert_eq!(repeats.receipted(it, &envelope(1, 1)).len(), 1);
        assert_eq!(repeats.meet(1, it, &envelope(3, 1)), Met::Over);
        assert!(repeats.forget(it, &envelope(1, 1)).is_empty());
        assert_eq!(repeats.meet(2, it, &envelope(3, 1)), Met::New);
    }

    #[test]
    fn memory_is_bounded_in_number_and_time_and_in_those_who_wait() {
        let mut repeats = Repeats::new(1, 8, WINDOW);
        for id in 0..100 {
            let it = print(&repeats, id);
            repeats.held(id, it, &envelope(1, id), id);
        }
        assert_eq!((repeats.known.len(), repeats.held.len()), (8, 8));
        let it = print(&repeats, 1_000);
        repeats.held(200_000, it, &envelope(1, 1_000), 200_000);
        assert_eq!((repeats.known.len(), repeats.held.len()), (1, 1));
        let it = print(&repeats, 2_000);
        repeats.begin(it, &envelope(1, 1));
        for conn in 2..=17 {
            assert_eq!(repeats.meet(0, it, &envelope(conn, 1)), Met::Joined);
        }
        assert_eq!(repeats.meet(0, it, &envelope(18, 1)), Met::TooMany);
    }
}
