//! SASL for XMPP streams, the server's side of it (RFC 6120 section 6).
//!
//! Nothing here does input or output: the stream cores hand in decoded messages and the bytes of
//! a server nonce, and take out the next message or a [`SaslCondition`] for `<failure/>`.
//! Every secret-dependent comparison takes constant time, and an unknown user walks through the
//! same messages as a known one.

mod condition;
mod encoding;
mod external;
mod keys;
mod mechanism;
mod plain;
mod scram;

pub use condition::SaslCondition;
pub use encoding::{MAX_SASL_MESSAGE, decode_initial_response, decode_response, encode_payload};
pub use external::{AuthorizedDomain, authorize_external, external_initial_response};
pub use keys::{DecoySecret, KeyDerivationError, ScramHash, ScramKeys};
pub use mechanism::{ChannelBindingType, ChannelBindings, Mechanism};
pub use plain::PlainCredentials;
pub use scram::{Authenticated, ClientFirst, ScramChallenge};

/// Compares without leaking, by its duration, where the two differ.
///
/// The length is not a secret in any use here (digests and hex digests have fixed lengths).
pub(crate) fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    let difference = a.iter().zip(b).fold(0u8, |sum, (x, y)| sum | (x ^ y));
    std::hint::black_box(difference) == 0
}

#[cfg(test)]
mod tests {
    use super::constant_time_eq;

    #[test]
    fn compares_content_and_length() {
        assert!(constant_time_eq(b"", b""));
        assert!(constant_time_eq(b"abc", b"abc"));
        assert!(!constant_time_eq(b"abc", b"abd"));
        assert!(!constant_time_eq(b"abc", b"abcd"));
    }
}
