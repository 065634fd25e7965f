//! SIP without I/O: messages, addresses, and what happens with them (RFC 3261, 3263, 6665, 3428).
//!
//! Nothing here knows a socket, a clock or a source of entropy.
//!
//! The wire half, between bytes and checked types:
//! [`framer`] cuts a stream into messages, [`message`] reads one without changing a byte of it,
//! [`validate`] says once whether it may be worked on, [`build`] writes one.
//!
//! The state half, which takes time and inputs and gives intentions: [`transaction`] pairs requests
//! with responses, [`dialog`] knows both ends, [`subscription`] and [`session`] use dialogs, [`owner`]
//! says which node's they are, [`profile`] how the peer wants it,
//! [`locate`] finds the peer's servers.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod build;
pub mod dialog;
pub mod draft;
pub mod framer;
pub mod generator;
pub mod grammar;
pub mod header;
pub mod locate;
pub mod message;
pub mod method;
pub mod name_addr;
pub mod owner;
pub mod params;
pub mod profile;
pub mod record;
pub mod reply;
pub mod session;
pub mod status;
pub mod subscription;
#[cfg(test)]
mod testing;
pub mod text;
pub mod transaction;
pub mod trust;
pub mod uri;
pub mod usage;
pub mod validate;
pub mod via;

pub use header::HeaderName;
pub use message::Message;
pub use method::Method;
pub use name_addr::NameAddr;
pub use uri::Uri;
pub use via::Via;
