//! The store at the service of one shard: one call at a time, in the order given; writes that queue
//! go together.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use entente_home_core::{Input, RequestId, StoreAnswer, StoreOp};

use super::node::{Node, NodeEvent};
use super::stage::Stage;
use super::store::{CALL_TIMEOUT, Call, Reply};

#[derive(Debug)]
enum Busy {
    Write(Vec<(RequestId, usize)>),
    Sync,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Worker {
    jobs: VecDeque<(RequestId, StoreOp)>,
    busy: Option<(u64, Busy)>,
    /// Users may come from another home: the copy must catch up before they are read.
    behind: bool,
    /// The view that was looked at last.
    view: u64,
    /// How far the copy must have come for what this node was told.
    wanted: u64,
    waits_since: Option<Instant>,
    seq: u64,
}

impl Worker {
    pub(crate) fn new() -> Self {
        Self {
            jobs: VecDeque::new(),
            busy: None,
            behind: true,
            view: 0,
            wanted: 0,
            waits_since: None,
            seq: 0,
        }
    }

    pub(crate) fn add(&mut self, request: RequestId, op: StoreOp) {
        self.jobs.push_back((request, op));
    }
}

impl Node {
    /// Goes on with a shard's operations as far as possible.
    pub(crate) fn work(&mut self, stage: &mut Stage, shard: usize) {
        let worker = &mut self.workers[shard];
        if worker.busy.is_some() {
            return;
        }
        let mut writes = Vec::new();
        let mut counts = Vec::new();
        while let Some((request, StoreOp::Write(list))) = worker
            .jobs
            .pop_front_if(|(_, op)| matches!(op, StoreOp::Write(_)))
        {
            counts.push((request, list.len()));
            writes.extend(list);
        }
        if !counts.is_empty() {
            worker.seq += 1;
            let call = Call::Write {
                shard,
                seq: worker.seq,
                writes,
            };
            let token = stage.store_call(self.index, call);
            worker.busy = Some((token, Busy::Write(counts)));
            return;
        }
        let Some((_, _)) = worker.jobs.front() else {
            return;
        };
        if worker.view != self.membership.view.version {
            worker.view = self.membership.view.version;
            worker.behind = true;
        }
        if worker.behind {
            let token = stage.store_call(self.index, Call::Sync);
            worker.busy = Some((token, Busy::Sync));
            return;
        }
        if self.replica < worker.wanted {
            let since = *worker.waits_since.get_or_insert(stage.now);
            if stage.now - since < CALL_TIMEOUT {
                stage.at(self.index, Duration::from_millis(2), NodeEvent::Work(shard));
                return;
            }
        }
        worker.waits_since = None;
        let stale = self.replica < worker.wanted;
        let Some((request, op)) = worker.jobs.pop_front() else {
            return;
        };
        let answer = match op {
            _ if stale => StoreAnswer::Failed { retryable: true },
            StoreOp::Load { user } => stage.store.load(user.as_str(), self.replica),
            StoreOp::LoadOffline { user, after, limit } => {
                stage
                    .store
                    .load_offline(user.as_str(), after.unwrap_or(0), limit, self.replica)
            }
            StoreOp::Write(_) => unreachable!("taken above"),
        };
        self.lanes[shard]
            .inner
            .push_back(Input::Store { request, answer });
        self.wake_shards(stage);
        let after = stage.micros(20, 200);
        stage.at(self.index, after, NodeEvent::Work(shard));
    }

    /// An answer, or none in time.
    pub(crate) fn store_replied(&mut self, stage: &mut Stage, token: u64, reply: Option<Reply>) {
        if self.lease_call == Some(token) {
            return self.renewed(stage, reply.is_some());
        }
        let found = self
            .workers
            .iter_mut()
            .position(|worker| worker.busy.as_ref().is_some_and(|(busy, _)| *busy == token));
        let Some(shard) = found else { return };
        let worker = &mut self.workers[shard];
        let Some((_, busy)) = worker.busy.take() else {
            return;
        };
        match (busy, reply) {
            (Busy::Write(counts), Some(reply)) => {
                worker.wanted = worker.wanted.max(reply.index);
                let mut outcomes = reply.outcomes.into_iter();
                for (request, count) in counts {
                    let answer = StoreAnswer::Written(outcomes.by_ref().take(count).collect());
                    self.lanes[shard]
                        .inner
                        .push_back(Input::Store { request, answer });
                }
            }
            (Busy::Write(counts), None) => {
                stage.note(format!("n{} shard {shard}: write failed", self.index));
                for (request, _) in counts {
                    let answer = StoreAnswer::Failed { retryable: true };
                    self.lanes[shard]
                        .inner
                        .push_back(Input::Store { request, answer });
                }
            }
            (Busy::Sync, Some(reply)) => {
                worker.wanted = worker.wanted.max(reply.index);
                worker.behind = false;
            }
            (Busy::Sync, None) => {
                if let Some((request, _)) = worker.jobs.pop_front() {
                    let answer = StoreAnswer::Failed { retryable: true };
                    self.lanes[shard]
                        .inner
                        .push_back(Input::Store { request, answer });
                }
            }
        }
        self.wake_shards(stage);
        self.work(stage, shard);
    }
}
