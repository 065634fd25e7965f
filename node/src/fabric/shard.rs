//! The driver around one home shard: takes what its lanes bring, lets the core decide, carries the
//! decisions out. It never waits for anything but its own lanes and the clock.

use crate::clock::{now, until, wall_ms};
use std::sync::Arc;
use std::time::Instant;

use entente_cluster::ClusterView;
use entente_fabric_core::way::{self, homes_of};
use entente_home_core::{BindError, DeliveryId, HomeConfig, HomeShard, Input, Output, StoreAnswer};
use tokio::sync::{mpsc, watch};

use super::receipts::ReceiptBatch;
use super::store_worker::StoreJob;
use super::switchboard::{ShardLanes, Switchboard};

/// Room for what edges bring; they wait when it is full.
const EDGE_LANE: usize = 1024;
/// Room for what other shards and the store bring; more goes back to the holders.
const INNER_LANE: usize = 16_384;
/// Inputs that are handled before outputs are flushed.
const BATCH: usize = 128;
/// Pause before receipts that a full link refused are tried again.
const REFUSED_PAUSE: std::time::Duration = std::time::Duration::from_millis(5);
/// Where the number of the shard stands in its delivery ids.
const SHARD_SHIFT: u32 = 56;

/// The receiving ends of a shard's lanes.
pub(crate) struct ShardInputs {
    edge: mpsc::Receiver<Input>,
    inner: mpsc::Receiver<Input>,
}

/// Makes the lanes of one shard.
pub(crate) fn lanes() -> (ShardLanes, ShardInputs) {
    let (edge, edge_inputs) = mpsc::channel(EDGE_LANE);
    let (inner, inner_inputs) = mpsc::channel(INNER_LANE);
    (
        ShardLanes { edge, inner },
        ShardInputs {
            edge: edge_inputs,
            inner: inner_inputs,
        },
    )
}

/// How many shards a node has: twice the cores, so that one busy user does not stop a core's share.
pub(crate) fn shard_count() -> usize {
    std::thread::available_parallelism()
        .map_or(2, usize::from)
        .saturating_mul(2)
        .clamp(2, 32)
}

/// The first delivery id of a shard: ids name their shard, and differ from those of other nodes and of
/// the node's earlier generations.
pub(crate) fn delivery_base(node: &str, shard: usize, generation: u64) -> u64 {
    let life =
        entente_cluster::home::key_hash(node) ^ generation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((shard as u64) << SHARD_SHIFT) | ((life & 0x00ff_ffff) << 32)
}

/// The shard that gave out `id`.
pub(crate) fn shard_of_delivery(id: DeliveryId) -> usize {
    (id.0 >> SHARD_SHIFT) as usize
}

/// One shard's task.
pub(crate) struct ShardDriver {
    core: HomeShard,
    inputs: ShardInputs,
    switchboard: Arc<Switchboard>,
    store: mpsc::Sender<StoreJob>,
    batch: ReceiptBatch,
    stop: watch::Receiver<bool>,
}

impl ShardDriver {
    pub(crate) fn new(
        config: HomeConfig,
        inputs: ShardInputs,
        switchboard: Arc<Switchboard>,
        store: mpsc::Sender<StoreJob>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        Self {
            core: HomeShard::new(config),
            inputs,
            switchboard,
            store,
            batch: ReceiptBatch::default(),
            stop,
        }
    }

    /// Runs until the node stops.
    pub(crate) async fn run(mut self) {
        let mut view = self.switchboard.view.clone();
        // Whatever the view is at the start, it is new to this shard.
        let mut homes = 0;
        view.mark_changed();
        let mut inputs = Vec::with_capacity(BATCH);
        let mut from_edges = Vec::with_capacity(BATCH);
        let mut refused_until = None;
        let mut stop = self.stop.clone();
        loop {
            let deadline = match (self.core.poll_timeout(), refused_until) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            };
            let ShardInputs { edge, inner } = &mut self.inputs;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                changed = view.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let after = view.borrow_and_update().clone();
                    if std::mem::replace(&mut homes, homes_of(&after)) != homes_of(&after) {
                        inputs.push(Input::HomesChanged);
                    }
                    let users: Vec<_> = self.core.users().filter(|user| !after.is_home(user.as_str())).cloned().collect();
                    if !users.is_empty() {
                        inputs.push(Input::Release { users });
                    }
                }
                count = inner.recv_many(&mut inputs, BATCH) => if count == 0 { return },
                count = edge.recv_many(&mut from_edges, BATCH) => if count == 0 { return },
                () = until(deadline) => inputs.push(Input::Timeout),
            }
            inputs.append(&mut from_edges);
            self.handle(&mut inputs);
            if !self.batch.is_empty() {
                self.batch.flush(&self.switchboard);
            }
            // A full link refused receipts: they are tried again soon, work or no work.
            refused_until = (!self.batch.is_empty()).then(|| now() + REFUSED_PAUSE);
        }
    }

    /// Whether this node is the home by its own view. A session that registers or binds too early or
    /// too late would stay with a node that nobody routes to: it is asked for again when this node's
    /// view has changed.
    ///
    /// A home whose lease has lapsed is a home no more, even before its view says so: it was stopped,
    /// perhaps, and what comes first is what came for it meanwhile. The new home knows better what
    /// became of that.
    fn at_home(&mut self, now: Instant, view: &ClusterView, input: &Input) -> bool {
        match input {
            Input::FromClient { envelope, .. }
            | Input::ToUser {
                envelope: Some(envelope),
                ..
            } if !self.switchboard.fence.may_ack(now) => {
                self.batch.retry(envelope.clone());
                false
            }
            // What is for an edge that is down here would be refused; it is asked when it is up again.
            Input::Register { session, snapshot } => {
                view.is_home(snapshot.full.bare_str()) && !way::is_down(view, &session.edge)
            }
            Input::Bind {
                session,
                user,
                request,
                ..
            } if !view.is_home(user.as_str()) => {
                let refused = Output::BindResult {
                    session: session.clone(),
                    request: *request,
                    result: Err(BindError::Unavailable),
                };
                self.switchboard
                    .perform(refused, &mut self.batch, &mut Vec::new());
                false
            }
            _ => true,
        }
    }

    fn handle(&mut self, inputs: &mut Vec<Input>) {
        let (now, wall) = (now(), wall_ms());
        let mut feedback = Vec::new();
        let view = self.switchboard.view.borrow().clone();
        for input in inputs.drain(..) {
            if !self.at_home(now, &view, &input) {
                continue;
            }
            self.core.handle_input(now, wall, input);
            self.drain(&mut feedback);
        }
        // What could not be carried out goes back at once; the core answers with another way, and
        // each way is tried once, so this ends.
        while !feedback.is_empty() {
            for input in std::mem::take(&mut feedback) {
                self.core.handle_input(now, wall, input);
                self.drain(&mut feedback);
            }
        }
    }

    fn drain(&mut self, feedback: &mut Vec<Input>) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Store { request, op } => {
                    if self.store.try_send(StoreJob { request, op }).is_err() {
                        feedback.push(Input::Store {
                            request,
                            answer: StoreAnswer::Failed { retryable: true },
                        });
                    }
                }
                other => self.switchboard.perform(other, &mut self.batch, feedback),
            }
        }
    }
}
