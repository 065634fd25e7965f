//! Text that shares the memory of the message it was read from.

use bytes::Bytes;

/// A piece of text by position. Heads of messages are at most 65,535 bytes long
/// ([`MAX_HEAD_BYTES`](crate::message::MAX_HEAD_BYTES)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u16,
    pub(crate) end: u16,
}

impl Span {
    /// The span of these positions; `None` beyond what a head may have.
    pub(crate) fn new(start: usize, end: usize) -> Option<Self> {
        Some(Self {
            start: u16::try_from(start).ok()?,
            end: u16::try_from(end).ok()?,
        })
    }

    pub(crate) fn of(self, bytes: &[u8]) -> &[u8] {
        bytes
            .get(usize::from(self.start)..usize::from(self.end))
            .unwrap_or_default()
    }

    pub(crate) fn is_empty(self) -> bool {
        self.start >= self.end
    }
}

/// Immutable UTF-8 text. Cloning and cutting copy no bytes; what is kept for long should be
/// [unshared](Text::unshared), or it keeps the whole read that it came with.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Text(Bytes);

impl Text {
    /// The text, if the bytes are UTF-8.
    #[must_use]
    pub fn from_utf8(bytes: Bytes) -> Option<Self> {
        std::str::from_utf8(&bytes).is_ok().then_some(Self(bytes))
    }

    /// Bytes of a head that was checked as a whole.
    pub(crate) fn checked(bytes: Bytes) -> Self {
        Self(bytes)
    }

    /// As a string.
    #[must_use]
    pub fn as_str(&self) -> &str {
        str_of(&self.0)
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The same text in memory of its own, as small as it can be.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self(Bytes::copy_from_slice(&self.0))
    }

    /// The part of `self` that `part`, a slice of it, stands for.
    pub(crate) fn cut(&self, part: &str) -> Self {
        match part.is_empty() {
            true => Self::default(),
            false => Self(self.0.slice_ref(part.as_bytes())),
        }
    }

    pub(crate) fn span(&self, span: Span) -> &str {
        str_of(span.of(&self.0))
    }
}

/// The string that bytes of a checked head stand for. Cuts are made at ASCII characters only, so the
/// check that comes again here cannot fail; a damaged head reads as empty.
pub(crate) fn str_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(Bytes::copy_from_slice(text.as_bytes()))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(Bytes::from(text))
    }
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self.as_str(), f)
    }
}
