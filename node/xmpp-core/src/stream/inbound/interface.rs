//! What goes into an inbound server stream and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::dialback::{DialbackOutcome, DialbackSecret};
use crate::error::StreamError;
use crate::framer::Limits;
use crate::management::QueueLimits;
use crate::stanza::Stanza;
use crate::stream::{AuthMethod, CloseReason, RequestId, TlsPolicy};

/// Settings of inbound server streams; one value serves a whole listener.
#[derive(Debug, Clone)]
pub struct InboundConfig {
    /// The domains that we serve, in normal form; the first answers peers that name none.
    pub domains: Vec<Arc<str>>,
    /// What issues and verifies our dialback keys.
    pub dialback: DialbackSecret,
    /// The TLS policy for peers that do not say who they are before TLS.
    pub unnamed_tls: TlsPolicy,
    /// Whether bidirectional streams (XEP-0288) are offered.
    pub bidi: bool,
    /// Whether stream management is offered.
    pub sm: bool,
    /// Bounds on elements before authentication.
    pub limits_unauthenticated: Limits,
    /// Bounds on elements after it.
    pub limits: Limits,
    /// From the first byte to the first authenticated pair; begins anew with each dialback
    /// element.
    pub authentication_timeout: Duration,
    /// Silence after which an authenticated stream is closed. Told to the peer (XEP-0478).
    pub idle_timeout: Duration,
    /// How long an `<r/>` may stay unanswered (bidirectional streams).
    pub ack_timeout: Duration,
    /// How long the peer's closing tag is awaited after ours.
    pub close_timeout: Duration,
    /// How long a farewell waits for the receipts of what the peer sent.
    pub farewell_receipts: Duration,
    /// Domain pairs, authenticated or being verified, on one stream.
    pub max_pairs: usize,
    /// How much may wait for acknowledgement (bidirectional streams).
    pub queue: QueueLimits,
}

impl InboundConfig {
    /// The defaults for these domains.
    #[must_use]
    pub fn new(domains: Vec<Arc<str>>, dialback: DialbackSecret) -> Self {
        Self {
            domains,
            dialback,
            unnamed_tls: TlsPolicy::Required,
            bidi: true,
            sm: true,
            limits_unauthenticated: Limits::BEFORE_AUTHENTICATION,
            limits: Limits::AUTHENTICATED,
            authentication_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(3600),
            ack_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(3),
            farewell_receipts: Duration::from_secs(2),
            max_pairs: 64,
            queue: QueueLimits::default(),
        }
    }
}

/// What happened, as the shell tells the stream.
#[derive(Debug)]
pub enum InboundInput {
    /// Bytes from the socket, after TLS was taken off.
    Bytes(BytesMut),
    /// The TLS handshake is complete; as the first input: direct TLS. What the peer's certificate
    /// proves is asked for by name, with [`InboundRequest::CertificateMatches`].
    TlsEstablished,
    /// The answer to a request; ignored if the request is no longer open.
    Answer(RequestId, InboundAnswer),
    /// Send this stanza to the peer; only on an authenticated bidirectional stream, and only
    /// between the domains of a pair authenticated on it.
    Send {
        /// Canonical bytes.
        stanza: Bytes,
        /// The delivery token; 0 when nobody waits for it.
        token: u64,
    },
    /// This many more inbound stanzas have receipts, counted without gaps from the oldest.
    Handled(u64),
    /// End the stream, at once with an error, in order without.
    Close(Option<StreamError>),
    /// End the stream in order at the first moment at which everything that the peer sent has its
    /// receipt, or after `farewell_receipts`. What a peer with acknowledgements sends after our last
    /// one is dropped: it is for the peer to send again. One without is heard until its closing tag.
    Leave,
    /// The peer closed the connection, or reading or writing failed.
    Eof,
    /// The instant of `poll_timeout` has come.
    Timeout,
}

/// What the shell has to do or to know. Before acting on [`Self::StartTls`] or [`Self::Closed`],
/// write what `take_transmit` gives.
#[derive(Debug)]
pub enum InboundOutput {
    /// Begin the TLS handshake, asking for the peer's certificate.
    StartTls,
    /// A question.
    Request(RequestId, InboundRequest),
    /// The peer proved this domain; its stanzas to `local` (with EXTERNAL, to any domain of ours)
    /// are accepted from now on.
    Authenticated {
        /// The peer's domain.
        remote: Arc<str>,
        /// Our domain.
        local: Arc<str>,
        /// How.
        method: AuthMethod,
        /// Whether stanzas from `local` to `remote` can be sent on this stream (XEP-0288) while
        /// [`super::InboundStream::is_sendable`]: only for the pair of the stream's header, which is
        /// the one for which the peer asked.
        bidi: bool,
    },
    /// The peer uses stream management from now on.
    SmEnabled,
    /// A stanza from an authenticated domain to one of ours. It may break a rule for stanzas
    /// ([`Stanza::fault`]); then its sender gets an error.
    Stanza(Stanza),
    /// The peer acknowledged the stanza with this token (never 0).
    Delivered(u64),
    /// The end; nothing else follows.
    Closed(CloseReason),
}

/// A question to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InboundRequest {
    /// May this domain federate with us, and how?
    Policy {
        /// The peer's domain.
        remote: Arc<str>,
    },
    /// Does the certificate that the peer gave prove this domain (valid chain, name in it)?
    CertificateMatches {
        /// The peer's domain.
        remote: Arc<str>,
    },
    /// Ask the authoritative server of `from` whether it issued this key.
    VerifyKey {
        /// The domain that the peer claims.
        from: Arc<str>,
        /// Our domain.
        to: Arc<str>,
        /// The id of this stream.
        stream_id: Arc<str>,
        /// The key.
        key: String,
    },
}

/// The answer to an [`InboundRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundAnswer {
    /// The domain may federate.
    Allowed {
        /// Whether it needs TLS.
        tls: TlsPolicy,
        /// Whether dialback is good enough; otherwise only a certificate is.
        dialback: bool,
    },
    /// The domain may not.
    Denied,
    /// Whether the certificate proves the domain.
    CertificateMatches(bool),
    /// What the authoritative server said.
    KeyVerified(DialbackOutcome),
}

/// Why an inbound server stream wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundDeadline {
    /// No domain authenticated in time.
    Authentication,
    /// Silence for too long.
    Idle,
    /// An `<a/>` is due.
    AckAnswer,
    /// The peer did not answer an `<r/>`.
    AckWait,
    /// The peer did not close its side.
    Close,
    /// White space is due, by the peer's announced limit (bidirectional streams).
    Keepalive,
    /// Receipts did not come before the farewell's end.
    Farewell,
}
