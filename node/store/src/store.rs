//! The store as the node sees it: opening, closing, and the paths that every operation takes.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hiqlite::Param;
use tokio::time::{Instant, sleep, timeout};

use crate::config::{Bootstrap, Secrets, StoreConfig};
use crate::engine::{Engine, Failure};
use crate::error::StoreError;
use crate::identity;
use crate::schema;
use crate::statement::{Statement, counter, integer, text};
use crate::write::{Write, WriteOutcome};
use crate::writer::{Progress, Writer};

/// How often a reader looks whether this node's own last write has arrived in its copy.
const VISIBLE_POLL: Duration = Duration::from_millis(2);

/// The embedded store of this node. Cheap to clone; all clones are the same store.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) engine: Arc<Engine>,
    writer: Writer,
    progress: Arc<Progress>,
    /// The newest batch of this node that its own copy is known to hold.
    visible: AtomicU64,
    epoch: u64,
    pub(crate) config: StoreConfig,
    pub(crate) voters: crate::voter::VoterWatch,
}

struct Position {
    epoch: u64,
    seq: u64,
}

impl From<&mut hiqlite::Row<'_>> for Position {
    fn from(row: &mut hiqlite::Row<'_>) -> Self {
        Self {
            epoch: counter(row.get("epoch")),
            seq: counter(row.get("seq")),
        }
    }
}

impl Store {
    /// Starts this node's store and returns when it can be read and written: a leader is known, the
    /// schema is there, and this node's copy holds everything that was durable before the call.
    ///
    /// Without a majority that takes as long as the majority stays away, so callers bound it; after
    /// giving up, the process must end, because the engine can't be started twice.
    ///
    /// # Errors
    /// A faulty configuration or data directory, a newer schema, an engine fault.
    ///
    /// # Panics
    /// The engine panics if another process uses the same data directory, or if the certificate
    /// files can't be read.
    pub async fn open(config: StoreConfig) -> Result<Self, StoreError> {
        check(&config)?;
        create_private_dir(&config.data_dir).map_err(identity::io_error(&config.data_dir))?;
        let identity = identity::establish(&config)?;
        let identity = if identity.seeded {
            crate::seed::grow(&config, identity).await?
        } else {
            identity
        };
        crate::seed::keep_database(&config.data_dir)?;
        let secrets = secrets_of(&config);
        let engine = Arc::new(Engine::start(&config, identity, secrets).await?);
        let progress = Arc::new(Progress::default());
        schema::migrate(&engine).await?;
        let epoch = next_epoch(&engine).await?;
        let mut identity = engine.identity.clone();
        identity.joined = true;
        identity.epoch = epoch;
        identity::save(&config.data_dir, &identity)?;
        let writer = Writer::start(
            Arc::clone(&engine),
            epoch,
            Arc::clone(&progress),
            config.call_timeout,
            crate::disk::DiskWatch::new(config.data_dir.clone(), config.min_free_bytes),
        );
        let store = Self {
            inner: Arc::new(Inner {
                voters: crate::voter::VoterWatch::new(config.tuning.voter_grace),
                engine,
                writer,
                progress,
                visible: AtomicU64::new(0),
                epoch,
                config,
            }),
        };
        while let Err(error) = store.announce().await {
            match error {
                StoreError::Timeout(_) => tracing::warn!("store is waiting for a majority"),
                error => return Err(error),
            }
        }
        crate::seed::drop_kept_database(&store.inner.config.data_dir)?;
        Ok(store)
    }

    /// Tells the cluster this member's name, and waits for this copy to catch up. A node that lost
    /// its disk may come back as another member; the old one loses the name, which marks it as gone.
    async fn announce(&self) -> Result<(), StoreError> {
        let name = &self.inner.config.node_name;
        self.commit(vec![
            Statement::new(
                "UPDATE members SET name = '' WHERE name = ?2 AND id <> ?1",
                [integer(self.node_id()), text(name)],
            ),
            Statement::new(
                "INSERT INTO members (id, name) VALUES (?1, ?2)
                ON CONFLICT (id) DO UPDATE SET name = excluded.name",
                [integer(self.node_id()), text(name)],
            ),
        ])
        .await?;
        self.until_visible().await
    }

    /// Commits the writes of a call, of any number of users, as one transaction. Calls that come
    /// while another transaction is under way share the next one. Returns one outcome for each
    /// write once all of them are durable.
    ///
    /// # Errors
    /// [`StoreError::Timeout`]: it may take effect or not; repeat it. [`StoreError::Busy`] and
    /// [`StoreError::TooLarge`]: nothing was written.
    pub async fn apply(&self, batch: Vec<Write>) -> Result<Vec<WriteOutcome>, StoreError> {
        let quota = self.inner.config.offline_quota;
        let per_write: Vec<Vec<Statement>> =
            batch.iter().map(|write| write.statements(quota)).collect();
        let lengths: Vec<usize> = per_write.iter().map(Vec::len).collect();
        let changes = self
            .transact(per_write.into_iter().flatten().collect(), false)
            .await?;
        let mut outcomes = Vec::with_capacity(batch.len());
        let mut end = 0;
        for (write, length) in batch.iter().zip(lengths) {
            end += length;
            let refused = match &changes {
                Some(changes) => {
                    write.needs_account() && length > 0 && changes.get(end - 1) == Some(&0)
                }
                None => self.was_refused(write).await?,
            };
            outcomes.push(if refused {
                self.reason(write).await?
            } else {
                WriteOutcome::Done
            });
        }
        Ok(outcomes)
    }

    /// Returns when this node's copy holds everything that was durable anywhere when it was called.
    /// One small transaction.
    ///
    /// # Errors
    /// As every write.
    pub async fn sync(&self) -> Result<(), StoreError> {
        self.transact(Vec::new(), false).await?;
        self.until_visible().await
    }

    /// Ends the store of a node that is alone. Among other members it does nothing: the engine would
    /// sleep for 9.5 s first, so that somebody in front of it can notice, which here has happened
    /// already; and the end of the process is safe, because a killed node rebuilds its copy from its
    /// last snapshot and the log at the next start.
    ///
    /// # Errors
    /// An engine fault.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let metrics = self.inner.engine.local().metrics_db().await;
        if metrics.is_ok_and(|metrics| metrics.membership_config.nodes().count() > 1) {
            return Ok(());
        }
        Ok(Box::pin(self.inner.engine.local().shutdown()).await?)
    }

    /// The member id of this node.
    #[must_use]
    pub fn node_id(&self) -> u64 {
        self.inner.engine.identity.node_id
    }

    /// Commits statements; the count of the last one.
    pub(crate) async fn commit(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Option<usize>, StoreError> {
        let changes = self.transact(statements, false).await?;
        Ok(changes.and_then(|changes| changes.last().copied()))
    }

    /// The same ahead of the queue.
    pub(crate) async fn commit_urgent(
        &self,
        statements: Vec<Statement>,
    ) -> Result<Option<usize>, StoreError> {
        let changes = self.transact(statements, true).await?;
        Ok(changes.and_then(|changes| changes.last().copied()))
    }

    async fn transact(
        &self,
        statements: Vec<Statement>,
        urgent: bool,
    ) -> Result<crate::writer::Changes, StoreError> {
        let limit = self.inner.config.call_timeout;
        match timeout(limit, self.inner.writer.commit(statements, urgent)).await {
            Ok(result) => result,
            Err(_) if self.inner.writer.is_full() => Err(StoreError::Busy),
            Err(_) => Err(StoreError::Timeout(limit)),
        }
    }

    /// A read of this node's copy that sees this node's own committed writes.
    pub(crate) async fn read<T>(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'a, 'r> From<&'a mut hiqlite::Row<'r>> + Send + 'static,
    {
        self.until_visible().await?;
        self.read_now(sql, params).await
    }

    /// A read of this node's copy as it is.
    pub(crate) async fn read_now<T>(
        &self,
        sql: &'static str,
        params: Vec<Param>,
    ) -> Result<Vec<T>, StoreError>
    where
        T: for<'a, 'r> From<&'a mut hiqlite::Row<'r>> + Send + 'static,
    {
        let limit = self.inner.config.call_timeout;
        timeout(limit, self.inner.engine.query(sql, params))
            .await
            .map_err(|_| StoreError::Timeout(limit))?
    }

    /// The leader commits before this node's copy follows; usually by less than a heartbeat.
    pub(crate) async fn until_visible(&self) -> Result<(), StoreError> {
        let target = self.inner.progress.committed();
        let limit = self.inner.config.call_timeout;
        let deadline = Instant::now() + limit;
        while self.inner.visible.load(Ordering::Acquire) < target {
            let node = self.node_id();
            match position(&self.inner.engine, node).await? {
                Some(position) if position.epoch == self.inner.epoch => {
                    self.inner.visible.fetch_max(position.seq, Ordering::AcqRel);
                    if position.seq >= target {
                        return Ok(());
                    }
                }
                _ => {}
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Timeout(limit));
            }
            sleep(VISIBLE_POLL).await;
        }
        Ok(())
    }

    /// For a batch that took effect but whose counts got lost: looks into the copy.
    async fn was_refused(&self, write: &Write) -> Result<bool, StoreError> {
        match write {
            Write::PutOffline { user, id, .. } => Ok(!self.has_offline(user, id).await?),
            write if write.needs_account() => Ok(!self.account_exists(write.user()).await?),
            _ => Ok(false),
        }
    }

    async fn reason(&self, write: &Write) -> Result<WriteOutcome, StoreError> {
        Ok(match write {
            Write::PutOffline { user, .. } if self.account_exists(user).await? => {
                WriteOutcome::QuotaExceeded
            }
            _ => WriteOutcome::NoSuchAccount,
        })
    }
}

fn check(config: &StoreConfig) -> Result<(), StoreError> {
    if config.node_name.is_empty() {
        return Err(StoreError::Config("the node has no name"));
    }
    if config.tuning.election_min <= config.tuning.heartbeat
        || config.tuning.election_max <= config.tuning.election_min
    {
        return Err(StoreError::Config(
            "heartbeat < election_min < election_max must hold",
        ));
    }
    let Some(cluster) = &config.cluster else {
        return Ok(());
    };
    if cluster.secrets.raft.len() < 16 || cluster.secrets.api.len() < 16 {
        return Err(StoreError::Config("a secret has less than 16 characters"));
    }
    for address in [&cluster.advertise_raft, &cluster.advertise_api] {
        let port = address
            .split_once(':')
            .and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none_or(|port| port == 0) {
            return Err(StoreError::Config("an advertised address is not host:port"));
        }
    }
    if matches!(&cluster.bootstrap, Bootstrap::Join { peers } if peers.is_empty()) {
        return Err(StoreError::Config("joining needs at least one peer"));
    }
    crate::trust::check(&cluster.tls.ca)
}

/// The database holds credentials. An existing directory keeps the rights that it has.
pub(crate) fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// The cluster's secrets, or ones for this run alone.
pub(crate) fn secrets_of(config: &StoreConfig) -> Secrets {
    config
        .cluster
        .as_ref()
        .map_or_else(private_secrets, |cluster| cluster.secrets.clone())
}

/// A store of one shares its secrets with nobody, not even with its next start.
fn private_secrets() -> Secrets {
    use std::hash::{BuildHasher, RandomState};
    let random = || {
        (0..4)
            .map(|round| format!("{:016x}", RandomState::new().hash_one(round)))
            .collect::<String>()
    };
    Secrets {
        raft: random(),
        api: random(),
    }
}

async fn position(engine: &Engine, node: u64) -> Result<Option<Position>, StoreError> {
    let found = engine
        .query::<Position>(
            "SELECT epoch, seq FROM progress WHERE node = ?1",
            vec![integer(node)],
        )
        .await?;
    Ok(found.into_iter().next())
}

/// A number for this start that is higher than that of all earlier ones, even if the directory was
/// lost and the cluster still remembers them. Proven by a batch of its own: the copy may be behind.
async fn next_epoch(engine: &Engine) -> Result<u64, StoreError> {
    let node = engine.identity.node_id;
    let mut epoch = engine.identity.epoch;
    loop {
        let stored = position(engine, node).await?.map_or(0, |at| at.epoch);
        epoch = epoch.max(stored) + 1;
        let claim = Statement::new(
            "INSERT INTO progress (node, epoch, seq) VALUES (?1, ?2, 0)
            ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, seq = 0",
            [integer(node), integer(epoch)],
        );
        let deadline = Instant::now() + Duration::from_secs(5);
        match engine.attempt(&[claim], deadline).await {
            Ok(_) => return Ok(epoch),
            Err(Failure::Stale | Failure::Unknown) => {}
            Err(Failure::Refused(error)) => return Err(error.into()),
        }
    }
}
