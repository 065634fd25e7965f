//! Parameters: `;name`, `;name=token`, `;name="quoted"`, with white space where a header allows it.

use std::borrow::Cow;

use crate::grammar::{self, is_token, quoted_len, trim, trim_start, unquote};

/// Parameters of a header value or a URI, in order, as they were written.
///
/// The text was checked when it was cut out, so that reading cannot fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

/// One parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param<'a> {
    /// Names are compared without regard to case.
    pub name: &'a str,
    /// The value as it is written, with its quotes; `None` where there is no `=`.
    pub value: Option<&'a str>,
}

impl<'a> Params<'a> {
    /// No parameters.
    pub const NONE: Params<'static> = Params("");

    /// The parameters of a header: `text` is empty or starts with `;`.
    pub(crate) fn header(text: &'a str) -> Option<Self> {
        let mut rest = trim(text);
        let whole = rest;
        while !rest.is_empty() {
            rest = trim_start(rest.strip_prefix(';')?);
            let (param, after) = split_first(rest)?;
            if !is_token(param.name) || !param.value.is_none_or(is_value) {
                return None;
            }
            rest = after;
        }
        Some(Self(whole))
    }

    /// The parameters of a URI: no white space, no quotes, percent escapes (RFC 3261 section 19.1.1).
    pub(crate) fn uri(text: &'a str) -> Option<Self> {
        let mut rest = text;
        while !rest.is_empty() {
            rest = rest.strip_prefix(';')?;
            let end = memchr::memchr(b';', rest.as_bytes()).unwrap_or(rest.len());
            let (param, after) = rest.split_at(end);
            let (name, value) = match param.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (param, None),
            };
            // COMPAT: `;gruu=` and the like with nothing behind the sign come from real peers.
            if !grammar::is_uri_param(name)
                || !value.is_none_or(|value| value.is_empty() || grammar::is_uri_param(value))
            {
                return None;
            }
            rest = after;
        }
        Some(Self(text))
    }

    /// Text that was checked before.
    pub(crate) const fn checked(text: &'a str) -> Self {
        Self(text)
    }

    /// As it was written, from the first `;` on.
    #[must_use]
    pub const fn as_str(self) -> &'a str {
        self.0
    }

    /// One after the other.
    pub fn iter(self) -> impl Iterator<Item = Param<'a>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            rest = trim_start(trim_start(rest).strip_prefix(';')?);
            let (param, after) = split_first(rest)?;
            rest = after;
            Some(param)
        })
    }

    /// Whether there is one of this name, with or without a value.
    #[must_use]
    pub fn has(self, name: &str) -> bool {
        self.find(name).is_some()
    }

    /// The first of this name.
    #[must_use]
    pub fn find(self, name: &str) -> Option<Param<'a>> {
        self.iter()
            .find(|param| param.name.eq_ignore_ascii_case(name))
    }

    /// The value of the first of this name, as written; `None` too if it has none.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.find(name)?.value
    }

    /// The value of the first of this name, without quotes and escapes.
    #[must_use]
    pub fn unquoted(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).map(unquote)
    }

    /// How many have this name.
    #[must_use]
    pub fn count(self, name: &str) -> usize {
        self.iter()
            .filter(|param| param.name.eq_ignore_ascii_case(name))
            .count()
    }
}

/// The parameter that `text` starts with, and what follows from the next `;` on.
fn split_first(text: &str) -> Option<(Param<'_>, &str)> {
    let bytes = text.as_bytes();
    let name_end = memchr::memchr2(b';', b'=', bytes).unwrap_or(bytes.len());
    let name = trim(&text[..name_end]);
    if bytes.get(name_end) != Some(&b'=') {
        return Some((Param { name, value: None }, &text[name_end..]));
    }
    let rest = trim_start(&text[name_end + 1..]);
    let value_end = match rest.as_bytes() {
        quoted @ [b'"', ..] => {
            let end = quoted_len(quoted)?;
            end + memchr::memchr(b';', &quoted[end..]).unwrap_or(quoted.len() - end)
        }
        plain => memchr::memchr(b';', plain).unwrap_or(plain.len()),
    };
    let value = Some(trim(&rest[..value_end]));
    Some((Param { name, value }, &rest[value_end..]))
}

/// `gen-value`: a token, a host or a quoted string. Wider than the grammar by what unquoted values
/// contain in the wild (`/`, `:`, `@`, brackets); never a separator, white space or half a quote.
fn is_value(value: &str) -> bool {
    match value.as_bytes() {
        [] => false,
        quoted @ [b'"', ..] => quoted_len(quoted) == Some(quoted.len()),
        plain => plain.iter().all(|byte| {
            byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b',' | b';')
        }),
    }
}
