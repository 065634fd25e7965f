//! Checked settings of a home shard.

use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_xmpp_core::jid::BareJid;

/// Settings of one shard.
#[derive(Debug, Clone)]
pub struct HomeConfig {
    /// Domains whose users live in this cluster, in normal form.
    pub local_domains: Vec<String>,
    /// Name and version that XEP-0092 and service discovery tell.
    pub software: Software,
    /// Node id; names messages that reach a user without an envelope.
    pub node: Arc<str>,
    /// Generation of this node's process, for the same purpose.
    pub epoch: u64,
    /// Number of the shard on its node, for the same purpose.
    pub shard: u32,
    /// Where `DeliveryId`s and `RequestId`s start. Different for every shard instance (for example
    /// random in the upper 32 bits), so that a late `Delivered` for an earlier home means nothing.
    pub delivery_base: u64,
    /// Seeds generated resources; from the system's entropy, so that they can't be guessed.
    pub seed: u64,
    /// When the process started, for XEP-0012 of our domains.
    pub started: Instant,
    /// Bounds.
    pub limits: Limits,
}

/// What the server says it is.
#[derive(Debug, Clone, Default)]
pub struct Software {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
}

impl HomeConfig {
    /// Settings with the default limits.
    pub fn new(
        local_domains: Vec<String>,
        software: Software,
        node: Arc<str>,
        started: Instant,
    ) -> Self {
        Self {
            local_domains,
            software,
            node,
            epoch: 0,
            shard: 0,
            delivery_base: 0,
            seed: 0,
            started,
            limits: Limits::default(),
        }
    }

    /// Whether users of this domain live in this cluster.
    pub fn is_local(&self, domain: &str) -> bool {
        self.local_domains.iter().any(|local| local == domain)
    }

    /// Whether this is the address of one of our domains itself.
    pub fn is_local_domain(&self, jid: &BareJid) -> bool {
        jid.is_domain() && self.is_local(jid.domain())
    }
}

/// Bounds of everything that grows with traffic.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Users in memory; more: `Retry` or `BindError::Unavailable`.
    pub users: usize,
    /// Inputs that wait while a user is loaded or a change is written; more: `Retry`.
    pub queue_per_user: usize,
    /// Sessions of one user; more: `BindError::TooManySessions`.
    pub sessions_per_user: usize,
    /// Roster entries; more: `resource-constraint`.
    pub roster_entries: usize,
    /// Length of a contact's name or of a group's name in bytes; more: `not-acceptable`.
    pub roster_text: usize,
    /// Groups of one contact; more: `not-acceptable`.
    pub groups_per_contact: usize,
    /// Unanswered subscription requests kept; more are ignored.
    pub pending_in: usize,
    /// Blocked JIDs; more: `resource-constraint`.
    pub blocked: usize,
    /// Entities that one session sends directed presence to; more: `resource-constraint`.
    pub directed: usize,
    /// Messages of one user that wait for an ack; more go to the store first.
    pub pending_per_user: usize,
    /// Messages read from the offline store at once.
    pub offline_page: u32,
    /// Messages kept for one user; more: `service-unavailable` (XEP-0160).
    pub offline_messages: u64,
    /// Writes in one store operation of a mailbox.
    pub write_batch: usize,
    /// Envelope ids remembered per shard.
    pub seen_envelopes: usize,
    /// Messages remembered per shard against repeats on other connections, some 100 bytes each.
    pub repeats: usize,
    /// For so long after it was stored or delivered a message is remembered. Long enough for a
    /// client to come back; a client that counts its ids anew on every connection, and says the same
    /// again within that time, is not heard a second time. Zero: repeats are delivered.
    pub repeat_window: Duration,
    /// Without any ack for this long a message is stored as insurance.
    pub ack_wait: Duration,
    /// A user without sessions leaves memory after this time.
    pub idle_user: Duration,
    /// For so long after the homes have changed, a user who was loaded meanwhile and has no session
    /// that takes messages may have one that did not register yet: what comes for the user waits.
    pub takeover_wait: Duration,
    /// An unknown user is remembered as unknown for this time.
    pub unknown_user: Duration,
    /// Pause before a failed store operation is tried again.
    pub store_pause: Duration,
    /// Presence probes for users that were taken over, per second.
    pub probes_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            users: 200_000,
            queue_per_user: 256,
            sessions_per_user: 32,
            roster_entries: 2_000,
            roster_text: 1_023,
            groups_per_contact: 32,
            pending_in: 200,
            blocked: 1_000,
            directed: 500,
            pending_per_user: 512,
            offline_page: 50,
            offline_messages: 1_000,
            write_batch: 100,
            seen_envelopes: 1 << 16,
            repeats: 1 << 15,
            repeat_window: Duration::from_secs(120),
            ack_wait: Duration::from_secs(2),
            idle_user: Duration::from_secs(60),
            takeover_wait: Duration::from_secs(1),
            unknown_user: Duration::from_secs(5),
            store_pause: Duration::from_secs(2),
            probes_per_second: 500,
        }
    }
}
