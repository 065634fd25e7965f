//! What leaves the shard, and what came of it: numbers for calls, tickets and store operations, and
//! whose they are.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use entente_sip_core::draft::Draft;
use entente_sip_core::generator::Generator;
use entente_sip_core::record::Moment;
use entente_sip_core::reply::Reply;
use entente_sip_core::usage::{Document, RequestId, SendId};
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;

use super::contract::{CallId, Output, StanzaId, StoreId, Ticket};
use super::counts::Counts;
use super::heard::Heard;
use super::settings::{Peer, Settings};
use super::shard::release;

/// One of a user's dialogs or pager texts; counted per user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u64);

/// Who hears what became of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned<T> {
    pub(super) user: BareJid,
    pub(super) slot: Slot,
    pub(super) what: T,
}

/// Documents that are compared with a new one.
const SHARED_DOCUMENTS: usize = 16;

/// See the module. One per shard; a desk borrows it while it works.
pub(super) struct Ledger {
    pub(super) settings: Arc<Settings>,
    pub(super) random: Generator,
    pub(super) moment: Moment,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counts: Arc<Counts>,
    calls: HashMap<CallId, Owned<SendId>>,
    stores: HashMap<StoreId, Owned<()>>,
    tickets: HashMap<Ticket, Owned<RequestId>>,
    /// Presence documents that were made last: a user's watchers see the same.
    documents: VecDeque<Document>,
    /// Texts of peers that homes have taken lately.
    pub(super) heard: Heard,
    last: u64,
}

impl Ledger {
    pub(super) fn new(settings: Arc<Settings>, random: Generator, moment: Moment) -> Self {
        Self {
            settings,
            random,
            moment,
            outputs: VecDeque::new(),
            counts: Arc::default(),
            calls: HashMap::new(),
            stores: HashMap::new(),
            tickets: HashMap::new(),
            documents: VecDeque::new(),
            heard: Heard::default(),
            last: 0,
        }
    }

    pub(super) fn now(&self) -> Instant {
        self.moment.now
    }

    /// A seed for a dialog of its own.
    pub(super) fn seed(&mut self) -> [u8; 16] {
        let mut seed = [0; 16];
        seed[..8].copy_from_slice(&self.random.bytes());
        seed[8..].copy_from_slice(&self.random.bytes());
        seed
    }

    /// A fresh tag of a dialog of the user.
    pub(super) fn tag(&mut self, user: &BareJid) -> Box<str> {
        let owner = (self.settings.owner)(user);
        self.settings.key.tag(&owner, &mut self.random)
    }

    /// The value of Contact in the user's dialogs with a peer.
    pub(super) fn contact(&self, user: &BareJid, peer: &Peer) -> Box<str> {
        let name = peer
            .rules
            .local_to_wire(user)
            .ok()
            .and_then(|address| address.user().map(|name| format!("{name}@")))
            .unwrap_or_default();
        format!("<sip:{name}{}>", self.settings.contact).into()
    }

    /// The same document in the memory of an earlier one, if it says the same.
    pub(super) fn shared(&mut self, document: Document) -> Document {
        if let Some(known) = self.documents.iter().find(|known| **known == document) {
            return known.clone();
        }
        if self.documents.len() == SHARED_DOCUMENTS {
            self.documents.pop_back();
        }
        self.documents.push_front(document.clone());
        document
    }

    fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// A stanza to the user's home that needs no receipt.
    pub(super) fn tell(&mut self, stanza: Stanza) {
        self.outputs.push_back(Output::ToUser {
            ticket: None,
            stanza,
        });
    }

    /// A ticket whose receipt decides about the request `what`.
    pub(super) fn ticket_for(&mut self, user: &BareJid, slot: Slot, what: RequestId) -> Ticket {
        let ticket = Ticket(self.next());
        let user = user.clone();
        self.tickets.insert(ticket, Owned { user, slot, what });
        ticket
    }

    /// A stanza to the user's home, with a ticket of [`ticket_for`](Self::ticket_for).
    pub(super) fn entrust(&mut self, ticket: Ticket, stanza: Stanza) {
        self.outputs.push_back(Output::ToUser {
            ticket: Some(ticket),
            stanza,
        });
    }

    pub(super) fn taken(&mut self, id: Option<StanzaId>) {
        self.outputs.extend(id.map(Output::Taken));
    }

    pub(super) fn not_taken(&mut self, id: Option<StanzaId>) {
        self.outputs.extend(id.map(Output::NotTaken));
    }

    pub(super) fn respond(&mut self, id: RequestId, reply: Reply) {
        self.outputs.push_back(Output::Respond { id, reply });
    }

    pub(super) fn send(
        &mut self,
        user: &BareJid,
        slot: Slot,
        what: SendId,
        (peer, domain): (&Arc<Peer>, Arc<str>),
        draft: Draft,
    ) {
        let call = CallId(self.next());
        let owned = Owned {
            user: user.clone(),
            slot,
            what,
        };
        self.calls.insert(call, owned);
        self.outputs.push_back(Output::Send {
            call,
            user: user.clone(),
            peer: Arc::clone(&peer.name),
            domain,
            draft,
        });
    }

    /// An INVITE that is not wanted any more.
    pub(super) fn cancel(&mut self, user: &BareJid, slot: Slot, what: SendId) {
        let found = self
            .calls
            .iter()
            .find(|(_, owned)| owned.slot == slot && owned.what == what && owned.user == *user);
        if let Some((call, _)) = found {
            self.outputs.push_back(Output::Cancel { call: *call });
        }
    }

    /// Writes or removes a record; the slot hears of it unless it is gone by then.
    pub(super) fn store(
        &mut self,
        user: &BareJid,
        slot: Slot,
        key: &str,
        bytes: Option<Vec<u8>>,
    ) -> StoreId {
        let id = StoreId(self.next());
        let owned = Owned {
            user: user.clone(),
            slot,
            what: (),
        };
        self.stores.insert(id, owned);
        self.outputs.push_back(Output::Store {
            id,
            user: user.clone(),
            key: key.into(),
            bytes: bytes.map(Into::into),
        });
        id
    }

    pub(super) fn load(&mut self, user: &BareJid) -> StoreId {
        let id = StoreId(self.next());
        let user = user.clone();
        self.outputs.push_back(Output::Load { id, user });
        id
    }

    /// Whose call this is. `last`: nothing more will come of it.
    pub(super) fn call(&mut self, id: CallId, last: bool) -> Option<Owned<SendId>> {
        if last {
            let owned = self.calls.remove(&id);
            release(&mut self.calls);
            owned
        } else {
            self.calls.get(&id).cloned()
        }
    }

    pub(super) fn stored(&mut self, id: StoreId) -> Option<Owned<()>> {
        let owned = self.stores.remove(&id);
        release(&mut self.stores);
        owned
    }

    pub(super) fn ticket(&mut self, ticket: Ticket) -> Option<Owned<RequestId>> {
        self.tickets.remove(&ticket)
    }

    /// The user went elsewhere: what is still under way for it concerns nobody here.
    pub(super) fn forget(&mut self, user: &BareJid) {
        self.calls.retain(|_, owned| owned.user != *user);
        self.stores.retain(|_, owned| owned.user != *user);
        self.tickets.retain(|_, owned| owned.user != *user);
    }
}
