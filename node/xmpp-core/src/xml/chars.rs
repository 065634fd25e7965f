//! Which bytes and characters may stand where.

use super::XmlFault;

/// May continue a name (`:` is handled apart).
pub(super) const NAME: u8 = 1;
/// May start a name.
pub(super) const NAME_START: u8 = 2;
/// White space.
pub(super) const SPACE: u8 = 4;
/// Ends the fast run through an attribute value: quotes, `<`, `&`, control characters.
pub(super) const VALUE_STOP: u8 = 8;

/// The classes of each byte. Bytes of longer UTF-8 sequences count as letters here; names that hold
/// them are checked again by [`check_name_characters`].
pub(super) static CLASS: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0u8; 256];
    let mut i = 0;
    while i < 256 {
        let b = i as u8;
        table[i] = match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80.. => NAME | NAME_START,
            b'0'..=b'9' | b'-' | b'.' => NAME,
            b' ' | b'\t' | b'\n' | b'\r' => SPACE,
            b'\'' | b'"' | b'<' | b'&' | 0..=8 | 11 | 12 | 14..=31 => VALUE_STOP,
            _ => 0,
        };
        i += 1;
    }
    table
}

pub(super) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// Whether XML 1.0 knows the character at all (production `Char`).
pub(super) const fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// Checks bytes with the high bit set: UTF-8, and not U+FFFE or U+FFFF.
pub(super) fn check_unicode(bytes: &[u8]) -> Result<&str, XmlFault> {
    let text = std::str::from_utf8(bytes).map_err(|_| XmlFault::Encoding)?;
    let forbidden = memchr::memchr_iter(0xEF, bytes)
        .any(|at| matches!(bytes.get(at + 1..at + 3), Some([0xBF, 0xBE | 0xBF])));
    if forbidden {
        return Err(XmlFault::Character);
    }
    Ok(text)
}

/// Checks a name that is not all ASCII (productions `NameStartChar` and `NameChar`).
pub(super) fn check_name_characters(name: &[u8]) -> Result<(), XmlFault> {
    let name = check_unicode(name)?;
    for part in name.split(':') {
        let mut chars = part.chars();
        let started = chars.next().is_some_and(is_name_start);
        if !started || !chars.all(|c| is_name_start(c) || is_name_continue(c)) {
            return Err(XmlFault::Name);
        }
    }
    Ok(())
}

const fn is_name_start(c: char) -> bool {
    matches!(
        c,
        'a'..='z' | 'A'..='Z' | '_'
            | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}' | '\u{f8}'..='\u{2ff}'
            | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}'..='\u{200d}'
            | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}'
            | '\u{f900}'..='\u{fdcf}' | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}'
    )
}

const fn is_name_continue(c: char) -> bool {
    matches!(
        c,
        '0'..='9' | '-' | '.' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}'..='\u{2040}'
    )
}
