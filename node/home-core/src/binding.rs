//! Sessions come and go: binding, registration at a new home, the end.

use entente_xmpp_core::jid::FullJid;
use entente_xmpp_core::stanza::PresenceType;

use crate::contract::{BindError, EndReason, Output, SessionKey, SessionSnapshot};
use crate::desk::{Desk, Timer};
use crate::session::Session;
use crate::stanzas;
use crate::user::User;

impl User {
    /// RFC 6120 section 7. A resource that is taken goes to the new session, the old one ends with
    /// `conflict` (7.7.2.2): it is nearly always the same client after a broken connection.
    pub(crate) fn bind(
        &mut self,
        desk: &mut Desk,
        key: SessionKey,
        resource: Option<String>,
        request: u64,
    ) {
        let resource = resource
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| desk.resource());
        let result = match self.jid.with_resource(&resource) {
            Err(_) => Err(BindError::BadResource),
            Ok(full) => self.admit(desk, &key, full),
        };
        desk.outputs.push_back(Output::BindResult {
            session: key,
            request,
            result,
        });
    }

    fn admit(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        full: FullJid,
    ) -> Result<FullJid, BindError> {
        self.evict_holder(desk, key, &full);
        if self.sessions.len() >= desk.config.limits.sessions_per_user {
            return Err(BindError::TooManySessions);
        }
        desk.sessions.insert(key.clone(), self.jid.clone());
        self.sessions.push(Session::new(key.clone(), full.clone()));
        Ok(full)
    }

    /// Ends whatever session has this resource, or this key from an earlier bind.
    fn evict_holder(&mut self, desk: &mut Desk, key: &SessionKey, full: &FullJid) {
        let taken = self
            .sessions
            .iter()
            .find(|session| session.full == *full || session.key == *key);
        let Some(old) = taken.map(|session| session.key.clone()) else {
            return;
        };
        self.session_ended(desk, &old);
        if old != *key {
            desk.outputs.push_back(Output::EndSession {
                session: old,
                reason: EndReason::Conflict,
            });
        }
    }

    /// An edge node tells its session to this new home. Contacts are told nothing; they are asked,
    /// since their presence may have been lost with the old home.
    pub(crate) fn register(&mut self, desk: &mut Desk, key: SessionKey, snapshot: SessionSnapshot) {
        let SessionSnapshot {
            full,
            presence,
            carbons,
            roster_interested,
            blocklist_interested,
            mut directed,
        } = snapshot;
        if let Some(known) = self.session(&key)
            && known.full == full
        {
            // Told twice; what this home knows is as good or newer.
            return;
        }
        self.evict_holder(desk, &key, &full);
        if self.sessions.len() >= desk.config.limits.sessions_per_user {
            desk.sessions.remove(&key);
            desk.outputs.push_back(Output::EndSession {
                session: key,
                reason: EndReason::Refused,
            });
            return;
        }
        desk.sessions.insert(key.clone(), self.jid.clone());
        directed.truncate(desk.config.limits.directed);
        let mut session = Session::new(key.clone(), full);
        session.priority = presence.as_ref().map_or(0, |presence| presence.priority());
        session.presence = presence;
        session.carbons = carbons;
        session.roster_interested = roster_interested;
        session.blocklist_interested = blocklist_interested;
        session.directed = directed;
        let (available, takes) = (session.presence.is_some(), session.takes_messages());
        self.sessions.push(session);
        if available && !std::mem::replace(&mut self.probes_queued, true) {
            if desk.probes.is_empty() {
                desk.arm(desk.now, Timer::Probes);
            }
            desk.probes.push_back(self.jid.clone());
        }
        if takes && self.mailbox.has_backlog() {
            self.mailbox.start_flood(desk, &self.jid, &key);
        }
    }

    /// Asks every contact for its presence on behalf of all sessions; how many were asked.
    pub(crate) fn probe_contacts(&self, desk: &mut Desk) -> u32 {
        if !self
            .sessions
            .iter()
            .any(|session| session.presence.is_some())
        {
            return 0;
        }
        let mut asked = 0;
        for item in self.roster.iter() {
            if item.subscription.sees_contact() && !self.blocked.blocks(&item.jid) {
                desk.route(
                    None,
                    stanzas::presence(PresenceType::Probe, &self.jid, &item.jid),
                );
                asked += 1;
            }
        }
        asked
    }

    /// A session is over, for whatever reason: RFC 6121 section 4.5.2, 4.6.3.
    pub(crate) fn session_ended(&mut self, desk: &mut Desk, key: &SessionKey) {
        let Some(at) = self.sessions.iter().position(|session| session.key == *key) else {
            return;
        };
        let session = self.sessions.remove(at);
        desk.sessions.remove(key);
        let was_available = session.presence.is_some();
        self.say_unavailable(desk, &session);
        if was_available {
            self.note_logout(desk);
        }
        let takers = self.takers();
        self.mailbox.session_gone(desk, &self.jid, key, &takers);
    }

    /// Remembers the time if no session is available any more.
    pub(crate) fn note_logout(&mut self, desk: &mut Desk) {
        if !self
            .sessions
            .iter()
            .any(|session| session.presence.is_some())
        {
            self.last_logout_ms = Some(desk.wall_ms);
            self.mailbox.set_logout(desk, &self.jid);
        }
    }
}
