//! Characters in a localpart that XMPP forbids there (XEP-0106).

use std::borrow::Cow;

use super::AddressError;

/// The escape sequences, without their backslash.
const SEQUENCES: [(&str, char); 10] = [
    ("20", ' '),
    ("22", '"'),
    ("26", '&'),
    ("27", '\''),
    ("2f", '/'),
    ("3a", ':'),
    ("3c", '<'),
    ("3e", '>'),
    ("40", '@'),
    ("5c", '\\'),
];

/// The character for which the text after a backslash stands, if it starts with a sequence.
fn sequence(after_backslash: &str) -> Option<char> {
    let digits = after_backslash.get(..2)?;
    SEQUENCES
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(digits))
        .map(|&(_, character)| character)
}

/// The localpart for any text. A backslash is escaped only where it would be read as the start of a
/// sequence (XEP-0106 section 4.1).
///
/// # Errors
/// [`AddressError::Escape`] for text that begins or ends with a space, which no localpart may.
pub fn escape_localpart(text: &str) -> Result<Cow<'_, str>, AddressError> {
    if text.starts_with(' ') || text.ends_with(' ') {
        return Err(AddressError::Escape);
    }
    let needs = |c: char| SEQUENCES.iter().any(|&(_, special)| special == c);
    if !text.contains(needs) {
        return Ok(Cow::Borrowed(text));
    }
    let mut escaped = String::with_capacity(text.len() + 8);
    for (at, character) in text.char_indices() {
        let special = SEQUENCES.iter().find(|&&(_, special)| special == character);
        match special {
            Some((_, '\\')) if sequence(&text[at + 1..]).is_none() => escaped.push('\\'),
            Some((digits, _)) => {
                escaped.push('\\');
                escaped.push_str(digits);
            }
            None => escaped.push(character),
        }
    }
    Ok(Cow::Owned(escaped))
}

/// The text behind a localpart.
///
/// # Errors
/// [`AddressError::Escape`] if no text is escaped to this localpart.
pub fn unescape_localpart(localpart: &str) -> Result<Cow<'_, str>, AddressError> {
    if memchr::memchr(b'\\', localpart.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(localpart));
    }
    let mut text = String::with_capacity(localpart.len());
    let mut rest = localpart;
    while let Some(at) = rest.find('\\') {
        text.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match sequence(rest) {
            Some(character) => {
                text.push(character);
                rest = &rest[2..];
            }
            None => text.push('\\'),
        }
    }
    text.push_str(rest);
    if escape_localpart(&text)? == localpart {
        Ok(Cow::Owned(text))
    } else {
        Err(AddressError::Escape)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The examples of XEP-0106 sections 5.1 and 5.2.
    #[test]
    fn the_examples_of_the_specification() {
        for (text, localpart) in [
            ("space cadet", r"space\20cadet"),
            (r#"call me "ishmael""#, r"call\20me\20\22ishmael\22"),
            ("at&t guy", r"at\26t\20guy"),
            ("d'artagnan", r"d\27artagnan"),
            ("/.fanboy", r"\2f.fanboy"),
            ("::foo::", r"\3a\3afoo\3a\3a"),
            ("<foo>", r"\3cfoo\3e"),
            ("user@host", r"user\40host"),
            (r"c:\net", r"c\3a\net"),
            (r"c:\\net", r"c\3a\\net"),
            (r"c:\cool stuff", r"c\3a\cool\20stuff"),
            (r"c:\5commas", r"c\3a\5c5commas"),
        ] {
            assert_eq!(escape_localpart(text).unwrap(), localpart);
            assert_eq!(unescape_localpart(localpart).unwrap(), text);
        }
    }

    #[test]
    fn spaces_at_the_ends_are_refused() {
        assert_eq!(escape_localpart(" a"), Err(AddressError::Escape));
        assert_eq!(escape_localpart("a "), Err(AddressError::Escape));
        assert_eq!(unescape_localpart(r"\20a"), Err(AddressError::Escape));
    }

    #[test]
    fn a_localpart_that_reads_like_another_one_is_refused() {
        assert_eq!(unescape_localpart(r"a\b").unwrap(), r"a\b");
        assert_eq!(unescape_localpart(r"a\5cb"), Err(AddressError::Escape));
    }

    proptest! {
        #[test]
        fn what_was_escaped_is_unescaped(text in r#"[a-f0-9 "&'/:<>@\\é]{1,20}"#) {
            if let Ok(localpart) = escape_localpart(&text) {
                prop_assert!(!localpart.contains([' ', '"', '&', '\'', '/', ':', '<', '>', '@']));
                prop_assert_eq!(unescape_localpart(&localpart).unwrap(), text.as_str());
            }
        }

        #[test]
        fn what_was_unescaped_is_escaped(localpart in r"[a-f0-9\\é]{1,12}") {
            if let Ok(text) = unescape_localpart(&localpart) {
                prop_assert_eq!(escape_localpart(&text).unwrap(), localpart.as_str());
            }
        }
    }
}
