//! Messages: read once, kept as they came.
//!
//! A [`Message`] is its bytes and an index of its headers. Values are read when they are asked for and
//! share the message's memory; nothing is normalised, so that what a peer signed (Record-Route, Via)
//! goes back to it byte for byte. Whether a message may be worked on is the question of
//! [`validate`](crate::validate).

use bytes::Bytes;

use crate::method::Method;
use crate::status::Status;
use crate::text::{Span, Text, str_of};
use crate::uri::{Uri, UriFault};

mod fault;
mod headers;
mod index;
mod typed;
mod values;

pub use fault::MessageFault;
pub use headers::{Header, Headers};
pub(crate) use index::{Indexed, Start, head_len, index};
pub use typed::Contact;
pub use values::Values;

use crate::validate::Rejection;

/// The longest head (start line and headers) that can be indexed, whatever the limits say.
pub const MAX_HEAD_BYTES: usize = u16::MAX as usize;

/// What a message may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of start line and headers; never above [`MAX_HEAD_BYTES`]. More ends a connection, as
    /// the end of the message cannot be found. Default 16 KiB: some thirty signed Record-Routes.
    pub head_bytes: usize,
    /// Header lines. More is answered with 513. Default 128.
    pub headers: usize,
    /// Bytes of the body. More is answered with 413 and skipped. Default 128 KiB.
    pub body_bytes: usize,
}

impl Limits {
    /// For what was checked before: our own messages, and those of the store.
    pub const TRUSTED: Self = Self {
        head_bytes: MAX_HEAD_BYTES,
        headers: usize::MAX,
        body_bytes: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 16 * 1024,
            headers: 128,
            body_bytes: 128 * 1024,
        }
    }
}

/// The first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// A request.
    Request {
        /// What it asks for.
        method: &'a Method,
        /// The Request-URI as written; see [`Message::request_uri`].
        uri: &'a str,
    },
    /// A response.
    Response {
        /// The code.
        status: Status,
        /// The reason phrase as written; may be empty.
        reason: &'a str,
    },
}

/// A request or response. Cloning copies no bytes.
#[derive(Clone)]
pub struct Message {
    start: Start,
    headers: Headers,
    head_bytes: usize,
}

impl Message {
    /// Reads a message that is whole: a datagram, or bytes from the store, the mesh or a builder.
    /// Empty lines before it are passed over; bytes behind the body are dropped; without
    /// Content-Length everything behind the head is the body (RFC 3261 section 18.3).
    ///
    /// # Errors
    /// What cannot be read, and whether and how to answer it.
    pub fn parse(bytes: Bytes, limits: &Limits) -> Result<Self, Rejection> {
        let empty_lines = bytes
            .chunks_exact(2)
            .take_while(|line| line == b"\r\n")
            .count();
        let mut bytes = bytes.slice(2 * empty_lines..);
        let cap = limits.head_bytes.min(MAX_HEAD_BYTES);
        let Some(head_bytes) = head_len(&bytes, 0).filter(|length| *length <= cap) else {
            let fault = match bytes.len() > cap {
                true => MessageFault::HeadTooLong,
                false => MessageFault::Incomplete,
            };
            bytes.truncate(cap);
            return Err(Rejection::damaged(
                index(&bytes, limits).into_headers(bytes),
                fault,
            ));
        };
        let mut indexed = index(&bytes[..head_bytes], limits);
        let body_bytes = bytes.len() - head_bytes;
        match indexed.content_length(&bytes) {
            Ok(None) => {}
            Ok(Some(length)) if length <= body_bytes => bytes.truncate(head_bytes + length),
            Ok(Some(_)) => indexed.blame(MessageFault::Incomplete),
            Err(fault) => indexed.blame(fault),
        }
        if bytes.len() - head_bytes > limits.body_bytes {
            indexed.blame(MessageFault::BodyTooLarge);
        }
        Self::assemble(bytes, head_bytes, indexed)
    }

    /// A message of bytes and their index.
    pub(crate) fn assemble(
        bytes: Bytes,
        head_bytes: usize,
        indexed: Indexed,
    ) -> Result<Self, Rejection> {
        match indexed.verdict() {
            Ok(()) => {
                let (start, headers) = indexed.into_parts(bytes);
                Ok(Self {
                    start: start.expect("a message without fault has a start line"),
                    headers,
                    head_bytes,
                })
            }
            Err(fault) => Err(Rejection::damaged(indexed.into_headers(bytes), fault)),
        }
    }

    /// The first line.
    #[must_use]
    pub fn start_line(&self) -> StartLine<'_> {
        match &self.start {
            Start::Request { method, uri } => StartLine::Request {
                method,
                uri: str_of(uri.of(self.as_bytes())),
            },
            Start::Response { status, reason } => StartLine::Response {
                status: *status,
                reason: str_of(reason.of(self.as_bytes())),
            },
        }
    }

    /// The method, if it is a request.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The code, if it is a response.
    #[must_use]
    pub fn status(&self) -> Option<Status> {
        match &self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(*status),
        }
    }

    /// Whether it is a request.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The Request-URI; `None` of a response.
    ///
    /// # Errors
    /// If it is no URI.
    pub fn request_uri(&self) -> Result<Option<Uri>, UriFault> {
        match &self.start {
            Start::Request { uri, .. } => Uri::from_text(self.headers.text_of(*uri)).map(Some),
            Start::Response { .. } => Ok(None),
        }
    }

    /// The headers.
    #[must_use]
    pub fn headers(&self) -> &Headers {
        &self.headers
    }

    /// The body: any bytes.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.as_bytes()[self.head_bytes..]
    }

    /// Like [`Message::body`], sharing the memory.
    #[must_use]
    pub fn body_bytes(&self) -> Bytes {
        self.headers.bytes().slice(self.head_bytes..)
    }

    /// The message as it came.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.headers.bytes()
    }

    /// Like [`Message::as_bytes`], sharing the memory.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        self.headers.bytes()
    }

    /// The same message in memory of its own. One from a stream shares the memory of the whole read.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self {
            headers: self.headers.unshared(),
            ..self.clone()
        }
    }
}

impl Headers {
    fn text_of(&self, span: Span) -> Text {
        let range = usize::from(span.start)..usize::from(span.end);
        Text::checked(self.bytes().slice(range))
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Message {}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
