//! XMPP streams as state machines (RFC 6120), one per role:
//! [`ClientStream`] serves a client, [`InboundStream`] receives from another server,
//! [`OutboundStream`] sends to one.
//!
//! All three work alike. `handle_input(now, input)` tells what happened; then `poll_output` is
//! called until it gives `None`, then `take_transmit` for the bytes to write, then `poll_timeout`
//! for when to wake. Frames are cut out of the received bytes only as outputs are polled, so the
//! queue of outputs stays short whatever one read brought in.

mod acks;
mod client;
mod flow;
mod identifiers;
mod inbound;
mod limits;
mod outbound;
mod wire;

use std::fmt;
use std::time::Instant;

use crate::error::StreamError;
use crate::sasl::ChannelBindings;

pub use client::{
    ClientAnswer, ClientConfig, ClientDeadline, ClientInput, ClientOutput, ClientRequest,
    ClientStream, ResumedState,
};

pub use inbound::{
    InboundAnswer, InboundConfig, InboundDeadline, InboundInput, InboundOutput, InboundRequest,
    InboundStream,
};

pub use limits::PeerLimits;

pub use outbound::{
    OutboundConfig, OutboundDeadline, OutboundError, OutboundInput, OutboundOutput, OutboundStream,
    Purpose,
};

/// Names a request, and its answer, on one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(u64);

impl RequestId {
    pub(crate) fn next(last: &mut u64) -> Self {
        *last += 1;
        Self(*last)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the shell knows of an established TLS connection with a client.
#[derive(Debug, Clone, Default)]
pub struct TlsChannel {
    /// Data to bind authentication to this connection.
    pub bindings: ChannelBindings,
    /// Whether it is TLS 1.3.
    pub tls13: bool,
}

/// Why a stream ended.
#[derive(Debug, Clone, PartialEq)]
pub enum CloseReason {
    /// Both sides closed it in order.
    Clean,
    /// The connection ended without a closing tag.
    Eof,
    /// The peer sent this error.
    PeerError(Box<StreamError>),
    /// We sent this error.
    Error(Box<StreamError>),
    /// The peer did not close its side in time after we had closed ours.
    CloseTimeout,
}

/// Whether a stream between servers uses TLS; a setting per external domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsPolicy {
    /// No TLS, no federation.
    Required,
    /// TLS if both sides can.
    Optional,
    /// Never: for laboratories.
    None,
}

/// How a server proved its domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMethod {
    /// SASL EXTERNAL with a certificate (XEP-0178).
    External,
    /// Server dialback (XEP-0220).
    Dialback,
}

fn earliest<D>(deadlines: impl IntoIterator<Item = (Option<Instant>, D)>) -> Option<(Instant, D)> {
    deadlines
        .into_iter()
        .filter_map(|(at, why)| at.map(|at| (at, why)))
        .min_by_key(|(at, _)| *at)
}
