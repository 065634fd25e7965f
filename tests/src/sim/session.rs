//! A client's connection at its edge node: binding, the real session, resumption, acknowledgements.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_cluster::NodeId;
use entente_fabric_core::session::{EdgeSession, Homes, SessionLimits, Step};
use entente_fabric_core::way;
use entente_home_core::{
    BindError, DeliveryId, EndReason, EnvelopeId, Limits, SessionEndReason, SessionKey,
};
use entente_xmpp_core::jid::{BareJid, FullJid};
use entente_xmpp_core::stanza::Stanza;

use super::agenda::Event;
use super::client::{ClientEvent, Down, MessageId, Up};
use super::node::{Node, NodeEvent};
use super::stage::Stage;

const UNPLACED_PAUSE: Duration = Duration::from_millis(100);
const FENCE_PAUSE: Duration = Duration::from_millis(250);
const BIND_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a session waits for its client to come back.
const RESUMPTION: Duration = Duration::from_secs(30);
/// How long a session that is handed over waits for receipts: what is still on its way would be sent
/// a second time.
const HANDOVER: Duration = Duration::from_secs(1);

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
    /// This home may have forgotten its users' sessions.
    Resync(NodeId),
    Shutdown,
}

/// Given to a client that acknowledges, and not acknowledged.
struct Unacked {
    delivery: Option<DeliveryId>,
    news: Option<(MessageId, EnvelopeId)>,
}

struct Session {
    core: EdgeSession,
    /// What was accepted and not yet acknowledged, in the client's order.
    accepted: VecDeque<Option<(MessageId, EnvelopeId)>>,
    /// What was acknowledged: a client that comes back may not have heard of the last of it.
    told: Vec<MessageId>,
    unacked: VecDeque<Unacked>,
    ask_fence: Option<Instant>,
    /// Its client is gone; it may come back until then.
    parked: Option<Instant>,
    /// The connection that asks for it, and until when receipts are waited for.
    claim: Option<(u64, Instant)>,
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
    /// The client's connection: another one than the session's number after a resumption.
    line: u64,
}

impl Connection {
    /// Envelopes without a receipt, the oldest's age, and whether it is bound.
    pub(crate) fn custody(&self) -> Option<(usize, Option<Instant>)> {
        match &self.state {
            State::Binding { .. } => None,
            State::Bound(session) => Some((session.core.waiting(), None)),
        }
    }

    pub(crate) fn user(&self) -> &BareJid {
        &self.user
    }

    fn tell(&mut self, stage: &mut Stage, message: Down) {
        let delay = stage.micros(500, 10_000);
        let at = (stage.now + delay).max(self.last_down);
        self.last_down = at;
        let event = ClientEvent::Down(self.line, message);
        stage.agenda.add(at, Event::Client(self.client, event));
    }
}

impl Session {
    /// The client has these.
    fn acked(&mut self, ids: &[DeliveryId]) {
        for id in ids {
            self.unacked.retain(|unacked| unacked.delivery != Some(*id));
            self.core.delivered(*id);
        }
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
                    line: connection,
                };
                if !self.open {
                    return new.tell(stage, Down::Closed);
                }
                self.connections.insert(connection, new);
                self.session_timer(stage, connection);
            }
            Up::Resume(session, ids) => self.resume(stage, connection, client, session, ids),
            Up::Stanza(bytes, message) => {
                self.accept(stage, self.line(connection), bytes, message);
            }
            Up::Acked(ids) => {
                let id = self.line(connection);
                if let Some(session) = self.bound(id) {
                    session.acked(&ids);
                    self.settle(stage, id);
                }
            }
            Up::Ping => {
                let id = self.line(connection);
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.tell(stage, Down::Pong);
                }
            }
            Up::Gone => {
                let id = self.line(connection);
                let until = stage.now + RESUMPTION;
                match self.connections.get_mut(&id) {
                    Some(Connection {
                        acks: true,
                        state: State::Bound(session),
                        ..
                    }) => session.parked = Some(until),
                    Some(_) => return self.end(stage, id, SessionEndReason::Lost),
                    None => {}
                }
                self.arm_session(stage, id);
            }
            Up::Bye => self.end(stage, self.line(connection), SessionEndReason::Closed),
        }
    }

    /// The session that speaks on this connection: 0 for none.
    fn line(&self, connection: u64) -> u64 {
        let mut all = self.connections.iter();
        all.find(|(_, known)| known.line == connection)
            .map_or(0, |(id, _)| *id)
    }

    /// A client wants its session back, and says what it had on it.
    fn resume(
        &mut self,
        stage: &mut Stage,
        connection: u64,
        client: usize,
        session: u64,
        ids: Vec<DeliveryId>,
    ) {
        let until = stage.now + HANDOVER;
        match self.connections.get_mut(&session) {
            Some(Connection {
                state: State::Bound(session),
                ..
            }) => {
                session.parked.get_or_insert(until + RESUMPTION);
                session.claim = Some((connection, until));
                session.acked(&ids);
                let id = session.core.key().conn;
                self.settle(stage, id);
            }
            _ => {
                let event = ClientEvent::Down(connection, Down::NotResumed);
                let after = stage.micros(500, 10_000);
                stage
                    .agenda
                    .add(stage.now + after, Event::Client(client, event));
            }
        }
    }

    /// The session goes to the connection that asks for it, unless receipts are on their way.
    fn hand_over(&mut self, stage: &mut Stage, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let State::Bound(session) = &mut connection.state else {
            return;
        };
        let Some((line, until)) = session.claim else {
            return;
        };
        if session.core.waiting() > 0 && stage.now < until {
            return;
        }
        (session.claim, session.parked) = (None, None);
        session.core.resumed();
        session.accepted.clear();
        let again: Vec<_> = session
            .unacked
            .iter()
            .map(|unacked| Down::Stanza {
                token: unacked.delivery,
                news: unacked.news.clone(),
            })
            .collect();
        let told = session.told.clone();
        connection.line = line;
        connection.last_down = stage.now;
        connection.tell(stage, Down::Resumed(told));
        for stanza in again {
            connection.tell(stage, stanza);
        }
    }

    fn state(&mut self, connection: u64) -> Option<&mut State> {
        self.connections
            .get_mut(&connection)
            .map(|connection| &mut connection.state)
    }

    fn bound(&mut self, connection: u64) -> Option<&mut Session> {
        match self.state(connection)? {
            State::Bound(session) => Some(session),
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
        let Some(session) = self.bound(connection) else {
            return;
        };
        let stanza = Stanza::parse(bytes)
            .expect("clients send good stanzas")
            .restamped(Some(session.core.full().as_jid()), None);
        let Ok(accepted) = session.core.accept(now, &stanza) else {
            return stage.violated("a client has overfilled its custody".to_owned());
        };
        let entry = message.map(|message| (message, accepted.envelope.clone()));
        session.accepted.push_back(entry);
        if let Some(message) = message {
            stage.checker.accepted(accepted.envelope.clone(), message);
        }
        if accepted.send {
            self.give_home(stage, connection, accepted.envelope, stanza);
        }
        self.arm_session(stage, connection);
    }

    fn give_home(
        &mut self,
        stage: &mut Stage,
        connection: u64,
        envelope: EnvelopeId,
        stanza: Stanza,
    ) {
        let Some(session) = self.bound(connection) else {
            return;
        };
        let (key, user) = (session.core.key().clone(), session.core.user().clone());
        let seq = envelope.seq;
        let sent = self.give_to_home(stage, key, envelope, stanza, &user);
        let now = stage.now;
        if !sent && let Some(session) = self.bound(connection) {
            session.core.refused(now, seq);
        }
    }

    /// What the session wants to be done.
    fn carry_out(&mut self, stage: &mut Stage, id: u64) {
        while let Some(session) = self.bound(id)
            && let Some(step) = session.core.poll_step()
        {
            let (key, user) = (session.core.key().clone(), session.core.user().clone());
            match step {
                Step::Give { envelope, stanza } => self.give_home(stage, id, envelope, stanza),
                Step::Register(snapshot) => {
                    let placed = self.register(stage, key, *snapshot);
                    let now = stage.now;
                    if let Some(session) = self.bound(id) {
                        session.core.registered(now, placed);
                    }
                }
                Step::Report { ids, failed } => self.report(stage, key, &user, ids, failed),
            }
        }
    }

    fn homes_for(&self, user: &str) -> Homes {
        let view = &self.membership.view;
        Homes {
            own: way::home(view, user),
            all: way::homes_of(view),
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
                        .core
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
                    let news = message.zip(envelope);
                    if connection.acks && (token.is_some() || news.is_some()) {
                        session.unacked.push_back(Unacked {
                            delivery,
                            news: news.clone(),
                        });
                    }
                    if session.parked.is_some() {
                        continue;
                    }
                    if !connection.acks {
                        if let Some((message, envelope)) = &news {
                            let client = connection.client;
                            stage.delivered(client, &connection.key, envelope, *message);
                        }
                        if let Some(delivery) = delivery {
                            session.core.delivered(delivery);
                        }
                    }
                    let news = news.filter(|_| connection.acks);
                    connection.tell(stage, Down::Stanza { token, news });
                }
                (State::Bound(session), Item::Receipt(seq)) => {
                    session.core.receipt(seq);
                }
                (State::Bound(session), Item::Retry(seq)) => {
                    session.core.retry(now, seq);
                }
                (State::Bound(session), Item::Resync(home)) => session.core.resync(now, &home),
                (State::Binding { home, .. }, Item::BindResult(Ok(full))) => {
                    let bounds = SessionLimits {
                        custody_stanzas: 1024,
                        repeat_window: Limits::default().repeat_window,
                    };
                    let key = connection.key.clone();
                    let session = Session {
                        core: EdgeSession::new(key, full, bounds, home.take()),
                        accepted: VecDeque::new(),
                        told: Vec::new(),
                        unacked: VecDeque::new(),
                        ask_fence: None,
                        parked: None,
                        claim: None,
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
                    Item::Deliver { .. } | Item::Receipt(_) | Item::Retry(_) | Item::Resync(_),
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
        let mut told = None;
        if may_ack {
            session.ask_fence = None;
            let handled = session.core.handled() as usize;
            if handled > 0 {
                let messages: Vec<_> = session.accepted.drain(..handled).flatten().collect();
                if connection.acks {
                    let ids: Vec<_> = messages.iter().map(|(message, _)| *message).collect();
                    session.told.extend(&ids);
                    stage.acknowledged(index, &messages);
                    told = Some(Down::Handled(ids));
                }
            }
        } else {
            let waits = session.core.waiting() > 0 || session.ask_fence.is_some();
            session.ask_fence = waits.then(|| now + FENCE_PAUSE);
        }
        session.core.report();
        if let Some(told) = told {
            connection.tell(stage, told);
        }
        self.carry_out(stage, id);
        self.hand_over(stage, id);
        self.arm_session(stage, id);
    }

    /// The view changed: does the user have another home?
    pub(crate) fn session_follows(&mut self, stage: &mut Stage, id: u64) {
        let now = stage.now;
        let Some(session) = self.bound(id) else {
            return;
        };
        let user = session.core.user().clone();
        let homes = self.homes_for(user.as_str());
        if let Some(session) = self.bound(id) {
            session.core.follow(now, homes);
        }
        self.carry_out(stage, id);
        self.arm_session(stage, id);
    }

    /// A home asks for the sessions of its users.
    pub(crate) fn resync(&mut self, stage: &mut Stage, home: &NodeId) {
        let keys: Vec<SessionKey> = self.connections.values().map(|c| c.key.clone()).collect();
        for key in keys {
            self.push_item(stage, &key, Item::Resync(home.clone()));
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
                if session.parked.is_some_and(|until| until <= now) {
                    return self.end(stage, id, SessionEndReason::Lost);
                }
                let user = session.core.user().clone();
                let homes = self.homes_for(user.as_str());
                if let Some(session) = self.bound(id) {
                    session.core.timeout(now, || homes);
                }
                self.carry_out(stage, id);
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
                session.core.poll_timeout(),
                session.ask_fence,
                session.parked,
                session.claim.map(|(_, until)| until),
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
                if let Some(delivery) = unacked.delivery {
                    session.core.failed(delivery);
                }
            }
            for item in inbox {
                if let Item::Deliver {
                    delivery: Some(delivery),
                    ..
                } = item
                {
                    session.core.failed(delivery);
                }
            }
            session.core.report();
            let (key, full) = (session.core.key().clone(), session.core.full().clone());
            self.carry_out(stage, id);
            self.session_ended(stage, key, full, reason);
        }
        self.connections.remove(&id);
    }
}
