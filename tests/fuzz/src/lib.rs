//! What must hold for bytes from outside, one module for each parser that meets them.

pub mod cluster;
pub mod dns;
pub mod interwork;
pub mod sip;
pub mod xmpp;
