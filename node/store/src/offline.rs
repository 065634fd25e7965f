//! Messages for users without a session.

use crate::error::StoreError;
use crate::statement::{counter, integer, text};
use crate::store::Store;

/// A message that waits for its recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineMessage {
    /// Grows in the order in which messages were stored; never used twice.
    pub row: u64,
    /// The id given to [`crate::Write::PutOffline`].
    pub id: Vec<u8>,
    /// The message stanza, canonical bytes.
    pub stanza: Vec<u8>,
    /// When it was accepted, milliseconds since the Unix epoch.
    pub stored_at_ms: u64,
}

impl From<&mut hiqlite::Row<'_>> for OfflineMessage {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            row: counter(row.get("seq")),
            id: row.get("id"),
            stanza: row.get("stanza"),
            stored_at_ms: counter(row.get("stored_at")),
        }
    }
}

impl Store {
    /// At most `limit` messages of the user behind row `after`, oldest first. Start with 0. A local
    /// read that sees every write which this node was told is durable.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn load_offline(
        &self,
        user: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OfflineMessage>, StoreError> {
        self.read(
            "SELECT seq, id, stanza, stored_at FROM offline
            WHERE user = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
            vec![text(user), integer(after), integer(limit)],
        )
        .await
    }
}
