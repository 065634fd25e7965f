//! What is asked of DNS, and what it answers.

use std::net::IpAddr;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// The SRV records of a name.
    Srv(String),
    /// The NAPTR records of a name.
    Naptr(String),
    /// The A and AAAA records of a name, in the order in which they are to be tried.
    Addresses(String),
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To [`Query::Srv`].
    Srv(Vec<Srv>),
    /// To [`Query::Naptr`].
    Naptr(Vec<Naptr>),
    /// To [`Query::Addresses`].
    Addresses(Vec<IpAddr>),
    /// There is no such name or record.
    NotFound,
    /// Nobody could say (SERVFAIL, timeout).
    Failed,
}

/// RFC 2782.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Srv {
    /// Lower ones first.
    pub priority: u16,
    /// The share among those of the same priority.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host; `.` if there is no such service.
    pub target: String,
}

/// RFC 3403, as RFC 3263 uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Naptr {
    /// Lower ones first.
    pub order: u16,
    /// Lower ones first within an order.
    pub preference: u16,
    /// `s`: the replacement has SRV records.
    pub flags: String,
    /// `SIPS+D2T` for TLS over TCP.
    pub service: String,
    /// The name to ask next.
    pub replacement: String,
}
