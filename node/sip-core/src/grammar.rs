//! The character classes of RFC 3261 section 25.1, and white space.

use std::borrow::Cow;

const TOKEN: u8 = 1;
const UNRESERVED: u8 = 1 << 1;
const USER: u8 = 1 << 2;
const PASSWORD: u8 = 1 << 3;
const PARAM: u8 = 1 << 4;
const HEADER: u8 = 1 << 5;
const WORD: u8 = 1 << 6;
const HOST: u8 = 1 << 7;

/// Which classes each byte belongs to. `%` is in none of the URI classes: [`all_escaped`] sees to it.
static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = u8::MAX;
        }
        byte += 1;
    }
    let table = mark(table, b"-.!%*_+`'~", TOKEN | WORD);
    let table = mark(table, b"()<>:\\\"/[]?{}", WORD);
    let table = mark(
        table,
        b"-_.!~*'()",
        UNRESERVED | USER | PASSWORD | PARAM | HEADER,
    );
    let table = mark(table, b"&=+$,;?/", USER);
    let table = mark(table, b"&=+$,", PASSWORD);
    let table = mark(table, b"[]/:&+$", PARAM);
    let table = mark(table, b"[]/?:+$", HEADER);
    // COMPAT: names with underscores are no host names, yet they stand in real networks' DNS.
    mark(table, b"-._", HOST)
}

const fn mark(mut table: [u8; 256], bytes: &[u8], class: u8) -> [u8; 256] {
    let mut index = 0;
    while index < bytes.len() {
        table[bytes[index] as usize] |= class;
        index += 1;
    }
    table
}

fn all(bytes: &[u8], class: u8) -> bool {
    bytes
        .iter()
        .all(|byte| CLASSES[usize::from(*byte)] & class != 0)
}

/// All of the class, or `%` and two hexadecimal digits.
fn all_escaped(bytes: &[u8], class: u8) -> bool {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        if CLASSES[usize::from(*byte)] & class != 0 {
            at += 1;
        } else if *byte == b'%'
            && matches!(bytes.get(at + 1..at + 3), Some(hex) if hex.iter().all(u8::is_ascii_hexdigit))
        {
            at += 3;
        } else {
            return false;
        }
    }
    true
}

/// A non-empty `token`.
#[must_use]
pub fn is_token(text: &str) -> bool {
    !text.is_empty() && all(text.as_bytes(), TOKEN)
}

/// A `callid`: a word, or two with an `@` between them.
#[must_use]
pub fn is_call_id(text: &str) -> bool {
    let (word, rest) = text.split_once('@').unwrap_or((text, "host"));
    !word.is_empty() && !rest.is_empty() && all(word.as_bytes(), WORD) && all(rest.as_bytes(), WORD)
}

pub(crate) fn is_user(text: &str) -> bool {
    !text.is_empty() && all_escaped(text.as_bytes(), USER)
}

pub(crate) fn is_password(text: &str) -> bool {
    all_escaped(text.as_bytes(), PASSWORD)
}

pub(crate) fn is_uri_param(text: &str) -> bool {
    !text.is_empty() && all_escaped(text.as_bytes(), PARAM)
}

pub(crate) fn is_uri_header(text: &str) -> bool {
    all_escaped(text.as_bytes(), HEADER)
}

pub(crate) fn is_host_name(text: &str) -> bool {
    text.len() <= 255
        && text
            .as_bytes()
            .first()
            .is_some_and(|b| *b != b'-' && *b != b'.')
        && all(text.as_bytes(), HOST)
}

/// Whether the byte needs no escape in the user part of a URI.
pub(crate) fn is_plain_user(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & USER != 0
}

pub(crate) fn is_unreserved(byte: u8) -> bool {
    CLASSES[usize::from(byte)] & UNRESERVED != 0
}

/// White space inside a header value: a folded line's end counts.
pub(crate) const fn is_lws(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Without white space at both ends.
pub(crate) fn trim(text: &str) -> &str {
    let text = trim_start(text);
    let after = text.bytes().rev().take_while(|byte| is_lws(*byte)).count();
    &text[..text.len() - after]
}

pub(crate) fn trim_start(text: &str) -> &str {
    let before = text.bytes().take_while(|byte| is_lws(*byte)).count();
    &text[before..]
}

/// A number in decimal digits, leading zeros allowed, of any magnitude that `u64` holds.
pub(crate) fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// Whether text from elsewhere could stand in a header: line ends only as folds, other control
/// characters only behind a backslash, as in a quoted string.
pub(crate) fn is_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(u8::is_ascii_control) {
        at += found;
        at += match bytes[at..] {
            [b'\t', ..] => 1,
            [b'\r', b'\n', b' ' | b'\t', ..] => 3,
            [b'\r' | b'\n', ..] => return false,
            _ if at > 0 && bytes[at - 1] == b'\\' => 1,
            _ => return false,
        };
    }
    true
}

/// A header value on one line (RFC 3261 section 7.3.1: a fold is one space).
#[must_use]
pub fn unfold(value: &str) -> Cow<'_, str> {
    if memchr::memchr(b'\n', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let lines: Vec<&str> = value.split("\r\n").map(trim).collect();
    Cow::Owned(lines.join(" "))
}

/// The length of the quoted string that `text` starts with, both quotes counted; `None` if it does
/// not end.
pub(crate) fn quoted_len(text: &[u8]) -> Option<usize> {
    debug_assert_eq!(text.first(), Some(&b'"'));
    let mut at = 1;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        match text[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// What stands in a quoted string, escapes and folds resolved; other text as it is.
#[must_use]
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) else {
        return unfold(text);
    };
    if !inner.contains('\\') {
        return unfold(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next()),
            c => plain.push(c),
        }
    }
    Cow::Owned(unfold(&plain).into_owned())
}

/// `text` as a quoted string. Line ends, which no header value may have, become spaces.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// Where `text` has its first `wanted` byte outside quoted strings and angle brackets. `None` too if
/// a quoted string does not end.
pub(crate) fn find_outside(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        at += match wanted {
            b'<' => memchr::memchr2(b'"', b'<', &bytes[at..])?,
            _ => memchr::memchr3(b'"', b'<', wanted, &bytes[at..])?,
        };
        match bytes[at] {
            found if found == wanted => return Some(at),
            b'"' => at += quoted_len(&bytes[at..])?,
            _ => at += memchr::memchr(b'>', &bytes[at..])? + 1,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{find_outside, is_call_id, is_value, quote, unfold, unquote};

    #[test]
    fn separators_in_quotes_and_brackets_separate_nothing() {
        assert_eq!(find_outside("a,b", b','), Some(1));
        assert_eq!(find_outside("\"a,\\\",\" <b,c>,d", b','), Some(13));
        assert_eq!(find_outside("\"a,b", b','), None);
        assert_eq!(find_outside("<a,b", b','), None);
        assert_eq!(find_outside("<a> , <b>", b','), Some(4));
    }

    #[test]
    fn folds_become_one_space() {
        assert_eq!(unfold("a  b"), "a  b");
        assert_eq!(unfold("a \r\n\t b\r\n c"), "a b c");
    }

    #[test]
    fn quoting_and_back_changes_nothing_but_controls() {
        for text in ["", "a", "\"", "\\", "a\\\"b", "\u{e9}"] {
            assert_eq!(unquote(&quote(text)), text);
        }
        assert_eq!(quote("a\r\nb"), "\"a  b\"");
        assert_eq!(unquote("token"), "token");
    }

    #[test]
    fn only_folds_and_escapes_may_hold_controls() {
        for good in ["", "a\tb", "a\r\n b", "\"\\\u{7}\"", "\r\n b"] {
            assert!(is_value(good), "{good:?}");
        }
        for bad in [
            "a\rb", "a\nb", "a\r\nb", "a\r\n", "\0", "a\u{7f}", "\\\r\nb", "\\\n",
        ] {
            assert!(!is_value(bad), "{bad:?}");
        }
    }

    #[test]
    fn call_ids_are_one_word_or_two() {
        for good in ["a", "a@b", "a>b\"(<{}?/\\[]:", "1@[::1]"] {
            assert!(is_call_id(good), "{good}");
        }
        for bad in ["", "@", "a@", "@b", "a@b@c", "a b", "a,b", "a;b", "\u{e9}"] {
            assert!(!is_call_id(bad), "{bad}");
        }
    }
}
