//! Presence: RFC 6121 section 4.

use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::PresenceType;
use entente_xmpp_core::stanza::Stanza;

use crate::contract::{EnvelopeId, SessionKey};
use crate::desk::Desk;
use crate::session::Session;
use crate::stanzas;
use crate::user::User;

impl User {
    /// Presence without `to`: initial, changed or unavailable (sections 4.2.2, 4.4.2, 4.5.2).
    pub(crate) fn broadcast_presence(&mut self, desk: &mut Desk, key: &SessionKey, stanza: Stanza) {
        match stanza.presence_type() {
            Some(PresenceType::Available) => self.became_available(desk, key, stanza),
            Some(PresenceType::Unavailable) => self.became_unavailable(desk, key, &stanza),
            // Subscription stanzas and probes need an address.
            _ => {
                if let Some(error) = stanzas::refused(&stanza, StanzaCondition::BadRequest) {
                    desk.tell(key, error);
                }
            }
        }
    }

    fn became_available(&mut self, desk: &mut Desk, key: &SessionKey, stanza: Stanza) {
        let Some(session) = self.session(key) else {
            return;
        };
        let initial = session.presence.is_none();
        let took = session.takes_messages();
        session.priority = stanza.priority();
        session.presence = Some(stanza.clone());
        let takes = session.takes_messages();
        let full = session.full.clone();
        self.spread(desk, &stanza, None);
        if initial {
            // Section 4.3.1. From the full JID, so that the answers go to this session alone.
            for item in self.roster.iter() {
                if item.subscription.sees_contact() && !self.blocked.blocks(&item.jid) {
                    desk.route(
                        None,
                        stanzas::presence(PresenceType::Probe, &full, &item.jid),
                    );
                }
            }
            for other in self.sessions.iter().filter(|other| other.key != *key) {
                if let Some(presence) = &other.presence {
                    desk.tell(key, presence.restamped(None, Some(&full)));
                }
            }
            // Section 3.1.3: requests wait for an answer.
            for request in &self.pending_in {
                desk.tell(key, request.stanza.clone());
            }
        }
        if takes && !took && self.mailbox.has_backlog() {
            self.mailbox.start_flood(desk, &self.jid, key);
        }
    }

    fn became_unavailable(&mut self, desk: &mut Desk, key: &SessionKey, stanza: &Stanza) {
        let Some(session) = self.session(key) else {
            return;
        };
        let was_available = session.presence.take().is_some();
        session.priority = 0;
        let directed = std::mem::take(&mut session.directed);
        if was_available {
            self.spread(desk, stanza, Some(key));
        }
        for entity in directed {
            if !(was_available && self.is_seen_by(&entity)) {
                desk.route(None, stanza.restamped(None, Some(&entity)));
            }
        }
        if was_available {
            self.note_logout(desk);
            let takers = self.takers();
            self.mailbox.session_away(desk, &self.jid, key, &takers);
        }
    }

    /// Sends a session's presence to all who see the user, and to the user's available sessions.
    fn spread(&self, desk: &mut Desk, stanza: &Stanza, except: Option<&SessionKey>) {
        for item in self.roster.iter() {
            if item.subscription.seen_by_contact() && !self.blocked.blocks(&item.jid) {
                desk.route(None, stanza.restamped(None, Some(&item.jid)));
            }
        }
        for other in self
            .sessions
            .iter()
            .filter(|other| other.presence.is_some() && Some(&other.key) != except)
        {
            desk.tell(&other.key, stanza.restamped(None, Some(&other.full)));
        }
    }

    /// Tells everybody who saw a session that it is gone. It is in the list of sessions no more.
    pub(crate) fn say_unavailable(&self, desk: &mut Desk, session: &Session) {
        if session.presence.is_none() && session.directed.is_empty() {
            return;
        }
        let gone = stanzas::presence(PresenceType::Unavailable, &session.full, &self.jid);
        if session.presence.is_some() {
            self.spread(desk, &gone, None);
        }
        for entity in &session.directed {
            if session.presence.is_none() || !self.is_seen_by(entity) {
                desk.route(None, gone.restamped(None, Some(entity)));
            }
        }
    }

    /// Presence with `to`, section 4.6.
    pub(crate) fn direct_presence(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        envelope: EnvelopeId,
        to: &Jid,
        stanza: Stanza,
    ) {
        let limit = desk.config.limits.directed;
        let seen = self.is_seen_by(to);
        let Some(session) = self.session(key) else {
            return desk.retry(Some(envelope));
        };
        match stanza.presence_type() {
            Some(PresenceType::Available) => {
                let hears_anyway = seen && session.presence.is_some();
                if !hears_anyway && !session.directed.contains(to) {
                    if session.directed.len() >= limit {
                        if let Some(error) =
                            stanzas::refused(&stanza, StanzaCondition::ResourceConstraint)
                        {
                            desk.tell(key, error);
                        }
                        return desk.receipt(Some(envelope));
                    }
                    session.directed.push(to.clone());
                }
            }
            Some(PresenceType::Unavailable) => session.directed.retain(|entity| entity != to),
            _ => {}
        }
        desk.route(Some(envelope), stanza);
    }

    /// Presence for this user from somebody else: sections 4.2.3, 4.4.3, 4.5.3, 8.5.
    pub(crate) fn presence_received(
        &mut self,
        desk: &mut Desk,
        from: &Jid,
        to: &Jid,
        stanza: &Stanza,
    ) {
        match stanza.presence_type() {
            Some(PresenceType::Probe) => self.answer_probe(desk, from),
            Some(PresenceType::Available | PresenceType::Unavailable) => {
                for session in &self.sessions {
                    let addressed =
                        to.is_bare() && session.presence.is_some() || session.full == *to;
                    if addressed && session.full != *from {
                        desk.tell(&session.key, stanza.clone());
                    }
                }
            }
            Some(PresenceType::Error) => {
                // The entity is not there or wants nothing: it need not hear of the end.
                for session in &mut self.sessions {
                    if session.full == *to {
                        session.directed.retain(|entity| entity != from);
                        desk.tell(&session.key, stanza.clone());
                    }
                }
            }
            _ => {}
        }
    }

    /// Section 4.3.2. Who may not see the user gets what an unknown user's server would say.
    fn answer_probe(&self, desk: &mut Desk, from: &Jid) {
        let seen = self.is_seen_by(from);
        let mut answered = false;
        for session in self.sessions.iter().filter(|session| session.full != *from) {
            if seen && let Some(presence) = &session.presence {
                desk.route(None, presence.restamped(None, Some(from)));
                answered = true;
            } else if !seen && session.directed.contains(from) {
                // It knows that the session is there, and needs to know no more.
                let there = stanzas::presence(PresenceType::Available, &session.full, from);
                desk.route(None, there);
                answered = true;
            }
        }
        if !answered {
            let kind = if seen {
                PresenceType::Unavailable
            } else {
                PresenceType::Unsubscribed
            };
            desk.route(None, stanzas::presence(kind, &self.jid, from));
        }
    }

    /// Sends the presence of every available session to one contact.
    pub(crate) fn show_to(&self, desk: &mut Desk, contact: &Jid) {
        for session in &self.sessions {
            if let Some(presence) = &session.presence {
                desk.route(None, presence.restamped(None, Some(contact)));
            }
        }
    }

    /// Tells one contact that every available session is gone.
    pub(crate) fn hide_from(&self, desk: &mut Desk, contact: &Jid) {
        for session in self
            .sessions
            .iter()
            .filter(|session| session.presence.is_some())
        {
            desk.route(
                None,
                stanzas::presence(PresenceType::Unavailable, &session.full, contact),
            );
        }
    }
}
