//! Small values that the whole cluster shares.

use crate::error::StoreError;
use crate::statement::{Statement, blob, text};
use crate::store::Store;

struct Value(Vec<u8>);

impl From<&mut hiqlite::Row<'_>> for Value {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self(row.get("value"))
    }
}

impl Store {
    /// The value of a setting. A local read.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] or an engine fault.
    pub async fn get_setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let found = self
            .read::<Value>(
                "SELECT value FROM settings WHERE name = ?1",
                vec![text(name)],
            )
            .await?;
        Ok(found.into_iter().next().map(|value| value.0))
    }

    /// Sets or replaces a setting.
    ///
    /// # Errors
    /// As every write.
    pub async fn put_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.commit(vec![Statement::new(
            "INSERT INTO settings (name, value) VALUES (?1, ?2)
            ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            [text(name), blob(value)],
        )])
        .await
        .map(drop)
    }

    /// The cluster's secret of this name; `fresh` becomes it if there was none. The first writer
    /// wins on every node.
    ///
    /// # Errors
    /// As every write.
    pub async fn secret_or_create(
        &self,
        name: &str,
        fresh: [u8; 32],
    ) -> Result<[u8; 32], StoreError> {
        self.commit(vec![Statement::new(
            "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            [text(name), blob(&fresh)],
        )])
        .await?;
        // The read waits until the transaction above is visible here.
        let stored = self.get_setting(name).await?;
        stored
            .and_then(|value| <[u8; 32]>::try_from(value).ok())
            .ok_or(StoreError::Config(
                "a setting of that name is no 32-byte secret",
            ))
    }
}
