//! Server dialback: keys (XEP-0185), and the elements and errors of XEP-0220.

use std::fmt;
use std::fmt::Write as _;

use std::sync::Arc;

use ring::{digest, hmac};

use crate::element::Element;
use crate::error::{StanzaCondition, StanzaError};
use crate::jid::Jid;
use crate::ns;
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

/// What an authoritative server says of a key, or a receiving server of a domain pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialbackOutcome {
    /// The key, or the pair, is good.
    Valid,
    /// The key was not issued by the domain that it claims.
    Invalid,
    /// Nobody could tell (XEP-0220 section 2.4): a later try may succeed.
    Error(StanzaCondition),
}

/// `db:result` or `db:verify`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DialbackKind {
    Result,
    Verify,
}

/// A dialback element with its addresses checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DialbackElement {
    pub(crate) kind: DialbackKind,
    pub(crate) from: Arc<str>,
    pub(crate) to: Arc<str>,
    /// The stream id; only with `db:verify`.
    pub(crate) id: Option<String>,
    pub(crate) body: DialbackBody,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DialbackBody {
    Key(String),
    Outcome(DialbackOutcome),
}

impl DialbackElement {
    /// `None` if it is no dialback element or an address is missing or no domain.
    pub(crate) fn read(element: &Element) -> Option<Self> {
        let kind = match (element.ns(), element.name()) {
            (ns::DIALBACK, "result") => DialbackKind::Result,
            (ns::DIALBACK, "verify") => DialbackKind::Verify,
            _ => return None,
        };
        let body = match element.get_attr("type") {
            None => DialbackBody::Key(element.content_text().trim().to_owned()),
            Some("valid") => DialbackBody::Outcome(DialbackOutcome::Valid),
            Some("error") => {
                let condition = element
                    .elements()
                    .find(|child| child.name() == "error")
                    .map_or(StanzaCondition::UndefinedCondition, |error| {
                        StanzaError::from_element(error).condition
                    });
                DialbackBody::Outcome(DialbackOutcome::Error(condition))
            }
            // COMPAT Prosody: whatever went wrong, it says `invalid`.
            Some(_) => DialbackBody::Outcome(DialbackOutcome::Invalid),
        };
        Some(Self {
            kind,
            from: domain(element.get_attr("from")?)?,
            to: domain(element.get_attr("to")?)?,
            id: element.get_attr("id").map(str::to_owned),
            body,
        })
    }

    pub(crate) fn to_element(&self) -> Element {
        let name = match self.kind {
            DialbackKind::Result => "result",
            DialbackKind::Verify => "verify",
        };
        let element = Element::new(ns::DIALBACK, name)
            .attr("from", self.from.to_string())
            .attr("to", self.to.to_string())
            .attr_opt("id", self.id.clone());
        match &self.body {
            DialbackBody::Key(key) => element.text(key.clone()),
            DialbackBody::Outcome(DialbackOutcome::Valid) => element.attr("type", "valid"),
            DialbackBody::Outcome(DialbackOutcome::Invalid) => element.attr("type", "invalid"),
            DialbackBody::Outcome(DialbackOutcome::Error(condition)) => element
                .attr("type", "error")
                .child(StanzaError::new(*condition).to_element(ns::SERVER)),
        }
    }

    /// The answer to a key, with the addresses swapped.
    pub(crate) fn answer(&self, outcome: DialbackOutcome) -> Self {
        Self {
            kind: self.kind,
            from: Arc::clone(&self.to),
            to: Arc::clone(&self.from),
            id: self.id.clone(),
            body: DialbackBody::Outcome(outcome),
        }
    }
}

/// A domain in normal form, if the text is one.
pub(crate) fn domain(text: &str) -> Option<Arc<str>> {
    let jid = Jid::new(text).ok()?;
    jid.is_domain().then(|| Arc::from(jid.as_str()))
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
