//! Cuts a stream into messages by Content-Length (RFC 3261 section 18.3, RFC 5626 section 3.5.1).
//!
//! Bytes come in as they are read, in pieces of any size; frames come out when they are complete. The
//! frames do not depend on the pieces. A message that is bad in itself is a
//! [`Frame::Rejected`] and the stream goes on: thousands of others' dialogs live on it. Only where the
//! end of a message cannot be found, the stream is over.

use bytes::{Buf, BytesMut};

use crate::message::{Indexed, Limits, MAX_HEAD_BYTES, Message, MessageFault, head_len, index};
use crate::validate::Rejection;

/// How many times the allowed body is read and thrown away before the connection is given up.
const SKIP_FACTOR: usize = 16;

/// One thing that a peer sent.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every frame is a message; a box would cost it an allocation"
)]
pub enum Frame {
    /// A message whose form is right; [`check`](crate::validate::check) comes next.
    Message(Message),
    /// A message that is not; its bytes are passed over.
    Rejected(Rejection),
    /// CR LF between messages: the answer to our ping, or the first half of a ping. A sign of life
    /// in any case.
    Pong,
    /// The second CR LF in a row: a ping, to be answered with CR LF.
    Ping,
}

/// Why a stream cannot be read any further. The peer's fault; the connection ends.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("framing lost: {cause}")]
pub struct FramingLost {
    /// What made it impossible to find the end of the message.
    pub cause: MessageFault,
}

/// See the module's words.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limits: Limits,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// Between messages; whether an empty line came just before.
    Between { empty_line: bool },
    /// In a head, of which so many bytes hold no end.
    Head { scanned: usize },
    /// In the body of a message whose head was read.
    Body {
        head: usize,
        total: usize,
        indexed: Box<Indexed>,
    },
    /// In what is thrown away.
    Skipping { left: usize },
    /// After a fault.
    Lost(FramingLost),
}

const BETWEEN: Place = Place::Between { empty_line: false };

impl Framer {
    /// A framer at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            buffer: BytesMut::new(),
            limits: Limits {
                head_bytes: limits.head_bytes.min(MAX_HEAD_BYTES),
                ..limits
            },
            place: BETWEEN,
        }
    }

    /// Takes bytes that were read, copying them.
    pub fn push(&mut self, bytes: &[u8]) {
        if !matches!(self.place, Place::Lost(_)) {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes bytes that were read; without a copy if nothing is unread.
    pub fn push_buffer(&mut self, bytes: BytesMut) {
        match self.buffer.is_empty() && !matches!(self.place, Place::Lost(_)) {
            true => self.buffer = bytes,
            false => self.push(&bytes),
        }
    }

    /// Bytes that belong to no frame yet. Bounded by what was pushed at once and the limits: a shell
    /// drains the frames before it reads again.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// Whether no message is begun: nothing is unread but perhaps half a line end.
    #[must_use]
    pub fn is_between(&self) -> bool {
        matches!(self.place, Place::Between { .. })
    }

    /// The next frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// What ends the stream; from then on always the same. What came before was returned before. A
    /// message that is the cause and could be answered comes as [`Frame::Rejected`] first.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FramingLost> {
        loop {
            let done = match std::mem::replace(&mut self.place, BETWEEN) {
                Place::Between { empty_line } => self.between(empty_line),
                Place::Head { scanned } => self.head(scanned),
                Place::Body {
                    head,
                    total,
                    indexed,
                } => self.body(head, total, indexed),
                Place::Skipping { left } => self.skip(left),
                Place::Lost(lost) => {
                    self.place = Place::Lost(lost.clone());
                    return Err(lost);
                }
            };
            match done {
                Step::Frame(frame) => return Ok(Some(frame)),
                Step::Wait => {
                    // A framer without unread bytes holds no buffer.
                    if self.buffer.is_empty() {
                        self.buffer = BytesMut::new();
                    }
                    return Ok(None);
                }
                Step::Go => {}
            }
        }
    }

    fn between(&mut self, empty_line: bool) -> Step {
        match self.buffer.as_ref() {
            [] | [b'\r'] => {
                self.place = Place::Between { empty_line };
                Step::Wait
            }
            [b'\r', b'\n', ..] => {
                self.buffer.advance(2);
                self.place = Place::Between {
                    empty_line: !empty_line,
                };
                Step::Frame(match empty_line {
                    true => Frame::Ping,
                    false => Frame::Pong,
                })
            }
            _ => {
                self.place = Place::Head { scanned: 0 };
                Step::Go
            }
        }
    }

    fn head(&mut self, scanned: usize) -> Step {
        let cap = self.limits.head_bytes;
        let head = match head_len(&self.buffer, scanned) {
            Some(head) if head <= cap => head,
            None if self.buffer.len() <= cap => {
                let scanned = self.buffer.len();
                self.place = Place::Head { scanned };
                return Step::Wait;
            }
            _ => {
                let indexed = index(&self.buffer[..cap], &self.limits);
                return self.lose(cap, indexed, MessageFault::HeadTooLong);
            }
        };
        let indexed = index(&self.buffer[..head], &self.limits);
        let length = match indexed.content_length(&self.buffer) {
            Ok(Some(length)) => length,
            // On a stream it must be there (RFC 3261 section 20.14).
            Ok(None) | Err(_) => return self.lose(head, indexed, MessageFault::ContentLength),
        };
        if length > self.limits.body_bytes {
            let fault = MessageFault::BodyTooLarge;
            return match length > self.limits.body_bytes.saturating_mul(SKIP_FACTOR) {
                true => self.lose(head, indexed, fault),
                false => self.reject(head, length, indexed, fault),
            };
        }
        if let Err(fault) = indexed.verdict() {
            return self.reject(head, length, indexed, fault);
        }
        let total = head + length;
        if self.buffer.len() >= total {
            return self.complete(head, total, indexed);
        }
        self.place = Place::Body {
            head,
            total,
            indexed: Box::new(indexed),
        };
        Step::Wait
    }

    fn body(&mut self, head: usize, total: usize, indexed: Box<Indexed>) -> Step {
        if self.buffer.len() >= total {
            return self.complete(head, total, *indexed);
        }
        self.place = Place::Body {
            head,
            total,
            indexed,
        };
        Step::Wait
    }

    fn complete(&mut self, head: usize, total: usize, indexed: Indexed) -> Step {
        let bytes = self.buffer.split_to(total).freeze();
        Step::Frame(match Message::assemble(bytes, head, indexed) {
            Ok(message) => Frame::Message(message),
            Err(rejection) => Frame::Rejected(rejection),
        })
    }

    fn skip(&mut self, left: usize) -> Step {
        let now = left.min(self.buffer.len());
        self.buffer.advance(now);
        match left - now {
            0 => Step::Go,
            left => {
                self.place = Place::Skipping { left };
                Step::Wait
            }
        }
    }

    fn reject(&mut self, head: usize, body: usize, indexed: Indexed, fault: MessageFault) -> Step {
        let bytes = self.buffer.split_to(head).freeze();
        self.place = Place::Skipping { left: body };
        Step::Frame(Frame::Rejected(Rejection::damaged(
            indexed.into_headers(bytes),
            fault,
        )))
    }

    fn lose(&mut self, head: usize, indexed: Indexed, cause: MessageFault) -> Step {
        let bytes = self.buffer.split_to(head).freeze();
        self.buffer = BytesMut::new();
        self.place = Place::Lost(FramingLost { cause });
        let cause = match indexed.verdict() {
            Err(MessageFault::StartLine) => MessageFault::StartLine,
            _ => cause,
        };
        Step::Frame(Frame::Rejected(Rejection::damaged(
            indexed.into_headers(bytes),
            cause,
        )))
    }
}

#[expect(clippy::large_enum_variant, reason = "see Frame")]
enum Step {
    Frame(Frame),
    Wait,
    Go,
}

#[cfg(test)]
mod tests;
