//! What sessions that are gone were given and had not acknowledged.
//!
//! A home ends the sessions of an edge node that it cannot hear. The client may have had what it was
//! given there, and have said so: when the node is heard again, its report comes late, but mostly
//! before the message went to the client's next session. So it is still worth something.

use std::collections::VecDeque;

use entente_xmpp_core::jid::BareJid;
use hashbrown::HashMap;

use crate::contract::{DeliveryId, EnvelopeId};

/// Most deliveries remembered; a report about an older one is of no use.
const CAPACITY: usize = 4_096;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Strays {
    known: HashMap<DeliveryId, (BareJid, EnvelopeId)>,
    order: VecDeque<DeliveryId>,
}

impl Strays {
    /// The session that was given this is gone.
    pub(crate) fn add(&mut self, id: DeliveryId, user: &BareJid, envelope: &EnvelopeId) {
        if self.order.len() >= CAPACITY
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        let stray = (user.clone(), envelope.clone());
        if self.known.insert(id, stray).is_none() {
            self.order.push_back(id);
        }
    }

    /// A report came for this delivery: whose it was, and of what. Its place in the order stays taken
    /// until it is its turn.
    pub(crate) fn take(&mut self, id: DeliveryId) -> Option<(BareJid, EnvelopeId)> {
        self.known.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::SessionKey;

    #[test]
    fn memory_is_bounded_and_the_oldest_goes_first() {
        let user = BareJid::new("a@x").expect("an address");
        let mut strays = Strays::default();
        let envelope = |seq| EnvelopeId::new(SessionKey::new("n1", 1, 1), seq);
        for n in 0..=CAPACITY as u64 {
            strays.add(DeliveryId(n), &user, &envelope(n));
        }
        strays.add(DeliveryId(7), &user, &envelope(7));
        assert_eq!(
            (strays.known.len(), strays.order.len()),
            (CAPACITY - 1, CAPACITY - 1)
        );
        assert_eq!(strays.take(DeliveryId(0)), None);
        assert_eq!(strays.take(DeliveryId(7)), Some((user, envelope(7))));
        assert_eq!(strays.take(DeliveryId(7)), None);
    }
}
