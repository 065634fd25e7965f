//! Character data: its checks, references, escaping.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};

use super::XmlFault;
use super::chars::{check_unicode, is_xml_char};

/// Longest reference that is understood: `&#x10FFFF;` with two leading zeros.
const MAX_REFERENCE_LEN: usize = 12;

/// What a run of bytes holds besides plain ASCII.
struct Oddities {
    control: bool,
    ampersand: bool,
    bracket: bool,
    non_ascii: bool,
}

/// One pass that the compiler turns into vector instructions.
fn oddities(bytes: &[u8]) -> Oddities {
    let (mut control, mut ampersand, mut bracket, mut high) = (false, false, false, 0u8);
    for &b in bytes {
        control |= (b < 0x20) & (b != b'\n') & (b != b'\t') & (b != b'\r');
        ampersand |= b == b'&';
        bracket |= b == b']';
        high |= b;
    }
    Oddities {
        control,
        ampersand,
        bracket,
        non_ascii: high >= 0x80,
    }
}

/// Checks a complete run of text between two tags.
pub(super) fn check_text(bytes: &[u8]) -> Result<(), XmlFault> {
    let odd = oddities(bytes);
    if odd.control {
        return Err(XmlFault::Character);
    }
    if odd.bracket && memchr::memmem::find(bytes, b"]]>").is_some() {
        return Err(XmlFault::CdataEnd);
    }
    if odd.ampersand {
        for at in memchr::memchr_iter(b'&', bytes) {
            check_reference(&bytes[at..])?.ok_or(XmlFault::Reference)?;
        }
    }
    if odd.non_ascii {
        check_unicode(bytes)?;
    }
    Ok(())
}

/// Checks the contents of a CDATA section.
pub(super) fn check_cdata(bytes: &[u8]) -> Result<(), XmlFault> {
    let odd = oddities(bytes);
    if odd.control {
        return Err(XmlFault::Character);
    }
    if odd.non_ascii {
        check_unicode(bytes)?;
    }
    Ok(())
}

/// Checks the reference that `bytes` start with and returns its length, or `None` if the bytes end
/// before it does.
pub(super) fn check_reference(bytes: &[u8]) -> Result<Option<usize>, XmlFault> {
    let window = &bytes[..bytes.len().min(MAX_REFERENCE_LEN)];
    let Some(end) = memchr::memchr(b';', window) else {
        return if bytes.len() >= MAX_REFERENCE_LEN {
            Err(XmlFault::Reference)
        } else {
            Ok(None)
        };
    };
    match resolve_reference(&window[1..end]) {
        Some(_) => Ok(Some(end + 1)),
        None if window[1] == b'#' || !is_entity_name(&window[1..end]) => Err(XmlFault::Reference),
        None => Err(XmlFault::Entity),
    }
}

fn is_entity_name(name: &[u8]) -> bool {
    !name.is_empty()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// The character behind a reference, given without `&` and `;`.
fn resolve_reference(name: &[u8]) -> Option<char> {
    Some(match name {
        b"amp" => '&',
        b"lt" => '<',
        b"gt" => '>',
        b"quot" => '"',
        b"apos" => '\'',
        [b'#', b'x', digits @ ..] => numeric(digits, 16)?,
        [b'#', digits @ ..] => numeric(digits, 10)?,
        _ => return None,
    })
}

fn numeric(digits: &[u8], radix: u32) -> Option<char> {
    let digits = std::str::from_utf8(digits).ok()?;
    // `from_str_radix` would take a sign.
    if !digits.starts_with(|c: char| c.is_ascii_hexdigit()) {
        return None;
    }
    let c = char::from_u32(u32::from_str_radix(digits, radix).ok()?)?;
    is_xml_char(c).then_some(c)
}

/// The text behind a checked piece of character data or attribute value. References that are not
/// known stay as they are. Borrows when there is nothing to replace.
#[must_use]
pub fn unescape(raw: &str) -> Cow<'_, str> {
    let Some(first) = memchr::memchr(b'&', raw.as_bytes()) else {
        return Cow::Borrowed(raw);
    };
    let mut text = String::with_capacity(raw.len());
    text.push_str(&raw[..first]);
    let mut rest = &raw[first..];
    while let Some(at) = memchr::memchr(b'&', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = memchr::memchr(b';', rest.as_bytes());
        match end.and_then(|end| Some((end, resolve_reference(&rest.as_bytes()[1..end])?))) {
            Some((end, c)) => {
                text.push(c);
                rest = &rest[end + 1..];
            }
            None => {
                text.push('&');
                rest = &rest[1..];
            }
        }
    }
    text.push_str(rest);
    Cow::Owned(text)
}

const fn replacement(byte: u8) -> Option<&'static [u8]> {
    Some(match byte {
        b'&' => b"&amp;",
        b'<' => b"&lt;",
        b'>' => b"&gt;",
        b'\'' => b"&apos;",
        b'"' => b"&quot;",
        _ => return None,
    })
}

/// Appends text with `&`, `<` and `>` escaped. Characters that XML forbids become U+FFFD, so that
/// nothing written here can break a stream.
pub fn escape_text(out: &mut BytesMut, text: &str) {
    escape(out, text, false);
}

/// Appends an attribute value, without its quotes. Besides what [`escape_text`] does, quotes and line
/// ends are escaped.
pub fn escape_attribute(out: &mut BytesMut, text: &str) {
    escape(out, text, true);
}

fn escape(out: &mut BytesMut, text: &str, attribute: bool) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let (escaped, len): (&[u8], usize) = match byte {
            b'\'' | b'"' if !attribute => continue,
            b'&' | b'<' | b'>' | b'\'' | b'"' => (replacement(byte).unwrap_or_default(), 1),
            b'\t' if attribute => (b"&#9;", 1),
            b'\n' if attribute => (b"&#10;", 1),
            b'\r' => (b"&#13;", 1),
            b'\t' | b'\n' => continue,
            0..=31 => ("\u{fffd}".as_bytes(), 1),
            0xEF if matches!(bytes[at + 1..at + 3], [0xBF, 0xBE | 0xBF]) => {
                ("\u{fffd}".as_bytes(), 3)
            }
            _ => continue,
        };
        out.put_slice(&bytes[copied..at]);
        out.put_slice(escaped);
        copied = at + len;
    }
    out.put_slice(&bytes[copied..]);
}

/// How many bytes [`escape_attribute`] makes of an address or other text without control characters.
#[must_use]
pub fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| replacement(byte).map_or(1, <[u8]>::len))
        .sum()
}
