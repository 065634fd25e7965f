//! Sockets: listening, admission, the PROXY protocol, DNS and connecting, and the byte stream of a
//! connection with or without TLS.

pub(crate) mod admission;
pub(crate) mod dial;
pub(crate) mod io;
pub(crate) mod listen;
pub(crate) mod proxy;
pub(crate) mod resolve;
pub(crate) mod srv;
pub(crate) mod throttle;

pub(crate) use admission::{Admission, Permit};
pub(crate) use dial::{DialFault, dial};
pub(crate) use io::{Io, IoEvent, tls_version};
pub(crate) use resolve::{ResolveFault, Resolver};
pub(crate) use srv::srv_order;
