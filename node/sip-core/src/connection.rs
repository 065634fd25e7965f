//! Connections to a peer: what comes over one, which one is used, and when a new one is tried.
//!
//! [`Link`] is an open connection: it frames, keeps it alive and notices that it is dead. [`Pool`] says
//! which of a peer's links a request takes, in both directions (RFC 5923). [`Dialler`] says when to
//! connect: only when something wants to go out, and later each time it fails.

mod alias;
mod dialler;
mod link;
mod pool;

pub use alias::Alias;
pub use dialler::{DialInput, DialOutput, DialTimer, Dialler, DiallerConfig};
pub use link::{CloseReason, Link, LinkConfig, LinkOutput, LinkTimer, PING, PONG, PongPolicy};
pub use pool::{LinkId, Origin, Pool, Reuse};
