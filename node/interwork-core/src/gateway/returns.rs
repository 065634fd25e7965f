//! Peers that came back: when what is shared with one is refreshed.
//!
//! Several nodes may notice the same return, and a peer whose connections break all the time returns all
//! the time; a refresh of thousands of subscriptions each time would keep it from recovering.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The shortest time between two refreshes of everything with one peer. A return within it is not
/// forgotten: the refresh follows at its end.
const GAP: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct Return {
    not_before: Instant,
    due: bool,
}

/// The returns of all peers; as many entries as peers are configured.
#[derive(Debug, Default)]
pub(super) struct Returns {
    peers: BTreeMap<Arc<str>, Return>,
}

impl Returns {
    /// The peer is back; whether it is the time to refresh now.
    pub(super) fn noticed(&mut self, now: Instant, peer: &Arc<str>) -> bool {
        let known = self
            .peers
            .entry(Arc::clone(peer))
            .or_insert_with(|| Return {
                not_before: now,
                due: false,
            });
        if now < known.not_before {
            known.due = true;
            return false;
        }
        known.not_before = now + GAP;
        true
    }

    /// When a refresh that was put off is due.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let due = self.peers.values().filter(|known| known.due);
        due.map(|known| known.not_before).min()
    }

    /// The peers whose turn has come.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut peers = Vec::new();
        for (peer, known) in &mut self.peers {
            if known.due && known.not_before <= now {
                known.due = false;
                known.not_before = now + GAP;
                peers.push(Arc::clone(peer));
            }
        }
        peers
    }
}
