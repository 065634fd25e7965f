//! The store of a node: accounts, rosters, offline messages, leases, settings.
//!
//! One engine from a laptop to a cluster: SQLite inside the process, replicated by Raft when there
//! is more than one node. Reads are local; writes are grouped into transactions that the quorum has
//! on disk before the caller hears of it. Nothing outside of this crate sees SQL or the engine.
//!
//! Two nodes have one voter: high availability starts at three.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod account;
mod config;
mod disk;
mod engine;
mod error;
mod gateway;
mod identity;
mod join;
mod lease;
mod offline;
mod position;
mod roster;
mod schema;
mod seed;
mod setting;
mod statement;
mod status;
mod store;
pub mod trust;
mod voter;
mod write;
mod writer;

pub use account::{Account, ScramKeys, ScramSet};
pub use config::{Bootstrap, ClusterConfig, LogSync, Secrets, StoreConfig, TlsFiles, Tuning};
pub use error::{EngineFault, SqliteFault, StoreError};
pub use gateway::{GatewayChange, GatewayRecord};
pub use join::MEMBER_NAME;
pub use lease::LeaseRow;
pub use offline::{OfflineMessage, OfflineNotice};
pub use roster::{PendingIn, RosterEntry, Subscription, UserRecord};
pub use seed::{recover_alone, restore};
pub use status::{Member, StoreStatus};
pub use store::Store;
pub use voter::VoterChange;
pub use write::{Write, WriteOutcome};
