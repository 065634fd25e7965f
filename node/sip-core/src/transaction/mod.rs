//! Transactions: a request and its responses (RFC 3261 section 17, corrected by RFC 6026).
//!
//! [`Transactions`] keeps those of one node. Requests of ours go in as drafts and get a Via whose branch
//! names this node; requests of peers come out once, whatever the network repeats; ACK of a refused
//! INVITE, 100, the answer to CANCEL, 482 and 503 are dealt with inside. The user above sees a request
//! and answers it, or sends one and hears one final response or one failure.

mod clients;
mod contract;
mod deadlines;
mod desk;
mod invite_client;
mod invite_server;
mod non_invite_client;
mod non_invite_server;
mod servers;
mod table;
#[cfg(test)]
mod tests;
mod timing;

pub use contract::{
    ClientToken, ConnectionId, Counters, Failure, Flow, Input, Output, ServerId, Unheard,
};
pub use table::{TransactionConfig, TransactionLimits, Transactions};
pub use timing::{Timing, TransactionTimer};
