//! The first look at a stanza: who it is for and which rules apply.

use entente_xmpp_core::stanza::Stanza;
use entente_xmpp_core::stanza::{IqType, MessageType, PresenceType, StanzaType};

use crate::contract::{EnvelopeId, SessionKey};
use crate::desk::Desk;
use crate::domain;
use crate::seen::{Role, Seen};
use crate::stanzas;
use crate::subscription::Request;
use crate::user::{Undo, User};

/// The subscription stanza that a presence type stands for.
fn request_of(kind: PresenceType) -> Option<Request> {
    kind.as_str().and_then(Request::parse)
}

impl User {
    /// A stanza from one of this user's clients.
    pub(crate) fn client_sent(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        envelope: EnvelopeId,
        stanza: Stanza,
    ) {
        if self.session(key).is_none() {
            return desk.retry(Some(envelope));
        }
        let Some(to) = stanza.to().cloned() else {
            return self.own_account(desk, key, envelope, stanza);
        };
        if to == self.jid && stanza.presence_type().is_none() {
            return self.own_account(desk, key, envelope, stanza);
        }
        if !self.blocked.is_empty()
            && self.blocked.blocks(&to)
            && to.bare_str() != self.jid.as_str()
        {
            if let Some(error) = stanzas::blocked_by_sender(&stanza) {
                desk.tell(key, error);
            }
            return desk.receipt(Some(envelope));
        }
        if to.is_bare() && to.is_domain() && desk.config.is_local(to.domain()) {
            if let Some(answer) = domain::answer(&desk.config, desk.now, desk.wall_ms, &stanza) {
                desk.tell(key, answer);
            }
            return desk.receipt(Some(envelope));
        }
        match stanza.stanza_type() {
            StanzaType::Message(_) => self.message_out(desk, key, envelope, &to, stanza),
            StanzaType::Iq(_) => desk.route(Some(envelope), stanza),
            // Probes are the server's business (section 4.3).
            StanzaType::Presence(PresenceType::Probe) => desk.receipt(Some(envelope)),
            StanzaType::Presence(kind) => match request_of(kind) {
                Some(request) => self.subscription_out(desk, key, envelope, request, &to, &stanza),
                None => self.direct_presence(desk, key, envelope, &to, stanza),
            },
        }
    }

    /// Without `to`, or to the own bare JID: RFC 6120 section 10.3.
    fn own_account(
        &mut self,
        desk: &mut Desk,
        key: &SessionKey,
        envelope: EnvelopeId,
        stanza: Stanza,
    ) {
        match stanza.stanza_type() {
            StanzaType::Message(_) => {
                let to = self.jid.clone().into_jid();
                let stanza = if stanza.to().is_some() {
                    stanza
                } else {
                    stanza.restamped(None, Some(&to))
                };
                self.message_in(desk, Some(envelope), &to, stanza);
            }
            StanzaType::Presence(_) => {
                self.broadcast_presence(desk, key, stanza);
                desk.receipt(Some(envelope));
            }
            StanzaType::Iq(IqType::Get | IqType::Set) => {
                self.undo = Undo {
                    envelope: Some(envelope.clone()),
                    request: Some((key.clone(), stanza.clone())),
                };
                self.own_iq(desk, key, &stanza);
                desk.receipt(Some(envelope));
            }
            // Answers to our pushes.
            StanzaType::Iq(_) => desk.receipt(Some(envelope)),
        }
    }

    /// A stanza for this user from somebody else.
    pub(crate) fn stanza_received(
        &mut self,
        desk: &mut Desk,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
    ) {
        let (Some(from), Some(to)) = (stanza.from().cloned(), stanza.to().cloned()) else {
            return desk.receipt(envelope);
        };
        if !self.blocked.is_empty()
            && self.blocked.blocks(&from)
            && from.bare_str() != self.jid.as_str()
        {
            // XEP-0191 section 3.2: presence without a word, the rest like an absent user.
            let silent = matches!(
                stanza.stanza_type(),
                StanzaType::Presence(_)
                    | StanzaType::Message(MessageType::Headline | MessageType::Error)
            );
            if !silent && let Some(error) = stanzas::undeliverable(&stanza) {
                desk.route(None, error);
            }
            return desk.receipt(envelope);
        }
        match stanza.stanza_type() {
            StanzaType::Message(_) => return self.message_in(desk, envelope, &to, stanza),
            StanzaType::Presence(kind) => match request_of(kind) {
                Some(request) => self.subscription_in(desk, &envelope, request, &from, &stanza),
                None => self.presence_received(desk, &from, &to, &stanza),
            },
            StanzaType::Iq(kind) => {
                if let Some(envelope) = &envelope
                    && matches!(
                        desk.seen.meet(envelope, Role::Recipient),
                        Some(Seen::Done | Seen::Pending)
                    )
                {
                    return desk.receipt(Some(envelope.clone()));
                }
                self.iq_received(desk, &to, kind, &stanza);
            }
        }
        desk.receipt(envelope);
    }

    /// RFC 6121 sections 8.5.2.1.3, 8.5.2.2.3, 8.5.3.
    fn iq_received(
        &mut self,
        desk: &mut Desk,
        to: &entente_xmpp_core::jid::Jid,
        kind: IqType,
        stanza: &Stanza,
    ) {
        if to.is_full() {
            if let Some(session) = self.sessions.iter().find(|session| session.full == *to) {
                return desk.tell(&session.key, stanza.clone());
            }
            if let Some(error) = stanzas::undeliverable(stanza) {
                desk.route(None, error);
            }
            return;
        }
        if matches!(kind, IqType::Get | IqType::Set) {
            let answer = self.account_iq(desk, stanza);
            if let Some(answer) = answer {
                desk.route(None, answer);
            }
        }
    }
}
