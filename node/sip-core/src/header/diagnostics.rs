//! `ms-diagnostics`.

use std::borrow::Cow;

use crate::grammar::{number, trim};
use crate::params::Params;

/// COMPAT Microsoft: why a request failed, for operators (MS-OCER section 2.2.1):
/// `1004;reason="Route set no longer valid";source="edge.example.com"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MsDiagnostics<'a> {
    /// The error's number.
    pub id: u32,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> MsDiagnostics<'a> {
    /// Reads a value; `None` if it is malformed.
    #[must_use]
    pub fn parse(value: &'a str) -> Option<Self> {
        let (id, params) = match memchr::memchr(b';', value.as_bytes()) {
            Some(at) => value.split_at(at),
            None => (value, ""),
        };
        Some(Self {
            id: u32::try_from(number(trim(id))?).ok()?,
            params: Params::header(params)?,
        })
    }

    /// The explanation.
    #[must_use]
    pub fn reason(&self) -> Option<Cow<'a, str>> {
        self.params.unquoted("reason")
    }

    /// The server that says so.
    #[must_use]
    pub fn source(&self) -> Option<Cow<'a, str>> {
        self.params.unquoted("source")
    }
}
