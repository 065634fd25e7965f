//! One shard: the desks of its users, and the way of every input to one of them.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Instant;

use entente_sip_core::generator::Generator;
use entente_sip_core::message::Message;
use entente_sip_core::record::Moment;
use entente_sip_core::status::Status;
use entente_sip_core::usage::{Outcome, RequestId};
use entente_xmpp_core::jid::BareJid;

use super::contract::{CallId, Input, Output, StoreId, Ticket};
use super::counts::Counts;
use super::desk::{Desk, Errand, refuse};
use super::ledger::Ledger;
use super::returns::Returns;
use super::settings::Settings;

/// Maps with room for fewer entries than this keep it.
const WORTH_RELEASING: usize = 1024;

/// See the [module](super).
pub struct Gateway {
    ledger: Ledger,
    desks: HashMap<BareJid, Box<Desk>>,
    loads: HashMap<StoreId, BareJid>,
    timers: BTreeSet<(Instant, BareJid)>,
    returns: Returns,
}

impl Gateway {
    /// A shard without users. `seed` is fresh entropy: tags and Call-IDs follow from it.
    #[must_use]
    pub fn new(settings: Arc<Settings>, seed: [u8; 16], moment: Moment) -> Self {
        Self {
            ledger: Ledger::new(settings, Generator::new(seed), moment),
            desks: HashMap::new(),
            loads: HashMap::new(),
            timers: BTreeSet::new(),
            returns: Returns::default(),
        }
    }

    /// The users that have something here.
    pub fn users(&self) -> impl Iterator<Item = &BareJid> {
        self.desks.keys()
    }

    /// How much there is with each peer.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.ledger.counts)
    }

    /// What is to be done next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.ledger.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let first = self.timers.first().map(|(at, _)| *at);
        first.into_iter().chain(self.returns.poll_timeout()).min()
    }

    /// Takes an input.
    pub fn handle_input(&mut self, moment: Moment, input: Input) {
        self.ledger.moment = moment;
        match input {
            Input::FromUser { id, stanza } => match stanza.from().map(|from| from.to_bare()) {
                Some(user) => self.errand(user, Errand::Stanza(id, stanza)),
                None => self.ledger.taken(id),
            },
            Input::Request { id, peer, message } => self.request(id, &peer, message),
            Input::Response { call, message } => {
                let last = message.status().is_none_or(|status| status.is_final());
                self.outcome(call, last, Outcome::Response(Box::new(message)));
            }
            Input::Failed { call, failure } => {
                self.outcome(call, true, Outcome::Failed(failure));
            }
            Input::Delivered(ticket) => self.receipt(ticket, true),
            Input::NotDelivered(ticket) => self.receipt(ticket, false),
            Input::Stored { id, durable } => {
                if let Some(owned) = self.ledger.stored(id) {
                    self.with(&owned.user, |desk, ledger| {
                        desk.stored(ledger, owned.slot, id, durable);
                    });
                }
            }
            Input::Loaded { id, records } => {
                if let Some(user) = self.loads.remove(&id) {
                    self.with(&user, |desk, ledger| desk.loaded(ledger, records));
                }
            }
            Input::Adopt { users } => {
                for user in users {
                    self.open(&user);
                }
            }
            Input::PeerUp { peer } => {
                if self.returns.noticed(self.ledger.now(), &peer) {
                    self.peer_up(&peer);
                }
            }
            Input::Settings(settings) => self.ledger.settings = settings,
            Input::Release { users } => {
                for user in users {
                    self.loads.retain(|_, loading| *loading != user);
                    self.ledger.forget(&user);
                    self.close(&user);
                }
            }
            Input::Drain => self.each(Desk::drain),
            Input::Timeout => self.timeout(),
        }
    }

    fn receipt(&mut self, ticket: Ticket, taken: bool) {
        if let Some(owned) = self.ledger.ticket(ticket) {
            self.with(&owned.user, |desk, ledger| {
                desk.receipt(ledger, owned.slot, owned.what, taken);
            });
        }
    }

    /// The user whom a request names: To in a dialog is what From or To of our first message was.
    fn request(&mut self, id: Option<RequestId>, peer: &str, message: Message) {
        let Some(peer) = self.ledger.settings.peers.get(peer).cloned() else {
            return refuse(&mut self.ledger, id, &message, Status::FORBIDDEN);
        };
        let in_dialog = message.to().is_ok_and(|to| to.tag().is_some());
        let address = if in_dialog {
            message.to().ok().map(|to| to.uri().clone())
        } else {
            message.request_uri().ok().flatten()
        };
        let user = address
            .and_then(|uri| peer.rules.wire_to_local(uri.as_str()).ok())
            .filter(|user| user.node().is_some());
        match user {
            Some(user) => self.errand(user, Errand::Request(id, peer, message)),
            None => refuse(&mut self.ledger, id, &message, Status::ADDRESS_INCOMPLETE),
        }
    }

    fn errand(&mut self, user: BareJid, errand: Errand) {
        self.open(&user);
        self.with(&user, |desk, ledger| desk.take(ledger, errand));
    }

    /// Makes a desk for the user, whose records are read first.
    fn open(&mut self, user: &BareJid) {
        if self.desks.contains_key(user) {
            return;
        }
        let desk = Box::new(Desk::new(user.clone()));
        self.desks.insert(user.clone(), desk);
        let id = self.ledger.load(user);
        self.loads.insert(id, user.clone());
    }

    fn outcome(&mut self, call: CallId, last: bool, outcome: Outcome) {
        if let Some(owned) = self.ledger.call(call, last)
            && last
        {
            self.with(&owned.user, |desk, ledger| {
                desk.outcome(ledger, owned.slot, owned.what, outcome);
            });
        }
    }

    fn each(&mut self, mut work: impl FnMut(&mut Desk, &mut Ledger)) {
        let users: Vec<_> = self.desks.keys().cloned().collect();
        for user in users {
            self.with(&user, &mut work);
        }
    }

    fn peer_up(&mut self, peer: &str) {
        self.each(|desk, ledger| desk.peer_up(ledger, peer));
    }

    fn timeout(&mut self) {
        let now = self.ledger.now();
        for peer in self.returns.due(now) {
            self.peer_up(&peer);
        }
        while let Some((at, user)) = self.timers.first().cloned()
            && at <= now
        {
            self.timers.pop_first();
            if let Some(desk) = self.desks.get_mut(&user) {
                desk.wakes = None;
            }
            self.with(&user, Desk::timeout);
        }
    }

    /// Works at a user's desk, then clears it away if nothing is on it.
    fn with(&mut self, user: &BareJid, work: impl FnOnce(&mut Desk, &mut Ledger)) {
        let Some(desk) = self.desks.get_mut(user) else {
            return;
        };
        work(desk, &mut self.ledger);
        if desk.is_idle() {
            return self.close(user);
        }
        let due = desk.poll_timeout();
        let before = std::mem::replace(&mut desk.wakes, due);
        if before != due {
            if let Some(before) = before {
                self.timers.remove(&(before, user.clone()));
            }
            self.timers.extend(due.map(|due| (due, user.clone())));
        }
    }

    fn close(&mut self, user: &BareJid) {
        if let Some(desk) = self.desks.remove(user)
            && let Some(before) = desk.wakes
        {
            self.timers.remove(&(before, user.clone()));
        }
        release(&mut self.desks);
    }
}

/// Gives back what a map held when it was much larger.
pub(super) fn release<K: Eq + Hash, V>(map: &mut HashMap<K, V>) {
    if map.capacity() > WORTH_RELEASING && map.len() < map.capacity() / 8 {
        map.shrink_to(2 * map.len());
    }
}
