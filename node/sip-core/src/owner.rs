//! Who owns a dialog or a transaction, written into our own tags and branches.
//!
//! Every node advertises the same public host name, so a request in a dialog or a stray response can
//! reach any node. Our tag (in From or To) names the owner of the dialog, our branch (in Via) the node
//! that keeps the transaction; an HMAC tells ours from what a peer made up. The owner is the caller's
//! word: a bucket of users for dialogs, so that a dialog moves with its users, a node for branches.
//!
//! Text forms, all characters of RFC 3261's `token`, lower case because proxies may fold case:
//! - tag: `OWNER.RANDOM.MAC`
//! - branch: `z9hG4bKCOOKIE.OWNER.RANDOM.MAC`

use std::fmt;

use ring::hmac;
use thiserror::Error;

use crate::generator::Generator;
use crate::via::MAGIC_COOKIE;

/// The longest owner, in bytes.
pub const MAX_OWNER: usize = 32;

/// A MAC is cut to 64 bits: forging one is a guess against a live node, not against a file.
const MAC_BYTES: usize = 8;

/// A word that names an owner: 1 to 32 of `a-z`, `0-9`, `-`, `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Box<str>);

/// A word that can't stand in a tag or branch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("an owner is 1 to 32 of a-z, 0-9, - and _")]
pub struct BadOwner;

impl Owner {
    /// Checks a word.
    ///
    /// # Errors
    /// [`BadOwner`] if it is empty, too long or has other characters.
    pub fn new(word: &str) -> Result<Self, BadOwner> {
        let fits = (1..=MAX_OWNER).contains(&word.len())
            && word
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        fits.then(|| Self(word.into())).ok_or(BadOwner)
    }

    /// The word.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Owner({})", self.0)
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes and reads the tags and branches of one cluster. All its nodes have the same secret.
#[derive(Clone)]
pub struct OwnerKey {
    key: hmac::Key,
    cookie: [u8; 8],
}

impl fmt::Debug for OwnerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnerKey(..)")
    }
}

impl OwnerKey {
    /// Derives the key and the cluster's cookie from a secret of the cluster.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let key = hmac::sign(&root, b"entente sip owner key");
        let cookie = hmac::sign(&root, b"entente sip cluster cookie");
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            cookie: hex4(cookie.as_ref()),
        }
    }

    /// A fresh tag of a dialog of `owner`.
    #[must_use]
    pub fn tag(&self, owner: &Owner, random: &mut Generator) -> Box<str> {
        self.signed(Kind::Tag, "", owner, random)
    }

    /// A fresh branch of a transaction of `owner`.
    #[must_use]
    pub fn branch(&self, owner: &Owner, random: &mut Generator) -> Box<str> {
        let prefix = format!("{MAGIC_COOKIE}{}.", self.cookie());
        self.signed(Kind::Branch, &prefix, owner, random)
    }

    /// Whose dialog a tag names; `None` if the tag is not of this cluster.
    #[must_use]
    pub fn owner_of_tag(&self, tag: &[u8]) -> Option<Owner> {
        self.verified(Kind::Tag, tag)
    }

    /// Whose transaction a branch names; `None` if the branch is not of this cluster. A request that
    /// comes in with such a branch in any Via went around a loop (RFC 3261 section 8.2.2.2).
    #[must_use]
    pub fn owner_of_branch(&self, branch: &[u8]) -> Option<Owner> {
        let (magic, rest) = branch.split_at_checked(MAGIC_COOKIE.len())?;
        let (cookie, rest) = rest.split_at_checked(self.cookie.len())?;
        let rest = rest.strip_prefix(b".")?;
        let ours = magic.eq_ignore_ascii_case(MAGIC_COOKIE.as_bytes())
            && cookie.eq_ignore_ascii_case(&self.cookie);
        if ours {
            self.verified(Kind::Branch, rest)
        } else {
            None
        }
    }

    fn cookie(&self) -> &str {
        std::str::from_utf8(&self.cookie).unwrap_or_default()
    }

    fn signed(&self, kind: Kind, prefix: &str, owner: &Owner, random: &mut Generator) -> Box<str> {
        let body = format!("{owner}.{:016x}", random.number());
        let mac = self.mac(kind, body.as_bytes());
        format!("{prefix}{body}.{mac:016x}").into()
    }

    fn verified(&self, kind: Kind, text: &[u8]) -> Option<Owner> {
        let text = std::str::from_utf8(text).ok()?;
        if text.len() > MAX_OWNER + 2 * (2 * MAC_BYTES + 1) {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let (body, mac) = text.rsplit_once('.')?;
        let (owner, _) = body.split_once('.')?;
        let is_mac = mac.len() == 2 * MAC_BYTES && mac.bytes().all(|b| b.is_ascii_hexdigit());
        let mac = u64::from_str_radix(mac, 16).ok().filter(|_| is_mac)?;
        // Two numbers are compared in the same time whatever they are.
        (mac == self.mac(kind, body.as_bytes()))
            .then(|| Owner::new(owner).ok())
            .flatten()
    }

    fn mac(&self, kind: Kind, body: &[u8]) -> u64 {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&[kind as u8]);
        context.update(body);
        let mut cut = [0; MAC_BYTES];
        cut.copy_from_slice(&context.sign().as_ref()[..MAC_BYTES]);
        u64::from_be_bytes(cut)
    }
}

/// A tag is no branch: each kind signs apart.
#[derive(Clone, Copy)]
enum Kind {
    Tag = 1,
    Branch = 2,
}

fn hex4(bytes: &[u8]) -> [u8; 8] {
    let mut hex = [0; 8];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    hex
}

fn digit(nibble: u8) -> u8 {
    match nibble {
        0..=9 => b'0' + nibble,
        _ => b'a' + nibble - 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> OwnerKey {
        OwnerKey::new(b"one cluster")
    }

    fn owner() -> Owner {
        Owner::new("b-07f3").unwrap()
    }

    #[test]
    fn a_tag_names_its_owner_on_any_node_of_the_cluster() {
        let tag = key().tag(&owner(), &mut Generator::new([0; 16]));
        assert_eq!(key().owner_of_tag(tag.as_bytes()), Some(owner()));
        let folded = tag.to_ascii_uppercase();
        assert_eq!(key().owner_of_tag(folded.as_bytes()), Some(owner()));
    }

    #[test]
    fn a_branch_names_its_owner_and_begins_with_the_magic_cookie() {
        let branch = key().branch(&owner(), &mut Generator::new([0; 16]));
        assert!(branch.starts_with(MAGIC_COOKIE), "{branch}");
        assert_eq!(key().owner_of_branch(branch.as_bytes()), Some(owner()));
    }

    #[test]
    fn a_tag_is_no_branch() {
        let tag = key().tag(&owner(), &mut Generator::new([0; 16]));
        let branch = key().branch(&owner(), &mut Generator::new([0; 16]));
        let disguised = format!("{MAGIC_COOKIE}{}.{tag}", key().cookie());
        assert_eq!(key().owner_of_branch(disguised.as_bytes()), None);
        let bare = branch.split_once('.').unwrap().1;
        assert_eq!(key().owner_of_tag(bare.as_bytes()), None);
    }

    #[test]
    fn what_others_made_is_foreign() {
        let stranger = OwnerKey::new(b"another cluster");
        let mut random = Generator::new([0; 16]);
        let tag = stranger.tag(&owner(), &mut random);
        let branch = stranger.branch(&owner(), &mut random);
        assert_eq!(key().owner_of_tag(tag.as_bytes()), None);
        assert_eq!(key().owner_of_branch(branch.as_bytes()), None);
        for text in [
            "",
            ".",
            "..",
            "a.b",
            "z9hG4bK",
            "z9hG4bKxxxxxxxx.",
            "\u{e9}\u{e9}\u{e9}\u{e9}\u{e9}",
        ] {
            assert_eq!(key().owner_of_tag(text.as_bytes()), None, "{text}");
            assert_eq!(key().owner_of_branch(text.as_bytes()), None, "{text}");
        }
        assert_eq!(key().owner_of_tag(&[0xff; 40]), None);
    }

    #[test]
    fn a_changed_owner_breaks_the_seal() {
        let tag = key().tag(&owner(), &mut Generator::new([0; 16]));
        let forged = tag.replace("b-07f3", "b-07f4");
        assert_eq!(key().owner_of_tag(forged.as_bytes()), None);
    }

    #[test]
    fn owners_are_short_words() {
        assert!(Owner::new(&"x".repeat(MAX_OWNER)).is_ok());
        for word in ["", "A", "a.b", "a b", &"x".repeat(MAX_OWNER + 1)] {
            assert_eq!(Owner::new(word), Err(BadOwner), "{word}");
        }
    }
}
