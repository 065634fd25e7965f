//! The store at the service of one shard: executes its operations in the order given, and makes one
//! transaction of all writes that queue meanwhile.

use entente_cluster::ClusterView;
use entente_home_core as home;
use entente_home_core::{Input, RequestId, StoreAnswer, StoreOp};
use entente_store as store;
use entente_store::Store;
use entente_xmpp_core::jid::{BareJid, Jid};
use entente_xmpp_core::stanza::Stanza;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// Operations that may wait; more are answered `Failed` by the shard's driver.
const QUEUE: usize = 4096;
/// Operations that are taken at once.
const BATCH: usize = 256;

/// One operation with the number its answer needs.
#[derive(Debug)]
pub(crate) struct StoreJob {
    pub(crate) request: RequestId,
    pub(crate) op: StoreOp,
}

/// Makes the queue of one worker.
pub(crate) fn queue() -> (mpsc::Sender<StoreJob>, mpsc::Receiver<StoreJob>) {
    mpsc::channel(QUEUE)
}

/// Serves until the shard is gone. Waiting for `answers` is fine: the shard never waits for us.
pub(crate) async fn serve(
    store: Store,
    mut view: watch::Receiver<Arc<ClusterView>>,
    mut jobs: mpsc::Receiver<StoreJob>,
    answers: mpsc::Sender<Input>,
) {
    // Users may come from another home: what that one wrote must be here before they are loaded.
    let mut behind = true;
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.recv_many(&mut batch, BATCH).await > 0 {
        let mut writes = Vec::new();
        for StoreJob { request, op } in batch.drain(..) {
            match op {
                StoreOp::Write(list) => writes.push((request, list)),
                reading => {
                    behind |= view.has_changed().unwrap_or(false);
                    view.mark_unchanged();
                    if behind && store.sync().await.is_ok() {
                        behind = false;
                    }
                    // Order: what was written before must be seen by a read behind it.
                    if !write(&store, &mut writes, &answers).await {
                        return;
                    }
                    let answer = if behind {
                        StoreAnswer::Failed { retryable: true }
                    } else {
                        read(&store, reading).await
                    };
                    if answers
                        .send(Input::Store { request, answer })
                        .await
                        .is_err()
                    {
                        return;
                    }
                }
            }
        }
        if !write(&store, &mut writes, &answers).await {
            return;
        }
    }
}

/// Commits all collected writes as one; `false` when the shard is gone.
async fn write(
    store: &Store,
    writes: &mut Vec<(RequestId, Vec<home::Write>)>,
    answers: &mpsc::Sender<Input>,
) -> bool {
    if writes.is_empty() {
        return true;
    }
    let mut all = Vec::new();
    let mut counts = Vec::with_capacity(writes.len());
    for (request, list) in writes.drain(..) {
        counts.push((request, list.len()));
        all.extend(list.into_iter().map(write_out));
    }
    match store.apply(all).await {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (request, count) in counts {
                let answer =
                    StoreAnswer::Written(outcomes.by_ref().take(count).map(outcome_in).collect());
                if answers
                    .send(Input::Store { request, answer })
                    .await
                    .is_err()
                {
                    return false;
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "the store did not take a write");
            let retryable = error.is_transient();
            for (request, _) in counts {
                let answer = StoreAnswer::Failed { retryable };
                if answers
                    .send(Input::Store { request, answer })
                    .await
                    .is_err()
                {
                    return false;
                }
            }
        }
    }
    true
}

async fn read(store: &Store, op: StoreOp) -> StoreAnswer {
    let result = match op {
        StoreOp::Load { user } => store
            .load_user(user.as_str())
            .await
            .map(|record| StoreAnswer::Loaded(record.map(record_in))),
        StoreOp::LoadOffline { user, after, limit } => store
            .load_offline(user.as_str(), after.unwrap_or(0), limit)
            .await
            .map(|messages| {
                StoreAnswer::Offline(messages.into_iter().filter_map(offline_in).collect())
            }),
        StoreOp::Write(_) => unreachable!("writes are collected by the caller"),
    };
    result.unwrap_or_else(|error| {
        tracing::warn!(%error, "the store did not answer");
        StoreAnswer::Failed {
            retryable: error.is_transient(),
        }
    })
}

fn write_out(write: home::Write) -> store::Write {
    use home::Write as From;
    use store::Write as To;
    let text = |user: &BareJid| user.as_str().to_owned();
    match write {
        From::PutRosterEntry {
            user,
            entry,
            version,
        } => To::PutRosterEntry {
            user: text(&user),
            version,
            entry: entry_out(entry),
        },
        From::RemoveRosterEntry {
            user,
            contact,
            version,
        } => To::RemoveRosterEntry {
            user: text(&user),
            version,
            jid: text(&contact),
        },
        From::PutPendingIn { user, from, stanza } => To::PutPendingIn {
            user: text(&user),
            from: text(&from),
            stanza: stanza.bytes().to_vec(),
        },
        From::RemovePendingIn { user, from } => To::RemovePendingIn {
            user: text(&user),
            from: text(&from),
        },
        From::PutOffline {
            user,
            id,
            stanza,
            stored_at_ms,
        } => To::PutOffline {
            user: text(&user),
            id: id.to_string().into_bytes(),
            stanza: stanza.bytes().to_vec(),
            stored_at_ms,
        },
        From::RemoveOffline { user, id } => To::RemoveOffline {
            user: text(&user),
            ids: vec![id.to_string().into_bytes()],
        },
        From::Block { user, jid } => To::Block {
            user: text(&user),
            jid: jid.as_str().to_owned(),
        },
        From::Unblock { user, jid } => To::Unblock {
            user: text(&user),
            jid: jid.as_str().to_owned(),
        },
        From::UnblockAll { user } => To::UnblockAll { user: text(&user) },
        From::SetLastLogout { user, at_ms } => To::SetLastLogout {
            user: text(&user),
            at_ms,
            status: None,
        },
    }
}

fn outcome_in(outcome: store::WriteOutcome) -> home::WriteOutcome {
    match outcome {
        store::WriteOutcome::Done => home::WriteOutcome::Done,
        store::WriteOutcome::QuotaExceeded => home::WriteOutcome::Full,
        store::WriteOutcome::NoSuchAccount => home::WriteOutcome::NoSuchUser,
    }
}

const SUBSCRIPTIONS: [(home::Subscription, store::Subscription); 4] = [
    (home::Subscription::None, store::Subscription::None),
    (home::Subscription::To, store::Subscription::To),
    (home::Subscription::From, store::Subscription::From),
    (home::Subscription::Both, store::Subscription::Both),
];

fn entry_out(entry: home::RosterItem) -> store::RosterEntry {
    let subscription = SUBSCRIPTIONS
        .iter()
        .find(|(ours, _)| *ours == entry.subscription)
        .map_or(store::Subscription::None, |(_, theirs)| *theirs);
    store::RosterEntry {
        jid: entry.jid.as_str().to_owned(),
        name: entry.name.map(String::from),
        groups: entry.groups.iter().map(|group| group.to_string()).collect(),
        subscription,
        ask: entry.ask,
        approved: entry.approved,
    }
}

fn entry_in(entry: store::RosterEntry) -> Option<home::RosterItem> {
    let subscription = SUBSCRIPTIONS
        .iter()
        .find(|(_, theirs)| *theirs == entry.subscription)
        .map_or(home::Subscription::None, |(ours, _)| *ours);
    Some(home::RosterItem {
        jid: kept("roster", BareJid::new(&entry.jid))?,
        name: entry.name.map(String::into_boxed_str),
        groups: entry
            .groups
            .into_iter()
            .map(String::into_boxed_str)
            .collect(),
        subscription,
        ask: entry.ask,
        approved: entry.approved,
    })
}

fn record_in(record: store::UserRecord) -> home::UserRecord {
    home::UserRecord {
        roster: record.roster.into_iter().filter_map(entry_in).collect(),
        roster_version: record.roster_version,
        pending_in: record
            .pending_in
            .into_iter()
            .filter_map(|pending| {
                Some(home::PendingIn {
                    from: kept("request", BareJid::new(&pending.from))?,
                    stanza: kept("request", Stanza::parse(pending.stanza.into()))?,
                })
            })
            .collect(),
        blocked: record
            .blocked
            .iter()
            .filter_map(|jid| kept("block", Jid::new(jid)))
            .collect(),
        last_logout_ms: record.last_logout_ms,
        offline_count: u64::from(record.offline_count),
    }
}

fn offline_in(message: store::OfflineMessage) -> Option<home::OfflineMessage> {
    let id = std::str::from_utf8(&message.id)
        .ok()
        .and_then(|text| text.parse().ok());
    let Some(id) = id else {
        tracing::error!(
            kind = "offline",
            "a stored row has no readable id and was passed over"
        );
        return None;
    };
    Some(home::OfflineMessage {
        cursor: message.row,
        id,
        stanza: kept("offline", Stanza::parse(message.stanza.into()))?,
        stored_at_ms: message.stored_at_ms,
    })
}

/// Rows are written checked; one that does not read back is a fault of ours and is told loudly.
fn kept<T, E: std::fmt::Display>(kind: &'static str, value: Result<T, E>) -> Option<T> {
    value
        .inspect_err(|error| tracing::error!(kind, %error, "a stored row could not be read and was passed over"))
        .ok()
}
