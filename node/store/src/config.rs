//! Settings of a store, checked when it opens.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Everything that [`crate::Store::open`] needs.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// Where log, database and snapshots live. Created if missing.
    pub data_dir: PathBuf,
    /// The node's name in the cluster. A joining node derives its member id from it, so it must be
    /// unique and must not change.
    pub node_name: String,
    /// `None`: a store of one, reachable by nobody else. `Some`: a member of a cluster.
    pub cluster: Option<ClusterConfig>,
    /// When a write counts as on disk.
    pub log_sync: LogSync,
    /// How long one call may take. Default 5 s.
    pub call_timeout: Duration,
    /// The most offline messages that are kept for one user. Default 1000.
    pub offline_quota: u32,
    /// Writes are refused while the disk of `data_dir` has less room. Default 64 MiB.
    pub min_free_bytes: u64,
    /// Timers of the replication.
    pub tuning: Tuning,
}

impl StoreConfig {
    /// A store of one node in `data_dir`.
    #[must_use]
    pub fn alone(data_dir: impl Into<PathBuf>, node_name: impl Into<String>) -> Self {
        Self {
            data_dir: data_dir.into(),
            node_name: node_name.into(),
            cluster: None,
            log_sync: LogSync::Immediate,
            call_timeout: Duration::from_secs(5),
            offline_quota: 1000,
            min_free_bytes: 64 * 1024 * 1024,
            tuning: Tuning::default(),
        }
    }

    /// A member of a cluster with its data in `data_dir`.
    #[must_use]
    pub fn member(
        data_dir: impl Into<PathBuf>,
        node_name: impl Into<String>,
        cluster: ClusterConfig,
    ) -> Self {
        Self {
            cluster: Some(cluster),
            ..Self::alone(data_dir, node_name)
        }
    }
}

/// How this node takes part in the cluster's replication.
#[derive(Debug, Clone)]
pub struct ClusterConfig {
    /// The local address that both listeners bind; the ports are those of the advertised
    /// addresses, because the engine knows no other.
    pub listen: IpAddr,
    /// `host:port` under which the other nodes reach the replication port. Use a name: it is
    /// stored in the cluster and looked up at every connect, so the address behind it may change.
    /// IPv6 literals are not possible.
    pub advertise_raft: String,
    /// `host:port` under which the other nodes reach the request port.
    pub advertise_api: String,
    /// Where the cluster comes from, if the data directory is empty. Ignored afterwards.
    pub bootstrap: Bootstrap,
    /// Certificate of this node, from the cluster's own CA. Both ports carry the whole database,
    /// so there is no way to run them without.
    pub tls: TlsFiles,
    /// What members prove to each other on top of TLS.
    pub secrets: Secrets,
}

/// What a node with an empty data directory does.
#[derive(Debug, Clone)]
pub enum Bootstrap {
    /// Found a new cluster. Exactly one node does this once. Configure it to join like all others
    /// afterwards: with this setting, a node that lost its disk would found a second cluster.
    First,
    /// Join through any of these members (`host:port` of their request ports). Only the joiner
    /// needs the list; the cluster need not know the joiner.
    Join {
        /// At least one member that is up.
        peers: Vec<String>,
    },
}

/// PEM files. They are read when the store opens; a new certificate needs a restart of the node.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain of this node, with the hosts of both advertised addresses.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// The cluster's CA.
    pub ca: PathBuf,
}

/// The two secrets of the cluster, the same on every node, at least 16 characters each.
#[derive(Clone)]
pub struct Secrets {
    /// For the replication port.
    pub raft: String,
    /// For the request port.
    pub api: String,
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(hidden)")
    }
}

/// When a write counts as on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogSync {
    /// After fsync: an acknowledged write survives the loss of power of all nodes at once.
    #[default]
    Immediate,
    /// Handed to the kernel: survives the death of the process, not of the machine.
    Deferred,
}

/// Timers of the replication. They must be the same on every node.
///
/// A dead leader is replaced after `election_max` (the lease of the old one) plus a random time
/// between `election_min` and `election_max`, counted from its last sign of life. Shorter means a
/// shorter gap in writes and more needless elections on a starved machine.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// How often a leader without writes says that it lives, and how long it waits for the answer
    /// to each replication message. A round trip plus a disk's fsync must fit in, or nothing can be
    /// committed at all. The engine looks at its timers once in one and a half heartbeats, so that
    /// is also the grain of elections. Default 500 ms, for links that have become bad and disks
    /// that have become slow.
    pub heartbeat: Duration,
    /// Default 550 ms.
    pub election_min: Duration,
    /// Default 900 ms.
    pub election_max: Duration,
    /// How long a voter must be missing before a learner takes its place. Default 30 s.
    pub voter_grace: Duration,
    /// Writes between two snapshots. A node that was killed replays at most that many. Default
    /// 10,000.
    pub snapshot_after: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(500),
            election_min: Duration::from_millis(550),
            election_max: Duration::from_millis(900),
            voter_grace: Duration::from_secs(30),
            snapshot_after: 10_000,
        }
    }
}
