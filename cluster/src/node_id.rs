//! The name of a node.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The name of a node, unique within its cluster and stable over restarts.
///
/// It is one lower-case DNS label (RFC 1035 section 2.3.1 with the leading digit that RFC 1123
/// section 2.1 allows): 1 to 63 characters from `a-z`, `0-9` and `-`, with no `-` at either end.
/// So it can be a label of a host name, a key in the store, and a field in a log without quoting,
/// and equal names are equal bytes. Cloning costs one reference count.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(Arc<str>);

/// Why a text is not the name of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NodeIdError {
    /// The text is empty.
    #[error("a node name must not be empty")]
    Empty,
    /// The text is longer than a DNS label may be.
    #[error("a node name has at most {max} characters", max = NodeId::MAX_LEN)]
    TooLong,
    /// A character other than `a-z`, `0-9` and `-` stands at this byte offset.
    #[error("a node name has only a-z, 0-9 and '-' (byte {0} is something else)")]
    BadCharacter(usize),
    /// The text begins or ends with `-`.
    #[error("a node name neither begins nor ends with '-'")]
    HyphenAtEdge,
}

impl NodeId {
    /// The longest name, in bytes: that of a DNS label.
    pub const MAX_LEN: usize = 63;

    /// Checks a name.
    ///
    /// # Errors
    /// [`NodeIdError`] if the text is not one lower-case DNS label.
    pub fn new(name: &str) -> Result<Self, NodeIdError> {
        let bytes = name.as_bytes();
        if bytes.is_empty() {
            return Err(NodeIdError::Empty);
        }
        if bytes.len() > Self::MAX_LEN {
            return Err(NodeIdError::TooLong);
        }
        let allowed = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if let Some(offset) = bytes.iter().position(|b| !allowed(b)) {
            return Err(NodeIdError::BadCharacter(offset));
        }
        if bytes[0] == b'-' || bytes[bytes.len() - 1] == b'-' {
            return Err(NodeIdError::HyphenAtEdge);
        }
        Ok(Self(Arc::from(name)))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for NodeId {
    type Err = NodeIdError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<&str> for NodeId {
    type Error = NodeIdError;

    fn try_from(name: &str) -> Result<Self, Self::Error> {
        Self::new(name)
    }
}

impl TryFrom<String> for NodeId {
    type Error = NodeIdError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::new(&name)
    }
}

impl AsRef<str> for NodeId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for NodeId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for NodeId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::new(&name).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dns_labels_are_names() {
        for name in ["a", "n1", "1", "node-a", "xn--abc", &"z".repeat(63)] {
            assert_eq!(NodeId::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn everything_else_is_refused_with_its_reason() {
        let table = [
            ("", NodeIdError::Empty),
            (&*"z".repeat(64), NodeIdError::TooLong),
            ("-a", NodeIdError::HyphenAtEdge),
            ("a-", NodeIdError::HyphenAtEdge),
            ("-", NodeIdError::HyphenAtEdge),
            ("Node", NodeIdError::BadCharacter(0)),
            ("a.b", NodeIdError::BadCharacter(1)),
            ("a_b", NodeIdError::BadCharacter(1)),
            ("ab\u{e9}", NodeIdError::BadCharacter(2)),
            ("a\0", NodeIdError::BadCharacter(1)),
        ];
        for (name, reason) in table {
            assert_eq!(NodeId::new(name), Err(reason), "{name:?}");
        }
    }
}
