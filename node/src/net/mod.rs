//! Sockets: listening, admission, and the byte stream of a connection with or without TLS.

pub(crate) mod admission;
pub(crate) mod io;
pub(crate) mod listen;

pub(crate) use admission::{Admission, Permit};
pub(crate) use io::{Io, IoEvent};
