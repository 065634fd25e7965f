//! The home service of Entente without I/O: a user's roster, presence, sessions and messages.
//!
//! A [`HomeShard`] decides for many users: RFC 6121 in full, carbons (XEP-0280), blocking
//! (XEP-0191), offline messages (XEP-0160) and custody of messages until somebody else has them. It
//! knows no clock, socket or entropy: time comes with every input.
//!
//! An edge node keeps a [`SessionMirror`] per client session, and answers for the domains themselves
//! with [`domain::answer`] on any node.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

mod account;
mod binding;
mod blocking;
mod blocklist;
mod config;
mod contract;
mod deliveries;
mod desk;
pub mod domain;
mod fingerprint;
mod mailbox;
pub mod message;
mod mirror;
mod presence;
mod repeats;
mod roster;
mod roster_iq;
mod seen;
mod session;
mod shard;
mod stanzas;
mod strays;
mod subscribe;
pub mod subscription;
mod traffic;
mod user;

pub use config::{HomeConfig, Limits, Software};
pub use contract::{
    BadEnvelopeId, BindError, ConnectionName, DeliveryId, EndReason, EnvelopeId, Input,
    OfflineMessage, Output, PendingIn, RequestId, SessionEndReason, SessionKey, SessionSnapshot,
    StoreAnswer, StoreOp, UserRecord, Write, WriteOutcome,
};
pub use deliveries::Deliveries;
pub use fingerprint::Fingerprint;
pub use mirror::SessionMirror;
pub use roster::{Roster, RosterItem};
pub use shard::HomeShard;
pub use subscription::Subscription;
