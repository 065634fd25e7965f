//! The schema and how it grows.
//!
//! A migration is a list of statements, replicated as one transaction by whichever node gets there
//! first; the version row's primary key makes every later attempt fail as a whole. Migrations only
//! add (tables, nullable columns, columns with defaults), so that a program of the previous version
//! works on beside the new one during a rolling upgrade. One that can't keep this promise raises
//! `min_reader`, and older programs refuse to start.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::engine::{Engine, Failure};
use crate::error::StoreError;
use crate::statement::{Statement, integer};

/// One step of the schema.
pub(crate) struct Migration {
    pub(crate) version: u32,
    /// The oldest program schema that may run on the result.
    pub(crate) min_reader: u32,
    pub(crate) statements: &'static [&'static str],
}

/// The table that remembers the steps. Created outside of them.
pub(crate) const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (
    version INTEGER PRIMARY KEY, min_reader INTEGER NOT NULL) STRICT";

/// The version of this program.
pub(crate) const CURRENT: u32 = MIGRATIONS[MIGRATIONS.len() - 1].version;

/// Raised by the guard when a batch arrives a second time or too late.
pub(crate) const STALE_BATCH: &str = "stale batch";

pub(crate) const MIGRATIONS: &[Migration] = &[FIRST, GATEWAY];

const FIRST: Migration = Migration {
    version: 1,
    min_reader: 1,
    statements: &[
        "CREATE TABLE accounts (
            user TEXT PRIMARY KEY, domain TEXT NOT NULL, created_at INTEGER NOT NULL,
            sha1_salt BLOB, sha1_iterations INTEGER, sha1_stored BLOB, sha1_server BLOB,
            sha256_salt BLOB, sha256_iterations INTEGER, sha256_stored BLOB, sha256_server BLOB,
            roster_version INTEGER NOT NULL DEFAULT 0,
            last_logout INTEGER, last_status TEXT) STRICT, WITHOUT ROWID",
        "CREATE INDEX accounts_by_domain ON accounts (domain, user)",
        "CREATE TABLE roster (
            user TEXT NOT NULL, jid TEXT NOT NULL, name TEXT, groups TEXT NOT NULL,
            subscription INTEGER NOT NULL, ask INTEGER NOT NULL, approved INTEGER NOT NULL,
            PRIMARY KEY (user, jid)) STRICT, WITHOUT ROWID",
        "CREATE TABLE pending_in (
            user TEXT NOT NULL, sender TEXT NOT NULL, stanza BLOB NOT NULL,
            PRIMARY KEY (user, sender)) STRICT, WITHOUT ROWID",
        "CREATE TABLE blocked (
            user TEXT NOT NULL, jid TEXT NOT NULL,
            PRIMARY KEY (user, jid)) STRICT, WITHOUT ROWID",
        // AUTOINCREMENT: a row id is never used again, so 'after this row' stays meaningful.
        "CREATE TABLE offline (
            seq INTEGER PRIMARY KEY AUTOINCREMENT, user TEXT NOT NULL, id BLOB NOT NULL,
            stanza BLOB NOT NULL, stored_at INTEGER NOT NULL, UNIQUE (user, id)) STRICT",
        "CREATE INDEX offline_by_user ON offline (user, seq)",
        "CREATE TABLE leases (
            node TEXT PRIMARY KEY, generation INTEGER NOT NULL,
            counter INTEGER NOT NULL) STRICT, WITHOUT ROWID",
        "CREATE TABLE members (id INTEGER PRIMARY KEY, name TEXT NOT NULL) STRICT",
        "CREATE TABLE settings (
            name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID",
        // The last batch of each node. A batch is sent again when its outcome is unknown (the
        // leader died), so its number must grow: the second copy aborts as a whole.
        "CREATE TABLE progress (
            node INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, seq INTEGER NOT NULL) STRICT",
        "CREATE TRIGGER progress_grows BEFORE UPDATE ON progress
            WHEN NEW.epoch < OLD.epoch OR (NEW.epoch = OLD.epoch AND NEW.seq <= OLD.seq)
            BEGIN SELECT RAISE(ABORT, 'stale batch'); END",
    ],
};

/// SIP dialogs, as the gateway writes them.
const GATEWAY: Migration = Migration {
    version: 2,
    min_reader: 1,
    statements: &["CREATE TABLE gateway (
            user TEXT NOT NULL, key TEXT NOT NULL, record BLOB NOT NULL,
            PRIMARY KEY (user, key)) STRICT, WITHOUT ROWID"],
};

/// How long a migration may be refused because another node has done it and this copy is behind.
const MIGRATION_PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a copy that is being filled.
const COPY_POLL: Duration = Duration::from_millis(2);

struct Version {
    version: i64,
    min_reader: i64,
}

impl From<&mut hiqlite::Row<'_>> for Version {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            version: row.get("version"),
            min_reader: row.get("min_reader"),
        }
    }
}

/// Brings the schema to this program's version, or learns that somebody has.
pub(crate) async fn migrate(engine: &Engine) -> Result<(), StoreError> {
    let table = Statement::new(VERSION_TABLE, []);
    loop {
        // Through the log even if the table exists: once it is done, the copy is being filled.
        let deadline = Instant::now() + Duration::from_secs(5);
        match engine.attempt(std::slice::from_ref(&table), deadline).await {
            Ok(_) => break,
            Err(Failure::Refused(error)) => return Err(error.into()),
            Err(Failure::Stale | Failure::Unknown) => {}
        }
    }
    let patience = Instant::now() + MIGRATION_PATIENCE;
    loop {
        // The table may not have arrived in this copy yet.
        let applied = engine
            .query::<Version>(
                "SELECT version, min_reader FROM schema_version ORDER BY version",
                Vec::new(),
            )
            .await
            .unwrap_or_default();
        let newest = applied.last().map_or(0, |row| row.version);
        let min_reader = applied.iter().map(|row| row.min_reader).max().unwrap_or(0);
        if min_reader > i64::from(CURRENT) {
            return Err(StoreError::NewerSchema {
                found: u32::try_from(min_reader).unwrap_or(u32::MAX),
                supported: CURRENT,
            });
        }
        let Some(next) = MIGRATIONS
            .iter()
            .find(|step| i64::from(step.version) > newest)
        else {
            return Ok(());
        };
        let claim = Statement::new(
            "INSERT INTO schema_version (version, min_reader) VALUES (?1, ?2)",
            [integer(next.version), integer(next.min_reader)],
        );
        let statements: Vec<Statement> = std::iter::once(claim)
            .chain(next.statements.iter().map(|sql| Statement::new(sql, [])))
            .collect();
        let deadline = Instant::now() + Duration::from_secs(10);
        match engine.attempt(&statements, deadline).await {
            Ok(_) => tracing::info!(version = next.version, "store schema migrated"),
            // Usually another node was faster and this copy is behind: look again.
            Err(Failure::Refused(error)) if Instant::now() >= patience => {
                return Err(error.into());
            }
            Err(_) => {}
        }
        sleep(COPY_POLL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig};

    #[tokio::test(flavor = "multi_thread")]
    async fn older_programs_refuse_what_they_cannot_read() {
        let dir = tempfile::tempdir().unwrap();
        let config = StoreConfig::alone(dir.path(), "n1");
        let store = Store::open(config.clone()).await.unwrap();
        let from_the_future = Statement::new(
            "INSERT INTO schema_version (version, min_reader) VALUES (?1, ?2)",
            [integer(CURRENT + 1), integer(CURRENT)],
        );
        store.commit(vec![from_the_future]).await.unwrap();
        store.shutdown().await.unwrap();
        drop(store);

        let store = Store::open(config.clone()).await.expect("it still may");
        let beyond = Statement::new(
            "INSERT INTO schema_version (version, min_reader) VALUES (?1, ?1)",
            [integer(CURRENT + 2)],
        );
        store.commit(vec![beyond]).await.unwrap();
        store.shutdown().await.unwrap();
        drop(store);

        let refused = Store::open(config).await;
        assert!(matches!(
            refused,
            Err(StoreError::NewerSchema { found, supported: CURRENT }) if found == CURRENT + 2
        ));
    }
}
