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

/// That a message is stored, without the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OfflineNotice {
    /// As in [`OfflineMessage`].
    pub row: u64,
    /// Bare JID of the recipient.
    pub user: String,
    /// As in [`OfflineMessage`].
    pub id: Vec<u8>,
}

impl From<&mut hiqlite::Row<'_>> for OfflineNotice {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            row: counter(row.get("seq")),
            user: row.get("user"),
            id: row.get("id"),
        }
    }
}

struct Newest(i64);

impl From<&mut hiqlite::Row<'_>> for Newest {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self(row.get("newest"))
    }
}

impl Store {
    /// At most `limit` messages of all users behind row `after` in this node's copy, whichever node
    /// stored them, oldest first. Made to be polled: a local read that waits for nothing.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn offline_notices(
        &self,
        after: u64,
        limit: u32,
    ) -> Result<Vec<OfflineNotice>, StoreError> {
        self.read_now(
            "SELECT seq, user, id FROM offline WHERE seq > ?1 ORDER BY seq LIMIT ?2",
            vec![integer(after), integer(limit)],
        )
        .await
    }

    /// The newest row of a message in this node's copy; 0 if there is none.
    ///
    /// # Errors
    /// As [`Store::offline_notices`].
    pub async fn newest_offline(&self) -> Result<u64, StoreError> {
        let found: Vec<Newest> = self
            .read_now(
                "SELECT COALESCE(MAX(seq), 0) AS newest FROM offline",
                Vec::new(),
            )
            .await?;
        Ok(found.first().map_or(0, |row| counter(row.0)))
    }

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
