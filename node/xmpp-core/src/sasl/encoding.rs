//! Base64 framing of SASL messages in XMPP (RFC 6120 section 6.4).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::SaslCondition;

/// The longest decoded SASL message we look at, in bytes. SCRAM and EXTERNAL messages stay far
/// below; PLAIN's is three strings of at most 1023 bytes.
pub const MAX_SASL_MESSAGE: usize = 4096;

/// Decodes the text of `<auth/>`: `None` when there is no initial response, an empty message for
/// the single `=` that stands for 'present, but empty' (RFC 6120 section 6.4.2).
///
/// # Errors
/// [`SaslCondition::IncorrectEncoding`] for anything that is not base64,
/// [`SaslCondition::MalformedRequest`] above [`MAX_SASL_MESSAGE`].
pub fn decode_initial_response(text: &str) -> Result<Option<Vec<u8>>, SaslCondition> {
    if text.is_empty() {
        return Ok(None);
    }
    decode_response(text).map(Some)
}

/// Decodes the text of `<response/>`; nothing and `=` both mean an empty message.
///
/// # Errors
/// As [`decode_initial_response`].
pub fn decode_response(text: &str) -> Result<Vec<u8>, SaslCondition> {
    if text.is_empty() || text == "=" {
        return Ok(Vec::new());
    }
    // Checked before decoding: base64 grows by a third, so this bounds the allocation.
    if text.len() > MAX_SASL_MESSAGE / 3 * 4 + 4 {
        return Err(SaslCondition::MalformedRequest);
    }
    STANDARD
        .decode(text)
        .map_err(|_| SaslCondition::IncorrectEncoding)
}

/// Encodes a message for `<auth/>`, `<challenge/>`, `<response/>` or `<success/>`; an empty
/// message becomes `=`.
#[must_use]
pub fn encode_payload(message: &[u8]) -> String {
    if message.is_empty() {
        "=".to_owned()
    } else {
        STANDARD.encode(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_absent_from_empty() {
        assert_eq!(decode_initial_response(""), Ok(None));
        assert_eq!(decode_initial_response("="), Ok(Some(Vec::new())));
        assert_eq!(decode_response(""), Ok(Vec::new()));
        assert_eq!(encode_payload(b""), "=");
    }

    #[test]
    fn refuses_what_is_not_base64() {
        for text in ["a", "ab=c", "!!!!", "YWJj\n", "YWJ", "YWJj=", "===="] {
            assert_eq!(
                decode_response(text),
                Err(SaslCondition::IncorrectEncoding),
                "{text:?}"
            );
        }
        assert_eq!(decode_response("YWJj"), Ok(b"abc".to_vec()));
    }

    #[test]
    fn bounds_the_message() {
        let at_the_limit = STANDARD.encode(vec![7; MAX_SASL_MESSAGE]);
        assert_eq!(
            decode_response(&at_the_limit).map(|m| m.len()),
            Ok(MAX_SASL_MESSAGE)
        );
        let above = STANDARD.encode(vec![7; MAX_SASL_MESSAGE + 6]);
        assert_eq!(
            decode_response(&above),
            Err(SaslCondition::MalformedRequest)
        );
    }
}
