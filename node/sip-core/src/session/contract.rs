//! What goes into a session and what comes out.

use crate::draft::Draft;
use crate::header::HeaderName;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;
use crate::usage::{Document, Outcome, RequestId, RequestName, SendId};

/// The caller's name for a text that goes out; it comes back once, with the text's fate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextToken(pub u64);

/// Why the session wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SessionTimer {
    /// Nothing was said for long: BYE.
    SessionIdle,
    /// Our 2xx to INVITE goes out again (RFC 3261 section 13.3.1.4).
    Repeat2xx,
    /// ACK did not come.
    AckWait,
    /// The peer did not take our INVITE in time, or its outcome was lost.
    InviteAnswer,
    /// The pause after 491 is over.
    InviteAgain,
    /// The outcome of a MESSAGE was lost.
    MessageAnswer,
    /// The one of two sessions that were opened at once which is not wanted is ended.
    Glare,
}

/// Why a text was not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The peer said so, or was not there; the response may explain it (Warning, ms-diagnostics).
    Peer(Outcome),
    /// Too many texts wait for this peer user.
    QueueFull,
    /// The session was ended from our side.
    Closed,
}

impl Cause {
    /// The code that the sender's error is made of.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::Peer(outcome) => outcome.status(),
            Self::QueueFull => Status::SERVICE_UNAVAILABLE,
            Self::Closed => Status::TEMPORARILY_UNAVAILABLE,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// Our user says something.
    Text {
        /// Its name.
        token: TextToken,
        /// text/plain in UTF-8, unless the peer is known to take more.
        document: Document,
    },
    /// Our user types, or does not any more; the document is of the kind that the profile names. Sent
    /// only while a session is open.
    Typing(Document),
    /// A request of the peer that the caller let pass: INVITE and MESSAGE outside of dialogs, and
    /// everything within this pair's dialogs but ACK.
    Request {
        /// Its name.
        id: RequestId,
        /// The request.
        request: Box<Message>,
    },
    /// The ACK of a 2xx of ours.
    Ack {
        /// The ACK.
        request: Box<Message>,
    },
    /// What became of a text of the peer: 200 only once it is delivered or durable.
    Verdict {
        /// Of which.
        id: RequestId,
        /// The answer.
        status: Status,
        /// What explains it, e.g. Warning.
        headers: Vec<(HeaderName, Box<str>)>,
    },
    /// The final outcome of a request of ours. A further 2xx of INVITE comes as another one.
    Answer {
        /// Of which.
        id: SendId,
        /// The outcome.
        outcome: Outcome,
    },
    /// End what is open, fail what waits. A text on its way still has its own answer to come.
    End,
    /// A deadline passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// [`Session::encode`](super::Session::encode) has to be durable before anything after this goes out.
    Persist,
    /// A request.
    Send {
        /// Its name.
        id: SendId,
        /// The request.
        request: Draft,
    },
    /// The ACK of a 2xx, outside of transactions.
    Ack(Draft),
    /// An INVITE of ours is not wanted any more.
    Cancel {
        /// Which.
        id: SendId,
    },
    /// A response.
    Respond {
        /// To which request.
        id: RequestId,
        /// The response.
        reply: Reply,
    },
    /// The peer says something; [`Input::Verdict`] is waited for.
    Text {
        /// Its name.
        id: RequestId,
        /// What names it past its transaction.
        name: RequestName,
        /// What it says, as it came.
        document: Document,
    },
    /// The peer types, or does not any more: `KeyboardActivity` or isComposing, as it came.
    Typing(Document),
    /// The peer has taken a text.
    Delivered(TextToken),
    /// A text was not delivered.
    Failed {
        /// Which.
        token: TextToken,
        /// Why.
        cause: Cause,
    },
    /// No dialog is left: the record goes.
    Closed,
}
