//! Leases: each node's sign of life, written through the quorum.

use crate::error::StoreError;
use crate::statement::{Statement, counter, integer, text};
use crate::store::Store;

/// The last renewal of one node, as this node's copy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// The node's name.
    pub node: String,
    /// Which start of the node.
    pub generation: u64,
    /// How often this start has renewed.
    pub counter: u64,
}

impl From<&mut hiqlite::Row<'_>> for LeaseRow {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            node: row.get("node"),
            generation: counter(row.get("generation")),
            counter: counter(row.get("counter")),
        }
    }
}

const RENEW: &str = "INSERT INTO leases (node, generation, counter) VALUES (?1, ?2, ?3)
    ON CONFLICT (node) DO UPDATE SET generation = excluded.generation, counter = excluded.counter
    WHERE excluded.generation > generation
        OR (excluded.generation = generation AND excluded.counter > counter)";

impl Store {
    /// Renews a node's lease. Goes ahead of every queued write. A renewal older than the stored
    /// one changes nothing.
    ///
    /// # Errors
    /// As every write; a caller that gets one has not renewed.
    pub async fn renew_lease(
        &self,
        node: &str,
        generation: u64,
        counter: u64,
    ) -> Result<(), StoreError> {
        self.commit_urgent(vec![Statement::new(
            RENEW,
            [text(node), integer(generation), integer(counter)],
        )])
        .await
        .map(drop)
    }

    /// All leases. A local read of some 50 µs, made to be polled a few times a second. It never
    /// waits for this node's own writes.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn leases(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.read_now(
            "SELECT node, generation, counter FROM leases ORDER BY node",
            Vec::new(),
        )
        .await
    }

    /// Forgets the lease of a node that was removed for good.
    ///
    /// # Errors
    /// As every write.
    pub async fn remove_lease(&self, node: &str) -> Result<(), StoreError> {
        self.commit(vec![Statement::new(
            "DELETE FROM leases WHERE node = ?1",
            [text(node)],
        )])
        .await
        .map(drop)
    }
}
