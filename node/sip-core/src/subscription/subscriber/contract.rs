//! What goes into a subscriber and what comes out.

use crate::draft::Draft;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;
use crate::usage::{Document, Outcome, RequestId, SendId};

/// Why the subscriber wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubscriberTimer {
    /// The subscription is to be renewed.
    Refresh,
    /// It was not renewed in time.
    Expiry,
    /// The pause after a failure is over.
    Retry,
    /// Timer N: no NOTIFY came.
    FirstNotify,
    /// The outcome of a SUBSCRIBE was lost.
    Answer,
    /// The last NOTIFY did not come.
    Ending,
}

/// What the watcher may be told of the presentity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not subscribed: what was known may be old.
    Unknown,
    /// The other side has not decided.
    Pending,
    /// Subscribed.
    Active,
}

/// Who refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedBy {
    /// The response to SUBSCRIBE.
    Status(Status),
    /// NOTIFY `terminated;reason=rejected`.
    Rejected,
    /// NOTIFY `terminated;reason=noresource`.
    NoResource,
    /// NOTIFY `terminated;reason=invariant`: the document will never change.
    Invariant,
}

impl RefusedBy {
    pub(super) fn reason(word: &str) -> Self {
        match word {
            word if word.eq_ignore_ascii_case("noresource") => Self::NoResource,
            word if word.eq_ignore_ascii_case("invariant") => Self::Invariant,
            _ => Self::Rejected,
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// NOTIFY or BENOTIFY came in.
    Notify {
        /// The name of a NOTIFY; a BENOTIFY gets no response.
        id: Option<RequestId>,
        /// The request.
        request: Box<Message>,
    },
    /// The outcome of a SUBSCRIBE.
    Answer {
        /// Of which.
        id: SendId,
        /// The outcome.
        outcome: Outcome,
    },
    /// Ask for the whole state now, or try again now: the peer's server came back.
    Refresh,
    /// The user does not want it any more.
    Unsubscribe,
    /// A deadline passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// [`Subscriber::encode`](super::Subscriber::encode) has changed in what a new owner needs.
    Persist,
    /// A SUBSCRIBE.
    Send {
        /// Its name.
        id: SendId,
        /// The request.
        request: Draft,
    },
    /// The response to a NOTIFY.
    Respond {
        /// To which.
        id: RequestId,
        /// The response.
        reply: Reply,
    },
    /// How it stands has changed.
    Standing(Standing),
    /// The presentity's whole state.
    Document(Document),
    /// The peer refused.
    Refused {
        /// How.
        by: RefusedBy,
        /// Whether it is not tried again unless [`Input::Refresh`] asks for it.
        final_: bool,
    },
    /// It is over, as was asked for: the record goes, and so may this.
    Ended,
}
