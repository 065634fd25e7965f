//! What a stream sends besides stanzas: headers, first-level elements, errors, the end.
//!
//! The prefixes `stream:` and `db:` are written literally: some servers compare them as text.

use bytes::{BufMut, BytesMut};

use crate::element::{Element, write_element, write_prefixed};
use crate::error::StreamError;
use crate::ns;
use crate::stanza::Stanza;
use crate::xml::escape_attribute;

/// Which kind of stream: decides the content namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Between a client and a server.
    Client,
    /// Between two servers.
    Server,
}

impl StreamKind {
    /// The default namespace of the stream.
    #[must_use]
    pub const fn content_ns(self) -> &'static str {
        match self {
            Self::Client => ns::CLIENT,
            Self::Server => ns::SERVER,
        }
    }
}

/// Attributes of a stream header that we send.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeaderOut<'a> {
    /// Our name for ourselves.
    pub from: Option<&'a str>,
    /// The peer's name.
    pub to: Option<&'a str>,
    /// The stream id: only the receiving entity sends one.
    pub id: Option<&'a str>,
    /// Default language of what follows.
    pub lang: Option<&'a str>,
}

/// Writes the XML declaration and `<stream:stream …>`, version 1.0. Server streams declare
/// `xmlns:db`, from which some peers conclude that dialback is possible.
pub fn write_open(out: &mut BytesMut, kind: StreamKind, header: &HeaderOut<'_>) {
    out.put_slice(b"<?xml version='1.0'?><stream:stream xmlns='");
    out.put_slice(kind.content_ns().as_bytes());
    out.put_slice(b"' xmlns:stream='http://etherx.jabber.org/streams'");
    if kind == StreamKind::Server {
        out.put_slice(b" xmlns:db='jabber:server:dialback'");
    }
    let attributes = [
        ("from", header.from),
        ("to", header.to),
        ("id", header.id),
        ("xml:lang", header.lang),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            out.put_u8(b' ');
            out.put_slice(name.as_bytes());
            out.put_slice(b"='");
            escape_attribute(out, value);
            out.put_u8(b'\'');
        }
    }
    out.put_slice(b" version='1.0'>");
}

/// Writes `</stream:stream>`.
pub fn write_close(out: &mut BytesMut) {
    out.put_slice(b"</stream:stream>");
}

/// Writes a stream error and the end of the stream.
pub fn write_error(out: &mut BytesMut, kind: StreamKind, error: &StreamError) {
    write_nonza(out, kind, &error.to_element());
    write_close(out);
}

/// Writes a first-level element that is no stanza. What is in the stream's or the dialback namespace
/// gets its prefix.
pub fn write_nonza(out: &mut BytesMut, kind: StreamKind, element: &Element) {
    let default = kind.content_ns();
    match element.ns() {
        ns::STREAM => write_prefixed(out, element, "stream", default),
        ns::DIALBACK if kind == StreamKind::Server => write_prefixed(out, element, "db", default),
        _ => write_element(out, element, default),
    }
}

/// Writes a stanza: its bytes as they are.
pub fn write_stanza(out: &mut BytesMut, stanza: &Stanza) {
    out.put_slice(stanza.bytes());
}

/// Writes `<r xmlns='urn:xmpp:sm:3'/>` (XEP-0198 section 4).
pub fn write_ack_request(out: &mut BytesMut) {
    out.put_slice(b"<r xmlns='urn:xmpp:sm:3'/>");
}

/// Writes `<a xmlns='urn:xmpp:sm:3' h='…'/>` (XEP-0198 section 4).
pub fn write_ack(out: &mut BytesMut, handled: u32) {
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    let mut rest = handled;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.put_slice(b"<a xmlns='urn:xmpp:sm:3' h='");
    out.put_slice(&digits[at..]);
    out.put_slice(b"'/>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::StreamCondition;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_server_header() {
        let header = HeaderOut {
            from: Some("bücher.example"),
            to: Some("b.example"),
            id: Some("1'2"),
            lang: None,
        };
        assert_eq!(
            written(|out| write_open(out, StreamKind::Server, &header)),
            "<?xml version='1.0'?><stream:stream xmlns='jabber:server' \
             xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback' \
             from='bücher.example' to='b.example' id='1&apos;2' version='1.0'>"
        );
    }

    #[test]
    fn an_error_and_the_end() {
        let error = StreamError::new(StreamCondition::PolicyViolation)
            .with_text("too <large>")
            .with_application(Element::new("urn:x", "why"));
        assert_eq!(
            written(|out| write_error(out, StreamKind::Client, &error)),
            "<stream:error><policy-violation xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-streams' xml:lang='en'>too &lt;large&gt;</text>\
             <why xmlns='urn:x'/></stream:error></stream:stream>"
        );
    }

    #[test]
    fn prefixes_are_literal() {
        let verify = Element::new(ns::DIALBACK, "verify")
            .attr("id", "1")
            .text("key");
        assert_eq!(
            written(|out| write_nonza(out, StreamKind::Server, &verify)),
            "<db:verify id='1'>key</db:verify>"
        );
        let features = Element::new(ns::STREAM, "features")
            .child(Element::new(ns::TLS, "starttls").child(Element::new(ns::TLS, "required")));
        assert_eq!(
            written(|out| write_nonza(out, StreamKind::Client, &features)),
            "<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/>\
             </starttls></stream:features>"
        );
    }

    #[test]
    fn acks() {
        for (handled, text) in [(0, "0"), (70, "70"), (u32::MAX, "4294967295")] {
            assert_eq!(
                written(|out| write_ack(out, handled)),
                format!("<a xmlns='urn:xmpp:sm:3' h='{text}'/>")
            );
        }
    }
}
