//! Domain names as configuration and the cluster's view carry them: checked once, lower case, without
//! the root dot (RFC 1035 section 2.3, RFC 2782 for the labels that begin with an underscore).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest name in text form without the root dot (255 octets on the wire, RFC 1035 section 2.3.4).
const MAX_NAME: usize = 253;
/// Longest label (RFC 1035 section 2.3.4).
const MAX_LABEL: usize = 63;

/// A checked, absolute, lower-case domain name. International names come as A-labels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsName(Arc<str>);

/// Why a text is no domain name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing is left once the root dot is taken away.
    #[error("the name is empty")]
    Empty,
    /// Two dots in a row, or a dot in front.
    #[error("the name has an empty label")]
    EmptyLabel,
    /// A label of more than 63 octets.
    #[error("a label has {length} octets, at most 63 are allowed")]
    LabelTooLong {
        /// Octets of that label.
        length: usize,
    },
    /// A name of more than 253 octets.
    #[error("the name has {length} octets, at most 253 are allowed")]
    NameTooLong {
        /// Octets of the name.
        length: usize,
    },
    /// Something other than letters, digits, hyphen and underscore.
    #[error("{found:?} is not allowed in a name; write international names as A-labels (xn--)")]
    Character {
        /// The offending character.
        found: char,
    },
}

impl DnsName {
    /// Checks `text` and lowers its case; one dot at the end is taken away.
    ///
    /// # Errors
    /// [`NameError`] says which rule of RFC 1035 section 2.3 is broken.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > MAX_NAME {
            return Err(NameError::NameTooLong { length: text.len() });
        }
        for label in text.split('.') {
            check_label(label)?;
        }
        Ok(Self(text.to_ascii_lowercase().into()))
    }

    /// `label` (one or more labels) in front of this name.
    ///
    /// # Errors
    /// As [`DnsName::parse`]: the result may be too long.
    pub fn child(&self, label: &str) -> Result<Self, NameError> {
        Self::parse(&format!("{label}.{}", self.0))
    }

    /// The name in lower case without the root dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The labels from left to right.
    pub fn labels(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('.')
    }

    /// How many labels the name has; at least one.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.labels().count()
    }

    /// The name without its first label; `None` for a top-level name.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.0
            .split_once('.')
            .map(|(_, parent)| Self(parent.into()))
    }

    /// Whether this name is `zone` itself or lies below it.
    #[must_use]
    pub fn is_within(&self, zone: &DnsName) -> bool {
        match self.0.strip_suffix(&*zone.0) {
            Some(front) => front.is_empty() || front.ends_with('.'),
            None => false,
        }
    }
}

fn check_label(label: &str) -> Result<(), NameError> {
    if label.is_empty() {
        return Err(NameError::EmptyLabel);
    }
    if label.len() > MAX_LABEL {
        return Err(NameError::LabelTooLong {
            length: label.len(),
        });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    match label.chars().find(|c| !allowed(*c)) {
        Some(found) => Err(NameError::Character { found }),
        None => Ok(()),
    }
}

impl FromStr for DnsName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lowers_case_and_drops_the_root_dot() {
        let name = DnsName::parse("_XMPP-Server._TCP.Example.COM.").unwrap();
        assert_eq!(name.as_str(), "_xmpp-server._tcp.example.com");
        assert_eq!(name.depth(), 4);
        assert_eq!(name.parent().unwrap().as_str(), "_tcp.example.com");
    }

    #[test]
    fn a_zone_holds_itself_and_what_lies_below_but_not_its_namesakes() {
        let zone = DnsName::parse("example.com").unwrap();
        for (name, within) in [
            ("example.com", true),
            ("a.example.com", true),
            ("a.b.example.com", true),
            ("myexample.com", false),
            ("com", false),
            ("example.org", false),
        ] {
            assert_eq!(
                DnsName::parse(name).unwrap().is_within(&zone),
                within,
                "{name}"
            );
        }
    }

    #[test]
    fn refuses_what_no_resolver_would_find() {
        let long_label = "a".repeat(64);
        let long_name = ["a"; 130].join(".");
        for (text, expected) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a b", NameError::Character { found: ' ' }),
            ("münchen.example", NameError::Character { found: 'ü' }),
            (&*long_label, NameError::LabelTooLong { length: 64 }),
            (&*long_name, NameError::NameTooLong { length: 259 }),
        ] {
            assert_eq!(DnsName::parse(text), Err(expected), "{text:?}");
        }
    }
}
