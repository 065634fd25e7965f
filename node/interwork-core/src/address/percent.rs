//! Percent encoding (RFC 3986 section 2.1) with the character sets of RFC 3261 section 25.1.

use std::borrow::Cow;
use std::fmt::Write;

use super::AddressError;

/// Which characters stand as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The user part: `unreserved` and `user-unreserved`.
    User,
    /// The value of a URI parameter: `unreserved` and `param-unreserved`.
    Parameter,
}

impl Place {
    const fn allows(self, byte: u8) -> bool {
        let extra: &[u8] = match self {
            Self::User => b"&=+$,;?/",
            Self::Parameter => b"[]/:&+$",
        };
        if byte.is_ascii_alphanumeric() {
            return true;
        }
        contains(b"-_.!~*'()", byte) || contains(extra, byte)
    }
}

const fn contains(set: &[u8], byte: u8) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}

/// Encodes every byte that may not stand in the place.
pub(super) fn encode(text: &str, place: Place) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if place.allows(byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a string");
        }
    }
    out
}

/// Decodes; borrows where nothing is encoded.
pub(super) fn decode(text: &str) -> Result<Cow<'_, str>, AddressError> {
    if memchr::memchr(b'%', text.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || Some(char::from(bytes.next()?).to_digit(16)? as u8);
        let high = digit().ok_or(AddressError::Percent)?;
        let low = digit().ok_or(AddressError::Percent)?;
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded)
        .map(Cow::Owned)
        .map_err(|_| AddressError::Percent)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_user_part_may_hold_stands_as_it_is() {
        assert_eq!(
            encode("aZ09-_.!~*'()&=+$,;?/", Place::User),
            "aZ09-_.!~*'()&=+$,;?/"
        );
        assert_eq!(encode("a b\\é@", Place::User), "a%20b%5C%C3%A9%40");
        assert_eq!(encode("a;b=c/d", Place::Parameter), "a%3Bb%3Dc/d");
    }

    #[test]
    fn broken_encodings_are_refused() {
        for broken in ["%", "a%2", "%zz", "%+1", "%C3", "%ff%fe"] {
            assert_eq!(decode(broken), Err(AddressError::Percent), "{broken}");
        }
    }

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(text in any::<String>()) {
            for place in [Place::User, Place::Parameter] {
                let encoded = encode(&text, place);
                prop_assert_eq!(decode(&encoded).unwrap(), text.as_str());
            }
        }

        #[test]
        fn any_text_is_decoded_or_refused(text in any::<String>()) {
            let _ = decode(&text);
        }
    }
}
