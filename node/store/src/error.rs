//! What can go wrong, sorted by what the caller should do about it.

use std::path::PathBuf;
use std::time::Duration;

/// A fault of the engine below. Opaque on purpose: callers act on [`StoreError`], logs show this.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct EngineFault(#[from] hiqlite::Error);

/// Why a call on the store did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The deadline passed. A write may or may not take effect later, so the caller must not
    /// promise anything; repeating it is safe because every write is idempotent.
    #[error("no answer from the store within {0:?}")]
    Timeout(Duration),
    /// The queue of writes stayed full until the deadline: nothing was written.
    #[error("the store's write queue is full")]
    Busy,
    /// The disk has less room than [`crate::StoreConfig::min_free_bytes`]: nothing was written.
    #[error("too little room on the disk")]
    DiskFull,
    /// One call carried more than a single replicated entry may hold: nothing was written.
    #[error("{bytes} bytes in one call, at most {limit} fit")]
    TooLarge {
        /// Bytes of keys, names and stanzas in the call.
        bytes: usize,
        /// The most that one call may carry.
        limit: usize,
    },
    /// The account exists already.
    #[error("the account exists already")]
    Exists,
    /// There is no such account.
    #[error("there is no such account")]
    NoSuchAccount,
    /// The store was shut down.
    #[error("the store is shut down")]
    Closed,
    /// A newer program has changed the schema in a way that this one can't read.
    #[error("the data has schema {found}, this program reads at most {supported}: upgrade it")]
    NewerSchema {
        /// The oldest program schema that may read the data.
        found: u32,
        /// The schema of this program.
        supported: u32,
    },
    /// The data directory belongs to a cluster member with another advertised address. The cluster
    /// knows the old one; changing it needs a removal and a fresh join.
    #[error("this data belongs to {recorded}, the configuration says {configured}")]
    AddressChanged {
        /// The address with which the node joined.
        recorded: String,
        /// The address of the configuration.
        configured: String,
    },
    /// The configuration contradicts itself; the text says where.
    #[error("store configuration: {0}")]
    Config(&'static str),
    /// The engine verifies its peers against the roots in `SSL_CERT_FILE`, which is not the
    /// cluster's CA. See [`crate::trust`].
    #[error("SSL_CERT_FILE must be {expected} for the store's connections to be verified")]
    TrustRoots {
        /// The CA file of the configuration.
        expected: PathBuf,
    },
    /// Reading or writing the data directory failed.
    #[error("{path}: {source}")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// `node.json` in the data directory is not what this program wrote.
    #[error("{0} is damaged")]
    Identity(PathBuf),
    /// A backup file is not a complete database of this program.
    #[error("{0} is not an intact backup")]
    NotABackup(PathBuf),
    /// A change of the membership was refused, usually because the leader has moved: ask again.
    #[error("the membership change was refused with status {status}")]
    Membership {
        /// HTTP status of the leader's management interface.
        status: u16,
    },
    /// The leader's management interface was not reachable.
    #[error("the leader's management interface is unreachable")]
    Management(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The engine failed for good with this call; repeating it will not help.
    #[error("store engine: {0}")]
    Engine(#[from] EngineFault),
    /// SQLite failed outside of the engine (backup, restore).
    #[error("sqlite: {0}")]
    Sqlite(#[from] SqliteFault),
}

/// A fault of SQLite itself. Opaque like [`EngineFault`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct SqliteFault(#[from] hiqlite::rusqlite::Error);

impl From<hiqlite::Error> for StoreError {
    fn from(error: hiqlite::Error) -> Self {
        Self::Engine(EngineFault(error))
    }
}

impl From<hiqlite::rusqlite::Error> for StoreError {
    fn from(error: hiqlite::rusqlite::Error) -> Self {
        Self::Sqlite(SqliteFault(error))
    }
}

impl StoreError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Timeout(_)
                | Self::Busy
                | Self::DiskFull
                | Self::Membership { .. }
                | Self::Management(_)
        )
    }
}
