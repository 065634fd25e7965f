//! A client's connection at its edge node: binding, custody, deliveries, the way to the home. The
//! same rules as the program's.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_cluster::NodeId;
use entente_cluster::custody::{Custody, CustodyLimits, Resend};
use entente_home_core::{
    BindError, Deliveries, DeliveryId, EndReason, EnvelopeId, Limits, SessionEndReason, SessionKey,
    SessionMirror,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

use super::agenda::Event;
use super::client::{ClientEvent, Down, MessageId, Up};
use super::membership::node_index;
use super::node::{Node, NodeEvent};
use super::stage::Stage;

const UNPLACED_PAUSE: Duration = Duration::from_millis(100);
const FENCE_PAUSE: Duration = Duration::from_millis(250);
const BIND_TIMEOUT: Duration = Duration::from_secs(15);

/// One thing for a connection.
#[derive(Debug)]
pub(crate) enum Item {
    Deliver {
        delivery: Option<DeliveryId>,
        envelope: Option<EnvelopeId>,
        stanza: Stanza,
    },
    Receipt(u64),
    Retry(u64),
    BindResult(Result<FullJid, BindError>),
    End(EndReason),
    Shutdown,
}

struct Session {
    full: FullJid,
    mirror: SessionMirror,
    custody: Custody<SessionKey>,
    /// What was accepted and not yet acknowledged, by number.
    accepted: VecDeque<Option<(MessageId, EnvelopeId)>>,
    home: Option<(NodeId, u64)>,
    /// All homes, when it last gave everything again: recipients may have moved too.
    homes: Vec<(NodeId, u64)>,
    retry_home: Option<Instant>,
    deliveries: Deliveries,
    /// Written to a client that acks, and not acked.
    unacked: VecDeque<DeliveryId>,
    ask_fence: Option<Instant>,
}

enum State {
    Binding {
        deadline: Instant,
        again: Instant,
        home: Option<(NodeId, u64)>,
    },
    Bound(Box<Session>),
}

/// See the module.
pub(crate) struct Connection {
    client: usize,
    key: SessionKey,
    user: BareJid,
    resource: String,
    /// The client uses stream management.
    acks: bool,
    state: State,
    inbox: Vec<Item>,
    woken: bool,
    timer: Option<Instant>,
    last_down: Instant,
}

impl Connection {
    /// Envelopes without a receipt, the oldest's age, and whether it is bound.
    pub(crate) fn custody(&self) -> Option<(usize, Option<Instant>)> {
        match &self.state {
            State::Binding { .. } => None,
            State::Bound(session) => Some((session.custody.waiting(), session.custody.oldest())),
        }
    }

    pub(crate) fn user(&self) -> &BareJid {
        &self.user
    }

    fn tell(&mut self, stage: &mut Stage, message: Down) {
        let delay = stage.micros(500, 10_000);
        let at = (stage.now + delay).max(self.last_down);
        self.last_down = at;
        let event = ClientEvent::Down(self.key.conn, message);
        stage.agenda.add(at, Event::Client(self.client, event));
    }
}

impl Node {
    /// Puts something into a connection's inbox; false if the connection is gone.
    pub(crate) fn push_item(&mut self, stage: &mut Stage, key: &SessionKey, item: Item) -> bool {
        if key.epoch != self.generation || key.edge != self.name {
            return false;
        }
        let Some(connection) = self.connections.get_mut(&key.conn) else {
            return false;
        };
        connection.inbox.push(item);
        if !std::mem::replace(&mut connection.woken, true) {
            let after = stage.micros(0, 300);
            stage.at(self.index, after, NodeEvent::Session(key.conn));
        }
        true
    }

    /// Asks every connection to close.
    pub(crate) fn close_connections(&mut self, stage: &mut Stage) {
        let keys: Vec<SessionKey> = self.connections.values().map(|c| c.key.clone()).collect();
        for key in keys {
            self.push_item(stage, &key, Item::Shutdown);
        }
    }

    /// A client's word.
    pub(crate) fn client_says(
        &mut self,
        stage: &mut Stage,
        connection: u64,
        client: usize,
        message: Up,
    ) {
        match message {
            Up::Connect {
                user,
                resource,
                acks,
            } => {
                let key = SessionKey::new(self.name.clone(), self.generation, connection);
                let mut new = Connection {
                    client,
                    key,
                    user,
                    resource,
                    acks,
                    state: State::Binding {
                        deadline: stage.now + BIND_TIMEOUT,
                        again: stage.now,
                        home: None,
                    },
                    inbox: Vec::new(),
                    woken: false,
                    timer: None,
                    last_down: stage.now,
                };
                if !self.open {
                    return new.tell(stage, Down::Closed);
                }
                self.connections.insert(connection, new);
                self.session_timer(stage, connection);
            }
            Up::Stanza(bytes, message) => self.accept(stage, connection, bytes, message),
            Up::Acked(ids) => {
                if let Some(State::Bound(session)) = self.state(connection) {
                    for id in ids {
                        session.unacked.retain(|unacked| *unacked != id);
                        session.deliveries.delivered(id);
                    }
                    self.settle(stage, connection);
                }
            }
            Up::Ping => {
                if let Some(connection) = self.connections.get_mut(&connection) {
                    connection.tell(stage, Down::Pong);
                }
            }
            Up::Gone => self.end(stage, connection, SessionEndReason::Lost),
            Up::Bye => self.end(stage, connection, SessionEndReason::Closed),
        }
    }

    fn state(&mut self, connection: u64) -> Option<&mut State> {
        self.connections
            .get_mut(&connection)
            .map(|connection| &mut connection.state)
    }

    fn bound(&mut self, connection: u64) -> Option<(&mut Session, SessionKey, BareJid)> {
        let connection = self.connections.get_mut(&connection)?;
        match &mut connection.state {
            State::Bound(session) => {
                Some((session, connection.key.clone(), connection.user.clone()))
            }
            State::Binding { .. } => None,
        }
    }

    fn accept(
        &mut self,
        stage: &mut Stage,
        connection: u64,
        bytes: Bytes,
        message: Option<MessageId>,
    ) {
        let now = stage.now;
        let Some((session, key, user)) = self.bound(connection) else {
            return;
        };
        let stanza = Stanza::parse(bytes)
            .expect("clients send good stanzas")
            .restamped(Some(session.full.as_jid()), None);
        session.mirror.client_sent(&stanza);
        let chain = stanza.message_type().map(|_| {
            let to = stanza.to().map_or(user.as_str(), |to| to.bare_str());
            to.to_owned()
        });
        let accepted = session.custody.accept_chained(
            now,
            user.as_str(),
            chain.as_deref(),
            stanza.bytes().clone(),
        );
        let Ok(accepted) = accepted else {
            return stage.violated("a client has overfilled its custody".to_owned());
        };
        let envelope = EnvelopeId {
            holder: key,
            seq: accepted.seq,
            after: accepted.after,
        };
        let entry = message.map(|message| (message, envelope.clone()));
        session.accepted.push_back(entry);
        if let Some(message) = message {
            stage.checker.accepted(envelope.clone(), message);
        }
        if accepted.send {
            self.give_home(stage, connection, accepted.seq, accepted.after, stanza);
        }
        self.arm_session(stage, connection);
    }

    fn give_home(
        &mut self,
        stage: &mut Stage,
        connection: u64,
        seq: u64,
        after: Option<u64>,
        stanza: Stanza,
    ) {
        let Some((_, key, user)) = self.bound(connection) else {
            return;
        };
        let envelope = EnvelopeId {
            holder: key.clone(),
            seq,
            after,
        };
        let sent = self.give_to_home(stage, key, envelope, stanza, &user);
        let now = stage.now;
        if !sent && let Some((session, _, _)) = self.bound(connection) {
            session.custody.retry(now, seq);
        }
    }

    fn give_again(&mut self, stage: &mut Stage, connection: u64, again: Vec<Resend>) {
        for resend in again {
            let stanza = Stanza::parse(resend.payload).expect("it was parsed before");
            self.give_home(stage, connection, resend.seq, resend.after, stanza);
        }
    }

    /// Takes what is in the inbox.
    pub(crate) fn session_wakes(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.woken = false;
        for item in std::mem::take(&mut connection.inbox) {
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            match (&mut connection.state, item) {
                (
                    State::Bound(session),
                    Item::Deliver {
                        delivery,
                        envelope,
                        stanza,
                    },
                ) => {
                    if !session
                        .deliveries
                        .is_new(now, delivery, envelope.as_ref(), &stanza)
                    {
                        continue;
                    }
                    let message = if stanza.is_error() || stanza.message_type().is_none() {
                        None
                    } else {
                        stanza.id().and_then(|id| MessageId::parse(&id))
                    };
                    let token = delivery.filter(|_| connection.acks);
                    if let Some(token) = token {
                        session.unacked.push_back(token);
                    }
                    let news = message.zip(envelope);
                    if !connection.acks {
                        if let Some((message, envelope)) = &news {
                            let client = connection.client;
                            stage.delivered(client, &connection.key, envelope, *message);
                        }
                        if let Some(delivery) = delivery {
                            session.deliveries.delivered(delivery);
                        }
                    }
                    let news = news.filter(|_| connection.acks);
                    connection.tell(stage, Down::Stanza { token, news });
                }
                (State::Bound(session), Item::Receipt(seq)) => {
                    session.custody.receipt(seq);
                }
                (State::Bound(session), Item::Retry(seq)) => {
                    session.custody.retry(now, seq);
                }
                (State::Binding { home, .. }, Item::BindResult(Ok(full))) => {
                    let limits = CustodyLimits::default();
                    let session = Session {
                        mirror: SessionMirror::new(full.clone(), 500),
                        full,
                        custody: Custody::new(connection.key.clone(), limits),
                        accepted: VecDeque::new(),
                        home: home.take(),
                        homes: Vec::new(),
                        retry_home: None,
                        deliveries: Deliveries::new(Limits::default().repeat_window),
                        unacked: VecDeque::new(),
                        ask_fence: None,
                    };
                    connection.state = State::Bound(Box::new(session));
                    let key = connection.key.clone();
                    connection.tell(stage, Down::Bound(key));
                    self.session_follows(stage, id);
                }
                (State::Binding { again, .. }, Item::BindResult(Err(BindError::Unavailable))) => {
                    *again = now + UNPLACED_PAUSE;
                }
                (State::Binding { .. }, Item::BindResult(Err(_))) => {
                    return self.end(stage, id, SessionEndReason::Terminated);
                }
                (_, Item::End(reason)) => {
                    stage.note(format!("n{} ends connection {id}: {reason:?}", self.index));
                    return self.end(stage, id, SessionEndReason::Terminated);
                }
                (_, Item::Shutdown) => return self.end(stage, id, SessionEndReason::Terminated),
                (State::Bound(_), Item::BindResult(_))
                | (
                    State::Binding { .. },
                    Item::Deliver { .. } | Item::Receipt(_) | Item::Retry(_),
                ) => {}
            }
        }
        self.settle(stage, id);
    }

    /// Acks and reports.
    fn settle(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let index = self.index;
        let may_ack = self.membership.fence.may_ack(now);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let State::Bound(session) = &mut connection.state else {
            return self.arm_session(stage, id);
        };
        if may_ack {
            session.ask_fence = None;
            let handled = session.custody.handled() as usize;
            if handled > 0 {
                let messages: Vec<_> = session.accepted.drain(..handled).flatten().collect();
                if connection.acks {
                    stage.acknowledged(index, &messages);
                    connection.tell(stage, Down::Handled(handled));
                }
            }
        } else {
            let waits = session.custody.waiting() > 0 || session.ask_fence.is_some();
            session.ask_fence = waits.then(|| now + FENCE_PAUSE);
        }
        self.report_deliveries(stage, id);
        self.arm_session(stage, id);
    }

    fn report_deliveries(&mut self, stage: &mut Stage, id: u64) {
        let Some((session, key, user)) = self.bound(id) else {
            return;
        };
        let (delivered, failed) = session.deliveries.take_reports();
        for (ids, failed) in [(delivered, false), (failed, true)] {
            if !ids.is_empty() {
                self.report(stage, key.clone(), &user, ids, failed);
            }
        }
    }

    /// The view changed: does the user have another home?
    pub(crate) fn session_follows(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let Some((session, key, user)) = self.bound(id) else {
            return;
        };
        session.retry_home = None;
        let known = session.home.clone();
        let snapshot = session.mirror.snapshot().clone();
        let known_homes = session.homes.clone();
        let home = self.home(user.as_str());
        let homes = self.homes();
        if home == known && home.is_some() {
            if homes != known_homes
                && let Some((session, _, _)) = self.bound(id)
            {
                session.homes = homes;
                let again = session.custody.view_changed(now, |_| true);
                self.give_again(stage, id, again);
                self.arm_session(stage, id);
            }
            return;
        }
        let registered = home.is_some() && self.register(stage, key, snapshot);
        let Some((session, _, _)) = self.bound(id) else {
            return;
        };
        if registered {
            session.home = home;
            session.homes = homes;
            let again = session.custody.view_changed(now, |_| true);
            self.give_again(stage, id, again);
        } else {
            session.retry_home = Some(now + UNPLACED_PAUSE);
        }
        self.arm_session(stage, id);
    }

    /// A home asks for the sessions of its users.
    pub(crate) fn resync(&mut self, stage: &mut Stage, home: usize) {
        let ids: Vec<u64> = self.connections.keys().copied().collect();
        for id in ids {
            if let Some((session, _, _)) = self.bound(id)
                && session
                    .home
                    .as_ref()
                    .is_some_and(|(known, _)| node_index(known.as_str()) == home)
            {
                session.home = None;
                self.session_follows(stage, id);
            }
        }
    }

    /// A deadline of a connection.
    pub(crate) fn session_timer(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.timer = None;
        match &mut connection.state {
            State::Binding {
                deadline, again, ..
            } => {
                if now >= *deadline {
                    return self.end(stage, id, SessionEndReason::Terminated);
                }
                if now >= *again {
                    self.bind(stage, id);
                }
            }
            State::Bound(session) => {
                let look = session.retry_home.is_some_and(|at| at <= now);
                if look {
                    self.session_follows(stage, id);
                }
                if let Some((session, _, _)) = self.bound(id) {
                    let again = session.custody.overdue(now);
                    self.give_again(stage, id, again);
                }
                self.settle(stage, id);
            }
        }
        self.arm_session(stage, id);
    }

    fn bind(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let key = connection.key.clone();
        let user = connection.user.clone();
        let resource = Some(connection.resource.clone());
        let at_home = self.home(user.as_str());
        let asked = self.ask_to_bind(stage, key, user, resource, 1);
        let patience = if asked {
            Duration::from_secs(5)
        } else {
            Duration::from_millis(100)
        };
        if let Some(State::Binding { again, home, .. }) = self.state(id) {
            *again = now + patience;
            *home = at_home;
        }
    }

    fn arm_session(&mut self, stage: &mut Stage, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let deadline = match &connection.state {
            State::Binding {
                deadline, again, ..
            } => Some(*deadline.min(again)),
            State::Bound(session) => [
                session.custody.poll_timeout(),
                session.retry_home,
                session.ask_fence,
            ]
            .into_iter()
            .flatten()
            .min(),
        };
        if let Some(at) = deadline
            && connection.timer.is_none_or(|armed| at < armed)
        {
            let at = at.max(stage.now);
            connection.timer = Some(at);
            stage.at(self.index, at - stage.now, NodeEvent::SessionTimer(id));
        }
    }

    /// A connection is over, and with it its session.
    fn end(&mut self, stage: &mut Stage, id: u64, reason: SessionEndReason) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.tell(stage, Down::Closed);
        let inbox = std::mem::take(&mut connection.inbox);
        if let State::Bound(session) = &mut connection.state {
            for unacked in std::mem::take(&mut session.unacked) {
                session.deliveries.failed(unacked);
            }
            for item in inbox {
                if let Item::Deliver {
                    delivery: Some(delivery),
                    ..
                } = item
                {
                    session.deliveries.failed(delivery);
                }
            }
            let full = session.full.clone();
            let key = connection.key.clone();
            self.report_deliveries(stage, id);
            self.session_ended(stage, key, full, reason);
        }
        self.connections.remove(&id);
    }
}
