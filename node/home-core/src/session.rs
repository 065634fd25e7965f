//! One client session of a user, as its home sees it.

use entente_xmpp_core::jid::{FullJid, Jid};
use entente_xmpp_core::stanza::Stanza;

use crate::contract::SessionKey;

/// A connected resource; available if it has a presence.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) key: SessionKey,
    pub(crate) full: FullJid,
    /// The last presence it broadcast. RFC 6121 calls the resource available while it has one.
    pub(crate) presence: Option<Stanza>,
    pub(crate) priority: i8,
    /// XEP-0280 is on.
    pub(crate) carbons: bool,
    /// Asked for the roster ('interested resource', RFC 6121 section 2.2).
    pub(crate) roster_interested: bool,
    /// Asked for the block list.
    pub(crate) blocklist_interested: bool,
    /// Who saw it through directed presence and must hear when it goes.
    pub(crate) directed: Vec<Jid>,
}

impl Session {
    pub(crate) fn new(key: SessionKey, full: FullJid) -> Self {
        Self {
            key,
            full,
            presence: None,
            priority: 0,
            carbons: false,
            roster_interested: false,
            blocklist_interested: false,
            directed: Vec::new(),
        }
    }

    /// Gets messages that are addressed to the bare JID.
    pub(crate) fn takes_messages(&self) -> bool {
        self.presence.is_some() && self.priority >= 0
    }
}
