//! Charsets of text bodies.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

use super::TextFault;
use crate::media::MediaType;

/// The text of a body, by the charset of its media type. Without one it is UTF-8, as SIP has it (RFC
/// 3261 section 7.4.1), or what old clients send instead if it cannot be. Bytes that have no meaning
/// become U+FFFD: most of a text is better than none.
pub(super) fn decode<'a>(body: &'a [u8], media: &MediaType) -> Result<Cow<'a, str>, TextFault> {
    let encoding = match media.parameter("charset").filter(|label| !label.is_empty()) {
        Some(label) => {
            Encoding::for_label_no_replacement(label.as_bytes()).ok_or(TextFault::Charset)?
        }
        None if std::str::from_utf8(body).is_ok() => UTF_8,
        None => WINDOWS_1252,
    };
    Ok(encoding.decode(body).0)
}
