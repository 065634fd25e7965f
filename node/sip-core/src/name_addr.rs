//! `"Name" <uri>;params`, and the form without brackets.

use std::borrow::Cow;
use std::fmt;

use crate::grammar::{self, is_lws, is_token, quoted_len, trim, trim_start};
use crate::params::Params;
use crate::text::{Span, Text};
use crate::uri::Uri;

/// An address of From, To, Contact, Route and the like (RFC 3261 section 20.10), with its bytes.
#[derive(Clone)]
pub struct NameAddr {
    text: Text,
    display: Span,
    params: Span,
    uri: Uri,
}

impl NameAddr {
    /// Reads an address; `None` if it is malformed.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        grammar::is_value(text).then_some(())?;
        Self::from_text(Text::from(text))
    }

    /// Like [`NameAddr::parse`], of a checked head and sharing its memory.
    pub(crate) fn from_text(text: Text) -> Option<Self> {
        let whole = text.as_str();
        let trimmed = trim(whole);
        if trimmed.len() < whole.len() {
            return Self::from_text(text.cut(trimmed));
        }
        let (display, uri, params) = split(whole)?;
        let span = |part: &str| {
            let start = part.as_ptr() as usize - whole.as_ptr() as usize;
            Span::new(start, start + part.len())
        };
        let display = span(display)?;
        let params = span(Params::header(params)?.as_str())?;
        let uri = Uri::from_text(text.cut(uri)).ok()?;
        Some(Self {
            display,
            params,
            uri,
            text,
        })
    }

    /// `<uri>`.
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        Self::parse(&format!("<{uri}>")).expect("a URI in brackets is an address")
    }

    /// `"display" <uri>`.
    #[must_use]
    pub fn with_display(display: &str, uri: &Uri) -> Self {
        let quoted = grammar::quote(display);
        Self::parse(&format!("{quoted} <{uri}>")).expect("a quoted name and a URI in brackets")
    }

    /// With `;tag=` behind it, which the address must not have yet.
    ///
    /// # Panics
    /// If the tag is no token: tags are ours or were read as tokens.
    #[must_use]
    pub fn with_tag(&self, tag: &str) -> Self {
        assert!(is_token(tag), "a tag is a token");
        // Also without brackets: there, what follows the first `;` is the header's.
        let text = format!("{};tag={tag}", self.text);
        Self::parse(&text).expect("an address stays one with a tag")
    }

    /// As it was written, without white space at the ends.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The address itself.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The display name, without quotes and escapes; `None` if there is none.
    #[must_use]
    pub fn display_name(&self) -> Option<Cow<'_, str>> {
        let span = self.display;
        (!span.is_empty()).then(|| grammar::unquote(self.text.span(span)))
    }

    /// The header's parameters (not the URI's).
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params::checked(self.text.span(self.params))
    }

    /// The tag of a From or To.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.params().get("tag")
    }

    /// The same in memory of its own, for what is kept.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self::from_text(self.text.unshared()).expect("was read from this text before")
    }
}

/// Display name, URI and parameters. Without brackets everything from the first `;` on belongs to the
/// header, and the URI can have neither `,` nor `?` (RFC 3261 section 20).
fn split(text: &str) -> Option<(&str, &str, &str)> {
    let bytes = text.as_bytes();
    let open = match bytes.first()? {
        b'"' => {
            let end = quoted_len(bytes)?;
            let gap = text[end..].bytes().take_while(|byte| is_lws(*byte)).count();
            (bytes.get(end + gap) == Some(&b'<')).then_some(end + gap)?
        }
        _ => match memchr::memchr2(b'<', b';', bytes) {
            Some(at) if bytes[at] == b'<' => at,
            _ => return without_brackets(text),
        },
    };
    let close = open + memchr::memchr(b'>', &bytes[open..])?;
    let display = trim(&text[..open]);
    // `*(token LWS)`; COMPAT: letters beyond ASCII, which real peers leave unquoted. Commas are the
    // list's and never come here unquoted but in a broken header.
    let is_word = |word: &str| {
        word.bytes()
            .all(|byte| !byte.is_ascii() || is_token_byte(byte))
    };
    if !display.starts_with('"')
        && !display
            .split(|c: char| c.is_ascii_whitespace())
            .all(is_word)
    {
        return None;
    }
    Some((display, &text[open + 1..close], &text[close + 1..]))
}

fn is_token_byte(byte: u8) -> bool {
    std::str::from_utf8(&[byte]).is_ok_and(is_token)
}

fn without_brackets(text: &str) -> Option<(&str, &str, &str)> {
    let end = memchr::memchr(b';', text.as_bytes()).unwrap_or(text.len());
    let uri = trim(&text[..end]);
    if memchr::memchr2(b'?', b',', uri.as_bytes()).is_some() {
        return None;
    }
    Some((&text[..0], trim_start(uri), &text[end..]))
}

impl PartialEq for NameAddr {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for NameAddr {}

impl fmt::Display for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NameAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NameAddr({})", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::NameAddr;

    fn parts(text: &str) -> Option<(Option<String>, String, String)> {
        let address = NameAddr::parse(text)?;
        Some((
            address.display_name().map(|name| name.into_owned()),
            address.uri().as_str().to_owned(),
            address.params().as_str().to_owned(),
        ))
    }

    #[test]
    fn both_forms_are_read() {
        let read = |name: &str, uri: &str, params: &str| {
            let name = (!name.is_empty()).then(|| name.to_owned());
            Some((name, uri.to_owned(), params.to_owned()))
        };
        for (text, expected) in [
            ("<sip:a@b>", read("", "sip:a@b", "")),
            ("sip:a@b;tag=1", read("", "sip:a@b", ";tag=1")),
            ("<sip:a@b;lr>;tag=1", read("", "sip:a@b;lr", ";tag=1")),
            ("A. B <sip:a@b> ; x", read("A. B", "sip:a@b", "; x")),
            ("caller<sip:a@b>", read("caller", "sip:a@b", "")),
            (
                "\"a <b>, \\\" c\"<sip:a@b?x=y>",
                read("a <b>, \" c", "sip:a@b?x=y", ""),
            ),
            (" Z\u{fc}rich <sip:a@b>", read("Z\u{fc}rich", "sip:a@b", "")),
            ("\"\"<tel:+1>", read("", "tel:+1", "")),
        ] {
            let got = parts(text)
                .map(|(name, uri, params)| (name.filter(|name| !name.is_empty()), uri, params));
            assert_eq!(got, expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in [
            "",
            "<>",
            "<sip:a@b",
            "sip:a@b>",
            "\"a <sip:a@b>",
            "\"a\" sip:a@b",
            "a, b <sip:a@b>",
            "sip:a@b?x=y",
            "sip:a@b,sip:c@d",
            "< sip:a@b>",
            "<sip:a@b> x",
            "<sip:a@b>;",
            "<sip:a@b>;=1",
            "<sip:a@b>;tag=\"",
            "<sip:a@b>\r\nX: y",
            "<sip:a@b>;x=\"\r\n\"",
            "\"\0\" <sip:a@b>",
        ] {
            assert_eq!(parts(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_tag_goes_to_the_header_in_both_forms() {
        for text in ["sip:a@b", "<sip:a@b;x=y>", "\"N\" <sip:a@b>;q=1"] {
            let tagged = NameAddr::parse(text).unwrap().with_tag("t1");
            assert_eq!(tagged.tag(), Some("t1"), "{text}");
            assert_eq!(tagged.uri(), NameAddr::parse(text).unwrap().uri());
        }
    }
}
