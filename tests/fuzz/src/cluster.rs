//! What must hold for whatever reaches the ports between the nodes. The tests of `cluster` feed the same
//! entry functions with random input.

use entente_cluster::forward::fuzzing::{frame, link_acks, link_batches};
use entente_cluster::fuzzing::sealed_datagram;

/// A gossip datagram, and a change to a good one: never taken.
pub fn gossip(data: &[u8]) {
    sealed_datagram(data);
}

/// Envelopes: what a node may send on a link, answer on one, and what is in its frames; the first byte
/// says which.
pub fn envelope(data: &[u8]) {
    match data.split_first() {
        Some((0, batches)) => link_batches(batches),
        Some((1, acks)) => link_acks(acks),
        Some((_, bytes)) => frame(bytes),
        None => {}
    }
}
