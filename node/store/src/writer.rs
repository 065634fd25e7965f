//! Group commit: calls that arrive while a transaction is under way share the next one.
//!
//! Every transaction starts with this node's next batch number. A batch whose outcome is unknown
//! (the leader died, the connection broke) is sent again with the same number until the deadline;
//! the schema's guard aborts a second copy as a whole, and also a late copy of a batch that was
//! given up, once a newer one is through. So each batch takes effect at most once and in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::disk::DiskWatch;
use crate::engine::{Engine, Failure};
use crate::error::StoreError;
use crate::statement::{Statement, integer};

/// No more calls join a batch once it has this size.
pub(crate) const MAX_BATCH_BYTES: usize = 512 * 1024;
/// Neither once it has this many statements.
const MAX_BATCH_STATEMENTS: usize = 1000;
/// The most that a single call may carry.
pub(crate) const MAX_CALL_BYTES: usize = 1024 * 1024;
/// Calls that wait. Past that callers wait to get in.
const QUEUE: usize = 4096;
/// Renewals that wait; one node has one.
const URGENT_QUEUE: usize = 16;

const GUARD: &str = "INSERT INTO progress (node, epoch, seq) VALUES (?1, ?2, ?3)
    ON CONFLICT (node) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq";

/// Rows changed by each statement, or `None` if the transaction took effect but its answer got
/// lost.
pub(crate) type Changes = Option<Vec<usize>>;

struct Job {
    statements: Vec<Statement>,
    bytes: usize,
    reply: oneshot::Sender<Result<Changes, StoreError>>,
}

/// The last batch that was committed, for readers who want to see their own writes.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    committed: AtomicU64,
}

impl Progress {
    pub(crate) fn committed(&self) -> u64 {
        self.committed.load(Ordering::Acquire)
    }
}

/// The way into the writer's task. Closing: drop all of them.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    queue: mpsc::Sender<Job>,
    urgent: mpsc::Sender<Job>,
}

impl Writer {
    pub(crate) fn start(
        engine: Arc<Engine>,
        epoch: u64,
        progress: Arc<Progress>,
        call_timeout: Duration,
        disk: DiskWatch,
    ) -> Self {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let (urgent, urgent_jobs) = mpsc::channel(URGENT_QUEUE);
        let task = Committer {
            engine,
            epoch,
            seq: 0,
            progress,
            call_timeout,
            disk,
            jobs,
            urgent_jobs,
        };
        tokio::spawn(task.run());
        Self { queue, urgent }
    }

    /// Hands in the statements of one call and waits for the commit. The caller bounds the wait.
    pub(crate) async fn commit(
        &self,
        statements: Vec<Statement>,
        urgent: bool,
    ) -> Result<Changes, StoreError> {
        let bytes = statements.iter().map(size).sum();
        if bytes > MAX_CALL_BYTES {
            return Err(StoreError::TooLarge {
                bytes,
                limit: MAX_CALL_BYTES,
            });
        }
        let (reply, answer) = oneshot::channel();
        let job = Job {
            statements,
            bytes,
            reply,
        };
        let queue = if urgent { &self.urgent } else { &self.queue };
        queue.send(job).await.map_err(|_| StoreError::Closed)?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Whether a call would have to wait to get in.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.capacity() == 0
    }
}

/// Roughly what a statement takes in the log.
fn size(statement: &Statement) -> usize {
    let params: usize = statement
        .params
        .iter()
        .map(|param| match param {
            hiqlite::Param::Text(text) => text.len(),
            hiqlite::Param::Blob(bytes) => bytes.len(),
            _ => 9,
        })
        .sum();
    statement.sql.len() + params
}

struct Committer {
    engine: Arc<Engine>,
    epoch: u64,
    seq: u64,
    progress: Arc<Progress>,
    call_timeout: Duration,
    disk: DiskWatch,
    jobs: mpsc::Receiver<Job>,
    urgent_jobs: mpsc::Receiver<Job>,
}

impl Committer {
    async fn run(mut self) {
        let mut carried = None;
        while let Some(first) = self.next(carried.take()).await {
            let batch;
            (batch, carried) = self.gather(first);
            self.commit(batch).await;
        }
    }

    async fn next(&mut self, carried: Option<Job>) -> Option<Job> {
        if carried.is_some() {
            return carried;
        }
        tokio::select! {
            biased;
            Some(job) = self.urgent_jobs.recv() => Some(job),
            job = self.jobs.recv() => job,
        }
    }

    /// Whatever has queued up, as far as one entry may hold it; the call that did not fit any more
    /// opens the next batch. Callers that have given up are dropped here.
    fn gather(&mut self, first: Job) -> (Vec<Job>, Option<Job>) {
        let mut bytes = first.bytes;
        let mut statements = first.statements.len();
        let mut batch = vec![first];
        while let Ok(job) = self.urgent_jobs.try_recv() {
            bytes += job.bytes;
            statements += job.statements.len();
            batch.push(job);
        }
        while bytes < MAX_BATCH_BYTES && statements < MAX_BATCH_STATEMENTS {
            let Ok(job) = self.jobs.try_recv() else {
                break;
            };
            if job.reply.is_closed() {
                continue;
            }
            if bytes + job.bytes > MAX_CALL_BYTES {
                return (batch, Some(job));
            }
            bytes += job.bytes;
            statements += job.statements.len();
            batch.push(job);
        }
        (batch, None)
    }

    async fn commit(&mut self, batch: Vec<Job>) {
        match self.transact(&batch).await {
            Ok(changes) => answer(batch, changes),
            // One call's statement was refused; the others must not suffer for it.
            Err(StoreError::Engine(_)) if batch.len() > 1 => {
                for job in batch {
                    let single = vec![job];
                    match self.transact(&single).await {
                        Ok(changes) => answer(single, changes),
                        Err(error) => fail(single, error),
                    }
                }
            }
            Err(error) => fail(batch, error),
        }
    }

    /// Commits the batch, trying again while the outcome is open. The first count is the guard's.
    async fn transact(&mut self, batch: &[Job]) -> Result<Changes, StoreError> {
        if self.disk.is_low(Instant::now()) {
            return Err(StoreError::DiskFull);
        }
        self.seq += 1;
        let guard = Statement::new(
            GUARD,
            [
                integer(self.engine.identity.node_id),
                integer(self.epoch),
                integer(self.seq),
            ],
        );
        let statements: Vec<Statement> = std::iter::once(guard)
            .chain(batch.iter().flat_map(|job| job.statements.iter().cloned()))
            .collect();
        let deadline = Instant::now() + self.call_timeout;
        let mut outcome_open = false;
        loop {
            match self.engine.attempt(&statements, deadline).await {
                Ok(mut changes) => {
                    self.progress.committed.store(self.seq, Ordering::Release);
                    changes.drain(..1);
                    return Ok(Some(changes));
                }
                Err(Failure::Stale) if outcome_open => {
                    self.progress.committed.store(self.seq, Ordering::Release);
                    return Ok(None);
                }
                Err(Failure::Stale) => {
                    return Err(StoreError::Config(
                        "another running node uses this node's name or data",
                    ));
                }
                Err(Failure::Refused(error)) => return Err(error.into()),
                Err(Failure::Unknown) => outcome_open = true,
            }
            if Instant::now() >= deadline {
                return Err(StoreError::Timeout(self.call_timeout));
            }
        }
    }
}

fn answer(batch: Vec<Job>, changes: Changes) {
    let mut changes = changes.map(Vec::into_iter);
    for job in batch {
        let own = changes
            .as_mut()
            .map(|changes| changes.by_ref().take(job.statements.len()).collect());
        // A caller that has given up does not need the answer.
        let _ = job.reply.send(Ok(own));
    }
}

fn fail(batch: Vec<Job>, error: StoreError) {
    let mut engine_fault = None;
    let repeat: Box<dyn Fn() -> StoreError> = match error {
        StoreError::Timeout(after) => Box::new(move || StoreError::Timeout(after)),
        StoreError::DiskFull => Box::new(|| StoreError::DiskFull),
        StoreError::Config(text) => Box::new(move || StoreError::Config(text)),
        // Only a batch of one gets here with a fault of its own.
        error => {
            engine_fault = Some(error);
            Box::new(|| StoreError::Closed)
        }
    };
    for job in batch {
        let _ = job
            .reply
            .send(Err(engine_fault.take().unwrap_or_else(&repeat)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Store, StoreConfig};

    fn guarded(node: u64, epoch: u64, seq: u64, value: &str) -> Vec<Statement> {
        vec![
            Statement::new(GUARD, [integer(node), integer(epoch), integer(seq)]),
            Statement::new(
                "INSERT INTO settings (name, value) VALUES ('k', ?1)
                ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                [crate::statement::blob(value.as_bytes())],
            ),
        ]
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_batch_takes_effect_once_and_never_after_a_later_one() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::alone(dir.path(), "n1"))
            .await
            .unwrap();
        let engine = &store.inner.engine;
        let deadline = Instant::now() + Duration::from_secs(5);
        let attempt = async |epoch, seq, value| {
            let outcome = engine
                .attempt(&guarded(77, epoch, seq, value), deadline)
                .await;
            match outcome {
                Ok(_) => "committed",
                Err(Failure::Stale) => "stale",
                Err(_) => "failed",
            }
        };
        assert_eq!(attempt(1, 1, "a").await, "committed");
        assert_eq!(attempt(1, 1, "again").await, "stale");
        assert_eq!(attempt(1, 3, "b").await, "committed");
        assert_eq!(attempt(1, 2, "late").await, "stale");
        assert_eq!(attempt(2, 1, "c").await, "committed", "after a restart");
        assert_eq!(attempt(1, 4, "from before the restart").await, "stale");
        let stored = store.get_setting("k").await.unwrap();
        assert_eq!(stored.as_deref(), Some(&b"c"[..]));
        store.shutdown().await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_refused_statement_harms_only_its_own_call() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::alone(dir.path(), "n1"))
            .await
            .unwrap();
        // A column that may not be empty: no domain operation does this.
        let faulty = || {
            vec![Statement::new(
                "INSERT INTO settings (name) VALUES ('bad')",
                [],
            )]
        };
        let calls = (0..20).map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                if number == 7 {
                    store.commit(faulty()).await.map(drop)
                } else {
                    store.put_setting(&format!("s{number}"), b"x").await
                }
            })
        });
        let calls: Vec<_> = calls.collect();
        for (number, call) in calls.into_iter().enumerate() {
            let outcome = call.await.unwrap();
            assert_eq!(outcome.is_err(), number == 7, "{number}: {outcome:?}");
        }
        store.shutdown().await.unwrap();
    }
}
