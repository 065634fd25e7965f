//! What an edge node remembers of a session, so that it can tell a new home.

use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::ns;
use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{IqType, PresenceType, StanzaType};

use crate::contract::SessionSnapshot;

/// Watches what a client sends and keeps the [`SessionSnapshot`].
#[derive(Debug, Clone)]
pub struct SessionMirror {
    snapshot: SessionSnapshot,
    directed_limit: usize,
}

impl SessionMirror {
    /// A session that was just bound. `directed_limit`: entities with directed presence remembered;
    /// the home's `Limits::directed`.
    pub fn new(full: FullJid, directed_limit: usize) -> Self {
        Self {
            snapshot: SessionSnapshot {
                full,
                presence: None,
                carbons: false,
                roster_interested: false,
                blocklist_interested: false,
                directed: Vec::new(),
            },
            directed_limit,
        }
    }

    /// What a new home must know.
    pub fn snapshot(&self) -> &SessionSnapshot {
        &self.snapshot
    }

    /// A stanza that the client sent, with `from` stamped.
    pub fn client_sent(&mut self, stanza: &Stanza) {
        match stanza.stanza_type() {
            StanzaType::Message(_) | StanzaType::Iq(IqType::Result | IqType::Error) => {}
            StanzaType::Presence(kind) => self.presence_sent(kind, stanza),
            StanzaType::Iq(IqType::Get | IqType::Set) => self.request_sent(stanza),
        }
    }

    fn presence_sent(&mut self, kind: PresenceType, stanza: &Stanza) {
        let broadcast = stanza
            .to()
            .is_none_or(|to| self.snapshot.full.same_user(to) && to.is_bare());
        let directed = &mut self.snapshot.directed;
        match (kind, broadcast, stanza.to()) {
            (PresenceType::Available, true, _) => self.snapshot.presence = Some(stanza.clone()),
            (PresenceType::Unavailable, true, _) => {
                self.snapshot.presence = None;
                directed.clear();
            }
            (PresenceType::Available, false, Some(to))
                if directed.len() < self.directed_limit && !directed.contains(to) =>
            {
                directed.push(to.clone());
            }
            (PresenceType::Unavailable, false, Some(to)) => directed.retain(|entity| entity != to),
            _ => {}
        }
    }

    fn request_sent(&mut self, stanza: &Stanza) {
        let own = stanza
            .to()
            .is_none_or(|to| self.snapshot.full.same_user(to) && to.is_bare());
        let Some(child) = stanza.first_child().filter(|_| own) else {
            return;
        };
        let set = stanza.iq_type() == Some(IqType::Set);
        match (child.ns, child.name, set) {
            (ns::ROSTER, "query", false) => self.snapshot.roster_interested = true,
            (ns::BLOCKING, "blocklist", false) => self.snapshot.blocklist_interested = true,
            (ns::CARBONS, "enable", true) => self.snapshot.carbons = true,
            (ns::CARBONS, "disable", true) => self.snapshot.carbons = false,
            _ => {}
        }
    }
}
