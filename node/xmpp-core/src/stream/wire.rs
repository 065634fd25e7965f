//! What every stream core has on its wire side: the framer, the bytes to write, the ids to give.

use std::fmt::Write as _;
use std::time::Instant;

use bytes::{BufMut as _, BytesMut};

use super::identifiers::Identifiers;
use crate::element::Element;
use crate::error::{StreamCondition, StreamError};
use crate::framer::{Frame, Framer, Limits};
use crate::writer::{HeaderOut, StreamKind, write_close, write_error, write_nonza, write_open};
use crate::xml::{escape_attribute, escape_text};

/// Unread bytes that a peer may pile up before it is authenticated; above, it violates policy.
const MAX_UNREAD_UNAUTHENTICATED: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Wire {
    kind: StreamKind,
    framer: Framer,
    pub(super) out: BytesMut,
    pub(super) ids: Identifiers,
    /// The newest `now` that the shell gave.
    pub(super) now: Instant,
    /// When bytes last came in.
    pub(super) heard: Instant,
    /// Whether our header is out on the current stream, so that errors need none.
    header_sent: bool,
    /// Whether our closing tag is out: then nothing else may follow.
    closed: bool,
}

impl Wire {
    pub(super) fn new(kind: StreamKind, limits: Limits, seed: &[u8; 32], now: Instant) -> Self {
        Self {
            kind,
            framer: Framer::new(limits),
            out: BytesMut::new(),
            ids: Identifiers::new(seed),
            now,
            heard: now,
            header_sent: false,
            closed: false,
        }
    }

    pub(super) fn receive(&mut self, bytes: BytesMut) {
        self.heard = self.now;
        self.framer.push_buffer(bytes);
    }

    /// Whether an unauthenticated peer sent more than we keep for it.
    pub(super) fn is_flooded(&self) -> bool {
        self.framer.unread() > MAX_UNREAD_UNAUTHENTICATED
    }

    pub(super) fn next_frame(&mut self) -> Result<Option<Frame>, Box<StreamError>> {
        let fault = |fault| Box::new(StreamError::from(fault));
        self.framer.next_frame().map_err(fault)
    }

    /// A new stream begins inside the same security layer (after SASL): bytes that the peer sent
    /// ahead are part of it.
    pub(super) fn restart(&mut self) {
        self.framer.reset();
        self.header_sent = false;
    }

    /// A new stream begins under TLS: whatever was sent ahead in plain text is dropped, since
    /// anybody in the middle could have put it there (RFC 6120 section 5.3.5).
    pub(super) fn restart_under_tls(&mut self) {
        self.framer.discard();
        self.restart();
    }

    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.framer.set_limits(limits);
    }

    pub(super) fn put(&mut self, text: &str) {
        self.out.put_slice(text.as_bytes());
    }

    pub(super) fn put_fmt(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing into a BytesMut cannot fail.
        let _ = self.out.write_fmt(text);
    }

    /// ` name='value'`.
    pub(super) fn put_attr(&mut self, name: &str, value: &str) {
        self.put_fmt(format_args!(" {name}='"));
        escape_attribute(&mut self.out, value);
        self.put("'");
    }

    pub(super) fn put_text(&mut self, text: &str) {
        escape_text(&mut self.out, text);
    }

    pub(super) fn put_nonza(&mut self, element: &Element) {
        write_nonza(&mut self.out, self.kind, element);
    }

    pub(super) fn put_header(&mut self, from: Option<&str>, to: Option<&str>, id: Option<&str>) {
        self.header_sent = true;
        let header = HeaderOut {
            from,
            to,
            id,
            // COMPAT ejabberd: a language of more than 35 characters makes it close.
            lang: Some("en"),
        };
        write_open(&mut self.out, self.kind, &header);
    }

    /// The error and our closing tag, after a header if none is out yet (RFC 6120 section
    /// 4.9.1.2). Nothing if our closing tag is already out.
    ///
    /// COMPAT Openfire: it does not read on when the header of an error has no id, so the
    /// receiving entity (which knows who it is: `from`) always gives one.
    pub(super) fn put_error(&mut self, error: &StreamError, from: Option<&str>) {
        if self.closed {
            return;
        }
        if !self.header_sent {
            let id = self.ids.fresh();
            self.put_header(from, None, Some(&id));
        }
        self.closed = true;
        write_error(&mut self.out, self.kind, error);
    }

    /// Our closing tag, once.
    pub(super) fn put_close(&mut self) {
        if self.header_sent && !self.closed {
            self.closed = true;
            write_close(&mut self.out);
        }
    }

    /// Gives the bytes to write.
    pub(super) fn take(&mut self, buffer: &mut BytesMut) {
        if buffer.is_empty() {
            std::mem::swap(buffer, &mut self.out);
        } else {
            buffer.extend_from_slice(&self.out);
        }
        self.out.clear();
    }
}

/// An error of this condition with words for people.
pub(super) fn stream_error(condition: StreamCondition, text: &'static str) -> Box<StreamError> {
    Box::new(StreamError::new(condition).with_text(text))
}

/// Errors travel boxed: results stay small on the path of every stanza.
impl From<StreamCondition> for Box<StreamError> {
    fn from(condition: StreamCondition) -> Self {
        Self::new(condition.into())
    }
}

/// `<failed/>` of stream management (XEP-0198 section 3), with the `h` of a stream that could not
/// be resumed.
pub(super) fn put_sm_failed(wire: &mut Wire, h: Option<u32>, condition: &str) {
    wire.put("<failed xmlns='urn:xmpp:sm:3'");
    if let Some(h) = h {
        wire.put_fmt(format_args!(" h='{h}'"));
    }
    wire.put_fmt(format_args!(
        "><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></failed>"
    ));
}
