//! `Warning` and `Reason`.

use std::borrow::Cow;

use crate::grammar::{is_lws, is_token, number, trim, unquote};
use crate::params::Params;

/// One warning (RFC 3261 section 20.43).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning<'a> {
    /// Three digits.
    pub code: u16,
    /// Who says so.
    pub agent: &'a str,
    /// In words.
    pub text: Cow<'a, str>,
}

impl<'a> Warning<'a> {
    /// Reads one element; `None` if it is malformed.
    #[must_use]
    pub fn parse(element: &'a str) -> Option<Self> {
        let element = trim(element);
        let code = element.get(..3)?;
        let rest = element.get(3..)?;
        let rest = trim(rest.bytes().next().filter(|b| is_lws(*b)).map(|_| rest)?);
        let (agent, text) = rest.split_at(rest.bytes().position(is_lws)?);
        let text = trim(text);
        (text.starts_with('"') && text.len() > 1 && text.ends_with('"')).then_some(())?;
        Some(Self {
            code: u16::try_from(number(code)?).ok()?,
            agent,
            text: unquote(text),
        })
    }
}

/// One reason (RFC 3326): why a request was sent or refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReasonValue<'a> {
    /// `SIP`, `Q.850` and the like.
    pub protocol: &'a str,
    /// All parameters.
    pub params: Params<'a>,
}

impl<'a> ReasonValue<'a> {
    /// Reads one element; `None` if it is malformed.
    #[must_use]
    pub fn parse(element: &'a str) -> Option<Self> {
        let (protocol, params) = match memchr::memchr(b';', element.as_bytes()) {
            Some(at) => element.split_at(at),
            None => (element, ""),
        };
        let protocol = trim(protocol);
        is_token(protocol).then_some(Self {
            protocol,
            params: Params::header(params)?,
        })
    }

    /// The code: of protocol SIP a response code.
    #[must_use]
    pub fn cause(&self) -> Option<u16> {
        number(self.params.get("cause")?).and_then(|cause| u16::try_from(cause).ok())
    }

    /// In words.
    #[must_use]
    pub fn text(&self) -> Option<Cow<'a, str>> {
        self.params.unquoted("text")
    }
}
