//! How far this node's copy is in the cluster's one row of writes: so that one node can wait for what
//! another one wrote.

use std::time::Duration;

use tokio::time::sleep;

use crate::error::StoreError;
use crate::store::Store;

/// How often a waiting call looks.
const LOOK: Duration = Duration::from_millis(5);

impl Store {
    /// The position of this node's copy, at which it holds all writes that this node has completed.
    ///
    /// # Errors
    /// [`StoreError::Timeout`] if the copy does not follow.
    pub async fn position(&self) -> Result<u64, StoreError> {
        self.until_visible().await?;
        Ok(self.applied().await)
    }

    /// Returns when this node's copy has come to a position that another node gave. Callers bound it.
    pub async fn reached(&self, position: u64) {
        while self.applied().await < position {
            sleep(LOOK).await;
        }
    }

    async fn applied(&self) -> u64 {
        let metrics = self.inner.engine.local().metrics_db().await;
        metrics.map_or(0, |metrics| metrics.last_applied.map_or(0, |log| log.index))
    }
}
