//! `Content-Type`.

use crate::grammar::{is_token, trim};
use crate::params::Params;

/// A media type with its parameters (RFC 3261 section 20.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentType<'a> {
    /// What stands before the `/`.
    pub type_: &'a str,
    /// What stands behind it.
    pub subtype: &'a str,
    /// `charset`, `boundary` and the like.
    pub params: Params<'a>,
}

impl<'a> ContentType<'a> {
    /// Reads a value; `None` if it is malformed.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let (media, params) = match memchr::memchr(b';', value.as_bytes()) {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        let (type_, subtype) = media.split_once('/')?;
        let (type_, subtype) = (trim(type_), trim(subtype));
        if !is_token(type_) || !is_token(subtype) {
            return None;
        }
        Some(Self {
            type_,
            subtype,
            params: Params::header(params)?,
        })
    }

    /// Whether it is this type, whatever the parameters and the case.
    #[must_use]
    pub fn is(&self, type_: &str, subtype: &str) -> bool {
        self.type_.eq_ignore_ascii_case(type_) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}
