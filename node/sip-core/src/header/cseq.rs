//! `CSeq`.

use std::fmt;

use crate::grammar::{is_lws, number, trim};
use crate::method::Method;

/// Number and method of a request (RFC 3261 section 20.16).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method; of an ACK or CANCEL its own, not that of the INVITE.
    pub method: Method,
}

impl CSeq {
    /// Reads a value; `None` if it is malformed or the number is 2^31 or more.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let value = trim(value);
        let space = value.bytes().position(is_lws)?;
        let (digits, method) = value.split_at(space);
        let number = number(digits).filter(|number| *number < 1 << 31)?;
        Some(Self {
            number: u32::try_from(number).ok()?,
            method: Method::parse(trim(method))?,
        })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}
