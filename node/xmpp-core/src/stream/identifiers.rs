//! Unpredictable identifiers from a seed that the shell supplies.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

/// Makes stream ids, nonces and resumption ids: 144 bits each as 24 characters of URL-safe
/// base64, from HMAC-SHA256 over a counter.
pub(super) struct Identifiers {
    key: hmac::Key,
    counter: u64,
}

impl Identifiers {
    /// From 32 random bytes that nothing else uses.
    pub(super) fn new(seed: &[u8; 32]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, seed),
            counter: 0,
        }
    }

    pub(super) fn fresh(&mut self) -> String {
        self.counter += 1;
        let random = hmac::sign(&self.key, &self.counter.to_be_bytes());
        URL_SAFE_NO_PAD.encode(&random.as_ref()[..18])
    }
}

impl fmt::Debug for Identifiers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identifiers")
    }
}

#[cfg(test)]
mod tests {
    use super::Identifiers;

    #[test]
    fn are_long_and_different() {
        let mut ids = Identifiers::new(&[1; 32]);
        let (first, second) = (ids.fresh(), ids.fresh());
        assert_eq!(first.len(), 24);
        assert_ne!(first, second);
        assert_ne!(first, Identifiers::new(&[2; 32]).fresh());
    }
}
