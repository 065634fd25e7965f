//! SCRAM keys: what the store keeps instead of passwords (RFC 5802 section 3).

use std::fmt;
use std::num::NonZeroU32;

use ring::{digest, hmac, pbkdf2};
use thiserror::Error;

use super::constant_time_eq;

/// The hash function of a SCRAM mechanism.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScramHash {
    /// SHA-1: for clients that know nothing better.
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
}

impl ScramHash {
    /// Both, strongest first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha1];

    /// The length of its digests, in bytes.
    #[must_use]
    pub const fn output_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }

    fn digest(self, data: &[u8]) -> Digest {
        let algorithm = match self {
            Self::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => &digest::SHA256,
        };
        Digest::of(digest::digest(algorithm, data).as_ref())
    }

    pub(super) fn hmac(self, key: &[u8], data: &[u8]) -> Digest {
        let algorithm = match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
        };
        Digest::of(hmac::sign(&hmac::Key::new(algorithm, key), data).as_ref())
    }

    fn salted_password(self, password: &[u8], salt: &[u8], iterations: NonZeroU32) -> Digest {
        let algorithm = match self {
            Self::Sha1 => pbkdf2::PBKDF2_HMAC_SHA1,
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
        };
        let mut salted = Digest::zero(self.output_len());
        pbkdf2::derive(algorithm, iterations, salt, password, salted.as_mut());
        salted
    }
}

/// A digest of at most 32 bytes, kept in place.
#[derive(Clone, Copy)]
pub(super) struct Digest {
    bytes: [u8; 32],
    len: usize,
}

impl Digest {
    fn zero(len: usize) -> Self {
        Self {
            bytes: [0; 32],
            len,
        }
    }

    fn of(data: &[u8]) -> Self {
        let mut digest = Self::zero(data.len());
        digest.as_mut().copy_from_slice(data);
        digest
    }

    pub(super) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.len]
    }
}

/// Why no keys could be derived from a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyDerivationError {
    /// The password holds characters that SASLprep (RFC 4013) prohibits, or nothing is left of it.
    #[error("the password is empty or holds characters that SASLprep prohibits")]
    Password,
    /// More than 1023 bytes.
    #[error("the password is longer than 1023 bytes")]
    TooLong,
}

/// What is stored of a password for one hash: enough to check a client, not enough to be one.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramKeys {
    /// The hash that the keys belong to.
    pub hash: ScramHash,
    /// The salt: random bytes of this account, at least 16.
    pub salt: Vec<u8>,
    /// The iteration count of the password hash.
    pub iterations: NonZeroU32,
    /// H(ClientKey); as long as the hash's output.
    pub stored_key: Vec<u8>,
    /// HMAC(SaltedPassword, "Server Key"); as long as the hash's output.
    pub server_key: Vec<u8>,
}

impl ScramKeys {
    /// The iteration count for new passwords. RFC 7677 demands 4096 at least; today's servers use
    /// 10,000, which costs a phone a few milliseconds.
    pub const DEFAULT_ITERATIONS: NonZeroU32 = match NonZeroU32::new(10_000) {
        Some(iterations) => iterations,
        None => unreachable!(),
    };

    /// Derives the keys of a password (RFC 5802 section 3). Takes milliseconds by design: shells
    /// that do it often do it off their event loops.
    ///
    /// # Errors
    /// When SASLprep (RFC 4013) refuses the password, or it is longer than 1023 bytes.
    pub fn derive(
        hash: ScramHash,
        password: &str,
        salt: &[u8],
        iterations: NonZeroU32,
    ) -> Result<Self, KeyDerivationError> {
        let password = prepare_password(password)?;
        let salted = hash.salted_password(password.as_bytes(), salt, iterations);
        let client_key = hash.hmac(salted.as_slice(), b"Client Key");
        Ok(Self {
            hash,
            salt: salt.to_vec(),
            iterations,
            stored_key: hash.digest(client_key.as_slice()).as_slice().to_vec(),
            server_key: hash
                .hmac(salted.as_slice(), b"Server Key")
                .as_slice()
                .to_vec(),
        })
    }

    /// Whether this is the password, in constant time once it is hashed; for PLAIN.
    #[must_use]
    pub fn verify_password(&self, password: &str) -> bool {
        match Self::derive(self.hash, password, &self.salt, self.iterations) {
            Ok(keys) => constant_time_eq(&keys.stored_key, &self.stored_key),
            Err(_) => false,
        }
    }

    /// Checks a client's proof over `auth_message` and gives the server's signature for
    /// `v=` when it is right (RFC 5802 section 3).
    pub(super) fn check_proof(&self, auth_message: &[u8], proof: &[u8]) -> Option<Digest> {
        let signature = self.hash.hmac(&self.stored_key, auth_message);
        let mut client_key = Digest::zero(self.hash.output_len());
        let complete = proof.len() == self.hash.output_len();
        for ((key, signature), proof) in client_key
            .as_mut()
            .iter_mut()
            .zip(signature.as_slice())
            .zip(proof)
        {
            *key = signature ^ proof;
        }
        let stored = self.hash.digest(client_key.as_slice());
        (constant_time_eq(stored.as_slice(), &self.stored_key) && complete)
            .then(|| self.hash.hmac(&self.server_key, auth_message))
    }
}

impl fmt::Debug for ScramKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramKeys")
            .field("hash", &self.hash)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// Makes keys for users that do not exist, so that nobody can tell who does.
///
/// All nodes must hold the same secret: a salt that differs from node to node, or after a
/// restart, gives the unknown user away.
#[derive(Clone)]
pub struct DecoySecret {
    key: hmac::Key,
    iterations: NonZeroU32,
}

impl DecoySecret {
    /// From a cluster secret, for accounts that normally have
    /// [`ScramKeys::DEFAULT_ITERATIONS`].
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
            iterations: ScramKeys::DEFAULT_ITERATIONS,
        }
    }

    /// Keys that no password opens, the same for the same user every time.
    #[must_use]
    pub fn keys(&self, hash: ScramHash, user: &str) -> ScramKeys {
        let part = |label: &[u8]| {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(label);
            context.update(&[0, hash.output_len() as u8, 0]);
            context.update(user.as_bytes());
            context.sign()
        };
        ScramKeys {
            hash,
            salt: part(b"salt").as_ref()[..16].to_vec(),
            iterations: self.iterations,
            stored_key: part(b"stored").as_ref()[..hash.output_len()].to_vec(),
            server_key: part(b"server").as_ref()[..hash.output_len()].to_vec(),
        }
    }
}

impl fmt::Debug for DecoySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecoySecret")
    }
}

/// SASLprep with the bound of RFC 4616 on the length.
fn prepare_password(password: &str) -> Result<std::borrow::Cow<'_, str>, KeyDerivationError> {
    if password.len() > 1023 {
        return Err(KeyDerivationError::TooLong);
    }
    match stringprep::saslprep(password) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared),
        _ => Err(KeyDerivationError::Password),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn derive(password: &str) -> Result<ScramKeys, KeyDerivationError> {
        let iterations = NonZeroU32::new(16).expect("not zero");
        ScramKeys::derive(ScramHash::Sha256, password, b"0123456789abcdef", iterations)
    }

    #[test]
    fn the_password_and_only_it_fits() {
        let keys = derive("pencil").expect("derives");
        assert!(keys.verify_password("pencil"));
        assert!(!keys.verify_password("pencil "));
        assert!(!keys.verify_password(""));
    }

    #[test]
    fn passwords_are_prepared() {
        // RFC 4013 section 3: SOFT HYPHEN maps to nothing, ROMAN NUMERAL NINE to "IX".
        assert_eq!(derive("I\u{ad}X"), derive("IX"));
        assert_eq!(derive("\u{2168}"), derive("IX"));
        assert_eq!(derive("\u{7}"), Err(KeyDerivationError::Password));
        assert_eq!(derive("\u{627}\u{31}"), Err(KeyDerivationError::Password));
        assert_eq!(derive(""), Err(KeyDerivationError::Password));
        assert_eq!(derive(&"x".repeat(1024)), Err(KeyDerivationError::TooLong));
    }

    #[test]
    fn decoys_are_stable_and_differ_by_user_and_hash() {
        let secret = DecoySecret::new(b"cluster secret");
        let nobody = secret.keys(ScramHash::Sha256, "nobody");
        assert_eq!(nobody, secret.keys(ScramHash::Sha256, "nobody"));
        assert_ne!(nobody.salt, secret.keys(ScramHash::Sha256, "noone").salt);
        assert_ne!(nobody.salt, secret.keys(ScramHash::Sha1, "nobody").salt);
        assert_eq!(nobody.iterations, ScramKeys::DEFAULT_ITERATIONS);
        let other = DecoySecret::new(b"another");
        assert_ne!(nobody.salt, other.keys(ScramHash::Sha256, "nobody").salt);
    }

    #[test]
    fn debug_shows_no_secrets() {
        let shown = format!("{:?}", derive("pencil").expect("derives"));
        assert!(!shown.contains("key") && !shown.contains("salt"), "{shown}");
    }
}
