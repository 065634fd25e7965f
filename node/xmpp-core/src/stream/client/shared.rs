//! What all states of a client stream share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{ClientConfig, ClientOutput, ClientRequest};
use super::{Closed, State};
use crate::error::{StreamCondition, StreamError};
use crate::stream::wire::Wire;
use crate::stream::{CloseReason, RequestId, TlsChannel};
use crate::writer::StreamKind;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: Arc<ClientConfig>,
    pub(super) wire: Wire,
    pub(super) outputs: VecDeque<ClientOutput>,
    /// The domain of ours that the client connected to.
    pub(super) domain: Option<Arc<str>>,
    pub(super) tls: Option<TlsChannel>,
    /// SASL attempts that failed.
    pub(super) failures: u8,
    pub(super) authentication_deadline: Instant,
    last_request: u64,
}

impl Shared {
    pub(super) fn new(config: Arc<ClientConfig>, seed: &[u8; 32], now: Instant) -> Self {
        Self {
            wire: Wire::new(StreamKind::Client, config.limits_unauthenticated, seed, now),
            authentication_deadline: now + config.authentication_timeout,
            config,
            outputs: VecDeque::new(),
            domain: None,
            tls: None,
            failures: 0,
            last_request: 0,
        }
    }

    pub(super) fn request(&mut self, request: ClientRequest) -> RequestId {
        let id = RequestId::next(&mut self.last_request);
        self.outputs.push_back(ClientOutput::Request(id, request));
        id
    }

    /// Ends a stream that has no session with an error.
    pub(super) fn fail(&mut self, error: impl Into<Box<StreamError>>) -> State {
        let error = error.into();
        self.wire.put_error(&error, self.domain.as_deref());
        self.end(CloseReason::Error(error))
    }

    /// Ends a stream that has no session.
    pub(super) fn end(&mut self, reason: CloseReason) -> State {
        self.outputs.push_back(ClientOutput::Closed(reason));
        State::Closed(Closed::default())
    }

    /// Ends a stream that has no session in order, whoever began.
    pub(super) fn close(&mut self) -> State {
        self.wire.put_close();
        self.end(CloseReason::Clean)
    }

    /// A first-level element that has no place in this state before authentication.
    pub(super) fn unexpected(&mut self) -> State {
        // RFC 6120 section 4.9.3.12.
        self.fail(StreamCondition::NotAuthorized)
    }
}
