//! The schema and how it grows.
//!
//! A migration is a list of statements, replicated as one transaction by whichever node gets there
//! first; the version row's primary key makes every later attempt fail as a whole. Migrations only
//! add (tables, nullable columns, columns with defaults), so that a program of the previous version
//! works on beside the new one during a rolling upgrade. One that can't keep this promise raises
//! `min_reader`, and older programs refuse to start.

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

pub(crate) const MIGRATIONS: &[Migration] = &[Migration {
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
}];
