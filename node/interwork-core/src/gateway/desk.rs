//! One user's part of the gateway: who watches the user, whom the user watches, and who talks to the
//! user.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use entente_sip_core::message::Message;
use entente_sip_core::reply::Reply;
use entente_sip_core::session::StoredSession;
use entente_sip_core::status::Status;
use entente_sip_core::subscription::notifier::{Input as NotifierInput, Reason, StoredNotifier};
use entente_sip_core::subscription::subscriber::{Input as SubscriberInput, StoredSubscriber};
use entente_sip_core::usage::{Outcome, RequestId, SendId};
use entente_xmpp_core::error::StanzaCondition;
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::{PresenceType, Stanza};

use super::chats::Chat;
use super::contacts::Contact;
use super::contract::{Record, StanzaId, StoreId};
use super::ledger::{Ledger, Slot};
use super::line::Line;
use super::settings::Peer;
use super::stanzas;
use super::watching::{Audience, Watch};

mod incoming;
mod outgoing;

/// Keys of records: what it is, the slot, and whom it is about.
const WATCH: &str = "watch";
const CONTACT: &str = "contact";
const CHAT: &str = "chat";

/// What came for the user.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an errand is moved a few times and never kept in numbers"
)]
pub(super) enum Errand {
    /// A stanza of the user.
    Stanza(Option<StanzaId>, Stanza),
    /// A request of the peer.
    Request(Option<RequestId>, Arc<Peer>, Message),
}

/// See the module.
pub(super) struct Desk {
    user: BareJid,
    /// Until the records are there, errands wait.
    waiting: Option<VecDeque<Errand>>,
    last_slot: u64,
    watches: BTreeMap<Slot, Watch>,
    audiences: HashMap<BareJid, Audience>,
    contacts: BTreeMap<Slot, Contact>,
    chats: BTreeMap<Slot, Chat>,
}

impl Desk {
    /// A user whose records are still to be read.
    pub(super) fn new(user: BareJid) -> Self {
        Self {
            user,
            waiting: Some(VecDeque::new()),
            last_slot: 0,
            watches: BTreeMap::new(),
            audiences: HashMap::new(),
            contacts: BTreeMap::new(),
            chats: BTreeMap::new(),
        }
    }

    /// Nothing of the user is here: the desk may go.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_none()
            && self.watches.is_empty()
            && self.contacts.is_empty()
            && self.chats.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let watches = self.watches.values().filter_map(Watch::poll_timeout);
        let contacts = self.contacts.values().filter_map(Contact::poll_timeout);
        let chats = self.chats.values().filter_map(Chat::poll_timeout);
        watches.chain(contacts).chain(chats).min()
    }

    /// The store's answer. Without one, what waits is refused and comes again.
    pub(super) fn loaded(&mut self, ledger: &mut Ledger, records: Option<Vec<Record>>) {
        let waiting = self.waiting.take().unwrap_or_default();
        match records {
            Some(records) => {
                for record in records {
                    self.wake(ledger, &record);
                }
                for errand in waiting {
                    self.take(ledger, errand);
                }
            }
            None => {
                for errand in waiting {
                    put_off(ledger, errand);
                }
            }
        }
    }

    fn wake(&mut self, ledger: &mut Ledger, record: &Record) {
        if !self.wake_record(ledger, record) {
            // Damaged, of a later version, or of a peer that is not configured any more.
            let slot = self.slot();
            let _id = ledger.store(&self.user, slot, &record.key, None);
        }
    }

    fn wake_record(&mut self, ledger: &mut Ledger, record: &Record) -> bool {
        let mut parts = record.key.splitn(3, ' ');
        let (Some(kind), Some(number), Some(person)) = (parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let (Ok(number), Ok(person)) = (number.parse(), BareJid::new(person)) else {
            return false;
        };
        let Some(peer) = ledger.settings.peer_of(person.domain()).cloned() else {
            return false;
        };
        self.last_slot = self.last_slot.max(number);
        let slot = Slot(number);
        let line = Line::new(&self.user, slot, &peer, person.domain(), record.key.clone());
        match kind {
            WATCH => {
                let Ok(stored) = StoredNotifier::decode(&record.bytes) else {
                    return false;
                };
                let now = ledger.now();
                let watch = Watch::wake(now, person.clone(), line, stored);
                self.watches.insert(slot, watch);
                if !self.audiences.contains_key(&person) {
                    self.audiences.insert(person.clone(), Audience::default());
                    ledger.tell(stanzas::presence(&person, &self.user, PresenceType::Probe));
                }
                true
            }
            CONTACT => {
                let Ok(stored) = StoredSubscriber::decode(&record.bytes) else {
                    return false;
                };
                let contact = Contact::wake(ledger, person, line, stored);
                self.contacts.insert(slot, contact);
                true
            }
            CHAT => {
                let Ok(stored) = StoredSession::decode(&record.bytes) else {
                    return false;
                };
                let chat = Chat::wake(ledger, person, line, stored);
                self.chats.insert(slot, chat);
                true
            }
            _ => false,
        }
    }

    fn slot(&mut self) -> Slot {
        self.last_slot += 1;
        Slot(self.last_slot)
    }

    fn line(&mut self, peer: &Arc<Peer>, kind: &str, person: &BareJid) -> Line {
        let slot = self.slot();
        let key = format!("{kind} {} {person}", slot.0).into();
        Line::new(&self.user, slot, peer, person.domain(), key)
    }

    /// Works on an errand, or keeps it until the records are there.
    pub(super) fn take(&mut self, ledger: &mut Ledger, errand: Errand) {
        if let Some(waiting) = &mut self.waiting {
            if waiting.len() < ledger.settings.bounds.waiting {
                waiting.push_back(errand);
            } else {
                put_off(ledger, errand);
            }
            return;
        }
        match errand {
            Errand::Stanza(id, stanza) => self.stanza(ledger, id, &stanza),
            Errand::Request(id, peer, message) => self.request(ledger, id, &peer, message),
        }
    }

    /// What is said between the user and this person; new if nothing was.
    fn chat(
        &mut self,
        ledger: &mut Ledger,
        peer: &Arc<Peer>,
        person: &BareJid,
    ) -> Result<&mut Chat, StanzaCondition> {
        let known = self
            .chats
            .iter()
            .find(|(_, chat)| chat.remote == *person)
            .map(|(slot, _)| *slot);
        let slot = match known {
            Some(slot) => slot,
            None if self.chats.len() >= ledger.settings.bounds.chats => {
                return Err(StanzaCondition::ResourceConstraint);
            }
            None => {
                let line = self.line(peer, CHAT, person);
                let slot = line.slot;
                let chat = Chat::new(ledger, person.clone(), line)
                    .map_err(|_| StanzaCondition::JidMalformed)?;
                self.chats.insert(slot, chat);
                slot
            }
        };
        self.chats
            .get_mut(&slot)
            .ok_or(StanzaCondition::InternalServerError)
    }

    fn audience_changed(&mut self, ledger: &mut Ledger, person: &BareJid, told: bool) {
        let Some(audience) = self.audiences.get(person) else {
            return;
        };
        for watch in self.watches.values_mut() {
            if watch.watcher == *person {
                watch.audience_changed(ledger, audience, told);
            }
        }
        self.sweep(ledger);
    }

    /// The home has taken a text of the peer, or can't now.
    pub(super) fn receipt(
        &mut self,
        ledger: &mut Ledger,
        slot: Slot,
        request: RequestId,
        taken: bool,
    ) {
        if let Some(chat) = self.chats.get_mut(&slot) {
            chat.receipt(ledger, request, taken);
        }
        self.sweep(ledger);
    }

    /// What became of a request.
    pub(super) fn outcome(
        &mut self,
        ledger: &mut Ledger,
        slot: Slot,
        id: SendId,
        outcome: Outcome,
    ) {
        if let Some(watch) = self.watches.get_mut(&slot) {
            watch.notifier(ledger, NotifierInput::Answer { id, outcome });
        } else if let Some(contact) = self.contacts.get_mut(&slot) {
            contact.input(ledger, SubscriberInput::Answer { id, outcome });
        } else if let Some(chat) = self.chats.get_mut(&slot) {
            chat.answer(ledger, id, outcome);
        }
        self.sweep(ledger);
    }

    /// What became of a record.
    pub(super) fn stored(&mut self, ledger: &mut Ledger, slot: Slot, id: StoreId, durable: bool) {
        let line = if let Some(watch) = self.watches.get_mut(&slot) {
            &mut watch.line
        } else if let Some(contact) = self.contacts.get_mut(&slot) {
            &mut contact.line
        } else if let Some(chat) = self.chats.get_mut(&slot) {
            &mut chat.line
        } else {
            return;
        };
        if line.stored(ledger, id, durable).is_err() {
            self.watches.remove(&slot);
            self.contacts.remove(&slot);
            if let Some(chat) = self.chats.get_mut(&slot) {
                chat.end(ledger);
            }
        }
        self.sweep(ledger);
    }

    /// The peer's server came back: everything of it is asked for again (requirement H7).
    pub(super) fn peer_up(&mut self, ledger: &mut Ledger, peer: &str) {
        for contact in self.contacts.values_mut() {
            if &*contact.line.peer.name == peer {
                contact.input(ledger, SubscriberInput::Refresh);
            }
        }
        self.sweep(ledger);
    }

    /// The node goes: watchers subscribe again elsewhere at once.
    pub(super) fn drain(&mut self, ledger: &mut Ledger) {
        for watch in self.watches.values_mut() {
            watch.end(ledger, Reason::Deactivated);
        }
        // Sessions go on at the next home, which finds them in the store.
        self.sweep(ledger);
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger) {
        let unknown = Audience::default();
        for watch in self.watches.values_mut() {
            let audience = self.audiences.get(&watch.watcher).unwrap_or(&unknown);
            watch.timeout(ledger, audience);
        }
        for contact in self.contacts.values_mut() {
            contact.timeout(ledger);
        }
        for chat in self.chats.values_mut() {
            chat.timeout(ledger);
        }
        self.sweep(ledger);
    }

    /// Removes what is over.
    fn sweep(&mut self, ledger: &mut Ledger) {
        let over: Vec<Slot> = self
            .watches
            .iter()
            .filter(|(_, watch)| watch.is_over())
            .map(|(slot, _)| *slot)
            .collect();
        for slot in over {
            if let Some(watch) = self.watches.remove(&slot) {
                let watcher = watch.watcher.clone();
                watch.line.close(ledger);
                if !self.watches.values().any(|other| other.watcher == watcher) {
                    self.audiences.remove(&watcher);
                }
            }
        }
        let over: Vec<Slot> = self
            .contacts
            .iter()
            .filter(|(_, contact)| contact.is_over())
            .map(|(slot, _)| *slot)
            .collect();
        for slot in over {
            if let Some(contact) = self.contacts.remove(&slot) {
                contact.line.close(ledger);
            }
        }
        self.chats.retain(|_, chat| !chat.is_over());
    }
}

/// Nothing can be done for it now: it comes again.
fn put_off(ledger: &mut Ledger, errand: Errand) {
    match errand {
        Errand::Stanza(Some(id), _) => ledger.not_taken(Some(id)),
        Errand::Stanza(None, stanza) => {
            stanzas::refuse(ledger, &stanza, StanzaCondition::ResourceConstraint);
        }
        Errand::Request(id, _, message) => {
            refuse(ledger, id, &message, Status::SERVICE_UNAVAILABLE);
        }
    }
}

/// Answers a request that expects an answer.
pub(super) fn refuse(
    ledger: &mut Ledger,
    id: Option<RequestId>,
    request: &Message,
    status: Status,
) {
    if let Some(id) = id {
        ledger.respond(id, Reply::stateless(request, status));
    }
}
