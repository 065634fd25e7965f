//! Conversations: what a peer sends and what it gets, written as the RFCs write their examples.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::disallowed_methods,
    reason = "one reading of the clock as the origin of time"
)]

mod client_authentication;
mod client_farewell;
mod client_session;
mod client_support;
mod inbound;
mod outbound;
mod pair;
