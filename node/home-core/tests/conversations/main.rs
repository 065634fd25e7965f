//! Conversations with a home shard, and a simulation of several.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, reason = "tests")]
#![allow(
    clippy::disallowed_methods,
    reason = "the only clock reading is a starting point"
)]

mod blocking;
mod carbons;
mod messages;
mod offline;
mod presence;
mod repeats;
mod roster;
mod simulation;
mod takeover;
mod world;
