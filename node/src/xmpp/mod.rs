//! The XMPP federation connection manager: streams from and to other servers.
//!
//! One queue and one outbound stream for each pair of domains, opened on demand ([`pair`], [`outbound`]);
//! any number of inbound streams ([`inbound`]), one of which may stand in for the outbound one if the
//! peer opened it for both directions ([`carrier`]). What a peer sends is taken into custody like what
//! a client sends ([`acceptance`]); what goes out gets its receipt when the peer acknowledged it or, for
//! peers that don't, when it was written.
//!
//! After a failure of all targets everything that waits is answered with an error, and the pair
//! backs off for 1 s, doubling to 60 s. What comes meanwhile waits for the next attempt, unless its
//! own deadline is earlier: a short outage of a peer costs the first senders an error, and the others a delay.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may fail"))]

mod acceptance;
mod carrier;
mod connection;
mod failure;
mod inbound;
mod outbound;
mod pair;
mod resolve;
mod service;
mod status;
mod target;
mod verification;

pub(crate) use service::{XmppError, XmppService};
