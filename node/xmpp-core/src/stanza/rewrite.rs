//! New stanzas from old ones: stamped, answered, with something added.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Head, IqType, PresenceType, Stanza, StanzaFault, StanzaType, Surplus};
use crate::element::Element;
use crate::error::StanzaError;
use crate::jid::Jid;
use crate::ns;
use crate::xml::{Event, Limits, RootScope, Scanner, Span, escape_attribute, escaped_len};

impl Stanza {
    /// The same stanza with other addresses; `None` leaves one as it is. Other attributes are kept
    /// verbatim, and the content. One allocation.
    #[must_use]
    pub fn restamped(&self, from: Option<&Jid>, to: Option<&Jid>) -> Self {
        self.stamped(from, to, None)
    }

    /// Like [`Stanza::restamped`]; a stanza without `xml:lang` gets the stream's (RFC 6120 section
    /// 8.1.5).
    #[must_use]
    pub fn stamped(&self, from: Option<&Jid>, to: Option<&Jid>, lang: Option<&str>) -> Self {
        let lang = lang.filter(|_| self.head.lang.is_none());
        let added = |jid: Option<&Jid>| jid.map_or(0, |jid| escaped_len(jid.as_str()) + 8);
        let mut out = BytesMut::with_capacity(
            self.bytes.len() + added(from) + added(to) + lang.map_or(0, |l| escaped_len(l) + 12),
        );
        let mut head = Head::clone(&self.head);
        let first_tag = FirstTag::of(&self.bytes);
        out.put_u8(b'<');
        out.put_slice(self.kind().as_str().as_bytes());
        for attribute in first_tag.scanner.attributes() {
            let value = match attribute.name.whole().of(&self.bytes) {
                b"from" if from.is_some() => continue,
                b"to" if to.is_some() => continue,
                b"id" => &mut head.id,
                b"type" => &mut head.type_,
                b"xml:lang" => &mut head.lang,
                _ => &mut None,
            };
            out.put_u8(b' ');
            let whole = attribute.whole();
            let start = out.len();
            out.put_slice(whole.of(&self.bytes));
            let offset = (attribute.value.start - whole.start) as usize;
            *value = Some(Span::new(
                start + offset,
                start + offset + attribute.value.len(),
            ));
        }
        if let Some(from) = from {
            put_attribute(&mut out, b"from", from.as_str());
            head.from = Some(from.clone());
        }
        if let Some(to) = to {
            put_attribute(&mut out, b"to", to.as_str());
            head.to = Some(to.clone());
        }
        if let Some(lang) = lang {
            let value = put_attribute(&mut out, b"xml:lang", lang);
            head.lang = Some(value);
        }
        let close = if first_tag.empty { 2 } else { 1 };
        let new_end = (out.len() + close) as i64;
        let old_end = first_tag.scanner.token().end;
        out.put_slice(&self.bytes[old_end as usize - close..]);
        // Spans in the first tag were set above; those behind it move along.
        let (id, type_, lang) = (head.id.take(), head.type_.take(), head.lang.take());
        head.shift(old_end, new_end - i64::from(old_end));
        (head.id, head.type_, head.lang) = (id, type_, lang);
        head.malformed_from &= from.is_none();
        head.malformed_to &= to.is_none();
        Self::from_parts(out.freeze(), head)
    }

    /// The same stanza with XML added behind its content, such as a delay stamp. Names without prefix
    /// in it take the content namespace.
    ///
    /// # Errors
    /// If the result is no stanza: the bytes were not complete elements.
    pub fn with_content_appended(&self, xml: &[u8]) -> Result<Self, StanzaFault> {
        let mut out = BytesMut::with_capacity(self.bytes.len() + xml.len() + 16);
        let name = self.kind().as_str();
        if self.head.content.end as usize == self.bytes.len() {
            // `<name/>`
            out.put_slice(&self.bytes[..self.bytes.len() - 2]);
            out.put_u8(b'>');
        } else {
            out.put_slice(&self.bytes[..self.head.content.end as usize]);
        }
        out.put_slice(xml);
        put_end_tag(&mut out, name);
        Self::parse_tolerant(out.freeze())
    }

    /// The same stanza with one more child at its end.
    #[must_use]
    pub fn with_child(&self, child: &Element) -> Self {
        self.with_content_appended(&child.to_bytes(ns::CLIENT))
            .expect("an element is written as complete XML")
    }

    /// The answer that reports an error, addresses swapped and the id kept; with the original content
    /// before it if wanted (RFC 6120 section 8.3.1). `None` for what must not be answered so: errors,
    /// results, and presence that is unavailable or a probe.
    #[must_use]
    pub fn error_reply(&self, error: &StanzaError, include_original: bool) -> Option<Self> {
        let unknown = self.head.other_fault == Some(StanzaFault::UnknownType);
        let silent = matches!(
            self.head.kind,
            StanzaType::Iq(IqType::Result)
                | StanzaType::Presence(PresenceType::Unavailable | PresenceType::Probe)
        );
        if self.is_error() || silent && !unknown {
            return None;
        }
        let original = match include_original {
            true => self.content(),
            false => b"",
        };
        let error = error.to_element(ns::CLIENT).to_bytes(ns::CLIENT);
        self.answer("error", original, &error)
    }

    /// The result of this IQ request, addresses swapped and the id kept, with the payload if there is
    /// one. `None` if this is not an IQ request.
    #[must_use]
    pub fn iq_result(&self, payload: Option<&Element>) -> Option<Self> {
        if !matches!(self.iq_type(), Some(IqType::Get | IqType::Set)) {
            return None;
        }
        let payload = payload.map(|payload| payload.to_bytes(ns::CLIENT));
        self.answer("result", b"", payload.as_deref().unwrap_or_default())
    }

    fn answer(&self, type_: &str, original: &[u8], added: &[u8]) -> Option<Self> {
        let mut out = BytesMut::with_capacity(self.bytes.len() + added.len() + type_.len() + 32);
        let first_tag = FirstTag::of(&self.bytes);
        out.put_u8(b'<');
        out.put_slice(self.kind().as_str().as_bytes());
        put_attribute(&mut out, b"type", type_);
        for attribute in first_tag.scanner.attributes() {
            let name: &[u8] = match attribute.name.whole().of(&self.bytes) {
                b"id" => b"id",
                b"from" => b"to",
                b"to" => b"from",
                // The original content may use prefixes declared on the first tag.
                name if name.starts_with(b"xmlns:") => name,
                _ => continue,
            };
            let whole = attribute.whole().of(&self.bytes);
            out.put_u8(b' ');
            out.put_slice(name);
            out.put_slice(&whole[attribute.name.whole().len()..]);
        }
        if original.is_empty() && added.is_empty() {
            out.put_slice(b"/>");
        } else {
            out.put_u8(b'>');
            out.put_slice(original);
            out.put_slice(added);
            put_end_tag(&mut out, self.kind().as_str());
        }
        // An answer to a malformed address goes out with it as it is: that is what the sender knows.
        Self::parse_tolerant(out.freeze()).ok()
    }
}

/// The first tag, scanned again: some eighty bytes.
struct FirstTag {
    scanner: Scanner,
    empty: bool,
}

impl FirstTag {
    fn of(bytes: &[u8]) -> Self {
        let mut scanner = Scanner::default();
        let scope = RootScope::with_default(ns::CLIENT);
        match scanner.step(bytes, &scope, &Limits::TRUSTED) {
            Ok(Event::Start { empty }) => Self { scanner, empty },
            _ => unreachable!("a stanza starts with its first tag"),
        }
    }
}

/// Writes ` name='value'` and says where the value is.
fn put_attribute(out: &mut BytesMut, name: &[u8], value: &str) -> Span {
    out.put_u8(b' ');
    out.put_slice(name);
    out.put_slice(b"='");
    let start = out.len();
    escape_attribute(out, value);
    let end = out.len();
    out.put_u8(b'\'');
    Span::new(start, end)
}

fn put_end_tag(out: &mut BytesMut, name: &str) {
    out.put_slice(b"</");
    out.put_slice(name.as_bytes());
    out.put_u8(b'>');
}

/// Copies a stanza without what is surplus, and with the stream root's declarations it relies on.
/// Rare: most stanzas are canonical as they come, or after a cut in their first tag.
pub(crate) fn canonical_copy(
    bytes: &[u8],
    surplus: &Surplus,
    declarations: &[(&str, &str)],
) -> Bytes {
    let added: usize = declarations
        .iter()
        .map(|(prefix, uri)| prefix.len() + escaped_len(uri) + 10)
        .sum();
    let mut out = BytesMut::with_capacity(bytes.len() + added);
    let name_end = bytes
        .iter()
        .position(|b| b" \t\r\n/>".contains(b))
        .unwrap_or(bytes.len());
    out.put_slice(&bytes[..name_end]);
    for (prefix, uri) in declarations {
        out.put_slice(b" xmlns:");
        out.put_slice(prefix.as_bytes());
        out.put_slice(b"='");
        // Taken from an attribute as it was written, with either quote.
        escape_raw_value(&mut out, uri);
        out.put_u8(b'\'');
    }
    let mut copied = name_end;
    for cut in surplus.first_tag.iter().chain(&surplus.children) {
        // With the white space before it.
        out.put_slice(&bytes[copied..cut.start as usize - 1]);
        copied = cut.end as usize;
    }
    out.put_slice(&bytes[copied..]);
    out.freeze()
}

fn escape_raw_value(out: &mut BytesMut, raw: &str) {
    for &byte in raw.as_bytes() {
        match byte {
            b'\'' => out.put_slice(b"&apos;"),
            _ => out.put_u8(byte),
        }
    }
}

impl Head {
    /// Takes note of bytes cut out of the first tag.
    pub(crate) fn cut(&mut self, cut: Span) {
        self.shift(cut.end, -(cut.len() as i64));
    }
}
