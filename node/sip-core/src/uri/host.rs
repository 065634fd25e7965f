//! Hosts: names, IPv4 and IPv6 addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::grammar::{is_host_name, number, trim};

/// A host as it stands in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host<'a> {
    /// A domain name.
    Name(&'a str),
    /// An address.
    Address(IpAddr),
}

/// What was found out about a host when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostKind {
    /// The scheme has no host.
    None,
    Name,
    Address(IpAddr),
}

impl HostKind {
    pub(crate) fn host(self, text: &str) -> Option<Host<'_>> {
        match self {
            Self::None => None,
            Self::Name => Some(Host::Name(text)),
            Self::Address(address) => Some(Host::Address(address)),
        }
    }

    /// What `text` is: a name, an IPv4 address, or an IPv6 address in brackets.
    pub(crate) fn of(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [b'[', .., b']'] => {
                let address = ipv6(&text[1..text.len() - 1])?;
                Some(Self::Address(address.into()))
            }
            [first, ..] if first.is_ascii_digit() => match text.parse::<Ipv4Addr>() {
                Ok(address) => Some(Self::Address(address.into())),
                // A name may begin with a digit; its last label may not be a number.
                Err(_) => (is_host_name(text) && !ends_in_number(text)).then_some(Self::Name),
            },
            _ => is_host_name(text).then_some(Self::Name),
        }
    }
}

fn ends_in_number(text: &str) -> bool {
    let label = text.trim_end_matches('.').rsplit('.').next();
    label.is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_digit()))
}

/// An IPv6 address. The grammar of RFC 3261 let one colon too many stand before an IPv4 part
/// (`2001:db8:::192.0.2.1`); RFC 5118 section 4.10 asks for leniency.
pub(crate) fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) if text.contains(":::") && text.contains('.') => {
            text.replacen(":::", "::", 1).parse().ok()
        }
        Err(_) => None,
    }
}

/// Cuts `host:port`. White space around the colon is a header's; a URI has none.
pub(crate) fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let colon = match text.as_bytes() {
        [b'[', ..] => {
            let bracket = memchr::memchr(b']', text.as_bytes())?;
            let after = &text[bracket + 1..];
            match trim(after) {
                "" => None,
                rest if rest.starts_with(':') => Some(bracket + 1 + after.find(':')?),
                _ => return None,
            }
        }
        _ => memchr::memchr(b':', text.as_bytes()),
    };
    match colon {
        None => Some((trim(text), None)),
        Some(at) => {
            let port = number(trim(&text[at + 1..]))?;
            Some((trim(&text[..at]), Some(u16::try_from(port).ok()?)))
        }
    }
}

/// Whether `text` is a name, an IPv4 address or an IPv6 address in brackets.
pub(crate) fn is_host(text: &str) -> bool {
    HostKind::of(text).is_some()
}

/// What `text` is, if it is a host.
pub(crate) fn host_of(text: &str) -> Option<Host<'_>> {
    HostKind::of(text)?.host(text)
}
