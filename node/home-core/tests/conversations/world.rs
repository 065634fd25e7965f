//! A small world around home shards: a store, client sessions, and other domains as a list.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_home_core::{
    DeliveryId, EndReason, EnvelopeId, HomeConfig, HomeShard, Input, OfflineMessage, Output,
    RequestId, SessionEndReason, SessionKey, SessionMirror, Software, StoreAnswer, StoreOp,
    UserRecord, Write, WriteOutcome,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

/// What a client session got and did.
pub struct Client {
    pub full: FullJid,
    pub inbox: Vec<Stanza>,
    /// Acks at once what it gets.
    pub acks: bool,
    pub unacked: Vec<DeliveryId>,
    pub seen: Vec<EnvelopeId>,
    pub mirror: SessionMirror,
    pub ended: Option<EndReason>,
    next_seq: u64,
}

#[derive(Default)]
pub struct ModelStore {
    pub users: BTreeMap<String, UserRecord>,
    pub offline: BTreeMap<String, Vec<OfflineMessage>>,
    next: u64,
    /// Operations fail.
    pub down: bool,
    /// Operations wait until `World::store_answers`.
    pub slow: bool,
    waiting: VecDeque<(usize, RequestId, StoreOp)>,
}

impl ModelStore {
    pub fn run(&mut self, op: StoreOp) -> StoreAnswer {
        if self.down {
            return StoreAnswer::Failed { retryable: true };
        }
        match op {
            StoreOp::Load { user } => {
                StoreAnswer::Loaded(self.users.get(user.as_str()).cloned().map(|mut record| {
                    record.offline_count =
                        self.offline.get(user.as_str()).map_or(0, Vec::len) as u64;
                    record
                }))
            }
            StoreOp::LoadOffline { user, after, limit } => {
                let list = self.offline.entry(user.as_str().into()).or_default();
                let after = after.unwrap_or(0);
                StoreAnswer::Offline(
                    list.iter()
                        .filter(|m| m.cursor > after)
                        .take(limit as usize)
                        .cloned()
                        .collect(),
                )
            }
            StoreOp::Write(writes) => {
                StoreAnswer::Written(writes.into_iter().map(|write| self.write(write)).collect())
            }
        }
    }

    fn write(&mut self, write: Write) -> WriteOutcome {
        let user = match &write {
            Write::PutRosterEntry { user, .. }
            | Write::RemoveRosterEntry { user, .. }
            | Write::PutPendingIn { user, .. }
            | Write::RemovePendingIn { user, .. }
            | Write::PutOffline { user, .. }
            | Write::RemoveOffline { user, .. }
            | Write::Block { user, .. }
            | Write::Unblock { user, .. }
            | Write::UnblockAll { user }
            | Write::SetLastLogout { user, .. } => user.as_str().to_owned(),
        };
        let Some(record) = self.users.get_mut(&user) else {
            return WriteOutcome::NoSuchUser;
        };
        let offline = self.offline.entry(user).or_default();
        match write {
            Write::PutRosterEntry { entry, version, .. } => {
                record.roster.retain(|item| item.jid != entry.jid);
                record.roster.push(entry);
                record.roster_version = version;
            }
            Write::RemoveRosterEntry {
                contact, version, ..
            } => {
                record.roster.retain(|item| item.jid != contact);
                record.roster_version = version;
            }
            Write::PutPendingIn { from, stanza, .. } => {
                record
                    .pending_in
                    .push(entente_home_core::PendingIn { from, stanza });
            }
            Write::RemovePendingIn { from, .. } => {
                record.pending_in.retain(|pending| pending.from != from)
            }
            Write::PutOffline {
                id,
                stanza,
                stored_at_ms,
                ..
            } => {
                if offline.iter().all(|message| message.id != id) {
                    self.next += 1;
                    offline.push(OfflineMessage {
                        cursor: self.next,
                        id,
                        stanza,
                        stored_at_ms,
                    });
                }
            }
            Write::RemoveOffline { id, .. } => offline.retain(|message| message.id != id),
            Write::Block { jid, .. } => record.blocked.push(jid),
            Write::Unblock { jid, .. } => record.blocked.retain(|known| *known != jid),
            Write::UnblockAll { .. } => record.blocked.clear(),
            Write::SetLastLogout { at_ms, .. } => record.last_logout_ms = Some(at_ms),
        }
        WriteOutcome::Done
    }
}

pub struct World {
    pub now: Instant,
    pub wall_ms: u64,
    pub shards: Vec<HomeShard>,
    pub store: ModelStore,
    pub clients: BTreeMap<SessionKey, Client>,
    /// What went to other domains.
    pub outside: Vec<Stanza>,
    pub receipts: Vec<EnvelopeId>,
    pub retries: Vec<EnvelopeId>,
    next_conn: u64,
    peer_seq: u64,
}

pub fn stanza(xml: &str) -> Stanza {
    Stanza::parse(Bytes::copy_from_slice(xml.as_bytes()))
        .unwrap_or_else(|fault| panic!("{fault}: {xml}"))
}

pub fn new_shard(now: Instant, number: u32, generation: u64) -> HomeShard {
    let software = Software {
        name: "Entente".into(),
        version: "1".into(),
    };
    let mut config = HomeConfig::new(vec!["x".into()], software, "n1".into(), now);
    config.shard = number;
    config.delivery_base = (u64::from(number) << 48) | (generation << 32);
    config.seed = 7;
    HomeShard::new(config)
}

impl World {
    /// One shard; users romeo, juliet and nurse at x.
    pub fn new() -> Self {
        Self::with_shards(1)
    }

    pub fn with_shards(count: u32) -> Self {
        let now = Instant::now();
        let mut world = Self {
            now,
            wall_ms: 1_000_000_000_000,
            shards: (0..count).map(|number| new_shard(now, number, 0)).collect(),
            store: ModelStore::default(),
            clients: BTreeMap::new(),
            outside: Vec::new(),
            receipts: Vec::new(),
            retries: Vec::new(),
            next_conn: 0,
            peer_seq: 0,
        };
        for user in ["romeo@x", "juliet@x", "nurse@x"] {
            world.store.users.insert(user.into(), UserRecord::default());
        }
        world
    }

    pub fn home(&self, bare: &str) -> usize {
        bare.bytes().map(usize::from).sum::<usize>() % self.shards.len()
    }

    pub fn give(&mut self, shard: usize, input: Input) {
        self.shards[shard].handle_input(self.now, self.wall_ms, input);
        self.pump();
    }

    /// Runs until nothing happens.
    pub fn pump(&mut self) {
        loop {
            let mut quiet = true;
            for shard in 0..self.shards.len() {
                while let Some(output) = self.shards[shard].poll_output() {
                    quiet = false;
                    self.output(shard, output);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn output(&mut self, shard: usize, output: Output) {
        let (now, wall) = (self.now, self.wall_ms);
        match output {
            Output::ToSession {
                session,
                delivery,
                envelope,
                stanza,
            } => {
                let Some(client) = self.clients.get_mut(&session) else {
                    if let Some(id) = delivery {
                        self.shards[shard].handle_input(
                            now,
                            wall,
                            Input::DeliveryFailed {
                                session,
                                ids: vec![id],
                            },
                        );
                    }
                    return;
                };
                let new = envelope.as_ref().is_none_or(|id| !client.seen.contains(id));
                if new {
                    client.inbox.push(stanza);
                    client.seen.extend(envelope);
                }
                if let Some(id) = delivery {
                    if client.acks {
                        self.shards[shard].handle_input(
                            now,
                            wall,
                            Input::Delivered {
                                session,
                                ids: vec![id],
                            },
                        );
                    } else {
                        client.unacked.push(id);
                    }
                }
            }
            Output::BindResult {
                session, result, ..
            } => match result {
                Ok(full) => {
                    self.clients.insert(
                        session,
                        Client {
                            mirror: SessionMirror::new(full.clone(), 500),
                            full,
                            inbox: Vec::new(),
                            acks: true,
                            unacked: Vec::new(),
                            seen: Vec::new(),
                            ended: None,
                            next_seq: 0,
                        },
                    );
                }
                Err(error) => panic!("bind: {error}"),
            },
            Output::EndSession { session, reason } => {
                if let Some(client) = self.clients.get_mut(&session) {
                    client.ended = Some(reason);
                }
            }
            Output::Route { envelope, stanza } => {
                let to = stanza.to().expect("routed stanzas have an address").clone();
                assert!(
                    stanza.from().is_some(),
                    "routed stanzas have a sender: {stanza:?}"
                );
                if to.domain() == "x" {
                    let home = self.home(to.bare_str());
                    self.shards[home].handle_input(now, wall, Input::ToUser { envelope, stanza });
                } else {
                    self.outside.push(stanza);
                    self.receipts.extend(envelope);
                }
            }
            Output::Receipt { envelope } => self.receipts.push(envelope),
            Output::Retry { envelope } => self.retries.push(envelope),
            Output::Store { request, op } if self.store.slow => {
                self.store.waiting.push_back((shard, request, op))
            }
            Output::Store { request, op } => {
                let answer = self.store.run(op);
                self.shards[shard].handle_input(now, wall, Input::Store { request, answer });
            }
        }
    }

    /// A slow store answers one operation; false if none waits.
    pub fn store_answers(&mut self) -> bool {
        let Some((shard, request, op)) = self.store.waiting.pop_front() else {
            return false;
        };
        let answer = self.store.run(op);
        self.give(shard, Input::Store { request, answer });
        true
    }

    pub fn bind(&mut self, user: &str, resource: &str) -> SessionKey {
        self.bind_at("e1", user, resource)
    }

    pub fn bind_at(&mut self, edge: &str, user: &str, resource: &str) -> SessionKey {
        self.next_conn += 1;
        let session = SessionKey::new(edge, 1, self.next_conn);
        let home = self.home(user);
        let input = Input::Bind {
            session: session.clone(),
            user: BareJid::new(user).unwrap(),
            resource: Some(resource.into()),
            request: 1,
        };
        self.give(home, input);
        session
    }

    /// Binds and sends initial presence.
    pub fn online(&mut self, user: &str, resource: &str) -> SessionKey {
        let session = self.bind(user, resource);
        self.send(&session, "<presence/>");
        session
    }

    /// The client sends; `from` is stamped as an edge node does.
    pub fn send(&mut self, session: &SessionKey, xml: &str) -> EnvelopeId {
        let client = self.clients.get_mut(session).expect("a client");
        client.next_seq += 1;
        let envelope = EnvelopeId {
            holder: session.clone(),
            seq: client.next_seq,
            after: None,
        };
        let stanza = stanza(xml).restamped(Some(&client.full), None);
        client.mirror.client_sent(&stanza);
        self.resend(session, envelope.clone(), stanza);
        envelope
    }

    pub fn resend(&mut self, session: &SessionKey, envelope: EnvelopeId, stanza: Stanza) {
        let home = self.home(self.clients[session].full.bare_str());
        self.give(
            home,
            Input::FromClient {
                session: session.clone(),
                envelope,
                stanza,
            },
        );
    }

    /// A peer's stanza comes for a local user.
    pub fn peer_sends(&mut self, xml: &str) -> EnvelopeId {
        self.peer_seq += 1;
        let holder = SessionKey::new("e9", 1, 1);
        let envelope = EnvelopeId {
            holder,
            seq: self.peer_seq,
            after: None,
        };
        self.peer_resends(envelope.clone(), xml);
        envelope
    }

    /// An envelope of the peer's stream that has to come after another one.
    pub fn peer_envelope(&self, seq: u64, after: Option<u64>) -> EnvelopeId {
        let holder = SessionKey::new("e9", 1, 1);
        EnvelopeId { holder, seq, after }
    }

    pub fn peer_resends(&mut self, envelope: EnvelopeId, xml: &str) {
        let stanza = stanza(xml);
        let home = self.home(stanza.to().unwrap().bare_str());
        self.give(
            home,
            Input::ToUser {
                envelope: Some(envelope),
                stanza,
            },
        );
    }

    pub fn end(&mut self, session: &SessionKey) {
        let client = self.clients.remove(session).expect("a client");
        let home = self.home(client.full.bare_str());
        let input = Input::SessionEnded {
            session: session.clone(),
            full: client.full,
            reason: SessionEndReason::Closed,
        };
        self.give(home, input);
    }

    /// Acks everything that a client holds back.
    pub fn ack(&mut self, session: &SessionKey) {
        let client = self.clients.get_mut(session).unwrap();
        let (ids, home) = (
            std::mem::take(&mut client.unacked),
            client.full.bare_str().to_owned(),
        );
        let home = self.home(&home);
        self.give(
            home,
            Input::Delivered {
                session: session.clone(),
                ids,
            },
        );
    }

    pub fn holds_acks(&mut self, session: &SessionKey) {
        self.clients.get_mut(session).unwrap().acks = false;
    }

    /// Time passes; timers fire.
    pub fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let due = (0..self.shards.len())
                .filter_map(|at| Some((self.shards[at].poll_timeout()?, at)))
                .min();
            match due {
                Some((at, shard)) if at <= end => {
                    let step = at.saturating_duration_since(self.now);
                    self.now += step;
                    self.wall_ms += step.as_millis() as u64;
                    self.give(shard, Input::Timeout);
                }
                _ => break,
            }
        }
        self.wall_ms += end.saturating_duration_since(self.now).as_millis() as u64;
        self.now = end;
    }

    /// What a client got since the last look.
    pub fn got(&mut self, session: &SessionKey) -> Vec<String> {
        let inbox = std::mem::take(&mut self.clients.get_mut(session).unwrap().inbox);
        inbox.iter().map(text).collect()
    }

    /// What other domains got since the last look.
    pub fn sent_outside(&mut self) -> Vec<String> {
        std::mem::take(&mut self.outside).iter().map(text).collect()
    }

    pub fn forget(&mut self) {
        self.outside.clear();
        self.clients
            .values_mut()
            .for_each(|client| client.inbox.clear());
    }

    /// romeo@x and a contact see each other.
    pub fn befriend(&mut self, user: &str, contact: &str) {
        use entente_home_core::{RosterItem, Subscription};
        let mut item = RosterItem::new(BareJid::new(contact).unwrap());
        item.subscription = Subscription::Both;
        self.store
            .users
            .get_mut(user)
            .expect("a user")
            .roster
            .push(item);
    }
}

fn text(stanza: &Stanza) -> String {
    String::from_utf8_lossy(stanza.bytes()).replace('"', "'")
}

/// Whether exactly one of the stanzas holds all the parts.
#[track_caller]
pub fn expect_one(stanzas: &[String], parts: &[&str]) {
    let hits = stanzas
        .iter()
        .filter(|stanza| parts.iter().all(|part| stanza.contains(part)))
        .count();
    assert_eq!(hits, 1, "wanted one with {parts:?} in {stanzas:#?}");
}
