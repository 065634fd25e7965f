//! Cuts a stream into its first-level elements (RFC 6120 section 4).
//!
//! Bytes come in as they are read, in pieces of any size; frames come out when they are complete. A
//! stanza that is canonical as it comes (nearly all are) shares the memory of the read. A framer
//! without unread bytes holds no buffer.

use std::borrow::Cow;

use bytes::{Buf, BytesMut};

use crate::element::Element;
use crate::ns;
use crate::stanza::{Head, HeadBuilder, Stanza, StanzaFault, StanzaKind, Surplus, canonical_copy};
use crate::xml::{Event, RootScope, Scanner, Span, XmlFault, unescape};

mod fault;
mod header;

pub use crate::xml::Limits;
pub use fault::StreamFault;
pub use header::{StreamHeader, Version};

/// Most bytes of a first-level element that is no stanza, whatever the limits allow: features, SASL
/// and the like are small.
pub const MAX_NONZA_BYTES: usize = 16 * 1024;

/// One thing that a peer sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// The stream header.
    StreamOpen(Box<StreamHeader>),
    /// A stanza in the stream's content namespace.
    Stanza(Stanza),
    /// Another first-level element: features, STARTTLS, SASL, dialback, the rest of stream management.
    Nonza(Element),
    /// `<r/>` of stream management (XEP-0198 section 4).
    AckRequest,
    /// `<a/>` of stream management with its counter. Without a valid counter it is a
    /// [`Frame::Nonza`].
    Ack(u32),
    /// The end of the stream.
    StreamClose,
}

/// Where in the stream the next byte belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Before the XML declaration.
    Start,
    /// Between the XML declaration and the header.
    Header,
    /// Between first-level elements or within one.
    Body,
    /// After the end.
    Closed,
    /// After a fault: the stream cannot be read any further.
    Failed(StreamFault),
}

/// What the first-level element being scanned will become.
#[derive(Debug)]
enum Pending {
    Nothing,
    Stanza(HeadBuilder),
    Nonza,
    Ack(Frame),
}

/// See the module's words.
#[derive(Debug)]
pub struct Framer {
    buffer: BytesMut,
    limits: Limits,
    place: Place,
    scanner: Scanner,
    pending: Pending,
    scope: RootScope,
    /// The root's name as written, which the end tag repeats.
    root_name: Cow<'static, str>,
    content_ns: Option<&'static str>,
    keepalives: u32,
}

impl Framer {
    /// A framer that waits for a stream header.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            buffer: BytesMut::new(),
            limits,
            place: Place::Start,
            scanner: Scanner::default(),
            pending: Pending::Nothing,
            scope: RootScope::default(),
            root_name: "".into(),
            content_ns: None,
            keepalives: 0,
        }
    }

    /// Takes bytes that were read, copying them.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.place != Place::Closed && !bytes.is_empty() {
            // An empty framer takes exactly what it needs.
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// Takes bytes that were read; without a copy if nothing is unread.
    pub fn push_buffer(&mut self, bytes: BytesMut) {
        if self.buffer.is_empty() && self.place != Place::Closed {
            self.buffer = bytes;
        } else {
            self.push(&bytes);
        }
    }

    /// The next frame, or `None` until more bytes come.
    ///
    /// # Errors
    /// The first thing that ends the stream; from then on always the same.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, StreamFault> {
        let found = self.find();
        if let Err(fault) = &found {
            self.place = Place::Failed(*fault);
            self.forget_element();
            self.buffer = BytesMut::new();
        }
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new();
        }
        found
    }

    /// Waits for a new stream header on the same connection: after TLS and after SASL. Unread bytes
    /// stay; see [`Framer::discard`].
    pub fn reset(&mut self) {
        self.place = Place::Start;
        self.scope = RootScope::default();
        self.root_name = "".into();
        self.content_ns = None;
        self.forget_element();
    }

    /// Drops unread bytes and says how many there were. What a peer sent in clear behind
    /// `<starttls/>` must never be read as if it had come under TLS.
    pub fn discard(&mut self) -> usize {
        let unread = self.buffer.len();
        self.buffer = BytesMut::new();
        self.forget_element();
        unread
    }

    /// Replaces the limits, from the next element on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Bytes that belong to no frame yet.
    #[must_use]
    pub fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// Runs of white space between first-level elements since the last call: keepalives (RFC 6120
    /// section 4.6.1).
    pub fn take_keepalives(&mut self) -> u32 {
        std::mem::take(&mut self.keepalives)
    }

    fn forget_element(&mut self) {
        self.scanner.reset();
        self.pending = Pending::Nothing;
    }

    fn find(&mut self) -> Result<Option<Frame>, StreamFault> {
        loop {
            match self.place {
                Place::Failed(fault) => return Err(fault),
                Place::Closed => {
                    self.buffer.clear();
                    return Ok(None);
                }
                Place::Start => {
                    if !self.declaration()? {
                        return Ok(None);
                    }
                    self.place = Place::Header;
                }
                Place::Header => return self.header(),
                Place::Body => return self.element(),
            }
        }
    }

    /// Passes the XML declaration, if there is one. Says whether the next byte is the header's.
    fn declaration(&mut self) -> Result<bool, StreamFault> {
        const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";
        const XML: &[u8] = b"<?xml";
        if self.buffer.starts_with(BYTE_ORDER_MARK) {
            self.buffer.advance(BYTE_ORDER_MARK.len());
        } else if BYTE_ORDER_MARK.starts_with(&self.buffer) {
            return Ok(false);
        }
        // COMPAT: line ends before the declaration, left over from before a restart, do no harm.
        self.skip_space();
        match self.buffer.as_ref() {
            [] | [b'<'] => return Ok(false),
            [b'<', b'?', ..] => {}
            [b'<', ..] => return Ok(true),
            _ => return Err(XmlFault::Tag.into()),
        }
        let seen = self.buffer.len().min(XML.len());
        if self.buffer[..seen] != XML[..seen] {
            return Err(XmlFault::ProcessingInstruction.into());
        }
        let Some(end) = memchr::memmem::find(&self.buffer, b"?>") else {
            return match self.buffer.len() > header::MAX_DECLARATION_BYTES {
                true => Err(XmlFault::TooLarge.into()),
                false => Ok(false),
            };
        };
        header::check_declaration(&self.buffer[XML.len()..end])?;
        self.buffer.advance(end + 2);
        Ok(true)
    }

    fn header(&mut self) -> Result<Option<Frame>, StreamFault> {
        if self.scanner.position() == 0 {
            self.skip_space();
        }
        match self.buffer.first() {
            None => return Ok(None),
            Some(b'<') => {}
            Some(_) => return Err(XmlFault::Tag.into()),
        }
        let scope = RootScope::default();
        let event = self.scanner.step(&self.buffer, &scope, &self.limits)?;
        let seen = match event {
            Event::Incomplete => self.buffer.len(),
            _ => self.scanner.position(),
        };
        if seen > self.limits.bytes {
            return Err(XmlFault::TooLarge.into());
        }
        match event {
            Event::Incomplete => Ok(None),
            Event::Start { empty: false } => {
                let opened = header::read(&self.scanner, &self.buffer)?;
                self.content_ns = opened.header.kind().map(|kind| kind.content_ns());
                self.scope = opened.scope;
                self.root_name = opened.name;
                self.buffer.advance(self.scanner.position());
                self.forget_element();
                self.place = Place::Body;
                Ok(Some(Frame::StreamOpen(Box::new(opened.header))))
            }
            _ => Err(StreamFault::NotAStream),
        }
    }

    fn element(&mut self) -> Result<Option<Frame>, StreamFault> {
        if self.scanner.position() == 0 && matches!(self.pending, Pending::Nothing) {
            if self.skip_space() {
                self.keepalives = self.keepalives.saturating_add(1);
            }
            match self.buffer.as_ref() {
                [] | [b'<'] => return Ok(None),
                [b'<', b'/', ..] => return self.close(),
                [b'<', ..] => {}
                _ => return Err(XmlFault::StrayText.into()),
            }
        }
        loop {
            let event = self.scanner.step(&self.buffer, &self.scope, &self.limits)?;
            if event == Event::Incomplete {
                return match self.buffer.len() > self.bytes_limit() {
                    true => Err(XmlFault::TooLarge.into()),
                    false => Ok(None),
                };
            }
            match &mut self.pending {
                Pending::Nothing => self.pending = self.classify()?,
                Pending::Stanza(head) => {
                    head.event(event, &self.scanner, &self.buffer, &self.scope);
                }
                Pending::Nonza | Pending::Ack(_) => {}
            }
            if self.scanner.position() > self.bytes_limit() {
                return Err(XmlFault::TooLarge.into());
            }
            if self.scanner.depth() == 0 {
                return self.complete().map(Some);
            }
        }
    }

    fn bytes_limit(&self) -> usize {
        match self.pending {
            Pending::Nonza | Pending::Ack(_) => self.limits.bytes.min(MAX_NONZA_BYTES),
            Pending::Nothing | Pending::Stanza(_) => self.limits.bytes,
        }
    }

    /// Decides by its first tag what an element is.
    fn classify(&mut self) -> Result<Pending, StreamFault> {
        let scanner = &self.scanner;
        if let Some(head) = HeadBuilder::start(scanner, &self.buffer, &self.scope) {
            return match self.content_ns {
                Some(expected) if expected != head.content_ns() => {
                    Err(StreamFault::InvalidNamespace)
                }
                _ => {
                    self.content_ns = Some(head.content_ns());
                    Ok(Pending::Stanza(head))
                }
            };
        }
        let name = scanner.name();
        let namespace = scanner.lookup(name.prefix, &self.buffer, &self.scope);
        let local = name.local.of(&self.buffer);
        if namespace == ns::STREAM_MANAGEMENT.as_bytes() {
            match local {
                b"r" => return Ok(Pending::Ack(Frame::AckRequest)),
                b"a" => {
                    let handled = scanner
                        .attributes()
                        .iter()
                        .find(|attribute| attribute.name.whole().of(&self.buffer) == b"h")
                        .and_then(|attribute| counter(attribute.value.of(&self.buffer)));
                    return Ok(handled.map_or(Pending::Nonza, |h| Pending::Ack(Frame::Ack(h))));
                }
                _ => {}
            }
        }
        let in_content_ns = [ns::CLIENT, ns::SERVER]
            .iter()
            .any(|content| namespace == content.as_bytes());
        // RFC 6120 section 4.8.5: the content namespace has no prefix.
        if in_content_ns && !name.prefix.is_empty() && StanzaKind::from_name(local).is_some() {
            return Err(StreamFault::BadNamespacePrefix);
        }
        Ok(Pending::Nonza)
    }

    fn complete(&mut self) -> Result<Frame, StreamFault> {
        let len = self.scanner.position();
        let frame = match std::mem::replace(&mut self.pending, Pending::Nothing) {
            Pending::Stanza(head) => {
                let (head, surplus) = head.finish();
                Frame::Stanza(self.take_stanza(len, head, &surplus)?)
            }
            Pending::Ack(frame) => {
                self.buffer.advance(len);
                frame
            }
            Pending::Nonza | Pending::Nothing => {
                let bytes = self.buffer.split_to(len);
                Frame::Nonza(self.parse_nonza(&bytes)?)
            }
        };
        self.scanner.reset();
        Ok(frame)
    }

    fn take_stanza(
        &mut self,
        len: usize,
        mut head: Head,
        surplus: &Surplus,
    ) -> Result<Stanza, StreamFault> {
        let mut bytes = self.buffer.split_to(len);
        let borrowed = self.scanner.borrowed_prefixes();
        if borrowed.is_empty() && surplus.children.is_empty() {
            if let Some(declaration) = surplus.first_tag {
                // With the white space before it. The few bytes in front move up to the rest.
                let cut = Span {
                    start: declaration.start - 1,
                    ..declaration
                };
                bytes.copy_within(..cut.start as usize, cut.len());
                bytes.advance(cut.len());
                head.cut(cut);
            }
            return Ok(Stanza::from_parts(bytes.freeze(), head));
        }
        let declarations: Vec<(&str, &str)> = borrowed
            .iter()
            .map(|index| self.scope.declaration(usize::from(*index)))
            .collect();
        let copy = canonical_copy(&bytes, surplus, &declarations);
        Stanza::parse_tolerant(copy).map_err(|fault| match fault {
            StanzaFault::Xml(fault) => fault.into(),
            _ => StreamFault::InvalidNamespace,
        })
    }

    fn parse_nonza(&self, bytes: &[u8]) -> Result<Element, XmlFault> {
        Element::parse_in(bytes, &self.scope, &self.limits)
    }

    fn close(&mut self) -> Result<Option<Frame>, StreamFault> {
        let name = self.root_name.as_bytes();
        let rest = &self.buffer[2..];
        let seen = rest.len().min(name.len());
        if rest[..seen] != name[..seen] {
            return Err(XmlFault::Mismatch.into());
        }
        let after = rest[seen..].trim_ascii_start();
        match after.first() {
            None if self.buffer.len() > self.limits.bytes => Err(XmlFault::TooLarge.into()),
            None => Ok(None),
            Some(b'>') if seen == name.len() => {
                self.place = Place::Closed;
                self.buffer = BytesMut::new();
                Ok(Some(Frame::StreamClose))
            }
            Some(_) => Err(XmlFault::Mismatch.into()),
        }
    }

    /// Passes white space; says whether there was any.
    fn skip_space(&mut self) -> bool {
        let len = self
            .buffer
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'))
            .count();
        self.buffer.advance(len);
        len > 0
    }
}

/// A counter of stream management: 32 bits (XEP-0198 section 4).
fn counter(raw: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(raw).ok()?;
    unescape(text).trim().parse().ok()
}

#[cfg(test)]
mod tests;
