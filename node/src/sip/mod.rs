//! The SIP federation connection manager: connections from and to peers' servers.
//!
//! Both sides of every connection show a certificate; what it proves decides which domains may speak on
//! it ([`proof`], [`gate`]). Requests that pass go to the transactions of this node ([`transactions`]),
//! and from there to the gateway shard of the user whose dialog or address they name ([`route`],
//! [`port`]), over the mesh if the user's home is another node. What the gateways send waits for the
//! peer in a [`trunk`], at the peer's pace, and goes over any open connection to it, whoever opened it.
//!
//! A bad message is answered or dropped, and the connection goes on: thousands of other users' dialogs
//! live on it. It ends where the end of a message can't be found, after long silence, and when the peer
//! does not answer OPTIONS.

mod accept;
mod away;
mod connection;
mod fabric;
mod failure;
pub(crate) mod frame;
mod gate;
mod link;
mod outbound;
mod pacer;
pub(crate) mod port;
mod proof;
mod route;
mod server;
mod service;
mod status;
mod transactions;
mod trunk;

#[cfg(test)]
mod tests;

pub(crate) use route::owner_of_user;
pub(crate) use server::locate;
pub(crate) use service::{SipError, SipParts, SipService};
