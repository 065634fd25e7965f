//! Which envelopes were seen lately, so that an envelope sent twice is delivered once.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::contract::{EnvelopeId, SessionKey};

/// In which of the two roles this shard met an envelope. A shard can be both homes of one message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// Home of the sender: copies for the sender's other sessions were made.
    Sender,
    /// Home of the recipient.
    Recipient,
}

/// What is known of an envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is in our hands; the receipt will follow.
    Pending,
    /// Custody ended.
    Done,
}

type Key = (u32, u64, Role);

/// A bounded window, oldest out first. Holders are interned, so that an entry is small.
#[derive(Debug)]
pub(crate) struct SeenEnvelopes {
    capacity: usize,
    entries: HashMap<Key, Seen>,
    order: VecDeque<Key>,
    holders: HashMap<SessionKey, u32>,
    /// The holder of each number and how many of `order` name it.
    names: Vec<Option<(SessionKey, u32)>>,
    free: Vec<u32>,
}

impl SeenEnvelopes {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            capacity: capacity.max(1),
            entries: HashMap::new(),
            order: VecDeque::new(),
            holders: HashMap::new(),
            names: Vec::new(),
            free: Vec::new(),
        }
    }

    /// What is known of it; if nothing, it is pending from now on.
    pub(crate) fn meet(&mut self, id: &EnvelopeId, role: Role) -> Option<Seen> {
        if let Some(&holder) = self.holders.get(&id.holder)
            && let Some(&seen) = self.entries.get(&(holder, id.seq, role))
        {
            return Some(seen);
        }
        if self.order.len() >= self.capacity {
            self.drop_oldest();
        }
        let holder = self.intern(&id.holder);
        let key = (holder, id.seq, role);
        self.entries.insert(key, Seen::Pending);
        self.order.push_back(key);
        None
    }

    /// Whether a message may be taken that comes for the first time: not before the one that it
    /// has to come after.
    pub(crate) fn in_turn(&self, id: &EnvelopeId) -> bool {
        let knows = |seq| {
            self.holders
                .get(&id.holder)
                .is_some_and(|&holder| self.entries.contains_key(&(holder, seq, Role::Recipient)))
        };
        id.after.is_none_or(knows) || knows(id.seq)
    }

    /// Custody ended.
    pub(crate) fn done(&mut self, id: &EnvelopeId, role: Role) {
        if let Some(seen) = self.entry(id, role) {
            *seen = Seen::Done;
        }
    }

    /// The holder was asked to send it again: the next arrival counts as the first. The place in
    /// the window stays taken until it is its turn.
    pub(crate) fn forget(&mut self, id: &EnvelopeId, role: Role) {
        if let Some(&holder) = self.holders.get(&id.holder) {
            self.entries.remove(&(holder, id.seq, role));
        }
    }

    fn entry(&mut self, id: &EnvelopeId, role: Role) -> Option<&mut Seen> {
        let holder = *self.holders.get(&id.holder)?;
        self.entries.get_mut(&(holder, id.seq, role))
    }

    fn intern(&mut self, key: &SessionKey) -> u32 {
        if let Some(&holder) = self.holders.get(key) {
            if let Some((_, uses)) = &mut self.names[holder as usize] {
                *uses += 1;
            }
            return holder;
        }
        let holder = self.free.pop().unwrap_or_else(|| {
            self.names.push(None);
            // The window holds far fewer than 2^32 entries.
            (self.names.len() - 1) as u32
        });
        self.names[holder as usize] = Some((key.clone(), 1));
        self.holders.insert(key.clone(), holder);
        holder
    }

    fn drop_oldest(&mut self) {
        let Some(key) = self.order.pop_front() else {
            return;
        };
        // After `forget` and a second `meet` the key is in the window twice and leaves with its first
        // place: early, which only means that a later copy would count as new.
        self.entries.remove(&key);
        let slot = &mut self.names[key.0 as usize];
        if let Some((_, uses)) = slot {
            *uses -= 1;
            if *uses == 0
                && let Some((name, _)) = slot.take()
            {
                self.holders.remove(&name);
                self.free.push(key.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(edge: &str, seq: u64) -> EnvelopeId {
        EnvelopeId::new(SessionKey::new(edge, 1, 1), seq)
    }

    #[test]
    fn the_second_arrival_is_known_until_it_leaves_the_window() {
        let mut seen = SeenEnvelopes::new(2);
        assert_eq!(seen.meet(&id("a", 1), Role::Recipient), None);
        assert_eq!(
            seen.meet(&id("a", 1), Role::Sender),
            None,
            "roles are apart"
        );
        assert_eq!(seen.meet(&id("a", 1), Role::Recipient), Some(Seen::Pending));
        seen.done(&id("a", 1), Role::Recipient);
        assert_eq!(seen.meet(&id("a", 1), Role::Recipient), Some(Seen::Done));
        assert_eq!(seen.meet(&id("b", 1), Role::Recipient), None);
        assert_eq!(seen.meet(&id("b", 2), Role::Recipient), None);
        assert_eq!(
            seen.holders.len(),
            1,
            "holders leave with their last envelope"
        );
        assert_eq!(seen.meet(&id("a", 1), Role::Recipient), None);
    }

    #[test]
    fn a_forgotten_envelope_counts_as_new() {
        let mut seen = SeenEnvelopes::new(8);
        seen.meet(&id("a", 1), Role::Recipient);
        seen.forget(&id("a", 1), Role::Recipient);
        assert_eq!(seen.meet(&id("a", 1), Role::Recipient), None);
    }
}
