//! The receiving side of a stream between servers.
//!
//! ```text
//! AwaitingHeader → Greeting (policy, certificate) → Open ┬→ HandshakingTls → AwaitingHeader
//!                                                        ├→ (EXTERNAL)     → AwaitingHeader
//!                                                        └→ Closed
//! ```
//! `Open` is one state whether or not a domain is authenticated, because dialback authenticates
//! pairs one by one while stanzas of others already flow.

mod features;
mod greeting;
mod interface;
mod open;
mod pairs;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use greeting::{AwaitingHeader, Greeting};
use open::Open;
use pairs::Pairs;

pub use interface::{
    InboundAnswer, InboundConfig, InboundDeadline, InboundInput, InboundOutput, InboundRequest,
};

use super::acks::Acks;
use super::flow::Flow;
use super::wire::{Wire, stream_error};
use super::{CloseReason, PeerLimits, RequestId, earliest};
use crate::error::{StreamCondition, StreamError};
use crate::management::Unacked;
use crate::writer::StreamKind;

/// A stream that another server opened to us.
#[derive(Debug)]
pub struct InboundStream {
    shared: Shared,
    state: State,
}

#[derive(Debug)]
enum State {
    AwaitingHeader(AwaitingHeader),
    Greeting(Greeting),
    Open(Open),
    HandshakingTls,
    Closed,
}

/// What all states share.
#[derive(Debug)]
struct Shared {
    config: Arc<InboundConfig>,
    wire: Wire,
    outputs: VecDeque<InboundOutput>,
    /// The domain of ours in the header.
    local: Arc<str>,
    /// The peer's domain in the header.
    remote: Option<Arc<str>>,
    tls: bool,
    /// Bidirectional by the peer's request.
    bidi: bool,
    /// What the peer announced with that request.
    peer_limits: PeerLimits,
    /// When we last wrote anything.
    last_sent: Instant,
    pairs: Pairs,
    flow: Flow,
    /// SASL attempts that failed.
    failures: u8,
    authentication_deadline: Instant,
    last_request: u64,
}

impl Shared {
    fn request(&mut self, request: InboundRequest) -> RequestId {
        let id = RequestId::next(&mut self.last_request);
        self.outputs.push_back(InboundOutput::Request(id, request));
        id
    }

    fn fail(&mut self, error: impl Into<Box<StreamError>>) -> State {
        let error = error.into();
        self.wire.put_error(&error, Some(&self.local));
        self.end(CloseReason::Error(error))
    }

    fn end(&mut self, reason: CloseReason) -> State {
        self.outputs.push_back(InboundOutput::Closed(reason));
        State::Closed
    }

    fn close(&mut self) -> State {
        self.wire.put_close();
        self.end(CloseReason::Clean)
    }

    fn extend_authentication(&mut self) {
        self.authentication_deadline = self.wire.now + self.config.authentication_timeout;
    }
}

impl InboundStream {
    /// A stream for a connection that was just accepted. `seed` are 32 random bytes for this
    /// stream alone.
    ///
    /// # Panics
    /// If the configuration names no domain.
    #[must_use]
    pub fn new(config: Arc<InboundConfig>, seed: &[u8; 32], now: Instant) -> Self {
        let local = config.domains.first().expect("a server serves a domain");
        let shared = Shared {
            wire: Wire::new(StreamKind::Server, config.limits_unauthenticated, seed, now),
            outputs: VecDeque::new(),
            local: Arc::clone(local),
            remote: None,
            tls: false,
            bidi: false,
            peer_limits: PeerLimits::default(),
            last_sent: now,
            pairs: Pairs::default(),
            flow: Flow::default(),
            failures: 0,
            authentication_deadline: now + config.authentication_timeout,
            last_request: 0,
            config,
        };
        Self {
            shared,
            state: State::AwaitingHeader(AwaitingHeader::default()),
        }
    }

    /// Tells the stream what happened.
    pub fn handle_input(&mut self, now: Instant, input: InboundInput) {
        self.shared.wire.now = now;
        match input {
            InboundInput::Bytes(bytes) => self.receive(bytes),
            InboundInput::TlsEstablished => self.step(|state, shared| match state {
                State::HandshakingTls | State::AwaitingHeader(_) => {
                    shared.tls = true;
                    State::AwaitingHeader(AwaitingHeader::default())
                }
                other => other,
            }),
            InboundInput::Answer(id, answer) => self.step(|state, shared| match state {
                State::Greeting(greeting) => greeting.on_answer(id, answer, shared),
                State::Open(open) => open.on_answer(id, answer, shared),
                // While a new stream begins, verifications of the old one go on.
                other => other,
            }),
            InboundInput::Send { stanza, token } => self.send(Unacked { stanza, token }),
            InboundInput::Handled(count) => {
                self.shared.flow.handled(count, &mut self.shared.wire);
                self.take_leave();
            }
            InboundInput::Leave => {
                let shared = &mut self.shared;
                let until = shared.wire.now + shared.config.farewell_receipts;
                shared.flow.leaving.get_or_insert(until);
                self.take_leave();
            }
            InboundInput::Close(None) => self.close(),
            InboundInput::Close(Some(error)) => self.fail(Box::new(error)),
            InboundInput::Eof => self.end(CloseReason::Eof),
            InboundInput::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<InboundOutput> {
        loop {
            if let Some(output) = self.shared.outputs.pop_front() {
                return Some(output);
            }
            if !self.wants_bytes() {
                return None;
            }
            let frame = match self.shared.wire.next_frame() {
                Ok(frame) => frame?,
                Err(error) => {
                    self.fail(error);
                    continue;
                }
            };
            self.step(|state, shared| match state {
                State::AwaitingHeader(state) => state.on_frame(frame, shared),
                State::Open(state) => state.on_frame(frame, shared),
                other => other,
            });
            self.take_leave();
        }
    }

    /// Appends the bytes to write to `buffer`; once per wake-up, after the outputs were drained.
    pub fn take_transmit(&mut self, buffer: &mut BytesMut) {
        if !matches!(self.state, State::Closed) {
            self.shared.flow.before_write(&mut self.shared.wire);
        }
        if !self.shared.wire.out.is_empty() {
            self.shared.last_sent = self.shared.wire.now;
        }
        self.shared.wire.take(buffer);
    }

    /// When to hand in [`InboundInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// The next deadline, and what it is for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Instant, InboundDeadline)> {
        let shared = &self.shared;
        if matches!(self.state, State::Closed) {
            return None;
        }
        if let Some(closing) = shared.flow.closing {
            return Some((closing, InboundDeadline::Close));
        }
        if shared.pairs.is_empty() {
            return Some((
                shared.authentication_deadline,
                InboundDeadline::Authentication,
            ));
        }
        let acks = shared.flow.acks.as_ref();
        earliest([
            (
                Some(shared.wire.heard + shared.config.idle_timeout),
                InboundDeadline::Idle,
            ),
            (shared.flow.leaving, InboundDeadline::Farewell),
            (
                shared.peer_limits.keepalive(shared.last_sent),
                InboundDeadline::Keepalive,
            ),
            (
                acks.and_then(Acks::answer_deadline),
                InboundDeadline::AckAnswer,
            ),
            (
                acks.and_then(Acks::asked)
                    .map(|asked| asked + shared.config.ack_timeout),
                InboundDeadline::AckWait,
            ),
        ])
    }

    /// Whether more bytes should be read from the socket.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        matches!(self.state, State::AwaitingHeader(_) | State::Open(_))
    }

    /// Whether the stream is over: what [`Self::poll_output`] still gives says so.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed)
    }

    /// Whether stanzas can be sent now: the peer asked for a bidirectional stream, has authenticated,
    /// and nobody is about to close.
    #[must_use]
    pub fn is_sendable(&self) -> bool {
        let shared = &self.shared;
        let ending = shared.flow.closing.is_some() || shared.flow.leaving.is_some();
        let open = matches!(self.state, State::Open(_));
        open && shared.bidi && !shared.pairs.is_empty() && !ending
    }

    /// What the peer announced that it accepts: what is larger must not be sent here.
    #[must_use]
    pub fn peer_limits(&self) -> PeerLimits {
        self.shared.peer_limits
    }

    /// Whether the peer acknowledges stanzas (on a bidirectional stream).
    #[must_use]
    pub fn sm_enabled(&self) -> bool {
        self.shared.flow.acks.is_some()
    }

    /// Stanzas given out that have no receipt yet; 0 without stream management.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        self.shared.flow.unhandled()
    }

    /// After the end: what was sent and never acknowledged, and what came too late to be sent.
    pub fn unacked(&mut self) -> Vec<Unacked> {
        match self.state {
            State::Closed => self.shared.flow.take_unacked(),
            _ => Vec::new(),
        }
    }

    fn receive(&mut self, bytes: BytesMut) {
        if matches!(self.state, State::Closed | State::HandshakingTls) {
            return;
        }
        self.shared.wire.receive(bytes);
        if self.shared.pairs.is_empty() && self.shared.wire.is_flooded() {
            self.fail(stream_error(
                StreamCondition::PolicyViolation,
                "too much sent ahead",
            ));
        }
    }

    fn send(&mut self, unacked: Unacked) {
        let shared = &mut self.shared;
        let sendable =
            matches!(self.state, State::Open(_)) && shared.bidi && !shared.pairs.is_empty();
        if !sendable {
            return shared.flow.keep(unacked);
        }
        if let Err(unacked) = shared.flow.send(unacked, &mut shared.wire) {
            shared.flow.keep(unacked);
            self.fail(stream_error(
                StreamCondition::ResourceConstraint,
                "too many stanzas wait for acknowledgement",
            ));
        }
    }

    fn close(&mut self) {
        self.step(|state, shared| match state {
            State::Closed => State::Closed,
            State::Open(open) if !shared.pairs.is_empty() => {
                let until = shared.wire.now + shared.config.close_timeout;
                shared.flow.close(&mut shared.wire, until);
                State::Open(open)
            }
            _ => shared.close(),
        });
    }

    fn take_leave(&mut self) {
        if self.shared.flow.may_leave(self.shared.wire.now) {
            self.close();
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((at, deadline)) = self.next_deadline() {
            if at > now {
                break;
            }
            match deadline {
                InboundDeadline::AckAnswer => self.shared.flow.answer(&mut self.shared.wire),
                InboundDeadline::Close => self.end(CloseReason::CloseTimeout),
                // Peers open a new stream when they need one: not an error.
                InboundDeadline::Idle | InboundDeadline::Farewell => self.close(),
                InboundDeadline::Keepalive => {
                    self.shared.wire.put(" ");
                    self.shared.last_sent = now;
                }
                InboundDeadline::Authentication | InboundDeadline::AckWait => {
                    self.fail(StreamCondition::ConnectionTimeout.into());
                }
            }
        }
    }

    fn fail(&mut self, error: Box<StreamError>) {
        self.step(|state, shared| match state {
            State::Closed => State::Closed,
            _ => shared.fail(error),
        });
    }

    fn end(&mut self, reason: CloseReason) {
        self.step(|state, shared| match state {
            State::Closed => State::Closed,
            _ => shared.end(reason),
        });
    }

    fn step(&mut self, transition: impl FnOnce(State, &mut Shared) -> State) {
        let state = std::mem::replace(&mut self.state, State::Closed);
        self.state = transition(state, &mut self.shared);
    }
}
