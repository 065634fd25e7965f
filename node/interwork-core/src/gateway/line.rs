//! One dialog's line to the outside: what must be durable is written first, and what depends on it
//! waits.

use std::collections::VecDeque;
use std::sync::Arc;

use entente_sip_core::draft::Draft;
use entente_sip_core::header::HeaderName;
use entente_sip_core::reply::Reply;
use entente_sip_core::status::Status;
use entente_sip_core::usage::{RequestId, SendId};
use entente_xmpp_core::jid::BareJid;
use entente_xmpp_core::stanza::Stanza;

use super::contract::{Output, StanzaId, StoreId};
use super::counts::Counted;
use super::ledger::{Ledger, Slot};
use super::settings::Peer;

/// When the peer may come again if the store did not take what it asked for, in seconds.
const RETRY_AFTER: &str = "10";

/// Something that goes out, in order.
#[derive(Debug)]
pub(super) enum Item {
    /// The record, before all that follows.
    Persist(Vec<u8>),
    /// A response.
    Respond(RequestId, Reply),
    /// A request.
    Send(SendId, Draft),
    /// The ACK of a 2xx.
    Ack(Draft),
    /// An INVITE of ours is not wanted any more.
    Cancel(SendId),
    /// The record goes; there may be another one later.
    Forget,
    /// A stanza for the user.
    Tell(Stanza),
    /// The user's stanza is in good hands.
    Taken(Option<StanzaId>),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) user: BareJid,
    /// The remote person.
    pub(super) person: BareJid,
    pub(super) slot: Slot,
    pub(super) peer: Arc<Peer>,
    /// What it is for.
    counted: Counted,
    waiting: Option<StoreId>,
    held: VecDeque<Item>,
    /// The store has some version of the record.
    recorded: bool,
}

/// The first record of a dialog could not be written: there is no such dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NeverKept;

impl Line {
    pub(super) fn new(
        counted: Counted,
        (user, person): (&BareJid, &BareJid),
        slot: Slot,
        peer: &Arc<Peer>,
    ) -> Self {
        Self {
            user: user.clone(),
            person: person.clone(),
            slot,
            peer: Arc::clone(peer),
            counted,
            waiting: None,
            held: VecDeque::new(),
            recorded: false,
        }
    }

    /// Made when it is needed: a hundred thousand lines wait for hours.
    fn key(&self) -> String {
        let kind = self.counted.purpose().word();
        format!("{kind} {} {}", self.slot.0, self.person)
    }

    /// The peer's domain.
    fn domain(&self) -> Arc<str> {
        self.person.domain().into()
    }

    /// The line of a dialog that was read from the store.
    pub(super) fn recorded(mut self) -> Self {
        self.recorded = true;
        self
    }

    /// Sends it, now or when what was to be durable is.
    pub(super) fn push(&mut self, ledger: &mut Ledger, item: Item) {
        if self.waiting.is_none() {
            return self.go(ledger, item);
        }
        if let (Item::Persist(newer), Some(Item::Persist(older))) = (&item, self.held.back_mut()) {
            older.clone_from(newer);
        } else {
            self.held.push_back(item);
        }
    }

    fn go(&mut self, ledger: &mut Ledger, item: Item) {
        match item {
            Item::Persist(record) => {
                let id = ledger.store(&self.user, self.slot, &self.key(), Some(record));
                self.waiting = Some(id);
            }
            Item::Respond(id, reply) => ledger.respond(id, reply),
            Item::Send(id, draft) => {
                ledger.send(
                    &self.user,
                    self.slot,
                    id,
                    (&self.peer, self.domain()),
                    draft,
                );
            }
            Item::Ack(draft) => ledger.outputs.push_back(Output::Ack {
                user: self.user.clone(),
                peer: Arc::clone(&self.peer.name),
                domain: self.domain(),
                draft,
            }),
            Item::Cancel(id) => ledger.cancel(&self.user, self.slot, id),
            Item::Forget => {
                let _id = ledger.store(&self.user, self.slot, &self.key(), None);
            }
            Item::Tell(stanza) => ledger.tell(stanza),
            Item::Taken(id) => ledger.taken(id),
        }
    }

    /// The store answered. If it did not take the record, requests that wait for it are refused with
    /// 503: the peer comes again.
    ///
    /// # Errors
    /// [`NeverKept`] if there was no record before.
    pub(super) fn stored(
        &mut self,
        ledger: &mut Ledger,
        id: StoreId,
        durable: bool,
    ) -> Result<(), NeverKept> {
        if self.waiting != Some(id) {
            return Ok(());
        }
        self.waiting = None;
        self.recorded |= durable;
        while self.waiting.is_none()
            && let Some(item) = self.held.pop_front()
        {
            match item {
                Item::Respond(id, reply) if !durable => {
                    let mut refusal =
                        Reply::stateless(reply.request(), Status::SERVICE_UNAVAILABLE);
                    refusal.header(HeaderName::RetryAfter, RETRY_AFTER);
                    ledger.respond(id, refusal);
                }
                Item::Taken(id) if !durable => ledger.not_taken(id),
                Item::Send(..) | Item::Tell(_) if !self.recorded => {}
                item => self.go(ledger, item),
            }
        }
        if self.held.is_empty() {
            self.held = VecDeque::new();
        }
        if self.recorded {
            Ok(())
        } else {
            Err(NeverKept)
        }
    }

    /// The dialog is over: what is held goes out, and the record goes.
    pub(super) fn close(mut self, ledger: &mut Ledger) {
        self.waiting = None;
        for item in std::mem::take(&mut self.held) {
            match item {
                Item::Persist(_) => {}
                item => self.go(ledger, item),
            }
        }
        let _id = ledger.store(&self.user, self.slot, &self.key(), None);
    }
}
