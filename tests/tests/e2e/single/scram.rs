//! SCRAM with tls-server-end-point (RFC 5929 section 4.1), which the load generator's client does
//! not have.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use entente_load::Stanza;
use ring::{digest, hmac, pbkdf2};

const SASL: &str = "urn:ietf:params:xml:ns:xmpp-sasl";

/// `<auth/>` for SCRAM-SHA-256-PLUS.
pub fn auth(user: &str, nonce: &str) -> String {
    let first = format!("{}{}", gs2(), bare(user, nonce));
    format!(
        "<auth xmlns='{SASL}' mechanism='SCRAM-SHA-256-PLUS'>{}</auth>",
        STANDARD.encode(first)
    )
}

/// `<response/>` to the challenge.
pub fn response(
    challenge: &Stanza,
    user: &str,
    nonce: &str,
    password: &str,
    certificate: &[u8],
) -> String {
    let server = String::from_utf8(
        STANDARD
            .decode(challenge.text_of("challenge").unwrap().as_bytes())
            .unwrap(),
    )
    .unwrap();
    let part = |key: &str| {
        server
            .split(',')
            .find_map(|part| part.strip_prefix(key))
            .unwrap()
            .to_owned()
    };
    let salt = STANDARD.decode(part("s=")).unwrap();
    let mut binding = gs2().into_bytes();
    binding.extend_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
    let without_proof = format!("c={},r={}", STANDARD.encode(binding), part("r="));
    let message = format!("{},{server},{without_proof}", bare(user, nonce));
    let mut salted = [0; 32];
    let iterations = part("i=").parse().unwrap();
    pbkdf2::derive(
        pbkdf2::PBKDF2_HMAC_SHA256,
        iterations,
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let client_key = sign(&salted, b"Client Key");
    let signature = sign(
        digest::digest(&digest::SHA256, &client_key).as_ref(),
        message.as_bytes(),
    );
    let proof: Vec<u8> = client_key
        .iter()
        .zip(signature)
        .map(|(a, b)| a ^ b)
        .collect();
    let last = format!("{without_proof},p={}", STANDARD.encode(proof));
    format!(
        "<response xmlns='{SASL}'>{}</response>",
        STANDARD.encode(last)
    )
}

fn gs2() -> String {
    "p=tls-server-end-point,,".to_owned()
}

fn bare(user: &str, nonce: &str) -> String {
    format!("n={user},r={nonce}")
}

fn sign(key: &[u8], data: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), data)
        .as_ref()
        .to_vec()
}
