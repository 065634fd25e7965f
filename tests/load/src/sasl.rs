//! The client's side of SCRAM (RFC 5802, 7677) and PLAIN (RFC 4616).

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, OnceLock, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::{digest, hmac, pbkdf2};

use crate::endpoint::Mechanism;
use crate::error::ClientError;

/// Salted passwords kept, so that the generator spends its CPU on load and not on PBKDF2 when
/// many sessions share an account. Cleared when full.
const CACHED_PASSWORDS: usize = 20_000;

/// Iterations a server may ask for.
const MAX_ITERATIONS: u32 = 1_000_000;

type SaltedPassword = Vec<u8>;
type CacheKey = (bool, String, Vec<u8>, u32);

/// PLAIN's only message, in base64.
pub(crate) fn plain(user: &str, password: &str) -> String {
    BASE64.encode(format!("\0{user}\0{password}"))
}

/// A SCRAM exchange before the server's first message.
pub(crate) struct Scram<'a> {
    sha256: bool,
    user: &'a str,
    password: &'a str,
    nonce: String,
    gs2: &'static str,
    channel_binding: Vec<u8>,
}

/// A SCRAM exchange that waits for the server's signature.
pub(crate) struct ServerSignature(Vec<u8>);

impl<'a> Scram<'a> {
    /// `channel_binding`: the tls-exporter value, for the `-PLUS` mechanisms.
    pub(crate) fn new(
        mechanism: Mechanism,
        user: &'a str,
        password: &'a str,
        nonce: String,
        channel_binding: Option<[u8; 32]>,
    ) -> Self {
        Self {
            sha256: matches!(
                mechanism,
                Mechanism::ScramSha256 | Mechanism::ScramSha256Plus
            ),
            user,
            password,
            nonce,
            gs2: match channel_binding {
                Some(_) => "p=tls-exporter,,",
                None => "n,,",
            },
            channel_binding: channel_binding.map_or_else(Vec::new, |b| b.to_vec()),
        }
    }

    /// client-first-message in base64.
    pub(crate) fn first(&self) -> String {
        BASE64.encode(format!("{}{}", self.gs2, self.first_bare()))
    }

    fn first_bare(&self) -> String {
        let user = self.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// Takes server-first-message (base64), gives client-final-message (base64).
    pub(crate) fn answer(&self, challenge: &str) -> Result<(String, ServerSignature), ClientError> {
        const WRONG: ClientError = ClientError::Scram("first message");
        let first = BASE64
            .decode(challenge.trim())
            .ok()
            .and_then(|b| String::from_utf8(b).ok())
            .ok_or(WRONG)?;
        let field = |name: &str| {
            first
                .split(',')
                .find_map(|part| part.strip_prefix(name))
                .ok_or(WRONG)
        };
        let nonce = field("r=")?;
        let salt = BASE64.decode(field("s=")?).map_err(|_| WRONG)?;
        let iterations: u32 = field("i=")?.parse().map_err(|_| WRONG)?;
        let iterations = NonZeroU32::new(iterations)
            .filter(|i| i.get() <= MAX_ITERATIONS)
            .ok_or(WRONG)?;
        if !nonce.starts_with(&self.nonce) {
            return Err(WRONG);
        }

        let salted = self.salted_password(salt, iterations);
        let client_key = self.hmac(&salted, b"Client Key");
        let stored_key = digest::digest(self.digest(), &client_key);
        let mut binding = self.gs2.as_bytes().to_vec();
        binding.extend_from_slice(&self.channel_binding);
        let without_proof = format!("c={},r={nonce}", BASE64.encode(binding));
        let auth_message = format!("{},{first},{without_proof}", self.first_bare());
        let signature = self.hmac(stored_key.as_ref(), auth_message.as_bytes());
        let proof: Vec<u8> = client_key
            .iter()
            .zip(&signature)
            .map(|(k, s)| k ^ s)
            .collect();
        let server_key = self.hmac(&salted, b"Server Key");
        let expected = self.hmac(&server_key, auth_message.as_bytes());
        let last = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok((BASE64.encode(last), ServerSignature(expected)))
    }

    fn salted_password(&self, salt: Vec<u8>, iterations: NonZeroU32) -> SaltedPassword {
        static CACHE: OnceLock<Mutex<HashMap<CacheKey, SaltedPassword>>> = OnceLock::new();
        let cache = CACHE.get_or_init(Mutex::default);
        let key = (
            self.sha256,
            self.password.to_owned(),
            salt,
            iterations.get(),
        );
        if let Some(found) = cache
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&key)
        {
            return found.clone();
        }
        let (algorithm, length) = if self.sha256 {
            (pbkdf2::PBKDF2_HMAC_SHA256, digest::SHA256_OUTPUT_LEN)
        } else {
            (pbkdf2::PBKDF2_HMAC_SHA1, digest::SHA1_OUTPUT_LEN)
        };
        let mut salted = vec![0; length];
        pbkdf2::derive(
            algorithm,
            iterations,
            &key.2,
            self.password.as_bytes(),
            &mut salted,
        );
        let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHED_PASSWORDS {
            cache.clear();
        }
        cache.insert(key, salted.clone());
        salted
    }

    fn digest(&self) -> &'static digest::Algorithm {
        if self.sha256 {
            &digest::SHA256
        } else {
            &digest::SHA1_FOR_LEGACY_USE_ONLY
        }
    }

    fn hmac(&self, key: &[u8], data: &[u8]) -> Vec<u8> {
        let algorithm = if self.sha256 {
            hmac::HMAC_SHA256
        } else {
            hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY
        };
        hmac::sign(&hmac::Key::new(algorithm, key), data)
            .as_ref()
            .to_vec()
    }
}

impl ServerSignature {
    /// Checks server-final-message (base64).
    pub(crate) fn check(&self, last: &str) -> Result<(), ClientError> {
        const WRONG: ClientError = ClientError::Scram("signature");
        let last = BASE64.decode(last.trim()).map_err(|_| WRONG)?;
        let signature = last.strip_prefix(b"v=").ok_or(WRONG)?;
        let signature = signature.split(|&b| b == b',').next().unwrap_or_default();
        let signature = BASE64.decode(signature).map_err(|_| WRONG)?;
        if signature == self.0 {
            Ok(())
        } else {
            Err(WRONG)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn decoded(text: &str) -> String {
        String::from_utf8(BASE64.decode(text).unwrap()).unwrap()
    }

    #[test]
    fn the_example_of_rfc_5802() {
        let nonce = "fyko+d2lbbFgONRv9qkxdawL".to_owned();
        let scram = Scram::new(Mechanism::ScramSha1, "user", "pencil", nonce, None);
        assert_eq!(
            decoded(&scram.first()),
            "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL"
        );
        let (last, signature) =
            scram
                .answer(&BASE64.encode(
                    "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
                ))
                .unwrap();
        assert_eq!(
            decoded(&last),
            "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts="
        );
        signature
            .check(&BASE64.encode("v=rmF9pqV8S7suAoZWja4dJRkFsKQ="))
            .unwrap();
        signature.check(&BASE64.encode("v=AAAA")).unwrap_err();
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
        let scram = Scram::new(Mechanism::ScramSha256, "user", "pencil", nonce, None);
        let (last, signature) = scram
            .answer(&BASE64.encode(
                "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            ))
            .unwrap();
        assert_eq!(
            decoded(&last),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        signature
            .check(&BASE64.encode("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="))
            .unwrap();
    }

    #[test]
    fn a_foreign_nonce_is_refused() {
        let scram = Scram::new(Mechanism::ScramSha1, "u", "p", "mine".to_owned(), None);
        assert!(scram.answer(&BASE64.encode("r=other,s=AAAA,i=1")).is_err());
        assert!(scram.answer(&BASE64.encode("r=mine1,s=AAAA,i=0")).is_err());
        assert!(scram.answer("%%%").is_err());
    }
}
