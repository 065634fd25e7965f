//! Clients: they find a node that takes them, send, ack what they get, and send again on a new
//! connection what was not acknowledged.

use std::collections::VecDeque;
use std::fmt;
use std::time::{Duration, Instant};

use bytes::Bytes;
use entente_home_core::{DeliveryId, EnvelopeId, SessionKey};
use entente_xmpp_core::jid::BareJid;
use rand::Rng;

use super::abroad::ABROAD;
use super::agenda::Event;
use super::node::{DOMAIN, NodeEvent};
use super::stage::Stage;

/// Names a message that a client sends, whatever number of times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub(crate) client: usize,
    pub(crate) number: u32,
}

impl MessageId {
    /// From the stanza's id.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (client, number) = text.strip_prefix('c')?.split_once('-')?;
        Some(Self {
            client: client.parse().ok()?,
            number: number.parse().ok()?,
        })
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}-{}", self.client, self.number)
    }
}

/// From a client to its node.
#[derive(Debug)]
pub(crate) enum Up {
    Connect {
        user: BareJid,
        resource: String,
        acks: bool,
    },
    /// The session of this number shall go on here (XEP-0198 section 5); the client has these.
    Resume(u64, Vec<DeliveryId>),
    Stanza(Bytes, Option<MessageId>),
    Acked(Vec<DeliveryId>),
    Ping,
    /// The connection broke.
    Gone,
    /// It closes in order.
    Bye,
}

/// From a node to its client.
#[derive(Debug)]
pub(crate) enum Down {
    Bound(SessionKey),
    Stanza {
        token: Option<DeliveryId>,
        news: Option<(MessageId, EnvelopeId)>,
    },
    Handled(Vec<MessageId>),
    /// The session goes on; these of its messages were taken over.
    Resumed(Vec<MessageId>),
    NotResumed,
    Pong,
    Closed,
}

/// What happens to a client.
#[derive(Debug)]
pub(crate) enum ClientEvent {
    Connect,
    Down(u64, Down),
    /// The node's process died and its kernel says so.
    Reset(u64),
    Send,
    Ack(u64),
    KeepAlive(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Away,
    Binding,
    Online,
}

/// Messages without an acknowledgement beyond which a client waits.
const MOST_PENDING: usize = 40;
/// A node that says nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(8);
/// Users of the other organisation.
const STRANGERS: usize = 3;
const KEEP_ALIVE: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Client {
    index: usize,
    clients: usize,
    user: BareJid,
    /// It uses stream management.
    pub(crate) acks: bool,
    state: State,
    wanted: bool,
    /// Present connection.
    pub(crate) connection: u64,
    pub(crate) node: usize,
    life: u64,
    key: Option<SessionKey>,
    /// The session that the client asks for on its present connection.
    resuming: bool,
    /// All that came in the session.
    received: Vec<DeliveryId>,
    last_up: Instant,
    heard: Instant,
    next: u32,
    /// Sent, and not acknowledged on any connection, oldest first.
    pending: VecDeque<(MessageId, Bytes)>,
    to_ack: Vec<DeliveryId>,
    ack_armed: bool,
    /// It sends no more new messages.
    pub(crate) silent: bool,
    pace: (u64, u64),
    connecting: bool,
}

impl Client {
    pub(crate) fn new(stage: &mut Stage, index: usize, clients: usize) -> Self {
        let acks = stage.rng.random_bool(0.75);
        if acks {
            stage.checker.sends_again(index);
        }
        let pace = if stage.rng.random_bool(0.3) {
            (20, 300)
        } else {
            (200, 1_500)
        };
        Self {
            index,
            clients,
            user: user(index),
            acks,
            state: State::Away,
            wanted: true,
            connection: 0,
            node: 0,
            life: 0,
            key: None,
            resuming: false,
            received: Vec::new(),
            last_up: stage.now,
            heard: stage.now,
            next: 0,
            pending: VecDeque::new(),
            to_ack: Vec::new(),
            ack_armed: false,
            silent: false,
            pace,
            connecting: false,
        }
    }

    /// Messages that wait for an acknowledgement.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn oldest_pending(&self) -> Option<MessageId> {
        self.pending.front().map(|(message, _)| *message)
    }

    pub(crate) fn is_online(&self) -> bool {
        self.state == State::Online
    }

    /// Closes in order, and stays away.
    pub(crate) fn go_away(&mut self, stage: &mut Stage) {
        self.wanted = false;
        if self.state != State::Away {
            self.up(stage, Up::Bye);
            self.state = State::Away;
        }
        self.key = None;
    }

    /// Wants to be online again.
    pub(crate) fn come_back(&mut self, stage: &mut Stage) {
        self.wanted = true;
        if self.state == State::Away {
            self.connect_in(stage, 10, 500);
        }
    }

    pub(crate) fn handle(&mut self, stage: &mut Stage, event: ClientEvent) {
        match event {
            ClientEvent::Connect => {
                self.connecting = false;
                self.connect(stage);
            }
            ClientEvent::Down(connection, message) => {
                if connection == self.connection && self.state != State::Away {
                    self.heard = stage.now;
                    self.hear(stage, message);
                }
            }
            ClientEvent::Reset(connection) => {
                if connection == self.connection && self.state != State::Away {
                    self.lost(stage);
                }
            }
            ClientEvent::Send => self.send_new(stage),
            ClientEvent::Ack(connection) => {
                if connection == self.connection {
                    self.ack_armed = false;
                    let ids = std::mem::take(&mut self.to_ack);
                    if self.state == State::Online && !ids.is_empty() {
                        self.up(stage, Up::Acked(ids));
                    }
                }
            }
            ClientEvent::KeepAlive(connection) => {
                if connection != self.connection || self.state == State::Away {
                    return;
                }
                if stage.now - self.heard > PATIENCE {
                    stage.note(format!("client {} gives up n{}", self.index, self.node));
                    self.up(stage, Up::Gone);
                    return self.lost(stage);
                }
                self.up(stage, Up::Ping);
                self.later(stage, KEEP_ALIVE, ClientEvent::KeepAlive(connection));
            }
        }
    }

    fn connect_in(&mut self, stage: &mut Stage, low: u64, high: u64) {
        if !std::mem::replace(&mut self.connecting, true) {
            let after = stage.millis(low, high);
            self.later(stage, after, ClientEvent::Connect);
        }
    }

    fn connect(&mut self, stage: &mut Stage) {
        if !self.wanted || self.state != State::Away {
            return;
        }
        let known = self.key.as_ref().filter(|_| {
            let life = stage.lives[self.node];
            self.acks && life.up && life.life == self.life
        });
        let resume = known
            .map(|key| key.conn)
            .filter(|_| stage.rng.random_bool(0.7));
        let node = match resume {
            Some(_) => self.node,
            None => stage.rng.random_range(0..stage.lives.len()),
        };
        if !stage.lives[node].up {
            return self.connect_in(stage, 50, 300);
        }
        self.node = node;
        self.life = stage.lives[node].life;
        self.connection = stage.connection();
        self.state = State::Binding;
        self.heard = stage.now;
        self.last_up = stage.now;
        self.to_ack.clear();
        self.ack_armed = false;
        self.resuming = resume.is_some();
        match resume {
            Some(session) => {
                let has = self.received.clone();
                self.up(stage, Up::Resume(session, has));
            }
            None => self.bind(stage),
        }
        self.later(stage, KEEP_ALIVE, ClientEvent::KeepAlive(self.connection));
    }

    fn bind(&mut self, stage: &mut Stage) {
        self.key = None;
        self.received.clear();
        let connect = Up::Connect {
            user: self.user.clone(),
            resource: format!("r{}", self.index),
            acks: self.acks,
        };
        self.up(stage, connect);
    }

    /// The connection breaks; both ends notice some time.
    pub(crate) fn break_off(&mut self, stage: &mut Stage) {
        if self.state != State::Away {
            self.up(stage, Up::Gone);
            self.lost(stage);
        }
    }

    fn lost(&mut self, stage: &mut Stage) {
        self.state = State::Away;
        if !self.acks {
            // Nobody will ever say what became of these.
            self.pending.clear();
        }
        if self.wanted {
            self.connect_in(stage, 100, 1_500);
        }
    }

    fn hear(&mut self, stage: &mut Stage, message: Down) {
        match message {
            Down::Bound(key) => {
                stage.note(format!(
                    "client {} is online at n{} as {}",
                    self.index, self.node, key.conn
                ));
                self.key = Some(key);
                self.state = State::Online;
                let presence = Bytes::from_static(b"<presence/>");
                self.up(stage, Up::Stanza(presence, None));
                self.give_again(stage);
            }
            Down::Resumed(handled) => {
                stage.note(format!("client {} is back at n{}", self.index, self.node));
                self.resuming = false;
                self.state = State::Online;
                self.handled(&handled);
                self.give_again(stage);
            }
            Down::NotResumed => {
                self.resuming = false;
                self.bind(stage);
            }
            Down::Stanza { token, news } => {
                if let (Some((message, envelope)), Some(key)) = (news, self.key.clone()) {
                    stage.delivered(self.index, &key, &envelope, message);
                }
                if let Some(token) = token {
                    self.received.push(token);
                    self.to_ack.push(token);
                    if !std::mem::replace(&mut self.ack_armed, true) {
                        // Some are slow enough for the home to make sure of the message itself.
                        let after = if stage.rng.random_bool(0.03) {
                            stage.millis(1_500, 4_000)
                        } else {
                            stage.millis(1, 150)
                        };
                        self.later(stage, after, ClientEvent::Ack(self.connection));
                    }
                }
            }
            Down::Handled(messages) => self.handled(&messages),
            Down::Pong => {}
            Down::Closed => {
                self.key = None;
                self.lost(stage);
            }
        }
    }

    fn handled(&mut self, messages: &[MessageId]) {
        self.pending
            .retain(|(pending, _)| !messages.contains(pending));
    }

    /// Says what nobody has acknowledged.
    fn give_again(&mut self, stage: &mut Stage) {
        for (message, bytes) in self.pending.clone() {
            self.give(stage, message, bytes);
        }
    }

    fn send_new(&mut self, stage: &mut Stage) {
        if self.silent {
            return;
        }
        let (low, high) = self.pace;
        let after = stage.millis(low, high);
        self.later(stage, after, ClientEvent::Send);
        if self.state != State::Online || self.pending.len() >= MOST_PENDING {
            return;
        }
        let mut to = stage.rng.random_range(0..self.clients - 1);
        if to >= self.index {
            to += 1;
        }
        self.next += 1;
        let message = MessageId {
            client: self.index,
            number: self.next,
        };
        let to = if stage.rng.random_bool(0.2) {
            let stranger = stage.rng.random_range(0..STRANGERS);
            BareJid::new(&format!("x{stranger}@{ABROAD}")).expect("a fine address")
        } else {
            user(to)
        };
        let bytes = Bytes::from(format!(
            "<message type='chat' to='{to}' id='{message}'><body>hi</body></message>"
        ));
        if self.acks {
            self.pending.push_back((message, bytes.clone()));
        }
        self.give(stage, message, bytes);
    }

    fn give(&mut self, stage: &mut Stage, message: MessageId, bytes: Bytes) {
        stage.checker.sent(message);
        self.up(stage, Up::Stanza(bytes, Some(message)));
    }

    fn up(&mut self, stage: &mut Stage, message: Up) {
        let delay = stage.micros(500, 10_000);
        let at = (stage.now + delay).max(self.last_up);
        self.last_up = at;
        let event = NodeEvent::Client {
            connection: self.connection,
            client: self.index,
            message,
        };
        stage
            .agenda
            .add(at, Event::Node(self.node, self.life, event));
    }

    fn later(&self, stage: &mut Stage, after: Duration, event: ClientEvent) {
        stage
            .agenda
            .add(stage.now + after, Event::Client(self.index, event));
    }
}

fn user(index: usize) -> BareJid {
    BareJid::new(&format!("u{index}@{DOMAIN}")).expect("a fine address")
}
