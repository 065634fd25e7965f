//! What goes into a client stream and what comes out of it.

use std::sync::Arc;
use std::time::Duration;

use super::ResumedState;
use crate::error::{StanzaError, StreamError};
use crate::framer::Limits;
use crate::jid::{BareJid, FullJid};
use crate::management::QueueLimits;
use crate::sasl::{DecoySecret, Mechanism, ScramKeys};
use crate::stanza::Stanza;
use crate::stream::{CloseReason, RequestId, TlsChannel};

/// Settings of client streams; one value serves a whole listener.
#[derive(Debug, Clone)]
pub struct ClientConfig {
    /// The domains that we serve, in normal form.
    pub domains: Vec<Arc<str>>,
    /// Mechanisms to offer, strongest first. -PLUS ones are offered only where the shell gave
    /// binding data, PLAIN only under TLS.
    pub mechanisms: Vec<Mechanism>,
    /// Whether nothing but STARTTLS is allowed on a plain stream.
    pub require_tls: bool,
    /// Bounds on elements before authentication.
    pub limits_unauthenticated: Limits,
    /// Bounds on elements after it.
    pub limits: Limits,
    /// From the first byte to authentication, and again from there to a bound resource.
    pub authentication_timeout: Duration,
    /// Silence of the client after which it is asked for a sign of life.
    pub probe_after: Duration,
    /// Silence after which the stream is closed; longer than `probe_after`. Told to the client
    /// (XEP-0478).
    pub idle_timeout: Duration,
    /// How long an `<r/>` may stay unanswered before the client counts as gone.
    pub ack_timeout: Duration,
    /// How long the client's closing tag is awaited after ours.
    pub close_timeout: Duration,
    /// Farewell, first step: how long receipts for what the client sent are awaited.
    pub farewell_receipts: Duration,
    /// Farewell, second step: how long the client's last acknowledgement is awaited.
    pub farewell_answer: Duration,
    /// Failed SASL attempts before the stream is closed; RFC 6120 section 6.4.5 wants 2 to 5
    /// retries.
    pub max_authentication_tries: u8,
    /// How much may wait for acknowledgement.
    pub queue: QueueLimits,
    /// How long a dead stream can be resumed; zero offers no resumption.
    pub resumption: Duration,
    /// Keys for users that do not exist.
    pub decoys: DecoySecret,
}

impl ClientConfig {
    /// The defaults for these domains: TLS required, every mechanism.
    #[must_use]
    pub fn new(domains: Vec<Arc<str>>, decoys: DecoySecret) -> Self {
        Self {
            domains,
            mechanisms: Mechanism::ALL.to_vec(),
            require_tls: true,
            limits_unauthenticated: Limits::BEFORE_AUTHENTICATION,
            limits: Limits::AUTHENTICATED,
            authentication_timeout: Duration::from_secs(30),
            probe_after: Duration::from_secs(300),
            idle_timeout: Duration::from_secs(900),
            ack_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(3),
            farewell_receipts: Duration::from_secs(2),
            farewell_answer: Duration::from_secs(2),
            max_authentication_tries: 3,
            queue: QueueLimits::default(),
            resumption: Duration::from_secs(300),
            decoys,
        }
    }
}

/// What happened, as the shell tells the stream.
#[derive(Debug)]
pub enum ClientInput {
    /// Bytes from the socket, after TLS was taken off. They are not copied if nothing is unread;
    /// stanzas then share their memory.
    Bytes(bytes::BytesMut),
    /// The TLS handshake is complete. As the first input it means direct TLS (XEP-0368),
    /// otherwise it follows [`ClientOutput::StartTls`].
    TlsEstablished(TlsChannel),
    /// The answer to a request. Answers to requests that are no longer open are ignored.
    Answer(RequestId, ClientAnswer),
    /// Under which id the session can be resumed, if the client asks for that; after
    /// [`ClientAnswer::Bound`]. Without it the stream makes one up.
    ResumptionId(Arc<str>),
    /// Send this stanza.
    Send {
        /// Canonical bytes.
        stanza: bytes::Bytes,
        /// The delivery token; 0 when nobody waits for it.
        token: u64,
    },
    /// This many more inbound stanzas have receipts, counted without gaps from the oldest.
    Handled(u64),
    /// End the stream: with an error at once; without one, after the client closed its side too
    /// or a short time passed.
    Close(Option<StreamError>),
    /// End the stream with an error, but let both sides know first what the other has: no stanza is
    /// taken any more, receipts for those taken are awaited and acknowledged, the client is asked
    /// what it has. Bounded by `farewell_receipts` and `farewell_answer`; without a session, or
    /// with nothing open, the end comes at once.
    Leave(StreamError),
    /// The client closed the connection, or reading or writing failed.
    Eof,
    /// The instant of `poll_timeout` has come.
    Timeout,
}

/// What the shell has to do or to know. Before acting on [`Self::StartTls`] or [`Self::Closed`],
/// write what `take_transmit` gives.
#[derive(Debug)]
pub enum ClientOutput {
    /// Begin the TLS handshake. Bytes that were read but not yet handed in are discarded.
    StartTls,
    /// Something is asked; the stream reads no further until it is answered.
    Request(RequestId, ClientRequest),
    /// The client proved who it is.
    Authenticated(BareJid),
    /// The session begins: stanzas can be sent.
    Bound(FullJid),
    /// The session goes on where the old stream ended; what the client had not acknowledged is
    /// being sent again.
    Resumed(FullJid),
    /// The client uses stream management now; with `Some`, its stream can be resumed by this id.
    SmEnabled(Option<Arc<str>>),
    /// A stanza from the client, checked, with the client's full JID in `from`.
    Stanza(Stanza),
    /// The client acknowledged the stanza with this token (never 0).
    Delivered(u64),
    /// The end. Nothing else follows; write, close the connection, and take
    /// [`super::ClientStream::park`] or [`super::ClientStream::unacked`].
    Closed(CloseReason),
}

/// A question to the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientRequest {
    /// The keys of this user for this mechanism's hash.
    Credentials {
        /// The account.
        user: BareJid,
        /// What the client uses; [`Mechanism::hash`] says which keys.
        mechanism: Mechanism,
    },
    /// Bind a resource.
    Bind {
        /// Who.
        user: BareJid,
        /// The resource that the client would like, in normal form; the server may give another.
        resource: Option<String>,
    },
    /// Find the parked stream of this user. Before giving it out, wait shortly until it has no
    /// unhandled stanzas, because the client sends those again.
    Resume {
        /// Who.
        user: BareJid,
        /// The id from [`ClientOutput::SmEnabled`].
        previd: String,
    },
}

/// The answer to a [`ClientRequest`].
#[derive(Debug)]
pub enum ClientAnswer {
    /// The account's keys.
    Credentials(ScramKeys),
    /// There is no such account, or it has no keys for this mechanism.
    UnknownUser,
    /// The store does not answer; the client may try again.
    CredentialsUnavailable,
    /// The session's address.
    Bound(FullJid),
    /// No resource for this client.
    BindRefused(StanzaError),
    /// The parked stream.
    Resumed(Box<ResumedState>),
    /// There is no such stream; with the `h` of that stream, if it is still known.
    ResumeFailed {
        /// How many stanzas of the client were handled.
        h: Option<u32>,
    },
}

/// Why a client stream wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientDeadline {
    /// Not authenticated, or not bound, in time.
    Authentication,
    /// Silence: ask for a sign of life.
    Probe,
    /// Silence for too long: close.
    Idle,
    /// An `<a/>` is due.
    AckAnswer,
    /// The client did not answer an `<r/>`.
    AckWait,
    /// The client did not close its side.
    Close,
    /// Receipts, or the client's last acknowledgement, did not come before the farewell's end.
    Farewell,
}
