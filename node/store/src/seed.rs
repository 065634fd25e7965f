//! Backups, and founding a cluster on existing data.
//!
//! A seed is a complete database that becomes the first content of a new cluster. The engine
//! replicates only what is in its log or its snapshots, so a seed must become a snapshot before
//! anybody may join: the first start with one runs the engine alone until that has happened, and
//! keeps the seed until then, so that a crash in between starts over.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hiqlite::rusqlite::{Connection, OpenFlags};
use tokio::time::{Instant, sleep};

use crate::config::{StoreConfig, Tuning};
use crate::engine::Engine;
use crate::error::StoreError;
use crate::identity::{self, FOUNDER, Identity, io_error};
use crate::schema;
use crate::statement::Statement;
use crate::store::Store;

/// How long the first start with a seed may take.
const GROW_TIMEOUT: Duration = Duration::from_secs(600);

struct Layout<'a>(&'a Path);

impl Layout<'_> {
    fn machine(&self) -> PathBuf {
        self.0.join("state_machine")
    }
    fn database_dir(&self) -> PathBuf {
        self.machine().join("db")
    }
    fn database(&self) -> PathBuf {
        self.database_dir().join("hiqlite.db")
    }
    /// The database as a killed process left it, until the cluster has filled a new one.
    fn kept_dir(&self) -> PathBuf {
        self.machine().join("db.kept")
    }
    fn snapshots(&self) -> PathBuf {
        self.machine().join("snapshots")
    }
    fn lock(&self) -> PathBuf {
        self.machine().join("lock")
    }
    fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    fn seed(&self) -> PathBuf {
        self.0.join("seed.sqlite")
    }
}

impl Store {
    /// Writes a consistent copy of the database into `dir` and returns its path. Runs beside
    /// everything else, on any node; the copy is this node's, brought up to date first if there is
    /// a majority. Readable by this process's user only.
    ///
    /// # Errors
    /// [`StoreError::Io`] or [`StoreError::Sqlite`].
    pub async fn backup_to(&self, dir: &Path) -> Result<PathBuf, StoreError> {
        if let Err(error) = self.sync().await {
            tracing::warn!(%error, "the backup may lack the newest writes");
        }
        let source = Layout(&self.inner.config.data_dir).database();
        let dir = dir.to_owned();
        let copy = tokio::task::spawn_blocking(move || {
            fs::create_dir_all(&dir).map_err(io_error(&dir))?;
            let seconds = wall_clock_seconds();
            let target = dir.join(format!("entente-{seconds}.sqlite"));
            let unfinished = dir.join(format!("entente-{seconds}.sqlite.unfinished"));
            copy_database(&source, &unfinished)?;
            fs::rename(&unfinished, &target).map_err(io_error(&target))?;
            Ok(target)
        });
        copy.await.unwrap_or(Err(StoreError::Closed))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "only names the file for the operator"
)]
fn wall_clock_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Puts a backup into place: the next start of this directory founds a cluster of one with that
/// content, and the other nodes join it with empty directories. Whatever the directory held is
/// gone. The node must be stopped.
///
/// # Errors
/// [`StoreError::NotABackup`], [`StoreError::Io`]; nothing was changed then.
pub fn restore(data_dir: &Path, backup: &Path) -> Result<(), StoreError> {
    crate::store::create_private_dir(data_dir).map_err(io_error(data_dir))?;
    plant(data_dir, backup)
}

/// Declares all other nodes of the cluster lost: the next start of this directory founds a cluster
/// of one with what this node's copy held. Writes that the others acknowledged and that had not
/// reached this copy are lost. The node must be stopped, and the other nodes must never come back
/// with their old data: empty their directories before they join again.
///
/// Also the way from a store of one to a cluster, and to another advertised address.
///
/// # Errors
/// [`StoreError::NotABackup`] if the copy is damaged, [`StoreError::Io`]; nothing was changed then.
pub fn recover_alone(data_dir: &Path) -> Result<(), StoreError> {
    let layout = Layout(data_dir);
    let kept = layout.kept_dir().join("hiqlite.db");
    let source = if kept.exists() {
        kept
    } else {
        layout.database()
    };
    plant(data_dir, &source)
}

/// Before the engine starts: it deletes the database of a process that did not end in order and
/// fills a new one from the log, which without a majority it can't. Moving the old one aside keeps
/// it for [`recover_alone`].
pub(crate) fn keep_database(data_dir: &Path) -> Result<(), StoreError> {
    let layout = Layout(data_dir);
    if layout.lock().exists() && layout.database().exists() && !layout.kept_dir().exists() {
        require_stopped(&layout)?;
        let kept = layout.kept_dir();
        fs::rename(layout.database_dir(), &kept).map_err(io_error(&kept))?;
    }
    Ok(())
}

/// After the start: the new database holds everything.
pub(crate) fn drop_kept_database(data_dir: &Path) -> Result<(), StoreError> {
    remove(&Layout(data_dir).kept_dir())
}

/// Makes `seed.sqlite` of a database and notes that it is to be used.
fn plant(data_dir: &Path, source: &Path) -> Result<(), StoreError> {
    let layout = Layout(data_dir);
    require_stopped(&layout)?;
    let unfinished = data_dir.join("seed.sqlite.unfinished");
    copy_database(source, &unfinished)?;
    fs::rename(&unfinished, layout.seed()).map_err(io_error(&layout.seed()))?;
    let identity = identity::load(data_dir)?.unwrap_or(Identity {
        node_id: FOUNDER,
        epoch: 0,
        advertise_raft: String::new(),
        advertise_api: String::new(),
        joined: false,
        seeded: true,
    });
    identity::save(
        data_dir,
        &Identity {
            seeded: true,
            joined: false,
            ..identity
        },
    )
}

/// The engine holds a lock on this file while it runs.
fn require_stopped(layout: &Layout<'_>) -> Result<(), StoreError> {
    let path = layout.lock();
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(io_error(&path)(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            Err(StoreError::Config("a running process uses the directory"))
        }
        Err(TryLockError::Error(error)) => Err(io_error(&path)(error)),
    }
}

/// A checked copy without anything that belongs to one cluster's run.
fn copy_database(source: &Path, target: &Path) -> Result<(), StoreError> {
    let not_a_backup = || StoreError::NotABackup(source.to_owned());
    if !source.exists() {
        return Err(not_a_backup());
    }
    remove(target)?;
    create_private(target)?;
    let path = target.to_str().ok_or_else(not_a_backup)?;
    {
        // Read-write, because a database that a killed process left has a log to be replayed.
        let connection = Connection::open_with_flags(
            source,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(30))?;
        connection
            .execute("VACUUM INTO ?1", [path])
            .map_err(|_| not_a_backup())?;
    }
    let copy = Connection::open(target)?;
    let verdict: String = copy.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
    if verdict != "ok" {
        return Err(not_a_backup());
    }
    copy.execute_batch(
        "DELETE FROM leases; DELETE FROM progress; DELETE FROM members;
        DROP TABLE IF EXISTS _metadata;",
    )
    .map_err(|_| not_a_backup())?;
    drop(copy);
    File::open(target)
        .and_then(|file| file.sync_all())
        .map_err(io_error(target))
}

/// An empty file for SQLite to fill. It will hold credentials.
fn create_private(path: &Path) -> Result<(), StoreError> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop).map_err(io_error(path))
}

fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = if path.is_dir() {
        fs::remove_dir_all(path)
    } else {
        fs::remove_file(path)
    };
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// The first start with a seed; see the module.
pub(crate) async fn grow(config: &StoreConfig, identity: Identity) -> Result<Identity, StoreError> {
    let layout = Layout(&config.data_dir);
    for path in [
        layout.database_dir(),
        layout.kept_dir(),
        layout.snapshots(),
        layout.lock(),
        layout.logs(),
    ] {
        remove(&path)?;
    }
    let database_dir = layout.database_dir();
    fs::create_dir_all(&database_dir).map_err(io_error(&database_dir))?;
    fs::copy(layout.seed(), layout.database()).map_err(io_error(&layout.database()))?;

    let eager = StoreConfig {
        tuning: Tuning {
            snapshot_after: 5,
            ..config.tuning
        },
        ..config.clone()
    };
    let secrets = crate::store::secrets_of(config);
    let engine = Engine::start(&eager, identity.clone(), secrets).await?;
    let deadline = Instant::now() + GROW_TIMEOUT;
    loop {
        let nothing = Statement::new(schema::VERSION_TABLE, []);
        // Only to make the log longer; the loop's end looks at the result.
        let _ = engine.attempt(&[nothing], deadline).await;
        let metrics = engine.local().metrics_db().await?;
        if metrics.snapshot.is_some() && metrics.purged.is_some() {
            break;
        }
        if Instant::now() >= deadline {
            return Err(StoreError::Timeout(GROW_TIMEOUT));
        }
        sleep(Duration::from_millis(10)).await;
    }
    Box::pin(engine.local().shutdown()).await?;
    let grown = Identity {
        seeded: false,
        joined: true,
        ..identity
    };
    identity::save(&config.data_dir, &grown)?;
    remove(&layout.seed())?;
    until_free(config, &grown, deadline).await?;
    Ok(grown)
}

/// The engine closes its listeners a moment after it says that it has ended.
async fn until_free(
    config: &StoreConfig,
    identity: &Identity,
    deadline: Instant,
) -> Result<(), StoreError> {
    let listen = config.cluster.as_ref().map_or(
        std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        |cluster| cluster.listen,
    );
    for address in [&identity.advertise_raft, &identity.advertise_api] {
        let port = address
            .rsplit_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok())
            .ok_or(StoreError::Config("an advertised address is not host:port"))?;
        while let Err(source) = std::net::TcpListener::bind((listen, port)) {
            if Instant::now() >= deadline {
                return Err(io_error(&config.data_dir)(source));
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}
