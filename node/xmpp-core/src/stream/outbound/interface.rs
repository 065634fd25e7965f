//! What goes into an outbound server stream and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use thiserror::Error;

use crate::dialback::{DialbackOutcome, DialbackSecret};
use crate::error::{StanzaCondition, StreamError};
use crate::framer::Limits;
use crate::management::QueueLimits;
use crate::sasl::SaslCondition;
use crate::stanza::Stanza;
use crate::stream::{AuthMethod, CloseReason, TlsPolicy};

/// What an outbound stream is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// To send stanzas: authenticates.
    Federate,
    /// Only to ask the peer about dialback keys that it issued: never authenticates.
    Verify,
}

/// Settings of one outbound stream.
#[derive(Debug, Clone)]
pub struct OutboundConfig {
    /// Our domain.
    pub local: Arc<str>,
    /// The peer's domain.
    pub remote: Arc<str>,
    /// What for.
    pub purpose: Purpose,
    /// Whether TLS is needed.
    pub tls: TlsPolicy,
    /// Whether the peer's certificate must prove its domain.
    pub require_certificate: bool,
    /// Whether EXTERNAL may be tried: we have a certificate for `local`, and this peer did not
    /// close on it before ([`OutboundError::retry_without_external`]).
    pub external: bool,
    /// Whether dialback may be used.
    pub dialback: bool,
    /// Whether to use the stream in both directions when the peer offers it.
    pub bidi: bool,
    /// Whether to use stream management when the peer offers it.
    pub sm: bool,
    /// What issues our dialback keys.
    pub secret: DialbackSecret,
    /// Bounds on what the peer sends until it is established.
    pub limits_unauthenticated: Limits,
    /// Bounds on it afterwards.
    pub limits: Limits,
    /// From the connection to an established stream; dialback, which waits for the peer's own
    /// connection to us, begins it anew.
    pub negotiation_timeout: Duration,
    /// Without anything to send or received for this long, white space is sent.
    pub keepalive: Duration,
    /// Without stanzas for this long the stream is closed in order.
    pub idle_timeout: Duration,
    /// How long an `<r/>` may stay unanswered.
    pub ack_timeout: Duration,
    /// How long a `db:verify` may stay unanswered.
    pub verify_timeout: Duration,
    /// How long the peer's closing tag is awaited after ours.
    pub close_timeout: Duration,
    /// How much may wait for acknowledgement.
    pub queue: QueueLimits,
}

impl OutboundConfig {
    /// The defaults for this pair: TLS required, EXTERNAL, then dialback.
    #[must_use]
    pub fn new(local: Arc<str>, remote: Arc<str>, secret: DialbackSecret) -> Self {
        Self {
            local,
            remote,
            purpose: Purpose::Federate,
            tls: TlsPolicy::Required,
            require_certificate: false,
            external: true,
            dialback: true,
            bidi: true,
            sm: true,
            secret,
            limits_unauthenticated: Limits::BEFORE_AUTHENTICATION,
            limits: Limits::AUTHENTICATED,
            negotiation_timeout: Duration::from_secs(30),
            keepalive: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(600),
            ack_timeout: Duration::from_secs(60),
            verify_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(3),
            queue: QueueLimits::default(),
        }
    }
}

/// What happened, as the shell tells the stream.
#[derive(Debug)]
pub enum OutboundInput {
    /// The connection is up, without TLS so far.
    Connected,
    /// The TLS handshake is complete; as the first input: direct TLS.
    TlsEstablished {
        /// Whether the peer's certificate proves its domain (valid chain, name in it).
        certificate_valid: bool,
    },
    /// Bytes from the socket, after TLS was taken off.
    Bytes(BytesMut),
    /// Send this stanza, from `local` to `remote`; once established.
    Send {
        /// Canonical bytes.
        stanza: Bytes,
        /// The delivery token; 0 when nobody waits for it.
        token: u64,
    },
    /// This many more inbound stanzas (bidirectional streams) have receipts.
    Handled(u64),
    /// Ask the peer whether it issued this key; at any time, it is sent when the stream is ready.
    Verify {
        /// Names the question; given back with the answer.
        token: u64,
        /// The id of the stream on which the key was given.
        stream_id: String,
        /// The key.
        key: String,
    },
    /// End the stream, at once with an error, in order without.
    Close(Option<StreamError>),
    /// The peer closed the connection, or reading or writing failed.
    Eof,
    /// The instant of `poll_timeout` has come.
    Timeout,
}

/// What the shell has to do or to know. Before acting on [`Self::StartTls`], [`Self::Failed`] or
/// [`Self::Closed`], write what `take_transmit` gives.
#[derive(Debug)]
pub enum OutboundOutput {
    /// Begin the TLS handshake for the remote domain, with our certificate if there is one.
    StartTls,
    /// Stanzas can be sent.
    Established {
        /// Whether the peer sends stanzas on this stream too, so that it needs none of its own.
        bidi: bool,
        /// Whether tokens are reported with [`Self::Delivered`].
        sm: bool,
        /// How we authenticated.
        method: AuthMethod,
    },
    /// The peer does not acknowledge after all: this token's stanza counts as written.
    Written(u64),
    /// The peer acknowledged the stanza with this token (never 0).
    Delivered(u64),
    /// A stanza from `remote` to `local`, on a bidirectional stream.
    Stanza(Stanza),
    /// The answer to [`OutboundInput::Verify`].
    Verified {
        /// The question.
        token: u64,
        /// The peer's answer, or the error when there was none.
        outcome: DialbackOutcome,
    },
    /// The stream did not come up; nothing else follows. Questions that were open got their
    /// answers before.
    Failed(OutboundError),
    /// The established stream ended; nothing else follows. Take
    /// [`super::OutboundStream::unacked`].
    Closed(CloseReason),
}

/// Why a stream did not come up.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum OutboundError {
    /// Policy requires TLS, and the peer does not offer it, or refused it.
    #[error("the peer offers no TLS, which policy requires")]
    TlsUnavailable,
    /// Policy requires a certificate that proves the domain.
    #[error("the peer's certificate does not prove its domain")]
    CertificateInvalid,
    /// EXTERNAL failed and the peer closed, or dialback is not allowed.
    #[error("the peer refused SASL EXTERNAL: {0}")]
    ExternalRefused(SaslCondition),
    /// Neither EXTERNAL nor dialback is possible.
    #[error("no way to authenticate is left")]
    NoAuthentication,
    /// The peer says that our key is not ours.
    #[error("the peer found our dialback key invalid")]
    DialbackInvalid,
    /// The peer could not verify our key (XEP-0220 section 2.4).
    #[error("dialback failed at the peer: {0}")]
    Dialback(StanzaCondition),
    /// The peer ended the stream with an error.
    #[error("the peer sent a {0}")]
    PeerError(Box<StreamError>),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(Box<StreamError>),
    /// The connection ended.
    #[error("the connection ended before the stream was established")]
    ConnectionLost,
    /// The peer did not answer in time.
    #[error("the peer did not answer in time")]
    Timeout,
    /// We gave up.
    #[error("given up on our side")]
    Local,
}

impl OutboundError {
    /// Whether another SRV target of the same domain may do better. Whatever a target does wrong,
    /// another may be a healthy node; only our own giving up is final.
    #[must_use]
    pub fn next_target_may_help(&self) -> bool {
        !matches!(self, Self::Local)
    }

    /// Whether the same target may do better if EXTERNAL is not tried.
    ///
    /// COMPAT MongooseIM: it offers EXTERNAL to every certificate and closes when it fails.
    #[must_use]
    pub fn retry_without_external(&self) -> bool {
        matches!(self, Self::ExternalRefused(_))
    }
}

/// Why an outbound server stream wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutboundDeadline {
    /// The stream is not established in time.
    Negotiation,
    /// White space is due.
    Keepalive,
    /// No stanzas for too long.
    Idle,
    /// An `<a/>` is due.
    AckAnswer,
    /// The peer did not answer an `<r/>`.
    AckWait,
    /// The peer did not answer a `db:verify`.
    Verify,
    /// The peer did not close its side.
    Close,
}
