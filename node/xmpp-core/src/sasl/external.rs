//! SASL EXTERNAL between servers (RFC 4422 appendix A, XEP-0178).

use super::SaslCondition;

/// The domain that an EXTERNAL exchange authorizes: always the stream's `from`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizedDomain(pub String);

/// Decides a peer server's EXTERNAL message on a stream whose certificate was found to prove
/// `stream_from`.
///
/// `message` is the decoded initial response (or response to our empty challenge). It is empty, or
/// names the domain; then it must be the one on the stream (XEP-0178 section 3).
///
/// # Errors
/// [`SaslCondition::InvalidAuthzid`] for any other name or for text that is not UTF-8.
pub fn authorize_external(
    stream_from: &str,
    message: &[u8],
) -> Result<AuthorizedDomain, SaslCondition> {
    let authzid = std::str::from_utf8(message).map_err(|_| SaslCondition::InvalidAuthzid)?;
    // Domains were normalised when the header was read; the authzid was not, and ASCII case is
    // the only difference that conforming peers make.
    if authzid.is_empty() || authzid.eq_ignore_ascii_case(stream_from) {
        Ok(AuthorizedDomain(stream_from.to_owned()))
    } else {
        Err(SaslCondition::InvalidAuthzid)
    }
}

/// The text of our own `<auth mechanism='EXTERNAL'/>`.
///
/// COMPAT Openfire: its older versions demand an authorization identity, so it is always given,
/// though XEP-0178 would allow `=`.
#[must_use]
pub fn external_initial_response(local_domain: &str) -> String {
    super::encode_payload(local_domain.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_nothing_or_the_streams_domain() {
        let example = AuthorizedDomain("example.org".to_owned());
        for message in ["", "example.org", "Example.ORG"] {
            assert_eq!(
                authorize_external("example.org", message.as_bytes()),
                Ok(example.clone())
            );
        }
        for message in [&b"example.com"[..], b"sub.example.org", b"\xff"] {
            assert_eq!(
                authorize_external("example.org", message),
                Err(SaslCondition::InvalidAuthzid)
            );
        }
    }

    #[test]
    fn always_names_itself() {
        assert_eq!(external_initial_response("example.org"), "ZXhhbXBsZS5vcmc=");
    }
}
