//! The initiating side of a stream between servers, for one pair of domains.
//!
//! ```text
//! Connecting → AwaitingHeader → AwaitingFeatures ┬→ AwaitingProceed → HandshakingTls → AwaitingHeader
//!                                                ├→ AwaitingExternal ┬→ AwaitingHeader → Established
//!                                                │        (failure)  ↓
//!                                                ├→ AwaitingDialback ─→ Established
//!                                                └→ Ready (only to verify keys)
//! ```

mod established;
mod interface;
mod negotiation;
mod verification;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;

use negotiation::Stage;
use verification::Verifications;

pub use interface::{
    OutboundConfig, OutboundDeadline, OutboundError, OutboundInput, OutboundOutput, Purpose,
};

use super::acks::Acks;
use super::flow::Flow;
use super::wire::{Wire, stream_error};
use super::{CloseReason, PeerLimits, earliest};
use crate::error::{StreamCondition, StreamError};
use crate::framer::Frame;
use crate::management::Unacked;
use crate::ns;
use crate::sasl::SaslCondition;
use crate::writer::StreamKind;

/// A stream that we open to another server.
#[derive(Debug)]
pub struct OutboundStream {
    shared: Shared,
    state: State,
}

/// Where the negotiation stands. What one state leaves for later ones is in [`Shared`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    AwaitingHeader(Stage),
    AwaitingFeatures(Stage),
    AwaitingProceed,
    HandshakingTls,
    AwaitingExternal,
    AwaitingDialback,
    /// Keys can be verified; the stream is not authenticated.
    Ready,
    Established,
    Closed,
}

/// What all states share.
#[derive(Debug)]
struct Shared {
    config: Arc<OutboundConfig>,
    wire: Wire,
    outputs: VecDeque<OutboundOutput>,
    /// The id that the peer gave the stream.
    id: String,
    tls: bool,
    /// Whether we asked for a bidirectional stream.
    bidi: bool,
    sm_offered: bool,
    /// What the peer announced last.
    peer_limits: PeerLimits,
    /// `<enable/>` is out and not yet answered.
    sm_pending: bool,
    /// How the peer refused EXTERNAL.
    external_refused: Option<SaslCondition>,
    verifications: Verifications,
    flow: Flow,
    negotiation_deadline: Instant,
    /// When a stanza last went either way.
    last_stanza: Instant,
    /// When we last wrote anything.
    last_sent: Instant,
}

impl Shared {
    /// The stream did not come up.
    fn give_up(&mut self, error: OutboundError) -> State {
        self.wire.put_close();
        self.verifications.abandon(&mut self.outputs);
        self.outputs.push_back(OutboundOutput::Failed(error));
        State::Closed
    }

    /// The stream ends; what that means depends on how far it came.
    fn end(&mut self, state: State, reason: CloseReason) -> State {
        if matches!(state, State::Established | State::Ready) {
            self.verifications.abandon(&mut self.outputs);
            self.outputs.push_back(OutboundOutput::Closed(reason));
            return State::Closed;
        }
        // COMPAT: with TLS 1.3 a peer that rejects our certificate says so only after the
        // handshake: the connection ends where its header is awaited.
        let certificate_rejected = self.config.external
            && state == State::AwaitingHeader(Stage::Secured)
            && reason == CloseReason::Eof;
        let refused = match self.external_refused {
            None if certificate_rejected => Some(SaslCondition::NotAuthorized),
            refused => refused,
        };
        let error = match (refused, reason) {
            (
                Some(condition),
                CloseReason::Eof | CloseReason::Clean | CloseReason::PeerError(_),
            ) => OutboundError::ExternalRefused(condition),
            (None, CloseReason::Eof | CloseReason::Clean) => OutboundError::ConnectionLost,
            (None, CloseReason::PeerError(error)) => OutboundError::PeerError(error),
            (_, CloseReason::Error(error)) => OutboundError::Protocol(error),
            (_, CloseReason::CloseTimeout) => OutboundError::Timeout,
        };
        self.give_up(error)
    }

    fn fail(&mut self, state: State, error: impl Into<Box<StreamError>>) -> State {
        let error = error.into();
        if !matches!(state, State::Connecting | State::HandshakingTls) {
            self.wire.put_error(&error, Some(&self.config.local));
        }
        self.end(state, CloseReason::Error(error))
    }
}

impl OutboundStream {
    /// A stream that is about to be connected. `seed` are 32 random bytes for this stream alone.
    #[must_use]
    pub fn new(config: Arc<OutboundConfig>, seed: &[u8; 32], now: Instant) -> Self {
        let shared = Shared {
            wire: Wire::new(StreamKind::Server, config.limits_unauthenticated, seed, now),
            outputs: VecDeque::new(),
            id: String::new(),
            tls: false,
            bidi: false,
            sm_offered: false,
            peer_limits: PeerLimits::default(),
            sm_pending: false,
            external_refused: None,
            verifications: Verifications::default(),
            flow: Flow::default(),
            negotiation_deadline: now + config.negotiation_timeout,
            last_stanza: now,
            last_sent: now,
            config,
        };
        Self {
            shared,
            state: State::Connecting,
        }
    }

    /// Tells the stream what happened.
    pub fn handle_input(&mut self, now: Instant, input: OutboundInput) {
        let shared = &mut self.shared;
        shared.wire.now = now;
        match input {
            OutboundInput::Connected if self.state == State::Connecting => {
                self.state = shared.open(Stage::Plain);
            }
            OutboundInput::Connected => {}
            OutboundInput::TlsEstablished { certificate_valid } => {
                if matches!(self.state, State::Connecting | State::HandshakingTls) {
                    self.state = shared.tls_established(certificate_valid);
                }
            }
            OutboundInput::Bytes(bytes) => self.receive(bytes),
            OutboundInput::Send { stanza, token } => self.send(Unacked { stanza, token }),
            OutboundInput::Handled(count) => shared.flow.handled(count, &mut shared.wire),
            OutboundInput::Verify {
                token,
                stream_id,
                key,
            } => {
                let live = match self.state {
                    State::Closed => None,
                    State::Ready | State::Established => Some(true),
                    _ => Some(false),
                };
                shared.verify(token, stream_id, key, live);
            }
            OutboundInput::Close(None) => self.close(),
            OutboundInput::Close(Some(error)) => match self.state {
                State::Closed => {}
                State::Established | State::Ready => self.fail(Box::new(error)),
                _ => self.state = shared.give_up(OutboundError::Local),
            },
            OutboundInput::Eof => self.end(CloseReason::Eof),
            OutboundInput::Timeout => self.timeout(now),
        }
    }

    /// The next thing to do, until there is none.
    pub fn poll_output(&mut self) -> Option<OutboundOutput> {
        loop {
            if let Some(output) = self.shared.outputs.pop_front() {
                return Some(output);
            }
            if !self.wants_bytes() {
                return None;
            }
            match self.shared.wire.next_frame() {
                Ok(frame) => self.state = self.on_frame(frame?),
                Err(error) => self.fail(error),
            }
        }
    }

    /// Appends the bytes to write to `buffer`; once per wake-up, after the outputs were drained.
    pub fn take_transmit(&mut self, buffer: &mut BytesMut) {
        let shared = &mut self.shared;
        if self.state == State::Established {
            shared.flow.before_write(&mut shared.wire);
        }
        if !shared.wire.out.is_empty() {
            shared.last_sent = shared.wire.now;
        }
        shared.wire.take(buffer);
    }

    /// When to hand in [`OutboundInput::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next_deadline().map(|(at, _)| at)
    }

    /// The next deadline, and what it is for.
    #[must_use]
    pub fn next_deadline(&self) -> Option<(Instant, OutboundDeadline)> {
        let shared = &self.shared;
        let config = &shared.config;
        match self.state {
            State::Closed => None,
            State::Established | State::Ready => {
                if let Some(closing) = shared.flow.closing {
                    return Some((closing, OutboundDeadline::Close));
                }
                let acks = shared.flow.acks.as_ref();
                let active = shared.wire.heard.max(shared.last_sent);
                earliest([
                    (Some(active + config.keepalive), OutboundDeadline::Keepalive),
                    (
                        shared.peer_limits.keepalive(shared.last_sent),
                        OutboundDeadline::Keepalive,
                    ),
                    (
                        Some(shared.last_stanza + config.idle_timeout),
                        OutboundDeadline::Idle,
                    ),
                    (
                        acks.and_then(Acks::answer_deadline),
                        OutboundDeadline::AckAnswer,
                    ),
                    (
                        acks.and_then(Acks::asked)
                            .map(|asked| asked + config.ack_timeout),
                        OutboundDeadline::AckWait,
                    ),
                    (
                        shared
                            .verifications
                            .oldest()
                            .map(|asked| asked + config.verify_timeout),
                        OutboundDeadline::Verify,
                    ),
                ])
            }
            _ => Some((shared.negotiation_deadline, OutboundDeadline::Negotiation)),
        }
    }

    /// Whether more bytes should be read from the socket.
    #[must_use]
    pub fn wants_bytes(&self) -> bool {
        !matches!(
            self.state,
            State::Connecting | State::HandshakingTls | State::Closed
        )
    }

    /// Whether stanzas can be sent now.
    #[must_use]
    pub fn is_established(&self) -> bool {
        self.state == State::Established && self.shared.flow.closing.is_none()
    }

    /// Whether tokens are reported with [`OutboundOutput::Delivered`]; otherwise a stanza counts
    /// as delivered when the shell has written it.
    #[must_use]
    pub fn sm_enabled(&self) -> bool {
        self.shared.flow.acks.is_some()
    }

    /// What the peer announced that it accepts: what is larger must not be sent here.
    #[must_use]
    pub fn peer_limits(&self) -> PeerLimits {
        self.shared.peer_limits
    }

    /// Inbound stanzas (bidirectional streams) given out that have no receipt yet.
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
        if !self.wants_bytes() {
            return;
        }
        self.shared.wire.receive(bytes);
        if self.state != State::Established && self.shared.wire.is_flooded() {
            self.fail(stream_error(
                StreamCondition::PolicyViolation,
                "too much sent ahead",
            ));
        }
    }

    fn on_frame(&mut self, frame: Frame) -> State {
        let (state, shared) = (self.state, &mut self.shared);
        match frame {
            Frame::StreamClose => {
                shared.wire.put_close();
                shared.end(state, CloseReason::Clean)
            }
            Frame::Nonza(element) if element.is(ns::STREAM, "error") => {
                shared.wire.put_close();
                let error = Box::new(StreamError::from_element(&element));
                shared.end(state, CloseReason::PeerError(error))
            }
            frame => match state {
                State::Established | State::Ready => match shared.on_frame(state, frame) {
                    Ok(()) => state,
                    Err(error) => shared.fail(state, error),
                },
                _ => shared.negotiate(state, frame),
            },
        }
    }

    fn send(&mut self, unacked: Unacked) {
        let shared = &mut self.shared;
        shared.last_stanza = shared.wire.now;
        if self.state != State::Established {
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
        let shared = &mut self.shared;
        match self.state {
            State::Closed => {}
            State::Established | State::Ready => {
                let until = shared.wire.now + shared.config.close_timeout;
                shared.flow.close(&mut shared.wire, until);
            }
            _ => self.state = shared.give_up(OutboundError::Local),
        }
    }

    fn timeout(&mut self, now: Instant) {
        while let Some((at, deadline)) = self.next_deadline() {
            if at > now {
                break;
            }
            let shared = &mut self.shared;
            match deadline {
                OutboundDeadline::Negotiation => {
                    self.state = shared.give_up(OutboundError::Timeout);
                }
                OutboundDeadline::Keepalive => {
                    shared.wire.put(" ");
                    shared.last_sent = now;
                }
                OutboundDeadline::AckAnswer => shared.flow.answer(&mut shared.wire),
                OutboundDeadline::Verify => {
                    let before = now.checked_sub(shared.config.verify_timeout);
                    shared
                        .verifications
                        .expire(before.unwrap_or(now), &mut shared.outputs);
                }
                OutboundDeadline::Idle => self.close(),
                OutboundDeadline::AckWait => {
                    self.fail(StreamCondition::ConnectionTimeout.into());
                }
                OutboundDeadline::Close => self.end(CloseReason::CloseTimeout),
            }
        }
    }

    fn fail(&mut self, error: Box<StreamError>) {
        if self.state != State::Closed {
            self.state = self.shared.fail(self.state, error);
        }
    }

    fn end(&mut self, reason: CloseReason) {
        if self.state != State::Closed {
            self.state = self.shared.end(self.state, reason);
        }
    }
}
