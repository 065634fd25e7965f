//! A cluster in one thread on virtual time.
//!
//! Three to five nodes run the real cores: home shards, membership filter, leases and fence, home
//! placement, ways, client sessions, custody, mesh links, queues of outbound streams, DNS publication. Around them stand models: gossip, TCP between
//! the nodes, the store's log with its leader, and clients that send again what was not
//! acknowledged, and another organisation's server. What the node's async shell does between the cores
//! is mirrored in [`switchboard`], [`session`], [`abroad`] and [`node`](self::node).
//!
//! One seed decides everything: the size of the cluster, what the clients do, every delay, and the
//! faults. [`run`] returns what the run came to; a broken invariant comes with the last events.

mod abroad;
mod agenda;
mod checker;
mod client;
mod fault;
mod frame;
mod gossip;
mod membership;
mod mesh;
mod network;
mod node;
mod pipe;
mod session;
mod stage;
mod store;
mod switchboard;
mod trace;
mod worker;
mod world;
mod zones;

pub use checker::{Failure, Totals};
pub use world::{kind, run};
