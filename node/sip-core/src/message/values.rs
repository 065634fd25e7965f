//! Lists in headers.

use crate::grammar::{find_outside, trim};
use crate::header::HeaderName;
use crate::message::Headers;
use crate::message::index::Entry;
use crate::text::str_of;

/// The elements of a list header, line after line (RFC 3261 section 7.3.1).
///
/// An empty line has no elements; an empty element (`a,,b`) is one, and no typed reader takes it.
#[derive(Debug, Clone)]
pub struct Values<'a> {
    bytes: &'a [u8],
    entries: std::slice::Iter<'a, Entry>,
    name: HeaderName,
    rest: Option<&'a str>,
}

impl<'a> Values<'a> {
    pub(crate) fn new(headers: &'a Headers, name: HeaderName) -> Self {
        Self {
            bytes: headers.bytes(),
            entries: headers.all_entries(name).iter(),
            name,
            rest: None,
        }
    }
}

impl<'a> Iterator for Values<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            if let Some(rest) = self.rest {
                return Some(match find_outside(rest, b',') {
                    Some(comma) => {
                        self.rest = Some(&rest[comma + 1..]);
                        trim(&rest[..comma])
                    }
                    None => {
                        self.rest = None;
                        trim(rest)
                    }
                });
            }
            let entry = self.entries.find(|entry| entry.name == self.name)?;
            let line = str_of(entry.value.of(self.bytes));
            self.rest = (!line.is_empty()).then_some(line);
        }
    }
}
