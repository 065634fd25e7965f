//! What will happen, in the order of virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::time::Instant;

use super::abroad::Arrival;
use super::client::ClientEvent;
use super::fault::Fault;
use super::node::NodeEvent;
use super::pipe::Side;
use super::store::StoreEvent;

/// Something that happens at a moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// To this life of a node.
    Node(usize, u64, NodeEvent),
    /// To a client.
    Client(usize, ClientEvent),
    /// The first message of this direction of a pipe arrives.
    Pipe(u64, Side),
    Store(StoreEvent),
    /// A stanza arrives at the other organisation's server.
    Abroad(Arrival),
    Fault(Fault),
}

struct Entry {
    at: Instant,
    seq: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap gives the greatest first: the earliest shall be the greatest.
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}

/// Events by time; of the same moment in the order in which they were added.
#[derive(Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Entry>,
    next: u64,
}

impl Agenda {
    pub(crate) fn add(&mut self, at: Instant, event: Event) {
        self.next += 1;
        let seq = self.next;
        self.heap.push(Entry { at, seq, event });
    }

    pub(crate) fn next(&mut self) -> Option<(Instant, Event)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}
