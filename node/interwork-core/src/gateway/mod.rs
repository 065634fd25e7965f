//! The gateway: local users' stanzas to SIP domains, and SIP domains' requests to local users.
//!
//! To a user's home a SIP domain is one more external domain: watchers and contacts are JIDs, and
//! subscribing, probing and blocking go by RFC 6121. The gateway stands where the other server would: it
//! holds the SIP dialogs of the user, and lives where the user's home is. One [`Gateway`] is one shard;
//! a desk is one user's part of it.
//!
//! - `watching`: remote watchers of the local user (SUBSCRIBE comes in, NOTIFY goes out);
//! - `contacts`: remote people whom the local user watches (SUBSCRIBE goes out, NOTIFY comes in);
//! - `chats`: texts both ways, in sessions or by pager.
//!
//! What must outlive this node is in the store before anybody is told that it exists.

mod chats;
mod contacts;
mod contract;
mod counts;
mod desk;
mod heard;
mod ledger;
mod line;
mod returns;
mod settings;
mod shard;
mod stanzas;
mod terms;
mod watching;

#[cfg(test)]
mod tests;

pub use contract::{CallId, Input, MAX_RECORD, Output, Record, StanzaId, StoreId, Ticket};
pub use counts::{Counts, Holdings};
pub use settings::{Bounds, Peer, Settings};
pub use shard::Gateway;
