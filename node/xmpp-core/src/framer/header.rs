//! The XML declaration and the stream header (RFC 6120 sections 4.7 and 11.5).

use std::borrow::Cow;

use super::StreamFault;
use crate::ns;
use crate::writer::StreamKind;
use crate::xml::{Event, Limits, RootScope, Scanner, Span, XmlFault, unescape};

/// Most bytes of an XML declaration.
pub(super) const MAX_DECLARATION_BYTES: usize = 256;

/// A version of XMPP (RFC 6120 section 4.7.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// Before the dot: 1 for all of XMPP so far.
    pub major: u16,
    /// After the dot.
    pub minor: u16,
}

/// The attributes of `<stream:stream/>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamHeader {
    /// The default namespace; the content namespace, where the peer follows custom.
    pub default_ns: Cow<'static, str>,
    /// Whom the peer wants to talk to, not checked.
    pub to: Option<String>,
    /// Who the peer says it is, not checked.
    pub from: Option<String>,
    /// The stream's id; only the receiving entity sends one.
    pub id: Option<String>,
    /// `None` is XMPP before 1.0: no features, no TLS, no SASL.
    pub version: Option<Version>,
    /// Default language of what follows.
    pub lang: Option<String>,
    /// Whether the dialback namespace is declared.
    pub declares_dialback: bool,
}

impl StreamHeader {
    /// Client or server stream by the default namespace; `None` if it is neither.
    #[must_use]
    pub fn kind(&self) -> Option<StreamKind> {
        match self.default_ns.as_ref() {
            ns::CLIENT => Some(StreamKind::Client),
            ns::SERVER => Some(StreamKind::Server),
            _ => None,
        }
    }
}

/// What a header tells: its attributes, the namespaces in scope, and the name that the end repeats.
pub(super) struct Opened {
    pub(super) header: StreamHeader,
    pub(super) scope: RootScope,
    pub(super) name: Cow<'static, str>,
}

/// Reads the start tag that the scanner just passed.
pub(super) fn read(scanner: &Scanner, bytes: &[u8]) -> Result<Opened, StreamFault> {
    let outside = RootScope::default();
    let name = scanner.name();
    if name.local.of(bytes) != b"stream" {
        return Err(StreamFault::NotAStream);
    }
    if scanner.lookup(name.prefix, bytes, &outside) != ns::STREAM.as_bytes() {
        return Err(StreamFault::InvalidNamespace);
    }
    let default = scanner.lookup(Span::default(), bytes, &outside);
    let mut scope = RootScope::with_default(text(default));
    let mut header = StreamHeader {
        default_ns: Cow::Borrowed(""),
        to: None,
        from: None,
        id: None,
        version: None,
        lang: None,
        declares_dialback: default == ns::DIALBACK.as_bytes(),
    };
    for attribute in scanner.attributes() {
        let raw = text(attribute.value.of(bytes));
        if attribute.is_declaration(bytes) {
            if !attribute.name.prefix.is_empty() {
                scope.declare(text(attribute.name.local.of(bytes)), raw);
                header.declares_dialback |= raw == ns::DIALBACK;
            }
            continue;
        }
        let value = || Some(unescape(raw).into_owned());
        match attribute.name.whole().of(bytes) {
            b"to" => header.to = value(),
            b"from" => header.from = value(),
            b"id" => header.id = value(),
            b"xml:lang" => header.lang = value(),
            b"version" => header.version = Some(version(raw)?),
            _ => {}
        }
    }
    header.default_ns = scope.default_name();
    let name = match name.whole().of(bytes) {
        b"stream:stream" => Cow::Borrowed("stream:stream"),
        name => Cow::Owned(text(name).to_owned()),
    };
    Ok(Opened {
        header,
        scope,
        name,
    })
}

fn version(raw: &str) -> Result<Version, StreamFault> {
    let part = |digits: &str| {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|_| plain)
    };
    raw.split_once('.')
        .and_then(|(major, minor)| {
            Some(Version {
                major: part(major)?,
                minor: part(minor)?,
            })
        })
        .ok_or(StreamFault::UnsupportedVersion)
}

/// Checks what stands between `<?xml` and `?>`: it has the form of attributes.
pub(super) fn check_declaration(inside: &[u8]) -> Result<(), StreamFault> {
    let mut tag = Vec::with_capacity(inside.len() + 4);
    tag.extend_from_slice(b"<x");
    tag.extend_from_slice(inside);
    tag.extend_from_slice(b"/>");
    let mut scanner = Scanner::default();
    let event = scanner.step(&tag, &RootScope::default(), &Limits::BEFORE_AUTHENTICATION);
    let complete = event == Ok(Event::Start { empty: true }) && scanner.position() == tag.len();
    let attributes = scanner.attributes();
    let versioned = attributes
        .first()
        .is_some_and(|attribute| attribute.name.whole().of(&tag) == b"version");
    if !complete || !versioned {
        return Err(XmlFault::Tag.into());
    }
    for attribute in attributes {
        let value = attribute.value.of(&tag);
        match attribute.name.whole().of(&tag) {
            b"version" if value != b"1.0" => return Err(StreamFault::UnsupportedVersion),
            b"encoding" if !value.eq_ignore_ascii_case(b"utf-8") => {
                return Err(StreamFault::UnsupportedEncoding);
            }
            b"version" | b"encoding" | b"standalone" => {}
            _ => return Err(XmlFault::Tag.into()),
        }
    }
    Ok(())
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("the scanner lets only UTF-8 through")
}
