//! Why a message for a local user was not taken.

use std::borrow::Cow;

use super::SipAnswer;
use crate::text::TextFault;

/// Why a message for a local user was not taken: each has a status that the peer's client explains to
/// its user. Nothing here tells a blocked sender that it is blocked: it hears [`Self::Offline`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryFailure {
    /// The user does not want to be disturbed, and does not want it kept.
    DoNotDisturb,
    /// The format, or the charset.
    Format,
    /// Larger than we take.
    TooLarge,
    /// The body is not what its type says.
    Malformed,
    /// Not there, and nothing is kept for the user.
    Offline,
    /// No such user.
    NoSuchUser,
    /// The organisation's policy.
    Policy,
    /// We cannot take it now: the store, a queue, a move.
    Unavailable,
}

impl DeliveryFailure {
    /// The answer to the MESSAGE.
    #[must_use]
    pub fn answer(self) -> SipAnswer {
        let (status, text) = match self {
            Self::DoNotDisturb => (486, "The recipient does not want to be disturbed"),
            Self::Format => (415, "Only text can be sent to this recipient"),
            Self::TooLarge => (413, "The message is too large"),
            Self::Malformed => (400, "The message could not be read"),
            Self::Offline => (480, "The recipient is not online"),
            Self::NoSuchUser => (404, "There is no such user"),
            Self::Policy => (606, "The message is refused by policy"),
            Self::Unavailable => (503, "The message cannot be taken now, try again"),
        };
        SipAnswer {
            text: Some(Cow::Borrowed(text)),
            ..SipAnswer::of_status(status)
        }
    }
}

impl From<TextFault> for DeliveryFailure {
    fn from(fault: TextFault) -> Self {
        match fault {
            TextFault::Unsupported | TextFault::Charset => Self::Format,
            TextFault::Malformed => Self::Malformed,
            TextFault::TooLarge => Self::TooLarge,
        }
    }
}
