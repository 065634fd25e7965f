//! What the SIP gateway keeps for users: dialogs, subscriptions, sessions. The store does not look inside.

use crate::error::StoreError;
use crate::statement::{Statement, blob, text};
use crate::store::Store;

/// One record of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRecord {
    /// Unique for the user.
    pub key: String,
    /// The record.
    pub bytes: Vec<u8>,
}

impl From<&mut hiqlite::Row<'_>> for GatewayRecord {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            key: row.get("key"),
            bytes: row.get("record"),
        }
    }
}

/// A record that is written, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayChange {
    /// Bare JID of the user.
    pub user: String,
    /// Which record.
    pub key: String,
    /// What it is from now on; `None`: it goes.
    pub bytes: Option<Vec<u8>>,
}

struct User(String);

impl From<&mut hiqlite::Row<'_>> for User {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self(row.get("user"))
    }
}

impl Store {
    /// Makes all these changes durable, in this order and as one.
    ///
    /// # Errors
    /// As every write.
    pub async fn change_gateway(&self, changes: &[GatewayChange]) -> Result<(), StoreError> {
        let statements = changes
            .iter()
            .map(|change| match &change.bytes {
                Some(bytes) => Statement::new(
                    "INSERT INTO gateway (user, key, record) VALUES (?1, ?2, ?3)
                    ON CONFLICT (user, key) DO UPDATE SET record = excluded.record",
                    [text(&change.user), text(&change.key), blob(bytes)],
                ),
                None => Statement::new(
                    "DELETE FROM gateway WHERE user = ?1 AND key = ?2",
                    [text(&change.user), text(&change.key)],
                ),
            })
            .collect();
        self.commit(statements).await.map(drop)
    }

    /// All records of a user. A local read that sees every write which this node was told is durable.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn load_gateway(&self, user: &str) -> Result<Vec<GatewayRecord>, StoreError> {
        self.read(
            "SELECT key, record FROM gateway WHERE user = ?1 ORDER BY key",
            vec![text(user)],
        )
        .await
    }

    /// The users that have records, in order. A local read, as [`Self::load_gateway`].
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn gateway_users(&self) -> Result<Vec<String>, StoreError> {
        let users = self
            .read::<User>(
                "SELECT DISTINCT user FROM gateway ORDER BY user",
                Vec::new(),
            )
            .await?;
        Ok(users.into_iter().map(|user| user.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreConfig;

    fn change(user: &str, key: &str, bytes: Option<&[u8]>) -> GatewayChange {
        GatewayChange {
            user: user.to_owned(),
            key: key.to_owned(),
            bytes: bytes.map(<[u8]>::to_vec),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn records_are_kept_for_each_user_until_they_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::alone(dir.path(), "n1"))
            .await
            .unwrap();
        let alice = "alice@siena.example";
        store
            .change_gateway(&[
                change(alice, "watch 1 bob@pisa.example", Some(b"old")),
                change(alice, "watch 1 bob@pisa.example", Some(b"new")),
                change(alice, "chat 2 bob@pisa.example", Some(b"chat")),
                change("anna@siena.example", "chat 1 x@y", Some(b"hers")),
            ])
            .await
            .unwrap();
        store
            .change_gateway(&[change(alice, "chat 2 bob@pisa.example", None)])
            .await
            .unwrap();
        let records = store.load_gateway(alice).await.unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].bytes, b"new");
        let users = store.gateway_users().await.unwrap();
        assert_eq!(users, [alice, "anna@siena.example"]);
        store.shutdown().await.unwrap();
    }
}
