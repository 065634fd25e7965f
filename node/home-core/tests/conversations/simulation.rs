//! One to three shards, clients, peers and a store whose every step is chosen by a seed.
//!
//! Checked: receipts only for what somebody holds; what has a receipt reaches a client that acks it;
//! no session is given an envelope twice by one home; order per pair while nothing breaks.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_home_core::{
    DeliveryId, EnvelopeId, HomeShard, Input, Output, RequestId, SessionEndReason, SessionKey,
    SessionMirror, StoreAnswer, StoreOp,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

use crate::world::{ModelStore, new_shard, stanza};

const USERS: usize = 4;

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) % bound as u64) as usize
    }
}

struct Client {
    user: usize,
    full: FullJid,
    mirror: SessionMirror,
    /// On the way from homes: which shard sent it.
    wire: VecDeque<(usize, DeliveryId, EnvelopeId, Stanza)>,
    seen: BTreeSet<EnvelopeId>,
    acked: BTreeSet<EnvelopeId>,
    unacked: Vec<(usize, DeliveryId, EnvelopeId)>,
}

struct Simulation {
    seed: u64,
    random: Random,
    /// Sessions and edges die, users move, the store fails.
    faults: bool,
    now: Instant,
    wall_ms: u64,
    shards: Vec<HomeShard>,
    homes: Vec<usize>,
    inputs: Vec<VecDeque<Input>>,
    store: ModelStore,
    store_queue: Vec<VecDeque<(RequestId, StoreOp)>>,
    clients: BTreeMap<SessionKey, Client>,
    /// What holders keep: recipient and stanza.
    held: BTreeMap<EnvelopeId, (usize, Stanza)>,
    sent: BTreeSet<EnvelopeId>,
    received: BTreeSet<EnvelopeId>,
    receipts: BTreeSet<EnvelopeId>,
    to_resend: Vec<EnvelopeId>,
    given: BTreeSet<(usize, SessionKey, EnvelopeId)>,
    next_conn: u64,
    next_seq: u64,
}

fn user_name(user: usize) -> String {
    format!("u{user}@x")
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut random = Random(seed);
        let (now, count) = (Instant::now(), 1 + random.below(3));
        let mut store = ModelStore::default();
        for user in 0..USERS {
            store.users.insert(user_name(user), Default::default());
        }
        Self {
            seed,
            faults: !seed.is_multiple_of(3),
            now,
            wall_ms: 1_000_000,
            shards: (0..count)
                .map(|shard| new_shard(now, shard as u32, 0))
                .collect(),
            homes: (0..USERS).map(|_| random.below(count)).collect(),
            inputs: vec![VecDeque::new(); count],
            store_queue: (0..count).map(|_| VecDeque::new()).collect(),
            store,
            clients: BTreeMap::new(),
            held: BTreeMap::new(),
            sent: BTreeSet::new(),
            received: BTreeSet::new(),
            receipts: BTreeSet::new(),
            to_resend: Vec::new(),
            given: BTreeSet::new(),
            next_conn: 0,
            next_seq: 0,
            random,
        }
    }

    fn feed(&mut self, shard: usize, input: Input) {
        self.shards[shard].handle_input(self.now, self.wall_ms, input);
        while let Some(output) = self.shards[shard].poll_output() {
            self.output(shard, output);
        }
    }

    fn output(&mut self, shard: usize, output: Output) {
        let seed = self.seed;
        match output {
            Output::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                let (Some(delivery), Some(envelope)) = (delivery, envelope) else {
                    return;
                };
                if !self.faults {
                    let first = self
                        .given
                        .insert((shard, session.clone(), envelope.clone()));
                    assert!(first, "seed {seed}: {envelope} given twice to {session:?}");
                }
                match self.clients.get_mut(&session) {
                    Some(client) => client.wire.push_back((shard, delivery, envelope, stanza)),
                    None => self.inputs[shard].push_back(Input::DeliveryFailed {
                        session,
                        ids: vec![delivery],
                    }),
                }
            }
            Output::Receipt { envelope } => {
                assert!(
                    self.sent.contains(&envelope),
                    "seed {seed}: receipt for {envelope}, which nobody sent"
                );
                self.held.remove(&envelope);
                self.receipts.insert(envelope);
            }
            Output::Retry { envelope } => self.to_resend.push(envelope),
            Output::Route { envelope, stanza } => {
                let to = stanza.to().unwrap();
                if to.domain() == "x" {
                    let user: usize = to.node().unwrap()[1..].parse().unwrap();
                    let home = self.homes[user];
                    self.inputs[home].push_back(Input::ToUser { envelope, stanza });
                } else {
                    panic!("seed {seed}: nothing bounces here: {stanza:?}");
                }
            }
            Output::Store { request, op } => self.store_queue[shard].push_back((request, op)),
            Output::BindResult {
                session, result, ..
            } => {
                if result.is_err() {
                    // The store was away; the client gives up.
                    self.drop_client(&session);
                }
            }
            Output::EndSession { session, reason } => {
                panic!("seed {seed}: {session:?} ended: {reason:?}")
            }
        }
    }

    fn log_in(&mut self, user: usize) {
        self.next_conn += 1;
        let edge: Arc<str> = if self.random.below(2) == 0 {
            "e1".into()
        } else {
            "e2".into()
        };
        let session = SessionKey::new(edge, 1, self.next_conn);
        let resource = format!("r{}", self.next_conn);
        let full = FullJid::new(&format!("{}/{resource}", user_name(user))).unwrap();
        let mut mirror = SessionMirror::new(full.clone(), 10);
        let presence = stanza("<presence/>").restamped(Some(&full), None);
        mirror.client_sent(&presence);
        let client = Client {
            user,
            full,
            mirror,
            wire: VecDeque::new(),
            seen: BTreeSet::new(),
            acked: BTreeSet::new(),
            unacked: Vec::new(),
        };
        self.clients.insert(session.clone(), client);
        let bare = BareJid::new(&user_name(user)).unwrap();
        let bind = Input::Bind {
            session: session.clone(),
            user: bare,
            resource: Some(resource),
            request: 0,
        };
        let envelope = self.envelope(&session);
        self.held.insert(envelope.clone(), (user, presence.clone()));
        let home = self.homes[user];
        // A client speaks after its bind was answered: the home has to do that first.
        self.drain_home(home);
        self.feed(home, bind);
        self.drain_home(home);
        self.inputs[home].push_back(Input::FromClient {
            session,
            envelope,
            stanza: presence,
        });
    }

    /// The home and its store do everything that waits.
    fn drain_home(&mut self, home: usize) {
        while self.step_input(home) || self.step_store(home, false) {}
    }

    fn envelope(&mut self, holder: &SessionKey) -> EnvelopeId {
        self.next_seq += 1;
        let envelope = EnvelopeId {
            holder: holder.clone(),
            seq: self.next_seq,
            after: None,
        };
        self.sent.insert(envelope.clone());
        envelope
    }

    fn peer_sends(&mut self) {
        let (user, peer) = (self.random.below(USERS), self.random.below(3));
        let holder = SessionKey::new("e9", 1, peer as u64);
        let envelope = self.envelope(&holder);
        let xml = format!(
            "<message from='p{peer}@r/1' to='{}' type='chat'><body>{}</body></message>",
            user_name(user),
            envelope.seq
        );
        self.held.insert(envelope.clone(), (user, stanza(&xml)));
        self.send(envelope);
    }

    fn client_sends(&mut self) {
        let Some(session) = self.any_session() else {
            return;
        };
        let to = self.random.below(USERS);
        let client = &self.clients[&session];
        let (home, full) = (self.homes[client.user], client.full.clone());
        let envelope = self.envelope(&session);
        let xml = format!(
            "<message to='{}' type='chat'><body>{}</body></message>",
            user_name(to),
            envelope.seq
        );
        let stanza = stanza(&xml).restamped(Some(&full), None);
        self.held.insert(envelope.clone(), (to, stanza.clone()));
        self.inputs[home].push_back(Input::FromClient {
            session,
            envelope,
            stanza,
        });
    }

    fn send(&mut self, envelope: EnvelopeId) {
        let Some((user, stanza)) = self.held.get(&envelope).cloned() else {
            return;
        };
        if let Some(client) = self.clients.get(&envelope.holder) {
            let home = self.homes[client.user];
            self.inputs[home].push_back(Input::FromClient {
                session: envelope.holder.clone(),
                envelope,
                stanza,
            });
        } else {
            let home = self.homes[user];
            self.inputs[home].push_back(Input::ToUser {
                envelope: Some(envelope),
                stanza,
            });
        }
    }

    fn any_session(&mut self) -> Option<SessionKey> {
        let count = self.clients.len();
        (count > 0).then(|| {
            self.clients
                .keys()
                .nth(self.random.below(count))
                .unwrap()
                .clone()
        })
    }

    fn step_input(&mut self, shard: usize) -> bool {
        let Some(input) = self.inputs[shard].pop_front() else {
            return false;
        };
        self.feed(shard, input);
        true
    }

    fn step_store(&mut self, shard: usize, may_fail: bool) -> bool {
        let Some((request, op)) = self.store_queue[shard].pop_front() else {
            return false;
        };
        let mut answer = if may_fail && self.random.below(10) == 0 {
            StoreAnswer::Failed { retryable: true }
        } else {
            self.store.run(op)
        };
        if may_fail && self.random.below(20) == 0 {
            // Done, but the answer came too late.
            answer = StoreAnswer::Failed { retryable: true };
        }
        self.feed(shard, Input::Store { request, answer });
        true
    }

    fn client_reads(&mut self, session: &SessionKey) -> bool {
        let faults = self.faults;
        let Some(client) = self.clients.get_mut(session) else {
            return false;
        };
        let Some((shard, id, envelope, stanza)) = client.wire.pop_front() else {
            return false;
        };
        if client.acked.contains(&envelope) {
            self.inputs[shard].push_back(Input::Delivered {
                session: session.clone(),
                ids: vec![id],
            });
            return true;
        }
        if client.seen.insert(envelope.clone()) && !faults {
            let sender = stanza.from().unwrap().clone();
            let later = client
                .unacked
                .iter()
                .map(|(_, _, e)| e)
                .chain(&client.acked);
            let overtaken = later
                .filter(|e| e.holder == envelope.holder && e.seq > envelope.seq)
                .count();
            assert_eq!(
                overtaken, 0,
                "seed {}: {envelope} from {sender} came late",
                self.seed
            );
        }
        client.unacked.push((shard, id, envelope));
        true
    }

    fn client_acks(&mut self, session: &SessionKey) {
        let Some(client) = self.clients.get_mut(session) else {
            return;
        };
        for (shard, id, envelope) in std::mem::take(&mut client.unacked) {
            client.acked.insert(envelope.clone());
            self.received.insert(envelope);
            self.inputs[shard].push_back(Input::Delivered {
                session: session.clone(),
                ids: vec![id],
            });
        }
    }

    fn drop_client(&mut self, session: &SessionKey) -> Option<Client> {
        let client = self.clients.remove(session)?;
        self.held.retain(|envelope, _| envelope.holder != *session);
        Some(client)
    }

    fn session_ends(&mut self, session: &SessionKey) {
        if let Some(client) = self.drop_client(session) {
            let reason = SessionEndReason::Lost;
            let input = Input::SessionEnded {
                session: session.clone(),
                full: client.full,
                reason,
            };
            self.inputs[self.homes[client.user]].push_back(input);
        }
    }

    fn edge_dies(&mut self) {
        let dead: Vec<_> = self
            .clients
            .keys()
            .filter(|key| *key.edge == *"e2")
            .cloned()
            .collect();
        for session in dead {
            self.drop_client(&session);
        }
        for inputs in &mut self.inputs {
            inputs.push_back(Input::EdgeLost {
                edge: "e2".into(),
                epoch: 1,
            });
        }
        // Its successor has a new generation; later sessions of the test use the name again.
        for shard in 0..self.shards.len() {
            while self.step_input(shard) {}
        }
    }

    fn user_moves(&mut self) {
        let (user, home) = (
            self.random.below(USERS),
            self.random.below(self.shards.len()),
        );
        let old = std::mem::replace(&mut self.homes[user], home);
        if old == home {
            return;
        }
        let bare = BareJid::new(&user_name(user)).unwrap();
        self.inputs[old].push_back(Input::Release { users: vec![bare] });
        // The store is one: what the old home wrote is seen by the new one.
        self.drain_home(old);
        for (session, client) in self
            .clients
            .iter()
            .filter(|(_, client)| client.user == user)
        {
            let snapshot = client.mirror.snapshot().clone();
            self.inputs[home].push_back(Input::Register {
                session: session.clone(),
                snapshot,
            });
        }
        // Holders see the changed view.
        let again: Vec<_> = self
            .held
            .iter()
            .filter(|(_, (to, _))| *to == user)
            .map(|(id, _)| id.clone())
            .collect();
        again.into_iter().for_each(|envelope| self.send(envelope));
    }

    fn time_passes(&mut self, by: Duration) {
        self.now += by;
        self.wall_ms += by.as_millis() as u64;
        for shard in 0..self.shards.len() {
            while self.shards[shard]
                .poll_timeout()
                .is_some_and(|at| at <= self.now)
            {
                self.feed(shard, Input::Timeout);
            }
        }
    }

    fn step(&mut self) {
        let shard = self.random.below(self.shards.len());
        match self.random.below(100) {
            0..30 => _ = self.step_input(shard),
            30..50 => _ = self.step_store(shard, self.faults),
            50..65 => {
                if let Some(session) = self.any_session() {
                    self.client_reads(&session);
                }
            }
            65..73 => {
                if let Some(session) = self.any_session() {
                    self.client_acks(&session);
                }
            }
            73..83 => self.peer_sends(),
            83..88 => self.client_sends(),
            88..92 => self.time_passes(Duration::from_millis(400)),
            92..95 if self.clients.len() < 8 => {
                let user = self.random.below(USERS);
                self.log_in(user);
            }
            95..97 if self.faults => {
                if let Some(session) = self.any_session() {
                    self.session_ends(&session);
                }
            }
            97 if self.faults => self.edge_dies(),
            98 if self.faults => self.user_moves(),
            _ => {
                for envelope in std::mem::take(&mut self.to_resend) {
                    self.send(envelope);
                }
            }
        }
    }

    /// Everything works from here on; every user logs in and acks.
    fn settle(&mut self) {
        for user in 0..USERS {
            self.log_in(user);
        }
        for _ in 0..60 {
            let mut busy = true;
            while busy {
                busy = false;
                for shard in 0..self.shards.len() {
                    busy |= self.step_input(shard) | self.step_store(shard, false);
                }
                for session in self.clients.keys().cloned().collect::<Vec<_>>() {
                    while self.client_reads(&session) {
                        busy = true;
                    }
                    self.client_acks(&session);
                }
            }
            self.to_resend.clear();
            let held: Vec<_> = self.held.keys().cloned().collect();
            held.into_iter().for_each(|envelope| self.send(envelope));
            self.time_passes(Duration::from_millis(500));
        }
    }

    fn check(&self) {
        let seed = self.seed;
        assert!(
            self.held.is_empty(),
            "seed {seed}: without a receipt: {:?}",
            self.held
        );
        let messages = self.receipts.iter().filter(|e| *e.holder.edge == *"e9");
        for envelope in messages {
            assert!(
                self.received.contains(envelope),
                "seed {seed}: {envelope} has a receipt and is lost; store: {:?}",
                self.store.offline
            );
        }
        let kept: usize = self.store.offline.values().map(Vec::len).sum();
        assert_eq!(kept, 0, "seed {seed}: {:?}", self.store.offline);
    }
}

fn run(seed: u64) {
    let mut simulation = Simulation::new(seed);
    for _ in 0..1_500 {
        simulation.step();
    }
    simulation.settle();
    simulation.check();
}

#[test]
fn nothing_is_lost_doubled_or_overtaken() {
    for seed in 0..150 {
        run(seed);
    }
}
