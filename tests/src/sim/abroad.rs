//! Another organisation's server, and each node's stream to it: the real queue of a pair of domains,
//! and the rules of the loop around it. The server acknowledges (XEP-0198).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use entente_fabric_core::outbound::{OutboundItem, OutboundQueue, Pushed, QueueBounds, Waiting};
use entente_home_core::{EnvelopeId, Input};
use entente_xmpp_core::error::{StanzaCondition, StanzaError};
use entente_xmpp_core::jid::Jid;
use entente_xmpp_core::stanza::Stanza;

use super::agenda::Event;
use super::client::MessageId;
use super::frame::Frame;
use super::membership::node_index;
use super::node::{Node, NodeEvent};
use super::stage::Stage;

/// Its domain.
pub(crate) const ABROAD: &str = "far.example";
/// Shorter than in the program, so that it happens.
const BOUNDS: QueueBounds = QueueBounds {
    stanzas: 1_000,
    bytes: 1_000_000,
    wait: Duration::from_secs(20),
};
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
const SHORT_LIFE: Duration = Duration::from_secs(2);

/// The other organisation's server.
pub(crate) struct Abroad {
    pub(crate) up: bool,
    /// Streams that stand, with the node and its life at the other end, and when the last stanza arrives.
    streams: BTreeMap<u64, (usize, u64, Instant)>,
    next: u64,
}

impl Abroad {
    pub(crate) fn new() -> Self {
        Self {
            up: true,
            streams: BTreeMap::new(),
            next: 0,
        }
    }
}

/// A stanza on its way to it.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    stream: u64,
    token: u64,
    message: Option<(MessageId, usize)>,
}

/// What happens to a node's stream.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    /// The attempt to connect is over.
    Connected(u64, bool),
    Acked(u64, u64),
    Broken(u64),
    /// The pause is over.
    Again(u64),
    /// Something may have waited too long.
    Expire,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Connecting(u64),
    Up(u64, Instant),
    Pause(u64),
}

/// A node's stream, with what waits for it.
pub(crate) struct Outbound {
    queue: OutboundQueue,
    state: State,
    pause: Duration,
}

impl Outbound {
    pub(crate) fn new() -> Self {
        Self {
            queue: OutboundQueue::new(BOUNDS),
            state: State::Idle,
            pause: FIRST_PAUSE,
        }
    }

    /// Nothing waits, and nothing is without an acknowledgement.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

impl Node {
    /// Takes a stanza for the other organisation.
    pub(crate) fn submit(&mut self, stage: &mut Stage, item: OutboundItem) {
        match self.outbound.queue.push(stage.now, item) {
            Pushed::Queued => {
                stage.at(
                    self.index,
                    BOUNDS.wait,
                    NodeEvent::Abroad(StreamEvent::Expire),
                );
                match self.outbound.state {
                    State::Idle => self.connect_abroad(stage),
                    State::Up(..) => self.pump_abroad(stage),
                    State::Connecting(_) | State::Pause(_) => {}
                }
            }
            Pushed::Pending => {}
            Pushed::Done(envelope) => self.taken_abroad(stage, envelope),
            Pushed::Early(envelope) => self.retry(envelope),
            Pushed::Full(OutboundItem { envelope, stanza }) => {
                self.bounce(stage, envelope, &stanza);
            }
        }
        self.flush_receipts(stage);
    }

    pub(crate) fn abroad(&mut self, stage: &mut Stage, event: StreamEvent) {
        let now = stage.now;
        match (self.outbound.state, event) {
            (State::Connecting(known), StreamEvent::Connected(stream, up)) if known == stream => {
                if up {
                    let life = stage.lives[self.index].life;
                    let ours = (self.index, life, now);
                    stage.abroad.streams.insert(stream, ours);
                    self.outbound.state = State::Up(stream, now);
                    self.pump_abroad(stage);
                } else {
                    // No target works: everything that waits is answered.
                    let waiting = self.outbound.queue.give_up();
                    self.bounce_all(stage, waiting);
                    self.back_off(stage, stream);
                }
            }
            (State::Up(known, _), StreamEvent::Acked(stream, token)) if known == stream => {
                if let Some(envelope) = self.outbound.queue.done(token) {
                    self.taken_abroad(stage, envelope);
                }
                self.pump_abroad(stage);
            }
            (State::Up(known, since), StreamEvent::Broken(stream)) if known == stream => {
                let given_up = self.outbound.queue.requeue(now);
                self.bounce_all(stage, given_up);
                if now - since >= SHORT_LIFE {
                    self.outbound.pause = FIRST_PAUSE;
                    self.outbound.state = State::Idle;
                    self.connect_if_needed(stage);
                } else if self.outbound.queue.has_waiting() {
                    self.back_off(stage, stream);
                } else {
                    self.outbound.state = State::Idle;
                }
            }
            (State::Pause(known), StreamEvent::Again(stream)) if known == stream => {
                self.outbound.state = State::Idle;
                self.connect_if_needed(stage);
            }
            (_, StreamEvent::Expire) => {
                let late = self.outbound.queue.expired(now);
                self.bounce_all(stage, late);
                if let Some(at) = self.outbound.queue.next_deadline() {
                    stage.at(
                        self.index,
                        at.saturating_duration_since(now),
                        NodeEvent::Abroad(StreamEvent::Expire),
                    );
                }
            }
            _ => {}
        }
        self.flush_receipts(stage);
    }

    fn connect_if_needed(&mut self, stage: &mut Stage) {
        if self.outbound.queue.has_waiting() {
            self.connect_abroad(stage);
        }
    }

    fn connect_abroad(&mut self, stage: &mut Stage) {
        stage.abroad.next += 1;
        let stream = stage.abroad.next;
        self.outbound.state = State::Connecting(stream);
        let after = stage.millis(5, 100);
        let up = stage.abroad.up;
        let event = NodeEvent::Abroad(StreamEvent::Connected(stream, up));
        stage.at(self.index, after, event);
    }

    fn back_off(&mut self, stage: &mut Stage, stream: u64) {
        let pause = self.outbound.pause.as_millis() as u64;
        self.outbound.pause = (self.outbound.pause * 2).min(LONGEST_PAUSE);
        self.outbound.state = State::Pause(stream);
        let after = stage.millis(pause / 2, pause);
        stage.at(
            self.index,
            after,
            NodeEvent::Abroad(StreamEvent::Again(stream)),
        );
    }

    fn pump_abroad(&mut self, stage: &mut Stage) {
        let State::Up(stream, _) = self.outbound.state else {
            return;
        };
        while let Some((token, bytes)) = self.outbound.queue.take_next() {
            let stanza = Stanza::parse(bytes).expect("it was read before");
            let recipient = stanza
                .to()
                .and_then(|to| to.node()?.strip_prefix('x')?.parse().ok());
            let message = stanza.id().and_then(|id| MessageId::parse(&id));
            let arrival = Arrival {
                stream,
                token,
                message: message.zip(recipient),
            };
            let after = stage.micros(500, 40_000);
            let Some((_, _, last)) = stage.abroad.streams.get_mut(&stream) else {
                return;
            };
            *last = (stage.now + after).max(*last);
            stage.agenda.add(*last, Event::Abroad(arrival));
        }
    }

    fn taken_abroad(&mut self, stage: &mut Stage, envelope: EnvelopeId) {
        stage.receipted(self.index, &envelope);
        self.receipt(envelope);
    }

    fn bounce_all(&mut self, stage: &mut Stage, waiting: Vec<Waiting>) {
        for waiting in waiting {
            self.bounce(stage, waiting.envelope, &waiting.stanza);
        }
    }

    /// The error to the sender, then the receipt.
    fn bounce(&mut self, stage: &mut Stage, envelope: Option<EnvelopeId>, stanza: &Stanza) {
        if let Some(message) = stanza.id().and_then(|id| MessageId::parse(&id)) {
            let life = (self.index, self.generation);
            stage.bounced_abroad(life, envelope.as_ref(), message);
        }
        let error = StanzaError::new(StanzaCondition::RemoteServerTimeout);
        if let Some(stanza) = stanza.error_reply(&error, false)
            && let Some(user) = stanza.to().map(Jid::to_bare)
        {
            match self.home(user.as_str()) {
                Some((id, _)) if id == self.id => {
                    self.queue_for_inner_lane(stage, user.as_str(), Input::Bounced { stanza });
                }
                Some((id, _)) => {
                    let frame = Frame::ToUser {
                        envelope: None,
                        stanza,
                        hops: 1,
                    };
                    // A full or broken way loses the error; the receipt says that there was one.
                    let _sent = self.send(stage, node_index(id.as_str()), frame);
                }
                None => {}
            }
        }
        if let Some(envelope) = envelope {
            self.taken_abroad(stage, envelope);
        }
    }
}

impl Stage {
    /// A stanza arrives at the other organisation's server.
    pub(crate) fn arrives_abroad(&mut self, arrival: Arrival) {
        let Some(&(node, life, _)) = self.abroad.streams.get(&arrival.stream) else {
            return;
        };
        if let Some((message, recipient)) = arrival.message {
            self.delivered_abroad(message, recipient);
        }
        let after = self.micros(500, 80_000);
        let event = NodeEvent::Abroad(StreamEvent::Acked(arrival.stream, arrival.token));
        self.agenda
            .add(self.now + after, Event::Node(node, life, event));
    }

    /// The server goes or comes; its streams break when it goes.
    pub(crate) fn abroad_is(&mut self, up: bool) {
        self.abroad.up = up;
        if !up {
            self.break_abroad();
        }
    }

    /// Every stream to the server breaks.
    pub(crate) fn break_abroad(&mut self) {
        for (stream, (node, life, _)) in std::mem::take(&mut self.abroad.streams) {
            let after = self.millis(1, 50);
            let event = NodeEvent::Abroad(StreamEvent::Broken(stream));
            self.agenda
                .add(self.now + after, Event::Node(node, life, event));
        }
    }
}
