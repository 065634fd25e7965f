//! What connects the parts of a node with each other and with the other nodes: shards of the home
//! service, connections, outbound streams, mesh.
//!
//! Nothing here waits for a slower part except where a reader of a socket is meant to be pushed
//! back: edges wait for the shards' edge lanes and for the mesh; shards wait for nobody. What a
//! shard can't pass on, it hands back to the holder of the envelope (`Retry`), who keeps it anyway.

mod arrival;
pub(crate) mod connections;
pub(crate) mod everywhere;
pub(crate) mod follow;
pub(crate) mod inbox;
pub(crate) mod receipts;
pub(crate) mod shard;
pub(crate) mod store_worker;
pub(crate) mod stored;
pub(crate) mod switchboard;
pub(crate) mod wire;

pub(crate) use connections::{ConnectionHandle, Connections};
pub(crate) use entente_fabric_core::outbound::OutboundItem;
pub(crate) use everywhere::everywhere;
pub(crate) use inbox::Item;
pub(crate) use receipts::ReceiptBatch;
pub(crate) use switchboard::{OutboundSink, SipPart, Switchboard, Unplaced};
