//! The store at the service of one gateway shard: reads and writes in the order given, all writes that
//! queue meanwhile in one transaction.

use std::sync::Arc;

use entente_cluster::ClusterView;
use entente_interwork_core::gateway::{Record, StoreId};
use entente_store::{GatewayChange, Store};
use tokio::sync::{mpsc, watch};

/// Operations that may wait; more fail at once.
const QUEUE: usize = 4096;
/// Operations that are taken at once.
const BATCH: usize = 256;

/// Something for the store.
#[derive(Debug)]
pub(super) enum Job {
    Change(StoreId, GatewayChange),
    Load(StoreId, String),
    /// Which users have records? Answered in any case.
    Users,
}

/// What the store says.
#[derive(Debug)]
pub(super) enum Answer {
    Stored(StoreId, bool),
    Loaded(StoreId, Option<Vec<Record>>),
    /// `None`: it can't say now.
    Users(Option<Vec<String>>),
}

pub(super) fn queue() -> (mpsc::Sender<Job>, mpsc::Receiver<Job>) {
    mpsc::channel(QUEUE)
}

/// Serves until the shard is gone. Waiting for room in `answers` is fine: the shard never waits for us.
pub(super) async fn serve(
    store: Store,
    mut view: watch::Receiver<Arc<ClusterView>>,
    mut jobs: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Answer>,
) {
    // Users may come from another home: what that one wrote must be here before they are read.
    let mut behind = true;
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let mut said = Vec::with_capacity(batch.len());
        let mut writes = Vec::new();
        for job in batch.drain(..) {
            if let Job::Change(id, change) = job {
                writes.push((id, change));
                continue;
            }
            // Order: what was written before must be seen by a read behind it.
            write(&store, &mut writes, &mut said).await;
            behind |= view.has_changed().unwrap_or(false);
            view.mark_unchanged();
            if behind && store.sync().await.is_ok() {
                behind = false;
            }
            match job {
                Job::Load(id, user) => {
                    let read = if behind {
                        None
                    } else {
                        load(&store, &user).await
                    };
                    said.push(Answer::Loaded(id, read));
                }
                Job::Users => {
                    let read = if behind { None } else { users(&store).await };
                    said.push(Answer::Users(read));
                }
                Job::Change(..) => {}
            }
        }
        write(&store, &mut writes, &mut said).await;
        for answer in said {
            if answers.send(answer).await.is_err() {
                return;
            }
        }
    }
}

async fn load(store: &Store, user: &str) -> Option<Vec<Record>> {
    match store.load_gateway(user).await {
        Ok(records) => Some(
            records
                .into_iter()
                .map(|record| Record {
                    key: record.key.into(),
                    bytes: record.bytes.into(),
                })
                .collect(),
        ),
        Err(error) => {
            tracing::warn!(%user, %error, "a user's SIP dialogs can't be read");
            None
        }
    }
}

async fn users(store: &Store) -> Option<Vec<String>> {
    match store.gateway_users().await {
        Ok(users) => Some(users),
        Err(error) => {
            tracing::warn!(%error, "the users with SIP dialogs can't be read");
            None
        }
    }
}

async fn write(store: &Store, writes: &mut Vec<(StoreId, GatewayChange)>, said: &mut Vec<Answer>) {
    if writes.is_empty() {
        return;
    }
    let (ids, changes): (Vec<_>, Vec<_>) = writes.drain(..).unzip();
    let durable = match store.change_gateway(&changes).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(%error, records = changes.len(), "SIP dialogs were not stored");
            false
        }
    };
    said.extend(ids.into_iter().map(|id| Answer::Stored(id, durable)));
}
