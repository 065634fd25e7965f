//! Why bytes are no message.

use crate::header::{HeaderFault, HeaderName};
use crate::status::Status;

/// What is wrong with the form of a message. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MessageFault {
    /// The first line is neither of a request nor of a response.
    #[error("malformed start line")]
    StartLine,
    /// Another version than SIP/2.0.
    #[error("unsupported SIP version")]
    Version,
    /// A line that is no header.
    #[error("malformed header line")]
    HeaderLine,
    /// CR or LF alone.
    #[error("a line end that is not CRLF")]
    LineEnd,
    /// A control character outside an escape.
    #[error("a control character in the head")]
    ControlCharacter,
    /// The head is not UTF-8.
    #[error("the head is not UTF-8")]
    NotUtf8,
    /// Content-Length is no number, or there are two that differ.
    #[error("no usable Content-Length")]
    ContentLength,
    /// It ends before its Content-Length says, or within the head.
    #[error("incomplete message")]
    Incomplete,
    /// More bytes of head than allowed.
    #[error("the head is too long")]
    HeadTooLong,
    /// More header lines than allowed.
    #[error("too many headers")]
    TooManyHeaders,
    /// More bytes of body than allowed.
    #[error("the body is too large")]
    BodyTooLarge,
}

impl MessageFault {
    /// The response to a request with this fault.
    #[must_use]
    pub const fn status(self) -> Status {
        match self {
            Self::Version => Status::VERSION_NOT_SUPPORTED,
            Self::BodyTooLarge => Status::REQUEST_ENTITY_TOO_LARGE,
            Self::HeadTooLong | Self::TooManyHeaders => Status::MESSAGE_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        }
    }

    /// The fault as that of a header, for those that are.
    #[must_use]
    pub const fn header(self) -> Option<HeaderFault> {
        match self {
            Self::ContentLength => Some(HeaderFault::Malformed(HeaderName::ContentLength)),
            _ => None,
        }
    }
}
