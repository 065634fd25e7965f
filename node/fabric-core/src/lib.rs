//! What the parts of a node decide between the cores, without sockets, tasks or clocks: where
//! something goes by today's view ([`way`]), what a client's session keeps and tells at its edge
//! ([`session`]), and what waits for another domain ([`outbound`]).
//!
//! The node's shells carry it out; the simulation of clusters runs the same code on virtual time.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "tests"))]

pub mod outbound;
pub mod session;
pub mod way;
