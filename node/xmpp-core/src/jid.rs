//! XMPP addresses (RFC 7622): checked and normalised once, cheap to clone and to compare.
//!
//! The preparation of parts outside ASCII is crate `jid`'s. The types are our own for three reasons:
//! a clone is a reference count, an address that is already in normal form (nearly all are) costs one
//! allocation and no Unicode tables, and resources may hold characters newer than Unicode 3.2, as
//! RFC 7622 section 3.4 says (nicknames in rooms are full of them).

use std::borrow::{Borrow, Cow};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

mod domain;
mod prepare;

pub use domain::{domain_to_ascii, same_domain};

/// Longest localpart, domainpart and resourcepart, in octets (RFC 7622 section 3.1).
pub const MAX_PART_LEN: usize = 1023;

/// Why a string is not an address. The peer's or the user's fault; a retry does not help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JidError {
    /// The part before `@` is empty, too long or holds a forbidden character.
    #[error("the localpart is not valid")]
    Localpart,
    /// The domain is empty, too long or not a host name.
    #[error("the domainpart is not valid")]
    Domainpart,
    /// The part after `/` is empty, too long or holds a forbidden character.
    #[error("the resourcepart is not valid")]
    Resourcepart,
    /// A bare JID was asked for and the address has a resource.
    #[error("the address has a resource where none is allowed")]
    UnexpectedResource,
    /// A full JID was asked for and the address has no resource.
    #[error("the address has no resource where one is needed")]
    MissingResource,
}

/// `[local@]domain[/resource]` in normal form.
#[derive(Clone)]
pub struct Jid {
    text: Arc<str>,
    /// Length of the localpart; 0 when there is none.
    local_len: u16,
    /// Where the domain ends: the index of `/` or the length of the text.
    domain_end: u16,
}

impl Jid {
    /// Parses and normalises an address.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let bytes = text.as_bytes();
        let slash = memchr::memchr(b'/', bytes);
        let address = &text[..slash.unwrap_or(text.len())];
        let at = memchr::memchr(b'@', address.as_bytes());
        let local = at.map(|at| &address[..at]);
        let domain = at.map_or(address, |at| &address[at + 1..]);
        let resource = slash.map(|slash| &text[slash + 1..]);
        if local.is_none_or(prepare::is_plain_local)
            && prepare::is_plain_domain(domain)
            && resource.is_none_or(prepare::is_plain_resource)
        {
            return Ok(Self {
                text: Arc::from(text),
                local_len: local.map_or(0, str::len) as u16,
                domain_end: address.len() as u16,
            });
        }
        let local = local.map(prepare::local).transpose()?;
        let domain = prepare::domain(domain)?;
        let resource = resource.map(prepare::resource).transpose()?;
        Ok(Self::assemble(
            local.as_deref(),
            &domain,
            resource.as_deref(),
        ))
    }

    /// Parses an address given as separate parts.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn from_parts(
        local: Option<&str>,
        domain: &str,
        resource: Option<&str>,
    ) -> Result<Self, JidError> {
        let local = local.map(prepare::local).transpose()?;
        let domain = prepare::domain(domain)?;
        let resource = resource.map(prepare::resource).transpose()?;
        Ok(Self::assemble(
            local.as_deref(),
            &domain,
            resource.as_deref(),
        ))
    }

    /// Joins parts that are already in normal form.
    fn assemble(local: Option<&str>, domain: &str, resource: Option<&str>) -> Self {
        let local_len = local.map_or(0, str::len);
        let mut text = String::with_capacity(
            local_len + domain.len() + resource.map_or(0, |part| part.len() + 1) + 1,
        );
        if let Some(local) = local {
            text.push_str(local);
            text.push('@');
        }
        text.push_str(domain);
        let domain_end = text.len();
        if let Some(resource) = resource {
            text.push('/');
            text.push_str(resource);
        }
        Self {
            text: Arc::from(text),
            local_len: local_len as u16,
            domain_end: domain_end as u16,
        }
    }

    /// The whole address in normal form.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before `@`: the account, room or other local name.
    #[must_use]
    pub fn node(&self) -> Option<&str> {
        (self.local_len > 0).then(|| &self.text[..usize::from(self.local_len)])
    }

    /// The domain, U-labels kept.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.domain_start()..usize::from(self.domain_end)]
    }

    /// The part after `/`.
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        self.text.get(usize::from(self.domain_end) + 1..)
    }

    /// The address without its resource, as text.
    #[must_use]
    pub fn bare_str(&self) -> &str {
        &self.text[..usize::from(self.domain_end)]
    }

    /// The address without its resource. Costs an allocation only if there is a resource.
    #[must_use]
    pub fn to_bare(&self) -> BareJid {
        self.clone().into_bare()
    }

    /// The address without its resource. Costs an allocation only if there is a resource.
    #[must_use]
    pub fn into_bare(self) -> BareJid {
        if self.is_bare() {
            return BareJid(self);
        }
        BareJid(Self {
            text: Arc::from(self.bare_str()),
            local_len: self.local_len,
            domain_end: self.domain_end,
        })
    }

    /// The domain alone, as an address.
    #[must_use]
    pub fn to_domain(&self) -> BareJid {
        if self.local_len == 0 {
            return self.to_bare();
        }
        BareJid(Self::assemble(None, self.domain(), None))
    }

    /// Sorts the address into full and bare.
    ///
    /// # Errors
    /// The bare address, when there is no resource.
    pub fn try_into_full(self) -> Result<FullJid, BareJid> {
        if self.is_full() {
            Ok(FullJid(self))
        } else {
            Err(BareJid(self))
        }
    }

    /// Whether there is a resource.
    #[must_use]
    pub fn is_full(&self) -> bool {
        usize::from(self.domain_end) < self.text.len()
    }

    /// Whether there is no resource.
    #[must_use]
    pub fn is_bare(&self) -> bool {
        !self.is_full()
    }

    /// Whether the address is a domain alone: a server or component.
    #[must_use]
    pub fn is_domain(&self) -> bool {
        self.local_len == 0 && self.is_bare()
    }

    /// Whether both addresses have the same bare JID.
    #[must_use]
    pub fn same_user(&self, other: &Jid) -> bool {
        self.bare_str() == other.bare_str()
    }

    fn domain_start(&self) -> usize {
        match self.local_len {
            0 => 0,
            len => usize::from(len) + 1,
        }
    }
}

impl PartialEq for Jid {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Jid {}

impl PartialOrd for Jid {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Jid {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.text.cmp(&other.text)
    }
}

// Equal to the hash of the text, so that maps keyed by addresses can be asked with `&str`.
impl Hash for Jid {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Borrow<str> for Jid {
    fn borrow(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for Jid {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl AsRef<Jid> for Jid {
    fn as_ref(&self) -> &Jid {
        self
    }
}

impl fmt::Display for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Jid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jid({})", self.text)
    }
}

impl FromStr for Jid {
    type Err = JidError;

    fn from_str(text: &str) -> Result<Self, JidError> {
        Self::new(text)
    }
}

/// An address without a resource: an account, a room, a server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BareJid(Jid);

impl BareJid {
    /// Parses an address that must not have a resource.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let jid = Jid::new(text)?;
        jid.try_into()
    }

    /// An account or room at a domain.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn from_parts(local: Option<&str>, domain: &str) -> Result<Self, JidError> {
        Ok(Self(Jid::from_parts(local, domain, None)?))
    }

    /// Adds a resource.
    ///
    /// # Errors
    /// [`JidError::Resourcepart`] if it is empty, too long or holds a forbidden character.
    pub fn with_resource(&self, resource: &str) -> Result<FullJid, JidError> {
        let resource: Cow<'_, str> = prepare::resource(resource)?;
        Ok(FullJid(Jid::assemble(
            self.node(),
            self.domain(),
            Some(&resource),
        )))
    }

    /// As a general address, without a copy.
    #[must_use]
    pub fn as_jid(&self) -> &Jid {
        &self.0
    }

    /// As a general address.
    #[must_use]
    pub fn into_jid(self) -> Jid {
        self.0
    }
}

/// An address with a resource: one session of an account, one occupant of a room.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullJid(Jid);

impl FullJid {
    /// Parses an address that must have a resource.
    ///
    /// # Errors
    /// Says which part is wrong.
    pub fn new(text: &str) -> Result<Self, JidError> {
        let jid = Jid::new(text)?;
        jid.try_into()
    }

    /// The part after `/`.
    #[must_use]
    pub fn resource(&self) -> &str {
        self.0.resource().expect("a full JID has a resource")
    }

    /// As a general address, without a copy.
    #[must_use]
    pub fn as_jid(&self) -> &Jid {
        &self.0
    }

    /// As a general address.
    #[must_use]
    pub fn into_jid(self) -> Jid {
        self.0
    }

    /// The address without its resource.
    #[must_use]
    pub fn into_bare(self) -> BareJid {
        self.0.into_bare()
    }
}

impl TryFrom<Jid> for BareJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        jid.try_into_full()
            .map_or_else(Ok, |_| Err(JidError::UnexpectedResource))
    }
}

impl TryFrom<Jid> for FullJid {
    type Error = JidError;

    fn try_from(jid: Jid) -> Result<Self, JidError> {
        jid.try_into_full().map_err(|_| JidError::MissingResource)
    }
}

macro_rules! behaves_like_jid {
    ($($name:ident),*) => {$(
        impl Deref for $name {
            type Target = Jid;

            fn deref(&self) -> &Jid {
                &self.0
            }
        }

        impl From<$name> for Jid {
            fn from(jid: $name) -> Self {
                jid.0
            }
        }

        impl AsRef<Jid> for $name {
            fn as_ref(&self) -> &Jid {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0.text
            }
        }

        impl Borrow<Jid> for $name {
            fn borrow(&self) -> &Jid {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0.text
            }
        }

        impl PartialEq<Jid> for $name {
            fn eq(&self, other: &Jid) -> bool {
                self.0 == *other
            }
        }

        impl PartialEq<$name> for Jid {
            fn eq(&self, other: &$name) -> bool {
                *self == other.0
            }
        }

        impl FromStr for $name {
            type Err = JidError;

            fn from_str(text: &str) -> Result<Self, JidError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0.text)
            }
        }
    )*};
}

behaves_like_jid!(BareJid, FullJid);

#[cfg(test)]
mod tests;
