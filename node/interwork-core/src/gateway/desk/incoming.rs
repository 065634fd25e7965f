//! What peers ask of the user.

use std::sync::Arc;

use entente_sip_core::message::Message;
use entente_sip_core::method::Method;
use entente_sip_core::reply::Reply;
use entente_sip_core::status::Status;
use entente_sip_core::subscription::screen::screen;
use entente_sip_core::usage::{RequestId, RequestName};
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::PresenceType;

use super::{Desk, DialogUser, refuse};
use crate::gateway::counts::Purpose;
use crate::gateway::ledger::Ledger;
use crate::gateway::settings::Peer;
use crate::gateway::stanzas;
use crate::gateway::watching::{Standing, Watch};

impl Desk {
    pub(super) fn request(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        peer: &Arc<Peer>,
        message: Message,
    ) {
        let tag = message.to().ok().and_then(|to| to.tag().map(str::to_owned));
        match (message.method(), tag) {
            (Some(Method::Subscribe), None) => self.subscribed_to(ledger, id, peer, message),
            (Some(Method::Subscribe), Some(tag)) => self.refreshed(ledger, id, &tag, message),
            (Some(Method::Notify), Some(tag)) => self.notified(ledger, id, &tag, message),
            (Some(method), Some(tag)) if method.as_str() == "BENOTIFY" => {
                self.notified(ledger, None, &tag, message);
            }
            (_, Some(tag)) => self.in_session(ledger, id, &tag, message),
            (Some(Method::Invite | Method::Message), None) => {
                self.spoken_to(ledger, id, peer, message);
            }
            (Some(Method::Notify), None) => {
                refuse(ledger, id, &message, Status::CALL_DOES_NOT_EXIST);
            }
            _ => refuse(ledger, id, &message, Status::METHOD_NOT_ALLOWED),
        }
    }

    /// A SUBSCRIBE in the dialog of a watcher.
    fn refreshed(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        tag: &str,
        message: Message,
    ) {
        let Some(slot) = self.index.find(tag) else {
            return refuse(ledger, id, &message, Status::CALL_DOES_NOT_EXIST);
        };
        match (self.entries.get_mut(&slot).map(|entry| &mut entry.user), id) {
            (Some(DialogUser::Watch(watch)), Some(id)) if watch.tag() == Some(tag) => {
                watch.subscribe(ledger, id, message);
            }
            (_, id) => refuse(ledger, id, &message, Status::CALL_DOES_NOT_EXIST),
        }
        self.settle(ledger, slot);
    }

    /// A request in a session's dialog, or the ACK of a 2xx.
    fn in_session(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        tag: &str,
        message: Message,
    ) {
        let slot = self.index.find(tag);
        match (slot.and_then(|slot| self.chat_at(slot)), id) {
            (Some(chat), Some(id)) => chat.request(ledger, id, message),
            (Some(chat), None) => chat.ack(ledger, message),
            (None, id) => refuse(ledger, id, &message, Status::CALL_DOES_NOT_EXIST),
        }
        if let Some(slot) = slot {
            self.settle(ledger, slot);
        }
    }

    /// INVITE or MESSAGE outside of any dialog.
    fn spoken_to(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        peer: &Arc<Peer>,
        message: Message,
    ) {
        let Some(id) = id else { return };
        let Some(person) = person_of(peer, &message) else {
            return refuse(ledger, Some(id), &message, Status::ADDRESS_INCOMPLETE);
        };
        let now = ledger.now();
        if message.method() == Some(&Method::Message)
            && ledger.heard.knows(now, RequestName::of(&message))
        {
            return ledger.respond(id, Reply::stateless(&message, Status::OK));
        }
        match self.chat(ledger, peer, &person) {
            Ok((slot, chat)) => {
                chat.request(ledger, id, message);
                self.settle(ledger, slot);
            }
            Err(StanzaCondition::JidMalformed) => {
                refuse(ledger, Some(id), &message, Status::ADDRESS_INCOMPLETE);
            }
            Err(_) => refuse(ledger, Some(id), &message, Status::SERVICE_UNAVAILABLE),
        }
    }

    fn notified(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        tag: &str,
        message: Message,
    ) {
        let slot = self.index.find(tag);
        match slot.and_then(|slot| self.contact_at(slot)) {
            Some(contact) => contact.notify(ledger, id, message),
            None => refuse(ledger, id, &message, Status::CALL_DOES_NOT_EXIST),
        }
        if let Some(slot) = slot {
            self.settle(ledger, slot);
        }
    }

    /// A remote watcher's first SUBSCRIBE.
    fn subscribed_to(
        &mut self,
        ledger: &mut Ledger,
        id: Option<RequestId>,
        peer: &Arc<Peer>,
        message: Message,
    ) {
        let Some(id) = id else { return };
        let Some(watcher) = person_of(peer, &message) else {
            return refuse(ledger, Some(id), &message, Status::ADDRESS_INCOMPLETE);
        };
        let profile = &peer.profile;
        let asked = match screen(&message, profile.min_expires, profile.max_expires) {
            Ok(asked) => asked,
            Err(refusal) => {
                let tag = ledger.tag(&self.user);
                return ledger.respond(id, refusal.reply(&message, &tag));
            }
        };
        if self.watches >= ledger.settings.bounds.watchers {
            return refuse(ledger, Some(id), &message, Status::SERVICE_UNAVAILABLE);
        }
        let line = self.line(ledger, peer, Purpose::Watch, &watcher);
        let slot = line.slot;
        let now = ledger.now();
        let config = self.terms.with(ledger, &self.user, peer).notifier();
        let watch = Watch::ask(now, line, config, (id, message), asked);
        self.insert(ledger, slot, DialogUser::Watch(Box::new(watch)));
        let audience = self.audiences.entry(watcher.clone()).or_default();
        if audience.standing == Standing::Allowed {
            // Another subscription of the same watcher runs: its state is the newest.
            return self.audience_changed(ledger, &watcher, true);
        }
        audience.standing = Standing::Unknown;
        ledger.tell(stanzas::presence(
            &watcher,
            &self.user,
            PresenceType::Subscribe,
        ));
    }
}

/// The remote person who sends a request.
fn person_of(peer: &Peer, request: &Message) -> Option<BareJid> {
    request
        .from()
        .ok()
        .and_then(|from| peer.rules.wire_to_remote(from.uri().as_str()).ok())
        .filter(|person| person.node().is_some())
}
