//! One life of one node: the cores, and the loops that the program has around them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use entente_cluster::home::key_hash;
use entente_cluster::{ClusterView, NodeId};
use entente_dns_publisher::{Publication, PublicationInput, ScheduleConfig};
use entente_fabric_core::way;
use entente_home_core::{
    BindError, DeliveryId, EnvelopeId, HomeConfig, HomeShard, Input, Output, Software,
};
use entente_xmpp_core::jid::BareJid;
use rand::Rng;

use super::abroad::{Outbound, StreamEvent};
use super::client::Up;
use super::frame::{Frame, Receipts};
use super::gossip::{INTERVAL, Rumours};
use super::membership::{Membership, node_id};
use super::mesh::Mesh;
use super::pipe::{Segment, Side};
use super::session::Connection;
use super::stage::Stage;
use super::store::{Call, Reply};
use super::worker::Worker;
use super::zones;

/// The domain of all users.
pub(crate) const DOMAIN: &str = "example.com";
const SHARDS: usize = 2;
/// Inputs that a shard takes at once.
const BATCH: usize = 128;
/// Shorter than in the program, so that a run ends sooner.
const IDLE_USER: Duration = Duration::from_secs(10);
const RENEW: Duration = Duration::from_secs(1);
const READ_LEASES: Duration = Duration::from_millis(250);
const JUDGE: Duration = Duration::from_millis(75);
const MESH: Duration = Duration::from_millis(50);
const STORED: Duration = Duration::from_millis(500);

/// Who follows a change of the view, each in its own task.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Follower {
    Shard(usize),
    LostEdges,
    Session(u64),
}

/// What happens to a node.
#[derive(Debug)]
pub(crate) enum NodeEvent {
    GossipRound,
    Gossip {
        from: usize,
        rumours: Rumours,
        answer: bool,
    },
    Judge,
    Renew,
    ReadLeases,
    MeshTick,
    /// Look for messages in the store's copy that somebody else may have stored.
    Stored,
    PipeIn(u64, Side, Segment),
    AckDue(usize),
    Replica(u64),
    StoreReply(u64, Option<Reply>),
    Work(usize),
    RunShards,
    ShardTimer(usize),
    View(Follower),
    Session(u64),
    SessionTimer(u64),
    Client {
        connection: u64,
        client: usize,
        message: Up,
    },
    Abroad(StreamEvent),
    Drain,
    /// The drain's next step.
    Stopping(Instant),
}

#[derive(Debug, Default)]
pub(crate) struct Lanes {
    pub(crate) inner: VecDeque<Input>,
    pub(crate) edge: VecDeque<Input>,
}

/// See the module.
pub(crate) struct Node {
    pub(crate) index: usize,
    pub(crate) id: NodeId,
    pub(crate) name: Arc<str>,
    pub(crate) generation: u64,
    pub(crate) membership: Membership,
    pub(crate) mesh: Mesh,
    shards: Vec<HomeShard>,
    /// Places users on shards, differently in each life.
    salt: u64,
    pub(crate) lanes: Vec<Lanes>,
    shards_wake: bool,
    shard_timers: Vec<Option<Instant>>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) connections: BTreeMap<u64, Connection>,
    /// The listeners are open.
    pub(crate) open: bool,
    isolated: bool,
    edges_before: Arc<ClusterView>,
    /// The homes that each shard knows.
    shard_homes: Vec<Vec<(NodeId, u64)>>,
    pub(crate) publication: Publication,
    /// How far the store's copy here has come.
    pub(crate) replica: u64,
    /// The newest message that was seen in it.
    stored_seen: u64,
    /// How far leases were read.
    pub(crate) leases_from: u64,
    lease_counter: u64,
    pub(crate) lease_call: Option<u64>,
    lease_started: Instant,
    pub(crate) receipts: Receipts,
    pub(crate) retries: Receipts,
    pub(crate) outbound: Outbound,
    /// The members as they were last put into the trace.
    last_noted: String,
    /// It has said that it leaves and may be stopped.
    pub(crate) left: bool,
}

/// The node's first delivery id of a shard: ids name their shard, and differ from those of other nodes
/// and lives: a late ack for an earlier home must mean nothing to the present one.
fn delivery_base(node: &str, shard: usize, generation: u64) -> u64 {
    let life = key_hash(node) ^ generation.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((shard as u64) << 56) | ((life & 0x00ff_ffff) << 32)
}

impl Node {
    pub(crate) fn start(
        stage: &mut Stage,
        index: usize,
        generation: u64,
        crashes: &[Instant],
    ) -> Self {
        let now = stage.now;
        let nodes = stage.lives.len();
        let id = node_id(index);
        let name: Arc<str> = Arc::from(id.as_str());
        let shards = (0..SHARDS)
            .map(|shard| {
                let mut config = HomeConfig::new(
                    vec![DOMAIN.to_owned()],
                    Software::default(),
                    Arc::clone(&name),
                    now,
                );
                config.epoch = generation;
                config.shard = shard as u32;
                config.delivery_base = delivery_base(&name, shard, generation);
                config.limits.idle_user = IDLE_USER;
                HomeShard::new(config)
            })
            .collect();
        let membership = Membership::new(now, index, nodes, generation, crashes);
        let node = Self {
            index,
            id,
            name,
            generation,
            edges_before: Arc::clone(&membership.view),
            shard_homes: vec![Vec::new(); SHARDS],
            membership,
            mesh: Mesh::new(index, generation),
            shards,
            salt: stage.rng.random(),
            lanes: (0..SHARDS).map(|_| Lanes::default()).collect(),
            shards_wake: false,
            shard_timers: vec![None; SHARDS],
            workers: (0..SHARDS).map(|_| Worker::new()).collect(),
            connections: BTreeMap::new(),
            open: false,
            isolated: true,
            publication: Publication::new(zones::plan(), ScheduleConfig::default()),
            replica: 0,
            stored_seen: 0,
            leases_from: 0,
            lease_counter: 0,
            lease_call: None,
            lease_started: now,
            receipts: Vec::new(),
            retries: Vec::new(),
            outbound: Outbound::new(),
            last_noted: String::new(),
            left: false,
        };
        for (event, period) in [
            (NodeEvent::GossipRound, INTERVAL),
            (NodeEvent::Judge, JUDGE),
            (NodeEvent::Renew, RENEW),
            (NodeEvent::ReadLeases, READ_LEASES),
            (NodeEvent::MeshTick, MESH),
            (NodeEvent::Stored, STORED),
        ] {
            let after = stage.micros(0, period.as_micros() as u64);
            stage.at(index, after, event);
        }
        node
    }

    /// Carries out an event.
    pub(crate) fn handle(&mut self, stage: &mut Stage, event: NodeEvent) {
        let index = self.index;
        match event {
            NodeEvent::GossipRound => {
                let to = self.membership.gossip.round(stage.now, &mut stage.rng);
                self.gossip(stage, &to, true);
                stage.at(index, INTERVAL, NodeEvent::GossipRound);
            }
            NodeEvent::Gossip {
                from,
                rumours,
                answer,
            } => {
                self.membership.gossip.take(stage.now, &rumours);
                if answer {
                    self.gossip(stage, &[from], false);
                }
            }
            NodeEvent::Judge => {
                self.judge(stage);
                stage.at(index, JUDGE, NodeEvent::Judge);
            }
            NodeEvent::Renew => self.renew(stage),
            NodeEvent::ReadLeases => {
                let rows: Vec<_> = stage
                    .store
                    .leases(self.leases_from, self.replica)
                    .cloned()
                    .collect();
                self.leases_from = self.replica;
                self.membership.report_leases(stage.now, &rows);
                stage.at(index, READ_LEASES, NodeEvent::ReadLeases);
            }
            NodeEvent::MeshTick => {
                self.mesh.tick(stage);
                stage.at(index, MESH, NodeEvent::MeshTick);
            }
            NodeEvent::Stored => {
                self.look_for_stored(stage);
                stage.at(index, STORED, NodeEvent::Stored);
            }
            NodeEvent::PipeIn(pipe, side, segment) => self.mesh.segment(stage, pipe, side, segment),
            NodeEvent::AckDue(caller) => self.mesh.ack_due(stage, caller),
            NodeEvent::Replica(to) => self.replica = self.replica.max(to),
            NodeEvent::StoreReply(token, reply) => self.store_replied(stage, token, reply),
            NodeEvent::Work(shard) => self.work(stage, shard),
            NodeEvent::RunShards => {
                self.shards_wake = false;
                for shard in 0..SHARDS {
                    self.run_shard(stage, shard);
                }
            }
            NodeEvent::ShardTimer(shard) => {
                self.shard_timers[shard] = None;
                if self.shards[shard]
                    .poll_timeout()
                    .is_some_and(|at| at <= stage.now)
                {
                    self.give(stage, shard, Input::Timeout);
                }
                self.settle_shard(stage, shard);
            }
            NodeEvent::View(follower) => self.follow(stage, follower),
            NodeEvent::Session(connection) => self.session_wakes(stage, connection),
            NodeEvent::SessionTimer(connection) => self.session_timer(stage, connection),
            NodeEvent::Client {
                connection,
                client,
                message,
            } => self.client_says(stage, connection, client, message),
            NodeEvent::Abroad(event) => self.abroad(stage, event),
            NodeEvent::Drain => {
                self.membership.intent.draining = true;
                self.judge(stage);
                self.close_connections(stage);
                stage.at(
                    index,
                    Duration::from_millis(20),
                    NodeEvent::Stopping(stage.now),
                );
            }
            NodeEvent::Stopping(since) => self.stopping(stage, since),
        }
        self.take_from_mesh(stage);
    }

    fn gossip(&mut self, stage: &mut Stage, to: &[usize], answer: bool) {
        let rumours = self.membership.gossip.rumours();
        for &to in to {
            let Some(after) = stage.network.datagram(&mut stage.rng, self.index, to) else {
                continue;
            };
            if !stage.lives[to].up {
                continue;
            }
            let event = NodeEvent::Gossip {
                from: self.index,
                rumours: rumours.clone(),
                answer,
            };
            stage.at(to, after, event);
        }
    }

    fn judge(&mut self, stage: &mut Stage) {
        let now = stage.now;
        self.look_at_fence(stage);
        if self.membership.judge(now) {
            self.view_changed(stage);
        }
        if self.publication.poll_timeout().is_some_and(|at| at <= now) {
            self.publish(stage, PublicationInput::TimerFired);
        }
    }

    /// The phase: whether the listeners are open.
    fn look_at_fence(&mut self, stage: &mut Stage) {
        let now = stage.now;
        let fence = &self.membership.fence;
        let was_isolated = self.isolated;
        self.isolated = fence.must_close(now) || (was_isolated && !fence.may_ack(now));
        self.open = !self.isolated && !self.membership.intent.draining;
        if self.open && !self.membership.intent.published {
            self.membership.intent.published = true;
        }
        if self.isolated != was_isolated {
            if self.isolated {
                stage.note(format!("n{} is isolated", self.index));
                self.close_connections(stage);
            }
            self.publish(stage, PublicationInput::Isolated(self.isolated));
        }
    }

    fn view_changed(&mut self, stage: &mut Stage) {
        let view = Arc::clone(&self.membership.view);
        let members: Vec<String> = view
            .members
            .iter()
            .map(|m| {
                format!(
                    "{}/{} {:?} {:?}",
                    m.id,
                    m.generation % 100_000,
                    m.state,
                    m.standing
                )
            })
            .collect();
        let members = members.join(", ");
        if self.last_noted != members {
            stage.note(format!("n{} view: {members}", self.index));
            self.last_noted = members;
        }
        self.mesh.follow_view(stage, &view);
        let mut followers: Vec<Follower> = (0..SHARDS).map(Follower::Shard).collect();
        followers.push(Follower::LostEdges);
        followers.extend(self.connections.keys().map(|&conn| Follower::Session(conn)));
        for follower in followers {
            let after = stage.micros(0, 2_000);
            stage.at(self.index, after, NodeEvent::View(follower));
        }
        let nodes = view.dns_published().filter_map(zones::published).collect();
        self.publish(stage, PublicationInput::Nodes(nodes));
        let announcements = view
            .members
            .iter()
            .filter(|m| m.id != view.local)
            .filter_map(|m| m.announcement.parse().ok())
            .collect();
        self.publish(stage, PublicationInput::Announcements(announcements));
    }

    fn follow(&mut self, stage: &mut Stage, follower: Follower) {
        let view = Arc::clone(&self.membership.view);
        match follower {
            Follower::Shard(shard) => {
                self.homes_changed(stage, shard);
                let mut users: Vec<_> = self.shards[shard]
                    .users()
                    .filter(|user| !view.is_home(user.as_str()))
                    .cloned()
                    .collect();
                // The core's map has no order; a run must have one.
                users.sort();
                if !users.is_empty() {
                    stage.note(format!("n{} releases {users:?}", self.index));
                    self.give(stage, shard, Input::Release { users });
                    self.settle_shard(stage, shard);
                }
            }
            Follower::LostEdges => {
                let before = std::mem::replace(&mut self.edges_before, Arc::clone(&view));
                for (edge, epoch) in way::lost_edges(&before, &view) {
                    stage.note(format!("n{}: edge {edge}/{epoch} is lost", self.index));
                    for lanes in &mut self.lanes {
                        lanes.inner.push_back(Input::EdgeLost {
                            edge: Arc::clone(&edge),
                            epoch,
                        });
                    }
                }
                self.wake_shards(stage);
                self.ask_for_sessions(stage, &before, &view);
            }
            Follower::Session(connection) => self.session_follows(stage, connection),
        }
    }

    fn renew(&mut self, stage: &mut Stage) {
        self.lease_counter += 1;
        self.lease_started = stage.now;
        let call = Call::Renew {
            generation: self.generation,
            counter: self.lease_counter,
        };
        let token = stage.store_call(self.index, call);
        self.lease_call = Some(token);
        stage.at(
            self.index,
            Duration::from_secs(3),
            NodeEvent::StoreReply(token, None),
        );
    }

    /// The renewal is done, or failed.
    pub(crate) fn renewed(&mut self, stage: &mut Stage, done: bool) {
        self.lease_call = None;
        if done {
            self.membership.fence.renewed(self.lease_started);
        }
        // The next tick, or at once if that has passed: ticks that were missed are delayed.
        let next = (self.lease_started + RENEW).saturating_duration_since(stage.now);
        stage.at(self.index, next, NodeEvent::Renew);
    }

    fn stopping(&mut self, stage: &mut Stage, since: Instant) {
        let patience = stage.now - since;
        let waiting = ((!self.connections.is_empty() || !self.outbound.is_empty())
            && patience < Duration::from_secs(5))
            || (!self.mesh.is_flushed() && patience < Duration::from_secs(7));
        if waiting {
            stage.at(
                self.index,
                Duration::from_millis(20),
                NodeEvent::Stopping(since),
            );
            return;
        }
        if !self.membership.intent.leaving {
            self.membership.intent.leaving = true;
            self.judge(stage);
            stage.at(self.index, INTERVAL * 6, NodeEvent::Stopping(since));
            return;
        }
        self.left = true;
    }

    /// The shard that has a user.
    pub(crate) fn shard_of(&self, user: &str) -> usize {
        ((key_hash(user) ^ self.salt) % SHARDS as u64) as usize
    }

    /// The shard that gave out a delivery id.
    pub(crate) fn shard_of_delivery(id: DeliveryId) -> usize {
        (id.0 >> 56) as usize
    }

    /// Sessions that this home knows.
    pub(crate) fn sessions_at_home(&self) -> usize {
        self.shards.iter().map(HomeShard::session_count).sum()
    }

    /// A user in memory whose home is another node.
    pub(crate) fn stray_user(&self) -> Option<String> {
        let view = &self.membership.view;
        self.shards
            .iter()
            .flat_map(HomeShard::users)
            .map(|user| user.as_str().to_owned())
            .filter(|user| !view.is_home(user))
            .min()
    }

    pub(crate) fn shard_count(&self) -> usize {
        SHARDS
    }

    /// Lets the shards look at their lanes soon.
    pub(crate) fn wake_shards(&mut self, stage: &mut Stage) {
        if !std::mem::replace(&mut self.shards_wake, true) {
            let after = stage.micros(0, 500);
            stage.at(self.index, after, NodeEvent::RunShards);
        }
    }

    /// Tells a shard of other homes, always before what comes by them.
    fn homes_changed(&mut self, stage: &mut Stage, shard: usize) {
        let homes = self.homes();
        if homes != self.shard_homes[shard] {
            self.shard_homes[shard] = homes;
            self.give(stage, shard, Input::HomesChanged);
        }
    }

    /// Tells the shards of messages that are in the store's copy here since the last look.
    fn look_for_stored(&mut self, stage: &mut Stage) {
        let mut found: BTreeMap<String, Vec<EnvelopeId>> = BTreeMap::new();
        let after = self.stored_seen;
        for (cursor, user, id) in stage.store.stored_behind(after, self.replica) {
            self.stored_seen = self.stored_seen.max(cursor);
            found.entry(user.to_owned()).or_default().push(id.clone());
        }
        for (user, ids) in found {
            let shard = self.shard_of(&user);
            let lanes = &mut self.lanes[shard];
            let user = BareJid::new(&user).expect("it was stored for an address");
            lanes.inner.push_back(Input::Stored { user, ids });
            self.wake_shards(stage);
        }
    }

    fn run_shard(&mut self, stage: &mut Stage, shard: usize) {
        self.homes_changed(stage, shard);
        let lanes = &mut self.lanes[shard];
        // Biased: the edges' lane only when the inner one is empty.
        let lane = if lanes.inner.is_empty() {
            &mut lanes.edge
        } else {
            &mut lanes.inner
        };
        let count = lane.len().min(BATCH);
        let inputs: Vec<Input> = lane.drain(..count).collect();
        for input in inputs {
            if let Some(input) = self.at_home(stage, input) {
                self.give(stage, shard, input);
            }
        }
        self.settle_shard(stage, shard);
        if !self.lanes[shard].inner.is_empty() || !self.lanes[shard].edge.is_empty() {
            self.wake_shards(stage);
        }
    }

    /// What makes a session known is for homes only: an edge whose view differs, or whose word came
    /// late, must not leave one here that nobody will ever end. If this node becomes the home, it
    /// asks for sessions.
    fn at_home(&mut self, stage: &mut Stage, input: Input) -> Option<Input> {
        let view = &self.membership.view;
        if let Input::FromClient { envelope, .. }
        | Input::ToUser {
            envelope: Some(envelope),
            ..
        } = &input
            && !self.membership.fence.may_ack(stage.now)
        {
            self.retry(envelope.clone());
            return None;
        }
        match input {
            Input::Register { session, snapshot }
                if !view.is_home(snapshot.full.bare_str()) || way::is_down(view, &session.edge) =>
            {
                None
            }
            Input::Bind {
                session,
                user,
                request,
                ..
            } if !view.is_home(user.as_str()) => {
                let output = Output::BindResult {
                    session,
                    request,
                    result: Err(BindError::Unavailable),
                };
                self.perform(stage, output);
                None
            }
            other => Some(other),
        }
    }

    fn give(&mut self, stage: &mut Stage, shard: usize, input: Input) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            self.shards[shard].handle_input(stage.now, stage.wall_ms(), input);
            while let Some(output) = self.shards[shard].poll_output() {
                match output {
                    Output::Store { request, op } => {
                        self.workers[shard].add(request, op);
                    }
                    other => inputs.extend(self.perform(stage, other)),
                }
            }
        }
    }

    fn settle_shard(&mut self, stage: &mut Stage, shard: usize) {
        self.flush_receipts(stage);
        self.work(stage, shard);
        if let Some(at) = self.shards[shard].poll_timeout()
            && self.shard_timers[shard].is_none_or(|armed| at < armed)
        {
            self.shard_timers[shard] = Some(at);
            let after = at.saturating_duration_since(stage.now);
            stage.at(self.index, after, NodeEvent::ShardTimer(shard));
        }
    }

    fn take_from_mesh(&mut self, stage: &mut Stage) {
        loop {
            let arrived = std::mem::take(&mut self.mesh.arrived);
            let lost = std::mem::take(&mut self.mesh.lost);
            if arrived.is_empty() && lost.is_empty() {
                break;
            }
            for frame in arrived {
                let frame = stage.frames.decode(&frame);
                self.arrived(stage, frame);
            }
            for frame in lost {
                match stage.frames.decode(&frame) {
                    Frame::ToUser {
                        envelope: Some(envelope),
                        ..
                    }
                    | Frame::Outbound {
                        envelope: Some(envelope),
                        ..
                    }
                    | Frame::FromClient { envelope, .. } => self.retry(envelope),
                    _ => {}
                }
            }
            self.flush_receipts(stage);
        }
        for (node, ok) in std::mem::take(&mut self.mesh.health) {
            self.membership.report_health(node, ok);
        }
    }
}
