//! URIs that keep their bytes (RFC 3261 section 19.1; tel: RFC 3966; pres: RFC 3859; im: RFC 3860).

use std::borrow::Cow;
use std::fmt;

use crate::grammar;
use crate::params::Params;
use crate::text::{Span, Text};

mod compare;
mod host;
mod parse;

pub use host::Host;
pub(crate) use host::{host_of, is_host, split_host_port};

/// Longest URI that is read: longer than any that routing needs, and a Route of an edge with signed
/// parameters is some 500 bytes.
pub const MAX_URI_BYTES: usize = 4096;

/// What a URI begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `sip:`
    Sip,
    /// `sips:`
    Sips,
    /// `tel:`
    Tel,
    /// `pres:`
    Pres,
    /// `im:`
    Im,
    /// Another; see [`Uri::scheme_str`].
    Other,
}

/// Why text is no URI. The sender's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UriFault {
    /// No scheme, or a character that no scheme has.
    #[error("no URI scheme")]
    Scheme,
    /// A character that no URI has: white space, controls, angle brackets, quotes, beyond ASCII.
    #[error("a character that a URI cannot have")]
    Character,
    /// The part before the `@`.
    #[error("malformed user part")]
    User,
    /// The host; an IPv6 address without brackets too.
    #[error("malformed host")]
    Host,
    /// Not a number from 0 to 65535.
    #[error("malformed port")]
    Port,
    /// A parameter.
    #[error("malformed URI parameter")]
    Params,
    /// What follows the `?`.
    #[error("malformed URI header")]
    Headers,
    /// Longer than [`MAX_URI_BYTES`].
    #[error("URI too long")]
    TooLong,
}

/// A URI. Equality is that of the bytes, as route sets and tables need it; [`Uri::equivalent`] is the
/// comparison of RFC 3261.
#[derive(Clone)]
pub struct Uri {
    text: Text,
    scheme: Scheme,
    host_kind: host::HostKind,
    port: Option<u16>,
    /// Before the `@`, without the password; empty if there is none.
    user: Span,
    password: Option<Span>,
    host: Span,
    params: Span,
    headers: Span,
}

impl Uri {
    /// Reads a URI.
    ///
    /// # Errors
    /// The first part that does not follow the grammar.
    pub fn parse(text: &str) -> Result<Self, UriFault> {
        if text.len() > MAX_URI_BYTES {
            return Err(UriFault::TooLong);
        }
        Self::from_text(Text::from(text))
    }

    /// Like [`Uri::parse`], sharing the memory.
    pub(crate) fn from_text(text: Text) -> Result<Self, UriFault> {
        parse::parse(text)
    }

    /// `sip:user@host`, the user percent-encoded where it must be. `host` may be a name or an address
    /// (IPv6 in brackets).
    ///
    /// # Errors
    /// If the user is empty or the host is none.
    pub fn sip(user: &str, host: &str) -> Result<Self, UriFault> {
        use std::fmt::Write as _;
        let mut text = String::with_capacity(user.len() + host.len() + 8);
        text.push_str("sip:");
        for byte in user.bytes() {
            // What the grammar allows but readers take for something else is encoded too.
            match byte {
                b';' | b'?' | b'/' | b',' => write!(text, "%{byte:02X}"),
                plain if grammar::is_plain_user(plain) => write!(text, "{}", char::from(plain)),
                other => write!(text, "%{other:02X}"),
            }
            .expect("writing to a string succeeds");
        }
        text.push('@');
        text.push_str(host);
        Self::parse(&text)
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The scheme as it was written.
    #[must_use]
    pub fn scheme_str(&self) -> &str {
        self.as_str().split(':').next().unwrap_or_default()
    }

    /// `sip:` or `sips:`.
    #[must_use]
    pub fn is_sip(&self) -> bool {
        matches!(self.scheme, Scheme::Sip | Scheme::Sips)
    }

    /// The user part as written, without the password; of `tel:` the number. `None` if there is none.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        (!self.user.is_empty()).then(|| self.text.span(self.user))
    }

    /// The user part with percent escapes resolved: any bytes, NUL and no UTF-8 included.
    #[must_use]
    pub fn decoded_user(&self) -> Option<Cow<'_, [u8]>> {
        self.user().map(percent_decode)
    }

    /// What stands behind a `:` in the user part. Deprecated by RFC 3261 and never to be logged.
    #[must_use]
    pub fn password(&self) -> Option<&str> {
        self.password.map(|span| self.text.span(span))
    }

    /// The host as written, an IPv6 address with its brackets; empty where the scheme has none.
    #[must_use]
    pub fn host_str(&self) -> &str {
        self.text.span(self.host)
    }

    /// The host, if the scheme has one.
    #[must_use]
    pub fn host(&self) -> Option<Host<'_>> {
        self.host_kind.host(self.host_str())
    }

    /// The port that is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The parameters. Values may hold colons (`;opaque=user:epid:X;gruu`).
    #[must_use]
    pub fn params(&self) -> Params<'_> {
        Params::checked(self.text.span(self.params))
    }

    /// The value of a parameter; `None` too if it has none.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().get(name)
    }

    /// What stands behind the `?`, as written.
    #[must_use]
    pub fn headers(&self) -> Option<&str> {
        (!self.headers.is_empty()).then(|| self.text.span(self.headers))
    }

    /// Whether a Route's element is a loose router (RFC 3261 section 16.12).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.params().has("lr")
    }

    /// The comparison of RFC 3261 section 19.1.4. It is no equivalence relation: two URIs that differ
    /// in a parameter may both be equivalent to one without it.
    #[must_use]
    pub fn equivalent(&self, other: &Self) -> bool {
        compare::equivalent(self, other)
    }

    /// The same URI in memory of its own, for what is kept.
    #[must_use]
    pub fn unshared(&self) -> Self {
        Self {
            text: self.text.unshared(),
            ..self.clone()
        }
    }
}

/// Resolves `%41`. What is no escape stays.
pub(crate) fn percent_decode(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    let Some(first) = memchr::memchr(b'%', bytes) else {
        return Cow::Borrowed(bytes);
    };
    let mut decoded = bytes[..first].to_vec();
    let mut at = first;
    while let Some(byte) = bytes.get(at) {
        let escape = match bytes.get(at..at + 3) {
            Some([b'%', high, low]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escape {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                at += 3;
            }
            None => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    Cow::Owned(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|value| u8::try_from(value).ok())
}

impl PartialEq for Uri {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Uri {}

impl std::hash::Hash for Uri {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Uri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uri({})", self.as_str())
    }
}

impl std::str::FromStr for Uri {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests;
