//! Texts of peers that were taken lately. A peer that did not hear our 200, because its connection broke
//! or the home took the text late, says the same request again past its transaction. In a session its
//! number tells; outside of one nothing of the first is left but this.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use entente_sip_core::usage::RequestName;

/// How long a text is remembered: as homes remember those of clients.
const WINDOW: Duration = Duration::from_secs(120);

/// How many a shard remembers, some 80 bytes each.
const CAPACITY: usize = 8192;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Heard {
    names: HashSet<RequestName>,
    order: VecDeque<(Instant, RequestName)>,
}

impl Heard {
    /// A home has taken it.
    pub(super) fn note(&mut self, now: Instant, name: RequestName) {
        self.prune(now, CAPACITY - 1);
        if self.names.insert(name) {
            self.order.push_back((now, name));
        }
    }

    /// Whether it was taken already.
    pub(super) fn knows(&mut self, now: Instant, name: RequestName) -> bool {
        self.prune(now, CAPACITY);
        self.names.contains(&name)
    }

    fn prune(&mut self, now: Instant, most: usize) {
        while let Some((at, name)) = self.order.front()
            && (self.order.len() > most || *at + WINDOW <= now)
        {
            self.names.remove(name);
            self.order.pop_front();
        }
    }
}
