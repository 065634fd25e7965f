//! Whom a user blocks, XEP-0191.

use entente_xmpp_core::jid::Jid;

/// A user's block list, sorted.
#[derive(Debug, Clone, Default)]
pub(crate) struct BlockList {
    jids: Vec<Jid>,
}

impl BlockList {
    pub(crate) fn new(mut jids: Vec<Jid>) -> Self {
        jids.sort();
        jids.dedup();
        Self { jids }
    }

    pub(crate) fn len(&self) -> usize {
        self.jids.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.jids.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Jid> {
        self.jids.iter()
    }

    /// False if it was there.
    pub(crate) fn insert(&mut self, jid: Jid) -> bool {
        match self.jids.binary_search(&jid) {
            Ok(_) => false,
            Err(at) => {
                self.jids.insert(at, jid);
                true
            }
        }
    }

    /// False if it was not there.
    pub(crate) fn remove(&mut self, jid: &Jid) -> bool {
        match self.jids.binary_search(jid) {
            Ok(at) => {
                self.jids.remove(at);
                true
            }
            Err(_) => false,
        }
    }

    pub(crate) fn take(&mut self) -> Vec<Jid> {
        std::mem::take(&mut self.jids)
    }

    /// Whether stanzas from or to this address are blocked. Section 3.1: an entry matches the full
    /// JID, the bare JID, the domain with that resource, or the domain.
    pub(crate) fn blocks(&self, other: &Jid) -> bool {
        !self.jids.is_empty() && self.jids.iter().any(|entry| matches(entry, other))
    }
}

/// Whether an entry of a block list covers an address.
pub(crate) fn matches(entry: &Jid, other: &Jid) -> bool {
    entry.domain() == other.domain()
        && entry.node().is_none_or(|node| other.node() == Some(node))
        && entry
            .resource()
            .is_none_or(|resource| other.resource() == Some(resource))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_match_by_full_bare_domain_resource_and_domain() {
        let list = |text: &str| BlockList::new(vec![Jid::new(text).unwrap()]);
        let cases = [
            ("a@x/1", "a@x/1", true),
            ("a@x/1", "a@x/2", false),
            ("a@x/1", "a@x", false),
            ("a@x", "a@x/1", true),
            ("a@x", "a@x", true),
            ("a@x", "b@x", false),
            ("x/1", "x/1", true),
            ("x/1", "x/2", false),
            ("x", "a@x/1", true),
            ("x", "x", true),
            ("x", "a@sub.x", false),
        ];
        for (entry, other, blocked) in cases {
            assert_eq!(
                list(entry).blocks(&Jid::new(other).unwrap()),
                blocked,
                "{entry} {other}"
            );
        }
    }
}
