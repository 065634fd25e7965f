//! What goes into a notifier and what comes out.

use crate::draft::Draft;
use crate::message::Message;
use crate::reply::Reply;
use crate::status::Status;
use crate::usage::{Document, Outcome, RequestId, SendId};

/// What is decided about a watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nobody has decided yet: NOTIFY without a document.
    Pending,
    /// The watcher sees the presentity.
    Active(Document),
    /// The watcher sees this document, which says offline, whatever happens.
    Polite(Document),
}

/// Why a subscription ends, in the words of RFC 6665 section 4.1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Subscribe again at once: this node drains.
    Deactivated,
    /// It must not subscribe.
    Rejected,
    /// It expired, or the watcher ended it.
    Timeout,
    /// The decision took too long.
    GiveUp,
    /// There is no such presentity any more.
    NoResource,
}

impl Reason {
    /// The word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Deactivated => "deactivated",
            Self::Rejected => "rejected",
            Self::Timeout => "timeout",
            Self::GiveUp => "giveup",
            Self::NoResource => "noresource",
        }
    }
}

/// How a subscription came to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The watcher was told so.
    Told(Reason),
    /// The watcher is gone: it does not know the subscription (481 and the like) or never answers.
    Gone(Status),
}

/// Why the notifier wakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum NotifierTimer {
    /// The gap is over and there is something to say, or a refused NOTIFY is tried again.
    NotifyGap,
    /// The outcome of a NOTIFY was lost.
    NotifyAnswer,
    /// The subscription ran out.
    Expiry,
}

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// SUBSCRIBE in the dialog: refresh or end.
    Subscribe {
        /// Its name.
        id: RequestId,
        /// The request.
        request: Box<Message>,
    },
    /// The caller decided, first or anew.
    Decide(Decision),
    /// The presentity's newest whole state. Takes the place of one that waits.
    State(Document),
    /// The outcome of a NOTIFY.
    Answer {
        /// Of which.
        id: SendId,
        /// The outcome.
        outcome: Outcome,
    },
    /// The watcher's server can be reached again: what did not get there is said now.
    Reachable,
    /// The subscription ends for this reason.
    End(Reason),
    /// A deadline passed.
    Timeout,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// [`Notifier::encode`](super::Notifier::encode) has to be durable before anything after this goes out.
    Persist,
    /// The response to a SUBSCRIBE.
    Respond {
        /// To which.
        id: RequestId,
        /// The response.
        reply: Reply,
    },
    /// A NOTIFY.
    Send {
        /// Its name.
        id: SendId,
        /// The request.
        request: Draft,
    },
    /// It is over: the record goes, and so may this.
    Ended(Ending),
}
