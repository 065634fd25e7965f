//! What a session was given, at its edge: nothing twice, and each delivery reported to the home that
//! made it.
//!
//! A new home may deliver again what an earlier one did, and a repeat that a client sent on another
//! connection may come over a home that does not know the first one. The session knows both.

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use entente_xmpp_core::stanza::Stanza;

use crate::contract::{DeliveryId, EnvelopeId};
use crate::fingerprint::Fingerprint;

/// Envelopes remembered.
const RECENT: usize = 512;

#[derive(Debug)]
struct Recent {
    envelope: EnvelopeId,
    print: Option<Fingerprint>,
    delivery: DeliveryId,
    at: Instant,
    acked: bool,
}

/// See the module. Takes no memory on the heap before the first delivery.
#[derive(Debug)]
pub struct Deliveries {
    /// Keys of the hashes, which are compared with each other only.
    hasher: RandomState,
    /// For how long a repeat on another connection is recognised; zero for never.
    window: Duration,
    recent: VecDeque<Recent>,
    /// How many were remembered and forgotten: the number of the oldest in `recent`.
    first: u64,
    /// The numbers of the last deliveries by the hash of their envelope, and by their fingerprint.
    by_envelope: HashMap<u64, u64>,
    by_print: HashMap<Fingerprint, u64>,
    /// A second delivery of something still unacked: first id, second id.
    aliases: Vec<(DeliveryId, DeliveryId)>,
    delivered: Vec<DeliveryId>,
    failed: Vec<DeliveryId>,
}

impl Deliveries {
    /// A session that got nothing yet. `window` as in `Limits::repeat_window`.
    pub fn new(window: Duration) -> Self {
        Self {
            hasher: RandomState::new(),
            window,
            recent: VecDeque::new(),
            first: 0,
            by_envelope: HashMap::new(),
            by_print: HashMap::new(),
            aliases: Vec::new(),
            delivered: Vec::new(),
            failed: Vec::new(),
        }
    }

    /// Whether a delivery has to be written: not if the client was given it before. Then it is
    /// reported with the first one.
    pub fn is_new(
        &mut self,
        now: Instant,
        delivery: Option<DeliveryId>,
        envelope: Option<&EnvelopeId>,
        stanza: &Stanza,
    ) -> bool {
        let (Some(envelope), Some(delivery)) = (envelope, delivery) else {
            return true;
        };
        let name = self.hasher.hash_one(envelope);
        let print = (!self.window.is_zero())
            .then(|| Fingerprint::of(self.hasher.hash_one(0), stanza))
            .flatten();
        let known = self
            .same_envelope(name, envelope)
            .or_else(|| self.same_message(now, print?, envelope));
        match known.map(|at| &self.recent[at]) {
            Some(recent) if recent.acked => self.delivered.push(delivery),
            Some(recent) if recent.delivery != delivery => {
                self.aliases.push((recent.delivery, delivery));
            }
            Some(_) => {}
            None => {
                self.remember(
                    name,
                    Recent {
                        envelope: envelope.clone(),
                        print,
                        delivery,
                        at: now,
                        acked: false,
                    },
                );
                return true;
            }
        }
        false
    }

    /// The client has this delivery.
    pub fn delivered(&mut self, id: DeliveryId) {
        // Mostly among the last ones.
        let entry = self.recent.iter_mut().rev().find(|r| r.delivery == id);
        if let Some(entry) = entry {
            entry.acked = true;
        }
        self.delivered.push(id);
        follow(&mut self.aliases, id, &mut self.delivered);
    }

    /// The client will not get this delivery here.
    pub fn failed(&mut self, id: DeliveryId) {
        self.failed.push(id);
        follow(&mut self.aliases, id, &mut self.failed);
    }

    /// What has to be told to the home since the last call: what the client has, and what it can't
    /// have.
    pub fn take_reports(&mut self) -> (Vec<DeliveryId>, Vec<DeliveryId>) {
        (
            std::mem::take(&mut self.delivered),
            std::mem::take(&mut self.failed),
        )
    }

    fn remember(&mut self, name: u64, recent: Recent) {
        if self.recent.len() == RECENT {
            self.forget_oldest();
        }
        let number = self.first + self.recent.len() as u64;
        self.by_envelope.insert(name, number);
        if let Some(print) = recent.print {
            self.by_print.insert(print, number);
        }
        self.recent.push_back(recent);
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.recent.pop_front() else {
            return;
        };
        let name = self.hasher.hash_one(&oldest.envelope);
        // A later delivery may have taken its place in the indexes.
        if self.by_envelope.get(&name) == Some(&self.first) {
            self.by_envelope.remove(&name);
        }
        if let Some(print) = oldest.print
            && self.by_print.get(&print) == Some(&self.first)
        {
            self.by_print.remove(&print);
        }
        self.first += 1;
    }

    fn same_envelope(&self, name: u64, envelope: &EnvelopeId) -> Option<usize> {
        let at = (self.by_envelope.get(&name)? - self.first) as usize;
        (self.recent[at].envelope == *envelope).then_some(at)
    }

    /// The same message from another connection, lately. The last one with this fingerprint tells: an
    /// earlier one of another connection would have made the last one a repeat, or is too old.
    fn same_message(
        &self,
        now: Instant,
        print: Fingerprint,
        envelope: &EnvelopeId,
    ) -> Option<usize> {
        let at = (self.by_print.get(&print)? - self.first) as usize;
        let recent = &self.recent[at];
        let other = recent.envelope.holder != envelope.holder;
        let lately = now.saturating_duration_since(recent.at) <= self.window;
        (other && lately).then_some(at)
    }
}

/// What becomes of `id` becomes of its aliases.
fn follow(
    aliases: &mut Vec<(DeliveryId, DeliveryId)>,
    id: DeliveryId,
    report: &mut Vec<DeliveryId>,
) {
    aliases.retain(|(first, second)| {
        if *first == id {
            report.push(*second);
        }
        *first != id
    });
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::contract::SessionKey;

    const WINDOW: Duration = Duration::from_secs(120);

    fn envelope(conn: u64, seq: u64) -> EnvelopeId {
        EnvelopeId::new(SessionKey::new("n1", 1, conn), seq)
    }

    fn message(id: u64) -> Stanza {
        let text = format!("<message from='a@x/1' to='b@x' id='{id}'/>");
        Stanza::parse(Bytes::from(text)).unwrap()
    }

    #[expect(clippy::disallowed_methods, reason = "any fixed instant will do")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn a_second_delivery_is_not_written_and_is_reported_with_the_first() {
        let (now, mut deliveries) = (start(), Deliveries::new(WINDOW));
        let mut give = |delivery, envelope: &EnvelopeId, message: u64| {
            let id = Some(DeliveryId(delivery));
            deliveries.is_new(now, id, Some(envelope), &self::message(message))
        };
        assert!(give(1, &envelope(1, 1), 7));
        assert!(!give(2, &envelope(1, 1), 7), "another home");
        assert!(!give(3, &envelope(2, 1), 7), "a repeat");
        assert!(give(4, &envelope(1, 2), 7), "the same connection may");
        assert!(give(5, &envelope(2, 2), 8));
        deliveries.delivered(DeliveryId(1));
        deliveries.failed(DeliveryId(5));
        let ids = |list: &[u64]| list.iter().map(|id| DeliveryId(*id)).collect::<Vec<_>>();
        assert_eq!(deliveries.take_reports(), (ids(&[1, 2, 3]), ids(&[5])));
        let late = Some(DeliveryId(6));
        assert!(!deliveries.is_new(now, late, Some(&envelope(1, 1)), &message(7)));
        assert_eq!(deliveries.take_reports(), (ids(&[6]), ids(&[])));
    }

    #[test]
    fn memory_ends_with_the_window_and_the_number() {
        let (now, mut deliveries) = (start(), Deliveries::new(WINDOW));
        let first = Some(DeliveryId(1));
        assert!(deliveries.is_new(now, first, Some(&envelope(1, 1)), &message(7)));
        let later = now + WINDOW + Duration::from_secs(1);
        let second = Some(DeliveryId(2));
        assert!(deliveries.is_new(later, second, Some(&envelope(2, 1)), &message(7)));
        for n in 3..=RECENT as u64 + 3 {
            let id = Some(DeliveryId(n));
            assert!(deliveries.is_new(later, id, Some(&envelope(1, n)), &message(100 + n)));
        }
        let again = Some(DeliveryId(9_999));
        assert!(deliveries.is_new(later, again, Some(&envelope(1, 1)), &message(7)));
        assert_eq!(deliveries.recent.len(), RECENT);
    }
}
