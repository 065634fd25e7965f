//! Server dialback: keys (XEP-0185) and the errors of XEP-0220 section 2.4.

use std::fmt;
use std::fmt::Write as _;

use ring::{digest, hmac};

use crate::sasl::constant_time_eq;

/// The cluster's dialback secret: every node issues and verifies the same keys, because the
/// verification may arrive at any of them.
#[derive(Clone)]
pub struct DialbackSecret {
    key: hmac::Key,
}

impl DialbackSecret {
    /// From the configured secret.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // XEP-0185: the secret is hashed first, and its hexadecimal text is the HMAC key.
        let hashed = hex(digest::digest(&digest::SHA256, secret).as_ref());
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, hashed.as_bytes()),
        }
    }

    /// The key for a stream from `originating` (a domain of ours) to `receiving` (the peer), on the
    /// stream `stream_id` that the receiving server opened in answer to ours.
    #[must_use]
    pub fn key(&self, receiving: &str, originating: &str, stream_id: &str) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [receiving, " ", originating, " ", stream_id] {
            context.update(part.as_bytes());
        }
        hex(context.sign().as_ref())
    }

    /// Whether we issued this key; in constant time.
    #[must_use]
    pub fn verify(&self, receiving: &str, originating: &str, stream_id: &str, key: &str) -> bool {
        let expected = self.key(receiving, originating, stream_id);
        constant_time_eq(expected.as_bytes(), key.as_bytes())
    }
}

impl fmt::Debug for DialbackSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DialbackSecret")
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_of_xep_0185_and_xep_0220() {
        let secret = DialbackSecret::new(b"s3cr3tf0rd14lb4ck");
        assert_eq!(
            secret.key("xmpp.example.com", "example.org", "D60000229F"),
            "37c69b1cf07a3f67c04a5ef5902fa5114f2c76fe4a2686482ba5b89323075643"
        );
        assert_eq!(
            secret.key("montague.example", "capulet.example", "D60000229F"),
            "b4835385f37fe2895af6c196b59097b16862406db80559900d96bf6fa7d23df3"
        );
    }

    #[test]
    fn a_key_fits_its_pair_and_stream_only() {
        let secret = DialbackSecret::new(b"secret");
        let key = secret.key("b.example", "a.example", "id1");
        assert!(secret.verify("b.example", "a.example", "id1", &key));
        assert!(!secret.verify("a.example", "b.example", "id1", &key));
        assert!(!secret.verify("b.example", "a.example", "id2", &key));
        assert!(!secret.verify("b.example", "a.example", "id1", ""));
        let other = DialbackSecret::new(b"other");
        assert!(!other.verify("b.example", "a.example", "id1", &key));
    }
}
