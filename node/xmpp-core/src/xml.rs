//! The XML that XMPP allows (RFC 6120 section 11): a resumable scanner that checks it in one pass
//! over the bytes, and escaping.
//!
//! The scanner is written by hand because the boundary has to refuse more than general parsers do:
//! control characters, comments, processing instructions, DTDs, undeclared prefixes, attributes that
//! repeat by namespace; and because it must stop and go on at any byte without a second look at what
//! it has seen.

mod chars;
mod fault;
mod scanner;
mod scope;
mod text;

pub use fault::XmlFault;
pub(crate) use scanner::{Event, Scanner, Span};
pub(crate) use scope::RootScope;
pub use text::{escape_attribute, escape_text, escaped_len, unescape};

/// Bounds on one first-level element. All of them are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the element, tags included (XEP-0478 `max-bytes`).
    pub bytes: usize,
    /// Elements open at once, the first-level element included.
    pub depth: usize,
    /// Attributes of one element, namespace declarations included.
    pub attributes: usize,
    /// Namespace declarations in scope at once inside the element.
    pub namespaces: usize,
}

impl Limits {
    /// Before authentication: 10,000 bytes, the least that RFC 6120 section 13.12 allows.
    pub const BEFORE_AUTHENTICATION: Self = Self {
        bytes: 10_000,
        depth: 32,
        attributes: 32,
        namespaces: 32,
    };
    /// After authentication: 256 KiB.
    pub const AUTHENTICATED: Self = Self {
        bytes: 256 * 1024,
        depth: 128,
        attributes: 64,
        namespaces: 64,
    };
    /// For what was already checked at an edge and comes back from the mesh or the store. Only what
    /// nodes add to a stanza has to fit in as well.
    pub const TRUSTED: Self = Self {
        bytes: 64 * 1024 * 1024,
        depth: 1024,
        attributes: 1024,
        namespaces: 1024,
    };

    /// The same bounds with another number of bytes.
    #[must_use]
    pub const fn with_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }
}

#[cfg(test)]
mod tests;
