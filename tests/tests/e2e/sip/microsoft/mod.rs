//! A scripted peer that behaves like Microsoft's federation: an access edge with signed routes in
//! front of a pool, users with GRUUs, presence in the dialect of Office Communicator, instant messages
//! in sessions only.
//!
//! It is an oracle: what it is sent is checked against what such servers want, and every objection is
//! kept for [`MicrosoftPeer::faults`].

mod check;
mod dialog;
mod document;
mod peer;
mod self_test;
mod session;
mod wire;

pub use document::{Document, Shown};
pub use peer::{MicrosoftPeer, Settings, is_to};
pub use session::{Session, Watch};
