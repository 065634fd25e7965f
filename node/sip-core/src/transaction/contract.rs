//! What goes into the transaction table and what comes out.

use bytes::Bytes;
use thiserror::Error;

use crate::draft::Draft;
use crate::message::Message;
use crate::owner::Owner;
use crate::reply::Reply;
use crate::status::Status;
use crate::via::Transport;

/// One connection, or one datagram socket and its peer, as the shell numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// The way that a message takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// Which connection.
    pub connection: ConnectionId,
    /// Over what; decides which timers run.
    pub transport: Transport,
}

/// Names a request that came in and waits for a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServerId(pub u64);

/// Names a request of ours; the user chose it, and no two at a time are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientToken(pub u64);

/// Why a request of ours has no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Failure {
    /// Timer B, C or F. The peer may have done what was asked.
    #[error("no response in time")]
    Timeout,
    /// The connection broke before a final response. The peer may have done what was asked.
    #[error("the connection broke")]
    Transport,
    /// We keep too many transactions already; nothing was sent.
    #[error("too many transactions")]
    Full,
}

impl Failure {
    /// The response that this failure counts as (RFC 3261 section 8.1.3.1).
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Timeout => Status::REQUEST_TIMEOUT,
            Self::Transport | Self::Full => Status::SERVICE_UNAVAILABLE,
        }
    }
}

/// Why nobody will hear the response to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unheard {
    /// The user did not answer in time.
    #[error("it was not answered in time")]
    Unanswered,
    /// Timer H: no ACK for a final response to INVITE.
    #[error("the response was not acknowledged")]
    NoAck,
    /// The connection broke.
    #[error("the connection broke")]
    Transport,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A message came in that [`validate`](crate::validate) lets pass.
    Received {
        /// On what.
        flow: Flow,
        /// The message.
        message: Message,
    },
    /// A request of ours, but no ACK.
    Send {
        /// The user's name for it.
        token: ClientToken,
        /// Where it goes.
        flow: Flow,
        /// The request.
        request: Draft,
    },
    /// The ACK of a 2xx. It is no transaction: it goes out once each time.
    SendAck {
        /// Where it goes.
        flow: Flow,
        /// The ACK.
        ack: Draft,
    },
    /// An INVITE of ours is not wanted any more.
    Cancel {
        /// Which.
        token: ClientToken,
    },
    /// The response to a request. A provisional one may be followed by others.
    Respond {
        /// To what.
        id: ServerId,
        /// The response.
        reply: Reply,
    },
    /// The same with a response that is written already, by another node.
    Relay {
        /// To what.
        id: ServerId,
        /// The response; a request is passed over.
        response: Message,
    },
    /// A connection is gone, or a message could not be sent on it.
    Lost {
        /// Which.
        connection: ConnectionId,
    },
    /// [`poll_timeout`](super::Transactions::poll_timeout) has passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Bytes go out.
    Transmit {
        /// On what.
        connection: ConnectionId,
        /// One message.
        bytes: Bytes,
    },
    /// A request for the user, who answers it with [`Input::Respond`].
    Request {
        /// Its name.
        id: ServerId,
        /// On what it came.
        flow: Flow,
        /// The request.
        message: Message,
    },
    /// A request that is never answered: the ACK of a 2xx, or BENOTIFY.
    OneWay {
        /// On what it came.
        flow: Flow,
        /// The request.
        message: Message,
    },
    /// CANCEL came for an INVITE that is not answered yet: the user should answer it with 487.
    Cancelled {
        /// The INVITE.
        id: ServerId,
    },
    /// A response to a request of ours. Of INVITE there may be several 2xx.
    Response {
        /// To what.
        token: ClientToken,
        /// The response.
        message: Message,
    },
    /// A request of ours failed without a response.
    Failed {
        /// Which.
        token: ClientToken,
        /// How.
        failure: Failure,
    },
    /// A request that came in ended without its response being heard.
    Unheard {
        /// Which.
        id: ServerId,
        /// Why.
        why: Unheard,
    },
    /// A response to a transaction of another node of ours.
    Stray {
        /// Which node.
        owner: Owner,
        /// The response.
        message: Message,
    },
}

/// What was done without a word, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Responses that belong to no transaction of the cluster.
    pub strays: u64,
    /// Responses of the user that came too late.
    pub late_replies: u64,
    /// Requests refused with 503 because too many are being worked on.
    pub refused: u64,
    /// Requests that came again and were absorbed.
    pub repeated: u64,
    /// Requests refused with 482: they came on two ways, or had been sent by us.
    pub loops: u64,
    /// Messages that nothing could be done with: no usable Via or CSeq, or an ACK that fits nothing.
    pub unusable: u64,
}
