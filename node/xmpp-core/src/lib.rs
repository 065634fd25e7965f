//! XMPP without I/O: addresses, stanzas, the framing of streams and what happens on them (RFC 6120,
//! 6121, 7622).
//!
//! Nothing here knows a socket, a clock or a source of entropy.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod dialback;
pub mod element;
pub mod error;
pub mod framer;
pub mod jid;
pub mod management;
pub mod ns;
pub mod sasl;
pub mod stanza;
pub mod stream;
pub mod writer;
pub mod xml;
