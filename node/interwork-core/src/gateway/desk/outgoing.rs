//! What the user's own clients and home say to SIP users.

use entente_sip_core::subscription::subscriber::Input as SubscriberInput;
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::stanza::{PresenceType, Stanza, StanzaKind};

use super::{Desk, DialogUser};
use crate::gateway::contacts::Contact;
use crate::gateway::contract::StanzaId;
use crate::gateway::counts::Purpose;
use crate::gateway::ledger::Ledger;
use crate::gateway::stanzas;
use crate::gateway::watching::Standing;

impl Desk {
    pub(super) fn stanza(&mut self, ledger: &mut Ledger, id: Option<StanzaId>, stanza: &Stanza) {
        let Some(to) = stanza.to().cloned() else {
            return ledger.taken(id);
        };
        match stanza.kind() {
            StanzaKind::Presence => self.presence(ledger, id, &to, stanza),
            StanzaKind::Message => self.message(ledger, id, &to.to_bare(), stanza),
            StanzaKind::Iq => {
                stanzas::refuse(ledger, stanza, StanzaCondition::FeatureNotImplemented);
                ledger.taken(id);
            }
        }
    }

    fn message(
        &mut self,
        ledger: &mut Ledger,
        id: Option<StanzaId>,
        person: &BareJid,
        stanza: &Stanza,
    ) {
        if stanza.is_error() {
            if let Some(slot) = self.chats.get(person).copied() {
                if let Some(chat) = self.chat_at(slot) {
                    chat.returned(ledger, stanza);
                }
                self.settle(ledger, slot);
            }
            ledger.taken(id);
        } else {
            let peer = ledger.settings.peer_of(person.domain()).cloned();
            let chat = match peer {
                Some(peer) => self.chat(ledger, &peer, person),
                None => Err(StanzaCondition::RemoteServerNotFound),
            };
            match chat {
                Ok((slot, chat)) => {
                    chat.say(ledger, id, stanza.clone());
                    self.settle(ledger, slot);
                }
                Err(condition) => {
                    stanzas::refuse(ledger, stanza, condition);
                    ledger.taken(id);
                }
            }
        }
    }

    fn presence(&mut self, ledger: &mut Ledger, id: Option<StanzaId>, to: &Jid, stanza: &Stanza) {
        let person = to.to_bare();
        match stanza.presence_type() {
            Some(PresenceType::Subscribe) => return self.watch(ledger, id, person, stanza),
            Some(PresenceType::Probe) => {
                // The roster says that the user watches this person: if the subscription is not here
                // it was lost, and comes back by this.
                return self.watch(ledger, id, person, stanza);
            }
            Some(PresenceType::Unsubscribe) => self.unwatch(ledger, &person),
            Some(PresenceType::Subscribed) => {
                if let Some(audience) = self.audiences.get_mut(&person) {
                    audience.standing = Standing::Allowed;
                    ledger.tell(stanzas::presence(&person, &self.user, PresenceType::Probe));
                    self.audience_changed(ledger, &person, false);
                }
            }
            Some(PresenceType::Unsubscribed) => {
                if let Some(audience) = self.audiences.get_mut(&person) {
                    audience.standing = Standing::Denied;
                    self.audience_changed(ledger, &person, true);
                }
            }
            Some(PresenceType::Available | PresenceType::Unavailable) => {
                if let Some(audience) = self.audiences.get_mut(&person) {
                    let element = stanza.to_element();
                    let kind = ledger.settings.rich.kind_of(&element);
                    let resource = stanza.from().and_then(Jid::resource).unwrap_or_default();
                    audience.show(resource, &element, kind);
                    if audience.standing == Standing::Unknown {
                        // Presence is sent only to those who may see it.
                        audience.standing = Standing::Allowed;
                    }
                    self.audience_changed(ledger, &person, true);
                }
            }
            Some(PresenceType::Error) | None => {}
        }
        ledger.taken(id);
    }

    /// The user wants to see a person, or asks after one.
    fn watch(
        &mut self,
        ledger: &mut Ledger,
        id: Option<StanzaId>,
        person: BareJid,
        stanza: &Stanza,
    ) {
        if let Some(slot) = self.contacts.get(&person).copied() {
            if let Some(contact) = self.contact_at(slot) {
                if stanza.presence_type() == Some(PresenceType::Subscribe) {
                    // Asked again: a refusal of before may be different now.
                    contact.input(ledger, SubscriberInput::Refresh);
                }
                contact.probed(ledger);
            }
            self.settle(ledger, slot);
            return ledger.taken(id);
        }
        let peer = ledger.settings.peer_of(person.domain()).cloned();
        let full = self.contacts.len() >= ledger.settings.bounds.contacts;
        let condition = match &peer {
            None => Some(StanzaCondition::RemoteServerNotFound),
            Some(_) if full => Some(StanzaCondition::ResourceConstraint),
            Some(_) => None,
        };
        if let (Some(peer), None) = (&peer, condition) {
            let line = self.line(ledger, peer, Purpose::Contact, &person);
            let slot = line.slot;
            let config = self.terms.with(ledger, &self.user, peer).subscriber(ledger);
            match Contact::start(ledger, line, config, id) {
                Ok(contact) => {
                    self.insert(ledger, slot, DialogUser::Contact(Box::new(contact)));
                }
                Err(_) => {
                    stanzas::refuse(ledger, stanza, StanzaCondition::JidMalformed);
                    ledger.taken(id);
                }
            }
            return;
        }
        stanzas::refuse(
            ledger,
            stanza,
            condition.unwrap_or(StanzaCondition::RemoteServerNotFound),
        );
        ledger.taken(id);
    }

    fn unwatch(&mut self, ledger: &mut Ledger, person: &BareJid) {
        let Some(slot) = self.contacts.get(person).copied() else {
            return;
        };
        if let Some(contact) = self.contact_at(slot) {
            contact.input(ledger, SubscriberInput::Unsubscribe);
        }
        self.settle(ledger, slot);
    }
}
