//! Writing messages: one buffer, and no way for a value to become a second header.
//!
//! Builders take typed parts and plain values. The first value that could break out of its line makes
//! [`build`](RequestBuilder::build) fail; nothing is sent then.

use std::fmt::Display;

use crate::header::HeaderName;

mod head;
mod request;
mod response;

pub use request::RequestBuilder;
pub use response::ResponseBuilder;

/// Why a message is not built. Our fault, or of whoever gave us the value; never the SIP peer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BuildFault {
    /// A value has a line end or another control character in it.
    #[error("a control character in {0}")]
    ControlCharacter(HeaderName),
    /// A name that is no token.
    #[error("a header name that is no token")]
    HeaderName,
    /// What was written is no message: a part is missing or malformed.
    #[error("the parts do not make a message")]
    NotAMessage,
}

/// Anything that can stand as a header's value: text, numbers, [`NameAddr`](crate::NameAddr),
/// [`Via`](crate::Via), [`CSeq`](crate::header::CSeq).
pub trait Value: Display {}

impl<T: Display + ?Sized> Value for T {}
