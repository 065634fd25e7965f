//! What `entente peers` shows of SIP federation.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Instant;

use entente_interwork_core::gateway::Holdings;
use serde::Serialize;

use super::link::Link;
use super::trunk::Trunk;
use crate::config::SipPeerConfig;

/// One peer of the configuration.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct PeerStatus {
    pub(crate) peer: String,
    pub(crate) profile: &'static str,
    pub(crate) domains: Vec<String>,
    /// It serves all other domains.
    pub(crate) other_domains: bool,
    pub(crate) requests_per_second: u32,
    /// Subscriptions of its users to users whose home is this node.
    pub(crate) watchers: u64,
    /// Subscriptions of users whose home is this node to its users.
    pub(crate) contacts: u64,
    /// Pairs of users that talk, ours at home at this node.
    pub(crate) sessions: u64,
    pub(crate) connections: Vec<ConnectionStatus>,
    pub(crate) queues: Vec<QueueStatus>,
}

/// One open connection.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConnectionStatus {
    /// `in` or `out`: who opened it.
    pub(crate) direction: &'static str,
    pub(crate) address: String,
    /// The TLS version; absent without TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tls: Option<&'static str>,
    /// The names in the peer's certificate, or its address.
    pub(crate) proof: String,
    /// The domains that spoke on it.
    pub(crate) domains: Vec<String>,
    pub(crate) age_seconds: u64,
    pub(crate) requests_in: u64,
    pub(crate) requests_out: u64,
    /// Requests that did not get past the edge.
    pub(crate) refused: u64,
}

/// What waits for one peer, or one domain of it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct QueueStatus {
    pub(crate) domain: String,
    pub(crate) local: String,
    /// `established`, `connecting`, `backing off`, `idle`.
    pub(crate) state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<String>,
    pub(crate) queued: usize,
    /// The last failure, with the peer's own words for operators where it sent some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last_error: Option<String>,
}

impl PeerStatus {
    pub(super) fn of(peer: &SipPeerConfig, other_domains: bool) -> Self {
        Self {
            peer: peer.name.as_ref().to_owned(),
            profile: peer.profile.name(),
            domains: peer.domains.clone(),
            other_domains,
            requests_per_second: peer.requests_per_second,
            watchers: 0,
            contacts: 0,
            sessions: 0,
            connections: Vec::new(),
            queues: Vec::new(),
        }
    }

    pub(super) fn hold(&mut self, held: Holdings) {
        self.watchers = held.watchers;
        self.contacts = held.contacts;
        self.sessions = held.sessions;
    }
}

impl ConnectionStatus {
    fn of(link: &Link, now: Instant, domains: Vec<String>) -> Self {
        Self {
            direction: if link.inbound { "in" } else { "out" },
            address: link.address.to_string(),
            tls: link.tls,
            proof: link.proof.shown(),
            domains,
            age_seconds: now.saturating_duration_since(link.since).as_secs(),
            requests_in: link.counts.requests_in.load(Ordering::Relaxed),
            requests_out: link.counts.requests_out.load(Ordering::Relaxed),
            refused: link.counts.refused.load(Ordering::Relaxed),
        }
    }
}

/// Puts connections under the peers that spoke on them; those that nobody spoke on are left out.
pub(super) fn add_link(peers: &mut BTreeMap<String, PeerStatus>, now: Instant, link: &Link) {
    let mut domains: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (domain, peer) in link.speakers() {
        domains
            .entry(peer.as_ref().to_owned())
            .or_default()
            .push(domain);
    }
    for (peer, domains) in domains {
        if let Some(peer) = peers.get_mut(&peer) {
            peer.connections
                .push(ConnectionStatus::of(link, now, domains));
        }
    }
}

/// Likewise what waits.
pub(super) fn add_trunk(peers: &mut BTreeMap<String, PeerStatus>, trunk: &Trunk) {
    if let Some(peer) = peers.get_mut(&*trunk.key.peer) {
        let state = trunk.status();
        peer.queues.push(QueueStatus {
            domain: trunk.key.domain.as_ref().to_owned(),
            local: trunk.key.local.as_ref().to_owned(),
            state: state.state,
            server: state.server,
            queued: state.queued,
            last_error: state.last_error,
        });
    }
}
