//! A user's roster, RFC 6121 section 2.

use entente_xmpp_core::jid::BareJid;

use crate::subscription::Subscription;

/// One contact.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RosterItem {
    /// The contact.
    pub jid: BareJid,
    /// Handle given by the user.
    pub name: Option<Box<str>>,
    /// Groups, no duplicates.
    pub groups: Box<[Box<str>]>,
    /// Who sees whom.
    pub subscription: Subscription,
    /// We asked to see the contact and have no answer (`ask='subscribe'`, 'pending out').
    pub ask: bool,
    /// The contact's request is granted in advance (`approved='true'`, section 3.4).
    pub approved: bool,
}

impl RosterItem {
    /// A contact with no subscription, as section 3.1.2 creates it.
    pub fn new(jid: BareJid) -> Self {
        Self {
            jid,
            name: None,
            groups: Box::default(),
            subscription: Subscription::None,
            ask: false,
            approved: false,
        }
    }
}

/// The contacts of one user, sorted by JID.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    items: Vec<RosterItem>,
    version: u64,
}

impl Roster {
    /// A roster as the store has it.
    pub fn new(mut items: Vec<RosterItem>, version: u64) -> Self {
        items.sort_by(|a, b| a.jid.as_str().cmp(b.jid.as_str()));
        items.dedup_by(|a, b| a.jid == b.jid);
        Self { items, version }
    }

    /// The version that a client may cache (`ver`).
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many contacts.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// All contacts in the order of their JIDs.
    pub fn iter(&self) -> std::slice::Iter<'_, RosterItem> {
        self.items.iter()
    }

    /// A contact by the text of its bare JID.
    pub fn get(&self, bare: &str) -> Option<&RosterItem> {
        self.position(bare).ok().map(|at| &self.items[at])
    }

    /// Inserts or replaces a contact; the version grows by one and is returned.
    pub fn put(&mut self, item: RosterItem) -> u64 {
        match self.position(item.jid.as_str()) {
            Ok(at) => self.items[at] = item,
            Err(at) => self.items.insert(at, item),
        }
        self.version += 1;
        self.version
    }

    /// Removes a contact; the version grows by one and is returned with what was removed.
    pub fn remove(&mut self, bare: &str) -> Option<(RosterItem, u64)> {
        let at = self.position(bare).ok()?;
        let item = self.items.remove(at);
        self.version += 1;
        Some((item, self.version))
    }

    fn position(&self, bare: &str) -> Result<usize, usize> {
        self.items
            .binary_search_by(|item| item.jid.as_str().cmp(bare))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jid(text: &str) -> BareJid {
        BareJid::new(text).unwrap()
    }

    #[test]
    fn versions_grow_with_every_change() {
        let mut roster = Roster::new(
            vec![RosterItem::new(jid("b@x")), RosterItem::new(jid("a@x"))],
            7,
        );
        assert_eq!(
            roster.iter().map(|i| i.jid.as_str()).collect::<Vec<_>>(),
            ["a@x", "b@x"]
        );
        let mut item = roster.get("a@x").unwrap().clone();
        item.ask = true;
        assert_eq!(roster.put(item), 8);
        assert!(roster.get("a@x").unwrap().ask);
        assert_eq!(roster.remove("a@x").unwrap().1, 9);
        assert!(roster.remove("a@x").is_none());
        assert_eq!((roster.version(), roster.len()), (9, 1));
    }
}
