//! One user's part of the gateway: who watches the user, whom the user watches, and who talks to the
//! user.

use std::collections::{HashMap, VecDeque};
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
use entente_xmpp_core::stanza::Stanza;

use super::chats::Chat;
use super::contacts::Contact;
use super::contract::{Record, StanzaId, StoreId};
use super::counts::Purpose;
use super::ledger::{Ledger, Slot};
use super::line::Line;
use super::settings::Peer;
use super::shard::release;
use super::stanzas;
use super::terms::AllTerms;
use super::watching::{Audience, Watch};

mod incoming;
mod index;
mod outgoing;
mod taken_over;
mod user;

use index::{Index, Indexed};
use taken_over::Doubts;
use user::DialogUser;

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

/// One user of dialogs, and what of it is in the index.
struct Entry {
    user: DialogUser,
    indexed: Indexed,
}

/// See the module.
pub(super) struct Desk {
    user: BareJid,
    /// Until the records are there, errands wait.
    waiting: Option<VecDeque<Errand>>,
    last_slot: u64,
    entries: HashMap<Slot, Box<Entry>>,
    index: Index,
    /// The remote watchers, with their subscriptions.
    audiences: HashMap<BareJid, Box<Audience>>,
    watches: usize,
    /// Whom the user watches.
    contacts: HashMap<BareJid, Slot>,
    /// Whom the user talks with.
    chats: HashMap<BareJid, Slot>,
    terms: AllTerms,
    doubts: Option<Doubts>,
    /// When the shard wakes it, as it was told.
    pub(super) wakes: Option<Instant>,
}

impl Desk {
    /// A user whose records are still to be read.
    pub(super) fn new(user: BareJid) -> Self {
        Self {
            user,
            waiting: Some(VecDeque::new()),
            last_slot: 0,
            entries: HashMap::new(),
            index: Index::default(),
            audiences: HashMap::new(),
            watches: 0,
            contacts: HashMap::new(),
            chats: HashMap::new(),
            terms: AllTerms::default(),
            doubts: None,
            wakes: None,
        }
    }

    /// Nothing of the user is here: the desk may go.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_none() && self.entries.is_empty()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let doubts = self.doubts.as_ref().map(|doubts| doubts.at);
        self.index.next().into_iter().chain(doubts).min()
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
        if self.wake_record(ledger, record).is_none() {
            // Damaged, of a later version, or of a peer that is not configured any more.
            let slot = self.slot();
            let _id = ledger.store(&self.user, slot, &record.key, None);
        }
    }

    fn wake_record(&mut self, ledger: &mut Ledger, record: &Record) -> Option<()> {
        let mut parts = record.key.splitn(3, ' ');
        // What it is for, the slot, and whom it is about.
        let (purpose, number, person) = (parts.next()?, parts.next()?, parts.next()?);
        let purpose = Purpose::named(purpose)?;
        let slot = Slot(number.parse().ok()?);
        let person = BareJid::new(person).ok()?;
        let peer = ledger.settings.peer_of(person.domain()).cloned()?;
        let counted = ledger.counts.count(&peer.name, purpose);
        let line = Line::new(counted, (&self.user, &person), slot, &peer);
        let terms = self.terms.with(ledger, &self.user, &peer);
        let user = match purpose {
            Purpose::Watch => {
                let stored = StoredNotifier::decode(&record.bytes).ok()?;
                let config = terms.notifier();
                let watch = Watch::wake(ledger, line, config, stored);
                self.taken_over(ledger, &person, watch.is_pending());
                DialogUser::Watch(Box::new(watch))
            }
            Purpose::Contact => {
                let stored = StoredSubscriber::decode(&record.bytes).ok()?;
                let config = terms.subscriber(ledger);
                let contact = Contact::wake(ledger, line, config, stored);
                DialogUser::Contact(Box::new(contact))
            }
            Purpose::Chat => {
                let stored = StoredSession::decode(&record.bytes).ok()?;
                let config = terms.session(ledger);
                let chat = Chat::wake(ledger, line, config, stored);
                DialogUser::Chat(Box::new(chat))
            }
        };
        self.last_slot = self.last_slot.max(slot.0);
        self.insert(ledger, slot, user);
        Some(())
    }

    fn slot(&mut self) -> Slot {
        self.last_slot += 1;
        Slot(self.last_slot)
    }

    /// The line of a new dialog user.
    fn line(
        &mut self,
        ledger: &Ledger,
        peer: &Arc<Peer>,
        purpose: Purpose,
        person: &BareJid,
    ) -> Line {
        let slot = self.slot();
        let counted = ledger.counts.count(&peer.name, purpose);
        Line::new(counted, (&self.user, person), slot, peer)
    }

    fn insert(&mut self, ledger: &mut Ledger, slot: Slot, mut user: DialogUser) {
        let person = user.line().person.clone();
        match &user {
            DialogUser::Watch(_) => {
                self.watches += 1;
                let slots = &mut self.audiences.entry(person).or_default().slots;
                slots.reserve_exact(1);
                slots.push(slot);
            }
            DialogUser::Contact(_) => {
                self.contacts.insert(person, slot);
            }
            DialogUser::Chat(_) => {
                self.chats.insert(person, slot);
            }
        }
        let indexed = Indexed::default();
        self.entries.insert(slot, Box::new(Entry { user, indexed }));
        self.settle(ledger, slot);
    }

    /// Takes note of what has changed with one: its tags, its deadline, its end.
    fn settle(&mut self, ledger: &mut Ledger, slot: Slot) {
        let Some(entry) = self.entries.get_mut(&slot) else {
            return;
        };
        if !entry.user.is_over() {
            let due = entry.user.poll_timeout();
            let tags = entry.user.tags();
            let tags = tags.iter().copied();
            return self.index.update(slot, &mut entry.indexed, tags, due);
        }
        match self.remove(slot) {
            Some(DialogUser::Watch(watch)) => watch.line.close(ledger),
            Some(DialogUser::Contact(contact)) => contact.line.close(ledger),
            // Its record went when the last session was closed.
            Some(DialogUser::Chat(_)) | None => {}
        }
    }

    fn remove(&mut self, slot: Slot) -> Option<DialogUser> {
        let Entry { mut user, indexed } = *self.entries.remove(&slot)?;
        release(&mut self.entries);
        self.index.remove(slot, indexed);
        let person = user.line().person.clone();
        let forget = |people: &mut HashMap<BareJid, Slot>| {
            if people.get(&person) == Some(&slot) {
                people.remove(&person);
            }
        };
        match &user {
            DialogUser::Contact(_) => forget(&mut self.contacts),
            DialogUser::Chat(_) => forget(&mut self.chats),
            DialogUser::Watch(_) => {
                self.watches -= 1;
                if let Some(audience) = self.audiences.get_mut(&person) {
                    audience.slots.retain(|other| *other != slot);
                    if audience.slots.is_empty() {
                        self.audiences.remove(&person);
                        release(&mut self.audiences);
                    }
                }
            }
        }
        Some(user)
    }

    fn chat_at(&mut self, slot: Slot) -> Option<&mut Chat> {
        match &mut self.entries.get_mut(&slot)?.user {
            DialogUser::Chat(chat) => Some(chat),
            _ => None,
        }
    }

    fn contact_at(&mut self, slot: Slot) -> Option<&mut Contact> {
        match &mut self.entries.get_mut(&slot)?.user {
            DialogUser::Contact(contact) => Some(contact),
            _ => None,
        }
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

    /// What is said between the user and this person; new if nothing was. The caller settles it.
    fn chat(
        &mut self,
        ledger: &mut Ledger,
        peer: &Arc<Peer>,
        person: &BareJid,
    ) -> Result<(Slot, &mut Chat), StanzaCondition> {
        let slot = match self.chats.get(person) {
            Some(slot) => *slot,
            None if self.chats.len() >= ledger.settings.bounds.chats => {
                return Err(StanzaCondition::ResourceConstraint);
            }
            None => {
                let line = self.line(ledger, peer, Purpose::Chat, person);
                let slot = line.slot;
                let config = self.terms.with(ledger, &self.user, peer).session(ledger);
                let chat =
                    Chat::new(ledger, line, config).map_err(|_| StanzaCondition::JidMalformed)?;
                let user = DialogUser::Chat(Box::new(chat));
                let indexed = Indexed::default();
                self.entries.insert(slot, Box::new(Entry { user, indexed }));
                self.chats.insert(person.clone(), slot);
                slot
            }
        };
        self.chat_at(slot)
            .map(|chat| (slot, chat))
            .ok_or(StanzaCondition::InternalServerError)
    }

    /// The home said something about a watcher. `told`: it has shown or hidden the user.
    fn audience_changed(&mut self, ledger: &mut Ledger, person: &BareJid, told: bool) {
        let Some(audience) = self.audiences.get(person) else {
            return;
        };
        let slots = audience.slots.clone();
        for slot in &slots {
            if let Some(entry) = self.entries.get_mut(slot)
                && let DialogUser::Watch(watch) = &mut entry.user
            {
                watch.audience_changed(ledger, audience, told);
            }
        }
        for slot in slots {
            self.settle(ledger, slot);
        }
    }

    /// The home has taken a text of the peer, or can't now.
    pub(super) fn receipt(
        &mut self,
        ledger: &mut Ledger,
        slot: Slot,
        request: RequestId,
        taken: bool,
    ) {
        if let Some(chat) = self.chat_at(slot) {
            chat.receipt(ledger, request, taken);
        }
        self.settle(ledger, slot);
    }

    /// What became of a request.
    pub(super) fn outcome(
        &mut self,
        ledger: &mut Ledger,
        slot: Slot,
        id: SendId,
        outcome: Outcome,
    ) {
        if let Some(entry) = self.entries.get_mut(&slot) {
            entry.user.outcome(ledger, id, outcome);
        }
        self.settle(ledger, slot);
    }

    /// What became of a record.
    pub(super) fn stored(&mut self, ledger: &mut Ledger, slot: Slot, id: StoreId, durable: bool) {
        let Some(entry) = self.entries.get_mut(&slot) else {
            return;
        };
        if entry.user.line().stored(ledger, id, durable).is_err() {
            match &mut entry.user {
                DialogUser::Chat(chat) => chat.end(ledger),
                // There is no such dialog.
                DialogUser::Watch(_) | DialogUser::Contact(_) => drop(self.remove(slot)),
            }
        }
        self.settle(ledger, slot);
    }

    /// The peer's server came back: everything of it is asked for again (requirement H7), and what its
    /// users were not told is said.
    pub(super) fn peer_up(&mut self, ledger: &mut Ledger, peer: &str) {
        let mut slots: Vec<Slot> = self.entries.keys().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            let Some(entry) = self.entries.get_mut(&slot) else {
                continue;
            };
            if *entry.user.line().peer.name != *peer {
                continue;
            }
            match &mut entry.user {
                DialogUser::Watch(watch) => watch.notifier(ledger, NotifierInput::Reachable),
                DialogUser::Contact(contact) => contact.input(ledger, SubscriberInput::Refresh),
                DialogUser::Chat(_) => continue,
            }
            self.settle(ledger, slot);
        }
    }

    /// The node goes: watchers subscribe again elsewhere at once.
    pub(super) fn drain(&mut self, ledger: &mut Ledger) {
        let mut slots: Vec<Slot> = self.entries.keys().copied().collect();
        slots.sort_unstable();
        for slot in slots {
            // Sessions go on at the next home, which finds them in the store.
            if let Some(entry) = self.entries.get_mut(&slot)
                && let DialogUser::Watch(watch) = &mut entry.user
            {
                watch.end(ledger, Reason::Deactivated);
                self.settle(ledger, slot);
            }
        }
    }

    pub(super) fn timeout(&mut self, ledger: &mut Ledger) {
        self.ask_in_doubt(ledger);
        let unknown = Audience::default();
        for slot in self.index.due(ledger.now()) {
            if let Some(entry) = self.entries.get_mut(&slot) {
                let person = &entry.user.line().person;
                let audience = self.audiences.get(person).map_or(&unknown, |known| known);
                entry.user.timeout(ledger, audience);
            }
            self.settle(ledger, slot);
        }
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
