//! What a locator is given, told and asked, and what it says.

use std::net::SocketAddr;

use crate::locate::{Answer, Query};
use crate::via::Transport;

/// How a peer is found, from its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// These hosts in this order; DNS is asked for nothing but their addresses.
    Static(Vec<Hop>),
    /// By DNS.
    Dns {
        /// Whether `_sip._tcp` and NAPTR's SIP+D2T count too: only in labs.
        plain: bool,
    },
}

/// A host to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hop {
    /// A name without a dot at its end, or an address (IPv6 without brackets).
    pub host: String,
    /// The port.
    pub port: u16,
    /// TLS or TCP.
    pub transport: Transport,
}

/// An address to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: SocketAddr,
    /// The host that the address is of: for TLS server name indication.
    pub hop: Hop,
    /// The domain that was looked for. It is what the certificate has to prove (RFC 5922), whatever
    /// name DNS gave.
    pub domain: String,
}

/// Ties an answer to its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QueryId(pub(super) u32);

/// What a locator is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// DNS answered.
    Answer(QueryId, Answer),
    /// The target that was offered last did not do.
    Failed(Failure),
}

/// Why a target did not do (RFC 3263 section 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// No connection, or no TLS, to this address; the host may have another.
    Connection,
    /// The server answered 503.
    Unavailable,
    /// Timer F or B fired: nothing came back.
    Timeout,
}

/// What a locator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Ask DNS; [`Input::Answer`] brings the answer under the same id.
    Request(QueryId, Query),
    /// Connect here.
    Try(Target),
    /// There is nothing more to try. The last output.
    Exhausted(LocateError),
}

/// Why a peer is not reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LocateError {
    /// DNS knows no server of the domain; a retry does not help soon.
    #[error("the domain has no SIP server")]
    NoServer,
    /// DNS did not answer; a retry may help.
    #[error("DNS is unavailable")]
    Dns,
    /// All targets were tried; a retry may help.
    #[error("no server of the domain could be used")]
    Unreachable,
}
