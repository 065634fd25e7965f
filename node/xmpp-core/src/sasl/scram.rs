//! The server's side of a SCRAM exchange (RFC 5802 sections 5 to 7, RFC 7677).
//!
//! One type per step; each step consumes the one before:
//! [`ClientFirst`] → [`ScramChallenge`] → [`Authenticated`].

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{ChannelBindings, Mechanism, SaslCondition, ScramKeys};

/// The longest client nonce that we put up with, in bytes. Clients use 16 to 64.
const MAX_CLIENT_NONCE: usize = 256;

/// A checked client-first-message: who it says it is, before any proof.
#[derive(Debug)]
pub struct ClientFirst {
    authzid: Option<String>,
    username: String,
    nonce: String,
    /// `gs2-header` and, with `p=`, the binding data: what `c=` must hold in the end.
    channel_binding: Vec<u8>,
    bare: String,
}

impl ClientFirst {
    /// Reads the client's first message for `mechanism`.
    ///
    /// `plus_offered`: whether our features listed a -PLUS mechanism. A client that says it could
    /// bind but thinks that we can't (`y`) was then lied to by somebody in the middle.
    ///
    /// # Errors
    /// [`SaslCondition::MalformedRequest`] for bad grammar or a mandatory extension (`m=`),
    /// [`SaslCondition::NotAuthorized`] for a downgrade or a binding that is not at hand.
    pub fn parse(
        mechanism: Mechanism,
        message: &[u8],
        bindings: &ChannelBindings,
        plus_offered: bool,
    ) -> Result<Self, SaslCondition> {
        let text = std::str::from_utf8(message).map_err(|_| SaslCondition::MalformedRequest)?;
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(authzid), Some(bare)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(SaslCondition::MalformedRequest);
        };
        let gs2_header = &text[..text.len() - bare.len()];
        let mut channel_binding = gs2_header.as_bytes().to_vec();
        match (flag, flag.strip_prefix("p="), mechanism.is_plus()) {
            ("n", _, false) => {}
            // RFC 5802 section 6: the server can bind, the client can bind, yet the client did
            // not see it offered.
            ("y", _, false) if plus_offered => return Err(SaslCondition::NotAuthorized),
            ("y", _, false) => {}
            (_, Some(name), true) => {
                let data = bindings
                    .named(name)
                    .and_then(|binding| bindings.data(binding))
                    .ok_or(SaslCondition::NotAuthorized)?;
                channel_binding.extend_from_slice(data);
            }
            // A flag that contradicts the mechanism.
            ("n" | "y", _, true) | (_, Some(_), false) => return Err(SaslCondition::NotAuthorized),
            _ => return Err(SaslCondition::MalformedRequest),
        }
        let authzid = match authzid {
            "" => None,
            given => Some(saslname(
                given
                    .strip_prefix("a=")
                    .ok_or(SaslCondition::MalformedRequest)?,
            )?),
        };
        let mut attributes = bare.split(',');
        let username = saslname(attribute(attributes.next(), "n=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        let printable = nonce.bytes().all(|b| (0x21..=0x7e).contains(&b));
        if nonce.is_empty() || nonce.len() > MAX_CLIENT_NONCE || !printable {
            return Err(SaslCondition::MalformedRequest);
        }
        Ok(Self {
            authzid,
            username,
            nonce: nonce.to_owned(),
            channel_binding,
            bare: bare.to_owned(),
        })
    }

    /// The user name, unescaped but not prepared.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// Whom the client wants to act as, if it said so.
    #[must_use]
    pub fn authzid(&self) -> Option<&str> {
        self.authzid.as_deref()
    }

    /// Makes the challenge from the account's keys, or a decoy's, and fresh random text.
    ///
    /// `server_nonce` is printable ASCII without a comma, at least 18 characters of entropy.
    #[must_use]
    pub fn challenge(self, keys: ScramKeys, server_nonce: &str) -> ScramChallenge {
        let nonce = format!("{}{server_nonce}", self.nonce);
        let server_first = format!(
            "r={nonce},s={},i={}",
            STANDARD.encode(&keys.salt),
            keys.iterations
        );
        ScramChallenge {
            keys,
            nonce,
            channel_binding: self.channel_binding,
            server_first,
            client_first_bare: self.bare,
        }
    }
}

/// The exchange after our challenge: waits for the client's proof.
#[derive(Debug)]
pub struct ScramChallenge {
    keys: ScramKeys,
    nonce: String,
    channel_binding: Vec<u8>,
    server_first: String,
    client_first_bare: String,
}

/// A proof that held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    /// The server-final-message (`v=…`), the additional data of `<success/>`.
    pub server_final: String,
}

impl ScramChallenge {
    /// The server-first-message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.server_first
    }

    /// Checks the client-final-message.
    ///
    /// # Errors
    /// [`SaslCondition::MalformedRequest`] for bad grammar, [`SaslCondition::NotAuthorized`] for
    /// another nonce, another channel, or a wrong proof.
    pub fn verify(self, message: &[u8]) -> Result<Authenticated, SaslCondition> {
        let text = std::str::from_utf8(message).map_err(|_| SaslCondition::MalformedRequest)?;
        let (without_proof, proof) = text
            .rsplit_once(",p=")
            .ok_or(SaslCondition::MalformedRequest)?;
        let mut attributes = without_proof.split(',');
        let channel = decode(attribute(attributes.next(), "c=")?)?;
        let nonce = attribute(attributes.next(), "r=")?;
        let proof = decode(proof)?;
        if channel != self.channel_binding || nonce != self.nonce {
            return Err(SaslCondition::NotAuthorized);
        }
        let auth_message = format!(
            "{},{},{without_proof}",
            self.client_first_bare, self.server_first
        );
        let signature = self
            .keys
            .check_proof(auth_message.as_bytes(), &proof)
            .ok_or(SaslCondition::NotAuthorized)?;
        Ok(Authenticated {
            server_final: format!("v={}", STANDARD.encode(signature.as_slice())),
        })
    }
}

fn attribute<'a>(part: Option<&'a str>, name: &str) -> Result<&'a str, SaslCondition> {
    // `m=`, which may stand before `n=`, announces extensions that must be understood; none is.
    part.and_then(|part| part.strip_prefix(name))
        .ok_or(SaslCondition::MalformedRequest)
}

fn decode(text: &str) -> Result<Vec<u8>, SaslCondition> {
    STANDARD
        .decode(text)
        .map_err(|_| SaslCondition::MalformedRequest)
}

/// Undoes the escapes of `saslname`: `=2C` is a comma, `=3D` an equals sign.
fn saslname(escaped: &str) -> Result<String, SaslCondition> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((before, after)) = rest.split_once('=') {
        name.push_str(before);
        if let Some(after) = after.strip_prefix("2C") {
            name.push(',');
            rest = after;
        } else if let Some(after) = after.strip_prefix("3D") {
            name.push('=');
            rest = after;
        } else {
            return Err(SaslCondition::MalformedRequest);
        }
    }
    name.push_str(rest);
    if name.is_empty() || name.contains('\0') {
        return Err(SaslCondition::MalformedRequest);
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::sasl::ScramHash;

    fn keys(hash: ScramHash, salt: &str) -> ScramKeys {
        let iterations = NonZeroU32::new(4096).expect("not zero");
        let salt = STANDARD.decode(salt).expect("base64");
        ScramKeys::derive(hash, "pencil", &salt, iterations).expect("derives")
    }

    fn first(mechanism: Mechanism, message: &str) -> Result<ClientFirst, SaslCondition> {
        ClientFirst::parse(
            mechanism,
            message.as_bytes(),
            &ChannelBindings::default(),
            false,
        )
    }

    #[test]
    fn example_of_rfc_5802() {
        let challenge = first(Mechanism::ScramSha1, "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL")
            .expect("parses")
            .challenge(
                keys(ScramHash::Sha1, "QSXCR+Q6sek8bf92"),
                "3rfcNHYJY1ZVvWVs7j",
            );
        assert_eq!(
            challenge.message(),
            "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
        );
        let done = challenge
            .verify(
                b"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
            )
            .expect("authenticates");
        assert_eq!(done.server_final, "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=");
    }

    const SHA256_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                                p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

    fn sha256_challenge() -> ScramChallenge {
        first(Mechanism::ScramSha256, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
            .expect("parses")
            .challenge(
                keys(ScramHash::Sha256, "W22ZaJ0SNY7soEsUEjb6gQ=="),
                "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
            )
    }

    #[test]
    fn example_of_rfc_7677() {
        let challenge = sha256_challenge();
        assert_eq!(
            challenge.message(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
             s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let done = challenge
            .verify(SHA256_FINAL.as_bytes())
            .expect("authenticates");
        assert_eq!(
            done.server_final,
            "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn refuses_every_other_final_message() {
        let not_authorized = Err(SaslCondition::NotAuthorized);
        let malformed = Err(SaslCondition::MalformedRequest);
        for (from, to, expected) in [
            ("p=dHzb", "p=eHzb", &not_authorized),
            ("p=dHzb", "p=d", &malformed),
            (
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "",
                &not_authorized,
            ),
            (
                "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
                "AAAA",
                &not_authorized,
            ),
            ("c=biws", "c=eSws", &not_authorized),
            ("c=biws", "c=!", &malformed),
            ("c=biws,", "", &malformed),
            ("k0", "k1", &not_authorized),
            (",p=", ",q=", &malformed),
        ] {
            let message = SHA256_FINAL.replace(from, to);
            assert_ne!(message, SHA256_FINAL);
            assert_eq!(
                &sha256_challenge().verify(message.as_bytes()),
                expected,
                "{message}"
            );
        }
        assert_eq!(sha256_challenge().verify(b"\xff\xfe"), malformed);
    }

    #[test]
    fn refuses_bad_first_messages() {
        for message in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n=user",
            "n,,n=,r=abc",
            "n,,n=user,r=",
            "n,,r=abc,n=user",
            "n,,m=ext,n=user,r=abc",
            "n,b=x,n=user,r=abc",
            "n,a=,n=user,r=abc",
            "n,,n=us=er,r=abc",
            "n,,n=us=2Xer,r=abc",
            "x,,n=user,r=abc",
            "n,,n=user,r=a c",
            "n,,n=user,r=\u{e9}",
        ] {
            assert_eq!(
                first(Mechanism::ScramSha1, message).err(),
                Some(SaslCondition::MalformedRequest),
                "{message:?}"
            );
        }
    }

    #[test]
    fn unescapes_names() {
        let escaped = first(Mechanism::ScramSha1, "n,a=x=2Cy,n=a=3Db=2Cc,r=abc").expect("parses");
        assert_eq!(escaped.username(), "a=b,c");
        assert_eq!(escaped.authzid(), Some("x,y"));
    }

    #[test]
    fn detects_a_downgrade() {
        let bindings = ChannelBindings {
            exporter: Some([7; 32]),
            end_point: None,
        };
        let parse = |mechanism, flag: &str, offered| {
            let message = format!("{flag},,n=user,r=abc");
            ClientFirst::parse(mechanism, message.as_bytes(), &bindings, offered).err()
        };
        use Mechanism::{ScramSha256 as Plain, ScramSha256Plus as Plus};
        let refused = Some(SaslCondition::NotAuthorized);
        assert_eq!(parse(Plain, "y", true), refused);
        assert_eq!(parse(Plain, "y", false), None);
        assert_eq!(parse(Plain, "n", true), None);
        assert_eq!(parse(Plus, "n", true), refused);
        assert_eq!(parse(Plus, "y", true), refused);
        assert_eq!(parse(Plus, "p=tls-exporter", true), None);
        assert_eq!(parse(Plus, "p=tls-server-end-point", true), refused);
        assert_eq!(parse(Plus, "p=tls-unique", true), refused);
        assert_eq!(parse(Plain, "p=tls-exporter", true), refused);
    }

    #[test]
    fn binds_to_the_channel() {
        let hash = ScramHash::Sha256;
        let keys = keys(hash, "W22ZaJ0SNY7soEsUEjb6gQ==");
        let attempt = |ours: u8, theirs: u8| {
            let bindings = ChannelBindings {
                exporter: Some([ours; 32]),
                end_point: None,
            };
            let challenge = ClientFirst::parse(
                Mechanism::ScramSha256Plus,
                b"p=tls-exporter,,n=user,r=abc",
                &bindings,
                true,
            )
            .expect("parses")
            .challenge(keys.clone(), "xyz");
            let mut c = b"p=tls-exporter,,".to_vec();
            c.extend_from_slice(&[theirs; 32]);
            let without_proof = format!("c={},r=abcxyz", STANDARD.encode(c));
            let message = format!("n=user,r=abc,{},{without_proof}", challenge.message());
            challenge.verify(client_final(hash, &without_proof, &message).as_bytes())
        };
        assert!(attempt(1, 1).is_ok());
        assert_eq!(attempt(1, 2), Err(SaslCondition::NotAuthorized));
    }

    /// What a client does: proves 'pencil' over the messages so far.
    fn client_final(hash: ScramHash, without_proof: &str, auth_message: &str) -> String {
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("base64");
        let salted = {
            let mut out = vec![0; hash.output_len()];
            ring::pbkdf2::derive(
                ring::pbkdf2::PBKDF2_HMAC_SHA256,
                NonZeroU32::new(4096).expect("not zero"),
                &salt,
                b"pencil",
                &mut out,
            );
            out
        };
        let client_key = hash.hmac(&salted, b"Client Key");
        let stored = ring::digest::digest(&ring::digest::SHA256, client_key.as_slice());
        let signature = hash.hmac(stored.as_ref(), auth_message.as_bytes());
        let proof: Vec<u8> = client_key
            .as_slice()
            .iter()
            .zip(signature.as_slice())
            .map(|(a, b)| a ^ b)
            .collect();
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }
}
