//! The headers of a message.

use std::borrow::Cow;

use bytes::Bytes;

use crate::grammar;
use crate::header::{HeaderFault, HeaderName};
use crate::message::Values;
use crate::message::index::{Entries, Entry};
use crate::text::{Text, str_of};

/// Headers in their order, with the bytes they stand in.
#[derive(Clone)]
pub struct Headers {
    bytes: Bytes,
    entries: Entries,
    seen: u64,
    repeated: u64,
}

/// One header line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which one.
    pub name: HeaderName,
    /// The name as it was written.
    pub written_name: &'a str,
    /// The value without white space at its ends; folds are still in it.
    pub value: &'a str,
}

impl Header<'_> {
    /// The value on one line.
    #[must_use]
    pub fn unfolded(&self) -> Cow<'_, str> {
        grammar::unfold(self.value)
    }
}

impl Headers {
    pub(crate) fn new(bytes: Bytes, entries: Entries, seen: u64, repeated: u64) -> Self {
        Self {
            bytes,
            entries,
            seen,
            repeated,
        }
    }

    pub(crate) fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// How many lines.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All lines in their order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'_>> {
        self.entries.iter().map(|entry| self.header(*entry))
    }

    /// Whether there is one of the name.
    #[must_use]
    pub fn has(&self, name: HeaderName) -> bool {
        self.seen & name.bit() != 0
    }

    /// The value of the first of the name, folds included.
    #[must_use]
    pub fn get(&self, name: HeaderName) -> Option<&str> {
        self.lines(name).next()
    }

    /// The values of all lines of the name.
    pub fn lines(&self, name: HeaderName) -> impl Iterator<Item = &str> {
        self.entries(name)
            .map(|entry| str_of(entry.value.of(&self.bytes)))
    }

    /// The value of the first header of a name that [`HeaderName`] does not know.
    #[must_use]
    pub fn other(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|header| header.written_name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The elements of a header that is a list, over all its lines. Commas in quotes and in angle
    /// brackets separate nothing.
    #[must_use]
    pub fn values(&self, name: HeaderName) -> Values<'_> {
        Values::new(self, name)
    }

    /// The value of a header that may stand once.
    ///
    /// # Errors
    /// [`HeaderFault::Repeated`] if it does not.
    pub fn single(&self, name: HeaderName) -> Result<Option<&str>, HeaderFault> {
        match self.repeated & name.bit() {
            0 => Ok(self.get(name)),
            _ => Err(HeaderFault::Repeated(name)),
        }
    }

    /// The first header that may stand once and does not.
    pub(crate) fn repeated_single(&self) -> Option<HeaderName> {
        match self.repeated {
            0 => None,
            set => HeaderName::of_bits(set).find(|name| name.is_single()),
        }
    }

    pub(crate) fn entries(&self, name: HeaderName) -> impl Iterator<Item = Entry> {
        self.all_entries(name)
            .iter()
            .copied()
            .filter(move |entry| entry.name == name)
    }

    /// All lines; none if none has the name.
    pub(crate) fn all_entries(&self, name: HeaderName) -> &[Entry] {
        match self.has(name) {
            true => &self.entries,
            false => &[],
        }
    }

    /// A value that shares the message's memory.
    pub(crate) fn share(&self, value: &str) -> Text {
        match value.is_empty() {
            true => Text::default(),
            false => Text::checked(self.bytes.slice_ref(value.as_bytes())),
        }
    }

    pub(crate) fn unshared(&self) -> Self {
        Self {
            bytes: Bytes::copy_from_slice(&self.bytes),
            ..self.clone()
        }
    }

    fn header(&self, entry: Entry) -> Header<'_> {
        Header {
            name: entry.name,
            written_name: str_of(entry.name_of(&self.bytes)),
            value: str_of(entry.value.of(&self.bytes)),
        }
    }
}

impl std::fmt::Debug for Headers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map()
            .entries(
                self.iter()
                    .map(|header| (header.written_name, header.value)),
            )
            .finish()
    }
}
