//! The server's side of a client stream.
//!
//! ```text
//! AwaitingHeader → Unauthenticated ⇄ Exchange (SASL) → AwaitingHeader → Binding → Session → Closed
//!        ↑          └ HandshakingTls ┐
//!        └──────────────────────────-┘
//! ```

mod authentication;
mod farewell;
mod features;
mod interface;
mod negotiation;
mod resumption;
mod session;
mod shared;

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use authentication::Exchange;
use negotiation::{AwaitingHeader, Binding, HandshakingTls, Unauthenticated};
use session::Session;
use shared::Shared;

pub use interface::{
    ClientAnswer, ClientConfig, ClientDeadline, ClientInput, ClientOutput, ClientRequest,
};
pub use resumption::ResumedState;

use super::CloseReason;
use super::wire::stream_error;
use crate::error::{StreamCondition, StreamError};
use crate::management::Unacked;

/// The stream of one client, as the server sees it.
#[derive(Debug)]
pub struct ClientStream {
    shared: Shared,
    state: State,
}

/// One type per state; a transition consumes the old one.
#[derive(Debug)]
enum State {
    AwaitingHeader(AwaitingHeader),
    Unauthenticated(Unauthenticated),
    HandshakingTls(HandshakingTls),
    Exchange(Box<Exchange>),
    Binding(Binding),
    Session(Box<Session>),
    Closed(Closed),
}

/// The stream ended; what is left of its session waits to be collected.
#[derive(Debug, Default)]
struct Closed {
    session: Option<Box<Session>>,
    /// Stanzas that came to be sent after the end, or found the queue full.
    returned: Vec<Unacked>,
}

impl ClientStream {
    /// A stream for a connection that was just accepted. `seed` are 32 random bytes for this
    /// stream alone: nonces and ids come from them.
    #[must_use]
    pub fn new(config: Arc<ClientConfig>, seed: &[u8; 32], now: Instant) -> Self {
        Self {
            shared: Shared::new(config, seed, now),
            state: State::AwaitingHeader(AwaitingHeader::first()),
        }
    }

    /// Tells the stream what happened.
    pub fn handle_input(&mut self, now: Instant, input: ClientInput) {
        self.shared.wire.now = now;
        match input {
            ClientInput::Bytes(bytes) => self.receive(bytes),
            ClientInput::ResumptionId(id) => {
                if let State::Session(session) = &mut self.state {
                    session.name(id);
                }
            }
            ClientInput::Send { stanza, token } => self.send(Unacked { stanza, token }),
            ClientInput::Handled(count) => {
                if let State::Session(session) = &mut self.state {
                    session.handled(count, &mut self.shared);
                }
                self.take_leave();
            }
            ClientInput::TlsEstablished(channel) => self.step(|state, shared| match state {
                State::HandshakingTls(handshaking) => handshaking.established(channel, shared),
                // Direct TLS: the handshake came before the first header.
                State::AwaitingHeader(first) if first.is_first() => {
                    shared.tls = Some(channel);
                    State::AwaitingHeader(first)
                }
                other => other,
            }),
            ClientInput::Answer(id, answer) => self.step(|state, shared| match state {
                State::Exchange(exchange) => exchange.on_answer(id, answer, shared),
                State::Binding(binding) => binding.on_answer(id, answer, shared),
                other => other,
            }),
            ClientInput::Close(None) => self.step(|state, shared| match state {
                State::Session(session) => session.close(shared),
                State::Closed(closed) => State::Closed(closed),
                _ => shared.close(),
            }),
            ClientInput::Close(Some(error)) => self.fail(Box::new(error)),
            ClientInput::Leave(error) => match &mut self.state {
                State::Session(session) => {
                    session.leave(Box::new(error), &self.shared);
                    self.take_leave();
                }
                _ => self.fail(Box::new(error)),
            },
            ClientInput::Eof => self.end(CloseReason::Eof),
            ClientInput::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<ClientOutput> {
        loop {
            if let Some(output) = self.shared.outputs.pop_front() {
                return Some(output);
            }
            if !self.reads() {
                return None;
            }
            let frame = match self.shared.wire.next_frame() {
                Ok(Some(frame)) => frame,
                // The last frame may have been the answer that a farewell waits for.
                Ok(None) if self.take_leave() => continue,
                Ok(None) => return None,
                Err(error) => {
                    self.fail(error);
                    continue;
                }
            };
            // The path of every stanza: no state changes hands.
            if let State::Session(session) = &mut self.state {
                match session.on_frame(frame, &mut self.shared) {
                    Ok(session::Next::Output(output)) => return Some(output),
                    Ok(session::Next::Go) => {}
                    Ok(session::Next::End(reason)) => self.end(reason),
                    Err(error) => self.fail(error),
                }
                continue;
            }
            self.step(|state, shared| match state {
                State::AwaitingHeader(state) => state.on_frame(frame, shared),
                State::Unauthenticated(state) => state.on_frame(frame, shared),
                State::Exchange(state) => state.on_frame(frame, shared),
                State::Binding(state) => state.on_frame(frame, shared),
                other => other,
            });
        }
    }

    /// Appends the bytes to write to `buffer`, with a question for acknowledgement where one is
    /// due. To be called once per wake-up, after the outputs were drained.
    pub fn take_transmit(&mut self, buffer: &mut BytesMut) {
        if let State::Session(session) = &mut self.state {
            session.before_write(&mut self.shared);
        }
        self.shared.wire.take(buffer);
    }

    /// When to hand in [`ClientInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// The next deadline, and what it is for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Instant, ClientDeadline)> {
        match &self.state {
            State::Closed(_) => None,
            State::Session(session) => session.next_deadline(&self.shared),
            _ => Some((
                self.shared.authentication_deadline,
                ClientDeadline::Authentication,
            )),
        }
    }

    /// Whether more bytes should be read from the socket: not while a request is open. The shell
    /// also stops while [`Self::unhandled`] is above its own bound.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        self.reads()
    }

    /// Whether nothing is taken from the client any more: outputs bring no stanzas, and reading on
    /// is only for its acknowledgements.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        match &self.state {
            State::Session(session) => session.is_leaving(),
            State::Closed(_) => true,
            _ => false,
        }
    }

    /// Whether the client acknowledges stanzas: then [`ClientOutput::Delivered`] reports each
    /// token; otherwise a stanza counts as delivered when the shell has written it.
    #[must_use]
    pub fn sm_enabled(&self) -> bool {
        matches!(&self.state, State::Session(session) if session.acks().is_some())
    }

    /// Stanzas given out that have no receipt yet; 0 without stream management.
    #[must_use]
    pub fn unhandled(&self) -> u64 {
        match &self.state {
            State::Session(session) => session.acks().map_or(0, super::acks::Acks::unhandled),
            _ => 0,
        }
    }

    /// Takes what was sent and never acknowledged, oldest first, for another route. On a live
    /// stream it gives nothing.
    pub fn unacked(&mut self) -> Vec<Unacked> {
        let State::Closed(closed) = &mut self.state else {
            return Vec::new();
        };
        let mut unacked = closed
            .session
            .take()
            .map(|session| session.into_unacked())
            .unwrap_or_default();
        unacked.append(&mut closed.returned);
        unacked
    }

    /// Turns a dead stream whose client asked for resumption into what a new stream can go on
    /// with. A stream that the client closed in order, or that we ended with an error about its
    /// behaviour, cannot be resumed.
    ///
    /// # Errors
    /// Gives the stream back when it cannot be resumed; then take [`Self::unacked`].
    pub fn park(mut self) -> Result<ResumedState, Box<Self>> {
        if let State::Closed(closed) = &mut self.state
            && let Some(session) = closed.session.take()
        {
            match session.park() {
                Ok(mut parked) => {
                    for unacked in closed.returned.drain(..) {
                        parked.sent.push_above_limits(unacked);
                    }
                    return Ok(parked);
                }
                Err(session) => closed.session = Some(session),
            }
        }
        Err(Box::new(self))
    }

    fn reads(&self) -> bool {
        match &self.state {
            State::HandshakingTls(_) | State::Closed(_) => false,
            State::Exchange(exchange) => !exchange.is_waiting(),
            State::Binding(binding) => !binding.is_waiting(),
            _ => true,
        }
    }

    fn receive(&mut self, bytes: BytesMut) {
        if matches!(self.state, State::Closed(_) | State::HandshakingTls(_)) {
            return;
        }
        self.shared.wire.receive(bytes);
        if !matches!(self.state, State::Session(_)) && self.shared.wire.is_flooded() {
            self.fail(stream_error(
                StreamCondition::PolicyViolation,
                "too much sent ahead",
            ));
        }
    }

    fn send(&mut self, unacked: Unacked) {
        match &mut self.state {
            State::Session(session) => {
                let Err(returned) = session.send(unacked, &mut self.shared) else {
                    return;
                };
                self.fail(stream_error(
                    StreamCondition::ResourceConstraint,
                    "too many stanzas wait for acknowledgement",
                ));
                self.keep(returned);
            }
            _ => self.keep(unacked),
        }
    }

    /// Keeps what can no longer be sent for [`Self::unacked`].
    fn keep(&mut self, unacked: Unacked) {
        if let State::Closed(closed) = &mut self.state {
            closed.returned.push(unacked);
        } else {
            debug_assert!(false, "a stanza was sent before the session began");
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((at, deadline)) = self.next_deadline() {
            if at > now {
                break;
            }
            match (deadline, &mut self.state) {
                (ClientDeadline::Probe, State::Session(session)) => {
                    session.probe(&mut self.shared);
                }
                (ClientDeadline::AckAnswer, State::Session(session)) => {
                    session.answer(&mut self.shared);
                }
                (ClientDeadline::Close, _) => self.end(CloseReason::CloseTimeout),
                (ClientDeadline::Farewell, _) => {
                    self.take_leave();
                }
                _ => self.fail(StreamCondition::ConnectionTimeout.into()),
            }
        }
    }

    /// The next step of a farewell; whether that was the last.
    fn take_leave(&mut self) -> bool {
        let State::Session(session) = &mut self.state else {
            return false;
        };
        let Some(error) = session.take_leave(&mut self.shared) else {
            return false;
        };
        self.fail(error);
        true
    }

    fn fail(&mut self, error: Box<StreamError>) {
        if matches!(self.state, State::Closed(_)) {
            return;
        }
        self.shared
            .wire
            .put_error(&error, self.shared.domain.as_deref());
        self.end(CloseReason::Error(error));
    }

    fn end(&mut self, reason: CloseReason) {
        self.step(|state, shared| match state {
            State::Closed(closed) => State::Closed(closed),
            State::Session(session) => {
                shared
                    .outputs
                    .push_back(ClientOutput::Closed(reason.clone()));
                State::Closed(Closed {
                    session: Some(session.ended(&reason)),
                    returned: Vec::new(),
                })
            }
            _ => shared.end(reason),
        });
    }

    fn step(&mut self, transition: impl FnOnce(State, &mut Shared) -> State) {
        let state = std::mem::replace(&mut self.state, State::Closed(Closed::default()));
        self.state = transition(state, &mut self.shared);
    }
}
