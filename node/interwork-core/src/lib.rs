//! What SIP and XMPP mean to each other: addresses, presence and its documents, message bodies, typing
//! notices and errors (RFC 7247, 8048, 7572, 7573), and the [`gateway`] that keeps the state in between.
//!
//! Nothing here knows a socket, a clock or a source of entropy; and outside [`gateway`] nothing knows how
//! a SIP message looks: header values come in as text, bodies as bytes.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod address;
pub mod document;
pub mod failure;
pub mod gateway;
pub mod media;
pub mod pidf;
pub mod presence;
pub mod stanzas;
pub mod text;
pub mod time;
pub mod typing;
